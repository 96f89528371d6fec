package value

import (
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// Object is an ordered map from text to Value with ECMAScript's order of keys:
// array indexes ("0" … "4294967294") first, ascending, then the others as they
// came. Objects of the same keys share one Shape, so that a row of a hundred
// thousand costs its values and little more.
//
// An Object may be read by many goroutines as long as none writes it.
type Object struct {
	box   box // the object as a Value; box.obj is the object itself
	shape *Shape
	index map[string]int // only above maxShaped keys: key → position
	keys  []string       // only above maxShaped keys
	vals  []Value
}

const (
	// maxShaped is the number of keys up to which objects share shapes. Above it an
	// object has a map of its own: such objects are the children of a node, not rows.
	maxShaped = 48
	// maxShapes is the number of shapes of one tree.
	maxShapes = 1 << 14
)

// NewObject returns an empty object with room for n keys.
func NewObject(n int) *Object {
	o := &Object{shape: emptyShape(), vals: make([]Value, 0, n)}
	o.box = box{kind: Map, obj: o}
	return o
}

// Value returns o as a Value; undefined for nil.
func (o *Object) Value() Value {
	if o == nil {
		return Value{}
	}
	return Value{box: &o.box}
}

// Len returns the number of keys. It is 0 for nil.
func (o *Object) Len() int {
	if o == nil {
		return 0
	}
	return len(o.vals)
}

// Key returns the i-th key.
func (o *Object) Key(i int) string {
	if o.shape != nil {
		return o.shape.keys[i]
	}
	return o.keys[i]
}

// ValueAt returns the i-th value.
func (o *Object) ValueAt(i int) Value { return o.vals[i] }

// SetAt replaces the i-th value.
func (o *Object) SetAt(i int, v Value) { o.vals[i] = v }

// Find returns the position of key, -1 if it is absent.
func (o *Object) Find(key string) int {
	switch {
	case o == nil:
		return -1
	case o.shape != nil:
		return o.shape.find(key)
	}
	if i, ok := o.index[key]; ok {
		return i
	}
	return -1
}

// Has reports whether key is there, even with the value undefined.
func (o *Object) Has(key string) bool { return o.Find(key) >= 0 }

// Get returns the value of key, undefined if it is absent or o is nil.
func (o *Object) Get(key string) Value {
	if i := o.Find(key); i >= 0 {
		return o.vals[i]
	}
	return Value{}
}

// Set gives key the value v. A new key goes to the end, an array index to its
// place among the array indexes.
func (o *Object) Set(key string, v Value) {
	if i := o.Find(key); i >= 0 {
		o.vals[i] = v
		return
	}
	if o.shape != nil {
		if next, at := o.shape.with(key); next != nil {
			o.shape = next
			if at == len(o.vals) {
				o.vals = append(o.vals, v)
			} else {
				o.vals = slices.Insert(o.vals, at, v)
			}
			return
		}
		o.keys, o.shape = slices.Clone(o.shape.keys), nil
		o.reindex()
	}
	at := place(o.keys, key)
	if at == len(o.keys) {
		o.index[key] = at
		o.keys, o.vals = append(o.keys, key), append(o.vals, v)
		return
	}
	o.keys, o.vals = slices.Insert(o.keys, at, key), slices.Insert(o.vals, at, v)
	o.reindex()
}

// Delete removes key and reports whether it was there.
func (o *Object) Delete(key string) bool {
	i := o.Find(key)
	if i < 0 {
		return false
	}
	o.vals = slices.Delete(o.vals, i, i+1)
	if o.shape != nil {
		o.setKeys(slices.Delete(slices.Clone(o.shape.keys), i, i+1))
	} else {
		o.setKeys(slices.Delete(o.keys, i, i+1))
	}
	return true
}

// setKeys gives o the keys, which it then owns and which are in their order:
// by a shape if there may be one.
func (o *Object) setKeys(keys []string) {
	if o.shape = shapeOf(keys); o.shape != nil {
		o.keys, o.index = nil, nil
		return
	}
	o.keys = keys
	o.reindex()
}

// SameKeys reports that o and p have the same keys in the same order. False
// means that they may or may not: it is a test that costs nothing.
func (o *Object) SameKeys(p *Object) bool { return o.shape != nil && o.shape == p.shape }

// All yields keys and values in order. The object must not gain or lose keys meanwhile.
func (o *Object) All() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for i := range o.Len() {
			if !yield(o.Key(i), o.vals[i]) {
				return
			}
		}
	}
}

// Copy returns a copy of o that shares the values, with room for spare more keys.
func (o *Object) Copy(spare int) *Object {
	c := &Object{shape: o.shape, vals: append(make([]Value, 0, len(o.vals)+spare), o.vals...)}
	c.box = box{kind: Map, obj: c}
	if o.shape == nil {
		c.keys = slices.Clone(o.keys)
		c.reindex()
	}
	return c
}

