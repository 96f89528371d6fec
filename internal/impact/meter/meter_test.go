package meter

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const second = 1000

var grid = Grid{Start: 1_700_000_000_000, Step: 60 * second, N: 5}

// at returns samples from pairs of seconds after the start of grid and a value.
func at(pairs ...float64) []Sample {
	var out []Sample
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, Sample{grid.Start + int64(pairs[i]*second), pairs[i+1]})
	}
	return out
}

func total(xs []float64) (sum float64) {
	for _, x := range xs {
		sum += x
	}
	return sum
}

func count(t testing.TB, rule Rule, g Grid, samples []Sample) (*Bins, *Series) {
	t.Helper()
	bins := NewBins(g.N)
	s := NewSeries(rule, g, bins)
	for _, p := range samples {
		if err := s.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	return bins, s
}

func TestSeries(t *testing.T) {
	counter, gauge := Rule{Kind: Counter, MaxGap: 300 * second}, Rule{Kind: Gauge, MaxGap: 300 * second}
	wraps := Rule{Kind: Counter, MaxGap: 300 * second, Wraps: true}
	tests := map[string]struct {
		rule    Rule
		samples []Sample
		want    []float64
		seen    []bool
	}{
		"nothing":                              {counter, nil, []float64{0, 0, 0, 0, 0}, []bool{false, false, false, false, false}},
		"one sample tells nothing":             {counter, at(90, 7), []float64{0, 0, 0, 0, 0}, []bool{false, false, false, false, false}},
		"inside one step":                      {counter, at(70, 100, 80, 130), []float64{0, 30, 0, 0, 0}, []bool{false, true, false, false, false}},
		"cut at the edge of a step":            {counter, at(50, 100, 80, 130), []float64{10, 20, 0, 0, 0}, []bool{true, true, false, false, false}},
		"cut at both edges of the window":      {counter, at(-30, 0, 150, 180, 330, 360), []float64{60, 60, 60, 60, 60}, []bool{true, true, true, true, true}},
		"a standing counter is seen":           {counter, at(0, 5, 60, 5), []float64{0, 0, 0, 0, 0}, []bool{true, false, false, false, false}},
		"a fall is a new beginning at 0":       {counter, at(0, 100, 30, 130, 60, 12), []float64{42, 0, 0, 0, 0}, []bool{true, false, false, false, false}},
		"a fall to 0":                          {counter, at(0, 100, 30, 0, 60, 12), []float64{12, 0, 0, 0, 0}, []bool{true, false, false, false, false}},
		"a wrap goes on at the rate before":    {wraps, at(0, 1000, 30, 1060, 60, 500), []float64{120, 0, 0, 0, 0}, []bool{true, false, false, false, false}},
		"a long gap ends with all of it":       {Rule{Kind: Counter, MaxGap: 60 * second}, at(0, 0, 180, 90), []float64{0, 0, 90, 0, 0}, []bool{false, false, true, false, false}},
		"the same sample twice":                {counter, at(0, 0, 60, 60, 60, 60, 120, 90), []float64{60, 30, 0, 0, 0}, []bool{true, true, false, false, false}},
		"an older sample is ignored":           {counter, at(0, 0, 60, 60, 30, 45, 120, 90), []float64{60, 30, 0, 0, 0}, []bool{true, true, false, false, false}},
		"a gauge is integrated in a line":      {gauge, at(0, 0, 120, 120), []float64{30 * 60, 90 * 60, 0, 0, 0}, []bool{true, true, false, false, false}},
		"a gauge cut at the window":            {gauge, at(-60, 10, 60, 10), []float64{600, 0, 0, 0, 0}, []bool{true, false, false, false, false}},
		"a gauge is unknown over a long gap":   {Rule{Kind: Gauge, MaxGap: 60 * second}, at(0, 1, 60, 1, 180, 1, 240, 1), []float64{60, 0, 0, 60, 0}, []bool{true, false, false, true, false}},
		"a gauge may be negative":              {gauge, at(0, -1, 60, -1), []float64{-60, 0, 0, 0, 0}, []bool{true, false, false, false, false}},
		"samples outside the window only":      {counter, at(-90, 1, -30, 5, 310, 9, 320, 10), []float64{50 * 4. / 300, 0.8, 0.8, 0.8, 0.8}, []bool{true, true, true, true, true}},
		"samples before the window":            {counter, at(-90, 1, 0, 5), []float64{0, 0, 0, 0, 0}, []bool{false, false, false, false, false}},
		"a sample at the end ends the window":  {counter, at(240, 1, 300, 5, 310, 99), []float64{0, 0, 0, 0, 4}, []bool{false, false, false, false, true}},
		"large values keep their small change": {counter, at(0, 9e15, 60, 9e15+1), []float64{1, 0, 0, 0, 0}, []bool{true, false, false, false, false}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bins, _ := count(t, test.rule, grid, test.samples)
			if diff := cmp.Diff(test.want, bins.Amount, cmp.Comparer(near)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.seen, bins.Seen); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-12*math.Max(math.Abs(a), math.Abs(b)) }

func TestFirstSample(t *testing.T) {
	rule := Rule{Kind: Counter, MaxGap: 60 * second}
	bins, s := count(t, rule, grid, at(60, 8, 90, 10))
	s.FromZero()
	if diff := cmp.Diff([]float64{8, 2, 0, 0, 0}, bins.Amount); diff != "" {
		t.Errorf("from 0, a sample at the edge ends the step before: %s", diff)
	}
	bins, s = count(t, rule, grid, at(90, 8, 100, 10))
	s.After(5)
	if diff := cmp.Diff([]float64{1.5, 1.5 + 2, 0, 0, 0}, bins.Amount, cmp.Comparer(near)); diff != "" {
		t.Errorf("after an earlier value: %s", diff)
	}
	bins, s = count(t, rule, grid, at(90, 8))
	s.After(100) // it began again meanwhile
	if got := total(bins.Amount); !near(got, 8) {
		t.Errorf("after a larger value: %v", got)
	}
	for _, samples := range [][]Sample{at(0, 8), at(-5, 8), nil} {
		bins, s = count(t, rule, grid, samples)
		s.FromZero()
		if s.Born() || total(bins.Amount) != 0 {
			t.Errorf("%v began inside the window", samples)
		}
	}
}

func TestGapsAreReported(t *testing.T) {
	rule := Rule{Kind: Counter, MaxGap: 60 * second}
	s := NewSeries(rule, grid, NewBins(grid.N))
	s.Interval = 15 * second
	for _, p := range at(-300, 0, -120, 1, 0, 2, 15, 3, 60, 4, 106, 9, 121, 10, 600, 11, 900, 12) {
		if err := s.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	want := []Gap{{grid.Start + 60*second, grid.Start + 106*second, 5, false}, {grid.Start + 121*second, grid.Start + 600*second, 1, false}}
	if diff := cmp.Diff(want, s.Gaps); diff != "" {
		t.Error(diff)
	}
}

func TestBadSamples(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1} {
		s := NewSeries(Rule{Kind: Counter, MaxGap: 1}, grid, NewBins(grid.N))
		if err := s.Add(Sample{0, v}); err == nil {
			t.Errorf("a counter of %v is taken", v)
		}
		if err := NewReplicas(s).Add("a", []Sample{{0, v}}); err == nil {
			t.Errorf("a copy's counter of %v is taken", v)
		}
	}
}

func TestInterval(t *testing.T) {
	if got := Interval(at(0, 0, 15, 0)); got != 0 {
		t.Errorf("two samples: %d", got)
	}
	if got := Interval(at(0, 0, 15, 0, 31, 0, 600, 0, 615, 0)); got != 16*second {
		t.Errorf("with a gap: %d", got)
	}
}

func TestMerge(t *testing.T) {
	got := Merge(at(30, 3, 0, 1), at(0, 1, 15, 2, 30, 2))
	if diff := cmp.Diff(at(0, 1, 15, 2, 30, 3), got); diff != "" {
		t.Error(diff)
	}
}

// replicas counts copies that are given in chunks.
func replicas(t testing.TB, rule Rule, g Grid, chunk int64, copies map[string][]Sample) *Bins {
	t.Helper()
	bins := NewBins(g.N)
	r := NewReplicas(NewSeries(rule, g, bins))
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, c := range copies {
		for _, p := range c {
			first, last = min(first, p.T), max(last, p.T)
		}
	}
	for from := first; from <= last; from += chunk {
		for key, c := range copies {
			var part []Sample
			for _, p := range c {
				if p.T >= from && p.T < from+chunk {
					part = append(part, p)
				}
			}
			if err := r.Add(key, part); err != nil {
				t.Fatal(err)
			}
		}
		r.Advance(from + chunk - 1 - rule.MaxGap)
	}
	r.Advance(math.MaxInt64)
	return bins
}

func TestReplicas(t *testing.T) {
	rule := Rule{Kind: Counter, MaxGap: 60 * second}
	line := func(from, to, step, offset float64) (out []Sample) {
		for x := from; x <= to; x += step {
			out = append(out, at(x, offset+2*(x+100))...)
		}
		return out
	}
	whole := []float64{120, 120, 120, 120, 120}
	tests := map[string]struct {
		copies map[string][]Sample
		want   []float64
	}{
		"the same twice":                    {map[string][]Sample{"a": line(-60, 360, 15, 0), "b": line(-60, 360, 15, 0)}, whole},
		"at other times":                    {map[string][]Sample{"a": line(-60, 360, 15, 0), "b": line(-67, 360, 15, 0)}, whole},
		"with other values":                 {map[string][]Sample{"a": line(-60, 360, 15, 0), "b": line(-67, 360, 15, 5000)}, whole},
		"the first has a gap":               {map[string][]Sample{"a": append(line(-60, 90, 15, 0), line(240, 360, 15, 0)...), "b": line(-67, 360, 15, 700)}, whole},
		"the second has a gap":              {map[string][]Sample{"b": append(line(-60, 90, 15, 0), line(240, 360, 15, 0)...), "a": line(-67, 360, 15, 700)}, whole},
		"the first ends":                    {map[string][]Sample{"a": line(-60, 90, 15, 0), "b": line(-67, 360, 15, 9)}, whole},
		"the first ends near the end":       {map[string][]Sample{"a": line(-60, 285, 15, 0), "b": line(-67, 320, 15, 9)}, whole},
		"one after the other":               {map[string][]Sample{"a": line(-60, 90, 15, 0), "b": line(105, 360, 15, 0)}, whole},
		"the second first":                  {map[string][]Sample{"b": line(-60, 90, 15, 0), "a": line(105, 360, 15, 0)}, whole},
		"both have the same gap":            {map[string][]Sample{"a": append(line(-60, 90, 15, 0), line(240, 360, 15, 0)...), "b": append(line(-60, 90, 15, 0), line(240, 360, 15, 0)...)}, []float64{120, 60, 0, 300, 120}},
		"one after the other, counted anew": {map[string][]Sample{"a": line(-60, 90, 15, 0), "b": line(105, 360, 15, -400)}, []float64{120, 60 + 10 + 30, 120, 120, 120}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, chunk := range []int64{70 * second, 1e6} {
				got := replicas(t, rule, grid, chunk, test.copies)
				if diff := cmp.Diff(test.want, got.Amount, cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })); diff != "" {
					t.Errorf("chunks of %d: %s", chunk, diff)
				}
			}
		})
	}
}

