// Package report tells people what is behind a score: the disclosure that
// ISO/IEC 21031:2024 asks for. It computes no score; it reads finished manifests.
package report

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// Disclosure is what a reader of a score must know. Everything the standard asks
// for and the manifest does not say is in Missing.
type Disclosure struct {
	Name        string      `json:"name"`
	Description string      `json:"description,omitempty"`
	Status      string      `json:"status"`
	Error       string      `json:"error,omitempty"`
	Score       *Score      `json:"score,omitempty"`
	Boundary    []string    `json:"software_boundary,omitempty"`
	Exclusions  []string    `json:"exclusions,omitempty"`
	Methodology string      `json:"methodology,omitempty"`
	Steps       []Step      `json:"calculation"`
	Factors     []Factor    `json:"conversion_factors,omitempty"`
	Sources     []Source    `json:"sources,omitempty"`
	Quality     []string    `json:"data_quality,omitempty"`
	Components  []Component `json:"components,omitempty"`
	Missing     []string    `json:"missing,omitempty"`
	Versions    [][2]string `json:"versions,omitempty"`
}

// Score is the SCI of the whole run: carbon per functional unit over its window.
type Score struct {
	SCI            float64  `json:"sci_grams"`
	FunctionalUnit string   `json:"functional_unit"`
	Units          float64  `json:"functional_units"`
	Carbon         float64  `json:"carbon_grams"`
	Operational    *float64 `json:"carbon_operational_grams,omitempty"`
	Embodied       *float64 `json:"carbon_embodied_grams,omitempty"`
	Energy         *float64 `json:"energy_kwh,omitempty"`
	Start          string   `json:"start"`
	Duration       float64  `json:"duration_seconds"`
}

// Step is one plugin in the order in which it was used.
type Step struct {
	Plugin  string `json:"plugin"`
	Method  string `json:"method"`
	Summary string `json:"summary,omitempty"`
	Formula string `json:"formula,omitempty"`
	Source  string `json:"source,omitempty"`
}

// Factor is a number that the manifest or a data source contributed.
type Factor struct {
	Name  string `json:"name"`
	Value string `json:"value"` // a number, or a range where it differs between observations
	Unit  string `json:"unit,omitempty"`
	From  string `json:"from"` // where it was stated
}

// Source is where data came from.
type Source struct {
	What string `json:"what"`
	From string `json:"from"`
}

// Component is one node of the tree.
type Component struct {
	Path        string   `json:"path"`
	Energy      *float64 `json:"energy_kwh,omitempty"`
	Carbon      *float64 `json:"carbon_grams,omitempty"`
	Operational *float64 `json:"carbon_operational_grams,omitempty"`
	Embodied    *float64 `json:"carbon_embodied_grams,omitempty"`
	Units       *float64 `json:"functional_units,omitempty"`
	SCI         *float64 `json:"sci_grams,omitempty"`
	Error       string   `json:"error,omitempty"`
}

// New reads the disclosure out of an output manifest. Methods explains the
// plugins. What authors state stands in the manifest's disclosure block:
// boundary, exclusions, methodology, sources and quality; the boundary and
// methodology that a PrometheusPublisher is configured with count too.
func New(output value.Value, methods []plugin.Method) (*Disclosure, error) {
	m := output.Object()
	tree := m.Get("tree").Object()
	if tree == nil {
		return nil, errors.New("read the manifest: it has no tree")
	}
	d := &Disclosure{Name: m.Get("name").Str(), Description: m.Get("description").Str()}
	execution := m.Get("execution").Object()
	d.Status, d.Error = execution.Get("status").Str(), execution.Get("error").Str()
	d.Score = score(tree.Get("sci-period").Object())
	d.stated(m)
	r := reader{d: d, plugins: m.Get("initialize").Object().Get("plugins").Object(), methods: methods, errors: map[string]string{}}
	for _, e := range execution.Get("errors").Items() {
		r.errors[e.Object().Get("path").Str()] = e.Object().Get("error").Str()
	}
	r.tree(nil, tree, value.Value{})
	r.steps()
	r.observed()
	for k, v := range execution.Get("environment").Object().All() {
		d.Versions = append(d.Versions, [2]string{k, v.String()})
	}
	d.missing()
	return d, nil
}

func score(period *value.Object) *Score {
	if !period.Get("sci").IsNumber() {
		return nil
	}
	return &Score{
		SCI: period.Get("sci").Num(), FunctionalUnit: period.Get("functional-unit").Str(), Units: period.Get("units").Num(),
		Carbon: period.Get("carbon").Num(), Operational: number(period, "carbon-operational"), Embodied: number(period, "carbon-embodied"),
		Energy: number(period, "energy"), Start: text(period.Get("start")), Duration: period.Get("duration").Num(),
	}
}

