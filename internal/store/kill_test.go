package store

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const compactorEnv = "NOETHER_STORE_TEST_COMPACTOR"

// compactingOptions are the options of a history whose blocks are merged after 6 hours
// and deleted after 60.
func compactingOptions(w *world, dir string) Options {
	o := w.options(dir)
	o.RetentionTime = 60 * time.Hour
	return o
}

// writeBlocksUntilKilled is the whole program of a writer whose database makes,
// merges and deletes blocks all the time. It says which writes are flushed.
func writeBlocksUntilKilled(dir string) {
	w := newWorld(12)
	w.wall, _ = time.Parse(time.RFC3339, os.Getenv(compactorEnv+"_FROM"))
	s, err := New(compactingOptions(w, dir))
	if err == nil {
		var n *session
		if n, err = s.start(context.Background()); err == nil {
			for err == nil {
				if err = n.take(context.Background(), w.tick(5*time.Minute)); err == nil {
					fmt.Println(w.wall.Format(time.RFC3339))
				}
			}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// unfinished returns what a compaction that is under way, or was killed, has in
// the directory of a database: blocks that come and go, and checkpoints of the log.
func unfinished(dir string) (list []string) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), ".tmp") {
			list = append(list, d.Name())
			return fs.SkipDir
		}
		return nil // directories come and go
	})
	return list
}

// Killed in the middle of making, merging and deleting blocks, the history opens
// each time without losing a sample, and without what the kill left behind.
func TestKilledWhileCompacting(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, databaseDir)
	from := day
	var flushed []time.Time
	left := map[string]int{}
	kinds := map[string]string{".tmp-for-creation": "a block that is made", ".tmp-for-deletion": "a block that is deleted", ".tmp": "a checkpoint"}
	rounds := 0
	for ; rounds < 60 && (rounds < 9 || len(left) < len(kinds)); rounds++ {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), compactorEnv+"="+dir, compactorEnv+"_FROM="+from.Format(time.RFC3339))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := make(chan string)
		go func() {
			defer close(lines)
			for r := bufio.NewScanner(out); r.Scan(); {
				lines <- r.Text()
			}
		}()
		// What is waited for differs by round, so that each kind is met.
		want := []string{".tmp-for-creation", ".tmp-for-deletion", ".tmp"}[rounds%3]
		written := 0
		for line := range lines {
			at, err := time.Parse(time.RFC3339, line)
			if err != nil {
				t.Fatal(line)
			}
			flushed, from = append(flushed, at), at
			if written++; written < 48 { // hours that are sure to be there
				continue
			}
			for _, name := range unfinished(data) {
				if filepath.Ext(name) == want {
					_ = cmd.Process.Kill() // again and again, until it is dead
				}
			}
		}
		_ = cmd.Wait() // it was killed
		litter := unfinished(data)
		for _, name := range litter {
			left[kinds[filepath.Ext(name)]]++
		}
		from = from.Add(5 * time.Minute)

		w := newWorld(12)
		s, err := New(compactingOptions(w, dir))
		if err != nil {
			t.Fatal(err)
		}
		n, err := s.start(t.Context())
		if err != nil {
			t.Fatalf("round %d: %v", rounds, err)
		}
		for _, name := range unfinished(data) { // of the next compaction, which has begun
			if slices.Contains(litter, name) && !strings.HasPrefix(name, "checkpoint") {
				t.Errorf("round %d: %s stays", rounds, name)
			}
		}
		if st := n.Status(); len(st.Aside) > 0 || st.State != Ready {
			t.Errorf("round %d: %+v", rounds, st)
		}
		series := read(t, n.Store, "noether_pod_joules_total", "component", "cpu", "part", "dynamic")
		if len(series) != 12 {
			t.Fatalf("round %d: %d series", rounds, len(series))
		}
		for name, list := range series {
			has := map[time.Duration]bool{}
			for _, p := range list {
				has[p.At] = p.Value != "stale"
			}
			for _, at := range flushed {
				if from.Sub(at) < 59*time.Hour && !has[at.Sub(day)] {
					t.Fatalf("round %d: %s: the sample of %v is lost", rounds, name, at)
				}
			}
		}
		stop(t, n)
		if litter := unfinished(data); len(litter) > 0 {
			t.Errorf("round %d: %v stays", rounds, litter)
		}
	}
	t.Logf("%d writes in %d runs; killed with %v unfinished", len(flushed), rounds, left)
	if len(left) < len(kinds) {
		t.Errorf("no kill was in the middle of each of %v", kinds)
	}
}
