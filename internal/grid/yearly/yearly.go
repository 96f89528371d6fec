// Package yearly is the provider that always answers: the mean carbon intensity
// of the electricity that a country made in a year, out of a table in the
// binary. It asks nobody.
//
// The figures are Ember's, as in the npm package @tgwf/co2 (see NOTICE): lifecycle
// emissions of a country's own generation, imports and exports not counted. They
// are said of every time and of every part of the country, and so are always
// marked as estimated. A country that the table does not have is an error: the
// package refuses to take a neighbour's or the world's value for it.
package yearly

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/regions"
)

// Year is what most figures are about. The package does not tell the year of
// each: it has the newest that Ember knows, which for many small countries is
// 2022 or 2023 (data/output/average-intensities.json in the package's repository).
const Year = 2024

// Source names where the figures are from, for people.
const Source = "Ember, yearly electricity data, lifecycle, by country"

// Row is a country of the table.
type Row struct {
	Zone      string  // ISO 3166-1 alpha-2, as Electricity Maps names countries
	Alpha3    string  // ISO 3166-1 alpha-3
	Intensity float64 // gCO2e/kWh
}

// All returns the table, by zone.
func All() []Row {
	var all []Row
	for line := range strings.Lines(table) {
		if r, ok := parse(line); ok {
			all = append(all, r)
		}
	}
	return all
}

func parse(line string) (r Row, ok bool) {
	f := strings.Fields(line)
	if len(f) != 3 {
		return r, false
	}
	value, err := strconv.ParseFloat(f[2], 64)
	return Row{f[0], f[1], value}, err == nil
}

// Find returns the country that a zone lies in: a zone of Electricity Maps
// ("DE", and "US-CAL-CISO" in US), an ISO 3166-1 alpha-3 code ("DEU"), or a region
// of a cloud provider ("aws:eu-central-1").
func Find(zone string) (Row, error) {
	resolved, err := regions.Resolve(zone)
	if err != nil {
		return Row{}, fmt.Errorf("%w: %w", err, grid.ErrUnknownZone)
	}
	country := strings.ToUpper(regions.CountryOf(resolved))
	for line := range strings.Lines(table) {
		if r, ok := parse(line); ok && (r.Zone == country || r.Alpha3 == country) {
			return r, nil
		}
	}
	return Row{}, fmt.Errorf("look up the yearly average of zone %q: no country of the table has this code: set the zone by the code of its country, such as DE: %w", zone, grid.ErrUnknownZone)
}

// Options of a provider; there are none to choose.
type Options struct{}

// Provider answers out of the table. It is safe for concurrent use.
type Provider struct{}

var _ grid.Provider = (*Provider)(nil)

// New returns the provider.
func New(Options) (*Provider, error) { return &Provider{}, nil }

// Info returns what the table is: lifecycle averages.
func (p *Provider) Info() grid.Info {
	return grid.Info{Name: "yearly", Signal: grid.Average, Factor: grid.Lifecycle}
}

func sample(zone string) (grid.Sample, error) {
	r, err := Find(zone)
	if err != nil {
		return grid.Sample{}, err
	}
	return grid.Sample{
		From:      time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), // as far as times can be subtracted
		To:        time.Date(2190, 1, 1, 0, 0, 0, 0, time.UTC),
		Intensity: r.Intensity,
		Estimated: true,
	}, nil
}

// Intensity returns the one value of the zone, which is said of every time.
func (p *Provider) Intensity(_ context.Context, zone string, _, _ time.Time) ([]grid.Sample, error) {
	s, err := sample(zone)
	if err != nil {
		return nil, err
	}
	return []grid.Sample{s}, nil
}

// Latest returns the one value of the zone.
func (p *Provider) Latest(_ context.Context, zone string) (grid.Sample, error) { return sample(zone) }

// Forecast returns ErrNoForecast: a mean says nothing about better hours.
func (p *Provider) Forecast(_ context.Context, zone string, _, _ time.Time) ([]grid.Sample, error) {
	return nil, fmt.Errorf("forecast zone %q: a yearly average is the same at all times: %w", zone, grid.ErrNoForecast)
}
