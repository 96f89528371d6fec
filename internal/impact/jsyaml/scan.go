package jsyaml

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"noether/internal/impact/value"
)

// scalarValue records text as that of the scalar read last and returns it as a string.
func (p *parser) scalarValue(text string) (value.Value, bool) {
	p.kind, p.text, p.merge = scalar, text, false
	return p.string(text), p.err == nil
}

// plain reads a plain scalar whose further lines are indented by at least
// indent; within flow collections it ends before their indicators too.
func (p *parser) plain(indent int, inFlow bool) (v value.Value, ok bool) {
	c := p.cur()
	if isBlank(c) || strings.IndexByte(",[]{}#&*!|>'\"%@`", c) >= 0 {
		return v, false
	}
	if c == '?' || c == '-' {
		if next := p.peek(); isBlank(next) || inFlow && isFlowIndicator(next) {
			return v, false
		}
	}
	p.buf = p.buf[:0]
	start, end := p.pos, p.pos
	folded := false
scan:
	for p.left() {
		switch c := p.cur(); {
		case c == ':':
			if next := p.peek(); isBlank(next) || inFlow && isFlowIndicator(next) {
				break scan
			}
		case c == '#':
			if isBlank(p.src[p.pos-1]) {
				break scan
			}
		case inFlow && isFlowIndicator(c), p.pos == p.lineStart && p.atDocumentMark():
			break scan
		case c == '\n' || c == '\r':
			back, tab, column := p.mark(), p.tab, p.indent
			breaks := p.space(false)
			if p.indent < indent {
				p.pos, p.line, p.lineStart, p.tab, p.indent = end, back.line, back.start, tab, column
				break scan
			}
			if c := p.cur(); !p.left() || c == ':' && isBlank(p.peek()) || c == '#' || inFlow && isFlowIndicator(c) ||
				p.pos == p.lineStart && p.atDocumentMark() {
				break scan // nothing of the line belongs to the scalar
			}
			p.buf = append(p.buf, p.printable(p.src[start:end])...)
			p.fold(breaks)
			start, end, folded = p.pos, p.pos, true
			continue
		case c == ' ' || c == '\t':
			p.pos++
			continue
		}
		p.pos++
		end = p.pos
	}
	if end == start && !folded {
		return v, false
	}
	text := p.printable(p.src[start:end])
	if folded {
		text = string(append(p.buf, text...))
	}
	v, ok = resolve(text)
	if !ok {
		v = p.string(text)
	}
	p.kind, p.text, p.merge = scalar, text, text == "<<"
	return v, p.err == nil
}

// fold writes the line breaks between two lines of a flow scalar.
func (p *parser) fold(breaks int) {
	if breaks == 1 {
		p.buf = append(p.buf, ' ')
		return
	}
	for range breaks - 1 {
		p.buf = append(p.buf, '\n')
	}
}

// printable returns s and fails if it holds characters that YAML forbids.
func (p *parser) printable(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f || c == 0xc2 || c == 0xef {
			r, _ := utf8.DecodeRuneInString(s[i:])
			if r < 0xa0 && r != 0x85 || r == 0xfffe || r == 0xffff {
				p.fail("the stream contains non-printable characters")
			}
		}
	}
	return s
}

func (p *parser) singleQuoted() (v value.Value, ok bool) {
	p.pos++
	p.buf = p.buf[:0]
	start := p.pos
	for p.left() {
		switch p.cur() {
		case '\'':
			p.take(start, p.pos)
			p.pos++
			if p.cur() != '\'' {
				return p.scalarValue(string(p.buf))
			}
			start = p.pos
			p.pos++
		case '\n', '\r':
			start = p.quotedBreak(start, "single")
		default:
			p.pos++
		}
	}
	p.fail("unexpected end of the stream within a single quoted scalar")
	return v, false
}

// take appends the source from start to end, which is within quotes.
func (p *parser) take(start, end int) {
	s := p.src[start:end]
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' {
			p.fail("expected valid JSON character")
		}
	}
	p.buf = append(p.buf, s...)
}

// quotedBreak takes the line that began at start, folds the line breaks after
// it and returns where the next line begins.
func (p *parser) quotedBreak(start int, style string) int {
	p.take(start, start+len(strings.TrimRight(p.src[start:p.pos], " \t")))
	p.fold(p.space(false))
	if p.pos == p.lineStart && p.atDocumentMark() {
		p.fail("unexpected end of the document within a " + style + " quoted scalar")
	}
	return p.pos
}

