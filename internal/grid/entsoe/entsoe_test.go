package entsoe

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
	"noether/internal/grid/gridtest"
)

func at(hour, minute int) time.Time { return time.Date(2026, 8, 20, hour, minute, 0, 0, time.UTC) }

const germany = "10Y1001A1001A83F"

// series is one in the platform's own shape; quantities of -1 are left out.
func series(direction, psr, curve, resolution, start, end string, quantities ...float64) string {
	var points strings.Builder
	for i, q := range quantities {
		if q >= 0 {
			fmt.Fprintf(&points, "<Point><position>%d</position><quantity>%v</quantity></Point>\n", i+1, q)
		}
	}
	return fmt.Sprintf(`<TimeSeries><mRID>1</mRID><businessType>A01</businessType><objectAggregation>A08</objectAggregation>
<%[1]sBiddingZone_Domain.mRID codingScheme="A01">%[2]s</%[1]sBiddingZone_Domain.mRID><quantity_Measure_Unit.name>MAW</quantity_Measure_Unit.name>
<curveType>%[3]s</curveType><MktPSRType><psrType>%[4]s</psrType></MktPSRType>
<Period><timeInterval><start>2026-08-20T%[5]sZ</start><end>2026-08-20T%[6]sZ</end></timeInterval><resolution>%[7]s</resolution>
%[8]s</Period></TimeSeries>`, direction, germany, curve, psr, start, end, resolution, points.String())
}

