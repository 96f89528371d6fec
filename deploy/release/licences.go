package release

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
)

// Licence is one file of licence text or notices of something that is linked
// into the binary.
type Licence struct {
	Path    string // module@version/LICENSE, with slashes
	Content []byte
}

// listed is what go list -json says of a package.
type listed struct {
	ImportPath, Dir string
	Standard        bool
	EmbedFiles      []string
	Module          *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// licenceName matches the files by which modules carry licences and the
// notices that Apache-2.0 §4(d) wants kept.
var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// Licences collects the licence texts of everything that the binary for arch
// links: of each module and of the directories above each package in it, of
// data that is embedded, and Go's own.
func (s Source) Licences(ctx context.Context, arch string) ([]Licence, error) {
	out, err := s.run(ctx, arch, "list", "-deps", "-json=ImportPath,Dir,Standard,EmbedFiles,Module", "./cmd/noether")
	if err != nil {
		return nil, fmt.Errorf("list what the binary links: %w", err)
	}
	goroot, err := s.run(ctx, arch, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	files := map[string]string{} // from where they are kept to where they are
	add := func(dir, below string) (found bool, err error) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return false, err
		}
		for _, e := range entries {
			if e.Type().IsRegular() && licenceName.MatchString(e.Name()) {
				files[path.Join(below, e.Name())] = filepath.Join(dir, e.Name())
				found = true
			}
		}
		return found, nil
	}
	// Debian keeps Go's licence elsewhere than go.dev does.
	if found, err := add(string(bytes.TrimSpace(goroot)), "go"); err != nil {
		return nil, fmt.Errorf("read Go's licence: %w", err)
	} else if !found {
		const debian = "/usr/share/doc/golang-go/copyright"
		if _, err := os.Stat(debian); err != nil {
			return nil, errors.New("read Go's licence: GOROOT has none; use the distribution of go.dev")
		}
		files["go/LICENSE"] = debian
	}
	carried := map[string]bool{} // modules, to whether they carry a licence
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read what go list says: %w", err)
		}
		switch {
		case p.Standard || p.Module == nil:
		case p.Module.Main:
			for _, name := range p.EmbedFiles {
				if licenceName.MatchString(path.Base(name)) {
					files[path.Join(p.ImportPath, name)] = filepath.Join(p.Dir, name)
				}
			}
		default:
			module := p.Module.Path + "@" + p.Module.Version
			for dir := p.Dir; ; dir = filepath.Dir(dir) {
				rel, err := filepath.Rel(p.Module.Dir, dir)
				if err != nil {
					return nil, err
				}
				found, err := add(dir, path.Join(module, filepath.ToSlash(rel)))
				if err != nil {
					return nil, fmt.Errorf("read licences of %s: %w", p.ImportPath, err)
				}
				carried[module] = carried[module] || found
				if rel == "." || len(dir) <= len(p.Module.Dir) {
					break
				}
			}
		}
	}
	for _, module := range slices.Sorted(maps.Keys(carried)) {
		if !carried[module] {
			return nil, fmt.Errorf("read licence of %s: it carries none, so that it may not be given to others", module)
		}
	}
	var licences []Licence
	for kept, from := range files {
		content, err := os.ReadFile(from)
		if err != nil {
			return nil, fmt.Errorf("read licence: %w", err)
		}
		licences = append(licences, Licence{Path: kept, Content: content})
	}
	slices.SortFunc(licences, func(a, b Licence) int { return cmp.Compare(a.Path, b.Path) })
	return licences, nil
}
