// Package kubernetes runs Noether on a real one-node Kubernetes, installed by
// Helm as users install it and scraped by a real Prometheus that a real
// Prometheus Operator configured, and checks what it says of real pods against
// the kernel's own counters and the API's own words.
//
// One cluster serves all of it: the tests are subtests, in an order, since some
// of them stop parts of the cluster. It needs root and takes minutes.
package kubernetes

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen; it is far more than
// that takes, so that a busy machine fails no test.
const patience = 3 * time.Minute

const (
	scrapeEvery = 15 * time.Second // the ServiceMonitor's interval
	tick        = time.Second      // the agents' interval
	gramsPerKWh = 350.0            // in the manifest of the SCI
)

func TestKubernetes(t *testing.T) {
	l := start(t)
	l.deploy(t)
	t.Run("the chart is well-formed to every judge", l.testChart)
	t.Run("every pod and container has its right name and owner", l.testNames)
	t.Run("one hub knows the carbon intensity for all agents", l.testHub)
	t.Run("energy is divided by CPU time, also that of short Jobs", l.testShares)
	t.Run("the labels in Prometheus are the measured pods' own", l.testLabels)
	t.Run("series join with those of kube-state-metrics", l.testJoins)
	t.Run("idle power goes by requests", l.testRequests)
	t.Run("a pod of the same name is another pod", l.testSameName)
	t.Run("a Job of short pods counts in full", l.testJob)
	t.Run("grams are joules by PUE and intensity", l.testCarbon)
	t.Run("the page shows the cluster's energy", l.testUI)
	t.Run("the unprivileged variant has no capability", l.testUnprivileged)
	t.Run("noether check says what works in each pod", l.testCheck)
	t.Run("probes answer under load and consume nothing", l.testProbes)
	t.Run("the API server is away for a minute", l.testOutage)
	t.Run("the agent is killed", l.testKill)
	t.Run("containerd is restarted", l.testContainerd)
	t.Run("fifty pods with their sandboxes cost few requests", l.testLookups)
	t.Run("a kubelet of another authority is refused by name", l.testWrongAuthority)
	t.Run("the CronJob's score is that of the window", l.testScore)
	t.Run("uninstalling leaves nothing", l.testUninstall)
}

// near fails unless got is within tolerance (a fraction) of want.
func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance*math.Abs(want) {
		t.Errorf("%s: %.4f, want %.4f within %g %%", what, got, want, 100*tolerance)
		return
	}
	t.Logf("%s: %.4f, the truth is %.4f", what, got, want)
}

// complain fails the test with what is wrong, shortened.
func complain(t *testing.T, wrong []string) {
	t.Helper()
	if len(wrong) > 0 {
		t.Errorf("%d series are wrong, among them:\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 6)], "\n"))
	}
}

// eventually waits until check has nothing to object to.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within %v: %v", what, patience, err)
}

// testNames: each running pod older than a few ticks is on the page under its
// right name, with each of its containers, and nothing there contradicts the API.
func (l *lab) testNames(t *testing.T) {
	for _, a := range []*agent{l.api, l.kubelet} {
		t.Run(a.release, func(t *testing.T) {
			eventually(t, "all names", func() error {
				pods := l.pods(t)
				p := a.page(t)
				if absent := missing(p, pods, time.Now(), 10*tick); absent != nil {
					return fmt.Errorf("%s are not named", strings.Join(absent, ", "))
				}
				return nil
			})
			p := a.page(t)
			complain(t, l.knownNow(t).contradictions(p))
			kinds := map[string]string{}
			for _, s := range p.all("noether_pod_joules_total", "namespace", "shop") {
				kinds[s.Labels["workload"]] = s.Labels["workload_kind"]
			}
			t.Logf("workloads of the shop: %v", kinds)
			for workload, kind := range map[string]string{"frontend": "Deployment", "orders": "StatefulSet", "till": "StaticPod", "invoices": "Job", "lonely": "Pod"} {
				if workload == "lonely" || workload == "invoices" {
					continue // they come and go
				}
				if kinds[workload] != kind {
					t.Errorf("the %s %s is a %q", kind, workload, kinds[workload])
				}
			}
			for _, c := range [][2]string{{"frontend", "visitors"}, {"frontend", "frontend"}, {"recommendation", "features"}, {"recommendation", "recommendation"}} {
				found := false
				for _, s := range p.all("noether_container_joules_total", "namespace", "shop", "container", c[1]) {
					found = found || strings.HasPrefix(s.Labels["pod"], c[0]+"-")
				}
				if !found {
					t.Errorf("the container %s of %s is not on the page", c[1], c[0])
				}
			}
			if got := p.all("noether_pod_joules_total", "workload", "frontend", "label_team", "web"); len(got) == 0 {
				t.Error("the pods of the frontend lack the label team, which was asked for")
			}
		})
	}
}

