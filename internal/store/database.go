package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/compression"
)

// blockRange is how long samples stay in the head, plus a half; then they
// become a block.
const blockRange = 2 * time.Hour

// segmentSize is the size of the database's files; that of a block's is
// allocated before it is written.
const segmentSize = 16 << 20

// database is one opening of the database.
type database struct {
	*tsdb.DB
	guard
}

// openDatabase opens the database in dir, which this process has locked. broken
// is called if nobody should use it any more.
func openDatabase(dir string, o Options, maxBytes int64, log *faults, broken func(error)) (*database, error) {
	// While it is opened chunks are moved to disk too, on goroutines that nobody guards.
	if err := canWrite(dir); err != nil {
		return nil, err
	}
	d := &database{guard: guard{dir: dir, broken: broken}}
	opened := make(chan struct{})
	opts := tsdb.DefaultOptions()
	opts.NoLockfile = true // lock has it
	opts.RetentionDuration = o.RetentionTime.Milliseconds()
	opts.MaxBytes = maxBytes
	opts.MinBlockDuration = blockRange.Milliseconds()
	opts.MaxBlockDuration = max(blockRange, o.RetentionTime/10).Milliseconds()
	opts.WALCompression = compression.Snappy
	// For some ten thousand series, not millions: the defaults cost megabytes
	// for each of these, and half a gigabyte of disk while a block is written.
	opts.WALSegmentSize = segmentSize
	opts.MaxBlockChunkSegmentSize = segmentSize
	opts.HeadChunksWriteBufferSize = chunks.MinWriteBufferSize
	opts.StripeSize = 1 << 10
	opts.WALReplayConcurrency = 1
	opts.SamplesPerChunk = 240 // an hour: a chunk's first sample takes as much room as five others
	opts.BlocksToDelete = beforeDeleting(tsdb.DefaultBlocksToDelete, func() *tsdb.DB {
		select {
		case <-opened:
			return d.DB
		default:
			return nil // while it is opened
		}
	}, func() { d.tend(d.ForceHeadMMap) })
	log.reloading(func() { // the database asks which blocks to delete only if it can list them
		<-opened
		d.tend(d.ForceHeadMMap)
	})
	opts.NewCompactorFunc = d.compactor
	db, err := tsdb.Open(dir, slog.New(log), nil, opts, nil)
	if err != nil {
		return nil, fmt.Errorf("open the history in %s: %w", dir, err)
	}
	d.DB = db
	close(opened)
	return d, nil
}

// beforeDeleting returns retention's choice of blocks, made after check.
func beforeDeleting[K comparable, F ~func([]*tsdb.Block) map[K]struct{}](retention func(*tsdb.DB) F, db func() *tsdb.DB, check func()) F {
	return func(list []*tsdb.Block) map[K]struct{} {
		open := db()
		if open == nil {
			return nil
		}
		check()
		return retention(open)(list)
	}
}

// close closes the database. It panics in there if it cannot write the chunks
// in memory; these are in the log too, so nothing is lost. One that is spoilt
// stays open: its locks may be held for ever.
func (d *database) close() (err error) {
	if d.spoilt.Load() {
		return d.stopped()
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("close the history: %v", r)
		}
	}()
	if err := d.Close(); err != nil {
		return fmt.Errorf("close the history: %w", err)
	}
	return nil
}

// newest returns the time of the newest sample in milliseconds; false if there is none.
func (d *database) newest() (int64, bool) {
	if at := d.Head().MaxTime(); at != math.MinInt64 {
		return at, true
	}
	list := d.Blocks()
	if len(list) == 0 {
		return 0, false
	}
	return list[len(list)-1].MaxTime() - 1, true
}

// oldest returns the time of the oldest sample in milliseconds; false if there is none.
func (d *database) oldest() (int64, bool) {
	at, err := d.StartTime()
	return at, err == nil && at != math.MaxInt64
}

// overdue tells whether samples should have become a block long ago.
func (d *database) overdue() bool {
	head := d.Head()
	return head.MaxTime() != math.MinInt64 && head.MaxTime()-head.MinTime() > 2*blockRange.Milliseconds()
}

