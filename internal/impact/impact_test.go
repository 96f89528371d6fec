package impact

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/fault"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// double is a method that writes twice the parameter config.of to config.to.
type double struct {
	d        *plugin.Declaration
	finished *[]string
}

func (p double) Execute(_ context.Context, rows []*value.Object, _ *plugin.Node) ([]*value.Object, error) {
	of, to := p.d.Config.Get("of").Str(), p.d.Config.Get("to").Str()
	for i, row := range rows {
		v := row.Get(of)
		if !v.IsNumber() {
			return nil, fault.New(fault.InputValidation, "row %d has no %s", i, of)
		}
		row.Set(to, value.Of(2*v.Num()))
	}
	return rows, nil
}

func (p double) Metadata() plugin.Metadata { return p.d.Metadata }

func (p double) Finish(context.Context, *plugin.Result) error {
	if p.finished != nil {
		*p.finished = append(*p.finished, p.d.Name)
	}
	if p.d.Config.Get("to").Str() == "unfinished" {
		return errors.New("publish: no receiver")
	}
	return nil
}

// options returns the options of a run with two methods: Double, and Sci, which
// is Double under the name that the period looks for.
func options(dialect plugin.Dialect, warnings *[]string) Options {
	build := func(_ *plugin.Env, d *plugin.Declaration, _ *plugin.Method) (plugin.Plugin, error) {
		return double{d: d}, nil
	}
	formula := func(config *value.Object, out string) (plugin.Formula, bool) {
		return plugin.Formula{Text: "2 × " + config.Get("of").Str(), Inputs: []string{config.Get("of").Str()}, Source: "arithmetic"}, out == config.Get("to").Str()
	}
	return Options{
		Env: &plugin.Env{Dialect: dialect, Warn: func(format string, args ...any) {
			if warnings != nil {
				*warnings = append(*warnings, fmt.Sprintf(format, args...))
			}
		}},
		Methods: []plugin.Method{{Name: "Double", Paths: []string{"old-plugins"}, New: build, Formula: formula}, {Name: "Sci", New: build}},
	}
}

func parse(t *testing.T, text string) value.Value {
	t.Helper()
	v, err := jsyaml.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// manifestOf wraps a tree and further top-level keys into a manifest with the
// plugins d (a → b) and s (Sci per requests).
func manifestOf(t *testing.T, more, tree string) value.Value {
	t.Helper()
	return parse(t, `name: test
initialize:
  plugins:
    d: {path: builtin, method: Double, config: {of: a, to: b}}
    s: {path: builtin, method: Sci, config: {of: carbon, to: sci, functional-unit: requests}}
`+more+"\ntree:\n"+indent(tree))
}

func indent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("  " + line)
	}
	return b.String()
}

// printed returns the output's tree and execution block as YAML.
func printed(o *Outcome) string {
	out := value.NewObject(2)
	for _, key := range []string{"execution", "tree"} {
		if v := o.Output.Object().Get(key); v.Kind() != value.Undefined {
			out.Set(key, v)
		}
	}
	return string(jsyaml.Append(nil, out.Value()))
}

func row(minute int, more string) string {
	return fmt.Sprintf("{timestamp: '2024-01-01T00:%02d:00Z', duration: 60, %s}", minute, more)
}

func TestRunComputesAndAggregates(t *testing.T) {
	sum := "aggregation: {metrics: [a], type: both}\n"
	m := manifestOf(t, sum, `
pipeline: {compute: [d]}
children:
  x: {inputs: [`+row(0, "a: 1")+", "+row(1, "a: 2")+`]}
  y: {inputs: [`+row(0, "a: 10")+`, `+row(1, "a: 20")+`]}
`)
	meta := parse(t, "{inputs: {a: {unit: J, description: d, aggregation-method: {time: sum, component: avg}}}}")
	m.Object().Get("initialize").Object().Get("plugins").Object().Get("d").Object().Set("parameter-metadata", meta)
	before := string(jsyaml.Append(nil, m))
	for name, dialect := range map[string]plugin.Dialect{"reference": plugin.Reference(), "noether": plugin.Noether()} {
		out := Run(t.Context(), m, options(dialect, nil))
		if out.Err != nil {
			t.Fatal(out.Err)
		}
		root := out.Result.Root
		if got := root.Total.Get("a").Num(); got != 5.5+11 {
			t.Errorf("%s: total of a is %v, want 16.5", name, got)
		}
		if got := root.Children[1].Rows[1].Get("b").Num(); got != 40 {
			t.Errorf("%s: b of y's second row is %v, want 40", name, got)
		}
		if out.Output.Object().Get("execution").Object().Get("status").Str() != "success" {
			t.Errorf("%s: %s", name, printed(out))
		}
	}
	if after := string(jsyaml.Append(nil, m)); after != before {
		t.Errorf("Run changed the manifest: %s", cmp.Diff(before, after))
	}
}

