package identity

import (
	"flag"
	"os"
	"strings"
	"testing"

	"noether/internal/workload"
)

var update = flag.Bool("update", false, "write the table into docs/identity.md")

// TestDocs holds the table in docs/identity.md to the one in this package.
func TestDocs(t *testing.T) {
	const (
		path  = "../../docs/identity.md"
		begin = "<!-- table -->\n"
		end   = "<!-- end -->\n"
	)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s: the marks around the table are missing", path)
	}
	want := head + begin + markdown() + end + tail
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s does not show the table as it is: go test ./internal/identity -run TestDocs -update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func markdown() string {
	var b strings.Builder
	b.WriteString("| what | owner | runtime, hypervisor or class | example |\n| --- | --- | --- | --- |\n")
	for _, r := range table {
		kind := r.kind.String()
		if r.kind == workload.ContainerOwner && r.podOnly {
			kind = "pod's container"
		}
		b.WriteString("| " + r.title + " | " + kind + " | " + r.label + " | `" + strings.ReplaceAll(r.example, exampleID, "<id>") + "` |\n")
	}
	return b.String()
}
