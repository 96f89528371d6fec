// Package schema checks values against a declared shape and words what is wrong
// as the manifests' users know it: `"x" parameter is required. Error code:
// invalid_type.`. One declaration serves checking and documentation.
//
// Wording follows zod 3.25, which the Impact Framework checks with, because the
// text is part of a failed run's output.
package schema

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"noether/internal/impact/value"
)

// Issue is one thing that is wrong with a value.
type Issue struct {
	Path []string // keys and "[0]" for positions; empty for the whole
	Code string   // zod's code: invalid_type, too_small, invalid_enum_value, invalid_string, invalid_union, custom
	Text string   // "Required", "Expected string, received number"
}

// NoIndex is the index of what is not one of several rows.
const NoIndex = -1

// Message words issues as the reference does, joined with commas. Index is the
// number of the row that was checked, or NoIndex.
func Message(issues []Issue, index int) string {
	var b strings.Builder
	for i, issue := range issues {
		if i > 0 {
			b.WriteByte(',')
		}
		path := strings.Join(issue.Path, ".")
		if path == "" {
			b.WriteString(issue.Text)
			continue
		}
		at := ""
		if index != NoIndex {
			at = " at index " + strconv.Itoa(index)
		}
		fmt.Fprintf(&b, "\"%s\" parameter is %s%s. Error code: %s.", path, strings.ToLower(issue.Text), at, issue.Code)
	}
	return b.String()
}

// Type checks values. Types are immutable and safe for concurrent use.
type Type interface {
	// Parse returns v as the type sees it (defaults filled in, unknown keys
	// left out where the type says so) and what is wrong with it. It does not
	// change v. Path belongs to the caller.
	Parse(v value.Value, path []string) (value.Value, []Issue)
	// Describe names the type for documentation: "number > 0".
	Describe() string
}

func issue(path []string, code, format string, args ...any) []Issue {
	return []Issue{{slices.Clone(path), code, fmt.Sprintf(format, args...)}}
}

// received names the kind of v as zod does.
func received(v value.Value) string {
	if v.IsNumber() && math.IsNaN(v.Num()) {
		return "nan"
	}
	return v.Kind().String()
}

func wrongType(path []string, expected string, v value.Value) []Issue {
	if v.Kind() == value.Undefined {
		return issue(path, "invalid_type", "Required")
	}
	return issue(path, "invalid_type", "Expected %s, received %s", expected, received(v))
}

type text struct {
	min      int
	datetime bool
}

// Text is any string.
func Text() Type { return text{} }

// NonEmpty is a string of at least one character.
func NonEmpty() Type { return text{min: 1} }

// Datetime is a string such as 2024-01-01T00:00:00Z: seconds may be left out, a
// fraction may follow them, the zone is Z.
func Datetime() Type { return text{datetime: true} }

func (t text) Parse(v value.Value, path []string) (value.Value, []Issue) {
	switch {
	case !v.IsString():
		return v, wrongType(path, "string", v)
	case len(v.Str()) < t.min:
		return v, issue(path, "too_small", "String must contain at least %d character(s)", t.min)
	case t.datetime && !isDatetime(v.Str()):
		return v, issue(path, "invalid_string", "Invalid datetime")
	}
	return v, nil
}

func (t text) Describe() string {
	switch {
	case t.datetime:
		return "timestamp ending in Z"
	case t.min > 0:
		return "non-empty string"
	}
	return "string"
}

