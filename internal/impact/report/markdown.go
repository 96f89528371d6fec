package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// JSON writes the disclosure as one indented object.
func (d *Disclosure) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(d)
}

// Markdown writes the disclosure for people, headed by the three things that
// ISO/IEC 21031 requires: score, software boundary, methodology.
func (d *Disclosure) Markdown(w io.Writer) error {
	p := &page{}
	p.say("# SCI disclosure: %s\n", plain(cmp.Or(d.Name, "unnamed")))
	if d.Description != "" {
		p.say("%s\n", plain(d.Description))
	}
	if d.Status == "fail" {
		p.say("**The run failed, so these figures are not complete:** %s\n", plain(d.Error))
	}
	d.scoreSection(p)
	p.say("## Software boundary\n")
	p.list(d.Boundary, "not stated")
	if d.Exclusions != nil {
		p.say("Left out:\n")
		p.list(d.Exclusions, "")
	}
	d.methodSection(p)
	if d.Factors != nil {
		p.say("## Conversion factors\n")
		rows := make([][]string, len(d.Factors))
		for i, f := range d.Factors {
			rows[i] = []string{f.Name, f.Value, f.Unit, f.From}
		}
		p.table([]string{"factor", "value", "unit", "stated in"}, rows)
	}
	if d.Sources != nil || d.Quality != nil {
		p.say("## Data\n")
		var lines []string
		for _, s := range d.Sources {
			lines = append(lines, s.What+": "+s.From)
		}
		p.list(append(lines, d.Quality...), "")
	}
	d.componentSection(p)
	if d.Missing != nil {
		p.say("## Missing from this disclosure\n")
		p.list(d.Missing, "")
	}
	if d.Versions != nil {
		p.say("## Made with\n")
		rows := make([][]string, len(d.Versions))
		for i, v := range d.Versions {
			rows[i] = v[:]
		}
		p.table([]string{"", ""}, rows)
	}
	_, err := io.WriteString(w, strings.TrimRight(p.String(), "\n")+"\n")
	return err
}

func (d *Disclosure) scoreSection(p *page) {
	p.say("## Score\n")
	s := d.Score
	if s == nil {
		p.say("none\n")
		return
	}
	p.say("**%s gCO2e per %s**\n", amount(&s.SCI), plain(s.FunctionalUnit))
	p.say("SCI = (operational + embodied carbon) ÷ functional units, both of the whole window (ISO/IEC 21031:2024).\n")
	window := s.Start
	if window != "" {
		window = fmt.Sprintf("from %s for %s s", s.Start, amount(&s.Duration))
	}
	rows := [][]string{{"window", window, ""}, {"carbon", amount(&s.Carbon), "gCO2e"}}
	for _, r := range []struct {
		name string
		v    *float64
		unit string
	}{{"of it operational", s.Operational, "gCO2e"}, {"of it embodied", s.Embodied, "gCO2e"}, {"energy", s.Energy, "kWh"}, {"functional units", &s.Units, s.FunctionalUnit}} {
		if r.v != nil {
			rows = append(rows, []string{r.name, amount(r.v), r.unit})
		}
	}
	p.table([]string{"", "value", "unit"}, rows)
}

func (d *Disclosure) methodSection(p *page) {
	p.say("## Calculation methodology\n")
	if d.Methodology != "" {
		p.say("%s\n", plain(d.Methodology))
	}
	rows := make([][]string, len(d.Steps))
	for i, s := range d.Steps {
		rows[i] = []string{strconv.Itoa(i + 1), s.Plugin, s.Method, cmp.Or(s.Formula, s.Summary), s.Source}
	}
	if len(rows) > 0 {
		p.table([]string{"step", "plugin", "method", "what it computes", "source"}, rows)
	}
}

func (d *Disclosure) componentSection(p *page) {
	columns := []struct {
		head string
		of   func(c *Component) string
	}{
		{"component", func(c *Component) string { return c.Path }},
		{"energy kWh", func(c *Component) string { return amount(c.Energy) }},
		{"operational g", func(c *Component) string { return amount(c.Operational) }},
		{"embodied g", func(c *Component) string { return amount(c.Embodied) }},
		{"carbon g", func(c *Component) string { return amount(c.Carbon) }},
		{"functional units", func(c *Component) string { return amount(c.Units) }},
		{"SCI g", func(c *Component) string { return amount(c.SCI) }},
		{"error", func(c *Component) string { return c.Error }},
	}
	var head []string
	rows := make([][]string, len(d.Components))
	for _, col := range columns {
		used := false
		for i := range d.Components {
			used = used || col.of(&d.Components[i]) != ""
		}
		if !used {
			continue
		}
		head = append(head, col.head)
		for i := range d.Components {
			rows[i] = append(rows[i], col.of(&d.Components[i]))
		}
	}
	if len(head) > 1 {
		p.say("## Components\n")
		p.table(head, rows)
	}
}

// page is a Markdown text.
type page struct{ strings.Builder }

func (p *page) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p, format+"\n", args...) // memory takes everything
}

func (p *page) list(items []string, empty string) {
	if len(items) == 0 {
		if empty != "" {
			p.say("%s\n", empty)
		}
		return
	}
	for _, item := range items {
		p.say("- %s", plain(item))
	}
	p.say("")
}

func (p *page) table(head []string, rows [][]string) {
	p.say("| %s |", strings.Join(head, " | "))
	p.say("|%s", strings.Repeat("---|", len(head)))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = strings.ReplaceAll(plain(c), "|", "\\|")
		}
		p.say("| %s |", strings.Join(cells, " | "))
	}
	p.say("")
}

// plain keeps text of a manifest from being markup: it comes from strangers.
func plain(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.NewReplacer("<", "&lt;", "`", "'", "[", "\\[", "]", "\\]", "*", "\\*", "_", "\\_").Replace(s)
}
