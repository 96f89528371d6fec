package kube

import (
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"noether/internal/identity"
	"noether/internal/workload"
)

// checkFacts fails when facts could not stand in labels or sums.
func checkFacts(t *testing.T, f *workload.PodFacts) {
	t.Helper()
	texts := append([]string{f.UID, f.Namespace, f.Name, f.WorkloadKind, f.Workload}, f.Labels...)
	for id, c := range f.Containers {
		texts = append(texts, c.Name)
		if id == "" || len(id) > identity.MaxLabel {
			t.Errorf("a container has the id %q", id)
		}
	}
	for _, s := range texts {
		if s != identity.Label(s) || !utf8.ValidString(s) {
			t.Errorf("%q cannot stand in a label", s)
		}
	}
	if f.Reserved.CPU > 1<<60 || f.Reserved.Memory > 1<<60 || f.Reserved.Devices > 1<<60 {
		t.Errorf("it reserves %+v", f.Reserved)
	}
}

// clock is moved by hand.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

// testPod returns a running pod of node n1 with one container.
func testPod(uid, name string) *pod {
	p := &pod{Metadata: podMeta{Name: name, Namespace: "ns", UID: uid}, Spec: podSpec{NodeName: "n1"}}
	p.Spec.Containers = []containerSpec{{Name: "c"}}
	p.Status.Phase = "Running"
	p.Status.ContainerStatuses = []containerStatus{{Name: "c", ContainerID: "containerd://c-" + uid, State: containerState{Running: &struct{}{}}}}
	return p
}

func podNames(n *workload.Names) []string {
	var names []string
	for key, facts := range n.Pods {
		names = append(names, key+" "+facts.Name)
	}
	slices.Sort(names)
	return names
}

func TestFactsAreReusedWhileNothingRelevantChanges(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	x := newIndex("n1", nil, c.now)
	a, b := testPod("a", "one"), testPod("b", "two")
	x.set(a)
	x.set(b)
	names := x.names()
	if got := x.names(); got != names {
		t.Error("the same names are another pointer")
	}
	// The kubelet writes the status of a pod again and again.
	beat := testPod("a", "one")
	beat.Metadata.ResourceVersion = "9"
	x.set(beat)
	if got := x.names(); got != names {
		t.Error("a status that says nothing new made new names")
	}
	if allocs := testing.AllocsPerRun(100, func() { x.names() }); allocs > 0 {
		t.Errorf("asking for names allocates %v times", allocs)
	}
	changed := testPod("a", "one")
	changed.Spec.Containers[0].Resources.Requests = quantities{"cpu": {}}
	x.set(changed)
	if x.names() != names {
		t.Error("a request of 0 is none")
	}
	changed.Status.ContainerStatuses[0].ContainerID = "containerd://new"
	x.set(changed)
	later := x.names()
	if later == names || later.Pods["a"] == names.Pods["a"] {
		t.Error("a new container changed nothing")
	}
	if later.Pods["b"] != names.Pods["b"] {
		t.Error("facts of a pod that did not change are others")
	}
	if _, ok := names.Pods["a"].Containers["new"]; ok {
		t.Error("names that were handed out have changed")
	}
	// A list that says the same is no news either.
	all := make([]*derived, 0, 2)
	for _, p := range []*pod{changed, b} {
		d, _ := x.derive(p)
		all = append(all, d)
	}
	x.replace(all)
	if x.names() != later {
		t.Error("a list with the same pods made new names")
	}
}

func TestPodsComeAndGo(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	x := newIndex("n1", nil, c.now)
	stranger := testPod("z", "elsewhere")
	stranger.Spec.NodeName = "n2"
	old, anew := testPod("old", "db-0"), testPod("new", "db-0")
	for _, p := range []*pod{stranger, old} {
		x.set(p)
	}
	old.Spec.Containers[0].Resources.Requests = readPodSpec(t, `{"cpu":"1"}`)
	x.set(old)
	x.remove(old)
	x.set(anew)
	names := x.names()
	if diff := cmp.Diff([]string{"new db-0", "old db-0"}, podNames(names)); diff != "" {
		t.Errorf("a pod made anew (-want +got):\n%s", diff)
	}
	if got := names.Pods["old"].Reserved; got != (workload.Reserved{}) {
		t.Errorf("a deleted pod reserves %+v", got)
	}
	if x.known() != 1 {
		t.Errorf("%d pods are known, want the one that exists", x.known())
	}
	c.Time = c.Add(linger)
	if diff := cmp.Diff([]string{"new db-0"}, podNames(x.names())); diff != "" {
		t.Errorf("a minute later (-want +got):\n%s", diff)
	}
	x.remove(anew)
	x.remove(anew)
	x.set(anew) // a list that came late
	if x.known() != 1 || len(x.pods) != 1 {
		t.Errorf("%d pods are known of %d", x.known(), len(x.pods))
	}
	x.replace(nil)
	if len(x.names().Pods) != 1 || x.known() != 0 {
		t.Error("pods that a list no longer has exist, or have lost their names at once")
	}
	c.Time = c.Add(linger)
	if len(x.names().Pods) != 0 {
		t.Error("pods that a list no longer has are still there a minute later")
	}
}

func readPodSpec(t *testing.T, requests string) quantities {
	t.Helper()
	p := new(pod)
	decode(t, `{"spec":{"overhead":`+requests+`}}`, p)
	return p.Spec.Overhead
}

func TestAPodBeatsOneThatClaimsItsCgroup(t *testing.T) {
	x := newIndex("n1", nil, time.Now)
	mirror := testPod("u1", "claims")
	mirror.Metadata.Annotations = map[string]string{"kubernetes.io/config.hash": "victim", "kubernetes.io/config.mirror": "victim"}
	x.set(testPod("victim", "true"))
	x.set(mirror)
	for range 20 { // maps are walked in any order
		x.latest = nil
		if got := x.names().Pods["victim"].Name; got != "true" {
			t.Fatalf("the cgroup belongs to pod %q", got)
		}
	}
}

func TestThePodsOfANodeAreBounded(t *testing.T) {
	x := newIndex("n1", nil, time.Now)
	for i := range maxPods + 5 {
		x.set(testPod(strconv.Itoa(i), "p"))
	}
	if n := len(x.pods); n != maxPods {
		t.Errorf("%d pods are kept", n)
	}
	if got := maps.Clone(x.names().Pods); len(got) != maxPods {
		t.Errorf("%d pods have names", len(got))
	}
}
