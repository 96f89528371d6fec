package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"noether/internal/impact/builtin"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

const demo = `name: demo
initialize:
  plugins:
    double:
      path: builtin
      method: Coefficient
      config: {input-parameter: energy, coefficient: 2, output-parameter: twice}
tree:
  children:
    child:
      pipeline: {compute: [double]}
      inputs:
        - {timestamp: '2024-01-01T00:00:00Z', duration: 60, energy: 1.5}
        - {timestamp: '2024-01-01T00:01:00Z', duration: 60, energy: 2}
    other:
      pipeline: {compute: [double]}
      inputs:
        - {timestamp: '2024-01-01T00:00:00Z', duration: 60, energy: 4}
`

// broken is demo with a component that fails.
var broken = strings.Replace(demo, "energy: 4", "power: 4", 1)

// inDir moves the test into a directory with the given files.
func inDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

// listing names the files below the working directory.
func listing(t *testing.T) string {
	t.Helper()
	var names []string
	if err := fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestImpactCommandLines(t *testing.T) {
	grown := strings.Replace(demo, "tree:", "execution: {status: success}\ntree:", 1)
	base := `name: a
initialize: {plugins: {}}
execution: {status: success}
tree: {children: {a: {outputs: [{timestamp: 2024-01-01, duration: 1, carbon: 100, sci: 2}]}}}
`
	files := map[string]string{
		"demo.yml": demo, "broken.yml": broken, "syntax.yml": "a: b\n  c: d\n", "grown.yml": grown,
		"base.yaml": base, "more.yaml": strings.Replace(base, "carbon: 100", "carbon: 104", 1), "text.txt": demo,
		"misspelt.yml": strings.Replace(demo, "Coefficient", "Coeficient", 1),
	}
	for name, c := range map[string]struct {
		args           string
		code           int
		stdout, stderr string // parts; "" means empty
	}{
		"run":                         {"impact run -m demo.yml", 0, "          twice: 3\n", ""},
		"run prints plain YAML":       {"impact run -m demo.yml", 0, "name: demo\n", ""},
		"run of nothing":              {"impact run", 2, "", "noether: impact run needs a manifest: -m FILE, or -m - for standard input\n"},
		"run of no file":              {"impact run -m no.yml", 1, "", "noether: ReadFileError: ENOENT: no such file or directory, open '"},
		"run of a directory":          {"impact run -m .", 1, "", "EISDIR: illegal operation on a directory"},
		"run of wrong YAML":           {"impact run -m syntax.yml", 1, "", "noether: read syntax.yml: ReadFileError: bad indentation of a mapping entry (2:4)\n"},
		"run with an unknown flag":    {"impact run -m demo.yml --observ", 2, "", "unknown flag: --observ"},
		"the same, compatibly":        {"impact run --compat -m demo.yml --observ", 1, "", "unknown flag: --observ"},
		"run with a stray word":       {"impact run -m demo.yml now", 2, "", `takes no argument "now"`},
		"a failed component":          {"impact run -m broken.yml", 1, "  status: fail\n", `noether: tree.children.other: InputValidationError: "`},
		"others are computed":         {"impact run -m broken.yml", 1, "          twice: 3\n", "InputValidationError"},
		"a failed run, compatibly":    {"impact run --compat -m broken.yml", 0, "InputValidationError: \t", ""},
		"what is printed, compatibly": {"impact run --compat -m demo.yml", 0, "# start\nname: demo\n", ""},
		"no manifest, compatibly":     {"impact run --compat", 0, "CliSourceFileError: \tManifest is missing.\n", ""},
		"no output":                   {"impact run -n -m demo.yml", 0, "", ""},
		"debug":                       {"impact run -n -d -m demo.yml", 0, "", "debug: "},
		"a method with a typing error": {
			"impact run -m misspelt.yml", 1, "status: fail", "Coeficient",
		},
		"a place that cannot be written": {"impact run -m demo.yml -o demo.yml/x", 1, "", "noether: WriteFileError: "},
		"explain a number":               {"impact run -m demo.yml --explain tree.children.child.outputs[0].twice", 0, "tree.children.child.outputs[0].twice = 3", ""},
		"explain says what it is of":     {"impact run -m demo.yml --explain=tree.children.child.outputs[0].twice", 0, "  from tree.children.child.outputs[0].energy = 1.5 kWh, given in the inputs\n", ""},
		"explain nothing":                {"impact run -m demo.yml --explain tree.nowhere.x", 2, "", "nowhere"},
		"explain block":                  {"impact run -m demo.yml --explain", 0, "\nexplain:", "warning: "},
		"trace":                          {"impact run -m demo.yml --trace", 0, "tree.children.other  compute: double (Coefficient)\n", ""},
		"trace of what is not there":     {"impact run -m demo.yml --trace nobody", 2, "", `trace "nobody": no plugin ran at a component of that name`},
		"a limit without its sign":       {"impact diff -s base.yaml -t more.yaml --fail-above 5", 2, "", "--fail-above 5 is 500%: write 5% if that is what you mean"},
		"a table of what is not there":   {"impact csv -m base.yaml -p carbn", 1, "", "tabulate carbn: no output has it: did you mean carbon?; there are duration, carbon, sci\n"},
		"a table with one column absent": {"if-csv -m base.yaml -p carbn", 0, "tree.children.a.carbn,\n", ""},
		"trace one":                      {"impact run -m demo.yml --trace child", 0, "+ twice = 4\n", ""},

		"alias":                        {"if-run -m demo.yml", 0, "# start\nname: demo\n", ""},
		"alias that fails":             {"if-run -m broken.yml", 0, "InputValidationError: \t", ""},
		"alias with an unknown flag":   {"if-run --compat", 1, "Unknown option: --compat\nHere are the supported flags for the `if-run` command:\n", ""},
		"alias with joined flags":      {"if-run -mdemo.yml", 1, "Unknown option: -e\n", ""},
		"alias with a stray word":      {"if-run -m demo.yml x", 1, "Unknown value: x\n", ""},
		"alias with a flag twice":      {"if-run -m demo.yml -m demo.yml", 1, "Singular option already set [manifest=demo.yml]\n", ""},
		"alias of another file type":   {"if-run -m text.txt", 0, "CliSourceFileError: \tGiven source file is not in yaml format.\n", ""},
		"alias helps":                  {"if-merge -h", 0, "--manifests string[]", ""},
		"alias without what it needs":  {"if-csv -m base.yaml", 0, "Required parameter 'params' was not passed.", ""},
		"alias of diff without target": {"if-diff -s base.yaml", 2, "ParseCliParamsError: \tTarget is invalid.\n", ""},

		"diff of the same":          {"impact diff -s base.yaml -t base.yaml", 0, "Files match!\n", ""},
		"diff":                      {"impact diff -s base.yaml -t more.yaml", 1, "tree.children.a.outputs.0.carbon\nsource: 100\ntarget: 104\n", ""},
		"diff within a tolerance":   {"impact diff -s base.yaml -t more.yaml --tolerance 0.05", 0, "Files match!\n", ""},
		"diff of no file":           {"impact diff -s no.yaml -t base.yaml", 2, "", "ENOENT"},
		"diff with nothing piped":   {"impact diff -t base.yaml", 2, "", "CliSourceFileError: Source is invalid."},
		"growth below the gate":     {"impact diff -s base.yaml -t more.yaml --fail-above 5%", 0, "+4.00 %", ""},
		"growth above the gate":     {"impact diff -s base.yaml -t more.yaml --fail-above 0.03", 1, "+4.00 %  above\n", "noether: 1 of 2 figures grew by more than 0.03 or are missing\n"},
		"growth of another metric":  {"impact diff -s base.yaml -t more.yaml --fail-above 3% --metric sci", 0, "+0.00 %", ""},
		"growth of nothing":         {"impact diff -s base.yaml -t more.yaml --fail-above 3% --metric water", 2, "", "neither manifest has outputs with it"},
		"gate that is no number":    {"impact diff -s base.yaml -t more.yaml --fail-above much", 2, "", `--fail-above "much" is no share`},
		"csv":                       {"impact csv -m base.yaml -p carbon,sci", 0, "tree.children.a.carbon,100\ntree.children.a.sci,2\n", ""},
		"csv without outputs":       {"impact csv -m demo.yml -p carbon", 1, "", "ManifestValidationError: Manifest outputs are not available!"},
		"csv without parameter":     {"impact csv -m demo.yml", 2, "", "-p '*' for all"},
		"merge":                     {"impact merge demo.yml grown.yml", 0, "    child-", ""},
		"merge of nothing":          {"impact merge", 2, "", "impact merge needs manifests"},
		"merge of no directory":     {"impact merge -m nowhere", 1, "", "InvalidDirectoryError: Directory not found."},
		"env":                       {"impact env -m demo.yml", 0, "double  Coefficient  builtin  yes   nothing\n", ""},
		"env with a missing method": {"impact env -m misspelt.yml", 1, "did you mean Coefficient?", "noether: 1 plugins are missing\n"},
		"metadata":                  {"impact metadata-check -m demo.yml", 0, "Metadata coverage percentage:  0.00%\nThe following parameters are missing metadata: \n  - twice\n  - energy\n", ""},
		"lint":                      {"impact check --lint -m demo.yml", 0, "nothing looks wrong\n", ""},
		"lint of a typing error":    {"impact check --lint -m misspelt.yml", 1, "did you mean Coefficient?", ""},
		"check of nothing":          {"impact check", 2, "", "MissingCliFlagsError"},
		"check of no output":        {"impact check -m demo.yml", 1, "it has no execution block", ""},
		"check of a changed output": {"impact check -m grown.yml", 1, "tree.children.child.outputs", ""},
		"report without a score":    {"impact report -m demo.yml", 1, "# SCI disclosure: demo\n", "noether: the score: no period SCI of the whole tree"},
		"report of another form":    {"impact report -m demo.yml --format pdf", 2, "", `--format "pdf" is not one of markdown, json`},
		"serve with no room":        {"impact serve --max-runs 0", 2, "", "must be above 0"},
		"serve on a wrong port":     {"impact serve -p 99999", 1, "", "choose another -p or -b"},
	} {
		t.Run(name, func(t *testing.T) {
			inDir(t, files)
			before := listing(t)
			code, stdout, stderr := noether(t.Context(), strings.Fields(c.args)...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || c.stdout == "" && stdout != "" || c.stderr == "" && stderr != "" {
				t.Errorf("noether %s: code %d, want %d; stdout:\n%s\nstderr:\n%s", c.args, code, c.code, stdout, stderr)
			}
			if after := listing(t); after != before {
				t.Errorf("left behind: %s", after)
			}
		})
	}
}

func TestOutputFiles(t *testing.T) {
	for name, c := range map[string]struct {
		args, file string
	}{
		"name without extension":  {"impact run -m demo.yml -o out", "out.yaml"},
		"name with extension":     {"impact run -m demo.yml -o out.yml", "out.yml"},
		"directory with a dot":    {"impact run -m demo.yml -o ./a.b/out", "a.b/out.yaml"},
		"name with a version":     {"impact run -m demo.yml -o results.v2", "results.v2.yaml"},
		"compatibly":              {"impact run --compat -m demo.yml -o new/out.txt", "new/out.yaml"},
		"compatibly cut at a dot": {"if-run -m demo.yml -o ./a.b/out", "a.yaml"},
		"a failed run has one":    {"impact run -m broken.yml -o out", "out.yaml"},
		"csv":                     {"impact csv -m output.yaml -p twice -o table", "table.csv"},
		"csv with extension":      {"impact csv -m output.yaml -p twice -o table.csv", "table.csv"},
		"csv, compatibly":         {"if-csv -m output.yaml -p twice -o table.csv", "table.csv.csv"},
		"merge":                   {"impact merge demo.yml broken.yml -o all.yaml", "all.yaml"},
		"report":                  {"impact report -m output.yaml -o report.md", "report.md"},
		"template":                {"if-env", "manifest.yml"},
	} {
		t.Run(name, func(t *testing.T) {
			inDir(t, map[string]string{"demo.yml": demo, "broken.yml": broken})
			if code, _, stderr := noether(t.Context(), "impact", "run", "-m", "demo.yml", "-o", "output.yaml"); code != 0 {
				t.Fatal(stderr)
			}
			before := listing(t)
			noether(t.Context(), strings.Fields(c.args)...)
			want := strings.Fields(before + " " + c.file)
			if got := strings.Fields(listing(t)); len(got) != len(want) || !strings.Contains(" "+strings.Join(got, " ")+" ", " "+c.file+" ") {
				t.Errorf("%s: files %v, want %v", c.args, got, want)
			}
			if info, err := os.Stat(c.file); err != nil || info.Size() == 0 || info.Mode().Perm() != 0o644 {
				t.Error(info, err)
			}
		})
	}
}

func TestOutputIsWholeOrNotThere(t *testing.T) {
	inDir(t, map[string]string{"demo.yml": demo, "out.yaml": "old"})
	p := &process{stdout: io.Discard}
	f, err := p.createOutput("out.yaml")
	if err != nil {
		t.Fatal(err)
	}
	err = f.Commit(func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")
		return io.ErrShortWrite
	})
	if err == nil || read(t, "out.yaml") != "old" || listing(t) != "demo.yml out.yaml" {
		t.Errorf("%v: %q, files %s", err, read(t, "out.yaml"), listing(t))
	}
	if err := os.Symlink("out.yaml", "link.yaml"); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := noether(t.Context(), "impact", "run", "-m", "demo.yml", "-o", "link.yaml"); code != 0 {
		t.Fatal(stderr)
	}
	if to, err := os.Readlink("link.yaml"); err != nil || to != "out.yaml" || !strings.Contains(read(t, "out.yaml"), "twice: 3") {
		t.Error(to, err)
	}
	if info, err := os.Stat("out.yaml"); err != nil || info.Mode().Perm() != 0o600 {
		t.Error("the file has other rights than before", info, err)
	}
	if code, stdout, stderr := noether(t.Context(), "impact", "run", "-m", "demo.yml", "-o", "/dev/null"); code != 0 || stdout != "" {
		t.Error(code, stdout, stderr)
	}
	if code, stdout, _ := noether(t.Context(), "impact", "run", "-m", "demo.yml", "-o", "-"); code != 0 || !strings.Contains(stdout, "twice: 3") {
		t.Error(code, stdout)
	}
}

// piped runs a command line with standard input.
func piped(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, nil, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// Two scores of one component, and a component beside it that has no carbon: the
// plugin's output goes below its mapped name though the row has one of the plugin's.
func TestTwoScores(t *testing.T) {
	inDir(t, map[string]string{"two.yml": `name: two
initialize:
  plugins:
    by-request: {path: builtin, method: Sci, config: {functional-unit: requests}}
    by-user: {path: builtin, method: Sci, mapping: {sci: sci-users}, config: {functional-unit: users}}
    total: {path: builtin, method: Sum, config: {input-parameters: [carbon-operational], output-parameter: total}}
tree:
  children:
    shop:
      pipeline: {compute: [by-request, by-user]}
      inputs: [{timestamp: 2024-01-01T00:00:00Z, duration: 60, carbon: 9, requests: 2, users: 3}]
    network:
      pipeline: {compute: [total]}
      inputs: [{timestamp: 2024-01-01T00:00:00Z, duration: 60, carbon-operational: 9}]
`, "phase.yml": strings.Replace(demo, "compute:", "comput:", 1)})
	for args, want := range map[string]string{
		"-m two.yml": "          sci: 4.5\n          sci-users: 3\n",
		"-m two.yml --explain tree.children.shop.outputs[0].sci":       "made by by-request (Sci)\n  formula: carbon ÷ requests",
		"-m two.yml --explain tree.children.shop.outputs[0].sci-users": "made by by-user (Sci)\n  formula: carbon ÷ users",
		"-n -m two.yml":   "tree: the SCI of the period leaves out what has no carbon in its outputs: tree.children.network\n",
		"-m two.yml -n":   "tree.children.shop: scores are per requests and per users: the SCI of the period is per users, the last\n",
		"-n -m phase.yml": `tree.children.child.pipeline has none of the phases observe, regroup, compute: comput is none: did you mean "compute"?`,
	} {
		if _, stdout, stderr := noether(t.Context(), append([]string{"impact", "run"}, strings.Fields(args)...)...); !strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: %s\n%s\nwant %s", args, stdout, stderr, want)
		}
	}
}

// A run that is stopped leaves the earlier output as it was, and nothing beside it.
func TestInterruptedRunLeavesNothing(t *testing.T) {
	for _, flags := range []string{"", " --compat"} {
		inDir(t, map[string]string{"demo.yml": demo, "out.yaml": "earlier\n"})
		ctx, stop := context.WithCancel(t.Context())
		stop()
		code, _, stderr := noether(ctx, strings.Fields("impact run -m demo.yml -o out.yaml"+flags)...)
		if code != 1 || !strings.Contains(stderr, "run demo.yml: interrupted") {
			t.Errorf("%s: exit %d: %s", flags, code, stderr)
		}
		if got := listing(t); got != "demo.yml out.yaml" || read(t, "out.yaml") != "earlier\n" {
			t.Errorf("%s: there are %s", flags, got)
		}
	}
}

func TestPipes(t *testing.T) {
	inDir(t, nil)
	code, output, stderr := piped(t, demo, "impact", "run", "-m", "-")
	if code != 0 || !strings.Contains(output, "command: noether impact run -m -\n") {
		t.Fatal(code, output, stderr)
	}
	if err := os.WriteFile("saved.yaml", []byte(output), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := piped(t, output, "impact", "diff", "-t", "saved.yaml"); code != 0 || stdout != "Files match!\n" {
		t.Error(code, stdout, stderr)
	}
	framed := "some banner\n# start\n" + strings.Replace(output, "twice: 3", "twice: 5", 1) + "\n# end\n"
	if code, stdout, stderr := piped(t, framed, "if-diff", "-t", "saved.yaml"); code != 1 || !strings.Contains(stdout, "source: 5\ntarget: 3\n") {
		t.Error(code, stdout, stderr)
	}
	if code, stdout, stderr := piped(t, output, "impact", "csv", "-p", "twice"); code != 0 || !strings.Contains(stdout, "tree.children.child.twice,3,4\n") {
		t.Error(code, stdout, stderr)
	}
	if code, stdout, stderr := piped(t, "", "impact", "check", "-m", "saved.yaml"); code != 0 || !strings.Contains(stdout, "✔ if-check successfully verified saved.yaml") {
		t.Error(code, stdout, stderr)
	}
	if code, stdout, stderr := piped(t, "", "if-check", "-d", "."); code != 0 || !strings.Contains(stdout, "1 of 1 files are passed.") {
		t.Error(code, stdout, stderr)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	got := commandLine("noether", []string{"impact", "run", "-m", "https://user:secret@host/x", "--x=http://u:secret@h"})
	if strings.Contains(got, "secret") || !strings.Contains(got, "impact run -m https://user:") {
		t.Error(got)
	}
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	file := strings.Replace(server.URL, "://", "://user:secret@", 1) + "/x.csv?sig=secret"
	inDir(t, map[string]string{"m.yml": strings.NewReplacer("Coefficient", "CSVImport", "{input-parameter: energy, coefficient: 2, output-parameter: twice}", "{filepath: '"+file+"', output: '*'}").Replace(demo)})
	for _, flags := range []string{"", " --compat"} {
		code, stdout, stderr := noether(t.Context(), strings.Fields("impact run -n -m m.yml"+flags)...)
		if all := stdout + stderr; code == 0 && flags == "" || strings.Contains(all, "secret") || !strings.Contains(all, "/x.csv?***") {
			t.Error(code, all)
		}
	}
}

func TestEnvironmentIsReadNotAsked(t *testing.T) {
	now := time.Date(2024, 5, 6, 7, 8, 9, 10e6, time.UTC)
	for name, c := range map[string]struct{ file, content, os, version string }{
		"Debian": {"etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n", "Debian", "GNU/Linux 12 (bookworm)"},
		"Alpine": {"usr/lib/os-release", "NAME='Alpine Linux'\nPRETTY_NAME='Alpine Linux v3.20'\n", "Alpine", "Linux v3.20"},
		"none":   {"nothing", "", "linux", kernel()},
	} {
		t.Run(name, func(t *testing.T) {
			dir := inDir(t, map[string]string{c.file: c.content})
			e := environment(dir, now)
			for key, want := range map[string]string{
				"if-version": "1.1.0", "os": c.os, "os-version": c.version, "date-time": "2024-05-06T07:08:09.010Z (UTC)",
			} {
				if got := e.Get(key).Str(); got != want {
					t.Errorf("%s %q, want %q", key, got, want)
				}
			}
			if !strings.HasPrefix(e.Get("node-version").Str(), "go1.") || e.Get("dependencies").Kind() != value.Array {
				t.Error(e.Get("node-version"), e.Get("dependencies"))
			}
		})
	}
}

func TestFilesOfTheWebAreBounded(t *testing.T) {
	site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/down":
			http.Redirect(w, r, "http://127.0.0.1:1/x", http.StatusFound)
		case "/missing":
			http.NotFound(w, r)
		default:
			_, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20+1))
		}
	}))
	site.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	site.StartTLS()
	defer site.Close()
	strict := webClient(time.Minute)
	if _, err := fetch(t.Context(), strict, site.URL, 1<<20); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
	client := site.Client()
	client.CheckRedirect = strict.CheckRedirect
	for path, want := range map[string]string{"/big": "larger than 1 MiB", "/down": "from https to http", "/missing": "404 Not Found"} {
		body, err := fetch(t.Context(), client, site.URL+path, 1<<20)
		if err == nil {
			_, err = io.Copy(io.Discard, body)
			_ = body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	body, err := fetch(t.Context(), client, site.URL, 1<<20+1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if n, err := io.Copy(io.Discard, body); n != 1<<20+1 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestBinaryByAnotherName(t *testing.T) {
	dir := inDir(t, map[string]string{"demo.yml": demo, "broken.yml": broken})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"if-run", "if-diff", "if-csv", "noether"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"if-run -m demo.yml -o out", 0, ""},
		{"if-run -m broken.yml", 0, "InputValidationError: \t"},
		{"if-run --nonsense", 1, "Unknown option: --nonsense"},
		{"if-diff -s out.yaml -t out.yaml", 0, "Files match!\n"},
		{"if-csv -m out.yaml -p twice", 0, "tree.children.child.twice,3,4\n"},
		{"noether impact run -m broken.yml", 1, "status: fail"},
	} {
		words := strings.Fields(c.args)
		cmd := exec.CommandContext(t.Context(), filepath.Join(dir, words[0]), words[1:]...)
		cmd.Env = append(os.Environ(), asNoether+"=1")
		stdout, _ := cmd.Output() // the code is looked at below
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(stdout), c.want) {
			t.Errorf("%s: code %d, want %d:\n%s", c.args, code, c.code, stdout)
		}
	}
}

