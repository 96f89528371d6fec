package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample(t *testing.T, arch string) Image {
	t.Helper()
	from := filepath.Join(t.TempDir(), "program-"+arch)
	if err := os.WriteFile(from, []byte("a program for "+arch), 0o600); err != nil {
		t.Fatal(err)
	}
	return Image{
		Ref: "noether:1.2.3", Platform: Platform{OS: "linux", Arch: arch}, Created: time.Unix(1_700_000_000, 7),
		Entrypoint: []string{"/bin/program"}, Cmd: []string{"--help"}, User: "65532:65532",
		Env: []string{"PATH=/bin"}, Labels: map[string]string{"b": "2", "a": "1"}, ExposedPorts: []string{"9877/tcp"},
		Files: []File{
			{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
			{Path: "/bin/program", Mode: 0o755, From: from},
			{Path: "/etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0::/:\n"), UID: 1, GID: 2},
		},
	}
}

// readTar returns a tar's headers, in order, and contents.
func readTar(t *testing.T, r io.Reader) (headers []*tar.Header, contents map[string][]byte) {
	t.Helper()
	contents = map[string][]byte{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
		contents[h.Name] = b
	}
}

func unmarshal[T any](t *testing.T, b []byte) (v T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

// blob follows a descriptor, and holds it to its size and digest.
func blob(t *testing.T, contents map[string][]byte, d descriptor) []byte {
	t.Helper()
	sum := strings.TrimPrefix(d.Digest, "sha256:")
	b, ok := contents["blobs/sha256/"+sum]
	if got := sha256.Sum256(b); !ok || int64(len(b)) != d.Size || hex.EncodeToString(got[:]) != sum {
		t.Fatalf("blob %s: there %v, %d bytes of %d, digest %x", d.Digest, ok, len(b), d.Size, got)
	}
	return b
}

// TestArchiveReadsBack follows an archive as an engine does, from index.json
// to the files, and finds what was asked for.
func TestArchiveReadsBack(t *testing.T) {
	amd, arm := sample(t, "amd64"), sample(t, "arm64")
	var buf bytes.Buffer
	if err := Write(&buf, arm, amd); err != nil {
		t.Fatal(err)
	}
	_, contents := readTar(t, &buf)
	if got := string(contents["oci-layout"]); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout is %s", got)
	}
	if _, ok := contents["manifest.json"]; ok {
		t.Error("an archive of two platforms has a manifest.json, in which one would hide the other")
	}
	top := unmarshal[index](t, contents["index.json"])
	if len(top.Manifests) != 1 || top.Manifests[0].MediaType != typeIndex {
		t.Fatalf("index.json: %+v", top)
	}
	if diff := cmp.Diff(map[string]string{annotationName: "docker.io/library/noether:1.2.3", annotationTag: "1.2.3"}, top.Manifests[0].Annotations); diff != "" {
		t.Error(diff)
	}
	platforms := unmarshal[index](t, blob(t, contents, top.Manifests[0]))
	for i, want := range []Image{amd, arm} {
		d := platforms.Manifests[i]
		if got := (Platform{OS: d.Platform.OS, Arch: d.Platform.Architecture}); got != want.Platform {
			t.Errorf("platform %d is %s, want %s", i, got, want.Platform)
		}
		m := unmarshal[manifest](t, blob(t, contents, d))
		c := unmarshal[config](t, blob(t, contents, m.Config))
		if diff := cmp.Diff(want.Labels, c.Config.Labels); diff != "" {
			t.Error(diff)
		}
		got := []any{c.Created, c.OS, c.Architecture, c.Config.Entrypoint, c.Config.Cmd, c.Config.User, c.Config.Env, c.Config.WorkingDir, c.Config.ExposedPorts}
		if diff := cmp.Diff([]any{"2023-11-14T22:13:20Z", "linux", want.Platform.Arch, want.Entrypoint, want.Cmd, "65532:65532", want.Env, "/", map[string]struct{}{"9877/tcp": {}}}, got); diff != "" {
			t.Error(diff)
		}

		zr, err := gzip.NewReader(bytes.NewReader(blob(t, contents, m.Layers[0])))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(zr)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{digest(plain)}, c.RootFS.DiffIDs); diff != "" {
			t.Errorf("diff_ids: %s", diff)
		}
		type entry struct {
			Name     string
			Mode     int64
			UID, GID int
			Time     int64
			Content  string
		}
		var entries []entry
		headers, files := readTar(t, bytes.NewReader(plain))
		for _, h := range headers {
			entries = append(entries, entry{h.Name, h.Mode, h.Uid, h.Gid, h.ModTime.Unix(), string(files[h.Name])})
		}
		if diff := cmp.Diff([]entry{
			{"bin/", 0o755, 0, 0, 1_700_000_000, ""},
			{"bin/program", 0o755, 0, 0, 1_700_000_000, "a program for " + want.Platform.Arch},
			{"etc/", 0o755, 0, 0, 1_700_000_000, ""},
			{"etc/passwd", 0o644, 1, 2, 1_700_000_000, "root:x:0:0::/:\n"},
			{"tmp/", 0o1777, 0, 0, 1_700_000_000, ""},
		}, entries); diff != "" {
			t.Error(diff)
		}
	}
}

