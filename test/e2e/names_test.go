package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"noether/test/machine"
)

// Containers and pods of the simulated cluster node.
const (
	cartUID  = "11111111-9a3e-4a51-8d7f-1f0b6f2d9c11"
	cartID   = "c1aa2c3b4a5968778695a4b3c2d1e0f00f1e2d3c4b5a69788796a5b4c3d2e1ff"
	pauseID  = "c0aa2c3b4a5968778695a4b3c2d1e0f00f1e2d3c4b5a69788796a5b4c3d2e1ff"
	lateUID  = "22222222-9a3e-4a51-8d7f-1f0b6f2d9c11"
	lateID   = "c2aa2c3b4a5968778695a4b3c2d1e0f00f1e2d3c4b5a69788796a5b4c3d2e1ff"
	afterUID = "33333333-9a3e-4a51-8d7f-1f0b6f2d9c11"
	againUID = "44444444-9a3e-4a51-8d7f-1f0b6f2d9c11"
	againID  = "c4aa2c3b4a5968778695a4b3c2d1e0f00f1e2d3c4b5a69788796a5b4c3d2e1ff"
	afterID  = "c3aa2c3b4a5968778695a4b3c2d1e0f00f1e2d3c4b5a69788796a5b4c3d2e1ff"
)

// podOn starts a pod with one container on the simulated machine, its sandbox
// beside it if it has one, and returns the processes.
func podOn(m *machine.Machine, pid int, uid, id, sandbox string) {
	dir := "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice/"
	for i, c := range []string{id, sandbox} {
		if c == "" {
			continue
		}
		m.AddCgroup(dir+"cri-containerd-"+c+".scope", "pod/"+uid)
		m.Start(machine.Process{PID: pid + i, PPID: 1, Comm: "proc", Cgroup: dir + "cri-containerd-" + c + ".scope"})
	}
}

// labelsOf returns the one set of labels that a pod has in a family, without
// component and part: two sets would be two series of one pod.
func labelsOf(t *testing.T, p *page, family, uid string) (labels map[string]string) {
	t.Helper()
	for _, s := range p.find(family, "pod_uid", uid) {
		l := map[string]string{}
		for name, value := range s.Labels {
			if name != "component" && name != "part" {
				l[name] = value
			}
		}
		if labels != nil && fmt.Sprint(l) != fmt.Sprint(labels) {
			t.Fatalf("tick %d: pod %s is there twice: %v and %v", p.ticks(), uid, labels, l)
		}
		labels = l
	}
	return labels
}

// awaitPod waits until a pod is exported under a name, "" for its uid alone.
func (a *agent) awaitPod(uid, namespace, pod string) (p *page) {
	a.t.Helper()
	a.await("pod "+uid+" to be called "+namespace+"/"+pod, func() bool {
		p = a.scrape()
		l := labelsOf(a.t, p, "noether_pod_joules_total", uid)
		return l != nil && l["namespace"] == namespace && l["pod"] == pod
	})
	return p
}

// toil lets the processes use CPU time and the machine energy.
func toil(m *machine.Machine, pids ...int) {
	s := machine.Step{Energy: map[string]uint64{"intel-rapl:0": 8_000_000, "intel-rapl:2": 9_000_000}, CPU: map[int]time.Duration{}}
	for _, pid := range pids {
		s.CPU[pid] = time.Second
	}
	m.Advance(s)
}

