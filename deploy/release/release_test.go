package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/deploy/image"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s:\n%s", name, diff)
	}
}

// TestBillsOfMaterials writes the golden files that test/deploy holds to the
// schema of CycloneDX.
func TestBillsOfMaterials(t *testing.T) {
	const report = `github.com/klauspost/compress,https://example.org/a,Apache-2.0
github.com/klauspost/compress/s2,https://example.org/b,BSD-3-Clause
golang.org/x/sys/unix,Unknown,BSD-3-Clause
`
	byPackage, err := readIdentifiers(strings.NewReader(report))
	if err != nil {
		t.Fatal(err)
	}
	s := here
	s.Created = s.Created.UTC()
	bill := func(arch string, deps ...*debug.Module) (bom, error) {
		return s.bill(&buildinfo.BuildInfo{
			GoVersion: "go1.26.8", Deps: deps,
			Settings: []debug.BuildSetting{{Key: "-trimpath", Value: "true"}, {Key: "GOARCH", Value: arch}, {Key: "GOOS", Value: "linux"}},
		}, sha256.Sum256([]byte(arch)), "noether-1.2.3.linux-"+arch, byPackage)
	}
	compress := &debug.Module{Path: "github.com/klauspost/compress", Version: "v1.20.3", Sum: "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}
	amd, err := bill("amd64", compress, &debug.Module{Path: "golang.org/x/sys", Version: "v0.49.0+incompatible"})
	if err != nil {
		t.Fatal(err)
	}
	arm, err := bill("arm64", compress)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "binary.cdx.json", encode(amd))

	whole := s.imageBOM("noether:1.2.3", "sha256:"+strings.Repeat("0", 64), []bom{amd, arm})
	for i := range whole.Components { // the list of authorities is not what is tested
		if c := &whole.Components[i]; c.BOMRef == "certificates" {
			c.Hashes[0].Content = strings.Repeat("0", 64)
		}
	}
	golden(t, "image.cdx.json", encode(whole))

	if _, err := bill("amd64", &debug.Module{Path: "example.org/unknown", Version: "v1.0.0"}); err == nil || !strings.Contains(err.Error(), "example.org/unknown") {
		t.Errorf("a module without a licence: %v", err)
	}
	if _, err := readIdentifiers(strings.NewReader("one,two\n")); err == nil {
		t.Error("a report with two columns is read")
	}
}

func TestNumberIsSemantic(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3": "1.2.3", "v1.2.3-rc.1": "1.2.3-rc.1", "v1.2.3-4-gabcdef0": "1.2.3-4-gabcdef0",
		"aae65ed": "0.0.0-gaae65ed", "0123456": "0.0.0-g0123456", "aae65ed-dirty": "0.0.0-gaae65ed-dirty", "devel": "0.0.0-gdevel", "v1.2": "0.0.0-gv1-2",
	} {
		if got := (Source{Version: version}).Number(); got != want {
			t.Errorf("%s is %s, want %s", version, got, want)
		} else if !semantic.MatchString(got) {
			t.Errorf("%s is not of semver's grammar", got)
		}
	}
}

func TestDescribe(t *testing.T) {
	s, err := Source{Dir: t.TempDir()}.Describe(t.Context(), "")
	if diff := cmp.Diff([]any{"devel", "unknown", time.Unix(0, 0).UTC(), error(nil)}, []any{s.Version, s.Revision, s.Created, err}); diff != "" {
		t.Errorf("without git: %s", diff)
	}
	if s, err = (Source{Dir: here.Dir, Version: "v1.0.0"}).Describe(t.Context(), "86400"); err != nil || s.Version != "v1.0.0" || s.Created.Unix() != 86400 {
		t.Errorf("what is given was not kept: %+v, %v", s, err)
	}
	for _, epoch := range []string{"-1", "yesterday", "99999999999999999999"} {
		if _, err := here.Describe(t.Context(), epoch); err != nil {
			t.Errorf("SOURCE_DATE_EPOCH is read although a time is given: %v", err)
		}
		if _, err := (Source{Dir: here.Dir}).Describe(t.Context(), epoch); err == nil {
			t.Errorf("SOURCE_DATE_EPOCH=%s is a time", epoch)
		}
	}
	for _, version := range []string{"v1 -X main.x=y", "../../v1", "v1+meta", "-v"} {
		if _, err := (Source{Dir: here.Dir, Version: version}).Describe(t.Context(), "0"); err == nil {
			t.Errorf("version %q is taken", version)
		}
	}
}

// TestAnotherCheckoutGivesTheSameBytes builds binary and image here and in a
// copy below another path, and holds them to be the same.
func TestAnotherCheckoutGivesTheSameBytes(t *testing.T) {
	if testing.Short() {
		t.Skip("it links the binary twice")
	}
	copied := here
	copied.Dir = t.TempDir()
	for _, dir := range []string{"cmd", "internal", "ui/dist"} {
		if err := os.CopyFS(filepath.Join(copied.Dir, dir), os.DirFS(filepath.Join(here.Dir, dir))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "LICENSE", "NOTICE", "ui/embed.go"} {
		b, err := os.ReadFile(filepath.Join(here.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(copied.Dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var binaries, images [][]byte
	for _, s := range []Source{here, copied} {
		name := filepath.Join(t.TempDir(), "noether")
		if err := s.Build(t.Context(), "amd64", name); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		im, err := s.Image(t.Context(), "noether:1.2.3", "amd64", name)
		if err != nil {
			t.Fatal(err)
		}
		var buf bytes.Buffer
		if err := image.Write(&buf, im); err != nil {
			t.Fatal(err)
		}
		binaries, images = append(binaries, b), append(images, buf.Bytes())
	}
	if !bytes.Equal(binaries[0], binaries[1]) {
		t.Error("the binary depends on where its checkout is")
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("the image depends on where its checkout is")
	}
}

// TestChartIsRepacked gives retime a chart with times and an order as helm
// packs it, twice.
func TestChartIsRepacked(t *testing.T) {
	var first []byte
	for i, order := range [][]string{{"noether/values.yaml", "noether/Chart.yaml"}, {"noether/Chart.yaml", "noether/values.yaml"}} {
		var buf bytes.Buffer
		zw := gzip.NewWriter(&buf)
		tw := tar.NewWriter(zw)
		for _, name := range order {
			if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(name)), ModTime: time.Unix(int64(i), 0)}); err != nil {
				t.Fatal(err)
			}
			io.WriteString(tw, name)
		}
		if err := errors.Join(tw.Close(), zw.Close()); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "chart.tgz")
		if err := os.WriteFile(name, buf.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := (&run{Source: here}).retime(name)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = got
		}
		if !bytes.Equal(first, got) {
			t.Error("times or order of helm's archive are left in the chart")
		}
	}
	zr, err := gzip.NewReader(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if content, err := io.ReadAll(tr); err != nil || string(content) != h.Name || !h.ModTime.Equal(here.Created) {
			t.Errorf("%s of %s holds %q, %v", h.Name, h.ModTime, content, err)
		}
		names = append(names, h.Name)
	}
	if diff := cmp.Diff([]string{"noether/Chart.yaml", "noether/values.yaml"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestReleaseGoesIntoAnEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := here.Make(t.Context(), Options{Out: dir, Progress: io.Discard}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("error %v, want one that says that it is not empty", err)
	}
}
