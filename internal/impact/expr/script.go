package expr

import (
	"math"
	"strconv"
	"strings"

	"noether/internal/impact/fault"
	"noether/internal/impact/value"
)

// script computes text as ECMAScript's strict mode does, for the part of the
// language that arithmetic between literals can reach. Whatever is no such
// expression, and NaN, is undefined: the reference swallows both.
func script(s string) (value.Value, error) {
	v, err := run(s)
	switch {
	case err != nil, math.IsNaN(v.Num()):
		return value.Value{}, nil //nolint:nilerr // a syntax error is undefined, by contract
	case math.IsInf(v.Num(), 1):
		return value.Value{}, fault.New(fault.ZeroDivision, "The input expression contains a division by zero: `%s`.", s)
	}
	return v, nil
}

// run is script without its leniency.
func run(s string) (value.Value, error) {
	switch strings.Trim(s, " \t\r\n") {
	case "true":
		return value.OfBool(true), nil
	case "false":
		return value.OfBool(false), nil
	}
	p := scriptParser{rest: s}
	f, ok := p.sum()
	p.space()
	if !ok || p.rest != "" && !strings.HasPrefix(p.rest, "//") {
		return value.Value{}, fault.New(fault.Syntax, "read %q as arithmetic: it is not a list of numbers and operators", s)
	}
	return value.Of(f), nil
}

type scriptParser struct {
	rest  string
	depth int
}

func (p *scriptParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n\v\f\u00a0\ufeff") }

// op returns the operator that comes next and takes it if it is one of want.
// Increments, which arithmetic cannot contain, are taken for no operator.
func (p *scriptParser) op(want ...string) string {
	p.space()
	for _, bad := range []string{"++", "--", "//"} {
		if strings.HasPrefix(p.rest, bad) {
			return ""
		}
	}
	for _, w := range want {
		if strings.HasPrefix(p.rest, w) && (w == "**" || !strings.HasPrefix(p.rest, "**")) {
			p.rest = p.rest[len(w):]
			return w
		}
	}
	return ""
}

func (p *scriptParser) sum() (float64, bool) {
	x, ok := p.product()
	for ok {
		var y float64
		switch p.op("+", "-") {
		case "+":
			y, ok = p.product()
			x += y
		case "-":
			y, ok = p.product()
			x -= y
		default:
			return x, true
		}
	}
	return x, false
}

func (p *scriptParser) product() (float64, bool) {
	x, ok := p.power()
	for ok {
		var y float64
		switch p.op("*", "/") {
		case "*":
			y, ok = p.power()
			x = float64(x * y)
		case "/":
			y, ok = p.power()
			x /= y
		default:
			return x, true
		}
	}
	return x, false
}

func (p *scriptParser) power() (float64, bool) {
	if p.depth++; p.depth > 200 {
		return 0, false
	}
	defer func() { p.depth-- }()
	if sign := p.op("+", "-"); sign != "" {
		x, ok := p.power()
		// A sign before a power is a syntax error.
		if !ok || p.op("**") != "" {
			return 0, false
		}
		if sign == "-" {
			x = -x
		}
		return x, true
	}
	x, ok := p.literal()
	if ok && p.op("**") != "" {
		y, ok := p.power()
		return value.Pow(x, y), ok
	}
	return x, ok
}

func (p *scriptParser) literal() (float64, bool) {
	p.space()
	if p.rest != "" && isLetter(p.rest[0]) {
		end := 1
		for end < len(p.rest) && isWord(p.rest[end]) {
			end++
		}
		word := p.rest[:end]
		p.rest = p.rest[end:]
		switch word {
		case "Infinity":
			return math.Inf(1), true
		case "NaN":
			return math.NaN(), true
		case "true":
			return 1, true
		case "false", "null":
			return 0, true
		}
		return 0, false
	}
	n := numberLength(p.rest)
	text := p.rest[:n]
	if n == 0 || len(text) > 1 && text[0] == '0' && isDigit(text[1]) || startsWord(p.rest[n:]) {
		if len(p.rest) > 2 && p.rest[0] == '0' && (p.rest[1]|' ') == 'x' {
			end := 2
			for end < len(p.rest) && strings.IndexByte("0123456789abcdefABCDEF", p.rest[end]) >= 0 {
				end++
			}
			f, err := strconv.ParseUint(p.rest[2:end], 16, 53)
			if err != nil || startsWord(p.rest[end:]) {
				return 0, false
			}
			p.rest = p.rest[end:]
			return float64(f), true
		}
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	p.rest = p.rest[n:]
	return f, err == nil || math.IsInf(f, 0)
}

// numberLength returns the length of the decimal literal at the start of s.
func numberLength(s string) int {
	i, digits := 0, 0
	for ; i < len(s) && isDigit(s[i]); i++ {
		digits++
	}
	if i < len(s) && s[i] == '.' {
		j := i + 1
		for ; j < len(s) && isDigit(s[j]); j++ {
			digits++
		}
		if digits > 0 {
			i = j
		}
	}
	if digits == 0 {
		return 0
	}
	if i < len(s) && (s[i]|' ') == 'e' {
		j := i + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		if j < len(s) && isDigit(s[j]) {
			for j < len(s) && isDigit(s[j]) {
				j++
			}
			i = j
		}
	}
	return i
}

func startsWord(s string) bool { return s != "" && (isWord(s[0]) || s[0] == '.') }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c|' ' && c|' ' <= 'z' }

// isWord tells the characters that regular expressions call \w.
func isWord(c byte) bool { return isDigit(c) || isLetter(c) || c == '_' }
