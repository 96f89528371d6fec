// Package probe holds the answers to "does this part work here": works,
// absent, forbidden, masked, broken, stale, or cannot tell, each with its reason and the
// command that mends it. It looks at nothing itself.
package probe

import (
	"errors"
	"io/fs"
	"strings"
)

// Status is one of the different answers to "does this part work here".
type Status uint8

// The statuses. Only Absent and Masked are conclusive without more rights.
const (
	Unknown   Status = iota // it could not be decided
	Works                   // it was opened and read
	Absent                  // the machine or kernel lacks it
	Forbidden               // it is there, but may not be read
	Masked                  // a container runtime hides it
	Broken                  // it is there, but what it says cannot be used
	Stale                   // it is there, but has stopped moving or answering
)

// String returns the status as it stands in tables and JSON.
func (s Status) String() string {
	switch s {
	case Works:
		return "works"
	case Absent:
		return "absent"
	case Forbidden:
		return "forbidden"
	case Masked:
		return "masked"
	case Broken:
		return "broken"
	case Stale:
		return "stale"
	default:
		return "cannot tell"
	}
}

// ErrNotSupported is wrapped by errors that mean: the machine or its kernel lacks this.
var ErrNotSupported = errors.New("not supported")

// Error is a failure to open a part whose status and remedy are known.
type Error struct {
	Status Status
	Remedy string // an exact command or setting that mends it; empty when there is none
	Err    error
}

// Error returns the reason alone; the remedy is shown beside it.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Verdict is what is known about one part on this machine.
type Verdict struct {
	Name   string
	Status Status
	Reason string // why, or what it covers when it works
	Remedy string // what to do about it; empty when nothing is wrong or nothing helps
}

// Of turns the error of an attempt to open the part called name into a verdict.
// A nil error is Works, and reason then says what the part covers.
func Of(name, reason string, err error) Verdict {
	if err == nil {
		return Verdict{Name: name, Status: Works, Reason: reason}
	}
	v := Verdict{Name: name, Reason: strings.TrimSuffix(err.Error(), ": "+ErrNotSupported.Error())} // Absent says it
	var known *Error
	switch {
	case errors.As(err, &known):
		v.Status, v.Remedy = known.Status, known.Remedy
	case errors.Is(err, ErrNotSupported):
		v.Status = Absent
	case errors.Is(err, fs.ErrPermission):
		v.Status = Forbidden
	}
	return v
}
