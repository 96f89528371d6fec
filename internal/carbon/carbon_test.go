package carbon

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"noether/internal/unit"
)

const year4 = 4 * 365 * 24 * time.Hour

// watts returns the energy of an hour.
func watts(w float64) unit.Energy { return unit.Energy(math.Round(w * 3600 * 1e6)) }

// The worked example of an m5.xlarge for an hour at 30 % in us-east-1, with the
// coefficients of Cloud Carbon Footprint for Skylake, with the median of its
// SPECpower results, and with their tenth and ninetieth percentile.
func TestOperationalVectors(t *testing.T) {
	for _, c := range []struct {
		name     string
		min, max float64 // watts a vCPU
		want     unit.Mass
	}{
		{"classic", .65, 4.26, 3_271_085_504},
		{"median", .53, 4.12, 3_033_257_013},
		{"lowest", .40, 3.23, 2_357_522_097},
		{"highest", .75, 4.47, 3_522_126_688},
	} {
		var o Operational
		if got := o.Of(watts((c.min+.30*(c.max-c.min))*4), unit.RatioOf(1.135), unit.IntensityOf(415.755)); got != c.want {
			t.Errorf("%s: %d ng, want %d", c.name, got, c.want)
		}
	}
}

// The same machine's embodied share, and the example of the SCI guide.
func TestReservedVectors(t *testing.T) {
	for _, c := range []struct {
		name        string
		te          unit.Mass
		part, whole uint64
		want        unit.Mass
	}{
		{"m5.xlarge", 1_610_790 * unit.Gram, 4, 96, 1_915_418_093},
		{"e2-standard-4", 1_230_300 * unit.Gram, 4, 32, 4_388_912_671},
		{"nothing to share", unit.Gram, 1, 0, 0},
		{"negative", -unit.Gram, 1, 2, 0},
	} {
		if got := Reserved(c.te, time.Hour, year4, c.part, c.whole); got != c.want {
			t.Errorf("%s: %d ng, want %d", c.name, got, c.want)
		}
	}
	if got := Reserved(unit.Kilogram, year4, year4, 1, 1); got != unit.Kilogram {
		t.Errorf("a whole life is %d ng", got)
	}
}

func TestManyTicksAreOneHour(t *testing.T) {
	var o, all Operational
	var m, whole Embodied
	var f, site Facility
	var sum, embodied unit.Mass
	var facility unit.Energy
	for range 720 {
		sum += o.Of(12_345_678, unit.RatioOf(1.135), unit.IntensityOf(415.755))
		embodied += m.Of(1_610_790*unit.Gram, 5*time.Second, year4)
		facility += f.Of(12_345_678, unit.RatioOf(1.135))
	}
	if want := all.Of(720*12_345_678, unit.RatioOf(1.135), unit.IntensityOf(415.755)); sum != want || sum == 0 {
		t.Errorf("%d ng operational, want %d", sum, want)
	}
	if want := whole.Of(1_610_790*unit.Gram, time.Hour, year4); embodied != want || embodied == 0 {
		t.Errorf("%d ng embodied, want %d", embodied, want)
	}
	if want := site.Of(720*12_345_678, unit.RatioOf(1.135)); facility != want || facility == 0 {
		t.Errorf("%d µJ, want %d", facility, want)
	}
}

func TestMoneyHasTwoSides(t *testing.T) {
	var m Money
	if cost, credit := m.Of(watts(1000), unit.RatioOf(1.5), unit.PriceOf(0.30)); cost != 450_000_000 || credit != 0 {
		t.Errorf("a kWh and a half at 0.30: %d, %d", cost, credit)
	}
	if cost, credit := m.Of(watts(1000), unit.One, unit.PriceOf(-0.05)); cost != 0 || credit != 50_000_000 {
		t.Errorf("a kWh at -0.05: %d, %d", cost, credit)
	}
	// The rests of the two do not mix: each is what it would be alone.
	var cost, credit unit.Money
	for range 3_600_000 {
		a, _ := m.Of(1, unit.One, 1_000_000) // 2.8e-7 of the smallest amount
		_, b := m.Of(1, unit.One, -1_000_000)
		cost, credit = cost+a, credit+b
	}
	if cost != 1 || credit != 1 {
		t.Errorf("%d and %d", cost, credit)
	}
	if cost, credit := m.Of(math.MaxInt64, unit.One, math.MinInt64); cost != 0 || credit != math.MaxInt64 {
		t.Errorf("the largest credit is %d", credit)
	}
}

