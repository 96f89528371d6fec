package builtin

import (
	"math"

	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// oldPackage is the module of the methods that were once apart from the
// framework and kept their configuration when they became part of it.
const oldPackage = "@grnsft/if-plugins"

// operand is a number that configuration gives: a parameter's name, or the
// value of arithmetic in its place.
type operand struct {
	field    value.Field
	constant bool
	number   float64
}

// set makes o what config holds. It is cheap if that is what it was.
func (o *operand) set(config value.Value) {
	o.constant = !config.IsString()
	switch {
	case o.constant:
		o.number = config.ToNumber()
	case config.Str() != o.field.Name:
		o.field = value.Field{Name: config.Str()}
	}
}

// of returns the operand's value for row.
func (o *operand) of(row *value.Object) float64 {
	if o.constant {
		return o.number
	}
	return toNumber(o.field.Get(row))
}

// check returns what is wrong with the operand in row. Path is the parameter
// that the message names.
func (o *operand) check(row *value.Object, path string) []schema.Issue {
	if o.constant {
		return nil
	}
	return checkNumber(o.field.Get(row), path)
}

// checkNumber returns what is wrong with v as a number.
func checkNumber(v value.Value, path string) []schema.Issue {
	if v.IsNumber() && !math.IsNaN(v.Num()) {
		return nil
	}
	_, issues := schema.Number().Parse(v, []string{path})
	return issues
}

func toNumber(v value.Value) float64 {
	if v.IsNumber() {
		return v.Num()
	}
	return v.ToNumber()
}

// outputField is a parameter that a method writes.
type outputField struct{ field value.Field }

// name makes it the parameter of that name.
func (c *outputField) name(name string) {
	if name != c.field.Name {
		c.field = value.Field{Name: name}
	}
}

func (c *outputField) set(row *value.Object, v value.Value) {
	if at := c.field.Find(row); at >= 0 {
		row.SetAt(at, v)
		return
	}
	row.Set(c.field.Name, v)
}

// compute writes what f gives for each row below the parameter that config
// names under key.
func compute(c *plugin.Call, key string, f func(i int, row, config *value.Object) float64) ([]*value.Object, error) {
	var out outputField
	for i, row := range c.Rows {
		config := c.Row(i)
		name := config.Get(key).Str()
		out.name(name)
		v, err := c.Finite(i, name, f(i, row, config))
		if err != nil {
			return nil, err
		}
		out.set(row, v)
	}
	return c.Rows, nil
}

// makes returns the formula f if out is the parameter that config names under key.
func makes(config *value.Object, key, out string, f plugin.Formula) (plugin.Formula, bool) {
	return f, config.Get(key).Str() == out
}
