package meter

import (
	"math"
	"slices"
	"strings"
)

// Replicas reads several copies of one counter or gauge as one Series: at each
// time it follows the first copy, in the order of their keys, that has samples
// around that time no further apart than MaxGap. Where it changes from a copy
// that ended to another without overlap, the two are one counter.
type Replicas struct {
	s      *Series
	copies []*replica
	at     Sample // up to where everything is counted; valid if begun
	begun  bool
}

type replica struct {
	key     string
	samples []Sample // the last one before at, and all after
}

// NewReplicas returns replicas that are counted into s, which must be used for
// nothing else until the end.
func NewReplicas(s *Series) *Replicas { return &Replicas{s: s} }

// Add takes further samples of the copy named key, in the order of time.
func (r *Replicas) Add(key string, samples []Sample) error {
	i, found := slices.BinarySearchFunc(r.copies, key, func(c *replica, key string) int { return strings.Compare(c.key, key) })
	if !found {
		r.copies = slices.Insert(r.copies, i, &replica{key: key})
	}
	c := r.copies[i]
	for _, p := range samples {
		if n := len(c.samples); n > 0 && p.T <= c.samples[n-1].T {
			continue
		}
		// What is wrong with a sample is said by Add; a series of its own has the same eyes.
		if err := NewSeries(r.s.rule, Grid{Step: 1}, nil).Add(p); err != nil {
			return err
		}
		c.samples = append(c.samples, p)
	}
	return nil
}

// Advance counts up to horizon: all copies must have been given their samples
// up to MaxGap after it. The last call has the horizon math.MaxInt64.
func (r *Replicas) Advance(horizon int64) {
	if !r.begun {
		first := Sample{T: math.MaxInt64}
		for _, c := range r.copies {
			if len(c.samples) > 0 && c.samples[0].T < first.T {
				first = c.samples[0]
			}
		}
		if first.T == math.MaxInt64 {
			return
		}
		r.at, r.begun = first, true
		r.s.First, r.s.Last, r.s.Samples = first, first, 1
	}
	for r.at.T < horizon {
		a, b, ok := r.next()
		if !ok {
			break
		}
		r.s.pair(a, b, max(a.T, r.at.T), b.T)
		r.at = b
		r.s.Last = b
		r.s.Samples++
	}
	for _, c := range r.copies {
		behind := 0
		for behind+1 < len(c.samples) && c.samples[behind+1].T <= r.at.T {
			behind++
		}
		c.samples = c.samples[behind:]
	}
}

// next returns the two samples between which the density after r.at is read.
func (r *Replicas) next() (a, b Sample, ok bool) {
	wide := Sample{T: math.MaxInt64}
	var before Sample
	for _, c := range r.copies {
		i := slices.IndexFunc(c.samples, func(p Sample) bool { return p.T > r.at.T })
		if i < 0 {
			continue
		}
		p := c.samples[i]
		if i > 0 && p.T-c.samples[i-1].T <= r.s.rule.MaxGap {
			return c.samples[i-1], p, true
		}
		if p.T < wide.T {
			wide, before = p, r.at
			if i > 0 {
				before = c.samples[i-1]
			}
		}
	}
	return before, wide, wide.T != math.MaxInt64
}
