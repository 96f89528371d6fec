package builtin

import (
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

func sum() plugin.Method {
	m := fold("Sum", "Adds parameters.", " + ", func(row *value.Object, in []value.Field) float64 {
		total := 0.0
		for i := range in {
			total += toNumber(in[i].Get(row))
		}
		return total
	})
	m.Doc = `output = the sum of the input parameters, from left to right, for each row. They must have one unit, which is
that of the result. To aggregate the result over time and components, give it an aggregation-method in parameter-metadata.`
	m.Example = `path: builtin
method: Sum
config:
  input-parameters: [carbon-operational, embodied-carbon]
  output-parameter: carbon`
	return m
}
