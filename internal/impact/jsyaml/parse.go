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
	"bytes"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"unicode/utf8"

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
// class YAMLException and name line and column.
func Parse(src []byte) (value.Value, error) {
	return ParseReader(bytes.NewReader(src), len(src))
}

// ParseReader parses what r holds, about size bytes, and keeps no second copy
// of it meanwhile. The source is free once it returns.
func ParseReader(r io.Reader, size int) (value.Value, error) {
	p, err := newParser(r, size)
	if err != nil {
		return value.Value{}, err
	}
	return p.single()
}

// ParseAll returns the documents of the stream src.
func ParseAll(src []byte) ([]value.Value, error) {
	p, err := newParser(bytes.NewReader(src), len(src))
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

var kindNames = [...]string{"nothing", "scalar", "sequence", "mapping"} //nolint:gochecknoglobals // constant

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

func newParser(r io.Reader, size int) (*parser, error) {
	var b strings.Builder
	b.Grow(max(0, size) + 1)
	n, err := io.Copy(&b, io.LimitReader(r, maxSource+1))
	switch {
	case err != nil:
		return nil, fault.New(fault.ReadFile, "read YAML: %w", err)
	case n > maxSource:
		return nil, fault.New(fault.YAML, "read YAML: it has more than the %d bytes that this engine takes: split it", maxSource)
	}
	if text := b.String(); text != "" && text[len(text)-1] != '\n' && text[len(text)-1] != '\r' {
		b.WriteByte('\n')
	}
	text := strings.TrimPrefix(b.String(), "\ufeff")
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\ufffd")
	}
	p := &parser{src: text, tab: -1, names: map[string]string{}, seed: maphash.MakeSeed()}
	if end := strings.IndexByte(text, 0); end >= 0 {
		for p.pos < end {
			if c := p.cur(); c == '\n' || c == '\r' {
				p.newLine()
			} else {
				p.pos++
			}
		}
		p.fail("null byte is not allowed in input")
		return nil, p.err
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
	version, some := false, false
	for p.space(true); p.indent == 0 && p.cur() == '%'; p.space(true) {
		some = true
		p.pos++
		text, _, _ := strings.Cut(lineText(p.src, p.pos), " #")
		fields := strings.Fields(text)
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
	} else if some {
		p.fail("directives end mark is expected")
	}
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
			return p.singleQuoted()
		case '"':
			return p.doubleQuoted()
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
	default:
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