// random makes a series with uneven intervals, gaps and falls.
func random(r *rand.Rand, from, to int64) (out []Sample) {
	v := r.Float64() * 1e6
	for t := from + r.Int64N(30*second); t < to; {
		out = append(out, Sample{t, v})
		switch r.IntN(20) {
		case 0:
			t += r.Int64N(400 * second)
		case 1:
			v = r.Float64() * 10
		}
		v += r.ExpFloat64() * 100
		t += 14*second + r.Int64N(2*second)
	}
	return out
}

// TestAdjacentWindowsAddUp: however a time is cut into windows and steps, and
// although each window sees only the samples within MaxGap of it and the value
// before them, the sum is that of the whole.
func TestAdjacentWindowsAddUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		rule := Rule{Kind: Kind(r.IntN(2)), MaxGap: 45*second + r.Int64N(120*second)}
		g := Grid{Start: grid.Start, Step: 1 + r.Int64N(90*second), N: 40}
		samples := random(r, g.Start-400*second+r.Int64N(800*second), g.End()+200*second-r.Int64N(400*second))
		window := func(g Grid) float64 {
			bins := NewBins(g.N)
			s := NewSeries(rule, g, bins)
			before := math.NaN()
			for _, p := range samples {
				if p.T < g.Start-rule.MaxGap {
					before = p.V
					continue
				}
				if p.T > g.End()+rule.MaxGap {
					break
				}
				if err := s.Add(p); err != nil {
					t.Fatal(err)
				}
			}
			if rule.Kind == Counter && s.Born() {
				if math.IsNaN(before) {
					s.FromZero()
				} else {
					s.After(before)
				}
			}
			return total(bins.Amount)
		}
		whole := window(g)
		cut := 1 + r.IntN(g.N-1)
		parts := window(Grid{g.Start, g.Step, cut}) + window(Grid{g.Start + int64(cut)*g.Step, g.Step, g.N - cut})
		one := window(Grid{g.Start, g.Step * int64(g.N), 1})
		if math.Abs(parts-whole) > 1e-9*(1+math.Abs(whole)) || math.Abs(one-whole) > 1e-9*(1+math.Abs(whole)) {
			t.Fatalf("%+v cut at %d: %v and %v, the whole is %v\n%v", g, cut, parts, one, whole, samples)
		}
	}
}

