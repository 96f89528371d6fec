package procfs

import (
	"slices"
	"time"

	"noether/internal/linux"
	"noether/internal/usage"
)

// family is what a process is due for its children.
//
// When a process waits for a child, the child's whole CPU time, and that of
// the children it had waited for, is added to the parent's count (cutime and
// cstime). Of this, lost is what was told while the child lived; the excess
// was used by children, or parts of their lives, that nobody saw.
type family struct {
	excess time.Duration // growth of the count in this tick, less what was told
	lost   time.Duration // told of children that vanished in this tick
	// carried is what vanished in the tick before and is not in the count yet:
	// the child may have gone after the parent was read.
	carried time.Duration
	// orphaned is the part of lost whose own parent is gone as well: it may
	// have been waited for further up.
	orphaned time.Duration
}

// grow notes how much p's count of children has grown.
func (s *Source) grow(p *process, st *linux.ProcessStat) {
	switch {
	case !p.fresh:
		p.excess = max(st.Reaped-p.reaped, 0)
	case s.tick > 1 && st.Start+startGrain > s.prev:
		p.excess = st.Reaped
	}
	p.fresh = false
}

// vanished is a process that is no longer there, for the search of its parent.
type vanished struct {
	pid, parent uint32
	told        time.Duration
}

func (s *Source) vanish(p *process) {
	s.drop(p) //nolint:errcheck // nothing was written
	if !p.denied {
		s.gone = append(s.gone, vanished{p.pid, p.parent, p.cpu + p.reaped})
	}
}

// recover tells the time of children that ended unseen as their parents'.
func (s *Source) recover(now time.Duration) {
	slices.SortFunc(s.gone, func(a, b vanished) int { return int(a.pid) - int(b.pid) })
	for _, g := range s.gone {
		parent, direct := g.parent, true
		for range len(s.gone) {
			i, ok := slices.BinarySearchFunc(s.gone, parent, func(v vanished, pid uint32) int { return int(v.pid) - int(pid) })
			if !ok {
				break
			}
			parent, direct = s.gone[i].parent, false
		}
		if p := s.find(parent); p != nil {
			p.lost += g.told
			if !direct {
				p.orphaned += g.told
			}
		}
	}
	for i := range s.procs {
		p := &s.procs[i]
		if p.carried|p.lost|p.excess == 0 {
			continue
		}
		old := min(p.carried, p.excess)
		p.excess -= old
		told := min(p.lost, p.excess)
		p.excess -= told
		p.carried, p.lost = p.lost-told, 0
	}
	for i := range s.procs {
		if p := &s.procs[i]; p.orphaned > 0 && p.carried > 0 {
			s.adopted(p)
		}
	}
	for i := range s.procs {
		p := &s.procs[i]
		if p.excess <= 0 || p.denied {
			continue
		}
		e, moved := s.table.Exit(&usage.Seen{Parent: p.pid, Start: now, CPU: p.excess}, where(p.member))
		if e != nil && moved && p.member != nil {
			e.Place, e.Group = p.member.Place, s.opts.Index.GroupOf(p.member)
		}
	}
}

// adopted looks for orphans of p among what its ancestors waited for: an
// orphan goes to the nearest ancestor that adopts, or to init.
func (s *Source) adopted(p *process) {
	orphaned := min(p.orphaned, p.carried)
	parent := p.parent
	for range 64 {
		a := s.find(parent)
		if a == nil || orphaned == 0 {
			return
		}
		back := min(a.excess, orphaned)
		a.excess -= back
		orphaned -= back
		p.carried -= back
		parent = a.parent
	}
}

func (s *Source) find(pid uint32) *process {
	i, ok := slices.BinarySearchFunc(s.procs, pid, func(p process, pid uint32) int { return int(p.pid) - int(pid) })
	if !ok {
		return nil
	}
	return &s.procs[i]
}
