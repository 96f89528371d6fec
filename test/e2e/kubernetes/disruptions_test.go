package kubernetes

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"noether/test/e2e/cluster"
)

// testUnprivileged: without any capability the same containers get the same
// shares as by BPF.
func (l *lab) testUnprivileged(t *testing.T) {
	status := l.status(t, l.kubelet)
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if status[set] != "0000000000000000" {
			t.Errorf("the unprivileged agent has %s %s", set, status[set])
		}
	}
	if status["NoNewPrivs"] != "1" || strings.HasPrefix(status["Uid"], "0") {
		t.Errorf("the unprivileged agent has NoNewPrivs %s and the uids %s", status["NoNewPrivs"], status["Uid"])
	}
	// Of CAP_PERFMON and CAP_BPF: linux/capability.h.
	if got, want := l.status(t, l.api)["CapEff"], fmt.Sprintf("%016x", 1<<38|1<<39); got != want {
		t.Errorf("the agent with BPF has CapEff %s, want %s", got, want)
	}
	// The pages of both at the beginning and the end of the window of the shares:
	// each agent has its own ticks, so each is held against the CPU time between its own.
	type rise struct{ joules, perSecond float64 }
	rises := func(first, last page) (map[string]rise, rise) {
		out, all, seconds := map[string]rise{}, rise{}, 0.0
		for _, s := range last.all("noether_container_joules_total", "namespace", "shop", "component", "cpu", "part", "dynamic") {
			app, _, _ := strings.Cut(s.Labels["pod"], "-")
			id := s.Labels["container_id"]
			of := []string{"container_id", id, "component", "cpu", "part", "dynamic"}
			was := first.all(s.Name, of...)
			used := l.witness.between(id, first.ticked(), last.ticked()).Seconds()
			if len(was) == 0 || used == 0 || app == "newsletter" || app == "invoices" {
				continue
			}
			joules := last.sum(s.Name, of...) - first.sum(s.Name, of...)
			out[s.Labels["pod"]+"/"+s.Labels["container"]] = rise{joules, joules / used}
			all.joules += joules
			seconds += used
		}
		all.perSecond = all.joules / seconds
		return out, all
	}
	byBPF, allBPF := rises(l.window[0], l.window[1])
	byCgroup, allCgroup := rises(l.window[2], l.window[3])
	if len(byBPF) < 14 || len(byCgroup) != len(byBPF) {
		t.Errorf("%d containers on the pages of one agent, %d on those of the other", len(byBPF), len(byCgroup))
	}
	for name, is := range byCgroup {
		// Shares, each by the share of CPU time that the kernel counted meanwhile.
		near(t, "energy of a second of "+name+" by that of all, unprivileged", is.perSecond/allCgroup.perSecond, byBPF[name].perSecond/allBPF.perSecond, 0.02)
	}
}

