package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"go.uber.org/goleak"

	"noether/internal/energy"
	"noether/internal/export/exporttest"
	"noether/internal/snapshot"
)

const writerEnv = "NOETHER_STORE_TEST_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		writeUntilKilled(dir)
	}
	if dir := os.Getenv(compactorEnv); dir != "" {
		writeBlocksUntilKilled(dir)
	}
	if dir := os.Getenv(troubledEnv); dir != "" {
		writeUntilTrouble(dir)
	}
	goleak.VerifyTestMain(m)
}

// point is a sample; a stale marker has the value "stale".
type point struct {
	At    time.Duration // since day
	Value string
}

// read returns every sample of the series that the matchers find, by their labels.
func read(t testing.TB, s *Store, name string, of ...string) map[string][]point {
	t.Helper()
	queryable, err := s.Queryable()
	if err != nil {
		t.Fatal(err)
	}
	q, err := queryable.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	match := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name)}
	for i := 0; i+1 < len(of); i += 2 {
		match = append(match, labels.MustNewMatcher(labels.MatchEqual, of[i], of[i+1]))
	}
	out := map[string][]point{}
	set := q.Select(t.Context(), true, nil, match...)
	for set.Next() {
		var list []point
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			at, v := it.At()
			text := strconv.FormatFloat(v, 'g', -1, 64)
			if value.IsStaleNaN(v) {
				text = "stale"
			}
			list = append(list, point{time.UnixMilli(at).Sub(day), text})
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
		out[set.At().Labels().String()] = list
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return out
}

// ask returns the value of a query at a time, which has to be one number.
func ask(t testing.TB, s *Store, at time.Time, query string) float64 {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e7, Timeout: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	defer engine.Close()
	queryable, err := s.Queryable()
	if err != nil {
		t.Fatal(err)
	}
	q, err := engine.NewInstantQuery(t.Context(), queryable, nil, query, at)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	v, err := q.Exec(t.Context()).Vector()
	if err != nil || len(v) != 1 {
		t.Fatalf("%s: %v, %v", query, v, err)
	}
	return v[0].F
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within {
		t.Errorf("%s is %v, want %v within %v", what, got, want, within)
	}
}

