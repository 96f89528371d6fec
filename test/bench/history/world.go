package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"noether/internal/energy"
	"noether/internal/probe"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// What the simulated node has.
const (
	namespaces = 12
	units      = 40
	// So many pods are replaced by others of their workloads each hour, never the first ones:
	// the page's queries of single pods name those.
	renewed = 25
	first   = 30
)

// world is a Kubernetes node: pods of two containers that use energy in
// fits and starts, some of which are replaced every hour, with CO2e and cost.
type world struct {
	r     *rand.Rand
	s     snapshot.Snapshot
	pods  []pod
	born  int
	since time.Time // when pods were last replaced
}

type pod struct {
	workload int
	watts    float64
	pod      snapshot.Account
	inside   [2]snapshot.Account
}

func newWorld(pods int, start time.Time) *world {
	w := &world{r: rand.New(rand.NewPCG(1, 2)), since: start} //nolint:gosec // the same week each time
	w.s.Start, w.s.Time, w.s.Node, w.s.SharesIdle = start, start, "node-1", true
	w.s.Site = &snapshot.Site{
		PUE: 1_200_000, PUEFrom: "fixed", Price: 300_000_000, Priced: true, Currency: "EUR",
		Grid:     snapshot.Grid{Zone: "DE", Known: true, Intensity: 342_060_000, Provider: "file", Signal: "average", Factor: "lifecycle"},
		Hardware: snapshot.Hardware{CPU: 40e12, Memory: 60e12, Rest: 400e12, Lifetime: 4 * 365 * 24 * time.Hour, Source: "value"},
	}
	w.s.Nodes = []snapshot.Node{{Component: energy.CPU}, {Component: energy.Memory}}
	w.s.Zones = []snapshot.Zone{{Status: probe.Works}, {Status: probe.Works}}
	w.s.Zones[0].Name, w.s.Zones[0].Sensor, w.s.Zones[1].Name, w.s.Zones[1].Sensor = "package", "powercap", "dram", "powercap"
	workloads := (pods + 2) / 3
	for i := range pods {
		w.pods = append(w.pods, w.birth(i%workloads))
	}
	for i := range namespaces {
		w.s.Namespaces = append(w.s.Namespaces, snapshot.View{Namespace: namespaceOf(i)})
	}
	for i := range workloads {
		w.s.Workloads = append(w.s.Workloads, snapshot.View{Namespace: namespaceOf(i), WorkloadKind: "Deployment", Workload: fmt.Sprintf("service-%d", i)})
	}
	for i := range units {
		w.s.Units = append(w.s.Units, snapshot.Account{Owner: &workload.Owner{Kind: workload.UnitOwner, Unit: fmt.Sprintf("unit-%d.service", i)}})
	}
	return w
}

func namespaceOf(workload int) string { return fmt.Sprintf("team-%d", workload%namespaces) }

func (w *world) birth(of int) pod {
	w.born++
	p := workload.Pod{
		UID: fmt.Sprintf("8a3c0f4e-0001-4d2b-9f6e-%012d", w.born), Namespace: namespaceOf(of),
		Name: fmt.Sprintf("service-%d-7d9f8c6b5-%05d", of, w.born), WorkloadKind: "Deployment", Workload: fmt.Sprintf("service-%d", of),
	}
	out := pod{workload: of, watts: w.r.ExpFloat64() * 0.3, pod: snapshot.Account{Owner: &workload.Owner{Kind: workload.PodOwner, Pod: p}}}
	for i, name := range []string{"main", "proxy"} {
		out.inside[i].Owner = &workload.Owner{Kind: workload.PodOwner, Pod: p, Container: workload.Container{ID: fmt.Sprintf("%060x%04x", w.born, i), Runtime: "containerd", Name: name}}
	}
	return out
}

