package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/prometheus/storage"
	"golang.org/x/sys/unix"

	"noether/internal/agent"
	"noether/internal/config"
	"noether/internal/export"
	"noether/internal/probe"
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

// probeHistory says how the history would do, and makes nothing.
func probeHistory(p *process, cfg *config.Config) probe.Verdict {
	v := probe.Verdict{Name: "history"}
	dir, off, asked := cfg.Directory(p.getenv, os.Geteuid() == 0)
	if off != "" {
		v.Status, v.Reason = probe.Absent, off
		return v
	}
	f := store.Look(dir)
	v.Reason, v.Remedy = f.Reason, f.Remedy
	switch {
	case f.State == store.Failed && strings.Contains(f.Reason, fs.ErrPermission.Error()):
		v.Status = probe.Forbidden
		if !asked {
			v.Remedy = "set --store.path to a directory that the agent may write"
		}
		return v
	case f.State != store.Ready:
		v.Status = probe.Broken
		return v
	}
	v.Status = probe.Works
	if f.New {
		v.Reason = "there is none yet: the agent makes it in " + dir
		return v
	}
	about := fmt.Sprintf("%d kB in %s, %d blocks", (f.Bytes+999)/1000, dir, f.Blocks)
	if f.Bytes >= 1e6 {
		about = fmt.Sprintf("%.1f MB in %s, %d blocks", float64(f.Bytes)/1e6, dir, f.Blocks)
	}
	if f.Holder != "" {
		about += ", in use by " + f.Holder
	}
	if n := len(f.Aside); n > 0 {
		about += fmt.Sprintf("; %d parts were put aside, the last because: %s", n, f.Aside[n-1].Reason)
	}
	if v.Reason != "" {
		about += "; " + v.Reason
	}
	v.Reason = about
	return v
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

// historyEnds is how long the end of the agent waits for the history, which
// itself waits up to five seconds for queries: a disk may never answer.
const historyEnds = 15 * time.Second

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
		select {
		case <-done:
		case <-time.After(historyEnds):
			log.WarnContext(ctx, "the history does not end: the agent ends without it; nothing that was written is lost")
		}
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
