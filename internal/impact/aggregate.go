package impact

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

const (
	timestampKey = "timestamp"
	durationKey  = "duration"
)

// errIncomplete marks a group that has no result because a component below it has none.
var errIncomplete = errors.New("a component below has no result")

// checkMetrics makes sure that every metric to aggregate has a method.
func (r *run) checkMetrics() error {
	if r.aggregation == nil {
		return nil
	}
	for _, m := range r.aggregation.metrics {
		if _, ok := r.parameter(m); ok || m == timestampKey || m == durationKey {
			continue
		}
		if r.dialect.KnownMetrics {
			return fault.New(fault.AggregationMethod, "aggregate `%s`: no plugin says how its values become one: add it to the parameter-metadata of the plugin that makes it, such as outputs: {%s: {unit: …, description: …, aggregation-method: {time: sum, component: sum}}}", m, m)
		}
		r.o.Env.Warn("aggregation: no plugin says how values of %s become one: the last one is taken", m)
	}
	return nil
}

// aggregate fills in the components of the tree below and with n, then outputs,
// aggregated and period of every node, from the leaves up.
func (r *run) aggregate(root *node) error {
	var failed error
	root.each(func(n *node) {
		if failed != nil || n.component.Err != nil {
			return
		}
		err := r.fold(n)
		switch {
		case err == nil:
		case r.dialect.KeepComputed:
			n.component.Err = err
		default:
			failed = err
		}
	})
	if failed == nil && r.dialect.PeriodSCI {
		r.periods(root)
	}
	return failed
}

// fold aggregates one node whose children are done.
func (r *run) fold(n *node) error {
	for _, c := range n.children {
		if c.component.Err != nil {
			return &fault.Error{Class: fault.MissingAggregation, Message: "sum up " + where(n.path) + ": " + where(c.path) + " has no result", Cause: errIncomplete}
		}
	}
	if !n.grouping {
		return r.foldLeaf(n)
	}
	if r.aggregation == nil || !r.aggregation.components || r.skipped(n) {
		return nil
	}
	siblings := slices.DeleteFunc(slices.Clone(n.children), r.skipped)
	if r.dialect.EmptyRows && !slices.ContainsFunc(siblings, func(c *node) bool { return len(c.component.Rows) > 0 }) {
		return nil
	}
	rows, err := r.foldSiblings(n, siblings)
	if err != nil {
		return err
	}
	total, err := r.foldTime(rows, r.dialect.NoneOmits)
	if err != nil {
		return err
	}
	n.component.Rows, n.component.Total = rows, total
	n.out.Set("outputs", value.Rows(rows))
	n.out.Set("aggregated", total.Value())
	return nil
}

// foldLeaf aggregates a leaf over time.
func (r *run) foldLeaf(n *node) error {
	if r.aggregation == nil {
		if items := n.out.Get("outputs").Items(); items != nil {
			n.component.Rows = slices.DeleteFunc(objectsOf(items), func(o *value.Object) bool { return o == nil })
		}
		return nil
	}
	if r.skipped(n) {
		return nil
	}
	outputs := n.out.Get("outputs")
	if outputs.Kind() != value.Array {
		if outputs.IsNullish() && r.dialect.EmptyRows {
			return nil
		}
		n.unread = fault.New(fault.Type, "aggregate %s: outputs is %s: a component without outputs cannot be aggregated", where(n.path), outputs.Kind())
		if !r.aggregation.time && !r.dialect.EmptyRows {
			return nil // the reference fails where its parent is aggregated
		}
		return n.unread
	}
	rows, err := objects(n, "outputs", true)
	if err != nil {
		return err
	}
	n.component.Rows = rows
	if !r.aggregation.time || r.dialect.EmptyRows && len(rows) == 0 {
		return nil
	}
	n.component.Total, err = r.foldTime(rows, false)
	if err != nil {
		return err
	}
	n.out.Set("aggregated", n.component.Total.Value())
	return nil
}

// skipped reports whether a component is left out of aggregation.
func (r *run) skipped(n *node) bool {
	if !r.dialect.SkipComponents || r.aggregation == nil || len(n.path) == 0 {
		return false
	}
	return slices.Contains(r.aggregation.skip, n.path[len(n.path)-1]) || slices.Contains(r.aggregation.skip, strings.Join(n.path, "."))
}

// foldTime folds rows of one node into its total. The rows of a group may lack
// what components do not pass on to it.
func (r *run) foldTime(rows []*value.Object, group bool) (*value.Object, error) {
	f := r.folder(false)
	if group {
		f.metrics = slices.DeleteFunc(f.metrics, func(m metric) bool {
			p, _ := r.parameter(m.field.Name)
			return p.Component == plugin.None
		})
	}
	for i, row := range rows {
		if err := f.add(row, i, i == len(rows)-1); err != nil {
			return nil, err
		}
	}
	return f.take(), nil
}

// foldSiblings folds the i-th rows of children into the i-th row of their parent.
func (r *run) foldSiblings(n *node, siblings []*node) ([]*value.Object, error) {
	if r.dialect.AlignByTime {
		return r.foldAligned(n, siblings)
	}
	if len(siblings) == 0 {
		return nil, fault.New(fault.Type, "aggregate %s: it has no children", where(n.path))
	}
	if err := siblings[0].unread; err != nil {
		return nil, err
	}
	count := len(siblings[0].component.Rows)
	out := make([]*value.Object, count)
	f := r.folder(true)
	for i := range count {
		for j, c := range siblings {
			if i >= len(c.component.Rows) {
				return nil, fault.New(fault.Type, "aggregate %s: %s has %d rows, its first sibling %d", where(n.path), where(c.path), len(c.component.Rows), count)
			}
			if err := f.add(c.component.Rows[i], j, j == len(siblings)-1); err != nil {
				return nil, err
			}
		}
		out[i] = f.take()
	}
	return out, nil
}

