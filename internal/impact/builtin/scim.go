package builtin

import (
	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func sciM() plugin.Method {
	resource := schema.Optional(schema.Above(0))
	// either returns the first of two parameters that the row has.
	either := func(row *value.Object, first, second string) (float64, error) {
		for _, name := range []string{first, second} {
			if v := row.Get(name); v.IsNumber() {
				return v.Num(), nil
			}
		}
		return 0, fault.New(fault.InputValidation, "Either `%s` or `%s` should be provided in the input", first, second)
	}
	return rowFormula{
		needs: []schema.Field{
			{Name: "device/emissions-embodied", Type: schema.AtLeast(0)},
			{Name: "device/expected-lifespan", Type: schema.Above(0)},
			{Name: "duration", Type: schema.AtLeast(0)},
			{Name: "vcpus-allocated", Type: resource},
			{Name: "resources-reserved", Type: resource},
			{Name: "vcpus-total", Type: resource},
			{Name: "resources-total", Type: resource},
		},
		embodied: "SciM",
		compute: func(row, _ *value.Object, _ *plugin.Env) error {
			reserved, err := either(row, "vcpus-allocated", "resources-reserved")
			if err != nil {
				return err
			}
			total, err := either(row, "vcpus-total", "resources-total")
			if err != nil {
				return err
			}
			row.Set("carbon-embodied", value.Of(row.Get("device/emissions-embodied").Num()*
				(row.Get("duration").Num()/row.Get("device/expected-lifespan").Num())*(reserved/total)))
			return nil
		},
	}.method(plugin.Method{
		Name:    "SciM",
		Summary: "Computes the share of a device's embodied carbon that each row uses up.",
		Doc: `carbon-embodied = device/emissions-embodied × (duration ÷ device/expected-lifespan) × (vcpus-allocated ÷ vcpus-total),
in gCO2e: M = TE × TS × RS of ISO/IEC 21031. resources-reserved and resources-total stand in for the counts of CPUs
where these are not given.`,
		Example: "path: '@grnsft/if-plugins'\nmethod: SciM",
		Inputs: []plugin.Parameter{
			parameter("device/emissions-embodied", "gCO2e", "embodied carbon of the device", plugin.Copy),
			parameter("device/expected-lifespan", "seconds", "expected life of the device", plugin.Copy),
			parameter("vcpus-allocated", "count", "virtual CPUs reserved", plugin.Copy),
			parameter("vcpus-total", "count", "virtual CPUs of the device", plugin.Copy),
			parameter("resources-reserved", "count", "resources reserved", plugin.Copy),
			parameter("resources-total", "count", "resources of the device", plugin.Copy),
		},
		Outputs: []plugin.Parameter{parameter("carbon-embodied", "gCO2e", "embodied carbon", plugin.Sum)},
		Formula: formula("carbon-embodied", plugin.Formula{
			Text:   "device/emissions-embodied × duration ÷ device/expected-lifespan × vcpus-allocated ÷ vcpus-total",
			Inputs: []string{"device/emissions-embodied", "duration", "device/expected-lifespan", "vcpus-allocated", "vcpus-total", "resources-reserved", "resources-total"},
			Unit:   "gCO2e", Source: sciStandard,
		}),
	})
}
