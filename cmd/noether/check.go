package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"noether/internal/agent"
	"noether/internal/config"
	"noether/internal/energy"
	"noether/internal/probe"
	sensors "noether/internal/sensor/all"
	"noether/internal/snapshot"
	"noether/internal/unit"
	usage "noether/internal/usage/all"
	"noether/internal/web"
)

func newCheck(p *process) *cobra.Command {
	var flags *config.Flags
	var asJSON bool
	var require string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say what can be measured here, what cannot, why, and what mends it",
		Long: `check tries every energy sensor, every source of CPU time, whoever tells the names
of pods and containers, and what turns energy into CO2e and money, looks at the
history without opening it, and says for each whether it works, is absent,
forbidden, masked or broken, why, and what mends it. Providers of carbon intensity are asked only if they are set. It measures for
a second and ends with what the agent would do here, with the same flags,
variables and file.

The exit code is 0 when the agent would produce energy and 1 when it would not,
or when the settings are wrong. An estimate is energy, unless --require measured.`,
		Example: `  noether check
  noether check --require measured
  noether check --grid.zone DE --grid.provider energy-charts
  noether check --config /etc/noether/noether.yml
  noether check --json | jq .agent`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if require != "" && require != "measured" {
				return &exitError{exitUsage, fmt.Errorf("--require %q is unknown: the only word is measured", require)}
			}
			return runCheck(cmd.Context(), p, flags, asJSON, require == "measured")
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object instead of the table")
	cmd.Flags().StringVar(&require, "require", "", "fail unless the energy is of this quality: measured")
	flags = register(cmd, checkSettings()...)
	return cmd
}

// checkSettings are the flags of the agent that change what check would say.
func checkSettings() []string {
	return append([]string{
		"config", "listen", "web.config-file", "interval", "keep-finished", "processes", "sensor", "usage", "policy", "node-name",
		"kube-source", "kube-config", "kube-kubelet-url", "kube-kubelet-ca", "kube-token-file", "kube-pod-labels", "container-names",
		"root", "procfs", "sysfs", "cgroupfs", "model.idle-watts", "model.max-watts", "model.tdp-watts",
		"redfish.url", "redfish.credentials-file", "redfish.ca-file", "redfish.chassis", "redfish.interval", "store.path", "log.level", "log.format",
	}, siteSettings()...)
}

// report is everything that check found out.
type report struct {
	Problems []string  `json:"problems,omitempty"` // of the settings
	Warnings []string  `json:"warnings,omitempty"`
	Sensors  []verdict `json:"sensors"`
	Usage    []verdict `json:"usage"`
	Names    []verdict `json:"names"` // of pods and containers
	Site     []verdict `json:"site"`  // what turns energy into CO2e and money
	Store    []verdict `json:"store"` // the history
	Agent    outlook   `json:"agent"`
}

type verdict struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
	Remedy string `json:"remedy,omitempty"`
	Chosen bool   `json:"chosen"`
}

// outlook is what the agent would do.
type outlook struct {
	Energy     bool        `json:"energy"` // it would produce some
	Reason     string      `json:"reason,omitempty"`
	Sensors    []string    `json:"sensors,omitempty"`
	Usage      string      `json:"usage,omitempty"`
	Quality    string      `json:"quality,omitempty"`
	Components []component `json:"components,omitempty"`
	Absent     []string    `json:"absent,omitempty"` // components that nothing covers
}

type component struct {
	Name    string   `json:"component"`
	Quality string   `json:"quality"`
	Watts   float64  `json:"watts"`
	Low     *float64 `json:"low_watts,omitempty"`
	High    *float64 `json:"high_watts,omitempty"`
}

// checkFor is how long check measures: long enough for a meter that moves
// 100 times a second, short enough to wait for.
const checkFor = time.Second

