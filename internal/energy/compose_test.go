package energy

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"noether/internal/unit"
)

func rapl(name string, d Domain, socket, die int, rule DieRule) Zone {
	return Zone{Sensor: "powercap", Name: name, Domain: d, Socket: socket, Die: die, Dies: rule}
}

func done(e ...unit.Energy) []ZoneDelta {
	var ds []ZoneDelta
	for _, e := range e {
		ds = append(ds, ZoneDelta{Valid: true, Complete: true, Energy: e})
	}
	return ds
}

var missing = ZoneDelta{Why: NotRead}

// without replaces one delta by a failed one.
func without(i int, ds []ZoneDelta) []ZoneDelta {
	ds[i] = missing
	return ds
}

func TestCompose(t *testing.T) {
	desktop := []Zone{
		rapl("package-0", Package, 0, -1, DiesAdd), rapl("core", Core, 0, -1, DiesAdd), rapl("uncore", Uncore, 0, -1, DiesAdd),
		rapl("dram", DRAM, 0, -1, DiesAdd), rapl("psys", Psys, -1, -1, DiesAdd), rapl("mmio-package-0", MMIOPackage, 0, -1, DiesAdd),
	}
	dies := func(rule DieRule) []Zone {
		return []Zone{rapl("package-0-die-0", Package, 0, 0, rule), rapl("package-0-die-1", Package, 0, 1, rule)}
	}
	twoPsys := []Zone{
		rapl("package-0", Package, 0, -1, DiesAdd), rapl("package-1", Package, 1, -1, DiesAdd),
		rapl("psys", Psys, -1, -1, DiesAdd), rapl("psys-1", Psys, 1, -1, DiesAdd),
	}
	bmc := append(slices.Clip(desktop), Zone{Sensor: "redfish", Name: "chassis", Domain: Platform, Kind: Gauge})
	type amounts = map[Component]unit.Energy
	for _, tt := range []struct {
		name  string
		zones []Zone
		ticks [][]ZoneDelta
		want  []amounts
	}{
		{
			"only package and dram are booked, psys leaves the rest", desktop,
			[][]ZoneDelta{done(100, 70, 20, 30, 200, 100)},
			[]amounts{{CPU: 100, Memory: 30, Other: 70}},
		},
		{
			"a platform below its components is a debt for the ticks that follow", desktop,
			[][]ZoneDelta{done(100, 0, 0, 30, 110, 0), done(100, 0, 0, 30, 140, 0), done(100, 0, 0, 30, 145, 0)},
			[]amounts{{CPU: 100, Memory: 30}, {CPU: 100, Memory: 30}, {CPU: 100, Memory: 30, Other: 5}},
		},
		{
			"psys beside a package that fails for one tick", desktop,
			[][]ZoneDelta{done(100, 0, 0, 30, 200, 0), without(0, done(0, 0, 0, 30, 200, 0)), done(100, 0, 0, 30, 210, 0)},
			[]amounts{{CPU: 100, Memory: 30, Other: 70}, {Memory: 30}, {CPU: 100, Memory: 30, Other: 80}},
		},
		{
			"psys that fails for one tick", desktop,
			[][]ZoneDelta{without(4, done(100, 0, 0, 30, 0, 0)), done(100, 0, 0, 30, 210, 0)},
			[]amounts{{CPU: 100, Memory: 30}, {CPU: 100, Memory: 30, Other: 80}},
		},
		{
			"a failing core zone costs nothing", desktop,
			[][]ZoneDelta{without(1, done(100, 0, 0, 30, 200, 0))},
			[]amounts{{CPU: 100, Memory: 30, Other: 70}},
		},
		{
			"the BMC wins over psys", bmc,
			[][]ZoneDelta{done(100, 0, 0, 30, 200, 0, 400), without(6, done(100, 0, 0, 30, 200, 0, 0))},
			[]amounts{{CPU: 100, Memory: 30, Other: 270}, {CPU: 100, Memory: 30}},
		},
		{
			"dies add on Intel", dies(DiesAdd),
			[][]ZoneDelta{done(100, 100), without(1, done(100, 0))},
			[]amounts{{CPU: 200}, {CPU: 100}},
		},
		{
			"dies repeat on AMD", dies(DiesRepeat),
			[][]ZoneDelta{done(100, 100), without(0, done(0, 100)), without(0, without(1, done(0, 0)))},
			[]amounts{{CPU: 100}, {CPU: 100}, {}},
		},
		{
			"unknown dies that agree are one", dies(DiesUnknown),
			[][]ZoneDelta{done(1000, 1001), done(500, 501), done(100, 101), done(900, 900)},
			[]amounts{{CPU: 1000}, {CPU: 500}, {CPU: 100}, {CPU: 900}},
		},
		{
			"unknown dies that differ for three ticks add", dies(DiesUnknown),
			[][]ZoneDelta{done(100, 50), done(100, 50), done(100, 50), done(100, 100), done(100, 100), done(100, 100)},
			[]amounts{{CPU: 100}, {CPU: 100}, {CPU: 150}, {CPU: 200}, {CPU: 200}, {CPU: 100}},
		},
		{
			"of two psys the one that is not wired does not count", twoPsys,
			[][]ZoneDelta{done(100, 120, 300, 7), done(100, 120, 310, 7)},
			[]amounts{{CPU: 220, Other: 80}, {CPU: 220, Other: 90}},
		},
		{
			"two psys that each cover their package count", twoPsys,
			[][]ZoneDelta{done(100, 120, 150, 160), done(100, 120, 95, 180), done(100, 120, 150, 160)},
			[]amounts{{CPU: 220, Other: 90}, {CPU: 220, Other: 55}, {CPU: 220, Other: 90}},
		},
		{
			"two psys of which none covers its package say nothing", twoPsys,
			[][]ZoneDelta{done(100, 120, 0, 0)},
			[]amounts{{CPU: 220}},
		},
		{
			"a psys that does not move is no zero", desktop,
			[][]ZoneDelta{done(100, 0, 0, 30, 0, 0)},
			[]amounts{{CPU: 100, Memory: 30}},
		},
		{
			"two sensors of the same package count once",
			[]Zone{
				rapl("package-0", Package, 0, -1, DiesAdd),
				{Sensor: "msr", Name: "package-0", Domain: Package},
				{Sensor: "model", Name: "cpu", Domain: ModelCPU, Quality: Estimated},
			},
			[][]ZoneDelta{done(100, 100, 90)},
			[]amounts{{CPU: 100}},
		},
		{
			"discrete GPUs add, integrated ones do not",
			[]Zone{
				{Sensor: "nvml", Name: "gpu-0", Domain: DiscreteGPU},
				{Sensor: "amdgpu", Name: "gpu-0", Domain: DiscreteGPU},
				{Sensor: "i915", Name: "gpu", Domain: IntegratedGPU},
			},
			[][]ZoneDelta{done(10, 20, 40)},
			[]amounts{{GPU: 30}},
		},
		{
			"the first of two meters of everything counts", append(slices.Clip(bmc), Zone{Sensor: "acpi", Name: "platform", Domain: Platform, Kind: Gauge}),
			[][]ZoneDelta{done(100, 0, 0, 30, 200, 100, 300, 290), without(6, done(100, 0, 0, 30, 200, 100, 0, 290))},
			[]amounts{{CPU: 100, Memory: 30, Other: 170}, {CPU: 100, Memory: 30}},
		},
		{
			"a platform meter alone is all other", bmc[6:],
			[][]ZoneDelta{done(400)},
			[]amounts{{Other: 400}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := NewComposer(tt.zones)
			for i, tick := range tt.ticks {
				got := amounts{}
				for _, a := range c.Compose(nil, tick) {
					got[a.Component] = a.Energy
				}
				if diff := cmp.Diff(tt.want[i], got); diff != "" {
					t.Errorf("tick %d: %s", i, diff)
				}
			}
		})
	}
}