// testCheck: what the agent would do, said in its own pod, and watts for whom
// they are measured.
func (l *lab) testCheck(t *testing.T) {
	for _, c := range []struct {
		a             *agent
		usage, source string
	}{{l.api, "bpf", "api"}, {l.kubelet, "cgroup", "kubelet"}} {
		args := []string{"exec", "-n", c.a.namespace, "daemonset/" + c.a.release, "--", "/noether", "check", "--root=/host", "--node-name=" + l.Node, "--kube-source=" + c.source, "--grid.hub=http://noether-carbon.noether.svc:9878"}
		if c.source == "kubelet" {
			args = append(args, "--usage=cgroup", "--kube-kubelet-url="+cluster.KubeletURL, "--kube-kubelet-ca=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
		}
		out := l.kubectl(t, args...)
		l.keep("check-"+c.usage+".txt", out)
		words := []string{"model", c.usage, c.source}
		if c.source == "api" {
			words = append(words, "DE (region "+region, "300 gCO2e/kWh")
		}
		for _, word := range words {
			if !strings.Contains(out, word) {
				t.Errorf("noether check in %s says nothing of %s:\n%s", c.a.release, word, out)
			}
		}
	}
	var b strings.Builder
	for _, query := range []string{
		`sort_desc(sum by (namespace, workload_kind, workload) (noether_pod_watts{job="noether"}))`,
		`sum by (namespace) (noether_namespace_joules_total{job="noether"}) / 3600`,
		`sum by (label_team) (noether_pod_watts{job="noether",namespace="shop"})`,
		`noether_system_watts{job="noether",account="unreserved"}`,
	} {
		fmt.Fprintln(&b, query)
		for _, a := range l.prometheus.ask(t, query, time.Now()) {
			delete(a.labels, "__name__")
			fmt.Fprintf(&b, "  %.3f  %v\n", a.value, a.labels)
		}
	}
	l.keep("queries.txt", b.String())
}

// testProbes: who scrapes takes nothing from others, and a probe's second is
// always enough.
func (l *lab) testProbes(t *testing.T) {
	before := l.api.page(t)
	stop := make(chan struct{})
	var scrapers sync.WaitGroup
	var scrapes [4]int
	for i := range scrapes {
		scrapers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if text, err := l.api.get("/metrics"); err == nil && strings.Contains(text, "noether_node_joules_total") {
					scrapes[i]++
				}
			}
		})
	}
	slowest := time.Duration(0)
	client := &http.Client{Transport: l.client.Transport, Timeout: 5 * time.Second} // as the chart's probes
	failed := 0
	for range 100 {
		start := time.Now()
		resp, err := client.Get(l.api.url(t) + "/healthz")
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Logf("probe: %v", err)
			failed++
		}
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		slowest = max(slowest, time.Since(start))
		time.Sleep(50 * time.Millisecond)
	}
	close(stop)
	scrapers.Wait()
	total := scrapes[0] + scrapes[1] + scrapes[2] + scrapes[3]
	t.Logf("%d scrapes beside 100 probes, the slowest of which took %v", total, slowest)
	if failed > 0 || total < 50 {
		t.Errorf("%d of 100 probes failed, %d scrapes succeeded", failed, total)
	}
	after := l.api.page(t)
	for _, s := range before.samples {
		if !strings.HasSuffix(s.Name, "_total") {
			continue
		}
		was, _ := strconv.ParseFloat(s.Value, 64)
		found := false
		for _, now := range after.samples {
			if now.Series == s.Series {
				is, _ := strconv.ParseFloat(now.Value, 64)
				found = true
				if is < was {
					t.Errorf("%s fell from %v to %v", s.Series, was, is)
				}
			}
		}
		if !found && strings.HasPrefix(s.Name, "noether_pod_") {
			t.Errorf("%s was consumed", s.Series)
		}
	}
	if restarts := l.api.pod(t).Status.ContainerStatuses[0].RestartCount; restarts != 0 {
		t.Errorf("the agent was restarted %d times", restarts)
	}
}

