// Package bpf is the source of usage that asks the kernel itself: one system
// call lists every process with its CPU time to the nanosecond, and a hook
// adds the final CPU time of each that has ended in between, so that nothing
// escapes between two reads however short it lived. It needs CAP_BPF and
// CAP_PERFMON and a kernel with BTF, and reads no per-process file.
//
// It refuses to guess: a kernel, a namespace or a lack of rights that would
// hide processes is an error of Open with its remedy, and the caller takes
// another source. It starts no goroutine and writes nothing to the kernel but
// its own maps.
package bpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"noether/internal/usage"
	"noether/internal/workload"
)

// Rungs are the ways to list processes, best first.
const (
	RungAuto    = ""        // the first that works
	RungSyscall = "syscall" // a walk of all tasks in one system call, kernel 6.7 and later
	RungIter    = "iter"    // an iterator read as a file, 5.8 and later; sees its own PID namespace only
)

// Places finds where tasks run, by cgroup ids. It is called from Read only.
type Places interface {
	// ByIDs returns the place and the counted group of a process in the
	// given cgroups: of the unified hierarchy, of cpuacct's v1 hierarchy (0
	// when there is none), and a number for the whole combination (0 where
	// there are no v1 hierarchies). Pid is 0 for processes that have ended.
	ByIDs(pid uint32, v2, v1, set uint64) (*workload.Place, *workload.Group)
	// Made and Gone tell that a cgroup came and went: of cpuacct's v1
	// hierarchy, or else of the unified one. Gone comes late enough that
	// everything which ended in the cgroup has been looked up.
	Made(v1 bool, id uint64, path string)
	Gone(v1 bool, id uint64)
}

// Options say what to open.
type Options struct {
	Proc   string // where the host's /proc is found
	Sys    string // where /sys is found; only to explain a refusal
	Places Places // may be nil: then Place and Group stay nil
	Rung   string // one of the rungs
	// MaxTasks bounds the processes that are listed, and with them the memory
	// (72 bytes each); 0 means 1<<20. More of them are an error of Read.
	MaxTasks int
	// Residency is set when TaskUsage.RSS is wanted; it costs two cold cache
	// lines a process.
	Residency bool
	// HooksOnly lists no processes: Read then adds only the CPU time of those
	// that were born and died since the previous Read, with Slot -1. It goes
	// beside a source that reads /proc, and is read after it. What ends some
	// milliseconds before a Read is missing then: its record comes later, and
	// whether the other source saw it alive is not known.
	HooksOnly bool

	exitRoom int // how many exit records fit; tests make it small
}

// recordsWithin is how late an exit record may be: it comes one RCU grace
// period after the process was reaped, which is tens of milliseconds, and
// seconds on a machine with hundreds of tasks waiting for each CPU.
const recordsWithin = 10 * time.Second

// Source is an open source. One goroutine uses it at a time. It holds locked
// kernel objects and mapped memory until Close.
type Source struct {
	opts   Options
	facts  facts
	rung   string
	hooks  *hooks
	walker walker        // nil if HooksOnly
	groups *groupCounter // nil if Count does not work
	table  *usage.Table
	seen   usage.Seen
	exits  exitBatch
	now    time.Duration // since boot, when this Read began
	gone   []goneCgroup  // oldest first, to be told
	listed int
	kernel bool // a kernel thread was listed

	// Method values are made once: making one allocates.
	takeExit   func(*exitKey, *exitValue)
	takeCgroup func(what uint32, v1 bool, id uint64, path []byte)
}

type goneCgroup struct {
	v1 bool
	id uint64
	at time.Duration
}

// walker lists processes.
type walker interface {
	// walk calls s.begin once, then s.observe for each process.
	walk(s *Source) error
	close() error
}

// Open loads the programs and lists all processes once to see that it can.
// Its errors carry a probe status and remedy.
func Open(ctx context.Context, opts Options) (*Source, error) {
	if opts.MaxTasks <= 0 {
		opts.MaxTasks = 1 << 20
	}
	procs, err := countProcesses(opts.Proc)
	if err != nil {
		return nil, err
	}
	f := facts{opts: opts}
	f.host, err = readHierarchies(opts.Proc)
	if err != nil {
		return nil, err
	}
	s := &Source{opts: opts, facts: f, table: usage.NewTable(recordsWithin)}
	s.exits.init()
	s.takeExit, s.takeCgroup = s.exited, s.cgroup
	l, err := newLoader(f.host, opts.Residency)
	if err != nil {
		return nil, f.explain(err)
	}
	if opts.exitRoom == 0 {
		opts.exitRoom = max(16<<10, 2*procs)
	}
	if s.hooks, err = l.hooks(opts.exitRoom); err != nil {
		return nil, f.explain(err)
	}
	if opts.HooksOnly {
		s.rung = "hooks"
		return s, nil
	}
	if err := s.openWalker(ctx, l, procs); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.rung == RungSyscall {
		// Without it counters are read from files: no reason to fail.
		s.groups, _ = l.groupCounter()
	}
	return s, nil
}

