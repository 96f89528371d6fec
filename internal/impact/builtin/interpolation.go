package builtin

import (
	"context"
	"math"
	"slices"
	"sort"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func interpolation() plugin.Method {
	return plugin.Method{
		Name:    "Interpolation",
		Summary: "Reads a value off a curve through known points.",
		Doc: `Computes the output parameter from the input parameter along a curve through the points (x, y), sorted by x:
` + "`linear`" + ` joins neighbours by straight lines, ` + "`spline`" + ` is the natural cubic spline, ` + "`polynomial`" + ` the one
polynomial through all points (Lagrange), which swings wildly between more than a few. Outside the points there is no
value: that is an error. The word ` + "`off`" + ` as input gives 0 for input and output.`,
		Example: `path: builtin
method: Interpolation
config:
  method: spline
  x: [0, 10, 50, 100]
  y: [0.12, 0.32, 0.75, 1.02]
  input-parameter: cpu/utilization
  output-parameter: cpu/energy-factor`,
		Config: schema.Object{
			Fields: []schema.Field{
				{Name: "method", Type: schema.Default(schema.NativeEnum("linear", "spline", "polynomial"), value.Text("linear")), Doc: "Kind of curve."},
				{Name: "x", Type: schema.ArrayOf(schema.Number(), 0), Doc: "Known inputs, at least two."},
				{Name: "y", Type: schema.ArrayOf(schema.Number(), 0), Doc: "Outputs that belong to them."},
				{Name: "input-parameter", Type: schema.Text(), Doc: "Parameter to read, 0 or more, or the word off."},
				{Name: "output-parameter", Type: schema.Text(), Doc: "Parameter that takes the curve's value."},
			},
			Refine: func(o *value.Object) []schema.Issue {
				var issues []schema.Issue
				x, y := len(o.Get("x").Items()), len(o.Get("y").Items())
				if x != y {
					issues = append(issues, schema.Issue{Code: "custom", Text: "The length of `x` and `y` should be equal"})
				}
				if min(x, y) < 2 {
					issues = append(issues, schema.Issue{Code: "custom", Text: "the length of the input arrays must be greater than 1"})
				}
				return issues
			},
		},
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			in := config.Get("input-parameter").Str()
			method := config.Get("method").Str()
			if method == "" {
				method = "linear"
			}
			return plugin.Formula{Text: method + " curve at " + in, Inputs: []string{in}}, out == config.Get("output-parameter").Str()
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				Arithmetic: true, Expressions: []string{"input-parameter"},
				CheckConfig: func(config *value.Object) (*value.Object, error) { return curveConfig(config, m, &env.Dialect) },
				CheckInput:  curveCheck(),
				Run:         interpolate,
			}), nil
		},
	}
}

// maxCurved bounds the points of splines and polynomials, whose cost grows with
// their square, for memory and for each row.
const maxCurved = 2000

// curveConfig checks the configuration and sorts the points: together, or in
// the reference's dialect x and y each for itself, in the manifest's own lists.
func curveConfig(config *value.Object, m *plugin.Method, d *plugin.Dialect) (*value.Object, error) {
	if !d.PairedPoints {
		for _, key := range []string{"x", "y"} {
			slices.SortStableFunc(config.Get(key).Items(), func(a, b value.Value) int {
				switch d := a.ToNumber() - b.ToNumber(); {
				case d < 0:
					return -1
				case d > 0:
					return 1
				}
				return 0 // NaN too
			})
		}
	}
	checked, issues := m.Config.Parse(config.Value(), nil)
	if v := config.Get("method"); !d.PairedPoints && config.Has("method") && v.Kind() == value.Undefined {
		// Text such as 2024-01-01 became nothing, which is not the same as absent.
		_, missing := schema.Text().Parse(v, []string{"method"})
		issues = append(missing, slices.DeleteFunc(issues, func(i schema.Issue) bool { return i.Code == "custom" })...)
	}
	if issues != nil {
		return nil, fault.New(fault.InputValidation, "%s", schema.Message(issues, schema.NoIndex))
	}
	if n := len(checked.Object().Get("x").Items()); n > maxCurved {
		if method := checked.Object().Get("method").Str(); method == "spline" || method == "polynomial" {
			return nil, fault.New(fault.Config, "Laying a %s through %d points: more than %d; use method linear", method, n, maxCurved)
		}
	}
	if d.PairedPoints {
		x, y := checked.Object().Get("x").Items(), checked.Object().Get("y").Items()
		sort.Stable(&points{x, y})
		for i := 1; i < len(x); i++ {
			if x[i].Num() == x[i-1].Num() {
				return nil, fault.New(fault.InputValidation, "`x` holds %s twice: the curve has no single value there; keep one of the two points", value.FormatNumber(x[i].Num()))
			}
		}
	}
	return checked.Object(), nil
}

