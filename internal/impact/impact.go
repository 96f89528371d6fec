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
	"strconv"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// Options says how to run a manifest.
type Options struct {
	Env     *plugin.Env
	Methods []plugin.Method
	// Instead tells what to use in place of a plugin that is not there, as a
	// clause for the error, or "". May be nil.
	Instead func(path, method string) string
	// The phases to run; none set means all three.
	Observe, Regroup, Compute bool
	// Append keeps the outputs that the manifest already has and adds the new
	// ones after them.
	Append bool
	// NoFinish leaves out what plugins do after the run: nothing is published,
	// and nothing said of it.
	NoFinish bool
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
	// Failures are the components that failed alone, in tree order, and the
	// plugins that could not finish, as far as Err is about parts of a run.
	Failures []Failure
}

// Failure is one part of a run that failed while others went on.
type Failure struct {
	Path string // "tree.children.shop", "initialize.plugins.publish"
	Err  error
}

// Run executes a manifest. It does not change manifest, with one exception that
// the reference's dialect asks for: lists in a plugin's config may be sorted in
// place by the plugin. The output shares values with the manifest.
func Run(ctx context.Context, manifest value.Value, o Options) *Outcome {
	o.Env = o.Env.ForRun()
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
	out, err := r.execute(ctx, root)
	if err != nil {
		return failure(raw, &o, err)
	}
	return out
}

// rawObject returns the keys of a manifest as ECMAScript's spread gives them:
// text and lists have their positions as keys, other things none.
func rawObject(v value.Value) *value.Object {
	if v.Kind() == value.Map {
		return v.Object()
	}
	o := value.NewObject(0)
	items := v.Items()
	for _, c := range v.Str() {
		items = append(items, value.Text(string(c)))
	}
	for i, item := range items {
		o.Set(strconv.Itoa(i), item)
	}
	return o
}

// failure builds the outcome of a run that computed nothing: the manifest as
// it was given, with the tree last, and why.
func failure(raw *value.Object, o *Options, err error) *Outcome {
	out := raw.Copy(1)
	tree := out.Get("tree")
	out.Delete("tree")
	out.Set("execution", failedExecution(o, err, nil).Value())
	if tree.Kind() != value.Undefined {
		out.Set("tree", tree)
	}
	return &Outcome{Output: out.Value(), Err: err}
}

func failedExecution(o *Options, err error, parts []Failure) *value.Object {
	e := value.NewObject(5)
	e.Set("status", value.Text("fail"))
	e.Set("command", value.Text(o.Command))
	if o.Environment != nil {
		e.Set("environment", o.Environment.Value())
	}
	e.Set("error", value.Text(errorText(err)))
	if len(parts) > 0 {
		list := make([]value.Value, len(parts))
		for i, p := range parts {
			one := value.NewObject(2)
			one.Set("path", value.Text(p.Path))
			one.Set("error", value.Text(errorText(p.Err)))
			list[i] = one.Value()
		}
		e.Set("errors", value.List(list))
	}
	return e
}

// errorText prints an error as the execution block has it: with its class.
func errorText(err error) string {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err.Error()
	}
	return "Error: " + err.Error()
}
