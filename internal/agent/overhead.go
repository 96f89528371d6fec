package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"noether/internal/energy"
	"noether/internal/linux"
	"noether/internal/unit"
	"noether/internal/workload"
)

// Rest is what a user wants counted of a server although no sensor sees it.
// All of it is of component other, and estimated. The zero value is nothing.
type Rest struct {
	Overhead Overhead
	// NetworkPerGB and DiskPerGB are the energy of each 10^9 bytes that the
	// machine's own interfaces and disks move; see EnergyPerGB.
	NetworkPerGB, DiskPerGB unit.Energy
	FS                      linux.FS // where those are read; used only if one of them is not 0
}

// Overhead is what a server uses besides what sensors cover: board, fans, disks,
// interfaces, losses of the power supply. It is either watts, spent whether or
// not anything runs, or a ratio of what sensors say, each with its band.
type Overhead struct {
	Power, PowerLow, PowerHigh unit.Power
	Ratio, RatioLow, RatioHigh unit.Ratio
}

// The band of an overhead that comes without one, in percent: Boavizta adds
// 33 % to what processor and memory use, and calls it arbitrary; that servers
// lie between 20 % and 60 % is a guess.
const (
	overheadLow    = 20
	overheadLikely = 33
	overheadHigh   = 60
)

// Bounds of what is believed of one machine.
const (
	maxOverheadWatts = 100_000
	maxOverheadRatio = 10
)

// ParseOverhead parses 40W, 33% or 0.33, or three of a kind from the lowest to
// the highest: 25W-40W-60W. Nothing, like 0, is no overhead.
func ParseOverhead(s string) (Overhead, error) {
	if s == "" {
		return Overhead{}, nil
	}
	var values [3]float64
	words := strings.Split(s, "-")
	if len(words) != 1 && len(words) != len(values) {
		return Overhead{}, errors.New("is neither watts nor a share: write it like 40W, 33% or 0.33, or with its bounds like 25W-40W-60W")
	}
	watts := strings.HasSuffix(s, "W")
	for i, word := range words {
		v, err := overheadValue(word, watts)
		if err != nil {
			return Overhead{}, err
		}
		values[i] = v
	}
	low, mid, high := values[0]*overheadLow/overheadLikely, values[0], values[0]*overheadHigh/overheadLikely
	if len(words) > 1 {
		low, mid, high = values[0], values[1], values[2]
	}
	if low > mid || mid > high {
		return Overhead{}, errors.New("has bounds in the wrong order: write the lowest, the likely and the highest")
	}
	if watts {
		power := func(v float64) unit.Power { return unit.Power(math.Round(v * float64(unit.Watt))) }
		return Overhead{Power: power(mid), PowerLow: power(low), PowerHigh: power(high)}, nil
	}
	return Overhead{Ratio: unit.RatioOf(mid), RatioLow: unit.RatioOf(low), RatioHigh: unit.RatioOf(high)}, nil
}

func overheadValue(word string, watts bool) (float64, error) {
	number, isWatts := strings.CutSuffix(word, "W")
	number, percent := strings.CutSuffix(number, "%")
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || isWatts != watts || isWatts && percent {
		return 0, errors.New("is neither watts nor a share: write it like 40W, 33% or 0.33")
	}
	if percent {
		v /= 100
	}
	switch {
	case !(v >= 0): // also NaN
		return 0, errors.New("is out of range: the rest of a server uses no less than nothing")
	case watts && v > maxOverheadWatts:
		return 0, fmt.Errorf("is out of range: choose 0 to %d watts", maxOverheadWatts)
	case !watts && v > maxOverheadRatio:
		return 0, fmt.Errorf("is out of range: a share of more than %d%% is none: did you mean %sW?", maxOverheadRatio*100, number)
	}
	return v, nil
}

// On tells whether there is anything to add.
func (o *Overhead) On() bool { return o.Power > 0 || o.Ratio > 0 }

