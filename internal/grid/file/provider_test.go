package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
)

func write(t *testing.T, path, text string, stamp time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, stamp, stamp); err != nil {
		t.Fatal(err)
	}
}

func TestProvider(t *testing.T) {
	path := filepath.Join(t.TempDir(), "intensity.csv")
	write(t, path, "timestamp,zone,gCO2e/kWh,estimated\n2024-01-01T08:00:00Z,DE,300,true\n2024-01-01T09:00:00Z,DE,310,false\n2024-01-01T10:00:00Z,DE,290,false\n2024-01-01T11:00:00Z,DE,280,false\n2024-01-01T12:00:00Z,FRA,40,\n", day(1, 0))
	now := day(1, 9).Add(30 * time.Minute)
	p, err := NewProvider(Options{Path: path, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	hour := func(h int, g float64) grid.Sample {
		return grid.Sample{From: day(1, h), To: day(1, h+1), Intensity: g, Estimated: h == 8}
	}
	for _, zone := range []string{"DE", "aws:eu-central-1"} {
		got, err := p.Latest(t.Context(), zone)
		if diff := cmp.Diff(hour(9, 310), got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", zone, err, diff)
		}
		past, err := p.Intensity(t.Context(), zone, day(1, 8), now)
		if diff := cmp.Diff([]grid.Sample{hour(8, 300), hour(9, 310)}, past); diff != "" || err != nil {
			t.Errorf("%s: %v %s", zone, err, diff)
		}
		next, err := p.Forecast(t.Context(), zone, now, now.Add(24*time.Hour))
		if diff := cmp.Diff([]grid.Sample{hour(9, 310), hour(10, 290), hour(11, 280)}, next); diff != "" || err != nil {
			t.Errorf("%s: %v %s", zone, err, diff)
		}
	}
	if _, err := p.Latest(t.Context(), "FR"); !errors.Is(err, grid.ErrNoData) { // FRA, at noon
		t.Errorf("%v", err)
	}
	for _, zone := range []string{"XX", "", "FR-COR", "aws:x"} {
		if _, err := p.Latest(t.Context(), zone); !errors.Is(err, grid.ErrUnknownZone) || !strings.Contains(err.Error(), "there are DE, FRA") {
			t.Errorf("%q: %v", zone, err)
		}
		if _, err := p.Forecast(t.Context(), zone, now, now); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("%q: %v", zone, err)
		}
	}

	// Stale rows are given with their times; there is nothing to come.
	now = day(3, 0)
	if got, err := p.Latest(t.Context(), "FR"); err != nil || !got.To.Equal(day(1, 13)) {
		t.Errorf("%v %v", got, err)
	}
	if _, err := p.Forecast(t.Context(), "DE", now, now.Add(time.Hour)); !errors.Is(err, grid.ErrNoForecast) {
		t.Errorf("%v", err)
	}

	// Somebody writes a new file, then half of one, and takes it away.
	write(t, path, "timestamp,zone,gCO2e/kWh\n2024-01-02T23:00:00Z,DE,100\n2024-01-03T00:00:00Z,DE,200\n", day(2, 0))
	if got, err := p.Latest(t.Context(), "DE"); err != nil || got.Intensity != 200 {
		t.Errorf("%v %v", got, err)
	}
	write(t, path, "timestamp,zone,gCO2e/kWh\n2024-01-02T23:00:00Z,DE,100\n2024-01-0", day(2, 1))
	if _, err := p.Latest(t.Context(), "DE"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Latest(t.Context(), "DE"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	p, err = NewProvider(Options{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Latest(t.Context(), "DE"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("%v", err)
	}
	if _, err := NewProvider(Options{}); err == nil {
		t.Error("no path is a file")
	}
}

// TestFileThatComesLater stops nobody from starting.
func TestFileThatComesLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "late.csv")
	p, err := NewProvider(Options{Path: path, Now: func() time.Time { return day(1, 9) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Latest(t.Context(), "DE"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	for _, c := range []struct {
		text string
		ok   bool
	}{{"timestamp,zone,gCO2e/k", false}, {"timestamp,zone,gCO2e/kWh\n2024-01-01T08:00:00Z,DE,300\n2024-01-01T09:00:00Z,DE,310\n", true}} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Latest(t.Context(), "DE"); (err == nil) != c.ok {
			t.Errorf("%q: %v", c.text, err)
		}
	}
}
