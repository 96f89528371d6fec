package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"noether/internal/config"
	"noether/internal/grid"
	"noether/internal/grid/all"
	secrets "noether/internal/grid/fetch"
	"noether/internal/grid/watch"
	identity "noether/internal/identity/all"
	"noether/internal/promclient"
	"noether/internal/site"
	"noether/internal/site/embodied"
	"noether/internal/snapshot"
)

// openSite returns what surrounds the machine, as far as it is known without
// asking anybody. It fails on settings that can never work.
func openSite(p *process, cfg *config.Config, node func() site.Node, log *slog.Logger, now func() time.Time) (*site.Site, error) {
	client, err := openPrometheus(p, cfg)
	if err != nil {
		return nil, err
	}
	links, err := openChain(p, cfg, client, now)
	if err != nil {
		return nil, err
	}
	o, err := siteOptions(cfg, node, client, now)
	if err != nil {
		return nil, err
	}
	warnExposed(p, cfg, log)
	o.Log = log
	o.Open = func(zone string) (*watch.Watch, error) {
		return watch.New(watch.Options{Zone: zone, Links: links, Floor: floor(zone), Now: now, Log: log})
	}
	return site.New(o)
}

// siteOptions returns what the settings say about the machine's surroundings,
// but for who watches the grid. Node may be nil, client only without a query.
func siteOptions(cfg *config.Config, node func() site.Node, client *promclient.Client, now func() time.Time) (o site.Options, err error) {
	if o.PUE, err = site.ParsePUE(cfg.PUE); err != nil {
		return o, fmt.Errorf("pue %w", err)
	}
	if cfg.Price != "" {
		if o.Price, err = site.ParsePrice(cfg.Price); err != nil {
			return o, fmt.Errorf("price.per-kwh %w", err)
		}
	}
	hardware, err := embodied.ParseSetting(cfg.Embodied.Kg)
	if err != nil {
		return o, err
	}
	o.Currency, o.Now = cfg.Currency, now
	o.Locate = site.Locate{Zone: cfg.Grid.Zone, Instance: cfg.Embodied.Instance, Node: node, Root: cfg.Root}
	if needsNoZone(cfg) {
		o.Locate.Anywhere = nowhere
	}
	o.Always = cfg.Price != "" || hardware.Mass > 0 || o.PUE.Query != "" || o.PUE.Fixed > 1_000_000
	if !hardware.Off {
		o.Hardware = func(instance string) snapshot.Hardware {
			return embodied.Find(cfg.FS(), embodied.Options{Setting: hardware, Instance: instance, Lifetime: cfg.Embodied.Lifetime()}).Hardware
		}
	}
	if client != nil {
		o.Ask = func(ctx context.Context, query string) (float64, error) { return askOne(ctx, client, query, now()) }
	}
	return o, nil
}

// nowhere is the grid zone of a machine whose place is not known and not needed.
const nowhere = "local"

// needsNoZone tells whether every provider answers without a zone.
func needsNoZone(cfg *config.Config) bool {
	return !slices.ContainsFunc(cfg.Grid.Chain(), func(l config.Link) bool {
		return l.Name != "fixed" && (l.Name != "prometheus" || strings.Contains(cfg.Grid.Query, "{zone}"))
	})
}

// floor is the provider that always answers: the yearly average of a country.
// It is nil where there is none.
func floor(zone string) grid.Provider {
	if zone == nowhere {
		return nil
	}
	p, err := all.Floor()
	if err != nil {
		return nil // a chain without a floor is one all the same
	}
	return p
}

// openChain returns the providers of the settings, in the order in which they
// are asked. It opens no connection. Client is the Prometheus, if there is one.
func openChain(p *process, cfg *config.Config, client *promclient.Client, now func() time.Time) (links []grid.Provider, err error) {
	for _, l := range cfg.Grid.Chain() {
		provider, err := openProvider(p, cfg, l, client, now)
		if err != nil {
			return nil, err
		}
		links = append(links, provider)
	}
	return links, nil
}

