// Package hwmon reads the power meter that ACPI firmware describes, as the
// kernel's hwmon class shows it (Documentation/hwmon/acpi_power_meter.rst,
// drivers/hwmon/acpi_power_meter.c): what the whole machine uses, averaged by
// the firmware over an interval of its own. It refuses meters of batteries and
// of parts of the machine, and every other driver of the class: temperatures
// and voltages are not energy. It sets no cap and writes nothing.
package hwmon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"noether/internal/energy"
	"noether/internal/linux"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/unit"
)

// Name is the word for --sensor.
const Name = "acpi"

// Kind returns the line of the table of sensors. It adds to the sensors of the
// processor: it measures the machine around it.
func Kind() sensor.Kind { return sensor.Kind{Name: Name, Adds: true, Open: Open} }

const (
	driver = "power_meter"    // what the driver calls itself
	gauge  = "power1_average" // in microwatts
	device = "ACPI000D"       // the hardware ID of a power meter (ACPI 6.5, 10.4)
)

// maxPower is above any machine that has such a meter.
const maxPower = 100_000 * unit.Watt

// meter is the one power1_average of the whole machine. Its file is nil while
// it cannot be opened. One goroutine uses it at a time.
type meter struct {
	env   sensor.Env
	zones []energy.Zone
	path  string
	file  *linux.File
	about string
	buf   [32]byte
}

// Open finds the meter of the whole machine and reads it.
func Open(ctx context.Context, env sensor.Env) (sensor.Sensor, error) {
	found, err := discover(env.Sys)
	if err != nil {
		return nil, err
	}
	m := &meter{env: env, path: filepath.Join(found, gauge), about: describe(found)}
	m.zones = []energy.Zone{{
		Sensor: Name, Name: energy.Platform.String(), Domain: energy.Platform,
		Socket: -1, Die: -1, Path: m.path, Kind: energy.Gauge, MaxPower: maxPower,
	}}
	if _, err := m.Read(ctx, nil); err != nil {
		_ = m.Close() // it was only read
		return nil, refusal(m.path, err)
	}
	return m, nil
}

// Zones returns the one meter.
func (m *meter) Zones() []energy.Zone { return m.zones }

// String says what is read.
func (m *meter) String() string { return m.about }

// Read appends the power at present. It allocates nothing but errors.
func (m *meter) Read(_ context.Context, dst []energy.Reading) ([]energy.Reading, error) {
	p, err := m.power()
	if err != nil {
		if m.file != nil { // the file of a driver that is loaded again is another one
			_ = m.Close() // the failure to read is what matters
		}
		return dst, &sensor.ZoneError{Err: fmt.Errorf("read power of %q: %w", m.zones[0].Name, err)}
	}
	return append(dst, energy.Reading{At: m.env.Now(), Power: p}), nil
}

func (m *meter) power() (unit.Power, error) {
	if m.file == nil {
		f, err := linux.Open(m.path)
		if err != nil {
			return 0, err
		}
		m.file = f
	}
	b, err := m.file.Read(m.buf[:])
	if err != nil {
		return 0, err
	}
	p, err := parsePower(b)
	if err != nil {
		return 0, fmt.Errorf("parse %s: %w", m.path, err)
	}
	return p, nil
}

// Close closes the file. It may be opened again by Read.
func (m *meter) Close() error {
	if m.file == nil {
		return nil
	}
	err := m.file.Close()
	m.file = nil
	return err
}

// parsePower parses the content of power1_average: microwatts and a newline.
// Zero is not a power but what the driver shows until the firmware has told it
// one: whoever reads this runs on a machine that is on.
func parsePower(b []byte) (unit.Power, error) {
	n, ok := linux.ParseUint(bytes.TrimSuffix(b, []byte{'\n'}))
	switch {
	case !ok:
		return 0, fmt.Errorf("%q is not a number of microwatts", b)
	case n == 0:
		return 0, errors.New("it says 0 W, of a machine that is on: the firmware does not tell its power")
	case n > uint64(maxPower):
		return 0, fmt.Errorf("%q microwatts are more than a machine uses", bytes.TrimSpace(b))
	}
	return unit.Power(n), nil
}