func TestWellKnownParametersNeedNoMetadata(t *testing.T) {
	m := manifestOf(t, "aggregation: {metrics: [energy, cpu/utilization], type: both}\n", `
pipeline: {compute: [d]}
children:
  x: {inputs: [`+row(0, "a: 1, energy: 1, cpu/utilization: 10")+", "+row(1, "a: 1, energy: 2, cpu/utilization: 20")+`]}
  y: {inputs: [`+row(0, "a: 1, energy: 10, cpu/utilization: 30")+`, `+row(1, "a: 1, energy: 20, cpu/utilization: 40")+`]}
`)
	total := Run(t.Context(), m, options(plugin.Noether(), nil)).Result.Root.Total
	if e, u := total.Get("energy").Num(), total.Get("cpu/utilization").Num(); e != 33 || u != 25 {
		t.Errorf("energy %v and utilization %v, want the sum 33 and the mean 25", e, u)
	}
	total = Run(t.Context(), m, options(plugin.Reference(), nil)).Result.Root.Total
	if e := total.Get("energy").Num(); e != 20 {
		t.Errorf("in the reference's dialect energy is %v, want the last value 20", e)
	}
}

func TestFailureKeepsTheManifestInTheReferencesDialect(t *testing.T) {
	m := manifestOf(t, "extra: 1", `
pipeline: {compute: [d]}
children:
  x: {inputs: [{a: 1}]}
  y: {inputs: [{z: 1}]}
`)
	out := Run(t.Context(), m, options(plugin.Reference(), nil))
	if got, want := out.Err.Error(), "InputValidationError: row 0 has no a"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	o := out.Output.Object()
	if !o.Has("extra") || o.Get("tree").Object().Get("children").Object().Get("x").Object().Has("outputs") || out.Result != nil {
		t.Errorf("a failed run must print the manifest as it was given:\n%s", printed(out))
	}
}

func TestOthersGoOnWhenAComponentFails(t *testing.T) {
	m := manifestOf(t, "", `
pipeline: {compute: [d]}
children:
  x: {inputs: [{a: 1}]}
  y: {inputs: [{z: 1}]}
  g: {children: {v: {inputs: [{z: 1}]}, w: {inputs: [{a: 4}]}}}
`)
	o := options(plugin.Noether(), nil)
	var finished []string
	build := o.Methods[0].New
	o.Methods[0].New = func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
		p, err := build(env, d, m)
		return double{p.(double).d, &finished}, err
	}
	out := Run(t.Context(), m, o)
	want := `execution:
  status: fail
  command: ''
  error: 'InputValidationError: row 0 has no a'
  errors:
    - path: tree.children.y
      error: 'InputValidationError: row 0 has no a'
    - path: tree.children.g.children.v
      error: 'InputValidationError: row 0 has no a'
tree:
  pipeline:
    compute:
      - d
  children:
    x:
      inputs:
        - a: 1
      outputs:
        - a: 1
          b: 2
    'y':
      inputs:
        - z: 1
    g:
      children:
        v:
          inputs:
            - z: 1
        w:
          inputs:
            - a: 4
          outputs:
            - a: 4
              b: 8
`
	if diff := cmp.Diff(want, printed(out)); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	root := out.Result.Root
	if root.Err == nil || root.Children[2].Err == nil || root.Children[0].Err != nil {
		t.Errorf("errors of root, g, x: %v, %v, %v; want two and none", root.Err, root.Children[2].Err, root.Children[0].Err)
	}
	if diff := cmp.Diff([]string{"d"}, finished); diff != "" {
		t.Errorf("finished plugins: %s", diff)
	}
}

func TestFinisherFailureKeepsTheResult(t *testing.T) {
	m := manifestOf(t, "", "pipeline: {compute: [d]}\ninputs: [{a: 1}]\n")
	m.Object().Get("initialize").Object().Get("plugins").Object().Get("d").Object().Get("config").Object().Set("to", value.Text("unfinished"))
	out := Run(t.Context(), m, options(plugin.Noether(), nil))
	if out.Err == nil || !strings.Contains(printed(out), "path: initialize.plugins.d") || !strings.Contains(printed(out), "unfinished: 2") {
		t.Errorf("error %v in\n%s", out.Err, printed(out))
	}
}

