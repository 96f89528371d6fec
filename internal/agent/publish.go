package agent

import (
	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// snapshot copies the books. The result shares nothing that changes.
func (b *books) snapshot() *snapshot.Snapshot {
	s := &snapshot.Snapshot{
		Retired:     b.retired,
		RetiredCO2e: b.retiredCO2e,
		SharesIdle:  b.shares.SharesIdle,
		Pods:        pages(b.listed[workload.PodOwner]),
		Containers:  pages(b.listed[workload.ContainerOwner]),
		VMs:         pages(b.listed[workload.VMOwner]),
		Sessions:    pages(b.listed[workload.SessionOwner]),
		Units:       pages(b.listed[workload.UnitOwner]),
		Namespaces:  b.rollups[0].pages(b.now),
		Workloads:   b.rollups[1].pages(b.now),
	}
	b.addWaiting(s)
	if s.NamesPods = b.names.AsksPods; s.NamesPods {
		s.Unnamed = b.unnamed()
	}
	for i, a := range b.system {
		s.System[i] = snapshot.System{Total: a.total, Delta: a.delta, Footprint: a.foot, FootprintDelta: a.footDelta}
	}
	for c := range b.nodes {
		for q := range b.nodes[c] {
			if n := &b.nodes[c][q]; n.seen {
				s.Nodes = append(s.Nodes, snapshot.Node{
					Component: energy.Component(c), Quality: energy.Quality(q),
					Present: n.present, Total: n.total, Delta: n.presentDelta(),
				})
			}
		}
		if d := &b.bands[c]; d.seen {
			s.Bands = append(s.Bands, snapshot.Band{
				Component: energy.Component(c), Present: d.present,
				LowTotal: d.low, HighTotal: d.high, LowDelta: d.lowDelta, HighDelta: d.highDelta,
			})
		}
	}
	b.carbon.publish(s)
	s.Self.Imbalance, s.Self.ImbalanceCO2e = imbalance(s), imbalanceCO2e(s)
	if b.view.mode.Mode != NoProcesses && b.view.present {
		s.HasProcesses = true
		s.Processes = b.view.pages()
	}
	return s
}

// addWaiting adds those that wait for a name to what is retired: on the page
// they are neither listed nor may they be missing.
func (b *books) addWaiting(s *snapshot.Snapshot) {
	add := func(k workload.Kind, a *account) {
		for c := range a.total {
			s.Retired[k][c] += a.total.Component(energy.Component(c))
		}
		for p, m := range a.foot.CO2e {
			s.RetiredCO2e[k][p] += m
		}
	}
	for _, p := range b.podList {
		if p.waiting {
			add(workload.PodOwner, &p.account)
		}
	}
	for _, a := range b.waiting {
		if !a.gone && !a.listed {
			add(workload.ContainerOwner, a)
		}
	}
}

func (n *node) presentDelta() (d [energy.Parts]unit.Energy) {
	if n.present {
		d = n.delta
	}
	return d
}

func pages(list []*account) []snapshot.Account {
	out := make([]snapshot.Account, len(list))
	for i, a := range list {
		out[i] = snapshot.Account{
			Owner: a.owner, Total: a.total, Delta: a.delta,
			CPUTotal: a.cpuTotal, CPUDelta: a.cpuDelta, Ended: a.ended, Extra: a.extra,
			Footprint: a.foot, FootprintDelta: a.footDelta, EmbodiedByUse: a.byUse,
		}
	}
	return out
}

func (v *view) pages() []snapshot.Process {
	list := v.list()
	out := make([]snapshot.Process, 0, len(list)+1)
	out = append(out, snapshot.Process{Name: v.other.name, Total: v.other.total, Delta: v.other.delta})
	for _, s := range list {
		out = append(out, snapshot.Process{Name: s.name, Owner: s.payer.owner, Total: s.total, Delta: s.delta, Ended: s.processes == 0})
	}
	return out
}

// imbalance returns by how much the machine and its accounts differ: the
// equation of the metrics, over cumulative values. It is 0 or a bug.
func imbalance(s *snapshot.Snapshot) (off unit.Energy) {
	for c := range energy.Component(energy.Components) {
		var sum unit.Energy
		for i := range s.Nodes {
			if s.Nodes[i].Component == c {
				sum += s.Nodes[i].Total[energy.Dynamic] + s.Nodes[i].Total[energy.Idle]
			}
		}
		for _, list := range [][]snapshot.Account{s.Pods, s.VMs, s.Sessions, s.Units} {
			for i := range list {
				sum -= list[i].Total.Component(c)
			}
		}
		for i := range s.Containers {
			if s.Containers[i].Owner.Pod.UID == "" {
				sum -= s.Containers[i].Total.Component(c)
			}
		}
		for i := range s.System {
			sum -= s.System[i].Total.Component(c)
		}
		for k := range s.Retired {
			sum -= s.Retired[k][c]
		}
		off += max(sum, -sum)
	}
	return off
}
