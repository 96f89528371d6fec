package grid

import (
	"math"
	"strings"
	"testing"
	"time"
)

func at(hour float64) time.Time {
	return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(hour * float64(time.Hour)))
}

func TestMean(t *testing.T) {
	samples := []Sample{{From: at(0), To: at(1), Intensity: 100}, {From: at(1), To: at(2), Intensity: 0.1}, {From: at(4), To: at(6), Intensity: 300}}
	for name, c := range map[string]struct {
		from, to float64
		want     float64
		err      string
	}{
		"within one":             {1.25, 1.5, 0.1, ""},
		"all of one":             {0, 1, 100, ""},
		"two by their time":      {0.5, 2, (50 + 0.1) / 1.5, ""},
		"an instant":             {4, 4, 300, ""},
		"the end is not in it":   {6, 6, 0, "no value at 2024-01-01T06:00:00Z"},
		"an instant in a hole":   {3, 3, 0, "no value at 2024-01-01T03:00:00Z"},
		"before all":             {-1, 0.5, 0, "no value at 2023-12-31T23:00:00Z"},
		"past the end":           {5, 6.5, 0, "no value at 2024-01-01T06:00:00Z"},
		"across a hole":          {1.5, 5, 0, "no value at 2024-01-01T02:00:00Z"},
		"begins in a hole":       {3, 5, 0, "no value at 2024-01-01T03:00:00Z"},
		"ends where a hole does": {1, 2, 0.1, ""},
	} {
		got, err := Mean(samples, at(c.from), at(c.to))
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) || !math.IsNaN(got) {
				t.Errorf("%s: %v %v, want %s", name, got, err, c.err)
			}
		case err != nil || math.Abs(got-c.want) > 1e-12*c.want:
			t.Errorf("%s: %v %v, want %v", name, got, err, c.want)
		}
	}
	if _, err := Mean(nil, at(0), at(1)); err == nil {
		t.Error("a mean of nothing")
	}
}

func TestMeanOfPartsIsTheMeanOfTheWhole(t *testing.T) {
	var samples []Sample
	for i := range 48 {
		samples = append(samples, Sample{From: at(float64(i) / 2), To: at(float64(i+1) / 2), Intensity: float64(i*i%97) + 0.1})
	}
	whole, err := Mean(samples, at(0.3), at(23.3))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i := range 23 {
		part, err := Mean(samples, at(float64(i)+0.3), at(float64(i)+1.3))
		if err != nil {
			t.Fatal(err)
		}
		sum += part / 23
	}
	if math.Abs(sum-whole) > 1e-9 {
		t.Errorf("parts give %v, the whole %v", sum, whole)
	}
}

func TestCheck(t *testing.T) {
	for v, ok := range map[float64]bool{0: true, 30.1: true, Max: true, -1: false, Max + 1: false, math.Inf(1): false, math.NaN(): false} {
		if (Check(v) == nil) != ok {
			t.Errorf("%v: %v", v, Check(v))
		}
	}
}
