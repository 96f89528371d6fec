package agent

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/energy"
	"noether/internal/linux"
	"noether/internal/unit"
	"noether/internal/workload"
)

func TestParseOverhead(t *testing.T) {
	watts := func(low, mid, high unit.Power) Overhead {
		return Overhead{Power: mid, PowerLow: low, PowerHigh: high}
	}
	share := func(low, mid, high unit.Ratio) Overhead { return Overhead{Ratio: mid, RatioLow: low, RatioHigh: high} }
	for s, want := range map[string]Overhead{
		"":            {},
		"0W":          {},
		"0":           {},
		"33W":         watts(20*unit.Watt, 33*unit.Watt, 60*unit.Watt),
		"33%":         share(200_000, 330_000, 600_000),
		"0.33":        share(200_000, 330_000, 600_000),
		"25W-40W-60W": watts(25*unit.Watt, 40*unit.Watt, 60*unit.Watt),
		"20%-33%-60%": share(200_000, 330_000, 600_000),
		"0.1-0.5-0.5": share(100_000, 500_000, 500_000),
	} {
		got, err := ParseOverhead(s)
		if err != nil {
			t.Errorf("%q: %v", s, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", s, diff)
		}
	}
	for _, s := range []string{"40", "W", "%", "-1W", "-5%", "NaNW", "Inf%", "1e6W", "40W-25W-60W", "25W-40W", "25W-40-60W", "20%-33W-60%", "1W%", "40%W", "a"} {
		if got, err := ParseOverhead(s); err == nil {
			t.Errorf("%q is %+v", s, got)
		}
	}
}

func FuzzParseOverhead(f *testing.F) {
	for _, s := range []string{"40W", "33%", "0.33", "25W-40W-60W", "1e-400", "--"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := ParseOverhead(s)
		if err == nil && (o.PowerLow < 0 || o.PowerLow > o.Power || o.Power > o.PowerHigh || o.RatioLow < 0 || o.RatioLow > o.Ratio || o.Ratio > o.RatioHigh) {
			t.Errorf("%q is %+v", s, o)
		}
	})
}

var (
	packageZone  = energy.Zone{Sensor: "powercap", Name: "package-0", Domain: energy.Package}
	platformZone = energy.Zone{Sensor: "redfish", Name: "platform", Domain: energy.Platform}
	modelZone    = energy.Zone{Sensor: "model", Name: "cpu", Domain: energy.ModelCPU, Quality: energy.Estimated}
)

// restOf is a rest that has its baseline at 0 s, on CPUs that are three
// quarters idle.
func restOf(t *testing.T, r Rest, zones ...energy.Zone) (*rest, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	usage := &workload.Usage{CPU: workload.CPUTime{Capacity: 4 * time.Second, Idle: 3 * time.Second}}
	out := newRest(r, energy.NewComposer(zones), usage, slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() {
		if err := out.close(); err != nil {
			t.Error(err)
		}
	})
	if got := out.add(nil, 0); len(got) != 0 {
		t.Errorf("the baseline has %+v", got)
	}
	return out, &log
}

