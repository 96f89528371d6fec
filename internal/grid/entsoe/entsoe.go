// Package entsoe calculates the carbon intensity of European grid zones from
// what ENTSO-E's Transparency Platform says of their generation: actual
// generation per production type (document A75, process A16), weighted by
// emission factors of its own, which factors.go lists with their sources
// (https://web-api.tp.entsoe.eu/api, a free token by mail is needed).
//
// It is the mix that a zone makes, not the one it uses: imports are not
// counted, so the figure of a zone that imports much says little. There is no
// forecast. The token is part of the request's query and therefore of no error.
package entsoe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
	"noether/internal/grid/regions"
)

const (
	base = "https://web-api.tp.entsoe.eu/api"
	step = 15 * time.Minute
	// recent is how far back the newest value is looked for; areas report one to
	// many hours late.
	recent = 24 * time.Hour
	// chunk is asked for at once: a week of a large area is about 1 MB.
	chunk = 7 * 24 * time.Hour
	most  = 370 * 24 * time.Hour
	// ban is how long the platform answers nothing after too many requests (400
	// a minute), says its guide.
	ban = 10 * time.Minute
)

// Options of a provider.
type Options struct {
	Token     fetch.Secret
	Factor    grid.Factor       // Lifecycle if empty
	Base      string            // for tests
	Transport http.RoundTripper // for tests
	Now       func() time.Time  // time.Now if nil
}

// Provider asks the platform at each call. It is safe for concurrent use.
type Provider struct {
	client *fetch.Client
	token  fetch.Secret
	factor grid.Factor
	now    func() time.Time
}

var _ grid.Provider = (*Provider)(nil)

// New returns a provider. It opens no connection and does not read the token.
func New(o Options) (*Provider, error) {
	factor := cmp.Or(o.Factor, grid.Lifecycle)
	if factor != grid.Lifecycle && factor != grid.Direct {
		return nil, fmt.Errorf("set up entsoe: %q is no emission factor: choose lifecycle or direct", factor)
	}
	if o.Token.IsZero() {
		return nil, errors.New("set up entsoe: it needs a token: ask transparency@entsoe.eu for access to the API and write the token into a file")
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the clock, unless a test has another
	}
	client, err := fetch.New(fetch.Options{Base: cmp.Or(o.Base, base), Transport: o.Transport, Now: o.Now})
	if err != nil {
		return nil, err
	}
	return &Provider{client, o.Token, factor, o.Now}, nil
}

// Info returns what is calculated. Samples of some zones are longer than Step.
func (p *Provider) Info() grid.Info {
	return grid.Info{Name: "entsoe", Signal: grid.Average, Factor: p.factor, Step: step}
}

func area(zone string) (string, error) {
	resolved, err := regions.Resolve(zone)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, grid.ErrUnknownZone)
	}
	code := eic(resolved)
	if code == "" {
		return "", fmt.Errorf("ask ENTSO-E about zone %q: it is none of its areas, such as DE, FR, IT-NO, SE-SE3: %w", zone, grid.ErrUnknownZone)
	}
	return code, nil
}

// Latest returns the newest time for which all that generates has reported.
func (p *Provider) Latest(ctx context.Context, zone string) (grid.Sample, error) {
	now := p.now()
	samples, err := p.Intensity(ctx, zone, now.Add(-recent), now)
	if err != nil {
		return grid.Sample{}, err
	}
	if len(samples) == 0 {
		return grid.Sample{}, fmt.Errorf("ask ENTSO-E about zone %q: no time of the last %s is whole: %w", zone, recent, grid.ErrNoData)
	}
	return samples[len(samples)-1], nil
}

// Intensity returns the samples that reach into [from, to].
func (p *Provider) Intensity(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	code, err := area(zone)
	if err != nil {
		return nil, err
	}
	if to.Sub(from) > most {
		return nil, fmt.Errorf("ask ENTSO-E about %s to %s: that is more than a year: ask for less", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
	}
	// Whole hours, in which any resolution fits.
	begin := from
	from, last := from.UTC().Truncate(time.Hour), to.UTC().Truncate(time.Hour).Add(time.Hour)
	var all []grid.Sample
	for ; from.Before(last); from = from.Add(chunk) {
		end := from.Add(chunk)
		if end.After(last) {
			end = last
		}
		samples, err := p.ask(ctx, code, from, end)
		if errors.Is(err, grid.ErrNoData) && last.Sub(from) > chunk {
			continue // a hole, or before the area reported
		}
		if err != nil {
			return nil, fmt.Errorf("ask ENTSO-E about zone %q from %s: %w", zone, from.Format(time.RFC3339), err)
		}
		all = append(all, samples...)
	}
	return grid.Clip(all, begin, to), nil
}

func (p *Provider) ask(ctx context.Context, code string, from, to time.Time) ([]grid.Sample, error) {
	token, err := p.token.Read()
	if err != nil {
		return nil, err
	}
	const layout = "200601021504" // UTC
	body, err := p.client.Get(ctx, "", url.Values{
		"securityToken": {token},
		"documentType":  {"A75"}, // actual generation per type
		"processType":   {"A16"}, // realised
		"in_Domain":     {code},
		"periodStart":   {from.Format(layout)},
		"periodEnd":     {to.Format(layout)},
	}, http.Header{"Accept": {"application/xml, text/xml"}})
	if l, ok := errors.AsType[*grid.LimitedError](err); ok && l.RetryAfter == 0 {
		return nil, fmt.Errorf("ask %s: %w", p.client.URL(), &grid.LimitedError{RetryAfter: ban})
	}
	if err != nil {
		return nil, err
	}
	m, err := parse(body, code, from, to)
	if err != nil {
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	return m.samples(p.factor), nil
}

// Forecast returns ErrNoForecast.
func (p *Provider) Forecast(context.Context, string, time.Time, time.Time) ([]grid.Sample, error) {
	return nil, fmt.Errorf("ask ENTSO-E for a forecast: it has none per production type: %w", grid.ErrNoForecast)
}
