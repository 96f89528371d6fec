package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"noether/internal/export"
	"noether/internal/export/balance"
	"noether/internal/export/prometheus"
	"noether/internal/probe"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
	"noether/test/script"
)

// mostServices is how many workloads the page's golden queries name.
const mostServices = 20

// golden is one query of the page (ui/src/lib/queries.golden.json).
type golden struct {
	Name, Expr, Type string
	Step             float64
	Range            float64 `json:"range_seconds"`
}

// goldenQueries are those for a range, as the page asks them of somebody
// else's server: without the copies that only an agent's history has, and of
// containers by the names that script gives them.
func goldenQueries(t *testing.T, length, scraped time.Duration) []golden {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "ui", "src", "lib", "queries.golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	replace := []string{"noether:5m:", "noether_", "[1m]", fmt.Sprintf("[%.0fs]", (4 * scraped).Seconds())}
	for i := range mostServices {
		replace = append(replace, fmt.Sprintf("%060x0000", i+1), script.ID(i+1))
	}
	r := strings.NewReplacer(replace...)
	var all []golden
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(q golden) bool { return q.Range != length.Seconds() })
	for i := range all {
		all[i].Expr = r.Replace(all[i].Expr)
	}
	return all
}

// ofThePage is a machine that has what the golden queries name. Its power goes
// up and down, one workload begins and another ends within the last hour.
func ofThePage(begin, end time.Time, tick time.Duration, services int) *script.Host {
	minute := func(before time.Duration) int { at := end.Add(-before); return at.Hour()*60 + at.Minute() }
	h := &script.Host{
		Name: "n1", CPUs: 16, Begin: begin, Tick: tick, Memory: 20 * unit.Watt,
		Power: func(now time.Time) unit.Power {
			return unit.Power((90 + 25*math.Sin(now.Sub(begin).Seconds()/tick.Seconds()/40)) * float64(unit.Watt))
		},
		Runners: []script.Runner{
			{Path: "/", Comm: "kworker/0:1", CPU: 5 * time.Second, Kernel: true},
			{Path: "/user.slice/user-1000.slice/session-1.scope", Comm: "bash", CPU: 4 * time.Second},
			{Path: `/machine.slice/machine-qemu\x2d1\x2dlegacy.scope`, Comm: "qemu-system-x86", CPU: 30 * time.Second},
		},
		Verdicts: []probe.Verdict{{Name: "powercap", Status: probe.Works}, {Name: "model", Status: probe.Works}},
		Site: func(now time.Time) snapshot.Site {
			s := snapshot.Site{
				Grid: snapshot.Grid{Zone: "DE", Known: now.Minute() != 30, Intensity: unit.IntensityOf(float64(200 + 5*now.Minute())), Provider: "electricitymaps", Signal: "average", Factor: "lifecycle", Updated: now.Truncate(time.Minute)},
				PUE:  unit.RatioOf(1.25), PUEFrom: "fixed", Price: unit.PriceOf(0.30), Priced: true, Currency: "EUR",
				Hardware: snapshot.Hardware{CPU: 400 * unit.Kilogram, Memory: 250 * unit.Kilogram, Rest: 400 * unit.Kilogram, Lifetime: 1500 * 24 * time.Hour, Source: "components", Estimated: true},
				Sources:  []snapshot.SourceStatus{{Source: "electricitymaps", Zone: "DE", Up: true, Requests: 1, Success: now.Truncate(time.Minute)}},
			}
			for i := 1; i <= 3; i++ {
				s.Grid.Forecast = append(s.Grid.Forecast, snapshot.Forecast{Horizon: time.Duration(i) * time.Hour, Intensity: unit.IntensityOf(float64(200 + 10*i))})
			}
			if now.Minute()/10 == 2 {
				s.Price = unit.PriceOf(-0.05) // much sun
			}
			return s
		},
	}
	pods := map[string]*workload.PodFacts{}
	for i := range services {
		r := script.Runner{Path: script.PodPath(i + 1), Comm: "main", CPU: time.Duration(1+i) * time.Second}
		switch i {
		case 3: // it began forty minutes ago
			r.From, r.Until = minute(40*time.Minute), 24*60
		case 4: // it ended half an hour ago
			r.From, r.Until = 0, minute(30*time.Minute)
		}
		h.Runners = append(h.Runners, r, script.Runner{Path: fmt.Sprintf("/system.slice/unit-%d.service", i), Comm: "unit", CPU: 2 * time.Second})
		pods[script.UID(i+1)] = script.Facts(i+1, fmt.Sprintf("team-%d", i), fmt.Sprintf("service-%d-7d9f8c6b5-%05d", i, i+1), "Deployment", fmt.Sprintf("service-%d", i), workload.Reserved{CPU: 100, Memory: 1 << 28})
	}
	names := &workload.Names{AsksPods: true, AsksContainers: true, Allocatable: workload.Reserved{CPU: 16000, Memory: 1 << 36}, Pods: pods}
	h.Names = func(time.Time) *workload.Names { return names }
	return h
}

