package agent

import (
	"slices"

	"noether/internal/workload"
)

// waitTicks is for how many ticks a new pod or container is not exported while
// somebody is asked what it is called: a series that changes its labels right
// after its birth helps nobody. Its energy counts as retired meanwhile.
const waitTicks = 2

// learn takes over what is known by now. Only accounts whose facts changed are
// touched. The key of an account stays what its path says: names change what
// it is exported as, never whose energy it is.
func (b *books) learn(names *workload.Names) {
	if names == nil || names == b.names {
		return
	}
	b.names = names
	for _, p := range b.podList {
		facts := names.Pods[p.uid]
		p.known = facts != nil
		if facts != nil && facts != p.facts {
			p.facts = facts
			b.describePod(p)
		}
	}
	for _, a := range b.all {
		if a.key.Kind == workload.ContainerOwner {
			b.describeContainer(a)
		}
	}
	for uid := range b.over {
		if names.Pods[uid] == nil {
			delete(b.over, uid)
		}
	}
	b.openPending()
}

// openPending opens the pods that hold a reservation before they begin.
func (b *books) openPending() {
	b.news = b.news[:0]
	for uid, facts := range b.names.Pods {
		if facts != nil && facts.Reserved != (workload.Reserved{}) && b.pods[uid] == nil && !b.over[uid] {
			b.news = append(b.news, uid)
		}
	}
	slices.Sort(b.news)
	for _, uid := range b.news {
		b.accountOf(&workload.Owner{Kind: workload.PodOwner, Pod: workload.Pod{UID: uid}})
	}
}

// settle exports who has waited long enough.
func (b *books) settle() {
	for _, p := range b.podList {
		if p.waiting && b.waited(&p.account) {
			b.describePod(p)
		}
	}
	n := 0
	for _, a := range b.waiting {
		if a.gone || a.listed {
			continue
		}
		if b.describeContainer(a); !a.listed {
			b.waiting[n] = a
			n++
		}
	}
	clear(b.waiting[n:])
	b.waiting = b.waiting[:n]
}

func (b *books) waited(a *account) bool { return b.tick >= a.born+waitTicks }

// describePod exports a pod and its leaves under what is known about it.
func (b *books) describePod(p *pod) {
	p.waiting = p.facts == nil && b.names.AsksPods && !b.waited(&p.account)
	owner := workload.Owner{Kind: workload.PodOwner, Pod: workload.Pod{UID: b.publicUID(p), QoS: p.qos}}
	if f := p.facts; f != nil {
		owner.Pod.Namespace, owner.Pod.Name = f.Namespace, f.Name
		owner.Pod.WorkloadKind, owner.Pod.Workload = f.WorkloadKind, f.Workload
		p.extra = f.Labels
	}
	b.show(workload.PodOwner, &p.account, owner, !p.waiting)
	for _, a := range p.leaves {
		b.describeLeaf(a)
	}
	b.enrol(p)
}

// publicUID returns the uid that a pod is exported under: the API's, unless
// that one is or was another pod's. So no two pods ever have the same labels,
// whatever an API says.
func (b *books) publicUID(p *pod) string {
	uid := p.uid
	if p.facts != nil && p.facts.UID != "" && b.pods[p.facts.UID] == nil {
		if other := b.claimed[p.facts.UID]; other == nil || other == p {
			uid = p.facts.UID
			if other == nil {
				b.claimed[uid] = p
				p.claims = append(p.claims, uid)
			}
		}
	}
	return uid
}

// describeLeaf exports a container of a pod if it has a name, or if nothing is
// known about its pod: what a known pod does not list is its sandbox, or too
// young to be told apart from it. A name once known stays.
func (b *books) describeLeaf(a *account) {
	p := a.pod
	owner := a.key
	owner.Pod = p.owner.Pod
	owner.Container.Name = a.owner.Container.Name
	a.request, a.extra = workload.Reserved{}, p.extra
	if p.facts != nil && a.key.Container.ID != "" {
		facts := p.facts.Containers[a.key.Container.ID]
		a.request = facts.Reserved
		if facts.Name != "" {
			owner.Container.Name = facts.Name
		}
	}
	listed := owner.Container.Name != "" || p.facts == nil && !p.waiting
	b.show(workload.ContainerOwner, a, owner, listed && a.key.Container.ID != "")
}

// describeContainer exports a container outside pods under its name, or once
// nobody is waited for. A name once known stays until there is another one.
func (b *books) describeContainer(a *account) {
	owner := *a.owner
	if name := b.names.Containers[a.key.Container.ID]; name != "" {
		owner.Container.Name = name
	}
	waiting := owner.Container.Name == "" && b.names.AsksContainers && !a.listed && !b.waited(a)
	b.show(workload.ContainerOwner, a, owner, !waiting)
}

// show exports a under owner, or not by itself.
func (b *books) show(k workload.Kind, a *account, owner workload.Owner, listed bool) {
	same := owner == *a.owner
	if same && listed == a.listed {
		return
	}
	if a.listed {
		b.unlist(k, a)
	}
	if !same {
		o := owner
		a.owner = &o
	}
	if listed {
		b.list(k, a)
	}
}

// missing returns the pods and containers that somebody might name, among those
// that live or wait. The result is valid until the next call.
func (b *books) missing() []workload.Owner {
	b.asked = b.asked[:0]
	if b.names.AsksPods {
		for _, p := range b.podList {
			if p.ended && !p.waiting {
				continue
			}
			if p.facts == nil {
				b.asked = append(b.asked, workload.Owner{Kind: workload.PodOwner, Pod: workload.Pod{UID: p.uid}})
			}
			for _, a := range p.leaves {
				if a.key.Container.ID != "" && a.owner.Container.Name == "" && (!a.ended || p.waiting) {
					b.asked = append(b.asked, a.key)
				}
			}
		}
	}
	if b.names.AsksContainers {
		for _, a := range b.listed[workload.ContainerOwner] {
			if a.pod == nil && a.owner.Container.Name == "" && !a.ended {
				b.asked = append(b.asked, a.key)
			}
		}
		for _, a := range b.waiting {
			if !a.gone {
				b.asked = append(b.asked, a.key)
			}
		}
	}
	return b.asked
}

// unnamed returns how many living pods nobody has named.
func (b *books) unnamed() (n int) {
	for _, p := range b.podList {
		if p.facts == nil && !p.ended {
			n++
		}
	}
	return n
}
