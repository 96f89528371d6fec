package linux

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// OpenFiles returns how many descriptors this process may have open.
func OpenFiles() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1024 // the usual one
	}
	return int(min(limit.Cur, 1<<20))
}

// IsProcfs reports whether path is on a procfs of the kernel, and not a
// directory that only looks like one.
func IsProcfs(path string) (bool, error) {
	var mount unix.Statfs_t
	if err := unix.Statfs(path, &mount); err != nil {
		return false, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return mount.Type == unix.PROC_SUPER_MAGIC, nil
}
