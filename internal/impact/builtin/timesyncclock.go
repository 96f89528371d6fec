package builtin

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// This file is time-sync with slots by the clock: each observation is divided
// among the slots that it overlaps, at a cost of rows plus slots.

// jitter is how much observations may overlap or miss the window, in ms:
// timestamps are cut to whole milliseconds and durations are not.
const jitter = 1

// ambient tells a parameter of the surroundings, which time without
// observations does not lower, from one of the component's own doing.
func ambient(name string) bool {
	return strings.HasSuffix(name, "intensity") || strings.HasSuffix(name, "pue")
}

// column is one parameter over all slots. Which slices are used depends on the method.
type column struct {
	field   value.Field
	method  plugin.Aggregation
	ambient bool
	first   value.Value   // under copy: the first value seen
	last    []value.Value // copy
	sum     []float64     // sum; under avg Σ (value − base) × ms
	base    []float64     // avg: the slot's first value, so that a constant stays exact
	seen    []float64     // avg: ms with a value
}

// clock is the work on one node.
type clock struct {
	start, end, step float64 // ms
	n                int
	covered          []float64 // ms of each slot with observations
	columns          []column
}

func byClock(ctx context.Context, c *plugin.Call) ([]*value.Object, error) {
	g, err := newClock(c.Config, c.Env)
	if err != nil {
		return nil, err
	}
	if len(c.Rows) == 0 {
		if c.Env.Dialect.EmptyRows {
			return c.Rows, nil
		}
		return nil, fault.New(fault.Type, "Bringing observations onto a grid: there are none; let the pipeline before it make some")
	}
	spans, err := spansOf(c.Rows)
	if err != nil {
		return nil, err
	}
	first, last := spans[0].start, spans[len(spans)-1].end
	atStart, atEnd := first > g.start+jitter, last < g.end-jitter
	if (atStart || atEnd) && !c.Config.Get("allow-padding").Bool() {
		return nil, paddingError(atStart, atEnd)
	}
	if err := g.open(c, spans); err != nil {
		return nil, err
	}
	for i := range spans {
		if i%4096 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := g.add(&spans[i]); err != nil {
			return nil, err
		}
	}
	return g.rows(), nil
}

func newClock(config *value.Object, env *plugin.Env) (*clock, error) {
	g := &clock{step: float64(config.Get("interval").Num() * 1000)}
	g.start, _ = instantMS(config.Get("start-time"))
	g.end, _ = instantMS(config.Get("end-time"))
	if g.step < 1 {
		return nil, fault.New(fault.Config, "Making slots of %s s: `interval` must be at least a millisecond", value.FormatNumber(g.step/1000))
	}
	n := math.Ceil((g.end - g.start) / g.step)
	if n > maxSlots {
		return nil, fault.New(fault.Config, "Making %.0f slots: more than %d; raise `interval` or shorten the window", n, maxSlots)
	}
	if err := env.Room(n); err != nil {
		return nil, err
	}
	g.n = int(n)
	g.covered = make([]float64, g.n)
	return g, nil
}

// span is an observation and its time in ms.
type span struct {
	row        *value.Object
	start, end float64
	number     int // of the observation in the input
}

