package ndjson

import (
	"noether/internal/export"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

func (l *line) retiredCO2e() {
	if l.emitted == [snapshot.Phases]bool{} {
		return
	}
	l.key("retired_co2e")
	l.open('[')
	for k := range l.s.RetiredCO2e {
		for p, m := range l.s.RetiredCO2e[k] {
			if m == 0 {
				continue
			}
			l.open('{')
			l.word("kind", workload.Kind(k).String())
			l.word("phase", snapshot.Phase(p).String())
			l.decimal("grams", int64(m), 9)
			l.close('}')
		}
	}
	l.close(']')
}

// site writes what was known about electricity and hardware.
func (l *line) site() {
	site := l.s.Site
	if site == nil {
		return
	}
	g, h := &site.Grid, &site.Hardware
	l.key("site")
	l.open('{')
	l.text("grid_zone", g.Zone)
	if g.Known {
		l.decimal("grams_per_kwh", int64(g.Intensity), 6)
		l.text("provider", g.Provider)
		l.text("signal", g.Signal)
		l.text("factor", g.Factor)
		l.truth("estimated", g.Estimated)
		l.time("updated", g.Updated)
	}
	l.decimal("pue", int64(max(site.PUE, unit.One)), 6)
	l.text("pue_source", site.PUEFrom)
	l.text("currency", site.Currency)
	if site.Priced {
		l.decimal("price_per_kwh", int64(site.Price), 9)
	}
	if h.Known() {
		l.decimal("hardware_grams", int64(h.Total()), 9)
		if h.GPU > 0 {
			l.decimal("hardware_gpu_grams", int64(h.GPU), 9)
		}
		l.seconds("hardware_lifetime_seconds", h.Lifetime)
		l.text("hardware_source", h.Source)
		l.truth("hardware_estimated", h.Estimated)
	}
	l.joules("unknown_joules_total", l.s.NoIntensity)
	l.decimal("revision_grams", int64(l.s.Revision), 9)
	l.close('}')
}

// footprint writes what was emitted and, where it is counted, paid: since the
// start and, if there is a figure of it, in this tick.
func (l *line) footprint(total, delta *snapshot.Footprint, present, pays bool) {
	pays = pays && export.Paid(l.s)
	if !pays && l.emitted == [snapshot.Phases]bool{} {
		return
	}
	l.key("footprint")
	l.open('{')
	for p, names := range [snapshot.Phases][2]string{
		snapshot.Operational: {"operational_grams_total", "operational_grams"},
		snapshot.Embodied:    {"embodied_grams_total", "embodied_grams"},
	} {
		if l.emitted[p] {
			l.amounts(names[0], int64(total.CO2e[p]), names[1], int64(delta.CO2e[p]), present)
		}
	}
	if pays {
		l.amounts("cost_total", int64(total.Cost), "cost", int64(delta.Cost), present)
		l.amounts("credit_total", int64(total.Credit), "credit", int64(delta.Credit), present)
	}
	l.close('}')
}

func (l *line) amounts(name string, total int64, deltaName string, delta int64, present bool) {
	l.decimal(name, total, 9)
	if present && l.s.Elapsed > 0 {
		l.decimal(deltaName, delta, 9)
	}
}
