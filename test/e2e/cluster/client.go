package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Command prepares a program of the tools, or of the machine, to run as the
// cluster's administrator. Start it with Spawn.
func (c *Cluster) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if path := c.Tools.Program(name); fileExists(path) {
		name = path
	}
	cmd := exec.CommandContext(ctx, name, args...)
	helm := filepath.Join(Dir, "helm")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+AdminKubeconfig,
		"HELM_CACHE_HOME="+helm, "HELM_CONFIG_HOME="+helm, "HELM_DATA_HOME="+helm)
	return cmd
}

// Spawn starts cmd in the cluster's namespaces: it sees the pods' network and
// the node's directories. The caller waits for it.
func (c *Cluster) Spawn(cmd *exec.Cmd) error { return c.namespaces.start(cmd) }

// Run runs a program in the cluster's namespaces and returns what it writes to
// standard output; what it writes beside that is in the error.
func (c *Cluster) Run(ctx context.Context, stdin io.Reader, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := c.Command(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	err := c.Spawn(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Kubectl runs kubectl as the administrator.
func (c *Cluster) Kubectl(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	return c.Run(ctx, stdin, "kubectl", args...)
}

// Helm runs helm as the administrator.
func (c *Cluster) Helm(ctx context.Context, args ...string) (string, error) {
	return c.Run(ctx, nil, "helm", args...)
}

// Apply makes the objects of a manifest.
func (c *Cluster) Apply(ctx context.Context, manifest string) error {
	_, err := c.Kubectl(ctx, strings.NewReader(manifest), "apply", "--server-side", "-f", "-")
	return err
}

// Namespace makes a namespace and waits until pods may be made in it.
func (c *Cluster) Namespace(ctx context.Context, name string) error {
	if _, err := c.Kubectl(ctx, nil, "create", "namespace", name); err != nil {
		return err
	}
	return c.waitAccount(ctx, name)
}

// waitAccount waits for a namespace's account and its certificates: a pod that
// comes before them is refused.
func (c *Cluster) waitAccount(ctx context.Context, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return poll(ctx, 100*time.Millisecond, func() error {
		if err := c.Get(ctx, "/api/v1/namespaces/"+namespace+"/serviceaccounts/default", nil); err != nil {
			return err
		}
		return c.Get(ctx, "/api/v1/namespaces/"+namespace+"/configmaps/kube-root-ca.crt", nil)
	})
}

// Dial connects from the node's network namespace, to pods, services and the
// node. The address must be numeric.
func (c *Cluster) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return c.namespaces.dial(ctx, network, address)
}

// HTTPClient returns a client in the node's network namespace that trusts the
// cluster's authority and has no identity. It keeps no connection open.
func (c *Cluster) HTTPClient() *http.Client { return c.client(nil) }

func (c *Cluster) client(identity []tls.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(c.ca.cert)
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			DialContext:       c.Dial,
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: identity},
		},
	}
}

// Get reads a path of the API, or any other URL of the cluster, as the
// administrator. Into is what encoding/json may fill, a *[]byte for the bytes
// as they are, or nil.
func (c *Cluster) Get(ctx context.Context, url string, into any) error {
	if strings.HasPrefix(url, "/") {
		url = APIServer + url
	}
	identity, err := tls.LoadX509KeyPair(c.ca.path("admin.crt"), c.ca.path("admin.key"))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := c.client([]tls.Certificate{identity}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("GET %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %.500s", url, resp.Status, body)
	}
	switch v := into.(type) {
	case nil:
		return nil
	case *[]byte:
		*v = body
		return nil
	default:
		if err := json.Unmarshal(body, into); err != nil {
			return fmt.Errorf("GET %s: %w", url, err)
		}
		return nil
	}
}

func (c *Cluster) waitAPI(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	return poll(ctx, 100*time.Millisecond, func() error {
		for _, name := range []string{Etcd, APIServerProcess} {
			if err := c.process(name).ended(); err != nil {
				return finalError{err}
			}
		}
		return c.Get(ctx, "/readyz", nil)
	})
}

type condition struct{ Type, Status, Message string }

func isTrue(conditions []condition, kind string) bool {
	for _, c := range conditions {
		if c.Type == kind {
			return c.Status == "True"
		}
	}
	return false
}

// WaitNode waits until the node is ready, the kubelet answers, and pods may be
// made in the namespace default.
func (c *Cluster) WaitNode(ctx context.Context) error {
	if err := c.waitAccount(ctx, "default"); err != nil {
		return fmt.Errorf("wait for the controllers: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return poll(ctx, 100*time.Millisecond, func() error {
		if err := c.process(Kubelet).ended(); err != nil {
			return finalError{err}
		}
		if err := c.Get(ctx, KubeletURL+"/healthz", nil); err != nil {
			return err
		}
		var node struct {
			Spec   struct{ Taints []struct{ Key string } }
			Status struct{ Conditions []condition }
		}
		if err := c.Get(ctx, "/api/v1/nodes/"+c.Node, &node); err != nil {
			return err
		}
		if !isTrue(node.Status.Conditions, "Ready") {
			return fmt.Errorf("node %s is not ready: %+v", c.Node, node.Status.Conditions)
		}
		for _, taint := range node.Spec.Taints {
			if strings.HasPrefix(taint.Key, "node.kubernetes.io/") {
				return fmt.Errorf("node %s still has the taint %s", c.Node, taint.Key)
			}
		}
		return nil
	})
}

