package procfs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"noether/internal/linux"
	"noether/internal/usage"
	"noether/internal/workload"
)

// fake is a /proc of plain files.
type fake struct {
	t    *testing.T
	fs   linux.FS
	tick int
}

type proc struct {
	pid, parent, cpu, reaped, start int // times in ticks of 10 ms
	comm                            string
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, fs: linux.Under(t.TempDir()), tick: 100_000}
	f.uptime()
	return f
}

func (f *fake) write(path, text string) {
	f.t.Helper()
	path = filepath.Join(f.fs.Proc, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fake) uptime() { f.write("uptime", fmt.Sprintf("%d.%02d 0.00\n", f.tick/100, f.tick%100)) }

func (f *fake) put(list ...proc) {
	for _, p := range list {
		if p.comm == "" {
			p.comm = "p"
		}
		f.write(fmt.Sprintf("%d/stat", p.pid), fmt.Sprintf("%d (%s) S %d 1 1 0 -1 0 0 0 0 0 %d 0 %d 0 20 0 1 0 %d 0 10 0\n",
			p.pid, p.comm, p.parent, p.cpu, p.reaped, p.start))
		f.write(fmt.Sprintf("%d/cgroup", p.pid), "0::/\n")
	}
}

// end removes a process, emptied first: a descriptor that is still open reads
// nothing then, where the kernel says ESRCH.
func (f *fake) end(pids ...int) {
	for _, pid := range pids {
		f.write(fmt.Sprintf("%d/stat", pid), "")
		os.RemoveAll(filepath.Join(f.fs.Proc, strconv.Itoa(pid)))
	}
}

func (f *fake) open(files int) *Source {
	f.t.Helper()
	index := usage.OpenIndex(usage.IndexOptions{FS: f.fs, Now: func() time.Duration { return 0 }})
	s, err := Open(Options{Proc: f.fs.Proc, Index: index, Files: files})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.t.Error(err)
		}
		if s.open != 0 {
			f.t.Errorf("%d descriptors are left open", s.open)
		}
	})
	return s
}

// read moves the clock a second on and returns the tasks as text.
func (f *fake) read(s *Source) []string {
	f.t.Helper()
	f.tick += 100
	f.uptime()
	var u workload.Usage
	if err := s.Read(f.t.Context(), &u); err != nil || !u.HasTasks {
		f.t.Fatalf("%v, has tasks: %v", err, u.HasTasks)
	}
	var got []string
	for _, x := range u.Tasks {
		words := []string{fmt.Sprintf("%d<%d %v", x.PID, x.Parent, x.CPU)}
		for _, s := range []struct {
			flag workload.TaskState
			word string
		}{{workload.New, "new"}, {workload.Ended, "ended"}, {workload.Renamed, "renamed"}} {
			if x.State&s.flag != 0 {
				words = append(words, s.word)
			}
		}
		if x.Slot < 0 {
			words = []string{fmt.Sprintf("children of %d %v", x.Parent, x.CPU)}
		}
		if x.Place == nil {
			words = append(words, "nowhere")
		}
		got = append(got, strings.Join(words, " "))
	}
	return got
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", what, diff)
	}
}

func TestProcessesComeWorkAndGo(t *testing.T) {
	for _, files := range []int{100, 1, 0} {
		t.Run(strconv.Itoa(files), func(t *testing.T) {
			f := newFake(t)
			f.put(proc{1, 0, 500, 0, 0, "init"}, proc{70, 1, 900, 0, 40, "a\") R 1\n"}, proc{9, 1, 10, 0, 50, "\xff\xfeab"})
			s := f.open(files)
			expect(t, "baseline", f.read(s), "1<0 0s new", "9<1 0s new", "70<1 0s new")
			f.put(proc{70, 1, 940, 0, 40, "a\") R 1\n"}, proc{80, 1, 7, 0, f.tick + 20, "new"})
			expect(t, "work", f.read(s), "70<1 400ms", "80<1 70ms new")
			expect(t, "quiet", f.read(s))
			f.put(proc{80, 1, 8, 0, f.tick - 180, "execed"})
			expect(t, "another program", f.read(s), "80<1 10ms renamed")
			f.end(70)
			f.write("9/stat", "9 (cut off")
			expect(t, "one has ended, one is cut off", f.read(s), "9<1 0s ended", "70<1 0s ended")
		})
	}
}

