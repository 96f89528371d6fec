package watch

import (
	"math/bits"
	"slices"
	"sort"
	"time"

	"noether/internal/grid"
	"noether/internal/unit"
)

// State is what is known of a zone at one moment. It is immutable, its slices
// included, and may be kept.
type State struct {
	Zone   string
	Signal grid.Signal
	Factor grid.Factor
	// Past is what providers say by now about the last 48 hours, ordered by
	// time: no values that were held past their end, and no floor. Revised
	// changes whenever Past does.
	Past    []Sample
	Revised uint64
	// Forecast is what the provider of the present value expects, ordered by
	// time.
	Forecast []Sample
	// Sources is how each link is doing, in the order of the chain, the floor
	// last. Links of one name are one.
	Sources []Status

	floor *Sample // of any time; nil if there is none
}

// Sample is the intensity during [From, To).
type Sample struct {
	From, To  time.Time
	Intensity unit.Intensity
	Estimated bool
	Provider  string
	Updated   time.Time // when it was fetched; zero for what is built in
}

// Value is the intensity of a span of time.
type Value struct {
	Intensity unit.Intensity
	Provider  string    // who said the newest part of it
	Estimated bool      // by the provider, or because it is not of this time
	Updated   time.Time // when it was fetched; zero for what is built in
}

// Status is how a provider is doing.
type Status struct {
	Provider string
	Up       bool   // its last answer was one
	Requests uint64 // questions since the start
	Failures uint64 // that had no answer of use
	Success  time.Time
}

// Between returns the mean over [from, to), weighted by time; of an instant if
// the two are equal. It is false if nobody knows all of it.
func (s *State) Between(from, to time.Time) (Value, bool) {
	if !to.After(from) {
		v, _, ok := s.piece(from)
		return v, ok
	}
	var mean Value
	var hi, lo uint64
	for t := from; t.Before(to); {
		v, until, ok := s.piece(t)
		if !ok {
			return Value{}, false
		}
		if until.IsZero() || until.After(to) {
			until = to
		}
		if t.Equal(from) && until.Equal(to) {
			return v, true
		}
		h, l := bits.Mul64(uint64(v.Intensity), uint64(until.Sub(t)))
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi += h + carry
		v.Estimated = v.Estimated || mean.Estimated
		mean, t = v, until
	}
	span := uint64(to.Sub(from))
	lo, carry := bits.Add64(lo, span/2, 0) // to the nearest
	if hi += carry; hi >= span {
		return Value{}, false // not reached: no intensity is that large
	}
	q, _ := bits.Div64(hi, lo, span)
	mean.Intensity = unit.Intensity(q)
	return mean, true
}

// piece returns what holds at t and until when; a zero time is for ever.
func (s *State) piece(t time.Time) (v Value, until time.Time, ok bool) {
	at := sort.Search(len(s.Past), func(i int) bool { return s.Past[i].To.After(t) })
	if at < len(s.Past) {
		p := &s.Past[at]
		if !p.From.After(t) {
			return Value{p.Intensity, p.Provider, p.Estimated, p.Updated}, p.To, true
		}
		until = p.From
	}
	if at > 0 {
		p := &s.Past[at-1]
		if end := p.To.Add(Hold); end.After(t) {
			if !until.IsZero() && until.Before(end) {
				end = until
			}
			return Value{p.Intensity, p.Provider, true, p.Updated}, end, true
		}
	}
	if s.floor == nil {
		return Value{}, until, false
	}
	return Value{s.floor.Intensity, s.floor.Provider, s.floor.Estimated, time.Time{}}, until, true
}

// Expected returns what the intensity is forecast to be at t.
func (s *State) Expected(t time.Time) (unit.Intensity, bool) {
	at := sort.Search(len(s.Forecast), func(i int) bool { return s.Forecast[i].To.After(t) })
	if at == len(s.Forecast) || s.Forecast[at].From.After(t) {
		return 0, false
	}
	return s.Forecast[at].Intensity, true
}

// publish makes what is known by now the latest state.
func (w *Watch) publish(now time.Time) {
	var past []Sample
	for _, l := range slices.Backward(w.links) {
		past = overlay(past, l.samples)
	}
	if !slices.EqualFunc(past, w.past, func(a, b Sample) bool {
		return a.From.Equal(b.From) && a.To.Equal(b.To) && a.Intensity == b.Intensity
	}) {
		w.revised++
	}
	w.past = past
	s := &State{Zone: w.zone, Signal: w.signal, Factor: w.factor, Past: past, Revised: w.revised}
	if w.last >= 0 {
		s.Forecast = slices.DeleteFunc(slices.Clone(w.links[w.last].forecast), func(f Sample) bool { return !f.To.After(now) })
	}
	for _, l := range w.links {
		s.add(&l.status)
	}
	if w.floor != nil {
		s.floor = w.floor.value
		s.add(&w.floor.status)
	}
	w.state.Store(s)
}

// add puts a link's status to that of others of its name, such as two files:
// names are labels, and stand for one source each.
func (s *State) add(status *Status) {
	at := slices.IndexFunc(s.Sources, func(o Status) bool { return o.Provider == status.Provider })
	if at < 0 {
		s.Sources = append(s.Sources, *status)
		return
	}
	one := &s.Sources[at]
	one.Up = one.Up || status.Up
	one.Requests += status.Requests
	one.Failures += status.Failures
	if status.Success.After(one.Success) {
		one.Success = status.Success
	}
}
