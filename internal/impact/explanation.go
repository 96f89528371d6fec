package impact

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// Explanation tells how one number of an output manifest came about, back to
// what the manifest or a source outside gave.
type Explanation struct {
	Path  string
	Value value.Value
	Steps []ExplainedStep // the number itself first, then what it was made of
}

// ExplainedStep is one parameter at one place.
type ExplainedStep struct {
	Path    string // "tree.children.shop.outputs[3].carbon"
	Value   value.Value
	Unit    string // "" where nothing tells
	Origin  Origin
	Plugin  string // its name in the manifest; "" unless a plugin made the value
	Method  string
	Formula string // "energy × grid/carbon-intensity"
	Source  string // standard, paper or data set of method and constants
	Inputs  []ExplainedInput
	// More is the number of inputs that are not listed.
	More int
}

// ExplainedInput is one operand of a formula.
type ExplainedInput struct {
	Path  string
	Value value.Value
	Unit  string
}

// Origin tells where a value comes from.
type Origin string

// The origins.
const (
	FromPlugin     Origin = "plugin"
	FromInputs     Origin = "inputs"      // an observation of the manifest
	FromDefaults   Origin = "defaults"    // of the component or one above it
	FromTime       Origin = "time"        // aggregated over the rows of one component
	FromComponents Origin = "components"  // aggregated over sibling components
	FromPeriod     Origin = "period"      // of the whole period, ISO/IEC 21031
	FromOutside    Origin = "unexplained" // a plugin made it that says no formula, such as one that reads a source outside
)

// maxListed is how many operands of an aggregation are listed.
const maxListed = 20

// Explain tells how the number at path of an output manifest came about. Paths
// are those of the manifest: tree.children.shop.outputs[3].sci,
// tree.aggregated.carbon, tree.sci-period.sci.
func Explain(manifest *value.Object, methods []plugin.Method, path string) (*Explanation, error) {
	e := &explainer{known: map[string]plugin.Parameter{}, plugins: map[string]*instance{}, seen: map[string]bool{}}
	for name, entry := range manifest.Get("initialize").Object().Get("plugins").Object().All() {
		d := declaration(name, entry.Object())
		for i := range methods {
			m := &methods[i]
			if m.Name == d.Method || slices.Contains(m.Aliases, d.Method) {
				e.plugins[name] = &instance{d: d, method: m}
				e.learn(m.Inputs, m.Outputs)
				break
			}
		}
		e.learn(d.Metadata.Inputs, d.Metadata.Outputs)
	}
	p, err := e.find(manifest, path)
	if err != nil {
		return nil, err
	}
	e.explain(p)
	return &Explanation{Path: path, Value: e.steps[0].Value, Steps: e.steps}, nil
}

type explainer struct {
	known   map[string]plugin.Parameter
	plugins map[string]*instance
	seen    map[string]bool
	steps   []ExplainedStep
}

// parameter tells what the plugins say about a name, or else what everybody knows.
func (e *explainer) parameter(name string) plugin.Parameter {
	p, ok := e.known[name]
	if !ok {
		p, _ = plugin.WellKnown(name)
	}
	return p
}

func (e *explainer) learn(lists ...[]plugin.Parameter) {
	for _, p := range slices.Concat(lists...) {
		e.known[p.Name] = p
	}
}

// place is one parameter of one row or total of a node.
type place struct {
	node      *value.Object
	inherited inherited
	path      string // of the node
	part      string // outputs, inputs, aggregated, sci-period
	row       int
	name      string
	before    int // only plugins of the pipeline before this one count; -1: all
}

func (p place) at() *value.Object {
	if p.part == "outputs" || p.part == "inputs" {
		if items := p.node.Get(p.part).Items(); p.row < len(items) {
			return items[p.row].Object()
		}
		return nil
	}
	return p.node.Get(p.part).Object()
}

func (p place) String() string {
	if p.part == "outputs" || p.part == "inputs" {
		return fmt.Sprintf("%s.%s[%d].%s", p.path, p.part, p.row, p.name)
	}
	return p.path + "." + p.part + "." + p.name
}

