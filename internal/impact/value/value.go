// Package value holds what a manifest is made of: the values of JSON and of
// YAML's core schema with the meaning that ECMAScript gives them, because the
// manifests of the Impact Framework are defined by an engine written in it.
// Numbers are IEEE doubles, objects keep the order of their keys, undefined is
// a value of its own.
//
// The package computes nothing about energy or carbon and reads no files.
package value

import (
	"fmt"
	"time"
)

// Kind tells what a Value is.
type Kind uint8

// The kinds. The zero Value is Undefined.
const (
	Undefined Kind = iota
	Null
	Bool
	Number
	String
	Date // an instant in whole milliseconds, as an unquoted YAML timestamp gives
	Array
	Map
)

// String returns the name that error messages use.
func (k Kind) String() string {
	names := [...]string{"undefined", "null", "boolean", "number", "string", "date", "array", "object"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Value is one value, sixteen bytes, cheap to copy. Strings, arrays and
// objects are shared by copies; everything else is in the Value itself.
// Values may be read by many goroutines; see Object for writing.
type Value struct {
	box *box
	num float64
}

type box struct {
	kind Kind
	str  string
	obj  *Object // arrays keep their items in obj.vals
}

// The kinds without a heap part share one box each. They are never written.
var (
	nullBox   = &box{kind: Null}   //nolint:gochecknoglobals // constant
	boolBox   = &box{kind: Bool}   //nolint:gochecknoglobals // constant
	numberBox = &box{kind: Number} //nolint:gochecknoglobals // constant
	dateBox   = &box{kind: Date}   //nolint:gochecknoglobals // constant
	emptyBox  = &box{kind: String} //nolint:gochecknoglobals // constant
)

// NullValue returns null.
func NullValue() Value { return Value{box: nullBox} }

// Of returns the number f.
func Of(f float64) Value { return Value{box: numberBox, num: f} }

// OfBool returns a boolean.
func OfBool(b bool) Value {
	v := Value{box: boolBox}
	if b {
		v.num = 1
	}
	return v
}

// Text returns the string s.
func Text(s string) Value {
	if s == "" {
		return Value{box: emptyBox}
	}
	return Value{box: &box{kind: String, str: s}}
}

// At returns a date, milliseconds since 1970-01-01T00:00:00Z.
func At(milliseconds float64) Value { return Value{box: dateBox, num: milliseconds} }

// AtTime returns t as a date, cut to whole milliseconds.
func AtTime(t time.Time) Value { return At(float64(t.UnixMilli())) }

// List returns an array that owns items.
func List(items []Value) Value {
	return Value{box: &box{kind: Array, obj: &Object{vals: items}}}
}

// Texts returns an array of strings.
func Texts(items ...string) Value {
	out := make([]Value, len(items))
	for i, s := range items {
		out[i] = Text(s)
	}
	return List(out)
}

// Rows returns an array of objects; it owns the objects, not the slice.
func Rows(rows []*Object) Value {
	items := make([]Value, len(rows))
	for i, r := range rows {
		items[i] = r.Value()
	}
	return List(items)
}

// Kind returns the kind of v.
func (v Value) Kind() Kind {
	if v.box == nil {
		return Undefined
	}
	return v.box.kind
}

// IsNullish reports whether v is null or undefined.
func (v Value) IsNullish() bool { return v.box == nil || v.box == nullBox }

// Num returns the number, or the milliseconds of a date; 0 for other kinds
// except true, which is 1.
func (v Value) Num() float64 { return v.num }

// IsNumber reports whether v is a number.
func (v Value) IsNumber() bool { return v.box == numberBox }

// Bool reports whether v is the boolean true.
func (v Value) Bool() bool { return v.box == boolBox && v.num == 1 }

// Str returns the text of a string and "" for other kinds.
func (v Value) Str() string {
	if v.box == nil {
		return ""
	}
	return v.box.str
}

// IsString reports whether v is a string.
func (v Value) IsString() bool { return v.box != nil && v.box.kind == String }

// Time returns the instant of a date.
func (v Value) Time() time.Time { return time.UnixMilli(int64(v.num)).UTC() }

// Items returns the items of an array, nil for other kinds. The slice is the
// array's own: writing to it changes the array.
func (v Value) Items() []Value {
	if v.box == nil || v.box.kind != Array {
		return nil
	}
	return v.box.obj.vals
}

// Object returns the object, nil for other kinds.
func (v Value) Object() *Object {
	if v.box == nil || v.box.kind != Map {
		return nil
	}
	return v.box.obj
}

// Identical reports whether a and b are the same value by ECMAScript's ===:
// arrays, objects and dates are the same only if they are one and the same
// (two dates never are), NaN is not itself, -0 is 0.
func Identical(a, b Value) bool {
	if a.Kind() != b.Kind() {
		return false
	}
	switch a.Kind() {
	case Undefined, Null:
		return true
	case Bool, Number:
		return a.num == b.num
	case String:
		return a.box.str == b.box.str
	case Array, Map:
		return a.box.obj == b.box.obj
	default:
		return false
	}
}

// Equal reports whether a and b have the same content: numbers and dates by
// value with NaN equal to NaN, objects whatever the order of their keys, a key
// that is undefined like one that is absent.
func Equal(a, b Value) bool {
	if a.Kind() != b.Kind() {
		return false
	}
	switch a.Kind() {
	case Undefined, Null:
		return true
	case Bool, Number, Date:
		return a.num == b.num || a.num != a.num && b.num != b.num
	case String:
		return a.box.str == b.box.str
	case Array:
		x, y := a.Items(), b.Items()
		if len(x) != len(y) {
			return false
		}
		for i := range x {
			if !Equal(x[i], y[i]) {
				return false
			}
		}
		return true
	default:
		return a.box.obj.equal(b.box.obj)
	}
}

// Clone returns a deep copy of v. Dates, numbers and strings are shared.
func (v Value) Clone() Value {
	switch v.Kind() {
	case Array:
		items := make([]Value, len(v.box.obj.vals))
		for i, item := range v.box.obj.vals {
			items[i] = item.Clone()
		}
		return List(items)
	case Map:
		o := v.box.obj.Copy(0)
		for i := range o.vals {
			o.vals[i] = o.vals[i].Clone()
		}
		return o.Value()
	default:
		return v
	}
}
