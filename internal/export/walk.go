package export

import (
	"slices"

	"noether/internal/energy"
	"noether/internal/probe"
	"noether/internal/snapshot"
	"noether/internal/workload"
)

func nodeJoules(t *Table) {
	if t.s == nil {
		return
	}
	for i := range t.s.Nodes {
		n := &t.s.Nodes[i]
		for p := range n.Total {
			t.node(n, p)
			t.joules(n.Total[p])
		}
	}
}

func nodeWatts(t *Table) {
	if t.s == nil || t.s.Elapsed <= 0 {
		return
	}
	for i := range t.s.Nodes {
		n := &t.s.Nodes[i]
		if !n.Present {
			continue
		}
		for p := range n.Delta {
			t.node(n, p)
			t.watts(n.Delta[p])
		}
	}
}

func (t *Table) node(n *snapshot.Node, part int) {
	t.begin()
	t.plain("component", n.Component.String())
	t.plain("part", energy.Part(part).String())
	t.plain("quality", n.Quality.String())
}

// begin starts the labels of an account.
func (l *ledger) begin(t *Table, a *snapshot.Account) {
	t.begin()
	l.owner(t, a.Owner)
	if l.extra {
		for i, value := range a.Extra[:min(len(a.Extra), len(t.about.PodLabels))] {
			t.text(t.about.PodLabels[i], value)
		}
	}
}

func (l *ledger) joules(t *Table) {
	if t.s == nil {
		return
	}
	list := l.list(t.s)
	for i := range list {
		a := &list[i]
		l.begin(t, a)
		base := len(t.labels)
		for c := range a.Total {
			for p := range a.Total[c] {
				if t.shape.Owner(&a.Total, energy.Component(c), energy.Part(p)) {
					t.split(base, c, p)
					t.joules(a.Total[c][p])
				}
			}
		}
	}
}

func (l *ledger) watts(t *Table) {
	if t.s == nil {
		return
	}
	list := l.list(t.s)
	for i := range list {
		a := &list[i]
		if a.Ended {
			continue // it draws no power, which is not the same as 0 W
		}
		l.begin(t, a)
		base := len(t.labels)
		for c := range a.Delta {
			for p := range a.Delta[c] {
				if t.shape.Present[c] && t.shape.Owner(&a.Total, energy.Component(c), energy.Part(p)) {
					t.split(base, c, p)
					t.watts(a.Delta[c][p])
				}
			}
		}
	}
}

func (l *ledger) cpuSeconds(t *Table) {
	if t.s == nil {
		return
	}
	list := l.list(t.s)
	for i := range list {
		l.begin(t, &list[i])
		t.seconds(list[i].CPUTotal)
	}
}

// split sets the labels after the first base ones to component and part.
func (t *Table) split(base, component, part int) {
	t.labels = t.labels[:base]
	t.plain("component", energy.Component(component).String())
	t.plain("part", energy.Part(part).String())
}

const unreserved = int(workload.Unreserved)

// systemPart returns the part that system account a is about.
func systemPart(a int) energy.Part {
	switch workload.SystemAccount(a) {
	case workload.IdleAccount, workload.Unreserved:
		return energy.Idle
	default:
		return energy.Dynamic
	}
}

func systemJoules(t *Table) {
	if t.s == nil {
		return
	}
	for i := range t.s.System {
		a := &t.s.System[i]
		for c := range a.Total {
			for p := range a.Total[c] {
				if t.shape.System(i, &a.Total, energy.Component(c), energy.Part(p)) {
					t.system(i, c, p)
					t.joules(a.Total[c][p])
				}
			}
		}
	}
}

func systemWatts(t *Table) {
	if t.s == nil {
		return
	}
	for i := range t.s.System {
		a := &t.s.System[i]
		for c := range a.Delta {
			for p := range a.Delta[c] {
				if t.shape.Present[c] && t.shape.System(i, &a.Total, energy.Component(c), energy.Part(p)) {
					t.system(i, c, p)
					t.watts(a.Delta[c][p])
				}
			}
		}
	}
}

