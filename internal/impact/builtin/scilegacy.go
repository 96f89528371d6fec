package builtin

import (
	"context"
	"strconv"
	"strings"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// sciLegacy is the Sci of the package that preceded the framework's own
// methods: a score for a stretch of time, not for the row.
func sciLegacy() plugin.Method {
	return plugin.Method{
		Name:    "SciPerTime",
		Paths:   []string{oldPackage},
		Aliases: []string{"Sci"},
		Summary: "Computes carbon per functional unit for a stretch of time, as the Sci of @grnsft/if-plugins did.",
		Doc: `sci = carbon ÷ duration × functional-unit-time ÷ R, for each row, in gCO2e per functional unit, where carbon is the
row's ` + "`carbon`" + ` or else carbon-operational + carbon-embodied, in gCO2e, and R the row's number of functional units. It answers
to ` + "`method: Sci`" + ` under the path ` + "`@grnsft/if-plugins`" + ` only; the method Sci of ` + "`path: builtin`" + ` divides the carbon of
the row by its functional units, which is what ISO/IEC 21031:2024 asks for.`,
		Example: `path: '@grnsft/if-plugins'
method: Sci
config:
  functional-unit: requests
  functional-unit-time: 1-hour`,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "functional-unit", Type: schema.NonEmpty(), Doc: "Parameter with the number of functional units of the row."},
			{Name: "functional-unit-time", Type: schema.NonEmpty(), Doc: "Stretch of time that the score is for: a number and a unit, 1-hour or 30 min."},
		}},
		Inputs: []plugin.Parameter{
			{Name: "carbon", Unit: "gCO2e", Description: "carbon emitted", Time: plugin.Sum, Component: plugin.Sum},
		},
		Outputs: []plugin.Parameter{
			{Name: "sci", Unit: "gCO2e", Description: "carbon per functional unit over functional-unit-time", Time: plugin.Avg, Component: plugin.Sum},
		},
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			unit := config.Get("functional-unit").Str()
			return plugin.Formula{
				Text:   "carbon ÷ duration × " + config.Get("functional-unit-time").Str() + " ÷ " + unit,
				Inputs: []string{"carbon", "carbon-operational", "carbon-embodied", "duration", unit},
				Unit:   "gCO2e per " + unit, Source: "Sci of @grnsft/if-plugins 0.3",
			}, out == "sci"
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				Arithmetic: true, Expressions: []string{"functional-unit"},
				CheckRows: checkSCIPerTime,
				Run: func(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
					seconds, err := stretch(c.Config.Get("functional-unit-time").Str())
					if err != nil {
						return nil, err
					}
					var units operand
					out := outputField{value.Field{Name: "sci"}}
					for i, row := range c.Rows {
						units.set(c.Row(i).Get("functional-unit"))
						score := rowCarbon(row) / toNumber(row.Get("duration")) * seconds / units.of(row)
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

// rowCarbon returns the carbon of a row in gCO2e.
func rowCarbon(row *value.Object) float64 {
	if v := row.Get("carbon"); !v.IsNullish() {
		return toNumber(v)
	}
	return toNumber(row.Get("carbon-operational")) + toNumber(row.Get("carbon-embodied"))
}

// checkSCIPerTime checks carbon, duration and the functional units of every row.
func checkSCIPerTime(c *plugin.Call) error {
	var units operand
	for i, row := range c.Rows {
		units.set(c.Named(i).Get("functional-unit"))
		parts := []string{"carbon"}
		if row.Get("carbon").IsNullish() {
			parts = []string{"carbon-operational", "carbon-embodied"}
		}
		var issues []schema.Issue
		for _, name := range parts {
			_, more := schema.AtLeast(0).Parse(row.Get(name), []string{name})
			issues = append(issues, more...)
		}
		_, more := schema.Above(0).Parse(row.Get("duration"), []string{"duration"})
		if err := c.Refuse(i, append(issues, more...)); err != nil {
			return err
		}
		if r := units.value(row); !r.IsNumber() || !(r.Num() > 0) {
			return missingUnits(&units, r, i)
		}
	}
	return nil
}

// stretch reads a number and a unit of time, "1-hour" or "30 min", as seconds.
func stretch(s string) (float64, error) {
	number, unit, ok := strings.Cut(strings.TrimSpace(s), "-")
	if !ok {
		number, unit, ok = strings.Cut(strings.TrimSpace(s), " ")
	}
	n, err := strconv.ParseFloat(number, 64)
	seconds := unitSeconds(strings.TrimSpace(unit))
	if !ok || err != nil || !(n > 0) || seconds == 0 || n*seconds-n*seconds != 0 {
		return 0, fault.New(fault.Config, "read `functional-unit-time` %q: it must be a number and a unit of time, such as 1-hour, 30 min or 1-day", s)
	}
	return n * seconds, nil
}
