package builtin

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

func TestInterpolation(t *testing.T) {
	const at = "timestamp: '2024-01-01T00:00:00Z', duration: 1"
	const outOfRange = "InputValidationError: The target x value must be within the range of the given x values"
	const tooSmall = `InputValidationError: "u" parameter is number must be greater than or equal to 0 at index 0. Error code: too_small.`
	// By hand: the natural spline through (0, 0), (1, 1), (2, 0) begins as 3/2 x − 1/2 x³, the
	// one through (0, 0), (1, 0), (2, 1), which is what the reference makes of it, as (x³ − x)/4.
	tests := []struct{ name, config, input, reference, noether string }{
		{"between two points", `method: linear, x: [0, 10], y: [1, 2]`, `u: 5`, "1.5", ""},
		{"on a point", `method: linear, x: [0, 10, 20], y: [1, 2, 4]`, `u: 10`, "2", ""},
		{"without a method", `x: [0, 10], y: [1, 2]`, `u: 2.5`, "1.25", ""},
		{"spline", `method: spline, x: [0, 1, 2], y: [0, 1, 0]`, `u: 0.5`, "-0.09375000000000003", "0.6875"},
		{"parabola", `method: polynomial, x: [0, 1, 3], y: [0, 1, 9]`, `u: 2`, "4", ""},
		{"a falling curve", `method: linear, x: [0, 10], y: [2, 1]`, `u: 2.5`, "1.25", "1.75"},
		{"points out of order", `method: linear, x: [10, 0], y: [1, 2]`, `u: 2.5`, "1.25", "1.75"},
		{"off", `method: linear, x: [0, 10], y: [1, 2]`, `u: 'off'`, "0", ""},
		{"below the points", `method: linear, x: [5, 10], y: [1, 2]`, `u: 1`, outOfRange, outOfRange + " (inputs[0])"},
		{"above the points", `method: linear, x: [5, 10], y: [1, 2]`, `u: 11`, outOfRange, outOfRange + " (inputs[0])"},
		{"less than nothing", `method: linear, x: [-5, 10], y: [1, 2]`, `u: -1`, tooSmall, tooSmall + " (inputs[0])"},
		{"more x than y", `x: [5, 10, 20], y: [1, 2]`, `u: 11`, "InputValidationError: The length of `x` and `y` should be equal", ""},
		{"one point", `x: [5], y: [1]`, `u: 5`, "InputValidationError: the length of the input arrays must be greater than 1", ""},
		{"a curve that is endless", `x: [0, 10], y: [0, .inf]`, `u: 5`, "Infinity", "InvalidInputError: compute \"o\" of inputs[0]: the result is Infinity; check its inputs for zeros and for numbers that are too large"},
		{"many points, straight", `x: ` + counted(2001) + `, y: ` + counted(2001), `u: 1500.5`, "1500.5", ""},
		{"many points, curved", `method: spline, x: ` + counted(2001) + `, y: ` + counted(2001), `u: 1500.5`, "ConfigError: Laying a spline through 2001 points: more than 2000; use method linear", ""},
		{"a point twice", `method: linear, x: [0, 5, 5], y: [1, 2, 3]`, `u: 5`, "3", "InputValidationError: `x` holds 5 twice: the curve has no single value there; keep one of the two points"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, d := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
				want := tt.reference
				if d.PairedPoints && tt.noether != "" {
					want = tt.noether
				}
				rows, err := runRows(t, testEnv(d), interpolation(), "{"+tt.config+", input-parameter: u, output-parameter: o}", "[{"+at+", "+tt.input+"}]", nil)
				var got string
				if err != nil {
					got = err.Error()
				} else {
					got = rows[0].Get("o").String()
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("paired %v (-want +got):\n%s", d.PairedPoints, diff)
				}
			}
		})
	}
}

// counted returns a YAML list of the first n whole numbers.
func counted(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = strconv.Itoa(i)
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// TestCurvesMeetTheirPoints checks what every curve promises whatever its formula.
func TestCurvesMeetTheirPoints(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // reproducible points
	for range 200 {
		n := 2 + r.IntN(8)
		x, y := make([]float64, n), make([]float64, n)
		for i := range x {
			x[i], y[i] = float64(i)*3+r.Float64(), r.Float64()*100
		}
		s := newSpline(x, y)
		for i := range x {
			for name, got := range map[string]float64{"linear": piecewise(x, y, x[i]), "spline": s.at(x[i]), "polynomial": lagrange(x, y, x[i])} {
				if math.Abs(got-y[i]) > 1e-9*(1+y[i]) {
					t.Fatalf("%s at point %d of %v %v: %v", name, i, x, y, got)
				}
			}
		}
		for i := 1; i < n-1; i++ { // the spline's slope is one and the same on both sides of a point
			const h = 1e-6
			left, right := (s.at(x[i])-s.at(x[i]-h))/h, (s.at(x[i]+h)-s.at(x[i]))/h
			if math.Abs(left-right) > 1e-2*(1+math.Abs(left)) {
				t.Fatalf("spline has a corner at point %d: %v, %v", i, left, right)
			}
		}
	}
}

func TestInterpolationSortsThePrintedLists(t *testing.T) {
	config, err := jsyaml.Parse([]byte(`{x: [10, 0], y: [5, 4], input-parameter: u, output-parameter: o}`))
	if err != nil {
		t.Fatal(err)
	}
	m := interpolation()
	for _, d := range []plugin.Dialect{plugin.Noether(), plugin.Reference()} {
		p, err := m.New(testEnv(d), &plugin.Declaration{Config: config.Object()}, &m)
		if err != nil {
			t.Fatal(err)
		}
		row, err := jsyaml.Parse([]byte(`{timestamp: '2024-01-01T00:00:00Z', duration: 1, u: 5}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Execute(t.Context(), []*value.Object{row.Object()}, &plugin.Node{}); err != nil {
			t.Fatal(err)
		}
		want := "10,0 5,4"
		if !d.PairedPoints {
			want = "0,10 4,5"
		}
		if got := config.Object().Get("x").String() + " " + config.Object().Get("y").String(); got != want {
			t.Errorf("lists are %s, want %s", got, want)
		}
	}
}
