package export

import (
	"slices"
	"strconv"
	"time"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// Emitted tells which phases of CO2e are figures: those whose intensity or
// hardware somebody knows or is asked about, or that have counted before.
func Emitted(s *snapshot.Snapshot) (phases [snapshot.Phases]bool) {
	if s == nil || s.Site == nil {
		return phases
	}
	phases[snapshot.Operational] = s.Site.Grid.Zone != "" || s.Site.Grid.Known || s.Footprint.CO2e[snapshot.Operational] != 0
	phases[snapshot.Embodied] = s.Site.Hardware.Known() || s.Footprint.CO2e[snapshot.Embodied] != 0
	return phases
}

// Paid tells whether money is counted.
func Paid(s *snapshot.Snapshot) bool { return s != nil && s.Site != nil && s.Site.Currency != "" }

func (t *Table) grams(m unit.Mass) { t.put(int64(m), 9) }

// co2e emits one sample for each phase, with the labels so far.
func (t *Table) co2e(f *snapshot.Footprint) {
	base := len(t.labels)
	for p, m := range f.CO2e {
		if t.emitted[p] {
			t.labels = t.labels[:base]
			t.plain("phase", snapshot.Phase(p).String())
			t.grams(m)
		}
	}
}

func nodeCO2e(t *Table) {
	if t.s != nil {
		t.begin()
		t.co2e(&t.s.Footprint)
	}
}

func (l *ledger) co2e(t *Table) {
	if t.emitted == [snapshot.Phases]bool{} {
		return
	}
	list := l.list(t.s)
	for i := range list {
		l.begin(t, &list[i])
		t.co2e(&list[i].Footprint)
	}
}

func systemCO2e(t *Table) {
	if t.s == nil {
		return
	}
	for i := range t.s.System {
		f := &t.s.System[i].Footprint
		if i == unreserved && !t.shape.SharesIdle && *f == t.none {
			continue
		}
		t.begin()
		t.plain("account", workload.SystemAccount(i).String())
		t.co2e(f)
	}
}

func retiredCO2e(t *Table) {
	if t.s == nil {
		return
	}
	for k := range t.s.RetiredCO2e {
		if workload.Kind(k) != workload.SystemOwner {
			t.begin()
			t.plain("kind", workload.Kind(k).String())
			t.co2e(&snapshot.Footprint{CO2e: t.s.RetiredCO2e[k]})
		}
	}
}

// views returns the walk of a family of views.
func views(list func(*snapshot.Snapshot) []snapshot.View, figure func(*Table, *snapshot.Footprint)) func(*Table) {
	return func(t *Table) {
		if t.s == nil || t.s.Site == nil {
			return
		}
		rows := list(t.s)
		for i := range rows {
			v := &rows[i]
			t.begin()
			t.text("namespace", v.Namespace)
			t.text("workload_kind", v.WorkloadKind)
			t.text("workload", v.Workload)
			if v.Fresh {
				figure(t, &t.none) // see snapshot.View.Fresh
			} else {
				figure(t, &v.Footprint)
			}
		}
	}
}

func namespaces(s *snapshot.Snapshot) []snapshot.View { return s.Namespaces }
func workloads(s *snapshot.Snapshot) []snapshot.View  { return s.Workloads }

// money emits what was paid or earned, with the labels so far.
func (t *Table) money(m unit.Money) {
	if Paid(t.s) {
		t.text("currency", t.s.Site.Currency)
		t.put(int64(m), 9)
	}
}

func cost(t *Table, f *snapshot.Footprint)   { t.money(f.Cost) }
func credit(t *Table, f *snapshot.Footprint) { t.money(f.Credit) }

// nodeMoney returns the walk of a family of the machine's money.
func nodeMoney(figure func(*Table, *snapshot.Footprint)) func(*Table) {
	return func(t *Table) {
		if Paid(t.s) {
			t.begin()
			figure(t, &t.s.Footprint)
		}
	}
}

// money returns the walk of a family of the accounts' money.
func (l *ledger) money(figure func(*Table, *snapshot.Footprint)) func(*Table) {
	return func(t *Table) {
		if !Paid(t.s) {
			return
		}
		list := l.list(t.s)
		for i := range list {
			l.begin(t, &list[i])
			figure(t, &list[i].Footprint)
		}
	}
}

// facility emits the mean power of e in this tick times the site's PUE.
func (t *Table) facility(e unit.Energy) {
	t.put(int64(e.Over(t.s.Elapsed).Times(max(t.s.Site.PUE, unit.One))), 6)
}

func nodeFacility(t *Table) {
	if t.s == nil || t.s.Site == nil || t.s.Elapsed <= 0 {
		return
	}
	for i := range t.s.Nodes {
		n := &t.s.Nodes[i]
		if !n.Present {
			continue
		}
		for p, e := range n.Delta {
			t.begin()
			t.split(len(t.labels), int(n.Component), p)
			t.facility(e)
		}
	}
}

func (l *ledger) facility(t *Table) {
	if t.s == nil || t.s.Site == nil {
		return
	}
	list := l.list(t.s)
	for i := range list {
		a := &list[i]
		if a.Ended {
			continue
		}
		l.begin(t, a)
		base := len(t.labels)
		for c := range a.Delta {
			for p, e := range a.Delta[c] {
				if t.shape.Present[c] && t.shape.Owner(&a.Total, energy.Component(c), energy.Part(p)) {
					t.split(base, c, p)
					t.facility(e)
				}
			}
		}
	}
}

func (l *ledger) byUse(t *Table) {
	if t.s == nil || !t.emitted[snapshot.Embodied] {
		return
	}
	list := l.list(t.s)
	for i := range list {
		l.begin(t, &list[i])
		t.put(flag(list[i].EmbodiedByUse), 0)
	}
}

func unknownJoules(t *Table) {
	if t.s != nil && t.s.Site != nil {
		t.begin()
		t.joules(t.s.NoIntensity)
	}
}

func revision(t *Table) {
	if t.s != nil && t.emitted[snapshot.Operational] {
		t.begin()
		t.grams(t.s.Revision)
	}
}

// grid starts the labels of what is known about the grid.
func (t *Table) grid() {
	g := &t.s.Site.Grid
	t.begin()
	t.text("grid_zone", g.Zone)
	t.text("provider", g.Provider)
	t.text("signal", g.Signal)
	t.text("factor", g.Factor)
	t.plain("estimated", strconv.FormatBool(g.Estimated))
}

func intensity(t *Table) {
	if t.s != nil && t.s.Site != nil && t.s.Site.Grid.Known {
		t.grid()
		t.put(int64(t.s.Site.Grid.Intensity), 6)
	}
}

func intensityUpdated(t *Table) {
	if t.s != nil && t.s.Site != nil && t.s.Site.Grid.Known && !t.s.Site.Grid.Updated.IsZero() {
		t.grid()
		t.put(t.s.Site.Grid.Updated.UnixNano(), 9)
	}
}

// forecast emits the whole hours of a day, so that the series are always the same.
func forecast(t *Table) {
	if t.s == nil || t.s.Site == nil {
		return
	}
	horizons := [...]string{
		1: "1h", 2: "2h", 3: "3h", 4: "4h", 5: "5h", 6: "6h", 7: "7h", 8: "8h", 9: "9h", 10: "10h", 11: "11h", 12: "12h",
		13: "13h", 14: "14h", 15: "15h", 16: "16h", 17: "17h", 18: "18h", 19: "19h", 20: "20h", 21: "21h", 22: "22h", 23: "23h", 24: "24h",
	}
	var seen [len(horizons)]bool
	for _, f := range t.s.Site.Grid.Forecast {
		h := int(f.Horizon / time.Hour)
		if f.Horizon%time.Hour != 0 || h < 1 || h >= len(horizons) || seen[h] {
			continue
		}
		seen[h] = true
		t.grid()
		t.plain("horizon", horizons[h])
		t.put(int64(f.Intensity), 6)
	}
}

func pue(t *Table) {
	if t.s != nil && t.s.Site != nil {
		t.begin()
		t.text("source", t.s.Site.PUEFrom)
		t.put(int64(max(t.s.Site.PUE, unit.One)), 6)
	}
}

func price(t *Table) {
	if Paid(t.s) && t.s.Site.Priced {
		t.begin()
		t.text("currency", t.s.Site.Currency)
		t.put(int64(t.s.Site.Price), 9)
	}
}

func embodied(t *Table) {
	if t.s == nil || t.s.Site == nil || !t.s.Site.Hardware.Known() {
		return
	}
	h := &t.s.Site.Hardware
	for _, part := range [...]struct {
		name string
		made unit.Mass
	}{{"cpu", h.CPU}, {"memory", h.Memory}, {"gpu", h.GPU}, {"rest", h.Rest}} {
		if part.made == 0 {
			continue // told with the rest, or not there
		}
		t.begin()
		t.plain("part", part.name)
		t.text("source", h.Source)
		t.plain("estimated", strconv.FormatBool(h.Estimated))
		t.grams(part.made)
	}
}

func lifetime(t *Table) {
	if t.s != nil && t.s.Site != nil && t.s.Site.Hardware.Known() {
		t.begin()
		t.seconds(t.s.Site.Hardware.Lifetime)
	}
}

// sources returns the walk of a family that is one figure about each source of
// what is known about the site.
func sources(figure func(*snapshot.SourceStatus) (n int64, places int, known bool)) func(*Table) {
	return func(t *Table) {
		if t.s == nil || t.s.Site == nil {
			return
		}
		for i := range t.s.Site.Sources {
			src := &t.s.Site.Sources[i]
			if slices.ContainsFunc(t.s.Site.Sources[:i], func(s snapshot.SourceStatus) bool { return s.Source == src.Source && s.Zone == src.Zone }) {
				continue // one series each: the first in the chain speaks
			}
			if n, places, known := figure(src); known {
				t.begin()
				t.text("source", src.Source)
				t.text("grid_zone", src.Zone)
				t.put(n, places)
			}
		}
	}
}

func imbalanceGrams(t *Table) {
	if t.s != nil && t.s.Site != nil {
		t.begin()
		t.grams(t.s.Self.ImbalanceCO2e)
	}
}

// siteFamilies returns what is told about the electricity and the hardware.
func siteFamilies() []Family {
	grid := []string{"grid_zone", "provider", "signal", "factor", "estimated"}
	source := []string{"source", "grid_zone"}
	return []Family{
		{Name: "noether_node_co2e_unknown_joules_total", Help: "Energy used while nobody knew the carbon intensity of the grid; it is in no figure of operational CO2e.", Type: Counter, Unit: "joules", walk: unknownJoules},
		{Name: "noether_node_co2e_revision_grams", Help: "By how much the operational CO2e counted since the start would be other if what the provider says by now about the last 48 hours had been known at the time; what is older stays as it was told last.", Unit: "grams", walk: revision},
		{Name: "noether_grid_carbon_intensity_grams_per_kwh", Help: "CO2e of a kilowatt-hour from the grid in the last tick.", Unit: "grams_per_kwh", Labels: grid, walk: intensity},
		{Name: "noether_grid_carbon_intensity_updated_timestamp_seconds", Help: "When the carbon intensity was fetched, in seconds since 1970; absent for what is built in.", Unit: "seconds", Labels: grid, walk: intensityUpdated},
		{Name: "noether_grid_forecast_grams_per_kwh", Help: "CO2e that a kilowatt-hour from the grid is expected to have in so many hours.", Unit: "grams_per_kwh", Labels: append(slices.Clip(grid), "horizon"), walk: forecast},
		{Name: "noether_pue_ratio", Help: "Power usage effectiveness of the site: its energy for each unit of energy of its machines.", Unit: "ratio", Labels: []string{"source"}, walk: pue},
		{Name: "noether_energy_price_per_kwh", Help: "Price of a kilowatt-hour in the last tick; it may be negative.", Labels: []string{"currency"}, walk: price},
		{Name: "noether_node_embodied_grams", Help: "CO2e that making the machine caused, by part; what cannot be told apart is rest.", Unit: "grams", Labels: []string{"part", "source", "estimated"}, walk: embodied},
		{Name: "noether_node_embodied_lifetime_seconds", Help: "Time over which the CO2e of making the machine is spread evenly.", Unit: "seconds", walk: lifetime},
		{Name: "noether_site_source_up", Help: "1 if the last answer of each source of intensity, price or PUE was one, else 0.", Labels: source, walk: sources(func(s *snapshot.SourceStatus) (int64, int, bool) { return flag(s.Up), 0, true })},
		{Name: "noether_site_source_requests_total", Help: "Requests sent to each source of intensity, price or PUE.", Type: Counter, Labels: source, walk: sources(func(s *snapshot.SourceStatus) (int64, int, bool) { return int64(s.Requests), 0, true })},
		{Name: "noether_site_source_failures_total", Help: "Requests to each source of intensity, price or PUE that had no answer of use.", Type: Counter, Labels: source, walk: sources(func(s *snapshot.SourceStatus) (int64, int, bool) { return int64(s.Failures), 0, true })},
		{Name: "noether_site_source_last_success_timestamp_seconds", Help: "When each source of intensity, price or PUE last had an answer of use, in seconds since 1970; absent before the first time.", Unit: "seconds", Labels: source, walk: sources(func(s *snapshot.SourceStatus) (int64, int, bool) { return s.Success.UnixNano(), 9, !s.Success.IsZero() })},
	}
}
