package value

import "slices"

// Maker builds many objects and strings with few allocations. What one Maker
// built stays in memory in groups of some dozen, so it is for values that live
// and die together, as those of one document do. The zero Maker is ready; it
// must not be shared by goroutines.
type Maker struct {
	objects []Object
	values  []Value
	boxes   []box
}

// Sizes of the groups.
const (
	objectGroup = 64
	valueGroup  = 512
	boxGroup    = 64
)

// Text returns the string s.
func (m *Maker) Text(s string) Value {
	if s == "" {
		return Value{box: emptyBox}
	}
	if len(m.boxes) == 0 {
		m.boxes = make([]box, boxGroup)
	}
	b := &m.boxes[0]
	m.boxes = m.boxes[1:]
	b.kind, b.str = String, s
	return Value{box: b}
}

// Like returns a new object with the keys of o and a copy of vals, of which
// there must be one for each key.
func (m *Maker) Like(o *Object, vals []Value) *Object {
	c := m.object(vals)
	c.shape = o.shape
	if o.shape == nil {
		c.keys = slices.Clone(o.keys)
		c.reindex()
	}
	return c
}

// Object returns an object with a copy of keys, which must all differ, and
// vals. It takes n·log n steps whatever the keys.
func (m *Maker) Object(keys []string, vals []Value) *Object {
	var order []int
	for i, k := range keys {
		if _, ok := arrayIndex(k); ok {
			order = append(order, i)
		}
	}
	if len(order) > 0 {
		keys, vals = indexesFirst(keys, vals, order)
	}
	o := m.object(vals)
	if o.shape = shapeOf(keys); o.shape == nil {
		o.setKeys(slices.Clone(keys))
	}
	return o
}

// indexesFirst puts the array indexes, which are at the positions indexes,
// before the other keys and in ascending order.
func indexesFirst(keys []string, vals []Value, indexes []int) ([]string, []Value) {
	sorted := slices.Clone(indexes)
	slices.SortFunc(sorted, func(a, b int) int {
		m, _ := arrayIndex(keys[a])
		n, _ := arrayIndex(keys[b])
		return int(int64(m) - int64(n)) //nolint:gosec // both are below 2³²
	})
	for i := range keys {
		if len(indexes) > 0 && indexes[0] == i {
			indexes = indexes[1:]
			continue
		}
		sorted = append(sorted, i)
	}
	k, v := make([]string, len(keys)), make([]Value, len(vals))
	for to, from := range sorted {
		k[to], v[to] = keys[from], vals[from]
	}
	return k, v
}

func (m *Maker) object(vals []Value) *Object {
	if len(m.objects) == 0 {
		m.objects = make([]Object, objectGroup)
	}
	o := &m.objects[0]
	m.objects = m.objects[1:]
	o.box = box{kind: Map, obj: o}
	n := len(vals)
	if n > len(m.values) {
		if n > valueGroup/8 {
			o.vals = slices.Clone(vals)
			return o
		}
		m.values = make([]Value, valueGroup)
	}
	o.vals = m.values[:n:n]
	m.values = m.values[n:]
	copy(o.vals, vals)
	return o
}