func doc(series ...string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<GL_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0"><mRID>x</mRID><type>A75</type>
` + strings.Join(series, "\n") + "\n</GL_MarketDocument>\n"
}

const nothing = `<?xml version="1.0" encoding="UTF-8"?>
<Acknowledgement_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0">
<Reason><code>999</code><text>No matching data found for securityToken=` + gridtest.Token + `</text></Reason></Acknowledgement_MarketDocument>`

func TestSamples(t *testing.T) {
	quarter := func(hour, minute int, g float64) grid.Sample {
		return grid.Sample{From: at(hour, minute), To: at(hour, minute).Add(15 * time.Minute), Intensity: g}
	}
	for name, c := range map[string]struct {
		body   string
		factor grid.Factor
		want   []grid.Sample
	}{
		// (100·490 + 300·11) / 400 = 130.75; (200·490 + 200·11) / 400 = 250.5
		"gas and wind": {
			doc(series("in", "B04", "A01", "PT15M", "10:00", "10:30", 100, 200), series("in", "B19", "A01", "PT15M", "10:00", "10:30", 300, 200)), grid.Lifecycle,
			[]grid.Sample{quarter(10, 0, 130.75), quarter(10, 15, 250.5)},
		},
		// 100·370 / 400 = 92.5
		"direct": {
			doc(series("in", "B04", "A01", "PT15M", "10:00", "10:15", 100), series("in", "B19", "A01", "PT15M", "10:00", "10:15", 300)), grid.Direct,
			[]grid.Sample{quarter(10, 0, 92.5)},
		},
		"what storage consumes and gives back does not count": {
			doc(series("in", "B14", "A01", "PT15M", "10:00", "10:15", 100), series("out", "B10", "A01", "PT15M", "10:00", "10:15", 900), series("in", "B10", "A01", "PT15M", "10:00", "10:15", 900), series("out", "B04", "A01", "PT15M", "10:00", "10:15", 900)), grid.Lifecycle,
			[]grid.Sample{quarter(10, 0, 12)},
		},
		// Blocks: gas 100, 100, 100, 50.
		"A03 repeats what is left out": {
			doc(series("in", "B04", "A03", "PT15M", "10:00", "11:00", 100, -1, -1, 50), series("in", "B19", "A03", "PT15M", "10:00", "11:00", 100)), grid.Lifecycle,
			[]grid.Sample{quarter(10, 0, 250.5), quarter(10, 15, 250.5), quarter(10, 30, 250.5), quarter(10, 45, (50*490+100*11)/150.)},
		},
		"A01 does not": {
			doc(series("in", "B04", "A01", "PT15M", "10:00", "11:00", 100, -1, -1, 50)), grid.Lifecycle,
			[]grid.Sample{quarter(10, 0, 490), quarter(10, 45, 490)},
		},
		"hours": {
			doc(series("in", "B05", "A01", "PT60M", "10:00", "12:00", 10, 20), series("in", "B14", "A01", "PT60M", "10:00", "12:00", 10, 0)), grid.Lifecycle,
			[]grid.Sample{{From: at(10, 0), To: at(11, 0), Intensity: 416}, {From: at(11, 0), To: at(12, 0), Intensity: 820}},
		},
		// The hour's 100 MW stand beside each half hour.
		"half an hour and an hour": {
			doc(series("in", "B04", "A01", "PT30M", "10:00", "11:00", 100, 300), series("in", "B14", "A01", "PT60M", "10:00", "11:00", 100)), grid.Lifecycle,
			[]grid.Sample{{From: at(10, 0), To: at(10, 30), Intensity: 251}, {From: at(10, 30), To: at(11, 0), Intensity: 370.5}},
		},
		"wind that has not been reported yet is not made by gas": {
			doc(series("in", "B04", "A01", "PT15M", "10:00", "10:45", 100, 100, 100), series("in", "B19", "A01", "PT15M", "10:00", "10:15", 100)), grid.Lifecycle,
			[]grid.Sample{quarter(10, 0, 250.5)},
		},
		"a hundredth may be silent": {
			doc(series("in", "B04", "A01", "PT15M", "10:00", "10:30", 1000, 1000), series("in", "B19", "A01", "PT15M", "10:00", "10:15", 5)), grid.Lifecycle,
			[]grid.Sample{quarter(10, 0, (1000*490+5*11)/1005.), quarter(10, 15, 490)},
		},
		"solar may be silent before it shines again": {
			doc(series("in", "B04", "A01", "PT15M", "10:00", "11:00", 100, 100, 100, 100), series("in", "B16", "A01", "PT15M", "10:00", "10:45", -1, -1, 100)), grid.Lifecycle,
			[]grid.Sample{quarter(10, 0, 490), quarter(10, 15, 490), quarter(10, 30, 269)},
		},
		"much of unknown type is estimated": {
			doc(series("in", "B14", "A01", "PT15M", "10:00", "10:30", 90, 95), series("in", "B20", "A01", "PT15M", "10:00", "10:30", 10, 5)), grid.Lifecycle,
			[]grid.Sample{{From: at(10, 0), To: at(10, 15), Intensity: 59.8, Estimated: true}, quarter(10, 15, 35.9)},
		},
		"nothing is generated": {doc(series("in", "B16", "A01", "PT15M", "10:00", "10:15", 0)), grid.Lifecycle, nil},
		"other areas and times": {
			doc(strings.ReplaceAll(series("in", "B05", "A01", "PT15M", "10:00", "10:15", 100), germany, "10YFR-RTE------C"), series("in", "B14", "A01", "PT15M", "10:00", "10:15", 100), series("in", "B05", "A03", "PT60M", "02:00", "05:00", 100)), grid.Lifecycle,
			[]grid.Sample{quarter(10, 0, 12)},
		},
		"two series of a type":                    {doc(series("in", "B14", "A01", "PT15M", "10:00", "10:15", 100), series("in", "B14", "A01", "PT15M", "10:30", "10:45", 100)), grid.Lifecycle, []grid.Sample{quarter(10, 0, 12), quarter(10, 30, 12)}},
		"a plant that only uses power makes none": {strings.Replace(doc(series("in", "B04", "A01", "PT15M", "10:00", "10:15", 77), series("in", "B14", "A01", "PT15M", "10:00", "10:15", 100)), "77", "-77", 1), grid.Lifecycle, []grid.Sample{quarter(10, 0, 12)}},
	} {
		m, err := parse([]byte(c.body), germany, at(9, 0), at(13, 0))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, m.samples(c.factor)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	good := doc(series("in", "B04", "A01", "PT15M", "10:00", "10:30", 100, 200))
	for name, c := range map[string]struct{ body, want string }{
		"acknowledgement": {nothing, grid.ErrNoData.Error()},
		"no series":       {doc(), grid.ErrNoData.Error()},
		"consumption":     {doc(series("out", "B10", "A01", "PT15M", "10:00", "10:15", 1)), grid.ErrNoData.Error()},
		"half":            {good[:len(good)/2], "not whole XML"},
		"HTML":            {"<!DOCTYPE html><html><body>503", "page of HTML"},
		"another":         {"<Publication_MarketDocument/>", "it is a Publication_MarketDocument"},
		"entities":        {`<!DOCTYPE a [<!ENTITY b "` + strings.Repeat("x", 99) + `">]><GL_MarketDocument>&b;&b;</GL_MarketDocument>`, "not whole XML"},
		"garbage":         {good + "}", "something follows"},
		"position 0":      {strings.Replace(good, "<position>1<", "<position>0<", 1), `position "0" is not one of 2`},
		"position 3":      {strings.Replace(good, "<position>2<", "<position>3<", 1), `position "3" is not one of 2`},
		"order":           {strings.Replace(good, "<position>1<", "<position>2<", 1), "position 2 follows position 2"},
		"NaN":             {strings.Replace(good, ">100<", ">NaN<", 1), "no power"},
		"1e9":             {strings.Replace(good, ">100<", ">1e9<", 1), "no power"},
		"no quantity":     {strings.Replace(good, ">100<", "><", 1), "no power"},
		"resolution":      {strings.Replace(good, "PT15M", "P1Y", 1), "is not one of PT15M"},
		"interval":        {strings.Replace(good, "T10:30Z", "T09:30Z", 1), "is none"},
		"an age":          {strings.Replace(good, "<end>2026", "<end>9026", 1), "is none"},
	} {
		_, err := parse([]byte(c.body), germany, at(9, 0), at(13, 0))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func provider(t *testing.T, handler http.HandlerFunc) *Provider {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	p, err := New(Options{Base: server.URL + "/api", Token: fetch.Text(gridtest.Token), Now: func() time.Time { return at(11, 50) }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLatest(t *testing.T) {
	p := provider(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		for name, want := range map[string]string{"securityToken": gridtest.Token, "documentType": "A75", "processType": "A16", "in_Domain": germany, "periodStart": "202608191100", "periodEnd": "202608201200"} {
			if q.Get(name) != want {
				t.Errorf("%s is %q, want %q", name, q.Get(name), want)
			}
		}
		fmt.Fprint(w, doc(series("in", "B04", "A01", "PT15M", "10:00", "10:30", 100, 200), series("in", "B19", "A01", "PT15M", "10:00", "10:30", 300, 200)))
	})
	want := grid.Sample{From: at(10, 15), To: at(10, 30), Intensity: 250.5} // over an hour old, which is for the caller to judge
	for _, zone := range []string{"DE", "aws:eu-central-1"} {
		got, err := p.Latest(t.Context(), zone)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", zone, err, diff)
		}
	}
}

func TestIntensityAsksWeekByWeek(t *testing.T) {
	var asked []string
	p := provider(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		asked = append(asked, q.Get("periodStart")+" "+q.Get("periodEnd"))
		if q.Get("periodStart") < "202608200000" {
			fmt.Fprint(w, nothing)
			return
		}
		fmt.Fprint(w, doc(series("in", "B14", "A03", "PT60M", "00:00", "23:00", 1)))
	})
	got, err := p.Intensity(t.Context(), "FR", at(10, 20).AddDate(0, 0, -8), at(12, 0))
	if err == nil {
		t.Errorf("Germany's data is taken for France's: %v", got)
	}
	asked = nil
	got, err = p.Intensity(t.Context(), "DE", at(10, 20).AddDate(0, 0, -14), at(12, 0))
	if diff := cmp.Diff([]string{"202608061000 202608131000", "202608131000 202608201000", "202608201000 202608201300"}, asked); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if len(got) != 3 || !got[0].From.Equal(at(10, 0)) || !got[2].From.Equal(at(12, 0)) || got[0].Intensity != 12 {
		t.Errorf("%v", got)
	}
	gridtest.Check(t, got)
}

func TestRefusals(t *testing.T) {
	for status, want := range map[int]string{401: grid.ErrUnauthorized.Error(), 429: "asks to wait 10m0s", 503: "503"} {
		p := provider(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, nothing)
		})
		_, err := p.Latest(t.Context(), "DE")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), gridtest.Token) {
			t.Errorf("%d: %v, want %s", status, err, want)
		}
		if l, ok := errors.AsType[*grid.LimitedError](err); ok != (status == 429) || ok && l.RetryAfter != 10*time.Minute {
			t.Errorf("%d: %v", status, err)
		}
	}
	p := provider(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, nothing) })
	if _, err := p.Latest(t.Context(), "DE"); !errors.Is(err, grid.ErrNoData) || strings.Contains(err.Error(), gridtest.Token) {
		t.Errorf("%v", err)
	}
	for _, zone := range []string{"GB", "US-CAL-CISO", "", "aws:us-east-1", "aws:x", "DEU"} {
		if _, err := p.Latest(t.Context(), zone); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("%q: %v", zone, err)
		}
	}
	if _, err := p.Intensity(t.Context(), "DE", at(0, 0).AddDate(-2, 0, 0), at(0, 0)); err == nil || !strings.Contains(err.Error(), "ask for less") {
		t.Errorf("%v", err)
	}
	if _, err := p.Forecast(t.Context(), "DE", at(0, 0), at(1, 0)); !errors.Is(err, grid.ErrNoForecast) {
		t.Errorf("%v", err)
	}
	if _, err := New(Options{}); err == nil || !strings.Contains(err.Error(), "it needs a token") {
		t.Errorf("%v", err)
	}
	if _, err := New(Options{Token: fetch.Text("x"), Factor: "both"}); err == nil || !strings.Contains(err.Error(), "choose lifecycle or direct") {
		t.Errorf("%v", err)
	}
}

func TestHostile(t *testing.T) {
	gridtest.Hostile(t, gridtest.Kit{
		New: func(base string, token fetch.Secret, now func() time.Time) (grid.Provider, error) {
			return New(Options{Base: base, Token: token, Now: now})
		},
		Zone:     "DE",
		Now:      at(10, 30),
		NoValues: true,
		Answer: func(*http.Request, string) string {
			return doc(series("in", "B04", "A03", "PT15M", "10:00", "10:30", 100, 200))
		},
	})
}

// The last character of an EIC is a check of the others: ENTSO-E, The Energy
// Identification Coding Scheme Reference Manual, 5.
func TestZones(t *testing.T) {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"
	all := Zones()
	if !slices.IsSorted(all) || len(all) < 50 {
		t.Errorf("%d zones: %v", len(all), all)
	}
	seen := map[string]bool{}
	for _, zone := range all {
		code := eic(zone)
		if len(code) != 16 || seen[code] {
			t.Errorf("%s: %q", zone, code)
			continue
		}
		seen[code] = true
		sum := 0
		for i, c := range code[:15] {
			sum += (16 - i) * strings.IndexRune(alphabet, c)
		}
		if check := alphabet[36-(sum-1)%37]; check != code[15] {
			t.Errorf("%s: %s should end in %c", zone, code, check)
		}
	}
}

func TestFactors(t *testing.T) {
	n := 0
	for i := range 30 {
		f, known := factorOf(fmt.Sprintf("B%02d", i))
		if !known {
			continue
		}
		n++
		if f.lifecycle <= 0 || f.direct < 0 || f.direct > f.lifecycle || grid.Check(f.lifecycle) != nil {
			t.Errorf("B%02d: %v", i, f)
		}
	}
	if n != 19 { // all of B01 to B20 but B10
		t.Errorf("%d production types have factors", n)
	}
	for psr, c := range map[string]struct{ carbon, efficiency float64 }{"B02": {101, .418}, "B06": {77.4, .442}, "B07": {107, .418}, "B08": {106, .390}, "B17": {91.7 / 2, .25}} {
		if f, _ := factorOf(psr); f.direct < 3.6*c.carbon/c.efficiency-1 || f.direct > 3.6*c.carbon/c.efficiency+1 {
			t.Errorf("%s: %v, calculated %v", psr, f.direct, 3.6*c.carbon/c.efficiency)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(doc(series("in", "B04", "A03", "PT15M", "10:00", "11:00", 100, -1, -1, 50), series("in", "B16", "A01", "PT60M", "10:00", "12:00", 10, 20), series("out", "B10", "A01", "PT30M", "10:00", "11:00", 1, 2))))
	f.Add([]byte(nothing))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parse(body, germany, at(0, 0), at(23, 0))
		if err != nil {
			if s := err.Error(); len(s) > 300 || strings.Contains(s, "\n") {
				t.Fatalf("%q", s)
			}
			return
		}
		gridtest.Check(t, m.samples(grid.Lifecycle))
		gridtest.Check(t, m.samples(grid.Direct))
	})
}
