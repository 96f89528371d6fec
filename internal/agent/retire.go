package agent

import (
	"cmp"
	"slices"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/workload"
)

// maxEnded bounds how many finished owners stay listed: a machine that starts
// thousands of containers an hour must not make every tick slower.
const maxEnded = 2000

// sweep notes who has ended and retires who ended long enough ago.
func (b *books) sweep() {
	keep := max(b.cfg.KeepFinished, 2*b.cfg.Interval)
	ended := 0
	for key, a := range b.accounts {
		if a.tasks > 0 || a.seen == b.tick || a.active == b.tick {
			a.ended = false
			continue
		}
		if !a.ended {
			a.ended, a.end = true, b.now
		}
		if b.now-a.end > keep {
			b.retire(key, a)
			continue
		}
		ended++
	}
	if ended > maxEnded {
		b.retireOldest(ended - maxEnded)
	}
	for _, p := range b.pods {
		p.ended = true
	}
	for _, a := range b.accounts {
		if a.pod != nil && !a.ended {
			a.pod.ended = false
		}
	}
	b.view.sweep(b.now, keep)
	if b.tick%64 == 0 {
		b.forget()
	}
}

// retire takes an account off the books. What an owner had consumed is added
// to the retired sum of its kind; that of a pod's leaf stays in its pod.
func (b *books) retire(key workload.Owner, a *account) {
	a.gone = true
	delete(b.accounts, key)
	if a.pod == nil {
		b.unlist(a.owner.Kind, a)
		b.addRetired(a.owner.Kind, &a.total)
		return
	}
	if a.owner.Container.ID != "" {
		b.unlist(workload.ContainerOwner, a)
	}
	a.pod.leaves--
	if a.pod.leaves == 0 {
		delete(b.pods, a.owner.Pod.UID)
		b.unlist(workload.PodOwner, a.pod)
		b.addRetired(workload.PodOwner, &a.pod.total)
	}
}

func (b *books) addRetired(k workload.Kind, total *snapshot.Ledger) {
	for c := range total {
		b.retired[k][c] += total.Component(energy.Component(c))
	}
}

// retireOldest retires n ended accounts before their time, oldest first.
func (b *books) retireOldest(n int) {
	type item struct {
		key workload.Owner
		a   *account
	}
	var items []item
	for key, a := range b.accounts {
		if a.ended {
			items = append(items, item{key, a})
		}
	}
	slices.SortFunc(items, func(x, y item) int { return cmp.Or(cmp.Compare(x.a.end, y.a.end), byLabels(x.a, y.a)) })
	for _, it := range items[:n] {
		b.retire(it.key, it.a)
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