// scraped lets a host live until end and sends what a Prometheus scrapes of it,
// markers of series that are gone included, to servers that take remote-write.
func scraped(t *testing.T, h *script.Host, end time.Time, to ...*server) (samples int) {
	t.Helper()
	type series struct {
		labels []prompb.Label
		seen   int // the last scrape that had it
	}
	known := map[string]*series{}
	var newest *snapshot.Snapshot
	var page *prometheus.Page
	var text []byte
	pending := map[*series][]prompb.Sample{}
	send := func() {
		var r prompb.WriteRequest
		for s, list := range pending {
			r.Timeseries = append(r.Timeseries, prompb.TimeSeries{Labels: s.labels, Samples: list})
		}
		clear(pending)
		body, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		body = snappy.Encode(nil, body)
		for _, s := range to {
			s.remoteWrite(body)
		}
	}
	scrapes := 0
	h.Live(t, end, func(snap *snapshot.Snapshot, about *export.About) {
		if newest = snap; page == nil {
			page = prometheus.NewPage(func() *snapshot.Snapshot { return newest }, *about)
		}
		scrapes++
		at := snap.Time.UnixMilli()
		text = page.Append(text[:0], prometheus.Text)
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSuffix(line, "\n"); line[0] == '#' {
				continue
			}
			i := strings.LastIndexByte(line, ' ')
			v, err := strconv.ParseFloat(line[i+1:], 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			s := known[line[:i]]
			if s == nil {
				parsed, err := balance.Parse(line)
				if err != nil {
					t.Fatal(err)
				}
				all := maps.Clone(parsed.Labels)
				if all == nil {
					all = map[string]string{}
				}
				all["__name__"], all["job"], all["instance"] = parsed.Name, "noether", h.Name+":9877"
				s = &series{}
				for _, name := range slices.Sorted(maps.Keys(all)) {
					s.labels = append(s.labels, prompb.Label{Name: name, Value: all[name]})
				}
				known[line[:i]] = s
			}
			s.seen = scrapes
			pending[s] = append(pending[s], prompb.Sample{Timestamp: at, Value: v})
			samples++
		}
		for _, s := range known {
			if s.seen == scrapes-1 {
				pending[s] = append(pending[s], prompb.Sample{Timestamp: at, Value: math.Float64frombits(value.StaleNaN)})
			}
		}
		if scrapes%40 == 0 {
			send()
		}
	})
	send()
	return samples
}

// remoteWrite sends one packed request of remote-write 1.0.
func (s *server) remoteWrite(body []byte) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/api/v1/write", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "snappy")
	r.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		s.t.Fatalf("%s takes no samples: %s", s.url, resp.Status)
	}
}

// startReference starts a Prometheus that takes remote-write.
func startReference(t *testing.T, program string) *server {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return startServer(t, address, "/-/ready", nil, program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--storage.tsdb.retention.time=100y",
		"--web.listen-address="+address, "--web.enable-remote-write-receiver")
}

// lines are the answer of a query: the values of each series by time.
type lines map[string]map[float64]float64

