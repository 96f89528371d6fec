package rte

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
	"noether/internal/grid/gridtest"
)

func at(hour, minute int) time.Time { return time.Date(2026, 8, 21, hour, minute, 0, 0, time.UTC) }

func sample(hour, minute int, g float64) grid.Sample {
	return grid.Sample{From: at(hour, minute), To: at(hour, minute).Add(step), Intensity: g}
}

func provider(t *testing.T, answer func(r *http.Request) string) *Provider {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(answer(r)))
	}))
	t.Cleanup(server.Close)
	p, err := New(Options{Base: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLatest(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		want   grid.Sample
		err    error
	}{
		"as documented":     {`{"total_count":1234,"results":[{"taux_co2":23,"date_heure":"2026-08-21T10:15:00+00:00"}]}`, sample(10, 15, 23), nil},
		"local time":        {`{"results":[{"taux_co2":23,"date_heure":"2026-08-21T12:15:00+02:00"}]}`, sample(10, 15, 23), nil},
		"stale":             {`{"results":[{"taux_co2":31,"date_heure":"2026-08-21T01:00:00+00:00"}]}`, sample(1, 0, 31), nil},
		"null":              {`{"total_count":1,"results":[{"taux_co2":null,"date_heure":"2026-08-21T10:15:00+00:00"}]}`, grid.Sample{}, grid.ErrNoData},
		"nothing":           {`{"total_count":0,"results":[]}`, grid.Sample{}, grid.ErrNoData},
		"0 is no value":     {`{"results":[{"taux_co2":0,"date_heure":"2026-08-21T10:15:00+00:00"}]}`, grid.Sample{}, grid.ErrNoData},
		"a time is missing": {`{"results":[{"taux_co2":23}]}`, grid.Sample{}, grid.ErrNoData},
		"duplicate keys":    {`{"results":[{"taux_co2":1e9,"taux_co2":23,"date_heure":"2026-08-21T10:15:00+00:00"}]}`, sample(10, 15, 23), nil},
	} {
		p := provider(t, func(r *http.Request) string {
			q := r.URL.Query()
			if r.URL.Path != "/records" || q.Get("where") != "taux_co2 is not null" || q.Get("order_by") != "date_heure desc" || q.Get("limit") != "1" || q.Get("timezone") != "UTC" {
				t.Errorf("%s: asked for %s", name, r.URL)
			}
			return c.answer
		})
		got, err := p.Latest(t.Context(), "FR")
		if diff := cmp.Diff(c.want, got); diff != "" || !errors.Is(err, c.err) {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

func TestIntensity(t *testing.T) {
	p := provider(t, func(r *http.Request) string {
		if want := "taux_co2 is not null and date_heure >= date'2026-08-21T07:00:00' and date_heure <= date'2026-08-21T14:00:00'"; r.URL.Path != "/exports/json" || r.URL.Query().Get("where") != want {
			t.Errorf("asked for %s %s", r.URL.Path, r.URL.Query())
		}
		return `[{"date_heure":"2026-08-21T10:30:00+00:00","taux_co2":25},
			{"date_heure":"2026-08-21T09:45:00+00:00","taux_co2":9},
			{"date_heure":"2026-08-21T10:00:00+00:00","taux_co2":20},
			{"date_heure":"2026-08-21T10:15:00+00:00","taux_co2":null},
			{"date_heure":"2026-08-21T10:30:00+00:00","taux_co2":77},
			{"date_heure":"2026-08-21T10:45:00+00:00","taux_co2":-4},
			{"date_heure":"2026-08-21T11:00:00+00:00","taux_co2":28},
			{"date_heure":"2026-08-21T11:15:00+00:00","taux_co2":99}]`
	})
	got, err := p.Intensity(t.Context(), "gcp:europe-west9", at(10, 0), at(11, 0))
	if diff := cmp.Diff([]grid.Sample{sample(10, 0, 20), sample(10, 30, 25), sample(11, 0, 28)}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestNotAsked(t *testing.T) {
	p := provider(t, func(r *http.Request) string {
		t.Errorf("asked for %s", r.URL)
		return ""
	})
	for _, zone := range []string{"DE", "", "FR-COR", "aws:eu-central-1", "aws:x"} {
		if _, err := p.Latest(t.Context(), zone); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("%q: %v", zone, err)
		}
		if _, err := p.Intensity(t.Context(), zone, at(0, 0), at(1, 0)); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("%q: %v", zone, err)
		}
	}
	if _, err := p.Forecast(t.Context(), "FR", at(0, 0), at(1, 0)); !errors.Is(err, grid.ErrNoForecast) {
		t.Errorf("%v", err)
	}
	if _, err := p.Intensity(t.Context(), "FR", at(0, 0).AddDate(-1, 0, 0), at(0, 0)); err == nil || !strings.Contains(err.Error(), "ask for less") {
		t.Errorf("%v", err)
	}
}

func TestHostile(t *testing.T) {
	gridtest.Hostile(t, gridtest.Kit{
		New: func(base string, _ fetch.Secret, now func() time.Time) (grid.Provider, error) {
			return New(Options{Base: base, Now: now})
		},
		Zone: "FR",
		Now:  at(10, 30),
		Answer: func(r *http.Request, value string) string {
			records := `[{"taux_co2":` + value + `,"date_heure":"2026-08-21T10:15:00+00:00"}]`
			if r.URL.Path == "/records" {
				return `{"total_count":1,"results":` + records + `}`
			}
			return records
		},
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"date_heure":"2026-08-21T10:30:00+02:00","taux_co2":25},{"date_heure":"2026-08-21T10:30:00+02:00","taux_co2":null}]`))
	f.Add([]byte(`[{"date_heure":"0001-01-01T00:00:00Z","taux_co2":1e308}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var answer []record
		if samples, err := parse(body, &answer, &answer); err == nil {
			gridtest.Check(t, samples)
		}
	})
}
