package hub

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
	"noether/internal/grid/exporter"
	"noether/internal/grid/fetch"
	"noether/internal/grid/gridtest"
)

func at() time.Time { return time.Date(2026, 8, 21, 10, 30, 0, 0, time.UTC) }

// page is what noether carbon exporter writes, and some of the Go runtime's.
func page(value string) string {
	return `# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 12
# HELP noether_grid_carbon_intensity_grams_per_kwh Carbon intensity.
# TYPE noether_grid_carbon_intensity_grams_per_kwh gauge
noether_grid_carbon_intensity_grams_per_kwh{estimated="false",factor="lifecycle",grid_zone="DE",provider="energy-charts",signal="average"} ` + value + `
noether_grid_carbon_intensity_grams_per_kwh{estimated="true",factor="lifecycle",grid_zone="PL",provider="yearly",signal="average"} 615
noether_grid_carbon_intensity_grams_per_kwh{estimated="false",factor="direct",grid_zone="GB",provider="neso",signal="average"} 120
# TYPE noether_grid_carbon_intensity_updated_timestamp_seconds gauge
noether_grid_carbon_intensity_updated_timestamp_seconds{estimated="false",factor="lifecycle",grid_zone="DE",provider="energy-charts",signal="average"} 1.7873094e+09
# TYPE noether_grid_forecast_grams_per_kwh gauge
noether_grid_forecast_grams_per_kwh{estimated="false",factor="lifecycle",grid_zone="DE",horizon="2h",provider="energy-charts",signal="average"} 280
noether_grid_forecast_grams_per_kwh{estimated="false",factor="lifecycle",grid_zone="DE",horizon="1h",provider="energy-charts",signal="average"} ` + value + `
noether_site_source_up{grid_zone="DE",source="energy-charts"} 1
noether_site_source_up{grid_zone="NO-NO1",source="entsoe"} 0
noether_site_source_up{grid_zone="",source="price"} 1
`
}

// past is what it knows of the last hours.
func past(value string) string {
	return `{"zone":"DE","provider":"energy-charts","signal":"average","factor":"lifecycle","updated":"2026-08-21T10:30:00Z",
"now":{"from":"2026-08-21T10:00:00Z","to":"2026-08-21T11:00:00Z","grams_per_kwh":1,"estimated":false},
"past":[{"from":"2026-08-21T09:00:00Z","to":"2026-08-21T10:00:00Z","grams_per_kwh":` + value + `,"estimated":true}],"forecast":[]}`
}

func open(t *testing.T, h http.HandlerFunc, o Options) *Provider {
	t.Helper()
	o.Base, o.Now = gridtest.Server(t, h).URL, at
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func serve(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, body)
	}
}

func TestHostile(t *testing.T) {
	gridtest.Hostile(t, gridtest.Kit{
		New: func(base string, token fetch.Secret, now func() time.Time) (grid.Provider, error) {
			return New(Options{Base: base, Token: token, Now: now})
		},
		Zone: "DE",
		Now:  at(),
		Answer: func(r *http.Request, value string) string {
			if r.URL.Path == "/api/noether/v1/forecast" {
				return past(value)
			}
			return page(value)
		},
	})
}

func TestPage(t *testing.T) {
	p := open(t, serve(page("312.5")), Options{})
	if _, _, ok := p.Origin("DE"); ok {
		t.Error("an origin before anybody was asked")
	}
	s, err := p.Latest(t.Context(), "DE")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(grid.Sample{From: at(), To: at().Add(15 * time.Minute), Intensity: 312.5}, s); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if by, updated, ok := p.Origin("DE"); by != "energy-charts" || !updated.Equal(time.Unix(1787309400, 0)) || !ok {
		t.Errorf("%s at %s", by, updated)
	}
	if s, err := p.Latest(t.Context(), "PL"); err != nil || !s.Estimated || s.Intensity != 615 {
		t.Errorf("%+v %v", s, err)
	}
	if by, updated, _ := p.Origin("PL"); by != "yearly" || !updated.IsZero() {
		t.Errorf("%s at %s", by, updated)
	}
	f, err := p.Forecast(t.Context(), "DE", at(), at().Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]grid.Sample{
		{From: at().Add(time.Hour), To: at().Add(2 * time.Hour), Intensity: 312.5},
		{From: at().Add(2 * time.Hour), To: at().Add(3 * time.Hour), Intensity: 280},
	}, f); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := p.Forecast(t.Context(), "PL", at(), at().Add(24*time.Hour)); !errors.Is(err, grid.ErrNoData) {
		t.Errorf("a zone without a forecast: %v", err)
	}
	if _, err := p.Intensity(t.Context(), "DE", at().Add(-time.Hour), at()); !errors.Is(err, grid.ErrNoData) {
		t.Errorf("the past of a server that keeps none: %v", err)
	}
}

