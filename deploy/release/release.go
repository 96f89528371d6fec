package release

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"noether/deploy/image"
)

// Options say what a release is made with.
type Options struct {
	Out           string   // an empty directory, or none yet
	Architectures []string // amd64, arm64
	// Helm is the program that packs and renders the chart. Without it there
	// is no chart in the release.
	Helm string
	// LicenceReport is what `go-licenses report ./cmd/noether` printed.
	LicenceReport string
	Progress      io.Writer
}

// Names of the files of a release that have no version in them.
const (
	checksums  = "sha256sums.txt"
	chartIndex = "index.yaml"
)

// Make builds a whole release into an empty directory.
func (s Source) Make(ctx context.Context, o Options) error {
	if entries, err := os.ReadDir(o.Out); err == nil && len(entries) > 0 {
		return fmt.Errorf("make release in %s: it is not empty, and what lies there would look like a part of it; name another, or remove it", o.Out)
	}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return err
	}
	report, err := os.Open(o.LicenceReport)
	if err != nil {
		return fmt.Errorf("read report of licences: %w", err)
	}
	byPackage, err := readIdentifiers(report)
	if err := errors.Join(err, report.Close()); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "noether-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a temporary directory

	r := &run{Source: s, Options: o, work: work}
	fmt.Fprintf(o.Progress, "release %s of commit %s, %s\n", s.Version, s.Revision, s.Created.Format(time.RFC3339)) //nolint:errcheck // only progress
	for _, step := range []func(context.Context, map[string]string) error{r.binaries, r.images, r.chart} {
		if err := step(ctx, byPackage); err != nil {
			return err
		}
	}
	return r.sums()
}

// run is one run of Make. It is of one goroutine.
type run struct {
	Source
	Options
	work  string
	bills []bom
}

// write puts one file into the release.
func (r *run) write(name string, content []byte) error {
	if err := os.WriteFile(filepath.Join(r.Out, name), content, 0o644); err != nil { //nolint:gosec // it is to be given to everybody
		return err
	}
	_, err := fmt.Fprintf(r.Progress, "  %-48s %10d bytes\n", name, len(content))
	return err
}

func (r *run) binary(arch string) string { return filepath.Join(r.work, "noether-"+arch) }

// packed are files of the checkout that archives with a binary hold.
var packed = []string{"LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "deploy/systemd/noether.service", "deploy/systemd/noether-carbon.service"} //nolint:gochecknoglobals // a table

// binaries builds each binary, its archive and its bill of materials.
func (r *run) binaries(ctx context.Context, byPackage map[string]string) error {
	completions, err := r.completions(ctx)
	if err != nil {
		return err
	}
	for _, arch := range r.Architectures {
		if err := r.Build(ctx, arch, r.binary(arch)); err != nil {
			return err
		}
		name := "noether-" + r.Number() + ".linux-" + arch
		files := maps.Clone(completions)
		for _, p := range packed {
			if files[path.Base(p)], err = os.ReadFile(filepath.Join(r.Dir, p)); err != nil {
				return err
			}
		}
		licences, err := r.Licences(ctx, arch)
		if err != nil {
			return err
		}
		for _, l := range licences {
			files["licenses/"+l.Path] = l.Content
		}
		if files["noether"], err = os.ReadFile(r.binary(arch)); err != nil {
			return err
		}
		archive, err := r.tarball(name, files)
		if err != nil {
			return err
		}
		if err := r.write(name+".tar.gz", archive); err != nil {
			return err
		}
		bill, err := r.binaryBOM(r.binary(arch), name, byPackage)
		if err != nil {
			return err
		}
		r.bills = append(r.bills, bill)
		if err := r.write(name+".cdx.json", encode(bill)); err != nil {
			return err
		}
	}
	return nil
}

// completions asks a binary that runs here for them.
func (r *run) completions(ctx context.Context) (map[string][]byte, error) {
	native := filepath.Join(r.work, "native")
	if err := r.Build(ctx, runtime.GOARCH, native); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for shell, name := range map[string]string{"bash": "noether.bash", "zsh": "_noether", "fish": "noether.fish"} {
		out, err := exec.CommandContext(ctx, native, "completion", shell).Output()
		if err != nil {
			return nil, fmt.Errorf("make completions for %s: %w", shell, err)
		}
		files["completions/"+name] = out
	}
	return files, nil
}

// tarball packs files below a directory of the archive's name. What is called
// noether may be executed.
func (r *run) tarball(below string, files map[string][]byte) ([]byte, error) {
	var buf bytes.Buffer
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	tw := tar.NewWriter(zw)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		mode := int64(0o644)
		if name == "noether" {
			mode = 0o755
		}
		err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join(below, name), Mode: mode, Size: int64(len(files[name])), ModTime: r.Created})
		if err == nil {
			_, err = tw.Write(files[name])
		}
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		return nil, fmt.Errorf("end %s: %w", below, err)
	}
	return buf.Bytes(), nil
}