// Refused returns why o is not added on a machine with these zones, empty if
// it is.
func (o *Overhead) Refused(zones []energy.Zone) string {
	if !o.On() {
		return ""
	}
	return refusal(energy.NewComposer(zones))
}

func refusal(c *energy.Composer) string {
	switch {
	case c.WholeServer():
		return "the model's watts are already those of a whole server"
	case c.Metered():
		return "a sensor measures the whole machine: what it sees beyond the components is component other"
	default:
		return ""
	}
}

// EnergyPerGB returns the energy of a number of kilowatt-hours for each GB.
func EnergyPerGB(kWh float64) unit.Energy { return unit.Energy(math.Round(kWh * 3.6e12)) }

// bytesPerGB is 10^9, as in the literature on networks.
const bytesPerGB = 1_000_000_000

// trafficSpread is the band of the energy of moved bytes: published figures
// differ 50 times, so from a seventh of a figure to seven times it.
const trafficSpread = 7

// rest adds what no sensor sees. It belongs to the meter; nil adds nothing.
type rest struct {
	Rest
	log     *slog.Logger
	comp    *energy.Composer
	usage   *workload.Usage // of the tick at hand
	moves   []moves
	started bool
	last    time.Duration // when add was called last
	refused bool          // as logged
	// What rounding has left over of the ratio, and of its bounds.
	likely, low, high unit.Carry
}

// moves is one kind of bytes that cost energy.
type moves struct {
	name    string
	traffic *linux.Traffic
	perGB   unit.Energy
	inside  bool // of the machine: a meter of the whole machine sees it
	carry   unit.Carry
	failing bool // as logged
}

// newRest returns nil if there is nothing to add. What cannot be opened is
// logged and left out.
func newRest(r Rest, comp *energy.Composer, usage *workload.Usage, log *slog.Logger) *rest {
	if !r.Overhead.On() && r.NetworkPerGB <= 0 && r.DiskPerGB <= 0 {
		return nil
	}
	out := &rest{Rest: r, log: log, comp: comp, usage: usage}
	out.open("network", r.NetworkPerGB, false, linux.OpenNetwork)
	out.open("disk", r.DiskPerGB, true, linux.OpenDisks)
	return out
}

func (r *rest) open(name string, perGB unit.Energy, inside bool, open func(linux.FS) (*linux.Traffic, error)) {
	if perGB <= 0 {
		return
	}
	traffic, err := open(r.FS)
	if err != nil {
		r.log.Warn("energy of moved bytes is not counted", slog.String("of", name), slog.Any("error", err))
		return
	}
	r.moves = append(r.moves, moves{name: name, traffic: traffic, perGB: perGB, inside: inside})
}

func (r *rest) close() error {
	if r == nil {
		return nil
	}
	var errs []error
	for i := range r.moves {
		errs = append(errs, r.moves[i].traffic.Close())
	}
	return errors.Join(errs...)
}

// add adds what the time since the last call has cost to component other.
func (r *rest) add(dst []energy.Amount, now time.Duration) []energy.Amount {
	if r == nil {
		return dst
	}
	elapsed := now - r.last
	r.last = now
	var parts [4]energy.Amount // what there is of other, overhead, network, disk
	n := 0
	measured := -1
	for i := range dst {
		if dst[i].Component == energy.Other {
			measured, parts[0], n = i, dst[i], 1
		}
	}
	if !r.started {
		elapsed = 0
	}
	if a, ok := r.overhead(dst, elapsed); ok && r.started {
		parts[n] = a
		n++
	}
	for i := range r.moves {
		if a, ok := r.moved(&r.moves[i], now); ok && r.started {
			parts[n] = a
			n++
		}
	}
	r.started = true
	if measured >= 0 {
		if n > 1 {
			dst[measured] = r.sum(parts[:n])
		}
		return dst
	}
	if n == 0 {
		return dst
	}
	return append(dst, r.sum(parts[:n]))
}

