package web

import (
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
	"time"

	"noether/internal/energy"
	"noether/internal/export/ndjson"
	"noether/internal/snapshot"
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

// index is a page for people that needs nothing but HTML.
func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\"><title>Noether</title></head><body>\n<h1>Noether</h1>\n")
	fmt.Fprintf(&b, "<p>Version %s", html.EscapeString(or(s.opt.About.Version, "unknown")))
	snap := s.opt.Snapshot()
	if snap != nil && snap.Node != "" {
		fmt.Fprintf(&b, " on node %s", html.EscapeString(snap.Node))
	}
	b.WriteString("</p>\n")
	if snap == nil {
		b.WriteString("<p>The first tick is not complete.</p>\n")
	} else {
		writeState(&b, snap)
	}
	b.WriteString(`<ul>
<li><a href="/metrics">/metrics</a>: for Prometheus</li>
<li><a href="/api/noether/v1/snapshot">/api/noether/v1/snapshot</a>: the last tick as JSON</li>
<li><a href="/healthz">/healthz</a>: does the agent tick?</li>
<li><a href="/readyz">/readyz</a>: are there figures?</li>
</ul>
</body></html>
`)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(b.String())) // likewise
}

func writeState(b *strings.Builder, s *snapshot.Snapshot) {
	fmt.Fprintf(b, "<p>Tick %d at %s, over %s. Usage by %s, divided by policy %s.</p>\n",
		s.Seq, s.Time.UTC().Format(time.RFC3339), s.Elapsed.Round(time.Millisecond), html.EscapeString(or(s.Self.Usage, "nothing yet")), html.EscapeString(or(s.Self.Policy, "none")))
	b.WriteString("<table>\n<caption>This machine</caption>\n<tr><th>component</th><th>watts</th><th>joules since start</th><th>quality</th></tr>\n")
	for i := range s.Nodes {
		n := &s.Nodes[i]
		watts := "no datum"
		if n.Present && s.Elapsed > 0 {
			watts = strconv.FormatFloat((n.Delta[energy.Dynamic] + n.Delta[energy.Idle]).Over(s.Elapsed).Watts(), 'f', 3, 64)
		}
		joules := (n.Total[energy.Dynamic] + n.Total[energy.Idle]).AppendJoules(nil)
		fmt.Fprintf(b, "<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", n.Component, watts, joules, n.Quality)
	}
	b.WriteString("</table>\n<table>\n<caption>Sensors</caption>\n<tr><th>sensor</th><th>status</th><th>why</th><th>remedy</th></tr>\n")
	for _, v := range s.Sensors {
		fmt.Fprintf(b, "<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", html.EscapeString(v.Name), v.Status, html.EscapeString(v.Reason), html.EscapeString(v.Remedy))
	}
	b.WriteString("</table>\n")
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
