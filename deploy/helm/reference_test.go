// Package helm holds the tests of the chart: its reference and schema are made
// of values.yaml, and its renderings are read in review. It refuses to start a
// cluster; test/e2e/cluster installs the chart into one.
package helm

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the generated files anew")

// value is one line of the reference.
type value struct {
	path, doc, def string
}

// schema walks a mapping of values.yaml. Every value needs a comment that
// begins with "-- "; what the type of its default does not say is added by
// "@schema " and JSON. A mapping whose keys have comments of their own is a
// closed object, any other one belongs to Kubernetes and is open.
func schema(t *testing.T, path string, n *yaml.Node, list *[]value) map[string]any {
	t.Helper()
	properties := map[string]any{}
	for i := 0; i < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		doc, extra := comment(t, at, key.HeadComment)
		s := map[string]any{"type": kind(t, at, val)}
		switch {
		case val.Kind == yaml.MappingNode && documented(val):
			if doc != "" {
				*list = append(*list, value{at, doc, ""})
			}
			maps.Copy(s, schema(t, at, val, list))
		case doc == "":
			t.Errorf("%s has no comment that begins with \"# -- \"", at)
		default:
			var def any
			if err := val.Decode(&def); err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			text, err := json.Marshal(def)
			if err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			s["default"] = def
			*list = append(*list, value{at, doc, string(text)})
		}
		if doc != "" {
			s["description"] = doc
		}
		maps.Copy(s, extra)
		properties[key.Value] = s
	}
	return map[string]any{"properties": properties, "additionalProperties": false}
}

func documented(n *yaml.Node) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if strings.Contains(n.Content[i].HeadComment, "# -- ") {
			return true
		}
	}
	return false
}

func comment(t *testing.T, at, text string) (doc string, extra map[string]any) {
	t.Helper()
	var raw strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if s, ok := strings.CutPrefix(line, "# @schema "); ok {
			raw.WriteString(s)
		} else if s, ok := strings.CutPrefix(line, "# -- "); ok {
			doc = s
		}
	}
	if raw.Len() > 0 {
		if err := json.Unmarshal([]byte(raw.String()), &extra); err != nil {
			t.Fatalf("%s: the schema in its comment: %v", at, err)
		}
	}
	return doc, extra
}

func kind(t *testing.T, at string, n *yaml.Node) string {
	t.Helper()
	switch n.Tag {
	case "!!str":
		return "string"
	case "!!bool":
		return "boolean"
	case "!!int":
		return "integer"
	case "!!seq":
		return "array"
	case "!!map":
		return "object"
	}
	t.Fatalf("%s: no type of JSON for %s", at, n.Tag)
	return ""
}

func TestReferenceAndSchemaAreThoseOfTheValues(t *testing.T) {
	text, err := os.ReadFile("noether/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var list []value
	s := schema(t, "", doc.Content[0], &list)
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["$comment"] = "Generated from values.yaml: go test ./deploy/helm -update. Do not edit."
	s["title"] = "Values of the chart noether"
	s["type"] = "object"
	// Helm gives it to every chart that is part of another one.
	s["properties"].(map[string]any)["global"] = map[string]any{"type": "object", "description": "Values of the chart that this one is part of; not used."}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		t.Fatal(err)
	}
	golden(t, "noether/values.schema.json", out.Bytes())

	readme, err := os.ReadFile("noether/README.md")
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- Generated from values.yaml: go test ./deploy/helm -update. -->\n", "<!-- End of what is generated. -->\n"
	before, rest, ok := strings.Cut(string(readme), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("noether/README.md lacks the lines %q and %q", begin, end)
	}
	var table strings.Builder
	table.WriteString("\n| value | default | meaning |\n|---|---|---|\n")
	for _, v := range list {
		def := v.def
		if def != "" {
			def = "`" + strings.ReplaceAll(def, "|", `\|`) + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", v.path, def, strings.ReplaceAll(v.doc, "|", `\|`))
	}
	table.WriteString("\n")
	golden(t, "noether/README.md", []byte(before+begin+table.String()+end+after))
}

// golden compares a committed file with what it should be, or writes it.
func golden(t *testing.T, file string, want []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test ./deploy/helm -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not what it should be (go test ./deploy/helm -update writes it; -want +got):\n%s", file, diff)
	}
}

// What the chart takes along is the same as what stands outside of it.
func TestCopiesInTheChartAreTheOriginals(t *testing.T) {
	copies := map[string]string{
		"noether/files/noether.rules.yml": "../prometheus/noether.rules.yml",
		"noether/files/impact.rules.yml":  "../../examples/kubernetes/alerts.yaml",
	}
	dashboards, err := filepath.Glob("../grafana/*.json")
	if err != nil || len(dashboards) == 0 {
		t.Fatalf("no dashboards in ../grafana: %v", err)
	}
	for _, file := range dashboards {
		copies[filepath.Join("noether/files/dashboards", filepath.Base(file))] = file
	}
	for file, original := range copies {
		text, err := os.ReadFile(original)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, file, text)
	}
	inside, err := filepath.Glob("noether/files/dashboards/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range inside {
		if copies[file] == "" {
			t.Errorf("%s has no original in deploy/grafana", file)
		}
	}
}
