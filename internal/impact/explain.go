package impact

import (
	"slices"

	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// explanations builds the explain block: the metadata of every plugin that ran,
// in the order of their first runs. It is nil unless asked for.
func (r *run) explanations(root *node) (*value.Object, error) {
	if !r.explain {
		return nil, nil
	}
	out := value.NewObject(len(r.ordered))
	seen := map[string]plugin.Parameter{}
	done := map[*instance]bool{}
	var failed error
	for _, n := range order(root, nil) {
		for _, in := range n.used {
			if done[in] || failed != nil {
				continue
			}
			done[in] = true
			m := in.plugin.Metadata()
			for _, p := range slices.Concat(m.Inputs, m.Outputs) {
				if failed = agrees(seen, p); failed != nil {
					return nil, failed
				}
			}
			o := value.NewObject(2)
			for _, side := range []struct {
				name string
				ps   []plugin.Parameter
				own  []plugin.Parameter
			}{{"inputs", m.Inputs, in.d.Metadata.Inputs}, {"outputs", m.Outputs, in.d.Metadata.Outputs}} {
				if len(side.ps) == 0 {
					r.o.Env.Warn("explain: the %s of plugin %s have no metadata", side.name, in.d.Name)
					continue
				}
				o.Set(side.name, describe(side.ps, side.own).Value())
			}
			if o.Len() > 0 {
				out.Set(in.d.Name, o.Value())
			}
		}
	}
	return out, nil
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
func agrees(seen map[string]plugin.Parameter, p plugin.Parameter) error {
	before, ok := seen[p.Name]
	switch {
	case !ok:
		seen[p.Name] = p
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