func TestInitializationErrorsNameWhatThereIs(t *testing.T) {
	for _, c := range []struct{ path, method, reference, noether string }{
		{"builtin", "Duoble", "TypeError: plugin is not a function", `PluginInitializationError: plugin d: path "builtin" has no method "Duoble": did you mean "Double"?; it has Double, Sci`},
		{"''", "Double", "MissingPluginPathError: Initalization param 'path' is missing.", ""},      //nolint:misspell // the reference's text
		{"builtin", "''", "MissingPluginMethodError: Initalization param 'method' is missing.", ""}, //nolint:misspell // the reference's text
		{"../x", "Y", "PluginInitializationError: Provided module `../x:Y` is invalid or not found. \n", ""},
		{"https://github.com/o/other", "Y", "PluginInitializationError: Provided module `other` is invalid or not found. Error: Cannot find module 'other' for plugin d; this engine has builtin, old-plugins", ""},
		{"https://github.com/o/old-plugins", "Double", "", ""},
	} {
		m := manifestOf(t, "", "{}\n")
		d := m.Object().Get("initialize").Object().Get("plugins").Object().Get("d").Object()
		d.Set("path", parse(t, c.path))
		d.Set("method", parse(t, c.method))
		text := func(dialect plugin.Dialect) string {
			if out := Run(t.Context(), m, options(dialect, nil)); out.Err != nil {
				return out.Err.Error()
			}
			return ""
		}
		if got := text(plugin.Reference()); got != c.reference {
			t.Errorf("%s %s: %q, want %q", c.path, c.method, got, c.reference)
		}
		if c.noether == "" {
			c.noether = c.reference
		}
		if got := text(plugin.Noether()); got != c.noether {
			t.Errorf("%s %s: %q, want %q", c.path, c.method, got, c.noether)
		}
	}
}

func TestPeriodIsARatioOfSums(t *testing.T) {
	m := manifestOf(t, "", `
pipeline: {compute: [s]}
inputs: [`+row(0, "carbon: 9, requests: 2, energy: 0.5, carbon-operational: 8, embodied-carbon: 1")+", "+row(1, "carbon: 1, requests: 4, energy: 0.25, carbon-operational: 1, embodied-carbon: 0")+`]
`)
	out := Run(t.Context(), m, options(plugin.Noether(), nil))
	p := out.Result.Root.Period
	if p == nil {
		t.Fatalf("no period: %s", printed(out))
	}
	if p.SCI != 10.0/6 || p.Units != 6 || p.Carbon != 10 || p.Duration != 120 || p.Operational != 9 || p.Embodied != 1 || p.Energy != 0.75 {
		t.Errorf("period %+v: want 10 g over 6 requests in 120 s", p)
	}
	if !strings.Contains(printed(out), "sci-period:\n    start: 2024-01-01T00:00:00.000Z\n    duration: 120\n    carbon: 10\n") {
		t.Errorf("output lacks the period:\n%s", printed(out))
	}
	if out := Run(t.Context(), m, options(plugin.Reference(), nil)); out.Result.Root.Period != nil || strings.Contains(printed(out), "sci-period") {
		t.Error("the reference's dialect has no period")
	}
}

func TestPeriodCountsUnitsOfTheSystemOnce(t *testing.T) {
	tree := func(a, b string) string {
		return `
pipeline: {compute: [s]}
children:
  pod-1: {inputs: [` + row(0, "carbon: 3, requests: 2") + ", " + row(1, "carbon: 1, requests: 4") + `]}
  pod-2: {inputs: [` + row(0, "carbon: 6, requests: "+a) + ", " + row(1, "carbon: 0, requests: "+b) + `]}
  idle: {pipeline: {compute: [d]}, inputs: [` + row(0, "carbon: 2, a: 1") + `]}
`
	}
	own := `{inputs: {requests: {unit: requests, description: d, aggregation-method: {time: sum, component: sum}}}}`
	for _, c := range []struct {
		name, a, b, metadata string
		units                float64 // 0: no period
		warning              string
	}{
		{"equal", "2", "4", "", 6, ""},
		{"different", "2", "5", "", 0, "tree: no SCI of the period: components have different requests at 2024-01-01T00:01:00.000Z (4 and 5)"},
		{"their own", "2", "5", own, 13, ""},
	} {
		var warnings []string
		m := manifestOf(t, "", tree(c.a, c.b))
		if c.metadata != "" {
			m.Object().Get("initialize").Object().Get("plugins").Object().Get("s").Object().Set("parameter-metadata", parse(t, c.metadata))
		}
		out := Run(t.Context(), m, options(plugin.Noether(), &warnings))
		if out.Err != nil {
			t.Fatal(out.Err)
		}
		p := out.Result.Root.Period
		switch {
		case c.units == 0 && (p != nil || !strings.Contains(strings.Join(warnings, "\n"), c.warning)):
			t.Errorf("%s: period %+v, warnings %q", c.name, p, warnings)
		case c.units != 0 && (p == nil || len(mustExplain(t, out, "tree.sci-period.carbon").Steps[0].Inputs) != 3 || p.Units != c.units || p.Carbon != 12 || p.SCI != 12/c.units):
			t.Errorf("%s: period %+v, want 12 g over %v; warnings %q", c.name, p, c.units, warnings)
		}
	}
}

