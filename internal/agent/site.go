package agent

import (
	"time"

	"noether/internal/snapshot"
)

// Site tells the agent about the electricity and the hardware of its machine.
type Site interface {
	// Between returns what is known of the time between two wall-clock moments:
	// means, weighted by time, of what changed in between. It does not block,
	// asks nobody, and returns something immutable; nil if nothing is known.
	Between(from, to time.Time) *snapshot.Site
}
