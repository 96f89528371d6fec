package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// check says where the history would be kept and what is wrong, and makes nothing.
func TestCheckLooksAtTheHistory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(dir, "a", "b")
	for path, want := range map[string]verdict{
		fresh: {Status: "works", Reason: "there is none yet: the agent makes it in " + fresh, Chosen: true},
		file:  {Status: "broken", Reason: "not a directory", Remedy: "name a directory with store.path"},
		"off": {Status: "absent", Reason: "--store.path is off"},
	} {
		_, stdout, _ := noether(t.Context(), "check", "--json", "--sensor=model", "--store.path="+path)
		var r report
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || len(r.Store) != 1 {
			t.Fatalf("%v: %s", err, stdout)
		}
		got := r.Store[0]
		if got.Status != want.Status || !strings.Contains(got.Reason, want.Reason) || got.Remedy != want.Remedy || got.Chosen != want.Chosen {
			t.Errorf("%s: %+v", path, got)
		}
	}
	if _, err := os.Stat(filepath.Dir(fresh)); !os.IsNotExist(err) {
		t.Errorf("it made a directory: %v", err)
	}
}
