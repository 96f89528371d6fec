package main

import (
	"os"
	"path/filepath"
	"testing"

	"noether/internal/linux"
	"noether/internal/workload"
)

func TestWhatAMachineHas(t *testing.T) {
	fs := linux.Under(t.TempDir())
	if got := capacity(fs); got != (workload.Reserved{}) {
		t.Errorf("a machine that says nothing has %+v", got)
	}
	for path, content := range map[string]string{
		fs.Proc + "/stat":    "cpu  1 2 3\ncpu0 1 2 3\ncpu1 1 2 3\ncpu10 1 2 3\nintr 5\ncpufreq 1\n",
		fs.Proc + "/meminfo": "MemTotal:       24732072 kB\nMemFree: 1 kB\n",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := capacity(fs), (workload.Reserved{CPU: 3000, Memory: 24732072 << 10}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}

	for dir, want := range map[string]bool{"system.slice": false, "cpu/kubepods": true, "kubepods.slice": true} {
		fs := linux.Under(t.TempDir())
		if err := os.MkdirAll(filepath.Join(fs.Cgroup, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := hasPods(fs); got != want {
			t.Errorf("with %s it has pods: %t", dir, got)
		}
	}
}
