package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"noether/internal/export/prometheus"
)

// files are those of the page, by the path at which they are served. They are
// read where they are: nothing of them is held before somebody asks.
type files struct {
	fsys   fs.FS
	byPath map[string]*file
}

type file struct {
	name    string // in the file system
	kind    string // media type
	tag     string // entity tag, of the content
	size    int64
	hashed  bool // its name changes with its content
	squeeze bool // it is worth compressing

	once   sync.Once
	zipped []byte // nil if that is not smaller, or could not be read
}

// kinds are the media types by extension: those of the system would differ
// from machine to machine.
var kinds = map[string]struct { //nolint:gochecknoglobals // a table that nothing changes
	kind    string
	squeeze bool
}{
	".html":        {"text/html; charset=utf-8", true},
	".js":          {"text/javascript; charset=utf-8", true},
	".css":         {"text/css; charset=utf-8", true},
	".svg":         {"image/svg+xml", true},
	".json":        {"application/json", true},
	".webmanifest": {"application/manifest+json", true},
	".txt":         {"text/plain; charset=utf-8", true},
	".png":         {"image/png", false},
	".ico":         {"image/x-icon", false},
	".woff2":       {"font/woff2", false},
}

// newFiles looks at every file once. A file of a kind that it does not know is
// an error: a browser would not know it either.
func newFiles(fsys fs.FS) (*files, error) {
	f := &files{fsys: fsys, byPath: map[string]*file{}}
	if fsys == nil {
		return f, nil
	}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		known, ok := kinds[path.Ext(name)]
		if !ok {
			return fmt.Errorf("%q is of no kind that is served", name)
		}
		opened, err := fsys.Open(name)
		if err != nil {
			return err
		}
		defer opened.Close() //nolint:errcheck // nothing was written
		hash := sha256.New()
		size, err := io.Copy(hash, opened)
		if err != nil {
			return err
		}
		f.byPath["/"+name] = &file{
			name: name, kind: known.kind, squeeze: known.squeeze, size: size,
			tag: hex.EncodeToString(hash.Sum(nil)[:12]), hashed: strings.HasPrefix(name, "assets/"),
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the files of the page: %w", err)
	}
	if index := f.byPath["/index.html"]; index != nil {
		f.byPath["/"] = index
	}
	return f, nil
}

// serve answers with a file of the page.
func (f *files) serve(w http.ResponseWriter, r *http.Request) {
	found := f.byPath[r.URL.Path]
	if found == nil {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	if found.hashed {
		h.Set("Cache-Control", "max-age=31536000, immutable")
	}
	zip := found.squeeze && prometheus.AcceptsGzip(r.Header.Values("Accept-Encoding"))
	if zip {
		found.once.Do(func() { found.zipped = f.zip(found) })
		zip = found.zipped != nil
	}
	// Two forms of a file are two representations (RFC 9110, section 8.8.3.3).
	tag := `"` + found.tag + `"`
	if zip {
		tag = `"` + found.tag + `-gzip"`
	}
	h.Set("ETag", tag)
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", found.kind)
	if zip {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(found.zipped)))
		_, _ = w.Write(found.zipped) // the client has gone; nobody is left to tell
		return
	}
	opened, err := f.fsys.Open(found.name)
	if err != nil {
		http.Error(w, "the file of the page cannot be read", http.StatusInternalServerError)
		return
	}
	defer opened.Close() //nolint:errcheck // nothing was written
	h.Set("Content-Length", strconv.FormatInt(found.size, 10))
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, opened) // likewise
	}
}

// zip returns a file compressed, nil if that is no gain.
func (f *files) zip(of *file) []byte {
	content, err := fs.ReadFile(f.fsys, of.name)
	if err != nil {
		return nil
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil
	}
	if _, err := z.Write(content); err != nil {
		return nil
	}
	if err := z.Close(); err != nil || b.Len() >= len(content) {
		return nil
	}
	return bytes.Clone(b.Bytes())
}

// matches compares entity tags weakly, as If-None-Match wants (RFC 9110, section 13.1.2).
func matches(header, tag string) bool {
	for item := range strings.SplitSeq(header, ",") {
		if item = strings.TrimSpace(item); item == "*" || strings.TrimPrefix(item, "W/") == tag {
			return true
		}
	}
	return false
}
