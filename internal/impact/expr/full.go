package expr

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"noether/internal/impact/fault"
	"noether/internal/impact/value"
)

// Program is an expression of the full grammar, ready to be computed for rows:
//
//	sum     = product { ("+" | "-") product }
//	product = factor { ("*" | "/") factor }
//	factor  = ("+" | "-") factor | operand [ "**" factor ]
//	operand = number | name | "(" sum ")"
//
// Numbers are 2, 2.5, .5 and 1e-3. A name is quoted ("a b", 'a+b') or a run of
// letters, digits and _ . : / - that does not read as a number and does not end
// in / or -. Since / and - also divide and subtract, an unquoted run means the
// longest name in it that the row has, cut before a / or -; the rest goes on as
// arithmetic.
//
// A Program remembers where it found names; it is for one goroutine.
type Program struct {
	source string
	code   []instruction
	names  []value.Field
	absent []value.Field // longer readings of names, which would win in a row that has them
	stack  []float64
}

type instruction struct {
	op   byte    // '#' number, 'n' name, '~' negate, '^' power, + - * /
	num  float64 // of '#'
	name int     // of 'n'
}

// maxDepth bounds nesting, and with it the parser's and the program's stacks.
const maxDepth = 64

// Compile reads source, which may start with "=", against the names that the
// row knows.
func Compile(source string, known func(name string) bool) (*Program, error) {
	p := &parser{Program: Program{source: source}, rest: strings.TrimPrefix(source, "="), known: known}
	if err := p.sum(0); err != nil {
		return nil, fault.New(fault.WrongArithmetic, "read %q: %w", source, err)
	}
	if p.skip(); p.rest != "" {
		return nil, fault.New(fault.WrongArithmetic, "read %q: %q cannot follow there", source, p.rest)
	}
	p.stack = make([]float64, 0, len(p.code))
	return &p.Program, nil
}

// Constant reports whether the expression names no parameter.
func (p *Program) Constant() bool { return len(p.names) == 0 }

// First returns the first name in the expression, "" if there is none.
func (p *Program) First() string {
	if len(p.names) == 0 {
		return ""
	}
	return p.names[0].Name
}

// Fits reports whether the names in the expression mean for row what they meant
// when it was compiled. If not, it must be compiled again for that row.
func (p *Program) Fits(row *value.Object) bool {
	for i := range p.names {
		if p.names[i].Find(row) < 0 {
			return false
		}
	}
	for i := range p.absent {
		if p.absent[i].Find(row) >= 0 {
			return false
		}
	}
	return true
}

// Waits reports whether a name in the expression stands for text in row that is
// an expression itself and must be computed first.
func (p *Program) Waits(row *value.Object) bool {
	for i := range p.names {
		if IsExpression(p.names[i].Get(row)) {
			return true
		}
	}
	return false
}

// IsExpression reports whether v is text that starts with "=".
func IsExpression(v value.Value) bool {
	return v.IsString() && v.Str() != "" && v.Str()[0] == '='
}

// Evaluate computes the expression for row, with value in place of the first
// name's unless it is undefined.
func (p *Program) Evaluate(row *value.Object, first value.Value) (float64, error) {
	s := p.stack[:0]
	for _, in := range p.code {
		top := len(s) - 1
		switch in.op {
		case '#':
			s = append(s, in.num)
		case 'n':
			v := first
			if in.name != 0 || v.Kind() == value.Undefined {
				v = p.names[in.name].Get(row)
			}
			if !v.IsNumber() {
				return 0, p.wrongOperand(p.names[in.name].Name, v)
			}
			s = append(s, v.Num())
		case '~':
			s[top] = -s[top]
		default:
			if in.op == '/' && s[top] == 0 {
				return 0, fault.New(fault.ZeroDivision, "compute %q: the divisor is 0", p.source)
			}
			s[top-1] = binary(in.op, s[top-1], s[top])
			s = s[:top]
		}
	}
	if f := s[0]; f-f != 0 {
		return 0, fault.New(fault.WrongArithmetic, "compute %q: the result %s is not finite", p.source, value.FormatNumber(f))
	}
	return s[0], nil
}

func binary(op byte, x, y float64) float64 {
	switch op {
	case '+':
		return x + y
	case '-':
		return x - y
	case '*':
		return float64(x * y)
	case '/':
		return x / y
	}
	return value.Pow(x, y)
}

func (p *Program) wrongOperand(name string, v value.Value) error {
	if v.IsNullish() {
		return fault.New(fault.InputValidation, "compute %q: the row has no value for %q; names that hold / or - are safest in quotes", p.source, name)
	}
	return fault.New(fault.InputValidation, "compute %q: %q is a %s, not a number", p.source, name, v.Kind())
}

type parser struct {
	Program
	rest  string
	known func(string) bool
}

func (p *parser) skip() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

func (p *parser) take(c byte) bool {
	if p.rest != "" && p.rest[0] == c {
		p.rest = p.rest[1:]
		return true
	}
	return false
}

func (p *parser) emit(op byte) { p.code = append(p.code, instruction{op: op}) }

func (p *parser) sum(depth int) error {
	if err := p.product(depth); err != nil {
		return err
	}
	for {
		p.skip()
		op := byte('+')
		if !p.take('+') {
			if op = '-'; !p.take('-') {
				return nil
			}
		}
		if err := p.product(depth); err != nil {
			return err
		}
		p.emit(op)
	}
}

func (p *parser) product(depth int) error {
	if err := p.factor(depth); err != nil {
		return err
	}
	for {
		p.skip()
		op := byte('*')
		if !p.take('*') {
			if op = '/'; !p.take('/') {
				return nil
			}
		}
		if err := p.factor(depth); err != nil {
			return err
		}
		p.emit(op)
	}
}

