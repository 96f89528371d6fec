package energy

import "noether/internal/unit"

// Composer turns the energy of zones, which overlap, into the energy of
// components, which do not. It is made once for the zones of all sensors. One
// goroutine uses it at a time; nothing is allocated after NewComposer but what
// Compose has to append to dst.
type Composer struct {
	zones  []Zone
	groups []group     // the zones that are booked, by component
	meters []meterZone // the platform meters that count, if any

	// debt is how much more the components have been booked than the platform
	// meter has seen. Meters lag each other; the meter pays it back in the
	// ticks that follow.
	debt unit.Energy
}

// group is the zones of one domain and socket: one, or one for each die.
type group struct {
	component Component
	domain    Domain
	socket    int
	zones     []int // into Composer.zones
	dies      DieRule
	same      verdict // if dies is DiesUnknown: they repeat one counter

	energy   unit.Energy // of this tick
	complete bool        // in this tick
}

// meterZone is a meter of the whole platform.
type meterZone struct {
	zone   int
	counts verdict
	// within has the groups that the meter has to exceed to be believed: the
	// packages of its socket. It is nil when the meter is believed anyway.
	within []int
}

// verdict is a belief that holds until three ticks in a row speak against it.
type verdict struct {
	holds   bool
	against int8
}

const persuaded = 3

func (v *verdict) hear(evidence bool) {
	if evidence == v.holds {
		v.against = 0
		return
	}
	if v.against++; v.against >= persuaded {
		*v = verdict{holds: evidence}
	}
}

// NewComposer sorts out which of the zones are booked: for the CPU and the
// memory those of the first sensor that has any, all discrete GPUs, and of the
// platform meters those of the first sensor with a BMC, else psys. The zones
// must not change afterwards.
func NewComposer(zones []Zone) *Composer {
	c := &Composer{zones: zones}
	var owner [Components]string
	for i := range zones {
		z := &zones[i]
		comp, booked := z.Domain.Component()
		if !booked {
			continue
		}
		if owner[comp] == "" {
			owner[comp] = z.Sensor
		}
		if comp == GPU {
			c.groups = append(c.groups, group{component: comp, domain: z.Domain, socket: z.Socket, zones: []int{i}})
			continue
		}
		if owner[comp] == z.Sensor {
			c.join(i, comp)
		}
	}
	c.chooseMeters()
	return c
}

// join adds zone i to the group of its domain and socket.
func (c *Composer) join(i int, comp Component) {
	z := &c.zones[i]
	for j := range c.groups {
		g := &c.groups[j]
		if g.component == comp && g.domain == z.Domain && g.socket == z.Socket {
			g.zones = append(g.zones, i)
			return
		}
	}
	c.groups = append(c.groups, group{
		component: comp, domain: z.Domain, socket: z.Socket,
		zones: []int{i}, dies: z.Dies,
		// Until the dies have shown what they are, they are one: an energy
		// that is missing for three ticks is better than one counted twice.
		same: verdict{holds: true},
	})
}

func (c *Composer) chooseMeters() {
	for _, domain := range []Domain{Platform, Psys} {
		sensor := ""
		for i := range c.zones {
			z := &c.zones[i]
			if z.Domain != domain || sensor != "" && z.Sensor != sensor {
				continue
			}
			sensor = z.Sensor
			c.meters = append(c.meters, meterZone{zone: i, counts: verdict{holds: true}})
		}
		if len(c.meters) > 0 {
			break
		}
	}
	if len(c.meters) < 2 || c.zones[c.meters[0].zone].Domain != Psys {
		return
	}
	// The kernel registers one psys for each package, but a board may have
	// wired only some of them.
	for i := range c.meters {
		m := &c.meters[i]
		socket := max(c.zones[m.zone].Socket, 0) // the first has no number
		for j := range c.groups {
			if g := &c.groups[j]; g.component == CPU && g.socket == socket {
				m.within = append(m.within, j)
			}
		}
		m.counts = verdict{against: persuaded - 1} // the first tick decides
	}
}

