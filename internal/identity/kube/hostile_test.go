package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"noether/internal/probe"
	"noether/internal/workload"
)

// A server may ignore the field selector, or hold pods that no kubelet would run.
func TestPodsThatAreNotOfThisNode(t *testing.T) {
	for name, streams := range map[string]bool{"streamed": true, "listed": false} {
		t.Run(name, func(t *testing.T) {
			server, log := newServer(t), new(logbook)
			server.set(func() { server.streams = streams })
			server.put("ADDED", "a", "one", "Running")
			for _, stray := range []object{
				{"metadata": object{"name": "elsewhere", "namespace": "ns", "uid": "e"}, "spec": object{"nodeName": "n2"}},
				{"metadata": object{"name": "nowhere", "namespace": "ns", "uid": "n"}},
				{"metadata": object{"name": "anonymous", "namespace": "ns"}, "spec": object{"nodeName": "n1"}},
				{"metadata": object{"uid": "x"}, "spec": object{"nodeName": "n1"}},
				{},
			} {
				server.set(func() {
					server.rv++
					stray["kind"], stray["apiVersion"] = "Pod", "v1"
					server.pods[fmt.Sprint("stray", server.rv)] = stray
					server.tell(event{server.rv, "ADDED", stray})
					server.tell(event{server.rv, "MODIFIED", stray})
				})
			}
			s := open(t, server.options(log))
			start(t, s)
			until(t, "the list", hasPods(s, "a one"))
			for range 2 { // all of them anew
				synced := status(s).Synced
				server.set(func() {
					server.rv += 1000
					server.forgotten = server.rv
					close(server.drop)
					server.drop = make(chan struct{})
				})
				until(t, "a new list", func() bool { return status(s).Synced.After(synced) })
			}
			if got := podNames(s.Latest()); len(got) != 1 || status(s).Known != 1 {
				t.Errorf("it knows %v, %d of them", got, status(s).Known)
			}
		})
	}
}

// answers lets f answer in place of the server, where it does.
func (s *server) answers(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !f(w, r) {
			s.serve(w, r)
		}
	})
}

func TestTheTokenFollowsNoRedirect(t *testing.T) {
	var leaked atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			leaked.Add(1)
		}
	}))
	defer thief.Close()
	for _, mode := range []string{API, Kubelet} {
		leaked.Store(0)
		server, log := newServer(t), new(logbook)
		server.answers(func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, thief.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		})
		o := server.options(log)
		o.Mode, o.KubeletURL = mode, server.URL
		s := open(t, o)
		stop := start(t, s)
		until(t, "the redirect is noticed", func() bool { return log.lines("level=WARN") > 0 })
		stop()
		if leaked.Load() > 0 || !strings.Contains(log.String(), "307") {
			t.Errorf("%s: the token went elsewhere %d times; the log:\n%s", mode, leaked.Load(), log)
		}
	}
}

// What is no Kubernetes API may well answer 200 to everything.
func TestAnswersThatAreNone(t *testing.T) {
	for name, body := range map[string]string{
		"a page":       "<html><body>Welcome</body></html>",
		"another JSON": `{"hello":"world"}`,
		"a list":       `[1,2,3]`,
		"nothing":      "",
		"half an event": `{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1",` +
			`"metadata":{"name":"one"`,
		"another kind": `{"type":"ADDED","object":{"kind":"Secret","apiVersion":"v1","metadata":{"name":"one"}}}`,
		"no such type": `{"type":"GREETED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"one"}}}`,
	} {
		for _, kind := range []string{"application/json", "text/html"} {
			t.Run(name+" as "+kind, func(t *testing.T) {
				server, log := newServer(t), new(logbook)
				server.answers(func(w http.ResponseWriter, _ *http.Request) bool {
					w.Header().Set("Content-Type", kind)
					_, _ = io.WriteString(w, body)
					return true
				})
				s := open(t, server.options(log))
				stop := start(t, s)
				until(t, "it goes on trying", func() bool { return status(s).Requests > 8 })
				up := status(s)
				stop()
				if up.Up || !up.Synced.IsZero() || log.lines("level=WARN msg=\"names of pods cannot") != 1 || log.lines("names of pods are") != 0 {
					t.Errorf("it is %+v; the log:\n%s", up, log)
				}
			})
		}
	}
}

// An event without an end must not be held until memory ends.
func TestAnEventWithoutAnEnd(t *testing.T) {
	server, log := newServer(t), new(logbook)
	var sent atomic.Int64
	server.answers(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("watch") != "true" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"`)
		more := strings.Repeat("a", 1<<20)
		for range 200 {
			n, err := io.WriteString(w, more)
			if sent.Add(int64(n)); err != nil {
				break
			}
		}
		return true
	})
	s := open(t, server.options(log))
	stop := start(t, s)
	until(t, "it is noticed", func() bool { return log.lines("level=WARN") > 0 })
	stop()
	if status(s).Bytes > 100<<20 {
		t.Errorf("%d bytes were taken", status(s).Bytes)
	}
	if !strings.Contains(log.String(), "larger than") {
		t.Errorf("the log:\n%s", log)
	}
}

