package agent

import (
	"cmp"
	"slices"

	"noether/internal/energy"
	"noether/internal/workload"
)

// maxEnded bounds how many finished owners stay listed: a machine that starts
// thousands of containers an hour must not make every tick slower.
const maxEnded = 2000

// sweep notes who has ended and retires who ended long enough ago.
func (b *books) sweep() {
	keep := max(b.cfg.KeepFinished, 2*b.cfg.Interval)
	ended := 0
	for _, a := range slices.Backward(b.all) { // retiring moves the last one, seen already, to its place
		if b.alive(a) || a.pod != nil && a.pod.own == a && a.pod.pending() {
			a.ended = false
			continue
		}
		if !a.ended {
			a.ended, a.end = true, b.now
		}
		if b.now-a.end > keep {
			b.retire(a)
			continue
		}
		ended++
	}
	if ended > maxEnded {
		b.retireOldest(ended - maxEnded)
	}
	for _, p := range b.podList {
		p.ended = true
		for _, a := range p.leaves {
			p.ended = p.ended && a.ended
		}
	}
	b.view.sweep(b.now, keep)
	if b.tick%64 == 0 {
		b.forget()
	}
}

// alive tells whether something of a was seen in this tick.
func (b *books) alive(a *account) bool {
	return a.tasks > 0 || a.seen == b.tick || a.active == b.tick
}

// retire takes an account off the books. What an owner had consumed is added
// to the retired sum of its kind; that of a pod's leaf stays in its pod.
func (b *books) retire(a *account) {
	a.gone = true
	delete(b.accounts, a.key)
	last := len(b.all) - 1
	b.all[a.at] = b.all[last]
	b.all[a.at].at = a.at
	b.all[last] = nil
	b.all = b.all[:last]
	if a.listed {
		b.unlist(listKind(&a.key), a)
	}
	if a.pod != nil {
		b.leavePod(a)
		return
	}
	b.addRetired(a.key.Kind, a)
}

func (b *books) addRetired(k workload.Kind, a *account) {
	for c := range a.total {
		b.retired[k][c] += a.total.Component(energy.Component(c))
	}
	for p, m := range a.foot.CO2e {
		b.retiredCO2e[k][p] += m
	}
}

// retireOldest retires n ended accounts before their time, oldest first.
func (b *books) retireOldest(n int) {
	var items []*account
	for _, a := range b.all {
		if a.ended {
			items = append(items, a)
		}
	}
	slices.SortFunc(items, func(x, y *account) int { return cmp.Or(cmp.Compare(x.end, y.end), byLabels(x, y)) })
	for _, a := range items[:n] {
		b.retire(a)
	}
}

// forget drops what is known of places and groups that nobody asked for in
// the last ticks. Tasks that live on unchanged are not asked for; their
// places are found again by the same question.
func (b *books) forget() {
	for g, e := range b.byGroup {
		if b.tick-e.tick > 64 {
			delete(b.byGroup, g)
		}
	}
	for p, e := range b.byPlace {
		if b.tick-e.tick > 64 {
			delete(b.byPlace, p)
		}
	}
}
