package e2e

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// kubeAPI answers as a Kubernetes API server does about the pods of one node:
// lists, watches and watches that begin with a list, each bearing a token.
// It can be stopped and started again at its address.
type kubeAPI struct {
	t       *testing.T
	address string
	token   string
	server  *httptest.Server

	mu       sync.Mutex
	pods     map[string]kubePod // by namespace/name
	version  int
	changed  chan struct{} // closed at each change
	events   []kubeEvent
	requests int
	wrong    []string // requests that a real server would have refused
}

type kubeEvent struct {
	kind string
	pod  kubePod
}

type kubePod map[string]any

// Names of the fake cluster.
const (
	kubeNode  = "n1"
	kubeToken = "a-token-of-the-test"
)

// newKubeAPI returns an API server that does not run yet.
func newKubeAPI(t *testing.T) *kubeAPI {
	t.Helper()
	k := &kubeAPI{t: t, address: freeAddress(t), token: kubeToken, pods: map[string]kubePod{}, changed: make(chan struct{})}
	t.Cleanup(func() {
		k.stop()
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.wrong) > 0 {
			t.Errorf("requests that the API server would refuse: %q", k.wrong)
		}
	})
	return k
}

// start makes it answer.
func (k *kubeAPI) start() {
	k.t.Helper()
	l, err := net.Listen("tcp", k.address)
	if err != nil {
		k.t.Fatal(err)
	}
	k.server = httptest.NewUnstartedServer(k)
	k.server.Listener.Close()
	k.server.Listener = l
	k.server.Config.ErrorLog = log.New(io.Discard, "", 0) // who mistrusts it says so himself
	k.server.StartTLS()
}

// stop makes it vanish, with every connection.
func (k *kubeAPI) stop() {
	if k.server == nil {
		return
	}
	k.server.CloseClientConnections()
	go func(s *httptest.Server) {
		for range 50 { // new ones may come until it has closed
			s.CloseClientConnections()
			time.Sleep(10 * time.Millisecond)
		}
	}(k.server)
	k.server.Close()
	k.server = nil
}

// kubeconfig writes one that trusts the authority in ca, or the server's own.
func (k *kubeAPI) kubeconfig(ca string) string {
	k.t.Helper()
	dir := k.t.TempDir()
	if ca == "" {
		ca = filepath.Join(dir, "ca.crt")
		s := httptest.NewTLSServer(http.NotFoundHandler()) // all of them have one certificate
		defer s.Close()
		cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
		if err := os.WriteFile(ca, cert, 0o600); err != nil {
			k.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(k.token+"\n"), 0o600); err != nil {
		k.t.Fatal(err)
	}
	file := filepath.Join(dir, "kubeconfig")
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "https://%s", certificate-authority: %q}}]
users: [{name: noether, user: {tokenFile: token}}]
contexts: [{name: test, context: {cluster: test, user: noether}}]
`, k.address, ca)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		k.t.Fatal(err)
	}
	return file
}

// inPod is one container of a pod, by its name and id.
type inPod struct{ name, id string }

// put makes or changes a pod of the node. Its template hash is 5d4f7.
func (k *kubeAPI) put(namespace, name, uid string, owner kubePod, containers ...inPod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	specs, statuses := []kubePod{}, []kubePod{}
	for _, c := range containers {
		specs = append(specs, kubePod{"name": c.name, "image": "x", "resources": kubePod{"requests": kubePod{"cpu": "250m", "memory": "64Mi"}}})
		statuses = append(statuses, kubePod{"name": c.name, "containerID": "containerd://" + c.id, "state": kubePod{"running": kubePod{"startedAt": "2026-01-01T00:00:00Z"}}})
	}
	kind := "ADDED"
	if k.pods[namespace+"/"+name] != nil {
		kind = "MODIFIED"
	}
	k.version++
	metadata := kubePod{
		"namespace": namespace, "name": name, "uid": uid, "resourceVersion": strconv.Itoa(100 + k.version),
		"creationTimestamp": "2026-01-01T00:00:00Z", "labels": kubePod{"pod-template-hash": "5d4f7", "app.kubernetes.io/name": name + "-app"},
	}
	if owner != nil {
		metadata["ownerReferences"] = []kubePod{owner}
	}
	pod := kubePod{
		"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
		"spec":   kubePod{"nodeName": kubeNode, "containers": specs},
		"status": kubePod{"phase": "Running", "containerStatuses": statuses},
	}
	k.pods[namespace+"/"+name] = pod
	k.tell(kubeEvent{kind, pod})
}

// drop deletes a pod.
func (k *kubeAPI) drop(namespace, name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.version++
	k.tell(kubeEvent{"DELETED", k.pods[namespace+"/"+name]})
	delete(k.pods, namespace+"/"+name)
}

func (k *kubeAPI) tell(e kubeEvent) {
	k.events = append(k.events, e)
	close(k.changed)
	k.changed = make(chan struct{})
}

func controlledBy(kind, name string) kubePod {
	return kubePod{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "00000000-0000-0000-0000-000000000001", "controller": true}
}

func (k *kubeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	k.requests++
	refuse := func(code int, reason string) {
		k.wrong = append(k.wrong, r.Method+" "+r.URL.String())
		k.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(kubePod{"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason})
	}
	q := r.URL.Query()
	switch {
	case r.Header.Get("Authorization") != "Bearer "+k.token:
		refuse(http.StatusUnauthorized, "Unauthorized")
		return
	case r.Method != http.MethodGet:
		refuse(http.StatusForbidden, "Forbidden")
		return
	case r.URL.Path == "/api/v1/nodes/"+kubeNode:
		k.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(kubePod{
			"apiVersion": "v1", "kind": "Node", "metadata": kubePod{"name": kubeNode},
			"status": kubePod{"allocatable": kubePod{"cpu": "2", "memory": "4Gi", "pods": "110"}},
		})
		return
	case r.URL.Path != "/api/v1/pods" || q.Get("fieldSelector") != "spec.nodeName="+kubeNode:
		refuse(http.StatusForbidden, "Forbidden")
		return
	}
	all, version, seen := slices.Collect(maps.Values(k.pods)), strconv.Itoa(100+k.version), len(k.events)
	k.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if q.Get("watch") == "" {
		json.NewEncoder(w).Encode(kubePod{"apiVersion": "v1", "kind": "PodList", "metadata": kubePod{"resourceVersion": version}, "items": all})
		return
	}
	send := func(kind string, object kubePod) {
		json.NewEncoder(w).Encode(kubePod{"type": kind, "object": object})
		w.(http.Flusher).Flush()
	}
	if q.Get("sendInitialEvents") == "true" {
		for _, p := range all {
			send("ADDED", p)
		}
		send("BOOKMARK", kubePod{"apiVersion": "v1", "kind": "Pod", "metadata": kubePod{
			"resourceVersion": version, "annotations": kubePod{"k8s.io/initial-events-end": "true"},
		}})
	} else {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		var from int
		if _, err := fmt.Sscan(q.Get("resourceVersion"), &from); err == nil {
			seen = min(max(from-100, 0), seen)
		}
	}
	for {
		k.mu.Lock()
		next, changed := k.events[seen:], k.changed
		seen = len(k.events)
		k.mu.Unlock()
		for _, e := range next {
			send(e.kind, e.pod)
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
