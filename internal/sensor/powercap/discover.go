package powercap

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"noether/internal/energy"
	"noether/internal/linux"
	"noether/internal/unit"
)

// Plausible powers. The bound of a package is above any processor on sale
// (500 W of TDP); that of psys above any server that has it. Both are lowered
// for small counters until reads every readEvery are unambiguous.
const (
	maxPackage = 1000 * unit.Watt
	maxPsys    = 20_000 * unit.Watt
	leastBound = 250 * unit.Watt

	// readEvery is the longest time between two reads of a counter, and a bit:
	// every 30 s, however long the tick.
	readEvery = 33 * time.Second
)

// found is a zone's directory and what its files say.
type found struct {
	id   string // intel-rapl:0:1
	name string // dram; empty if unreadable
	path string // of energy_uj
	most unit.Energy
}

const (
	msr  = "intel-rapl"
	mmio = "intel-rapl-mmio"
)

// zoneID returns the control type and the numbers of a zone's directory name.
func zoneID(name string) (control string, numbers []int, ok bool) {
	control, rest, ok := strings.Cut(name, ":")
	if !ok || control != msr && control != mmio {
		return "", nil, false
	}
	for word := range strings.SplitSeq(rest, ":") {
		n, err := strconv.ParseUint(word, 10, 16)
		if err != nil {
			return "", nil, false
		}
		numbers = append(numbers, int(n))
	}
	return control, numbers, true
}

// discover returns the zones in the order of control type and numbers. The
// class directory lists zones of all levels side by side; in a copy of it, or
// where only the control types are visible, they lie inside each other.
func discover(sys string) ([]found, error) {
	class := filepath.Join(sys, "class/powercap")
	byID := map[string]found{}
	err := walk(class, 0, byID)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("find energy counters: %w", err)
	}
	zones := make([]found, 0, len(byID))
	for _, z := range byID {
		zones = append(zones, z)
	}
	slices.SortFunc(zones, func(a, b found) int {
		ca, na, _ := zoneID(a.id)
		cb, nb, _ := zoneID(b.id)
		return cmp.Or(cmp.Compare(ca, cb), slices.Compare(na, nb))
	})
	return zones, nil
}

// deepest is how far zones nest: control type, package, domain.
const deepest = 3

func walk(dir string, depth int, byID map[string]found) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		sub := filepath.Join(dir, e.Name())
		if _, known := byID[e.Name()]; known || !isZone(e.Name()) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(sub, "energy_uj")); err == nil {
			byID[e.Name()] = read(e.Name(), sub)
		}
	}
	for _, e := range entries {
		isControl := depth == 0 && (e.Name() == msr || e.Name() == mmio)
		if depth < deepest && (isControl || isZone(e.Name())) {
			_ = walk(filepath.Join(dir, e.Name()), depth+1, byID) // a zone without children, or a dangling link
		}
	}
	return nil
}

func isZone(name string) bool {
	_, _, ok := zoneID(name)
	return ok
}

// read returns what the files beside the counter say. What cannot be read is
// left out: a counter of unknown range is read, but cannot be unwrapped.
func read(id, dir string) found {
	z := found{id: id, path: filepath.Join(dir, "energy_uj")}
	if b, err := linux.ReadFile(filepath.Join(dir, "name"), 128); err == nil {
		z.name = cleanName(b)
	}
	if b, err := linux.ReadFile(filepath.Join(dir, "max_energy_range_uj"), 32); err == nil {
		if e, err := parseEnergy(b); err == nil {
			z.most = e
		}
	}
	return z
}

// cleanName returns a zone's name as far as it is a name: it becomes a label.
func cleanName(b []byte) string {
	b = bytes.TrimSpace(b)
	for _, c := range b {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return ""
		}
	}
	return string(b)
}

// place is what a zone's name says: package-1-die-0, dram, psys-1.
type place struct {
	domain      energy.Domain
	socket, die int // -1 when not said
}

func parseName(name string) place {
	at := place{socket: -1, die: -1}
	if rest, ok := strings.CutPrefix(name, "package-"); ok {
		socket, die, hasDie := strings.Cut(rest, "-die-")
		n, err := strconv.ParseUint(socket, 10, 16)
		if err != nil {
			return at
		}
		if hasDie {
			d, err := strconv.ParseUint(die, 10, 16)
			if err != nil {
				return at
			}
			at.die = int(d)
		}
		at.domain, at.socket = energy.Package, int(n)
		return at
	}
	// The psys of the first package has no number, the others have.
	if rest, ok := strings.CutPrefix(name, "psys-"); ok {
		n, err := strconv.ParseUint(rest, 10, 16)
		if err == nil {
			at.domain, at.socket = energy.Psys, int(n)
		}
		return at
	}
	switch name {
	case "core":
		at.domain = energy.Core
	case "uncore":
		at.domain = energy.Uncore
	case "dram":
		at.domain = energy.DRAM
	case "psys":
		at.domain = energy.Psys
	}
	return at
}

