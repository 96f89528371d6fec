package docker

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"noether/internal/workload"
)

// serve lets f speak on every connection to the socket at path.
func serve(t *testing.T, path string, f func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
}

// Any user may listen at a socket of his: what he says must not fill the log.
func TestNoiseOfASocketIsSaidOnce(t *testing.T) {
	var n atomic.Int32
	request := func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }
	for name, speak := range map[string]func(net.Conn){
		"another text each time": func(c net.Conn) {
			request(c)
			fmt.Fprintf(c, "HTTP/1.1 %d%s\r\n\r\n", n.Add(1), strings.Repeat("x", 5000))
		},
		"another status each time": func(c net.Conn) {
			request(c)
			fmt.Fprintf(c, "HTTP/1.1 %d no\r\n\r\n", 400+n.Add(1))
		},
		"no HTTP":         func(c net.Conn) { request(c); fmt.Fprintf(c, "\x00\x01 %d\n\n", n.Add(1)) },
		"HTTP/2":          func(c net.Conn) { request(c); _, _ = c.Write([]byte{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100}) },
		"hangs up":        func(c net.Conn) { request(c) },
		"hangs up sooner": func(net.Conn) {},
		"endless header": func(c net.Conn) {
			request(c)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
			for range 100 {
				if _, err := fmt.Fprintf(c, "A%d: %s\r\n", n.Add(1), strings.Repeat("b", 4096)); err != nil {
					return
				}
			}
		},
		"endless list": func(c net.Conn) {
			request(c)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n[")
			for {
				if _, err := io.WriteString(c, strings.Repeat(`{"Id":"x"},`, 1000)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := root(t)
			serve(t, dir+"/x.sock", speak)
			a := open(t, Options{Sockets: []string{dir + "/x.sock"}})
			for range 3 {
				a.tick(maxPause, container("docker", id(1)))
			}
			if log := a.log.String(); strings.Count(log, "\n") != 1 || len(log) > 800 {
				t.Errorf("the log has %d bytes:\n%.2000s", len(log), log)
			}
			if len(a.Latest().Containers) != 0 {
				t.Error("it learned something")
			}
		})
	}
}

// The agent ends at once, whoever keeps it waiting.
func TestItEndsWhileASocketHangs(t *testing.T) {
	dir := root(t)
	connected := make(chan struct{}, 16)
	serve(t, dir+"/x.sock", func(c net.Conn) {
		connected <- struct{}{}
		_, _ = io.Copy(io.Discard, c)
	})
	a := open(t, Options{Sockets: []string{dir + "/x.sock"}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	a.Missing([]workload.Owner{container("docker", id(1))})
	<-connected
	began := time.Now()
	cancel()
	if err := <-done; err != nil || time.Since(began) > timeout/2 {
		t.Errorf("it ended after %s: %v", time.Since(began), err)
	}
	if a.log.Len() > 0 {
		t.Errorf("being stopped is a failure: %s", a.log.String())
	}
}

// Who names a socket himself is told when there is none.
func TestPathsThatAreNoSockets(t *testing.T) {
	dir := root(t)
	file, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		file: "is no socket", fifo: "is no socket", dir: "is no socket", filepath.Join(dir, "none"): "no such file",
	} {
		a := open(t, Options{Sockets: []string{path}})
		for range 3 {
			a.tick(lookEvery, container("docker", id(1)))
		}
		if log := a.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, says) || !strings.Contains(log, path) {
			t.Errorf("%s: the log:\n%s", path, log)
		}
		if v := Check(t.Context(), Options{Sockets: []string{path}, Now: time.Now}); len(v) != 1 || !strings.Contains(v[0].Reason, says) || !strings.Contains(v[0].Reason, path) {
			t.Errorf("%s: %+v", path, v)
		}
	}
}
