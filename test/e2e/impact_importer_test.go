package e2e

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"noether/internal/impact/builtin"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// TestBackendsKeepTheHistoryTheyAreGiven holds what other tests here stand on:
// both databases answer with the samples that went in.
func TestBackendsKeepTheHistoryTheyAreGiven(t *testing.T) {
	t.Parallel()
	var h history
	at := time.Now().Add(-6 * time.Hour).Truncate(time.Hour)
	for i := range 10 {
		h.add(`energy_joules_total{pod="a"}`, at.Add(time.Duration(i)*15*time.Second), 1e6+float64(i)/3)
		h.add(`power_watts{pod="a"}`, at.Add(time.Duration(i)*15*time.Second), 7)
	}
	last := at.Add(9 * 15 * time.Second)
	check := func(s *server) {
		t.Helper()
		got := s.query(`last_over_time(energy_joules_total[5m])`, last)
		if v := got[`energy_joules_total{pod="a"}`] + got[`{pod="a"}`]; v != 1e6+3 {
			t.Errorf("%s: %v", s.url, got)
		}
	}
	check(startPrometheus(t, promOptions{history: h.openMetrics()}))
	vm := startVictoriaMetrics(t)
	vm.load(h.openMetrics())
	check(vm)
	gateway := startPushgateway(t)
	gateway.post("/metrics/job/test", fmt.Sprintln("up_to_now 1"))
}

// config makes a configuration of pairs of key and value.
func config(pairs ...any) *value.Object {
	o := value.NewObject(len(pairs) / 2)
	for i := 0; i < len(pairs); i += 2 {
		o.Set(pairs[i].(string), configValue(pairs[i+1]))
	}
	return o
}

func configValue(v any) value.Value {
	switch v := v.(type) {
	case string:
		return value.Text(v)
	case bool:
		return value.OfBool(v)
	case int:
		return value.Of(float64(v))
	case float64:
		return value.Of(v)
	case time.Time:
		return value.AtTime(v)
	case []string:
		return value.Texts(v...)
	case *value.Object:
		return v.Value()
	}
	panic(fmt.Sprintf("a %T in a configuration", v))
}

// importer runs one method outside an engine.
type importer struct {
	t        *testing.T
	method   string
	now      time.Time
	env      map[string]string
	mu       sync.Mutex
	warnings []string
}

func newImporter(t *testing.T) *importer {
	return &importer{t: t, method: "PrometheusImporter", now: time.Now(), env: map[string]string{}}
}

func (i *importer) run(c *value.Object, rows ...*value.Object) ([]*value.Object, error) {
	i.t.Helper()
	env := &plugin.Env{
		Dialect: plugin.Noether(),
		Now:     func() time.Time { return i.now },
		Getenv:  func(name string) string { return i.env[name] },
		HTTP:    http.DefaultClient,
		Warn: func(format string, args ...any) {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.warnings = append(i.warnings, fmt.Sprintf(format, args...))
		},
	}
	methods := builtin.Methods()
	at := slices.IndexFunc(methods, func(m plugin.Method) bool { return m.Name == i.method })
	if at < 0 {
		i.t.Fatalf("there is no method %s", i.method)
	}
	p, err := methods[at].New(env, &plugin.Declaration{Name: "prom", Path: "builtin", Method: i.method, Config: c}, &methods[at])
	if err != nil {
		return nil, err
	}
	return p.Execute(context.Background(), rows, &plugin.Node{})
}

// must runs a method that succeeds and says nothing.
func (i *importer) must(c *value.Object, rows ...*value.Object) []*value.Object {
	i.t.Helper()
	out, err := i.run(c, rows...)
	if err != nil {
		i.t.Fatal(err)
	}
	for _, w := range i.warnings {
		i.t.Errorf("it warns: %s", w)
	}
	return out
}

// energies adds up energy by columns: "shop/cart-1" for namespace and pod.
func energies(rows []*value.Object, columns ...string) map[string]float64 {
	sum := map[string]float64{}
	for _, row := range rows {
		var key []string
		for _, c := range columns {
			key = append(key, row.Get(c).String())
		}
		sum[strings.Join(key, "/")] += row.Get("energy").Num()
	}
	return sum
}

