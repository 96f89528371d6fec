package jsyaml

import "noether/internal/impact/value"

// pairs is a mapping being read; its keys and values are on the parser's
// stacks from the given places on.
type pairs struct {
	keys, vals int
	template   *template
	matched    int // so many first keys are those of template
	index      map[string]int
	merged     map[string]bool // keys that came by << and may be given again
}

// template is the mapping read last at some depth: the next one probably has
// its keys.
type template struct {
	object *value.Object
	keys   []string
	quick  []bool // the key is plain text that quickKey would find
}

// indexAbove is the number of keys from which on a mapping has an index.
const indexAbove = 24

func (p *parser) begin() pairs {
	return pairs{keys: len(p.keys), vals: len(p.vals), template: &p.templates[min(p.depth, len(p.templates)-1)]}
}

// add adds a pair, or the pairs of the value if merge is set. A key given
// twice is an error at the mark.
func (p *parser) add(m *pairs, key string, v value.Value, merge bool, at mark) {
	if merge {
		p.mergeFrom(m, v, at)
		return
	}
	n := len(p.keys) - m.keys
	if m.matched == n && n < len(m.template.keys) && m.template.keys[n] == key {
		m.matched++
		p.push(m, key, v)
		return
	}
	i := p.find(m, key)
	switch {
	case i < 0:
		p.push(m, key, v)
	case m.merged[key]:
		p.vals[m.vals+i] = v
		delete(m.merged, key)
	default:
		p.failAt(at, "duplicated mapping key")
	}
}

func (p *parser) push(m *pairs, key string, v value.Value) {
	if m.index != nil {
		m.index[key] = len(p.keys) - m.keys
	}
	p.keys = append(p.keys, key)
	p.vals = append(p.vals, v)
}

// find returns the place of key in m, -1 if it is absent.
func (p *parser) find(m *pairs, key string) int {
	keys := p.keys[m.keys:]
	if len(keys) < indexAbove {
		for i, k := range keys {
			if k == key {
				return i
			}
		}
		return -1
	}
	if m.index == nil {
		m.index = make(map[string]int, 2*len(keys))
		for i, k := range keys {
			m.index[k] = i
		}
	}
	if i, ok := m.index[key]; ok {
		return i
	}
	return -1
}

// mergeFrom adds the pairs of a mapping, or of several, whose keys are new.
func (p *parser) mergeFrom(m *pairs, v value.Value, at mark) {
	sources := []value.Value{v}
	if v.Kind() == value.Array {
		sources = v.Items()
	}
	for _, source := range sources {
		if source.Kind() != value.Map {
			p.failAt(at, "cannot merge mappings; the provided source object is unacceptable")
			return
		}
		for key, v := range source.Object().All() {
			if p.find(m, key) >= 0 {
				continue
			}
			p.push(m, key, v)
			if m.merged == nil {
				m.merged = map[string]bool{}
			}
			m.merged[key] = true
		}
	}
}

// end makes the object. After an error the stacks may not fit together.
func (p *parser) end(m *pairs) value.Value {
	if p.err != nil {
		return value.Value{}
	}
	keys, vals := p.keys[m.keys:], p.vals[m.vals:]
	p.keys, p.vals = p.keys[:m.keys], p.vals[:m.vals]
	p.kind, p.merge = mapping, false
	t := m.template
	if m.matched == len(keys) && len(keys) == len(t.keys) && t.object != nil {
		return p.maker.Like(t.object, vals).Value()
	}
	o := p.maker.Object(keys, vals)
	if len(keys) < indexAbove {
		t.object, t.keys, t.quick = o, t.keys[:0], t.quick[:0]
		for i := range o.Len() {
			k := o.Key(i)
			t.keys = append(t.keys, k)
			t.quick = append(t.quick, quickKeyLen(k) == len(k) && len(k) > 0 && !isWord(k))
		}
	}
	return o.Value()
}

// Classes of bytes.
const (
	keyByte   = 1 << iota // may stand anywhere in a quick key
	keyFirst              // may begin one
	textByte              // may stand anywhere in a quick plain scalar
	textFirst             // may begin one
)

