package fixed

import (
	"math"
	"testing"
	"time"

	"noether/internal/grid"
)

func TestNumber(t *testing.T) {
	p, err := New(Options{Intensity: 12.5})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Info(), (grid.Info{Name: "fixed", Signal: grid.Average, Factor: grid.Lifecycle}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	now := time.Date(2026, 8, 21, 10, 0, 0, 0, time.UTC)
	samples, err := p.Intensity(t.Context(), "anywhere", now.Add(-time.Hour), now)
	if err != nil {
		t.Fatal(err)
	}
	if mean, err := grid.Mean(samples, now.Add(-time.Hour), now); err != nil || mean != 12.5 {
		t.Errorf("%v %v", mean, err)
	}
	if s, err := p.Latest(t.Context(), "anywhere"); err != nil || s.Intensity != 12.5 || !s.To.After(now) || s.Estimated {
		t.Errorf("%+v %v", s, err)
	}
}

func TestNoIntensity(t *testing.T) {
	for _, v := range []float64{0, -1, 1e9, math.NaN(), math.Inf(1)} {
		if p, err := New(Options{Intensity: v}); err == nil {
			t.Errorf("%v gives %+v", v, p)
		}
	}
}
