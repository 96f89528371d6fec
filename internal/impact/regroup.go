package impact

import (
	"noether/internal/impact/fault"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// regroup moves the rows of n into children named by the values of the keys by,
// and outputs of an earlier run with them. It does nothing, and done is false,
// where the rows are grouped so already.
func (r *run) regroup(n *node, by value.Value, rows []*value.Object, old []value.Value) (done bool, err error) {
	keys, err := groupKeys(by)
	if err != nil {
		return false, err
	}
	if grouped(rows, keys, n.group) {
		return false, nil
	}
	groups := &branch{}
	for _, row := range rows {
		b, err := groups.place(row, keys)
		if err != nil {
			return false, err
		}
		b.inputs = append(b.inputs, row.Value())
	}
	for _, item := range old {
		if item.Object() == nil {
			return false, fault.New(fault.Type, "%s.outputs holds %s: write a map of parameters", where(n.path), item.Kind())
		}
		b, err := groups.place(item.Object(), keys)
		if err != nil {
			return false, err
		}
		b.outputs = append(b.outputs, item)
	}
	n.out.Delete("inputs")
	n.out.Delete("outputs")
	if groups.names != nil {
		r.grow(n, groups)
	}
	return true, nil
}

// branch is a group of rows or of further groups.
type branch struct {
	inputs, outputs []value.Value
	names           *value.Object // name → position in below, in the order of keys of an object
	below           []*branch
}

// place finds or makes the group of row.
func (b *branch) place(row *value.Object, keys []string) (*branch, error) {
	for _, key := range keys {
		v := row.Get(key)
		if !v.Truthy() {
			return nil, fault.New(fault.InvalidGrouping, "Invalid group %s.", key)
		}
		if b.names == nil {
			b.names = value.NewObject(1)
		}
		name := v.String()
		at := b.names.Find(name)
		if at < 0 {
			b.names.Set(name, value.Of(float64(len(b.below))))
			b.below = append(b.below, &branch{})
			at = b.names.Find(name)
		}
		b = b.below[int(b.names.ValueAt(at).Num())]
	}
	return b, nil
}

// grow gives n the groups as children.
func (r *run) grow(n *node, groups *branch) {
	children := value.NewObject(len(groups.below))
	n.adoptive(len(groups.below))
	for name, at := range groups.names.All() {
		b := groups.below[int(at.Num())]
		out := value.NewObject(3)
		children.Set(name, out.Value())
		c := n.child(name, out)
		c.regrouped = true
		if b.names != nil {
			r.grow(c, b)
			continue
		}
		c.stale = r.dialect.AppendNewGroups && len(b.inputs) == 0
		if len(b.inputs) > 0 {
			out.Set("inputs", value.List(b.inputs))
		}
		if len(b.outputs) > 0 {
			out.Set("outputs", value.List(b.outputs))
		}
	}
	n.out.Set("children", children.Value())
}

// groupKeys checks the keys to group by.
func groupKeys(by value.Value) ([]string, error) {
	_, issues := schema.ArrayOf(schema.Text(), 1).Parse(by, []string{"regroup"})
	if issues == nil {
		return texts(by), nil
	}
	if by.Kind() != value.Array {
		issues[0].Text = "not an array or should contain at least one key"
	}
	return nil, &fault.Error{Class: fault.InputValidation, Message: schema.Message(issues, schema.NoIndex)}
}

// grouped reports whether every row has the last names of path as its keys' values.
func grouped(rows []*value.Object, keys, path []string) bool {
	if len(path) < len(keys) {
		return false
	}
	path = path[len(path)-len(keys):]
	for _, row := range rows {
		for i, key := range keys {
			if v := row.Get(key); !v.IsString() || v.Str() != path[i] {
				return false
			}
		}
	}
	return true
}
