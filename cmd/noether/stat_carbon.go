package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"noether/internal/carbon"
	"noether/internal/config"
	"noether/internal/site"
	"noether/internal/snapshot"
	"noether/internal/unit"
)

const (
	// answerWait is how long stat waits for the first answer when the command
	// has ended: most have come while it ran.
	answerWait = 2 * time.Second
	answerPoll = 10 * time.Millisecond
)

// surroundings are asked about while the command runs. One goroutine at a time.
type surroundings struct {
	site *site.Site
	stop func()
}

// openSurroundings asks whom the settings name, in the background until close;
// nobody if they name nobody. What the orchestrator knows is not asked for.
func openSurroundings(ctx context.Context, p *process, cfg *config.Config, log *slog.Logger) (*surroundings, error) {
	mine := *cfg
	mine.Price = ""                                  // stat counts no money
	s, err := openSite(p, &mine, nil, log, time.Now) //nolint:contextcheck // a watch has a context when it runs
	if err != nil {
		return nil, err
	}
	return &surroundings{site: s, stop: runSite(context.WithoutCancel(ctx), log, s)}, nil
}

func (s *surroundings) close() {
	if s != nil {
		s.stop()
	}
}

// wait waits until whoever is asked first has answered or failed, but not long.
func (s *surroundings) wait(long time.Duration) {
	for end := time.Now().Add(long); s.pending() && time.Now().Before(end); {
		time.Sleep(answerPoll)
	}
}

// pending tells whether somebody was not heard of yet: the first link of the
// chain, after whose answer others are not asked, and the query of the PUE.
func (s *surroundings) pending() bool {
	now := time.Now().Round(0)
	known := s.site.Between(now, now)
	if known == nil {
		return false
	}
	for i := range known.Sources {
		if src := &known.Sources[i]; (i == 0 || src.Zone == "") && src.Requests == 0 {
			return true
		}
	}
	return false
}

// during returns what is known of a window. If nobody said anything of its
// first moments, when the question was under way, the rest speaks for them.
func (s *surroundings) during(w *window) *snapshot.Site {
	to := w.ended.Round(0)
	from := to.Add(-w.length)
	if known := s.site.Between(to, to); known != nil && len(known.Past) > 0 && known.Past[0].From.After(from) {
		if from = known.Past[0].From; from.After(to) {
			to = from
		}
	}
	return s.site.Between(from, to)
}

// statFootprint is what a window emitted: all of the machine, and the command.
type statFootprint struct {
	site         *snapshot.Site // immutable; nil if nothing is known
	machine, own [snapshot.Phases]unit.Mass
}

// knows tells whether the grams of a phase are figures.
func (f *statFootprint) knows(p snapshot.Phase) bool {
	if f.site == nil {
		return false
	}
	if p == snapshot.Embodied {
		return f.site.Hardware.Known()
	}
	return f.site.Grid.Known
}

// emit works out the grams of the window. The command has the operational grams
// of its own energy, and by CPU time of what making the machine emitted: but for
// graphics processors, whose users nobody knows.
func (w *window) emit(known *snapshot.Site) {
	f := statFootprint{site: known}
	if f.knows(snapshot.Operational) {
		var machine, own carbon.Operational
		f.machine[snapshot.Operational] = machine.Of(w.sum(&w.total), known.PUE, known.Grid.Intensity)
		f.own[snapshot.Operational] = own.Of(w.sum(&w.own), known.PUE, known.Grid.Intensity)
	}
	if h := f.hardware(); h != nil {
		f.machine[snapshot.Embodied] = carbon.Reserved(h.Total(), w.length, h.Lifetime, 1, 1)
		if whole := time.Duration(w.online) * w.length; whole > 0 && w.ownCPU > 0 {
			f.own[snapshot.Embodied] = carbon.Reserved(h.Total()-h.GPU, w.length, h.Lifetime, uint64(min(w.ownCPU, whole)), uint64(whole))
		}
	}
	w.footprint = f
}

func (f *statFootprint) hardware() *snapshot.Hardware {
	if !f.knows(snapshot.Embodied) {
		return nil
	}
	return &f.site.Hardware
}

// booked takes the operational grams that an agent booked in the window, which
// knew the intensity of each of its intervals.
func (w *window) booked(machine unit.Mass) {
	f, total := &w.footprint, w.sum(&w.total)
	if !f.knows(snapshot.Operational) || machine <= 0 || total <= 0 {
		return
	}
	f.machine[snapshot.Operational] = machine
	f.own[snapshot.Operational] = unit.Mass(unit.MulDiv(uint64(machine), uint64(min(max(w.sum(&w.own), 0), total)), uint64(total)))
}

// agentSite is what stat reads of the site in an agent's snapshot.
type agentSite struct {
	Zone              string    `json:"grid_zone"`
	Intensity         *float64  `json:"grams_per_kwh"`
	Provider          string    `json:"provider"`
	Signal            string    `json:"signal"`
	Factor            string    `json:"factor"`
	Estimated         bool      `json:"estimated"`
	Updated           time.Time `json:"updated"`
	PUE               float64   `json:"pue"`
	PUEFrom           string    `json:"pue_source"`
	Hardware          float64   `json:"hardware_grams"`
	GPU               float64   `json:"hardware_gpu_grams"`
	Lifetime          float64   `json:"hardware_lifetime_seconds"`
	HardwareFrom      string    `json:"hardware_source"`
	HardwareEstimated bool      `json:"hardware_estimated"`
	Unknown           float64   `json:"unknown_joules_total"`
}

