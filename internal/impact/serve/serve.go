// Package serve answers the Impact Framework's HTTP interface: POST a manifest
// to /v1/run and have it back with its outputs. A request reaches nothing but
// its own manifest unless the caller allows it; the package opens no file and
// listens nowhere.
package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"noether/internal/impact"
	"noether/internal/impact/fault"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// Options says how requests are run.
type Options struct {
	// Env is what plugins may touch, Methods the methods that manifests may name.
	Env     *plugin.Env
	Methods []plugin.Method
	// Command and Environment are printed in each execution block.
	Command     string
	Environment func() *value.Object
	// MaxBody is the largest manifest in bytes.
	MaxBody int64
	// Concurrency is the number of runs at a time; more wait for at most a
	// second and are then refused.
	Concurrency int
	// Timeout is the longest time for one run.
	Timeout time.Duration
	Log     *slog.Logger
}

// patience is how long a request waits for others to end.
const patience = time.Second

// requestsPerRun is how many requests may be under way for each run at a time: a
// client that sends or reads slowly holds one of these and no run.
const requestsPerRun = 16

// server is the handler. Safe for concurrent use.
type server struct {
	o        Options
	slots    chan struct{} // runs
	admitted chan struct{} // requests, whose bodies and answers may be slow
}

// New returns the handler.
func New(o Options) http.Handler {
	n := max(o.Concurrency, 1)
	s := &server{o: o, slots: make(chan struct{}, n), admitted: make(chan struct{}, n*requestsPerRun)}
	// A run stays in the request's goroutine, so that whatever happens in it is
	// the matter of this request alone.
	env := *o.Env
	env.Dialect.Parallel = false
	s.o.Env = &env
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		s.write(w, []byte("OK"))
	})
	mux.HandleFunc("POST /v1/run", s.run)
	return mux
}

// Disable returns the methods with some of them refused: a manifest that names
// one fails as if the method did not exist, with the reason. Refused tells the
// reason for a method, empty for one that is allowed.
func Disable(methods []plugin.Method, refused func(m *plugin.Method) string) []plugin.Method {
	out := slices.Clone(methods)
	for i := range out {
		if why := refused(&out[i]); why != "" {
			out[i].New = func(_ *plugin.Env, d *plugin.Declaration, _ *plugin.Method) (plugin.Plugin, error) {
				return nil, fault.New(fault.PluginInitialization, "Provided module `%s:%s` is invalid or not found. %s", d.Path, d.Method, why)
			}
		}
	}
	return out
}

// failed is the body of an answer without a manifest.
type failed struct {
	Error  string `json:"error"`
	Detail string `json:"detail,omitempty"`
}

func (s *server) run(w http.ResponseWriter, r *http.Request) {
	defer func() { //nolint:contextcheck // the request's context is in r
		if cause := recover(); cause != nil {
			if cause == http.ErrAbortHandler { //nolint:errorlint // the sentinel is panicked with as it is
				panic(cause)
			}
			s.o.Log.ErrorContext(r.Context(), "a run panicked: please report this", slog.Any("cause", cause), slog.String("stack", string(debug.Stack())))
			s.fail(w, http.StatusInternalServerError, failed{"Internal Server Error", "this manifest met a bug of the engine"})
		}
	}()
	ctx, cancel := context.WithTimeout(r.Context(), s.o.Timeout)
	defer cancel()
	leave := s.enter(ctx, w, s.admitted)
	if leave == nil {
		return
	}
	defer leave()
	body, ok := s.body(w, r)
	if !ok {
		return
	}
	outcome, isJSON, ok := s.compute(ctx, w, r, body)
	if !ok {
		return
	}
	status := statusOf(ctx, outcome.Err)
	switch {
	case r.Context().Err() != nil:
		return // nobody waits for it
	case status == http.StatusGatewayTimeout:
		s.fail(w, status, failed{"Timeout", fmt.Sprintf("the run took longer than %s", s.o.Timeout)})
		return
	case status == http.StatusInternalServerError:
		s.fail(w, status, failed{"Internal Server Error", detail(outcome.Err)})
		return
	}
	s.answer(w, status, wantsJSON(r.Header.Get("Accept"), isJSON), outcome.Output)
}

// enter takes a place in room and returns how to leave it, or answers that there
// is none and returns nil.
func (s *server) enter(ctx context.Context, w http.ResponseWriter, room chan struct{}) (leave func()) {
	wait, stop := context.WithTimeout(ctx, patience)
	defer stop()
	select {
	case room <- struct{}{}:
		return func() { <-room }
	case <-wait.Done():
		w.Header().Set("Retry-After", "1")
		s.fail(w, http.StatusServiceUnavailable, failed{"Too many runs", fmt.Sprintf("%d manifests are being run", cap(s.slots))})
		return nil
	}
}

