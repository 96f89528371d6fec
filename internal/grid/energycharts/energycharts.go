// Package energycharts reads the average carbon intensity of European countries
// from Energy-Charts of the Fraunhofer Institute for Solar Energy Systems
// (https://api.energy-charts.info, attribution: Energy-Charts.info, CC BY 4.0).
// It needs no key, and is careful with a service that allows two requests a
// minute: no question costs more than one for each 90 days.
//
// Zones are countries (DE, FR, GB). The service has no values of parts of a
// country, such as SE-SE3, and a country's value is not passed off as theirs.
//
// The service calls its values CO2 equivalents and does not name the factors
// behind them. They are taken to be of the whole life cycle of the plants, which
// is what their size suggests in countries that burn little. No other factor
// can be asked for.
package energycharts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
)

// Name is that of the provider in settings and labels.
const Name = "energy-charts"

const (
	base = "https://api.energy-charts.info"
	// step is the usual length of a value, and that of a single one.
	step = 15 * time.Minute
	// longest is what one request may span, so that the answer stays below half
	// of what is read.
	longest = 90 * 24 * time.Hour
	// lag is how far back a newest value is looked for.
	lag = 24 * time.Hour
)

// Options say whom to ask.
type Options struct {
	Base      string            // the service's own address if empty
	Transport http.RoundTripper // fetch's own if nil
	Now       func() time.Time  // time.Now if nil
	Factor    grid.Factor       // empty or grid.Lifecycle: the service has no other
}

// Provider asks Energy-Charts. It is safe for concurrent use.
type Provider struct {
	client *fetch.Client
	now    func() time.Time
}

// New returns a provider. It asks nobody yet.
func New(o Options) (*Provider, error) {
	if o.Factor != "" && o.Factor != grid.Lifecycle {
		return nil, fmt.Errorf("prepare to ask Energy-Charts: it counts emissions of the whole life cycle, not %q: choose the factor lifecycle, or another provider", o.Factor)
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the clock, unless a test has another
	}
	client, err := fetch.New(fetch.Options{Base: cmp.Or(o.Base, base), Transport: o.Transport, Now: o.Now})
	if err != nil {
		return nil, fmt.Errorf("prepare to ask Energy-Charts: %w", err)
	}
	return &Provider{client, o.Now}, nil
}

// Info tells what the values are.
func (p *Provider) Info() grid.Info {
	return grid.Info{Name: Name, Signal: grid.Average, Factor: grid.Lifecycle, Step: step}
}

// Latest returns the value of the present. Measured values come late, so it is
// usually what was expected; where the service expects nothing it is the newest
// value of the last day.
func (p *Provider) Latest(ctx context.Context, zone string) (grid.Sample, error) {
	now := p.now()
	samples, err := p.ask(ctx, zone, now.Add(-lag), now)
	if err != nil {
		return grid.Sample{}, err
	}
	samples = grid.Clip(samples, now.Add(-lag), now)
	if len(samples) == 0 {
		return grid.Sample{}, fmt.Errorf("zone %q: %w of the last %s", zone, grid.ErrNoData, lag)
	}
	return samples[len(samples)-1], nil
}

// Intensity returns what was measured or, where nothing is yet, expected.
func (p *Provider) Intensity(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	if now := p.now(); to.After(now) {
		to = now
	}
	return p.between(ctx, zone, from, to)
}

// Forecast returns what is expected: of today and, from the evening on, of
// tomorrow. What has been measured already is as it was.
func (p *Provider) Forecast(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	return p.between(ctx, zone, from, to)
}

func (p *Provider) between(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	if _, err := country(zone); err != nil {
		return nil, err
	}
	if from.After(to) {
		return nil, nil
	}
	spans, err := grid.Spans(from, to.Add(step), longest)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", zone, err)
	}
	var samples []grid.Sample
	for _, s := range spans {
		part, err := p.ask(ctx, zone, s.From, s.To)
		if err != nil {
			return nil, err
		}
		samples = append(samples, part...)
	}
	if samples, err = grid.Tidy(samples); err != nil {
		return nil, fmt.Errorf("zone %q: %w", zone, err)
	}
	return grid.Clip(samples, from, to), nil
}