// CopyRows copies rows as Copy does, in a few large allocations. The copies
// keep each other in memory.
func CopyRows(rows []*Object, spare int) []*Object {
	out := make([]*Object, len(rows))
	objects := make([]Object, len(rows))
	total := 0
	for _, r := range rows {
		total += len(r.vals) + spare
	}
	slab := make([]Value, 0, total)
	for i, r := range rows {
		if r.shape == nil {
			out[i] = r.Copy(spare)
			continue
		}
		start := len(slab)
		slab = append(slab, r.vals...)
		c := &objects[i]
		c.shape = r.shape
		c.box = box{kind: Map, obj: c}
		c.vals = slab[start : start+len(r.vals) : start+len(r.vals)+spare]
		slab = slab[:start+len(r.vals)+spare]
		out[i] = c
	}
	return out
}

func (o *Object) reindex() {
	o.index = make(map[string]int, len(o.keys)+1)
	for i, k := range o.keys {
		o.index[k] = i
	}
}

func (o *Object) equal(p *Object) bool {
	present := 0
	for k, v := range o.All() {
		if v.Kind() == Undefined {
			continue
		}
		present++
		if !Equal(v, p.Get(k)) {
			return false
		}
	}
	for _, v := range p.All() {
		if v.Kind() != Undefined {
			present--
		}
	}
	return present == 0
}

// Shape is the ordered set of keys that objects share. Shapes form a tree whose
// edges are "and then this key"; only objects of at most maxShaped keys have
// one. Safe for concurrent use.
type Shape struct {
	tree *tree
	keys []string
	mu   sync.RWMutex
	next map[string]edge
}

type edge struct {
	shape *Shape
	at    int
}

// tree is a set of shapes that share their beginnings.
type tree struct {
	root  Shape
	count atomic.Int64 // of shapes
}

// current is the tree in which new objects begin: without it equal objects of
// two manifests would not share. A tree that has maxShapes shapes gives way to
// an empty one and is freed with the last object that began in it, so that a
// process that reads ever new keys does not grow.
var current atomic.Pointer[tree] //nolint:gochecknoglobals // a cache: what it holds changes no result

// emptyShape returns the shape in which a new object begins.
func emptyShape() *Shape {
	t := current.Load()
	for t == nil {
		current.CompareAndSwap(nil, newTree())
		t = current.Load()
	}
	return &t.root
}

func newTree() *tree {
	t := &tree{}
	t.root.tree = t
	return t
}

// shapeOf returns the shape of keys, which are in their order; nil if there is none.
func shapeOf(keys []string) *Shape {
	shape := emptyShape()
	for _, k := range keys {
		if shape, _ = shape.with(k); shape == nil {
			return nil
		}
	}
	return shape
}

func (s *Shape) find(key string) int {
	for i, k := range s.keys {
		if k == key {
			return i
		}
	}
	return -1
}

// with returns the shape with key added, which must be new, and its position;
// nil above maxShaped keys.
func (s *Shape) with(key string) (*Shape, int) {
	if len(s.keys) == maxShaped {
		return nil, 0
	}
	s.mu.RLock()
	e, ok := s.next[key]
	s.mu.RUnlock()
	if ok {
		return e.shape, e.at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.next[key]; ok {
		return e.shape, e.at
	}
	if s.tree.count.Add(1) == maxShapes {
		current.CompareAndSwap(s.tree, newTree())
	}
	at := place(s.keys, key)
	e = edge{&Shape{tree: s.tree, keys: slices.Insert(slices.Clone(s.keys), at, key)}, at}
	if s.next == nil {
		s.next = map[string]edge{}
	}
	s.next[key] = e
	return e.shape, at
}

// place returns where key belongs among keys.
func place(keys []string, key string) int {
	n, ok := arrayIndex(key)
	if !ok {
		return len(keys)
	}
	for i, k := range keys {
		if m, ok := arrayIndex(k); !ok || m > n {
			return i
		}
	}
	return len(keys)
}

// arrayIndex parses a key that ECMAScript orders by its number: canonical
// decimal below 2³²-1.
func arrayIndex(key string) (n uint64, ok bool) {
	if key == "" || len(key) > 10 || key[0] == '0' && len(key) > 1 {
		return 0, false
	}
	for i := range len(key) {
		c := key[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, n < math.MaxUint32
}

// Field is a remembered place of one key: it finds the key again at once in
// objects of the shape that it saw last. The zero Field with a Name is ready;
// it must not be shared by goroutines.
type Field struct {
	Name  string
	shape *Shape
	at    int
}

// Find returns the position of the field in o, -1 if absent.
func (f *Field) Find(o *Object) int {
	if o.shape == nil {
		return o.Find(f.Name)
	}
	if o.shape != f.shape {
		f.shape, f.at = o.shape, o.shape.find(f.Name)
	}
	return f.at
}

// Get returns the field's value in o, undefined if absent.
func (f *Field) Get(o *Object) Value {
	if i := f.Find(o); i >= 0 {
		return o.vals[i]
	}
	return Value{}
}