// site returns what the agent said; nil if it said nothing.
func (a *agentSite) site() *snapshot.Site {
	if a == nil {
		return nil
	}
	s := &snapshot.Site{
		Grid: snapshot.Grid{Zone: a.Zone, Provider: a.Provider, Signal: a.Signal, Factor: a.Factor, Estimated: a.Estimated, Updated: a.Updated},
		PUE:  unit.RatioOf(a.PUE), PUEFrom: a.PUEFrom,
		Hardware: snapshot.Hardware{
			GPU: massOf(a.GPU), Rest: massOf(a.Hardware) - massOf(a.GPU), // the parts beside it are not told apart here
			Lifetime: seconds(a.Lifetime), Source: a.HardwareFrom, Estimated: a.HardwareEstimated,
		},
	}
	if a.Intensity != nil {
		s.Grid.Known, s.Grid.Intensity = true, unit.IntensityOf(*a.Intensity)
	}
	return s
}

func massOf(grams float64) unit.Mass { return unit.Mass(math.Round(grams * float64(unit.Gram))) }

// emission writes the grams of one run, where it is known from what grid.
func (r *statReport) emission(b *strings.Builder, f *statFootprint) {
	if f.site == nil || f.site.Grid.Zone == "" {
		return
	}
	for p, label := range [snapshot.Phases]string{snapshot.Operational: "CO2e", snapshot.Embodied: "embodied"} {
		if f.knows(snapshot.Phase(p)) {
			machine, of := massText(f.machine[p])
			own, ownOf := massText(f.own[p])
			fmt.Fprintf(b, "   %-10s %12s %-2s%12s %-2s  %s\n", label, machine, of, own, ownOf, f.origin(snapshot.Phase(p)))
		}
	}
}

// origin says what the grams of a phase were worked out from.
func (f *statFootprint) origin(p snapshot.Phase) string {
	var text string
	var estimated bool
	if p == snapshot.Embodied {
		h := &f.site.Hardware
		const year = 365 * 24 // hours, as the setting counts them
		text = fmt.Sprintf("%s kg over %s years", decimal(h.Total().Grams()/1000, 1), decimal(h.Lifetime.Hours()/year, 1))
		estimated = h.Estimated
	} else {
		g := &f.site.Grid
		text = fmt.Sprintf("%s g/kWh, %s, %s", decimal(g.Intensity.GramsPerKWh(), 1), g.Zone, g.Provider)
		if f.site.PUE > unit.One {
			text += ", PUE " + decimal(f.site.PUE.Float(), 3)
		}
		estimated = g.Estimated
	}
	if estimated {
		text += ", estimated"
	}
	return text
}

// notes are what the reader should know about the grams.
func (f *statFootprint) notes() (notes []string) {
	if f.site == nil {
		return nil
	}
	const why = " (noether check says why)"
	g := &f.site.Grid
	if g.Zone != "" && !g.Known {
		notes = append(notes, "nobody told the carbon intensity of "+g.Zone+", so there is no CO2e of electricity"+why)
	}
	for i, src := range f.site.Sources {
		switch {
		case src.Up:
		case src.Zone == "":
			notes = append(notes, fmt.Sprintf("the query of the %s has no answer of use: %s is taken%s", strings.ToUpper(src.Source), decimal(f.site.PUE.Float(), 3), why))
		case i == 0 && g.Known:
			notes = append(notes, fmt.Sprintf("%s has not told the carbon intensity of %s: %s stands in%s", src.Source, g.Zone, g.Provider, why))
		}
	}
	return notes
}

// json returns the site in the words of the agent's snapshot.
func (f *statFootprint) json() map[string]any {
	s := f.site
	out := map[string]any{"pue": max(s.PUE, unit.One).Float(), "pue_source": s.PUEFrom}
	if s.Grid.Zone != "" {
		out["grid_zone"] = s.Grid.Zone
	}
	if g := &s.Grid; g.Known {
		out["grams_per_kwh"], out["estimated"] = g.Intensity.GramsPerKWh(), g.Estimated
		out["provider"], out["signal"], out["factor"] = g.Provider, g.Signal, g.Factor
		if !g.Updated.IsZero() {
			out["updated"] = g.Updated.UTC().Format(time.RFC3339Nano)
		}
	}
	if h := f.hardware(); h != nil {
		out["hardware_grams"], out["hardware_lifetime_seconds"] = h.Total().Grams(), h.Lifetime.Seconds()
		out["hardware_source"], out["hardware_estimated"] = h.Source, h.Estimated
		if h.GPU > 0 {
			out["hardware_gpu_grams"] = h.GPU.Grams()
		}
	}
	return out
}

// massText writes a mass and its unit.
func massText(m unit.Mass) (figure, of string) {
	scale, of := massUnit(m.Grams())
	return short(m.Grams() * scale), of
}

// massUnit returns the unit in which grams read well, and its number in a gram.
func massUnit(grams float64) (scale float64, name string) {
	switch {
	case grams >= 1000:
		return 1e-3, "kg"
	case grams >= 1:
		return 1, "g"
	case grams >= 1e-3:
		return 1e3, "mg"
	}
	return 1e6, "µg"
}
