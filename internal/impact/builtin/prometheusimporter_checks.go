package builtin

// What the importer refuses, and what it reports: this file holds everything
// between an answer of a server and trust in it.

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"noether/internal/impact/fault"
	"noether/internal/impact/meter"
	"noether/internal/promclient"
)

// honest finds series whose own labels the scrape has renamed, so that a column
// would hold the exporter's name instead.
func (f *promFetch) honest(labels promclient.Labels) error {
	for _, c := range f.q.columns {
		if labels.Get("exported_"+c.label) != "" {
			return fault.New(fault.InvalidInput, "%s: %s has the label exported_%s: %s is the exporter's own. Scrape it with honor_labels: true, or set labels: {exported_%[3]s: %[5]s}.", f.q.name, labels, c.label, c.label, c.column)
		}
	}
	return nil
}

// copiesApart refuses two series that are the same at the same time.
func (f *promFetch) copiesApart() error {
	if f.q.dedup {
		return nil
	}
	for _, key := range sortedKeys(f.counters) {
		s := f.counters[key]
		if len(s.spans) < 2 {
			continue
		}
		var spans []promSource
		for _, source := range sortedKeys(s.spans) {
			spans = append(spans, s.spans[source])
		}
		slices.SortStableFunc(spans, func(a, b promSource) int { return int(min(1, max(-1, a.first-b.first))) })
		for i := 1; i < len(spans); i++ {
			if a, b := spans[i-1], spans[i]; b.first <= a.last {
				return fault.New(fault.InvalidInput, "%s: two series differ only in %s and run at the same time, so that energy would count twice: %s and %s. If they are copies of one, set dedup: true; if not, set replica-labels without the label that tells them apart.", f.q.name, difference(a.labels, b.labels), a.labels, b.labels)
			}
		}
	}
	return nil
}

func difference(a, b promclient.Labels) string {
	var names []string
	for _, l := range append(slices.Clone(a), b...) {
		if a.Get(l.Name) != b.Get(l.Name) && !slices.Contains(names, l.Name) {
			names = append(names, l.Name)
		}
	}
	return strings.Join(names, ", ")
}

// touches reports whether a series has anything to do with the window.
func (f *promFetch) touches(s *promSeries) bool {
	return s.meter.Samples > 0 && s.meter.Last.T > f.plan.grid.Start && s.meter.First.T <= f.plan.grid.End()
}

// wantedFound makes sure that every name that was asked for has a series.
func (f *promFetch) wantedFound() error {
	found := false
	for _, s := range f.counters {
		found = found || f.touches(s)
	}
	if !found {
		return nil // nothing at all was found: that is an error of its own
	}
	for _, w := range f.q.wanted {
		for _, v := range w.values {
			found := false
			for _, s := range f.counters {
				if s.labels.Get(w.label) == v && f.touches(s) {
					found = true
					break
				}
			}
			if !found && f.q.missing == nil {
				return fault.New(fault.MissingInputData, "%s: no series with %s in the window from %s to %s (%s): is it spelt right, and was it running?", f.q.name, promclient.Selector("", promclient.OneOf(w.label, v)), meter.Clock(f.plan.grid.Start), meter.Clock(f.plan.grid.End()), f.q.query)
			}
		}
	}
	return nil
}

// closeEnough refuses to take the ordinary distance of samples for gaps.
func (f *promFetch) closeEnough() error {
	known, far, usual := 0, 0, int64(0)
	for _, s := range f.counters {
		if s.meter.Interval > 0 {
			known++
			if s.meter.Interval > f.plan.maxGap {
				far++
				usual = max(usual, s.meter.Interval)
			}
		}
	}
	if 2*far > known {
		return fault.New(fault.InvalidInput, "%s: samples are %s apart, more than max-gap: set max-gap: %s or longer.", f.q.name, spanText(time.Duration(usual)*time.Millisecond), spanText((2 * time.Duration(usual) * time.Millisecond).Round(time.Second)))
	}
	return nil
}

func (f *promFetch) zeroAdvice() string {
	if strings.HasPrefix(f.q.name, "preset") {
		return ""
	}
	return "; set starts-at-zero: true if they began at 0"
}

