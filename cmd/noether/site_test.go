package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"noether/internal/export/balance"
)

const siteToken = "s3cr3t-0f-the-test"

// providerOf is a transport on which every host is one server of the test.
type providerOf struct {
	server *httptest.Server
}

func (p providerOf) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", strings.TrimPrefix(p.server.URL, "http://")
	return p.server.Client().Transport.RoundTrip(r)
}

// fakeProvider answers as Electricity Maps does if the status is 200.
func fakeProvider(t *testing.T, status int) (transport http.RoundTripper, tokenFile string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("auth-token") != siteToken {
			t.Errorf("asked without the token for %s", r.URL.Path)
		}
		if status != http.StatusOK {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(status)
			fmt.Fprintf(w, "no: %s", siteToken)
			return
		}
		hour := time.Now().UTC().Truncate(time.Hour)
		one := func(at time.Time) string {
			return fmt.Sprintf(`{"zone":"DE","carbonIntensity":322,"datetime":%q,"updatedAt":%[1]q,"emissionFactorType":"lifecycle","isEstimated":false,"temporalGranularity":"hourly"}`, at.Format("2006-01-02T15:04:05.000Z"))
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "/latest"):
			io.WriteString(w, one(hour))
		case strings.HasSuffix(r.URL.Path, "/forecast"):
			fmt.Fprintf(w, `{"zone":"DE","forecast":[%s,%s,%s]}`, one(hour), one(hour.Add(time.Hour)), one(hour.Add(2*time.Hour)))
		default:
			fmt.Fprintf(w, `{"zone":"DE","history":[%s,%s],"data":[%[1]s,%[2]s]}`, one(hour.Add(-time.Hour)), one(hour))
		}
	}))
	t.Cleanup(server.Close)
	tokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(siteToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return providerOf{server}, tokenFile
}

