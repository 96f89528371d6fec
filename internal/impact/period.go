package impact

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// periodKey is where a node keeps its period in the output.
const periodKey = "sci-period"

// account is what the rows of a component say about carbon and functional units.
type account struct {
	carbon, operational, embodied, energy float64 // NaN where some row with carbon does not tell
	rows                                  int     // with carbon
	start, end                            float64 // milliseconds since 1970
	unit                                  string  // the parameter that R is read from, "" if no Sci plugin ran
	units                                 []units // by time
	why                                   string  // why there is no score
	told                                  bool    // why has been said at a component below
}

// units is R of one time slot, counted once however many components saw it.
type units struct {
	span
	r float64
}

// periods gives every node from the leaves up the SCI of its whole window by
// ISO/IEC 21031: the sum of carbon over the functional units of the same time.
func (r *run) periods(root *node) {
	accounts := map[*node]*account{}
	root.each(func(n *node) {
		if n.component.Err != nil || r.skipped(n) {
			return
		}
		var a *account
		if n.grouping {
			a = r.groupAccount(n, accounts)
		} else {
			a = r.leafAccount(n)
		}
		for _, c := range n.children {
			delete(accounts, c)
		}
		if a == nil {
			return
		}
		accounts[n] = a
		if a.unit == "" {
			return
		}
		r.score(n, a)
	})
}

// score turns an account into the period of n.
func (r *run) score(n *node, a *account) {
	total := r.totalUnits(a)
	switch {
	case a.why != "":
	case a.rows == 0:
		a.why = "no row has carbon"
	case !(total > 0) || math.IsInf(total, 0):
		a.why = fmt.Sprintf("%s is %s over the whole period", a.unit, value.FormatNumber(total))
	}
	switch {
	case a.why == "":
	case a.told:
		return
	case len(n.path) > 0:
		r.warn(n, "no SCI of the period, here and above: %s", a.why)
		return
	default:
		r.warn(n, "no SCI of the period: %s", a.why)
		return
	}
	p := &plugin.Period{
		Start: value.At(a.start).Time(), Duration: (a.end - a.start) / 1000,
		Carbon: a.carbon, Operational: a.operational, Embodied: a.embodied, Energy: a.energy,
		FunctionalUnit: a.unit, Units: total, SCI: a.carbon / total,
	}
	n.component.Period = p
	o := value.NewObject(9)
	o.Set("start", value.At(a.start))
	for _, f := range []struct {
		name string
		v    float64
	}{{"duration", p.Duration}, {"carbon", p.Carbon}, {"carbon-operational", p.Operational}, {"carbon-embodied", p.Embodied}, {"energy", p.Energy}} {
		if f.v == f.v {
			o.Set(f.name, value.Of(f.v))
		}
	}
	o.Set("functional-unit", value.Text(p.FunctionalUnit))
	o.Set("units", value.Of(p.Units))
	o.Set("sci", value.Of(p.SCI))
	n.out.Set(periodKey, o.Value())
}

// totalUnits folds R over time: added up, unless the manifest says that R is a
// level (avg, weighted by duration) or a constant (copy).
func (r *run) totalUnits(a *account) float64 {
	method := plugin.Sum
	if p, ok := r.declared(a.unit); ok {
		method = p.Time
	}
	sum, weighted, duration := 0.0, 0.0, 0.0
	for _, u := range a.units {
		sum += u.r
		weighted += float64(u.r * (u.end - u.start))
		duration += u.end - u.start
	}
	switch {
	case method == plugin.Copy && len(a.units) > 0:
		return a.units[len(a.units)-1].r
	case method == plugin.Avg && duration > 0:
		return weighted / duration
	}
	return sum
}

// declared returns what the manifest's own parameter-metadata say about a name.
func (r *run) declared(name string) (plugin.Parameter, bool) {
	return r.known[name], r.declares[name]
}

// mapped returns the manifest's name of a plugin's parameter.
func (in *instance) mapped(name string) string {
	if m := in.d.Mapping.Get(name); m.IsString() {
		return m.Str()
	}
	return name
}

