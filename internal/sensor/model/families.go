package model

import (
	"fmt"

	"noether/internal/unit"
)

// band is a figure and the range in which it plausibly lies.
type band struct{ mid, low, high unit.Power }

// w returns a band from hundredths of a watt.
func w(mid, low, high unit.Power) band {
	const hundredth = unit.Watt / 100
	return band{mid * hundredth, low * hundredth, high * hundredth}
}

// wide returns the band of a figure that no distribution is known of: from
// half to double. In the measured rows p10 and p90 mostly lie within that.
func wide(mid unit.Power) band { return band{mid, mid / 2, 2 * mid} }

// widened returns b with at least the width of wide.
func (b band) widened() band { return band{b.mid, min(b.low, b.mid/2), max(b.high, 2*b.mid)} }

// family is what processors of one microarchitecture use per hardware thread.
type family struct {
	name   string
	source string
	n      int // servers in a median
	idle   band
	max    band
	// chip is the typical number of hardware threads of a chip, over which the
	// memory that is in the figures is spread.
	chip int
}

// label says what the figures are those of.
func (f *family) label() string {
	if f.n > 0 {
		return fmt.Sprintf("%s (%s, n = %d)", f.name, f.source, f.n)
	}
	return f.name + " (" + f.source + ")"
}

// fittedPerChip is the memory in GiB of the servers behind the figures, for
// each chip: about 80 (Cloud Carbon Footprint, methodology, memory). Divided by
// the threads of a chip it is the memory that a thread's watts already cover.
const fittedPerChip = 80

// Sources of the rows, for people.
const (
	median   = "SPECpower median" // of SPECpower_ssj2008 results published up to 2026-03-09
	provider = "published coefficients"
	generic  = "providers' average"
)

// Microarchitectures, as indexes into the table.
const (
	sandyBridge = iota
	ivyBridge
	haswell
	broadwell
	skylake
	cascadeLake
	coffeeLake
	iceLake
	sapphireRapids
	emeraldRapids
	graniteRapids
	epyc1
	epyc2
	epyc3
	epyc4
	epyc5
	neoverseN1
	neoverseV
	unknown
)

// lookup returns a row of the table: watts per hardware thread, idle and at
// full load, with the tenth and ninetieth percentile.
//
// The rows "SPECpower median" are medians over the SPECpower_ssj2008 results published
// up to 2026-03-09 (https://www.spec.org/power_ssj2008/), grouped by
// microarchitecture, of n servers, of the columns active idle and 100 % load
// divided by the hardware threads. They are watts of the whole server at the
// wall. Medians, because a few desktop boards in a group move its mean far
// (EPYC 5: 8 times). The rows "published coefficients" are those of Cloud Carbon
// Footprint (Sandy Bridge, Coffee Lake: AwsFootprintEstimationConstants.ts; Ivy
// Bridge and Graviton 3 and 4: ccf-coefficients, output/coefficients-aws-use.csv),
// without a distribution. The last row has the averages of the same project
// for AWS, between the lowest p10 and the highest p90 of the medians.
func lookup(microarchitecture int) family {
	switch microarchitecture {
	case sandyBridge:
		return family{"Sandy Bridge", provider, 0, wide(2_170_000), wide(8_580_000), 16}
	case ivyBridge:
		return family{"Ivy Bridge", provider, 0, wide(1_710_000), wide(5_560_000), 24}
	case haswell:
		return family{"Haswell", median, 17, w(66, 56, 90), w(383, 368, 430), 36}
	case broadwell:
		return family{"Broadwell", median, 17, w(53, 47, 119), w(309, 277, 543), 44}
	case skylake:
		return family{"Skylake", median, 78, w(53, 40, 75), w(412, 323, 447), 56}
	case cascadeLake:
		return family{"Cascade Lake", median, 75, w(60, 43, 108), w(404, 318, 446), 56}
	case coffeeLake:
		return family{"Coffee Lake", provider, 0, wide(1_140_000), wide(5_420_000), 12}
	case iceLake:
		return family{"Ice Lake", median, 30, w(83, 69, 104), w(406, 355, 417), 80}
	case sapphireRapids:
		return family{"Sapphire Rapids", median, 62, w(90, 65, 164), w(399, 309, 484), 112}
	case emeraldRapids:
		return family{"Emerald Rapids", median, 31, w(82, 59, 98), w(324, 246, 405), 128}
	case graniteRapids:
		return family{"Granite Rapids", median, 30, w(60, 44, 72), w(269, 187, 289), 256}
	case epyc1:
		return family{"EPYC 1", median, 10, w(74, 63, 103), w(232, 223, 298), 64}
	case epyc2:
		return family{"EPYC 2", median, 36, w(44, 32, 67), w(166, 153, 192), 128}
	case epyc3:
		return family{"EPYC 3", median, 28, w(42, 33, 62), w(192, 177, 222), 128}
	case epyc4:
		return family{"EPYC 4", median, 42, w(38, 32, 143), w(185, 164, 349), 192}
	case epyc5:
		return family{"EPYC 5", median, 43, w(22, 19, 37), w(118, 111, 198), 256}
	case neoverseN1:
		return family{"Neoverse N1", median, 7, w(62, 56, 104), w(192, 114, 201), 80}
	case neoverseV:
		return family{"Neoverse V", provider, 0, wide(474_000), wide(1_693_000), 64}
	default:
		return family{"unknown processor", generic, 0, w(74, 19, 164), w(350, 111, 543), 64}
	}
}

