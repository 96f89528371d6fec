package builtin

import (
	"context"
	"math"
	"slices"
	"strconv"

	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// timeUnits are the units of time in seconds, with their names. A month is a
// twelfth of a year and m means month, not minute; so says the reference.
var timeUnits = []struct { //nolint:gochecknoglobals // constant
	seconds float64
	names   []string
}{
	{1, []string{"s", "second", "sec", "secs", "seconds"}},
	{60, []string{"min", "mins", "minute", "minutes"}},
	{3600, []string{"h", "hs", "hr", "hrs", "hour", "hours"}},
	{86400, []string{"d", "ds", "day", "days"}},
	{604800, []string{"w", "ws", "wk", "wks", "week", "weeks"}},
	{2628336, []string{"m", "mnth", "mth", "mnths", "mths", "month", "months"}},
	{31556952, []string{"y", "ys", "yr", "yrs", "year", "years"}},
}

// perDuration stands for the row's own duration as a unit of time.
const perDuration = "duration"

// unitNames lists the names of all units of time after first.
func unitNames(first ...string) []string {
	for _, u := range timeUnits {
		first = append(first, u.names...)
	}
	return first
}

// unitSeconds returns the seconds of a unit of time, 0 if there is none such.
func unitSeconds(name string) float64 {
	for _, u := range timeUnits {
		if slices.Contains(u.names, name) {
			return u.seconds
		}
	}
	return 0
}

var timeConverterInput = schema.AtLeast(1) //nolint:gochecknoglobals // constant

func timeConverter() plugin.Method {
	return plugin.Method{
		Name:    "TimeConverter",
		Summary: "Converts an amount per unit of time to another unit of time.",
		Doc: `output = input ÷ original-time-unit × new-time-unit, for each row, both units in seconds: 10 kWh per year are
10 ÷ 31,556,952 × 3600 kWh per hour. The word ` + "`duration`" + ` as new unit is the row's own duration. A month (` + "`m`" + `,
` + "`month`" + `) has 2,628,336 s and a year 31,556,952 s; a minute is ` + "`min`" + `. (With --compat the result is rounded to six decimals.)`,
		Example: `path: builtin
method: TimeConverter
config:
  input-parameter: energy-per-year
  original-time-unit: year
  new-time-unit: duration
  output-parameter: energy`,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "input-parameter", Type: schema.Text(), Doc: "Amount per original-time-unit."},
			{Name: "original-time-unit", Type: schema.Enum(unitNames()...), Doc: "Unit of time of the input."},
			{Name: "new-time-unit", Type: schema.Enum(unitNames(perDuration)...), Doc: "Unit of time of the output; duration is that of the row."},
			{Name: "output-parameter", Type: schema.NonEmpty(), Doc: "Parameter that takes the amount per new-time-unit."},
		}},
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			in, unit := config.Get("input-parameter").Str(), config.Get("new-time-unit").Str()
			f := plugin.Formula{Text: in + " ÷ 1 " + config.Get("original-time-unit").Str() + " × 1 " + unit, Inputs: []string{in}}
			if unit == perDuration {
				f.Text = in + " ÷ 1 " + config.Get("original-time-unit").Str() + " × " + perDuration
				f.Inputs = append(f.Inputs, perDuration)
			}
			return makes(config, "output-parameter", out, f)
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				Arithmetic: true, Expressions: []string{"input-parameter"},
				CheckRows: checkConversion,
				Run: func(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
					original := unitSeconds(c.Config.Get("original-time-unit").Str())
					unit := c.Config.Get("new-time-unit").Str()
					seconds := unitSeconds(unit)
					duration := value.Field{Name: perDuration}
					var in operand
					return compute(c, "output-parameter", func(_ int, row, config *value.Object) float64 {
						in.set(config.Get("input-parameter"))
						if unit == perDuration {
							seconds = toNumber(duration.Get(row))
						}
						x := in.of(row) / original * seconds
						if env.Dialect.FullPrecision {
							return x
						}
						return sixDecimals(x)
					})
				},
			}), nil
		},
	}
}

// checkConversion checks the duration and the input of every row.
func checkConversion(c *plugin.Call) error {
	var in operand
	duration := value.Field{Name: perDuration}
	for i, row := range c.Rows {
		in.set(c.Named(i).Get("input-parameter"))
		var issues []schema.Issue
		if in.constant || in.field.Name != perDuration {
			if v := duration.Get(row); !v.IsNumber() || !(v.Num() >= 1) {
				_, issues = timeConverterInput.Parse(v, []string{perDuration})
			}
		}
		issues = append(issues, in.check(row, in.field.Name)...)
		if err := c.Refuse(i, issues); err != nil {
			return err
		}
	}
	return nil
}

// sixDecimals is Number(x.toFixed(6)) of ECMAScript: rounded to six decimals by
// the exact value of x, halves away from zero.
func sixDecimals(x float64) float64 {
	a := math.Abs(x)
	if !(a < 1e21) {
		return x
	}
	if math.Abs(math.Mod(a*128, 2)) == 1 {
		// Only odd multiples of 1/128 lie exactly half-way; strconv would round
		// them to even.
		a = math.Nextafter(a, math.Inf(1))
	}
	r, _ := strconv.ParseFloat(strconv.FormatFloat(a, 'f', 6, 64), 64) // what FormatFloat wrote
	return math.Copysign(r, x)
}
