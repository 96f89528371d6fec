package impact

import (
	"slices"

	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// explained gathers the explain block.
type explained struct {
	block *value.Object // nil unless asked for
	seen  map[string]plugin.Parameter
	done  map[*instance]bool
}

// note adds the metadata of a plugin that ran to the block. Two plugins that
// give a parameter different units or methods are an error.
func (e *explained) note(in *instance, warn func(format string, args ...any)) error {
	if e.block == nil || e.done[in] {
		return nil
	}
	e.done[in] = true
	m := in.plugin.Metadata()
	for _, p := range slices.Concat(m.Inputs, m.Outputs) {
		if err := e.agrees(p); err != nil {
			return err
		}
	}
	o := value.NewObject(2)
	for _, side := range []struct {
		name    string
		ps, own []plugin.Parameter
	}{{"inputs", m.Inputs, in.d.Metadata.Inputs}, {"outputs", m.Outputs, in.d.Metadata.Outputs}} {
		if len(side.ps) == 0 {
			warn("explain: the %s of plugin %s have no metadata", side.name, in.d.Name)
			continue
		}
		o.Set(side.name, describe(side.ps, side.own).Value())
	}
	if o.Len() > 0 {
		e.block.Set(in.d.Name, o.Value())
	}
	return nil
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
func (e *explained) agrees(p plugin.Parameter) error {
	before, ok := e.seen[p.Name]
	switch {
	case !ok:
		e.seen[p.Name] = p
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
