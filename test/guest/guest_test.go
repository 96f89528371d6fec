// Package guest runs the agent in virtual machines, on kernels and cgroup
// hierarchies that the machine of the tests does not have. The machines are
// emulated, and need no right and no network.
package guest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"noether/internal/export/balance"
)

func kernels(t *testing.T) []string {
	t.Helper()
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("needs qemu-system-x86_64 (Debian: apt-get install qemu-system-x86)")
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Skipf("needs a cache of kernels: %v", err)
		}
		cache = filepath.Join(home, ".cache")
	}
	pattern := filepath.Join(cache, "noether", "guest-*", "boot", "vmlinuz-*")
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Skipf("needs a kernel, %s (on Debian: make guest)", pattern)
	}
	return found
}

func TestGuest(t *testing.T) {
	found := kernels(t)
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs a static busybox (Debian: apt-get install busybox-static)")
	}
	for _, kernel := range found {
		t.Run(strings.TrimPrefix(filepath.Base(kernel), "vmlinuz-"), func(t *testing.T) {
			out := boot(t, kernel, busybox)
			for phase, source := range map[string]string{"root": "bpf", "cgroup": "cgroup", "user": "procfs"} {
				t.Run(phase, func(t *testing.T) { check(t, out, phase, source) })
			}
			// In a PID namespace of its own the walk sees the whole machine,
			// and the iterator of older kernels does not.
			t.Logf("in a PID namespace\n%s", out["namespace.check"])
			whole := strings.Contains(string(out["root.check"]), "listed by syscall")
			if used := strings.Contains(string(out["namespace.check"]), "* bpf "); used != whole {
				t.Errorf("in a PID namespace of its own bpf is used: %t, want %t", used, whole)
			}
		})
	}
}

// check holds the page of one agent against the kernel's own counters.
func check(t *testing.T, out map[string][]byte, phase, source string) {
	log := string(out[phase+".log"])
	t.Logf("check\n%s\nlog\n%s", out[phase+".check"], log)
	if strings.Contains(log, "panic") || strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") || !strings.Contains(log, "exit 0") {
		t.Errorf("the agent complains")
	}
	if !strings.Contains(log, " usage="+source+" ") {
		t.Errorf("the agent does not use %s", source)
	}
	page := out[phase+".page"]
	if !strings.Contains(string(page), `noether_session_joules_total{user="1000",`) {
		t.Error("the session of user 1000 is missing")
	}
	if err := balance.Check(page); err != nil {
		t.Error(err)
	}
	seconds := map[string]float64{}
	for line := range strings.Lines(string(page)) {
		if line[0] == '#' {
			continue
		}
		s, err := balance.Parse(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		kind, ok := strings.CutSuffix(strings.TrimPrefix(s.Name, "noether_"), "_cpu_seconds_total")
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(s.Value, 64)
		if err != nil {
			t.Fatal(err)
		}
		name := s.Labels["unit"]
		switch kind {
		case "pod":
			name = s.Labels["pod_uid"]
		case "container":
			name = s.Labels["container_id"]
		case "unit":
			if strings.HasPrefix(name, "churn-") {
				name = "churn"
			}
		}
		seconds[kind+" "+name] += v
	}
	truth := map[string]float64{}
	for line := range strings.Lines(string(out[phase+".truth"])) {
		i := strings.LastIndexByte(line, ' ')
		usec, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
		if err != nil {
			t.Fatal(err)
		}
		truth[line[:i]] += usec / 1e6
	}
	if len(truth) < 9 {
		t.Errorf("the machine told of %d cgroups only", len(truth))
	}
	for _, name := range slices.Sorted(maps.Keys(truth)) {
		want, got := truth[name], seconds[name]
		if name == "unit churn" && source != "bpf" {
			got += seconds["unit system.slice"] // what ended between two ticks is that of the cgroup above
		}
		t.Logf("%-40.40s kernel %.6f s, agent %.6f s, %+.2f %%", name, want, got, (got/want-1)*100)
		// A reading of a parent may be ahead of that of its child by what the
		// child used in between, which an emulator makes some milliseconds.
		if math.Abs(got-want) > 0.02*want+0.01 {
			t.Errorf("%s used %.6f s by its cgroup, and %.6f s by the agent", name, want, got)
		}
	}
}

// boot runs the machine and returns the files it sent.
func boot(t *testing.T, kernel, busybox string) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	initrd := &archive{}
	for _, name := range []string{"bin", "proc", "sys", "dev", "tmp"} {
		initrd.add(name, 0o40755, nil)
	}
	initrd.file(t, "bin/busybox", busybox)
	initrd.file(t, "init", "init")
	for name, pkg := range map[string]string{"noether": "noether/cmd/noether", "load": "noether/test/guest/load"} {
		path := filepath.Join(dir, name)
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
		initrd.file(t, "bin/"+name, path)
	}
	initrd.add("TRAILER!!!", 0, nil)
	image := filepath.Join(dir, "initrd")
	if err := os.WriteFile(image, initrd.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	console, err := emulate(t, 4*time.Minute, "512", kernel, image, "")
	_, after, _ := strings.Cut(string(console), "GUEST BEGIN")
	text, _, ok := strings.Cut(after, "GUEST END")
	if err != nil || !ok {
		t.Fatalf("run the machine: %v\n%s", err, console[max(0, len(console)-4000):])
	}
	out, err := unpack(strings.NewReplacer("\r", "", "\n", "").Replace(text))
	if err != nil {
		t.Fatalf("read what the machine sent: %v", err)
	}
	return out
}

func unpack(text string) (map[string][]byte, error) {
	zip, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, bufio.NewReader(strings.NewReader(text))))
	if err != nil {
		return nil, err
	}
	return files(zip)
}

// archive is a cpio archive as the kernel takes it (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	bytes.Buffer
	files int
}

func (a *archive) file(t *testing.T, name, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a.add(name, 0o100755, data)
}

func (a *archive) add(name string, mode int, data []byte) {
	a.files++
	fmt.Fprintf(a, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00", a.files, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
	a.Write(data)
	a.pad()
}

func (a *archive) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}
