package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"noether/internal/export/balance"
)

// patience is how long a test waits for what must happen; it is far more than
// that takes, so that a busy machine fails no test.
const patience = 60 * time.Second

// agent is a running agent. Every page it gives is audited: see scrape.
type agent struct {
	t       *testing.T
	cmd     *exec.Cmd
	address string
	log     *buffer
	done    chan struct{} // closed when it has ended

	simulated bool  // it looks at a simulated machine
	err       error // how; valid once done is closed

	mu       sync.Mutex
	counters map[string]balance.Sample
	ticks    uint64
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
	return b.b.String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start starts an agent and waits for its first tick. It is stopped, and must
// stop well, when the test ends.
func start(t *testing.T, args ...string) *agent {
	t.Helper()
	return startAt(t, freeAddress(t), nil, args...)
}

// startAt starts an agent at an address, as another program's child if prefix
// is set (setpriv, unshare).
func startAt(t *testing.T, address string, prefix []string, args ...string) *agent {
	t.Helper()
	argv := append(append([]string{}, prefix...), binary, "agent", "--listen", address)
	argv = append(argv, args...)
	a := &agent{t: t, address: address, log: &buffer{}, done: make(chan struct{}), counters: map[string]balance.Sample{}, simulated: slices.Contains(args, "--root")}
	a.cmd = exec.Command(argv[0], argv[1:]...)
	a.cmd.Stderr = a.log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		a.err = a.cmd.Wait()
		close(a.done)
	}()
	t.Cleanup(func() {
		a.stop()
		if t.Failed() {
			t.Logf("log of %s:\n%s", strings.Join(argv, " "), tail(a.log.String()))
		}
	})
	a.await("the first tick", func() bool {
		p, err := a.get()
		return err == nil && p.ticks() > 0
	})
	return a
}

func tail(s string) string {
	if len(s) > 8000 {
		return "…" + s[len(s)-8000:]
	}
	return s
}

// stop ends the agent the way systemd and the kubelet do. It must end by
// itself, without error and without a word of panic.
func (a *agent) stop() {
	a.t.Helper()
	select {
	case <-a.done:
		return // the test has ended it
	default:
	}
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		a.t.Errorf("stop the agent: %v", err)
	}
	select {
	case <-a.done:
	case <-time.After(patience):
		a.t.Error("the agent did not stop on SIGTERM")
		a.cmd.Process.Kill()
		<-a.done
	}
	if a.err != nil {
		a.t.Errorf("the agent stopped with %v", a.err)
	}
	if log := a.log.String(); strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") {
		a.t.Errorf("the agent panicked:\n%s", tail(log))
	}
}

func (a *agent) await(what string, ok func() bool) {
	a.t.Helper()
	a.awaitWithin(patience, what, ok)
}

func (a *agent) awaitWithin(patience time.Duration, what string, ok func() bool) {
	a.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		select {
		case <-a.done:
			a.t.Fatalf("wait for %s: the agent has ended: %v\n%s", what, a.err, tail(a.log.String()))
		default:
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("wait for %s: it did not come in %v\n%s", what, patience, tail(a.log.String()))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// page is one scrape.
type page struct {
	text    []byte
	samples []balance.Sample
	asked   time.Time // when
}

func (a *agent) get() (*page, error) {
	p := &page{asked: time.Now()}
	resp, err := http.Get("http://" + a.address + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if p.text, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET /metrics: %s: %s", resp.Status, p.text)
	}
	for line := range strings.Lines(string(p.text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := balance.Parse(line)
		if err != nil {
			return nil, err
		}
		p.samples = append(p.samples, s)
	}
	return p, nil
}

// scrape gets a page and audits it: it is well-formed, has no series twice,
// its books balance to the microjoule, and no counter has fallen since the
// last scrape. Processes of this machine are not asked: in a fork storm the
// bound on finished ones drops a series, and its PID and name are soon taken
// again, by a process that begins at 0.
func (a *agent) scrape() *page {
	a.t.Helper()
	p, err := a.get()
	if err != nil {
		a.t.Fatalf("scrape: %v\n%s", err, tail(a.log.String()))
	}
	if err := balance.Check(p.text); err != nil {
		a.t.Fatalf("tick %d: %v\n%s", p.ticks(), err, p.text)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.ticks() < a.ticks {
		a.t.Fatalf("tick %d was shown after tick %d", p.ticks(), a.ticks)
	}
	a.ticks = p.ticks()
	now := make(map[string]balance.Sample, len(p.samples))
	for _, s := range p.samples {
		if !strings.HasSuffix(s.Name, "_total") || s.Name == "noether_process_joules_total" && !a.simulated {
			continue
		}
		now[s.Series] = s
		if old, ok := a.counters[s.Series]; ok && number(s) < number(old) {
			a.t.Errorf("tick %d: %s fell from %s to %s", p.ticks(), s.Series, old.Value, s.Value)
		}
	}
	a.counters = now
	if e := p.joules("noether_imbalance_joules"); e != 0 {
		a.t.Errorf("tick %d: noether_imbalance_joules is %d uJ", p.ticks(), e)
	}
	return p
}

// next returns the page of the next tick that ends from now on.
func (a *agent) next() *page {
	a.t.Helper()
	seen := a.scrape().ticks()
	return a.after(seen)
}

// after returns the page of the first tick seen after the given one.
func (a *agent) after(tick uint64) (p *page) {
	a.t.Helper()
	a.await("a tick", func() bool { p = a.scrape(); return p.ticks() > tick })
	return p
}

// skip waits until n whole ticks have begun and ended.
func (a *agent) skip(n uint64) *page {
	a.t.Helper()
	return a.after(a.scrape().ticks() + n)
}

func number(s balance.Sample) float64 {
	v, err := strconv.ParseFloat(s.Value, 64)
	if err != nil {
		return 0
	}
	return v
}

func (p *page) ticks() uint64 { return uint64(p.value("noether_ticks_total")) }

func matches(s balance.Sample, name string, labels []string) bool {
	if s.Name != name {
		return false
	}
	for i := 0; i+1 < len(labels); i += 2 {
		if s.Labels[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// find returns the samples of a family with the given labels (name, value, ...).
func (p *page) find(name string, labels ...string) (found []balance.Sample) {
	for _, s := range p.samples {
		if matches(s, name, labels) {
			found = append(found, s)
		}
	}
	return found
}

// value returns their sum.
func (p *page) value(name string, labels ...string) (sum float64) {
	for _, s := range p.find(name, labels...) {
		sum += number(s)
	}
	return sum
}

// joules returns their exact sum in microjoules.
func (p *page) joules(name string, labels ...string) (sum int64) {
	for _, s := range p.find(name, labels...) {
		e, err := balance.Microjoules(s.Value)
		if err != nil {
			panic(fmt.Sprintf("%s: %v", s.Series, err))
		}
		sum += int64(e)
	}
	return sum
}

// runs runs the binary to its end and returns its exit code and what it said.
func runs(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return runsIn(t, nil, args...)
}

// runsIn is runs with more in the environment.
func runsIn(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if strings.Contains(errs.String(), "panic") {
		t.Errorf("noether %s panicked:\n%s", strings.Join(args, " "), errs.String())
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// descriptors returns how many the agent has open.
func (a *agent) descriptors() int {
	a.t.Helper()
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(a.cmd.Process.Pid), "fd"))
	if err != nil {
		a.t.Fatal(err)
	}
	return len(entries)
}

func fetch(t *testing.T, url string) (code int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
