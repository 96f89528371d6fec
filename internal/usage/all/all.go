// Package all composes the sources of usage into a ladder: the best one that
// works here, and the next lower one when it stops working. It also reads the
// machine's own CPU time, which every rung needs. It never gives up: what
// cannot be read is told, and left out.
package all

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"noether/internal/linux"
	counters "noether/internal/linux/cgroup"
	"noether/internal/probe"
	"noether/internal/usage"
	"noether/internal/usage/bpf"
	"noether/internal/usage/cgroup"
	"noether/internal/usage/procfs"
	"noether/internal/workload"
)

// The words for --usage.
const (
	Auto   = "auto"
	BPF    = "bpf"
	Cgroup = "cgroup"
	Procfs = "procfs"
)

// Options say what is read.
type Options struct {
	FS   linux.FS
	Want string // Auto, or the rung to begin with; empty is Auto
	// Processes is set when processes are to be shown: without bpf that costs
	// a file read per process.
	Processes bool
	Log       *slog.Logger
	Now       func() time.Duration // monotonic
	ForceRung string               // of bpf, for tests: bpf.RungSyscall, bpf.RungIter
}

// Ladder is the composed source. One goroutine at a time.
type Ladder struct {
	opts   Options
	clock  *linux.CPUClock
	index  *usage.Index
	groups *cgroup.Source // nil when no cgroups can be read
	rung   int            // index into rungs of the one in force, len(rungs) when none works
	rungs  []rung
	hidden string         // why procfs does not show every process, and the remedy
	tasks  []usage.Source // of the rung in force; the first lists processes

	epoch    uint32
	dropped  uint64
	cpu      linux.CPUTimes
	at       time.Duration
	baseline bool
}

// rung is one way to see processes, with what it falls to after it.
type rung struct {
	name string
	open func(context.Context) (sources []usage.Source, covers string, err error)
}