func TestPIDReuse(t *testing.T) {
	for _, files := range []int{100, 0} {
		f := newFake(t)
		f.put(proc{1, 0, 0, 0, 0, ""}, proc{7, 1, 9000, 0, 40, "burn"})
		s := f.open(files)
		f.read(s)
		f.end(7)
		f.put(proc{7, 1, 3, 0, f.tick + 50, "sleep"})
		expect(t, "reused within a tick", f.read(s), "7<1 0s ended", "7<1 30ms new")
	}
}

func TestUnreadableProcessCostsItself(t *testing.T) {
	f := newFake(t)
	f.put(proc{1, 0, 0, 0, 0, ""}, proc{5, 1, 0, 0, 0, ""})
	os.MkdirAll(f.fs.Proc+"/3", 0o755) // a stat that cannot be opened, and none
	os.Symlink("stat", f.fs.Proc+"/3/stat")
	os.MkdirAll(f.fs.Proc+"/4", 0o755)
	s := f.open(100)
	expect(t, "baseline", f.read(s), "1<0 0s new", "5<1 0s new")
	f.put(proc{5, 1, 20, 0, 0, ""})
	expect(t, "tick", f.read(s), "5<1 200ms")
}

func TestForbiddenProcessCostsItself(t *testing.T) {
	f := newFake(t)
	f.put(proc{1, 0, 0, 0, 0, ""}, proc{3, 1, 70, 0, 0, ""}, proc{5, 1, 0, 0, 0, ""})
	os.Chmod(f.fs.Proc+"/3/stat", 0)
	s := f.open(0)
	if os.Getuid() == 0 {
		runtime.LockOSThread() // the thread ends with the test
		unix.Setfsuid(65534)   // and with it the right to read everything
		defer unix.Setfsuid(0)
	}
	f.opened(s)
	if s.Denied() != 1 || s.Len() != 2 {
		t.Errorf("%d denied, %d seen; want 1 and 2", s.Denied(), s.Len())
	}
	if os.Getuid() == 0 {
		unix.Setfsuid(0)
	}
	os.Chmod(f.fs.Proc+"/3/stat", 0o644)
	for range recheck {
		f.opened(s)
	}
	if s.Denied() != 0 || s.Len() != 3 {
		t.Errorf("afterwards %d denied, %d seen; want 0 and 3", s.Denied(), s.Len())
	}
}

// opened reads and ignores what was used.
func (f *fake) opened(s *Source) {
	var u workload.Usage
	if err := s.Read(f.t.Context(), &u); err != nil {
		f.t.Fatal(err)
	}
}

func TestShortChildrenAreTheirParents(t *testing.T) {
	f := newFake(t)
	f.put(proc{1, 0, 0, 1000, 0, ""}, proc{10, 1, 0, 300, 0, "make"}, proc{11, 1, 0, 0, 0, "burn"})
	s := f.open(100)
	f.read(s)
	// Children of 10 used 0.5 s in all; nobody saw one of them.
	f.put(proc{10, 1, 0, 350, 0, "make"}, proc{11, 1, 50, 0, 0, "burn"})
	expect(t, "unseen", f.read(s), "11<1 500ms", "children of 10 500ms")
	// One that is seen is told as itself ...
	f.put(proc{12, 10, 40, 0, f.tick + 1, "cc"})
	expect(t, "seen", f.read(s), "12<10 400ms new")
	// ... and its parent's count has it once more when it ends: only the last 0.1 s is news.
	f.end(12)
	f.put(proc{10, 1, 0, 400, 0, "make"})
	expect(t, "ended", f.read(s), "12<10 0s ended", "children of 10 100ms")
	// It goes after its parent was read: the count comes a tick later.
	f.put(proc{13, 10, 40, 0, f.tick + 1, "cc"})
	f.read(s)
	f.end(13)
	expect(t, "ended late", f.read(s), "13<10 0s ended")
	f.put(proc{10, 1, 0, 445, 0, "make"})
	expect(t, "counted late", f.read(s), "children of 10 50ms")
	// A process that has just come had children as well.
	f.put(proc{14, 1, 5, 30, f.tick + 1, "sh"})
	expect(t, "new parent", f.read(s), "14<1 50ms new", "children of 14 300ms")
}

