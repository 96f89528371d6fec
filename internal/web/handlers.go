package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"noether/internal/export/ndjson"
)

// notYet is the Retry-After of what the first tick brings, in seconds: the
// length of a usual tick.
const notYet = "5"

// get limits a handler to GET and HEAD.
func get(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed: use GET", http.StatusMethodNotAllowed)
			return
		}
		h(w, r)
	})
}

// healthz tells whether the agent still ticks. Before the first tick the
// start of the server counts as one. A server that measures nothing is healthy
// while it answers.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	if s.opt.Snapshot == nil {
		writeText(w, "healthy\n")
		return
	}
	last, what := s.started, "the start"
	if snap := s.opt.Snapshot(); snap != nil {
		last, what = snap.Time, "the last tick"
	}
	age := s.opt.Now().Sub(last)
	if age > max(3*s.opt.Interval, healthAtLeast) {
		http.Error(w, fmt.Sprintf("unhealthy: %s was %s ago, more than three intervals of %s", what, age.Round(time.Millisecond), s.opt.Interval), http.StatusServiceUnavailable)
		return
	}
	writeText(w, "healthy\n")
}

// readyz tells whether there are figures.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if s.opt.Snapshot == nil {
		writeText(w, "ready\n")
		return
	}
	if snap := s.opt.Snapshot(); snap == nil || snap.Seq == 0 {
		http.Error(w, "not ready: the first tick is not complete", http.StatusServiceUnavailable)
		return
	}
	writeText(w, "ready\n")
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text)) // the client has gone; nobody is left to tell
}

// snapshot answers with the newest snapshot as one line of JSON.
func (s *Server) snapshot(w http.ResponseWriter, _ *http.Request) {
	snap := s.opt.Snapshot()
	if snap == nil {
		w.Header().Set("Retry-After", notYet)
		http.Error(w, "not ready: the first tick is not complete", http.StatusServiceUnavailable)
		return
	}
	buf, _ := s.lines.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer s.lines.Put(buf)
	*buf = ndjson.Append((*buf)[:0], snap)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(*buf)))
	_, _ = w.Write(*buf) // likewise
}

// answer serves a document. Its errors are told as the Prometheus API tells them.
func answer(document Document) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		value, err := document()
		if errors.Is(err, ErrNotYet) {
			w.Header().Set("Retry-After", notYet)
			failure(w, http.StatusServiceUnavailable, "unavailable", err.Error())
			return
		} else if err != nil {
			failure(w, http.StatusNotFound, "not_found", err.Error())
			return
		}
		var b bytes.Buffer
		if err := json.NewEncoder(&b).Encode(value); err != nil {
			failure(w, http.StatusInternalServerError, "internal", fmt.Sprintf("write the answer: %v", err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
		_, _ = w.Write(b.Bytes()) // likewise
	}
}

// failure answers an error in the form of the Prometheus API.
func failure(w http.ResponseWriter, code int, kind, text string) {
	b, _ := json.Marshal(struct { // strings always can be
		Status string `json:"status"`
		Type   string `json:"errorType"`
		Error  string `json:"error"`
	}{"error", kind, text})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n')) // likewise
}

// noAPI answers for the Prometheus API where nobody does.
func (s *Server) noAPI(w http.ResponseWriter, _ *http.Request) {
	failure(w, http.StatusNotFound, "not_found", "this server answers no queries: "+or(s.opt.NoAPI, "it keeps no history"))
}

// nothing answers for what this server does not have.
func (s *Server) nothing(w http.ResponseWriter, r *http.Request) {
	text := "there is no such address here"
	switch r.URL.Path {
	case "/api/noether/v1/snapshot", "/api/noether/v1/check", "/api/noether/v1/forecast":
		text = "this server does not measure: ask the agent of the machine"
	}
	failure(w, http.StatusNotFound, "not_found", text)
}
