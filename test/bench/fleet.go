package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// burners is how many of the processes work: a node where nothing at all
// moves would be too easy.
const burners = 20

// How the pods and containers of a fleet are numbered.
const (
	podUID      = "%08x-0000-4000-8000-%012x"
	containerID = "%064x"
)

// fleet is a population of processes in the cgroups of pods. They end with
// the thread that made it.
type fleet struct {
	self    string   // this program
	base    string   // the cgroup v2 mount
	tree    string   // the cgroup that holds everything of this run
	pods    []string // cgroup directories
	members int
}

// unifiedMount returns where cgroup v2 is mounted.
func unifiedMount() (string, error) {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("find cgroup v2: no cgroup.controllers in /sys/fs/cgroup or its unified: mount cgroup2 there")
}

func newFleet() (*fleet, error) {
	base, err := unifiedMount()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &fleet{self: self, base: base, tree: filepath.Join(base, "noether-bench-"+strconv.Itoa(os.Getpid()))}
	if err := os.Mkdir(f.tree, 0o755); err != nil {
		return nil, fmt.Errorf("make a cgroup for the benchmark (root is needed): %w", err)
	}
	return f, nil
}

// grow adds processes until there are n, spread over the first pods cgroups.
func (f *fleet) grow(n, pods int) error {
	for i := len(f.pods); i < pods; i++ {
		dir := filepath.Join(f.tree, "kubepods.slice", "kubepods-burstable.slice",
			"kubepods-burstable-pod"+strings.ReplaceAll(fmt.Sprintf(podUID, i, i), "-", "_")+".slice", fmt.Sprintf("cri-containerd-"+containerID+".scope", i+1))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		f.pods = append(f.pods, dir)
	}
	for ; f.members < n; f.members++ {
		argv := []string{"/bin/sleep", "infinity"}
		if f.members < burners {
			argv = []string{f.self, "-role", "burner"}
		}
		if _, err := f.start(f.pods[f.members%pods], argv, nil); err != nil {
			return err
		}
	}
	return nil
}

// start starts a process in a cgroup. It ends when this thread does.
func (f *fleet) start(cgroup string, argv []string, stderr *os.File) (pid int, err error) {
	dir, err := os.Open(filepath.Clean(cgroup))
	if err != nil {
		return 0, err
	}
	defer dir.Close() //nolint:errcheck // a directory, for its descriptor
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close() //nolint:errcheck // nothing was written
	if stderr == nil {
		stderr = null
	}
	pid, err = syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env:   []string{"PATH=/usr/bin:/bin"},
		Files: []uintptr{null.Fd(), null.Fd(), stderr.Fd()},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, UseCgroupFD: true, CgroupFD: int(dir.Fd())},
	})
	if err != nil {
		return 0, fmt.Errorf("start %s in %s: %w", argv[0], cgroup, err)
	}
	return pid, nil
}

// shrink ends all processes and removes the pods.
func (f *fleet) shrink() error {
	err := os.WriteFile(filepath.Join(f.tree, "cgroup.kill"), []byte("1"), 0)
	if err != nil {
		return fmt.Errorf("end the processes of the benchmark: %w", err)
	}
	for {
		_, err := unix.Wait4(-1, nil, 0, nil)
		if errors.Is(err, unix.ECHILD) {
			break
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	f.pods, f.members = nil, 0
	return removeBelow(f.tree)
}

// removeBelow removes the empty cgroups below dir. A cgroup lasts a moment
// longer than the last process in it.
func removeBelow(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		child := filepath.Join(dir, e.Name())
		if err := removeBelow(child); err != nil {
			return err
		}
		for try := 0; ; try++ {
			err := unix.Rmdir(child)
			if err == nil {
				break
			}
			if try == 100 {
				return fmt.Errorf("remove cgroup %s: %w", child, err)
			}
			<-time.After(20 * time.Millisecond) //nolint:forbidigo // waiting for the kernel
		}
	}
	return nil
}

func (f *fleet) close() error {
	return errors.Join(f.shrink(), unix.Rmdir(f.tree))
}

// burn works for about a millisecond ten times a second, at the lowest priority.
func burn(ctx context.Context) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 19); err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	x := 1.0
	for {
		for range 500_000 {
			x = x*1.0000001 + 1e-9
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if x < 0 {
			return errors.New("cannot happen, but keeps the loop")
		}
	}
}

// cpuUsage returns the CPU time of everything that ever ran in a cgroup.
func cpuUsage(cgroup string) (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join(cgroup, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "usage_usec "); ok {
			us, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return time.Duration(us) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("read %s/cpu.stat: no usage_usec", cgroup)
}
