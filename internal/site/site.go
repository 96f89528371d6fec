// Package site knows what surrounds a machine: the carbon intensity and the
// price of its electricity, the power usage effectiveness (PUE) of its site,
// and what making its hardware caused. It puts them together into the one
// immutable value that each tick of the agent is booked with.
//
// It refuses to hold up a tick: whatever has to be asked for is asked for by
// Run, in the background, and a tick takes what is known by then. It refuses to
// guess: what nobody knows is absent, never 0.
package site

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"noether/internal/grid/watch"
	"noether/internal/snapshot"
	"noether/internal/unit"
)

// Options say where the machine is, and whom to ask about it.
type Options struct {
	Locate Locate
	// Open returns the watch of a grid zone. It asks nobody before it runs.
	Open func(zone string) (*watch.Watch, error)
	// Hardware returns what is known of making the machine, given the type of
	// its instance if a cloud has told one. It may read files; nil knows nothing.
	Hardware func(instance string) snapshot.Hardware
	PUE      PUE
	Price    Price
	Currency string // ISO 4217; empty without a price
	// Ask evaluates PromQL, for the queries of PUE and Price.
	Ask func(ctx context.Context, query string) (float64, error)
	// Always is set if the user said something about the machine that is of use
	// without a grid zone. Else nothing at all is told while there is none.
	Always bool
	Now    func() time.Time // wall clock
	Log    *slog.Logger     // nothing is logged if nil
}

// Site implements what the agent asks of the surroundings of its machine. One
// goroutine calls Between, another one Run.
type Site struct {
	o          Options
	pue, price *query // nil if not queried
	known      atomic.Pointer[known]

	// The rest belongs to who calls Between.
	key   key
	last  *snapshot.Site
	past  []snapshot.Past
	rate  unit.Price // of the tariff, from rateFrom to rateTo
	since time.Time
	until time.Time
	// pastOf is the state that past was made of, and changes counts them.
	pastOf  pastKey
	changes uint64
}

// known is what is known of the machine's place. It is immutable.
type known struct {
	place    Place
	located  bool
	watch    *watch.Watch // nil without a zone
	hardware snapshot.Hardware
	pue      unit.Ratio // of the table, 0 if it has none
}

// key is all that a snapshot.Site is made of. Two that are equal make the same.
type key struct {
	known  *known
	state  *watch.State
	value  watch.Value
	valued bool
	minute int64 // of the forecast
	pue    unit.Ratio
	from   string
	price  unit.Price
	priced bool
	asked  [2]answer
}

type pastKey struct {
	watch   *watch.Watch
	revised uint64
}

// Where a PUE comes from.
const (
	fromSetting = "fixed"
	fromTable   = "table"
	fromQuery   = "query"
	fromNobody  = "default" // 1, since nobody knows
)

