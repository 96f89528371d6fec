package builtin

import (
	"context"

	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func exponent() plugin.Method {
	return plugin.Method{
		Name:    "Exponent",
		Paths:   []string{oldPackage},
		Summary: "Raises a parameter to a power.",
		Doc: `output = input ^ exponent, for each row. A negative number to a fractional power has no value, and 0 to a
negative power is infinite.`,
		Example: `path: builtin
method: Exponent
config:
  input-parameter: side
  exponent: 3
  output-parameter: volume`,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "input-parameter", Type: schema.NonEmpty(), Doc: "Parameter to raise."},
			{Name: "exponent", Type: schema.Number(), Doc: "The power, without unit."},
			{Name: "output-parameter", Type: schema.NonEmpty(), Doc: "Parameter that takes the power."},
		}},
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			in := config.Get("input-parameter").Str()
			return makes(config, "output-parameter", out, plugin.Formula{
				Text: in + " ^ " + config.Get("exponent").String(), Inputs: []string{in},
			})
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				Arithmetic: true, Expressions: []string{"input-parameter", "exponent"},
				CheckRows: func(c *plugin.Call) error { return checkOperand(c, "input-parameter", "") },
				Run: func(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
					var in operand
					return compute(c, "output-parameter", func(_ int, row, config *value.Object) float64 {
						in.set(config.Get("input-parameter"))
						return value.Pow(in.of(row), toNumber(config.Get("exponent")))
					})
				},
			}), nil
		},
	}
}
