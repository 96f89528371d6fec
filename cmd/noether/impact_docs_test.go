package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"noether/internal/impact/builtin"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
)

var update = flag.Bool("update", false, "write docs/impact-plugins.md and docs/impact-differences.md")

// held compares a generated page with the committed one.
func held(t *testing.T, path string, text []byte) {
	t.Helper()
	text = append(bytes.TrimRight(text, "\n"), '\n')
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, text) {
		t.Errorf("%s is not what the code says: go test ./cmd/noether -run TestImpactDocs -update (%v)", path, err)
	}
}

func TestImpactDocsOfPlugins(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`# Plugins

Every method that a manifest can name, made from the table in the code. All are called by ` + "`path: builtin`" + `; some
answer to the paths of older packages too. What a method reaches outside the manifest is off where it says so, and
always off in ` + "`noether impact serve`" + `.

| method | what it does | reaches |
|---|---|---|
`)
	methods := builtin.Methods()
	for i := range methods {
		m := &methods[i]
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s |\n", m.Name, strings.ToLower(m.Name), row(m.Summary), row(reaches(m.Reaches)))
	}
	for i := range methods {
		describe(&b, &methods[i])
	}
	held(t, "../../docs/impact-plugins.md", b.Bytes())
}

// describe writes the section of one method.
func describe(b *bytes.Buffer, m *plugin.Method) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n", m.Name, m.Summary)
	if len(m.Paths)+len(m.Aliases) > 0 {
		var also []string
		for _, p := range m.Paths {
			also = append(also, "`path: "+p+"`")
		}
		for _, a := range m.Aliases {
			also = append(also, "`method: "+a+"`")
		}
		fmt.Fprintf(b, "\nAnswers to %s too.\n", strings.Join(also, ", "))
	}
	if m.Doc != "" {
		fmt.Fprintf(b, "\n%s\n", strings.TrimSpace(m.Doc))
	}
	if len(m.Config.Fields) > 0 {
		b.WriteString("\n| config | type | meaning |\n|---|---|---|\n")
		settings(b, "", m.Config)
	}
	for _, side := range []struct {
		name   string
		params []plugin.Parameter
	}{{"input", m.Inputs}, {"output", m.Outputs}} {
		if len(side.params) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n| %s | unit | over time | over components | |\n|---|---|---|---|---|\n", side.name)
		for _, p := range side.params {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", p.Name, row(p.Unit), p.Time, p.Component, row(p.Description))
		}
	}
	if m.Example != "" {
		fmt.Fprintf(b, "\n```yaml\n%s\n```\n", strings.TrimSpace(m.Example))
	}
}

// settings writes the keys of a configuration, with those of objects in it.
func settings(b *bytes.Buffer, prefix string, o schema.Object) {
	for _, f := range o.Fields {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", prefix+f.Name, row(f.Type.Describe()), row(f.Doc))
		if inner, ok := f.Type.(schema.Object); ok {
			settings(b, prefix+f.Name+".", inner)
		}
	}
}

// row keeps text from ending a cell of a table.
func row(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", "\\|")
}

// Every method says what a page needs, and its example is what it takes.
func TestImpactDocsExamplesAreRight(t *testing.T) {
	for _, m := range builtin.Methods() {
		if m.Summary == "" || !strings.HasSuffix(m.Summary, ".") {
			t.Errorf("%s: the summary %q is no sentence", m.Name, m.Summary)
		}
		if m.Doc == "" || m.Example == "" {
			t.Errorf("%s has no doc or no example", m.Name)
			continue
		}
		for _, f := range m.Config.Fields {
			if f.Doc == "" {
				t.Errorf("%s: nothing says what %s is", m.Name, f.Name)
			}
		}
		example, err := jsyaml.Parse([]byte(m.Example))
		if err != nil {
			t.Errorf("%s: the example: %v", m.Name, err)
			continue
		}
		indented := "      " + strings.ReplaceAll(strings.TrimSpace(m.Example), "\n", "\n      ")
		inDir(t, map[string]string{"m.yml": "name: example\ninitialize:\n  plugins:\n    x:\n" + indented + "\ntree: {pipeline: {compute: [x]}, inputs: []}\n"})
		if code, stdout, _ := noether(t.Context(), "impact", "check", "--lint", "-m", "m.yml"); code != 0 || example.Object().Get("method").Str() == "" {
			t.Errorf("%s: the example is not right:\n%s\n%s", m.Name, m.Example, stdout)
		}
	}
}