// spansOf returns the rows in the order of time. They must not overlap.
func spansOf(rows []*value.Object) ([]span, error) {
	out := make([]span, len(rows))
	ts, duration := value.Field{Name: timestampKey}, value.Field{Name: durationKey}
	sorted := true
	for i, row := range rows {
		start, _ := instantMS(ts.Get(row))
		d := duration.Get(row).Num()
		if d < 0 || math.IsInf(d, 0) {
			return nil, fault.New(fault.InvalidInput, "Reading observation %d: its duration is %s s; it must be 0 or more", i, value.FormatNumber(d))
		}
		out[i] = span{row, start, start + float64(d*1000), i}
		sorted = sorted && (i == 0 || out[i-1].start <= start)
	}
	if !sorted {
		slices.SortStableFunc(out, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	}
	for i := 1; i < len(out); i++ {
		if a, b := &out[i-1], &out[i]; b.start < a.end-jitter {
			return nil, fault.New(fault.InvalidInput, "%s Observation %d begins %s s before observation %d ends.",
				overlapText, b.number, value.FormatNumber((a.end-b.start)/1000), a.number)
		}
	}
	return out, nil
}

// open finds the parameters of the rows and how each is folded.
func (g *clock) open(c *plugin.Call, spans []span) error {
	index := map[string]int{}
	var unknown []string
	var last *value.Object
	for i := range spans {
		row := spans[i].row
		if last != nil && row.SameKeys(last) {
			continue
		}
		last = row
		for name := range row.All() {
			if _, ok := index[name]; ok {
				continue
			}
			index[name] = len(g.columns)
			col := column{field: value.Field{Name: name}, ambient: ambient(name)}
			if name != timestampKey && name != durationKey {
				var known bool
				if col.method, known = methodOf(c, name); !known {
					p, known := plugin.WellKnown(name)
					if !known {
						p.Time = plugin.Copy
						unknown = append(unknown, name)
					}
					col.method = p.Time
				}
				g.allocate(&col)
			}
			g.columns = append(g.columns, col)
		}
	}
	if unknown == nil || !c.Env.Dialect.KnownTimeSync || g.oneEach(spans) {
		return nil
	}
	var numbers []string
	for _, name := range unknown {
		f := value.Field{Name: name}
		if slices.ContainsFunc(spans, func(s span) bool { return f.Get(s.row).IsNumber() }) {
			numbers = append(numbers, name)
		}
	}
	if numbers == nil {
		return nil
	}
	return unknownMethodError(numbers)
}

func (g *clock) allocate(col *column) {
	switch col.method {
	case plugin.Sum:
		col.sum = make([]float64, g.n)
	case plugin.Avg:
		slab := make([]float64, 3*g.n)
		col.sum, col.base, col.seen = slab[:g.n:g.n], slab[g.n:2*g.n:2*g.n], slab[2*g.n:]
	case plugin.Copy:
		col.last = make([]value.Value, g.n)
	case plugin.None:
	}
}

// unknownMethodError asks for the methods of numbers, in the words that the
// manifest needs.
func unknownMethodError(names []string) error {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "\n      %s:\n        unit: …\n        description: …\n        aggregation-method: {time: sum, component: sum}", name)
	}
	return fault.New(fault.Config, "Bringing `%s` onto a grid: nothing says whether values add up (sum), average (avg) or stay (copy), and copying them into slots would change their total. "+
		"Add to a plugin that has them:\n    parameter-metadata:\n      inputs:%s", strings.Join(names, "`, `"), strings.ReplaceAll(b.String(), "\n", "\n  "))
}

// oneEach reports whether each slot has exactly one observation, whole.
func (g *clock) oneEach(spans []span) bool {
	used := make([]bool, g.n)
	count := 0
	for i := range spans {
		s := &spans[i]
		if s.end <= g.start || s.start >= g.end {
			continue
		}
		at := g.slot(s.start)
		low, high := g.bounds(at)
		if used[at] || s.start < low-jitter || s.end > high+jitter {
			return false
		}
		used[at] = true
		count++
	}
	return count == g.n
}

// slot returns the slot that an instant is in, the nearest for one outside.
func (g *clock) slot(at float64) int {
	i := min(max(int((at-g.start)/g.step), 0), g.n-1)
	if low, high := g.bounds(i); at < low && i > 0 {
		i--
	} else if at >= high && i < g.n-1 {
		i++
	}
	return i
}

func (g *clock) bounds(i int) (low, high float64) {
	return g.start + float64(float64(i)*g.step), min(g.start+float64(float64(i+1)*g.step), g.end)
}