// testShares runs the twenty pods of the Job in a window between two scrapes
// and compares, in Prometheus, joules with the kernel's CPU time: of every pod
// of the shop that lived all along, and of the Job's pods together.
func (l *lab) testShares(t *testing.T) {
	first := l.scrape(t, time.Now())
	l.window[0], l.window[2] = l.api.page(t), l.kubelet.page(t)
	l.applyIn(t, "shop", shopFile(t, "batch.yaml", "Job"))
	eventually(t, "the Job's end", func() error {
		if got := l.kubectl(t, "get", "job", "invoices", "-n", "shop", "-o", "jsonpath={.status.succeeded}"); got != "20" {
			return fmt.Errorf("%q of 20 pods succeeded", got)
		}
		return nil
	})
	last := l.scrape(t, time.Now().Add(5*tick))
	l.window[1], l.window[3] = l.api.page(t), l.kubelet.page(t)
	pods := l.knownNow(t).all()

	var shopEnergy, jobUsed float64
	joules := func(family string, from, to time.Time) map[string]float64 {
		return l.rise(t, family+`{job="noether",component="cpu",part="dynamic",namespace="shop"}`, from, to)
	}
	ofJob := func(p pod) bool {
		return p.app() == "invoices" && p.Metadata.CreationTimestamp.After(first.Add(-time.Second))
	}
	energy := joules("noether_pod_joules_total", first, last)
	steady := map[string]bool{} // by uid
	began, ended := l.ticked(t, first), l.ticked(t, last)
	t.Logf("from %v to %v, ticks %v and %v before their scrapes", first.Format(time.TimeOnly), last.Format(time.TimeOnly), first.Sub(began), last.Sub(ended))
	for _, p := range pods {
		u := l.witness.between(p.cgroup(), began, ended).Seconds()
		switch {
		case p.Metadata.Namespace != "shop":
		case ofJob(p):
			jobUsed += u
		case p.Status.Phase == "Running" && p.Status.StartTime.Before(first.Add(-5*time.Second)):
			steady[p.Metadata.UID] = true
		}
	}
	for uid := range steady {
		shopEnergy += energy[uid]
	}
	if len(steady) < 13 || shopEnergy == 0 || jobUsed < 5 {
		t.Fatalf("%d pods of the shop lived all along and used %.1f J; the Job used %.1f s of CPU", len(steady), shopEnergy, jobUsed)
	}
	// What a second of CPU time costs goes with what else the machine does: from
	// scrape to scrape it is near to what each pod met.
	var wantJob, wantAll float64
	want := map[string]float64{} // of each that lived all along
	from := first
	for _, to := range l.scrapes(t, first, last) {
		energy := joules("noether_pod_joules_total", from, to)
		began, ended := l.ticked(t, from), l.ticked(t, to)
		var e, u, job, all float64
		used := map[string]float64{}
		for _, p := range pods {
			if p.Metadata.Namespace != "shop" {
				continue
			}
			c := l.witness.between(p.cgroup(), began, ended).Seconds()
			all += c
			if ofJob(p) {
				job += c
			}
			if steady[p.Metadata.UID] {
				used[p.Metadata.UID] = c
				e, u = e+energy[p.Metadata.UID], u+c
			}
		}
		t.Logf("%.3f J for each second of CPU time, of which the Job used %.2f, at %s", e/u, job, to.Format(time.TimeOnly))
		for uid, c := range used {
			want[uid] += e / u * c
		}
		wantJob, wantAll, from = wantJob+e/u*job, wantAll+e/u*all, to
	}
	for _, p := range pods {
		if joules, ok := want[p.Metadata.UID]; ok {
			near(t, "share of "+p.Metadata.Name+" in %", 100*energy[p.Metadata.UID]/shopEnergy, 100*joules/shopEnergy, 0.02)
		}
	}
	// Two scrapes are the ends of these ranges, so increase() would only extrapolate.
	near(t, "joules of the namespace by its view", sumOf(joules("noether_namespace_joules_total", first, last)), wantAll, 0.02)
	l.testBalance(t, last)
	l.job.first, l.job.joules = first, wantJob
}

