package value

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
)

func keys(o *Object) []string {
	var out []string
	for k := range o.All() {
		out = append(out, k)
	}
	return out
}

func TestKeysKeepECMAScriptsOrder(t *testing.T) {
	o := NewObject(0)
	for _, k := range []string{"b", "10", "a", "9", "-1", "01", "4294967295", "0", "4294967294", "1.5"} {
		o.Set(k, Text(k))
	}
	want := []string{"0", "9", "10", "4294967294", "b", "a", "-1", "01", "4294967295", "1.5"}
	if got := keys(o); !slices.Equal(got, want) {
		t.Errorf("keys %q, want %q", got, want)
	}
	for _, k := range want {
		if o.Get(k).Str() != k {
			t.Errorf("%q holds %q", k, o.Get(k).Str())
		}
	}
}

// TestObjectIsAMap drives an object and a Go map with the same random steps,
// across the border between shapes and an index of its own.
func TestObjectIsAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		o, m := NewObject(r.IntN(4)), map[string]float64{}
		var order []string
		for range r.IntN(400) {
			k := "k" + strconv.Itoa(r.IntN(90))
			switch r.IntN(5) {
			case 0:
				_, was := m[k]
				delete(m, k)
				order = slices.DeleteFunc(order, func(s string) bool { return s == k })
				if o.Delete(k) != was {
					t.Fatalf("Delete(%q) = %v, want %v", k, !was, was)
				}
			case 1:
				o = o.Copy(r.IntN(3))
			default:
				f := r.Float64()
				if _, was := m[k]; !was {
					order = append(order, k)
				}
				m[k] = f
				o.Set(k, Of(f))
			}
		}
		if got := keys(o); !slices.Equal(got, order) {
			t.Fatalf("keys %q, want %q", got, order)
		}
		for k := range maps.Keys(m) {
			if o.Get(k).Num() != m[k] {
				t.Fatalf("%q = %v, want %v", k, o.Get(k).Num(), m[k])
			}
		}
	}
}

func TestCopiesDoNotShareRoom(t *testing.T) {
	a, b := NewObject(2), NewObject(2)
	a.Set("x", Of(1))
	b.Set("x", Of(2))
	rows := CopyRows([]*Object{a, b}, 1)
	rows[0].Set("y", Of(3))
	rows[0].Set("z", Of(4)) // past the room of the first
	rows[0].Set("x", Of(5))
	if rows[1].Get("x").Num() != 2 || rows[1].Has("y") || a.Get("x").Num() != 1 || a.Has("y") {
		t.Errorf("a write to one copy is seen in another row")
	}
	if v := rows[0].Value(); v.Object() != rows[0] {
		t.Errorf("the Value of a copied row is another row")
	}
}

func TestRowsOfOneShapeCostTheirValues(t *testing.T) {
	row := NewObject(8)
	for _, k := range []string{"timestamp", "duration", "energy"} {
		row.Set(k, Of(1))
	}
	rows := slices.Repeat([]*Object{row}, 1000)
	field := Field{Name: "energy"}
	got := testing.AllocsPerRun(10, func() {
		for _, c := range CopyRows(rows, 2) {
			c.Set("carbon", Of(field.Get(c).Num()*2))
			c.Set("sci", Of(1))
		}
	})
	if got > 3 {
		t.Errorf("copying and extending 1000 rows makes %v allocations, want 3", got)
	}
}

func TestShapesMayGrowFromManyGoroutines(*testing.T) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				o := NewObject(0)
				for j := range 10 {
					o.Set("p"+strconv.Itoa((i*7+j*g)%40), Of(float64(j)))
				}
			}
		})
	}
	wg.Wait()
}

// TestTreesGiveWay checks that a tree of shapes is left when it is full, and
// that objects which began in it live on.
func TestTreesGiveWay(t *testing.T) {
	first := NewObject(0)
	first.Set("old", Of(1))
	began := first.shape.tree
	for i := range maxShapes + 1 {
		o := NewObject(0)
		o.Set("never seen "+strconv.Itoa(i), Of(float64(i)))
	}
	if began == emptyShape().tree {
		t.Fatalf("the tree has %d shapes and still grows", began.count.Load())
	}
	second := NewObject(0)
	second.Set("old", Of(1))
	first.Set("new", Of(2))
	second.Set("new", Of(2))
	if !Equal(first.Value(), second.Value()) {
		t.Error("objects of two trees differ")
	}
	f := Field{Name: "new"}
	if f.Get(first).Num() != 2 || f.Get(second).Num() != 2 {
		t.Error("a field is not found in both")
	}
}

