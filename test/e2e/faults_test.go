package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"noether/test/machine"
)

// oneZone is a simulated machine with a package, a DRAM zone and one service.
func oneZone(t *testing.T, pids ...int) *machine.Machine {
	t.Helper()
	m := machine.New(t, machine.Options{Zones: []machine.Zone{
		{Dir: "intel-rapl:0", Name: "package-0", Energy: 1_000_000},
		{Dir: "intel-rapl:0:0", Name: "dram", Energy: 1_000_000},
	}})
	m.AddCgroup("/system.slice/work.service", "unit/work.service")
	for _, pid := range pids {
		m.Start(machine.Process{PID: pid, PPID: 1, Comm: "work", Cgroup: "/system.slice/work.service"})
	}
	return m
}

func startOn(t *testing.T, m *machine.Machine, args ...string) *agent {
	t.Helper()
	return start(t, append([]string{"--root", m.Root(), "--interval", tick.String(), "--sensor", "powercap", "--usage", "procfs", "--processes", "all"}, args...)...)
}

func busy(pids ...int) machine.Step {
	s := machine.Step{Energy: map[string]uint64{"intel-rapl:0": 4_000_000, "intel-rapl:0:0": 400_000}, CPU: map[int]time.Duration{}}
	for _, pid := range pids {
		s.CPU[pid] = full
	}
	return s
}

// One process that cannot be read, or that ends between two reads, costs
// itself and nothing else.
func TestUnreadableAndVanishingProcesses(t *testing.T) {
	for _, usage := range []string{"auto", "procfs"} {
		t.Run(usage, func(t *testing.T) {
			t.Parallel()
			g := newGroup(t, anyVersion(t))
			a := start(t, "--interval", "200ms", "--usage", usage, "--processes", "all")
			end := g.run(nil, "/bin/sh", "-c", "while :; do /bin/true; done")
			defer end()
			a.await("the storm's unit", func() bool { return len(a.scrape().find("noether_unit_joules_total", "unit", g.unit)) > 0 })
			for range 20 {
				p := a.next()
				for _, family := range []string{"noether_node_joules_total", "noether_unit_joules_total", "noether_process_joules_total"} {
					if len(p.find(family)) == 0 {
						t.Fatalf("tick %d has no %s", p.ticks(), family)
					}
				}
			}
		})
	}
}

func TestTruncatedStatCostsOnlyItsProcess(t *testing.T) {
	t.Parallel()
	m := oneZone(t, 10, 11, 12)
	a := startOn(t, m)
	before := a.next()
	var after *page
	for _, text := range []string{"", "11 (wo", "11 (work) S 1", "11 (work) S 1 1 1 0 -1 0 0 0 0 0 x y 0 0 20 0 1 0 1 0 0\n", strings.Repeat("9", 5000)} {
		_, after = a.move(func() {
			m.BreakProcess(11, text)
			m.Advance(busy(10))
		})
		if after.value("noether_unit_cpu_seconds_total", "unit", "work.service") == 0 {
			t.Errorf("with a stat of %q the whole unit has no CPU time", text)
		}
	}
	_, after = a.move(func() { m.Advance(machine.Step{CPU: map[int]time.Duration{11: machine.Tick}}) })
	for _, pid := range []string{"10", "12"} {
		if len(after.find("noether_process_joules_total", "pid", pid)) == 0 {
			t.Errorf("process %s is missing because another one is broken", pid)
		}
	}
	if got := after.joules("noether_process_joules_total", "pid", "10", "component", "cpu") - before.joules("noether_process_joules_total", "pid", "10", "component", "cpu"); got < 19_000_000 {
		t.Errorf("process 10 was credited %d uJ of the 20 J it alone worked for", got)
	}
	if got := after.joules("noether_process_joules_total", "pid", "11", "component", "cpu"); got > 1_000_000 {
		t.Errorf("process 11 was credited %d uJ for a garbled line", got)
	}
}

// Names are any bytes but NUL: the page must stay valid and show something.
func TestNamesOfAnyBytes(t *testing.T) {
	t.Parallel()
	names := map[int]string{10: "\xff\xfeab", 11: "a\") R 1\n", 12: "énergie-mesur\xc3", 13: `back\slash`, 14: "tab\there", 15: ") S 1 (", 16: ""}
	m := oneZone(t)
	for pid, name := range names {
		m.Start(machine.Process{PID: pid, PPID: 1, Comm: name, Cgroup: "/system.slice/work.service"})
	}
	a := startOn(t, m)
	_, p := a.move(func() { m.Advance(busy(10, 11, 12, 13, 14, 15, 16)) })
	if !utf8.Valid(p.text) {
		t.Fatalf("the page is not UTF-8")
	}
	for pid := range names {
		if got := p.joules("noether_process_joules_total", "pid", strconv.Itoa(pid), "component", "cpu"); got < 4_000_000/7-1 {
			t.Errorf("process %d named %q was credited %d uJ, want a seventh of 4 J", pid, names[pid], got)
		}
	}
	if got := p.find("noether_process_joules_total", "pid", "11", "component", "cpu"); len(got) != 1 || !strings.HasPrefix(got[0].Labels["comm"], `a") R 1`) {
		t.Errorf(`the process named a") R 1 is shown as %v`, got)
	}
}

