package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// ownsCgroups is there when cgroups named kubepods are the cluster's.
	ownsCgroups = Dir + "/kubepods"
	// madeDirs lists the empty directories that it made as places to mount on.
	madeDirs = Dir + "/made"
)

// recordMade remembers a directory before it is made.
func recordMade(dir string) error {
	f, err := os.OpenFile(madeDirs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(dir + "\n")
	return errors.Join(err, f.Close())
}

// clean ends and removes all that a cluster left behind, in this process or in
// one that was killed. The caller holds the lock.
func clean(ctx context.Context) error {
	if _, err := os.Stat(Dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var errs []error
	records, err := filepath.Glob(filepath.Join(Dir, "run", "*"))
	errs = append(errs, err)
	for _, record := range records {
		if pid, ok := alive(record); ok {
			errs = append(errs, kill(ctx, pid))
		}
	}
	errs = append(errs, killPods(ctx), removeCgroups(ctx))
	made, err := os.ReadFile(madeDirs)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, dir := range slices.Backward(strings.Fields(string(made))) {
		// Not if somebody has put something there since.
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err // and keep what says whose it is
	}
	return poll(ctx, 50*time.Millisecond, func() error { return os.RemoveAll(Dir) })
}

// killPods ends containerd's shims and all that runs in pods.
func killPods(ctx context.Context) error {
	shims, err := processes(isShim)
	if err != nil {
		return err
	}
	for _, pid := range shims {
		if err := kill(ctx, pid); err != nil {
			return err
		}
	}
	if _, err := os.Stat(ownsCgroups); err != nil {
		return nil //nolint:nilerr // no pod was ever made
	}
	return poll(ctx, 20*time.Millisecond, func() error {
		pids := podProcesses()
		for _, pid := range pids {
			if err := kill(ctx, pid); err != nil {
				return err
			}
		}
		if len(pids) > 0 {
			return fmt.Errorf("%d processes in pods", len(pids))
		}
		return nil
	})
}

// isShim tells the shims of the cluster's containerd by the socket that they
// report to.
func isShim(argv []string) bool {
	i := slices.Index(argv, "-address")
	return i >= 0 && i+1 < len(argv) && argv[i+1] == ContainerdSocket
}

// processes lists the processes whose arguments match.
func processes(match func(argv []string) bool) (pids []int, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || !match(strings.Split(string(bytes.TrimSuffix(cmdline, []byte{0})), "\x00")) {
			continue
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// cgroups lists the roots of pods in every hierarchy, v1 and v2.
func cgroups() (dirs []string) {
	for _, pattern := range []string{"/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/*/kubepods"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			panic(err) // the patterns are good
		}
		dirs = append(dirs, found...)
	}
	return dirs
}

func podProcesses() (pids []int) {
	for _, root := range cgroups() {
		filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error { //nolint:errcheck // groups come and go
			if err != nil || !d.IsDir() {
				return nil //nolint:nilerr // it went
			}
			content, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			if err != nil {
				return nil //nolint:nilerr // it went
			}
			for field := range strings.FieldsSeq(string(content)) {
				// Pid 0 is a process of another pid namespace.
				if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
					pids = append(pids, pid)
				}
			}
			return nil
		})
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

func removeCgroups(ctx context.Context) error {
	if _, err := os.Stat(ownsCgroups); err != nil {
		return nil //nolint:nilerr // none is ours
	}
	return poll(ctx, 50*time.Millisecond, func() error {
		var errs []error
		for _, root := range cgroups() {
			var dirs []string
			filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error { //nolint:errcheck // groups come and go
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for _, dir := range slices.Backward(dirs) { // children before parents
				if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
					errs = append(errs, err)
				}
			}
		}
		return errors.Join(errs...)
	})
}

// Leftovers lists what there is of a cluster on this machine, running or not:
// processes, mounts (in any mount namespace), cgroups, directories. After Down
// there is nothing.
func Leftovers() ([]string, error) {
	var found []string
	for _, dir := range append(cgroups(), Dir) {
		if _, err := os.Lstat(dir); err == nil {
			found = append(found, dir)
		}
	}
	pids, err := processes(func(argv []string) bool {
		return slices.ContainsFunc(argv, func(arg string) bool { return strings.Contains(arg, Dir+"/") })
	})
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		found = append(found, fmt.Sprintf("process %d", pid))
	}
	tables, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		return nil, err
	}
	for _, table := range tables {
		content, err := os.ReadFile(table)
		if err == nil && bytes.Contains(content, []byte(Dir+"/")) {
			found = append(found, "mounts in "+table)
		}
	}
	return found, nil
}