// Memory per GiB: 0.392 W is the mean of Crucial's and Micron's figures (Cloud
// Carbon Footprint, methodology), 0.284 W is Boavizta's; 0.625 W is CodeCarbon's
// 5 W per DIMM at 8 GiB a DIMM.
const (
	memoryMid  = 392 * unit.Watt / 1000
	memoryLow  = 284 * unit.Watt / 1000
	memoryHigh = 625 * unit.Watt / 1000
)

// Shape of a processor's power between idle and its TDP, in thousandths of the
// TDP at 0, 10, 50 and 100 % load (Teads Engineering, "Building an AWS EC2
// carbon emissions dataset", 2021). Against measured load sweeps of four
// processors its mean error is 39 %, hence the band.
const (
	teads0   = 120
	teads10  = 320
	teads50  = 750
	teads100 = 1020
	teadsErr = 400
)

// Errors of what users state, in thousandths: that of a plug-in meter for the
// idle machine, and for the busy one the least error that a function of load
// alone had against the same sweeps (14 %), rounded up.
const (
	statedIdleErr = 50
	statedMaxErr  = 150
)

// identity is what tells processors apart: never the marketing name.
type identity struct {
	vendor                  string // x86
	family, model, stepping int
	implementer, part       int // ARM: MIDR_EL1
}

// match returns the microarchitecture of a processor, and whether it is only a
// relative of the servers in that row: a client part or a licensed design.
//
// Numbers: arch/x86/include/asm/intel-family.h, arch/x86/kernel/cpu/amd.c,
// arch/arm64/include/asm/cputype.h.
func (id *identity) match() (row int, relative bool) {
	switch {
	case id.vendor == "GenuineIntel" && id.family == 6:
		return matchIntel(id.model, id.stepping)
	case id.vendor == "AuthenticAMD":
		return matchAMD(id.family, id.model)
	case id.vendor == "HygonGenuine" && id.family == 0x18:
		return epyc1, true
	case id.implementer == 0x41:
		return matchARM(id.part)
	}
	return unknown, false
}

func matchIntel(model, stepping int) (row int, relative bool) {
	switch model {
	case 45:
		return sandyBridge, false
	case 42:
		return sandyBridge, true
	case 62:
		return ivyBridge, false
	case 58:
		return ivyBridge, true
	case 63:
		return haswell, false
	case 60, 69, 70:
		return haswell, true
	case 79, 86:
		return broadwell, false
	case 61, 71:
		return broadwell, true
	case 85: // steppings: Skylake 0-4, Cascade Lake 5-7, Cooper Lake 10 and 11
		if stepping < 5 {
			return skylake, false
		}
		return cascadeLake, stepping > 7
	case 78, 94:
		return skylake, true
	case 158: // Kaby Lake before stepping 10
		return coffeeLake, stepping < 10
	case 142, 165, 166:
		return coffeeLake, true
	case 106, 108:
		return iceLake, false
	case 125, 126:
		return iceLake, true
	case 143:
		return sapphireRapids, false
	case 207:
		return emeraldRapids, false
	case 173, 174:
		return graniteRapids, false
	}
	return unknown, false
}

func matchAMD(family, model int) (row int, relative bool) {
	switch family {
	case 0x17:
		if model < 0x30 {
			return epyc1, model != 1
		}
		return epyc2, model != 0x31
	case 0x19:
		switch {
		case model < 0x10:
			return epyc3, false
		case model < 0x20, model >= 0xa0 && model < 0xb0:
			return epyc4, false
		case model >= 0x60 && model < 0x80:
			return epyc4, true
		case model < 0x60:
			return epyc3, true
		}
	case 0x1a:
		return epyc5, model >= 0x20
	}
	return unknown, false
}

func matchARM(part int) (row int, relative bool) {
	switch part {
	case 0xd0c: // Neoverse N1: Graviton 2, Ampere Altra
		return neoverseN1, false
	case 0xd40, 0xd4f: // Neoverse V1, V2: Graviton 3 and 4
		return neoverseV, false
	}
	return unknown, false
}
