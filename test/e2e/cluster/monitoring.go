package cluster

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	operatorProcess   = "prometheus-operator"
	prometheusProcess = "prometheus"
	// PrometheusURL is Prometheus' address, for the test (HTTPClient) and for
	// pods.
	PrometheusURL = "http://" + NodeIP + ":9090"
)

// StartOperator makes the CRDs of prometheus-operator and starts the operator
// beside the cluster, as an administrator.
func (c *Cluster) StartOperator(ctx context.Context) error {
	if _, err := c.Kubectl(ctx, nil, "apply", "--server-side", "-f", c.Tools.Program("crds")); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, nil, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"); err != nil {
		return err
	}
	operator := c.newProcess(operatorProcess, c.Tools.Program(operatorProcess),
		"-web.listen-address=127.0.0.1:18080", "-web.enable-tls=false")
	operator.env = []string{"KUBECONFIG=" + AdminKubeconfig}
	if err := operator.start(c.namespaces); err != nil {
		return err
	}
	c.add(operator)
	c.say("prometheus-operator is started")
	return nil
}

// Monitor is a Prometheus object, for StartPrometheus: what kube-prometheus-stack
// would install, under the release's name.
type Monitor struct {
	// Namespace of the object; it must exist.
	Namespace string
	// Release is the value of the label release by which ServiceMonitors,
	// PodMonitors and PrometheusRules of any namespace are chosen.
	Release string
	// Spec is added to the object's spec, as lines of YAML without indent.
	Spec string
}

// Prometheus is a Prometheus that runs what prometheus-operator makes of a
// Monitor. It ends with the cluster.
type Prometheus struct {
	cluster *Cluster
	monitor Monitor
	name    string
	dir     string
	process *process
	kube    string // its kubeconfig: the service account's

	mu     sync.Mutex
	loaded string // what the files said when they were written last
}

// StartPrometheus makes the object, waits until the operator has generated its
// configuration, and runs Prometheus with that, beside the cluster, with the
// rights of the object's service account. What the operator changes is loaded
// within two seconds. Call StartOperator first.
func (c *Cluster) StartPrometheus(ctx context.Context, m Monitor) (*Prometheus, error) {
	p := &Prometheus{cluster: c, monitor: m, name: m.Release, dir: filepath.Join(Dir, "prometheus")}
	if err := c.Apply(ctx, p.objects()); err != nil {
		return nil, err
	}
	var err error
	if p.kube, err = c.KubeconfigForAccount(ctx, m.Namespace, p.name); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(p.dir, "data"), 0o755); err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var args []string
	if err := poll(wait, 500*time.Millisecond, func() error {
		if err := c.process(operatorProcess).ended(); err != nil {
			return finalError{err}
		}
		if args, err = p.arguments(wait); err != nil {
			return err
		}
		_, err := p.write(wait)
		return err
	}); err != nil {
		return nil, fmt.Errorf("wait for what prometheus-operator generates: %w", err)
	}
	p.process = c.newProcess(prometheusProcess, append([]string{c.Tools.Program("prometheus")}, args...)...)
	if err := p.process.start(c.namespaces); err != nil {
		return nil, err
	}
	c.add(p.process)
	if err := poll(wait, 200*time.Millisecond, func() error {
		if err := p.process.ended(); err != nil {
			return finalError{err}
		}
		return c.Get(wait, PrometheusURL+"/-/ready", nil)
	}); err != nil {
		return nil, fmt.Errorf("wait for Prometheus: %w", err)
	}
	c.say("Prometheus is ready")
	c.watch(func(ctx context.Context) {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			// The API server may be away for a while; the files stay then.
			if err := p.Sync(ctx); err != nil && ctx.Err() == nil {
				say(c.options.Log, "Prometheus: %v", err)
			}
		}
	})
	return p, nil
}

// objects are the Prometheus object with the rights that kube-prometheus-stack
// gives its own. No pod of it is wanted: this process is it.
func (p *Prometheus) objects() string {
	var extra strings.Builder
	for line := range strings.Lines(p.monitor.Spec) {
		extra.WriteString("  " + strings.TrimRight(line, "\n") + "\n")
	}
	return strings.NewReplacer("NAMESPACE", p.monitor.Namespace, "NAME", p.name).Replace(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: NAME, namespace: NAMESPACE}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAME-prometheus}