func TestOnePlatformIsForDockerLoadToo(t *testing.T) {
	a, err := Build(sample(t, "amd64"))
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if n, err := a.WriteTo(&buf); err != nil || n != int64(buf.Len()) {
		t.Fatalf("WriteTo: %d of %d bytes, %v", n, buf.Len(), err)
	}
	_, contents := readTar(t, &buf)
	docker := unmarshal[[]dockerManifest](t, contents["manifest.json"])
	top := unmarshal[index](t, contents["index.json"])
	if top.Manifests[0].Digest != a.Digest() {
		t.Errorf("index.json names %s, Digest %s", top.Manifests[0].Digest, a.Digest())
	}
	m := unmarshal[manifest](t, blob(t, contents, top.Manifests[0]))
	if diff := cmp.Diff([]dockerManifest{{
		Config: blobName(m.Config.Digest), RepoTags: []string{"docker.io/library/noether:1.2.3"}, Layers: []string{blobName(m.Layers[0].Digest)},
	}}, docker); diff != "" {
		t.Error(diff)
	}
}

func TestSameArgumentsGiveSameBytes(t *testing.T) {
	first := sample(t, "amd64")
	second := sample(t, "amd64") // another directory, other times
	slices.Reverse(second.Files)
	if err := os.Chtimes(second.Files[1].From, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	if err := Write(&a, first, sample(t, "arm64")); err != nil {
		t.Fatal(err)
	}
	if err := Write(&b, sample(t, "arm64"), second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the order of arguments, or the time or place of a file, changed the archive")
	}
}

func TestNamesAreCompletedAsEnginesDo(t *testing.T) {
	for ref, want := range map[string]string{
		"noether:1":                   "docker.io/library/noether:1",
		"me/noether:1":                "docker.io/me/noether:1",
		"m_e/noether:1":               "docker.io/m_e/noether:1",
		"docker.io/library/noether:1": "docker.io/library/noether:1",
		"ghcr.io/me/noether:v1.0_a-b": "ghcr.io/me/noether:v1.0_a-b",
		"localhost/noether:1":         "localhost/noether:1",
		"localhost:5000/noether:1":    "localhost:5000/noether:1",
		"registry.test:5000/a/b__c:d": "registry.test:5000/a/b__c:d",
	} {
		if got, _, err := canonical(ref); err != nil || got != want {
			t.Errorf("canonical(%q) = %q, %v; want %q", ref, got, err, want)
		}
	}
	for _, ref := range []string{"", "noether", "noether:", ":1", "Noether:1", "Me/noether:1", "a//b:1", "noether@sha256:00", "noether:1\n", "noether:" + strings.Repeat("1", 129), strings.Repeat("a/", 150) + "b:1", "../noether:1", "a..b/noether:1"} {
		if got, _, err := canonical(ref); err == nil {
			t.Errorf("canonical(%q) = %q, want an error", ref, got)
		}
	}
}

func TestWhatCannotWorkIsRefused(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	file := func(f File) func(*Image) { return func(im *Image) { im.Files = append(im.Files, f) } }
	for name, tc := range map[string]struct {
		change func(*Image)
		want   string
	}{
		"no name":                   {func(im *Image) { im.Ref = "" }, "name image"},
		"no platform":               {func(im *Image) { im.Platform = Platform{} }, "platform"},
		"platform in one word":      {func(im *Image) { im.Platform = Platform{OS: "linux/amd64"} }, "platform"},
		"before 1970":               {func(im *Image) { im.Created = time.Unix(-1, 0) }, "before 1970"},
		"nothing to start":          {func(im *Image) { im.Entrypoint, im.Cmd = nil, nil }, "entry point"},
		"relative working dir":      {func(im *Image) { im.WorkingDir = "home" }, "working directory"},
		"port out of range":         {func(im *Image) { im.ExposedPorts = []string{"65536"} }, "65536"},
		"port of no protocol":       {func(im *Image) { im.ExposedPorts = []string{"1/http"} }, "1/http"},
		"environment without value": {func(im *Image) { im.Env = []string{"PATH"} }, "NAME=VALUE"},
		"relative path":             {file(File{Path: "etc/x", Mode: 0o644}), "clean absolute path"},
		"path that climbs":          {file(File{Path: "/etc/../../x", Mode: 0o644}), "clean absolute path"},
		"path with a zero byte":     {file(File{Path: "/etc/x\x00", Mode: 0o644}), "clean absolute path"},
		"the root":                  {file(File{Path: "/", Mode: fs.ModeDir | 0o755}), "below /"},
		"whiteout":                  {file(File{Path: "/etc/.wh.passwd", Mode: 0o644}), "deleted file"},
		"path twice":                {file(File{Path: "/etc/passwd", Mode: 0o644}), "given twice"},
		"file below a file":         {file(File{Path: "/etc/passwd/x", Mode: 0o644}), "/etc/passwd is a file"},
		"no mode":                   {file(File{Path: "/x"}), "mode 0"},
		"symbolic link":             {file(File{Path: "/x", Mode: fs.ModeSymlink | 0o777}), "neither"},
		"setuid":                    {file(File{Path: "/x", Mode: fs.ModeSetuid | 0o755}), "neither"},
		"owner below zero":          {file(File{Path: "/x", Mode: 0o644, UID: -1}), "owner"},
		"content twice":             {file(File{Path: "/x", Mode: 0o644, From: missing, Content: []byte{}}), "given twice"},
		"directory with content":    {file(File{Path: "/x", Mode: fs.ModeDir | 0o755, Content: []byte{1}}), "no content"},
		"missing file":              {file(File{Path: "/x", Mode: 0o644, From: missing}), missing},
		"directory as a file":       {file(File{Path: "/x", Mode: 0o644, From: filepath.Dir(missing)}), "no regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			im := sample(t, "amd64")
			tc.change(&im)
			var buf bytes.Buffer
			err := Write(&buf, im)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
			if buf.Len() > 0 {
				t.Errorf("%d bytes were written", buf.Len())
			}
		})
	}
	if err := Write(io.Discard); err == nil {
		t.Error("no image is an image")
	}
	if err := Write(io.Discard, sample(t, "amd64"), sample(t, "amd64")); err == nil {
		t.Error("one platform may come twice")
	}
	other := sample(t, "arm64")
	other.Ref = "other:1"
	if err := Write(io.Discard, sample(t, "amd64"), other); err == nil {
		t.Error("an archive may hold two names")
	}
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{"noether:1", "a/b:c", "localhost:5000/x:y", "", "::", "ghcr.io/a/b:v1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		name, tag, err := canonical(ref)
		if err != nil {
			return
		}
		again, tagAgain, err := canonical(name)
		if err != nil || again != name || tagAgain != tag {
			t.Errorf("canonical(%q) = %q, of which canonical makes %q, %v", ref, name, again, err)
		}
	})
}
