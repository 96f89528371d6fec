package impact

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// where names a node as manifests do: tree.children.shop.
func where(path []string) string {
	if len(path) == 0 {
		return "tree"
	}
	return "tree.children." + strings.Join(path, ".children.")
}

// compute runs the phases of all leaves, one after the other or, where the
// dialect allows it, on all cores. The order of the output is the tree's either way.
func (r *run) compute(ctx context.Context, root *node) error {
	p := &progress{report: r.o.Progress}
	wave := root.leaves(nil)
	p.add(len(wave))
	if !r.dialect.Parallel {
		return r.sequence(ctx, wave, p)
	}
	for len(wave) > 0 {
		if err := r.crowd(ctx, wave, p); err != nil {
			return err
		}
		var next []*node
		for _, n := range wave {
			if n.grouping {
				next = n.leaves(next)
			}
		}
		p.add(len(next))
		wave = next
	}
	return nil
}

// sequence runs leaves in order; groups that a leaf falls into follow it at once.
func (r *run) sequence(ctx context.Context, wave []*node, p *progress) error {
	for _, n := range wave {
		if err := r.attempt(ctx, n); err != nil {
			return err
		}
		if n.grouping {
			groups := n.leaves(nil)
			p.add(len(groups))
			if err := r.sequence(ctx, groups, p); err != nil {
				return err
			}
		}
		p.finish()
	}
	return nil
}

// crowd runs leaves on all cores and returns the first error in their order.
func (r *run) crowd(ctx context.Context, wave []*node, p *progress) error {
	workers := min(runtime.GOMAXPROCS(0), len(wave))
	errs := make([]error, len(wave))
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				errs[i] = r.attempt(ctx, wave[i])
				p.finish()
			}
		})
	}
	for i := range wave {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// attempt runs a leaf. Where a failed component fails alone its error stays
// with it; an interrupted run fails as a whole.
func (r *run) attempt(ctx context.Context, n *node) error {
	err := ctx.Err()
	if err == nil {
		err = r.leaf(ctx, n)
	}
	if err == nil || !r.dialect.KeepComputed || ctx.Err() != nil {
		return err
	}
	n.component.Err = err
	return nil
}

// progress counts finished components.
type progress struct {
	report      func(done, total int)
	mu          sync.Mutex
	done, total int
}

func (p *progress) add(n int) {
	p.mu.Lock()
	p.total += n
	p.mu.Unlock()
}

func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if p.report != nil {
		p.report(p.done, p.total)
	}
}

// leaf runs the phases of one component.
func (r *run) leaf(ctx context.Context, n *node) error {
	if n.broken != nil {
		return n.broken
	}
	p := n.inherited.pipeline.Object()
	if p.Len() == 0 {
		r.warn(n, "no phase of a pipeline (observe, regroup, compute) holds here: nothing is computed")
		return nil
	}
	defaults, compute := n.inherited.defaults.Object(), p.Get("compute")
	if given := n.inherited.defaults; defaults == nil && given.Truthy() && !r.dialect.MapsOnly {
		defaults = rawObject(given) // the keys that ECMAScript finds in it
	}
	rows, err := objects(n, "inputs", r.dialect.MapsOnly || defaults.Len() > 0)
	if err != nil {
		return err
	}
	withDefaults := !r.o.Observe || r.all || r.dialect.DefaultsAlways
	owned := false // whether rows are this function's alone
	if observe := p.Get("observe"); r.o.Observe && observe.Truthy() {
		if !n.regrouped {
			if rows, err = r.phase(ctx, n, "observe", observe, rows, false, nil); err != nil {
				return err
			}
		}
		merged := merge(rows, defaults, 0)
		n.out.Set("inputs", value.Rows(merged))
		if withDefaults {
			rows = merged
		}
	} else if withDefaults && defaults.Len() > 0 {
		rows, owned = merge(rows, defaults, len(compute.Items())+spareKeys), true
	}
	var old []value.Value
	if r.o.Append {
		old = n.out.Get("outputs").Items()
	}
	if by := p.Get("regroup"); r.o.Regroup && !n.regrouped && by.Truthy() {
		done, err := r.regroup(n, by, rows, old)
		if err != nil || done {
			return err
		}
	}
	if !r.o.Compute || !compute.Truthy() || n.stale {
		return nil
	}
	given := len(compute.Items()) > 0
	if rows, err = r.phase(ctx, n, "compute", compute, rows, owned, defaults); err != nil {
		return err
	}
	switch {
	case given:
		n.out.Set("outputs", value.List(appendRows(old, rows)))
	case r.o.Append && !r.dialect.AppendNewGroups: // the reference adds what there is to itself
		n.out.Set("outputs", value.List(slices.Concat(old, old)))
	}
	return nil
}

