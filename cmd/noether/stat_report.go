package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
)

// statReport is the result of stat.
type statReport struct {
	argv          []string
	sensor, usage string
	moves         time.Duration // how often the meter moves
	runs          []statRun
	sensorNotes   []string
}

// sums over components that had a datum.
func (w *window) sum(of *[energy.Components]unit.Energy) (e unit.Energy) {
	for c := range of {
		if w.present[c] {
			e += of[c]
		}
	}
	return e
}

func (w *window) worst() energy.Quality {
	q := energy.Measured
	for c := range w.quality {
		if w.present[c] {
			q = max(q, w.quality[c])
		}
	}
	return q
}

// doubt is the energy of one move of the meter at the run's mean power: as
// much can be missing at either end.
func (r *statRun) doubt(moves time.Duration) unit.Energy {
	return r.sum(&r.total).Over(r.length).For(moves)
}

// short reports whether a run is so short that the meter's steps matter: more than 5 %.
func (r *statRun) short(moves time.Duration) bool { return r.length < 20*moves }

// write prints the report for people.
func (r *statReport) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n noether stat: %s\n\n", quoted(r.argv))
	if len(r.runs) == 1 {
		r.one(&b, &r.runs[0])
	} else {
		r.many(&b)
	}
	last := &r.runs[len(r.runs)-1]
	fmt.Fprintf(&b, "\n   energy from %s; CPU time from %s; the command's share %s\n", r.sensor, r.usage, last.how)
	for _, n := range r.notes() {
		fmt.Fprintf(&b, "   note: %s\n", n)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *statReport) one(b *strings.Builder, run *statRun) {
	fmt.Fprintf(b, "   %-10s %14s %14s   %s\n", "", "machine", "command", "quality")
	row := func(name string, total, own unit.Energy, rest string) {
		fmt.Fprintf(b, "   %-10s %12s J %12s J   %s\n", name, joulesText(total), joulesText(own), rest)
	}
	for c := range run.total {
		if !run.present[c] {
			continue
		}
		row(energy.Component(c).String(), run.total[c], run.own[c], run.quality[c].String())
	}
	total, own := run.sum(&run.total), run.sum(&run.own)
	row("sum", total, own, percent(own, total))
	if run.banded {
		low, high := run.sum(&run.low), run.sum(&run.high)
		row("at least", low, scaled(own, low, total), "")
		row("at most", high, scaled(own, high, total), "")
	}
	fmt.Fprintf(b, "   %-10s %12.2f W %12.2f W\n", "mean power", total.Over(run.length).Watts(), own.Over(run.elapsed).Watts())
	fmt.Fprintf(b, "   %-10s %12.3f s %12.3f s\n", "CPU time", run.busy.Seconds(), run.ownCPU.Seconds())
	fmt.Fprintf(b, "   %-10s %12.3f s %12.3f s\n", "time", run.length.Seconds(), run.elapsed.Seconds())
	r.emission(b, &run.footprint)
}

func (r *statReport) many(b *strings.Builder) {
	fmt.Fprintf(b, "   %d runs %22s %12s %12s %12s\n", len(r.runs), "mean", "± deviation", "least", "most")
	for _, f := range r.figures() {
		s, scale := r.spread(f), 1.0
		if f.unit == "g" {
			scale, f.unit = massUnit(s.Mean)
		}
		fmt.Fprintf(b, "   %-18s %12s %12s %12s %12s %s\n", f.label, short(s.Mean*scale), short(s.Deviation*scale), short(s.Min*scale), short(s.Max*scale), f.unit)
	}
	fmt.Fprintf(b, "   quality: %s\n", r.runs[0].worst())
	last := &r.runs[len(r.runs)-1].footprint
	for p, label := range [snapshot.Phases]string{snapshot.Operational: "CO2e", snapshot.Embodied: "embodied"} {
		if last.knows(snapshot.Phase(p)) {
			fmt.Fprintf(b, "   %s: %s\n", label, last.origin(snapshot.Phase(p)))
		}
	}
}

// notes are what the reader should know about the figures.
func (r *statReport) notes() []string {
	notes := slices.Clone(r.sensorNotes)
	for i := range r.runs {
		run := &r.runs[i]
		if run.short(r.moves) {
			span := "only a few updates of the meter"
			if run.elapsed < r.moves {
				span = "shorter than one update of the meter"
			}
			notes = append(notes, fmt.Sprintf("the command ran %s, %s, which come every %s: ± %s J; -r N averages over several runs",
				run.elapsed.Round(10*time.Microsecond), span, r.moves, joulesText(run.doubt(r.moves))))
			break
		}
		if run.length > run.elapsed+run.elapsed/10 && run.length > run.elapsed+time.Second/2 {
			notes = append(notes, fmt.Sprintf("the machine's figures are over %s, the agent's intervals around the command", run.length.Round(time.Millisecond)))
			break
		}
	}
	var absent []string
	for c := range r.runs[0].present {
		if !r.runs[0].present[c] {
			absent = append(absent, energy.Component(c).String())
		}
	}
	if len(absent) > 0 {
		notes = append(notes, "no sensor covers "+joined(absent))
	}
	return append(notes, r.runs[len(r.runs)-1].footprint.notes()...)
}

// figure is one number of a run, for means over runs and for JSON.
type figure struct {
	name, label, unit string
	of                func(*statRun) float64
}

