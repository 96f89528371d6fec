package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"noether/internal/grid"
	"noether/internal/grid/configmap"
	"noether/internal/grid/plot"
)

// Bounds of what is asked for.
const (
	longestPast = 366 * 24 * time.Hour
	longestNext = 30 * 24 * time.Hour
)

// seriesOptions are the flags of history, forecast and best.
type seriesOptions struct {
	form
	within time.Duration
	plot   string
}

func (o *seriesOptions) registerPlot(c *carbonCommand) {
	c.cmd.Flags().StringVar(&o.plot, "plot", "auto", "draw the series: auto (on a terminal), always or never")
	_ = c.cmd.RegisterFlagCompletionFunc("plot", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

func (o *seriesOptions) check() error {
	if o.plot != "auto" && o.plot != "always" && o.plot != "never" {
		return &exitError{exitUsage, fmt.Errorf("--plot %q is not auto, always or never", o.plot)}
	}
	return o.form.check()
}

func (o *seriesOptions) draws(p *process) bool {
	if o.json || o.csv {
		return false
	}
	return o.plot == "always" || o.plot == "auto" && isTerminal(p.stdout)
}

func newCarbonHistory(p *process) *cobra.Command {
	c := &carbonCommand{p: p}
	var o seriesOptions
	var from, to string
	c.cmd = &cobra.Command{
		Use:   "history",
		Short: "The carbon intensity of the time before",
		Long: `history asks for what a provider says by now about a past time: drawn on a
terminal, else one line for each value. How far back it goes is the provider's.`,
		Example: `  noether carbon history --zone DE --provider energy-charts --within 48h
  noether carbon history --zone GB --provider neso --grid.factor direct --from 2026-01-01 --to 2026-01-02 --csv`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := c.now()
			begin, end, err := period(from, to, o.within, now, cmd.Flags().Changed("within"))
			if err == nil {
				err = o.check()
			}
			if err != nil {
				return misuse(err)
			}
			_, places, log, err := c.load(false)
			if err != nil {
				return err
			}
			s, err := c.series(cmd.Context(), &places[0], begin, end, log, func(ctx context.Context, p grid.Provider) ([]grid.Sample, error) {
				return p.Intensity(ctx, places[0].zone, begin, end)
			})
			if err != nil {
				return err
			}
			return s.print(p, &o, now)
		},
	}
	f := c.cmd.Flags()
	f.DurationVar(&o.within, "within", 24*time.Hour, "how long before now")
	f.StringVar(&from, "from", "", "first moment: 2026-01-31, 2026-01-31T06:00:00Z or -48h")
	f.StringVar(&to, "to", "", "last moment, now if it is left out")
	o.register(f)
	o.registerPlot(c)
	c.register(false, true)
	return c.cmd
}

func misuse(err error) error {
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	return &exitError{exitUsage, err}
}

// period reads what past is asked for.
func period(from, to string, within time.Duration, now time.Time, changed bool) (begin, end time.Time, err error) {
	end = now
	if to != "" {
		if end, err = moment(to, now); err != nil {
			return begin, end, fmt.Errorf("--to %w", err)
		}
	}
	switch {
	case from != "" && changed:
		return begin, end, errors.New("--from and --within both say where it begins: give one of them")
	case from != "":
		if begin, err = moment(from, now); err != nil {
			return begin, end, fmt.Errorf("--from %w", err)
		}
	default:
		begin = end.Add(-within)
	}
	if end.After(now) {
		return begin, end, errors.New("--to lies ahead: what is to come is told by noether carbon forecast")
	}
	if length := end.Sub(begin); length <= 0 || length > longestPast {
		return begin, end, fmt.Errorf("%s is no length of time to ask for: choose more than 0 and at most %d days", terse(length.Round(time.Second)), int(longestPast.Hours()/24))
	}
	return begin, end, nil
}

func newCarbonForecast(p *process) *cobra.Command {
	c := &carbonCommand{p: p}
	var o seriesOptions
	var target string
	c.cmd = &cobra.Command{
		Use:   "forecast",
		Short: "The carbon intensity that is expected",
		Long: `forecast asks what a provider expects: drawn on a terminal, else one line for each
value. With --configmap it prints the ConfigMap that carbon-aware operators read, for
kubectl; noether carbon exporter --configmap keeps it by itself.

Marginal intensities (watttime) are for decisions such as this one; the agent's
accounts use average ones.`,
		Example: `  noether carbon forecast --zone DE --provider energy-charts
  noether carbon forecast --zone GB --provider neso --grid.factor direct --within 48h --csv
  noether carbon forecast --zone GB --provider neso --grid.factor direct \
    --configmap kube-system/carbon-intensity | kubectl replace --force -f -`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := o.check()
			if err == nil {
				err = span("within", o.within, longestNext)
			}
			var name configmap.Name
			if err == nil && target != "" {
				if name, err = configmap.ParseName(target); err != nil {
					err = fmt.Errorf("--configmap %w", err)
				} else if o.json || o.csv {
					err = errors.New("--configmap prints YAML: leave --json and --csv out")
				}
			}
			if err != nil {
				return misuse(err)
			}
			_, places, log, err := c.load(false)
			if err != nil {
				return err
			}
			now := c.now()
			s, err := c.forecast(cmd.Context(), &places[0], now, now.Add(o.within), log)
			if err != nil {
				return err
			}
			if target == "" {
				return s.print(p, &o, now)
			}
			made, err := configmap.Make(name, s.zone, s.clipped(), now)
			if err != nil {
				return err
			}
			text, err := made.YAML()
			if err == nil {
				_, err = p.stdout.Write(text)
			}
			return err
		},
	}
	f := c.cmd.Flags()
	f.DurationVar(&o.within, "within", 24*time.Hour, "how far ahead")
	f.StringVar(&target, "configmap", "", "print this ConfigMap, NAMESPACE/NAME, as YAML instead")
	o.register(f)
	o.registerPlot(c)
	c.register(false, true)
	return c.cmd
}

