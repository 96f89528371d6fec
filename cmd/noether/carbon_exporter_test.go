package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
	"noether/internal/grid/configmap"
	"noether/internal/grid/watch"
	"noether/internal/identity/kube"
	"noether/internal/unit"
)

// intensityTable writes a table with four days of hours around now and returns
// its path. Every hour is 100 g/kWh, the tenth from now 40.
func intensityTable(t *testing.T, zone string) string {
	t.Helper()
	text := []byte("timestamp,zone,gCO2e/kWh\n")
	now := time.Now().UTC().Truncate(time.Hour)
	for h := -48; h < 48; h++ {
		v := 100
		if h == 10 {
			v = 40
		}
		text = fmt.Appendf(text, "%s,%s,%d\n", now.Add(time.Duration(h)*time.Hour).Format(time.RFC3339), zone, v)
	}
	file := filepath.Join(t.TempDir(), "intensity.csv")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// exporting runs an exporter until stop, which returns its exit code.
func exporting(t *testing.T, args ...string) (url string, log *lockedBuffer, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	log = &lockedBuffer{}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"carbon", "exporter", "--listen=127.0.0.1:0"}, args...), nil, strings.NewReader(""), io.Discard, log)
	}()
	end := sync.OnceValue(func() int { cancel(); return <-code })
	t.Cleanup(func() { end() })
	at := regexp.MustCompile(`listening on (http://[^/]+)/metrics`)
	for {
		if m := at.FindStringSubmatch(log.String()); m != nil {
			return m[1], log, end
		}
		select {
		case c := <-code:
			t.Fatalf("exporter ended with %d:\n%s", c, log.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// page asks until the answer has a word.
func pageWith(t *testing.T, url, word string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 1000 {
		reply, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(reply.Body)
		reply.Body.Close()
		if err == nil && strings.Contains(string(body), word) {
			return string(body)
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s never has %q", url, word)
	return ""
}

func TestCarbonExporterServesAgentsAndScripts(t *testing.T) {
	url, _, stop := exporting(t, "--zone=DE", "--zone=FR", "--zone=DE", "--provider=file:"+intensityTable(t, "DE"))
	metrics := pageWith(t, url+"/metrics", `horizon="1h"`)
	for _, line := range []string{
		`noether_grid_carbon_intensity_grams_per_kwh{estimated="false",factor="lifecycle",grid_zone="DE",provider="file",signal="average"} 100`,
		`noether_grid_carbon_intensity_grams_per_kwh{estimated="true",factor="lifecycle",grid_zone="FR",provider="yearly",signal="average"} `,
		`noether_grid_forecast_grams_per_kwh{estimated="false",factor="lifecycle",grid_zone="DE",horizon="10h",provider="file",signal="average"} 40`,
		`noether_site_source_up{grid_zone="DE",source="file"} 1`,
		`noether_site_source_up{grid_zone="FR",source="file"} 0`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("no %s in\n%s", line, metrics)
		}
	}
	pageWith(t, url+"/readyz", "ready")
	pageWith(t, url+"/healthz", "healthy")
	var answer struct {
		Now      struct{ GramsPerKWh float64 }
		Forecast []struct{}
	}
	if err := json.Unmarshal([]byte(pageWith(t, url+"/api/noether/v1/forecast?zone=DE", `"grams_per_kwh":40`)), &answer); err != nil || len(answer.Forecast) < 20 {
		t.Error(answer, err)
	}
	// What reads it: an agent's chain is the hub.
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"carbon", "now", "--csv", "--zone=DE", "--hub=" + url}, nil, strings.NewReader(""), &out, &errs); code != 0 || !strings.Contains(out.String(), "DE,100,file,average,lifecycle,") {
		t.Error(code, out.String(), errs.String())
	}
	out.Reset()
	if code := run(t.Context(), []string{"carbon", "best", "--csv", "--zone=DE", "--hub=" + url}, nil, strings.NewReader(""), &out, &errs); code != 0 || !strings.Contains(out.String(), ",40,false,100,60,60,DE,file,") {
		t.Error(code, out.String(), errs.String())
	}
	out.Reset()
	if code := run(t.Context(), []string{"carbon", "history", "--csv", "--zone=DE", "--hub=" + url, "--from=-3h", "--to=-2h"}, nil, strings.NewReader(""), &out, &errs); code != 0 || strings.Count(out.String(), ",100,false,DE,") == 0 {
		t.Error(code, out.String(), errs.String())
	}
	if code := stop(); code != 0 {
		t.Errorf("the exporter ended with %d", code)
	}
}

func TestCarbonExporterSaysWhyItDoesNotStart(t *testing.T) {
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	for args, want := range map[string]string{
		"--zone=DE --listen=" + strings.TrimPrefix(taken.URL, "http://"): "in use",
		"--zone=DE --web.config-file=/no-such-file":                      "/no-such-file",
		"--zone=DE --configmap=a/b":                                      "--kube-config",
		"--zone=DE --configmap=a/b --kube-config=/no-such-file":          "/no-such-file",
		"--zone=DE --provider=electricitymaps":                           "--grid.token-file",
		"--zone=DE --provider=watttime --token-file=/no-such-file":       "marginal",
		"--zone=DE --provider=neso,yearly --grid.factor=direct":          "neso",
	} {
		var out, errs bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // one that starts must not run for ever
		defer cancel()
		if code := run(ctx, append([]string{"carbon", "exporter", "--listen=127.0.0.1:0"}, strings.Fields(args)...), nil, strings.NewReader(""), &out, &errs); code == 0 || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: %d %s, want %q", args, code, errs.String(), want)
		}
	}
}

// configMaps is an API server that holds one ConfigMap.
type configMaps struct {
	mu     sync.Mutex
	held   []byte
	writes int
	status int // of every answer, if it is not 0
}

func (c *configMaps) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	say := func(code int, reason string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":"%s","code":%d}`, reason, reason, code)
	}
	switch {
	case c.status != 0:
		say(c.status, "Forbidden")
	case r.Method == http.MethodPost:
		c.held, _ = io.ReadAll(r.Body)
		c.writes++
		w.Write(c.held)
	case c.held == nil:
		say(http.StatusNotFound, "NotFound")
	case r.Method == http.MethodDelete:
		c.held = nil
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
	default:
		w.Write(c.held)
	}
}

