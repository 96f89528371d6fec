// Package hub reads carbon intensities from another Noether: the metrics page
// of noether carbon exporter, which asks the providers once for all nodes of a
// cluster, and what it says of the last hours. It passes on who said a value and
// whether it was estimated.
//
// It refuses what has another factor or signal than it was told.
package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
)

const (
	intensityFamily = "noether_grid_carbon_intensity_grams_per_kwh"
	updatedFamily   = "noether_grid_carbon_intensity_updated_timestamp_seconds"
	forecastFamily  = "noether_grid_forecast_grams_per_kwh"
	sourceFamily    = "noether_site_source_up" // names zones of which nothing is known yet

	// step is how often it makes sense to look: the page is near, and small.
	step = 5 * time.Minute
	// holds is how long what the page says is taken for true, so that one
	// answer that comes late leaves no hole.
	holds = 3 * step
)

// Options say where the hub is.
type Options struct {
	Base      string            // address of noether carbon exporter, without /metrics
	Transport http.RoundTripper // fetch's own if nil
	Now       func() time.Time  // time.Now if nil
	Token     fetch.Secret      // bearer token, if the hub wants one
	Factor    grid.Factor       // that the hub is to have; lifecycle if empty
}

// Provider reads the page of a hub. It is safe for concurrent use.
type Provider struct {
	client *fetch.Client
	token  fetch.Secret
	factor grid.Factor
	now    func() time.Time

	mu      sync.Mutex
	origins map[string]origin // by zone, of the page that was read last
}

type origin struct {
	provider string
	updated  time.Time
}

var _ grid.Relay = (*Provider)(nil)

// New returns the provider of a hub. It opens no connection. A hub may be asked
// over http, as metrics in a cluster are, unless it wants a token.
func New(o Options) (*Provider, error) {
	base := strings.TrimSuffix(strings.TrimSuffix(o.Base, "/"), "/metrics")
	client, err := fetch.New(fetch.Options{Base: base, Plain: true, Transport: o.Transport, Now: o.Now})
	if err != nil {
		return nil, fmt.Errorf("use a hub for the carbon intensity: %w", err)
	}
	if u, err := url.Parse(base); err == nil && u.Scheme == "http" && !fetch.Loopback(u) && !o.Token.IsZero() {
		return nil, fmt.Errorf("use the hub %s for the carbon intensity: the token would travel in the clear: use https, or no token", u.Host)
	}
	p := &Provider{client: client, token: o.Token, factor: cmp.Or(o.Factor, grid.Lifecycle), now: o.Now}
	if p.now == nil {
		p.now = time.Now //nolint:forbidigo // the clock, unless a test has another
	}
	return p, nil
}

// Info implements grid.Provider.
func (p *Provider) Info() grid.Info {
	return grid.Info{Name: "hub", Signal: grid.Average, Factor: p.factor, Step: step}
}

// Origin tells who said what the page had of zone when it was read last.
func (p *Provider) Origin(zone string) (provider string, updated time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, ok := p.origins[zone]
	return o.provider, o.updated, ok
}

// Latest returns what the page says, from now on.
func (p *Provider) Latest(ctx context.Context, zone string) (grid.Sample, error) {
	z, err := p.read(ctx, zone)
	if err != nil {
		return grid.Sample{}, err
	}
	if !z.known {
		return grid.Sample{}, fmt.Errorf("ask %s for %s: the hub has the zone, but nobody has told it a value yet: %w", p.client.URL(), fetch.Quote(zone, 40), grid.ErrNoData)
	}
	now := p.now().UTC()
	return grid.Sample{From: now, To: now.Add(holds), Intensity: z.intensity, Estimated: z.estimated}, nil
}

// documentPath is where an exporter writes what it knows of a zone.
const documentPath = "api/noether/v1/forecast"

// document is that: the last hours, and the forecast as its provider gave it.
type document struct {
	Zone     string      `json:"zone"`
	Signal   grid.Signal `json:"signal"`
	Factor   grid.Factor `json:"factor"`
	Provider string      `json:"provider"`
	Updated  time.Time   `json:"updated"`
	Past     []written   `json:"past"`
	Forecast []written   `json:"forecast"`
}

