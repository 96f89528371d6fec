// Package all is the one ordered table of the kinds of sensor, and the choice
// among them. A new kind is one directory beside this one and one line here.
package all

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"noether/internal/energy"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/sensor/hwmon"
	"noether/internal/sensor/model"
	"noether/internal/sensor/powercap"
	"noether/internal/sensor/redfish"
)

// Auto is the word for the automatic choice.
const Auto = "auto"

// Config is what kinds of sensors are told by the user.
type Config struct {
	Model   model.Config
	Redfish redfish.Config
}

// Table returns all kinds, best first: what measures before what estimates,
// and of the meters of the whole machine the one nearest to the wall.
func Table(cfg Config) []sensor.Kind {
	return []sensor.Kind{
		powercap.Kind(),
		redfish.Kind(cfg.Redfish),
		hwmon.Kind(),
		model.Kind(cfg.Model),
	}
}

// Open opens the sensors that are wanted by name, in the order of the table,
// each told what those before it cover. For the word auto it opens the first
// kind that works, and all that add to it. The verdicts are about all kinds of
// the table that were opened or, for auto, tried; they are valid also when err
// is not nil, which is when a name is unknown or nothing works. The caller
// closes the sensors.
func Open(ctx context.Context, env sensor.Env, want []string, table []sensor.Kind) ([]sensor.Sensor, []probe.Verdict, error) {
	auto := len(want) == 0 || slices.Contains(want, Auto)
	for _, name := range want {
		if name != Auto && !slices.ContainsFunc(table, func(k sensor.Kind) bool { return k.Name == name }) {
			return nil, nil, fmt.Errorf("choose sensor %q: there is no such sensor: known are %s", name, known(table))
		}
	}
	var opened []sensor.Sensor
	var verdicts []probe.Verdict
	found := false // the one that auto takes
	for _, kind := range table {
		named := slices.Contains(want, kind.Name)
		take := named || auto && (kind.Adds || !found)
		if !take && !auto {
			continue
		}
		with := env
		if !take {
			with.Covered = [energy.Components]bool{} // what would it say by itself?
		}
		s, verdict := try(ctx, with, kind)
		verdicts = append(verdicts, verdict)
		if s == nil {
			continue
		}
		if !take {
			if err := attempt(s.Close); err != nil {
				verdicts[len(verdicts)-1] = probe.Of(kind.Name, "", err)
			}
			continue
		}
		found = found || !kind.Adds
		opened = append(opened, s)
		for _, z := range s.Zones() {
			if c, booked := z.Domain.Component(); booked {
				env.Covered[c] = true
			}
		}
	}
	if len(opened) == 0 {
		return nil, verdicts, fmt.Errorf("open a sensor: none works: %s", summary(verdicts))
	}
	return opened, verdicts, nil
}

// try opens a sensor and reads it once: what opens but says nothing does not
// work. A Runner that was not waited for is believed until it has asked.
func try(ctx context.Context, env sensor.Env, kind sensor.Kind) (s sensor.Sensor, v probe.Verdict) {
	var readings []energy.Reading
	var reason string
	asking := false
	err := attempt(func() (err error) {
		s, err = kind.Open(ctx, env)
		if err != nil {
			s = nil
			return err
		}
		readings, err = s.Read(ctx, nil)
		if _, asks := s.(sensor.Runner); asks && env.Wait <= 0 && len(readings) == 0 {
			asking, reason = true, describe(s, nil)
			return nil
		}
		if len(readings) == 0 {
			if err == nil {
				err = errors.New("it has no zone that can be read")
			}
			return &probe.Error{Status: probe.Broken, Err: fmt.Errorf("read %s: %w", kind.Name, err)}
		}
		reason = describe(s, err)
		return nil
	})
	if err != nil {
		if s != nil {
			_ = attempt(s.Close) // it does not work, and that is the error to tell
		}
		return nil, probe.Of(kind.Name, "", err)
	}
	if asking {
		return s, probe.Verdict{Name: kind.Name, Status: probe.Unknown, Reason: reason}
	}
	return s, probe.Of(kind.Name, reason, nil)
}

// attempt runs f; a bug in one sensor costs that sensor only.
func attempt(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &probe.Error{
				Status: probe.Unknown,
				Remedy: "report this as a bug of Noether",
				Err:    fmt.Errorf("try sensor: it panicked: %v", r),
			}
		}
	}()
	return f()
}

// describe says what a sensor covers: in its own words if it has any, else the
// names of its zones, each once, and what could not be read.
func describe(s sensor.Sensor, err error) string {
	var b strings.Builder
	if own, ok := s.(fmt.Stringer); ok {
		b.WriteString(own.String())
	} else {
		var names []string
		for _, z := range s.Zones() {
			if !slices.Contains(names, z.Name) {
				names = append(names, z.Name)
			}
		}
		noun := "zones"
		if len(s.Zones()) == 1 {
			noun = "zone"
		}
		fmt.Fprintf(&b, "%s (%d %s)", strings.Join(names, ", "), len(s.Zones()), noun)
	}
	if err != nil {
		fmt.Fprintf(&b, "; not readable: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return b.String()
}

func known(table []sensor.Kind) string {
	names := []string{Auto}
	for _, k := range table {
		names = append(names, k.Name)
	}
	return strings.Join(names, ", ")
}

func summary(verdicts []probe.Verdict) string {
	var lines []string
	for _, v := range verdicts {
		line := fmt.Sprintf("%s: %s: %s", v.Name, v.Status, strings.ReplaceAll(v.Reason, "\n", "; "))
		if v.Remedy != "" {
			line += " (" + v.Remedy + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}
