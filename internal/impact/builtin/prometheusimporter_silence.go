package builtin

// A time in which nothing was sampled: did what is measured end, or was the
// one who measures away?

import (
	"context"
	"slices"
	"strings"
	"time"

	"noether/internal/impact/fault"
	"noether/internal/impact/meter"
	"noether/internal/promclient"
)

// mostLooks is at how many times of a silence the exporter is looked for.
const mostLooks = 1000

// silences refuses a result that is too low because nothing was sampled for
// longer than MaxGap, unless that is allowed. What is known all the same is no
// such result: what counters rose by over the silence, and that all that is
// measured had ended, or not begun, while its exporter went on.
func (f *promFetch) silences(ctx context.Context) error {
	for _, s := range f.sampled.Silences(f.plan.grid) {
		if !f.lost(s) {
			continue
		}
		on, err := f.exporterWentOn(ctx, s)
		if err != nil {
			return err
		}
		if on {
			continue
		}
		from, to := meter.Clock(s.From), meter.Clock(s.To)
		if f.q.gaps || f.q.missing != nil {
			f.warn("%s: nothing was sampled from %s to %s (%s): what was used meanwhile is not counted", f.q.name, from, to, between(s.From, s.To))
			continue
		}
		instead := "Take a window without that time"
		if s.To == f.plan.grid.End() {
			instead = "Take a window that ends at " + meter.Clock(s.From-s.From%1000) + " or earlier"
		}
		return fault.New(fault.InvalidInput, "%s: nothing was sampled from %s to %s (%s), so that the result would be too low (%s): was its exporter away, or Prometheus? %s%s.", f.q.name, from, to, between(s.From, s.To), f.q.query, instead, f.allowing())
	}
	return nil
}

// allowing names the setting that lets a silence pass; KeplerPlugin has none.
func (f *promFetch) allowing() string {
	switch {
	case f.q.name == "KeplerPlugin":
		return ""
	case strings.HasPrefix(f.q.name, "queries."):
		return ", or set " + f.q.name + ".allow-gaps: true to go on without it"
	}
	return ", or set allow-gaps: true to go on without it"
}

// lost reports whether something that was used in a silence is not counted.
func (f *promFetch) lost(s meter.Span) bool {
	switch {
	case f.q.kind == gaugeQuery, s.To == f.plan.grid.End():
		return true
	case f.fresh && s.From == f.plan.grid.Start: // an exporter's counters begin with it, an application's with what it counts
		return strings.HasPrefix(f.q.name, "preset")
	}
	for _, c := range f.counters {
		if slices.ContainsFunc(c.meter.Gaps, func(g meter.Gap) bool { return g.Fell && g.From < s.To && g.To > s.From }) {
			return true
		}
	}
	return false
}

// exporterWentOn reports whether other series of the same metric were sampled
// all through a silence: of the same exporters, or, before the first sample, of
// any of the same job, since nodes come with exporters of their own.
func (f *promFetch) exporterWentOn(ctx context.Context, s meter.Span) (bool, error) {
	if f.q.family == "" {
		return false, nil
	}
	labels := []string{"job", "instance"}
	if s.From == f.plan.grid.Start {
		labels = labels[:1]
	}
	matchers := f.exporters(s, labels)
	step := max(f.plan.maxGap, (s.To-s.From)/mostLooks)
	query := "count(last_over_time(" + promclient.Selector(f.q.family, matchers...) + "[" + promclient.Duration(time.Duration(step)*time.Millisecond) + "]))"
	series, warnings, err := f.client.Range(ctx, query, time.UnixMilli(s.From+step), time.UnixMilli(s.To), time.Duration(step)*time.Millisecond)
	if err != nil {
		return false, err
	}
	if err := f.warnings(warnings); err != nil {
		return false, err
	}
	return len(series) == 1 && int64(len(series[0].Samples)) >= (s.To-s.From)/step, nil
}

// exporters returns conditions for the exporters that served the series around
// the beginning of a silence, or of all where there are too many to name.
func (f *promFetch) exporters(s meter.Span, labels []string) []promclient.Matcher {
	var out []promclient.Matcher
	for _, label := range labels {
		values := map[string]bool{}
		for _, c := range f.counters {
			for _, source := range c.spans {
				if s.From == f.plan.grid.Start || source.first <= s.From && source.last >= s.From-f.plan.maxGap {
					values[source.labels.Get(label)] = true
				}
			}
		}
		if n := len(values); n > 0 && n <= podsAtOnce && !values[""] {
			out = append(out, promclient.OneOf(label, sortedKeys(values)...))
		}
	}
	return out
}
