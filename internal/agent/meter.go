package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"noether/internal/energy"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/snapshot"
)

// staleAfter is how long a counter may stand still before its zone counts as
// stale: it then gives no datum until it moves. Package and DRAM counters move
// every millisecond on a machine that is on.
const staleAfter = time.Minute

// maxRead is the longest time between two reads of the counters, whatever the tick.
const maxRead = 30 * time.Second

// meter reads all sensors and turns what they say into the energy of
// components. It is used by the agent's goroutine only.
type meter struct {
	log     *slog.Logger
	sensors []sensor.Sensor
	first   []int // of each sensor: index of its first zone in zones
	zones   []snapshot.Zone
	moved   []time.Duration // of each zone: when it last moved, monotonic
	failing []bool          // of each sensor, as last logged

	acc      *energy.Accumulator
	comp     *energy.Composer
	readings []energy.Reading
	failed   []error // of each zone, in the read at hand
	deltas   []energy.ZoneDelta
	amounts  []energy.Amount
	rest     *rest // may be nil
}

func newMeter(sensors []sensor.Sensor, log *slog.Logger) *meter {
	m := &meter{log: log, sensors: sensors, failing: make([]bool, len(sensors))}
	var zones []energy.Zone
	for _, s := range sensors {
		m.first = append(m.first, len(zones))
		zones = append(zones, s.Zones()...)
	}
	for i := range zones {
		m.zones = append(m.zones, snapshot.Zone{Zone: zones[i], Status: probe.Unknown, Reason: "not read yet"})
	}
	m.moved = make([]time.Duration, len(zones))
	m.failed = make([]error, len(zones))
	m.acc = energy.NewAccumulator(zones)
	m.comp = energy.NewComposer(zones)
	return m
}

// readEvery returns how often the counters have to be read so that none of
// them passes its range unseen.
func (m *meter) readEvery(interval time.Duration) time.Duration {
	every := min(interval, maxRead)
	for i := range m.zones {
		if within := m.zones[i].ReadWithin(); within > 0 {
			every = min(every, within*8/10)
		}
	}
	return max(every, MinInterval)
}

// read takes one reading of every zone.
func (m *meter) read(ctx context.Context, now time.Duration) {
	for i, s := range m.sensors {
		base := m.first[i]
		n := len(s.Zones())
		var err error
		m.readings, err = guardedRead(ctx, s, m.readings[:0])
		m.fail(i, base, n, err)
		for _, r := range m.readings {
			if r.Zone < 0 || r.Zone >= n {
				continue
			}
			r.Zone += base
			m.acc.Add(r)
			if m.zones[r.Zone].Status == probe.Unknown {
				m.setStatus(r.Zone, probe.Works, "")
			}
			if m.moved[r.Zone] == 0 {
				m.moved[r.Zone] = now
			}
		}
	}
}

// fail notes which zones of sensor i were not read and why.
func (m *meter) fail(i, base, n int, err error) {
	failed := m.failed[base : base+n]
	clear(failed)
	if err == nil {
		m.failing[i] = false
		return
	}
	if !assign(failed, err) { // the sensor as a whole: every zone that gave no reading
		for _, r := range m.readings {
			if r.Zone >= 0 && r.Zone < n {
				failed[r.Zone] = errRead
			}
		}
		for z := range failed {
			if failed[z] == nil {
				failed[z] = err
			} else {
				failed[z] = nil
			}
		}
	}
	for z, err := range failed {
		if err == nil {
			continue
		}
		m.acc.Fail(base + z)
		m.moved[base+z] = 0 // how long it has stood still counts from when it can be read again
		m.setStatus(base+z, statusOf(err), err.Error())
	}
}

// errRead marks zones that were read although their sensor reported an error.
var errRead = errors.New("read")

// assign gives each *sensor.ZoneError in err to its zone. It reports false
// when err says nothing about single zones.
func assign(failed []error, err error) bool {
	if ze := (*sensor.ZoneError)(nil); errors.As(err, &ze) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				assign(failed, e)
			}
			return true
		}
		if ze.Zone >= 0 && ze.Zone < len(failed) {
			failed[ze.Zone] = ze.Err
		}
		return true
	}
	return false
}

// statusOf tells absent, forbidden and broken apart.
func statusOf(err error) probe.Status {
	var known *probe.Error
	switch {
	case errors.As(err, &known):
		return known.Status
	case errors.Is(err, fs.ErrPermission):
		return probe.Forbidden
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV):
		return probe.Absent
	default:
		return probe.Broken
	}
}

// setStatus changes what is known of a zone and logs it when it changed.
func (m *meter) setStatus(z int, s probe.Status, reason string) {
	zone := &m.zones[z]
	was := zone.Status
	zone.Status, zone.Reason = s, reason
	if was == s {
		return
	}
	switch {
	case s != probe.Works:
		m.log.Warn("zone gives no energy", slog.String("sensor", zone.Sensor), slog.String("zone", zone.Name),
			slog.String("status", s.String()), slog.String("reason", reason))
	case was != probe.Unknown:
		m.log.Info("zone gives energy again", slog.String("sensor", zone.Sensor), slog.String("zone", zone.Name))
	}
}

// take closes the tick: the energy of each component since the last take.
// The result is valid until the next call.
func (m *meter) take(now time.Duration) []energy.Amount {
	m.deltas = m.acc.Take(m.deltas[:0])
	for i := range m.deltas {
		d, z := &m.deltas[i], &m.zones[i]
		z.Present, z.Delta = false, 0
		if !d.Valid {
			if z.Status == probe.Works && !benign(d.Why) {
				m.setStatus(i, probe.Broken, z.Path+" "+d.Why.String())
			}
			continue
		}
		if d.Energy > 0 {
			m.moved[i] = now
		}
		if z.Kind == energy.Counter && now-m.moved[i] > staleAfter {
			m.setStatus(i, probe.Stale, z.Path+" has stood still for over "+staleAfter.String())
			d.Valid, d.Complete = false, false
			continue
		}
		m.setStatus(i, probe.Works, "")
		z.Present, z.Delta = true, d.Energy
		z.Total += d.Energy
	}
	m.amounts = m.rest.add(m.comp.Compose(m.amounts[:0], m.deltas), now)
	return m.amounts
}

// benign reports whether a tick without a datum says nothing about the zone.
func benign(why energy.Reason) bool {
	return why == energy.Counted || why == energy.NoBaseline || why == energy.NotRead
}

// reset forgets all baselines: what the counters did meanwhile is unknown.
func (m *meter) reset() { m.acc.Reset() }

func (m *meter) close() error {
	errs := []error{m.rest.close()}
	for _, s := range slices.Backward(m.sensors) {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// guardedRead turns a panic of one sensor into the failure of that sensor.
func guardedRead(ctx context.Context, s sensor.Sensor, dst []energy.Reading) (out []energy.Reading, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = dst[:0], fmt.Errorf("read sensor: panic: %v", p)
		}
	}()
	return s.Read(ctx, dst)
}