// testLookups: pods whose sandboxes never have a name make nobody ask for ever.
func (l *lab) testLookups(t *testing.T) {
	requests := func(a *agent, source string) (n, bytes float64) {
		p := a.page(t)
		return p.sum("noether_names_requests_total", "source", source), p.sum("noether_names_received_bytes_total", "source", source)
	}
	apiBefore, _ := requests(l.api, "api")
	kubeletBefore, bytesBefore := requests(l.kubelet, "kubelet")
	if err := l.Namespace(t.Context(), "idlers"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	l.apply(t, idlers(50))
	l.kubectl(t, "rollout", "status", "deployment/idlers", "-n", "idlers", "--timeout=4m")
	for _, a := range []*agent{l.api, l.kubelet} {
		eventually(t, "fifty names", func() error {
			if n := len(a.page(t).all("noether_pod_joules_total", "namespace", "idlers", "component", "cpu", "part", "dynamic")); n != 50 {
				return fmt.Errorf("%d of 50 pods are named", n)
			}
			return nil
		})
	}
	started := time.Since(start)
	kubeletNamed, _ := requests(l.kubelet, "kubelet")
	if got := kubeletNamed - kubeletBefore; got > 10+2*started.Seconds() {
		t.Errorf("the kubelet was asked %.0f times in %v", got, started)
	}
	// A sandbox is asked for a second time when it is a while old, and then no more.
	eventually(t, "nobody asks for sandboxes that have no name", func() error {
		before, _ := requests(l.kubelet, "kubelet")
		time.Sleep(20 * time.Second)
		after, bytesAfter := requests(l.kubelet, "kubelet")
		t.Logf("kubelet: %.0f requests while fifty pods came in %v, %.0f since; %.0f in the last 20 s; %.0f kB in all",
			kubeletNamed-kubeletBefore, started.Round(time.Second), after-kubeletNamed, after-before, (bytesAfter-bytesBefore)/1e3)
		if after-before > 4 { // one or two pods of CronJobs come in that time
			return fmt.Errorf("the kubelet was asked %.0f times in 20 s", after-before)
		}
		return nil
	})
	apiAfter, _ := requests(l.api, "api")
	t.Logf("api: %.0f requests", apiAfter-apiBefore)
	if got := apiAfter - apiBefore; got > 5 {
		t.Errorf("the watch of the API made %.0f requests", got)
	}
	p := l.kubelet.page(t)
	complain(t, l.knownNow(t).contradictions(p))
	l.kubectl(t, "delete", "namespace", "idlers", "--wait=false")
}

// testOutage: names stay while the API server is away, energy goes on, and a
// pod that came meanwhile has its name afterwards.
func (l *lab) testOutage(t *testing.T) {
	steady := slices.DeleteFunc(l.pods(t), func(p pod) bool {
		kind, _ := owner(p)
		return kind == "Job" || kind == "CronJob" || kind == "Pod"
	})
	before, otherBefore := l.api.page(t), l.kubelet.page(t)
	from := time.Now()
	l.Stop(cluster.APIServerProcess)
	second := filepath.Join(cluster.ManifestDir, "second-till.yaml")
	text := strings.ReplaceAll(shopFile(t, "static.yaml"), "till", "second-till")
	if err := os.WriteFile(second, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(second) })
	var during page
	for time.Since(from) < time.Minute {
		time.Sleep(3 * time.Second)
		during = l.api.page(t)
		complain(t, l.known.contradictions(during)) // there is nobody to ask
	}
	if absent := missing(during, steady, from, 0); absent != nil {
		t.Errorf("without the API server these lost their names: %q", absent)
	}
	rise := func(before, after page) float64 {
		return (after.sum("noether_node_joules_total") - before.sum("noether_node_joules_total")) / after.ticked().Sub(before.ticked()).Seconds()
	}
	near(t, "watts of the machine while the API server is away, by those of the other agent", rise(before, during), rise(otherBefore, l.kubelet.page(t)), 0.05)
	nameless := during.all("noether_pod_joules_total", "pod", "", "component", "cpu", "part", "dynamic")
	if len(nameless) != 1 {
		t.Errorf("%d pods are known by their uid alone, want the one that came meanwhile", len(nameless))
	}
	var before2 int64
	if len(nameless) == 1 {
		before2 = during.microjoules(t, "noether_pod_joules_total", "pod_uid", nameless[0].Labels["pod_uid"])
	}
	if err := l.StartAgain(t.Context(), cluster.APIServerProcess); err != nil {
		t.Fatal(err)
	}
	// A controller manager that elects leaders has lost its lease by now and
	// starts anew; one that goes on may put off its CronJobs for many minutes.
	if err := l.Restart(t.Context(), cluster.ControllerManager); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the name of the pod that came meanwhile", func() error {
		p := l.api.page(t)
		found := p.all("noether_pod_joules_total", "workload", "second-till", "workload_kind", "StaticPod", "component", "cpu", "part", "dynamic")
		if len(found) != 1 {
			return fmt.Errorf("%d pods second-till", len(found))
		}
		// Who came and went before the agent found the API again has no name any more.
		for _, there := range l.pods(t) {
			if left := p.all("noether_pod_joules_total", "pod", "", "pod_uid", there.cgroup()); len(left) != 0 {
				return fmt.Errorf("%s is still known by its uid alone", there.name())
			}
		}
		if now := p.microjoules(t, "noether_pod_joules_total", "pod_uid", found[0].Labels["pod_uid"]); now < before2 {
			return fmt.Errorf("it had %d µJ before it had a name, and has %d", before2, now)
		}
		return nil
	})
	eventually(t, "all that the API says of it", func() error {
		if p, ok := l.find(t, "shop", "second-till-"+l.Node); !ok || !p.ready() {
			return errors.New("not ready")
		}
		return nil
	})
	complain(t, l.known.contradictions(l.api.page(t)))
}

