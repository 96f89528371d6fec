package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"noether/internal/probe"
)

// health knows whether the last answer was one, and says so when that changes.
type health struct {
	source string
	log    *slog.Logger
	now    func() time.Time

	mu     sync.Mutex
	up     bool
	lost   bool // it was said that there are no answers
	synced time.Time
}

// answered notes that what was asked was answered.
func (h *health) answered(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.lost:
		h.log.LogAttrs(ctx, slog.LevelInfo, "names of pods are back", slog.String("source", h.source))
	case !h.up:
		h.log.LogAttrs(ctx, slog.LevelInfo, "names of pods are known", slog.String("source", h.source))
	}
	h.up, h.lost = true, false
}

// complete notes that every pod is known by now.
func (h *health) complete() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.synced = h.now()
}

// failed notes that there was no answer, for the reason err. The first time is
// logged, unless the source is being closed.
func (h *health) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.lost {
		attrs := []slog.Attr{slog.String("source", h.source), slog.String("reason", err.Error())}
		var known *probe.Error
		if errors.As(err, &known) && known.Remedy != "" {
			attrs = append(attrs, slog.String("remedy", known.Remedy))
		}
		h.log.LogAttrs(ctx, slog.LevelWarn,
			"names of pods cannot be asked for; what was known stays valid, new pods go by their uid, no energy is lost", attrs...)
	}
	h.up, h.lost = false, true
}

func (h *health) state() (up bool, synced time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.up, h.synced
}

// maxBody bounds an answer, in bytes.
const maxBody = 64 << 20

var errTooLarge = fmt.Errorf("the answer is larger than %d MiB, or an event of it than %d MiB", maxBody>>20, maxEvent>>20)

// meter counts requests and the bytes of answers (decompressed), and bounds the latter.
type meter struct {
	requests, bytes atomic.Uint64
}

// through returns next with what passes it counted.
func (m *meter) through(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		m.requests.Add(1)
		resp, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		body := &meteredBody{ReadCloser: resp.Body, meter: m, left: maxBody}
		if r.URL.Query().Get("watch") == "true" {
			body.event = new(eventEnd)
		}
		resp.Body = body
		return resp, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type meteredBody struct {
	io.ReadCloser
	meter *meter
	left  int64     // how much may still come, without event
	event *eventEnd // of a watch: it is as long as it likes to be, its events are not
}

func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.meter.bytes.Add(uint64(n))
	if b.event != nil {
		if !b.event.pass(p[:n]) {
			return 0, errTooLarge
		}
		return n, err
	}
	if b.left -= int64(n); b.left < 0 {
		b.left = 0
		return 0, errTooLarge
	}
	return n, err
}

// maxEvent bounds one event of a watch, in bytes: ten times the largest object
// that an API server stores.
const maxEvent = 16 << 20

// eventEnd follows a stream of JSON objects and knows how long the one at hand is.
type eventEnd struct {
	size            int64
	depth           int
	quoted, escaped bool
}

// pass reports whether the stream may go on after p.
func (e *eventEnd) pass(p []byte) bool {
	for _, c := range p {
		e.size++
		switch {
		case e.escaped:
			e.escaped = false
		case c == '"':
			e.quoted = !e.quoted
		case e.quoted:
			e.escaped = c == '\\'
		case c == '{' || c == '[':
			e.depth++
		case c == '}' || c == ']':
			if e.depth--; e.depth <= 0 {
				e.depth, e.size = 0, 0
			}
		}
		if e.size > maxEvent {
			return false
		}
	}
	return true
}
