package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// server is a real time series database or gateway on a port of its own. It is
// stopped when the test that started it ends.
type server struct {
	t   *testing.T
	url string // http://127.0.0.1:PORT
	log *buffer
	pid int
}

// promOptions is what a Prometheus is started with.
type promOptions struct {
	history string   // samples with timestamps, as openMetrics writes them; "" for none
	config  string   // prometheus.yml; "" scrapes nothing
	flags   []string // further flags, such as --web.enable-remote-write-receiver
	header  http.Header
}

// startLockedPrometheus starts one that wants a name and a password.
func startLockedPrometheus(t *testing.T, o promOptions, user, password string) *server {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	web := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(web, fmt.Appendf(nil, "basic_auth_users: {%s: %q}\n", user, hash), 0o600); err != nil {
		t.Fatal(err)
	}
	pass := http.Request{Header: http.Header{}}
	pass.SetBasicAuth(user, password)
	o.flags, o.header = append(o.flags, "--web.config.file="+web), pass.Header
	return startPrometheus(t, o)
}

// startPrometheus starts the Debian Prometheus with a history of its own.
func startPrometheus(t *testing.T, o promOptions) *server {
	t.Helper()
	program := needProgram(t, "prometheus", "prometheus")
	dir, address := t.TempDir(), freeAddress(t)
	data, config := filepath.Join(dir, "data"), filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte(o.config), 0o600); err != nil {
		t.Fatal(err)
	}
	if o.history != "" {
		history := filepath.Join(dir, "history.om")
		if err := os.WriteFile(history, []byte(o.history), 0o600); err != nil {
			t.Fatal(err)
		}
		promtool := exec.Command(needProgram(t, "promtool", "prometheus"), "tsdb", "create-blocks-from", "openmetrics", "--quiet", history, data)
		if out, err := promtool.CombinedOutput(); err != nil {
			t.Fatalf("make blocks of the history: %v\n%s", err, out)
		}
	}
	flags := []string{"--config.file=" + config, "--storage.tsdb.path=" + data, "--storage.tsdb.retention.time=100y", "--web.listen-address=" + address}
	return startServer(t, address, "/-/ready", o.header, program, append(flags, o.flags...)...)
}

// startVictoriaMetrics starts the Debian VictoriaMetrics, empty.
func startVictoriaMetrics(t *testing.T, flags ...string) *server {
	t.Helper()
	program := needProgram(t, "victoria-metrics", "victoria-metrics")
	address := freeAddress(t)
	own := []string{"-httpListenAddr=" + address, "-storageDataPath=" + t.TempDir(), "-retentionPeriod=100y", "-memory.allowedBytes=256MB"}
	return startServer(t, address, "/health", nil, program, append(own, flags...)...)
}

// startPushgateway starts the Debian Pushgateway, empty.
func startPushgateway(t *testing.T, flags ...string) *server {
	t.Helper()
	program := needProgram(t, "prometheus-pushgateway", "prometheus-pushgateway")
	address := freeAddress(t)
	return startServer(t, address, "/-/ready", nil, program, append([]string{"--web.listen-address=" + address}, flags...)...)
}

func startServer(t *testing.T, address, ready string, header http.Header, program string, flags ...string) *server {
	t.Helper()
	s := &server{t: t, url: "http://" + address, log: &buffer{}}
	cmd := exec.Command(program, flags...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid = cmd.Process.Pid
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err == nil {
			select {
			case <-done:
			case <-time.After(patience):
				t.Errorf("%s did not stop", program)
				cmd.Process.Kill()
			}
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", program, tail(s.log.String()))
		}
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		req, err := http.NewRequest(http.MethodGet, s.url+ready, nil)
		if err != nil {
			t.Fatal(err)
		}
		if header != nil {
			req.Header = header
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return s
			}
		}
		select {
		case err := <-done:
			t.Fatalf("%s ended at once: %v\n%s", program, err, tail(s.log.String()))
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not ready after %v\n%s", program, patience, tail(s.log.String()))
		}
	}
}

// post sends a body and returns the answer; it fails unless that is a success.
func (s *server) post(path, body string) string {
	s.t.Helper()
	resp, err := http.Post(s.url+path, "text/plain", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		s.t.Fatalf("POST %s: %s: %v\n%s", path, resp.Status, err, answer)
	}
	return string(answer)
}

// load gives a VictoriaMetrics a history and waits until it can be read.
func (s *server) load(history string) {
	s.t.Helper()
	var lines strings.Builder
	for line := range strings.Lines(history) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		// OpenMetrics has seconds, this way of import milliseconds.
		series, at, ok := cutLast(strings.TrimSpace(line))
		if !ok {
			continue
		}
		seconds, err := strconv.ParseFloat(at, 64)
		if err != nil {
			s.t.Fatalf("line %q: %v", line, err)
		}
		fmt.Fprintf(&lines, "%s %.0f\n", series, seconds*1000)
	}
	s.post("/api/v1/import/prometheus", lines.String())
	resp, err := http.Get(s.url + "/internal/force_flush")
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// query asks an instant query of the Prometheus API; it returns value by
// series, the labels in the order of their names: `up{instance="a",job="b"}`.
func (s *server) query(expr string, at time.Time) map[string]float64 {
	s.t.Helper()
	values := url.Values{"query": {expr}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}}
	resp, err := http.Get(s.url + "/api/v1/query?" + values.Encode())
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
	out := map[string]float64{}
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			s.t.Fatalf("query %s: %v", expr, err)
		}
		out[seriesName(r.Metric)] = v
	}
	return out
}

func seriesName(labels map[string]string) string {
	var pairs []string
	for k, v := range labels {
		if k != "__name__" {
			pairs = append(pairs, fmt.Sprintf("%s=%q", k, v))
		}
	}
	slices.Sort(pairs)
	return labels["__name__"] + "{" + strings.Join(pairs, ",") + "}"
}

// history collects samples of several families, to be written as OpenMetrics.
type history struct {
	families []string
	lines    map[string][]string
}

// add appends one sample. Series is written as in the text format:
// `name{label="value"}`. The samples of a series come in the order of time.
func (h *history) add(series string, at time.Time, value float64) {
	name, _, _ := strings.Cut(series, "{")
	if h.lines == nil {
		h.lines = map[string][]string{}
	}
	if _, ok := h.lines[name]; !ok {
		h.families = append(h.families, name)
	}
	h.lines[name] = append(h.lines[name], fmt.Sprintf("%s %s %.3f", series, strconv.FormatFloat(value, 'g', -1, 64), float64(at.UnixMilli())/1000))
}

// openMetrics returns the text that promtool makes blocks of.
func (h *history) openMetrics() string {
	var b strings.Builder
	for _, name := range h.families {
		// "unknown" takes every name, also counters that lack _total.
		fmt.Fprintf(&b, "# TYPE %s unknown\n", name)
		for _, line := range h.lines[name] {
			b.WriteString(line)
			b.WriteByte('\n')
		}
	}
	b.WriteString("# EOF\n")
	return b.String()
}
