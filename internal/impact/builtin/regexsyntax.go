package builtin

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const lineTerminators = "\n\r\u2028\u2029"

// splitLiteral takes a regular expression literal apart (ECMA-262,
// RegularExpressionLiteral): the pattern between the slashes and the flags.
func splitLiteral(s string) (body, flags string, ok bool) {
	if len(s) < 2 || s[0] != '/' || s[1] == '/' || s[1] == '*' {
		return "", "", false
	}
	inClass := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '[':
			inClass = true
		case c == ']':
			inClass = false
		case c == '/' && !inClass:
			body, flags = s[1:i], s[i+1:]
			if strings.ContainsAny(body, lineTerminators) || !validFlags(flags) {
				return "", "", false
			}
			return body, flags, true
		}
	}
	return "", "", false
}

// validFlags accepts each of g, i, m, s, u and y at most once. Y (sticky) and d
// change what match returns in ways that no pipeline needs: they are refused.
func validFlags(flags string) bool {
	for i, f := range flags {
		if !strings.ContainsRune("gimsu", f) || strings.ContainsRune(flags[:i], f) {
			return false
		}
	}
	return true
}

// The character classes of ECMA-262, as the inside of a set.
const (
	spaceSet    = `\t-\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff`
	nonSpaceSet = `\u0000-\u0008\u000e-\u001f\u0021-\u009f\u00a1-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e\u2030-\u205e\u2060-\u2fff\u3001-\ufefe\uff00-` + "\U0010ffff"
	wordSet     = `0-9A-Z_a-z`
	nonWordSet  = `\u0000-/:-@\u005b-\u005e\u0060\u007b-` + "\U0010ffff"
	digitSet    = `0-9`
	nonDigitSet = `\u0000-/:-` + "\U0010ffff"
	anySet      = `\u0000-` + "\U0010ffff"
	lineSet     = `\n\r\u2028\u2029`
)

// translator rewrites an ECMAScript pattern in the syntax of regexp2, with every
// class and escape spelled out, because regexp2's own ECMAScript option differs
// in white space, ends of lines, named groups and what it forgives. It follows
// the grammar of ECMA-262 with annex B, or without it under the flag u.
//
// Two things stay different: a character outside the basic plane counts as one
// and not as two surrogates without the flag u, and a group inside a repeated
// group keeps what it captured in an earlier round.
type translator struct {
	src                        string
	pos                        int
	out                        strings.Builder
	multiline, dotAll, unicode bool

	groups int      // in the whole pattern
	names  []string // of groups, "" without
	depth  int
}

// syntaxError tells what is wrong with a pattern in the words of V8, which
// people search for.
type syntaxError string

func (e syntaxError) Error() string { return string(e) }

// translate rewrites pattern under the flags m, s and u of flags.
func translate(pattern, flags string) (string, error) {
	t := &translator{src: pattern, multiline: strings.Contains(flags, "m"), dotAll: strings.Contains(flags, "s"), unicode: strings.Contains(flags, "u")}
	if err := t.countGroups(); err != nil {
		return "", err
	}
	if err := t.disjunction(); err != nil {
		return "", err
	}
	if t.pos < len(t.src) {
		return "", syntaxError("Unmatched ')'")
	}
	return t.out.String(), nil
}

// countGroups finds how many groups there are and what they are called:
// backreferences may come before their group.
func (t *translator) countGroups() error {
	inClass := false
	for i := 0; i < len(t.src); i++ {
		switch t.src[i] {
		case '\\':
			i++
		case '[':
			inClass = true
		case ']':
			inClass = false
		case '(':
			if inClass {
				continue
			}
			rest := t.src[i+1:]
			name := ""
			if strings.HasPrefix(rest, "?") {
				if !strings.HasPrefix(rest, "?<") || strings.HasPrefix(rest, "?<=") || strings.HasPrefix(rest, "?<!") {
					continue
				}
				end := strings.IndexByte(rest, '>')
				if end < 3 || !isIdentifier(rest[2:end]) {
					return syntaxError("Invalid capture group name")
				}
				name = rest[2:end]
				if slices.Contains(t.names, name) {
					return syntaxError("Duplicate capture group name")
				}
			}
			t.groups++
			t.names = append(t.names, name)
		}
	}
	return nil
}

