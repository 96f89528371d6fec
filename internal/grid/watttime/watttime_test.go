package watttime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
	"noether/internal/grid/gridtest"
)

var now = time.Date(2026, 4, 1, 10, 32, 0, 0, time.UTC)

func at(hour, minute int) time.Time { return time.Date(2026, 4, 1, hour, minute, 0, 0, time.UTC) }

// body has values of five minutes from a time on.
func body(from time.Time, values ...string) string {
	points := make([]string, len(values))
	for i, v := range values {
		points[i] = fmt.Sprintf(`{"point_time":%q,"value":%s,"version":"2025-11-01"}`, from.Add(time.Duration(i)*step).Format("2006-01-02T15:04:05+00:00"), v)
	}
	return `{"data":[` + strings.Join(points, ",") + `],"meta":{"region":"CAISO_NORTH","signal_type":"co2_moer","model":{"date":"2026-03-01","type":"binned_regression"},"units":"lbs_co2_per_mwh","data_point_period_seconds":300,"generated_at":"2026-04-01T10:30:00+00:00","generated_at_period_seconds":300,"warnings":[]}}`
}

// The golden value: 1000 lb/MWh × 453.59237 g/lb ÷ 1000 kWh/MWh.
const golden = 453.59237

func sample(from time.Time, g float64) grid.Sample {
	return grid.Sample{From: from, To: from.Add(step), Intensity: g}
}

