package tui

import (
	"time"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// tally keeps what the figures of a period are worked out from: the newest
// snapshot, where the counters stood when top began, and the last ticks.
type tally struct {
	last *snapshot.Snapshot
	from time.Time // when the first tick that was shown began
	base map[ident]standing
	node [energy.Components]standings
	co2e [snapshot.Phases]unit.Mass
	cost unit.Money

	machine trend
	trends  map[ident]*ring
	tick    uint32 // how many ticks there were

	// Of the newest snapshot, on demand.
	indexed    *snapshot.Snapshot
	inPod      map[string][]int // containers by the UID of their pod
	inside     map[ident][]int  // processes by what pays for them
	containers map[string]*workload.Owner
}

// standing is where the counters of something stood.
type standing struct {
	energy unit.Energy
	cpu    time.Duration
	co2e   unit.Mass
}

type standings struct{ energy, low, high unit.Energy }

// take makes s the newest snapshot. It returns whether an agent that was shown
// before has been started anew.
func (t *tally) take(s *snapshot.Snapshot) (anew bool) {
	anew = t.last != nil && !t.last.Start.Equal(s.Start)
	if t.last == nil || anew {
		t.begin(s)
	}
	t.last = s
	t.record(s)
	return anew
}

// begin counts from where the counters stood before the tick of s.
func (t *tally) begin(s *snapshot.Snapshot) {
	*t = tally{from: s.Time.Add(-s.Elapsed), base: map[ident]standing{}, trends: map[ident]*ring{}}
	each(s, func(id ident, a *amounts) {
		before := standing{sum(&a.total) - sum(&a.delta), a.cpuTotal - a.cpuDelta, a.co2eTotal - a.co2eDelta}
		if before != (standing{}) {
			t.base[id] = before
		}
	})
	for c, m := range nodes(s) {
		t.node[c] = standings{m.total - m.energy, m.lowTotal - m.low, m.highTotal - m.high}
	}
	for p := range t.co2e {
		t.co2e[p] = s.Footprint.CO2e[p] - s.FootprintDelta.CO2e[p]
	}
	t.cost = s.Footprint.Cost - s.FootprintDelta.Cost
}

// record adds the tick to the trends.
func (t *tally) record(s *snapshot.Snapshot) {
	if s.Elapsed <= 0 {
		return
	}
	t.tick++
	var machine unit.Energy
	known := false
	for _, c := range nodes(s) {
		if c.present {
			machine, known = machine+c.energy, true
		}
	}
	if known {
		t.machine.push(point{machine.Over(s.Elapsed).Watts(), s.Elapsed})
	}
	each(s, func(id ident, a *amounts) {
		e := sum(&a.delta)
		if e <= 0 {
			return
		}
		r := t.trends[id]
		if r == nil {
			r = &ring{}
			t.trends[id] = r
		}
		r.push(t.tick, float32(e.Over(s.Elapsed).Watts()))
	})
	for id, r := range t.trends {
		if t.tick-r.tick >= ringSize {
			delete(t.trends, id)
		}
	}
}

// index sorts containers and processes by what they are in.
func (t *tally) index() {
	s := t.last
	if t.indexed == s {
		return
	}
	t.indexed = s
	t.inPod, t.inside, t.containers = map[string][]int{}, map[ident][]int{}, map[string]*workload.Owner{}
	for i := range s.Containers {
		o := s.Containers[i].Owner
		t.containers[o.Container.ID] = o
		if o.Kind == workload.PodOwner {
			t.inPod[o.Pod.UID] = append(t.inPod[o.Pod.UID], i)
		}
	}
	for i := range s.Processes {
		if id, known := payer(&s.Processes[i]); known {
			t.inside[id] = append(t.inside[id], i)
		}
	}
}

// elapsed returns how long a period is.
func (t *tally) elapsed(p Period) time.Duration {
	switch p {
	case SinceTop:
		return t.last.Time.Sub(t.from)
	case SinceAgent:
		return t.last.Time.Sub(t.last.Start)
	default:
		return t.last.Elapsed
	}
}

// row returns the figures of one thing.
func (t *tally) row(id ident, a *amounts, p Period) *row {
	r := &row{id: id, hasCO2e: t.last.Site != nil && t.last.Site.Grid.Known}
	before := t.base[id]
	whole := standing{sum(&a.total), a.cpuTotal, a.co2eTotal}
	r.joules = max(whole.energy-before.energy, 0)
	of := &a.total
	switch p {
	case SinceTop:
		r.energy, r.cpu, r.co2e = r.joules, max(whole.cpu-before.cpu, 0), max(whole.co2e-before.co2e, 0)
	case SinceAgent:
		r.energy, r.cpu, r.co2e, r.joules = whole.energy, whole.cpu, whole.co2e, whole.energy
	default:
		of = &a.delta
		r.energy, r.cpu, r.co2e = sum(of), a.cpuDelta, a.co2eDelta
	}
	for i := range t.last.Nodes {
		n := &t.last.Nodes[i]
		counts := n.Present || p != LastTick
		if counts && of[n.Component] != 0 {
			r.quality = max(r.quality, n.Quality)
		}
	}
	return r
}

// component is what one component of the machine used.
type component struct {
	present             bool
	banded              bool
	quality             energy.Quality
	energy, low, high   unit.Energy // in the tick, or the period
	total               unit.Energy
	lowTotal, highTotal unit.Energy
}

// nodes returns the components of the machine in the tick of s.
func nodes(s *snapshot.Snapshot) (list [energy.Components]component) {
	for i := range s.Nodes {
		n := &s.Nodes[i]
		c := &list[n.Component]
		if n.Present {
			c.present = true
			c.quality = max(c.quality, n.Quality)
			c.energy += n.Delta[energy.Dynamic] + n.Delta[energy.Idle]
		}
		c.total += n.Total[energy.Dynamic] + n.Total[energy.Idle]
	}
	for i := range list {
		c := &list[i]
		c.low, c.high, c.lowTotal, c.highTotal = c.energy, c.energy, c.total, c.total
	}
	for i := range s.Bands {
		b := &s.Bands[i]
		c := &list[b.Component]
		c.lowTotal, c.highTotal = b.LowTotal, b.HighTotal
		if b.Present {
			c.low, c.high, c.banded = b.LowDelta, b.HighDelta, true
		}
	}
	return list
}

// whole is what the machine used in a period.
type whole struct {
	elapsed           time.Duration
	known             bool
	components        [energy.Components]component
	energy, low, high unit.Energy
	banded            bool
	quality           energy.Quality // the worst
	system            [workload.SystemAccounts]unit.Energy
	co2e              [snapshot.Phases]unit.Mass
	cost              unit.Money
	joules            unit.Energy // since top or the agent started
}

// of returns what the machine used in a period.
func (t *tally) of(p Period) whole {
	s := t.last
	w := whole{elapsed: t.elapsed(p), components: nodes(s)}
	for i := range w.components {
		c := &w.components[i]
		top := c.total - t.node[i].energy
		w.joules += top
		switch p {
		case SinceTop:
			c.energy, c.low, c.high = top, c.lowTotal-t.node[i].low, c.highTotal-t.node[i].high
		case SinceAgent:
			c.energy, c.low, c.high = c.total, c.lowTotal, c.highTotal
			w.joules += c.total - top
		default:
		}
		if p != LastTick {
			c.ever(s, energy.Component(i))
		}
		if !c.present {
			continue
		}
		w.known = true
		w.banded = w.banded || c.banded
		w.quality = max(w.quality, c.quality)
		w.energy, w.low, w.high = w.energy+c.energy, w.low+c.low, w.high+c.high
	}
	for i := range s.System {
		a := &s.System[i]
		w.system[i] = t.row(systemIdent(i), ofLedger(&a.Total, &a.Delta, &a.Footprint, &a.FootprintDelta), p).energy
	}
	switch p {
	case SinceTop:
		for i := range w.co2e {
			w.co2e[i] = s.Footprint.CO2e[i] - t.co2e[i]
		}
		w.cost = s.Footprint.Cost - t.cost
	case SinceAgent:
		w.co2e, w.cost = s.Footprint.CO2e, s.Footprint.Cost
	default:
		w.co2e, w.cost = s.FootprintDelta.CO2e, s.FootprintDelta.Cost
	}
	return w
}

// ever makes c what was known of the component at any time.
func (c *component) ever(s *snapshot.Snapshot, which energy.Component) {
	c.present, c.banded = false, c.low != c.energy || c.high != c.energy
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Component == which {
			c.present = true
			c.quality = max(c.quality, n.Quality)
		}
	}
}

