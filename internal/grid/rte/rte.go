// Package rte asks for the carbon intensity of France as its transmission
// operator RTE states it (éCO2mix), through the portal ODRÉ, without a key
// (https://odre.opendatasoft.com, Explore API v2.1, Licence Ouverte 2.0).
//
// The figure counts what French plants emit when they burn fuel, every quarter
// of an hour: direct emissions, no imports, some 30 g/kWh below lifecycle
// figures. There is no forecast, and no other country.
package rte

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
	"noether/internal/grid/regions"
)

const (
	base = "https://odre.opendatasoft.com/api/explore/v2.1/catalog/datasets/eco2mix-national-tr"
	step = 15 * time.Minute
	// The portal keeps the recent past in this data set; a longer time asked
	// for is a mistake and would be a large answer.
	most = 62 * 24 * time.Hour
)

// Options of a provider; the zero value asks the portal.
type Options struct {
	Base      string            // address of the data set, for tests
	Transport http.RoundTripper // for tests
	Now       func() time.Time  // time.Now if nil
}

// Provider asks the portal at each call. It is safe for concurrent use.
type Provider struct{ client *fetch.Client }

var _ grid.Provider = (*Provider)(nil)

// New returns a provider. It opens no connection.
func New(o Options) (*Provider, error) {
	client, err := fetch.New(fetch.Options{Base: cmp.Or(o.Base, base), Transport: o.Transport, Now: o.Now})
	if err != nil {
		return nil, err
	}
	return &Provider{client}, nil
}

// Info returns what éCO2mix is.
func (p *Provider) Info() grid.Info {
	return grid.Info{Name: "rte", Signal: grid.Average, Factor: grid.Direct, Step: step}
}

func check(zone string) error {
	resolved, err := regions.Resolve(zone)
	if err != nil {
		return fmt.Errorf("%w: %w", err, grid.ErrUnknownZone)
	}
	if resolved != "FR" {
		return fmt.Errorf("ask RTE about zone %q: it knows FR only: %w", zone, grid.ErrUnknownZone)
	}
	return nil
}

// The portal also has a row for each quarter of an hour to come, without value.
const known = "taux_co2 is not null"

func query(where, order string) url.Values {
	return url.Values{"select": {"date_heure,taux_co2"}, "where": {where}, "order_by": {order}, "timezone": {"UTC"}}
}

// Latest returns the newest quarter of an hour with a value.
func (p *Provider) Latest(ctx context.Context, zone string) (grid.Sample, error) {
	if err := check(zone); err != nil {
		return grid.Sample{}, err
	}
	q := query(known, "date_heure desc")
	q.Set("limit", "1")
	body, err := p.client.Get(ctx, "records", q, nil)
	if err != nil {
		return grid.Sample{}, err
	}
	var answer struct {
		Results []record `json:"results"`
	}
	samples, err := parse(body, &answer, &answer.Results)
	if err == nil && len(samples) == 0 {
		err = grid.ErrNoData
	}
	if err != nil {
		return grid.Sample{}, fmt.Errorf("read RTE's newest value: %w", err)
	}
	return samples[len(samples)-1], nil
}

// Intensity returns the quarters of an hour that reach into [from, to].
func (p *Provider) Intensity(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	if err := check(zone); err != nil {
		return nil, err
	}
	if to.Sub(from) > most {
		return nil, fmt.Errorf("ask RTE about %s to %s: that is more than %d days at once: ask for less", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), most/(24*time.Hour))
	}
	// A literal without offset is in the time zone of the request or of the
	// portal: a few hours more are asked for, and what is too much is left out.
	const margin = 3 * time.Hour
	const layout = "2006-01-02T15:04:05"
	where := fmt.Sprintf("%s and date_heure >= date'%s' and date_heure <= date'%s'", known, from.UTC().Add(-margin).Format(layout), to.UTC().Add(margin).Format(layout))
	body, err := p.client.Get(ctx, "exports/json", query(where, "date_heure"), nil)
	if err != nil {
		return nil, err
	}
	var answer []record
	samples, err := parse(body, &answer, &answer)
	if err == nil && len(samples) == 0 {
		err = grid.ErrNoData
	}
	if err != nil {
		return nil, fmt.Errorf("read RTE's values of %s to %s: %w", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), err)
	}
	return grid.Clip(samples, from, to), nil
}

// Forecast returns ErrNoForecast.
func (p *Provider) Forecast(context.Context, string, time.Time, time.Time) ([]grid.Sample, error) {
	return nil, fmt.Errorf("ask RTE for a forecast: it has none of emissions: %w", grid.ErrNoForecast)
}

type record struct {
	Time  time.Time `json:"date_heure"` // where the quarter of an hour begins, with an offset
	Value *float64  `json:"taux_co2"`
}

// parse decodes body into dst, of which records is a part, and returns its
// samples by time. A value that cannot be one costs its quarter of an hour only.
func parse(body []byte, dst any, records *[]record) ([]grid.Sample, error) {
	if err := json.Unmarshal(body, dst); err != nil {
		return nil, errors.New("the answer is not the JSON that is documented")
	}
	if *records == nil {
		return nil, errors.New("the answer has no records")
	}
	var samples []grid.Sample
	for _, r := range *records {
		// France never runs without any fire: 0 stands for a value that is missing.
		if r.Value == nil || *r.Value == 0 || grid.Check(*r.Value) != nil || r.Time.IsZero() {
			continue
		}
		from := r.Time.UTC().Truncate(step)
		samples = append(samples, grid.Sample{From: from, To: from.Add(step), Intensity: *r.Value})
	}
	slices.SortStableFunc(samples, func(a, b grid.Sample) int { return a.From.Compare(b.From) })
	return slices.CompactFunc(samples, func(a, b grid.Sample) bool { return a.From.Equal(b.From) }), nil
}
