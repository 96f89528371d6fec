package jsyaml

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"noether/internal/impact/value"
)

func object(pairs ...any) value.Value {
	o := value.NewObject(len(pairs) / 2)
	for i := 0; i < len(pairs); i += 2 {
		o.Set(pairs[i].(string), pairs[i+1].(value.Value))
	}
	return o.Value()
}

func list(items ...value.Value) value.Value { return value.List(items) }

// The expectations are what js-yaml's dump gives.
func TestStrings(t *testing.T) {
	const fox = "the quick brown fox jumps over the lazy dog"
	for s, want := range map[string]string{
		"": `''`, "plain text": `plain text`, "a: b": `'a: b'`, "a:b": `a:b`, "a:": `'a:'`, "#c": `'#c'`, "a #c": `'a #c'`, "a#c": `a#c`, "a:#": `a:#`, " a": `' a'`, "a ": `'a '`,
		"- a": `'- a'`, "-a": `'-a'`, "?": `'?'`, "=": `'='`, "a=b": `a=b`, "quote's": `quote's`, `say "hi"`: `say "hi"`, "'a'": `'''a'''`, "[a": `'[a'`, "a, [b]": `a, [b]`, "@a": `'@a'`, "%": `'%'`, "`": "'`'", "*": `'*'`, "!x": `'!x'`, "&": `'&'`,
		"null": `'null'`, "~": `'~'`, "true": `'true'`, "True": `'True'`, "tRUE": `tRUE`, "y": `'y'`, "no": `'no'`, "Off": `'Off'`, "oFF": `oFF`, "<<": `'<<'`,
		"1": `'1'`, "-1": `'-1'`, "+1": `'+1'`, "+.5": `+.5`, "1.5": `'1.5'`, "1e5": `'1e5'`, "0x1f": `'0x1f'`, "0o7": `'0o7'`, "1_000": `1_000`, "1:30": `'1:30'`, "1:30.5": `'1:30.5'`, "1_0:3": `'1_0:3'`, ":1": `':1'`, "1:": `'1:'`, "1:a": `1:a`, ".5": `'.5'`, "-.5": `'-.5'`, "1e400": `1e400`, ".inf": `'.inf'`, "12abc": `12abc`,
		"2024-01-01": `'2024-01-01'`, "2024-01-01T00:00:00Z": `'2024-01-01T00:00:00Z'`, "2024-1-1": `2024-1-1`, "10:00": `'10:00'`, "...": `...`, "---": `'---'`,
		"tab\there": `"tab\there"`, "é ü ✓ 😀": `é ü ✓ 😀`, "\x00\a\x1b\x7f": `"\0\a\e\x7F"`, "\u0085\u00a0\u2028\ufeff\\\"": `"\N\_\L\uFEFF\\\""`, "\r": `"\r"`, "a\xffb": "a\ufffdb", "\ufffe": `"\uFFFE"`,
		"a\nb": "|-\n  a\n  b", "a\nb\n": "|\n  a\n  b", "a\n\n": "|+\n  a\n", "\n": "|+\n", "\na": "|-\n\n  a", " a\nb": "|2-\n   a\n  b", "\n a": "|2-\n\n   a", "a\n\n b\n": "|\n  a\n\n   b",
		fox + " " + fox: ">-\n  " + fox + " the quick brown fox jumps over the\n  lazy dog", strings.Repeat("x", 100): ">-\n  " + strings.Repeat("x", 100),
		" " + fox + " " + fox:         "' " + fox + " " + fox + "'",
		fox + "\n" + fox + " " + fox:  ">-\n  " + fox + "\n\n  " + fox + " the quick brown fox jumps over the\n  lazy dog",
		fox + " " + fox + "\n x\ny\n": ">\n  " + fox + " the quick brown fox jumps over the\n  lazy dog\n   x\n  y",
		strings.Repeat("日本 😀", 20):    ">-\n  " + strings.Repeat("日本 😀", 14) + "日本 😀日本\n  😀" + strings.Repeat("日本 😀", 4), // widths in UTF-16 units
	} {
		got := string(Append(nil, value.Text(s)))
		if got != want+"\n" {
			t.Errorf("%q is written as\n%q, want\n%q", s, got, want+"\n")
		}
	}
}

