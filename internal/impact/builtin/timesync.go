package builtin

import (
	"context"
	"math"
	"time"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// maxSlots bounds the rows, and maxSlices the steps of the reference's way, that
// one node can be given by time-sync.
const (
	maxSlots  = 10_000_000
	maxSlices = 1_000_000_000
)

func timeSync() plugin.Method {
	return plugin.Method{
		Name:    "TimeSync",
		Paths:   []string{"@grnsft/if-plugins"},
		Summary: "Brings observations onto one grid of time slots.",
		Doc: `Replaces the observations of a component by one per slot of ` + "`interval`" + ` seconds between ` + "`start-time`" + ` and
` + "`end-time`" + `, so that components with different sampling can be added up. Slots go by the clock; the last one may be
shorter. Each parameter follows its time aggregation method:

| method | value of a slot |
|---|---|
| sum | each observation's value, divided in proportion to the time that it overlaps the slot; time without observations adds 0. Nothing is lost: the slots add up to the observations within the window |
| avg | the mean over the slot, weighted by time; time without observations counts as 0, as the component did nothing. Only for what belongs to the surroundings (names that end in ` + "`intensity`" + ` or ` + "`pue`" + `) the mean is over the observed time, and a slot without any keeps the value before it |
| copy | the last value; a slot without observations keeps the value before it |
| none | null |

Methods come from ` + "`parameter-metadata`" + ` of any plugin in the manifest; well-known parameters of the framework have
their natural method without it. Text without a method is copied. A number without a method is an error unless each
slot has exactly one observation, because copying it would change its total.

Durations may be fractions, intervals need not divide them, gaps may have any length; the cost grows with observations
and slots and not with seconds. ` + "`upsampling-resolution`" + ` has no effect. Observations that overlap are an error, and so is
a window that they do not fill, unless ` + "`allow-padding`" + ` is true.`,
		Example: `path: builtin
method: TimeSync
config:
  start-time: '2024-01-01T00:00:00.000Z'
  end-time: '2024-01-01T01:00:00.000Z'
  interval: 300
  allow-padding: true
parameter-metadata:
  inputs:
    requests:
      unit: requests
      description: requests served
      aggregation-method: {time: sum, component: sum}`,
		Config: schema.Object{
			Fields: []schema.Field{
				{Name: "start-time", Type: schema.Datetime(), Doc: "Start of the first slot."},
				{Name: "end-time", Type: schema.Datetime(), Doc: "End of the last slot."},
				{Name: "interval", Type: schema.Number(), Doc: "Length of a slot in seconds."},
				{Name: "allow-padding", Type: schema.Bool(), Doc: "Whether observations may leave a part of the window empty."},
				{Name: "upsampling-resolution", Type: schema.Optional(schema.AtLeast(1)), Doc: "Seconds of the reference's inner grid; without effect here."},
			},
		},
		Inputs: []plugin.Parameter{
			{Name: "timestamp", Unit: "RFC3339", Description: "refers to the time of occurrence of the input", Time: plugin.None, Component: plugin.None},
			{Name: "duration", Unit: "seconds", Description: "refers to the duration of the input", Time: plugin.Sum, Component: plugin.None},
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				CheckConfig: func(config *value.Object) (*value.Object, error) {
					return windowConfig(config, m, env.Dialect.ClockSlots)
				},
				CheckInput: observationCheck(),
				Run: func(ctx context.Context, c *plugin.Call) ([]*value.Object, error) {
					if c.Env.Dialect.ClockSlots {
						return byClock(ctx, c)
					}
					return bySlices(ctx, c)
				},
			}), nil
		},
	}
}

