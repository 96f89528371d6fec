package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// guard keeps the trouble of a disk from ending the program. The database ends
// it in two places, on a goroutine of its own, where nobody else can recover:
//   - each minute it moves finished chunks out of memory (mmapHeadChunks in
//     tsdb/db.go), and panics if one cannot be written (handleChunkWriteError in
//     tsdb/head_append.go);
//   - what it compacts is mapped into memory, and to read a page that the disk
//     does not give, or that was cut off its file, is a fault (SIGBUS, mmap(2)).
//
// Any number of goroutines may use it.
type guard struct {
	dir     string
	broken  func(error)           // is told at once that the database is spoilt
	writing sync.Mutex            // held while samples are added, and while chunks are moved
	fault   atomic.Pointer[error] // why the database's maintenance ended; nil while it goes on
	spoilt  atomic.Bool           // a panic left locks behind: who uses the database may wait for ever
	foreign atomic.Bool           // a goroutine of this package compacts
}

// stopped returns why the maintenance of the database ended, or nil.
func (g *guard) stopped() error {
	if err := g.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// tend is called on the database's goroutine just before it moves chunks. They
// are moved here, where a panic can be recovered, so that nothing is left to
// move; and where no file can be written not even that is tried. Then the
// goroutine ends, and with it the maintenance of this opening.
func (g *guard) tend(move func()) {
	if g.foreign.Load() {
		return
	}
	if g.stopped() != nil {
		runtime.Goexit()
	}
	err := canWrite(g.dir)
	if err == nil {
		g.writing.Lock()
		err = g.try("move samples out of memory", move)
		g.writing.Unlock()
	}
	if err != nil {
		g.fault.CompareAndSwap(nil, &err)
		runtime.Goexit()
	}
}

// add calls f, which adds samples, unless the database is spoilt: it would wait
// for a lock of the series in whose chunk the panic was.
func (g *guard) add(f func() error) error {
	g.writing.Lock()
	defer g.writing.Unlock()
	if g.spoilt.Load() {
		return g.stopped()
	}
	return f()
}

// try calls f, whose panic spoils the database.
func (g *guard) try(what string, f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &trouble{Failed, fmt.Errorf("%s in %s: %v", what, g.dir, r), "see to the disk (dmesg tells more), then restart the agent", true}
			g.spoilt.Store(true)
			g.fault.CompareAndSwap(nil, &err)
			g.broken(err)
		}
	}()
	defer faultsPanic()()
	f()
	return nil
}

// faultsPanic makes reading memory that its file does not give a panic of the
// calling goroutine, until undo is called. Else it ends the program.
func faultsPanic() (undo func()) {
	before := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(before) }
}

// canWrite returns an error if the database in dir could write no file now.
func canWrite(dir string) error {
	if err := noRoom(dir, room); err != nil {
		return err
	}
	dir = filepath.Join(dir, "chunks_head")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	name := filepath.Join(dir, "probe") // no number, so the database leaves it alone
	err := os.WriteFile(name, make([]byte, 4<<10), 0o640)
	if gone := os.Remove(name); err == nil {
		err = gone
	}
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	return nil
}

// compactor compacts as the database does by itself, and recovers. ID is the
// type of the names of blocks.
type compactor[ID any] struct {
	inner[ID]
	guard *guard
}

// inner is a [tsdb.Compactor].
type inner[ID any] interface {
	Plan(dir string) ([]string, error)
	Write(dest string, b tsdb.BlockReader, from, to int64, base *tsdb.BlockMeta) ([]ID, error)
	Compact(dest string, dirs []string, open []*tsdb.Block) ([]ID, error)
}

func compacting[ID any](c inner[ID], g *guard) compactor[ID] { return compactor[ID]{c, g} }

// compactor is a [tsdb.NewCompactorFunc].
func (g *guard) compactor(ctx context.Context, r prometheus.Registerer, log *slog.Logger, ranges []int64, pool chunkenc.Pool, o *tsdb.Options) (tsdb.Compactor, error) {
	c, err := tsdb.NewLeveledCompactorWithOptions(ctx, r, log, ranges, pool, tsdb.LeveledCompactorOptions{
		MaxBlockChunkSegmentSize: o.MaxBlockChunkSegmentSize, EnableOverlappingCompaction: o.EnableOverlappingCompaction,
	})
	if err != nil {
		return nil, fmt.Errorf("make the compactor of the history: %w", err)
	}
	return compacting(c, g), nil
}

// Write implements [tsdb.Compactor]: it makes a block of the head.
func (c compactor[ID]) Write(dest string, b tsdb.BlockReader, from, to int64, base *tsdb.BlockMeta) (ids []ID, err error) {
	if failed := c.guard.try("make a block of samples in memory", func() { ids, err = c.inner.Write(dest, b, from, to, base) }); failed != nil {
		return nil, failed
	}
	return ids, err
}

// Compact implements [tsdb.Compactor]: it makes one block of several. These have
// no locks, so a panic spoils nothing.
func (c compactor[ID]) Compact(dest string, dirs []string, open []*tsdb.Block) (ids []ID, err error) {
	defer func() {
		if r := recover(); r != nil {
			ids, err = nil, fmt.Errorf("read blocks of the history: %v", r)
		}
	}()
	defer faultsPanic()()
	return c.inner.Compact(dest, dirs, open)
}
