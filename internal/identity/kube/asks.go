package kube

import (
	"sync"
	"time"

	"noether/internal/workload"
)

// asks decides when it is worth asking for a pod or container that has no
// name. Each is asked for a few times only: a sandbox never gets one. It is
// safe for concurrent use.
type asks struct {
	now  func() time.Time
	wake chan struct{} // has an element while it is worth asking

	mu   sync.Mutex
	ids  map[string]*ask
	tick uint64 // counts the calls of missing
}

type ask struct {
	answers int       // that did not have it
	due     time.Time // when it is worth asking again
	tick    uint64    // the last one in which it was missing
}

// retries is how often an id is asked for again.
const retries = 2

// distance returns how long after the answer number n, from 0, an id that was
// not in it is asked for again.
func distance(n int) time.Duration { return []time.Duration{2 * time.Second, 10 * time.Second}[n] }

func newAsks(now func() time.Time) *asks {
	return &asks{now: now, wake: make(chan struct{}, 1), ids: make(map[string]*ask)}
}

// missing notes what has no name in this tick, and forgets the rest.
func (a *asks) missing(owners []workload.Owner) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tick++
	now := a.now()
	worth := false
	for i := range owners {
		o := &owners[i]
		if o.Kind != workload.PodOwner {
			continue // no orchestrator's
		}
		id := o.Container.ID
		if id == "" {
			id = o.Pod.UID
		}
		q := a.ids[id]
		if q == nil {
			q = &ask{due: now}
			a.ids[id] = q
		}
		q.tick = a.tick
		worth = worth || q.open() && !q.due.After(now)
	}
	for id, q := range a.ids {
		if q.tick != a.tick {
			delete(a.ids, id)
		}
	}
	a.rouse(worth)
}

// rouse wakes whoever waits if it is worth asking.
func (a *asks) rouse(worth bool) {
	if !worth {
		return
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// answered notes that an answer to what was asked at that time is known. What
// was missing then and is still so in the next tick was not in it.
func (a *asks) answered(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.wake: // for what may have been answered by now
	default:
	}
	worth := false
	for _, q := range a.ids {
		if !q.open() {
			continue
		}
		if q.due.After(at) {
			worth = worth || !q.due.After(a.now())
			continue
		}
		if q.answers < retries {
			q.due = at.Add(distance(q.answers))
		}
		q.answers++
	}
	a.rouse(worth)
}

// open reports whether it may be worth asking again.
func (q *ask) open() bool { return q.answers <= retries }
