package electricitymaps

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
	"noether/internal/grid/gridtest"
)

var now = time.Date(2026, 8, 21, 10, 30, 0, 0, time.UTC)

func at(day, hour int) time.Time { return time.Date(2026, 8, day, hour, 0, 0, 0, time.UTC) }

// value is a point as the service writes it.
func value(from time.Time, g string) string {
	return `{"zone":"DE","carbonIntensity":` + g + `,"datetime":"` + from.Format("2006-01-02T15:04:05.000Z") +
		`","updatedAt":"2026-08-21T09:44:10.512Z","createdAt":"2026-08-18T09:44:35.205Z","emissionFactorType":"lifecycle","isEstimated":false,"estimationMethod":null,"temporalGranularity":"hourly"}`
}

func TestHostile(t *testing.T) {
	gridtest.Hostile(t, gridtest.Kit{
		New: func(base string, token fetch.Secret, now func() time.Time) (grid.Provider, error) {
			return New(Options{Base: base, Token: token, Now: now})
		},
		Zone: "DE",
		Now:  now,
		Answer: func(r *http.Request, v string) string {
			switch r.URL.Path {
			case "/carbon-intensity/history":
				return `{"zone":"DE","temporalGranularity":"hourly","history":[` + value(at(21, 10), v) + `]}`
			case "/carbon-intensity/past-range":
				return `{"zone":"DE","temporalGranularity":"hourly","data":[` + value(at(20, 10), v) + `]}`
			case "/carbon-intensity/forecast":
				return `{"zone":"DE","forecast":[{"carbonIntensity":` + v + `,"datetime":"2026-08-21T11:00:00.000Z"}],"updatedAt":"2026-08-21T10:27:43.000Z"}`
			}
			return value(at(21, 10), v)
		},
	})
}

// service answers by path and keeps what it was asked.
type service struct {
	answers map[string]string // by path; "403" and the like are statuses
	asked   []string
	keys    []string
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked = append(s.asked, strings.TrimPrefix(r.URL.Path, "/carbon-intensity/")+"?"+r.URL.RawQuery)
	s.keys = append(s.keys, r.Header.Get("auth-token"))
	a := s.answers[strings.TrimPrefix(r.URL.Path, "/carbon-intensity/")]
	var status int
	if n, _ := fmt.Sscanf(a, "%3d", &status); n == 1 {
		w.WriteHeader(status)
		return
	}
	io.WriteString(w, a)
}

