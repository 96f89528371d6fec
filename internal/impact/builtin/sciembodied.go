package builtin

import (
	"context"
	"slices"
	"sync"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// embodiedSource is where the constants of the model come from.
const embodiedSource = "baseline server and increments per component of the Impact Framework (github.com/Green-Software-Foundation/if/issues/917); M = TE × TS × RS of ISO/IEC 21031:2024"

// The constants of the model, each a key of config. Emissions are in gCO2e.
const (
	baselineVCPUs = iota
	baselineMemory
	baselineEmissions
	lifespan
	perVCPU
	perMemory
	perSSD
	perHDD
	perGPU
	constantCount
)

var embodiedConstants = [constantCount]schema.Field{ //nolint:gochecknoglobals // constant
	baselineVCPUs:     {Name: "baseline-vcpus", Type: schema.Default(schema.AtLeast(0), value.Of(1)), Doc: "CPUs in the baseline server."},
	baselineMemory:    {Name: "baseline-memory", Type: schema.Default(schema.AtLeast(0), value.Of(16)), Doc: "Memory in the baseline server, GB."},
	baselineEmissions: {Name: "baseline-emissions", Type: schema.Default(schema.AtLeast(0), value.Of(1e6)), Doc: "Embodied carbon of the baseline server, gCO2e."},
	lifespan:          {Name: "lifespan", Type: schema.Default(schema.Above(0), value.Of(126144000)), Doc: "Expected life of the hardware, seconds; four years by default."},
	perVCPU:           {Name: "vcpu-emissions-constant", Type: schema.Default(schema.AtLeast(0), value.Of(1e5)), Doc: "Embodied carbon of one CPU more, gCO2e."},
	perMemory:         {Name: "memory-emissions-constant", Type: schema.Default(schema.AtLeast(0), value.Of(533.0/384)), Doc: "Embodied carbon of memory, kgCO2e per GB."},
	perSSD:            {Name: "ssd-emissions-constant", Type: schema.Default(schema.AtLeast(0), value.Of(5e4)), Doc: "Embodied carbon of one SSD, gCO2e."},
	perHDD:            {Name: "hdd-emissions-constant", Type: schema.Default(schema.AtLeast(0), value.Of(1e5)), Doc: "Embodied carbon of one HDD, gCO2e."},
	perGPU:            {Name: "gpu-emissions-constant", Type: schema.Default(schema.AtLeast(0), value.Of(1.5e5)), Doc: "Embodied carbon of one GPU, gCO2e."},
}

// The parameters that the model reads from rows.
const (
	rowDuration = iota
	rowVCPUs
	rowMemory
	rowSSD
	rowHDD
	rowGPU
	rowUsage
	rowTime
	rowCount
)

var embodiedInput = schema.Object{ //nolint:gochecknoglobals // constant
	Fields: []schema.Field{
		rowDuration: {Name: "duration", Type: schema.Above(0)},
		rowVCPUs:    {Name: "vCPUs", Type: schema.Default(schema.Above(0), value.Of(1))},
		rowMemory:   {Name: "memory", Type: schema.Default(schema.Above(0), value.Of(16))},
		rowSSD:      {Name: "ssd", Type: schema.Default(schema.AtLeast(0), value.Of(0))},
		rowHDD:      {Name: "hdd", Type: schema.Default(schema.AtLeast(0), value.Of(0))},
		rowGPU:      {Name: "gpu", Type: schema.Default(schema.AtLeast(0), value.Of(0))},
		rowUsage:    {Name: "usage-ratio", Type: schema.Default(schema.Above(0), value.Of(1))},
		rowTime:     {Name: "time", Type: schema.Optional(schema.Above(0))},
	}}

func sciEmbodied() plugin.Method {
	names := make([]string, constantCount)
	for i, f := range embodiedConstants {
		names[i] = f.Name
	}
	resource := func(name, unit, description string) plugin.Parameter {
		return plugin.Parameter{Name: name, Unit: unit, Description: description, Time: plugin.Copy, Component: plugin.Copy}
	}
	return plugin.Method{
		Name:    "SciEmbodied",
		Summary: "Estimates the embodied carbon of the hardware that each row reserves.",
		Doc: `embodied-carbon = total × usage-ratio × time ÷ lifespan, in gCO2e, for each row: M = TE × RS × TS of
ISO/IEC 21031:2024. The total is that of a baseline server and what the row's machine has beyond it:

    total = baseline-emissions + (vCPUs − baseline-vcpus) × vcpu-emissions-constant
          + (memory − baseline-memory) × memory-emissions-constant × baseline-memory ÷ 16 × 1000
          + ssd × ssd-emissions-constant + hdd × hdd-emissions-constant + gpu × gpu-emissions-constant

Time is the row's ` + "`time`" + ` or else its duration, in seconds. The row takes defaults for what it lacks: 1 CPU, 16 GB, no
disks and GPUs, usage-ratio 1. A machine smaller than the baseline counts less than it. An hour of the baseline server
is 28.54 gCO2e.`,
		Example: `path: builtin
method: SciEmbodied
config:
  baseline-emissions: 1300000`,
		Config: schema.Object{Fields: append(append([]schema.Field(nil), embodiedConstants[:]...),
			schema.Field{Name: "output-parameter", Type: schema.Default(schema.Text(), value.Text("embodied-carbon")), Doc: "Parameter that takes the result, gCO2e."})},
		Inputs: []plugin.Parameter{
			resource("vCPUs", "CPUs", "number of CPUs allocated to an application"),
			resource("memory", "GB", "RAM available for a resource, in GB"),
			resource("ssd", "SSDs", "number of SSDs available for a resource"),
			resource("hdd", "HDDs", "number of HDDs available for a resource"),
			resource("gpu", "GPUs", "number of GPUs available for a resource"),
			resource("usage-ratio", "dimensionless", "a scaling factor that can be used to describe the ratio of actual resource usage comapred to real device usage, e.g. 0.25 if you are using 2 out of 8 vCPUs, 0.1 if you are responsible for 1 out of 10 GB of storage, etc"),
			resource("time", "seconds", "a time unit to scale the embodied carbon by, in seconds. If not provided,time defaults to the value of the timestep duration."),
		},
		Outputs: []plugin.Parameter{
			{Name: "embodied-carbon", Unit: "gCO2eq", Description: "embodied carbon for a resource, scaled by usage", Time: plugin.Sum, Component: plugin.Sum},
		},
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			name := config.Get("output-parameter").Str()
			if name == "" {
				name = "embodied-carbon"
			}
			return plugin.Formula{
				Text:   "(baseline + beyond it: vCPUs, memory, ssd, hdd, gpu) × usage-ratio × (time or duration) ÷ lifespan",
				Inputs: []string{"vCPUs", "memory", "ssd", "hdd", "gpu", "usage-ratio", "time", "duration"},
				Unit:   "gCO2e", Source: embodiedSource,
			}, out == name
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			var warned sync.Once
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				Arithmetic: true, Expressions: names, Numbers: names, NoConfig: true,
				CheckConfig: func(config *value.Object) (*value.Object, error) {
					checked, issues := m.Config.Parse(config.Value(), nil)
					if issues != nil {
						return nil, fault.New(fault.InputValidation, "%s", schema.Message(issues, schema.NoIndex))
					}
					if name := checked.Object().Get("output-parameter"); name.Str() == "" {
						checked.Object().Set("output-parameter", value.Text("embodied-carbon"))
					}
					return checked.Object(), nil
				},
				CheckRows: checkEmbodied,
				Run: func(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
					warnEmbodied(&warned, c, "SciEmbodied", c.Config.Get("output-parameter").Str())
					var in [rowCount]value.Field
					for i := range in {
						in[i].Name = embodiedInput.Fields[i].Name
					}
					return compute(c, "output-parameter", func(_ int, row, config *value.Object) float64 {
						return embodied(row, config, &in)
					})
				},
			}), nil
		},
	}
}

