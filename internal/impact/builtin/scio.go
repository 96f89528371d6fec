package builtin

import (
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func sciO() plugin.Method {
	return rowFormula{
		needs: []schema.Field{
			{Name: "grid/carbon-intensity", Type: schema.AtLeast(0)},
			{Name: "energy", Type: schema.AtLeast(0)},
		},
		compute: func(row, _ *value.Object, _ *plugin.Env) error {
			row.Set("carbon-operational", value.Of(row.Get("grid/carbon-intensity").Num()*row.Get("energy").Num()))
			return nil
		},
	}.method(plugin.Method{
		Name:    "SciO",
		Summary: "Computes operational carbon from energy and grid intensity.",
		Doc:     `carbon-operational = grid/carbon-intensity × energy, in gCO2e: the term O = E × I of ISO/IEC 21031.`,
		Example: "path: '@grnsft/if-plugins'\nmethod: SciO",
		Inputs: []plugin.Parameter{
			parameter("grid/carbon-intensity", "gCO2e/kWh", "carbon intensity of the grid", plugin.Avg),
			parameter("energy", "kWh", "energy used", plugin.Sum),
		},
		Outputs: []plugin.Parameter{parameter("carbon-operational", "gCO2e", "operational carbon", plugin.Sum)},
		Formula: formula("carbon-operational", plugin.Formula{Text: "grid/carbon-intensity × energy", Inputs: []string{"grid/carbon-intensity", "energy"}, Unit: "gCO2e", Source: sciStandard}),
	})
}
