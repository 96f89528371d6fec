package builtin

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
	"noether/internal/promwrite"
)

// publication turns a result into families.
type publication struct {
	settings *publishSettings
	marked   map[string]bool
	manifest string
	now      time.Time

	notes  []string // what is left out and why
	failed []string // paths that are not published because they, or what is below, failed
	empty  []string // paths about which nothing is known
	met    map[string]bool
	end    int64 // of the latest window, milliseconds
	count  int   // series
	// succeeded: the last family tells of a success.
	succeeded bool
	series    [measures][]promwrite.Series
}

// The measures of a component. Carbon has one for each phase.
const (
	sciMeasure = iota
	operationalMeasure
	embodiedMeasure
	combinedMeasure
	energyMeasure
	unitsMeasure
	windowMeasure
	endMeasure
	measures
)

// measurement is what is known of a component over one window; NaN is unknown.
type measurement struct {
	end    int64 // milliseconds since 1970
	values [measures]float64
}

const joulesPerKWh = 3.6e6

func unknownMeasurement() (m measurement) {
	for i := range m.values {
		m.values[i] = math.NaN()
	}
	return m
}

func (m *measurement) window(start, end float64) {
	m.end = int64(math.Round(end))
	m.values[windowMeasure], m.values[endMeasure] = (end-start)/1000, end/1000
}

// carbon divides the total into phases such that what is published adds up to
// it: the parts where they are known and are all of it, else the total.
func (m *measurement) carbon(total, operational, embodied float64) {
	o, e := isKnown(operational), isKnown(embodied)
	switch {
	case !isKnown(total), o && e && nearly(operational+embodied, total):
		m.values[operationalMeasure], m.values[embodiedMeasure] = operational, embodied
	case o && !e && nearly(operational, total):
		m.values[operationalMeasure] = operational
	case e && !o && nearly(embodied, total):
		m.values[embodiedMeasure] = embodied
	default:
		m.values[combinedMeasure] = total
	}
}

func isKnown(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// nearly allows for the rounding of sums in different order.
func nearly(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b)) }

// build returns the families of everything that is chosen; none if nothing of
// it may be published.
func (b *publication) build(result *plugin.Result) ([]promwrite.Family, error) {
	b.met = map[string]bool{}
	if _, err := b.visit(result.Root); err != nil {
		return nil, err
	}
	for _, path := range b.settings.paths {
		if !b.met[path] {
			return nil, fmt.Errorf("no component has the path %s: write it as /child/grandchild", path)
		}
	}
	b.note("not published because they or components below them failed", b.failed)
	b.note("nothing is known of the carbon or energy", b.empty)
	if b.count == 0 {
		if len(b.failed) == 0 {
			return nil, errors.New("no row has a number for carbon or energy (kWh): compute them before")
		}
		return nil, nil
	}
	families := b.families()
	if series, _ := promwrite.Count(families); series > b.settings.maxSeries {
		return nil, fmt.Errorf("%d series are more than max-series %d: choose fewer components (components: groups) or raise max-series", series, b.settings.maxSeries)
	}
	return families, promwrite.Check(families)
}

func (b *publication) note(what string, paths []string) {
	const most = 5
	if n := len(paths); n > most {
		paths = append(slices.Clone(paths[:most]), fmt.Sprintf("and %d more", n-most))
	}
	if len(paths) > 0 {
		b.notes = append(b.notes, what+": "+strings.Join(paths, ", "))
	}
}

