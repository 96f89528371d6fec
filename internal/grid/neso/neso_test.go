package neso

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

var now = time.Date(2026, 8, 21, 10, 40, 0, 0, time.UTC)

func at(day, hour, minute int) time.Time {
	return time.Date(2026, 8, day, hour, minute, 0, 0, time.UTC)
}

// half is a half hour as the service writes it.
func half(from time.Time, forecast, actual string) string {
	return fmt.Sprintf(`{"from":%q,"to":%q,"intensity":{"forecast":%s,"actual":%s,"index":"moderate"}}`, write(from), write(from.Add(step)), forecast, actual)
}

func national(periods ...string) string { return `{"data":[` + strings.Join(periods, ",") + `]}` }

// region is the answer about one, as it is written for times that are named.
func regional(periods ...string) string {
	return `{"data":{"regionid":13,"dnoregion":"UKPN London","shortname":"London","data":[` + strings.ReplaceAll(strings.Join(periods, ","), `"actual":null,`, "") + `]}}`
}

func TestHostile(t *testing.T) {
	for zone, of := range map[string]func(...string) string{"GB": national, "GB:SW1": regional} {
		t.Run(zone, func(t *testing.T) {
			gridtest.Hostile(t, gridtest.Kit{
				New: func(base string, _ fetch.Secret, now func() time.Time) (grid.Provider, error) {
					return New(Options{Base: base, Now: now})
				},
				Zone:   zone,
				Now:    now,
				Answer: func(_ *http.Request, v string) string { return of(half(at(21, 10, 30), v, "null")) },
			})
		})
	}
}

