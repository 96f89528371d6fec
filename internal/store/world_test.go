package store

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"noether/internal/energy"
	"noether/internal/export/exporttest"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// world is a machine with pods that use energy, and the clocks of an agent on it.
type world struct {
	r    *rand.Rand
	s    snapshot.Snapshot
	wall time.Time // as snapshots tell it
	mono time.Time // as the store's clock tells it
	busy []float64 // watts of each pod
}

// day is where the worlds begin: on the five-minute grid.
var day = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func newWorld(pods int) *world {
	w := &world{r: rand.New(rand.NewPCG(1, 2)), wall: day, mono: day}
	w.s = *exporttest.Snapshot()
	w.s.Pods, w.s.Containers, w.s.Namespaces, w.s.Workloads = nil, nil, nil, nil
	w.s.Processes, w.s.HasProcesses = nil, false
	w.s.SharesIdle = true
	for i := range pods {
		pod := workload.Pod{
			UID: fmt.Sprintf("8a3c0f4e-0001-4d2b-9f6e-%012d", i), Namespace: fmt.Sprintf("team-%d", i%10),
			Name: fmt.Sprintf("web-%d-7d9f8c6b5-%05d", i%100, i), WorkloadKind: "Deployment", Workload: fmt.Sprintf("web-%d", i%100),
		}
		c := workload.Container{ID: fmt.Sprintf("%064x", i), Runtime: "containerd", Name: "main"}
		w.s.Pods = append(w.s.Pods, snapshot.Account{Owner: &workload.Owner{Kind: workload.PodOwner, Pod: pod}})
		w.s.Containers = append(w.s.Containers, snapshot.Account{Owner: &workload.Owner{Kind: workload.PodOwner, Pod: pod, Container: c}})
		w.busy = append(w.busy, w.r.ExpFloat64()*0.3)
	}
	for i := range min(10, pods) {
		w.s.Namespaces = append(w.s.Namespaces, snapshot.View{Namespace: fmt.Sprintf("team-%d", i)})
	}
	for i := range min(100, pods) {
		w.s.Workloads = append(w.s.Workloads, snapshot.View{Namespace: fmt.Sprintf("team-%d", i%10), WorkloadKind: "Deployment", Workload: fmt.Sprintf("web-%d", i)})
	}
	w.s.Start = w.wall
	return w
}

// tick lets the machine run for d and returns the snapshot at the end.
func (w *world) tick(d time.Duration) *snapshot.Snapshot {
	w.wall, w.mono = w.wall.Add(d), w.mono.Add(d)
	s := w.s
	s.Seq++
	s.Time, s.Elapsed = w.wall, d
	s.Pods, s.Containers = append([]snapshot.Account(nil), s.Pods...), append([]snapshot.Account(nil), s.Containers...)
	s.Namespaces, s.Workloads = append([]snapshot.View(nil), s.Namespaces...), append([]snapshot.View(nil), s.Workloads...)
	for i := range s.Pods {
		a := &s.Pods[i]
		power := w.busy[i] * (0.8 + 0.4*w.r.Float64())
		a.Delta = snapshot.Ledger{}
		a.Delta[energy.CPU][energy.Dynamic] = unit.Energy(power * d.Seconds() * 1e6)
		a.Delta[energy.Memory][energy.Dynamic] = unit.Energy(power * d.Seconds() * 1.3e5)
		a.Delta[energy.CPU][energy.Idle] = unit.Energy(0.1234567 * d.Seconds() * 1e6)
		a.Delta[energy.Memory][energy.Idle] = unit.Energy(0.0345678 * d.Seconds() * 1e6)
		var sum unit.Energy
		for c := range a.Delta {
			for _, e := range a.Delta[c] {
				sum += e
			}
		}
		a.FootprintDelta = snapshot.Footprint{Cost: unit.Money(float64(sum) * 1.2 * 0.25e9 / 3.6e12)}
		a.FootprintDelta.CO2e[snapshot.Operational] = unit.Mass(float64(sum) * 1.2 * 381.25e9 / 3.6e12)
		a.FootprintDelta.CO2e[snapshot.Embodied] = unit.Mass(d.Seconds() * 26_424)
		a.Total.Add(&a.Delta)
		a.Footprint.Add(&a.FootprintDelta)
		a.CPUDelta = time.Duration(power / 3 * float64(d))
		a.CPUTotal += a.CPUDelta
		c := &s.Containers[i]
		c.Total, c.Delta, c.Footprint, c.FootprintDelta, c.CPUTotal, c.CPUDelta = a.Total, a.Delta, a.Footprint, a.FootprintDelta, a.CPUTotal, a.CPUDelta
		for _, v := range []*snapshot.View{&s.Namespaces[i%len(s.Namespaces)], &s.Workloads[i%len(s.Workloads)]} {
			v.Total.Add(&a.Delta)
			v.Footprint.Add(&a.FootprintDelta)
		}
	}
	exporttest.Balance(&s)
	w.s = s
	return &s
}

// options are those of a store in dir that lives in the world.
func (w *world) options(dir string) Options {
	return Options{Path: dir, About: exporttest.About(), Now: func() time.Time { return w.mono }, Log: slog.New(slog.DiscardHandler)}
}

func (w *world) store(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := New(w.options(dir))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// begin opens a store in dir. The test ends the session.
func (w *world) begin(t testing.TB, dir string) *session {
	t.Helper()
	n, err := w.store(t, dir).start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// stop ends a session as the end of the program does.
func stop(t testing.TB, n *session) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.end(ctx, nil); err != nil {
		t.Fatal(err)
	}
}

// run writes ticks of length d for a time.
func (w *world) run(t testing.TB, n *session, d, length time.Duration) {
	t.Helper()
	for range int(length / d) {
		s := w.tick(d)
		n.Offer(s)
		if err := n.take(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}