// phase runs the plugins of one phase on rows, which it may change if they are
// owned. Where a plugin makes rows out of nothing, defaults are merged into them.
func (r *run) phase(ctx context.Context, n *node, phase string, names value.Value, rows []*value.Object, owned bool, defaults *value.Object) ([]*value.Object, error) {
	if names.Kind() != value.Array {
		return nil, fault.New(fault.Type, "%s: pipeline.%s is %s: write a list of plugins", where(n.path), phase, names.Kind())
	}
	if !owned {
		rows = value.CopyRows(rows, len(names.Items())+spareKeys)
	}
	for _, item := range names.Items() {
		name := item.String()
		in := r.plugins[name]
		if in == nil {
			return nil, r.notInitialized(name)
		}
		n.used = append(n.used, in)
		empty := len(rows) == 0
		before := r.o.Trace.before(n, rows)
		var err error
		at := &plugin.Node{Path: n.path, Config: n.inherited.config.Object().Get(name).Object(), Aggregation: r.parameter}
		if !r.dialect.Parallel {
			at.SetTime = r.setTime
		}
		rows, err = in.plugin.Execute(ctx, rows, at)
		if err != nil {
			return nil, err
		}
		if !r.dialect.Parallel {
			if err := r.explained.note(in, r.o.Env.Warn); err != nil {
				return nil, err
			}
		}
		if empty && defaults != nil {
			rows = merge(rows, defaults, len(names.Items())+spareKeys)
		}
		r.record(n, phase, in, before, rows)
	}
	return rows, nil
}

// spareKeys is the room that rows get beyond one key for each plugin.
const spareKeys = 2

// objects returns the rows of a node under key. What is no map is an error, or
// with mapsOnly false the keys that ECMAScript finds in it.
func objects(n *node, key string, mapsOnly bool) ([]*value.Object, error) {
	v := n.out.Get(key)
	if !v.Truthy() {
		return nil, nil
	}
	if v.Kind() != value.Array {
		return nil, fault.New(fault.Type, "%s.%s is %s: write a list of observations", where(n.path), key, v.Kind())
	}
	rows := make([]*value.Object, len(v.Items()))
	for i, item := range v.Items() {
		if rows[i] = item.Object(); rows[i] == nil && !mapsOnly && !item.IsNullish() {
			rows[i] = rawObject(item)
		}
		if rows[i] == nil {
			return nil, fault.New(fault.Type, "%s.%s[%d] is %s: write a map of parameters", where(n.path), key, i, item.Kind())
		}
	}
	return rows, nil
}

// merge returns rows with the defaults that they lack: absent, null and
// undefined parameters get them. It does not change rows; if there are defaults
// it returns copies with room for spare more keys.
func merge(rows []*value.Object, defaults *value.Object, spare int) []*value.Object {
	if defaults.Len() == 0 || len(rows) == 0 {
		return rows
	}
	out := value.CopyRows(rows, defaults.Len()+spare)
	fields := make([]value.Field, defaults.Len())
	for i := range fields {
		fields[i].Name = defaults.Key(i)
	}
	for _, row := range out {
		for i := range fields {
			if at := fields[i].Find(row); at < 0 {
				row.Set(fields[i].Name, defaults.ValueAt(i))
			} else if row.ValueAt(at).IsNullish() {
				row.SetAt(at, defaults.ValueAt(i))
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
