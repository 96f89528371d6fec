// Package promproxy answers the paths of the Prometheus API by asking a server
// that speaks it: Prometheus, Thanos, Mimir, VictoriaMetrics, an agent. The page
// over it cannot tell it from an agent's own history.
//
// It refuses every path but those that read series, every parameter that it
// does not know, and answers that are no JSON or have no end. Nothing of the
// browser's request but the parameters goes to the server, and nothing of the
// server's answer but its body comes back, as JSON whatever the server called it.
package promproxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"noether/internal/promclient"
)

// Limits of one request.
const (
	maxForm   = 256 << 10 // bytes of what is asked
	maxAnswer = 64 << 20  // bytes of what is answered
	beginning = 64 << 10  // bytes that are looked at before anything is passed on
)

// Timeout bounds one request, its answer included. It is less than the server
// in front gives its own answers, so that an error can still be told.
const Timeout = 25 * time.Second

// Options say whom to ask.
type Options struct {
	Client   *promclient.Client
	Timeout  time.Duration // Timeout if 0
	MaxBytes int64         // of one answer, 64 MiB if 0
	Log      *slog.Logger
}

// New returns the handler of /api/v1/ and /federate. It needs no closing.
func New(o Options) http.Handler {
	if o.Timeout == 0 {
		o.Timeout = Timeout
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = maxAnswer
	}
	return &proxy{o}
}

type proxy struct{ Options }

// paths are those that read, and whether they take forms.
var paths = map[string]bool{ //nolint:gochecknoglobals // a table that nothing changes
	"/api/v1/query":            true,
	"/api/v1/query_range":      true,
	"/api/v1/series":           true,
	"/api/v1/labels":           true,
	"/api/v1/metadata":         false,
	"/api/v1/status/buildinfo": false,
}

// parameters are those of these paths, with what Thanos and VictoriaMetrics add.
var parameters = map[string]bool{ //nolint:gochecknoglobals // likewise
	"query": true, "time": true, "start": true, "end": true, "step": true, "timeout": true, "limit": true, "match[]": true,
	"lookback_delta": true, "metric": true, "limit_per_metric": true,
	"dedup": true, "partial_response": true, "max_source_resolution": true,
}

// labelValues is the path with the values of a label; other names than these
// are written in this form too (prometheus.io/docs/prometheus/latest/querying/api).
var labelValues = regexp.MustCompile(`^/api/v1/label/[a-zA-Z_][a-zA-Z0-9_]{0,255}/values$`)

// readable tells whether a path only reads, and whether it takes forms.
func readable(path string) (form, ok bool) {
	form, ok = paths[path]
	return form, ok || labelValues.MatchString(path)
}

// ServeHTTP answers one request.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	takesForm, ok := readable(r.URL.Path)
	if !ok {
		fail(w, http.StatusNotFound, "not_found", "this page asks Prometheus for series only: query, query_range, series, labels, label values, metadata and buildinfo")
		return
	}
	method := r.Method
	switch {
	case method == http.MethodHead:
		method = http.MethodGet
	case method == http.MethodGet, method == http.MethodPost && takesForm:
	default:
		w.Header().Set("Allow", map[bool]string{false: "GET, HEAD", true: "GET, HEAD, POST"}[takesForm])
		fail(w, http.StatusMethodNotAllowed, "bad_data", "method not allowed")
		return
	}
	form, code, err := read(w, r)
	if err != nil {
		fail(w, code, "bad_data", err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), p.Timeout)
	defer cancel()
	body, err := p.Client.Stream(ctx, method, r.URL.Path, form)
	if err != nil {
		p.refuse(ctx, w, err)
		return
	}
	defer body.Close() //nolint:errcheck // it is read, or of no use
	p.pass(ctx, w, body)
}

