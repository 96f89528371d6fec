package agent

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/attribution"
	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// pathOwners reads owners off made-up paths: /pod/UID/CID, /ctr/CID, /vm/NAME,
// /user/NAME, anything else is a unit. Processes called qemu are VMs.
type pathOwners struct{}

func (pathOwners) Place(p *workload.Place) workload.Owner {
	e := strings.Split(strings.TrimPrefix(p.Paths[0].Path, "/"), "/")
	switch {
	case e[0] == "pod" && len(e) == 3:
		return workload.Owner{Kind: workload.PodOwner, Pod: workload.Pod{UID: e[1]}, Container: workload.Container{ID: e[2], Runtime: "containerd"}}
	case e[0] == "pod" && len(e) == 2:
		return workload.Owner{Kind: workload.PodOwner, Pod: workload.Pod{UID: e[1]}}
	case e[0] == "ctr":
		return workload.Owner{Kind: workload.ContainerOwner, Container: workload.Container{ID: e[1], Runtime: "docker"}}
	case e[0] == "vm":
		return workload.Owner{Kind: workload.VMOwner, VM: workload.VM{Name: e[1], Hypervisor: "qemu"}}
	case e[0] == "user":
		return workload.Owner{Kind: workload.SessionOwner, User: e[1]}
	}
	return workload.Owner{Kind: workload.UnitOwner, Unit: p.Paths[0].Path}
}

func (pathOwners) Process(t *workload.TaskUsage, place workload.Owner) (workload.Owner, bool) {
	if place.Kind == workload.UnitOwner && strings.HasPrefix(string(t.Comm[:]), "qemu") {
		return workload.Owner{Kind: workload.VMOwner, VM: workload.VM{Name: fmt.Sprintf("qemu-%d", t.PID), Hypervisor: "qemu"}}, true
	}
	return workload.Owner{}, false
}

// world makes ticks for books.
type world struct {
	t     testing.TB
	books *books
	now   time.Duration
	u     workload.Usage
	names *workload.Names
	group map[string]*workload.Group
	place map[string]*workload.Place
}

func newWorld(t testing.TB, c Config) *world {
	t.Helper()
	w := &world{t: t, group: map[string]*workload.Group{}, place: map[string]*workload.Place{}}
	w.books = newBooks(c, attribution.Utilisation{}, pathOwners{})
	return w
}

func (w *world) at(path string) (*workload.Place, *workload.Group) {
	if w.place[path] == nil {
		w.place[path] = &workload.Place{Paths: []workload.CgroupPath{{Path: path}}}
		w.group[path] = &workload.Group{Path: path, Place: w.place[path]}
	}
	return w.place[path], w.group[path]
}

// cgroup lists a cgroup whose counter moved by cpu.
func (w *world) cgroup(path string, cpu time.Duration) {
	_, g := w.at(path)
	w.u.Groups = append(w.u.Groups, workload.GroupUsage{Group: g, CPU: cpu})
}

// task lists a process; an empty path is an unknown place.
func (w *world) task(slot int32, pid uint32, name, path string, cpu time.Duration, state workload.TaskState) {
	t := workload.TaskUsage{Slot: slot, PID: pid, State: state, CPU: cpu}
	copy(t.Comm[:], name)
	if path != "" {
		t.Place, t.Group = w.at(path)
	}
	w.u.Tasks = append(w.u.Tasks, t)
}

// enter books the listed usage on 4 CPUs of which busy was not idle, and
// holds the laws of the books against the result.
func (w *world) enter(busy time.Duration, joules ...unit.Energy) *snapshot.Snapshot {
	w.t.Helper()
	const elapsed = 5 * time.Second
	w.now += elapsed
	w.u.HasTasks = true
	w.u.CPU = workload.CPUTime{Elapsed: elapsed, Online: 4, Capacity: 4 * elapsed, Idle: 4*elapsed - busy, Interrupt: 50 * time.Millisecond}
	var amounts []energy.Amount
	for c, j := range joules {
		amounts = append(amounts, energy.Amount{Component: energy.Component(c), Energy: j * unit.Joule})
	}
	w.books.learn(w.names)
	w.books.enter(&w.u, amounts, w.now)
	epoch := w.u.Epoch
	w.u.Reset()
	w.u.Epoch = epoch
	s := w.books.snapshot()
	laws(w.t, s, w.hidden()...)
	return s
}

