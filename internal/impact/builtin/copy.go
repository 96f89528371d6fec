package builtin

import (
	"context"
	"slices"

	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func copyParameter() plugin.Method {
	return plugin.Method{
		Name:    "Copy",
		Paths:   []string{oldPackage},
		Summary: "Copies a parameter to another name.",
		Doc: `output = input, for each row, a number or text. With ` + "`keep-existing: false`" + ` the input is removed, which renames it.
Arithmetic removes nothing. (With --compat it removes the first parameter in it, and nothing that is 0 or empty is removed.)`,
		Example: `path: builtin
method: Copy
config:
  from: original
  to: copied
  keep-existing: true`,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "keep-existing", Type: schema.Bool(), Doc: "Whether the input stays."},
			{Name: "from", Type: schema.NonEmpty(), Doc: "Parameter to copy."},
			{Name: "to", Type: schema.NonEmpty(), Doc: "Parameter that takes the copy."},
		}},
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			from := config.Get("from").Str()
			return makes(config, "to", out, plugin.Formula{Text: from, Inputs: []string{from}})
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				Arithmetic: true, Expressions: []string{"from"},
				CheckRows: func(c *plugin.Call) error {
					for i, row := range c.Rows {
						from := c.Named(i).Get("from")
						if !from.IsString() {
							continue
						}
						if _, issues := copied.Parse(row.Get(from.Str()), []string{from.Str()}); issues != nil {
							return c.Refuse(i, issues)
						}
					}
					return nil
				},
				Run: copyRows,
			}), nil
		},
	}
}

var copied = schema.Union(schema.Text(), schema.Number()) //nolint:gochecknoglobals // constant

func copyRows(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
	out := slices.Clone(c.Rows)
	for i, row := range out {
		config := c.Row(i)
		from, to := config.Get("from"), config.Get("to").Str()
		v := from
		if from.IsString() {
			v = row.Get(from.Str())
		}
		// What goes is the parameter's name, even where arithmetic stands for it.
		if name := c.Named(i).Get("from"); name.IsString() && !config.Get("keep-existing").Bool() {
			if row.Get(name.Str()).Truthy() || c.Env.Dialect.CopyRemoves {
				row.Delete(name.Str())
			}
		}
		if from.IsString() && from.Str() == to && !row.Has(to) && !c.Env.Dialect.MappingEveryNode {
			// It was removed and comes back: to the frame that is another row, so
			// that it does not find its old place again.
			row = row.Copy(1)
		}
		row.Set(to, v)
		out[i] = row
	}
	return out, nil
}
