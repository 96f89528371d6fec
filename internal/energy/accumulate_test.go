package energy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/unit"
)

const rapl65 = 65532610987 // max_energy_range_uj of a client package

func packageZone(rng unit.Energy) Zone {
	return Zone{
		Sensor: "powercap", Name: "package-0", Domain: Package, Die: -1,
		Range: rng, MaxPower: 1000 * unit.Watt,
	}
}

func at(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// feed is one thing that happens to zone 0 of an accumulator.
type feed struct {
	at            float64
	energy        unit.Energy
	fail, restart bool
	take          bool // and then the tick closes
}

func TestAccumulator(t *testing.T) {
	good := func(e unit.Energy) ZoneDelta { return ZoneDelta{Valid: true, Complete: true, Energy: e} }
	lost := func(why Reason) ZoneDelta { return ZoneDelta{Why: why} }
	for _, tt := range []struct {
		name string
		rng  unit.Energy
		in   []feed
		want []ZoneDelta
	}{
		{"the first tick is a baseline", rapl65, []feed{
			{at: 0, energy: 500, take: true}, {at: 5, energy: 700, take: true},
		}, []ZoneDelta{lost(NoBaseline), good(200)}},
		{"standing still is a valid zero and loses nothing", rapl65, []feed{
			{at: 0, energy: 500, take: true}, {at: 5, energy: 500, take: true}, {at: 10, energy: 900, take: true},
		}, []ZoneDelta{lost(NoBaseline), good(0), good(400)}},
		{"a wrap is unwrapped", rapl65, []feed{
			{at: 0, energy: rapl65 - 9, take: true}, {at: 5, energy: 90, take: true},
		}, []ZoneDelta{lost(NoBaseline), good(100)}},
		{"a wrap exactly to zero", 1e9, []feed{
			{at: 0, energy: 1e9, take: true}, {at: .4, energy: 0, take: true},
		}, []ZoneDelta{lost(NoBaseline), good(1)}},
		{"a step back that is no wrap is a reset", rapl65, []feed{
			{at: 0, energy: 30e9, take: true}, {at: 5, energy: 20e9, take: true}, {at: 10, energy: 20e9 + 7, take: true},
		}, []ZoneDelta{lost(NoBaseline), lost(Backwards), good(7)}},
		{"a step back of a counter that never wraps is a reset", 0, []feed{
			{at: 0, energy: 3000, take: true}, {at: 5, energy: 20, take: true}, {at: 10, energy: 21, take: true},
		}, []ZoneDelta{lost(NoBaseline), lost(Backwards), good(1)}},
		{"a leap is no spike", rapl65, []feed{
			{at: 0, energy: 0, take: true}, {at: 5, energy: 6e9, take: true}, {at: 10, energy: 6e9 + 1e6, take: true},
		}, []ZoneDelta{lost(NoBaseline), lost(Implausible), good(1e6)}},
		{"a failed read costs its tick and the baseline", rapl65, []feed{
			{at: 0, energy: 10, take: true}, {fail: true, take: true}, {at: 10, energy: 3e9, take: true}, {at: 15, energy: 3e9 + 4, take: true},
		}, []ZoneDelta{lost(NoBaseline), lost(NotRead), lost(NoBaseline), good(4)}},
		{"nobody read it", rapl65, []feed{
			{at: 0, energy: 10, take: true}, {take: true}, {at: 10, energy: 30, take: true}, {at: 15, energy: 34, take: true},
		}, []ZoneDelta{lost(NoBaseline), lost(NotRead), lost(NoBaseline), good(4)}},
		{"a failure between two reads leaves a partial datum", rapl65, []feed{
			{at: 0, energy: 10, take: true}, {at: 1, energy: 20}, {fail: true}, {at: 2, energy: 900}, {at: 3, energy: 905, take: true},
		}, []ZoneDelta{lost(NoBaseline), {Valid: true, Why: NotRead, Energy: 15}}},
		{"suspend", rapl65, []feed{
			{at: 0, energy: 10, take: true}, {restart: true}, {at: 5, energy: 4e9, take: true}, {at: 10, energy: 4e9 + 1, take: true},
		}, []ZoneDelta{lost(NoBaseline), lost(NoBaseline), good(1)}},
		{"a gap in which it could wrap unseen", rapl65, []feed{
			{at: 0, energy: 10, take: true}, {at: 33, energy: 20, take: true}, {at: 38, energy: 22, take: true},
		}, []ZoneDelta{lost(NoBaseline), lost(GapTooLong), good(2)}},
		{"time runs back", rapl65, []feed{
			{at: 9, energy: 10, take: true}, {at: 4, energy: 20, take: true}, {at: 5, energy: 22, take: true},
		}, []ZoneDelta{lost(NoBaseline), lost(Backwards), good(2)}},
		{"more than the range is no reading", rapl65, []feed{
			{at: 0, energy: 10, take: true}, {at: 1, energy: rapl65 + 1, take: true}, {at: 2, energy: -1, take: true},
		}, []ZoneDelta{lost(NoBaseline), lost(OutOfRange), lost(OutOfRange)}},
		{"two reads in the same instant", rapl65, []feed{
			{at: 0, energy: 10, take: true}, {at: 1, energy: 20}, {at: 1, energy: 20, take: true},
		}, []ZoneDelta{lost(NoBaseline), good(10)}},
		{"several reads in the first tick", rapl65, []feed{
			{at: 0, energy: 10}, {at: 1, energy: 20, take: true},
		}, []ZoneDelta{{Valid: true, Why: NoBaseline, Energy: 10}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := NewAccumulator([]Zone{packageZone(tt.rng)})
			var got []ZoneDelta
			for _, f := range tt.in {
				switch {
				case f.fail:
					a.Fail(0)
				case f.restart:
					a.Reset()
				case f.at != 0 || f.energy != 0:
					a.Add(Reading{At: at(f.at), Energy: f.energy})
				case !f.take || len(got) == 0:
					a.Add(Reading{})
				}
				if f.take {
					got = a.Take(got)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A client package wraps after 65 kJ: in 164 s at 400 W. A tick of five
// minutes comes out right because it is read every 30 s.
func TestSmallCounterLongTick(t *testing.T) {
	const power = 400 * unit.Watt
	a := NewAccumulator([]Zone{packageZone(rapl65)})
	a.Add(Reading{Energy: 12345})
	a.Take(nil)
	var total unit.Energy
	for s := 30 * time.Second; s <= time.Hour; s += 30 * time.Second {
		a.Add(Reading{At: s, Energy: (12345 + power.For(s)) % (rapl65 + 1)})
		if s%(5*time.Minute) == 0 {
			d := a.Take(nil)[0]
			if want := power.For(5 * time.Minute); !d.Complete || d.Energy != want {
				t.Fatalf("tick ending at %v: %+v, want %d µJ", s, d, want)
			}
			total += d.Energy
		}
	}
	if want := power.For(time.Hour); total != want {
		t.Errorf("an hour at 400 W is %d µJ, want %d", total, want)
	}
}

func TestGauge(t *testing.T) {
	a := NewAccumulator([]Zone{{Kind: Gauge, Domain: Platform, MaxPower: 1000 * unit.Watt}})
	read := func(s float64, p unit.Power) { a.Add(Reading{At: at(s), Power: p}) }
	read(0, 100*unit.Watt)
	a.Take(nil)
	read(2, 200*unit.Watt) // 300 J
	read(3, 0)             // 100 J
	if got := a.Take(nil)[0]; !got.Complete || got.Energy != 400*unit.Joule {
		t.Errorf("trapezoid: %+v, want 400 J", got)
	}
	read(4, -5)
	if got := a.Take(nil)[0]; got.Valid || got.Why != OutOfRange {
		t.Errorf("negative power: %+v", got)
	}
	read(5, 1001*unit.Watt)
	if got := a.Take(nil)[0]; got.Valid || got.Why != OutOfRange {
		t.Errorf("impossible power: %+v", got)
	}
	// Many small steps lose nothing: 1 µW for 3 s in steps of 10 ns.
	read(6, 1)
	a.Take(nil)
	for i := 1; i <= 300_000; i++ {
		a.Add(Reading{At: at(6) + time.Duration(i)*10*time.Microsecond, Power: 1})
	}
	if got := a.Take(nil)[0]; got.Energy != 3 {
		t.Errorf("small steps: %d µJ, want 3", got.Energy)
	}
}

func TestFloorAndBandAreCountersToo(t *testing.T) {
	z := Zone{Domain: ModelCPU, Quality: Estimated, Floor: true, Band: true}
	a := NewAccumulator([]Zone{z})
	a.Add(Reading{Energy: 10, Floor: 5, Low: 7, High: 20})
	a.Take(nil)
	a.Add(Reading{At: at(1), Energy: 20, Floor: 9, Low: 14, High: 40})
	a.Add(Reading{At: at(2), Energy: 30, Floor: 12, Low: 21, High: 55})
	want := ZoneDelta{Valid: true, Complete: true, Energy: 20, Floor: 7, Low: 14, High: 35}
	if diff := cmp.Diff(want, a.Take(nil)[0]); diff != "" {
		t.Error(diff)
	}
	// Bounds that contradict the value are widened to it.
	a.Add(Reading{At: at(3), Energy: 40, Floor: 99, Low: 99, High: 56})
	want = ZoneDelta{Valid: true, Complete: true, Energy: 10, Floor: 10, Low: 10, High: 10}
	if diff := cmp.Diff(want, a.Take(nil)[0]); diff != "" {
		t.Error(diff)
	}
}

// Any true power below the maximum, any wraps, resets and failures: what is
// counted is never more than what was consumed, and in complete ticks exactly that.
func FuzzAccumulator(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8}, uint32(5000))
	f.Add([]byte{255, 0, 255, 128, 64, 200, 9, 17, 33, 250}, uint32(100))
	f.Fuzz(func(t *testing.T, steps []byte, rng uint32) {
		z := packageZone(unit.Energy(rng)*unit.Joule/100 + unit.Joule)
		a := NewAccumulator([]Zone{z})
		var now time.Duration
		var used, tickStart, offset unit.Energy
		clean := false // since tickStart nothing happened to the counter
		for _, b := range steps {
			switch op := b % 8; op {
			case 0:
				a.Fail(0)
				clean = false
			case 1: // the counter is set to anything
				offset += unit.Energy(b) * z.Range / 255
				clean = false
			case 2, 3:
				a.Add(Reading{At: now, Energy: (used + offset) % (z.Range + 1)})
				d := a.Take(nil)[0]
				if clean && (!d.Complete || d.Energy != used-tickStart) {
					t.Fatalf("clean tick: %+v, want %d µJ", d, used-tickStart)
				}
				if d.Energy < 0 || !d.Valid && d.Energy != 0 || d.Complete && !d.Valid {
					t.Fatalf("impossible delta %+v", d)
				}
				tickStart, clean = used, d.Complete
			default:
				dt := min(time.Duration(b)*time.Second/16, z.ReadWithin())
				now += dt
				used += (unit.Power(op) * 100 * unit.Watt).For(dt)
				a.Add(Reading{At: now, Energy: (used + offset) % (z.Range + 1)})
			}
		}
	})
}
