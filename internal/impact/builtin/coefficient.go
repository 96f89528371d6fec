package builtin

import (
	"context"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func coefficient() plugin.Method {
	return plugin.Method{
		Name:    "Coefficient",
		Paths:   []string{"@grnsft/if-plugins"},
		Summary: "Multiplies a parameter by a constant.",
		Config: schema.Object{Fields: []schema.Field{
			{Name: "input-parameter", Type: schema.Text(), Doc: "Parameter to multiply."},
			{Name: "coefficient", Type: schema.Number(), Doc: "Number to multiply by."},
			{Name: "output-parameter", Type: schema.NonEmpty(), Doc: "Parameter that takes the product."},
		}},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				Arithmetic: true, Expressions: []string{"input-parameter", "coefficient"},
				CheckInput: func(row, config *value.Object, _ int) error {
					v := row.Get(config.Get("input-parameter").Str())
					if _, issues := schema.Number().Parse(v, []string{"input-parameter"}); issues != nil {
						return fault.New(fault.InputValidation, "%s", schema.Message(issues, schema.NoIndex))
					}
					return nil
				},
				Run: func(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
					for i, row := range c.Rows {
						config := c.Row(i)
						in := row.Get(config.Get("input-parameter").Str())
						row.Set(config.Get("output-parameter").Str(), value.Of(in.Num()*config.Get("coefficient").Num()))
					}
					return c.Rows, nil
				},
			}), nil
		},
	}
}
