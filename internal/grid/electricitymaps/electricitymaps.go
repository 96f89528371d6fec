// Package electricitymaps reads the average carbon intensity of grid zones all
// over the world from Electricity Maps, by version 3 of its API
// (https://app.electricitymaps.com/developer-hub/api/reference): for a zone, a
// place or a region of a cloud provider.
//
// It needs a key. A free one has one zone, its present and its last 24 hours;
// what a plan does not have is refused by the service, and the time before the
// last day then stays unknown. Estimated values are asked for, and believed,
// only if the options say so. Rights in the data are with Electricity Maps.
package electricitymaps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
)

// Name is that of the provider in settings and labels.
const Name = "electricitymaps"

const (
	base = "https://api.electricitymaps.com/v3"
	// longest is what one request for the past may span at hourly values.
	longest = 10 * 24 * time.Hour
	// recent is how many whole hours before the present one history has.
	recent = 23 * time.Hour
)

// Options say with which key, and what to ask for.
type Options struct {
	Base      string            // the service's own address if empty
	Transport http.RoundTripper // fetch's own if nil
	Now       func() time.Time  // time.Now if nil
	Token     fetch.Secret      // the key
	Factor    grid.Factor       // grid.Lifecycle if empty
	Estimates bool              // also take values that the service has estimated
}

// Provider asks Electricity Maps. It is safe for concurrent use.
type Provider struct {
	client    *fetch.Client
	token     fetch.Secret
	factor    grid.Factor
	estimates bool
	now       func() time.Time
}

// New returns a provider. It asks nobody yet.
func New(o Options) (*Provider, error) {
	if o.Token.IsZero() {
		return nil, errors.New("prepare to ask Electricity Maps: it wants a key: give it in a file")
	}
	factor := cmp.Or(o.Factor, grid.Lifecycle)
	if factor != grid.Lifecycle && factor != grid.Direct {
		return nil, fmt.Errorf("prepare to ask Electricity Maps: it has no factor %q: choose lifecycle or direct", factor)
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the clock, unless a test has another
	}
	client, err := fetch.New(fetch.Options{Base: cmp.Or(o.Base, base), Transport: o.Transport, Now: o.Now})
	if err != nil {
		return nil, fmt.Errorf("prepare to ask Electricity Maps: %w", err)
	}
	return &Provider{client, o.Token, factor, o.Estimates, o.Now}, nil
}

// Info tells what the values are.
func (p *Provider) Info() grid.Info {
	return grid.Info{Name: Name, Signal: grid.Average, Factor: p.factor, Step: time.Hour}
}

// Latest returns the newest value.
func (p *Provider) Latest(ctx context.Context, zone string) (grid.Sample, error) {
	var a struct {
		Zone string `json:"zone"`
		point
	}
	if err := p.ask(ctx, "latest", zone, nil, &a); err != nil {
		return grid.Sample{}, err
	}
	samples, err := p.read(zone, answer{Zone: a.Zone}, []point{a.point})
	if err == nil && len(samples) == 0 {
		why := "it is null"
		if a.IsEstimated {
			why = "it is estimated, and estimates are not taken: allow them, or add another provider"
		}
		err = fmt.Errorf("zone %q: %w of %s that may be used: %s", zone, grid.ErrNoData, a.Datetime.UTC().Format(time.RFC3339), why)
	}
	if err != nil {
		return grid.Sample{}, err
	}
	return samples[0], nil
}

// Intensity returns the values of the past and the present. The last day costs
// one request, ten days before it one more.
func (p *Provider) Intensity(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	now := p.now()
	if to.After(now) {
		to = now
	}
	if from.After(to) {
		return nil, nil // nothing is known of the future here
	}
	var day []grid.Sample
	begin, end := now.Truncate(time.Hour).Add(-recent), to.Truncate(time.Hour).Add(time.Hour)
	if !to.Before(begin) {
		var a answer
		if err := p.ask(ctx, "history", zone, nil, &a); err != nil {
			return nil, err
		}
		var err error
		if day, err = p.read(zone, a, a.History); err != nil {
			return nil, err
		}
		end = begin
	}
	older, err := p.past(ctx, zone, from.Truncate(time.Hour), end)
	if isBeside := end.Equal(begin); err != nil && (!isBeside || !errors.Is(err, grid.ErrUnauthorized)) {
		return nil, err // but what is not in the plan stays unknown beside the last day
	}
	samples, err := grid.Tidy(append(older, day...))
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", zone, err)
	}
	return grid.Clip(samples, from, to), nil
}

