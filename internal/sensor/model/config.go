package model

import (
	"errors"
	"fmt"
	"math"

	"noether/internal/unit"
)

// Config is what a user knows better than the table; zero means not said.
type Config struct {
	// IdleWatts and MaxWatts are what the whole machine uses at the wall when
	// idle and when all its processors are busy. Of one alone the other
	// follows in the proportion of the processor's family.
	IdleWatts, MaxWatts float64
	// TDPWatts is the thermal design power of all the machine's processors
	// together, or of a virtual machine's share of them. It says nothing of
	// the rest of the server, so memory is estimated beside it.
	TDPWatts float64
}

// mostWatts is above any machine.
const mostWatts = 1e6

// Validate tells what is wrong with the settings.
func (c Config) Validate() error {
	for _, v := range []struct {
		name  string
		watts float64
	}{{"idle watts", c.IdleWatts}, {"max watts", c.MaxWatts}, {"TDP watts", c.TDPWatts}} {
		if math.IsNaN(v.watts) || v.watts < 0 || v.watts > mostWatts {
			return fmt.Errorf("check model: %s is %v: it has to be between 0 and %v", v.name, v.watts, mostWatts)
		}
	}
	if c.MaxWatts > 0 && c.IdleWatts > c.MaxWatts {
		return fmt.Errorf("check model: idle watts %v is more than max watts %v", c.IdleWatts, c.MaxWatts)
	}
	if c.TDPWatts > 0 && (c.IdleWatts > 0 || c.MaxWatts > 0) {
		return errors.New("check model: TDP watts stands beside idle or max watts: say one or the other")
	}
	return nil
}

// line is power as a function of busy time: the machine's idle power and what
// a busy hardware thread adds in each of three ranges of load.
type line struct {
	idle unit.Power // of one thread, or of the whole machine
	add  [3]unit.Power
}

// curve is a line and its bounds.
type curve struct {
	mid, low, high line
	knees          [2]uint64 // where the ranges end, in thousandths of full load
	whole          bool      // idle is that of the whole machine, however many threads are online
}

// straight returns the line from idle to full power.
func straight(idle, full unit.Power) line {
	slope := max(full-idle, 0)
	return line{idle, [3]unit.Power{slope, slope, slope}}
}

// perThread returns the curve of a family.
func perThread(f *family) curve {
	return curve{
		mid:   straight(f.idle.mid, f.max.mid),
		low:   straight(f.idle.low, f.max.low),
		high:  straight(f.idle.high, f.max.high),
		knees: [2]uint64{1000, 1000},
	}
}

// stated returns the curve of what the user measured on the whole machine.
func (c Config) stated(f *family, threads int) curve {
	around := func(mid, err unit.Power) band { return band{mid, mid - mid*err/1000, mid + mid*err/1000} }
	idle, full := around(power(c.IdleWatts), statedIdleErr), around(power(c.MaxWatts), statedMaxErr)
	if c.IdleWatts == 0 {
		idle = scale(f.idle, full.mid, f.max.mid)
	}
	if c.MaxWatts == 0 {
		full = scale(f.max, idle.mid, f.idle.mid)
	}
	full.low = max(full.low, idle.low)
	share := func(idle, full unit.Power) line {
		return straight(idle, idle+max(full-idle, 0)/unit.Power(threads))
	}
	return curve{
		mid: share(idle.mid, full.mid), low: share(idle.low, full.low), high: share(idle.high, full.high),
		knees: [2]uint64{1000, 1000}, whole: true,
	}
}

// scale returns b times to/from.
func scale(b band, to, from unit.Power) band {
	f := func(p unit.Power) unit.Power {
		return unit.Power(unit.MulDiv(uint64(p), uint64(to), uint64(from)))
	}
	return band{f(b.mid), f(b.low), f(b.high)}
}

// thermal returns the curve of processors of a thermal design power.
func thermal(tdp unit.Power, threads int) curve {
	at := func(err unit.Power) line {
		p := tdp / 1000 * (1000 + err) / 1000 // of one thousandth of the TDP
		n := unit.Power(threads)
		return line{teads0 * p, [3]unit.Power{
			(teads10 - teads0) * 10 * p / n,
			(teads50 - teads10) * 10 * p / 4 / n,
			(teads100 - teads50) * 2 * p / n,
		}}
	}
	return curve{mid: at(0), low: at(-teadsErr), high: at(teadsErr), knees: [2]uint64{100, 500}, whole: true}
}

// at returns a line's power at a load in thousandths.
func (c *curve) at(l *line, threads int, load uint64) unit.Power {
	n := unit.Power(threads)
	p := l.idle
	if !c.whole {
		p *= n
	}
	for i, part := range c.split(load, 1000) {
		p += l.add[i] * n * unit.Power(part) / 1000
	}
	return p
}

// split divides busy time among the ranges of load; full is the busy time at full load.
func (c *curve) split(busy, full uint64) (parts [3]uint64) {
	first := min(busy, unit.MulDiv(full, c.knees[0], 1000))
	second := min(busy, unit.MulDiv(full, c.knees[1], 1000)) - first
	return [3]uint64{first, second, busy - first - second}
}

func power(watts float64) unit.Power { return unit.Power(math.Round(watts * float64(unit.Watt))) }