func (t *Table) system(account, component, part int) {
	t.begin()
	t.plain("account", workload.SystemAccount(account).String())
	t.split(len(t.labels), component, part)
}

func retiredJoules(t *Table) {
	if t.s == nil {
		return
	}
	for k := range t.s.Retired {
		for c, e := range t.s.Retired[k] {
			if e != 0 || t.shape.Has[c] && workload.Kind(k) != workload.SystemOwner {
				t.begin()
				t.plain("kind", workload.Kind(k).String())
				t.plain("component", energy.Component(c).String())
				t.joules(e)
			}
		}
	}
}

func namespaceJoules(t *Table) {
	if t.s != nil {
		t.views(t.s.Namespaces)
	}
}

func workloadJoules(t *Table) {
	if t.s != nil {
		t.views(t.s.Workloads)
	}
}

func (t *Table) views(list []snapshot.View) {
	for i := range list {
		v := &list[i]
		t.begin()
		t.text("namespace", v.Namespace)
		t.text("workload_kind", v.WorkloadKind)
		t.text("workload", v.Workload)
		base := len(t.labels)
		for c := range v.Total {
			for p := range v.Total[c] {
				if t.shape.Owner(&v.Total, energy.Component(c), energy.Part(p)) {
					t.split(base, c, p)
					if v.Fresh {
						t.joules(0)
					} else {
						t.joules(v.Total[c][p])
					}
				}
			}
		}
	}
}

func processJoules(t *Table) {
	if t.s == nil || !t.s.HasProcesses {
		return
	}
	for i := range t.s.Processes {
		p := &t.s.Processes[i]
		base := t.process(p)
		for c, e := range p.Total {
			if e != 0 || t.shape.Dynamic[c] {
				t.labels = t.labels[:base]
				t.plain("component", energy.Component(c).String())
				t.joules(e)
			}
		}
	}
}

func processWatts(t *Table) {
	if t.s == nil || !t.s.HasProcesses {
		return
	}
	for i := range t.s.Processes {
		p := &t.s.Processes[i]
		if p.Ended {
			continue
		}
		base := t.process(p)
		for c, e := range p.Delta {
			if t.shape.Present[c] && t.shape.Dynamic[c] {
				t.labels = t.labels[:base]
				t.plain("component", energy.Component(c).String())
				t.watts(e)
			}
		}
	}
}

func (t *Table) process(p *snapshot.Process) int {
	t.begin()
	if p.Name.PID != 0 {
		t.number("pid", uint64(p.Name.PID))
	}
	t.text("comm", p.Name.Comm)
	t.text("container_id", p.Name.ContainerID)
	return len(t.labels)
}

func zoneJoules(t *Table) {
	if t.s == nil {
		return
	}
	for i := range t.s.Zones {
		if z := &t.s.Zones[i]; Known(z) {
			t.zone(i)
			t.joules(z.Total)
		}
	}
}

// Known tells whether the total of z is a figure: that of a meter which has
// never been read is unknown, not 0.
func Known(z *snapshot.Zone) bool {
	return z.Present || z.Total != 0 || z.Status == probe.Works
}

func zoneWatts(t *Table) {
	if t.s == nil || t.s.Elapsed <= 0 {
		return
	}
	for i := range t.s.Zones {
		if z := &t.s.Zones[i]; z.Present {
			t.zone(i)
			t.watts(z.Delta)
		}
	}
}

func (t *Table) zone(i int) {
	t.begin()
	t.text("zone", t.zones.names[i])
	t.socket(&t.s.Zones[i])
	t.text("sensor", t.s.Zones[i].Sensor)
}

func (t *Table) socket(z *snapshot.Zone) {
	if z.Socket >= 0 {
		t.number("socket", uint64(z.Socket))
	}
}

func componentQuality(t *Table) {
	if t.s == nil {
		return
	}
	for i := range t.s.Nodes {
		if n := &t.s.Nodes[i]; n.Present {
			t.begin()
			t.plain("component", n.Component.String())
			t.plain("quality", n.Quality.String())
			t.put(1, 0)
		}
	}
}

