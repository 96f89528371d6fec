package promapi

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// interruptible makes what it queries end with the query. The engine looks at
// its time limit once for each series, and one series can have thousands of
// windows of a million samples.
type interruptible struct{ storage.Queryable }

// Querier implements [storage.Queryable].
func (i interruptible) Querier(from, to int64) (storage.Querier, error) {
	q, err := i.Queryable.Querier(from, to)
	if err != nil {
		return nil, err
	}
	return endingQuerier{q}, nil
}

type endingQuerier struct{ storage.Querier }

// Select implements [storage.Querier].
func (q endingQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	return endingSet{q.Querier.Select(ctx, sorted, hints, matchers...), ctx}
}

type endingSet struct {
	storage.SeriesSet
	ctx context.Context
}

// At implements [storage.SeriesSet].
func (s endingSet) At() storage.Series { return endingSeries{s.SeriesSet.At(), s.ctx} }

type endingSeries struct {
	storage.Series
	ctx context.Context
}

// Iterator implements [storage.Series].
func (s endingSeries) Iterator(used chunkenc.Iterator) chunkenc.Iterator {
	it, ok := used.(*endingIterator)
	if !ok {
		it = &endingIterator{}
	}
	it.Iterator, it.ctx, it.err = s.Series.Iterator(it.Iterator), s.ctx, nil
	return it
}

// between is how many samples are read between two looks at the time limit:
// they take some ten microseconds.
const between = 256

type endingIterator struct {
	chunkenc.Iterator
	ctx  context.Context
	err  error
	left int // samples until the next look, those of other series included
}

// Next implements [chunkenc.Iterator]. The engine seeks by it, but for the
// first sample of a window.
func (i *endingIterator) Next() chunkenc.ValueType {
	if i.left--; i.left < 0 {
		if i.err = i.ctx.Err(); i.err != nil {
			return chunkenc.ValNone
		}
		i.left = between
	}
	return i.Iterator.Next()
}

// Err implements [chunkenc.Iterator].
func (i *endingIterator) Err() error {
	if i.err != nil {
		return i.err
	}
	return i.Iterator.Err()
}