func TestRealNamesOfAnyBytes(t *testing.T) {
	for _, usage := range []string{"auto", "procfs"} {
		t.Run(usage, func(t *testing.T) {
			t.Parallel()
			g := newGroup(t, anyVersion(t))
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			french := filepath.Join(t.TempDir(), "énergie-mesurée-né")
			if err := os.Symlink(self, french); err != nil {
				t.Fatal(err)
			}
			a := start(t, "--interval", "200ms", "--usage", usage, "--processes", "all")
			defer g.play("named \xff\xfeab")()
			defer g.run([]string{roleVariable + "=burn"}, french)()
			names := map[string]bool{} // the other rung's processes have the same
			a.await("both processes", func() bool {
				clear(names)
				for _, s := range a.scrape().find("noether_process_joules_total", "component", "cpu") {
					if name := s.Labels["comm"]; strings.HasSuffix(name, "ab") && strings.Contains(name, "\ufffd") || strings.HasPrefix(name, "énergie-mesur") {
						names[name] = true
					}
				}
				return len(names) == 2
			})
			t.Logf("shown as %q", slices.Sorted(maps.Keys(names)))
		})
	}
}

// A meter that stands still for a while moves nobody's counter, down least of
// all; the audit of every scrape looks for that.
func TestZoneStandsStill(t *testing.T) {
	t.Parallel()
	m := oneZone(t, 10)
	a := startOn(t, m)
	before := a.next()
	for range 3 {
		a.move(func() { m.Advance(busy(10)) })
		still := busy(10)
		still.Energy = map[string]uint64{"intel-rapl:0": 1_000_000}
		a.move(func() { m.Advance(still) })
	}
	after := a.skip(1)
	if got := after.owner("unit/work.service", "memory", "dynamic") - before.owner("unit/work.service", "memory", "dynamic"); got != 1_200_000 {
		t.Errorf("memory moved by %d uJ, want 1200000", got)
	}
	if got := after.joules("noether_node_joules_total", "component", "cpu") - before.joules("noether_node_joules_total", "component", "cpu"); got != 15_000_000 {
		t.Errorf("cpu moved by %d uJ, want 15000000", got)
	}
}

// A counter that wraps goes on; the series starts at 0, not at the counter's value.
func TestZoneWraps(t *testing.T) {
	t.Parallel()
	m := machine.New(t, machine.Options{Zones: []machine.Zone{{Dir: "intel-rapl:0", Name: "package-0", Range: 262_143_328_850, Energy: 262_143_328_850 - 2_000_000}}})
	a := startOn(t, m)
	if got := a.next().joules("noether_node_joules_total"); got != 0 {
		t.Errorf("the node begins at %d uJ, want 0", got)
	}
	for range 3 {
		a.move(func() { m.Advance(machine.Step{Energy: map[string]uint64{"intel-rapl:0": 1_500_000}, Idle: full}) })
	}
	if got := a.skip(1).joules("noether_node_joules_total"); got != 4_500_000 {
		t.Errorf("the node is at %d uJ after 4.5 J with a wrap between", got)
	}
}

// A PID that is used again is another process: it neither inherits time nor
// takes any back, and the same name and PID continue one series.
func TestPIDReuse(t *testing.T) {
	t.Parallel()
	m := oneZone(t, 10, 11)
	a := startOn(t, m)
	_, first := a.move(func() { m.Advance(busy(10, 11)) })
	_, second := a.move(func() {
		m.Exit(10)
		m.Start(machine.Process{PID: 10, PPID: 1, Comm: "other", Cgroup: "/system.slice/work.service"})
		m.Advance(busy(11))
	})
	if got := second.find("noether_process_joules_total", "pid", "10", "comm", "work", "component", "cpu"); len(got) != 1 || number(got[0]) != 2 {
		t.Errorf("the ended process 10 shows %v, want its 2 J", got)
	}
	if got := second.joules("noether_process_joules_total", "pid", "10", "comm", "other", "component", "cpu"); got != 0 {
		t.Errorf("the new process 10 did nothing and was credited %d uJ", got)
	}
	if got := second.joules("noether_process_joules_total", "pid", "11", "component", "cpu") - first.joules("noether_process_joules_total", "pid", "11", "component", "cpu"); got != 4_000_000 {
		t.Errorf("process 11 worked alone for 4 J and was credited %d uJ", got)
	}
	_, third := a.move(func() {
		m.Exit(10)
		m.Start(machine.Process{PID: 10, PPID: 1, Comm: "work", Cgroup: "/system.slice/work.service"})
		m.Advance(busy(10))
	})
	if got := third.find("noether_process_joules_total", "pid", "10", "comm", "work", "component", "cpu"); len(got) != 1 || number(got[0]) != 6 {
		t.Errorf("the same program with the same PID shows %v, want one series at 2 + 4 J", got)
	}
}