// WaitReady waits until a namespace has pods and each is ready or has
// succeeded, and until its Deployments, StatefulSets and DaemonSets have all
// that they ask for. It gives up after three minutes, or at once when a pod
// failed.
func (c *Cluster) WaitReady(ctx context.Context, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	return poll(ctx, 200*time.Millisecond, func() error { return c.ready(ctx, namespace) })
}

func (c *Cluster) ready(ctx context.Context, namespace string) error {
	var owners struct {
		Items []struct {
			Metadata struct {
				Name       string
				Generation int64
			}
			Spec   struct{ Replicas *int64 }
			Status struct {
				ObservedGeneration, ReadyReplicas, UpdatedReplicas          int64
				DesiredNumberScheduled, NumberReady, UpdatedNumberScheduled int64
			}
		}
	}
	for _, kind := range []string{"deployments", "statefulsets", "daemonsets"} {
		owners.Items = nil
		if err := c.Get(ctx, "/apis/apps/v1/namespaces/"+namespace+"/"+kind, &owners); err != nil {
			return err
		}
		for _, o := range owners.Items {
			want := o.Status.DesiredNumberScheduled
			if o.Spec.Replicas != nil {
				want = *o.Spec.Replicas
			}
			if o.Status.ObservedGeneration < o.Metadata.Generation || o.Status.ReadyReplicas+o.Status.NumberReady < want ||
				o.Status.UpdatedReplicas+o.Status.UpdatedNumberScheduled < want {
				return fmt.Errorf("%s %s/%s are not ready", kind, namespace, o.Metadata.Name)
			}
		}
	}
	var pods struct {
		Items []struct {
			Metadata struct {
				Name              string
				DeletionTimestamp string
			}
			Status struct {
				Phase, Message, Reason string
				Conditions             []condition
			}
		}
	}
	if err := c.Get(ctx, "/api/v1/namespaces/"+namespace+"/pods", &pods); err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return fmt.Errorf("namespace %s has no pods", namespace)
	}
	for _, p := range pods.Items {
		switch {
		case p.Status.Phase == "Failed":
			return finalError{fmt.Errorf("pod %s/%s failed: %s %s", namespace, p.Metadata.Name, p.Status.Reason, p.Status.Message)}
		case p.Metadata.DeletionTimestamp != "":
			return fmt.Errorf("pod %s/%s is being deleted", namespace, p.Metadata.Name)
		case p.Status.Phase != "Succeeded" && !isTrue(p.Status.Conditions, "Ready"):
			return fmt.Errorf("pod %s/%s is not ready: %+v", namespace, p.Metadata.Name, p.Status)
		}
	}
	return nil
}

// Token returns a token of a service account, good for a day.
func (c *Cluster) Token(ctx context.Context, namespace, account string) (string, error) {
	out, err := c.Kubectl(ctx, nil, "-n", namespace, "create", "token", account, "--duration=24h")
	return strings.TrimSpace(out), err
}

// KubeconfigForAccount writes a kubeconfig with a token of a service account
// and returns its path.
func (c *Cluster) KubeconfigForAccount(ctx context.Context, namespace, account string) (string, error) {
	token, err := c.Token(ctx, namespace, account)
	if err != nil {
		return "", err
	}
	base := filepath.Join(Dir, "users", namespace+"-"+account)
	if err := os.WriteFile(base+".token", []byte(token), 0o600); err != nil {
		return "", err
	}
	return base + ".kubeconfig", os.WriteFile(base+".kubeconfig", []byte(c.ca.kubeconfig("", base+".token")), 0o600)
}

// KubeconfigFor writes a kubeconfig with a certificate of a user and returns
// its path.
func (c *Cluster) KubeconfigFor(user string, groups ...string) (string, error) {
	name := "user-" + strings.NewReplacer(":", "-", "/", "-").Replace(user)
	if err := c.ca.issue(name, user, groups); err != nil {
		return "", err
	}
	path := c.ca.path(name + ".kubeconfig")
	return path, os.WriteFile(path, []byte(c.ca.kubeconfig(name, "")), 0o600)
}

// CgroupCPU returns the CPU time of a pod, by its uid, or of a container, by
// its id, as the kernel's cgroup counts it: the witness against which
// attribution is judged. It is zero and an error when there is no such cgroup.
func CgroupCPU(id string) (time.Duration, error) {
	for _, root := range cgroups() {
		var found string
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // it went
			}
			if name := d.Name(); d.IsDir() && (name == id || name == "pod"+id) {
				found = path
				return fs.SkipAll
			}
			return nil
		})
		if err != nil || found == "" {
			continue
		}
		if usage, err := os.ReadFile(filepath.Join(found, "cpuacct.usage")); err == nil {
			ns, err := strconv.ParseInt(strings.TrimSpace(string(usage)), 10, 64)
			return time.Duration(ns), err
		}
		stat, err := os.ReadFile(filepath.Join(found, "cpu.stat"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(stat)) {
			if v, ok := strings.CutPrefix(line, "usage_usec "); ok {
				us, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
				return time.Duration(us) * time.Microsecond, err
			}
		}
	}
	return 0, fmt.Errorf("CPU time of %s: %w", id, errors.Join(fs.ErrNotExist, errors.New("no cgroup of that name below kubepods")))
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
