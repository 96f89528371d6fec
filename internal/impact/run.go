package impact

import (
	"context"
	"strconv"
	"strings"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// run is one execution of a manifest.
type run struct {
	*manifest
	o       *Options
	dialect plugin.Dialect
	all     bool // no phase was chosen: all run
	plugins map[string]*instance
	known   knowledge
	used    []*instance // plugins that ran, in the order of their first run (sequential runs only)
}

// instance is a plugin of this run.
type instance struct {
	d      *plugin.Declaration
	method *plugin.Method
	plugin plugin.Plugin
	order  int // in initialize.plugins
}

func newRun(m *manifest, o *Options, all bool) (*run, error) {
	r := &run{manifest: m, o: o, dialect: o.Env.Dialect, all: all, plugins: make(map[string]*instance, len(m.declarations))}
	for i, d := range m.declarations {
		method, err := resolve(o, d)
		if err != nil {
			return nil, err
		}
		p, err := method.New(o.Env, d, method)
		if err != nil {
			return nil, err
		}
		in := &instance{d, method, p, i}
		r.plugins[d.Name] = in
		if err := r.known.register(in, r.dialect.MetadataAgrees); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// node is one node of the tree during a run.
type node struct {
	out       *value.Object // the node as it will be printed
	path      []string
	group     []string // names on the path since the last node with a pipeline of its own
	inherited inherited
	grouping  bool
	children  []*node
	component *plugin.Component
	old       []value.Value // outputs of an earlier run, to append to
	regrouped bool          // made by regrouping: it computes, and neither observes nor regroups
	err       error
}

// inherited is what a node takes from its nearest ancestor or itself, as a whole.
type inherited struct{ pipeline, config, defaults value.Value }

// where names a node as manifests do: tree.children.shop.
func where(path []string) string {
	if len(path) == 0 {
		return "tree"
	}
	return "tree.children." + strings.Join(path, ".children.")
}

// plan copies the tree as far as a run changes it and returns its root.
func (r *run) plan() (*node, error) {
	root := &node{out: r.tree.Copy(3), component: &plugin.Component{}}
	if err := r.adopt(root); err != nil {
		return nil, err
	}
	return root, nil
}

// adopt gives n what it inherits and its children.
func (r *run) adopt(n *node) error {
	if own := n.out.Get("pipeline"); own.Truthy() {
		n.inherited.pipeline, n.group = own, nil
	}
	if own := n.out.Get("config"); own.Truthy() {
		n.inherited.config = own
	}
	if own := n.out.Get("defaults"); own.Truthy() {
		n.inherited.defaults = own
	}
	n.component.Path = n.path
	children := n.out.Get("children")
	if !children.Truthy() {
		return nil
	}
	n.grouping = true
	from := children.Object()
	if from == nil {
		return fault.New(fault.Type, "%s.children is %s: write a map of components", where(n.path), children.Kind())
	}
	to := from.Copy(0)
	n.out.Set("children", to.Value())
	n.children = make([]*node, 0, from.Len())
	n.component.Children = make([]*plugin.Component, 0, from.Len())
	for i := range from.Len() {
		name := from.Key(i)
		child := from.ValueAt(i).Object()
		if child == nil {
			return fault.New(fault.Type, "%s is %s: write a map", where(append(n.path, name)), from.ValueAt(i).Kind())
		}
		c := n.child(name, child.Copy(3))
		to.SetAt(i, c.out.Value())
		if err := r.adopt(c); err != nil {
			return err
		}
	}
	return nil
}

// child adds a child to n that will be printed as out.
func (n *node) child(name string, out *value.Object) *node {
	c := &node{
		out: out, path: extend(n.path, name), group: extend(n.group, name),
		inherited: n.inherited, component: &plugin.Component{},
	}
	c.component.Path = c.path
	n.children = append(n.children, c)
	n.component.Children = append(n.component.Children, c.component)
	return c
}

func extend(path []string, name string) []string {
	return append(append(make([]string, 0, len(path)+1), path...), name)
}

// leaves appends the leaves below n in tree order.
func (n *node) leaves(dst []*node) []*node {
	if !n.grouping {
		return append(dst, n)
	}
	for _, c := range n.children {
		dst = c.leaves(dst)
	}
	return dst
}

// compute runs the phases over the whole tree.
func (r *run) compute(ctx context.Context, root *node) error {
	leaves := root.leaves(nil)
	for i, n := range leaves {
		if err := r.leaf(ctx, n); err != nil {
			return err
		}
		for _, c := range n.leaves(nil) {
			if c == n {
				continue
			}
			if err := r.leaf(ctx, c); err != nil {
				return err
			}
		}
		if r.o.Progress != nil {
			r.o.Progress(i+1, len(leaves))
		}
	}
	return nil
}

// leaf runs the phases of one component.
func (r *run) leaf(ctx context.Context, n *node) error {
	rows, err := objects(n, "inputs")
	if err != nil {
		return err
	}
	observe, regroup, compute, ok, err := r.phases(n)
	if err != nil || !ok {
		return err
	}
	defaults := n.inherited.defaults.Object()
	if r.o.Observe && observe != nil && !n.regrouped {
		if rows, err = r.phase(ctx, n, observe, rows, nil); err != nil {
			return err
		}
		n.out.Set("inputs", value.Rows(rows))
		rows = merge(rows, defaults)
		n.out.Set("inputs", value.Rows(rows))
	}
	if !r.o.Observe || r.all || r.dialect.DefaultsAlways {
		rows = merge(rows, defaults)
	}
	if r.o.Append {
		n.old = n.out.Get("outputs").Items()
	}
	if r.o.Regroup && !n.regrouped && regroup.Truthy() {
		done, err := r.regroup(n, regroup, rows)
		if err != nil || done {
			return err
		}
	}
	if !r.o.Compute || compute == nil {
		return nil
	}
	rows, err = r.phase(ctx, n, compute, rows, defaults)
	if err != nil {
		return err
	}
	n.component.Rows = rows
	n.out.Set("outputs", value.List(appendRows(n.old, rows)))
	return nil
}

// phase runs the plugins of one phase on rows.
func (r *run) phase(ctx context.Context, n *node, names []value.Value, rows []*value.Object, defaults *value.Object) ([]*value.Object, error) {
	for i, name := range names {
		in := r.plugins[name.String()]
		if in == nil {
			return nil, fault.New(fault.PluginInitialization, "Not initalized plugin: %s. Check if %s is in 'manifest.initalize.plugins'.", name, name)
		}
		r.use(in)
		empty := len(rows) == 0
		if i == 0 {
			rows = value.CopyRows(rows, len(names)+2)
		}
		var err error
		rows, err = in.plugin.Execute(ctx, rows, &plugin.Node{Path: n.path, Config: n.inherited.config.Object().Get(name.String()).Object()})
		if err != nil {
			return nil, err
		}
		if empty && defaults != nil {
			rows = merge(rows, defaults)
		}
	}
	return rows, nil
}

// use remembers that a plugin ran, for the explain block.
func (r *run) use(in *instance) {
	for _, u := range r.used {
		if u == in {
			return
		}
	}
	r.used = append(r.used, in)
}

// phases reads the pipeline of n; ok is false where there is nothing to run.
func (r *run) phases(n *node) (observe []value.Value, regroup value.Value, compute []value.Value, ok bool, err error) {
	p := n.inherited.pipeline.Object()
	if p.Len() == 0 {
		r.o.Env.Warn("%s: the pipeline has no phases (observe, regroup, compute): nothing is computed", where(n.path))
		return nil, value.Value{}, nil, false, nil
	}
	if observe, err = list(n, p, "observe"); err != nil {
		return nil, value.Value{}, nil, false, err
	}
	if compute, err = list(n, p, "compute"); err != nil {
		return nil, value.Value{}, nil, false, err
	}
	return observe, p.Get("regroup"), compute, true, nil
}

func list(n *node, p *value.Object, phase string) ([]value.Value, error) {
	v := p.Get(phase)
	switch {
	case !v.Truthy():
		return nil, nil
	case v.Kind() != value.Array:
		return nil, fault.New(fault.Type, "%s: pipeline.%s is %s: write a list of plugins", where(n.path), phase, v.Kind())
	case v.Items() == nil:
		return []value.Value{}, nil
	}
	return v.Items(), nil
}

// objects returns the rows of a node under key.
func objects(n *node, key string) ([]*value.Object, error) {
	v := n.out.Get(key)
	if !v.Truthy() {
		return nil, nil
	}
	if v.Kind() != value.Array {
		return nil, fault.New(fault.Type, "%s.%s is %s: write a list of observations", where(n.path), key, v.Kind())
	}
	rows := make([]*value.Object, len(v.Items()))
	for i, item := range v.Items() {
		if rows[i] = item.Object(); rows[i] == nil {
			return nil, fault.New(fault.Type, "%s.%s[%s] is %s: write a map of parameters", where(n.path), key, strconv.Itoa(i), item.Kind())
		}
	}
	return rows, nil
}

// merge returns rows with the defaults that they lack: absent, null and
// undefined parameters get them. Rows that lack nothing stay as they are.
func merge(rows []*value.Object, defaults *value.Object) []*value.Object {
	if defaults.Len() == 0 || len(rows) == 0 {
		return rows
	}
	out := value.CopyRows(rows, defaults.Len())
	for _, row := range out {
		for k, v := range defaults.All() {
			if row.Get(k).IsNullish() {
				row.Set(k, v)
			}
		}
	}
	return out
}

func appendRows(old []value.Value, rows []*value.Object) []value.Value {
	out := make([]value.Value, 0, len(old)+len(rows))
	out = append(out, old...)
	for _, row := range rows {
		out = append(out, row.Value())
	}
	return out
}
