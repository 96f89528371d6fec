package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// What the tests read of the API's objects: no more, and without the library
// that the agent uses.
type pod struct {
	Metadata struct {
		Name, Namespace, UID string
		DeletionTimestamp    string
		Labels, Annotations  map[string]string
		CreationTimestamp    time.Time
		OwnerReferences      []struct{ Kind, Name string }
	}
	Spec struct {
		NodeName                   string
		InitContainers, Containers []container
	}
	Status struct {
		Phase, PodIP                             string
		StartTime                                time.Time
		ContainerStatuses, InitContainerStatuses []containerStatus
		Conditions                               []struct{ Type, Status string }
	}
	past map[string]string // containers that were replaced: name by id
}

type container struct {
	Name, RestartPolicy string
	Resources           struct{ Requests map[string]string }
}

type containerStatus struct {
	Name, ContainerID string
	State             struct {
		Running    *struct{ StartedAt time.Time }
		Terminated *struct {
			FinishedAt time.Time
		}
	}
	RestartCount int
}

func (p pod) name() string { return p.Metadata.Namespace + "/" + p.Metadata.Name }

func (p pod) app() string { return p.Metadata.Labels["app.kubernetes.io/name"] }

func (p pod) ready() bool {
	for _, c := range p.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

func (p pod) finished() bool { return p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed" }

// cgroup is the uid in the path of the pod's cgroup: that of a static pod is
// the one its kubelet gave it, which the API's copy tells in an annotation.
func (p pod) cgroup() string {
	if uid := p.Metadata.Annotations["kubernetes.io/config.hash"]; uid != "" {
		return uid
	}
	return p.Metadata.UID
}

// ids are the container's names by container id.
func (p pod) ids() map[string]string {
	ids := maps.Clone(p.past)
	if ids == nil {
		ids = map[string]string{}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if _, id, ok := strings.Cut(c.ContainerID, "://"); ok {
			ids[id] = c.Name
		}
	}
	return ids
}

// millicores is the pod's request of CPU: the larger of what its containers
// and sidecars want together and what an init container wants beside the
// sidecars started before it
// (https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers).
func (p pod) millicores(t *testing.T) int64 {
	t.Helper()
	return p.request("cpu", func(quantity string) int64 { return millicores(t, quantity) })
}

func (p pod) request(resource string, number func(quantity string) int64) int64 {
	if p.finished() {
		return 0
	}
	var sum, sidecars, largest int64
	for _, c := range p.Spec.Containers {
		sum += number(c.Resources.Requests[resource])
	}
	for _, c := range p.Spec.InitContainers {
		request := number(c.Resources.Requests[resource])
		if c.RestartPolicy == "Always" {
			sidecars += request
		}
		if c.RestartPolicy != "Always" {
			largest = max(largest, request+sidecars)
		}
	}
	return max(sum+sidecars, largest)
}

func millicores(t *testing.T, quantity string) int64 {
	t.Helper()
	if quantity == "" {
		return 0
	}
	number, milli := strings.CutSuffix(quantity, "m")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		t.Fatalf("request of CPU %q: %v", quantity, err)
	}
	if milli {
		return int64(n)
	}
	return int64(n * 1000)
}

// owner is who a pod of these tests belongs to, written down by hand.
func owner(p pod) (kind, workload string) {
	app := p.app()
	switch component := p.Metadata.Labels["app.kubernetes.io/component"]; component {
	case "agent":
		return "DaemonSet", p.Metadata.Labels["app.kubernetes.io/instance"]
	case "carbon", "ui":
		return "Deployment", p.Metadata.Labels["app.kubernetes.io/instance"] + "-" + component
	case "impact":
		return "CronJob", p.Metadata.Labels["app.kubernetes.io/instance"] + "-shop"
	case "test":
		return "Pod", p.Metadata.Name
	}
	switch app {
	case "orders":
		return "StatefulSet", app
	case "newsletter":
		return "CronJob", app
	case "invoices":
		return "Job", app
	case "till", "second-till":
		return "StaticPod", app
	}
	return "Deployment", app
}

// known is what the API has ever said of each pod, by the uid in its cgroup:
// the truth that no page may contradict.
type known struct {
	mu   sync.Mutex
	pods map[string]pod
}

func (k *known) learn(pods []pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pods == nil {
		k.pods = map[string]pod{}
	}
	for _, p := range pods {
		old, ok := k.pods[p.cgroup()]
		p.past = map[string]string{}
		if ok { // ids of containers that were replaced stay true
			maps.Copy(p.past, old.past)
			maps.Copy(p.past, old.ids())
		}
		k.pods[p.cgroup()] = p
	}
}

// all are the pods that the API ever had.
func (k *known) all() []pod {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Values(k.pods))
}