func (p *parser) factor(depth int) error {
	_, err := p.power(depth)
	return err
}

// power reads a factor and reports whether it ends in a power, before which a
// sign would be ambiguous.
func (p *parser) power(depth int) (power bool, err error) {
	if depth > maxDepth {
		return false, fmt.Errorf("more than %d levels of nesting", maxDepth)
	}
	p.skip()
	negative := p.take('-')
	if negative || p.take('+') {
		power, err := p.power(depth + 1)
		if err == nil && power {
			err = errors.New("a sign before a power is ambiguous: put parentheses")
		}
		if negative {
			p.emit('~')
		}
		return false, err
	}
	if err := p.operand(depth); err != nil {
		return false, err
	}
	p.skip()
	rest, power := strings.CutPrefix(p.rest, "**")
	if power {
		p.rest = rest
		if err := p.factor(depth + 1); err != nil {
			return false, err
		}
		p.emit('^')
	}
	return power, nil
}

func (p *parser) operand(depth int) error {
	p.skip()
	switch {
	case p.rest == "":
		return errors.New("it ends where a number or a name must follow")
	case p.take('('):
		if err := p.sum(depth + 1); err != nil {
			return err
		}
		if p.skip(); !p.take(')') {
			return errors.New("a parenthesis is not closed")
		}
		return nil
	case p.rest[0] == '"' || p.rest[0] == '\'':
		end := strings.IndexByte(p.rest[1:], p.rest[0])
		if end < 1 {
			return fmt.Errorf("a quoted name is empty or not closed: %s", p.rest)
		}
		p.name(p.rest[1 : 1+end])
		p.rest = p.rest[end+2:]
		return nil
	}
	n := numberLength(p.rest)
	if n > 0 && !isNameStart(p.rest[n:]) {
		p.code = append(p.code, instruction{op: '#', num: value.ParseFloat(p.rest[:n])})
		p.rest = p.rest[n:]
		return nil
	}
	return p.word()
}

// isNameStart reports whether s goes on with what only a name can hold.
func isNameStart(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return s != "" && (r == '_' || r == '.' || r == ':' || unicode.IsLetter(r) || unicode.IsDigit(r))
}

// wordRun returns the characters of names at the start of s.
func wordRun(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_.:/-", r)
	})
	if end < 0 {
		return s
	}
	return s[:end]
}

// word reads an unquoted name: the longest one that the row knows.
func (p *parser) word() error {
	run := wordRun(p.rest)
	if !isNameStart(run) || run[0] == '.' || run[0] == ':' {
		r, _ := utf8.DecodeRuneInString(p.rest)
		return fmt.Errorf("%q starts neither a number nor a name; names with other characters need quotes", r)
	}
	for at := len(strings.TrimRight(run, "/-")); at > 0; at = strings.LastIndexAny(run[:at], "/-") {
		if p.known(run[:at]) {
			p.name(run[:at])
			p.rest = p.rest[at:]
			return nil
		}
		p.absent = append(p.absent, value.Field{Name: run[:at]})
	}
	if strings.ContainsAny(run, "/-") {
		return fmt.Errorf("the row has no parameter %q, nor one that it starts with; put names that hold / or - in quotes", run)
	}
	return fmt.Errorf("the row has no parameter %q", run)
}

func (p *parser) name(s string) {
	for i := range p.names {
		if p.names[i].Name == s {
			p.code = append(p.code, instruction{op: 'n', name: i})
			return
		}
	}
	p.names = append(p.names, value.Field{Name: s})
	p.code = append(p.code, instruction{op: 'n', name: len(p.names) - 1})
}

// Rename returns the expression source with names replaced, quoted, where to
// knows another.
func Rename(source string, to func(name string) (string, bool)) string {
	var b strings.Builder
	for rest := source; rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case r == '"' || r == '\'':
			end := strings.IndexRune(rest[1:], r)
			if end < 0 {
				b.WriteString(rest)
				return b.String()
			}
			if name, ok := to(rest[1 : 1+end]); ok {
				b.WriteString(quote(name))
			} else {
				b.WriteString(rest[:end+2])
			}
			rest = rest[end+2:]
		case isNameStart(rest):
			run := wordRun(rest)
			if n := numberLength(rest); n > 0 && !isNameStart(rest[n:]) {
				run = rest[:n]
			}
			at := len(strings.TrimRight(run, "/-"))
			for ; at > 0; at = strings.LastIndexAny(run[:at], "/-") {
				if name, ok := to(run[:at]); ok {
					b.WriteString(quote(name))
					break
				}
			}
			if at <= 0 {
				b.WriteString(run)
				at = len(run)
			}
			rest = rest[at:]
		default:
			b.WriteString(rest[:size])
			rest = rest[size:]
		}
	}
	return b.String()
}

func quote(name string) string {
	if strings.Contains(name, `"`) {
		return "'" + name + "'"
	}
	return `"` + name + `"`
}

// CompileOutput reads an output name such as "=2*out+carbon". Its first name is
// the output's own and need not be in the row; unquoted, it goes on over a / or
// - that a letter follows.
func CompileOutput(source string, known func(name string) bool) (*Program, error) {
	return Compile(source, func(name string) bool {
		if known(name) {
			return true
		}
		for rest := name; ; {
			at := strings.IndexAny(rest, "/-")
			if at < 0 {
				return true
			}
			rest = rest[at+1:]
			if r, _ := utf8.DecodeRuneInString(rest); !unicode.IsLetter(r) {
				return false
			}
		}
	})
}
