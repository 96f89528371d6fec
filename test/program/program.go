// Package program starts real programs that answer HTTP, for tests: the one
// under test, and those that it talks to. It refuses to leave one behind: a
// program ends with the test that started it, or with the tests themselves.
package program

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen; it is far more than
// that takes, so that a busy machine fails no test.
const Patience = 60 * time.Second

// Server is a program that runs and answers.
type Server struct {
	URL     string // such as http://127.0.0.1:9090
	Address string // its host and port
	Log     *Buffer
	t       testing.TB
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended
}

// Buffer is a log that may be read while it is written.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String is the end of the log.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.b.String()
	return s[max(0, len(s)-8000):]
}

// FreeAddress is a port of this machine that nobody listens on.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Start starts a program and waits until it answers a client 200 at a path
// below base, which is a URL without one. It hears nothing of NOETHER_… of the
// environment. Its log is told if the test fails, and a panic in it fails the test.
func Start(t testing.TB, client *http.Client, base, ready, name string, args ...string) *Server {
	t.Helper()
	_, address, _ := strings.Cut(base, "://")
	s := &Server{URL: base, Address: address, Log: &Buffer{}, t: t, done: make(chan struct{})}
	s.cmd = exec.Command(name, args...)
	s.cmd.Stdout, s.cmd.Stderr = s.Log, s.Log
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
		s.Stop()
		if log := s.Log.String(); strings.Contains(log, "panic") {
			t.Errorf("%s panicked", name)
		}
		if t.Failed() {
			t.Logf("log of %s %s:\n%s", name, strings.Join(args, " "), s.Log)
		}
	})
	s.Await(ready, func() bool {
		resp, err := client.Get(s.URL + ready)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return s
}

// Stop ends the program the way systemd does. It may have ended.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(Patience):
		s.t.Errorf("%s did not stop", s.cmd.Path)
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// Await waits until ok says true; a program that ends meanwhile fails the test.
func (s *Server) Await(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(Patience); !ok(); time.Sleep(25 * time.Millisecond) {
		select {
		case <-s.done:
			s.t.Fatalf("wait for %s: %s has ended\n%s", what, s.cmd.Path, s.Log)
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("wait for %s: it did not come in %v\n%s", what, Patience, s.Log)
		}
	}
}

// Prometheus starts a Prometheus on a directory of blocks, of which it deletes
// none: the program of that path, or Debian's if that is "", without which the
// test is skipped, but not in CI. At address "" it takes any.
func Prometheus(t testing.TB, path, address, data string, flags ...string) *Server {
	t.Helper()
	if path == "" {
		var err error
		if path, err = exec.LookPath("prometheus"); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal("prometheus is not on PATH (Debian: apt-get install prometheus)")
			}
			t.Skip("needs prometheus (Debian: apt-get install prometheus)")
		}
	}
	if address == "" {
		address = FreeAddress(t)
	}
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return Start(t, http.DefaultClient, "http://"+address, "/-/ready", path, append(flags, "--config.file="+config, "--storage.tsdb.path="+data,
		"--storage.tsdb.retention.time=100y", "--web.listen-address="+address)...)
}
