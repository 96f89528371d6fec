// Package window finds when to run something: the stretch of a forecast in
// which the mean carbon intensity is lowest. It is arithmetic of its arguments,
// in whole micrograms and milliseconds, so that equal windows are equal.
//
// It refuses to guess: a window with a time that no sample covers is no
// window, and a forecast that covers none is an error.
package window

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"noether/internal/grid"
	"noether/internal/unit"
)

// Bounds of what is asked. The longest keeps the sum of micrograms and
// milliseconds within an int64 at grid.Max.
const (
	MaxWithin = 30 * 24 * time.Hour
	MinLength = time.Second
	maxStarts = 1 << 20
)

// Ask is a question.
type Ask struct {
	From, To time.Time     // the window lies between these
	Length   time.Duration // of the window
	// Step is the distance between the starts that are tried, the first of
	// which is From. If 0 every start is: the best one begins or ends where a
	// sample does.
	Step time.Duration
}

// Check tells what is wrong with a question.
func (a *Ask) Check() error {
	switch within := a.To.Sub(a.From); {
	case a.Length < MinLength:
		return fmt.Errorf("a window of %s is too short: it has at least %s", a.Length, MinLength)
	case within > MaxWithin:
		return fmt.Errorf("%s is too far ahead: at most %s", within, MaxWithin)
	case within < a.Length:
		return fmt.Errorf("a window of %s does not fit into %s", a.Length, within)
	case a.Step < 0, a.Step > 0 && within/a.Step >= maxStarts:
		return fmt.Errorf("a step of %s is too short for %s", a.Step, within)
	}
	return nil
}

// Window is a stretch of time and the mean intensity of it, weighted by time.
type Window struct {
	From, To time.Time
	Mean     unit.Intensity
	// Estimated is set if any sample in it is.
	Estimated bool
}

// Result is what was found.
type Result struct {
	Best Window
	// Now is the window that begins at Ask.From; it is known unless the
	// samples leave a time of it out.
	Now      Window
	NowKnown bool
	// Covered is how much of the time asked for some sample covers.
	Covered time.Duration
}

// ErrNone is a forecast without a whole window.
var ErrNone = errors.New("the forecast covers no window of this length")

// piece is a sample within the question, in milliseconds from its beginning.
type piece struct {
	from, to  int64
	intensity unit.Intensity
	before    int64 // µg/kWh × ms of the pieces before it
	run       int   // pieces of one run touch each other
	estimated bool
}

// Find returns the window with the lowest mean; of equal ones the earliest.
// Samples are ordered by time and do not overlap.
func Find(samples []grid.Sample, ask Ask) (Result, error) {
	if err := ask.Check(); err != nil {
		return Result{}, err
	}
	f := finder{from: ask.From, length: ask.Length.Milliseconds(), end: ask.To.Sub(ask.From).Milliseconds()}
	if err := f.cut(samples); err != nil {
		return Result{}, err
	}
	var r Result
	for _, p := range f.pieces {
		r.Covered += time.Duration(p.to-p.from) * time.Millisecond
	}
	best := int64(-1)
	for _, start := range f.starts(ask.Step.Milliseconds()) {
		sum, ok := f.sum(start)
		if !ok {
			continue
		}
		if start == 0 {
			r.Now, r.NowKnown = f.window(start, sum), true
		}
		if best < 0 || sum < best {
			best, r.Best = sum, f.window(start, sum)
		}
	}
	if best < 0 {
		return r, ErrNone
	}
	return r, nil
}

type finder struct {
	from        time.Time
	length, end int64
	pieces      []piece
}

// whole rounds to milliseconds, so that what ends and what begins at one time still does.
func whole(d time.Duration) int64 { return d.Round(time.Millisecond).Milliseconds() }

func (f *finder) cut(samples []grid.Sample) error {
	for i := range samples {
		s := &samples[i]
		if err := grid.Check(s.Intensity); err != nil {
			return fmt.Errorf("the forecast at %s: %w", s.From.UTC().Format(time.RFC3339), err)
		}
		p := piece{
			from: max(whole(s.From.Sub(f.from)), 0), to: min(whole(s.To.Sub(f.from)), f.end),
			intensity: unit.IntensityOf(s.Intensity), estimated: s.Estimated,
		}
		if p.to <= p.from {
			continue
		}
		if n := len(f.pieces); n > 0 {
			last := &f.pieces[n-1]
			if p.from < last.to {
				return fmt.Errorf("the forecast has two values at %s", s.From.UTC().Format(time.RFC3339))
			}
			p.before = last.before + int64(last.intensity)*(last.to-last.from)
			p.run = last.run
			if p.from > last.to {
				p.run++
			}
		}
		f.pieces = append(f.pieces, p)
	}
	return nil
}

// starts returns what is tried, in the order of time. The mean over a window
// changes evenly while neither of its ends passes a boundary of samples, so
// that one of its lowest values is where one of them is at a boundary.
func (f *finder) starts(step int64) (starts []int64) {
	if step > 0 {
		for at := int64(0); at+f.length <= f.end; at += step {
			starts = append(starts, at)
		}
		return starts
	}
	starts = append(starts, 0)
	for i := range f.pieces {
		p := &f.pieces[i]
		starts = append(starts, p.from, p.from-f.length, p.to-f.length)
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	return slices.DeleteFunc(starts, func(at int64) bool { return at < 0 || at+f.length > f.end })
}

// at returns the piece that holds a time; the one that ends there if end is set.
func (f *finder) at(t int64, end bool) int {
	return sort.Search(len(f.pieces), func(i int) bool {
		if end {
			return f.pieces[i].to >= t
		}
		return f.pieces[i].to > t
	})
}

// sum returns µg/kWh × ms of the window that begins at start, and whether all of it is known.
func (f *finder) sum(start int64) (int64, bool) {
	first, last := f.at(start, false), f.at(start+f.length, true)
	if last >= len(f.pieces) || f.pieces[first].from > start || f.pieces[last].from >= start+f.length || f.pieces[first].run != f.pieces[last].run {
		return 0, false
	}
	a, b := &f.pieces[first], &f.pieces[last]
	return b.before + int64(b.intensity)*(start+f.length-b.from) - a.before - int64(a.intensity)*(start-a.from), true
}

func (f *finder) window(start, sum int64) Window {
	from := f.from.Add(time.Duration(start) * time.Millisecond)
	w := Window{From: from, To: from.Add(time.Duration(f.length) * time.Millisecond), Mean: unit.Intensity((sum + f.length/2) / f.length)}
	for i := f.at(start, false); i < len(f.pieces) && f.pieces[i].from < start+f.length; i++ {
		w.Estimated = w.Estimated || f.pieces[i].estimated
	}
	return w
}
