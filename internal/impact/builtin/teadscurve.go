package builtin

import (
	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// teadsSource names where the curve comes from.
const teadsSource = "B. Davy, Estimating AWS EC2 Instances Carbon Emissions (Teads, 2021): power of a CPU at 0, 10, 50 and 100 % load as a share of its thermal design power"

func teadsCurve() plugin.Method {
	curve := func(method string) func(float64) float64 {
		x, y := []float64{0, 10, 50, 100}, []float64{0.12, 0.32, 0.75, 1.02}
		if method == "linear" {
			return func(t float64) float64 { return piecewise(x, y, t) }
		}
		return newSpline(x, y).at
	}
	linear, spline := curve("linear"), curve("spline")
	return rowFormula{
		needs: []schema.Field{
			{Name: "duration", Type: schema.Above(0)},
			{Name: "cpu/utilization", Type: schema.AtLeast(0)},
			{Name: "cpu/thermal-design-power", Type: schema.Above(0)},
			{Name: "vcpus-allocated", Type: schema.Optional(schema.Above(0))},
			{Name: "vcpus-total", Type: schema.Optional(schema.Above(0))},
		},
		compute: func(row, config *value.Object, _ *plugin.Env) error {
			u := row.Get("cpu/utilization").Num()
			if u > 100 {
				return fault.New(fault.InputValidation, "Computing cpu/energy: `cpu/utilization` is %s %%; it must be within 0 and 100", value.FormatNumber(u))
			}
			factor := spline
			if config.Get("interpolation").Str() == "linear" {
				factor = linear
			}
			energy := float64(float64(factor(u)*row.Get("cpu/thermal-design-power").Num())*row.Get("duration").Num()) / 3600 / 1000
			if used, all := row.Get("vcpus-allocated"), row.Get("vcpus-total"); used.IsNumber() && all.IsNumber() {
				energy = float64(energy * (used.Num() / all.Num()))
			}
			row.Set("cpu/energy", value.Of(energy))
			return nil
		},
	}.method(plugin.Method{
		Name:    "TeadsCurve",
		Summary: "Estimates a CPU's energy from its load and thermal design power.",
		Doc: `cpu/energy = f(cpu/utilization) × cpu/thermal-design-power × duration ÷ 3 600 000, in kWh, where f runs through 0.12,
0.32, 0.75 and 1.02 at 0, 10, 50 and 100 % load; × vcpus-allocated ÷ vcpus-total where the row has both. An estimate for
machines without a sensor: a measured energy is better in every case.`,
		Example: "path: '@grnsft/if-unofficial-plugins'\nmethod: TeadsCurve\nconfig:\n  interpolation: spline",
		Config: schema.Object{Fields: []schema.Field{
			{Name: "interpolation", Type: schema.Default(schema.Enum("spline", "linear"), value.Text("spline")), Doc: "Curve between the points."},
		}},
		Inputs: []plugin.Parameter{
			parameter("cpu/utilization", "%", "load of the CPU", plugin.Avg),
			parameter("cpu/thermal-design-power", "W", "thermal design power of the CPU", plugin.Copy),
			parameter("vcpus-allocated", "count", "virtual CPUs of the instance", plugin.Copy),
			parameter("vcpus-total", "count", "virtual CPUs of the host", plugin.Copy),
		},
		Outputs: []plugin.Parameter{parameter("cpu/energy", "kWh", "energy of the CPU", plugin.Sum)},
		Formula: formula("cpu/energy", plugin.Formula{
			Text:   "curve(cpu/utilization) × cpu/thermal-design-power × duration ÷ 3 600 000 [× vcpus-allocated ÷ vcpus-total]",
			Inputs: []string{"cpu/utilization", "cpu/thermal-design-power", "duration", "vcpus-allocated", "vcpus-total"}, Unit: "kWh", Source: teadsSource,
		}),
	})
}