// find reads a path.
func (e *explainer) find(manifest *value.Object, path string) (place, error) {
	rest, ok := strings.CutPrefix(path, "tree")
	p := place{node: manifest.Get("tree").Object(), path: "tree", before: -1}
	if !ok || p.node == nil {
		return p, fmt.Errorf("explain %q: a path begins with tree, such as tree.children.shop.outputs[0].sci", path)
	}
	p.inherit()
	for strings.HasPrefix(rest, ".children.") {
		rest = strings.TrimPrefix(rest, ".children.")
		children := p.node.Get("children").Object()
		name := ""
		for key := range children.All() {
			if strings.HasPrefix(rest, key) && len(key) > len(name) && (len(rest) == len(key) || rest[len(key)] == '.') {
				name = key
			}
		}
		if name == "" {
			return p, fmt.Errorf("explain %q: %s has no such child%s", path, p.path, suggestion(firstName(rest), keysOf(children)))
		}
		p.node, p.path, rest = children.Get(name).Object(), p.path+".children."+name, rest[len(name):]
		p.inherit()
	}
	rest = strings.TrimPrefix(rest, ".")
	part, name, ok := strings.Cut(rest, ".")
	if base, index, isRow := strings.Cut(part, "["); isRow {
		n, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if err != nil || n < 0 {
			return p, fmt.Errorf("explain %q: [%s is no position of a row", path, index)
		}
		part, p.row = base, n
	}
	p.part, p.name = part, name
	o := p.at()
	switch {
	case !ok:
		return p, fmt.Errorf("explain %q: the path ends without a parameter, such as .outputs[0].carbon", path)
	case o == nil:
		return p, fmt.Errorf("explain %q: %s has no %s there", path, p.path, rest[:len(rest)-len(name)-1])
	case !o.Has(name):
		return p, fmt.Errorf("explain %q: there is no %s%s; there are %s", path, name, suggestion(name, keysOf(o)), strings.Join(keysOf(o), ", "))
	}
	return p, nil
}

func (p *place) inherit() {
	if own := p.node.Get("pipeline"); own.Truthy() {
		p.inherited.pipeline = own
	}
	if own := p.node.Get("defaults"); own.Truthy() {
		p.inherited.defaults = own
	}
}

func firstName(s string) string {
	name, _, _ := strings.Cut(s, ".")
	return name
}

func keysOf(o *value.Object) []string {
	var out []string
	for key := range o.All() {
		out = append(out, key)
	}
	return out
}

func (e *explainer) input(p place) ExplainedInput {
	return ExplainedInput{Path: p.String(), Value: p.at().Get(p.name), Unit: e.parameter(p.name).Unit}
}

// explain appends the step of p and of what it was made of.
func (e *explainer) explain(p place) {
	key := p.String() + strconv.Itoa(p.before)
	if e.seen[key] {
		return
	}
	e.seen[key] = true
	s := ExplainedStep{Path: p.String(), Value: p.at().Get(p.name), Unit: e.parameter(p.name).Unit}
	children := p.node.Get("children").Object()
	var next []place
	switch {
	case p.part == periodKey:
		next = e.period(p, children, &s)
	case p.part == "aggregated":
		s.Origin, s.Formula = FromTime, folding(e.parameter(p.name).Time, "rows")
		for i := range p.node.Get("outputs").Items() {
			next = append(next, p.to("outputs", i, p.name))
		}
	case p.part == "outputs" && children.Len() > 0:
		s.Origin, s.Formula = FromComponents, folding(e.parameter(p.name).Component, "components")
		for name, child := range children.All() {
			c := p.child(name, child.Object())
			if c.row = c.sameTime(p.at()); c.row >= 0 && c.at().Has(p.name) {
				next = append(next, c)
			}
		}
	default:
		next = e.computed(p, &s)
	}
	for i, q := range next {
		if i == maxListed {
			s.More = len(next) - i
			break
		}
		s.Inputs = append(s.Inputs, e.input(q))
	}
	e.steps = append(e.steps, s)
	if s.Origin == FromTime || s.Origin == FromComponents {
		next = next[:min(1, len(next))] // the others are made alike
	}
	next = next[:min(maxListed, len(next))]
	for _, q := range next {
		e.explain(q)
	}
}

// to returns another parameter of the same node.
func (p place) to(part string, row int, name string) place {
	p.part, p.row, p.name, p.before = part, row, name, -1
	return p
}

// child returns the same parameter of a child.
func (p place) child(name string, node *value.Object) place {
	p.node, p.path, p.before = node, p.path+".children."+name, -1
	p.inherit()
	return p
}

