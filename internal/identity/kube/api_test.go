package kube

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"k8s.io/klog/v2"

	"noether/internal/probe"
	"noether/internal/workload"
)

// open returns a source that does not wait long before it tries again.
func open(t *testing.T, o Options) *Source {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if o.Mode == API {
		s.run = hastyAPI(t, s, o).run
	}
	return s
}

func hastyAPI(t *testing.T, s *Source, o Options) *api {
	t.Helper()
	a, err := newAPI(o, s.index, s.health, s.meter)
	if err != nil {
		t.Fatal(err)
	}
	a.backoff.Duration, a.backoff.Cap = 10*time.Millisecond, 100*time.Millisecond
	return a
}

func hasPods(s *Source, want ...string) func() bool {
	return func() bool { return cmp.Equal(want, podNames(s.Latest())) }
}

func TestAPIWatch(t *testing.T) {
	for name, streams := range map[string]bool{"streamed": true, "listed, as by servers before 1.32": false} {
		t.Run(name, func(t *testing.T) {
			server, log := newServer(t), new(logbook)
			server.set(func() { server.streams = streams })
			server.put("ADDED", "a", "one", "Running")
			s := open(t, server.options(log))
			if up := status(s); up.Up || up.Known != 0 || !up.Synced.IsZero() {
				t.Errorf("nobody was asked, and it is %+v", up)
			}
			if n := s.Latest(); !n.AsksPods || n.AsksContainers || len(n.Pods) != 0 {
				t.Errorf("nobody was asked, and the names are %+v", n)
			}
			start(t, s)
			until(t, "the list", hasPods(s, "a one"))
			until(t, "what pods can reserve", func() bool {
				return s.Latest().Allocatable == workload.Reserved{CPU: 3920, Memory: 7 << 30, Devices: 2}
			})
			until(t, "where the node is", func() bool {
				return s.Latest().Node == workload.NodeFacts{
					Known: true, Region: "eu-central-1", Zone: "eu-central-1a", InstanceType: "m5.xlarge", ProviderID: "aws:///eu-central-1a/i-0abc",
				}
			})
			server.put("ADDED", "b", "two", "Pending")
			until(t, "a new pod", hasPods(s, "a one", "b two"))
			before := s.Latest()
			server.put("MODIFIED", "b", "two", "Running")
			server.put("DELETED", "a", "one", "Running")
			until(t, "a deleted pod", func() bool { return status(s).Known == 1 })
			if after := s.Latest(); after.Pods["b"] != before.Pods["b"] || after.Pods["a"] == nil {
				t.Error("a status without news changed the facts, or a pod just deleted has no name")
			}
			synced := status(s).Synced
			server.bookmark()
			until(t, "a bookmark", func() bool { return status(s).Synced.After(synced) })

			up := status(s)
			if !up.Up || up.Source != "api" || up.Known != 1 || up.Bytes == 0 || up.Requests == 0 || up.Requests > 5 {
				t.Errorf("it is %+v", up)
			}
			if !server.agents["noether/1.2.3"] || len(server.agents) != 1 {
				t.Errorf("it was asked by %v", server.agents)
			}
			if log.lines("names of pods are known") != 1 || log.lines("") != 1 {
				t.Errorf("the log:\n%s", log)
			}
		})
	}
}

func TestAWatchThatEndsGoesOnWhereItWas(t *testing.T) {
	server, log := newServer(t), new(logbook)
	server.put("ADDED", "a", "one", "Running")
	s := open(t, server.options(log))
	start(t, s)
	until(t, "the list", hasPods(s, "a one"))
	server.bookmark()
	server.set(func() { close(server.drop); server.drop = make(chan struct{}) })
	server.put("ADDED", "b", "two", "Running")
	until(t, "the pod made meanwhile", hasPods(s, "a one", "b two"))
	if n := server.count("list"); n != 0 {
		t.Errorf("it listed %d times", n)
	}
	if log.lines("") != 1 {
		t.Errorf("the log:\n%s", log)
	}
}

func TestAServerThatForgotIsListedAnew(t *testing.T) {
	for _, streams := range []bool{true, false} {
		server, log := newServer(t), new(logbook)
		server.set(func() { server.streams = streams })
		server.put("ADDED", "a", "one", "Running")
		server.put("ADDED", "b", "two", "Running")
		s := open(t, server.options(log))
		stop := start(t, s)
		until(t, "the list", hasPods(s, "a one", "b two"))
		kept := s.Latest().Pods["b"]
		server.set(func() {
			delete(server.pods, "a") // and no event tells
			server.rv += 1000
			server.forgotten = server.rv
			close(server.drop)
			server.drop = make(chan struct{})
		})
		until(t, "the pod that vanished is gone", func() bool { return status(s).Known == 1 })
		if s.Latest().Pods["b"] != kept {
			t.Error("a list anew made new facts of what did not change")
		}
		if log.lines("level=WARN") != 0 {
			t.Errorf("the log:\n%s", log)
		}
		stop()
	}
}

