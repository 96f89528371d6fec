// Package fixed is the provider for who knows the carbon intensity of their
// electricity as one number: a contract, an islanded plant, a what-if.
package fixed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"noether/internal/grid"
)

// Options are the number and what it counts.
type Options struct {
	Intensity float64     // gCO2e/kWh
	Factor    grid.Factor // lifecycle if empty
}

// Provider gives one average intensity for every zone and time.
type Provider struct {
	sample grid.Sample
	factor grid.Factor
}

// New returns the provider of a number.
func New(o Options) (*Provider, error) {
	if err := grid.Check(o.Intensity); err != nil {
		return nil, fmt.Errorf("take a fixed carbon intensity: %w", err)
	}
	if o.Intensity == 0 {
		return nil, errors.New("take a fixed carbon intensity: 0 gCO2e/kWh is no average of a grid: every plant takes something to build, so give its figure, such as 12")
	}
	// As far as times can be subtracted from each other.
	from := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	return &Provider{
		sample: grid.Sample{From: from, To: from.AddDate(290, 0, 0), Intensity: o.Intensity},
		factor: cmp.Or(o.Factor, grid.Lifecycle),
	}, nil
}

// Info implements grid.Provider.
func (p *Provider) Info() grid.Info {
	return grid.Info{Name: "fixed", Signal: grid.Average, Factor: p.factor}
}

// Intensity returns the number for all times.
func (p *Provider) Intensity(context.Context, string, time.Time, time.Time) ([]grid.Sample, error) {
	return []grid.Sample{p.sample}, nil
}

// Latest returns the number.
func (p *Provider) Latest(context.Context, string) (grid.Sample, error) { return p.sample, nil }

// Forecast returns the number: it does not change.
func (p *Provider) Forecast(context.Context, string, time.Time, time.Time) ([]grid.Sample, error) {
	return []grid.Sample{p.sample}, nil
}
