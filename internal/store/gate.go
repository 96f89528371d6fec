package store

import (
	"context"
	"errors"
	"sync"

	"github.com/prometheus/prometheus/storage"
)

// gate lets queries in while the database is open, and tells when the last is
// out: closing it under a query would take away the memory that it reads.
type gate struct {
	mu   sync.Mutex
	db   *database // nil while it is closed
	why  error     // why it is
	in   int
	idle chan struct{} // closed when in becomes 0; nil unless somebody waits
}

// open lets queries in.
func (g *gate) open(db *database) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.db, g.why = db, nil
}

// shut lets no more queries in, tells them why, and returns what is closed when
// those inside are out.
func (g *gate) shut(why error) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.db, g.why = nil, why
	idle := make(chan struct{})
	if g.in == 0 {
		close(idle)
	} else {
		g.idle = idle
	}
	return idle
}

// explain changes what queries are told while the database is closed.
func (g *gate) explain(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.why = why
}

func (g *gate) enter() (*database, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.db == nil {
		return nil, g.why
	}
	g.in++
	return g.db, nil
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in--; g.in == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// Querier makes a gate a [storage.Queryable]. Who queries reads memory that
// files are mapped into: from then on a page that the disk does not give is a
// panic of the calling goroutine, which the engine and net/http recover.
func (g *gate) Querier(mint, maxt int64) (storage.Querier, error) {
	faultsPanic()
	db, err := g.enter()
	if err != nil {
		return nil, err
	}
	q, err := db.Querier(mint, maxt)
	if err != nil {
		g.leave()
		return nil, err
	}
	return &guarded{Querier: q, leave: sync.OnceFunc(g.leave)}, nil
}

// guarded is a querier that leaves the gate when it is closed.
type guarded struct {
	storage.Querier
	leave func()
}

// Close implements [storage.Querier].
func (q *guarded) Close() error {
	defer q.leave()
	return q.Querier.Close()
}

// closed is why there are no queries after Run.
var errClosed = errors.New("the history is closed: the program is ending")

// wait returns when idle is closed or ctx is done.
func wait(ctx context.Context, idle <-chan struct{}) error {
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
