// Package jsyaml reads and writes YAML as the library js-yaml 4 does, because
// the manifests of the Impact Framework are what that library takes them for:
// YAML 1.2 with the core schema, timestamps and merge keys, a key given twice
// is an error, and objects keep ECMAScript's order of keys. Its output equals
// js-yaml's byte for byte.
//
// The parser builds rows of equal keys at little more than the cost of their
// values. It accepts one document or, with ParseAll, a stream of them. It
// refuses aliases that expand without bound or hold themselves, nesting deeper
// than a hundred levels, and types other than those of the schema.
package jsyaml

import (
	"fmt"
	"hash/maphash"
	"strings"
	"unicode/utf8"
	"unsafe"

	"noether/internal/impact/fault"
	"noether/internal/impact/value"
)

// Limits on what a document may make of its bytes.
const (
	maxDepth    = 100
	maxExpanded = 4 << 20 // values that aliases add
	maxSource   = 2 << 30
)

// Parse returns the document in src, undefined if there is none. Errors are of
// class YAMLException and name line and column. src must not change meanwhile
// and is not kept.
func Parse(src []byte) (value.Value, error) {
	p, err := newParser(src)
	if err != nil {
		return value.Value{}, err
	}
	return p.single()
}

// ParseAll returns the documents of the stream src.
func ParseAll(src []byte) ([]value.Value, error) {
	p, err := newParser(src)
	if err != nil {
		return nil, err
	}
	var docs []value.Value
	for p.more() {
		docs = append(docs, p.document())
	}
	if p.err != nil {
		return nil, p.err
	}
	return docs, nil
}

// parser reads src from left to right. The first error is kept in err and ends
// everything at once, because it moves pos to the end.
type parser struct {
	src       string // ends in a line break
	pos       int
	line      int // from 0
	lineStart int
	indent    int // spaces at the start of the line
	tab       int // the first tab before the first token of the line, -1 if none
	depth     int
	err       error

	// What is known of the node read last.
	kind  kind
	text  string // of a scalar, before it was resolved
	merge bool   // a plain <<

	careful bool // without the quick paths, whose result must be the same

	anchors  map[string]anchored
	handles  map[string]string // of %TAG
	expanded int

	// Items of the collections that are open.
	vals []value.Value
	keys []string
	buf  []byte

	maker     value.Maker
	names     map[string]string
	templates [maxDepth + 2]template
	seed      maphash.Seed
	recent    [1 << 11]value.Value // short strings, by hash
}

type kind uint8

const (
	nothing kind = iota
	scalar
	sequence
	mapping
)

var kindNames = [...]string{"nothing", "scalar", "sequence", "mapping"}

// context says where a node stands: it decides whether block styles are
// allowed and what ends a plain scalar.
type context uint8

const (
	flowIn context = iota
	flowOut
	blockIn
	blockOut
)

type anchored struct {
	v    value.Value
	open bool // its node is still being read
}

func newParser(src []byte) (*parser, error) {
	if len(src) > maxSource {
		return nil, fault.New(fault.YAML, "read YAML: %d bytes are more than the %d that this engine takes: split the manifest", len(src), maxSource)
	}
	text := unsafe.String(unsafe.SliceData(src), len(src)) //nolint:gosec // src must not change until Parse returns, and nothing of text outlives it
	text = strings.TrimPrefix(text, "\ufeff")
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\ufffd")
	}
	if text != "" && text[len(text)-1] != '\n' && text[len(text)-1] != '\r' {
		text += "\n"
	}
	p := &parser{src: text, tab: -1, names: map[string]string{}, seed: maphash.MakeSeed()}
	if i := strings.IndexByte(text, 0); i >= 0 {
		start := strings.LastIndexAny(text[:i], "\r\n") + 1
		line := strings.Count(text[:i], "\n")
		return nil, syntaxError(text, mark{i, line, start}, "null byte is not allowed in input")
	}
	for p.cur() == ' ' {
		p.pos++
		p.indent++
	}
	return p, nil
}

// single reads the only document.
func (p *parser) single() (v value.Value, err error) {
	for n := 0; p.more(); n++ {
		if n > 0 {
			p.fail("expected a single document in the stream, but found more")
			break
		}
		v = p.document()
	}
	if p.err != nil {
		return value.Value{}, p.err
	}
	return v, nil
}

func (p *parser) more() bool { return p.err == nil && p.pos < len(p.src)-1 }

// document reads one document and its end marker.
func (p *parser) document() value.Value {
	p.anchors, p.handles, p.tab = nil, nil, -1
	p.directives()
	v, _ := p.node(p.indent-1, blockOut, false, true)
	p.space(true)
	if p.pos == p.lineStart && p.atDocumentMark() {
		if p.cur() == '.' {
			p.pos += 3
			p.space(true)
		}
	} else if p.more() {
		p.fail("end of the stream or a document separator is expected")
	}
	return orNull(v)
}

