// Package smoke proves that the cluster of the tests is one: that pods run in
// it, are found and measured, and that nothing of it stays.
package smoke

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"noether/test/e2e/cluster"
)

const probe = "localhost/noether/probe:1"

const pods = `
apiVersion: v1
kind: Pod
metadata: {name: first, namespace: smoke, labels: {app: first}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: init, image: "` + probe + `", args: [say, initialised], imagePullPolicy: Never}
  containers:
  - name: web
    image: "` + probe + `"
    args: [serve, ":8080"]
    imagePullPolicy: Never
    ports: [{containerPort: 8080, name: http}]
    resources: {requests: {cpu: 50m, memory: 32Mi}, limits: {cpu: 50m, memory: 32Mi}}
  - {name: busy, image: "` + probe + `", args: [burn], imagePullPolicy: Never, resources: {limits: {cpu: 100m, memory: 32Mi}}}
---
apiVersion: v1
kind: Service
metadata: {name: first, namespace: smoke}
spec: {selector: {app: first}, ports: [{port: 80, targetPort: 8080}], clusterIP: 10.96.1.1}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere, namespace: smoke}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: "` + probe + `", args: [serve, ":8080"], imagePullPolicy: Never}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: minutely, namespace: smoke}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: visit, image: "` + probe + `", args: [get, "http://$(FIRST_SERVICE_HOST)/"], imagePullPolicy: Never}]
`

const staticPod = `
apiVersion: v1
kind: Pod
metadata: {name: fixed, namespace: smoke}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: "` + probe + `", args: [serve, ":8080"], imagePullPolicy: Never}]
`

func TestClusterRunsPods(t *testing.T) {
	c := cluster.StartTest(t, cluster.Options{Labels: map[string]string{"noether.test/measured": "true"}})
	ctx := t.Context()
	im, err := cluster.Program(ctx, probe, "noether/test/e2e/cluster/cmd/probe")
	must(t, err)
	must(t, c.Import(ctx, im))
	must(t, c.Namespace(ctx, "smoke"))
	must(t, os.WriteFile(cluster.ManifestDir+"/fixed.yaml", []byte(staticPod), 0o644))
	must(t, c.Apply(ctx, pods))
	must(t, c.WaitReady(ctx, "smoke"))
	t.Log("pods are ready")

	t.Run("logs", func(t *testing.T) {
		out, err := c.Kubectl(ctx, nil, "-n", "smoke", "logs", "first", "-c", "init")
		if must(t, err); out != "initialised\n" {
			t.Errorf("the init container's log is %q", out)
		}
	})
	t.Run("service", func(t *testing.T) {
		if got := get(ctx, t, c, "http://10.96.1.1/"); got != "hello\n" {
			t.Errorf("the service says %q", got)
		}
	})
	t.Run("kubelet's certificate", func(t *testing.T) {
		var list struct{ Items []any }
		must(t, c.Get(ctx, "https://127.0.0.1:10250/pods", &list))
		if len(list.Items) < 3 {
			t.Errorf("the kubelet has %d pods", len(list.Items))
		}
	})
	t.Run("rights", func(t *testing.T) {
		path, err := c.KubeconfigForAccount(ctx, "smoke", "default")
		must(t, err)
		if out, err := c.Kubectl(ctx, nil, "--kubeconfig", path, "get", "pods", "-n", "smoke"); err == nil || !strings.Contains(err.Error(), "Forbidden") {
			t.Errorf("an account without rights: %s, %v", out, err)
		}
		path, err = c.KubeconfigFor("someone", "system:masters")
		must(t, err)
		_, err = c.Kubectl(ctx, nil, "--kubeconfig", path, "get", "pods", "-n", "smoke")
		must(t, err)
	})
	t.Run("CPU time", func(t *testing.T) {
		var pod struct {
			Metadata struct{ UID string }
			Status   struct {
				ContainerStatuses []struct{ Name, ContainerID string }
			}
		}
		must(t, c.Get(ctx, "/api/v1/namespaces/smoke/pods/first", &pod))
		whole, err := cluster.CgroupCPU(pod.Metadata.UID)
		must(t, err)
		for _, s := range pod.Status.ContainerStatuses {
			part, err := cluster.CgroupCPU(strings.TrimPrefix(s.ContainerID, "containerd://"))
			if must(t, err); part <= 0 || part > whole+time.Second {
				t.Errorf("container %s used %v, its pod %v", s.Name, part, whole)
			}
		}
		if _, err := cluster.CgroupCPU("nobody"); err == nil {
			t.Error("a container that is not there used CPU time")
		}
	})
	t.Run("static pod", func(t *testing.T) {
		var pod struct {
			Metadata struct{ Annotations map[string]string }
		}
		must(t, c.Get(ctx, "/api/v1/namespaces/smoke/pods/fixed-"+c.Node, &pod))
		if _, err := cluster.CgroupCPU(pod.Metadata.Annotations["kubernetes.io/config.hash"]); err != nil {
			t.Error(err)
		}
	})
	t.Run("components", func(t *testing.T) {
		before := containers(ctx, t, c)
		must(t, c.Restart(ctx, cluster.Containerd))
		must(t, c.Restart(ctx, cluster.Kubelet))
		c.Stop(cluster.APIServerProcess)
		if err := c.Get(ctx, "/readyz", nil); err == nil {
			t.Error("the API server answers after its end")
		}
		must(t, c.StartAgain(ctx, cluster.APIServerProcess))
		must(t, c.Pause(cluster.APIServerProcess))
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := c.Get(short, "/readyz", nil); err == nil {
			t.Error("the API server answers while it is paused")
		}
		must(t, c.Continue(cluster.APIServerProcess))
		must(t, c.WaitNode(ctx))
		must(t, c.WaitReady(ctx, "smoke"))
		if after := containers(ctx, t, c); after != before {
			t.Errorf("containers were %s, and are %s", before, after)
		}
	})
	t.Run("CronJob", func(t *testing.T) {
		out, err := c.Kubectl(ctx, nil, "-n", "smoke", "wait", "--for=condition=Complete", "job", "--all", "--timeout=5s")
		for deadline := time.Now().Add(2 * time.Minute); (err != nil || out == "") && time.Now().Before(deadline); {
			out, err = c.Kubectl(ctx, nil, "-n", "smoke", "wait", "--for=condition=Complete", "job", "--all", "--timeout=5s")
			time.Sleep(time.Second)
		}
		must(t, err)
		if !strings.Contains(out, "minutely-") {
			t.Errorf("kubectl wait says %q", out)
		}
	})
	t.Run("Prometheus", func(t *testing.T) { monitor(ctx, t, c) })
	t.Run("schemas", func(t *testing.T) {
		dir := t.TempDir()
		n, err := c.Schemas(ctx, dir)
		if must(t, err); n < 100 {
			t.Errorf("%d schemas", n)
		}
		check := func(manifest string) error {
			_, err := c.Run(ctx, strings.NewReader(manifest), "kubeconform", "-strict", "-schema-location", cluster.SchemaLocation(dir), "-")
			return err
		}
		must(t, check(pods))
		must(t, check(monitors))
		if err := check(strings.Replace(pods, "schedule:", "scedule:", 1)); err == nil {
			t.Error("a wrong field is a good one")
		}
	})
}

