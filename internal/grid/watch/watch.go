// Package watch keeps an eye on the carbon intensity of one grid zone: it asks
// a chain of providers in the background, no more often than their values
// change, and holds what is known in a form that is read without waiting.
//
// The first link of the chain that answers wins. If none does, the last value
// holds for six hours past its end, marked as estimated; then the floor, a
// yearly average, until somebody answers again. It refuses chains of several
// signals or factors: their values do not belong into one series.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"noether/internal/grid"
	"noether/internal/unit"
)

const (
	// Hold is how long a value holds past its end while nobody knows better.
	Hold = 6 * time.Hour
	// Window is how far back the past is kept, and asked for.
	Window = 48 * time.Hour

	shortest = time.Minute      // between two questions to one link
	longest  = time.Hour        // likewise, while it answers
	backOff  = 48 * time.Minute // at most, with its jitter an hour
	deadline = 30 * time.Second // of one question, a login included
	nap      = time.Minute      // sleep no longer, so that a suspended machine notices soon
	skew     = 15 * time.Minute // how far ahead of this machine's clock a provider's may be
	most     = 10_000           // samples of one answer
)

// Options say what to watch.
type Options struct {
	Zone  string
	Links []grid.Provider // the chain, the preferred one first
	// Floor always answers and asks nobody. It is left out unless its signal
	// and factor are those of the chain, and may be the chain's last link too.
	Floor grid.Provider
	Now   func() time.Time // time.Now if nil
	Rand  func() float64   // in [0, 1), for jitter; math/rand if nil
	Log   *slog.Logger     // nothing is logged if nil
}

// Watch is a chain for one zone. One goroutine calls Run; any number of them
// call Latest.
type Watch struct {
	zone   string
	signal grid.Signal
	factor grid.Factor
	links  []*link
	floor  *floor // nil if there is none
	now    func() time.Time
	rand   func() float64
	log    *slog.Logger

	state atomic.Pointer[State]

	// The rest belongs to Run.
	noFloor string   // why there is none
	active  int      // index of the link that the present value is from; -1 if none
	last    int      // the one that was active last
	said    string   // by the last line of the log
	asked   bool     // somebody, since the last state was published
	past    []Sample // as published
	revised uint64
}

// floor is who stands in for the links.
type floor struct {
	provider grid.Provider
	isLink   bool // of the chain: nobody is missing if it is the only one
	value    *Sample
	err      error
	status   Status
	next     time.Time
}

// link is a provider and when to ask it next. It belongs to Run.
type link struct {
	provider grid.Provider
	info     grid.Info
	status   Status

	samples  []Sample // ordered, without overlap
	end      time.Time
	forecast []Sample
	failures int
	err      error // of the last question for the present value, nil if it was answered

	next, nextPast, nextForecast time.Time
	quiet                        time.Time // nothing is asked before
	noForecast                   bool
}

