package kube

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/workload"
)

// readPod decodes a pod and returns what is kept of it.
func readPod(t *testing.T, text string, labels ...LabelKey) *derived {
	t.Helper()
	p := new(pod)
	if err := json.Unmarshal([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	d, ok := p.derive(labels)
	if !ok {
		t.Fatal("it is no pod")
	}
	return d
}

const fullPod = `{
  "kind": "Pod", "apiVersion": "v1",
  "metadata": {
    "name": "shop-6d4cf56db6-abcde", "namespace": "store", "uid": "841bfa13-623d-4e85-8c45-991c7dbbaa2b",
    "resourceVersion": "77", "creationTimestamp": "2026-11-22T08:00:00Z",
    "labels": {"pod-template-hash": "6d4cf56db6", "app.kubernetes.io/name": "shop", "team": "a"},
    "annotations": {"team": "b\u0007"},
    "ownerReferences": [
      {"apiVersion": "example.com/v1", "kind": "Other", "name": "x"},
      {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-6d4cf56db6", "controller": true}],
    "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}]
  },
  "spec": {
    "nodeName": "n1",
    "initContainers": [
      {"name": "migrate", "resources": {"requests": {"cpu": "2", "memory": "64Mi"}}},
      {"name": "mesh", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m", "memory": "32Mi"}}}],
    "containers": [
      {"name": "web", "image": "web:1", "env": [{"name": "SECRET", "value": "x"}], "resources": {"requests": {"cpu": "0.2505", "memory": "128Mi", "nvidia.com/gpu": "1"}}},
      {"name": "log", "resources": {"requests": {"memory": "1Gi"}}}],
    "overhead": {"cpu": "10m", "memory": "1Mi"}
  },
  "status": {
    "phase": "Running",
    "initContainerStatuses": [
      {"name": "migrate", "containerID": "containerd://aa", "state": {"terminated": {"exitCode": 0, "containerID": "containerd://aa"}}},
      {"name": "mesh", "containerID": "containerd://bb", "state": {"running": {"startedAt": "2026-11-22T08:00:01Z"}}}],
    "containerStatuses": [
      {"name": "web", "containerID": "cri-o://cc", "state": {"running": {}}, "lastState": {"terminated": {"containerID": "cri-o://c0"}}},
      {"name": "log", "containerID": "docker://dd", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"containerID": "docker://dd"}}}],
    "ephemeralContainerStatuses": [{"name": "debugger", "containerID": "containerd://ee", "state": {"running": {}}}]
  }
}`

func TestFactsOfAPod(t *testing.T) {
	const mi = 1 << 20
	want := &workload.PodFacts{
		UID: "841bfa13-623d-4e85-8c45-991c7dbbaa2b", Namespace: "store", Name: "shop-6d4cf56db6-abcde",
		WorkloadKind: "Deployment", Workload: "shop",
		Labels: []string{"shop", "b\uFFFD", ""},
		// CPU: migrate alone needs more than all that run later; memory: those that run later.
		Reserved: workload.Reserved{CPU: 2010, Memory: (32 + 128 + 1024 + 1) * mi, Devices: 1},
		Containers: map[string]workload.ContainerFacts{
			"aa": {Name: "migrate"},
			"bb": {Name: "mesh", Reserved: workload.Reserved{CPU: 100, Memory: 32 * mi}},
			"cc": {Name: "web", Reserved: workload.Reserved{CPU: 251, Memory: 128 * mi, Devices: 1}},
			"c0": {Name: "web"},
			"dd": {Name: "log"},
			"ee": {Name: "debugger"},
		},
	}
	d := readPod(t, fullPod, LabelKey{Key: "app.kubernetes.io/name"}, LabelKey{Key: "team", Annotation: true}, LabelKey{Key: "missing"})
	if diff := cmp.Diff(want, d.facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	if d.cgroup != want.UID || d.mirror {
		t.Errorf("its cgroup is %q, mirror %v", d.cgroup, d.mirror)
	}

	for _, phase := range []string{"Succeeded", "Failed"} {
		d := readPod(t, strings.Replace(fullPod, `"phase": "Running"`, `"phase": "`+phase+`"`, 1))
		if d.facts.Reserved != (workload.Reserved{}) || d.facts.Containers["cc"] != (workload.ContainerFacts{Name: "web"}) {
			t.Errorf("a pod that has %s reserves %+v, its container %+v", phase, d.facts.Reserved, d.facts.Containers["cc"])
		}
	}
}

func TestRequests(t *testing.T) {
	type r = workload.Reserved
	for _, c := range []struct {
		name, spec, status string
		want               r
	}{
		{"none", `{"containers":[{"name":"a"}]}`, `{}`, r{}},
		{
			"a sidecar started before an init container runs beside it",
			`{"initContainers":[{"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}},{"name":"i","resources":{"requests":{"cpu":"4"}}}],"containers":[{"name":"a","resources":{"requests":{"cpu":"2"}}}]}`,
			`{}`,
			r{CPU: 5000},
		},
		{
			"a sidecar started after an init container does not",
			`{"initContainers":[{"name":"i","resources":{"requests":{"cpu":"4"}}},{"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}}],"containers":[{"name":"a","resources":{"requests":{"cpu":"2"}}}]}`,
			`{}`,
			r{CPU: 4000},
		},
		{
			"the pod's own request wins, resource by resource",
			`{"resources":{"requests":{"cpu":"3"}},"containers":[{"name":"a","resources":{"requests":{"cpu":"1","memory":"1Ki"}}}],"overhead":{"cpu":"1m"}}`,
			`{}`,
			r{CPU: 3001, Memory: 1024},
		},
		{
			"a pod resized in place", `{"containers":[{"name":"a","resources":{"requests":{"cpu":"1","memory":"1Ki"}}}]}`,
			`{"containerStatuses":[{"name":"a","resources":{"requests":{"cpu":"1500m"}}}]}`,
			r{CPU: 1500, Memory: 1024},
		},
		{
			"a pod resized in place as a whole", `{"resources":{"requests":{"cpu":"1"}},"containers":[{"name":"a"}]}`,
			`{"resources":{"requests":{"cpu":"2"}}}`,
			r{CPU: 2000},
		},
		{
			"processors of every maker, and no slices",
			`{"containers":[{"name":"a","resources":{"requests":{"nvidia.com/gpu":"1","amd.com/gpu":"2","gpu.intel.com/i915":"4","gpu.intel.com/xe":"8","nvidia.com/mig-1g.5gb":"16"}}}]}`,
			`{}`,
			r{Devices: 15},
		},
		{"fractions are rounded up", `{"containers":[{"name":"a","resources":{"requests":{"cpu":"1u","memory":"1500m"}}}]}`, `{}`, r{CPU: 1, Memory: 2}},
		{"nonsense is nothing", `{"containers":[{"name":"a","resources":{"requests":{"cpu":"-1","memory":"1e99999999","nvidia.com/gpu":"many"}}}]}`, `{}`, r{}},
		{
			"the largest amounts do not overflow",
			`{"containers":[{"name":"a","resources":{"requests":{"memory":"9E"}}},{"name":"b","resources":{"requests":{"memory":"1e30"}}}]}`,
			`{}`,
			r{Memory: maxAmount},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := readPod(t, `{"metadata":{"name":"p","uid":"u"},"spec":`+c.spec+`,"status":`+c.status+`}`)
			if d.facts.Reserved != c.want {
				t.Errorf("it reserves %+v, want %+v", d.facts.Reserved, c.want)
			}
		})
	}
}

func TestOwners(t *testing.T) {
	controller := func(api, kind, name string) string {
		return `"ownerReferences":[{"apiVersion":"` + api + `","kind":"` + kind + `","name":"` + name + `","controller":true}]`
	}
	const created = `"creationTimestamp":"2026-11-22T08:00:30Z",` // 29672160 minutes, 1795334430 s
	for _, c := range []struct{ name, meta, kind, workload string }{
		{"nobody's", `"name":"p"`, "Pod", "p"},
		{"owned by what does not control it", `"name":"p","ownerReferences":[{"apiVersion":"apps/v1","kind":"DaemonSet","name":"d"}]`, "Pod", "p"},
		{"Deployment", `"name":"p","labels":{"pod-template-hash":"abc"},` + controller("apps/v1", "ReplicaSet", "my-web-abc"), "Deployment", "my-web"},
		{"ReplicaSet of nobody", `"name":"p",` + controller("apps/v1", "ReplicaSet", "my-web-abc"), "ReplicaSet", "my-web-abc"},
		{"ReplicaSet with another hash", `"name":"p","labels":{"pod-template-hash":"xyz"},` + controller("apps/v1", "ReplicaSet", "my-web-abc"), "ReplicaSet", "my-web-abc"},
		{"ReplicaSet that is nothing but a hash", `"name":"p","labels":{"pod-template-hash":"abc"},` + controller("apps/v1", "ReplicaSet", "-abc"), "ReplicaSet", "-abc"},
		{"StatefulSet", `"name":"db-0",` + controller("apps/v1", "StatefulSet", "db"), "StatefulSet", "db"},
		{"DaemonSet", `"name":"p",` + controller("apps/v1", "DaemonSet", "d"), "DaemonSet", "d"},
		{"a user's own kind", `"name":"p",` + controller("kafka.strimzi.io/v1", "StrimziPodSet", "k"), "StrimziPodSet", "k"},
		{"Job", `"name":"p",` + created + controller("batch/v1", "Job", "import"), "Job", "import"},
		{"Job whose name ends in a number", `"name":"p",` + created + controller("batch/v1", "Job", "import-12345678"), "Job", "import-12345678"},
		{"CronJob by minutes", `"name":"p",` + created + controller("batch/v1", "Job", "nightly-29922240"), "CronJob", "nightly"},
		{"CronJob by seconds", `"name":"p",` + created + controller("batch/v1", "Job", "nightly-1795334400"), "CronJob", "nightly"},
		{"CronJob whose run waited for a day", `"name":"p",` + created + controller("batch/v1", "Job", "nightly-29920800"), "CronJob", "nightly"},
		{"Job with a number far ahead", `"name":"p",` + created + controller("batch/v1", "Job", "nightly-29922300"), "Job", "nightly-29922300"},
		{"Job with a number far behind", `"name":"p",` + created + controller("batch/v1", "Job", "nightly-29900000"), "Job", "nightly-29900000"},
		{"Job that is nothing but a number", `"name":"p",` + created + controller("batch/v1", "Job", "-29922240"), "Job", "-29922240"},
		{"static", `"name":"etcd-n1",` + controller("v1", "Node", "n1"), "StaticPod", "etcd"},
		{"static, as its kubelet says it", `"name":"etcd-n1","annotations":{"kubernetes.io/config.source":"file"}`, "StaticPod", "etcd"},
		{"as a kubelet says it of the API's", `"name":"p","annotations":{"kubernetes.io/config.source":"api"}`, "Pod", "p"},
		{"static with a name of its own", `"name":"etcd",` + controller("v1", "Node", "n1"), "StaticPod", "etcd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := readPod(t, `{"metadata":{"uid":"u",`+c.meta+`},"spec":{"nodeName":"N1"}}`)
			if d.facts.WorkloadKind != c.kind || d.facts.Workload != c.workload {
				t.Errorf("it belongs to %s %q, want %s %q", d.facts.WorkloadKind, d.facts.Workload, c.kind, c.workload)
			}
		})
	}
}

func TestStaticPodsGoByTheHashInTheirCgroup(t *testing.T) {
	const hash = "cab1855f104523cc570a78886c3243e7"
	d := readPod(t, `{"metadata":{"name":"etcd-n1","uid":"u","annotations":{"kubernetes.io/config.hash":"`+hash+`","kubernetes.io/config.mirror":"`+hash+`"}}}`)
	if d.cgroup != hash || d.facts.UID != "u" {
		t.Errorf("its cgroup is %q and its uid %q", d.cgroup, d.facts.UID)
	}
	// An annotation alone makes no mirror.
	if d := readPod(t, `{"metadata":{"name":"p","uid":"u","annotations":{"kubernetes.io/config.hash":"`+hash+`"}}}`); d.cgroup != "u" {
		t.Errorf("its cgroup is %q", d.cgroup)
	}
}

func FuzzPod(f *testing.F) {
	f.Add([]byte(fullPod))
	f.Add([]byte(`{"metadata":{"name":"\ud800","uid":"\u0000"},"spec":{"containers":[{"resources":{"requests":{"cpu":1e9,"memory":"1e-99"}}}]}}`))
	f.Add([]byte(`{"metadata":{"name":"p","uid":"u"},"spec":{"overhead":{"cpu":null,"memory":[]}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p := new(pod)
		if json.Unmarshal(text, p) != nil {
			return
		}
		if d, ok := p.derive([]LabelKey{{Key: "team"}}); ok {
			checkFacts(t, d.facts)
		}
	})
}

func FuzzOwner(f *testing.F) {
	f.Add("apps/v1", "ReplicaSet", "web-abc", "abc", "2026-11-22T08:00:30Z")
	f.Add("batch/v1", "Job", "nightly-29922240", "", "2026-11-22T08:00:30Z")
	f.Add("batch/v1", "Job", "nightly-99999999999", "", "9999-12-31T23:59:59Z")
	f.Add("v1", "Node", "n1", "", "")
	f.Fuzz(func(t *testing.T, api, kind, name, hash, created string) {
		p := pod{Metadata: podMeta{Name: "p", UID: "u", CreationTimestamp: created, Labels: map[string]string{"pod-template-hash": hash}}}
		p.Metadata.OwnerReferences = []ownerReference{{APIVersion: api, Kind: kind, Name: name, Controller: true}}
		d, ok := p.derive(nil)
		if !ok {
			t.Fatal("it is no pod")
		}
		checkFacts(t, d.facts)
		if d.facts.WorkloadKind == "" || d.facts.Workload == "" {
			t.Errorf("it belongs to %q %q", d.facts.WorkloadKind, d.facts.Workload)
		}
	})
}
