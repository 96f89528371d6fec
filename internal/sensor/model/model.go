// Package model estimates the energy of machines that show no counter, as most
// virtual machines do: from the time their processors were busy and what
// servers with such processors used in public benchmarks. Every figure has a
// lowest and a highest plausible value. It refuses to guess a processor from
// its marketing name, and estimates nothing that another sensor measures.
package model

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"noether/internal/energy"
	"noether/internal/linux"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/unit"
)

// Name is the word for --sensor.
const Name = "model"

// Kind returns the line of the table of sensors.
func Kind(cfg Config) sensor.Kind {
	return sensor.Kind{Name: Name, Open: func(_ context.Context, env sensor.Env) (sensor.Sensor, error) { return open(cfg, env) }}
}

// clockTick is the unit of /proc/stat: USER_HZ, 100 on all architectures.
const clockTick = 10 * time.Millisecond

// maxLag is the most busy time that is carried from one read to the next.
const maxLag = 2 * time.Second

// figure is an energy and its bounds. Idle and added energy are apart because
// the idle part is stated too.
type figure struct{ idle, add energy.Integrator }

func (f *figure) total() unit.Energy { return f.idle.Energy + f.add.Energy }

// model adds up energy since it was opened. All sums are exact, so that it
// makes no difference how often it is read.
type model struct {
	env    sensor.Env
	zones  []energy.Zone
	about  string
	cpu    int // index of the zone, -1 if not estimated
	memory int

	curve curve
	stat  *linux.File
	buf   []byte
	times []cpuTime
	cpus  []cpuState // by number
	round int        // counts reads
	last  time.Duration

	mid, low, high figure

	memoryBand            band
	memMid, memLow, memHi energy.Integrator
	memLast               time.Duration
}

// cpuState is one processor between two reads.
type cpuState struct {
	busy  uint64 // ticks at the last read
	round int    // of the last read; another one's means it was offline
	lag   time.Duration
	clock clock
}

func open(cfg Config, env sensor.Env) (sensor.Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, &probe.Error{Status: probe.Broken, Remedy: "correct the model's settings", Err: err}
	}
	m := &model{env: env, cpu: -1, memory: -1, buf: make([]byte, 8192)}
	f, label := identify(env.Proc)
	threads, err := m.openStat()
	if err != nil {
		return nil, err
	}
	if !env.Covered[energy.CPU] {
		m.cpu = len(m.zones)
		m.zones = append(m.zones, zone("cpu", energy.ModelCPU, filepath.Join(env.Proc, "stat")))
	}
	var about []string
	switch {
	case m.cpu < 0:
	case cfg.TDPWatts > 0:
		m.curve = thermal(power(cfg.TDPWatts), threads)
		about = append(about, fmt.Sprintf("TDP of %v W, processors only", cfg.TDPWatts))
	case cfg.IdleWatts > 0 || cfg.MaxWatts > 0:
		m.curve = cfg.stated(&f, threads)
		about = append(about, "watts as set")
	default:
		m.curve = perThread(&f)
		about = append(about, label)
	}
	if m.cpu >= 0 {
		about = append(about, m.curve.describe(threads))
	}
	if !env.Covered[energy.Memory] {
		about = append(about, m.addMemory(cfg, &f, threads)...)
	}
	if len(m.zones) == 0 {
		_ = m.Close() // it was only read
		return nil, fmt.Errorf("estimate energy: nothing is left to estimate beside the other sensors: %w", probe.ErrNotSupported)
	}
	m.about = "estimated: " + strings.Join(about, ", ")
	m.last, m.memLast = env.Now(), env.Now()
	return m, nil
}

func zone(name string, d energy.Domain, path string) energy.Zone {
	return energy.Zone{
		Sensor: Name, Name: name, Domain: d, Socket: -1, Die: -1, Path: path,
		Quality: energy.Estimated, Floor: true, Band: true,
	}
}

// identify returns the figures for this machine's processor and what to call them.
func identify(proc string) (family, string) {
	var id identity
	if b, err := linux.ReadFile(filepath.Join(proc, "cpuinfo"), 16<<10); err == nil {
		id = parseIdentity(b)
	}
	row, relative := id.match()
	f := lookup(row)
	if relative {
		f.idle, f.max = f.idle.widened(), f.max.widened()
		return f, "relative of " + f.label()
	}
	return f, f.label()
}

// openStat takes the baseline of all processors and returns how many are online.
func (m *model) openStat() (int, error) {
	var err error
	if m.stat, err = linux.Open(filepath.Join(m.env.Proc, "stat")); err != nil {
		return 0, fmt.Errorf("estimate energy: %w", err)
	}
	if err := m.readTimes(); err != nil {
		_ = m.Close() // the failure to read is what matters
		return 0, fmt.Errorf("estimate energy: %w", err)
	}
	for _, t := range m.times {
		m.advance(t, 0)
	}
	return len(m.times), nil
}

// addMemory adds a zone for the memory that the CPU's figures do not include:
// all of it if the CPU is measured or known by its TDP, none if the user
// stated the whole machine, else what is above the servers of the family.
func (m *model) addMemory(cfg Config, f *family, threads int) []string {
	if m.cpu >= 0 && cfg.TDPWatts == 0 && (cfg.IdleWatts > 0 || cfg.MaxWatts > 0) {
		return nil
	}
	path := filepath.Join(m.env.Proc, "meminfo")
	b, err := linux.ReadFile(path, 4096)
	kib, ok := parseMemory(b)
	if err != nil || !ok {
		return []string{"memory unknown: no MemTotal in " + path}
	}
	if m.cpu >= 0 && cfg.TDPWatts == 0 {
		kib -= min(kib, uint64(threads)*fittedPerChip<<20/uint64(f.chip))
	}
	if kib == 0 {
		return nil
	}
	m.memoryBand = band{memoryPower(kib, memoryMid), memoryPower(kib, memoryLow), memoryPower(kib, memoryHigh)}
	m.memory = len(m.zones)
	m.zones = append(m.zones, zone("memory", energy.ModelMemory, path))
	return []string{fmt.Sprintf("memory %.1f W (%.1f to %.1f)", m.memoryBand.mid.Watts(), m.memoryBand.low.Watts(), m.memoryBand.high.Watts())}
}

