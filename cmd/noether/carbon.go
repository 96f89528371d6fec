package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"noether/internal/config"
	"noether/internal/grid"
)

func newCarbon(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "carbon",
		Short: "Carbon intensity of electricity: now, before, to come, and the best time to run",
		Long: `carbon asks who knows how many grams of CO2e a kilowatt-hour of a grid causes.

The settings are the agent's: the same flags, NOETHER_ variables and YAML file. The
grid. of a flag may be left out here: --provider neso is --grid.provider neso. Zones
are named as Electricity Maps names them: DE, US-CAL-CISO; noether carbon zones lists
them. Without a provider the yearly average of the country answers, which is built
in, and no request leaves the machine.`,
		Example: `  noether carbon now --zone DE --zone FR
  noether carbon history --zone GB --provider neso --grid.factor direct
  noether carbon best --zone DE --provider energy-charts --within 24h --duration 2h
  noether carbon exporter --zone DE --zone FR --provider energy-charts`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCarbonNow(p), newCarbonHistory(p), newCarbonForecast(p), newCarbonBest(p), newCarbonZones(p), newCarbonExporter(p))
	return cmd
}

// gridSettings are the agent's settings that say whom to ask and about where.
func gridSettings() []string {
	return []string{
		"config", "grid.zone", "grid.provider", "grid.token-file", "grid.hub", "grid.query", "grid.factor", "grid.allow-estimates",
		"prometheus-url", "log.level", "log.format",
	}
}

// carbonCommand is what the commands of carbon have in common.
type carbonCommand struct {
	p     *process
	cmd   *cobra.Command
	flags *config.Flags
	zones []string // of --zone
	now   func() time.Time
}

// register adds the shared flags. Several says that --zone may be repeated.
func (c *carbonCommand) register(several, marginal bool, more ...string) {
	f := c.cmd.Flags()
	f.SortFlags = false
	help := "grid zone, short for --grid.zone"
	if several {
		help += "; repeat it for several"
	}
	f.StringArrayVar(&c.zones, "zone", nil, help)
	c.flags = register(c.cmd, append(gridSettings(), more...)...)
	c.flags.Marginal = marginal
	// After the flags have their names: a normalized name must not hide --zone.
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name {
		case "provider", "token-file", "hub", "query", "factor", "allow-estimates":
			name = "grid." + name
		}
		return pflag.NormalizedName(name)
	})
	c.now = time.Now
}

// load returns the settings, and one place for each zone that is asked for.
func (c *carbonCommand) load(several bool) (config.Config, []place, *slog.Logger, error) {
	var cfg config.Config
	var places []place
	zones := slices.Compact(slices.Clone(c.zones))
	if len(zones) > 0 && c.cmd.Flags().Changed("grid.zone") {
		return cfg, nil, nil, &exitError{exitUsage, errors.New("--zone and --grid.zone are the same setting: give one of them")}
	}
	if !several && len(zones) > 1 {
		return cfg, nil, nil, &exitError{exitUsage, fmt.Errorf("%s takes one zone, not %s", c.cmd.CommandPath(), strings.Join(zones, " and "))}
	}
	if len(zones) == 0 {
		zones = []string{""}
	}
	var log *slog.Logger
	for i, zone := range zones {
		if zone != "" {
			_ = c.cmd.Flags().Set("grid.zone", zone) // what is wrong with it is found with all the rest
		}
		one, warnings, err := config.Load(c.flags, c.p.env)
		if err != nil {
			return cfg, nil, nil, &exitError{exitUsage, err}
		}
		if i == 0 {
			cfg, log = one, newLogger(c.p.stderr, &one)
			warnExposed(c.p, &one, log)
			for _, w := range warnings {
				if !strings.HasPrefix(w, "kube-") { // they are for the ConfigMap here, not for names of pods
					log.Warn("settings", slog.String("warning", w))
				}
			}
		}
		at, err := openPlace(c.p, &one, c.now)
		if err != nil {
			return cfg, nil, nil, err
		}
		if slices.ContainsFunc(places, func(p place) bool { return p.zone == at.zone }) {
			continue
		}
		places = append(places, at)
	}
	return cfg, places, log, nil
}

