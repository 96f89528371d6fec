package impact

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// run is one execution of a manifest.
type run struct {
	*manifest
	o         *Options
	dialect   plugin.Dialect
	all       bool // no phase was chosen: all run
	ordered   []*instance
	plugins   map[string]*instance
	known     map[string]plugin.Parameter // what the plugins' metadata say about each parameter
	explained explained
	// declares tells the parameters of known that the manifest itself describes.
	declares map[string]bool
}

// instance is a plugin of this run.
type instance struct {
	d      *plugin.Declaration
	method *plugin.Method
	plugin plugin.Plugin
}

func newRun(m *manifest, o *Options, all bool) (*run, error) {
	r := &run{
		manifest: m, o: o, dialect: o.Env.Dialect, all: all,
		plugins: make(map[string]*instance, len(m.declarations)), known: map[string]plugin.Parameter{}, declares: map[string]bool{},
	}
	r.explained = explained{wanted: m.explain, strict: r.dialect.MetadataAgrees, seen: map[string]said{}}
	for _, d := range m.declarations {
		method, err := resolve(o, d)
		if err != nil {
			return nil, err
		}
		p, err := method.New(o.Env, d, method)
		if err != nil {
			return nil, err
		}
		in := &instance{d, method, p}
		r.ordered = append(r.ordered, in)
		r.plugins[d.Name] = in
		if err := r.learn(in); err != nil {
			return nil, err
		}
	}
	return r, r.checkMetrics()
}

// learn takes over what a plugin says about its parameters. The last plugin's
// word holds, unless plugins must agree: then the manifest's own word goes
// before a method's, and two different words of the same rank are an error.
func (r *run) learn(in *instance) error {
	m := in.plugin.Metadata()
	own := slices.Concat(in.d.Metadata.Inputs, in.d.Metadata.Outputs)
	for _, p := range slices.Concat(m.Inputs, m.Outputs) {
		before, ok := r.known[p.Name]
		declared := slices.Contains(own, p)
		if ok && r.dialect.MetadataAgrees {
			if r.declares[p.Name] && !declared {
				continue
			}
			if r.declares[p.Name] == declared && (before.Time != p.Time || before.Component != p.Component) {
				return differs(p.Name, "'aggregation-method'", "right 'aggregation-method'")
			}
		}
		r.known[p.Name], r.declares[p.Name] = p, declared
	}
	return nil
}

func differs(parameter, what, use string) error {
	return fault.New(fault.ManifestValidation, "Your manifest uses two instances of `%s` with different %s. Please check that you are using %s for `%s` throughout your manifest.", parameter, what, use, parameter)
}

// node is one node of the tree during a run. While leaves run, a node belongs
// to the one goroutine that runs it.
type node struct {
	out       *value.Object // the node as it will be printed
	path      []string
	group     []string // names on the path since the last node with a pipeline of its own
	inherited inherited
	grouping  bool
	children  []*node
	component *plugin.Component
	regrouped bool        // made by regrouping: it neither observes nor regroups again
	stale     bool        // a group of earlier outputs without new inputs
	used      []*instance // plugins that ran here, in order
	steps     []Step      // what the trace keeps of them
	broken    error       // why it cannot run
	unread    error       // why its outputs cannot be aggregated
}

// inherited is what a node takes from its nearest ancestor or itself, as a whole.
type inherited struct{ pipeline, config, defaults value.Value }

// plan copies the tree as far as a run changes it and returns its root.
func (r *run) plan() (*node, error) {
	root := &node{out: r.tree.Copy(3), component: &plugin.Component{}}
	return root, r.adopt(root)
}

