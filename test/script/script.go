// Package script runs the real agent code on a script: machines that exist on
// paper only, with a clock of their own, live through days in seconds. It
// refuses to guess: energy, CPU time, names, grid and prices are what the
// script says, and a word of warning from the agent fails the test.
package script

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"noether/internal/agent"
	"noether/internal/energy"
	"noether/internal/export"
	"noether/internal/identity"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/usage"
	"noether/internal/workload"
)

// Runner is something that runs in every minute, or in those of From to Until of each day.
type Runner struct {
	Path        string // its cgroup
	Comm        string
	CPU         time.Duration                     // in each minute
	Work        func(now time.Time) time.Duration // instead of CPU, in the tick that ends then; nil for CPU
	Kernel      bool
	From, Until int // minutes of the day; both 0: all day
}

func (r *Runner) runs(at time.Time) bool {
	minute := at.Hour()*60 + at.Minute()
	return r.Until == 0 || minute > r.From && minute <= r.Until // a tick ends at its minute
}

// Host is a machine, its pods, its site and its script. It lives once.
type Host struct {
	Name      string
	CPUs      int
	Begin     time.Time
	Tick      time.Duration
	Power     func(now time.Time) unit.Power // of the processors, during the tick that ends then
	Memory    unit.Power                     // by a model; 0 for none
	Runners   []Runner
	Names     func(now time.Time) *workload.Names
	Site      func(now time.Time) snapshot.Site // during the tick that ends then
	RestartAt time.Time                         // the agent starts anew then; zero for never
	Verdicts  []probe.Verdict

	now    time.Time
	counts [2]unit.Energy // processors, memory
	places []*workload.Place
}

// ID is the identifier of container n.
func ID(n int) string { return strings.Repeat(fmt.Sprintf("%04x", n), 16) }

// UID is the identifier of pod n.
func UID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

// PodPath is the cgroup of the one container of pod n.
func PodPath(n int) string {
	return fmt.Sprintf("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod%s.slice/cri-containerd-%s.scope",
		strings.ReplaceAll(UID(n), "-", "_"), ID(n))
}

// Facts are those of pod n, which has the one container main.
func Facts(n int, namespace, pod, kind, name string, reserved workload.Reserved) *workload.PodFacts {
	return &workload.PodFacts{
		UID: UID(n), Namespace: namespace, Name: pod, WorkloadKind: kind, Workload: name, Reserved: reserved,
		Containers: map[string]workload.ContainerFacts{ID(n): {Name: "main", Reserved: reserved}},
	}
}

// A Host is its own sensor, source of usage, source of names and site.

func (h *Host) mono() time.Duration { return h.now.Sub(h.Begin) + time.Hour }

type meter struct{ h *Host }

func (m meter) Close() error { return nil }

func (m meter) Zones() []energy.Zone {
	zones := []energy.Zone{{Sensor: "powercap", Name: "package-0", Domain: energy.Package, Path: "energy_uj", Die: -1}}
	if m.h.Memory > 0 {
		zones = append(zones, energy.Zone{Sensor: "model", Name: "memory", Domain: energy.ModelMemory, Socket: -1, Die: -1, Quality: energy.Estimated, Band: true})
	}
	return zones
}

func (m meter) Read(_ context.Context, dst []energy.Reading) ([]energy.Reading, error) {
	at := m.h.mono()
	dst = append(dst, energy.Reading{At: at, Energy: m.h.counts[0]})
	if m.h.Memory > 0 {
		e := m.h.counts[1]
		dst = append(dst, energy.Reading{Zone: 1, At: at, Energy: e, Low: e / 2, High: 2 * e})
	}
	return dst, nil
}

type tasks struct {
	h    *Host
	seen map[int]bool
	last time.Time
}

func (u *tasks) Name() string { return "procfs" }
func (u *tasks) Close() error { return nil }