// points sorts pairs by x.
type points struct{ x, y []value.Value }

func (p *points) Len() int           { return len(p.x) }
func (p *points) Less(i, j int) bool { return p.x[i].Num() < p.x[j].Num() }
func (p *points) Swap(i, j int) {
	p.x[i], p.x[j] = p.x[j], p.x[i]
	p.y[i], p.y[j] = p.y[j], p.y[i]
}

// curveCheck returns the check of one observation.
func curveCheck() func(row, config *value.Object, index int) error {
	at, duration, input := schema.Union(schema.Text(), schema.Date()), schema.Number(), schema.Union(schema.AtLeast(0), schema.Enum("off"))
	atPath, durationPath := []string{timestampKey}, []string{durationKey}
	return func(row, config *value.Object, index int) error {
		v := config.Get("input-parameter") // a name, or the value of arithmetic
		in := "input-parameter"
		if v.IsString() {
			in = v.Str()
			v = row.Get(in)
		}
		_, issues := at.Parse(row.Get(timestampKey), atPath)
		if _, more := duration.Parse(row.Get(durationKey), durationPath); more != nil {
			issues = append(issues, more...)
		}
		if !v.IsNumber() || !(v.Num() >= 0) {
			_, more := input.Parse(v, []string{in})
			issues = append(issues, more...)
		}
		x := config.Get("x").Items()
		if !slices.ContainsFunc(issues, schema.Issue.OfWrongType) && v.IsNumber() && (v.Num() < x[0].Num() || v.Num() > x[len(x)-1].Num()) {
			issues = append(issues, schema.Issue{Code: "custom", Text: outOfRange})
		}
		if issues != nil {
			return fault.New(fault.InputValidation, "%s", schema.Message(issues, index))
		}
		return nil
	}
}

const outOfRange = "The target x value must be within the range of the given x values"

func interpolate(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
	at := curveOf(c.Config)
	x := c.Config.Get("x").Items()
	for i, row := range c.Rows {
		config := c.Row(i)
		in, out := config.Get("input-parameter"), config.Get("output-parameter").Str()
		v := in
		if in.IsString() {
			v = row.Get(in.Str())
			if v.IsString() && v.Str() == "off" {
				row.Set(in.Str(), value.Of(0))
				row.Set(out, value.Of(0))
				continue
			}
		}
		t := v.ToNumber()
		if c.Env.Dialect.PairedPoints && !(t >= x[0].Num() && t <= x[len(x)-1].Num()) { // reached by arithmetic in config
			return nil, fault.New(fault.InputValidation, "%s. Observation %d: %s is not within %s and %s",
				outOfRange, i, value.FormatNumber(t), value.FormatNumber(x[0].Num()), value.FormatNumber(x[len(x)-1].Num()))
		}
		w, err := c.Finite(i, out, at(t))
		if err != nil {
			return nil, err
		}
		row.Set(out, w)
	}
	return c.Rows, nil
}

// curveOf returns the function that a checked configuration describes.
func curveOf(config *value.Object) func(float64) float64 {
	x, y := numbers(config.Get("x")), numbers(config.Get("y"))
	switch config.Get("method").Str() {
	case "spline":
		return newSpline(x, y).at
	case "polynomial":
		return func(t float64) float64 { return lagrange(x, y, t) }
	}
	return func(t float64) float64 { return piecewise(x, y, t) }
}

func numbers(list value.Value) []float64 {
	out := make([]float64, len(list.Items()))
	for i, v := range list.Items() {
		out[i] = v.Num()
	}
	return out
}

// piecewise returns the value at t of straight lines through points sorted by
// x; 0 outside them. At a point it is exactly the point's.
func piecewise(x, y []float64, t float64) float64 {
	i := sort.Search(len(x), func(i int) bool { return x[i] > t }) - 1 // the last point at or before t
	switch {
	case i < 0 || i == len(x)-1 && x[i] != t:
		return 0
	case x[i] == t:
		return y[i]
	}
	slope := (y[i+1] - y[i]) / (x[i+1] - x[i])
	return y[i] + float64(slope*(t-x[i]))
}

