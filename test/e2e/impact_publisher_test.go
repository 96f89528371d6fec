package e2e

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact"
	"noether/internal/impact/builtin"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
)

// publish runs a manifest of two pods over the hour that ends at end, and
// publishes it. Pod a has carbon 9 and 1 g and 1.5 and 0.5 kWh in its halves,
// pod b half of that; the shop served 2 and 4 requests. So the period's scores
// are 10/6, 5/6 and 15/6 g.
func publish(t *testing.T, name, config string, end time.Time, factor float64, environ map[string]string) (warnings []string, err error) {
	t.Helper()
	var y strings.Builder
	fmt.Fprintf(&y, `name: %s
initialize:
  plugins:
    sci: {path: builtin, method: Sci, config: {functional-unit: requests}}
    publish:
      path: builtin
      method: PrometheusPublisher
      config: {labels: {namespace: 0, pod: 1}, boundary: the pods, methodology: by hand, %s}
tree:
  pipeline: {compute: [sci, publish]}
  children:
    shop:
      children:
`, name, config)
	for i, pod := range []string{"pod-a", "pod-b"} {
		share := factor / float64(i+1)
		fmt.Fprintf(&y, `        %s:
          inputs:
            - {timestamp: "%s", duration: 1800, carbon: %v, energy: %v, requests: 2}
            - {timestamp: "%s", duration: 1800, carbon: %v, energy: %v, requests: 4}
`, pod, end.Add(-time.Hour).UTC().Format(time.RFC3339), 9*share, 1.5*share, end.Add(-30*time.Minute).UTC().Format(time.RFC3339), share, 0.5*share)
	}
	manifest, err := jsyaml.Parse([]byte(y.String()))
	if err != nil {
		t.Fatalf("%v\n%s", err, y.String())
	}
	var mu sync.Mutex
	outcome := impact.Run(t.Context(), manifest, impact.Options{Methods: builtin.Methods(), Env: &plugin.Env{
		Dialect: plugin.Noether(), Now: time.Now, HTTP: http.DefaultClient, Random: func() float64 { return 0 },
		Getenv: func(key string) string { return environ[key] },
		Warn: func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			warnings = append(warnings, fmt.Sprintf(format, args...))
		},
	}})
	return warnings, outcome.Err
}

// scores asks a database for the scores of a manifest, by path.
func (s *server) scores(manifest, family string, at time.Time) map[string]float64 {
	out := map[string]float64{}
	for series, v := range s.query(fmt.Sprintf(`last_over_time(noether_impact_%s{manifest=%q}[1h])`, family, manifest), at) {
		_, path, _ := strings.Cut(series, `path="`)
		path, _, _ = strings.Cut(path, `"`)
		out[path] = v
	}
	return out
}

// checkScores compares what is stored with the scores worked out by hand.
func (s *server) checkScores(manifest string, at time.Time, factor float64) {
	s.t.Helper()
	for family, want := range map[string]map[string]float64{
		"sci_grams":                    {"/shop/pod-a": 10. / 6 * factor, "/shop/pod-b": 5. / 6 * factor, "/shop": 15. / 6 * factor, "/": 15. / 6 * factor},
		"carbon_grams":                 {"/shop/pod-a": 10 * factor, "/shop/pod-b": 5 * factor, "/shop": 15 * factor, "/": 15 * factor},
		"energy_joules":                {"/shop/pod-a": 7.2e6 * factor, "/shop/pod-b": 3.6e6 * factor, "/shop": 10.8e6 * factor, "/": 10.8e6 * factor},
		"functional_units":             {"/shop/pod-a": 6, "/shop/pod-b": 6, "/shop": 6, "/": 6},
		"window_end_timestamp_seconds": {"/shop/pod-a": float64(at.Unix()), "/shop/pod-b": float64(at.Unix()), "/shop": float64(at.Unix()), "/": float64(at.Unix())},
	} {
		got := s.scores(manifest, family, at)
		for path, v := range want {
			if g, ok := got[path]; !ok || math.Abs(g-v) > 1e-9*v || len(got) != len(want) {
				s.t.Errorf("%s %s of %s: %v, want %v", s.url, family, path, got, want)
				break
			}
		}
	}
}

