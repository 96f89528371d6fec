package agent

import (
	"slices"

	"noether/internal/energy"
	"noether/internal/workload"
)

// pod is the page of one pod: the sum of its leaves, which are its containers
// and what is the pod's own, and what is known about it.
type pod struct {
	account // the sum; not in books.all

	uid    string // in the path of its cgroups
	qos    string
	facts  *workload.PodFacts // nil until somebody names it; the last ones for as long as it is in the books
	leaves []*account
	own    *account // the leaf without a container, nil if there is none

	known   bool              // the newest names have it
	waiting bool              // it may get a name yet and is not exported meanwhile
	began   bool              // something of it has been seen running
	live    bool              // something of it ran or could have run in the last tick that tells
	holds   workload.Reserved // what it holds in this tick, while it is live or pending
	asked   bool              // it has requested CPU and memory
	claims  []string          // its keys in books.claimed
	rows    [2]*row
}

// pending tells whether the pod is bound to this machine and has not begun.
func (p *pod) pending() bool {
	return p.known && !p.began && p.facts.Reserved != workload.Reserved{}
}

// podOf returns the pod of o, opening it if need be.
func (b *books) podOf(o *workload.Owner) *pod {
	p := b.pods[o.Pod.UID]
	if p == nil {
		p = &pod{uid: o.Pod.UID, qos: o.Pod.QoS, facts: b.names.Pods[o.Pod.UID]}
		p.account = account{owner: &workload.Owner{Kind: workload.PodOwner, Pod: o.Pod}, first: -1, born: b.tick}
		p.known = p.facts != nil
		b.pods[p.uid] = p
		b.podList = append(b.podList, p)
		if other := b.claimed[p.uid]; other != nil {
			b.describePod(other) // the uid in a path is its pod's
		}
		b.describePod(p)
	}
	if p.qos == "" && o.Pod.QoS != "" { // opened by its facts, which do not tell
		p.qos = o.Pod.QoS
		b.describePod(p)
	}
	return p
}

// joinPod makes a new account part of its pod.
func (b *books) joinPod(a *account) {
	a.pod = b.podOf(a.owner)
	a.pod.leaves = append(a.pod.leaves, a)
	if a.key.Container.ID == "" {
		a.pod.own = a
	}
	b.describeLeaf(a)
}

// leavePod takes a retired leaf out of its pod, and the pod off the books when
// it was the last one.
func (b *books) leavePod(a *account) {
	p := a.pod
	if i := slices.Index(p.leaves, a); i >= 0 {
		p.leaves = slices.Delete(p.leaves, i, i+1)
	}
	if p.own == a {
		p.own = nil
	}
	if len(p.leaves) > 0 {
		return
	}
	p.gone = true
	delete(b.pods, p.uid)
	for _, uid := range p.claims {
		delete(b.claimed, uid)
	}
	if i := slices.Index(b.podList, p); i >= 0 {
		b.podList = slices.Delete(b.podList, i, i+1)
	}
	if p.known {
		b.over[p.uid] = true
	}
	if p.listed {
		b.unlist(workload.PodOwner, &p.account)
	}
	for _, r := range p.rows {
		if r != nil {
			r.leave(b.now)
		}
	}
	b.addRetired(workload.PodOwner, &p.account)
}

// reserve notes which pods run, and puts what they requested on their
// accounts: a container's own request on the container, the rest on the pod's
// own leaf. What has ended holds nothing, whatever the API last said; what is
// bound to this machine holds its request before it starts. When who ran is
// unknown, what ran before is taken to run on.
func (b *books) reserve(usageKnown bool) {
	for _, p := range b.podList {
		if usageKnown {
			p.live = slices.ContainsFunc(p.leaves, b.alive)
			p.began = p.began || p.live
		}
		if !p.live && !p.pending() {
			continue
		}
		var held workload.Reserved
		if p.facts != nil && b.names.Allocatable != held {
			held = p.facts.Reserved
		}
		// A pod that has finished requests nothing any more: what it was stays.
		p.asked = p.asked || held.CPU > 0 && held.Memory > 0
		p.holds, p.byUse = held, !p.asked
		b.reserveFor(p, held)
	}
}

func (b *books) reserveFor(p *pod, rest workload.Reserved) {
	none := workload.Reserved{}
	if rest == none {
		return
	}
	for _, a := range p.leaves {
		if a.request != none && b.alive(a) {
			b.use(a, 0)
			a.reserved = a.request
			rest.CPU -= min(rest.CPU, a.request.CPU)
			rest.Memory -= min(rest.Memory, a.request.Memory)
			rest.Devices -= min(rest.Devices, a.request.Devices)
		}
	}
	if rest == none {
		return
	}
	own := p.own
	if own == nil {
		own = b.accountOf(&workload.Owner{Kind: workload.PodOwner, Pod: workload.Pod{UID: p.uid}})
	}
	b.use(own, 0)
	own.reserved = rest
}

// byComponent returns what is reserved in the unit of each component: other
// energy follows the CPU.
func byComponent(r workload.Reserved) [energy.Components]uint64 {
	return [energy.Components]uint64{energy.CPU: r.CPU, energy.Memory: r.Memory, energy.GPU: r.Devices, energy.Other: r.CPU}
}
