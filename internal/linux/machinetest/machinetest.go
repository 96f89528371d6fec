// Package machinetest unpacks captured machines, kept as text archives, into
// temporary directories that tests use as the root of /proc and /sys. Only
// tests import it.
package machinetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Unpack writes the machine in the archive file below a new temporary
// directory and returns that directory. The format is that of txtar: text
// before the first marker is a comment, and each entry begins with a marker
// line. The name in it may be more than a name:
//
//	-- proc/meminfo --              a file
//	-- sys/x/energy_uj 0400 --      a file with these permissions
//	-- sys/devices/virtual/x/ --    an empty directory
//	-- sys/class/x -> ../y --       a symbolic link, dangling or not
//
// File names have no spaces. The directory can be entered by any user.
func Unpack(tb testing.TB, file string) string {
	tb.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	root := tb.TempDir()
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil { //nolint:gosec // a test without privileges reads it
		tb.Fatal(err)
	}
	if err := unpack(root, string(data)); err != nil {
		tb.Fatalf("unpack %s: %v", file, err)
	}
	return root
}

func unpack(root, archive string) error {
	var marker string
	var body strings.Builder
	for line := range strings.Lines(archive) {
		next, isMarker := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "-- ")
		if isMarker {
			next, isMarker = strings.CutSuffix(next, " --")
		}
		if !isMarker {
			body.WriteString(line)
			continue
		}
		if err := entry(root, marker, body.String()); err != nil {
			return err
		}
		marker = next
		body.Reset()
	}
	return entry(root, marker, body.String())
}

// entry writes one entry. The marker is empty for the comment at the top.
func entry(root, marker, body string) error {
	words := strings.Fields(marker)
	if len(words) == 0 {
		return nil
	}
	if !filepath.IsLocal(words[0]) {
		return fmt.Errorf("%s: leaves the root", words[0])
	}
	path := filepath.Join(root, words[0])
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	switch {
	case len(words) == 3 && words[1] == "->":
		return os.Symlink(words[2], path)
	case len(words) == 1 && strings.HasSuffix(words[0], "/"):
		return os.MkdirAll(path, 0o755)
	case len(words) > 2:
		return fmt.Errorf("marker %q: want a name, a name and a mode, or a link", marker)
	}
	mode := uint64(0o644)
	if len(words) == 2 {
		var err error
		if mode, err = strconv.ParseUint(words[1], 8, 9); err != nil {
			return fmt.Errorf("marker %q: %w", marker, err)
		}
	}
	return os.WriteFile(path, []byte(body), os.FileMode(mode))
}

// Write replaces the content of a file that a machine may hold open, as the
// kernel does: in place, so that open descriptors see it.
func Write(tb testing.TB, path, content string) {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // WriteString tells
	if _, err := f.WriteString(content); err != nil {
		tb.Fatal(err)
	}
}