func (p *parser) doubleQuoted() (v value.Value, ok bool) {
	p.pos++
	p.buf = p.buf[:0]
	start := p.pos
	for p.left() {
		switch p.cur() {
		case '"':
			p.take(start, p.pos)
			p.pos++
			return p.scalarValue(string(p.buf))
		case '\\':
			p.take(start, p.pos)
			p.pos++
			p.escape()
			start = p.pos
		case '\n', '\r':
			start = p.quotedBreak(start, "double")
		default:
			p.pos++
		}
	}
	p.fail("unexpected end of the stream within a double quoted scalar")
	return v, false
}

// escapes are the one-letter escape sequences and what they stand for.
const (
	escapeLetters = "0abt\tnvfre \"/\\N_LP"
	escapeValues  = "\x00\a\b\t\t\n\v\f\r\x1b \"/\\\u0085\u00a0\u2028\u2029"
)

// escape reads the escape sequence after a backslash.
func (p *parser) escape() {
	c := p.cur()
	switch c {
	case '\n', '\r':
		p.space(false)
		return
	case 'x', 'u', 'U':
		r := p.hex(map[byte]int{'x': 2, 'u': 4, 'U': 8}[c])
		if utf16.IsSurrogate(r) && p.cur() == '\\' && p.peek() == 'u' {
			p.pos++
			r = utf16.DecodeRune(r, p.hex(4))
		}
		p.buf = utf8.AppendRune(p.buf, r)
		return
	}
	i := strings.IndexByte(escapeLetters, c)
	if i < 0 || c == 0 {
		p.fail("unknown escape sequence")
		return
	}
	p.buf = utf8.AppendRune(p.buf, []rune(escapeValues)[i])
	p.pos++
}

// hex reads n hexadecimal digits after the letter at pos.
func (p *parser) hex(n int) (r rune) {
	p.pos++
	for range n {
		d := hexDigit(p.cur())
		if d < 0 {
			p.fail("expected hexadecimal character")
			return 0
		}
		r = r<<4 | rune(d) //nolint:gosec // d is below 16
		p.pos++
	}
	return r
}

// blockScalar reads a literal or folded block scalar that is indented by at
// least indent.
func (p *parser) blockScalar(indent int) (value.Value, bool) {
	folding := p.cur() == '>'
	chomp := byte(0)
	found := false // the indentation is known
	text := indent
header:
	for p.pos++; ; p.pos++ {
		switch c := p.cur(); {
		case c == '+' || c == '-':
			if chomp != 0 {
				p.fail("repeat of a chomping mode identifier")
			}
			chomp = c
		case c == '0':
			p.fail("bad explicit indentation width of a block scalar; it cannot be less than one")
		case isDigit(c):
			if found {
				p.fail("repeat of an indentation width identifier")
			}
			text, found = indent+int(c-'0')-1, true
		default:
			break header
		}
	}
	if c := p.cur(); c == ' ' || c == '\t' {
		p.blanks()
		if p.cur() == '#' {
			p.pos += len(lineText(p.src, p.pos))
		}
	}
	p.buf = p.buf[:0]
	empty, begun, deeper := 0, false, false
	for p.left() {
		if c := p.cur(); c != '\n' && c != '\r' {
			p.fail("a line break is expected")
			break
		}
		p.newLine()
		for p.cur() == ' ' && (!found || p.pos-p.lineStart < text) {
			p.pos++
		}
		p.indent = p.pos - p.lineStart
		if !found {
			text = max(text, p.indent)
		}
		c := p.cur()
		if c == '\n' || c == '\r' {
			empty++
			continue
		}
		if !p.left() && (found || text > 0) {
			break
		}
		if !found && text == 0 {
			p.fail("missing indentation for block scalar")
			break
		}
		if p.indent < text {
			break
		}
		breaks := empty
		if begun {
			breaks++
		}
		switch white := c == ' ' || c == '\t'; {
		case !folding, white:
			deeper = white
		case deeper:
			deeper = false
			breaks = empty + 1
		case empty == 0 && begun:
			breaks = 0
			p.buf = append(p.buf, ' ')
		default:
			breaks = empty
		}
		for range breaks {
			p.buf = append(p.buf, '\n')
		}
		begun, found, empty = true, true, 0
		line := lineText(p.src, p.pos)
		p.pos += len(line)
		p.buf = append(p.buf, p.printable(line)...)
	}
	switch {
	case chomp == '+':
		if begun {
			empty++
		}
		for range empty {
			p.buf = append(p.buf, '\n')
		}
	case chomp == 0 && begun:
		p.buf = append(p.buf, '\n')
	}
	return p.scalarValue(string(p.buf))
}
