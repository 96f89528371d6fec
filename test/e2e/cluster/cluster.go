// Package cluster brings a real one-node Kubernetes up on this machine for
// tests, and down again without a trace: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, kubelet and kube-proxy built from
// their Go modules, and the machine's own containerd, runc and CNI plugins.
//
// Everything runs in a network namespace that has no way out and in a mount
// namespace, so nothing listens on the machine's addresses and no mount is
// left; the pods' cgroups are the machine's, below /kubepods, as on any node.
// There is one such cluster a machine: a second Start waits for the first one
// to end, in whatever process it is.
//
// It refuses to run without root, to touch a machine that is a Kubernetes node
// already, and to end a process that it did not start. It has no DNS for
// services: pods use the variables of their environment (NAME_SERVICE_HOST)
// or addresses.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Dir is the directory of the cluster on this machine: of all it writes, but
// for what nodes keep in places of their own, which it puts below it too.
const Dir = "/var/lib/noether-cluster"

// Addresses and places. The addresses exist in the cluster's network namespace
// only.
const (
	NodeIP           = "10.99.0.1"
	APIServer        = "https://" + NodeIP + ":6443"
	KubeletURL       = "https://" + NodeIP + ":10250" // and https://127.0.0.1:10250
	PodCIDR          = "10.88.0.0/16"
	ServiceCIDR      = "10.96.0.0/16"
	ContainerdSocket = Dir + "/containerd.sock"
	// ManifestDir is where the kubelet looks for static pods, each second.
	ManifestDir = Dir + "/manifests"
	// CAFile verifies the API server and the kubelet.
	CAFile = Dir + "/pki/ca.crt"
	// AdminKubeconfig is that of a member of system:masters.
	AdminKubeconfig = Dir + "/pki/admin.kubeconfig"

	lockFile   = "/run/noether-cluster.lock"
	cniPlugins = "/usr/lib/cni"
)

// Options of a cluster. The zero value is one to use.
type Options struct {
	// Node is the node's name; empty counts as noether-node.
	Node string
	// Labels are the node's own, beside those that the kubelet sets.
	Labels map[string]string
	// Flags are added to a component's, by its name.
	Flags map[string][]string
	// KubeletConfig replaces fields of the KubeletConfiguration.
	KubeletConfig map[string]any
	// APIOnly starts etcd and the API server and nothing else: there is no
	// node, no controller makes or ends an object, and no pod runs.
	APIOnly bool
	// Log receives what is done and waited for. Nil counts as nowhere.
	Log io.Writer
	// LogDir receives the components' logs when the cluster ends. Empty counts
	// as nowhere.
	LogDir string
}

// Cluster is a running cluster. Its methods are safe for any number of
// goroutines, but for Down, which is the last.
type Cluster struct {
	Node  string
	Tools Tools

	options    Options
	unlock     func()
	ca         *authority
	namespaces *namespaces
	began      time.Time

	mu        sync.Mutex
	processes []*process // in the order in which they start

	// What runs beside the cluster in this process, and ends first.
	watchers     sync.WaitGroup
	watchContext context.Context //nolint:containedctx // it is the cluster's life
	endWatchers  context.CancelFunc
}

// ErrUnfit says that this machine, or this user, cannot run the cluster.
var ErrUnfit = errors.New("no cluster here")

// Check is an error, which wraps ErrUnfit or ErrNoTools, if a cluster cannot
// be started: it says what is missing, and how to get it.
func Check(ctx context.Context) (Tools, error) {
	if os.Getuid() != 0 {
		return Tools{}, fmt.Errorf("%w: it needs root, for namespaces, cgroups and containers", ErrUnfit)
	}
	var missing []string
	for program, pkg := range map[string]string{
		"containerd": "containerd", "ctr": "containerd", "runc": "runc",
		"iptables": "iptables", "ip": "iproute2", "mount": "mount",
	} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	if _, err := os.Stat(filepath.Join(cniPlugins, "bridge")); err != nil {
		missing = append(missing, "containernetworking-plugins")
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return Tools{}, fmt.Errorf("%w: Debian's packages are missing: apt-get install --no-install-recommends %s",
			ErrUnfit, strings.Join(slices.Compact(missing), " "))
	}
	return FindTools(ctx)
}

// Start starts a cluster and returns when its node is ready and pods may be
// made in the namespace default. It cleans up after an earlier one that was
// killed.
func Start(ctx context.Context, options Options) (c *Cluster, err error) {
	tools, err := Check(ctx)
	if err != nil {
		return nil, err
	}
	if options.Node == "" {
		options.Node = "noether-node"
	}
	if options.Log == nil {
		options.Log = io.Discard
	}
	unlock, err := lock(ctx, lockFile, options.Log)
	if err != nil {
		return nil, err
	}
	c = &Cluster{Node: options.Node, Tools: tools, options: options, unlock: unlock, began: time.Now()} //nolint:forbidigo // to say how long it took
	c.watchContext, c.endWatchers = context.WithCancel(context.WithoutCancel(ctx))
	if err := clean(ctx); err != nil {
		unlock()
		return nil, fmt.Errorf("clean up after an earlier cluster: %w", err)
	}
	if pods := cgroups(); len(pods) > 0 {
		unlock()
		return nil, fmt.Errorf("%w: the machine seems to be a Kubernetes node already: there is %s", ErrUnfit, pods[0])
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Down(context.WithoutCancel(ctx)))
			c = nil
		}
	}()
	return c, c.up(ctx)
}

