package store

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/export"
	"noether/internal/export/exporttest"
)

var update = flag.Bool("update", false, "write testdata/families.txt")

// TestFamilies has every family of the table, and what becomes of it: who adds
// one decides here whether it has a history.
func TestFamilies(t *testing.T) {
	var b strings.Builder
	words := map[keep]string{never: "never", always: "always", copied: "always, and by five minutes"}
	for _, f := range export.NewTable(exporttest.About()).Families() {
		fmt.Fprintf(&b, "%-60s %s\n", f.Name, words[keepOf(&f)])
	}
	const name = "testdata/families.txt"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("decide whether it has a history, then go test ./internal/store -update:\n%s", diff)
	}
}
