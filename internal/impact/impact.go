// Package impact runs manifests of the Impact Framework: it checks a manifest,
// makes its plugins, walks its tree through the phases observe, regroup and
// compute, aggregates, explains, and builds the output manifest.
//
// Where the framework's own engine gives wrong answers, plugin.Dialect decides
// whether they are given too. The package reads no files, writes none and knows
// no plugin: the table of methods is handed in.
package impact

import (
	"context"
	"errors"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// Options says how to run a manifest.
type Options struct {
	Env     *plugin.Env
	Methods []plugin.Method
	// The phases to run; none set means all three.
	Observe, Regroup, Compute bool
	// Append keeps the outputs that the manifest already has and adds the new
	// ones after them.
	Append bool
	// Explain writes the explain block as the manifest's explainer key does.
	Explain bool
	// Command and Environment are printed in the execution block. A nil
	// Environment is left out.
	Command     string
	Environment *value.Object
	// Trace records what each plugin does to each observation; nil records nothing.
	Trace *Trace
	// Progress is called after each component with the number of components
	// that are finished and known so far, never by two goroutines at once. May be nil.
	Progress func(done, total int)
}

// Outcome is what came of a run.
type Outcome struct {
	// Output is the manifest to write, with its execution block, after a failure too.
	Output value.Value
	// Err is why the run failed, a *fault.Error where the failure has a class; nil on success.
	Err error
	// Result is the finished tree, for reports and explanations. It is nil if
	// the run failed before the tree was computed.
	Result *plugin.Result
}

// Run executes a manifest. It does not change manifest, with one exception that
// the reference's dialect asks for: lists in a plugin's config may be sorted in
// place by the plugin. The output shares values with the manifest.
func Run(ctx context.Context, manifest value.Value, o Options) *Outcome {
	all := !o.Observe && !o.Regroup && !o.Compute
	if all {
		o.Observe, o.Regroup, o.Compute = true, true, true
	}
	raw := rawObject(manifest)
	m, err := parseManifest(raw, &o)
	if err != nil {
		return failure(raw, &o, err)
	}
	r, err := newRun(m, &o, all)
	if err != nil {
		return failure(raw, &o, err)
	}
	root, err := r.plan()
	if err != nil {
		return failure(raw, &o, err)
	}
	if err := r.compute(ctx, root); err != nil {
		return failure(raw, &o, err)
	}
	return r.finish(root)
}

// finish builds the outcome of a run that computed its tree.
func (r *run) finish(root *node) *Outcome {
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
			out.Set(k, root.out.Value())
		default:
			out.Set(k, v)
		}
	}
	return &Outcome{Output: out.Value(), Result: &plugin.Result{Manifest: out, Root: root.component}}
}

// rawObject returns the keys of a manifest as ECMAScript's spread gives them:
// text and lists have their positions as keys, other things none.
func rawObject(v value.Value) *value.Object {
	switch v.Kind() {
	case value.Map:
		return v.Object()
	case value.String:
		o := value.NewObject(0)
		for i, c := range []rune(v.Str()) {
			o.Set(value.FormatNumber(float64(i)), value.Text(string(c)))
		}
		return o
	case value.Array:
		o := value.NewObject(0)
		for i, item := range v.Items() {
			o.Set(value.FormatNumber(float64(i)), item)
		}
		return o
	}
	return value.NewObject(0)
}

// failure builds the outcome of a run that computed nothing: the manifest as
// it was given and why.
func failure(raw *value.Object, o *Options, err error) *Outcome {
	out := raw.Copy(1)
	out.Set("execution", failedExecution(o, err).Value())
	return &Outcome{Output: out.Value(), Err: err}
}

func failedExecution(o *Options, err error) *value.Object {
	e := value.NewObject(5)
	e.Set("status", value.Text("fail"))
	e.Set("command", value.Text(o.Command))
	if o.Environment != nil {
		e.Set("environment", o.Environment.Value())
	}
	e.Set("error", value.Text(errorText(err)))
	return e
}

// errorText prints an error as the execution block has it: with its class.
func errorText(err error) string {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err.Error()
	}
	return "Error: " + err.Error()
}
