package bpf

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"noether/internal/probe"
	"noether/internal/workload"
)

// Tests start the test binary again in other roles, named by this variable.
const roleVariable = "NOETHER_BPF_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "burn": // argument: threads, milliseconds
		threads, _ := strconv.Atoi(os.Args[1])
		d, _ := strconv.Atoi(os.Args[2])
		burn(threads, time.Duration(d)*time.Millisecond)
	case "open": // argument: rung, and more to see a procfs of its own
		if len(os.Args) > 2 {
			if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		json.NewEncoder(os.Stdout).Encode(tryOpen(os.Args[1]))
	case "spawn": // argument: how many
		n, _ := strconv.Atoi(os.Args[1])
		spawn(n)
	}
}

// burn spends d of CPU time in each of several threads.
func burn(threads int, d time.Duration) {
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			for now, end := threadTime(), threadTime()+d; now < end; now = threadTime() {
			}
		})
	}
	wg.Wait()
}

func threadTime() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}

// spawn forks n processes that sleep until they are killed, says so, and sleeps.
func spawn(n int) {
	for range n {
		pid, _, errno := syscall.RawSyscall(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0)
		if errno != 0 {
			fmt.Println(errno)
			return
		}
		if pid == 0 {
			for {
				syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
}

// verdict is what the role open prints.
type verdict struct {
	Rung   string
	Listed int
	Status string
	Reason string
	Remedy string
}

func tryOpen(rung string) verdict {
	ctx, stop := timeout()
	defer stop()
	s, err := Open(ctx, Options{Proc: "/proc", Sys: "/sys", Rung: rung})
	var u workload.Usage
	if err == nil {
		defer s.Close()
		err = errors.Join(s.Read(ctx, &u), s.Read(ctx, &u))
	}
	v := probe.Of("bpf", "", err)
	out := verdict{Status: v.Status.String(), Reason: v.Reason, Remedy: v.Remedy}
	if err == nil {
		out.Rung, out.Listed = s.Rung(), s.listed
	}
	return out
}

// role prepares the test binary in another role.
func role(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+name)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}
