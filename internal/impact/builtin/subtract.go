package builtin

import (
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

func subtract() plugin.Method {
	m := fold("Subtract", "Subtracts parameters from the first one.", " − ", func(row *value.Object, in []value.Field) float64 {
		rest := toNumber(in[0].Get(row))
		for i := range in[1:] {
			rest -= toNumber(in[1+i].Get(row))
		}
		return rest
	})
	m.Doc = `output = the first input parameter less all others, from left to right, for each row. They must have one unit,
which is that of the result.`
	m.Example = `path: builtin
method: Subtract
config:
  input-parameters: [energy, idle/energy]
  output-parameter: active/energy`
	return m
}
