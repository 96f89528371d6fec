// Package embodied estimates the CO2e that making a machine's hardware caused,
// by its parts: from a figure the user has, from a table of cloud instances, or
// from the components that the kernel shows.
//
// It refuses to invent a machine: where nobody can tell what kind of one it
// is, the answer is why not, and no figure.
package embodied

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"noether/internal/linux"
	"noether/internal/snapshot"
	"noether/internal/unit"
)

// Sources of a figure, as they stand in labels.
const (
	FromValue      = "value"
	FromInstance   = "instance"
	FromComponents = "components"
)

// Factors of Cloud Carbon Footprint's method for a server (Methodology,
// Embodied Emissions): a rack server with one CPU, 16 GB and no disk, and what
// is added to it. The memory is 533 kg for 12 modules of 32 GB in the Dell R740
// life-cycle assessment.
const (
	baseServer = 1000 * unit.Kilogram
	baseMemory = 16 // GB
	perCPU     = 100 * unit.Kilogram
	perHDD     = 50 * unit.Kilogram
	perSSD     = 100 * unit.Kilogram
	perGPU     = 150 * unit.Kilogram

	memoryKilograms = 533 // for this many GB:
	memoryGB        = 384
)

// personal is what making a computer for one person caused: the Green Metrics
// Tool's default for SCI, a laptop.
const personal = 181 * unit.Kilogram

// The server that a virtual machine without a line in the table is taken to
// run on: Boavizta's archetype of a medium compute platform.
const (
	hostSockets = 2
	hostThreads = 96 // 2 CPUs of 24 cores with two threads
	hostGB      = 256
	hostSSDs    = 1
)

// Setting is what --embodied.kg says.
type Setting struct {
	Off  bool
	Mass unit.Mass // 0 for auto
}

// maxKilograms is more than any one machine by far.
const maxKilograms = 1_000_000

// ParseSetting parses auto, off, or a number of kilograms.
func ParseSetting(s string) (Setting, error) {
	switch s {
	case "", "auto":
		return Setting{}, nil
	case "off":
		return Setting{Off: true}, nil
	}
	x, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(s, "kg")), 64)
	if err != nil || !(x >= 1e-3 && x <= maxKilograms) { // also NaN
		return Setting{}, fmt.Errorf("embodied emissions %q are none of auto, off, or kilograms of CO2e from 0.001 to %d", s, maxKilograms)
	}
	return Setting{Mass: kg(x)}, nil
}

// String returns s as ParseSetting reads it.
func (s Setting) String() string {
	switch {
	case s.Off:
		return "off"
	case s.Mass == 0:
		return "auto"
	default:
		return string(unit.AppendDecimal(nil, int64(s.Mass), 12))
	}
}

func kg(x float64) unit.Mass { return unit.Mass(math.Round(x * float64(unit.Kilogram))) }

// Options is what the user, or the cluster, says about the machine.
type Options struct {
	Setting  Setting
	Instance string        // instance type; empty if nobody says
	Lifetime time.Duration // over which the figure is spread
}

// Finding is an answer and how it came about.
type Finding struct {
	snapshot.Hardware        // not Known if there is no figure
	Why               string // a sentence without a full stop, for people
}

// Find answers for the machine whose files are below fs. It reads about as
// many files as there are CPUs, disks and PCI devices: once, or when the
// instance type becomes known, not every tick.
func Find(fs linux.FS, o Options) Finding {
	if o.Setting.Off {
		return Finding{Why: "switched off by embodied.kg"}
	}
	if o.Setting.Mass > 0 {
		return byValue(fs, &o)
	}
	instance := o.Instance
	if instance == "" {
		instance = linux.ProductName(fs) // Amazon writes it there
	}
	if instance != "" {
		if p, ok := findPlatform(instance); ok {
			return byInstance(&o, instance, &p)
		}
	}
	f := byComponents(fs, &o)
	if o.Instance != "" {
		f.Why = fmt.Sprintf("instance type %q is not in the table; %s", o.Instance, f.Why)
	}
	return f
}

func byValue(fs linux.FS, o *Options) Finding {
	h := snapshot.Hardware{Rest: o.Setting.Mass, Lifetime: o.Lifetime, Source: FromValue}
	auto := *o
	auto.Setting = Setting{}
	if parts := Find(fs, auto); parts.Known() {
		h = scaled(parts.Hardware, o.Setting.Mass, parts.Total())
		h.Source, h.Estimated = FromValue, false
	}
	return Finding{Hardware: h, Why: kilos(o.Setting.Mass) + " as embodied.kg says"}
}

func byInstance(o *Options, instance string, p *platform) Finding {
	h := snapshot.Hardware{
		CPU:      min(p.cpu+perCPU, p.total),
		GPU:      p.gpu,
		Lifetime: o.Lifetime, Source: FromInstance, Estimated: true,
	}
	h.Memory = min(p.memory+memoryMass(baseMemory<<30), p.total-h.CPU-h.GPU)
	h.Rest = p.total - h.CPU - h.GPU - h.Memory
	h = scaled(h, unit.Mass(unit.MulDiv(uint64(p.total), p.vcpus, p.of)), p.total)
	return Finding{Hardware: h, Why: fmt.Sprintf("%s: instance type %s has %d of the %d vCPUs of a server of %s (%s)",
		kilos(h.Total()), instance, p.vcpus, p.of, kilos(p.total), p.source)}
}

