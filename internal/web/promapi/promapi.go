// Package promapi answers the HTTP API of Prometheus over a store of time
// series, with Prometheus' own query engine as a library: what Grafana, the
// page and the impact importer ask a Prometheus server, they can ask a lone
// agent.
//
// It refuses to write, to delete and to configure anything, to keep anything
// on disk, and to answer without bound: samples, time, queries at once,
// lengths and steps are limited, and what is too much is told how to ask for less.
package promapi

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/storage"

	"noether/internal/export"
)

// Limits bound what one server gives to queries. A zero means the default.
type Limits struct {
	Samples int           // held in memory by one query, 16 bytes each; 5 million
	Time    time.Duration // of one query; 20 s
	Queries int           // at once; 4
	Wait    time.Duration // for the next query, until it is sent away; 3 s
}

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
	Copy  func(family string) string
	About export.About
	// Now tells the time of queries that name none.
	Now    func() time.Time
	Log    *slog.Logger
	Limits Limits
}

// New returns the handler of /api/v1/ and /federate. It needs no closing.
func New(opt Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not yet", http.StatusServiceUnavailable)
	})
	return mux
}