func parsed(t *testing.T, s string) Overhead {
	t.Helper()
	o, err := ParseOverhead(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOverhead(t *testing.T) {
	const joule = unit.Joule
	cpu := energy.Amount{Component: energy.CPU, Energy: 100 * joule}
	memory := energy.Amount{Component: energy.Memory, Quality: energy.Propagated, Energy: 50 * joule}
	guessed := energy.Amount{Component: energy.Memory, Quality: energy.Estimated, Energy: 7 * joule, Floor: 7 * joule, HasFloor: true, HasBand: true, Low: joule, High: 9 * joule}
	floored := energy.Amount{Component: energy.CPU, Energy: 100 * joule, Floor: 40 * joule, HasFloor: true}
	other := func(e, floor, low, high unit.Energy, hasFloor bool) energy.Amount {
		return energy.Amount{Component: energy.Other, Quality: energy.Estimated, Energy: e, Floor: floor, HasFloor: hasFloor, Low: low, High: high, HasBand: true}
	}
	seen := energy.Amount{Component: energy.Other, Energy: 80 * joule}
	for _, test := range []struct {
		name    string
		setting string
		zones   []energy.Zone
		amounts []energy.Amount
		want    []energy.Amount
	}{
		{
			"watts are spent whether or not anything runs", "33W",
			[]energy.Zone{packageZone},
			[]energy.Amount{cpu},
			[]energy.Amount{cpu, other(165*joule, 165*joule, 100*joule, 300*joule, true)},
		},
		{
			"a ratio of what sensors say divides as they do", "33%",
			[]energy.Zone{packageZone},
			[]energy.Amount{cpu, memory},
			[]energy.Amount{cpu, memory, other(49*joule+500_000, 0, 30*joule, 90*joule, false)},
		},
		{
			"and not of what is estimated itself", "10%-20%-30%",
			[]energy.Zone{packageZone},
			[]energy.Amount{cpu, guessed},
			[]energy.Amount{cpu, guessed, other(20*joule, 0, 10*joule, 30*joule, false)},
		},
		{
			"a ratio of what states its idle part", "10%-20%-30%",
			[]energy.Zone{packageZone},
			[]energy.Amount{floored},
			[]energy.Amount{floored, other(20*joule, 8*joule, 10*joule, 30*joule, true)},
		},
		{"a ratio of nothing is no datum", "33%", []energy.Zone{packageZone}, nil, nil},
		{"a meter of the machine wins", "33W", []energy.Zone{packageZone, platformZone}, []energy.Amount{cpu, seen}, []energy.Amount{cpu, seen}},
		{"and in a tick that it missed", "33W", []energy.Zone{packageZone, platformZone}, []energy.Amount{cpu}, []energy.Amount{cpu}},
		{"the model has it already", "33W", []energy.Zone{modelZone}, []energy.Amount{guessed}, []energy.Amount{guessed}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, log := restOf(t, Rest{Overhead: parsed(t, test.setting)}, test.zones...)
			for tick := range 3 {
				got := r.add(append([]energy.Amount(nil), test.amounts...), time.Duration(tick+1)*5*time.Second)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("tick %d: %s", tick, diff)
				}
			}
			refused := r.Overhead.Refused(test.zones)
			if got, want := strings.Count(log.String(), "\n"), min(len(refused), 1); got != want {
				t.Errorf("refused %q, logged: %s", refused, log)
			}
		})
	}
	if newRest(Rest{}, nil, nil, nil).add(nil, time.Second) != nil {
		t.Error("nothing is something")
	}
}

// A third of one microjoule in each tick is one in three.
func TestRatioLosesNothing(t *testing.T) {
	r, _ := restOf(t, Rest{Overhead: parsed(t, "0.333333")}, packageZone)
	var sum unit.Energy
	for tick := range 300_000 {
		amounts := [2]energy.Amount{{Component: energy.CPU, Energy: 1}}
		sum += r.add(amounts[:1], time.Duration(tick))[1].Energy
	}
	if want := unit.Energy(99_999); sum != want {
		t.Errorf("%d microjoules, want %d", sum, want)
	}
}