func (c *configMaps) get(t *testing.T) (m configmap.ConfigMap, writes int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held != nil {
		if err := json.Unmarshal(c.held, &m); err != nil {
			t.Fatal(err)
		}
	}
	return m, c.writes
}

// kubeconfig returns a file that leads to an API server.
func kubeconfig(t *testing.T, url string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: '" + url + "'}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCarbonExporterWritesTheConfigMap(t *testing.T) {
	api := &configMaps{}
	server := httptest.NewServer(api)
	defer server.Close()
	_, log, stop := exporting(t, "--zone=DE", "--provider=file:"+intensityTable(t, "DE"), "--configmap=kube-system/carbon-intensity", "--kube-config="+kubeconfig(t, server.URL))
	for range 1000 {
		if _, n := api.get(t); n > 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	m, n := api.get(t)
	if n == 0 || m.Data["numOfRecords"] != "24" && m.Data["numOfRecords"] != "25" || m.Data["minForecast"] != "40.000000" || m.Metadata.Namespace != "kube-system" {
		t.Errorf("%d writes, %+v\n%s", n, m.Data, log.String())
	}
	if code := stop(); code != 0 {
		t.Error(code, log.String())
	}
}

func TestConfigMapIsWrittenWhenItSaysSomethingElse(t *testing.T) {
	api := &configMaps{}
	server := httptest.NewServer(api)
	defer server.Close()
	client, url, err := kube.CoreClient(kube.Options{Kubeconfig: kubeconfig(t, server.URL)}, configmap.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	state := &watch.State{Zone: "DE", Sources: []watch.Status{{Provider: "energy-charts"}}}
	name := configmap.Name{Namespace: "kube-system", Name: "carbon-intensity"}
	var log bytes.Buffer
	k := &configMapKeeper{
		store: configmap.NewStore(client, url, name), name: name,
		state: func() *watch.State { return state }, log: slog.New(slog.NewTextHandler(&log, nil)),
	}
	forecast := func(first int, values ...int) (list []watch.Sample) {
		for i, v := range values {
			from := carbonNoon.Add(time.Duration(first+i) * time.Hour)
			list = append(list, watch.Sample{From: from, To: from.Add(time.Hour), Intensity: unit.Intensity(v) * 1_000_000})
		}
		return list
	}
	for i, step := range []struct {
		what     string
		after    time.Duration
		forecast []watch.Sample
		asked    uint64
		writes   int
		low      string
		message  bool
	}{
		{"nobody was asked", 0, nil, 0, 0, "", false},
		{"a forecast", time.Minute, forecast(0, 300, 200, 100), 1, 1, "100.000000", false},
		{"the same", 2 * time.Minute, forecast(0, 300, 200, 100), 1, 1, "100.000000", false},
		{"it reaches further", 10 * time.Minute, forecast(0, 300, 200, 100, 50), 2, 1, "100.000000", false},
		{"an hour says something else", 11 * time.Minute, forecast(0, 300, 220, 100, 50), 2, 2, "50.000000", false},
		{"an hour has gone", 65 * time.Minute, forecast(1, 220, 100, 50, 40), 2, 2, "50.000000", false},
		{"an hour since it was written", 72 * time.Minute, forecast(1, 220, 100, 50, 40), 2, 3, "40.000000", false},
		{"no forecast any more", 73 * time.Minute, nil, 3, 4, "40.000000", true},
		{"still none", 74 * time.Minute, nil, 4, 4, "40.000000", true},
		{"still none after an hour", 140 * time.Minute, nil, 5, 5, "40.000000", true},
		{"again one", 141 * time.Minute, forecast(2, 100, 50), 6, 6, "50.000000", false},
	} {
		state = &watch.State{Zone: "DE", Forecast: step.forecast, Sources: []watch.Status{{Provider: "energy-charts", Requests: step.asked}}}
		if err := k.look(t.Context(), carbonNoon.Add(step.after)); err != nil {
			t.Fatalf("%d, %s: %v", i, step.what, err)
		}
		m, writes := api.get(t)
		if writes != step.writes || m.Data["minForecast"] != step.low || (m.Data["message"] != "") != step.message {
			t.Errorf("%d, %s: %d writes, want %d; %v", i, step.what, writes, step.writes, m.Data)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 3 {
		t.Errorf("%d lines of log for three changes:\n%s", n, log.String())
	}
	api.status = http.StatusForbidden
	if err := k.look(t.Context(), carbonNoon.Add(300*time.Minute)); err == nil || !strings.Contains(err.Error(), "verbs: [get, create, update, delete]") {
		t.Error(err)
	}
}

func TestShownZone(t *testing.T) {
	now := carbonNoon.Add(30 * time.Minute)
	s := &watch.State{
		Zone: "DE", Signal: grid.Average, Factor: grid.Direct,
		Past:     []watch.Sample{{From: carbonNoon, To: carbonNoon.Add(time.Hour), Intensity: 322_500_000, Provider: "rte", Updated: now}},
		Forecast: []watch.Sample{{From: carbonNoon.Add(time.Hour), To: carbonNoon.Add(2 * time.Hour), Intensity: 1, Provider: "rte"}},
		Sources:  []watch.Status{{Provider: "rte", Up: true, Requests: 2, Failures: 1, Success: now}},
	}
	z := shownZone(s, now)
	if diff := cmp.Diff(grid.Sample{From: carbonNoon, To: carbonNoon.Add(time.Hour), Intensity: 322.5}, z.Now); diff != "" || !z.Known || z.Provider != "rte" || z.ForecastBy != "rte" || !z.Updated.Equal(now) || len(z.Past) != 1 || z.Sources[0].Failures != 1 {
		t.Errorf("%s %+v", diff, z)
	}
	// An exporter that was started again does not say what stands in.
	begun := *s
	begun.Sources = []watch.Status{{Provider: "rte"}, {Provider: "yearly", Up: true, Requests: 1}}
	if z := shownZone(&begun, now); z.Known || z.Provider != "" || len(z.Sources) != 2 {
		t.Errorf("before anybody was asked: %+v", z)
	}
	// Held past its end it is estimated; then nobody knows.
	if z := shownZone(s, now.Add(2*time.Hour)); !z.Known || !z.Now.Estimated {
		t.Errorf("%+v", z)
	}
	if z := shownZone(s, now.Add(24*time.Hour)); z.Known {
		t.Errorf("%+v", z)
	}
}

// roundTrip answers requests in the tests.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestZonesOfElectricityMaps(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status := http.StatusOK
	var out, errs bytes.Buffer
	p := &process{stdout: &out, stderr: &errs, transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.String() != "https://api.electricitymaps.com/v3/zones" || r.Header.Get("Auth-Token") != "secret-key" {
			t.Errorf("asked for %s", r.URL)
		}
		w := httptest.NewRecorder()
		w.WriteHeader(status)
		fmt.Fprint(w, `{"DE":{"zoneName":"Germany","access":["*"]},"US-CAL-CISO":{"zoneName":"California ISO","access":["*"]}}`)
		return w.Result(), nil
	})}
	ask := func() error {
		out.Reset()
		errs.Reset()
		root := newRoot(p)
		root.SetArgs([]string{"carbon", "zones", "cali", "--csv", "--provider=electricitymaps", "--token-file=" + token})
		return root.ExecuteContext(t.Context())
	}
	if err := ask(); err != nil || out.String() != "zone,provider,name\nUS-CAL-CISO,electricitymaps,California ISO\n" {
		t.Error(err, out.String())
	}
	status = http.StatusUnauthorized
	if err := ask(); err == nil || strings.Contains(err.Error()+errs.String(), "secret-key") {
		t.Error(err)
	}
}
