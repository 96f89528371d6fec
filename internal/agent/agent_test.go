package agent

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"noether/internal/energy"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// steadySensor is a package that draws a constant power and wraps, as RAPL does.
type steadySensor struct {
	zone  energy.Zone
	now   func() time.Duration
	power unit.Power
	fail  func() error
	reads int
	last  time.Duration
	gap   time.Duration // longest time between two reads
}

func newSteady(now func() time.Duration, power unit.Power, wraps unit.Energy) *steadySensor {
	return &steadySensor{now: now, power: power, zone: energy.Zone{
		Sensor: "powercap", Name: "package-0", Domain: energy.Package, Path: "/sys/x/energy_uj",
		Range: wraps, MaxPower: 1000 * unit.Watt, Die: -1,
	}}
}

func (s *steadySensor) Zones() []energy.Zone { return []energy.Zone{s.zone} }
func (s *steadySensor) Close() error         { return nil }

func (s *steadySensor) Read(_ context.Context, dst []energy.Reading) ([]energy.Reading, error) {
	now := s.now()
	if s.reads++; s.reads > 1 {
		s.gap = max(s.gap, now-s.last)
	}
	s.last = now
	if s.fail != nil {
		if err := s.fail(); err != nil {
			return dst, errors.Join(&sensor.ZoneError{Zone: 0, Err: err})
		}
	}
	value := s.power.For(now)
	if s.zone.Range > 0 {
		value %= s.zone.Range + 1 // the largest value is followed by 0
	}
	return append(dst, energy.Reading{At: now, Energy: value}), nil
}

// halfBusy is a source that sees a machine with 4 CPUs, half of them in use
// by one unit.
type halfBusy struct {
	now   func() time.Duration
	last  time.Duration
	group workload.Group
	hook  func() error
}

func (h *halfBusy) Name() string { return "cgroup" }
func (h *halfBusy) Close() error { return nil }

func (h *halfBusy) Read(_ context.Context, u *workload.Usage) error {
	if h.hook != nil {
		if err := h.hook(); err != nil {
			return err
		}
	}
	now := h.now()
	elapsed := now - h.last
	h.last = now
	if h.group.Place == nil {
		h.group.Place = &workload.Place{Paths: []workload.CgroupPath{{Path: "/a.service"}}}
	}
	u.CPU = workload.CPUTime{Elapsed: elapsed, Online: 4, Capacity: 4 * elapsed, Idle: 2 * elapsed}
	u.Groups = append(u.Groups, workload.GroupUsage{Group: &h.group, CPU: 2 * elapsed})
	return nil
}

// rig is an agent on a fake machine with fake time.
type rig struct {
	agent   *Agent
	sensor  *steadySensor
	usage   *halfBusy
	boot    time.Duration // added to boot time: how long the machine was suspended
	log     bytes.Buffer
	ticks   []*snapshot.Snapshot
	started time.Time
}

func newRig(t *testing.T, interval time.Duration, power unit.Power, wraps unit.Energy) *rig {
	t.Helper()
	r := &rig{started: time.Now()}
	mono := func() time.Duration { return time.Since(r.started) + time.Hour }
	r.sensor = newSteady(mono, power, wraps)
	r.usage = &halfBusy{now: mono}
	c := Default()
	c.Interval = interval
	var err error
	r.agent, err = New(Options{
		Config: c, Sensors: []sensor.Sensor{r.sensor}, Usage: r.usage, Owners: pathOwners{},
		Log: slog.New(slog.NewTextHandler(&r.log, nil)),
		Clock: Clock{
			Wall: time.Now, Mono: mono,
			Boot: func() time.Duration { return mono() + r.boot },
			CPU:  func() time.Duration { return 0 },
		},
		OnTick: func(s *snapshot.Snapshot) { r.ticks = append(r.ticks, s) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs the agent for d of fake time; it must be in a synctest bubble.
func (r *rig) run(t *testing.T, d time.Duration) *snapshot.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := r.agent.Run(ctx); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.ticks {
		laws(t, s)
	}
	return r.agent.Snapshot()
}

func nodeTotal(s *snapshot.Snapshot) (e unit.Energy) {
	for _, n := range s.Nodes {
		e += n.Total[energy.Dynamic] + n.Total[energy.Idle]
	}
	return e
}

func TestRunTicksOnItsOwnClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 5*time.Second, 100*unit.Watt, 0)
		s := r.run(t, 21500*time.Millisecond) // at 1, 6, 11, 16 and 21 s
		if len(r.ticks) != 5 || s.Seq != 5 || s.Elapsed != 5*time.Second || r.ticks[0].Elapsed != time.Second {
			t.Fatalf("%d ticks, the last of %s", len(r.ticks), s.Elapsed)
		}
		if got := nodeTotal(s); got != 2100*unit.Joule {
			t.Errorf("21 s at 100 W are %d µJ", got)
		}
		if got := unitNamed(s, "/a.service").Total[energy.CPU][energy.Dynamic]; got != 1050*unit.Joule {
			t.Errorf("the unit pays %d µJ", got)
		}
		if got := s.System[workload.IdleAccount].Total[energy.CPU][energy.Idle]; got != 1050*unit.Joule {
			t.Errorf("idle is %d µJ", got)
		}
	})
}

func TestSmallCounterAtLongInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 65 kJ pass in 164 s at 400 W; the tick is 300 s.
		r := newRig(t, 5*time.Minute, 400*unit.Watt, 65_532_610_987)
		s := r.run(t, time.Hour)
		if got, want := nodeTotal(s), (400 * unit.Watt).For(55*time.Minute+time.Second); got != want {
			t.Errorf("counted %d µJ of %d", got, want)
		}
		if r.sensor.gap > 30*time.Second {
			t.Errorf("the counter was left alone for %s", r.sensor.gap)
		}
	})
}

func TestSuspendIsNoEnergy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 5*time.Second, 100*unit.Watt, 262_143_328_850)
		var before unit.Energy
		r.usage.hook = func() error {
			if s := r.agent.Snapshot(); s != nil && s.Seq == 3 && r.boot == 0 {
				before = nodeTotal(s)
				r.boot = 8 * time.Hour
				r.sensor.power = 10 * unit.Watt // the counter starts anew, far below
			}
			return nil
		}
		s := r.run(t, 32*time.Second)
		if len(r.ticks) != 7 {
			t.Fatalf("%d ticks", len(r.ticks))
		}
		for i, tick := range r.ticks {
			for _, n := range tick.Nodes {
				if got := n.Delta[energy.Dynamic] + n.Delta[energy.Idle]; got > 500*unit.Joule {
					t.Errorf("tick %d has %d µJ", i, got)
				}
			}
		}
		if got := nodeTotal(s); got <= before {
			t.Errorf("nothing was counted after the suspend: %d µJ", got)
		}
		if !strings.Contains(r.log.String(), "suspended=8h0m0s") {
			t.Errorf("the log does not tell: %s", r.log.String())
		}
	})
}

// A counter is read several times within a long tick. One that the machine
// slept through must not bring what the counter did meanwhile into the tick.
func TestSuspendWithinALongTickIsNoEnergy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 5*time.Minute, 10*unit.Watt, 0)
		clock := &r.agent.opts.Clock
		slept := func() bool { return clock.Mono() > time.Hour+100*time.Second }
		clock.Boot = func() time.Duration {
			if slept() {
				return clock.Mono() + time.Hour
			}
			return clock.Mono()
		}
		r.sensor.now = func() time.Duration {
			if slept() {
				return clock.Mono() + 1000*time.Second // 10 kJ were drawn in the sleep
			}
			return clock.Mono()
		}
		s := r.run(t, 5*time.Minute+5*time.Second)
		if got, most := nodeTotal(s), (10 * unit.Watt).For(5*time.Minute+time.Second); got > most || got < most*8/10 {
			t.Errorf("%d µJ were counted, of %d while awake", got, most)
		}
		if !strings.Contains(r.log.String(), "suspended=1h0m0s") {
			t.Errorf("the log does not tell: %s", r.log.String())
		}
	})
}

