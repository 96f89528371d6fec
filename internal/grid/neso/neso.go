// Package neso reads the carbon intensity of Great Britain and of its regions
// from the Carbon Intensity API of the National Energy System Operator
// (https://carbon-intensity.github.io/api-definitions/, data under CC BY 4.0).
// It needs no key.
//
// Zones are GB for the country, GB-1 to GB-17 for the regions by the numbers of
// the API (1 North Scotland … 13 London … 15 England, 16 Scotland, 17 Wales),
// and GB:SW1 for the region of the first half of a postcode. Northern Ireland
// hangs on another grid and is refused.
//
// Values count what is burnt and are averages of half an hour. What a region's
// generation emitted is published as forecast only: its values are estimated.
package neso

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
)

// Name is that of the provider in settings and labels.
const Name = "neso"

const (
	base = "https://api.carbonintensity.org.uk"
	// step is the length of a settlement period.
	step = 30 * time.Minute
	// longest is what one request may span: the API wants less than 14 days.
	longest = 13 * 24 * time.Hour
	// layout is that of times, which have no seconds.
	layout  = "2006-01-02T15:04Z"
	regions = 17
)

// Options say whom to ask.
type Options struct {
	Base      string            // the service's own address if empty
	Transport http.RoundTripper // fetch's own if nil
	Now       func() time.Time  // time.Now if nil
	Factor    grid.Factor       // empty or grid.Direct: the service has no other
}

// Provider asks the Carbon Intensity API. It is safe for concurrent use.
type Provider struct {
	client *fetch.Client
	now    func() time.Time
}

// New returns a provider. It asks nobody yet.
func New(o Options) (*Provider, error) {
	if o.Factor != "" && o.Factor != grid.Direct {
		return nil, fmt.Errorf("prepare to ask NESO: it counts direct emissions, not %q: choose the factor direct, or another provider", o.Factor)
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the clock, unless a test has another
	}
	client, err := fetch.New(fetch.Options{Base: cmp.Or(o.Base, base), Transport: o.Transport, Now: o.Now})
	if err != nil {
		return nil, fmt.Errorf("prepare to ask NESO: %w", err)
	}
	return &Provider{client, o.Now}, nil
}

// Info tells what the values are.
func (p *Provider) Info() grid.Info {
	return grid.Info{Name: Name, Signal: grid.Average, Factor: grid.Direct, Step: step}
}

// Latest returns the value of the present half hour, which is a forecast until
// it has passed.
func (p *Provider) Latest(ctx context.Context, zone string) (grid.Sample, error) {
	w, err := find(zone)
	if err != nil {
		return grid.Sample{}, err
	}
	samples, err := p.ask(ctx, zone, w.now)
	if err == nil && len(samples) == 0 {
		err = fmt.Errorf("zone %q: %w of this half hour", zone, grid.ErrNoData)
	}
	if err != nil {
		return grid.Sample{}, err
	}
	return samples[len(samples)-1], nil
}