func (q golden) ask(t *testing.T, page *server, end time.Time) lines {
	t.Helper()
	path, form := "/api/v1/query", url.Values{"query": {q.Expr}, "time": {unixText(end)}}
	if q.Type == "range" {
		first := math.Ceil((float64(end.Unix())-q.Range)/q.Step) * q.Step
		path, form = "/api/v1/query_range", url.Values{"query": {q.Expr}, "start": {strconv.FormatFloat(first, 'f', 3, 64)}, "end": {unixText(end)}, "step": {strconv.FormatFloat(q.Step, 'f', -1, 64)}}
	}
	code, _, a := ask(t, http.MethodPost, page.url+path, form)
	if code != http.StatusOK {
		t.Errorf("%s: %d %+v", q.Name, code, a)
		return nil
	}
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
			Values [][2]any
		}
	}
	if err := json.Unmarshal(a.Data, &data); err != nil {
		t.Fatalf("%s: %v", q.Name, err)
	}
	out := lines{}
	for _, r := range data.Result {
		if r.Values == nil {
			r.Values = [][2]any{r.Value}
		}
		line := map[float64]float64{}
		for _, p := range r.Values {
			at, _ := p[0].(float64)
			said, _ := p[1].(string)
			v, err := strconv.ParseFloat(said, 64)
			if err != nil {
				t.Fatalf("%s: %v", q.Name, err)
			}
			line[at] = v
		}
		out[seriesName(r.Metric)] = line
	}
	return out
}

// TestPageOverVictoriaMetrics asks everything that the page asks, through noether ui,
// of a VictoriaMetrics and of the Prometheus whose engine the agent has, over
// the same samples. Both have to answer, about the same series, and the same as
// far as they mean the same: VictoriaMetrics reckons from the last sample before
// a window to the last one in it, Prometheus from the first one in it, and
// extends what it found to the whole window
// (docs.victoriametrics.com/victoriametrics/metricsql).
func TestPageOverVictoriaMetrics(t *testing.T) {
	t.Parallel()
	program := needReference(t)
	for name, c := range map[string]struct {
		length, tick, life time.Duration
		services           int
	}{
		"an hour, scraped every 15 s": {time.Hour, 15 * time.Second, 150 * time.Minute, 20},
		"a week, scraped every 5 min": {7 * 24 * time.Hour, 5 * time.Minute, 8 * 24 * time.Hour, 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prom, vm := startReference(t, program), startVictoriaMetrics(t)
			end := time.Now().Truncate(24 * time.Hour).Add(-12 * time.Hour) // at noon: who begins and ends does so within a day
			// Nobody scrapes at the very second at which people look.
			n := scraped(t, ofThePage(end.Add(-c.life).Add(-8*time.Second), end, c.tick, c.services), end, prom, vm)
			vm.flush()
			overProm, overVM := startUI(t, nil, prom.url, "--step", c.tick.String()), startUI(t, nil, vm.url, "--step", c.tick.String())
			compared := 0
			for _, q := range goldenQueries(t, c.length, c.tick) {
				compared += q.sameAnswers(t, q.ask(t, overProm, end), q.ask(t, overVM, end))
			}
			if compared < 2000 {
				t.Errorf("%d values were compared", compared)
			}
			t.Logf("%d values of %d samples agree", compared, n)

			// What there is to choose from: kinds of owners, by the names of families.
			names := func(page *server) string {
				_, _, a := ask(t, http.MethodGet, page.url+"/api/v1/label/__name__/values", url.Values{
					"match[]": {`{__name__=~"noether_(namespace|workload|pod|container|vm|unit|session|process)_joules_total"}`}, "start": {unixText(end.Add(-c.length))}, "end": {unixText(end)},
				})
				return string(a.Data)
			}
			if diff := cmp.Diff(names(overProm), names(overVM)); diff != "" || !strings.Contains(names(overVM), "noether_workload_joules_total") {
				t.Errorf("other families (-Prometheus +VictoriaMetrics):\n%s", diff)
			}
			for _, path := range []string{"/api/v1/metadata", "/api/v1/status/buildinfo", "/api/v1/labels"} {
				if code, _, a := ask(t, http.MethodGet, overVM.url+path, nil); code != http.StatusOK || a.Status != "success" {
					t.Errorf("%s: %d %+v", path, code, a)
				}
			}
		})
	}
}

// without are the queries that find nothing on such a machine: nobody published a score.
func without(name string) bool { return strings.HasPrefix(name, "owner.sci") }