// scaled returns h with its parts times total/of, and the sum total exactly.
func scaled(h snapshot.Hardware, total, of unit.Mass) snapshot.Hardware {
	for _, part := range []*unit.Mass{&h.CPU, &h.Memory, &h.GPU} {
		*part = unit.Mass(unit.MulDiv(uint64(*part), uint64(total), uint64(of)))
	}
	h.Rest = total - h.CPU - h.Memory - h.GPU
	return h
}

func byComponents(fs linux.FS, o *Options) Finding {
	seen := linux.ReadHardware(fs)
	f := Finding{Hardware: snapshot.Hardware{Lifetime: o.Lifetime, Source: FromComponents, Estimated: true}}
	switch kindOf(&seen) {
	case guest:
		f.share(&seen)
	case server:
		f.count(&seen)
	case desk:
		f.Rest = personal
		f.Why = kilos(personal) + ": a computer for one person, by its chassis"
	default:
		return Finding{Why: "nobody tells what kind of machine this is: neither the firmware's tables nor its size; say embodied.kg or embodied.instance"}
	}
	return f
}

// share is a virtual machine's part of the server it is taken to run on:
// memory by GB, the rest by vCPU.
func (f *Finding) share(seen *linux.Hardware) {
	if seen.CPUs == 0 {
		*f = Finding{Why: "a virtual machine whose vCPUs cannot be counted; say embodied.kg or embodied.instance"}
		return
	}
	by := func(m unit.Mass) unit.Mass {
		return unit.Mass(unit.MulDiv(uint64(m), uint64(seen.CPUs), hostThreads))
	}
	f.CPU = by(hostSockets * perCPU)
	f.Rest = by(baseServer - perCPU - memoryMass(baseMemory<<30) + hostSSDs*perSSD)
	f.Memory = memoryMass(seen.Memory)
	f.GPU = unit.Mass(seen.GPUs) * perGPU
	f.Why = fmt.Sprintf("%s: a virtual machine with %d of the %d vCPUs of a server with %d CPUs and %d GB, and %s of memory",
		kilos(f.Total()), seen.CPUs, hostThreads, hostSockets, hostGB, gigabytes(seen.Memory))
}

// count adds up a server's parts. The base has one CPU and 16 GB, which are
// taken out of it at the price of further ones.
func (f *Finding) count(seen *linux.Hardware) {
	sockets := max(seen.Sockets, 1)
	f.CPU = unit.Mass(sockets) * perCPU
	f.Memory = memoryMass(max(seen.Memory, baseMemory<<30))
	f.GPU = unit.Mass(seen.GPUs) * perGPU
	f.Rest = baseServer - perCPU - memoryMass(baseMemory<<30) + unit.Mass(seen.HDDs)*perHDD + unit.Mass(seen.SSDs)*perSSD
	f.Why = fmt.Sprintf("%s: a server with %d CPUs, %s of memory, %d HDDs, %d SSDs and %d GPUs",
		kilos(f.Total()), sockets, gigabytes(seen.Memory), seen.HDDs, seen.SSDs, seen.GPUs)
}

// memoryMass returns the CO2e of some bytes of memory. GB are of 2^30 bytes,
// as memory is sold.
func memoryMass(bytes uint64) unit.Mass {
	return unit.Mass(unit.MulDiv(memoryKilograms*uint64(unit.Kilogram), bytes, memoryGB<<30))
}

type kind int

const (
	unknown kind = iota
	guest
	server
	desk
)

// kindOf tells what a machine is by the type of its enclosure (System
// Management BIOS specification, 7.4.1), and without one by its size.
func kindOf(seen *linux.Hardware) kind {
	if seen.Guest {
		return guest
	}
	switch seen.Chassis {
	case 17, 23, 25, 28, 29: // main server, rack mount, multi-system, blade, blade enclosure
		return server
	case 8, 9, 10, 11, 14, 30, 31, 32: // portable, laptop, notebook, hand held, sub notebook, tablet, convertible, detachable
		return desk
	}
	if seen.Sockets > 1 || seen.Memory > 120<<30 {
		return server
	}
	switch seen.Chassis {
	case 3, 4, 5, 6, 7, 13, 15, 16, 24, 33, 34, 35, 36: // desktops, towers, all-in-ones, small and embedded computers
		return desk
	}
	return unknown
}

// kilos returns a mass for people.
func kilos(m unit.Mass) string {
	return strconv.FormatFloat(m.Grams()/1000, 'f', 1, 64) + " kg"
}

func gigabytes(bytes uint64) string {
	return strconv.FormatFloat(float64(bytes)/(1<<30), 'f', 0, 64) + " GB"
}