// foldAligned folds the rows of siblings that begin at the same instant into
// the row of their parent for that instant, in the order of time. A sibling
// without a row for an instant takes no part in it.
func (r *run) foldAligned(n *node, siblings []*node) ([]*value.Object, error) {
	type entry struct {
		row   *value.Object
		child *node
		span  span
	}
	var entries []entry
	for _, c := range siblings {
		for i, row := range c.component.Rows {
			at, err := spanOf(row)
			if err != nil {
				return nil, fault.New(fault.MissingAggregation, "aggregate %s: row %d of %s: %w", where(n.path), i, where(c.path), err)
			}
			entries = append(entries, entry{row, c, at})
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.span.start, b.span.start) })
	var out []*value.Object
	f := r.folder(true)
	for i := 0; i < len(entries); {
		first, end := entries[i], i+1
		for end < len(entries) && entries[end].span.start == first.span.start {
			end++
		}
		for j := i + 1; j <= end && j < len(entries); j++ {
			if other := entries[j]; other.child != first.child && other.span != first.span && other.span.start < first.span.end {
				return nil, fault.New(fault.InvalidInput, "aggregate %s: rows of %s and %s overlap from %s on but are not of the same time and duration: run TimeSync in both first", where(n.path), where(first.child.path), where(other.child.path), value.At(other.span.start).ISO())
			}
		}
		for j := i; j < end; j++ {
			if err := f.add(entries[j].row, j-i, j == end-1); err != nil {
				return nil, err
			}
		}
		out = append(out, f.take())
		i = end
	}
	return out, nil
}

// span is the time of an observation, in milliseconds since 1970.
type span struct{ start, end float64 }

// spanOf reads timestamp and duration of a row.
func spanOf(row *value.Object) (span, error) {
	t, d := row.Get(timestampKey), row.Get(durationKey)
	start, ok := instant(t)
	if !ok {
		return span{}, fmt.Errorf("timestamp %q is no instant: write it as 2024-01-01T00:00:00Z", t)
	}
	if !d.IsNumber() || !(d.Num() >= 0) {
		return span{}, fmt.Errorf("duration %q is no number of seconds", d)
	}
	return span{start, start + float64(d.Num()*1000)}, nil
}

// instant reads a timestamp in milliseconds since 1970. Text without a zone is in UTC.
func instant(v value.Value) (float64, bool) {
	if v.Kind() == value.Date {
		return v.Num(), v.Num() == v.Num()
	}
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", time.DateOnly, "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, v.Str()); err == nil {
			return float64(t.UnixMicro()) / 1000, true
		}
	}
	return 0, false
}

// folder folds rows into one.
type folder struct {
	acc     *value.Object
	metrics []metric
	numbers bool // only numbers may be added up
	count   float64
}

type metric struct {
	field  value.Field
	method plugin.Aggregation
}

// folder returns an empty folder over time or over components; over components
// timestamp and duration are those of the last row.
func (r *run) folder(components bool) *folder {
	f := &folder{numbers: r.dialect.NumbersOnly}
	for _, name := range slices.Concat(r.aggregation.metrics, []string{timestampKey, durationKey}) {
		method := plugin.Copy
		switch p, ok := r.parameter(name); {
		case name == timestampKey || name == durationKey:
			if !components {
				method = plugin.None
			}
		case ok && components:
			method = p.Component
		case ok:
			method = p.Time
		}
		f.metrics = append(f.metrics, metric{value.Field{Name: name}, method})
	}
	f.take()
	return f
}

// take returns the folded row and begins the next.
func (f *folder) take() *value.Object {
	acc := f.acc
	f.acc, f.count = value.NewObject(len(f.metrics)), 0
	return acc
}

// add folds in the row at index; after the last one means are divided.
func (f *folder) add(row *value.Object, index int, last bool) error {
	f.count++
	for i := range f.metrics {
		m := &f.metrics[i]
		at := m.field.Find(row)
		if at < 0 {
			return fault.New(fault.MissingAggregation, "Aggregation metric %s is not found in inputs[%d].", m.field.Name, index)
		}
		v := row.ValueAt(at)
		switch m.method {
		case plugin.None:
		case plugin.Copy:
			f.acc.Set(m.field.Name, v)
		default:
			if f.numbers && !v.IsNumber() {
				return fault.New(fault.InvalidInput, "aggregate %s by %s: it is the %s %q in row %d: only numbers can be added up", m.field.Name, m.method, v.Kind(), v, index)
			}
			sum := f.acc.Get(m.field.Name).Num() + v.ParseFloat()
			if last && m.method == plugin.Avg {
				sum /= f.count
			}
			f.acc.Set(m.field.Name, value.Of(sum))
		}
	}
	return nil
}

func objectsOf(items []value.Value) []*value.Object {
	out := make([]*value.Object, len(items))
	for i, item := range items {
		out[i] = item.Object()
	}
	return out
}
