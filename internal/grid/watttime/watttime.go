// Package watttime reads marginal emissions from WattTime, by version 3 of its
// API (https://docs.watttime.org): the CO2 that the plants emit which answer
// one more kilowatt-hour. They are for deciding when to run something, not for
// inventories.
//
// It needs an account; a free one has the region CAISO_NORTH only. Rights in the
// data are with WattTime. A value whose unit is not the one that is documented
// is refused, since pounds per megawatt-hour look like grams.
package watttime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
)

// Name is that of the provider in settings and labels.
const Name = "watttime"

const (
	base   = "https://api.watttime.org"
	signal = "co2_moer"
	// step is the length of a value where the service does not say otherwise.
	step = 5 * time.Minute
	// longest is what one request for the past may span: the API wants 32 days
	// or less, both ends included.
	longest = 30 * 24 * time.Hour
	// unit is that of every value of the signal.
	unit = "lbs_co2_per_mwh"
	// gramsPerKWh of one pound per megawatt-hour: an international pound is
	// 0.45359237 kg.
	gramsPerKWh = 0.45359237
	// mostPlaces bounds what is remembered of places.
	mostPlaces = 256
)

// Options say with which account.
type Options struct {
	Base      string            // the service's own address if empty
	Transport http.RoundTripper // fetch's own if nil
	Now       func() time.Time  // time.Now if nil
	Token     fetch.Secret      // user:password of the account
	Factor    grid.Factor       // empty or grid.Direct: the service has no other
}

// Provider asks WattTime. It logs in when it is first asked, and again before
// the session ends. It is safe for concurrent use.
type Provider struct {
	client  *fetch.Client
	session *session
	now     func() time.Time

	mu     sync.Mutex
	places map[string]string // regions by place
}

// New returns a provider. It asks nobody yet.
func New(o Options) (*Provider, error) {
	if o.Token.IsZero() {
		return nil, errors.New("prepare to ask WattTime: it wants an account: give user:password in a file")
	}
	if o.Factor != "" && o.Factor != grid.Direct {
		return nil, fmt.Errorf("prepare to ask WattTime: its signal counts direct emissions, not %q: choose the factor direct, or another provider", o.Factor)
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the clock, unless a test has another
	}
	client, err := fetch.New(fetch.Options{Base: cmp.Or(o.Base, base), Transport: o.Transport, Now: o.Now})
	if err != nil {
		return nil, fmt.Errorf("prepare to ask WattTime: %w", err)
	}
	return &Provider{client: client, session: &session{client: client, secret: o.Token, now: o.Now}, now: o.Now, places: map[string]string{}}, nil
}

// Info tells what the values are.
func (p *Provider) Info() grid.Info {
	return grid.Info{Name: Name, Signal: grid.Marginal, Factor: grid.Direct, Step: step}
}

// Latest returns the value of the present, the first of a forecast that looks
// no further.
func (p *Provider) Latest(ctx context.Context, zone string) (grid.Sample, error) {
	region, err := p.region(ctx, zone)
	if err != nil {
		return grid.Sample{}, err
	}
	return p.latest(ctx, zone, region)
}

func (p *Provider) latest(ctx context.Context, zone, region string) (grid.Sample, error) {
	samples, err := p.ask(ctx, zone, region, "forecast", url.Values{"horizon_hours": {"0"}})
	if err == nil && len(samples) == 0 {
		err = fmt.Errorf("zone %q: %w of the present", zone, grid.ErrNoData)
	}
	if err != nil {
		return grid.Sample{}, err
	}
	return samples[0], nil
}

