// Package powercap reads the energy counters that the kernel's powercap class
// shows: Intel's RAPL packages, cores, uncores, memory and platform, the same
// of AMD and Hygon, and the duplicates that some machines show over MMIO
// (Documentation/power/powercap/powercap.rst, drivers/powercap/intel_rapl_*).
// It reports what each counter says; which of them overlap is for package
// energy to know. It sets no limit and writes nothing.
package powercap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"noether/internal/energy"
	"noether/internal/linux"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/unit"
)

// Name is the word for --sensor.
const Name = "powercap"

// Kind returns the line of the table of sensors.
func Kind() sensor.Kind { return sensor.Kind{Name: Name, Open: Open} }

// counter is one energy_uj file. Its file is nil while it cannot be opened.
type counter struct {
	path string
	file *linux.File
	last unit.Energy
}

type powercap struct {
	env      sensor.Env
	zones    []energy.Zone
	counters []counter
	buf      [32]byte
}

// Open finds the zones and opens their counters. A zone that cannot be read
// now stays a zone, and is tried again at each Read; when none can be read,
// the error says why and what to do about it.
func Open(ctx context.Context, env sensor.Env) (sensor.Sensor, error) {
	found, err := discover(env.Sys)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, absence(env)
	}
	p := &powercap{env: env, zones: describe(found, vendor(env.Proc))}
	for i := range p.zones {
		p.counters = append(p.counters, counter{path: p.zones[i].Path})
	}
	readings, err := p.Read(ctx, nil)
	if len(readings) == 0 {
		_ = p.Close() // nothing was opened that a failing close could harm
		return nil, refusal(err)
	}
	return p, nil
}

// Zones returns the counters.
func (p *powercap) Zones() []energy.Zone { return p.zones }

// Read appends what each counter says. It allocates nothing but errors.
func (p *powercap) Read(_ context.Context, dst []energy.Reading) ([]energy.Reading, error) {
	var errs []error
	for i := range p.counters {
		e, err := p.counters[i].read(p.buf[:], p.zones[i].Range)
		if err != nil {
			errs = append(errs, &sensor.ZoneError{Zone: i, Err: fmt.Errorf("read energy of %q: %w", p.zones[i].Name, err)})
			continue
		}
		dst = append(dst, energy.Reading{Zone: i, At: p.env.Now(), Energy: e})
	}
	return dst, errors.Join(errs...)
}

// Close closes all counters.
func (p *powercap) Close() error {
	var errs []error
	for i := range p.counters {
		errs = append(errs, p.counters[i].close())
	}
	return errors.Join(errs...)
}

// read returns the counter's value. After any failure the file is opened anew
// the next time: the zone of a driver that was unloaded and loaded again has
// the same path, but the old descriptor says ENODEV for ever.
func (c *counter) read(buf []byte, most unit.Energy) (unit.Energy, error) {
	if c.file == nil {
		f, err := linux.Open(c.path)
		if err != nil {
			return 0, err
		}
		c.file = f
	}
	e, err := c.value(buf, most)
	// A counter that stands still may be a file that was replaced by another.
	if err == nil && e == c.last && c.file.Gone() {
		err = fmt.Errorf("read %s: %w", c.path, fs.ErrNotExist)
	}
	if err != nil {
		_ = c.close() // the failure to read is what matters
		return 0, err
	}
	c.last = e
	return e, nil
}

func (c *counter) value(buf []byte, most unit.Energy) (unit.Energy, error) {
	b, err := c.file.Read(buf)
	if err != nil {
		return 0, err
	}
	e, err := parseEnergy(b)
	if err != nil {
		return 0, fmt.Errorf("parse %s: %w", c.path, err)
	}
	if most > 0 && e > most {
		return 0, fmt.Errorf("parse %s: %d µJ is above the counter's range of %d µJ", c.path, e, most)
	}
	return e, nil
}

func (c *counter) close() error {
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}

// parseEnergy parses the content of energy_uj and max_energy_range_uj: a
// decimal number of microjoules and a newline.
func parseEnergy(b []byte) (unit.Energy, error) {
	digits := b
	if n := len(digits); n > 0 && digits[n-1] == '\n' {
		digits = digits[:n-1]
	}
	n, ok := linux.ParseUint(digits)
	if !ok || n > 1<<63-1 {
		return 0, fmt.Errorf("%q is not a number of microjoules", b)
	}
	return unit.Energy(n), nil
}

// absence says why there are no zones.
func absence(env sensor.Env) error {
	class := filepath.Join(env.Sys, "class/powercap")
	if _, err := os.Stat(env.Sys); err != nil {
		return fmt.Errorf("find energy counters: %w", err)
	}
	if masked(env.Sys) {
		return &probe.Error{
			Status: probe.Masked,
			Remedy: "mount the host's /sys into the container and point the agent at it: docker run -v /:/host:ro … --root /host",
			Err:    fmt.Errorf("read %s: the container runtime hides %s", class, filepath.Join(env.Sys, "devices/virtual/powercap")),
		}
	}
	cpu := processor(env.Proc)
	switch {
	case cpu.hypervisor:
		return fmt.Errorf("read %s: no energy counters: this is a virtual machine, and its hypervisor passes none on: %w", class, probe.ErrNotSupported)
	case cpu.vendor == "":
		return fmt.Errorf("read %s: no energy counters: only x86 processors of Intel, AMD and Hygon have them here: %w", class, probe.ErrNotSupported)
	}
	return &probe.Error{
		Status: probe.Absent,
		Remedy: "sudo modprobe intel_rapl_msr (the module of Intel, AMD and Hygon processors; AMD needs Linux 5.8)",
		Err:    fmt.Errorf("read %s: no energy counters: the driver is not loaded, or does not know this processor: %w", class, probe.ErrNotSupported),
	}
}

// refusal says why no zone could be read.
func refusal(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		// The files are 0400 since CVE-2020-8694 (commit 949dd0104c496).
		return &probe.Error{
			Status: probe.Forbidden,
			Remedy: "run as root, which needs no capability for it: sudo noether agent; " +
				"or allow this one binary: sudo setcap cap_dac_read_search=ep $(command -v noether); " +
				"or in a systemd unit: AmbientCapabilities=CAP_DAC_READ_SEARCH",
			Err: err,
		}
	}
	return &probe.Error{Status: probe.Broken, Err: err}
}