func TestAnOutageLeavesTheLastFactsAndTwoLines(t *testing.T) {
	server, log := newServer(t), new(logbook)
	server.put("ADDED", "a", "one", "Running")
	server.put("ADDED", "b", "two", "Running")
	s := open(t, server.options(log))
	start(t, s)
	until(t, "the list", hasPods(s, "a one", "b two"))
	server.stop()
	until(t, "the loss is noticed", func() bool { return !status(s).Up })
	if !hasPods(s, "a one", "b two")() {
		t.Errorf("what was known is gone: %v", podNames(s.Latest()))
	}
	requests := status(s).Requests
	until(t, "it goes on trying", func() bool { return status(s).Requests > requests+2 })
	server.set(func() { delete(server.pods, "a"); server.rv += 1000; server.forgotten = server.rv })
	server.again()
	until(t, "the pod that vanished is gone", func() bool { return status(s).Known == 1 })
	until(t, "it is back", func() bool { return status(s).Up })
	if log.lines("level=WARN") != 1 || log.lines("connection refused") != 1 || log.lines("names of pods are back") != 1 {
		t.Errorf("the log:\n%s", log)
	}
}

func TestAnAPIThatIsAbsentAtTheStart(t *testing.T) {
	server, log := newServer(t), new(logbook)
	server.put("ADDED", "a", "one", "Running")
	s := open(t, server.options(log))
	server.stop()
	start(t, s)
	until(t, "the absence is noticed", func() bool { return log.lines("level=WARN") > 0 })
	until(t, "the machine stands for the node", func() bool { return s.Latest().Allocatable.CPU == 2000 })
	server.again()
	until(t, "names", hasPods(s, "a one"))
	until(t, "it is back", func() bool { return log.lines("names of pods are back") == 1 })
	if log.lines("level=WARN") != 1 {
		t.Errorf("the log:\n%s", log)
	}
}

func TestARotatedTokenIsReadAgain(t *testing.T) {
	server, log := newServer(t), new(logbook)
	server.put("ADDED", "a", "one", "Running")
	s := open(t, server.options(log))
	start(t, s)
	until(t, "names", hasPods(s, "a one"))
	server.set(func() {
		server.token = "two"
		close(server.drop)
		server.drop = make(chan struct{})
	})
	until(t, "the old token is refused", func() bool { return !status(s).Up })
	server.write("token", "two\n")
	server.put("ADDED", "b", "two", "Running")
	until(t, "names by the new token", hasPods(s, "a one", "b two"))
	if log.lines("level=WARN") != 1 || log.lines("the token or certificate is not valid") != 1 || strings.Contains(log.String(), "Bearer") {
		t.Errorf("the log:\n%s", log)
	}
}

func TestForbiddenParts(t *testing.T) {
	server, log := newServer(t), new(logbook)
	server.put("ADDED", "a", "one", "Running")
	server.set(func() { server.refuse["watch"], server.refuse["node"] = 403, 403 })
	s := open(t, server.options(log))
	start(t, s)
	until(t, "names by listing", hasPods(s, "a one"))
	until(t, "the machine stands for the node", func() bool { return s.Latest().Allocatable == workload.Reserved{CPU: 2000, Memory: 1 << 30} })
	until(t, "it goes on trying", func() bool { return server.count("watch") > 3 })
	if status(s).Up || log.lines("resources: [pods], verbs: [list, watch]") == 0 || log.lines("the node cannot be read") != 1 || log.lines("") != 2 {
		t.Errorf("it is %+v; the log:\n%s", status(s), log)
	}
}

func TestAServerThatHangs(t *testing.T) {
	server, log := newServer(t), new(logbook)
	server.set(func() { server.hang = true })
	o := server.options(log)
	s := open(t, o)
	a := hastyAPI(t, s, o)
	a.listTimeout, a.watchTimeout = 20*time.Millisecond, 20*time.Millisecond
	s.run = a.run
	stop := start(t, s)
	until(t, "the silence is noticed", func() bool { return log.lines("level=WARN") > 0 })
	stop()
	if log.lines("") != 1 {
		t.Errorf("the log:\n%s", log)
	}
}

func TestRunLeavesNothingBehind(t *testing.T) {
	server := newServer(t)
	before := goleak.IgnoreCurrent()
	s := open(t, server.options(new(logbook)))
	stop := start(t, s)
	until(t, "a watch", func() bool { return status(s).Up })
	stop()
	server.stop()
	goleak.VerifyNone(t, before)
	server.again() // for the cleanup
}

