package agent

import "noether/internal/workload"

// Names says what the owners found by their cgroups are called. Its methods
// never block; the agent's goroutine calls them once a tick.
type Names interface {
	// Latest returns what is known by now, never nil; the same pointer when
	// nothing has changed since the last call.
	Latest() *workload.Names
	// Missing tells which living pods and containers had no name in this tick,
	// and which ended while they waited for one, for a source that has to ask.
	// They are called as their cgroups' paths do. A sandbox of a pod is always
	// among them. The slice is valid during the call only.
	Missing(owners []workload.Owner)
	// Status appends how each source is doing to dst.
	Status(dst []workload.NamesStatus) []workload.NamesStatus
}
