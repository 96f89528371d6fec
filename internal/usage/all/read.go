package all

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"noether/internal/linux"
	"noether/internal/workload"
)

// Read appends the machine's CPU time, the cgroups' and the processes' to dst,
// read right after each other in this order. When the source of processes
// fails, the next lower rung takes its baseline in the same Read, and Epoch
// changes. Err says what is missing for good from this tick.
func (l *Ladder) Read(ctx context.Context, dst *workload.Usage) error {
	err := l.readCPU(&dst.CPU)
	err = errors.Join(err, l.readGroups(ctx, dst))
	err = errors.Join(err, l.readTasks(ctx, dst))
	l.include(dst)
	dst.Epoch = l.epoch
	l.dropped = max(l.dropped, dst.Dropped)
	dst.Dropped = l.dropped
	return err
}

func (l *Ladder) readCPU(dst *workload.CPUTime) error {
	now := l.opts.Now()
	cpu, err := l.clock.Read()
	if err != nil {
		l.baseline = false
		return err
	}
	if l.baseline {
		*dst = difference(l.cpu, cpu, now-l.at)
	} else {
		*dst = workload.CPUTime{Online: cpu.Online}
	}
	l.cpu, l.at, l.baseline = cpu, now, true
	return nil
}

// difference returns the CPU time between two readings. What goes backwards
// is nothing: iowait does by design, idle when a CPU goes offline.
func difference(from, to linux.CPUTimes, elapsed time.Duration) workload.CPUTime {
	elapsed = max(elapsed, 0)
	all := elapsed * time.Duration(to.Online)
	c := workload.CPUTime{
		Elapsed:   elapsed,
		Online:    to.Online,
		Steal:     min(max(to.Steal-from.Steal, 0), all),
		Interrupt: max(to.IRQ-from.IRQ, 0) + max(to.Soft-from.Soft, 0),
	}
	c.Capacity = all - c.Steal
	idle := to.Idle - from.Idle + to.IOWait - from.IOWait
	c.Idle = min(max(idle, 0), c.Capacity)
	return c
}

func (l *Ladder) readGroups(ctx context.Context, dst *workload.Usage) error {
	if l.groups == nil {
		return nil
	}
	before := len(dst.Groups)
	err := read(ctx, l.groups, dst)
	if err == nil {
		return nil
	}
	if len(dst.Groups) > before {
		// The source tells of each cgroup that fails once.
		l.opts.Log.LogAttrs(ctx, slog.LevelWarn, "some cgroups cannot be read: their time counts as their parents'", slog.Any("error", err))
		return nil
	}
	return fmt.Errorf("read cgroups: %w", err)
}

func (l *Ladder) readTasks(ctx context.Context, dst *workload.Usage) error {
	if l.rung == len(l.rungs) {
		l.rung = 0 // nothing worked before; it may now
		if err := l.climb(ctx, errNothing); err != nil {
			return err
		}
	}
	for {
		before := len(dst.Tasks)
		err := l.readRung(ctx, dst)
		if err == nil {
			return nil
		}
		dst.Tasks, dst.HasTasks = dst.Tasks[:before], false
		if cause := ctx.Err(); cause != nil {
			return err
		}
		err = fmt.Errorf("%s: %w", l.Name(), errors.Join(err, l.closeTasks()))
		l.epoch++
		l.rung++
		if err := l.climb(ctx, err); err != nil {
			return err
		}
	}
}

// include makes sure that the time of each process is part of a counter that
// was read. A process that ended with its cgroup is still known by that one,
// but the kernel has its last time in the cgroup above.
func (l *Ladder) include(dst *workload.Usage) {
	for i := range dst.Tasks {
		if t := &dst.Tasks[i]; t.CPU > 0 && t.Group != nil {
			t.Group = l.index.Counting(t.Group)
		}
	}
}

var errNothing = errors.New("no source worked before")

func (l *Ladder) readRung(ctx context.Context, dst *workload.Usage) error {
	for _, s := range l.tasks {
		if err := read(ctx, s, dst); err != nil {
			return err
		}
	}
	return nil
}
