package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"noether/deploy/image"
)

// The names of the components, for Stop, Restart, Pause and Continue.
const (
	Etcd              = "etcd"
	APIServerProcess  = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Containerd        = "containerd"
	Kubelet           = "kubelet"
	KubeProxy         = "kube-proxy"
)

// PauseImage is an image that every cluster has: its program does nothing.
const PauseImage = "localhost/noether/pause:1"

// files writes everything the components read. It needs the authority only;
// nothing runs yet.
func (c *Cluster) files() error {
	for _, dir := range []string{"logs", "run", "manifests", "cni", "etcd", "containerd", "users", "helm"} {
		if err := os.MkdirAll(filepath.Join(Dir, dir), 0o755); err != nil {
			return err
		}
	}
	if err := c.ca.keyPair("service-accounts"); err != nil {
		return err
	}
	for _, id := range []struct {
		name, user string
		groups     []string
		hosts      []string
	}{
		{"apiserver", "kube-apiserver", nil, []string{
			"127.0.0.1", NodeIP, "10.96.0.1", "localhost",
			"kubernetes", "kubernetes.default", "kubernetes.default.svc",
		}},
		{"apiserver-to-kubelet", "kube-apiserver-kubelet-client", []string{"system:masters"}, nil},
		{"kubelet-server", "system:node:" + c.Node, []string{"system:nodes"}, []string{NodeIP, "127.0.0.1", c.Node}},
		{"admin", "admin", []string{"system:masters"}, nil},
		{"node", "system:node:" + c.Node, []string{"system:nodes"}, nil},
		{"controllers", "system:kube-controller-manager", nil, nil},
		{"scheduler", "system:kube-scheduler", nil, nil},
		{"proxy", "system:kube-proxy", nil, nil},
	} {
		if err := c.ca.issue(id.name, id.user, id.groups, id.hosts...); err != nil {
			return err
		}
		if err := os.WriteFile(c.ca.path(id.name+".kubeconfig"), []byte(c.ca.kubeconfig(id.name, "")), 0o600); err != nil {
			return err
		}
	}

	kubelet := map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		// All addresses of a namespace that has no way out.
		"address": "0.0.0.0",
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true, "cacheTTL": "10s"},
			"x509":      map[string]any{"clientCAFile": c.ca.path("ca.crt")},
		},
		"authorization":            map[string]any{"mode": "Webhook", "webhook": map[string]any{"cacheAuthorizedTTL": "10s", "cacheUnauthorizedTTL": "2s"}},
		"tlsCertFile":              c.ca.path("kubelet-server.crt"),
		"tlsPrivateKeyFile":        c.ca.path("kubelet-server.key"),
		"staticPodPath":            ManifestDir,
		"fileCheckFrequency":       "1s",
		"containerRuntimeEndpoint": "unix://" + ContainerdSocket,
		"cgroupDriver":             "cgroupfs",
		"failCgroupV1":             false,
		"failSwapOn":               false,
		"resolvConf":               "",
		// The disk of a test machine is nobody's business.
		"evictionHard":                map[string]any{"memory.available": "1%", "nodefs.available": "0%", "imagefs.available": "0%"},
		"imageGCHighThresholdPercent": 100,
		"syncFrequency":               "5s",
		"nodeStatusUpdateFrequency":   "5s",
		"containerLogMaxSize":         "5Mi",
	}
	maps.Copy(kubelet, c.options.KubeletConfig)
	config, err := json.MarshalIndent(kubelet, "", "  ")
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"kubelet.yaml":        string(config),
		"containerd.toml":     containerdConfig(),
		"cni/10-net.conflist": cniConfig,
	} {
		if err := os.WriteFile(filepath.Join(Dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

const cniConfig = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "` + PodCIDR + `"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
`

// containerdConfig is for containerd 1.6 and 1.7 (configuration version 2).
func containerdConfig() string {
	snapshotter := "overlayfs"
	var fs syscall.Statfs_t
	if syscall.Statfs(Dir, &fs) == nil && fs.Type == 0x794c7630 { // OVERLAYFS_SUPER_MAGIC: no overlay on top
		snapshotter = "native"
	}
	return fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  # Without CAP_SYS_RESOURCE nobody may lower an oom_score_adj.
  restrict_oom_score_adj = %v
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = %q
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`, filepath.Join(Dir, "containerd/root"), filepath.Join(Dir, "containerd/state"), ContainerdSocket, PauseImage,
		!hasSysResource(), cniPlugins, filepath.Join(Dir, "cni"), snapshotter)
}

// hasSysResource says whether CAP_SYS_RESOURCE (24) is in the bounding set.
func hasSysResource() bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			return err != nil || set&(1<<24) != 0
		}
	}
	return true
}

