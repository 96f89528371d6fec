// Package expr reads arithmetic in configuration and rows: "=2*carbon".
//
// It holds two grammars. The reference's, in reference.go, is what the Impact
// Framework 1.1.0 accepts, with its limits and its traps: names end at the
// first digit, "2024-10-12" is a subtraction. The full one, in full.go, has
// parentheses, decimals and any names. The package knows nothing of plugins.
package expr

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"noether/internal/impact/fault"
	"noether/internal/impact/value"
)

// Plain reports whether s is nothing but numbers with operators between them,
// after one "=" is taken out: the text in configuration that the reference
// replaces by its value.
func Plain(s string) bool {
	return numbers(strings.Replace(s, "=", "", 1), false)
}

// EvaluatePlain returns the value of what Plain accepts; undefined where
// ECMAScript has no value for it, such as "010".
func EvaluatePlain(s string) (value.Value, error) {
	return script(strings.Replace(s, "=", "", 1))
}

// numbers matches \d+(\.\d+)? with [+-*/] between, and white space between if
// spaces are allowed.
func numbers(s string, spaces bool) bool {
	i := 0
	space := func() {
		for spaces && i < len(s) && isSpace(s[i]) {
			i++
		}
	}
	digits := func() bool {
		start := i
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		return i > start
	}
	space()
	for {
		if !digits() {
			return false
		}
		if i < len(s) && s[i] == '.' {
			if i++; !digits() {
				return false
			}
		}
		space()
		if i == len(s) {
			return true
		}
		if strings.IndexByte("+-*/", s[i]) < 0 {
			return false
		}
		i++
		space()
	}
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// Name returns the parameter that an expression is about, as the reference sees
// it: the first run of letters, joined by single -, _ or /. Text of digits and
// operators only is its value, a number. Other text is itself.
func Name(s string) (value.Value, error) {
	if strings.Trim(strings.TrimPrefix(s, "="), "0123456789+-*/ \t\r\n\v\f") == "" && s != "" && s != "=" {
		v, err := run(strings.TrimPrefix(s, "="))
		if err != nil {
			return value.Value{}, err
		}
		if f := v.Num(); f-f == 0 {
			return v, nil
		}
	}
	if from, to := firstName(s); to > from {
		return value.Text(s[from:to]), nil
	}
	return value.Text(s), nil
}

// firstName finds [a-zA-Z]+(?:[-_/][a-zA-Z]+)* in s.
func firstName(s string) (from, to int) {
	for from < len(s) && !isLetter(s[from]) {
		from++
	}
	for to = from; to < len(s); to++ {
		c := s[to]
		joint := c == '-' || c == '_' || c == '/'
		if !isLetter(c) && (!joint || to == from || to+1 == len(s) || !isLetter(s[to+1])) {
			break
		}
	}
	return from, to
}

// operand and operator sequence of what the reference takes for an expression.
var validPattern = regexp.MustCompile(`^\s*(\d+(\.\d+)?|["']?[a-zA-Z0-9\-_]+["']?)(\s*[-+*/]\s*(\d+(\.\d+)?|["']?[a-zA-Z0-9\-_]+["']?))*\s*$`)

// Valid reports whether the reference takes s for an expression.
func Valid(s string) bool {
	name, err := Name(s)
	if err != nil || name.IsString() && name.Str() == s {
		return false
	}
	return validPattern.MatchString(strings.Replace(s, "=", "", 1))
}

// CheckFormat returns the reference's error where the config value s of key has
// a "=" without being an expression, or is one without "=".
func CheckFormat(key, s string) error {
	name, err := Name(s)
	if err != nil {
		return err
	}
	n := value.Text(s).ToNumber()
	if name.IsNumber() || n == n {
		return nil
	}
	if strings.Contains(s, "=") != Valid(strings.Replace(s, "=", "", 1)) {
		return fault.New(fault.InputValidation, "The `%s` contains an invalid arithmetic expression. It should start with `=` and include the symbols `*`, `+`, `-` and `/`.", key)
	}
	return nil
}

var leadingNumber = regexp.MustCompile(`-?\d+(\.\d+)?`)

// Guess returns the number by which the reference judges config text that must
// be a number before it is evaluated: itself, else the first number in it. Text
// without a number stays text.
func Guess(s string) value.Value {
	v := value.Text(s)
	n := v.ToNumber()
	switch {
	case n < 0, n > 0 && n-n == 0:
		return value.Of(n)
	case n == n:
		return v
	}
	if digits := leadingNumber.FindString(s); digits != "" {
		return value.Of(value.ParseFloat(digits))
	}
	return v
}

// MayDepend reports whether the reference evaluates the config value s for each
// row: an expression, or numbers and operators.
func MayDepend(s string) (bool, error) {
	if !MayEvaluate(s) {
		return false, nil
	}
	if _, err := Name(s); err != nil {
		return false, err
	}
	return numbers(s, true) || Valid(strings.Replace(s, "=", "", 1)), nil
}

// MayEvaluate reports whether the reference would evaluate s as the value of a
// row: it holds a "=" or is numbers and operators. It is cheap for other text.
func MayEvaluate(s string) bool {
	if s == "" {
		return false
	}
	if c := s[0]; (isDigit(c) || isSpace(c)) && numbers(s, true) {
		return true
	}
	return strings.IndexByte(s, '=') >= 0
}

var tokenPattern = regexp.MustCompile(`(\s*[\+\-\*/&]\s*)|(\b\d+\b)|("[^"]+"|'[^']+')|(\b\w[\w-]*\b)`)

// Evaluate returns the value of text s that MayEvaluate accepts, names being
// keys of row. Undefined means that the reference drops the key.
func Evaluate(s string, row *value.Object) (value.Value, error) {
	text := strings.Trim(strings.Replace(s, "=", "", 1), " \t\r\n\v\f")
	if numbers(text, true) {
		return script(text)
	}
	var b strings.Builder
	valid := Valid(s)
	at := 0
	for at < len(text) {
		token := text[at:]
		if loc := tokenPattern.FindStringIndex(token); loc != nil {
			// Text between tokens is a token, too.
			if token = token[:loc[0]]; loc[0] == 0 {
				token = text[at : at+loc[1]]
			}
		}
		if err := appendOperand(&b, s, token, row, valid); err != nil {
			return value.Value{}, err
		}
		at += len(token)
	}
	return script(b.String())
}

// appendOperand writes token with its value in place of its name.
func appendOperand(b *strings.Builder, expression, token string, row *value.Object, valid bool) error {
	token = strings.Trim(token, " \t\r\n\v\f")
	if n := len(token); n > 1 && strings.IndexByte(`"'`, token[0]) >= 0 && strings.IndexByte(`"'`, token[n-1]) >= 0 {
		token = token[1 : n-1]
	}
	n := value.Text(token).ToNumber()
	switch {
	case token != "" && n == n:
		b.WriteString(token)
		return nil
	case utf8.RuneCountInString(token) == 1:
		if strings.Contains("+-*/", token) {
			b.WriteString(token)
			return nil
		}
		return fault.New(fault.WrongArithmetic, "The operator in `%s` should be one of these arithmetic operators: *, +, - or /.", expression)
	case !row.Has(token):
		return fault.New(fault.InputValidation, "%s is missing from the input array or has nullish value.", token)
	}
	v := row.Get(token)
	if f := v.ToNumber(); f != f {
		return fault.New(fault.InputValidation, "The value of the `%s` parameter in the input array is not a number.", token)
	}
	if v.IsString() && valid && MayEvaluate(v.Str()) {
		inner, err := Evaluate(v.Str(), row)
		if err != nil {
			return err
		}
		v = inner
	}
	if v.Kind() != value.Null {
		b.WriteString(v.String())
	}
	return nil
}

// Output evaluates an output name such as "=2*out" for the value v that the
// plugin gave it, and returns the name below which the result belongs.
func Output(name string, v value.Value) (string, value.Value, error) {
	named, err := Name(name)
	if err != nil {
		return "", value.Value{}, err
	}
	text := strings.Replace(name, "=", "", 1)
	text = strings.Replace(text, named.String(), v.String(), 1)
	result, err := script(strings.NewReplacer(`"`, "", "'", "").Replace(text))
	return named.String(), result, err
}

// CheckOutput returns the reference's error for the name of a new parameter that
// is neither a plain name nor an expression.
func CheckOutput(name string) error {
	plain, err := Name(name)
	switch {
	case err != nil:
		return err
	case strings.HasPrefix(name, "=") && Valid(name), plain.IsString() && plain.Str() == name:
		return nil
	}
	return fault.New(fault.WrongArithmetic, "The output parameter `%s` contains an invalid arithmetic expression. It should start with `=` and include the symbols `*`, `+`, `-` and `/`.", name)
}
