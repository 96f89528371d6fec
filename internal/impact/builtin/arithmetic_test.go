package builtin

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func TestArithmeticMethods(t *testing.T) {
	tests := []struct {
		name, config, input string
		m                   plugin.Method
		want                string  // what the method adds or changes, as JavaScript prints it
		noether             *string // nil: the same in both dialects
	}{
		{"a product", "{input-parameter: a, coefficient: 2.5, output-parameter: o}", "{a: 4}", coefficient(), "o=10", nil},
		{"a product of text", "{input-parameter: a, coefficient: '1e3', output-parameter: o}", "{a: 4}", coefficient(), "o=4000", nil},
		{"a square", "{input-parameter: a, exponent: 2, output-parameter: o}", "{a: -3}", exponent(), "o=9", nil},
		{"a root", "{input-parameter: a, exponent: 0.5, output-parameter: o}", "{a: 2}", exponent(), "o=1.4142135623730951", nil},
		{"a product of three", "{input-parameters: [a, b, c], output-parameter: o}", "{a: 0.1, b: 0.2, c: 0.3}", multiply(), "o=0.006000000000000001", nil},
		{"a sum from left to right", "{input-parameters: [a, b, c], output-parameter: o}", "{a: 0.1, b: 0.2, c: 0.3}", sum(), "o=0.6000000000000001", nil},
		{"a difference", "{input-parameters: [a, b, c], output-parameter: o}", "{a: 0.1, b: 0.2, c: 0.3}", subtract(), "o=-0.4", nil},
		{"joules to kilowatt hours", "{numerator: j, denominator: 3600000, output: energy}", "{j: 1800000}", divide(), "energy=0.5", nil},
		{"a quotient of parameters", "{numerator: a, denominator: b, output: o}", "{a: 6, b: 4}", divide(), "o=1.5", nil},
		{"a renamed parameter", "{from: a, to: o, keep-existing: false}", "{a: text}", copyParameter(), "-a o=text", nil},
		{"a copied parameter", "{from: a, to: o, keep-existing: true}", "{a: 0}", copyParameter(), "o=0", nil},
		{"a year's energy in an hour", "{input-parameter: e, original-time-unit: year, new-time-unit: hour, output-parameter: o}", "{e: 8765.82, duration: 60}", timeConverter(), "o=1", nil},
		{"a score", "{functional-unit: requests}", "{carbon: 10, requests: 4, duration: 60}", sci(), "sci=2.5", nil},
		{
			"a score of a share of units", "{functional-unit: =requests*0.5}", "{carbon: 10, requests: 4, duration: 60}", sci(),
			"WrongArithmeticExpressionError: The operator in `=requests*0.5` should be one of these arithmetic operators: *, +, - or /.", new("sci=5"),
		},
		{
			"carbon per request for an hour", "{functional-unit: r, functional-unit-time: 1-hour}", "{carbon-operational: 1, carbon-embodied: 2, duration: 60, r: 90}", sciLegacy(),
			"sci=2", nil,
		},
		// 1,000,000 g over 126,144,000 s, for 3,600 s.
		{"an hour of a server", "{}", "{duration: 3600}", sciEmbodied(), "vCPUs=1 memory=16 ssd=0 hdd=0 gpu=0 usage-ratio=1 embodied-carbon=28.538812785388128", nil},
		// (1,000,000 + 3 × 100,000 + 2 × 50,000 + 100,000 + 150,000) g ÷ 4 years × half a year × 0.25 + 16 GB of 533/384 kg: 22,208.33 g.
		{
			"half a year of a quarter of a larger one", "{}", "{vCPUs: 4, memory: 32, ssd: 2, hdd: 1, gpu: 1, usage-ratio: 0.25, time: 15768000, duration: 60}",
			sciEmbodied(), "embodied-carbon=52256.510416666664", nil,
		},
		{
			"an output that goes on as arithmetic", "{input-parameter: a, coefficient: 2, output-parameter: =o*3}", "{a: 1}", coefficient(),
			"o=6", nil,
		},
		{
			"no number", "{input-parameters: [a, b], output-parameter: o}", "{a: true}", sum(),
			`InputValidationError: "a" parameter is expected number, received boolean. Error code: invalid_type.,"b" parameter is required. Error code: invalid_type.`,
			new(`InputValidationError: "a" parameter is expected number, received boolean. Error code: invalid_type.,"b" parameter is required. Error code: invalid_type. (inputs[0])`),
		},
		{
			"no memory", "{}", "{memory: 0, duration: 1}", sciEmbodied(),
			`InputValidationError: "memory" parameter is number must be greater than 0 at index 0. Error code: too_small.`, nil,
		},
		{
			"an absent denominator", "{numerator: a, denominator: b, output: o}", "{a: 1}", divide(),
			"MissingInputDataError: b is missing from the input array, or has nullish value.", nil,
		},
		{"no configuration", "{}", "{a: 1}", divide(), "ConfigError: Config is not provided.", nil},
		{
			"an unknown unit of time", "{functional-unit: r, functional-unit-time: fortnight}", "{carbon: 1, duration: 60, r: 9}", sciLegacy(),
			"ConfigError: read `functional-unit-time` \"fortnight\": it must be a number and a unit of time, such as 1-hour, 30 min or 1-day", nil,
		},
		{
			"arithmetic in a list", "{input-parameters: [=a], output-parameter: o}", "{a: 1}", sum(),
			`InputValidationError: "=a" parameter is required. Error code: invalid_type.`,
			new("WrongArithmeticExpressionError: `input-parameters` takes names, not the arithmetic \"=a\": compute it with Coefficient or Divide first"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, d := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
				want := tt.want
				if tt.noether != nil && d == plugin.Noether() {
					want = *tt.noether
				}
				if got := change(t, d, tt.m, tt.config, tt.input); got != want {
					t.Errorf("%s\n got %s\nwant %s", tt.input, got, want)
				}
			}
		})
	}
}

