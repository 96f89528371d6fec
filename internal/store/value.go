package store

import (
	"math"
	"strings"

	"noether/internal/export"
)

// quantumOf returns what the values of f are rounded to whole multiples of in
// the history, 0 for those that are exact. The database stores by how many bits
// a value differs from the one before, and a decimal fraction differs in all of
// them: exact counters take more than three times the room. A power of two has
// few bits to differ in. Totals are rounded, not what is added to them, so the
// error of any sum over time is that of its two ends.
func quantumOf(f *export.Family) float64 {
	switch {
	case f.Type != export.Counter:
		return 0
	case f.Unit == "joules":
		return 1. / (1 << 10) // a millijoule
	case f.Unit == "seconds":
		return 1. / (1 << 7) // 8 ms, of CPU time
	case f.Unit == "grams":
		return 1. / (1 << 17) // 8 micrograms: of 70 mJ at 400 g/kWh
	case strings.HasSuffix(f.Name, "_energy_cost_total"), strings.HasSuffix(f.Name, "_energy_credit_total"):
		return 1. / (1 << 24) // 0.06 millionths: the price of a joule at 0.2 per kWh
	default:
		return 0
	}
}

// float returns the value as it is stored.
func (f *family) float(v export.Value) float64 {
	x := float64(v.N) / math.Pow10(v.Places)
	if f.quantum == 0 {
		return x
	}
	return math.Round(x/f.quantum) * f.quantum
}
