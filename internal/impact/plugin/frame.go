package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"noether/internal/impact/expr"
	"noether/internal/impact/fault"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// Kernel is the part of a method that is its own: what it checks and computes.
// The frame around it maps names, evaluates arithmetic and words errors.
type Kernel struct {
	// Arithmetic lets strings in config and rows be arithmetic. Methods that
	// read no numbers leave it off.
	Arithmetic bool
	// Expressions are the keys of config whose text may be arithmetic with
	// names of parameters in it: "=2*carbon". In the config of a call such a
	// key holds a number where it was arithmetic.
	Expressions []string
	// Numbers are those of Expressions that are no names of parameters but
	// numbers. The reference judges their text by the first number in it.
	Numbers []string
	// NoConfig lets config be absent.
	NoConfig bool
	// CheckConfig returns the config as the method sees it. Nil: the method's
	// schema decides.
	CheckConfig func(config *value.Object) (*value.Object, error)
	// CheckInput looks at row index before Run and may set defaults in it. Where
	// config[key] was arithmetic it holds the value for the row, or in the
	// reference's dialect the name of the parameter in it. Nil: nothing is checked.
	CheckInput func(row, config *value.Object, index int) error
	// CheckRows is CheckInput for all rows at once, for methods that read many
	// parameters. An error about a row is made by Call.Refuse.
	CheckRows func(c *Call) error
	// Run computes. It may change the rows of the call and return them, or
	// return others.
	Run func(ctx context.Context, c *Call) ([]*value.Object, error)
}

// Call is one run of a plugin at one node.
type Call struct {
	Rows   []*value.Object // owned by the call
	Config *value.Object   // checked, mapped, evaluated; read only
	// Row returns the config for row i: Config, unless an expression in it
	// differs by row. It is valid until Row is called again.
	Row  func(i int) *value.Object
	Node *Node
	Env  *Env

	named *value.Object // Config with names in place of arithmetic
}

// Named returns the config for row i as CheckInput sees it.
func (c *Call) Named(i int) *value.Object {
	if c.Env.Dialect.AnyName {
		return c.Row(i)
	}
	return c.named
}

// Refuse returns the error for what is wrong with row i; nil without issues.
func (c *Call) Refuse(i int, issues []schema.Issue) error {
	if issues == nil {
		return nil
	}
	return at(&c.Env.Dialect, fault.New(fault.InputValidation, "%s", schema.Message(issues, schema.NoIndex)), i)
}

// Finite returns x as a value; in the dialects that refuse results that are not
// finite, an error that names the row and the parameter.
func (c *Call) Finite(row int, parameter string, x float64) (value.Value, error) {
	if x-x != 0 && c.Env.Dialect.FiniteNumbers {
		return value.Value{}, fault.New(fault.InvalidInput, "compute %q of inputs[%d]: the result is %s; check its inputs for zeros and for numbers that are too large", parameter, row, value.FormatNumber(x))
	}
	return value.Of(x), nil
}

// framed is a Kernel with its frame. What it keeps between calls never changes
// results, but for the mapping and the config of its declaration in the
// reference's dialect, which is therefore for one goroutine.
type framed struct {
	env *Env
	d   *Declaration
	m   *Method
	k   Kernel

	once  sync.Once
	ready prepared
}

// NewFramed returns the plugin of declaration d that runs k as method m.
func NewFramed(env *Env, d *Declaration, m *Method, k Kernel) Plugin {
	return &framed{env: env, d: d, m: m, k: k}
}

// Metadata returns the method's parameters with the declaration's over them:
// inputs are merged by name, outputs replaced.
func (f *framed) Metadata() Metadata {
	out := Metadata{Inputs: slices.Clone(f.m.Inputs), Outputs: f.m.Outputs}
next:
	for _, p := range f.d.Metadata.Inputs {
		for i := range out.Inputs {
			if out.Inputs[i].Name == p.Name {
				out.Inputs[i] = p
				continue next
			}
		}
		out.Inputs = append(out.Inputs, p)
	}
	if f.d.HasOutputs {
		out.Outputs = f.d.Metadata.Outputs
	}
	return out
}