func (u *tasks) Read(_ context.Context, dst *workload.Usage) error {
	h := u.h
	elapsed := h.now.Sub(u.last)
	u.last = h.now
	capacity := elapsed * time.Duration(h.CPUs)
	idle := capacity
	for i := range h.Runners {
		r := &h.Runners[i]
		t := workload.TaskUsage{Slot: int32(i), PID: uint32(100 + i), Place: h.places[i], RSS: 1 << 20}
		copy(t.Comm[:], r.Comm)
		running := r.runs(h.now)
		switch {
		case running && elapsed > 0:
			t.CPU = time.Duration(float64(r.CPU) * h.Tick.Minutes())
			if r.Work != nil {
				t.CPU = r.Work(h.now)
			}
			idle -= t.CPU
		case !running && !u.seen[i]:
			continue
		case !running:
			t.State |= workload.Ended
		}
		if !u.seen[i] {
			t.State |= workload.New
		}
		if r.Kernel {
			t.State |= workload.KernelTask
		}
		u.seen[i] = running
		dst.Tasks = append(dst.Tasks, t)
	}
	dst.HasTasks = true
	dst.CPU = workload.CPUTime{Elapsed: elapsed, Online: h.CPUs, Capacity: capacity, Idle: idle}
	return nil
}

var _ usage.Source = (*tasks)(nil)

type owners struct{}

func (owners) Place(p *workload.Place) workload.Owner { return identity.Resolve(p.Paths) }
func (owners) Process(*workload.TaskUsage, workload.Owner) (workload.Owner, bool) {
	return workload.Owner{}, false
}

type names struct{ h *Host }

func (n names) Latest() *workload.Names { return n.h.Names(n.h.now) }
func (names) Missing([]workload.Owner)  {}
func (n names) Status(dst []workload.NamesStatus) []workload.NamesStatus {
	passed := uint64(n.h.now.Sub(n.h.Begin) / time.Minute)
	return append(dst, workload.NamesStatus{Source: "api", Up: true, Requests: passed / 10, Bytes: passed * 100, Known: len(n.h.Names(n.h.now).Pods), Synced: n.h.now})
}

type site struct{ h *Host }

func (s site) Between(_, to time.Time) *snapshot.Site { v := s.h.Site(to); return &v }

// start starts an agent on the host.
func (h *Host) start(t testing.TB) *agent.Agent {
	t.Helper()
	c := agent.Default()
	c.Interval, c.NodeName = h.Tick, h.Name
	a, err := agent.New(agent.Options{
		Config: c, Sensors: []sensor.Sensor{meter{h}}, Verdicts: h.Verdicts, Usage: &tasks{h: h, seen: map[int]bool{}, last: h.now},
		Owners: owners{}, Names: names{h}, Site: site{h}, Log: slog.New(slog.NewTextHandler(failing{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Clock: agent.Clock{Wall: func() time.Time { return h.now }, Mono: h.mono, Boot: h.mono, CPU: func() time.Duration { return h.mono() / 10_000 }},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Baseline(t.Context())
	return a
}

// failing fails the test of what an agent says: it has nothing to complain of.
type failing struct{ t testing.TB }

func (f failing) Write(p []byte) (int, error) {
	f.t.Errorf("the agent says: %s", p)
	return len(p), nil
}

// Live lets the time until end pass, and hands over each snapshot with what is
// known of its agent. Snapshots do not change. Books that do not balance fail
// the test.
func (h *Host) Live(t testing.TB, end time.Time, each func(*snapshot.Snapshot, *export.About)) {
	t.Helper()
	h.now = h.Begin
	for i := range h.Runners {
		h.places = append(h.places, &workload.Place{Paths: []workload.CgroupPath{{Path: h.Runners[i].Path}}})
	}
	about := export.About{Version: "1.0.0", Revision: "0", GoVersion: "go", OS: "linux", Arch: "amd64", Kernel: "6.12", CPUModel: "test", Node: h.Name}
	a := h.start(t)
	about.Start = h.now
	for h.now.Before(end) {
		if h.now.Equal(h.RestartAt) {
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			a = h.start(t)
			about.Start = h.now
		}
		h.now = h.now.Add(h.Tick)
		h.counts[0] += h.Power(h.now).For(h.Tick)
		h.counts[1] += h.Memory.For(h.Tick)
		s := a.Tick(t.Context())
		if s.Self.Imbalance != 0 || s.Self.ImbalanceCO2e != 0 {
			t.Fatalf("%v on %s: the books do not balance", h.now, h.Name)
		}
		each(s, &about)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}