// number returns a finite number of o, nil if there is none: JSON has no others.
func number(o *value.Object, key string) *float64 {
	v := o.Get(key)
	if !v.IsNumber() || v.Num()-v.Num() != 0 {
		return nil
	}
	f := v.Num()
	return &f
}

func text(v value.Value) string {
	if v.IsNullish() {
		return ""
	}
	if v.Kind() == value.Date {
		return v.ISO()
	}
	return v.String()
}

func texts(v value.Value) []string {
	if v.Kind() != value.Array {
		if s := text(v); s != "" {
			return []string{s}
		}
		return nil
	}
	var out []string
	for _, item := range v.Items() {
		out = append(out, text(item))
	}
	return out
}

// stated takes over what the author wrote.
func (d *Disclosure) stated(m *value.Object) {
	block := m.Get("disclosure").Object()
	d.Boundary, d.Exclusions, d.Quality = texts(block.Get("boundary")), texts(block.Get("exclusions")), texts(block.Get("quality"))
	d.Methodology = text(block.Get("methodology"))
	if sources := block.Get("sources"); sources.Object() != nil {
		for k, v := range sources.Object().All() {
			d.Sources = append(d.Sources, Source{k, text(v)})
		}
	} else {
		for _, s := range texts(sources) {
			d.Sources = append(d.Sources, Source{"stated", s})
		}
	}
	for _, p := range m.Get("initialize").Object().Get("plugins").Object().All() {
		o := p.Object()
		if o.Get("method").Str() != "PrometheusPublisher" {
			continue
		}
		config := o.Get("config").Object()
		if d.Boundary == nil {
			d.Boundary = texts(config.Get("boundary"))
		}
		d.Methodology = cmp.Or(d.Methodology, text(config.Get("methodology")))
	}
}

// missing lists what ISO/IEC 21031 requires in a report and the manifest does not give.
func (d *Disclosure) missing() {
	if d.Score == nil {
		d.Missing = append(d.Missing, "the score: no period SCI of the whole tree; it needs carbon, a Sci plugin in the pipeline and functional units above 0")
	}
	if d.Boundary == nil {
		d.Missing = append(d.Missing, "the software boundary: state it under disclosure.boundary")
	}
	if d.Methodology == "" && len(d.Steps) == 0 {
		d.Missing = append(d.Missing, "the calculation methodology: state it under disclosure.methodology")
	}
}

// reader walks a manifest.
type reader struct {
	d       *Disclosure
	plugins *value.Object
	methods []plugin.Method
	errors  map[string]string
	order   []string // plugins as they were used
	factors factors
	grades  []string
}

func (r *reader) tree(path []string, n *value.Object, pipeline value.Value) {
	if own := n.Get("pipeline"); own.Truthy() {
		pipeline = own
	}
	name := "tree"
	if len(path) > 0 {
		name += ".children." + strings.Join(path, ".children.")
	}
	period, total := n.Get("sci-period").Object(), n.Get("aggregated").Object()
	c := Component{Path: name, Error: r.errors[name]}
	for _, f := range []struct {
		to   **float64
		keys []string
	}{
		{&c.Energy, []string{"energy"}},
		{&c.Carbon, []string{"carbon"}},
		{&c.Operational, []string{"carbon-operational", "operational-carbon"}},
		{&c.Embodied, []string{"carbon-embodied", "embodied-carbon"}},
		{&c.Units, []string{"units"}},
		{&c.SCI, []string{"sci"}},
	} {
		for _, key := range f.keys {
			*f.to = cmp.Or(*f.to, number(period, key), number(total, key))
		}
		if *f.to == nil && f.keys[0] != "sci" && f.keys[0] != "units" {
			*f.to = sum(n.Get("outputs").Items(), f.keys)
		}
	}
	r.d.Components = append(r.d.Components, c)
	for k, v := range n.Get("defaults").Object().All() {
		if v.IsNumber() {
			r.factors.add(k, v.Num(), name+".defaults")
		}
	}
	children := n.Get("children").Object()
	if children == nil {
		for _, phase := range []string{"observe", "compute"} {
			for _, p := range pipeline.Object().Get(phase).Items() {
				if !slices.Contains(r.order, p.Str()) {
					r.order = append(r.order, p.Str())
				}
			}
		}
		r.rows(n.Get("outputs").Items())
	}
	for k, child := range children.All() {
		if o := child.Object(); o != nil {
			r.tree(append(slices.Clone(path), k), o, pipeline)
		}
	}
}