// sameTime returns the row of p's part that begins when row does, -1 if none.
func (p place) sameTime(row *value.Object) int {
	want, ok := instant(row.Get(timestampKey))
	for i, item := range p.node.Get(p.part).Items() {
		if at, same := instant(item.Object().Get(timestampKey)); ok && same && at == want {
			return i
		}
	}
	return -1
}

func folding(method plugin.Aggregation, over string) string {
	switch method {
	case plugin.Sum:
		return "sum of the " + over
	case plugin.Avg:
		return "mean of the " + over
	case plugin.None, plugin.Copy:
	}
	return "last of the " + over
}

// period explains a figure of a node's whole period.
func (e *explainer) period(p place, children *value.Object, s *ExplainedStep) []place {
	s.Origin, s.Source = FromPeriod, "ISO/IEC 21031:2024: carbon and functional units of the same period"
	unit := p.at().Get("functional-unit").Str()
	switch p.name {
	case "sci":
		s.Formula, s.Unit = "carbon ÷ units of the whole period", "gCO2e/"+unit
		return []place{p.to(p.part, 0, "carbon"), p.to(p.part, 0, "units")}
	case "units":
		s.Formula, s.Unit = unit+" of the period, each time slot counted once", unit
		return nil
	}
	s.Formula = "sum over the period"
	return p.parts(children)
}

// parts lists what a sum over p's period is made of: the periods of children,
// or the rows of components that have none.
func (p place) parts(children *value.Object) []place {
	var out []place
	for name, child := range children.All() {
		c := p.child(name, child.Object())
		if c.at().Has(p.name) {
			out = append(out, c)
			continue
		}
		out = append(out, c.parts(c.node.Get("children").Object())...)
	}
	if children.Len() > 0 {
		return out
	}
	for i, item := range p.node.Get("outputs").Items() {
		if item.Object().Has(p.name) {
			out = append(out, p.to("outputs", i, p.name))
		}
	}
	return out
}

// computed explains a parameter of a leaf's row: by the last plugin of the
// pipeline that makes it, or as given.
func (e *explainer) computed(p place, s *ExplainedStep) []place {
	var names []string
	for _, phase := range [...]string{"observe", "compute"} {
		for _, name := range p.inherited.pipeline.Object().Get(phase).Items() {
			names = append(names, name.String())
		}
	}
	if p.before >= 0 {
		names = names[:p.before]
	}
	if p.part == "inputs" {
		names = nil
	}
	for i, name := range slices.Backward(names) {
		in := e.plugins[name]
		if in == nil || in.method.Formula == nil {
			continue
		}
		own := in.unmapped(p.name)
		if own == "" {
			continue
		}
		f, ok := in.method.Formula(in.config(), own)
		if !ok {
			continue
		}
		s.Origin, s.Plugin, s.Method, s.Formula, s.Source = FromPlugin, name, in.method.Name, f.Text, f.Source
		if f.Unit != "" && s.Unit == "" {
			s.Unit = f.Unit
		}
		var next []place
		for _, name := range f.Inputs {
			q := p
			if q.name, q.before = in.mapped(name), i; q.at().Has(q.name) {
				next = append(next, q)
			}
		}
		return next
	}
	s.Origin = FromOutside
	given := p
	given.part = "inputs"
	if i := given.sameTime(p.at()); i >= 0 {
		given.row = i
	}
	defaults := p.inherited.defaults.Object()
	switch {
	case defaults.Has(p.name) && value.Equal(defaults.Get(p.name), s.Value):
		s.Origin = FromDefaults
	case given.at().Has(p.name):
		s.Origin = FromInputs
	}
	return nil
}

// unmapped returns the plugin's name of a manifest's parameter, "" for one that
// it calls otherwise.
func (in *instance) unmapped(name string) string {
	for own, manifest := range in.d.Mapping.All() {
		if manifest.Str() == name {
			return own
		}
	}
	if in.d.Mapping.Has(name) {
		return ""
	}
	return name
}

// config returns the plugin's configuration with the manifest's names in it.
func (in *instance) config() *value.Object {
	if in.d.Config == nil {
		return value.NewObject(0)
	}
	out := in.d.Config.Copy(0)
	for i := range out.Len() {
		if v := out.ValueAt(i); v.IsString() {
			out.SetAt(i, value.Text(in.mapped(v.Str())))
		}
	}
	return out
}
