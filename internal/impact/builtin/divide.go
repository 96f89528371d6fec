package builtin

import (
	"context"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func divide() plugin.Method {
	return plugin.Method{
		Name:    "Divide",
		Paths:   []string{oldPackage},
		Summary: "Divides a parameter by another or by a number.",
		Doc: `output = numerator ÷ denominator, for each row. The unit of the result is the unit of the numerator per unit of
the denominator: J ÷ 3,600,000 J/kWh is kWh. A denominator of 0 is an error (with --compat: a number 0 in config gives
the numerator and a warning).`,
		Example: `path: builtin
method: Divide
config:
  numerator: energy-joules
  denominator: 3600000
  output: energy`,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "numerator", Type: schema.NonEmpty(), Doc: "Parameter to divide."},
			{Name: "denominator", Type: schema.Union(schema.Text(), schema.Number()), Doc: "Parameter or number to divide by."},
			{Name: "output", Type: schema.Text(), Doc: "Parameter that takes the quotient."},
		}},
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			f := plugin.Formula{Inputs: []string{config.Get("numerator").Str()}}
			denominator := config.Get("denominator")
			f.Text = f.Inputs[0] + " ÷ " + denominator.String()
			if denominator.IsString() {
				f.Inputs = append(f.Inputs, denominator.Str())
			}
			return makes(config, "output", out, f)
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				Arithmetic: true, Expressions: []string{"numerator", "denominator"},
				CheckRows: checkDivision,
				Run: func(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
					var numerator, denominator operand
					return compute(c, "output", func(i int, row, config *value.Object) float64 {
						n, d := config.Get("numerator"), config.Get("denominator")
						if !env.Dialect.ConfigNames {
							n, d = override(row, "numerator", n), override(row, "denominator", d)
						}
						numerator.set(n)
						denominator.set(d)
						x, y := numerator.of(row), denominator.of(row)
						if y == 0 {
							env.Warn("-- SKIPPING -- DivisionByZero: you are attempting to divide by zero in Divide plugin : inputs[%d]", i)
							return x
						}
						return x / y
					})
				},
			}), nil
		},
	}
}

// override returns the row's own value of key if it has one, else v: where the
// reference looks up its configuration it finds inputs of the same name first.
func override(row *value.Object, key string, v value.Value) value.Value {
	if own := row.Get(key); own.Truthy() {
		return own
	}
	return v
}

// checkDivision checks numerator and denominator in every row.
func checkDivision(c *plugin.Call) error {
	strict := c.Env.Dialect.ZeroDivision
	var numerator, denominator operand
	for i, row := range c.Rows {
		config := c.Named(i)
		numerator.set(config.Get("numerator"))
		denominator.set(config.Get("denominator"))
		var issues []schema.Issue
		if denominator.constant || denominator.field.Name != numerator.field.Name {
			issues = numerator.check(row, numerator.field.Name)
		}
		v := value.Of(denominator.number)
		if !denominator.constant {
			if v = denominator.field.Get(row); v.Kind() != value.Undefined {
				issues = append(issues, denominator.check(row, denominator.field.Name)...)
			}
		}
		if err := c.Refuse(i, issues); err != nil {
			return err
		}
		switch {
		case strict && v.IsNumber() && v.Num() == 0:
			return fault.New(fault.ZeroDivision, "divide `%s` of inputs[%d] by `%s`: the denominator is 0", config.Get("numerator").String(), i, config.Get("denominator").String())
		case !denominator.constant && !v.Truthy():
			return fault.New(fault.MissingInputData, "%s is missing from the input array, or has nullish value.", denominator.field.Name)
		}
	}
	return nil
}
