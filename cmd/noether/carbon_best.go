package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"noether/internal/grid"
	gridwindow "noether/internal/grid/window"
	"noether/internal/unit"
)

// exitLater is the code of best --if-now when waiting is better.
const exitLater = 3

// bestOptions are the flags of best.
type bestOptions struct {
	seriesOptions
	duration, step time.Duration
	kWh            float64
	quiet, ifNow   bool
	format         string
}

func (o *bestOptions) check() error {
	if err := o.seriesOptions.check(); err != nil {
		return err
	}
	if err := span("within", o.within, longestNext); err != nil {
		return err
	}
	ask := gridwindow.Ask{To: time.Time{}.Add(o.within), Length: o.duration, Step: o.step}
	if err := ask.Check(); err != nil {
		return fmt.Errorf("--within, --duration or --step: %w", err)
	}
	if math.IsNaN(o.kWh) || o.kWh < 0 || o.kWh > 1e9 {
		return fmt.Errorf("--kwh %v is out of range: choose 0 to 1000000000", o.kWh)
	}
	if _, err := startText(time.Time{}, time.Time{}, o.format); err != nil {
		return err
	}
	if o.quiet && (o.json || o.csv) {
		return errors.New("--quiet prints the start alone: leave --json and --csv out")
	}
	return nil
}

