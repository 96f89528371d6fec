package expr_test

import (
	"math"
	"strings"
	"testing"

	"noether/internal/impact/expr"
	"noether/internal/impact/value"
)

func object(pairs ...any) *value.Object {
	o := value.NewObject(len(pairs) / 2)
	for i := 0; i < len(pairs); i += 2 {
		v := value.NullValue()
		switch x := pairs[i+1].(type) {
		case int:
			v = value.Of(float64(x))
		case float64:
			v = value.Of(x)
		case string:
			v = value.Text(x)
		case bool:
			v = value.OfBool(x)
		}
		o.Set(pairs[i].(string), v)
	}
	return o
}

func full(source string, row *value.Object) (float64, error) {
	p, err := expr.Compile(source, row.Has)
	if err != nil {
		return 0, err
	}
	return p.Evaluate(row, value.Value{})
}

func TestFullGrammar(t *testing.T) {
	row := object("a", 6, "b", 2, "cpu/util", 8, "cpu", 40, "co2", 3, "x y", 5, "p99.9", 7, "a-b", 1, "2nd", 9, "ns:pod", 4, "é", 11, "1e3", 12)
	for source, want := range map[string]float64{
		"=2*3+4":           10,
		"=2+3*4":           14,
		"=(2+3)*4":         20,
		"=8/4/2":           1,
		"=8-4-2":           2,
		"=2**3**2":         512,
		"=-a":              -6,
		"=2--b":            4,
		"=2*-b":            -4,
		"=-(2**2)":         -4,
		"=2.5*a":           15,
		"=.5*a":            3,
		"=1e-1*a":          0.6000000000000001,
		"=1e3":             1000,
		`="1e3"`:           12,
		"=a/b":             3,
		"=a / b":           3,
		"=cpu/util":        8,
		"=cpu / b":         20,
		"=cpu/b":           20,
		"=cpu/util/b":      4,
		`=cpu/"b"`:         20,
		"=a-b":             1,
		"=a - b":           4,
		"=a-2":             4,
		"=co2*co2":         9,
		`="x y"*2`:         10,
		"='x y'*2":         10,
		"=p99.9":           7,
		"=2nd+1":           10,
		"=ns:pod*2":        8,
		"=é":               11,
		"= a *\tb ":        12,
		"a+1":              7,
		"=((((a))))":       6,
		"=0.1+0.2":         0.30000000000000004,
		"=a*b+co2/cpu/b-1": 11.0375,
	} {
		got, err := full(source, row)
		if err != nil || got != want {
			t.Errorf("%s = %v, %v; want %v", source, got, err, want)
		}
	}
}

func TestFullGrammarSaysWhatIsWrong(t *testing.T) {
	row := object("a", 6, "zero", 0, "text", "x", "nothing", nil, "big", 1e308)
	for source, want := range map[string]string{
		"=":                             "it ends where a number or a name must follow",
		"=2*":                           "it ends where a number or a name must follow",
		"=(2":                           "a parenthesis is not closed",
		"=2)":                           `")" cannot follow there`,
		"=2 3":                          `"3" cannot follow there`,
		"=nope":                         `the row has no parameter "nope"`,
		"=no/pe":                        "put names that hold / or - in quotes",
		"=a#":                           `"#" cannot follow there`,
		"=#":                            "starts neither a number nor a name",
		`=""`:                           "empty or not closed",
		`="a`:                           "empty or not closed",
		"=-2**2":                        "ambiguous",
		"=a/zero":                       "the divisor is 0",
		"=text+1":                       `"text" is a string, not a number`,
		"=nothing":                      `has no value for "nothing"`,
		`="nope"`:                       `has no value for "nope"`,
		"=big*10":                       "is not finite",
		"=0**-1":                        "is not finite",
		"=.":                            "starts neither",
		"=a..":                          `no parameter "a.."`,
		"=2=3":                          "cannot follow",
		"=" + strings.Repeat("(", 1000): "levels of nesting",
		"=" + strings.Repeat("-", 1000): "levels of nesting",
	} {
		_, err := full(source, row)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: %v, want …%s…", source, err, want)
		}
	}
}

func TestNamesMeanTheLongestParameterOfEachRow(t *testing.T) {
	first := object("a", 6, "b", 2)
	p, err := expr.Compile("=a/b", first.Has)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Fits(first) {
		t.Error("does not fit the row it was compiled for")
	}
	if p.Fits(object("a", 6, "b", 2, "a/b", 1)) {
		t.Error("fits a row in which the name means more")
	}
	if p.Fits(object("a", 6)) {
		t.Error("fits a row without one of its names")
	}
}

func TestOutputNames(t *testing.T) {
	row := object("carbon", 3)
	for source, want := range map[string]struct {
		name string
		x    float64
	}{
		"=2*out":          {"out", 20},
		"=out/2+carbon":   {"out", 8},
		"=my/out*2":       {"my/out", 20},
		`=2*"a b"`:        {"a b", 20},
		"=out-1":          {"out", 9},
		"=(co2+carbon)*2": {"co2", 26},
	} {
		p, err := expr.CompileOutput(source, row.Has)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		x, err := p.Evaluate(row, value.Of(10))
		if err != nil || x != want.x || p.First() != want.name {
			t.Errorf("%s = %s %v, %v; want %v", source, p.First(), x, err, want)
		}
	}
}

func TestRename(t *testing.T) {
	to := map[string]string{"a": "x", "cpu/util": "cu", "b c": "d", "co": "wrong", "e": `q"r`}
	look := func(name string) (string, bool) { s, ok := to[name]; return s, ok }
	for source, want := range map[string]string{
		"=2*a+a":        `=2*"x"+"x"`,
		"=cpu/util*2":   `="cu"*2`,
		"=a/util":       `="x"/util`,
		`="b c"+'b c'`:  `="d"+"d"`,
		"=co2*2":        "=co2*2",
		"=1e3*a":        `=1e3*"x"`,
		"=e":            `='q"r'`,
		`="open`:        `="open`,
		"=(a)-1":        `=("x")-1`,
		"=keep/this-is": "=keep/this-is",
	} {
		if got := expr.Rename(source, look); got != want {
			t.Errorf("Rename(%s) = %s, want %s", source, got, want)
		}
	}
}

func TestEvaluateDoesNotAllocate(t *testing.T) {
	row := object("carbon", 3, "energy", 4)
	p, err := expr.Compile("=(2.5*carbon+energy)/2", row.Has)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if !p.Fits(row) {
			t.Fatal("does not fit")
		}
		if _, err := p.Evaluate(row, value.Value{}); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a row", n)
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"=2*carbon", "=(a+b)/c", `="x y"**2`, "=cpu/util-1e-3", "=-(-2)", "='", "=.5.", "=é:x", "=a/b/c-d", "=2--3"} {
		f.Add(s)
	}
	row := object("carbon", 3, "a", 1, "b", 2, "c", 0, "cpu/util", 5, "x y", 4, "é:x", 6)
	f.Fuzz(func(t *testing.T, s string) {
		x, err := full(s, row)
		if err == nil && math.IsNaN(x-x) {
			t.Errorf("%q = %v without an error", s, x)
		}
		if p, err := expr.CompileOutput(s, row.Has); err == nil {
			_, _ = p.Evaluate(row, value.Of(1)) // must not panic
		}
		if same := expr.Rename(s, func(string) (string, bool) { return "", false }); same != s {
			t.Errorf("Rename without names changes %q to %q", s, same)
		}
	})
}
