// Package meter turns the raw samples of counters and gauges into amounts per
// step of a window. It is arithmetic alone: it asks nobody and knows no metric.
//
// Amounts are integrals of a density that depends on the samples only, never
// on the window: between two samples of a counter the difference is spread
// evenly, between two samples of a gauge the value moves in a straight line.
// So the amounts of adjacent windows add up to that of the whole, and so do
// those of steps. Nothing is extrapolated: what lies before the first or after
// the last sample is not counted, with one exception, see Series.FromZero.
//
// A counter that falls has begun again at 0. Where two samples of a counter lie
// further apart than Rule.MaxGap their difference is laid over the last MaxGap
// before the second: the sum stays exact, and a window's reader need look no
// further than MaxGap beyond it. Gauges are not integrated over such a gap.
package meter

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Sample is a value at a time in milliseconds since 1970.
type Sample struct {
	T int64
	V float64
}

// Grid is a window cut into steps. Times are milliseconds since 1970.
type Grid struct {
	Start, Step int64
	N           int // steps
}

// End returns the end of the last step.
func (g Grid) End() int64 { return g.Start + int64(g.N)*g.Step }

// Bins collect amounts per step, usually of several series.
type Bins struct {
	Amount  []float64 // counters: as they count; gauges: value × seconds
	Seconds []float64 // time covered, summed over series
	Seen    []bool    // something was counted in the step, be it 0
}

// NewBins returns empty bins for n steps.
func NewBins(n int) *Bins {
	return &Bins{make([]float64, n), make([]float64, n), make([]bool, n)}
}

// Kind tells counters from gauges.
type Kind uint8

// The kinds.
const (
	Counter Kind = iota
	Gauge
)

// Rule says how samples are read.
type Rule struct {
	Kind   Kind
	MaxGap int64 // milliseconds, > 0
	// Wraps says that a counter which falls did not begin again at 0 but lost
	// an unknown amount, as a sum of hardware counters does when one of them
	// wraps. The rate before is taken to have gone on.
	Wraps bool
}

// gapFactor is how many intervals without a sample are a gap worth a report:
// one scrape may fail, two in a row are an outage.
const gapFactor = 3

// Gap is a time without samples.
type Gap struct {
	From, To int64
	Amount   float64 // what a counter counted in it; NaN for a gauge over more than MaxGap: not counted
	Fell     bool    // a counter began again at 0 in it: what it had counted until then is lost
}

// Series reads the samples of one counter or gauge in the order of time. It
// must not be shared by goroutines; series of one group share Bins.
type Series struct {
	rule Rule
	grid Grid
	into *Bins

	// Interval is the usual time between samples in milliseconds, 0 while
	// unknown; it decides what is reported as a gap and nothing else.
	Interval int64
	Gaps     []Gap  // those that touch the window
	Falls    int    // falls of a counter in the window
	First    Sample // valid if Samples > 0
	Last     Sample
	Samples  int

	rate float64 // of a counter, per millisecond, between the last two samples; NaN if unknown
}

// NewSeries returns a series that adds what it counts to into.
func NewSeries(rule Rule, grid Grid, into *Bins) *Series {
	return &Series{rule: rule, grid: grid, into: into, rate: math.NaN()}
}

// Add takes the next sample. One that is not later than the last is ignored:
// requests overlap at their edges.
func (s *Series) Add(p Sample) error {
	if math.IsNaN(p.V) || math.IsInf(p.V, 0) || s.rule.Kind == Counter && p.V < 0 {
		return fmt.Errorf("the sample at %s is %v", Clock(p.T), p.V)
	}
	if s.Samples > 0 {
		if p.T <= s.Last.T {
			return nil
		}
		s.pair(s.Last, p, s.Last.T, p.T)
	} else {
		s.First = p
	}
	s.Last = p
	s.Samples++
	return nil
}

// Born reports whether the series began inside the window, as far as its
// samples tell.
func (s *Series) Born() bool { return s.Samples > 0 && s.First.T > s.grid.Start }

// FromZero counts the first sample of a counter from 0, at the time of that sample.
func (s *Series) FromZero() {
	if i := s.First.T - s.grid.Start; i > 0 && s.First.T <= s.grid.End() {
		at := int((i - 1) / s.grid.Step) // a sample at the edge of two steps ends the first
		s.into.Amount[at] += s.First.V
		s.into.Seen[at] = true
	}
}

// After counts the first sample of a counter from an earlier value, of a time
// unknown but more than MaxGap before.
func (s *Series) After(before float64) {
	a := Sample{s.First.T - s.rule.MaxGap - 1, before}
	s.rate = math.NaN()
	s.pair(a, s.First, a.T, s.First.T)
}