func receiver(url string) string { return "url: " + url + "/api/v1/write" }

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v, want %q", err, w)
		}
	}
}

func TestPublishToPrometheus(t *testing.T) {
	t.Parallel()
	s := startPrometheus(t, promOptions{flags: []string{"--web.enable-remote-write-receiver"}})
	end := time.Now().Add(-10 * time.Minute).Truncate(time.Minute)
	send := func(name, config string, end time.Time, factor float64) error {
		t.Helper()
		warnings, err := publish(t, name, receiver(s.url)+config, end, factor, nil)
		if len(warnings) > 0 {
			t.Errorf("said %q", warnings)
		}
		return err
	}
	for _, what := range []string{"the first time", "again"} {
		if err := send("hourly", "", end, 1); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		s.checkScores("hourly", end, 1)
	}
	wantError(t, send("hourly", "", end, 1.5), "400 Bad Request: duplicate sample for timestamp", "another value was written", s.url+"/api/v1/write")
	s.checkScores("hourly", end, 1)
	wantError(t, send("hourly", "", end.Add(-time.Minute), 1), "out of order sample", "storage.tsdb.out_of_order_time_window")
	wantError(t, send("old", "", end.Add(-6*time.Hour), 1), "out of bounds", "storage.tsdb.out_of_order_time_window")
	if err := send("hourly", "", end.Add(5*time.Minute), 2); err != nil {
		t.Fatal(err)
	}
	s.checkScores("hourly", end.Add(5*time.Minute), 2)

	// What was published names its boundary, and when it was last published.
	info := s.query(`last_over_time(noether_impact_info{manifest="hourly"}[1h])`, time.Now())
	if diff := cmp.Diff(map[string]float64{`noether_impact_info{boundary="the pods",manifest="hourly",methodology="by hand"}`: 1}, info); diff != "" {
		t.Error(diff)
	}
	for _, v := range s.query(`time() - last_over_time(noether_impact_last_success_timestamp_seconds[1h])`, time.Now()) {
		if v < 0 || v > 60 {
			t.Errorf("last success %v s ago", v)
		}
	}
	// Labels come from the tree.
	if got := s.query(`sum by (namespace, pod) (last_over_time(noether_impact_carbon_grams{manifest="hourly",pod!=""}[1h]))`, end.Add(5*time.Minute)); got[`{namespace="shop",pod="pod-a"}`] != 20 || len(got) != 2 {
		t.Errorf("by pod: %v", got)
	}

	// One sample for each row.
	if err := send("steps", ", samples: steps, components: leaves", end, 1); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]float64{end.Add(-30 * time.Minute): 9. / 2, end: 1. / 4} {
		if got := s.scores("steps", "sci_grams", at); got["/shop/pod-a"] != want || len(got) != 2 {
			t.Errorf("step at %v: %v, want %v", at, got, want)
		}
	}
	if got := s.query(`count_over_time(noether_impact_sci_grams{manifest="steps",pod="pod-a"}[2h])`, end); len(got) != 1 {
		t.Errorf("steps: %v", got)
	} else {
		for _, v := range got {
			if v != 2 {
				t.Errorf("%v steps, want 2", v)
			}
		}
	}
}

func TestPublishOutOfOrderWindow(t *testing.T) {
	t.Parallel()
	s := startPrometheus(t, promOptions{flags: []string{"--web.enable-remote-write-receiver"}, config: "storage: {tsdb: {out_of_order_time_window: 1h}}\n"})
	end := time.Now().Add(-10 * time.Minute).Truncate(time.Minute)
	for _, at := range []time.Time{end, end.Add(-20 * time.Minute)} {
		if _, err := publish(t, "late", receiver(s.url), at, 1, nil); err != nil {
			t.Fatal(err)
		}
		s.checkScores("late", at, 1)
	}
	_, err := publish(t, "late", receiver(s.url), end.Add(-5*time.Hour), 1, nil)
	wantError(t, err, "too old sample", "storage.tsdb.out_of_order_time_window")
}

