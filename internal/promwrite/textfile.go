package promwrite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Textfile writes families as a file for the textfile collector of
// node_exporter, which reads every *.prom of its directory at each scrape. The
// file is replaced as a whole: no scrape sees half of it.
type Textfile struct {
	path string
}

// NewTextfile returns a writer of the file at path, whose name ends in .prom.
func NewTextfile(path string) (*Textfile, error) {
	if base := filepath.Base(path); !strings.HasSuffix(base, ".prom") || strings.HasPrefix(base, ".") {
		return nil, fmt.Errorf("write %s: node_exporter reads only files whose names end in .prom: choose such a name", path)
	}
	return &Textfile{path}, nil
}

// String names the file.
func (t *Textfile) String() string { return t.path }

// Write replaces the file. The times of samples are left out, since the
// collector refuses files that have them.
func (t *Textfile) Write(ctx context.Context, families []Family) error {
	if err := Check(families); err != nil {
		return err
	}
	content, err := text(families)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write %s: %w", t.path, err)
	}
	if err := replace(t.path, content); err != nil {
		hint := ""
		switch {
		case errors.Is(err, fs.ErrNotExist):
			hint = ": create the directory that node_exporter's --collector.textfile.directory names"
		case errors.Is(err, fs.ErrPermission):
			hint = ": let this user write to the directory"
		}
		return fmt.Errorf("write %s: %w%s", t.path, err, hint)
	}
	return nil
}

// replace writes content beside path and renames it over path, so that path
// holds the old or the new content even if the machine fails meanwhile.
func replace(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // does not end in .prom
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()           // the first error counts
			_ = os.Remove(f.Name()) // likewise
		}
	}()
	if _, err = f.Write(content); err != nil {
		return err
	}
	// The collector runs as another user.
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil // the file is in place; only its survival of a power cut is not sure
	}
	_ = d.Sync() // not every file system can
	return d.Close()
}
