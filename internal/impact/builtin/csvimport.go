package builtin

import (
	"context"

	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func csvImport() plugin.Method {
	return plugin.Method{
		Name:    "CSVImport",
		Summary: "Adds the rows of a CSV file or URL to the observations.",
		Doc: `Reads a CSV file (path relative to the working directory, or an http(s) URL) with a header line and appends one
observation for each of its rows after those that are there already. Cells that read as decimal numbers become numbers,
an empty cell becomes null (so that defaults fill it), everything else stays text. Every row must have as many cells as
the header.

The file is read once per run, however many components use the plugin.`,
		Example: `path: builtin
method: CSVImport
config:
  filepath: observations.csv
  output: '*'`,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "filepath", Type: schema.Text(), Doc: "Path or http(s) URL of the file."},
			{Name: "output", Type: csvOutput{}, Doc: "Columns to take, optionally under other names."},
		}},
		Reaches: plugin.Files | plugin.Network,
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			return project(config.Get("output")).source(config, out)
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			var files tables
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				Run: func(ctx context.Context, c *plugin.Call) ([]*value.Object, error) {
					t, err := files.read(ctx, c.Env, c.Config.Get("filepath").Str())
					if err != nil {
						return nil, err
					}
					rows, err := importRows(t, project(c.Config.Get("output")), &c.Env.Dialect)
					return append(c.Rows, rows...), err
				},
			}), nil
		},
	}
}

// importRows returns new rows with the chosen columns of a table.
func importRows(t *table, p projection, d *plugin.Dialect) ([]*value.Object, error) {
	if len(t.rows) > 0 || d.PlainCSV {
		if err := p.check(t); err != nil {
			return nil, err
		}
	}
	if p.all {
		rows := value.CopyRows(t.rows, rowSpare)
		for _, row := range rows {
			for i := range row.Len() {
				row.SetAt(i, cell(row.ValueAt(i), d))
			}
		}
		return rows, nil
	}
	rows := make([]*value.Object, len(t.rows))
	for i, from := range t.rows {
		rows[i] = value.NewObject(len(p.pairs) + rowSpare)
		for _, pair := range p.pairs {
			rows[i].Set(pair.name, cell(from.Get(pair.column), d))
		}
	}
	return rows, nil
}

// rowSpare is the room for further parameters in rows that a plugin makes.
const rowSpare = 8