func (s *Source) openWalker(ctx context.Context, l *loader, procs int) error {
	type rung struct {
		name string
		open func() (walker, error)
	}
	var errs []error
	for _, r := range []rung{
		{RungSyscall, func() (walker, error) { return l.arrayWalker(s.hooks.state, room(procs)) }},
		{RungIter, func() (walker, error) { return l.fileWalker(s.hooks.state, tasksProgListLoop) }},
		{RungIter, func() (walker, error) { return l.fileWalker(s.hooks.state, tasksProgListBounded) }},
	} {
		if s.opts.Rung != RungAuto && s.opts.Rung != r.name {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		w, err := r.open()
		if err != nil {
			errs = append(errs, s.facts.explain(err))
			continue
		}
		s.walker, s.rung = w, r.name
		if err := s.tryWalk(); err != nil {
			s.walker = nil
			errs = append(errs, errors.Join(s.facts.explain(err), w.close()))
			continue
		}
		return nil
	}
	if len(errs) == 0 {
		return fmt.Errorf("open usage source bpf: no rung is called %q", s.opts.Rung)
	}
	// The last rung demands least: its reason is the one that counts.
	return errs[len(errs)-1]
}

// tryWalk lists the processes into a table of its own and compares their
// number with the host's procfs.
func (s *Source) tryWalk() error {
	kept, places := s.table, s.opts.Places
	s.table, s.opts.Places = usage.NewTable(0), nil
	defer func() { s.table, s.opts.Places = kept, places }()
	s.listed, s.kernel = 0, false
	if err := s.walker.walk(s); err != nil {
		return err
	}
	procs, err := countProcesses(s.opts.Proc)
	if err != nil {
		return err
	}
	return s.facts.coverage(s.listed, procs, s.kernel)
}

// Name returns "bpf".
func (s *Source) Name() string { return "bpf" }

// Rung returns how processes are listed: RungSyscall, RungIter, or "hooks"
// when they are not.
func (s *Source) Rung() string { return s.rung }

// Read appends what was used since the previous Read to dst. It allocates only
// when there are more processes than ever before, and for cgroups that are new.
// After an error the source is not usable any more; nothing is appended then.
func (s *Source) Read(_ context.Context, dst *workload.Usage) error {
	if s.hooks == nil {
		return fmt.Errorf("read usage source bpf: %w", os.ErrClosed)
	}
	if s.walker == nil {
		return s.readHooks(dst)
	}
	s.listed = 0
	if err := s.walker.walk(s); err != nil {
		return s.facts.explain(err)
	}
	if err := s.drain(); err != nil {
		return err
	}
	dst.Tasks = s.table.Finish(dst.Tasks)
	dst.HasTasks = true
	dst.Dropped = s.hooks.shared().dropped
	return nil
}

func (s *Source) readHooks(dst *workload.Usage) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return fmt.Errorf("read boot time: %w", err)
	}
	s.begin(uint64(now.Nano()))
	if err := s.drain(); err != nil {
		return err
	}
	atomic.StoreUint64(&s.hooks.shared().walked, uint64(now.Nano()))
	dst.Tasks = s.table.Finish(dst.Tasks)
	dst.Dropped = s.hooks.shared().dropped
	return nil
}

// drain books the processes that have ended.
func (s *Source) drain() error {
	if err := s.hooks.drainExits(&s.exits, s.takeExit); err != nil {
		return s.facts.explain(err)
	}
	told := 0
	for _, c := range s.gone {
		if s.now-c.at < recordsWithin {
			break
		}
		s.opts.Places.Gone(c.v1, c.id)
		told++
	}
	s.gone = slices.Delete(s.gone, 0, told)
	return nil
}

// begin starts a tick at the given boot time in nanoseconds.
func (s *Source) begin(boot uint64) {
	s.now = time.Duration(boot)
	s.table.Begin(s.now)
	s.hooks.cgroups.drain(s.takeCgroup)
}

func (s *Source) cgroup(what uint32, v1 bool, id uint64, path []byte) {
	switch {
	case s.opts.Places == nil:
	case what == cgroupMade:
		s.opts.Places.Made(v1, id, string(path))
	case what == cgroupGone:
		s.gone = append(s.gone, goneCgroup{v1, id, s.now})
	}
}

func (s *Source) observe(r *taskRecord) {
	s.listed++
	s.seen = usage.Seen{
		PID: r.PID, Parent: r.Parent,
		Start: time.Duration(r.Start), CPU: time.Duration(r.Runtime),
		RSS:    uint64(r.RSSPages) * pageSize,
		Kernel: r.Flags&kernelThread != 0,
		Comm:   r.Comm,
	}
	s.kernel = s.kernel || s.seen.Kernel
	where := usage.Where{V2: r.V2, V1: r.V1, Set: r.Set}
	if e, moved := s.table.Observe(&s.seen, where); moved {
		s.locate(e, r.PID, where)
	}
}

func (s *Source) exited(k *exitKey, v *exitValue) {
	s.seen = usage.Seen{
		PID: k.PID, Parent: k.Parent,
		Start: time.Duration(k.Start), CPU: time.Duration(v.Runtime),
	}
	if k.PID == 0 {
		// A sum of processes born and dead since the last walk.
		s.seen.Start = time.Duration(s.hooks.shared().walked)
	} else if s.walker == nil {
		return // the other source saw it, and may have booked it
	}
	where := usage.Where{V2: k.V2, V1: k.V1, Set: k.Set}
	if e, moved := s.table.Exit(&s.seen, where); moved {
		s.locate(e, k.PID, where)
	}
}

func (s *Source) locate(e *usage.Entry, pid uint32, w usage.Where) {
	if s.opts.Places != nil {
		e.Place, e.Group = s.opts.Places.ByIDs(pid, w.V2, w.V1, w.Set)
	}
}

// Close detaches the hooks and frees what the kernel holds for the source.
func (s *Source) Close() error {
	if s.hooks == nil {
		return fmt.Errorf("close usage source bpf: %w", os.ErrClosed)
	}
	var err error
	if s.walker != nil {
		err = s.walker.close()
	}
	if s.groups != nil {
		err = errors.Join(err, s.groups.close())
	}
	err = errors.Join(err, s.hooks.close())
	s.walker, s.groups, s.hooks = nil, nil, nil
	return err
}