// country returns the service's code of a zone.
func country(zone string) (string, error) {
	switch zone {
	case "GB":
		return "uk", nil
	case "GB-NIR":
		return "nie", nil
	}
	if len(zone) == 2 && strings.Trim(zone, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
		return strings.ToLower(zone), nil
	}
	return "", fmt.Errorf("zone %q: %w: Energy-Charts has whole countries of Europe (DE, FR, GB)", fetch.Quote(zone, 80), grid.ErrUnknownZone)
}

func (p *Provider) ask(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	code, err := country(zone)
	if err != nil {
		return nil, err
	}
	var a answer
	err = p.client.JSON(ctx, "co2eq", url.Values{"country": {code}, "start": {write(from)}, "end": {write(to.Add(step))}}, nil, &a)
	if s, ok := errors.AsType[*fetch.StatusError](err); ok && s.Status == http.StatusBadRequest {
		return nil, fmt.Errorf("zone %q: %w: %w", zone, err, grid.ErrUnknownZone) // the one parameter that can be wrong
	}
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", zone, err)
	}
	samples, err := a.samples()
	if err != nil {
		return nil, fmt.Errorf("zone %q: read what Energy-Charts says: %w", zone, err)
	}
	return samples, nil
}

// write gives the start of the quarter of an hour that t is in.
func write(t time.Time) string { return t.UTC().Truncate(step).Format("2006-01-02T15:04Z") }

// answer has a time, a measured and an expected value at each index. At most
// one of the values is set.
type answer struct {
	UnixSeconds   []int64    `json:"unix_seconds"`
	CO2eq         []*float64 `json:"co2eq"`          // gCO2e/kWh
	CO2eqForecast []*float64 `json:"co2eq_forecast"` // gCO2e/kWh
}

// lastSecond is 2200-01-01: what is later is no number of seconds.
const lastSecond = 7258118400

func (a answer) samples() ([]grid.Sample, error) {
	if a.UnixSeconds == nil || a.CO2eq == nil && a.CO2eqForecast == nil {
		return nil, fmt.Errorf("the list of times or of values is missing: %w", grid.ErrNoData)
	}
	n := len(a.UnixSeconds)
	for _, values := range [][]*float64{a.CO2eq, a.CO2eqForecast} {
		if values != nil && len(values) != n {
			return nil, fmt.Errorf("there are %d values for %d times", len(values), n)
		}
	}
	length, err := shortest(a.UnixSeconds)
	if err != nil {
		return nil, err
	}
	samples := make([]grid.Sample, 0, n)
	for i, seconds := range a.UnixSeconds {
		from := time.Unix(seconds, 0).UTC()
		s := grid.Sample{From: from, To: from.Add(length)}
		switch {
		case a.CO2eq != nil && a.CO2eq[i] != nil:
			s.Intensity = *a.CO2eq[i]
		case a.CO2eqForecast != nil && a.CO2eqForecast[i] != nil:
			s.Intensity, s.Estimated = *a.CO2eqForecast[i], true
		default:
			continue
		}
		samples = append(samples, s)
	}
	return grid.Tidy(samples)
}

// shortest returns the smallest distance between two times, which is how long
// each value holds: a longer one is a hole. It is an hour at most.
func shortest(seconds []int64) (time.Duration, error) {
	length := time.Hour
	if len(seconds) < 2 {
		length = step
	}
	for i, s := range seconds {
		if s < 0 || s >= lastSecond {
			return 0, fmt.Errorf("%d is no time in seconds", s)
		}
		if i == 0 {
			continue
		}
		d := time.Duration(s-seconds[i-1]) * time.Second
		if d <= 0 {
			return 0, fmt.Errorf("the times are not in order: %d follows %d", s, seconds[i-1])
		}
		length = min(length, d)
	}
	return length, nil
}