// Intensity returns the values of the past and the present.
func (p *Provider) Intensity(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	now := p.now()
	present := !to.Before(now)
	if present {
		to = now
	}
	region, err := p.region(ctx, zone)
	if err != nil {
		return nil, err
	}
	if from.After(to) {
		return nil, nil // nothing is known of the future here
	}
	spans, err := grid.Spans(from.Truncate(step), to.Truncate(step).Add(step), longest)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", zone, err)
	}
	var samples []grid.Sample
	for _, s := range spans {
		part, err := p.ask(ctx, zone, region, "historical", url.Values{"start": {s.From.UTC().Format(time.RFC3339)}, "end": {s.To.UTC().Format(time.RFC3339)}})
		if err != nil {
			return nil, err
		}
		samples = append(samples, part...)
	}
	if present && (len(samples) == 0 || !samples[len(samples)-1].To.After(now)) {
		// The past is published with a delay. Without its end it is still right.
		switch s, err := p.latest(ctx, zone, region); {
		case err == nil:
			samples = append(samples, s)
		case len(samples) == 0:
			return nil, err
		}
	}
	if samples, err = grid.Tidy(samples); err != nil {
		return nil, fmt.Errorf("zone %q: %w", zone, err)
	}
	return grid.Clip(samples, from, to), nil
}

// Forecast returns what is expected, up to 72 hours ahead.
func (p *Provider) Forecast(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	region, err := p.region(ctx, zone)
	if err != nil {
		return nil, err
	}
	ahead := min(max(math.Ceil(to.Sub(p.now()).Hours()), 1), 72)
	samples, err := p.ask(ctx, zone, region, "forecast", url.Values{"horizon_hours": {strconv.Itoa(int(ahead))}})
	if err != nil {
		return nil, err
	}
	for i := range samples {
		samples[i].Estimated = true
	}
	return grid.Clip(samples, from, to), nil
}

// ask returns the values that an endpoint has of a region.
func (p *Provider) ask(ctx context.Context, zone, region, endpoint string, q url.Values) ([]grid.Sample, error) {
	q.Set("region", region)
	q.Set("signal_type", signal)
	var a answer
	if err := p.get(ctx, zone, endpoint, q, &a); err != nil {
		return nil, err
	}
	samples, err := a.samples(region)
	if err != nil {
		return nil, fmt.Errorf("zone %q: read what WattTime says: %w", zone, err)
	}
	return samples, nil
}