// Intensity returns what was measured or, where nothing is yet, expected.
func (p *Provider) Intensity(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	w, err := find(zone)
	if err != nil {
		return nil, err
	}
	if now := p.now(); to.After(now) {
		to = now
	}
	if from.After(to) {
		return nil, nil // that is a question for Forecast
	}
	spans, err := grid.Spans(from.Truncate(step), to.Truncate(step).Add(step), longest)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", zone, err)
	}
	var samples []grid.Sample
	for _, s := range spans {
		part, err := p.ask(ctx, zone, w.of+"/"+write(s.From)+"/"+write(s.To)+w.in)
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

// Forecast returns what is expected of the 48 hours after from.
func (p *Provider) Forecast(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	w, err := find(zone)
	if err != nil {
		return nil, err
	}
	begin := from
	if now := p.now(); begin.Before(now) {
		begin = now
	}
	samples, err := p.ask(ctx, zone, w.of+"/"+write(begin.Truncate(step))+"/fw48h"+w.in)
	if err != nil {
		return nil, err
	}
	return grid.Clip(samples, from, to), nil
}

func write(t time.Time) string { return t.UTC().Format(layout) }

// where are the paths of a zone: of the present, and of a time between two parts.
type where struct{ now, of, in string }

func find(zone string) (where, error) {
	if zone == "GB" {
		return where{"intensity", "intensity", ""}, nil
	}
	if number, ok := strings.CutPrefix(zone, "GB-"); ok {
		if n, err := strconv.Atoi(number); err == nil && 1 <= n && n <= regions && strconv.Itoa(n) == number {
			return where{"regional/regionid/" + number, "regional/intensity", "/regionid/" + number}, nil
		}
	}
	if code, ok := strings.CutPrefix(zone, "GB:"); ok && isOutward(code) {
		code = strings.ToUpper(code)
		return where{"regional/postcode/" + code, "regional/intensity", "/postcode/" + code}, nil
	}
	return where{}, fmt.Errorf("zone %q: %w: NESO has GB, its regions GB-1 to GB-%d, and the first half of a postcode (GB:SW1)", fetch.Quote(zone, 80), grid.ErrUnknownZone, regions)
}

// isOutward tells whether s is the outward code of a postcode: an area of one
// or two letters, a digit, and at most one digit or letter.
func isOutward(s string) bool {
	letters := 0
	for letters < len(s) && isLetter(s[letters]) {
		letters++
	}
	rest := s[letters:]
	if letters < 1 || letters > 2 || len(rest) < 1 || len(rest) > 2 || !isDigit(rest[0]) {
		return false
	}
	return len(rest) == 1 || isDigit(rest[1]) || isLetter(rest[1])
}

func isLetter(b byte) bool { return 'A' <= b&^0x20 && b&^0x20 <= 'Z' }
func isDigit(b byte) bool  { return '0' <= b && b <= '9' }

func (p *Provider) ask(ctx context.Context, zone, path string) ([]grid.Sample, error) {
	var a answer
	err := p.client.JSON(ctx, path, nil, nil, &a)
	if s, ok := errors.AsType[*fetch.StatusError](err); ok && s.Status == http.StatusBadRequest && strings.HasPrefix(zone, "GB:") {
		return nil, fmt.Errorf("zone %q: %w: %w: is it the first half of a postcode of Great Britain?", zone, err, grid.ErrUnknownZone)
	}
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", zone, err)
	}
	samples, err := a.samples()
	if err != nil {
		return nil, fmt.Errorf("zone %q: read what NESO says: %w", zone, err)
	}
	return samples, nil
}

// answer is what all questions are answered with: periods, or a region with
// periods in it, in a list for the present and alone for other times.
type answer struct {
	Data  json.RawMessage `json:"data"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

type period struct {
	From      string `json:"from"`
	To        string `json:"to"`
	Intensity struct {
		Forecast *float64 `json:"forecast"` // gCO2/kWh
		Actual   *float64 `json:"actual"`
	} `json:"intensity"`
}

type region struct {
	period
	Data []period `json:"data"`
}

func (a answer) periods() ([]period, error) {
	if a.Error != nil {
		return nil, fmt.Errorf("it answers %s: %s", fetch.Quote(a.Error.Code, 40), fetch.Quote(a.Error.Message, 200))
	}
	var list []region
	var err error
	if len(a.Data) > 0 && a.Data[0] == '{' {
		list = make([]region, 1)
		err = json.Unmarshal(a.Data, &list[0])
	} else if len(a.Data) > 0 {
		err = json.Unmarshal(a.Data, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("the answer is not of the shape that is documented: %s", fetch.Quote(err.Error(), 100))
	}
	if list == nil {
		return nil, fmt.Errorf("the list of periods is missing: %w", grid.ErrNoData)
	}
	var periods []period
	for _, r := range list {
		if r.Data == nil {
			periods = append(periods, r.period)
		}
		periods = append(periods, r.Data...)
	}
	return periods, nil
}

func (a answer) samples() ([]grid.Sample, error) {
	periods, err := a.periods()
	if err != nil {
		return nil, err
	}
	samples := make([]grid.Sample, 0, len(periods))
	for _, v := range periods {
		s := grid.Sample{}
		if s.From, err = read(v.From); err != nil {
			return nil, err
		}
		if s.To, err = read(v.To); err != nil {
			return nil, err
		}
		value := v.Intensity.Actual
		if value == nil {
			value, s.Estimated = v.Intensity.Forecast, true
		}
		if value == nil {
			continue
		}
		s.Intensity = *value
		samples = append(samples, s)
	}
	return grid.Tidy(samples)
}

func read(s string) (time.Time, error) {
	t, err := time.Parse(layout, s)
	if err != nil {
		if t, err = time.Parse(time.RFC3339, s); err != nil {
			return t, fmt.Errorf("%q is no time of the form %s", fetch.Quote(s, 40), layout)
		}
	}
	return t.UTC(), nil
}
