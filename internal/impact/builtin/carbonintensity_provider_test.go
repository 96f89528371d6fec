package builtin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// noonOf is the time of the runs here, by publishEnv.
var noonOf = time.Date(2024, 1, 1, 12, 0, 0, 0, time.UTC)

// at is a time of that day.
func at(hour, minute int) time.Time { return time.Date(2024, 1, 1, hour, minute, 0, 0, time.UTC) }

func sample(from, to time.Time, intensity float64) grid.Sample {
	return grid.Sample{From: from, To: to, Intensity: intensity}
}

// fakeProvider answers from memory, and counts how often it is asked.
type fakeProvider struct {
	name             string
	past, expected   []grid.Sample
	latest           grid.Sample
	pastErr, lastErr error
	asked            int
}

func (f *fakeProvider) Info() grid.Info {
	return grid.Info{Name: f.name, Signal: grid.Average, Factor: grid.Lifecycle}
}

func (f *fakeProvider) Intensity(context.Context, string, time.Time, time.Time) ([]grid.Sample, error) {
	f.asked++
	return f.past, f.pastErr
}

func (f *fakeProvider) Latest(context.Context, string) (grid.Sample, error) {
	f.asked++
	return f.latest, f.lastErr
}

func (f *fakeProvider) Forecast(context.Context, string, time.Time, time.Time) ([]grid.Sample, error) {
	f.asked++
	if f.expected == nil {
		return nil, grid.ErrNoForecast
	}
	return f.expected, nil
}

func TestProviders(t *testing.T) {
	hourly := []grid.Sample{sample(at(9, 0), at(10, 0), 100), sample(at(10, 0), at(11, 0), 200)}
	whole := &fakeProvider{name: "floor", past: []grid.Sample{sample(at(0, 0), at(23, 0), 400)}}
	for name, test := range map[string]struct {
		chain    []*fakeProvider
		maxAge   time.Duration
		from, to time.Time
		want     float64 // mean; 0 is none
		asked    []int
		warned   string
	}{
		"the past":                          {[]*fakeProvider{{name: "a", past: hourly}, whole}, 0, at(9, 30), at(10, 30), 150, []int{1, 0}, ""},
		"an instant":                        {[]*fakeProvider{{name: "a", past: hourly}}, 0, at(10, 0), at(10, 0), 200, []int{1}, ""},
		"the newest value is the present's": {[]*fakeProvider{{name: "a", past: hourly, latest: sample(at(11, 0), at(12, 0), 300)}}, 0, at(10, 30), at(11, 30), 250, []int{2}, ""},
		"a page without a past":             {[]*fakeProvider{{name: "hub", pastErr: grid.ErrNoData, latest: sample(at(11, 50), at(12, 5), 300)}}, 0, at(11, 55), at(12, 0), 300, []int{2}, ""},
		"max-age bridges":                   {[]*fakeProvider{{name: "a", past: hourly, lastErr: grid.ErrNoData}}, 2 * time.Hour, at(10, 30), at(11, 30), 200, []int{1}, ""},
		"what is to come":                   {[]*fakeProvider{{name: "a", expected: []grid.Sample{sample(at(12, 0), at(14, 0), 50)}}}, 0, at(13, 0), at(14, 0), 50, []int{1}, "after 2024-01-01T12:00:00Z is a forecast of a"},
		"past and forecast":                 {[]*fakeProvider{{name: "a", past: []grid.Sample{sample(at(11, 0), at(12, 0), 100)}, expected: []grid.Sample{sample(at(11, 0), at(13, 0), 300)}}}, 0, at(11, 0), at(13, 0), 200, []int{3}, "is a forecast"},
		"the next one fills holes":          {[]*fakeProvider{{name: "a", past: hourly, lastErr: errors.New("busy")}, whole}, 0, at(10, 30), at(11, 30), 300, []int{2, 1}, "floor answers for what a did not (a: busy)"},
		"and stands in":                     {[]*fakeProvider{{name: "a", pastErr: grid.ErrUnauthorized}, whole}, 0, at(9, 0), at(10, 0), 400, []int{1, 1}, "floor answers for what a did not (a: the provider refuses the credentials)"},
		"nobody knows":                      {[]*fakeProvider{{name: "a", pastErr: grid.ErrUnknownZone}, {name: "b", pastErr: errors.New("busy")}}, 0, at(9, 0), at(10, 0), 0, []int{1, 1}, ""},
		"nobody knows all":                  {[]*fakeProvider{{name: "a", past: hourly, lastErr: errors.New("busy")}}, 0, at(10, 30), at(11, 30), 0, []int{2}, "there is not all of it: a: busy"},
	} {
		t.Run(name, func(t *testing.T) {
			var warned []string
			p := &providers{
				maxAge: test.maxAge, now: noonOf, answers: map[providerQuestion]*providerAnswer{},
				warn: func(format string, args ...any) { warned = append(warned, fmt.Sprintf(format, args...)) },
			}
			for _, f := range test.chain {
				f.asked = 0
				p.chain = append(p.chain, f)
			}
			samples, err := p.Intensity(t.Context(), "DE", test.from, test.to)
			if again, err2 := p.Intensity(t.Context(), "DE", test.from, test.to); !cmp.Equal(samples, again) || !errors.Is(err2, err) {
				t.Error("the second answer differs")
			}
			mean, missing := grid.Mean(samples, test.from, test.to)
			if test.want != 0 && (mean != test.want || err != nil) || test.want == 0 && missing == nil {
				t.Errorf("%v, %v, %v, want %v", mean, err, missing, test.want)
			}
			for i, f := range test.chain {
				if f.asked != test.asked[i] {
					t.Errorf("%s was asked %d times, want %d", f.name, f.asked, test.asked[i])
				}
			}
			if got := strings.Join(warned, "\n"); (test.warned == "") != (got == "") || !strings.Contains(got, test.warned) {
				t.Errorf("warned of %q, want %q", got, test.warned)
			}
		})
	}
}

