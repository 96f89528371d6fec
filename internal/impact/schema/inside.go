package schema

import (
	"slices"

	"noether/internal/impact/value"
)

// Unknown calls found for each key of an object that the shape does not have,
// and for those of the objects inside it. Path leads to the object that holds
// the key and belongs to the caller; known are the keys that it may have.
func (t Object) Unknown(o *value.Object, path []string, found func(path []string, key string, known []string)) {
	if o == nil || len(t.Fields) == 0 {
		return
	}
	known := make([]string, len(t.Fields))
	for i, f := range t.Fields {
		known[i] = f.Name
	}
	for k, v := range o.All() {
		i := slices.Index(known, k)
		if i < 0 {
			found(path, k, known)
			continue
		}
		shape, each := inside(t.Fields[i].Type)
		at := append(slices.Clip(path), k)
		if !each {
			shape.Unknown(v.Object(), at, found)
			continue
		}
		for name, one := range v.Object().All() {
			shape.Unknown(one.Object(), append(slices.Clip(at), name), found)
		}
	}
}

// inside returns the shape of the objects that a value of type t is or, with
// each, has as the values of a map; one without fields if there are none.
func inside(t Type) (shape Object, each bool) {
	switch t := t.(type) {
	case optional:
		return inside(t.of)
	case record:
		if shape, each = inside(t.of); each {
			return Object{}, false // maps of maps hold no shape that anybody declares
		}
		return shape, true
	case Object:
		return t, false
	}
	return Object{}, false
}
