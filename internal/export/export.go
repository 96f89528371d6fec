// Package export is the one table from a snapshot to metric families: names,
// help, types, units, labels, and the walk that emits their samples. Every
// sink (text page, embedded store, remote write) renders this table, so a
// figure has the same name and labels wherever it is read.
//
// It refuses to measure, to divide, or to round: what it emits are the
// snapshot's own integers, scaled by a power of ten.
package export

import (
	"time"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
)

// Type is the type of a family.
type Type uint8

// The types.
const (
	Gauge Type = iota
	Counter
	// Info is a gauge that is always 1 and carries facts in its labels.
	Info
)

// String returns the type as it stands in the text format, where facts are gauges.
func (t Type) String() string {
	if t == Counter {
		return "counter"
	}
	return "gauge"
}

// Family is one line of the table. It is immutable.
type Family struct {
	Name   string // with the suffix _total for counters
	Help   string // one sentence
	Type   Type
	Unit   string   // the base unit, which the name ends in (before _total); empty for pure numbers
	Labels []string // in the order they are emitted; label node precedes them when the node has a name
	Index  int      // position in the table

	walk func(*Table)
}

// Form says what is known about the value of a label.
type Form uint8

// The forms.
const (
	// Text is valid UTF-8 without control characters other than newline.
	Text Form = iota
	// Plain is printable ASCII without quote and backslash: no format needs to escape it.
	Plain
	// Number is Label.Number in decimal; Label.Value is empty.
	Number
)

// Label is one label of a sample. An empty value is never emitted: to
// Prometheus it would be the same as no label.
type Label struct {
	Name   string
	Value  string
	Number uint64
	Form   Form
}

// Value is an exact decimal: N / 10^Places.
type Value struct {
	N      int64
	Places int
}

// Sink receives the samples of a walk, family by family in table order. The
// labels are valid during the call only.
type Sink interface {
	Sample(f *Family, labels []Label, v Value)
}

// About is what does not change while the agent runs.
type About struct {
	Version, Revision, GoVersion string
	OS, Arch, Kernel, CPUModel   string
	Node                         string    // the node's name until a snapshot tells it
	Start                        time.Time // when the agent started
	// PodLabels are the names of the labels that the user chose for pods, in
	// the order of snapshot.Account.Extra; valid, and none of the table's own.
	PodLabels []string
}

// Table walks snapshots. It keeps scratch space, so one goroutine uses it at a time.
type Table struct {
	families []Family
	about    About

	// Of the walk under way.
	s       *snapshot.Snapshot
	shape   Shape
	emitted [snapshot.Phases]bool
	none    snapshot.Footprint // always zero
	sink    Sink
	family  *Family
	common  []Label // label node, if the node has a name
	labels  []Label
	zones   zoneLabels
}

// NewTable returns the table of every family.
func NewTable(about About) *Table {
	t := &Table{families: families(about.PodLabels), about: about}
	for i := range t.families {
		t.families[i].Index = i
	}
	return t
}

// Families returns the lines of the table, owned by it.
func (t *Table) Families() []Family { return t.families }

// Walk hands every sample of s to sink. A nil snapshot stands for an agent
// that has not completed a tick: only what it says about itself is known then.
func (t *Table) Walk(s *snapshot.Snapshot, sink Sink) {
	t.s, t.sink = s, sink
	t.shape, t.emitted, t.labels = Shape{}, Emitted(s), t.labels[:0]
	if s == nil {
		t.text("node", t.about.Node)
	} else {
		t.text("node", s.Node)
		t.shape = ShapeOf(s)
		t.zones.update(s.Zones)
	}
	t.common = append(t.common[:0], t.labels...)
	for i := range t.families {
		t.family = &t.families[i]
		t.family.walk(t)
	}
	t.s, t.sink, t.family = nil, nil, nil
}

// begin starts the labels of a series.
func (t *Table) begin() {
	t.labels = append(t.labels[:0], t.common...)
}

// text adds a label whose value may hold anything.
func (t *Table) text(name, value string) {
	if value == "" {
		return
	}
	value, form := Clean(value)
	t.labels = append(t.labels, Label{Name: name, Value: value, Form: form})
}

// plain adds a label whose value is one of our own words.
func (t *Table) plain(name, value string) {
	t.labels = append(t.labels, Label{Name: name, Value: value, Form: Plain})
}

func (t *Table) number(name string, n uint64) {
	t.labels = append(t.labels, Label{Name: name, Number: n, Form: Number})
}

// put emits a sample with the labels so far.
func (t *Table) put(n int64, places int) {
	t.sink.Sample(t.family, t.labels, Value{n, places})
}

func (t *Table) joules(e unit.Energy) { t.put(int64(e), 6) }

func (t *Table) seconds(d time.Duration) { t.put(int64(d), 9) }

// watts emits the mean power of e in this tick.
func (t *Table) watts(e unit.Energy) { t.put(int64(e.Over(t.s.Elapsed)), 6) }

// Shape says which figures of a snapshot are figures and which are merely absent.
type Shape struct {
	Has     [energy.Components]bool // the machine ever had a datum of it
	Present [energy.Components]bool // it had one in this tick
	// Dynamic has the components that ever had dynamic energy: the others, such
	// as memory by the model, have none to divide among owners and processes.
	Dynamic [energy.Components]bool
	// SharesIdle is set when idle energy is divided among owners.
	SharesIdle bool
}

// ShapeOf returns the shape of s.
func ShapeOf(s *snapshot.Snapshot) Shape {
	sh := Shape{Has: s.Has(), Present: s.Present(), SharesIdle: s.SharesIdle}
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Total[energy.Dynamic] != 0 {
			sh.Dynamic[n.Component] = true
		}
	}
	if s.Elapsed <= 0 {
		sh.Present = [energy.Components]bool{}
	}
	return sh
}

// Owner tells whether part p of component c of an owner with these totals is a figure.
func (sh *Shape) Owner(total *snapshot.Ledger, c energy.Component, p energy.Part) bool {
	if p == energy.Dynamic {
		return total[c][p] != 0 || sh.Dynamic[c]
	}
	return total[c][p] != 0 || sh.Has[c] && sh.SharesIdle
}

// System is Owner for a system account: those for idle energy have no dynamic part.
func (sh *Shape) System(a int, total *snapshot.Ledger, c energy.Component, p energy.Part) bool {
	if total[c][p] != 0 {
		return true
	}
	switch own := systemPart(a); {
	case !sh.Has[c], own != p:
		return false
	default:
		return a != unreserved || sh.SharesIdle
	}
}
