// Package promapi answers the HTTP API of Prometheus over a store of time
// series, with Prometheus' own query engine as a library: what Grafana, the
// page and the impact importer ask a Prometheus server, they can ask a lone
// agent. The API is described at
// https://prometheus.io/docs/prometheus/latest/querying/api/.
//
// It refuses to write, to delete and to configure anything, to keep anything
// on disk, and to answer without bound: samples, time, queries at once,
// lengths and steps are limited, and what is too much is told how to ask for less.
package promapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/annotations"

	"noether/internal/export"
	exposition "noether/internal/export/prometheus"
)

// Limits bound what one server gives to queries. A zero means the default.
type Limits struct {
	Samples int           // held in memory by one query, 16 bytes each; 5 million
	Series  int           // listed by one answer; 100,000
	Time    time.Duration // of one query; 20 s
	Queries int           // at once; 4
	Wait    time.Duration // for the next query, until it is sent away; 3 s
	Kept    int           // bytes of answers that wait for their clients after the query has ended; 32 MiB
	Send    time.Duration // for the client of an answer that does not fit there, while its query stays open; 10 s
}

// Defaults of Limits, and limits that nobody needs to change.
const (
	// defaultSamples lets 300 pods of four series each be drawn over a week
	// with the most points that a range query may have a third of: 1.2 million
	// samples for each thousand points. Four such queries hold 320 MB.
	defaultSamples = 5_000_000
	defaultSeries  = 100_000
	defaultTime    = 20 * time.Second
	defaultQueries = 4
	defaultWait    = 3 * time.Second
	defaultKept    = 32 << 20
	defaultSend    = 10 * time.Second

	keepers = 4 // no answer keeps more than a part of that

	maxBody     = 1 << 20  // bytes of a form
	maxQuery    = 64 << 10 // bytes of an expression, and of all selectors of a request together
	maxNesting  = 500      // operators and brackets of an expression
	maxMatchers = 1000     // of all selectors of a request together
	maxPoints   = 11_000   // of each series, as Prometheus has it
	maxSteps    = 200_000  // of a subquery

	// What the engine does not interrupt: reading a pattern, growing a label,
	// and going through the samples of a subquery's windows for one series.
	maxPattern = 64 << 10   // of all regular expressions of a request, with their repetitions written out
	maxWindows = 50_000_000 // samples of all windows of a subquery together
	maxMade    = 16 << 10   // bytes of the labels that label_replace and label_join make for one series
	anyLabel   = 256        // bytes that a label of the store is taken to have

	lookback = 5 * time.Minute // Prometheus' default: how old the newest sample of a series may be
	// subqueryStep is that of subqueries which name none: Prometheus' default
	// evaluation interval.
	subqueryStep = time.Minute
)

// Options say what to answer from.
type Options struct {
	// Queryable returns what to query, or an error that says why there is
	// nothing to query yet and what to do. It is asked at every request and
	// must be safe for any number of goroutines.
	Queryable func() (storage.Queryable, error)
	// Families are those that the store may hold, for their types and help.
	Families []export.Family
	// Copy returns the name under which the store keeps a thinner copy of a
	// family, or "" if it keeps none; nil means no copies.
	Copy  func(*export.Family) string
	About export.About
	// Now tells the time of queries that name none.
	Now    func() time.Time
	Log    *slog.Logger
	Limits Limits
}

// api is safe for any number of goroutines.
type api struct {
	opt      Options
	engine   *promql.Engine
	slots    chan struct{} // of the queries under way, until their answers are encoded
	kept     atomic.Int64  // bytes of the answers that are not sent yet
	metadata []metadata    // by name
	gzip     sync.Pool     // of *gzip.Writer
}

