package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Found is what can be seen of a history from outside.
type Found struct {
	State          State  // Ready, Full or Failed: what an agent would come to
	Reason, Remedy string // what is wrong, and what mends it; empty if all is well
	New            bool   // there is none yet
	Holder         string // who has it open, such as "process 17"; empty if nobody has
	Blocks         int
	Bytes          int64 // on disk, with what was put aside
	Aside          []Aside
}

// Look says how the history in a directory is doing, for a user who would open
// it. It makes and changes nothing, and does not disturb an agent that has it open.
func Look(path string) Found {
	f := Found{State: Ready}
	dir := filepath.Join(path, databaseDir)
	f.New = !exists(dir)
	if err := mayWrite(dir); err != nil {
		return f.trouble(path, err)
	}
	if f.New {
		return f
	}
	f.Bytes, f.Aside = size(path), listAside(path)
	names, err := blocks(dir)
	if err != nil {
		return f.trouble(path, err)
	}
	f.Blocks = len(names)
	if f.Holder, err = holder(dir); err != nil {
		return f.trouble(path, err)
	}
	if err := noRoom(dir, room); err != nil {
		return f.trouble(path, err)
	}
	if f.Holder != "" {
		return f // its blocks come and go, and it looks after them itself
	}
	bad, err := readable(dir)
	if err != nil {
		return f.trouble(path, err)
	}
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		f.Reason = fmt.Sprintf("%d of %d blocks cannot be read, such as %s: %v", len(bad), f.Blocks, filepath.Base(name), bad[name])
		f.Remedy = "the agent moves them to " + filepath.Join(path, asideDir) + " and goes on without them"
		break
	}
	return f
}

func (f Found) trouble(path string, err error) Found {
	t := blame(path, err)
	f.State, f.Reason, f.Remedy = t.state, t.reason.Error(), t.remedy
	return f
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
}

// Arguments of faccessat(2), which package syscall does not name.
const (
	here     = -100  // AT_FDCWD
	mayAll   = 7     // R_OK, W_OK and X_OK
	asWhoIAm = 0x200 // AT_EACCESS: by the effective user
)

// mayWrite returns an error if this user may not write in dir and what is below
// it, or may not make it.
func mayWrite(dir string) error {
	for !exists(dir) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
	}
	for _, name := range []string{dir, filepath.Join(dir, "wal"), filepath.Join(dir, "chunks_head")} {
		if name != dir && !exists(name) {
			continue
		}
		if info, err := os.Stat(name); err != nil {
			return fmt.Errorf("keep the history: %w", err)
		} else if !info.IsDir() {
			return fmt.Errorf("keep the history in %s: %w", name, syscall.ENOTDIR)
		}
		if err := syscall.Faccessat(here, name, mayAll, asWhoIAm); err != nil {
			return fmt.Errorf("keep the history in %s: %w", name, err)
		}
	}
	return nil
}

// holder returns who has the database in dir open. It holds the lock for an
// instant if nobody has; lock waits for longer than that.
func holder(dir string) (string, error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("look who uses the history: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case err == nil:
		return "", nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nameHolder(f.Name()), nil
	default:
		return "", fmt.Errorf("look who uses the history in %s: %w", dir, err)
	}
}

// nameHolder returns who wrote its name into a lock file.
func nameHolder(name string) string {
	text, err := os.ReadFile(name)
	pid := strings.TrimSpace(string(text))
	if _, bad := strconv.ParseUint(pid, 10, 32); err != nil || bad != nil {
		return "another process"
	}
	return "process " + pid
}

// readable is broken for files that nobody has moved aside yet: one that is cut
// off, or that the disk does not give, is an error and not the end of the program.
func readable(dir string) (bad map[string]error, err error) {
	defer faultsPanic()()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read the blocks of the history in %s: %v", dir, r)
		}
	}()
	return broken(dir)
}