// compute parses a body and runs the manifest in it when it is its turn; if ok
// is false the answer has been given.
func (s *server) compute(ctx context.Context, w http.ResponseWriter, r *http.Request, body []byte) (outcome *impact.Outcome, isJSON, ok bool) {
	leave := s.enter(ctx, w, s.slots)
	if leave == nil {
		return nil, false, false
	}
	defer leave()
	manifest, isJSON, ok := s.manifest(w, r, body)
	if !ok {
		return nil, false, false
	}
	start := s.o.Env.Now()
	query := r.URL.Query()
	set := func(name string) bool { return query.Get(name) == "true" }
	outcome = impact.Run(ctx, manifest, impact.Options{
		Env: s.o.Env, Methods: s.o.Methods, Command: s.o.Command, Environment: s.o.Environment(),
		Observe: set("observe"), Regroup: set("regroup"), Compute: set("compute"),
	})
	s.o.Log.InfoContext(ctx, "ran a manifest", slog.Int("status", statusOf(ctx, outcome.Err)), slog.Duration("duration", s.o.Env.Now().Sub(start)))
	return outcome, isJSON, true
}

// statusOf returns the status for a run: 400 for what the framework's own
// errors name, 500 for what its runtime throws.
func statusOf(ctx context.Context, err error) int {
	f, ok := errors.AsType[*fault.Error](err)
	switch {
	case err == nil:
		return http.StatusOK
	case ctx.Err() != nil:
		return http.StatusGatewayTimeout
	case ok && f.Class != fault.Type && f.Class != fault.Range && f.Class != fault.Syntax:
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

func detail(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	return err.Error()
}

// body reads the request's body; if ok is false the answer has been given.
func (s *server) body(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.o.MaxBody))
	if large, is := errors.AsType[*http.MaxBytesError](err); is {
		s.fail(w, http.StatusRequestEntityTooLarge, failed{"request entity too large", fmt.Sprintf("a manifest may have %d bytes here", large.Limit)})
		return nil, false
	}
	if err != nil {
		s.fail(w, http.StatusBadRequest, failed{Error: "the request's body ended early"})
		return nil, false
	}
	return body, true
}

// manifest parses the request's body; if ok is false the answer has been given.
func (s *server) manifest(w http.ResponseWriter, r *http.Request, body []byte) (v value.Value, isJSON, ok bool) {
	var err error
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // what cannot be read is no known kind
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		s.fail(w, http.StatusBadRequest, failed{Error: "Missing manifest in request body"})
		return v, false, false
	case kind == "application/json":
		v, err = parseJSON(body)
		if err != nil {
			s.fail(w, http.StatusBadRequest, failed{"Invalid JSON format", err.Error()})
		}
		return v, true, err == nil
	case kind == "application/yaml":
		v, err = jsyaml.Parse(body)
		if err != nil {
			s.fail(w, http.StatusBadRequest, failed{"Invalid YAML format", detail(err)})
		}
		return v, false, err == nil
	}
	s.fail(w, http.StatusUnsupportedMediaType, failed{"Unsupported Media Type", "send the manifest as application/yaml or application/json"})
	return v, false, false
}

// wantsJSON decides the form of the answer: what Accept names first, else that of the request.
func wantsJSON(accept string, requestIsJSON bool) bool {
	for part := range strings.SplitSeq(accept, ",") {
		kind, _, _ := strings.Cut(part, ";")
		switch strings.TrimSpace(kind) {
		case "application/json":
			return true
		case "application/yaml":
			return false
		}
	}
	return requestIsJSON
}

func (s *server) answer(w http.ResponseWriter, status int, asJSON bool, v value.Value) {
	if asJSON {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		s.write(w, jsyaml.AppendJSON(nil, v))
		return
	}
	w.Header().Set("Content-Type", "application/yaml; charset=utf-8")
	w.WriteHeader(status)
	if err := jsyaml.Write(w, v); err != nil {
		s.o.Log.Debug("the answer was not read to its end", slog.String("error", err.Error()))
	}
}

func (s *server) fail(w http.ResponseWriter, status int, body failed) {
	text, err := json.Marshal(body)
	if err != nil {
		text = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	s.write(w, text)
}

func (s *server) write(w io.Writer, b []byte) {
	if _, err := w.Write(b); err != nil {
		s.o.Log.Debug("the answer was not read to its end", slog.String("error", err.Error()))
	}
}