// TestPodNamesFromTheAPI: pods are measured by uid while the API is away, and
// go on under their names, never twice, when it comes, goes and comes again.
// Every page balances (see scrape).
func TestPodNamesFromTheAPI(t *testing.T) {
	t.Parallel()
	m := node(t, machine.V2, false)
	podOn(m, 300, cartUID, cartID, pauseID)
	api := newKubeAPI(t)
	api.put("shop", "cart-5d4f7-x1", cartUID, controlledBy("ReplicaSet", "cart-5d4f7"), inPod{"server", cartID})
	a := start(t, "--root", m.Root(), "--interval", tick.String(), "--sensor", "powercap", "--usage", "procfs",
		"--node-name", kubeNode, "--kube-source", "api", "--kube-config", api.kubeconfig(""), "--kube-pod-labels", "app.kubernetes.io/name")

	// Absent at start.
	toil(m, 300, 301)
	p := a.awaitPod(cartUID, "", "")
	before := p.joules("noether_pod_joules_total", "pod_uid", cartUID)
	if up := p.find("noether_names_up", "source", "api"); len(up) != 1 || up[0].Value != "0" {
		t.Errorf("noether_names_up without an API: %v", up)
	}

	// It comes: the same account under the name.
	api.start()
	p = a.awaitPod(cartUID, "shop", "cart-5d4f7-x1")
	got := labelsOf(t, p, "noether_pod_joules_total", cartUID)
	want := map[string]string{
		"node": kubeNode, "namespace": "shop", "pod": "cart-5d4f7-x1", "pod_uid": cartUID,
		"workload_kind": "Deployment", "workload": "cart", "label_app_kubernetes_io_name": "cart-5d4f7-x1-app",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("labels %v, want %v", got, want)
	}
	if now := p.joules("noether_pod_joules_total", "pod_uid", cartUID); now < before {
		t.Errorf("the pod had %d uJ without a name, %d with it", before, now)
	}
	if all, own := p.joules("noether_namespace_joules_total", "namespace", "shop"), p.joules("noether_pod_joules_total", "namespace", "shop"); all != own || all == 0 {
		t.Errorf("namespace shop has %d uJ, its one pod %d", all, own)
	}
	if c := p.find("noether_container_joules_total", "container_id", cartID); len(c) == 0 || c[0].Labels["container"] != "server" || c[0].Labels["pod"] != "cart-5d4f7-x1" {
		t.Errorf("the container: %v", c)
	}
	if c := p.find("noether_container_joules_total", "container_id", pauseID); len(c) != 0 {
		t.Errorf("the sandbox is a series of its own: %v", c)
	}

	// A name that comes after its pod has begun to run.
	podOn(m, 310, lateUID, lateID, "")
	toil(m, 300, 310)
	a.skip(3)
	p = a.awaitPod(lateUID, "", "")
	before = p.joules("noether_pod_joules_total", "pod_uid", lateUID)
	api.put("shop", "late-0", lateUID, controlledBy("StatefulSet", "late"), inPod{"db", lateID})
	p = a.awaitPod(lateUID, "shop", "late-0")
	if now := p.joules("noether_pod_joules_total", "pod_uid", lateUID); now < before || before == 0 {
		t.Errorf("the pod had %d uJ without a name, %d with it", before, now)
	}
	if all, own := p.joules("noether_namespace_joules_total", "namespace", "shop"), p.joules("noether_pod_joules_total", "namespace", "shop"); all != own {
		t.Errorf("namespace shop has %d uJ, its pods %d, with what they had before they had a name", all, own)
	}
	if w := p.find("noether_workload_joules_total", "namespace", "shop", "workload_kind", "StatefulSet", "workload", "late"); len(w) == 0 {
		t.Error("the workload is no series")
	}

	// The API goes: names stay, energy goes on, a new pod has its uid.
	api.stop()
	a.await("word of the API's end", func() bool { return a.scrape().value("noether_names_up", "source", "api") == 0 })
	podOn(m, 320, afterUID, afterID, "")
	toil(m, 300, 310, 320)
	a.skip(3)
	p = a.awaitPod(afterUID, "", "")
	for uid, name := range map[string]string{cartUID: "cart-5d4f7-x1", lateUID: "late-0"} {
		if l := labelsOf(t, p, "noether_pod_joules_total", uid); l["pod"] != name {
			t.Errorf("pod %s is called %v while the API is away", name, l)
		}
	}
	if e := p.joules("noether_pod_joules_total", "pod_uid", lateUID); e <= before {
		t.Errorf("the pod stands at %d uJ while the API is away", e)
	}

	// And comes again, with what happened meanwhile.
	api.put("batch", "after", afterUID, nil, inPod{"job", afterID})
	api.start()
	p = a.awaitPod(afterUID, "batch", "after")
	if l := labelsOf(t, p, "noether_pod_joules_total", afterUID); l["workload_kind"] != "Pod" || l["workload"] != "after" {
		t.Errorf("a pod of nobody: %v", l)
	}
	for uid, name := range map[string]string{cartUID: "cart-5d4f7-x1", lateUID: "late-0"} {
		if l := labelsOf(t, p, "noether_pod_joules_total", uid); l["pod"] != name {
			t.Errorf("pod %s is called %v when the API is back", name, l)
		}
	}

	// A pod ends, and another one comes under its name.
	m.Exit(310)
	api.drop("shop", "late-0")
	podOn(m, 330, againUID, againID, "")
	api.put("shop", "late-0", againUID, controlledBy("StatefulSet", "late"), inPod{"db", againID})
	a.skip(2)
	before = a.scrape().joules("noether_pod_joules_total", "pod_uid", lateUID)
	toil(m, 330)
	p = a.awaitPod(againUID, "shop", "late-0")
	a.await("energy of the new pod", func() bool { p = a.scrape(); return p.joules("noether_pod_joules_total", "pod_uid", againUID) > 0 })
	if e := p.joules("noether_pod_joules_total", "pod_uid", lateUID); e != before || labelsOf(t, p, "noether_pod_joules_total", lateUID)["pod"] != "late-0" {
		t.Errorf("the pod that ended went from %d uJ to %d: %v", before, e, labelsOf(t, p, "noether_pod_joules_total", lateUID))
	}
	if strings.Contains(a.log.String(), kubeToken) || strings.Contains(string(p.text), kubeToken) {
		t.Error("the token was told")
	}
}

