package impact

import (
	"testing"

	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
)

// FuzzRun runs whatever YAML gives: nothing may crash, every outcome has an
// execution block that agrees with its error, and every place of an output can
// be asked about.
func FuzzRun(f *testing.F) {
	const head = "name: x\naggregation: {metrics: [a, b], type: both}\ninitialize: {plugins: {d: {path: builtin, method: Double, config: {of: a, to: b}, parameter-metadata: {inputs: {a: {unit: u, description: d, aggregation-method: {time: sum, component: avg}}}, outputs: {b: {unit: u, description: d, aggregation-method: {time: avg, component: none}}}}}, s: {path: builtin, method: Sci, config: {of: a, to: sci, functional-unit: r}}}}\n"
	for _, seed := range []string{
		"tree: {pipeline: {observe: [d], regroup: [k], compute: [d, s]}, defaults: {r: 2}, children: {x: {inputs: [{timestamp: 2024-01-01T00:00:00Z, duration: 1, a: 1, k: y, carbon: 3}]}}}",
		"tree: {pipeline: {compute: [d]}, children: {x: {inputs: [{timestamp: t, duration: -1, a: 1}]}, y: {children: {}}, z: null}}",
		"tree: {pipeline: [d], children: [1], inputs: 3}",
		"tree: {pipeline: {compute: d, regroup: k, observe: {}}, inputs: [1], outputs: {a: 1}}",
		"tree: {pipeline: {compute: [d, q, 1, null]}, inputs: [{a: 1}], config: {d: 1}, defaults: 7}",
		"tree: {outputs: [{a: .nan, timestamp: 2024-01-01, duration: .inf}]}",
	} {
		f.Add(head+seed, "tree.children.x.outputs[0].b", false)
		f.Add(head+seed, "tree.aggregated.b", true)
	}
	f.Add("[1]", "tree", false)
	f.Add("text", "", false)
	f.Fuzz(func(t *testing.T, text, path string, more bool) {
		m, err := jsyaml.Parse([]byte(text))
		if err != nil || len(text) > 1<<12 {
			return
		}
		for _, dialect := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
			o := options(dialect, nil)
			o.Append, o.Explain, o.Trace = more, more, &Trace{}
			out := Run(t.Context(), m, o)
			status := out.Output.Object().Get("execution").Object().Get("status").Str()
			if (out.Err != nil) != (status == "fail") {
				t.Fatalf("status %q with error %v", status, out.Err)
			}
			if out.Result != nil {
				Explain(out.Result.Manifest, o.Methods, path)
			}
		}
	})
}