// lagrange returns the value at t of the polynomial through the points, by
// Lagrange's formula: Σ yᵢ Π (t−xⱼ)/(xᵢ−xⱼ).
func lagrange(x, y []float64, t float64) float64 {
	sum := 0.0
	for i := range x {
		p := 1.0
		for j := range x {
			if j != i {
				p = float64(p*(t-x[j])) / (x[i] - x[j])
			}
		}
		sum += float64(y[i] * p)
	}
	return sum
}

// spline is the natural cubic spline in the form that keeps the slopes at the
// points (https://en.wikipedia.org/wiki/Spline_interpolation), solved in the
// order of operations of the npm package cubic-spline.
type spline struct{ x, y, slopes []float64 }

func newSpline(x, y []float64) *spline {
	n := len(x) - 1
	a := make([][]float64, n+1)
	for i := range a {
		a[i] = make([]float64, n+2)
	}
	third := func(i int) float64 { // 3 Δy/Δx², at the interval that ends in point i
		return float64(3*(y[i]-y[i-1])) / float64((x[i]-x[i-1])*(x[i]-x[i-1]))
	}
	for i := 1; i < n; i++ {
		a[i][i-1] = 1 / (x[i] - x[i-1])
		a[i][i] = 2 * (1/(x[i]-x[i-1]) + 1/(x[i+1]-x[i]))
		a[i][i+1] = 1 / (x[i+1] - x[i])
		a[i][n+1] = 3 * ((y[i]-y[i-1])/float64((x[i]-x[i-1])*(x[i]-x[i-1])) + (y[i+1]-y[i])/float64((x[i+1]-x[i])*(x[i+1]-x[i])))
	}
	a[0][0] = 2 / (x[1] - x[0])
	a[0][1] = 1 / (x[1] - x[0])
	a[0][n+1] = third(1)
	a[n][n-1] = 1 / (x[n] - x[n-1])
	a[n][n] = 2 / (x[n] - x[n-1])
	a[n][n+1] = third(n)
	return &spline{x, y, eliminate(a)}
}

// eliminate solves a system by Gaussian elimination with the largest element of
// a column as its pivot. Rows end with the right-hand side.
func eliminate(a [][]float64) []float64 {
	m := len(a)
	finite := true // then rows that begin with 0 need no step: 0 times anything is 0
	for _, row := range a {
		for _, v := range row {
			finite = finite && !math.IsNaN(v) && !math.IsInf(v, 0)
		}
	}
	for h, k := 0, 0; h < m && k <= m; k++ {
		best, largest := 0, math.Inf(-1)
		for i := h; i < m; i++ {
			if v := math.Abs(a[i][k]); v > largest {
				best, largest = i, v
			}
		}
		if a[best][k] == 0 {
			continue
		}
		a[h], a[best] = a[best], a[h]
		for i := h + 1; i < m; i++ {
			f := a[i][k] / a[h][k]
			if f == 0 && finite {
				continue
			}
			a[i][k] = 0
			for j := k + 1; j <= m; j++ {
				a[i][j] -= float64(a[h][j] * f)
			}
		}
		h++
	}
	out := make([]float64, m)
	for i := m - 1; i >= 0; i-- {
		v := 0.0
		if p := a[i][i]; p != 0 && p == p {
			v = a[i][m] / p
		}
		out[i] = v
		for j := i - 1; j >= 0; j-- {
			a[j][m] -= float64(a[j][i] * v)
			a[j][i] = 0
		}
	}
	return out
}

func (s *spline) at(t float64) float64 {
	i := sort.Search(len(s.x), func(i int) bool { return s.x[i] >= t })
	i = min(max(i, 1), len(s.x)-1)
	dx, dy := s.x[i]-s.x[i-1], s.y[i]-s.y[i-1]
	u := (t - s.x[i-1]) / dx
	a := float64(s.slopes[i-1]*dx) - dy
	b := float64(-s.slopes[i]*dx) + dy
	return float64((1-u)*s.y[i-1]) + float64(u*s.y[i]) + float64(float64(u*(1-u))*(float64(a*(1-u))+float64(b*u)))
}