// FuzzSeries: no samples, sorted or not, lose or make energy: what is counted
// in a window that holds all samples is the sum of rises.
func FuzzSeries(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 1, 0, 10, 2, 0, 10, 1, 0, 200, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		var samples []Sample
		for i := 0; i+4 <= len(data) && i < 4000; i += 4 {
			samples = append(samples, Sample{grid.Start + int64(binary.LittleEndian.Uint16(data[i:])), float64(binary.LittleEndian.Uint16(data[i+2:])) / 7})
		}
		samples = Merge(samples)
		g := Grid{Start: grid.Start - 1, Step: 977, N: 68}
		want, duration := 0.0, 0.0
		for i := 1; i < len(samples); i++ {
			if d := samples[i].V - samples[i-1].V; d >= 0 {
				want += d
			} else {
				want += samples[i].V
			}
			duration = float64(samples[i].T-samples[0].T) / 1000
		}
		bins, s := count(t, Rule{Kind: Counter, MaxGap: 1 << 20}, g, samples)
		if got := total(bins.Amount); math.Abs(got-want) > 1e-9*(1+want) {
			t.Errorf("counted %v of %v", got, want)
		}
		if got := total(bins.Seconds); math.Abs(got-duration) > 1e-9*(1+duration) {
			t.Errorf("covered %v s of %v s", got, duration)
		}
		if len(samples) > 0 {
			s.FromZero()
			if got := total(bins.Amount); math.Abs(got-want-samples[0].V) > 1e-9*(1+got) {
				t.Errorf("counted %v from 0, want %v", got, want+samples[0].V)
			}
		}
		copies := map[string][]Sample{"a": samples, "b": samples}
		if got := total(replicas(t, Rule{Kind: Counter, MaxGap: 1 << 20}, g, 1<<21, copies).Amount); math.Abs(got-want) > 1e-9*(1+want) {
			t.Errorf("two copies counted %v of %v", got, want)
		}
	})
}