// The sums over a range say what the machine used, raw and copied, across
// restarts, a kill, and pods that come and go between five-minute marks.
func TestNothingIsLostAtBorders(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(3)
	used := map[string]float64{}
	count := func(s *snapshot.Snapshot) { // what was used since the first sample of each pod
		for i := range s.Pods {
			used[s.Pods[i].Owner.Pod.UID] += s.Pods[i].Delta[energy.CPU][energy.Dynamic].Joules()
		}
	}
	seen := map[string]bool{}
	run := func(n *session, ticks int) {
		for range ticks {
			s := w.tick(15 * time.Second)
			if len(seen) > 0 {
				count(s)
			}
			for i := range s.Pods {
				if uid := s.Pods[i].Owner.Pod.UID; !seen[uid] {
					seen[uid] = true
					used[uid] = 0
				}
			}
			n.Offer(s)
			if err := n.take(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	reset := func() { // the agent starts again: its counters too
		fresh := newWorld(3)
		fresh.r, fresh.wall, fresh.mono = w.r, w.wall, w.mono
		w = fresh
	}
	n := w.begin(t, dir)
	run(n, 33) // to 8:00 past a mark
	stop(t, n)
	w.wall, w.mono = w.wall.Add(time.Minute), w.mono.Add(time.Minute)
	reset()
	n = w.begin(t, dir)
	run(n, 7)
	// A pod that lives for a minute, between two marks.
	short := newWorld(4)
	w.s.Pods, w.s.Containers, w.busy = append(w.s.Pods, short.s.Pods[3]), append(w.s.Containers, short.s.Containers[3]), append(w.busy, 1)
	run(n, 4)
	w.s.Pods, w.s.Containers, w.busy = w.s.Pods[:3], w.s.Containers[:3], w.busy[:3]
	run(n, 30)
	// Killed: nothing is ended.
	if err := errors.Join(n.d.close(), n.lock.Close()); err != nil {
		t.Fatal(err)
	}
	n.gate.shut(errClosed)
	reset()
	n = w.begin(t, dir)
	run(n, 40)
	stop(t, n)
	n = w.begin(t, dir)
	defer stop(t, n)
	for uid, want := range used {
		for _, name := range []string{"noether_pod_joules_total", "noether:5m:pod_joules_total"} {
			got := 0.0
			var before float64
			series := read(t, n.Store, name, "pod_uid", uid, "component", "cpu", "part", "dynamic")
			for _, list := range series {
				if list[len(list)-1].Value != "stale" {
					t.Errorf("%s of %s does not end: %v", name, uid, list)
				}
				first := true
				for _, p := range list {
					if p.Value == "stale" {
						continue
					}
					v, _ := strconv.ParseFloat(p.Value, 64)
					switch {
					case first:
					case v < before:
						got += v
					default:
						got += v - before
					}
					first, before = false, v
				}
			}
			near(t, name+" of "+uid, got, want, 0.02)
		}
	}
	at := w.wall
	raw := ask(t, n.Store, at, `sum(increase(noether_pod_joules_total{part="dynamic"}[1h]))`)
	five := ask(t, n.Store, at, `sum(increase(noether:5m:pod_joules_total{part="dynamic"}[1h]))`)
	// PromQL adds what would have been used in up to half a step more, at each end.
	near(t, "increase by five minutes, as a part of the raw one", five/raw, 1, 0.08)
}

func TestSeriesEnd(t *testing.T) {
	w := newWorld(2)
	n := w.begin(t, t.TempDir())
	w.run(t, n, 15*time.Second, 30*time.Second)
	gone := w.s.Pods[1].Owner.Pod.UID
	w.s.Pods, w.s.Containers = w.s.Pods[:1], w.s.Containers[:1]
	w.run(t, n, 15*time.Second, 30*time.Second)
	stop(t, n)
	n = w.begin(t, n.options.Path)
	defer stop(t, n)
	times := func(list map[string][]point) (out []string) {
		for _, points := range list {
			for _, p := range points {
				word := "value"
				if p.Value == "stale" {
					word = "stale"
				}
				out = append(out, p.At.String()+" "+word)
			}
		}
		return out
	}
	for _, c := range []struct{ name, label, of, want string }{
		{"noether_pod_joules_total", "pod_uid", gone, "15s value, 30s value, 45s stale"},
		{"noether:5m:pod_joules_total", "pod_uid", gone, "15s value, 30s value, 45s stale"},
		{"noether_pod_joules_total", "pod_uid", w.s.Pods[0].Owner.Pod.UID, "15s value, 30s value, 45s value, 1m0s value, 1m0.001s stale"},
		{"noether:5m:pod_joules_total", "pod_uid", w.s.Pods[0].Owner.Pod.UID, "15s value, 1m0s value, 1m0.001s stale"},
		{"noether:5m:node_joules_total", "part", "dynamic", "15s value, 1m0s value, 1m0.001s stale"},
	} {
		args := []string{c.label, c.of, "component", "cpu", "part", "dynamic"}
		if got := strings.Join(times(read(t, n.Store, c.name, args...)), ", "); got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.name, c.of, got, c.want)
		}
	}
}

// A run that was killed is ended by the next, so that no series seems to live on.
func TestAKilledRunIsEnded(t *testing.T) {
	w := newWorld(1)
	n := w.begin(t, t.TempDir())
	w.run(t, n, 15*time.Second, 9*time.Minute)
	n.gate.shut(errClosed)
	if err := errors.Join(n.d.close(), n.lock.Close()); err != nil {
		t.Fatal(err)
	}
	n = w.begin(t, n.options.Path)
	defer stop(t, n)
	for name, list := range read(t, n.Store, "noether:5m:node_joules_total", "component", "cpu", "part", "dynamic") {
		if got, want := fmt.Sprint(list[len(list)-1]), fmt.Sprint(point{9*time.Minute + time.Millisecond, "stale"}); got != want || list[len(list)-2].At != 9*time.Minute {
			t.Errorf("%s: %v", name, list)
		}
	}
	if len(n.w.series) != 0 || n.c.last.Sub(day) != 9*time.Minute+time.Millisecond {
		t.Errorf("the history ends at %v", n.c.last)
	}
}

// In the steady state a write allocates what the database needs for a commit,
// whatever the number of series.
func TestWriteAllocatesNothingForASample(t *testing.T) {
	var counts []float64
	for _, pods := range []int{10, 100} {
		w := newWorld(pods)
		n := w.begin(t, t.TempDir())
		w.run(t, n, 15*time.Second, 5*time.Minute)
		s := w.tick(0)
		at := n.w.last
		counts = append(counts, testing.AllocsPerRun(20, func() {
			at += 1000
			if err := n.w.write(t.Context(), s, at); err != nil {
				t.Fatal(err)
			}
		}))
		stop(t, n)
	}
	if counts[1] > counts[0]+100 || counts[1] > 200 {
		t.Errorf("a write with 10 pods allocates %v times, with 100 pods %v times", counts[0], counts[1])
	}
}

func TestValues(t *testing.T) {
	w := newWorld(2)
	n := w.begin(t, t.TempDir())
	defer func() { stop(t, n) }()
	w.run(t, n, 15*time.Second, 10*time.Minute)
	exact := w.s.Pods[0].Total[energy.CPU][energy.Dynamic].Joules()
	near(t, "a pod's joules", ask(t, n.Store, w.wall, `noether_pod_joules_total{pod_uid="`+w.s.Pods[0].Owner.Pod.UID+`",component="cpu",part="dynamic"}`), exact, 0.5/1024)
	near(t, "the price, which is exact", ask(t, n.Store, w.wall, `noether_energy_price_per_kwh`), 0.25, 0)
	// Node less accounts, over the whole run: the rounding of some ten totals.
	near(t, "the balance", ask(t, n.Store, w.wall, `sum(noether_node_joules_total) - sum(noether_pod_joules_total) - sum(noether_system_joules_total) - sum(noether_vm_joules_total)
		- sum(noether_unit_joules_total) - sum(noether_session_joules_total) - sum(noether_retired_joules)`), 0, 0.05)
}

// A clock that was wrong for an hour, and is set right: what lies in the future
// is put aside, what was before stays, and writing goes on.
func TestClockGoesBack(t *testing.T) {
	w := newWorld(1)
	n := w.begin(t, t.TempDir())
	w.run(t, n, 15*time.Second, 10*time.Minute)
	w.wall = w.wall.Add(8 * time.Hour)
	w.run(t, n, 15*time.Second, time.Hour)
	w.wall = w.wall.Add(-8 * time.Hour)
	var err error
	for range witnesses {
		if err != nil {
			t.Fatal(err)
		}
		if n.Status(); n.c.other.told == 1 && n.Status().Reason == "" {
			t.Error("nobody tells that the clock jumped")
		}
		s := w.tick(15 * time.Second)
		err = n.take(t.Context(), s)
	}
	if !errors.Is(err, errAgain) {
		t.Fatalf("after the clock went back: %v", err)
	}
	if err := n.end(t.Context(), err); !errors.Is(err, errAgain) {
		t.Fatal(err)
	}
	n2, err := n.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { stop(t, n2) }()
	w.run(t, n2, 15*time.Second, time.Minute)
	st := n2.Status()
	if st.State != Ready || len(st.Aside) != 1 || !strings.Contains(st.Aside[0].Reason, "clock went back to") {
		t.Errorf("status: %+v", st)
	}
	if _, err := os.Stat(filepath.Join(st.Aside[0].Path, "wal")); err != nil {
		t.Error(err)
	}
	if !st.Newest.Equal(w.wall) {
		t.Errorf("the newest sample is of %v, want %v", st.Newest, w.wall)
	}
	for _, list := range read(t, n2.Store, "noether_node_joules_total", "component", "cpu", "part", "dynamic") {
		if list[0].At != 15*time.Second {
			t.Errorf("what was before the jump is lost: it begins at %v", list[0])
		}
		for i := 1; i < len(list); i++ {
			if list[i].At <= list[i-1].At {
				t.Errorf("time goes back from %v to %v", list[i-1], list[i])
			}
		}
	}
}

func TestRetention(t *testing.T) {
	w := newWorld(1)
	o := w.options(t.TempDir())
	o.RetentionTime = 6 * time.Hour
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 24 {
		w.run(t, n, time.Minute, time.Hour)
		if err := n.d.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if kept := n.Status().Newest.Sub(n.Status().Oldest); kept < 6*time.Hour || kept > 12*time.Hour {
		t.Errorf("kept %v, want 6 hours and up to the block they begin in", kept)
	}
	stop(t, n)
}

func TestACorruptBlockIsPutAside(t *testing.T) {
	for name, damage := range map[string]func(block string) error{
		"its index":    func(b string) error { return os.WriteFile(filepath.Join(b, "index"), []byte("rubbish"), 0o640) },
		"its metadata": func(b string) error { return os.Truncate(filepath.Join(b, "meta.json"), 3) },
		"its chunks":   func(b string) error { return os.RemoveAll(filepath.Join(b, "chunks")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(1)
			n := w.begin(t, t.TempDir())
			for range 8 {
				w.run(t, n, time.Minute, time.Hour)
				if err := n.d.Compact(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			whole := len(n.d.Blocks())
			first := filepath.Join(n.d.Dir(), n.d.Blocks()[0].Meta().ULID.String())
			stop(t, n)
			if err := damage(first); err != nil {
				t.Fatal(err)
			}
			n = w.begin(t, n.options.Path)
			defer stop(t, n)
			st := n.Status()
			if len(st.Aside) != 1 || !strings.Contains(st.Aside[0].Reason, "cannot be read") || len(n.d.Blocks()) != whole-1 {
				t.Errorf("%d of %d blocks, status %+v", len(n.d.Blocks()), whole, st)
			}
			w.run(t, n, time.Minute, 5*time.Minute)
		})
	}
}

// A damaged log is repaired: what is before the damage stays.
func TestADamagedLogIsRepaired(t *testing.T) {
	w := newWorld(1)
	n := w.begin(t, t.TempDir())
	w.run(t, n, 15*time.Second, 30*time.Minute)
	stop(t, n)
	segments, err := filepath.Glob(filepath.Join(n.d.Dir(), "wal", "0*"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	f, err := os.OpenFile(segments[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := f.Stat()
	if _, err := f.WriteAt([]byte("some rubbish that no checksum agrees with"), info.Size()/2); err != nil {
		t.Fatal(err)
	}
	f.Close()
	n = w.begin(t, n.options.Path)
	w.run(t, n, 15*time.Second, 10*time.Minute)
	for _, list := range read(t, n.Store, "noether_node_joules_total", "component", "cpu", "part", "dynamic") {
		if list[0].At != 15*time.Second || len(list) < 60 {
			t.Errorf("%d samples from %v", len(list), list[0])
		}
	}
	stop(t, n)
}

func TestTrouble(t *testing.T) {
	w := newWorld(1)
	dir := t.TempDir()
	n := w.begin(t, dir)
	defer stop(t, n)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                            "in use by process " + strconv.Itoa(os.Getpid()),
		file:                           "not a directory",
		"/proc/self/no/such/directory": "no such file or directory",
	} {
		s := w.store(t, path)
		_, err := s.start(t.Context())
		s.fail(t.Context(), err)
		st := s.Status()
		if st.State != Failed || !strings.Contains(st.Reason, want) || st.Remedy == "" {
			t.Errorf("%s: %+v", path, st)
		}
		if _, err := s.Queryable(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), st.Remedy) {
			t.Errorf("%s: queries are told %v", path, err)
		}
	}
}

func TestOptions(t *testing.T) {
	good := newWorld(1).options("x")
	for want, change := range map[string]func(*Options){
		"no directory": func(o *Options) { o.Path = "" }, "no clock": func(o *Options) { o.Now = nil },
		"store.interval": func(o *Options) { o.Interval = time.Hour }, "store.retention.time": func(o *Options) { o.RetentionTime = time.Minute },
		"store.retention.size": func(o *Options) { o.RetentionSize = 1 },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// Run serves queries while snapshots are offered by others, and ends cleanly.
func TestRun(t *testing.T) {
	w := newWorld(5)
	s := w.store(t, t.TempDir())
	if _, err := s.Queryable(); !errors.Is(err, ErrLoading) {
		t.Errorf("before Run: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	snap := w.tick(15 * time.Second)
	s.Offer(snap)
	for s.Status().Samples == 0 {
		time.Sleep(time.Millisecond)
	}
	queryable, err := s.Queryable()
	if err != nil {
		t.Fatal(err)
	}
	q, err := queryable.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		group.Go(func() {
			for ctx.Err() == nil {
				s.Status()
				if q, err := queryable.Querier(math.MinInt64, math.MaxInt64); err == nil {
					q.Close()
				}
			}
		})
	}
	if _, _, err := q.LabelNames(t.Context(), nil); err != nil {
		t.Error(err)
	}
	q.Close()
	cancel()
	group.Wait()
	if _, err := queryable.Querier(0, 1); !errors.Is(err, errClosed) {
		t.Errorf("after Run: %v", err)
	}
	s.Offer(snap)
}

// writeUntilKilled is the whole program of a writer: it says which writes are flushed.
func writeUntilKilled(dir string) {
	w := newWorld(3)
	from, _ := time.Parse(time.RFC3339, os.Getenv(writerEnv+"_FROM"))
	w.wall = from
	s, err := New(w.options(dir))
	if err == nil {
		var n *session
		if n, err = s.start(context.Background()); err == nil {
			fmt.Println("open")
			for {
				if err := n.take(context.Background(), w.tick(15*time.Second)); err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				fmt.Println(w.wall.Format(time.RFC3339))
			}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// Killed twenty times in the middle of writing, the history opens each time and
// has every sample whose write had returned.
func TestKilledTwentyTimes(t *testing.T) {
	dir := t.TempDir()
	from := day
	var flushed []time.Time
	for round := range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writerEnv+"="+dir, writerEnv+"_FROM="+from.Format(time.RFC3339))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for count := 0; lines.Scan(); count++ {
			if at, err := time.Parse(time.RFC3339, lines.Text()); err == nil {
				flushed = append(flushed, at)
				from = at
			} else if lines.Text() != "open" {
				t.Fatal(lines.Text())
			}
			if count == 5+37*round%40 {
				if err := cmd.Process.Signal(syscall.SIGKILL); err != nil { // in the middle of a later write
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // it was killed
		from = from.Add(time.Minute)
	}
	w := newWorld(3)
	n := w.begin(t, dir)
	defer stop(t, n)
	series := read(t, n.Store, "noether_pod_joules_total", "component", "cpu", "part", "dynamic")
	if len(series) != 3 {
		t.Fatalf("%d series", len(series))
	}
	for name, list := range series {
		has := map[time.Duration]bool{}
		for _, p := range list {
			has[p.At] = p.Value != "stale"
		}
		for _, at := range flushed {
			if !has[at.Sub(day)] {
				t.Fatalf("%s: the sample of %v is lost", name, at)
			}
		}
	}
	t.Logf("%d writes in 20 runs; none is lost", len(flushed))
}

// On a disk that becomes full nothing is added, what there is can be read, and
// it goes on by itself when there is room.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a small tmpfs")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("needs a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(5)
	n := w.begin(t, dir)
	w.run(t, n, 15*time.Second, 10*time.Minute)
	ballast := filepath.Join(dir, "ballast")
	fill := func() {
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		for block := make([]byte, 1<<16); err == nil; {
			_, err = f.Write(block)
		}
		f.Close()
	}
	fill()
	w.run(t, n, 15*time.Second, 5*time.Minute) // measuring goes on
	st := n.Status()
	if st.State != Full || st.Remedy == "" || !strings.Contains(st.Reason, "no space left") {
		t.Errorf("status of a full disk: %+v", st)
	}
	if st.Newest.Sub(day) != 10*time.Minute {
		t.Errorf("the newest sample is of %v", st.Newest)
	}
	ask(t, n.Store, day.Add(10*time.Minute), `sum(noether_node_joules_total)`)
	os.Remove(ballast)
	s := w.tick(15 * time.Second)
	err := n.take(t.Context(), s)
	if !errors.Is(err, errAgain) {
		t.Fatalf("when there is room: %v", err)
	}
	if err := n.end(t.Context(), err); !errors.Is(err, errAgain) {
		t.Fatal(err)
	}
	n, err = n.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.run(t, n, 15*time.Second, time.Minute)
	if st := n.Status(); st.State != Ready || !st.Newest.Equal(w.wall) {
		t.Errorf("status when there is room again: %+v", st)
	}

	// A write that finds no room in the middle: the series that the log lacks are
	// not used. There is no check before this one.
	fill()
	spoilt := w.tick(15 * time.Second)
	spoilt.Pods = append(spoilt.Pods, exporttest.Snapshot().Pods...)
	for !isFull(err) {
		if err = n.w.write(t.Context(), spoilt, n.w.last+15_000); err != nil && !isFull(err) {
			t.Fatal(err)
		}
	}
	n.full = true
	other := w.store(t, filepath.Join(dir, "other"))
	_, err = other.start(t.Context())
	other.fail(t.Context(), err)
	if st := other.Status(); st.State != Full {
		t.Errorf("status of a history that cannot be opened: %+v", st)
	}
	os.Remove(ballast)
	w.wall, w.mono = w.wall.Add(time.Hour), w.mono.Add(time.Hour)
	if err := n.end(t.Context(), n.take(t.Context(), w.tick(time.Minute))); !errors.Is(err, errAgain) {
		t.Fatal(err)
	}
	n, err = n.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.run(t, n, 15*time.Second, time.Minute)
	stop(t, n)
}
