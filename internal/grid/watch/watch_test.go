package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"noether/internal/grid"
	"noether/internal/unit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a provider that says what a test wants, and when it was asked.
type scripted struct {
	info grid.Info

	mu       sync.Mutex
	latest   func(now time.Time) (grid.Sample, error)
	past     func(from, to time.Time) ([]grid.Sample, error)
	forecast func(from, to time.Time) ([]grid.Sample, error)
	asked    []time.Time // for the present value
	askedOld []time.Time // for the past
	ahead    int         // for the forecast
}

// hourly says intensity of each hour, at once when it begins.
func hourly(name string, intensity float64) *scripted {
	p := &scripted{info: grid.Info{Name: name, Signal: grid.Average, Factor: grid.Lifecycle, Step: time.Hour}}
	p.answers(intensity)
	return p
}

func (p *scripted) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *scripted) answers(intensity float64) {
	p.set(func() {
		p.latest = func(now time.Time) (grid.Sample, error) {
			from := now.Truncate(time.Hour)
			return grid.Sample{From: from, To: from.Add(time.Hour), Intensity: intensity}, nil
		}
	})
}

func (p *scripted) fails(err error) {
	p.set(func() { p.latest = func(time.Time) (grid.Sample, error) { return grid.Sample{}, err } })
}

func (p *scripted) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

// questions counts all kinds of them.
func (p *scripted) questions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked) + len(p.askedOld) + p.ahead
}

func (p *scripted) Info() grid.Info { return p.info }

func (p *scripted) Latest(context.Context, string) (grid.Sample, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, time.Now())
	return p.latest(time.Now())
}

func (p *scripted) Intensity(_ context.Context, _ string, from, to time.Time) ([]grid.Sample, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.askedOld = append(p.askedOld, time.Now())
	if p.past == nil {
		return nil, grid.ErrNoData
	}
	return p.past(from, to)
}

func (p *scripted) Forecast(_ context.Context, _ string, from, to time.Time) ([]grid.Sample, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ahead++
	if p.forecast == nil {
		return nil, grid.ErrNoForecast
	}
	return p.forecast(from, to)
}

// yearly is a floor.
func yearly(intensity float64) *scripted {
	p := &scripted{info: grid.Info{Name: "yearly", Signal: grid.Average, Factor: grid.Lifecycle}}
	p.latest = func(now time.Time) (grid.Sample, error) {
		return grid.Sample{From: now.AddDate(-3, 0, 0), To: now.AddDate(-2, 0, 0), Intensity: intensity, Estimated: true}, nil
	}
	return p
}

// lines is a log without its times.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(l.buf.String()), "\n")
}