// New returns the surroundings of a machine as far as they are known without
// asking anybody.
func New(o Options) (*Site, error) {
	if o.Now == nil || o.Open == nil {
		return nil, errors.New("prepare what surrounds this machine: there is no clock, or nobody to watch the grid")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Site{o: o}
	if (o.PUE.Query != "" || o.Price.Query != "") && o.Ask == nil {
		return nil, errors.New("prepare the queries of PUE and price: there is nobody to ask")
	}
	if o.PUE.Query != "" {
		s.pue = newQuery("pue", o.PUE.Query, &s.o, func(v float64) (int64, error) {
			r, err := checkPUE(v)
			return int64(r), err
		})
	}
	if o.Price.Query != "" {
		s.price = newQuery("price", o.Price.Query, &s.o, func(v float64) (int64, error) {
			p, err := checkPrice(v)
			return int64(p), err
		})
	}
	place, located := o.Locate.place(false)
	return s, s.settle(place, located)
}

// settle makes place what is known of the machine.
func (s *Site) settle(place Place, located bool) error {
	k := &known{place: place, located: located}
	if before := s.known.Load(); before != nil && before.place.Zone == place.Zone {
		k.watch = before.watch
	} else if place.Zone != "" {
		w, err := s.o.Open(place.Zone)
		if err != nil {
			return err
		}
		k.watch = w
	}
	if located && s.o.Hardware != nil {
		k.hardware = s.o.Hardware(place.Instance)
	}
	k.pue, _ = place.PUE()
	s.known.Store(k)
	return nil
}

// Place returns where the machine is by now, and whether that is settled.
func (s *Site) Place() (Place, bool) {
	k := s.known.Load()
	return k.place, k.located
}

// Grid returns what is known by now of the machine's grid zone, nil while
// nobody knows which one that is. Any number of goroutines may ask.
func (s *Site) Grid() *watch.State {
	if w := s.known.Load().watch; w != nil {
		return w.Latest()
	}
	return nil
}

// Between returns what is known of the time between two moments. It blocks and
// asks nobody, and allocates only when something has changed.
func (s *Site) Between(from, to time.Time) *snapshot.Site {
	k := s.known.Load()
	if k.watch == nil && !s.o.Always {
		return nil
	}
	now := key{known: k}
	if k.watch != nil {
		now.state = k.watch.Latest()
		now.value, now.valued = now.state.Between(from, to)
		now.minute = to.Unix() / 60
	}
	if s.pue != nil {
		now.asked[0] = *s.pue.answer.Load()
	}
	if s.price != nil {
		now.asked[1] = *s.price.answer.Load()
	}
	now.pue, now.from = s.ratio(k, &now.asked[0], to)
	now.price, now.priced = s.pricePer(from, to, &now.asked[1])
	if s.last != nil && now == s.key {
		return s.last
	}
	s.key, s.last = now, s.build(&now, to)
	return s.last
}

// ratio returns the PUE and where it comes from.
func (s *Site) ratio(k *known, asked *answer, at time.Time) (unit.Ratio, string) {
	if s.pue != nil && asked.holds(at) {
		return unit.Ratio(asked.value), fromQuery
	}
	switch {
	case s.pue == nil && !s.o.PUE.Table:
		return max(s.o.PUE.Fixed, unit.One), fromSetting
	case k.pue > 0:
		return k.pue, fromTable
	}
	return unit.One, fromNobody
}

// pricePer returns the mean price, weighted by time.
func (s *Site) pricePer(from, to time.Time, asked *answer) (unit.Price, bool) {
	if s.price != nil {
		return unit.Price(asked.value), asked.holds(to)
	}
	t := s.o.Price.Tariff
	if t == nil {
		return 0, false
	}
	if from.Before(s.since) || to.After(s.until) || s.until.IsZero() {
		s.rate, s.until = t.mean(from, to)
		s.since = from
	}
	return s.rate, true
}

// build makes what key says.
func (s *Site) build(now *key, at time.Time) *snapshot.Site {
	k := now.known
	out := &snapshot.Site{
		PUE: now.pue, PUEFrom: now.from, Price: now.price, Priced: now.priced, Currency: s.o.Currency,
		Hardware: k.hardware,
	}
	if st := now.state; st != nil {
		out.Grid = snapshot.Grid{
			Zone: st.Zone, Known: now.valued, Intensity: now.value.Intensity, Provider: now.value.Provider,
			Signal: string(st.Signal), Factor: string(st.Factor), Estimated: now.value.Estimated, Updated: now.value.Updated,
		}
		for h := time.Hour; h <= 24*time.Hour; h += time.Hour {
			if v, ok := st.Expected(at.Add(h)); ok {
				out.Grid.Forecast = append(out.Grid.Forecast, snapshot.Forecast{Horizon: h, Intensity: v})
			}
		}
		if of := (pastKey{k.watch, st.Revised}); s.pastOf != of {
			s.pastOf = of
			s.changes++
			s.past = make([]snapshot.Past, len(st.Past))
			for i, p := range st.Past {
				s.past[i] = snapshot.Past{From: p.From, To: p.To, Intensity: p.Intensity}
			}
		}
		out.Past, out.Revised = s.past, s.changes
		for _, src := range st.Sources {
			out.Sources = append(out.Sources, snapshot.SourceStatus{
				Source: src.Provider, Zone: st.Zone, Up: src.Up, Requests: src.Requests, Failures: src.Failures, Success: src.Success,
			})
		}
	}
	for i, q := range [...]*query{s.pue, s.price} {
		if q != nil {
			out.Sources = append(out.Sources, now.asked[i].status(q.name))
		}
	}
	return out
}

// How often Run looks whether the orchestrator has said where the machine is,
// and how long it waits for that before it looks at the time zone.
const (
	lookInterval  = time.Second
	againInterval = time.Minute
	lookFor       = time.Minute
)

// Run asks until ctx is done. What ends by itself costs grams and money, and
// no joule: nothing that it does is waited for.
func (s *Site) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for _, q := range [...]*query{s.pue, s.price} {
		if q != nil {
			running.Go(func() { q.run(ctx) })
		}
	}
	var watched *watch.Watch
	stop := func() {}
	defer func() { stop() }()
	follow := func() {
		w := s.known.Load().watch
		if w == watched {
			return
		}
		stop()
		watched, stop = w, func() {}
		if w == nil {
			return
		}
		within, cancel := context.WithCancel(ctx)
		stop = cancel
		running.Go(func() {
			if err := w.Run(within); err != nil && within.Err() == nil {
				s.o.Log.ErrorContext(ctx, "nobody is asked for the carbon intensity any more", slog.Any("error", err))
			}
		})
	}
	if k := s.known.Load(); k.located {
		s.announce(ctx, k)
	}
	follow()
	if !s.o.Locate.mayLearn() {
		<-ctx.Done()
		return nil
	}
	patience := time.NewTimer(lookFor)
	defer patience.Stop()
	impatient := false
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-patience.C:
			impatient = true
		case <-timer.C:
		}
		k := s.known.Load()
		place, located := s.o.Locate.place(impatient)
		if located && (!k.located || place != k.place) {
			if err := s.settle(place, true); err != nil {
				s.o.Log.ErrorContext(ctx, "the carbon intensity of this machine's grid zone cannot be asked for", slog.String("grid_zone", place.Zone), slog.Any("error", err))
				<-ctx.Done()
				return nil
			}
			s.announce(ctx, s.known.Load())
			follow()
		}
		if located {
			timer.Reset(againInterval)
		} else {
			timer.Reset(lookInterval)
		}
	}
}

