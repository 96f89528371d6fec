package energy

import (
	"math/bits"
	"time"

	"noether/internal/unit"
)

// Integrator adds up power over time in whole microjoules and keeps the
// fraction, so that any number of small steps gives the same energy as one
// large one. The zero value is ready.
type Integrator struct {
	Energy unit.Energy
	rest   uint64 // microwatt-nanoseconds, below one microjoule
}

// Add adds p lasting d. Negative power or time adds nothing.
func (i *Integrator) Add(p unit.Power, d time.Duration) {
	if p <= 0 || d <= 0 {
		return
	}
	const microjoule = uint64(time.Second)
	hi, lo := bits.Mul64(uint64(p), uint64(d))
	lo, carry := bits.Add64(lo, i.rest, 0)
	hi += carry
	if hi >= microjoule {
		return // more than an int64 of energy in one step
	}
	var whole uint64
	whole, i.rest = bits.Div64(hi, lo, microjoule)
	if sum := i.Energy + unit.Energy(whole); sum >= i.Energy {
		i.Energy = sum
	}
}