// watching runs a watch of o in fake time, at a quarter past an hour. The
// bubble begins at midnight of 2000-01-01, UTC.
func watching(t *testing.T, o Options, f func(t *testing.T, w *Watch, log *lines)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(15 * time.Minute)
		log := &lines{}
		o.Zone = "DE"
		o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		if o.Rand == nil {
			o.Rand = func() float64 { return 0.5 }
		}
		w, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		f(t, w, log)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// now is what holds now, in words.
func now(w *Watch) string {
	at := time.Now()
	v, ok := w.Latest().Between(at.Add(-time.Second), at)
	if !ok {
		return "unknown"
	}
	s := fmt.Sprintf("%g %s", v.Intensity.GramsPerKWh(), v.Provider)
	if v.Estimated {
		s += " estimated"
	}
	return s
}

func want(t *testing.T, w *Watch, when, want string) {
	t.Helper()
	if got := now(w); got != want {
		t.Errorf("%s: %s, want %s", when, got, want)
	}
}

func TestChain(t *testing.T) {
	first, second := hourly("first", 300), hourly("second", 400)
	watching(t, Options{Links: []grid.Provider{first, second}, Floor: yearly(381)}, func(t *testing.T, w *Watch, log *lines) {
		want(t, w, "at the start", "300 first")
		if n := second.requests(); n != 0 {
			t.Errorf("the second link was asked %d times while the first answers", n)
		}
		first.fails(errors.New("down"))
		pass(44 * time.Minute)
		want(t, w, "until the hour ends", "300 first")
		pass(10 * time.Minute)
		want(t, w, "when the first fails", "400 second")
		second.fails(errors.New("down as well"))
		pass(time.Hour)
		want(t, w, "when both fail", "400 second estimated")
		pass(Hold - time.Hour)
		want(t, w, "while the last value holds", "400 second estimated")
		pass(time.Hour)
		want(t, w, "when it holds no longer", "381 yearly estimated")
		second.answers(410)
		pass(time.Hour)
		want(t, w, "when the second is back", "410 second")
		first.answers(310)
		pass(time.Hour)
		want(t, w, "when the first is back", "310 first")
		var from []string
		for _, line := range log.all() {
			if !strings.Contains(line, "source of the carbon intensity") {
				t.Errorf("the log says %s", line)
			}
			_, rest, _ := strings.Cut(line, " source=")
			source, _, _ := strings.Cut(rest, " before=")
			from = append(from, line[len("level="):len("level=")+4]+" "+strings.Trim(source, `"`))
		}
		if diff := cmp.Diff([]string{"INFO first", "WARN second", "WARN last value of second", "WARN yearly", "WARN second", "INFO first"}, from); diff != "" {
			t.Errorf("the log has (-want +got):\n%s\n%s", diff, strings.Join(log.all(), "\n"))
		}
		if !strings.Contains(log.all()[2], "first: down; second: down as well") {
			t.Errorf("the log does not say why: %s", log.all()[2])
		}
	})
}

func TestSources(t *testing.T) {
	first, second := hourly("first", 300), hourly("second", 400)
	first.fails(errors.New("down"))
	watching(t, Options{Links: []grid.Provider{first, second}, Floor: yearly(381)}, func(t *testing.T, w *Watch, _ *lines) {
		at := time.Now()
		if diff := cmp.Diff([]Status{
			{Provider: "first", Requests: 1, Failures: 1},
			{Provider: "second", Up: true, Requests: 2, Success: at}, // the present and the past
			{Provider: "yearly", Up: true, Requests: 1, Success: at},
		}, w.Latest().Sources); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// TestStateIsKept lets readers compare: it is the same one until somebody was asked.
func TestStateIsKept(t *testing.T) {
	p := hourly("first", 300)
	watching(t, Options{Links: []grid.Provider{p}}, func(t *testing.T, w *Watch, _ *lines) {
		before := w.Latest()
		pass(30 * time.Minute)
		if w.Latest() != before {
			t.Error("another state, though nobody was asked")
		}
		pass(30 * time.Minute)
		if w.Latest() == before {
			t.Error("the same state, though somebody was asked")
		}
	})
}

// TestRelay has a provider that passes on what another said a while ago.
func TestRelay(t *testing.T) {
	said := time.Date(1999, 12, 31, 23, 0, 0, 0, time.UTC)
	watching(t, Options{Links: []grid.Provider{relay{hourly("hub", 300), said}}}, func(t *testing.T, w *Watch, _ *lines) {
		v, ok := w.Latest().Between(time.Now(), time.Now())
		if diff := cmp.Diff(Value{Intensity: unit.IntensityOf(300), Provider: "neso", Updated: said}, v); !ok || diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if s := w.Latest().Sources[0]; s.Provider != "hub" {
			t.Errorf("the source is %+v", s)
		}
	})
}

type relay struct {
	*scripted
	said time.Time
}

func (r relay) Origin(string) (string, time.Time, bool) { return "neso", r.said, true }

func TestNobodyAnswers(t *testing.T) {
	first := hourly("first", 0)
	first.fails(grid.ErrUnauthorized)
	watching(t, Options{Links: []grid.Provider{first}}, func(t *testing.T, w *Watch, log *lines) {
		want(t, w, "without a floor", "unknown")
		pass(24 * time.Hour)
		want(t, w, "a day later", "unknown")
		if got := log.all(); len(got) != 1 || !strings.Contains(got[0], grid.ErrUnauthorized.Error()) {
			t.Errorf("the log has %q, want one line that says why", got)
		}
	})
}

func TestFloorAlone(t *testing.T) {
	floor := yearly(381)
	watching(t, Options{Links: []grid.Provider{floor}, Floor: floor}, func(t *testing.T, w *Watch, log *lines) {
		want(t, w, "at the start", "381 yearly estimated")
		pass(30 * 24 * time.Hour)
		want(t, w, "a month later", "381 yearly estimated")
		if got := log.all(); len(got) != 1 || !strings.Contains(got[0], "level=INFO") {
			t.Errorf("the log has %q", got)
		}
		if s := w.Latest(); len(s.Past) != 0 || s.Revised != 0 {
			t.Errorf("a floor has a past: %v", s.Past)
		}
	})
}

func TestKnownBeforeAnybodyWasAsked(t *testing.T) {
	w, err := New(Options{Zone: "DE", Links: []grid.Provider{hourly("first", 300)}, Floor: yearly(381)})
	if err != nil {
		t.Fatal(err)
	}
	want(t, w, "before Run", "381 yearly estimated")
}

// TestPoliteness counts what a provider is asked in a day.
func TestPoliteness(t *testing.T) {
	for name, c := range map[string]struct {
		step, lag time.Duration
		most      int // of 24 hours
	}{
		"hourly, at once":             {time.Hour, 0, 24},
		"hourly, an hour late":        {time.Hour, time.Hour, 24 * 4},
		"half-hourly":                 {30 * time.Minute, 0, 48},
		"quarter-hourly, 20 min late": {15 * time.Minute, 20 * time.Minute, 24 * 16},
		"five minutes":                {5 * time.Minute, 0, 24 * 12},
		"seconds":                     {10 * time.Second, 0, 24 * 60},
		"a day":                       {24 * time.Hour, 0, 26},
		"a year":                      {365 * 24 * time.Hour, 0, 26},
	} {
		t.Run(name, func(t *testing.T) {
			p := hourly("first", 300)
			p.info.Step = c.step
			p.latest = func(now time.Time) (grid.Sample, error) {
				from := now.Add(-c.lag).Truncate(c.step)
				return grid.Sample{From: from, To: from.Add(c.step), Intensity: 300}, nil
			}
			watching(t, Options{Links: []grid.Provider{p}}, func(t *testing.T, _ *Watch, log *lines) {
				pass(24 * time.Hour)
				if n := p.requests(); n > c.most+1 || n < 24 {
					t.Errorf("asked %d times a day, want 24 to %d", n, c.most)
				}
				for i := range p.asked[1:] {
					if d := p.asked[i+1].Sub(p.asked[i]); d < time.Minute || d > 66*time.Minute {
						t.Errorf("asked again after %s", d)
					}
				}
				if n := len(p.askedOld); n < 22 || n > 25 {
					t.Errorf("asked for the past %d times a day", n)
				}
				if p.ahead != 1 {
					t.Errorf("asked %d times for a forecast that it does not make", p.ahead)
				}
				if n := len(log.all()); n != 1 {
					t.Errorf("the log has %d lines: %q", n, log.all())
				}
			})
		})
	}
}

func TestJitter(t *testing.T) {
	for _, r := range []float64{0, 0.999} {
		p := hourly("first", 300)
		watching(t, Options{Links: []grid.Provider{p}, Rand: func() float64 { return r }}, func(t *testing.T, _ *Watch, _ *lines) {
			pass(2 * time.Hour)
			end := p.asked[0].Truncate(time.Hour).Add(time.Hour)
			if late := p.asked[1].Sub(end); late < 0 || late > 6*time.Minute+time.Second || r > 0 && late < 5*time.Minute {
				t.Errorf("with %v it is asked %s after the hour", r, late)
			}
		})
	}
}

func TestBackOff(t *testing.T) {
	p := hourly("first", 300)
	p.fails(errors.New("down"))
	watching(t, Options{Links: []grid.Provider{p}}, func(t *testing.T, _ *Watch, _ *lines) {
		pass(24 * time.Hour)
		var waits []time.Duration
		for i := range p.asked[1:] {
			waits = append(waits, p.asked[i+1].Sub(p.asked[i]))
		}
		for i, d := range waits[1:] {
			if d < waits[i] || d < time.Minute || d > time.Hour {
				t.Errorf("it waits %s after %s", d, waits[i])
			}
		}
		if last := waits[len(waits)-1]; len(waits) < 24 || len(waits) > 34 || last < 40*time.Minute {
			t.Errorf("asked %d times in a day of failures, at last after %s", len(waits)+1, last)
		}
	})
}

func TestLimited(t *testing.T) {
	first, second := hourly("first", 300), hourly("second", 400)
	first.fails(fmt.Errorf("429: %w", &grid.LimitedError{RetryAfter: 5 * time.Hour}))
	watching(t, Options{Links: []grid.Provider{first, second}}, func(t *testing.T, w *Watch, _ *lines) {
		first.answers(300)
		pass(5*time.Hour - time.Minute)
		want(t, w, "while the first wants silence", "400 second")
		if n := first.questions(); n != 1 {
			t.Errorf("asked %d times within the silence", n)
		}
		pass(12 * time.Minute)
		want(t, w, "afterwards", "300 first")
	})
}

// TestLimitedPast keeps silent about everything if the past was one question too many.
func TestLimitedPast(t *testing.T) {
	p := hourly("first", 300)
	p.past = func(time.Time, time.Time) ([]grid.Sample, error) {
		return nil, &grid.LimitedError{RetryAfter: 90 * time.Minute}
	}
	watching(t, Options{Links: []grid.Provider{p}}, func(t *testing.T, w *Watch, _ *lines) {
		pass(89 * time.Minute)
		if n := p.questions(); n != 2 {
			t.Errorf("asked %d times within the silence, want once for the present and once for the past", n)
		}
		want(t, w, "within the silence", "300 first estimated")
	})
}

func TestStale(t *testing.T) {
	first, second := hourly("first", 300), hourly("second", 400)
	begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	first.latest = func(time.Time) (grid.Sample, error) {
		return grid.Sample{From: begin.Add(-3 * time.Hour), To: begin.Add(-2 * time.Hour), Intensity: 300}, nil
	}
	watching(t, Options{Links: []grid.Provider{first, second}}, func(t *testing.T, w *Watch, log *lines) {
		want(t, w, "a value that ended two hours and a quarter ago", "400 second")
		if s := w.Latest().Sources[0]; s.Up || s.Failures != 1 {
			t.Errorf("%+v", s)
		}
		if !strings.Contains(log.all()[0], "1999-12-31T22:00:00Z") {
			t.Errorf("the log does not say how old: %s", log.all()[0])
		}
	})
}

func TestAbsurd(t *testing.T) {
	for name, s := range map[string]func(now time.Time) grid.Sample{
		"zero":      func(now time.Time) grid.Sample { return grid.Sample{From: now, To: now.Add(time.Hour)} },
		"a billion": func(now time.Time) grid.Sample { return grid.Sample{From: now, To: now.Add(time.Hour), Intensity: 1e9} },
		"negative":  func(now time.Time) grid.Sample { return grid.Sample{From: now, To: now.Add(time.Hour), Intensity: -1} },
		"the future": func(now time.Time) grid.Sample {
			return grid.Sample{From: now.Add(time.Hour), To: now.Add(2 * time.Hour), Intensity: 300}
		},
		"back to front": func(now time.Time) grid.Sample {
			return grid.Sample{From: now, To: now.Add(-time.Hour), Intensity: 300}
		},
	} {
		first, second := hourly("first", 0), hourly("second", 400)
		first.latest = func(now time.Time) (grid.Sample, error) { return s(now), nil }
		watching(t, Options{Links: []grid.Provider{first, second}}, func(t *testing.T, w *Watch, _ *lines) {
			want(t, w, name, "400 second")
			if past := w.Latest().Past; len(past) != 1 || past[0].Provider != "second" {
				t.Errorf("%s: the past has %v", name, past)
			}
		})
	}
}

// TestAbsurdPast loses the value that cannot be, and keeps its neighbours.
func TestAbsurdPast(t *testing.T) {
	p := hourly("first", 300)
	p.past = func(from, to time.Time) ([]grid.Sample, error) {
		var out []grid.Sample
		for i, at := 0, from.Truncate(time.Hour); at.Before(to); i, at = i+1, at.Add(time.Hour) {
			out = append(out, grid.Sample{From: at, To: at.Add(time.Hour), Intensity: 300})
		}
		out[10].Intensity, out[20].Intensity = 1e9, 0
		return out, nil
	}
	watching(t, Options{Links: []grid.Provider{p}}, func(t *testing.T, w *Watch, _ *lines) {
		if n := len(w.Latest().Past); n != 47 {
			t.Errorf("%d samples of 49 are kept, want 47", n)
		}
	})
}

func TestRevision(t *testing.T) {
	p := hourly("first", 300)
	watching(t, Options{Links: []grid.Provider{p}}, func(t *testing.T, w *Watch, _ *lines) {
		pass(50 * time.Minute)
		before := w.Latest()
		hour := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		p.set(func() {
			p.past = func(time.Time, time.Time) ([]grid.Sample, error) {
				return []grid.Sample{{From: hour, To: hour.Add(time.Hour), Intensity: 280}}, nil
			}
		})
		pass(30 * time.Minute)
		after := w.Latest()
		if after.Revised == before.Revised {
			t.Error("nothing says that the past has changed")
		}
		if v, ok := before.Between(hour, hour.Add(time.Hour)); !ok || v.Intensity != unit.IntensityOf(300) {
			t.Errorf("a state that was kept has changed: %+v", v)
		}
		if v, ok := after.Between(hour, hour.Add(90*time.Minute)); !ok || v.Intensity != unit.Intensity(286_666_667) {
			t.Errorf("an hour of 280 and half an hour of 300 are %+v", v)
		}
		pass(30 * time.Minute)
		if same := w.Latest(); same.Revised != after.Revised && cmp.Equal(same.Past, after.Past) {
			t.Error("a past that did not change counts as revised")
		}
	})
}

func TestForecast(t *testing.T) {
	p := hourly("first", 300)
	p.forecast = func(from, _ time.Time) ([]grid.Sample, error) {
		var out []grid.Sample
		for i := range 24 {
			at := from.Truncate(time.Hour).Add(time.Duration(i) * time.Hour)
			out = append(out, grid.Sample{From: at, To: at.Add(time.Hour), Intensity: float64(300 + i)})
		}
		return out, nil
	}
	watching(t, Options{Links: []grid.Provider{p}}, func(t *testing.T, w *Watch, _ *lines) {
		for _, c := range []struct {
			ahead time.Duration
			want  float64
		}{{0, 300}, {time.Hour, 301}, {23 * time.Hour, 323}, {24 * time.Hour, 0}} {
			if got, ok := w.Latest().Expected(time.Now().Add(c.ahead)); got.GramsPerKWh() != c.want || ok != (c.want > 0) {
				t.Errorf("in %s: %v %v, want %v", c.ahead, got, ok, c.want)
			}
		}
		p.fails(errors.New("down"))
		pass(30 * time.Hour)
		if f := w.Latest().Forecast; len(f) != 0 {
			t.Errorf("what has passed is still expected: %v", f)
		}
	})
}

// TestSlowProvider does not make readers wait, and ends when it is told to.
func TestSlowProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := New(Options{Zone: "DE", Links: []grid.Provider{hanging{hourly("first", 300)}, hourly("second", 400)}, Floor: yearly(381)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		pass(deadline - time.Second)
		want(t, w, "while the first hangs", "381 yearly estimated")
		pass(2 * time.Second)
		want(t, w, "when it has had its time", "400 second")
		pass(90 * time.Second) // it hangs again
		cancel()
		synctest.Wait()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Fatal("it does not end")
		}
	})
}

type hanging struct{ *scripted }

func (hanging) Latest(ctx context.Context, _ string) (grid.Sample, error) {
	<-ctx.Done()
	return grid.Sample{}, ctx.Err()
}

// TestClockSet asks again although the clock was set back by a year.
func TestClockSet(t *testing.T) {
	p := hourly("first", 300)
	var mu sync.Mutex
	var offset time.Duration
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return time.Now().Add(offset)
	}
	watching(t, Options{Links: []grid.Provider{p}, Now: clock}, func(t *testing.T, _ *Watch, _ *lines) {
		n := p.requests()
		mu.Lock()
		offset = -365 * 24 * time.Hour
		mu.Unlock()
		pass(2 * time.Minute)
		if p.requests() == n {
			t.Error("it waits for a year")
		}
	})
}

// shifted is a clock that can be set.
type shifted struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *shifted) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *shifted) set(offset time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = offset
}

