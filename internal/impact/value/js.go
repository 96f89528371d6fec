package value

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

// ISO returns a date as ECMAScript's toISOString writes it:
// 2024-01-01T00:00:00.000Z, with a sign and six digits outside years 0–9999.
func (v Value) ISO() string { return string(AppendISO(nil, v.num)) }

// AppendISO appends the instant in milliseconds since 1970 to dst.
func AppendISO(dst []byte, milliseconds float64) []byte {
	t := At(milliseconds).Time()
	year := t.Year()
	switch {
	case year < 0:
		dst = append(dst, '-')
		dst = digits(dst, -year, 6)
	case year > 9999:
		dst = append(dst, '+')
		dst = digits(dst, year, 6)
	default:
		dst = digits(dst, year, 4)
	}
	dst = digits(append(dst, '-'), int(t.Month()), 2)
	dst = digits(append(dst, '-'), t.Day(), 2)
	dst = digits(append(dst, 'T'), t.Hour(), 2)
	dst = digits(append(dst, ':'), t.Minute(), 2)
	dst = digits(append(dst, ':'), t.Second(), 2)
	dst = digits(append(dst, '.'), t.Nanosecond()/1e6, 3)
	return append(dst, 'Z')
}

func digits(dst []byte, n, width int) []byte {
	start := len(dst)
	for range width {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; i >= start; i-- {
		dst[i] += byte(n % 10)
		n /= 10
	}
	return dst
}

// AppendNumber appends f as ECMAScript's Number::toString writes it: the
// shortest digits that read back the same, an exponent from 1e21 on and below
// 1e-6 (ECMA-262, Number::toString). -0 is "0".
func AppendNumber(dst []byte, f float64) []byte {
	switch {
	case f != f:
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	case f == 0:
		return append(dst, '0')
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	// Go writes e-07 and e+21, ECMAScript e-7 and e+21.
	if n := len(dst); n-start > 4 && dst[n-2] == '0' && (dst[n-3] == '-' || dst[n-3] == '+') {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// FormatNumber returns f as AppendNumber writes it.
func FormatNumber(f float64) string { return string(AppendNumber(nil, f)) }

// Truthy reports whether ECMAScript takes v for true: everything but
// undefined, null, false, 0, NaN and "".
func (v Value) Truthy() bool {
	switch v.Kind() {
	case Undefined, Null:
		return false
	case Bool:
		return v.num == 1
	case Number:
		return v.num != 0 && v.num == v.num
	case String:
		return v.box.str != ""
	default:
		return true
	}
}

// String returns v converted to text as ECMAScript's String() does. Dates are
// written in UTC.
func (v Value) String() string {
	switch v.Kind() {
	case Undefined:
		return "undefined"
	case Null:
		return "null"
	case Bool:
		return strconv.FormatBool(v.num == 1)
	case Number:
		return FormatNumber(v.num)
	case String:
		return v.box.str
	case Date:
		if v.num != v.num {
			return "Invalid Date"
		}
		return v.Time().Format("Mon Jan 02 2006 15:04:05 GMT+0000 (Coordinated Universal Time)")
	case Array:
		var b strings.Builder
		for i, item := range v.box.obj.vals {
			if i > 0 {
				b.WriteByte(',')
			}
			if !item.IsNullish() {
				b.WriteString(item.String())
			}
		}
		return b.String()
	default:
		return "[object Object]"
	}
}

// ToNumber converts v as ECMAScript's Number() does; what is no number is NaN.
func (v Value) ToNumber() float64 {
	switch v.Kind() {
	case Undefined, Map:
		return math.NaN()
	case Null:
		return 0
	case String:
		return textToNumber(v.box.str)
	case Array:
		return textToNumber(v.String())
	default:
		return v.num
	}
}

// isSpace tells ECMAScript's white space and line terminators.
func isSpace(r rune) bool { return r == '\ufeff' || r != '\u0085' && unicode.IsSpace(r) }

func textToNumber(s string) float64 {
	s = strings.TrimFunc(s, isSpace)
	if s == "" {
		return 0
	}
	if len(s) > 2 && s[0] == '0' {
		base := map[byte]float64{'x': 16, 'X': 16, 'o': 8, 'O': 8, 'b': 2, 'B': 2}[s[1]]
		if base != 0 {
			return radix(s[2:], base)
		}
	}
	if n := decimalPrefix(s); n == len(s) {
		return decimal(s)
	}
	return math.NaN()
}

// radix reads digits of a base. Above 2⁵³ the last bit may differ from ECMAScript's.
func radix(s string, base float64) float64 {
	if f, err := strconv.ParseUint(s, int(base), 64); err == nil && s[0] != '+' {
		return float64(f)
	}
	sum := 0.0
	for _, c := range strings.ToLower(s) {
		d := strings.IndexRune("0123456789abcdef", c)
		if d < 0 || float64(d) >= base {
			return math.NaN()
		}
		sum = sum*base + float64(d)
	}
	return sum
}

// ParseFloat reads the longest number at the start of s, as ECMAScript's
// parseFloat does; NaN if there is none.
func ParseFloat(s string) float64 {
	s = strings.TrimLeftFunc(s, isSpace)
	if n := decimalPrefix(s); n > 0 {
		return decimal(s[:n])
	}
	return math.NaN()
}

// ParseFloat applies parseFloat to v: a number is itself, other kinds are
// converted to text first.
func (v Value) ParseFloat() float64 {
	if v.IsNumber() {
		return v.num
	}
	return ParseFloat(v.String())
}

func decimal(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64) // the syntax is checked; out of range gives ±Inf, as it should
	return f
}

// decimalPrefix returns the length of the StrDecimalLiteral at the start of s.
func decimalPrefix(s string) int {
	i := 0
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	if strings.HasPrefix(s[i:], "Infinity") {
		return i + len("Infinity")
	}
	start := i
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	count := i - start
	if i < len(s) && s[i] == '.' {
		j := i + 1
		for j < len(s) && isDigit(s[j]) {
			j++
		}
		if count+j-i-1 > 0 {
			count += j - i - 1
			i = j
		}
	}
	if count == 0 {
		return 0
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		k := j
		for k < len(s) && isDigit(s[k]) {
			k++
		}
		if k > j {
			i = k
		}
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// LooselyEqual reports a == b of ECMAScript: null and undefined are equal,
// numbers and numeric text compare as numbers.
func LooselyEqual(a, b Value) bool {
	if a.IsNullish() || b.IsNullish() {
		return a.IsNullish() && b.IsNullish()
	}
	ka, kb := a.Kind(), b.Kind()
	switch {
	case ka == kb:
		return Identical(a, b)
	case ka == Bool, kb == Bool:
		return LooselyEqual(boolToNumber(a), boolToNumber(b))
	case ka == Number && kb == String, ka == String && kb == Number:
		return a.ToNumber() == b.ToNumber()
	case ka >= Date && kb < Date:
		return LooselyEqual(Text(a.String()), b)
	case kb >= Date && ka < Date:
		return LooselyEqual(a, Text(b.String()))
	}
	return false
}

func boolToNumber(v Value) Value {
	if v.Kind() == Bool {
		return Of(v.num)
	}
	return v
}