func TestImpactDocsOfDifferences(t *testing.T) {
	const from = "../../test/conformance/differences"
	dirs, err := filepath.Glob(from + "/*/README.md")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no differences", err)
	}
	var b bytes.Buffer
	b.WriteString(`# Differences from the Impact Framework

` + "`noether impact run --compat`" + ` gives what the Impact Framework's ` + "`if-run`" + ` 1.1.0 gives, bit for bit. Without it the
engine gives the right answer or a clear error wherever the framework gives a wrong one. These are all the places where
outputs differ; each has a manifest and both answers below ` + "`test/conformance/differences/`" + `, which the tests run. A
manifest that meets none of them has the same outputs either way, but for the time and the host in ` + "`execution`" + `.

What differs around the outputs:

| | ` + "`--compat`" + ` | without |
|---|---|---|
| exit code of a failed run | 0 | 1 |
| messages | on standard output, with the time | on standard error |
| manifest on standard output | between ` + "`# start` and `# end`" + ` | as it is: a YAML document |
| ` + "`-o a.b/c`" + ` | writes ` + "`a.yaml`" + `: all after the last dot is cut off | writes ` + "`a.b/c.yaml`" + ` |
| components | one after the other | on all cores; the output is the same |
| ` + "`disclosure`" + ` in a manifest | dropped | kept for ` + "`impact report`" + ` |
| an unknown plugin or method | ` + "`plugin is not a function`" + ` | says which one, what there is and what was meant |

`)
	var sections bytes.Buffer
	for _, readme := range dirs {
		text := strings.TrimSpace(read(t, readme))
		title, body, ok := strings.Cut(strings.TrimPrefix(text, "# "), "\n")
		if !ok || !strings.HasPrefix(text, "# ") {
			t.Errorf("%s does not begin with a heading", readme)
			continue
		}
		name := filepath.Base(filepath.Dir(readme))
		fmt.Fprintf(&b, "- [%s](#%s)\n", title, anchor(title))
		fmt.Fprintf(&sections, "\n## %s\n\n%s\n\n[manifest](../test/conformance/differences/%s/manifest.yml) ·\n[the framework's answer](../test/conformance/differences/%[3]s/reference.yaml) ·\n[Noether's answer](../test/conformance/differences/%[3]s/noether.yaml)\n",
			title, strings.TrimSpace(body), name)
	}
	b.Write(sections.Bytes())
	held(t, "../../docs/impact-differences.md", b.Bytes())
}

// anchor returns the fragment that a heading has on code hosts.
func anchor(title string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(title) {
		switch {
		case c == ' ':
			b.WriteByte('-')
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c > 127:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// What the guide shows is what happens.
func TestImpactDocsOfTheGuide(t *testing.T) {
	guide := read(t, "../../docs/impact.md")
	files, shown := map[string]string{}, map[string]string{}
	for i, block := range strings.Split(guide, "\n```") {
		head, body, _ := strings.Cut(block, "\n")
		if name, ok := strings.CutPrefix(body, "# "); ok && i%2 == 1 && head == "yaml" {
			name, _, _ = strings.Cut(name, "\n")
			files[name] = body
		}
		if command, ok := strings.CutPrefix(body, "$ noether "); ok {
			command, output, _ := strings.Cut(command, "\n")
			shown[command] = output
		}
	}
	inDir(t, files)
	if code, stdout, _ := noether(t.Context(), "impact", "run", "-m", "first.yml", "-o", "main"); code != 0 {
		t.Fatal(stdout)
	}
	grown := strings.Replace(files["first.yml"], "energy: 0.25", "energy: 0.27", 1)
	if err := os.WriteFile("grown.yml", []byte(grown), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := noether(t.Context(), "impact", "run", "-m", "grown.yml", "-o", "branch"); code != 0 {
		t.Fatal(stdout)
	}
	for command, want := range shown {
		_, stdout, stderr := noether(t.Context(), strings.Fields(command)...)
		got := stdout + stderr
		for part := range strings.SplitSeq(want, "\n…\n") {
			if !strings.Contains(got+"\n", part+"\n") {
				t.Errorf("noether %s prints\n%s\nthe guide says\n%s", command, got, part)
			}
		}
	}
	if len(files) != 2 || len(shown) != 3 {
		t.Errorf("the guide has %d files and %d commands", len(files), len(shown))
	}
	if code, stdout, _ := noether(t.Context(), "impact", "check", "--lint", "-m", "shop.yml"); code != 0 || stdout != "nothing looks wrong\n" {
		t.Errorf("shop.yml:\n%s", stdout)
	}
	output := read(t, "main.yaml")
	block := guide[strings.Index(guide, "      outputs:\n"):]
	block = block[:strings.Index(block, "        # …")]
	if !strings.Contains(output, block) {
		t.Errorf("the run gives\n%s\nthe guide shows\n%s", output, block)
	}
}
