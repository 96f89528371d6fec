package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exit codes for commands that were never run, as those of env(1) and the shell.
const (
	exitOwnFailure   = 125
	exitNotRunnable  = 126
	exitNotFound     = 127
	exitSignalOffset = 128
)

// child is the command that is measured.
type child struct {
	cmd  *exec.Cmd
	cage *cage // nil: its tree is followed by parent
	done chan struct{}
	err  error // of Wait; for reading after done
}

// findCommand returns the path of a command, or an error with the exit code of a shell.
func findCommand(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	code := exitNotFound
	if errors.Is(err, fs.ErrPermission) {
		code = exitNotRunnable
	}
	if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err // which names it as well
	}
	return "", &exitError{code, fmt.Errorf("find %q: %w", name, err)}
}

// startChild starts the program at path with this process's standard streams.
func startChild(p *process, path string, argv []string, c *cage) (*child, error) {
	//nolint:noctx // the command ends by itself or by a signal that is passed on
	cmd := exec.Command(path, argv[1:]...)
	cmd.Args[0] = argv[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = p.stdin, p.stdout, p.stderr, p.env
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	start := cmd.Start
	if c != nil {
		start = func() error { return c.start(cmd.SysProcAttr, cmd.Start) }
	}
	if err := start(); err != nil {
		return nil, &exitError{exitNotRunnable, fmt.Errorf("start %q: %w", argv[0], err)}
	}
	return &child{cmd: cmd, cage: c, done: make(chan struct{})}, nil
}

// wait waits for the command on a goroutine of its own, which ends with it.
func (c *child) wait() {
	go func() {
		defer close(c.done)
		c.err = c.cmd.Wait()
	}()
}

// exitCode returns the command's exit code as a shell would give it.
func (c *child) exitCode() int {
	state := c.cmd.ProcessState
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitSignalOffset + int(status.Signal())
	}
	return state.ExitCode()
}

// cpu returns the CPU time of the command and of those it waited for.
func (c *child) cpu() time.Duration {
	return c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
}

// forwarded are the signals that are meant for the command when they are sent to us.
func forwarded() []os.Signal {
	return []os.Signal{
		unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP,
		unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGCONT, unix.SIGWINCH,
	}
}

// forward passes signals on to the command until it has ended. What a terminal
// sends, it sends to the whole foreground process group: the command has it already.
func (c *child) forward(ctx context.Context, signals <-chan os.Signal) {
	stop := ctx.Done()
	for {
		select {
		case s := <-signals:
			if fromTerminal(s) {
				continue
			}
			c.signal(s)
		case <-stop:
			c.signal(unix.SIGTERM)
			stop = nil
		case <-c.done:
			return
		}
	}
}

func (c *child) signal(s os.Signal) {
	// The only error is that the command has ended, which done tells as well.
	_ = c.cmd.Process.Signal(s)
}

// fromTerminal reports whether a terminal sends this signal to our process group.
func fromTerminal(s os.Signal) bool {
	if s != unix.SIGINT && s != unix.SIGQUIT && s != unix.SIGWINCH {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false // no controlling terminal
	}
	defer tty.Close() //nolint:errcheck // opened for a question
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// notify subscribes to the signals that are passed on.
func notify() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 16)
	signal.Notify(signals, forwarded()...)
	return signals, func() { signal.Stop(signals) }
}
