package builtin

import (
	"context"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// sciStandard is the standard of the score.
const sciStandard = "ISO/IEC 21031:2024, Software Carbon Intensity"

func sci() plugin.Method {
	return plugin.Method{
		Name:    "Sci",
		Summary: "Computes the Software Carbon Intensity of each row: carbon per functional unit.",
		Doc: `sci = carbon ÷ R, for each row: ((E × I) + M) per R of ISO/IEC 21031:2024, where carbon in gCO2e is already
(E × I) + M and R is the number of functional units (requests, users, jobs …) of the row. The result is in gCO2e per
functional unit. R of 0, null or absent has no score: that is an error (with --compat: R = 0 gives sci = carbon).
Mean and sum of such scores over time are not the score of the whole period; the engine adds that one itself, as a
ratio of sums.`,
		Example: `path: builtin
method: Sci
config:
  functional-unit: requests`,
		Config: schema.Object{
			Fields: []schema.Field{{Name: "functional-unit", Type: schema.Text(), Doc: "Parameter with the number of functional units of the row."}},
			Refine: func(o *value.Object) []schema.Issue {
				if o.Get("functional-unit").Truthy() {
					return nil
				}
				return []schema.Issue{{Code: "custom", Text: "`functional-unit` should be provided in your config"}}
			},
		},
		Inputs: []plugin.Parameter{
			{Name: "carbon", Unit: "gCO2e", Description: "an amount of carbon emitted into the atmosphere", Time: plugin.Sum, Component: plugin.Sum},
			{Name: "functional-unit", Unit: "none", Description: "the name of the functional unit in which the final SCI value should be expressed, e.g. requests, users", Time: plugin.Sum, Component: plugin.Sum},
		},
		Outputs: []plugin.Parameter{
			{Name: "sci", Unit: "gCO2e", Description: "carbon expressed in terms of the given functional unit", Time: plugin.Avg, Component: plugin.Sum},
		},
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			unit := config.Get("functional-unit").Str()
			return plugin.Formula{Text: "carbon ÷ " + unit, Inputs: []string{"carbon", unit}, Unit: "gCO2e per " + unit, Source: sciStandard}, out == "sci"
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				Arithmetic: true, Expressions: []string{"functional-unit"},
				CheckRows: checkSCI,
				Run: func(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
					var units operand
					carbon, out := value.Field{Name: "carbon"}, outputField{value.Field{Name: "sci"}}
					for i, row := range c.Rows {
						units.set(c.Row(i).Get("functional-unit"))
						score, r := toNumber(carbon.Get(row)), units.of(row)
						if raw := units.value(row); r == 0 && raw.IsNumber() {
							env.Warn("-- SKIPPING -- DivisionByZero: you are attempting to divide by zero in Sci plugin : inputs[%d]", i)
						} else {
							score /= r
						}
						v, err := c.Finite(i, "sci", score)
						if err != nil {
							return nil, err
						}
						out.set(row, v)
					}
					return c.Rows, nil
				},
			}), nil
		},
	}
}

// value returns the operand in row before it is made a number.
func (o *operand) value(row *value.Object) value.Value {
	if o.constant {
		return value.Of(o.number)
	}
	return o.field.Get(row)
}

// checkSCI checks carbon, duration and the number of functional units.
func checkSCI(c *plugin.Call) error {
	carbon, duration := value.Field{Name: "carbon"}, value.Field{Name: "duration"}
	var units operand
	for i, row := range c.Rows {
		units.set(c.Named(i).Get("functional-unit"))
		if err := checkUnits(c, &units, row, i); err != nil {
			return err
		}
		if g, s := carbon.Get(row), duration.Get(row); g.IsNumber() && g.Num() >= 0 && s.IsNumber() && s.Num() >= 1 {
			continue
		}
		_, issues := sciInput.Parse(row.Value(), nil)
		if err := c.Refuse(i, issues); err != nil {
			return err
		}
	}
	return nil
}

var sciInput = schema.Object{Fields: []schema.Field{ //nolint:gochecknoglobals // constant
	{Name: "carbon", Type: schema.AtLeast(0)},
	{Name: "duration", Type: schema.AtLeast(1)},
}}

// checkUnits checks R, the number of functional units of row i.
func checkUnits(c *plugin.Call, units *operand, row *value.Object, i int) error {
	v := units.value(row)
	if c.Env.Dialect.ZeroUnits && v.IsNumber() && v.Num() > 0 {
		return nil
	}
	if r := toNumber(v); !c.Env.Dialect.ZeroUnits && v.Kind() != value.Undefined && r >= 0 {
		return nil
	}
	if !c.Env.Dialect.ZeroUnits {
		return fault.New(fault.MissingInputData, "`functional-unit` value is missing from input data or it is not a positive integer")
	}
	return missingUnits(units, v, i)
}

// missingUnits is the error for row i whose number of functional units v is none.
func missingUnits(units *operand, v value.Value, i int) error {
	what := "is missing"
	switch {
	case v.IsNumber():
		what = "is " + value.FormatNumber(v.Num())
	case v.Kind() != value.Undefined:
		what = "is no number but " + v.Kind().String()
	}
	name := units.field.Name
	if units.constant {
		name = "the functional unit"
	}
	return fault.New(fault.MissingInputData, "divide carbon of inputs[%d] by `%s`: it %s, and a score per functional unit needs more than 0 of them; leave out rows without any, or join them into longer ones with TimeSync", i, name, what)
}
