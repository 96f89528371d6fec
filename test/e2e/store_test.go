package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"noether/internal/energy"
	"noether/internal/export/exporttest"
	"noether/internal/snapshot"
	"noether/internal/store"
	"noether/internal/unit"
)

// needReference returns the Prometheus whose database and engine this module uses.
func needReference(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "github.com/prometheus/prometheus").Output()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(cache, "noether", "prometheus-"+strings.TrimSpace(string(out)), "prometheus")
	if _, err := os.Stat(program); err != nil {
		t.Skipf("needs %s, which make prometheus3 builds in a minute: %v", program, err)
	}
	return program
}

// storeRun is a store that runs; end closes it.
type storeRun struct {
	*store.Store
	end func()
}

func openStore(t *testing.T, dir string) storeRun {
	t.Helper()
	s, err := store.New(store.Options{Path: dir, About: exporttest.About(), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	end := sync.OnceFunc(func() { cancel(); run.Wait() })
	t.Cleanup(end)
	return storeRun{s, end}
}

// offer has a snapshot written.
func (s storeRun) offer(t *testing.T, snap *snapshot.Snapshot) {
	t.Helper()
	before := s.Status().Samples
	for deadline := time.Now().Add(time.Minute); s.Status().Samples == before; {
		if time.Now().After(deadline) {
			t.Fatalf("the snapshot of %v is not written: %+v", snap.Time, s.Status())
		}
		s.Offer(snap)
		time.Sleep(200 * time.Microsecond)
	}
}

// fill writes six hours that end at now: pods that come and go, an agent that
// starts again, minutes without any.
func fill(t *testing.T, dir string, now time.Time) {
	t.Helper()
	const step = 15 * time.Second
	s := openStore(t, dir)
	base := exporttest.Snapshot()
	begin := now.Add(-6 * time.Hour)
	for k := 1; k <= int(6*time.Hour/step); k++ {
		at := begin.Add(time.Duration(k) * step)
		switch k {
		case 700: // a new agent: its counters begin again
			s.end()
			s = openStore(t, dir)
			base = exporttest.Snapshot()
		case 710, 711, 712, 713, 714, 715, 716, 717, 718, 719, 720, 721, 722, 723, 724, 725, 726, 727, 728, 729, 730, 731, 732, 733, 734, 735:
			continue
		}
		snap := *base
		snap.Time, snap.Seq = at, uint64(k)
		snap.Pods, snap.Units = slices.Clone(base.Pods), slices.Clone(base.Units)
		snap.System = base.System
		for i := range snap.Pods {
			work := unit.Energy((k*7919*(i+1))%15_000_017 + 1)
			snap.Pods[i].Delta = snapshot.Ledger{energy.CPU: {energy.Dynamic: work}, energy.Memory: {energy.Dynamic: work / 7}}
			snap.Pods[i].Total.Add(&snap.Pods[i].Delta)
			snap.Pods[i].Footprint.CO2e[snapshot.Operational] += unit.Mass(work) * 100
			snap.Pods[i].Footprint.Cost += unit.Money(work) * 7
		}
		for i := range snap.Units {
			snap.Units[i].Total[energy.CPU][energy.Dynamic] += unit.Energy(k*(i+1)) * 31
		}
		snap.System[0].Total[energy.CPU][energy.Idle] += 123_456_789
		exporttest.Balance(&snap)
		next := snap
		base = &next
		if k/100%2 == 1 {
			snap.Pods = snap.Pods[1:] // one comes and goes
		}
		s.offer(t, &snap)
	}
	s.end()
}

// TestStoreAgainstPrometheus replays what a store holds into the Prometheus of
// the same version, and asks both the same.
func TestStoreAgainstPrometheus(t *testing.T) {
	t.Parallel()
	program := needReference(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	prom := startServer(t, address, "/-/ready", nil, program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--web.enable-remote-write-receiver")

	now := time.Now().Add(-time.Minute).Truncate(time.Second)
	fill(t, filepath.Join(dir, "store"), now)
	s := openStore(t, filepath.Join(dir, "store"))
	var queryable storage.Queryable
	for {
		var err error
		if queryable, err = s.Queryable(); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if n := replay(t, queryable, prom.url); n < 100_000 {
		t.Fatalf("%d samples", n)
	} else {
		t.Logf("%d samples replayed", n)
	}

	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true, Logger: slog.New(slog.DiscardHandler),
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
	defer engine.Close()
	some := 0
	for _, query := range []string{
		`noether_node_joules_total`,
		`sum by (component) (rate(noether_node_joules_total[1m]))`,
		`sum by (component, part) (increase(noether_node_joules_total[1h]))`,
		`sum(increase(noether:5m:node_joules_total[3h]))`,
		`sum by (pod) (increase(noether:5m:pod_joules_total[6h]))`,
		`topk(3, sum by (namespace, pod) (rate(noether_pod_joules_total[5m])))`,
		`bottomk(2, noether_unit_joules_total)`,
		`quantile(0.95, rate(noether_pod_joules_total[2m]))`,
		`quantile_over_time(0.9, noether_node_watts[10m])`,
		`absent(noether_pod_joules_total{pod="nobody"})`,
		`absent_over_time(noether_pod_joules_total{namespace=""}[10m])`,
		`sum(increase(noether_node_joules_total[1h])) - sum(increase(noether_node_joules_total[1h] offset 1h))`,
		`max_over_time(sum(rate(noether_node_joules_total[1m]))[1h:1m])`,
		`avg_over_time(rate(noether_node_joules_total{component="cpu"}[2m])[30m:])`,
		`sum(noether_node_joules_total) - sum(noether_pod_joules_total) - sum(noether_system_joules_total)`,
		`sum by (workload) (increase(noether_pod_co2e_grams_total{phase="operational"}[2h]))`,
		`sum(increase(noether_pod_energy_cost_total[1h])) by (currency)`,
		`noether_grid_carbon_intensity_grams_per_kwh * on () group_left () sum(rate(noether_node_joules_total[5m]))`,
		`label_replace(rate(noether_unit_joules_total[5m]), "short", "$1", "unit", "(.*)\\.service")`,
		`count by (__name__) ({__name__=~"noether_.+"})`,
		`changes(noether_ticks_total[1h]) + resets(noether_ticks_total[6h])`,
		`deriv(noether_node_joules_total[10m])`,
		`irate(noether_system_joules_total[1m]) > 1`,
		`stddev by (component) (noether_node_watts) or vector(0)`,
		`timestamp(noether_node_joules_total)`,
		`last_over_time(noether_pod_joules_total[30m] @ end())`,
		`predict_linear(noether_node_joules_total[30m], 3600)`,
	} {
		for _, end := range []time.Time{now, now.Add(-2 * time.Hour), now.Add(-3*time.Hour - 2*time.Minute - 7*time.Second)} {
			q, err := engine.NewInstantQuery(t.Context(), queryable, nil, query, end)
			if err != nil {
				t.Fatal(err)
			}
			ours := valuesOf(t, q.Exec(t.Context()))
			q.Close()
			theirs := askReference(t, prom.url+"/api/v1/query?"+url.Values{"query": {query}, "time": {unixText(end)}}.Encode())
			some += agree(t, query+" at "+end.Format(time.TimeOnly), ours, theirs)
		}
		for _, c := range []struct{ length, step time.Duration }{{time.Hour, 15 * time.Second}, {6 * time.Hour, 5 * time.Minute}} {
			from := now.Add(-c.length)
			q, err := engine.NewRangeQuery(t.Context(), queryable, nil, query, from, now, c.step)
			if err != nil {
				t.Fatal(err)
			}
			ours := valuesOf(t, q.Exec(t.Context()))
			q.Close()
			theirs := askReference(t, prom.url+"/api/v1/query_range?"+url.Values{
				"query": {query}, "start": {unixText(from)}, "end": {unixText(now)}, "step": {strconv.FormatFloat(c.step.Seconds(), 'f', -1, 64)},
			}.Encode())
			some += agree(t, query+" over "+c.length.String(), ours, theirs)
		}
	}
	t.Logf("%d values agree", some)
	if some < 10_000 {
		t.Error("the queries find nearly nothing")
	}
}

func unixText(at time.Time) string {
	return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)
}

// replay sends every sample, in the order of time, and returns how many.
func replay(t *testing.T, from storage.Queryable, to string) int {
	t.Helper()
	q, err := from.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	type sample struct {
		at     int64
		value  float64
		series int
	}
	var all []sample
	var series [][]prompb.Label
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchNotEqual, labels.MetricName, ""))
	for set.Next() {
		var ls []prompb.Label
		set.At().Labels().Range(func(l labels.Label) { ls = append(ls, prompb.Label{Name: l.Name, Value: l.Value}) })
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			at, v := it.At()
			all = append(all, sample{at, v, len(series)})
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
		series = append(series, ls)
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	slices.SortStableFunc(all, func(a, b sample) int { return cmp.Compare(a.at, b.at) })
	for chunk := range slices.Chunk(all, 20_000) {
		slices.SortStableFunc(chunk, func(a, b sample) int { return cmp.Compare(a.series, b.series) })
		var r prompb.WriteRequest
		for i, s := range chunk {
			if i == 0 || s.series != chunk[i-1].series {
				r.Timeseries = append(r.Timeseries, prompb.TimeSeries{Labels: series[s.series]})
			}
			last := &r.Timeseries[len(r.Timeseries)-1]
			last.Samples = append(last.Samples, prompb.Sample{Timestamp: s.at, Value: s.value})
		}
		body, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, body)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-protobuf")
		request.Header.Set("Content-Encoding", "snappy")
		request.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode/100 != 2 {
			t.Fatalf("%s: %s", response.Status, text)
		}
	}
	return len(all)
}

// values are what a query found, by series and time.
type values map[string]float64

func seriesKey(metric map[string]string, at float64) string {
	names := make([]string, 0, len(metric))
	for name, v := range metric {
		names = append(names, name+"="+strconv.Quote(v))
	}
	slices.Sort(names)
	return fmt.Sprintf("{%s} @%.3f", strings.Join(names, ","), at)
}

func valuesOf(t *testing.T, r *promql.Result) values {
	t.Helper()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	out := values{}
	switch v := r.Value.(type) {
	case promql.Vector:
		for _, s := range v {
			out[seriesKey(s.Metric.Map(), float64(s.T)/1000)] = s.F
		}
	case promql.Matrix:
		for _, s := range v {
			for _, p := range s.Floats {
				out[seriesKey(s.Metric.Map(), float64(p.T)/1000)] = p.F
			}
		}
	default:
		t.Fatalf("a %T", v)
	}
	return out
}

func askReference(t *testing.T, address string) values {
	t.Helper()
	response, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
				Values [][2]any
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v %s", address, response.Status, err, body.Error)
	}
	out := values{}
	for _, s := range body.Data.Result {
		if s.Value[1] != nil {
			s.Values = append(s.Values, s.Value)
		}
		for _, v := range s.Values {
			at, _ := v[0].(float64)
			text, _ := v[1].(string)
			f, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			out[seriesKey(s.Metric, at)] = f
		}
	}
	return out
}

// agree compares two answers and returns how many values they have.
func agree(t *testing.T, what string, ours, theirs values) int {
	t.Helper()
	if len(ours) != len(theirs) {
		t.Errorf("%s: %d values, the reference has %d", what, len(ours), len(theirs))
	}
	for k, a := range ours {
		b, ok := theirs[k]
		same := a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-12*math.Max(math.Abs(a), math.Abs(b))
		if !ok || !same {
			t.Errorf("%s: %s is %v, the reference says %v (%v)", what, k, a, b, ok)
			break
		}
	}
	return len(ours)
}

// stateOf returns what an agent says about its history.
func (a *agent) stateOf() (state, reason string) {
	a.t.Helper()
	response, err := http.Get("http://" + a.address + "/api/noether/v1/check")
	if err != nil {
		a.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Store struct{ State, Reason string }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		a.t.Fatalf("%s: %v", response.Status, err)
	}
	return answer.Store.State, answer.Store.Reason
}

// Whose history is deleted under it, or can be written no more, goes on
// measuring and says why there is no history; noether check says it too.
func TestTheHistoryIsTakenAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		take   func(dir string) error
		reason string
	}{
		"deleted": {func(dir string) error { return os.RemoveAll(dir) }, "no such file or directory"},
		"a file in its place": {func(dir string) error {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			return os.WriteFile(dir, nil, 0o600)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "history")
			a := start(t, "--sensor", "model", "--interval", "1s", "--store.path", dir, "--store.interval", "1s")
			a.await("a history", func() bool { state, _ := a.stateOf(); return state == "ready" })
			out, err := exec.Command(binary, "check", "--store.path", dir).CombinedOutput()
			if want := "in use by process " + strconv.Itoa(a.cmd.Process.Pid); err != nil || !strings.Contains(strings.Join(strings.Fields(string(out)), " "), want) {
				t.Errorf("check does not say %q: %v\n%s", want, err, out)
			}
			if err := c.take(dir); err != nil {
				t.Fatal(err)
			}
			a.await("what became of it", func() bool {
				state, reason := a.stateOf()
				return state == "failed" && strings.Contains(reason, c.reason)
			})
			for range 3 {
				a.next() // a tick, whose books balance
			}
		})
	}
}