// Metered tells whether a meter of the whole machine counts at present: what
// the components leave of it is Other.
func (c *Composer) Metered() bool {
	for i := range c.meters {
		if c.meters[i].counts.holds {
			return true
		}
	}
	return false
}

// WholeServer tells whether the energy of the CPU is an estimate that has the
// rest of the server in it.
func (c *Composer) WholeServer() bool {
	for i := range c.groups {
		if c.groups[i].domain == ModelCPU {
			return true
		}
	}
	return false
}

// Compose appends the energy of each component that has a datum in this tick
// to dst. deltas has one entry for each zone.
//
// What the platform meters saw beyond the components is Other, in the ticks in
// which all of them were read from beginning to end. In other ticks the meters
// have no say, and neither has their energy: it may be that of a zone that
// could not be read. A difference below zero is no datum but a debt, which the
// ticks that follow pay back. A debt that meters cannot explain by their lag
// was made by estimates, and these are held to what the meters saw.
func (c *Composer) Compose(dst []Amount, deltas []ZoneDelta) []Amount {
	first := len(dst)
	contained := Amount{Component: Other}
	complete := true
	for comp := range Other {
		sum, valid := Amount{Component: comp, HasFloor: true}, false
		for i := range c.groups {
			g := &c.groups[i]
			if g.component != comp {
				continue
			}
			valid = g.add(&sum, c.zones, deltas) || valid
			complete = complete && g.complete
		}
		if !valid {
			continue
		}
		if !sum.HasBand {
			contained.Low += sum.Energy
			contained.High += sum.Energy
			sum.Low, sum.High = 0, 0
		} else {
			contained.Low += sum.Low
			contained.High += sum.High
		}
		if !sum.HasFloor {
			sum.Floor = 0
		}
		contained.Energy += sum.Energy
		contained.HasBand = contained.HasBand || sum.HasBand
		contained.Quality = max(contained.Quality, sum.Quality)
		dst = append(dst, sum)
	}
	if other, ok := c.rest(dst[first:], contained, complete, deltas); ok {
		dst = append(dst, other)
	}
	return dst
}

// rest returns what the platform meters saw beyond the components, which it
// may hold to that.
func (c *Composer) rest(components []Amount, contained Amount, complete bool, deltas []ZoneDelta) (Amount, bool) {
	seen, counting := Amount{Component: Other}, false
	for i := range c.meters {
		m := &c.meters[i]
		d := &deltas[m.zone]
		if m.within != nil && d.Complete {
			c.judge(m, d.Energy)
		}
		if !m.counts.holds {
			continue
		}
		counting = true
		complete = complete && d.Complete
		z := &c.zones[m.zone]
		seen.Energy += d.Energy
		seen.Quality = max(seen.Quality, z.Quality)
		seen.addBand(z, d)
	}
	if !counting || !complete {
		return Amount{}, false
	}
	left := seen.Energy - contained.Energy - c.debt
	if left < 0 {
		c.debt = -left
		c.hold(components, contained.Energy, seen)
		return Amount{}, false
	}
	other := Amount{Component: Other, Quality: max(seen.Quality, contained.Quality), Energy: left}
	if contained.HasBand || seen.HasBand {
		other.HasBand = true
		other.Low = min(max(seen.Low-contained.High-c.debt, 0), left)
		other.High = max(seen.High-contained.Low-c.debt, left)
	}
	c.debt = 0
	return other, true
}

// lag is by how many ticks' energy of the components the platform meters may
// be late before what they saw is the truth: a minute of ticks of 5 s.
const lag = 12