func TestOrphansDoNotMakeASpike(t *testing.T) {
	f := newFake(t)
	f.put(proc{1, 0, 0, 0, 0, "init"}, proc{10, 1, 0, 0, 0, "sshd"}, proc{20, 10, 100, 0, 0, "bash"}, proc{21, 20, 100_000, 0, 0, "burn"})
	s := f.open(100)
	f.read(s)
	f.put(proc{21, 20, 100_050, 0, 0, "burn"})
	expect(t, "burn", f.read(s), "21<20 500ms")
	// Both end in one tick. Sshd waits for bash; init adopted burn and waited
	// for it: 1000 s that were told long ago, and 0.2 s that were not.
	f.end(20, 21)
	f.put(proc{1, 0, 0, 100_070, 0, "init"}, proc{10, 1, 0, 100, 0, "sshd"})
	expect(t, "end", f.read(s), "20<10 0s ended", "21<20 0s ended", "children of 1 200ms")
	// Both end, bash waited first: sshd's count has the time of both.
	f.put(proc{30, 10, 100, 0, f.tick + 1, "bash"}, proc{31, 30, 50, 0, f.tick + 1, "cc"})
	f.read(s)
	f.end(30, 31)
	f.put(proc{10, 1, 0, 100 + 160, 0, "sshd"})
	expect(t, "a family ends", f.read(s), "31<30 0s ended", "30<10 0s ended", "children of 10 100ms")
}

func TestManyProcessesAreBoundedAndQuiet(t *testing.T) {
	const n = 100_000
	if testing.Short() {
		t.Skip("skipped: 100,000 files in short mode")
	}
	f := newFake(t)
	f.put(proc{1, 0, 5, 0, 0, "p"})
	for pid := 2; pid <= n; pid++ {
		os.Symlink("1", fmt.Sprintf("%s/%d", f.fs.Proc, pid))
	}
	s := f.open(500)
	if got := f.read(s); len(got) != n {
		t.Fatalf("%d processes, want %d", len(got), n)
	}
	if s.open != 500 {
		t.Errorf("%d descriptors are open, want no more than 500", s.open)
	}
	if got := f.read(s); len(got) != 0 {
		t.Errorf("%d tasks in a quiet tick", len(got))
	}
}

func TestSteadyReadAllocatesNothing(t *testing.T) {
	f := newFake(t)
	for pid := range 200 {
		f.put(proc{pid + 1, 0, pid, 0, 0, fmt.Sprint("p", pid)})
	}
	s := f.open(1000)
	var u workload.Usage
	for range 3 {
		u.Reset()
		s.Read(t.Context(), &u)
	}
	if n := testing.AllocsPerRun(100, func() {
		u.Reset()
		s.Read(t.Context(), &u)
	}); n != 0 || s.Len() != 200 {
		t.Errorf("%v allocations for %d processes", n, s.Len())
	}
}

func TestLimits(t *testing.T) {
	f := newFake(t)
	if err := Limits(f.fs.Proc); err != nil {
		t.Errorf("no kernel's procfs: %v", err)
	}
	os.MkdirAll(f.fs.Proc+"/self/ns", 0o755)
	link := f.fs.Proc + "/self/ns/pid"
	os.Symlink("pid:[4026531836]", link)
	if err := Limits(f.fs.Proc); err == nil || !strings.Contains(err.Error(), "hidepid") {
		t.Errorf("nobody is visible: %v", err)
	}
	f.put(proc{1, 0, 0, 0, 0, "init"})
	if err := Limits(f.fs.Proc); err != nil {
		t.Errorf("the first namespace: %v", err)
	}
	os.Remove(link)
	os.Symlink("pid:[4026532000]", link)
	if err := Limits(f.fs.Proc); err == nil || !strings.Contains(err.Error(), "namespace") {
		t.Errorf("a container's procfs: %v", err)
	}
	f.write("2/stat", "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 0 0 0 0\n")
	if err := Limits(f.fs.Proc); err != nil {
		t.Errorf("the host's procfs in a container: %v", err)
	}
}