func (p *Provider) past(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	spans, err := grid.Spans(from, to, longest)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", zone, err)
	}
	var samples []grid.Sample
	for _, span := range spans {
		var a answer
		err := p.ask(ctx, "past-range", zone, url.Values{"start": {span.From.UTC().Format(time.RFC3339)}, "end": {span.To.UTC().Format(time.RFC3339)}}, &a)
		if err != nil {
			return nil, err
		}
		part, err := p.read(zone, a, a.Data)
		if err != nil {
			return nil, err
		}
		samples = append(samples, part...)
	}
	return samples, nil
}

// Forecast returns what the service expects, up to 72 hours ahead.
func (p *Provider) Forecast(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	ahead := to.Sub(p.now())
	horizon := 72
	for _, h := range []int{48, 24, 6} {
		if ahead <= time.Duration(h)*time.Hour {
			horizon = h
		}
	}
	var a answer
	if err := p.ask(ctx, "forecast", zone, url.Values{"horizonHours": {strconv.Itoa(horizon)}}, &a); err != nil {
		return nil, err
	}
	for i := range a.Forecast {
		a.Forecast[i].expected = true
	}
	samples, err := p.read(zone, a, a.Forecast)
	if err != nil {
		return nil, err
	}
	return grid.Clip(samples, from, to), nil
}

// Zone is one that the service knows.
type Zone struct {
	Key    string   `json:"zone"` // "US-CAL-CISO"
	Name   string   `json:"name"` // "California ISO"
	Access []string `json:"access"`
}

// mostZones is several times what the service has.
const mostZones = 4096

// Zones returns the zones that the key may ask for, by key.
func (p *Provider) Zones(ctx context.Context) ([]Zone, error) {
	header, err := p.header()
	if err != nil {
		return nil, err
	}
	var a map[string]*struct {
		ZoneName string   `json:"zoneName"`
		Access   []string `json:"access"`
	}
	if err := p.client.JSON(ctx, "zones", nil, header, &a); err != nil {
		return nil, err
	}
	if len(a) == 0 || len(a) > mostZones {
		return nil, fmt.Errorf("read the zones of Electricity Maps: the answer has %d", len(a))
	}
	zones := make([]Zone, 0, len(a))
	for _, key := range slices.Sorted(maps.Keys(a)) {
		if z := a[key]; z != nil && isKey(key) {
			zones = append(zones, Zone{key, fetch.Quote(z.ZoneName, 100), z.Access})
		}
	}
	return zones, nil
}

// header has the key. Fetch sends it to no other host.
func (p *Provider) header() (http.Header, error) {
	token, err := p.token.Read()
	if err != nil {
		return nil, err
	}
	return http.Header{"Auth-Token": {token}}, nil
}

func (p *Provider) ask(ctx context.Context, what, zone string, q url.Values, dst any) error {
	query, err := where(zone)
	if err != nil {
		return err
	}
	header, err := p.header()
	if err != nil {
		return err
	}
	maps.Copy(query, q)
	query.Set("emissionFactorType", string(p.factor))
	if !p.estimates && what != "forecast" {
		query.Set("disableEstimations", "true")
	}
	err = p.client.JSON(ctx, "carbon-intensity/"+what, query, header, dst)
	if s, ok := errors.AsType[*fetch.StatusError](err); ok && s.Status == http.StatusForbidden {
		return fmt.Errorf("zone %q: %w: does the plan of this key have the zone, and %s?", zone, err, what)
	}
	if err != nil {
		return fmt.Errorf("zone %q: %w", zone, err)
	}
	return nil
}

