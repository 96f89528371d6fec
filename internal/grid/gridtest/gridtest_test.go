package gridtest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
)

// model is the least that a provider can be.
type model struct {
	client *fetch.Client
	token  fetch.Secret
}

func (m *model) Info() grid.Info {
	return grid.Info{Name: "model", Signal: grid.Average, Factor: grid.Lifecycle, Step: time.Hour}
}

func (m *model) Latest(ctx context.Context, zone string) (grid.Sample, error) {
	token, err := m.token.Read()
	if err != nil {
		return grid.Sample{}, err
	}
	var answer struct {
		G *float64
		T time.Time
	}
	if err := m.client.JSON(ctx, "latest", url.Values{"zone": {zone}}, http.Header{"Auth-Token": {token}}, &answer); err != nil {
		return grid.Sample{}, err
	}
	if answer.G == nil || answer.T.IsZero() {
		return grid.Sample{}, fmt.Errorf("the answer has no value: %w", grid.ErrNoData)
	}
	return grid.Sample{From: answer.T, To: answer.T.Add(time.Hour), Intensity: *answer.G}, grid.Check(*answer.G)
}

func (m *model) Intensity(ctx context.Context, zone string, _, _ time.Time) ([]grid.Sample, error) {
	s, err := m.Latest(ctx, zone)
	if err != nil {
		return nil, err
	}
	return []grid.Sample{s}, nil
}

func (m *model) Forecast(context.Context, string, time.Time, time.Time) ([]grid.Sample, error) {
	return nil, grid.ErrNoForecast
}

func TestHostile(t *testing.T) {
	Hostile(t, Kit{
		New: func(base string, token fetch.Secret, now func() time.Time) (grid.Provider, error) {
			client, err := fetch.New(fetch.Options{Base: base, Now: now})
			return &model{client, token}, err
		},
		Zone: "DE",
		Now:  time.Date(2026, 8, 21, 10, 30, 0, 0, time.UTC),
		Answer: func(_ *http.Request, value string) string {
			return `{"g":` + value + `,"t":"2026-08-21T10:00:00Z"}`
		},
	})
}