// isDatetime checks YYYY-MM-DDThh:mm[:ss[.f…]]Z and that the day exists.
func isDatetime(s string) bool {
	if n := len("2024-01-01T00:00"); len(s) == n+1 && s[n] == 'Z' {
		s = s[:n] + ":00Z"
	}
	if len(s) < len("2024-01-01T00:00:00Z") || s[len(s)-1] != 'Z' {
		return false
	}
	for i, c := range []byte("0000-00-00T00:00:00") {
		switch {
		case c == '0' && (s[i] < '0' || s[i] > '9'), c != '0' && s[i] != c:
			return false
		}
	}
	if rest := s[19 : len(s)-1]; rest != "" && (rest[0] != '.' || len(rest) == 1 || strings.Trim(rest[1:], "0123456789") != "") {
		return false
	}
	two := func(i int) int { return int(s[i]-'0')*10 + int(s[i+1]-'0') }
	year, month, day := two(0)*100+two(2), two(5), two(8)
	days := [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	if month < 1 || month > 12 || day < 1 || two(11) > 23 || two(14) > 59 || two(17) > 59 {
		return false
	}
	leap := year%4 == 0 && (year%100 != 0 || year%400 == 0)
	return day <= days[month-1] || month == 2 && day == 29 && leap
}

type number struct {
	bound     float64
	bounded   bool
	exclusive bool
}

// Number is any number but NaN.
func Number() Type { return number{} }

// Above is a number greater than bound.
func Above(bound float64) Type { return number{bound, true, true} }

// AtLeast is a number of bound or more.
func AtLeast(bound float64) Type { return number{bound, true, false} }

func (t number) Parse(v value.Value, path []string) (value.Value, []Issue) {
	switch {
	case !v.IsNumber() || math.IsNaN(v.Num()):
		return v, wrongType(path, "number", v)
	case t.bounded && t.exclusive && v.Num() <= t.bound:
		return v, issue(path, "too_small", "Number must be greater than %s", value.FormatNumber(t.bound))
	case t.bounded && !t.exclusive && v.Num() < t.bound:
		return v, issue(path, "too_small", "Number must be greater than or equal to %s", value.FormatNumber(t.bound))
	}
	return v, nil
}

func (t number) Describe() string {
	switch {
	case t.exclusive:
		return "number > " + value.FormatNumber(t.bound)
	case t.bounded:
		return "number ≥ " + value.FormatNumber(t.bound)
	}
	return "number"
}

type kind struct {
	kind value.Kind
	name string
}

// Bool is true or false.
func Bool() Type { return kind{value.Bool, "boolean"} }

// Date is an unquoted timestamp.
func Date() Type { return kind{value.Date, "date"} }

func (t kind) Parse(v value.Value, path []string) (value.Value, []Issue) {
	if v.Kind() != t.kind {
		return v, wrongType(path, t.name, v)
	}
	return v, nil
}

func (t kind) Describe() string { return t.name }

type anything struct{}

// Any is every value, undefined too.
func Any() Type { return anything{} }

func (anything) Parse(v value.Value, _ []string) (value.Value, []Issue) { return v, nil }
func (anything) Describe() string                                       { return "any" }

type enum []string

// Enum is one of the given strings.
func Enum(options ...string) Type { return enum(options) }

// NativeEnum is Enum with another message for numbers, of which such an enum
// could have been made in zod.
func NativeEnum(options ...string) Type { return nativeEnum{enum(options)} }

type nativeEnum struct{ enum }

func (t nativeEnum) Parse(v value.Value, path []string) (value.Value, []Issue) {
	if v.IsNumber() && v.Num() == v.Num() {
		v = value.Text(v.String())
	}
	return t.enum.Parse(v, path)
}

func (t enum) quoted() string { return "'" + strings.Join(t, "' | '") + "'" }

func (t enum) Parse(v value.Value, path []string) (value.Value, []Issue) {
	switch {
	case !v.IsString():
		return v, wrongType(path, t.quoted(), v)
	case !slices.Contains(t, v.Str()):
		return v, issue(path, "invalid_enum_value", "Invalid enum value. Expected %s, received '%s'", t.quoted(), v.Str())
	}
	return v, nil
}

func (t enum) Describe() string { return strings.Join(t, ", ") }

type array struct {
	of  Type
	min int
}

// ArrayOf is an array of at least minimum items of type of.
func ArrayOf(of Type, minimum int) Type { return array{of, minimum} }

func (t array) Parse(v value.Value, path []string) (value.Value, []Issue) {
	if v.Kind() != value.Array {
		return v, wrongType(path, "array", v)
	}
	items := v.Items()
	var issues []Issue
	if len(items) < t.min {
		issues = issue(path, "too_small", "Array must contain at least %d element(s)", t.min)
	}
	out := make([]value.Value, len(items))
	for i, item := range items {
		parsed, more := t.of.Parse(item, append(path, "["+strconv.Itoa(i)+"]"))
		out[i] = parsed
		issues = append(issues, more...)
	}
	return value.List(out), issues
}

func (t array) Describe() string { return "list of " + t.of.Describe() }

type record struct{ of Type }

// Record is an object with any keys and values of type of.
func Record(of Type) Type { return record{of} }

func (t record) Parse(v value.Value, path []string) (value.Value, []Issue) {
	o := v.Object()
	if o == nil {
		return v, wrongType(path, "object", v)
	}
	out := value.NewObject(o.Len())
	var issues []Issue
	for k, item := range o.All() {
		parsed, more := t.of.Parse(item, append(path, k))
		out.Set(k, parsed)
		issues = append(issues, more...)
	}
	return out.Value(), issues
}

func (t record) Describe() string { return "map of " + t.of.Describe() }

type union []Type

// Union is the first type that fits.
func Union(types ...Type) Type { return union(types) }

// deniesType tells an issue about the type from one about content of the right type.
func deniesType(i Issue) bool {
	return i.Code != "too_small" && i.Code != "invalid_string" && i.Code != "custom"
}

func (t union) Parse(v value.Value, path []string) (value.Value, []Issue) {
	var first, near []Issue
	for i, of := range t {
		parsed, issues := of.Parse(v, path)
		if issues == nil {
			return parsed, nil
		}
		if i == 0 {
			first = issues[:1]
		}
		if near == nil && !slices.ContainsFunc(issues, deniesType) {
			near = issues
		}
	}
	if near != nil {
		return v, near // the type was right, its content not: zod reports that
	}
	first[0].Code = "invalid_union"
	return v, first
}

func (t union) Describe() string {
	names := make([]string, len(t))
	for i, of := range t {
		names[i] = of.Describe()
	}
	return strings.Join(names, " or ")
}

type optional struct {
	of   Type
	null bool
	def  value.Value
}

// Optional is of or nothing.
func Optional(of Type) Type { return optional{of: of} }

// Nullish is of, null or nothing.
func Nullish(of Type) Type { return optional{of: of, null: true} }

// Default is of, or def where there is nothing.
func Default(of Type, def value.Value) Type { return optional{of: of, def: def} }

func (t optional) Parse(v value.Value, path []string) (value.Value, []Issue) {
	switch {
	case v.Kind() == value.Undefined:
		return t.def, nil
	case t.null && v.Kind() == value.Null:
		return v, nil
	}
	return t.of.Parse(v, path)
}

func (t optional) Describe() string {
	if t.def.Kind() != value.Undefined {
		return t.of.Describe() + ", default " + t.def.String()
	}
	return t.of.Describe() + ", optional"
}

// Field is one key of an Object.
type Field struct {
	Name string
	Type Type
	Doc  string // one sentence with the unit
}

// Object is an object with known keys. The zero Object takes every object and
// keeps nothing of it.
type Object struct {
	Fields []Field
	// Keep passes unknown keys through; without it they are left out.
	Keep bool
	// Refine looks at the whole after its fields were found to be of their
	// types, if perhaps out of their bounds; the issues it returns usually have
	// no path. May be nil.
	Refine func(o *value.Object) []Issue
}

// Parse checks v: known fields in declared order, then, with Keep, the others.
func (t Object) Parse(v value.Value, path []string) (value.Value, []Issue) {
	o := v.Object()
	if o == nil {
		return v, wrongType(path, "object", v)
	}
	out := value.NewObject(len(t.Fields))
	var issues []Issue
	for _, f := range t.Fields {
		at := o.Find(f.Name)
		var given value.Value
		if at >= 0 {
			given = o.ValueAt(at)
		}
		parsed, more := f.Type.Parse(given, append(path, f.Name))
		issues = append(issues, more...)
		if at >= 0 || parsed.Kind() != value.Undefined {
			out.Set(f.Name, parsed)
		}
	}
	if t.Keep {
		for k, item := range o.All() {
			if !t.Has(k) {
				out.Set(k, item)
			}
		}
	}
	if t.Refine != nil && !slices.ContainsFunc(issues, Issue.OfWrongType) {
		issues = append(issues, t.Refine(out)...)
	}
	return out.Value(), issues
}

// OfWrongType reports whether a value with this issue cannot be looked at further.
func (i Issue) OfWrongType() bool {
	switch i.Code {
	case "too_small", "invalid_string", "custom":
		return false
	}
	return true
}

// Has reports whether name is a declared field.
func (t Object) Has(name string) bool {
	return slices.ContainsFunc(t.Fields, func(f Field) bool { return f.Name == name })
}

// Describe names the type.
func (t Object) Describe() string { return "object" }
