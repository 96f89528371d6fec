package jsyaml

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/fault"
	"noether/internal/impact/value"
)

// equal compares values as value.Equal does, and the order of keys too.
var equal = cmp.Comparer(func(a, b value.Value) bool {
	return value.Equal(a, b) && string(AppendJSON(nil, a)) == string(AppendJSON(nil, b))
})

func TestScalarsFollowTheCoreSchemaWithTimestamps(t *testing.T) {
	text := value.Text
	number := value.Of
	date := func(iso string) value.Value {
		ms, ok := timestamp(iso)
		if !ok || value.At(ms).ISO() != iso {
			t.Fatalf("%q is no timestamp of this test", iso)
		}
		return value.At(ms)
	}
	for src, want := range map[string]value.Value{
		"~": value.NullValue(), "null": value.NullValue(), "NULL": value.NullValue(), "nULL": text("nULL"),
		"true": value.OfBool(true), "False": value.OfBool(false), "tRUE": text("tRUE"),
		"yes": text("yes"), "on": text("on"), "y": text("y"), "off": text("off"),
		"0": number(0), "-0": number(0), "-00": number(math.Copysign(0, -1)), "010": number(10), "+5": number(5),
		"0b11": number(3), "0o17": number(15), "0x1F": number(31), "-0x10": number(-16),
		"0X1F": text("0X1F"), "0o8": text("0o8"), "0b": text("0b"), "0x": text("0x"), "1_000": text("1_000"), "12:30:45": text("12:30:45"),
		"123456789012345678901234567890": number(123456789012345678901234567890), "0x10000000000000000": number(1 << 64),
		"0x" + strings.Repeat("f", 300): text("0x" + strings.Repeat("f", 300)), "1e400": text("1e400"),
		"1.": number(1), ".5": number(.5), "-.5": text("-.5"), "1e3": number(1000), "1E-3": number(.001), "1.e5": number(1e5), "1.e": text("1.e"),
		".": text("."), "-": value.List([]value.Value{value.NullValue()}), "--": text("--"), "-0.0": number(math.Copysign(0, -1)),
		".inf": number(math.Inf(1)), "+.INF": number(math.Inf(1)), "-.Inf": number(math.Inf(-1)), ".nan": number(math.NaN()), "-.nan": text("-.nan"),
		"2024-01-01": date("2024-01-01T00:00:00.000Z"), "2024-1-1": text("2024-1-1"), "2024-13-45": date("2025-02-14T00:00:00.000Z"),
		"2024-01-01T00:00:00.1239999+02:30": date("2023-12-31T21:30:00.123Z"), "2024-1-1 1:02:03 -5": date("2024-01-01T06:02:03.000Z"),
		"2024-01-01t00:00:00": date("2024-01-01T00:00:00.000Z"), "2024-01-01T00:00:00.": date("2024-01-01T00:00:00.000Z"),
		"2024-01-01T00:00": text("2024-01-01T00:00"), "2024-01-01T00:00:00+01:3": text("2024-01-01T00:00:00+01:3"),
		"0050-01-01": date("1950-01-01T00:00:00.000Z"), "2024-001-01": text("2024-001-01"), "20240101": number(20240101),
		"<<": text("<<"), "a: ": value.NullValue(),
	} {
		for _, form := range []string{"%s", "%s\n", "k: %s\n", "- %s # c\n", "[%s]", "{k: %s}"} {
			if form != "%s" && (src == "-" || src == "a: ") {
				continue
			}
			doc := fmt.Sprintf(form, src)
			got, err := Parse([]byte(doc))
			if got.Kind() == value.Array && src != "-" {
				got = got.Items()[0]
			}
			if o := got.Object(); o.Len() == 1 {
				got = o.ValueAt(0)
			}
			if err != nil || got.Kind() != want.Kind() || !value.Equal(got, want) || math.Signbit(got.Num()) != math.Signbit(want.Num()) {
				t.Errorf("Parse(%q) gives %s %v, %v, want %s %v", doc, got.Kind(), got, err, want.Kind(), want)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for src, want := range map[string]string{
		// Documents.
		"---\n": `null`, "--- a\n...\n": `"a"`, "\ufeffa: 1": `{"a":1}`, "%YAML 1.2\n---\na": `"a"`, "a: 1\r\nb: 2\rc: 3": `{"a":1,"b":2,"c":3}`,
		"# c\n\n  # d\na: 1 # e": `{"a":1}`, "...": `null`,
		// Block collections.
		"a:\n- b\n- c: 1\n  d: 2\n-\n  e: 3\nf:": `{"a":["b",{"c":1,"d":2},{"e":3}],"f":null}`,
		"- - - a\n    - b\n  - c":                `[[["a","b"],"c"]]`, "  a: 1\n  b:\n    c: 2": `{"a":1,"b":{"c":2}}`,
		"- \n-\n- -": `[null,null,[null]]`, "- - # c\n- 1": `[[null],1]`,
		"? a\n: b\n? c\n? - d\n  - e\n: f": `{"a":"b","c":null,"d,e":"f"}`, "? a: b\n: c": `{"[object Object]":"c"}`,
		// Keys.
		`"a: b" : 1`: `{"a: b":1}`, "1.0: a\n0x10: b\nnull: c\n.inf: d\nTrue: e": `{"1":"a","16":"b","null":"c","Infinity":"d","true":"e"}`,
		"b: 1\n10: 2\na: 3\n9: 4": `{"9":4,"10":2,"b":1,"a":3}`, "2024-01-01: x": `{"Mon Jan 01 2024 00:00:00 GMT+0000 (Coordinated Universal Time)":"x"}`,
		"__proto__: 1": `{"__proto__":1}`, "a\tb: c": `{"a\tb":"c"}`, "[a, b]: c": `{"a,b":"c"}`,
		// Plain scalars.
		"a: b#c": `{"a":"b#c"}`, "a: b #c": `{"a":"b"}`, "a: b:c": `{"a":"b:c"}`, "a: :b": `{"a":":b"}`, "a: b, c]": `{"a":"b, c]"}`, "a: ?b": `{"a":"?b"}`,
		"a: b\n  c\n\n\n  d\ne: f": `{"a":"b c\n\nd","e":"f"}`, "a:\n  b c \n  d": `{"a":"b c d"}`, "a: b\t\n": `{"a":"b"}`, "-a: -b": `{"-a":"-b"}`,
		"- a\n - b": `["a - b"]`,
		// Quoted scalars.
		"a: 'it''s'": `{"a":"it's"}`, "a: \"x \n\n  y \\\n  z\"": `{"a":"x\ny z"}`, "a: 'x\n  y'": `{"a":"x y"}`,
		`"\x41\u00e9\ud83d\ude00\U0001F600\t\/\_\N\e\0"`: "\"Aé😀😀\\t/\u00a0\u0085\\u001b\\u0000\"", `a: "b"#c`: `{"a":"b"}`, `"\ud83d"`: "\"\ufffd\"",
		// Block scalars.
		"a: |\n  x\n   y\n\n  z\n\nb: 1": `{"a":"x\n y\n\nz\n","b":1}`, "a: |-\n  x\n\n": `{"a":"x"}`, "a: |+\n  x\n\n\nb: 1": `{"a":"x\n\n\n","b":1}`,
		"a: >\n\n  x\n  y\n\n\n  z\n   more\n\n  back\n": `{"a":"\nx y\n\nz\n more\n\nback\n"}`, "a: |2-  # c\n   b\n": `{"a":" b"}`, "a: >-\n": `{"a":""}`,
		"- |\n a\n- >\n b\n c\n": `["a\n","b c\n"]`, "a: |\n  x": `{"a":"x\n"}`, "|1\n b": `" b\n"`, "a: |\n\n\n": `{"a":""}`,
		// Flow collections.
		`{"a":1,"b":[1,2,{"c":null}],}`: `{"a":1,"b":[1,2,{"c":null}]}`, "{a, b: , ? c, d:e}": `{"a":null,"b":null,"c":null,"d:e":null}`,
		"[a: b, 'c':d, ? e : f, g]": `[{"a":"b"},{"c":"d"},{"e":"f"},"g"]`, "a: [1,\n2 # c\n]\nb: {}": `{"a":[1,2],"b":{}}`, "[a\n b]": `["a b"]`, "[:]": `[{"null":null}]`,
		// Anchors, merge keys, tags.
		"a: &x {b: 1}\nc: *x\nd: [*x, *x]": `{"a":{"b":1},"c":{"b":1},"d":[{"b":1},{"b":1}]}`, "&x a: *x": `{"a":"a"}`, "&y\n&x a: *x": `{"a":"a"}`,
		"- &x\n  a: 1\n- *x\n- &z |\n  k: v\n- *z": `[{"a":1},{"a":1},"k: v\n","k: v\n"]`, "a: &x\n- b\nc: *x": `{"a":["b"],"c":["b"]}`, "a: &x\nb: *x": `{"a":null,"b":null}`,
		"x: &x {a: 1, b: 2}\ny:\n  a: 3\n  <<: *x\n  b: 4": `{"x":{"a":1,"b":2},"y":{"a":3,"b":4}}`,
		"<<: [{a: 1}, {a: 2, b: 3}]\na: 9":                 `{"a":9,"b":3}`, `"<<": {a: 1}`: `{"<<":{"a":1}}`, "? <<\n: {a: 1}": `{"<<":{"a":1}}`, "[<<: {a: 1}]": `[{"a":1}]`,
		"- !!str 1\n- !!int '5'\n- !!float 5\n- ! 5\n- !!str\n- !!null ~": `["1",5,5,"5","",null]`, "!!str\n  123": `"123"`, "!!map\n&x a: 1": `{"a":1}`,
		"- !!map\n- !!seq\n- !!set {a, b}\n- !!pairs [a: 1, a: 2]": `[{},[],{"a":null,"b":null},[["a",1],["a",2]]]`, "!!binary aGVs bG8=": `"aGVs bG8="`,
		"%TAG !y! tag:yaml.org,2002:\n---\n!y!int '7'": `7`, "!<tag:yaml.org,2002:int> 5": `5`, "!!timestamp '2024-01-01'": `"2024-01-01T00:00:00.000Z"`,
		"a: \xff": "{\"a\":\"\ufffd\"}",
	} {
		got, err := Parse([]byte(src))
		if err != nil {
			t.Errorf("Parse(%q): %v", src, err)
			continue
		}
		if diff := cmp.Diff(want, string(AppendJSON(nil, got))); diff != "" {
			t.Errorf("Parse(%q):\n%s", src, diff)
		}
	}
}

func TestNothingIsUndefined(t *testing.T) {
	for src, want := range map[string]value.Kind{"": value.Undefined, "\n": value.Undefined, "# comment\n": value.Null, "---": value.Null} {
		if v, err := Parse([]byte(src)); err != nil || v.Kind() != want {
			t.Errorf("Parse(%q) gives %s, %v, want %s", src, v.Kind(), err, want)
		}
	}
}

func TestParseErrorsNameLineAndColumn(t *testing.T) {
	for src, want := range map[string]string{
		"a: 1\nb: 2\na: 3":          "duplicated mapping key (3:1)",
		"{a: 1, a: 2}":              "duplicated mapping key (1:8)",
		"a: 1\n<<: {a: 2}\na: 3":    "duplicated mapping key (3:1)",
		"true: 1\nTrue: 2":          "duplicated mapping key (2:1)",
		"a: [1, 2\n":                "unexpected end of the stream within a flow collection (2:1)",
		"[a,,b]":                    "expected the node content, but found ',' (1:4)",
		"{a: b: c}":                 "missed comma between flow collection entries (1:6)",
		"a: b: c":                   "bad indentation of a mapping entry (1:5)",
		"a: 1\n b: 2":               "bad indentation of a mapping entry (2:3)",
		"a:\n  - 1\n - 2":           "bad indentation of a mapping entry (3:2)",
		"- a: b\n- c: d\n -":        "bad indentation of a sequence entry (3:2)",
		"a: \"x\" y":                "bad indentation of a mapping entry (1:8)",
		"a: @x":                     "bad indentation of a mapping entry (1:4)",
		"a: 1\n\tb: 2":              "tab characters must not be used in indentation (2:1)",
		"a: 'x":                     "unexpected end of the stream within a single quoted scalar (2:1)",
		"a: \"x\n---\ny\"":          "unexpected end of the document within a double quoted scalar (2:1)",
		"a: \"\\q\"":                "unknown escape sequence (1:6)",
		"a: \"\\x4\"":               "expected hexadecimal character (1:8)",
		"é: \"\\q\"":                "unknown escape sequence (1:6)",
		"a: |x\n b":                 "a line break is expected (1:5)",
		"a: |0\n b":                 "bad explicit indentation width of a block scalar; it cannot be less than one (1:5)",
		"--- |\nfoo":                "missing indentation for block scalar (2:1)",
		"c: *x":                     `unidentified alias "x" (1:6)`,
		"&a [*a]":                   `alias "a" stands within the node that it names (1:7)`,
		"a: !foo 5":                 "unknown tag !<!foo> (1:10)",
		"!!int x":                   "cannot resolve a node with !<tag:yaml.org,2002:int> explicit tag (2:1)",
		"!!str [a]":                 `unacceptable node kind for !<tag:yaml.org,2002:str> tag; it should be "scalar", not "sequence" (1:10)`,
		"<<: 1":                     "cannot merge mappings; the provided source object is unacceptable (1:1)",
		"? [a,[b]]\n: c":            "nested arrays are not supported inside keys (1:10)",
		"a: 1\n---\nb: 2":           "expected a single document in the stream, but found more (2:1)",
		"%YAML 2.0\n---\na":         "unacceptable YAML version of the document (1:10)",
		"a: \x01":                   "the stream contains non-printable characters (1:5)",
		"a: \"\x01\"":               "expected valid JSON character (1:6)",
		"a: \ufffe":                 "the stream contains non-printable characters (1:5)",
		"ok: 1\na\x00b":             "null byte is not allowed in input (2:2)",
		"a\nb: c":                   "end of the stream or a document separator is expected (2:2)",
		": a":                       "incomplete explicit mapping pair; a key node is missed; or followed by a non-tabulated empty line (1:1)",
		"a: b\nc":                   "can not read a block mapping entry; a multiline key may not be an implicit key (3:1)",
		"a: 1\n'b' c":               "can not read an implicit mapping pair; a colon is missed (2:5)",
		"'a':b\n":                   "a whitespace character is expected after the key-value separator within a block mapping (1:5)",
		"!!int !!str 5":             "duplication of a tag or anchor property (1:7)",
		strings.Repeat("[", 1000):   "nesting exceeded maxDepth (100) (1:100)",
		strings.Repeat("- ", 1000):  "nesting exceeded maxDepth (100) (1:201)",
		"!a!b c":                    `undeclared tag handle "!a!" (1:5)`,
		"!!set {a: 1}":              "cannot resolve a node with !<tag:yaml.org,2002:set> explicit tag (1:13)",
		"a: [b]\n  c: d\n":          "bad indentation of a mapping entry (2:3)",
		"a: *x\nb: &x 1":            `unidentified alias "x" (1:6)`,
		"a: 1\nb: 2\nc:\n  - 'd\n'": "",
	} {
		_, err := Parse([]byte(src))
		if want == "" {
			if err != nil {
				t.Errorf("Parse(%q): %v", src, err)
			}
			continue
		}
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Class != fault.YAML {
			t.Errorf("Parse(%q) gives %v, want a %s", src, err, fault.YAML)
			continue
		}
		if first, _, _ := strings.Cut(f.Message, "\n"); first != want {
			t.Errorf("Parse(%q) says\n%s, want\n%s", src, first, want)
		}
	}
}

func TestErrorShowsTheLinesAround(t *testing.T) {
	src := "one: 1\ntwo: 2\nthree:\n  - \t" + strings.Repeat("x", 60) + " : " + strings.Repeat("y", 60) + ": z\nfive: 5\nsix: 6\nseven: 7\n"
	_, err := Parse([]byte(src))
	want := `YAMLException: bad indentation of a sequence entry (4:67)

 1 | one: 1
 2 | two: 2
 3 | three:
 4 |  ... xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx : yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy ...
-----------------------------------------^
 5 | five: 5
 6 | six: 6`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestParseAll(t *testing.T) {
	docs, err := ParseAll([]byte("a: &x 1\n---\n- b\n...\n%YAML 1.2\n--- c\n---\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(AppendJSON(nil, value.List(docs))); got != `[{"a":1},["b"],"c",null]` {
		t.Errorf("got %s", got)
	}
	if docs, err := ParseAll(nil); len(docs) != 0 || err != nil {
		t.Errorf("nothing gives %v, %v", docs, err)
	}
	if _, err := ParseAll([]byte("a: &x 1\n---\nb: *x")); err == nil {
		t.Error("an alias reaches into the document before")
	}
}

func TestAliasesCannotExpandWithoutBound(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 20; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9))
	}
	_, err := Parse([]byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "aliases expand to more than") {
		t.Errorf("got %v", err)
	}
}

func TestAliasesAreCopies(t *testing.T) {
	v, err := Parse([]byte("a: &x {n: 1}\nb: *x"))
	if err != nil {
		t.Fatal(err)
	}
	v.Object().Get("a").Object().Set("n", value.Of(2))
	if got := v.Object().Get("b").Object().Get("n").Num(); got != 1 {
		t.Errorf("b.n is %g after a.n was set", got)
	}
}

func TestResultDoesNotHoldTheSource(t *testing.T) {
	src := "key: some text\n'quoted key': 'quoted text'\n? explicit\n: [flow, \"double\", !!binary aGVsbG8=, !!str x, &a b]\n? [list]\n: |\n  block\n"
	const padding = 32 << 20
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc) //nolint:gosec // far from 2⁶³
	}
	before := heap()
	v, err := Parse([]byte("#" + strings.Repeat("x", padding) + "\n" + src))
	if err != nil {
		t.Fatal(err)
	}
	if kept := heap() - before; kept > padding/4 {
		t.Errorf("a value of a few words holds %d bytes", kept)
	}
	runtime.KeepAlive(v)
}