type written struct {
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Intensity *float64  `json:"grams_per_kwh"`
	Estimated bool      `json:"estimated"`
}

func (p *Provider) document(ctx context.Context, zone string) (d document, err error) {
	header, err := p.header("application/json")
	if err != nil {
		return d, err
	}
	if err := p.client.JSON(ctx, documentPath, url.Values{"zone": {zone}}, header, &d); err != nil {
		return d, err
	}
	if d.Zone != zone {
		return d, fmt.Errorf("ask %s for %s: the answer is about %s: is this the address of noether carbon exporter?", p.client.URL(), fetch.Quote(zone, 40), strconv.Quote(fetch.Quote(d.Zone, 40)))
	}
	if err := p.fits(zone, d.Signal, d.Factor); err != nil {
		return d, err
	}
	if len(d.Provider) > 100 {
		return d, fmt.Errorf("ask %s for %s: it does not say who the provider is", p.client.URL(), fetch.Quote(zone, 40))
	}
	if d.Provider != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.origins == nil {
			p.origins = map[string]origin{}
		}
		p.origins[zone] = origin{d.Provider, d.Updated}
	}
	return d, nil
}

// samples returns those that can be, between from and to.
func samples(list []written, from, to time.Time) ([]grid.Sample, error) {
	var out []grid.Sample
	for _, s := range list {
		if s.Intensity != nil && grid.Check(*s.Intensity) == nil && s.To.After(s.From) {
			out = append(out, grid.Sample{From: s.From.UTC(), To: s.To.UTC(), Intensity: *s.Intensity, Estimated: s.Estimated})
		}
	}
	out, err := grid.Tidy(out)
	return grid.Clip(out, from, to), err
}

// Intensity returns what the hub knows of the last two days. A server that has
// the page of metrics only keeps no past: grid.ErrNoData.
func (p *Provider) Intensity(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	d, err := p.document(ctx, zone)
	if err != nil {
		return nil, err
	}
	out, err := samples(d.Past, from, to)
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("the hub has none of this time: %w", grid.ErrNoData)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s for the past of %s: %w", p.client.URL(), fetch.Quote(zone, 40), err)
	}
	return out, nil
}

// Forecast returns what the hub expects, as its provider gave it. Of a server
// that has the page of metrics only it is that of the page, an hour each.
func (p *Provider) Forecast(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	d, err := p.document(ctx, zone)
	switch {
	case err == nil:
		if out, err := samples(d.Forecast, from, to); err == nil && len(out) > 0 {
			return out, nil
		}
	case !errors.Is(err, grid.ErrNoData):
		return nil, err
	}
	z, err := p.read(ctx, zone)
	if err != nil {
		return nil, err
	}
	now := p.now().UTC()
	var out []grid.Sample
	for _, h := range z.forecast {
		s := grid.Sample{From: now.Add(h.ahead), To: now.Add(h.ahead + time.Hour), Intensity: h.intensity, Estimated: h.estimated}
		if s.To.After(from) && s.From.Before(to) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("ask %s for a forecast of %s: the hub has none: %w", p.client.URL(), fetch.Quote(zone, 40), grid.ErrNoData)
	}
	return grid.Tidy(out)
}

func (p *Provider) read(ctx context.Context, zone string) (*onPage, error) {
	header, err := p.header("text/plain; version=0.0.4")
	if err != nil {
		return nil, err
	}
	body, err := p.client.Get(ctx, "metrics", nil, header)
	if err != nil {
		return nil, err
	}
	zones, err := parse(body)
	if err != nil {
		return nil, fmt.Errorf("read the page of the hub %s: %w", p.client.URL(), err)
	}
	origins := make(map[string]origin, len(zones))
	for name, z := range zones {
		if z.known {
			origins[name] = origin{z.provider, z.updated}
		}
	}
	p.mu.Lock()
	p.origins = origins
	p.mu.Unlock()
	z, ok := zones[zone]
	switch {
	case !ok:
		return nil, fmt.Errorf("ask %s for %s: %w: it has %s; start noether carbon exporter with --zone %[2]s too", p.client.URL(), fetch.Quote(zone, 40), grid.ErrUnknownZone, names(zones))
	case z.known:
		return z, p.fits(zone, z.signal, z.factor)
	}
	return z, nil
}