// sameEnergies compares kWh to 1e-12 of the largest.
func sameEnergies(t *testing.T, what string, got, want map[string]float64) {
	t.Helper()
	most := 0.0
	for _, v := range want {
		most = max(most, math.Abs(v))
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if v, ok := got[key]; !ok || math.Abs(v-want[key]) > 1e-12*most {
			t.Errorf("%s: %s used %.17g kWh, want %.17g", what, key, v, want[key])
		}
	}
	for key, v := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %s, which should not be there, used %v kWh", what, key, v)
		}
	}
}

// scrape is the time between samples, and offset where they lie in a minute: no
// sample falls on the edge of a step.
const (
	scrape = 15 * time.Second
	offset = 7 * time.Second
)

// life is a thing that uses power from its birth to its end.
type life struct {
	born, end time.Time
	watts     float64
	restart   time.Time // its counter begins again at 0; zero time for never
}

// joules returns what its counter stands at.
func (l life) joules(at time.Time) float64 {
	if at.After(l.end) {
		at = l.end
	}
	from := l.born
	if !l.restart.IsZero() && !at.Before(l.restart) {
		from = l.restart
	}
	return l.watts * at.Sub(from).Seconds()
}

// counts adds the samples of a life's counter, scraped from first to last, in
// unit joules. After its end there are none.
func (h *history) counts(series string, l life, first, last time.Time, unit float64) {
	for at := first.Truncate(time.Minute).Add(offset); !at.After(last); at = at.Add(scrape) {
		if !at.Before(first) && !at.Before(l.born) && !at.After(l.end) {
			h.add(series, at, l.joules(at)/unit)
		}
	}
}

// scene is a time with known energy: the window is the hour from start, the
// samples reach twenty minutes beyond it on both sides.
type scene struct {
	start, end  time.Time
	first, last time.Time
	// whole lives all the time; young is born in the window; old ends in it;
	// again counts again from 0 from a restart of the exporter on.
	whole, young, old, again life
}

func newScene() scene {
	s := scene{start: time.Now().UTC().Truncate(time.Hour).Add(-3 * time.Hour)}
	s.end = s.start.Add(time.Hour)
	s.first, s.last = s.start.Add(-20*time.Minute), s.end.Add(20*time.Minute)
	long := s.start.Add(-24 * time.Hour)
	s.whole = life{born: long, end: s.last, watts: 22}
	s.young = life{born: s.start.Add(20*time.Minute + 3*time.Second), end: s.last, watts: 30}
	s.old = life{born: long, end: s.start.Add(30*time.Minute + 2*time.Second), watts: 8}
	s.again = life{born: long, end: s.last, watts: 10, restart: s.start.Add(40*time.Minute + 12*time.Second)}
	return s
}

const kWh = 3.6e6

// want is the energy of the window, worked out by hand: power × time. The
// restart at 40:12 comes 5 s after the sample of 40:07: what was counted in
// these 5 s is lost with the counter. Samples of the old one end at 29:52 (or,
// if its end is seen, at 30:02); what came after its last sample is not known.
func (s scene) want(oldSeconds float64) map[string]float64 {
	return map[string]float64{
		"shop/whole": 22 * 3600 / kWh,
		"shop/young": 30 * (40*60 - 3) / kWh,
		"shop/again": 10 * (3600 - 5) / kWh,
		"batch/old":  8 * oldSeconds / kWh,
	}
}

func (s scene) lives() map[string]life {
	return map[string]life{"shop/whole": s.whole, "shop/young": s.young, "shop/again": s.again, "batch/old": s.old}
}

