// Package promclient asks servers that speak the Prometheus query API:
// Prometheus itself, Thanos, Mimir, VictoriaMetrics, Noether. It reads instant
// values, ranges and raw samples. It interprets nothing: what the samples mean
// is the caller's business. It sends no credentials that came from anywhere but
// the environment, follows no redirect, and trusts no certificate unseen.
package promclient

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// Options say whom to ask and how.
type Options struct {
	URL         string // of the server, with a path where the API has one before /api/v1
	Credentials Credentials
	UserAgent   string        // "noether" if empty
	Timeout     time.Duration // of one request, 2 minutes if 0
	MaxBytes    int64         // of one answer, 64 MiB if 0
	Attempts    int           // of one request that fails for reasons that pass, 4 if 0
	Backoff     time.Duration // before the second attempt, doubled before each further one; 500 ms if 0
}

// Client asks one server. It is safe for concurrent use.
type Client struct {
	base        *url.URL
	http        *http.Client
	credentials Credentials
	timeout     time.Duration
	maxBytes    int64
	attempts    int
	backoff     time.Duration
	api         v1.API
}

// Label is a name and a value.
type Label struct{ Name, Value string }

// Labels are the labels of a series, the name of its metric among them as
// __name__, in the order of their names.
type Labels []Label

// Get returns the value of a label, "" if there is none.
func (l Labels) Get(name string) string {
	for _, label := range l {
		if label.Name == name {
			return label.Value
		}
	}
	return ""
}

// String writes labels as PromQL does.
func (l Labels) String() string {
	var matchers []Matcher
	for _, label := range l {
		if label.Name != "__name__" {
			matchers = append(matchers, Matcher{label.Name, "=", label.Value})
		}
	}
	if s := Selector(l.Get("__name__"), matchers...); s != "" {
		return s
	}
	return "{}"
}

// Sample is a value at a time in milliseconds since 1970.
type Sample struct {
	T int64
	V float64
}

// Series is a time series, its samples in the order of time.
type Series struct {
	Labels  Labels
	Samples []Sample
}

// New returns a client. It opens no connection.
func New(o Options) (*Client, error) {
	base, err := CheckURL(o.URL)
	if err != nil {
		return nil, err
	}
	c := &Client{
		base:        base,
		credentials: o.Credentials,
		timeout:     cmp.Or(o.Timeout, 2*time.Minute),
		maxBytes:    cmp.Or(o.MaxBytes, 64<<20),
		attempts:    cmp.Or(o.Attempts, 4),
		backoff:     cmp.Or(o.Backoff, 500*time.Millisecond),
	}
	settings := o.Credentials.http()
	if tenant := o.Credentials.Tenant; tenant != "" {
		settings.HTTPHeaders = &config.Headers{Headers: map[string]config.Header{"X-Scope-OrgID": {Values: []string{tenant}}}}
	}
	c.http, err = config.NewClientFromConfig(settings, "noether", config.WithUserAgent(cmp.Or(o.UserAgent, "noether")))
	if err != nil {
		return nil, fmt.Errorf("prepare to ask Prometheus at %s: %w", base, err)
	}
	c.api = v1.NewAPI(transport{c})
	return c, nil
}

// URL returns the server's address; it holds no credentials.
func (c *Client) URL() string { return c.base.String() }

// Close closes connections that wait for a next request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Instant evaluates query at one time. Warnings are what the server had to say
// about an answer that may not be whole.
func (c *Client) Instant(ctx context.Context, query string, at time.Time) (series []Series, warnings []string, err error) {
	v, warnings, err := c.api.Query(ctx, query, at)
	if err != nil {
		return nil, nil, c.wrap(query, err)
	}
	switch v := v.(type) {
	case model.Vector:
		for _, s := range v {
			if s.Histogram != nil {
				return nil, nil, c.wrong(query, "the answer is a histogram")
			}
			series = append(series, Series{labels(s.Metric), []Sample{{int64(s.Timestamp), float64(s.Value)}}})
		}
	case *model.Scalar:
		series = []Series{{nil, []Sample{{int64(v.Timestamp), float64(v.Value)}}}}
	default:
		return nil, nil, c.wrong(query, fmt.Sprintf("the answer is a %s, not a value", v.Type()))
	}
	return sorted(series), warnings, nil
}

// Range evaluates query at start, start + step and so on, up to end.
func (c *Client) Range(ctx context.Context, query string, start, end time.Time, step time.Duration) ([]Series, []string, error) {
	v, warnings, err := c.api.QueryRange(ctx, query, v1.Range{Start: start, End: end, Step: step})
	if err != nil {
		return nil, nil, c.wrap(query, err)
	}
	series, err := c.matrix(query, v)
	return series, warnings, err
}

// Raw returns the samples that the server stores for the series of a selector,
// from after from until to. A server may add the samples at from. Markers of
// staleness are left out.
func (c *Client) Raw(ctx context.Context, selector string, from, to time.Time) ([]Series, []string, error) {
	if !IsSelector(selector) {
		return nil, nil, c.wrong(selector, "only a selector such as name{label=\"value\"} has raw samples")
	}
	query := selector + "[" + Duration(to.Sub(from)) + "]"
	v, warnings, err := c.api.Query(ctx, query, to)
	if err != nil {
		return nil, nil, c.wrap(query, err)
	}
	series, err := c.matrix(query, v)
	if err != nil {
		return nil, nil, err
	}
	if slices.ContainsFunc(series, hasNaN) && c.speaksMetricsQL(ctx, to) {
		// Such a server shows its staleness markers as NaN, and stores no other NaN.
		for i, s := range series {
			series[i].Samples = slices.DeleteFunc(s.Samples, func(p Sample) bool { return math.IsNaN(p.V) })
		}
		series = slices.DeleteFunc(series, func(s Series) bool { return len(s.Samples) == 0 })
	}
	return series, warnings, nil
}

