package meter

import "slices"

// Coverage is the time in which any of many series was sampled. It keeps the
// ends of such times, not the samples. The zero Coverage needs MaxGap only; it
// must not be shared by goroutines.
type Coverage struct {
	MaxGap int64  // milliseconds; samples no further apart than this are one time
	spans  []Span // in the order of time, further apart than MaxGap
}

// Span is a time in milliseconds since 1970.
type Span struct{ From, To int64 }

// Add takes samples of one series in the order of time.
func (c *Coverage) Add(samples []Sample) {
	for i := 0; i < len(samples); {
		from := samples[i].T
		for i++; i < len(samples) && samples[i].T-samples[i-1].T <= c.MaxGap; i++ {
		}
		c.add(Span{from, samples[i-1].T})
	}
}

// add joins one span to those that are near.
func (c *Coverage) add(s Span) {
	first := 0
	for first < len(c.spans) && s.From-c.spans[first].To > c.MaxGap {
		first++
	}
	after := first
	for after < len(c.spans) && c.spans[after].From-s.To <= c.MaxGap {
		s = Span{min(s.From, c.spans[after].From), max(s.To, c.spans[after].To)}
		after++
	}
	c.spans = slices.Replace(c.spans, first, after, s)
}

// Silences returns the times of a window, longer than MaxGap in it, in which
// nothing was sampled. The first begins no earlier than the window, and the
// last ends no later; those between begin and end with a sample.
func (c *Coverage) Silences(window Grid) []Span {
	var out []Span
	before := window.Start
	for _, s := range append(slices.Clone(c.spans), Span{window.End(), window.End()}) {
		if min(s.From, window.End())-max(before, window.Start) > c.MaxGap {
			out = append(out, Span{before, s.From})
		}
		before = max(before, s.To)
	}
	return out
}