// windowConfig checks the configuration. The reference compares start and end
// as text, even if they are no times; byClock compares the instants.
func windowConfig(config *value.Object, m *plugin.Method, byClock bool) (*value.Object, error) {
	checked, issues := m.Config.Parse(config.Value(), nil)
	aborted := false
	for _, i := range issues {
		aborted = aborted || i.Code != "invalid_string" && i.Code != "too_small"
	}
	if start, end := config.Get("start-time"), config.Get("end-time"); !aborted {
		a, aok := instantMS(start)
		b, bok := instantMS(end)
		if byClock && (!aok || !bok || a >= b) || !byClock && start.Str() >= end.Str() {
			issues = append(issues, schema.Issue{Code: "custom", Text: "`start-time` should be lower than `end-time`"})
		}
	}
	if issues != nil {
		return nil, fault.New(fault.InputValidation, "%s", schema.Message(issues, schema.NoIndex))
	}
	return checked.Object(), nil
}

// observationCheck returns the check of one observation's time.
func observationCheck() func(row, config *value.Object, index int) error {
	at, duration := schema.Union(schema.Datetime(), schema.Date()), schema.Number()
	atPath, durationPath := []string{timestampKey}, []string{durationKey}
	return func(row, _ *value.Object, index int) error {
		_, issues := at.Parse(row.Get(timestampKey), atPath)
		if _, more := duration.Parse(row.Get(durationKey), durationPath); more != nil {
			issues = append(issues, more...)
		}
		if issues != nil {
			return fault.New(fault.InputValidation, "%s", schema.Message(issues, index))
		}
		return nil
	}
}

// instantMS returns a timestamp in milliseconds since 1970, cut to whole ones.
func instantMS(v value.Value) (float64, bool) {
	if v.Kind() == value.Date {
		return v.Num(), v.Num() == v.Num()
	}
	s := v.Str()
	// The usual form 2024-01-01T00:00:00Z, with or without milliseconds, by hand:
	// there is one per row.
	if n := len(s); (n == 20 || n == 24 && s[19] == '.') && s[n-1] == 'Z' {
		fields := [...]int{0, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19}
		var parts [6]int
		ok := true
		for i := range parts {
			for _, c := range []byte(s[fields[2*i]:fields[2*i+1]]) {
				ok = ok && c >= '0' && c <= '9'
				parts[i] = parts[i]*10 + int(c-'0')
			}
		}
		ms := 0
		if n == 24 {
			for _, c := range []byte(s[20:23]) {
				ok = ok && c >= '0' && c <= '9'
				ms = ms*10 + int(c-'0')
			}
		}
		if ok {
			t := time.Date(parts[0], time.Month(parts[1]), parts[2], parts[3], parts[4], parts[5], 0, time.UTC)
			return float64(t.UnixMilli() + int64(ms)), true
		}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		if t, err = time.Parse("2006-01-02T15:04Z07:00", s); err != nil {
			return 0, false
		}
	}
	return float64(t.UnixMilli()), true
}

// methodOf returns how a parameter is folded over time.
func methodOf(c *plugin.Call, name string) (plugin.Aggregation, bool) {
	if c.Node == nil || c.Node.Aggregation == nil {
		return plugin.Copy, false
	}
	p, ok := c.Node.Aggregation(name)
	if !ok || p.Time == "" {
		return plugin.Copy, false
	}
	return p.Time, true
}

const (
	timestampKey = "timestamp"
	durationKey  = "duration"
)

// paddingError is what both ways say of a window that observations do not fill.
func paddingError(atStart, atEnd bool) error {
	where := "start and end"
	switch {
	case !atEnd:
		where = "start"
	case !atStart:
		where = "end"
	}
	return fault.New(fault.InvalidPadding, "Avoiding padding at %s", where)
}

const overlapText = "Observation timestamps overlap, please check inputs."

func overlapError() error { return fault.New(fault.InvalidInput, "%s", overlapText) }

// isoText returns milliseconds since 1970 as the text of a timestamp.
func isoText(ms float64) value.Value {
	var buf [32]byte
	return value.Text(string(value.AppendISO(buf[:0], math.Trunc(ms))))
}
