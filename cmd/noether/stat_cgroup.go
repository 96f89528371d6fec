package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"noether/internal/linux/cgroup"
)

// cage is a cgroup of the command's own, in each hierarchy that counts CPU
// time. It catches the whole process tree, whatever that does.
type cage struct {
	name string // last element of its path, unique on this machine
	v2   string // directories, empty where there is none
	v1   string
	// Where the agent's own process is, to go back to.
	homeV2, homeV1 string
}

// newCage makes the cgroups below those that this process is in.
func newCage(proc, mount string) (c *cage, err error) {
	layout, err := cgroup.Detect(mount)
	if err != nil {
		return nil, err
	}
	self, err := os.ReadFile(filepath.Join(proc, "self/cgroup"))
	if err != nil {
		return nil, err
	}
	c = &cage{name: "noether-stat-" + strconv.Itoa(os.Getpid())}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.remove())
		}
	}()
	for _, h := range []cgroup.Hierarchy{layout.Counters, layout.Other} {
		if h.Dir == "" {
			continue
		}
		home := filepath.Join(h.Dir, ownPath(self, h.Name))
		dir := filepath.Join(home, c.name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return c, err
		}
		if h.V2() {
			c.v2, c.homeV2 = dir, home
		} else {
			c.v1, c.homeV1 = dir, home
		}
	}
	return c, nil
}

// ownPath returns the path of a hierarchy in /proc/self/cgroup (cgroups(7)).
func ownPath(file []byte, hierarchy string) string {
	for line := range bytes.Lines(file) {
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(parts) == 3 && parts[1] == hierarchy {
			return parts[2]
		}
	}
	return "/"
}

// holds reports whether a cgroup path is the cage or lies below it.
func (c *cage) holds(path string) bool {
	return c != nil && strings.Contains(path+"/", "/"+c.name+"/")
}

// start has start fork its process inside the cage: clone3(2) puts it into the
// v2 cgroup, and in v1 a child is born where the thread is that forks it.
func (c *cage) start(attr *syscall.SysProcAttr, start func() error) (err error) {
	if c.v2 != "" {
		dir, err := os.Open(c.v2)
		if err != nil {
			return err
		}
		defer dir.Close() //nolint:errcheck // a directory
		attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
	}
	if c.v1 != "" {
		runtime.LockOSThread()
		tid := []byte(strconv.Itoa(unix.Gettid()))
		if err := os.WriteFile(filepath.Join(c.v1, "tasks"), tid, 0); err != nil {
			runtime.UnlockOSThread()
			return err
		}
		defer func() {
			if back := os.WriteFile(filepath.Join(c.homeV1, "tasks"), tid, 0); back != nil {
				// The thread stays locked, so that it ends with its goroutine.
				err = errors.Join(err, fmt.Errorf("leave the command's cgroup: %w", back))
				return
			}
			runtime.UnlockOSThread()
		}()
	}
	return start()
}

// release moves what still runs in the cage back to where it was started from,
// and removes the cage. It returns how many processes were left.
func (c *cage) release() (left int, err error) {
	if c == nil {
		return 0, nil
	}
	for _, h := range []struct{ dir, home string }{{c.v2, c.homeV2}, {c.v1, c.homeV1}} {
		if h.dir == "" {
			continue
		}
		n, e := empty(h.dir, h.home)
		left, err = max(left, n), errors.Join(err, e)
	}
	return left, err
}

func (c *cage) remove() error {
	_, err := c.release()
	return err
}

// empty moves the processes of dir, and of what was made below it, to home.
func empty(dir, home string) (moved int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if e.IsDir() {
			n, err := empty(filepath.Join(dir, e.Name()), home)
			moved += n
			if err != nil {
				return moved, err
			}
		}
	}
	for range 100 { // processes may fork while they are being moved
		pids, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			return moved, err
		}
		for pid := range bytes.FieldsSeq(pids) {
			if err := os.WriteFile(filepath.Join(home, "cgroup.procs"), pid, 0); err == nil {
				moved++
			}
		}
		err = os.Remove(dir)
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return moved, err
		}
	}
	return moved, fmt.Errorf("remove %s: its processes keep coming back", dir)
}
