// Package conformance runs recorded manifests of the Impact Framework's own
// engine through the noether binary, as a black box, and compares what comes out.
package conformance

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// meta is how a case is run and how the recorded engine ended.
type meta struct {
	Args     []string `json:"args"`
	ExitCode int      `json:"exit_code"`
	Random   bool     `json:"random"` // the output differs from run to run: only the status is compared
}

// expected is what the recorded engine wrote.
type expected struct {
	Status  string   `json:"status"` // success, fail, none: no output file
	Error   string   `json:"error"`
	Tree    any      `json:"tree"`
	TopKeys []string `json:"topKeys"`
}

// lost are files that recorded manifests read, by the name of the case, and that
// were not kept with them: path and content, restored from the recorded output.
var lost = map[string][2]string{
	"published/builtins/csv-import/success": {
		"manifests/examples/builtins/csv-import/test.csv",
		"timestamp,duration,cpu-util,energy\n2023-07-06T00:00,1,20,5\n2023-07-06T00:01,1,30,10\n2023-07-06T00:02,1,40,15\n",
	},
}

// binary builds noether once, unless NOETHER_BINARY names a built one.
var binary = sync.OnceValues(func() (string, error) {
	if file := os.Getenv("NOETHER_BINARY"); file != "" {
		return file, nil
	}
	if err := dependOnSources(); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "noether")
	out, err := exec.Command("go", "build", "-o", file, "noether/cmd/noether").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build noether: %w\n%s", err, out)
	}
	return file, nil
})

