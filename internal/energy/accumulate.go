package energy

import (
	"time"

	"noether/internal/unit"
)

// settle is the time by which a value may be older or newer than its
// timestamp: RAPL counters move in steps of about a millisecond, and value and
// time are taken one after the other. Without it two reads in quick succession
// would look like an impossible power.
const settle = 20 * time.Millisecond

// Reason says why a zone has no datum for a tick, or only part of one.
type Reason uint8

// The reasons.
const (
	Counted     Reason = iota // nothing is missing
	NoBaseline                // there was no earlier reading to count from
	NotRead                   // it could not be read, or nobody read it
	Backwards                 // the counter or the clock went backwards, and not by wrapping
	Implausible               // it moved faster than the zone's largest power
	GapTooLong                // it may have wrapped more than once since the last read
	OutOfRange                // the reading is negative or above the zone's range
)

// String returns the reason for people.
func (r Reason) String() string {
	switch r {
	case Counted:
		return ""
	case NoBaseline:
		return "no earlier reading to count from"
	case NotRead:
		return "not read"
	case Backwards:
		return "went backwards"
	case Implausible:
		return "moved faster than is plausible"
	case GapTooLong:
		return "too long between two reads"
	default:
		return "out of range"
	}
}

// ZoneDelta is what one zone consumed in one tick.
type ZoneDelta struct {
	// Valid is set when Energy is a datum: at least one stretch between two
	// reads was counted. A counter that stood still is a valid 0.
	Valid bool
	// Complete is set when the whole tick was counted, from the last reading
	// of the tick before to the last one of this tick.
	Complete bool
	Why      Reason // what was lost, when not Complete

	Energy    unit.Energy
	Floor     unit.Energy // if Zone.Floor
	Low, High unit.Energy // if Zone.Band
}

// Accumulator turns readings into the energy of each zone and tick. It unwraps
// each counter by itself and believes nothing that cannot be: what cannot be
// counted is left out and said, never guessed, and never shows as a spike
// later. One goroutine uses it at a time; nothing is allocated after
// NewAccumulator.
type Accumulator struct {
	zones  []Zone
	meters []meter
}

type meter struct {
	base    Reading // valid if hasBase
	hasBase bool
	opened  bool       // hasBase when the tick began
	why     Reason     // first loss of this tick
	steps   int        // stretches counted in this tick
	sum     ZoneDelta  // their energy
	gauge   Integrator // of a Gauge
}

// NewAccumulator returns an accumulator without baselines. Reading.Zone
// indexes zones, which must not change afterwards.
func NewAccumulator(zones []Zone) *Accumulator {
	return &Accumulator{zones: zones, meters: make([]meter, len(zones))}
}

// Add counts the stretch from the zone's last reading to r, and makes r the
// new baseline. A zone may be read several times in a tick.
func (a *Accumulator) Add(r Reading) {
	z, m := &a.zones[r.Zone], &a.meters[r.Zone]
	if !inRange(z, &r) {
		m.lose(OutOfRange)
		return
	}
	if m.hasBase {
		if d, why := m.step(z, &r); why == Counted {
			m.sum.Energy += d.Energy
			m.sum.Floor += d.Floor
			m.sum.Low += d.Low
			m.sum.High += d.High
			m.steps++
		} else {
			m.lose(why)
		}
	}
	m.base, m.hasBase = r, true
}

// Fail says that a zone could not be read: its next reading is a new baseline.
func (a *Accumulator) Fail(zone int) { a.meters[zone].lose(NotRead) }

// Reset drops all baselines: after a suspend, or whenever counters and clock
// no longer belong together.
func (a *Accumulator) Reset() {
	for i := range a.meters {
		a.meters[i].lose(NoBaseline)
	}
}

// Take closes the tick: it appends one delta for each zone to dst, in the
// order of the zones. A zone that was neither read nor failed counts as failed.
func (a *Accumulator) Take(dst []ZoneDelta) []ZoneDelta {
	for i := range a.meters {
		dst = append(dst, a.meters[i].close())
	}
	return dst
}

func (m *meter) lose(why Reason) {
	m.hasBase = false
	if m.why == Counted {
		m.why = why
	}
}

func (m *meter) close() ZoneDelta {
	if m.steps == 0 && m.why == Counted {
		if m.opened {
			m.lose(NotRead)
		} else {
			m.why = NoBaseline
		}
	}
	if !m.opened && m.why == Counted {
		m.why = NoBaseline
	}
	d := m.sum
	d.Valid = m.steps > 0
	d.Complete = d.Valid && m.why == Counted
	d.Why = m.why
	m.sum, m.steps, m.why, m.opened = ZoneDelta{}, 0, Counted, m.hasBase
	return d
}

func inRange(z *Zone, r *Reading) bool {
	if z.Kind == Gauge {
		return r.Power >= 0 && (z.MaxPower == 0 || r.Power <= z.MaxPower)
	}
	return r.Energy >= 0 && (z.Range == 0 || r.Energy <= z.Range)
}

// step returns the energy between the baseline and r.
func (m *meter) step(z *Zone, r *Reading) (ZoneDelta, Reason) {
	elapsed := r.At - m.base.At
	if elapsed < 0 {
		return ZoneDelta{}, Backwards
	}
	if within := z.ReadWithin(); within > 0 && elapsed > within {
		return ZoneDelta{}, GapTooLong
	}
	var d ZoneDelta
	if z.Kind == Gauge {
		// The area of the trapezoid, as two rectangles.
		before := m.gauge.Energy
		m.gauge.Add(m.base.Power, elapsed/2)
		m.gauge.Add(r.Power, elapsed-elapsed/2)
		d.Energy = m.gauge.Energy - before
	} else {
		moved, why := move(z, m.base.Energy, r.Energy, elapsed)
		if why != Counted {
			return ZoneDelta{}, why
		}
		d.Energy = moved
	}
	if z.Floor {
		d.Floor = min(max(r.Floor-m.base.Floor, 0), d.Energy)
	}
	if z.Band {
		d.Low = min(max(r.Low-m.base.Low, 0), d.Energy)
		d.High = max(r.High-m.base.High, d.Energy)
	}
	return d, Counted
}

// move returns how far a counter went from one value to another.
func move(z *Zone, from, to unit.Energy, elapsed time.Duration) (unit.Energy, Reason) {
	plausible := func(e unit.Energy) bool {
		return z.MaxPower == 0 || e <= z.MaxPower.For(elapsed+settle)
	}
	if to >= from {
		if !plausible(to - from) {
			return 0, Implausible
		}
		return to - from, Counted
	}
	if z.Range == 0 {
		return 0, Backwards
	}
	if wrapped := z.Range - from + to + 1; plausible(wrapped) {
		return wrapped, Counted
	}
	return 0, Backwards
}
