// Package sensor is the contract of everything that measures energy. One
// directory below it holds one kind of sensor; sensor/all is the ordered
// table of them.
package sensor

import (
	"context"
	"time"

	"noether/internal/energy"
)

// Sensor reads the zones of one kind of meter. One goroutine uses it at a time.
type Sensor interface {
	// Zones returns the meters. They are fixed after Open and owned by the sensor.
	Zones() []energy.Zone
	// Read appends one reading for each zone that could be read to dst. Valid
	// readings are kept even if err is not nil; err then joins one *ZoneError
	// for each zone that failed.
	Read(ctx context.Context, dst []energy.Reading) ([]energy.Reading, error)
	Close() error
}

// Runner is a sensor that is told what it measures by somebody slow. It asks
// in the background, and its Read gives the last answer, if there is one.
type Runner interface {
	Sensor
	// Run asks until ctx is done. Whoever opens the sensor runs it, beside Read
	// on another goroutine, and waits for it before Close.
	Run(ctx context.Context) error
}

// ZoneError says why one zone could not be read. The zone is an index into Zones.
type ZoneError struct {
	Zone int
	Err  error
}

// Error returns the reason, which names the zone's file.
func (e *ZoneError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *ZoneError) Unwrap() error { return e.Err }

// Env is the part of the world that a sensor may look at.
type Env struct {
	Proc, Sys string               // where /proc and /sys are found
	Now       func() time.Duration // monotonic time
	// Wait is how long a Runner may wait for its first answer when it is opened,
	// for whoever has to know whether it works; without it, it opens at once.
	Wait time.Duration
	// Covered has the components that sensors opened earlier already measure.
	Covered [energy.Components]bool
}

// Kind is one line of the table of sensors.
type Kind struct {
	Name string
	// Adds is set for kinds that add to any other (GPUs, platform meters).
	// Of the others, automatic choice takes the first that works.
	Adds bool
	// Open returns the sensor, or an error from which package probe derives
	// the verdict: one wrapping probe.ErrNotSupported when the machine lacks
	// the hardware, a permission error when it may not look, and any other
	// error when that could not be decided.
	Open func(ctx context.Context, env Env) (Sensor, error)
}
