package cgroup

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"noether/internal/linux"
	"noether/internal/probe"
	"noether/internal/usage"
	"noether/internal/workload"
)

func index(t *testing.T, fs linux.FS) *usage.Index {
	t.Helper()
	x := usage.OpenIndex(usage.IndexOptions{FS: fs, Files: 10, Now: func() time.Duration { return 0 }})
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func TestOpenSaysWhyNot(t *testing.T) {
	empty, none := linux.Under(t.TempDir()), linux.Under(t.TempDir())
	if err := os.MkdirAll(empty.Cgroup, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		fs   linux.FS
		want probe.Status
	}{
		"an empty directory": {empty, probe.Masked},
		"no directory":       {none, probe.Absent},
	} {
		_, err := Open(index(t, c.fs))
		if v := probe.Of("cgroup", "", err); v.Status != c.want || v.Remedy == "" {
			t.Errorf("%s: %+v, want %v and a remedy", name, v, c.want)
		}
	}
}

func TestGroupsKeepTheirPointer(t *testing.T) {
	fs := linux.Under(t.TempDir())
	set := func(path, usec string) {
		dir := filepath.Join(fs.Cgroup, path)
		os.MkdirAll(dir, 0o755)
		os.WriteFile(dir+"/cpu.stat", []byte("usage_usec "+usec+"\n"), 0o644)
	}
	set("/", "9")
	set("/a", "5")
	os.WriteFile(fs.Cgroup+"/cgroup.controllers", nil, 0o644)
	s, err := Open(index(t, fs))
	if err != nil {
		t.Fatal(err)
	}
	var first, second workload.Usage
	if err := s.Read(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	set("/a", "7")
	set("/", "11")
	if err := s.Read(t.Context(), &second); err != nil {
		t.Fatal(err)
	}
	used := map[string]time.Duration{}
	for i, g := range second.Groups {
		used[g.Group.Path] = g.CPU
		if g.Group != first.Groups[i].Group || g.Group.Place == nil {
			t.Errorf("%s: another pointer, or no place", g.Group.Path)
		}
	}
	if used["/a"] != 2*time.Microsecond || used["/"] != 0 || len(used) != 2 {
		t.Errorf("used %v", used)
	}
	if n := testing.AllocsPerRun(100, func() {
		second.Reset()
		s.Read(t.Context(), &second)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
