package scale

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// kubelet answers as a kubelet does: with all its pods, each time.
type kubelet struct {
	mu       sync.Mutex
	pods     []*truth
	requests int
	bytes    int
}

const token = "a-token-of-the-test"

func (k *kubelet) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+token || r.URL.Path != "/pods" {
		rw.WriteHeader(http.StatusForbidden)
		return
	}
	items := []object{}
	for _, p := range k.pods {
		items = append(items, p.asSeen())
	}
	answer, err := json.Marshal(object{"kind": "PodList", "apiVersion": "v1", "metadata": object{}, "items": items})
	if err != nil {
		panic(err)
	}
	k.requests++
	k.bytes += len(answer)
	rw.Header().Set("Content-Type", "application/json")
	rw.Write(answer)
}

func (k *kubelet) counts() (requests, bytes int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.requests, k.bytes
}

func (k *kubelet) know(p *truth) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pods = append(k.pods, p)
}

// TestAKubeletOfManyPods: what is asked of a kubelet with 110 pods is bounded,
// at rest and while pods come and go.
func TestAKubeletOfManyPods(t *testing.T) {
	need(t)
	const pods = 110
	k := &kubelet{}
	server := httptest.NewUnstartedServer(k)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // its certificate is not for the node's name, which is tried first
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	ca, tokenFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	for file, content := range map[string][]byte{
		ca:        pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		tokenFile: []byte(token + "\n"),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := newNode(t)
	all := map[string]*truth{}
	made := 0
	add := func() *truth {
		p := newPod(agentNode, made)
		made++
		p.uid = podUID(p.name)
		all[p.uid] = p
		n.run(p)
		return p
	}
	known := func(uid string) *truth { return all[uid] }
	for range pods {
		k.know(add())
	}
	a := startAgent(t, here(), "--root", n.Root(), "--interval", "1s", "--node-name", nodeName(agentNode),
		"--kube-source", "kubelet", "--kube-kubelet-url", server.URL, "--kube-kubelet-ca", ca, "--kube-token-file", tokenFile)
	n.work()
	complete := func(p page) bool {
		lies, unnamed := n.wrong(p, known)
		if len(lies) > 0 {
			t.Fatalf("wrong names: %q", lies)
		}
		return unnamed == 0 && p.value("noether_names_known") == pods
	}
	a.await("the names of its pods", complete)
	time.Sleep(15 * time.Second) // sandboxes are asked for once or twice more

	minute := func(what string, most int, each func()) {
		t.Helper()
		requests, bytes := k.counts()
		before := uses(t, a.cmd.Process.Pid)
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
			n.work()
			each()
		}
		r, b := k.counts()
		after := uses(t, a.cmd.Process.Pid)
		t.Logf("a minute %s: %d requests, %.2f MB; agent: CPU %s, RSS %.1f MiB", what, r-requests, float64(b-bytes)/1e6, after.cpu-before.cpu, after.rss)
		if r-requests > most {
			t.Errorf("a minute %s: %d requests, want at most %d", what, r-requests, most)
		}
	}
	minute("at rest", 3, func() { time.Sleep(time.Second) })

	replaced, slowest := 0, time.Duration(0)
	minute("with a pod replaced every few seconds", 60, func() {
		k.mu.Lock()
		gone := k.pods[0]
		k.pods = slices.Delete(k.pods, 0, 1)
		k.mu.Unlock()
		n.end(gone)
		began := time.Now()
		k.know(add())
		n.work()
		a.await("the name of a new pod", complete)
		slowest = max(slowest, time.Since(began))
		replaced++
		time.Sleep(2 * time.Second)
	})
	t.Logf("%d pods replaced, the slowest name after %s", replaced, slowest.Round(10*time.Millisecond))
	p := a.await("all names in the end", complete)
	// A page is as old as its tick, and the first request may have found a
	// certificate for another name.
	if r, _ := k.counts(); p.value("noether_names_requests_total") < float64(r-1) || p.value("noether_names_requests_total") > float64(r+1) {
		t.Errorf("the agent counts %v requests, the kubelet %d", p.value("noether_names_requests_total"), r)
	}
}