// New returns a watch that knows the floor and asks nobody before Run.
func New(o Options) (*Watch, error) {
	w := &Watch{zone: o.Zone, now: o.Now, rand: o.Rand, log: o.Log, active: -1, last: -1}
	if w.now == nil {
		w.now = time.Now //nolint:forbidigo // the clock, unless a test has another
	}
	if w.rand == nil {
		w.rand = rand.Float64 // only spreads requests
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if o.Zone == "" {
		return nil, errors.New("watch the carbon intensity: no grid zone is given")
	}
	links, isLink := slices.Clone(o.Links), false
	if o.Floor != nil {
		name := o.Floor.Info().Name
		at := slices.IndexFunc(links, func(p grid.Provider) bool { return p.Info().Name == name })
		switch {
		case at >= 0 && at < len(links)-1:
			return nil, fmt.Errorf("watch the carbon intensity of %s: provider %s always answers, so %s after it would never be asked: put %[2]s last", o.Zone, name, links[at+1].Info().Name)
		case at >= 0:
			links, isLink = links[:at], true
		}
	}
	if len(links) == 0 && o.Floor == nil {
		return nil, fmt.Errorf("watch the carbon intensity of %s: no provider is given", o.Zone)
	}
	for i, p := range links {
		info := p.Info()
		if i == 0 {
			w.signal, w.factor = info.Signal, info.Factor
		}
		if first := links[0].Info(); info.Signal != first.Signal || info.Factor != first.Factor {
			return nil, mixed(o.Zone, first, info)
		}
		w.links = append(w.links, &link{provider: p, info: info, status: Status{Provider: info.Name}})
	}
	if o.Floor != nil {
		info := o.Floor.Info()
		fits := len(links) == 0 || info.Signal == w.signal && info.Factor == w.factor
		switch {
		case fits:
			w.signal, w.factor = info.Signal, info.Factor
			w.floor = &floor{provider: o.Floor, isLink: isLink, status: Status{Provider: info.Name}}
		case isLink:
			return nil, mixed(o.Zone, links[0].Info(), info)
		default:
			w.noFloor = fmt.Sprintf("%s is %s and %s, the chain %s and %s", info.Name, info.Signal, info.Factor, w.signal, w.factor)
		}
	}
	w.askFloor(context.Background())
	w.publish(w.wall())
	return w, nil
}

func mixed(zone string, a, b grid.Info) error {
	return fmt.Errorf("watch the carbon intensity of %s: %s gives %s, %s values and %s gives %s, %s ones: a chain has one signal and one factor: remove one of them or set the factor",
		zone, a.Name, a.Signal, a.Factor, b.Name, b.Signal, b.Factor)
}

// Latest returns what is known. It never blocks, and what it returns does not
// change.
func (w *Watch) Latest() *State { return w.state.Load() }

// Run asks until ctx is done. It is called once.
func (w *Watch) Run(ctx context.Context) error {
	if w.noFloor != "" {
		w.log.InfoContext(ctx, "no yearly average stands in if the providers of carbon intensity fail", slog.String("grid_zone", w.zone), slog.String("reason", w.noFloor))
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		w.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		now := w.wall()
		if w.asked {
			w.asked = false
			w.publish(now)
		}
		w.tell(ctx, now)
		timer.Reset(min(max(w.wake(now).Sub(now), time.Second), nap))
	}
}

// wall is the time of day: without a monotonic clock, which stands still while
// a machine sleeps.
func (w *Watch) wall() time.Time { return w.now().Round(0) }

// due tells whether the time for a question has come. One that is further off
// than anything is ever planned was planned before the clock was set.
func due(at, now time.Time) bool { return !now.Before(at) || at.Sub(now) > 25*time.Hour }

// round asks each link that is due, until one has a present value.
func (w *Watch) round(ctx context.Context) {
	w.askFloor(ctx)
	w.active = -1
	for i, l := range w.links {
		now := w.wall()
		if due(l.next, now) && due(l.quiet, now) {
			w.askLatest(ctx, l)
			now = w.wall()
		}
		if ctx.Err() != nil {
			return
		}
		if (l.err == nil && l.fresh(now)) || l.end.After(now) {
			w.active, w.last = i, i
			w.askPast(ctx, l)
			w.askForecast(ctx, l)
			return
		}
	}
}

// fresh tells whether the link's newest sample still says something about now.
func (l *link) fresh(now time.Time) bool {
	return now.Sub(l.end) <= max(2*time.Hour, 2*l.info.Step)
}

func (w *Watch) askLatest(ctx context.Context, l *link) {
	s, err := func() (grid.Sample, error) {
		within, cancel := context.WithTimeout(ctx, deadline)
		defer cancel()
		w.asked = true
		l.status.Requests++
		return l.provider.Latest(within, w.zone)
	}()
	now := w.wall()
	if err == nil {
		err = w.plausible(s)
	}
	switch {
	case err != nil:
	case s.From.After(now.Add(skew)):
		err = fmt.Errorf("its newest value is of %s, when here it is %s: is this machine's clock right?", clock(s.From), clock(now))
	default:
		l.merge(w.samples([]grid.Sample{s}, l, now), now)
		if l.end = s.To; !l.fresh(now) {
			err = fmt.Errorf("its newest value ended at %s: %w of the last hours", clock(s.To), grid.ErrNoData)
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			w.failed(l, err, now)
			l.err, l.status.Up = err, false
			l.failures++
			l.next = now.Add(w.backOff(l.failures))
		}
		return
	}
	l.err, l.failures = nil, 0
	l.status.Up, l.status.Success = true, now
	l.next = w.after(s, l.info.Step, now)
}

// after is when to ask again who gave s: when it ends, or after a step if it
// holds longer than that; if it has ended, a quarter of its length from now, as
// the next one is late.
func (w *Watch) after(s grid.Sample, step time.Duration, now time.Time) time.Time {
	if step <= 0 {
		step = s.To.Sub(s.From)
	}
	step = min(max(step, shortest), 24*time.Hour)
	next := s.To
	if !next.After(now) {
		next = now.Add(step / 4)
	}
	if once := now.Add(step); next.After(once) {
		next = once
	}
	next = next.Add(w.jitter(step / 10))
	if least := now.Add(shortest); next.Before(least) {
		next = least
	}
	if s.To.After(now.Add(longest)) {
		next = now.Add(longest - w.jitter(longest/10))
	}
	return next
}

// backOff doubles from a minute to an hour, the jitter included.
func (w *Watch) backOff(failures int) time.Duration {
	wait := min(shortest<<min(failures-1, 10), backOff)
	return wait + w.jitter(wait/4)
}

func (w *Watch) jitter(most time.Duration) time.Duration {
	return time.Duration(w.rand() * float64(most))
}

// failed counts, and keeps silent as long as the provider asks for.
func (w *Watch) failed(l *link, err error, now time.Time) {
	l.status.Failures++
	if limited, ok := errors.AsType[*grid.LimitedError](err); ok && limited.RetryAfter > 0 {
		wait := min(limited.RetryAfter, 24*time.Hour)
		l.quiet = now.Add(wait + w.jitter(min(wait/10, 10*time.Minute)))
	}
}

func (w *Watch) askPast(ctx context.Context, l *link) {
	now := w.wall()
	if l.err != nil || !due(l.nextPast, now) || !due(l.quiet, now) {
		return
	}
	within, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	w.asked = true
	l.status.Requests++
	samples, err := l.provider.Intensity(within, w.zone, now.Add(-Window), now)
	if ctx.Err() != nil {
		return
	}
	l.nextPast = now.Add(longest + w.jitter(longest/10))
	switch {
	case errors.Is(err, grid.ErrNoData): // it keeps no past
	case err != nil:
		w.failed(l, err, now)
	default:
		l.merge(w.samples(samples, l, now), now)
	}
}

func (w *Watch) askForecast(ctx context.Context, l *link) {
	now := w.wall()
	if l.err != nil || l.noForecast || !due(l.nextForecast, now) || !due(l.quiet, now) {
		return
	}
	within, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	w.asked = true
	l.status.Requests++
	samples, err := l.provider.Forecast(within, w.zone, now, now.Add(24*time.Hour))
	if ctx.Err() != nil {
		return
	}
	l.nextForecast = now.Add(longest + w.jitter(longest/10))
	switch {
	case errors.Is(err, grid.ErrNoForecast):
		l.noForecast = true
		l.status.Requests-- // nothing was sent
	case errors.Is(err, grid.ErrNoData):
		l.forecast = nil
	case err != nil:
		w.failed(l, err, now)
	default:
		l.forecast = w.samples(samples, l, now.Add(Window))
	}
}

func (w *Watch) askFloor(ctx context.Context) {
	f, now := w.floor, w.wall()
	if f == nil || !due(f.next, now) {
		return
	}
	f.next = now.Add(longest)
	w.asked = true
	f.status.Requests++
	s, err := f.provider.Latest(ctx, w.zone)
	if err == nil {
		err = w.plausible(s)
	}
	f.err, f.status.Up = err, err == nil
	if err != nil {
		f.status.Failures++
		return
	}
	f.status.Success = now
	f.value = &Sample{
		Intensity: unit.IntensityOf(s.Intensity),
		Estimated: s.Estimated || !f.isLink || len(w.links) > 0,
		Provider:  f.status.Provider,
	}
}

// plausible refuses what no grid has. An average of 0 is a provider's way to
// say that it does not know.
func (w *Watch) plausible(s grid.Sample) error {
	if err := grid.Check(s.Intensity); err != nil {
		return err
	}
	if s.Intensity == 0 && w.signal == grid.Average {
		return errors.New("0 gCO2e/kWh is no average of a grid")
	}
	if !s.To.After(s.From) {
		return fmt.Errorf("a value holds from %s to %s", clock(s.From), clock(s.To))
	}
	return nil
}

// samples takes over what can be believed and had begun at now.
func (w *Watch) samples(in []grid.Sample, l *link, now time.Time) []Sample {
	name, updated := l.info.Name, w.wall()
	if l.info.Step == 0 {
		updated = time.Time{}
	}
	if relay, ok := l.provider.(grid.Relay); ok {
		if by, at, ok := relay.Origin(w.zone); ok {
			name, updated = by, at
		}
	}
	out := make([]Sample, 0, min(len(in), most))
	for _, s := range in {
		if len(out) == most {
			break
		}
		if w.plausible(s) == nil && !s.From.After(now.Add(skew)) {
			out = append(out, Sample{s.From, s.To, unit.IntensityOf(s.Intensity), s.Estimated, name, updated})
		}
	}
	slices.SortStableFunc(out, func(a, b Sample) int { return a.From.Compare(b.From) })
	kept := out[:0]
	for _, s := range out {
		if n := len(kept); n > 0 && s.From.Before(kept[n-1].To) {
			continue
		}
		kept = append(kept, s)
	}
	return kept
}

// merge lets what was just said replace what was said before about its times.
func (l *link) merge(samples []Sample, now time.Time) {
	l.samples = slices.DeleteFunc(overlay(l.samples, samples), func(s Sample) bool { return s.To.Before(now.Add(-Window)) })
}

// overlay returns top and what of base it leaves uncovered.
func overlay(base, top []Sample) []Sample {
	out := slices.Clone(top)
	for _, b := range base {
		at, _ := slices.BinarySearchFunc(top, b.From, func(s Sample, t time.Time) int {
			if s.To.After(t) {
				return 1
			}
			return -1
		})
		for ; at < len(top) && top[at].From.Before(b.To) && b.From.Before(b.To); at++ {
			if top[at].From.After(b.From) {
				piece := b
				piece.To = top[at].From
				out = append(out, piece)
			}
			b.From = top[at].To
		}
		if b.From.Before(b.To) {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b Sample) int { return a.From.Compare(b.From) })
	return out
}

// wake is when something is to be done next.
func (w *Watch) wake(now time.Time) time.Time {
	next := now.Add(longest)
	soon := func(at, quiet time.Time) {
		if quiet.After(at) {
			at = quiet
		}
		if at.Before(next) {
			next = at
		}
	}
	for i, l := range w.links {
		soon(l.next, l.quiet)
		if i == w.active {
			soon(l.nextPast, l.quiet)
			if !l.noForecast {
				soon(l.nextForecast, l.quiet)
			}
			break // who comes after it is not asked
		}
	}
	return next
}

// tell logs where values come from, when that changes.
func (w *Watch) tell(ctx context.Context, now time.Time) {
	from, level := "none", slog.LevelWarn
	v, known := w.Latest().Between(now, now)
	switch {
	case w.active >= 0:
		from = w.links[w.active].info.Name
		if w.active == 0 {
			level = slog.LevelInfo
		}
	case known && w.floor != nil && v.Provider == w.floor.status.Provider:
		from = v.Provider
		if len(w.links) == 0 {
			level = slog.LevelInfo
		}
	case known:
		from = "last value of " + v.Provider
	}
	if from == w.said {
		return
	}
	attrs := []slog.Attr{slog.String("grid_zone", w.zone), slog.String("source", from), slog.String("before", w.said)}
	if known {
		attrs = append(attrs, slog.Float64("grams_per_kwh", v.Intensity.GramsPerKWh()))
	}
	var wrong []string
	for i, l := range w.links {
		if i != w.active && l.err != nil {
			wrong = append(wrong, l.info.Name+": "+l.err.Error())
		}
	}
	if w.floor != nil && w.floor.err != nil {
		wrong = append(wrong, w.floor.status.Provider+": "+w.floor.err.Error())
	}
	if len(wrong) > 0 {
		attrs = append(attrs, slog.String("error", strings.Join(wrong, "; ")))
	}
	w.said = from
	w.log.LogAttrs(ctx, level, "carbon intensity has another source", attrs...)
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