// leafAccount adds up the rows of a leaf; nil if it has none.
func (r *run) leafAccount(n *node) *account {
	rows := n.component.Rows
	if len(rows) == 0 {
		return nil
	}
	a := &account{start: math.Inf(1), end: math.Inf(-1)}
	carbon := value.Field{Name: "carbon"}
	for _, in := range r.pipeline(n) {
		if in.method.Name == "Sci" {
			if unit := in.mapped(in.d.Config.Get("functional-unit").Str()); a.unit != "" && unit != a.unit {
				r.warn(n, "scores are per %s and per %s: the SCI of the period is per %[2]s, the last", a.unit, unit)
			}
			a.unit, carbon.Name = in.mapped(in.d.Config.Get("functional-unit").Str()), in.mapped("carbon")
		}
	}
	if strings.HasPrefix(a.unit, "=") {
		a.why = "the functional unit is an expression: compute it in a parameter of its own and name that"
	}
	operational, embodied := fields("carbon-operational", "operational-carbon"), fields("carbon-embodied", "embodied-carbon")
	energy := fields("energy") // kWh
	unit := value.Field{Name: a.unit}
	for i, row := range rows {
		c := carbon.Get(row)
		if c.Kind() == value.Undefined && a.unit == "" {
			continue
		}
		s, err := spanOf(row)
		switch {
		case err != nil:
			a.fail("row %d: %v", i, err)
			continue
		case !c.IsNumber() || math.IsNaN(c.Num()) || math.IsInf(c.Num(), 0):
			a.fail("%s of row %d is %s", carbon.Name, i, c)
			continue
		}
		a.rows++
		a.carbon += c.Num()
		a.operational += first(operational, row)
		a.embodied += first(embodied, row)
		a.energy += first(energy, row)
		a.start, a.end = min(a.start, s.start), max(a.end, s.end)
		if a.unit == "" || a.why != "" {
			continue
		}
		u := unit.Get(row)
		if !u.IsNumber() || !(u.Num() >= 0) {
			a.fail("%s of row %d is %s", a.unit, i, u)
			continue
		}
		a.units = append(a.units, units{s, u.Num()})
	}
	if a.unit != "" {
		r.settle(a)
	}
	return a
}

// groupAccount adds up the accounts of n's children; nil if there are none.
func (r *run) groupAccount(n *node, accounts map[*node]*account) *account {
	a := &account{start: math.Inf(1), end: math.Inf(-1)}
	size := 0
	for _, c := range n.children {
		if b := accounts[c]; b != nil {
			size += len(b.units)
		}
	}
	a.units = make([]units, 0, size)
	found := false
	var without []string // components that have rows, but no carbon
	for _, c := range n.children {
		b := accounts[c]
		if b == nil {
			continue
		}
		found = true
		if b.rows == 0 && b.unit == "" && b.why == "" {
			without = append(without, where(c.path))
			continue
		}
		a.rows += b.rows
		a.carbon += b.carbon
		a.operational += b.operational
		a.embodied += b.embodied
		a.energy += b.energy
		a.start, a.end = min(a.start, b.start), max(a.end, b.end)
		switch {
		case b.unit == "":
		case a.unit == "" || a.unit == b.unit:
			a.unit = b.unit
		default:
			a.fail("components count different functional units, %s and %s", a.unit, b.unit)
		}
		switch {
		case b.why == "" || a.why != "":
		case b.unit != "": // it has no score for that reason
			a.why, a.told = b.why, true
		default:
			a.fail("%s: %s", where(c.path), b.why)
		}
		a.units = append(a.units, b.units...)
	}
	if !found {
		return nil
	}
	if len(without) > 0 && a.unit != "" {
		r.warn(n, "the SCI of the period leaves out what has no carbon in its outputs: %s", listed(without))
	}
	r.settle(a)
	return a
}

// listed joins names for a message, a few of many.
func listed(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// settle orders R by time and counts every slot once. Slots that several
// components saw must agree, unless the manifest says that each component has
// functional units of its own, which add up.
func (r *run) settle(a *account) {
	slices.SortStableFunc(a.units, func(x, y units) int { return cmp.Compare(x.start, y.start) })
	p, ok := r.declared(a.unit)
	own := ok && p.Component == plugin.Sum
	out := a.units[:0]
	for _, u := range a.units {
		if len(out) == 0 || u.start >= out[len(out)-1].end && u.start > out[len(out)-1].start {
			out = append(out, u)
			continue
		}
		last := &out[len(out)-1]
		switch {
		case u.span != last.span:
			a.fail("times overlap at %s without being the same: run TimeSync first", value.At(u.start).ISO())
		case own:
			last.r += u.r
		case math.Abs(u.r-last.r) > 1e-9*math.Abs(last.r):
			a.fail("components have different %s at %s (%s and %s): if each counts its own, give %s parameter-metadata with aggregation-method component: sum", a.unit, value.At(u.start).ISO(), value.FormatNumber(last.r), value.FormatNumber(u.r), a.unit)
		}
	}
	a.units = out
}

func (a *account) fail(format string, args ...any) {
	if a.why == "" {
		a.why = fmt.Sprintf(format, args...)
	}
}

func fields(names ...string) []value.Field {
	out := make([]value.Field, len(names))
	for i, name := range names {
		out[i].Name = name
	}
	return out
}

// first returns the first of fields that is a number in row, NaN if none is.
func first(fields []value.Field, row *value.Object) float64 {
	for i := range fields {
		if v := fields[i].Get(row); v.IsNumber() {
			return v.Num()
		}
	}
	return math.NaN()
}

// pipeline returns the known plugins of n's pipeline in the order of their runs.
func (r *run) pipeline(n *node) []*instance {
	var out []*instance
	p := n.inherited.pipeline.Object()
	for _, phase := range [...]string{"observe", "compute"} {
		for _, name := range p.Get(phase).Items() {
			if in := r.plugins[name.String()]; in != nil {
				out = append(out, in)
			}
		}
	}
	return out
}