rules:
- {apiGroups: [""], resources: [nodes, nodes/metrics, services, endpoints, pods], verbs: [get, list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]}
- {apiGroups: [networking.k8s.io], resources: [ingresses], verbs: [get, list, watch]}
- {nonResourceURLs: [/metrics, /metrics/cadvisor], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAME-prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAME-prometheus}
subjects: [{kind: ServiceAccount, name: NAME, namespace: NAMESPACE}]
---
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  replicas: 0
  serviceAccountName: NAME
  serviceMonitorSelector: {matchLabels: {release: NAME}}
  serviceMonitorNamespaceSelector: {}
  podMonitorSelector: {matchLabels: {release: NAME}}
  podMonitorNamespaceSelector: {}
  ruleSelector: {matchLabels: {release: NAME}}
  ruleNamespaceSelector: {}
  enableRemoteWriteReceiver: true
`) + extra.String()
}

// arguments are those of the generated StatefulSet, with the places that only
// its pod has replaced.
func (p *Prometheus) arguments(ctx context.Context) ([]string, error) {
	var set struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Name string
						Args []string
					}
				}
			}
		}
	}
	url := fmt.Sprintf("/apis/apps/v1/namespaces/%s/statefulsets/prometheus-%s", p.monitor.Namespace, p.name)
	if err := p.cluster.Get(ctx, url, &set); err != nil {
		return nil, err
	}
	args := []string{
		"--config.file=" + filepath.Join(p.dir, "prometheus.yaml"), "--storage.tsdb.path=" + filepath.Join(p.dir, "data"),
		"--web.listen-address=0.0.0.0:9090", "--web.enable-lifecycle",
	}
	for _, container := range set.Spec.Template.Spec.Containers {
		if container.Name != "prometheus" {
			continue
		}
		for _, arg := range container.Args {
			name, _, _ := strings.Cut(arg, "=")
			if !slices.Contains([]string{
				"--config.file", "--storage.tsdb.path", "--web.listen-address", "--web.enable-lifecycle",
				"--web.config.file", "--web.console.templates", "--web.console.libraries",
			}, name) {
				args = append(args, arg)
			}
		}
	}
	return args, nil
}

var serviceDiscovery = regexp.MustCompile(`(?m)^( *)- role: (\S+)$`)

// write fetches what the operator generates and writes it as files that this
// Prometheus can use. It says whether anything changed.
func (p *Prometheus) write(ctx context.Context) (changed bool, err error) {
	base := "/api/v1/namespaces/" + p.monitor.Namespace
	var secret struct{ Data map[string][]byte }
	if err := p.cluster.Get(ctx, base+"/secrets/prometheus-"+p.name, &secret); err != nil {
		return false, err
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(secret.Data["prometheus.yaml.gz"]))
	if err != nil {
		return false, fmt.Errorf("unpack prometheus.yaml.gz: %w", err)
	}
	generated, err := io.ReadAll(unzipped)
	if err != nil {
		return false, fmt.Errorf("unpack prometheus.yaml.gz: %w", err)
	}
	rules := filepath.Join(p.dir, "rules")
	config := strings.NewReplacer(
		"$(POD_NAME)", "prometheus-"+p.name+"-0", "$(SHARD)", "0",
		"/etc/prometheus/rules", rules,
		"/var/run/secrets/kubernetes.io/serviceaccount/token", strings.TrimSuffix(p.kube, ".kubeconfig")+".token",
		"/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", CAFile,
	).Replace(string(generated))
	config = serviceDiscovery.ReplaceAllString(config, "$1- role: $2\n$1  kubeconfig_file: "+p.kube)

	var maps struct {
		Items []struct {
			Metadata struct{ Name string }
			Data     map[string]string
		}
	}
	if err := p.cluster.Get(ctx, base+"/configmaps?labelSelector=prometheus-name%3D"+p.name, &maps); err != nil {
		return false, err
	}
	files := map[string]string{filepath.Join(p.dir, "prometheus.yaml"): config}
	for _, m := range maps.Items {
		for name, content := range m.Data {
			files[filepath.Join(rules, m.Metadata.Name, name)] = content
		}
	}
	state := fmt.Sprint(files) // maps are printed in order
	p.mu.Lock()
	defer p.mu.Unlock()
	if state == p.loaded {
		return false, nil
	}
	if err := os.RemoveAll(rules); err != nil {
		return false, err
	}
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return false, err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return false, err
		}
	}
	p.loaded = state
	return true, nil
}

// Sync loads what the operator has generated by now, if it changed.
func (p *Prometheus) Sync(ctx context.Context) error {
	changed, err := p.write(ctx)
	if err != nil || !changed {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, PrometheusURL+"/-/reload", nil)
	if err != nil {
		return err
	}
	resp, err := p.cluster.HTTPClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("reload: %s: %s", resp.Status, body)
	}
	return err
}
