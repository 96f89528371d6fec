package kube

import (
	"maps"
	"slices"
	"sync"
	"time"

	"noether/internal/workload"
)

// linger is how long a pod that was deleted keeps its name: it may have come
// and gone between two ticks of an agent that still has its energy to name.
const linger = time.Minute

// maxPods bounds how many pods are kept: many times what a node can run.
const maxPods = 10_000

// index has the pods of one node. It is safe for concurrent use.
type index struct {
	node   string // pods of other nodes are dropped; empty keeps all
	labels []LabelKey
	now    func() time.Time

	mu          sync.Mutex
	pods        map[string]*entry // by the API's uid
	leaving     int               // entries that were deleted
	allocatable workload.Reserved
	facts       workload.NodeFacts
	latest      *workload.Names // nil when it has to be made anew
}

type entry struct {
	derived
	deleted time.Time // zero while the pod exists
}

func newIndex(node string, labels []LabelKey, now func() time.Time) *index {
	return &index{node: node, labels: labels, now: now, pods: make(map[string]*entry)}
}

// names returns what is known, the same pointer while nothing changes.
func (x *index) names() *workload.Names {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.leaving > 0 {
		x.forget()
	}
	if x.latest == nil {
		x.latest = x.build()
	}
	return x.latest
}

// forget drops the pods that were deleted long enough ago.
func (x *index) forget() {
	now := x.now()
	for uid, e := range x.pods {
		if !e.deleted.IsZero() && now.Sub(e.deleted) >= linger {
			delete(x.pods, uid)
			x.leaving--
			x.latest = nil
		}
	}
}

func (x *index) build() *workload.Names {
	names := &workload.Names{
		Pods:        make(map[string]*workload.PodFacts, len(x.pods)),
		Allocatable: x.allocatable,
		Node:        x.facts,
		AsksPods:    true,
	}
	by := make(map[string]*entry, len(x.pods))
	for _, e := range x.pods {
		if before, ok := by[e.cgroup]; !ok || e.before(before) {
			by[e.cgroup] = e
			names.Pods[e.cgroup] = e.facts
		}
	}
	return names
}

// before decides between two pods with one cgroup: what exists comes before
// what was deleted, and the pod whose own uid it is before one that claims it.
func (e *entry) before(o *entry) bool {
	switch {
	case e.deleted.IsZero() != o.deleted.IsZero():
		return e.deleted.IsZero()
	case e.mirror != o.mirror:
		return !e.mirror
	case !e.deleted.Equal(o.deleted):
		return e.deleted.After(o.deleted)
	default:
		return e.uid > o.uid
	}
}

// known returns how many pods exist.
func (x *index) known() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.pods) - x.leaving
}

// derive returns what is kept of p, if it is a pod of this node.
func (x *index) derive(p *pod) (*derived, bool) {
	if p.derived == nil && x.node != "" && p.Spec.NodeName != x.node {
		return nil, false
	}
	return p.derive(x.labels)
}

// set puts a pod that is new or may have changed.
func (x *index) set(p *pod) {
	d, ok := x.derive(p)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	before := x.pods[d.uid]
	if before == nil && len(x.pods) >= maxPods {
		return
	}
	x.put(x.pods, d)
	if before != nil && !before.deleted.IsZero() {
		x.leaving--
	}
}

// put places d in pods with the facts known before where they are equal.
func (x *index) put(pods map[string]*entry, d *derived) {
	before := x.pods[d.uid]
	if before != nil && before.deleted.IsZero() && before.cgroup == d.cgroup && before.mirror == d.mirror && same(before.facts, d.facts) {
		pods[d.uid] = before
		return
	}
	pods[d.uid] = &entry{derived: *d}
	x.latest = nil
}

// remove notes that a pod was deleted. It keeps its name for a while.
func (x *index) remove(p *pod) {
	d, ok := x.derive(p)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	before := x.pods[d.uid]
	if before != nil && !before.deleted.IsZero() || before == nil && len(x.pods) >= maxPods {
		return
	}
	x.pods[d.uid] = d.gone(x.now())
	x.leaving++
	x.latest = nil
}

// replace puts all pods in place of those known, which were deleted if they
// are not among them.
func (x *index) replace(all []*derived) {
	x.mu.Lock()
	defer x.mu.Unlock()
	pods := make(map[string]*entry, len(all))
	for _, d := range all {
		if len(pods) < maxPods {
			x.put(pods, d)
		}
	}
	x.leaving = 0
	for uid, e := range x.pods {
		if _, ok := pods[uid]; ok {
			continue
		}
		x.latest = nil
		if len(pods) < maxPods {
			if e.deleted.IsZero() {
				e = e.gone(x.now())
			}
			pods[uid] = e
			x.leaving++
		}
	}
	x.pods = pods
}

// gone returns what is kept of a deleted pod: it holds nothing any more.
func (d *derived) gone(at time.Time) *entry {
	facts := *d.facts
	facts.Reserved = workload.Reserved{}
	facts.Containers = maps.Clone(facts.Containers)
	for id, c := range facts.Containers {
		c.Reserved = workload.Reserved{}
		facts.Containers[id] = c
	}
	e := &entry{derived: *d, deleted: at}
	e.facts = &facts
	return e
}

// reserve sets what pods can reserve on the node.
func (x *index) reserve(allocatable workload.Reserved) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.allocatable != allocatable {
		x.allocatable = allocatable
		x.latest = nil
	}
}

// describe sets what the node is.
func (x *index) describe(facts workload.NodeFacts) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.facts != facts {
		x.facts = facts
		x.latest = nil
	}
}

// same reports whether two facts say the same.
func same(a, b *workload.PodFacts) bool {
	return a.UID == b.UID && a.Namespace == b.Namespace && a.Name == b.Name &&
		a.WorkloadKind == b.WorkloadKind && a.Workload == b.Workload && a.Reserved == b.Reserved &&
		slices.Equal(a.Labels, b.Labels) && maps.Equal(a.Containers, b.Containers)
}