// traffic is a root with one interface and one disk.
func traffic(t *testing.T) (at linux.FS, set func(network, sectors int)) {
	dir := t.TempDir()
	at = linux.FS{Proc: dir, Sys: dir}
	for _, path := range []string{"1/net", "class/net/eth0/device", "block/sda/device"} {
		if err := os.MkdirAll(filepath.Join(dir, path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(path, text string) {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set = func(network, sectors int) {
		write("1/net/dev", fmt.Sprintf("eth0: %d 0 0 0 0 0 0 0 0 0\n", network))
		write("diskstats", fmt.Sprintf("8 0 sda 0 0 %d 0 0 0 0 0 0 0 0\n", sectors))
	}
	set(0, 0)
	return at, set
}

func TestMovedBytes(t *testing.T) {
	at, set := traffic(t)
	both := Rest{NetworkPerGB: EnergyPerGB(.001), DiskPerGB: EnergyPerGB(.0005), FS: at}
	r, _ := restOf(t, both, packageZone)
	metered, _ := restOf(t, both, packageZone, platformZone)
	both.Overhead = parsed(t, "33%")
	all, _ := restOf(t, both, packageZone)

	// 1 GB of network is 0.001 kWh = 3600 J; 0.512 GB of disk are 921.6 J.
	set(1e9, 1e6)
	const network, disk = 3600 * unit.Joule, 921_600_000 * unit.Microjoule
	sevenths := network/7 + disk/7
	cpu := energy.Amount{Component: energy.CPU, Energy: 1000 * unit.Joule}
	seen := energy.Amount{Component: energy.Other, Energy: 800 * unit.Joule}
	for _, test := range []struct {
		name string
		rest *rest
		in   []energy.Amount
		want energy.Amount
	}{
		{"bytes are dynamic", r, []energy.Amount{cpu}, energy.Amount{
			Component: energy.Other, Quality: energy.Estimated, Energy: network + disk, HasFloor: true,
			HasBand: true, Low: sevenths, High: 7 * (network + disk),
		}},
		{"a meter of the machine has the disks', not the network's", metered, []energy.Amount{cpu, seen}, energy.Amount{
			Component: energy.Other, Quality: energy.Estimated, Energy: network + 800*unit.Joule, Floor: 600 * unit.Joule, HasFloor: true,
			HasBand: true, Low: network/7 + 800*unit.Joule, High: 7*network + 800*unit.Joule,
		}},
		{"beside a ratio, whose idle part is that of the CPUs", all, []energy.Amount{cpu}, energy.Amount{
			Component: energy.Other, Quality: energy.Estimated, Energy: network + disk + 330*unit.Joule, Floor: 247_500_000, HasFloor: true,
			HasBand: true, Low: sevenths + 200*unit.Joule, High: 7*(network+disk) + 600*unit.Joule,
		}},
	} {
		got := test.rest.add(test.in, 5*time.Second)
		if diff := cmp.Diff(test.want, got[len(got)-1]); diff != "" || len(got) != 2 {
			t.Errorf("%s: %d amounts: %s", test.name, len(got), diff)
		}
	}

	amounts := make([]energy.Amount, 0, 4)
	now := 10 * time.Second
	if n := testing.AllocsPerRun(50, func() {
		now += time.Second
		all.add(append(amounts[:0], cpu), now)
	}); n != 0 {
		t.Errorf("%v allocations a tick", n)
	}
}

// Without the kernel's files there is a line in the log, and energy as before.
func TestMovedBytesOfNothing(t *testing.T) {
	r, log := restOf(t, Rest{NetworkPerGB: 1, DiskPerGB: 1, FS: linux.Under(t.TempDir())}, packageZone)
	if got := r.add(nil, time.Second); len(got) != 0 || strings.Count(log.String(), "\n") != 2 {
		t.Errorf("%+v, logged: %s", got, log)
	}
}

// Half of the CPUs' time is work: so is half of the ratio, and none of the watts.
func TestOverheadInTheBooks(t *testing.T) {
	for setting, want := range map[string][energy.Parts]unit.Energy{
		"40W": {energy.Idle: 840 * unit.Joule},
		"50%": {energy.Dynamic: 525 * unit.Joule, energy.Idle: 525 * unit.Joule},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, 5*time.Second, 100*unit.Watt, 0)
			r.agent.meter.rest = newRest(Rest{Overhead: parsed(t, setting)}, r.agent.meter.comp, &r.agent.usage, r.agent.opts.Log)
			s := r.run(t, 21500*time.Millisecond) // 21 s
			found := false
			for _, n := range s.Nodes {
				if n.Component != energy.Other {
					continue
				}
				found = true
				if n.Quality != energy.Estimated || !n.Present || n.Total != want {
					t.Errorf("%s: %+v, want %v", setting, n, want)
				}
			}
			if got := unitNamed(s, "/a.service").Total[energy.Other]; got[energy.Dynamic] != want[energy.Dynamic] || !found {
				t.Errorf("%s: the unit pays %v", setting, got)
			}
			if s.Self.Imbalance != 0 || len(s.Bands) != 1 || s.Bands[0].LowTotal >= s.Bands[0].HighTotal {
				t.Errorf("%s: imbalance %d, bands %+v", setting, s.Self.Imbalance, s.Bands)
			}
		})
	}
}