// adopt gives n what it inherits and its children.
func (r *run) adopt(n *node) error {
	if own := n.out.Get("pipeline"); own.Truthy() {
		n.inherited.pipeline, n.group = own, nil
		if err := r.checkPipeline(n, own); err != nil {
			return err
		}
	}
	if own := n.out.Get("config"); own.Truthy() {
		n.inherited.config = own
		r.warnNodeConfig(n, own)
	}
	if own := n.out.Get("defaults"); own.Truthy() {
		n.inherited.defaults = own
	}
	children := n.out.Get("children")
	if !children.Truthy() {
		return nil
	}
	from := children.Object()
	if from == nil && !r.dialect.MapsOnly && len(children.Items()) == 0 && !children.IsString() {
		n.adoptive(0)
		return nil
	}
	if from == nil {
		return fault.New(fault.Type, "%s.children is %s: write a map of components", where(n.path), children.Kind())
	}
	to := from.Copy(0)
	n.out.Set("children", to.Value())
	n.adoptive(from.Len())
	for i := range from.Len() {
		name := from.Key(i)
		child := from.ValueAt(i).Object()
		if child == nil {
			c := n.child(name, value.NewObject(0))
			c.broken = fault.New(fault.Type, "%s is %s: write a map", where(c.path), from.ValueAt(i).Kind())
			continue
		}
		c := n.child(name, child.Copy(3))
		to.SetAt(i, c.out.Value())
		if err := r.adopt(c); err != nil {
			return err
		}
	}
	return nil
}

// adoptive makes n a grouping node of size children.
func (n *node) adoptive(size int) {
	n.grouping = true
	n.children = make([]*node, 0, size)
	n.component.Children = make([]*plugin.Component, 0, size)
}

// child adds a child to n that will be printed as out.
func (n *node) child(name string, out *value.Object) *node {
	c := &node{out: out, path: extend(n.path, name), group: extend(n.group, name), inherited: n.inherited}
	c.component = &plugin.Component{Path: c.path}
	n.children = append(n.children, c)
	n.component.Children = append(n.component.Children, c.component)
	return c
}

func extend(path []string, name string) []string {
	return append(append(make([]string, 0, len(path)+1), path...), name)
}

// each calls f for every node below and with n, children first and in order.
func (n *node) each(f func(*node)) {
	for _, c := range n.children {
		c.each(f)
	}
	f(n)
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

// execute runs a planned tree to the end and returns its outcome.
func (r *run) execute(ctx context.Context, root *node) (*Outcome, error) {
	if err := r.compute(ctx, root); err != nil {
		return nil, err
	}
	if err := r.aggregate(root); err != nil {
		return nil, err
	}
	if err := r.explainUsed(root); err != nil {
		return nil, err
	}
	r.o.Trace.collect(root)
	out := r.output(root)
	outcome := &Outcome{Output: out.Value(), Result: &plugin.Result{Manifest: out, Root: root.component}, Failures: failures(root)}
	for _, in := range r.ordered {
		if f, ok := in.plugin.(plugin.Finisher); ok && !r.o.NoFinish {
			if err := f.Finish(ctx, outcome.Result); err != nil {
				outcome.Failures = append(outcome.Failures, Failure{"initialize.plugins." + in.d.Name, err})
			}
		}
	}
	if len(outcome.Failures) > 0 {
		outcome.Err = outcome.Failures[0].Err
		out.Set("execution", failedExecution(r.o, outcome.Err, outcome.Failures).Value())
	}
	return outcome, nil
}

// failures lists the components that failed on their own account, in tree order.
func failures(root *node) []Failure {
	var out []Failure
	root.each(func(n *node) {
		if err := n.component.Err; err != nil && !errors.Is(err, errIncomplete) {
			out = append(out, Failure{where(n.path), err})
		}
	})
	return out
}

// output builds the manifest to print.
func (r *run) output(root *node) *value.Object {
	out := value.NewObject(r.fields.Len() + 2)
	for k, v := range r.fields.All() {
		switch k {
		case "execution":
		case "tree":
			e := value.NewObject(3)
			e.Set("command", value.Text(r.o.Command))
			if r.o.Environment != nil {
				e.Set("environment", r.o.Environment.Value())
			}
			e.Set("status", value.Text("success"))
			out.Set("execution", e.Value())
			if block := r.explained.block(); block != nil {
				out.Set("explain", block.Value())
			}
			out.Set(k, root.out.Value())
		default:
			out.Set(k, v)
		}
	}
	return out
}

func (r *run) warn(n *node, format string, args ...any) {
	r.o.Env.Warn("%s: %s", where(n.path), fmt.Sprintf(format, args...))
}

// parameter tells what the plugins of the run say about a name, or else what
// everybody knows about it.
func (r *run) parameter(name string) (plugin.Parameter, bool) {
	p, ok := r.known[name]
	if !ok && r.dialect.KnownMetrics {
		return plugin.WellKnown(name)
	}
	return p, ok
}
