package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"noether/test/machine"
)

// tick is the interval on simulated machines.
const tick = 400 * time.Millisecond

// full is CPU time that no two CPUs have between two ticks, however late: a
// step with more of it is all work, whatever the clock says.
const full = 60 * time.Second

const (
	containerID = "4f1d2c3b4a5968778695a4b3c2d1e0f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
	podUID      = "0b7c6a52-9a3e-4a51-8d7f-1f0b6f2d9c11"
	inPodID     = "aa1d2c3b4a5968778695a4b3c2d1e0f00f1e2d3c4b5a69788796a5b4c3d2e1ff"
)

// node is a simulated machine with something of everything on it.
func node(t *testing.T, layout machine.Layout, kernel bool) *machine.Machine {
	t.Helper()
	const wraps = 262_143_328_850
	m := machine.New(t, machine.Options{Layout: layout, Zones: []machine.Zone{
		{Dir: "intel-rapl:0", Name: "package-0", Range: wraps, Energy: wraps - 40_000_000},
		{Dir: "intel-rapl:0:0", Name: "core", Range: wraps, Energy: 17},
		{Dir: "intel-rapl:0:1", Name: "dram", Range: 65_532_610_987, Energy: 65_532_610_987 - 5_000_000},
		{Dir: "intel-rapl:1", Name: "package-1", Range: wraps, Energy: wraps - 90_000_000},
		{Dir: "intel-rapl:1:0", Name: "dram", Range: 65_532_610_987, Energy: 65_532_610_980},
		{Dir: "intel-rapl:2", Name: "psys", Range: wraps, Energy: wraps - 100_000_000},
	}})
	m.AddCgroup("/system.slice/cron.service", "unit/cron.service")
	m.AddCgroup("/system.slice/docker-"+containerID+".scope", "container/"+containerID)
	m.AddCgroup("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"+strings.ReplaceAll(podUID, "-", "_")+".slice/cri-containerd-"+inPodID+".scope", "pod/"+podUID)
	m.AddCgroup("/user.slice/user-1000.slice/session-3.scope", "session/1000")
	m.AddCgroup("/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/emulator", "vm/web")
	m.AddCgroup("/system.slice/nginx.service", "unit/nginx.service")
	pid := 100
	for _, path := range []string{
		"/system.slice/cron.service", "/system.slice/nginx.service", "/system.slice/docker-" + containerID + ".scope",
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + strings.ReplaceAll(podUID, "-", "_") + ".slice/cri-containerd-" + inPodID + ".scope",
		"/user.slice/user-1000.slice/session-3.scope", "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/emulator",
	} {
		for range 2 {
			p := machine.Process{PID: pid, PPID: 1, Comm: fmt.Sprint("proc", pid), Cmdline: []string{"/usr/bin/proc"}, Cgroup: path, RSS: 1 << 20}
			if strings.HasPrefix(m.Owner(path), "vm/") {
				p.Comm, p.Exe = "qemu-system-x86", "/usr/bin/qemu-system-x86_64"
				p.Cmdline = []string{"/usr/bin/qemu-system-x86_64", "-name", "guest=web,debug-threads=on", "-m", "1024"}
			}
			m.Start(p)
			pid++
		}
	}
	if kernel {
		m.Start(machine.Process{PID: 2, Comm: "kthreadd", Kernel: true})
		m.Start(machine.Process{PID: 17, PPID: 2, Comm: "kworker/0:1-eve", Kernel: true})
	}
	return m
}

// account returns the family and the labels under which an owner is exported.
func account(owner string) (family string, labels []string) {
	kind, name, _ := strings.Cut(owner, "/")
	label := map[string]string{"unit": "unit", "container": "container_id", "pod": "pod_uid", "session": "user", "vm": "vm", "system": "account"}[kind]
	return "noether_" + kind, []string{label, name}
}

func (p *page) owner(owner, component, part string) int64 {
	family, labels := account(owner)
	return p.joules(family+"_joules_total", append(labels, "component", component, "part", part)...)
}

