package jsyaml

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"noether/internal/impact/value"
)

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
	default:
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
		if name == "str" || name == "merge" || name == "binary" {
			v = p.string(p.text)
		}
	case sequence:
		v, ok = constructSequence(name, v)
	default:
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
		return v, err == nil && !absent
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