// On a machine with more work than CPUs the agent waits for its turn, also
// between the readings of two clocks. No energy is lost by that.
func TestWaitingForACPUIsNoSuspend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 5*time.Second, 100*unit.Watt, 0)
		clock := &r.agent.opts.Clock
		always, reads := false, 0
		clock.Boot = func() time.Duration {
			if reads++; always || reads%3 == 0 {
				time.Sleep(637 * time.Millisecond)
			}
			boot := clock.Mono() + r.boot
			if always || reads%3 == 1 {
				time.Sleep(637 * time.Millisecond)
			}
			return boot
		}
		r.usage.hook = func() error {
			s := r.agent.Snapshot()
			always = s != nil && s.Seq > 3 && s.Seq < 6
			if s != nil && s.Seq == 8 && r.boot == 0 {
				if log := r.log.String(); log != "" {
					t.Errorf("before a suspend the log tells: %s", log)
				}
				if got, least := nodeTotal(s), (100 * unit.Watt).For(36*time.Second); got < least {
					t.Errorf("%d µJ were counted, of %d at least", got, least)
				}
				r.boot = time.Second
			}
			return nil
		}
		r.run(t, time.Minute)
		if log := r.log.String(); !strings.Contains(log, "suspended=1s") {
			t.Errorf("the log does not tell of a second's suspend: %s", log)
		}
	})
}

// A zone that comes back has stood still for no time yet.
func TestZoneThatComesBackIsNotStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 5*time.Second, 0, 262_143_328_850)
		r.sensor.fail = func() error {
			if since := time.Since(r.started); since > 8*time.Second && since < 3*time.Minute {
				return fs.ErrPermission
			}
			return nil
		}
		s := r.run(t, 3*time.Minute+30*time.Second)
		if got := s.Zones[0].Status; got != probe.Works {
			t.Errorf("half a minute after it came back the zone is %s: %s", got, s.Zones[0].Reason)
		}
	})
}

func TestWallClockStepsMoveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, time.Second, 100*unit.Watt, 0)
		r.agent.opts.Clock.Wall = func() time.Time {
			if time.Since(r.started) > 4*time.Second {
				return time.Now().AddDate(0, 0, -1) // set back by a day
			}
			return time.Now()
		}
		s := r.run(t, 9500*time.Millisecond)
		if len(r.ticks) != 9 || nodeTotal(s) != 900*unit.Joule {
			t.Errorf("%d ticks, %d µJ", len(r.ticks), nodeTotal(s))
		}
		for _, tick := range r.ticks {
			if tick.Elapsed != time.Second {
				t.Errorf("tick %d took %s", tick.Seq, tick.Elapsed)
			}
		}
	})
}

func TestSlowReadMissesTicksButNoEnergy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, time.Second, 100*unit.Watt, 0)
		r.usage.hook = func() error {
			if s := r.agent.Snapshot(); s != nil && s.Seq == 2 && s.Self.MissedTicks == 0 {
				time.Sleep(3500 * time.Millisecond)
			}
			return nil
		}
		s := r.run(t, 10*time.Second)
		if s.Self.MissedTicks == 0 {
			t.Error("no tick was missed")
		}
		if got, want := nodeTotal(s), (100 * unit.Watt).For(s.Time.Sub(r.started).Truncate(time.Second)); got != want {
			t.Errorf("counted %d µJ of %d", got, want)
		}
	})
}

func TestZoneThatFailsAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, time.Second, 100*unit.Watt, 262_143_328_850)
		reads := 0
		r.sensor.fail = func() error {
			if reads++; reads >= 4 && reads < 7 {
				return &fs.PathError{Op: "read", Path: "/sys/x/energy_uj", Err: fs.ErrPermission}
			}
			return nil
		}
		s := r.run(t, 9500*time.Millisecond)
		var statuses []string
		for _, tick := range r.ticks {
			z := tick.Zones[0]
			statuses = append(statuses, z.Status.String())
			present := len(tick.Nodes) > 0 && tick.Nodes[0].Present
			if present != z.Present || (z.Present && z.Delta != 100*unit.Joule) {
				t.Errorf("tick %d: zone %+v, node present %t", tick.Seq, z, present)
			}
		}
		if got, want := strings.Join(statuses, " "), "works works forbidden forbidden forbidden forbidden works works works"; got != want {
			t.Errorf("statuses %s, want %s", got, want)
		}
		if got := nodeTotal(s); got != 500*unit.Joule {
			t.Errorf("counted %d µJ", got)
		}
		if n := strings.Count(r.log.String(), "\n"); n != 2 {
			t.Errorf("%d lines in the log, want one for each change:\n%s", n, r.log.String())
		}
	})
}

func TestZoneThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 5*time.Second, 100*unit.Watt, 0)
		var base time.Duration
		r.sensor.now = func() time.Duration {
			now := r.agent.opts.Clock.Mono()
			switch {
			case now < time.Hour+20*time.Second:
				base = now
			case now < time.Hour+3*time.Minute:
				return base // the counter and its time stand still
			}
			return now
		}
		s := r.run(t, 5*time.Minute)
		stale := 0
		for _, tick := range r.ticks {
			if tick.Zones[0].Status == probe.Stale {
				stale++
				if tick.Nodes[0].Present {
					t.Fatal("a stale zone gives a datum")
				}
			}
		}
		if stale == 0 || s.Zones[0].Status != probe.Works {
			t.Errorf("%d stale ticks, at the end %s", stale, s.Zones[0].Status)
		}
	})
}

func TestUsageThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, time.Second, 100*unit.Watt, 0)
		calls := 0
		r.usage.hook = func() error {
			switch calls++; calls {
			case 3:
				return errors.New("no /proc/stat")
			case 4:
				panic("a bug in a source")
			}
			return nil
		}
		s := r.run(t, 5500*time.Millisecond)
		if got := nodeTotal(s); got != 500*unit.Joule {
			t.Errorf("counted %d µJ", got)
		}
		if got := s.System[workload.Unattributed].Total.Component(energy.CPU); got != 200*unit.Joule {
			t.Errorf("unattributed %d µJ, want the two ticks", got)
		}
		if n := strings.Count(r.log.String(), "\n"); n != 2 {
			t.Errorf("%d lines in the log:\n%s", n, r.log.String())
		}
	})
}

// namer is a source that knows a pod as soon as it was asked for it.
type namer struct {
	names *workload.Names
	calls []string
}

func (n *namer) Latest() *workload.Names {
	n.calls = append(n.calls, "latest")
	return n.names
}

func (n *namer) Missing(owners []workload.Owner) {
	n.calls = append(n.calls, "missing")
	if len(owners) > 0 && n.names.Pods == nil {
		n.names = asked(map[string]*workload.PodFacts{owners[0].Pod.UID: facts("u1", "web-1", 0)})
	}
}

func (n *namer) Status(dst []workload.NamesStatus) []workload.NamesStatus {
	return append(dst, workload.NamesStatus{Source: "api", Up: true, Known: len(n.names.Pods)})
}

func TestNamesAreTakenAndAskedForEachTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 5*time.Second, 100*unit.Watt, 0)
		n := &namer{names: asked(nil)}
		r.agent.opts.Names = n
		r.usage.group.Place = &workload.Place{Paths: []workload.CgroupPath{{Path: "/pod/u1"}}}
		s := r.run(t, 1500*time.Millisecond)
		if got := strings.Join(n.calls, " "); got != "latest missing latest missing" {
			t.Errorf("calls at the baseline and the first tick: %s", got)
		}
		// Seen at the baseline and asked for then: named in the first tick.
		if len(s.Pods) != 1 || s.Pods[0].Owner.Pod.Name != "web-1" || s.Unnamed != 0 || len(s.Names) != 1 || s.Names[0].Known != 1 {
			t.Errorf("pods %+v, names %+v, %d unnamed", s.Pods, s.Names, s.Unnamed)
		}
	})
}

func TestConfigValidate(t *testing.T) {
	f := func(change func(*Config), want string) {
		t.Helper()
		c := Default()
		change(&c)
		err := c.Validate()
		if want == "" {
			if err != nil {
				t.Errorf("valid configuration: %v", err)
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(func(*Config) {}, "")
	f(func(c *Config) { c.Interval = time.Millisecond }, "interval 1ms is out of range: use 100ms to 5m0s")
	f(func(c *Config) { c.Interval = time.Hour }, "interval 1h0m0s is out of range")
	f(func(c *Config) { c.KeepFinished = -1 }, "keep-finished -1ns is negative")
	f(func(c *Config) { c.Policy = "calibrated" }, "not available yet")
}

func TestParseProcesses(t *testing.T) {
	for _, s := range []string{"off", "top:1", "top:100", "all"} {
		p, err := ParseProcesses(s)
		if err != nil || p.String() != s {
			t.Errorf("ParseProcesses(%q) = %s, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "top", "top:0", "top:-1", "top:x", "ALL"} {
		if p, err := ParseProcesses(s); err == nil {
			t.Errorf("ParseProcesses(%q) = %s", s, p)
		}
	}
}
