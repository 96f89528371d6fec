package value

import "math"

// Pow is ECMAScript's Math.pow, which differs from IEEE's in that 1 to the
// power of infinity or NaN is NaN.
func Pow(x, y float64) float64 {
	if math.IsNaN(y) || math.IsInf(y, 0) && math.Abs(x) == 1 {
		return math.NaN()
	}
	return math.Pow(x, y)
}