func provider(t *testing.T, s *service, o Options) *Provider {
	t.Helper()
	o.Base, o.Token, o.Now = gridtest.Server(t, s.ServeHTTP).URL, fetch.Text("key"), func() time.Time { return now }
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLatest(t *testing.T) {
	estimated := strings.Replace(value(at(21, 7), "322"), `"isEstimated":false,"estimationMethod":null`, `"isEstimated":true,"estimationMethod":"TIME_SLICER_AVERAGE"`, 1)
	for name, c := range map[string]struct {
		body string
		o    Options
		zone string
		want grid.Sample
		err  string
	}{
		"as documented":            {value(at(21, 10), "322"), Options{}, "DE", grid.Sample{From: at(21, 10), To: at(21, 11), Intensity: 322}, ""},
		"decimals":                 {value(at(21, 10), "30.125"), Options{}, "DE", grid.Sample{From: at(21, 10), To: at(21, 11), Intensity: 30.125}, ""},
		"an offset":                {strings.Replace(value(at(21, 10), "322"), "10:00:00.000Z", "12:00:00+02:00", 1), Options{}, "DE", grid.Sample{From: at(21, 10), To: at(21, 11), Intensity: 322}, ""},
		"stale":                    {value(at(21, 7), "322"), Options{}, "DE", grid.Sample{From: at(21, 7), To: at(21, 8), Intensity: 322}, ""},
		"estimated, and welcome":   {estimated, Options{Estimates: true}, "DE", grid.Sample{From: at(21, 7), To: at(21, 8), Intensity: 322, Estimated: true}, ""},
		"estimated, and not":       {estimated, Options{}, "DE", grid.Sample{}, "the provider has no value of 2026-08-21T07:00:00Z that may be used: it is estimated"},
		"null":                     {value(at(21, 10), "null"), Options{}, "DE", grid.Sample{}, "that may be used: it is null"},
		"of five minutes":          {strings.Replace(value(at(21, 10), "322"), "hourly", "5_minutes", 1), Options{}, "DE", grid.Sample{From: at(21, 10), To: at(21, 10).Add(5 * time.Minute), Intensity: 322}, ""},
		"of a decade":              {strings.Replace(value(at(21, 10), "322"), "hourly", "decade", 1), Options{}, "DE", grid.Sample{}, `the length "decade" are not known`},
		"another factor":           {value(at(21, 10), "322"), Options{Factor: grid.Direct}, "DE", grid.Sample{}, `the emission factor is "lifecycle", but "direct" was asked for`},
		"another zone":             {value(at(21, 10), "322"), Options{}, "FR", grid.Sample{}, `zone "FR": read what Electricity Maps says: the answer is about "DE"`},
		"a place, in some zone":    {value(at(21, 10), "322"), Options{}, "52.52,13.40", grid.Sample{From: at(21, 10), To: at(21, 11), Intensity: 322}, ""},
		"a value twice":            {strings.Replace(value(at(21, 10), "322"), `"carbonIntensity"`, `"carbonIntensity":5,"carbonIntensity"`, 1), Options{}, "DE", grid.Sample{From: at(21, 10), To: at(21, 11), Intensity: 322}, ""},
		"no time":                  {`{"zone":"DE","carbonIntensity":322}`, Options{}, "DE", grid.Sample{}, "a value has no time"},
		"another service's answer": {`{"countryCode":"FR","data":{"carbonIntensity":58},"units":{}}`, Options{}, "FR", grid.Sample{}, "a value has no time"},
		"not in the plan":          {"403", Options{}, "FR", grid.Sample{}, `does the plan of this key have the zone, and latest?`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := provider(t, &service{answers: map[string]string{"latest": c.body}}, c.o).Latest(t.Context(), c.zone)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestQueries(t *testing.T) {
	for zone, want := range map[string]string{
		"US-CAL-CISO":      "latest?disableEstimations=true&emissionFactorType=lifecycle&zone=US-CAL-CISO",
		"52.52,-13.40":     "latest?disableEstimations=true&emissionFactorType=lifecycle&lat=52.52&lon=-13.40",
		"aws:eu-central-1": "latest?dataCenterProvider=aws&dataCenterRegion=eu-central-1&disableEstimations=true&emissionFactorType=lifecycle",
	} {
		s := &service{answers: map[string]string{"latest": "404"}}
		if _, err := provider(t, s, Options{}).Latest(t.Context(), zone); !errors.Is(err, grid.ErrNoData) {
			t.Errorf("%s: %v", zone, err)
		}
		if diff := cmp.Diff([]string{want}, s.asked); diff != "" {
			t.Errorf("%s: %s", zone, diff)
		}
		if diff := cmp.Diff([]string{"key"}, s.keys); diff != "" {
			t.Errorf("%s: %s", zone, diff)
		}
	}
	s := &service{answers: map[string]string{"latest": "404"}}
	_, _ = provider(t, s, Options{Factor: grid.Direct, Estimates: true}).Latest(t.Context(), "DE")
	if diff := cmp.Diff([]string{"latest?emissionFactorType=direct&zone=DE"}, s.asked); diff != "" {
		t.Error(diff)
	}
	for _, zone := range []string{"", "DEU", "de", "DE-", "D", "aws:", "ovh:gra7", "aws:a b", "DE&x=y", strings.Repeat("X", 1<<20), "1,2,3", "\x00"} {
		s := &service{}
		for method, call := range map[string]func() error{
			"latest":   func() error { _, err := provider(t, s, Options{}).Latest(t.Context(), zone); return err },
			"history":  func() error { _, err := provider(t, s, Options{}).Intensity(t.Context(), zone, now, now); return err },
			"forecast": func() error { _, err := provider(t, s, Options{}).Forecast(t.Context(), zone, now, now); return err },
		} {
			if err := call(); !errors.Is(err, grid.ErrUnknownZone) || len(err.Error()) > 400 {
				t.Errorf("%s of %.20q: %v", method, zone, err)
			}
		}
		if len(s.asked) > 0 {
			t.Errorf("%.20q: the service was asked %s", zone, s.asked)
		}
	}
}

func TestIntensity(t *testing.T) {
	list := func(name string, values ...string) string {
		return `{"zone":"DE","temporalGranularity":"hourly","` + name + `":[` + strings.Join(values, ",") + `]}`
	}
	history := list("history", value(at(20, 11), "200"), value(at(21, 9), "210"), value(at(21, 10), "220"))
	older := list("data", value(at(20, 9), "190"), value(at(20, 10), "195"), value(at(20, 11), "1"))
	for name, c := range map[string]struct {
		from, to time.Time
		answers  map[string]string
		want     []grid.Sample
		asked    []string // without the parameters that are always there
		err      error
	}{
		"the last hours": {
			now.Add(-time.Hour), now,
			map[string]string{"history": history},
			[]grid.Sample{{From: at(21, 9), To: at(21, 10), Intensity: 210}, {From: at(21, 10), To: at(21, 11), Intensity: 220}},
			[]string{"history?"},
			nil,
		},
		"now": {now, now, map[string]string{"history": history}, []grid.Sample{{From: at(21, 10), To: at(21, 11), Intensity: 220}}, []string{"history?"}, nil},
		"the future begins now": {
			now, now.Add(9 * time.Hour),
			map[string]string{"history": history},
			[]grid.Sample{{From: at(21, 10), To: at(21, 11), Intensity: 220}},
			[]string{"history?"},
			nil,
		},
		"the future": {now.Add(time.Hour), now.Add(9 * time.Hour), nil, nil, nil, nil},
		"two days, where history wins": {
			at(20, 10), at(21, 9),
			map[string]string{"history": history, "past-range": older},
			[]grid.Sample{{From: at(20, 10), To: at(20, 11), Intensity: 195}, {From: at(20, 11), To: at(20, 12), Intensity: 200}, {From: at(21, 9), To: at(21, 10), Intensity: 210}},
			[]string{"history?", "past-range?end=2026-08-20T11:00:00Z&start=2026-08-20T10:00:00Z"},
			nil,
		},
		"two days, with a plan of one": {
			at(20, 9), at(21, 9),
			map[string]string{"history": history, "past-range": "403"},
			[]grid.Sample{{From: at(20, 11), To: at(20, 12), Intensity: 200}, {From: at(21, 9), To: at(21, 10), Intensity: 210}},
			[]string{"history?", "past-range?end=2026-08-20T11:00:00Z&start=2026-08-20T09:00:00Z"},
			nil,
		},
		"long ago, with a plan of one day": {at(1, 0), at(2, 0), map[string]string{"past-range": "403"}, nil, []string{"past-range?end=2026-08-02T01:00:00Z&start=2026-08-01T00:00:00Z"}, grid.ErrUnauthorized},
		"too often":                        {at(20, 9), at(21, 9), map[string]string{"history": history, "past-range": "500"}, nil, []string{"history?", "past-range?end=2026-08-20T11:00:00Z&start=2026-08-20T09:00:00Z"}, &fetch.StatusError{}},
		"three weeks": {
			at(1, 0).Add(30 * time.Minute), at(20, 9).Add(30 * time.Minute),
			map[string]string{"past-range": older},
			[]grid.Sample{{From: at(20, 9), To: at(20, 10), Intensity: 190}},
			[]string{"past-range?end=2026-08-11T00:00:00Z&start=2026-08-01T00:00:00Z", "past-range?end=2026-08-20T10:00:00Z&start=2026-08-11T00:00:00Z"},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{answers: c.answers}
			got, err := provider(t, s, Options{}).Intensity(t.Context(), "DE", c.from, c.to)
			switch {
			case c.err == nil && err != nil, c.err != nil && err == nil:
				t.Fatalf("%v, want %v", err, c.err)
			case errors.Is(c.err, grid.ErrUnauthorized) && !errors.Is(err, grid.ErrUnauthorized):
				t.Errorf("%v, want %v", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			for i := range s.asked {
				s.asked[i] = strings.NewReplacer("disableEstimations=true&emissionFactorType=lifecycle&zone=DE", "", "disableEstimations=true&", "", "emissionFactorType=lifecycle&", "", "&zone=DE", "", "%3A", ":").Replace(s.asked[i])
			}
			if diff := cmp.Diff(c.asked, s.asked); diff != "" {
				t.Error(diff)
			}
		})
	}
	s := &service{}
	if _, err := provider(t, s, Options{}).Intensity(t.Context(), "DE", at(1, 0).AddDate(-20, 0, 0), at(2, 0)); err == nil || !strings.Contains(err.Error(), "ask for 640 days or less") || len(s.asked) > 0 {
		t.Errorf("20 years cost %d requests: %v", len(s.asked), err)
	}
}

func TestForecast(t *testing.T) {
	body := `{"zone":"DE","forecast":[{"carbonIntensity":326,"datetime":"2026-08-21T10:00:00.000Z"},{"carbonIntensity":null,"datetime":"2026-08-21T11:00:00.000Z"},{"carbonIntensity":297,"datetime":"2026-08-21T12:00:00.000Z"}],"updatedAt":"2026-08-21T10:27:43.000Z"}`
	for ahead, horizon := range map[time.Duration]string{0: "6", 6 * time.Hour: "6", 7 * time.Hour: "24", 48 * time.Hour: "48", 49 * time.Hour: "72", 1000 * time.Hour: "72"} {
		s := &service{answers: map[string]string{"forecast": body}}
		got, err := provider(t, s, Options{}).Forecast(t.Context(), "DE", now, now.Add(ahead))
		want := []grid.Sample{{From: at(21, 10), To: at(21, 11), Intensity: 326, Estimated: true}}
		if ahead > 0 {
			want = append(want, grid.Sample{From: at(21, 12), To: at(21, 13), Intensity: 297, Estimated: true})
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", ahead, err, diff)
		}
		if diff := cmp.Diff([]string{"forecast?emissionFactorType=lifecycle&horizonHours=" + horizon + "&zone=DE"}, s.asked); diff != "" {
			t.Errorf("%s: %s", ahead, diff)
		}
	}
}

func TestZones(t *testing.T) {
	s := &service{answers: map[string]string{"/zones": `{"FR":{"zoneName":"France","access":["carbon-intensity/latest"]},"DE":{"zoneName":"Ger\nmany","countryName":"x","access":null},"bad key":{"zoneName":"?"},"SE":null}`}}
	got, err := provider(t, s, Options{}).Zones(t.Context())
	want := []Zone{{Key: "DE", Name: "Ger many"}, {Key: "FR", Name: "France", Access: []string{"carbon-intensity/latest"}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if diff := cmp.Diff([]string{"key"}, s.keys); diff != "" {
		t.Error(diff)
	}
	for _, body := range []string{"{}", "null", "[]", "401", `"x"`} {
		if zones, err := provider(t, &service{answers: map[string]string{"/zones": body}}, Options{}).Zones(t.Context()); err == nil {
			t.Errorf("%s: %v", body, zones)
		}
	}
}

func TestNew(t *testing.T) {
	for want, o := range map[string]Options{
		"it wants a key":       {},
		`it has no factor "x"`: {Token: fetch.Text("key"), Factor: "x"},
		"only https is safe":   {Token: fetch.Text("key"), Base: "http://example.org"},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	p, err := New(Options{Token: fetch.Text("key"), Factor: grid.Direct})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(grid.Info{Name: "electricitymaps", Signal: grid.Average, Factor: grid.Direct, Step: time.Hour}, p.Info()); diff != "" {
		t.Error(diff)
	}
}

func FuzzSamples(f *testing.F) {
	for _, seed := range []string{
		`{"zone":"DE","history":[` + value(now, "322") + `,` + value(now, "null") + `]}`,
		`{"data":[{"carbonIntensity":1,"datetime":"9999-12-31T23:59:59Z","temporalGranularity":"yearly"}]}`,
		`{"data":[{"carbonIntensity":1,"datetime":"0000-01-01T00:00:00Z","isEstimated":true}]}`,
		`{"temporalGranularity":"5_minutes","forecast":[{"carbonIntensity":1e400,"datetime":"2026-08-21T12:00:00.000Z"},{"carbonIntensity":-1,"datetime":"2026-08-21T12:00:00.000Z"}]}`,
		`{}`, `null`, `[]`,
	} {
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, estimates bool) {
		var a answer
		if json.Unmarshal(data, &a) != nil {
			return
		}
		for _, points := range [][]point{a.History, a.Data, a.Forecast} {
			samples, err := a.samples(points, grid.Lifecycle, estimates)
			if err == nil {
				gridtest.Check(t, samples)
			}
		}
	})
}
