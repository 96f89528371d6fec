package e2e

import (
	"encoding/json"
	"fmt"
	"io"
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
)

// startUI starts the page over a Prometheus.
func startUI(t *testing.T, env []string, prometheus string, args ...string) *server {
	t.Helper()
	address := freeAddress(t)
	argv := append(slices.Clone(env), binary, "ui", "--prometheus", prometheus, "--listen", address)
	return startServer(t, address, "/readyz", nil, "env", append(argv, args...)...)
}

// answer is one of the Prometheus API, or of an error in its form.
type answer struct {
	Status, ErrorType, Error string
	Data                     json.RawMessage
}

// ask sends a request as a browser does, with a cookie that is nobody's business.
func ask(t *testing.T, method, address string, form url.Values) (int, http.Header, answer) {
	t.Helper()
	body := ""
	if method == http.MethodPost {
		body = form.Encode()
	} else if len(form) > 0 {
		address += "?" + form.Encode()
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", "session=1")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(content, &a); err != nil {
		t.Errorf("%s %s: %v\n%.300s", method, address, err, content)
	}
	return resp.StatusCode, resp.Header, a
}

func seconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// TestUIOverPrometheus is the page's server over a real Prometheus with a
// password and a path: its answers are that server's own.
func TestUIOverPrometheus(t *testing.T) {
	t.Parallel()
	const password = "not-to-be-told"
	now := time.Now().Truncate(time.Second)
	var history strings.Builder
	history.WriteString("# TYPE noether_node_joules counter\n")
	for _, component := range []string{"cpu", "memory"} {
		for i := range 120 {
			fmt.Fprintf(&history, "noether_node_joules_total{node=\"n1\",component=%q} %d %d\n", component, i*150, now.Add(time.Duration(i-120)*30*time.Second).Unix())
		}
	}
	history.WriteString("# EOF\n")
	prometheus := startLockedPrometheus(t, promOptions{history: history.String()}, "ada", password)
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	page := startUI(t, []string{"PROMETHEUS_USERNAME=ada", "PROMETHEUS_PASSWORD_FILE=" + secret}, prometheus.url, "--step", "30s", "--web.external-url", "https://example.org/energy/")

	start, end := now.Add(-30*time.Minute), now.Add(-2*time.Minute)
	span := url.Values{"query": {`sum by (component) (rate(noether_node_joules_total[2m]))`}, "start": {seconds(start)}, "end": {seconds(end)}, "step": {"60"}}
	for _, q := range []struct {
		method, path string
		form         url.Values
		want         string // a part of the data
	}{
		{"POST", "/api/v1/query_range", span, `"5"]`}, // 150 J in 30 s
		{"GET", "/api/v1/query_range", span, `"5"]`},
		{"GET", "/energy/api/v1/query", url.Values{"query": {"sum(noether_node_joules_total)"}, "time": {seconds(end)}}, `"resultType":"vector"`},
		{"GET", "/api/v1/label/component/values", url.Values{"match[]": {"noether_node_joules_total"}}, `["cpu","memory"]`},
		{"POST", "/api/v1/series", url.Values{"match[]": {`{component="cpu"}`}, "start": {seconds(start)}}, `"node":"n1"`},
		{"GET", "/api/v1/labels", nil, `"component"`},
		{"GET", "/api/v1/status/buildinfo", nil, `"version"`},
	} {
		code, header, a := ask(t, q.method, page.url+q.path, q.form)
		if code != http.StatusOK || a.Status != "success" || !strings.Contains(string(a.Data), q.want) {
			t.Errorf("%s %s: %d %+v, want %s", q.method, q.path, code, a.Error, q.want)
		}
		for name, want := range map[string]string{"Content-Type": "application/json", "Set-Cookie": "", "X-Content-Type-Options": "nosniff"} {
			if got := header.Get(name); got != want {
				t.Errorf("%s %s: %s %q", q.method, q.path, name, got)
			}
		}
		// What the server itself says, byte by byte.
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, prometheus.url+strings.TrimPrefix(q.path, "/energy")+"?"+q.form.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("ada", password)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var direct answer
		err = json.NewDecoder(resp.Body).Decode(&direct)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(direct.Data), string(a.Data)); diff != "" {
			t.Errorf("%s %s: other than Prometheus says:\n%s", q.method, q.path, diff)
		}
	}

	if code, _, a := ask(t, "POST", page.url+"/api/v1/query", url.Values{"query": {"sum("}}); code != http.StatusBadRequest || a.ErrorType != "bad_data" || !strings.Contains(a.Error, "parse error") {
		t.Errorf("a broken query: %d %+v", code, a)
	}
	for _, path := range []string{"/api/v1/status/config", "/api/v1/admin/tsdb/snapshot", "/api/v1/targets", "/api/noether/v1/check", "/api/noether/v1/snapshot", "/api/noether/v1/forecast"} {
		if code, _, a := ask(t, "GET", page.url+path, nil); code != http.StatusNotFound || a.Error == "" {
			t.Errorf("%s: %d %+v", path, code, a)
		}
	}
	var info map[string]any
	if _, body := fetch(t, page.url+"/api/noether/v1/page"); json.Unmarshal([]byte(body), &info) != nil || info["source"] != "prometheus" ||
		info["backend"] != strings.TrimPrefix(prometheus.url, "http://") || info["step_seconds"] != 30.0 || info["snapshot"] != false || info["long"] != nil {
		t.Errorf("the page is told %v", info)
	}
	if code, body := fetch(t, page.url+"/"); code != http.StatusOK || !strings.Contains(body, "<title>Noether</title>") {
		t.Errorf("the page: %d\n%.300s", code, body)
	}

	locked := startUI(t, nil, prometheus.url)
	if code, header, a := ask(t, "GET", locked.url+"/api/v1/query", url.Values{"query": {"1"}}); code != http.StatusBadGateway || !strings.Contains(a.Error, "PROMETHEUS_USERNAME") || header.Get("WWW-Authenticate") != "" {
		t.Errorf("without the password: %d %+v", code, a)
	}
	lost := startUI(t, nil, "http://"+freeAddress(t))
	if code, _, a := ask(t, "GET", lost.url+"/api/v1/query", url.Values{"query": {"1"}}); code != http.StatusBadGateway || !strings.Contains(a.Error, "connection refused") {
		t.Errorf("nobody there: %d %+v", code, a)
	}
	keeps(t, page.pid, password, page.log.String())
}

