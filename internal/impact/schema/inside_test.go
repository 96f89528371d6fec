package schema

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/value"
)

func TestUnknownLooksInside(t *testing.T) {
	inner := Object{Fields: []Field{{Name: "kind", Type: Optional(Text())}}}
	shape := Object{Fields: []Field{
		{Name: "url", Type: Text()},
		{Name: "one", Type: Optional(inner)},
		{Name: "many", Type: Optional(Record(inner))},
		{Name: "free", Type: Optional(Record(Text()))},
		{Name: "deep", Type: Optional(Record(Record(inner)))},
	}}
	object := func(kv ...any) value.Value {
		o := value.NewObject(len(kv) / 2)
		for i := 0; i < len(kv); i += 2 {
			v, ok := kv[i+1].(value.Value)
			if !ok {
				v = value.Text(kv[i+1].(string))
			}
			o.Set(kv[i].(string), v)
		}
		return o.Value()
	}
	var got []string
	shape.Unknown(object(
		"url", "x", "urll", "x", "one", object("kind", "x", "kin", "x"), "free", object("any", "x"), "deep", object("a", object("b", object("c", "d"))),
		"many", object("a", object("kind", "x"), "b", object("kinds", "x"), "c", "text"),
	).Object(), nil, func(path []string, key string, known []string) {
		got = append(got, strings.Join(append(path, key), ".")+" of "+strings.Join(known, ","))
	})
	if diff := cmp.Diff([]string{"urll of url,one,many,free,deep", "one.kin of kind", "many.b.kinds of kind"}, got); diff != "" {
		t.Error(diff)
	}
	shape.Unknown(nil, nil, func([]string, string, []string) { t.Error("nothing has keys") })
}