// serveBy is serve with another network for the providers.
func serveBy(t *testing.T, transport http.RoundTripper, args ...string) *serving {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s := &serving{stop: stop, code: make(chan int, 1), log: &lockedBuffer{}}
	p := &process{stdin: strings.NewReader(""), stdout: io.Discard, stderr: s.log, transport: transport}
	root := newRoot(p)
	root.SetArgs(append([]string{"agent", "--listen=127.0.0.1:0", "--interval=100ms", "--store.path=off", "--sensor=model"}, args...))
	go func() {
		code := 0
		if err := root.ExecuteContext(ctx); err != nil {
			code = 1
			fmt.Fprintln(s.log, err)
		}
		s.code <- code
	}()
	t.Cleanup(stop)
	at := regexp.MustCompile(`listening on (http://[^/]+)/metrics`)
	for {
		if m := at.FindStringSubmatch(s.log.String()); m != nil {
			s.url = m[1]
			return s
		}
		select {
		case code := <-s.code:
			t.Fatalf("agent ended with %d:\n%s", code, s.log.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// until returns the first page that has all of what is wanted.
func (s *serving) until(t *testing.T, want ...string) []byte {
	t.Helper()
	var page []byte
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		page = s.get(t, "/metrics")
		missing := false
		for _, w := range want {
			missing = missing || !regexp.MustCompile(w).Match(page)
		}
		if !missing {
			return page
		}
	}
	t.Fatalf("the page never had all of %q:\n%s\nthe log:\n%s", want, page, s.log)
	return nil
}

const above0 = ` (0\.0*[1-9]|[1-9])`

func TestGramsBesideJoules(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		want   []string
		warns  int
	}{
		"answered": {http.StatusOK, []string{
			`noether_grid_carbon_intensity_grams_per_kwh\{grid_zone="DE",provider="electricitymaps",signal="average",factor="lifecycle",estimated="false"\} 322`,
			`noether_site_source_up\{source="electricitymaps",grid_zone="DE"\} 1`,
			`noether_grid_forecast_grams_per_kwh\{.*horizon="1h"\} 322`,
		}, 0},
		"one request too many": {http.StatusTooManyRequests, []string{
			`provider="yearly",signal="average",factor="lifecycle",estimated="true"`,
			`noether_site_source_up\{source="electricitymaps",grid_zone="DE"\} 0`,
			`noether_site_source_failures_total\{source="electricitymaps",grid_zone="DE"\} 1`,
		}, 1},
		"a wrong key": {http.StatusUnauthorized, []string{
			`provider="yearly",signal="average",factor="lifecycle",estimated="true"`,
			`noether_site_source_up\{source="electricitymaps",grid_zone="DE"\} 0`,
			`noether_site_source_failures_total\{source="electricitymaps",grid_zone="DE"\} 1`,
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			transport, file := fakeProvider(t, c.status)
			s := serveBy(t, transport, "--grid.zone=DE", "--grid.provider=electricitymaps", "--grid.token-file="+file,
				"--pue=1.5", "--price.per-kwh=UTC 00:00=0.2 12:00=0.4", "--price.currency=EUR", "--embodied.kg=1000")
			page := s.until(t, append(c.want,
				`noether_node_joules_total\{.*\}`+above0,
				`noether_node_co2e_grams_total\{phase="operational"\}`+above0,
				`noether_node_co2e_grams_total\{phase="embodied"\}`+above0,
				`noether_node_energy_cost_total\{currency="EUR"\}`+above0,
				`noether_pue_ratio\{source="fixed"\} 1.5`)...)
			if err := balance.Check(page); err != nil {
				t.Error(err)
			}
			api := s.get(t, "/api/noether/v1/snapshot")
			s.stop()
			if code := <-s.code; code != 0 {
				t.Errorf("code %d", code)
			}
			log := s.log.String()
			if n := strings.Count(log, "level=WARN"); n != c.warns {
				t.Errorf("%d warnings, want %d:\n%s", n, c.warns, log)
			}
			if !strings.Contains(log, "grid_zone=DE") || bytes.Contains(page, []byte(siteToken)) || bytes.Contains(api, []byte(siteToken)) || strings.Contains(log, siteToken) {
				t.Errorf("the token is shown, or the zone is not:\n%s", log)
			}
		})
	}
}

func TestAMachineOfNobodyKnowsWhereHasJoulesOnly(t *testing.T) {
	s := serveBy(t, nil, "--grid.zone=auto", "--root="+emptyRoot(t), "--procfs=/proc", "--sysfs=/sys", "--cgroupfs=/sys/fs/cgroup")
	page := s.until(t, `noether_node_joules_total\{.*\}`+above0)
	if bytes.Contains(page, []byte("co2e")) || !strings.Contains(s.log.String(), "--grid.zone ZONE") {
		t.Errorf("CO2e of no grid:\n%s\nthe log:\n%s", page, s.log)
	}
	s.stop()
	<-s.code
}

func emptyRoot(t *testing.T) string {
	t.Helper()
	return t.TempDir()
}

func TestAFixedIntensityNeedsNoZone(t *testing.T) {
	s := serveBy(t, nil, "--grid.provider=fixed:100", "--root="+emptyRoot(t), "--procfs=/proc", "--sysfs=/sys", "--cgroupfs=/sys/fs/cgroup")
	s.until(t, `noether_grid_carbon_intensity_grams_per_kwh\{grid_zone="local",provider="fixed",.*\} 100`, `noether_node_co2e_grams_total\{phase="operational"\}`+above0)
	s.stop()
	<-s.code
}

func TestCheckSaysWhatCarbonLacks(t *testing.T) {
	transport, file := fakeProvider(t, http.StatusForbidden)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	check := func(args ...string) (list map[string]verdict, text string) {
		t.Helper()
		var out, stderr bytes.Buffer
		root := newRoot(&process{stdin: strings.NewReader(""), stdout: &out, stderr: &stderr, transport: transport})
		root.SetArgs(append([]string{"check", "--json", "--sensor=model"}, args...))
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err, out.String())
		}
		var r report
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		list = map[string]verdict{}
		for _, v := range r.Site {
			list[v.Name] = v
		}
		return list, out.String() + stderr.String()
	}
	got, text := check("--grid.zone=aws:eu-central-1", "--grid.provider=electricitymaps,yearly", "--grid.token-file="+file, "--pue=table", "--price.per-kwh=-0.01", "--price.currency=EUR", "--embodied.kg=off")
	for name, want := range map[string]verdict{
		"zone":            {Status: "works", Reason: "DE (set as aws:eu-central-1)", Chosen: true},
		"electricitymaps": {Status: "forbidden", Reason: "refuses the credentials", Remedy: file},
		"yearly":          {Status: "works", Reason: "gCO2e/kWh, average, lifecycle, estimated", Chosen: true},
		"pue":             {Status: "works", Reason: "as aws states", Chosen: true},
		"embodied":        {Status: "absent", Reason: "embodied.kg"},
		"price":           {Status: "works", Reason: "-0.01 EUR for each kWh now", Chosen: true},
	} {
		if v := got[name]; v.Status != want.Status || v.Chosen != want.Chosen || !strings.Contains(v.Reason, want.Reason) || !strings.Contains(v.Remedy, want.Remedy) {
			t.Errorf("%s is %+v, want %+v", name, v, want)
		}
	}
	if strings.Contains(text, siteToken) {
		t.Errorf("the token is shown:\n%s", text)
	}
	// Nobody named the yearly average, but it stands in.
	got, _ = check("--grid.zone=DE", "--grid.provider=electricitymaps", "--grid.token-file="+file)
	if v := got["yearly"]; v.Status != "works" || !v.Chosen || !strings.Contains(v.Reason, "gCO2e/kWh, average, lifecycle, estimated; it stands in") || got["electricitymaps"].Chosen {
		t.Errorf("%+v", got)
	}
	// It is lifecycle, and does not where direct emissions are counted.
	got, _ = check("--grid.zone=DE", "--grid.provider=electricitymaps", "--grid.token-file="+file, "--grid.factor=direct")
	if _, ok := got["yearly"]; ok || got["electricitymaps"].Status != "forbidden" {
		t.Errorf("%+v", got)
	}
	got, _ = check("--root="+emptyRoot(t), "--procfs=/proc", "--sysfs=/sys", "--cgroupfs=/sys/fs/cgroup")
	if v := got["zone"]; v.Status != "absent" || !strings.Contains(v.Remedy, "--grid.zone") || got["yearly"].Chosen || got["embodied"].Chosen {
		t.Errorf("%+v", got)
	}
	// What a query says has to be a PUE.
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[%d,"7.5"]}]}}`, time.Now().Unix())
	}))
	defer prometheus.Close()
	got, _ = check("--grid.zone=DE", "--prometheus-url="+prometheus.URL, "--pue=query:x", "--price.per-kwh=query:x", "--price.currency=EUR")
	if v := got["pue"]; v.Status != "broken" || !strings.Contains(v.Reason, "its query says 7.5, which is out of range") || got["price"].Status != "works" {
		t.Errorf("%+v", got)
	}
}

func TestSettingsOfAProviderThatCannotWork(t *testing.T) {
	code, _, stderr := noether(t.Context(), "agent", "--store.path=off", "--sensor=model", "--grid.zone=DE", "--grid.provider=electricitymaps")
	if code != 1 || !strings.Contains(stderr, "--grid.token-file electricitymaps=FILE") {
		t.Errorf("code %d:\n%s", code, stderr)
	}
}
