package impact

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"noether/internal/impact/value"
)

// Trace records what each plugin did to the observations of a run. Hand one to
// Options, read Steps afterwards; it must not be shared by runs.
type Trace struct {
	// Child limits the trace to one component and those below it: its name or
	// its dotted path ("shop.pod-1"). Empty traces all.
	Child string
	// Steps are the plugins' runs in the order of the tree and of the pipelines.
	Steps []Step
}

// Step is one run of one plugin at one component.
type Step struct {
	Path          []string // of the component
	Phase         string
	Plugin        string // its name in the manifest
	Method        string
	Before, After int // observations that went in and came out
	Changes       []Change
	// Dropped are parameters that every observation had before and none has after.
	Dropped []string
}

// Change is what a plugin did to one observation. Observations are matched by
// position; where their number changed only what came out is told.
type Change struct {
	Index     int
	Timestamp value.Value
	Fields    []FieldChange
}

// FieldChange is one parameter of an observation: added if Before is undefined,
// dropped if After is.
type FieldChange struct {
	Name, Unit    string
	Before, After value.Value
}

// wants reports whether a component is traced.
func (t *Trace) wants(n *node) bool {
	if t == nil {
		return false
	}
	if t.Child == "" {
		return true
	}
	dotted := strings.Join(n.path, ".")
	return dotted == t.Child || strings.HasPrefix(dotted, t.Child+".") || slices.Contains(n.path, t.Child)
}

// before copies rows that a plugin is about to change, if they are traced.
func (t *Trace) before(n *node, rows []*value.Object) []*value.Object {
	if !t.wants(n) {
		return nil
	}
	return value.CopyRows(rows, 0)
}

// record notes what a plugin made of the rows before.
func (r *run) record(n *node, phase string, in *instance, before, after []*value.Object) {
	if !r.o.Trace.wants(n) {
		return
	}
	s := Step{Path: n.path, Phase: phase, Plugin: in.d.Name, Method: in.method.Name, Before: len(before), After: len(after)}
	for i, row := range after {
		var old *value.Object
		if len(before) == len(after) {
			old = before[i]
		}
		c := Change{Index: i, Timestamp: row.Get(timestampKey)}
		for name, v := range row.All() {
			if was := old.Get(name); v.Kind() != value.Undefined && !value.Equal(was, v) {
				c.Fields = append(c.Fields, FieldChange{name, r.known[name].Unit, was, v})
			}
		}
		if old != nil {
			for name, was := range old.All() {
				if was.Kind() != value.Undefined && row.Get(name).Kind() == value.Undefined {
					c.Fields = append(c.Fields, FieldChange{name, r.known[name].Unit, was, value.Value{}})
				}
			}
		}
		s.Changes = append(s.Changes, c)
	}
	if len(after) > 0 {
		s.Dropped = dropped(before, after)
	}
	n.steps = append(n.steps, s)
}

// dropped lists the keys that all rows of before have and no row of after.
func dropped(before, after []*value.Object) []string {
	var out []string
	if len(before) == 0 {
		return nil
	}
	has := func(rows []*value.Object, key string) (all, some bool) {
		all = true
		for _, row := range rows {
			there := row.Get(key).Kind() != value.Undefined
			all, some = all && there, some || there
		}
		return all, some
	}
	for key := range before[0].All() {
		if all, _ := has(before, key); !all {
			continue
		}
		if _, some := has(after, key); !some {
			out = append(out, key)
		}
	}
	return out
}

// collect takes the steps of all nodes over in the order of the tree.
func (t *Trace) collect(root *node) {
	if t == nil {
		return
	}
	for _, n := range order(root, nil) {
		t.Steps = append(t.Steps, n.steps...)
		n.steps = nil
	}
}

// WriteText prints the trace, one line a parameter that was touched.
func (t *Trace) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, s := range t.Steps {
		fmt.Fprintf(&b, "%s  %s: %s (%s)", where(s.Path), s.Phase, s.Plugin, s.Method)
		if s.Before != s.After {
			fmt.Fprintf(&b, ", %d observations became %d", s.Before, s.After)
		}
		b.WriteByte('\n')
		for _, c := range s.Changes {
			for _, f := range c.Fields {
				fmt.Fprintf(&b, "  [%d] %s  ", c.Index, shown(c.Timestamp))
				unit := ""
				if f.Unit != "" {
					unit = " " + f.Unit
				}
				switch {
				case f.Before.Kind() == value.Undefined:
					fmt.Fprintf(&b, "+ %s = %s%s\n", f.Name, shown(f.After), unit)
				case f.After.Kind() == value.Undefined:
					fmt.Fprintf(&b, "- %s (was %s%s)\n", f.Name, shown(f.Before), unit)
				default:
					fmt.Fprintf(&b, "~ %s = %s%s (was %s)\n", f.Name, shown(f.After), unit, shown(f.Before))
				}
			}
		}
		if len(s.Dropped) > 0 {
			fmt.Fprintf(&b, "  warning: %s drops %s from every observation\n", s.Plugin, strings.Join(s.Dropped, ", "))
		}
		if b.Len() > 1<<16 {
			if _, err := io.WriteString(w, b.String()); err != nil {
				return err
			}
			b.Reset()
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func shown(v value.Value) string {
	if v.Kind() == value.Date {
		return v.ISO()
	}
	return v.String()
}
