package kube

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"noether/internal/identity"
	"noether/internal/probe"
	"noether/internal/workload"
)

// podsOf returns the answer of a kubelet with n pods, each with one container.
func podsOf(n int) string {
	var b strings.Builder
	b.WriteString(`{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"metadata":{"name":"p%d","namespace":"ns","uid":"u%d","annotations":{"kubernetes.io/config.source":"api"}},`+
			`"spec":{"nodeName":"n1","containers":[{"name":"c"}]},"status":{"phase":"Running","containerStatuses":[{"name":"c","containerID":"containerd://c%d","state":{"running":{}}}]}}`, i, i, i)
	}
	b.WriteString("]}\n")
	return b.String()
}

// kubeletServer answers as a kubelet does: https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/
type kubeletServer struct {
	*server
	mu     sync.Mutex
	answer string
	code   int
}

func newKubelet(t *testing.T) (*kubeletServer, Options) {
	t.Helper()
	k := &kubeletServer{server: newServer(t), answer: podsOf(2), code: 200}
	k.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		defer k.mu.Unlock()
		switch {
		case r.URL.Path != "/pods" || r.Method != http.MethodGet:
			http.NotFound(w, r)
		case r.Header.Get("Authorization") != "Bearer one":
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
		case k.code != 200:
			http.Error(w, "Forbidden (user=system:serviceaccount:ns:noether, verb=get, resource=nodes, subresource(s)=[pods proxy])", k.code)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, k.answer)
		}
	})
	o := k.options(new(logbook))
	o.Mode, o.KubeletURL, o.KubeletCA, o.CAFile = Kubelet, k.URL, o.CAFile, ""
	return k, o
}

func TestKubelet(t *testing.T) {
	kubelet, o := newKubelet(t)
	log := new(logbook)
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	s := open(t, o)
	start(t, s)
	until(t, "names", hasPods(s, "u0 p0", "u1 p1"))
	before := s.Latest()
	if before.Allocatable != o.Machine || before.Pods["u0"].Containers["c0"].Name != "c" {
		t.Errorf("the names are %+v", before)
	}
	// A new pod is asked for, once it is missed.
	kubelet.mu.Lock()
	kubelet.answer = podsOf(3)
	kubelet.mu.Unlock()
	s.Missing([]workload.Owner{{Kind: workload.PodOwner, Pod: workload.Pod{UID: "u2"}, Container: workload.Container{ID: "c2"}}})
	until(t, "the new pod", hasPods(s, "u0 p0", "u1 p1", "u2 p2"))
	after := s.Latest()
	if after.Pods["u0"] != before.Pods["u0"] {
		t.Error("facts of a pod that did not change are others")
	}
	if up := status(s); !up.Up || up.Source != "kubelet" || up.Known != 3 || up.Requests != 2+1 || up.Bytes == 0 || up.Synced.IsZero() {
		// One request more: the first was refused by us, its certificate being for another name.
		t.Errorf("it is %+v", up)
	}
	if log.lines("") != 1 {
		t.Errorf("the log:\n%s", log)
	}
}

func TestStaticPodsOfAKubelet(t *testing.T) {
	const hash = "cab1855f104523cc570a78886c3243e7"
	d := readPod(t, `{"metadata":{"name":"etcd-n1","uid":"`+hash+`","annotations":{"kubernetes.io/config.hash":"`+hash+`","kubernetes.io/config.source":"file"}},"spec":{"nodeName":"n1"}}`)
	if d.cgroup != hash || d.facts.Workload != "etcd" || d.facts.WorkloadKind != "StaticPod" {
		t.Errorf("its cgroup is %q, it belongs to %s %q", d.cgroup, d.facts.WorkloadKind, d.facts.Workload)
	}
}

