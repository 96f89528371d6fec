package tui

import (
	"strings"
	"time"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// Printer writes ticks as text or JSON, for pipes. One goroutine at a time.
type Printer struct {
	m    *Model
	rows int
}

// NewPrinter returns a printer of so many rows, all if 0.
func NewPrinter(set Settings, rows int) *Printer {
	p := &Printer{m: New(set, false), rows: rows}
	p.m.fold(true)
	p.m.set.View = set.View
	return p
}

func (p *Printer) take(s *snapshot.Snapshot) (list []*row) {
	p.m.take(s)
	p.m.arrange()
	list = p.m.rows
	if p.rows > 0 {
		list = list[:min(p.rows, len(list))]
	}
	return list
}

// Table returns a tick as a table of so many columns.
func (p *Printer) Table(s *snapshot.Snapshot, width int) string {
	list := p.take(s)
	m := p.m
	width = min(max(width, minColumns), maxColumns)
	lines := m.figures.summary(&m.set, width, false)
	if m.set.Filter != "" {
		lines = append(lines, fit("filter: "+harmless(m.set.Filter, maxFilter), width))
	}
	l := columnsOf(width+markWidth, &m.figures, &m.set)
	l.trend = false // there is one tick
	lines = append(lines, "", fit(strings.TrimPrefix(l.heading(m.set.Order, m.set.Reverse), "  "), width))
	w := m.figures.of(m.set.Period)
	var shown sums
	for _, r := range list {
		lines = append(lines, m.figures.line(l, r, &w, width, ""))
		if !r.within && r.level == 0 {
			shown.add(r)
		}
	}
	switch {
	case len(m.rows) == 0:
		lines = append(lines, fit(m.nothing(), width))
	case len(list) < len(m.rows):
		lines = append(lines, fit("(and others: --rows 0 lists all)", width))
	default:
		shown = m.shown
	}
	lines = append(lines, "")
	lines = append(lines, m.figures.balance(&shown, &m.set, width)...)
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// Line is what the JSON of a tick holds. Fields are added to it and never
// change their meaning; what is unknown is absent.
type Line struct {
	Schema  string        `json:"schema"`
	Time    time.Time     `json:"time"`
	Seconds float64       `json:"elapsed_seconds"` // of the period
	Node    string        `json:"node_name,omitempty"`
	Source  string        `json:"source,omitempty"`
	View    string        `json:"view"`
	Sort    string        `json:"sort"`
	Period  string        `json:"period"`
	Filter  string        `json:"filter,omitempty"`
	Machine *LineMachine  `json:"machine,omitempty"` // absent without a datum
	Rows    []LineRow     `json:"rows"`
	Omitted int           `json:"rows_omitted"`
	Rest    float64       `json:"not_listed_watts"`
	System  []LineAccount `json:"system"`
}

// LineMachine is the whole machine.
type LineMachine struct {
	LineFigures
	Joules     float64         `json:"joules"`
	Components []LineComponent `json:"components"`
	Zone       string          `json:"grid_zone,omitempty"`
	Intensity  *float64        `json:"grams_per_kwh,omitempty"`
	CO2e       *float64        `json:"co2e_grams_per_hour,omitempty"`
	Embodied   *float64        `json:"embodied_grams_per_hour,omitempty"`
	Cost       *float64        `json:"cost_per_hour,omitempty"`
	Currency   string          `json:"currency,omitempty"`
}

// LineFigures is power and how sure it is.
type LineFigures struct {
	Watts   float64 `json:"watts"`
	Low     float64 `json:"watts_low"`
	High    float64 `json:"watts_high"`
	Quality string  `json:"quality"`
}

// LineComponent is one component of the machine.
type LineComponent struct {
	Component string `json:"component"`
	LineFigures
}

// LineAccount is an account that belongs to no workload.
type LineAccount struct {
	Account string  `json:"account"`
	Watts   float64 `json:"watts"`
}

// LineRow is one row.
type LineRow struct {
	Kind         string   `json:"kind"`
	Level        int      `json:"level"`
	Namespace    string   `json:"namespace,omitempty"`
	WorkloadKind string   `json:"workload_kind,omitempty"`
	Workload     string   `json:"workload,omitempty"`
	Pod          string   `json:"pod,omitempty"`
	PodUID       string   `json:"pod_uid,omitempty"`
	Container    string   `json:"container,omitempty"`
	ContainerID  string   `json:"container_id,omitempty"`
	VM           string   `json:"vm,omitempty"`
	User         string   `json:"user,omitempty"`
	Unit         string   `json:"unit,omitempty"`
	Account      string   `json:"account,omitempty"`
	PID          uint32   `json:"pid,omitempty"`
	Comm         string   `json:"comm,omitempty"`
	Watts        float64  `json:"watts"`
	Joules       float64  `json:"joules"`
	Share        float64  `json:"share"`
	CPU          *float64 `json:"cpu_percent,omitempty"`
	CO2e         *float64 `json:"co2e_grams_per_hour,omitempty"`
	Quality      string   `json:"quality"`
	Ended        bool     `json:"ended,omitempty"`
}

// Schema names the format of a Line.
const Schema = "noether.top/v1"

// Line returns a tick as what is written in JSON.
func (p *Printer) Line(s *snapshot.Snapshot) Line {
	list := p.take(s)
	m := p.m
	w := m.figures.of(m.set.Period)
	line := Line{
		Schema: Schema, Time: s.Time.UTC(), Seconds: w.elapsed.Seconds(), Node: s.Node, Source: m.set.Source,
		View: m.set.View.String(), Sort: m.set.Order.String(), Period: m.set.Period.String(), Filter: m.set.Filter,
		Rows: []LineRow{}, Omitted: len(m.rows) - len(list), System: []LineAccount{},
	}
	rest := w.energy
	for i, e := range w.system {
		line.System = append(line.System, LineAccount{workload.SystemAccount(i).String(), wattsOf(e, w.elapsed)})
		rest -= e
	}
	var shown sums
	for _, r := range list {
		line.Rows = append(line.Rows, m.figures.lineRow(r, &w))
		if !r.within {
			shown.add(r)
		}
	}
	line.Rest = wattsOf(rest-shown.energy, w.elapsed)
	if w.known {
		line.Machine = m.figures.lineMachine(&w)
	}
	return line
}

func wattsOf(e unit.Energy, d time.Duration) float64 { return e.Over(d).Watts() }

func (t *tally) lineMachine(w *whole) *LineMachine {
	l := &LineMachine{
		LineFigures: LineFigures{wattsOf(w.energy, w.elapsed), wattsOf(w.low, w.elapsed), wattsOf(w.high, w.elapsed), w.quality.String()},
		Joules:      w.joules.Joules(), Components: []LineComponent{},
	}
	for i := range w.components {
		if c := &w.components[i]; c.present {
			l.Components = append(l.Components, LineComponent{
				energy.Component(i).String(),
				LineFigures{wattsOf(c.energy, w.elapsed), wattsOf(c.low, w.elapsed), wattsOf(c.high, w.elapsed), c.quality.String()},
			})
		}
	}
	site := t.last.Site
	if site == nil {
		return l
	}
	l.Zone = site.Grid.Zone
	hour := perHour(w.elapsed)
	if site.Grid.Known {
		l.Intensity = new(site.Grid.Intensity.GramsPerKWh())
		l.CO2e = new(w.co2e[snapshot.Operational].Grams() * hour)
	}
	if site.Hardware.Known() {
		l.Embodied = new(w.co2e[snapshot.Embodied].Grams() * hour)
	}
	if site.Priced {
		l.Cost, l.Currency = new(w.cost.Float()*hour), site.Currency
	}
	return l
}

func (t *tally) lineRow(r *row, w *whole) LineRow {
	l := LineRow{
		Kind: r.id.kind.String(), Level: r.level,
		Watts: wattsOf(r.energy, w.elapsed), Joules: r.joules.Joules(), Ended: r.ended,
		Quality: r.quality.String(),
	}
	if w.energy > 0 {
		l.Share = float64(r.energy) / float64(w.energy)
	}
	if r.hasCPU && w.elapsed > 0 {
		l.CPU = new(100 * r.cpu.Seconds() / w.elapsed.Seconds())
	}
	if r.hasCO2e {
		l.CO2e = new(r.co2e.Grams() * perHour(w.elapsed))
	}
	switch r.id.kind {
	case ofNamespace:
		l.Namespace = r.id.a
	case ofWorkload:
		l.Namespace, l.WorkloadKind, l.Workload = r.id.a, r.id.b, r.id.c
	case ofProcess:
		l.PID, l.Comm, l.ContainerID = r.proc.PID, r.proc.Comm, r.proc.ContainerID
		l.owner(r.where)
	case ofAccount:
		l.Account = r.id.a
	case ofRest:
		l.PodUID = r.id.a
	default:
		l.owner(r.owner)
	}
	return l
}

func (l *LineRow) owner(o *workload.Owner) {
	if o == nil {
		return
	}
	l.Namespace, l.Pod, l.PodUID, l.WorkloadKind, l.Workload = o.Pod.Namespace, o.Pod.Name, o.Pod.UID, o.Pod.WorkloadKind, o.Pod.Workload
	l.Container, l.ContainerID = o.Container.Name, o.Container.ID
	l.VM, l.User, l.Unit = o.VM.Name, o.User, o.Unit
}
