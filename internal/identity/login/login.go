// Package login turns user ids into login names, by the machine's own passwd
// file. It asks no name service: a user of a directory service stays a number.
package login

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"noether/internal/identity"
	"noether/internal/linux"
)

// Bounds on the passwd file: what lies beyond is not read.
const (
	maxFile  = 4 << 20
	maxUsers = 65536
)

// Names knows the login names of one passwd file. It reads the file again when
// a uid is unknown and the file has changed. One goroutine uses it at a time.
type Names struct {
	path  string
	size  int64
	mtime time.Time
	names map[uint32]string
}

// Open returns the names in the passwd file at path; a file that cannot be
// read has none.
func Open(path string) *Names {
	n := &Names{path: path}
	n.refresh()
	return n
}

// Name returns the login name of uid, which is in decimal, or uid itself when
// the file does not tell.
func (n *Names) Name(uid string) string {
	number, err := strconv.ParseUint(uid, 10, 32)
	if err != nil {
		return uid
	}
	if name, ok := n.names[uint32(number)]; ok {
		return name
	}
	n.refresh()
	if name, ok := n.names[uint32(number)]; ok {
		return name
	}
	return uid
}

// refresh reads the file if it is not the one that was read last.
func (n *Names) refresh() {
	info, err := os.Stat(n.path)
	if err != nil || n.names != nil && info.Size() == n.size && info.ModTime().Equal(n.mtime) {
		return
	}
	text, err := linux.ReadFile(n.path, maxFile)
	if err != nil {
		return
	}
	n.size, n.mtime = info.Size(), info.ModTime()
	n.names = parse(text)
}

// parse returns the login names in a passwd file by uid (passwd(5)). Of
// several names for one uid the first wins, as it does in the C library.
// Lines that are not entries are skipped.
func parse(text []byte) map[uint32]string {
	names := make(map[uint32]string)
	for line := range bytes.Lines(text) {
		if len(names) >= maxUsers {
			break
		}
		name, rest, _ := bytes.Cut(line, []byte{':'})
		_, rest, _ = bytes.Cut(rest, []byte{':'})
		digits, _, ok := bytes.Cut(rest, []byte{':'})
		if !ok || len(name) == 0 || name[0] == '+' || name[0] == '-' || name[0] == '#' {
			continue // not an entry: a comment, or NIS inclusion
		}
		uid, err := strconv.ParseUint(string(digits), 10, 32)
		if err != nil {
			continue
		}
		if _, ok := names[uint32(uid)]; !ok {
			names[uint32(uid)] = identity.Label(string(name))
		}
	}
	return names
}