// images writes the image of each platform, for docker load, and of all of
// them, for registries and containerd.
func (r *run) images(ctx context.Context, _ map[string]string) error {
	ref := "noether:" + r.Number()
	var all []image.Image
	for _, arch := range r.Architectures {
		im, err := r.Image(ctx, ref, arch, r.binary(arch))
		if err != nil {
			return err
		}
		all = append(all, im)
		var buf bytes.Buffer
		if err := image.Write(&buf, im); err != nil {
			return err
		}
		if err := r.write("noether-"+r.Number()+".image-linux-"+arch+".tar", buf.Bytes()); err != nil {
			return err
		}
	}
	a, err := image.Build(all...)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if _, err := a.WriteTo(&buf); err != nil {
		return err
	}
	if err := r.write("noether-"+r.Number()+".image.tar", buf.Bytes()); err != nil {
		return err
	}
	return r.write("noether-"+r.Number()+".image.cdx.json", encode(r.imageBOM(ref, a.Digest(), r.bills)))
}

// timesOfIndex are where helm repo index writes the time it runs at.
var timesOfIndex = regexp.MustCompile(`(?m)^(\s*(?:created|generated): ).*$`)

// chart packs the Helm chart, with the versions of this release, writes the
// index of a repository that holds only it, and renders it with its defaults.
func (r *run) chart(ctx context.Context, _ map[string]string) error {
	if r.Helm == "" {
		_, err := fmt.Fprintln(r.Progress, "  no helm: the chart, its index and the manifests are left out")
		return err
	}
	helm := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, r.Helm, args...)
		// Nobody's configuration, cache or cluster is read or written.
		cmd.Env = []string{"HOME=" + r.work, "HELM_CACHE_HOME=" + r.work, "HELM_CONFIG_HOME=" + r.work, "HELM_DATA_HOME=" + r.work, "PATH=" + r.work, "KUBECONFIG=" + filepath.Join(r.work, "none")}
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("run helm %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
		}
		return stdout.Bytes(), nil
	}
	dir := filepath.Join(r.work, "chart")
	name := "noether-" + r.Number() + ".tgz"
	if _, err := helm("package", filepath.Join(r.Dir, "deploy", "helm", "noether"), "--version", r.Number(), "--app-version", r.Number(), "-d", dir); err != nil {
		return err
	}
	content, err := r.retime(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("repack chart: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		return err
	}
	if err := r.write(name, content); err != nil {
		return err
	}
	if _, err := helm("repo", "index", dir); err != nil {
		return err
	}
	index, err := os.ReadFile(filepath.Join(dir, chartIndex))
	if err != nil {
		return err
	}
	if err := r.write(chartIndex, timesOfIndex.ReplaceAll(index, []byte(`${1}"`+r.Created.UTC().Format(time.RFC3339)+`"`))); err != nil {
		return err
	}
	rendered, err := helm("template", "noether", filepath.Join(dir, name), "--namespace", "noether", "--kube-version", kubeVersion, "--set", "namespace.create=true,tests.enabled=false")
	if err != nil {
		return err
	}
	return r.write("noether-"+r.Number()+".yaml", helmsOwn.ReplaceAll(rendered, nil))
}

// kubeVersion is what the manifests are rendered for, as deploy/manifests is:
// Helm's own default changes with it.
const kubeVersion = "1.34.0"

// helmsOwn are lines that only Helm understands.
var helmsOwn = regexp.MustCompile(`(?m)^(# Source: .*|\s*helm\.sh/chart: .*|\s*app\.kubernetes\.io/managed-by: Helm)\n`)

// retime returns a packed chart with fixed times: helm writes the present one.
func (r *run) retime(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	zr, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	type entry struct {
		header  *tar.Header
		content []byte
	}
	var entries []entry
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{&tar.Header{Typeflag: h.Typeflag, Name: h.Name, Mode: 0o644, Size: h.Size, ModTime: r.Created}, content})
	}
	// Helm reads Chart.yaml first where it comes first; the rest has no order.
	slices.SortStableFunc(entries, func(a, b entry) int {
		first := func(e entry) int {
			if path.Base(e.header.Name) == "Chart.yaml" {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(first(a), first(b)), cmp.Compare(a.header.Name, b.header.Name))
	})
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	for _, e := range entries {
		err := tw.WriteHeader(e.header)
		if err == nil {
			_, err = tw.Write(e.content)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// sums writes what sha256sum -c reads, of every file there is.
func (r *run) sums() error {
	var lines []byte
	err := fs.WalkDir(os.DirFS(r.Out), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(r.Out, name))
		if err != nil {
			return err
		}
		lines = fmt.Appendf(lines, "%x  %s\n", sha256.Sum256(content), name)
		return nil
	})
	if err != nil {
		return fmt.Errorf("sum up release: %w", err)
	}
	return r.write(checksums, lines)
}