// pair counts the part from…to of what lies between two samples.
func (s *Series) pair(a, b Sample, from, to int64) {
	length := b.T - a.T
	var amount float64
	if s.rule.Kind == Counter {
		amount = s.delta(a, b)
		s.rate = amount / float64(length)
		if from > a.T {
			amount *= float64(b.T-from) / float64(length)
		}
		from = max(from, b.T-s.rule.MaxGap)
		s.spread(amount, from, b.T, to)
	} else if length <= s.rule.MaxGap {
		amount = s.integrate(a, b, from, to)
	} else {
		amount = math.NaN()
	}
	fell := s.rule.Kind == Counter && !s.rule.Wraps && b.V < a.V
	long := s.Interval > 0 && length > gapFactor*s.Interval || fell && length > s.rule.MaxGap
	if long && a.T < s.grid.End() && b.T > s.grid.Start {
		s.Gaps = append(s.Gaps, Gap{a.T, b.T, amount, fell})
	}
}

func (s *Series) delta(a, b Sample) float64 {
	if b.V >= a.V {
		return b.V - a.V
	}
	if a.T < s.grid.End() && b.T > s.grid.Start {
		s.Falls++
	}
	if !s.rule.Wraps {
		return b.V
	}
	if math.IsNaN(s.rate) {
		return 0
	}
	return s.rate * float64(b.T-a.T)
}

// spread lays amount evenly over from…end and counts what lies before to.
func (s *Series) spread(amount float64, from, end, to int64) {
	lo, hi := max(from, s.grid.Start), min(to, s.grid.End())
	if lo >= hi {
		return
	}
	length := float64(end - from)
	for i := int((lo - s.grid.Start) / s.grid.Step); lo < hi; i++ {
		next := min(hi, s.grid.Start+int64(i+1)*s.grid.Step)
		part := amount
		if lo != from || next != end {
			part = float64(amount * (float64(next-lo) / length))
		}
		s.into.Amount[i] += part
		s.into.Seconds[i] += float64(next-lo) / 1000
		s.into.Seen[i] = true
		lo = next
	}
}

// integrate counts a straight line from a to b between from and to, in value ×
// seconds, and returns the whole of it.
func (s *Series) integrate(a, b Sample, from, to int64) float64 {
	lo, hi := max(from, s.grid.Start), min(to, s.grid.End())
	slope := (b.V - a.V) / float64(b.T-a.T)
	at := func(t int64) float64 {
		if t == b.T {
			return b.V
		}
		return a.V + float64(slope*float64(t-a.T))
	}
	if lo < hi {
		for i := int((lo - s.grid.Start) / s.grid.Step); lo < hi; i++ {
			next := min(hi, s.grid.Start+int64(i+1)*s.grid.Step)
			seconds := float64(next-lo) / 1000
			s.into.Amount[i] += float64((at(lo) + at(next)) / 2 * seconds)
			s.into.Seconds[i] += seconds
			s.into.Seen[i] = true
			lo = next
		}
	}
	return (a.V + b.V) / 2 * float64(b.T-a.T) / 1000
}

// Interval returns the median time between samples, 0 for fewer than three.
func Interval(samples []Sample) int64 {
	if len(samples) < 3 {
		return 0
	}
	between := make([]int64, 0, len(samples)-1)
	for i, p := range samples[1:] {
		between = append(between, p.T-samples[i].T)
	}
	slices.Sort(between)
	return between[len(between)/2]
}

// Merge returns the samples of several lists, which may be unsorted, in the
// order of time. Of samples at one time it keeps the largest: a counter that is
// seen twice has not gone back.
func Merge(lists ...[]Sample) []Sample {
	var out []Sample
	for _, l := range lists {
		out = append(out, l...)
	}
	slices.SortStableFunc(out, func(a, b Sample) int { return cmp.Compare(a.T, b.T) })
	kept := out[:0]
	for _, p := range out {
		if n := len(kept); n > 0 && kept[n-1].T == p.T {
			if !(p.V <= kept[n-1].V) { // NaN stays, and is found
				kept[n-1] = p
			}
			continue
		}
		kept = append(kept, p)
	}
	return kept
}

// Clock writes a time in milliseconds since 1970 for people.
func Clock(t int64) string {
	at := time.UnixMilli(t).UTC()
	if t%1000 == 0 {
		return at.Format("2006-01-02T15:04:05Z")
	}
	return at.Format("2006-01-02T15:04:05.000Z")
}