func isIdentifier(s string) bool {
	for i, c := range s {
		if c != '_' && c != '$' && c < utf8.RuneSelf && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func (t *translator) hasNames() bool {
	for _, n := range t.names {
		if n != "" {
			return true
		}
	}
	return false
}

func (t *translator) peek(s string) bool { return strings.HasPrefix(t.src[t.pos:], s) }

// disjunction reads alternatives up to a closing bracket or the end.
func (t *translator) disjunction() error {
	if t.depth++; t.depth > 200 {
		return syntaxError("groups nest too deep")
	}
	defer func() { t.depth-- }()
	for t.pos < len(t.src) {
		if t.src[t.pos] == ')' {
			return nil
		}
		if t.src[t.pos] == '|' {
			t.pos++
			t.out.WriteByte('|')
			continue
		}
		if err := t.term(); err != nil {
			return err
		}
	}
	return nil
}

// term reads an assertion or an atom with its quantifier.
func (t *translator) term() error {
	repeatable := true
	c := t.src[t.pos]
	switch {
	case c == '^':
		t.pos++
		if repeatable = false; t.multiline {
			t.out.WriteString(`(?<![^` + lineSet + `])`)
		} else {
			t.out.WriteString(`\A`)
		}
	case c == '$':
		t.pos++
		if repeatable = false; t.multiline {
			t.out.WriteString(`(?![^` + lineSet + `])`)
		} else {
			t.out.WriteString(`\z`)
		}
	case c == '(':
		var err error
		if repeatable, err = t.group(); err != nil {
			return err
		}
	case c == '.':
		t.pos++
		if t.dotAll {
			t.out.WriteString(`[` + anySet + `]`)
		} else {
			t.out.WriteString(`[^` + lineSet + `]`)
		}
	case c == '[':
		if err := t.class(); err != nil {
			return err
		}
	case c == '\\':
		var err error
		if repeatable, err = t.escape(); err != nil {
			return err
		}
	case c == '*' || c == '+' || c == '?':
		return syntaxError("Nothing to repeat")
	case c == '{':
		if _, _, n := t.braces(); n > 0 || t.unicode {
			return syntaxError("Nothing to repeat")
		}
		t.pos++
		t.out.WriteString(`\{`)
	case t.unicode && (c == '}' || c == ']'):
		return syntaxError("Lone quantifier brackets")
	default:
		r, n := utf8.DecodeRuneInString(t.src[t.pos:])
		t.pos += n
		t.char(r)
	}
	return t.quantifier(repeatable)
}

// char writes one literal character.
func (t *translator) char(r rune) {
	switch {
	case r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 0xffff:
		t.out.WriteRune(r)
	default:
		fmt.Fprintf(&t.out, `\u%04x`, r)
	}
}

// group reads a group and reports whether it may be repeated.
func (t *translator) group() (repeatable bool, err error) {
	repeatable = true
	switch {
	case t.peek("(?:"):
		t.pos += 3
		t.out.WriteString("(?:")
	case t.peek("(?="), t.peek("(?!"):
		repeatable = !t.unicode
		t.out.WriteString(t.src[t.pos : t.pos+3])
		t.pos += 3
	case t.peek("(?<="), t.peek("(?<!"):
		repeatable = false
		t.out.WriteString(t.src[t.pos : t.pos+4])
		t.pos += 4
	case t.peek("(?<"):
		t.pos += strings.IndexByte(t.src[t.pos:], '>') + 1
		t.out.WriteByte('(')
	case t.peek("(?"):
		return false, syntaxError("Invalid group")
	default:
		t.pos++
		t.out.WriteByte('(')
	}
	if err := t.disjunction(); err != nil {
		return false, err
	}
	if t.pos >= len(t.src) {
		return false, syntaxError("Unterminated group")
	}
	t.pos++
	t.out.WriteByte(')')
	return repeatable, nil
}

// braces reads {n}, {n,} or {n,m} at the current position without moving; n is
// its length, 0 if it is none of these.
func (t *translator) braces() (low, high float64, n int) {
	s := t.src[t.pos:]
	end := strings.IndexByte(s, '}')
	if s == "" || s[0] != '{' || end < 2 {
		return 0, 0, 0
	}
	first, second, comma := strings.Cut(s[1:end], ",")
	if !digitsOnly(first) || comma && second != "" && !digitsOnly(second) {
		return 0, 0, 0
	}
	low = bigNumber(first)
	switch high = low; {
	case comma && second == "":
		high = math.Inf(1)
	case comma:
		high = bigNumber(second)
	}
	return low, high, end + 1
}

func digitsOnly(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func bigNumber(digits string) float64 {
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return math.Inf(1)
	}
	return f
}

// maxRepeat is the largest count that regexp2 takes; no text is longer.
const maxRepeat = math.MaxInt32

func (t *translator) quantifier(repeatable bool) error {
	if t.pos >= len(t.src) {
		return nil
	}
	switch c := t.src[t.pos]; c {
	case '*', '+', '?':
		t.pos++
		t.out.WriteByte(c)
	case '{':
		low, high, n := t.braces()
		if n == 0 {
			return nil // an ordinary character, or an error by the next term
		}
		if low > high {
			return syntaxError("numbers out of order in {} quantifier")
		}
		t.pos += n
		fmt.Fprintf(&t.out, "{%.0f,", min(low, maxRepeat))
		if high < maxRepeat {
			fmt.Fprintf(&t.out, "%.0f", high)
		}
		t.out.WriteByte('}')
	default:
		return nil
	}
	if !repeatable {
		return syntaxError("Nothing to repeat")
	}
	if t.pos < len(t.src) && t.src[t.pos] == '?' {
		t.pos++
		t.out.WriteByte('?')
	}
	return nil
}

// escape reads an escape outside a set and reports whether it may be repeated.
func (t *translator) escape() (repeatable bool, err error) {
	if t.pos+1 >= len(t.src) {
		return false, syntaxError("\\ at end of pattern")
	}
	c := t.src[t.pos+1]
	switch {
	case c == 'b':
		t.pos += 2
		t.out.WriteString(`(?:(?<=[` + wordSet + `])(?![` + wordSet + `])|(?<![` + wordSet + `])(?=[` + wordSet + `]))`)
		return false, nil
	case c == 'B':
		t.pos += 2
		t.out.WriteString(`(?:(?<=[` + wordSet + `])(?=[` + wordSet + `])|(?<![` + wordSet + `])(?![` + wordSet + `]))`)
		return false, nil
	case c >= '1' && c <= '9':
		end := t.pos + 1
		for end < len(t.src) && t.src[end] >= '0' && t.src[end] <= '9' {
			end++
		}
		if n := bigNumber(t.src[t.pos+1 : end]); n <= float64(t.groups) {
			t.pos = end
			fmt.Fprintf(&t.out, `(?:\%.0f)`, n)
			return true, nil
		}
		if t.unicode {
			return false, syntaxError("Invalid escape")
		}
	case c == 'k' && (t.unicode || t.hasNames()):
		rest := t.src[t.pos+2:]
		end := strings.IndexByte(rest, '>')
		if !strings.HasPrefix(rest, "<") || end < 0 {
			return false, syntaxError("Invalid named reference")
		}
		for i, name := range t.names {
			if name != "" && name == rest[1:end] {
				t.pos += 2 + end + 1
				fmt.Fprintf(&t.out, `(?:\%d)`, i+1)
				return true, nil
			}
		}
		return false, syntaxError("Invalid named capture referenced")
	}
	set, r, err := t.characterEscape(false)
	if err != nil {
		return false, err
	}
	if set != "" {
		t.out.WriteString("[" + set + "]")
		return true, nil
	}
	t.char(r)
	return true, nil
}

// characterEscape reads an escape that stands for a set of characters or for one.
func (t *translator) characterEscape(inClass bool) (set string, r rune, err error) {
	c := t.src[t.pos+1]
	t.pos += 2
	switch c {
	case 'd':
		return digitSet, 0, nil
	case 'D':
		return nonDigitSet, 0, nil
	case 'w':
		return wordSet, 0, nil
	case 'W':
		return nonWordSet, 0, nil
	case 's':
		return spaceSet, 0, nil
	case 'S':
		return nonSpaceSet, 0, nil
	case 'f':
		return "", '\f', nil
	case 'n':
		return "", '\n', nil
	case 'r':
		return "", '\r', nil
	case 't':
		return "", '\t', nil
	case 'v':
		return "", '\v', nil
	case 'p', 'P':
		if t.unicode {
			end := strings.IndexByte(t.src[t.pos:], '}')
			if !t.peek("{") || end < 0 {
				return "", 0, syntaxError("Invalid property name")
			}
			name := t.src[t.pos+1 : t.pos+end]
			t.pos += end + 1
			name = strings.TrimPrefix(strings.TrimPrefix(name, "Script="), "General_Category=")
			return `\` + string(rune(c)) + "{" + name + "}", 0, nil
		}
	case 'c':
		if t.pos < len(t.src) {
			l := t.src[t.pos]
			if l >= 'a' && l <= 'z' || l >= 'A' && l <= 'Z' || inClass && !t.unicode && (l >= '0' && l <= '9' || l == '_') {
				t.pos++
				return "", rune(l % 32), nil
			}
		}
		if t.unicode {
			return "", 0, syntaxError("Invalid unicode escape")
		}
		t.pos--
		return "", '\\', nil
	case 'x':
		if n, ok := t.hex(2); ok {
			return "", n, nil
		}
	case 'u':
		if n, ok := t.hex(4); ok {
			return "", n, nil
		}
		if t.unicode && t.peek("{") {
			if end := strings.IndexByte(t.src[t.pos:], '}'); end > 0 {
				if n, err := strconv.ParseUint(t.src[t.pos+1:t.pos+end], 16, 32); err == nil && n <= utf8.MaxRune {
					t.pos += end + 1
					return "", rune(n), nil
				}
			}
		}
	case 'b':
		if inClass {
			return "", '\b', nil
		}
	}
	if c >= '0' && c <= '7' {
		return "", t.octal(c), nil
	}
	t.pos--
	r, n := utf8.DecodeRuneInString(t.src[t.pos:])
	t.pos += n
	if t.unicode && !strings.ContainsRune(`^$\.*+?()[]{}|/`, r) && (!inClass || r != '-') {
		return "", 0, syntaxError("Invalid escape")
	}
	return "", r, nil
}

// hex reads n hexadecimal digits; without them nothing is read.
func (t *translator) hex(n int) (rune, bool) {
	if t.pos+n > len(t.src) {
		return 0, false
	}
	v, err := strconv.ParseUint(t.src[t.pos:t.pos+n], 16, 16)
	if err != nil {
		return 0, false
	}
	t.pos += n
	return rune(v), true
}

// octal reads up to two more digits of a number up to 255 (annex B).
func (t *translator) octal(first byte) rune {
	v := rune(first - '0')
	for range 2 {
		if t.pos >= len(t.src) || t.src[t.pos] < '0' || t.src[t.pos] > '7' || v*8+rune(t.src[t.pos]-'0') > 255 {
			break
		}
		v = v*8 + rune(t.src[t.pos]-'0')
		t.pos++
	}
	return v
}

// class reads a set in square brackets.
func (t *translator) class() error {
	t.pos++
	negated := t.peek("^")
	if negated {
		t.pos++
	}
	if t.peek("]") {
		t.pos++
		if negated {
			t.out.WriteString(`[` + anySet + `]`)
		} else {
			t.out.WriteString(`(?!)`)
		}
		return nil
	}
	t.out.WriteByte('[')
	if negated {
		t.out.WriteByte('^')
	}
	for {
		if t.pos >= len(t.src) {
			return syntaxError("Unterminated character class")
		}
		if t.peek("]") {
			t.pos++
			t.out.WriteByte(']')
			return nil
		}
		set, low, err := t.classAtom()
		if err != nil {
			return err
		}
		if !t.peek("-") || t.pos+1 < len(t.src) && t.src[t.pos+1] == ']' || t.pos+1 >= len(t.src) {
			t.member(set, low)
			continue
		}
		t.pos++
		highSet, high, err := t.classAtom()
		switch {
		case err != nil:
			return err
		case set != "" || highSet != "":
			if t.unicode {
				return syntaxError("Invalid character class")
			}
			t.member(set, low)
			t.char('-')
			t.member(highSet, high)
		case low > high:
			return syntaxError("Range out of order in character class")
		default:
			t.char(low)
			t.out.WriteByte('-')
			t.char(high)
		}
	}
}

func (t *translator) member(set string, r rune) {
	if set != "" {
		t.out.WriteString(set)
		return
	}
	t.char(r)
}

func (t *translator) classAtom() (set string, r rune, err error) {
	if t.pos >= len(t.src) {
		return "", 0, syntaxError("Unterminated character class")
	}
	if t.src[t.pos] != '\\' {
		r, n := utf8.DecodeRuneInString(t.src[t.pos:])
		t.pos += n
		return "", r, nil
	}
	if t.pos+1 >= len(t.src) {
		return "", 0, syntaxError("\\ at end of pattern")
	}
	return t.characterEscape(true)
}