// TestAgentIsItsOwnDataSource: what an agent measured is there to be queried,
// by it and by a page over it, and again after a restart.
func TestAgentIsItsOwnDataSource(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "history")
	args := []string{"--sensor", "model", "--interval", "1s", "--store.path", dir, "--store.interval", "1s"}
	a := start(t, args...)
	page := startUI(t, nil, "http://"+a.address)
	joules := func(base string) string {
		_, _, got := ask(t, "POST", base+"/api/v1/query", url.Values{"query": {"count_over_time(noether_node_joules_total{component=\"cpu\",part=\"idle\"}[5m])"}})
		if got.Status != "success" || !strings.Contains(string(got.Data), `"metric"`) {
			return ""
		}
		return string(got.Data)
	}
	a.await("a history", func() bool { return joules("http://"+a.address) != "" })
	a.await("a history through the page", func() bool { return joules(page.url) != "" })
	var check struct {
		Store struct{ State, Reason string }
		Agent struct {
			RSS       float64  `json:"rss_bytes"`
			Imbalance *float64 `json:"imbalance_joules"`
		}
		Sensors []struct {
			Name   string
			Chosen bool
		}
	}
	if _, body := fetch(t, "http://"+a.address+"/api/noether/v1/check"); json.Unmarshal([]byte(body), &check) != nil || check.Store.State != "ready" || check.Agent.RSS < 1e6 || check.Agent.Imbalance == nil || *check.Agent.Imbalance != 0 ||
		!slices.ContainsFunc(check.Sensors, func(s struct {
			Name   string
			Chosen bool
		},
		) bool {
			return s.Name == "model" && s.Chosen
		}) {
		t.Errorf("check: %s", body)
	}
	a.stop()
	again := start(t, args...)
	again.await("what was before the restart", func() bool {
		_, _, got := ask(t, "GET", "http://"+again.address+"/api/v1/query", url.Values{"query": {"max_over_time(noether_start_time_seconds[10m]) - min_over_time(noether_start_time_seconds[10m]) > 0"}})
		return strings.Contains(string(got.Data), `"value"`)
	})

	// A directory that cannot be used costs the history, and nothing else.
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	broken := start(t, "--sensor", "model", "--interval", "1s", "--store.path", filepath.Join(file, "history"))
	broken.await("a reason", func() bool {
		_, body := fetch(t, "http://"+broken.address+"/api/noether/v1/page")
		return strings.Contains(body, `"source":"none"`) && strings.Contains(body, `"reason":"`)
	})
	if p := broken.scrape(); p.joules("noether_node_joules_total") <= 0 {
		t.Error("it does not measure")
	}
	if !strings.Contains(broken.log.String(), "level=ERROR") {
		t.Errorf("nothing is logged:\n%s", broken.log.String())
	}
}