const monitors = `
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: first, namespace: smoke, labels: {release: stack}}
spec:
  selector: {matchLabels: {app: first}}
  podMetricsEndpoints: [{port: http, interval: 1s}]
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: first, namespace: smoke, labels: {release: stack}}
spec:
  groups: [{name: g, interval: 1s, rules: [{record: "probe:half", expr: "probe_answer / 2"}]}]
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: other, namespace: smoke, labels: {release: another}}
spec:
  selector: {matchLabels: {app: everywhere}}
  podMetricsEndpoints: [{targetPort: 8080, interval: 1s}]
`

// monitor proves that Prometheus runs what the operator makes of monitors and
// rules, also of those that come later, and of no others.
func monitor(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	must(t, c.StartOperator(ctx))
	must(t, c.Namespace(ctx, "monitoring"))
	_, err := c.StartPrometheus(ctx, cluster.Monitor{Namespace: "monitoring", Release: "stack", Spec: "evaluationInterval: 5s\nscrapeInterval: 5s\n"})
	must(t, err)
	must(t, c.Apply(ctx, monitors))

	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  []any
			}
		}
	}
	query := func(q string) {
		must(t, c.Get(ctx, cluster.PrometheusURL+"/api/v1/query?query="+q, &answer))
	}
	deadline := time.Now().Add(2 * time.Minute)
	for query("probe:half"); len(answer.Data.Result) == 0; query("probe:half") {
		if time.Now().After(deadline) {
			t.Fatal("no sample of the recording rule came")
		}
		time.Sleep(time.Second)
	}
	if got := answer.Data.Result[0]; got.Value[1] != "21" || got.Metric["pod"] != "first" || got.Metric["namespace"] != "smoke" {
		t.Errorf("the rule's result is %v", got)
	}
	if query("up"); len(answer.Data.Result) != 1 {
		t.Errorf("Prometheus scrapes %v", answer.Data.Result)
	}
}

// containers lists the running containers of the pod that nobody replaces.
func containers(ctx context.Context, t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	var pod struct {
		Status struct {
			ContainerStatuses []struct {
				Name, ContainerID string
				RestartCount      int
			}
		}
	}
	must(t, c.Get(ctx, "/api/v1/namespaces/smoke/pods/first", &pod))
	text, err := json.Marshal(pod)
	must(t, err)
	return string(text)
}

func get(ctx context.Context, t *testing.T, c *cluster.Cluster, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	must(t, err)
	resp, err := c.HTTPClient().Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(body)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
