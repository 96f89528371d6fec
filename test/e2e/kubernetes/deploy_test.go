package kubernetes

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"noether/test/e2e/cluster"
)

// stateAddress is that of what stands in for kube-state-metrics.
const stateAddress = cluster.NodeIP + ":9091"

// deploy installs the shop, Noether twice, the operator and Prometheus, and
// waits for the first scrape.
func (l *lab) deploy(t *testing.T) {
	ctx := t.Context()
	for _, namespace := range []string{"shop", "observability", "noether", "noether-unprivileged"} {
		if err := l.Namespace(ctx, namespace); err != nil {
			t.Fatal(err)
		}
	}
	l.kubectl(t, "apply", "-n", "shop", "-f", "../shop/manifests/shop.yaml")
	l.applyIn(t, "shop", shopFile(t, "batch.yaml", "Service", "StatefulSet", "CronJob"))
	if err := os.WriteFile(filepath.Join(cluster.ManifestDir, "till.yaml"), []byte(shopFile(t, "static.yaml")), 0o644); err != nil {
		t.Fatal(err)
	}
	l.operate(t)
	l.serveGrid(t)
	l.kubectl(t, "create", "secret", "generic", "page", "-n", "noether", "--from-literal=password="+uiPassword)
	l.objectsBefore = l.objects(t)

	l.testNamespaceLevel(t)
	manifest := l.manifest(t)
	values := filepath.Join(l.dir, "values.yaml")
	if err := os.WriteFile(values, []byte(`
image: {tag: e2e, pullPolicy: Never}
config: {interval: 1s}
kubernetes: {podLabels: [app.kubernetes.io/name, team]}
`), 0o644); err != nil {
		t.Fatal(err)
	}
	carbon := filepath.Join(l.dir, "carbon.yaml")
	if err := os.WriteFile(carbon, []byte(carbonValues()), 0o644); err != nil {
		t.Fatal(err)
	}
	shown := filepath.Join(l.dir, "ui.yaml")
	if err := os.WriteFile(shown, []byte(uiValues()), 0o644); err != nil {
		t.Fatal(err)
	}
	scored := filepath.Join(l.dir, "impact.yaml")
	if err := os.WriteFile(scored, fmt.Appendf(nil, `
prometheusRule: {enabled: true, labels: {release: kube-prometheus-stack}}
impact:
  prometheus: {url: "%[1]s", remoteWriteUrl: "%[1]s/api/v1/write"}
  jobs:
    - name: shop
      schedule: "* * * * *"
      manifest: |
%[2]s`, cluster.PrometheusURL, regexp.MustCompile(`(?m)^`).ReplaceAllString(manifest, "        ")), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if log, err := l.try("logs", "-n", "noether", "deployment/noether-carbon"); t.Failed() && err == nil {
			t.Logf("log of the hub:\n%s", log)
		}
		for _, a := range []*agent{l.api, l.kubelet} {
			for _, previous := range []string{"false", "true"} {
				if log, err := l.try("logs", "-n", a.namespace, "daemonset/"+a.release, "--previous="+previous); t.Failed() && err == nil {
					t.Logf("log of %s (previous: %s):\n%s", a.release, previous, log)
				}
			}
		}
	})
	l.api = &agent{l: l, release: "noether", namespace: "noether"}
	l.kubelet = &agent{l: l, release: "noether-unprivileged", namespace: "noether-unprivileged"}
	notes := l.helm(t, "install", "noether", l.chart, "-n", "noether", "-f", values, "-f", scored, "-f", carbon, "-f", shown,
		"--set", "serviceMonitor.enabled=true", "--set", "serviceMonitor.namespace=observability", "--set", "serviceMonitor.interval=15s",
		"--set", "serviceMonitor.labels.release=kube-prometheus-stack")
	l.keep("helm-install.txt", notes)
	l.helm(t, "install", "noether-unprivileged", l.chart, "-n", "noether-unprivileged", "-f", values,
		"--set", "variant=unprivileged,kubernetes.source=kubelet,carbon.zone=DE,carbon.hub.url=http://noether-carbon.noether.svc:9878")
	// As the notes say: --wait would be content with no pod of a DaemonSet of one.
	for _, a := range []*agent{l.api, l.kubelet} {
		l.kubectl(t, "rollout", "status", "daemonset/"+a.release, "-n", a.namespace, "--timeout=3m")
	}
	l.keep("helm-test.txt", l.helm(t, "test", "noether", "-n", "noether", "--timeout=2m"))
	l.helm(t, "test", "noether-unprivileged", "-n", "noether-unprivileged", "--timeout=2m")
	l.kubectl(t, "wait", "-n", "shop", "--for=condition=Available", "deployment", "--all", "--timeout=3m")
	eventually(t, "the operator's configuration in Prometheus", func() error {
		up := l.prometheus.by(t, `up`, time.Now(), "job")
		if up["noether"] != 1 || up["shop/frontend"] != 1 {
			return fmt.Errorf("up: %v", up)
		}
		if up["shop/somebody-elses"] != 0 {
			t.Fatal("Prometheus took a PodMonitor with another label")
		}
		return nil
	})
	l.keep("pods.txt", l.kubectl(t, "get", "pods", "-A", "-o", "wide"))
}