func provider(t *testing.T, status int, body string) (*Provider, *[]string) {
	t.Helper()
	asked := &[]string{}
	server := gridtest.Server(t, func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.RequestURI)
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
	p, err := New(Options{Base: server.URL, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return p, asked
}

func TestLatest(t *testing.T) {
	present := grid.Sample{From: at(21, 10, 30), To: at(21, 11, 0), Intensity: 266, Estimated: true}
	list := `{"data":[{"regionid":13,"shortname":"London","data":[{"from":"2026-08-21T10:30Z","to":"2026-08-21T11:00Z","intensity":{"forecast":266,"index":"moderate"},"generationmix":[{"fuel":"gas","perc":43.6}]}]}]}`
	for name, c := range map[string]struct {
		zone, body, asked string
		want              grid.Sample
		err               string
	}{
		"measured":         {"GB", national(half(at(21, 10, 30), "266", "263")), "/intensity", grid.Sample{From: at(21, 10, 30), To: at(21, 11, 0), Intensity: 263}, ""},
		"expected":         {"GB", national(half(at(21, 10, 30), "266", "null")), "/intensity", present, ""},
		"measured to be 0": {"GB", national(half(at(21, 10, 30), "266", "0")), "/intensity", grid.Sample{From: at(21, 10, 30), To: at(21, 11, 0)}, ""},
		"neither":          {"GB", national(half(at(21, 10, 30), "null", "null")), "/intensity", grid.Sample{}, "the provider has no value of this half hour"},
		"nothing":          {"GB", national(), "/intensity", grid.Sample{}, "the provider has no value of this half hour"},
		"stale":            {"GB", national(half(at(20, 10, 30), "266", "263")), "/intensity", grid.Sample{From: at(20, 10, 30), To: at(20, 11, 0), Intensity: 263}, ""},
		"with seconds":     {"GB", strings.ReplaceAll(national(half(at(21, 10, 30), "266", "null")), "0Z", "0:00Z"), "/intensity", present, ""},
		"of the clock":     {"GB", strings.ReplaceAll(national(half(at(21, 10, 30), "266", "null")), "0Z", "0"), "/intensity", grid.Sample{}, `"2026-08-21T10:30" is no time`},
		"backwards":        {"GB", strings.Replace(national(half(at(21, 10, 30), "266", "null")), "T11", "T09", 1), "/intensity", grid.Sample{}, "has no length"},
		"a region":         {"GB-13", list, "/regional/regionid/13", present, ""},
		"a postcode":       {"GB:sw1a", list, "/regional/postcode/SW1A", present, ""},
		"an error":         {"GB", `{"error":{"code":"500 Internal Server Error","message":"bad\nday"}}`, "/intensity", grid.Sample{}, "it answers 500 Internal Server Error: bad day"},
	} {
		t.Run(name, func(t *testing.T) {
			p, asked := provider(t, 200, c.body)
			got, err := p.Latest(t.Context(), c.zone)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{c.asked}, *asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestIntensity(t *testing.T) {
	// The period that ends when the question begins is part of the answer.
	day := []string{half(at(21, 9, 0), "1", "1"), half(at(21, 9, 30), "250", "240"), half(at(21, 10, 0), "260", "250"), half(at(21, 10, 30), "270", "null")}
	measured := []grid.Sample{{From: at(21, 9, 30), To: at(21, 10, 0), Intensity: 240}, {From: at(21, 10, 0), To: at(21, 10, 30), Intensity: 250}}
	present := grid.Sample{From: at(21, 10, 30), To: at(21, 11, 0), Intensity: 270, Estimated: true}
	for name, c := range map[string]struct {
		zone     string
		from, to time.Time
		body     string
		want     []grid.Sample
		asked    []string
	}{
		"an hour":             {"GB", at(21, 9, 40), now, national(day...), append(measured[:2:2], present), []string{"/intensity/2026-08-21T09:30Z/2026-08-21T11:00Z"}},
		"until tomorrow":      {"GB", at(21, 9, 40), at(22, 9, 0), national(day...), append(measured[:2:2], present), []string{"/intensity/2026-08-21T09:30Z/2026-08-21T11:00Z"}},
		"now":                 {"GB", now, now, national(day...), []grid.Sample{present}, []string{"/intensity/2026-08-21T10:30Z/2026-08-21T11:00Z"}},
		"tomorrow":            {"GB", at(22, 0, 0), at(23, 0, 0), "", nil, []string{}},
		"another zone's time": {"GB", at(21, 10, 0).In(time.FixedZone("", 2*3600)), at(21, 10, 10), national(day...), measured[1:], []string{"/intensity/2026-08-21T10:00Z/2026-08-21T10:30Z"}},
		"a region, where everything is forecast": {
			"GB-13", at(21, 9, 40), at(21, 10, 10), regional(half(at(21, 9, 30), "250", "null"), half(at(21, 10, 0), "260", "null")),
			[]grid.Sample{{From: at(21, 9, 30), To: at(21, 10, 0), Intensity: 250, Estimated: true}, {From: at(21, 10, 0), To: at(21, 10, 30), Intensity: 260, Estimated: true}},
			[]string{"/regional/intensity/2026-08-21T09:30Z/2026-08-21T10:30Z/regionid/13"},
		},
		"three weeks": {
			"GB:EC1", at(1, 0, 0), at(21, 0, 0), regional(half(at(5, 0, 0), "5", "null")),
			[]grid.Sample{{From: at(5, 0, 0), To: at(5, 0, 30), Intensity: 5, Estimated: true}},
			[]string{"/regional/intensity/2026-08-01T00:00Z/2026-08-14T00:00Z/postcode/EC1", "/regional/intensity/2026-08-14T00:00Z/2026-08-21T00:30Z/postcode/EC1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, asked := provider(t, 200, c.body)
			got, err := p.Intensity(t.Context(), c.zone, c.from, c.to)
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
			if diff := cmp.Diff(c.asked, *asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestForecast(t *testing.T) {
	p, asked := provider(t, 200, national(half(at(21, 10, 0), "260", "250"), half(at(21, 10, 30), "270", "null"), half(at(21, 11, 0), "280", "null"), half(at(21, 12, 0), "290", "null")))
	got, err := p.Forecast(t.Context(), "GB", now, at(21, 11, 30))
	want := []grid.Sample{{From: at(21, 10, 30), To: at(21, 11, 0), Intensity: 270, Estimated: true}, {From: at(21, 11, 0), To: at(21, 11, 30), Intensity: 280, Estimated: true}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	_, _ = p.Forecast(t.Context(), "GB-1", at(20, 0, 0), at(22, 0, 0))
	_, _ = p.Forecast(t.Context(), "GB:B1", at(22, 0, 10), at(23, 0, 0))
	if diff := cmp.Diff([]string{"/intensity/2026-08-21T10:30Z/fw48h", "/regional/intensity/2026-08-21T10:30Z/fw48h/regionid/1", "/regional/intensity/2026-08-22T00:00Z/fw48h/postcode/B1"}, *asked); diff != "" {
		t.Error(diff)
	}
}

func TestZones(t *testing.T) {
	for _, zone := range []string{"", "UK", "GBR", "gb", "GB-0", "GB-18", "GB-01", "GB-+1", "GB-NIR", "GB:", "GB:SW", "GB:1", "GB:SW1A1AA", "GB:SW1 ", "GB:SW/1", "GB:ABC1", "GB:É1", "DE", "51.5,-0.1", strings.Repeat("G", 1<<20)} {
		p, asked := provider(t, 200, national())
		_, latest := p.Latest(t.Context(), zone)
		_, past := p.Intensity(t.Context(), zone, now, now)
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
	p, _ := provider(t, 400, `{"error":{"code":"400 Bad Request","message":"Please enter a valid outward postcode e.g. RG10."}}`)
	if _, err := p.Latest(t.Context(), "GB:ZZ9"); !errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("a postcode that nobody has: %v", err)
	}
	if _, err := p.Latest(t.Context(), "GB"); err == nil || errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("400 about the country: %v", err)
	}
}

func TestNew(t *testing.T) {
	if _, err := New(Options{Factor: grid.Lifecycle}); err == nil || !strings.Contains(err.Error(), "choose the factor direct") {
		t.Error(err)
	}
	p, err := New(Options{Factor: grid.Direct})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(grid.Info{Name: "neso", Signal: grid.Average, Factor: grid.Direct, Step: 30 * time.Minute}, p.Info()); diff != "" {
		t.Error(diff)
	}
}

func FuzzSamples(f *testing.F) {
	for _, seed := range []string{
		national(half(now, "266", "263"), half(now, "266", "null")), regional(half(now, "1", "null")),
		`{"data":[{"regionid":1,"data":[{"from":"2018-01-20T12:00Z","to":"2018-01-20T12:30Z","intensity":{"forecast":1e300}}]}]}`,
		`{"data":[{"data":[]}]}`, `{"data":{}}`, `{"data":null}`, `{"data":"x"}`, `{"error":{}}`, `{}`, `{"data":[null,{}]}`,
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