func (c *curve) describe(threads int) string {
	at := func(l *line, load uint64) float64 { return c.at(l, threads, load).Watts() }
	return fmt.Sprintf("cpu %.1f W idle (%.1f to %.1f) and %.1f W busy (%.1f to %.1f) on %d threads",
		at(&c.mid, 0), at(&c.low, 0), at(&c.high, 0), at(&c.mid, 1000), at(&c.low, 1000), at(&c.high, 1000), threads)
}

// String says what is estimated, and from what.
func (m *model) String() string { return m.about }

// Zones returns the estimated meters.
func (m *model) Zones() []energy.Zone { return m.zones }

// Read appends the energy since Open. It allocates only while processors are added.
func (m *model) Read(_ context.Context, dst []energy.Reading) ([]energy.Reading, error) {
	var errs []error
	if m.cpu >= 0 {
		if err := m.readTimes(); err != nil {
			errs = append(errs, &sensor.ZoneError{Zone: m.cpu, Err: fmt.Errorf("estimate energy: %w", err)})
		} else {
			now := m.env.Now()
			m.count(now - m.last)
			m.last = now
			e := m.mid.total()
			dst = append(dst, energy.Reading{
				Zone: m.cpu, At: now, Energy: e, Floor: m.mid.idle.Energy,
				Low: min(m.low.total(), e), High: max(m.high.total(), e),
			})
		}
	}
	if m.memory >= 0 {
		now := m.env.Now()
		m.memMid.Add(m.memoryBand.mid, now-m.memLast)
		m.memLow.Add(m.memoryBand.low, now-m.memLast)
		m.memHi.Add(m.memoryBand.high, now-m.memLast)
		m.memLast = now
		e := m.memMid.Energy
		dst = append(dst, energy.Reading{
			Zone: m.memory, At: now, Energy: e, Floor: e,
			Low: m.memLow.Energy, High: m.memHi.Energy,
		})
	}
	return dst, errors.Join(errs...)
}

// readTimes refills m.times from /proc/stat.
func (m *model) readTimes() error {
	for {
		b, err := m.stat.Read(m.buf)
		if err != nil {
			return err
		}
		m.times, err = parseCPUs(m.times[:0], b)
		if errors.Is(err, errCut) && len(b) == len(m.buf) && len(m.buf) < 1<<24 {
			m.buf = make([]byte, 2*len(m.buf))
			continue
		}
		if err != nil {
			return fmt.Errorf("parse %s: %w", m.stat.Path(), err)
		}
		m.round++
		return nil
	}
}

// work is busy time of all processors: as it was, and weighted by the speed at
// which they ran, the lower and the upper bound of that.
type work struct{ plain, mid, low, high uint64 }

// count adds what the machine used in the time since the last read.
func (m *model) count(elapsed time.Duration) {
	if elapsed <= 0 {
		return
	}
	var sum work
	for _, t := range m.times {
		busy := uint64(m.advance(t, elapsed))
		sum.plain += busy
		if busy == 0 {
			continue
		}
		speed := m.cpus[t.cpu].clock.weight()
		weighted := unit.MulDiv(busy, speed, million)
		sum.mid += weighted
		// That the power follows the frequency is itself an estimate.
		sum.low += min(busy, weighted)
		sum.high += max(busy, weighted)
	}
	threads := len(m.times)
	parts := m.curve.split(sum.plain, uint64(elapsed)*uint64(threads))
	add := func(f *figure, l *line, weighted uint64) {
		idle := l.idle
		if !m.curve.whole {
			idle *= unit.Power(threads)
		}
		f.idle.Add(idle, elapsed)
		for i, part := range parts {
			f.add.Add(l.add[i], time.Duration(unit.MulDiv(part, weighted, sum.plain)))
		}
	}
	add(&m.mid, &m.curve.mid, sum.mid)
	add(&m.low, &m.curve.low, sum.low)
	add(&m.high, &m.curve.high, sum.high)
}

// advance returns how long a processor was busy since the last read, at most
// elapsed. The kernel books time in ticks, and that of a processor without
// ticks late: what is too much for this read is kept for the next.
func (m *model) advance(t cpuTime, elapsed time.Duration) time.Duration {
	for t.cpu >= len(m.cpus) {
		m.cpus = append(m.cpus, cpuState{})
	}
	c := &m.cpus[t.cpu]
	online := c.round == m.round-1 && c.round > 0
	before := c.busy
	c.busy, c.round = t.busy, m.round
	if !online {
		c.lag = 0
		c.clock.close()
		c.clock = openClock(m.env.Sys, t.cpu)
		return 0
	}
	if t.busy > before {
		c.lag += time.Duration(min(t.busy-before, uint64((elapsed+maxLag)/clockTick))) * clockTick
	}
	used := min(c.lag, elapsed)
	c.lag = min(c.lag-used, maxLag)
	return used
}

// Close closes all files.
func (m *model) Close() error {
	for i := range m.cpus {
		m.cpus[i].clock.close()
	}
	if m.stat == nil {
		return nil
	}
	err := m.stat.Close()
	m.stat = nil
	return err
}