// hold takes from estimated components what a measured platform denies them in
// this tick, once the debt is more than a lag. Without it an estimate that is
// always too high would be booked as if nobody had measured, and the debt
// would never end.
func (c *Composer) hold(components []Amount, contained unit.Energy, seen Amount) {
	excess := min(c.debt-lag*contained, contained-seen.Energy)
	if excess <= 0 || seen.Quality == Estimated {
		return
	}
	var estimated unit.Energy
	for i := range components {
		if components[i].Quality == Estimated {
			estimated += components[i].Energy
		}
	}
	excess = min(excess, estimated)
	c.debt -= excess
	kept := estimated - excess // which bounds each of them, too
	for i := range components {
		a := &components[i]
		if a.Quality != Estimated || a.Energy == 0 {
			continue
		}
		share := unit.Energy(unit.MulDiv(uint64(a.Energy), uint64(excess), uint64(estimated)))
		estimated, excess = estimated-a.Energy, excess-share
		left := a.Energy - share
		a.Floor = unit.Energy(unit.MulDiv(uint64(a.Floor), uint64(left), uint64(a.Energy)))
		a.Energy = left
		if a.HasBand {
			a.Low, a.High = min(a.Low, left), max(left, min(a.High, kept))
		}
	}
}

// judge asks whether a psys zone saw at least what its own package did.
func (c *Composer) judge(m *meterZone, seen unit.Energy) {
	var packages unit.Energy
	for _, j := range m.within {
		if !c.groups[j].complete {
			return
		}
		packages += c.groups[j].energy
	}
	if seen > 0 || packages > 0 {
		m.counts.hear(seen >= packages)
	}
}

// add adds the group's energy in this tick to sum, and returns whether there was any datum.
func (g *group) add(sum *Amount, zones []Zone, deltas []ZoneDelta) bool {
	g.energy, g.complete = 0, false
	if len(g.zones) > 1 && (g.dies == DiesRepeat || g.dies == DiesUnknown && g.repeats(deltas)) {
		best := g.zones[0]
		for _, i := range g.zones[1:] {
			if better(&deltas[i], &deltas[best]) {
				best = i
			}
		}
		return g.book(sum, &zones[best], &deltas[best])
	}
	valid, complete := false, true
	for _, i := range g.zones {
		valid = g.book(sum, &zones[i], &deltas[i]) || valid
		complete = complete && deltas[i].Complete
	}
	g.complete = complete
	return valid
}

// better tells which of two readers of the same counter saw more of the tick.
func better(a, b *ZoneDelta) bool {
	if a.Complete != b.Complete {
		return a.Complete
	}
	if a.Valid != b.Valid {
		return a.Valid
	}
	return !a.Complete && a.Energy > b.Energy
}

// repeats looks at dies of which it is not known whether they add or repeat
// one counter: those that agree within 1 % for three ticks are one.
func (g *group) repeats(deltas []ZoneDelta) bool {
	low, high := deltas[g.zones[0]].Energy, deltas[g.zones[0]].Energy
	for _, i := range g.zones {
		if !deltas[i].Complete {
			return g.same.holds
		}
		low, high = min(low, deltas[i].Energy), max(high, deltas[i].Energy)
	}
	if high > 0 {
		g.same.hear(high-low <= high/100)
	}
	return g.same.holds
}

func (g *group) book(sum *Amount, z *Zone, d *ZoneDelta) bool {
	if !d.Valid {
		return false
	}
	g.energy += d.Energy
	g.complete = d.Complete
	sum.Energy += d.Energy
	sum.Quality = max(sum.Quality, z.Quality)
	if z.Floor {
		sum.Floor += d.Floor
	} else {
		sum.HasFloor = false
	}
	sum.addBand(z, d)
	return true
}

// addBand adds the bounds of a zone: a zone without a band is its own bounds.
func (a *Amount) addBand(z *Zone, d *ZoneDelta) {
	if !z.Band {
		a.Low += d.Energy
		a.High += d.Energy
		return
	}
	a.Low += d.Low
	a.High += d.High
	a.HasBand = true
}
