package yearly

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/regions"
)

func TestTable(t *testing.T) {
	alpha2, alpha3 := regexp.MustCompile(`^[A-Z]{2}$`), regexp.MustCompile(`^[A-Z]{3}$`)
	all, seen := All(), map[string]bool{}
	if lines := strings.Count(strings.TrimSpace(table), "\n") + 1; len(all) != lines || lines < 200 {
		t.Errorf("%d rows of %d lines", len(all), lines)
	}
	if !slices.IsSortedFunc(all, func(a, b Row) int { return strings.Compare(a.Zone, b.Zone) }) {
		t.Error("the table is not sorted")
	}
	for _, r := range all {
		if !(r.Intensity > 0 && r.Intensity < 3000) || !alpha2.MatchString(r.Zone) || !alpha3.MatchString(r.Alpha3) || seen[r.Zone] || seen[r.Alpha3] {
			t.Errorf("%+v", r)
		}
		seen[r.Zone], seen[r.Alpha3] = true, true
	}
}

func TestEveryCloudRegionHasAnAverage(t *testing.T) {
	for _, p := range regions.All() {
		r, err := Find(p.Provider + ":" + p.Region)
		if err != nil || r.Zone != p.Country() {
			t.Errorf("%s:%s: %v %v", p.Provider, p.Region, r, err)
		}
	}
}

func TestProvider(t *testing.T) {
	p, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 8, 21, 10, 30, 0, 0, time.UTC)
	for zone, want := range map[string]float64{
		"DE": 342.06, "DEU": 342.06, "FR": 44.18, "US-CAL-CISO": 383.55, "SE-SE3": 35.89, "XK": 958.72,
		"aws:eu-central-1": 342.06, "gcp:us-central1": 383.55, "azure:norwaywest": 30.75, "de": 342.06,
	} {
		s, err := p.Latest(t.Context(), zone)
		if err != nil || s.Intensity != want || !s.Estimated || s.From.After(now) || s.To.Before(now) {
			t.Errorf("%s: %+v %v, want %v", zone, s, err, want)
		}
		samples, err := p.Intensity(t.Context(), zone, now, now.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if mean, err := grid.Mean(samples, now, now.Add(time.Hour)); mean != want || err != nil {
			t.Errorf("%s: %v %v", zone, mean, err)
		}
	}
	for _, zone := range []string{"", "XX", "CF", "EU", "WORLD", "52.5,13.4", "aws:mars-1", "-", "DE FR"} {
		if s, err := p.Latest(t.Context(), zone); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("%q: %+v %v", zone, s, err)
		}
		if _, err := p.Intensity(t.Context(), zone, now, now); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("%q: %v", zone, err)
		}
	}
	if _, err := p.Forecast(t.Context(), "DE", now, now); !errors.Is(err, grid.ErrNoForecast) {
		t.Errorf("%v", err)
	}
}