// describe turns what was found into zones. A zone inside a package is at that
// package's place. An MMIO package is the duplicate of an MSR package of the
// same socket, and the package itself where the MSR driver is not loaded.
func describe(all []found, vendor string) []energy.Zone {
	places := map[string]place{}
	hasMSR := map[int]bool{}
	for _, f := range all {
		at := parseName(f.name)
		places[f.id] = at
		if control, _, _ := zoneID(f.id); control == msr && at.domain == energy.Package {
			hasMSR[at.socket] = true
		}
	}
	var dies energy.DieRule
	switch vendor {
	case "GenuineIntel":
		dies = energy.DiesAdd
	case "AuthenticAMD", "HygonGenuine":
		dies = energy.DiesRepeat
	}
	zones := make([]energy.Zone, 0, len(all))
	for _, f := range all {
		control, numbers, _ := zoneID(f.id)
		at, name := places[f.id], cmp.Or(f.name, f.id)
		if len(numbers) > 1 {
			parent := places[f.id[:strings.LastIndexByte(f.id, ':')]]
			at.socket, at.die = parent.socket, parent.die
			if at.die >= 0 {
				name += "-die-" + strconv.Itoa(at.die)
			}
		}
		if control == mmio && hasMSR[at.socket] {
			at.domain = duplicate(at.domain)
			name = "mmio-" + name
		}
		zones = append(zones, energy.Zone{
			Sensor: Name, Name: unique(zones, name, at.socket, f.id), Domain: at.domain,
			Socket: at.socket, Die: at.die, Dies: dies,
			Path: f.path, Range: f.most, MaxPower: bound(at.domain, f.most),
		})
	}
	return zones
}

// duplicate returns the domain of a zone that an MSR zone already shows.
func duplicate(d energy.Domain) energy.Domain {
	if d == energy.Package {
		return energy.MMIOPackage
	}
	return energy.UnknownDomain
}

// unique returns name, or name and id if another zone of the socket has that name.
func unique(zones []energy.Zone, name string, socket int, id string) string {
	for i := range zones {
		if zones[i].Name == name && zones[i].Socket == socket {
			return name + "@" + id
		}
	}
	return name
}

// bound returns the largest plausible power of a domain whose counter ends at most.
func bound(d energy.Domain, most unit.Energy) unit.Power {
	limit := maxPackage
	if d == energy.Psys {
		limit = maxPsys
	}
	if most > 0 {
		limit = min(limit, max(most.Over(2*readEvery), leastBound))
	}
	return limit
}

// masked reports whether something hides the zones: container runtimes mount
// an empty directory over the devices, which leaves the links of the class
// dangling.
func masked(sys string) bool {
	devices := filepath.Join(sys, "devices/virtual/powercap")
	if entries, err := os.ReadDir(devices); err == nil && len(entries) == 0 {
		return true // the kernel removes the directory with its last device
	}
	class := filepath.Join(sys, "class/powercap")
	entries, err := os.ReadDir(class)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(class, e.Name())); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// cpu is what decides about counters.
type cpu struct {
	vendor     string // empty on other architectures
	hypervisor bool
}

// processor reads the first processor of cpuinfo. What cannot be read is not known.
func processor(proc string) cpu {
	b, err := linux.ReadFile(filepath.Join(proc, "cpuinfo"), 16<<10)
	if err != nil {
		return cpu{}
	}
	return parseProcessor(b)
}

func parseProcessor(b []byte) (c cpu) {
	for line := range bytes.Lines(b) {
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			if len(bytes.TrimSpace(line)) == 0 {
				break // the end of the first processor
			}
			continue
		}
		switch string(bytes.TrimSpace(key)) {
		case "vendor_id":
			c.vendor = string(bytes.TrimSpace(value))
		case "flags":
			c.hypervisor = slices.ContainsFunc(bytes.Fields(value), func(f []byte) bool { return string(f) == "hypervisor" })
		}
	}
	return c
}

func vendor(proc string) string { return processor(proc).vendor }
