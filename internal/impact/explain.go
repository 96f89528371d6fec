package impact

import (
	"slices"

	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// explained gathers the explain block.
type explained struct {
	wanted bool
	strict bool // a plugin must agree with itself, too
	seen   map[string]said
	done   []*instance // the plugins that ran, in order
}

// said is what was first said of a parameter, and by whom.
type said struct {
	plugin.Parameter
	by *instance
}

// note adds a plugin that ran to the block. Two plugins that give a parameter
// different units or methods are an error.
func (e *explained) note(in *instance, warn func(format string, args ...any)) error {
	if !e.wanted || slices.Contains(e.done, in) {
		return nil
	}
	e.done = append(e.done, in)
	m := in.plugin.Metadata()
	for _, p := range slices.Concat(m.Inputs, m.Outputs) {
		if !e.strict { // what it says of an output holds for the input of that name
			if i := position(m.Outputs, p.Name); i >= 0 {
				p = m.Outputs[i]
			}
		}
		if err := e.agrees(in, p); err != nil {
			return err
		}
	}
	for _, side := range sides(in) {
		if len(side.ps) == 0 {
			warn("explain: the %s of plugin %s have no metadata", side.name, in.d.Name)
		}
	}
	return nil
}

// side is the inputs or the outputs of a plugin.
type side struct {
	name    string
	ps, own []plugin.Parameter // own are those that the manifest describes
}

func sides(in *instance) []side {
	m := in.plugin.Metadata()
	return []side{{"inputs", m.Inputs, in.d.Metadata.Inputs}, {"outputs", m.Outputs, in.d.Metadata.Outputs}}
}

// block returns the explain block, nil unless it was asked for.
func (e *explained) block() *value.Object {
	if !e.wanted {
		return nil
	}
	block := value.NewObject(len(e.done))
	for _, in := range e.done {
		o := value.NewObject(2)
		for _, side := range sides(in) {
			if len(side.ps) > 0 {
				o.Set(side.name, describe(side.ps, side.own).Value())
			}
		}
		if o.Len() > 0 {
			block.Set(in.d.Name, o.Value())
		}
	}
	return block
}

func position(ps []plugin.Parameter, name string) int {
	return slices.IndexFunc(ps, func(p plugin.Parameter) bool { return p.Name == name })
}

// setTime is plugin.Node.SetTime.
func (r *run) setTime(name string, method plugin.Aggregation) {
	p, ok := r.known[name]
	if !ok {
		return
	}
	p.Time = method
	r.known[name] = p
	for _, in := range slices.Backward(r.ordered) {
		for _, side := range slices.Backward(sides(in)) {
			if position(side.ps, name) < 0 {
				continue
			}
			if at := position(side.own, name); at >= 0 {
				side.own[at].Time = method
				printed := r.fields.Get("initialize").Object().Get("plugins").Object().Get(in.d.Name).Object()
				for _, key := range [...]string{"parameter-metadata", side.name, name, "aggregation-method"} {
					printed = printed.Get(key).Object()
				}
				printed.Set("time", value.Text(string(method)))
			}
			if before := r.explained.seen[name]; before.by == in {
				before.Time = method
				r.explained.seen[name] = before
			}
			return
		}
	}
}

// explainUsed notes the plugins of all nodes in the order of a sequential run.
func (r *run) explainUsed(root *node) error {
	for _, n := range order(root, nil) {
		for _, in := range n.used {
			if err := r.explained.note(in, r.o.Env.Warn); err != nil {
				return err
			}
		}
	}
	return nil
}

// order lists nodes parents first, as a sequential run meets them.
func order(n *node, dst []*node) []*node {
	dst = append(dst, n)
	for _, c := range n.children {
		dst = order(c, dst)
	}
	return dst
}

// agrees checks a parameter against what was said of it before.
func (e *explained) agrees(in *instance, p plugin.Parameter) error {
	before, ok := e.seen[p.Name]
	switch {
	case !ok:
		e.seen[p.Name] = said{p, in}
	case before.Unit != p.Unit:
		return differs(p.Name, "units", "consistent units")
	case before.Time != p.Time || before.Component != p.Component:
		return differs(p.Name, "'aggregation-method'", "right 'aggregation-method'")
	}
	return nil
}

// describe prints parameters: those of the manifest with the unit first, a
// method's own with the description first.
func describe(ps, own []plugin.Parameter) *value.Object {
	out := value.NewObject(len(ps))
	for _, p := range ps {
		o := value.NewObject(3)
		if !slices.Contains(own, p) {
			o.Set("description", value.Text(p.Description))
		}
		o.Set("unit", value.Text(p.Unit))
		o.Set("description", value.Text(p.Description))
		method := value.NewObject(2)
		method.Set("time", value.Text(string(p.Time)))
		method.Set("component", value.Text(string(p.Component)))
		o.Set("aggregation-method", method.Value())
		out.Set(p.Name, o.Value())
	}
	return out
}
