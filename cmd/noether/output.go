package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	"noether/internal/snapshot"
)

// output prints snapshots without ever holding up a tick: what the reader is
// too slow for is dropped and counted. Offer is for the agent's goroutine, Run
// for one other.
type output struct {
	w       io.Writer
	append  func(dst []byte, s *snapshot.Snapshot) []byte
	log     *slog.Logger
	queue   chan *snapshot.Snapshot
	dropped atomic.Uint64
}

// errClosed says that nobody reads the output any more: the end of the
// command, not a failure of it.
var errClosed = errors.New("standard output was closed")

// outputGrace is how long a reader that has stalled can delay the end.
const outputGrace = time.Second

func newOutput(w io.Writer, log *slog.Logger, render func([]byte, *snapshot.Snapshot) []byte) *output {
	return &output{w: w, append: render, log: log, queue: make(chan *snapshot.Snapshot, 4)}
}

// Offer hands over a snapshot and returns at once. A nil output takes nothing.
func (o *output) Offer(s *snapshot.Snapshot) {
	if o == nil {
		return
	}
	select {
	case o.queue <- s:
	default:
		if o.dropped.Add(1) == 1 {
			o.log.Warn("standard output is read too slowly: ticks are left out")
		}
	}
}

// Run prints until ctx is done or nobody reads. A writer that is stuck in the
// kernel when ctx is done is left behind after outputGrace.
func (o *output) Run(ctx context.Context) error {
	if o == nil {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- o.print(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if n := o.dropped.Load(); n > 0 {
		o.log.WarnContext(ctx, "ticks were left out of standard output", slog.Uint64("ticks", n))
	}
	select {
	case err := <-done:
		return err
	case <-time.After(outputGrace):
		return nil
	}
}

func (o *output) print(ctx context.Context) error {
	var buf []byte
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-o.queue:
			buf = o.append(buf[:0], s)
			switch _, err := o.w.Write(buf); {
			case errors.Is(err, syscall.EPIPE):
				return errClosed
			case err != nil:
				return fmt.Errorf("write a tick to standard output: %w", err)
			}
		}
	}
}