func TestWhatIsNotPositiveEmitsNothing(t *testing.T) {
	var o Operational
	var m Embodied
	var f Facility
	if o.Of(-1, unit.One, 1e9) != 0 || o.Of(1e9, unit.One, -1) != 0 || f.Of(-1, unit.One) != 0 ||
		m.Of(1e9, -1, time.Hour) != 0 || m.Of(1e9, 1, 0) != 0 || m.Of(-1, 1, 1) != 0 {
		t.Error("nothing emits something")
	}
	if a, b := o.Of(watts(1), 0, unit.IntensityOf(500)), unit.Mass(500_000_000); a != b {
		t.Errorf("without a PUE: %d ng, want %d", a, b)
	}
}

var noon = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

// book books a constant power tick by tick until a moment.
func book(r *Revision, o *Operational, f *Facility, from, to time.Time, tick time.Duration, i unit.Intensity) (sum unit.Mass) {
	pue := unit.RatioOf(1.2)
	for at := from; at.Before(to); at = at.Add(tick) {
		e := (100 * unit.Watt).For(tick)
		ng := o.Of(e, pue, i)
		r.Add(at, at.Add(tick), f.Of(e, pue), ng)
		sum += ng
	}
	return sum
}

func TestRevision(t *testing.T) {
	var r Revision
	var o Operational
	var f Facility
	hour := func(n int, grams float64) Past {
		from := noon.Add(time.Duration(n) * time.Hour)
		return Past{from, from.Add(time.Hour), unit.IntensityOf(grams)}
	}
	book(&r, &o, &f, noon, noon.Add(2*time.Hour), 7*time.Second, unit.IntensityOf(400))
	now := noon.Add(2 * time.Hour)
	near := func(what string, want unit.Mass) {
		t.Helper()
		if got := r.Off(); max(got-want, want-got) > 2 {
			t.Errorf("%s: off by %d ng, want %d", what, got, want)
		}
	}
	r.Revise([]Past{hour(0, 400), hour(1, 400)}, now)
	near("nothing new", 0)
	r.Revise([]Past{hour(0, 300), hour(1, 400)}, now)
	near("100 g/kWh less for 120 Wh", -12*unit.Gram)
	r.Revise([]Past{hour(1, 450)}, now)
	near("the first hour as told last, the second dirtier", -6*unit.Gram)
	r.Revise([]Past{hour(0, 300), hour(1, 450), hour(2, 9)}, noon.Add(time.Hour))
	near("what is not over yet", -6*unit.Gram)
	r.Revise(nil, now)
	near("nobody knows", -6*unit.Gram)
	half := Past{noon, noon.Add(2*time.Minute + 30*time.Second), 0}
	rest := Past{half.To, noon.Add(5 * time.Minute), unit.IntensityOf(600)}
	r.Revise([]Past{half}, now)
	near("half of a bucket", -6*unit.Gram)
	r.Revise([]Past{half, rest}, now)
	near("two halves at 0 and 600", -6*unit.Gram)

	// Two days later both hours have left, and stay as they were told last.
	later := noon.Add(48 * time.Hour)
	book(&r, &o, &f, later, later.Add(2*time.Hour), 5*time.Minute, unit.IntensityOf(400))
	near("frozen", -6*unit.Gram)
	r.Revise([]Past{hour(0, 1), hour(1, 1)}, later)
	near("too late", -6*unit.Gram)
	if r.off > 1 || r.off < -1 {
		t.Errorf("%d ng are in the ring", r.off)
	}
}

// A clock that jumps, backwards too, loses no gram and panics nowhere.
func TestRevisionOnAJumpingClock(t *testing.T) {
	x := rand.New(rand.NewPCG(1, 2))
	var r Revision
	for range 20_000 {
		at := noon.Add(time.Duration(x.Int64N(int64(200*time.Hour))) - 100*time.Hour)
		if x.IntN(50) == 0 {
			at = time.Unix(x.Int64N(100)-50, 0)
		}
		r.Add(at, at.Add(time.Duration(x.Int64N(int64(12*time.Minute)))-time.Minute), unit.Energy(x.Int64N(1e9)), unit.Mass(x.Int64N(1e9)))
		if r.Stale() {
			from := at.Add(-time.Duration(x.Int64N(int64(20 * time.Hour))))
			r.Revise([]Past{{from, at, unit.Intensity(x.Int64N(3e9))}}, at)
		}
	}
	var off unit.Mass
	for i := range r.ring {
		off += r.ring[i].off
	}
	if off != r.off {
		t.Errorf("the ring holds %d ng, its sum says %d", off, r.off)
	}
}

func TestRevisionAllocatesNothing(t *testing.T) {
	r := &Revision{}
	past := []Past{{noon, noon.Add(24 * time.Hour), unit.IntensityOf(300)}}
	at := noon
	if n := testing.AllocsPerRun(100, func() {
		r.Add(at, at.Add(7*time.Minute), 1e6, 1e6)
		at = at.Add(7 * time.Minute)
		r.Revise(past, at)
	}); n != 0 {
		t.Errorf("it allocates %v times", n)
	}
}