func newCarbonBest(p *process) *cobra.Command {
	c := &carbonCommand{p: p}
	var o bestOptions
	c.cmd = &cobra.Command{
		Use:   "best",
		Short: "The greenest time to run something",
		Long: `best finds the window of --duration, within --within from now, whose mean intensity
is lowest, and says what that saves against beginning now. Of equal windows the
earliest is best; a time without a forecast is in no window.

For scripts: --quiet prints when to begin and nothing else, in the form of --format:
rfc3339, unix (seconds since 1970), seconds (from now, for sleep) or at (for at -t).
--if-now says by its exit code whether to begin now: 0 if no later window is better
than beginning now, 3 if one is, 1 if nobody can say.

It decides and accounts for nothing, so marginal intensities (watttime) fit here.`,
		Example: `  noether carbon best --zone DE --provider energy-charts --within 24h --duration 2h
  sleep "$(noether carbon best --zone DE --provider energy-charts --duration 1h -q --format seconds)" && make release
  noether carbon best --zone GB --provider neso --grid.factor direct --duration 90m --kwh 12 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("format") {
				o.quiet = true
			}
			if err := o.check(); err != nil {
				return misuse(err)
			}
			_, places, log, err := c.load(false)
			if err != nil {
				return err
			}
			return c.runBest(cmd.Context(), &places[0], &o, log)
		},
	}
	f := c.cmd.Flags()
	f.DurationVar(&o.within, "within", 24*time.Hour, "how far ahead the window may end")
	f.DurationVar(&o.duration, "duration", time.Hour, "length of the window")
	f.DurationVar(&o.step, "step", 0, "try only starts that are this far apart, from now on; any start if 0")
	f.Float64Var(&o.kWh, "kwh", 0, "energy of what is to run, to say what it saves in grams")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print only when to begin")
	f.StringVar(&o.format, "format", "rfc3339", "form of --quiet, which it implies: rfc3339, unix, seconds or at")
	f.BoolVar(&o.ifNow, "if-now", false, "exit with 3 if a later window is better than beginning now")
	_ = c.cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"rfc3339", "unix", "seconds", "at"}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	o.register(f)
	o.registerPlot(c)
	c.register(false, true)
	return c.cmd
}

// startText writes when to begin for other programs.
func startText(start, now time.Time, format string) (string, error) {
	switch format {
	case "rfc3339":
		return start.Format(time.RFC3339), nil
	case "unix":
		return strconv.FormatInt(start.Unix(), 10), nil
	case "seconds":
		return strconv.FormatInt(int64(math.Ceil(max(start.Sub(now), 0).Seconds())), 10), nil
	case "at": // [[CC]YY]MMDDhhmm[.SS], in the time zone of at(1), as touch(1) has it
		return start.Format("200601021504.05"), nil
	default:
		return "", fmt.Errorf("--format %q is not rfc3339, unix, seconds or at", format)
	}
}

func (c *carbonCommand) runBest(ctx context.Context, at *place, o *bestOptions, log *slog.Logger) error {
	now := c.now().Truncate(time.Second)
	until := now.Add(o.within)
	s, err := c.forecast(ctx, at, now, until, log)
	if err != nil {
		return err
	}
	found, err := gridwindow.Find(s.samples, gridwindow.Ask{From: now, To: until, Length: o.duration, Step: o.step})
	if errors.Is(err, gridwindow.ErrNone) {
		err = fmt.Errorf("find %s within %s in zone %s: %w: %s knows %s of it", terse(o.duration), terse(o.within), s.zone, err, s.by.Name, terse(found.Covered.Round(time.Minute)))
	}
	if err != nil {
		return err
	}
	best := bestWindow{s, o, found, now}
	if err := best.print(c.p); err != nil {
		return err
	}
	if o.ifNow && found.Best.From.After(now) {
		return &exitError{code: exitLater}
	}
	return nil
}

// bestWindow is the answer of best.
type bestWindow struct {
	series series
	o      *bestOptions
	found  gridwindow.Result
	now    time.Time
}

func (b *bestWindow) print(p *process) error {
	switch {
	case b.o.quiet:
		text, err := startText(b.found.Best.From, b.now, b.o.format)
		if err == nil {
			_, err = fmt.Fprintln(p.stdout, text)
		}
		return err
	case b.o.json:
		return json.NewEncoder(p.stdout).Encode(b.json())
	case b.o.csv:
		return b.writeCSV(p.stdout)
	}
	if b.o.draws(p) {
		if err := b.series.draw(p, b.now, b.found.Best.From, b.found.Best.To); err != nil {
			return err
		}
		if _, err := io.WriteString(p.stdout, "\n"); err != nil {
			return err
		}
	}
	_, err := io.WriteString(p.stdout, b.text())
	return err
}

// text is the answer for people.
func (b *bestWindow) text() string {
	best, location := &b.found.Best, b.now.Location()
	wait := "now"
	if d := best.From.Sub(b.now); d > 0 {
		wait = "in " + terse(d.Round(time.Minute))
		if d < time.Minute {
			wait = "in less than a minute"
		}
	}
	layout := "15:04 MST"
	if best.From.In(location).Format(time.DateOnly) != best.To.In(location).Format(time.DateOnly) {
		layout = "2006-01-02 15:04 MST"
	}
	var t strings.Builder
	fmt.Fprintf(&t, "best %s within %s in %s by %s (%s, %s)\n", terse(b.o.duration), terse(b.o.within), b.series.zone, b.series.by.Name, b.series.by.Signal, b.series.by.Factor)
	fmt.Fprintf(&t, "  from   %s to %s, %s\n", best.From.In(location).Format("2006-01-02 15:04"), best.To.In(location).Format(layout), wait)
	estimated := ""
	if best.Estimated {
		estimated = ", estimated"
	}
	fmt.Fprintf(&t, "  mean   %s gCO2e/kWh%s\n", grams(best.Mean.GramsPerKWh()), estimated)
	if !b.found.NowKnown {
		t.WriteString("  saves  nobody knows: the forecast leaves out some of the time from now on\n")
		return t.String()
	}
	fmt.Fprintf(&t, "  now    %s gCO2e/kWh if it begins at once\n", grams(b.found.Now.Mean.GramsPerKWh()))
	saved := b.saved()
	if saved == 0 {
		t.WriteString("  saves  nothing: no later window is better than beginning at once\n")
		return t.String()
	}
	fmt.Fprintf(&t, "  saves  %s gCO2e/kWh (%s %%)", grams(saved.GramsPerKWh()), strconv.FormatFloat(b.percent(), 'f', 1, 64))
	if b.o.kWh > 0 {
		fmt.Fprintf(&t, ", %s of CO2e for %s kWh", mass(saved.GramsPerKWh()*b.o.kWh), exact(b.o.kWh))
	}
	t.WriteString("\n")
	return t.String()
}

// mass writes grams for people.
func mass(g float64) string {
	switch {
	case g >= 1e6:
		return grams(g/1e6) + " t"
	case g >= 1000:
		return grams(g/1000) + " kg"
	default:
		return grams(g) + " g"
	}
}

func (b *bestWindow) saved() unit.Intensity { return b.found.Now.Mean - b.found.Best.Mean }

func (b *bestWindow) percent() float64 {
	if b.found.Now.Mean == 0 {
		return 0
	}
	return 100 * float64(b.saved()) / float64(b.found.Now.Mean)
}

// bestJSON is best --json.
type bestJSON struct {
	Zone      string      `json:"zone"`
	Provider  string      `json:"provider"`
	Signal    grid.Signal `json:"signal"`
	Factor    grid.Factor `json:"factor"`
	From      time.Time   `json:"from"`
	To        time.Time   `json:"to"`
	Wait      float64     `json:"wait_seconds"`
	Intensity float64     `json:"grams_per_kwh"`
	Estimated bool        `json:"estimated"`
	// Null while the forecast leaves out some of the window that begins now.
	Now     *float64 `json:"now_grams_per_kwh"`
	Saves   *float64 `json:"saves_grams_per_kwh"`
	Percent *float64 `json:"saves_percent"`
	Grams   *float64 `json:"saves_grams,omitempty"` // with --kwh
	Covered float64  `json:"forecast_seconds"`      // of the time asked for
}

func (b *bestWindow) json() bestJSON {
	best := &b.found.Best
	j := bestJSON{
		Zone: b.series.zone, Provider: b.series.by.Name, Signal: b.series.by.Signal, Factor: b.series.by.Factor,
		From: best.From.UTC(), To: best.To.UTC(), Wait: best.From.Sub(b.now).Seconds(),
		Intensity: best.Mean.GramsPerKWh(), Estimated: best.Estimated, Covered: b.found.Covered.Seconds(),
	}
	if b.found.NowKnown {
		now, saves, percent := b.found.Now.Mean.GramsPerKWh(), b.saved().GramsPerKWh(), math.Round(b.percent()*1000)/1000
		j.Now, j.Saves, j.Percent = &now, &saves, &percent
		if b.o.kWh > 0 {
			total := math.Round(saves*b.o.kWh*1e6) / 1e6
			j.Grams = &total
		}
	}
	return j
}

func (b *bestWindow) writeCSV(w io.Writer) error {
	j := b.json()
	now, saves, percent := "", "", ""
	if j.Now != nil {
		now, saves, percent = exact(*j.Now), exact(*j.Saves), exact(*j.Percent)
	}
	out := csv.NewWriter(w)
	_ = out.Write([]string{"from", "to", "grams_per_kwh", "estimated", "now_grams_per_kwh", "saves_grams_per_kwh", "saves_percent", "zone", "provider", "signal", "factor"}) // Error tells
	_ = out.Write([]string{utc(j.From), utc(j.To), exact(j.Intensity), strconv.FormatBool(j.Estimated), now, saves, percent, j.Zone, j.Provider, string(j.Signal), string(j.Factor)})
	out.Flush()
	return out.Error()
}
