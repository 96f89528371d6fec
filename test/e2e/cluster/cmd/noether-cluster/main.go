// Command noether-cluster brings a real one-node Kubernetes up and down on
// this machine, for people: tests use the package above it.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"noether/test/e2e/cluster"
)

const usage = `usage: noether-cluster tools [NAME]      build the programs, or one of them; prints the directory
       noether-cluster up                start a cluster, and leave it running
       noether-cluster exec [COMMAND...] run a command in it (a shell): kubectl, helm, curl 10.99.0.1:9090
       noether-cluster down              end it, or clean up after one that was killed`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "noether-cluster:", err)
		os.Exit(1) //nolint:forbidigo // it is a command
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	switch command := args[0]; {
	case command == "tools" && len(args) <= 2:
		tools, err := cluster.FindTools(ctx, args[1:]...)
		if errors.Is(err, cluster.ErrNoTools) {
			err = tools.Build(ctx, os.Stderr)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, tools.Dir)
		return err
	case command == "up" && len(args) == 1:
		return up(ctx, out)
	case command == "hold" && len(args) == 1: // what up leaves running
		signal.Ignore(syscall.SIGPIPE) // up goes when the cluster is there
		return cluster.Hold(ctx, cluster.Options{Log: out}, func(*cluster.Cluster) {
			fmt.Fprintln(out, ready) //nolint:errcheck // up has gone
		})
	case command == "exec":
		tools, err := cluster.FindTools(ctx)
		if err != nil {
			return err
		}
		if len(args) == 1 {
			args = append(args, "bash")
		}
		argv, env, err := cluster.EnterArgs(tools, args[1:])
		if err != nil {
			return err
		}
		path, err := exec.LookPath(argv[0])
		if err != nil {
			return err
		}
		return syscall.Exec(path, argv, append(os.Environ(), env...))
	case command == "down" && len(args) == 1:
		return cluster.End(ctx)
	default:
		return errors.New(usage)
	}
}

const ready = "ready"

// up starts this program again as the cluster's holder and returns when the
// cluster is ready.
func up(ctx context.Context, out io.Writer) error {
	if _, err := cluster.Check(ctx); err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", "hold") //nolint:noctx // it stays
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	lines, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it ended by itself
	})
	defer stop()
	for s := bufio.NewScanner(lines); s.Scan(); {
		if s.Text() == ready {
			_, err := fmt.Fprintln(out, "the cluster is up; its KUBECONFIG is", cluster.AdminKubeconfig)
			return err
		}
		fmt.Fprintln(out, s.Text()) //nolint:errcheck // nothing depends on it
	}
	return fmt.Errorf("the cluster did not start: %w", cmd.Wait())
}
