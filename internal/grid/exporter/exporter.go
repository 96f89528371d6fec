// Package exporter is what noether carbon exporter shows of the carbon
// intensity of grid zones: metrics for Prometheus, and JSON for agents and
// scripts. One such hub asks the providers, so that not every node has to.
//
// It refuses to ask anybody: a request shows what is known by now.
package exporter

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"noether/internal/grid"
)

// Zone is what is known of one grid zone. It is immutable.
type Zone struct {
	Zone     string
	Provider string // who said Now; "" while nobody has answered
	Signal   grid.Signal
	Factor   grid.Factor
	// Now holds at this time; it is a figure if Known. Updated is when it was
	// fetched, zero for what is built in.
	Known   bool
	Now     grid.Sample
	Updated time.Time
	// Past and Forecast are ordered by time and without overlap.
	Past, Forecast []grid.Sample
	// ForecastBy is who forecast, if that is not Provider.
	ForecastBy string
	Sources    []Source
}

// Source is how one provider of a zone is doing.
type Source struct {
	Name               string
	Up                 bool // its last answer was one
	Requests, Failures uint64
	Success            time.Time // of the last answer; zero if there was none
}

// Options say what is shown.
type Options struct {
	// Zones returns what is known by now. It does not block.
	Zones                                  []func() Zone
	Names                                  []string // of the zones, in the same order
	Now                                    func() time.Time
	Version, Revision, GoVersion, OS, Arch string
}

// ForecastPath is where what is known of a zone is found as JSON.
const ForecastPath = "/api/noether/v1/forecast"

// New returns the handler of all pages.
func New(o Options) http.Handler {
	e := &exporter{Options: o, started: o.Now()}
	registry := prometheus.NewRegistry()
	registry.MustRegister(e) // fails on descriptions that contradict each other only
	mux := http.NewServeMux()
	mux.Handle("/metrics", get(promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP))
	mux.Handle(ForecastPath, get(e.forecast))
	mux.Handle("/healthz", get(func(w http.ResponseWriter, _ *http.Request) { text(w, "healthy\n") }))
	mux.Handle("/readyz", get(e.readyz))
	mux.Handle("/{$}", get(e.index))
	return mux
}

type exporter struct {
	Options
	started time.Time
}

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

func text(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(s)) // the client has gone; nobody is left to tell
}

// readyz tells whether there is a figure for any zone: one zone whose provider
// is away does not keep agents of other zones from theirs. A figure that stands
// in is none before the provider was asked: agents would hold it for minutes.
func (e *exporter) readyz(w http.ResponseWriter, _ *http.Request) {
	for _, zone := range e.Zones {
		z := zone()
		if asked := len(z.Sources) == 0 || z.Sources[0].Requests > 0; z.Known && asked {
			text(w, "ready\n")
			return
		}
	}
	http.Error(w, "not ready: no provider has answered for any zone", http.StatusServiceUnavailable)
}

// Answer is the JSON document of one zone.
type Answer struct {
	Zone     string      `json:"zone"`
	Provider string      `json:"provider"`
	Signal   grid.Signal `json:"signal"`
	Factor   grid.Factor `json:"factor"`
	Updated  *time.Time  `json:"updated,omitempty"` // of now; absent for what is built in
	Now      *Sample     `json:"now"`               // null: not known
	// ForecastProvider is who forecast; it may be another than Provider.
	ForecastProvider string   `json:"forecast_provider,omitempty"`
	Past             []Sample `json:"past"`
	Forecast         []Sample `json:"forecast"`
}

// Sample is the intensity during [From, To), in gCO2e/kWh.
type Sample struct {
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Intensity float64   `json:"grams_per_kwh"`
	Estimated bool      `json:"estimated"`
}

// Samples converts what is known to what is written.
func Samples(in []grid.Sample) []Sample {
	out := make([]Sample, len(in))
	for i, s := range in {
		out[i] = Sample{s.From.UTC(), s.To.UTC(), s.Intensity, s.Estimated}
	}
	return out
}

// AnswerOf returns what is written about a zone.
func AnswerOf(z *Zone) Answer {
	a := Answer{Zone: z.Zone, Provider: z.Provider, Signal: z.Signal, Factor: z.Factor, ForecastProvider: z.ForecastBy, Past: Samples(z.Past), Forecast: Samples(z.Forecast)}
	if z.Known {
		a.Now = &Samples([]grid.Sample{z.Now})[0]
	}
	if !z.Updated.IsZero() {
		updated := z.Updated.UTC()
		a.Updated = &updated
	}
	return a
}

func (e *exporter) forecast(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query()["zone"]
	if len(asked) > 1 || len(asked) == 0 && len(e.Names) != 1 {
		http.Error(w, "ask for one zone: "+ForecastPath+"?zone=ZONE, of "+strings.Join(e.Names, ", "), http.StatusBadRequest)
		return
	}
	i := 0
	if len(asked) == 1 {
		if i = slices.Index(e.Names, asked[0]); i < 0 {
			http.Error(w, "this exporter does not have that zone: it has "+strings.Join(e.Names, ", ")+"; add others with --zone", http.StatusNotFound)
			return
		}
	}
	z := e.Zones[i]()
	a := AnswerOf(&z)
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	_ = enc.Encode(a) // likewise
}

func (e *exporter) index(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\"><title>Noether carbon exporter</title></head><body>\n<h1>Noether carbon exporter</h1>\n<p>Version %s</p>\n<ul>\n", html.EscapeString(e.Version))
	for i, zone := range e.Zones {
		z := zone()
		state := "not known yet"
		if z.Known {
			state = strconv.FormatFloat(z.Now.Intensity, 'f', -1, 64) + " gCO2e/kWh by " + html.EscapeString(z.Provider)
			if z.Now.Estimated {
				state += ", estimated"
			}
		}
		name := html.EscapeString(e.Names[i])
		fmt.Fprintf(&b, "<li><a href=\"%s?zone=%s\">%s</a>: %s</li>\n", ForecastPath, name, name, state)
	}
	b.WriteString("</ul>\n<p><a href=\"/metrics\">/metrics</a> <a href=\"/healthz\">/healthz</a> <a href=\"/readyz\">/readyz</a></p>\n</body></html>\n")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(b.String())) // likewise
}
