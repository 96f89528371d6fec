// Package attribution divides the energy of a tick among those who caused or
// reserved it. It is pure: whole microjoules in, whole microjoules out, and
// the shares of every component sum exactly to what was divided. It refuses
// to guess: what no account explains goes to a system account by name.
package attribution

import (
	"fmt"
	"time"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// Claim is what one account used and reserved in a tick.
type Claim struct {
	CPU time.Duration // busy time
	// Reserved is the account's claim on idle energy, in units of its own for
	// each component (millicores, bytes, devices); 0 without a request.
	Reserved [energy.Components]uint64
}

// Tick is everything Attribute looks at besides the claims. Busy must be the
// sum of all claims' CPU and of System.
type Tick struct {
	Amounts        []energy.Amount // at most one per component
	Capacity, Busy time.Duration
	System         [workload.SystemAccounts]time.Duration
	// Allocatable is what can be reserved, in the units of Claim.Reserved. It
	// is zero where requests are unknown: idle energy then stays in the idle account.
	Allocatable [energy.Components]uint64
}

// Shares is the result: one ledger for each claim, and the system accounts.
type Shares struct {
	Claims []snapshot.Ledger
	System [workload.SystemAccounts]snapshot.Ledger
	// SharesIdle is set when idle energy was divided among claims.
	SharesIdle bool
}

// Policy decides which part of a component's energy is dynamic and who pays
// for each part.
type Policy interface {
	// Name is the word for --policy.
	Name() string
	// split returns the dynamic part of an amount; the rest is idle.
	split(a *energy.Amount, t *Tick) unit.Energy
	// sharesIdleByUse is true when idle energy follows the CPU time.
	sharesIdleByUse() bool
}

// ByName returns the policy called name.
func ByName(name string) (Policy, error) {
	for _, p := range []Policy{Utilisation{}, Proportional{}} {
		if p.Name() == name {
			return p, nil
		}
	}
	if name == "calibrated" {
		return nil, fmt.Errorf("policy %q is not available yet: use utilisation or proportional", name)
	}
	return nil, fmt.Errorf("policy %q is unknown: use utilisation or proportional", name)
}

// Divider holds the scratch memory of Attribute. The zero value is ready. One
// goroutine at a time.
type Divider struct {
	weights []uint64
	parts   []unit.Energy
	order   []remainder
}

// Attribute divides t.Amounts among claims and the system accounts and writes
// the result to dst, whose slice is reused. For every component the sum over
// dst equals the amount exactly.
func (d *Divider) Attribute(dst *Shares, p Policy, t *Tick, claims []Claim) {
	dst.Claims = resize(dst.Claims, len(claims))
	clear(dst.Claims)
	dst.System = [workload.SystemAccounts]snapshot.Ledger{}
	dst.SharesIdle = p.sharesIdleByUse() || t.Allocatable != [energy.Components]uint64{}
	for i := range t.Amounts {
		a := &t.Amounts[i]
		dynamic := unit.Energy(0)
		if t.Busy > 0 {
			dynamic = min(max(p.split(a, t), 0), max(a.Energy, 0))
		}
		d.byUse(dst, t, claims, a.Component, energy.Dynamic, dynamic)
		idle := a.Energy - dynamic
		switch {
		case p.sharesIdleByUse() && t.Busy > 0:
			d.byUse(dst, t, claims, a.Component, energy.Idle, idle)
		case t.Allocatable[a.Component] > 0:
			d.byReservation(dst, t, claims, a.Component, idle)
		default:
			dst.System[workload.IdleAccount][a.Component][energy.Idle] += idle
		}
	}
}

// byUse divides e by CPU time. GPU time is not CPU time: until a source of it
// exists, a GPU's work is nobody's.
func (d *Divider) byUse(dst *Shares, t *Tick, claims []Claim, c energy.Component, part energy.Part, e unit.Energy) {
	if e == 0 {
		return
	}
	if c == energy.GPU {
		dst.System[workload.Unattributed][c][part] += e
		return
	}
	n := len(claims)
	d.weights = resize(d.weights, n+workload.SystemAccounts)
	for i := range claims {
		d.weights[i] = weight(claims[i].CPU)
	}
	for i, cpu := range t.System {
		d.weights[n+i] = weight(cpu)
	}
	if !d.divide(e) {
		dst.System[workload.Unattributed][c][part] += e
		return
	}
	for i := range claims {
		dst.Claims[i][c][part] += d.parts[i]
	}
	for i := range t.System {
		dst.System[i][c][part] += d.parts[n+i]
	}
}

// byReservation divides idle energy by what is reserved; what nobody reserves
// is shown as unreserved. Reservations above what can be reserved share all of it.
func (d *Divider) byReservation(dst *Shares, t *Tick, claims []Claim, c energy.Component, e unit.Energy) {
	n := len(claims)
	d.weights = resize(d.weights, n+1)
	var reserved uint64
	for i := range claims {
		d.weights[i] = claims[i].Reserved[c]
		reserved += claims[i].Reserved[c]
	}
	d.weights[n] = max(t.Allocatable[c], reserved) - reserved
	if !d.divide(e) {
		dst.System[workload.Unreserved][c][energy.Idle] += e
		return
	}
	for i := range claims {
		dst.Claims[i][c][energy.Idle] += d.parts[i]
	}
	dst.System[workload.Unreserved][c][energy.Idle] += d.parts[n]
}

func (d *Divider) divide(e unit.Energy) bool {
	d.parts = resize(d.parts, len(d.weights))
	var ok bool
	ok, d.order = divide(d.parts, e, d.weights, d.order)
	return ok
}

// Divide divides an amount of anything that is counted in whole units (energy,
// mass, money) among weights and writes the shares to dst, which is as long as
// weights. It reports whether anything could be divided: false when the amount
// is negative or all weights are zero; dst is then zero.
func Divide[T ~int64](d *Divider, dst []T, amount T, weights []uint64) bool {
	var ok bool
	ok, d.order = divide(dst, amount, weights, d.order)
	return ok
}

func weight(cpu time.Duration) uint64 { return uint64(max(cpu, 0)) }

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4+8)
	}
	return s[:n]
}
