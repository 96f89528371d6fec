package usage

import (
	"time"

	"noether/internal/workload"
)

// startGrain is how coarse start times may be: procfs rounds them down to one
// tick of USER_HZ, which is 100 per second on every architecture
// (include/asm-generic/param.h).
const startGrain = 10 * time.Millisecond

// Where is a comparable key of the cgroups a process runs in. A source fills
// in what it knows; equal keys mean the same place.
type Where struct {
	V2  uint64 // id in the unified hierarchy
	V1  uint64 // id in the cpuacct hierarchy
	Set uint64 // the combination of all hierarchies, for hosts that use several
}

// Seen is what a source saw of one process (thread group).
type Seen struct {
	PID    uint32
	Parent uint32
	Start  time.Duration // since boot; with PID it identifies the process
	CPU    time.Duration // since its start, all threads, ended ones included
	RSS    uint64        // resident memory in bytes, 0 when unknown
	Kernel bool          // a kernel thread
	Comm   [16]byte
}

// Entry is one process of a Table. A pointer to it is valid until the next
// call of Observe or Exit. The table never looks into Place and Group except
// to notice that Place changed.
type Entry struct {
	Place *workload.Place
	Group *workload.Group

	slot     int32
	follower int32 // the slot that was observed after this one
	seen     Seen  // CPU is what has been credited so far
	where    Where
	used     time.Duration // credited since the last Finish
	told     *workload.Place
	at       time.Duration // the tick that observed it last
	missing  time.Duration // the first tick that did not, or 0
	state    workload.TaskState
	live     bool
}

// Slot returns the process's number, or -1 for time of processes that were
// never observed. Slots are dense: a source may keep its own table by them.
func (e *Entry) Slot() int32 { return e.slot }

// Table turns the CPU time of processes since their start into the use of one
// tick: Begin, Observe for every process there is, Exit for every one that
// has ended, Finish. What was observed in a tick that was given up before
// Finish is carried into the next.
//
// One goroutine at a time uses a Table. It allocates only to grow.
type Table struct {
	entries []Entry // by slot
	free    []int32 // slots to take
	byID    map[process]int32
	cursor  int32 // slot of the last observed entry, -1 at the beginning

	dead   []Entry // time of processes never observed, one per place and parent
	byDead map[origin]int32

	linger   time.Duration
	baseline bool          // a tick has been finished
	now      time.Duration // boot time at which this tick began
	prev     time.Duration // and the last finished one

	// A process that is not in the table was never observed, and all its time
	// is to be credited, if it started after forgotten; and it is not one
	// that has been invisible for long if it started after old.
	forgotten time.Duration
	// Two earlier ticks, at least the linger apart: no record is so late that
	// what ended before old still has one coming.
	old, recent time.Duration
}

type process struct {
	pid   uint32
	start time.Duration
}

type origin struct {
	where  Where
	parent uint32
}

// NewTable returns an empty table. A process that is observed no longer waits
// for its Exit for as long as linger before it is reported as ended, and for
// a tick at least; 0 is for sources that have no exit records.
func NewTable(linger time.Duration) *Table {
	return &Table{
		byID:   make(map[process]int32),
		byDead: make(map[origin]int32),
		linger: linger,
		cursor: -1,
	}
}

// Len returns how many processes the table holds.
func (t *Table) Len() int { return len(t.byID) }

// Begin starts a tick. Now is the time since boot, on the clock of Seen.Start,
// at or before the moment when the source starts to look.
func (t *Table) Begin(now time.Duration) {
	t.cursor = -1
	t.now = now
}

// Observe books a process that exists. Moved is true when the caller should
// find its Place and Group and set them in e: it is new, its cgroups changed,
// or they could not be found before.
//
// The first tick is the baseline. Later, a process that started after the
// previous tick is credited with all its CPU time; one that is older but was
// never visible before is a baseline of its own.
func (t *Table) Observe(s *Seen, where Where) (e *Entry, moved bool) {
	slot, ok := t.find(s)
	if !ok {
		slot = t.take()
		e = &t.entries[slot]
		*e = Entry{slot: slot, follower: -1, seen: *s, state: workload.New, live: true}
		if t.startedAfter(t.prev, s) {
			e.used = max(s.CPU, 0)
		}
		t.byID[process{s.PID, s.Start}] = slot
		moved = true
	} else {
		e = &t.entries[slot]
		e.update(s)
		moved = e.where != where || e.Place == nil
	}
	e.where = where
	e.at, e.missing = t.now, 0
	if t.cursor >= 0 {
		t.entries[t.cursor].follower = slot
	}
	t.cursor = slot
	return e, moved
}

