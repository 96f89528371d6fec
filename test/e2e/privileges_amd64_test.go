package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	thief := exec.Command(self)
	thief.Env = append(os.Environ(), fmt.Sprintf("%s=take-away %d bpf-prog", roleVariable, a.cmd.Process.Pid))
	if out, err := thief.CombinedOutput(); err != nil {
		t.Skipf("the programs could not be taken away: %v: %s", err, out)
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
	t.Logf("now %s; said:\n%s", source(after), said)
}

// takeAway replaces the descriptors of a process that point at what by its
// standard input, with ptrace(2), and returns how many there were. The
// numbers stay in use, so that closing them later does no harm. It must not
// run in the process's parent, whose wait(2) would see the stops.
func takeAway(pid int, what string) (n int, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || !strings.Contains(to, what) {
			continue
		}
		fd, err := strconv.ParseUint(e.Name(), 10, 32)
		if err != nil {
			return n, err
		}
		for try := 0; ; try++ {
			if err = inject(pid, unix.SYS_DUP2, 0, fd); err == nil {
				break
			}
			if try == 200 {
				return n, err
			}
			time.Sleep(5 * time.Millisecond)
		}
		n++
	}
	return n, nil
}

// stopped waits until the main thread has stopped with SIGTRAP, as it does
// for PTRACE_INTERRUPT and a single step. Signals on the way are passed on.
func stopped(pid int) error {
	for range 2000 {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(pid, &status, syscall.WALL|syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return err
		case got == 0:
			time.Sleep(time.Millisecond)
		case !status.Stopped():
			return errors.New("the process has ended")
		case status.StopSignal() == syscall.SIGTRAP:
			return nil
		default:
			if err := syscall.PtraceCont(pid, int(status.StopSignal())); err != nil {
				return err
			}
			if err := unix.PtraceInterrupt(pid); err != nil {
				return err
			}
		}
	}
	return errors.New("the process does not stop")
}

// inject makes a process do a system call. Its main thread must be waiting in one.
func inject(pid int, nr, a0, a1 uint64) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, syscall.PtraceDetach(pid)) }()
	if err := unix.PtraceInterrupt(pid); err != nil {
		return err
	}
	if err := stopped(pid); err != nil {
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
	if err := stopped(pid); err != nil {
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