// dataFromTheStart refuses to take the beginning of a database's memory for the
// beginning of counters: there every counter seems new, whatever it stands at.
func (f *promFetch) dataFromTheStart(ctx context.Context) error {
	up := func(at int64) bool {
		series, _, err := f.client.Instant(ctx, "count(up)", time.UnixMilli(at))
		return err == nil && len(series) > 0
	}
	start, end := f.plan.grid.Start, f.plan.grid.End()
	if up(end) && !up(start) {
		return fault.New(fault.MissingInputData, "%s: %s has no data of any target at the start of the window, %s: what counters that seem to begin in it had counted before cannot be told. Take a later start or a shorter window.", f.q.name, f.client.URL(), meter.Clock(start))
	}
	return nil
}

// report tells what the samples lack.
func (f *promFetch) report() {
	type gap struct {
		meter.Gap
		labels promclient.Labels
	}
	var gaps []gap
	wraps := 0
	for _, key := range sortedKeys(f.counters) {
		s := f.counters[key]
		for _, g := range s.meter.Gaps {
			gaps = append(gaps, gap{g, s.labels})
		}
		if f.q.wraps {
			wraps += s.meter.Falls
		}
	}
	slices.SortStableFunc(gaps, func(a, b gap) int { return int(min(1, max(-1, (b.To-b.From)-(a.To-a.From)))) })
	const shown = 3
	for _, g := range gaps[:min(shown, len(gaps))] {
		length := between(g.From, g.To)
		switch {
		case math.IsNaN(g.Amount):
			f.warn("%s: %s has no samples from %s to %s: %s, more than max-gap, in which a gauge is unknown and nothing is counted", f.q.name, g.labels, meter.Clock(g.From), meter.Clock(g.To), length)
		case f.q.kind == gaugeQuery:
			f.warn("%s: %s has no samples from %s to %s (%s): bridged in a straight line", f.q.name, g.labels, meter.Clock(g.From), meter.Clock(g.To), length)
		case g.Fell:
			f.warn("%s: %s has no samples from %s to %s (%s) and began again at 0 meanwhile: what it had counted until then is lost", f.q.name, g.labels, meter.Clock(g.From), meter.Clock(g.To), length)
		case g.To-g.From > f.plan.maxGap:
			f.warn("%s: %s has no samples from %s to %s (%s): what it counted meanwhile is exact in sum, and laid over the last %s of that time", f.q.name, g.labels, meter.Clock(g.From), meter.Clock(g.To), length, between(0, f.plan.maxGap))
		default:
			f.warn("%s: %s has no samples from %s to %s (%s): what it counted meanwhile is exact in sum, and spread evenly", f.q.name, g.labels, meter.Clock(g.From), meter.Clock(g.To), length)
		}
	}
	if more := len(gaps) - shown; more > 0 {
		f.warn("%s: %d more gaps, all shorter", f.q.name, more)
	}
	if wraps > 0 {
		f.warn("%s: hardware counters wrapped %d times: the power before is taken to have gone on until the next sample", f.q.name, wraps)
	}
	if end := f.plan.grid.End(); f.newest != math.MinInt64 && f.newest < end && end-f.newest <= f.plan.maxGap { // longer ones are looked into by silences
		f.warn("%s: the newest sample is of %s, %s before the end of the window: what followed is not counted (is delay shorter than the scrape interval?)", f.q.name, meter.Clock(f.newest), between(f.newest, end))
	}
}

// nothing explains an empty answer.
func (f *promFetch) nothing(ctx context.Context) error {
	from, to := meter.Clock(f.plan.grid.Start), meter.Clock(f.plan.grid.End())
	for _, s := range f.counters {
		if f.touches(s) {
			return fault.New(fault.MissingInputData, "%s: %s has a single sample in the window from %s to %s, at %s, which tells no amount: take a longer window.", f.q.name, s.labels, from, to, meter.Clock(s.meter.First.T))
		}
	}
	why := "is the query right, and was anything running?"
	if f.q.family != "" {
		known, _, err := f.client.Instant(ctx, "count(last_over_time("+promclient.Selector(f.q.family)+"[1d]))", time.UnixMilli(f.plan.grid.End()))
		switch {
		case err != nil:
		case len(known) == 0:
			why = fmt.Sprintf("%s has no %s at all in the day before: is the exporter running and scraped, and of the version that the preset is for?", f.client.URL(), f.q.family)
		default:
			why = fmt.Sprintf("%s has other series of %s: look at the names that are selected, and at the window.", f.client.URL(), f.q.family)
		}
	}
	return fault.New(fault.MissingInputData, "%s: no series match in the window from %s to %s (%s): %s", f.q.name, from, to, f.q.query, why)
}