// kepler writes the scene as Kepler 0.11 does: zones that overlap, and a pod
// that ended as terminated.
func (s scene) kepler(replica string) *history {
	var h history
	for _, key := range slices.Sorted(maps.Keys(s.lives())) {
		l := s.lives()[key]
		namespace, pod, _ := strings.Cut(key, "/")
		for zone, share := range map[string]float64{"package": 0.75, "dram": 0.25, "core": 0.5, "psys": 2} {
			part := l
			part.watts *= share
			labels := func(state string) string {
				return fmt.Sprintf(`{instance="n1:28282",job="kepler",node_name="n1",pod_id="id-%s",pod_name=%q,pod_namespace=%q,state=%q,zone=%q%s}`, pod, pod, namespace, state, zone, replica)
			}
			h.counts("kepler_pod_cpu_joules_total"+labels("running"), part, s.first, s.last, 1)
			container := fmt.Sprintf(`kepler_container_cpu_joules_total{container_id="c-%s",container_name="app",instance="n1:28282",job="kepler",node_name="n1",pod_id="id-%s",state="running",zone=%q%s}`, pod, pod, zone, replica)
			h.counts(container, part, s.first, s.last, 1)
			if key == "batch/old" {
				seen := s.old.end.Truncate(time.Minute).Add(offset)
				for range 3 {
					h.add("kepler_pod_cpu_joules_total"+labels("terminated"), seen, part.joules(seen))
					seen = seen.Add(scrape)
				}
			}
		}
	}
	return &h
}

// backends starts both databases with a history.
func backends(t *testing.T, h *history) map[string]*server {
	t.Helper()
	vm := startVictoriaMetrics(t)
	vm.load(h.openMetrics())
	return map[string]*server{"Prometheus": startPrometheus(t, promOptions{history: h.openMetrics()}), "VictoriaMetrics": vm}
}

// hour is the configuration of the scene's window.
func (s scene) hour(url string, more ...any) *value.Object {
	return config(append([]any{"url", url, "start", s.start, "end", s.end, "step", "5m"}, more...)...)
}

func TestImporterReadsKepler(t *testing.T) {
	t.Parallel()
	s := newScene()
	results := map[string]map[string]float64{}
	for name, b := range backends(t, s.kepler("")) {
		t.Run(name, func(t *testing.T) {
			rows := newImporter(t).must(s.hour(b.url, "preset", "kepler"))
			// The last sample of the old one tells of 8 W up to 30:02, at 30:07.
			got := energies(rows, "namespace", "pod")
			sameEnergies(t, "pods", got, s.want(30*60+2))
			results[name] = energies(rows, "timestamp", "namespace", "pod")
			checkRows(t, s, rows)

			containers := newImporter(t).must(s.hour(b.url, "preset", "kepler", "namespace", "shop", "container", "app"))
			want := s.want(0)
			delete(want, "batch/old")
			sameEnergies(t, "containers", energies(containers, "namespace", "pod"), want)
			if got := containers[0].Get("container").Str(); got != "app" {
				t.Errorf("the container is %q", got)
			}
			parts := map[string]float64{}
			cut := s.start.Add(35 * time.Minute)
			for _, w := range [][2]time.Time{{s.start, cut}, {cut, s.end}} {
				for key, v := range energies(newImporter(t).must(config("url", b.url, "preset", "kepler", "start", w[0], "end", w[1], "step", "60s", "pod", "~.*")), "namespace", "pod") {
					parts[key] += v
				}
			}
			sameEnergies(t, "two windows", parts, got)
		})
	}
	if len(results) == 2 {
		sameEnergies(t, "step by step, VictoriaMetrics beside Prometheus", results["VictoriaMetrics"], results["Prometheus"])
	}
}

// checkRows looks at the form of rows.
func checkRows(t *testing.T, s scene, rows []*value.Object) {
	t.Helper()
	count := map[string]int{}
	for _, row := range rows {
		at, err := time.Parse("2006-01-02T15:04:05.000Z", row.Get("timestamp").Str())
		if err != nil || at.Before(s.start) || !at.Before(s.end) || at.Sub(s.start)%(5*time.Minute) != 0 || row.Get("duration").Num() != 300 {
			t.Errorf("a row is at %v for %v s", row.Get("timestamp"), row.Get("duration"))
		}
		if !row.Get("energy").IsNumber() {
			t.Errorf("energy is a %v", row.Get("energy").Kind())
		}
		count[row.Get("pod").Str()]++
	}
	want := map[string]int{"whole": 12, "again": 12, "young": 8, "old": 7} // from 20:00 on; up to 35:00
	if !maps.Equal(count, want) {
		t.Errorf("rows by pod: %v, want %v", count, want)
	}
}

