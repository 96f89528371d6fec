package release

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var here = Source{Dir: filepath.Join("..", ".."), Version: "v1.2.3", Revision: "0123abc", Created: time.Unix(1_700_000_000, 0)}

// instructions returns what a Dockerfile says, one element a line of it
// without comments and continued lines.
func instructions(t *testing.T, name string) [][2]string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out [][2]string
	var open string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if part, more := strings.CutSuffix(line, `\`); more {
			open += part
			continue
		}
		word, rest, _ := strings.Cut(open+line, " ")
		out, open = append(out, [2]string{word, strings.Join(strings.Fields(rest), " ")}), ""
	}
	return out
}

func list(t *testing.T, s string) (l []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &l); err != nil {
		t.Fatalf("%s: %v; only this form starts no shell", s, err)
	}
	return l
}

// TestDockerfileMakesTheImageOfTheTable holds the last stage of the Dockerfile
// to what the builder without Docker makes.
func TestDockerfileMakesTheImageOfTheTable(t *testing.T) {
	want, err := here.Image(t.Context(), "noether:1.2.3", "amd64", "noether")
	if err != nil {
		t.Fatal(err)
	}
	got := want
	got.Entrypoint, got.Cmd, got.User, got.WorkingDir, got.ExposedPorts, got.Labels, got.Env = nil, nil, "", "", nil, map[string]string{}, nil
	var copies, from, runs []string
	for _, in := range instructions(t, filepath.Join(here.Dir, "Dockerfile")) {
		switch in[0] {
		case "FROM":
			from, copies = append(from, in[1]), nil
		case "RUN":
			runs = append(runs, in[1])
		case "COPY":
			copies = append(copies, in[1])
		case "ENTRYPOINT":
			got.Entrypoint = list(t, in[1])
		case "CMD":
			got.Cmd = list(t, in[1])
		case "USER":
			got.User = in[1]
		case "WORKDIR":
			got.WorkingDir = in[1]
		case "EXPOSE":
			got.ExposedPorts = strings.Fields(in[1])
		case "ENV":
			got.Env = append(got.Env, in[1])
		case "LABEL":
			for _, pair := range strings.SplitAfter(in[1], `" `) {
				key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
				value = strings.NewReplacer("$VERSION", here.Version, "$REVISION", here.Revision).Replace(strings.Trim(value, `"`))
				got.Labels[key] = value
			}
		case "ARG":
		default:
			t.Errorf("the Dockerfile has %s, which this test does not compare", in[0])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-) and Dockerfile (+) differ:\n%s", diff)
	}
	if want := "scratch"; len(from) != 2 || from[1] != want {
		t.Errorf("stages are %q, want two, the last of %s", from, want)
	}
	if diff := cmp.Diff([]string{"--from=build /out/ /"}, copies); diff != "" {
		t.Errorf("the last stage copies something else than what the builder laid out:\n%s", diff)
	}
	if laid := runs[len(runs)-1]; !strings.HasPrefix(laid, "go run ./deploy/image/cmd/noether-image -rootfs /out ") {
		t.Errorf("the build stage ends with %q", laid)
	}
	b, err := os.ReadFile(filepath.Join(here.Dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, version, _ := strings.Cut(string(b), "\ngo ")
	major := strings.Join(strings.SplitN(version, ".", 3)[:2], ".")
	if args := instructions(t, filepath.Join(here.Dir, "Dockerfile"))[0]; args[1] != "GO_VERSION="+major {
		t.Errorf("the Dockerfile builds with %s, go.mod wants %s", args[1], major)
	}
}

// TestContextHoldsWhatIsBuilt holds .dockerignore to the files of the packages
// that the build stage compiles.
func TestContextHoldsWhatIsBuilt(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(here.Dir, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	sent := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			if _, err := os.Stat(filepath.Join(here.Dir, name)); err != nil {
				t.Errorf(".dockerignore sends what is not there: %v", err)
			}
			sent[name] = true
		}
	}
	out, err := here.run(t.Context(), "amd64", "list", "-deps", "-f", `{{if .Module}}{{if .Module.Main}}{{.ImportPath}}{{end}}{{end}}`, "./cmd/noether", "./deploy/image/cmd/noether-image")
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.FieldsSeq(string(out)) {
		dir := strings.TrimPrefix(pkg, "noether/")
		if !slices.ContainsFunc(slices.Collect(maps.Keys(sent)), func(p string) bool { return dir == p || strings.HasPrefix(dir, p+"/") }) {
			t.Errorf("%s is compiled, and .dockerignore keeps it back", dir)
		}
	}
}

// TestRootfsIsTheImage lays the files out as the Dockerfile does, and compares
// them with those of the image.
func TestRootfsIsTheImage(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "noether")
	if err := os.WriteFile(binary, []byte("a binary"), 0o600); err != nil {
		t.Fatal(err)
	}
	im, err := here.Image(t.Context(), "noether:1", "arm64", binary)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := here.Rootfs(t.Context(), "arm64", binary, dir); err != nil {
		t.Fatal(err)
	}
	var licences int
	for _, f := range im.Files {
		st, err := os.Stat(filepath.Join(dir, f.Path))
		if err != nil {
			t.Error(err)
			continue
		}
		if st.Mode() != f.Mode {
			t.Errorf("%s has mode %v, in the image %v", f.Path, st.Mode(), f.Mode)
		}
		if strings.HasPrefix(f.Path, licenceDir+"/third-party/") {
			licences++
		}
		if f.UID != 0 || f.GID != 0 {
			t.Errorf("%s is not root's, as COPY would make it", f.Path)
		}
	}
	if licences < 30 {
		t.Errorf("%d licence texts of others, of some 40 modules", licences)
	}
}
