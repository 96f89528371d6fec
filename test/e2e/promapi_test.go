package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"noether/test/machine"
)

// withHistory starts an agent on a simulated machine that keeps a history,
// and returns the agent's API as a server to ask.
func withHistory(t *testing.T, m *machine.Machine) (*agent, *server) {
	t.Helper()
	a := start(t, "--root", m.Root(), "--interval", "200ms", "--sensor", "powercap", "--usage", "procfs", "--node-name", "n1",
		"--store.path", filepath.Join(t.TempDir(), "history"), "--store.interval", "1s")
	s := &server{t: t, url: "http://" + a.address}
	a.await("a sample of the history", func() bool {
		resp, err := http.Get(s.url + "/api/v1/query?query=noether_node_joules_total")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return err == nil && strings.Contains(string(body), `"metric"`)
	})
	return a, s
}

// podWorks lets a simulated machine use 9 J of its processors and 2 J of memory,
// half of the busy time a pod's.
func podWorks(m *machine.Machine) {
	m.Advance(machine.Step{Energy: map[string]uint64{"intel-rapl:0": 9_000_000, "intel-rapl:0:1": 2_000_000, "intel-rapl:2": 11_000_000}, CPU: map[int]time.Duration{100: time.Second, 106: time.Second}})
}

// TestGrafanaReadsALoneAgent makes the calls of Grafana's data source, with
// data and within the first second of a store.
func TestGrafanaReadsALoneAgent(t *testing.T) {
	t.Parallel()
	m := node(t, machine.V2, true)
	_, s := withHistory(t, m)
	file, err := os.ReadFile(filepath.Join("..", "..", "internal", "web", "promapi", "testdata", "grafana.json"))
	if err != nil {
		t.Fatal(err)
	}
	seconds := func(at time.Time) string { return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', -1, 64) }
	now := time.Now()
	file = []byte(strings.NewReplacer("$START", seconds(now.Add(-time.Hour)), "$END", seconds(now.Add(time.Minute)), "$TIME", seconds(now)).Replace(string(file)))
	var list struct {
		Calls []struct {
			Name, Method, Path, Body string
			Status                   int
		}
	}
	if err := json.Unmarshal(file, &list); err != nil || len(list.Calls) < 20 {
		t.Fatalf("%d calls: %v", len(list.Calls), err)
	}
	for _, c := range list.Calls {
		req, err := http.NewRequestWithContext(t.Context(), c.Method, s.url+c.Path, strings.NewReader(c.Body))
		if err != nil {
			t.Fatal(err)
		}
		if c.Method == http.MethodPost {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Status string
			Data   json.RawMessage
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		want := max(c.Status, http.StatusOK)
		if err != nil || resp.StatusCode != want || want == http.StatusOK && (answer.Status != "success" || len(answer.Data) == 0) {
			t.Errorf("%s: %s %v %+v", c.Name, resp.Status, err, answer)
		}
		if strings.Contains(c.Name, "metric") || c.Name == "table" || c.Name == "series" || strings.HasPrefix(c.Name, "names") {
			if d := string(answer.Data); d == "[]" || strings.Contains(d, `"result":[]`) {
				t.Errorf("%s: nothing: %s", c.Name, d)
			}
		}
	}
}

// TestPrometheusFederatesALoneAgent: a Prometheus that scrapes /federate has
// every series of the agent's history, and the same values.
func TestPrometheusFederatesALoneAgent(t *testing.T) {
	t.Parallel()
	needProgram(t, "prometheus", "prometheus")
	m := node(t, machine.V2, true)
	a, s := withHistory(t, m)
	podWorks(m)
	a.skip(2)
	prometheus := startPrometheus(t, promOptions{config: fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: noether
  honor_labels: true
  metrics_path: /federate
  params: {'match[]': ['{__name__=~"noether.+"}']}
  static_configs: [{targets: [%q]}]
`, a.address)})
	const all = `{__name__=~"noether_.+_joules_total"}`
	own := regexp.MustCompile(`,?(instance|job)="[^"]*"`)
	var want, got map[string]float64
	a.await("the federated series", func() bool {
		now := time.Now()
		want, got = s.query(all, now), map[string]float64{}
		for name, v := range prometheus.query(all, now) {
			got[strings.Replace(own.ReplaceAllString(name, ""), "{,", "{", 1)] = v
		}
		if len(want) < 10 || len(got) != len(want) {
			return false
		}
		for name, v := range want {
			if w, ok := got[name]; !ok || w != v {
				return false
			}
		}
		return true
	})
	if t.Failed() {
		t.Logf("the agent has %v\nPrometheus has %v", want, got)
	}
	if up := prometheus.query(`count(noether_node_joules_total{instance="`+a.address+`",job="noether"})`, time.Now()); len(up) != 1 {
		t.Errorf("the series lack the scraper's own labels: %v", prometheus.query("noether_node_joules_total", time.Now()))
	}
}

// TestImpactReadsALoneAgent: the importer reads the joules of a pod from the
// agent itself, exact to the last one that it counted.
func TestImpactReadsALoneAgent(t *testing.T) {
	t.Parallel()
	m := node(t, machine.V2, true)
	a, s := withHistory(t, m)
	if !slices.Contains(m.PIDs(), 106) {
		t.Fatal("the machine has no process of the pod")
	}
	// edge returns a time between two samples that both tell these joules.
	edge := func(joules float64) time.Time {
		t.Helper()
		told := func(after time.Time) {
			t.Helper()
			a.await(fmt.Sprintf("a sample of %v J after %v", joules, after), func() bool {
				now := time.Now()
				values, stamps := s.query(`sum(noether_pod_joules_total)`, now), s.query(`min(timestamp(noether_pod_joules_total))`, now)
				return math.Abs(values["{}"]-joules) < 1e-9*(joules+1) && stamps["{}"] > float64(after.UnixMilli())/1000
			})
		}
		told(time.Now())
		at := time.Now().Truncate(time.Second).Add(time.Second)
		told(at)
		return at
	}
	pods := func() float64 { return float64(a.skip(2).joules("noether_pod_joules_total")) / 1e6 }
	podWorks(m) // the pod is known before the window
	before := pods()
	from := edge(before)
	for range 3 {
		podWorks(m)
		a.skip(2)
	}
	after := pods()
	to := edge(after)
	if after <= before {
		t.Fatalf("the pod used %v J before and %v J after the work", before, after)
	}
	r := runManifest(t, fmt.Sprintf(`name: lone
initialize:
  plugins:
    energy:
      path: builtin
      method: PrometheusImporter
      config:
        preset: noether
        labels: {pod_uid: pod}
        start: %s
        end: %s
        step: %ds
tree:
  pipeline:
    observe: [energy]
    regroup: [pod]
`, from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), int(to.Sub(from).Seconds())), []string{reads(s)})
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	rows := r.output.Get("tree").Object().Get("children").Object().Get(podUID).Object().Get("inputs").Items()
	if len(rows) != 1 {
		t.Fatalf("%d rows of the pod, want 1: %s", len(rows), r.stderr)
	}
	energy := rows[0].Object().Get("energy").Num()
	sameNumbers(t, "energy", map[string]float64{"kWh": energy}, map[string]float64{"kWh": (after - before) / 3.6e6})
}
