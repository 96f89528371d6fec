package value

import (
	"strconv"
	"testing"
)

// TestMakerEqualsSet holds what Maker builds against what Set builds, one key at a time.
func TestMakerEqualsSet(t *testing.T) {
	many := []string{"z"}
	for i := range 2 * maxShaped {
		many = append(many, "k"+strconv.Itoa(i), strconv.Itoa(7*i%97))
	}
	var m Maker
	for _, keys := range [][]string{{}, {"a", "b"}, {"b", "10", "a", "9", "010", "4294967295"}, many} {
		want := NewObject(0)
		vals := make([]Value, len(keys))
		for i, k := range keys {
			vals[i] = Of(float64(i))
			want.Set(k, vals[i])
		}
		got := m.Object(keys, vals)
		like := m.Like(got, got.vals)
		for _, o := range []*Object{got, like} {
			if o.Len() != want.Len() {
				t.Fatalf("%d keys, want %d", o.Len(), want.Len())
			}
			for i := range want.Len() {
				if o.Key(i) != want.Key(i) || o.ValueAt(i) != want.ValueAt(i) || o.Find(want.Key(i)) != i {
					t.Errorf("pair %d is %s: %v, want %s: %v", i, o.Key(i), o.ValueAt(i), want.Key(i), want.ValueAt(i))
				}
			}
			if o.Value().Object() != o {
				t.Error("the object is not its value's")
			}
		}
		// What one object gains, its neighbours in the group must not see.
		like.Set("new", NullValue())
		next := m.Object([]string{"x"}, []Value{Of(1)})
		like.Set("newer", NullValue())
		if next.Get("x").Num() != 1 || got.Has("new") || got.Len() != len(keys) {
			t.Error("objects share values")
		}
	}
}

func TestMakerText(t *testing.T) {
	var m Maker
	for i := range 3 * boxGroup {
		if s := strconv.Itoa(i); m.Text(s).Str() != s {
			t.Fatalf("text %q is %q", s, m.Text(s).Str())
		}
	}
	if v := m.Text(""); !v.IsString() || v.Str() != "" {
		t.Errorf("the empty text is %s", v.Kind())
	}
}
