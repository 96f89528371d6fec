package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// holder names the process that Hold runs in.
const holder = Dir + "/holder"

// Hold starts a cluster, calls ready, keeps it until ctx ends, and ends it.
// End, in another process, has the same effect as the end of ctx if this
// process ends ctx at SIGTERM.
func Hold(ctx context.Context, options Options, ready func(*Cluster)) error {
	c, err := Start(ctx, options)
	if err != nil {
		return err
	}
	id, err := identify(os.Getpid())
	if err == nil {
		err = os.WriteFile(holder, []byte(id), 0o644)
	}
	if err != nil {
		return errors.Join(err, c.Down(ctx))
	}
	ready(c)
	<-ctx.Done()
	return c.Down(context.WithoutCancel(ctx))
}

// End ends the cluster that another process holds, or cleans up after one that
// was killed. A cluster that a test started is an error: the test ends it.
func End(ctx context.Context) error {
	if pid, ok := alive(holder); ok {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return fmt.Errorf("end process %d, which holds the cluster: %w", pid, err)
		}
		if err := poll(ctx, 100*time.Millisecond, func() error {
			if _, ok := alive(holder); ok {
				return fmt.Errorf("process %d, which holds the cluster, does not end", pid)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	unlock, err := lock(ctx, lockFile, os.Stderr)
	if err != nil {
		return fmt.Errorf("%w; if it is a test, it ends its cluster itself", err)
	}
	defer unlock()
	return clean(ctx)
}

// EnterArgs returns the command line that runs another one inside the cluster
// that runs on this machine, and the environment that it needs.
func EnterArgs(tools Tools, argv []string) (args, env []string, err error) {
	pid, ok := alive(filepath.Join(Dir, "run", Etcd))
	if !ok {
		return nil, nil, errors.New("no cluster runs on this machine: make cluster-up starts one")
	}
	args = append([]string{"nsenter", "--target", strconv.Itoa(pid), "--net", "--mount", "--"}, argv...)
	return args, []string{"KUBECONFIG=" + AdminKubeconfig, "PATH=" + tools.Dir + ":" + os.Getenv("PATH")}, nil //nolint:forbidigo // programs are found in it
}