func TestWhyThereIsNoPeriodIsSaidOnce(t *testing.T) {
	var warnings []string
	out := Run(t.Context(), manifestOf(t, "", `
pipeline: {compute: [s]}
children:
  shop: {children: {pods: {children: {a: {inputs: [`+row(0, "carbon: 3, requests: 2")+`]}, b: {inputs: [`+row(0, "carbon: 3, requests: 3")+`]}}}}}
  bad: {pipeline: {compute: [d]}, inputs: [`+row(0, "carbon: much, a: 1")+`]}
`), options(plugin.Noether(), &warnings))
	want := "tree.children.shop.children.pods: no SCI of the period, here and above: components have different requests"
	if out.Err != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0], want) {
		t.Errorf("%v %q", out.Err, warnings)
	}
	warnings = nil
	Run(t.Context(), manifestOf(t, "", `
pipeline: {compute: [s]}
children:
  shop: {inputs: [`+row(0, "carbon: 3, requests: 2")+`]}
  bad: {pipeline: {compute: [d]}, inputs: [`+row(0, "carbon: much, a: 1")+`]}
`), options(plugin.Noether(), &warnings))
	if want := []string{"tree: no SCI of the period: tree.children.bad: carbon of row 0 is much"}; !slices.Equal(warnings, want) {
		t.Errorf("%q, want %q", warnings, want)
	}
}

func mustExplain(t *testing.T, out *Outcome, path string) *Explanation {
	t.Helper()
	e, err := Explain(out.Result.Manifest, nil, path)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestParallelPrintsWhatSequentialPrints(t *testing.T) {
	var tree strings.Builder
	tree.WriteString("pipeline: {observe: [], regroup: [k], compute: [d, s]}\nchildren:\n")
	for i := range 300 {
		fmt.Fprintf(&tree, "  c%d: {inputs: [%s, %s]}\n", i, row(0, fmt.Sprintf("a: %d, k: x%d, carbon: 1, requests: 2", i, i%3)), row(0, "a: 1, k: y, carbon: 1, requests: 2"))
	}
	m := manifestOf(t, "", tree.String())
	sequential := plugin.Noether()
	sequential.Parallel = false
	want := printed(Run(t.Context(), m, options(sequential, nil)))
	for range 5 {
		if got := printed(Run(t.Context(), m, options(plugin.Noether(), nil))); got != want {
			t.Fatalf("parallel output differs: %s", cmp.Diff(want, got))
		}
	}
}

func TestCancelledRunFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := manifestOf(t, "", "pipeline: {compute: [d]}\ninputs: [{a: 1}]\n")
	if out := Run(ctx, m, options(plugin.Noether(), nil)); !errors.Is(out.Err, context.Canceled) || out.Result != nil {
		t.Errorf("error %v, want the context's", out.Err)
	}
}