func TestPast(t *testing.T) {
	p := open(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/hub/api/noether/v1/forecast" || r.URL.RawQuery != "zone=DE" {
			t.Errorf("asked for %s", r.URL)
		}
		io.WriteString(w, past("300"))
	}, Options{})
	p, err := New(Options{Base: p.client.URL() + "hub/metrics"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Intensity(t.Context(), "DE", at().Add(-24*time.Hour), at())
	want := []grid.Sample{{From: at().Add(-90 * time.Minute), To: at().Add(-30 * time.Minute), Intensity: 300, Estimated: true}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := p.Intensity(t.Context(), "DE", at().Add(-24*time.Hour), at().Add(-20*time.Hour)); !errors.Is(err, grid.ErrNoData) {
		t.Errorf("a time that it has nothing of: %v", err)
	}
	direct, err := New(Options{Base: p.client.URL(), Factor: grid.Direct})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Intensity(t.Context(), "DE", at().Add(-24*time.Hour), at()); err == nil || !strings.Contains(err.Error(), "--grid.factor") {
		t.Errorf("another factor: %v", err)
	}
	other := open(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, past("300")) }, Options{})
	if _, err := other.Intensity(t.Context(), "FR", at().Add(-24*time.Hour), at()); err == nil || !strings.Contains(err.Error(), `the answer is about "DE"`) {
		t.Errorf("another zone: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	p := open(t, serve(page("312.5")), Options{})
	for zone, c := range map[string]struct {
		kind error
		want string
	}{
		"SE-SE3": {grid.ErrUnknownZone, "it has DE, GB, NO-NO1, PL; start noether carbon exporter with --zone SE-SE3 too"},
		"NO-NO1": {grid.ErrNoData, "the hub has the zone, but nobody has told it a value yet"},
		"GB":     {nil, "it has average intensities with the factor direct, wanted are average ones with lifecycle: set the same --grid.factor"},
	} {
		_, err := p.Latest(t.Context(), zone)
		if err == nil || c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", zone, err, c.want)
		}
	}
	if s, err := open(t, serve(page("312.5")), Options{Factor: grid.Direct}).Latest(t.Context(), "GB"); err != nil || s.Intensity != 120 {
		t.Errorf("%+v %v", s, err)
	}
	for name, body := range map[string]string{
		"another exporter": "go_goroutines 12\n",
		"a broken line":    intensityFamily + "{grid_zone=\"DE\" 3\n",
		"twice the same":   strings.Repeat(intensityFamily+"{grid_zone=\"DE\",provider=\"a\"} 300\n", 2),
		"two providers":    intensityFamily + "{grid_zone=\"DE\",provider=\"a\"} 300\n" + intensityFamily + "{grid_zone=\"DE\",provider=\"b\"} 301\n",
		"nobody said it":   intensityFamily + "{grid_zone=\"DE\"} 300\n",
		"nobody's name":    intensityFamily + "{grid_zone=\"DE\",provider=\"\xff\xfe\",signal=\"average\",factor=\"lifecycle\"} 300\n",
		"a name of lines":  intensityFamily + "{grid_zone=\"DE\",provider=\"a\\nb\",signal=\"average\",factor=\"lifecycle\"} 300\n",
		"a horizon":        forecastFamily + "{grid_zone=\"DE\",horizon=\"soon\"} 300\n",
		"garbage after it": page("300") + "}garbage<",
		"a page cut short": strings.TrimSuffix(page("300"), " 1\n"),
		"a quote too few":  intensityFamily + "{grid_zone=\"DE} 300\n",
		"a name too few":   "{grid_zone=\"DE\"} 300\n",
		"a label twice":    intensityFamily + "{grid_zone=\"DE\",grid_zone=\"FR\",provider=\"a\"} 300\n",
		"a histogram":      "# TYPE " + intensityFamily + " histogram\n" + intensityFamily + "_sum{grid_zone=\"DE\",provider=\"a\"} 300\n",
	} {
		if s, err := open(t, serve(body), Options{}).Latest(t.Context(), "DE"); err == nil {
			t.Errorf("%s gives %+v", name, s)
		}
	}
}

func TestToken(t *testing.T) {
	p := open(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+gridtest.Token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		serve(page("300"))(w, r)
	}, Options{Token: fetch.Text(gridtest.Token)})
	if _, err := p.Latest(t.Context(), "DE"); err != nil {
		t.Error(err)
	}
	if _, err := New(Options{Base: "http://carbon.noether.svc:9878", Token: fetch.Text(gridtest.Token)}); err == nil || strings.Contains(err.Error(), gridtest.Token) {
		t.Errorf("a token in the clear: %v", err)
	}
	if _, err := New(Options{Base: "http://carbon.noether.svc:9878/metrics"}); err != nil {
		t.Errorf("the usual address in a cluster: %v", err)
	}
	if _, err := New(Options{Base: "ftp://carbon"}); err == nil {
		t.Error("ftp")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(page("300")))
	f.Add([]byte(page("NaN")))
	f.Add([]byte(intensityFamily + "{grid_zone=\"DE\",provider=\"a\"} 1e3 12\n\n"))
	f.Add([]byte(forecastFamily + "{horizon=\"1h\"} 7\n" + updatedFamily + " 1e30\n"))
	f.Add([]byte(intensityFamily + "_bucket{le=\"1\"} 3\n"))
	f.Add([]byte("{}"))
	f.Add([]byte(intensityFamily + " { grid_zone = \"D\\\"E\\n\\\\\" , provider=\"a\", } 1 -5\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		zones, err := parse(bytes.Clone(data))
		if err != nil {
			if len(err.Error()) > 1000 || strings.Contains(err.Error(), "\n") {
				t.Errorf("an error without end: %q", err)
			}
			return
		}
		for name, z := range zones {
			if z.known && (grid.Check(z.intensity) != nil || z.provider == "") {
				t.Errorf("%q: %+v", name, z)
			}
			for _, h := range z.forecast {
				if grid.Check(h.intensity) != nil || h.ahead < 0 {
					t.Errorf("%q: %+v", name, h)
				}
			}
		}
	})
}

