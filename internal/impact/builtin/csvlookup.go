package builtin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func csvLookup() plugin.Method {
	return plugin.Method{
		Name:    "CSVLookup",
		Summary: "Looks up columns of a CSV file by values of each observation.",
		Doc: `Finds, for each observation, the first row of a CSV file or URL whose columns equal the observation's parameters
named in ` + "`query`" + ` (text and numbers compare by value: '16' equals 16), and adds the chosen columns to the observation.
` + "`output: '*'`" + ` adds every column that is not in ` + "`query`" + `. A query that no row answers is an error.

The file is read once per run and indexed: a look-up does not search the table.`,
		Example: `path: builtin
method: CSVLookup
config:
  filepath: cloud-instances.csv
  query:
    instance-class: cloud/instance-type
  output: [[cpu-cores-utilized, vcpus-allocated], [cpu-tdp, cpu/thermal-design-power]]`,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "filepath", Type: schema.Text(), Doc: "Path or http(s) URL of the file."},
			{Name: "query", Type: schema.Record(schema.Text()), Doc: "Column of the file → parameter whose value it must equal."},
			{Name: "output", Type: csvOutput{}, Doc: "Columns to take, optionally under other names."},
		}},
		Reaches: plugin.Files | plugin.Network,
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			f, ok := project(config.Get("output")).source(config, out)
			for _, param := range config.Get("query").Object().All() {
				f.Inputs = append(f.Inputs, param.Str())
			}
			return f, ok
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			var files tables
			var mu sync.Mutex
			var shared *index
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				Run: func(ctx context.Context, c *plugin.Call) ([]*value.Object, error) {
					t, err := files.read(ctx, c.Env, c.Config.Get("filepath").Str())
					if err != nil {
						return nil, err
					}
					query := c.Config.Get("query").Object()
					mu.Lock()
					ix := shared
					if ix == nil || ix.t != t || !value.Equal(ix.query.Value(), query.Value()) {
						ix = newIndex(t, query)
						shared = ix
					}
					mu.Unlock()
					return lookUp(c, ix)
				},
			}), nil
		},
	}
}

// lookUp adds to each row of c the columns that its query finds.
func lookUp(c *plugin.Call, ix *index) ([]*value.Object, error) {
	p := project(c.Config.Get("output"))
	d := &c.Env.Dialect
	if d.PlainCSV && len(c.Rows) > 0 {
		for _, column := range ix.columns {
			if !slices.Contains(ix.t.columns, column.name) {
				return nil, fault.New(fault.MissingCSVColumn, "There is no column with the name: %s.", column.name)
			}
		}
	}
	// The reference deletes the query's columns from a row that "*" has found:
	// the row answers no further query but those for nothing.
	var spent []bool
	if p.all && !d.LookupKeepsRows && len(ix.columns) > 0 {
		spent = make([]bool, len(ix.t.rows))
	}
	for i, row := range c.Rows {
		at := ix.find(row, spent)
		if at < 0 {
			return nil, notFound(ix, row, i, d)
		}
		if err := p.check(ix.t); err != nil {
			return nil, err
		}
		from := ix.t.rows[at]
		for _, pair := range p.pairs {
			row.Set(pair.name, cell(from.Get(pair.column), d))
		}
		if p.all {
			for k, v := range from.All() {
				if !ix.query.Has(k) {
					row.Set(k, cell(v, d))
				}
			}
		}
		if spent != nil {
			spent[at] = true
		}
	}
	return c.Rows, nil
}

func notFound(ix *index, row *value.Object, i int, d *plugin.Dialect) error {
	const known = "One or more of the given query parameters are not found in the target CSV file column headers."
	if !d.LookupKeepsRows {
		return fault.New(fault.QueryDataNotFound, "%s", known)
	}
	var asked []string
	for _, column := range ix.columns {
		asked = append(asked, fmt.Sprintf("%s = %s (%s)", column.name, row.Get(column.param.Name).String(), column.param.Name))
	}
	return fault.New(fault.QueryDataNotFound, "%s Observation %d: no row of %s has %s.", known, i, ix.t.name, strings.Join(asked, " and "))
}

// index finds the first row of a table whose columns equal a row's parameters
// by ECMAScript's ==. It is immutable after newIndex and safe for concurrent use.
type index struct {
	t       *table
	query   *value.Object
	columns []indexColumn
}

// indexColumn holds the positions of rows by the value of one column, ascending.
type indexColumn struct {
	name     string
	param    value.Field // used as a name only: finding with it would write
	texts    map[string][]int32
	numbers  map[float64][]int32 // cells that are numbers
	numerals map[float64][]int32 // cells that are numbers, or text that equals a number
}

func newIndex(t *table, query *value.Object) *index {
	ix := &index{t: t, query: query}
	for name, param := range query.All() {
		c := indexColumn{
			name: name, param: value.Field{Name: param.Str()},
			texts: map[string][]int32{}, numbers: map[float64][]int32{}, numerals: map[float64][]int32{},
		}
		for i, row := range t.rows {
			v := row.Get(name)
			at := int32(i) //nolint:gosec // a table of maxCSV bytes has fewer rows
			switch {
			case v.IsNumber():
				c.numbers[v.Num()] = append(c.numbers[v.Num()], at)
				c.numerals[v.Num()] = append(c.numerals[v.Num()], at)
			case v.IsString():
				c.texts[v.Str()] = append(c.texts[v.Str()], at)
				if f := v.ToNumber(); f == f {
					c.numerals[f] = append(c.numerals[f], at)
				}
			}
		}
		ix.columns = append(ix.columns, c)
	}
	return ix
}

// find returns the position of the first row that answers row's query, -1 if
// none does. Spent rows have lost the columns of the query.
func (ix *index) find(row *value.Object, spent []bool) int {
	var best [2][]int32
	fewest := -1
	for i := range ix.columns {
		c := &ix.columns[i]
		var lists [2][]int32
		switch v := row.Get(c.param.Name); v.Kind() {
		case value.String:
			lists[0] = c.texts[v.Str()]
			if f := v.ToNumber(); f == f {
				lists[1] = c.numbers[f]
			}
		case value.Number:
			lists[0] = c.numerals[v.Num()]
		default:
			continue // rare: compared row by row
		}
		if n := len(lists[0]) + len(lists[1]); fewest < 0 || n < fewest {
			best, fewest = lists, n
		}
	}
	if fewest < 0 {
		for at := range ix.t.rows {
			if ix.equal(row, at, spent) {
				return at
			}
		}
		return -1
	}
	first := -1
	for _, list := range best {
		at := slices.IndexFunc(list, func(at int32) bool { return ix.equal(row, int(at), spent) })
		if at >= 0 && (first < 0 || int(list[at]) < first) {
			first = int(list[at])
		}
	}
	return first
}

func (ix *index) equal(row *value.Object, at int, spent []bool) bool {
	for i := range ix.columns {
		c := &ix.columns[i]
		var have value.Value
		if spent == nil || !spent[at] {
			have = ix.t.rows[at].Get(c.name)
		}
		if !value.LooselyEqual(have, row.Get(c.param.Name)) {
			return false
		}
	}
	return true
}
