// Command load is what runs beside the agent in a guest: a process that uses
// CPU time on several threads, and one that starts a program as a user.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1) //nolint:forbidigo // it is a command
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "burn":
		return burn(args[1], args[2])
	case len(args) > 2 && args[0] == "as":
		return as(args[1], args[2:])
	}
	return errors.New("usage: load burn THREADS DURATION | load as UID PROGRAM [ARGUMENT]")
}

func burn(threads, duration string) error {
	n, err := strconv.Atoi(threads)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(duration)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(n)
	ctx, stop := context.WithTimeout(context.Background(), d)
	defer stop()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			runtime.LockOSThread()
			for ctx.Err() == nil {
			}
		})
	}
	wg.Wait()
	return nil
}

func as(user string, command []string) error {
	uid, err := strconv.Atoi(user)
	if err != nil {
		return err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setresgid(uid, uid, uid); err != nil {
		return err
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return err
	}
	return syscall.Exec(path, command, os.Environ())
}