// sameAnswers compares what two servers say to a query and returns how many values it compared.
func (q golden) sameAnswers(t *testing.T, want, got lines) (compared int) {
	t.Helper()
	if len(want) == 0 && !without(q.Name) {
		t.Errorf("%s finds nothing: %s", q.Name, q.Expr)
	}
	if len(want) != len(got) {
		t.Errorf("%s: %d series of Prometheus, %d of VictoriaMetrics", q.Name, len(want), len(got))
	}
	counted := strings.Contains(q.Expr, "increase(") || strings.Contains(q.Expr, "rate(")
	for series, line := range want {
		there := got[series]
		apart := 0 // times that only one of them has
		for at := range there {
			if _, ok := line[at]; !ok {
				apart++
			}
		}
		for at, v := range line {
			g, ok := there[at]
			if !ok {
				apart++
				continue
			}
			compared++
			low, high := v, v
			switch {
			case !counted: // they read the same sample, which VictoriaMetrics keeps to twelve digits
				low, high = v-1e-11*math.Abs(v), v+1e-11*math.Abs(v)
			case q.Type == "instant" || strings.HasPrefix(q.Name, "node.joulesEach"):
				slack := 0.03 // of an owner that begins or ends, half a scrape of what it does at most
				if !strings.HasPrefix(q.Name, "owner") {
					slack = 0.01
				}
				low, high = v*(1-slack), v*(1+slack)
			default: // a point of a chart: a scrape earlier, which is most where an owner begins or ends
				edge := false
				for x := at - 4*q.Step; x <= at+4*q.Step; x += q.Step {
					if _, ok := line[x]; !ok {
						// Of a part of a window VictoriaMetrics has the rate there, Prometheus spreads it over the whole.
						edge = true
					}
				}
				for x, v := range line {
					if edge || math.Abs(x-at) <= 4*q.Step {
						low, high = min(low, v), max(high, v)
					}
				}
				if edge {
					low, high = min(low, 0), max(high, 0)
				}
				slack := 0.2 // some of what a sum is of may begin
				if strings.HasPrefix(q.Name, "node.") {
					slack = 0.04
				}
				low, high = low-slack*math.Abs(low), high+slack*math.Abs(high)
			}
			if g < low || g > high {
				t.Errorf("%s: %s at %.0f: %v by Prometheus, %v by VictoriaMetrics", q.Name, series, at, v, g)
			}
		}
		if apart > 1 {
			t.Errorf("%s: %s has %d points by one of them only", q.Name, series, apart)
		}
	}
	return compared
}

// TestPageOverVictoriaMetricsNow: what VictoriaMetrics does with the newest
// samples, and what it says of a query that takes more series than it gives.
func TestPageOverVictoriaMetricsNow(t *testing.T) {
	t.Parallel()
	vm := startVictoriaMetrics(t, "-search.maxUniqueTimeseries=20")
	page := startUI(t, nil, vm.url, "--step", "5s")
	now := time.Now().Truncate(time.Second)
	var r prompb.WriteRequest
	for i := range 40 {
		s := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "noether_pod_joules_total"}, {Name: "pod", Value: strconv.Itoa(i)}}}
		for at := now.Add(-10 * time.Minute); !at.After(now); at = at.Add(5 * time.Second) {
			s.Samples = append(s.Samples, prompb.Sample{Timestamp: at.UnixMilli(), Value: 10 * at.Sub(now.Add(-time.Hour)).Seconds()})
		}
		r.Timeseries = append(r.Timeseries, s)
	}
	body, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	vm.remoteWrite(snappy.Encode(nil, body))
	vm.flush()

	code, _, a := ask(t, http.MethodPost, page.url+"/api/v1/query", url.Values{"query": {"sum(noether_pod_joules_total)"}, "time": {unixText(now)}})
	if code != http.StatusUnprocessableEntity || a.Status != "error" || !strings.Contains(a.Error, "-search.max") {
		t.Errorf("a query of 40 series where 20 are allowed: %d %+v", code, a)
	}
	// It holds back the newest half minute (-search.latencyOffset), and in charts
	// with points closer than a minute repeats what was before. What it says was
	// there, a moment before at most.
	for _, q := range []golden{
		{Name: "now", Expr: `noether_pod_joules_total{pod="7"}`, Type: "instant"},
		{Name: "until now", Expr: `noether_pod_joules_total{pod="7"}`, Type: "range", Step: 5, Range: 120},
	} {
		got := q.ask(t, page, now)
		if len(got) != 1 {
			t.Errorf("%s: %v", q.Name, got)
		}
		for _, line := range got {
			for at, v := range line {
				if told := v/10 - time.Hour.Seconds() + float64(now.Unix()); told > at || told < at-40 {
					t.Errorf("%s: at %v the sample of %v", q.Name, at, told)
				}
			}
		}
	}
}
