package builtin

import (
	"context"
	"strings"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func multiply() plugin.Method {
	m := fold("Multiply", "Multiplies parameters.", " × ", func(row *value.Object, in []value.Field) float64 {
		product := 1.0
		for i := range in {
			product *= toNumber(in[i].Get(row))
		}
		return product
	})
	m.Doc = `output = the product of the input parameters, from left to right, for each row. The unit of the result is the
product of their units: kWh times gCO2e/kWh is gCO2e.`
	m.Example = `path: builtin
method: Multiply
config:
  input-parameters: [energy, grid/carbon-intensity]
  output-parameter: carbon-operational`
	return m
}

// fold returns a method that makes one parameter of a list of parameters.
func fold(name, summary, operator string, f func(row *value.Object, in []value.Field) float64) plugin.Method {
	return plugin.Method{
		Name:    name,
		Paths:   []string{oldPackage},
		Summary: summary,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "input-parameters", Type: schema.ArrayOf(schema.Text(), 0), Doc: "Parameters to read, in order; each must be a number."},
			{Name: "output-parameter", Type: schema.NonEmpty(), Doc: "Parameter that takes the result."},
		}},
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			var names []string
			for _, v := range config.Get("input-parameters").Items() {
				names = append(names, v.Str())
			}
			return makes(config, "output-parameter", out, plugin.Formula{Text: strings.Join(names, operator), Inputs: names})
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				Arithmetic: true,
				NoConfig:   name == "Sum",
				CheckRows:  checkList,
				Run: func(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
					in := fields(c.Config.Get("input-parameters").Items())
					if len(in) == 0 && name == "Subtract" { // the reference sets what is not there
						out := c.Config.Get("output-parameter").Str()
						for _, row := range c.Rows {
							row.Set(out, value.Value{})
						}
						return c.Rows, nil
					}
					return compute(c, "output-parameter", func(_ int, row, _ *value.Object) float64 { return f(row, in) })
				},
			}), nil
		},
	}
}

func fields(names []value.Value) []value.Field {
	in := make([]value.Field, len(names))
	for i, v := range names {
		in[i].Name = v.Str()
	}
	return in
}

// checkList checks that every parameter of the list is a number in every row.
func checkList(c *plugin.Call) error {
	in := fields(c.Config.Get("input-parameters").Items())
	if c.Env.Dialect.StrictConfig {
		if len(in) == 0 {
			return fault.New(fault.Config, "`input-parameters` is empty: name the parameters to read")
		}
		for i := range in {
			if strings.HasPrefix(in[i].Name, "=") && len(c.Rows) > 0 && !c.Rows[0].Has(in[i].Name) {
				return fault.New(fault.WrongArithmetic, "`input-parameters` takes names, not the arithmetic %q: compute it with Coefficient or Divide first", in[i].Name)
			}
		}
	}
	for i, row := range c.Rows {
		good := true
		for j := range in {
			v := in[j].Get(row)
			good = good && v.IsNumber() && v.Num() == v.Num()
		}
		if good {
			continue
		}
		var issues []schema.Issue
		seen := map[string]bool{}
		for j := range in {
			if !seen[in[j].Name] {
				seen[in[j].Name] = true
				issues = append(issues, checkNumber(in[j].Get(row), in[j].Name)...)
			}
		}
		return c.Refuse(i, issues)
	}
	return nil
}
