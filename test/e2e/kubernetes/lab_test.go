package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"noether/test/e2e/cluster"
)

// lab is the cluster with everything in it.
type lab struct {
	*cluster.Cluster
	chart      string // the directory
	dir        string // for files
	client     *http.Client
	witness    *witness
	prometheus *database
	// api has the variant bpf and its names from the API server; kubelet is
	// unprivileged and asks the kubelet.
	api, kubelet *agent
	grid         *electricityMaps

	known         known
	objectsBefore map[string]bool
	job           struct {
		first  time.Time // the scrape before it
		joules float64   // that it must have
	}
	window  [4]page   // of the shares: first and last, of api and of kubelet
	settled time.Time // no late name and no restart of an agent after it
}

// start starts the cluster with its images, an operator's definitions and a
// server of names.
func start(t *testing.T) *lab {
	t.Helper()
	ctx := t.Context()
	cluster.Need(t)
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{chart: filepath.Join(root, "deploy/helm/noether"), dir: t.TempDir()}
	var images sync.WaitGroup
	var imageErr [2]error
	images.Go(func() { imageErr[0] = noetherImage(ctx, root, filepath.Join(l.dir, "noether.tar")) })
	images.Go(func() { imageErr[1] = shopImage(ctx, root, l.dir) })
	images.Wait() // the cluster has a machine-wide lock: not while we build
	if err := errors.Join(imageErr[0], imageErr[1]); err != nil {
		t.Fatal(err)
	}
	l.Cluster = cluster.StartTest(t, cluster.Options{
		Labels:        map[string]string{"topology.kubernetes.io/region": region},
		KubeletConfig: map[string]any{"clusterDNS": []string{cluster.NodeIP}, "clusterDomain": "cluster.local"},
	})
	c := l.Cluster
	l.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: c.Dial, DisableKeepAlives: true}}
	for _, name := range []string{"noether.tar", "shop.tar"} {
		f, err := os.Open(filepath.Join(l.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.ImportTar(ctx, f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	l.nameServer(t)
	l.witness = watch(t)
	l.learnAlways(t)
	return l
}

// learnAlways asks the API for all pods each second, so that those which come
// and go between the tests are known too.
func (l *lab) learnAlways(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			var list struct{ Items []pod }
			if l.Get(ctx, "/api/v1/pods", &list) == nil {
				l.known.learn(list.Items)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// noetherImage makes the image that ships, of the program under test.
func noetherImage(ctx context.Context, root, path string) error {
	args := []string{"run", "./deploy/image/cmd/noether-image", "-o", path, "-ref", "noether:e2e", "-platform", "linux/amd64"}
	if binary := os.Getenv("E2E_BINARY"); binary != "" {
		args = append(args, "-binary", binary)
	}
	return command(ctx, root, nil, "go", args...)
}

func shopImage(ctx context.Context, root, dir string) error {
	program := filepath.Join(dir, "shop")
	if err := command(ctx, root, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./test/e2e/shop"); err != nil {
		return err
	}
	return command(ctx, dir, nil, program, "image", "-o", "shop.tar")
}

func command(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// nameServer answers for the Services of the cluster, at the node's address.
func (l *lab) nameServer(t *testing.T) {
	t.Helper()
	var conn net.PacketConn
	if err := inside(l.Pid(cluster.Kubelet), func() (err error) {
		conn, err = net.ListenPacket("udp", cluster.NodeIP+":53")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go serveDNS(conn, func(service, namespace string) net.IP {
		ip, err := l.try("get", "service", service, "-n", namespace, "-o", "jsonpath={.spec.clusterIP}")
		if err != nil {
			return nil
		}
		return net.ParseIP(ip)
	})
}

func (l *lab) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return l.Kubectl(ctx, nil, args...)
}

func (l *lab) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := l.try(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (l *lab) apply(t *testing.T, yaml string) {
	t.Helper()
	if _, err := l.Kubectl(t.Context(), strings.NewReader(yaml), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := l.tryHelm(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (l *lab) tryHelm(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return l.Helm(ctx, args...)
}

// shopFile is a file of the shop's manifests, or only the objects of one kind.
func shopFile(t *testing.T, name string, kinds ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../shop/manifests", name))
	if err != nil {
		t.Fatal(err)
	}
	var chosen []string
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		for line := range strings.Lines(document) {
			if kind, ok := strings.CutPrefix(line, "kind: "); ok && (kinds == nil || slices.Contains(kinds, strings.TrimSpace(kind))) {
				chosen = append(chosen, document)
			}
		}
	}
	if chosen == nil {
		t.Fatalf("%s has no %q", name, kinds)
	}
	return strings.Join(chosen, "\n---\n")
}

// pods are all pods of the cluster, which it learns.
func (l *lab) pods(t *testing.T) []pod {
	t.Helper()
	var list struct{ Items []pod }
	if err := l.Get(t.Context(), "/api/v1/pods", &list); err != nil {
		t.Fatal(err)
	}
	l.known.learn(list.Items)
	return list.Items
}

func (l *lab) knownNow(t *testing.T) *known {
	t.Helper()
	l.pods(t)
	return &l.known
}

func (l *lab) find(t *testing.T, namespace, name string) (pod, bool) {
	t.Helper()
	for _, p := range l.pods(t) {
		if p.Metadata.Namespace == namespace && p.Metadata.Name == name {
			return p, true
		}
	}
	return pod{}, false
}

func (l *lab) named(t *testing.T, namespace, name string) pod {
	t.Helper()
	p, ok := l.find(t, namespace, name)
	if !ok {
		t.Fatalf("there is no pod %s/%s", namespace, name)
	}
	return p
}

func (l *lab) app(t *testing.T, namespace, app string) pod {
	t.Helper()
	for _, p := range l.pods(t) {
		if p.Metadata.Namespace == namespace && p.app() == app {
			return p
		}
	}
	t.Fatalf("there is no pod of %s/%s", namespace, app)
	return pod{}
}

// allocatable is the CPU that pods can reserve on the node, in millicores.
func (l *lab) allocatable(t *testing.T) int64 {
	t.Helper()
	return millicores(t, l.kubectl(t, "get", "node", l.Node, "-o", "jsonpath={.status.allocatable.cpu}"))
}

// objects are all objects of the cluster: "Kind namespace/name".
func (l *lab) objects(t *testing.T) map[string]bool {
	t.Helper()
	resources := strings.Fields(l.kubectl(t, "api-resources", "--verbs=list", "-o", "name"))
	out := l.kubectl(t, "get", strings.Join(resources, ","), "-A", "--ignore-not-found", "-o", `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}{end}`)
	objects := map[string]bool{}
	for line := range strings.Lines(out) {
		objects[strings.TrimSpace(line)] = true
	}
	return objects
}

// agent is one release of the chart, on the only node.
type agent struct {
	l                  *lab
	release, namespace string

	mu  sync.Mutex
	now *pod
}

// pod is the agent's pod.
func (a *agent) pod(t *testing.T) pod {
	t.Helper()
	var found pod
	eventually(t, "a pod of "+a.release, func() error {
		var list struct{ Items []pod }
		if err := a.l.Get(t.Context(), "/api/v1/namespaces/"+a.namespace+"/pods?labelSelector=app.kubernetes.io%2Fcomponent%3Dagent,app.kubernetes.io%2Finstance%3D"+a.release, &list); err != nil {
			return err
		}
		for _, p := range list.Items {
			if p.Status.PodIP != "" && p.Metadata.DeletionTimestamp == "" {
				found = p
				return nil
			}
		}
		return errors.New("none has an address")
	})
	a.mu.Lock()
	a.now = &found
	a.mu.Unlock()
	return found
}

// forget makes the next url ask for the pod again.
func (a *agent) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = nil
}

// url is the agent's address; the API server is asked once only.
func (a *agent) url(t *testing.T) string {
	t.Helper()
	a.mu.Lock()
	p := a.now
	a.mu.Unlock()
	if p == nil {
		a.pod(t)
	}
	return a.base()
}

func (a *agent) base() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now == nil {
		return "http://192.0.2.1:9877" // nobody's (RFC 5737)
	}
	return "http://" + net.JoinHostPort(a.now.Status.PodIP, "9877")
}

func (a *agent) get(path string) (string, error) {
	resp, err := a.l.client.Get(a.base() + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s of %s: %s", path, a.release, resp.Status)
	}
	return string(body), err
}

// page is a page of the agent; it waits for one.
func (a *agent) page(t *testing.T) page {
	t.Helper()
	a.url(t)
	var text string
	eventually(t, "a page of "+a.release, func() (err error) {
		text, err = a.get("/metrics")
		return err
	})
	return readPage(t, text)
}

// next is the page of the tick after another page's.
func (a *agent) next(t *testing.T, before page) page {
	t.Helper()
	was := before.sum("noether_node_joules_total")
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(30 * time.Millisecond) {
		if p := a.page(t); p.sum("noether_node_joules_total") != was {
			return p
		}
	}
	t.Fatalf("%s does not tick", a.release)
	return page{}
}

// pid is the agent's process on this machine, found by its container's cgroup.
func (l *lab) pid(t *testing.T, a *agent) int {
	t.Helper()
	_, id, _ := strings.Cut(a.pod(t).Status.ContainerStatuses[0].ContainerID, "://")
	return l.pidOf(t, a.release, id)
}

// pidOf is the one process of a container, by its id.
func (l *lab) pidOf(t *testing.T, who, id string) int {
	t.Helper()
	var procs []byte
	for _, pattern := range []string{"kubepods/*/" + id, "kubepods/*/*/" + id, "kubepods.slice/*/*" + id + ".scope", "kubepods.slice/*/*/*" + id + ".scope"} {
		found, _ := filepath.Glob(filepath.Join(l.witness.root, pattern, "cgroup.procs"))
		for _, f := range found {
			procs, _ = os.ReadFile(f)
		}
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(procs)))
	if err != nil {
		t.Fatalf("the container %s of %s has the processes %q, want one", id, who, procs)
	}
	return pid
}

// status reads the process' credentials as the kernel states them.
func (l *lab) status(t *testing.T, a *agent) map[string]string {
	t.Helper()
	return statusOf(t, l.pid(t, a))
}

func statusOf(t *testing.T, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			out[name] = strings.TrimSpace(value)
		}
	}
	return out
}

// scrape waits for the first scrape of the agent at or after a moment, and
// returns when it was.
func (l *lab) scrape(t *testing.T, after time.Time) time.Time {
	t.Helper()
	var when time.Time
	eventually(t, "a scrape after "+after.Format(time.TimeOnly), func() error {
		for _, a := range l.prometheus.ask(t, `up{job="noether"}[5m]`, time.Now()) {
			for _, s := range a.samples {
				if !s.at.Before(after) && s.value == 1 {
					when = s.at
					return nil
				}
			}
		}
		return errors.New("none")
	})
	return when
}

// ticked is when the machine was read for a page: what it tells of ends there.
func (p page) ticked() time.Time {
	return time.UnixMicro(int64(1e6 * p.sum("noether_last_tick_timestamp_seconds")))
}

// ticked is that of the page that Prometheus scraped at a moment.
func (l *lab) ticked(t *testing.T, scraped time.Time) time.Time {
	t.Helper()
	return time.UnixMicro(int64(1e6 * l.prometheus.one(t, `noether_last_tick_timestamp_seconds{job="noether"}`, scraped.Add(time.Millisecond))))
}

// scrapes are the times of the agent's scrapes after one until another.
func (l *lab) scrapes(t *testing.T, first, last time.Time) (times []time.Time) {
	t.Helper()
	for _, a := range l.prometheus.ask(t, fmt.Sprintf(`up{job="noether"}[%dms]`, last.Sub(first).Milliseconds()), last.Add(time.Millisecond)) {
		for _, s := range a.samples {
			if s.at.After(first) && !s.at.After(last) {
				times = append(times, s.at)
			}
		}
	}
	return times
}

// rise is what counters rose by from one scrape to another, by pod uid ("" for
// all that have none): as increase() has it, but for its extrapolation. A
// series' first value does not count, a fall is a new beginning at 0.
func (l *lab) rise(t *testing.T, selector string, from, to time.Time) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, a := range l.prometheus.ask(t, fmt.Sprintf("%s[%dms]", selector, to.Sub(from).Milliseconds()+2), to.Add(time.Millisecond)) {
		for i := 1; i < len(a.samples); i++ {
			out[a.labels["pod_uid"]] += step(a.samples[i-1].value, a.samples[i].value)
		}
	}
	return out
}

func step(before, after float64) float64 {
	if after < before {
		return after
	}
	return after - before
}

// riseAt is what counters that began at 0 rose by between two moments, in
// straight lines between samples, by the values of some labels.
func (l *lab) riseAt(t *testing.T, selector string, from, to time.Time, names ...string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, a := range l.prometheus.ask(t, selector+"[30m]", to.Add(2*scrapeEvery)) {
		var values []string
		for _, name := range names {
			values = append(values, a.labels[name])
		}
		key := strings.Join(values, "/")
		previous := sample{}
		for i, s := range a.samples {
			if i == 0 {
				previous = sample{at: s.at.Add(-scrapeEvery)}
				if s.at.Sub(from) <= 0 {
					previous = s
					continue
				}
			}
			begin, end := maxTime(previous.at, from), minTime(s.at, to)
			if end.After(begin) {
				out[key] += step(previous.value, s.value) * float64(end.Sub(begin)) / float64(s.at.Sub(previous.at))
			}
			previous = s
		}
	}
	return out
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
