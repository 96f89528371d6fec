package jsyaml

import "strings"

// cur returns the byte at pos, 0 at the end.
func (p *parser) cur() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

// peek returns the byte after pos, 0 at the end.
func (p *parser) peek() byte {
	if p.pos+1 < len(p.src) {
		return p.src[p.pos+1]
	}
	return 0
}

// isBlank reports white space, line breaks and the end of the source.
func isBlank(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == 0 }

func isFlowIndicator(c byte) bool {
	return c == ',' || c == '[' || c == ']' || c == '{' || c == '}'
}

func (p *parser) blanks() {
	for c := p.cur(); c == ' ' || c == '\t'; c = p.cur() {
		p.pos++
	}
}

// space moves over white space, line breaks and, if comments is set, comments
// to the next token, and returns how many line breaks there were.
func (p *parser) space(comments bool) (breaks int) {
	for {
		c := p.cur()
		for c == ' ' || c == '\t' {
			if c == '\t' && p.tab < 0 {
				p.tab = p.pos
			}
			p.pos++
			c = p.cur()
		}
		if c == '#' && comments {
			p.pos += len(lineText(p.src, p.pos))
			c = p.cur()
		}
		if c != '\n' && c != '\r' {
			return breaks
		}
		p.newLine()
		breaks++
		for p.cur() == ' ' {
			p.pos++
		}
		p.indent = p.pos - p.lineStart
	}
}

// newLine moves over one line break.
func (p *parser) newLine() {
	if p.cur() == '\r' && p.peek() == '\n' {
		p.pos++
	}
	p.pos++
	p.line++
	p.lineStart = p.pos
	p.tab = -1
}

// atDocumentMark reports whether --- or ... stands at pos, which is the start of a line.
func (p *parser) atDocumentMark() bool {
	if c := p.cur(); c != '-' && c != '.' {
		return false
	}
	rest := p.src[p.pos:]
	return (strings.HasPrefix(rest, "---") || strings.HasPrefix(rest, "...")) && (len(rest) == 3 || isBlank(rest[3]))
}

func (p *parser) mark() mark { return mark{p.pos, p.line, p.lineStart} }

func (p *parser) fail(message string) { p.failAt(p.mark(), message) }

func (p *parser) failAt(m mark, message string) {
	if p.err == nil {
		p.err = syntaxError(p.src, m, message)
	}
	p.pos = len(p.src)
}

// left reports whether anything is left.
func (p *parser) left() bool { return p.pos < len(p.src) }

// tabbed fails if the line's indentation holds a tab.
func (p *parser) tabbed() bool {
	if p.tab < 0 {
		return false
	}
	p.pos = p.tab
	p.fail("tab characters must not be used in indentation")
	return true
}