// discover returns the directory with the gauge of the whole machine.
func discover(sys string) (string, error) {
	class := filepath.Join(sys, "class/hwmon")
	entries, err := os.ReadDir(class)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("find a power meter: %w", err)
	}
	var parts []string // meters of something else
	masked := false
	for _, e := range entries {
		dir := filepath.Join(class, e.Name())
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			masked = true
			continue
		}
		at, ok := meterIn(dir)
		if !ok {
			continue
		}
		if what := measures(at, dir); what != "" {
			parts = append(parts, what)
			continue
		}
		return at, nil
	}
	switch {
	case len(parts) > 0:
		return "", fmt.Errorf("find a power meter in %s: there is one of %s, and none of the whole machine: %w", class, strings.Join(parts, ", "), probe.ErrNotSupported)
	case masked:
		return "", &probe.Error{
			Status: probe.Masked,
			Remedy: "mount the host's /sys into the container and point the agent at it: docker run -v /:/host:ro … --root /host",
			Err:    fmt.Errorf("read %s: something hides the devices behind its links", class),
		}
	}
	return "", absence(sys, class)
}

// meterIn returns where the meter's files are if dir is one of this driver's
// that measures: the driver puts them beside those of the class or, for most of
// its life, into the device.
func meterIn(dir string) (string, bool) {
	for _, at := range [...]string{dir, filepath.Join(dir, "device")} {
		if word(at, "name") != driver {
			continue
		}
		for _, at := range [...]string{at, filepath.Join(dir, "device")} {
			if _, err := os.Lstat(filepath.Join(at, gauge)); err == nil {
				return at, true
			}
		}
	}
	return "", false
}

// measures returns what the meter at a directory measures, empty if that is
// the whole machine: the firmware's list of devices has the system bus in it,
// or is not there.
func measures(at, dir string) string {
	if word(at, "power1_is_battery") == "1" {
		return "a battery"
	}
	for _, list := range [...]string{filepath.Join(at, "measures"), filepath.Join(dir, "device/measures")} {
		entries, err := os.ReadDir(list)
		if err != nil || len(entries) == 0 {
			continue
		}
		var names []string
		for _, e := range entries {
			name := e.Name()
			if strings.HasPrefix(name, "LNXSYBUS:") || strings.HasPrefix(name, "LNXSYSTM:") {
				return ""
			}
			names = append(names, name)
		}
		slices.Sort(names)
		return clean(strings.Join(names, " and "))
	}
	return ""
}

// absence says why there is no meter.
func absence(sys, class string) error {
	if _, err := os.Stat(sys); err != nil {
		return fmt.Errorf("find a power meter: %w", err)
	}
	devices, err := filepath.Glob(filepath.Join(sys, "bus/acpi/devices", device+":*"))
	if err == nil && len(devices) > 0 {
		return &probe.Error{
			Status: probe.Absent,
			Remedy: "sudo modprobe acpi_power_meter (and acpi_ipmi, if the firmware asks its BMC)",
			Err:    fmt.Errorf("read %s: the firmware describes a power meter, but its driver is not loaded: %w", class, probe.ErrNotSupported),
		}
	}
	return fmt.Errorf("read %s: the firmware describes no power meter: %w", class, probe.ErrNotSupported)
}

// refusal says why the meter could not be read.
func refusal(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &probe.Error{
			Status: probe.Forbidden,
			Remedy: "the kernel lets everybody read it, so somebody has closed it: sudo chmod a+r " + path,
			Err:    err,
		}
	}
	return &probe.Error{Status: probe.Broken, Remedy: "sudo modprobe acpi_ipmi, if the firmware asks its BMC", Err: err}
}

// describe says what the driver tells of the meter.
func describe(at string) string {
	about := "the machine's power meter"
	if s := word(at, "power1_oem_info"); s != "" {
		about += " (" + s + ")"
	}
	if ms, ok := linux.ParseUint([]byte(word(at, gauge+"_interval"))); ok && ms > 0 && ms < uint64(time.Hour/time.Millisecond) {
		about += ", averaged over " + (time.Duration(ms) * time.Millisecond).String()
	}
	if s := word(at, "power1_accuracy"); s != "" {
		about += ", accuracy " + s
	}
	return about
}

// word returns the content of a small file as a short line, empty if it
// cannot be read.
func word(dir, name string) string {
	b, err := linux.ReadFile(filepath.Join(dir, name), 128)
	if err != nil {
		return ""
	}
	return clean(string(bytes.TrimSpace(b)))
}

// clean keeps of a firmware's text what is printable ASCII, and not too much.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 64)]
}
