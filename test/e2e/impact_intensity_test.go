package e2e

import (
	"math"
	"strings"
	"testing"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/series"
	"noether/internal/promclient"
)

// TestIntensityFromSeries reads an intensity that a real Prometheus and a real
// VictoriaMetrics hold: 100, then 300 g/kWh from half past on, then nothing.
func TestIntensityFromSeries(t *testing.T) {
	t.Parallel()
	const name = "noether_grid_carbon_intensity_grams_per_kwh"
	var h history
	start := time.Now().Add(-24 * time.Hour).Truncate(time.Hour)
	for i := range 12 {
		at := start.Add(time.Duration(i) * 5 * time.Minute)
		v := 100.0
		if i >= 6 {
			v = 300
		}
		h.add(name+`{grid_zone="DE",signal="average"}`, at, v)
		h.add(name+`{grid_zone="DE",signal="marginal"}`, at, 800)
		h.add(name+`{grid_zone="FR",signal="average"}`, at, 1e6)
	}
	prometheus := startPrometheus(t, promOptions{history: h.openMetrics()})
	vm := startVictoriaMetrics(t)
	vm.load(h.openMetrics())
	for _, s := range []*server{prometheus, vm} {
		client, err := promclient.New(promclient.Options{URL: s.url})
		if err != nil {
			t.Fatal(err)
		}
		source := func(labels ...promclient.Matcher) *series.Source {
			return &series.Source{Client: client, Metric: name, ZoneLabel: "grid_zone", Matchers: labels, MaxAge: 10 * time.Minute}
		}
		average := promclient.Matcher{Label: "signal", Op: "=", Value: "average"}
		for what, c := range map[string]struct {
			source   *series.Source
			zone     string
			from, to time.Duration
			want     float64
			err      string
		}{
			"the hour":           {source(average), "DE", 0, time.Hour, 200, ""},
			"across the half":    {source(average), "DE", 20 * time.Minute, 32 * time.Minute, (10*100 + 2*300) / 12., ""},
			"between samples":    {source(average), "DE", 33 * time.Minute, 34 * time.Minute, 300, ""},
			"within max-age":     {source(average), "DE", time.Hour, 65 * time.Minute, 300, ""},
			"past max-age":       {source(average), "DE", time.Hour, 70 * time.Minute, 0, "no value at " + start.Add(65*time.Minute).UTC().Format(time.RFC3339)},
			"before the first":   {source(average), "DE", -time.Minute, time.Minute, 0, "no value at"},
			"two series":         {source(), "DE", 0, time.Hour, 0, "several series"},
			"an unknown zone":    {source(average), "PL", 0, time.Hour, 0, `grid_zone="PL"`},
			"what is none":       {source(average), "FR", 0, time.Hour, 0, "is no carbon intensity"},
			"long after the end": {source(average), "DE", 5 * time.Hour, 6 * time.Hour, 0, "no series"},
		} {
			from, to := start.Add(c.from), start.Add(c.to)
			samples, err := c.source.Intensity(t.Context(), c.zone, from, to)
			got := math.NaN()
			if err == nil {
				got, err = grid.Mean(samples, from, to)
			}
			switch {
			case c.err != "":
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%s, %s: %v %v, want %q", s.url, what, got, err, c.err)
				}
			case err != nil || math.Abs(got-c.want) > 1e-9:
				t.Errorf("%s, %s: %v %v, want %v", s.url, what, got, err, c.want)
			}
		}
	}
}