func TestPublishNeedsAReceiverAndCredentials(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(-10 * time.Minute).Truncate(time.Minute)
	closed := startPrometheus(t, promOptions{})
	_, err := publish(t, "x", receiver(closed.url), end, 1, nil)
	wantError(t, err, "404", "--web.enable-remote-write-receiver")

	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startLockedPrometheus(t, promOptions{flags: []string{"--web.enable-remote-write-receiver"}}, "writer", "right")
	_, err = publish(t, "x", receiver(s.url), end, 1, map[string]string{"PROMETHEUS_REMOTE_WRITE_USERNAME": "writer", "PROMETHEUS_REMOTE_WRITE_PASSWORD": "wrong"})
	wantError(t, err, "401", "by file or environment")
	if strings.Contains(err.Error(), "wrong") {
		t.Errorf("the password is in %v", err)
	}
	if _, err = publish(t, "x", "credentials: SHOP", end, 1, map[string]string{"SHOP_URL": s.url + "/api/v1/write", "SHOP_USERNAME": "writer", "SHOP_PASSWORD_FILE": password}); err != nil {
		t.Error(err)
	}
}

func TestPublishInVersion2(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(-10 * time.Minute).Truncate(time.Minute)
	t.Run("to a receiver of 1.0", func(t *testing.T) {
		t.Parallel()
		for _, s := range []*server{
			startPrometheus(t, promOptions{flags: []string{"--web.enable-remote-write-receiver"}}),
			startVictoriaMetrics(t, "-search.latencyOffset=0s"),
		} {
			for range 2 {
				warnings, err := publish(t, "two", receiver(s.url)+`, version: "2.0"`, end, 1, nil)
				if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "does not speak remote-write 2.0") {
					t.Errorf("%v, said %q", err, warnings)
				}
			}
			s.flush()
			s.checkScores("two", end, 1)
		}
	})
	t.Run("to a receiver of 2.0", func(t *testing.T) {
		t.Parallel()
		dir, address := t.TempDir(), freeAddress(t)
		config := filepath.Join(dir, "prometheus.yml")
		if err := os.WriteFile(config, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := startServer(t, address, "/-/ready", nil, needPrometheus3(t), "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--web.enable-remote-write-receiver")
		send := func(version string, end time.Time, factor float64) error {
			t.Helper()
			warnings, err := publish(t, "two", receiver(s.url)+", version: "+version, end, factor, nil)
			if len(warnings) > 0 {
				t.Errorf("said %q", warnings)
			}
			return err
		}
		for _, version := range []string{`"2.0"`, "2.0", "1.0"} {
			if err := send(version, end, 1); err != nil {
				t.Fatal(err)
			}
			s.checkScores("two", end, 1)
		}
		for _, version := range []string{"2.0", "1.0"} {
			wantError(t, send(version, end, 3), "duplicate sample for timestamp", "another value was written")
			wantError(t, send(version, end.Add(-time.Minute), 1), "out of order sample", "storage.tsdb.out_of_order_time_window")
		}
		s.checkScores("two", end, 1)
		wantError(t, send("2.0", end.Add(24*time.Hour), 1), "too far in the future", "compare the clocks")
		// What was refused was no success, though the receiver stores what it can.
		_, err := publish(t, "mixed", receiver(s.url)+`, version: "2.0", samples: steps`, end.Add(-time.Hour), 1, nil)
		wantError(t, err, "out of bounds")
		if got := s.query(`last_over_time(noether_impact_last_success_timestamp_seconds{manifest="mixed"}[1h])`, time.Now().Add(time.Minute)); len(got) > 0 {
			t.Errorf("success is told of what failed: %v", got)
		}
		metadata := s.get("/api/v1/metadata?metric=noether_impact_sci_grams")
		if !strings.Contains(metadata, "gauge") && !strings.Contains(metadata, `"data":{}`) {
			t.Errorf("metadata %s", metadata)
		}
	})
}

