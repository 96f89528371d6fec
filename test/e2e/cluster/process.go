package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is one program of the cluster. Methods are safe for any number of
// goroutines.
type process struct {
	name   string
	argv   []string
	env    []string
	logTo  string
	record string // the file with its identity

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when it ended
}

// start starts the program in the namespaces; its log is appended to.
func (p *process) start(n *namespaces) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return nil
	}
	log, err := os.OpenFile(p.logTo, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()                             //nolint:errcheck // the program has it
	cmd := exec.Command(p.argv[0], p.argv[1:]...) //nolint:noctx // it is ended by stop
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := n.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		defer close(done)
		cmd.Wait() //nolint:errcheck // running tells, and the log
	}()
	id, err := identify(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("start %s: it ended at once: %s", p.name, lastLines(p.logTo, 10))
	}
	return os.WriteFile(p.record, []byte(id), 0o644)
}

func (p *process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ended is an error when the program is not running, with the end of its log.
func (p *process) ended() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return nil
	}
	return fmt.Errorf("%s ended: %s", p.name, lastLines(p.logTo, 10))
}

func (p *process) signal(s os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("%s is not running", p.name)
	}
	return p.cmd.Process.Signal(s)
}

// stop ends the program: it is asked first if it is given any time, then
// killed. It returns when the program has ended.
func (p *process) stop(grace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return
	}
	if grace > 0 {
		p.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it ended by itself
		p.cmd.Process.Signal(syscall.SIGCONT) //nolint:errcheck // it ended by itself
		select {
		case <-p.done:
		case <-time.After(grace): //nolint:forbidigo // a process is given time
		}
	}
	p.cmd.Process.Kill() //nolint:errcheck // it ended by itself
	<-p.done
	os.Remove(p.record) //nolint:errcheck // it names nobody any more
}

// identify names a process beyond doubt: the boot, the pid, and the clock tick
// of its start.
func identify(pid int) (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// proc_pid_stat(5): the name is in brackets and may hold anything; the
	// state is field 3, the start time field 22.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	return fmt.Sprintf("%s %d %s", strings.TrimSpace(string(boot)), pid, fields[19]), nil
}

// alive returns the pid of a recorded process if it still is that process.
func alive(record string) (pid int, ok bool) {
	content, err := os.ReadFile(record)
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(content))
	if len(fields) != 3 {
		return 0, false
	}
	if pid, err = strconv.Atoi(fields[1]); err != nil {
		return 0, false
	}
	now, err := identify(pid)
	return pid, err == nil && now == string(content)
}

// kill kills a process that is not a child of this one and waits until it is
// gone.
func kill(ctx context.Context, pid int) error {
	id, err := identify(pid)
	if err != nil {
		return nil //nolint:nilerr // it is gone
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	return poll(ctx, 10*time.Millisecond, func() error {
		if now, err := identify(pid); err == nil && now == id {
			return fmt.Errorf("process %d does not end", pid)
		}
		return nil
	})
}

// poll calls f until it returns nil or ctx ends; then the error is f's last.
func poll(ctx context.Context, every time.Duration, f func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		if final, ok := errors.AsType[finalError](err); ok {
			return final.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// finalError ends a poll: waiting will not help.
type finalError struct{ error }

// lastLines returns the end of a log.
func lastLines(path string, n int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return filepath.Base(path) + " ends with\n" + strings.Join(lines[max(0, len(lines)-n):], "\n")
}
