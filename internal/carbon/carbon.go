// Package carbon is the arithmetic from energy and hardware to CO2e and money:
// whole nanograms and whole billionths of a currency, the rest of every tick
// carried to the next, so that many short ticks give what one long one would.
//
// It refuses to know anything: not what the intensity is, nor whose energy it
// was, nor what time it is. It rounds nothing up, and what is not positive
// (energy, intensity, hardware) emits nothing; only a price may be negative.
package carbon

import (
	"time"

	"noether/internal/unit"
)

const (
	// µJ × parts per million × µg/kWh: a kWh is 3.6e12 µJ, a µg is 1e3 ng.
	perMass = 3_600_000_000_000_000
	// µJ × parts per million × 1e-9 of a currency per kWh.
	perMoney = 3_600_000_000_000_000_000
	// µJ × µg/kWh, where the ratio is applied already.
	perFacility = 3_600_000_000
)

// Operational turns energy into what making its electricity emitted. The zero
// value is ready; it is for one goroutine.
type Operational struct{ carry unit.Carry }

// Of returns the CO2e of e, which the site's PUE multiplies, at an intensity.
func (o *Operational) Of(e unit.Energy, pue unit.Ratio, i unit.Intensity) unit.Mass {
	if e <= 0 || i <= 0 {
		return 0
	}
	return unit.Mass(o.carry.Scale(uint64(e), uint64(atLeastOne(pue)), uint64(i), perMass))
}

// Embodied spreads what making a part of the hardware emitted evenly over its
// life. The zero value is ready; it is for one goroutine.
type Embodied struct{ carry unit.Carry }

// Of returns the CO2e of a tick of a part that emitted te when it was made and
// is used for lifetime.
func (m *Embodied) Of(te unit.Mass, elapsed, lifetime time.Duration) unit.Mass {
	if te <= 0 || elapsed <= 0 || lifetime <= 0 {
		return 0
	}
	return unit.Mass(m.carry.Scale(uint64(te), uint64(elapsed), 1, uint64(lifetime)))
}

// Money turns energy into what it costs. What is paid and what is earned, at a
// negative price, are kept apart. The zero value is ready; it is for one
// goroutine.
type Money struct{ cost, credit unit.Carry }

// Of returns the cost of e, which the site's PUE multiplies, or what it earns.
// At least one of the two is 0.
func (m *Money) Of(e unit.Energy, pue unit.Ratio, p unit.Price) (cost, credit unit.Money) {
	if e <= 0 {
		return 0, 0
	}
	k, size := &m.cost, uint64(p)
	if p < 0 {
		k, size = &m.credit, -uint64(p)
	}
	amount := unit.Money(k.Scale(uint64(e), uint64(atLeastOne(pue)), size, perMoney))
	if p < 0 {
		return 0, amount
	}
	return amount, 0
}

// Facility turns a machine's energy into the energy of the site. The zero
// value is ready; it is for one goroutine.
type Facility struct{ carry unit.Carry }

// Of returns e multiplied by the PUE.
func (f *Facility) Of(e unit.Energy, pue unit.Ratio) unit.Energy {
	if e <= 0 {
		return 0
	}
	return unit.Energy(f.carry.Scale(uint64(e), uint64(atLeastOne(pue)), 1, uint64(unit.One)))
}

// atLeastOne returns a PUE that can be one: a site does not use less than what
// is in it.
func atLeastOne(pue unit.Ratio) unit.Ratio { return max(pue, unit.One) }

// Reserved returns the embodied CO2e of a share of hardware for a while, as
// ISO/IEC 21031 (Software Carbon Intensity) has it: M = TE × TiR/EL × RR/ToR.
// The hardware emitted te when it was made and lasts lifetime; part of the
// whole of its resources are reserved. It is 0 if any of them is not positive.
func Reserved(te unit.Mass, reserved, lifetime time.Duration, part, whole uint64) unit.Mass {
	if te <= 0 || reserved <= 0 || lifetime <= 0 {
		return 0
	}
	return unit.Mass(unit.MulDiv(unit.MulDiv(uint64(te), part, whole), uint64(reserved), uint64(lifetime)))
}
