package e2e

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"noether/internal/impact/jsyaml"
	"noether/internal/impact/value"
	"noether/test/machine"
)

const examples = "../../examples"

// example returns the text of an example with some of its words changed; each
// must be there exactly once.
func example(t *testing.T, name string, changes ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, name))
	if err != nil {
		t.Fatal(err)
	}
	s := string(text)
	for i := 0; i < len(changes); i += 2 {
		if n := strings.Count(s, changes[i]); n != 1 {
			t.Fatalf("%s has %q %d times, want once", name, changes[i], n)
		}
		s = strings.Replace(s, changes[i], changes[i+1], 1)
	}
	return s
}

// ran is how a run of the binary ended.
type ran struct {
	code           int
	stdout, stderr string
	output         *value.Object // the manifest that it wrote
	left           []string      // files that it left beside that
}

// execution returns the status and the error that the output tells.
func (r *ran) execution() (status, message string) {
	e := r.output.Get("execution").Object()
	return e.Get("status").String(), e.Get("error").String()
}

// runManifest runs a manifest as a user does: the binary, the environment, and
// a directory to write to.
func runManifest(t *testing.T, manifest string, environ []string, flags ...string) *ran {
	t.Helper()
	dir := t.TempDir()
	file, out := filepath.Join(dir, "manifest.yml"), filepath.Join(dir, "out", "output.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Dir(out), 0o700); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"impact", "run", "-m", file, "-o", out}, flags...)...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = examples, append([]string{"PATH=" + os.Getenv("PATH")}, environ...), &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r := &ran{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
	files, err := os.ReadDir(filepath.Dir(out))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() != filepath.Base(out) {
			r.left = append(r.left, f.Name())
		}
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
	}
	parsed, err := jsyaml.Parse(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	r.output = parsed.Object()
	return r
}

// reads and writes name the servers to a manifest.
func reads(s *server) string  { return "PROMETHEUS_URL=" + s.url }
func writes(s *server) string { return "PROMETHEUS_REMOTE_WRITE_URL=" + s.url + "/api/v1/write" }

// shop is what the examples read: since yesterday the namespace shop runs a pod
// of 20 W (15 W its app, 5 W its sidecar) and one of 8 W, another namespace runs
// one of 50 W, the service web answers 2 requests a second and the service db,
// which is not the functional unit, 100.
//
// An hour of the shop is therefore 28 W × 3600 s = 0.028 kWh; at 350 g/kWh
// 9.8 g; and 7200 requests.
const (
	web, db         = "web-7d4b9c6f5-abcde", "db-0"
	shopCarbon      = 0.028 * 350
	webCarbon       = 0.020 * 350
	dbCarbon        = 0.008 * 350
	requestsPerHour = 7200.
)

// container is one that has run since yesterday.
type container struct {
	namespace, pod, name string
	watts                float64
}

// newShop returns the history of the shop as one exporter tells it.
func newShop(exporter string) *history {
	h := &history{}
	last := time.Now()
	first, born := last.Add(-150*time.Minute), last.Add(-24*time.Hour)
	alive := func(watts float64) life { return life{born: born, end: last, watts: watts} }
	containers := []container{{"shop", web, "app", 15}, {"shop", web, "sidecar", 5}, {"shop", db, "db", 8}, {"batch", "report-28734", "report", 50}}
	pods := []container{{"shop", web, "", 20}, {"shop", db, "", 8}, {"batch", "report-28734", "", 50}}
	switch exporter {
	case "kepler": // zones that overlap
		for _, p := range pods {
			for zone, share := range map[string]float64{"package": 0.75, "dram": 0.25, "core": 0.5, "psys": 2} {
				h.counts(fmt.Sprintf(`kepler_pod_cpu_joules_total{instance="n1:28282",job="kepler",node_name="n1",pod_id="id-%s",pod_name=%q,pod_namespace=%q,state="running",zone=%q}`, p.pod, p.pod, p.namespace, zone), alive(p.watts*share), first, last, 1)
			}
		}
	case "kepler-legacy":
		for _, c := range containers {
			for mode, share := range map[string]float64{"dynamic": 0.7, "idle": 0.3} {
				h.counts(fmt.Sprintf(`kepler_container_joules_total{container_id="c-%s",container_name=%q,container_namespace=%q,instance="n1",job="kepler",mode=%q,pod_name=%q}`, c.name, c.name, c.namespace, mode, c.pod), alive(c.watts*share), first, last, 1)
			}
		}
	case "noether":
		for _, c := range containers {
			for component, share := range map[string]float64{"cpu": 0.8, "memory": 0.2} {
				h.counts(fmt.Sprintf(`noether_container_joules_total{component=%q,container=%q,container_id="c-%s",instance="n1",job="noether",namespace=%q,node="n1",part="dynamic",pod=%q,pod_uid="u-%s",runtime="containerd"}`, component, c.name, c.name, c.namespace, c.pod, c.pod), alive(c.watts*share), first, last, 1)
			}
		}
	case "scaphandre":
		for i, c := range containers {
			for at := first.Truncate(time.Minute).Add(offset); !at.After(last); at = at.Add(scrape) {
				h.add(fmt.Sprintf(`scaph_process_power_consumption_microwatts{cmdline="",exe="/app",instance="n1:8080",job="scaphandre",kubernetes_pod_name=%q,kubernetes_pod_namespace=%q,pid="%d"}`, c.pod, c.namespace, i), at, c.watts*1e6)
			}
		}
	default:
		panic(exporter)
	}
	for code, each := range map[string]float64{"200": 1.5, "500": 0.5} {
		h.counts(fmt.Sprintf(`http_requests_total{code=%q,instance="10.0.0.1:80",namespace="shop",service="web"}`, code), alive(each), first, last, 1)
	}
	h.counts(`http_requests_total{code="200",instance="10.0.0.2:80",namespace="shop",service="db"}`, alive(100), first, last, 1)
	return h
}

// reserves adds what kube-state-metrics tells, by two replicas of it: the web
// pod reserves 1.5 and 0.5 of the 16 CPUs, the other one 1.
func (h *history) reserves() *history {
	last := time.Now()
	for at := last.Add(-150 * time.Minute).Truncate(time.Minute).Add(offset); !at.After(last); at = at.Add(scrape) {
		for _, instance := range []string{"a", "b"} {
			for _, c := range []container{{"shop", web, "app", 1.5}, {"shop", web, "sidecar", 0.5}, {"shop", db, "db", 1}} {
				h.add(fmt.Sprintf(`kube_pod_container_resource_requests{container=%q,instance=%q,namespace=%q,node="n1",pod=%q,resource="cpu",unit="core"}`, c.name, instance, c.namespace, c.pod), at, c.watts)
				h.add(fmt.Sprintf(`kube_pod_container_resource_requests{container=%q,instance=%q,namespace=%q,node="n1",pod=%q,resource="memory",unit="byte"}`, c.name, instance, c.namespace, c.pod), at, 1<<30)
			}
			h.add(fmt.Sprintf(`kube_node_status_capacity{instance=%q,node="n1",resource="cpu",unit="core"}`, instance), at, 16)
		}
	}
	return h
}

// startBoth starts a Prometheus that holds a history and takes what is
// published. The last full hour may have ended longer ago than the hour that
// Prometheus takes without a window for late samples.
func startBoth(t *testing.T, h *history) *server {
	t.Helper()
	return startPrometheus(t, promOptions{
		history: h.openMetrics(),
		flags:   []string{"--web.enable-remote-write-receiver"},
		config:  "storage: {tsdb: {out_of_order_time_window: 4h}}\n",
	})
}

// published reads a family back by path.
func (s *server) published(manifest, family string) map[string]float64 {
	out := map[string]float64{}
	for series, v := range s.query(fmt.Sprintf(`sum by (path) (last_over_time(noether_impact_%s{manifest=%q}[3h]))`, family, manifest), time.Now()) {
		path, ok := strings.CutPrefix(series, `{path="`)
		if !ok {
			s.t.Errorf("%s without a path: %s", family, series)
		}
		out[strings.TrimSuffix(path, `"}`)] = v
	}
	return out
}

func sameNumbers(t *testing.T, what string, got, want map[string]float64) {
	t.Helper()
	same := len(got) == len(want)
	for key, v := range want {
		g, ok := got[key]
		same = same && ok && math.Abs(g-v) <= 1e-9*math.Abs(v)
	}
	if !same {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestExamplesFromPrometheusToPrometheus runs the examples as they are, and
// reads the scores back by PromQL.
func TestExamplesFromPrometheusToPrometheus(t *testing.T) {
	t.Parallel()
	// Embodied carbon of an hour: 1,300,000 g ÷ 4 years × 1 hour, by reserved
	// CPUs: 2 and 1 of 16.
	const (
		server      = 1_300_000. / 126_144_000 * 3600
		webEmbodied = server * 2 / 16
		dbEmbodied  = server * 1 / 16
	)
	const db0 = `{functional_unit="requests",manifest="shop",namespace="shop",path="/shop/db-0",phase="combined",pod="db-0"}`
	byPod := map[string]float64{"/": shopCarbon, "/shop": shopCarbon, "/shop/" + web: webCarbon, "/shop/" + db: dbCarbon}
	for name, c := range map[string]struct {
		manifest, file string
		changes        []string
		history        *history
		carbon         map[string]float64 // g in the hour, by path
		labels         string             // of one series of the carbon
	}{
		"kepler":        {"shop", "kepler-sci.yml", nil, newShop("kepler"), byPod, db0},
		"kepler-legacy": {"shop", "kepler-sci.yml", []string{"preset: kepler\n", "preset: kepler-legacy\n"}, newShop("kepler-legacy"), byPod, db0},
		"scaphandre":    {"shop", "scaphandre-sci.yml", nil, newShop("scaphandre"), byPod, db0},
		"noether": {"shop", "noether-sci.yml", nil, newShop("noether"), map[string]float64{
			"/": shopCarbon, "/shop": shopCarbon, "/shop/" + web: webCarbon, "/shop/" + web + "/app": 0.015 * 350, "/shop/" + web + "/sidecar": 0.005 * 350,
			"/shop/" + db: dbCarbon, "/shop/" + db + "/db": dbCarbon,
		}, `{container="db",functional_unit="requests",manifest="shop",namespace="shop",path="/shop/db-0/db",phase="combined",pod="db-0"}`},
		"embodied": {"shop-embodied", "embodied-requests-sci.yml", nil, newShop("kepler").reserves(), map[string]float64{
			"/": shopCarbon + webEmbodied + dbEmbodied, "/shop": shopCarbon + webEmbodied + dbEmbodied,
		}, `{functional_unit="requests",manifest="shop-embodied",namespace="shop",path="/shop",phase="embodied"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startBoth(t, c.history)
			for _, what := range []string{"the first time", "again, as a Job that is tried again does"} {
				r := runManifest(t, example(t, c.file, c.changes...), []string{reads(s), writes(s)})
				if r.code != 0 || r.stderr != "" || r.stdout != "" {
					t.Fatalf("%s: exit %d, said %q and %q", what, r.code, r.stdout, r.stderr)
				}
				sci, units := map[string]float64{}, map[string]float64{}
				for path, carbon := range c.carbon {
					sci[path] = carbon / requestsPerHour
					units[path] = requestsPerHour // the service's, at every level
				}
				sameNumbers(t, "sci", s.published(c.manifest, "sci_grams"), sci)
				sameNumbers(t, "carbon", s.published(c.manifest, "carbon_grams"), c.carbon)
				sameNumbers(t, "units", s.published(c.manifest, "functional_units"), units)
				sameNumbers(t, "energy", map[string]float64{"/": s.published(c.manifest, "energy_joules")["/"]}, map[string]float64{"/": 28 * 3600})
			}
			if got := s.query(fmt.Sprintf(`last_over_time(noether_impact_carbon_grams{manifest=%q}[3h])`, c.manifest), time.Now()); got["noether_impact_carbon_grams"+c.labels] == 0 {
				t.Errorf("no carbon of %s in %v", c.labels, got)
			}
			// The one number of the page for platform engineers.
			got := s.query(`last_over_time(noether_impact_sci_grams{path="/"}[3h])`, time.Now())
			sameNumbers(t, "the score", got, map[string]float64{fmt.Sprintf(`noether_impact_sci_grams{functional_unit="requests",manifest=%q,path="/"}`, c.manifest): c.carbon["/"] / requestsPerHour})
		})
	}
}

// TestExampleOfKeplerToOtherReceivers publishes the same score elsewhere.
func TestExampleOfKeplerToOtherReceivers(t *testing.T) {
	t.Parallel()
	prometheus := startPrometheus(t, promOptions{history: newShop("kepler").openMetrics()})
	want := map[string]float64{"/": shopCarbon / requestsPerHour, "/shop": shopCarbon / requestsPerHour, "/shop/" + web: webCarbon / requestsPerHour, "/shop/" + db: dbCarbon / requestsPerHour}
	t.Run("VictoriaMetrics", func(t *testing.T) {
		t.Parallel()
		vm := startVictoriaMetrics(t, "-search.latencyOffset=0s")
		if r := runManifest(t, example(t, "kepler-sci.yml"), []string{reads(prometheus), writes(vm)}); r.code != 0 || r.stderr != "" {
			t.Fatalf("exit %d: %s", r.code, r.stderr)
		}
		vm.flush()
		sameNumbers(t, "sci", vm.published("shop", "sci_grams"), want)
	})
	t.Run("Pushgateway", func(t *testing.T) {
		t.Parallel()
		gateway := startPushgateway(t)
		if r := runManifest(t, example(t, "kepler-sci.yml", "to: remote-write", "to: pushgateway"), []string{reads(prometheus), "PUSHGATEWAY_URL=" + gateway.url}); r.code != 0 || r.stderr != "" {
			t.Fatalf("exit %d: %s", r.code, r.stderr)
		}
		page, series := gateway.get("/metrics"), fmt.Sprintf(`noether_impact_sci_grams{functional_unit="requests",instance="",job="noether_impact",manifest="shop",namespace="shop",path="/shop/%s",pod=%[1]q} `, db)
		_, line, found := strings.Cut(page, series)
		line, _, _ = strings.Cut(line, "\n")
		var got float64
		if _, err := fmt.Sscan(line, &got); !found || err != nil || math.Abs(got-want["/shop/"+db]) > 1e-12 {
			t.Errorf("%s%q, want %v", series, line, want["/shop/"+db])
		}
	})
	t.Run("a textfile", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "noether.prom")
		if r := runManifest(t, example(t, "kepler-sci.yml", "to: remote-write", "to: textfile\n        path: "+file), []string{reads(prometheus)}); r.code != 0 || r.stderr != "" {
			t.Fatalf("exit %d: %s", r.code, r.stderr)
		}
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), `path="/shop/`+db) {
			t.Errorf("%v\n%s", err, text)
		}
	})
	t.Run("explained", func(t *testing.T) {
		t.Parallel()
		// As the documentation shows it.
		text, err := os.ReadFile("../../docs/impact-kubernetes.md")
		if err != nil {
			t.Fatal(err)
		}
		_, block, found := strings.Cut(string(text), "    $ noether impact run -m kepler-sci.yml --explain 'tree.children.shop.children.db-0.outputs[0].sci'\n")
		want, _, ended := strings.Cut(block, "    …\n")
		if !found || !ended {
			t.Fatal("the documentation has no such example")
		}
		cmd := exec.CommandContext(t.Context(), binary, "impact", "run", "-m", "kepler-sci.yml", "--explain", "tree.children.shop.children.db-0.outputs[0].sci")
		cmd.Dir, cmd.Env = examples, []string{reads(prometheus)}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := string(out); !strings.HasPrefix(got, strings.ReplaceAll(strings.TrimPrefix(want, "    "), "\n    ", "\n")) {
			t.Errorf("got\n%s\nthe documentation shows\n%s", got, want)
		}
	})
	t.Run("nowhere", func(t *testing.T) {
		t.Parallel()
		r := runManifest(t, example(t, "kepler-sci.yml"), []string{reads(prometheus), "PROMETHEUS_REMOTE_WRITE_URL=http://127.0.0.1:1/api/v1/write"}, "--dry-run")
		if r.code != 0 || !strings.Contains(r.stderr, "publish would send") {
			t.Errorf("exit %d: %s", r.code, r.stderr)
		}
	})
}

// TestExampleOfKeplerOverTime reads an hour that was missed, and adds up two
// hours. In the first the shop used 40 W and served 1 request a second, in the
// second 20 W and 3: 14 g + 7 g over 3600 + 10800 requests. The mean of the two
// scores would be 1.6 times that.
func TestExampleOfKeplerOverTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	end := now.Add(-2 * time.Minute).Truncate(time.Hour)
	middle := end.Add(-time.Hour)
	count := func(at time.Time, before, after float64) float64 {
		const some = 1e6
		if at.Before(middle) {
			return some - before*middle.Sub(at).Seconds()
		}
		return some + after*at.Sub(middle).Seconds()
	}
	var h history
	for at := middle.Add(-80 * time.Minute); at.Before(now); at = at.Add(scrape) {
		h.add(`kepler_pod_cpu_joules_total{node_name="n1",pod_id="1",pod_name="web-0",pod_namespace="shop",state="running",zone="package"}`, at, count(at, 40, 20))
		h.add(`http_requests_total{namespace="shop",service="web"}`, at, count(at, 1, 3))
	}
	s := startBoth(t, &h)
	missed := example(t, "kepler-sci.yml", "        delay: 2m # at least a scrape interval\n", "        end: "+middle.UTC().Format(time.RFC3339)+"\n")
	for _, manifest := range []string{example(t, "kepler-sci.yml"), missed} {
		if r := runManifest(t, manifest, []string{reads(s), writes(s)}); r.code != 0 || r.stderr != "" {
			t.Fatalf("exit %d: %s", r.code, r.stderr)
		}
	}
	if !time.Now().Add(-2 * time.Minute).Truncate(time.Hour).Equal(end) {
		t.Skip("a new hour has begun meanwhile: the example has read another one")
	}
	const over = `sum by (manifest, path) (sum_over_time(noether_impact_carbon_grams{manifest="shop",path="/"}[30d]))
		/ sum by (manifest, path) (sum_over_time(noether_impact_functional_units{manifest="shop",path="/"}[30d]))`
	sameNumbers(t, "two hours", s.query(over, time.Now()), map[string]float64{`{manifest="shop",path="/"}`: (14. + 7) / (3600 + 10800)})
	sameNumbers(t, "the last hour", s.published("shop", "sci_grams"), map[string]float64{"/": 7. / 10800, "/shop": 7. / 10800, "/shop/web-0": 7. / 10800})
}

// TestExampleThatFails: exit 1 (0 with --compat), an output that says fail and
// why, nothing published, nothing half-written.
func TestExampleThatFails(t *testing.T) {
	t.Parallel()
	good := startPrometheus(t, promOptions{history: newShop("kepler").openMetrics()})
	locked := startLockedPrometheus(t, promOptions{}, "reader", "s3cret")
	receiver := startPrometheus(t, promOptions{flags: []string{"--web.enable-remote-write-receiver"}})
	// An exporter that was away since twenty past.
	var h history
	end := time.Now().Add(-2 * time.Minute).Truncate(time.Hour)
	h.counts(`kepler_pod_cpu_joules_total{instance="n1",job="kepler",pod_name="web-0",pod_namespace="shop",state="running",zone="package"}`, life{born: end.Add(-24 * time.Hour), end: end, watts: 20}, end.Add(-2*time.Hour), end.Add(-40*time.Minute), 1)
	left := startPrometheus(t, promOptions{history: h.openMetrics()})
	stopped := "http://" + freeAddress(t)
	for name, c := range map[string]struct {
		environ  []string
		want     []string
		computed bool // what could be computed is in the output
	}{
		"a stopped Prometheus":    {[]string{"PROMETHEUS_URL=" + stopped, writes(receiver)}, []string{"APIRequestError", stopped, "connection refused"}, false},
		"a 401":                   {[]string{reads(locked), writes(receiver), "PROMETHEUS_USERNAME=reader", "PROMETHEUS_PASSWORD=wr0ng"}, []string{"AuthorizationError", "401", locked.url}, false},
		"an empty answer":         {[]string{reads(receiver), writes(receiver)}, []string{"MissingInputDataError", "kepler_pod_cpu_joules_total", "is the exporter running"}, false},
		"no address":              {[]string{writes(receiver)}, []string{"PROMETHEUS_URL"}, false},
		"no receiver":             {[]string{reads(good), writes(good)}, []string{"--web.enable-remote-write-receiver"}, true},
		"no receiver is named":    {[]string{reads(good)}, []string{"publish cannot publish: no receiver is named: set url, or PROMETHEUS_REMOTE_WRITE_URL in the environment"}, true},
		"half of a password":      {[]string{reads(good), writes(receiver), "PROMETHEUS_REMOTE_WRITE_USERNAME=me"}, []string{"PROMETHEUS_REMOTE_WRITE_USERNAME is set without"}, true},
		"an exporter that left":   {[]string{reads(left), writes(receiver)}, []string{"preset kepler: nothing was sampled from ", "allow-gaps: true"}, false},
		"a receiver that is gone": {[]string{reads(good), "PROMETHEUS_REMOTE_WRITE_URL=" + stopped + "/api/v1/write"}, []string{stopped, "connection refused"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			manifest := example(t, "kepler-sci.yml", "to: remote-write", "to: remote-write\n        give-up-after: 1s")
			for code, flags := range [][]string{1: nil, 0: {"--compat"}} {
				r := runManifest(t, manifest, c.environ, flags...)
				status, message := r.execution()
				if r.code != code || status != "fail" || len(r.left) > 0 {
					t.Errorf("%v: exit %d, status %s, left %v", flags, r.code, status, r.left)
				}
				for _, w := range c.want {
					if !strings.Contains(message, w) || !strings.Contains(r.stdout+r.stderr, w) {
						t.Errorf("%v: %q and %q do not both say %q", flags, message, r.stdout+r.stderr, w)
					}
				}
				if strings.Contains(message+r.stdout+r.stderr, "wr0ng") {
					t.Errorf("%v: it says the password", flags)
				}
				if computed := r.output.Get("tree").Object().Get("children").Object().Len() > 0; code == 1 && computed != c.computed {
					t.Errorf("computed is %v, want %v", computed, c.computed)
				}
			}
			if got := receiver.query(`count({__name__=~"noether_impact_.*"})`, time.Now()); len(got) > 0 {
				t.Errorf("published: %v", got)
			}
		})
	}
}

// TestExampleReadsTheRealAgent: an agent divides the energy of a simulated
// machine, a Prometheus scrapes it, and the example of Noether's own metrics
// publishes the pod's joules, exact to the last one that the agent counted.
func TestExampleReadsTheRealAgent(t *testing.T) {
	t.Parallel()
	needProgram(t, "prometheus", "prometheus")
	m := node(t, machine.V2, true)
	a := start(t, "--root", m.Root(), "--interval", "200ms", "--sensor", "powercap", "--usage", "procfs", "--node-name", "n1")
	var served atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "http_requests_total{namespace=\"shop\",service=\"web\"} %d\n", served.Load())
	}))
	t.Cleanup(service.Close)
	s := startPrometheus(t, promOptions{
		flags: []string{"--web.enable-remote-write-receiver"},
		config: fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- {job_name: noether, honor_labels: true, static_configs: [{targets: [%q]}]}
- {job_name: service, honor_labels: true, static_configs: [{targets: [%q]}]}
`, a.address, strings.TrimPrefix(service.URL, "http://")),
	})
	// scraped waits until all that was scraped at a time is the pod's joules and
	// the requests that are so by now.
	scraped := func(joules float64, at time.Time) {
		t.Helper()
		a.awaitWithin(2*patience, fmt.Sprintf("a scrape of %v J after %v", joules, at), func() bool {
			now := time.Now()
			values := s.query(`sum by (__name__) ({__name__=~"noether_pod_joules_total|http_requests_total"})`, now)
			stamp := s.query(`min(timestamp({__name__=~"noether_pod_joules_total|http_requests_total"}))`, now)
			return math.Abs(values[`noether_pod_joules_total{}`]-joules) < 1e-9*(joules+1) && values[`http_requests_total{}`] == float64(served.Load()) && stamp["{}"] > float64(at.UnixMilli())/1000
		})
	}
	// edge returns a time between two scrapes that tell the same.
	edge := func(joules float64) time.Time {
		t.Helper()
		scraped(joules, time.Now())
		at := time.Now().Truncate(time.Second).Add(time.Second)
		scraped(joules, at)
		return at
	}
	work := func() {
		// 9 J of the processors and 2 J of memory, half of the busy time the pod's.
		pod := slices.IndexFunc(m.PIDs(), func(pid int) bool { return pid == 106 })
		if pod < 0 {
			t.Fatal("the machine has no process of the pod")
		}
		m.Advance(machine.Step{Energy: map[string]uint64{"intel-rapl:0": 9_000_000, "intel-rapl:0:1": 2_000_000, "intel-rapl:2": 11_000_000}, CPU: map[int]time.Duration{100: time.Second, 106: time.Second}})
	}
	pods := func() float64 { return float64(a.skip(2).joules("noether_pod_joules_total")) / 1e6 }
	work() // the pod is known before the window
	before := pods()
	from := edge(before)
	for range 3 {
		work()
		a.skip(2)
	}
	served.Store(250)
	after := pods()
	to := edge(after)
	if after <= before {
		t.Fatalf("the pod used %v J before and %v J after the work", before, after)
	}
	manifest := example(t, "noether-sci.yml",
		"level: container # or pod, or node for all that the machines used\n        namespace: shop\n", "labels: {pod_uid: pod}\n",
		"window: 1h\n        step: 1h\n        delay: 2m\n", fmt.Sprintf("start: %s\n        end: %s\n        step: %ds\n", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), int(to.Sub(from).Seconds())),
		"regroup: [namespace, pod, container]", "regroup: [pod]",
		"labels: {namespace: 0, pod: 1, container: 2}", "labels: {pod: 0}")
	r := runManifest(t, manifest, []string{reads(s), writes(s)})
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	t.Log(r.stderr) // a busy machine may miss a scrape
	used := after - before
	sameNumbers(t, "energy", s.published("shop", "energy_joules"), map[string]float64{"/": used, "/" + podUID: used})
	sameNumbers(t, "sci", s.published("shop", "sci_grams"), map[string]float64{"/": used / kWh * 350 / 250, "/" + podUID: used / kWh * 350 / 250})
}

// TestExamplesWithoutPrometheus runs the first ones that people try, and works
// their scores out by hand.
func TestExamplesWithoutPrometheus(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		carbon, units float64
	}{
		"command-sci.yml": {(82.4 + 18.4 + 91.2) / 3.6e6 * 350, 10},
		// 0.8 kWh in Berlin and 0.5 kWh in Paris; 320,000 and 180,000 requests.
		"csv-sci.yml": {0.8*350 + 0.5*50, 500_000},
	} {
		r := runManifest(t, example(t, name), nil)
		if r.code != 0 || r.stderr != "" {
			t.Errorf("%s: exit %d: %s", name, r.code, r.stderr)
			continue
		}
		period := r.output.Get("tree").Object().Get("sci-period").Object()
		sameNumbers(t, name, map[string]float64{"carbon": period.Get("carbon").Num(), "units": period.Get("units").Num(), "sci": period.Get("sci").Num()},
			map[string]float64{"carbon": c.carbon, "units": c.units, "sci": c.carbon / c.units})
	}
}

// TestExamplesAreClean lints every example, and holds that none is forgotten
// in the list of them.
func TestExamplesAreClean(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(examples, "*.yml"))
	if err != nil || len(files) < 6 {
		t.Fatalf("%v: only %v", err, files)
	}
	readme, err := os.ReadFile(filepath.Join(examples, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		code, stdout, stderr := runs(t, "impact", "check", "--lint", "-m", file)
		if code != 0 || strings.TrimSpace(stdout+stderr) != "nothing looks wrong" {
			t.Errorf("%s: exit %d\n%s%s", file, code, stdout, stderr)
		}
		if !strings.Contains(string(readme), "("+filepath.Base(file)+")") {
			t.Errorf("the README of the examples does not name %s", filepath.Base(file))
		}
	}
}

// TestLintOfExamplesFindsMistakes: what people get wrong first is found without
// asking a server.
func TestLintOfExamplesFindsMistakes(t *testing.T) {
	t.Parallel()
	for change, want := range map[[2]string]string{
		{"preset: kepler\n", "preset: keppler\n"}:       "error: initialize.plugins.energy.config.preset: ",
		{"step: 1h", "stepp: 1h"}:                       "warning: initialize.plugins.energy.config.stepp: PrometheusImporter has no such setting: did you mean step?",
		{"starts-at-zero: true", "start-at-zero: true"}: "warning: initialize.plugins.energy.config.queries.requests.start-at-zero: PrometheusImporter has no such setting: did you mean starts-at-zero?",
		{"kind: counter", "kind: conter"}:               "error: initialize.plugins.energy.config.queries.requests.kind: ",
		{"method: Sci\n", "method: Scii\n"}:             `error: initialize.plugins.sci.method: builtin has no method "Scii": did you mean Sci?`,
		{", sci, publish]", ", sci, publishh]"}:         `error: tree.pipeline.compute.3: initialize.plugins has no "publishh": did you mean publish?`,
		{"tree:\n", "trees:\n"}:                         "did you mean tree?",
	} {
		file := filepath.Join(t.TempDir(), "x.yml")
		if err := os.WriteFile(file, []byte(example(t, "kepler-sci.yml", change[0], change[1])), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, stdout, stderr := runs(t, "impact", "check", "--lint", "-m", file); !strings.Contains(stdout, want) {
			t.Errorf("%s says %q and %q, want %q", change[1], stdout, stderr, want)
		}
	}
}

// TestAlertsOfTheExamples: the rules are quiet after a success, and speak when
// the next two runs are missing.
func TestAlertsOfTheExamples(t *testing.T) {
	t.Parallel()
	rules, err := filepath.Abs(filepath.Join(examples, "kubernetes", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// A run succeeds after one minute and after one hour; none follows.
	file := filepath.Join(t.TempDir(), "test.yml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `rule_files: [%s]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - {series: 'noether_impact_last_success_timestamp_seconds{manifest="shop"}', values: '_ 60 _x58 3600'}
  alert_rule_test:
  - {eval_time: 3h, alertname: NoetherImpactNoScore, exp_alerts: []}
  - {eval_time: 3h, alertname: NoetherImpactNeverRan, exp_alerts: []}
  - eval_time: 3h16m
    alertname: NoetherImpactNoScore
    exp_alerts:
    - exp_labels: {manifest: shop, severity: warning}
      exp_annotations:
        summary: the manifest shop has published no score for 2h 16m 0s
        description: kubectl -n noether get jobs; kubectl -n noether logs job/NAME says why.
- interval: 1m
  input_series: []
  alert_rule_test:
  - {eval_time: 16m, alertname: NoetherImpactNeverRan, exp_alerts: [{exp_labels: {severity: warning}, exp_annotations: {summary: no manifest of noether impact has published a score in two days}}]}
`, rules), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), needProgram(t, "promtool", "prometheus"), "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestCronJobRunsTheExample reads the manifests for Kubernetes: strict YAML,
// nothing that a pod may not need, and the very flags that the binary has.
func TestCronJobRunsTheExample(t *testing.T) {
	t.Parallel()
	file, err := os.Open(filepath.Join(examples, "kubernetes", "cronjob.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var job struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct {
			Name, Namespace string
			Labels          map[string]string
		}
		Spec struct {
			Schedule                   string
			TimeZone                   string `yaml:"timeZone"`
			ConcurrencyPolicy          string `yaml:"concurrencyPolicy"`
			StartingDeadlineSeconds    int    `yaml:"startingDeadlineSeconds"`
			SuccessfulJobsHistoryLimit int    `yaml:"successfulJobsHistoryLimit"`
			FailedJobsHistoryLimit     int    `yaml:"failedJobsHistoryLimit"`
			JobTemplate                struct {
				Spec struct {
					BackoffLimit            int `yaml:"backoffLimit"`
					ActiveDeadlineSeconds   int `yaml:"activeDeadlineSeconds"`
					TTLSecondsAfterFinished int `yaml:"ttlSecondsAfterFinished"`
					Template                struct {
						Metadata struct{ Labels map[string]string }
						Spec     struct {
							RestartPolicy                string `yaml:"restartPolicy"`
							AutomountServiceAccountToken *bool  `yaml:"automountServiceAccountToken"`
							EnableServiceLinks           *bool  `yaml:"enableServiceLinks"`
							SecurityContext              struct {
								RunAsNonRoot   bool              `yaml:"runAsNonRoot"`
								RunAsUser      int               `yaml:"runAsUser"`
								RunAsGroup     int               `yaml:"runAsGroup"`
								FSGroup        int               `yaml:"fsGroup"`
								SeccompProfile map[string]string `yaml:"seccompProfile"`
							} `yaml:"securityContext"`
							Containers []struct {
								Name, Image     string
								ImagePullPolicy string `yaml:"imagePullPolicy"`
								Args            []string
								Env             []struct{ Name, Value string }
								VolumeMounts    []struct {
									Name      string
									MountPath string `yaml:"mountPath"`
									ReadOnly  bool   `yaml:"readOnly"`
								} `yaml:"volumeMounts"`
								Resources       map[string]map[string]string
								SecurityContext struct {
									AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
									ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
									Capabilities             struct{ Drop []string }
								} `yaml:"securityContext"`
							}
							Volumes []struct {
								Name      string
								ConfigMap struct{ Name string } `yaml:"configMap"`
								Secret    struct {
									SecretName  string `yaml:"secretName"`
									DefaultMode int    `yaml:"defaultMode"`
								}
							}
						}
					}
				}
			} `yaml:"jobTemplate"`
		}
	}
	d := yaml.NewDecoder(file)
	d.KnownFields(true)
	if err := d.Decode(&job); err != nil {
		t.Fatal(err)
	}
	pod := job.Spec.JobTemplate.Spec.Template.Spec
	c := pod.Containers[0]
	if job.Kind != "CronJob" || job.APIVersion != "batch/v1" || job.Spec.ConcurrencyPolicy != "Forbid" || pod.RestartPolicy != "Never" ||
		pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken || !pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.RunAsUser == 0 ||
		c.SecurityContext.AllowPrivilegeEscalation == nil || *c.SecurityContext.AllowPrivilegeEscalation || !c.SecurityContext.ReadOnlyRootFilesystem || !slices.Equal(c.SecurityContext.Capabilities.Drop, []string{"ALL"}) {
		t.Errorf("the pod may do more than it needs: %+v", job)
	}
	mounted := map[string]bool{}
	for _, v := range c.VolumeMounts {
		mounted[v.Name] = v.ReadOnly
	}
	for _, v := range pod.Volumes {
		if !mounted[v.Name] {
			t.Errorf("the volume %s is not mounted for reading", v.Name)
		}
	}
	// What the pod runs, run here: its arguments and environment with the
	// servers of this test and the manifest of the examples.
	if !slices.Contains(c.Args, "/manifest/sci.yml") {
		t.Fatalf("it runs %q", c.Args)
	}
	s := startBoth(t, newShop("kepler"))
	secrets := t.TempDir()
	at := func(text string) string {
		return strings.NewReplacer("/manifest/sci.yml", "kepler-sci.yml", "/secrets", secrets).Replace(text)
	}
	var args []string
	for _, arg := range c.Args {
		args = append(args, at(arg))
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir, cmd.Env = examples, []string{"PATH=" + os.Getenv("PATH")}
	for _, e := range c.Env {
		switch e.Name {
		case "PROMETHEUS_URL":
			e.Value = s.url
		case "PROMETHEUS_REMOTE_WRITE_URL":
			e.Value = s.url + "/api/v1/write"
		default:
			if path := at(e.Value); path != e.Value {
				if err := os.WriteFile(path, []byte("secret\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				e.Value = path
			}
		}
		cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
	}
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	sameNumbers(t, "sci", map[string]float64{"/": s.published("shop", "sci_grams")["/"]}, map[string]float64{"/": shopCarbon / requestsPerHour})
}