// families puts the series of all measures together.
func (b *publication) families() []promwrite.Family {
	out := []promwrite.Family{
		{Name: "noether_impact_sci_grams", Unit: "grams", Help: "Software carbon intensity of the window in gCO2e per functional unit (ISO/IEC 21031): carbon divided by functional units.", Series: b.series[sciMeasure]},
		{Name: "noether_impact_carbon_grams", Unit: "grams", Help: "Carbon of the window in gCO2e by phase; the sum over the phases is all of it.", Series: slices.Concat(b.series[operationalMeasure], b.series[embodiedMeasure], b.series[combinedMeasure])},
		{Name: "noether_impact_energy_joules", Unit: "joules", Help: "Energy of the window.", Series: b.series[energyMeasure]},
		{Name: "noether_impact_functional_units", Help: "Functional units of the window.", Series: b.series[unitsMeasure]},
		{Name: "noether_impact_window_seconds", Unit: "seconds", Help: "Length of the window.", Series: b.series[windowMeasure]},
		{Name: "noether_impact_window_end_timestamp_seconds", Unit: "seconds", Help: "End of the window in seconds since 1970.", Series: b.series[endMeasure]},
	}
	run := func(at int64, v float64, labels ...promwrite.Label) []promwrite.Series {
		labels = append(labels, promwrite.Label{Name: "manifest", Value: b.manifest})
		return []promwrite.Series{{Labels: promwrite.SortLabels(append(labels, b.settings.extra...)), Samples: []promwrite.Sample{{Time: at, Value: v}}}}
	}
	out = append(out, promwrite.Family{
		Name: "noether_impact_info", Help: "What the score covers and how it was found.",
		Series: run(b.end, 1, promwrite.Label{Name: "boundary", Value: labelValue(b.settings.boundary)}, promwrite.Label{Name: "methodology", Value: labelValue(b.settings.methodology)}),
	})
	if b.succeeded = len(b.failed) == 0; b.succeeded {
		// At the time of publishing: another run of the same window has another value.
		out = append(out, promwrite.Family{
			Name: "noether_impact_last_success_timestamp_seconds", Unit: "seconds", Help: "When a run last published all that it should, in seconds since 1970.",
			Series: run(b.now.UnixMilli(), float64(b.now.UnixMilli())/1000),
		})
	}
	return slices.DeleteFunc(out, func(f promwrite.Family) bool { return len(f.Series) == 0 })
}

// totals are the sums of a component without a period; NaN is unknown.
type totals struct {
	carbon, operational, embodied, energy float64
	start, end                            float64 // milliseconds
	err                                   error   // why there are none
}

func (t *totals) add(o totals) {
	t.carbon, t.operational, t.embodied, t.energy = t.carbon+o.carbon, t.operational+o.operational, t.embodied+o.embodied, t.energy+o.energy
	t.start, t.end = min(t.start, o.start), max(t.end, o.end)
	if t.err == nil {
		t.err = o.err
	}
}

func noTotals() totals { return totals{start: math.Inf(1), end: math.Inf(-1)} }

// visited is what visit found at and below a component.
type visited struct {
	sum     totals
	below   bool      // a leaf runs the plugin
	failed  bool      // a component failed
	columns []uniform // values of the columns that become labels
}

// visit adds c and what is below it.
func (b *publication) visit(c *plugin.Component) (v visited, err error) {
	path := pathLabel(c.Path)
	v = visited{noTotals(), b.marked[path], c.Err != nil, make([]uniform, len(b.settings.labels))}
	for _, child := range c.Children {
		w, err := b.visit(child)
		if err != nil {
			return v, err
		}
		v.sum.add(w.sum)
		v.below, v.failed = v.below || w.below, v.failed || w.failed
		for i := range v.columns {
			v.columns[i].merge(w.columns[i])
		}
	}
	if len(c.Children) == 0 && !v.failed {
		v.sum = totalsOf(c)
		b.readColumns(c.Rows, v.columns)
	}
	if !b.chosen(c, path, v.below || v.failed) {
		return v, nil
	}
	b.met[path] = true
	if v.failed {
		b.failed = append(b.failed, path)
		return v, nil
	}
	points, err := b.measure(c, v.sum)
	if err != nil {
		return v, fmt.Errorf("%s: %w", path, err)
	}
	b.add(c, points, b.labels(c, v.columns))
	return v, nil
}