// Open opens the best rung that works and says in one line of the log which
// and why.
func Open(ctx context.Context, opts Options) (*Ladder, error) {
	if opts.Want == "" {
		opts.Want = Auto
	}
	clock, err := linux.OpenCPUClock(opts.FS.Proc)
	if err != nil {
		return nil, fmt.Errorf("open CPU times: %w", err)
	}
	cgroups, processes := descriptors()
	l := &Ladder{opts: opts, clock: clock}
	if err := procfs.Limits(opts.FS.Proc); err != nil {
		l.hidden = explain(err)
	}
	l.index = usage.OpenIndex(usage.IndexOptions{FS: opts.FS, Now: opts.Now, Files: cgroups})
	groups, groupsErr := cgroup.Open(l.index)
	l.groups = groups
	l.rungs, err = l.plan(groupsErr, processes)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := l.climb(ctx, nil); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// plan returns the rungs to try, best first.
func (l *Ladder) plan(groupsErr error, files int) ([]rung, error) {
	byBPF := rung{BPF, l.openBPF}
	byFiles := rung{Procfs, func(ctx context.Context) ([]usage.Source, string, error) {
		return l.openProcfs(ctx, files, l.opts.Want == Auto)
	}}
	byGroups := rung{Cgroup, func(context.Context) ([]usage.Source, string, error) {
		if groupsErr != nil {
			return nil, "", groupsErr
		}
		covers := l.groups.Covers()
		if l.opts.Processes && l.hidden != "" {
			covers += "; no processes: " + l.hidden
		}
		return nil, covers, nil
	}}
	switch l.opts.Want {
	case Auto:
		// Where processes are not shown, or not all can be seen, files are
		// read only if there is nothing else.
		if l.hidden != "" || !l.opts.Processes {
			return []rung{byBPF, byGroups, byFiles}, nil
		}
		return []rung{byBPF, byFiles, byGroups}, nil
	case BPF:
		return []rung{byBPF, byFiles, byGroups}, nil
	case Procfs:
		return []rung{byFiles, byGroups}, nil
	case Cgroup:
		return []rung{byGroups}, nil
	default:
		return nil, fmt.Errorf("open usage source %q: no such source; there are auto, bpf, cgroup and procfs", l.opts.Want)
	}
}

// climb opens the first rung from l.rung on that works. A rung that was asked
// for by name must work at the start. Why is the reason for a change.
func (l *Ladder) climb(ctx context.Context, why error) error {
	var refused []any
	first := why == nil
	errs := []error{why}
	for ; l.rung < len(l.rungs); l.rung++ {
		r := l.rungs[l.rung]
		sources, covers, err := r.open(ctx)
		if err == nil {
			l.tasks = sources
			attrs := []slog.Attr{slog.String("usage", r.name), slog.String("covers", covers)}
			if len(refused) > 0 {
				attrs = append(attrs, slog.Group("not", refused...))
			}
			if why != nil {
				attrs = append(attrs, slog.Any("reason", why))
			}
			if first {
				l.opts.Log.LogAttrs(ctx, slog.LevelInfo, "measuring who ran", attrs...)
			} else {
				l.opts.Log.LogAttrs(ctx, slog.LevelWarn, "measuring who ran in another way", attrs...)
			}
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", r.name, err))
		if first && l.opts.Want != Auto {
			break
		}
		refused = append(refused, slog.String(r.name, explain(err)))
	}
	l.rung = len(l.rungs)
	return fmt.Errorf("open a usage source: %w", errors.Join(errs...))
}

// explain returns err with its remedy.
func explain(err error) string {
	var known *probe.Error
	if errors.As(err, &known) && known.Remedy != "" {
		return err.Error() + "; " + known.Remedy
	}
	return err.Error()
}

func (l *Ladder) openBPF(ctx context.Context) ([]usage.Source, string, error) {
	if err := realProcfs(l.opts.FS.Proc); err != nil {
		return nil, "", err
	}
	s, err := bpf.Open(ctx, bpf.Options{
		Proc: l.opts.FS.Proc, Sys: l.opts.FS.Sys, Places: l.index, Rung: l.opts.ForceRung,
	})
	if err != nil {
		return nil, "", err
	}
	covers := "every process, those that end in between too; listed by " + s.Rung() + l.covers()
	if s.Counts() && l.groups != nil && l.index.Layout().Counters.V2() {
		covers += ", read at once"
		l.groups.Ask(l.atOnce(s))
	}
	return []usage.Source{s}, covers, nil
}

// atOnce returns what tells the counters of cgroups that s reads.
func (l *Ladder) atOnce(s *bpf.Source) counters.Counters {
	return func(tell func(uint64, time.Duration)) error {
		err := s.Count(tell)
		if err != nil {
			l.opts.Log.Warn("cgroups are read one by one from now on", slog.Any("error", err))
		}
		return err
	}
}

// openProcfs opens procfs and, if hooked, beside it the hooks that tell of
// what lives too short to be seen in files, where they work.
func (l *Ladder) openProcfs(ctx context.Context, files int, hooked bool) ([]usage.Source, string, error) {
	var hooks usage.Source
	how := "; children that end in between by their parents' counts"
	if hooked && realProcfs(l.opts.FS.Proc) == nil {
		s, err := bpf.Open(ctx, bpf.Options{
			Proc: l.opts.FS.Proc, Sys: l.opts.FS.Sys, Places: l.index, HooksOnly: true,
		})
		if err == nil {
			hooks = s
			how = "; those that end in between by BPF"
		}
	}
	s, err := procfs.Open(procfs.Options{
		Proc: l.opts.FS.Proc, Index: l.index, Files: files, Hooked: hooks != nil,
	})
	if err != nil {
		if hooks != nil {
			err = errors.Join(err, hooks.Close())
		}
		return nil, "", err
	}
	sources := []usage.Source{s}
	if hooks != nil {
		sources = append(sources, hooks)
	}
	return sources, "the processes in " + l.opts.FS.Proc + how + l.covers(), nil
}

func (l *Ladder) covers() string {
	if l.groups == nil {
		return ""
	}
	return "; " + l.groups.Covers()
}

// realProcfs refuses a directory that only looks like procfs: the kernel knows
// nothing of the processes in it.
func realProcfs(proc string) error {
	kernels, err := linux.IsProcfs(proc)
	if err != nil {
		return err
	}
	if !kernels {
		return fmt.Errorf("list the processes in %s by BPF: not a procfs: %w", proc, probe.ErrNotSupported)
	}
	return nil
}

// descriptors divides what may be open among counters of cgroups and
// processes, and leaves an eighth and 64 for everything else.
func descriptors() (cgroups, processes int) {
	n := linux.OpenFiles()
	free := max(n-n/8-64, 0)
	return free / 4, free - free/4
}

// Name returns the word for the rung in force, empty when none works.
func (l *Ladder) Name() string {
	if l.rung < len(l.rungs) {
		return l.rungs[l.rung].name
	}
	return ""
}

// Close closes every source.
func (l *Ladder) Close() error {
	err := l.closeTasks()
	if l.groups != nil {
		err = errors.Join(err, l.groups.Close())
	}
	if l.index != nil {
		err = errors.Join(err, l.index.Close())
	}
	return errors.Join(err, l.clock.Close())
}

func (l *Ladder) closeTasks() error {
	var err error
	for _, s := range l.tasks {
		err = errors.Join(err, s.Close())
	}
	l.tasks = nil
	if l.groups != nil {
		l.groups.Ask(nil)
	}
	return err
}

// Probe says for each source whether it works here, and opens none for good.
func Probe(ctx context.Context, opts Options) []probe.Verdict {
	l := &Ladder{opts: opts}
	l.index = usage.OpenIndex(usage.IndexOptions{FS: opts.FS, Now: opts.Now, Files: 64})
	defer l.index.Close() //nolint:errcheck // nothing was written
	var verdicts []probe.Verdict

	sources, covers, err := l.openBPF(ctx)
	verdicts = append(verdicts, probe.Of(BPF, covers, errors.Join(err, closeAll(sources))))

	groups, err := cgroup.Open(l.index)
	covers = ""
	if err == nil {
		covers = groups.Covers()
	}
	verdicts = append(verdicts, probe.Of(Cgroup, covers, err))

	sources, covers, err = l.openProcfs(ctx, 64, false)
	if err == nil {
		err = procfs.Limits(opts.FS.Proc)
	}
	return append(verdicts, probe.Of(Procfs, covers, errors.Join(err, closeAll(sources))))
}

func closeAll(sources []usage.Source) error {
	var err error
	for _, s := range sources {
		err = errors.Join(err, s.Close())
	}
	return err
}

var _ usage.Source = (*Ladder)(nil)

// read calls s.Read and turns a panic into its failure.
func read(ctx context.Context, s usage.Source, dst *workload.Usage) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read usage source %s: panic: %v", s.Name(), p)
		}
	}()
	return s.Read(ctx, dst)
}
