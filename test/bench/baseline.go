package main

import (
	"context"
	"time"

	"github.com/prometheus/procfs"
)

// readTheOrdinaryWay collects once an interval what the agent collects in
// its ticks, the way most exporters do: list /proc, then stat, comm and
// cgroup of each process with the usual library, and a map of what was seen.
// With lazy, comm and cgroup are read only for processes that are new or used
// CPU time. It exports nothing, so it is cheaper than any exporter built on it.
func readTheOrdinaryWay(ctx context.Context, interval time.Duration, lazy bool) error {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return err
	}
	type fact struct {
		start   uint64
		cpu     float64
		used    float64
		comm    string
		cgroups []procfs.Cgroup
		rss     int
	}
	seen := map[int]*fact{}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		procs, err := fs.AllProcs()
		if err != nil {
			return err
		}
		now := make(map[int]*fact, len(procs))
		for _, p := range procs {
			stat, err := p.Stat()
			if err != nil {
				continue // it has ended
			}
			f := seen[p.PID]
			if f == nil || f.start != stat.Starttime {
				f = &fact{start: stat.Starttime}
			}
			cpu := stat.CPUTime()
			f.used, f.cpu, f.rss = cpu-f.cpu, cpu, stat.ResidentMemory()
			if !lazy || f.used > 0 || f.cgroups == nil {
				f.comm, err = p.Comm()
				if err != nil {
					continue
				}
				if f.cgroups, err = p.Cgroups(); err != nil {
					continue
				}
			}
			now[p.PID] = f
		}
		seen = now
		if _, err := fs.Stat(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
