package unit

import (
	"math"
	"math/bits"
)

// Mass is an amount of CO2e in whole nanograms. An int64 holds 9,200 t.
type Mass int64

// Units of mass.
const (
	Nanogram Mass = 1
	Gram     Mass = 1_000_000_000
	Kilogram      = 1000 * Gram
)

// Grams returns m as a floating-point number, for display only.
func (m Mass) Grams() float64 { return float64(m) / float64(Gram) }

// AppendGrams appends m in grams as an exact decimal without trailing zeros.
func (m Mass) AppendGrams(dst []byte) []byte { return AppendDecimal(dst, int64(m), 9) }

// Intensity is the carbon intensity of electricity in whole micrograms of CO2e
// per kilowatt-hour, so that a provider's decimals are kept.
type Intensity int64

// IntensityOf returns the intensity nearest to a number of gCO2e/kWh.
func IntensityOf(gramsPerKWh float64) Intensity { return Intensity(math.Round(gramsPerKWh * 1e6)) }

// GramsPerKWh returns i as a floating-point number, for display only.
func (i Intensity) GramsPerKWh() float64 { return float64(i) / 1e6 }

// Ratio is a factor in whole parts per million.
type Ratio int64

// One is the ratio that changes nothing.
const One Ratio = 1_000_000

// RatioOf returns the ratio nearest to a number.
func RatioOf(x float64) Ratio { return Ratio(math.Round(x * 1e6)) }

// Float returns r as a floating-point number, for display only.
func (r Ratio) Float() float64 { return float64(r) / 1e6 }

// Money is an amount of some currency in whole billionths of its unit.
type Money int64

// Float returns m as a floating-point number, for display only.
func (m Money) Float() float64 { return float64(m) / 1e9 }

// Price is what a kilowatt-hour costs in whole billionths of a currency's
// unit. It may be negative.
type Price int64

// PriceOf returns the price nearest to a number of currency units per kWh.
func PriceOf(perKWh float64) Price { return Price(math.Round(perKWh * 1e9)) }

// Float returns p as a floating-point number, for display only.
func (p Price) Float() float64 { return float64(p) / 1e9 }

// Times returns p scaled by r, rounded towards zero.
func (p Power) Times(r Ratio) Power {
	if r <= 0 {
		return 0
	}
	if p < 0 {
		return -Power(MulDiv(uint64(-p), uint64(r), uint64(One)))
	}
	return Power(MulDiv(uint64(p), uint64(r), uint64(One)))
}

// Carry is what was too small for a whole unit when a rate was applied, and is
// added to the next amount: many small steps give what one large one would.
// The zero value is ready.
type Carry struct {
	rest uint64 // in [0, divisor)
	over uint64 // the divisor of rest
}

// Scale returns a*b*c/divisor rounded down, with the rest of the calls before
// it added and its own rest kept. All calls on one Carry have the same
// divisor, which is not 0. It saturates at the largest int64.
func (k *Carry) Scale(a, b, c, divisor uint64) uint64 {
	if k.over != divisor {
		k.rest, k.over = 0, divisor
	}
	hi, lo := bits.Mul64(a, b)
	// (hi:lo) * c, which fits 192 bits.
	top, mid := bits.Mul64(hi, c)
	carry, low := bits.Mul64(lo, c)
	mid, over := bits.Add64(mid, carry, 0)
	top += over
	low, over = bits.Add64(low, k.rest, 0)
	mid, over = bits.Add64(mid, 0, over)
	top += over
	if top != 0 || mid >= divisor {
		k.rest = 0
		return math.MaxInt64
	}
	q, rest := bits.Div64(mid, low, divisor)
	k.rest = rest
	return min(q, math.MaxInt64)
}