// sum adds up the first of the keys that the rows have; nil if they have none.
func sum(rows []value.Value, keys []string) *float64 {
	for _, key := range keys {
		field, total, n := value.Field{Name: key}, 0.0, 0
		for _, row := range rows {
			if o := row.Object(); o != nil {
				if v := field.Get(o); v.IsNumber() {
					total += v.Num()
					n++
				}
			}
		}
		if n > 0 && total-total == 0 {
			return &total
		}
	}
	return nil
}

// observations is where a factor was stated that came with the data.
const observations = "observations"

// rows notes the range of carbon intensities and how good the data say that they are.
func (r *reader) rows(rows []value.Value) {
	intensity, quality := value.Field{Name: "grid/carbon-intensity"}, value.Field{Name: "quality"}
	for _, row := range rows {
		o := row.Object()
		if o == nil {
			continue
		}
		if v := intensity.Get(o); v.IsNumber() {
			r.factors.add(intensity.Name, v.Num(), observations)
		}
		if v := quality.Get(o); v.IsString() && !slices.Contains(r.grades, v.Str()) {
			r.grades = append(r.grades, v.Str())
		}
	}
}

// observed adds what the data say of themselves.
func (r *reader) observed() {
	for _, g := range r.grades {
		r.d.Quality = append(r.d.Quality, "energy is "+g+", as the observations say")
	}
	for i, f := range r.factors {
		if f.from == observations && slices.ContainsFunc(r.factors[:i], func(g span) bool { return g.name == f.name && g.low == f.low && g.high == f.high }) {
			continue // the rows have it from the defaults
		}
		shown := value.FormatNumber(f.low)
		if f.high > f.low {
			shown += " to " + value.FormatNumber(f.high)
		}
		r.d.Factors = append(r.d.Factors, Factor{f.name, shown, r.unit(f.name), f.from})
	}
}

// unit returns what is known of a parameter's unit.
func (r *reader) unit(name string) string {
	for _, p := range r.plugins.All() {
		for _, side := range []string{"inputs", "outputs"} {
			if u := p.Object().Get("parameter-metadata").Object().Get(side).Object().Get(name).Object().Get("unit"); u.Str() != "" {
				return u.Str()
			}
		}
	}
	for i := range r.methods {
		for _, p := range slices.Concat(r.methods[i].Inputs, r.methods[i].Outputs) {
			if p.Name == name && p.Unit != "" {
				return p.Unit
			}
		}
	}
	if name == "grid/carbon-intensity" {
		return "gCO2e/kWh"
	}
	return ""
}

// steps lists the plugins as they were used, with their formulas, constants and sources.
func (r *reader) steps() {
	for _, name := range r.order {
		p := r.plugins.Get(name).Object()
		config := p.Get("config").Object()
		s := Step{Plugin: name, Method: p.Get("method").Str()}
		if m := r.method(s.Method); m != nil {
			s.Summary = m.Summary
			if m.Formula != nil {
				f, ok := m.Formula(config, output(m, config))
				if ok {
					s.Formula, s.Source = f.Text, f.Source
				}
			}
		}
		r.d.Steps = append(r.d.Steps, s)
		for k, v := range config.All() {
			at := "initialize.plugins." + name + ".config"
			if v.IsNumber() {
				r.factors.add(k+" of "+name, v.Num(), at)
			}
			if k == "filepath" || k == "url" || k == "prometheus-endpoint" || k == "endpoint" {
				r.d.Sources = append(r.d.Sources, Source{name, text(v)})
			}
		}
	}
}

func (r *reader) method(name string) *plugin.Method {
	for i := range r.methods {
		if m := &r.methods[i]; m.Name == name || slices.Contains(m.Aliases, name) {
			return m
		}
	}
	return nil
}

// output returns the parameter that a method makes by its configuration.
func output(m *plugin.Method, config *value.Object) string {
	for _, key := range []string{"output-parameter", "output", "to"} {
		if v := config.Get(key); v.IsString() {
			return v.Str()
		}
	}
	if len(m.Outputs) > 0 {
		return m.Outputs[0].Name
	}
	return ""
}

// factors are numbers by name and place, with their range.
type factors []span

type span struct {
	name, from string
	low, high  float64
}

func (f *factors) add(name string, v float64, from string) {
	for i := range *f {
		if s := &(*f)[i]; s.name == name && s.from == from {
			s.low, s.high = math.Min(s.low, v), math.Max(s.high, v)
			return
		}
	}
	*f = append(*f, span{name, from, v, v})
}

// amount prints a number for people, with six significant digits.
func amount(f *float64) string {
	if f == nil {
		return ""
	}
	return strconv.FormatFloat(*f, 'g', 6, 64)
}
