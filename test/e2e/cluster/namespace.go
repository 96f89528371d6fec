package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespaces is a thread of this process that lives in a network namespace
// and a mount namespace of its own, and starts the cluster's processes there.
// The mount namespace is why nothing has to be unmounted: its mounts end with
// the last process in it. The thread lives as long as the cluster, because the
// kernel kills the processes that it started when it ends (PR_SET_PDEATHSIG).
type namespaces struct {
	jobs chan func()
	net  *os.File // the network namespace, for threads that dial
}

// newNamespaces makes the namespaces and runs setup in them.
func newNamespaces(setup func() error) (*namespaces, error) {
	n := &namespaces{jobs: make(chan func())}
	ready := make(chan error)
	onOwnThread(func() {
		err := n.enter()
		if err == nil {
			err = setup()
		}
		ready <- err
		if err != nil {
			return
		}
		for job := range n.jobs {
			job()
		}
	})
	return n, <-ready
}

func (n *namespaces) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a network and a mount namespace (needs root): %w", err)
	}
	// Mounts of the machine still arrive, none of ours leaves; containers may
	// share what is mounted here.
	for _, flags := range []uintptr{unix.MS_REC | unix.MS_SLAVE, unix.MS_REC | unix.MS_SHARED} {
		if err := unix.Mount("", "/", "", flags, ""); err != nil {
			return fmt.Errorf("keep mounts to the namespace: %w", err)
		}
	}
	var err error
	n.net, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	return err
}

// do runs job on the thread and waits for it.
func (n *namespaces) do(job func()) {
	done := make(chan struct{})
	n.jobs <- func() { defer close(done); job() }
	<-done
}

// start starts cmd in the namespaces. Whoever calls it waits for cmd.
func (n *namespaces) start(cmd *exec.Cmd) (err error) {
	n.do(func() { err = cmd.Start() })
	return err
}

// close ends the thread, and by that every process that is to die with it.
func (n *namespaces) close() {
	close(n.jobs)
	n.net.Close() //nolint:errcheck // a descriptor of a namespace
}

// dial connects from the network namespace. The address must be numeric.
func (n *namespaces) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	done := make(chan struct{})
	onOwnThread(func() {
		defer close(done)
		if err = unix.Setns(int(n.net.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter the cluster's network namespace: %w", err)
			return
		}
		// For a numeric address the socket is made on this very thread.
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
	})
	<-done
	return conn, err
}

// onOwnThread runs f on a thread that ends with it, so that what f changes of
// the thread stays there. It is never the process' first thread: that one does
// not end, and stands for the process in /proc.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		started := make(chan struct{})
		onOwnThread(func() { close(started); f() })
		<-started
		runtime.UnlockOSThread()
	}()
}

// hidden are the directories of the machine that a node uses under fixed
// names. The cluster sees directories of its own there.
func hidden() []string {
	return []string{
		"/run/containerd", "/run/netns", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods",
	}
}

// hideDirs mounts own directories over those of the machine, and makes empty
// ones where there are none: a mount needs a place. made are those, from the
// outermost.
func hideDirs(below string, made func(dir string) error) error {
	for _, dir := range hidden() {
		if _, err := os.Stat(dir); err != nil {
			if err := made(dir); err != nil {
				return err
			}
			if err := os.Mkdir(dir, 0o755); err != nil {
				return fmt.Errorf("make a place to mount on: %w", err)
			}
		}
		own := filepath.Join(below, dir)
		if err := os.MkdirAll(own, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(own, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", own, dir, err)
		}
		// A peer group of its own, as on a node where it is a file system.
		for _, flags := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
			if err := unix.Mount("", dir, "", flags, ""); err != nil {
				return fmt.Errorf("share %s with containers: %w", dir, err)
			}
		}
	}
	return nil
}
