package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tree returns every file below a directory, with its size and time.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b.WriteString(path + " " + strconv.FormatInt(info.Size(), 10) + " " + info.ModTime().String() + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Look tells what there is, changes nothing, and keeps nobody from opening it.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	if f := Look(filepath.Join(dir, "not", "there")); !f.New || f.State != Ready || f.Reason != "" {
		t.Errorf("no history yet: %+v", f)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if f := Look(path); f.State != Failed || !strings.Contains(f.Reason, "not a directory") || f.Remedy == "" {
			t.Errorf("%s: %+v", path, f)
		}
	}

	path := filepath.Join(dir, "kept")
	w := newWorld(1)
	n := w.begin(t, path)
	for range 6 {
		w.run(t, n, time.Minute, time.Hour)
		if err := n.d.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if f := Look(path); f.State != Ready || f.New || f.Holder != "process "+strconv.Itoa(os.Getpid()) || f.Bytes == 0 {
		t.Errorf("in use: %+v", f)
	}
	block := n.d.Blocks()[0].Dir()
	stop(t, n)
	before := tree(t, dir)
	if f := Look(path); f.State != Ready || f.Reason != "" || f.Holder != "" || f.Blocks < 2 {
		t.Errorf("in order: %+v", f)
	}
	if after := tree(t, dir); after != before {
		t.Errorf("it changed\n%s\ninto\n%s", before, after)
	}
	if err := os.Truncate(filepath.Join(block, "index"), 10); err != nil {
		t.Fatal(err)
	}
	if f := Look(path); f.State != Ready || !strings.Contains(f.Reason, "1 of "+strconv.Itoa(f.Blocks)+" blocks cannot be read, such as "+filepath.Base(block)) || f.Remedy == "" {
		t.Errorf("with a broken block: %+v", f)
	}
	n = w.begin(t, path)
	if f := Look(path); len(f.Aside) != 1 {
		t.Errorf("after it was put aside: %+v", f)
	}
	stop(t, n)
}
