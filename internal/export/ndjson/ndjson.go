// Package ndjson writes a snapshot as one line of JSON, for pipes and for the
// agent's own API. The schema is documented in docs/json.md: units stand in the
// names of fields, numbers are exact decimals, and what is unknown is absent.
//
// It refuses to reflect: the line is appended by hand, without allocation.
package ndjson

import (
	"strconv"
	"time"
	"unicode/utf8"

	"noether/internal/energy"
	"noether/internal/export"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// Schema names the format. Fields may be added to it, but none changes its meaning.
const Schema = "noether.snapshot/v1"

// Append appends s as one line, newline included.
func Append(dst []byte, s *snapshot.Snapshot) []byte {
	l := line{b: append(dst, '{'), s: s, shape: export.ShapeOf(s), emitted: export.Emitted(s)}
	l.text("schema", Schema)
	l.integer("seq", s.Seq)
	l.time("time", s.Time)
	l.time("start", s.Start)
	l.seconds("elapsed_seconds", s.Elapsed)
	l.text("node_name", s.Node)
	l.text("usage", s.Self.Usage)
	l.text("policy", s.Self.Policy)
	l.cpu()
	l.node()
	l.site()
	l.footprint(&s.Footprint, &s.FootprintDelta, true, true)
	l.bands()
	l.zones()
	l.sensors()
	l.accounts("pods", s.Pods, workload.PodOwner)
	l.accounts("containers", s.Containers, workload.ContainerOwner)
	l.accounts("vms", s.VMs, workload.VMOwner)
	l.accounts("sessions", s.Sessions, workload.SessionOwner)
	l.accounts("units", s.Units, workload.UnitOwner)
	l.system()
	l.retired()
	l.retiredCO2e()
	l.views("namespaces", s.Namespaces)
	l.views("workloads", s.Workloads)
	l.processes()
	l.names()
	l.self()
	l.close('}')
	return append(l.b, '\n')
}

// line is the line under way.
type line struct {
	b       []byte
	s       *snapshot.Snapshot
	shape   export.Shape
	emitted [snapshot.Phases]bool
}

func (l *line) cpu() {
	c := &l.s.CPU
	l.key("cpu")
	l.open('{')
	l.integer("online", uint64(max(c.Online, 0)))
	l.seconds("capacity_seconds", c.Capacity)
	l.seconds("busy_seconds", l.s.Busy)
	l.seconds("idle_seconds", c.Idle)
	l.seconds("interrupt_seconds", c.Interrupt)
	l.seconds("steal_seconds", c.Steal)
	l.close('}')
}

func (l *line) node() {
	l.key("node")
	l.open('[')
	for i := range l.s.Nodes {
		n := &l.s.Nodes[i]
		for p := range n.Total {
			l.open('{')
			l.word("component", n.Component.String())
			l.word("part", energy.Part(p).String())
			l.word("quality", n.Quality.String())
			l.energy(n.Total[p], n.Delta[p], n.Present)
			l.close('}')
		}
	}
	l.close(']')
}

func (l *line) bands() {
	l.key("node_error")
	l.open('[')
	for i := range l.s.Bands {
		b := &l.s.Bands[i]
		for _, bound := range [...]struct {
			name         string
			total, delta unit.Energy
		}{{"low", b.LowTotal, b.LowDelta}, {"high", b.HighTotal, b.HighDelta}} {
			l.open('{')
			l.word("component", b.Component.String())
			l.word("bound", bound.name)
			l.energy(bound.total, bound.delta, b.Present)
			l.close('}')
		}
	}
	l.close(']')
}

func (l *line) zones() {
	l.key("zones")
	l.open('[')
	for i := range l.s.Zones {
		z := &l.s.Zones[i]
		l.open('{')
		l.text("sensor", z.Sensor)
		l.text("zone", z.Name)
		l.word("domain", z.Domain.String())
		if z.Socket >= 0 {
			l.integer("socket", uint64(z.Socket))
		}
		if z.Die >= 0 {
			l.integer("die", uint64(z.Die))
		}
		l.text("path", z.Path)
		l.word("quality", z.Quality.String())
		l.word("status", z.Status.String())
		l.text("reason", z.Reason)
		if export.Known(z) {
			l.energy(z.Total, z.Delta, z.Present)
		}
		l.close('}')
	}
	l.close(']')
}

func (l *line) sensors() {
	l.key("sensors")
	l.open('[')
	for i := range l.s.Sensors {
		v := &l.s.Sensors[i]
		l.open('{')
		l.text("sensor", v.Name)
		l.word("status", v.Status.String())
		l.text("reason", v.Reason)
		l.text("remedy", v.Remedy)
		l.close('}')
	}
	l.close(']')
}

func (l *line) accounts(name string, list []snapshot.Account, kind workload.Kind) {
	l.key(name)
	l.open('[')
	for i := range list {
		a := &list[i]
		l.open('{')
		l.owner(a.Owner, kind)
		l.extra(a.Extra)
		l.ended(a.Ended)
		l.seconds("cpu_seconds_total", a.CPUTotal)
		l.seconds("cpu_seconds", a.CPUDelta)
		l.footprint(&a.Footprint, &a.FootprintDelta, !a.Ended, kind == workload.PodOwner)
		if a.EmbodiedByUse && l.emitted[snapshot.Embodied] {
			l.truth("embodied_by_use", true)
		}
		l.key("energy")
		l.open('[')
		for c := range a.Total {
			for p := range a.Total[c] {
				if l.shape.Owner(&a.Total, energy.Component(c), energy.Part(p)) {
					l.split(c, p, &a.Total, &a.Delta, !a.Ended)
				}
			}
		}
		l.close(']')
		l.close('}')
	}
	l.close(']')
}

// owner writes what o is called in the list of kind.
func (l *line) owner(o *workload.Owner, kind workload.Kind) {
	switch kind {
	case workload.PodOwner, workload.ContainerOwner:
		l.text("namespace", o.Pod.Namespace)
		l.text("pod", o.Pod.Name)
		l.text("pod_uid", o.Pod.UID)
		if kind == workload.PodOwner {
			l.text("qos", o.Pod.QoS)
			l.text("workload_kind", o.Pod.WorkloadKind)
			l.text("workload", o.Pod.Workload)
			return
		}
		l.text("container", o.Container.Name)
		l.text("container_id", o.Container.ID)
		l.text("runtime", o.Container.Runtime)
	case workload.VMOwner:
		l.text("vm", o.VM.Name)
		l.text("hypervisor", o.VM.Hypervisor)
	case workload.SessionOwner:
		l.text("user", o.User)
	default:
		l.text("unit", o.Unit)
	}
}

func (l *line) system() {
	l.key("system")
	l.open('[')
	for i := range l.s.System {
		a := &l.s.System[i]
		l.open('{')
		l.word("account", workload.SystemAccount(i).String())
		l.footprint(&a.Footprint, &a.FootprintDelta, true, false)
		l.key("energy")
		l.open('[')
		for c := range a.Total {
			for p := range a.Total[c] {
				if l.shape.System(i, &a.Total, energy.Component(c), energy.Part(p)) {
					l.split(c, p, &a.Total, &a.Delta, true)
				}
			}
		}
		l.close(']')
		l.close('}')
	}
	l.close(']')
}

func (l *line) split(c, p int, total, delta *snapshot.Ledger, present bool) {
	l.open('{')
	l.word("component", energy.Component(c).String())
	l.word("part", energy.Part(p).String())
	l.energy(total[c][p], delta[c][p], present && l.shape.Present[c])
	l.close('}')
}

func (l *line) retired() {
	l.key("retired")
	l.open('[')
	for k := range l.s.Retired {
		for c, e := range l.s.Retired[k] {
			if e == 0 {
				continue
			}
			l.open('{')
			l.word("kind", workload.Kind(k).String())
			l.word("component", energy.Component(c).String())
			l.joules("joules", e)
			l.close('}')
		}
	}
	l.close(']')
}

// views writes what is the same energy again, by what pods have in common.
func (l *line) views(name string, list []snapshot.View) {
	if len(list) == 0 {
		return
	}
	l.key(name)
	l.open('[')
	for i := range list {
		v := &list[i]
		l.open('{')
		l.text("namespace", v.Namespace)
		l.text("workload_kind", v.WorkloadKind)
		l.text("workload", v.Workload)
		l.footprint(&v.Footprint, &v.FootprintDelta, true, true)
		l.key("energy")
		l.open('[')
		for c := range v.Total {
			for p := range v.Total[c] {
				if l.shape.Owner(&v.Total, energy.Component(c), energy.Part(p)) {
					l.split(c, p, &v.Total, &v.Delta, true)
				}
			}
		}
		l.close(']')
		l.close('}')
	}
	l.close(']')
}

// extra writes the labels that the user chose for pods: his list tells which.
func (l *line) extra(values []string) {
	if len(values) == 0 {
		return
	}
	l.key("labels")
	l.b = append(l.b, '[')
	for i, v := range values {
		if i > 0 {
			l.b = append(l.b, ',')
		}
		if v == "" {
			l.b = append(l.b, "null"...)
		} else {
			l.b = appendString(l.b, v)
		}
	}
	l.b = append(l.b, ']')
}

// names writes how each source of names is doing.
func (l *line) names() {
	if l.s.NamesPods {
		l.integer("unnamed_pods", uint64(max(l.s.Unnamed, 0)))
	}
	if len(l.s.Names) == 0 {
		return
	}
	l.key("names")
	l.open('[')
	for i := range l.s.Names {
		n := &l.s.Names[i]
		l.open('{')
		l.text("source", n.Source)
		l.truth("up", n.Up)
		l.integer("known", uint64(max(n.Known, 0)))
		l.integer("requests_total", n.Requests)
		l.integer("received_bytes_total", n.Bytes)
		l.time("synced", n.Synced)
		l.close('}')
	}
	l.close(']')
}

func (l *line) processes() {
	if !l.s.HasProcesses {
		return
	}
	l.key("processes")
	l.open('[')
	for i := range l.s.Processes {
		p := &l.s.Processes[i]
		l.open('{')
		if p.Name.PID != 0 {
			l.integer("pid", uint64(p.Name.PID))
		}
		l.text("comm", p.Name.Comm)
		l.text("container_id", p.Name.ContainerID)
		if p.Name.ContainerID == "" && p.Owner != nil {
			l.text("vm", p.Owner.VM.Name)
			l.text("hypervisor", p.Owner.VM.Hypervisor)
			l.text("user", p.Owner.User)
			l.text("unit", p.Owner.Unit)
		}
		l.ended(p.Ended)
		l.key("energy")
		l.open('[')
		for c, total := range p.Total {
			if total == 0 && !l.shape.Dynamic[c] {
				continue
			}
			l.open('{')
			l.word("component", energy.Component(c).String())
			l.energy(total, p.Delta[c], !p.Ended && l.shape.Present[c])
			l.close('}')
		}
		l.close(']')
		l.close('}')
	}
	l.close(']')
}

func (l *line) self() {
	me := &l.s.Self
	l.key("self")
	l.open('{')
	l.seconds("tick_duration_seconds", me.TickDuration)
	l.seconds("tick_cpu_seconds_total", me.TickCPU)
	l.joules("imbalance_joules", me.Imbalance)
	if l.s.Site != nil {
		l.decimal("imbalance_co2e_grams", int64(me.ImbalanceCO2e), 9)
	}
	l.integer("exits_dropped_total", me.DroppedExits)
	l.integer("ticks_missed_total", me.MissedTicks)
	l.close('}')
}

// energy writes what was used since the start and, if there is a figure of
// this tick, in it.
func (l *line) energy(total, delta unit.Energy, present bool) {
	l.joules("joules_total", total)
	if present && l.s.Elapsed > 0 {
		l.joules("joules", delta)
		l.key("watts")
		l.b = delta.Over(l.s.Elapsed).AppendWatts(l.b)
	}
}

func (l *line) ended(ended bool) {
	if ended {
		l.truth("ended", true)
	}
}

func (l *line) open(bracket byte) {
	l.comma()
	l.b = append(l.b, bracket)
}

func (l *line) close(bracket byte) { l.b = append(l.b, bracket) }

// comma separates a value from the one before it, if it is not the first.
func (l *line) comma() {
	if last := l.b[len(l.b)-1]; last == '}' || last == ']' {
		l.b = append(l.b, ',')
	}
}

func (l *line) key(name string) {
	if l.b[len(l.b)-1] != '{' {
		l.b = append(l.b, ',')
	}
	l.b = append(l.b, '"')
	l.b = append(l.b, name...)
	l.b = append(l.b, '"', ':')
}

// text writes a field whose value may hold anything, unless it is empty.
func (l *line) text(name, value string) {
	if value == "" {
		return
	}
	l.key(name)
	l.b = appendString(l.b, value)
}

// word writes a field whose value is one of our own words.
func (l *line) word(name, value string) {
	l.key(name)
	l.b = append(l.b, '"')
	l.b = append(l.b, value...)
	l.b = append(l.b, '"')
}

func (l *line) integer(name string, n uint64) {
	l.key(name)
	l.b = strconv.AppendUint(l.b, n, 10)
}

func (l *line) truth(name string, value bool) {
	l.key(name)
	l.b = strconv.AppendBool(l.b, value)
}

func (l *line) decimal(name string, n int64, places int) {
	l.key(name)
	l.b = unit.AppendDecimal(l.b, n, places)
}

func (l *line) joules(name string, e unit.Energy) { l.decimal(name, int64(e), 6) }

func (l *line) seconds(name string, d time.Duration) { l.decimal(name, int64(d), 9) }

func (l *line) time(name string, t time.Time) {
	if t.IsZero() {
		return
	}
	l.key(name)
	l.b = append(l.b, '"')
	l.b = t.UTC().AppendFormat(l.b, time.RFC3339Nano)
	l.b = append(l.b, '"')
}

// appendString appends s as a JSON string (RFC 8259, section 7). Bytes that are
// not UTF-8 become the replacement character.
func appendString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[from:i]...)
				dst = append(dst, "\ufffd"...)
				from = i + 1
			}
			i += size
			continue
		}
		i++
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			continue
		}
		dst = append(dst, s[from:i-1]...)
		from = i
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