// Whoever reads, and however often: what has ended stays for --keep-finished,
// then its total moves to the retired gauge, and the books balance throughout.
func TestFinishedStayForEveryReader(t *testing.T) {
	t.Parallel()
	m := oneZone(t, 10)
	m.AddCgroup("/system.slice/short.service", "unit/short.service")
	m.Start(machine.Process{PID: 20, PPID: 1, Comm: "short", Cgroup: "/system.slice/short.service"})
	const keep = 8 * time.Second
	a := startOn(t, m, "--keep-finished", keep.String())
	a.move(func() { m.Advance(busy(10, 20)) })
	gone := time.Now()
	m.Exit(20)
	m.RemoveCgroup("/system.slice/short.service")
	for reads := 0; ; reads++ {
		p := a.scrape()
		kept := time.Since(gone) < keep-time.Second // the page was asked for before now
		unit, process := p.owner("unit/short.service", "cpu", "dynamic"), p.joules("noether_process_joules_total", "pid", "20", "component", "cpu")
		if kept && (unit != 2_000_000 || process != 2_000_000) {
			t.Fatalf("reader %d sees %d uJ of the ended unit and %d of its process, want 2000000", reads, unit, process)
		}
		if unit == 0 && process == 0 {
			if got := p.joules("noether_retired_joules", "kind", "unit", "component", "cpu"); got != 2_000_000 {
				t.Errorf("the retired units had %d uJ, want 2000000", got)
			}
			break
		}
		if time.Since(gone) > patience {
			t.Fatalf("after %v the ended unit still has %d uJ and its process %d", patience, unit, process)
		}
		time.Sleep(100 * time.Millisecond)
		m.Advance(machine.Step{Idle: 200 * time.Millisecond}) // its clock goes on
	}
}

// Only a hypervisor is a virtual machine, and each is its own.
func TestHypervisorsAreTold(t *testing.T) {
	t.Parallel()
	m := oneZone(t)
	const log = "/var/log/libvirt/qemu-system-x86_64"
	m.Start(machine.Process{PID: 10, PPID: 1, Comm: "tail", Cmdline: []string{"tail", "-f", log}, Exe: "/usr/bin/tail", Cgroup: "/system.slice/work.service"})
	for pid := 21; pid <= 23; pid++ {
		m.Start(machine.Process{
			PID: pid, PPID: 1, Comm: "qemu-system-x86", Cmdline: []string{"/usr/bin/qemu-system-x86_64", "-m", "512"},
			Exe: "/usr/bin/qemu-system-x86_64", Cgroup: "/system.slice/work.service",
		})
	}
	a := startOn(t, m)
	_, p := a.move(func() { m.Advance(busy(10, 21, 22, 23)) })
	vms := map[string]int64{}
	for _, s := range p.find("noether_vm_joules_total", "component", "cpu", "part", "dynamic") {
		vms[s.Labels["vm"]] = p.owner("vm/"+s.Labels["vm"], "cpu", "dynamic")
	}
	for vm, e := range vms {
		if e != 1_000_000 {
			t.Errorf("VM %q was credited %d uJ, want a quarter of 4 J", vm, e)
		}
	}
	if len(vms) != 3 {
		t.Errorf("three hypervisors and a tail are %d VMs: %v", len(vms), vms)
	}
	if got := p.owner("unit/work.service", "cpu", "dynamic"); got != 1_000_000 {
		t.Errorf("the unit of the tail was credited %d uJ, want 1000000", got)
	}
}

// anyVersion returns a hierarchy whose counters an agent reads if a group of a
// test is in it: on a hybrid machine cpuacct, whatever else this machine runs.
func anyVersion(t *testing.T) string {
	t.Helper()
	found := hierarchies()
	for _, version := range []string{"v1", "v2"} {
		if found[version] != "" {
			return version
		}
	}
	t.Skip("this machine has no cgroup hierarchy that counts CPU time")
	return ""
}