func TestSeries(t *testing.T) {
	for line, want := range map[string]series{
		`up 1`:                               {"up", nil, 1},
		`a:b_2{} -1.5e3 1700000000000`:       {"a:b_2", map[string]string{}, -1500},
		`m { x = "a,}\"\\\n" , y="", } +Inf`: {"m", map[string]string{"x": "a,}\"\\\n", "y": ""}, math.Inf(1)},
		"m{x=\"\u00fc\"}\t3":                 {"m", map[string]string{"x": "\u00fc"}, 3},
	} {
		got, err := parseSeries(line)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(series{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", line, err, diff)
		}
	}
	for _, line := range []string{`2m 1`, `m`, `m 1 2 3`, `m 1 soon`, `m{x} 1`, `m{x="} 1`, `m{x="\t"} 1`, `m{x="a" y="b"} 1`, `m{x="a"`, `m{="a"} 1`, `m{x="a\`, `m one`} {
		if s, err := parseSeries(line); err == nil {
			t.Errorf("%s gives %+v", line, s)
		}
	}
}

// TestExporter reads what the exporter really writes.
func TestExporter(t *testing.T) {
	zone := func() exporter.Zone {
		return exporter.Zone{
			Zone: "DE", Provider: "energy-charts", Signal: grid.Average, Factor: grid.Lifecycle, Known: true, Updated: at(),
			Now:      grid.Sample{From: at(), To: at().Add(time.Hour), Intensity: 312.5, Estimated: true},
			Past:     []grid.Sample{{From: at().Add(-time.Hour), To: at(), Intensity: 290}},
			Forecast: []grid.Sample{{From: at().Add(time.Hour), To: at().Add(2 * time.Hour), Intensity: 280.25}},
			Sources:  []exporter.Source{{Name: "energy-charts", Up: true}},
		}
	}
	hub := exporter.New(exporter.Options{Zones: []func() exporter.Zone{zone}, Names: []string{"DE"}, Now: at})
	p := open(t, hub.ServeHTTP, Options{})
	latest, err := p.Latest(t.Context(), "DE")
	if err != nil || latest.Intensity != 312.5 || !latest.Estimated {
		t.Errorf("%+v %v", latest, err)
	}
	if by, updated, _ := p.Origin("DE"); by != "energy-charts" || !updated.Equal(at()) {
		t.Errorf("%s at %s", by, updated)
	}
	ahead, err := p.Forecast(t.Context(), "DE", at(), at().Add(24*time.Hour))
	if err != nil || len(ahead) != 1 || ahead[0].Intensity != 280.25 || !ahead[0].From.Equal(at().Add(time.Hour)) {
		t.Errorf("%+v %v", ahead, err)
	}
	before, err := p.Intensity(t.Context(), "DE", at().Add(-time.Hour), at())
	if diff := cmp.Diff([]grid.Sample{{From: at().Add(-time.Hour), To: at(), Intensity: 290}}, before); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := p.Intensity(t.Context(), "FR", at().Add(-time.Hour), at()); !errors.Is(err, grid.ErrNoData) {
		t.Errorf("a zone that it does not have: %v", err)
	}
}