// New returns the handler of /api/v1/ and /federate. It needs no closing.
func New(opt Options) http.Handler {
	l := &opt.Limits
	l.Samples = cmp.Or(l.Samples, defaultSamples)
	l.Series = cmp.Or(l.Series, defaultSeries)
	l.Time = cmp.Or(l.Time, defaultTime)
	l.Queries = cmp.Or(l.Queries, defaultQueries)
	l.Wait = cmp.Or(l.Wait, defaultWait)
	l.Kept = cmp.Or(l.Kept, defaultKept)
	l.Send = cmp.Or(l.Send, defaultSend)
	a := &api{
		opt: opt,
		engine: promql.NewEngine(promql.EngineOpts{
			Logger:                   opt.Log,
			MaxSamples:               l.Samples,
			Timeout:                  l.Time,
			LookbackDelta:            lookback,
			NoStepSubqueryIntervalFn: func(int64) int64 { return subqueryStep.Milliseconds() },
			EnableAtModifier:         true,
			EnableNegativeOffset:     true,
			EnablePerStepStats:       true,
		}),
		slots:    make(chan struct{}, l.Queries),
		metadata: metadataOf(opt.Families, opt.Copy),
	}

	mux := http.NewServeMux()
	for path, e := range map[string]endpoint{
		"/api/v1/query":               {a.query, takesTime | takesForms},
		"/api/v1/query_range":         {a.queryRange, takesTime | takesForms},
		"/api/v1/series":              {a.series, takesTime | takesForms},
		"/api/v1/labels":              {a.labelNames, takesTime | takesForms},
		"/api/v1/label/{name}/values": {a.labelValues, takesTime},
		"/federate":                   {a.federate, takesTime | saysText},
		"/api/v1/query_exemplars":     {a.queryExemplars, takesForms},
		"/api/v1/format_query":        {a.formatQuery, takesForms},
		"/api/v1/metadata":            {a.metricMetadata, 0},
		"/api/v1/status/buildinfo":    {a.buildInfo, 0},
		"/api/v1/status/runtimeinfo":  {a.runtimeInfo, 0},
		"/api/v1/rules":               {constant(`{"groups":[]}`), 0},
		"/api/v1/alerts":              {constant(`{"alerts":[]}`), 0},
		"/api/v1/alertmanagers":       {constant(`{"activeAlertmanagers":[],"droppedAlertmanagers":[]}`), 0},
		"/api/v1/targets":             {constant(`{"activeTargets":[],"droppedTargets":[]}`), 0},
		"/api/v1/targets/metadata":    {constant(`[]`), 0},
		// Not /status/flags: Grafana takes whatever answers it for Thanos.
		"/": {func(*request) (*answer, error) {
			return nil, &fault{notFound, errors.New("no such endpoint: docs/api.md of Noether lists those of a lone agent")}
		}, 0},
	} {
		mux.Handle(path, a.handler(e))
	}
	return mux
}

// endpoint is what answers a path, and how.
type endpoint struct {
	answer func(*request) (*answer, error)
	traits uint
}

// The traits of endpoints.
const (
	takesTime  = 1 << iota // it reads series, so it waits for one of the slots
	takesForms             // it answers POST besides GET
	saysText               // its errors are text for people and scrapers
)

// request is what an endpoint is asked.
type request struct {
	ctx  context.Context // done at the time limit
	form url.Values
	name string // of the label in the path
	// atEnd is called when the answer is encoded: what the store and the engine
	// return may be their own memory. It may be nil.
	atEnd func()
}

// answer is what an endpoint found.
type answer struct {
	// data writes the value of the member data; or, of an endpoint that says
	// text, everything.
	data     func(*encoder)
	warnings annotations.Annotations
	query    string // for the positions in warnings
}

// handler wraps an endpoint in what all have in common.
func (a *api) handler(e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := e.traits&saysText != 0
		out := &response{api: a, w: w, gzip: exposition.AcceptsGzip(r.Header.Values("Accept-Encoding")), text: text}
		defer a.recovered(r.Context(), r.URL.Path, out)
		form, err := readForm(w, r, e.traits&takesForms != 0)
		if err != nil {
			out.fail(err)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), a.opt.Limits.Time)
		defer cancel()
		if e.traits&takesTime != 0 {
			if err := a.enter(ctx); err != nil {
				out.fail(err)
				return
			}
		}
		req := &request{ctx: ctx, form: form, name: r.PathValue("name")}
		out.free = sync.OnceFunc(func() {
			if req.atEnd != nil {
				req.atEnd()
			}
			if e.traits&takesTime != 0 {
				<-a.slots
			}
		})
		defer out.free()
		ans, err := e.answer(req)
		if err != nil {
			out.fail(err)
			return
		}
		out.send(ans)
	})
}

// recovered, deferred, makes a panic an error of one request.
func (a *api) recovered(ctx context.Context, path string, out *response) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler: // net/http looks for this very value
		panic(p)
	default:
		a.opt.Log.ErrorContext(ctx, "bug: the Prometheus API panicked", slog.String("path", path), slog.Any("panic", p))
		if out.started {
			panic(http.ErrAbortHandler) // half an answer must not look whole
		}
		out.drop()
		out.out = nil
		out.w.Header().Del("Content-Encoding")
		out.fail(&fault{internal, errors.New("internal error: the log of the agent says more")})
	}
}