// hidden returns what is not listed because it waits for a name.
func (w *world) hidden() (list []snapshot.Ledger) {
	for _, p := range w.books.podList {
		if !p.listed {
			list = append(list, p.delta)
		}
	}
	for _, a := range w.books.waiting {
		if !a.gone {
			list = append(list, a.delta)
		}
	}
	return list
}

// laws checks what has to hold for every snapshot.
func laws(t testing.TB, s *snapshot.Snapshot, hidden ...snapshot.Ledger) {
	t.Helper()
	if s.Self.Imbalance != 0 {
		t.Fatalf("the books are off by %d µJ", s.Self.Imbalance)
	}
	for c := range energy.Components {
		var node, owners, processes, system unit.Energy
		for _, n := range s.Nodes {
			if int(n.Component) == c {
				node += n.Delta[energy.Dynamic]
			}
		}
		for _, list := range [][]snapshot.Account{s.Pods, s.VMs, s.Sessions, s.Units} {
			for i := range list {
				owners += list[i].Delta[c][energy.Dynamic]
			}
		}
		for i := range s.Containers {
			if s.Containers[i].Owner.Pod.UID == "" {
				owners += s.Containers[i].Delta[c][energy.Dynamic]
			}
		}
		for i := range s.System {
			system += s.System[i].Delta[c][energy.Dynamic]
		}
		for i := range hidden {
			owners += hidden[i][c][energy.Dynamic]
		}
		if node != owners+system {
			t.Fatalf("component %d: node %d µJ, owners %d + system %d", c, node, owners, system)
		}
		if !s.HasProcesses {
			continue
		}
		for i := range s.Processes {
			processes += s.Processes[i].Delta[c]
		}
		if processes != node-system {
			t.Fatalf("component %d: processes %d µJ, node less system %d", c, processes, node-system)
		}
	}
	seen := map[string]bool{}
	once := func(kind string, labels any) {
		key := fmt.Sprint(kind, labels)
		if seen[key] {
			t.Fatalf("two series %s", key)
		}
		seen[key] = true
	}
	for kind, list := range map[string][]snapshot.Account{"pod": s.Pods, "container": s.Containers, "vm": s.VMs, "session": s.Sessions, "unit": s.Units} {
		for i := range list {
			o := *list[i].Owner
			o.Pod.QoS = ""
			once(kind, o)
		}
	}
	for i := range s.Processes {
		once("process", *s.Processes[i].Name)
	}
}

func find(list []snapshot.Account, f func(*workload.Owner) bool) *snapshot.Account {
	for i := range list {
		if f(list[i].Owner) {
			return &list[i]
		}
	}
	return &snapshot.Account{}
}

func dynamicCPU(a *snapshot.Account) unit.Energy { return a.Delta[energy.CPU][energy.Dynamic] }

func unitNamed(s *snapshot.Snapshot, name string) *snapshot.Account {
	return find(s.Units, func(o *workload.Owner) bool { return o.Unit == name })
}

func process(s *snapshot.Snapshot, pid uint32, name string) *snapshot.Process {
	for i := range s.Processes {
		if n := s.Processes[i].Name; n.PID == pid && n.Comm == name {
			return &s.Processes[i]
		}
	}
	return nil
}