// testKill: what Prometheus' increase() lacks of the machine's energy is not
// more than what was used between the last scrape and the new agent's second
// tick; the other agent, which goes on, says how much that was.
func (l *lab) testKill(t *testing.T) {
	restarts := l.api.pod(t).Status.ContainerStatuses[0].RestartCount
	pid := l.pid(t, l.api)
	from := l.scrape(t, time.Now())
	other := l.kubelet.page(t)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	eventually(t, "the agent's return", func() error {
		if p := l.api.pod(t); p.Status.ContainerStatuses[0].RestartCount == restarts || !p.ready() {
			return errors.New("not ready")
		}
		_, err := l.api.get("/metrics")
		return err
	})
	// Its first tick starts when it does: nothing is known of the time before.
	began := time.UnixMilli(int64(1000 * l.api.page(t).sum("noether_start_time_seconds")))
	otherBegan := l.kubelet.page(t)
	to := l.scrape(t, time.Now().Add(3*tick))
	otherEnd := l.kubelet.page(t)
	node := func(p page) float64 { return p.sum("noether_node_joules_total", "component", "cpu") }
	got := sumOf(l.rise(t, `noether_node_joules_total{job="noether",component="cpu"}`, from, to))
	truth := node(otherEnd) - node(other)
	outage := began.Sub(from) + 2*tick // one tick before, and one after
	most := truth * (outage + time.Second).Seconds() / to.Sub(from).Seconds()
	if early := node(otherBegan) - node(other); early > most {
		most = early
	}
	t.Logf("killed %v after a scrape, back %v after it: %.2f J of %.2f are missing", killed.Sub(from).Round(time.Millisecond), began.Sub(from).Round(time.Millisecond), truth-got, truth)
	if missed := truth - got; missed > most || missed < -0.05*truth {
		t.Errorf("increase() misses %.2f J of %.2f, want at most %.2f: what was used until the new agent ticked", missed, truth, most)
	}
	eventually(t, "all names again", func() error {
		pods := l.pods(t)
		p := l.api.page(t)
		if wrong := l.knownNow(t).contradictions(p); wrong != nil {
			t.Fatal(wrong)
		}
		if absent := missing(p, pods, time.Now(), 10*tick); absent != nil {
			return fmt.Errorf("%q are not named", absent)
		}
		return nil
	})
}

