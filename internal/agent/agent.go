// Package agent is the tick: one goroutine that reads the sensors and who ran,
// divides the energy of the time between, and publishes the result as an
// immutable snapshot. Data never flows back: nothing that reads snapshots can
// start or delay a tick.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"noether/internal/attribution"
	"noether/internal/linux"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/snapshot"
	"noether/internal/usage"
	"noether/internal/workload"
)

// Options is everything an agent is made of. The agent takes over the sensors
// and the usage source: it closes them when Close is called.
type Options struct {
	Config
	Sensors  []sensor.Sensor
	Verdicts []probe.Verdict // of all sensors that were tried, for the snapshot
	Rest     Rest            // what no sensor sees; may be zero
	Usage    usage.Source
	Owners   Owners
	Names    Names // may be nil: then nobody is asked what pods and containers are called
	Site     Site  // may be nil: then there are joules only
	Clock    Clock
	Log      *slog.Logger
	// OnTick is called with every new snapshot on the agent's goroutine; it
	// must not block. It may be nil.
	OnTick func(*snapshot.Snapshot)
}

// Agent measures one machine. Run and Tick are for one goroutine; Snapshot
// may be called from any.
type Agent struct {
	opts   Options
	meter  *meter
	books  *books
	usage  workload.Usage
	start  time.Time
	latest atomic.Pointer[snapshot.Snapshot]

	seq       uint64
	last      time.Duration // monotonic time of the last tick
	suspended time.Duration // boot time less monotonic time, as last seen
	cpu       time.Duration // of all ticks so far
	missed    uint64
	wall      time.Time // wall-clock time of the last tick
	usageErr  bool      // the last read of usage failed, as logged
	siteErr   bool      // asking about the site panicked, as logged
	broken    bool      // the books did not balance, as logged
	leaking   bool      // the grams did not balance, as logged
}

// New returns an agent that has not read anything yet.
func New(o Options) (*Agent, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	policy, err := attribution.ByName(o.Policy)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		opts:  o,
		meter: newMeter(o.Sensors, o.Log),
		books: newBooks(o.Config, policy, o.Owners),
	}
	a.meter.rest = newRest(o.Rest, a.meter.comp, &a.usage, o.Log)
	a.books.carbon.asked = o.Site != nil
	return a, nil
}

// Snapshot returns the outcome of the latest tick, nil before the first one.
func (a *Agent) Snapshot() *snapshot.Snapshot { return a.latest.Load() }

// Close closes the usage source and the sensors, in the reverse order of their use.
func (a *Agent) Close() error { return errors.Join(a.opts.Usage.Close(), a.meter.close()) }

// firstTick is when the first snapshot appears, if the interval is longer:
// nobody likes to wait for a page.
const firstTick = time.Second

// Run takes the baseline and then ticks until ctx is done. Counters are read
// more often than the interval where they could wrap unseen.
func (a *Agent) Run(ctx context.Context) error {
	runtime.LockOSThread() // CPU time is counted per thread
	defer runtime.UnlockOSThread()

	a.Baseline(ctx)
	every := a.meter.readEvery(a.opts.Interval)
	began, settled := a.last, []time.Duration{0, settledSoon, settledAll}
	next := a.last + min(a.opts.Interval, firstTick)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := a.opts.Clock.Mono()
		timer.Reset(max(min(next-now, every), 0))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		now = a.opts.Clock.Mono()
		if now < next {
			a.readMeter(ctx, now)
			continue
		}
		a.Tick(ctx)
		if len(settled) > 0 && now-began >= settled[0] {
			settled = settled[1:]
			a.giveBack(ctx)
		}
		next += a.opts.Interval
		for ; next <= now; next += a.opts.Interval {
			a.missed++
		}
	}
}

// Memory is given back after the first tick, and when what is done for the
// first time has been done: by the one names have been asked for, pages and a
// history written, by the other a history has also been looked after, which
// its database does each minute.
const (
	settledSoon = 10 * time.Second
	settledAll  = 90 * time.Second
)

// giveBack returns memory that only the start has needed: the baseline listed
// every process there is, tables that have grown to the size of the machine
// left what they outgrew, and opening, TLS and the first answers ran code that
// will not run again.
func (a *Agent) giveBack(ctx context.Context) {
	a.usage.Tasks = nil // the next tick lists those that ran
	debug.FreeOSMemory()
	if err := linux.TrimProgram(); err != nil {
		a.opts.Log.LogAttrs(ctx, slog.LevelDebug, "memory of the program stays mapped", slog.String("reason", err.Error()))
	}
}

// Baseline reads everything once so that the next Tick has something to
// subtract from. Run does it by itself.
func (a *Agent) Baseline(ctx context.Context) {
	a.start = a.opts.Clock.Wall()
	a.wall = a.start.Round(0)
	a.last = a.opts.Clock.Mono()
	a.suspended = a.opts.Clock.ahead()
	a.meter.read(ctx, a.last)
	a.meter.take(a.last)
	a.readUsage(ctx)
	a.learn()
	a.books.enter(&a.usage, nil, a.last)
	a.ask()
}

