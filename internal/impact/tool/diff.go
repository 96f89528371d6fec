package tool

import (
	"math"
	"slices"
	"strconv"
	"time"

	"noether/internal/impact/value"
)

// Difference is one place where two manifests do not agree.
type Difference struct {
	Path           string // tree.children.shop.outputs.1.sci
	Source, Target string // the values, or "exists" and "missing"
}

// DiffOptions says what counts as equal.
type DiffOptions struct {
	// Reference compares as the Impact Framework's if-diff does: two dates are
	// always equal, NaN is never itself, a date and text differ.
	Reference bool
	// Tolerance is the relative difference up to which two numbers are equal.
	Tolerance float64
	// Limit is the number of differences after which to stop; 0 is no limit.
	Limit int
}

// compared are the parts of a manifest that decide whether two agree. Name,
// description, tags and where it ran are not among them.
func compared(manifest value.Value) value.Value {
	from := manifest.Object()
	out := value.NewObject(6)
	for _, key := range []string{"explainer", "explain", "aggregation"} {
		if v := from.Get(key); !v.IsNullish() {
			out.Set(key, v)
		}
	}
	plugins := value.NewObject(1)
	plugins.Set("plugins", from.Get("initialize").Object().Get("plugins"))
	out.Set("initialize", plugins.Value())
	execution := value.NewObject(2)
	for _, key := range []string{"status", "error"} {
		if v := from.Get("execution").Object().Get(key); v.Kind() != value.Undefined {
			execution.Set(key, v)
		}
	}
	out.Set("execution", execution.Value())
	out.Set("tree", from.Get("tree"))
	return out.Value()
}

// Diff returns where two manifests differ, in the order of the source and then
// of what only the target has. The order of keys does not matter, and a value
// of "*" in either fits every plain value in the other.
func Diff(source, target value.Value, o DiffOptions) []Difference {
	d := differ{o: o}
	d.compare("", compared(source), compared(target))
	return d.found
}

type differ struct {
	o     DiffOptions
	found []Difference
}

func (d *differ) full() bool { return d.o.Limit > 0 && len(d.found) >= d.o.Limit }

func (d *differ) add(path, source, target string) {
	d.found = append(d.found, Difference{path, source, target})
}

func (d *differ) compare(path string, a, b value.Value) {
	if d.full() || d.equal(a, b) {
		return
	}
	if d.composite(a, b) {
		d.members(path, a, b)
		return
	}
	if wild(a) || wild(b) {
		return
	}
	d.add(path, d.show(a, b), d.show(b, a))
}

// composite reports whether a and b are compared key by key. If-diff does so
// as soon as one of them has keys and neither is null, text being a list of characters then.
func (d *differ) composite(a, b value.Value) bool {
	if !d.o.Reference {
		return a.Kind() == b.Kind() && a.Kind() >= value.Array
	}
	return !a.IsNullish() && !b.IsNullish() && (a.Kind() >= value.Date || b.Kind() >= value.Date)
}

func wild(v value.Value) bool { return v.IsString() && v.Str() == "*" }

func (d *differ) equal(a, b value.Value) bool {
	if d.o.Reference {
		return a.Kind() == value.Date && b.Kind() == value.Date || a.Kind() < value.Date && value.Identical(a, b)
	}
	if s, t, ok := instants(a, b); ok {
		return s.Equal(t)
	}
	if a.Kind() != b.Kind() || a.Kind() >= value.Array {
		return false
	}
	return value.Equal(a, b) || a.IsNumber() && near(a.Num(), b.Num(), d.o.Tolerance)
}

// instants returns the times of two values of which one is a date and the other
// a date or the text of one.
func instants(a, b value.Value) (s, t time.Time, ok bool) {
	if a.Kind() != value.Date && b.Kind() != value.Date {
		return s, t, false
	}
	s, ok = instant(a)
	if !ok {
		return s, t, false
	}
	t, ok = instant(b)
	return s, t, ok
}

func instant(v value.Value) (time.Time, bool) {
	if v.Kind() == value.Date {
		return v.Time(), true
	}
	t, err := time.Parse(time.RFC3339Nano, v.Str())
	return t, err == nil
}

func near(a, b, tolerance float64) bool {
	return math.Abs(a-b) <= tolerance*max(math.Abs(a), math.Abs(b))
}

