package unit

import (
	"math"
	"testing"
	"time"
)

func TestAppendDecimal(t *testing.T) {
	f := func(v int64, places int, want string) {
		t.Helper()
		if got := string(AppendDecimal(nil, v, places)); got != want {
			t.Errorf("AppendDecimal(%d, %d) = %s, want %s", v, places, got, want)
		}
	}
	f(0, 6, "0")
	f(1, 6, "0.000001")
	f(1_500_000, 6, "1.5")
	f(-1_500_000, 6, "-1.5")
	f(2_000_000, 6, "2")
	f(math.MaxInt64, 6, "9223372036854.775807")
	f(math.MinInt64, 6, "-9223372036854.775808")
	f(123, 9, "0.000000123")
	f(42, 0, "42")
}

func TestPower(t *testing.T) {
	if got := (10 * Joule).Over(5 * time.Second); got != 2*Watt {
		t.Errorf("10 J over 5 s is %d µW", got)
	}
	if got := (-10 * Joule).Over(5 * time.Second); got != -2*Watt {
		t.Errorf("-10 J over 5 s is %d µW", got)
	}
	if got := Joule.Over(0); got != 0 {
		t.Errorf("energy over no time is %d µW", got)
	}
	if got := (400 * Watt).For(5 * time.Minute); got != 120_000*Joule {
		t.Errorf("400 W for 5 min is %d µJ", got)
	}
}

func TestMulDiv(t *testing.T) {
	f := func(a, b, c, want uint64) {
		t.Helper()
		if got := MulDiv(a, b, c); got != want {
			t.Errorf("MulDiv(%d, %d, %d) = %d, want %d", a, b, c, got, want)
		}
	}
	f(1<<62, 8, 16, 1<<61)
	f(7, 3, 2, 10)
	f(7, 3, 0, 0)
	f(math.MaxUint64, math.MaxUint64, 1, math.MaxInt64)
}