func (l *lab) applyIn(t *testing.T, namespace, yaml string) {
	t.Helper()
	if _, err := l.Kubectl(t.Context(), strings.NewReader(yaml), "apply", "-n", namespace, "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// keep writes an output to the directory E2E_OUTPUTS, for documentation.
func (l *lab) keep(name, text string) {
	if dir := os.Getenv("E2E_OUTPUTS"); dir != "" {
		os.MkdirAll(dir, 0o755)
		os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
	}
}

// testNamespaceLevel: a namespace that would refuse every pod is an error that
// says what to do, before anything is installed.
func (l *lab) testNamespaceLevel(t *testing.T) {
	t.Helper()
	l.kubectl(t, "label", "namespace", "noether", "pod-security.kubernetes.io/enforce=restricted")
	if _, err := l.tryHelm("install", "noether", l.chart, "-n", "noether"); err == nil || !strings.Contains(err.Error(), "pod-security.kubernetes.io/enforce=privileged") {
		t.Errorf("install into a restricted namespace: %v", err)
	}
	for _, namespace := range []string{"noether", "noether-unprivileged"} {
		l.kubectl(t, "label", "--overwrite", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged")
	}
}

// manifest is the example of the documentation, each minute.
func (l *lab) manifest(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../examples/noether-sci.yml")
	if err != nil {
		t.Fatal(err)
	}
	out := string(text)
	for from, to := range map[string]string{
		"window: 1h": "window: 1m", "step: 1h": "step: 1m", "delay: 2m": "delay: 20s",
		`http_requests_total{namespace="shop", service="web"}`: `shop_requests_total{service="frontend"}`,
	} {
		if !strings.Contains(out, from) {
			t.Fatalf("examples/noether-sci.yml has no %q", from)
		}
		out = strings.ReplaceAll(out, from, to)
	}
	return out
}

// operate starts the operator and the Prometheus that it configures, which
// take what has the label of kube-prometheus-stack.
func (l *lab) operate(t *testing.T) {
	t.Helper()
	if err := l.StartOperator(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.StartPrometheus(t.Context(), cluster.Monitor{
		Namespace: "observability", Release: "kube-prometheus-stack",
		Spec: "scrapeConfigSelector: {matchLabels: {release: kube-prometheus-stack}}\nscrapeConfigNamespaceSelector: {}\n",
	}); err != nil {
		t.Fatal(err)
	}
	l.prometheus = &database{l.client, cluster.PrometheusURL}
	l.apply(t, `
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: frontend, namespace: shop, labels: {release: kube-prometheus-stack}}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: frontend}}
  podMetricsEndpoints: [{port: http, interval: 15s}]
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: somebody-elses, namespace: shop, labels: {release: other}}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: frontend}}
  podMetricsEndpoints: [{port: http, interval: 15s}]
---
apiVersion: monitoring.coreos.com/v1alpha1
kind: ScrapeConfig
metadata: {name: kube-state-metrics, namespace: observability, labels: {release: kube-prometheus-stack}}
spec:
  jobName: kube-state-metrics
  honorLabels: true
  scrapeInterval: 5s
  staticConfigs: [{targets: ["`+stateAddress+`"]}]
`)
}

// describe serves what kube-state-metrics would say of the pods that are there
// now: https://github.com/kubernetes/kube-state-metrics, docs/metrics/workload/pod-metrics.md.
func (l *lab) describe(t *testing.T) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# HELP kube_pod_info Information about pod.\n# TYPE kube_pod_info gauge\n")
	pods := l.pods(t)
	for _, p := range pods {
		kind, name := "", ""
		if len(p.Metadata.OwnerReferences) > 0 {
			kind, name = p.Metadata.OwnerReferences[0].Kind, p.Metadata.OwnerReferences[0].Name
		}
		fmt.Fprintf(&b, "kube_pod_info{namespace=%q,pod=%q,uid=%q,host_ip=%q,pod_ip=%q,node=%q,created_by_kind=%q,created_by_name=%q,priority_class=\"\",host_network=\"false\"} 1\n",
			p.Metadata.Namespace, p.Metadata.Name, p.Metadata.UID, cluster.NodeIP, p.Status.PodIP, p.Spec.NodeName, kind, name)
	}
	b.WriteString("# HELP kube_pod_labels Kubernetes labels converted to Prometheus labels.\n# TYPE kube_pod_labels gauge\n")
	for _, p := range pods {
		fmt.Fprintf(&b, "kube_pod_labels{namespace=%q,pod=%q,uid=%q,label_team=%q} 1\n", p.Metadata.Namespace, p.Metadata.Name, p.Metadata.UID, p.Metadata.Labels["team"])
	}
	page := b.String()
	var listener net.Listener
	if err := inside(l.Pid(cluster.Kubelet), func() (err error) {
		listener, err = net.Listen("tcp", stateAddress)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		io.WriteString(w, page)
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
}

// testChart: helm lint, kubeconform with the schemas of this API server, and
// the API server itself accept every set of values.
func (l *lab) testChart(t *testing.T) {
	sets, err := filepath.Glob(filepath.Join(filepath.Dir(l.chart), "testdata", "*.values.yaml"))
	if err != nil || len(sets) < 5 {
		t.Fatalf("%d sets of values, %v", len(sets), err)
	}
	schemas := filepath.Join(l.dir, "schemas")
	if kinds, err := l.Schemas(t.Context(), schemas); err != nil || kinds < 100 {
		t.Fatalf("the API has schemas of %d kinds, %v", kinds, err)
	}
	for _, set := range sets {
		name := strings.TrimSuffix(filepath.Base(set), ".values.yaml")
		t.Run(name, func(t *testing.T) {
			if out, err := l.tryHelm("lint", "--strict", l.chart, "-f", set); err != nil {
				t.Errorf("helm lint: %v\n%s", err, out)
			}
			rendered := l.helm(t, "template", "noether", l.chart, "-f", set, "--namespace", "default", "--kube-version", l.Tools.Kubernetes, "--api-versions", "monitoring.coreos.com/v1")
			file := filepath.Join(l.dir, name+".yaml")
			// OpenShift's kind is the one that this API does not have.
			rendered = without(rendered, "SecurityContextConstraints")
			if err := os.WriteFile(file, []byte(rendered), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := l.Run(t.Context(), nil, "kubeconform", "-strict", "-summary", "-schema-location", cluster.SchemaLocation(schemas), file); err != nil {
				t.Errorf("kubeconform: %v\n%s", err, out)
			} else if !strings.Contains(out, "Skipped: 0") {
				t.Errorf("kubeconform: %s", out)
			}
			// Objects of a namespace that is made by the same file are refused in a
			// dry run: there is none yet.
			if out, err := l.Kubectl(t.Context(), strings.NewReader(without(rendered, "Namespace")), "apply", "--dry-run=server", "-f", "-"); err != nil {
				t.Errorf("kubectl apply --dry-run=server: %v\n%s", err, out)
			}
			if name != "default" {
				return
			}
			if _, err := l.Kubectl(t.Context(), strings.NewReader(strings.Replace(rendered, "    spec:\n", "    spec:\n      nonsense: 1\n", 1)), "apply", "--dry-run=server", "--validate=strict", "-f", "-"); err == nil {
				t.Error("a field that there is not is accepted: nothing was checked")
			}
		})
	}
}

// without drops the documents of one kind.
func without(yaml, kind string) string {
	documents := strings.Split(yaml, "\n---\n")
	return strings.Join(slices.DeleteFunc(documents, func(d string) bool {
		return strings.Contains("\n"+d, "\nkind: "+kind+"\n")
	}), "\n---\n")
}

// idlers is a Deployment of so many pods that do nothing.
func idlers(n int) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: idlers, namespace: idlers}
spec:
  replicas: %d
  selector: {matchLabels: {app.kubernetes.io/name: idlers}}
  template:
    metadata: {labels: {app.kubernetes.io/name: idlers}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 0
      containers: [{name: idlers, image: "shop:1", args: [pause]}]
`, n)
}

// wrongAuthority is a ConfigMap with the certificate of somebody else.
func wrongAuthority(t *testing.T, namespace string) string {
	t.Helper()
	authority, _ := certify(t, "somebody else")
	object := map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "wrong-authority", "namespace": namespace},
		"data": map[string]string{"ca.crt": string(authority)},
	}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
