package jsyaml

import (
	"encoding/base64"
	"fmt"
	"net/url"
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

func (p *parser) singleQuoted(indent int) (v value.Value, ok bool) {
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

func (p *parser) doubleQuoted(indent int) (v value.Value, ok bool) {
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
	empty, any, deeper := 0, false, false
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
		if any {
			breaks++
		}
		switch white := c == ' ' || c == '\t'; {
		case !folding, white:
			deeper = white
		case deeper:
			deeper = false
			breaks = empty + 1
		case empty == 0 && any:
			breaks = 0
			p.buf = append(p.buf, ' ')
		default:
			breaks = empty
		}
		for range breaks {
			p.buf = append(p.buf, '\n')
		}
		any, found, empty = true, true, 0
		line := lineText(p.src, p.pos)
		p.pos += len(line)
		p.buf = append(p.buf, p.printable(line)...)
	}
	switch {
	case chomp == '+':
		if any {
			empty++
		}
		for range empty {
			p.buf = append(p.buf, '\n')
		}
	case chomp == 0 && any:
		p.buf = append(p.buf, '\n')
	}
	return p.scalarValue(string(p.buf))
}

// alias reads *name and returns a copy of the node that it names.
func (p *parser) alias() (v value.Value, ok bool) {
	p.pos++
	name := p.label()
	if name == "" {
		p.fail("name of an alias node must contain at least one character")
		return v, false
	}
	a, known := p.anchors[name]
	switch {
	case !known:
		p.fail(fmt.Sprintf("unidentified alias %q", name))
		return v, false
	case a.open:
		p.fail(fmt.Sprintf("alias %q stands within the node that it names", name))
		return v, false
	}
	p.expanded += size(a.v, maxExpanded-p.expanded)
	if p.expanded >= maxExpanded {
		p.fail(fmt.Sprintf("aliases expand to more than %d values", maxExpanded))
		return v, false
	}
	v = a.v.Clone()
	p.kind, p.text, p.merge = scalar, v.String(), false
	switch v.Kind() {
	case value.Array:
		p.kind = sequence
	case value.Map:
		p.kind = mapping
	}
	return v, true
}

// size counts the values in v, up to about limit.
func size(v value.Value, limit int) int {
	n := 1
	for _, item := range v.Items() {
		if n >= limit {
			return n
		}
		n += size(item, limit-n)
	}
	for _, item := range v.Object().All() {
		if n >= limit {
			return n
		}
		n += size(item, limit-n)
	}
	return n
}

// label reads the name of an anchor or alias.
func (p *parser) label() string {
	start := p.pos
	for c := p.cur(); !isBlank(c) && !isFlowIndicator(c); c = p.cur() {
		p.pos++
	}
	return p.src[start:p.pos]
}

// properties of a node.
type properties struct{ tag, anchor string }

// nodeWithProperties reads a node that begins with a tag or an anchor. On the
// line of a key they belong to the key, on a line before to the mapping.
func (p *parser) nodeWithProperties(parent int, ctx context, fresh, compact bool) (v value.Value, ok bool) {
	var all, earlier properties // earlier: on lines before that of the content
	block := ctx >= blockIn
	status, sameLine := 1, false
	start, startTab := p.mark(), p.tab
	for status > 0 {
		c := p.cur()
		if c != '!' && c != '&' {
			break
		}
		if c == '!' && all.tag != "" || c == '&' && all.anchor != "" {
			if !sameLine {
				break
			}
			p.fail("duplication of a tag or anchor property")
			return v, false
		}
		if !sameLine {
			start, startTab, earlier = p.mark(), p.tab, all
		}
		if c == '!' {
			all.tag = p.tag()
		} else {
			p.pos++
			if all.anchor = p.label(); all.anchor == "" {
				p.fail("name of an anchor node must contain at least one character")
			}
		}
		sameLine = p.space(true) == 0
		if !sameLine {
			fresh, status = true, p.indent-parent
		}
	}
	collections := block && (fresh || compact)
	if c := p.cur(); sameLine && block && c != '|' && c != '>' {
		back, tab, column := p.mark(), p.tab, p.indent
		p.pos, p.line, p.lineStart, p.tab = start.pos, start.line, start.start, startTab
		p.anchor(earlier.anchor, v, true)
		v, _, isMapping := p.blockMapping(p.pos-p.lineStart, parent+1)
		if isMapping || p.err != nil {
			return p.finish(earlier, v)
		}
		p.pos, p.line, p.lineStart, p.tab, p.indent = back.pos, back.line, back.start, tab, column
	}
	p.kind = nothing
	p.anchor(all.anchor, v, true)
	if p.cur() == '*' && sameLine {
		p.fail("alias node should not have any properties")
	}
	v, _ = p.content(parent, ctx, status, collections && !sameLine)
	return p.finish(all, v)
}

func (p *parser) anchor(name string, v value.Value, open bool) {
	if name == "" {
		return
	}
	if p.anchors == nil {
		p.anchors = map[string]anchored{}
	}
	p.anchors[name] = anchored{v, open}
}

func (p *parser) finish(of properties, v value.Value) (value.Value, bool) {
	if of.tag != "" && of.tag != "!" && p.err == nil {
		v = p.construct(of.tag, v)
	} else if of.tag == "!" && p.kind == scalar {
		v = p.string(p.text)
	}
	p.merge = p.merge && of.tag == "" || of.tag == tagPrefix+"merge"
	p.anchor(of.anchor, orNull(v), false)
	return v, p.err == nil
}

// tagPrefix is the namespace of YAML's own types.
const tagPrefix = "tag:yaml.org,2002:"

// tag reads a tag and returns it in full, "!" for the non-specific one.
func (p *parser) tag() string {
	start := p.pos
	if strings.HasPrefix(p.src[start:], "!<") {
		text := lineText(p.src, start)
		n := strings.IndexByte(text, '>')
		if n < 0 {
			p.fail("unexpected end of the stream within a verbatim tag")
			return ""
		}
		p.pos += n + 1
		return text[2:n]
	}
	for !isBlank(p.cur()) {
		p.pos++
	}
	handle, suffix := "!", p.src[start+1:p.pos]
	if i := strings.IndexByte(suffix, '!'); i >= 0 {
		handle, suffix = "!"+suffix[:i+1], suffix[i+1:]
	}
	switch {
	case strings.ContainsAny(suffix, ",[]{}"):
		p.fail("tag suffix cannot contain flow indicator characters")
	case strings.Contains(suffix, "!"):
		p.fail("tag suffix cannot contain exclamation marks")
	}
	name, err := url.PathUnescape(suffix)
	if err != nil {
		p.fail("tag name is malformed: " + suffix)
	}
	prefix, declared := p.handles[handle]
	switch {
	case declared:
		return prefix + name
	case handle == "!!":
		return tagPrefix + name
	case handle == "!":
		return "!" + name
	}
	p.fail(fmt.Sprintf("undeclared tag handle %q", handle))
	return ""
}

// construct makes a value of the type tag of the node read last, v.
func (p *parser) construct(tag string, v value.Value) value.Value {
	name, ok := strings.CutPrefix(tag, tagPrefix)
	want, known := map[string]kind{
		"null": scalar, "bool": scalar, "int": scalar, "float": scalar, "timestamp": scalar, "str": scalar, "binary": scalar, "merge": scalar,
		"seq": sequence, "omap": sequence, "pairs": sequence, "map": mapping, "set": mapping,
	}[name]
	if !ok || !known {
		p.fail("unknown tag !<" + tag + ">")
		return v
	}
	if p.kind == nothing {
		p.text = ""
	} else if p.kind != want {
		p.fail(fmt.Sprintf("unacceptable node kind for !<%s> tag; it should be %q, not %q", tag, kindNames[want], kindNames[p.kind]))
		return v
	}
	switch want {
	case scalar:
		v, ok = constructScalar(name, p.text, p.kind == nothing)
		if name == "str" || name == "merge" {
			v = p.string(p.text)
		}
	case sequence:
		v, ok = constructSequence(name, v)
	case mapping:
		v, ok = constructMapping(name, v)
	}
	if !ok {
		p.fail("cannot resolve a node with !<" + tag + "> explicit tag")
	}
	return v
}

func constructScalar(name, text string, absent bool) (v value.Value, ok bool) {
	switch name {
	case "str":
		return v, true
	case "merge":
		return v, absent || text == "<<"
	case "null":
		v, ok = resolve(text)
		return v, absent || ok && text != "" && v.Kind() == value.Null
	case "bool":
		v, ok = resolve(text)
		return v, ok && v.Kind() == value.Bool
	case "binary":
		// The bytes stay in their base 64: a manifest has no other use for them.
		compact := strings.Join(strings.Fields(text), "")
		_, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(compact, "="))
		return value.Text(compact), err == nil && !absent
	}
	if text == "" {
		return v, false
	}
	switch name {
	case "int":
		f, ok := integer(text)
		return value.Of(f), ok
	case "float":
		f, ok := float(text)
		return value.Of(f), ok
	}
	ms, ok := timestamp(text)
	return value.At(ms), ok
}

func constructSequence(name string, v value.Value) (value.Value, bool) {
	if v.Kind() == value.Undefined {
		return value.List(nil), true
	}
	if name == "seq" {
		return v, true
	}
	seen := map[string]bool{}
	out := make([]value.Value, 0, len(v.Items()))
	for _, item := range v.Items() {
		o := item.Object()
		if o.Len() != 1 || name == "omap" && seen[o.Key(0)] {
			return v, false
		}
		seen[o.Key(0)] = true
		out = append(out, value.List([]value.Value{value.Text(o.Key(0)), o.ValueAt(0)}))
	}
	if name == "omap" {
		return v, true
	}
	return value.List(out), true
}

func constructMapping(name string, v value.Value) (value.Value, bool) {
	if v.Kind() == value.Undefined {
		return value.NewObject(0).Value(), true
	}
	if name == "set" {
		for _, item := range v.Object().All() {
			if item.Kind() != value.Null {
				return v, false
			}
		}
	}
	return v, true
}
