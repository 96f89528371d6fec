package powercap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"noether/internal/energy"
	"noether/internal/linux/machinetest"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/unit"
)

// world is a machine whose clock the test moves.
type world struct {
	tb   testing.TB
	root string
	now  time.Duration
}

func unpack(tb testing.TB, name string) *world {
	return &world{tb: tb, root: machinetest.Unpack(tb, "../../../testdata/machines/"+name+".txtar")}
}

func (w *world) env() sensor.Env {
	return sensor.Env{
		Proc: filepath.Join(w.root, "proc"), Sys: filepath.Join(w.root, "sys"),
		Now: func() time.Duration { return w.now },
	}
}

func (w *world) open() sensor.Sensor {
	w.tb.Helper()
	s, err := Open(w.tb.Context(), w.env())
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { s.Close() })
	return s
}

func (w *world) file(zone string) string {
	return filepath.Join(w.root, "sys/class/powercap", zone, "energy_uj")
}

func (w *world) set(zone string, e unit.Energy) {
	machinetest.Write(w.tb, w.file(zone), fmt.Sprintf("%d\n", e))
}

func TestZones(t *testing.T) {
	type zone struct {
		Name        string
		Domain      energy.Domain
		Socket, Die int
		Dies        energy.DieRule
	}
	for file, want := range map[string][]zone{
		"power-intel-psys": {
			{"package-0", energy.Package, 0, -1, energy.DiesAdd},
			{"core", energy.Core, 0, -1, energy.DiesAdd},
			{"uncore", energy.Uncore, 0, -1, energy.DiesAdd},
			{"dram", energy.DRAM, 0, -1, energy.DiesAdd},
			{"psys", energy.Psys, -1, -1, energy.DiesAdd},
		},
		"power-intel-two-sockets": {
			{"package-0", energy.Package, 0, -1, energy.DiesAdd},
			{"dram", energy.DRAM, 0, -1, energy.DiesAdd},
			{"package-1", energy.Package, 1, -1, energy.DiesAdd},
			{"dram", energy.DRAM, 1, -1, energy.DiesAdd},
		},
		"power-intel-dies": {
			{"package-0-die-0", energy.Package, 0, 0, energy.DiesAdd},
			{"dram-die-0", energy.DRAM, 0, 0, energy.DiesAdd},
			{"package-0-die-1", energy.Package, 0, 1, energy.DiesAdd},
			{"dram-die-1", energy.DRAM, 0, 1, energy.DiesAdd},
			{"package-1-die-0", energy.Package, 1, 0, energy.DiesAdd},
			{"dram-die-0", energy.DRAM, 1, 0, energy.DiesAdd},
			{"package-1-die-1", energy.Package, 1, 1, energy.DiesAdd},
			{"dram-die-1", energy.DRAM, 1, 1, energy.DiesAdd},
		},
		"power-amd-dies": {
			{"package-0-die-0", energy.Package, 0, 0, energy.DiesRepeat},
			{"core-die-0", energy.Core, 0, 0, energy.DiesRepeat},
			{"package-0-die-1", energy.Package, 0, 1, energy.DiesRepeat},
			{"core-die-1", energy.Core, 0, 1, energy.DiesRepeat},
			{"package-0-die-2", energy.Package, 0, 2, energy.DiesRepeat},
			{"core-die-2", energy.Core, 0, 2, energy.DiesRepeat},
			{"package-0-die-3", energy.Package, 0, 3, energy.DiesRepeat},
			{"core-die-3", energy.Core, 0, 3, energy.DiesRepeat},
		},
		"power-intel-two-psys": {
			{"package-0", energy.Package, 0, -1, energy.DiesAdd},
			{"dram", energy.DRAM, 0, -1, energy.DiesAdd},
			{"package-1", energy.Package, 1, -1, energy.DiesAdd},
			{"dram", energy.DRAM, 1, -1, energy.DiesAdd},
			{"psys", energy.Psys, -1, -1, energy.DiesAdd},
			{"psys-1", energy.Psys, 1, -1, energy.DiesAdd},
		},
		"power-intel-mmio": {
			{"package-0", energy.Package, 0, -1, energy.DiesAdd},
			{"core", energy.Core, 0, -1, energy.DiesAdd},
			{"uncore", energy.Uncore, 0, -1, energy.DiesAdd},
			{"mmio-package-0", energy.MMIOPackage, 0, -1, energy.DiesAdd},
		},
	} {
		t.Run(file, func(t *testing.T) {
			var got []zone
			for _, z := range unpack(t, file).open().Zones() {
				got = append(got, zone{z.Name, z.Domain, z.Socket, z.Die, z.Dies})
				if within := z.ReadWithin(); within < 30*time.Second {
					t.Errorf("%s has to be read every %v", z.Name, within)
				}
				if z.Range == 0 || z.MaxPower < 400*unit.Watt {
					t.Errorf("%s: range %d, power %v", z.Name, z.Range, z.MaxPower.Watts())
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The MMIO counters are a package of their own where the MSR driver is not loaded.
func TestMMIOAlone(t *testing.T) {
	w := unpack(t, "power-intel-mmio")
	for _, id := range []string{"intel-rapl", "intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1"} {
		if err := os.Remove(filepath.Join(w.root, "sys/class/powercap", id)); err != nil {
			t.Fatal(err)
		}
	}
	zones := w.open().Zones()
	if len(zones) != 1 || zones[0].Domain != energy.Package || zones[0].Name != "package-0" {
		t.Errorf("zones: %+v", zones)
	}
}

// A copy of the class directory has no links: zones lie inside each other.
func TestPlainDirectories(t *testing.T) {
	w := unpack(t, "power-intel-psys")
	class := filepath.Join(w.root, "sys/class/powercap")
	if err := errors.Join(os.RemoveAll(class), os.Rename(filepath.Join(w.root, "sys/devices/virtual/powercap"), class)); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, z := range w.open().Zones() {
		names = append(names, z.Name)
	}
	if diff := cmp.Diff([]string{"package-0", "core", "uncore", "dram", "psys"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestRefusals(t *testing.T) {
	bare := func(t *testing.T) *world {
		w := unpack(t, "power-intel-psys")
		if err := os.RemoveAll(filepath.Join(w.root, "sys/class/powercap")); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(w.root, "sys/devices/virtual/powercap")); err != nil {
			t.Fatal(err)
		}
		return w
	}
	for _, tt := range []struct {
		name   string
		world  func(t *testing.T) *world
		status probe.Status
		reason string
		remedy string
	}{
		{"masked", func(t *testing.T) *world { return unpack(t, "power-masked") }, probe.Masked, "hides", "--root /host"},
		{"VM", func(t *testing.T) *world { return unpack(t, "power-vm") }, probe.Absent, "virtual machine", ""},
		{"no module", bare, probe.Absent, "driver is not loaded", "modprobe intel_rapl_msr"},
		{"no x86", func(t *testing.T) *world {
			w := bare(t)
			machinetest.Write(t, filepath.Join(w.root, "proc/cpuinfo"), "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n")
			return w
		}, probe.Absent, "only x86", ""},
		{"no root", func(t *testing.T) *world { return &world{tb: t, root: filepath.Join(t.TempDir(), "host")} }, probe.Unknown, "no such file", ""},
		{"garbage everywhere", func(t *testing.T) *world {
			w := unpack(t, "power-intel-psys")
			for _, z := range []string{"intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:0:2", "intel-rapl:1"} {
				machinetest.Write(t, w.file(z), "garbage\n")
			}
			return w
		}, probe.Broken, `"garbage\n" is not a number`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Open(t.Context(), tt.world(t).env())
			if err == nil {
				s.Close()
				t.Fatal("it opened")
			}
			v := probe.Of(Name, "", err)
			if v.Status != tt.status || !strings.Contains(v.Reason, tt.reason) || !strings.Contains(v.Remedy, tt.remedy) {
				t.Errorf("%v: %s; remedy %q", v.Status, v.Reason, v.Remedy)
			}
		})
	}
}

// unprivileged runs f as a user who owns nothing, on a thread of its own.
func unprivileged(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan error)
	go func() {
		// The thread is not unlocked: it ends with its goroutine and its identity.
		runtime.LockOSThread()
		// Leaving fsuid 0 also drops the capabilities that override permissions (capabilities(7)).
		if err := unix.Setfsuid(65534); err != nil {
			done <- err
			return
		}
		f()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Skipf("cannot give up root's rights here: %v", err)
	}
}

func TestForbidden(t *testing.T) {
	w := unpack(t, "power-forbidden")
	unprivileged(t, func() {
		_, err := Open(t.Context(), w.env())
		v := probe.Of(Name, "", err)
		if v.Status != probe.Forbidden || !strings.Contains(v.Remedy, "setcap cap_dac_read_search") || !strings.Contains(v.Reason, "package-0") {
			t.Errorf("%v: %s; remedy %q", v.Status, v.Reason, v.Remedy)
		}
		// One counter that may be read is enough to go on, and names the others.
	})
	if err := os.Chmod(w.file("intel-rapl:1"), 0o444); err != nil {
		t.Fatal(err)
	}
	unprivileged(t, func() {
		s, err := Open(t.Context(), w.env())
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		got, err := s.Read(t.Context(), nil)
		if len(got) != 1 || len(failed(err)) != 4 {
			t.Errorf("readings %v, error %v", got, err)
		}
	})
}

// failed returns the zones named in an error of Read.
func failed(err error) (zones []int) {
	if err == nil {
		return nil
	}
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		if ze, ok := errors.AsType[*sensor.ZoneError](e); ok {
			zones = append(zones, ze.Zone)
		}
	}
	return zones
}

func TestBadContentCostsOneZone(t *testing.T) {
	w := unpack(t, "power-intel-two-sockets")
	s := w.open()
	for _, content := range []string{"", "\n", "-5\n", "garbage\n", "12 34\n", "18446744073709551616\n", "262143328851\n", "\x00\x00"} {
		machinetest.Write(t, w.file("intel-rapl:0"), content)
		got, err := s.Read(t.Context(), nil)
		if diff := cmp.Diff([]int{0}, failed(err)); diff != "" || len(got) != 3 {
			t.Errorf("content %q: %d readings, %v", content, len(got), err)
		} else if !strings.Contains(err.Error(), w.file("intel-rapl:0")) {
			t.Errorf("content %q: the error does not name the file: %v", content, err)
		}
	}
	if got, want := s.Zones()[0].Path, w.file("intel-rapl:0"); got != want {
		t.Errorf("read at %s, want the short path %s", got, want)
	}
	w.set("intel-rapl:0", 77)
	got, err := s.Read(t.Context(), nil)
	if err != nil || len(got) != 4 || got[0].Energy != 77 {
		t.Errorf("mended: %v, %v", got, err)
	}
}

func TestReplacedAndRemovedFiles(t *testing.T) {
	w := unpack(t, "power-intel-two-sockets")
	s := w.open()
	path := w.file("intel-rapl:1")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := s.Read(t.Context(), nil); len(got) != 3 || !errors.Is(err, os.ErrNotExist) || failed(err)[0] != 2 {
			t.Fatalf("removed: %v, %v", got, err)
		}
	}
	if err := os.WriteFile(path, []byte("123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(t.Context(), nil); err != nil || got[2].Energy != 123 {
		t.Fatalf("back: %v, %v", got, err)
	}
}

// tick reads, accumulates and composes like the agent.
type tick struct {
	w    *world
	s    sensor.Sensor
	acc  *energy.Accumulator
	comp *energy.Composer
}

func (w *world) ticks() *tick {
	s := w.open()
	k := &tick{w, s, energy.NewAccumulator(s.Zones()), energy.NewComposer(s.Zones())}
	k.next()
	return k
}

func (k *tick) next() map[energy.Component]unit.Energy {
	k.w.tb.Helper()
	k.w.now += 5 * time.Second
	readings, err := k.s.Read(k.w.tb.Context(), nil)
	for _, r := range readings {
		k.acc.Add(r)
	}
	for _, z := range failed(err) {
		k.acc.Fail(z)
	}
	got := map[energy.Component]unit.Energy{}
	for _, a := range k.comp.Compose(nil, k.acc.Take(nil)) {
		got[a.Component] = a.Energy
	}
	return got
}

func TestPackageThatFailsForOneTickBesidePsys(t *testing.T) {
	w := unpack(t, "power-intel-psys")
	k := w.ticks()
	pkg, dram, psys := unit.Energy(83194228711), unit.Energy(12093847111), unit.Energy(170933847220)
	move := func() {
		pkg, dram, psys = pkg+50e6, dram+10e6, psys+100e6
		w.set("intel-rapl:0", pkg)
		w.set("intel-rapl:0:2", dram)
		w.set("intel-rapl:1", psys)
	}
	type amounts = map[energy.Component]unit.Energy
	full := amounts{energy.CPU: 50e6, energy.Memory: 10e6, energy.Other: 40e6}
	for i, want := range []amounts{full, {energy.Memory: 10e6}, {energy.Memory: 10e6}, full} {
		move()
		if i == 1 {
			machinetest.Write(t, w.file("intel-rapl:0"), "")
		}
		if diff := cmp.Diff(want, k.next()); diff != "" {
			t.Errorf("tick %d: %s", i, diff)
		}
	}
}

func TestDiesOfAMDCountOnce(t *testing.T) {
	w := unpack(t, "power-amd-dies")
	k := w.ticks()
	for d := range 4 { // the read of the last die falls into the next step
		w.set(fmt.Sprintf("intel-rapl:%d", d), 40211992880+400e6+unit.Energy(d)*1311)
	}
	got := k.next()
	if e := got[energy.CPU]; e != 400e6 {
		t.Errorf("cpu %d µJ, want 400 J once", e)
	}
}

func TestDiesOfIntelAdd(t *testing.T) {
	w := unpack(t, "power-intel-dies")
	k := w.ticks()
	for d := range 4 {
		w.set(fmt.Sprintf("intel-rapl:%d", d), unit.Energy(d+1)*7919e6+100e6)
		w.set(fmt.Sprintf("intel-rapl:%d:0", d), unit.Energy(d+1)*1543e6+10e6)
	}
	want := map[energy.Component]unit.Energy{energy.CPU: 400e6, energy.Memory: 40e6}
	if diff := cmp.Diff(want, k.next()); diff != "" {
		t.Error(diff)
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	s := unpack(t, "power-intel-dies").open()
	dst := make([]energy.Reading, 0, len(s.Zones()))
	if got := testing.AllocsPerRun(100, func() {
		var err error
		if dst, err = s.Read(t.Context(), dst[:0]); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("Read allocates %v times", got)
	}
}

func FuzzParseEnergy(f *testing.F) {
	for _, s := range []string{"0\n", "262143328850\n", "", "-1\n", "1e3", "9223372036854775808", "１"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEnergy(b)
		if err != nil {
			return
		}
		if digits := strings.TrimLeft(strings.TrimSuffix(string(b), "\n"), "0"); strconv.FormatInt(int64(e), 10) != digits && (e != 0 || digits != "") {
			t.Errorf("%q is %d", b, e)
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add("intel-rapl:0:1", []byte("package-1-die-3\n"), []byte("vendor_id : GenuineIntel\nflags : hypervisor\n"))
	f.Add("intel-rapl-mmio:0", []byte("psys-1"), []byte("\n"))
	f.Fuzz(func(t *testing.T, id string, name, cpuinfo []byte) {
		parseProcessor(cpuinfo)
		clean := cleanName(name)
		if at := parseName(clean); at.socket < -1 || at.die < -1 || at.die >= 0 && at.domain != energy.Package {
			t.Errorf("%q: %+v", clean, at)
		}
		if _, _, ok := zoneID(id); !ok {
			return
		}
		zones := describe([]found{{id: id, name: clean}, {id: "intel-rapl:7", name: clean}}, "")
		if zones[0].Name == zones[1].Name && zones[0].Socket == zones[1].Socket {
			t.Errorf("two zones have one name: %+v", zones)
		}
	})
}