func TestImporterReadsOtherPresets(t *testing.T) {
	t.Parallel()
	s := newScene()
	var h history
	for _, key := range slices.Sorted(maps.Keys(s.lives())) {
		l := s.lives()[key]
		namespace, pod, _ := strings.Cut(key, "/")
		for mode, share := range map[string]float64{"dynamic": 0.7, "idle": 0.3} {
			part := l
			part.watts *= share
			h.counts(fmt.Sprintf(`kepler_container_joules_total{container_id="c-%s",container_name="app",container_namespace=%q,instance="n1",job="kepler",mode=%q,pod_name=%q}`, pod, namespace, mode, pod), part, s.first, s.last, 1)
			h.counts(fmt.Sprintf(`kepler_container_package_joules_total{container_id="c-%s",container_name="app",container_namespace=%q,instance="n1",job="kepler",mode=%q,pod_name=%q}`, pod, namespace, mode, pod), part, s.first, s.last, 1)
			h.counts(fmt.Sprintf(`noether_pod_joules_total{component="cpu",instance="n1",job="noether",namespace=%q,node="n1",part=%q,pod=%q,pod_uid="u-%s",workload=%q,workload_kind="deployment"}`, namespace, mode, pod, pod, pod), part, s.first, s.last, 1)
		}
		// Two processes of constant power; the second one half of it.
		for pid, share := range map[string]float64{"11": 2. / 3, "12": 1. / 3} {
			for at := s.first.Truncate(time.Minute).Add(offset); !at.After(s.last); at = at.Add(scrape) {
				if !at.Before(l.born) && !at.After(l.end) {
					h.add(fmt.Sprintf(`scaph_process_power_consumption_microwatts{cmdline="",exe="/app",instance="n1:8080",job="scaphandre",kubernetes_pod_name=%q,kubernetes_pod_namespace=%q,pid=%q}`, pod, namespace, pid), at, l.watts*share*1e6)
				}
			}
		}
	}
	h.counts(`kepler_container_joules_total{container_id="system_processes",container_name="system_processes",container_namespace="system",instance="n1",job="kepler",mode="dynamic",pod_name="system_processes"}`, s.whole, s.first, s.last, 1)
	host := s.whole
	h.counts(`scaph_host_energy_microjoules{instance="n1:8080",job="scaphandre"}`, host, s.first, s.last, 1e-6)
	for name, b := range backends(t, &h) {
		t.Run(name, func(t *testing.T) {
			// The last sample of the old one is of 29:52.
			want := s.want(29*60 + 52)
			sameEnergies(t, "legacy", energies(newImporter(t).must(s.hour(b.url, "preset", "kepler-legacy")), "namespace", "pod"), want)
			sameEnergies(t, "noether", energies(newImporter(t).must(s.hour(b.url, "preset", "noether")), "namespace", "pod"), want)
			sameEnergies(t, "noether by workload", energies(newImporter(t).must(s.hour(b.url, "preset", "noether", "workload", []string{"whole", "old"}, "labels", []string{"workload"})), "workload"), map[string]float64{"whole": want["shop/whole"], "old": want["batch/old"]})
			// A gauge tells nothing of the time before its first sample, at 20:07;
			// it does not lose anything by a restart.
			want["shop/young"] = 30 * (40*60 - 7) / kWh
			want["shop/again"] = 10 * 3600 / kWh
			sameEnergies(t, "scaphandre", energies(newImporter(t).must(s.hour(b.url, "preset", "scaphandre")), "namespace", "pod"), want)
			sameEnergies(t, "scaphandre host", energies(newImporter(t).must(s.hour(b.url, "preset", "scaphandre", "level", "node")), "node"), map[string]float64{"n1:8080": 22 * 3600 / kWh})
			sameEnergies(t, "custom", energies(newImporter(t).must(s.hour(b.url, "query", `kepler_container_package_joules_total{mode="idle",pod_name="whole"}`, "kind", "counter", "unit", "J")), "timestamp"), steps(s, 0.3*22*300/kWh))

			k := newImporter(t)
			k.method = "KeplerPlugin"
			rows := k.must(config("prometheus-endpoint", b.url, "kepler-observation-window", 1500, "container-namespace", "shop", "container-name", "app"),
				config("timestamp", s.start, "duration", 3600, "tag", "x"))
			var got []string
			for _, r := range rows {
				got = append(got, fmt.Sprintf("%s %v %s %.9f", r.Get("timestamp").ISO()[11:19], r.Get("duration").Num(), r.Get("tag").Str(), r.Get("energy").Num()))
			}
			at := func(minutes int) string { return s.start.Add(time.Duration(minutes) * time.Minute).Format("15:04:05") }
			if want := []string{
				fmt.Sprintf("%s 1500 x %.9f", at(0), (22*1500+10*1500+30*(5*60-3))/kWh),
				fmt.Sprintf("%s 1500 x %.9f", at(25), (22*1500+10*(1500-5)+30*1500)/kWh),
				fmt.Sprintf("%s 600 x %.9f", at(50), (22*600+10*600+30*600)/kWh),
			}; !slices.Equal(got, want) {
				t.Errorf("KeplerPlugin: %q, want %q", got, want)
			}
		})
	}
}