// random returns a step: mostly work, sometimes none. In whole steps every
// share is a whole number of microjoules.
func random(r *rand.Rand, m *machine.Machine) machine.Step {
	s := machine.Step{Energy: map[string]uint64{}, CPU: map[int]time.Duration{}, Children: map[int]time.Duration{}}
	each := uint64(1)
	if r.IntN(4) == 0 {
		s.Idle = full
	} else {
		for _, pid := range m.PIDs() {
			if pid != 2 && r.IntN(3) > 0 {
				s.CPU[pid] = time.Duration(r.IntN(400)) * machine.Tick
			}
			if pid >= 100 && r.IntN(4) == 0 {
				s.Children[pid] = time.Duration(r.IntN(300)) * machine.Tick
			}
		}
		s.CPU[100] += full
		if r.IntN(2) == 0 {
			each = 0
			for _, d := range s.CPU {
				each += uint64(d / machine.Tick)
			}
			for _, d := range s.Children {
				each += uint64(d / machine.Tick)
			}
		}
	}
	amount := func(limit uint64) uint64 { return r.Uint64N(limit/each+1) * each }
	p0, p1, d0, d1 := amount(9_000_000), amount(9_000_000), amount(900_000), amount(900_000)
	s.Energy = map[string]uint64{
		"intel-rapl:0": p0, "intel-rapl:0:0": p0 / 2, "intel-rapl:0:1": d0, "intel-rapl:1": p1, "intel-rapl:1:0": d1,
		// Sometimes less than what it contains: meters do not tick together.
		"intel-rapl:2": p0 + p1 + d0 + d1 + amount(3_000_000),
	}
	if r.IntN(5) == 0 {
		s.Energy["intel-rapl:2"] = (p0 + p1) / 2 / each * each
	}
	if r.IntN(6) == 0 {
		s.Energy["intel-rapl:0:1"], s.Energy["intel-rapl:1:0"] = 0, 0 // a meter that stands still
	}
	return s
}

// between changes a machine between two ticks of the agent and returns the
// pages before and after that. Clean is false if a tick may have begun while
// the machine changed: then only sums hold.
func (a *agent) between(change func()) (before, after *page, clean bool) {
	a.t.Helper()
	before = a.next()
	change()
	changed := time.Now()
	quiet := before // the last page without the change
	a.await("the next tick", func() bool {
		after = a.scrape()
		if after.ticks() == before.ticks() {
			quiet = after
			return false
		}
		return true
	})
	// The tick was published after quiet was asked for, and began this much before.
	worked := time.Duration(after.value("noether_tick_duration_seconds") * float64(time.Second))
	clean = after.ticks() == before.ticks()+1 && quiet.asked.Add(-worked).After(changed)
	if !clean {
		after = a.skip(1)
	}
	return before, after, clean
}

// move is between for tests that make few changes: one that a tick fell into
// ends the test, because nothing exact can be said then.
func (a *agent) move(change func()) (before, after *page) {
	a.t.Helper()
	before, after, clean := a.between(change)
	if !clean {
		a.t.Skip("the machine is too slow: a tick fell into a change of the simulated machine")
	}
	return before, after
}

// TestTheBooksMatchTheTruth moves simulated machines by known amounts, with
// wraps, meters that stand still and children that nobody saw, and compares
// every figure of the real binary to the microjoule.
func TestTheBooksMatchTheTruth(t *testing.T) {
	for _, layout := range []machine.Layout{machine.V2, machine.V1, machine.Hybrid} {
		for _, usage := range []string{"procfs", "cgroup"} {
			t.Run(layout.String()+" "+usage, func(t *testing.T) {
				t.Parallel()
				m := node(t, layout, usage != "cgroup")
				a := start(t, "--root", m.Root(), "--interval", tick.String(), "--sensor", "powercap", "--usage", usage, "--processes", "all", "--node-name", "n1")
				seed := uint64(time.Now().UnixNano())
				t.Logf("seed %d", seed)
				r := rand.New(rand.NewPCG(seed, 0))
				var debt uint64
				checked := 0
				for try := 0; try < 60 && checked < 16; try++ {
					s := random(r, m)
					bill := m.Bill(s, debt)
					before, after, clean := a.between(func() { m.Advance(s) })
					debt = bill.Debt
					compareZones(t, s, before, after)
					compareNode(t, &bill, before, after, clean)
					if !clean {
						// The debt of a torn step depends on the tear: begin anew without one.
						debt = repay(a, m)
						continue
					}
					checked++
					compareOwners(t, m, &bill, before, after)
					compareCPU(t, m, s, before, after)
					if usage == "procfs" {
						compareProcesses(t, &bill, before, after)
					}
					if t.Failed() {
						t.Fatalf("after this step:\n%+v\n%s", s, after.text)
					}
					if usage == "procfs" && r.IntN(3) == 0 { // births and deaths between the ticks
						pid := 200 + try
						m.Start(machine.Process{PID: pid, PPID: 100, Comm: "late", Cgroup: "/system.slice/cron.service"})
						if victim := 200 + try - 5; slices.Contains(m.PIDs(), victim) {
							m.Exit(victim)
						}
					}
				}
				if checked < 4 {
					t.Skipf("the machine is too slow: only %d steps fell between two ticks", checked)
				}
				t.Logf("%d steps compared", checked)
			})
		}
	}
}

// repay lets psys make good for whatever other is short of.
func repay(a *agent, m *machine.Machine) uint64 {
	a.t.Helper()
	m.Advance(machine.Step{Energy: map[string]uint64{"intel-rapl:2": 30_000_000}, Idle: full})
	a.skip(2)
	return 0
}