func errorJoules(t *Table) {
	if t.s == nil {
		return
	}
	for i := range t.s.Bands {
		b := &t.s.Bands[i]
		t.bound(b, "low")
		t.joules(b.LowTotal)
		t.bound(b, "high")
		t.joules(b.HighTotal)
	}
}

func errorWatts(t *Table) {
	if t.s == nil || t.s.Elapsed <= 0 {
		return
	}
	for i := range t.s.Bands {
		if b := &t.s.Bands[i]; b.Present {
			t.bound(b, "low")
			t.watts(b.LowDelta)
			t.bound(b, "high")
			t.watts(b.HighDelta)
		}
	}
}

func (t *Table) bound(b *snapshot.Band, bound string) {
	t.begin()
	t.plain("component", b.Component.String())
	t.plain("bound", bound)
}

func nodeInfo(t *Table) {
	if t.s == nil {
		return
	}
	t.begin()
	t.text("arch", t.about.Arch)
	t.text("kernel", t.about.Kernel)
	t.text("cpu_model", t.about.CPUModel)
	t.text("usage", t.s.Self.Usage)
	t.text("policy", t.s.Self.Policy)
	t.put(1, 0)
}

func sensorStatus(t *Table) {
	if t.s == nil {
		return
	}
	for i := range t.s.Sensors {
		v := &t.s.Sensors[i]
		if i > 0 && t.s.Sensors[i-1].Name == v.Name {
			continue // one series each: the first attempt speaks
		}
		if v.Status == probe.Unknown && slices.ContainsFunc(t.s.Zones, func(z snapshot.Zone) bool { return z.Sensor == v.Name }) {
			continue // it is open, and was asked since: its zones tell
		}
		t.begin()
		t.text("sensor", v.Name)
		t.plain("status", v.Status.String())
		t.put(1, 0)
	}
	for i := range t.s.Zones {
		z := &t.s.Zones[i]
		t.begin()
		t.text("sensor", z.Sensor)
		t.text("zone", t.zones.names[i])
		t.socket(z)
		t.plain("status", z.Status.String())
		t.put(1, 0)
	}
}

func unnamedPods(t *Table) {
	if t.s != nil && t.s.NamesPods {
		t.begin()
		t.put(int64(t.s.Unnamed), 0)
	}
}

// names returns the walk of a family that is one figure about each source of names.
func names(figure func(*workload.NamesStatus) (n int64, places int)) func(*Table) {
	return func(t *Table) {
		if t.s == nil {
			return
		}
		for i := range t.s.Names {
			t.begin()
			t.text("source", t.s.Names[i].Source)
			t.put(figure(&t.s.Names[i]))
		}
	}
}

func namesSynced(t *Table) {
	if t.s == nil {
		return
	}
	for i := range t.s.Names {
		if n := &t.s.Names[i]; !n.Synced.IsZero() {
			t.begin()
			t.text("source", n.Source)
			t.put(n.Synced.UnixNano(), 9)
		}
	}
}

func flag(on bool) int64 {
	if on {
		return 1
	}
	return 0
}

func buildInfo(t *Table) {
	t.begin()
	t.text("version", t.about.Version)
	t.text("revision", t.about.Revision)
	t.text("goversion", t.about.GoVersion)
	t.text("goos", t.about.OS)
	t.text("goarch", t.about.Arch)
	t.put(1, 0)
}

func startTime(t *Table) {
	start := t.about.Start
	if start.IsZero() && t.s != nil {
		start = t.s.Start
	}
	if start.IsZero() {
		return
	}
	t.begin()
	t.put(start.UnixNano(), 9)
}

// self returns the walk of a family that is one figure about the agent.
func self(figure func(*snapshot.Snapshot) (n int64, places int)) func(*Table) {
	return func(t *Table) {
		if t.s == nil {
			return
		}
		t.begin()
		t.put(figure(t.s))
	}
}