// steps is the same energy in each step of the scene's window.
func steps(s scene, energy float64) map[string]float64 {
	out := map[string]float64{}
	for at := s.start; at.Before(s.end); at = at.Add(5 * time.Minute) {
		out[at.Format("2006-01-02T15:04:05.000Z")] = energy
	}
	return out
}

// join puts histories together; families must not be in two of them.
func join(histories ...*history) *history {
	var out history
	for _, h := range histories {
		for _, name := range h.families {
			if _, ok := out.lines[name]; !ok {
				out.families = append(out.families, name)
			}
			if out.lines == nil {
				out.lines = map[string][]string{}
			}
			out.lines[name] = append(out.lines[name], h.lines[name]...)
		}
	}
	return &out
}

func TestImporterTellsCopiesFromSeries(t *testing.T) {
	t.Parallel()
	s := newScene()
	h := join(s.kepler(""), s.kepler(`,prometheus_replica="b"`))
	// An exporter that comes back at another address goes on with its counter.
	moved := s.whole
	cut := s.start.Add(17 * time.Minute)
	h.counts(`noether_pod_joules_total{component="cpu",instance="10.0.0.1:9877",namespace="shop",part="dynamic",pod="moved"}`, moved, s.first, cut, 1)
	h.counts(`noether_pod_joules_total{component="cpu",instance="10.0.0.2:9877",namespace="shop",part="dynamic",pod="moved"}`, moved, cut, s.last, 1)
	for name, b := range backends(t, h) {
		t.Run(name, func(t *testing.T) {
			_, err := newImporter(t).run(s.hour(b.url, "preset", "kepler"))
			if err == nil || !strings.Contains(err.Error(), "prometheus_replica") || !strings.Contains(err.Error(), "dedup: true") {
				t.Errorf("copies: %v", err)
			}
			sameEnergies(t, "dedup", energies(newImporter(t).must(s.hour(b.url, "preset", "kepler", "dedup", true)), "namespace", "pod"), s.want(30*60+2))
			sameEnergies(t, "moved", energies(newImporter(t).must(s.hour(b.url, "preset", "noether")), "pod"), map[string]float64{"moved": 22 * 3600 / kWh})
		})
	}
}

