package sensor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"noether/internal/energy"
	"noether/internal/linux"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/unit"
)

// battery reads what a laptop draws from its batteries, which is all that it
// uses while it is not plugged in
// (Documentation/ABI/testing/sysfs-class-power: status, power_now).
type battery struct {
	env   sensor.Env
	zones []energy.Zone
	cells []cell
	buf   [32]byte
}

// cell is the two files of one battery; zones has its name and path.
type cell struct{ status, power *linux.File }

// Kind is the line for the table in sensor/all. It Adds to the sensors of the
// processor: it measures the machine around it.
func Kind() sensor.Kind { return sensor.Kind{Name: "battery", Adds: true, Open: open} }

func open(_ context.Context, env sensor.Env) (sensor.Sensor, error) {
	class := filepath.Join(env.Sys, "class/power_supply")
	entries, err := os.ReadDir(class)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for batteries: %w", err) // forbidden, or cannot tell
	}
	b := &battery{env: env}
	for _, entry := range entries {
		dir := filepath.Join(class, entry.Name())
		if !strings.HasPrefix(entry.Name(), "BAT") {
			continue
		}
		status, err := linux.Open(filepath.Join(dir, "status"))
		if err != nil {
			continue // pulled out since
		}
		power, err := linux.Open(filepath.Join(dir, "power_now"))
		if err != nil { // it tells only a current: not a meter of power
			_ = status.Close()
			continue
		}
		b.cells = append(b.cells, cell{status, power})
		b.zones = append(b.zones, energy.Zone{
			Sensor: "battery", Name: strings.ToLower(entry.Name()), Path: power.Path(),
			Domain: energy.Platform, Kind: energy.Gauge, Quality: energy.Measured,
			Socket: -1, Die: -1,
		})
	}
	if len(b.zones) == 0 {
		return nil, fmt.Errorf("look for batteries in %s: no battery tells its power: %w", class, probe.ErrNotSupported)
	}
	return b, nil
}

func (b *battery) Zones() []energy.Zone { return b.zones }

func (b *battery) Read(_ context.Context, dst []energy.Reading) ([]energy.Reading, error) {
	var errs []error
	for i := range b.cells {
		power, err := b.cells[i].read(b.buf[:])
		if err != nil {
			errs = append(errs, &sensor.ZoneError{Zone: i, Err: fmt.Errorf("read power of %q: %w", b.zones[i].Name, err)})
			continue
		}
		dst = append(dst, energy.Reading{Zone: i, At: b.env.Now(), Power: power})
	}
	return dst, errors.Join(errs...)
}

// read returns the power that leaves the battery. While it charges, power_now
// is what goes into it, and says nothing about what the machine uses: that is
// no reading, not a zero.
func (c *cell) read(buf []byte) (unit.Power, error) {
	text, err := c.status.Read(buf)
	if err != nil {
		return 0, err
	}
	if string(text) != "Discharging\n" {
		return 0, fmt.Errorf("it is %q, not discharging", bytes.TrimSpace(text))
	}
	if text, err = c.power.Read(buf); err != nil {
		return 0, err
	}
	microwatts, ok := linux.ParseUint(bytes.TrimSuffix(text, []byte{'\n'}))
	if !ok || microwatts > 1e9 {
		return 0, fmt.Errorf("parse %s: %q is not a plausible number of microwatts", c.power.Path(), text)
	}
	return unit.Power(microwatts), nil
}

func (b *battery) Close() error {
	var errs []error
	for _, c := range b.cells {
		errs = append(errs, c.status.Close(), c.power.Close())
	}
	return errors.Join(errs...)
}

// A sensor is one directory: a Kind with an Open, and the three methods of
// sensor.Sensor. This one reads the batteries of a laptop.
func Example() {
	root, err := os.MkdirTemp("", "laptop")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(root)
	bat0 := filepath.Join(root, "sys/class/power_supply/BAT0")
	write := func(name, text string) {
		if err := errors.Join(os.MkdirAll(bat0, 0o755), os.WriteFile(filepath.Join(bat0, name), []byte(text), 0o644)); err != nil {
			panic(err)
		}
	}
	env := sensor.Env{Sys: filepath.Join(root, "sys"), Now: func() time.Duration { return 7 * time.Second }}

	_, err = Kind().Open(context.Background(), env)
	fmt.Println("without a battery:", probe.Of("battery", "", err).Status)

	write("status", "Discharging\n")
	write("power_now", "11250000\n")
	s, err := Kind().Open(context.Background(), env)
	if err != nil {
		panic(err)
	}
	defer s.Close()
	readings, err := s.Read(context.Background(), nil)
	fmt.Println(s.Zones()[0].Name, readings[0].Power.Watts(), "W at", readings[0].At, err)

	write("status", "Charging\n")
	readings, err = s.Read(context.Background(), readings[:0])
	fmt.Println(len(readings), "readings:", err)

	// Output:
	// without a battery: absent
	// bat0 11.25 W at 7s <nil>
	// 0 readings: read power of "bat0": it is "Charging", not discharging
}
