package store

import "time"

// The rule of time. Samples have the times of snapshots, which are wall clock,
// and the database takes a series only forwards. So a time is believed at once
// when it is after the last sample and agrees with the monotonic clock; after
// that every other needs to be told by three writes in a row that agree with
// each other. Then a jump forwards is followed. A jump backwards is waited for
// if it is short, and else the samples that lie in its future are cut away. At
// the start it is waited for longer: a machine whose clock has no battery begins
// in the past, and is told the time when its network is up.
const (
	// leap is by how much the wall clock may get ahead of the monotonic one
	// between two writes and be believed at once: corrections by NTP, short naps.
	leap = 10 * time.Minute
	// patience is the longest time without samples after a jump backwards.
	patience = 10 * time.Minute
	// unset is how long a clock that is behind the history at the start may take
	// to be set.
	unset = time.Hour
	// witnesses is how many writes have to agree on another time.
	witnesses = 3
)

// verdict is what to do with a snapshot.
type verdict uint8

const (
	early verdict = iota // it is not time for a sample
	doubt                // its time is not believed yet, or waited for
	take                 // write it, at the time returned
	cut                  // all that is after its time has to go, before it is written
)

// clock decides when samples are written, and at which time. It is used by one goroutine.
type clock struct {
	interval time.Duration
	retain   time.Duration

	last time.Time // of the newest sample; zero if there is none
	mono time.Time // what the monotonic clock said then; zero if the sample is of another run
	grid time.Time // a time on the present grid of this run; zero before its first sample
	slot int64     // of the last sample on the grid

	behind time.Time // what the monotonic clock said when a time before the last sample was first told at the start

	other struct { // a time that is not believed yet
		at, mono time.Time
		told     int
	}
}

// judge returns what to do with a snapshot taken at t after a tick of length
// tick, where the monotonic clock says mono. Nothing is settled before took.
func (c *clock) judge(t, mono time.Time, tick time.Duration) (verdict, time.Time) {
	if c.believes(t, mono) {
		c.other.told = 0
		return c.place(t, tick)
	}
	o := &c.other
	if since := mono.Sub(o.mono); o.told > 0 && since < c.interval-min(tick, c.interval)/2 {
		return early, time.Time{} // one witness each interval
	} else if off := t.Sub(o.at) - since; o.told == 0 || off < -c.interval || off > c.interval {
		o.told = 0
	}
	o.at, o.mono = t, mono
	if o.told++; o.told < witnesses {
		return doubt, time.Time{}
	}
	if c.mono.IsZero() && c.behind.IsZero() {
		c.behind = mono
	}
	switch {
	case t.After(c.last):
		return take, t
	case c.last.Sub(t) <= patience, c.mono.IsZero() && mono.Sub(c.behind) < unset:
		o.told = witnesses - 1 // the same answer until it is after the last sample
		return doubt, time.Time{}
	default:
		return cut, t
	}
}

func (c *clock) believes(t, mono time.Time) bool {
	switch {
	case c.last.IsZero():
		return true
	case !t.After(c.last):
		return false
	case c.mono.IsZero():
		// The agent did not run. A time so late that everything would be deleted
		// is asked about.
		return t.Sub(c.last) < c.retain
	default:
		return t.Sub(c.last)-mono.Sub(c.mono) <= leap
	}
}

// place returns the time on the grid of a snapshot of time t: the one nearest
// to each interval is taken, and put on the grid if it is within a hundredth of
// the interval: times at equal distances take next to no room.
func (c *clock) place(t time.Time, tick time.Duration) (verdict, time.Time) {
	if c.grid.IsZero() {
		return take, t
	}
	since := t.Sub(c.grid)
	if slot := int64((since + min(tick, c.interval)/2) / c.interval); slot <= c.slot {
		return early, time.Time{}
	}
	nearest := c.grid.Add(since.Round(c.interval))
	if off := t.Sub(nearest); off <= c.interval/100 && off >= -c.interval/100 && nearest.After(c.last) {
		return take, nearest
	}
	return take, t
}

// took settles that a sample was written at t.
func (c *clock) took(t, mono time.Time) {
	if since := t.Sub(c.grid); c.grid.IsZero() || since%c.interval != 0 {
		c.grid, c.slot = t, 0
	} else {
		c.slot = int64(since / c.interval)
	}
	c.last, c.mono, c.other.told = t, mono, 0
}
