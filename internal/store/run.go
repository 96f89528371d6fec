package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"noether/internal/snapshot"
)

const (
	retry = time.Minute     // how long trouble is left alone
	drain = 5 * time.Second // how long the end of Run waits for queries
)

// errAgain says that the database has to be opened again, at once.
var errAgain = errors.New("open the history again")

// Run opens the history, writes it, keeps it in its bounds, and closes it when
// ctx is done. Trouble does not end it: Status tells, and it is tried again
// after a minute.
func (s *Store) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.gate.shut(errClosed)
			return nil
		case <-timer.C:
		}
		err := s.once(ctx)
		switch {
		case ctx.Err() != nil:
			s.unclean(ctx, err)
		case errors.Is(err, errAgain):
			timer.Reset(0)
			continue
		default:
			s.fail(ctx, err)
		}
		timer.Reset(retry)
	}
}

// once opens the history and writes it until ctx is done or something is wrong.
// The database panics where a file has what it never wrote. That ends the
// history, which stays locked, and not the program: measuring goes on.
func (s *Store) once(ctx context.Context) (err error) {
	var n *session
	defer faultsPanic()()
	defer func() {
		if r := recover(); r != nil {
			err = s.abandon(ctx, n, &trouble{Failed, fmt.Errorf("use the history: %v", r), "restart the agent; if it stays, move " + s.options.Path + " away", true})
		}
	}()
	n, err = s.start(ctx)
	if err != nil {
		return err
	}
	err = n.serve(ctx)
	if n.d.spoilt.Load() {
		return s.abandon(ctx, n, n.d.stopped())
	}
	return n.end(ctx, err)
}

// abandon leaves the history as it is, open and locked, until ctx is done.
func (s *Store) abandon(ctx context.Context, n *session, err error) error {
	s.gate.shut(err)
	s.fail(ctx, err)
	<-ctx.Done()
	runtime.KeepAlive(n) // the lock would be released with its file
	return err
}

// session is the time between opening and closing the database. It is used by
// one goroutine.
type session struct {
	*Store
	d     *database
	lock  *os.File
	w     *writer
	c     clock
	full  bool      // there is no room; w is of no use any more
	until time.Time // cut away what is at or after it, unless it is zero
}

// start opens the database, when nobody else has it and there is room.
func (s *Store) start(ctx context.Context) (n *session, err error) {
	dir := filepath.Join(s.options.Path, databaseDir)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the directory of the history: %w", err)
	}
	held, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, held.Close())
		}
	}()
	d, err := s.open(ctx, dir)
	if err != nil {
		return nil, err
	}
	w := newWriter(d, s.options.About)
	n = &session{Store: s, d: d, lock: held, w: w, c: clock{interval: s.options.Interval, retain: s.options.RetentionTime}}
	if w.last, err = settle(ctx, d, w.copies(), s.options.Interval); err != nil {
		return nil, errors.Join(err, d.close())
	}
	if w.last != 0 {
		n.c.last = time.UnixMilli(w.last)
	}
	s.gate.open(d)
	s.set(Ready, nil, "")
	return n, nil
}

// open opens the database in dir, without the blocks that cannot be.
func (s *Store) open(ctx context.Context, dir string) (*database, error) {
	if err := noRoom(dir, room+size(filepath.Join(dir, "wal"))); err != nil {
		return nil, err
	}
	bad, err := broken(dir)
	if err != nil {
		return nil, err
	}
	for name, why := range bad {
		if err := s.aside(ctx, "this block cannot be read: "+why.Error(), name); err != nil {
			return nil, err
		}
	}
	log := newFaults(s.log.Handler(), s.notice)
	broken := func(err error) { // at once: queries would wait for ever
		s.gate.shut(err)
		s.fail(ctx, err)
	}
	// What was put aside counts, up to a half.
	limit := max(s.options.RetentionSize/2, s.options.RetentionSize-size(filepath.Join(s.options.Path, asideDir)))
	d, err := openDatabase(dir, s.options, limit, log, broken)
	if err == nil || blame(dir, err).known {
		return d, err
	}
	if err := s.aside(ctx, "the samples of the last hours cannot be read: "+err.Error(), filepath.Join(dir, "wal"), filepath.Join(dir, "chunks_head")); err != nil {
		return nil, err
	}
	return openDatabase(dir, s.options, limit, log, broken)
}

// serve writes what is offered until ctx is done or something is wrong.
func (n *session) serve(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.offers:
		}
		if err := n.take(ctx, n.newest.Load()); err != nil {
			return err
		}
	}
}