// testJob: a Job nobody had heard of before has its whole energy in increase()
// when its twenty pods, of five seconds each, are long gone. A new counter of
// this view is 0 for its first minute, so that scrapers see where it began.
func (l *lab) testJob(t *testing.T) {
	if l.job.joules == 0 {
		t.Skip("the Job did not run")
	}
	last := l.scrape(t, l.job.first.Add(scrapeEvery+time.Minute+2*scrapeEvery))
	got := sumOf(l.rise(t, `noether_workload_joules_total{job="noether",component="cpu",part="dynamic",namespace="shop",workload_kind="Job",workload="invoices"}`, l.job.first, last))
	// By joules for a second of CPU time; a pod that was not counted would be 5 %.
	near(t, "joules of the Job's twenty pods by the view of workloads", got, l.job.joules, 0.02)
	// PromQL's own, which adds up to half a scrape interval at each end.
	window := last.Sub(l.job.first) + scrapeEvery
	increase := l.prometheus.one(t, fmt.Sprintf(`sum(increase(noether_workload_joules_total{job="noether",component="cpu",part="dynamic",namespace="shop",workload="invoices"}[%ds]))`, int(window.Seconds())), last.Add(time.Second))
	t.Logf("increase() says %.2f J", increase)
}

// testBalance: the sums of one moment in Prometheus.
func (l *lab) testBalance(t *testing.T, at time.Time) {
	t.Helper()
	at = at.Add(time.Second) // after the scrape, before the next
	node := l.prometheus.by(t, `sum by (component) (noether_node_joules_total{job="noether"})`, at, "component")
	owners := l.prometheus.by(t, `sum by (component) ({__name__=~"noether_(pod|vm|unit|session|system)_joules_total|noether_retired_joules",job="noether"})`, at, "component")
	for c, v := range l.prometheus.by(t, `sum by (component) (noether_container_joules_total{job="noether",pod_uid=""})`, at, "component") {
		owners[c] += v
	}
	if len(node) == 0 {
		t.Error("Prometheus has no noether_node_joules_total")
	}
	for c, v := range node {
		if math.Abs(v-owners[c]) > 0.5e-6 {
			t.Errorf("in Prometheus, the machine used %.6f J of %s, its owners %.6f", v, c, owners[c])
		}
	}
}

// testLabels: no series has labels of the agent's own pod, except those that
// are about that pod.
func (l *lab) testLabels(t *testing.T) {
	p := l.api.page(t)
	own := map[string]map[string]bool{}
	for _, s := range p.samples {
		if own[s.Name] == nil {
			own[s.Name] = map[string]bool{}
		}
		for name := range s.Labels {
			own[s.Name][name] = true
		}
	}
	series := l.prometheus.ask(t, `{job="noether"}`, time.Now())
	if len(series) < 100 {
		t.Errorf("Prometheus has %d series of the agent", len(series))
	}
	agent := l.api.pod(t)
	for _, s := range series {
		family := s.labels["__name__"]
		if family == "up" || strings.HasPrefix(family, "scrape_") {
			continue
		}
		for name, value := range s.labels {
			if strings.HasPrefix(name, "exported_") || !own[family][name] && slices.Contains([]string{"namespace", "pod", "container", "service", "endpoint"}, name) {
				t.Errorf("%s has %s=%q, which the page does not", family, name, value)
			}
		}
		if s.labels["pod"] == agent.Metadata.Name && s.labels["pod_uid"] != agent.Metadata.UID {
			t.Errorf("%v carries the agent's pod", s.labels)
		}
		if s.labels["node"] != l.Node {
			t.Errorf("%v is not of the node %s", s.labels, l.Node)
		}
	}
	if up := l.prometheus.by(t, `up`, time.Now(), "job"); up["noether"] != 1 {
		t.Errorf("up: %v", up)
	}
}

// testJoins: the joins of the documentation find their partner.
func (l *lab) testJoins(t *testing.T) {
	l.describe(t)
	now := l.scrape(t, time.Now().Add(10*time.Second)) // both targets were scraped
	pods := l.prometheus.by(t, `sum by (namespace, pod) (noether_pod_joules_total{job="noether",namespace="shop"} and on (namespace, pod) kube_pod_info)`, now.Add(time.Second), "pod")
	joined := l.prometheus.by(t, `sum by (namespace, pod, host_ip) (noether_pod_joules_total{job="noether",namespace="shop"} * on (namespace, pod) group_left (host_ip) kube_pod_info)`, now.Add(time.Second), "pod")
	if len(joined) < 12 || len(joined) != len(pods) {
		t.Errorf("%d pods join with kube_pod_info, of %d", len(joined), len(pods))
	}
	teams := l.prometheus.ask(t, `sum by (label_team) (noether_pod_joules_total{job="noether",namespace="shop",workload_kind="Deployment"}) - on (label_team) sum by (label_team) (sum by (namespace, pod) (noether_pod_joules_total{job="noether",namespace="shop",workload_kind="Deployment"}) * on (namespace, pod) group_left (label_team) kube_pod_labels)`, now.Add(time.Second))
	if len(teams) < 4 {
		t.Errorf("%d teams by label, want 4", len(teams))
	}
	for _, a := range teams {
		if math.Abs(a.value) > 1e-3 {
			t.Errorf("team %s: its own label and that of kube_pod_labels differ by %g J", a.labels["label_team"], a.value)
		}
	}
}