// testContainerd: pods go on without their runtime, and so do their counters.
func (l *lab) testContainerd(t *testing.T) {
	before := l.api.page(t)
	if err := l.Restart(t.Context(), cluster.Containerd); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node is ready", func() error {
		if got := l.kubectl(t, "get", "nodes", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`); got != "True" {
			return fmt.Errorf("Ready is %q", got)
		}
		return nil
	})
	time.Sleep(3 * tick) // for whoever works a little now and then, too
	var after page
	eventually(t, "all names", func() error {
		pods := l.pods(t)
		after = l.api.page(t)
		if absent := missing(after, pods, time.Now(), 10*tick); absent != nil {
			return fmt.Errorf("%q are not named", absent)
		}
		return nil
	})
	complain(t, l.knownNow(t).contradictions(after))
	for _, s := range before.all("noether_pod_joules_total", "namespace", "shop", "component", "cpu", "part", "dynamic", "workload_kind", "Deployment") {
		uid := s.Labels["pod_uid"]
		a := before.microjoules(t, "noether_pod_joules_total", "pod_uid", uid)
		b := after.microjoules(t, "noether_pod_joules_total", "pod_uid", uid)
		if b <= a {
			t.Errorf("%s stands at %d µJ after %d", s.Labels["pod"], b, a)
		}
	}
	l.settled = time.Now()
}

// testWrongAuthority: the log says which flag mends it, and energy goes on.
func (l *lab) testWrongAuthority(t *testing.T) {
	l.apply(t, wrongAuthority(t, l.kubelet.namespace))
	l.helm(t, "upgrade", l.kubelet.release, l.chart, "-n", l.kubelet.namespace, "--reuse-values", "--set", "kubernetes.kubelet.ca.configMap=wrong-authority", "--timeout=3m")
	l.kubectl(t, "rollout", "status", "daemonset/"+l.kubelet.release, "-n", l.kubelet.namespace, "--timeout=3m")
	l.kubelet.forget()
	eventually(t, "the agent's word", func() error {
		log, err := l.try("logs", "-n", l.kubelet.namespace, l.kubelet.pod(t).Metadata.Name)
		if err != nil {
			return err
		}
		if !strings.Contains(log, "--kube-kubelet-ca") {
			return fmt.Errorf("its log does not name --kube-kubelet-ca:\n%s", log)
		}
		return nil
	})
	var p page
	eventually(t, "pods by their uid", func() error {
		p = l.kubelet.page(t)
		if got := p.all("noether_pod_joules_total", "pod", ""); len(got) == 0 {
			return errors.New("there are none")
		}
		return nil
	})
	if up := p.sum("noether_names_up", "source", "kubelet"); up != 0 {
		t.Errorf("noether_names_up is %v", up)
	}
	if got := p.all("noether_pod_joules_total", "pod", "*"); len(got) != 0 {
		t.Errorf("pods have names of a kubelet that is not trusted: %s", got[0].Series)
	}
	l.kubectl(t, "delete", "configmap", "wrong-authority", "-n", l.kubelet.namespace)
}

// testScore: the CronJob ran on its schedule, and its score is what the
// samples of its window give by hand.
func (l *lab) testScore(t *testing.T) {
	var end time.Time
	eventually(t, "a score in Prometheus", func() error {
		found := l.prometheus.ask(t, `last_over_time(noether_impact_window_end_timestamp_seconds{manifest="shop"}[30m])`, time.Now())
		for _, a := range found {
			if at := time.Unix(int64(a.value), 0); at.After(end) {
				end = at
			}
		}
		if end.Add(-time.Minute).Before(l.settled) {
			return errors.New("none of a calm minute")
		}
		return nil
	})
	start := end.Add(-time.Minute)
	at := end.Add(time.Second)
	score := l.prometheus.one(t, `last_over_time(noether_impact_sci_grams{manifest="shop",path="/"}[30m])`, time.Now())
	atWindow := l.prometheus.one(t, `noether_impact_sci_grams{manifest="shop",path="/"}`, at)
	if score == 0 || score != atWindow {
		t.Errorf("the newest score is %v, that at the end of its window %v", score, atWindow)
	}
	energy := l.riseAt(t, `noether_container_joules_total{job="noether",namespace="shop",pod_uid!=""}`, start, end, "pod", "container")
	joules := sumOf(energy)
	published := l.prometheus.by(t, `noether_impact_energy_joules{manifest="shop",container!=""}`, at, "pod", "container")
	// What is gone by then still has the score of an earlier window.
	for name, want := range energy {
		got, ok := published[name]
		switch {
		case brief(name):
		case !ok && want > 0.05:
			t.Errorf("the score has nothing of %s, which used %.3f J", name, want)
		case ok && math.Abs(got-want) > 0.02*want+0.05:
			t.Errorf("the score has %.3f J of %s, by hand %.3f", got, name, want)
		}
	}
	requests := sumOf(l.riseAt(t, `shop_requests_total{service="frontend"}`, start, end))
	want := joules / 3.6e6 * gramsPerKWh / requests
	t.Logf("%.1f J and %.0f requests between %s and %s", joules, requests, start.Format(time.TimeOnly), end.Format(time.TimeOnly))
	near(t, "milligrams for each request", 1000*score, 1000*want, 0.02)
	jobs := l.kubectl(t, "get", "jobs", "-n", l.api.namespace, "-o", `jsonpath={range .items[*]}{.metadata.ownerReferences[0].kind} {.metadata.name} {.status.succeeded}{"\n"}{end}`)
	if !strings.Contains(jobs, "CronJob ") {
		t.Errorf("no Job of a CronJob: %q", jobs)
	}
}

// brief tells the pods of Jobs, whose first sample has all of their energy:
// nothing says which part of it was used within a window.
func brief(name string) bool {
	return strings.HasPrefix(name, "newsletter-") || strings.HasPrefix(name, "invoices-")
}

// testUninstall: after it the cluster has the objects that it had before, the
// operator's definitions among them, and those that others made meanwhile.
func (l *lab) testUninstall(t *testing.T) {
	for _, a := range []*agent{l.api, l.kubelet} {
		l.helm(t, "uninstall", a.release, "-n", a.namespace, "--wait")
	}
	// The hub made it, and Helm does not know it: the notes say so.
	l.kubectl(t, "delete", "configmap", heldForecast, "-n", "kube-system")
	eventually(t, "nothing is left", func() error {
		var left []string
		for object := range l.objects(t) {
			if !l.objectsBefore[object] && !passing(object) {
				left = append(left, object)
			}
		}
		if left != nil {
			return fmt.Errorf("left: %q", left)
		}
		return nil
	})
	now := l.objects(t)
	for object := range l.objectsBefore {
		if !now[object] && !passing(object) {
			t.Errorf("%s is gone", object)
		}
	}
}

// passing are objects that come and go by themselves.
func passing(object string) bool {
	for _, prefix := range []string{"Event ", "EndpointSlice ", "Endpoints ", "Lease ", "Pod shop/", "Job shop/", "Pod idlers/", "IPAddress "} {
		if strings.HasPrefix(object, prefix) {
			return true
		}
	}
	return strings.Contains(object, "/prometheus-kube-prometheus-stack") // the operator's
}

func sumOf(m map[string]float64) (sum float64) {
	for _, v := range m {
		sum += v
	}
	if math.IsNaN(sum) {
		return 0
	}
	return sum
}
