package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	got, err := table([]byte(`const data = { "FRA": 44.18, "EU": 213.02, "CAF": 0, "DEU": 342, "FLK": 1e3 };
const type = "average";`))
	if err != nil || !strings.Contains(got, "`\nDE DEU 342\nFK FLK 1000\nFR FRA 44.18\n`") {
		t.Errorf("%s %v", got, err)
	}
	for source, want := range map[string]string{
		"export default {}": "does not look as it used to",
		`const data = {"QQQ": 1}; const type = "average";`:   "QQQ is not in the list",
		`const data = {"DEU": -1}; const type = "average";`:  "DEU has -1",
		`const data = {"DEU": 1e9}; const type = "average";`: "DEU has 1e+09",
		`const data = {"DEU": }; const type = "average";`:    "invalid character",
	} {
		if _, err := table([]byte(source)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestAnotherPackageIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tgz")
	if err := os.WriteFile(path, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{path}, io.Discard); err == nil || !strings.Contains(err.Error(), "it is not version "+version) {
		t.Errorf("%v", err)
	}
}
