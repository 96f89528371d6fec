package store

import (
	"context"
	"log/slog"
	"sync"
)

// faults is what the database logs: nothing in the steady state, and each
// fault once while it stays the same. It tells notice about errors.
type faults struct {
	slog.Handler
	notice func(error)
	seen   *seen
}

type seen struct {
	mu     sync.Mutex
	text   map[string]string // the last error of each message
	reload func()            // called on the goroutine of the database that could not list its blocks
}

// reloadFailed is what the database's goroutine logs, and nobody else, when it
// could not list its blocks (DB.run in tsdb/db.go).
const reloadFailed = "reloadBlocks"

// reloading has f called there. It is set before the database is opened.
func (h *faults) reloading(f func()) { h.seen.reload = f }

func newFaults(h slog.Handler, notice func(error)) *faults {
	return &faults{Handler: h, notice: notice, seen: &seen{text: map[string]string{}}}
}

// Enabled implements [slog.Handler].
func (*faults) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements [slog.Handler].
func (h *faults) Handle(ctx context.Context, r slog.Record) error {
	var fault error
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			fault = err
		}
		return fault == nil
	})
	text := ""
	if fault != nil {
		text = fault.Error()
		h.notice(fault)
	}
	h.seen.mu.Lock()
	before, repeated := h.seen.text[r.Message]
	h.seen.text[r.Message] = text
	h.seen.mu.Unlock()
	var err error
	if (!repeated || before != text) && h.Handler.Enabled(ctx, r.Level) {
		told := r.Clone()
		told.AddAttrs(slog.String("part", "history"))
		err = h.Handler.Handle(ctx, told)
	}
	if r.Message == reloadFailed && h.seen.reload != nil {
		h.seen.reload()
	}
	return err
}

// WithAttrs implements [slog.Handler].
func (h *faults) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &faults{h.Handler.WithAttrs(attrs), h.notice, h.seen}
}

// WithGroup implements [slog.Handler].
func (h *faults) WithGroup(name string) slog.Handler {
	return &faults{h.Handler.WithGroup(name), h.notice, h.seen}
}
