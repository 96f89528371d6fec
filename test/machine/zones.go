package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// AddZone adds a powercap zone, as at boot: sensors list their zones once.
func (m *Machine) AddZone(z Zone) {
	m.tb.Helper()
	if z.Range == 0 {
		z.Range = 262_143_328_850 // what most Intel packages say
	}
	m.zones = append(m.zones, z)
	dir := m.zoneDir(z.Dir)
	m.must(os.MkdirAll(dir, 0o755))
	m.write(filepath.Join(dir, "name"), z.Name+"\n")
	m.write(filepath.Join(dir, "max_energy_range_uj"), fmt.Sprintf("%d\n", z.Range))
	m.write(filepath.Join(dir, "enabled"), "1\n")
	m.writeZone(&z)
	// The class directory lists zones at every level side by side, as links
	// into the device tree (Documentation/power/powercap/powercap.rst).
	link := m.Path("sys/class/powercap", z.Dir)
	target, err := filepath.Rel(filepath.Dir(link), dir)
	m.must(err)
	m.must(os.Symlink(target, link))
	control, _, _ := strings.Cut(z.Dir, ":")
	top := m.Path("sys/class/powercap", control)
	if _, err := os.Lstat(top); err != nil {
		m.write(m.Path("sys/devices/virtual/powercap", control, "enabled"), "1\n")
		m.must(os.Symlink("../../devices/virtual/powercap/"+control, top))
	}
}

// zoneDir returns where the zone is in the device tree: intel-rapl:0:1 lies
// in intel-rapl:0, which lies in intel-rapl.
func (m *Machine) zoneDir(name string) string {
	parts := strings.Split(name, ":")
	dir := m.Path("sys/devices/virtual/powercap", parts[0])
	for i := range parts[1:] {
		dir = filepath.Join(dir, strings.Join(parts[:i+2], ":"))
	}
	return dir
}

func (m *Machine) writeZone(z *Zone) {
	m.tb.Helper()
	m.write(filepath.Join(m.zoneDir(z.Dir), "energy_uj"), fmt.Sprintf("%d\n", z.Energy))
}

// EnergyFile returns the path of the zone's counter.
func (m *Machine) EnergyFile(zone string) string {
	return filepath.Join(m.zoneDir(zone), "energy_uj")
}

// BreakZone makes the zone's counter say the given text, whatever happens,
// until MendZone.
func (m *Machine) BreakZone(zone, text string) {
	m.tb.Helper()
	m.broken[zone] = true
	m.write(m.EnergyFile(zone), text)
}

// MendZone lets the zone tell its counter again.
func (m *Machine) MendZone(zone string) {
	m.tb.Helper()
	delete(m.broken, zone)
	for i := range m.zones {
		if m.zones[i].Dir == zone {
			m.writeZone(&m.zones[i])
		}
	}
}

// RemoveZone takes the zone away, as when its driver is unloaded.
func (m *Machine) RemoveZone(zone string) {
	m.tb.Helper()
	m.broken[zone] = true
	m.remove(m.zoneDir(zone))
	m.must(os.Remove(m.Path("sys/class/powercap", zone)))
}

// SetZone sets the zone's counter to any value, as a reset does.
func (m *Machine) SetZone(zone string, energy uint64) {
	m.tb.Helper()
	for i := range m.zones {
		if m.zones[i].Dir == zone {
			m.zones[i].Energy = energy
			m.writeZone(&m.zones[i])
		}
	}
}

// BreakProcess makes /proc/<pid>/stat say the given text until the process
// next uses CPU time.
func (m *Machine) BreakProcess(pid int, text string) {
	m.tb.Helper()
	m.write(m.Path("proc", strconv.Itoa(pid), "stat"), text)
}