// contradictions are the series of a page that are not true: another pod's
// name, another owner, another container's name, or a container that is none,
// such as the sandbox of a known pod. Series that only tell a uid are true.
//
// The kubelet itself knows a static pod by the uid that it gave it, and not by
// that of the API's copy.
func (k *known) contradictions(p page) (wrong []string) {
	kubelet := len(p.all("noether_names_up", "source", "kubelet")) > 0
	byUID := map[string]pod{}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.pods {
		byUID[p.Metadata.UID], byUID[p.cgroup()] = p, p
	}
	say := func(series, format string, args ...any) {
		wrong = append(wrong, series+": "+fmt.Sprintf(format, args...))
	}
	for _, s := range p.all("noether_pod_joules_total", "pod", "*") {
		truth, ok := byUID[s.Labels["pod_uid"]]
		if !ok {
			say(s.Series, "the API never had a pod of this uid")
			continue
		}
		kind, workload := owner(truth)
		switch l := s.Labels; {
		case l["namespace"]+"/"+l["pod"] != truth.name():
			say(s.Series, "it is %s", truth.name())
		case l["pod_uid"] != truth.Metadata.UID && (!kubelet || l["pod_uid"] != truth.cgroup()):
			say(s.Series, "the API knows it by the uid %s", truth.Metadata.UID)
		case l["workload_kind"] != kind, workload != "" && l["workload"] != workload:
			say(s.Series, "it belongs to the %s %s", kind, workload)
		}
	}
	for _, s := range p.all("noether_container_joules_total", "pod", "*") {
		truth, ok := byUID[s.Labels["pod_uid"]]
		if !ok {
			continue // said above
		}
		name, ok := truth.ids()[s.Labels["container_id"]]
		switch {
		case !ok:
			say(s.Series, "%s has no such container", truth.name())
		case name != s.Labels["container"]:
			say(s.Series, "it is the container %s", name)
		case s.Labels["namespace"]+"/"+s.Labels["pod"] != truth.name():
			say(s.Series, "it is a container of %s", truth.name())
		}
	}
	return wrong
}

// missing are the running pods and containers, older than wait, that the page
// does not name.
func missing(p page, pods []pod, now time.Time, wait time.Duration) (absent []string) {
	named := map[string]bool{}
	for _, s := range p.all("noether_pod_joules_total", "pod", "*") {
		named[s.Labels["namespace"]+"/"+s.Labels["pod"]+" "+s.Labels["pod_uid"]] = true
	}
	for _, s := range p.all("noether_container_joules_total", "pod", "*", "container", "*") {
		named[s.Labels["container_id"]] = true
	}
	for _, p := range pods {
		if p.Status.Phase != "Running" {
			continue
		}
		old := false
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if c.State.Running == nil || now.Sub(c.State.Running.StartedAt) < wait {
				continue
			}
			old = true
			if _, id, ok := strings.Cut(c.ContainerID, "://"); ok && !named[id] {
				absent = append(absent, "container "+c.Name+" of "+p.name())
			}
		}
		if old && !named[p.name()+" "+p.Metadata.UID] && !named[p.name()+" "+p.cgroup()] {
			absent = append(absent, "pod "+p.name())
		}
	}
	slices.Sort(absent)
	return absent
}

func TestContradictions(t *testing.T) {
	shop := func(name, uid, app, id string) pod {
		var p pod
		p.Metadata.Name, p.Metadata.Namespace, p.Metadata.UID = name, "shop", uid
		p.Metadata.Labels = map[string]string{"app.kubernetes.io/name": app}
		p.Status.Phase = "Running"
		s := containerStatus{Name: app, ContainerID: "containerd://" + id}
		s.State.Running = &struct{ StartedAt time.Time }{time.Unix(1e9, 0)}
		p.Status.ContainerStatuses = []containerStatus{s}
		return p
	}
	series := func(uid, name, kind, workload, container, id string) string {
		l := fmt.Sprintf(`namespace="shop",pod="%s",pod_uid="%s"`, name, uid)
		return fmt.Sprintf("noether_pod_joules_total{%s,workload_kind=%q,workload=%q,component=\"cpu\",part=\"idle\"} 1\n", l, kind, workload) +
			fmt.Sprintf("noether_container_joules_total{%s,container=%q,container_id=%q,component=\"cpu\",part=\"idle\"} 1\n", l, container, id) +
			"noether_node_joules_total{component=\"cpu\"} 1\n"
	}
	k := &known{}
	pods := []pod{shop("orders-0", "u1", "orders", "c1")}
	k.learn(pods)
	for name, c := range map[string]struct {
		text  string
		wrong int
	}{
		"the truth":       {series("u1", "orders-0", "StatefulSet", "orders", "orders", "c1"), 0},
		"another's name":  {series("u1", "orders-1", "StatefulSet", "orders", "orders", "c1"), 2},
		"another's kind":  {series("u1", "orders-0", "Deployment", "orders", "orders", "c1"), 1},
		"unheard of":      {series("u2", "orders-0", "StatefulSet", "orders", "orders", "c1"), 1},
		"a sandbox":       {series("u1", "orders-0", "StatefulSet", "orders", "", "c2"), 1},
		"wrong container": {series("u1", "orders-0", "StatefulSet", "orders", "other", "c1"), 1},
		"a uid, no name":  {series("u3", "", "", "", "", "c9"), 0},
	} {
		p := readPage(t, c.text)
		if got := k.contradictions(p); len(got) != c.wrong {
			t.Errorf("%s: %q", name, got)
		}
		if got := missing(p, pods, time.Unix(1e9+5, 0), time.Second); (len(got) == 0) != (name != "another's name" && name != "unheard of" && name != "a sandbox" && name != "a uid, no name") {
			t.Errorf("%s: missing %q", name, got)
		}
	}
	if got := missing(readPage(t, ""), pods, time.Unix(1e9+5, 0), 10*time.Second); got != nil {
		t.Errorf("too young to be missed, but %q", got)
	}
	var sidecar pod
	request := func(name, policy, cpu string) container {
		c := container{Name: name, RestartPolicy: policy}
		c.Resources.Requests = maps.Collect(maps.All(map[string]string{"cpu": cpu}))
		return c
	}
	sidecar.Spec.Containers = []container{request("a", "", "100m"), request("b", "", "0.05")}
	sidecar.Spec.InitContainers = []container{request("s", "Always", "20m"), request("i", "", "200m")}
	if got := sidecar.millicores(t); got != 220 {
		t.Errorf("effective request %d, want 220", got)
	}
}