// fits refuses what counts another thing than this provider says it does.
func (p *Provider) fits(zone string, signal grid.Signal, factor grid.Factor) error {
	if signal == grid.Average && factor == p.factor {
		return nil
	}
	return fmt.Errorf("ask %s for %s: it has %s intensities with the factor %s, wanted are average ones with %s: set the same --grid.factor here and there",
		p.client.URL(), fetch.Quote(zone, 40), fetch.Quote(string(signal), 20), fetch.Quote(string(factor), 20), p.factor)
}

func (p *Provider) header(accept string) (http.Header, error) {
	header := http.Header{"Accept": {accept}}
	if p.token.IsZero() {
		return header, nil
	}
	token, err := p.token.Read()
	if err != nil {
		return nil, fmt.Errorf("ask the hub %s: %w", p.client.URL(), err)
	}
	header.Set("Authorization", "Bearer "+token)
	return header, nil
}

// names lists the first zones of a page.
func names(zones map[string]*onPage) string {
	all := make([]string, 0, len(zones))
	for name := range zones {
		all = append(all, fetch.Quote(name, 40))
	}
	slices.Sort(all)
	const most = 8
	if len(all) > most {
		return strings.Join(all[:most], ", ") + fmt.Sprintf(" and %d more", len(all)-most)
	}
	return strings.Join(all, ", ")
}

// onPage is what a page says of a zone.
type onPage struct {
	known     bool
	intensity float64
	estimated bool
	provider  string
	signal    grid.Signal
	factor    grid.Factor
	updated   time.Time
	forecast  []ahead
}

type ahead struct {
	ahead     time.Duration
	intensity float64
	estimated bool
}

// parse reads the families of this package from a page of metrics. A page with
// anything else on it is refused as a whole: who knows what is missing.
func parse(page []byte) (map[string]*onPage, error) {
	zones := map[string]*onPage{}
	err := eachSeries(string(page), func(s series) error {
		switch s.name {
		case intensityFamily, updatedFamily, forecastFamily, sourceFamily:
		default:
			return nil
		}
		zone := s.labels["grid_zone"]
		if zone == "" {
			return nil // sources of prices have none
		}
		if zones[zone] == nil {
			zones[zone] = &onPage{}
		}
		return zones[zone].take(s)
	})
	if err != nil {
		return nil, err
	}
	if len(zones) == 0 {
		return nil, fmt.Errorf("it has no %s: is this the address of noether carbon exporter, and does it watch a zone? %w", intensityFamily, grid.ErrNoData)
	}
	for _, z := range zones {
		slices.SortFunc(z.forecast, func(a, b ahead) int { return cmp.Compare(a.ahead, b.ahead) })
	}
	return zones, nil
}

func (z *onPage) take(s series) error {
	family, labels, v := s.name, s.labels, s.value
	estimated := labels["estimated"] == "true"
	if family == sourceFamily {
		return nil
	}
	if family == updatedFamily {
		if v > 0 && v < 1e11 {
			z.updated = time.UnixMilli(int64(math.Round(v * 1000))).UTC()
		}
		return nil
	}
	if err := grid.Check(v); err != nil {
		if family == forecastFamily {
			return nil // it costs this hour only
		}
		return err
	}
	if family == forecastFamily {
		h, err := time.ParseDuration(labels["horizon"])
		if err != nil || h < 0 || h > 14*24*time.Hour {
			return errors.New("a horizon is a time ahead, such as 3h")
		}
		z.forecast = append(z.forecast, ahead{h, v, estimated})
		return nil
	}
	if z.known {
		return errors.New("there are two: a hub has one for each zone")
	}
	if by := labels["provider"]; by == "" || len(by) > 100 || !utf8.ValidString(by) || strings.ContainsFunc(by, unicode.IsControl) {
		return errors.New("it does not say who the provider is, in a word that can be passed on")
	}
	z.known, z.intensity, z.estimated = true, v, estimated
	z.provider = labels["provider"]
	z.signal, z.factor = grid.Signal(labels["signal"]), grid.Factor(labels["factor"])
	return nil
}
