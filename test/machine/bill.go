package machine

import (
	"fmt"
	"math/bits"
	"strings"
)

// Range is an amount of microjoules: a whole share exactly, or the two whole
// numbers around a share that is not whole.
type Range struct{ Low, High uint64 }

// Holds reports whether e is in the range.
func (r Range) Holds(e uint64) bool { return r.Low <= e && e <= r.High }

// String returns the range as people write it.
func (r Range) String() string {
	if r.Low == r.High {
		return fmt.Sprintf("%d uJ", r.Low)
	}
	return fmt.Sprintf("%d to %d uJ", r.Low, r.High)
}

// Bill is who has to pay for a step, by component: cpu, memory, other.
type Bill struct {
	Dynamic, Idle map[string]uint64           // the whole machine
	Owners        map[string]map[string]Range // dynamic energy by owner, as named by AddCgroup
	Processes     map[int]map[string]Range    // dynamic energy by PID
	Debt          uint64                      // what "other" is short of, for the next step
}

// Bill does the books of a step that is either all work, more of it than the
// CPUs had time for (so that everything is dynamic), or none (so that
// everything is idle). Zones lists those that tell the truth in this step;
// debt is the Debt of the last one. The arithmetic is deliberately the plain
// text of the rules and shares no code with the agent:
//
//   - cpu is the sum of the packages, memory of the DRAM zones; cores and
//     uncore are inside the packages;
//   - other is what psys has above those two; what it lacks is a debt;
//   - a share is energy x own time / all time, and rounding moves nobody by
//     more than to the next whole microjoule.
func (m *Machine) Bill(s Step, debt uint64) Bill {
	m.tb.Helper()
	b := Bill{
		Dynamic: map[string]uint64{}, Idle: map[string]uint64{},
		Owners: map[string]map[string]Range{}, Processes: map[int]map[string]Range{},
	}
	energy := map[string]uint64{}
	var platform uint64
	hasPlatform := false
	for i := range m.zones {
		z := &m.zones[i]
		switch e := s.Energy[z.Dir]; {
		case strings.HasPrefix(z.Name, "package"):
			energy["cpu"] += e
		case strings.HasPrefix(z.Name, "dram"):
			energy["memory"] += e
		case z.Name == "psys":
			platform += e
			hasPlatform = true
		}
	}
	if hasPlatform {
		inside := energy["cpu"] + energy["memory"] + debt
		if platform >= inside {
			energy["other"] = platform - inside
		} else {
			energy["other"], b.Debt = 0, inside-platform
		}
	}
	var total uint64
	times := map[int]uint64{}
	for pid, d := range s.CPU {
		times[pid] += uint64(d)
		total += uint64(d)
	}
	for pid, d := range s.Children {
		total += uint64(d)
		times[pid] += uint64(d)
	}
	for component, e := range energy {
		if total == 0 {
			b.Idle[component] = e
			continue
		}
		b.Dynamic[component] = e
		byOwner := map[string]uint64{}
		for pid, t := range times {
			byOwner[m.OwnerOf(pid)] += t
			own := share(e, uint64(s.CPU[pid]), total)
			set(b.Processes, pid, component, own)
		}
		for owner, t := range byOwner {
			set(b.Owners, owner, component, share(e, t, total))
		}
	}
	return b
}

func set[K comparable](in map[K]map[string]Range, key K, component string, r Range) {
	if in[key] == nil {
		in[key] = map[string]Range{}
	}
	in[key][component] = r
}

func share(e, part, total uint64) Range {
	hi, lo := bits.Mul64(e, part)
	q, rest := bits.Div64(hi, lo, total)
	if rest == 0 {
		return Range{q, q}
	}
	return Range{q, q + 1}
}
