// Package prometheus takes the carbon intensity from a PromQL query: an
// exporter's gauge, a recording rule, a meter of one's own solar plant.
//
// It refuses to choose: a query that gives several series is an error that
// names what tells them apart.
package prometheus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"noether/internal/grid"
	"noether/internal/promclient"
)

const (
	// step is how far apart the past is asked for, and the present again.
	step = 5 * time.Minute
	// holds is how long a present value is taken for true, so that one answer
	// that comes late leaves no hole.
	holds = 3 * step
	// mostPoints is below the 11,000 that Prometheus gives of one series.
	mostPoints = 10_000

	placeholder = "{zone}"
)

// Options say what to ask whom.
type Options struct {
	Client *promclient.Client
	// Query gives gCO2e/kWh as one series. {zone} in it stands for the zone.
	Query  string
	Factor grid.Factor      // that the values have; lifecycle if empty
	Now    func() time.Time // time.Now if nil
}

// Provider asks a Prometheus. It is safe for concurrent use.
type Provider struct {
	client *promclient.Client
	query  string
	factor grid.Factor
	now    func() time.Time
}

// New returns the provider of a query. It asks nobody yet.
func New(o Options) (*Provider, error) {
	switch {
	case o.Client == nil:
		return nil, errors.New("ask a Prometheus for the carbon intensity: it has no address: set --prometheus-url")
	case strings.TrimSpace(o.Query) == "":
		return nil, fmt.Errorf("ask the Prometheus at %s for the carbon intensity: there is no query: set --grid.query", o.Client.URL())
	}
	p := &Provider{client: o.Client, query: o.Query, factor: cmp.Or(o.Factor, grid.Lifecycle), now: o.Now}
	if p.now == nil {
		p.now = time.Now //nolint:forbidigo // the clock, unless a test has another
	}
	return p, nil
}

// Info implements grid.Provider.
func (p *Provider) Info() grid.Info {
	return grid.Info{Name: "prometheus", Signal: grid.Average, Factor: p.factor, Step: step}
}

// Latest returns the value of the query by now.
func (p *Provider) Latest(ctx context.Context, zone string) (grid.Sample, error) {
	query, err := p.of(zone)
	if err != nil {
		return grid.Sample{}, err
	}
	now := p.now().UTC()
	series, warnings, err := p.client.Instant(ctx, query, now)
	points, err := p.one(query, series, warnings, err)
	if err != nil {
		return grid.Sample{}, err
	}
	v := points[len(points)-1].V
	if err := grid.Check(v); err != nil {
		return grid.Sample{}, fmt.Errorf("ask Prometheus at %s for %s: %w", p.client.URL(), short(query), err)
	}
	return grid.Sample{From: now, To: now.Add(holds), Intensity: v}, nil
}

// Intensity returns the values of the query every five minutes between from and
// to, each until the next; more than a month is asked for in longer steps.
// Where the query gives nothing, or nothing that can be an intensity, nothing
// is known. An instant is asked for as it is.
func (p *Provider) Intensity(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	query, err := p.of(zone)
	if err != nil {
		return nil, err
	}
	every := step
	for to.Sub(from)/every > mostPoints {
		every *= 2
	}
	series, warnings, err := p.client.Range(ctx, query, from.UTC().Truncate(every), to.UTC(), every)
	points, err := p.one(query, series, warnings, err)
	if err != nil {
		return nil, err
	}
	var out []grid.Sample
	for _, at := range points {
		if grid.Check(at.V) == nil {
			begin := time.UnixMilli(at.T).UTC()
			out = append(out, grid.Sample{From: begin, To: begin.Add(every), Intensity: at.V})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("ask Prometheus at %s for %s: none of its values can be a carbon intensity in gCO2e/kWh: %w", p.client.URL(), short(query), grid.ErrNoData)
	}
	return grid.Tidy(out)
}

// Forecast is not given: a query is of what was.
func (p *Provider) Forecast(context.Context, string, time.Time, time.Time) ([]grid.Sample, error) {
	return nil, grid.ErrNoForecast
}

// of puts the zone into the query. Only what names of zones and places are made
// of is let in, so that no zone can end a string of PromQL.
func (p *Provider) of(zone string) (string, error) {
	if !strings.Contains(p.query, placeholder) {
		return p.query, nil
	}
	odd := func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.,:", r)
	}
	if zone == "" || len(zone) > 100 || strings.ContainsFunc(zone, odd) {
		return "", fmt.Errorf("put the zone %.40q into the query %s: a zone has letters, digits and - _ . , : only: %w", zone, short(p.query), grid.ErrUnknownZone)
	}
	return strings.ReplaceAll(p.query, placeholder, zone), nil
}

// one returns the samples of the only series of an answer.
func (p *Provider) one(query string, series []promclient.Series, warnings []string, err error) ([]promclient.Sample, error) {
	what := fmt.Sprintf("ask Prometheus at %s for %s", p.client.URL(), short(query))
	switch {
	case err != nil:
		return nil, p.kind(err)
	case len(warnings) > 0:
		return nil, fmt.Errorf("%s: the answer may not be whole: %s", what, short(warnings[0]))
	case len(series) > 1:
		return nil, fmt.Errorf("%s: %d series, wanted is one: %s", what, len(series), choose(series[0].Labels, series[1].Labels))
	case len(series) == 0 || len(series[0].Samples) == 0:
		return nil, fmt.Errorf("%s: no such series: %w", what, grid.ErrNoData)
	}
	return series[0].Samples, nil
}

// choose says what tells two series apart.
func choose(a, b promclient.Labels) string {
	for _, l := range append(append(promclient.Labels{}, a...), b...) {
		if v, w := a.Get(l.Name), b.Get(l.Name); v != w && l.Name != "__name__" {
			return fmt.Sprintf("they differ in %s, which is %.60q or %.60q: add %s=%.60q to the query, or take avg() of them", l.Name, v, w, l.Name, v)
		}
	}
	return "name one metric, or take avg() of them"
}

// kind gives an error of the client the kind that this contract has for it.
// What a server says is left out unless it is about the query: what stands
// between may repeat the request, credentials and all.
func (p *Provider) kind(err error) error {
	e, ok := errors.AsType[*promclient.Error](err)
	if !ok || e.Status == 0 || errors.Is(err, promclient.ErrQuery) || errors.Is(err, promclient.ErrTooMuch) {
		return err
	}
	said := fmt.Sprintf("ask Prometheus at %s: %d %s", p.client.URL(), e.Status, http.StatusText(e.Status))
	if e.Advice != "" {
		said += ": " + e.Advice
	}
	switch {
	case errors.Is(err, promclient.ErrDenied):
		return fmt.Errorf("%s: %w", said, grid.ErrUnauthorized)
	case e.Status == http.StatusTooManyRequests:
		return fmt.Errorf("%s: %w", said, &grid.LimitedError{})
	}
	return errors.New(said)
}

func short(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\ufffd")), " ")
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}
