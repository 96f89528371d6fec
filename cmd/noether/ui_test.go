package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/agent"
	"noether/internal/config"
)

func TestUICommandLine(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no server":             {nil, "noether: ui needs the address of a Prometheus: --prometheus http://HOST:9090; an agent serves its page by itself\n"},
		"a password in it":      {[]string{"--prometheus=http://a:b@p"}, "noether: --prometheus: read the address of Prometheus: it holds credentials: put them into the environment, PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD\n"},
		"no address":            {[]string{"--prometheus=p:9090"}, "noether: --prometheus: read the address of Prometheus: "},
		"no step":               {[]string{"--prometheus=http://p", "--step=0s"}, "noether: --step 0s is out of range: choose 1s to 5m0s\n"},
		"a setting of an agent": {[]string{"--prometheus=http://p", "--store.path=/x"}, "noether: unknown flag: --store.path: noether ui --help lists the flags\n"},
	} {
		code, stdout, stderr := noether(t.Context(), append([]string{"ui", "--listen=127.0.0.1:0"}, c.args...)...)
		if code != 2 || stdout != "" || !strings.HasPrefix(stderr, c.want) {
			t.Errorf("%s: code %d\n%s%s", name, code, stdout, stderr)
		}
	}
}

// serveUI runs the page over a Prometheus in this process and returns its address.
func serveUI(t *testing.T, env []string, args ...string) (address string, log *lockedBuffer) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	log = &lockedBuffer{}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"ui", "--listen=127.0.0.1:0"}, args...), env, strings.NewReader(""), io.Discard, log)
	}()
	t.Cleanup(func() {
		stop()
		if c := <-code; c != 0 {
			t.Errorf("code %d:\n%s", c, log)
		}
	})
	at := regexp.MustCompile(`the page is at (http://[^/]+)/`)
	for {
		if m := at.FindStringSubmatch(log.String()); m != nil {
			return m[1], log
		}
		select {
		case c := <-code:
			code <- c
			t.Fatalf("ended with %d:\n%s", c, log)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestUIShowsCredentialsToTheServerAlone(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer hush" || r.Header.Get("X-Scope-OrgID") != "shop" || r.URL.Path != "/prometheus/api/v1/query" {
			t.Errorf("asked for %s with %v", r.URL, r.Header)
		}
		_, _ = io.WriteString(w, `{"status":"success"}`)
	}))
	defer upstream.Close()
	address, log := serveUI(t, []string{"PROMETHEUS_BEARER_TOKEN=hush", "PROMETHEUS_TENANT=shop", "NOETHER_PROMETHEUS_URL=" + upstream.URL + "/prometheus"}, "--step=1m", "--log.level=debug")
	s := &serving{url: address}
	if got := string(s.get(t, "/api/v1/query?query=1")); got != `{"status":"success"}` {
		t.Errorf("a query: %s", got)
	}
	var info map[string]any
	if err := json.Unmarshal(s.get(t, "/api/noether/v1/page"), &info); err != nil {
		t.Fatal(err)
	}
	delete(info, "now")
	if diff := cmp.Diff(map[string]any{
		"version": build().version, "source": "prometheus", "backend": strings.TrimPrefix(upstream.URL, "http://"), "interval_seconds": 60.0, "step_seconds": 60.0,
		"long": nil, "retention_seconds": nil, "snapshot": false, "check": false, "forecast": false,
	}, info); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(log.String(), "hush") {
		t.Errorf("the log has the token:\n%s", log)
	}
}

func TestAgentTellsItsPage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	s := serve(t, io.Discard, "--store.path="+dir, "--store.interval=1s", "--store.retention.time=2d", "--node-name=n1", "--processes=off", "--grid.zone=DE")
	s.until(t, "noether_node_joules_total")
	var info map[string]any
	if err := json.Unmarshal(s.get(t, "/api/noether/v1/page"), &info); err != nil {
		t.Fatal(err)
	}
	delete(info, "now")
	if diff := cmp.Diff(map[string]any{
		"version": build().version, "source": "store", "node": "n1", "interval_seconds": 0.1, "step_seconds": 1.0,
		"long":              map[string]any{"prefix": "noether:5m:", "after_seconds": 21600.0, "step_seconds": 300.0},
		"retention_seconds": 172800.0, "processes": "off", "snapshot": true, "check": true, "forecast": true,
	}, info); diff != "" {
		t.Error(diff)
	}
	var forecast struct {
		Zone string
		Now  *struct {
			Intensity float64 `json:"grams_per_kwh"`
		}
	}
	if err := json.Unmarshal(s.get(t, "/api/noether/v1/forecast"), &forecast); err != nil || forecast.Zone != "DE" || forecast.Now == nil || forecast.Now.Intensity < 1 {
		t.Errorf("forecast %+v, %v", forecast, err)
	}
	s.stop()
	if code := <-s.code; code != 0 {
		t.Errorf("code %d\n%s", code, s.log)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
		t.Errorf("nothing was kept: %v", err)
	}
}

func TestAgentWithoutHistoryOrZoneSaysSo(t *testing.T) {
	s := serve(t, io.Discard, "--grid.zone=auto")
	s.until(t, "noether_node_joules_total")
	for path, want := range map[string]string{
		"/api/noether/v1/page":  `"source":"none","reason":"--store.path is off: leave it out, or name a directory"`,
		"/api/v1/query?query=1": "--store.path is off",
		"/api/noether/v1/check": `"store":{"state":"off","reason":"--store.path is off`,
	} {
		if got := string(s.get(t, path)); !strings.Contains(got, want) {
			t.Errorf("%s lacks %s:\n%s", path, want, got)
		}
	}
}

func TestADefaultDirectoryThatCannotBeWrittenIsNoError(t *testing.T) {
	if err := writable(filepath.Join(t.TempDir(), "a", "b")); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	p := &process{env: []string{"XDG_STATE_HOME=" + file}}
	var log lockedBuffer
	kept := openHistory(p, &cfg, about(&cfg, time.Now()), newLogger(&log, &cfg), agent.SystemClock())
	if kept.store != nil || !strings.Contains(kept.off, "set --store.path") || !strings.Contains(log.String(), "level=INFO") || kept.api(about(&cfg, time.Now()), nil, agent.SystemClock()) != nil {
		t.Errorf("%+v\n%s", kept, &log)
	}
}

func TestPageAddress(t *testing.T) {
	tcp := func(s string) []net.Addr {
		a, err := net.ResolveTCPAddr("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		return []net.Addr{a}
	}
	external, err := url.Parse("https://example.org/noether")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		external *url.URL
		scheme   string
		addrs    []net.Addr
		want     string
	}{
		{nil, "http", tcp("127.0.0.1:9877"), "http://127.0.0.1:9877/"},
		{nil, "https", tcp("[::]:9877"), "https://localhost:9877/"},
		{nil, "http", tcp("[::1]:9877"), "http://[::1]:9877/"},
		{external, "http", tcp("127.0.0.1:9877"), "https://example.org/noether/"},
		{nil, "http", nil, ""},
	} {
		if got := pageAddress(tt.external, tt.scheme, tt.addrs); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.addrs, got, tt.want)
		}
	}
}
