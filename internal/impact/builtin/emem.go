package builtin

import (
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func eMem() plugin.Method {
	return rowFormula{
		needs: []schema.Field{
			{Name: "duration", Type: schema.AtLeast(0)},
			{Name: "memory/capacity", Type: schema.AtLeast(0)},
			{Name: "memory/utilization", Type: schema.AtLeast(0)},
		},
		compute: func(row, config *value.Object, env *plugin.Env) error {
			energy := float64(float64(row.Get("memory/capacity").Num()*(row.Get("memory/utilization").Num()/100)) * config.Get("energy-per-gb").Num())
			if env.Dialect.MemoryHours {
				energy = float64(energy*row.Get("duration").Num()) / 3600
			}
			row.Set("memory/energy", value.Of(energy))
			return nil
		},
	}.method(plugin.Method{
		Name:    "EMem",
		Summary: "Estimates the energy of memory from the gigabytes in use.",
		Doc: `memory/energy = memory/capacity × memory/utilization ÷ 100 × energy-per-gb × duration ÷ 3600, in kWh. The coefficient
is an energy per gigabyte and hour; the original plugin leaves the duration out and takes each observation for an hour
(with --compat this one does so too).`,
		Example: "path: '@grnsft/if-plugins'\nmethod: EMem\nconfig:\n  energy-per-gb: 0.000392",
		Config: schema.Object{Fields: []schema.Field{
			{Name: "energy-per-gb", Type: schema.Default(schema.Above(0), value.Of(0.000392)), Doc: "Energy of a gigabyte in use, kWh per hour."},
		}},
		Inputs: []plugin.Parameter{
			parameter("memory/capacity", "GB", "memory of the machine", plugin.Copy),
			parameter("memory/utilization", "%", "share of the memory that is in use", plugin.Avg),
		},
		Outputs: []plugin.Parameter{parameter("memory/energy", "kWh", "energy of the memory", plugin.Sum)},
		Formula: formula("memory/energy", plugin.Formula{
			Text:   "memory/capacity × memory/utilization ÷ 100 × energy-per-gb × duration ÷ 3600",
			Inputs: []string{"memory/capacity", "memory/utilization", "duration"}, Unit: "kWh",
			Source: "Cloud Carbon Footprint, methodology: 0.000392 kWh per gigabyte-hour",
		}),
	})
}
