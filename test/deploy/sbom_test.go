package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaOf compiles the JSON schema of CycloneDX 1.6, which the project's own
// Go library carries.
func schemaOf(t *testing.T) *jsonschema.Schema {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "schema")
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, pattern := range []string{"bom-1.6.schema.json", "spdx.schema.json", "jsf-0.82.schema*.json"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(names) != 1 {
			t.Fatalf("%s in %s: %q, %v", pattern, dir, names, err)
		}
		b, err := os.ReadFile(names[0])
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("http://cyclonedx.org/schema/"+strings.ReplaceAll(pattern, "*", ""), doc); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestBillsOfMaterials holds those of a release, and of the golden files, to
// the schema, and reads them back with the library that many tools use.
func TestBillsOfMaterials(t *testing.T) {
	names, err := filepath.Glob("../../deploy/release/testdata/*.cdx.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no bill of materials to check: %v", err)
	}
	made, err := filepath.Glob("../../dist/*.cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	schema := schemaOf(t)
	for _, name := range append(names, made...) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %#v", name, err)
		}
		var bom cyclonedx.BOM
		if err := cyclonedx.NewBOMDecoder(bytes.NewReader(b), cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		refs := map[string]bool{bom.Metadata.Component.BOMRef: true}
		for _, c := range *bom.Components {
			if refs[c.BOMRef] {
				t.Errorf("%s: %s stands twice", name, c.BOMRef)
			}
			refs[c.BOMRef] = true
		}
		for _, d := range *bom.Dependencies {
			if d.Dependencies == nil {
				continue
			}
			for _, on := range *d.Dependencies {
				if !refs[on] || !refs[d.Ref] {
					t.Errorf("%s: %s depends on %s, and one of them is not there", name, d.Ref, on)
				}
			}
		}
	}
}