// classes tells the classes of each byte.
var classes = func() (t [256]uint8) { //nolint:gochecknoglobals // a constant table
	for c := range 256 {
		b := byte(c)
		letter := 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || b == '_'
		switch {
		case letter:
			t[c] = keyByte | keyFirst | textByte | textFirst
		case isDigit(b):
			t[c] = keyByte | textByte | textFirst
		case b == '-':
			t[c] = keyByte | textByte
		case b == '/', b == '.':
			t[c] = keyByte | textByte | textFirst
		case b == '~', b == '(', b == ')', b == '+', b == '$', b == '=', b == '<', b == ';', b == '^', b == '\\':
			t[c] = textByte | textFirst
		case b > ' ' && b < 0x7f && b != ':' && b != '#':
			t[c] = textByte
		case b >= 0x80 && b != 0xc2 && b != 0xef: // below these two are unprintable characters
			t[c] = textByte | textFirst
		}
	}
	return t
}()

// quickKeyLen returns the length of the key at the start of s that needs no
// thought: letters, digits and - _ / . after a letter; 0 if there is none.
func quickKeyLen(s string) int {
	if s == "" || classes[s[0]]&keyFirst == 0 {
		return 0
	}
	i := 1
	for i < len(s) && classes[s[i]]&keyByte != 0 {
		i++
	}
	return i
}

// quickKey reads a key of that kind and its colon. Most often it is the one
// that the template foretells.
func (p *parser) quickKey(m *pairs) (key string, ok bool) {
	if p.careful {
		return "", false
	}
	n := len(p.keys) - m.keys
	if t := m.template; n == m.matched && n < len(t.keys) && t.quick[n] {
		key = t.keys[n]
		end := p.pos + len(key)
		if end+1 < len(p.src) && p.src[end] == ':' && p.src[p.pos:end] == key && (p.src[end+1] == ' ' || p.src[end+1] == '\n') {
			p.pos = end + 1
			return key, true
		}
	}
	end := p.pos + quickKeyLen(p.src[p.pos:])
	if end == p.pos || end+1 >= len(p.src) || p.src[end] != ':' || p.src[end+1] != ' ' && p.src[end+1] != '\n' {
		return "", false
	}
	key = p.src[p.pos:end]
	if isWord(key) {
		return "", false
	}
	p.pos = end + 1
	return p.name(key), true
}

// quickValue reads the value after the colon of a key in column indent if it
// is a scalar that ends on this line for certain, and moves to the next token.
// Otherwise it moves nothing.
func (p *parser) quickValue(indent int) (v value.Value, ok bool) {
	s := p.src
	i := p.pos
	if s[i] != ' ' {
		return v, false
	}
	i++
	start := i
	if i >= len(s) {
		return v, false
	}
	var end int
	switch c := s[i]; {
	case c == '\'' || c == '"':
		start++
		for i++; i < len(s) && s[i] != c; i++ {
			if s[i] < ' ' || s[i] == '\\' {
				return v, false
			}
		}
		end = i
		i++
		if i >= len(s) || s[i] != '\n' {
			return v, false
		}
	case classes[c]&textFirst != 0, c == '-' && i+1 < len(s) && isDigit(s[i+1]):
		for {
			for classes[s[i]]&textByte != 0 {
				i++
			}
			if s[i] == '\n' {
				break
			}
			if s[i] != ' ' && s[i] != ':' || s[i+1] == '#' || isBlank(s[i+1]) {
				return v, false
			}
			i++
		}
		end = i
	default:
		return v, false
	}
	next := i + 1
	for next < len(s) && s[next] == ' ' {
		next++
	}
	column := next - i - 1
	if column > indent || next < len(s) && (s[next] == '\n' || s[next] == '#' || s[next] == '\t' || s[next] == '\r') {
		return v, false
	}
	if text := s[start:end]; start > p.pos+1 {
		v = p.string(text)
	} else if v, ok = resolve(text); !ok {
		v = p.string(text)
	}
	p.pos, p.lineStart, p.indent, p.tab = next, i+1, column, -1
	p.line++
	return v, true
}