// Exit books the final CPU time of a process that has ended, once; of s it
// takes PID, Parent, Start and CPU. The process is reported as ended by the
// next Finish, whether or not this tick's Observe saw it. Call it after
// Observe, never before, for processes that may be in both.
//
// The time of processes that were born and died between two ticks is summed
// by place and parent in entries with Slot -1; their records may be late by
// the table's linger. E is nil when there is nothing to book: the process is
// older, and either was never visible or has been reported as ended already.
func (t *Table) Exit(s *Seen, where Where) (e *Entry, moved bool) {
	if slot, ok := t.byID[process{s.PID, s.Start}]; ok {
		e = &t.entries[slot]
		e.credit(s.CPU)
		e.state |= workload.Ended
		moved = e.where != where || e.Place == nil
		e.where = where
		return e, moved
	}
	if s.CPU <= 0 || !t.startedAfter(max(t.forgotten, t.old), s) {
		return nil, false
	}
	from := origin{where, s.Parent}
	i, ok := t.byDead[from]
	if !ok {
		i = int32(len(t.dead))
		t.dead = append(t.dead, Entry{slot: -1, seen: Seen{Parent: s.Parent}, state: workload.Ended})
		t.byDead[from] = i
	}
	e = &t.dead[i]
	e.used += s.CPU
	return e, !ok
}

// Finish ends the tick and appends to dst each process that used CPU time, is
// new, was renamed or moved, or has ended. A process that was neither
// observed nor ended by Exit is reported as ended after the table's linger.
func (t *Table) Finish(dst []workload.TaskUsage) []workload.TaskUsage {
	for i := range t.entries {
		e := &t.entries[i]
		if !e.live {
			continue
		}
		if e.at != t.now && e.missing == 0 {
			e.missing = t.now
		}
		if e.missing != 0 && t.now-e.missing >= t.linger && e.state&workload.Ended == 0 {
			e.state |= workload.Ended
			t.forgotten = max(t.forgotten, e.at)
		}
		if e.Place != e.told && e.state&workload.New == 0 {
			e.state |= workload.Renamed
		}
		if e.state == 0 && e.used == 0 {
			continue
		}
		dst = append(dst, e.usage())
		if e.state&workload.Ended != 0 {
			delete(t.byID, process{e.seen.PID, e.seen.Start})
			t.free = append(t.free, e.slot)
			*e = Entry{slot: e.slot, follower: -1}
			continue
		}
		e.state, e.used, e.told = 0, 0, e.Place
	}
	for i := range t.dead {
		dst = append(dst, t.dead[i].usage())
		t.dead[i] = Entry{}
	}
	t.dead = t.dead[:0]
	clear(t.byDead)
	if !t.baseline {
		t.baseline, t.forgotten, t.recent = true, t.now, t.now
	}
	if t.now-t.recent >= t.linger {
		t.old, t.recent = t.recent, t.now
	}
	t.prev = t.now
	return dst
}

// startedAfter reports whether all of the process's CPU time lies after the
// beginning of an earlier tick.
func (t *Table) startedAfter(began time.Duration, s *Seen) bool {
	return t.baseline && s.Start+startGrain > began
}

// credit adds what cpu is beyond what was credited before. Sums over threads
// may dip when one exits while they are added up; the credit never does.
func (e *Entry) credit(cpu time.Duration) {
	if cpu > e.seen.CPU {
		e.used += cpu - e.seen.CPU
		e.seen.CPU = cpu
	}
}

// find returns the slot of a process. Sources list processes in nearly the
// same order every time, so the one that followed last time is tried first.
func (t *Table) find(s *Seen) (int32, bool) {
	if t.cursor >= 0 {
		if next := t.entries[t.cursor].follower; next >= 0 {
			e := &t.entries[next]
			if e.live && e.seen.PID == s.PID && e.seen.Start == s.Start {
				return next, true
			}
		}
	}
	slot, ok := t.byID[process{s.PID, s.Start}]
	return slot, ok
}

// update books what a later look at the same process saw.
func (e *Entry) update(s *Seen) {
	e.credit(s.CPU)
	if e.seen.Comm != s.Comm && e.state&workload.New == 0 {
		e.state |= workload.Renamed
	}
	credited := e.seen.CPU
	e.seen = *s
	e.seen.CPU = credited
}

func (t *Table) take() int32 {
	if n := len(t.free); n > 0 {
		slot := t.free[n-1]
		t.free = t.free[:n-1]
		return slot
	}
	t.entries = append(t.entries, Entry{})
	return int32(len(t.entries) - 1)
}

func (e *Entry) usage() workload.TaskUsage {
	u := workload.TaskUsage{
		Slot: e.slot, PID: e.seen.PID, Parent: e.seen.Parent, State: e.state,
		Start: e.seen.Start, CPU: e.used, RSS: e.seen.RSS, Comm: e.seen.Comm,
		Place: e.Place, Group: e.Group,
	}
	if e.seen.Kernel {
		u.State |= workload.KernelTask
	}
	return u
}