// prepared is what can be known of a plugin before it sees rows.
type prepared struct {
	config      *value.Object // mapped, constants evaluated; nil if the manifest has none
	mapping     []renaming    // entries that config does not use: they hold in rows
	expressions []expression  // what depends on rows, in order of config
	checked     *value.Object // set if nothing depends on rows
	err         error         // of checked
}

// expression is arithmetic in config that names parameters.
type expression struct {
	key, source string
	text        value.Value // source
	number      schema.Type // what the value must be; nil if the key takes any text
	plain       bool        // it turned out to be a name
}

// prepare maps config, evaluates constants in it and finds the rest.
func (f *framed) prepare() (p prepared, err error) {
	if p.config, p.mapping, err = f.mapConfig(); err != nil {
		return p, err
	}
	if f.k.Arithmetic {
		if p.config, err = f.evaluateConstants(p.config); err != nil {
			return p, err
		}
		p.expressions = f.findExpressions(p.config)
	}
	if f.env.Dialect.MappingEveryNode && len(p.expressions) == 0 {
		p.checked, p.err = f.checkConfig(p.config)
	}
	return p, nil
}

// Execute maps, evaluates, checks and runs the kernel.
func (f *framed) Execute(ctx context.Context, rows []*value.Object, node *Node) ([]*value.Object, error) {
	var p prepared
	var err error
	if f.env.Dialect.MappingEveryNode {
		f.once.Do(func() {
			var err error
			if f.ready, err = f.prepare(); err != nil {
				f.ready.checked, f.ready.err = nil, err
			}
		})
		if p = f.ready; p.err != nil {
			return nil, p.err
		}
	} else if p, err = f.prepare(); err != nil {
		return nil, err
	}

	call := &Call{Rows: rows, Node: node, Env: f.env}
	values, err := f.evaluateRows(&p, rows)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 && len(p.expressions) > 0 && f.env.Dialect.EmptyRows {
		return rows, nil
	}
	if err := f.settle(call, &p, values); err != nil {
		return nil, err
	}
	var shadowed []shadow
	if f.env.Dialect.MappingEveryNode {
		shadowed = mapRows(rows, p.mapping)
	}
	if err := f.checkRows(call); err != nil {
		return nil, err
	}
	if !f.env.Dialect.MappingEveryNode {
		mapRows(rows, p.mapping)
	}

	var before []*value.Object // the rows as the kernel gets them, where the reference needs them again
	switch {
	case !f.env.Dialect.MappingEveryNode && len(p.mapping) > 0:
		before = value.CopyRows(rows, 0)
	case f.k.Arithmetic && len(rows) > 0:
		before = []*value.Object{rows[0].Copy(0)}
	}
	out, err := f.k.Run(ctx, call)
	if err != nil {
		return nil, err
	}
	if f.k.Arithmetic {
		if len(out) == 0 && !f.env.Dialect.EmptyRows {
			return nil, fault.New(fault.Type, "read the first row of %s: the node has no rows", f.d.Name)
		}
		if len(before) > 0 && len(out) > 0 {
			if err := f.nameOutput(before[0], out); err != nil {
				return nil, err
			}
		}
	}
	if f.env.Dialect.MappingEveryNode {
		unmapRows(rows, out, p.mapping, shadowed, f.m.Outputs)
		return out, nil
	}
	return mergeRows(before, rows, out, p.mapping, f.env.Dialect.RowsApart), nil
}

