package site

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"noether/internal/grid/watch"
	"noether/internal/snapshot"
)

// The distances between two questions to a Prometheus: while it answers, and at
// most while it does not.
const (
	askInterval = time.Minute
	askBackoff  = 15 * time.Minute
	askTimeout  = 15 * time.Second
)

// query is one figure that a Prometheus is asked for again and again.
type query struct {
	name  string // in logs and labels
	text  string // PromQL
	o     *Options
	check func(float64) (int64, error)

	answer atomic.Pointer[answer]
}

// answer is what is known of a query. It is immutable.
type answer struct {
	value              int64
	success            time.Time // of the question that value is from; zero without any
	up                 bool
	requests, failures uint64
}

// holds tells whether the value is still believed at a time: what was said last
// holds as long as an intensity does. If the clock was set back since by more
// than that, nobody knows how old the value is.
func (a *answer) holds(at time.Time) bool {
	age := at.Sub(a.success)
	return !a.success.IsZero() && age < watch.Hold && age > -watch.Hold
}

func (a *answer) status(name string) snapshot.SourceStatus {
	return snapshot.SourceStatus{Source: name, Up: a.up, Requests: a.requests, Failures: a.failures, Success: a.success}
}

func newQuery(name, text string, o *Options, check func(float64) (int64, error)) *query {
	q := &query{name: name, text: text, o: o, check: check}
	q.answer.Store(&answer{})
	return q
}

// run asks until ctx is done. It logs when answers begin and when they end.
func (q *query) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	wait, said := askInterval, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := q.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if said {
				q.o.Log.InfoContext(ctx, "a query is answered again", slog.String("query_of", q.name))
			}
			wait, said = askInterval, false
		default:
			if !said {
				q.o.Log.WarnContext(ctx, "a query has no answer of use; the last one holds for six hours", slog.String("query_of", q.name), slog.Any("error", err))
			}
			said = true
		}
		timer.Reset(wait + rand.N(wait/10)) //nolint:gosec // it keeps machines from asking together
		if err != nil {
			wait = min(2*wait, askBackoff)
		}
	}
}

// ask asks once.
func (q *query) ask(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	next := *q.answer.Load()
	next.requests++
	v, err := q.o.Ask(within, q.text)
	var value int64
	if err == nil {
		value, err = q.check(v)
	}
	if next.up = err == nil; next.up {
		next.value, next.success = value, q.o.Now().Round(0) // without a monotonic clock, which stands still while a machine sleeps
	} else {
		next.failures++
	}
	q.answer.Store(&next)
	return err
}