func TestImporterJoinsOtherValues(t *testing.T) {
	t.Parallel()
	s := newScene()
	h := s.kepler("")
	requests := s.whole // 22 a second and 30 a second
	for code, pod := range map[string]string{"200": "whole", "500": "again"} {
		h.counts(fmt.Sprintf(`http_requests_total{code=%q,instance="i",namespace="shop",pod=%q}`, code, pod), requests, s.first, s.last, 1)
	}
	for at := s.first.Truncate(time.Minute).Add(offset); !at.After(s.last); at = at.Add(scrape) {
		h.add(`users{service="shop"}`, at, 40)
	}
	for name, b := range backends(t, h) {
		t.Run(name, func(t *testing.T) {
			rows := newImporter(t).must(s.hour(b.url, "preset", "kepler", "namespace", "shop", "queries", config(
				"requests", config("query", `http_requests_total{namespace="shop"}`, "kind", "counter"),
				"own", config("query", `http_requests_total{namespace="shop"}`, "kind", "counter", "labels", []string{"namespace", "pod"}, "default", 0),
				"users", config("query", "users", "kind", "gauge"),
				"peak", config("query", "max(max_over_time(users[$__step]))", "kind", "expression", "output", "users/peak"),
			)))
			if len(rows) != 12+12+8 {
				t.Fatalf("%d rows", len(rows))
			}
			for _, row := range rows {
				own := 22. * 300
				if row.Get("pod").Str() == "young" {
					own = 0
				}
				for key, want := range map[string]float64{"requests": 2 * 22 * 300, "own": own, "users": 40, "users/peak": 40} {
					if got := row.Get(key).Num(); math.Abs(got-want) > 1e-9 || !row.Get(key).IsNumber() {
						t.Errorf("%s of %v at %v is %v, want %v", key, row.Get("pod"), row.Get("timestamp"), got, want)
					}
				}
			}
			_, err := newImporter(t).run(s.hour(b.url, "preset", "kepler", "namespace", "shop", "queries", config("own", config("query", `http_requests_total`, "kind", "counter", "labels", []string{"namespace", "pod"}))))
			if err == nil || !strings.Contains(err.Error(), "queries.own") || !strings.Contains(err.Error(), "young") {
				t.Errorf("a pod without requests: %v", err)
			}
		})
	}
}

func TestImporterSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := newScene()
	for name, b := range backends(t, s.kepler("")) {
		t.Run(name, func(t *testing.T) {
			for what, test := range map[string]struct {
				config *value.Object
				want   []string
			}{
				"no such metric":    {s.hour(b.url, "preset", "noether"), []string{"MissingInputDataError", "noether_pod_joules_total", "at all"}},
				"no such namespace": {s.hour(b.url, "preset", "kepler", "namespace", "shpo"), []string{"MissingInputDataError", `pod_namespace="shpo"`}},
				"one of two":        {s.hour(b.url, "preset", "kepler", "namespace", []string{"shop", "shpo"}), []string{`"shpo"`}},
				"no pod of it":      {s.hour(b.url, "preset", "kepler", "workload", "whole"), []string{"other series of kepler_pod_cpu_joules_total"}},
				"wrong PromQL":      {s.hour(b.url, "query", "sum(", "kind", "expression", "unit", "J"), []string{"APIRequestError", b.url, "sum("}},
			} {
				_, err := newImporter(t).run(test.config)
				for _, w := range test.want {
					if err == nil || !strings.Contains(err.Error(), w) {
						t.Errorf("%s: %v does not say %s", what, err, w)
					}
				}
			}
		})
	}
}