// series is what one provider says of a stretch of time.
type series struct {
	zone     string
	by       grid.Info
	from, to time.Time
	samples  []grid.Sample
}

// series asks for a stretch of time until one provider knows any of it.
func (c *carbonCommand) series(ctx context.Context, at *place, from, to time.Time, log *slog.Logger, question func(context.Context, grid.Provider) ([]grid.Sample, error)) (series, error) {
	samples, by, err := ask(ctx, at, log, func(p grid.Provider) ([]grid.Sample, error) {
		within, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		samples, err := question(within, p)
		if err == nil {
			samples, err = grid.Tidy(samples)
		}
		if err != nil {
			return nil, err
		}
		if samples = grid.Clip(samples, from, to); len(samples) == 0 {
			return nil, fmt.Errorf("from %s to %s: %w", utc(from), utc(to), grid.ErrNoData)
		}
		return samples, nil
	})
	return series{at.zone, by, from, to, samples}, err
}

// forecast asks what is expected. The present value goes before a forecast
// that begins only later.
func (c *carbonCommand) forecast(ctx context.Context, at *place, now, until time.Time, log *slog.Logger) (series, error) {
	s, err := c.series(ctx, at, now, until, log, func(ctx context.Context, p grid.Provider) ([]grid.Sample, error) {
		samples, err := p.Forecast(ctx, at.zone, now, until)
		if err != nil || len(samples) == 0 || !samples[0].From.After(now) {
			return samples, err
		}
		if l, err := p.Latest(ctx, at.zone); err == nil && l.To.After(now) && !l.From.After(now) {
			if l.To.After(samples[0].From) {
				l.To = samples[0].From
			}
			samples = append([]grid.Sample{l}, samples...)
		}
		return samples, nil
	})
	if errors.Is(err, grid.ErrNoForecast) {
		err = fmt.Errorf("%w: choose one that does with --provider: electricitymaps, watttime, neso, energy-charts or a file", err)
	}
	return s, err
}

func (s *series) print(p *process, o *seriesOptions, now time.Time) error {
	switch {
	case o.json:
		return s.writeJSON(p.stdout)
	case o.csv:
		return s.writeCSV(p.stdout)
	case o.draws(p):
		return s.draw(p, now, time.Time{}, time.Time{})
	}
	rows := [][]string{{"FROM", "TO", "gCO2e/kWh", "ESTIMATED"}}
	for i := range s.samples {
		v := &s.samples[i]
		rows = append(rows, []string{when(v, v.From, now.Location()), when(v, v.To, now.Location()), grams(v.Intensity), yes(v.Estimated)})
	}
	if _, err := fmt.Fprintln(p.stdout, s.title()); err != nil {
		return err
	}
	return table(p.stdout, rows)
}

