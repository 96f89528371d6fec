package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/prometheus/prometheus/storage"
	"golang.org/x/sys/unix"

	"noether/internal/agent"
	"noether/internal/config"
	"noether/internal/export"
	"noether/internal/snapshot"
	"noether/internal/store"
	"noether/internal/web/promapi"
)

// history is what the agent keeps of its past, or why it keeps nothing. No
// trouble of it stops the agent from measuring.
type history struct {
	store *store.Store // nil: nothing is kept
	off   string       // why, and what to do
}

// openHistory decides where the history is kept. It opens nothing but looks
// whether the directory that nobody named can be written.
func openHistory(p *process, cfg *config.Config, about export.About, log *slog.Logger, clock agent.Clock) *history {
	dir, off, asked := cfg.Directory(p.getenv, os.Geteuid() == 0)
	if off == "" && !asked {
		if err := writable(dir); err != nil {
			off = fmt.Sprintf("%v: set --store.path to a directory that the agent may write", err)
		}
	}
	if off != "" {
		if !asked {
			log.Info("no history is kept", slog.String("reason", off))
		}
		return &history{off: off}
	}
	s, err := store.New(store.Options{
		Path: dir, Interval: cfg.Store.Interval, RetentionTime: cfg.Store.Retention, RetentionSize: cfg.Store.Size,
		About: about, Log: log, Now: clock.Wall,
	})
	if err != nil {
		log.Error("no history is kept", slog.Any("error", err))
		return &history{off: err.Error()}
	}
	return &history{store: s}
}

// writable makes a directory and tells whether it can be written.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("keep the history: %w", err)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("keep the history in %s: %w", dir, err)
	}
	return nil
}

// offer hands a snapshot over and returns at once.
func (h *history) offer(s *snapshot.Snapshot) {
	if h.store != nil {
		h.store.Offer(s)
	}
}

// run keeps the history until stop is called, which waits until it is closed.
func (h *history) run(ctx context.Context, log *slog.Logger) (stop func()) {
	if h.store == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.store.Run(ctx); err != nil {
			log.ErrorContext(ctx, "the history has ended: the agent goes on without", slog.Any("error", err))
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// api returns who answers queries, nil without a history.
func (h *history) api(about export.About, log *slog.Logger, clock agent.Clock) http.Handler {
	if h.store == nil {
		return nil
	}
	return promapi.New(promapi.Options{
		Queryable: func() (storage.Queryable, error) { return h.store.Queryable() },
		Families:  export.NewTable(about).Families(),
		Copy:      store.CopyName,
		About:     about,
		Now:       clock.Wall,
		Log:       log,
	})
}