// take writes a snapshot, if it is time for one.
func (n *session) take(ctx context.Context, snap *snapshot.Snapshot) error {
	stopped := n.d.stopped()
	if stopped != nil && !isFull(stopped) {
		return stopped
	}
	mono := n.options.Now()
	v, at := n.c.judge(snap.Time, mono, snap.Elapsed)
	if v == early {
		return nil
	}
	n.doubtful(ctx, v == doubt)
	if v == doubt {
		return nil
	}
	if v == cut {
		n.until = at
		return errAgain
	}
	need := int64(room)
	if n.full {
		need += size(filepath.Join(n.d.Dir(), "wal")) // what opening it may take
	}
	err := noRoom(n.d.Dir(), need)
	if err == nil && (n.full || stopped != nil) {
		return errAgain
	}
	if err == nil {
		err = n.d.add(func() error { return n.w.write(ctx, snap, at.UnixMilli()) })
	}
	if isFull(err) {
		n.full = true
		n.fail(ctx, err)
	} else if err != nil {
		return err
	}
	n.c.took(time.UnixMilli(at.UnixMilli()), mono) // if it is full, the next attempt is after an interval
	n.samples.Add(n.w.take())
	if n.crowded.Load() && !n.d.overdue() {
		n.crowded.Store(false)
		n.set(Ready, nil, "")
	}
	return nil
}

// end closes the database after serve returned err. When ctx is done, the
// newest snapshot is written, and all series end.
func (n *session) end(ctx context.Context, err error) error {
	defer n.lock.Close() //nolint:errcheck // nothing was written but its name
	stopping := ctx.Err() != nil
	late := ctx
	why := ErrLoading
	if stopping {
		var cancel func()
		late, cancel = context.WithTimeoutCause(context.WithoutCancel(ctx), drain, errors.New("a query is still running"))
		defer cancel()
		why = errClosed
		if err == nil && !n.full {
			err = n.finish(late)
		}
	}
	if busy := wait(late, n.gate.shut(why)); busy != nil {
		return errors.Join(err, fmt.Errorf("close the history: %w", busy)) // the log of the database has everything
	}
	if n.until.IsZero() {
		closed := n.d.close()
		if stopping || err == nil {
			return errors.Join(err, closed)
		}
		n.unclean(ctx, closed)
		if errors.Is(err, errAgain) {
			n.set(Loading, nil, "")
		}
		return err
	}
	n.set(Loading, nil, "")
	paths, failed := n.d.cut(late, n.until.UnixMilli())
	if failed != nil {
		return failed
	}
	failed = n.aside(ctx, "the clock went back to "+n.until.UTC().Format(time.RFC3339)+": these samples have later times", paths...)
	if failed != nil {
		return failed
	}
	return err
}

// finish writes the newest snapshot, if it is newer than the last sample, and
// ends all series.
func (n *session) finish(ctx context.Context) error {
	if snap := n.newest.Load(); snap != nil && n.c.believes(snap.Time, n.options.Now()) {
		if err := n.d.add(func() error { return n.w.write(ctx, snap, snap.Time.UnixMilli()) }); err != nil {
			return err
		}
	}
	err := n.d.add(func() error { return n.w.stop(ctx) })
	n.samples.Add(n.w.take())
	return err
}

// aside moves paths out of the database, and tells.
func (s *Store) aside(ctx context.Context, reason string, paths ...string) error {
	to, err := putAside(s.options.Path, s.options.Now(), reason, paths...)
	if err != nil {
		return err
	}
	s.log.LogAttrs(ctx, slog.LevelWarn, "a part of the history was put aside", slog.String("path", to), slog.String("reason", reason))
	return nil
}

// doubtful tells that the time of snapshots is not believed, or is again.
func (s *Store) doubtful(ctx context.Context, on bool) {
	if s.doubted.Swap(on) == on {
		return
	}
	if on {
		s.log.LogAttrs(ctx, slog.LevelWarn, "the clock jumped; the history waits until it is sure of the time")
		return
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "the history goes on after the clock jumped")
}

// notice is told about the errors of the database's own goroutine.
func (s *Store) notice(err error) {
	if isFull(err) {
		s.crowded.Store(true)
		s.set(Full, err, blame(s.options.Path, err).remedy)
	}
}

// unclean tells that the database was not closed as it should be.
func (s *Store) unclean(ctx context.Context, err error) {
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "the history was not closed cleanly; it mends itself when it is opened", slog.Any("error", err))
	}
}

// fail tells that nothing is added to the history, and logs it once.
func (s *Store) fail(ctx context.Context, err error) {
	if err == nil {
		return
	}
	t := blame(s.options.Path, err)
	if s.set(t.state, t.reason, t.remedy) {
		s.log.LogAttrs(ctx, slog.LevelError, "nothing is added to the history; measuring goes on", slog.Any("error", t.reason), slog.String("remedy", t.remedy))
	}
}

// set changes what Status and Queryable tell. It returns whether the reason is another.
func (s *Store) set(state State, reason error, remedy string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.reason
	s.state, s.reason, s.remedy = state, "", remedy
	if reason != nil {
		s.reason = reason.Error()
		s.gate.explain(&trouble{state: state, reason: reason, remedy: remedy})
	}
	return before != s.reason
}
