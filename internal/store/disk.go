package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// The directory of the history: the database, and what was put aside.
const (
	databaseDir = "history"
	asideDir    = "aside"
	reasonFile  = "reason.txt"
	lockFile    = "lock"
	asides      = 4 // how many are kept; the oldest goes
)

// room is what has to be free on the file system for anything to be written.
// The database ends the program if the disk is full when it moves finished
// chunks out of memory (handleChunkWriteError in tsdb/head_append.go), so it is
// stopped well before.
const room = 24 << 20

// trouble is why there is no history, or none is added.
type trouble struct {
	state  State
	reason error
	remedy string
	known  bool // it is about the directory, not what is in it
}

func (t *trouble) Error() string { return t.reason.Error() + ": " + t.remedy }
func (t *trouble) Unwrap() error { return t.reason }

// blame finds out what mends err, which arose in directory path.
func blame(path string, err error) *trouble {
	var known *trouble
	switch {
	case errors.As(err, &known):
		return known
	case isFull(err):
		return &trouble{Full, err, "free space on the file system of " + path + ", or make store.retention.size smaller; it goes on by itself", true}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return &trouble{Failed, err, "make " + path + " writable for this user, or name another directory with store.path", true}
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return &trouble{Failed, err, "name a directory with store.path", true}
	default:
		return &trouble{Failed, err, "it is tried again each minute; if it stays, move " + path + " away", false}
	}
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// free returns how many bytes may be written on the file system of path.
func free(path string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("ask for the room in %s: %w", path, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // the types differ between machines
}

// noRoom returns an error if fewer than need bytes are free.
func noRoom(path string, need int64) error {
	switch n, err := free(path); {
	case err != nil:
		return err
	case n < need:
		return fmt.Errorf("write the history in %s: %d MB are free, and it stops below %d MB: %w", path, n>>20, need>>20, syscall.ENOSPC)
	default:
		return nil
	}
}

// lock makes this process the only one that uses the database in dir. The
// kernel releases it when the process ends, however it does. It is the file
// that a Prometheus would lock, and is taken before anything there is touched:
// opening it removes what another process is about to write.
func lock(dir string) (*os.File, error) {
	name := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock the history: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for range 5 { // Look has it for an instant
		if err == nil {
			break
		}
		<-again.C
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		err = fmt.Errorf("lock the history in %s: it is in use by %s: %w", dir, nameHolder(name), err)
		return nil, &trouble{Failed, errors.Join(err, f.Close()), "give each agent a store.path of its own, or end the other", true}
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0) // the name is a courtesy
	}
	return f, nil
}

// isBlock matches the name of a block, a ULID.
var isBlock = regexp.MustCompile(`^[0-7][0-9A-HJKMNP-TV-Z]{25}$`)

// blocks returns the directories of the blocks in dir.
func blocks(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the history: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && isBlock.MatchString(e.Name()) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names, nil
}

// broken returns the blocks in dir that cannot be opened, and why.
func broken(dir string) (map[string]error, error) {
	names, err := blocks(dir)
	if err != nil {
		return nil, err
	}
	bad := map[string]error{}
	for _, name := range names {
		b, err := tsdb.OpenBlock(slog.New(slog.DiscardHandler), name, chunkenc.NewPool(), tsdb.DefaultPostingsDecoderFactory)
		if err != nil {
			bad[name] = err
		} else if err := b.Close(); err != nil {
			return nil, fmt.Errorf("close a block of the history: %w", err)
		}
	}
	return bad, nil
}

// split returns the blocks in dir that have times at or after at, in
// milliseconds. What they hold before it has become a block of its own.
func split(ctx context.Context, dir string, at int64) ([]string, error) {
	names, err := blocks(dir)
	if err != nil {
		return nil, err
	}
	log, pool := slog.New(slog.DiscardHandler), chunkenc.NewPool()
	compactor, err := tsdb.NewLeveledCompactorWithOptions(ctx, nil, log, []int64{blockRange.Milliseconds()}, pool, tsdb.LeveledCompactorOptions{MaxBlockChunkSegmentSize: segmentSize})
	if err != nil {
		return nil, fmt.Errorf("split the history: %w", err)
	}
	var late []string
	for _, name := range names {
		b, err := tsdb.OpenBlock(log, name, pool, tsdb.DefaultPostingsDecoderFactory)
		if err != nil {
			return nil, fmt.Errorf("split the history: %w", err)
		}
		if b.MaxTime() > at {
			late = append(late, name)
			if from := b.Meta().MinTime; from < at {
				_, err = compactor.Write(dir, b, from, at, nil)
			}
		}
		if err := errors.Join(err, b.Close()); err != nil {
			return nil, fmt.Errorf("split a block of the history: %w", err)
		}
	}
	return late, nil
}

// putAside moves paths out of the database, into a directory of their own below
// root, and writes the reason beside them.
func putAside(root string, now time.Time, reason string, paths ...string) (string, error) {
	base := filepath.Join(root, asideDir, now.UTC().Format("20060102T150405Z"))
	dir := base
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return "", fmt.Errorf("put a part of the history aside: %w", err)
	}
	for n := 2; ; n++ {
		err := os.Mkdir(dir, 0o750)
		if err == nil {
			break
		} else if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("put a part of the history aside: %w", err)
		}
		dir = base + "-" + strconv.Itoa(n)
	}
	for _, p := range paths {
		if err := os.Rename(p, filepath.Join(dir, filepath.Base(p))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("put a part of the history aside: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, reasonFile), []byte(reason+"\n"), 0o640); err != nil {
		return "", fmt.Errorf("say why a part of the history was put aside: %w", err)
	}
	list := listAside(root)
	for _, a := range list[:max(0, len(list)-asides)] {
		if err := os.RemoveAll(a.Path); err != nil {
			return "", fmt.Errorf("delete what was put aside long ago: %w", err)
		}
	}
	return dir, nil
}

// listAside returns what was put aside below root, the newest last.
func listAside(root string) []Aside {
	entries, err := os.ReadDir(filepath.Join(root, asideDir))
	if err != nil {
		return nil // none was
	}
	type dated struct {
		Aside
		at time.Time
	}
	var list []dated
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() {
			continue
		}
		path := filepath.Join(root, asideDir, e.Name())
		reason, err := os.ReadFile(filepath.Join(path, reasonFile))
		if err != nil {
			reason = []byte("its reason is lost")
		}
		list = append(list, dated{Aside{Path: path, Reason: strings.TrimSpace(string(reason))}, info.ModTime()})
	}
	slices.SortStableFunc(list, func(a, b dated) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.Path, b.Path))
	})
	out := make([]Aside, len(list))
	for i := range list {
		out[i] = list[i].Aside
	}
	return out
}

// size returns how many bytes the files below root take.
func size(root string) (n int64) {
	_ = filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // files come and go; what can be seen is counted
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}
