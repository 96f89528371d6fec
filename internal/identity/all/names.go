package all

import (
	"context"
	"maps"

	"noether/internal/workload"
)

// Namer is one source of names.
type Namer interface {
	// Run asks until ctx is done.
	Run(ctx context.Context) error
	// Latest, Missing and Status never block.
	Latest() *workload.Names
	Missing(owners []workload.Owner)
	Status(dst []workload.NamesStatus) []workload.NamesStatus
}

// Names is what several sources know, as one. Where two name the same thing,
// the first of them is right. One goroutine uses it at a time: the agent's.
type Names struct {
	sources []Namer
	seen    []*workload.Names // what latest was made of
	latest  *workload.Names
}

// Combine returns the names of all the sources, in the order of their authority.
func Combine(sources ...Namer) *Names {
	return &Names{sources: sources, seen: make([]*workload.Names, len(sources)), latest: &workload.Names{}}
}

// Latest returns what is known by now; the same pointer when no source has
// anything new. Facts are the sources' own.
func (n *Names) Latest() *workload.Names {
	changed := false
	for i, s := range n.sources {
		if names := s.Latest(); names != n.seen[i] {
			n.seen[i], changed = names, true
		}
	}
	if !changed {
		return n.latest
	}
	all := &workload.Names{}
	for _, names := range n.seen {
		all.Pods = union(all.Pods, names.Pods)
		all.Containers = union(all.Containers, names.Containers)
		if all.Allocatable == (workload.Reserved{}) {
			all.Allocatable = names.Allocatable
		}
		if !all.Node.Known {
			all.Node = names.Node
		}
		all.AsksPods = all.AsksPods || names.AsksPods
		all.AsksContainers = all.AsksContainers || names.AsksContainers
	}
	n.latest = all
	return all
}

// union returns a and what b has besides. It copies only if both have
// something, which sources of different things never do.
func union[V any](a, b map[string]V) map[string]V {
	switch {
	case len(b) == 0:
		return a
	case len(a) == 0:
		return b
	}
	both := maps.Clone(b)
	maps.Copy(both, a)
	return both
}

// Missing hands every source the owners that had no name in this tick.
func (n *Names) Missing(owners []workload.Owner) {
	for _, s := range n.sources {
		s.Missing(owners)
	}
}

// Status appends how each source is doing to dst.
func (n *Names) Status(dst []workload.NamesStatus) []workload.NamesStatus {
	for _, s := range n.sources {
		dst = s.Status(dst)
	}
	return dst
}