// read returns the parameters of a request that are known, or the status of what is wrong.
func read(w http.ResponseWriter, r *http.Request) (url.Values, int, error) {
	if len(r.URL.RawQuery) > maxForm {
		return nil, http.StatusRequestURITooLong, errors.New("the query is too long")
	}
	if r.Method == http.MethodPost {
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "application/x-www-form-urlencoded" {
			return nil, http.StatusUnsupportedMediaType, errors.New("the body is no form: send it as application/x-www-form-urlencoded")
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	}
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("the form is larger than %d KiB: ask for less", maxForm>>10)
		}
		return nil, http.StatusBadRequest, errors.New("the parameters cannot be read: they are not encoded as a form")
	}
	known := url.Values{}
	for name, values := range r.Form {
		if parameters[name] {
			known[name] = values
		}
	}
	return known, 0, nil
}

// pass hands on an answer that is JSON. What goes wrong behind its beginning
// ends the connection, so that nobody takes a part for the whole.
func (p *proxy) pass(ctx context.Context, w http.ResponseWriter, body io.Reader) {
	limited := &io.LimitedReader{R: body, N: p.MaxBytes + 1}
	buffered := bufio.NewReaderSize(limited, beginning)
	head, err := buffered.Peek(beginning)
	whole := errors.Is(err, io.EOF)
	switch trimmed := bytes.TrimLeft(head, " \t\r\n"); {
	case err != nil && !whole:
		p.refuse(ctx, w, p.Client.Broken(err))
		return
	case len(trimmed) == 0 || trimmed[0] != '{', whole && limited.N > 0 && !json.Valid(head):
		p.refuse(ctx, w, p.Client.NotTheAPI(head))
		return
	case limited.N <= 0:
		fail(w, http.StatusUnprocessableEntity, "execution", p.tooLarge())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := io.Copy(w, buffered); err != nil || limited.N <= 0 {
		if ctx.Err() == nil && limited.N <= 0 {
			err = errors.New(p.tooLarge())
		}
		p.Log.DebugContext(ctx, "an answer was cut off", slog.Any("error", err))
		panic(http.ErrAbortHandler) // the way to end a connection (net/http)
	}
}

func (p *proxy) tooLarge() string {
	return fmt.Sprintf("the answer of %s is larger than %d MiB: ask for less: a shorter range, a longer step, fewer series", p.Client.URL(), p.MaxBytes>>20)
}

// refuse tells an error in the form of the API. What the server says about the
// query is told as it says it; what it says to us is a fault behind this page.
func (p *proxy) refuse(ctx context.Context, w http.ResponseWriter, err error) {
	p.Log.DebugContext(ctx, "a query was not answered", slog.Any("error", err))
	e, ok := errors.AsType[*promclient.Error](err)
	switch {
	case !ok:
		fail(w, http.StatusBadGateway, "unavailable", err.Error())
	case errors.Is(err, promclient.ErrDenied), e.Status/100 == 3:
		fail(w, http.StatusBadGateway, "unavailable", e.Error())
	case e.Type != "" && (e.Status == http.StatusBadRequest || e.Status == http.StatusUnprocessableEntity || e.Status == http.StatusServiceUnavailable):
		fail(w, e.Status, e.Type, e.Text)
	case errors.Is(err, promclient.ErrQuery):
		fail(w, http.StatusBadRequest, "bad_data", e.Error())
	case errors.Is(err, promclient.ErrTooMuch):
		fail(w, http.StatusUnprocessableEntity, "execution", e.Error())
	case errors.Is(err, context.DeadlineExceeded):
		fail(w, http.StatusGatewayTimeout, "timeout", e.Error())
	default:
		fail(w, http.StatusBadGateway, "unavailable", e.Error())
	}
}

// fail answers an error in the form of the API.
func fail(w http.ResponseWriter, code int, kind, text string) {
	b, err := json.Marshal(struct {
		Status string `json:"status"`
		Type   string `json:"errorType"`
		Error  string `json:"error"`
	}{"error", kind, strings.ToValidUTF8(text, "\ufffd")})
	if err != nil {
		b = nil // strings always can be
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n')) // the client has gone; nobody is left to tell
}
