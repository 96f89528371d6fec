package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"noether/internal/grid"
	"noether/internal/grid/watch"
)

func newCarbonNow(p *process) *cobra.Command {
	c := &carbonCommand{p: p}
	var o form
	c.cmd = &cobra.Command{
		Use:   "now",
		Short: "The carbon intensity by now",
		Long: `now asks for the newest value of each zone. A value whose time has passed holds for
six hours more, marked as estimated; then the next provider of the chain is asked.`,
		Example: `  noether carbon now --zone DE
  noether carbon now --zone DE --zone PL --csv
  noether carbon now --zone FR --provider rte --grid.factor direct --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			_, places, log, err := c.load(true)
			if err != nil {
				return err
			}
			return c.runNow(cmd.Context(), places, o, log)
		},
	}
	o.register(c.cmd.Flags())
	c.register(true, true)
	return c.cmd
}

// present is what a provider says of now.
type present struct {
	zone   string
	by     grid.Info
	sample grid.Sample
}

// latest asks for the newest value that still says something about now.
func (c *carbonCommand) latest(ctx context.Context, at *place, log *slog.Logger) (present, error) {
	s, by, err := ask(ctx, at, log, func(p grid.Provider) (grid.Sample, error) {
		within, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		s, err := p.Latest(within, at.zone)
		if err == nil {
			err = grid.Check(s.Intensity)
		}
		if old := c.now().Sub(s.To); err == nil && old > watch.Hold {
			err = fmt.Errorf("its newest value ended %s ago: %w of the last hours", terse(old.Truncate(time.Minute)), grid.ErrNoData)
		}
		return s, err
	})
	s.Estimated = s.Estimated || s.To.Before(c.now())
	return present{at.zone, by, s}, err
}

func (c *carbonCommand) runNow(ctx context.Context, places []place, o form, log *slog.Logger) error {
	list := make([]present, len(places))
	for i := range places {
		var err error
		if list[i], err = c.latest(ctx, &places[i], log); err != nil {
			return err
		}
	}
	now := c.now()
	switch {
	case o.json:
		enc := json.NewEncoder(c.p.stdout)
		for i := range list {
			if err := enc.Encode(list[i].json(now)); err != nil {
				return err
			}
		}
		return nil
	case o.csv:
		w := csv.NewWriter(c.p.stdout)
		_ = w.Write([]string{"zone", "grams_per_kwh", "provider", "signal", "factor", "from", "to", "estimated"}) // Error tells
		for i := range list {
			v := &list[i]
			from, to := "", ""
			if !isBuiltIn(&v.sample) {
				from, to = utc(v.sample.From), utc(v.sample.To)
			}
			_ = w.Write([]string{v.zone, exact(v.sample.Intensity), v.by.Name, string(v.by.Signal), string(v.by.Factor), from, to, strconv.FormatBool(v.sample.Estimated)})
		}
		w.Flush()
		return w.Error()
	default:
		rows := [][]string{{"ZONE", "gCO2e/kWh", "PROVIDER", "SIGNAL", "FACTOR", "SINCE", "AGE", "ESTIMATED"}}
		for i := range list {
			v := &list[i]
			rows = append(rows, []string{v.zone, grams(v.sample.Intensity), v.by.Name, string(v.by.Signal), string(v.by.Factor), when(&v.sample, v.sample.From, now.Location()), age(&v.sample, now), yes(v.sample.Estimated)})
		}
		return table(c.p.stdout, rows)
	}
}

// presentJSON is a line of now --json.
type presentJSON struct {
	Zone      string      `json:"zone"`
	Intensity float64     `json:"grams_per_kwh"`
	Provider  string      `json:"provider"`
	Signal    grid.Signal `json:"signal"`
	Factor    grid.Factor `json:"factor"`
	From      *time.Time  `json:"from"` // null for what is said of every time
	To        *time.Time  `json:"to"`
	Age       *float64    `json:"age_seconds"` // since To; 0 until then
	Estimated bool        `json:"estimated"`
}

func (v *present) json(now time.Time) presentJSON {
	j := presentJSON{v.zone, v.sample.Intensity, v.by.Name, v.by.Signal, v.by.Factor, nil, nil, nil, v.sample.Estimated}
	if !isBuiltIn(&v.sample) {
		from, to, seconds := v.sample.From.UTC(), v.sample.To.UTC(), max(now.Sub(v.sample.To).Truncate(time.Second), 0).Seconds()
		j.From, j.To, j.Age = &from, &to, &seconds
	}
	return j
}