func (p *parser) directives() {
	version, any := false, false
	for p.space(true); p.indent == 0 && p.cur() == '%'; p.space(true) {
		any = true
		p.pos++
		fields := strings.Fields(cutComment(lineText(p.src, p.pos)))
		if len(fields) == 0 || isBlank(p.cur()) {
			p.fail("directive name must not be less than one character in length")
			return
		}
		p.pos += len(lineText(p.src, p.pos))
		switch args := fields[1:]; fields[0] {
		case "YAML":
			switch {
			case version:
				p.fail("duplication of %YAML directive")
			case len(args) != 1:
				p.fail("YAML directive accepts exactly one argument")
			case !strings.HasPrefix(args[0], "1."):
				p.fail("unacceptable YAML version of the document")
			}
			version = true
		case "TAG":
			if len(args) != 2 || len(args[0]) < 1 || args[0][0] != '!' || args[0][len(args[0])-1] != '!' {
				p.fail("TAG directive accepts exactly two arguments, a handle between exclamation marks and a prefix")
				return
			}
			if p.handles == nil {
				p.handles = map[string]string{}
			}
			p.handles[args[0]] = args[1]
		}
	}
	if p.indent == 0 && strings.HasPrefix(p.src[p.pos:], "---") {
		p.pos += 3
		p.space(true)
	} else if any {
		p.fail("directives end mark is expected")
	}
}

func cutComment(s string) string {
	if i := strings.Index(s, " #"); i >= 0 {
		return s[:i]
	}
	return s
}

// node reads one node whose parent stands in column parent. seek allows it to
// begin on a later line, compact allows a block collection to begin on the
// line of its parent ("- key: value"). ok is false if there is none.
func (p *parser) node(parent int, ctx context, seek, compact bool) (v value.Value, ok bool) {
	p.kind, p.merge = nothing, false
	p.depth++
	if p.depth > maxDepth {
		p.fail(fmt.Sprintf("nesting exceeded maxDepth (%d)", maxDepth))
		return v, false
	}
	block := ctx >= blockIn
	fresh, status := false, 1
	if seek && p.space(true) > 0 {
		fresh, status = true, p.indent-parent
	}
	if c := p.cur(); status > 0 && (c == '!' || c == '&') {
		v, ok = p.nodeWithProperties(parent, ctx, fresh, compact)
	} else {
		v, ok = p.content(parent, ctx, status, block && (fresh || compact))
	}
	p.depth--
	return v, ok
}

// content reads a node without its properties. status is the sign of how much
// deeper than its parent it stands.
func (p *parser) content(parent int, ctx context, status int, collections bool) (v value.Value, ok bool) {
	block := ctx >= blockIn
	switch {
	case status > 0:
		flow := parent
		if block {
			flow++
		}
		if collections {
			column := p.pos - p.lineStart
			if v, ok = p.blockSequence(column); ok {
				return v, true
			}
			if v, ok, _ = p.blockMapping(column, flow); ok {
				return v, true
			}
		}
		switch p.cur() {
		case '[':
			return p.flowSequence(flow)
		case '{':
			return p.flowMapping(flow)
		case '|', '>':
			if block {
				return p.blockScalar(flow)
			}
		case '\'':
			return p.singleQuoted(flow)
		case '"':
			return p.doubleQuoted(flow)
		case '*':
			return p.alias()
		}
		return p.plain(flow, ctx == flowIn)
	case status == 0 && collections && ctx == blockOut:
		// A block sequence may stand in the column of the key it belongs to.
		return p.blockSequence(p.pos - p.lineStart)
	}
	return v, false
}

// blockSequence reads a block sequence whose dashes stand in column indent.
func (p *parser) blockSequence(indent int) (v value.Value, ok bool) {
	if p.tab >= 0 || p.cur() != '-' || !isBlank(p.peek()) {
		return v, false
	}
	base := len(p.vals)
	for p.left() && !p.tabbed() && p.cur() == '-' && isBlank(p.peek()) {
		p.pos++
		if p.space(true) > 0 && p.indent <= indent {
			p.vals = append(p.vals, value.NullValue())
			if p.indent < indent {
				break
			}
			continue
		}
		line := p.line
		item, _ := p.node(indent, blockIn, false, true)
		p.vals = append(p.vals, orNull(item))
		p.space(true)
		if (p.line == line || p.indent > indent) && p.left() {
			p.fail("bad indentation of a sequence entry")
		}
		if p.indent < indent {
			break
		}
	}
	return p.list(base), true
}

// left reports whether anything is left.
func (p *parser) left() bool { return p.pos < len(p.src) }

