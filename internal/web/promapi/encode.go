package promapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	flushAt   = 32 << 10 // bytes that an encoder keeps
	worthGzip = 1 << 10  // a shorter answer is sent as it is
)

// response writes one answer. It is kept in memory as it is encoded, so that the
// query can end before a client that reads slowly has everything; beyond the
// limits of what is kept it is sent in pieces while the query is still open.
// One goroutine uses it.
type response struct {
	api     *api
	w       http.ResponseWriter
	gzip    bool // the client takes it
	text    bool // the answer is no JSON
	status  int
	out     io.Writer // what an encoder writes to: the response itself, or a gzip.Writer before it
	kept    [][]byte  // not sent yet
	size    int       // of kept, in bytes; taken from the api's budget
	started bool      // the header is sent
	free    func()    // ends the query; may be nil. Nothing that it returned is used after
}

// begin chooses how the body is sent.
func (r *response) begin(length int) {
	h := r.w.Header()
	if r.text {
		h.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	} else {
		h.Set("Content-Type", "application/json")
	}
	h.Add("Vary", "Accept-Encoding")
	r.out = body{r}
	if r.gzip && length >= worthGzip {
		h.Set("Content-Encoding", "gzip")
		z, _ := r.api.gzip.Get().(*gzip.Writer)
		if z == nil {
			z, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
		}
		z.Reset(r.out)
		r.out = z
	}
}

// Write implements io.Writer for an encoder whose buffer is full.
func (r *response) Write(p []byte) (int, error) {
	if r.out == nil {
		r.begin(len(p))
	}
	return r.out.Write(p)
}

// body is what a response keeps, and then sends.
type body struct{ r *response }

func (b body) Write(p []byte) (int, error) {
	r := b.r
	if !r.started {
		if r.keep(p) {
			return len(p), nil
		}
		// The client has the time of a short query for what is more.
		ctx, cancel := context.WithTimeout(context.Background(), r.api.opt.Limits.Send)
		at, _ := ctx.Deadline()
		cancel()
		_ = http.NewResponseController(r.w).SetWriteDeadline(at) // whoever cannot has limits of its own
		if err := r.flush(); err != nil {
			return 0, err
		}
	}
	return r.w.Write(p)
}

// keep takes a copy of p into memory, if there is room for it.
func (r *response) keep(p []byte) bool {
	n := len(p)
	if r.size+n > r.api.opt.Limits.Kept/keepers {
		return false
	}
	if r.api.kept.Add(int64(n)) > int64(r.api.opt.Limits.Kept) {
		r.api.kept.Add(-int64(n))
		return false
	}
	r.kept, r.size = append(r.kept, bytes.Clone(p)), r.size+n
	return true
}

// flush sends the header and what was kept.
func (r *response) flush() error {
	defer r.drop()
	r.started = true
	r.w.WriteHeader(r.status)
	for _, p := range r.kept {
		if _, err := r.w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// drop forgets what was kept.
func (r *response) drop() {
	r.api.kept.Add(-int64(r.size))
	r.kept, r.size = nil, 0
}

// finish sends the rest.
func (r *response) finish(e *encoder) {
	if r.out == nil {
		r.begin(len(e.buf))
	}
	e.flush()
	if z, ok := r.out.(*gzip.Writer); ok {
		_ = z.Close() // the client has gone; nobody is left to tell
		r.api.gzip.Put(z)
	}
	if r.free != nil {
		r.free()
	}
	if !r.started {
		r.w.Header().Set("Content-Length", strconv.Itoa(r.size))
		_ = r.flush() // likewise
	}
}

// send writes an answer.
func (r *response) send(a *answer) {
	r.status = http.StatusOK
	e := &encoder{w: r}
	if r.text {
		a.data(e)
		r.finish(e)
		return
	}
	e.raw(`{"status":"success","data":`)
	a.data(e)
	warnings, infos := a.warnings.AsStrings(a.query, 10, 10)
	slices.Sort(warnings) // they come from a map
	slices.Sort(infos)
	e.remarks("warnings", warnings)
	e.remarks("infos", infos)
	e.raw("}")
	r.finish(e)
}

// fail writes why there is no answer.
func (r *response) fail(err error) {
	f := &fault{internal, err}
	_ = errors.As(err, &f) // every error of an endpoint is one
	var name string
	name, r.status = f.kind.answer()
	if f.kind == unavailable {
		r.w.Header().Set("Retry-After", "5")
	}
	e := &encoder{w: r}
	if r.text {
		e.raw(f.Error())
		e.raw("\n")
	} else {
		e.strings("status", "error", "errorType", name, "error", f.Error())
	}
	r.finish(e)
}

// encoder appends JSON, and hands it on in pieces.
type encoder struct {
	w   io.Writer
	buf []byte
	err error // of w: the client has gone
}

func (e *encoder) flush() {
	if e.err == nil && len(e.buf) > 0 {
		_, e.err = e.w.Write(e.buf)
	}
	e.buf = e.buf[:0]
}

// raw appends what is JSON already.
func (e *encoder) raw(s string) {
	if len(e.buf) >= flushAt {
		e.flush()
	}
	e.buf = append(e.buf, s...)
}

// text appends a string.
func (e *encoder) text(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte(`"\<>&`, c) >= 0 {
			quoted, _ := json.Marshal(s) // a string has always a form
			e.raw(string(quoted))
			return
		}
	}
	e.raw(`"`)
	e.buf = append(e.buf, s...)
	e.buf = append(e.buf, '"')
}

// strings appends an object of strings, given as names and values in turn.
func (e *encoder) strings(pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		e.raw([]string{"{", ","}[min(i, 1)])
		e.text(pairs[i])
		e.raw(":")
		e.text(pairs[i+1])
	}
	e.raw("}")
}

