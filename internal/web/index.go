package web

import (
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
	"time"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
)

// style is of the plain index. It is a file of its own: the content security
// policy lets no style in that stands in the markup.
const style = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}` +
	`table{border-collapse:collapse;margin:1rem 0}caption{text-align:left;font-weight:600;padding:.3rem 0}` +
	`th,td{text-align:left;vertical-align:top;padding:.2rem 1.2rem .2rem 0;border-bottom:1px solid #8884}` +
	`.n{text-align:right;font-variant-numeric:tabular-nums}
`

func plainStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write([]byte(style)) // the client has gone; nobody is left to tell
}

// plain is a page for people that needs nothing but HTML. Its links have no
// slash in front, so that they hold below the path of a proxy.
func (s *Server) plain(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\"><title>Noether</title><link rel=\"stylesheet\" href=\"plain.css\"></head><body>\n<h1>Noether</h1>\n")
	fmt.Fprintf(&b, "<p>Version %s", html.EscapeString(or(s.opt.About.Version, "unknown")))
	var snap *snapshot.Snapshot
	if s.opt.Snapshot != nil {
		snap = s.opt.Snapshot()
	}
	if snap != nil && snap.Node != "" {
		fmt.Fprintf(&b, " on node %s", html.EscapeString(snap.Node))
	}
	b.WriteString("</p>\n")
	switch {
	case s.opt.Snapshot == nil:
		b.WriteString("<p>This server measures nothing: it shows what a Prometheus holds.</p>\n")
	case snap == nil:
		b.WriteString("<p>The first tick is not complete.</p>\n")
	default:
		writeState(&b, snap)
	}
	b.WriteString("<ul>\n<li><a href=\"./\">the page</a>: with history, for browsers that run scripts</li>\n")
	if s.opt.Snapshot != nil {
		b.WriteString(`<li><a href="metrics">/metrics</a>: for Prometheus</li>
<li><a href="api/noether/v1/snapshot">/api/noether/v1/snapshot</a>: the last tick as JSON</li>
`)
	}
	b.WriteString(`<li><a href="healthz">/healthz</a>: is all well?</li>
<li><a href="readyz">/readyz</a>: are there figures?</li>
</ul>
</body></html>
`)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(b.String())) // likewise
}

func writeState(b *strings.Builder, s *snapshot.Snapshot) {
	fmt.Fprintf(b, "<p>Tick %d at %s, over %s. Usage by %s, divided by policy %s.</p>\n",
		s.Seq, s.Time.UTC().Format(time.RFC3339), s.Elapsed.Round(time.Millisecond), html.EscapeString(or(s.Self.Usage, "nothing yet")), html.EscapeString(or(s.Self.Policy, "none")))
	b.WriteString("<table>\n<caption>This machine</caption>\n<tr><th>component</th><th>watts</th><th>between</th><th>joules since start</th><th>quality</th></tr>\n")
	for i := range s.Nodes {
		n := &s.Nodes[i]
		watts, between := "no datum", ""
		if n.Present && s.Elapsed > 0 {
			watts = inWatts(n.Delta[energy.Dynamic]+n.Delta[energy.Idle], s.Elapsed)
			for j := range s.Bands {
				if d := &s.Bands[j]; d.Component == n.Component && d.Present {
					between = inWatts(d.LowDelta, s.Elapsed) + " and " + inWatts(d.HighDelta, s.Elapsed)
				}
			}
		}
		joules := (n.Total[energy.Dynamic] + n.Total[energy.Idle]).AppendJoules(nil)
		fmt.Fprintf(b, "<tr><td>%s</td><td class=n>%s</td><td class=n>%s</td><td class=n>%s</td><td>%s</td></tr>\n", n.Component, watts, between, joules, n.Quality)
	}
	b.WriteString("</table>\n<table>\n<caption>Sensors</caption>\n<tr><th>sensor</th><th>status</th><th>why</th><th>remedy</th></tr>\n")
	for _, v := range s.Sensors {
		fmt.Fprintf(b, "<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", html.EscapeString(v.Name), v.Status, html.EscapeString(v.Reason), html.EscapeString(v.Remedy))
	}
	b.WriteString("</table>\n")
}

func inWatts(e unit.Energy, elapsed time.Duration) string {
	return strconv.FormatFloat(e.Over(elapsed).Watts(), 'f', 3, 64)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
