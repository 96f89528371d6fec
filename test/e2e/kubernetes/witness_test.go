package kubernetes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// witness reads the kernel's own counters of CPU time of every pod and
// container, again and again, so that what a pod used is known after its
// cgroup is gone, but for the end since it was last read: of a pod that uses a
// tenth of a CPU for five seconds, looked at every 200 ms, that is 2 %. It
// shares no code with the agent.
type witness struct {
	root string            // of the hierarchy that counts CPU time
	dirs map[string]string // names of those there were, by directory
	mu   sync.Mutex
	used map[string][]reading // by uid of a pod, dashed, or id of a container
}

type reading struct {
	at   time.Time
	used time.Duration
}

// watch starts a witness that ends with the test.
func watch(t *testing.T) *witness {
	t.Helper()
	root := ""
	for _, dir := range []string{"/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			root = dir
			break
		}
	}
	if root == "" {
		t.Fatal("there is no cgroup hierarchy that counts CPU time")
	}
	w := &witness{root: root, dirs: map[string]string{}, used: map[string][]reading{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(25 * time.Millisecond)
		defer ticker.Stop()
		for n := 0; ; n++ {
			if n%8 == 0 {
				w.find()
			}
			w.look()
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// find lists the cgroups of pods and containers that there are.
func (w *witness) find() {
	for _, top := range []string{"kubepods", "kubepods.slice"} {
		filepath.WalkDir(filepath.Join(w.root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				return err
			}
			if name := cgroupName(d.Name()); name != "" {
				w.dirs[path] = name
			}
			return nil
		})
	}
}

// look reads every counter once. A cgroup that vanishes meanwhile keeps what
// was read of it before.
func (w *witness) look() {
	for path, name := range w.dirs {
		used, err := cpuTime(path)
		if err != nil {
			delete(w.dirs, path)
			continue
		}
		w.mu.Lock()
		w.used[name] = append(w.used[name], reading{time.Now(), used})
		w.mu.Unlock()
	}
}

// cgroupName is the uid of a pod or the id of a container, of the name of its
// directory; "" for others.
func cgroupName(dir string) string {
	dir = strings.TrimSuffix(strings.TrimSuffix(dir, ".slice"), ".scope")
	if i := strings.LastIndex(dir, "pod"); i >= 0 && len(dir) > i+30 {
		return strings.ReplaceAll(dir[i+3:], "_", "-")
	}
	if id := dir[strings.LastIndexByte(dir, '-')+1:]; len(id) == 64 {
		return id
	}
	return ""
}

func cpuTime(dir string) (time.Duration, error) {
	if b, err := os.ReadFile(filepath.Join(dir, "cpuacct.usage")); err == nil {
		ns, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
		return time.Duration(ns), err
	}
	b, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if us, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(us), 10, 64)
			return time.Duration(n) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("read CPU time of %s: no usage_usec", dir)
}

// between is the CPU time that a pod or container used from one moment to
// another. Its counter is 0 before it was first seen, and stands still at its end.
func (w *witness) between(name string, from, to time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return at(w.used[name], to) - at(w.used[name], from)
}

func at(readings []reading, when time.Time) time.Duration {
	var before reading
	for i, r := range readings {
		if !r.at.After(when) {
			before = r
			continue
		}
		if i == 0 {
			return 0
		}
		part := float64(when.Sub(before.at)) / float64(r.at.Sub(before.at))
		return before.used + time.Duration(part*float64(r.used-before.used))
	}
	return before.used
}

func TestCgroupName(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for dir, want := range map[string]string{
		"pod841bfa13-623d-4e85-8c45-991c7dbbaa2b":                          "841bfa13-623d-4e85-8c45-991c7dbbaa2b",
		"kubepods-burstable-pod841bfa13_623d_4e85_8c45_991c7dbbaa2b.slice": "841bfa13-623d-4e85-8c45-991c7dbbaa2b",
		"pod026a8d033c82754e2dfa96efcf5197d7":                              "026a8d033c82754e2dfa96efcf5197d7",
		id:                                                                 id, "cri-containerd-" + id + ".scope": id, "burstable": "", "kubepods-besteffort.slice": "",
	} {
		if got := cgroupName(dir); got != want {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
}

func TestBetween(t *testing.T) {
	start := time.Unix(1e9, 0)
	second := func(n float64) time.Time { return start.Add(time.Duration(n * float64(time.Second))) }
	w := &witness{used: map[string][]reading{"a": {{second(1), 100}, {second(2), 200}, {second(4), 600}}}}
	for _, c := range []struct {
		from, to float64
		want     time.Duration
	}{{0, 1, 100}, {1, 2, 100}, {1.5, 3, 250}, {0, 9, 600}, {4, 9, 0}, {0, 0.5, 0}} {
		if got := w.between("a", second(c.from), second(c.to)); got != c.want {
			t.Errorf("from %v to %v s: %d, want %d", c.from, c.to, got, c.want)
		}
	}
	if got := w.between("unknown", start, second(9)); got != 0 {
		t.Errorf("an unknown pod used %v", got)
	}
}