func runCheck(ctx context.Context, p *process, flags *config.Flags, asJSON, measured bool) error {
	r := report{}
	cfg, warnings, err := config.Load(flags, p.env)
	r.Warnings = warnings
	if bad, ok := errors.AsType[*config.Error](err); ok {
		for _, problem := range bad.Problems {
			r.Problems = append(r.Problems, problem.String())
		}
	}
	r.lookAround(ctx, p, &cfg)
	if len(r.Problems) == 0 {
		r.lookAhead(ctx, p, &cfg)
	} else {
		r.Agent.Reason = "the settings are wrong"
	}
	if measured && r.Agent.Energy && r.Agent.Quality == energy.Estimated.String() {
		r.Agent.Energy, r.Agent.Reason = false, "the energy would be estimated, and --require measured refuses that"
	}

	if asJSON {
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	} else {
		err = r.write(p.stdout, width(p))
	}
	if err == nil && !r.Agent.Energy {
		err = &exitError{code: exitFailed}
	}
	return err
}

// lookAround probes every sensor and every usage source, whatever the settings chose.
func (r *report) lookAround(ctx context.Context, p *process, cfg *config.Config) {
	clock := agent.SystemClock()
	open, verdicts, _ := sensors.Open(ctx, sensorEnv(cfg, clock, patience), []string{"auto"}, sensorTable(p, cfg, slog.New(slog.DiscardHandler)))
	_ = (&machine{sensors: open}).close() // they were opened to be looked at
	for _, v := range verdicts {
		r.Sensors = append(r.Sensors, verdictOf(v))
	}
	for _, v := range usage.Probe(ctx, usageOptions(cfg, slog.New(slog.DiscardHandler), clock)) {
		r.Usage = append(r.Usage, verdictOf(v))
	}
	for _, v := range probeNames(ctx, cfg, slog.New(slog.DiscardHandler), clock) {
		named := verdictOf(v)
		named.Chosen = v.Status == probe.Works
		r.Names = append(r.Names, named)
	}
	answered := false
	for _, v := range probeSite(ctx, p, cfg, clock) {
		known := verdictOf(v)
		known.Chosen = v.Status == probe.Works
		if config.IsProvider(v.Name) { // the first that answers is right
			known.Chosen = known.Chosen && !answered
			answered = answered || known.Chosen
		}
		r.Site = append(r.Site, known)
	}
	kept := verdictOf(probeHistory(p, cfg))
	kept.Chosen = kept.Status == probe.Works.String()
	r.Store = []verdict{kept}
}

func verdictOf(v probe.Verdict) verdict {
	return verdict{Name: v.Name, Status: v.Status.String(), Reason: v.Reason, Remedy: v.Remedy}
}

// lookAhead does for a second what the agent would do.
func (r *report) lookAhead(ctx context.Context, p *process, cfg *config.Config) {
	clock := agent.SystemClock()
	quiet := slog.New(slog.DiscardHandler)
	if _, err := web.New(web.Options{Listen: cfg.Listen, ConfigFile: cfg.WebConfig, Now: clock.Wall, Log: quiet, Snapshot: func() *snapshot.Snapshot { return nil }}); err != nil {
		r.Problems = append(r.Problems, err.Error())
		r.Agent.Reason = "the settings are wrong"
		return
	}
	if _, err := openNames(cfg, quiet, clock); err != nil {
		r.Problems = append(r.Problems, err.Error())
		r.Agent.Reason = "the settings are wrong"
		return
	}
	m, err := openMachine(ctx, p, cfg, quiet, clock, patience)
	if err != nil {
		r.Agent.Reason = err.Error()
		return
	}
	rest := cfg.Rest()
	if why := rest.Overhead.Refused(m.zones()); why != "" {
		r.Warnings = append(r.Warnings, "server-overhead is not added: "+why)
	}
	a, err := agent.New(agent.Options{Config: cfg.Agent, Sensors: m.sensors, Verdicts: m.verdicts, Usage: m.usage, Owners: m.owners, Clock: clock, Log: quiet})
	if err != nil {
		r.Agent.Reason = errors.Join(err, m.close()).Error()
		return
	}
	a.Baseline(ctx)
	select {
	case <-time.After(checkFor):
	case <-ctx.Done():
	}
	r.Agent = outlookOf(a.Tick(ctx))
	for _, s := range m.sensors {
		for _, z := range s.Zones() {
			if !slices.Contains(r.Agent.Sensors, z.Sensor) {
				r.Agent.Sensors = append(r.Agent.Sensors, z.Sensor)
			}
		}
	}
	if err := a.Close(); err != nil {
		r.Warnings = append(r.Warnings, err.Error())
	}
	for i := range r.Sensors {
		r.Sensors[i].Chosen = slices.Contains(r.Agent.Sensors, r.Sensors[i].Name)
	}
	for i := range r.Usage {
		r.Usage[i].Chosen = r.Agent.Usage == r.Usage[i].Name
	}
}

