package promapi

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestAnswersAreThoseOfPrometheus asks a real Prometheus over the same data.
func TestAnswersAreThoseOfPrometheus(t *testing.T) {
	db := openStore(t)
	data := filepath.Join(t.TempDir(), "data")
	if err := db.Snapshot(data, true); err != nil {
		t.Fatal(err)
	}
	base := startPrometheus(t, data)
	h := served(t, db, Limits{})
	for _, line := range requests() {
		if strings.HasPrefix(line, "own ") {
			continue
		}
		method, rest, _ := strings.Cut(line, " ")
		path, body, _ := strings.Cut(rest, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if method == http.MethodPost {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		w := ask(t, h, line)
		if w.Code != resp.StatusCode || w.Header().Get("Content-Type") != resp.Header.Get("Content-Type") {
			t.Errorf("%s: %d %s, Prometheus has %s %s", line, w.Code, w.Header().Get("Content-Type"), resp.Status, resp.Header.Get("Content-Type"))
		}
		if diff := cmp.Diff(decoded(t, theirs), decoded(t, w.Body.Bytes()), cmp.Comparer(same)); diff != "" {
			t.Errorf("%s (-Prometheus +ours):\n%s", line, diff)
		}
	}
}

// same compares strings; values may differ in the last digits, since versions
// of the engine add in another order.
func same(a, b string) bool {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return a == b || errX == nil && errY == nil && math.Abs(x-y) <= 1e-12*math.Abs(x)
}

// decoded returns an answer. The sentences of errors may differ.
func decoded(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var answer map[string]any
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if answer["error"] != "" {
		delete(answer, "error")
	}
	return answer
}

func startPrometheus(t *testing.T, data string) (base string) {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("needs prometheus (Debian: apt-get install prometheus)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+config, "--storage.tsdb.path="+data, "--storage.tsdb.retention.time=100y", "--web.listen-address="+address)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() { // the context of the test is done
		<-ended
		http.DefaultClient.CloseIdleConnections()
	})
	base = "http://" + address
	for range 600 {
		resp, err := http.Get(base + "/-/ready")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return base
			}
		}
		select {
		case <-ended:
			t.Fatalf("prometheus ended: %s", &log)
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatal("prometheus is not ready")
	return ""
}