// get asks with the token of the session. If the service no longer knows it,
// it logs in once and asks again.
func (p *Provider) get(ctx context.Context, zone, endpoint string, q url.Values, dst any) error {
	for stale := ""; ; {
		token, err := p.session.token(ctx, stale)
		if err != nil {
			return fmt.Errorf("zone %q: %w", zone, err)
		}
		err = p.client.JSON(ctx, "v3/"+endpoint, q, bearer(token), dst)
		if s, ok := errors.AsType[*fetch.StatusError](err); ok && s.Status == http.StatusUnauthorized && stale == "" {
			stale = token
			continue
		}
		return wrap(zone, endpoint, err)
	}
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func wrap(zone, endpoint string, err error) error {
	s, ok := errors.AsType[*fetch.StatusError](err)
	switch {
	case err == nil:
		return nil
	case ok && s.Status == http.StatusForbidden:
		return fmt.Errorf("zone %q: %w: does the plan of this account have the region, and %s?", zone, err, endpoint)
	case ok && (s.Status == http.StatusBadRequest || s.Status == http.StatusUnprocessableEntity):
		return fmt.Errorf("zone %q: %w: %w", zone, err, grid.ErrUnknownZone)
	}
	return fmt.Errorf("zone %q: %w", zone, err)
}

// region returns the service's name of a zone: by our table, by asking for
// places, or the zone itself if it has the form of a name of the service.
func (p *Provider) region(ctx context.Context, zone string) (string, error) {
	lat, lon, ok := grid.Location(zone)
	if !ok {
		if !isKnown(zone) {
			return "", fmt.Errorf("zone %q: %w: write a region of WattTime (CAISO_NORTH), a place (37.77,-122.42), or a zone that is one region (US-CAL-CISO, DE)", fetch.Quote(zone, 80), grid.ErrUnknownZone)
		}
		return cmp.Or(ours(zone), zone), nil
	}
	p.mu.Lock()
	region := p.places[zone]
	p.mu.Unlock()
	if region != "" {
		return region, nil
	}
	var a struct {
		Region     string `json:"region"`
		SignalType string `json:"signal_type"`
	}
	q := url.Values{"latitude": {lat}, "longitude": {lon}, "signal_type": {signal}}
	if err := p.get(ctx, zone, "region-from-loc", q, &a); err != nil {
		if errors.Is(err, grid.ErrNoData) {
			err = fmt.Errorf("%w: %w", err, grid.ErrUnknownZone)
		}
		return "", err
	}
	if !isName(a.Region) || a.SignalType != "" && a.SignalType != signal {
		return "", fmt.Errorf("zone %q: WattTime says that it is in %q for the signal %q: %w", zone, fetch.Quote(a.Region, 40), fetch.Quote(a.SignalType, 40), grid.ErrUnknownZone)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.places) >= mostPlaces {
		clear(p.places)
	}
	p.places[zone] = a.Region
	return a.Region, nil
}

// ours returns the region of a zone as Electricity Maps names it, "" if it is
// the same name or there are several.
func ours(zone string) string {
	switch zone {
	case "US-CAL-CISO":
		return "CAISO_NORTH"
	case "US-CAL-BANC":
		return "BANC"
	case "US-CAL-LDWP":
		return "LDWP"
	case "US-NW-BPAT":
		return "BPA"
	case "US-NW-PACE":
		return "PACE"
	case "US-NW-PACW":
		return "PACW"
	case "GB":
		return "UK"
	case "AU-NSW":
		return "NEM_NSW"
	case "BR":
		return "BRA"
	case "CA-QC":
		return "HQ"
	case "IN":
		return "IND"
	case "JP-TK":
		return "JP_TK"
	case "KR":
		return "KOR"
	case "SG":
		return "SGP"
	}
	return ""
}

func isKnown(zone string) bool { return ours(zone) != "" || isName(zone) }

// isName tells whether s has the form of a region of the service: capitals,
// digits and underscores.
func isName(s string) bool {
	return len(s) >= 2 && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "" && s[0] >= 'A' && s[0] <= 'Z'
}

// answer is that of historical and of forecast.
type answer struct {
	Data []struct {
		PointTime time.Time `json:"point_time"`
		Value     *float64  `json:"value"`
	} `json:"data"`
	Meta struct {
		Region     string `json:"region"`
		SignalType string `json:"signal_type"`
		Units      string `json:"units"`
		Period     int64  `json:"data_point_period_seconds"`
	} `json:"meta"`
}

// samples returns the values in grams per kilowatt-hour.
func (a answer) samples(region string) ([]grid.Sample, error) {
	switch m := a.Meta; {
	case a.Data == nil:
		return nil, fmt.Errorf("the list of values is missing: %w", grid.ErrNoData)
	case m.Units != unit:
		return nil, fmt.Errorf("the unit is %q, not %s: it cannot be converted", fetch.Quote(m.Units, 40), unit)
	case m.SignalType != "" && m.SignalType != signal:
		return nil, fmt.Errorf("the signal is %q, not %s", fetch.Quote(m.SignalType, 40), signal)
	case m.Region != "" && m.Region != region:
		return nil, fmt.Errorf("the answer is about %q, not %q", fetch.Quote(m.Region, 40), region)
	case m.Period < 0 || m.Period > 24*3600:
		return nil, fmt.Errorf("its values are said to be %d seconds long", m.Period)
	}
	length := cmp.Or(time.Duration(a.Meta.Period)*time.Second, step)
	samples := make([]grid.Sample, 0, len(a.Data))
	for _, v := range a.Data {
		if v.PointTime.IsZero() {
			return nil, fmt.Errorf("a value has no time: %w", grid.ErrNoData)
		}
		if v.Value == nil {
			continue
		}
		from := v.PointTime.UTC()
		samples = append(samples, grid.Sample{From: from, To: from.Add(length), Intensity: *v.Value * gramsPerKWh})
	}
	return grid.Tidy(samples)
}