// blockMapping reads a block mapping whose keys stand in column indent. If
// what would be its first key is not followed by a colon, it is that node
// itself: found is true, detected false.
func (p *parser) blockMapping(indent, flow int) (v value.Value, found, detected bool) {
	if p.tab >= 0 {
		return v, false, false
	}
	m := p.begin()
	var (
		key      string
		keyMark  mark
		merge    bool // the key is a plain <<
		explicit bool // between "? key" and its ": value"
		compact  bool
	)
	for p.left() && (explicit || !p.tabbed()) {
		line := p.line
		switch c := p.cur(); {
		case c == '?' && isBlank(p.peek()):
			if explicit {
				p.add(&m, key, value.NullValue(), false, keyMark)
			}
			key, keyMark, merge = "null", p.mark(), false
			explicit, detected, compact = true, true, true
			p.pos++
		case c == ':' && isBlank(p.peek()):
			if !explicit {
				p.fail("incomplete explicit mapping pair; a key node is missed; or followed by a non-tabulated empty line")
			}
			explicit, compact = false, true
			p.pos++
		default:
			at := p.mark()
			name, quick := p.quickKey(&m)
			if quick && !explicit {
				detected = true
				if v, ok := p.quickValue(indent); ok {
					p.add(&m, name, v, false, at)
					if p.indent < indent {
						return p.end(&m), true, true
					}
					continue
				}
			}
			isMerge := false
			if !quick {
				k, ok := p.node(flow, flowOut, false, true)
				isMerge = p.merge
				if !ok || !p.keyEnds(line, detected) {
					if !detected {
						return k, ok && p.err == nil, false
					}
					return p.endBlock(&m, explicit, key, keyMark), true, true
				}
				name = p.keyText(k)
			}
			if explicit {
				p.add(&m, key, value.NullValue(), false, keyMark)
			}
			key, keyMark, merge = name, at, isMerge
			explicit, detected, compact = false, true, false
		}
		item, ok := p.node(indent, blockOut, true, compact)
		switch {
		case !explicit:
			p.add(&m, key, orNull(item), merge, keyMark)
		case ok:
			key = p.keyText(item)
		}
		p.space(true)
		if (p.line == line || p.indent > indent) && p.left() {
			p.fail("bad indentation of a mapping entry")
		}
		if p.indent < indent {
			break
		}
	}
	if !detected {
		return v, false, false
	}
	return p.endBlock(&m, explicit, key, keyMark), true, true
}

// keyEnds moves over the colon after a key that began in line. detected tells
// that there must be one.
func (p *parser) keyEnds(line int, detected bool) bool {
	if p.line != line {
		if detected {
			p.fail("can not read a block mapping entry; a multiline key may not be an implicit key")
		}
		return false
	}
	p.blanks()
	if p.cur() != ':' {
		if detected {
			p.fail("can not read an implicit mapping pair; a colon is missed")
		}
		return false
	}
	p.pos++
	if !isBlank(p.cur()) {
		p.fail("a whitespace character is expected after the key-value separator within a block mapping")
	}
	return true
}

func (p *parser) endBlock(m *pairs, explicit bool, key string, at mark) value.Value {
	if explicit {
		p.add(m, key, value.NullValue(), false, at)
	}
	return p.end(m)
}

// tabbed fails if the line's indentation holds a tab.
func (p *parser) tabbed() bool {
	if p.tab < 0 {
		return false
	}
	p.pos = p.tab
	p.fail("tab characters must not be used in indentation")
	return true
}

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

// list makes an array of the values from base on.
func (p *parser) list(base int) value.Value {
	items := append(make([]value.Value, 0, len(p.vals)-base), p.vals[base:]...)
	p.vals = p.vals[:base]
	p.kind, p.merge = sequence, false
	return value.List(items)
}

// keyText returns a key as ECMAScript makes property names.
func (p *parser) keyText(k value.Value) string {
	switch k.Kind() {
	case value.String:
		return p.name(k.Str())
	case value.Undefined:
		return "null"
	case value.Array:
		for _, item := range k.Items() {
			if item.Kind() == value.Array {
				p.fail("nested arrays are not supported inside keys")
			}
		}
	}
	return p.name(k.String())
}

// name returns a copy of s that all equal keys share.
func (p *parser) name(s string) string {
	if n, ok := p.names[s]; ok {
		return n
	}
	n := strings.Clone(s)
	p.names[n] = n
	return n
}

// string returns a copy of s; short ones that were met lately are shared.
func (p *parser) string(s string) value.Value {
	if len(s) > 40 {
		return p.maker.Text(strings.Clone(s))
	}
	slot := &p.recent[maphash.String(p.seed, s)%uint64(len(p.recent))]
	if slot.Kind() != value.String || slot.Str() != s {
		*slot = p.maker.Text(strings.Clone(s))
	}
	return *slot
}

func orNull(v value.Value) value.Value {
	if v.Kind() == value.Undefined {
		return value.NullValue()
	}
	return v
}

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
