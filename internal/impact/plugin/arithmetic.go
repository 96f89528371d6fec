package plugin

import (
	"slices"
	"strings"

	"noether/internal/impact/expr"
	"noether/internal/impact/fault"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// evaluateConstants replaces text in config that is numbers and operators by
// its value. Without a mapping the reference does so in the manifest itself.
func (f *framed) evaluateConstants(config *value.Object) (*value.Object, error) {
	ours := f.env.Dialect.FullExpressions
	copied := !ours
	for i := range config.Len() {
		v := config.ValueAt(i)
		if !v.IsString() {
			continue
		}
		var err error
		switch {
		case !ours && expr.Plain(v.Str()):
			v, err = expr.EvaluatePlain(v.Str())
		case ours:
			v, err = f.constant(config.Key(i), v)
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		if v.IsString() {
			continue
		}
		if !copied {
			config, copied = config.Copy(0), true
		}
		config.SetAt(i, v)
	}
	return config, nil
}

// constant returns the value of the text v under key of config if it names no
// parameter and the key takes a number; else v. Where the key takes text, too,
// text without "=" is only arithmetic if it is numbers and operators.
func (f *framed) constant(key string, v value.Value) (value.Value, error) {
	if !f.takesNumber(key) {
		return v, nil
	}
	_, issues := f.field(key).Parse(v, nil)
	if !expr.IsExpression(v) && issues == nil && !expr.Plain(v.Str()) {
		return v, nil
	}
	p, err := expr.Compile(v.Str(), func(name string) bool { return !strings.ContainsAny(name, "/-") })
	if err != nil && !expr.IsExpression(v) {
		return v, nil // the schema says what is wrong with it
	}
	if err != nil || !p.Constant() {
		return v, err
	}
	x, err := p.Evaluate(nil, value.Value{})
	return value.Of(x), err
}

// field returns the type of a key of config, nil if the method does not know it.
func (f *framed) field(key string) schema.Type {
	for _, field := range f.m.Config.Fields {
		if field.Name == key {
			return field.Type
		}
	}
	return nil
}

// takesNumber reports whether a key of config can hold numbers.
func (f *framed) takesNumber(key string) bool {
	t := f.field(key)
	if t == nil {
		return false
	}
	_, issues := t.Parse(value.Of(1), nil)
	return issues == nil
}

// findExpressions lists the arithmetic in config that depends on rows. In the
// reference's grammar the first row tells what is arithmetic, so there it is
// all text that may be.
func (f *framed) findExpressions(config *value.Object) []expression {
	var found []expression
	full := f.env.Dialect.FullExpressions
	for _, key := range f.k.Expressions {
		v := config.Get(key)
		if !v.IsString() || full && !f.isArithmetic(v.Str()) {
			continue
		}
		e := expression{key: key, source: v.Str(), text: v, plain: !full}
		if t := f.field(key); t != nil && full {
			if _, issues := t.Parse(v, nil); issues != nil {
				e.number = t
			}
		}
		found = append(found, e)
	}
	return found
}

// isArithmetic reports whether text in a row, or in config where parameters may
// be named, is to be evaluated.
func (f *framed) isArithmetic(s string) bool {
	if f.env.Dialect.StringsStay {
		return s != "" && s[0] == '='
	}
	return expr.MayEvaluate(s)
}

// judgeNumbers applies the reference's rules to text in config that stands for
// a number: its form, and the number by which the schema judges it.
func (f *framed) judgeNumbers(config *value.Object) (*value.Object, error) {
	copied := false
	for _, key := range f.k.Numbers {
		v := config.Get(key)
		if !v.IsString() {
			continue
		}
		if err := expr.CheckFormat(key, v.Str()); err != nil {
			return nil, err
		}
		if !copied {
			config, copied = config.Copy(0), true
		}
		config.Set(key, expr.Guess(v.Str()))
	}
	return config, nil
}

// checkNames applies the reference's rules to the form of other text in config
// that may be arithmetic. They come after the schema's.
func (f *framed) checkNames(config *value.Object) error {
	for _, key := range f.k.Expressions {
		if v := config.Get(key); v.IsString() && !slices.Contains(f.k.Numbers, key) {
			if err := expr.CheckFormat(key, v.Str()); err != nil {
				return err
			}
		}
	}
	return nil
}

// evaluateRows evaluates arithmetic in rows, and config's for each row. It
// returns the values of p.expressions row by row; only the last row's if the
// dialect has one value for all.
func (f *framed) evaluateRows(p *prepared, rows []*value.Object) ([]value.Value, error) {
	if !f.k.Arithmetic {
		return nil, nil
	}
	e := evaluator{full: f.env.Dialect.FullExpressions}
	perRow := f.env.Dialect.ExpressionPerRow
	var values []value.Value
	if perRow {
		values = make([]value.Value, 0, len(rows)*len(p.expressions))
	}
	for i, row := range rows {
		if err := f.evaluateRow(&e, row); err != nil {
			return nil, f.at(err, i)
		}
		if !perRow {
			values = values[:0]
		}
		for j := range p.expressions {
			v, err := f.evaluateConfig(&e, &p.expressions[j], row, i == 0)
			if err != nil {
				return nil, f.at(err, i)
			}
			values = append(values, v)
		}
	}
	return values, nil
}

// evaluateConfig returns the value of x for row; its text if it is a plain name.
func (f *framed) evaluateConfig(e *evaluator, x *expression, row *value.Object, first bool) (v value.Value, err error) {
	if first && !e.full {
		if err := expr.CheckFormat(x.key, x.source); err != nil {
			return v, err
		}
		depends, err := expr.MayDepend(x.source)
		if err != nil {
			return v, err
		}
		x.plain = !depends
	}
	if x.plain {
		return x.text, nil
	}
	if v, err = e.value(x.source, row); err != nil || x.number == nil {
		return v, err
	}
	if _, issues := x.number.Parse(v, []string{x.key}); issues != nil {
		return v, fault.New(fault.InputValidation, "%s", schema.Message(issues, schema.NoIndex))
	}
	return v, nil
}

// evaluateRow replaces arithmetic in one row by its values.
func (f *framed) evaluateRow(e *evaluator, row *value.Object) error {
	count := 0
	for i := range row.Len() {
		if v := row.ValueAt(i); v.IsString() && f.isArithmetic(v.Str()) && row.Key(i) != "timestamp" {
			count++
		}
	}
	if count == 0 {
		return nil
	}
	if !e.full {
		// A value sees those before it computed and those after it as they came.
		for i := range row.Len() {
			v := row.ValueAt(i)
			if !v.IsString() || !f.isArithmetic(v.Str()) || row.Key(i) == "timestamp" {
				continue
			}
			v, err := expr.Evaluate(v.Str(), row)
			if err != nil {
				return err
			}
			row.SetAt(i, v)
		}
		return nil
	}
	for count > 0 {
		waiting := ""
		progress := false
		for i := range row.Len() {
			v := row.ValueAt(i)
			if !expr.IsExpression(v) || row.Key(i) == "timestamp" {
				continue
			}
			p, err := e.program(v.Str(), row)
			if err != nil {
				return err
			}
			if p.Waits(row) {
				waiting = row.Key(i)
				continue
			}
			x, err := p.Evaluate(row, value.Value{})
			if err != nil {
				return err
			}
			row.SetAt(i, value.Of(x))
			progress = true
			count--
		}
		if !progress {
			return fault.New(fault.WrongArithmetic, "compute %q: its expression refers to itself", waiting)
		}
	}
	return nil
}

// evaluator computes expressions for rows and remembers how it read them.
type evaluator struct {
	full     bool
	programs map[string]*expr.Program
}

func (e *evaluator) value(source string, row *value.Object) (value.Value, error) {
	if !e.full {
		return expr.Evaluate(source, row)
	}
	p, err := e.program(source, row)
	if err != nil {
		return value.Value{}, err
	}
	x, err := p.Evaluate(row, value.Value{})
	return value.Of(x), err
}

func (e *evaluator) program(source string, row *value.Object) (*expr.Program, error) {
	p := e.programs[source]
	if p != nil && p.Fits(row) {
		return p, nil
	}
	p, err := expr.Compile(source, row.Has)
	if err != nil {
		return nil, err
	}
	if e.programs == nil {
		e.programs = map[string]*expr.Program{}
	}
	e.programs[source] = p
	return p, nil
}

// settle sets the configs of a call: checked, with the values of expressions.
func (f *framed) settle(c *Call, p *prepared, values []value.Value) error {
	checked := p.checked
	n := len(p.expressions)
	if checked == nil {
		config := p.config
		for j, x := range p.expressions {
			if x.number != nil && len(values) > 0 {
				config = with(config, x.key, values[j])
			}
		}
		var err error
		if checked, err = f.checkConfig(config); err != nil {
			return err
		}
	}
	c.Config, c.named = checked, checked
	if !f.env.Dialect.AnyName {
		if err := f.nameConfig(c, p); err != nil {
			return err
		}
	}
	if n == 0 || len(values) == 0 {
		c.Row = func(int) *value.Object { return c.Config }
		return nil
	}
	config := c.Config.Copy(0)
	set := func(row int) {
		for j, x := range p.expressions {
			config.Set(x.key, values[row*n+j])
		}
	}
	set(len(values)/n - 1)
	if !f.env.Dialect.ExpressionPerRow {
		c.Config = config
		c.Row = func(int) *value.Object { return config }
		return nil
	}
	c.Row = func(i int) *value.Object {
		set(i)
		return config
	}
	return nil
}

// nameConfig puts names for arithmetic in c.named and, in c.Config, what the
// manifest has back where it was judged by a number or replaced by a default.
func (f *framed) nameConfig(c *Call, p *prepared) error {
	for _, key := range f.k.Expressions {
		v := p.config.Get(key)
		if !v.IsString() && (v.Kind() != value.Undefined || !p.config.Has(key)) {
			continue
		}
		name := v
		if v.IsString() {
			var err error
			if name, err = expr.Name(v.Str()); err != nil {
				return err
			}
		}
		if name.IsNumber() && !f.takesNumber(key) {
			name = value.Text(name.String())
		}
		if !value.Identical(name, c.named.Get(key)) {
			c.named = with(c.named, key, name)
		}
		if !value.Identical(v, c.Config.Get(key)) {
			c.Config = with(c.Config, key, v)
		}
	}
	return nil
}

// with returns a copy of o with key set to v.
func with(o *value.Object, key string, v value.Value) *value.Object {
	o = o.Copy(1)
	o.Set(key, v)
	return o
}
