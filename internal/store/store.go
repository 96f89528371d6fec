// Package store keeps the history of this machine: samples of the export
// table's families, taken from snapshots, in Prometheus' own time series
// database, so that PromQL reads them.
//
// It keeps every counter but those of processes, and the gauges that are not of
// a pod, container, virtual machine, unit, session or process: rate gives the
// power of those. It refuses to measure, to scrape, and to be waited for: it
// takes the newest snapshot when it is due, and no trouble of its own (a full
// disk, a broken block, a clock that jumps) reaches who offers them.
package store

import (
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/storage"

	"noether/internal/export"
	"noether/internal/snapshot"
)

// CopyPrefix begins the names of the five-minute copies:
// noether:5m:node_joules_total is of noether_node_joules_total.
const CopyPrefix = "noether:5m:"

// CopyStep is the time between two samples of a copy.
const CopyStep = 5 * time.Minute

// Defaults of Options.
const (
	DefaultInterval      = 15 * time.Second
	DefaultRetentionTime = 15 * 24 * time.Hour
	DefaultRetentionSize = 1 << 30
)

// ErrLoading says that the history is being opened: it takes seconds.
var ErrLoading = errors.New("the history is being opened: try again in a few seconds")

// Options say what is kept where. Those that are zero have defaults, but for
// Path and Now.
type Options struct {
	Path          string        // the directory, made if need be; nobody else writes there
	Interval      time.Duration // between two samples of a series
	RetentionTime time.Duration // older samples are deleted
	RetentionSize int64         // bytes on disk beyond which the oldest samples are deleted
	About         export.About
	Log           *slog.Logger
	// Now is the clock, with its monotonic reading: samples have the times of
	// snapshots, and this one tells whether those jumped.
	Now func() time.Time
}

// State is how the history is doing.
type State string

// The states.
const (
	Loading State = "loading" // being opened
	Ready   State = "ready"
	Failed  State = "failed" // there is no history; it is tried again each minute
	Full    State = "full"   // what there is can be read; nothing can be added until there is room
)

// Status is what is told about the history.
type Status struct {
	State          State
	Reason, Remedy string    // what is wrong, and what mends it; empty if all is well
	Series         int       // that had samples in the last hours
	Samples        uint64    // written since the agent started
	Bytes          int64     // on disk, with what was put aside
	Oldest, Newest time.Time // of the samples; zero if there are none
	// Aside has what was taken out of the history because it was broken or of
	// a wrong time, the newest last.
	Aside []Aside
}

// Aside is a directory that was taken out of the history.
type Aside struct {
	Path   string
	Reason string
}

// Store is the history. Offer, Queryable and Status may be called by any
// number of goroutines, before, during and after Run, which is called once.
type Store struct {
	options Options
	log     *slog.Logger

	newest atomic.Pointer[snapshot.Snapshot]
	offers chan struct{} // one token when newest changed

	gate    gate
	samples atomic.Uint64 // written in this run
	crowded atomic.Bool   // there was no room for a block
	doubted atomic.Bool   // the time of snapshots is not believed

	mu             sync.Mutex
	state          State
	reason, remedy string
}

// New returns the store of these options. It touches nothing: Run opens it.
func New(o Options) (*Store, error) {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.RetentionTime == 0 {
		o.RetentionTime = DefaultRetentionTime
	}
	if o.RetentionSize == 0 {
		o.RetentionSize = DefaultRetentionSize
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Path == "":
		return nil, errors.New("keep a history: no directory is named; set store.path")
	case o.Now == nil:
		return nil, errors.New("keep a history: no clock is given")
	case o.Interval < time.Second || o.Interval > CopyStep:
		return nil, errors.New("keep a history: store.interval is from 1s to 5m")
	case o.RetentionTime < time.Hour || int64(o.RetentionTime) > math.MaxInt64/4:
		return nil, errors.New("keep a history: store.retention.time is 1h or more")
	case o.RetentionSize < 1<<24:
		return nil, errors.New("keep a history: store.retention.size is 16MB or more")
	}
	s := &Store{options: o, log: o.Log, offers: make(chan struct{}, 1), state: Loading}
	s.gate.shut(ErrLoading)
	return s, nil
}

// Offer makes s the newest snapshot. It neither blocks nor fails.
func (s *Store) Offer(snap *snapshot.Snapshot) {
	s.newest.Store(snap)
	select {
	case s.offers <- struct{}{}:
	default:
	}
}

// Queryable returns what answers queries, until Run ends. The error is
// ErrLoading, or says why there is no history and what mends it; so does the
// error of a Querier. Queriers have to be closed.
func (s *Store) Queryable() (storage.Queryable, error) {
	if _, err := s.gate.enter(); err != nil {
		return nil, err
	}
	s.gate.leave()
	return &s.gate, nil
}

// Status returns how the history is doing. It looks at each of its files.
func (s *Store) Status() Status {
	s.mu.Lock()
	st := Status{State: s.state, Reason: s.reason, Remedy: s.remedy}
	s.mu.Unlock()
	if st.State == Ready && s.doubted.Load() {
		st.Reason, st.Remedy = "the clock jumped: nothing is added until three samples in a row agree on the time, and the time is after the newest sample", "set the clock (timedatectl)"
	}
	st.Samples = s.samples.Load()
	st.Bytes = size(s.options.Path)
	st.Aside = listAside(s.options.Path)
	d, err := s.gate.enter()
	if err != nil {
		return st
	}
	defer s.gate.leave()
	st.Series = int(d.Head().NumSeries())
	if at, ok := d.oldest(); ok {
		st.Oldest = time.UnixMilli(at)
	}
	if at, ok := d.newest(); ok {
		st.Newest = time.UnixMilli(at)
	}
	return st
}
