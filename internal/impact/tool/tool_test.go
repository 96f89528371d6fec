package tool_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/tool"
	"noether/internal/impact/value"
)

func parse(t *testing.T, src string) value.Value {
	t.Helper()
	v, err := jsyaml.Parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// leaf is a manifest with one value in its tree.
func leaf(t *testing.T, v string) value.Value {
	return parse(t, "name: n\ninitialize: {plugins: {}}\ntree: {v: "+v+"}\n")
}

func TestDiff(t *testing.T) {
	at := func(path, source, target string) []tool.Difference {
		return []tool.Difference{{Path: path, Source: source, Target: target}}
	}
	for _, c := range []struct {
		a, b      string
		o         tool.DiffOptions
		reference []tool.Difference
		ours      []tool.Difference
	}{
		{"{z: 1, a: 2}", "{a: 2, z: 1}", tool.DiffOptions{}, nil, nil},
		{"[1, 2]", "[1, 2, 3]", tool.DiffOptions{}, at("tree.v.2", "missing", "exists"), at("tree.v.2", "missing", "3")},
		{"{a: {}}", "{}", tool.DiffOptions{}, at("tree.v.a", "exists", "missing"), at("tree.v.a", "exists", "missing")},
		{"1", "'1'", tool.DiffOptions{}, at("tree.v", "1", "1"), at("tree.v", "1", "1")},
		{"true", "false", tool.DiffOptions{}, at("tree.v", "exists", "missing"), at("tree.v", "true", "false")},
		{"'*'", "5", tool.DiffOptions{}, nil, nil},
		{"text", "'*'", tool.DiffOptions{}, nil, nil},
		{"'*'", "{a: 1}", tool.DiffOptions{}, at("tree.v.a", "missing", "exists"), nil},
		{".nan", ".nan", tool.DiffOptions{}, at("tree.v", "NaN", "NaN"), nil},
		{"2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z", tool.DiffOptions{}, nil, at("tree.v", "2024-01-01T00:00:00.000Z", "2025-01-01T00:00:00.000Z")},
		{"2024-01-01T00:00:00Z", "'2024-01-01T01:00:00.000+01:00'", tool.DiffOptions{Limit: 1}, at("tree.v.0", "missing", "exists"), nil},
		{"1.001", "1", tool.DiffOptions{Tolerance: 0.01}, at("tree.v", "1.001", "1"), nil},
		{"1.001", "1", tool.DiffOptions{Tolerance: 0.0001}, at("tree.v", "1.001", "1"), at("tree.v", "1.001", "1")},
		{"{a: 1, b: 2}", "{a: 3, b: 4}", tool.DiffOptions{Limit: 1}, at("tree.v.a", "1", "3"), at("tree.v.a", "1", "3")},
	} {
		o := c.o
		if got := tool.Diff(leaf(t, c.a), leaf(t, c.b), o); !cmp.Equal(got, c.ours) {
			t.Errorf("%s | %s: %v, want %v", c.a, c.b, got, c.ours)
		}
		o.Reference = true
		if got := tool.Diff(leaf(t, c.a), leaf(t, c.b), o); !cmp.Equal(got, c.reference) {
			t.Errorf("%s | %s as if-diff: %v, want %v", c.a, c.b, got, c.reference)
		}
	}
}

func TestDiffLooksAtOutcomesOnly(t *testing.T) {
	a := parse(t, "{name: a, tags: {kind: x}, execution: {status: success, command: one}, initialize: {plugins: {}, outputs: [yaml]}, tree: {}}")
	b := parse(t, "{name: b, execution: {status: fail, error: why}, initialize: {plugins: {}}, tree: {}}")
	want := []tool.Difference{{"execution.status", "success", "fail"}, {"execution.error", "missing", "why"}}
	if diff := cmp.Diff(want, tool.Diff(a, b, tool.DiffOptions{})); diff != "" {
		t.Error(diff)
	}
}

const outputs = `
name: n
initialize: {plugins: {}}
tree:
  sci-period: {sci: 4, carbon: 40}
  children:
    a:
      outputs:
        - {timestamp: 2024-01-01T00:01:00Z, duration: 60, carbon: 1, sci: 2}
        - {timestamp: 2024-01-01T00:02:00Z, duration: 60, carbon: 3, sci: 4, host: 'x,"y"'}
      aggregated: {carbon: 4}
    b:
      outputs:
        - {timestamp: 2024-01-01T00:00:00Z, duration: 60, carbon: 5, ok: true}
`

func TestGrowths(t *testing.T) {
	old := parse(t, outputs)
	grown := parse(t, strings.NewReplacer("carbon: 40", "carbon: 44", "carbon: 4}", "carbon: 5}", "    b:", "    c:").Replace(outputs))
	nan := math.NaN()
	want := []tool.Growth{
		{"tree", "carbon", 40, 44, 0.1},
		{"tree", "sci", 4, 4, 0},
		{"tree.children.a", "carbon", 4, 5, 0.25},
		{"tree.children.a", "sci", 3, 3, 0},
		{"tree.children.c", "carbon", nan, 5, nan},
		{"tree.children.b", "carbon", 5, nan, nan},
	}
	same := cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })
	if diff := cmp.Diff(want, tool.Growths(old, grown, []string{"carbon", "sci"}), same); diff != "" {
		t.Error(diff)
	}
}

