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
	most     = 10_000           // samples of one answer, and of all that are kept of a link
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
	noFloor string    // why there is none
	active  int       // index of the link that the present value is from; -1 if none
	last    int       // the one that was active last
	at      time.Time // of the last round
	said    string    // by the last line of the log
	asked   bool      // somebody, since the last state was published
	past    []Sample  // as published
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
	w.at = w.wall()
	w.askFloor(context.Background())
	w.publish(w.at)
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

// follow adapts to a clock that was set back since the last round. What was
// planned for a time that has gone is due anyway.
func (w *Watch) follow(now time.Time) {
	back := w.at.Sub(now)
	if w.at = now; back <= 0 {
		return
	}
	if w.floor != nil {
		w.floor.next = w.floor.next.Add(-back)
	}
	for _, l := range w.links {
		l.setBack(back, now)
	}
	w.asked = w.asked || back > skew // there is something new to publish
}

// round asks each link that is due, until one has a present value.
func (w *Watch) round(ctx context.Context) {
	w.follow(w.wall())
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
	w.log.LogAttrs(ctx, level, "source of the carbon intensity", attrs...)
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