func TestKeysStayOnOneLine(t *testing.T) {
	long := strings.Repeat("k", 1025)
	for key, want := range map[string]string{
		"a": "a: 1\n", "y": "'y': 1\n", "1": "'1': 1\n", "": "'': 1\n", "a\nb": "\"a\\nb\": 1\n", "a: b": "'a: b': 1\n", strings.Repeat("word ", 30) + "x": strings.Repeat("word ", 30) + "x: 1\n",
		long[:1024]: long[:1024] + ": 1\n", long: "? " + long + "\n: 1\n",
	} {
		if got := string(Append(nil, object(key, value.Of(1)))); got != want {
			t.Errorf("key %.40q is written as %.60q, want %.60q", key, got, want)
		}
	}
	if got, want := string(Append(nil, object(long, list(value.Of(1))))), "? "+long+"\n: - 1\n"; got != want {
		t.Errorf("list under a long key: …%q", got[len(got)-10:])
	}
}

func TestNumbers(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 1: "1", -1: "-1", 1.5: "1.5", 1e21: "1e+21", 1e20: "100000000000000000000", 123456789012345678901234567890: "1.2345678901234568e+29", 1e15: "1000000000000000", -1e21: "-1e+21",
		1e-6: "0.000001", 1e-7: "1.e-7", 1.5e-7: "1.5e-7", -1e-7: "-1.e-7", 5e-324: "5.e-324", math.MaxFloat64: "1.7976931348623157e+308", 0.1: "0.1",
		math.Inf(1): ".inf", math.Inf(-1): "-.inf", math.Copysign(0, -1): "",
	} {
		if f == 0 {
			continue
		}
		if got := string(Append(nil, value.Of(f))); got != want+"\n" {
			t.Errorf("%g is written as %q, want %q", f, got, want)
		}
	}
	for want, f := range map[string]float64{"0\n": 0, "-0.0\n": math.Copysign(0, -1), ".nan\n": math.NaN()} {
		if got := string(Append(nil, value.Of(f))); got != want {
			t.Errorf("%g is written as %q, want %q", f, got, want)
		}
	}
}

func TestCollections(t *testing.T) {
	one, none := value.Of(1), value.Value{}
	for _, test := range []struct {
		v    value.Value
		want string
	}{
		{none, ""},
		{value.NullValue(), "null\n"},
		{value.At(1704067200123), "2024-01-01T00:00:00.123Z\n"},
		{value.At(math.NaN()), "null\n"},
		{list(), "[]\n"},
		{object(), "{}\n"},
		{list(one, none, list(one, list(), list(one)), object("a", one, "b", none, "c", object("d", one))), "- 1\n- null\n- - 1\n  - []\n  - - 1\n- a: 1\n  c:\n    d: 1\n"},
		{object("a", list(one), "b", object(), "c", list(), "d", object("e", none), "f", value.OfBool(true)), "a:\n  - 1\nb: {}\nc: []\nd: {}\nf: true\n"},
		{object("a", list(list(object("b", list(one))))), "a:\n  - - b:\n        - 1\n"},
		{object("b", one, "2", one, "1", one), "'1': 1\n'2': 1\nb: 1\n"},
		{list(value.Text("a\nb"), object("c", value.Text("d\n"))), "- |-\n  a\n  b\n- c: |\n    d\n"},
	} {
		if diff := cmp.Diff(test.want, string(Append(nil, test.v))); diff != "" {
			t.Errorf("%s:\n%s", AppendJSON(nil, test.v), diff)
		}
	}
}