func TestCSV(t *testing.T) {
	for name, c := range map[string]struct {
		o    tool.CSVOptions
		want string
	}{
		"columns are times in order": {tool.CSVOptions{Params: []string{"carbon"}}, "" +
			"Path,Aggregated,2024-01-01T00:00:00.000Z,2024-01-01T00:01:00.000Z,2024-01-01T00:02:00.000Z\n" +
			"tree.children.a.carbon,4,,1,3\ntree.children.b.carbon,,5,,\n"},
		"the framework goes by position": {tool.CSVOptions{Params: []string{"carbon"}, Reference: true}, "" +
			"Path,2024-01-01T00:01:00.000Z,2024-01-01T00:02:00.000Z,2024-01-01T00:00:00.000Z\n" +
			"tree.children.a.carbon,4,1,3\ntree.children.b.carbon,5\n"},
		"long, several": {tool.CSVOptions{Params: []string{"sci", "host", "ok"}, Long: true}, "" +
			"path,timestamp,duration,parameter,value\n" +
			"tree.children.a,2024-01-01T00:01:00.000Z,60,sci,2\ntree.children.a,2024-01-01T00:02:00.000Z,60,sci,4\n" +
			"tree.children.a,2024-01-01T00:02:00.000Z,60,host,\"x,\"\"y\"\"\"\ntree.children.b,2024-01-01T00:00:00.000Z,60,ok,1\n"},
		"all of them": {tool.CSVOptions{Params: []string{"*", "carbon"}, Long: true}, "" +
			"path,timestamp,duration,parameter,value\n" +
			"tree.children.a,2024-01-01T00:01:00.000Z,60,duration,60\ntree.children.a,2024-01-01T00:01:00.000Z,60,sci,2\ntree.children.a,2024-01-01T00:01:00.000Z,60,carbon,1\n" +
			"tree.children.a,2024-01-01T00:02:00.000Z,60,duration,60\ntree.children.a,2024-01-01T00:02:00.000Z,60,sci,4\ntree.children.a,2024-01-01T00:02:00.000Z,60,host,\"x,\"\"y\"\"\"\ntree.children.a,2024-01-01T00:02:00.000Z,60,carbon,3\n" +
			"tree.children.b,2024-01-01T00:00:00.000Z,60,duration,60\ntree.children.b,2024-01-01T00:00:00.000Z,60,ok,1\ntree.children.b,2024-01-01T00:00:00.000Z,60,carbon,5\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := tool.WriteCSV(&b, parse(t, outputs), c.o); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
	err := tool.WriteCSV(&strings.Builder{}, parse(t, "{tree: {children: {a: {inputs: []}}}}"), tool.CSVOptions{Params: []string{"a"}})
	if err == nil || err.Error() != "ManifestValidationError: Manifest outputs are not available!" {
		t.Error(err)
	}
}

func TestMerge(t *testing.T) {
	source := func(file, src string) tool.Source { return tool.Source{File: file, Manifest: parse(t, src)} }
	one := source("/m/x/one.yml", "{initialize: {plugins: {p: {method: A}}}, aggregation: {metrics: [c], type: both}, tree: {pipeline: {compute: [p]}, children: {c: {inputs: []}}}}")
	two := source("/m/y/two.yaml", "{initialize: {plugins: {q: {method: B}}}, tree: {children: {c: {pipeline: {compute: [q]}}}}}")
	got, err := tool.Merge([]tool.Source{one, two}, tool.MergeOptions{Name: "all"})
	if err != nil {
		t.Fatal(err)
	}
	want := `name: all
description: merged manifest
tags: {}
aggregation:
  metrics:
    - c
  type: both
initialize:
  plugins:
    p:
      method: A
    q:
      method: B
tree:
  children:
    c-x-one:
      pipeline:
        compute:
          - p
      inputs: []
    c-y-two:
      pipeline:
        compute:
          - q
`
	if diff := cmp.Diff(want, string(jsyaml.Append(nil, got))); diff != "" {
		t.Error(diff)
	}
	other := source("/m/y/other.yml", "{initialize: {plugins: {p: {method: C}}}, tree: {children: {c: {}}}}")
	if _, err := tool.Merge([]tool.Source{one, other}, tool.MergeOptions{}); err == nil || !strings.Contains(err.Error(), "plugin `p` is not the same in /m/x/one.yml and /m/y/other.yml") {
		t.Error(err)
	}
	got, err = tool.Merge([]tool.Source{one, other}, tool.MergeOptions{Reference: true})
	if err != nil || got.Object().Get("initialize").Object().Get("plugins").Object().Get("p").Object().Get("method").Str() != "C" || got.Object().Has("aggregation") {
		t.Error(err, got)
	}
	if _, err := tool.Merge([]tool.Source{one, one}, tool.MergeOptions{}); err == nil {
		t.Error("two components of one name were merged")
	}
	if _, err := tool.Merge([]tool.Source{source("x.yml", "5")}, tool.MergeOptions{}); err == nil {
		t.Error("5 is a manifest")
	}
}

// methods is a table of one method of this engine and one that an older package had.
func methods() []plugin.Method {
	return []plugin.Method{
		{Name: "Divide", Paths: []string{"@grnsft/if-plugins"}, Config: schema.Object{Fields: []schema.Field{
			{Name: "numerator", Type: schema.Text()}, {Name: "denominator", Type: schema.Union(schema.Text(), schema.Number())}, {Name: "output", Type: schema.Text()},
		}}},
		{Name: "Sci", Reaches: plugin.Network, Outputs: []plugin.Parameter{{Name: "sci"}}},
	}
}

func TestLint(t *testing.T) {
	const good = `
name: n
initialize:
  plugins:
    kwh: {path: builtin, method: Divide, config: {numerator: joules, denominator: 3600000, output: energy}}
    sci: {path: builtin, method: Sci}
aggregation: {metrics: [sci], type: both}
tree:
  pipeline: {observe: [], compute: [kwh, sci]}
  children:
    a: {inputs: [{timestamp: 2024-01-01, duration: 1, joules: 3}]}
`
	for name, c := range map[string]struct {
		from, to string
		want     []string
	}{
		"good":                       {"", "", nil},
		"an expression is not typed": {"denominator: 3600000", "denominator: '=2*x'", nil},
		"method with a typing error": {"method: Divide", "method: Divdie", []string{`error: initialize.plugins.kwh.method: builtin has no method "Divdie": did you mean Divide?`}},
		"setting nobody knows": {"output: energy", "output: energy, denominators: 2", []string{
			"error: initialize.plugins.kwh.config.denominators: Divide has no such setting: did you mean denominator?",
		}},
		"setting of the wrong type": {"numerator: joules", "numerator: 5", []string{
			"error: initialize.plugins.kwh.config.numerator: expected string, received number: Divide takes string",
		}},
		"setting that lacks": {"numerator: joules, ", "", []string{"error: initialize.plugins.kwh.config.numerator: required: Divide takes string"}},
		"module of elsewhere": {"path: builtin, method: Sci", "path: some-sci, method: Sci", []string{
			`error: initialize.plugins.sci.path: this engine has no module "some-sci", but a method Sci of its own: write path: builtin`,
			`warning: aggregation.metrics.0: nothing says how to aggregate "sci": give it parameter-metadata with an aggregation-method`,
		}},
		"unknown module": {"path: builtin, method: Sci", "path: https://github.com/o/x, method: Y", []string{
			`error: initialize.plugins.sci.path: this engine has no module "x": builtin and the methods of @grnsft/if-plugins are there`,
			`warning: aggregation.metrics.0: nothing says how to aggregate "sci": give it parameter-metadata with an aggregation-method`,
		}},
		"pipeline of an unknown plugin": {"compute: [kwh, sci]", "compute: [kwh, sc]", []string{
			`error: tree.pipeline.compute.1: initialize.plugins has no "sc": did you mean sci?`,
			"warning: initialize.plugins.sci: no pipeline names this plugin",
		}},
		"pipeline of old":    {"{observe: [], compute: [kwh, sci]}", "[kwh, sci]", []string{"error: tree.pipeline: a pipeline is a map of phases: write compute: [first, second]", "warning: initialize.plugins.kwh: no pipeline names this plugin", "warning: initialize.plugins.sci: no pipeline names this plugin"}},
		"key of old":         {"name: n", "name: n\nparams: []", []string{"warning: params: nothing reads this key"}},
		"key misspelt":       {"    a: {", "    a: {default: {x: 1}, ", []string{"warning: tree.children.a.default: nothing reads this key: did you mean defaults?"}},
		"row without time":   {"timestamp: 2024-01-01, ", "", []string{"warning: tree.children.a.inputs.0: the observation has no timestamp"}},
		"wrong type of name": {"name: n", "name: 5", []string{"error: name: expected string, received number"}},
		"own disclosure":     {"name: n", "name: n\ndisclosure: {boundary: all}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			src := strings.Replace(good, c.from, c.to, 1)
			if src == good && c.to != "" {
				t.Fatal("nothing was replaced")
			}
			var got []string
			for _, p := range tool.Lint(parse(t, src), methods()) {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := tool.Lint(parse(t, "[]"), nil); len(got) != 1 || !got[0].Error {
		t.Error(got)
	}
}

func TestNeeds(t *testing.T) {
	m := parse(t, "{initialize: {plugins: {a: {path: builtin, method: Sci}, b: {path: builtin, method: Scy}}}}")
	want := []tool.Need{
		{Plugin: "a", Path: "builtin", Method: "Sci", Present: true, Reaches: plugin.Network},
		{Plugin: "b", Path: "builtin", Method: "Scy", Remedy: `builtin has no method "Scy": did you mean Sci?`},
	}
	if diff := cmp.Diff(want, tool.Needs(m, methods())); diff != "" {
		t.Error(diff)
	}
}

func TestMetadataCoverage(t *testing.T) {
	m := parse(t, `
initialize:
  plugins:
    s:
      method: Sum
      config: {input-parameters: [a, b], output-parameter: c}
      parameter-metadata: {inputs: {a: {unit: x}}, outputs: {c: {unit: x}}}
    d: {method: Divide, config: {numerator: a, denominator: n, output: q}}
`)
	described := func(method string) []string { return map[string][]string{"Divide": {"n"}}[method] }
	for _, c := range []struct {
		only      []string
		described func(string) []string
		percent   float64
		missing   []string
	}{
		{nil, described, 60, []string{"b", "q"}},
		{[]string{"d"}, described, 100.0 / 3, []string{"q", "a"}},
		{nil, nil, 50, []string{"b", "q"}},
		{[]string{"nobody"}, described, 100, nil},
	} {
		percent, missing := tool.Summary(tool.MetadataCoverage(m, c.only, c.described))
		if math.Abs(percent-c.percent) > 1e-9 || !cmp.Equal(missing, c.missing) {
			t.Errorf("%v: %v %v, want %v %v", c.only, percent, missing, c.percent, c.missing)
		}
	}
}

func FuzzTools(f *testing.F) {
	f.Add(outputs, outputs)
	f.Add("{tree: {children: 5}}", "[]")
	f.Add("tree: {children: {a: {outputs: [1, null, {timestamp: 5}]}}}", "initialize: {plugins: [1]}\naggregation: {metrics: {}}")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, errX := jsyaml.Parse([]byte(a))
		y, errY := jsyaml.Parse([]byte(b))
		if errX != nil || errY != nil {
			t.Skip()
		}
		tool.Diff(x, y, tool.DiffOptions{Reference: true, Limit: 1})
		if d := tool.Diff(x, x, tool.DiffOptions{}); d != nil {
			t.Errorf("%q is not itself: %v", a, d)
		}
		tool.Growths(x, y, []string{"carbon"})
		tool.Lint(x, methods())
		tool.Needs(y, methods())
		tool.MetadataCoverage(x, nil, nil)
		for _, reference := range []bool{true, false} {
			_, _ = tool.Merge([]tool.Source{{File: "a.yml", Manifest: x}, {File: "b.yml", Manifest: y}}, tool.MergeOptions{Reference: reference})
			_ = tool.WriteCSV(&strings.Builder{}, x, tool.CSVOptions{Params: []string{"*"}, Reference: reference})
		}
	})
}