func (s *series) title() string {
	return fmt.Sprintf("%s by %s (%s, %s), gCO2e/kWh", s.zone, s.by.Name, s.by.Signal, s.by.Factor)
}

type seriesJSON struct {
	Zone     string       `json:"zone"`
	Provider string       `json:"provider"`
	Signal   grid.Signal  `json:"signal"`
	Factor   grid.Factor  `json:"factor"`
	Samples  []sampleJSON `json:"samples"`
}

type sampleJSON struct {
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Intensity float64   `json:"grams_per_kwh"`
	Estimated bool      `json:"estimated"`
}

func (s *series) writeJSON(w io.Writer) error {
	j := seriesJSON{s.zone, s.by.Name, s.by.Signal, s.by.Factor, make([]sampleJSON, len(s.samples))}
	for i, v := range s.clipped() {
		j.Samples[i] = sampleJSON{v.From.UTC(), v.To.UTC(), v.Intensity, v.Estimated}
	}
	return json.NewEncoder(w).Encode(j)
}

// clipped returns the samples, but one that is said of every time only for
// what was asked for.
func (s *series) clipped() []grid.Sample {
	out := make([]grid.Sample, len(s.samples))
	for i, v := range s.samples {
		if isBuiltIn(&v) {
			v.From, v.To = s.from, s.to
		}
		out[i] = v
	}
	return out
}

func (s *series) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"from", "to", "grams_per_kwh", "estimated", "zone", "provider", "signal", "factor"}) // Error tells
	for _, v := range s.clipped() {
		_ = out.Write([]string{utc(v.From), utc(v.To), exact(v.Intensity), strconv.FormatBool(v.Estimated), s.zone, s.by.Name, string(s.by.Signal), string(s.by.Factor)})
	}
	out.Flush()
	return out.Error()
}

// draw prints the series as a picture with its summary, and the stretch from
// best to end marked in it if there is one.
func (s *series) draw(p *process, now, best, end time.Time) error {
	columns := 80
	if f, ok := p.stdout.(*os.File); ok {
		if w := terminalWidth(f); w > 0 {
			columns = min(w, 120)
		}
	}
	text := []byte(s.title() + "\n")
	text = plot.Append(text, s.samples, s.from, s.to, plot.Options{
		Width: columns, Height: 8, Location: now.Location(), Now: now, From: best, To: end,
		Colour: isTerminal(p.stdout) && p.getenv("NO_COLOR") == "" && p.getenv("TERM") != "dumb", // https://no-color.org
		ASCII:  !speaksUTF8(p),
	})
	text = append(text, s.summary(now)...)
	_, err := p.stdout.Write(text)
	return err
}

// summary says in words what the picture shows.
func (s *series) summary(now time.Time) string {
	stats, ok := plot.Summarize(s.samples, s.from, s.to)
	if !ok {
		return ""
	}
	at := func(t time.Time) string {
		layout := "15:04"
		if s.to.Sub(s.from) > 24*time.Hour {
			layout = "2006-01-02 15:04"
		}
		return t.In(now.Location()).Format(layout)
	}
	var parts []string
	if stats.Min == stats.Max {
		parts = append(parts, "always "+grams(stats.Min))
	} else {
		parts = append(parts, fmt.Sprintf("min %s at %s", grams(stats.Min), at(stats.MinAt)), "mean "+grams(stats.Mean), fmt.Sprintf("max %s at %s", grams(stats.Max), at(stats.MaxAt)))
	}
	if v, err := grid.Mean(s.samples, now, now); err == nil {
		parts = append(parts, "now "+grams(v))
	}
	line := strings.Join(parts, ", ") + " gCO2e/kWh; times in " + now.Format("MST") + "\n"
	if missing := s.to.Sub(s.from) - stats.Covered; missing >= time.Minute {
		line += fmt.Sprintf("%s of %s are not known\n", terse(missing.Round(time.Minute)), terse(s.to.Sub(s.from).Round(time.Minute)))
	}
	return line
}

// terminalWidth returns the columns of a terminal, 0 if f is none.
func terminalWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	if size.Col == 0 {
		return 80 // a terminal that does not say
	}
	return int(size.Col)
}

// speaksUTF8 looks at the locale as setlocale(3) does. A user who says nothing
// has a terminal of today.
func speaksUTF8(p *process) bool {
	for _, name := range [...]string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(p.getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return true
}
