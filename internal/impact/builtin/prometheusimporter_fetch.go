package builtin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"noether/internal/impact/fault"
	"noether/internal/impact/meter"
	"noether/internal/promclient"
)

// Raw samples are asked for in pieces of time that grow and shrink with the
// answers, so that an answer stays far below the limits of servers (Prometheus
// refuses 50 million samples) and of our memory.
const (
	firstPiece   = 2 * time.Hour
	longestPiece = 24 * time.Hour
	fewSamples   = 100_000   // fewer: the next piece may be twice as long
	manySamples  = 1_000_000 // more: half as long
	mostPoints   = 10_000    // of one expression, below Prometheus' 11,000
	podsAtOnce   = 200       // ids in one selector; VictoriaMetrics takes queries up to 16 KiB
)

// promGroup is the series that share a row.
type promGroup struct {
	columns []string // values by column of the query; "" where series have no such label
	bins    *meter.Bins
}

// promTable is the answer to a query, groups in the order of their columns.
type promTable struct {
	query  *promQuery
	groups []*promGroup
}

// promFetch reads the answer to one query.
type promFetch struct {
	client *promclient.Client
	plan   *promPlan
	q      *promQuery
	now    time.Time
	warn   func(format string, args ...any)

	groups   map[string]*promGroup
	counters map[string]*promSeries
	pods     map[string][2]string // Kepler's pod_id → namespace, name
	newest   int64                // time of the newest sample
	sampled  meter.Coverage       // of all series together
	fresh    bool                 // all counters began at 0, in the window
	columnAt []string             // labels by column
}

// promSeries is one counter or gauge, whatever copies and successors it has.
type promSeries struct {
	key    string
	labels promclient.Labels // of the first source
	meter  *meter.Series
	copies *meter.Replicas       // with dedup
	spans  map[string]promSource // by key of the source
}

// promSource is a series as the server has it.
type promSource struct {
	labels      promclient.Labels
	first, last int64
}

