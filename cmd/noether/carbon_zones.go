package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"noether/internal/config"
	"noether/internal/grid/countries"
	"noether/internal/grid/regions"
	"noether/internal/grid/yearly"
)

func newCarbonZones(p *process) *cobra.Command {
	c := &carbonCommand{p: p}
	var o form
	var region string
	c.cmd = &cobra.Command{
		Use:   "zones [WORD...]",
		Short: "The grid zones that providers have, and those of cloud regions",
		Long: `zones lists the zones of the providers that are set: the countries of the yearly
table, those that an Electricity Maps key may ask for, and what the others cover.
Words choose: only lines that have each of them, in any case, are printed.

--region tells on which grid a region of a cloud provider hangs; without a name
behind the colon, all regions of that provider.`,
		Example: `  noether carbon zones germany
  noether carbon zones --region aws:eu-central-1
  noether carbon zones --region gcp:
  noether carbon zones --provider electricitymaps --token-file /etc/noether/electricitymaps.token US`,
		RunE: func(cmd *cobra.Command, words []string) error {
			if err := o.check(); err != nil {
				return err
			}
			cfg, warnings, err := config.Load(c.flags, p.env)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			log := newLogger(p.stderr, &cfg)
			for _, w := range warnings {
				log.Warn("settings", slog.String("warning", w))
			}
			if cmd.Flags().Changed("region") {
				places, err := findRegions(region)
				if err != nil {
					return err
				}
				return printZones(p, o, []string{"region", "zone", "city"}, places, words)
			}
			rows, err := c.zonesOf(cmd.Context(), &cfg, log)
			if err != nil {
				return err
			}
			return printZones(p, o, []string{"zone", "provider", "name"}, rows, words)
		},
	}
	f := c.cmd.Flags()
	f.StringVar(&region, "region", "", "PROVIDER:REGION of a cloud, such as aws:eu-central-1, or PROVIDER: for all of them")
	o.register(f)
	c.register(false, true)
	return c.cmd
}

// findRegions returns region, zone and city of what --region names.
func findRegions(s string) (rows [][]string, err error) {
	provider, name, ok := strings.Cut(s, ":")
	if ok && name != "" {
		place, err := regions.Zone(provider, name)
		if err != nil {
			return nil, err
		}
		return [][]string{regionRow(&place)}, nil
	}
	for _, place := range regions.All() {
		if s == "" || ok && place.Provider == provider || !ok && strings.EqualFold(place.Region, s) {
			rows = append(rows, regionRow(&place))
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("look up cloud region %q: no provider has it: write it like aws:eu-central-1, or aws: for all of one provider", s)
	}
	return rows, nil
}

func regionRow(p *regions.Place) []string {
	return []string{p.Provider + ":" + p.Region, p.Zone, p.City}
}

// printZones prints the rows that have each word.
func printZones(p *process, o form, head []string, rows [][]string, words []string) error {
	var chosen [][]string
	for _, row := range rows {
		line := strings.ToLower(strings.Join(row, " "))
		fits := true
		for _, w := range words {
			fits = fits && strings.Contains(line, strings.ToLower(w))
		}
		if fits {
			chosen = append(chosen, row)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no zone has %q: the countries of the yearly table have two letters, such as DE", strings.Join(words, " "))
	}
	switch {
	case o.json:
		enc := json.NewEncoder(p.stdout)
		for _, row := range chosen {
			line := map[string]string{}
			for i, name := range head {
				line[name] = row[i]
			}
			if err := enc.Encode(line); err != nil {
				return err
			}
		}
		return nil
	case o.csv:
		w := csv.NewWriter(p.stdout)
		_ = w.Write(head)      // Error tells
		_ = w.WriteAll(chosen) // likewise
		return w.Error()
	}
	title := make([]string, len(head))
	for i := range head {
		title[i] = strings.ToUpper(head[i])
	}
	return table(p.stdout, append([][]string{title}, chosen...))
}

// zonesOf returns zone, provider and name of what the providers that are set
// have. One that fails leaves the others.
func (c *carbonCommand) zonesOf(ctx context.Context, cfg *config.Config, log *slog.Logger) (rows [][]string, err error) {
	var problems []error
	for _, link := range cfg.Grid.Chain() {
		switch link.Name {
		case "yearly":
			for _, r := range yearly.All() {
				rows = append(rows, []string{r.Zone, "yearly", fmt.Sprintf("%s (%s), %s gCO2e/kWh", countries.Name(r.Zone), r.Alpha3, exact(r.Intensity))})
			}
		case "electricitymaps":
			maps, err := openElectricityMaps(c.p, cfg, link, c.now)
			if err != nil {
				return nil, err
			}
			zones, err := maps.Zones(ctx)
			if err != nil {
				problems = append(problems, fmt.Errorf("electricitymaps: %w", err))
				continue
			}
			for _, z := range zones {
				rows = append(rows, []string{z.Key, link.Name, z.Name})
			}
		default:
			rows = append(rows, []string{"-", link.Name, covers(link.Name)})
		}
	}
	err = errors.Join(problems...)
	if len(rows) > 0 && err != nil {
		log.WarnContext(ctx, "a provider has no answer", slog.Any("error", err))
		err = nil
	}
	return rows, err
}

// covers says in words what a provider has that publishes no list.
func covers(provider string) string {
	switch provider {
	case "neso":
		return "Great Britain (GB) and its regions (GB-1 to GB-17)"
	case "energy-charts":
		return "countries of Europe, by their two letters"
	case "rte":
		return "France (FR)"
	case "entsoe":
		return "bidding zones of Europe, such as DE, FR, SE-SE3"
	case "watttime":
		return "balancing authorities of the world; ask by zone or by LAT,LON"
	case "hub":
		return "the zones of the exporter: see the page at its address"
	default:
		return "any zone"
	}
}