// components lists the programs in the order in which they start.
func (c *Cluster) components() []*process {
	pki := c.ca.path
	with := func(name string, argv ...string) *process {
		argv[0] = c.Tools.Program(argv[0])
		return c.newProcess(name, append(argv, c.options.Flags[name]...)...)
	}
	return []*process{
		with(Etcd, "etcd", "--name=noether", "--data-dir="+filepath.Join(Dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
			"--initial-cluster=noether=http://127.0.0.1:2380"),
		with(APIServerProcess, "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--secure-port=6443",
			"--bind-address="+NodeIP, "--advertise-address="+NodeIP, "--service-cluster-ip-range="+ServiceCIDR,
			"--tls-cert-file="+pki("apiserver.crt"), "--tls-private-key-file="+pki("apiserver.key"), "--client-ca-file="+pki("ca.crt"),
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
			"--kubelet-certificate-authority="+pki("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
			"--kubelet-client-certificate="+pki("apiserver-to-kubelet.crt"), "--kubelet-client-key="+pki("apiserver-to-kubelet.key"),
			"--service-account-key-file="+pki("service-accounts.pub"), "--service-account-signing-key-file="+pki("service-accounts.key"),
			"--service-account-issuer=https://kubernetes.default.svc"),
		with(ControllerManager, "kube-controller-manager", "--kubeconfig="+pki("controllers.kubeconfig"), "--bind-address=127.0.0.1",
			"--authentication-kubeconfig="+pki("controllers.kubeconfig"), "--authorization-kubeconfig="+pki("controllers.kubeconfig"),
			"--use-service-account-credentials=true", "--service-account-private-key-file="+pki("service-accounts.key"),
			"--root-ca-file="+pki("ca.crt"), "--cluster-signing-cert-file="+pki("ca.crt"), "--cluster-signing-key-file="+pki("ca.key"),
			"--leader-elect=false", "--kube-api-qps=200", "--kube-api-burst=400"),
		with(Scheduler, "kube-scheduler", "--kubeconfig="+pki("scheduler.kubeconfig"), "--bind-address=127.0.0.1",
			"--authentication-kubeconfig="+pki("scheduler.kubeconfig"), "--authorization-kubeconfig="+pki("scheduler.kubeconfig"),
			"--leader-elect=false", "--kube-api-qps=200", "--kube-api-burst=400"),
		c.newProcess(Containerd, append([]string{"containerd", "-c", filepath.Join(Dir, "containerd.toml")}, c.options.Flags[Containerd]...)...),
		with(Kubelet, "kubelet", "--config="+filepath.Join(Dir, "kubelet.yaml"), "--kubeconfig="+pki("node.kubeconfig"),
			"--cert-dir="+filepath.Join(Dir, "kubelet-pki"), "--hostname-override="+c.Node, "--node-ip="+NodeIP, "--v=2"),
		with(KubeProxy, "kube-proxy", "--kubeconfig="+pki("proxy.kubeconfig"), "--proxy-mode=iptables", "--cluster-cidr="+PodCIDR,
			"--hostname-override="+c.Node, "--bind-address="+NodeIP, "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0",
			"--conntrack-tcp-timeout-close-wait=0", "--iptables-min-sync-period=100ms",
			"--healthz-bind-address=127.0.0.1", "--metrics-bind-address=127.0.0.1"),
	}
}

func (c *Cluster) newProcess(name string, argv ...string) *process {
	return &process{
		name: name, argv: argv,
		logTo:  filepath.Join(Dir, "logs", name+".log"),
		record: filepath.Join(Dir, "run", name),
	}
}

// network gives the namespace the node's address and lets packets through. It
// runs inside.
func network(ctx context.Context) error {
	for _, command := range []string{
		"ip link set lo up",
		"ip link add node0 type bridge",
		"ip addr add " + NodeIP + "/32 dev node0",
		"ip link set node0 up",
		"ip route add default dev node0",
	} {
		argv := strings.Fields(command)
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("make the cluster's network: %s: %w: %s", command, err, out)
		}
	}
	// /proc/sys/net is that of the thread's namespace.
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// Program builds a package of this module as a static program and returns an
// image that runs it: ref names it, and the program is /NAME in it.
func Program(ctx context.Context, ref, pkg string, args ...string) (image.Image, error) {
	dir, err := os.MkdirTemp("", "noether-program-")
	if err != nil {
		return image.Image{}, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // in the directory for such
	name := filepath.Base(pkg)
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, name), pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return image.Image{}, fmt.Errorf("build %s: %w: %s", pkg, err, out)
	}
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return image.Image{}, err
	}
	return image.Image{
		Ref: ref, Platform: image.Platform{OS: "linux", Arch: runtime.GOARCH},
		Entrypoint: append([]string{"/" + name}, args...),
		Files:      []image.File{{Path: "/" + name, Mode: 0o755, Content: content}},
	}, nil
}

// Import gives an image to the node's containerd. Its name there is the whole
// one: noether:1 becomes docker.io/library/noether:1, which is what a pod that
// asks for noether:1 gets (with imagePullPolicy Never or IfNotPresent).
func (c *Cluster) Import(ctx context.Context, im image.Image) error {
	var archive bytes.Buffer
	if err := image.Write(&archive, im); err != nil {
		return err
	}
	return c.ImportTar(ctx, &archive)
}

// ImportTar is Import of an archive, as `docker save` or deploy/image write it.
func (c *Cluster) ImportTar(ctx context.Context, archive io.Reader) error {
	_, err := c.Run(ctx, archive, "ctr", "-a", ContainerdSocket, "-n", "k8s.io", "images", "import", "-")
	return err
}

func (c *Cluster) importPause(ctx context.Context) error {
	im, err := Program(ctx, PauseImage, "noether/test/e2e/cluster/cmd/pause")
	if err != nil {
		return err
	}
	im.User = "65535:65535" // as upstream's
	return c.Import(ctx, im)
}

// waitContainerd waits until containerd answers.
func (c *Cluster) waitContainerd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return poll(ctx, 100*time.Millisecond, func() error {
		if err := c.process(Containerd).ended(); err != nil {
			return finalError{err}
		}
		_, err := c.Run(ctx, nil, "ctr", "-a", ContainerdSocket, "version")
		return err
	})
}
