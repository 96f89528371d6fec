// Package prometheus renders the family table as a page that Prometheus
// scrapes: text format 0.0.4 or OpenMetrics 1.0.0, plain or compressed, each at
// most once per snapshot and only if somebody asks.
//
// It refuses to do work for a scrape that another scrape has done already, and
// it never asks a sensor: a scrape shows the last tick.
package prometheus

import (
	"bytes"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"

	"noether/internal/export"
	"noether/internal/snapshot"
)

// Page serves the metrics of the newest snapshot. It is safe for any number
// of goroutines.
type Page struct {
	source func() *snapshot.Snapshot
	slots  [2 * formats]slot // by format, plain and compressed
}

// NewPage returns the page of the snapshots that source returns; nil means
// that there is none yet.
func NewPage(source func() *snapshot.Snapshot, about export.About) *Page {
	p := &Page{source: source}
	for i := range p.slots {
		s := &p.slots[i]
		s.format, s.compressed = Format(i/2), i%2 == 1
		s.about = about
	}
	return p
}

// ServeHTTP answers GET and HEAD.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed: use GET", http.StatusMethodNotAllowed)
		return
	}
	format := negotiate(r.Header["Accept"])
	compressed := AcceptsGzip(r.Header["Accept-Encoding"])
	b := p.acquire(format, compressed)
	defer b.release()

	h := w.Header()
	h.Set("Content-Type", format.ContentType())
	h.Set("Vary", "Accept, Accept-Encoding")
	if compressed {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(b.data)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(b.data) // the scraper has gone; nobody is left to tell
}

// Append appends the page of the newest snapshot to dst, uncompressed.
func (p *Page) Append(dst []byte, format Format) []byte {
	b := p.acquire(format, false)
	defer b.release()
	return append(dst, b.data...)
}

// acquire returns the rendered page; the caller releases it.
func (p *Page) acquire(format Format, compressed bool) *body {
	i := int(format) * 2
	if compressed {
		i++
	}
	b, seq := p.slots[i].acquire(p.source)
	if seq != 0 {
		for j := range p.slots {
			if j != i {
				p.slots[j].forget(seq)
			}
		}
	}
	return b
}

// key tells snapshots apart without keeping one alive.
type key struct {
	present bool
	seq     uint64
	at      time.Time
}

func keyOf(s *snapshot.Snapshot) key {
	if s == nil {
		return key{}
	}
	return key{present: true, seq: s.Seq, at: s.Time}
}

// body is one rendered page. It is not written to while anybody holds it.
type body struct {
	slot *slot
	data []byte
	held atomic.Int32 // by the slot while it is current, and by each scraper
}

// slot holds the current page of one format and encoding.
type slot struct {
	format     Format
	compressed bool
	about      export.About

	mu      sync.Mutex // held while rendering: whoever waits for it shares the result
	ready   bool
	key     key
	current *body
	table   *export.Table
	writer  writer
	gzip    *gzip.Writer

	freeMu sync.Mutex
	free   *body // one that nobody holds any more
}

// acquire returns the page of the newest snapshot, and the number of its tick
// if it had to be rendered.
func (s *slot) acquire(source func() *snapshot.Snapshot) (b *body, rendered uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Read under the lock, so that a scraper that waited for a slow render
	// never brings back an older page.
	snap := source()
	if k := keyOf(snap); !s.ready || s.key != k {
		b := s.take()
		s.render(b, snap)
		rendered = k.seq
		old := s.current
		s.current, s.key, s.ready = b, k, true
		b.held.Store(1)
		if old != nil {
			old.release()
		}
	}
	s.current.held.Add(1)
	return s.current, rendered
}

// forgetAfter is for how many ticks a page that nobody asks for keeps its memory.
const forgetAfter = 16

// forget lets go of a page that nobody has asked for since long before tick seq.
func (s *slot) forget(seq uint64) {
	if !s.mu.TryLock() {
		return // somebody asks for it now
	}
	defer s.mu.Unlock()
	if !s.ready || seq-s.key.seq <= forgetAfter {
		return
	}
	old := s.current
	s.current, s.ready = nil, false
	old.release()
	s.freeMu.Lock()
	s.free = nil
	s.freeMu.Unlock()
}

// take returns a body that nobody holds.
func (s *slot) take() *body {
	s.freeMu.Lock()
	defer s.freeMu.Unlock()
	b := s.free
	s.free = nil
	if b == nil {
		b = &body{slot: s}
	}
	return b
}

func (b *body) release() {
	if b.held.Add(-1) > 0 {
		return
	}
	// Slow scrapers may leave several behind: one is kept for the next tick.
	b.slot.freeMu.Lock()
	defer b.slot.freeMu.Unlock()
	if b.slot.free == nil {
		b.slot.free = b
	}
}

// shrink gives back what an unusually large page has left.
func (b *body) shrink() {
	if cap(b.data) > 1<<20 && cap(b.data) > 4*len(b.data) {
		b.data = bytes.Clone(b.data)
	}
}

// Write implements io.Writer for the compressor.
func (b *body) Write(p []byte) (int, error) {
	b.data = append(b.data, p...)
	return len(p), nil
}

func (s *slot) render(b *body, snap *snapshot.Snapshot) {
	if s.table == nil {
		s.table = export.NewTable(s.about)
		s.writer.header = headers(s.table.Families(), s.format)
		if s.compressed {
			s.gzip, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
			s.writer.buf = make([]byte, 0, chunk+4<<10)
			s.writer.spill = func(p []byte) { _, _ = s.gzip.Write(p) } // writing to a body cannot fail
		}
	}
	defer b.shrink()
	w := &s.writer
	w.last = -1
	if !s.compressed {
		w.buf = b.data[:0]
		s.table.Walk(snap, w)
		b.data, w.buf = s.end(w.buf), nil
		return
	}
	b.data = b.data[:0]
	s.gzip.Reset(b)
	w.buf = w.buf[:0]
	s.table.Walk(snap, w)
	w.spill(s.end(w.buf))
	_ = s.gzip.Close() // likewise
}

func (s *slot) end(page []byte) []byte {
	if s.format == OpenMetrics {
		page = append(page, "# EOF\n"...)
	}
	return page
}
