package jsyaml

import (
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	"noether/internal/impact/value"
)

// Write writes v as one YAML document. Objects and arrays are in block style,
// indented by two; keys whose value is undefined are left out.
func Write(w io.Writer, v value.Value) error {
	p := printer{w: w, dst: make([]byte, 0, flushAbove+flushAbove/4)}
	p.document(v)
	p.flush()
	return p.err
}

// Append appends v to dst as one YAML document.
func Append(dst []byte, v value.Value) []byte {
	p := printer{dst: dst}
	p.document(v)
	return p.dst
}

// flushAbove is how many bytes are gathered for one write.
const flushAbove = 64 << 10

// printer appends to dst and now and then empties it into w. After the first
// error of w nothing more is written.
type printer struct {
	dst []byte
	w   io.Writer
	err error
}

func (p *printer) flush() {
	if p.w == nil {
		return
	}
	if p.err == nil {
		_, p.err = p.w.Write(p.dst)
	}
	p.dst = p.dst[:0]
}

func (p *printer) document(v value.Value) {
	if v.Kind() == value.Undefined {
		return
	}
	p.node(v, 0, true)
	p.dst = append(p.dst, '\n')
}

// node writes v at a level of nesting. With inline set a block begins on the
// current line, as in "- key: value".
func (p *printer) node(v value.Value, level int, inline bool) {
	switch v.Kind() {
	case value.Undefined, value.Null:
		p.dst = append(p.dst, "null"...)
	case value.Bool:
		p.dst = strconv.AppendBool(p.dst, v.Bool())
	case value.Number:
		p.dst = appendNumber(p.dst, v.Num())
	case value.String:
		p.dst = appendString(p.dst, v.Str(), level, false)
	case value.Date:
		p.dst = appendDate(p.dst, v.Num())
	case value.Array:
		p.sequence(v.Items(), level, inline)
	case value.Map:
		p.mapping(v.Object(), level, inline)
	}
}

func (p *printer) sequence(items []value.Value, level int, inline bool) {
	if len(items) == 0 {
		p.dst = append(p.dst, "[]"...)
		return
	}
	for _, item := range items {
		if !inline {
			p.newLine(level)
		}
		inline = false
		p.dst = append(p.dst, "- "...)
		p.node(item, level+1, true)
	}
}

func (p *printer) mapping(o *value.Object, level int, inline bool) {
	empty := true
	for i := range o.Len() {
		v := o.ValueAt(i)
		if v.Kind() == value.Undefined {
			continue
		}
		if !empty || !inline {
			p.newLine(level)
		}
		empty = false
		p.pair(o.Key(i), v, level)
	}
	if empty {
		p.dst = append(p.dst, "{}"...)
	}
}

// longKey is the length of a written key above which it needs a question mark.
const longKey = 1024

func (p *printer) pair(key string, v value.Value, level int) {
	start := len(p.dst)
	p.dst = appendString(p.dst, key, level+1, true)
	explicit := len(p.dst)-start > longKey && units(string(p.dst[start:])) > longKey
	if explicit {
		p.dst = append(append(p.dst[:start], "? "...), appendString(nil, key, level+1, true)...)
		p.newLine(level)
	}
	p.dst = append(p.dst, ':')
	if explicit || !isBlock(v) {
		p.dst = append(p.dst, ' ')
	}
	p.node(v, level+1, explicit)
}

// isBlock reports whether v begins on a line of its own below its key.
func isBlock(v value.Value) bool {
	switch v.Kind() {
	case value.Array:
		return len(v.Items()) > 0
	case value.Map:
		for _, item := range v.Object().All() {
			if item.Kind() != value.Undefined {
				return true
			}
		}
	default:
	}
	return false
}

const spaces = "                                                                "

func (p *printer) newLine(level int) {
	if len(p.dst) >= flushAbove {
		p.flush()
	}
	p.dst = appendSpaces(append(p.dst, '\n'), 2*level)
}

func appendSpaces(dst []byte, n int) []byte {
	for n > len(spaces) {
		dst = append(dst, spaces...)
		n -= len(spaces)
	}
	return append(dst, spaces[:n]...)
}

func appendNumber(dst []byte, f float64) []byte {
	switch n := int64(f); {
	case float64(n) == f && n != 0 && n > -1e15 && n < 1e15:
		return strconv.AppendInt(dst, n, 10)
	case f == 0 && math.Signbit(f):
		return append(dst, "-0.0"...)
	case f != f:
		return append(dst, ".nan"...)
	case f > math.MaxFloat64:
		return append(dst, ".inf"...)
	case f < -math.MaxFloat64:
		return append(dst, "-.inf"...)
	}
	start := len(dst)
	dst = value.AppendNumber(dst, f)
	if a := math.Abs(f); a > 0 && a < 1e-6 {
		// YAML 1.1 takes a fraction for a number only if it has a point.
		for i := start + 1; i < len(dst) && dst[i] != '.'; i++ {
			if dst[i] == 'e' {
				return append(append(dst[:i:i], '.'), dst[i:]...)
			}
		}
	}
	return dst
}

// appendDate appends a date; one out of the range of dates is null.
func appendDate(dst []byte, ms float64) []byte {
	if !(math.Abs(ms) <= 8.64e15) {
		return append(dst, "null"...)
	}
	return value.AppendISO(dst, ms)
}

// AppendJSON appends v to dst as JSON in ECMAScript's manner: the order of keys
// is kept, NaN and infinities are null, dates are strings, undefined is left
// out of objects and null elsewhere.
func AppendJSON(dst []byte, v value.Value) []byte {
	switch v.Kind() {
	case value.Bool:
		return strconv.AppendBool(dst, v.Bool())
	case value.Number:
		if f := v.Num(); f-f == 0 {
			return value.AppendNumber(dst, f)
		}
	case value.String:
		return appendJSONString(dst, v.Str())
	case value.Date:
		start := len(dst)
		if dst = appendDate(append(dst, '"'), v.Num()); dst[len(dst)-1] == 'Z' {
			return append(dst, '"')
		}
		dst = dst[:start]
	case value.Array:
		dst = append(dst, '[')
		for i, item := range v.Items() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendJSON(dst, item)
		}
		return append(dst, ']')
	case value.Map:
		dst = append(dst, '{')
		first := true
		for k, item := range v.Object().All() {
			if item.Kind() == value.Undefined {
				continue
			}
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(appendJSONString(dst, k), ':')
			dst = AppendJSON(dst, item)
		}
		return append(dst, '}')
	case value.Undefined, value.Null:
	}
	return append(dst, "null"...)
}

func appendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == '\b':
			dst = append(dst, `\b`...)
		case r == '\f':
			dst = append(dst, `\f`...)
		case r < ' ':
			dst = append(dst, `\u00`...)
			dst = append(dst, hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
