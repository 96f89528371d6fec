package value_test

import (
	"math"
	"math/big"
	"testing"

	"noether/internal/impact/value"
)

func TestWholePowersOfWholeNumbersAreExact(t *testing.T) {
	for x := int64(-20); x <= 20; x++ {
		for n := int64(0); n <= 40; n++ {
			exact := new(big.Int).Exp(big.NewInt(x), big.NewInt(n), nil)
			if exact.BitLen() > 53 {
				break
			}
			want, _ := new(big.Float).SetInt(exact).Float64()
			if got := value.Pow(float64(x), float64(n)); got != want {
				t.Errorf("Pow(%d, %d) = %v, want %v", x, n, got, want)
			}
		}
	}
}

func TestPowIsWithinOneUnitInTheLastPlace(t *testing.T) {
	for i := 1; i < 2000; i++ {
		x := float64(i) * 0.0371
		for _, n := range []int{3, 5, 7, 11} {
			exact := big.NewFloat(1).SetPrec(2000)
			for range n {
				exact.Mul(exact, big.NewFloat(x))
			}
			want, _ := exact.Float64()
			got := value.Pow(x, float64(n))
			if math.Abs(got-want) > math.Nextafter(want, math.Inf(1))-want {
				t.Errorf("Pow(%v, %d) = %v, want %v", x, n, got, want)
			}
			if back := value.Pow(x, -float64(n)); math.Abs(back*want-1) > 4e-16 {
				t.Errorf("Pow(%v, %d) × Pow(%v, %d) = %v", x, -n, x, n, back*want)
			}
		}
	}
}

func TestPowAtTheEdges(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct{ x, y, want float64 }{
		{0, -1, inf},
		{0, 0, 1},
		{nan, 0, 1},
		{1, inf, nan},
		{-1, -inf, nan},
		{1, nan, nan},
		{2, inf, inf},
		{-2, 0.5, nan},
		{-8, 3, -512},
		{2, 1024, inf},
		{-2, 1025, -inf},
		{2, -1074, 5e-324},
		{2, -1076, 0},
		{2, 0.5, math.Sqrt2},
		{10, -2, 0.01},
		{4, 1.5, 8},
		{5e-324, 0.5, math.Sqrt(5e-324)},
		{5e-324, 2, 0},
	} {
		got := value.Pow(c.x, c.y)
		if got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("Pow(%v, %v) = %v, want %v", c.x, c.y, got, c.want)
		}
	}
}