func TestWriteEqualsAppend(t *testing.T) {
	v, err := Parse(rows(5000))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := Write(&b, v); err != nil {
		t.Fatal(err)
	}
	if b.String() != string(Append(nil, v)) {
		t.Error("Write and Append differ")
	}
	broken := errors.New("disk full")
	w := writerFunc(func([]byte) (int, error) { return 0, broken })
	if err := Write(w, v); !errors.Is(err, broken) {
		t.Errorf("a broken writer gives %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestAppendJSON(t *testing.T) {
	v := object("b", list(value.Of(math.NaN()), value.Of(math.Inf(1)), value.Of(1e21), value.Of(math.Copysign(0, -1)), value.Value{}),
		"a", value.At(0), "u", value.Value{}, "s", value.Text("\"\\\n\r\t\b\f\x01é\u2028<\xff"), "t", value.OfBool(true), "n", value.NullValue(), "d", value.At(math.NaN()))
	want := `{"b":[null,null,1e+21,0,null],"a":"1970-01-01T00:00:00.000Z","s":"\"\\\n\r\t\b\f\u0001é` + "\u2028<\ufffd" + `","t":true,"n":null,"d":null}`
	if diff := cmp.Diff(want, string(AppendJSON(nil, v))); diff != "" {
		t.Error(diff)
	}
}

func TestAppendDoesNotAllocatePerScalar(t *testing.T) {
	v, err := Parse(rows(200))
	if err != nil {
		t.Fatal(err)
	}
	v.Object().Set("quoted", list(value.Text("2024-01-01T00:00:00.000Z"), value.Text("- a"), value.Text("12"), value.Text("it's: so"), value.Text("a/b c")))
	dst := Append(nil, v)
	if n := testing.AllocsPerRun(10, func() { dst = Append(dst[:0], v) }); n > 1 {
		t.Errorf("%g allocations, budget 1", n)
	}
}

// TestAnotherLibraryReadsWhatIsWritten compares with a YAML library that
// shares nothing with this one.
func TestAnotherLibraryReadsWhatIsWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		v := randomValue(r, 4)
		text := Append(nil, v)
		var doc yaml.Node
		if err := yaml.Unmarshal(text, &doc); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if len(doc.Content) != 1 {
			t.Fatalf("%q holds %d documents", text, len(doc.Content))
		}
		if got := fromNode(doc.Content[0]); !cmp.Equal(got, v, equal) {
			t.Fatalf("%s is written as\n%s\nand read as\n%s", AppendJSON(nil, v), text, AppendJSON(nil, got))
		}
	}
}

func fromNode(n *yaml.Node) value.Value {
	switch n.Kind {
	case yaml.SequenceNode:
		items := make([]value.Value, len(n.Content))
		for i, c := range n.Content {
			items[i] = fromNode(c)
		}
		return value.List(items)
	case yaml.MappingNode:
		o := value.NewObject(len(n.Content) / 2)
		for i := 0; i < len(n.Content); i += 2 {
			o.Set(n.Content[i].Value, fromNode(n.Content[i+1]))
		}
		return o.Value()
	default:
	}
	if n.Style == 0 {
		if v, ok := resolve(n.Value); ok {
			return v
		}
	}
	return value.Text(n.Value)
}

func randomValue(r *rand.Rand, depth int) value.Value {
	n := r.IntN(10)
	if depth == 0 {
		n %= 7
	}
	switch n {
	case 0:
		return value.Of(math.Float64frombits(r.Uint64()))
	case 1:
		return value.Of(float64(r.IntN(1000)))
	case 2:
		return value.At(float64(r.Int64N(4e12)))
	case 3:
		return []value.Value{value.NullValue(), value.OfBool(true), value.OfBool(false)}[r.IntN(3)]
	case 4, 5, 6:
		return value.Text(randomText(r))
	case 7, 8:
		o := value.NewObject(4)
		for range r.IntN(4) {
			o.Set(randomText(r), randomValue(r, depth-1))
		}
		return o.Value()
	}
	items := make([]value.Value, r.IntN(4))
	for i := range items {
		items[i] = randomValue(r, depth-1)
	}
	return value.List(items)
}

func randomText(r *rand.Rand) string {
	pieces := []string{"a", "word ", "y", "null", "1", "1.5", ": ", ":", " #", "#", "- ", "'", `"`, `\`, "\n", "\n\n", " ", "  ", "\t", "é", "😀", "[", "}", ",", "&", "*", "!", "|", ">", "%", "@", "2024-01-01", "<<", "~", "longer-word ", "some text that goes on and on "}
	var b strings.Builder
	n := r.IntN(6)
	if r.IntN(10) == 0 {
		n = 30
	}
	for range n {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

func BenchmarkWrite(b *testing.B) {
	const n = 10_000
	v, err := Parse(rows(n))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(Append(nil, v))))
	b.ReportAllocs()
	for b.Loop() {
		if err := Write(io.Discard, v); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
