// Package all is the table of the providers of carbon intensity: it opens one
// by the name that settings give it, and says what is missing if it cannot.
package all

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/electricitymaps"
	"noether/internal/grid/energycharts"
	"noether/internal/grid/entsoe"
	"noether/internal/grid/fetch"
	"noether/internal/grid/file"
	"noether/internal/grid/fixed"
	"noether/internal/grid/hub"
	"noether/internal/grid/neso"
	"noether/internal/grid/prometheus"
	"noether/internal/grid/rte"
	"noether/internal/grid/watttime"
	"noether/internal/grid/yearly"
	"noether/internal/promclient"
)

// Settings are what providers may need; each takes its own.
type Settings struct {
	// Zone is where the provider will be asked about: one that it never covers
	// is refused at once. It may be empty.
	Zone string
	// Factor is the one that values must have; if empty it is the provider's
	// own. Marginal signals have theirs.
	Factor         grid.Factor
	AllowEstimates bool                    // take what a provider has estimated itself
	Tokens         map[string]fetch.Secret // by the provider's name
	Hub            string                  // address of noether carbon exporter
	Query          string                  // PromQL
	Prometheus     *promclient.Client      // for Query; it makes one attempt, as others wait and repeat
	Now            func() time.Time        // time.Now if nil

	Transport http.RoundTripper // for tests: fetch's own if nil
	Base      string            // for tests: the service's own address if empty
}

// row is a provider.
type row struct {
	name string
	// token says what the file with its secret holds; "" if it needs none.
	token string
	// argument says what follows the name and a colon; "" if nothing does.
	argument string
	// resolves is set if the provider does not know regions of clouds, so that
	// its zones are looked up first.
	resolves bool
	// only is the one country that it covers; "" if there are several.
	only string
	open func(s Settings, argument string) (grid.Provider, error)
}

// table is in the order in which settings list the providers.
func table() []row {
	return []row{
		{name: electricitymaps.Name, token: "the key of an account", open: func(s Settings, _ string) (grid.Provider, error) {
			return electricitymaps.New(electricitymaps.Options{Base: s.Base, Transport: s.Transport, Now: s.Now, Token: s.Tokens[electricitymaps.Name], Factor: s.Factor, Estimates: s.AllowEstimates})
		}},
		{name: watttime.Name, token: "USER:PASSWORD of an account", resolves: true, open: func(s Settings, _ string) (grid.Provider, error) {
			return watttime.New(watttime.Options{Base: s.Base, Transport: s.Transport, Now: s.Now, Token: s.Tokens[watttime.Name]})
		}},
		{name: neso.Name, resolves: true, only: "GB", open: func(s Settings, _ string) (grid.Provider, error) {
			return neso.New(neso.Options{Base: s.Base, Transport: s.Transport, Now: s.Now})
		}},
		{name: energycharts.Name, resolves: true, open: func(s Settings, _ string) (grid.Provider, error) {
			return energycharts.New(energycharts.Options{Base: s.Base, Transport: s.Transport, Now: s.Now})
		}},
		{name: "rte", only: "FR", open: func(s Settings, _ string) (grid.Provider, error) {
			return rte.New(rte.Options{Base: s.Base, Transport: s.Transport, Now: s.Now})
		}},
		{name: "entsoe", token: "a security token", open: func(s Settings, _ string) (grid.Provider, error) {
			return entsoe.New(entsoe.Options{Base: s.Base, Transport: s.Transport, Now: s.Now, Token: s.Tokens["entsoe"], Factor: s.Factor})
		}},
		{name: "prometheus", open: func(s Settings, _ string) (grid.Provider, error) {
			return prometheus.New(prometheus.Options{Client: s.Prometheus, Query: s.Query, Factor: s.Factor, Now: s.Now})
		}},
		{name: "file", argument: "PATH", open: func(s Settings, path string) (grid.Provider, error) {
			return file.NewProvider(file.Options{Path: path, Factor: s.Factor, Now: s.Now})
		}},
		{name: "fixed", argument: "GRAMS", open: func(s Settings, grams string) (grid.Provider, error) {
			v, err := strconv.ParseFloat(grams, 64)
			if err != nil {
				return nil, fmt.Errorf("take a fixed carbon intensity: %.40q is no number of gCO2e/kWh: write it like fixed:380", grams)
			}
			return fixed.New(fixed.Options{Intensity: v, Factor: s.Factor})
		}},
		{name: "yearly", open: func(Settings, string) (grid.Provider, error) {
			return yearly.New(yearly.Options{})
		}},
		{name: "hub", open: func(s Settings, _ string) (grid.Provider, error) {
			if s.Hub == "" {
				return nil, errors.New("use a hub for the carbon intensity: it has no address: set --grid.hub URL")
			}
			return hub.New(hub.Options{Base: s.Hub, Transport: s.Transport, Now: s.Now, Token: s.Tokens["hub"], Factor: s.Factor})
		}},
	}
}

// Names returns the names of the providers, as settings write them.
func Names() []string {
	var names []string
	for _, r := range table() {
		name := r.name
		if r.argument != "" {
			name += ":" + r.argument
		}
		names = append(names, name)
	}
	return names
}

// Open opens the provider that name says: NAME, fixed:GRAMS or file:PATH. It
// asks nobody.
func Open(name string, s Settings) (grid.Provider, error) {
	kind, argument, has := strings.Cut(name, ":")
	for _, r := range table() {
		if r.name != kind {
			continue
		}
		switch {
		case r.argument != "" && argument == "":
			return nil, fmt.Errorf("open the provider %s: it lacks its %s: write %[1]s:%[2]s", kind, r.argument)
		case r.argument == "" && has:
			return nil, fmt.Errorf("open the provider %s: nothing follows its name: write %[1]s without a colon", kind)
		case r.token != "" && s.Tokens[kind].IsZero():
			return nil, fmt.Errorf("open the provider %s: it has no credentials: put %s into a file that only you can read, and set --grid.token-file %[1]s=FILE", kind, r.token)
		}
		if err := r.covers(s.Zone); err != nil {
			return nil, err
		}
		p, err := r.open(s, argument)
		if err != nil {
			return nil, err
		}
		if info := p.Info(); s.Factor != "" && info.Signal == grid.Average && info.Factor != s.Factor {
			return nil, fmt.Errorf("open the provider %s: it publishes intensities with the factor %s only, not %s: set --grid.factor %[2]s, or choose another provider", kind, info.Factor, s.Factor)
		}
		if r.resolves {
			return &resolved{p}, nil
		}
		return p, nil
	}
	return nil, fmt.Errorf("open the provider %.60q: there is none of this name: choose from %s", name, strings.Join(Names(), ", "))
}

// Chain opens several providers in their order. A provider that cannot be
// opened is an error: a chain that silently lacks a link is not the one that
// was asked for.
func Chain(names []string, s Settings) ([]grid.Provider, error) {
	chain := make([]grid.Provider, 0, len(names))
	for _, name := range names {
		p, err := Open(name, s)
		if err != nil {
			return nil, err
		}
		chain = append(chain, p)
	}
	return chain, nil
}

// Floor returns the provider that always answers and asks nobody.
func Floor() (grid.Provider, error) { return yearly.New(yearly.Options{}) }
