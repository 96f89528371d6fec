package builtin

import (
	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func sciE() plugin.Method {
	parts := []string{"cpu/energy", "memory/energy", "network/energy"}
	var needs []schema.Field
	var inputs []plugin.Parameter
	for _, p := range parts {
		needs = append(needs, schema.Field{Name: p, Type: schema.Optional(schema.AtLeast(0))})
		inputs = append(inputs, parameter(p, "kWh", "energy of one kind of component", plugin.Sum))
	}
	return rowFormula{
		needs: needs,
		compute: func(row, _ *value.Object, _ *plugin.Env) error {
			sum, found := 0.0, false
			for _, p := range parts {
				if v := row.Get(p); v.IsNumber() {
					sum, found = sum+v.Num(), true
				}
			}
			if !found {
				return fault.New(fault.InputValidation, "At least one of `cpu/energy`,`memory/energy`,`network/energy` should be present.")
			}
			row.Set("energy", value.Of(sum))
			return nil
		},
	}.method(plugin.Method{
		Name:    "SciE",
		Summary: "Adds up the energy of CPU, memory and network.",
		Doc:     `energy = cpu/energy + memory/energy + network/energy, in kWh, of those that the row has; at least one must be there. The term E of ISO/IEC 21031.`,
		Example: "path: '@grnsft/if-plugins'\nmethod: SciE",
		Inputs:  inputs,
		Outputs: []plugin.Parameter{parameter("energy", "kWh", "energy of all components", plugin.Sum)},
		Formula: formula("energy", plugin.Formula{Text: "cpu/energy + memory/energy + network/energy", Inputs: parts, Unit: "kWh", Source: sciStandard}),
	})
}
