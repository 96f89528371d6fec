package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBPFIsTakenAway takes the agent's BPF programs away while it runs, as a
// loss of privileges would: it must say so, go on with the next source, and
// lose no balance.
func TestBPFIsTakenAway(t *testing.T) {
	needRoot(t)
	g := newGroup(t, anyVersion(t))
	a := start(t, "--interval", "500ms", "--usage", "auto", "--processes", "all")
	source := func(p *page) string {
		info := p.find("noether_node_info")
		if len(info) != 1 {
			t.Fatalf("noether_node_info is %v", info)
		}
		return info[0].Labels["usage"]
	}
	if first := source(a.next()); !strings.HasPrefix(first, "bpf") {
		t.Skipf("BPF does not work on this machine: the source is %q", first)
	}
	defer g.play("burn")()
	a.skip(2)
	lines := len(a.log.String())
	n := spoil(t, a.cmd.Process.Pid, "bpf-prog")
	if n == 0 {
		t.Skip("the agent keeps no BPF program open")
	}
	a.await("another source", func() bool { return !strings.HasPrefix(source(a.scrape()), "bpf") })
	before := a.next()
	after := a.skip(4)
	credited := after.value("noether_unit_cpu_seconds_total", "unit", g.unit) - before.value("noether_unit_cpu_seconds_total", "unit", g.unit)
	if credited <= 0 {
		t.Errorf("the burner is not credited by %s", source(after))
	}
	if len(after.find("noether_process_joules_total")) == 0 {
		t.Errorf("there is no process any more under %s", source(after))
	}
	said := a.log.String()[lines:]
	if !strings.Contains(said, "usage") {
		t.Errorf("nothing was said about it:\n%s", said)
	}
	t.Logf("%d programs taken away; now %s; said:\n%s", n, source(after), said)
}

// spoil replaces the descriptors of a process that point at what by its
// standard input, with ptrace(2), and returns how many there were. The
// numbers stay in use, so that closing them later does no harm.
func spoil(t *testing.T, pid int, what string) (n int) {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var fds []uint64
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.Contains(to, what) {
			fd, err := strconv.ParseUint(e.Name(), 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, fd)
		}
	}
	for _, fd := range fds {
		for try := 0; ; try++ {
			err := inject(pid, unix.SYS_DUP2, 0, fd)
			if err == nil {
				break
			}
			if try == 200 {
				t.Skipf("take descriptor %d away: %v", fd, err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return len(fds)
}

// inject makes a process do a system call. Its main thread must be waiting in one.
func inject(pid int, nr, a0, a1 uint64) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.PtraceAttach(pid); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, syscall.PtraceDetach(pid)) }()
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, syscall.WALL, nil); err != nil {
		return err
	}
	var old, call syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(pid, &old); err != nil {
		return err
	}
	var code [2]byte
	if _, err := syscall.PtracePeekText(pid, uintptr(old.Rip-2), code[:]); err != nil {
		return err
	}
	if code != [2]byte{0x0f, 0x05} {
		return errors.New("the main thread is not in a system call")
	}
	call = old
	call.Rip, call.Rax, call.Orig_rax = old.Rip-2, nr, ^uint64(0)
	call.Rdi, call.Rsi = a0, a1
	if err := syscall.PtraceSetRegs(pid, &call); err != nil {
		return err
	}
	if err := syscall.PtraceSingleStep(pid); err != nil {
		return err
	}
	if _, err := syscall.Wait4(pid, &status, syscall.WALL, nil); err != nil {
		return err
	}
	var result syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(pid, &result); err != nil {
		return err
	}
	// The interrupted call must not be started anew in the middle: it says EINTR.
	if int64(old.Rax) < 0 && int64(old.Rax) > -4096 {
		old.Rax = ^uint64(unix.EINTR) + 1
	}
	old.Orig_rax = ^uint64(0)
	if err := syscall.PtraceSetRegs(pid, &old); err != nil {
		return err
	}
	if int64(result.Rax) < 0 {
		return syscall.Errno(-int64(result.Rax))
	}
	return nil
}