func TestFill(t *testing.T) {
	have := []grid.Sample{sample(at(2, 0), at(3, 0), 1), sample(at(5, 0), at(6, 0), 1)}
	got := fill(have, []grid.Sample{sample(at(1, 0), at(4, 0), 2), sample(at(4, 0), at(8, 0), 3)})
	want := []grid.Sample{
		sample(at(1, 0), at(2, 0), 2), have[0], sample(at(3, 0), at(4, 0), 2),
		sample(at(4, 0), at(5, 0), 3), have[1], sample(at(6, 0), at(8, 0), 3),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// runIntensity runs an instance that sees environ.
func runIntensity(t *testing.T, config string, environ map[string]string, rows ...string) (out []*value.Object, warnings []string, err error) {
	t.Helper()
	env, warned := publishEnv(environ)
	p := newPlugin(t, env, carbonIntensity(), config)
	in := make([]*value.Object, len(rows))
	for i, row := range rows {
		v, err := jsyaml.Parse([]byte(row))
		if err != nil {
			t.Fatal(err)
		}
		in[i] = v.Object()
	}
	out, err = p.Execute(t.Context(), in, &plugin.Node{})
	return out, *warned, err
}

func TestCarbonIntensityOfProviders(t *testing.T) {
	const row = "{timestamp: 2024-01-01T11:58:00Z, duration: 60}"
	out, warned, err := runIntensity(t, "{zone: DE, provider: yearly}", nil, row)
	if err != nil || len(warned) > 0 || !(out[0].Get("grid/carbon-intensity").Num() > 100) {
		t.Errorf("yearly: %v, %v, %v", out, warned, err)
	}

	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the hub was sent a secret")
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, `# TYPE noether_grid_carbon_intensity_grams_per_kwh gauge
noether_grid_carbon_intensity_grams_per_kwh{grid_zone="DE",provider="electricitymaps",signal="average",factor="lifecycle",estimated="false"} 321
`)
	}))
	defer hub.Close()
	out, _, err = runIntensity(t, "{zone: DE, provider: [hub, yearly], hub: '"+hub.URL+"'}", map[string]string{"HUB_TOKEN": "s3cret"}, "{timestamp: 2024-01-01T12:00:00Z, duration: 60}")
	if err != nil || out[0].Get("grid/carbon-intensity").Num() != 321 {
		t.Errorf("hub: %v, %v", out, err)
	}

	for config, want := range map[string]string{
		"{zone: DE, provider: electricitymaps}":                       "ELECTRICITYMAPS_TOKEN, or a file in ELECTRICITYMAPS_TOKEN_FILE",
		"{zone: DE, provider: 'file:/etc/passwd'}":                    "provider",
		"{zone: DE, provider: prometheus}":                            "provider",
		"{zone: DE, provider: yearly, values: {DE: 1}}":               "one source",
		"{zone: DE, provider: hub}":                                   "goes with its address",
		"{zone: DE, provider: yearly, hub: 'http://127.0.0.1'}":       "goes with its address",
		"{zone: GB, provider: [neso, yearly]}":                        "a chain has one kind",
		"{zone: DE, provider: yearly, factor: direct}":                "lifecycle only",
		"{zone: XQ, provider: yearly}":                                `zone "XQ"`,
		"{zone: FR, provider: neso, factor: direct, max-age: 1 hour}": "max-age",
	} {
		if _, _, err := runIntensity(t, config, nil, row); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}

func TestProvidersAreExplained(t *testing.T) {
	for config, want := range map[string]string{
		"{provider: [electricitymaps, yearly]}": "electricitymaps, then yearly: average, lifecycle",
		"{provider: watttime}":                  "watttime: marginal, ",
	} {
		v, err := jsyaml.Parse([]byte(config))
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := carbonIntensity().Formula(v.Object(), "grid/carbon-intensity"); !ok || !strings.HasPrefix(f.Source, want) {
			t.Errorf("%s: %q", config, f.Source)
		}
	}
}