// Tick closes the time since the last Tick or Baseline, divides its energy
// and publishes the snapshot. Run does it by itself.
func (a *Agent) Tick(ctx context.Context) *snapshot.Snapshot {
	clock := &a.opts.Clock
	began, wall, cpu := clock.Mono(), clock.Wall(), clock.CPU()
	a.readMeter(ctx, began)
	a.readUsage(ctx)
	a.learn()
	elapsed := began - a.last
	a.survey(ctx, elapsed)
	busy := a.books.enter(&a.usage, a.meter.take(began), began)
	a.ask()
	a.last = began
	a.seq++

	s := a.books.snapshot()
	s.Seq, s.Start, s.Time, s.Elapsed, s.Node = a.seq, a.start, wall, elapsed, a.opts.NodeName
	s.CPU, s.Busy = a.usage.CPU, busy
	s.Sensors = a.opts.Verdicts
	if a.opts.Names != nil {
		s.Names = a.opts.Names.Status(nil)
	}
	s.Zones = append([]snapshot.Zone(nil), a.meter.zones...)
	a.cpu += clock.CPU() - cpu
	s.Self.Usage = a.opts.Usage.Name()
	s.Self.Policy = a.opts.Policy
	s.Self.TickDuration = clock.Mono() - began
	s.Self.TickCPU = a.cpu
	s.Self.DroppedExits = a.usage.Dropped
	s.Self.MissedTicks = a.missed
	if s.Self.Imbalance != 0 && !a.broken {
		a.broken = true
		a.opts.Log.ErrorContext(ctx, "the books do not balance: this is a bug, please report it",
			slog.Int64("imbalance_microjoules", int64(s.Self.Imbalance)))
	}
	if s.Self.ImbalanceCO2e != 0 && !a.leaking {
		a.leaking = true
		a.opts.Log.ErrorContext(ctx, "the books of CO2e do not balance: this is a bug, please report it",
			slog.Int64("imbalance_nanograms", int64(s.Self.ImbalanceCO2e)))
	}
	a.latest.Store(s)
	if a.opts.OnTick != nil {
		a.opts.OnTick(s)
	}
	return s
}

// learn takes over what the owners are called by now.
func (a *Agent) learn() {
	if a.opts.Names != nil {
		a.books.learn(a.opts.Names.Latest())
	}
}

// ask tells the sources of names what they do not know yet.
func (a *Agent) ask() {
	if a.opts.Names != nil {
		a.opts.Names.Missing(a.books.missing())
	}
}

// survey finds out what is known about the site during the tick that ends now.
// The wall clock says when that was; if it was set meanwhile, only its end is
// to be trusted.
func (a *Agent) survey(ctx context.Context, elapsed time.Duration) {
	if a.opts.Site == nil {
		return
	}
	// Without its monotonic reading: the difference is to be that of the wall clock.
	from, to := a.wall, a.opts.Clock.Wall().Round(0)
	a.wall = to
	if span := to.Sub(from); span < 0 || span > 2*elapsed {
		from = to.Add(-elapsed)
	}
	c := &a.books.carbon
	var err error
	c.from, c.to = from, to
	c.site, err = guardedSite(a.opts.Site, from, to)
	if failed := err != nil; failed != a.siteErr {
		a.siteErr = failed
		if failed {
			a.opts.Log.ErrorContext(ctx, "asking about the site: there are no grams until it works again", slog.Any("error", err))
		} else {
			a.opts.Log.InfoContext(ctx, "asking about the site works again")
		}
	}
}

// guardedSite turns a panic of the site into its failure: energy is counted on.
func guardedSite(s Site, from, to time.Time) (site *snapshot.Site, err error) {
	defer func() {
		if p := recover(); p != nil {
			site, err = nil, fmt.Errorf("ask about the site: panic: %v", p)
		}
	}()
	return s.Between(from, to), nil
}

// readMeter reads the counters. If the machine was suspended since they were
// read last, nobody knows what they did meanwhile.
func (a *Agent) readMeter(ctx context.Context, now time.Duration) {
	if ahead := a.opts.Clock.ahead(); ahead-a.suspended > minSuspend {
		a.opts.Log.InfoContext(ctx, "the machine was suspended: energy counters start anew",
			slog.Duration("suspended", (ahead-a.suspended).Round(time.Millisecond)))
		a.meter.reset()
		a.suspended = ahead
	}
	a.meter.read(ctx, now)
}

// readUsage fills a.usage. What could not be read is nobody's.
func (a *Agent) readUsage(ctx context.Context) {
	a.usage.Reset()
	err := guardedUsage(ctx, a.opts.Usage, &a.usage)
	if failed := err != nil; failed != a.usageErr {
		a.usageErr = failed
		if failed {
			a.opts.Log.ErrorContext(ctx, "reading who ran: energy is unattributed until it works again", slog.Any("error", err))
		} else {
			a.opts.Log.InfoContext(ctx, "reading who ran works again")
		}
	}
}

// guardedUsage turns a panic of the source into its failure.
func guardedUsage(ctx context.Context, s usage.Source, dst *workload.Usage) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read usage: panic: %v", p)
		}
	}()
	return s.Read(ctx, dst)
}
