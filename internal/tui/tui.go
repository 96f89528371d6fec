// Package tui is what noether top shows: a model over snapshots and keys, and
// the same figures as plain text and as JSON.
//
// It refuses to measure, to ask, and to know a terminal: snapshots, keys and
// sizes are handed to it, and it returns text. Whatever a name holds, no
// control character gets into that text but those of its own styles.
package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"noether/internal/snapshot"
)

// View says what the rows are.
type View uint8

// The views, in the order of their keys.
const (
	Tree View = iota // what is in what; each joule once
	Namespaces
	Workloads
	Pods
	Containers
	Processes
	Units
	Sessions
	VMs
	Views = iota
)

// String returns the view as it is written in flags.
func (v View) String() string { return viewNames()[v] }

func viewNames() [Views]string {
	return [Views]string{"tree", "namespaces", "workloads", "pods", "containers", "processes", "units", "sessions", "vms"}
}

// Order says by what rows are sorted.
type Order uint8

// The orders.
const (
	ByWatts Order = iota
	ByJoules
	ByCPU
	ByCO2e
	ByName
	Orders = iota
)

// String returns the order as it is written in flags.
func (o Order) String() string { return orderNames()[o] }

func orderNames() [Orders]string { return [Orders]string{"watts", "joules", "cpu", "co2e", "name"} }

// Period is the time that the figures are of.
type Period uint8

// The periods.
const (
	LastTick   Period = iota
	SinceTop          // since the first snapshot that was shown
	SinceAgent        // since the agent started
	Periods    = iota
)

// String returns the period as it is written in flags.
func (p Period) String() string { return periodNames()[p] }

func periodNames() [Periods]string { return [Periods]string{"tick", "top", "agent"} }

// Names returns the words for a view, an order or a period.
func Names[T View | Order | Period]() []string {
	switch any(T(0)).(type) {
	case View:
		list := viewNames()
		return list[:]
	case Order:
		list := orderNames()
		return list[:]
	default:
		list := periodNames()
		return list[:]
	}
}

// Parse returns the value that text is the word for.
func Parse[T View | Order | Period](text string) (T, error) {
	names := Names[T]()
	if i := slices.Index(names, text); i >= 0 {
		return T(i), nil
	}
	return 0, fmt.Errorf("%q is none of %s", text, strings.Join(names, ", "))
}

// Settings say what is shown, and how.
type Settings struct {
	View    View
	Order   Order
	Reverse bool
	Period  Period
	Filter  string // rows whose name has this, upper and lower case alike
	// Source is what is read, in a sentence for people.
	Source string
	// Zone is where the clock of the header stands; nil is UTC.
	Zone *time.Location
}

// Model is the state of the screen. One goroutine at a time.
type Model struct {
	set     Settings
	style   styles
	columns int
	lines   int

	figures tally
	all     []*row // of the view, sorted; nil: to be worked out
	rows    []*row // of all, those that are seen: filtered, and not collapsed
	shown   sums   // of what passes the filter

	expanded map[ident]bool // where it is not as by default
	everyone bool           // rows that used nothing are listed too
	cursor   ident          // zero: the first row
	top      int            // first row on the screen
	paused   bool
	latest   *snapshot.Snapshot // while paused
	typing   bool               // the filter
	help     bool
	trouble  string
	heals    bool // the next snapshot ends the trouble
}

// New returns a model that has nothing to show yet. Without colours there is
// no control character in its text at all.
func New(set Settings, colours bool) *Model {
	return &Model{set: set, style: stylesOf(colours), columns: 80, lines: 24, expanded: map[ident]bool{}}
}

// Resize tells how large the screen is, in cells.
func (m *Model) Resize(columns, lines int) { m.columns, m.lines = columns, lines }

// Offer brings a new snapshot.
func (m *Model) Offer(s *snapshot.Snapshot) {
	if m.heals {
		m.trouble, m.heals = "", false
	}
	if m.paused {
		m.latest = s
		return
	}
	m.take(s)
}

// Trouble tells why there is no new snapshot, or whatever else the user should
// know. If it heals, the next snapshot ends it.
func (m *Model) Trouble(text string, heals bool) { m.trouble, m.heals = text, heals }

func (m *Model) take(s *snapshot.Snapshot) {
	if m.figures.take(s) {
		m.Trouble("the agent was started anew: so are the figures", true)
	}
	m.all = nil
}

// Press does what a key is for, and returns whether that is the end. Keys are
// those of top(1) and less(1) where they have one.
func (m *Model) Press(k Key) (quit bool) {
	name := string(k)
	switch {
	case name == "ctrl+c":
		return true
	case m.typing:
		m.typed(name)
		return false
	case m.help:
		m.help = false
		return false
	}
	switch name {
	case "q":
		return true
	case "?", "h":
		m.help = true
	case "tab", "shift+tab":
		step := View(1)
		if name == "shift+tab" {
			step = Views - 1
		}
		m.look((m.set.View + step) % Views)
	case "/":
		m.typing = true
	case "esc":
		m.set.Filter, m.all = "", nil
	case " ", "p":
		m.pause()
	case "s":
		m.sort((m.set.Order + 1) % Orders)
	case "r":
		m.set.Reverse, m.all = !m.set.Reverse, nil
	case "t":
		m.set.Period, m.all = (m.set.Period+1)%Periods, nil
	case "z":
		m.everyone, m.all = !m.everyone, nil
	case "e", "E":
		m.fold(name == "E")
	case "enter", "right", "left", "+", "-":
		m.expand(name)
	default:
		m.letter(name)
	}
	return false
}

