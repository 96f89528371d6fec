package unit

import (
	"math"
	"testing"
)

func TestCarryLosesNothing(t *testing.T) {
	// 1 µJ at 1.135 and 415.755 g/kWh is 0.131 ng: a million of them is what one joule gives.
	const divisor = 3_600_000_000_000_000
	var small, large Carry
	sum := uint64(0)
	for range 1_000_000 {
		sum += small.Scale(1, 1_135_000, 415_755_000, divisor)
	}
	if want := large.Scale(1_000_000, 1_135_000, 415_755_000, divisor); sum != want || want != 131_078 {
		t.Errorf("a million steps give %d ng, one of the same size %d, want 131078", sum, want)
	}
}

func TestScaleIsWide(t *testing.T) {
	var k Carry
	// 30 kW for five minutes in dirty electricity: the product does not fit 64 bits.
	if got := k.Scale(9_000_000_000_000, 3_000_000, 3_000_000_000, 3_600_000_000_000_000); got != 22_500_000_000_000 {
		t.Errorf("%d ng, want 22500000000000", got)
	}
	if got := k.Scale(math.MaxUint64, math.MaxUint64, math.MaxUint64, 1); got != math.MaxInt64 {
		t.Errorf("%d, want the largest", got)
	}
}

func TestTimes(t *testing.T) {
	if got := (100 * Watt).Times(RatioOf(1.135)); got != 113_500_000 {
		t.Errorf("%d µW", got)
	}
	if got := (-100 * Watt).Times(RatioOf(1.135)); got != -113_500_000 {
		t.Errorf("%d µW", got)
	}
}