func (f *promFetch) fetch(ctx context.Context) (*promTable, error) {
	f.groups, f.counters, f.newest = map[string]*promGroup{}, map[string]*promSeries{}, math.MinInt64
	f.sampled.MaxGap = f.plan.maxGap
	for _, c := range f.q.columns {
		f.columnAt = append(f.columnAt, c.label)
	}
	var err error
	if f.q.kind == expressionQuery {
		err = f.expression(ctx)
	} else {
		err = f.raw(ctx)
	}
	if err != nil {
		return nil, f.classed(err)
	}
	t := &promTable{query: f.q}
	for _, key := range sortedKeys(f.groups) {
		if g := f.groups[key]; slices.Contains(g.bins.Seen, true) {
			t.groups = append(t.groups, g)
		}
	}
	if len(t.groups) == 0 && f.q.missing == nil {
		return nil, f.nothing(ctx)
	}
	if len(t.groups) > 0 && f.q.kind != expressionQuery {
		if err := f.silences(ctx); err != nil {
			return nil, f.classed(err)
		}
	}
	return t, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// classed gives an error the class that manifests know.
func (f *promFetch) classed(err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if asked, ok := errors.AsType[*promclient.Error](err); ok {
		asked.Query = f.q.query // as it was written: what was asked is wider, or a piece
	}
	class := fault.APIRequest
	if errors.Is(err, promclient.ErrDenied) {
		class = fault.Authorization
	}
	return fault.New(class, "%s from %s to %s: %w", f.q.name, meter.Clock(f.plan.grid.Start), meter.Clock(f.plan.grid.End()), err)
}

// warnings decides on an answer that the server is not sure of.
func (f *promFetch) warnings(warnings []string) error {
	if len(warnings) == 0 {
		return nil
	}
	text := strings.Join(warnings, "; ")
	if !f.plan.allowPartial {
		return fault.New(fault.APIRequest, "%s: the answer of %s may not be whole: %s: mend it there, or set allow-partial: true.", f.q.name, f.client.URL(), text)
	}
	f.warn("%s: the answer of %s may not be whole: %s", f.q.name, f.client.URL(), text)
	return nil
}

func (f *promFetch) group(labels promclient.Labels) *promGroup {
	values := make([]string, len(f.columnAt))
	for i, l := range f.columnAt {
		values[i] = labels.Get(l)
	}
	key := strings.Join(values, "\x00")
	g := f.groups[key]
	if g == nil {
		g = &promGroup{values, meter.NewBins(f.plan.grid.N)}
		f.groups[key] = g
	}
	return g
}

// window returns the time that samples are read in: MaxGap beyond the window on
// both sides, as package meter wants it, but not the future.
func (f *promFetch) window() (from, to time.Time) {
	end := f.plan.grid.End()
	return time.UnixMilli(f.plan.grid.Start - f.plan.maxGap - 1), time.UnixMilli(max(end, min(end+f.plan.maxGap, f.now.UnixMilli())))
}

// raw reads counters and gauges from raw samples.
func (f *promFetch) raw(ctx context.Context) error {
	selectors, err := f.selectors(ctx)
	if err != nil {
		return err
	}
	for _, selector := range selectors {
		if err := f.samples(ctx, selector); err != nil {
			return err
		}
	}
	if err := f.copiesApart(); err != nil {
		return err
	}
	for _, s := range f.counters {
		if s.copies != nil {
			s.copies.Advance(math.MaxInt64)
		}
	}
	if err := f.closeEnough(); err != nil {
		return err
	}
	if err := f.wantedFound(); err != nil {
		return err
	}
	if err := f.births(ctx, selectors); err != nil {
		return err
	}
	f.report()
	return nil
}

// selectors returns what to ask for. Kepler's containers have names of pods
// only through pod_id.
func (f *promFetch) selectors(ctx context.Context) ([]string, error) {
	if f.q.pods == "" {
		return []string{f.q.query}, nil
	}
	from, to := f.window()
	query := "max by (pod_id, pod_namespace, pod_name) (last_over_time(" + f.q.pods + "[" + promclient.Duration(to.Sub(from)) + "]))"
	pods, warnings, err := f.client.Instant(ctx, query, to)
	if err != nil {
		return nil, err
	}
	if err := f.warnings(warnings); err != nil {
		return nil, err
	}
	f.pods = map[string][2]string{}
	for _, p := range pods {
		if id := p.Labels.Get("pod_id"); id != "" {
			f.pods[id] = [2]string{p.Labels.Get("pod_namespace"), p.Labels.Get("pod_name")}
		}
	}
	if !strings.Contains(f.q.pods, "{") { // all pods: no need to name them
		return []string{f.q.query}, nil
	}
	var selectors []string
	base := strings.TrimSuffix(f.q.query, "}")
	for ids := range slices.Chunk(sortedKeys(f.pods), podsAtOnce) {
		more := promclient.Selector("", promclient.OneOf("pod_id", ids...))
		selectors = append(selectors, base+","+more[1:])
	}
	return selectors, nil
}

// samples reads the series of one selector, a piece of time after the other.
func (f *promFetch) samples(ctx context.Context, selector string) error {
	from, to := f.window()
	piece := firstPiece
	for at := from; at.Before(to); {
		next := at.Add(piece)
		if next.After(to) {
			next = to
		}
		series, warnings, err := f.client.Raw(ctx, selector, at, next)
		if errors.Is(err, promclient.ErrTooMuch) && next.Sub(at) > time.Minute {
			piece = next.Sub(at) / 2
			piece = piece.Truncate(time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		if err := f.warnings(warnings); err != nil {
			return err
		}
		count := 0
		for _, s := range series {
			count += len(s.Samples)
		}
		if err := f.consume(series, next); err != nil {
			return err
		}
		switch {
		case count < fewSamples:
			piece = min(2*piece, longestPiece)
		case count > manySamples:
			piece = max(piece/2, time.Minute)
		}
		at = next
	}
	return nil
}

// keys returns what tells a series from others: source with the labels of
// copies, series without.
func (f *promFetch) keys(labels promclient.Labels) (source, series string) {
	var a, b strings.Builder
	for _, l := range labels {
		if slices.Contains(f.q.same, l.Name) {
			continue
		}
		pair := l.Name + "\x00" + l.Value + "\x00"
		a.WriteString(pair)
		if !slices.Contains(f.q.replicas, l.Name) {
			b.WriteString(pair)
		}
	}
	return a.String(), b.String()
}

// named adds to a container of Kepler the names of its pod.
func (f *promFetch) named(labels promclient.Labels) promclient.Labels {
	if pod, ok := f.pods[labels.Get("pod_id")]; ok {
		return append(slices.Clone(labels), promclient.Label{Name: "pod_name", Value: pod[1]}, promclient.Label{Name: "pod_namespace", Value: pod[0]})
	}
	return labels
}

// consume counts the series of one piece of time that ends at end.
func (f *promFetch) consume(series []promclient.Series, end time.Time) error {
	type part struct {
		s       *promSeries
		sources map[string][][]meter.Sample
	}
	parts := map[string]*part{}
	var order []string
	for _, in := range series {
		if len(in.Samples) == 0 {
			continue
		}
		if err := f.honest(in.Labels); err != nil {
			return err
		}
		labels := f.named(in.Labels)
		source, key := f.keys(labels)
		p := parts[key]
		if p == nil {
			p = &part{f.series(key, labels), map[string][][]meter.Sample{}}
			parts[key] = p
			order = append(order, key)
		}
		samples := make([]meter.Sample, len(in.Samples))
		for i, x := range in.Samples {
			samples[i] = meter.Sample(x)
		}
		p.sources[source] = append(p.sources[source], samples)
		f.sampled.Add(samples)
		first, last := samples[0].T, samples[len(samples)-1].T
		span, seen := p.s.spans[source]
		if !seen {
			span = promSource{labels, first, last}
		}
		p.s.spans[source] = promSource{span.labels, min(span.first, first), max(span.last, last)}
		f.newest = max(f.newest, last)
	}
	slices.Sort(order)
	for _, key := range order {
		p := parts[key]
		if err := f.feed(p.s, p.sources); err != nil {
			return fault.New(fault.APIRequest, "%s: read %s: %w: a sample must be a finite number, of a counter not below 0.", f.q.name, p.s.labels, err)
		}
	}
	for _, s := range f.counters {
		if s.copies != nil {
			s.copies.Advance(end.UnixMilli() - f.plan.maxGap)
		}
	}
	return nil
}

func (f *promFetch) series(key string, labels promclient.Labels) *promSeries {
	s := f.counters[key]
	if s == nil {
		rule := meter.Rule{Kind: meter.Counter, MaxGap: f.plan.maxGap, Wraps: f.q.wraps}
		if f.q.kind == gaugeQuery {
			rule.Kind = meter.Gauge
		}
		s = &promSeries{key: key, labels: labels, meter: meter.NewSeries(rule, f.plan.grid, f.group(labels).bins), spans: map[string]promSource{}}
		if f.q.dedup {
			s.copies = meter.NewReplicas(s.meter)
		}
		f.counters[key] = s
	}
	return s
}

func (f *promFetch) feed(s *promSeries, sources map[string][][]meter.Sample) error {
	keys := sortedKeys(sources)
	var all [][]meter.Sample
	for _, key := range keys {
		samples := sources[key][0]
		if len(sources[key]) > 1 {
			samples = meter.Merge(sources[key]...)
		}
		if s.meter.Interval == 0 {
			s.meter.Interval = meter.Interval(samples)
		}
		if s.copies != nil {
			if err := s.copies.Add(key, samples); err != nil {
				return err
			}
			continue
		}
		all = append(all, samples)
	}
	if len(all) == 0 {
		return nil
	}
	samples := all[0]
	if len(all) > 1 { // one after the other; copies are found out in the end
		samples = meter.Merge(all...)
	}
	for _, p := range samples {
		if err := s.meter.Add(p); err != nil {
			return err
		}
	}
	return nil
}

// births finds out where counters stood that have no sample before the window.
func (f *promFetch) births(ctx context.Context, selectors []string) error {
	if f.q.kind != counterQuery {
		return nil
	}
	var born []*promSeries
	alive := false
	for _, key := range sortedKeys(f.counters) {
		if s := f.counters[key]; s.meter.Born() {
			born = append(born, s)
		} else {
			alive = true
		}
	}
	if len(born) == 0 {
		return nil
	}
	before, err := f.before(ctx, selectors)
	if err != nil {
		return err
	}
	counted, unknown := 0, 0
	for _, s := range born {
		switch values := before[s.key]; {
		case len(values) > 0:
			s.meter.After(nearestBelow(values, s.meter.First.V))
		case f.q.fromZero:
			s.meter.FromZero()
			counted++
		case s.meter.First.T <= f.plan.grid.End():
			unknown++
		}
	}
	if unknown > 0 {
		f.warn("%s: %d series began inside the window: what they had counted before their first sample is unknown and left out%s", f.q.name, unknown, f.zeroAdvice())
	}
	f.fresh = counted == len(born) && !alive
	if counted > 0 && !alive {
		return f.dataFromTheStart(ctx)
	}
	return nil
}

// nearestBelow returns the largest value that is not above v: several sources
// of one counter may have ended before the window. If the counter fell
// meanwhile, it began again, and any larger value says so.
func nearestBelow(values []float64, v float64) float64 {
	best := math.Inf(1)
	for _, x := range values {
		if x <= v && (best > v || x > best) {
			best = x
		}
	}
	return best
}

// before returns the last values of counters before the samples that were read.
func (f *promFetch) before(ctx context.Context, selectors []string) (map[string][]float64, error) {
	out := map[string][]float64{}
	if f.plan.lookback < time.Millisecond {
		return out, nil
	}
	from, _ := f.window()
	for _, selector := range selectors {
		last, warnings, err := f.client.Instant(ctx, "last_over_time("+selector+"["+promclient.Duration(f.plan.lookback)+"])", from)
		if err != nil {
			return nil, fmt.Errorf("look for counters before the window (lookback: 0 leaves it out): %w", err)
		}
		if err := f.warnings(warnings); err != nil {
			return nil, err
		}
		for _, s := range last {
			_, key := f.keys(f.named(s.Labels))
			out[key] = append(out[key], s.Samples[0].V)
		}
	}
	return out, nil
}

// expression evaluates PromQL at the end of each step.
func (f *promFetch) expression(ctx context.Context) error {
	g := f.plan.grid
	step := time.Duration(g.Step) * time.Millisecond
	points := mostPoints
	for i := 0; i < g.N; {
		n := min(points, g.N-i)
		first := g.Start + int64(i+1)*g.Step
		series, warnings, err := f.client.Range(ctx, f.q.query, time.UnixMilli(first), time.UnixMilli(first+int64(n-1)*g.Step), step)
		if errors.Is(err, promclient.ErrTooMuch) && n > 1 {
			points = n / 2
			continue
		}
		if err != nil {
			return err
		}
		if err := f.warnings(warnings); err != nil {
			return err
		}
		for _, s := range series {
			bins := f.group(s.Labels).bins
			for _, p := range s.Samples {
				at := (p.T - g.Start) / g.Step
				if (p.T-g.Start)%g.Step != 0 || at < 1 || at > int64(g.N) {
					return fmt.Errorf("the server answered for %s, which was not asked for: take a start that is a multiple of step", meter.Clock(p.T))
				}
				switch {
				case math.IsNaN(p.V) && f.q.missing != nil:
					continue
				case math.IsNaN(p.V), math.IsInf(p.V, 0):
					return fault.New(fault.InvalidInput, "%s: %s is %v at %s: mend the query, or set default.", f.q.name, s.Labels, p.V, meter.Clock(p.T))
				case bins.Seen[at-1]:
					return fault.New(fault.InvalidInput, "%s: several series have the same columns (%s), such as %s: add them up in the query, as in sum by (%s) (…), or name more labels.", f.q.name, columnNames(f.q.columns), s.Labels, strings.Join(f.columnAt, ", "))
				}
				v := p.V
				if f.q.unit.power {
					v *= step.Seconds()
				}
				bins.Amount[at-1], bins.Seconds[at-1], bins.Seen[at-1] = v, step.Seconds(), true
			}
		}
		i += n
	}
	return nil
}
