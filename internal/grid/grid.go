// Package grid is the contract of sources of carbon intensity: how many grams
// of CO2e the electricity of a grid zone causes per kilowatt-hour, and when.
//
// It refuses to guess: a time without a value is an error that names zone and
// time, never 0 and never a value of another time.
package grid

import (
	"context"
	"fmt"
	"math"
	"sort"
	"time"
)

// Source gives the intensity of grid zones. Sources are safe for concurrent use.
type Source interface {
	// Intensity returns what is known of zone between from and to, ordered by
	// time and without overlap. The first sample may begin before from and the
	// last end after to; a time that no sample covers is unknown. A zone that
	// the source does not have at all is an error. Zones are named as the
	// source names them: "DE", "US-CAL-CISO". If from and to are equal the
	// sample that holds at this instant is asked for.
	Intensity(ctx context.Context, zone string, from, to time.Time) ([]Sample, error)
}

// Sample is the intensity of a zone during [From, To).
type Sample struct {
	From, To  time.Time
	Intensity float64 // gCO2e/kWh
	// Estimated is set if the provider did not measure it, or says it of
	// another time.
	Estimated bool
}

// Max is the intensity above which a value is not believed, in gCO2e/kWh: the
// dirtiest fuel in the worst plant emits half of it, marginal signals reach
// further.
const Max = 3000

// Check tells whether an intensity can be one.
func Check(intensity float64) error {
	if !(intensity >= 0 && intensity <= Max) { // also NaN
		return fmt.Errorf("%v gCO2e/kWh is no carbon intensity: it lies between 0 and %d", intensity, Max)
	}
	return nil
}

// Mean returns the mean of samples over [from, to), weighted by time; of one
// instant if the two are equal. The error names the first time without a value.
func Mean(samples []Sample, from, to time.Time) (float64, error) {
	at := sort.Search(len(samples), func(i int) bool { return samples[i].To.After(from) })
	if !to.After(from) {
		if at == len(samples) || samples[at].From.After(from) {
			return math.NaN(), missing(from)
		}
		return samples[at].Intensity, nil
	}
	sum, reached := 0.0, from
	for _, s := range samples[at:] {
		if s.From.After(reached) {
			break
		}
		end := s.To
		if !end.Before(to) {
			end = to
		}
		if reached.Equal(from) && end.Equal(to) {
			return s.Intensity, nil // exactly, without the rounding of a weighted sum
		}
		sum += float64(s.Intensity * end.Sub(reached).Seconds())
		if reached = end; end.Equal(to) {
			return sum / to.Sub(from).Seconds(), nil
		}
	}
	return math.NaN(), missing(reached)
}

func missing(at time.Time) error {
	return fmt.Errorf("no value at %s", at.UTC().Format(time.RFC3339))
}
