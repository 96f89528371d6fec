package grid

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Signal says what an intensity is about. The two are never mixed in one series.
type Signal string

// The signals.
const (
	// Average is the mean of all generation: for inventories and trends, since
	// it adds up to the grid's total.
	Average Signal = "average"
	// Marginal is that of the plants that answer one more kilowatt-hour: for
	// decisions about when to run something.
	Marginal Signal = "marginal"
)

// Factor says which emissions of a power plant are counted.
type Factor string

// The factors: of the whole life of the plants, or of combustion only.
const (
	Lifecycle Factor = "lifecycle"
	Direct    Factor = "direct"
)

// Info is what does not change about a provider.
type Info struct {
	Name   string // as in settings and labels
	Signal Signal
	Factor Factor
	Step   time.Duration // length of its samples, 0 if they have none
}

// Provider is somebody who publishes intensities. Providers are safe for
// concurrent use, bound what they read, and need ctx for their deadline only.
// Errors are of the kinds below where one fits; no error and no log line holds
// a credential. Values are checked: none outside of Check is ever returned.
type Provider interface {
	Info() Info
	// Source gives the past and, as far as it is known, the present.
	Source
	// Latest returns the newest sample that the provider has of zone. It may
	// have ended: how old is too old is for the caller to say.
	Latest(ctx context.Context, zone string) (Sample, error)
	// Forecast returns what is expected between from and to, ordered by time
	// and without overlap, as far as the provider looks ahead. It is
	// ErrNoForecast if it never does.
	Forecast(ctx context.Context, zone string, from, to time.Time) ([]Sample, error)
}

// Relay is a provider that passes on what others say.
type Relay interface {
	Provider
	// Origin tells who said the newest sample of zone, and when they were
	// asked; a zero time if it is built in. It is false before the first answer.
	Origin(zone string) (provider string, updated time.Time, ok bool)
}

// The kinds of failure, for errors.Is.
var (
	ErrUnknownZone  = errors.New("the provider does not have this zone")
	ErrUnauthorized = errors.New("the provider refuses the credentials")
	ErrNoData       = errors.New("the provider has no value")
	ErrNoForecast   = errors.New("the provider does not forecast")
)

// LimitedError is a request that was one too many.
type LimitedError struct {
	RetryAfter time.Duration // what the provider asks for; 0 if it does not say
}

func (e *LimitedError) Error() string {
	if e.RetryAfter > 0 {
		return fmt.Sprintf("the provider has had too many requests: it asks to wait %s", e.RetryAfter)
	}
	return "the provider has had too many requests"
}
