package jsyaml

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"noether/internal/impact/value"
)

// resolve returns what the text of a plain scalar means under the core schema
// of YAML 1.2 with timestamps; ok is false if it is a string. Numbers take no
// underscores and no base 60, "yes" and "on" are strings.
func resolve(s string) (v value.Value, ok bool) {
	if s == "" {
		return value.NullValue(), true
	}
	switch s[0] {
	case '~', 'n', 'N', 't', 'T', 'f', 'F':
		return word(s)
	case '+', '-', '.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if f, ok := integer(s); ok {
			return value.Of(f), true
		}
		if f, ok := float(s); ok {
			return value.Of(f), true
		}
		if ms, ok := timestamp(s); ok {
			return value.At(ms), true
		}
	}
	return value.Value{}, false
}

func word(s string) (value.Value, bool) {
	switch s {
	case "~", "null", "Null", "NULL":
		return value.NullValue(), true
	case "true", "True", "TRUE":
		return value.OfBool(true), true
	case "false", "False", "FALSE":
		return value.OfBool(false), true
	}
	return value.Value{}, false
}

// isWord reports whether s is one of the words that mean null, true or false.
func isWord(s string) bool {
	if len(s) > len("false") {
		return false
	}
	_, ok := word(s)
	return ok
}

// integer parses decimal digits, 0b, 0o and 0x after an optional sign. What is
// too large for a double is no number.
func integer(s string) (float64, bool) {
	digits, sign := s, 1.0
	switch s[0] {
	case '-':
		digits, sign = s[1:], -1
	case '+':
		digits = s[1:]
	}
	if digits == "0" {
		return 0, true // "-0" too, but "-00" is -0
	}
	if len(digits) > 2 && digits[0] == '0' && digits[1] > '9' {
		f, ok := based(digits)
		return float64(sign * f), ok
	}
	if digits == "" {
		return 0, false
	}
	for i := range len(digits) {
		if !isDigit(digits[i]) {
			return 0, false
		}
	}
	if len(digits) <= 15 {
		n := 0
		for i := range len(digits) {
			n = n*10 + int(digits[i]-'0')
		}
		return float64(sign * float64(n)), true
	}
	f, err := strconv.ParseFloat(digits, 64)
	return float64(sign * f), err == nil
}

func based(s string) (float64, bool) {
	var base int
	switch s[1] {
	case 'b':
		base = 2
	case 'o':
		base = 8
	case 'x':
		base = 16
	default:
		return 0, false
	}
	for i := 2; i < len(s); i++ {
		if d := hexDigit(s[i]); d < 0 || d >= base {
			return 0, false
		}
	}
	if u, err := strconv.ParseUint(s[2:], base, 64); err == nil {
		return float64(u), true
	}
	if len(s) > 2000 { // 2¹⁰²⁴ has 1024 binary digits; leading zeros are not worth the work
		return 0, false
	}
	n, ok := new(big.Int).SetString(s[2:], base)
	if !ok {
		return 0, false
	}
	f, _ := new(big.Float).SetInt(n).Float64()
	return f, !math.IsInf(f, 0)
}

// float parses a decimal fraction. A sign must be followed by a digit, or by
// .inf; what is too large for a double is no number.
func float(s string) (float64, bool) {
	i := 0
	if s[0] == '+' || s[0] == '-' {
		i = 1
	}
	switch s[i:] {
	case ".inf", ".Inf", ".INF":
		if s[0] == '-' {
			return math.Inf(-1), true
		}
		return math.Inf(1), true
	case ".nan", ".NaN", ".NAN":
		return math.NaN(), i == 0
	}
	start := i
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	whole := i - start
	if whole == 0 && start > 0 {
		return 0, false
	}
	if i < len(s) && s[i] == '.' {
		i++
		for i < len(s) && isDigit(s[i]) {
			i++
			whole++
		}
	}
	if whole == 0 {
		return 0, false
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		start = i
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		if i == start {
			return 0, false
		}
	}
	if i != len(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// timestamp parses a date, or a date and time with an optional fraction and
// zone, to milliseconds since 1970. Days and hours past their end carry over
// and years below 100 are of the 20th century, as ECMAScript's Date.UTC has it.
func timestamp(s string) (milliseconds float64, ok bool) {
	if len(s) < len("2024-1-1T1:00:00") && len(s) != len("2024-01-01") {
		return 0, false
	}
	r := reader{s: s, ok: true}
	year := r.digits(4, 4)
	r.one("-")
	month := r.digits(1, 2)
	r.one("-")
	day := r.digits(1, 2)
	if !r.ok || r.s == "" && len(s) != len("2024-01-01") {
		return 0, false
	}
	if year < 100 {
		year += 1900
	}
	if r.s == "" {
		return float64(time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).UnixMilli()), true
	}
	if !r.blanks() {
		r.one("Tt")
	}
	hour := r.digits(1, 2)
	r.one(":")
	minute := r.digits(2, 2)
	r.one(":")
	second := r.digits(2, 2)
	fraction := 0
	if r.ok && strings.HasPrefix(r.s, ".") {
		r.s = r.s[1:]
		for unit := 100; r.s != "" && isDigit(r.s[0]); unit /= 10 {
			fraction += unit * int(r.s[0]-'0')
			r.s = r.s[1:]
		}
	}
	zone := r.zone()
	if !r.ok || r.s != "" {
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, fraction*1e6, time.UTC)
	return float64(t.UnixMilli() - int64(zone)*60_000), true
}

// reader takes fixed forms off the start of s; ok turns false at the first miss.
type reader struct {
	s  string
	ok bool
}

func (r *reader) digits(least, most int) (n int) {
	i := 0
	for i < len(r.s) && i < most && isDigit(r.s[i]) {
		n = n*10 + int(r.s[i]-'0')
		i++
	}
	r.ok = r.ok && i >= least
	r.s = r.s[i:]
	return n
}

func (r *reader) one(of string) {
	if r.s == "" || strings.IndexByte(of, r.s[0]) < 0 {
		r.ok = false
		return
	}
	r.s = r.s[1:]
}

func (r *reader) blanks() bool {
	rest := strings.TrimLeft(r.s, " \t")
	found := len(rest) < len(r.s)
	r.s = rest
	return found
}

// zone returns minutes east of UTC.
func (r *reader) zone() int {
	if r.s == "" {
		return 0
	}
	r.blanks()
	if strings.HasPrefix(r.s, "Z") {
		r.s = r.s[1:]
		return 0
	}
	west := strings.HasPrefix(r.s, "-")
	r.one("+-")
	minutes := r.digits(1, 2) * 60
	if r.s != "" {
		r.one(":")
		minutes += r.digits(2, 2)
	}
	if west {
		return -minutes
	}
	return minutes
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