// where returns the parameters that name a zone.
func where(zone string) (url.Values, error) {
	if lat, lon, ok := grid.Location(zone); ok {
		return url.Values{"lat": {lat}, "lon": {lon}}, nil
	}
	if provider, region, ok := strings.Cut(zone, ":"); ok && slices.Contains([]string{"aws", "azure", "gcp"}, provider) && isRegion(region) {
		return url.Values{"dataCenterProvider": {provider}, "dataCenterRegion": {region}}, nil
	}
	if isKey(zone) {
		return url.Values{"zone": {zone}}, nil
	}
	return nil, fmt.Errorf("zone %q: %w: write a zone of Electricity Maps (DE, US-CAL-CISO), a place (52.52,13.40) or a region of aws, azure or gcp (aws:eu-central-1)", fetch.Quote(zone, 80), grid.ErrUnknownZone)
}

// isKey tells whether s has the form of a zone: a country's two letters, and
// parts.
func isKey(s string) bool {
	country, part, divided := strings.Cut(s, "-")
	return len(s) <= 32 && len(country) == 2 && isOf(country, upper) && (!divided || part != "" && isOf(part, upper+digits+"-"))
}

func isRegion(s string) bool {
	return s != "" && len(s) <= 64 && isOf(s, strings.ToLower(upper)+digits+"-")
}

const (
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

func isOf(s, letters string) bool { return strings.Trim(s, letters) == "" }

// answer is what all questions are answered with. One list is filled.
type answer struct {
	Zone                string  `json:"zone"`
	TemporalGranularity string  `json:"temporalGranularity"`
	History             []point `json:"history"`
	Data                []point `json:"data"`
	Forecast            []point `json:"forecast"`
}

type point struct {
	CarbonIntensity     *float64  `json:"carbonIntensity"` // gCO2e/kWh
	Datetime            time.Time `json:"datetime"`
	IsEstimated         bool      `json:"isEstimated"`
	EmissionFactorType  string    `json:"emissionFactorType"`
	TemporalGranularity string    `json:"temporalGranularity"`
	expected            bool
}

// read returns the values of an answer. Those that are null, or estimated
// against our wish, are holes.
func (p *Provider) read(zone string, a answer, points []point) ([]grid.Sample, error) {
	samples, err := a.samples(points, p.factor, p.estimates)
	if err == nil && a.Zone != "" && isKey(zone) && a.Zone != zone {
		err = fmt.Errorf("the answer is about %q", fetch.Quote(a.Zone, 32))
	}
	if err != nil {
		return nil, fmt.Errorf("zone %q: read what Electricity Maps says: %w", zone, err)
	}
	return samples, nil
}

func (a answer) samples(points []point, factor grid.Factor, estimates bool) ([]grid.Sample, error) {
	if points == nil {
		return nil, fmt.Errorf("the list of values is missing: %w", grid.ErrNoData)
	}
	samples := make([]grid.Sample, 0, len(points))
	for _, v := range points {
		if v.Datetime.IsZero() {
			return nil, fmt.Errorf("a value has no time: %w", grid.ErrNoData)
		}
		if v.EmissionFactorType != "" && v.EmissionFactorType != string(factor) {
			return nil, fmt.Errorf("the emission factor is %q, but %q was asked for", fetch.Quote(v.EmissionFactorType, 32), factor)
		}
		if v.CarbonIntensity == nil || v.IsEstimated && !estimates && !v.expected {
			continue
		}
		to, err := after(v.Datetime, cmp.Or(v.TemporalGranularity, a.TemporalGranularity))
		if err != nil {
			return nil, err
		}
		samples = append(samples, grid.Sample{From: v.Datetime.UTC(), To: to.UTC(), Intensity: *v.CarbonIntensity, Estimated: v.IsEstimated || v.expected})
	}
	return grid.Tidy(samples)
}

// after returns when a value of a granularity ends that begins at t.
func after(t time.Time, granularity string) (time.Time, error) {
	switch granularity {
	case "5_minutes":
		return t.Add(5 * time.Minute), nil
	case "15_minutes":
		return t.Add(15 * time.Minute), nil
	case "", "hourly":
		return t.Add(time.Hour), nil
	case "daily":
		return t.AddDate(0, 0, 1), nil
	case "weekly":
		return t.AddDate(0, 0, 7), nil
	case "monthly":
		return t.AddDate(0, 1, 0), nil
	case "quarterly":
		return t.AddDate(0, 3, 0), nil
	case "yearly":
		return t.AddDate(1, 0, 0), nil
	}
	return t, fmt.Errorf("values of the length %q are not known", fetch.Quote(granularity, 32))
}
