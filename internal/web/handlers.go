package web

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"noether/internal/export/ndjson"
)

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
// start of the server counts as one.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
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
