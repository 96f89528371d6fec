package energycharts

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
	"noether/internal/grid/gridtest"
)

var now = time.Date(2026, 8, 21, 10, 40, 0, 0, time.UTC)

func at(hour, minute int) time.Time { return time.Date(2026, 8, 21, hour, minute, 0, 0, time.UTC) }

// body has values each quarter of an hour from a time on.
func body(from time.Time, measured, expected []string) string {
	var seconds []string
	for i := range measured {
		seconds = append(seconds, strconv.FormatInt(from.Add(time.Duration(i)*step).Unix(), 10))
	}
	list := func(s []string) string { return "[" + strings.Join(s, ",") + "]" }
	return `{"unix_seconds":` + list(seconds) + `,"co2eq":` + list(measured) + `,"co2eq_forecast":` + list(expected) + `,"deprecated":false}`
}

func measured(from time.Time, g float64) grid.Sample {
	return grid.Sample{From: from, To: from.Add(step), Intensity: g}
}

func expected(from time.Time, g float64) grid.Sample {
	return grid.Sample{From: from, To: from.Add(step), Intensity: g, Estimated: true}
}

func TestHostile(t *testing.T) {
	for name, answer := range map[string]func(string) string{
		"measured": func(v string) string { return body(at(10, 30), []string{v, "null"}, []string{"null", "null"}) },
		"expected": func(v string) string { return body(at(10, 30), []string{"null", "null"}, []string{v, "null"}) },
	} {
		t.Run(name, func(t *testing.T) {
			gridtest.Hostile(t, gridtest.Kit{
				New: func(base string, _ fetch.Secret, now func() time.Time) (grid.Provider, error) {
					return New(Options{Base: base, Now: now})
				},
				Zone:   "DE",
				Now:    now,
				Answer: func(_ *http.Request, v string) string { return answer(v) },
			})
		})
	}
}