// enter takes a slot, or says that all stay taken.
func (a *api) enter(ctx context.Context) error {
	select {
	case a.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(a.opt.Limits.Wait)
	defer timer.Stop()
	select {
	case a.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return faultOf(ctx.Err(), a.opt.Limits)
	case <-timer.C:
		return &fault{unavailable, fmt.Errorf("%d queries are under way already: try again in a moment", a.opt.Limits.Queries)}
	}
}

// readForm returns the parameters of the URL and, where forms are taken, of the body.
func readForm(w http.ResponseWriter, r *http.Request, forms bool) (url.Values, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		if forms {
			if ct := r.Header.Get("Content-Type"); ct != "" && !strings.HasPrefix(strings.ToLower(ct), "application/x-www-form-urlencoded") {
				return nil, &fault{badType, fmt.Errorf("the body is %.60q: send application/x-www-form-urlencoded", ct)}
			}
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			break
		}
		fallthrough
	default:
		allow := "GET, HEAD"
		if forms {
			allow = "GET, HEAD, POST"
		}
		w.Header().Set("Allow", allow)
		return nil, &fault{badMethod, errors.New("method not allowed: use " + allow)}
	}
	if err := r.ParseForm(); err != nil {
		if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
			return nil, &fault{tooLarge, fmt.Errorf("the body is longer than %d bytes: ask for less at once", tooLong.Limit)}
		}
		return nil, &fault{badData, fmt.Errorf("parse parameters: %w", err)}
	}
	return r.Form, nil
}

// kind is why there is no answer.
type kind uint8

const (
	internal kind = iota
	badData
	badMethod
	badType
	tooLarge
	notFound
	execution
	canceled
	timeout
	unavailable
)

// statusClosed says that the client has closed the connection; the code is nginx's.
const statusClosed = 499

// answer returns the errorType, as Prometheus names it, and the status code.
func (k kind) answer() (name string, code int) {
	switch k {
	case badData:
		return "bad_data", http.StatusBadRequest
	case badMethod:
		return "bad_data", http.StatusMethodNotAllowed
	case badType:
		return "bad_data", http.StatusUnsupportedMediaType
	case tooLarge:
		return "bad_data", http.StatusRequestEntityTooLarge
	case notFound:
		return "not_found", http.StatusNotFound
	case execution:
		return "execution", http.StatusUnprocessableEntity
	case canceled:
		return "canceled", statusClosed
	case timeout:
		return "timeout", http.StatusServiceUnavailable
	case unavailable:
		return "unavailable", http.StatusServiceUnavailable
	case internal:
	}
	return "internal", http.StatusInternalServerError
}

// fault is an error that knows what it is to the client.
type fault struct {
	kind kind
	err  error
}

func (f *fault) Error() string { return f.err.Error() }

func (f *fault) Unwrap() error { return f.err }

// faultOf tells what an error of engine or storage is to the client.
func faultOf(err error, l Limits) *fault {
	var (
		known    *fault
		gone     promql.ErrQueryCanceled
		late     promql.ErrQueryTimeout
		tooMany  promql.ErrTooManySamples
		ofStore  promql.ErrStorage
		bug      runtime.Error // also memory whose file the disk does not give
		narrower = "ask for fewer series (name labels), a shorter time, or a longer step"
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, tsdb.ErrNotReady):
		return &fault{unavailable, fmt.Errorf("%w: try again in a moment", err)}
	case errors.As(err, &tooMany):
		return &fault{execution, fmt.Errorf("%w, more than %d: %s", err, l.Samples, narrower)}
	case errors.As(err, &late), errors.Is(err, context.DeadlineExceeded):
		return &fault{timeout, fmt.Errorf("%w (at most %s): %s", err, l.Time, narrower)}
	case errors.As(err, &gone), errors.Is(err, context.Canceled):
		return &fault{canceled, err}
	case errors.As(err, &ofStore):
		return &fault{internal, err}
	case errors.As(err, &bug):
		return &fault{internal, errors.New("the history cannot be read, or there is a bug: the log of the agent says more")}
	}
	return &fault{execution, err}
}

// storeDown is the error of Options.Queryable to clients.
func storeDown(err error) error { return &fault{unavailable, err} }

// noStore is queried by expressions that select nothing.
type noStore struct{}

func (noStore) Querier(int64, int64) (storage.Querier, error) { return storage.NoopQuerier(), nil }

// querier opens the store between two times, in milliseconds, until the answer is encoded.
func (a *api) querier(r *request, from, to int64) (storage.Querier, error) {
	queryable, err := a.opt.Queryable()
	if err != nil {
		return nil, storeDown(err)
	}
	q, err := queryable.Querier(from, to)
	if err != nil {
		return nil, faultOf(promql.ErrStorage{Err: err}, a.opt.Limits)
	}
	r.atEnd = func() { _ = q.Close() } // it was only read
	return q, nil
}

// hint asks the store for one more than the limit, so that the answer can say
// that there are more.
func hint(limit int) int {
	if limit > 0 && limit < math.MaxInt {
		return limit + 1
	}
	return limit
}
