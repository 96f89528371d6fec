package grid

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Tidy returns samples ordered by time and without overlap, as sources promise
// them: of two that begin together the later in the list is kept, and one that
// reaches into the next ends there. It changes the slice in place. A value
// that is no intensity, and a sample that ends before it begins, is an error.
func Tidy(samples []Sample) ([]Sample, error) {
	for _, s := range samples {
		if err := Check(s.Intensity); err != nil {
			return nil, fmt.Errorf("the value at %s: %w", s.From.UTC().Format(time.RFC3339), err)
		}
		if !s.To.After(s.From) {
			return nil, fmt.Errorf("the value at %s has no length", s.From.UTC().Format(time.RFC3339))
		}
	}
	slices.SortStableFunc(samples, func(a, b Sample) int { return a.From.Compare(b.From) })
	out := samples[:0]
	for _, s := range samples {
		if n := len(out); n > 0 && out[n-1].From.Equal(s.From) {
			out = out[:n-1]
		}
		if n := len(out); n > 0 && out[n-1].To.After(s.From) {
			out[n-1].To = s.From
		}
		out = append(out, s)
	}
	return out, nil
}

// Clip returns those of tidy samples that reach into [from, to].
func Clip(samples []Sample, from, to time.Time) []Sample {
	first, last := 0, len(samples)
	for first < last && !samples[first].To.After(from) {
		first++
	}
	for last > first && samples[last-1].From.After(to) {
		last--
	}
	return samples[first:last:last]
}

// Span is the time between two moments.
type Span struct{ From, To time.Time }

// mostSpans is how many requests one question may cost.
const mostSpans = 64

// Spans divides the time from from to to into parts that are not longer than a
// service allows in one request. It refuses what would need too many.
func Spans(from, to time.Time, longest time.Duration) ([]Span, error) {
	if n := to.Sub(from) / longest; n >= mostSpans {
		return nil, fmt.Errorf("ask for %s: it would take %d requests: ask for %d days or less", to.Sub(from), n+1, int(mostSpans*longest.Hours()/24))
	}
	var spans []Span
	for from.Before(to) {
		end := from.Add(longest)
		if end.After(to) {
			end = to
		}
		spans = append(spans, Span{from, end})
		from = end
	}
	return spans, nil
}

// Location reads a zone that is a place, "52.52,13.40": degrees of latitude
// north and of longitude east.
func Location(zone string) (lat, lon string, ok bool) {
	lat, lon, ok = strings.Cut(zone, ",")
	lat, lon = strings.TrimSpace(lat), strings.TrimSpace(lon)
	if !ok || !degrees(lat, 90) || !degrees(lon, 180) {
		return "", "", false
	}
	return lat, lon, true
}

func degrees(s string, most float64) bool {
	if len(s) > 20 || strings.Trim(s, "-.0123456789") != "" {
		return false
	}
	x, err := strconv.ParseFloat(s, 64)
	return err == nil && math.Abs(x) <= most
}