// TestClockSetBackByHours asks at once, but not whoever wants silence.
func TestClockSetBackByHours(t *testing.T) {
	first, second := hourly("first", 300), hourly("second", 400)
	first.fails(&grid.LimitedError{RetryAfter: time.Hour})
	clock := &shifted{}
	watching(t, Options{Links: []grid.Provider{first, second}, Now: clock.now}, func(t *testing.T, _ *Watch, _ *lines) {
		pass(10 * time.Minute)
		n := second.requests()
		clock.set(-3 * time.Hour)
		pass(2 * time.Minute)
		if second.requests() != n+1 {
			t.Errorf("asked %d times after the clock was set", second.requests()-n)
		}
		pass(40 * time.Minute)
		if n := first.requests(); n != 1 {
			t.Errorf("who wants an hour of silence was asked %d times in 52 minutes", n)
		}
		pass(20 * time.Minute)
		if n := first.requests(); n != 2 {
			t.Errorf("who wants an hour of silence was asked %d times in 72 minutes", n)
		}
	})
}

// TestClockAheadForAWhile forgets what was said of the days that did not come.
func TestClockAheadForAWhile(t *testing.T) {
	first, second := hourly("first", 300), hourly("second", 400)
	first.info.Step = 5 * time.Minute
	clock := &shifted{}
	first.set(func() {
		first.latest = func(time.Time) (grid.Sample, error) { // as a hub does
			now := clock.now()
			return grid.Sample{From: now, To: now.Add(15 * time.Minute), Intensity: 300}, nil
		}
	})
	watching(t, Options{Links: []grid.Provider{first, second}, Now: clock.now}, func(t *testing.T, w *Watch, _ *lines) {
		clock.set(72 * time.Hour)
		pass(10 * time.Minute)
		clock.set(0)
		first.fails(errors.New("down"))
		pass(3 * time.Minute)
		want(t, w, "when the clock is right again and the first is down", "400 second")
		for _, s := range w.Latest().Past {
			if s.From.After(time.Now().Add(skew)) {
				t.Errorf("it knows what %s was like: %+v", s.From, s)
			}
		}
	})
}

