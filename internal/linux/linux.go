// Package linux reads and parses the kernel's files below a root that tests
// and containers replace. Reading is apart from parsing: every parser is a
// function of bytes.
package linux

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FS says where the kernel's file systems are mounted.
type FS struct {
	Proc, Sys, Cgroup string
}

// Under returns the usual mount points below root; an empty root is "/".
func Under(root string) FS {
	if root == "" {
		root = "/"
	}
	return FS{
		Proc:   filepath.Join(root, "proc"),
		Sys:    filepath.Join(root, "sys"),
		Cgroup: filepath.Join(root, "sys/fs/cgroup"),
	}
}

// File is a kernel file that is read again and again from its beginning with
// one pread(2) and no allocation. Nil is not a File. One goroutine at a time.
type File struct {
	fd   int
	path string
}

// Open opens the file at path for reading.
func Open(path string) (*File, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return &File{fd: fd, path: path}, nil
	}
}

// Path returns the path the file was opened at.
func (f *File) Path() string { return f.path }

// Read returns the file's content in buf, cut at len(buf), by a single
// pread(2): enough for the files of sysfs and cgroupfs and for one-record
// files of procfs. The result is valid until buf is used again.
func (f *File) Read(buf []byte) ([]byte, error) {
	n, err := f.readAt(buf, 0)
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

func (f *File) readAt(buf []byte, at int64) (int, error) {
	for {
		n, err := unix.Pread(f.fd, buf, at)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, &fs.PathError{Op: "read", Path: f.path, Err: err}
		}
		return n, nil
	}
}

// Close closes the descriptor. A second Close is an error.
func (f *File) Close() error {
	if err := unix.Close(f.fd); err != nil {
		return fmt.Errorf("close %s: %w", f.path, err)
	}
	f.fd = -1
	return nil
}

// ReadFile reads the file at path once, at most limit bytes of it.
func ReadFile(path string, limit int) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	buf := make([]byte, 0, min(limit, 4096))
	for len(buf) < limit {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := f.readAt(buf[len(buf):min(cap(buf), limit)], int64(len(buf)))
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		buf = buf[:len(buf)+n]
	}
	return buf, nil
}