// show prints v, which differs from other. Where one of two is no plain value,
// if-diff prints whether they are there, and takes false for missing.
func (d *differ) show(v, other value.Value) string {
	if d.o.Reference {
		flag := func(v value.Value) bool { return v.Kind() == value.Bool || v.Kind() == value.Undefined }
		switch {
		case !flag(v) && !flag(other), v.Truthy() == other.Truthy() && (!v.IsNullish() || !other.IsNullish()):
			return v.String()
		case v.Truthy():
			return "exists"
		}
		return "missing"
	}
	switch v.Kind() {
	case value.Undefined:
		return "missing"
	case value.Null, value.Bool, value.Number, value.String:
	case value.Date:
		return v.ISO()
	case value.Array, value.Map:
		if other.Kind() == value.Undefined {
			return "exists"
		}
		return map[value.Kind]string{value.Array: "a list", value.Map: "a map"}[v.Kind()]
	}
	return v.String()
}

func (d *differ) members(path string, a, b value.Value) {
	if path != "" {
		path += "."
	}
	keys := keysOf(a)
	for _, k := range keysOf(b) {
		if !has(a, k) {
			keys = append(keys, k)
		}
	}
	for _, k := range keys {
		if d.full() {
			return
		}
		if x, y := member(a, k), member(b, k); x.Kind() != value.Undefined || y.Kind() != value.Undefined {
			d.compare(path+k, x, y)
		}
	}
}

func keysOf(v value.Value) []string {
	if o := v.Object(); o != nil {
		keys := make([]string, 0, o.Len())
		for k := range o.All() {
			keys = append(keys, k)
		}
		return keys
	}
	n := len(v.Items())
	if v.IsString() {
		n = len([]rune(v.Str()))
	}
	keys := make([]string, n)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	return keys
}

func has(v value.Value, key string) bool { return member(v, key).Kind() != value.Undefined }

// member returns what v has under key: of lists and text by position.
func member(v value.Value, key string) value.Value {
	if o := v.Object(); o != nil {
		return o.Get(key)
	}
	i, err := strconv.Atoi(key)
	if err != nil || i < 0 {
		return value.Value{}
	}
	if v.IsString() {
		if r := []rune(v.Str()); i < len(r) {
			return value.Text(string(r[i]))
		}
		return value.Value{}
	}
	if items := v.Items(); i < len(items) {
		return items[i]
	}
	return value.Value{}
}

// Growth is how one metric of one component changed.
type Growth struct {
	Component string // its place in the tree
	Metric    string
	Old, New  float64
	// Ratio is (New − Old) ÷ |Old|; +Inf from nothing to something, NaN where one of them is missing.
	Ratio float64
}

// Growths compares metrics of two output manifests: for each component in the
// order of the target, then those only the source has, its total where
// it has been aggregated and else the sum of its outputs; rates are averaged.
// Components without the metric in either are left out.
func Growths(source, target value.Value, metrics []string) []Growth {
	names, before := totals(source, metrics)
	order, after := totals(target, metrics)
	for _, name := range names {
		if !slices.Contains(order, name) {
			order = append(order, name)
		}
	}
	var out []Growth
	for _, name := range order {
		for i, metric := range metrics {
			a, b := math.NaN(), math.NaN()
			if t, ok := before[name]; ok {
				a = t[i]
			}
			if t, ok := after[name]; ok {
				b = t[i]
			}
			if a != a && b != b {
				continue
			}
			g := Growth{Component: name, Metric: metric, Old: a, New: b, Ratio: (b - a) / math.Abs(a)}
			if a == b {
				g.Ratio = 0
			}
			out = append(out, g)
		}
	}
	return out
}

// totals returns the names of the components in order and their metrics, NaN for those they lack.
func totals(manifest value.Value, metrics []string) (order []string, by map[string][]float64) {
	by = map[string][]float64{}
	for n := range Walk(manifest) {
		list := make([]float64, len(metrics))
		for i, metric := range metrics {
			list[i] = Total(n.Data, metric)
		}
		order = append(order, n.Name())
		by[n.Name()] = list
	}
	return order, by
}

// Total returns one figure for a metric of a node: of its period or aggregated
// block if that has it, else over its outputs: the mean of sci, which is a rate,
// the sum of everything else. NaN if the node lacks the metric.
func Total(node *value.Object, metric string) float64 {
	for _, block := range []string{"sci-period", "aggregated"} {
		if v := node.Get(block).Object().Get(metric); v.IsNumber() {
			return v.Num()
		}
	}
	sum, n := 0.0, 0
	for _, row := range node.Get("outputs").Items() {
		if v := row.Object().Get(metric); v.IsNumber() {
			sum += v.Num()
			n++
		}
	}
	switch {
	case n == 0:
		return math.NaN()
	case metric == "sci":
		return sum / float64(n)
	}
	return sum
}
