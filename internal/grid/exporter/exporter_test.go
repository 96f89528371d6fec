package exporter

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"

	"noether/internal/grid"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func hour(h int, v float64) grid.Sample {
	return grid.Sample{From: noon.Add(time.Duration(h) * time.Hour), To: noon.Add(time.Duration(h+1) * time.Hour), Intensity: v}
}

func page(t *testing.T, zones ...Zone) http.Handler {
	t.Helper()
	o := Options{Now: func() time.Time { return noon.Add(30 * time.Minute) }, Version: "1.2.3", Revision: "abc", GoVersion: "go1.26", OS: "linux", Arch: "amd64"}
	for _, z := range zones {
		o.Names = append(o.Names, z.Zone)
		o.Zones = append(o.Zones, func() Zone { return z })
	}
	return New(o)
}

func get200(t *testing.T, h http.Handler, path, accept string) (string, http.Header) {
	t.Helper()
	w := ask(h, http.MethodGet, path, accept)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String(), w.Header()
}

func ask(h http.Handler, method, path, accept string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, http.NoBody)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func germany() Zone {
	return Zone{
		Zone: "DE", Provider: "energy-charts", Signal: grid.Average, Factor: grid.Lifecycle,
		Known: true, Now: hour(0, 312.5), Updated: noon.Add(time.Minute),
		Past: []grid.Sample{hour(-1, 300)}, Forecast: []grid.Sample{hour(0, 312.5), hour(1, 290), {From: noon.Add(3 * time.Hour), To: noon.Add(4 * time.Hour), Intensity: 250, Estimated: true}},
		Sources: []Source{
			{Name: "energy-charts", Up: true, Requests: 7, Failures: 1, Success: noon.Add(time.Minute)},
			{Name: "yearly", Up: true},
		},
	}
}

func TestMetrics(t *testing.T) {
	france := Zone{Zone: "FR", Signal: grid.Average, Factor: grid.Lifecycle, Sources: []Source{{Name: "energy-charts", Requests: 3, Failures: 3}}}
	built := Zone{Zone: "PL", Provider: "yearly", Signal: grid.Average, Factor: grid.Lifecycle, Known: true, Now: grid.Sample{From: noon.AddDate(-1, 0, 0), To: noon.AddDate(1, 0, 0), Intensity: 615, Estimated: true}}
	h := page(t, germany(), france, built)
	text, header := get200(t, h, "/metrics", "")
	if got := header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Error(got)
	}
	for _, line := range []string{
		`noether_grid_carbon_intensity_grams_per_kwh{estimated="false",factor="lifecycle",grid_zone="DE",provider="energy-charts",signal="average"} 312.5`,
		`noether_grid_carbon_intensity_grams_per_kwh{estimated="true",factor="lifecycle",grid_zone="PL",provider="yearly",signal="average"} 615`,
		`noether_grid_carbon_intensity_updated_timestamp_seconds{estimated="false",factor="lifecycle",grid_zone="DE",provider="energy-charts",signal="average"} 1.78031526e+09`,
		`noether_grid_forecast_grams_per_kwh{estimated="false",factor="lifecycle",grid_zone="DE",horizon="1h",provider="energy-charts",signal="average"} 290`,
		`noether_grid_forecast_grams_per_kwh{estimated="true",factor="lifecycle",grid_zone="DE",horizon="3h",provider="energy-charts",signal="average"} 250`,
		`noether_site_source_up{grid_zone="DE",source="energy-charts"} 1`,
		`noether_site_source_up{grid_zone="FR",source="energy-charts"} 0`,
		`noether_site_source_requests_total{grid_zone="DE",source="energy-charts"} 7`,
		`noether_site_source_failures_total{grid_zone="FR",source="energy-charts"} 3`,
		`noether_site_source_last_success_timestamp_seconds{grid_zone="DE",source="energy-charts"} 1.78031526e+09`,
		`noether_build_info{goarch="amd64",goos="linux",goversion="go1.26",revision="abc",version="1.2.3"} 1`,
		`noether_start_time_seconds 1.780317e+09`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
	for _, word := range []string{`grams_per_kwh{estimated="false",factor="lifecycle",grid_zone="FR"`, `horizon="2h"`, `horizon="4h"`, `updated_timestamp_seconds{estimated="true"`} {
		if strings.Contains(text, word) {
			t.Errorf("%s, which nobody knows", word)
		}
	}
	if problems, err := promlint.New(strings.NewReader(text)).Lint(); err != nil {
		t.Error(err)
	} else {
		for _, p := range problems {
			if !strings.HasSuffix(p.Metric, "_per_kwh") { // its unit is none of the base units
				t.Error(p)
			}
		}
	}
	open, header := get200(t, h, "/metrics", "application/openmetrics-text; version=1.0.0")
	if !strings.HasPrefix(header.Get("Content-Type"), "application/openmetrics-text") || !strings.HasSuffix(open, "# EOF\n") {
		t.Error(header, open)
	}
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil || len(families) != 9 {
		t.Error(len(families), err)
	}
}

