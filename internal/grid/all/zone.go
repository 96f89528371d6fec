package all

import (
	"context"
	"fmt"
	"strings"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/regions"
)

// covers tells whether a provider may know a zone at all.
func (r *row) covers(zone string) error {
	if zone == "" || r.only == "" {
		return nil
	}
	where, err := resolve(zone)
	if err != nil {
		return fmt.Errorf("open the provider %s: %w", r.name, err)
	}
	if country, _, _ := strings.Cut(where, ":"); regions.CountryOf(country) != r.only {
		return fmt.Errorf("open the provider %s for %.40q: %w: it covers %s only: choose another provider for this zone", r.name, zone, grid.ErrUnknownZone, r.only)
	}
	return nil
}

// resolve returns the grid zone of a cloud's region, and others as they are.
// GB:SW1 is a postcode.
func resolve(zone string) (string, error) {
	if strings.HasPrefix(zone, "GB:") {
		return zone, nil
	}
	where, err := regions.Resolve(zone)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, grid.ErrUnknownZone)
	}
	return where, nil
}

// resolved is a provider that is asked about grid zones only.
type resolved struct{ grid.Provider }

func (r *resolved) Latest(ctx context.Context, zone string) (grid.Sample, error) {
	where, err := resolve(zone)
	if err != nil {
		return grid.Sample{}, err
	}
	return r.Provider.Latest(ctx, where)
}

func (r *resolved) Intensity(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	where, err := resolve(zone)
	if err != nil {
		return nil, err
	}
	return r.Provider.Intensity(ctx, where, from, to)
}

func (r *resolved) Forecast(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	where, err := resolve(zone)
	if err != nil {
		return nil, err
	}
	return r.Provider.Forecast(ctx, where, from, to)
}
