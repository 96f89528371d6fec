package window

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
	"noether/internal/unit"
)

func at(hour float64) time.Time {
	return time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC).Add(time.Duration(hour * float64(time.Hour)))
}

// hourly returns samples of one hour each from at(0) on; NaN leaves a hole.
func hourly(values ...float64) (samples []grid.Sample) {
	for i, v := range values {
		if !math.IsNaN(v) {
			samples = append(samples, grid.Sample{From: at(float64(i)), To: at(float64(i + 1)), Intensity: v})
		}
	}
	return samples
}

func hours(h float64) time.Duration { return time.Duration(h * float64(time.Hour)) }

func TestFind(t *testing.T) {
	hole := math.NaN()
	for name, c := range map[string]struct {
		samples      []grid.Sample
		from, to     float64
		length, step float64
		start, mean  float64
		now          float64 // NaN: not known
	}{
		"one lowest hour":                       {hourly(300, 200, 100, 250), 0, 4, 1, 0, 2, 100, 300},
		"two hours take the cheaper neighbour":  {hourly(300, 200, 100, 250), 0, 4, 2, 0, 1, 150, 250},
		"partly over a neighbour":               {hourly(300, 200, 100, 250), 0, 4, 1.5, 0, 1.5, (0.5*200 + 100) / 1.5, (300 + 100.0) / 1.5},
		"a valley shorter than the window":      {hourly(300, 100, 300, 300), 0, 4, 2, 0, 0, 200, 200},
		"equal ones: the earliest":              {hourly(200, 200, 200), 0.25, 3, 1, 0, 0.25, 200, 200},
		"begins in the middle of a sample":      {hourly(100, 300, 300), 0.5, 3, 1, 0, 0.5, 200, 200},
		"ends in the middle of a sample":        {hourly(300, 300, 100), 0, 2.5, 1, 0, 1.5, 200, 300},
		"the whole":                             {hourly(300, 100), 0, 2, 2, 0, 0, 200, 200},
		"steps see only their own starts":       {hourly(300, 200, 100, 250), 0.5, 4, 1, 1, 1.5, 150, 250},
		"a hole is in no window":                {hourly(300, 10, hole, 10, 300), 0, 5, 2, 0, 0, 155, 155},
		"now in a hole":                         {hourly(hole, 300, 200), 0, 3, 1, 0, 2, 200, hole},
		"now reaches into a hole":               {hourly(300, hole, 200, 100), 0, 4, 2, 0, 2, 150, hole},
		"samples before and after do not count": {hourly(1, 300, 200, 1), 1, 3, 1, 0, 2, 200, 300},
		"zero is a value":                       {hourly(300, 0, 0), 0, 3, 1, 0, 1, 0, 300},
	} {
		got, err := Find(c.samples, Ask{at(c.from), at(c.to), hours(c.length), hours(c.step)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := Window{From: at(c.start), To: at(c.start + c.length), Mean: unit.IntensityOf(c.mean)}
		if diff := cmp.Diff(want, got.Best); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if got.NowKnown == math.IsNaN(c.now) || got.NowKnown && got.Now.Mean != unit.IntensityOf(c.now) {
			t.Errorf("%s: now is %v %v, want %v", name, got.NowKnown, got.Now.Mean, c.now)
		}
	}
}

func TestEstimatedIfAnyOfItIs(t *testing.T) {
	samples := hourly(100, 200, 300)
	samples[1].Estimated = true
	got, err := Find(samples, Ask{at(0), at(3), hours(1.5), 0})
	if err != nil || !got.Best.Estimated || got.Covered != hours(3) {
		t.Error(got, err)
	}
	if got, err = Find(samples, Ask{at(0), at(3), hours(1), 0}); err != nil || got.Best.Estimated {
		t.Error(got, err)
	}
}

func TestWhatIsNoQuestion(t *testing.T) {
	for name, c := range map[string]struct {
		samples []grid.Sample
		ask     Ask
		want    string
	}{
		"too short":       {nil, Ask{at(0), at(1), time.Millisecond, 0}, "too short"},
		"too long":        {nil, Ask{at(0), at(1), hours(2), 0}, "does not fit"},
		"too far":         {nil, Ask{at(0), at(24 * 40), hours(2), 0}, "too far"},
		"turned round":    {nil, Ask{at(3), at(1), hours(1), 0}, "does not fit"},
		"negative step":   {nil, Ask{at(0), at(2), hours(1), -1}, "step"},
		"a million steps": {nil, Ask{at(0), at(24 * 20), hours(1), time.Second}, "step"},
		"nothing":         {nil, Ask{at(0), at(2), hours(1), 0}, ErrNone.Error()},
		"only holes":      {hourly(1, math.NaN(), 1), Ask{at(0), at(3), hours(2), 0}, ErrNone.Error()},
		"absurd":          {hourly(1, -5), Ask{at(0), at(2), hours(1), 0}, "no carbon intensity"},
		"overlap":         {append(hourly(1), hourly(2)...), Ask{at(0), at(1), hours(1), 0}, "two values"},
	} {
		if _, err := Find(c.samples, c.ask); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// Against the plain way: every start at every minute, by grid.Mean.
func TestAgainstTheMean(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var samples []grid.Sample
		for minute := 0; minute < 600; {
			n := 5 * (1 + r.IntN(12))
			if r.IntN(10) > 0 {
				samples = append(samples, grid.Sample{From: at(float64(minute) / 60), To: at(float64(minute+n) / 60), Intensity: float64(r.IntN(800))})
			}
			minute += n
		}
		length := time.Duration(5*(1+r.IntN(40))) * time.Minute
		ask := Ask{From: at(0), To: at(10), Length: length}
		lowest, start := math.Inf(1), time.Time{}
		for m := at(0); !m.Add(length).After(ask.To); m = m.Add(time.Minute) {
			if mean, err := grid.Mean(samples, m, m.Add(length)); err == nil && mean < lowest-1e-9 {
				lowest, start = mean, m
			}
		}
		got, err := Find(samples, ask)
		if math.IsInf(lowest, 1) {
			if !errors.Is(err, ErrNone) {
				t.Fatal(got, err)
			}
			continue
		}
		if err != nil || math.Abs(got.Best.Mean.GramsPerKWh()-lowest) > 1e-6 || !got.Best.From.Equal(start) {
			t.Fatalf("%v %v, want %v at %v", got.Best, err, lowest, start)
		}
	}
}

// Whatever is asked, the best window lies where it may, has no time without a
// value, and is not worse than beginning now.
func FuzzFind(f *testing.F) {
	f.Add(int64(0), int64(3600), int64(86400), int64(0), []byte{100, 50, 0, 200})
	f.Add(int64(-90), int64(5400), int64(7200), int64(60), []byte{255, 1, 1})
	f.Add(int64(1), int64(1), int64(1), int64(1), []byte{})
	f.Fuzz(func(t *testing.T, offset, length, within, step int64, values []byte) {
		for _, v := range []int64{offset, length, within, step} {
			if v > 1<<31 || v < -1<<31 {
				return
			}
		}
		var samples []grid.Sample
		for i, v := range values[:min(len(values), 200)] {
			if v > 0 { // 0 is a hole
				from := at(0).Add(time.Duration(offset+int64(i)*1800) * time.Second)
				samples = append(samples, grid.Sample{From: from, To: from.Add(30 * time.Minute), Intensity: float64(v)})
			}
		}
		ask := Ask{From: at(0), To: at(0).Add(time.Duration(within) * time.Second), Length: time.Duration(length) * time.Second, Step: time.Duration(step) * time.Second}
		if step > 0 && within/step > 10_000 {
			return // slow, and nothing new
		}
		got, err := Find(samples, ask)
		if err != nil {
			return
		}
		mean, err := grid.Mean(samples, got.Best.From, got.Best.To)
		if err != nil || math.Abs(mean-got.Best.Mean.GramsPerKWh()) > 1e-5 {
			t.Errorf("%+v, want %v %v", got.Best, mean, err)
		}
		if got.Best.From.Before(ask.From) || got.Best.To.After(ask.To) || got.NowKnown && got.Now.Mean < got.Best.Mean {
			t.Errorf("%+v for %+v", got, ask)
		}
	})
}