func TestNumbersPrintAsInECMAScript(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 1: "1", -1: "-1", 0.1: "0.1", 1e21: "1e+21", 123456789012345680000: "123456789012345680000", 1e-6: "0.000001",
		1e-7: "1e-7", 1.5e-7: "1.5e-7", 1.2345678901234568e+29: "1.2345678901234568e+29", 5e-324: "5e-324", 1.7976931348623157e308: "1.7976931348623157e+308",
		-1e100: "-1e+100", 28.538812785388128: "28.538812785388128", math.Inf(1): "Infinity", math.Inf(-1): "-Infinity",
	} {
		if got := FormatNumber(f); got != want {
			t.Errorf("%v prints %q, want %q", f, got, want)
		}
	}
	if FormatNumber(math.NaN()) != "NaN" || FormatNumber(math.Copysign(0, -1)) != "0" {
		t.Error("NaN or -0")
	}
}

func TestTextToNumber(t *testing.T) {
	nan := math.NaN()
	for s, want := range map[string][2]float64{ // Number(s), parseFloat(s)
		"": {0, nan}, " 12 ": {12, 12}, "12abc": {nan, 12}, "0x1f": {31, 0}, "0o17": {15, 0}, "0b2": {nan, 0}, "1e3": {1000, 1000}, "1e": {nan, 1}, ".5": {0.5, 0.5},
		"5.": {5, 5}, ".": {nan, nan}, "+3": {3, 3}, "-": {nan, nan}, "1_000": {nan, 1}, "Infinity": {math.Inf(1), math.Inf(1)}, "-Infinityx": {nan, math.Inf(-1)},
		"inf": {nan, nan}, "1e400": {math.Inf(1), math.Inf(1)}, "0x": {nan, 0}, "0x+1": {nan, 0}, "\u00a012": {12, 12}, "nan": {nan, nan}, "1.2.3": {nan, 1.2},
	} {
		if got := Text(s).ToNumber(); got != want[0] && (got == got || want[0] == want[0]) {
			t.Errorf("Number(%q) = %v, want %v", s, got, want[0])
		}
		if got := ParseFloat(s); got != want[1] && (got == got || want[1] == want[1]) {
			t.Errorf("parseFloat(%q) = %v, want %v", s, got, want[1])
		}
	}
}

func TestLooseEquality(t *testing.T) {
	for _, c := range []struct {
		a, b Value
		want bool
	}{
		{Text("16"), Of(16), true},
		{Text("16.0"), Of(16), true},
		{Text(""), Of(0), true},
		{Text("a"), Of(0), false},
		{NullValue(), Value{}, true},
		{NullValue(), Of(0), false},
		{OfBool(true), Text("1"), true},
		{OfBool(true), Text("true"), false},
		{Of(math.NaN()), Of(math.NaN()), false},
		{List([]Value{Of(5)}), Of(5), true},
		{List(nil), Text(""), true},
		{List(nil), List(nil), false},
	} {
		if got := LooselyEqual(c.a, c.b); got != c.want {
			t.Errorf("%v == %v is %v, want %v", c.a, c.b, got, c.want)
		}
		if got := LooselyEqual(c.b, c.a); got != c.want {
			t.Errorf("%v == %v is %v, want %v", c.b, c.a, got, c.want)
		}
	}
}

func TestDates(t *testing.T) {
	for ms, want := range map[float64]string{
		0: "1970-01-01T00:00:00.000Z", 1704067200123: "2024-01-01T00:00:00.123Z", -1: "1969-12-31T23:59:59.999Z",
		253402300800000: "+010000-01-01T00:00:00.000Z", -62198755200000: "-000001-01-01T00:00:00.000Z",
	} {
		if got := At(ms).ISO(); got != want {
			t.Errorf("%v is %q, want %q", ms, got, want)
		}
	}
	if got := At(1704067200000).String(); got != "Mon Jan 01 2024 00:00:00 GMT+0000 (Coordinated Universal Time)" {
		t.Errorf("as text %q", got)
	}
}

func TestEqualLooksAtContent(t *testing.T) {
	a, b := NewObject(0), NewObject(0)
	a.Set("x", Of(1))
	a.Set("y", Texts("p", "q"))
	b.Set("y", Texts("p", "q"))
	b.Set("x", Of(1))
	b.Set("z", Value{})
	if !Equal(a.Value(), b.Value()) || !Equal(b.Value(), a.Value()) {
		t.Error("the order of keys or an undefined key makes a difference")
	}
	b.Set("z", NullValue())
	if Equal(a.Value(), b.Value()) || Equal(b.Value(), a.Value()) {
		t.Error("null equals nothing")
	}
	if c := a.Value().Clone(); !Equal(c, a.Value()) || Identical(c, a.Value()) {
		t.Error("a clone is not an equal other")
	} else if c.Object().Get("y").Items()[0] = Text("r"); a.Get("y").Items()[0].Str() != "p" {
		t.Error("a clone shares its arrays")
	}
}