// cut moves all samples at or after a time in milliseconds out of the database,
// which is closed by it, and returns the paths that hold them.
func (d *database) cut(ctx context.Context, at int64) ([]string, error) {
	dir := d.Dir()
	if err := d.stopped(); err != nil { // its goroutine ended, and nobody else can compact
		return nil, errors.Join(err, d.close())
	}
	if head := d.Head(); head.MinTime() < at {
		// What lies before becomes a block.
		d.foreign.Store(true)
		err := d.CompactHead(tsdb.NewRangeHead(head, head.MinTime(), at-1))
		d.foreign.Store(false)
		if err != nil {
			err = fmt.Errorf("keep the history before the time of %s: %w", time.UnixMilli(at).UTC().Format(time.RFC3339), err)
			return nil, errors.Join(err, d.close())
		}
	}
	if err := d.close(); err != nil {
		return nil, err
	}
	late, err := split(ctx, dir, at)
	if err != nil {
		return nil, err
	}
	return append(late, filepath.Join(dir, "wal"), filepath.Join(dir, "chunks_head")), nil
}

// settle ends the series of a run that had no time to do so, just after the
// newest sample: each five-minute copy gets its series' last value, and both are
// marked as ended. It returns the time of the newest sample then.
func settle(ctx context.Context, d *database, copies map[string]string, interval time.Duration) (int64, error) {
	last, ok := d.newest()
	if !ok {
		return 0, nil
	}
	type sample struct {
		labels labels.Labels
		at     int64
		value  float64
	}
	var open []sample
	read := func() error {
		q, err := d.Querier(last-(CopyStep+interval).Milliseconds(), last)
		if err != nil {
			return err
		}
		set := q.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchNotEqual, labels.MetricName, ""))
		var it chunkenc.Iterator
		for set.Next() {
			s := sample{labels: set.At().Labels(), value: math.Float64frombits(value.StaleNaN)}
			it = set.At().Iterator(it)
			for it.Next() == chunkenc.ValFloat {
				s.at, s.value = it.At()
			}
			if it.Err() != nil {
				break
			}
			if !value.IsStaleNaN(s.value) {
				open = append(open, s)
			}
		}
		if it != nil {
			err = it.Err()
		}
		return errors.Join(err, set.Err(), q.Close())
	}
	add := func(ls labels.Labels, app storage.Appender, at int64, v float64) error {
		_, err := app.Append(0, ls, at, v)
		if errors.Is(err, storage.ErrOutOfOrderSample) || errors.Is(err, storage.ErrDuplicateSampleForTimestamp) || errors.Is(err, storage.ErrOutOfBounds) {
			return nil // it has one, or cannot have one any more
		}
		return err
	}
	if err := read(); err != nil {
		return 0, fmt.Errorf("read the end of the history: %w", err)
	}
	if len(open) == 0 {
		return last, nil
	}
	first, second := d.Appender(ctx), d.Appender(ctx)
	var errs []error
	var builder labels.Builder
	for i := range open {
		s := &open[i]
		if name := copies[s.labels.Get(labels.MetricName)]; name != "" {
			builder.Reset(s.labels)
			ls := builder.Set(labels.MetricName, name).Labels()
			errs = append(errs, add(ls, first, s.at, s.value), add(ls, second, last+1, math.Float64frombits(value.StaleNaN)))
		} else if strings.HasPrefix(s.labels.Get(labels.MetricName), CopyPrefix) {
			continue // by its series
		}
		errs = append(errs, add(s.labels, second, last+1, math.Float64frombits(value.StaleNaN)))
	}
	if err := errors.Join(errs...); err != nil {
		return 0, fmt.Errorf("end the series of the run before: %w", errors.Join(err, first.Rollback(), second.Rollback()))
	}
	if err := first.Commit(); err != nil {
		return 0, fmt.Errorf("end the series of the run before: %w", errors.Join(err, second.Rollback()))
	}
	if err := second.Commit(); err != nil {
		return 0, fmt.Errorf("end the series of the run before: %w", err)
	}
	return last + 1, nil
}
