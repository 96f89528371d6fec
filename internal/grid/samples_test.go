package grid_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
)

func hour(h int) time.Time { return time.Date(2026, 8, 21, h, 0, 0, 0, time.UTC) }

func sample(from, to int, g float64) grid.Sample {
	return grid.Sample{From: hour(from), To: hour(to), Intensity: g}
}

func TestTidy(t *testing.T) {
	for name, c := range map[string]struct{ in, want []grid.Sample }{
		"out of order":              {[]grid.Sample{sample(2, 3, 20), sample(1, 2, 10)}, []grid.Sample{sample(1, 2, 10), sample(2, 3, 20)}},
		"the last of two is kept":   {[]grid.Sample{sample(1, 2, 10), sample(1, 3, 11)}, []grid.Sample{sample(1, 3, 11)}},
		"an overlap ends":           {[]grid.Sample{sample(1, 4, 10), sample(2, 3, 20)}, []grid.Sample{sample(1, 2, 10), sample(2, 3, 20)}},
		"a hole stays":              {[]grid.Sample{sample(1, 2, 10), sample(5, 6, 20)}, []grid.Sample{sample(1, 2, 10), sample(5, 6, 20)}},
		"an overlap that is undone": {[]grid.Sample{sample(1, 9, 10), sample(2, 3, 20), sample(2, 4, 30)}, []grid.Sample{sample(1, 2, 10), sample(2, 4, 30)}},
	} {
		got, err := grid.Tidy(c.in)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	for want, s := range map[string]grid.Sample{
		"at 2026-08-21T01:00:00Z: -1 gCO2e/kWh is no carbon intensity": sample(1, 2, -1),
		"at 2026-08-21T01:00:00Z has no length":                        sample(1, 1, 5),
	} {
		if _, err := grid.Tidy([]grid.Sample{s}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestClip(t *testing.T) {
	all := []grid.Sample{sample(1, 2, 10), sample(2, 3, 20), sample(5, 6, 30)}
	for name, c := range map[string]struct {
		from, to int
		want     []grid.Sample
	}{
		"everything":             {0, 9, all},
		"from inside":            {2, 9, all[1:]},
		"an instant":             {1, 1, all[:1]},
		"a hole":                 {3, 4, []grid.Sample{}},
		"what begins at the end": {0, 2, all[:2]},
		"before":                 {0, 0, []grid.Sample{}},
		"after":                  {6, 7, []grid.Sample{}},
	} {
		if diff := cmp.Diff(c.want, grid.Clip(all, hour(c.from), hour(c.to))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSpans(t *testing.T) {
	got, err := grid.Spans(hour(0), hour(5), 2*time.Hour)
	want := []grid.Span{{From: hour(0), To: hour(2)}, {From: hour(2), To: hour(4)}, {From: hour(4), To: hour(5)}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if got, err := grid.Spans(hour(5), hour(0), time.Hour); err != nil || len(got) > 0 {
		t.Errorf("%v, %v of a time that runs backwards", got, err)
	}
	if _, err := grid.Spans(hour(0).AddDate(-100, 0, 0), hour(0), 24*time.Hour); err == nil || !strings.Contains(err.Error(), "ask for 64 days or less") {
		t.Errorf("%v of a century", err)
	}
}

func TestLocation(t *testing.T) {
	for zone, want := range map[string]bool{
		"52.52,13.40": true, "-33.9,151": true, "0,-0.1": true,
		"": false, "DE": false, "91,0": false, "0,181": false, "1,2,3": false, "NaN,1": false, "1e1,2": false, "1, 2": true, "1 2": false, ",": false, "1,": false,
		"0x1,2": false, "52.52,13.40&zone=FR": false, "Inf,1": false,
	} {
		if _, _, ok := grid.Location(zone); ok != want {
			t.Errorf("Location(%q) is %v", zone, ok)
		}
	}
}
