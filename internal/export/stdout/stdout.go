// Package stdout writes a snapshot as a table for people: what the machine
// draws, how sure that is, and who draws most of it.
//
// It is for reading, not for parsing: programs take the JSON line or the
// metrics, which are exact. It sends no colours and no control characters.
package stdout

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"noether/internal/energy"
	"noether/internal/export"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// Options say how much is written.
type Options struct {
	Width int // columns; 0 is 80
	Top   int // workloads listed; 0 is 10
}

const (
	minWidth  = 40
	dfltWidth = 80
	dfltTop   = 10
)

// Write writes the table of one tick.
func Write(w io.Writer, s *snapshot.Snapshot, opt Options) error {
	if opt.Width <= 0 {
		opt.Width = dfltWidth
	}
	if opt.Top <= 0 {
		opt.Top = dfltTop
	}
	opt.Width = max(opt.Width, minWidth)

	t := table{width: opt.Width}
	t.title(s)
	t.machine(s)
	t.footprint(s)
	t.workloads(s, opt.Top)
	t.processes(s, opt.Top)
	if _, err := io.WriteString(w, t.b.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

type table struct {
	b     strings.Builder
	width int
}

// row writes a name that fills what the figures beside it leave.
func (t *table) row(name, figures string) {
	room := max(t.width-utf8.RuneCountInString(figures)-1, 1)
	name = shorten(name, room)
	t.b.WriteString(name)
	if figures != "" {
		t.b.WriteString(strings.Repeat(" ", room-utf8.RuneCountInString(name)+1))
		t.b.WriteString(figures)
	}
	t.b.WriteByte('\n')
}

func (t *table) title(s *snapshot.Snapshot) {
	what := "tick " + strconv.FormatUint(s.Seq, 10)
	if s.Node != "" {
		what = clean(s.Node) + ", " + what
	}
	t.row(what, s.Time.Format(time.TimeOnly)+" over "+s.Elapsed.Round(time.Millisecond).String())
}

// machine writes each component, its quality and its band, and their sum.
func (t *table) machine(s *snapshot.Snapshot) {
	var sum, low, high unit.Power
	present, banded := 0, false
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if !n.Present || s.Elapsed <= 0 {
			continue
		}
		p := (n.Delta[energy.Dynamic] + n.Delta[energy.Idle]).Over(s.Elapsed)
		lo, hi, band := p, p, ""
		for j := range s.Bands {
			if b := &s.Bands[j]; b.Component == n.Component && b.Present {
				lo, hi, banded = b.LowDelta.Over(s.Elapsed), b.HighDelta.Over(s.Elapsed), true
				band = between(lo, hi)
			}
		}
		sum, low, high = sum+p, low+lo, high+hi
		present++
		t.row("  "+n.Component.String()+" ("+n.Quality.String()+")"+band, watts(p)+" W")
	}
	switch {
	case present == 0:
		t.b.WriteString("  no energy in this tick: \"noether check\" tells why\n")
	case banded && present > 1:
		t.row("  machine"+between(low, high), watts(sum)+" W")
	case present > 1:
		t.row("  machine", watts(sum)+" W")
	}
}

// footprint writes what the tick emitted, and by what that was reckoned.
func (t *table) footprint(s *snapshot.Snapshot) {
	phases := export.Emitted(s)
	if s.Elapsed <= 0 || phases == [snapshot.Phases]bool{} {
		return
	}
	if g := &s.Site.Grid; phases[snapshot.Operational] && g.Known {
		why := clean(g.Zone)
		if g.Estimated {
			why += ", estimated"
		}
		if s.Site.PUE > unit.One {
			why += ", PUE " + strconv.FormatFloat(s.Site.PUE.Float(), 'f', -1, 64)
		}
		t.row("  CO2e at "+strconv.FormatFloat(g.Intensity.GramsPerKWh(), 'f', -1, 64)+" g/kWh ("+why+")", grams(s.FootprintDelta.CO2e[snapshot.Operational]))
	} else if phases[snapshot.Operational] {
		t.row("  CO2e: the grid's intensity is unknown", "")
	}
	if phases[snapshot.Embodied] {
		t.row("  CO2e of the hardware", grams(s.FootprintDelta.CO2e[snapshot.Embodied]))
	}
}

// grams returns m as a figure; what is too small to show is not shown as 0.
func grams(m unit.Mass) string {
	if m > 0 && m < unit.Gram/1000 {
		return "<0.001 g"
	}
	return strconv.FormatFloat(m.Grams(), 'f', 3, 64) + " g"
}

func between(low, high unit.Power) string {
	return ", " + watts(low) + " to " + watts(high)
}

// consumer is one line of the list of workloads.
type consumer struct {
	kind, name string
	used       unit.Energy
	cpu        time.Duration
	hasCPU     bool
}

// workloads writes who used most in this tick, each joule listed once.
func (t *table) workloads(s *snapshot.Snapshot, top int) {
	list, all := consumers(s)
	if all <= 0 || s.Elapsed <= 0 {
		return
	}
	t.b.WriteByte('\n')
	t.row(pad("kind", kindWidth)+"who", t.figures("cpu s", "watts", "share"))
	shown := list[:min(top, len(list))]
	for i := range shown {
		t.consumer(&shown[i], all, s.Elapsed)
	}
	if rest := list[len(shown):]; len(rest) > 0 {
		others := consumer{kind: "others", name: strconv.Itoa(len(rest)) + " more", hasCPU: true}
		for i := range rest {
			others.used += rest[i].used
			others.cpu += rest[i].cpu
		}
		t.consumer(&others, all, s.Elapsed)
	}
}

// processes writes which processes used most of what the workloads did: a
// view of the same joules, so it stands apart.
func (t *table) processes(s *snapshot.Snapshot, top int) {
	var list []consumer
	_, all := consumers(s)
	for i := range s.Processes {
		p := &s.Processes[i]
		c := consumer{kind: "others"}
		if p.Name.PID != 0 {
			c.kind, c.name = strconv.FormatUint(uint64(p.Name.PID), 10), p.Name.Comm
		}
		for _, e := range p.Delta {
			c.used += e
		}
		if c.used > 0 {
			list = append(list, c)
		}
	}
	if len(list) == 0 || all <= 0 || s.Elapsed <= 0 {
		return
	}
	slices.SortStableFunc(list, func(a, b consumer) int { return cmp.Compare(b.used, a.used) })
	t.b.WriteByte('\n')
	t.row(pad("pid", kindWidth)+"process", t.figures("", "watts", "share"))
	for i := range list[:min(top, len(list))] {
		t.consumer(&list[i], all, s.Elapsed)
	}
}

const kindWidth = 10 // of the longest kind and a space

func (t *table) consumer(c *consumer, all unit.Energy, elapsed time.Duration) {
	cpu := ""
	if c.hasCPU {
		cpu = strconv.FormatFloat(c.cpu.Seconds(), 'f', 2, 64)
	}
	share := strconv.FormatFloat(100*c.used.Joules()/all.Joules(), 'f', 1, 64) + "%"
	power := c.used.Over(elapsed)
	if c.used > 0 {
		power = max(power, unit.Microwatt)
	}
	t.row(pad(c.kind, kindWidth)+clean(c.name), t.figures(cpu, watts(power), share))
}

// figures returns the columns, without CPU time where they would leave no room for names.
func (t *table) figures(cpu, watts, share string) string {
	if t.width < 60 {
		return fmt.Sprintf("%10s %6s", watts, share)
	}
	return fmt.Sprintf("%9s %10s %6s", cpu, watts, share)
}

// consumers returns every account that is no part of another, most first, and
// their sum.
func consumers(s *snapshot.Snapshot) (list []consumer, all unit.Energy) {
	add := func(c consumer, delta *snapshot.Ledger) {
		for i := range delta {
			c.used += delta.Component(energy.Component(i))
		}
		if all += c.used; c.used > 0 || c.cpu > 0 {
			list = append(list, c)
		}
	}
	for _, accounts := range [][]snapshot.Account{s.Pods, s.Containers, s.VMs, s.Sessions, s.Units} {
		for i := range accounts {
			a := &accounts[i]
			if a.Owner.Kind == workload.PodOwner && a.Owner.Container.ID != "" {
				continue // inside its pod
			}
			add(consumer{kind: a.Owner.Kind.String(), name: name(a.Owner), cpu: a.CPUDelta, hasCPU: true}, &a.Delta)
		}
	}
	for i := range s.System {
		add(consumer{kind: workload.SystemOwner.String(), name: workload.SystemAccount(i).String()}, &s.System[i].Delta)
	}
	slices.SortStableFunc(list, func(a, b consumer) int {
		return cmp.Or(cmp.Compare(b.used, a.used), cmp.Compare(b.cpu, a.cpu), cmp.Compare(a.name, b.name))
	})
	return list, all
}

// name returns what people call an owner.
func name(o *workload.Owner) string {
	switch o.Kind {
	case workload.PodOwner:
		if o.Pod.Name == "" {
			return o.Pod.UID
		}
		return o.Pod.Namespace + "/" + o.Pod.Name
	case workload.ContainerOwner:
		id := o.Container.ID
		if len(id) > 12 { // as the runtimes print it
			id = id[:12]
		}
		if o.Container.Name != "" {
			return o.Container.Name + " (" + id + ")"
		}
		return strings.TrimSpace(id + " " + o.Container.Runtime)
	case workload.VMOwner:
		return o.VM.Name
	case workload.SessionOwner:
		return o.User
	case workload.UnitOwner:
		return o.Unit
	default:
		return o.System.String()
	}
}

// watts returns p as a figure in watts; what is too small to show is not shown as 0.
func watts(p unit.Power) string {
	if p > 0 && p < unit.Watt/1000 {
		return "<0.001"
	}
	return strconv.FormatFloat(p.Watts(), 'f', 3, 64)
}

// clean returns s without anything that would move the cursor.
func clean(s string) string {
	s, _ = export.Clean(s)
	return strings.ReplaceAll(s, "\n", `\n`)
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(width-utf8.RuneCountInString(s), 1))
}

// shorten cuts the middle out of what is longer than width, since names differ
// at both ends.
func shorten(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	head := width / 2
	return string(r[:head]) + "…" + string(r[len(r)-(width-head-1):])
}