// TestPanic of a provider is its failure.
func TestPanic(t *testing.T) {
	first, second := hourly("first", 300), hourly("second", 400)
	first.set(func() { first.latest = func(time.Time) (grid.Sample, error) { panic("index out of range") } })
	second.set(func() {
		second.past = func(_, _ time.Time) ([]grid.Sample, error) { panic("past") }
		second.forecast = func(_, _ time.Time) ([]grid.Sample, error) { panic("forecast") }
	})
	watching(t, Options{Links: []grid.Provider{first, second}}, func(t *testing.T, w *Watch, log *lines) {
		want(t, w, "the next answers", "400 second")
		if got := log.all(); len(got) != 1 || !strings.Contains(got[0], "panics") {
			t.Errorf("the log has %q", got)
		}
	})
}

// TestTwoOfOneName, such as two files, are one source: names are labels.
func TestTwoOfOneName(t *testing.T) {
	first, second := hourly("file", 300), hourly("file", 400)
	first.fails(errors.New("no such file"))
	watching(t, Options{Links: []grid.Provider{first, second}}, func(t *testing.T, w *Watch, _ *lines) {
		want(t, w, "the second file", "400 file")
		if diff := cmp.Diff([]Status{{Provider: "file", Up: true, Requests: 3, Failures: 1, Success: time.Now()}}, w.Latest().Sources); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// TestBounded keeps no more than it can use of a provider that never says the
// same twice.
func TestBounded(t *testing.T) {
	p := hourly("first", 300)
	n := 0
	p.set(func() {
		p.past = func(from, _ time.Time) ([]grid.Sample, error) {
			n++
			var out []grid.Sample
			for i := range most {
				at := from.Add(time.Duration(i)*17*time.Second + time.Duration(n)*time.Second)
				out = append(out, grid.Sample{From: at, To: at.Add(500 * time.Millisecond), Intensity: 100})
			}
			return out, nil
		}
	})
	watching(t, Options{Links: []grid.Provider{p}}, func(t *testing.T, w *Watch, _ *lines) {
		pass(150 * time.Minute)
		past := w.Latest().Past
		if len(past) > most || n < 3 {
			t.Errorf("%d samples are kept after %d answers", len(past), n)
		}
		want(t, w, "the present", "300 first")
	})
}

// TestYearsThatAreNone cannot be counted with in nanoseconds.
func TestYearsThatAreNone(t *testing.T) {
	p := hourly("first", 300)
	p.set(func() {
		p.past = func(_, to time.Time) ([]grid.Sample, error) {
			return []grid.Sample{
				{From: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), To: to, Intensity: 1},
				{From: to.Add(-time.Hour), To: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), Intensity: 1},
			}, nil
		}
	})
	watching(t, Options{Links: []grid.Provider{p}}, func(t *testing.T, w *Watch, _ *lines) {
		if past := w.Latest().Past; len(past) != 1 || past[0].Intensity != unit.IntensityOf(300) {
			t.Errorf("it believes %+v", past)
		}
	})
}

func TestRefusals(t *testing.T) {
	marginal, direct := hourly("watttime", 1), hourly("neso", 1)
	marginal.info.Signal, direct.info.Factor = grid.Marginal, grid.Direct
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"no zone":               {Options{Links: []grid.Provider{hourly("a", 1)}}, "no grid zone"},
		"nobody":                {Options{Zone: "DE"}, "no provider"},
		"two signals":           {Options{Zone: "DE", Links: []grid.Provider{hourly("a", 1), marginal}}, "a gives average, lifecycle values and watttime gives marginal, lifecycle ones"},
		"two factors":           {Options{Zone: "GB", Links: []grid.Provider{direct, hourly("a", 1)}}, "neso gives average, direct values"},
		"a floor of another":    {Options{Zone: "GB", Links: []grid.Provider{direct, yearly(1)}, Floor: yearly(1)}, "one signal and one factor"},
		"somebody after yearly": {Options{Zone: "DE", Links: []grid.Provider{yearly(1), hourly("a", 1)}, Floor: yearly(1)}, "put yearly last"},
	} {
		if _, err := New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	w, err := New(Options{Zone: "GB", Links: []grid.Provider{direct}, Floor: yearly(1)})
	if err != nil {
		t.Fatal(err)
	}
	want(t, w, "a floor that does not fit is left out", "unknown")
}

func TestOverlay(t *testing.T) {
	at := func(h int) time.Time { return time.Date(2026, 1, 1, h, 0, 0, 0, time.UTC) }
	s := func(from, to, g int) Sample { return Sample{From: at(from), To: at(to), Intensity: unit.Intensity(g)} }
	for name, c := range map[string]struct{ base, top, want []Sample }{
		"nothing":       {nil, nil, nil},
		"only below":    {[]Sample{s(0, 1, 1)}, nil, []Sample{s(0, 1, 1)}},
		"the same":      {[]Sample{s(0, 1, 1), s(1, 2, 2)}, []Sample{s(1, 2, 3)}, []Sample{s(0, 1, 1), s(1, 2, 3)}},
		"in a long one": {[]Sample{s(0, 9, 1)}, []Sample{s(2, 3, 2), s(5, 6, 3)}, []Sample{s(0, 2, 1), s(2, 3, 2), s(3, 5, 1), s(5, 6, 3), s(6, 9, 1)}},
		"over several":  {[]Sample{s(0, 2, 1), s(2, 4, 2), s(4, 6, 3)}, []Sample{s(1, 5, 9)}, []Sample{s(0, 1, 1), s(1, 5, 9), s(5, 6, 3)}},
		"beside":        {[]Sample{s(2, 3, 1)}, []Sample{s(0, 2, 9), s(3, 4, 8)}, []Sample{s(0, 2, 9), s(2, 3, 1), s(3, 4, 8)}},
	} {
		if diff := cmp.Diff(c.want, overlay(c.base, c.top)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestBetween(t *testing.T) {
	at := func(h float64) time.Time {
		return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(h * float64(time.Hour)))
	}
	s := &State{Past: []Sample{
		{From: at(0), To: at(1), Intensity: 100, Provider: "a"},
		{From: at(1), To: at(2), Intensity: 201, Provider: "b", Estimated: true},
		{From: at(4), To: at(5), Intensity: 3_000_000_000, Provider: "a"},
	}}
	floored := *s
	floored.floor = &Sample{Intensity: 50, Provider: "yearly", Estimated: true}
	for name, c := range map[string]struct {
		s        *State
		from, to float64
		want     Value
		ok       bool
	}{
		"within one":            {s, 0.1, 0.2, Value{Intensity: 100, Provider: "a"}, true},
		"an instant":            {s, 1, 1, Value{Intensity: 201, Provider: "b", Estimated: true}, true},
		"two":                   {s, 0, 2, Value{Intensity: 151, Provider: "b", Estimated: true}, true}, // 150.5 to the nearest
		"held until the next":   {s, 2, 4, Value{Intensity: 201, Provider: "b", Estimated: true}, true},
		"held to the end":       {s, 5, 11, Value{Intensity: 3_000_000_000, Provider: "a", Estimated: true}, true},
		"longer than it holds":  {s, 5, 11.1, Value{}, false},
		"before all":            {s, -1, 0.5, Value{}, false},
		"the floor before all":  {&floored, -1, 1, Value{Intensity: 75, Provider: "a", Estimated: true}, true},
		"the floor after all":   {&floored, 10, 12, Value{Intensity: 1_500_000_025, Provider: "yearly", Estimated: true}, true},
		"the floor for a month": {&floored, 1000, 1720, Value{Intensity: 50, Provider: "yearly", Estimated: true}, true},
	} {
		got, ok := c.s.Between(at(c.from), at(c.to))
		if ok != c.ok || got != c.want {
			t.Errorf("%s: %+v %v, want %+v %v", name, got, ok, c.want, c.ok)
		}
	}
	if n := testing.AllocsPerRun(100, func() { floored.Between(at(-1), at(12)) }); n != 0 {
		t.Errorf("a reader allocates %v times", n)
	}
}
