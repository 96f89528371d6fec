package prometheus

import (
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
	"noether/internal/promclient"
)

const query = `noether_grid_carbon_intensity_grams_per_kwh{grid_zone="{zone}"}`

func at() time.Time { return time.Date(2026, 8, 21, 10, 32, 0, 0, time.UTC) }

func open(t *testing.T, base, query string) *Provider {
	t.Helper()
	p, err := New(Options{Client: client(t, base), Query: query, Now: at})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func client(t *testing.T, base string) *promclient.Client {
	t.Helper()
	c, err := promclient.New(promclient.Options{
		URL: base, Attempts: 1, Timeout: 5 * time.Second, MaxBytes: 4 << 20,
		Credentials: promclient.Credentials{Token: gridtest.Token},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// vector and matrix are answers to instant and range queries.
func vector(series ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`
}

func matrix(series ...string) string {
	return `{"status":"success","data":{"resultType":"matrix","result":[` + strings.Join(series, ",") + `]}}`
}

func TestHostile(t *testing.T) {
	gridtest.Hostile(t, gridtest.Kit{
		New: func(base string, _ fetch.Secret, now func() time.Time) (grid.Provider, error) {
			return New(Options{Client: client(t, base), Query: query, Now: now})
		},
		Zone: "DE",
		Now:  at(),
		Answer: func(r *http.Request, value string) string {
			if r.URL.Path == "/api/v1/query_range" {
				return matrix(fmt.Sprintf(`{"metric":{},"values":[[%d,"%s"]]}`, at().Unix(), value))
			}
			return vector(fmt.Sprintf(`{"metric":{},"value":[%d,"%s"]}`, at().Unix(), value))
		},
		NoRetryAfter: true,
	})
}

func TestQuery(t *testing.T) {
	server := gridtest.Server(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.FormValue("query"); got != `noether_grid_carbon_intensity_grams_per_kwh{grid_zone="US-CAL-CISO"}` {
			t.Errorf("asked for %s", got)
		}
		if r.URL.Path == "/api/v1/query" {
			io.WriteString(w, vector(`{"metric":{},"value":[1,"321.5"]}`))
			return
		}
		if got := r.FormValue("start") + " " + r.FormValue("end") + " " + r.FormValue("step"); got != "1787304600 1787308320 300" {
			t.Errorf("asked for the range %s", got)
		}
		io.WriteString(w, matrix(`{"metric":{},"values":[[1787304600,"300"],[1787304900,"NaN"],[1787305200,"310"],[1787306100,"1e9"],[1787306400,"320"]]}`))
	})
	p := open(t, server.URL, query)
	s, err := p.Latest(t.Context(), "US-CAL-CISO")
	if diff := cmp.Diff(grid.Sample{From: at(), To: at().Add(15 * time.Minute), Intensity: 321.5}, s); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	got, err := p.Intensity(t.Context(), "US-CAL-CISO", at().Add(-time.Hour), at())
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Unix(1787304600, 0).UTC()
	sample := func(minute int, g float64) grid.Sample {
		from := begin.Add(time.Duration(minute) * time.Minute)
		return grid.Sample{From: from, To: from.Add(5 * time.Minute), Intensity: g}
	}
	if diff := cmp.Diff([]grid.Sample{sample(0, 300), sample(10, 310), sample(30, 320)}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := p.Forecast(t.Context(), "US-CAL-CISO", at(), at()); !errors.Is(err, grid.ErrNoForecast) {
		t.Error(err)
	}
}

func TestLongRange(t *testing.T) {
	server := gridtest.Server(t, func(w http.ResponseWriter, r *http.Request) {
		if step := r.FormValue("step"); step != "2400" {
			t.Errorf("a year is asked for in steps of %s s", step)
		}
		io.WriteString(w, matrix(fmt.Sprintf(`{"metric":{},"values":[[%d,"300"]]}`, at().Unix())))
	})
	if _, err := open(t, server.URL, "x").Intensity(t.Context(), "DE", at().AddDate(-200, 0, 0).AddDate(199, 6, 0), at()); err != nil {
		t.Error(err)
	}
}

func TestZonesThatAreNone(t *testing.T) {
	p := open(t, "http://127.0.0.1:1", query)
	for _, zone := range []string{"", `DE"} or vector(1) or x{a="`, "D E", "D\nE", `D\`, strings.Repeat("D", 101), "ÄÖ", "{zone}"} {
		if _, err := p.Latest(t.Context(), zone); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("%q: %v", zone, err)
		}
	}
	for _, zone := range []string{"DE", "US-CAL-CISO", "aws:eu-central-1", "52.52,-13.4"} {
		if got, err := p.of(zone); err != nil || !strings.Contains(got, `"`+zone+`"`) {
			t.Errorf("%q: %s %v", zone, got, err)
		}
	}
}

func TestSeveralSeries(t *testing.T) {
	for name, c := range map[string]struct{ answer, want string }{
		"two regions":  {vector(`{"metric":{"__name__":"g","job":"a","region":"eu"},"value":[1,"300"]}`, `{"metric":{"__name__":"g","job":"a","region":"us"},"value":[1,"400"]}`), `2 series, wanted is one: they differ in region, which is "eu" or "us": add region="eu" to the query`},
		"two metrics":  {vector(`{"metric":{"__name__":"f"},"value":[1,"300"]}`, `{"metric":{"__name__":"g"},"value":[1,"400"]}`), "name one metric"},
		"one without":  {vector(`{"metric":{},"value":[1,"300"]}`, `{"metric":{"region":"us"},"value":[1,"400"]}`), `which is "" or "us"`},
		"none":         {vector(), "no such series"},
		"a warning":    {`{"status":"success","warnings":["a store is away"],"data":{"resultType":"vector","result":[]}}`, "may not be whole: a store is away"},
		"not a vector": {`{"status":"success","data":{"resultType":"string","result":[1,"300"]}}`, "not one of Prometheus"},
	} {
		server := gridtest.Server(t, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, c.answer)
		})
		if _, err := open(t, server.URL, "g").Latest(t.Context(), "DE"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestNew(t *testing.T) {
	if _, err := New(Options{Query: "g"}); err == nil || !strings.Contains(err.Error(), "--prometheus-url") {
		t.Error(err)
	}
	if _, err := New(Options{Client: client(t, "http://127.0.0.1:9090")}); err == nil || !strings.Contains(err.Error(), "--grid.query") {
		t.Error(err)
	}
}