func figures() []figure {
	return []figure{
		{"machine_joules", "machine", "J", func(r *statRun) float64 { return r.sum(&r.total).Joules() }},
		{"command_joules", "command", "J", func(r *statRun) float64 { return r.sum(&r.own).Joules() }},
		{"machine_watts", "machine, mean", "W", func(r *statRun) float64 { return r.sum(&r.total).Over(r.length).Watts() }},
		{"command_watts", "command, mean", "W", func(r *statRun) float64 { return r.sum(&r.own).Over(r.elapsed).Watts() }},
		{"command_cpu_seconds", "command, CPU time", "s", func(r *statRun) float64 { return r.ownCPU.Seconds() }},
		{"command_seconds", "command, time", "s", func(r *statRun) float64 { return r.elapsed.Seconds() }},
	}
}

// figures returns what all the runs have.
func (r *statReport) figures() []figure {
	list := figures()
	for p := range snapshot.Phase(snapshot.Phases) {
		if !slices.ContainsFunc(r.runs, func(run statRun) bool { return !run.footprint.knows(p) }) {
			list = append(list, emitted(p)...)
		}
	}
	return list
}

// emitted returns the figures of the grams of a phase.
func emitted(p snapshot.Phase) []figure {
	label := "CO2e"
	if p == snapshot.Embodied {
		label = "embodied"
	}
	return []figure{
		{"machine_" + p.String() + "_grams", "machine, " + label, "g", func(r *statRun) float64 { return r.footprint.machine[p].Grams() }},
		{"command_" + p.String() + "_grams", "command, " + label, "g", func(r *statRun) float64 { return r.footprint.own[p].Grams() }},
	}
}

// spread is what several runs say together; the deviation is that of a sample.
type spread struct {
	Mean      float64 `json:"mean"`
	Deviation float64 `json:"deviation"`
	Min       float64 `json:"min"`
	Max       float64 `json:"max"`
}

func (r *statReport) spread(f figure) *spread {
	n := float64(len(r.runs))
	s := &spread{Min: math.Inf(1), Max: math.Inf(-1)}
	for i := range r.runs {
		v := f.of(&r.runs[i])
		s.Mean += v / n
		s.Min, s.Max = min(s.Min, v), max(s.Max, v)
	}
	if n > 1 {
		var squares float64
		for i := range r.runs {
			d := f.of(&r.runs[i]) - s.Mean
			squares += d * d
		}
		s.Deviation = math.Sqrt(squares / (n - 1))
	}
	return s
}

// writeJSON prints one line for each run and, of several, one for all.
func (r *statReport) writeJSON(w io.Writer) error {
	type part struct {
		Component string  `json:"component"`
		Quality   string  `json:"quality"`
		Machine   float64 `json:"machine_joules"`
		Command   float64 `json:"command_joules"`
		Low       float64 `json:"machine_low_joules"`
		High      float64 `json:"machine_high_joules"`
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range r.runs {
		run := &r.runs[i]
		line := map[string]any{
			"command": r.argv, "run": i + 1, "exit_code": run.exit,
			"quality": run.worst().String(), "sensor": r.sensor, "usage": r.usage, "share": run.how,
			"window_seconds": run.length.Seconds(), "machine_busy_seconds": run.busy.Seconds(),
			"doubt_joules": run.doubt(r.moves).Joules(),
		}
		for _, f := range figures() {
			line[f.name] = f.of(run)
		}
		for p := range snapshot.Phase(snapshot.Phases) {
			if run.footprint.knows(p) {
				for _, f := range emitted(p) {
					line[f.name] = f.of(run)
				}
			}
		}
		if run.footprint.site != nil {
			line["site"] = run.footprint.json()
		}
		if run.banded {
			low, high, total, own := run.sum(&run.low), run.sum(&run.high), run.sum(&run.total), run.sum(&run.own)
			line["machine_low_joules"], line["machine_high_joules"] = low.Joules(), high.Joules()
			line["command_low_joules"], line["command_high_joules"] = scaled(own, low, total).Joules(), scaled(own, high, total).Joules()
		}
		parts := []part{}
		for c := range run.total {
			if run.present[c] {
				parts = append(parts, part{
					energy.Component(c).String(), run.quality[c].String(),
					run.total[c].Joules(), run.own[c].Joules(), run.low[c].Joules(), run.high[c].Joules(),
				})
			}
		}
		line["components"] = parts
		if i == len(r.runs)-1 {
			line["notes"] = r.notes()
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	if len(r.runs) == 1 {
		return nil
	}
	summary := map[string]any{"runs": len(r.runs)}
	for _, f := range r.figures() {
		summary[f.name] = r.spread(f)
	}
	return enc.Encode(map[string]any{"command": r.argv, "summary": summary})
}

// scaled returns own at another value of the whole that it is part of.
func scaled(own, whole, of unit.Energy) unit.Energy {
	if own <= 0 || whole <= 0 || of <= 0 {
		return 0
	}
	return unit.Energy(unit.MulDiv(uint64(own), uint64(whole), uint64(of)))
}

func percent(part, whole unit.Energy) string {
	if whole <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %% is the command's", 100*float64(part)/float64(whole))
}

// joulesText keeps as many digits as mean something.
func joulesText(e unit.Energy) string { return short(e.Joules()) }

func short(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1000:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.2f", v)
	case a >= 0.01 || a == 0:
		return fmt.Sprintf("%.4f", v)
	default:
		return fmt.Sprintf("%.6f", v)
	}
}

// quoted shows a command as a shell would take it, cut to a line.
func quoted(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$&|;<>()*?[]#~`!") {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	line := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return '·'
		}
		return c
	}, strings.ToValidUTF8(strings.Join(words, " "), "·"))
	if len(line) > 120 {
		line = strings.ToValidUTF8(line[:120], "") + "…"
	}
	return line
}
