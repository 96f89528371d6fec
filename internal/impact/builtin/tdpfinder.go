package builtin

import (
	"strings"
	"sync"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func tdpFinder() plugin.Method {
	watts := sync.OnceValues(func() (map[string]float64, error) {
		out := map[string]float64{}
		for _, name := range []string{"tdp-1.csv", "tdp-2.csv", "tdp-boavizta.csv"} {
			t, err := embeddedTable(name)()
			if err != nil {
				return nil, err
			}
			for _, row := range t.rows {
				processor, w := processorName(row.ValueAt(0).String()), row.ValueAt(1)
				if w.IsNumber() {
					out[processor] = max(out[processor], w.Num())
				}
			}
		}
		return out, nil
	})
	return rowFormula{
		needs: []schema.Field{{Name: "physical-processor", Type: schema.NonEmpty()}},
		compute: func(row, _ *value.Object, _ *plugin.Env) error {
			table, err := watts()
			if err != nil {
				return err
			}
			most := 0.0
			for name := range strings.SplitSeq(row.Get("physical-processor").Str(), ",") {
				w, ok := table[processorName(name)]
				if !ok {
					return fault.New(fault.InvalidInput, "Finding the thermal design power: no table has the processor %q; correct `physical-processor`, or give `cpu/thermal-design-power` in watts yourself", processorName(name))
				}
				most = max(most, w)
			}
			row.Set("cpu/thermal-design-power", value.Of(most))
			return nil
		},
	}.method(plugin.Method{
		Name:    "TdpFinder",
		Summary: "Looks up the thermal design power of a processor.",
		Doc: `Finds ` + "`physical-processor`" + ` (several names separated by commas; what follows an @ is left out) in three tables of the
framework's data repository and writes the largest value found to ` + "`cpu/thermal-design-power`" + `, in watts.`,
		Example: "path: '@grnsft/if-unofficial-plugins'\nmethod: TdpFinder",
		Outputs: []plugin.Parameter{parameter("cpu/thermal-design-power", "W", "thermal design power of the processor", plugin.Copy)},
		Formula: formula("cpu/thermal-design-power", plugin.Formula{Text: "table of physical-processor", Inputs: []string{"physical-processor"}, Unit: "W", Source: ifDataSource}),
	})
}

// ifDataSource is the source of the embedded tables.
const ifDataSource = "Green Software Foundation, if-data (MIT)"

// processorName returns a name as tables and rows agree on it: without its
// clock rate, without spaces around it.
func processorName(s string) string {
	s, _, _ = strings.Cut(s, "@")
	return strings.TrimSpace(s)
}