// TestWrongAuthority: an API server that somebody else signed gets no token,
// and the agent measures without names.
func TestWrongAuthority(t *testing.T) {
	t.Parallel()
	m := node(t, machine.V2, false)
	api := newKubeAPI(t)
	api.start()
	api.put("shop", "web", podUID, nil, inPod{"web", inPodID})
	config := api.kubeconfig(strangersCA(t))
	a := start(t, "--root", m.Root(), "--interval", tick.String(), "--sensor", "powercap", "--usage", "procfs",
		"--node-name", kubeNode, "--kube-source", "api", "--kube-config", config)
	toil(m, 100)
	a.await("word of the certificate", func() bool { return strings.Contains(a.log.String(), "did not sign the server's certificate") })
	a.awaitPod(podUID, "", "")
	api.mu.Lock()
	if api.requests != 0 {
		t.Errorf("%d requests to a server that is not the one", api.requests)
	}
	api.mu.Unlock()

	code, out, _ := runs(t, "check", "--root", m.Root(), "--sensor", "powercap", "--node-name", kubeNode, "--kube-source", "api", "--kube-config", config)
	if flat := strings.Join(strings.Fields(out), " "); code != 0 || !strings.Contains(flat, "api broken") || !strings.Contains(flat, "did not sign the server's certificate") {
		t.Errorf("check: code %d\n%s", code, out)
	}
	code, out, _ = runs(t, "check", "--root", m.Root(), "--sensor", "powercap", "--node-name", kubeNode, "--kube-source", "api", "--kube-config", api.kubeconfig(""))
	if flat := strings.Join(strings.Fields(out), " "); code != 0 || !strings.Contains(flat, "* api works 1 pods on node n1") {
		t.Errorf("check: code %d\n%s", code, out)
	}
}

// strangersCA writes the certificate of an authority that signed nothing.
func strangersCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stranger"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "stranger.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestNameSettingsThatCannotWork end the agent at once, with a word that helps.
func TestNameSettingsThatCannotWork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage")
	if err := os.WriteFile(garbage, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"no node name":     {[]string{"--kube-source=api"}, 2, []string{"--kube-source", "needs node-name", "spec.nodeName"}},
		"no kubeconfig":    {[]string{"--kube-source=api", "--node-name=n", "--kube-config=" + dir + "/absent"}, 1, []string{dir + "/absent", "no such file"}},
		"bad kubeconfig":   {[]string{"--kube-source=api", "--node-name=n", "--kube-config=" + garbage}, 1, []string{garbage}},
		"no CA":            {[]string{"--kube-source=kubelet", "--node-name=n", "--kube-token-file=" + garbage, "--kube-kubelet-ca=" + dir + "/absent.crt"}, 1, []string{dir + "/absent.crt"}},
		"bad CA":           {[]string{"--kube-source=kubelet", "--node-name=n", "--kube-token-file=" + garbage, "--kube-kubelet-ca=" + garbage}, 1, []string{"root certificates", "--kube-kubelet-ca"}},
		"no token":         {[]string{"--kube-source=kubelet", "--node-name=n", "--kube-token-file=" + dir + "/absent"}, 1, []string{dir + "/absent", "--kube-token-file"}},
		"one label twice":  {[]string{"--kube-pod-labels=a.b,a/b"}, 2, []string{`"a.b" and "a/b" would both be called label_a_b`}},
		"a socket by name": {[]string{"--container-names=docker"}, 2, []string{"--container-names"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := runs(t, append([]string{"agent", "--listen", "127.0.0.1:0"}, c.args...)...)
			if code != c.code {
				t.Errorf("code %d, want %d", code, c.code)
			}
			if code, stdout, _ := runs(t, append([]string{"check", "--listen", "127.0.0.1:0"}, c.args...)...); code != 1 || !strings.Contains(stdout, "the settings are wrong") {
				t.Errorf("check ended with %d:\n%s", code, stdout)
			}
			for _, says := range c.says {
				if !strings.Contains(stderr, says) {
					t.Errorf("lacks %q:\n%s", says, stderr)
				}
			}
		})
	}
}