func (c *Cluster) up(ctx context.Context) error {
	err := os.MkdirAll(Dir, 0o755)
	if err != nil {
		return err
	}
	if c.ca, err = newAuthority(filepath.Join(Dir, "pki")); err != nil {
		return fmt.Errorf("make the cluster's certificates: %w", err)
	}
	if err := c.files(); err != nil {
		return err
	}
	// From here on cgroups named kubepods are ours.
	if err := os.WriteFile(ownsCgroups, nil, 0o644); err != nil {
		return err
	}
	if c.namespaces, err = newNamespaces(func() error {
		if err := hideDirs(filepath.Join(Dir, "own"), recordMade); err != nil {
			return err
		}
		return network(ctx)
	}); err != nil {
		return err
	}
	for _, p := range c.components() {
		c.add(p)
	}

	for _, name := range []string{Etcd, APIServerProcess} {
		if err := c.process(name).start(c.namespaces); err != nil {
			return err
		}
	}
	if c.options.APIOnly {
		if err := c.waitAPI(ctx); err != nil {
			return fmt.Errorf("wait for the API server: %w", err)
		}
		c.say("the API server is ready")
		return nil
	}
	if err := c.process(Containerd).start(c.namespaces); err != nil {
		return err
	}
	if err := c.waitContainerd(ctx); err != nil {
		return fmt.Errorf("wait for containerd: %w", err)
	}
	if err := c.importPause(ctx); err != nil {
		return err
	}
	if err := c.waitAPI(ctx); err != nil {
		return fmt.Errorf("wait for the API server: %w", err)
	}
	c.say("the API server is ready")
	for _, name := range []string{ControllerManager, Scheduler, Kubelet, KubeProxy} {
		if err := c.process(name).start(c.namespaces); err != nil {
			return err
		}
	}
	if err := c.WaitNode(ctx); err != nil {
		return err
	}
	if len(c.options.Labels) > 0 {
		args := []string{"label", "node", c.Node}
		for k, v := range c.options.Labels {
			args = append(args, k+"="+v)
		}
		if _, err := c.Kubectl(ctx, nil, args...); err != nil {
			return err
		}
	}
	c.say("node " + c.Node + " is ready")
	return nil
}

func (c *Cluster) say(what string) {
	say(c.options.Log, "%5.1f s  %s", time.Since(c.began).Seconds(), what) //nolint:forbidigo // to say how long it took
}

// add has p ended with the cluster.
func (c *Cluster) add(p *process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.processes = append(c.processes, p)
}

// watch runs f until the cluster ends.
func (c *Cluster) watch(f func(context.Context)) {
	c.watchers.Go(func() { f(c.watchContext) })
}

func (c *Cluster) process(name string) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.processes {
		if p.name == name {
			return p
		}
	}
	panic("the cluster has no component named " + name)
}

// Stop ends a component, which gets time to end by itself.
func (c *Cluster) Stop(name string) { c.process(name).stop(15 * time.Second) }

// StartAgain starts a component that was stopped, and waits until it works.
func (c *Cluster) StartAgain(ctx context.Context, name string) error {
	if err := c.process(name).start(c.namespaces); err != nil {
		return err
	}
	switch name {
	case Etcd, APIServerProcess:
		return c.waitAPI(ctx)
	case Containerd:
		return c.waitContainerd(ctx)
	case Kubelet:
		return c.WaitNode(ctx)
	}
	return nil
}

// Restart is Stop and StartAgain.
func (c *Cluster) Restart(ctx context.Context, name string) error {
	c.Stop(name)
	return c.StartAgain(ctx, name)
}

// Pause keeps a component from running, without ending it: its connections
// stay and nobody answers.
func (c *Cluster) Pause(name string) error { return c.process(name).signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (c *Cluster) Continue(name string) error { return c.process(name).signal(syscall.SIGCONT) }

// Pid returns the process of a component.
func (c *Cluster) Pid(name string) int {
	p := c.process(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Down ends everything and removes it. The error says what would not go.
func (c *Cluster) Down(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	defer c.unlock()
	c.endWatchers()
	c.watchers.Wait()
	var errs []error
	// The node first, or it would start again what is ended. Nothing is asked
	// to end in good order, because nothing is kept.
	for _, p := range slices.Backward(c.processes) {
		if p.name == Containerd {
			errs = append(errs, killPods(ctx))
		}
		p.stop(0)
	}
	if c.namespaces != nil && c.namespaces.net != nil {
		c.namespaces.close()
	}
	if c.options.LogDir != "" {
		errs = append(errs, os.CopyFS(c.options.LogDir, os.DirFS(filepath.Join(Dir, "logs"))))
	}
	errs = append(errs, clean(ctx))
	return errors.Join(errs...)
}
