package promapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/stats"
)

// query answers /api/v1/query: an expression at one time.
func (a *api) query(r *request) (*answer, error) {
	at := a.opt.Now()
	if s := r.form.Get("time"); s != "" {
		var err error
		if at, err = parseTime(s); err != nil {
			return nil, invalid("time", err)
		}
	}
	return a.evaluate(r, at, at, 0)
}

// queryRange answers /api/v1/query_range: an expression at many times.
func (a *api) queryRange(r *request) (*answer, error) {
	start, err := parseTime(r.form.Get("start"))
	if err != nil {
		return nil, invalid("start", err)
	}
	end, err := parseTime(r.form.Get("end"))
	if err != nil {
		return nil, invalid("end", err)
	}
	if end.Before(start) {
		return nil, invalid("end", errors.New("end timestamp must not be before start time"))
	}
	step, err := parseDuration(r.form.Get("step"))
	if err != nil {
		return nil, invalid("step", err)
	}
	if step <= 0 {
		return nil, invalid("step", errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer"))
	}
	if step < time.Millisecond {
		return nil, invalid("step", errors.New("the step is shorter than a millisecond, which is as finely as samples are timed"))
	}
	if (end.UnixMilli()-start.UnixMilli())/step.Milliseconds() > maxPoints {
		return nil, &fault{badData, errors.New("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")}
	}
	return a.evaluate(r, start, end, step)
}

// evaluate answers an expression from start to end, or at start if step is 0.
func (a *api) evaluate(r *request, start, end time.Time, step time.Duration) (_ *answer, err error) {
	limit, err := limitOf(r.form)
	if err != nil {
		return nil, err
	}
	var older time.Duration
	if s := r.form.Get("lookback_delta"); s != "" {
		if older, err = parseDuration(s); err != nil {
			return nil, invalid("lookback_delta", err)
		}
	}
	ctx := r.ctx
	if s := r.form.Get("timeout"); s != "" {
		d, err := parseDuration(s)
		if err != nil {
			return nil, invalid("timeout", err)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	text := r.form.Get("query")
	points := int64(1)
	if step > 0 {
		points += int64(end.Sub(start) / step)
	}
	_, selects, err := examine(text, end.Sub(start), points)
	if err != nil {
		return nil, err
	}
	queryable, err := a.opt.Queryable()
	if err != nil {
		if selects {
			return nil, storeDown(err)
		}
		queryable = noStore{}
	}
	queryable = interruptible{queryable}

	opts := promql.NewPrometheusQueryOpts(r.form.Get("stats") == "all", older)
	var q promql.Query
	if step == 0 {
		q, err = a.engine.NewInstantQuery(ctx, queryable, opts, text, start)
	} else {
		q, err = a.engine.NewRangeQuery(ctx, queryable, opts, text, start, end, step)
	}
	if err != nil {
		return nil, invalid("query", err)
	}
	r.atEnd = q.Close
	res := q.Exec(ctx)
	if res.Err != nil {
		return nil, faultOf(res.Err, a.opt.Limits)
	}
	if cut(res, limit) {
		res.Warnings.Add(errTruncated)
	}
	var statistics []byte
	if r.form.Get("stats") != "" {
		if statistics, err = json.Marshal(stats.NewQueryStats(q.Stats())); err != nil {
			return nil, &fault{internal, fmt.Errorf("write statistics: %w", err)}
		}
	}
	return &answer{
		data: func(e *encoder) {
			e.raw(`{"resultType":`)
			e.text(string(res.Value.Type()))
			e.raw(`,"result":`)
			e.value(res.Value)
			if statistics != nil {
				e.raw(`,"stats":`)
				e.raw(string(statistics))
			}
			e.raw("}")
		},
		warnings: res.Warnings,
		query:    text,
	}, nil
}

// errTruncated is a warning, worded as Prometheus does.
var errTruncated = errors.New("results truncated due to limit")

// cut leaves at most limit series in a result and tells whether there were more.
func cut(res *promql.Result, limit int) bool {
	if limit == 0 {
		return false
	}
	switch v := res.Value.(type) {
	case promql.Vector:
		if len(v) > limit {
			res.Value = v[:limit]
			return true
		}
	case promql.Matrix:
		if len(v) > limit {
			res.Value = v[:limit]
			return true
		}
	}
	return false
}

// formatQuery answers /api/v1/format_query: the expression as its printer has it.
func (a *api) formatQuery(r *request) (*answer, error) {
	text := r.form.Get("query")
	expr, _, err := examine(text, 0, 1)
	if err != nil {
		return nil, err
	}
	pretty := expr.Pretty(0)
	return &answer{data: func(e *encoder) { e.text(pretty) }}, nil
}

// queryExemplars answers /api/v1/query_exemplars: the store has none.
func (a *api) queryExemplars(r *request) (*answer, error) {
	if err := checkTimes(r.form); err != nil {
		return nil, err
	}
	if _, _, err := examine(r.form.Get("query"), 0, 1); err != nil {
		return nil, err
	}
	return &answer{data: func(e *encoder) { e.raw("[]") }}, nil
}

// checkTimes refuses a range of optional times that ends before it starts.
func checkTimes(form url.Values) error {
	from, to, err := rangeOf(form)
	if err != nil {
		return err
	}
	if to < from {
		return &fault{badData, errors.New("end timestamp must not be before start timestamp")}
	}
	return nil
}