func hasNaN(s Series) bool {
	return slices.ContainsFunc(s.Samples, func(p Sample) bool { return math.IsNaN(p.V) })
}

// speaksMetricsQL tells VictoriaMetrics from the others by a function that only it has.
func (c *Client) speaksMetricsQL(ctx context.Context, at time.Time) bool {
	_, _, err := c.api.Query(ctx, "stale_samples_over_time(up[1s])", at)
	return err == nil
}

// Duration writes d as PromQL does: in seconds if they are whole, else in milliseconds.
func Duration(d time.Duration) string {
	if d%time.Second == 0 {
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}

func (c *Client) wrong(query, text string) error {
	return &Error{URL: c.URL(), Query: query, Text: text, Kind: ErrQuery}
}

// wrap gives an error its query; what is not ours is an answer that cannot be read.
func (c *Client) wrap(query string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Query = query
		return e
	}
	return &Error{URL: c.URL(), Query: query, Text: "the answer is not one of Prometheus: " + shorten(err.Error(), 200), Cause: err}
}

func (c *Client) matrix(query string, v model.Value) ([]Series, error) {
	m, ok := v.(model.Matrix)
	if !ok {
		return nil, c.wrong(query, fmt.Sprintf("the answer is a %s, not series", v.Type()))
	}
	series := make([]Series, len(m))
	for i, s := range m {
		if len(s.Histograms) > 0 {
			return nil, c.wrong(query, labels(s.Metric).String()+" is a native histogram, which has no single value")
		}
		samples := make([]Sample, len(s.Values))
		for j, p := range s.Values {
			samples[j] = Sample{int64(p.Timestamp), float64(p.Value)}
		}
		series[i] = Series{labels(s.Metric), samples}
		m[i] = nil
	}
	return sorted(series), nil
}

func labels(m model.Metric) Labels {
	out := make(Labels, 0, len(m))
	for name, v := range m {
		out = append(out, Label{string(name), string(v)})
	}
	slices.SortFunc(out, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// sorted puts series into the order of their labels: servers differ in theirs,
// and sums of floating-point numbers depend on it.
func sorted(series []Series) []Series {
	slices.SortFunc(series, func(a, b Series) int {
		return slices.CompareFunc(a.Labels, b.Labels, func(x, y Label) int {
			return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.Value, y.Value))
		})
	})
	return series
}

// transport carries the requests of the API client: it bounds them in time and
// size, repeats those that failed for reasons that pass, and words errors.
type transport struct{ c *Client }

// URL makes the address of an end point.
func (t transport) URL(endpoint string, args map[string]string) *url.URL {
	for name, v := range args {
		endpoint = strings.ReplaceAll(endpoint, ":"+name, url.PathEscape(v))
	}
	u := t.c.base.JoinPath(endpoint)
	if strings.HasSuffix(endpoint, "/query_range") {
		// VictoriaMetrics moves the times of ranges to round ones unless told not to.
		u.RawQuery = "nocache=1"
	}
	return u
}

// Do sends a request and returns the answer's body; any answer but a success is an *Error.
func (t transport) Do(ctx context.Context, req *http.Request) (*http.Response, []byte, error) {
	wait := t.c.backoff
	for attempt := 1; ; attempt++ {
		resp, body, err := t.once(ctx, req)
		if err == nil || attempt >= t.c.attempts || !passes(ctx, err) {
			if e, ok := errors.AsType[*Error](err); ok && attempt > 1 {
				e.Text += fmt.Sprintf(", %d times", attempt)
			}
			return resp, body, err
		}
		pause := wait/2 + rand.N(wait) //nolint:gosec // not a secret: it keeps clients from coming back together
		if resp != nil {
			if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
				pause = min(time.Duration(s)*time.Second, 30*time.Second)
			}
		}
		wait = min(2*wait, 30*time.Second)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return resp, body, err
		case <-timer.C:
		}
	}
}

func (t transport) once(ctx context.Context, req *http.Request) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, t.c.timeout)
	defer cancel()
	again := req.Clone(ctx)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, nil, err
		}
		again.Body = body
	}
	e := &Error{URL: t.c.URL()}
	resp, err := t.c.http.Do(again)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return nil, nil, t.c.network(e, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it is read, or of no use
	if resp.StatusCode/100 != 2 {
		body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if err != nil {
			body = nil
		}
		return resp, nil, t.c.answer(e, resp, body)
	}
	var body bytes.Buffer
	n, err := body.ReadFrom(io.LimitReader(resp.Body, t.c.maxBytes+1))
	switch {
	case err != nil:
		return nil, nil, t.c.network(e, err)
	case n > t.c.maxBytes:
		e.Kind, e.Text = ErrTooMuch, fmt.Sprintf("the answer is larger than %d MiB", t.c.maxBytes>>20)
		e.Advice = "ask for less: a shorter window, a longer step, fewer series"
		return nil, nil, e
	}
	return resp, body.Bytes(), nil
}

// passes reports whether the same request may succeed a little later.
func passes(ctx context.Context, err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || ctx.Err() != nil || e.Kind != nil || e.lasting {
		return false
	}
	return e.Status == 0 || e.Status == http.StatusTooManyRequests || e.Status >= 500 && e.Status != http.StatusNotImplemented
}