func TestComposeQualityFloorAndBand(t *testing.T) {
	c := NewComposer([]Zone{
		{Sensor: "model", Domain: ModelCPU, Quality: Estimated, Floor: true, Band: true},
		{Sensor: "ipmi", Domain: Platform},
	})
	got := c.Compose(nil, []ZoneDelta{
		{Valid: true, Complete: true, Energy: 100, Floor: 40, Low: 80, High: 130},
		{Valid: true, Complete: true, Energy: 150},
	})
	want := []Amount{
		{Component: CPU, Quality: Estimated, Energy: 100, Floor: 40, HasFloor: true, Low: 80, High: 130, HasBand: true},
		{Component: Other, Quality: Estimated, Energy: 50, Low: 20, High: 70, HasBand: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	c = NewComposer([]Zone{rapl("package-0", Package, 0, -1, DiesAdd)})
	want = []Amount{{Component: CPU, Energy: 7}}
	if diff := cmp.Diff(want, c.Compose(nil, done(7)), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

// TestEstimateAboveTheMeter has a model that is always a quarter too high. The
// meter wins: what is booked is what it saw, but for a debt of a few ticks.
func TestEstimateAboveTheMeter(t *testing.T) {
	c := NewComposer([]Zone{
		rapl("dram", DRAM, 0, -1, DiesAdd),
		{Sensor: "model", Domain: ModelCPU, Quality: Estimated, Floor: true, Band: true},
		{Sensor: "redfish", Domain: Platform, Kind: Gauge},
	})
	var booked, seen unit.Energy
	const ticks = 1000
	for n := range ticks {
		load := unit.Energy(1 + n/100%3) // it comes and goes
		cpu, dram, meter := 1000*load, 100*load, 880*load
		got := c.Compose(nil, []ZoneDelta{
			{Valid: true, Complete: true, Energy: dram},
			{Valid: true, Complete: true, Energy: cpu, Floor: cpu / 4, Low: cpu / 2, High: 2 * cpu},
			{Valid: true, Complete: true, Energy: meter},
		})
		seen += meter
		for i := range got {
			a := &got[i]
			booked += a.Energy
			if a.Energy < 0 || a.HasFloor && a.Floor > a.Energy || a.HasBand && (a.Low > a.Energy || a.High < a.Energy) {
				t.Fatalf("tick %d: %+v", n, a)
			}
			if a.Component == Memory && a.Energy != dram {
				t.Fatalf("tick %d: %+v was measured", n, a)
			}
		}
		if n == ticks-1 { // long after any lag
			want := []Amount{
				{Component: CPU, Quality: Estimated, Energy: 780, Floor: 195, HasFloor: true, Low: 500, High: 780, HasBand: true},
				{Component: Memory, Energy: 100},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
	}
	if debt := booked - seen; debt != c.debt || debt < 0 || debt > (lag+1)*3300 {
		t.Errorf("booked %d, the meter saw %d, and %d are owed", booked, seen, c.debt)
	}
}

// TestMeterBelowMeasuredComponents has nothing that could be held to the meter.
func TestMeterBelowMeasuredComponents(t *testing.T) {
	c := NewComposer([]Zone{rapl("package-0", Package, 0, -1, DiesAdd), {Sensor: "redfish", Domain: Platform, Kind: Gauge}})
	for range 100 {
		if diff := cmp.Diff([]Amount{{Component: CPU, Energy: 100}}, c.Compose(nil, done(100, 60))); diff != "" {
			t.Fatal(diff)
		}
	}
	if c.debt != 4000 {
		t.Errorf("the debt is %d", c.debt)
	}
}

// machine is a simulated computer whose true energies are known.
type machine struct {
	zones []Zone
	used  []unit.Energy // true energy of each zone
	start []unit.Energy // value of each counter at the beginning
}

// server has two sockets of two dies which repeat their counter, memory, and a
// platform meter over all of it. All counters are small and wrap often.
func server(rule DieRule) *machine {
	m := &machine{}
	add := func(name string, d Domain, socket, die int) {
		z := rapl(name, d, socket, die, rule)
		z.Range, z.MaxPower = 70*1000*1000*1000, 1000*unit.Watt
		m.zones = append(m.zones, z)
	}
	for s := range 2 {
		for die := range 2 {
			add("package", Package, s, die)
		}
		add("dram", DRAM, s, -1)
	}
	add("psys", Psys, -1, -1)
	m.used = make([]unit.Energy, len(m.zones))
	m.start = make([]unit.Energy, len(m.zones))
	for i := range m.start {
		m.start[i] = unit.Energy(rand.New(rand.NewPCG(uint64(i), 1)).Int64N(int64(m.zones[i].Range)))
	}
	return m
}

// conserve runs the machine for as many ticks as there are bytes, which choose
// powers and faults, and checks that no joule is booked twice or lost.
func conserve(t *testing.T, rule DieRule, script []byte) {
	t.Helper()
	m := server(rule)
	acc, comp := NewAccumulator(m.zones), NewComposer(m.zones)
	var deltas []ZoneDelta
	var out []Amount
	var booked, metered, cpuBooked, cpuUsed unit.Energy
	read := func(i, s int) {
		acc.Add(Reading{Zone: i, At: at(float64(s)), Energy: (m.start[i] + m.used[i]) % (m.zones[i].Range + 1)})
	}
	for i := range m.zones {
		read(i, 0)
	}
	acc.Take(nil)
	for n, b := range script {
		var truth, cpu unit.Energy
		for s := range 2 {
			p := unit.Power(b%(7+byte(s))+1) * 30 * unit.Watt
			e0, e1, dram := p.For(at(5)), (p / 2).For(at(5)), (p / 8).For(at(5))
			if rule == DiesRepeat {
				e1 = e0
				cpu += e0
			} else {
				cpu += e0 + e1
			}
			m.used[3*s] += e0
			m.used[3*s+1] += e1
			m.used[3*s+2] += dram
			truth += dram
		}
		truth += cpu
		// The meter lags: it shows part of the tick's energy in the next one.
		m.used[6] += truth + unit.Energy(int(b)-128)*unit.Joule/10
		fault := int(b>>5) - 1 // 0..6 is a zone that fails
		for i := range m.zones {
			if i == fault {
				acc.Fail(i)
				continue
			}
			read(i, 5*(n+1))
		}
		deltas = acc.Take(deltas[:0])
		out = comp.Compose(out[:0], deltas)
		all := true
		for s := range 2 {
			one := deltas[3*s].Complete && deltas[3*s+1].Complete
			if rule == DiesRepeat {
				one = deltas[3*s].Complete || deltas[3*s+1].Complete
			}
			all = all && one && deltas[3*s+2].Complete
		}
		var sum unit.Energy
		for _, a := range out {
			if a.Energy < 0 {
				t.Fatalf("tick %d: negative %v: %+v", n, a.Component, a)
			}
			if a.Component == Other && (!all || !deltas[6].Complete) {
				t.Fatalf("tick %d: other although not everything was read", n)
			}
			if a.Component == CPU {
				cpuBooked += a.Energy
				if a.Energy > cpu {
					t.Fatalf("tick %d: cpu %d, used %d", n, a.Energy, cpu)
				}
			}
			sum += a.Energy
		}
		cpuUsed += cpu
		if all && deltas[6].Complete {
			booked += sum
			metered += deltas[6].Energy
		}
		if booked != metered+comp.debt || comp.debt < 0 {
			t.Fatalf("tick %d: booked %d, metered %d, debt %d", n, booked, metered, comp.debt)
		}
	}
	if cpuBooked > cpuUsed {
		t.Fatalf("cpu booked %d, used %d", cpuBooked, cpuUsed)
	}
}

func TestConservation(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		script := make([]byte, 60)
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		conserve(t, DiesRepeat, script)
		conserve(t, DiesAdd, script)
	}
}

func FuzzConservation(f *testing.F) {
	f.Add([]byte{0, 31, 64, 200, 255, 3}, true)
	f.Add([]byte{1, 1, 1, 1, 1, 33, 1, 1}, false)
	f.Fuzz(func(t *testing.T, script []byte, repeat bool) {
		rule := DiesAdd
		if repeat {
			rule = DiesRepeat
		}
		conserve(t, rule, script)
	})
}

func TestTickAllocatesNothing(t *testing.T) {
	m := server(DiesUnknown)
	acc, comp := NewAccumulator(m.zones), NewComposer(m.zones)
	deltas, out := make([]ZoneDelta, 0, len(m.zones)), make([]Amount, 0, Components)
	n := 0
	if got := testing.AllocsPerRun(100, func() {
		n++
		for i := range m.zones {
			acc.Add(Reading{Zone: i, At: at(float64(n)), Energy: unit.Energy(n)})
		}
		deltas = acc.Take(deltas[:0])
		out = comp.Compose(out[:0], deltas)
	}); got != 0 {
		t.Errorf("a tick allocates %v times", got)
	}
}
