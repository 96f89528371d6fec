package plot

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
)

func at(hour float64) time.Time {
	return time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC).Add(time.Duration(hour * float64(time.Hour)))
}

func hourly(values ...float64) (samples []grid.Sample) {
	for i, v := range values {
		if !math.IsNaN(v) {
			samples = append(samples, grid.Sample{From: at(float64(i)), To: at(float64(i + 1)), Intensity: v})
		}
	}
	return samples
}

func TestDrawing(t *testing.T) {
	samples := hourly(100, 200, 300, 400, math.NaN(), 400, 50, 0)
	got := string(Append(nil, samples, at(0), at(8), Options{Width: 40, Height: 4, Now: at(0.5), From: at(6), To: at(8)}))
	want := strings.Join([]string{
		"   400 │            ████    ████",
		"       │        ████████    ████",
		"   200 │    ████████████    ████",
		"       │████████████████    ████▄▄▄▄▁▁▁▁",
		"     0 └┬───────────┬───────────┬───────",
		"        00:00       03:00       06:00",
		"          ▲ now     ▲ max  best ▔▔▔▔▔▔▔▔",
		"                                min ▲",
		"",
	}, "\n")
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Error(diff)
	}
}

func TestAlsoWithoutBlocksAndWithColour(t *testing.T) {
	samples := hourly(100, 400, 200)
	plain := string(Append(nil, samples, at(0), at(3), Options{Width: 50, Height: 5, ASCII: true, Now: at(1)}))
	for _, r := range plain {
		if r >= utf8.RuneSelf {
			t.Fatalf("%q in %s", r, plain)
		}
	}
	if coloured := string(Append(nil, samples, at(0), at(3), Options{Width: 50, Height: 5, Colour: true})); !strings.Contains(coloured, green) || !strings.Contains(coloured, red) {
		t.Error(coloured)
	}
	if strings.Contains(plain, "\x1b") {
		t.Error("an escape sequence without colour")
	}
}

func TestNothingToDraw(t *testing.T) {
	for _, samples := range [][]grid.Sample{nil, hourly(100)} {
		if got := Append(nil, samples, at(2), at(5), Options{Width: 80, Height: 8}); len(got) > 0 {
			t.Errorf("%s", got)
		}
	}
}

func TestSummarize(t *testing.T) {
	got, ok := Summarize(hourly(100, 200, math.NaN(), 100, 900), at(0.5), at(4))
	want := Stats{Min: 100, Max: 200, Mean: (50 + 200 + 100) / 2.5, MinAt: at(0.5), MaxAt: at(1), Covered: 150 * time.Minute}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Error(diff)
	}
}

// No line is wider than the terminal, whatever is drawn.
func FuzzAppend(f *testing.F) {
	f.Add(uint16(80), uint8(8), int64(3600), int64(86400), uint16(24), 300.0, true)
	f.Add(uint16(0), uint8(0), int64(1), int64(1), uint16(1), 0.0, false)
	f.Add(uint16(200), uint8(40), int64(864000), int64(31536000), uint16(300), 2999.0, true)
	zone := time.FixedZone("odd", 5*3600+2700)
	f.Fuzz(func(t *testing.T, width uint16, height uint8, step, span int64, n uint16, v float64, ascii bool) {
		if step <= 0 || step > 1e7 || span <= 0 || span > 1e8 || !(v >= 0 && v <= grid.Max) {
			return
		}
		var samples []grid.Sample
		from := time.Unix(1_770_000_000, 0)
		for i := range int64(n % 512) {
			samples = append(samples, grid.Sample{From: from.Add(time.Duration(i*step) * time.Second), To: from.Add(time.Duration((i+1)*step) * time.Second), Intensity: math.Abs(math.Sin(float64(i))) * v})
		}
		o := Options{Width: int(width), Height: int(height), ASCII: ascii, Location: zone, Now: from, From: from.Add(time.Duration(step) * time.Second), To: from.Add(time.Duration(3*step) * time.Second)}
		text := string(Append(nil, samples, from, from.Add(time.Duration(span)*time.Second), o))
		for line := range strings.SplitSeq(text, "\n") {
			if got := utf8.RuneCountInString(line); got > min(max(int(width), minWidth), maxWidth) {
				t.Fatalf("%d columns of %d: %q", got, width, line)
			}
		}
	})
}
