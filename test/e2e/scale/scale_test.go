package scale

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noether/test/e2e/cluster"
)

// rights makes the service account of the chart and its rights, and returns a
// kubeconfig of it.
func rights(t *testing.T, w *world) string {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	chart := filepath.Join(filepath.Dir(strings.TrimSpace(string(root))), "deploy/helm/noether")
	manifest, err := w.c.Helm(t.Context(), "template", "noether", chart, "-n", "noether", "--kube-version", w.c.Tools.Kubernetes,
		"-s", "templates/rbac.yaml", "-s", "templates/serviceaccount.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.send(t.Context(), http.MethodPost, "/api/v1/namespaces", asJSON, object{"metadata": object{"name": "noether"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.Kubectl(t.Context(), strings.NewReader(manifest), "-n", "noether", "apply", "--server-side", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := w.c.KubeconfigForAccount(t.Context(), "noether", "noether")
	if err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// start is what an agent cost to know its pods.
type cost struct {
	pods     int // in the cluster
	took     time.Duration
	requests float64
	bytes    float64
	rss      float64
	cpu      time.Duration // of one window
}

// window is how long an agent is watched in each size of the cluster.
const window = 15 * time.Second

// TestNamesOfOneNodeAmongMany: an agent in a cluster of 200 nodes knows, asks
// for and pays for the pods of its own node alone.
func TestNamesOfOneNodeAmongMany(t *testing.T) {
	need(t)
	ctx := t.Context()
	dir := t.TempDir()
	policy, log := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "audit.log")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o644); err != nil {
		t.Fatal(err)
	}
	// No controller makes service accounts for the pods, which do not run.
	c := cluster.StartTest(t, cluster.Options{APIOnly: true, Flags: map[string][]string{cluster.APIServerProcess: {
		"--disable-admission-plugins=ServiceAccount", "--audit-policy-file=" + policy, "--audit-log-path=" + log,
	}}})
	w := newWorld(t, c)
	kubeconfig := rights(t, w)
	if err := w.furnish(ctx); err != nil {
		t.Fatal(err)
	}

	n := newNode(t)
	for range *perNode {
		p, err := w.create(ctx, agentNode)
		if err != nil {
			t.Fatal(err)
		}
		n.run(p)
	}
	inCluster := &place{start: c.Spawn, http: http.Client{Transport: &http.Transport{DialContext: c.Dial}, Timeout: patience}}
	begin := func() *agent {
		return startAgent(t, inCluster, "--root", n.Root(), "--interval", "1s",
			"--node-name", nodeName(agentNode), "--kube-source", "api", "--kube-config", kubeconfig)
	}
	own := func(p page) bool {
		_, unnamed := n.wrong(p, w.pod)
		return unnamed == 0 && p.value("noether_names_known") == float64(*perNode)
	}

	// The same agent in three sizes of cluster.
	var a *agent
	var costs []cost
	for _, pods := range []int{*perNode, *nodes * *perNode / 10, *nodes * *perNode} {
		began := time.Now()
		if err := w.fill(ctx, pods); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d pods after %.1f s; API server: %+v", pods, time.Since(began).Seconds(), uses(t, c.Pid(cluster.APIServerProcess)))
		if a != nil {
			a.stop()
		}
		a = begin()
		n.work()
		a.await("the names of its pods", own)
		x := cost{pods: pods, took: time.Since(a.began)}
		time.Sleep(5 * time.Second) // what the start has left is collected
		before := uses(t, a.cmd.Process.Pid)
		x.rss = steadyRSS(t, a.cmd.Process.Pid, window)
		x.cpu = uses(t, a.cmd.Process.Pid).cpu - before.cpu
		p := a.scrape()
		x.requests, x.bytes = p.value("noether_names_requests_total"), p.value("noether_names_received_bytes_total")
		t.Logf("%+v", x)
		costs = append(costs, x)
		if x.requests > 3 {
			t.Errorf("%v requests in a cluster of %d pods to know %d", x.requests, pods, *perNode)
		}
		asked := audit(t, log, "noether/", a.began)
		if len(asked) != int(x.requests) {
			t.Errorf("the agent counts %v requests, the API server %d: %+v", x.requests, len(asked), asked)
		}
		for _, r := range asked {
			if !strings.Contains(r.RequestURI, "fieldSelector=spec.nodeName%3D"+nodeName(agentNode)) && !strings.HasSuffix(r.RequestURI, "/nodes/"+nodeName(agentNode)) {
				t.Errorf("the agent asked for more than its node: %s", r.RequestURI)
			}
		}
	}
	few, some, all := costs[0], costs[1], costs[2]
	if most := 1.2 * min(few.bytes, some.bytes, all.bytes); max(few.bytes, some.bytes, all.bytes) > most {
		t.Errorf("bytes grow with the cluster: %+v", costs)
	}
	if all.rss > few.rss+4 {
		t.Errorf("memory grows with the cluster: %.1f MiB with %d pods, %.1f MiB with %d", few.rss, few.pods, all.rss, all.pods)
	}
	size := few.bytes / float64(*perNode)

	// A pod of another node whose cgroup is here: it has no name here.
	stranger := w.any(agentNode + 2)
	n.run(stranger)

	// Pods come, go and change, on this node and on all others.
	ownBefore, othersBefore := w.written(agentNode)
	bytesBefore, spentBefore := a.scrape().value("noether_names_received_bytes_total"), uses(t, a.cmd.Process.Pid)
	stop := w.churn(ctx, t)
	slowest := time.Duration(0)
	replaced := 0
	for end := time.Now().Add(*churning); time.Now().Before(end); replaced++ {
		gone := w.on(agentNode)[0]
		n.end(gone)
		if err := w.remove(ctx, gone); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		p, err := w.create(ctx, agentNode)
		if err != nil {
			t.Fatal(err)
		}
		n.run(p)
		n.work()
		a.await("the name of a new pod", func(p page) bool {
			if lies, _ := n.wrong(p, w.pod); len(lies) > 0 {
				t.Fatalf("wrong names: %q", lies)
			}
			_, unnamed := n.wrong(p, w.pod)
			return unnamed == 0
		})
		slowest = max(slowest, time.Since(began))
		time.Sleep(time.Second)
	}
	stop()
	p := a.await("rest", own)
	ownWrites, othersWrites := w.written(agentNode)
	ownWrites, othersWrites = ownWrites-ownBefore, othersWrites-othersBefore
	received := p.value("noether_names_received_bytes_total") - bytesBefore
	spentAfter := uses(t, a.cmd.Process.Pid)
	t.Logf("churn of %s: %d pods of this node replaced, the slowest name after %s; %d writes to pods of this node, %d to others; %.0f bytes received, %.0f a pod; agent: CPU %s, RSS %.1f MiB",
		*churning, replaced, slowest.Round(10*time.Millisecond), ownWrites, othersWrites, received, size, spentAfter.cpu-spentBefore.cpu, spentAfter.rss)
	if othersWrites < 5*ownWrites {
		t.Errorf("%d writes to other nodes' pods: too few to tell from %d to this node's", othersWrites, ownWrites)
	}
	if most := float64(ownWrites)*1.5*size + 20_000; received > most {
		t.Errorf("%.0f bytes for %d events of this node's pods, want less than %.0f", received, ownWrites, most)
	}
	if requests := p.value("noether_names_requests_total"); requests > all.requests+2 {
		t.Errorf("%v requests before, %v after", all.requests, requests)
	}
	named := false
	for _, s := range p {
		if s.Labels["pod_uid"] == stranger.uid {
			named = named || s.Labels["pod"] != "" || s.Labels["namespace"] != ""
		}
	}
	if named {
		t.Error("a pod of another node has a name here")
	}
	n.end(stranger)

	// Two hundred agents at once.
	server := uses(t, c.Pid(cluster.APIServerProcess))
	began := time.Now()
	f := startFleet(t, inCluster, kubeconfig)
	s := f.await(w)
	took := time.Since(began)
	time.Sleep(5 * time.Second)
	with := uses(t, c.Pid(cluster.APIServerProcess))
	t.Logf("%d sources knew their %d pods after %s: %d requests, %d bytes; %.1f MiB in their process; API server: %.0f MiB before, %.0f with them, %s of CPU time for it",
		*nodes, *nodes**perNode, took.Round(10*time.Millisecond), s.Requests, s.Bytes, uses(t, f.cmd.Process.Pid).rss, server.rss, with.rss, with.cpu-server.cpu)
	if most := 4 * uint64(*nodes); s.Requests > most {
		t.Errorf("%d requests of %d sources", s.Requests, *nodes)
	}
	if most := 1.5 * size * float64(*nodes**perNode); float64(s.Bytes) > most {
		t.Errorf("%d bytes for all pods, want less than %.0f", s.Bytes, most)
	}

	// The API server goes and comes again: everybody asks once more, for its own.
	before := a.scrape()
	began = time.Now()
	if err := c.Restart(ctx, cluster.APIServerProcess); err != nil {
		t.Fatal(err)
	}
	up := time.Since(began)
	gone := w.on(agentNode)[0]
	n.end(gone)
	if err := w.remove(ctx, gone); err != nil {
		t.Fatal(err)
	}
	fresh, err := w.create(ctx, agentNode)
	if err != nil {
		t.Fatal(err)
	}
	n.run(fresh)
	n.work()
	p = a.await("the names after the API server's restart", func(p page) bool { return p.value("noether_names_up") == 1 && own(p) })
	again := f.await(w)
	bytes := p.value("noether_names_received_bytes_total") - before.value("noether_names_received_bytes_total")
	relists := func(userAgent string) (lists, requests int) {
		for _, r := range audit(t, log, userAgent, began) {
			if strings.HasPrefix(userAgent, fleetAgent) == strings.HasPrefix(r.UserAgent, fleetAgent) {
				requests++
				if r.lists() {
					lists++
				}
			}
		}
		return lists, requests
	}
	agentLists, agentRequests := relists("noether/")
	fleetLists, fleetRequests := relists(fleetAgent)
	t.Logf("restart: the API server was away for %s, all names right after %s; agent: %d lists of %d requests answered, %v sent, %.0f bytes; %d sources: %d lists of %d requests answered, %d sent, %d bytes",
		up.Round(10*time.Millisecond), time.Since(began).Round(10*time.Millisecond), agentLists, agentRequests,
		p.value("noether_names_requests_total")-before.value("noether_names_requests_total"), bytes,
		*nodes, fleetLists, fleetRequests, again.Requests-s.Requests, again.Bytes-s.Bytes)
	if agentLists > 1 || bytes > 2*all.bytes {
		t.Errorf("after the restart the agent listed its pods %d times, in %.0f bytes", agentLists, bytes)
	}
	if fleetLists > *nodes {
		t.Errorf("after the restart %d sources listed their pods %d times", *nodes, fleetLists)
	}

	// All names of the node are right in the end.
	p = a.await("all names in the end", own)
	if lies, _ := n.wrong(p, w.pod); len(lies) > 0 {
		t.Errorf("wrong names: %q", lies)
	}
	if unnamed := p.value("noether_unnamed_pods"); unnamed != 0 {
		t.Errorf("%v pods have no name", unnamed)
	}
	last := uses(t, c.Pid(cluster.APIServerProcess))
	t.Logf("in the end: agent %.1f MiB, API server %.0f MiB", uses(t, a.cmd.Process.Pid).rss, last.rss)
	if err := w.beat(context.WithoutCancel(ctx), w.any(1)); err != nil {
		t.Errorf("the API server did not survive: %v", err)
	}
}
