// Package cgroup finds out how control groups are mounted, keeps the tree of
// their directories, and reads the CPU time each of them used by itself. It
// does not know what a cgroup stands for, and never writes.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"noether/internal/linux"
)

// Mode is how cgroups are mounted.
type Mode uint8

// The modes.
const (
	Unified Mode = iota // v2 alone
	Legacy              // v1 alone
	Hybrid              // v1 controllers, and v2 without controllers beside them
)

// String returns the mode as it stands in messages.
func (m Mode) String() string {
	switch m {
	case Legacy:
		return "v1"
	case Hybrid:
		return "hybrid"
	default:
		return "v2"
	}
}

// Hierarchy is one mounted tree of cgroups.
type Hierarchy struct {
	Name    string // "" for v2, else the controllers as in /proc/<pid>/cgroup: "cpu,cpuacct"
	Dir     string // its root
	Counter string // the file that counts CPU time, in every cgroup
}

// V2 reports whether the hierarchy is the unified one.
func (h Hierarchy) V2() bool { return h.Name == "" }

// Layout says where cgroups are found.
type Layout struct {
	Mode Mode
	// Counters is the hierarchy whose counters are read.
	Counters Hierarchy
	// Other is the one that has ids but whose counters are not read; its Dir
	// is empty unless Mode is Hybrid.
	Other Hierarchy
	// Partial is set when what is mounted is not the root of the host's
	// hierarchy but the cgroup of a container.
	Partial bool
}

// ErrNone means that no cgroup hierarchy that counts CPU time is mounted.
var ErrNone = errors.New("no cgroup hierarchy that counts CPU time is mounted")

// Detect looks for cgroups below root, usually /sys/fs/cgroup: v2 there or in
// unified/, the v1 controller cpuacct in the directory of one of its names.
//
// On a hybrid host the counters of cpuacct are used, because container
// engines keep each container in it, while in v2 they may share the engine's
// own cgroup. V2 is used if cpuacct has nothing but slices, which is how
// systemd leaves it where accounting is off, and v2 has more cgroups.
func Detect(root string) (Layout, error) {
	v2 := Hierarchy{Counter: "cpu.stat"}
	if exists(filepath.Join(root, "cgroup.controllers")) {
		v2.Dir = root
		if err := readable(v2); err != nil {
			return Layout{}, err
		}
		return Layout{Mode: Unified, Counters: v2, Partial: partial(root)}, nil
	}
	if dir := filepath.Join(root, "unified"); exists(filepath.Join(dir, "cgroup.controllers")) {
		v2.Dir = dir
	}
	v1, err := findV1(root)
	if err != nil {
		return Layout{}, err
	}
	switch {
	case v1.Dir == "" && v2.Dir == "":
		if _, err := os.Stat(root); err != nil {
			return Layout{}, err
		}
		return Layout{}, fmt.Errorf("look for cgroups in %s: %w", root, ErrNone)
	case v2.Dir == "":
		return Layout{Mode: Legacy, Counters: v1, Partial: partial(v1.Dir)}, readable(v1)
	case v1.Dir == "":
		return Layout{Mode: Hybrid, Counters: v2, Partial: partial(v2.Dir)}, readable(v2)
	}
	l := Layout{Mode: Hybrid, Counters: v1, Other: v2, Partial: partial(v1.Dir)}
	if readable(v1) != nil || OnlySlices(v1) && Count(v2) > Count(v1) {
		if readable(v2) == nil {
			l.Counters, l.Other = v2, v1
		}
	}
	return l, readable(l.Counters)
}

// findV1 finds cpuacct. Most systems mount it together with cpu as
// "cpu,cpuacct" and link both names to it.
func findV1(root string) (Hierarchy, error) {
	for _, name := range [...]string{"cpuacct", "cpu,cpuacct", "cpuacct,cpu"} {
		dir := filepath.Join(root, name)
		if _, err := os.Stat(filepath.Join(dir, "cpuacct.usage")); err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return Hierarchy{}, err
			}
			continue
		}
		// A link says the full name; a link out of root would lead elsewhere in a container.
		if to, err := os.Readlink(dir); err == nil && !strings.Contains(to, "/") {
			name, dir = to, filepath.Join(root, to)
		}
		return Hierarchy{Name: name, Dir: dir, Counter: "cpuacct.usage"}, nil
	}
	return Hierarchy{}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func readable(h Hierarchy) error {
	f, err := linux.Open(filepath.Join(h.Dir, h.Counter))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	var buf [256]byte
	b, err := f.Read(buf[:])
	if err != nil {
		return err
	}
	if _, ok := parseCounter(b, h.V2()); !ok {
		return fmt.Errorf("parse %s: no CPU time in %q", f.Path(), b)
	}
	return nil
}

// partial reports whether dir is a mounted cgroup that is not the root of its
// hierarchy: the root's inode is always 1 (fs/kernfs/dir.c).
func partial(dir string) bool {
	var mount unix.Statfs_t
	if unix.Statfs(dir, &mount) != nil || mount.Type != unix.CGROUP_SUPER_MAGIC && mount.Type != unix.CGROUP2_SUPER_MAGIC {
		return false
	}
	var st unix.Stat_t
	return unix.Stat(dir, &st) == nil && st.Ino != 1
}

// Count returns the number of cgroups in h.
func Count(h Hierarchy) (n int) {
	visit(h, func(string) bool { n++; return true })
	return n
}

// OnlySlices reports whether all cgroups in h are systemd slices.
func OnlySlices(h Hierarchy) bool {
	only := true
	visit(h, func(name string) bool {
		only = only && strings.HasSuffix(name, ".slice")
		return only
	})
	return only
}

// visit calls yield with the name of each cgroup in h but the root.
func visit(h Hierarchy, yield func(name string) bool) {
	//nolint:errcheck // what cannot be listed is not counted
	filepath.WalkDir(h.Dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.IsDir() || path == h.Dir:
			return nil
		case !yield(d.Name()):
			return fs.SkipAll
		}
		return nil
	})
}