func (m *Model) letter(name string) {
	if len(name) == 1 && name[0] >= '1' && name[0] < '1'+Views {
		m.look(View(name[0] - '1'))
		return
	}
	for i, key := range [Orders]string{"w", "j", "c", "g", "n"} {
		if name == key {
			m.sort(Order(i))
			return
		}
	}
	page := max(m.lines/2, 1)
	for key, step := range map[string]int{
		"up": -1, "k": -1, "down": 1, "pgup": -page, "pgdown": page,
		"home": -len(m.rows), "end": len(m.rows),
	} {
		if name == key {
			m.move(step)
		}
	}
}

// maxFilter is how many bytes of a filter can be typed.
const maxFilter = 200

func (m *Model) typed(key string) {
	filter := m.set.Filter
	switch key {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, filter = false, ""
	case "backspace":
		_, size := utf8.DecodeLastRuneInString(filter)
		filter = filter[:len(filter)-size]
	case "ctrl+u":
		filter = ""
	default:
		if utf8.RuneCountInString(key) == 1 && len(filter)+len(key) <= maxFilter {
			filter += key
		}
	}
	if filter != m.set.Filter {
		m.set.Filter, m.all, m.cursor = filter, nil, ident{}
	}
}

func (m *Model) look(v View) {
	m.set.View, m.cursor, m.top, m.all = v, ident{}, 0, nil
}

func (m *Model) sort(o Order) { m.set.Order, m.all = o, nil }

func (m *Model) pause() {
	m.paused = !m.paused
	if !m.paused && m.latest != nil {
		m.take(m.latest)
		m.latest = nil
	}
}

// move takes the cursor to another row.
func (m *Model) move(step int) {
	m.arrange()
	if len(m.rows) > 0 {
		m.cursor = m.rows[min(max(m.at()+step, 0), len(m.rows)-1)].id
	}
}

// at returns where the cursor is: the first row if what it was on is gone.
func (m *Model) at() int {
	return max(slices.IndexFunc(m.rows, func(r *row) bool { return r.id == m.cursor }), 0)
}

// expand opens or closes the row under the cursor; a row that cannot be
// closed closes what it is in.
func (m *Model) expand(key string) {
	m.arrange()
	if len(m.rows) == 0 {
		return
	}
	at := m.at()
	r := m.rows[at]
	open := m.isOpen(r)
	switch {
	case key == "left" || key == "-" || key == "enter" && open:
		if key == "left" && r.level > 0 && (!open || !r.parent) {
			inside := r.level
			for r.level >= inside {
				at--
				r = m.rows[at]
			}
		}
		m.expanded[r.id] = false
	default:
		m.expanded[r.id] = true
	}
	m.cursor, m.all = r.id, nil
}

// fold opens or closes everything.
func (m *Model) fold(open bool) {
	clear(m.expanded)
	m.set.View, m.all = Tree, nil
	for _, k := range []kind{ofNamespace, ofPod, ofContainer, ofSystem, ofUnit, ofSession, ofVM} {
		m.expanded[ident{kind: everyOf, pid: uint32(k)}] = open
	}
}

// isOpen tells whether what is in a row is listed below it.
func (m *Model) isOpen(r *row) bool {
	if m.set.Filter != "" {
		return true
	}
	if open, said := m.expanded[r.id]; said {
		return open
	}
	if open, said := m.expanded[ident{kind: everyOf, pid: uint32(r.id.kind)}]; said {
		return open
	}
	return r.id.kind == ofNamespace || r.id.kind == ofSystem
}

// arrange works out the rows, if anything has changed since.
func (m *Model) arrange() {
	if m.all != nil || m.figures.last == nil {
		return
	}
	m.all = m.figures.collect(m.set.View, m.set.Period)
	if m.all == nil {
		m.all = []*row{}
	}
	filter := strings.ToLower(m.set.Filter)
	m.rows, m.shown = m.rows[:0], sums{}
	m.arrangeBelow(m.all, filter)
}

// arrangeBelow sorts siblings and lists those that are seen. It returns
// whether any of them is.
func (m *Model) arrangeBelow(list []*row, filter string) (some bool) {
	sortRows(list, m.set.Order, m.set.Reverse)
	for _, r := range list {
		if !m.everyone && r.idle() {
			continue
		}
		here := len(m.rows)
		m.rows = append(m.rows, r)
		matches := filter == "" || strings.Contains(strings.ToLower(r.label()), filter)
		if matches && !r.within {
			m.shown.add(r)
		}
		below := false
		if r.parent && (m.isOpen(r) || filter != "") {
			children := m.figures.below(r, m.set.Period)
			for _, c := range children {
				c.within = r.within || matches
			}
			inner := filter
			if matches {
				inner = ""
			}
			below = m.arrangeBelow(children, inner)
		}
		if !matches && !below {
			m.rows = m.rows[:here]
			continue
		}
		some = true
	}
	return some
}

// sortRows sorts siblings, the largest first or names from A on. System
// accounts come last.
func sortRows(list []*row, by Order, reverse bool) {
	slices.SortStableFunc(list, func(a, b *row) int {
		if a.id.kind == ofSystem != (b.id.kind == ofSystem) {
			if a.id.kind == ofSystem {
				return 1
			}
			return -1
		}
		var c int
		switch by {
		case ByJoules:
			c = cmp.Compare(b.joules, a.joules)
		case ByCPU:
			c = cmp.Compare(b.cpu, a.cpu)
		case ByCO2e:
			c = cmp.Compare(b.co2e, a.co2e)
		case ByName:
			c = strings.Compare(a.label(), b.label())
		default:
		}
		if c == 0 && by != ByName {
			c = cmp.Or(cmp.Compare(b.energy, a.energy), cmp.Compare(b.joules, a.joules), cmp.Compare(b.cpu, a.cpu))
		}
		if reverse {
			c = -c
		}
		return cmp.Or(c, a.id.compare(&b.id))
	})
}