// announce says where the machine is and what is known about it.
func (s *Site) announce(ctx context.Context, k *known) {
	if k.watch == nil {
		s.o.Log.InfoContext(ctx, "the grid zone is not known: there are no grams of operational CO2e",
			slog.String("reason", k.place.From), slog.String("remedy", Remedy))
		if !s.o.Always {
			return
		}
	} else {
		st := k.watch.Latest()
		names := make([]string, len(st.Sources))
		for i := range st.Sources {
			names[i] = st.Sources[i].Provider
		}
		attrs := []slog.Attr{
			slog.String("grid_zone", k.place.Zone), slog.String("zone_from", k.place.From),
			slog.String("providers", strings.Join(names, ",")), slog.String("factor", string(st.Factor)),
		}
		now := s.o.Now()
		if v, ok := st.Between(now, now); ok {
			attrs = append(attrs, slog.Float64("grams_per_kwh", v.Intensity.GramsPerKWh()), slog.String("provider", v.Provider), slog.Bool("estimated", v.Estimated))
		}
		s.o.Log.LogAttrs(ctx, slog.LevelInfo, "grid zone", attrs...)
	}
	if h := &k.hardware; h.Known() {
		s.o.Log.InfoContext(ctx, "embodied emissions", slog.Float64("kg", math.Round(h.Total().Grams())/1000), slog.String("source", h.Source),
			slog.Bool("estimated", h.Estimated), slog.String("instance", cmp.Or(k.place.Instance, "unknown")))
	}
}