func TestCheckKubelet(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*kubeletServer, *Options)
		status probe.Status
		says   []string
	}{
		{"works", func(*kubeletServer, *Options) {}, probe.Works, []string{"2 pods"}},
		{"a certificate for the node's name", func(_ *kubeletServer, o *Options) { o.Node = "example.com" }, probe.Works, []string{"2 pods"}},
		{"a certificate for another name", func(k *kubeletServer, o *Options) {
			o.KubeletURL = strings.Replace(k.URL, "127.0.0.1", "localhost", 1)
		}, probe.Broken, []string{"certificate is valid for", "--kube-kubelet-url", "https://NODE-IP:10250"}},
		{
			"a certificate of its own", func(k *kubeletServer, _ *Options) { k.write("ca.crt", otherCA(k.t)) }, probe.Broken,
			[]string{"unknown authority", "--kube-kubelet-ca", "/var/lib/kubelet/pki/kubelet.crt"},
		},
		{
			"forbidden", func(k *kubeletServer, _ *Options) { k.code = 403 }, probe.Forbidden,
			[]string{"resources: [nodes/pods], verbs: [get]", "KubeletFineGrainedAuthz", "nodes/proxy", "commands in every container"},
		},
		{"refused token", func(k *kubeletServer, _ *Options) { k.write("token", "two") }, probe.Forbidden, []string{"401", "--kube-token-file"}},
		{"broken", func(k *kubeletServer, _ *Options) { k.code = 500 }, probe.Broken, []string{"500", "10250"}},
		{"no list", func(k *kubeletServer, _ *Options) { k.answer = "<html>" }, probe.Broken, []string{"reading the list of pods"}},
		{"cut off", func(k *kubeletServer, _ *Options) { k.answer = k.answer[:200] }, probe.Broken, []string{"reading the list of pods"}},
		{"not there", func(_ *kubeletServer, o *Options) { o.KubeletURL = "https://127.0.0.1:1" }, probe.Broken, []string{"refused", "hostNetwork"}},
		{"without TLS", func(_ *kubeletServer, o *Options) { o.KubeletURL = "http://127.0.0.1:10255" }, probe.Broken, []string{"no https address"}},
		{"no token", func(_ *kubeletServer, o *Options) { o.TokenFile = "/nowhere/token" }, probe.Broken, []string{"/nowhere/token"}},
		{"no CA", func(_ *kubeletServer, o *Options) { o.KubeletCA = "/nowhere/ca" }, probe.Broken, []string{"/nowhere/ca", "--kube-kubelet-ca"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			kubelet, o := newKubelet(t)
			c.change(kubelet, &o)
			got := Check(t.Context(), o)
			if got.Status != c.status || got.Name != "kubernetes kubelet" {
				t.Errorf("%+v, want %s", got, c.status)
			}
			for _, says := range c.says {
				if !strings.Contains(got.Reason+got.Remedy, says) {
					t.Errorf("it does not say %q: %+v", says, got)
				}
			}
			if strings.Contains(got.Reason, "serviceaccount:ns") {
				t.Errorf("it repeats what the kubelet said: %+v", got)
			}
		})
	}
}

// canned is a kubelet without a network, for tests in which time is not real.
type canned struct {
	mu       sync.Mutex
	answer   []byte
	err      error
	requests []time.Time
}

func (c *canned) RoundTrip(*http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, time.Now())
	if c.err != nil {
		return nil, c.err
	}
	r := httptest.NewRecorder()
	_, _ = r.Write(c.answer)
	return r.Result(), nil
}

// in counts the requests of the last while.
func (c *canned) in(last time.Duration) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.requests {
		if time.Since(at) < last {
			n++
		}
	}
	return n
}

// cannedSource returns a running source that asks c.
func cannedSource(t *testing.T, c *canned, log *logbook) *Source {
	t.Helper()
	s := &Source{mode: Kubelet, index: newIndex("", nil, time.Now), meter: new(meter)}
	s.health = &health{source: Kubelet, log: slog.New(slog.NewTextHandler(log, nil)), now: time.Now}
	k := &kubelet{
		url: "https://kubelet/pods", clients: []*http.Client{{Transport: s.meter.through(c)}}, now: time.Now,
		index: s.index, health: s.health, asks: newAsks(time.Now),
	}
	s.asks, s.run = k.asks, k.run
	start(t, s)
	return s
}

