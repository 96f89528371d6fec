package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"noether/internal/agent"
	"noether/internal/config"
	"noether/internal/energy"
	identity "noether/internal/identity/all"
	"noether/internal/probe"
	"noether/internal/sensor"
	sensors "noether/internal/sensor/all"
	usage "noether/internal/usage/all"
	"noether/internal/workload"
)

// machine is everything of this machine that an agent reads.
type machine struct {
	sensors  []sensor.Sensor
	verdicts []probe.Verdict
	usage    *usage.Ladder
	owners   owners
}

// openMachine opens the sensors, then the usage source. Close it, or give it
// to an agent, which then closes it.
func openMachine(ctx context.Context, cfg *config.Config, log *slog.Logger, clock agent.Clock) (*machine, error) {
	m := &machine{}
	if _, err := os.Stat(cfg.FS().Proc); err != nil {
		return nil, fmt.Errorf("find the machine's processes: %w: choose --root or --procfs", err)
	}
	var err error
	m.sensors, m.verdicts, err = sensors.Open(ctx, sensorEnv(cfg, clock), cfg.Sensors, sensors.Table(cfg.Model))
	if err != nil {
		return nil, fmt.Errorf("%w (noether check says what would help)", err)
	}
	m.usage, err = usage.Open(ctx, usageOptions(cfg, log, clock))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w (noether check says what would help)", err), m.close())
	}
	m.owners = owners{identity.New(cfg.Root, cfg.FS())}
	return m, nil
}

func sensorEnv(cfg *config.Config, clock agent.Clock) sensor.Env {
	fs := cfg.FS()
	return sensor.Env{Proc: fs.Proc, Sys: fs.Sys, Now: clock.Mono}
}

func usageOptions(cfg *config.Config, log *slog.Logger, clock agent.Clock) usage.Options {
	return usage.Options{
		FS:        cfg.FS(),
		Want:      cfg.Usage,
		Processes: cfg.Agent.Processes.Mode != agent.NoProcesses,
		Log:       log,
		Now:       clock.Mono,
	}
}

// close closes what was opened, in reverse order. It is for a machine that no
// agent has taken over.
func (m *machine) close() error {
	var errs []error
	if m.usage != nil {
		errs = append(errs, m.usage.Close())
	}
	for _, s := range slices.Backward(m.sensors) {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// sensorNames returns the names of the open sensors and the worst quality among them.
func (m *machine) sensorNames() (names string, quality energy.Quality) {
	var list []string
	for _, s := range m.sensors {
		for _, z := range s.Zones() {
			if len(list) == 0 || list[len(list)-1] != z.Sensor {
				list = append(list, z.Sensor)
			}
			quality = max(quality, z.Quality)
		}
	}
	return strings.Join(list, ", "), quality
}

// owners lets the agent ask the resolver.
type owners struct {
	resolver *identity.Resolver
}

func (o owners) Place(p *workload.Place) workload.Owner { return o.resolver.Place(p) }

func (o owners) Process(t *workload.TaskUsage, place workload.Owner) (workload.Owner, bool) {
	return o.resolver.Process(t.PID, t.Comm, t.Place, place)
}