// warnEmbodied says once that rows already have embodied carbon, which the
// method computes once more: an importer's, which counts what the agent booked,
// or an input's. Whoever adds the two up counts the hardware twice.
func warnEmbodied(warned *sync.Once, c *plugin.Call, method, out string) {
	if c.Env.Dialect == plugin.Reference() || !slices.ContainsFunc(c.Rows, func(row *value.Object) bool { return row.Get("carbon-embodied").IsNumber() }) {
		return
	}
	warned.Do(func() {
		if out == "carbon-embodied" {
			c.Env.Warn("the rows already have carbon-embodied: %s puts its own estimate in its place; leave one of the two out", method)
			return
		}
		c.Env.Warn("the rows already have carbon-embodied: %s adds %s, which is the same hardware once more; leave one of the two out", method, out)
	})
}

// embodied returns the embodied carbon of one row in gCO2e.
func embodied(row, config *value.Object, in *[rowCount]value.Field) float64 {
	var k [constantCount]float64
	for i := range k {
		k[i] = toNumber(config.Get(embodiedConstants[i].Name))
	}
	x := func(i int) float64 { return toNumber(in[i].Get(row)) }
	parts := [...]float64{
		float64((x(rowVCPUs) - k[baselineVCPUs]) * k[perVCPU]),
		float64((x(rowMemory) - k[baselineMemory]) * (k[perMemory] * k[baselineMemory] / 16) * 1000),
		float64(x(rowSSD) * k[perSSD]),
		float64(x(rowHDD) * k[perHDD]),
		float64(x(rowGPU) * k[perGPU]),
	}
	total := k[baselineEmissions]
	for _, part := range parts {
		total += part
	}
	if text := config.Get(embodiedConstants[baselineEmissions].Name); text.IsString() {
		// ECMAScript adds numbers to text such as "0x10" by writing them behind it.
		s := []byte(text.Str())
		for _, part := range parts {
			s = value.AppendNumber(s, part)
		}
		total = value.Text(string(s)).ToNumber()
	}
	time := in[rowTime].Get(row)
	if !time.Truthy() {
		time = in[rowDuration].Get(row)
	}
	return total * x(rowUsage) * (toNumber(time) / k[lifespan])
}

// checkEmbodied checks every row and writes the defaults of what it lacks.
func checkEmbodied(c *plugin.Call) error {
	var in [rowCount]value.Field
	for i := range in {
		in[i].Name = embodiedInput.Fields[i].Name
	}
	for i, row := range c.Rows {
		for j := range in {
			v := in[j].Get(row)
			parsed, issues := v, []schema.Issue(nil)
			if !v.IsNumber() || !(v.Num() > 0) {
				parsed, issues = embodiedInput.Fields[j].Type.Parse(v, nil)
			}
			switch {
			case issues != nil:
				_, issues := embodiedInput.Parse(row.Value(), nil)
				return fault.New(fault.InputValidation, "%s", schema.Message(issues, i))
			case v.Kind() == value.Undefined && parsed.Kind() != value.Undefined:
				row.Set(in[j].Name, parsed)
			}
		}
	}
	return nil
}