func TestUnknownKeysAreReported(t *testing.T) {
	m := parse(t, `name: test
params: []
tags: {kid: web}
initialize:
  outputs: [yaml]
  plugins:
    d: {path: builtin, method: Double, global-config: {of: a, to: b}, verbose: 1}
tree:
  pipeline: {compte: [d], compute: [d]}
  children:
    x: {input: [], inputs: [{a: 2}]}
    y: {input: [], inputs: [{a: 2}]}
`)
	var warnings []string
	out := Run(t.Context(), m, options(plugin.Noether(), &warnings))
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	want := []string{
		"params: nothing reads this key: parameters are described by the parameter-metadata of each plugin",
		`tags.kid: nothing reads this key: did you mean "kind"?`,
		"initialize.outputs: nothing reads this key: the output goes where -o says",
		"initialize.plugins.d.global-config: read as config, its present name",
		"initialize.plugins.d.verbose: nothing reads this key",
		`tree.children.x.input: nothing reads this key: did you mean "inputs"?`,
		`tree: pipeline.compte is no phase: did you mean "compute"?; the phases are observe, regroup, compute`,
	}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestTraceTellsWhatPluginsDid(t *testing.T) {
	m := manifestOf(t, "", `
pipeline: {compute: [d, s]}
children:
  x: {inputs: [`+row(0, "a: 1, b: 7, carbon: 3, requests: 1")+`]}
  y: {inputs: [`+row(0, "a: 1, carbon: 3, requests: 1")+`]}
`)
	o := options(plugin.Noether(), nil)
	o.Trace = &Trace{Child: "x"}
	Run(t.Context(), m, o)
	var b strings.Builder
	if err := o.Trace.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `tree.children.x  compute: d (Double)
  [0] 2024-01-01T00:00:00Z  ~ b = 2 (was 7)
tree.children.x  compute: s (Sci)
  [0] 2024-01-01T00:00:00Z  + sci = 6
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
}

func TestExplainGoesBackToTheInputs(t *testing.T) {
	m := parse(t, `name: test
initialize:
  plugins:
    d: {path: builtin, method: Double, config: {of: a, to: b}, parameter-metadata: {inputs: {a: {unit: J, description: d, aggregation-method: {time: sum, component: sum}}}}}
    e: {path: builtin, method: Double, config: {of: b, to: c}, parameter-metadata: {outputs: {c: {unit: kJ, description: d, aggregation-method: {time: sum, component: sum}}}}}
aggregation: {metrics: [c], type: both}
tree:
  pipeline: {compute: [d, e]}
  children:
    shop.v1: {defaults: {a: 5}, inputs: [`+row(0, "z: 1")+`]}
`)
	o := options(plugin.Noether(), nil)
	out := Run(t.Context(), m, o)
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	e, err := Explain(out.Result.Manifest, o.Methods, "tree.aggregated.c")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range e.Steps {
		line := fmt.Sprintf("%s = %s %s: %s", s.Path, s.Value, s.Unit, s.Origin)
		if s.Formula != "" {
			line += ", " + s.Formula
		}
		got = append(got, line)
	}
	want := []string{
		"tree.aggregated.c = 20 kJ: time, sum of the rows",
		"tree.outputs[0].c = 20 kJ: components, sum of the components",
		"tree.children.shop.v1.outputs[0].c = 20 kJ: plugin, 2 × b",
		"tree.children.shop.v1.outputs[0].b = 10 : plugin, 2 × a",
		"tree.children.shop.v1.outputs[0].a = 5 J: defaults",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("explanation (-want +got):\n%s", diff)
	}
	for _, path := range []string{"", "tree", "tree.children.nope.outputs[0].c", "tree.outputs[9].c", "tree.outputs[x].c", "tree.outputs[0].d", "tree.aggregated"} {
		if _, err := Explain(out.Result.Manifest, o.Methods, path); err == nil {
			t.Errorf("Explain(%q) gives no error", path)
		}
	}
}

func TestFoldingAllocatesPerTotalNotPerRow(t *testing.T) {
	r := &run{
		manifest: &manifest{aggregation: &aggregation{metrics: []string{"a", "b"}}},
		known:    map[string]plugin.Parameter{"a": {Time: plugin.Sum}, "b": {Time: plugin.Avg}},
	}
	rows := make([]*value.Object, 1000)
	for i := range rows {
		rows[i] = value.NewObject(4)
		for _, name := range []string{timestampKey, durationKey, "a", "b"} {
			rows[i].Set(name, value.Of(float64(i)))
		}
	}
	allocations := testing.AllocsPerRun(10, func() {
		if total, err := r.foldTime(rows, false); err != nil || total.Get("b").Num() != 499.5 {
			t.Fatal(total.Get("b"), err)
		}
	})
	if allocations > 15 {
		t.Errorf("folding %d rows allocates %v times, budget 15", len(rows), allocations)
	}
}

func TestMergingAllocatesInBulk(t *testing.T) {
	defaults := parse(t, "{b: 1, c: 2}").Object()
	rows := make([]*value.Object, 1000)
	for i := range rows {
		rows[i] = value.NewObject(1)
		rows[i].Set("a", value.Of(1))
	}
	if allocations := testing.AllocsPerRun(10, func() { merge(rows, defaults, 2) }); allocations > 8 {
		t.Errorf("merging into %d rows allocates %v times, budget 8", len(rows), allocations)
	}
}
