package store

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"noether/internal/export"
	"noether/internal/snapshot"
)

// appendable is what a writer needs of the database.
type appendable interface {
	Appender(context.Context) storage.Appender
}

// writer turns snapshots into samples. It remembers each series of the last
// snapshot by a hash of its labels, so that a sample costs no allocation. It is
// used by one goroutine, for one opening of the database: after an error of
// write it is not used again, for the database may know series that its log lacks.
type writer struct {
	db       appendable
	table    *export.Table
	families []family // by Family.Index
	seeds    [2]maphash.Seed
	series   map[[2]uint64]*series

	last    int64 // time of the last sample, in milliseconds; 0 before the first
	samples uint64

	// Of the write under way.
	at      int64
	copying bool // a five-minute mark was passed
	round   uint64
	app     storage.Appender
	err     error
	key     []byte
	builder labels.ScratchBuilder
}

type family struct {
	keep    keep
	copy    string  // the name of the copy
	quantum float64 // see quantumOf
}

// series is one set of labels in the last snapshot.
type series struct {
	ref, copyRef storage.SeriesRef
	value        float64
	copiedAt     int64
	round        uint64
	copied       bool
}

func newWriter(db appendable, about export.About) *writer {
	w := &writer{
		db: db, table: export.NewTable(about), series: map[[2]uint64]*series{},
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}
	for i := range w.table.Families() {
		f := &w.table.Families()[i]
		w.families = append(w.families, family{
			keep: keepOf(f), copy: CopyName(f), quantum: quantumOf(f),
		})
	}
	return w
}

// write adds the samples of s at a time in milliseconds, which is after all before.
func (w *writer) write(ctx context.Context, s *snapshot.Snapshot, at int64) error {
	w.copying = at/CopyStep.Milliseconds() != w.last/CopyStep.Milliseconds()
	w.at, w.err = at, nil
	w.round++
	w.app = w.db.Appender(ctx)
	w.table.Walk(s, w)
	for key, e := range w.series {
		if e.round == w.round {
			continue
		}
		w.end(e, at)
		delete(w.series, key)
	}
	return w.commit()
}

// stop marks the end of every series just after the last sample.
func (w *writer) stop(ctx context.Context) error {
	if len(w.series) == 0 {
		return nil
	}
	w.err = nil
	w.app = w.db.Appender(ctx)
	for key, e := range w.series {
		w.end(e, w.last+1)
		delete(w.series, key)
	}
	w.at = w.last + 1
	return w.commit()
}

func (w *writer) commit() error {
	app := w.app
	w.app = nil
	if w.err != nil {
		return errors.Join(w.err, app.Rollback())
	}
	if err := app.Commit(); err != nil {
		return fmt.Errorf("write samples to the history: %w", err)
	}
	w.last = w.at
	return nil
}

// end marks the end of a series. Its copy gets the last value first: what was
// used since the last five-minute mark counts.
func (w *writer) end(e *series, at int64) {
	stale := math.Float64frombits(value.StaleNaN)
	if e.copied {
		if e.copiedAt < w.last {
			w.again(e.copyRef, w.last, e.value)
		}
		w.again(e.copyRef, at, stale)
	}
	w.again(e.ref, at, stale)
}

// again appends to a series that is known; one that the database dropped needs no end.
func (w *writer) again(ref storage.SeriesRef, at int64, v float64) {
	if w.err != nil {
		return
	}
	if _, err := w.app.Append(ref, labels.EmptyLabels(), at, v); err != nil && !errors.Is(err, tsdb.ErrInvalidSample) {
		w.err = fmt.Errorf("end a series of the history: %w", err)
		return
	}
	w.samples++
}

// Sample is called by the table for every sample of the snapshot.
func (w *writer) Sample(f *export.Family, list []export.Label, v export.Value) {
	fam := &w.families[f.Index]
	if fam.keep == never || w.err != nil {
		return
	}
	key := w.hash(f, list)
	e := w.series[key]
	if e == nil {
		e = &series{copied: fam.keep == copied}
		w.series[key] = e
	}
	e.value = fam.float(v)
	e.round = w.round
	e.ref = w.append(e.ref, f.Name, list, e.value)
	if e.copied && (w.copying || e.copiedAt == 0) {
		e.copyRef = w.append(e.copyRef, fam.copy, list, e.value)
		e.copiedAt = w.at
	}
}

func (w *writer) append(ref storage.SeriesRef, name string, list []export.Label, v float64) storage.SeriesRef {
	var err error
	if ref != 0 {
		if _, err = w.app.Append(ref, labels.EmptyLabels(), w.at, v); err == nil {
			w.samples++
			return ref
		}
	}
	if ref == 0 || errors.Is(err, tsdb.ErrInvalidSample) { // new, or dropped by the database
		ref, err = w.app.Append(0, w.labels(name, list), w.at, v)
	}
	if err != nil {
		w.err = fmt.Errorf("add a sample of %s to the history: %w", name, err)
		return 0
	}
	w.samples++
	return ref
}

// hash returns what tells series apart: two hashes with seeds nobody knows.
func (w *writer) hash(f *export.Family, list []export.Label) [2]uint64 {
	key := strconv.AppendInt(w.key[:0], int64(f.Index), 10)
	for i := range list {
		l := &list[i]
		key = append(key, 0xff)
		key = append(key, l.Name...)
		key = append(key, 0xff) // in no UTF-8
		if l.Form == export.Number {
			key = strconv.AppendUint(key, l.Number, 10)
		} else {
			key = append(key, l.Value...)
		}
	}
	w.key = key
	return [2]uint64{maphash.Bytes(w.seeds[0], key), maphash.Bytes(w.seeds[1], key)}
}

// labels returns the labels of a new series.
func (w *writer) labels(name string, list []export.Label) labels.Labels {
	w.builder.Reset()
	w.builder.Add(labels.MetricName, name)
	for i := range list {
		v := list[i].Value
		if list[i].Form == export.Number {
			v = strconv.FormatUint(list[i].Number, 10)
		}
		w.builder.Add(list[i].Name, v)
	}
	w.builder.Sort()
	return w.builder.Labels()
}

// copies returns the names of the copies by those of the families.
func (w *writer) copies() map[string]string {
	names := map[string]string{}
	for i := range w.families {
		if w.families[i].keep == copied {
			names[w.table.Families()[i].Name] = w.families[i].copy
		}
	}
	return names
}

// take returns how many samples were added since it was last called.
func (w *writer) take() uint64 {
	n := w.samples
	w.samples = 0
	return n
}
