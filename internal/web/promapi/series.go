package promapi

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// listing is what requests for series and labels have in common.
type listing struct {
	from, to int64
	limit    int
	sets     [][]*labels.Matcher
}

func listingOf(r *request) (l listing, err error) {
	if l.limit, err = limitOf(r.form); err != nil {
		return l, err
	}
	if l.from, l.to, err = rangeOf(r.form); err != nil {
		return l, err
	}
	l.sets, err = selectorsOf(r.form)
	return l, err
}

var errNoMatch = &fault{badData, errors.New("no match[] parameter provided")}

// series answers /api/v1/series: the labels of the series that match.
func (a *api) series(r *request) (*answer, error) {
	if len(r.form["match[]"]) == 0 {
		return nil, errNoMatch
	}
	l, err := listingOf(r)
	if err != nil {
		return nil, err
	}
	q, err := a.querier(r, l.from, l.to)
	if err != nil {
		return nil, err
	}
	// Prometheus names this function where no samples will be read.
	set := merged(r, q, &storage.SelectHints{Start: l.from, End: l.to, Func: "series", Limit: hint(l.limit)}, l.sets)
	var found []labels.Labels
	truncated := false
	for set.Next() {
		if l.limit > 0 && len(found) == l.limit {
			truncated = true
			break
		}
		if len(found) == a.opt.Limits.Series {
			return nil, a.tooManySeries()
		}
		if len(found)%1024 == 0 && r.ctx.Err() != nil {
			return nil, faultOf(r.ctx.Err(), a.opt.Limits)
		}
		found = append(found, set.At().Labels())
	}
	if err := set.Err(); err != nil {
		return nil, faultOf(err, a.opt.Limits)
	}
	warnings := set.Warnings()
	if truncated {
		warnings = warnings.Add(errTruncated)
	}
	return &answer{warnings: warnings, data: func(e *encoder) {
		e.list(len(found), func(i int) { e.labels(found[i]) })
	}}, nil
}

func (a *api) tooManySeries() error {
	return &fault{execution, fmt.Errorf("more than %d series match: name labels in match[], a shorter time, or a limit", a.opt.Limits.Series)}
}

// merged selects the series of all sets, each once, in the order of their labels.
func merged(r *request, q storage.Querier, hints *storage.SelectHints, sets [][]*labels.Matcher) storage.SeriesSet {
	all := make([]storage.SeriesSet, 0, len(sets))
	for _, set := range sets {
		all = append(all, q.Select(r.ctx, true, hints, set...))
	}
	return storage.NewMergeSeriesSet(all, 0, storage.ChainedSeriesMerge)
}

// labelNames answers /api/v1/labels.
func (a *api) labelNames(r *request) (*answer, error) {
	return a.words(r, func(q storage.Querier, hints *storage.LabelHints, set []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelNames(r.ctx, hints, set...)
	})
}

// labelValues answers /api/v1/label/{name}/values.
func (a *api) labelValues(r *request) (*answer, error) {
	name := r.name
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.LabelName(name).IsValid() {
		return nil, &fault{badData, fmt.Errorf("invalid label name: %.80q", name)}
	}
	return a.words(r, func(q storage.Querier, hints *storage.LabelHints, set []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelValues(r.ctx, name, hints, set...)
	})
}

// words answers with the sorted words that look finds for each set of matchers.
func (a *api) words(r *request, look func(storage.Querier, *storage.LabelHints, []*labels.Matcher) ([]string, annotations.Annotations, error)) (*answer, error) {
	l, err := listingOf(r)
	if err != nil {
		return nil, err
	}
	q, err := a.querier(r, l.from, l.to)
	if err != nil {
		return nil, err
	}
	if len(l.sets) == 0 {
		l.sets = [][]*labels.Matcher{nil}
	}
	ans := &answer{}
	var found []string
	for _, set := range l.sets {
		words, warnings, err := look(q, &storage.LabelHints{Limit: hint(l.limit)}, set)
		if err != nil {
			return nil, faultOf(err, a.opt.Limits)
		}
		ans.warnings.Merge(warnings)
		found = append(found, words...)
		slices.Sort(found)
		found = slices.Compact(found)
	}
	if l.limit > 0 && len(found) > l.limit {
		found = found[:l.limit]
		ans.warnings.Add(errTruncated)
	}
	ans.data = func(e *encoder) { e.list(len(found), func(i int) { e.text(found[i]) }) }
	return ans, nil
}

// federate answers /federate: the newest sample of each series that matches, in
// Prometheus' text format. Series that have ended are left out. Unlike
// Prometheus it sends no empty label instance, so that the scraper sets its
// own and two agents stay apart.
func (a *api) federate(r *request) (*answer, error) {
	if len(r.form["match[]"]) == 0 {
		return nil, errNoMatch
	}
	sets, err := selectorsOf(r.form)
	if err != nil {
		return nil, err
	}
	to := a.opt.Now()
	hints := &storage.SelectHints{Start: to.Add(-lookback).UnixMilli() + 1, End: to.UnixMilli()}
	q, err := a.querier(r, hints.Start, hints.End)
	if err != nil {
		return nil, err
	}
	set := merged(r, q, hints, sets)
	type row struct {
		name string
		promql.Sample
	}
	var (
		rows []row
		it   chunkenc.Iterator
	)
	for set.Next() {
		if len(rows) == a.opt.Limits.Series {
			return nil, a.tooManySeries()
		}
		if len(rows)%1024 == 0 && r.ctx.Err() != nil {
			return nil, faultOf(r.ctx.Err(), a.opt.Limits)
		}
		s := set.At()
		it = s.Iterator(it)
		newest := promql.Sample{Metric: s.Labels()}
		last := chunkenc.ValNone
		for t := it.Next(); t != chunkenc.ValNone; t = it.Next() {
			if last = t; t == chunkenc.ValFloat {
				newest.T, newest.F = it.At()
			}
		}
		if err := it.Err(); err != nil {
			return nil, faultOf(promql.ErrStorage{Err: err}, a.opt.Limits)
		}
		name := newest.Metric.Get(model.MetricNameLabel)
		if last != chunkenc.ValFloat || value.IsStaleNaN(newest.F) || name == "" {
			continue // the text format has no native histograms, no ends and nothing without a name
		}
		rows = append(rows, row{name, newest})
	}
	if err := set.Err(); err != nil {
		return nil, faultOf(promql.ErrStorage{Err: err}, a.opt.Limits)
	}
	slices.SortStableFunc(rows, func(x, y row) int { return cmp.Compare(x.name, y.name) })
	return &answer{data: func(e *encoder) {
		for i := range rows {
			if i == 0 || rows[i].name != rows[i-1].name {
				e.raw("# TYPE ")
				e.raw(model.EscapeName(rows[i].name, model.UnderscoreEscaping))
				e.raw(" untyped\n")
			}
			e.exposition(rows[i].name, &rows[i].Sample)
		}
	}}, nil
}
