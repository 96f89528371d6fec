package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"noether/internal/grid"
	"noether/internal/unit"
)

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

// due tells whether the time for a question has come. One that is further off
// than anything is ever planned was planned before the clock was set.
func due(at, now time.Time) bool { return !now.Before(at) || at.Sub(now) > 25*time.Hour }

// setBack adapts to a clock that went back: whatever was planned comes no later
// than it would have, and what was said of a time that is to come again is
// forgotten, as nobody has said it of that time.
func (l *link) setBack(back time.Duration, now time.Time) {
	l.quiet = l.quiet.Add(-back)
	for _, plan := range [...]*time.Time{&l.next, &l.nextPast, &l.nextForecast} {
		if *plan = plan.Add(-back); back > shortest {
			*plan = time.Time{}
		}
	}
	if back <= skew {
		return
	}
	l.forecast, l.end = nil, time.Time{}
	l.samples = slices.DeleteFunc(l.samples, func(s Sample) bool { return s.From.After(now.Add(skew)) })
	if n := len(l.samples); n > 0 {
		l.end = l.samples[n-1].To
	}
}

// guarded turns a panic into an error: energy is counted on, without grams.
func guarded[T any](ask func() (T, error)) (answer T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the provider panics, which is a mistake in Noether: please report it: %v", p)
		}
	}()
	return ask()
}

// fresh tells whether the link's newest sample still says something about now.
func (l *link) fresh(now time.Time) bool {
	return now.Sub(l.end) <= max(2*time.Hour, 2*l.info.Step)
}

func (w *Watch) askLatest(ctx context.Context, l *link) {
	s, err := guarded(func() (grid.Sample, error) {
		within, cancel := context.WithTimeout(ctx, deadline)
		defer cancel()
		w.asked = true
		l.status.Requests++
		return l.provider.Latest(within, w.zone)
	})
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
	samples, err := guarded(func() ([]grid.Sample, error) { return l.provider.Intensity(within, w.zone, now.Add(-Window), now) })
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
	samples, err := guarded(func() ([]grid.Sample, error) {
		return l.provider.Forecast(within, w.zone, now, now.Add(24*time.Hour))
	})
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
	s, err := guarded(func() (grid.Sample, error) { return f.provider.Latest(ctx, w.zone) })
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
	if s.From.Year() < 1700 || s.To.Year() > 2250 { // nanoseconds since 1970 are an int64
		return fmt.Errorf("a value holds from %s to %s, which is no time that can be counted with", clock(s.From), clock(s.To))
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
	all := slices.DeleteFunc(overlay(l.samples, samples), func(s Sample) bool { return s.To.Before(now.Add(-Window)) })
	l.samples = all[max(len(all)-most, 0):]
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
