package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"noether/internal/linux/machinetest"
)

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		machine string
		mode    Mode
		name    string
		other   bool
	}{
		{"cgroup-v2", Unified, "", false},
		{"cgroup-v1", Legacy, "cpu,cpuacct", false},
		{"cgroup-hybrid", Hybrid, "cpu,cpuacct", true},
	} {
		t.Run(c.machine, func(t *testing.T) {
			root := machinetest.Unpack(t, "../../../testdata/machines/"+c.machine+".txtar") + "/sys/fs/cgroup"
			l, err := Detect(root)
			if err != nil {
				t.Fatal(err)
			}
			if l.Mode != c.mode || l.Counters.Name != c.name || (l.Other.Dir != "") != c.other || l.Partial {
				t.Errorf("%+v", l)
			}
			tree, _ := openTree(t, l.Counters, 100)
			list, err := tree.Read(nil)
			if err != nil || len(list) != tree.Len() {
				t.Errorf("%d of %d cgroups read, %v", len(list), tree.Len(), err)
			}
		})
	}
}

func TestDetectHybridWithSlicesAlone(t *testing.T) {
	root := t.TempDir()
	v1 := Hierarchy{Name: "cpu,cpuacct", Dir: root + "/cpu,cpuacct", Counter: "cpuacct.usage"}
	v2 := Hierarchy{Dir: root + "/unified", Counter: "cpu.stat"}
	for _, p := range []string{"/", "/system.slice"} {
		group(t, v1, p, time.Second)
	}
	for _, p := range []string{"/", "/system.slice", "/system.slice/a.service", "/system.slice/b.service"} {
		group(t, v2, p, time.Second)
	}
	os.WriteFile(root+"/unified/cgroup.controllers", nil, 0o644)
	if l, err := Detect(root); err != nil || !l.Counters.V2() || l.Other.Name != "cpu,cpuacct" {
		t.Errorf("accounting off: %+v, %v; want v2", l, err)
	}
	group(t, v1, "/docker/0123", 0)
	if l, err := Detect(root); err != nil || l.Counters.V2() {
		t.Errorf("a container in cpuacct: %+v, %v; want cpuacct", l, err)
	}
}

func TestDetectRefuses(t *testing.T) {
	root := t.TempDir()
	if _, err := Detect(root); !errors.Is(err, ErrNone) {
		t.Errorf("empty directory: %v", err)
	}
	if _, err := Detect(filepath.Join(root, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	os.WriteFile(root+"/cgroup.controllers", nil, 0o644)
	if _, err := Detect(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no counter: %v", err)
	}
	os.WriteFile(root+"/cpu.stat", []byte("user_usec 1\n"), 0o644)
	if _, err := Detect(root); err == nil {
		t.Error("a counter without its line is accepted")
	}
}
