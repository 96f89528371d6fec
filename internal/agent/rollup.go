package agent

import (
	"cmp"
	"slices"
	"time"

	"noether/internal/snapshot"
)

// maxRows bounds each rollup. The rows of pods in the books always stay.
const maxRows = 2_000

// holdRow is for how long a row that was born after the agent started is shown
// to scrapers as 0. PromQL's increase() cannot see what a counter's first
// sample already holds: a row that began with a whole Job in it would hide
// that Job.
const holdRow = time.Minute

// soon is for how long after the start a name is no late one: an API needs a
// moment to answer.
const soon = 10 * time.Second

// rowName is what the pods of a row have in common.
type rowName struct{ namespace, kind, workload string }

func (x rowName) compare(y rowName) int {
	return cmp.Or(cmp.Compare(x.namespace, y.namespace), cmp.Compare(x.kind, y.kind), cmp.Compare(x.workload, y.workload))
}

// row is the energy of all pods of one name since the agent started.
type row struct {
	name         rowName
	total, delta snapshot.Ledger
	foot, change snapshot.Footprint // of total and delta
	touched      bool               // delta or change is not zero
	held         bool               // it was born while the agent ran: with its pod, or with the name of one
	pods         int                // in the books
	shown        bool
	born, end    time.Duration // when it was first shown, and when its last pod left
}

func (r *row) leave(now time.Duration) {
	r.pods--
	r.end = now
}

// rollup is a view of the pods: it keeps what they had used when they are gone.
type rollup struct {
	rows    map[rowName]*row
	sorted  []*row
	touched []*row
}

// open clears what belongs to one tick.
func (v *rollup) open() {
	for _, r := range v.touched {
		r.delta, r.change, r.touched = snapshot.Ledger{}, snapshot.Footprint{}, false
	}
	v.touched = v.touched[:0]
}

func (v *rollup) row(name rowName, held bool) *row {
	if r := v.rows[name]; r != nil {
		return r
	}
	if len(v.sorted) >= maxRows {
		v.shrink()
	}
	if v.rows == nil {
		v.rows = make(map[rowName]*row)
	}
	r := &row{name: name, held: held}
	v.rows[name] = r
	i, _ := slices.BinarySearchFunc(v.sorted, name, func(r *row, n rowName) int { return r.name.compare(n) })
	v.sorted = slices.Insert(v.sorted, i, r)
	return r
}

// shrink drops the rows that have been without a pod for longest, some at once
// so that it is seldom done.
func (v *rollup) shrink() {
	var idle []*row
	for _, r := range v.sorted {
		if r.pods == 0 {
			idle = append(idle, r)
		}
	}
	slices.SortStableFunc(idle, func(x, y *row) int { return cmp.Compare(x.end, y.end) })
	for _, r := range idle[:min(len(idle), maxRows/16)] {
		delete(v.rows, r.name)
	}
	v.sorted = slices.DeleteFunc(v.sorted, func(r *row) bool { return v.rows[r.name] != r })
}

func (v *rollup) credit(r *row, a *account) {
	if !r.touched {
		r.touched = true
		v.touched = append(v.touched, r)
	}
	r.delta.Add(&a.delta)
	r.total.Add(&a.delta)
	r.change.Add(&a.footDelta)
	r.foot.Add(&a.footDelta)
}

// enrol puts a named pod into the rows of its namespace and workload. What it
// had used before anybody knew its name goes with it.
func (b *books) enrol(p *pod) {
	f := p.facts
	if f == nil || f.Namespace == "" {
		return
	}
	for i, name := range [...]rowName{{namespace: f.Namespace}, {f.Namespace, f.WorkloadKind, f.Workload}} {
		was := p.rows[i]
		if was != nil && was.name == name {
			continue
		}
		// Pods of the baseline were there before, if they had names soon.
		r := b.rollups[i].row(name, p.born > 1 || b.tick > waitTicks && b.now-b.began > soon)
		if was == nil {
			r.total.Add(&p.total)
			r.foot.Add(&p.foot)
		} else {
			was.leave(b.now)
		}
		r.pods++
		p.rows[i] = r
	}
}

// rollUp adds what the pods used and emitted in this tick to their rows.
func (b *books) rollUp() {
	for _, p := range b.podList {
		if p.rows[0] == nil || p.delta == (snapshot.Ledger{}) && p.footDelta == (snapshot.Footprint{}) {
			continue
		}
		for i, r := range p.rows {
			b.rollups[i].credit(r, &p.account)
		}
	}
}

func (v *rollup) pages(now time.Duration) []snapshot.View {
	out := make([]snapshot.View, len(v.sorted))
	for i, r := range v.sorted {
		if !r.shown {
			r.shown, r.born = true, now
		}
		out[i] = snapshot.View{
			Namespace: r.name.namespace, WorkloadKind: r.name.kind, Workload: r.name.workload,
			Total: r.total, Delta: r.delta, Footprint: r.foot, FootprintDelta: r.change, Fresh: r.held && now-r.born <= holdRow,
		}
	}
	return out
}