func TestAnswersAreBounded(t *testing.T) {
	m := new(meter)
	body := &meteredBody{ReadCloser: endless{}, meter: m, left: maxBody}
	var n int64
	buf := make([]byte, 1<<20)
	for {
		k, err := body.Read(buf)
		n += int64(k)
		if err != nil {
			break
		}
	}
	if n > maxBody {
		t.Errorf("%d bytes were read", n)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (endless) Close() error               { return nil }

func TestTheClientsOwnLogIsSilent(t *testing.T) {
	open(t, newServer(t).options(new(logbook)))
	var spilt bytes.Buffer
	klog.LogToStderr(false)
	klog.SetOutput(&spilt)
	klog.Error("an error of the client")
	klog.Flush()
	if spilt.Len() > 0 {
		t.Errorf("it wrote %s", &spilt)
	}
}

func TestCheckAPI(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*server, *Options)
		status probe.Status
		says   []string // in the reason and the remedy
	}{
		{"works", func(*server, *Options) {}, probe.Works, []string{"1 pods on node n1"}},
		{"without the node", func(s *server, _ *Options) { s.refuse["node"] = 403 }, probe.Works, []string{"resources: [nodes], verbs: [get]", "this machine's own"}},
		{"no such node", func(s *server, _ *Options) { s.refuse["node"] = 404 }, probe.Broken, []string{"not found", "--node-name"}},
		{"perhaps no such node", func(s *server, _ *Options) { s.refuse["node"] = 403; clear(s.pods) }, probe.Broken, []string{"0 pods", "--node-name"}},
		{"no list", func(s *server, _ *Options) { s.refuse["list"] = 403 }, probe.Forbidden, []string{"cannot list", "resources: [pods], verbs: [list, watch]"}},
		{"no watch", func(s *server, _ *Options) { s.refuse["watch"] = 403 }, probe.Forbidden, []string{"cannot watch", "resources: [pods], verbs: [list, watch]"}},
		{"broken server", func(s *server, _ *Options) { s.refuse["list"] = 500 }, probe.Broken, []string{"etcd is away"}},
		{"refused token", func(s *server, _ *Options) { s.token = "other" }, probe.Forbidden, []string{"--kube-token-file"}},
		{"no token", func(_ *server, o *Options) { o.TokenFile += "-gone" }, probe.Broken, []string{"no such file", "--kube-token-file"}},
		{"another CA", func(s *server, _ *Options) { s.write("ca.crt", otherCA(s.t)) }, probe.Broken, []string{"unknown authority", "did not sign"}},
		{"no node name", func(_ *server, o *Options) { o.Node = "" }, probe.Broken, []string{"--node-name"}},
		{"outside a cluster", func(s *server, _ *Options) { s.t.Setenv("KUBERNETES_SERVICE_HOST", "") }, probe.Absent, []string{"--kube-config"}},
		{"by kubeconfig", func(s *server, o *Options) {
			o.Kubeconfig, o.TokenFile, o.CAFile = kubeconfig(s, "tokenFile: token"), "", ""
		}, probe.Works, []string{"1 pods"}},
		{"kubeconfig that starts a program", func(s *server, o *Options) {
			o.TokenFile = ""
			o.Kubeconfig = kubeconfig(s, "exec: {command: /bin/false, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}")
		}, probe.Broken, []string{"noether starts none", "tokenFile"}},
		{"kubeconfig that verifies nothing", func(s *server, o *Options) {
			o.Kubeconfig = strings.TrimSuffix(kubeconfig(s, "tokenFile: token"), "")
			text, _ := os.ReadFile(o.Kubeconfig)
			s.write("kubeconfig", strings.Replace(string(text), "certificate-authority: ca.crt", "insecure-skip-tls-verify: true", 1))
			o.CAFile = ""
		}, probe.Broken, []string{"switches the verification", "certificate-authority"}},
		{"no kubeconfig", func(_ *server, o *Options) { o.Kubeconfig = "/nowhere/config" }, probe.Broken, []string{"/nowhere/config", "--kube-config"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := newServer(t)
			server.put("ADDED", "a", "one", "Running")
			o := server.options(new(logbook))
			c.change(server, &o)
			got := Check(t.Context(), o)
			if got.Status != c.status || got.Name != "kubernetes api" {
				t.Errorf("%+v, want %s", got, c.status)
			}
			for _, says := range c.says {
				if !strings.Contains(got.Reason+got.Remedy, says) {
					t.Errorf("it does not say %q: %+v", says, got)
				}
			}
		})
	}
}

func kubeconfig(s *server, user string) string {
	s.write("kubeconfig", `
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "`+s.URL+`", certificate-authority: ca.crt}}]
users: [{name: u, user: {`+user+`}}]
`)
	return s.path("kubeconfig")
}

func TestOpenRefusesWhatIsUnknown(t *testing.T) {
	o := newServer(t).options(new(logbook))
	o.Mode = "etcd"
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "use api or kubelet") {
		t.Errorf("an unknown mode: %v", err)
	}
	o.Now = nil
	if _, err := Open(o); err == nil {
		t.Error("no clock is no error")
	}
	if got := Check(context.Background(), Options{Mode: API, Node: "n1"}); got.Status == probe.Works {
		t.Errorf("without a clock: %+v", got)
	}
}