// A watch is as long as it likes to be: only its events are bounded.
func TestALongWatchIsNotAnEventWithoutAnEnd(t *testing.T) {
	event := `{"type":"ADDED","object":{"metadata":{"name":"a\"}{\\"}}}` + "\n"
	body := &meteredBody{ReadCloser: io.NopCloser(io.LimitReader(&repeated{text: event}, 4*maxEvent)), meter: new(meter), event: new(eventEnd)}
	if n, err := io.Copy(io.Discard, body); err != nil || n != 4*maxEvent {
		t.Errorf("%d bytes, %v", n, err)
	}
	body = &meteredBody{ReadCloser: io.NopCloser(&repeated{text: `{"a":[`}), meter: new(meter), event: new(eventEnd)}
	if n, err := io.Copy(io.Discard, body); !errors.Is(err, errTooLarge) || n > maxEvent {
		t.Errorf("%d bytes, %v", n, err)
	}
}

type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at%len(r.text)]
		r.at++
	}
	return len(p), nil
}

// Whatever a server does, the agent ends when it is told to.
func TestItEndsWhileAnAnswerDrips(t *testing.T) {
	for _, mode := range []string{API, Kubelet} {
		server, log := newServer(t), new(logbook)
		var dripping atomic.Bool
		server.answers(func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				dripping.Store(true)
				time.Sleep(10 * time.Millisecond)
			}
			return true
		})
		o := server.options(log)
		o.Mode, o.KubeletURL = mode, server.URL
		s := open(t, o)
		stop := start(t, s)
		until(t, "it drips", dripping.Load)
		began := time.Now()
		stop()
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("%s: it ended after %s", mode, d)
		}
		if log.lines("level=WARN") != 0 {
			t.Errorf("%s: being stopped is a failure:\n%s", mode, log)
		}
	}
}

// What a kubelet lists beyond what a node can run is not even held for a moment.
func TestAKubeletThatListsWithoutEnd(t *testing.T) {
	k, o := newKubelet(t)
	k.answer = podsOf(maxPods + 500)
	s := open(t, o)
	start(t, s)
	until(t, "names", func() bool { return status(s).Known > 0 })
	if n := status(s).Known; n != maxPods {
		t.Errorf("%d are known", n)
	}
}

func TestSumsOfRequestsDoNotOverflow(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"metadata":{"name":"p","uid":"u"},"spec":{"containers":[`)
	for i := range 20_000 {
		fmt.Fprintf(&b, `{"name":"c%d","resources":{"requests":{"cpu":"1E","memory":"9Ei"}}},`, i)
	}
	text := strings.TrimSuffix(b.String(), ",") + "]}}"
	if got, want := readPod(t, text).facts.Reserved, (workload.Reserved{CPU: maxAmount, Memory: maxAmount}); got != want {
		t.Errorf("it is %+v, want %+v", got, want)
	}
}

func TestTokensThatAreNone(t *testing.T) {
	server := newServer(t)
	if err := syscall.Mkfifo(server.path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	server.write("empty", " \r\n")
	server.write("dos", "one\r\n")
	server.write("two lines", "one\ntwo\n")
	for _, mode := range []string{API, Kubelet} {
		for token, says := range map[string]string{
			"fifo": "is no file", ".": "is no file", "gone": "no such file",
			"empty": "empty token", "two lines": "invalid header", "dos": "",
		} {
			o := server.options(new(logbook))
			o.Mode, o.TokenFile, o.KubeletURL = mode, server.path(token), server.URL
			v := Check(t.Context(), o)
			if says == "" {
				if mode == API && v.Status != probe.Works {
					t.Errorf("%s, %s: %+v", mode, token, v)
				}
				continue
			}
			if v.Status != probe.Broken || !strings.Contains(v.Reason, says) ||
				token != "two lines" && !strings.Contains(v.Remedy, "--kube-token-file") || strings.Contains(v.Reason, "two\n") {
				t.Errorf("%s, %s: %+v", mode, token, v)
			}
		}
		server.write("ca", "garbage")
		o := server.options(new(logbook))
		o.Mode, o.KubeletURL, o.CAFile = mode, server.URL, server.path("ca")
		if v := Check(t.Context(), o); !strings.Contains(v.Reason, server.path("ca")) {
			t.Errorf("%s: %+v", mode, v)
		}
		// A bundle has several.
		bundle, err := os.ReadFile(server.path("ca.crt"))
		if err != nil {
			t.Fatal(err)
		}
		server.write("bundle", otherCA(t)+"\n# and\n"+string(bundle))
		o.CAFile = server.path("bundle")
		if v := Check(t.Context(), o); mode == API && v.Status != probe.Works {
			t.Errorf("%s: %+v", mode, v)
		}
	}
}

func TestNobodyChecksForLong(t *testing.T) {
	server := newServer(t)
	server.set(func() { server.hang = true })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if v := Check(ctx, server.options(new(logbook))); v.Status != probe.Broken || !strings.Contains(v.Reason, "no answer") || v.Remedy == "" {
		t.Errorf("%+v", v)
	}
}
