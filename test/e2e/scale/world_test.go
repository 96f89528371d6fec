package scale

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"noether/test/e2e/cluster"
)

// world is a cluster whose controllers and kubelets are played: every object
// is written through the API as they would write it. Its methods are safe for
// any number of goroutines.
type world struct {
	c    *cluster.Cluster
	http *http.Client

	mu     sync.Mutex
	random *rand.Rand
	made   int
	pods   map[string]*truth // all that ever were, by uid
	alive  [][]*truth        // by node
	writes []int             // to pods, by node
}

func newWorld(t *testing.T, c *cluster.Cluster) *world {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", cluster.AdminKubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.Dial = c.Dial
	config.Timeout = patience
	w := &world{c: c, random: rand.New(rand.NewPCG(1, 2)), pods: map[string]*truth{}, alive: make([][]*truth, *nodes), writes: make([]int, *nodes)}
	if w.http, err = rest.HTTPClientFor(config); err != nil {
		t.Fatal(err)
	}
	return w
}

// send writes one object and returns what the server made of it.
func (w *world) send(ctx context.Context, method, path, kind string, body any) ([]byte, error) {
	content, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, cluster.APIServer+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := w.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, answer)
	}
	return answer, err
}

const (
	asJSON  = "application/json"
	asMerge = "application/merge-patch+json"
)

// many calls f for 0 to n-1, some at a time, and returns the first error.
func many(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	next, failed := make(chan int), make(chan error, n)
	for range 32 {
		wg.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					failed <- err
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	close(failed)
	return <-failed
}

// furnish makes the namespaces and nodes.
func (w *world) furnish(ctx context.Context) error {
	if err := many(20, func(i int) error {
		_, err := w.send(ctx, http.MethodPost, "/api/v1/namespaces", asJSON, object{"metadata": object{"name": fmt.Sprintf("team-%02d", i)}})
		return err
	}); err != nil {
		return err
	}
	return many(*nodes, func(i int) error {
		if _, err := w.send(ctx, http.MethodPost, "/api/v1/nodes", asJSON, object{"metadata": object{"name": nodeName(i), "labels": object{"kubernetes.io/os": "linux"}}}); err != nil {
			return err
		}
		amounts := object{"cpu": "8", "memory": "32Gi", "pods": "110"}
		_, err := w.send(ctx, http.MethodPatch, "/api/v1/nodes/"+nodeName(i)+"/status", asMerge, object{"status": object{
			"capacity": amounts, "allocatable": amounts,
			"conditions": []object{{"type": "Ready", "status": "True", "reason": "KubeletReady"}},
		}})
		return err
	})
}

// create makes a pod on a node and lets it run.
func (w *world) create(ctx context.Context, node int) (*truth, error) {
	w.mu.Lock()
	p := newPod(node, w.made)
	w.made++
	w.mu.Unlock()
	answer, err := w.send(ctx, http.MethodPost, "/api/v1/namespaces/"+p.namespace+"/pods", asJSON, p.object())
	if err != nil {
		return nil, err
	}
	var made struct{ Metadata struct{ UID string } }
	if err := json.Unmarshal(answer, &made); err != nil {
		return nil, err
	}
	p.uid = made.Metadata.UID
	w.mu.Lock()
	w.pods[p.uid] = p
	w.alive[node] = append(w.alive[node], p)
	w.writes[node]++
	w.mu.Unlock()
	return p, w.beat(ctx, p)
}

// beat writes a pod's status, as a kubelet does when a probe's answer changes.
func (w *world) beat(ctx context.Context, p *truth) error {
	w.mu.Lock()
	p.beats++
	w.writes[p.node]++
	status := p.status()
	w.mu.Unlock()
	_, err := w.send(ctx, http.MethodPatch, p.path()+"/status", asMerge, object{"status": status})
	return err
}

// remove ends a pod in the two steps in which a kubelet does.
func (w *world) remove(ctx context.Context, p *truth) error {
	w.mu.Lock()
	w.alive[p.node] = slices.DeleteFunc(w.alive[p.node], func(o *truth) bool { return o == p })
	w.writes[p.node] += 2
	w.mu.Unlock()
	for _, grace := range []int{30, 0} {
		if _, err := w.send(ctx, http.MethodDelete, p.path(), asJSON, object{"gracePeriodSeconds": grace, "preconditions": object{"uid": p.uid}}); err != nil {
			return err
		}
	}
	return nil
}

func (p *truth) path() string { return "/api/v1/namespaces/" + p.namespace + "/pods/" + p.name }

// fill makes pods until each node but the agent's has n.
func (w *world) fill(ctx context.Context, total int) error {
	w.mu.Lock()
	var missing []int
	have := 0
	for _, all := range w.alive {
		have += len(all)
	}
	for i := range total - have {
		missing = append(missing, 1+i%(len(w.alive)-1))
	}
	w.mu.Unlock()
	return many(len(missing), func(i int) error { _, err := w.create(ctx, missing[i]); return err })
}

// any returns a pod of a node from first on.
func (w *world) any(first int) *truth {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if all := w.alive[first+w.random.IntN(len(w.alive)-first)]; len(all) > 0 {
			return all[w.random.IntN(len(all))]
		}
	}
}

// on returns the pods of a node.
func (w *world) on(node int) []*truth {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.alive[node])
}

func (w *world) written(node int) (own, others int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, n := range w.writes {
		if i == node {
			own = n
		} else {
			others += n
		}
	}
	return own, others
}

func (w *world) pod(uid string) *truth {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pods[uid]
}

// churn lets pods of the other nodes come, go and change until stop is called,
// which returns how much happened.
func (w *world) churn(ctx context.Context, t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	every := func(d time.Duration, f func() error) {
		wg.Go(func() {
			tick := time.NewTicker(d)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					if err := f(); err != nil && ctx.Err() == nil {
						t.Errorf("churn: %v", err)
						return
					}
				}
			}
		})
	}
	every(25*time.Millisecond, func() error { return w.beat(context.WithoutCancel(ctx), w.any(agentNode+2)) })
	// Node 1 is where pods come and go, so that nobody changes one that is leaving.
	every(200*time.Millisecond, func() error {
		if all := w.on(agentNode + 1); len(all) > 0 {
			if err := w.remove(context.WithoutCancel(ctx), all[0]); err != nil {
				return err
			}
		}
		_, err := w.create(context.WithoutCancel(ctx), agentNode+1)
		return err
	})
	return func() { cancel(); wg.Wait() }
}

// request is what the API server wrote down of a request of the agent.
type request struct {
	AuditID        string
	Stage          string
	RequestURI     string
	Verb           string
	UserAgent      string
	ResponseStatus struct{ Code int }
	Received       time.Time `json:"requestReceivedTimestamp"`
}

// auditPolicy writes down who asks with the agent's rights, and nothing else.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ["system:serviceaccount:noether:noether"]
  - level: None
`

// audit returns the requests that a user agent sent from a moment on, each
// once.
func audit(t *testing.T, file, userAgent string, from time.Time) (list []request) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			continue // the server was stopped while it wrote
		}
		if strings.HasPrefix(r.UserAgent, userAgent) && !r.Received.Before(from) && !seen[r.AuditID] {
			seen[r.AuditID] = true
			list = append(list, r)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// lists tells whether all pods are asked for, answered, and not only what
// changes from a version on.
func (r *request) lists() bool {
	return r.ResponseStatus.Code == http.StatusOK && strings.HasPrefix(r.RequestURI, "/api/v1/pods?") &&
		(r.Verb == "list" || strings.Contains(r.RequestURI, "sendInitialEvents=true"))
}