// ringSize is how many ticks the trend of a row has.
const ringSize = 16

// ring is the power of a row in the last ticks; those it is not in were 0.
type ring struct {
	tick   uint32 // the newest
	values [ringSize]float32
}

func (r *ring) push(tick uint32, watts float32) {
	for range min(tick-r.tick, ringSize) {
		copy(r.values[:], r.values[1:])
		r.values[ringSize-1] = 0
	}
	r.tick = tick
	r.values[ringSize-1] = watts
}

// last returns the newest n values as of a tick.
func (r *ring) last(tick uint32, n int) []float64 {
	out := make([]float64, n)
	if r == nil {
		return out
	}
	late := int(min(tick-r.tick, ringSize))
	for i := range n {
		if at := ringSize - n + i + late; at >= 0 && at < ringSize {
			out[i] = float64(r.values[at])
		}
	}
	return out
}

// point is the machine's power in one tick.
type point struct {
	watts float64
	long  time.Duration
}

// trendSize is how many ticks the trend of the machine has: five minutes of two seconds.
const trendSize = 150

// trend is the machine's power in the last ticks.
type trend []point

func (t *trend) push(p point) {
	*t = append(*t, p)
	if over := len(*t) - trendSize; over > 0 {
		*t = append((*t)[:0], (*t)[over:]...)
	}
}
