// Package series reads carbon intensities that somebody else writes into a
// Prometheus: Noether, an exporter of a provider, a recording rule.
package series

import (
	"context"
	"fmt"
	"time"

	"noether/internal/grid"
	"noether/internal/promclient"
)

// Source asks one Prometheus. It is safe for concurrent use.
type Source struct {
	Client    *promclient.Client
	Metric    string               // gauge in gCO2e/kWh
	ZoneLabel string               // the label that names the zone
	Matchers  []promclient.Matcher // what chooses one of several series of a zone
	MaxAge    time.Duration        // how long a sample holds if none follows
}

// Intensity returns the stored samples of the one series of zone, each until
// the next but not longer than MaxAge.
func (s *Source) Intensity(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	selector := promclient.Selector(s.Metric, append([]promclient.Matcher{{Label: s.ZoneLabel, Op: "=", Value: zone}}, s.Matchers...)...)
	series, warnings, err := s.Client.Raw(ctx, selector, from.Add(-s.MaxAge), to)
	switch {
	case err != nil:
		return nil, err
	case len(warnings) > 0:
		return nil, fmt.Errorf("the answer to %s may not be whole: %s", selector, warnings[0])
	case len(series) == 0:
		return nil, fmt.Errorf("no series %s at %s between %s and %s", selector, s.Client.URL(), from.Add(-s.MaxAge).UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
	case len(series) > 1:
		return nil, fmt.Errorf("%s has several series, such as %s and %s: choose one by matchers", selector, series[0].Labels, series[1].Labels)
	}
	points := series[0].Samples
	out := make([]grid.Sample, len(points))
	for i, p := range points {
		if err := grid.Check(p.V); err != nil {
			return nil, fmt.Errorf("%s at %s: %w", series[0].Labels, time.UnixMilli(p.T).UTC().Format(time.RFC3339), err)
		}
		end := time.UnixMilli(p.T).Add(s.MaxAge)
		if i+1 < len(points) && time.UnixMilli(points[i+1].T).Before(end) {
			end = time.UnixMilli(points[i+1].T)
		}
		out[i] = grid.Sample{From: time.UnixMilli(p.T), To: end, Intensity: p.V}
	}
	return out, nil
}
