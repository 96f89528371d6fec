package jsyaml

import "noether/internal/impact/value"

// flowNext moves to the next entry of a flow collection that ends with end;
// comma tells whether one may come. It returns false after the end.
func (p *parser) flowNext(end byte, comma bool) bool {
	p.space(true)
	switch c := p.cur(); {
	case c == end:
		p.pos++
		return false
	case !p.left():
		p.fail("unexpected end of the stream within a flow collection")
	case !comma:
		p.fail("missed comma between flow collection entries")
	case c == ',':
		p.fail("expected the node content, but found ','")
	}
	return p.err == nil
}

// flowComma moves over a comma and reports whether there was one.
func (p *parser) flowComma() bool {
	p.space(true)
	if p.cur() != ',' {
		return false
	}
	p.pos++
	return true
}

// flowEntry reads "key", "key: value" or "? key : value"; pair is false for the first.
func (p *parser) flowEntry(indent int) (key, val value.Value, merge, pair bool) {
	if p.cur() == '?' && isBlank(p.peek()) {
		pair = true
		p.pos++
		p.space(true)
	}
	line := p.line
	key, _ = p.node(indent, flowIn, false, true)
	merge = p.merge
	p.space(true)
	if p.cur() == ':' && (pair || p.line == line) {
		pair = true
		p.pos++
		p.space(true)
		val, _ = p.node(indent, flowIn, false, true)
	}
	return orNull(key), orNull(val), merge, pair
}

func (p *parser) flowSequence(indent int) (value.Value, bool) {
	base := len(p.vals)
	p.pos++
	for comma := true; p.flowNext(']', comma); comma = p.flowComma() {
		at := p.mark()
		key, val, merge, pair := p.flowEntry(indent)
		if pair {
			m := p.begin()
			p.add(&m, p.keyText(key), val, merge, at)
			key = p.end(&m)
		}
		p.vals = append(p.vals, key)
	}
	return p.list(base), true
}

func (p *parser) flowMapping(indent int) (value.Value, bool) {
	m := p.begin()
	p.pos++
	for comma := true; p.flowNext('}', comma); comma = p.flowComma() {
		at := p.mark()
		key, val, merge, _ := p.flowEntry(indent)
		p.add(&m, p.keyText(key), val, merge, at)
	}
	return p.end(&m), true
}
