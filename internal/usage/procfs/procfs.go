// Package procfs is the usage source that reads /proc/<pid>/stat of every
// process. It works on any kernel and sees no thread by itself. The time of
// children that ended between two readings comes from their parent's count of
// children it has waited for.
package procfs

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"noether/internal/linux"
	"noether/internal/usage"
	"noether/internal/workload"
)

const (
	// recheck is after how many ticks the cgroups of a process that works are
	// read again, and a process that could not be read is tried again.
	recheck = 16
	// startGrain is how coarse start times are.
	startGrain = 10 * time.Millisecond
)

// Options say what is read.
type Options struct {
	Proc  string
	Index *usage.Index // not owned
	Files int          // how many descriptors may be kept open
	// Hooked is set when something else tells of processes that are born and
	// die between two readings: their parents' counts are left alone then.
	Hooked bool
}

// Source reads every process. One goroutine at a time. While processes
// neither come nor go and fit in Files, it allocates nothing.
type Source struct {
	opts   Options
	dir    *linux.Dir
	uptime *linux.File // nil where there is none
	table  *usage.Table
	page   uint64
	tick   uint64
	prev   time.Duration // boot time of the tick before
	open   int
	denied int

	procs, next []process // sorted by PID
	pids        []uint32
	gone        []vanished
	listing     []byte
	text        [1024]byte
	path        []byte
}

// process is what is kept of a process between two readings.
type process struct {
	pid    uint32
	parent uint32
	start  time.Duration
	comm   [16]byte
	file   *linux.File // nil when too many are open
	member *usage.Membership
	check  uint64 // tick in which member is due to be read again
	young  bool   // member was read only once, when it was new
	denied bool   // its stat may not be read
	fresh  bool   // first seen in this tick

	cpu    time.Duration // of its own, last reading
	reaped time.Duration // of children it waited for, last reading

	family
}

// Open lists proc once.
func Open(opts Options) (*Source, error) {
	d, err := linux.OpenDir(opts.Proc)
	if err != nil {
		return nil, err
	}
	s := &Source{
		opts:    opts,
		dir:     d,
		table:   usage.NewTable(0),
		page:    uint64(unix.Getpagesize()),
		listing: make([]byte, 64<<10),
	}
	if s.uptime, err = linux.Open(opts.Proc + "/uptime"); err != nil {
		s.uptime = nil
	}
	if err := s.list(); err != nil {
		s.Close() //nolint:errcheck // the first error is the one to tell
		return nil, err
	}
	return s, nil
}

// Name is the word for --usage.
func (s *Source) Name() string { return "procfs" }

// Len returns how many processes were seen in the last reading.
func (s *Source) Len() int { return len(s.procs) - s.denied }

// Denied returns how many processes could not be read for lack of permission.
func (s *Source) Denied() int { return s.denied }

// Read appends the processes to dst.Tasks. One that cannot be read, or goes
// away meanwhile, costs only itself.
func (s *Source) Read(_ context.Context, dst *workload.Usage) error {
	now := s.now()
	if err := s.list(); err != nil {
		return err
	}
	s.tick++
	s.table.Begin(now)
	s.scan()
	if s.tick > 1 && !s.opts.Hooked {
		s.recover(now)
	}
	s.gone = s.gone[:0]
	dst.Tasks = s.table.Finish(dst.Tasks)
	dst.HasTasks = true
	s.prev = now
	return nil
}

// Close closes every descriptor.
func (s *Source) Close() error {
	var err error
	for i := range s.procs {
		err = errors.Join(err, s.drop(&s.procs[i]))
	}
	if s.uptime != nil {
		err = errors.Join(err, s.uptime.Close())
	}
	return errors.Join(err, s.dir.Close())
}

// now returns the time since boot, on the clock of the start times.
func (s *Source) now() time.Duration {
	if s.uptime != nil {
		if b, err := s.uptime.Read(s.text[:]); err == nil {
			if t, err := linux.ParseUptime(b); err == nil {
				return t
			}
		}
	}
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return s.prev
	}
	return time.Duration(t.Nano())
}