// measure returns what there is to publish of c.
func (b *publication) measure(c *plugin.Component, sum totals) ([]measurement, error) {
	if b.settings.steps {
		return b.measureRows(c)
	}
	m := unknownMeasurement()
	if p := c.Period; p != nil {
		start := float64(p.Start.UnixMicro()) / 1000
		m.window(start, start+p.Duration*1000)
		m.carbon(p.Carbon, p.Operational, p.Embodied)
		m.values[sciMeasure], m.values[unitsMeasure], m.values[energyMeasure] = p.SCI, p.Units, p.Energy*joulesPerKWh
		return []measurement{m}, nil
	}
	if sum.err != nil || !(sum.end >= sum.start) {
		return nil, sum.err
	}
	m.window(sum.start, sum.end)
	m.carbon(sum.carbon, sum.operational, sum.embodied)
	m.values[energyMeasure] = sum.energy * joulesPerKWh
	return []measurement{m}, nil
}

// measureRows returns a measurement for each row, ordered by its end. The
// scores of grouping nodes are left out: what aggregation made of them is no
// ratio of sums.
func (b *publication) measureRows(c *plugin.Component) ([]measurement, error) {
	r := newRowReader()
	sci, units := value.Field{Name: "sci"}, value.Field{}
	if c.Period != nil {
		units.Name = c.Period.FunctionalUnit
	}
	out := make([]measurement, 0, len(c.Rows))
	for i, row := range c.Rows {
		t, err := r.read(row)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
		m := unknownMeasurement()
		m.window(t.start, t.end)
		m.carbon(t.carbon, t.operational, t.embodied)
		m.values[energyMeasure] = t.energy * joulesPerKWh
		if len(c.Children) == 0 && units.Name != "" {
			m.values[sciMeasure], m.values[unitsMeasure] = rowNumber(&sci, row), rowNumber(&units, row)
		}
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(x, y measurement) int { return int(min(1, max(-1, x.end-y.end))) })
	for i := 1; i < len(out); i++ {
		if out[i].end == out[i-1].end {
			return nil, fmt.Errorf("two rows end at %s, and a series has one sample of a time: regroup by what tells them apart", time.UnixMilli(out[i].end).UTC().Format(time.RFC3339))
		}
	}
	return out, nil
}

// add turns the measurements of a component into series.
func (b *publication) add(c *plugin.Component, points []measurement, labels []promwrite.Label) {
	before := b.count
	for i := range measures {
		var samples []promwrite.Sample
		for _, p := range points {
			if v := p.values[i]; isKnown(v) && (i < windowMeasure || b.count > before) {
				samples = append(samples, promwrite.Sample{Time: p.end, Value: v})
				b.end = max(b.end, p.end)
			}
		}
		if len(samples) == 0 {
			continue
		}
		own := labels
		if phase := [measures]string{operationalMeasure: "operational", embodiedMeasure: "embodied", combinedMeasure: "combined"}[i]; phase != "" {
			own = promwrite.SortLabels(append(slices.Clone(labels), promwrite.Label{Name: "phase", Value: phase}))
		}
		b.series[i] = append(b.series[i], promwrite.Series{Labels: own, Samples: samples})
		b.count++
	}
	if b.count == before {
		b.empty = append(b.empty, pathLabel(c.Path))
	}
}

// labels returns the labels of a component.
func (b *publication) labels(c *plugin.Component, columns []uniform) []promwrite.Label {
	out := []promwrite.Label{{Name: "manifest", Value: b.manifest}, {Name: "path", Value: labelValue(pathLabel(c.Path))}}
	if c.Period != nil {
		out = append(out, promwrite.Label{Name: "functional_unit", Value: labelValue(c.Period.FunctionalUnit)})
	}
	for i, l := range b.settings.labels {
		v := ""
		switch {
		case l.level >= 0 && l.level < len(c.Path):
			v = c.Path[l.level]
		case l.level < 0 && columns[i].several && len(c.Children) == 0:
			b.notes = append(b.notes, fmt.Sprintf("%s has no label %s: its rows differ in %s", pathLabel(c.Path), l.name, l.column))
		case l.level < 0 && !columns[i].several:
			v = columns[i].value
		}
		out = append(out, promwrite.Label{Name: l.name, Value: labelValue(v)})
	}
	return promwrite.SortLabels(append(out, b.settings.extra...))
}

