package tui

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// style makes text bold, dim or the like (ECMA-48, 8.3.117), none of which
// tells what the text does not. The empty one leaves it as it is.
type style string

func (s style) of(text string) string {
	if s == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

type styles struct{ strong, dim, heading, cursor, warning style }

func stylesOf(colours bool) styles {
	if !colours {
		return styles{}
	}
	return styles{strong: "1", dim: "2", heading: "7", cursor: "1", warning: "1;31"}
}

// Bounds of what is drawn.
const (
	minColumns = 20
	maxColumns = 500
	maxName    = 300 // runes of a name
	rowTrend   = 10  // cells
)

// View returns the screen, line by line, no line wider and no more lines than
// it has room for.
func (m *Model) View() []string {
	width := min(max(m.columns, minColumns), maxColumns)
	if m.help {
		return m.crop(helpLines(), width)
	}
	if m.figures.last == nil {
		return m.crop(append([]string{m.style.strong.of("noether top"), "measuring the first interval…"}, m.notes(width)...), width)
	}
	m.arrange()
	head := m.header(width)
	foot := m.footer(width)
	room := max(m.lines-len(head)-len(foot), 1)
	lines := append(head, m.table(width, room)...)
	for len(lines) < len(head)+room {
		lines = append(lines, "")
	}
	return m.crop(append(lines, foot...), width)
}

// crop keeps what the screen has room for, the end at least.
func (m *Model) crop(lines []string, width int) []string {
	if over := len(lines) - max(m.lines, 1); over > 0 {
		lines = lines[over:]
	}
	for i := range lines {
		lines[i] = ansi.Truncate(lines[i], width, "")
	}
	return lines
}

// header is what stands above the rows.
func (m *Model) header(width int) []string {
	lines := m.figures.summary(&m.set, width, m.paused)
	lines[0] = m.style.strong.of(lines[0])
	if cells := min(width-30, len(m.figures.machine)); cells > 1 {
		lines = append(lines, m.figures.machine.draw(cells))
	}
	lines = append(lines, m.notes(width)...)
	lines = append(lines, m.tabs(width))
	return append(lines, m.style.heading.of(left(columnsOf(width, &m.figures, &m.set).heading(m.set.Order, m.set.Reverse), width)))
}

// notes are the trouble, and what is typed.
func (m *Model) notes(width int) (lines []string) {
	if m.trouble != "" {
		for _, l := range wrapped(harmless(m.trouble, 1000), width) {
			lines = append(lines, m.style.warning.of(l))
		}
	}
	switch {
	case m.typing:
		lines = append(lines, fit("filter: "+harmless(m.set.Filter, maxFilter)+"_", width))
	case m.set.Filter != "":
		lines = append(lines, fit("filter: "+harmless(m.set.Filter, maxFilter)+" (/ changes it, Esc clears it)", width))
	}
	return lines
}

// wrapped breaks a text into lines of a width.
func wrapped(text string, width int) []string {
	return strings.Split(ansi.Wrap(text, width, ""), "\n")
}

// tabs names the views, as many as there is room for around the one in force.
func (m *Model) tabs(width int) string {
	var tabs []string
	for v := range View(Views) {
		tab := strconv.Itoa(int(v)+1) + " " + v.String()
		if v == m.set.View {
			tab = "[" + tab + "]"
		}
		tabs = append(tabs, tab)
	}
	if line := strings.Join(tabs, "  "); ansi.StringWidth(line) <= width {
		return line
	}
	return fit(fmt.Sprintf("[%d %s]  1-%d and Tab change the view", m.set.View+1, m.set.View, Views), width)
}

// summary is what the machine used, in words.
func (t *tally) summary(set *Settings, width int, paused bool) []string {
	s, w := t.last, t.of(set.Period)
	zone := set.Zone
	if zone == nil {
		zone = time.UTC
	}
	state := ""
	if paused {
		state = "PAUSED"
	}
	lines := flow(width, "noether top", state, harmless(s.Node, maxName), s.Time.In(zone).Format(time.TimeOnly), periodText(set.Period, w.elapsed))
	if !w.known {
		lines = append(lines, flow(width, "no energy in this tick: noether check tells why")...)
	}
	if w.known && w.elapsed > 0 {
		parts := []string{"machine " + powerText(w.energy, w.low, w.high, w.banded, w.quality, w.elapsed)}
		for i := range w.components {
			if c := &w.components[i]; c.present {
				parts = append(parts, energy.Component(i).String()+" "+powerText(c.energy, c.low, c.high, c.banded, c.quality, w.elapsed)+" "+c.quality.String())
			}
		}
		lines = append(lines, flow(width, parts...)...)
	}
	estimated := w.quality == energy.Estimated
	since := t.from
	if set.Period == SinceAgent {
		since = s.Start
	}
	parts := append([]string{"since " + since.In(zone).Format(time.TimeOnly) + " " + about(joulesText(w.joules), estimated)}, t.surroundings(&w)...)
	lines = append(lines, flow(width, parts...)...)
	return append(lines, flow(width, harmless(set.Source, maxName), "CPU time from "+s.Self.Usage)...)
}

func periodText(p Period, d time.Duration) string {
	long := d.Round(100 * time.Millisecond)
	switch p {
	case SinceTop:
		return "since top started, " + long.Round(time.Second).String()
	case SinceAgent:
		return "since the agent started, " + long.Round(time.Second).String()
	default:
		return "last " + long.String()
	}
}

func powerText(e, low, high unit.Energy, banded bool, q energy.Quality, d time.Duration) string {
	text := about(digits(e.Over(d).Watts()), q == energy.Estimated) + " W"
	if banded {
		text += " (" + digits(low.Over(d).Watts()) + " to " + digits(high.Over(d).Watts()) + ")"
	}
	return text
}

// surroundings are grams and money, as far as they are known.
func (t *tally) surroundings(w *whole) (parts []string) {
	site := t.last.Site
	if site == nil {
		return nil
	}
	hour := perHour(w.elapsed)
	estimated := w.quality == energy.Estimated
	if g := &site.Grid; g.Known {
		why := harmless(g.Zone, maxName)
		if g.Provider != "" {
			why += ", " + harmless(g.Provider, maxName)
		}
		parts = append(parts,
			"CO2e "+about(digits(w.co2e[snapshot.Operational].Grams()*hour), estimated || g.Estimated)+" g/h",
			"grid "+about(digits(g.Intensity.GramsPerKWh()), g.Estimated)+" g/kWh ("+why+")")
	} else if g.Zone != "" {
		parts = append(parts, "CO2e unknown: nobody told the intensity of "+harmless(g.Zone, maxName))
	}
	if site.Hardware.Known() {
		parts = append(parts, "embodied "+about(digits(w.co2e[snapshot.Embodied].Grams()*hour), site.Hardware.Estimated)+" g/h")
	}
	if site.Priced {
		parts = append(parts, "cost "+about(digits(w.cost.Float()*hour), estimated)+" "+harmless(site.Currency, 10)+"/h")
	}
	return parts
}

// draw shows the newest cells of a trend.
func (t trend) draw(cells int) string {
	list := t[len(t)-cells:]
	values := make([]float64, len(list))
	least, most := list[0].watts, list[0].watts
	var long time.Duration
	for i, p := range list {
		values[i] = p.watts
		least, most, long = min(least, p.watts), max(most, p.watts), long+p.long
	}
	return spark(values) + " " + digits(least) + " to " + digits(most) + " W in " + long.Round(time.Second).String()
}

// layout is which columns there is room for.
type layout struct{ cpu, joules, co2e, trend bool }

const (
	wattsWidth  = 9
	shareWidth  = 6
	cpuWidth    = 6
	joulesWidth = 9
	co2eWidth   = 9
	nameWidth   = 24 // at least
	markWidth   = 2  // of the cursor
)

// columnsOf returns the layout for a width: what is told least leaves first.
func columnsOf(width int, t *tally, set *Settings) (l layout) {
	room := width - markWidth - wattsWidth - 1 - shareWidth - 1 - nameWidth
	take := func(wanted bool, cells int) bool {
		if !wanted || room < cells+1 {
			return false
		}
		room -= cells + 1
		return true
	}
	l.joules = take(true, joulesWidth)
	l.cpu = take(set.View != Processes && set.View != Namespaces && set.View != Workloads, cpuWidth)
	l.co2e = take(t.last.Site != nil && t.last.Site.Grid.Known && set.View != Processes, co2eWidth)
	l.trend = take(true, rowTrend)
	return l
}

// heading names the columns, and marks the one that rows are sorted by.
func (l layout) heading(by Order, reverse bool) string {
	mark := func(name string, o Order) string {
		switch {
		case o != by:
			return name
		case (o == ByName) == reverse:
			return "↓" + name
		default:
			return "↑" + name
		}
	}
	line := "  " + right(mark("WATTS", ByWatts), wattsWidth) + " " + right("SHARE", shareWidth)
	if l.cpu {
		line += " " + right(mark("CPU%", ByCPU), cpuWidth)
	}
	if l.joules {
		line += " " + right(mark("JOULES", ByJoules), joulesWidth)
	}
	if l.co2e {
		line += " " + right(mark("gCO2e/h", ByCO2e), co2eWidth)
	}
	if l.trend {
		line += " " + left("TREND", rowTrend)
	}
	return line + " " + mark("NAME", ByName)
}

// table draws as many rows as there is room for, those around the cursor.
func (m *Model) table(width, room int) (lines []string) {
	if len(m.rows) == 0 {
		return wrapped(m.nothing(), width)[:1]
	}
	at := m.at()
	if at < m.top {
		m.top = at
	}
	if at >= m.top+room {
		m.top = at - room + 1
	}
	m.top = max(min(m.top, len(m.rows)-room), 0)
	l := columnsOf(width, &m.figures, &m.set)
	w := m.figures.of(m.set.Period)
	for i := m.top; i < min(m.top+room, len(m.rows)); i++ {
		r := m.rows[i]
		open := ""
		if m.set.View == Tree {
			switch {
			case !r.parent:
				open = "  "
			case m.isOpen(r):
				open = "▾ "
			default:
				open = "▸ "
			}
		}
		line := m.figures.line(l, r, &w, width-markWidth, open)
		switch {
		case i == at:
			line = m.style.cursor.of("> " + line)
		case r.ended:
			line = m.style.dim.of("  " + line)
		default:
			line = "  " + line
		}
		lines = append(lines, line)
	}
	return lines
}

// nothing says why there are no rows.
func (m *Model) nothing() string {
	s := m.figures.last
	switch {
	case m.set.Filter != "" && len(m.all) > 0:
		return "nothing has this in its name"
	case m.set.View == Processes && !s.HasProcesses:
		return "no processes: this agent lists none, or cannot see them"
	case (m.set.View == Workloads || m.set.View == Namespaces) && !s.NamesPods:
		return "nobody is asked what pods are called: see --kube-source"
	case len(m.all) > 0:
		return "nothing used energy yet: z lists the others too"
	default:
		return "there are none on this machine"
	}
}

// line is a row as text of at most a width.
func (t *tally) line(l layout, r *row, w *whole, width int, open string) string {
	watts := digits(power(r.energy, w.elapsed))
	if r.ended && r.energy == 0 {
		watts = "-" // it draws no power, which is not the same as 0 W
	}
	line := right(about(watts, r.estimated() && r.energy != 0), wattsWidth) + " " + right(percent(r.energy.Joules(), w.energy.Joules()), shareWidth)
	if l.cpu {
		text := "-"
		if r.hasCPU && w.elapsed > 0 {
			text = strconv.FormatFloat(100*r.cpu.Seconds()/w.elapsed.Seconds(), 'f', 1, 64)
		}
		line += " " + right(text, cpuWidth)
	}
	if l.joules {
		figure, prefix := prefixed(r.joules.Joules())
		line += " " + right(about(figure+prefix, r.estimated() && r.joules != 0), joulesWidth)
	}
	if l.co2e {
		text := "-"
		if r.hasCO2e {
			site := t.last.Site
			guessed := r.estimated() || site.Grid.Estimated || site.Hardware.Known() && site.Hardware.Estimated
			text = about(digits(r.co2e.Grams()*perHour(w.elapsed)), guessed && r.co2e != 0)
		}
		line += " " + right(text, co2eWidth)
	}
	if l.trend {
		line += " " + left(spark(t.trends[r.id].last(t.tick, rowTrend)), rowTrend)
	}
	name := strings.Repeat("  ", r.level) + open + r.title() + " " + harmless(r.label(), maxName)
	if r.ended {
		name += " (ended)"
	}
	return line + " " + fit(name, max(width-ansi.StringWidth(line)-1, 0))
}

// footer says how the rows add up to the machine, and which keys there are.
func (m *Model) footer(width int) []string {
	lines := m.figures.balance(&m.shown, &m.set, width)
	keys := "q quit  ? help  / filter  s sort  t period  p pause  e/E fold  ↵ open"
	return append(lines, m.style.dim.of(fit(keys, width)))
}

// balance says how what is listed adds up to the machine.
func (t *tally) balance(shown *sums, set *Settings, width int) []string {
	w := t.of(set.Period)
	if !w.known || w.elapsed <= 0 {
		return nil
	}
	var system unit.Energy
	for _, e := range w.system {
		system += e
	}
	watts := func(e unit.Energy) string {
		return about(digits(power(e, w.elapsed)), w.quality == energy.Estimated)
	}
	listed, other := "listed ", "not listed "
	if set.Filter != "" {
		listed = "with " + strconv.Quote(harmless(set.Filter, 20)) + " "
	}
	parts := []string{listed + watts(shown.energy) + " W " + percent(shown.energy.Joules(), w.energy.Joules())}
	if rest := w.energy - shown.energy - system; rest != 0 {
		parts = append(parts, other+watts(rest)+" W")
	}
	for i, e := range w.system {
		if e != 0 {
			parts = append(parts, workload.SystemAccount(i).String()+" "+watts(e)+" W")
		}
	}
	return flow(width, append(parts, "= machine "+watts(w.energy)+" W")...)
}

func helpLines() []string {
	return strings.Split(`noether top: who draws the power of this machine

  1-9, Tab      view: tree, namespaces, workloads, pods, containers, processes,
                units, sessions, vms
  w j c g n, s  sort by watts, joules, CPU, gCO2e, name; s takes the next
  r             the other way round
  t             period: last tick, since top started, since the agent started
  /             filter by name; Enter keeps it, Esc clears it
  ↑ ↓ PgUp PgDn Home End   move;  Enter, →, ←   open and close what is in a row
  E, e          open, close everything
  z             list also what used nothing
  p, Space      pause
  ?, h          this;  q   quit

  ~ an estimate: its lowest and highest plausible value stand in brackets
  SHARE is of the machine, idle included; CPU% of one CPU; JOULES since top
  started. Processes have no part of idle energy. Any key goes back.`, "\n")
}