// list fills pids with every process there is, in ascending order.
func (s *Source) list() error {
	if err := s.dir.Rewind(); err != nil {
		return err
	}
	s.pids = s.pids[:0]
	for {
		b, err := s.dir.Fill(s.listing)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			break
		}
		for {
			e, rest, ok := linux.NextDirent(b)
			if !ok {
				break
			}
			b = rest
			if pid, ok := linux.ParseUint(e.Name); ok && pid <= 1<<31 {
				s.pids = append(s.pids, uint32(pid))
			}
		}
	}
	slices.Sort(s.pids)
	return nil
}

// scan reads every process in pids and makes procs the list of those there are.
func (s *Source) scan() {
	s.next = s.next[:0]
	s.denied = 0
	old := s.procs
	for _, pid := range s.pids {
		for len(old) > 0 && old[0].pid < pid {
			s.vanish(&old[0])
			old = old[1:]
		}
		p := process{pid: pid}
		if len(old) > 0 && old[0].pid == pid {
			p, old = old[0], old[1:]
			p.lost, p.orphaned, p.excess = 0, 0, 0
		} else {
			p.fresh = true
		}
		if s.observe(&p) {
			s.next = append(s.next, p)
		}
	}
	for i := range old {
		s.vanish(&old[i])
	}
	s.procs, s.next = s.next, s.procs
}

// observe reads one process into p and the table. It returns false when it is
// gone. Another process that has taken its PID takes its place.
func (s *Source) observe(p *process) bool {
	var st linux.ProcessStat
	if p.denied && (s.tick+uint64(p.pid))%recheck != 0 {
		s.denied++
		return true
	}
	err := s.read(p, &st)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		// A descriptor that was kept outlives its process; the PID may be taken.
		if p.fresh {
			s.drop(p) //nolint:errcheck // nothing was written
			return false
		}
		s.vanish(p)
		*p = process{pid: p.pid, fresh: true}
		err = s.read(p, &st)
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		p.denied = true
		s.denied++
		return true
	case err != nil:
		s.drop(p) //nolint:errcheck // nothing was written
		return false
	case !p.fresh && !p.denied && st.Start != p.start:
		file := p.file
		p.file = nil
		s.vanish(p)
		*p = process{pid: p.pid, fresh: true, file: file}
	}
	p.fresh = p.fresh || p.denied
	p.denied = false
	seen := usage.Seen{
		PID: p.pid, Parent: st.Parent, Start: st.Start, CPU: st.CPU,
		RSS: st.RSS * s.page, Kernel: st.Kernel, Comm: st.Comm,
	}
	s.locate(p, &st)
	e, moved := s.table.Observe(&seen, where(p.member))
	if p.member != nil && (moved || e.Group == nil) {
		e.Place = p.member.Place
		e.Group = s.opts.Index.GroupOf(p.member)
	}
	s.grow(p, &st)
	p.parent, p.start, p.comm = st.Parent, st.Start, st.Comm
	p.cpu, p.reaped = max(p.cpu, st.CPU), max(p.reaped, st.Reaped)
	return true
}

func where(m *usage.Membership) usage.Where {
	if m == nil {
		return usage.Where{}
	}
	return usage.Where{Set: m.Number}
}

// locate reads the cgroups of p when it is new, in the tick after that (a
// container's first process moves there before it becomes another program),
// when it has become another program, and now and then while it works.
func (s *Source) locate(p *process, st *linux.ProcessStat) {
	due := s.tick >= p.check && (p.young || st.CPU != p.cpu)
	if p.member != nil && st.Comm == p.comm && !due {
		return
	}
	if p.member != nil && st.Exiting {
		return
	}
	if m := s.opts.Index.ByPID(p.pid); m != nil {
		p.member = m
	}
	p.check, p.young = s.tick+recheck, p.fresh
	if p.young {
		p.check = s.tick + 1
	}
}

// read reads the stat of p, on a descriptor that is kept while there are not too many.
func (s *Source) read(p *process, st *linux.ProcessStat) error {
	f := p.file
	if f == nil {
		s.path = append(strconv.AppendUint(s.path[:0], uint64(p.pid), 10), "/stat"...)
		var err error
		if f, err = s.dir.OpenFile(string(s.path)); err != nil {
			return err
		}
		if s.open < s.opts.Files {
			p.file = f
			s.open++
		} else {
			defer f.Close() //nolint:errcheck // nothing was written
		}
	}
	b, err := f.Read(s.text[:])
	if err != nil {
		return err
	}
	return linux.ParseProcessStat(b, st)
}

func (s *Source) drop(p *process) error {
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	p.file = nil
	s.open--
	return err
}
