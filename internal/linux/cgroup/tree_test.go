package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// group makes a cgroup of plain files whose counter stands at usage.
func group(t *testing.T, h Hierarchy, path string, usage time.Duration) {
	t.Helper()
	dir := filepath.Join(h.Dir, path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%d\n", usage)
	if h.V2() {
		text = fmt.Sprintf("usage_usec %d\nuser_usec 0\n", usage.Microseconds())
	}
	if err := os.WriteFile(filepath.Join(dir, h.Counter), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

type clock struct{ now time.Duration }

func openTree(t *testing.T, h Hierarchy, files int) (*Tree, *clock) {
	t.Helper()
	c := &clock{}
	tree, err := OpenTree(h, Options{Files: files, Now: func() time.Duration { return c.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree, c
}

// use refreshes and reads, and returns what was used by path, zeros left out.
func use(t *testing.T, tree *Tree) map[string]time.Duration {
	t.Helper()
	tree.Refresh()
	list, err := tree.Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]time.Duration{}
	for _, u := range list {
		if u.CPU != 0 {
			got[tree.Path(u.Slot)] += u.CPU
		}
	}
	return got
}

func equal(t *testing.T, what string, got, want map[string]time.Duration) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", what, diff)
	}
}

func v1(t *testing.T) Hierarchy {
	return Hierarchy{Name: "cpu,cpuacct", Dir: t.TempDir(), Counter: "cpuacct.usage"}
}

const second = time.Second

type usage = map[string]time.Duration

func TestOwnUseIsTheCounterLessTheChildren(t *testing.T) {
	for _, files := range []int{100, 0} { // kept open, and opened for each reading
		h := v1(t)
		set := func(root, a, b, c time.Duration) {
			group(t, h, "/", root)
			group(t, h, "/a", a)
			group(t, h, "/a/b", b)
			group(t, h, "/a/b/c", c)
		}
		set(100*second, 50*second, 20*second, 5*second)
		tree, _ := openTree(t, h, files)
		equal(t, "baseline", use(t, tree), usage{})
		set(110*second, 58*second, 27*second, 11*second)
		equal(t, "tick", use(t, tree), usage{"/": 2 * second, "/a": second, "/a/b": second, "/a/b/c": 6 * second})
		// The child is read before its parent, or the parent's counter lags: the
		// difference is carried and nothing is told twice.
		set(110*second, 58*second, 28*second, 11*second)
		equal(t, "the child is ahead", use(t, tree), usage{"/a/b": second})
		set(112*second, 60*second, 28*second, 11*second)
		equal(t, "the parent follows", use(t, tree), usage{"/a": second})
	}
}

func TestNewAndRemovedCgroups(t *testing.T) {
	h := v1(t)
	group(t, h, "/", 10*second)
	group(t, h, "/a", 4*second)
	group(t, h, "/a/old", 2*second)
	tree, _ := openTree(t, h, 100)
	var removed []string
	tree.opts.Removed = func(_ uint64, path string) { removed = append(removed, path) }
	use(t, tree)

	group(t, h, "/", 20*second)
	group(t, h, "/a", 14*second)
	group(t, h, "/a/old", 3*second)
	group(t, h, "/a/new", 5*second)
	group(t, h, "/a/new/inner", 4*second)
	equal(t, "made", use(t, tree), usage{"/a": 4 * second, "/a/old": second, "/a/new": second, "/a/new/inner": 4 * second})

	// Of the 3 s that /a has gained, one second was used by old before it went.
	os.RemoveAll(filepath.Join(h.Dir, "a/old"))
	group(t, h, "/", 23*second)
	group(t, h, "/a", 17*second)
	equal(t, "removed: its last slice is its parent's", use(t, tree), usage{"/a": 3 * second})
	if diff := cmp.Diff([]string{"/a/old"}, removed); diff != "" {
		t.Error(diff)
	}
	if _, ok := tree.ByPath("/a/old"); ok {
		t.Error("a removed cgroup is found by its path")
	}

	// Made again under the same name within a tick: another cgroup.
	os.RemoveAll(filepath.Join(h.Dir, "a/new"))
	group(t, h, "/a/new", second)
	group(t, h, "/", 24*second)
	group(t, h, "/a", 18*second)
	equal(t, "made again", use(t, tree), usage{"/a/new": second})
	if tree.Len() != 3 {
		t.Errorf("%d cgroups, want 3", tree.Len())
	}
}

func TestCgroupFoundLateIsNotToldTwice(t *testing.T) {
	h := v1(t)
	group(t, h, "/", 0)
	group(t, h, "/a", 0)
	tree, c := openTree(t, h, 100)
	use(t, tree)
	// Nobody tells that it was made: its time is its parent's meanwhile.
	tree.watch.close()
	tree.watch.fd = -1
	group(t, h, "/", 6*second)
	group(t, h, "/a", 6*second)
	group(t, h, "/a/b", 6*second)
	equal(t, "not found yet", use(t, tree), usage{"/a": 6 * second})
	c.now += rescan
	group(t, h, "/", 9*second)
	group(t, h, "/a", 9*second)
	group(t, h, "/a/b", 8*second)
	equal(t, "found", use(t, tree), usage{"/a/b": 3 * second})
	group(t, h, "/", 12*second)
	group(t, h, "/a", 12*second)
	group(t, h, "/a/b", 10*second)
	equal(t, "afterwards", use(t, tree), usage{"/a": second, "/a/b": 2 * second})
	tree.watch = nil
}

func TestUnreadableCgroupCostsItself(t *testing.T) {
	h := v1(t)
	group(t, h, "/", 0)
	group(t, h, "/a", 0)
	group(t, h, "/a/b", 0)
	tree, _ := openTree(t, h, 0)
	use(t, tree)
	os.WriteFile(filepath.Join(h.Dir, "a/b", h.Counter), []byte("garbage\n"), 0o644)
	group(t, h, "/", 2*second)
	group(t, h, "/a", 2*second)
	tree.Refresh()
	list, err := tree.Read(nil)
	if err == nil || len(list) != 3 {
		t.Fatalf("%d readings, %v; want 3 and an error", len(list), err)
	}
	if _, err = tree.Read(nil); err != nil {
		t.Errorf("told twice: %v", err)
	}
	group(t, h, "/", 5*second)
	group(t, h, "/a", 5*second)
	group(t, h, "/a/b", 4*second)
	equal(t, "it is back: 2 s had been its parent's", use(t, tree), usage{"/a/b": 3 * second})
}

func TestRootOfV2IsNotCounted(t *testing.T) {
	h := Hierarchy{Dir: t.TempDir(), Counter: "cpu.stat"}
	group(t, h, "/", 100*second)
	group(t, h, "/a", second)
	tree, _ := openTree(t, h, 100)
	tree.nodes[Root].bare = true // as when its inode is 1
	use(t, tree)
	group(t, h, "/", 200*second)
	group(t, h, "/a", 3*second)
	equal(t, "v2", use(t, tree), usage{"/a": 2 * second})
}

func TestInnerCgroupOfV2RestsUntilAChildGoes(t *testing.T) {
	h := Hierarchy{Dir: t.TempDir(), Counter: "cpu.stat"}
	set := func(pod, app time.Duration) {
		group(t, h, "/", 0)
		group(t, h, "/pod", pod)
		group(t, h, "/pod/app", app)
	}
	set(2*second, second)
	os.WriteFile(filepath.Join(h.Dir, "pod/cgroup.type"), []byte("domain\n"), 0o644)
	os.WriteFile(filepath.Join(h.Dir, "pod/cgroup.subtree_control"), []byte("cpu memory\n"), 0o644)
	tree, _ := openTree(t, h, 100)
	tree.nodes[Root].bare = true
	use(t, tree)
	set(5*second, 3*second)
	equal(t, "its counter is left alone", use(t, tree), usage{"/pod/app": 2 * second})
	group(t, h, "/pod/init", second)
	set(9*second, 5*second)
	equal(t, "a child came: the second of before is told too", use(t, tree),
		usage{"/pod": 2 * second, "/pod/app": 2 * second, "/pod/init": second})
	os.RemoveAll(filepath.Join(h.Dir, "pod/init"))
	set(13*second, 8*second)
	equal(t, "a child went", use(t, tree), usage{"/pod": second, "/pod/app": 3 * second})
}

func TestCountersThatAreTold(t *testing.T) {
	h := Hierarchy{Dir: t.TempDir(), Counter: "cpu.stat"}
	set := func(pod, app, other time.Duration) {
		group(t, h, "/", 0)
		group(t, h, "/pod", pod)
		group(t, h, "/pod/app", app)
		group(t, h, "/pod/other", other)
	}
	set(0, 0, 0)
	tree, _ := openTree(t, h, 100)
	tree.nodes[Root].bare = true
	id := func(path string) uint64 { return inode(t, filepath.Join(h.Dir, path)) }
	ask := func(told usage) usage {
		t.Helper()
		err := tree.Ask(func(tell func(uint64, time.Duration)) error {
			for path, counter := range told {
				tell(id(path), counter)
			}
			tell(1<<60, time.Hour) // of another cgroup namespace
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		list, err := tree.Read(nil)
		if err != nil {
			t.Fatal(err)
		}
		got := usage{}
		for _, u := range list {
			if u.CPU != 0 {
				got[tree.Path(u.Slot)] = u.CPU
			}
		}
		return got
	}
	ask(nil) // the baseline
	set(90*second, 90*second, 4*second)
	equal(t, "what is told counts, and of what is not, its file", ask(usage{"pod": 9 * second, "pod/app": 3*second + 1}),
		usage{"/pod": 2*second - 1, "/pod/app": 3*second + 1, "/pod/other": 4 * second})
	set(10*second, 4*second, 4*second)
	equal(t, "the files go on from there", use(t, tree), usage{"/pod/app": second - 1, "/pod": 1})

	// What was not added up just now is of some time in the past.
	os.Remove(filepath.Join(h.Dir, "pod/cpu.stat"))
	tree.nodes[tree.byID[id("pod")]].close(tree)
	err := tree.Ask(func(func(uint64, time.Duration)) error {
		t.Error("asked although the counter above cannot be read")
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	group(t, h, "/pod", 10*second)
	wrong := errors.New("wrong")
	if err := tree.Ask(func(func(uint64, time.Duration)) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("got error %v", err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestTouchAndNearest(t *testing.T) {
	h := v1(t)
	group(t, h, "/", 0)
	group(t, h, "/a", 0)
	tree, _ := openTree(t, h, 100)
	group(t, h, "/a/b/c", 0)
	group(t, h, "/a/b", 0)
	if got := tree.Path(tree.Nearest("/a/b/c")); got != "/a" {
		t.Errorf("nearest before it is found: %s", got)
	}
	slot, ok := tree.Touch("/a/b/c")
	if !ok || tree.Path(slot) != "/a/b/c" {
		t.Errorf("touched %v", ok)
	}
	if _, ok := tree.Touch("/a/x"); ok {
		t.Error("touched what is not there")
	}
	os.WriteFile(filepath.Join(h.Dir, "a/b/cgroup.procs"), []byte("12\n4242\n"), 0o644)
	if path, ok := tree.FindProcess(4242); path != "/a/b" || !ok {
		t.Errorf("process found in %q", path)
	}
}

func TestSteadyReadAllocatesNothing(t *testing.T) {
	h := v1(t)
	group(t, h, "/", 0)
	for i := range 100 {
		group(t, h, fmt.Sprintf("/pod%d/c", i), 0)
		group(t, h, fmt.Sprintf("/pod%d", i), 0)
	}
	tree, _ := openTree(t, h, 1000)
	var list []Usage
	n := testing.AllocsPerRun(20, func() {
		tree.Refresh()
		list, _ = tree.Read(list[:0])
	})
	if n != 0 || len(list) != 201 {
		t.Errorf("%v allocations for %d cgroups", n, len(list))
	}
}

// TestRealCgroups makes cgroups below this machine's own.
func TestRealCgroups(t *testing.T) {
	for _, h := range []Hierarchy{
		{Name: "cpuacct", Dir: "/sys/fs/cgroup/cpuacct", Counter: "cpuacct.usage"},
		{Dir: "/sys/fs/cgroup/unified", Counter: "cpu.stat"},
		{Dir: "/sys/fs/cgroup", Counter: "cpu.stat"},
	} {
		t.Run(h.Dir, func(t *testing.T) {
			dir := fmt.Sprintf("%s/noether-test-%d", h.Dir, os.Getpid())
			if _, err := os.Stat(h.Dir + "/" + h.Counter); err != nil {
				t.Skipf("skipped: %v", err)
			}
			tree, _ := openTree(t, h, 100)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Skipf("skipped: cgroups cannot be made here: %v", err)
			}
			defer os.Remove(dir)
			if !tree.Watched() {
				t.Log("no inotify to be had: the tree is listed each time")
			}
			if _, ok := tree.ByPath("/" + filepath.Base(dir)); ok {
				t.Fatal("found before it is looked for")
			}
			tree.Refresh()
			slot, ok := tree.ByPath("/" + filepath.Base(dir))
			if !ok {
				t.Fatal("a new cgroup is not found")
			}
			use(t, tree)
			self := []byte(strconv.Itoa(os.Getpid()))
			if err := os.WriteFile(dir+"/cgroup.procs", self, 0o644); err != nil {
				t.Fatal(err)
			}
			before := own(t)
			for own(t)-before < 100*time.Millisecond {
				for range 1000 {
					_ = strings.Repeat(dir, 10)
				}
			}
			spent := own(t) - before
			if err := os.WriteFile(h.Dir+"/cgroup.procs", self, 0o644); err != nil {
				t.Fatal(err)
			}
			got := use(t, tree)["/"+filepath.Base(dir)]
			if got < spent*98/100 || got > spent*102/100+2*time.Millisecond {
				t.Errorf("%v of %v credited", got, spent)
			}
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			use(t, tree)
			if id, ok := tree.ID(slot); ok && tree.Path(slot) == "/"+filepath.Base(dir) {
				t.Errorf("cgroup %d is there after its removal", id)
			}
		})
	}
}

func FuzzCounter(f *testing.F) {
	f.Add([]byte("usage_usec 12\nuser_usec 5\n"), true)
	f.Add([]byte("123456789\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, v2 bool) {
		if d, ok := parseCounter(b, v2); ok && d < 0 {
			t.Errorf("%q: %v", b, d)
		}
	})
}

// own returns the CPU time this process has used.
func own(t testing.TB) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// BenchmarkRead is a tick with 300 pods of three cgroups each, on real cgroups.
func BenchmarkRead(b *testing.B) {
	for _, h := range []Hierarchy{
		{Name: "cpuacct", Dir: "/sys/fs/cgroup/cpuacct", Counter: "cpuacct.usage"},
		{Dir: "/sys/fs/cgroup/unified", Counter: "cpu.stat"},
		{Dir: "/sys/fs/cgroup", Counter: "cpu.stat"},
	} {
		b.Run(h.Dir, func(b *testing.B) {
			base := fmt.Sprintf("%s/noether-test-%d", h.Dir, os.Getpid())
			if _, err := os.Stat(h.Dir + "/" + h.Counter); err != nil {
				b.Skipf("skipped: %v", err)
			}
			var made []string
			mkdir := func(dir string) {
				if err := os.Mkdir(dir, 0o755); err != nil {
					b.Skipf("skipped: cgroups cannot be made here: %v", err)
				}
				made = append(made, dir)
			}
			defer func() {
				for _, dir := range slices.Backward(made) {
					os.Remove(dir)
				}
			}()
			mkdir(base)
			for i := range 300 {
				mkdir(fmt.Sprintf("%s/pod%d", base, i))
				mkdir(fmt.Sprintf("%s/pod%d/app", base, i))
				mkdir(fmt.Sprintf("%s/pod%d/pause", base, i))
			}
			tree, err := OpenTree(h, Options{Files: 2000, Now: func() time.Duration { return 0 }})
			if err != nil {
				b.Fatal(err)
			}
			defer tree.Close()
			list, _ := tree.Read(nil)
			start := own(b)
			for b.Loop() {
				tree.Refresh()
				list, _ = tree.Read(list[:0])
			}
			b.ReportMetric(float64((own(b)-start).Microseconds())/float64(b.N), "CPU-us/op")
			b.ReportMetric(float64(len(list)), "cgroups")
		})
	}
}