// checkConfig returns config as the method sees it.
func (f *framed) checkConfig(config *value.Object) (*value.Object, error) {
	if config.Len() == 0 && !f.k.NoConfig {
		return nil, fault.New(fault.Config, "Config is not provided.")
	}
	if config == nil {
		config = value.NewObject(0)
	}
	if f.env.Dialect.StrictConfig && len(f.m.Config.Fields) > 0 && !f.m.Config.Keep {
		for key := range config.All() {
			if !f.m.Config.Has(key) {
				return nil, f.unknownKey(key)
			}
		}
	}
	text := f.k.Arithmetic && !f.env.Dialect.FullExpressions
	given := config
	var err error
	if text {
		if config, err = f.judgeNumbers(config); err != nil {
			return nil, err
		}
	}
	var checked *value.Object
	if f.k.CheckConfig != nil {
		if checked, err = f.k.CheckConfig(config); err != nil {
			return nil, err
		}
	} else {
		v, issues := f.m.Config.Parse(config.Value(), nil)
		if issues != nil {
			return nil, fault.New(fault.InputValidation, "%s", schema.Message(issues, schema.NoIndex))
		}
		checked = v.Object()
	}
	if text {
		return checked, f.checkNames(given)
	}
	return checked, nil
}

func (f *framed) unknownKey(key string) error {
	names := make([]string, len(f.m.Config.Fields))
	for i, field := range f.m.Config.Fields {
		names[i] = field.Name
	}
	hint := ""
	if best := Closest(key, names); best != "" {
		hint = fmt.Sprintf(": did you mean %q?", best)
	}
	return fault.New(fault.Config, "%q is no key of the config of %s%s It knows %s.", key, f.m.Name, orPeriod(hint), strings.Join(names, ", "))
}

func orPeriod(hint string) string {
	if hint == "" {
		return "."
	}
	return hint
}

// checkRows lets the kernel look at every row.
func (f *framed) checkRows(c *Call) error {
	if f.k.CheckRows != nil {
		return f.k.CheckRows(c)
	}
	if f.k.CheckInput == nil {
		return nil
	}
	for i, row := range c.Rows {
		if err := f.k.CheckInput(row, c.Named(i), i); err != nil {
			return f.at(err, i)
		}
	}
	return nil
}

func (f *framed) at(err error, row int) error { return at(&f.env.Dialect, err, row) }

// at says which row an error is about.
func at(d *Dialect, err error, row int) error {
	e, ok := err.(*fault.Error) //nolint:errorlint // only the outermost class is printed
	if !ok || !d.RowNumbers {
		return err
	}
	return &fault.Error{Class: e.Class, Message: fmt.Sprintf("%s (inputs[%d])", e.Message, row), Cause: e.Cause}
}

// nameOutput finishes the first parameter that the kernel added, by the first
// row: its name may be an expression. Before is the first row as it was.
func (f *framed) nameOutput(before *value.Object, out []*value.Object) error {
	name, found := "", false
	for key := range out[0].All() {
		if !before.Has(key) {
			name, found = key, true
			break
		}
	}
	if !found {
		return nil
	}
	full := f.env.Dialect.FullExpressions
	if !f.env.Dialect.AnyName || !full && strings.HasPrefix(name, "=") {
		if err := expr.CheckOutput(name); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(name, "=") || !full && !expr.Valid(name) {
		return nil
	}
	var program *expr.Program
	for i, row := range out {
		if !row.Has(name) {
			continue
		}
		v := row.Get(name)
		row.Delete(name)
		var target string
		var err error
		if full {
			if program == nil || !program.Fits(row) {
				if program, err = expr.CompileOutput(name, row.Has); err != nil {
					return f.at(err, i)
				}
			}
			var x float64
			x, err = program.Evaluate(row, v)
			target, v = program.First(), value.Of(x)
			if target == "" {
				err = fault.New(fault.WrongArithmetic, "read output name %q: it names no parameter", name)
			}
		} else {
			target, v, err = expr.Output(name, v)
		}
		if err != nil {
			return f.at(err, i)
		}
		row.Set(target, v)
	}
	return nil
}
