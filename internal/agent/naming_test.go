package agent

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// facts returns those of a pod of Deployment web whose containers are given as
// id and name.
func facts(uid, name string, cpu uint64, containers ...string) *workload.PodFacts {
	f := &workload.PodFacts{
		UID: uid, Namespace: "shop", Name: name, WorkloadKind: "Deployment", Workload: "web",
		Reserved: workload.Reserved{CPU: cpu}, Containers: map[string]workload.ContainerFacts{},
	}
	for i := 0; i < len(containers); i += 2 {
		f.Containers[containers[i]] = workload.ContainerFacts{Name: containers[i+1]}
	}
	return f
}

// asked returns names with somebody to ask.
func asked(pods map[string]*workload.PodFacts) *workload.Names {
	return &workload.Names{Pods: pods, AsksPods: true}
}

// listed returns what is exported of pods and containers, with the CPU energy so far.
func listed(s *snapshot.Snapshot) map[string]unit.Energy {
	out := map[string]unit.Energy{}
	for _, list := range [][]snapshot.Account{s.Pods, s.Containers} {
		for i := range list {
			o := list[i].Owner
			name := fmt.Sprintf("%s/%s %s", o.Pod.Namespace, o.Pod.Name, o.Pod.UID)
			if o.Container.ID != "" {
				name += " " + o.Container.ID + "=" + o.Container.Name
			}
			out[name] = list[i].Total.Component(energy.CPU) / unit.Joule
		}
	}
	return out
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// busyPod lists a pod with a pause container and one more; 1 J each, its own 1 J.
func (w *world) busyPod(uid string) {
	w.cgroup("/pod/"+uid, time.Second)
	w.cgroup("/pod/"+uid+"/pause-"+uid, time.Second)
	w.cgroup("/pod/"+uid+"/c-"+uid, time.Second)
}

func TestPodWaitsForItsName(t *testing.T) {
	type J = map[string]unit.Energy
	tick := func(w *world) *snapshot.Snapshot {
		w.busyPod("u1")
		return w.enter(20*time.Second, 20)
	}
	named := asked(map[string]*workload.PodFacts{"u1": facts("u1", "web-1", 0, "c-u1", "nginx")})

	t.Run("known before", func(t *testing.T) {
		w := newWorld(t, Default())
		w.names = named
		same(t, "at once", J{"shop/web-1 u1": 3, "shop/web-1 u1 c-u1=nginx": 1}, listed(tick(w)))
	})
	t.Run("in the next tick", func(t *testing.T) {
		w := newWorld(t, Default())
		w.names = asked(nil)
		s := tick(w)
		same(t, "waiting", J{}, listed(s))
		if got := s.Retired[workload.PodOwner][energy.CPU]; got != 3*unit.Joule {
			t.Errorf("while it waits %d µJ are held", got)
		}
		w.names = named
		s = tick(w)
		same(t, "named", J{"shop/web-1 u1": 6, "shop/web-1 u1 c-u1=nginx": 2}, listed(s))
		if got := s.Retired[workload.PodOwner][energy.CPU]; got != 0 {
			t.Errorf("then %d µJ are held", got)
		}
	})
	t.Run("late", func(t *testing.T) {
		w := newWorld(t, Default())
		w.names = asked(nil)
		tick(w)
		same(t, "second tick", J{}, listed(tick(w)))
		s := tick(w)
		same(t, "by uid", J{"/ u1": 9, "/ u1 c-u1=": 3, "/ u1 pause-u1=": 3}, listed(s))
		if !s.NamesPods || s.Unnamed != 1 || len(s.Namespaces) != 0 {
			t.Errorf("unnamed %d, views %v", s.Unnamed, s.Namespaces)
		}
		w.names = named
		s = tick(w)
		same(t, "named", J{"shop/web-1 u1": 12, "shop/web-1 u1 c-u1=nginx": 4}, listed(s))
		if got := s.Namespaces[0].Total.Component(energy.CPU); got != 12*unit.Joule || s.Unnamed != 0 {
			t.Errorf("the namespace has %d µJ, unnamed %d", got, s.Unnamed)
		}
		if got := s.Workloads[0].Delta.Component(energy.CPU); got != 3*unit.Joule {
			t.Errorf("in this tick the workload used %d µJ", got)
		}
	})
	t.Run("nobody is asked", func(t *testing.T) {
		w := newWorld(t, Default())
		w.names = &workload.Names{AsksContainers: true}
		same(t, "at once", J{"/ u1": 3, "/ u1 c-u1=": 1, "/ u1 pause-u1=": 1}, listed(tick(w)))
	})
	t.Run("it ends while waiting", func(t *testing.T) {
		c := Default()
		c.KeepFinished = 0
		w := newWorld(t, c)
		w.names = asked(nil)
		tick(w)
		for range 6 {
			w.enter(20*time.Second, 20)
		}
		s := w.enter(20*time.Second, 20)
		if got := s.Retired[workload.PodOwner][energy.CPU]; got != 3*unit.Joule || len(s.Pods) != 0 {
			t.Errorf("retired %d µJ, %d pods", got, len(s.Pods))
		}
	})
}

// A name once told stays: through a restart of the container, which the facts
// then no longer list, and when the API has forgotten the pod.
func TestNamesStay(t *testing.T) {
	w := newWorld(t, Default())
	w.names = asked(map[string]*workload.PodFacts{"u1": facts("u1", "web-1", 0, "c-u1", "nginx")})
	w.busyPod("u1")
	w.enter(20*time.Second, 20)
	w.names = asked(map[string]*workload.PodFacts{"u1": facts("u1", "web-1", 0, "c2", "nginx")})
	w.cgroup("/pod/u1/c2", time.Second)
	w.cgroup("/pod/u1/c3", time.Second) // not listed by the API yet
	same(t, "restarted", map[string]unit.Energy{"shop/web-1 u1": 5, "shop/web-1 u1 c-u1=nginx": 1, "shop/web-1 u1 c2=nginx": 1},
		listed(w.enter(20*time.Second, 20)))
	w.names = asked(nil)
	w.busyPod("u1")
	same(t, "forgotten", map[string]unit.Energy{"shop/web-1 u1": 8, "shop/web-1 u1 c-u1=nginx": 2, "shop/web-1 u1 c2=nginx": 1},
		listed(w.enter(20*time.Second, 20)))
}

func TestContainersOutsidePodsWaitForTheirNames(t *testing.T) {
	w := newWorld(t, Default())
	w.names = &workload.Names{AsksContainers: true}
	tick := func() *snapshot.Snapshot {
		w.cgroup("/ctr/c1", time.Second)
		w.cgroup("/ctr/c2", time.Second)
		return w.enter(20*time.Second, 20)
	}
	s := tick()
	if len(s.Containers) != 0 || s.Retired[workload.ContainerOwner][energy.CPU] != 2*unit.Joule {
		t.Errorf("%v, retired %v", listed(s), s.Retired)
	}
	if got := w.books.missing(); len(got) != 2 || got[0].Container.ID != "c1" {
		t.Errorf("missing: %v", got)
	}
	w.names = &workload.Names{AsksContainers: true, Containers: map[string]string{"c1": "db"}}
	same(t, "one is named", map[string]unit.Energy{"/  c1=db": 2}, listed(tick()))
	s = tick()
	same(t, "the other has none", map[string]unit.Energy{"/  c1=db": 3, "/  c2=": 3}, listed(s))
	if s.Retired[workload.ContainerOwner][energy.CPU] != 0 {
		t.Errorf("retired %v", s.Retired)
	}
	w.names = &workload.Names{AsksContainers: true, Containers: map[string]string{"c1": "renamed", "c2": "late"}}
	same(t, "renamed", map[string]unit.Energy{"/  c1=renamed": 4, "/  c2=late": 4}, listed(tick()))
	w.names = &workload.Names{AsksContainers: true}
	same(t, "forgotten", map[string]unit.Energy{"/  c1=renamed": 5, "/  c2=late": 5}, listed(tick()))
}

// The uid of a static pod's cgroup is not the API's. Whatever an API says, no
// two pods are exported under the same uid.
func TestUIDsOfTheAPI(t *testing.T) {
	w := newWorld(t, Default())
	w.names = asked(map[string]*workload.PodFacts{"hash1": facts("api", "etcd", 0), "hash2": facts("api", "etcd", 0), "u3": facts("u4", "x", 0)})
	for _, uid := range []string{"hash1", "hash2", "u3"} {
		w.cgroup("/pod/"+uid, time.Second)
	}
	same(t, "two with one uid", map[string]unit.Energy{"shop/etcd api": 1, "shop/etcd hash2": 1, "shop/x u4": 1}, listed(w.enter(20*time.Second, 20)))
	w.cgroup("/pod/u4", time.Second)
	w.enter(20*time.Second, 20)
	w.enter(20*time.Second, 20)
	w.cgroup("/pod/u4", 0)
	s := w.enter(20*time.Second, 20)
	same(t, "whose uid it is", map[string]unit.Energy{"shop/etcd api": 1, "shop/etcd hash2": 1, "shop/x u3": 1, "/ u4": 1}, listed(s))
	if got := w.books.missing(); len(got) != 1 || got[0].Pod.UID != "u4" {
		t.Errorf("missing: %v", got)
	}
	// The mirror pod was made again: another uid for the same cgroup.
	w.names = asked(map[string]*workload.PodFacts{"hash1": facts("api2", "etcd", 0)})
	same(t, "made again", map[string]unit.Energy{"shop/etcd api2": 1, "shop/etcd hash2": 1, "shop/x u3": 1, "/ u4": 1}, listed(w.enter(20*time.Second, 20)))
	// A uid that a pod once had is not another's for as long as it is in the books.
	w.names = asked(map[string]*workload.PodFacts{"hash2": facts("api", "etcd", 0)})
	same(t, "the first uid", map[string]unit.Energy{"shop/etcd api2": 1, "shop/etcd hash2": 1, "shop/x u3": 1, "/ u4": 1}, listed(w.enter(20*time.Second, 20)))
}

// A sandbox is always missing; what has a name is not.
func TestMissing(t *testing.T) {
	w := newWorld(t, Default())
	w.names = asked(map[string]*workload.PodFacts{"u1": facts("u1", "web-1", 0, "c-u1", "nginx")})
	w.busyPod("u1")
	w.busyPod("u2")
	w.cgroup("/ctr/c1", time.Second) // nobody names those
	w.enter(20*time.Second, 20)
	var got []string
	for _, o := range w.books.missing() {
		got = append(got, o.Pod.UID+" "+o.Container.ID)
	}
	slices.Sort(got)
	same(t, "missing", []string{"u1 pause-u1", "u2 ", "u2 c-u2", "u2 pause-u2"}, got)
	w.enter(20*time.Second, 20) // both have ended
	w.enter(20*time.Second, 20)
	if got := w.books.missing(); len(got) != 0 {
		t.Errorf("of what has ended: %v", got)
	}
}

func TestPodHasTheCPUTimeOfAllItsParts(t *testing.T) {
	w := newWorld(t, Default())
	w.names = asked(map[string]*workload.PodFacts{"u1": facts("u1", "web-1", 0, "c-u1", "nginx")})
	w.busyPod("u1")
	if got := w.enter(20*time.Second, 20).Pods[0].CPUTotal; got != 3*time.Second {
		t.Errorf("pod, pause and container used %s", got)
	}
}

func idle(a *snapshot.Account) unit.Energy { return a.Delta[energy.CPU][energy.Idle] }

// A quarter of the machine is idle energy of 80 J; 4000 millicores can be reserved.
func TestIdleIsSharedByRequests(t *testing.T) {
	w := newWorld(t, Default())
	busy := facts("u1", "busy", 1000, "c1", "app", "c2", "sidecar")
	busy.Containers["c1"] = workload.ContainerFacts{Name: "app", Reserved: workload.Reserved{CPU: 700}}
	quiet := facts("u2", "quiet", 500)
	future := facts("u3", "future", 250)
	done := facts("u4", "done", 0)
	names := asked(map[string]*workload.PodFacts{"u1": busy, "u2": quiet, "u3": future, "u4": done})
	names.Allocatable = workload.Reserved{CPU: 4000}
	w.names = names
	tick := func(paths ...string) *snapshot.Snapshot {
		for _, p := range paths {
			w.cgroup(p, 0)
		}
		s := w.enter(0, 80)
		got := s.System[workload.Unreserved].Delta[energy.CPU][energy.Idle]
		for i := range s.Pods {
			got += idle(&s.Pods[i])
		}
		if got != 80*unit.Joule || !s.SharesIdle || s.System[workload.IdleAccount].Total[energy.CPU][energy.Idle] != 0 {
			t.Fatalf("%d µJ are shared", got)
		}
		return s
	}
	shares := func(s *snapshot.Snapshot) map[string]unit.Energy {
		out := map[string]unit.Energy{}
		for i := range s.Pods {
			out[s.Pods[i].Owner.Pod.Name] = idle(&s.Pods[i]) / unit.Joule
		}
		for i := range s.Containers {
			out[s.Containers[i].Owner.Container.Name] = idle(&s.Containers[i]) / unit.Joule
		}
		return out
	}
	s := tick("/pod/u1", "/pod/u1/c1", "/pod/u1/c2", "/pod/u2/pause")
	same(t, "all", map[string]unit.Energy{"busy": 20, "app": 14, "sidecar": 0, "quiet": 10, "future": 5}, shares(s))

	// What has ended holds nothing although the API, which is away, still says so.
	s = tick("/pod/u1", "/pod/u1/c2")
	same(t, "some have ended", map[string]unit.Energy{"busy": 20, "app": 0, "sidecar": 0, "quiet": 0, "future": 5}, shares(s))
	for range 200 { // until it has retired; a new answer does not bring it back
		w.cgroup("/pod/u1", 0)
		w.enter(0, 80)
	}
	again := *names
	w.names = &again
	s = tick("/pod/u1", "/pod/u2/pause2")
	same(t, "it runs again", map[string]unit.Energy{"busy": 20, "quiet": 10, "future": 5}, shares(s))
	for range 200 {
		w.cgroup("/pod/u1", 0)
		w.enter(0, 80)
	}
	once := *names
	w.names = &once
	same(t, "retired", map[string]unit.Energy{"busy": 20, "future": 5}, shares(tick("/pod/u1")))

	// The one that never began is deleted; the other has finished.
	w.names = asked(map[string]*workload.PodFacts{"u1": facts("u1", "busy", 0)})
	w.names.Allocatable = names.Allocatable
	same(t, "finished", map[string]unit.Energy{"busy": 0, "future": 0}, shares(tick("/pod/u1")))
}

// When nobody can say who ran, what ran before holds what it held.
func TestRequestsHoldWhileUsageFails(t *testing.T) {
	w := newWorld(t, Default())
	w.names = asked(map[string]*workload.PodFacts{"u1": facts("u1", "web-1", 1000)})
	w.names.Allocatable = workload.Reserved{CPU: 4000}
	w.cgroup("/pod/u1", 0)
	w.enter(0, 80)
	w.now += 5 * time.Second
	w.books.enter(&workload.Usage{}, []energy.Amount{{Component: energy.CPU, Energy: 80, HasFloor: true, Floor: 80}}, w.now)
	if got := idle(&w.books.snapshot().Pods[0]); got != 20 {
		t.Errorf("the pod has %d µJ", got)
	}
}

func TestViewsKeepWhatPodsUsed(t *testing.T) {
	c := Default()
	c.KeepFinished = 0
	w := newWorld(t, c)
	w.names = asked(nil)
	w.enter(0, 0)
	pods := map[string]*workload.PodFacts{}
	for i := range 8 { // short pods one after the other, named one tick late
		uid := "u" + strconv.Itoa(i)
		w.cgroup("/pod/"+uid, time.Second)
		w.enter(20*time.Second, 20)
		pods[uid] = facts(uid, "job-"+uid, 0)
		w.names = asked(maps.Clone(pods))
		w.enter(0, 0)
	}
	for range 5 {
		w.enter(0, 0)
	}
	s := w.enter(0, 0)
	if len(s.Pods) != 0 || len(s.Workloads) != 1 || len(s.Namespaces) != 1 {
		t.Fatalf("%d pods, %d workloads, %d namespaces", len(s.Pods), len(s.Workloads), len(s.Namespaces))
	}
	for _, v := range []snapshot.View{s.Namespaces[0], s.Workloads[0]} {
		if got := v.Total.Component(energy.CPU); got != 8*unit.Joule {
			t.Errorf("%+v has %d µJ", v, got)
		}
		if v.Fresh != (w.now <= 70*time.Second) {
			t.Errorf("at %s fresh is %t", w.now, v.Fresh)
		}
	}
	w.names = asked(map[string]*workload.PodFacts{"back": facts("back", "web-9", 0)})
	w.cgroup("/pod/back", time.Second)
	if got := w.enter(20*time.Second, 20).Workloads[0].Total.Component(energy.CPU); got != 9*unit.Joule {
		t.Errorf("when it comes back the workload has %d µJ", got)
	}
}

// Rows of what was there at the start are no news to anybody.
func TestFreshRows(t *testing.T) {
	w := newWorld(t, Default())
	late := facts("u2", "late", 0)
	late.Namespace = "jobs"
	w.names = asked(map[string]*workload.PodFacts{"u1": facts("u1", "old", 0), "u2": late})
	w.cgroup("/pod/u1", 0)
	w.enter(0, 0)
	w.cgroup("/pod/u2", 0)
	fresh := func(s *snapshot.Snapshot) string { return fmt.Sprint(s.Namespaces[0].Fresh, s.Namespaces[1].Fresh) }
	if got := fresh(w.enter(0, 0)); got != "true false" {
		t.Errorf("jobs, shop: fresh %s", got)
	}
	for range 12 {
		w.enter(0, 0)
	}
	if got := fresh(w.enter(0, 0)); got != "false false" {
		t.Errorf("after a minute: fresh %s", got)
	}
}

// An API that is away when the agent starts must not cost the views what their
// pods used meanwhile: increase() does not see what a first figure holds.
func TestRowsOfLateNamesAreFresh(t *testing.T) {
	w := newWorld(t, Default())
	w.names = asked(nil)
	for range 360 {
		w.cgroup("/pod/u1", time.Second)
		w.enter(20*time.Second, 20)
	}
	w.names = asked(map[string]*workload.PodFacts{"u1": facts("u1", "old", 0)})
	for i := range 20 {
		w.cgroup("/pod/u1", time.Second)
		s := w.enter(20*time.Second, 20)
		for _, v := range []snapshot.View{s.Namespaces[0], s.Workloads[0]} {
			if got := v.Total.Component(energy.CPU); got != unit.Energy(361+i)*unit.Joule {
				t.Fatalf("%+v has %d µJ", v, got)
			}
			if v.Fresh != (i <= 12) {
				t.Fatalf("%d ticks after its birth fresh is %t", i, v.Fresh)
			}
		}
	}
}

// However long a tick is, the first page that has a row has it at 0.
func TestFreshRowsAtLongIntervals(t *testing.T) {
	c := Default()
	c.Interval = MaxInterval
	w := newWorld(t, c)
	for range 3 {
		w.now += MaxInterval
		w.enter(0, 0)
	}
	w.names = asked(map[string]*workload.PodFacts{"u1": facts("u1", "job", 0)})
	for i, want := range []bool{true, false} {
		w.now += MaxInterval
		w.cgroup("/pod/u1", time.Second)
		s := w.enter(20*time.Second, 20)
		if s.Namespaces[0].Fresh != want || s.Workloads[0].Fresh != want {
			t.Errorf("on page %d fresh is %t", i, s.Namespaces[0].Fresh)
		}
	}
}

func TestRowsOfNamesThatComeSoonAreNotFresh(t *testing.T) {
	w := newWorld(t, Default())
	w.names = asked(nil)
	w.cgroup("/pod/u1", time.Second)
	w.enter(0, 0)
	w.names = asked(map[string]*workload.PodFacts{"u1": facts("u1", "old", 0)})
	w.cgroup("/pod/u1", time.Second)
	if s := w.enter(20*time.Second, 20); s.Namespaces[0].Fresh || s.Workloads[0].Fresh {
		t.Error("they are fresh")
	}
}

func TestViewsAreBounded(t *testing.T) {
	w := newWorld(t, Default())
	b := w.books
	for i := range maxRows + 500 {
		b.now += time.Second
		r := b.rollups[1].row(rowName{"ns", "Job", strconv.Itoa(i)}, true)
		r.pods = 1
		if i != 3 {
			r.leave(b.now)
		}
		if n := len(b.rollups[1].sorted); n > maxRows || n != len(b.rollups[1].rows) {
			t.Fatalf("%d rows", n)
		}
	}
	for i, want := range map[int]bool{0: false, 3: true, 499: false, maxRows + 499: true} {
		if _, ok := b.rollups[1].rows[rowName{"ns", "Job", strconv.Itoa(i)}]; ok != want {
			t.Errorf("row %d is there: %t", i, ok)
		}
	}
}
