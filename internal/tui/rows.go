package tui

import (
	"cmp"
	"strconv"
	"time"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// kind says what a row stands for.
type kind uint8

const (
	noKind kind = iota
	ofNamespace
	ofWorkload
	ofPod
	ofContainer
	ofVM
	ofSession
	ofUnit
	ofProcess
	ofSystem // the group of accounts that belong to no workload
	ofAccount
	ofRest  // of a pod: its pause container, and containers that have ended
	everyOf // no row: all of one kind
)

func (k kind) String() string {
	return [...]string{"", "namespace", "workload", "pod", "container", "vm", "session", "unit", "process", "system", "system", "rest", ""}[k]
}

// ident names a row in all snapshots of an agent. Its strings are the snapshot's.
type ident struct {
	kind    kind
	a, b, c string
	pid     uint32
}

func (i *ident) compare(o *ident) int {
	return cmp.Or(cmp.Compare(i.kind, o.kind), cmp.Compare(i.pid, o.pid), cmp.Compare(i.a, o.a), cmp.Compare(i.b, o.b), cmp.Compare(i.c, o.c))
}

// row is a line of the table.
type row struct {
	id     ident
	owner  *workload.Owner       // of an account
	proc   *snapshot.ProcessName // of a process
	where  *workload.Owner       // of a process: what it runs in
	level  int                   // how deep it is in the tree
	parent bool                  // something can be listed below it
	within bool                  // its joules are in a row above
	below  []*row                // what is known to be in it

	energy  unit.Energy    // in the period
	quality energy.Quality // the worst of energy
	joules  unit.Energy    // since top or the agent started
	cpu     time.Duration  // in the period
	hasCPU  bool
	co2e    unit.Mass // in the period
	hasCO2e bool
	ended   bool
}

// estimated tells whether some of r's energy is.
func (r *row) estimated() bool { return r.quality == energy.Estimated }

// idle tells whether r never used anything that there would be to show.
func (r *row) idle() bool { return r.joules == 0 && r.energy == 0 && r.cpu == 0 }

// add makes o a part of r.
func (r *row) add(o *row) {
	r.energy += o.energy
	r.joules += o.joules
	r.cpu += o.cpu
	r.co2e += o.co2e
	r.quality = max(r.quality, o.quality)
	r.hasCPU = r.hasCPU || o.hasCPU
	r.hasCO2e = r.hasCO2e || o.hasCO2e
}

// sums are those of the rows that are listed. System accounts stand apart.
type sums struct{ energy, system unit.Energy }

func (s *sums) add(r *row) {
	if r.id.kind == ofSystem || r.id.kind == ofAccount {
		s.system += r.energy
		return
	}
	s.energy += r.energy
}

// label returns what people call a row: any bytes, as they were found.
func (r *row) label() string {
	flat := r.level == 0
	switch r.id.kind {
	case ofNamespace:
		if r.id.a == "" {
			return "pods without a name"
		}
		return r.id.a
	case ofWorkload:
		return r.id.a + "/" + r.id.b + "/" + r.id.c
	case ofPod:
		return podName(&r.owner.Pod, flat)
	case ofContainer:
		name := containerName(&r.owner.Container)
		if flat && r.owner.Kind == workload.PodOwner {
			return podName(&r.owner.Pod, true) + "/" + name
		}
		return name
	case ofVM:
		return r.owner.VM.Name
	case ofSession:
		return r.owner.User
	case ofUnit:
		return r.owner.Unit
	case ofProcess:
		switch {
		case r.id.pid == 0:
			return "processes not listed by themselves"
		case flat && r.where != nil && r.where.Kind == workload.PodOwner && r.where.Container.ID != "":
			return r.proc.Comm + " in " + podName(&r.where.Pod, true) + "/" + containerName(&r.where.Container)
		case flat && r.where != nil && r.where.Kind == workload.ContainerOwner:
			return r.proc.Comm + " in " + containerName(&r.where.Container)
		}
		return r.proc.Comm
	case ofRest:
		return "pause, ended containers"
	case ofSystem:
		return "what belongs to no workload"
	default:
		return r.id.a
	}
}

func podName(p *workload.Pod, full bool) string {
	switch {
	case p.Name == "":
		return p.UID
	case full:
		return p.Namespace + "/" + p.Name
	default:
		return p.Name
	}
}

func containerName(c *workload.Container) string {
	if c.Name != "" {
		return c.Name
	}
	return c.ID[:min(len(c.ID), 12)] // as the runtimes print it
}

// title is the word before the label.
func (r *row) title() string {
	if r.id.kind == ofProcess && r.id.pid != 0 {
		return strconv.FormatUint(uint64(r.id.pid), 10)
	}
	return r.id.kind.String()
}

// amounts is what something used: in all, and in the last tick.
type amounts struct {
	total, delta         [energy.Components]unit.Energy
	cpuTotal, cpuDelta   time.Duration
	co2eTotal, co2eDelta unit.Mass
}

func (a *amounts) ledgers(total, delta *snapshot.Ledger) *amounts {
	for c := range energy.Component(energy.Components) {
		a.total[c], a.delta[c] = total.Component(c), delta.Component(c)
	}
	return a
}

func (a *amounts) footprints(total, delta *snapshot.Footprint) *amounts {
	for p := range total.CO2e {
		a.co2eTotal += total.CO2e[p]
		a.co2eDelta += delta.CO2e[p]
	}
	return a
}

func ofLedger(total, delta *snapshot.Ledger, ft, fd *snapshot.Footprint) *amounts {
	return new(amounts).ledgers(total, delta).footprints(ft, fd)
}

func accountAmounts(a *snapshot.Account) *amounts {
	n := ofLedger(&a.Total, &a.Delta, &a.Footprint, &a.FootprintDelta)
	n.cpuTotal, n.cpuDelta = a.CPUTotal, a.CPUDelta
	return n
}

func sum(list *[energy.Components]unit.Energy) (e unit.Energy) {
	for _, x := range list {
		e += x
	}
	return e
}

func identOf(o *workload.Owner) ident {
	switch {
	case o.Container.ID != "":
		return ident{kind: ofContainer, a: o.Container.ID}
	case o.Kind == workload.PodOwner:
		return ident{kind: ofPod, a: o.Pod.UID}
	case o.Kind == workload.VMOwner:
		return ident{kind: ofVM, a: o.VM.Name, b: o.VM.Hypervisor}
	case o.Kind == workload.SessionOwner:
		return ident{kind: ofSession, a: o.User}
	default:
		return ident{kind: ofUnit, a: o.Unit}
	}
}

func identOfProcess(n *snapshot.ProcessName) ident {
	return ident{kind: ofProcess, pid: n.PID, a: n.Comm, b: n.ContainerID}
}

// payer returns what a process is listed in.
func payer(p *snapshot.Process) (id ident, known bool) {
	switch {
	case p.Name.ContainerID != "":
		return ident{kind: ofContainer, a: p.Name.ContainerID}, true
	case p.Owner != nil:
		return identOf(p.Owner), true
	default:
		return id, false
	}
}

func identOfView(v *snapshot.View, k kind) ident {
	if k == ofNamespace {
		return ident{kind: k, a: v.Namespace}
	}
	return ident{kind: k, a: v.Namespace, b: v.WorkloadKind, c: v.Workload}
}

// each calls f for everything in s that has figures of its own.
func each(s *snapshot.Snapshot, f func(id ident, a *amounts)) {
	for _, list := range [][]snapshot.Account{s.Pods, s.Containers, s.VMs, s.Sessions, s.Units} {
		for i := range list {
			f(identOf(list[i].Owner), accountAmounts(&list[i]))
		}
	}
	for i := range s.System {
		a := &s.System[i]
		f(systemIdent(i), ofLedger(&a.Total, &a.Delta, &a.Footprint, &a.FootprintDelta))
	}
	for k, list := range map[kind][]snapshot.View{ofNamespace: s.Namespaces, ofWorkload: s.Workloads} {
		for i := range list {
			v := &list[i]
			f(identOfView(v, k), ofLedger(&v.Total, &v.Delta, &v.Footprint, &v.FootprintDelta))
		}
	}
	var a amounts
	for i := range s.Processes {
		p := &s.Processes[i]
		a.total, a.delta = p.Total, p.Delta
		f(identOfProcess(p.Name), &a)
	}
}

func systemIdent(i int) ident {
	return ident{kind: ofAccount, a: workload.SystemAccount(i).String()}
}

// collect returns the rows of a view, those of the tree that are in no other.
func (t *tally) collect(v View, p Period) []*row {
	s := t.last
	switch v {
	case Namespaces:
		return t.views(s.Namespaces, ofNamespace, p)
	case Workloads:
		return t.views(s.Workloads, ofWorkload, p)
	case Pods:
		return t.accounts(s.Pods, p)
	case Containers:
		return t.accounts(s.Containers, p)
	case Processes:
		return t.processes(p)
	case Units:
		return t.accounts(s.Units, p)
	case Sessions:
		return t.accounts(s.Sessions, p)
	case VMs:
		return t.accounts(s.VMs, p)
	default:
		return t.tree(p)
	}
}

func (t *tally) accounts(list []snapshot.Account, p Period) (rows []*row) {
	for i := range list {
		a := &list[i]
		r := t.row(identOf(a.Owner), accountAmounts(a), p)
		r.owner, r.hasCPU, r.ended = a.Owner, true, a.Ended
		rows = append(rows, r)
	}
	return rows
}

func (t *tally) views(list []snapshot.View, k kind, p Period) (rows []*row) {
	for i := range list {
		v := &list[i]
		rows = append(rows, t.row(identOfView(v, k), ofLedger(&v.Total, &v.Delta, &v.Footprint, &v.FootprintDelta), p))
	}
	return rows
}

func (t *tally) processes(p Period) (rows []*row) {
	t.index()
	for i := range t.last.Processes {
		rows = append(rows, t.process(&t.last.Processes[i], p))
	}
	return rows
}

func (t *tally) process(one *snapshot.Process, p Period) *row {
	r := t.row(identOfProcess(one.Name), &amounts{total: one.Total, delta: one.Delta}, p)
	r.proc, r.where, r.ended, r.hasCO2e = one.Name, t.containers[one.Name.ContainerID], one.Ended, false
	if r.where == nil {
		r.where = one.Owner
	}
	return r
}

// tree returns the roots. What is in them is worked out by below.
func (t *tally) tree(p Period) (rows []*row) {
	s := t.last
	t.index()
	spaces := map[string]*row{}
	for _, pod := range t.accounts(s.Pods, p) {
		space := spaces[pod.owner.Pod.Namespace]
		if space == nil {
			space = &row{id: ident{kind: ofNamespace, a: pod.owner.Pod.Namespace}, parent: true}
			spaces[pod.owner.Pod.Namespace] = space
			rows = append(rows, space)
		}
		pod.parent = true
		space.add(pod)
		space.below = append(space.below, pod)
	}
	for _, r := range t.accounts(s.Containers, p) {
		if r.owner.Kind != workload.PodOwner {
			rows = append(rows, r)
		}
	}
	for _, list := range [][]snapshot.Account{s.VMs, s.Sessions, s.Units} {
		rows = append(rows, t.accounts(list, p)...)
	}
	for _, r := range rows {
		r.parent = r.parent || t.inside[r.id] != nil
	}
	system := &row{id: ident{kind: ofSystem}, parent: true}
	for i := range s.System {
		a := &s.System[i]
		r := t.row(systemIdent(i), ofLedger(&a.Total, &a.Delta, &a.Footprint, &a.FootprintDelta), p)
		system.add(r)
		system.below = append(system.below, r)
	}
	return append(rows, system)
}

// below returns what is in a row of the tree.
func (t *tally) below(r *row, p Period) []*row {
	list := r.below
	switch r.id.kind {
	case ofPod:
		rest := &row{id: ident{kind: ofRest, a: r.id.a}}
		rest.add(r)
		for _, i := range t.inPod[r.id.a] {
			c := t.accounts(t.last.Containers[i:i+1], p)[0]
			c.parent = t.inside[c.id] != nil
			rest.energy -= c.energy
			rest.joules -= c.joules
			rest.cpu -= c.cpu
			rest.co2e -= c.co2e
			list = append(list, c)
		}
		rest.cpu, rest.co2e = max(rest.cpu, 0), max(rest.co2e, 0)
		if rest.energy > 0 && len(list) > 0 {
			list = append(list, rest)
		}
	case ofContainer, ofVM, ofSession, ofUnit:
		for _, i := range t.inside[r.id] {
			list = append(list, t.process(&t.last.Processes[i], p))
		}
	default:
	}
	for _, c := range list {
		c.level = r.level + 1
	}
	return list
}
