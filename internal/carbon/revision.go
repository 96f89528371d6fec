package carbon

import (
	"time"

	"noether/internal/unit"
)

const (
	bucket  = 5 * time.Minute // no provider known is finer
	buckets = int64(48 * time.Hour / bucket)
)

// Past is the intensity of a time that has gone.
type Past struct {
	From, To  time.Time
	Intensity unit.Intensity
}

// Revision remembers the energy of the last 48 hours and what was booked for
// it, and tells by how much that would be other if what is known by now had
// been known then. What has left the 48 hours stays as it was told last. The
// zero value is ready; it is for one goroutine.
type Revision struct {
	ring   [buckets]spell
	frozen unit.Mass // of what has left
	off    unit.Mass // of what is in the ring
	newest int64     // number of the last bucket that was added to
	stale  bool      // a bucket has been closed since Revise
}

// spell is what happened in one bucket.
type spell struct {
	number int64 // of five minutes since 1970
	energy unit.Energy
	booked unit.Mass
	off    unit.Mass
}

// Add notes that the site used e between two moments of the wall clock and
// that booked was booked for it. Energy is taken to be spread evenly.
func (r *Revision) Add(from, to time.Time, e unit.Energy, booked unit.Mass) {
	end := to.UnixNano()
	start := max(from.UnixNano(), end-buckets*int64(bucket))
	left := max(end-start, 0)
	for start < end {
		number := start / int64(bucket)
		next := min((number+1)*int64(bucket), end)
		part := uint64(next - start)
		some := unit.Energy(unit.MulDiv(uint64(max(e, 0)), part, uint64(left)))
		mass := unit.Mass(unit.MulDiv(uint64(max(booked, 0)), part, uint64(left)))
		s := r.spell(number)
		s.energy += some
		s.booked += mass
		e, booked, left, start = e-some, booked-mass, left-int64(part), next
	}
}

func (r *Revision) spell(number int64) *spell {
	s := &r.ring[((number%buckets)+buckets)%buckets]
	if s.number != number {
		r.frozen += s.off
		r.off -= s.off
		*s = spell{number: number}
	}
	if number != r.newest {
		r.newest, r.stale = number, true
	}
	return s
}

// Stale tells whether a bucket has been closed since Revise was called last.
func (r *Revision) Stale() bool { return r.stale }

// Revise compares all that is over by now and lies wholly in past, which is
// ordered by time, with what was booked.
func (r *Revision) Revise(past []Past, now time.Time) {
	r.stale = false
	if len(past) == 0 {
		return
	}
	first := max(past[0].From.UnixNano()/int64(bucket), r.newest-buckets+1)
	last := min(past[len(past)-1].To.UnixNano(), now.UnixNano()) / int64(bucket)
	var carry unit.Carry
	for number := first; number < last; number++ {
		s := &r.ring[((number%buckets)+buckets)%buckets]
		from := number * int64(bucket)
		for len(past) > 0 && past[0].To.UnixNano() <= from {
			past = past[1:]
		}
		if s.number != number || s.energy == 0 {
			continue
		}
		if i, ok := mean(past, from, from+int64(bucket)); ok {
			off := unit.Mass(carry.Scale(uint64(s.energy), uint64(i), 1, perFacility)) - s.booked
			r.off += off - s.off
			s.off = off
		}
	}
}

// mean returns the intensity between two moments, in nanoseconds since 1970,
// and whether all of the time between is known.
func mean(past []Past, from, to int64) (unit.Intensity, bool) {
	var sum, known int64 // in milliseconds: the product fits
	for i := range past {
		start, end := max(past[i].From.UnixNano(), from), min(past[i].To.UnixNano(), to)
		if start >= to {
			break
		}
		if start < end {
			ms := (end - start) / int64(time.Millisecond)
			sum += int64(max(past[i].Intensity, 0)) * ms
			known += ms
		}
	}
	if known == 0 || known != (to-from)/int64(time.Millisecond) {
		return 0, false
	}
	return unit.Intensity(sum / known), true
}

// Off returns by how much all that was booked since the start would be other.
func (r *Revision) Off() unit.Mass { return r.frozen + r.off }
