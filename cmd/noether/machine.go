package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"noether/internal/agent"
	"noether/internal/config"
	"noether/internal/energy"
	identity "noether/internal/identity/all"
	"noether/internal/probe"
	"noether/internal/sensor"
	sensors "noether/internal/sensor/all"
	"noether/internal/sensor/redfish"
	"noether/internal/snapshot"
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

// How long the first answer of a BMC is waited for: by check, which has to know,
// and by commands that end soon. The agent does not wait.
const (
	patience = 30 * time.Second
	briefly  = 10 * time.Second
)

// openMachine opens the sensors, then the usage source. Sensors that are told
// by somebody slow are asked in the background from then on; wait is how long
// for their first answer. Close it, or give it to an agent, which then closes
// it.
func openMachine(ctx context.Context, p *process, cfg *config.Config, log *slog.Logger, clock agent.Clock, wait time.Duration) (*machine, error) {
	m := &machine{}
	if _, err := os.Stat(cfg.FS().Proc); err != nil {
		return nil, fmt.Errorf("find the machine's processes: %w: choose --root or --procfs", err)
	}
	var err error
	m.sensors, m.verdicts, err = sensors.Open(ctx, sensorEnv(cfg, clock, wait), cfg.Sensors, sensorTable(p, cfg, log))
	if err != nil {
		return nil, fmt.Errorf("%w (noether check says what would help)", err)
	}
	for i, s := range m.sensors {
		if r, ok := s.(sensor.Runner); ok {
			m.sensors[i] = inBackground(ctx, r)
		}
	}
	m.usage, err = usage.Open(ctx, usageOptions(cfg, log, clock))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w (noether check says what would help)", err), m.close())
	}
	m.owners = owners{identity.New(cfg.Root, cfg.FS())}
	return m, nil
}

func sensorEnv(cfg *config.Config, clock agent.Clock, wait time.Duration) sensor.Env {
	fs := cfg.FS()
	return sensor.Env{Proc: fs.Proc, Sys: fs.Sys, Now: clock.Mono, Wait: wait}
}

// sensorTable returns all kinds of sensors, told what the settings say.
func sensorTable(p *process, cfg *config.Config, log *slog.Logger) []sensor.Kind {
	bmc := redfish.Config{
		URL: cfg.BMC(), Chassis: cfg.Redfish.Chassis, CAFile: cfg.Redfish.CAFile, Interval: cfg.Redfish.Interval,
		Node: cfg.Agent.NodeName, UserAgent: "noether/" + build().version, Log: log,
	}
	user, password := p.getenv("REDFISH_USERNAME"), p.getenv("REDFISH_PASSWORD")
	switch {
	case cfg.Redfish.CredentialsFile != "":
		bmc.Credentials = redfish.File(cfg.Redfish.CredentialsFile)
	case user != "" || password != "":
		bmc.Credentials = redfish.Known(user, password)
	}
	return sensors.Table(sensors.Config{Model: cfg.Model, Redfish: bmc})
}

// running is a sensor that is asked about in the background until it is closed.
type running struct {
	sensor.Runner
	cancel context.CancelFunc
	done   chan struct{}
}

func inBackground(ctx context.Context, s sensor.Runner) *running {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{Runner: s, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		_ = s.Run(ctx) // it ends with ctx alone; what it cannot read, Read says
	}()
	return r
}

// Close stops asking, and closes the sensor.
func (r *running) Close() error {
	r.cancel()
	<-r.done
	return r.Runner.Close()
}

// now returns what there is to say of a sensor that had not been asked yet
// when it was opened.
func (m *machine) now(v probe.Verdict, zones []snapshot.Zone) probe.Verdict {
	for _, s := range m.sensors {
		r, ok := s.(*running)
		if !ok || r.Zones()[0].Sensor != v.Name {
			continue
		}
		for i := range zones {
			z := &zones[i]
			if z.Sensor != v.Name {
				continue
			}
			v.Status, v.Reason = z.Status, z.Reason
			if about, ok := r.Runner.(fmt.Stringer); ok && (z.Status == probe.Works || z.Reason == "") {
				v.Reason = about.String()
			}
			return v
		}
	}
	return v
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

// zones returns the zones of all open sensors.
func (m *machine) zones() (zones []energy.Zone) {
	for _, s := range m.sensors {
		zones = append(zones, s.Zones()...)
	}
	return zones
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