func TestHostile(t *testing.T) {
	login := map[string]http.HandlerFunc{"/login": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"token":"`+gridtest.Token+`"}`) }}
	kit := gridtest.Kit{
		New: func(base string, token fetch.Secret, now func() time.Time) (grid.Provider, error) {
			password, err := token.Read()
			if err != nil {
				return nil, err
			}
			return New(Options{Base: base, Token: fetch.Text("user:" + password), Now: now})
		},
		Zone:   "CAISO_NORTH",
		Now:    now,
		Always: login,
		Answer: func(_ *http.Request, v string) string { return body(at(10, 30), v) },
	}
	t.Run("data", func(t *testing.T) { gridtest.Hostile(t, kit) })
	// The login misbehaves: the good answer is one of both.
	answer := kit.Answer
	kit.NoValues, kit.Answer = true, func(r *http.Request, v string) string {
		return `{"token":"abc",` + answer(r, v)[1:]
	}
	kit.Always = map[string]http.HandlerFunc{"/v3/forecast": good, "/v3/historical": good}
	t.Run("login", func(t *testing.T) { gridtest.Hostile(t, kit) })
}

func good(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body(at(10, 30), "300")) }

// service is WattTime: it gives out tokens, and forgets them when it is told to.
type service struct {
	mu      sync.Mutex
	valid   string
	logins  int
	asked   []string
	answers map[string]func(w http.ResponseWriter) // by path below /v3/
	basic   string
	slow    chan struct{} // a login waits for it, if set
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/login" {
		if s.slow != nil {
			<-s.slow
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.logins++
		s.basic = r.Header.Get("Authorization")
		if user, password, _ := r.BasicAuth(); user != "user" || password != "pass:word" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.valid = fmt.Sprintf("token-%d", s.logins)
		fmt.Fprintf(w, `{"token":%q}`, s.valid)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.valid == "" || r.Header.Get("Authorization") != "Bearer "+s.valid {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	uri, _ := url.QueryUnescape(strings.TrimPrefix(r.RequestURI, "/v3/"))
	s.asked = append(s.asked, uri)
	if answer := s.answers[strings.TrimPrefix(r.URL.Path, "/v3/")]; answer != nil {
		answer(w)
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

// forget ends the session on the service's side.
func (s *service) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.valid = ""
}

func says(text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { io.WriteString(w, text) }
}

func status(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func provider(t *testing.T, s *service) (*Provider, *clock) {
	t.Helper()
	c := &clock{t: now}
	p, err := New(Options{Base: gridtest.Server(t, s.ServeHTTP).URL, Token: fetch.Text("user:pass:word"), Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

func TestLatest(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		want   grid.Sample
		err    string
	}{
		"pounds become grams": {says(body(at(10, 30), "1000", "900")), sample(at(10, 30), golden), ""},
		"of another length":   {says(strings.Replace(body(at(10, 0), "0"), ":300", ":3600", 1)), grid.Sample{From: at(10, 0), To: at(11, 0)}, ""},
		"of no length":        {says(strings.Replace(body(at(10, 30), "1000"), `"data_point_period_seconds":300,`, "", 1)), sample(at(10, 30), golden), ""},
		"of a negative one":   {says(strings.Replace(body(at(10, 30), "1000"), ":300", ":-300", 1)), grid.Sample{}, "-300 seconds long"},
		"of an endless one":   {says(strings.Replace(body(at(10, 30), "1000"), ":300", ":9223372036854775807", 1)), grid.Sample{}, "seconds long"},
		"grams already":       {says(strings.Replace(body(at(10, 30), "1000"), "lbs_co2_per_mwh", "g_co2_per_kwh", 1)), grid.Sample{}, `the unit is "g_co2_per_kwh", not lbs_co2_per_mwh: it cannot be converted`},
		"no unit":             {says(strings.Replace(body(at(10, 30), "1000"), "units", "unit", 1)), grid.Sample{}, `the unit is ""`},
		"percentiles":         {says(strings.Replace(body(at(10, 30), "41"), "lbs_co2_per_mwh", "percentile", 1)), grid.Sample{}, `the unit is "percentile"`},
		"another signal":      {says(strings.Replace(body(at(10, 30), "1000"), "co2_moer", "co2_aoer", 1)), grid.Sample{}, `the signal is "co2_aoer"`},
		"another region":      {says(strings.Replace(body(at(10, 30), "1000"), "CAISO_NORTH", "DE", 1)), grid.Sample{}, `the answer is about "DE"`},
		"stale":               {says(body(at(1, 0), "1000")), sample(at(1, 0), golden), ""},
		"7000 lb/MWh":         {says(body(at(10, 30), "7000")), grid.Sample{}, "is no carbon intensity"},
		"no data":             {says(body(at(10, 30))), grid.Sample{}, "the provider has no value of the present"},
		"null":                {says(body(at(10, 30), "null")), grid.Sample{}, "the provider has no value of the present"},
		"not in the plan":     {status(403), grid.Sample{}, "does the plan of this account have the region, and forecast?"},
		"an unknown region":   {status(400), grid.Sample{}, "the provider does not have this zone"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{answers: map[string]func(http.ResponseWriter){"forecast": c.answer}}
			p, _ := provider(t, s)
			got, err := p.Latest(t.Context(), "US-CAL-CISO")
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"forecast?horizon_hours=0&region=CAISO_NORTH&signal_type=co2_moer"}, s.asked); diff != "" {
				t.Error(diff)
			}
			if s.logins != 1 {
				t.Errorf("%d logins", s.logins)
			}
		})
	}
}

func TestIntensity(t *testing.T) {
	past, present := body(at(10, 15), "100", "200"), body(at(10, 30), "1000", "1")
	old := []grid.Sample{sample(at(10, 15), 100*gramsPerKWh), sample(at(10, 20), 200*gramsPerKWh)}
	for name, c := range map[string]struct {
		from, to             time.Time
		historical, forecast func(http.ResponseWriter)
		want                 []grid.Sample
		asked                []string
		err                  error
	}{
		"the past": {at(10, 16), at(10, 22), says(past), nil, old, []string{"historical?end=2026-04-01T10:25:00Z&start=2026-04-01T10:15:00Z"}, nil},
		"until now": {
			at(10, 20), now, says(past), says(present),
			[]grid.Sample{old[1], sample(at(10, 30), golden)},
			[]string{"historical?end=2026-04-01T10:35:00Z&start=2026-04-01T10:20:00Z", "forecast?horizon_hours=0"},
			nil,
		},
		"until now, which is published": {
			at(10, 30), at(12, 0), says(present), nil,
			[]grid.Sample{sample(at(10, 30), golden)},
			[]string{"historical?end=2026-04-01T10:35:00Z&start=2026-04-01T10:30:00Z"},
			nil,
		},
		"until now, which is not": {
			at(10, 20), now, says(past), status(500), old[1:],
			[]string{"historical?end=2026-04-01T10:35:00Z&start=2026-04-01T10:20:00Z", "forecast?horizon_hours=0"},
			nil,
		},
		"nothing at all": {
			now, now, says(body(now)), status(403), nil,
			[]string{"historical?end=2026-04-01T10:35:00Z&start=2026-04-01T10:30:00Z", "forecast?horizon_hours=0"},
			grid.ErrUnauthorized,
		},
		"the future": {at(12, 0), at(13, 0), nil, nil, nil, nil, nil},
		"two months": {
			now.AddDate(0, 0, -45), at(10, 12), says(past), nil, nil,
			[]string{"historical?end=2026-03-17T10:30:00Z&start=2026-02-15T10:30:00Z", "historical?end=2026-04-01T10:15:00Z&start=2026-03-17T10:30:00Z"},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{answers: map[string]func(http.ResponseWriter){"historical": c.historical, "forecast": c.forecast}}
			p, _ := provider(t, s)
			got, err := p.Intensity(t.Context(), "CAISO_NORTH", c.from, c.to)
			if !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
			if diff := cmp.Diff(c.want, got, cmp.Transformer("empty", func(s []grid.Sample) []grid.Sample { return append([]grid.Sample{}, s...) })); diff != "" {
				t.Error(diff)
			}
			for i := range s.asked {
				s.asked[i] = strings.NewReplacer("&region=CAISO_NORTH&signal_type=co2_moer", "", "&region=CAISO_NORTH", "", "region=CAISO_NORTH&signal_type=co2_moer&", "", "&signal_type=co2_moer", "").Replace(s.asked[i])
			}
			if diff := cmp.Diff(c.asked, s.asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestForecast(t *testing.T) {
	for ahead, hours := range map[time.Duration]string{0: "1", 90 * time.Minute: "2", 24 * time.Hour: "24", 500 * time.Hour: "72", -time.Hour: "1"} {
		s := &service{answers: map[string]func(http.ResponseWriter){"forecast": says(body(at(10, 30), "1000", "null", "100"))}}
		p, _ := provider(t, s)
		got, err := p.Forecast(t.Context(), "CAISO_NORTH", now, now.Add(ahead))
		var want []grid.Sample
		if ahead >= 0 {
			want = append(want, grid.Sample{From: at(10, 30), To: at(10, 35), Intensity: golden, Estimated: true})
		}
		if ahead > 0 {
			want = append(want, grid.Sample{From: at(10, 40), To: at(10, 45), Intensity: 100 * gramsPerKWh, Estimated: true})
		}
		if len(want) != len(got) || len(got) > 0 && cmp.Diff(want, got) != "" || err != nil {
			t.Errorf("%s: %v, %v, want %v", ahead, got, err, want)
		}
		if diff := cmp.Diff([]string{"forecast?horizon_hours=" + hours + "&region=CAISO_NORTH&signal_type=co2_moer"}, s.asked); diff != "" {
			t.Errorf("%s: %s", ahead, diff)
		}
	}
}

func TestSession(t *testing.T) {
	s := &service{answers: map[string]func(http.ResponseWriter){"forecast": says(body(at(10, 30), "1000"))}}
	p, c := provider(t, s)
	logins := func(after string, want int) {
		t.Helper()
		if _, err := p.Latest(t.Context(), "CAISO_NORTH"); err != nil {
			t.Errorf("%s: %v", after, err)
		}
		if s.logins != want {
			t.Errorf("%s there were %d logins, want %d", after, s.logins, want)
		}
	}
	logins("at first", 1)
	logins("a second later", 1)
	c.add(lifetime - reserve - time.Second)
	logins("at 27:59", 1)
	c.add(time.Second)
	logins("at 28:00", 2)
	s.forget()
	logins("when the service has forgotten", 3)
	s.answers["forecast"] = status(http.StatusUnauthorized)
	if _, err := p.Latest(t.Context(), "CAISO_NORTH"); !errors.Is(err, grid.ErrUnauthorized) || s.logins != 4 {
		t.Errorf("refused with a new token: %v after %d logins", err, s.logins)
	}
	s.answers["forecast"] = status(http.StatusForbidden)
	if _, err := p.Latest(t.Context(), "CAISO_NORTH"); !errors.Is(err, grid.ErrUnauthorized) || s.logins != 4 {
		t.Errorf("403 is no reason to log in: %v after %d logins", err, s.logins)
	}
}

func TestSessionRefused(t *testing.T) {
	for secret, want := range map[string]string{
		"user:wrong": "log in to WattTime: ask 127.0.0.1",
		"user":       "log in to WattTime: a value does not hold user:password",
		"user:":      "does not hold user:password",
		":password":  "does not hold user:password",
	} {
		s := &service{}
		p, err := New(Options{Base: gridtest.Server(t, s.ServeHTTP).URL, Token: fetch.Text(secret), Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Latest(t.Context(), "DE")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "wrong") || strings.Contains(fmt.Sprintf("%+v", p.session.secret), "user") {
			t.Errorf("%v, want %q", err, want)
		}
		if secret == "user:wrong" && (!errors.Is(err, grid.ErrUnauthorized) || strings.Contains(err.Error(), "plan")) {
			t.Error(err)
		}
	}
	for _, token := range []string{`""`, `null`, `7`, `"a\nb"`, `"a b"`, `"é"`, `"` + strings.Repeat("x", mostToken+1) + `"`} {
		server := gridtest.Server(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/login" {
				t.Errorf("with the token %.20s %s was asked for", token, r.URL.Path)
			}
			io.WriteString(w, `{"token":`+token+`}`)
		})
		p, err := New(Options{Base: server.URL, Token: fetch.Text("user:word"), Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = p.Latest(t.Context(), "DE"); err == nil || len(err.Error()) > 300 {
			t.Errorf("token %.20s: %v", token, err)
		}
	}
}

// However many ask at once, one logs in, at first and after the session's end.
func TestOneLogin(t *testing.T) {
	s := &service{slow: make(chan struct{}), answers: map[string]func(http.ResponseWriter){"forecast": says(body(at(10, 30), "1000"))}}
	p, c := provider(t, s)
	ask := func(want int) {
		t.Helper()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if got, err := p.Latest(t.Context(), "CAISO_NORTH"); err != nil || got.Intensity != golden {
					t.Errorf("%v, %v", got, err)
				}
			})
		}
		s.slow <- struct{}{}
		all.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.logins != want {
			t.Errorf("%d logins, want %d", s.logins, want)
		}
	}
	ask(1)
	c.add(lifetime)
	ask(2)
	s.forget()
	ask(3)
}

// Who waits for another's login leaves when its own time is over, and tries
// itself if the other's is.
func TestLoginOfAnother(t *testing.T) {
	s := &service{slow: make(chan struct{}), answers: map[string]func(http.ResponseWriter){"forecast": says(body(at(10, 30), "1000"))}}
	p, _ := provider(t, s)
	first, give := context.WithCancel(t.Context())
	done := make(chan error)
	latest := func(ctx context.Context) {
		_, err := p.Latest(ctx, "CAISO_NORTH")
		done <- err
	}
	go latest(first)
	underWay := func() bool {
		p.session.mu.Lock()
		defer p.session.mu.Unlock()
		return p.session.login != nil
	}
	for !underWay() {
		time.Sleep(time.Millisecond)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	go latest(over)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("who has no time: %v", err)
	}
	go latest(t.Context())
	give()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("who gives up: %v", err)
	}
	close(s.slow)
	if err := <-done; err != nil {
		t.Errorf("who waits: %v", err)
	}
}

func TestZones(t *testing.T) {
	region := `{"region":"CAISO_NORTH","region_full_name":"California ISO Northern","signal_type":"co2_moer"}`
	s := &service{answers: map[string]func(http.ResponseWriter){"forecast": says(body(at(10, 30), "1000")), "region-from-loc": says(region)}}
	p, _ := provider(t, s)
	for range 2 {
		if _, err := p.Latest(t.Context(), "37.77,-122.42"); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{
		"region-from-loc?latitude=37.77&longitude=-122.42&signal_type=co2_moer",
		"forecast?horizon_hours=0&region=CAISO_NORTH&signal_type=co2_moer", "forecast?horizon_hours=0&region=CAISO_NORTH&signal_type=co2_moer",
	}, s.asked); diff != "" {
		t.Error(diff)
	}
	for zone, want := range map[string]string{"GB": "UK", "US-NW-BPAT": "BPA", "DE": "DE", "PJM_DC": "PJM_DC"} {
		if got, err := p.region(t.Context(), zone); got != want || err != nil {
			t.Errorf("%s is %q, %v", zone, got, err)
		}
	}
	for i := range 3 * mostPlaces {
		if _, err := p.region(t.Context(), fmt.Sprintf("1,0.%d", i)); err != nil {
			t.Fatal(err)
		}
		if len(p.places) > mostPlaces {
			t.Fatalf("%d places are remembered", len(p.places))
		}
	}
	for name, answer := range map[string]func(http.ResponseWriter){
		"the sea": status(404), "a place that is none": status(400), "a name that is none": says(`{"region":"a&b"}`),
		"no name": says(`{"region":null}`), "another signal": says(`{"region":"DE","signal_type":"health_damage"}`),
	} {
		s.answers["region-from-loc"] = answer
		if got, err := p.region(t.Context(), "0,0"); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	asked := len(s.asked)
	for _, zone := range []string{"", "D", "de", "US-MIDA-PJM", "aws:us-east-1", "_X", "0X", "A B", "1,2,3", strings.Repeat("X", 1<<20)} {
		_, latest := p.Latest(t.Context(), zone)
		_, past := p.Intensity(t.Context(), zone, now, now)
		_, ahead := p.Forecast(t.Context(), zone, now, now)
		for _, err := range []error{latest, past, ahead} {
			if !errors.Is(err, grid.ErrUnknownZone) || len(err.Error()) > 400 {
				t.Errorf("%.20q: %v", zone, err)
			}
		}
	}
	if len(s.asked) != asked {
		t.Errorf("the service was asked for %s", s.asked[asked:])
	}
}

func TestNew(t *testing.T) {
	for want, o := range map[string]Options{
		"it wants an account":      {},
		"choose the factor direct": {Token: fetch.Text("a:b"), Factor: grid.Lifecycle},
		"only https is safe":       {Token: fetch.Text("a:b"), Base: "http://example.org"},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	p, err := New(Options{Token: fetch.Text("a:b"), Factor: grid.Direct})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(grid.Info{Name: "watttime", Signal: grid.Marginal, Factor: grid.Direct, Step: 5 * time.Minute}, p.Info()); diff != "" {
		t.Error(diff)
	}
}

func FuzzSamples(f *testing.F) {
	for _, seed := range []string{
		body(now, "1000", "null"), body(now, "1e308"), strings.Replace(body(now, "1"), ":300", ":86400", 1),
		`{"data":[{"point_time":"9999-12-31T23:59:59+00:00","value":1}],"meta":{"units":"lbs_co2_per_mwh"}}`, `{"data":[],"meta":{}}`, `{}`, `null`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var a answer
		if json.Unmarshal(data, &a) != nil {
			return
		}
		if samples, err := a.samples("CAISO_NORTH"); err == nil {
			gridtest.Check(t, samples)
		}
	})
}