func openProvider(p *process, cfg *config.Config, l config.Link, client *promclient.Client, now func() time.Time) (grid.Provider, error) {
	zone := cfg.Grid.Zone
	if zone == site.Auto {
		zone = ""
	}
	return all.Open(l.String(), all.Settings{
		Zone: zone, Factor: grid.Factor(cfg.Grid.Factor), AllowEstimates: cfg.Grid.AllowEstimates,
		Tokens: map[string]secrets.Secret{l.Name: tokenOf(p, cfg, l.Name)},
		Hub:    cfg.Grid.Hub, Query: cfg.Grid.Query, Prometheus: client, Now: now, Transport: p.transport,
	})
}

// tokenOf returns the secret that a provider is asked with: of its file, or of
// the variable tokenVariable. It is zero if there is none.
func tokenOf(p *process, cfg *config.Config, provider string) secrets.Secret {
	if file := cfg.Grid.TokenFile(provider); file != "" {
		return secrets.File(file)
	}
	return secrets.Environment(p.getenv, tokenVariable(provider))
}

// warnExposed says which tokens every user of the machine can read.
func warnExposed(p *process, cfg *config.Config, log *slog.Logger) {
	for _, l := range cfg.Grid.Chain() {
		if why := tokenOf(p, cfg, l.Name).Exposed(); why != "" {
			log.Warn("a token is no secret", slog.String("provider", l.Name), slog.String("reason", why))
		}
	}
}

// tokenVariable returns the variable of the environment with a provider's token.
func tokenVariable(provider string) string { return strings.ToUpper(provider) + "_TOKEN" }

// openPrometheus returns the client for queries, nil if no setting names a server.
func openPrometheus(p *process, cfg *config.Config) (*promclient.Client, error) {
	if cfg.PrometheusURL == "" {
		return nil, nil
	}
	credentials, err := promclient.FromEnvironment(p.getenv, "PROMETHEUS")
	if err != nil {
		return nil, err
	}
	// The watch and the queries have a back-off of their own.
	return promclient.New(promclient.Options{
		URL: cfg.PrometheusURL, Credentials: credentials, UserAgent: "noether/" + build().version,
		Timeout: 10 * time.Second, MaxBytes: 4 << 20, Attempts: 1,
	})
}

// askOne evaluates a query that has one value.
func askOne(ctx context.Context, client *promclient.Client, query string, at time.Time) (float64, error) {
	series, _, err := client.Instant(ctx, query, at)
	switch {
	case err != nil:
		return 0, err
	case len(series) == 0:
		return 0, fmt.Errorf("ask Prometheus at %s: query %s has no value now", client.URL(), query)
	case len(series) > 1:
		return 0, fmt.Errorf("ask Prometheus at %s: query %s has %d values, such as %s and %s: make one of them, with avg(…) or a selector", client.URL(), query, len(series), series[0].Labels, series[1].Labels)
	}
	samples := series[0].Samples
	if len(samples) == 0 {
		return 0, errors.New("ask Prometheus: the answer is empty")
	}
	return samples[len(samples)-1].V, nil
}

// nodeOf returns what the sources of names say about this machine as a node;
// nil if none of them will.
func nodeOf(cfg *config.Config, sources []identity.Namer) func() site.Node {
	if cfg.Kube.Source == "off" {
		return nil
	}
	return func() site.Node {
		for _, s := range sources {
			if n := s.Latest().Node; n.Known {
				return site.Node(n)
			}
		}
		return site.Node{}
	}
}

// runSite lets the surroundings be asked about until stop is called, which
// waits until that has ended. Energy never waits for it.
func runSite(ctx context.Context, log *slog.Logger, s *site.Site) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil && ctx.Err() == nil {
			log.ErrorContext(ctx, "what surrounds this machine is not asked about any more", slog.Any("error", err))
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