// dependOnSources looks at every source of the binary, so that go test runs again
// when one of them has changed.
func dependOnSources() error {
	for _, dir := range []string{"../../cmd", "../../internal"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := binary(); err == nil && os.Getenv("NOETHER_BINARY") == "" {
		os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

// result is one run of the binary.
type result struct {
	output []byte // nil: no file was written
	exit   int
	log    string
}

// run executes a manifest with dir as the working directory.
func run(t *testing.T, dir, manifest string, args ...string) result {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "out.yaml")
	cmd := exec.CommandContext(t.Context(), file, append([]string{"impact", "run", "-m", manifest, "-o", target}, args...)...)
	cmd.Dir = dir
	log, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	r := result{exit: cmd.ProcessState.ExitCode(), log: string(log)}
	r.output, err = os.ReadFile(target)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return r
}

// block is the execution block of an output, which holds the environment.
var block = regexp.MustCompile(`(?m)^execution:\n(?: .*\n|\n)*`)

// loose are errors whose text is a runtime's, a parser's or an operating
// system's own: there the class, or a plain failure, is enough.
var loose = regexp.MustCompile(`^(TypeError|SyntaxError|RangeError|ReferenceError|Error|YAMLException|CSVParseError|ReadFileError|FetchingFileError|ProcessExecutionError|PluginInitializationError: Provided module [^.])`)

func check(t *testing.T, r result, want expected, m meta) {
	t.Helper()
	if strings.Contains(r.log, "panic:") || strings.Contains(r.log, "goroutine ") {
		t.Fatalf("the engine crashed:\n%s", r.log)
	}
	if want.Status == "none" {
		if r.output != nil {
			t.Errorf("an output was written, none was expected:\n%s", r.output)
		}
		return
	}
	if r.output == nil {
		t.Fatalf("no output was written:\n%s", r.log)
	}
	if r.exit != m.ExitCode {
		t.Errorf("exit code %d, want %d", r.exit, m.ExitCode)
	}
	parsed, err := jsyaml.Parse(r.output)
	if err != nil {
		t.Fatalf("the output is no YAML: %v", err)
	}
	out := parsed.Object()
	execution := out.Get("execution").Object()
	status, message := execution.Get("status").Str(), execution.Get("error").Str()
	if want.Status == "fail" {
		own := regexp.MustCompile(`^\w+`).FindString
		switch {
		case !loose.MatchString(want.Error):
			if status != "fail" || message != want.Error {
				t.Errorf("status %s, error\n%q\nwant\n%q", status, message, want.Error)
			}
		case status == "fail" && message == "":
			t.Error("the run failed without a message")
		case status == "success" && !strings.HasSuffix(own(want.Error), "TypeError"):
			t.Errorf("the run succeeded, want the error %q", want.Error)
		}
		return
	}
	if status != want.Status {
		t.Fatalf("status %s (%s), want %s", status, message, want.Status)
	}
	if m.Random {
		return
	}
	if want.Tree != nil {
		if diff := compare("tree", out.Get("tree"), want.Tree); diff != "" {
			t.Error(diff)
		}
	}
	if keys := keysOf(out); want.TopKeys != nil && !slices.Equal(keys, want.TopKeys) {
		t.Errorf("keys %q, want %q", keys, want.TopKeys)
	}
}

func keysOf(o *value.Object) []string {
	var keys []string
	for k := range o.All() {
		keys = append(keys, k)
	}
	return keys
}

// compare returns the first difference between a value and recorded JSON:
// numbers agree to 1e-12 of their size, timestamps as instants.
func compare(path string, got value.Value, want any) string {
	differs := fmt.Sprintf("%s is %s, want %v", path, got, want)
	switch want := want.(type) {
	case map[string]any:
		if date, ok := want["$date"].(string); ok {
			return compare(path, got, date)
		}
		if special, ok := want["$num"].(string); ok {
			text := value.FormatNumber(got.Num())
			if got.Num() == 0 && math.Signbit(got.Num()) {
				text = "-0"
			}
			if got.IsNumber() && text == special {
				return ""
			}
			return differs
		}
		o := got.Object()
		if o == nil {
			return differs
		}
		for _, k := range keysOf(o) {
			if _, ok := want[k]; !ok {
				return fmt.Sprintf("%s.%s is %s, want none", path, k, o.Get(k))
			}
		}
		for k, v := range want {
			if !o.Has(k) {
				return fmt.Sprintf("%s.%s is missing, want %v", path, k, v)
			}
			if diff := compare(path+"."+k, o.Get(k), v); diff != "" {
				return diff
			}
		}
		return ""
	case []any:
		if got.Kind() != value.Array || len(got.Items()) != len(want) {
			return differs
		}
		for i, v := range want {
			if diff := compare(fmt.Sprintf("%s[%d]", path, i), got.Items()[i], v); diff != "" {
				return diff
			}
		}
		return ""
	case float64:
		if got.IsNumber() && (got.Num() == want || math.Abs(got.Num()-want) <= 1e-12*math.Abs(want)) {
			return ""
		}
	case string:
		text := got.Str()
		if got.Kind() == value.Date {
			text = got.ISO()
		}
		if text == want && (got.IsString() || got.Kind() == value.Date) {
			return ""
		}
		a, errA := time.Parse(time.RFC3339, text)
		b, errB := time.Parse(time.RFC3339, want)
		if errA == nil && errB == nil && a.Equal(b) {
			return ""
		}
	case bool:
		if got.Kind() == value.Bool && got.Bool() == want {
			return ""
		}
	case nil:
		if got.IsNullish() {
			return ""
		}
	}
	return differs
}

func readJSON(t *testing.T, file string, into any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// corpora returns the folders of recorded cases: the project's own, and a
// larger corpus beside the checkout or where NOETHER_CONFORMANCE says.
func corpora(t *testing.T) []string {
	t.Helper()
	own, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	out := []string{own}
	other := os.Getenv("NOETHER_CONFORMANCE")
	if other == "" {
		other = filepath.Join("..", "..", "..", "shared", "conformance", "impact")
	}
	other, err = filepath.Abs(other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(other, "cases")); err == nil {
		return append(out, other)
	}
	t.Logf("no further cases in %s: set NOETHER_CONFORMANCE to a folder that has them", other)
	return out
}

// manifests lists the files manifest.yml below dir, none if there is no dir.
func manifests(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "manifest.yml" {
			out = append(out, path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return out
}

// TestCases runs every recorded case under --compat.
func TestCases(t *testing.T) {
	for _, root := range corpora(t) {
		for _, manifest := range manifests(t, filepath.Join(root, "cases")) {
			dir := filepath.Dir(manifest)
			name, err := filepath.Rel(filepath.Join(root, "cases"), dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				root := root
				if file, ok := lost[name]; ok {
					root = t.TempDir()
					path := filepath.Join(root, file[0])
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, []byte(file[1]), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				var m meta
				var want expected
				readJSON(t, filepath.Join(dir, "meta.json"), &m)
				readJSON(t, filepath.Join(dir, "expected.json"), &want)
				r := run(t, root, manifest, append([]string{"--compat", "--allow-shell"}, m.Args...)...)
				check(t, r, want, m)
				record, err := os.ReadFile(filepath.Join(dir, "output.yaml"))
				if t.Failed() || err != nil || m.Random || loose.MatchString(want.Error) {
					return
				}
				if got := block.ReplaceAll(r.output, nil); !bytes.Equal(got, record) {
					t.Errorf("the output is not the record, byte by byte: %s", cmp.Diff(string(record), string(got)))
				}
			})
		}
	}
}

// update rewrites noether.yaml of the differences; reference.yaml is recorded
// by record.mjs.
var update = flag.Bool("update", false, "write noether.yaml of every difference as this engine answers")

// TestDifferences runs every manifest on which this engine differs from the
// reference in both dialects.
func TestDifferences(t *testing.T) {
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, manifest := range manifests(t, filepath.Join(root, "differences")) {
		dir := filepath.Dir(manifest)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			var m meta
			if _, err := os.Stat(filepath.Join(dir, "meta.json")); err == nil {
				readJSON(t, filepath.Join(dir, "meta.json"), &m)
			}
			if readme, err := os.ReadFile(filepath.Join(dir, "README.md")); err != nil || bytes.Count(readme, []byte("\n")) < 3 {
				t.Errorf("README.md must say what the reference does, what we do, and why: %v", err)
			}
			texts := map[string]string{}
			for file, flags := range map[string][]string{"reference.yaml": {"--compat", "--allow-shell"}, "noether.yaml": {"--allow-shell"}} {
				r := run(t, root, manifest, append(flags, m.Args...)...)
				got, status := plain(t, r)
				failed := status == "fail"
				if own := file == "noether.yaml"; own && failed != (r.exit == 1) || !own && r.exit != 0 {
					t.Errorf("%s: exit code %d with status %s", file, r.exit, status)
				}
				path := filepath.Join(dir, file)
				if *update && file == "noether.yaml" {
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				texts[file] = got
				if diff := cmp.Diff(string(want), got); diff != "" && !looselyEqual(string(want), got) {
					t.Errorf("%s (-want +got):\n%s", file, diff)
				}
			}
			if texts["reference.yaml"] == texts["noether.yaml"] {
				t.Error("both dialects answer the same: there is no difference")
			}
		})
	}
}

// plain returns the output of a run without what depends on the machine.
func plain(t *testing.T, r result) (text, status string) {
	t.Helper()
	v, err := jsyaml.Parse(r.output)
	if err != nil || v.Object() == nil {
		t.Fatalf("no output that can be read (%v):\n%s", err, r.log)
	}
	execution := v.Object().Get("execution").Object()
	execution.Delete("environment")
	execution.Delete("command")
	return string(jsyaml.Append(nil, v)), execution.Get("status").Str()
}

// looselyEqual reports whether two failed outputs differ only in an error's
// text that is a runtime's own.
func looselyEqual(want, got string) bool {
	w, errW := jsyaml.Parse([]byte(want))
	g, errG := jsyaml.Parse([]byte(got))
	if errW != nil || errG != nil {
		return false
	}
	we, ge := w.Object().Get("execution").Object(), g.Object().Get("execution").Object()
	if we.Get("status").Str() != "fail" || ge.Get("status").Str() != "fail" || !loose.MatchString(we.Get("error").Str()) {
		return false
	}
	ge.Set("error", we.Get("error"))
	return value.Equal(w, g)
}

// shownElsewhere are differences that an output manifest cannot show, and the
// tests that show them.
func shownElsewhere() map[string]string {
	return map[string]string{
		"ExitCode":   "TestDifferences checks the exit code of every failed run",
		"OutputPath": "cmd/noether",
		"Parallel":   "internal/impact: TestParallelPrintsWhatSequentialPrints",
	}
}

// TestEveryDifferenceIsShown makes sure that each switch between the dialects
// has a pair of outputs, and each pair a switch.
func TestEveryDifferenceIsShown(t *testing.T) {
	words := regexp.MustCompile(`[A-Z]+[a-z]*`)
	shown := shownElsewhere()
	folders := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[plugin.Dialect]()) {
		name := strings.ToLower(strings.Join(words.FindAllString(f.Name, -1), "-"))
		folders[name] = true
		if _, err := os.Stat(filepath.Join("differences", name, "manifest.yml")); err != nil && shown[f.Name] == "" {
			t.Errorf("Dialect.%s has no pair differences/%s", f.Name, name)
		}
	}
	for _, manifest := range manifests(t, "differences") {
		if name := filepath.Base(filepath.Dir(manifest)); !folders[name] {
			t.Errorf("differences/%s belongs to no field of plugin.Dialect", name)
		}
	}
}
