package sensor_test

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the example into docs/add-a-sensor.md")

// TestDocs holds the code in docs/add-a-sensor.md to the example that runs.
func TestDocs(t *testing.T) {
	const (
		path  = "../../docs/add-a-sensor.md"
		begin = "<!-- code -->\n```go\n"
		end   = "```\n<!-- end -->\n"
	)
	code, err := os.ReadFile("example_battery_test.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s: the marks around the code are missing", path)
	}
	want := head + begin + string(code) + end + tail
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s does not show the example as it is: go test ./internal/sensor -run TestDocs -update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