// list appends an array of n elements.
func (e *encoder) list(n int, element func(int)) {
	e.raw("[")
	for i := range n {
		if e.err != nil {
			return
		}
		if i > 0 {
			e.raw(",")
		}
		element(i)
	}
	e.raw("]")
}

// remarks appends a member with what the engine noticed, if it did.
func (e *encoder) remarks(name string, list []string) {
	if len(list) > 0 {
		e.raw(`,"` + name + `":`)
		e.list(len(list), func(i int) { e.text(list[i]) })
	}
}

func (e *encoder) labels(ls labels.Labels) {
	e.raw("{")
	first := true
	ls.Range(func(l labels.Label) {
		if !first {
			e.raw(",")
		}
		first = false
		e.text(l.Name)
		e.raw(":")
		e.text(l.Value)
	})
	e.raw("}")
}

// time appends milliseconds as seconds.
func (e *encoder) time(t int64) {
	e.raw("")
	u := uint64(t)
	if t < 0 {
		e.buf = append(e.buf, '-')
		u = -u
	}
	e.buf = strconv.AppendUint(e.buf, u/1000, 10)
	if frac := u % 1000; frac != 0 {
		e.buf = append(e.buf, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
	}
}

// number appends a value as a string: JSON has no NaN and no Inf.
func (e *encoder) number(f float64) {
	form := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		form = 'e'
	}
	e.buf = append(e.buf, '"')
	e.buf = strconv.AppendFloat(e.buf, f, form, -1, 64)
	e.buf = append(e.buf, '"')
}

// point appends a pair of time and value.
func (e *encoder) point(t int64, f float64) {
	e.raw("[")
	e.time(t)
	e.buf = append(e.buf, ',')
	e.number(f)
	e.buf = append(e.buf, ']')
}

// histogramPoint appends a pair of time and native histogram.
func (e *encoder) histogramPoint(t int64, h *histogram.FloatHistogram) {
	e.raw("[")
	e.time(t)
	e.raw(`,{"count":`)
	e.number(h.Count)
	e.raw(`,"sum":`)
	e.number(h.Sum)
	open := false
	for it := h.AllBucketIterator(); it.Next(); {
		b := it.At()
		if b.Count == 0 {
			continue
		}
		e.raw([]string{`,"buckets":[`, ","}[bit(open)])
		open = true
		// 0 is (lower, upper], 1 is [lower, upper), 2 is (lower, upper), 3 is [lower, upper].
		sides := [2][2]string{{"2", "0"}, {"1", "3"}}[bit(b.LowerInclusive)][bit(b.UpperInclusive)]
		e.raw("[" + sides + ",")
		e.number(b.Lower)
		e.raw(",")
		e.number(b.Upper)
		e.raw(",")
		e.number(b.Count)
		e.raw("]")
	}
	if open {
		e.raw("]")
	}
	e.raw("}]")
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// value appends the result of an expression.
func (e *encoder) value(v parser.Value) {
	switch v := v.(type) {
	case promql.Scalar:
		e.point(v.T, v.V)
	case promql.String:
		e.raw("[")
		e.time(v.T)
		e.raw(",")
		e.text(v.V)
		e.raw("]")
	case promql.Vector:
		e.list(len(v), func(i int) {
			e.raw(`{"metric":`)
			e.labels(v[i].Metric)
			if v[i].H != nil {
				e.raw(`,"histogram":`)
				e.histogramPoint(v[i].T, v[i].H)
			} else {
				e.raw(`,"value":`)
				e.point(v[i].T, v[i].F)
			}
			e.raw("}")
		})
	case promql.Matrix:
		e.list(len(v), func(i int) { e.oneSeries(&v[i]) })
	default:
		e.raw("null") // the engine has no other results
	}
}

func (e *encoder) oneSeries(s *promql.Series) {
	e.raw(`{"metric":`)
	e.labels(s.Metric)
	if len(s.Floats) > 0 {
		e.raw(`,"values":`)
		e.list(len(s.Floats), func(i int) { e.point(s.Floats[i].T, s.Floats[i].F) })
	}
	if len(s.Histograms) > 0 {
		e.raw(`,"histograms":`)
		e.list(len(s.Histograms), func(i int) { e.histogramPoint(s.Histograms[i].T, s.Histograms[i].H) })
	}
	e.raw("}")
}

// exposition appends a line of the text format, version 0.0.4.
func (e *encoder) exposition(name string, s *promql.Sample) {
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	e.raw(model.EscapeName(name, model.UnderscoreEscaping))
	open := false
	s.Metric.Range(func(l labels.Label) {
		if l.Name == model.MetricNameLabel {
			return
		}
		e.raw([]string{"{", ","}[bit(open)])
		open = true
		e.raw(model.EscapeName(l.Name, model.UnderscoreEscaping))
		e.raw(`="`)
		e.raw(escape.Replace(l.Value))
		e.raw(`"`)
	})
	if open {
		e.raw("}")
	}
	e.raw(" ")
	e.buf = strconv.AppendFloat(e.buf, s.F, 'g', -1, 64)
	e.raw(" ")
	e.buf = strconv.AppendInt(e.buf, s.T, 10)
	e.raw("\n")
}
