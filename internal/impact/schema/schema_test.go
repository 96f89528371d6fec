package schema_test

import (
	"math"
	"testing"

	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func object(pairs ...any) value.Value {
	o := value.NewObject(len(pairs) / 2)
	for i := 0; i < len(pairs); i += 2 {
		o.Set(pairs[i].(string), pairs[i+1].(value.Value))
	}
	return o.Value()
}

func TestMessages(t *testing.T) {
	num, str := value.Of, value.Text
	x := func(of schema.Type) schema.Type { return schema.Object{Fields: []schema.Field{{Name: "x", Type: of}}} }
	for _, c := range []struct {
		name  string
		of    schema.Type
		given value.Value
		index int
		want  string
	}{
		{"right", x(schema.Number()), object("x", num(1)), schema.NoIndex, ""},
		{"missing", x(schema.Text()), object(), schema.NoIndex, `"x" parameter is required. Error code: invalid_type.`},
		{"wrong kind", x(schema.Text()), object("x", num(1)), schema.NoIndex, `"x" parameter is expected string, received number. Error code: invalid_type.`},
		{"NaN", x(schema.Number()), object("x", num(math.NaN())), schema.NoIndex, `"x" parameter is expected number, received nan. Error code: invalid_type.`},
		{"at an index", x(schema.Above(0)), object("x", num(0)), 3, `"x" parameter is number must be greater than 0 at index 3. Error code: too_small.`},
		{"at least", x(schema.AtLeast(1)), object("x", num(0.5)), schema.NoIndex, `"x" parameter is number must be greater than or equal to 1. Error code: too_small.`},
		{"empty string", x(schema.NonEmpty()), object("x", str("")), schema.NoIndex, `"x" parameter is string must contain at least 1 character(s). Error code: too_small.`},
		{"not of the enum", x(schema.Enum("a", "b")), object("x", str("C")), schema.NoIndex, `"x" parameter is invalid enum value. expected 'a' | 'b', received 'c'. Error code: invalid_enum_value.`},
		{"no enum at all", x(schema.Enum("a", "b")), object("x", num(1)), schema.NoIndex, `"x" parameter is expected 'a' | 'b', received number. Error code: invalid_type.`},
		{"date", x(schema.Text()), object("x", value.At(0)), schema.NoIndex, `"x" parameter is expected string, received date. Error code: invalid_type.`},
		{"item", x(schema.ArrayOf(schema.Text(), 0)), object("x", value.List([]value.Value{str("a"), num(1)})), schema.NoIndex, `"x.[1]" parameter is expected string, received number. Error code: invalid_type.`},
		{"too few", x(schema.ArrayOf(schema.Text(), 1)), object("x", value.List(nil)), schema.NoIndex, `"x" parameter is array must contain at least 1 element(s). Error code: too_small.`},
		{"union tells its first branch", x(schema.Union(schema.Text(), schema.Number())), object("x", value.OfBool(true)), schema.NoIndex, `"x" parameter is expected string, received boolean. Error code: invalid_union.`},
		{"null is not nothing", x(schema.Optional(schema.Text())), object("x", value.NullValue()), schema.NoIndex, `"x" parameter is expected string, received null. Error code: invalid_type.`},
		{"nullish", x(schema.Nullish(schema.Text())), object("x", value.NullValue()), schema.NoIndex, ""},
		{"several", schema.Object{Fields: []schema.Field{{Name: "a", Type: schema.Text()}, {Name: "b", Type: schema.Text()}}}, object(), schema.NoIndex, `"a" parameter is required. Error code: invalid_type.,"b" parameter is required. Error code: invalid_type.`},
		{"deep", x(schema.Record(x(schema.Number()))), object("x", object("k", object())), schema.NoIndex, `"x.k.x" parameter is required. Error code: invalid_type.`},
		{"the whole beside its fields", schema.Object{Fields: []schema.Field{{Name: "x", Type: schema.Above(0)}}, Refine: func(*value.Object) []schema.Issue {
			return []schema.Issue{{Code: "custom", Text: "a raw message"}}
		}}, object("x", num(0)), 1, `"x" parameter is number must be greater than 0 at index 1. Error code: too_small.,a raw message`},
		{"the whole, when a field is of a wrong type", schema.Object{Fields: []schema.Field{{Name: "x", Type: schema.Above(0)}}, Refine: func(*value.Object) []schema.Issue {
			return []schema.Issue{{Code: "custom", Text: "a raw message"}}
		}}, object("x", str("")), schema.NoIndex, `"x" parameter is expected number, received string. Error code: invalid_type.`},
		{"the whole", schema.Object{Refine: func(*value.Object) []schema.Issue { return []schema.Issue{{Code: "custom", Text: "a raw message"}} }}, object(), 0, "a raw message"},
	} {
		_, issues := c.of.Parse(c.given, nil)
		if got := schema.Message(issues, c.index); got != c.want {
			t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestWhatIsKept(t *testing.T) {
	fields := []schema.Field{{Name: "d", Type: schema.Default(schema.Number(), value.Of(7))}, {Name: "o", Type: schema.Optional(schema.Text())}}
	given := object("z", value.Of(1), "d", value.Value{})
	strict, _ := schema.Object{Fields: fields}.Parse(given, nil)
	if want := object("d", value.Of(7)); !value.Equal(strict, want) {
		t.Errorf("unknown keys are kept or a default is missing: %v", strict.Object().Len())
	}
	open, _ := schema.Object{Fields: fields, Keep: true}.Parse(given, nil)
	if want := object("d", value.Of(7), "z", value.Of(1)); !value.Equal(open, want) {
		t.Error("unknown keys are lost")
	}
	if given.Object().Get("d").Kind() != value.Undefined {
		t.Error("the value that was checked has changed")
	}
}

func TestDatetime(t *testing.T) {
	for s, want := range map[string]bool{
		"2024-01-01T00:00:00Z": true, "2024-01-01T00:00:00.123456Z": true, "2024-02-29T23:59:59Z": true, "2023-02-29T00:00:00Z": false, "2024-01-01T00:00Z": true, "2024-01-01T00Z": false, "2024-01-01T00:00": false, "2024-01-01T00:60Z": false,
		"2024-01-01T00:00:00": false, "2024-01-01T00:00:00+00:00": false, "2024-01-01T00:00:00.Z": false, "2024-13-01T00:00:00Z": false, "2024-01-01T24:00:00Z": false,
		"2024-01-01 00:00:00Z": false, "": false, "Z": false, "2024-01-01T00:00:00.1x3Z": false, "2100-02-29T00:00:00Z": false,
	} {
		_, issues := schema.Datetime().Parse(value.Text(s), nil)
		if (issues == nil) != want {
			t.Errorf("%q is taken for right: %v", s, issues == nil)
		}
	}
}
