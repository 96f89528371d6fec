// Package energy holds what a machine's meters are called and what they said:
// zones, components, kinds, readings, and the arithmetic from readings to the
// energy of non-overlapping components. It is pure: no files, no clock.
package energy

import (
	"time"

	"noether/internal/unit"
)

// Component is one of the parts of a machine that never overlap; their sum is the machine.
type Component uint8

// The components.
const (
	CPU Component = iota
	Memory
	GPU
	Other
	Components = iota // how many there are
)

// String returns the component as it stands in labels.
func (c Component) String() string {
	switch c {
	case CPU:
		return "cpu"
	case Memory:
		return "memory"
	case GPU:
		return "gpu"
	default:
		return "other"
	}
}

// Part says why energy was spent.
type Part uint8

// The parts.
const (
	Dynamic Part = iota // caused by work
	Idle                // spent whether or not anything ran
	Parts   = iota
)

// String returns the part as it stands in labels.
func (p Part) String() string {
	if p == Idle {
		return "idle"
	}
	return "dynamic"
}

// Quality says where a figure comes from.
type Quality uint8

// The qualities, best first.
const (
	Measured   Quality = iota // a sensor of this machine
	Propagated                // measured by the hypervisor and passed in
	Estimated                 // computed by a model; always with a band
	Qualities  = iota
)

// String returns the quality as it stands in labels.
func (q Quality) String() string {
	switch q {
	case Propagated:
		return "propagated"
	case Estimated:
		return "estimated"
	default:
		return "measured"
	}
}

// Domain is what a zone covers, in the words of the kernel's powercap class
// (Documentation/power/powercap/powercap.rst).
type Domain uint8

// The domains. Core, Uncore and MMIOPackage lie inside Package; Psys and
// Platform contain everything.
const (
	UnknownDomain Domain = iota
	Package
	Core
	Uncore
	DRAM
	Psys
	MMIOPackage // the same registers as Package, read over MMIO
	DiscreteGPU
	IntegratedGPU // lies inside Package
	Platform      // a meter of the whole machine: BMC, power supply
	ModelCPU      // an estimate of what Package would say, server overhead included
	ModelMemory   // an estimate of DRAM
)

// String returns the domain as it stands in tables.
func (d Domain) String() string {
	switch d {
	case Package:
		return "package"
	case Core:
		return "core"
	case Uncore:
		return "uncore"
	case DRAM:
		return "dram"
	case Psys:
		return "psys"
	case MMIOPackage:
		return "mmio-package"
	case DiscreteGPU:
		return "gpu"
	case IntegratedGPU:
		return "integrated-gpu"
	case Platform:
		return "platform"
	case ModelCPU:
		return "model-cpu"
	case ModelMemory:
		return "model-memory"
	default:
		return "unknown"
	}
}

// Component returns the component a zone of this domain is booked to, and
// whether it is booked at all: zones inside another one, and meters of the
// whole machine, are not booked directly.
func (d Domain) Component() (Component, bool) {
	switch d {
	case Package, ModelCPU:
		return CPU, true
	case DRAM, ModelMemory:
		return Memory, true
	case DiscreteGPU:
		return GPU, true
	default:
		return Other, false
	}
}

// Kind says what a zone's number means.
type Kind uint8

// The kinds.
const (
	Counter Kind = iota // energy since some moment, in microjoules
	Gauge               // power now, in microwatts
)

// DieRule says how the counters of the dies of one socket relate.
type DieRule uint8

// The rules.
const (
	DiesUnknown DieRule = iota // nobody knows: the counters themselves will show
	DiesAdd                    // each die has a counter of its own (Intel)
	DiesRepeat                 // each die shows the one counter of the socket (AMD, Hygon)
)

// Zone is one meter of a sensor. It is fixed once the sensor is open.
type Zone struct {
	Sensor  string // the sensor's name: powercap, model
	Name    string // as the hardware calls it: package-0, dram, psys
	Domain  Domain
	Socket  int // physical package, -1 when it belongs to none
	Die     int // die of a multi-die package, -1 when there is none
	Dies    DieRule
	Path    string // where it is read, for people
	Kind    Kind
	Quality Quality

	// Range is the largest value of a counter; the value after it is 0. Zero
	// means that the counter never wraps.
	Range unit.Energy
	// MaxPower is the largest power that is still plausible. A counter that
	// moved faster was reset or is broken: its movement is not energy.
	// Zero means that any movement is believed.
	MaxPower unit.Power
	// Floor is set for zones whose readings state their own idle part.
	Floor bool
	// Band is set for zones whose readings state a lowest and highest plausible value.
	Band bool
}

// ReadWithin returns the longest gap between two reads after which the
// movement of the counter is still unambiguous: half the time in which the
// range could pass at MaxPower. Zero means any gap is fine.
func (z *Zone) ReadWithin() time.Duration {
	if z.Kind != Counter || z.Range <= 0 || z.MaxPower <= 0 {
		return 0
	}
	return time.Duration(unit.MulDiv(uint64(z.Range), uint64(time.Second), 2*uint64(z.MaxPower)))
}

// Reading is what one zone said at one moment.
type Reading struct {
	Zone   int           // index into the sensor's Zones
	At     time.Duration // monotonic time, taken beside the read
	Energy unit.Energy   // of a Counter
	Power  unit.Power    // of a Gauge

	Floor     unit.Energy // if Zone.Floor: the idle part of Energy, a counter like it
	Low, High unit.Energy // if Zone.Band: bounds of Energy, counters like it; Low <= Energy <= High
}

// Amount is the energy of one component in one tick.
type Amount struct {
	Component Component
	Quality   Quality // the worst among the zones it was summed from
	Energy    unit.Energy
	Floor     unit.Energy // the idle part, if HasFloor
	HasFloor  bool
	Low, High unit.Energy // bounds of Energy, if HasBand
	HasBand   bool
}
