package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"noether/internal/agent"
	"noether/internal/config"
	"noether/internal/energy"
	"noether/internal/linux"
	"noether/internal/probe"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// local measures with an agent in this process, in which the command has an
// account of its own.
type local struct {
	agent   *agent.Agent
	owners  *statOwners
	sensor  string
	quality energy.Quality
	from    totals // when the window was opened
	busy    time.Duration
	started bool
}

// openLocal opens this machine's meters. Forbidden names better sensors that
// this user may not read, with what mends it.
func openLocal(ctx context.Context, p *process, cfg *config.Config, c *cage, log *slog.Logger) (_ *local, forbidden []string, err error) {
	if c == nil {
		if err := subreaper(); err != nil {
			return nil, nil, fmt.Errorf("become the parent of orphans: %w", err)
		}
	}
	mine := *cfg
	mine.Agent.KeepFinished = 24 * time.Hour                               // what has ended is still to be reported
	mine.Agent.Processes = agent.Processes{N: 1, Mode: agent.TopProcesses} // processes are looked at, not shown
	clock := agent.SystemClock()
	m, err := openMachine(ctx, p, &mine, log, clock, briefly)
	if err != nil {
		return nil, nil, err
	}
	l := &local{owners: &statOwners{owners: m.owners, cage: c, proc: cfg.FS().Proc, tree: map[uint32]bool{}}}
	l.sensor, l.quality = m.sensorNames()
	for _, v := range m.verdicts {
		if (v.Status == probe.Forbidden || v.Status == probe.Masked) && l.quality == energy.Estimated {
			forbidden = append(forbidden, fmt.Sprintf("%s is %s to this user (%s)", v.Name, v.Status, v.Remedy))
		}
	}
	l.agent, err = agent.New(agent.Options{
		Config: mine.Agent, Sensors: m.sensors, Verdicts: m.verdicts, Usage: m.usage, Owners: l.owners, Clock: clock, Log: log,
	})
	if err != nil {
		return nil, nil, errors.Join(err, m.close())
	}
	return l, forbidden, nil
}

func (l *local) begin(ctx context.Context) error {
	l.owners.reset()
	if !l.started {
		l.started = true
		l.agent.Baseline(ctx)
		l.from, l.busy = totals{at: time.Now()}, 0
		return nil
	}
	l.from, l.busy = l.totals(l.agent.Tick(ctx)), 0
	return nil
}

func (l *local) tick(ctx context.Context) error {
	l.busy += l.agent.Tick(ctx).Busy
	return nil
}

func (l *local) end(ctx context.Context, cpu time.Duration) (window, error) {
	s := l.agent.Tick(ctx)
	l.busy += s.Busy
	w := l.totals(s).since(&l.from)
	w.busy = l.busy
	if l.owners.cage != nil {
		w.how = "by a cgroup of its own" // whose counter is complete at once
		return w, nil
	}
	w.how = "by its process tree"
	if w.ownCPU < cpu-cpu/100 {
		w.complete(max(cpu, l.settle(ctx)))
	}
	return w, nil
}

// settling is how long the last news of a process can take after it was
// waited for: the kernel frees a task when an RCU grace period has passed.
const settling = 50 * time.Millisecond

// settle returns the command's CPU time when the last news has come.
func (l *local) settle(ctx context.Context) time.Duration {
	time.Sleep(settling)
	return l.totals(l.agent.Tick(ctx)).ownCPU - l.from.ownCPU
}

// complete adds CPU time that became known too late, at the price of the rest.
func (w *window) complete(cpu time.Duration) {
	if w.ownCPU < cpu/2 {
		w.shareByTime(cpu) // too little was seen to tell its price
		return
	}
	for c := range w.own {
		w.own[c] = min(unit.Energy(unit.MulDiv(uint64(w.own[c]), uint64(cpu), uint64(max(w.ownCPU, 1)))), w.dynamic[c])
	}
	w.ownCPU = cpu
}

func (l *local) about() (sensor, usage string) {
	if s := l.agent.Snapshot(); s != nil {
		usage = s.Self.Usage
	}
	return l.sensor, usage
}

func (l *local) follow(pid int) { l.owners.tree[uint32(pid)] = true }

func (l *local) moves() time.Duration {
	if l.quality == energy.Estimated {
		return 10 * time.Millisecond // CPU time in /proc/stat moves by USER_HZ
	}
	return time.Millisecond // RAPL: Intel SDM vol. 3B, 15.10.1
}

