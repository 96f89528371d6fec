package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is a program with an HTTP address. It is stopped when the test that
// started it ends.
type server struct {
	t       testing.TB
	url     string // http://127.0.0.1:PORT
	address string
	cmd     *exec.Cmd
	log     *buffer
	done    chan struct{} // closed when it has ended
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.b.String()
	return s[max(0, len(s)-8000):]
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start starts a program and waits until it answers 200 on a path.
func start(t testing.TB, address, ready, program string, args ...string) *server {
	t.Helper()
	return startAt(t, http.DefaultClient, "http://"+address, ready, program, args...)
}

// startAt starts a program that answers a client at a URL without a path.
func startAt(t testing.TB, client *http.Client, base, ready, program string, args ...string) *server {
	t.Helper()
	_, address, _ := strings.Cut(base, "://")
	s := &server{t: t, url: base, address: address, log: &buffer{}, done: make(chan struct{})}
	s.cmd = exec.Command(program, args...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NOETHER_") })
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait() // the log tells
		close(s.done)
	}()
	t.Cleanup(func() {
		s.stop()
		if log := s.log.String(); strings.Contains(log, "panic") {
			t.Errorf("%s panicked", program)
		}
		if t.Failed() {
			t.Logf("log of %s %s:\n%s", program, strings.Join(args, " "), s.log)
		}
	})
	s.await(ready, func() bool {
		resp, err := client.Get(s.url + ready)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return s
}

// stop ends the program the way systemd does.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Errorf("%s did not stop", s.cmd.Path)
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

func (s *server) await(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(25 * time.Millisecond) {
		select {
		case <-s.done:
			s.t.Fatalf("wait for %s: %s has ended\n%s", what, s.cmd.Path, s.log)
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("wait for %s: it did not come in %v\n%s", what, patience, s.log)
		}
	}
}

// startAgent starts an agent and waits for its first tick.
func startAgent(t testing.TB, args ...string) *server {
	t.Helper()
	address := freeAddress(t)
	return start(t, address, "/readyz", binary, append([]string{"agent", "--listen", address}, args...)...)
}

// startPrometheus starts the Debian Prometheus on a directory of blocks. At
// address "" it takes any.
func startPrometheus(t testing.TB, address, data string, flags ...string) *server {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("prometheus is not on PATH (Debian: apt-get install prometheus)")
		}
		t.Skip("needs prometheus (Debian: apt-get install prometheus)")
	}
	if address == "" {
		address = freeAddress(t)
	}
	config := t.TempDir() + "/prometheus.yml"
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, address, "/-/ready", program, append(flags, "--config.file="+config, "--storage.tsdb.path="+data,
		"--storage.tsdb.retention.time=100y", "--web.listen-address="+address)...)
}

// startUI serves the page over somebody else's API.
func startUI(t testing.TB, backend string, args ...string) *server {
	t.Helper()
	address := freeAddress(t)
	return start(t, address, "/healthz", binary, append([]string{"ui", "--prometheus", backend, "--listen", address}, args...)...)
}

// sample is one line of an answer.
type sample struct {
	labels map[string]string
	value  float64
}

// query asks an instant query of the Prometheus API.
func (s *server) query(expr string, at time.Time) []sample {
	s.t.Helper()
	resp, err := http.PostForm(s.url+"/api/v1/query", url.Values{"query": {expr}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}})
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		s.t.Fatalf("query %s: %v %s", expr, err, answer.Error)
	}
	var out []sample
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			s.t.Fatalf("query %s: %v", expr, err)
		}
		out = append(out, sample{r.Metric, v})
	}
	return out
}

// value is the sum of a query's answer.
func (s *server) value(expr string, at time.Time) (sum float64) {
	s.t.Helper()
	for _, v := range s.query(expr, at) {
		sum += v.value
	}
	return sum
}
