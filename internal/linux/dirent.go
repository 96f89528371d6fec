package linux

import (
	"bytes"
	"encoding/binary"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Dirent is one entry of a directory as getdents64(2) returns it. Its name is
// a part of the buffer that was parsed.
type Dirent struct {
	Inode uint64
	Type  uint8 // unix.DT_DIR, ..., unix.DT_UNKNOWN
	Name  []byte
}

// NextDirent returns the first entry of b, a buffer that getdents64(2) filled,
// and what follows it. "." and ".." are passed over.
func NextDirent(b []byte) (d Dirent, rest []byte, ok bool) {
	// struct linux_dirent64: u64 ino, s64 off, u16 reclen, u8 type, name and NUL.
	const header = 19
	for len(b) >= header {
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size < header || size > len(b) {
			break
		}
		d = Dirent{Inode: binary.NativeEndian.Uint64(b), Type: b[18], Name: b[header:size]}
		b = b[size:]
		if i := bytes.IndexByte(d.Name, 0); i >= 0 {
			d.Name = d.Name[:i]
		}
		if d.Inode == 0 || len(d.Name) == 0 || string(d.Name) == "." || string(d.Name) == ".." {
			continue
		}
		return d, b, true
	}
	return Dirent{}, nil, false
}

// Dir is a directory that is listed again and again. One goroutine at a time.
type Dir struct {
	fd   int
	path string
}

// OpenDir opens the directory at path.
func OpenDir(path string) (*Dir, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return &Dir{fd: fd, path: path}, nil
	}
}

// Path returns the path the directory was opened at.
func (d *Dir) Path() string { return d.path }

// Rewind makes the next Fill start at the first entry.
func (d *Dir) Rewind() error {
	if _, err := unix.Seek(d.fd, 0, 0); err != nil {
		return &fs.PathError{Op: "rewind", Path: d.path, Err: err}
	}
	return nil
}

// Fill returns the next entries in buf, for NextDirent; none at the end.
func (d *Dir) Fill(buf []byte) ([]byte, error) {
	for {
		n, err := unix.Getdents(d.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "list", Path: d.path, Err: err}
		}
		return buf[:n], nil
	}
}

// Close closes the descriptor.
func (d *Dir) Close() error {
	if err := unix.Close(d.fd); err != nil {
		return &fs.PathError{Op: "close", Path: d.path, Err: err}
	}
	d.fd = -1
	return nil
}

// OpenFile opens the file at path, relative to the directory.
func (d *Dir) OpenFile(path string) (*File, error) {
	for {
		fd, err := unix.Openat(d.fd, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: d.path + "/" + path, Err: err}
		}
		return &File{fd: fd, path: path}, nil
	}
}
