// Package usage is the contract of the sources that say who ran. One
// directory below it holds one source; usage/all composes them into a ladder.
package usage

import (
	"context"

	"noether/internal/workload"
)

// Source fills its part of a tick's usage. One goroutine uses it at a time.
type Source interface {
	// Name is the word for --usage: bpf, cgroup, procfs.
	Name() string
	// Read appends what was used since the previous Read to dst. The first
	// Read takes the baseline: it lists what exists, with no CPU time.
	// On error dst keeps what could be read.
	Read(ctx context.Context, dst *workload.Usage) error
	Close() error
}