func TestForecast(t *testing.T) {
	h := page(t, germany(), Zone{Zone: "FR", Signal: grid.Average, Factor: grid.Direct})
	body, header := get200(t, h, ForecastPath+"?zone=DE", "")
	var got Answer
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	updated := noon.Add(time.Minute)
	want := Answer{
		Zone: "DE", Provider: "energy-charts", Signal: grid.Average, Factor: grid.Lifecycle, Updated: &updated,
		Now: &Samples([]grid.Sample{hour(0, 312.5)})[0], Past: Samples(germany().Past), Forecast: Samples(germany().Forecast),
	}
	if diff := cmp.Diff(want, got); diff != "" || header.Get("Content-Type") != "application/json" {
		t.Error(diff)
	}
	if body, _ := get200(t, h, ForecastPath+"?zone=FR", ""); body != `{"zone":"FR","provider":"","signal":"average","factor":"direct","now":null,"past":[],"forecast":[]}`+"\n" {
		t.Error(body)
	}
	if body, _ := get200(t, page(t, germany()), ForecastPath, ""); !strings.Contains(body, `"zone":"DE"`) {
		t.Error(body)
	}
	for path, code := range map[string]int{"": http.StatusBadRequest, "?zone=DE&zone=FR": http.StatusBadRequest, "?zone=PL": http.StatusNotFound, "?zone=%00": http.StatusNotFound} {
		if w := ask(h, http.MethodGet, ForecastPath+path, ""); w.Code != code || !strings.Contains(w.Body.String(), "DE, FR") {
			t.Errorf("%q: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestHealth(t *testing.T) {
	unknown := Zone{Zone: "FR"}
	if w := ask(page(t, unknown), http.MethodGet, "/readyz", ""); w.Code != http.StatusServiceUnavailable {
		t.Error(w.Code)
	}
	get200(t, page(t, unknown), "/healthz", "")
	standIn := germany()
	standIn.Provider, standIn.Sources = "yearly", []Source{{Name: "energy-charts"}, {Name: "yearly", Up: true, Requests: 1}}
	if w := ask(page(t, standIn), http.MethodGet, "/readyz", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("before the provider was asked: %d", w.Code)
	}
	get200(t, page(t, unknown, germany()), "/readyz", "")
	if index, _ := get200(t, page(t, unknown, germany()), "/", ""); !strings.Contains(index, "312.5 gCO2e/kWh by energy-charts") || !strings.Contains(index, "not known yet") {
		t.Error(index)
	}
	for _, path := range []string{"/metrics", ForecastPath, "/readyz"} {
		if w := ask(page(t, germany()), http.MethodPost, path, ""); w.Code != http.StatusMethodNotAllowed {
			t.Error(path, w.Code)
		}
	}
	if w := ask(page(t, germany()), http.MethodGet, "/debug/pprof/", ""); w.Code != http.StatusNotFound {
		t.Error(w.Code)
	}
}