// uniform is the one value that rows have in a column, as far as they have one.
type uniform struct {
	seen, several bool
	value         string
}

func (c *uniform) merge(o uniform) {
	switch {
	case !o.seen:
	case !c.seen:
		*c = o
	case o.several || o.value != c.value:
		c.several = true
	}
}

func (b *publication) readColumns(rows []*value.Object, columns []uniform) {
	for i, l := range b.settings.labels {
		if l.level >= 0 {
			continue
		}
		f := value.Field{Name: l.column}
		var last value.Value
		for _, row := range rows {
			v := f.Get(row)
			if columns[i].seen && value.Identical(v, last) {
				continue
			}
			text := ""
			if !v.IsNullish() {
				text = v.String()
			}
			columns[i].merge(uniform{seen: true, value: text})
			last = v
		}
	}
}

// rowReader reads what rows say about carbon and energy, under the names that
// the engine's period score reads.
type rowReader struct {
	timestamp, duration, carbon, energy value.Field
	operational, embodied               [2]value.Field
}

func newRowReader() *rowReader {
	return &rowReader{
		timestamp: value.Field{Name: "timestamp"}, duration: value.Field{Name: "duration"},
		carbon: value.Field{Name: "carbon"}, energy: value.Field{Name: "energy"},
		operational: [2]value.Field{{Name: "carbon-operational"}, {Name: "operational-carbon"}},
		embodied:    [2]value.Field{{Name: "carbon-embodied"}, {Name: "embodied-carbon"}},
	}
}

func (r *rowReader) read(row *value.Object) (t totals, err error) {
	t.carbon, t.energy = rowNumber(&r.carbon, row), rowNumber(&r.energy, row)
	t.operational, t.embodied = rowEither(&r.operational, row), rowEither(&r.embodied, row)
	t.start, t.end, err = spanOfRow(&r.timestamp, &r.duration, row)
	return t, err
}

func rowNumber(f *value.Field, row *value.Object) float64 {
	if v := f.Get(row); v.IsNumber() {
		return v.Num()
	}
	return math.NaN()
}

func rowEither(f *[2]value.Field, row *value.Object) float64 {
	if v := rowNumber(&f[0], row); isKnown(v) {
		return v
	}
	return rowNumber(&f[1], row)
}

// totalsOf returns the sums of a leaf, of its period where it has one.
func totalsOf(c *plugin.Component) totals {
	if p := c.Period; p != nil {
		start := float64(p.Start.UnixMicro()) / 1000
		return totals{carbon: p.Carbon, operational: p.Operational, embodied: p.Embodied, energy: p.Energy, start: start, end: start + p.Duration*1000}
	}
	r := newRowReader()
	sum := noTotals()
	for i, row := range c.Rows {
		t, err := r.read(row)
		if err != nil {
			return totals{err: fmt.Errorf("row %d: %w", i, err)}
		}
		sum.add(t)
	}
	return sum
}

// spanOfRow returns the times between which a row was observed, in milliseconds
// since 1970. Text without a zone is in UTC.
func spanOfRow(timestamp, duration *value.Field, row *value.Object) (start, end float64, err error) {
	t, d := timestamp.Get(row), duration.Get(row)
	switch {
	case t.Kind() == value.Date && isKnown(t.Num()):
		start = t.Num()
	default:
		at, ok := rowInstant(t.Str())
		if !ok {
			return 0, 0, fmt.Errorf("timestamp %q is no instant: write it as 2024-01-01T00:00:00Z", t)
		}
		start = float64(at.UnixMicro()) / 1000
	}
	if !d.IsNumber() || !(d.Num() >= 0) {
		return 0, 0, fmt.Errorf("duration %q is no number of seconds", d)
	}
	return start, start + float64(d.Num()*1000), nil
}

func rowInstant(s string) (time.Time, bool) {
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", time.DateOnly, time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