// TestImporterRefusesASilence: an exporter that was away at the end of the
// window fails the run; a namespace whose pods all ended does not, however alike
// they look.
func TestImporterRefusesASilence(t *testing.T) {
	t.Parallel()
	s := newScene()
	h := s.kepler("")
	series := func(node, namespace, pod string) string {
		return fmt.Sprintf(`noether_pod_joules_total{component="cpu",instance="%s:9877",job="noether",namespace=%q,node=%[1]q,part="dynamic",pod=%q}`, node, namespace, pod)
	}
	gone := s.start.Add(20 * time.Minute)
	night := s.whole
	night.end = gone
	h.counts(series("n1", "day", "web"), s.whole, s.first, s.last, 1)
	h.counts(series("n1", "night", "job"), night, s.first, s.last, 1)
	h.counts(series("n2", "away", "db"), s.whole, s.first, gone, 1)
	sampled := gone.Add(offset - scrape) // the last sample
	for name, b := range backends(t, h) {
		t.Run(name, func(t *testing.T) {
			for namespace, seconds := range map[string]float64{"day": 3600, "night": sampled.Sub(s.start).Seconds()} {
				got := energies(newImporter(t).must(s.hour(b.url, "preset", "noether", "namespace", namespace)), "namespace")
				sameEnergies(t, namespace, got, map[string]float64{namespace: 22 * seconds / kWh})
			}
			_, err := newImporter(t).run(s.hour(b.url, "preset", "noether", "namespace", "away"))
			wantError(t, err, "nothing was sampled from "+sampled.Format(time.RFC3339)+" to "+s.end.Format(time.RFC3339)+" (40m8s)", `namespace="away"`, "ends at "+sampled.Format(time.RFC3339)+" or earlier", "allow-gaps: true")
			i := newImporter(t)
			rows, err := i.run(s.hour(b.url, "preset", "noether", "namespace", "away", "allow-gaps", true))
			if err != nil || len(i.warnings) != 1 || !strings.Contains(i.warnings[0], "(40m8s): what was used meanwhile is not counted") {
				t.Fatalf("allowed, it says %q, %v", i.warnings, err)
			}
			sameEnergies(t, "allowed", energies(rows, "namespace"), map[string]float64{"away": 22 * sampled.Sub(s.start).Seconds() / kWh})
			// As long as the other node's exporter is there, pods of both are counted.
			if _, err := newImporter(t).run(s.hour(b.url, "preset", "noether")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestImporterStaysBelowLimits: a server that takes few samples at a time is
// asked for less at a time, and the answer is the same.
func TestImporterStaysBelowLimits(t *testing.T) {
	t.Parallel()
	s := newScene()
	b := startPrometheus(t, promOptions{history: s.kepler("").openMetrics(), flags: []string{"--query.max-samples=400"}})
	sameEnergies(t, "pods", energies(newImporter(t).must(s.hour(b.url, "preset", "kepler")), "namespace", "pod"), s.want(30*60+2))
}

func TestImporterShowsItsPass(t *testing.T) {
	t.Parallel()
	s := newScene()
	b := startLockedPrometheus(t, promOptions{history: s.kepler("").openMetrics()}, "reader", "s3cret")
	ask := func(env map[string]string) ([]*value.Object, error) {
		i := newImporter(t)
		i.env = env
		return i.run(s.hour(b.url, "preset", "kepler"))
	}
	if _, err := ask(nil); err == nil || !strings.Contains(err.Error(), "AuthorizationError") || !strings.Contains(err.Error(), "set PROMETHEUS_USERNAME") {
		t.Errorf("without: %v", err)
	}
	if _, err := ask(map[string]string{"PROMETHEUS_USERNAME": "reader", "PROMETHEUS_PASSWORD": "wr0ng"}); err == nil || !strings.Contains(err.Error(), "401") || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("with a wrong one: %v", err)
	}
	if _, err := ask(map[string]string{"PROMETHEUS_URL": "http://other:9090", "PROMETHEUS_USERNAME": "reader", "PROMETHEUS_PASSWORD": "s3cret"}); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("credentials of another server: %v", err)
	}
	rows, err := ask(map[string]string{"PROMETHEUS_USERNAME": "reader", "PROMETHEUS_PASSWORD": "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	sameEnergies(t, "pods", energies(rows, "namespace", "pod"), s.want(30*60+2))
}

// TestManifestFromPrometheusToScore runs the binary on a manifest that reads
// Kepler's energy, and works the score out by hand.
func TestManifestFromPrometheusToScore(t *testing.T) {
	t.Parallel()
	s := newScene()
	h := s.kepler("")
	h.counts(`http_requests_total{instance="i",namespace="shop"}`, life{born: s.first, end: s.last, watts: 5}, s.first, s.last, 1)
	b := startPrometheus(t, promOptions{history: h.openMetrics()})
	manifest := fmt.Sprintf(`name: shop
initialize:
  plugins:
    energy:
      path: builtin
      method: PrometheusImporter
      config:
        preset: kepler
        namespace: shop
        start: %s
        end: %s
        step: 5m
        queries:
          requests: {query: 'http_requests_total{namespace="shop"}', kind: counter}
    carbon:
      path: builtin
      method: Multiply
      config: {input-parameters: [energy, grid/carbon-intensity], output-parameter: carbon}
      parameter-metadata:
        outputs:
          carbon: {unit: gCO2e, description: carbon, aggregation-method: {time: sum, component: sum}}
    sci:
      path: builtin
      method: Sci
      config: {functional-unit: requests}
aggregation: {metrics: [carbon], type: both}
tree:
  children:
    shop:
      pipeline: {observe: [energy], regroup: [namespace, pod], compute: [carbon, sci]}
      defaults: {grid/carbon-intensity: 400}
`, s.start.Format(time.RFC3339), s.end.Format(time.RFC3339))
	file := filepath.Join(t.TempDir(), "shop.yml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "impact", "run", "-m", file)
	cmd.Env = append(os.Environ(), "PROMETHEUS_URL="+b.url)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, stderr.String(), out)
	}
	result, err := jsyaml.Parse(out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	root := result.Object().Get("tree").Object()
	joules := 22.*3600 + 30*(40*60-3) + 10*(3600-5)
	if got, want := root.Get("aggregated").Object().Get("carbon").Num(), joules/kWh*400; math.Abs(got-want) > 1e-12*want {
		t.Errorf("carbon of the hour is %v g, want %v\n%s", got, want, out)
	}
	whole := root.Get("children").Object().Get("shop").Object().Get("children").Object().Get("shop").Object().Get("children").Object().Get("whole").Object()
	rows := whole.Get("outputs").Items()
	if len(rows) != 12 {
		t.Fatalf("%d outputs of the whole hour\n%s", len(rows), out)
	}
	if got, want := rows[3].Object().Get("sci").Num(), 22*300/kWh*400/(5*300); math.Abs(got-want) > 1e-12*want {
		t.Errorf("sci is %v, want %v", got, want)
	}
}

// TestImporterReadsTheRealAgent scrapes a running agent and holds the imported
// energy below what the counters rose around the window.
func TestImporterReadsTheRealAgent(t *testing.T) {
	t.Parallel()
	needProgram(t, "prometheus", "prometheus")
	a := start(t, "--interval", "200ms", "--node-name", "n1")
	b := startPrometheus(t, promOptions{config: fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: noether\n  honor_labels: true\n  static_configs: [{targets: [%q]}]\n", a.address)})
	a.awaitWithin(2*patience, "Prometheus to have scraped", func() bool {
		n := b.query(`min(count_over_time(noether_node_joules_total{component="cpu"}[5m]))`, time.Now())
		return n["{}"] >= 12
	})
	i := newImporter(t)
	rows, err := i.run(config("url", b.url, "preset", "noether", "level", "node", "window", "4s", "step", "2s", "delay", "3s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(i.warnings) // a busy machine may miss a scrape
	end := i.now.Add(-3 * time.Second).Truncate(2 * time.Second)
	joules := func(at time.Time) float64 { return b.query("sum(noether_node_joules_total)", at)["{}"] }
	got := energies(rows, "node")["n1"] * kWh
	// An instant query answers with the sample before.
	if most := joules(end.Add(3*time.Second)) - joules(end.Add(-4*time.Second)); len(rows) != 2 || got <= 0 || got > most {
		t.Errorf("%d rows with %v J, want 2 with more than 0 and at most %v J", len(rows), got, most)
	}
}
