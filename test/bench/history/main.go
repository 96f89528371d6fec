// Command history measures what a history costs: it lets the store write a
// simulated week of a node with 300 pods, sample by sample as an agent would,
// and then asks, over HTTP, every query of the page. The result is a part of a
// page of Markdown.
//
// It refuses to judge, as the benchmark beside it: a budget that is missed is
// printed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"noether/internal/export"
	"noether/internal/store"
)

type options struct {
	pods     int
	days     float64
	interval time.Duration
	queries  string // the file with the page's queries
	repeat   int
	page     string
	dir      string
	ask      bool
}

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "bench/history: %v\n", err)
		os.Exit(1) //nolint:forbidigo // this is a command
	}
}

func run(args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("history", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var o options
	flags.IntVar(&o.pods, "pods", 300, "pods of the simulated node")
	flags.Float64Var(&o.days, "days", 7, "length of the history")
	flags.DurationVar(&o.interval, "interval", store.DefaultInterval, "between two samples")
	flags.StringVar(&o.queries, "queries", "ui/src/lib/queries.golden.json", "the page's queries")
	flags.IntVar(&o.repeat, "repeat", 5, "how often each query is asked")
	flags.StringVar(&o.page, "page", "docs/performance.md", "the page whose part is replaced; empty prints only")
	flags.StringVar(&o.dir, "dir", "", "where the history is written, and stays; a temporary directory if empty")
	flags.BoolVar(&o.ask, "ask", false, "only ask, of a history that an earlier run wrote into dir; prints only")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.ask && o.dir == "" {
		return errors.New("ask a history that was written before: name its directory with -dir")
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "noether-history-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	questions, err := readQuestions(o.queries)
	if err != nil {
		return err
	}
	var written outcome
	if !o.ask {
		if written, err = write(ctx, &o, stderr); err != nil {
			return err
		}
	}
	asked, err := ask(ctx, &o, questions)
	if err != nil {
		return err
	}
	if o.ask {
		_, err = io.WriteString(stdout, reportAsked(&o, asked))
		return err
	}
	text := report(&o, written, asked)
	if _, err := io.WriteString(stdout, text); err != nil || o.page == "" {
		return err
	}
	return replacePart(o.page, text)
}

// outcome is what writing the week cost.
type outcome struct {
	writes  int
	status  store.Status
	bytes   int64
	cpu     time.Duration // of the store, its compactions included
	slowest time.Duration // of one write, as who offers waits for nobody: wall
	resting uint64        // resident bytes that the store adds, after the week, garbage collected
	peak    uint64        // the most that was resident during the week
	empty   uint64        // resident before
}

// open returns a running store with a clock of our own, and what ends it.
func open(ctx context.Context, o *options, now func() time.Time, stderr io.Writer) (*store.Store, func() error, error) {
	s, err := store.New(store.Options{
		Path: o.dir, Interval: o.interval, RetentionTime: 365 * 24 * time.Hour, RetentionSize: 1 << 40, // to see the size of it all
		About: export.About{Version: "bench"}, Now: now, Log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return nil, nil, err
	}
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(running) }()
	for s.Status().State == store.Loading {
		time.Sleep(time.Millisecond)
	}
	return s, func() error { cancel(); return <-done }, nil
}

// write lets the store write the week, and measures it.
func write(ctx context.Context, o *options, stderr io.Writer) (out outcome, err error) {
	start := time.Now().Truncate(time.Hour).Add(-time.Duration(o.days * float64(24*time.Hour)))
	w := newWorld(o.pods, start)
	w.tick(o.interval)
	if out.empty, err = resident(); err != nil {
		return out, err
	}
	// The store looks at the clock once for each snapshot, when it takes it: then
	// the next one may be offered, and waits until this one is written.
	var clock atomic.Int64
	clock.Store(w.s.Time.UnixNano())
	taken := make(chan struct{}, 1)
	s, end, err := open(ctx, o, func() time.Time {
		select {
		case taken <- struct{}{}:
		default:
		}
		return time.Unix(0, clock.Load())
	}, stderr)
	if err != nil {
		return out, err
	}
	select {
	case <-taken: // while it was opened
	default:
	}
	runtime.LockOSThread() // the simulation's CPU time is that of this thread
	defer runtime.UnlockOSThread()
	total, own := cpuTime(unix.RUSAGE_SELF), cpuTime(unix.RUSAGE_THREAD)
	out.writes = int(o.days * float64(24*time.Hour) / float64(o.interval))
	for i := range out.writes {
		snap := w.tick(o.interval)
		clock.Store(snap.Time.UnixNano())
		began := time.Now()
		s.Offer(snap)
		select {
		case <-taken:
		case <-ctx.Done():
			return out, errors.Join(ctx.Err(), end())
		case <-time.After(time.Minute):
			st := s.Status()
			return out, errors.Join(fmt.Errorf("write the week: the store is %s: %s", st.State, st.Reason), end())
		}
		out.slowest = max(out.slowest, time.Since(began))
		if i%64 == 0 {
			now, err := resident()
			if err != nil {
				return out, err
			}
			out.peak = max(out.peak, now)
		}
		if i%4096 == 0 {
			_, _ = fmt.Fprintf(stderr, "%3d %%, %s\n", 100*i/out.writes, snap.Time.Format(time.DateTime))
		}
	}
	for s.Status().Newest.Before(w.s.Time) {
		if ctx.Err() != nil {
			return out, errors.Join(ctx.Err(), end())
		}
		time.Sleep(100 * time.Millisecond) // Status looks at files
	}
	out.cpu = cpuTime(unix.RUSAGE_SELF) - total - (cpuTime(unix.RUSAGE_THREAD) - own)
	out.status = s.Status()
	debug.FreeOSMemory()
	now, err := resident()
	if err != nil {
		return out, err
	}
	out.resting = now - min(now, out.empty)
	if err := end(); err != nil {
		return out, err
	}
	out.bytes, err = size(o.dir)
	return out, err
}

func cpuTime(who int) time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u) // it fails for unknown words only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident returns the resident memory of this process that is not of files.
// The chunks of blocks are files in memory that the kernel takes back.
func resident() (uint64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var pages [3]uint64
	if _, err := fmt.Sscan(string(text), &pages[0], &pages[1], &pages[2]); err != nil {
		return 0, fmt.Errorf("read /proc/self/statm: %w", err)
	}
	return (pages[1] - pages[2]) * uint64(os.Getpagesize()), nil
}

func size(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}