func TestFiftyPodsWithTheirSandboxesCostTwoRequestsAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &canned{answer: []byte(podsOf(50))}
		s := cannedSource(t, c, new(logbook))
		// What an agent misses, tick by tick: the sandboxes, for which there never is a name.
		var missing []workload.Owner
		for i := range 50 {
			missing = append(missing, workload.Owner{
				Kind: workload.PodOwner, Pod: workload.Pod{UID: fmt.Sprintf("u%d", i)}, Container: workload.Container{ID: fmt.Sprintf("pause%d", i)},
			})
		}
		ticks := func(minutes int) {
			for range minutes * 12 {
				time.Sleep(5 * time.Second)
				s.Missing(missing)
			}
		}
		ticks(1)
		if n := c.in(time.Minute); n > 2+1+retries {
			t.Errorf("%d requests in the first minute, want at most 2, 1 at once and %d for what stays unknown", n, retries)
		}
		before := status(s)
		names := s.Latest()
		ticks(10)
		after := status(s)
		if n := after.Requests - before.Requests; n > 20 {
			t.Errorf("%d requests in ten minutes", n)
		}
		if n := after.Bytes - before.Bytes; n > 20*uint64(len(c.answer)) {
			t.Errorf("%d bytes in ten minutes", n)
		}
		if s.Latest() != names {
			t.Error("the same answer made new names")
		}
		if allocs := testing.AllocsPerRun(10, func() { s.Missing(missing) }); allocs > 0 {
			t.Errorf("telling what is missing allocates %v times", allocs)
		}
		// A storm: each tick other pods live that nobody knows.
		for i := range 12 {
			for j := range missing {
				missing[j].Pod.UID, missing[j].Container.ID = fmt.Sprint("u", i, j), fmt.Sprint("c", i, j)
			}
			time.Sleep(100 * time.Millisecond)
			s.Missing(missing)
		}
		if n := c.in(1200 * time.Millisecond); n > 3 {
			t.Errorf("%d requests in 1.2 s", n)
		}
		s.Missing(nil)
		if len(s.asks.ids) != 0 {
			t.Errorf("%d ids are remembered that nobody misses", len(s.asks.ids))
		}
	})
}

func TestAnOutageOfTheKubelet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(logbook)
		c := &canned{answer: []byte(podsOf(2))}
		s := cannedSource(t, c, log)
		time.Sleep(time.Minute)
		c.mu.Lock()
		c.err = errors.New("connection refused")
		c.mu.Unlock()
		missing := []workload.Owner{{Kind: workload.PodOwner, Pod: workload.Pod{UID: "new"}}}
		for range 720 {
			time.Sleep(5 * time.Second)
			s.Missing(missing)
		}
		if n := c.in(10 * time.Minute); n > 21 {
			t.Errorf("%d requests in ten minutes of an outage", n)
		}
		if up := status(s); up.Up || len(s.Latest().Pods) != 2 {
			t.Errorf("after an hour without it, it is %+v with %d pods", up, len(s.Latest().Pods))
		}
		c.mu.Lock()
		c.err, c.answer = nil, []byte(podsOf(1))
		c.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if up := status(s); !up.Up || up.Known != 1 || len(s.Latest().Pods) != 1 {
			t.Errorf("two minutes later it is %+v with %d pods", up, len(s.Latest().Pods))
		}
		if log.lines("level=WARN") != 1 || log.lines("names of pods are back") != 1 || log.lines("") != 3 {
			t.Errorf("the log:\n%s", log)
		}
	})
}

func TestOwnersThatNoKubeletKnowsAreNotAskedFor(t *testing.T) {
	a := newAsks(time.Now)
	a.missing([]workload.Owner{{Kind: workload.ContainerOwner, Container: workload.Container{ID: "docker"}}})
	if len(a.ids) != 0 || len(a.wake) != 0 {
		t.Error("a container outside pods is asked for")
	}
}

func FuzzPodList(f *testing.F) {
	f.Add([]byte(podsOf(2)))
	f.Add([]byte(`{"items":null}`))
	f.Add([]byte(`{"items":[{}],"items":[` + fullPod + `]}`))
	f.Add([]byte(`{"kind":"Status","items":{}}`))
	f.Add([]byte(`[`))
	f.Add([]byte(`{"items":[]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		x := newIndex("", []LabelKey{{Key: "team", Annotation: true}}, time.Now)
		var all []*derived
		err := decodePods(bytes.NewReader(text), func(p *pod) {
			if d, ok := x.derive(p); ok {
				all = append(all, d)
			}
		})
		var whole map[string]json.RawMessage
		if err == nil && json.NewDecoder(bytes.NewReader(text)).Decode(&whole) != nil {
			t.Error("it is no JSON, and was read")
		}
		x.replace(all)
		for key, facts := range x.names().Pods {
			checkFacts(t, facts)
			if key == "" || key != identity.Label(key) {
				t.Errorf("a pod has the cgroup %q", key)
			}
		}
	})
}
