package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"noether/internal/agent"
	"noether/internal/config"
	"noether/internal/grid"
	"noether/internal/grid/watch"
	"noether/internal/probe"
	"noether/internal/promclient"
	"noether/internal/site"
	"noether/internal/site/embodied"
)

// siteSettings are the flags that say what surrounds the machine.
func siteSettings() []string {
	return []string{
		"grid.zone", "grid.provider", "grid.token-file", "grid.hub", "grid.query", "grid.factor", "grid.allow-estimates", "prometheus-url",
		"pue", "embodied.kg", "embodied.instance", "embodied.years", "server-overhead", "network.kwh-per-gb", "disk.kwh-per-gb",
		"price.per-kwh", "price.currency",
	}
}

const (
	// nodeWait is how long check waits for the names of the machine's node.
	nodeWait = 5 * time.Second
	// siteWait is how long it waits for each provider and query.
	siteWait = 15 * time.Second
)

// siteProbe finds out what would be known about the machine's surroundings.
type siteProbe struct {
	p      *process
	cfg    *config.Config
	clock  agent.Clock
	client *promclient.Client
	place  site.Place
	list   []probe.Verdict
}

// probeSite asks each source of carbon intensity, PUE and price once, if the
// settings name it. With the settings of a user who said nothing it asks nobody.
func probeSite(ctx context.Context, p *process, cfg *config.Config, clock agent.Clock) []probe.Verdict {
	s := &siteProbe{p: p, cfg: cfg, clock: clock}
	client, err := openPrometheus(p, cfg)
	if err != nil {
		s.add("prometheus", probe.Broken, err.Error(), "")
	}
	s.client = client
	o, err := siteOptions(cfg, findNode(ctx, cfg, clock), client, clock.Wall)
	if err != nil {
		s.add("settings", probe.Broken, err.Error(), "")
		return s.list
	}
	s.place = o.Locate.Find()
	if s.place.Zone == "" {
		s.add("zone", probe.Absent, s.place.From+"; there is no CO2e of electricity", site.Remedy)
	} else {
		s.add("zone", probe.Works, fmt.Sprintf("%s (%s)", s.place.Zone, s.place.From), "")
	}
	s.providers(ctx)
	s.pue(ctx, &o)
	s.hardware(&o)
	s.price(ctx, &o)
	return s.list
}

func (s *siteProbe) add(name string, status probe.Status, reason, remedy string) {
	s.list = append(s.list, probe.Verdict{Name: name, Status: status, Reason: reason, Remedy: remedy})
}

// findNode returns what the orchestrator says about the machine, asked for a moment.
func findNode(ctx context.Context, cfg *config.Config, clock agent.Clock) func() site.Node {
	quiet := slog.New(slog.DiscardHandler)
	sources, err := openNames(cfg, quiet, clock)
	if err != nil {
		return nil
	}
	node := nodeOf(cfg, sources)
	if node == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, nodeWait)
	defer cancel()
	stop := runNames(ctx, quiet, sources)
	for !node().Known && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	found := node()
	_ = stop() // what they knew is all that was wanted
	return func() site.Node { return found }
}

// providers asks the links of the chain and, if none answers, says who stands in.
func (s *siteProbe) providers(ctx context.Context) {
	var links []grid.Provider
	opened, answered := true, false
	for _, l := range s.cfg.Grid.Chain() {
		provider, err := openProvider(s.p, s.cfg, l, s.client, s.clock.Wall)
		if err != nil {
			s.add(l.Name, probe.Broken, err.Error(), "")
			opened = false
			continue
		}
		links = append(links, provider)
		answered = s.provider(ctx, l, provider) || answered
	}
	if !opened || answered || s.place.Zone == "" {
		return
	}
	w, err := watch.New(watch.Options{Zone: s.place.Zone, Links: links, Floor: floor(s.place.Zone), Now: s.clock.Wall}) //nolint:contextcheck // it has one when it runs
	if err != nil {
		s.add("providers", probe.Broken, err.Error(), "")
		return
	}
	now, state := s.clock.Wall(), w.Latest()
	if v, ok := state.Between(now, now); ok {
		reason := intensityText(v.Intensity.GramsPerKWh(), state.Signal, state.Factor, v.Estimated)
		s.add(v.Provider, probe.Works, reason+"; it stands in until a provider answers", "")
	}
}

// intensityText writes an intensity and what it counts.
func intensityText(gramsPerKWh float64, signal grid.Signal, factor grid.Factor, estimated bool) string {
	text := fmt.Sprintf("%s gCO2e/kWh, %s, %s", decimal(gramsPerKWh, 1), signal, factor)
	if estimated {
		text += ", estimated"
	}
	return text
}

