package builtin

import (
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func eNet() plugin.Method {
	return rowFormula{
		needs: []schema.Field{
			{Name: "network/data-in", Type: schema.AtLeast(0)},
			{Name: "network/data-out", Type: schema.AtLeast(0)},
		},
		compute: func(row, config *value.Object, _ *plugin.Env) error {
			row.Set("network/energy", value.Of((row.Get("network/data-in").Num()+row.Get("network/data-out").Num())*config.Get("energy-per-gb").Num()))
			return nil
		},
	}.method(plugin.Method{
		Name:    "ENet",
		Summary: "Estimates the energy of network traffic from its volume.",
		Doc:     `network/energy = (network/data-in + network/data-out) × energy-per-gb, in kWh, with volumes in gigabytes.`,
		Example: "path: '@grnsft/if-plugins'\nmethod: ENet\nconfig:\n  energy-per-gb: 0.001",
		Config: schema.Object{Fields: []schema.Field{
			{Name: "energy-per-gb", Type: schema.Default(schema.Above(0), value.Of(0.001)), Doc: "Energy of a gigabyte carried, kWh."},
		}},
		Inputs: []plugin.Parameter{
			parameter("network/data-in", "GB", "data received", plugin.Sum),
			parameter("network/data-out", "GB", "data sent", plugin.Sum),
		},
		Outputs: []plugin.Parameter{parameter("network/energy", "kWh", "energy of the network", plugin.Sum)},
		Formula: formula("network/energy", plugin.Formula{
			Text:   "(network/data-in + network/data-out) × energy-per-gb",
			Inputs: []string{"network/data-in", "network/data-out"}, Unit: "kWh", Source: "Cloud Carbon Footprint, methodology: 0.001 kWh per gigabyte",
		}),
	})
}