// tick lets the machine run for d. The snapshot before is not touched.
func (w *world) tick(d time.Duration) *snapshot.Snapshot {
	s := w.s
	s.Seq++
	s.Time, s.Elapsed = s.Time.Add(d), d
	s.Nodes, s.Zones = append([]snapshot.Node(nil), s.Nodes...), append([]snapshot.Zone(nil), s.Zones...)
	s.Namespaces, s.Workloads = append([]snapshot.View(nil), s.Namespaces...), append([]snapshot.View(nil), s.Workloads...)
	s.Units = append([]snapshot.Account(nil), s.Units...)
	s.FootprintDelta = snapshot.Footprint{}
	var node snapshot.Ledger
	if s.Time.Sub(w.since) >= time.Hour {
		w.since = s.Time
		for range renewed {
			if i := first + w.r.IntN(max(1, len(w.pods)-first)); i < len(w.pods) {
				w.pods[i] = w.birth(w.pods[i].workload)
			}
		}
	}
	s.Pods, s.Containers = make([]snapshot.Account, 0, len(w.pods)), make([]snapshot.Account, 0, 2*len(w.pods))
	for i := range w.pods {
		p := &w.pods[i]
		p.pod.Delta, p.pod.FootprintDelta, p.pod.CPUDelta = snapshot.Ledger{}, snapshot.Footprint{}, 0
		for j := range p.inside {
			c := &p.inside[j]
			w.use(c, d, p.watts*(0.3+0.4*float64(1-j)), 0.03)
			p.pod.Delta.Add(&c.Delta)
			p.pod.FootprintDelta.Add(&c.FootprintDelta)
			p.pod.CPUDelta += c.CPUDelta
			s.Containers = append(s.Containers, *c)
		}
		add(&p.pod)
		s.Pods = append(s.Pods, p.pod)
		for _, v := range []*snapshot.View{&s.Namespaces[p.workload%namespaces], &s.Workloads[p.workload]} {
			v.Delta = p.pod.Delta
			v.Total.Add(&p.pod.Delta)
			v.Footprint.Add(&p.pod.FootprintDelta)
		}
		node.Add(&p.pod.Delta)
		s.FootprintDelta.Add(&p.pod.FootprintDelta)
	}
	for i := range s.Units {
		w.use(&s.Units[i], d, 0.02, 0)
		node.Add(&s.Units[i].Delta)
		s.FootprintDelta.Add(&s.Units[i].FootprintDelta)
	}
	s.Footprint.Add(&s.FootprintDelta)
	for i := range s.Nodes {
		n := &s.Nodes[i]
		n.Present, n.Delta = true, node[n.Component]
		for p := range n.Total {
			n.Total[p] += n.Delta[p]
		}
		z := &s.Zones[i]
		z.Present, z.Delta = true, node.Component(n.Component)
		z.Total += z.Delta
	}
	w.s = s
	return &s
}

// use lets an account use energy for d.
func (w *world) use(a *snapshot.Account, d time.Duration, watts, idle float64) {
	watts *= 0.7 + 0.6*w.r.Float64()
	a.Delta = snapshot.Ledger{}
	a.Delta[energy.CPU][energy.Dynamic] = unit.Energy(watts * d.Seconds() * 1e6)
	a.Delta[energy.Memory][energy.Dynamic] = unit.Energy(watts * d.Seconds() * 1.3e5)
	a.Delta[energy.CPU][energy.Idle] = unit.Energy(idle * d.Seconds() * 1e6)
	a.Delta[energy.Memory][energy.Idle] = unit.Energy(idle * d.Seconds() * 3e5)
	joules := float64(a.Delta.Component(energy.CPU) + a.Delta.Component(energy.Memory))
	a.FootprintDelta = snapshot.Footprint{Cost: unit.Money(joules * 1.2 * 0.3e9 / 3.6e12)}
	a.FootprintDelta.CO2e[snapshot.Operational] = unit.Mass(joules * 1.2 * 342.06e9 / 3.6e12)
	a.FootprintDelta.CO2e[snapshot.Embodied] = unit.Mass(d.Seconds() * 6_000)
	a.CPUDelta = time.Duration(watts / 3 * float64(d))
	add(a)
}

// add books the deltas of an account.
func add(a *snapshot.Account) {
	a.Total.Add(&a.Delta)
	a.Footprint.Add(&a.FootprintDelta)
	a.CPUTotal += a.CPUDelta
}
