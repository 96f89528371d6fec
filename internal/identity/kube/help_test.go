package kube

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"noether/internal/workload"
)

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

// until waits for ok, however slow the machine is.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// logbook is a log that can be read.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) lines(with string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, with) {
			n++
		}
	}
	return n
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start runs s until the test ends, and then insists that it ends.
func start(t *testing.T, s *Source) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("it ended with %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("it does not end")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func status(s *Source) workload.NamesStatus { return s.Status(nil)[0] }

// server speaks the parts of the Kubernetes API that concern the pods of one
// node, as https://kubernetes.io/docs/reference/using-api/api-concepts/ has
// them: list, watch, bookmarks, streamed lists, 410 Gone, errors.
type server struct {
	*httptest.Server

	t   *testing.T
	dir string

	mu        sync.Mutex
	rv        int
	pods      map[string]object // by uid
	events    []event
	forgotten int // events up to here are gone
	changed   chan struct{}
	drop      chan struct{} // closed to end all watches
	token     string
	streams   bool           // sendInitialEvents is known
	refuse    map[string]int // status by "list", "watch", "node"
	hang      bool
	asked     map[string]int
	agents    map[string]bool
}

type object = map[string]any

type event struct {
	rv   int
	kind string
	pod  object
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{
		t: t, dir: t.TempDir(), rv: 100, pods: make(map[string]object), token: "one", streams: true,
		changed: make(chan struct{}), drop: make(chan struct{}), refuse: make(map[string]int), asked: make(map[string]int), agents: make(map[string]bool),
	}
	s.listen("127.0.0.1:0")
	s.write("token", "one\n")
	s.write("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	host, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", host)
	t.Setenv("KUBERNETES_SERVICE_PORT", port)
	t.Cleanup(s.stop)
	return s
}

func (s *server) listen(address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(s.serve), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}}
	s.EnableHTTP2 = true
	s.StartTLS()
}

// stop ends every connection and listens no more.
func (s *server) stop() {
	s.mu.Lock()
	close(s.drop)
	s.drop = make(chan struct{})
	s.hang = false
	s.mu.Unlock()
	s.CloseClientConnections()
	s.Close()
}

func (s *server) again() { s.listen(s.Listener.Addr().String()) }

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }

func (s *server) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) options(log *logbook) Options {
	return Options{
		Mode: API, Node: "n1", TokenFile: s.path("token"), CAFile: s.path("ca.crt"),
		Log: slog.New(slog.NewTextHandler(log, nil)), Now: time.Now, Version: "1.2.3",
		Machine: workload.Reserved{CPU: 2000, Memory: 1 << 30},
	}
}

// set changes what the server does.
func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// put creates or changes a pod, or deletes it, and tells all watches.
func (s *server) put(kind, uid, name, phase string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rv++
	pod := object{
		"kind": "Pod", "apiVersion": "v1",
		"metadata": object{"name": name, "namespace": "ns", "uid": uid, "resourceVersion": strconv.Itoa(s.rv), "creationTimestamp": "2026-11-22T08:00:00Z"},
		"spec":     object{"nodeName": "n1", "containers": []object{{"name": "c", "image": "i"}}},
		"status":   object{"phase": phase},
	}
	if s.pods[uid] = pod; kind == "DELETED" {
		delete(s.pods, uid)
	}
	s.tell(event{s.rv, kind, pod})
}

func (s *server) tell(e event) {
	s.events = append(s.events, e)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *server) bookmark() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rv++ // something happened elsewhere
	s.tell(event{s.rv, "BOOKMARK", s.mark(nil)})
}

func (s *server) mark(annotations object) object {
	return object{"kind": "Pod", "apiVersion": "v1", "metadata": object{"resourceVersion": strconv.Itoa(s.rv), "creationTimestamp": nil, "annotations": annotations}}
}

func failure(code int, reason, message string) object {
	return object{"kind": "Status", "apiVersion": "v1", "metadata": object{}, "status": "Failure", "code": code, "reason": reason, "message": message}
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	what := "list"
	switch {
	case r.URL.Path == "/api/v1/nodes/n1":
		what = "node"
	case r.URL.Path != "/api/v1/pods":
		what = "other"
	case q.Get("watch") == "true":
		what = "watch"
	}
	s.mu.Lock()
	s.asked[what]++
	s.agents[r.UserAgent()] = true
	hang, drop, refuse, token, streams := s.hang, s.drop, s.refuse[what], s.token, s.streams
	s.mu.Unlock()
	if hang {
		select {
		case <-r.Context().Done():
		case <-drop:
		}
		return
	}
	reply := func(code int, body object) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body)
	}
	switch {
	case r.Header.Get("Authorization") != "Bearer "+token:
		reply(401, failure(401, "Unauthorized", "Unauthorized"))
	case refuse == 403:
		reply(403, failure(403, "Forbidden", `pods is forbidden: User "system:serviceaccount:ns:noether" cannot `+what))
	case refuse == 404:
		reply(404, failure(404, "NotFound", `nodes "n1" not found`))
	case refuse != 0:
		reply(refuse, failure(refuse, "InternalError", "etcd is away"))
	case what == "node":
		reply(200, object{"kind": "Node", "apiVersion": "v1", "metadata": object{"name": "n1", "labels": object{
			"topology.kubernetes.io/region": "eu-central-1", "topology.kubernetes.io/zone": "eu-central-1a", "node.kubernetes.io/instance-type": "m5.xlarge",
		}}, "spec": object{"providerID": "aws:///eu-central-1a/i-0abc"}, "status": object{
			"allocatable": object{"cpu": "3920m", "memory": "7Gi", "nvidia.com/gpu": "2", "pods": "110"},
		}})
	case what == "other" || q.Get("fieldSelector") != "spec.nodeName=n1":
		reply(400, failure(400, "BadRequest", "the test asks for the pods of n1 alone, not "+r.URL.String()))
	case what == "list":
		s.list(reply)
	case q.Get("sendInitialEvents") != "" && !streams:
		reply(422, failure(422, "Invalid", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"))
	default:
		s.watch(w, r, drop)
	}
}

func (s *server) list(reply func(int, object)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items := []object{}
	for _, p := range s.pods {
		items = append(items, p)
	}
	reply(200, object{"kind": "PodList", "apiVersion": "v1", "metadata": object{"resourceVersion": strconv.Itoa(s.rv)}, "items": items})
}

func (s *server) watch(w http.ResponseWriter, r *http.Request, drop chan struct{}) {
	q := r.URL.Query()
	w.Header().Set("Content-Type", "application/json")
	send := func(kind string, o object) {
		_ = json.NewEncoder(w).Encode(object{"type": kind, "object": o})
	}
	s.mu.Lock()
	at, _ := strconv.Atoi(q.Get("resourceVersion"))
	switch {
	case q.Get("sendInitialEvents") == "true":
		at = s.rv
		for _, p := range s.pods {
			send("ADDED", p)
		}
		send("BOOKMARK", s.mark(object{"k8s.io/initial-events-end": "true"}))
	case at < s.forgotten:
		s.mu.Unlock()
		send("ERROR", failure(410, "Expired", "too old resource version"))
		return
	}
	for {
		for _, e := range s.events {
			if e.rv > at {
				at = e.rv
				send(e.kind, e.pod)
			}
		}
		changed := s.changed
		s.mu.Unlock()
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-drop:
			return
		case <-r.Context().Done():
			return
		}
		s.mu.Lock()
	}
}

func (s *server) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[what]
}

// otherCA returns a CA that has signed nothing here.
func otherCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "other"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
