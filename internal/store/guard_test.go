package store

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

const troubledEnv = "NOETHER_STORE_TEST_TROUBLED"

// troubles are what befalls a directory under a history that is being written.
var troubles = map[string]struct {
	befall func(dir string) error
	reason string
}{
	// The database can write, but not what it wants to: it panics, in the middle.
	"a chunk cannot be written": {func(dir string) error {
		return os.Mkdir(filepath.Join(dir, "chunks_head", "000001.tmp"), 0o750)
	}, "move samples out of memory"},
	"no file can be written": {func(dir string) error {
		head := filepath.Join(dir, "chunks_head")
		if err := os.RemoveAll(head); err != nil {
			return err
		}
		return os.WriteFile(head, nil, 0o600)
	}, "not a directory"},
	"the directory is gone": {os.RemoveAll, "no such file or directory"},
	"files cannot grow": {func(string) error {
		signal.Ignore(syscall.SIGXFSZ)
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 10, Max: 1 << 10})
	}, "file too large"},
}

// writeUntilTrouble is the whole program of an agent: it offers snapshots to a
// history that meets trouble after a while, until that says so.
func writeUntilTrouble(dir string) {
	w := newWorld(3)
	var mono atomic.Int64
	o := w.options(dir)
	o.Now = func() time.Time { return day.Add(time.Duration(mono.Load())) }
	s, err := New(o)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	befall := troubles[os.Getenv(troubledEnv+"_KIND")].befall
	for ticks := 0; s.Status().State != Failed; ticks++ {
		if ticks == 240 { // an hour: chunks are finished, and still in memory
			if err := befall(filepath.Join(dir, databaseDir)); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
		snap := w.tick(15 * time.Second)
		mono.Store(int64(w.mono.Sub(day)))
		for before := s.samples.Load(); s.samples.Load() == before && s.Status().State != Failed; {
			s.Offer(snap)
			time.Sleep(50 * time.Microsecond)
		}
	}
	st := s.Status()
	_, st.Remedy, _ = strings.Cut(fmt.Sprint(func() error { _, err := s.Queryable(); return err }()), st.Reason+": ") // what queries are told
	cancel()
	if err := <-ended; err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(st)
	os.Exit(0)
}

// Whatever the disk refuses, the program goes on, says why there is no history,
// and ends when it is told to.
func TestADiskThatRefuses(t *testing.T) {
	for name, c := range troubles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // it hangs
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), troubledEnv+"="+t.TempDir(), troubledEnv+"_KIND="+name)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("the program ended: %v\n%s", err, out)
			}
			var st Status
			if err := json.Unmarshal(out, &st); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if st.State != Failed || !strings.Contains(st.Reason, c.reason) || st.Remedy == "" || st.Samples == 0 {
				t.Errorf("%+v", st)
			}
			t.Logf("%s: %s", st.Reason, st.Remedy)
		})
	}
}

// A page of a block that the disk does not give is an error of who reads it.
func TestAPageThatCannotBeRead(t *testing.T) {
	w := newWorld(3)
	n := w.begin(t, t.TempDir())
	for range 6 {
		w.run(t, n, 15*time.Second, time.Hour)
		if err := n.d.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var dirs []string
	for _, b := range n.d.Blocks() {
		dirs = append(dirs, b.Dir())
		if err := os.Truncate(filepath.Join(b.Dir(), "chunks", "000001"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if len(dirs) < 2 {
		t.Fatal(dirs)
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e7, Timeout: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	defer engine.Close()
	q, err := engine.NewInstantQuery(t.Context(), &n.gate, nil, `sum(rate(noether_node_joules_total[1h]))`, day.Add(90*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if r := q.Exec(t.Context()); r.Err == nil || !strings.Contains(r.Err.Error(), "invalid memory address") {
		t.Errorf("a query is answered %v, %v", r.Value, r.Err)
	}
	q.Close()
	c, err := n.d.compactor(t.Context(), nil, slog.New(slog.DiscardHandler), []int64{blockRange.Milliseconds()}, chunkenc.NewPool(), tsdb.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compact(n.d.Dir(), dirs, n.d.Blocks()); err == nil || !strings.Contains(err.Error(), "invalid memory address") {
		t.Errorf("compaction: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(n.d.Dir(), "*.tmp-*")); len(left) > 0 {
		t.Errorf("compaction leaves %v", left)
	}
	w.run(t, n, 15*time.Second, 10*time.Minute) // and writing goes on
	stop(t, n)
}
