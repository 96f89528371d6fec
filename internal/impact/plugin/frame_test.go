package plugin_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// double is a method that writes twice the parameter "in" names to the one
// that "out" names.
var double = plugin.Method{
	Name: "Double",
	Config: schema.Object{Fields: []schema.Field{
		{Name: "in", Type: schema.NonEmpty()},
		{Name: "factor", Type: schema.Default(schema.Above(0), value.Of(2))},
		{Name: "out", Type: schema.NonEmpty()},
	}},
	Inputs:  []plugin.Parameter{{Name: "a", Unit: "kWh", Time: plugin.Sum}, {Name: "b", Unit: "gCO2e"}},
	Outputs: []plugin.Parameter{{Name: "o", Unit: "kWh"}},
}

func kernel() plugin.Kernel {
	return plugin.Kernel{
		Arithmetic: true, Expressions: []string{"in", "factor"}, Numbers: []string{"factor"},
		CheckInput: func(row, config *value.Object, _ int) error {
			in := config.Get("in")
			if in.IsString() && !row.Get(in.Str()).IsNumber() {
				return fault.New(fault.InputValidation, "%s is no number", in.Str())
			}
			return nil
		},
		Run: func(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
			for i, row := range c.Rows {
				config := c.Row(i)
				v := config.Get("in")
				if v.IsString() {
					v = row.Get(v.Str())
				}
				row.Set(config.Get("out").Str(), value.Of(v.Num()*config.Get("factor").ToNumber()))
			}
			return c.Rows, nil
		},
	}
}

func object(pairs ...any) *value.Object {
	o := value.NewObject(len(pairs) / 2)
	for i := 0; i < len(pairs); i += 2 {
		switch x := pairs[i+1].(type) {
		case int:
			o.Set(pairs[i].(string), value.Of(float64(x)))
		case string:
			o.Set(pairs[i].(string), value.Text(x))
		case value.Value:
			o.Set(pairs[i].(string), x)
		}
	}
	return o
}