// ask asks one after the other until one answers. The error is that of the
// first, as it is the one that is preferred; the others say why they did not.
func ask[T any](ctx context.Context, at *place, log *slog.Logger, question func(grid.Provider) (T, error)) (answer T, by grid.Info, err error) {
	var problems []error
	chain, standIn := at.asked()
	for i, provider := range chain {
		by = provider.Info()
		answer, err = question(provider)
		if err == nil {
			for _, problem := range problems {
				log.WarnContext(ctx, "a provider has no answer", slog.String("grid_zone", at.zone), slog.Any("error", problem), slog.String("instead", by.Name))
			}
			if relay, ok := provider.(grid.Relay); ok {
				if origin, _, ok := relay.Origin(at.zone); ok {
					by.Name = origin
				}
			}
			return answer, by, nil
		}
		if ctx.Err() != nil {
			return answer, by, ctx.Err()
		}
		if !standIn || i < len(chain)-1 || errors.Is(err, grid.ErrUnknownZone) {
			problems = append(problems, fmt.Errorf("%s: %w", by.Name, err))
		}
	}
	return answer, by, fmt.Errorf("ask about zone %s: %w", at.zone, errors.Join(problems...))
}

// askTimeout is for all that one command asks of one provider.
const askTimeout = time.Minute

// moment reads a time: RFC 3339, a day, a day and a time of day here, or a
// duration from now such as -24h.
func moment(s string, now time.Time) (time.Time, error) {
	if s == "now" {
		return now, nil
	}
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return checkMoment(s, t, now)
		}
	}
	for _, layout := range [...]string{time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return checkMoment(s, t, now)
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		return checkMoment(s, now.Add(d), now)
	}
	return time.Time{}, fmt.Errorf("%q is no time: write it like 2026-01-31, 2026-01-31T06:00:00Z or -24h", s)
}

// farthest bounds how far from now a time may lie.
const farthest = 20 * 365 * 24 * time.Hour

func checkMoment(s string, t, now time.Time) (time.Time, error) {
	if d := t.Sub(now); d < -farthest || d > farthest {
		return time.Time{}, fmt.Errorf("%q is too far away: at most 20 years", s)
	}
	return t, nil
}

// span reads a length of time, of which one is needed.
func span(name string, d, most time.Duration) error {
	if d <= 0 || d > most {
		return fmt.Errorf("--%s %s is out of range: choose more than 0 and at most %s", name, d, terse(most))
	}
	return nil
}

// terse drops zero minutes and seconds: 24h, not 24h0m0s.
func terse(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// form is how a result is printed.
type form struct{ json, csv bool }

func (o *form) register(f *pflag.FlagSet) {
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.BoolVar(&o.csv, "csv", false, "print CSV with a header line; times in UTC, gCO2e/kWh")
}

func (o *form) check() error {
	if o.json && o.csv {
		return &exitError{exitUsage, errors.New("--json and --csv are two forms: choose one")}
	}
	return nil
}

// grams writes an intensity for people: three digits say more than is known.
func grams(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// exact writes an intensity for programs, without the noise of binary fractions.
func exact(v float64) string {
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// utc writes a time for programs.
func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// isBuiltIn tells whether a sample is said of every time.
func isBuiltIn(s *grid.Sample) bool { return s.To.Sub(s.From) > 50*365*24*time.Hour }

// when writes the beginning or end of a sample for people; one that is said of
// every time has none.
func when(s *grid.Sample, t time.Time, location *time.Location) string {
	if isBuiltIn(s) {
		return "-"
	}
	return t.In(location).Format("2006-01-02 15:04 MST")
}

// age says how long ago a sample ended.
func age(s *grid.Sample, now time.Time) string {
	switch d := now.Sub(s.To); {
	case isBuiltIn(s):
		return "-"
	case d <= 0:
		return "now"
	case d < time.Minute:
		return "<1m"
	default:
		return terse(d.Truncate(time.Minute))
	}
}

// yes is a truth in a table.
func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// isTerminal tells whether people look at what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && terminalWidth(f) > 0
}

// table writes rows in columns of equal width. The last column is not padded.
func table(w io.Writer, rows [][]string) error {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", width[i]-len([]rune(cell))+2))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