func TestOwnersOfATick(t *testing.T) {
	w := newWorld(t, Default())
	w.task(0, 10, "kworker/0:1", "/", 0, workload.New|workload.KernelTask)
	w.task(1, 11, "nginx", "/nginx.service", 0, workload.New)
	w.task(2, 12, "qemu-system-x86", "/nginx.service", 0, workload.New)
	w.task(3, 13, "app", "/pod/u1/c1", 0, workload.New)
	w.enter(0)

	w.cgroup("/", 2*time.Second) // of which the kernel thread used half
	w.cgroup("/nginx.service", 4*time.Second)
	w.cgroup("/pod/u1", time.Second)
	w.cgroup("/pod/u1/c1", 3*time.Second)
	w.cgroup("/empty.slice", 0)
	w.task(0, 10, "kworker/0:1", "/", time.Second, 0)
	w.task(1, 11, "nginx", "/nginx.service", 500*time.Millisecond, 0) // 2.5 s by children that have ended
	w.task(2, 12, "qemu-system-x86", "/nginx.service", time.Second, 0)
	w.task(3, 13, "app", "/pod/u1/c1", 3*time.Second, 0)
	w.task(-1, 0, "", "", 500*time.Millisecond, workload.Ended)
	s := w.enter(20*time.Second, 200, 20)

	want := map[string]unit.Energy{
		"unit /":              dynamicCPU(unitNamed(s, "/")),
		"unit /nginx.service": dynamicCPU(unitNamed(s, "/nginx.service")),
		"pod u1":              dynamicCPU(&s.Pods[0]),
		"container c1":        dynamicCPU(&s.Containers[0]),
		"vm":                  dynamicCPU(&s.VMs[0]),
		"kernel":              s.System[workload.Kernel].Delta[energy.CPU][energy.Dynamic],
		"exited":              s.System[workload.Exited].Delta[energy.CPU][energy.Dynamic],
		"unattributed":        s.System[workload.Unattributed].Delta[energy.CPU][energy.Dynamic],
		"memory of nginx":     unitNamed(s, "/nginx.service").Delta[energy.Memory][energy.Dynamic],
	}
	got := map[string]unit.Energy{ // 10 J a busy second
		"unit /":              10 * unit.Joule,
		"unit /nginx.service": 30 * unit.Joule,
		"pod u1":              40 * unit.Joule,
		"container c1":        30 * unit.Joule,
		"vm":                  10 * unit.Joule,
		"kernel":              10*unit.Joule + 500_000, // and 50 ms of interrupts
		"exited":              5 * unit.Joule,
		"unattributed":        95*unit.Joule - 500_000,
		"memory of nginx":     3 * unit.Joule,
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(s.Units) != 2 {
		t.Errorf("a cgroup that ran nothing is listed: %d units", len(s.Units))
	}
	if p := process(s, 11, "nginx"); p == nil || p.Delta[energy.CPU] != 5*unit.Joule {
		t.Errorf("process nginx: %+v", p)
	}
	if p := process(s, 10, "kworker/0:1"); p != nil {
		t.Error("a kernel thread is in the process view")
	}
	if got, want := s.Pods[0].CPUTotal, 4*time.Second; got != want {
		t.Errorf("pod's CPU time is %s, want %s", got, want)
	}
}

func TestTasksNeverTakeMoreThanTheirCgroupUsed(t *testing.T) {
	w := newWorld(t, Default())
	w.cgroup("/a.service", time.Second)
	w.task(0, 1, "qemu", "/a.service", 3*time.Second, workload.New)
	s := w.enter(time.Second, 10)
	if got := dynamicCPU(&s.VMs[0]); got != 500_000 { // 10 J at 1 s of 20 busy
		t.Errorf("the VM pays %d µJ", got)
	}
	if got := dynamicCPU(unitNamed(s, "/a.service")); got != 0 {
		t.Errorf("the unit pays %d µJ for its VM", got)
	}
}

func TestFinishedOwnersRetire(t *testing.T) {
	c := Default()
	c.KeepFinished = 20 * time.Second
	w := newWorld(t, c)
	w.cgroup("/ctr/c1", 2*time.Second)
	w.cgroup("/pod/u1/c1", 2*time.Second)
	w.cgroup("/pod/u1/c2", 2*time.Second)
	s := w.enter(6*time.Second, 100)
	was := s.Containers[0].Total.Component(energy.CPU)
	for range 4 { // 20 s
		w.cgroup("/pod/u1/c2", 0)
		s = w.enter(time.Second, 100)
		if len(s.Containers) != 3 || !s.Containers[0].Ended {
			t.Fatalf("finished containers are not kept: %d", len(s.Containers))
		}
	}
	for range 2 {
		w.cgroup("/pod/u1/c2", 0)
		s = w.enter(time.Second, 100)
	}
	if len(s.Containers) != 1 || len(s.Pods) != 1 || s.Pods[0].Ended {
		t.Errorf("%d containers, %d pods are listed", len(s.Containers), len(s.Pods))
	}
	if got := s.Retired[workload.ContainerOwner][energy.CPU]; got != was || was == 0 {
		t.Errorf("retired %d µJ, want %d", got, was)
	}
	if got := s.Retired[workload.PodOwner][energy.CPU]; got != 0 {
		t.Errorf("a pod that lives on has retired %d µJ", got)
	}
	for range 7 {
		s = w.enter(time.Second, 100)
	}
	if len(s.Pods) != 0 || s.Retired[workload.PodOwner][energy.CPU] != 2*was {
		t.Errorf("%d pods, retired %d µJ, want %d", len(s.Pods), s.Retired[workload.PodOwner][energy.CPU], 2*was)
	}
}

func TestALabelSetIsOneSeries(t *testing.T) {
	w := newWorld(t, Default())
	w.task(0, 7000, "burn", "/a.service", 0, workload.New)
	w.enter(time.Second, 10)
	w.task(0, 7000, "burn", "/a.service", time.Second, 0)
	s := w.enter(time.Second, 10)
	first := process(s, 7000, "burn").Total[energy.CPU]
	if first == 0 {
		t.Fatal("the burner has no energy")
	}

	// The pid is reused by another program, then by the same one again.
	w.task(0, 7000, "burn", "/a.service", 0, workload.Ended)
	w.task(1, 7000, "sleep", "/a.service", time.Second, workload.New)
	s = w.enter(time.Second, 10)
	if got := process(s, 7000, "burn"); got == nil || got.Total[energy.CPU] != first || !got.Ended {
		t.Errorf("the finished burner: %+v", got)
	}
	if got := process(s, 7000, "sleep"); got == nil || got.Total[energy.CPU] != 500_000 {
		t.Errorf("its successor: %+v", got)
	}
	w.task(1, 7000, "sleep", "/a.service", 0, workload.Ended)
	w.task(0, 7000, "burn", "/a.service", time.Second, workload.New)
	s = w.enter(time.Second, 10)
	if got := process(s, 7000, "burn"); got == nil || got.Total[energy.CPU] != first+500_000 || got.Ended {
		t.Errorf("the burner that came again: %+v", got)
	}
	// exec changes the labels: the old series ends, the energy does not move.
	w.task(0, 7000, "exec'd", "/a.service", time.Second, workload.Renamed)
	s = w.enter(time.Second, 10)
	if got := process(s, 7000, "burn"); got.Total[energy.CPU] != first+500_000 || !got.Ended {
		t.Errorf("after exec: %+v", got)
	}
}

func TestTopProcesses(t *testing.T) {
	c := Default()
	c.Processes = Processes{Mode: TopProcesses, N: 2}
	w := newWorld(t, c)
	for pid := range uint32(5) {
		w.task(int32(pid), 100+pid, "p", "/a.service", 0, workload.New)
	}
	w.enter(time.Second, 10)
	for pid := range uint32(5) {
		w.task(int32(pid), 100+pid, "p", "/a.service", time.Duration(pid+1)*time.Second, 0)
	}
	w.task(9, 999, "passing", "/a.service", 20*time.Second, workload.New|workload.Ended)
	s := w.enter(time.Second, 350)
	if len(s.Processes) != 3 || process(s, 103, "p") == nil || process(s, 104, "p") == nil {
		t.Fatalf("listed: %d", len(s.Processes))
	}
	if got := process(s, 104, "p").Total[energy.CPU]; got != 50*unit.Joule {
		t.Errorf("104 has %d µJ", got)
	}
	if got := process(s, 0, "other").Total[energy.CPU]; got != 260*unit.Joule {
		t.Errorf("other has %d µJ", got)
	}
	// Another becomes busy; those that were on the list stay and keep counting.
	w.task(0, 100, "p", "/a.service", 9*time.Second, 0)
	w.task(1, 101, "p", "/a.service", 8*time.Second, 0)
	w.task(3, 103, "p", "/a.service", time.Second, 0)
	s = w.enter(time.Second, 18)
	if len(s.Processes) != 5 || process(s, 103, "p").Delta[energy.CPU] != 900_000 {
		t.Errorf("listed: %d, 103 has %+v", len(s.Processes), process(s, 103, "p"))
	}
}

func TestFinishedProcessesAreBounded(t *testing.T) {
	c := Default()
	c.Processes = Processes{Mode: TopProcesses, N: 10}
	w := newWorld(t, c)
	for pid := range uint32(3000) {
		slot := int32(pid % 10)
		w.task(slot, pid+1, "p", "/a.service", time.Second, workload.New)
		w.enter(time.Second, 1)
		w.task(slot, pid+1, "p", "/a.service", time.Second, workload.Ended)
		s := w.enter(time.Second, 1)
		if len(s.Processes) > 10+1000+2 {
			t.Fatalf("%d processes are listed after %d", len(s.Processes), pid)
		}
	}
	if n := len(w.books.view.byName); n > 1012 {
		t.Errorf("%d names are remembered", n)
	}
}

func TestAnotherSourceTakesOver(t *testing.T) {
	w := newWorld(t, Default())
	w.task(0, 50, "a", "/a.service", 0, workload.New)
	w.task(1, 51, "b", "/a.service", 0, workload.New)
	w.enter(time.Second, 10)
	w.task(0, 50, "a", "/a.service", time.Second, 0)
	s := w.enter(time.Second, 10)
	had := process(s, 50, "a").Total[energy.CPU]
	w.u.Epoch++
	w.task(0, 51, "b", "/a.service", 0, workload.New)
	w.task(1, 50, "a", "/a.service", 0, workload.New)
	w.enter(time.Second, 10)
	w.task(1, 50, "a", "/a.service", time.Second, 0)
	s = w.enter(time.Second, 10)
	if got := process(s, 50, "a"); got.Ended || got.Total[energy.CPU] <= had {
		t.Errorf("after the change: %+v, had %d", got, had)
	}
	if a := unitNamed(s, "/a.service"); a.Ended {
		t.Error("the unit has ended")
	}
}

func TestWhoRanIsUnknown(t *testing.T) {
	w := newWorld(t, Default())
	w.now = time.Second
	w.books.enter(&workload.Usage{}, []energy.Amount{{Component: energy.CPU, Energy: 7}}, w.now)
	s := w.books.snapshot()
	laws(t, s)
	if got := s.System[workload.Unattributed].Delta[energy.CPU][energy.Dynamic]; got != 7 || s.HasProcesses {
		t.Errorf("unattributed %d µJ, processes %t", got, s.HasProcesses)
	}
}

// Without the machine's CPU time nobody knows how much was idle: what little
// ran must not pay for all of it.
func TestCapacityIsUnknown(t *testing.T) {
	for _, policy := range []attribution.Policy{attribution.Utilisation{}, attribution.Proportional{}} {
		w := newWorld(t, Default())
		w.books.policy = policy
		w.task(0, 10, "sh", "/a.service", 0, workload.New)
		w.enter(0)
		w.cgroup("/a.service", time.Millisecond)
		w.task(0, 10, "sh", "/a.service", time.Millisecond, 0)
		w.u.HasTasks = true
		w.books.enter(&w.u, []energy.Amount{{Component: energy.CPU, Energy: 500 * unit.Joule}}, 10*time.Second)
		s := w.books.snapshot()
		laws(t, s)
		if got := unitNamed(s, "/a.service"); got.Delta.Component(energy.CPU) != 0 || got.CPUTotal != time.Millisecond {
			t.Errorf("%s: the unit pays %d µJ for %s", policy.Name(), got.Delta.Component(energy.CPU), got.CPUTotal)
		}
		if got := s.System[workload.Unattributed].Delta.Component(energy.CPU); got != 500*unit.Joule {
			t.Errorf("%s: %d µJ are unattributed", policy.Name(), got)
		}
	}
}

// The kernel runs vhost and other threads in the cgroup of the machine or
// container that they work for: they are part of it, as they are of its counter.
func TestKernelThreadsInACgroupAreItsOwner(t *testing.T) {
	w := newWorld(t, Default())
	w.task(0, 2, "kthreadd", "/", 0, workload.New|workload.KernelTask)
	w.task(1, 20, "vhost-19", "/vm/v1", 0, workload.New|workload.KernelTask)
	w.task(2, 21, "kvm-pit", "", 0, workload.New|workload.KernelTask)
	w.enter(0)
	w.cgroup("/", time.Second)
	w.cgroup("/vm/v1", 2*time.Second)
	w.task(0, 2, "kthreadd", "/", time.Second, workload.KernelTask)
	w.task(1, 20, "vhost-19", "/vm/v1", 2*time.Second, workload.KernelTask)
	w.task(2, 21, "kvm-pit", "", time.Second, workload.KernelTask)
	s := w.enter(4*time.Second, 400)
	if got := find(s.VMs, func(o *workload.Owner) bool { return o.VM.Name == "v1" }).CPUTotal; got != 2*time.Second {
		t.Errorf("the machine has %s", got)
	}
	if got := s.System[workload.Kernel].Delta[energy.CPU][energy.Dynamic]; got != 40*unit.Joule {
		t.Errorf("the kernel has %d µJ", got)
	}
}

// A page shows a control character by an escape, which another name may have
// in plain letters: to be one series for a label set, names have none.
func TestNamesWithControlCharacters(t *testing.T) {
	c := Default()
	c.Processes = Processes{Mode: AllProcesses}
	w := newWorld(t, c)
	for i, name := range []string{"a\x01\x7fb", `a\x01`, "a\u0085", "two\nlines"} {
		w.task(int32(i), uint32(10+i), name, "/a.service", time.Second, workload.New)
	}
	var got []string
	for _, p := range w.enter(4*time.Second, 100).Processes[1:] {
		got = append(got, p.Name.Comm)
	}
	if diff := cmp.Diff([]string{"a\uFFFD\uFFFDb", `a\x01`, "a\uFFFD", "two\nlines"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// learner is an Owners that learns the name of a machine from its monitor.
type learner struct {
	pathOwners
	name string
}

func (l *learner) Place(p *workload.Place) workload.Owner {
	o := l.pathOwners.Place(p)
	if o.Kind == workload.VMOwner && l.name != "" {
		o.VM.Name = l.name
	}
	return o
}

func (l *learner) Process(t *workload.TaskUsage, place workload.Owner) (workload.Owner, bool) {
	if place.Kind != workload.VMOwner || string(t.Comm[:3]) != "kvm" {
		return place, false
	}
	l.name, place.VM.Name = "web", "web"
	return place, true
}

// A cgroup may be there before the monitor that knows the machine's name:
// from then on all of the machine is under that name.
func TestMachineThatGetsItsName(t *testing.T) {
	c := Default()
	c.KeepFinished = 10 * time.Second
	w := newWorld(t, c)
	w.books.owners = &learner{}
	for _, p := range []string{"/vm/100", "/vm/100/vcpu0"} {
		w.cgroup(p, time.Second)
	}
	w.task(0, 10, "swtpm", "/vm/100", time.Second, workload.New)
	w.enter(2*time.Second, 20)
	for tick := range 6 {
		w.cgroup("/vm/100", 2*time.Second)
		w.cgroup("/vm/100/vcpu0", time.Second)
		w.task(0, 10, "swtpm", "/vm/100", time.Second, 0)
		state := workload.TaskState(0)
		if tick == 0 {
			state = workload.New
		}
		w.task(1, 11, "kvm", "/vm/100", time.Second, state)
		s := w.enter(3*time.Second, 30)
		web := find(s.VMs, func(o *workload.Owner) bool { return o.VM.Name == "web" })
		if tick > 0 && (web.CPUDelta != 3*time.Second || dynamicCPU(web) != 4500*unit.Joule/1000) {
			t.Errorf("tick %d: the machine has %s and %d µJ", tick, web.CPUDelta, dynamicCPU(web))
		}
		if tick == 5 && len(s.VMs) != 1 {
			t.Errorf("at the end there are %d machines", len(s.VMs))
		}
	}
}

// TestRandomWorld runs random machines for a while: the laws hold in every
// tick and no counter ever falls.
func TestRandomWorld(t *testing.T) {
	paths := []string{"/", "/a.service", "/b.service", "/ctr/c1", "/ctr/c2", "/pod/u1", "/pod/u1/c1", "/pod/u1/c2", "/pod/u2/c3", "/user/ada", "/vm/v1"}
	names := []string{"qemu", "sh", "\xff\xfe", "énergie-mesur\xc3"}
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		c := Default()
		c.KeepFinished = time.Duration(r.IntN(40)) * time.Second
		c.Processes = []Processes{{}, {Mode: TopProcesses, N: 1 + r.IntN(5)}, {Mode: AllProcesses}}[r.IntN(3)]
		w := newWorld(t, c)
		live := map[int32]uint32{}
		last := map[string]unit.Energy{}
		for range 120 {
			for _, p := range paths {
				if r.IntN(3) > 0 {
					w.cgroup(p, time.Duration(max(0, r.Int64N(int64(4*time.Second))-int64(time.Second))))
				}
			}
			if r.IntN(30) == 0 {
				w.u.Epoch++
				clear(live)
			}
			for slot := range int32(12) {
				pid, there := live[slot]
				path := paths[r.IntN(len(paths))]
				if r.IntN(10) == 0 {
					path = ""
				}
				cpu := time.Duration(r.Int64N(int64(2 * time.Second)))
				switch {
				case !there && r.IntN(2) == 0:
					state := workload.New
					live[slot] = 1 + r.Uint32N(20)
					if r.IntN(4) == 0 {
						state |= workload.Ended
					}
					if r.IntN(6) == 0 {
						state |= workload.KernelTask
					}
					w.task(slot, live[slot], names[r.IntN(len(names))], path, cpu, state)
					if state&workload.Ended != 0 {
						delete(live, slot)
					}
				case there && r.IntN(5) == 0:
					w.task(slot, pid, names[0], path, cpu, workload.Ended)
					delete(live, slot)
				case there:
					w.task(slot, pid, names[r.IntN(len(names))], path, cpu, workload.Renamed)
				}
			}
			w.task(-1, 0, "", paths[r.IntN(len(paths))], time.Duration(r.IntN(1e9)), workload.Ended)
			s := w.enter(time.Duration(r.Int64N(int64(20*time.Second))), unit.Energy(r.IntN(1000)), unit.Energy(r.IntN(50)))
			now := map[string]unit.Energy{}
			for kind, list := range map[string][]snapshot.Account{"pod": s.Pods, "container": s.Containers, "vm": s.VMs, "session": s.Sessions, "unit": s.Units} {
				for i := range list {
					now[kind+fmt.Sprint(*list[i].Owner)] = list[i].Total.Component(energy.CPU)
				}
			}
			for i := range s.Processes {
				now[fmt.Sprint(*s.Processes[i].Name)] = s.Processes[i].Total[energy.CPU]
			}
			for k, v := range now {
				if v < last[k] {
					t.Fatalf("seed %d: %s fell from %d to %d µJ", seed, k, last[k], v)
				}
			}
			last = now
		}
	}
}

func TestSteadyTickAllocatesNothing(t *testing.T) {
	w := newWorld(t, Default())
	w.around(germany())
	amounts := []energy.Amount{{Component: energy.CPU, Energy: 100 * unit.Joule}}
	tick := func() {
		w.now += 5 * time.Second
		w.u.HasTasks = true
		w.u.CPU = workload.CPUTime{Capacity: 20 * time.Second, Idle: 10 * time.Second}
		for _, p := range []string{"/", "/a.service", "/pod/u1/c1"} {
			w.cgroup(p, time.Second)
		}
		for i := range int32(50) {
			w.task(i, uint32(i)+1, "p", "/a.service", time.Duration(i)*time.Millisecond, 0)
		}
		w.books.enter(&w.u, amounts, w.now)
		w.u.Reset()
	}
	for range 3 {
		tick()
	}
	if n := testing.AllocsPerRun(100, tick); n != 0 {
		t.Errorf("a steady tick allocates %v times", n)
	}
}

func BenchmarkTick(b *testing.B) {
	for _, n := range []int32{1000, 10000} {
		b.Run(strconv.Itoa(int(n)), func(b *testing.B) {
			c := Default()
			c.Processes = Processes{Mode: AllProcesses}
			w := newWorld(b, c)
			w.u.HasTasks = true
			for i := range n {
				w.task(i, uint32(i)+1, "p", "/a.service", 0, workload.New)
			}
			w.books.enter(&w.u, nil, 0)
			b.ReportAllocs()
			for b.Loop() {
				w.u.Reset()
				w.u.HasTasks = true
				w.cgroup("/a.service", time.Second)
				for i := range int32(100) {
					w.task(i*(n/100), uint32(i)+1, "p", "/a.service", time.Millisecond, 0)
				}
				w.now += 5 * time.Second
				w.books.enter(&w.u, []energy.Amount{{Component: energy.CPU, Energy: 100 * unit.Joule}}, w.now)
				w.books.snapshot()
			}
		})
	}
}
