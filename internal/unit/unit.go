// Package unit holds the quantities of Noether: whole microjoules, whole
// microwatts, and the arithmetic between them and time. It refuses to do
// anything with floating point: sums of these values are exact.
package unit

import (
	"math"
	"math/bits"
	"strconv"
	"time"
)

// Energy is an amount of energy in whole microjoules. An int64 holds 9.2 TJ.
type Energy int64

// Units of energy.
const (
	Microjoule Energy = 1
	Joule      Energy = 1_000_000
)

// Power is a rate of energy in whole microwatts.
type Power int64

// Units of power.
const (
	Microwatt Power = 1
	Watt      Power = 1_000_000
)

// Joules returns e as a floating-point number, for display only.
func (e Energy) Joules() float64 { return float64(e) / float64(Joule) }

// Watts returns p as a floating-point number, for display only.
func (p Power) Watts() float64 { return float64(p) / float64(Watt) }

// AppendJoules appends e in joules as an exact decimal without trailing zeros.
func (e Energy) AppendJoules(dst []byte) []byte { return AppendDecimal(dst, int64(e), 6) }

// AppendWatts appends p in watts as an exact decimal without trailing zeros.
func (p Power) AppendWatts(dst []byte) []byte { return AppendDecimal(dst, int64(p), 6) }

// Over returns the mean power of e spent in d, rounded towards zero; 0 when d is not positive.
func (e Energy) Over(d time.Duration) Power {
	if d <= 0 {
		return 0
	}
	if e < 0 {
		return -Power(MulDiv(uint64(-e), uint64(time.Second), uint64(d)))
	}
	return Power(MulDiv(uint64(e), uint64(time.Second), uint64(d)))
}

// For returns the energy of p lasting d, rounded towards zero; 0 when d is not positive.
func (p Power) For(d time.Duration) Energy {
	if d <= 0 {
		return 0
	}
	if p < 0 {
		return -Energy(MulDiv(uint64(-p), uint64(d), uint64(time.Second)))
	}
	return Energy(MulDiv(uint64(p), uint64(d), uint64(time.Second)))
}

// MulDiv returns a*b/c rounded down, with a 128-bit product. It saturates at
// the largest int64, and is 0 when c is 0.
func MulDiv(a, b, c uint64) uint64 {
	if c == 0 {
		return 0
	}
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, c)
	return min(q, math.MaxInt64)
}

// AppendDecimal appends v/10^places as an exact decimal without trailing
// zeros: AppendDecimal(nil, 1500000, 6) is "1.5". Places is at most 18.
func AppendDecimal(dst []byte, v int64, places int) []byte {
	u := uint64(v)
	if v < 0 {
		dst = append(dst, '-')
		u = -u
	}
	scale := uint64(1)
	for range places {
		scale *= 10
	}
	dst = strconv.AppendUint(dst, u/scale, 10)
	frac := u % scale
	if frac == 0 {
		return dst
	}
	dst = append(dst, '.')
	for scale /= 10; frac != 0; scale /= 10 {
		dst = append(dst, byte('0'+frac/scale))
		frac %= scale
	}
	return dst
}
