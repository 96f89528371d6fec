package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"noether/internal/config"
	"noether/internal/grid"
	"noether/internal/grid/electricitymaps"
	"noether/internal/grid/watch"
	"noether/internal/site"
)

// place is a zone with whom to ask about it.
type place struct {
	zone  string
	chain []grid.Provider // in the order in which they are asked
	floor grid.Provider   // stands in if none of them answers; nil if there is none
}

// openPlace returns the zone that is set or found, and its providers. It opens
// no connection.
func openPlace(p *process, cfg *config.Config, now func() time.Time) (place, error) {
	locate := site.Locate{Zone: cfg.Grid.Zone, Root: cfg.Root}
	if needsNoZone(cfg) {
		locate.Anywhere = nowhere
	}
	found := locate.Find()
	if found.Zone == "" {
		return place{}, &exitError{exitUsage, fmt.Errorf("find the grid zone of this machine: %s: set --zone ZONE, such as DE or US-CAL-CISO (noether carbon zones lists them)", found.From)}
	}
	client, err := openPrometheus(p, cfg)
	if err != nil {
		return place{}, err
	}
	at := place{zone: found.Zone}
	if at.chain, err = openChain(p, cfg, client, now); err != nil {
		return place{}, err
	}
	if err := checkChain(at.chain); err != nil {
		return place{}, &exitError{exitUsage, err}
	}
	at.floor = floor(at.zone)
	return at, nil
}

// checkChain refuses providers that count different things: what one of them
// says does not stand in for what another does.
func checkChain(chain []grid.Provider) error {
	if len(chain) == 0 {
		return errors.New("ask for the carbon intensity: no provider is set: set --provider")
	}
	first := chain[0].Info()
	for _, p := range chain[1:] {
		if i := p.Info(); i.Signal != first.Signal || i.Factor != first.Factor {
			return fmt.Errorf("ask for the carbon intensity: %s gives %s, %s values and %s %s, %s ones: a chain has one signal and one factor: leave one of them out",
				first.Name, first.Signal, first.Factor, i.Name, i.Signal, i.Factor)
		}
	}
	return nil
}

// asked returns whom to ask in turn, and whether the last stands in only.
func (at *place) asked() (chain []grid.Provider, standIn bool) {
	if at.floor == nil {
		return at.chain, false
	}
	first, last, floor := at.chain[0].Info(), at.chain[len(at.chain)-1].Info(), at.floor.Info()
	if last.Name == floor.Name || floor.Signal != first.Signal || floor.Factor != first.Factor {
		return at.chain, false
	}
	return append(slices.Clip(at.chain), at.floor), true
}

func (at *place) watch(now func() time.Time, log *slog.Logger) (*watch.Watch, error) {
	return watch.New(watch.Options{Zone: at.zone, Links: at.chain, Floor: at.floor, Now: now, Log: log})
}

// openElectricityMaps returns the provider that lists zones.
func openElectricityMaps(p *process, cfg *config.Config, link config.Link, now func() time.Time) (*electricitymaps.Provider, error) {
	provider, err := openProvider(p, cfg, link, nil, now)
	if err != nil {
		return nil, err
	}
	maps, ok := provider.(*electricitymaps.Provider)
	if !ok {
		return nil, fmt.Errorf("list the zones of %s: it lists none", link.Name)
	}
	return maps, nil
}
