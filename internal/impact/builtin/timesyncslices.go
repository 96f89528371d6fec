package builtin

import (
	"cmp"
	"context"
	"math"
	"slices"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// This file is time-sync as the Impact Framework 1.1.0 does it: observations are
// cut into slices of the upsampling resolution, missing time becomes slices of
// zeros, and every so many slices are one slot. Its averages leave out the last
// slice of a slot, slots drift when slices are missing, and a slice that begins
// at the end of the window belongs to it.

// run is a sequence of equal slices.
type run struct {
	first float64 // timestamp in ms
	count int
	cells []slice
}

// slice is one parameter of a slice.
type slice struct {
	name   string
	method plugin.Aggregation // "" for timestamp and duration
	v      value.Value
}

// slicer cuts the rows of one call.
type slicer struct {
	c          *plugin.Call
	start, end float64 // ms
	resolution float64 // s
	runs       []run
	methods    map[string]plugin.Aggregation
}

func bySlices(ctx context.Context, c *plugin.Call) ([]*value.Object, error) {
	if c.Node != nil && c.Node.SetTime != nil {
		c.Node.SetTime(durationKey, plugin.Sum)
	}
	interval := c.Config.Get("interval").Num()
	s := &slicer{c: c, resolution: 1, methods: map[string]plugin.Aggregation{}}
	if r := c.Config.Get("upsampling-resolution"); r.IsNumber() {
		s.resolution = r.Num()
	}
	s.start, _ = instantMS(c.Config.Get("start-time"))
	s.end, _ = instantMS(c.Config.Get("end-time"))
	if math.Mod(interval, s.resolution) != 0 {
		return nil, fault.New(fault.Config, "The upsampling resolution must be a divisor of the given interval, but the provided value does not satisfy this criteria.")
	}
	if len(c.Rows) == 0 {
		return nil, fault.New(fault.Type, "Bringing observations onto a grid: there are none; let the pipeline before it make some")
	}
	if err := s.cut(); err != nil {
		return nil, err
	}
	if interval == 0 {
		return []*value.Object{}, nil
	}
	return s.fold(ctx, interval)
}

// cut makes the runs of slices of all rows, with padding before, between and after.
func (s *slicer) cut() error {
	rows := s.c.Rows
	at := func(i int) (start, end, duration float64) {
		start, _ = instantMS(rows[i].Get(timestampKey))
		duration = rows[i].Get(durationKey).Num()
		return start, start + float64(duration*1000), duration
	}
	first, _, _ := at(0)
	_, last, _ := at(len(rows) - 1)
	atStart, atEnd := first > s.start, last < s.end
	if (atStart || atEnd) && !s.c.Config.Get("allow-padding").Bool() {
		return paddingError(atStart, atEnd)
	}
	if atStart && s.indivisible(first-s.start) || atEnd && s.indivisible(s.end-last) {
		return gapError()
	}
	if atStart {
		s.pad(s.start, first, rows[0])
		if s.padsOverlap(s.start, first) {
			return overlapError()
		}
	}
	for i, row := range rows {
		start, _, duration := at(i)
		before := math.NaN() // end of the row before
		if i > 0 {
			_, before, _ = at(i - 1)
		} else if atStart {
			before = floorSecond(first-float64(s.resolution*1000)) + float64(s.resolution*1000)
		}
		if before == before {
			gap := (start - before) / 1000
			switch {
			case gap < 0:
				return overlapError()
			case math.Mod(duration, s.resolution) != 0:
				return fault.New(fault.Config, "The upsampling resolution must be a divisor of all inputs durations, but the provided values do not satisfy this criteria.")
			case gap > 1:
				if s.indivisible(start - before) {
					return gapError()
				}
				s.pad(before, start, row)
			}
		}
		count := 0
		if duration >= s.resolution {
			count = int(min(math.Floor(duration/s.resolution), maxSlices*2))
		}
		s.add(floorSecond(start), count, row, duration, false)
	}
	if atEnd {
		if floorSecond(last) < last || s.padsOverlap(last, s.end) {
			return overlapError() // padding begins at a whole second
		}
		s.pad(last, s.end, rows[len(rows)-1])
	}
	return nil
}

// padsOverlap reports whether padding rows, each of which begins at a whole
// second, overlap each other.
func (s *slicer) padsOverlap(from, to float64) bool {
	step := float64(s.resolution * 1000)
	if step == floorSecond(step) {
		return false
	}
	n := min(math.Round((to-from)/step), 1000) // fractions repeat
	for i := 1.0; i < n; i++ {
		if floorSecond(from+float64((i-1)*step))+step > floorSecond(from+float64(i*step)) {
			return true
		}
	}
	return false
}

func gapError() error {
	return fault.New(fault.Config, "The upsampling resolution must be a divisor of gaps and paddings in the time-series, but the provided values do not satisfy this criteria.")
}

func (s *slicer) indivisible(ms float64) bool { return math.Mod(ms/1000, s.resolution) != 0 }

func floorSecond(ms float64) float64 { return math.Floor(ms/1000) * 1000 }

// pad adds padding rows, each of which begins at a whole second.
func (s *slicer) pad(from, to float64, like *value.Object) {
	step := float64(s.resolution * 1000)
	n := int(min(math.Round((to-from)/step), maxSlices*2))
	if step == floorSecond(step) {
		s.add(floorSecond(from), n, like, s.resolution, true)
		return
	}
	for i := range min(n, maxSlots) {
		s.add(floorSecond(from+float64(float64(i)*step)), 1, like, s.resolution, true)
	}
}

// add appends the slices of a row, or of padding modelled on it, that are in
// the window: both ends belong to it.
func (s *slicer) add(first float64, count int, row *value.Object, duration float64, padding bool) {
	step := float64(s.resolution * 1000)
	if first < s.start && count > 0 {
		skip := math.Ceil((s.start - first) / step)
		if skip >= float64(count) {
			return
		}
		first, count = first+float64(skip*step), count-int(skip)
	}
	if n := math.Floor((s.end-first)/step) + 1; n < float64(count) {
		count = max(int(n), 0)
	}
	if count == 0 {
		return
	}
	cells := make([]slice, 0, row.Len())
	for name, v := range row.All() {
		cell := slice{name: name, v: v}
		switch name {
		case timestampKey, durationKey:
			cells = append(cells, cell)
			continue
		}
		cell.method = s.method(name)
		switch {
		case padding && name == "time-reserved": // what duration became, if it came before
			cell.v = value.Value{}
			if slices.ContainsFunc(cells, func(c slice) bool { return c.name == durationKey }) {
				cell.v = value.Of(s.resolution)
			}
		case padding && (cell.method == plugin.Sum || cell.method == plugin.Avg):
			cell.v = value.Of(0)
		}
		switch cell.method {
		case plugin.Sum:
			cell.v = value.Of(cell.v.ToNumber() / (duration / s.resolution))
		case plugin.None:
			cell.v = value.NullValue()
		case plugin.Avg, plugin.Copy:
		}
		cells = append(cells, cell)
	}
	s.runs = append(s.runs, run{first, count, cells})
}

func (s *slicer) method(name string) plugin.Aggregation {
	m, ok := s.methods[name]
	if !ok {
		m, _ = methodOf(s.c, name)
		s.methods[name] = m
	}
	return m
}

// fold makes one row of every interval/resolution slices.
func (s *slicer) fold(ctx context.Context, interval float64) ([]*value.Object, error) {
	s.sort()
	total := 0
	for i := range s.runs {
		if total += s.runs[i].count; total > maxSlices {
			return nil, fault.New(fault.Range, "Cutting the window into slices: more than %d; raise `upsampling-resolution`", maxSlices)
		}
	}
	per := interval / s.resolution
	if per < 0 { // the end of the first slot is counted from the end of all
		total, per = total-int(min(-per, float64(total))), math.Inf(1)
	}
	if float64(total)/per > maxSlots {
		return nil, fault.New(fault.Range, "Making slots: more than %d; raise `interval`", maxSlots)
	}
	if err := s.c.Env.Room(float64(total) / per); err != nil {
		return nil, err
	}
	var rows []*value.Object
	at, used := 0, 0 // the run and how many of its slices are used
	for f := 0; ; f++ {
		low, high := 0, int(min(float64(f+1)*per, float64(total)))
		if f > 0 {
			low = int(min(float64(f)*per, float64(total)))
		}
		if low >= total {
			return rows, nil
		}
		if f%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		row := value.NewObject(len(s.runs[at].cells) + rowSpare)
		n := high - low
		for done := 0; done < n; {
			r := &s.runs[at]
			m := min(r.count-used, n-done)
			for i := range r.cells {
				s.foldCell(row, &r.cells[i], r.first+float64(float64(used)*float64(s.resolution*1000)), done, m, n)
			}
			done, used = done+m, used+m
			if used == r.count {
				at, used = at+1, 0
			}
		}
		rows = append(rows, row)
	}
}

// foldCell folds m equal slices into row, of which the first is the slot's
// slice done of n.
func (s *slicer) foldCell(row *value.Object, c *slice, at float64, done, m, n int) {
	i := row.Find(c.name)
	acc := value.Of(0)
	if i >= 0 && row.ValueAt(i).Kind() != value.Undefined {
		acc = row.ValueAt(i)
	}
	switch {
	case c.name == timestampKey:
		if i < 0 {
			row.Set(c.name, isoText(at))
		}
		return
	case c.name == durationKey:
		acc = value.Of(addTimes(acc.Num(), s.resolution, m))
	case c.method == plugin.Sum:
		acc = value.Of(addTimes(acc.Num(), c.v.Num(), m))
	case c.method == plugin.Avg:
		acc = s.average(acc, c.v, done, m, n)
	default:
		acc = c.v
	}
	if i >= 0 {
		row.SetAt(i, acc)
		return
	}
	row.Set(c.name, acc)
}

// average adds m times v, in the reference's dialect with its last slice of
// more than one left out, and divides at the last slice.
func (s *slicer) average(acc, v value.Value, done, m, n int) value.Value {
	last := done+m == n
	if last && n > 1 && !s.c.Env.Dialect.SlotAverages {
		m--
	}
	if acc.IsNumber() && v.IsNumber() {
		acc = value.Of(addTimes(acc.Num(), v.Num(), m))
	} else {
		for range m {
			acc = plus(acc, v)
		}
	}
	if last && n > 1 {
		return value.Of(acc.ToNumber() / float64(n))
	}
	return acc
}

// addTimes adds v to acc n times, one rounding each.
func addTimes(acc, v float64, n int) float64 {
	for range n {
		acc += v
	}
	return acc
}

// maxConcatenated bounds text that plus makes: the number that it stands for
// does not change any more.
const maxConcatenated = 1000

// plus is ECMAScript's + for a sum that may have become text.
func plus(a, b value.Value) value.Value {
	if a.Kind() < value.String && b.Kind() < value.String {
		return value.Of(a.ToNumber() + b.ToNumber())
	}
	text := a.String()
	if len(text) > maxConcatenated {
		return a
	}
	return value.Text(text + b.String())
}

// sort orders slices by time. Runs follow each other in time unless durations
// are negative: then each slice becomes a run of its own.
func (s *slicer) sort() {
	step := float64(s.resolution * 1000)
	sorted := true
	for i := 1; i < len(s.runs); i++ {
		before := &s.runs[i-1]
		sorted = sorted && before.first+float64(float64(before.count-1)*step) <= s.runs[i].first
	}
	if sorted {
		return
	}
	var single []run
	for _, r := range s.runs {
		for i := range r.count {
			single = append(single, run{r.first + float64(float64(i)*step), 1, r.cells})
		}
	}
	slices.SortStableFunc(single, func(a, b run) int { return cmp.Compare(a.first, b.first) })
	s.runs = single
}