// dockerAPI answers about containers as the Docker Engine API does.
type dockerAPI struct {
	mu         sync.Mutex
	containers map[string]string // name by id
	requests   int
}

func (d *dockerAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests++
	if r.Method != http.MethodGet || r.URL.Path != "/containers/json" {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	list := []map[string]any{}
	for id, name := range d.containers {
		if f := r.URL.Query().Get("filters"); f == "" || strings.Contains(f, id) {
			list = append(list, map[string]any{"Id": id, "Names": []string{"/" + name}, "State": "running"})
		}
	}
	json.NewEncoder(w).Encode(list)
}

// listen serves at the usual place of a machine.
func (d *dockerAPI) listen(t *testing.T, m *machine.Machine) {
	t.Helper()
	if err := os.MkdirAll(m.Path("run"), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", m.Path("run", "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: d}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
}

// TestContainerNames: Docker comes after the agent, knows containers outside
// pods and is asked for nothing else, beside Kubernetes.
func TestContainerNames(t *testing.T) {
	t.Parallel()
	m := node(t, machine.V2, false)
	kube := newKubeAPI(t)
	kube.start()
	kube.put("shop", "web", podUID, nil, inPod{"web", inPodID})
	a := start(t, "--root", m.Root(), "--interval", tick.String(), "--sensor", "powercap", "--usage", "procfs",
		"--node-name", kubeNode, "--kube-source", "api", "--kube-config", kube.kubeconfig(""))
	named := func(id, name string) func() bool {
		return func() bool {
			found := a.scrape().find("noether_container_joules_total", "container_id", id)
			for _, s := range found {
				if s.Labels["container"] != name {
					return false
				}
			}
			return len(found) > 0
		}
	}
	toil(m, 102, 104, 105)
	a.await("the container by its id", named(containerID, ""))

	docker := &dockerAPI{containers: map[string]string{containerID: "web-1", inPodID: "k8s_web_web_shop_0"}}
	docker.listen(t, m)
	a.await("the container by its name", named(containerID, "web-1"))
	a.await("the pod's container by the name in the pod", named(inPodID, "web"))
	p := a.scrape()
	if up := p.find("noether_names_up", "source", "docker"); len(up) != 1 || up[0].Value != "1" {
		t.Errorf("noether_names_up: %v", up)
	}
	docker.mu.Lock()
	before := docker.requests
	docker.mu.Unlock()
	a.skip(5)
	docker.mu.Lock()
	if docker.requests != before {
		t.Errorf("%d requests though every container has its name", docker.requests-before)
	}
	docker.mu.Unlock()

	off := start(t, "--root", m.Root(), "--interval", tick.String(), "--sensor", "powercap", "--usage", "procfs", "--container-names", "off")
	toil(m, 102)
	off.await("the container by its id", func() bool {
		return len(off.scrape().find("noether_container_joules_total", "container_id", containerID, "runtime", "docker")) > 0
	})
	if up := off.scrape().find("noether_names_up"); len(up) != 0 {
		t.Errorf("names with all sources off: %v", up)
	}
	docker.mu.Lock()
	if docker.requests != before {
		t.Errorf("%d requests with --container-names off", docker.requests-before)
	}
	docker.mu.Unlock()
}
