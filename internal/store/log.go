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
	mu   sync.Mutex
	text map[string]string // the last error of each message
}

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
	if repeated && before == text || !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	r.AddAttrs(slog.String("part", "history"))
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h *faults) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &faults{h.Handler.WithAttrs(attrs), h.notice, h.seen}
}

// WithGroup implements [slog.Handler].
func (h *faults) WithGroup(name string) slog.Handler {
	return &faults{h.Handler.WithGroup(name), h.notice, h.seen}
}