// change runs a method on one row and returns what it did to it, or the error.
func change(t *testing.T, d plugin.Dialect, m plugin.Method, config, input string) string {
	t.Helper()
	before, err := jsyaml.Parse([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := runRows(t, testEnv(d), m, config, "["+input+"]", nil)
	if err != nil {
		return err.Error()
	}
	var out []string
	for key := range before.Object().All() {
		if !rows[0].Has(key) {
			out = append(out, "-"+key)
		}
	}
	for key, v := range rows[0].All() {
		if !value.Equal(v, before.Object().Get(key)) {
			out = append(out, key+"="+v.String())
		}
	}
	return strings.Join(out, " ")
}

func TestTimeUnits(t *testing.T) {
	for name, seconds := range map[string]float64{"s": 1, "min": 60, "hrs": 3600, "day": 86400, "wk": 604800, "m": 2628336, "month": 2628336, "y": 31556952, "fortnight": 0} {
		if got := unitSeconds(name); got != seconds {
			t.Errorf("%s has %v seconds, want %v", name, got, seconds)
		}
	}
	for text, want := range map[string]float64{"1-hour": 3600, "30 min": 1800, "0.5-day": 43200, "1": 0, "hour": 0, "-1-hour": 0, "Inf-hour": 0, "0-hour": 0} {
		if got, err := stretch(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("stretch(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestSixDecimals(t *testing.T) {
	for x, want := range map[float64]float64{
		1.0 / 128: 0.007813, -1.0 / 128: -0.007813, 3.0 / 128: 0.023438, 0.1234564999: 0.123456, 0.1234565001: 0.123457,
		5e-7: 0, 1e21: 1e21, 123456789.123456789: 123456789.123457, 2.5: 2.5, -1e-9: 0,
	} {
		if got := sixDecimals(x); got != want {
			t.Errorf("sixDecimals(%v) = %v, want %v", x, got, want)
		}
	}
	if got := sixDecimals(math.Inf(1)); !math.IsInf(got, 1) {
		t.Errorf("sixDecimals(+Inf) = %v", got)
	}
}

// Ten thousand rows cost what the call costs: nothing a row.
func TestArithmeticDoesNotAllocatePerRow(t *testing.T) {
	const count = 10000
	for _, tt := range []struct {
		m      plugin.Method
		config string
	}{
		{multiply(), "{input-parameters: [energy, grid/carbon-intensity], output-parameter: carbon-operational}"},
		{divide(), "{numerator: energy, denominator: requests, output: o}"},
		{coefficient(), "{input-parameter: energy, coefficient: 2, output-parameter: o}"},
		{sci(), "{functional-unit: requests}"},
		{sciEmbodied(), "{}"},
	} {
		for _, d := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
			config, err := jsyaml.Parse([]byte(tt.config))
			if err != nil {
				t.Fatal(err)
			}
			p, err := tt.m.New(testEnv(d), &plugin.Declaration{Name: "p", Method: tt.m.Name, Config: config.Object()}, &tt.m)
			if err != nil {
				t.Fatal(err)
			}
			rows := make([]*value.Object, count)
			for i := range rows {
				rows[i] = value.NewObject(16)
				for _, key := range []string{"duration", "energy", "grid/carbon-intensity", "requests", "carbon"} {
					rows[i].Set(key, value.Of(float64(i+1)))
				}
				rows[i].Set("timestamp", value.Text("2024-01-01T00:00:00.000Z"))
				rows[i].Set("note", value.Text("2 replicas"))
			}
			n := testing.AllocsPerRun(3, func() {
				if _, err := p.Execute(context.Background(), rows, &plugin.Node{}); err != nil {
					t.Fatal(err)
				}
			})
			if n > 100 {
				t.Errorf("%s: %v allocations for %d rows, want at most 100", tt.m.Name, n, count)
			}
		}
	}
}

// What the documentation is made from must be there, and the example must be
// configuration that the method takes.
func TestArithmeticMethodsAreDocumented(t *testing.T) {
	for _, m := range []plugin.Method{
		coefficient(), copyParameter(), divide(), exponent(), multiply(), sci(), sciEmbodied(), sciLegacy(), subtract(), sum(), timeConverter(),
	} {
		if m.Summary == "" || m.Doc == "" || m.Formula == nil {
			t.Errorf("%s: no summary, text or formula", m.Name)
		}
		for _, f := range m.Config.Fields {
			if f.Doc == "" {
				t.Errorf("%s: %s is not documented", m.Name, f.Name)
			}
		}
		example, err := jsyaml.Parse([]byte(m.Example))
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		config := example.Object().Get("config")
		if _, issues := m.Config.Parse(config, nil); issues != nil {
			t.Errorf("%s: example: %s", m.Name, schema.Message(issues, schema.NoIndex))
		}
		outs := append([]plugin.Parameter{}, m.Outputs...)
		for key, v := range config.Object().All() {
			if strings.HasPrefix(key, "output") || key == "to" {
				outs = append(outs, plugin.Parameter{Name: v.Str()})
			}
		}
		if len(outs) == 0 {
			t.Errorf("%s: makes nothing", m.Name)
		}
		for _, out := range outs {
			f, ok := m.Formula(config.Object(), out.Name)
			if !ok || f.Text == "" || len(f.Inputs) == 0 {
				t.Errorf("%s: no formula of %s: %+v", m.Name, out.Name, f)
			}
		}
		if _, ok := m.Formula(config.Object(), "something else"); ok {
			t.Errorf("%s: claims to make what it does not", m.Name)
		}
	}
}

func TestMappingOfAMethodWithFixedNames(t *testing.T) {
	m := sciEmbodied()
	mapping, err := jsyaml.Parse([]byte("{vCPUs: cores, embodied-carbon: m}"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		d    plugin.Dialect
		want []string
	}{
		{plugin.Reference(), []string{"duration", "cores", "memory", "ssd", "hdd", "gpu", "usage-ratio", "m"}},
		{plugin.Noether(), []string{"duration", "cores", "vCPUs", "memory", "ssd", "hdd", "gpu", "usage-ratio", "m"}},
	} {
		p, err := m.New(testEnv(tt.d), &plugin.Declaration{Name: "p", Method: m.Name, Mapping: mapping.Clone().Object()}, &m)
		if err != nil {
			t.Fatal(err)
		}
		row := pairs("duration", 10.0, "cores", 3.0, "vCPUs", 9.0)
		rows, err := p.Execute(context.Background(), []*value.Object{row}, &plugin.Node{})
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for key := range rows[0].All() {
			keys = append(keys, key)
		}
		if diff := cmp.Diff(tt.want, keys); diff != "" {
			t.Error(diff)
		}
		if got := rows[0].Get("m").Num(); got != 0.09512937595129377 {
			t.Errorf("m = %v: cores were not taken for vCPUs", got)
		}
	}
}