func provider(t *testing.T, status int, answer string) (*Provider, *[]string) {
	t.Helper()
	asked := &[]string{}
	server := gridtest.Server(t, func(w http.ResponseWriter, r *http.Request) {
		uri, _ := url.QueryUnescape(r.RequestURI)
		*asked = append(*asked, uri)
		w.WriteHeader(status)
		io.WriteString(w, answer)
	})
	p, err := New(Options{Base: server.URL, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return p, asked
}

// day is an answer as it comes in the morning: measured until two hours ago,
// expected afterwards, unknown in the end.
var day = body(at(8, 15), []string{"312.4", "310", "null", "null", "null", "null", "null", "null", "null", "null", "null", "null"},
	[]string{"null", "null", "300", "301", "302", "303", "304", "305", "306", "307", "null", "null"})

func TestLatest(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		want   grid.Sample
		err    string
	}{
		"expected, as nothing was measured for two hours":    {day, expected(at(10, 30), 307), ""},
		"the last that was measured, as nothing is expected": {body(at(8, 15), []string{"312.4", "310", "null"}, []string{"null", "null", "null"}), measured(at(8, 30), 310), ""},
		"only expected":          {body(at(10, 15), []string{"null", "null", "null"}, []string{"280", "281", "282"}), expected(at(10, 30), 281), ""},
		"measured to be 0":       {body(at(10, 30), []string{"0"}, []string{"3"}), measured(at(10, 30), 0), ""},
		"a hole":                 {body(at(8, 15), []string{"null", "null"}, []string{"null", "null"}), grid.Sample{}, "the provider has no value of the last 24h"},
		"too old":                {body(at(8, 15).AddDate(0, 0, -2), []string{"300"}, []string{"null"}), grid.Sample{}, "the provider has no value of the last 24h"},
		"no forecast at all":     {`{"unix_seconds":[1787308200,1787309100],"co2eq":[300.5,null]}`, measured(at(10, 30), 300.5), ""},
		"hours":                  {`{"unix_seconds":[1787302800,1787306400],"co2eq":[300.5,290],"co2eq_forecast":[null,null]}`, grid.Sample{From: at(10, 0), To: at(11, 0), Intensity: 290}, ""},
		"a time that is missing": {`{"unix_seconds":[1787302800,1787303700,1787308200],"co2eq":[1,2,3]}`, measured(at(10, 30), 3), ""},
		"lists of two lengths":   {`{"unix_seconds":[1787308200,1787309100],"co2eq":[300.5]}`, grid.Sample{}, "there are 1 values for 2 times"},
		"times out of order":     {`{"unix_seconds":[1787309100,1787308200],"co2eq":[1,2]}`, grid.Sample{}, "the times are not in order"},
		"a time twice":           {`{"unix_seconds":[1787308200,1787308200],"co2eq":[1,2]}`, grid.Sample{}, "the times are not in order"},
		"milliseconds":           {`{"unix_seconds":[1787308200000],"co2eq":[1]}`, grid.Sample{}, "1787308200000 is no time in seconds"},
		"times before time":      {`{"unix_seconds":[-1],"co2eq":[1]}`, grid.Sample{}, "-1 is no time in seconds"},
		"no values":              {`{"unix_seconds":[1787308200]}`, grid.Sample{}, "the list of times or of values is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			p, asked := provider(t, 200, c.answer)
			got, err := p.Latest(t.Context(), "DE")
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"/co2eq?country=de&end=2026-08-21T10:45Z&start=2026-08-20T10:30Z"}, *asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestIntensity(t *testing.T) {
	p, asked := provider(t, 200, day)
	got, err := p.Intensity(t.Context(), "FR", at(8, 20), at(9, 5))
	want := []grid.Sample{measured(at(8, 15), 312.4), measured(at(8, 30), 310), expected(at(8, 45), 300), expected(at(9, 0), 301)}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	// The future is for Forecast.
	got, err = p.Intensity(t.Context(), "FR", at(10, 20), now.Add(9*time.Hour))
	if diff := cmp.Diff([]grid.Sample{expected(at(10, 15), 306), expected(at(10, 30), 307)}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	got, err = p.Intensity(t.Context(), "FR", now.Add(time.Hour), now.Add(9*time.Hour))
	if len(got) > 0 || err != nil {
		t.Errorf("the future is %v, %v", got, err)
	}
	got, err = p.Intensity(t.Context(), "FR", now, now)
	if diff := cmp.Diff([]grid.Sample{expected(at(10, 30), 307)}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if _, err = p.Intensity(t.Context(), "FR", now.AddDate(0, 0, -100), now); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{
		"/co2eq?country=fr&end=2026-08-21T09:30Z&start=2026-08-21T08:15Z",
		"/co2eq?country=fr&end=2026-08-21T11:00Z&start=2026-08-21T10:15Z",
		"/co2eq?country=fr&end=2026-08-21T11:00Z&start=2026-08-21T10:30Z",
		"/co2eq?country=fr&end=2026-08-11T10:45Z&start=2026-05-13T10:30Z",
		"/co2eq?country=fr&end=2026-08-21T11:00Z&start=2026-08-11T10:30Z",
	}, *asked); diff != "" {
		t.Error(diff)
	}
}

func TestForecast(t *testing.T) {
	p, asked := provider(t, 200, body(at(10, 30), []string{"290", "null", "null", "null"}, []string{"null", "291", "null", "292"}))
	got, err := p.Forecast(t.Context(), "DE", now, now.Add(24*time.Hour))
	if diff := cmp.Diff([]grid.Sample{measured(at(10, 30), 290), expected(at(10, 45), 291), expected(at(11, 15), 292)}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if diff := cmp.Diff([]string{"/co2eq?country=de&end=2026-08-22T11:00Z&start=2026-08-21T10:30Z"}, *asked); diff != "" {
		t.Error(diff)
	}
}

func TestZones(t *testing.T) {
	for zone, want := range map[string]string{"DE": "de", "GB": "uk", "GB-NIR": "nie", "GR": "gr"} {
		if got, err := country(zone); got != want || err != nil {
			t.Errorf("%s is %q, %v", zone, got, err)
		}
	}
	for _, zone := range []string{"", "de", "DEU", "SE-SE3", "DK-DK1", "DE-LU", "aws:eu-central-1", "52.5,13.4", "D1", strings.Repeat("D", 1<<20)} {
		p, asked := provider(t, 200, day)
		_, latest := p.Latest(t.Context(), zone)
		_, past := p.Intensity(t.Context(), zone, now.Add(1), now)
		_, ahead := p.Forecast(t.Context(), zone, now, now)
		for _, err := range []error{latest, past, ahead} {
			if !errors.Is(err, grid.ErrUnknownZone) || len(err.Error()) > 400 {
				t.Errorf("%.20q: %v", zone, err)
			}
		}
		if len(*asked) > 0 {
			t.Errorf("%.20q: the service was asked for %s", zone, *asked)
		}
	}
	p, _ := provider(t, 400, "'xx' is not the code for an available country. Please refer to the API doc for information about available countries")
	if _, err := p.Latest(t.Context(), "XX"); !errors.Is(err, grid.ErrUnknownZone) {
		t.Error(err)
	}
}

func TestNew(t *testing.T) {
	if _, err := New(Options{Factor: grid.Direct}); err == nil || !strings.Contains(err.Error(), "choose the factor lifecycle") {
		t.Error(err)
	}
	p, err := New(Options{Factor: grid.Lifecycle})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(grid.Info{Name: "energy-charts", Signal: grid.Average, Factor: grid.Lifecycle, Step: 15 * time.Minute}, p.Info()); diff != "" {
		t.Error(diff)
	}
}

// An answer about the longest time that is asked for is read.
func TestLongestAnswer(t *testing.T) {
	values := make([]string, longest/step)
	for i := range values {
		values[i] = "312.45678901234567"
	}
	p, _ := provider(t, 200, body(now.Add(-longest), values, values))
	got, err := p.Intensity(t.Context(), "DE", now.Add(-longest+step), now.Add(-step))
	if err != nil || len(got) < len(values)-2 {
		t.Errorf("%d samples, %v", len(got), err)
	}
}

func FuzzSamples(f *testing.F) {
	for _, seed := range []string{
		day, `{"unix_seconds":[0,900],"co2eq":[1,null],"co2eq_forecast":[null,2]}`, `{"unix_seconds":[7258118399],"co2eq":[1]}`,
		`{"unix_seconds":[9223372036854775807,-9223372036854775808],"co2eq":[1,2]}`, `{"unix_seconds":[1],"co2eq":[-1e300]}`, `{"unix_seconds":[]}`, `{}`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var a answer
		if json.Unmarshal(data, &a) != nil {
			return
		}
		if samples, err := a.samples(); err == nil {
			gridtest.Check(t, samples)
		}
	})
}
