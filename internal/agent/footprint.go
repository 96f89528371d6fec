package agent

import (
	"slices"
	"time"

	"noether/internal/attribution"
	"noether/internal/carbon"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// The pools of hardware that are shared by the same measure. What is none of
// the three parts is half in the first and half in the second.
const (
	byCPU = iota
	byMemory
	byDevice
	hardwarePools
)

// footprints turns the energy and the time of each tick into grams and money,
// and divides them among the accounts. It is used by the agent's goroutine only.
type footprints struct {
	asked    bool           // somebody tells about the site
	site     *snapshot.Site // in this tick; nil if nothing is known
	from, to time.Time      // the tick by the wall clock

	operational carbon.Operational
	embodied    [hardwarePools]carbon.Embodied
	money       carbon.Money
	facility    carbon.Facility
	revision    carbon.Revision
	revised     uint64
	past        []carbon.Past

	total, delta snapshot.Footprint // the machine's
	unknown      unit.Energy        // of ticks without a known intensity

	payers  []*account // all that paid for energy or hold hardware in this tick, system accounts last
	weights []uint64   // of payers
	users   []int32    // indexes of the payers that pay for use
	grams   []unit.Mass
	coins   []unit.Money
}

// emit books what the tick emitted and cost: operational grams and money by
// energy, embodied grams by what is reserved.
func (b *books) emit(cpu *workload.CPUTime, elapsed time.Duration) {
	f := &b.carbon
	f.delta = snapshot.Footprint{}
	for _, a := range b.system {
		a.footDelta = snapshot.Footprint{}
	}
	if !f.asked {
		return
	}
	f.payers = f.payers[:0]
	for _, a := range b.active {
		if !a.system {
			f.payers = append(f.payers, a)
		}
	}
	f.payers = append(f.payers, b.system[:]...)
	used := f.byEnergy()
	if f.site == nil || !f.site.Grid.Known {
		f.unknown += used
	}
	if f.site == nil {
		return
	}
	b.operate(used)
	if f.site.Hardware.Known() {
		b.embody(cpu, elapsed)
	}
	for _, a := range f.payers {
		a.foot.Add(&a.footDelta)
		if a.pod != nil {
			a.pod.foot.Add(&a.footDelta)
			a.pod.footDelta.Add(&a.footDelta)
		}
	}
	f.total.Add(&f.delta)
}

// byEnergy weighs each payer by its energy and returns the energy of all.
func (f *footprints) byEnergy() (used unit.Energy) {
	f.weights = slices.Grow(f.weights[:0], len(f.payers))[:len(f.payers)]
	for i, a := range f.payers {
		var e unit.Energy
		for c := range a.delta {
			for _, part := range a.delta[c] {
				e += part
			}
		}
		e = max(e, 0)
		f.weights[i] = uint64(e)
		used += e
	}
	return used
}

// operate books what the electricity of the tick emitted and cost.
func (b *books) operate(used unit.Energy) {
	f, site := &b.carbon, b.carbon.site
	nobody := b.system[workload.Unattributed]
	var booked unit.Mass
	if site.Grid.Known {
		booked = f.operational.Of(used, site.PUE, site.Grid.Intensity)
		f.share(&b.divider, snapshot.Operational, booked, nobody)
	}
	if site.Priced {
		cost, credit := f.money.Of(used, site.PUE, site.Price)
		f.delta.Cost, f.delta.Credit = cost, credit
		f.coins = slices.Grow(f.coins[:0], len(f.payers))[:len(f.payers)]
		if cost > 0 && attribution.Divide(&b.divider, f.coins, cost, f.weights) {
			for i, a := range f.payers {
				a.footDelta.Cost = f.coins[i]
			}
		}
		if credit > 0 && attribution.Divide(&b.divider, f.coins, credit, f.weights) {
			for i, a := range f.payers {
				a.footDelta.Credit = f.coins[i]
			}
		}
	}
	f.revision.Add(f.from, f.to, f.facility.Of(used, site.PUE), booked)
	if site.Revised == f.revised && !f.revision.Stale() {
		return
	}
	f.revised, f.past = site.Revised, f.past[:0]
	for _, p := range site.Past {
		f.past = append(f.past, carbon.Past(p))
	}
	f.revision.Revise(f.past, f.to)
}

// share divides m among the payers by their weights; without any it is all rest's.
func (f *footprints) share(d *attribution.Divider, p snapshot.Phase, m unit.Mass, rest *account) {
	if m == 0 {
		return
	}
	f.delta.CO2e[p] += m
	f.grams = slices.Grow(f.grams[:0], len(f.payers))[:len(f.payers)]
	if !attribution.Divide(d, f.grams, m, f.weights) {
		rest.footDelta.CO2e[p] += m
		return
	}
	for i, a := range f.payers {
		a.footDelta.CO2e[p] += f.grams[i]
	}
}

// embody books what making the hardware emitted, as far as the tick's share of
// its life goes. What nobody reserves or uses is unreserved, or idle where
// requests are unknown; all of it is, while nobody knows who ran.
func (b *books) embody(cpu *workload.CPUTime, elapsed time.Duration) {
	f, h := &b.carbon, &b.carbon.site.Hardware
	rest := b.system[workload.IdleAccount]
	if b.names.Allocatable != (workload.Reserved{}) {
		rest = b.system[workload.Unreserved]
	}
	pools := [hardwarePools]unit.Mass{byCPU: h.CPU + h.Rest - h.Rest/2, byMemory: h.Memory + h.Rest/2, byDevice: h.GPU}
	for pool, te := range pools {
		m := f.embodied[pool].Of(te, elapsed, h.Lifetime)
		if m == 0 {
			continue
		}
		if clear(f.weights); cpu.Capacity > 0 {
			b.byHolding(pool, cpu, rest)
		}
		f.share(&b.divider, snapshot.Embodied, m, rest)
	}
}

// byHolding weighs each payer by what it holds of a pool: its request, or where
// nothing of its pod requests any, what it uses of what is unreserved. Nobody
// knows who uses graphics processors that are not requested.
func (b *books) byHolding(pool int, cpu *workload.CPUTime, rest *account) {
	f := &b.carbon
	elapsed := max(cpu.Elapsed, cpu.Capacity/time.Duration(max(cpu.Online, 1)))
	micros := uint64(max(elapsed/time.Microsecond, 1))
	cpus := holding(b.names.Allocatable, byCPU, micros)
	if cpus == 0 {
		cpus = uint64(max(time.Duration(cpu.Online)*elapsed, cpu.Capacity))
	}
	can := holding(b.names.Allocatable, pool, micros)
	requests := can > 0
	if !requests && pool != byDevice {
		can = cpus
	}
	claims := f.payers[:len(f.payers)-workload.SystemAccounts]
	f.users = f.users[:0]
	var reserved, used uint64
	for i, a := range claims {
		if requests && a.pod != nil && holding(a.pod.holds, pool, 1) > 0 {
			f.weights[i] = holding(a.reserved, pool, micros)
			reserved += f.weights[i]
		} else if a.cpuDelta > 0 && pool != byDevice {
			f.users = append(f.users, int32(i))
		}
	}
	can = max(can, reserved)
	free := can - reserved
	for _, i := range f.users {
		use := uint64(claims[i].cpuDelta)
		if can != cpus {
			use = min(unit.MulDiv(use, can, cpus), mostHeld)
		}
		f.weights[i] = use
		used += use
	}
	if used > free {
		for _, i := range f.users {
			f.weights[i] = unit.MulDiv(f.weights[i], free, used)
		}
		used = free
	}
	f.weights[len(claims)+int(rest.owner.System)] = free - used
}

// What a claim can hold is bounded: more is no request but nonsense.
const (
	mostHeld  = 1 << 50
	mostCores = 1 << 24 // thousandths
)

// holding returns what r has of a pool, in nanoseconds of a tick, bytes or devices.
func holding(r workload.Reserved, pool int, micros uint64) uint64 {
	switch pool {
	case byCPU:
		return min(r.CPU, mostCores) * micros // a thousandth of a microsecond is a nanosecond
	case byMemory:
		return min(r.Memory, mostHeld)
	default:
		return min(r.Devices, mostHeld)
	}
}

// publish writes the machine's own figures.
func (f *footprints) publish(s *snapshot.Snapshot) {
	s.Site = f.site
	s.Footprint, s.FootprintDelta = f.total, f.delta
	s.NoIntensity, s.Revision = f.unknown, f.revision.Off()
}

// imbalanceCO2e returns by how much the machine's grams and those of its
// accounts differ. It is 0 or a bug.
func imbalanceCO2e(s *snapshot.Snapshot) (off unit.Mass) {
	for p, sum := range s.Footprint.CO2e {
		for _, list := range [][]snapshot.Account{s.Pods, s.VMs, s.Sessions, s.Units} {
			for i := range list {
				sum -= list[i].Footprint.CO2e[p]
			}
		}
		for i := range s.Containers {
			if s.Containers[i].Owner.Pod.UID == "" {
				sum -= s.Containers[i].Footprint.CO2e[p]
			}
		}
		for i := range s.System {
			sum -= s.System[i].Footprint.CO2e[p]
		}
		for k := range s.RetiredCO2e {
			sum -= s.RetiredCO2e[k][p]
		}
		off += max(sum, -sum)
	}
	return off
}
