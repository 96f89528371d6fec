package expr_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"noether/internal/impact/expr"
	"noether/internal/impact/value"
)

// The expectations of this file were observed on if-run 1.1.0.

func TestReferenceEvaluatesTextInRows(t *testing.T) {
	row := object("carbon", 3, "energy", 4, "neg", -3, "zero", 0, "nstr", "7", "expr", "2*3", "bool", true, "null", nil, "empty", "",
		"a b", 6, "a", 1, "cpu", 8, "util", 2, "cpu/util", 5, "_e", 11, "small", 1e-7)
	const missing = " is missing from the input array or has nullish value."
	const operator = "should be one of these arithmetic operators"
	for text, want := range map[string]string{
		"10": "10", "1+2*3": "7", "2024-10-12": "2002", "2024-01-02": "undefined", "007": "undefined", " 5 ": "5", "1/3": "0.3333333333333333",
		"-5": "text", "1e3": "text", "1.2.3": "text", "5.": "text", "12 cores": "text", "": "text", "5 5": "text",
		"=2*energy": "8", "=2-energy": "-2", "=2-neg": "undefined", "=2+neg": "-1", "=1e3": "1000", "=0x10": "16", "=": "undefined",
		"5/0": "!division by zero: `5/0`", "=-5/0": "-Infinity", "0/0": "undefined", "=2/zero": "!division by zero: `2/0`",
		"=2.5*carbon": "!" + operator, "=a": "!" + operator, "=2&3": "!" + operator, "=(2)": "!" + operator, "=\"cpu/util": "!" + operator,
		"=energy-2": "!energy-2" + missing, "http://x?a=b": "!http" + missing, "=nope": "!nope" + missing, "=2 energy": "!" + missing,
		"=2*nstr": "14", "=2*expr": "!The value of the `expr` parameter", "=bool": "true", "=2*bool": "2", "=2*null": "undefined", "=2*empty": "undefined",
		"=cpu/util": "4", `="cpu/util"*2`: "10", "='a b'*2": "12", "=_e": "11", "=2**3": "8", "=2*-energy": "-8", "=2*small": "2e-7", "=2*010": "undefined",
	} {
		if !expr.MayEvaluate(text) {
			if want != "text" {
				t.Errorf("%q is taken for text, want %s", text, want)
			}
			continue
		}
		v, err := expr.Evaluate(text, row)
		got := v.String()
		if err != nil {
			got = "!" + err.Error()
		}
		if part, bad := strings.CutPrefix(want, "!"); bad && err != nil && strings.Contains(got, part) {
			continue
		}
		if got != want {
			t.Errorf("%q = %s, want %s", text, got, want)
		}
	}
}

func TestReferenceNames(t *testing.T) {
	for text, want := range map[string]string{
		"carbon": "carbon", "=2*carbon": "carbon", "co2": "co", "cpu/util-x_y": "cpu/util-x_y", "a b": "a", `="my/out"+1`: "my/out",
		"a//b": "a", "=out-1": "out", "_a": "a", "4*2": "8", "= 5": "5", "": "", "%": "%", "=a_": "a",
	} {
		got, err := expr.Name(text)
		if err != nil || got.String() != want {
			t.Errorf("Name(%q) = %v, %v; want %s", text, got, err, want)
		}
	}
	if _, err := expr.Name("2 3"); err == nil {
		t.Error("Name(2 3) must fail: the reference computes it")
	}
}

func TestReferenceFormat(t *testing.T) {
	for text, good := range map[string]bool{
		"carbon": true, "=2*carbon": true, "=carbon+energy": true, "car bon": true, "cpu/util": true, "1e3": true, "=1e3": true, " 4": true,
		"=carbon": false, "2*carbon": false, "co2": false, `"carbon"`: false, " carbon": false, "=": false, "=carbon/energy": false, "=2&x": false,
	} {
		if err := expr.CheckFormat("key", text); (err == nil) != good {
			t.Errorf("CheckFormat(%q) = %v", text, err)
		}
	}
}

func TestReferenceOutputs(t *testing.T) {
	for name, want := range map[string]string{
		"=2*out": "out 20", "=out-1": "out 9", `=2*"my/out"+1`: "my/out 21", "=co2*2": "co 204", "=2.5*out": "out 25", "=out*carbon": "out undefined",
	} {
		if err := expr.CheckOutput(name); err != nil {
			t.Errorf("CheckOutput(%q) = %v", name, err)
		}
		key, v, err := expr.Output(name, value.Of(10))
		if got := key + " " + v.String(); err != nil || got != want {
			t.Errorf("Output(%q) = %s, %v; want %s", name, got, err, want)
		}
	}
	for _, name := range []string{"co2", "a b", "out*2", "_out", `"out"`, "x:y"} {
		if expr.CheckOutput(name) == nil {
			t.Errorf("CheckOutput(%q) takes what the reference refuses", name)
		}
	}
}

// Both grammars give the same for numbers with operators between.
func TestGrammarsAgreeOnNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	row := value.NewObject(0)
	compared := 0
	for range 20000 {
		var b strings.Builder
		for i := range 1 + r.IntN(6) {
			if i > 0 {
				b.WriteByte("+-*/"[r.IntN(4)])
			}
			b.WriteString(strconv.Itoa(r.IntN(30)))
			if r.IntN(2) == 0 {
				b.WriteString("." + strconv.Itoa(r.IntN(1000)))
			}
		}
		s := b.String()
		if !expr.Plain(s) {
			t.Fatalf("Plain(%q) is false", s)
		}
		want, wrong := expr.EvaluatePlain("=" + s)
		got, err := full("="+s, row)
		if wrong != nil || !want.IsNumber() || want.Num()-want.Num() != 0 {
			if err == nil {
				t.Errorf("%s = %v, the reference has %v, %v", s, got, want, wrong)
			}
			continue
		}
		if err != nil && !strings.Contains(err.Error(), "divisor is 0") || err == nil && got != want.Num() {
			t.Errorf("%s = %v, %v; the reference has %v", s, got, err, want)
		}
		compared++
	}
	if compared < 10000 {
		t.Errorf("only %d expressions were compared", compared)
	}
}

func FuzzReference(f *testing.F) {
	for _, s := range []string{"=2*carbon", "2024-10-12", "http://x?a=b", "=\"a b\"-1", "=2--3", "5/0", "=é", "==", "a=b", "=2**3", "=0x", "=//", "\xff="} {
		f.Add(s)
	}
	row := object("carbon", 3, "a b", 4, "b", "=b", "text", "=2*text", "n", nil)
	f.Fuzz(func(_ *testing.T, s string) {
		// Nothing here may panic or run for ever.
		if expr.MayEvaluate(s) {
			_, _ = expr.Evaluate(s, row)
		}
		if expr.Plain(s) {
			_, _ = expr.EvaluatePlain(s)
		}
		_, _ = expr.MayDepend(s)
		_, _, _ = expr.Output(s, value.Of(2))
		_, _ = expr.CheckFormat("k", s), expr.CheckOutput(s)
		expr.Guess(s)
	})
}