func compareZones(t *testing.T, s machine.Step, before, after *page) {
	t.Helper()
	got := map[string]int64{}
	for _, z := range after.find("noether_zone_joules_total") {
		labels := []string{"zone", z.Labels["zone"], "socket", z.Labels["socket"]}
		got[z.Labels["zone"]+" "+z.Labels["socket"]] = after.joules(z.Name, labels...) - before.joules(z.Name, labels...)
	}
	var sum, want int64
	for _, e := range got {
		sum += e
	}
	for _, e := range s.Energy {
		want += int64(e)
	}
	if sum != want || len(got) != len(s.Energy) {
		t.Errorf("zones say %d uJ in %v, they were moved by %d uJ in %v", sum, got, want, s.Energy)
	}
}

func compareNode(t *testing.T, b *machine.Bill, before, after *page, clean bool) {
	t.Helper()
	for _, component := range []string{"cpu", "memory", "other"} {
		delta := func(part string) int64 {
			labels := []string{"component", component, "part", part, "quality", "measured", "node", "n1"}
			return after.joules("noether_node_joules_total", labels...) - before.joules("noether_node_joules_total", labels...)
		}
		dynamic, idle := delta("dynamic"), delta("idle")
		if clean && (dynamic != int64(b.Dynamic[component]) || idle != int64(b.Idle[component])) {
			t.Errorf("node %s: %d uJ dynamic and %d idle, want %d and %d", component, dynamic, idle, b.Dynamic[component], b.Idle[component])
		}
		if component != "other" && dynamic+idle != int64(b.Dynamic[component]+b.Idle[component]) {
			t.Errorf("node %s: %d uJ, want %d", component, dynamic+idle, b.Dynamic[component]+b.Idle[component])
		}
	}
}

func compareOwners(t *testing.T, m *machine.Machine, b *machine.Bill, before, after *page) {
	t.Helper()
	owners := map[string]bool{"system/kernel": true, "system/exited": true, "system/unattributed": true, "system/unreserved": true}
	for _, pid := range m.PIDs() {
		owners[m.OwnerOf(pid)] = true
	}
	for _, owner := range slices.Sorted(maps.Keys(owners)) {
		for _, component := range []string{"cpu", "memory", "other"} {
			got := after.owner(owner, component, "dynamic") - before.owner(owner, component, "dynamic")
			want := b.Owners[owner][component]
			if got < 0 || !want.Holds(uint64(got)) {
				t.Errorf("%s, %s: %d uJ, want %v", owner, component, got, want)
			}
			if e := after.owner(owner, component, "idle"); e != 0 {
				t.Errorf("%s, %s: %d uJ of idle energy, which nobody reserved", owner, component, e)
			}
		}
	}
	for component, want := range b.Idle {
		got := after.owner("system/idle", component, "idle") - before.owner("system/idle", component, "idle")
		if got != int64(want) {
			t.Errorf("idle account, %s: %d uJ, want %d", component, got, want)
		}
	}
}

func compareCPU(t *testing.T, m *machine.Machine, s machine.Step, before, after *page) {
	t.Helper()
	want := map[string]time.Duration{}
	for _, pid := range m.PIDs() {
		want[m.OwnerOf(pid)] += s.CPU[pid] + s.Children[pid]
	}
	for owner, d := range want {
		family, labels := account(owner)
		if family == "noether_system" || family == "noether_session" {
			continue // they have no such family
		}
		got := after.value(family+"_cpu_seconds_total", labels...) - before.value(family+"_cpu_seconds_total", labels...)
		if diff := got - d.Seconds(); diff > 1e-6 || diff < -1e-6 {
			t.Errorf("%s used %v of CPU time, the page says %.9f s", owner, d, got)
		}
	}
}

// compareProcesses checks the view: each process within a microjoule for its
// own rounding and one for its owner's, and the sum exactly.
func compareProcesses(t *testing.T, b *machine.Bill, before, after *page) {
	t.Helper()
	const family = "noether_process_joules_total"
	for pid, shares := range b.Processes {
		if pid == 2 || pid == 17 {
			continue // the kernel's own are not processes
		}
		for component, want := range shares {
			labels := []string{"pid", strconv.Itoa(pid), "component", component}
			got := after.joules(family, labels...) - before.joules(family, labels...)
			low, high := int64(want.Low), int64(want.High)
			if low != high {
				low, high = low-1, high+1
			}
			if got < low || got > high {
				t.Errorf("process %d, %s: %d uJ, want %v", pid, component, got, want)
			}
		}
	}
	for component, dynamic := range b.Dynamic {
		system := int64(0)
		for _, s := range after.find("noether_system_joules_total", "component", component, "part", "dynamic") {
			account := s.Labels["account"]
			system += after.owner("system/"+account, component, "dynamic") - before.owner("system/"+account, component, "dynamic")
		}
		got := after.joules(family, "component", component) - before.joules(family, "component", component)
		if got != int64(dynamic)-system {
			t.Errorf("processes, %s: %d uJ together, want %d less %d of the system", component, got, dynamic, system)
		}
	}
}