// overhead returns what the server uses besides what sensors cover.
func (r *rest) overhead(amounts []energy.Amount, elapsed time.Duration) (energy.Amount, bool) {
	o := &r.Overhead
	if !o.On() {
		return energy.Amount{}, false
	}
	if why := refusal(r.comp); why != "" {
		if !r.refused {
			r.refused = true
			r.log.Warn("server overhead is not added", slog.String("reason", why))
		}
		return energy.Amount{}, false
	}
	r.refused = false
	a := energy.Amount{Component: energy.Other, Quality: energy.Estimated, HasBand: true}
	if o.Power > 0 {
		a.Energy, a.Low, a.High = o.Power.For(elapsed), o.PowerLow.For(elapsed), o.PowerHigh.For(elapsed)
		a.Floor, a.HasFloor = a.Energy, true
		return a, elapsed > 0
	}
	var base, floor unit.Energy
	sensed, floors := false, true
	for i := range amounts {
		b := &amounts[i]
		if b.Quality == energy.Estimated || b.Component == energy.Other {
			continue
		}
		sensed = true
		base += b.Energy
		floor += b.Floor
		floors = floors && b.HasFloor
	}
	of := func(k *unit.Carry, share unit.Ratio) unit.Energy {
		return unit.Energy(k.Scale(uint64(max(base, 0)), uint64(share), 1, uint64(unit.One)))
	}
	a.Energy, a.Low, a.High = of(&r.likely, o.Ratio), of(&r.low, o.RatioLow), of(&r.high, o.RatioHigh)
	a.Low, a.High = min(a.Low, a.Energy), max(a.High, a.Energy)
	if floors {
		a.Floor, a.HasFloor = unit.Energy(unit.MulDiv(uint64(max(floor, 0)), uint64(o.Ratio), uint64(unit.One))), true
	}
	return a, sensed
}

// moved returns the energy of the bytes of one kind that moved.
func (r *rest) moved(m *moves, now time.Duration) (energy.Amount, bool) {
	bytes, err := m.traffic.Read(now)
	if failed := err != nil; failed != m.failing {
		m.failing = failed
		if failed {
			r.log.Warn("energy of moved bytes is not counted until they can be read", slog.String("of", m.name), slog.Any("error", err))
		} else {
			r.log.Info("energy of moved bytes is counted again", slog.String("of", m.name))
		}
	}
	if err != nil || m.inside && r.comp.Metered() {
		return energy.Amount{}, false
	}
	e := unit.Energy(m.carry.Scale(bytes, uint64(m.perGB), 1, bytesPerGB))
	return energy.Amount{
		Component: energy.Other, Quality: energy.Estimated, Energy: e, HasFloor: true,
		HasBand: true, Low: e / trafficSpread, High: min(e, math.MaxInt64/trafficSpread) * trafficSpread,
	}, true
}

// sum adds the parts of other. Where some state their idle part and others do
// not, theirs is what the CPUs were idle.
func (r *rest) sum(parts []energy.Amount) energy.Amount {
	if len(parts) == 1 {
		return parts[0]
	}
	all := energy.Amount{Component: energy.Other, HasBand: true, HasFloor: true}
	for i := range parts {
		p := &parts[i]
		if !p.HasBand {
			p.Low, p.High = p.Energy, p.Energy
		}
		if !p.HasFloor {
			p.Floor = r.idle(p.Energy)
		}
		all.Quality = max(all.Quality, p.Quality)
		all.Energy += p.Energy
		all.Floor += p.Floor
		all.Low += p.Low
		all.High += p.High
	}
	return all
}

// idle returns the part of e for the time that the CPUs were idle.
func (r *rest) idle(e unit.Energy) unit.Energy {
	cpu := &r.usage.CPU
	if e <= 0 || cpu.Capacity <= 0 || cpu.Idle <= 0 {
		return 0
	}
	return unit.Energy(unit.MulDiv(uint64(e), uint64(min(cpu.Idle, cpu.Capacity)), uint64(cpu.Capacity)))
}