// outlookOf says what one tick of the agent gave.
func outlookOf(s *snapshot.Snapshot) outlook {
	o := outlook{Usage: s.Self.Usage}
	worst := energy.Measured
	present := s.Present()
	for c := range energy.Components {
		if !present[c] {
			o.Absent = append(o.Absent, energy.Component(c).String())
		}
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if !n.Present {
			continue
		}
		worst = max(worst, n.Quality)
		c := component{Name: n.Component.String(), Quality: n.Quality.String(), Watts: watts(n.Delta[energy.Dynamic]+n.Delta[energy.Idle], s)}
		for _, b := range s.Bands {
			if b.Component == n.Component && b.Present {
				low, high := watts(b.LowDelta, s), watts(b.HighDelta, s)
				c.Low, c.High = &low, &high
			}
		}
		o.Components = append(o.Components, c)
	}
	if o.Energy = len(o.Components) > 0; o.Energy {
		o.Quality = worst.String()
		return o
	}
	o.Reason = "no sensor gave a figure within a second"
	for i := range s.Zones {
		if z := &s.Zones[i]; z.Reason != "" {
			o.Reason = fmt.Sprintf("%s: %s", z.Name, z.Reason)
		}
	}
	return o
}

func watts(e unit.Energy, s *snapshot.Snapshot) float64 { return e.Over(s.Elapsed).Watts() }

// forbidden reports whether rights would mend something in list. File
// capabilities replace those before them, so two remedies need one command.
func forbidden(list []verdict) bool {
	return slices.ContainsFunc(list, func(v verdict) bool { return v.Status == probe.Forbidden.String() })
}

// write prints the report for people.
func (r *report) write(w io.Writer, columns int) error {
	t := page{columns: columns}
	for _, group := range []struct {
		name string
		list []string
	}{{"Settings that are wrong", r.Problems}, {"Settings that look wrong", r.Warnings}} {
		if len(group.list) > 0 {
			t.heading(group.name)
			for _, line := range group.list {
				t.wrap("  ", line)
			}
			t.blank()
		}
	}
	t.verdicts("Where energy comes from", r.Sensors)
	t.verdicts("Where CPU time comes from", r.Usage)
	t.verdicts("Where names of pods and containers come from", r.Names)
	t.verdicts("What turns energy into CO2e and money", r.Site)
	t.verdicts("Where history is kept", r.Store)
	t.heading("What the agent would do here")
	o := &r.Agent
	if !o.Energy {
		t.row("energy", "none: "+o.Reason)
	}
	var low, high, sum float64
	band := false
	for _, c := range o.Components {
		text := fmt.Sprintf("%.1f W now, %s", c.Watts, c.Quality)
		if c.Watts == 0 {
			text = "the meter did not move within a second, " + c.Quality
		}
		sum, low, high = sum+c.Watts, low+c.Watts, high+c.Watts
		if c.Low != nil {
			text += fmt.Sprintf(", between %.1f and %.1f W", *c.Low, *c.High)
			low, high, band = low-c.Watts+*c.Low, high-c.Watts+*c.High, true
		}
		t.row(c.Name, text)
	}
	if len(o.Components) > 1 {
		text := fmt.Sprintf("%.1f W now", sum)
		if band {
			text += fmt.Sprintf(", between %.1f and %.1f W", low, high)
		}
		t.row("sum", text)
	}
	for _, name := range o.Absent {
		t.row(name, "absent: no sensor covers it, so it is not in the figures")
	}
	if forbidden(r.Sensors) && forbidden(r.Usage) {
		t.row("all of it", "for energy and CPU time together: sudo setcap cap_bpf,cap_perfmon,cap_dac_read_search=ep $(command -v noether), or run as root")
	}
	if len(o.Sensors) > 0 {
		t.row("sensor", joined(o.Sensors))
		t.row("CPU time", o.Usage)
	}
	_, err := w.Write(t.text)
	return err
}
