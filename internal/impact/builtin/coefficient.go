package builtin

import (
	"context"

	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func coefficient() plugin.Method {
	return plugin.Method{
		Name:    "Coefficient",
		Paths:   []string{oldPackage},
		Summary: "Multiplies a parameter by a constant.",
		Doc: `output = input × coefficient, for each row. The unit of the result is the unit of the input times the unit of
the coefficient: energy in kWh times gCO2e/kWh is gCO2e. Both may be arithmetic over parameters of the row.`,
		Example: `path: builtin
method: Coefficient
config:
  input-parameter: cpu/energy
  coefficient: 1.2
  output-parameter: cpu/energy-with-cooling`,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "coefficient", Type: schema.Number(), Doc: "Number to multiply by, in the unit of output per input."},
			{Name: "input-parameter", Type: schema.NonEmpty(), Doc: "Parameter to multiply."},
			{Name: "output-parameter", Type: schema.NonEmpty(), Doc: "Parameter that takes the product."},
		}},
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			in := config.Get("input-parameter").Str()
			return makes(config, "output-parameter", out, plugin.Formula{
				Text: in + " × " + config.Get("coefficient").String(), Inputs: []string{in},
			})
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				Arithmetic:  true,
				Expressions: []string{"input-parameter", "coefficient"}, Numbers: []string{"coefficient"},
				CheckRows: func(c *plugin.Call) error { return checkOperand(c, "input-parameter", "input-parameter") },
				Run: func(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
					var in, factor operand
					return compute(c, "output-parameter", func(_ int, row, config *value.Object) float64 {
						in.set(config.Get("input-parameter"))
						factor.number = toNumber(config.Get("coefficient"))
						return in.of(row) * factor.number
					})
				},
			}), nil
		},
	}
}

// checkOperand checks that the parameter that config names under key is a
// number in every row. Path is what the message calls it; "" is its own name,
// which is also what dialects use that tell rows apart.
func checkOperand(c *plugin.Call, key, path string) error {
	var in operand
	for i, row := range c.Rows {
		in.set(c.Named(i).Get(key))
		name := path
		if name == "" || c.Env.Dialect.RowNumbers {
			name = in.field.Name
		}
		if err := c.Refuse(i, in.check(row, name)); err != nil {
			return err
		}
	}
	return nil
}
