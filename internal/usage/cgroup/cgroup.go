// Package cgroup is the usage source that needs no privilege: the CPU time of
// every cgroup, from counters that include what has ended. It sees no process.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"noether/internal/linux/cgroup"
	"noether/internal/probe"
	"noether/internal/usage"
	"noether/internal/workload"
)

// Source reads the counters of an index. It begins the index's ticks: what
// else uses the index reads after it. One goroutine at a time.
type Source struct {
	index    *usage.Index
	counters cgroup.Counters // nil: there are only files
	buf      []cgroup.Usage
}

// Open returns a source of what index counts; it does not own index.
func Open(index *usage.Index) (*Source, error) {
	const remedy = "mount the host's /sys/fs/cgroup and name it with --cgroupfs or --root"
	switch err := index.Err(); {
	case err == nil:
		return &Source{index: index}, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, &probe.Error{Status: probe.Forbidden, Err: err, Remedy: "let the agent's user read " + index.Root() + ", or run it as root"}
	case errors.Is(err, cgroup.ErrNone):
		return nil, &probe.Error{Status: probe.Masked, Err: err, Remedy: remedy}
	case errors.Is(err, fs.ErrNotExist):
		return nil, &probe.Error{Status: probe.Absent, Err: err, Remedy: remedy}
	default:
		return nil, err
	}
}

// Name is the word for --usage.
func (s *Source) Name() string { return "cgroup" }

// Covers says in a few words what is counted.
func (s *Source) Covers() string {
	layout, tree := s.index.Layout(), s.index.Counters()
	text := fmt.Sprintf("cgroups by %s (%s): %d", layout.Counters.Counter, layout.Mode, tree.Len())
	if layout.Partial {
		text += ", only those below this container's own"
	}
	return text
}

// Ask has counters tell of many cgroups at once, instead of their files, until
// it fails. Nil is for the files again. It is for v2 only.
func (s *Source) Ask(counters cgroup.Counters) { s.counters = counters }

// Read appends every cgroup and what it used to dst.Groups.
func (s *Source) Read(_ context.Context, dst *workload.Usage) error {
	s.index.Refresh()
	if s.counters != nil && s.index.Counters().Ask(s.counters) != nil {
		s.counters = nil
	}
	var err error
	s.buf, err = s.index.Counters().Read(s.buf[:0])
	for _, u := range s.buf {
		dst.Groups = append(dst.Groups, workload.GroupUsage{Group: s.index.Group(u.Slot), CPU: u.CPU})
	}
	return err
}

// Close does nothing: the index owns the descriptors.
func (s *Source) Close() error { return nil }
