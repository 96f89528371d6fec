package bpf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"noether/internal/probe"
	"noether/internal/workload"
)

func timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Minute)
}

// open opens the source on this machine, or skips the test and says why.
func open(t testing.TB, opts Options) *Source {
	t.Helper()
	opts.Proc, opts.Sys = "/proc", "/sys"
	s, err := Open(t.Context(), opts)
	if v := probe.Of("bpf", "", err); v.Status == probe.Forbidden || v.Status == probe.Absent {
		t.Skipf("BPF cannot be used here: %s (%s)", v.Reason, v.Remedy)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.hooks != nil {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// ledger adds up what a source says.
type ledger struct {
	t    testing.TB
	s    *Source
	u    workload.Usage
	cpu  map[uint32]time.Duration // by pid
	born map[uint32]time.Duration // of processes born and dead between reads, by parent
	last map[uint32]workload.TaskUsage
}

func newLedger(t testing.TB, s *Source) *ledger {
	l := &ledger{t: t, s: s, cpu: map[uint32]time.Duration{}, born: map[uint32]time.Duration{}, last: map[uint32]workload.TaskUsage{}}
	l.read()
	clear(l.cpu)
	return l
}

func (l *ledger) read() {
	l.t.Helper()
	l.u.Reset()
	if err := l.s.Read(l.t.Context(), &l.u); err != nil {
		l.t.Fatal(err)
	}
	for _, task := range l.u.Tasks {
		if task.Slot < 0 {
			l.born[task.Parent] += task.CPU
			continue
		}
		l.cpu[task.PID] += task.CPU
		l.last[task.PID] = task
	}
}

// until reads again and again until ok; exit records come a moment after the exit.
func (l *ledger) until(what string, ok func() bool) {
	l.t.Helper()
	if !l.sees(ok) {
		l.t.Fatalf("never saw %s", what)
	}
}

func (l *ledger) sees(ok func() bool) bool {
	l.t.Helper()
	for range 2000 {
		l.read()
		if ok() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// retried runs f until it finds nothing wrong, three times at most. Some
// virtual machines have an agent that is hidden from BPF: of a process that the
// kernel frees in an interrupt of such an agent there is no record, one in some
// hundreds. What the source itself loses is lost every time.
func retried(t *testing.T, f func() error) {
	t.Helper()
	var err error
	for range 3 {
		if err = f(); err == nil {
			return
		}
		t.Log(err)
	}
	t.Error(err)
}

func (l *ledger) ended(pid int) func() bool {
	return func() bool { return l.last[uint32(pid)].State&workload.Ended != 0 }
}

func rusage(cmd *exec.Cmd) time.Duration {
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// within reports whether got is want within a part of it and a scheduler tick.
func within(got, want time.Duration, part float64) bool {
	d := got - want
	return d.Abs() <= time.Duration(part*float64(want))+4*time.Millisecond
}

func TestABurnerIsCreditedWhatItUsed(t *testing.T) {
	for _, rung := range []string{RungSyscall, RungIter} {
		for _, threads := range []string{"1", "8"} {
			t.Run(rung+" threads "+threads, func(t *testing.T) {
				l := newLedger(t, open(t, Options{Rung: rung}))
				retried(t, func() error {
					cmd := role(t, "burn", threads, "100")
					if err := cmd.Start(); err != nil {
						t.Fatal(err)
					}
					for range 5 {
						time.Sleep(10 * time.Millisecond)
						l.read()
					}
					if err := cmd.Wait(); err != nil {
						t.Fatal(err)
					}
					l.until("its end", l.ended(cmd.Process.Pid))
					if got := l.last[uint32(cmd.Process.Pid)]; got.Parent != uint32(os.Getpid()) {
						t.Errorf("parent is %d, want %d", got.Parent, os.Getpid())
					}
					if got, want := l.cpu[uint32(cmd.Process.Pid)], rusage(cmd); !within(got, want, 0.02) {
						return fmt.Errorf("credited %v, rusage says %v", got, want)
					}
					return nil
				})
			})
		}
	}
}

func TestBornAndDeadBetweenReads(t *testing.T) {
	for _, opts := range []Options{{Rung: RungSyscall}, {Rung: RungIter}, {HooksOnly: true}} {
		t.Run(fmt.Sprintf("rung=%s,hooks=%t", opts.Rung, opts.HooksOnly), func(t *testing.T) {
			l := newLedger(t, open(t, opts))
			l.read() // hooks alone need one more to know what is young
			retried(t, func() error {
				clear(l.born)
				cmd := role(t, "burn", "1", "100")
				if err := cmd.Run(); err != nil {
					t.Fatal(err)
				}
				if opts.HooksOnly {
					graceOver(t)
				}
				me := uint32(os.Getpid())
				if !l.sees(func() bool { return l.born[me] > 0 }) {
					return errors.New("no record of it")
				}
				if got := l.cpu[uint32(cmd.Process.Pid)]; got != 0 {
					t.Errorf("credited %v to the process as well", got)
				}
				if got, want := l.born[me], rusage(cmd); !within(got, want, 0.02) {
					return fmt.Errorf("credited %v, rusage says %v", got, want)
				}
				return nil
			})
			if opts.HooksOnly == l.u.HasTasks {
				t.Errorf("HasTasks is %t", l.u.HasTasks)
			}
		})
	}
}

// graceOver waits until the kernel has freed the processes that have ended.
func graceOver(t *testing.T) {
	for range 3 { // each waits for an RCU grace period, membarrier(2)
		if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, 1, 0, 0); errno != 0 {
			t.Skipf("membarrier: %v", errno)
		}
	}
	time.Sleep(100 * time.Millisecond) // for the callbacks after it
}

// A shell that forks as fast as it can: no child lives to be listed.
func TestAForkStormIsCredited(t *testing.T) {
	for _, rung := range []string{RungSyscall, RungIter} {
		t.Run(rung, func(t *testing.T) {
			const forks = 4000
			l := newLedger(t, open(t, Options{Rung: rung}))
			script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do (:); i=$((i+1)); done", forks)
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
			start := time.Now()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error)
			go func() { done <- cmd.Wait() }()
			for running := true; running; {
				select {
				case err := <-done:
					if err != nil {
						t.Fatal(err)
					}
					running = false
				case <-time.After(500 * time.Millisecond):
					l.read()
				}
			}
			took := time.Since(start)
			sh := uint32(cmd.Process.Pid)
			me := uint32(os.Getpid()) // of a shell so fast that no read saw it, the time is here
			l.until("its end", func() bool { return l.ended(int(sh))() || l.born[me] > 0 })
			for range 5 { // records of the last children
				time.Sleep(30 * time.Millisecond)
				l.read()
			}
			got := l.cpu[sh] + l.born[sh] + l.born[me]
			for pid, task := range l.last {
				if task.Parent == sh && pid != sh {
					got += l.cpu[pid]
				}
			}
			want := rusage(cmd)
			share := float64(got) / float64(want)
			t.Logf("%.0f processes per second: credited %v of %v, %.2f %%; %d dropped", forks/took.Seconds(), got, want, 100*share, l.u.Dropped)
			if share < 0.99 || share > 1.02 {
				t.Errorf("credited %.2f %% of the CPU time, want 99 to 102 %%", 100*share)
			}
			if l.u.Dropped != 0 {
				t.Errorf("%d exits dropped", l.u.Dropped)
			}
		})
	}
}

func TestNames(t *testing.T) {
	l := newLedger(t, open(t, Options{Residency: true}))
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "read x; exec sleep 100")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := uint32(cmd.Process.Pid)
	task := func() workload.TaskUsage { return l.last[pid] }
	name := func() string { c := task().Comm; s, _, _ := strings.Cut(string(c[:]), "\x00"); return s }
	l.until("sh", func() bool { return name() == "sh" })
	l.until("its resident memory", func() bool { return task().RSS > 0 })
	slot, start := task().Slot, task().Start
	fmt.Fprintln(stdin)
	l.until("sleep", func() bool { return name() == "sleep" })
	if task().State != workload.Renamed || task().Slot != slot || task().Start != start {
		t.Errorf("after exec: %+v, want the same process in slot %d, renamed", task(), slot)
	}
	cmd.Process.Kill()
	cmd.Wait()
	l.until("its end", l.ended(int(pid)))
	if task().Slot != slot {
		t.Errorf("it ended in slot %d, want %d", task().Slot, slot)
	}
}

// recorder is a Places that notes what it is told.
type recorder struct {
	place  workload.Place
	group  workload.Group
	asked  map[[2]uint64]int
	made   map[string]uint64
	gone   map[uint64]bool
	early  bool // asked for a cgroup after it was told to be gone
	v1Made map[string]uint64
}

func newRecorder() *recorder {
	return &recorder{asked: map[[2]uint64]int{}, made: map[string]uint64{}, v1Made: map[string]uint64{}, gone: map[uint64]bool{}}
}

func (r *recorder) ByIDs(_ uint32, v2, v1, _ uint64) (*workload.Place, *workload.Group) {
	r.asked[[2]uint64{v2, v1}]++
	r.early = r.early || r.gone[v2]
	return &r.place, &r.group
}

func (r *recorder) Made(v1 bool, id uint64, path string) {
	if v1 {
		r.v1Made[path] = id
		return
	}
	r.made[path] = id
}

func (r *recorder) Gone(v1 bool, id uint64) {
	if !v1 {
		r.gone[id] = true
	}
}

func unifiedRoot(t *testing.T) string {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
			return dir
		}
	}
	t.Skip("no unified cgroup hierarchy is mounted here")
	return ""
}

func inode(t *testing.T, dir string) uint64 {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// A cgroup that is made, runs something and is removed between two reads has
// a name by the time its process is looked up.
func TestACgroupThatLivesBetweenReads(t *testing.T) {
	places := newRecorder()
	s := open(t, Options{Places: places})
	l := newLedger(t, s)
	name := fmt.Sprintf("noether-test-%d", os.Getpid())
	dir := filepath.Join(unifiedRoot(t), name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no cgroup can be made here: %v", err)
	}
	id := inode(t, dir)
	fd, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := role(t, "burn", "1", "20")
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(fd.Fd())
	runErr := cmd.Run()
	fd.Close()
	for range 100 { // the cgroup is busy until the kernel has let go of the process
		if err = os.Remove(dir); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil || runErr != nil {
		t.Fatal(errors.Join(err, runErr))
	}
	asked := func() (n int) {
		for k, times := range places.asked {
			if k[0] == id {
				n += times
			}
		}
		return n
	}
	l.until("the process", func() bool { return asked() > 0 })
	if places.made["/"+name] != id {
		t.Errorf("told of %v, want /%s with id %d", places.made, name, id)
	}
	l.until("the end of the cgroup", func() bool { return places.gone[id] })
	graceOver(t)
	l.read()
	if places.early {
		t.Error("a process was looked up after its cgroup was told to be gone")
	}
	if asked() != 1 {
		t.Errorf("looked up %d times, want once", asked())
	}
}

func TestHybridHostsGiveTheCpuacctID(t *testing.T) {
	const root = "/sys/fs/cgroup/cpuacct"
	places := newRecorder()
	s := open(t, Options{Places: places})
	if s.facts.host.cpuacct < 0 {
		t.Skip("cpuacct is not a v1 hierarchy here")
	}
	l := newLedger(t, s)
	dir := filepath.Join(root, fmt.Sprintf("noether-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no cgroup can be made here: %v", err)
	}
	defer os.Remove(dir)
	id := inode(t, dir)
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "echo $$ > "+dir+"/cgroup.procs; read x")
	stdin, _ := cmd.StdinPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.until("a process in it", func() bool {
		for k := range places.asked {
			if k[1] == id {
				return true
			}
		}
		return false
	})
	if got := places.v1Made["/"+filepath.Base(dir)]; got != id {
		t.Errorf("told of id %d, want %d", got, id)
	}
	stdin.Close()
	cmd.Wait()
}

// What is told of cgroups is what their files say, as of the last time that
// somebody read those at the top.
func TestCountsAreThoseOfTheFiles(t *testing.T) {
	root := unifiedRoot(t)
	s := open(t, Options{Rung: RungSyscall})
	if !s.Counts() {
		t.Skip("this kernel has no iterator over cgroups: use Linux 6.7 or newer")
	}
	read := func() map[uint64]time.Duration {
		got := map[uint64]time.Duration{}
		if err := s.Count(func(id uint64, cpu time.Duration) { got[id] = cpu }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	base := filepath.Join(root, fmt.Sprintf("noether-test-%d", os.Getpid()))
	inner := filepath.Join(base, "inner")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Skipf("no cgroup can be made here: %v", err)
	}
	innerID, baseID := inode(t, inner), inode(t, base)
	fd, err := os.Open(inner)
	if err != nil {
		t.Fatal(err)
	}
	cmd := role(t, "burn", "1", "20")
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(fd.Fd())
	if err := errors.Join(cmd.Run(), fd.Close()); err != nil {
		t.Fatal(err)
	}
	stat := func(dir string) time.Duration {
		text, err := os.ReadFile(dir + "/cpu.stat")
		if err != nil {
			t.Fatal(err)
		}
		var micro int64
		if _, err := fmt.Sscanf(string(text), "usage_usec %d", &micro); err != nil {
			t.Fatal(err)
		}
		return time.Duration(micro) * time.Microsecond
	}
	var diff string
	for range 100 { // a process that has ended still runs for a moment
		outer := stat(base) // which has the kernel add up what is below
		got := read()
		want := []time.Duration{outer, stat(inner)}
		if diff = cmp.Diff(want, []time.Duration{got[baseID].Truncate(time.Microsecond), got[innerID].Truncate(time.Microsecond)}); diff == "" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if diff != "" {
		t.Errorf("the files say (-), told was (+):\n%s", diff)
	}
	if used := read()[innerID]; used < 20*time.Millisecond {
		t.Errorf("%v were used, want at least 20ms", used)
	}
	for _, dir := range []string{inner, base} {
		for range 100 { // it is busy until the kernel has let go of the process
			if err = os.Remove(dir); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	after := read()
	if _, ok := after[innerID]; ok {
		t.Error("a cgroup that is gone is still told of")
	}
	if _, ok := after[baseID]; ok {
		t.Error("a cgroup that is gone is still told of")
	}
	if allocs := testing.AllocsPerRun(5, func() {
		if err := s.Count(func(uint64, time.Duration) {}); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations per Count, want 0", allocs)
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	for _, opts := range []Options{{Rung: RungSyscall}, {Rung: RungIter}, {HooksOnly: true}} {
		opts.Places = newRecorder()
		s := open(t, opts)
		var u workload.Usage
		read := func() {
			u.Reset()
			if err := s.Read(t.Context(), &u); err != nil {
				t.Fatal(err)
			}
		}
		read()
		// Other processes may start meanwhile and cost a map entry: the best
		// of several runs shows what Read itself needs.
		best := 1e9
		for range 10 {
			best = min(best, testing.AllocsPerRun(5, read))
		}
		if best != 0 {
			t.Errorf("%s: %v allocations per Read, want 0", s.Rung(), best)
		}
	}
}

func descriptors(t *testing.T) int {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// mappings counts mapped BPF maps. The library unmaps its own when they are garbage.
func mappings(t *testing.T) int {
	for range 3 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), "anon_inode:bpf-map")
}

func TestNothingIsLeftOpen(t *testing.T) {
	use := func(opts Options) {
		s := open(t, opts)
		var u workload.Usage
		if err := s.Read(t.Context(), &u); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Read(t.Context(), &u); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
	}
	use(Options{})
	fds, maps := descriptors(t), mappings(t)
	for range 3 {
		use(Options{Rung: RungSyscall})
		use(Options{Rung: RungIter})
		use(Options{HooksOnly: true})
	}
	if got := descriptors(t); got != fds {
		t.Errorf("%d descriptors open, %d before", got, fds)
	}
	if got := mappings(t); got != maps {
		t.Errorf("%d BPF maps mapped, %d before", got, maps)
	}
}

func TestTheListGrows(t *testing.T) {
	s := open(t, Options{Rung: RungSyscall})
	l, err := newLoader(s.facts.host, false)
	if err != nil {
		t.Fatal(err)
	}
	small, err := l.arrayWalker(s.hooks.state, 4)
	if err != nil {
		t.Fatal(err)
	}
	s.walker.close()
	s.walker = small
	var u workload.Usage
	if err := s.Read(t.Context(), &u); err != nil {
		t.Fatal(err)
	}
	procs, err := countProcesses("/proc")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.facts.coverage(s.listed, procs, s.kernel); err != nil {
		t.Error(err)
	}

	s.opts.MaxTasks = 5
	if s.walker, err = l.arrayWalker(s.hooks.state, 4); err != nil {
		t.Fatal(err)
	}
	small.close()
	if err := s.Read(t.Context(), &u); err == nil || !strings.Contains(err.Error(), "more than the limit of 5") {
		t.Errorf("with more processes than MaxTasks: %v", err)
	}
}

func TestALostDescriptorIsAnErrorAtOnce(t *testing.T) {
	for _, rung := range []string{RungSyscall, RungIter} {
		s := open(t, Options{Rung: rung})
		var u workload.Usage
		if err := s.Read(t.Context(), &u); err != nil {
			t.Fatal(err)
		}
		switch w := s.walker.(type) {
		case *arrayWalker:
			w.prog.Close()
		case *fileWalker:
			w.iter.Close()
		}
		u.Reset()
		if err := s.Read(t.Context(), &u); err == nil || len(u.Tasks) != 0 {
			t.Errorf("%s: Read gave %d tasks and error %v", rung, len(u.Tasks), err)
		}
	}
}

// The rung for kernels without bpf_loop lists and counts like the others.
func TestTheBoundedList(t *testing.T) {
	s := open(t, Options{Rung: RungIter})
	l, err := newLoader(s.facts.host, false)
	if err != nil {
		t.Fatal(err)
	}
	s.walker.close()
	if s.walker, err = l.fileWalker(s.hooks.state, tasksProgListBounded); err != nil {
		t.Fatal(err)
	}
	book := newLedger(t, s)
	cmd := role(t, "burn", "8", "40")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	me := uint32(cmd.Process.Pid)
	book.until("its threads at work", func() bool { return book.cpu[me] > 160*time.Millisecond })
	if book.last[me].State&workload.Ended != 0 {
		t.Error("it was seen only when it had ended")
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	book.until("its end", book.ended(int(me)))
	if got, want := book.cpu[me], rusage(cmd); !within(got, want, 0.02) {
		t.Errorf("credited %v, rusage says %v", got, want)
	}
}

// Exits for which there is no room are counted, and their processes end all the same.
func TestExitsWithoutRoom(t *testing.T) {
	l := newLedger(t, open(t, Options{exitRoom: 4}))
	var sleepers []*exec.Cmd
	for range 20 {
		cmd := exec.CommandContext(t.Context(), "/bin/sleep", "100")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		sleepers = append(sleepers, cmd)
	}
	l.read()
	for _, cmd := range sleepers {
		cmd.Process.Kill()
		cmd.Wait()
	}
	graceOver(t)
	l.read()
	if got := l.u.Dropped; got < 10 {
		t.Errorf("%d exits dropped, want at least 10 of 20 with room for 4", got)
	}
	l.until("the end of all", func() bool {
		for _, cmd := range sleepers {
			if !l.ended(cmd.Process.Pid)() {
				return false
			}
		}
		return true
	})
}