func TestAddAllocatesNothing(t *testing.T) {
	s := NewSeries(Rule{Kind: Counter, MaxGap: 60 * second}, grid, NewBins(grid.N))
	p := Sample{grid.Start, 0}
	if n := testing.AllocsPerRun(1000, func() {
		p.T += 200
		p.V += 3
		if err := s.Add(p); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a sample", n)
	}
}

func TestCoverage(t *testing.T) {
	for name, c := range map[string]struct {
		series [][]Sample
		want   []Span // seconds
	}{
		"nothing":                             {nil, []Span{{0, 300}}},
		"all the time":                        {[][]Sample{at(-30, 0, 20, 0, 70, 0, 120, 0, 180, 0, 240, 0, 290, 0)}, nil},
		"away at the end":                     {[][]Sample{at(0, 0, 50, 0, 100, 0)}, []Span{{100, 300}}},
		"as long as is bridged":               {[][]Sample{at(0, 0, 60, 0, 120, 0, 180, 0, 240, 0)}, nil},
		"a sample after the end":              {[][]Sample{at(0, 0, 60, 0, 120, 0, 180, 0, 230, 0, 310, 0)}, []Span{{230, 310}}},
		"mostly after the end":                {[][]Sample{at(0, 0, 60, 0, 120, 0, 180, 0, 250, 0, 400, 0)}, []Span{{180, 250}}},
		"away at the beginning":               {[][]Sample{at(-90, 0, 100, 0, 160, 0, 220, 0, 280, 0)}, []Span{{0, 100}}},
		"two that take turns":                 {[][]Sample{at(0, 0, 50, 0, 170, 0, 220, 0), at(110, 0, 275, 0)}, nil},
		"two away at the same time":           {[][]Sample{at(0, 0, 60, 0, 200, 0, 250, 0), at(-10, 0, 40, 0, 180, 0, 240, 0)}, []Span{{60, 180}}},
		"one in pieces that come out of turn": {[][]Sample{at(240, 0, 290, 0), at(0, 0, 60, 0), at(120, 0, 180, 0)}, nil},
	} {
		cover := Coverage{MaxGap: 60 * second}
		for _, samples := range c.series {
			cover.Add(samples)
		}
		var want []Span
		for _, s := range c.want {
			want = append(want, Span{grid.Start + s.From*second, grid.Start + s.To*second})
		}
		if diff := cmp.Diff(want, cover.Silences(grid)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