// add divides one observation among its slots.
func (g *clock) add(s *span) error {
	a, b := max(s.start, g.start), min(s.end, g.end)
	instantaneous := s.end == s.start && s.start >= g.start && s.start < g.end
	if b <= a && !instantaneous {
		return nil
	}
	for i := g.slot(a); i < g.n; i++ {
		low, high := g.bounds(i)
		overlap := min(b, high) - max(a, low)
		if overlap <= 0 && !instantaneous {
			return nil
		}
		share := 1.0
		if !instantaneous {
			share = overlap / (s.end - s.start)
		}
		g.covered[i] += overlap
		for k := range g.columns {
			if err := g.columns[k].add(s, i, overlap, share); err != nil {
				return err
			}
		}
		if instantaneous {
			return nil
		}
	}
	return nil
}

func (col *column) add(s *span, slot int, overlap, share float64) error {
	if col.method == "" || col.method == plugin.None {
		return nil
	}
	v := col.field.Get(s.row)
	if v.IsNullish() {
		return nil
	}
	if col.method == plugin.Copy {
		col.last[slot] = v
		if col.first.Kind() == value.Undefined {
			col.first = v
		}
		return nil
	}
	if !v.IsNumber() {
		return fault.New(fault.InvalidInput, "Folding `%s` by %s: observation %d has a %s and not a number; correct it, or give the parameter the time method copy", col.field.Name, col.method, s.number, v.Kind())
	}
	if col.method == plugin.Sum {
		col.sum[slot] += float64(v.Num() * share)
		return nil
	}
	if overlap <= 0 {
		return nil
	}
	if col.seen[slot] == 0 {
		col.base[slot] = v.Num()
	}
	col.seen[slot] += overlap
	col.sum[slot] += float64((v.Num() - col.base[slot]) * overlap)
	return nil
}

// rows returns one row per slot, all with the same keys.
func (g *clock) rows() []*value.Object {
	pattern := value.NewObject(len(g.columns))
	for i := range g.columns {
		pattern.Set(g.columns[i].field.Name, value.NullValue())
	}
	patterns := make([]*value.Object, g.n)
	for i := range patterns {
		patterns[i] = pattern
	}
	out := value.CopyRows(patterns, rowSpare)
	for k := range g.columns {
		col := &g.columns[k]
		at := pattern.Find(col.field.Name)
		holds := col.method == plugin.Copy || col.method == plugin.Avg && col.ambient
		held := value.NullValue() // what a slot without a value keeps
		switch {
		case col.first.Kind() != value.Undefined:
			held = col.first
		case holds && col.method == plugin.Avg:
			if i := slices.IndexFunc(col.seen, func(ms float64) bool { return ms > 0 }); i >= 0 {
				held = value.Of(col.base[i] + col.sum[i]/col.seen[i])
			}
		}
		for i, row := range out {
			low, high := g.bounds(i)
			v := value.NullValue()
			switch {
			case col.field.Name == timestampKey:
				v = isoText(math.Round(low))
			case col.field.Name == durationKey:
				v = value.Of((high - low) / 1000)
			case col.method == plugin.Sum:
				v = value.Of(col.sum[i])
			case col.method == plugin.Avg:
				v = col.average(i, high-low, g.covered[i], held)
			case col.method == plugin.Copy:
				if v = col.last[i]; v.Kind() == value.Undefined {
					v = held
				}
			}
			if holds {
				held = v
			}
			row.SetAt(at, v)
		}
	}
	return out
}

// average returns the mean of a slot of the given length and covered time.
func (col *column) average(i int, length, covered float64, held value.Value) value.Value {
	weight := col.seen[i]
	if !col.ambient {
		// Time without observations counts as 0, observations without the value do not.
		weight += max(length-covered, 0)
	}
	if col.seen[i] == 0 {
		switch {
		case col.ambient:
			return held
		case weight > 0:
			return value.Of(0)
		}
		return value.NullValue()
	}
	idle := max(weight-col.seen[i], 0)
	if idle < jitter {
		idle, weight = 0, col.seen[i]
	}
	return value.Of(col.base[i] + (col.sum[i]-float64(col.base[i]*idle))/weight)
}