func text(rows []*value.Object) string {
	var b strings.Builder
	for _, row := range rows {
		for k, v := range row.All() {
			b.WriteString(k + "=" + v.String() + " ")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func run(p plugin.Plugin, rows ...*value.Object) string {
	out, err := p.Execute(context.Background(), rows, &plugin.Node{})
	if err != nil {
		return err.Error() + "\n"
	}
	return text(out)
}

func framed(d plugin.Dialect, config, mapping *value.Object) plugin.Plugin {
	return plugin.NewFramed(&plugin.Env{Dialect: d}, &plugin.Declaration{Name: "p", Config: config, Mapping: mapping}, &double, kernel())
}

func TestMappingIsConsumedByTheFirstNodeOfTheReferenceOnly(t *testing.T) {
	for _, tt := range []struct {
		d            plugin.Dialect
		second, left string
	}{
		{plugin.Reference(), "InputValidationError: a is no number\n", ""},
		{plugin.Noether(), "x=4 total=8 \n", "a=x result=total "},
	} {
		mapping := object("a", "x", "result", "total")
		p := framed(tt.d, object("in", "a", "out", "result"), mapping)
		if got := run(p, object("x", 3)); got != "x=3 total=6 \n" {
			t.Errorf("first node: %s", got)
		}
		if got := run(p, object("x", 4)); got != tt.second {
			t.Errorf("second node: %s, want %s", got, tt.second)
		}
		if got := strings.TrimSuffix(text([]*value.Object{mapping}), "\n"); got != tt.left {
			t.Errorf("the manifest's mapping is %q, want %q", got, tt.left)
		}
	}
}

func TestConstantsInConfigAreComputedInTheManifestOfTheReferenceOnly(t *testing.T) {
	for _, tt := range []struct {
		d    plugin.Dialect
		want string
	}{{plugin.Reference(), "6"}, {plugin.Noether(), "2*3"}} {
		config := object("in", "a", "factor", "2*3", "out", "o")
		if got := run(framed(tt.d, config, nil), object("a", 3)); got != "a=3 o=18 \n" {
			t.Errorf("got %s", got)
		}
		if got := config.Get("factor").String(); got != tt.want {
			t.Errorf("the manifest has %s, want %s", got, tt.want)
		}
	}
}

func TestConfig(t *testing.T) {
	noether, reference := plugin.Noether(), plugin.Reference()
	row := func() *value.Object { return object("a", 3, "b", 4, "co2", 5) }
	for _, tt := range []struct {
		name   string
		d      plugin.Dialect
		config *value.Object
		want   string
	}{
		{"none", noether, nil, "ConfigError: Config is not provided.\n"},
		{"empty", reference, object(), "ConfigError: Config is not provided.\n"},
		{"incomplete", reference, object("in", "a"), `InputValidationError: "out" parameter is required. Error code: invalid_type.` + "\n"},
		{"misspelt", noether, object("in", "a", "outt", "o"), "ConfigError: \"outt\" is no key of the config of Double: did you mean \"out\"? It knows in, factor, out.\n"},
		{"unknown", noether, object("in", "a", "out", "o", "verbose", "yes"), "ConfigError: \"verbose\" is no key of the config of Double. It knows in, factor, out.\n"},
		{"ignored", reference, object("in", "a", "out", "o", "verbose", "yes"), "a=3 b=4 co2=5 o=6 \n"},
		{"a number that depends on the row", noether, object("in", "a", "factor", "=b-3", "out", "o"), "a=3 b=4 co2=5 o=3 \n"},
		{"a number that is wrong in the row", noether, object("in", "a", "factor", "=b-4", "out", "o"), `InputValidationError: "factor" parameter is number must be greater than 0. Error code: too_small. (inputs[0])` + "\n"},
		{"a number as text", noether, object("in", "a", "factor", "1.5e0", "out", "o"), "a=3 b=4 co2=5 o=4.5 \n"},
		{"text for a number", noether, object("in", "a", "factor", "lots", "out", "o"), `InputValidationError: "factor" parameter is expected number, received string. Error code: invalid_type.` + "\n"},
		{"broken arithmetic", noether, object("in", "a", "factor", "=(2", "out", "o"), "WrongArithmeticExpressionError: read \"=(2\": a parenthesis is not closed\n"},
		{"a name with a digit", noether, object("in", "co2", "out", "o2"), "a=3 b=4 co2=5 o2=10 \n"},
		{"an output with a digit", reference, object("in", "=b*2", "out", "o2"), "WrongArithmeticExpressionError: The operator in `=b*2` should be one of these arithmetic operators: *, +, - or /.\n"},
	} {
		if got := run(framed(tt.d, tt.config, nil), row()); got != tt.want {
			t.Errorf("%s:\n got %swant %s", tt.name, got, tt.want)
		}
	}
}

func TestExpressionsInRows(t *testing.T) {
	config := object("in", "a", "out", "o")
	for name, want := range map[string]string{
		"=2*b":    "a=8 b=4 c=5 o=16 \n",
		"=(b+c)":  "a=9 b=4 c=5 o=18 \n",
		"=a+1":    "WrongArithmeticExpressionError: compute \"a\": its expression refers to itself (inputs[0])\n",
		"a = b":   "InputValidationError: a is no number (inputs[0])\n",
		"=2*nope": "WrongArithmeticExpressionError: read \"=2*nope\": the row has no parameter \"nope\" (inputs[0])\n",
	} {
		if got := run(framed(plugin.Noether(), config, nil), object("a", name, "b", 4, "c", 5)); got != want {
			t.Errorf("a: %q\n got %swant %s", name, got, want)
		}
	}
	// Later text waits for what it needs, whatever the order of keys.
	if got := run(framed(plugin.Noether(), config, nil), object("a", "=2*b", "b", "=c+1", "c", "=3")); got != "a=8 b=4 c=3 o=16 \n" {
		t.Errorf("a chain: %s", got)
	}
}

func TestNodesWithoutRows(t *testing.T) {
	config := object("in", "=2*a", "out", "o")
	_, err := framed(plugin.Reference(), config, nil).Execute(context.Background(), nil, &plugin.Node{})
	if !errors.Is(err, &fault.Error{Class: fault.Type}) {
		t.Errorf("the reference crashes, got %v", err)
	}
	rows, err := framed(plugin.Noether(), config, nil).Execute(context.Background(), nil, &plugin.Node{})
	if err != nil || len(rows) != 0 {
		t.Errorf("got %v, %v", rows, err)
	}
}

func TestNamesCanBeSwapped(t *testing.T) {
	p := framed(plugin.Noether(), object("in", "left", "out", "o"), object("a", "b", "b", "a"))
	if got := run(p, object("a", 1, "b", 2, "left", 3)); got != "a=1 b=2 left=3 o=6 \n" {
		t.Errorf("got %s", got)
	}
}

// A plugin that makes rows of its own shows what is laid over what.
func TestRowsOfAPluginsOwn(t *testing.T) {
	m := plugin.Method{Name: "Make"}
	k := plugin.Kernel{NoConfig: true, Run: func(context.Context, *plugin.Call) ([]*value.Object, error) {
		return []*value.Object{object("t", 1, "new", 2), object("t", 2), object("t", 3)}, nil
	}}
	for _, tt := range []struct {
		d    plugin.Dialect
		want string
	}{
		{plugin.Reference(), "t=1 old=8 new=2 \nt=2 own=9 \nt=3 \n"},
		{plugin.Noether(), "t=1 new=2 \nt=2 \nt=3 \n"},
	} {
		p := plugin.NewFramed(&plugin.Env{Dialect: tt.d}, &plugin.Declaration{}, &m, k)
		if got := run(p, object("t", 0, "old", 8), object("t", 0, "own", 9)); got != tt.want {
			t.Errorf("got\n%swant\n%s", got, tt.want)
		}
	}
}

func TestNodesRunAtTheSameTime(t *testing.T) {
	p := framed(plugin.Noether(), object("in", "=2*a/b", "factor", "=b", "out", "o"), object("a", "x", "o", "out"))
	var wg sync.WaitGroup
	got := make([]string, 16)
	for i := range got {
		wg.Go(func() { got[i] = run(p, object("x", 3, "b", 2), object("b", 4, "x", i)) })
	}
	wg.Wait()
	for i, s := range got {
		want := text([]*value.Object{object("x", 3, "b", 2, "out", 6), object("b", 4, "x", i, "out", 2*i)})
		if s != want {
			t.Errorf("node %d: %s, want %s", i, s, want)
		}
	}
}

func TestMetadata(t *testing.T) {
	declared := plugin.Metadata{Inputs: []plugin.Parameter{{Name: "b", Unit: "kg"}, {Name: "c"}}, Outputs: []plugin.Parameter{{Name: "z"}}}
	for _, tt := range []struct {
		has  bool
		want plugin.Metadata
	}{
		{false, plugin.Metadata{Inputs: []plugin.Parameter{double.Inputs[0], {Name: "b", Unit: "kg"}, {Name: "c"}}, Outputs: double.Outputs}},
		{true, plugin.Metadata{Inputs: []plugin.Parameter{double.Inputs[0], {Name: "b", Unit: "kg"}, {Name: "c"}}, Outputs: declared.Outputs}},
	} {
		before := slices.Clone(double.Inputs)
		p := plugin.NewFramed(&plugin.Env{}, &plugin.Declaration{Metadata: declared, HasInputs: true, HasOutputs: tt.has}, &double, kernel())
		if diff := cmp.Diff(tt.want, p.Metadata()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(before, double.Inputs); diff != "" {
			t.Errorf("the method's own parameters changed: %s", diff)
		}
	}
}

func TestClosest(t *testing.T) {
	names := []string{"input-parameter", "coefficient", "output-parameter"}
	for name, want := range map[string]string{"coeficient": "coefficient", "Coefficient": "coefficient", "input-parametr": "input-parameter", "x": "", "": "", "method": ""} {
		if got := plugin.Closest(name, names); got != want {
			t.Errorf("Closest(%q) = %q, want %q", name, got, want)
		}
	}
}
