package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"noether/internal/linux/cgroup"
)

// roleVariable makes the test binary play a workload instead of testing.
const roleVariable = "E2E_ROLE"

// play is the main function of workloads: a role and its argument.
func play(role string) int {
	name, arg, _ := strings.Cut(role, " ")
	switch name {
	case "burn": // for ever
		work(1 << 62)
	case "named": // for ever, under any name
		raw := append([]byte(arg), 0)
		if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&raw[0])), 0, 0, 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		work(1 << 62)
	case "spend": // this much CPU time
		d, err := time.ParseDuration(arg)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		work(d)
	case "take-away": // descriptors of a process
		pid, what, _ := strings.Cut(arg, " ")
		id, err := strconv.Atoi(pid)
		if err == nil {
			var n int
			if n, err = takeAway(id, what); err == nil && n == 0 {
				err = errors.New("there are none")
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	case "chain": // children one after another, each with this much CPU time
		for {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = []string{roleVariable + "=spend " + arg, "GOMAXPROCS=1"}
			if err := cmd.Run(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
	}
	return 0
}

// sink keeps the compiler from removing work.
var sink atomic.Uint64

func work(d time.Duration) {
	var x uint64 = 88172645463325252
	for {
		for range 100_000 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		sink.Store(x)
		var ts unix.Timespec
		if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts) == nil && time.Duration(ts.Nano()) >= d {
			return
		}
	}
}

// group is a real cgroup of this machine, /noether-e2e-... in its hierarchy.
type group struct {
	t       *testing.T
	dir     string
	unit    string // the label of what runs in it
	counter string // file
	v1      bool
}

// hierarchies returns the cgroup mounts of this machine that count CPU time.
func hierarchies() map[string]string {
	found := map[string]string{}
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
			found["v2"] = dir
		}
	}
	for _, dir := range []string{"/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/cpu,cpuacct"} {
		if _, err := os.Stat(filepath.Join(dir, "cpuacct.usage")); err == nil {
			found["v1"] = dir
		}
	}
	return found
}

var groups atomic.Int64

func newGroup(t *testing.T, version string) *group {
	t.Helper()
	needRoot(t)
	mount, ok := hierarchies()[version]
	if !ok {
		t.Skipf("this machine has no cgroup %s hierarchy that counts CPU time", version)
	}
	if v1 := hierarchies()["v1"]; version == "v2" && v1 != "" && !cgroup.OnlySlices(cgroup.Hierarchy{Dir: v1}) {
		t.Skipf("%s has cgroups of its own: an agent on this hybrid machine reads the counters there, not those of v2", v1)
	}
	name := fmt.Sprintf("noether-e2e-%d-%d", os.Getpid(), groups.Add(1))
	g := &group{t: t, dir: filepath.Join(mount, name), unit: "/" + name, v1: version == "v1"}
	g.counter = filepath.Join(g.dir, "cpu.stat")
	if g.v1 {
		g.counter = filepath.Join(g.dir, "cpuacct.usage")
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if err := os.Remove(g.dir); err == nil || errors.Is(err, fs.ErrNotExist) {
				return
			}
		}
		t.Errorf("cgroup %s cannot be removed", g.dir)
	})
	return g
}

// usage returns the CPU time of everything that ran in the cgroup.
func (g *group) usage() time.Duration {
	g.t.Helper()
	b, err := os.ReadFile(g.counter)
	if err != nil {
		g.t.Fatal(err)
	}
	text, scale := string(b), time.Nanosecond
	if !g.v1 {
		text, scale = strings.TrimPrefix(strings.SplitN(text, "\n", 2)[0], "usage_usec "), time.Microsecond
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		g.t.Fatal(err)
	}
	return time.Duration(n) * scale
}

// run starts a command in the cgroup. The returned function ends it and
// everything it started, and waits for that.
func (g *group) run(env []string, argv ...string) (end func()) {
	g.t.Helper()
	script := `echo $$ >"$0"/cgroup.procs && exec "$@"`
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, g.dir}, argv...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		for deadline := time.Now().Add(patience); g.has(cmd.Process.Pid) && time.Now().Before(deadline); {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			time.Sleep(5 * time.Millisecond)
		}
	}
	g.t.Cleanup(end)
	return end
}

// has reports whether a process of the process group is in the cgroup.
func (g *group) has(pgid int) bool {
	b, err := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
	if err != nil {
		return false
	}
	for f := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil {
			if got, err := unix.Getpgid(pid); err == nil && got == pgid {
				return true
			}
		}
	}
	return false
}

// play starts a role in the cgroup.
func (g *group) play(role string) (end func()) {
	g.t.Helper()
	self, err := os.Executable()
	if err != nil {
		g.t.Fatal(err)
	}
	return g.run([]string{roleVariable + "=" + role, "GOMAXPROCS=1"}, self)
}