// provider asks one link of the chain, and tells whether it answers.
func (s *siteProbe) provider(ctx context.Context, link config.Link, provider grid.Provider) bool {
	if s.place.Zone == "" {
		s.add(link.Name, probe.Absent, "not asked: the grid zone is not known", "")
		return false
	}
	token := tokenOf(s.p, s.cfg, link.Name)
	ctx, cancel := context.WithTimeout(ctx, siteWait)
	defer cancel()
	sample, err := provider.Latest(ctx, s.place.Zone)
	if err != nil {
		status, remedy := probe.Broken, ""
		switch {
		case errors.Is(err, grid.ErrUnauthorized):
			status, remedy = probe.Forbidden, fmt.Sprintf("put a valid token into %s; does it include zone %s?", token.Where(), s.place.Zone)
		case errors.Is(err, grid.ErrUnknownZone):
			status, remedy = probe.Absent, "another --grid.provider, or another --grid.zone (noether carbon zones lists them)"
		}
		s.add(link.Name, status, err.Error(), remedy)
		return false
	}
	info := provider.Info()
	s.add(link.Name, probe.Works, intensityText(sample.Intensity, info.Signal, info.Factor, sample.Estimated || link.Name == "yearly"), token.Exposed())
	return true
}

// decimal writes v with at most digits behind the point.
func decimal(v float64, digits int) string {
	scale := math.Pow10(digits)
	return strings.TrimSuffix(fmt.Sprintf("%v", math.Round(v*scale)/scale), ".0")
}

func (s *siteProbe) pue(ctx context.Context, o *site.Options) {
	ratio, err := s.place.PUE()
	switch {
	case o.PUE.Query != "":
		s.query(ctx, o, "pue", o.PUE.Query, "", func(v string) error {
			_, err := site.ParsePUE(v)
			return err
		})
	case !o.PUE.Table && s.cfg.PUE == config.Default().PUE:
		remedy := "--pue VALUE, what the site uses for each unit that its machines use"
		if err == nil {
			remedy = fmt.Sprintf("--pue table, which has %s for %s", decimal(ratio.Float(), 3), s.place.Provider)
		}
		s.add("pue", probe.Works, "1: nothing is added for cooling and distribution", remedy)
	case !o.PUE.Table:
		s.add("pue", probe.Works, decimal(o.PUE.Fixed.Float(), 6)+", as set", "")
	case err != nil:
		s.add("pue", probe.Absent, err.Error()+"; 1 is used", "--pue VALUE, or --grid.zone aws:REGION, gcp:REGION, azure:REGION")
	default:
		s.add("pue", probe.Works, fmt.Sprintf("%s, as %s states", decimal(ratio.Float(), 3), s.place.Provider), "")
	}
}

func (s *siteProbe) hardware(o *site.Options) {
	setting, err := embodied.ParseSetting(s.cfg.Embodied.Kg)
	if err != nil {
		s.add("embodied", probe.Broken, err.Error(), "")
		return
	}
	found := embodied.Find(s.cfg.FS(), embodied.Options{Setting: setting, Instance: s.place.Instance, Lifetime: s.cfg.Embodied.Lifetime()})
	switch {
	case found.Known() && s.place.Zone == "" && !o.Always:
		s.add("embodied", probe.Absent, "not counted while the grid zone is not known: "+found.Why, "")
	case found.Known():
		reason := fmt.Sprintf("%s; over %s years", found.Why, decimal(s.cfg.Embodied.Years, 1))
		if found.Estimated {
			reason += "; estimated"
		}
		s.add("embodied", probe.Works, reason, "")
	case setting.Off:
		s.add("embodied", probe.Absent, found.Why, "")
	default:
		s.add("embodied", probe.Absent, found.Why, "--embodied.kg KG, what making this machine caused, or --embodied.instance TYPE")
	}
}

func (s *siteProbe) price(ctx context.Context, o *site.Options) {
	switch {
	case o.Price.Query != "":
		s.query(ctx, o, "price", o.Price.Query, " "+s.cfg.Currency, func(v string) error {
			_, err := site.ParsePrice(v)
			return err
		})
	case o.Price.Tariff != nil:
		now := s.clock.Wall()
		s.add("price", probe.Works, fmt.Sprintf("%s %s for each kWh now", decimal(o.Price.Tariff.At(now).Float(), 6), s.cfg.Currency), "")
	default:
		s.add("price", probe.Absent, "none is set: there is no cost", "--price.per-kwh 0.30 --price.currency EUR")
	}
}

// query asks once for a figure, which has to be one that the setting allows too.
func (s *siteProbe) query(ctx context.Context, o *site.Options, name, query, suffix string, allow func(string) error) {
	if o.Ask == nil {
		s.add(name, probe.Broken, "there is nobody to ask", "--prometheus-url URL")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, siteWait)
	defer cancel()
	v, err := o.Ask(ctx, query)
	if err != nil {
		s.add(name, probe.Broken, err.Error(), "")
		return
	}
	if err := allow(strconv.FormatFloat(v, 'f', -1, 64)); err != nil {
		s.add(name, probe.Broken, fmt.Sprintf("its query says %v, which %v", v, err), "")
		return
	}
	s.add(name, probe.Works, decimal(v, 6)+suffix+", by its query", "")
}
