package promapi

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// TestTheIteratorEndsWithItsQuery reads one series after the other, as the
// engine does, each shorter than what is read between two looks.
func TestTheIteratorEndsWithItsQuery(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	series := promql.NewStorageSeries(promql.Series{Metric: labels.EmptyLabels(), Floats: make([]promql.FPoint, 10)})
	it := endingSeries{series, ctx}.Iterator(nil)
	for it.Next() != chunkenc.ValNone {
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
	cancel()
	read := 0
	for range between {
		it = endingSeries{series, ctx}.Iterator(it)
		for it.Next() != chunkenc.ValNone {
			read++
		}
		if it.Err() != nil {
			break
		}
	}
	if !errors.Is(it.Err(), context.Canceled) || read > between {
		t.Errorf("after %d samples: %v", read, it.Err())
	}
	if kind := it.Next(); kind != chunkenc.ValNone {
		t.Errorf("it went on to a value of type %d", kind)
	}
}
