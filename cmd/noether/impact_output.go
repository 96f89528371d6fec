package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"noether/internal/impact/fault"
)

// outputFile is a file that exists whole or not at all: it is written beside
// its place and moved there when it is complete.
type outputFile struct {
	path string
	temp *os.File // nil for what is no regular file
	out  io.Writer
}

// createOutput begins to write a file, so that a place that cannot be written is
// known before the work is done. Missing directories are made. "-" is standard
// output; a device or pipe is written as it is. Commit or Abort ends it.
func (p *process) createOutput(path string) (*outputFile, error) {
	if path == "-" {
		return &outputFile{path: path, out: p.stdout}, nil
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		switch {
		case info.IsDir():
			return nil, fmt.Errorf("write %s: it is a directory: name a file", path)
		case !info.Mode().IsRegular():
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return nil, err
			}
			return &outputFile{path: path, out: f}, nil
		}
		mode = info.Mode().Perm()
		if target, err := filepath.EvalSymlinks(path); err == nil {
			path = target // a link stays a link
		}
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of %s: %w", path, err)
	}
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, fmt.Errorf("write beside %s: %w", path, err)
	}
	o := &outputFile{path: path, temp: temp, out: temp}
	if err := temp.Chmod(mode); err != nil {
		o.Abort()
		return nil, err
	}
	return o, nil
}

// openOutput begins to write the file that -o names; compat finds it as the
// Impact Framework does.
func (p *process) openOutput(name string, compat bool) (*outputFile, error) {
	path, err := outputPath(name, compat)
	if err == nil {
		var file *outputFile
		if file, err = p.createOutput(path); err == nil {
			return file, nil
		}
	}
	return nil, &fault.Error{Class: fault.WriteFile, Message: err.Error(), Cause: err}
}

// Commit lets write fill the file, makes sure that it is on the disk and puts it
// in its place.
func (o *outputFile) Commit(write func(io.Writer) error) error {
	err := write(o.out)
	if o.temp == nil {
		if f, ok := o.out.(*os.File); ok && o.path != "-" {
			err = errors.Join(err, f.Close())
		}
		return err
	}
	temp := o.temp.Name()
	err = errors.Join(err, o.temp.Sync(), o.temp.Close())
	o.temp = nil
	if err == nil {
		err = os.Rename(temp, o.path)
	}
	if err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	return nil
}

// Abort leaves everything as it was, unless Commit came first.
func (o *outputFile) Abort() {
	if o == nil || o.temp == nil {
		return
	}
	_ = o.temp.Close()
	_ = os.Remove(o.temp.Name())
}

// outputPath returns the file that -o names. The Impact Framework replaces
// what follows the last dot of the whole absolute path, be it in a directory's
// name; without compat the file has the name that was asked for, .yaml is added
// where the name does not say that it is YAML.
func outputPath(name string, compat bool) (string, error) {
	if name == "-" {
		return name, nil
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return name, nil // /dev/stdout, a pipe
	}
	if !compat {
		if isYAML(name) {
			return name, nil
		}
		return name + ".yaml", nil
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	if dot := strings.LastIndexByte(abs, '.'); dot >= 0 {
		abs = abs[:dot]
	}
	return abs + ".yaml", nil
}

// buffered lets write fill w by way of a buffer.
func buffered(w io.Writer, write func(io.Writer) error) error {
	b := bufio.NewWriterSize(w, 1<<18)
	if err := write(b); err != nil {
		return err
	}
	return b.Flush()
}