func (l *local) close() error { return l.agent.Close() }

// totals is what a snapshot says since the agent began.
type totals struct {
	at        time.Time
	online    int // CPUs
	present   [energy.Components]bool
	quality   [energy.Components]energy.Quality
	total     [energy.Components]unit.Energy
	dynamic   [energy.Components]unit.Energy
	low, high [energy.Components]unit.Energy
	banded    bool
	own       [energy.Components]unit.Energy
	ownCPU    time.Duration
}

func (l *local) totals(s *snapshot.Snapshot) totals {
	t := totals{at: time.Now(), online: s.CPU.Online}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		c := n.Component
		t.present[c] = true
		t.quality[c] = max(t.quality[c], n.Quality)
		t.dynamic[c] += n.Total[energy.Dynamic]
		t.total[c] += n.Total[energy.Dynamic] + n.Total[energy.Idle]
	}
	t.low, t.high = t.total, t.total
	for _, b := range s.Bands {
		t.low[b.Component], t.high[b.Component], t.banded = b.LowTotal, b.HighTotal, true
	}
	for i := range s.Units {
		if a := &s.Units[i]; a.Owner.Unit == ownUnit {
			t.ownCPU += a.CPUTotal
			for c := range t.own {
				t.own[c] += a.Total.Component(energy.Component(c))
			}
		}
	}
	return t
}

// since returns the window from an earlier reading to t.
func (t totals) since(from *totals) window {
	w := window{ended: t.at, length: t.at.Sub(from.at), online: t.online, present: t.present, quality: t.quality, banded: t.banded, ownCPU: t.ownCPU - from.ownCPU}
	for c := range t.total {
		w.total[c] = t.total[c] - from.total[c]
		w.dynamic[c] = t.dynamic[c] - from.dynamic[c]
		w.low[c], w.high[c] = t.low[c]-from.low[c], t.high[c]-from.high[c]
		w.own[c] = t.own[c] - from.own[c]
	}
	return w
}

// shareByTime gives the command its part of the busy time, where its
// processes could not all be seen.
func (w *window) shareByTime(cpu time.Duration) {
	w.ownCPU, w.how = cpu, "by the CPU time of what it waited for"
	for c := range w.own {
		w.own[c] = unit.Energy(unit.MulDiv(uint64(max(w.dynamic[c], 0)), uint64(min(cpu, w.busy)), uint64(max(w.busy, 1))))
	}
}

// ownUnit is the name of the command's account. No unit or cgroup is called so.
const ownUnit = "the command\x00"

// statOwners gives the command's processes an account, and everybody else theirs.
type statOwners struct {
	owners
	cage *cage
	proc string
	tree map[uint32]bool // without a cage: the command and its descendants
}

func (o *statOwners) reset() { clear(o.tree) }

func command() workload.Owner { return workload.Owner{Kind: workload.UnitOwner, Unit: ownUnit} }

// Place implements agent.Owners.
func (o *statOwners) Place(p *workload.Place) workload.Owner {
	if p != nil {
		for i := range p.Paths {
			if o.cage.holds(p.Paths[i].Path) {
				return command()
			}
		}
	}
	return o.owners.Place(p)
}

// Process implements agent.Owners.
func (o *statOwners) Process(t *workload.TaskUsage, place workload.Owner) (workload.Owner, bool) {
	if place.Unit == ownUnit {
		return place, false
	}
	if o.cage == nil && len(o.tree) > 0 && o.inTree(t.PID, t.Parent) {
		if t.PID != 0 { // of children that were never seen only the time is known
			o.tree[t.PID] = true
		}
		return command(), true
	}
	return o.owners.Process(t, place)
}

// inTree reports whether a process descends from the command. Its parent may
// be one that was not listed yet, so the line is followed while it lives.
// Orphans have become ours: we have no other children.
func (o *statOwners) inTree(pid, parent uint32) bool {
	const mostGenerations = 32
	for range mostGenerations {
		switch {
		case pid != 0 && o.tree[pid], o.tree[parent], parent == uint32(os.Getpid()):
			return true
		case parent <= 1:
			return false
		}
		content, err := linux.ReadFile(filepath.Join(o.proc, strconv.Itoa(int(parent)), "stat"), 1024)
		if err != nil {
			return false
		}
		var s linux.ProcessStat
		if linux.ParseProcessStat(content, &s) != nil {
			return false
		}
		pid, parent = parent, s.Parent
	}
	return false
}
