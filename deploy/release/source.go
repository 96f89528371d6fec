// Package release builds what is given to users out of a checkout: static
// binaries, container images, archives, the bill of materials, the Helm chart
// and checksums. One table says what an image holds; the Dockerfile and the
// builder without Docker both lay out that.
//
// The same commit, version and Go toolchain give the same bytes, on any
// machine and at any time. It signs nothing and uploads nothing: keys are not
// for build machines.
package release

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Source is a checkout and what it is called. It is a value.
type Source struct {
	Dir      string    // the root of the checkout
	Version  string    // what noether version prints: v1.2.3
	Revision string    // the commit
	Created  time.Time // of the commit: the time of everything that is built
}

// Describe completes what is left empty: Version and Revision from git, Created
// from epoch, the value of SOURCE_DATE_EPOCH
// (reproducible-builds.org/specs/source-date-epoch), or from git. A checkout
// without git is of version devel, unknown revision, and 1970.
func (s Source) Describe(ctx context.Context, epoch string) (Source, error) {
	git := func(args ...string) string {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", s.Dir}, args...)...).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	s.Version = cmp.Or(s.Version, git("describe", "--tags", "--always", "--dirty"), "devel")
	s.Revision = cmp.Or(s.Revision, git("rev-parse", "HEAD"), "unknown")
	if s.Created.IsZero() {
		seconds := cmp.Or(epoch, git("log", "-1", "--format=%ct"), "0")
		n, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil || n < 0 || n > 1<<40 {
			return s, fmt.Errorf("read SOURCE_DATE_EPOCH %q: not seconds since 1970", seconds)
		}
		s.Created = time.Unix(n, 0).UTC()
	}
	for what, v := range map[string]string{"version": s.Version, "revision": s.Revision} {
		if !nameWord.MatchString(v) {
			return s, fmt.Errorf("read %s %q: it becomes part of file names, image tags and linker flags; want letters, digits, dots and dashes", what, v)
		}
	}
	return s, nil
}

// nameWord is narrow enough for file names, image tags (without the + of
// semver, which tags cannot hold) and arguments of the linker.
var nameWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$`)

// semantic is semver.org's grammar without build metadata.
var semantic = regexp.MustCompile(`^v?((?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?)$`)

// Number is the version as semver without a v, which Helm requires, and which
// file names and image tags have as well. A commit without a tag is before any
// release: 0.0.0-gaae65ed.
func (s Source) Number() string {
	if m := semantic.FindStringSubmatch(s.Version); m != nil {
		return m[1]
	}
	return "0.0.0-g" + strings.NewReplacer("_", "-", ".", "-").Replace(s.Version)
}

// Build compiles the static binary for linux on arch to out. Whatever the
// environment says about features, flags or C is overridden, since it would
// change the bytes.
func (s Source) Build(ctx context.Context, arch, out string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	_, err = s.run(ctx, arch, "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+s.Version+" -X main.revision="+s.Revision,
		"-o", out, "./cmd/noether")
	if err != nil {
		return fmt.Errorf("build binary for linux/%s: %w", arch, err)
	}
	return nil
}

// run runs the go command in the checkout, for arch.
func (s Source) run(ctx context.Context, arch string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0",
		"GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off", "LC_ALL=C", "TZ=UTC")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if said := strings.TrimSpace(stderr.String()); said != "" {
			err = errors.New(said)
		}
		return nil, fmt.Errorf("run go %s: %w", args[0], err)
	}
	return stdout.Bytes(), nil
}