func TestPublishToVictoriaMetrics(t *testing.T) {
	t.Parallel()
	s := startVictoriaMetrics(t, "-search.latencyOffset=0s")
	end := time.Now().Add(-2 * time.Hour).Truncate(time.Minute)
	for _, at := range []time.Time{end, end, end.Add(-24 * time.Hour)} { // it takes samples in any order
		if _, err := publish(t, "hourly", receiver(s.url), at, 1, nil); err != nil {
			t.Fatal(err)
		}
		s.flush()
		s.checkScores("hourly", at, 1)
	}
}

func TestPublishToPushgateway(t *testing.T) {
	t.Parallel()
	s := startPushgateway(t)
	end := time.Now().Add(-10 * time.Minute).Truncate(time.Minute)
	for _, name := range []string{"plain", "with / and ü"} {
		for _, components := range []string{"all", "leaves"} { // the second replaces the first
			if _, err := publish(t, `"`+name+`"`, "to: pushgateway, url: "+s.url+"/, components: "+components, end, 1, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	page := s.get("/metrics")
	for _, name := range []string{"plain", "with / and ü"} {
		want := fmt.Sprintf(`noether_impact_sci_grams{functional_unit="requests",instance="",job="noether_impact",manifest=%q,namespace="shop",path="/shop/pod-a",pod="pod-a"} 1.6666666666666667`, name)
		if !strings.Contains(page, want) {
			t.Errorf("no %s in\n%s", want, page)
		}
		if strings.Contains(page, fmt.Sprintf(`manifest=%q,namespace="shop",path="/shop"}`, name)) {
			t.Error("what was pushed first is still there")
		}
	}
	_, err := publish(t, "x", "to: pushgateway, url: "+s.url+"/none", end, 1, nil)
	wantError(t, err, "404", "Pushgateway")
}

// get returns a page.
func (s *server) get(path string) string {
	s.t.Helper()
	resp, err := http.Get(s.url + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s %v", path, resp.Status, err)
	}
	return string(body)
}

// flush makes what a VictoriaMetrics was sent visible; others have nothing to flush.
func (s *server) flush() {
	if resp, err := http.Get(s.url + "/internal/force_flush"); err == nil {
		resp.Body.Close()
	}
}

// TestQuestionsPublishNothing: what asks about a run neither publishes nor says
// what it would, unless a dry run is asked for.
func TestQuestionsPublishNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target, manifest, output := filepath.Join(dir, "x.prom"), filepath.Join(dir, "m.yml"), filepath.Join(dir, "o.yaml")
	text := strings.Replace(example(t, "csv-sci.yml", "compute: [", "compute: [publish, "), "  plugins:\n", "  plugins:\n    publish: {path: builtin, method: PrometheusPublisher, config: {to: textfile, path: "+target+", components: all}}\n", 1)
	text = strings.ReplaceAll(text, "csv-sci.csv", examples+"/csv-sci.csv")
	if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runs(t, "impact", "run", "-m", manifest, "-o", output, "--dry-run"); code != 0 || !strings.Contains(stderr, "publish would send") {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	for _, args := range [][]string{
		{"run", "--trace", "-m", manifest},
		{"run", "--explain", "tree.sci-period.carbon", "-m", manifest},
		{"report", "-m", manifest},
		{"check", "-m", output},
		{"check", "-d", dir},
	} {
		_, stdout, stderr := runs(t, append([]string{"impact"}, args...)...)
		if strings.Contains(stderr, "would send") || stdout == "" {
			t.Errorf("%v says %q", args, stderr)
		}
		if _, err := os.Stat(target); err == nil {
			t.Fatalf("%v publishes", args)
		}
	}
	if _, _, stderr := runs(t, "impact", "report", "-m", manifest, "--dry-run"); !strings.Contains(stderr, "would send") {
		t.Errorf("a dry run that is asked for says %q", stderr)
	}
	if code, _, stderr := runs(t, "impact", "run", "-n", "-m", manifest); code != 0 || stderr != "" {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, err := os.Stat(target); err != nil {
		t.Error(err)
	}
}