func TestParseReader(t *testing.T) {
	for _, size := range []int{-1, 0, 4, 100} {
		v, err := ParseReader(strings.NewReader("a: 1"), size)
		if got := string(AppendJSON(nil, v)); err != nil || got != `{"a":1}` {
			t.Errorf("size %d gives %s, %v", size, got, err)
		}
	}
	broken := errors.New("disk gone")
	if _, err := ParseReader(iotest.ErrReader(broken), 0); !errors.Is(err, broken) {
		t.Errorf("a broken reader gives %v", err)
	}
}

func TestManyKeys(t *testing.T) {
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, "%d: a\nk%d: b\n", 20_000-i, i)
	}
	v, err := Parse([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	o := v.Object()
	if o.Len() != 40_000 || o.Key(0) != "1" || o.Key(19_999) != "20000" || o.Key(20_000) != "k0" || o.Get("k19999").Str() != "b" || o.Get("7").Str() != "a" {
		t.Errorf("%d keys: %s … %s, %s", o.Len(), o.Key(0), o.Key(19_999), o.Key(20_000))
	}
	b.WriteString("k77: c\n")
	if _, err := Parse([]byte(b.String())); err == nil {
		t.Error("a key given twice among many is taken")
	}
}

// rows returns a manifest of n observations.
func rows(n int) []byte {
	var b strings.Builder
	b.WriteString("tree:\n  inputs:\n")
	for i := range n {
		fmt.Fprintf(&b, "    - timestamp: 2024-01-01T%02d:%02d:00.000Z\n      duration: 60\n      cpu/utilization: %g\n      energy: 0.00%05d\n      cloud/instance-type: m5.large\n", i/60%24, i%60, float64(i%1000)/8, i*31%100_000)
	}
	return []byte(b.String())
}

func TestParseAllocatesLittlePerRow(t *testing.T) {
	small, large := rows(1000), rows(11_000)
	count := func(src []byte) float64 {
		return testing.AllocsPerRun(3, func() {
			if _, err := Parse(src); err != nil {
				t.Fatal(err)
			}
		})
	}
	if perRow := (count(large) - count(small)) / 10_000; perRow > 0.1 {
		t.Errorf("%.2f allocations per row, budget 0.1", perRow)
	}
}

// FuzzParse checks that nothing panics, that the quick paths agree with the
// thorough ones, and that what is written is read back as it was.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"a: 1\nb:\n  - c: d\n    e: 'f'\n", "- {a: 1, b: [x, \"y\"]}\n- |\n text\n- >-\n folded\n text\n", "&a a: *a\n", "x: &x {a: 1}\n<<: *x\n",
		"? a\n: b\n", "--- !!str 1\n...\n", "%YAML 1.2\n---\n", "a: b\n  c\n\n  d", "a: \"\\u00e9\\\n b\"", "\ta: b", "a:\tb", "a: 1\r\nb: 2\r", "- - -\n- a", "a: b # c\n# d\n", "a: 2024-01-01\nb: .inf",
		"a: 1\na: 2", "0:\n0:\n    - :", "\r\r\x00", "[a: b, ? c]", "'a': 1\n1: 2", string(rows(2)),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		v, err := Parse(src)
		if docs, all := ParseAll(src); err == nil && (all != nil || len(docs) > 1) {
			t.Fatalf("one document for Parse, %d for ParseAll, %v", len(docs), all)
		}
		careful, err2 := parseCarefully(src)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("the quick paths say %v, the thorough ones %v", err, err2)
		}
		if err != nil {
			if err.Error() != err2.Error() {
				t.Fatalf("the quick paths say %v, the thorough ones %v", err, err2)
			}
			return
		}
		if !cmp.Equal(v, careful, equal) {
			t.Fatalf("the quick paths give %s, the thorough ones %s", AppendJSON(nil, v), AppendJSON(nil, careful))
		}
		// In a list, because a document that is the text "..." reads as none.
		v = value.List([]value.Value{orNull(v)})
		text := Append(nil, v)
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("read back %q: %v", text, err)
		}
		if !cmp.Equal(v, again, equal) {
			t.Fatalf("%s was written as %q and read back as %s", AppendJSON(nil, v), text, AppendJSON(nil, again))
		}
	})
}

func parseCarefully(src []byte) (value.Value, error) {
	p, err := newParser(bytes.NewReader(src), 0)
	if err != nil {
		return value.Value{}, err
	}
	p.careful = true
	return p.single()
}

func BenchmarkParse(b *testing.B) {
	const n = 10_000
	src := rows(n)
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(src); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