func TestServeAnswersAndStops(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	log, code := &lockedBuffer{}, make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"impact", "serve", "-p", "0"}, nil, strings.NewReader(""), io.Discard, log)
	}()
	at := regexp.MustCompile(`msg="Server started" address=(127\.0\.0\.1:\d+)`)
	for at.FindString(log.String()) == "" {
		select {
		case c := <-code:
			t.Fatal(c, log.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	url := "http://" + at.FindStringSubmatch(log.String())[1] + "/v1/run"
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	post := func(body string) (int, string) {
		reply, err := client.Post(url, "application/yaml", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		answer, err := io.ReadAll(reply.Body)
		if err != nil {
			t.Fatal(err)
		}
		return reply.StatusCode, string(answer)
	}
	if status, body := post(demo); status != http.StatusOK || !strings.Contains(body, "twice: 3") {
		t.Error(status, body)
	}
	for _, m := range builtin.Methods() {
		if m.Reaches == 0 {
			continue
		}
		status, body := post(strings.Replace(demo, "Coefficient", m.Name, 1))
		if status != http.StatusBadRequest || !strings.Contains(body, "PluginInitializationError") {
			t.Errorf("%s reaches the outside and is not refused: %d\n%s", m.Name, status, body)
		}
	}
	stop()
	if c := <-code; c != 0 || !strings.Contains(log.String(), "stopped") {
		t.Error(c, log.String())
	}
}

func TestPostedManifestsReachNothingOfTheHost(t *testing.T) {
	inDir(t, map[string]string{"secret": "s", "off": "builtin:Sum\n"})
	p := &process{env: []string{"PROMETHEUS_PASSWORD=s"}}
	for _, o := range []serveOptions{{}, {allowNetwork: true}, {disabled: "off"}} {
		env := o.env(p, slog.New(slog.DiscardHandler))
		if f, err := env.Open(t.Context(), "secret"); err == nil || env.Getenv("PROMETHEUS_PASSWORD") != "" || !env.DryRun || env.AllowShell {
			t.Error(o, f, err)
		}
		methods, err := o.methods()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range methods {
			allowed := m.Reaches == 0 && (o.disabled == "" || m.Name != "Sum") || o.allowNetwork && m.Reaches&plugin.Network != 0 && m.Reaches&plugin.Shell == 0
			_, err := m.New(env, &plugin.Declaration{Name: "x", Path: "builtin", Method: m.Name}, &m)
			if refused := err != nil && strings.HasPrefix(err.Error(), "PluginInitializationError: Provided module"); refused == allowed {
				t.Errorf("%+v: %s allowed %v: %v", o, m.Name, allowed, err)
			}
		}
	}
}

func TestProgressOnlyOnATerminal(t *testing.T) {
	var out bytes.Buffer
	c := newConsole(&process{stdout: io.Discard, stderr: &out}, false, false)
	c.started = c.started.Add(-time.Minute)
	c.Progress(1, 2)
	c.Warn("%s", "once")
	c.Warn("%s", "once")
	c.Done()
	if out.String() != "warning: once\n" {
		t.Errorf("%q", out.String())
	}
	out.Reset()
	c.progress = &out
	c.Progress(1, 2)
	c.Warn("two\nlines")
	if got := out.String(); !strings.HasPrefix(got, "\r\x1b[K1 of 2 components, 1m0s\r\x1b[Kwarning: two lines\n") {
		t.Errorf("%q", got)
	}
}

func FuzzAliasFlags(f *testing.F) {
	f.Add("-m a -o b")
	f.Add("--manifest=a -nd --output")
	f.Add("-m a b c -- -5")
	f.Fuzz(func(t *testing.T, line string) {
		for _, a := range aliases() {
			args, err := a.parse(strings.Fields(line))
			if err == nil && len(args.text) > len(args.set) {
				t.Errorf("%s %q: values of flags that were not given: %+v", a.name, line, args)
			}
		}
	})
}