// testRequests: between two ticks, idle energy is divided by requests to the
// microjoule, and what nobody reserved is named.
func (l *lab) testRequests(t *testing.T) {
	eventually(t, "two ticks without a change of pods", func() error {
		before := l.pods(t)
		a := l.api.page(t)
		b := l.api.next(t, a)
		after := l.pods(t)
		if !slices.EqualFunc(before, after, func(a, b pod) bool {
			return a.Metadata.UID == b.Metadata.UID && a.Status.Phase == b.Status.Phase
		}) {
			return errors.New("the pods changed")
		}
		delta := func(family string, want ...string) int64 {
			want = append(want, "component", "cpu", "part", "idle")
			return b.microjoules(t, family, want...) - a.microjoules(t, family, want...)
		}
		idle := delta("noether_node_joules_total")
		if idle <= 0 {
			return fmt.Errorf("the machine has %d µJ of idle energy", idle)
		}
		allocatable := l.allocatable(t)
		var reserved, given int64
		for _, p := range after {
			r := p.millicores(t)
			reserved += r
			got := delta("noether_pod_joules_total", "pod_uid", p.Metadata.UID)
			given += got
			// Each container has a share of its own, rounded to a microjoule.
			leaves := float64(1 + len(p.Spec.Containers) + len(p.Spec.InitContainers))
			if want := float64(idle) * float64(r) / float64(allocatable); math.Abs(float64(got)-want) > leaves {
				return fmt.Errorf("%s reserved %d of %d millicores: %d µJ of %d, want %.1f", p.name(), r, allocatable, got, idle, want)
			}
		}
		if reserved == 0 || reserved > allocatable {
			t.Fatalf("the pods reserved %d of %d millicores", reserved, allocatable)
		}
		if unreserved := delta("noether_system_joules_total", "account", "unreserved"); unreserved+given != idle || unreserved <= 0 {
			return fmt.Errorf("%d µJ idle, %d to pods, %d unreserved", idle, given, unreserved)
		}
		if left := delta("noether_system_joules_total", "account", "idle"); left != 0 {
			return fmt.Errorf("the account idle got %d µJ", left)
		}
		t.Logf("%d µJ idle: %d for %d of %d millicores reserved, the rest unreserved", idle, given, reserved, allocatable)
		return nil
	})
}

// testSameName deletes the StatefulSet's pod; the next one has its name.
func (l *lab) testSameName(t *testing.T) {
	old := l.named(t, "shop", "orders-0")
	l.kubectl(t, "delete", "pod", "orders-0", "-n", "shop")
	eventually(t, "the next orders-0", func() error {
		if p, ok := l.find(t, "shop", "orders-0"); !ok || p.Metadata.UID == old.Metadata.UID || !p.ready() {
			return errors.New("not there")
		}
		return nil
	})
	next := l.named(t, "shop", "orders-0")
	frontend := l.app(t, "shop", "frontend")
	var a page
	eventually(t, "both on the page", func() error {
		a = l.api.page(t)
		if a.sum("noether_pod_joules_total", "pod", "orders-0", "pod_uid", next.Metadata.UID) == 0 {
			return errors.New("the new one is not named")
		}
		return nil
	})
	ended := a.microjoules(t, "noether_pod_joules_total", "pod_uid", old.Metadata.UID)
	if ended == 0 {
		t.Error("the deleted pod is not on the page any more")
	}
	time.Sleep(15 * time.Second)
	b := l.api.page(t)
	if now := b.microjoules(t, "noether_pod_joules_total", "pod_uid", old.Metadata.UID); now != ended {
		t.Errorf("the deleted pod went from %d to %d µJ", ended, now)
	}
	delta := func(p pod) float64 {
		want := []string{"pod_uid", p.Metadata.UID, "component", "cpu", "part", "dynamic"}
		return b.sum("noether_pod_joules_total", want...) - a.sum("noether_pod_joules_total", want...)
	}
	used := func(p pod) float64 { return l.witness.between(p.cgroup(), a.ticked(), b.ticked()).Seconds() }
	// Fifteen ticks of two steady loads.
	near(t, "joules of the new orders-0 by those of the frontend", delta(next)/delta(frontend), used(next)/used(frontend), 0.05)
	complain(t, l.knownNow(t).contradictions(b))
}
