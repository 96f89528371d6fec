// Package scale asks what names cost where there are many: 5,000 pods on 200
// nodes of one cluster, 200 agents at once, and a kubelet that knows 110 pods.
// It knows the agent by its flags and its pages.
//
// The API server and its etcd are real, as is the agent with the rights that
// the chart gives it. The kubelets are played by the test: it writes the
// objects that they would, through the API, and runs no container. One node is
// a simulated machine with the cgroups of its pods, and that is the one on
// which the agent runs.
//
// It runs on request only, by make e2e-scale: it takes minutes, and its figures
// mean something on a quiet machine. What it asserts does not depend on speed,
// but for generous bounds on CPU time.
package scale

import (
	"bytes"
	"errors"
	"flag"
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

	"golang.org/x/sys/unix"

	"noether/internal/export/balance"
)

var (
	wanted   = flag.Bool("scale", false, "run the tests of scale, which take minutes")
	perNode  = flag.Int("pods", 25, "pods on each node")
	nodes    = flag.Int("nodes", 200, "nodes of the cluster, each with an agent in the end")
	churning = flag.Duration("churn", time.Minute, "how long pods come and go")
)

// patience is how long a test waits for what must happen; it is far more than
// that takes, so that a busy machine fails no test.
const patience = 2 * time.Minute

// binary is the program under test, built once a run. Set E2E_BINARY to test
// another one.
var binary string

func TestMain(m *testing.M) {
	if config := os.Getenv(fleetVariable); config != "" {
		if err := playFleet(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(build(m))
}

func build(m *testing.M) int {
	if binary = os.Getenv("E2E_BINARY"); binary != "" || !*wanted {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "noether-scale-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "noether")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "noether/cmd/noether")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build noether: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func need(t *testing.T) {
	t.Helper()
	if !*wanted {
		t.Skip("takes minutes: make e2e-scale runs it")
	}
}

// place is where an agent runs.
type place struct {
	start func(*exec.Cmd) error
	http  http.Client
}

// here is the machine that the test runs on.
func here() *place { return &place{start: (*exec.Cmd).Start} }

// agent is a running agent. It is stopped, and must stop well, with the test.
type agent struct {
	t       *testing.T
	at      *place
	address string
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended
	log     buffer
	began   time.Time

	counters map[string]float64
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

func startAgent(t *testing.T, at *place, args ...string) *agent {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, at: at, address: l.Addr().String(), done: make(chan struct{}), began: time.Now()}
	l.Close()
	a.cmd = exec.Command(binary, append([]string{"agent", "--listen", a.address, "--container-names", "off", "--sensor", "powercap", "--usage", "procfs"}, args...)...)
	a.cmd.Stderr = &a.log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := at.start(a.cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		a.cmd.Wait()
		close(a.done)
	}()
	t.Cleanup(a.stop)
	return a
}

func (a *agent) stop() {
	select {
	case <-a.done:
	default:
		a.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-a.done:
		case <-time.After(patience):
			a.cmd.Process.Kill()
			<-a.done
			a.t.Error("the agent did not stop on SIGTERM")
		}
	}
	if !a.cmd.ProcessState.Success() || strings.Contains(a.log.String(), "panic") {
		a.t.Errorf("the agent ended with %v", a.cmd.ProcessState)
	}
	if a.t.Failed() {
		a.t.Logf("log of the agent:\n%s", a.log.String())
	}
}

// page is one scrape, whose books balance.
type page []balance.Sample

// scrape gets a page and audits it: it has no series twice, it balances to the
// microjoule, and no counter fell.
func (a *agent) scrape() page {
	a.t.Helper()
	p, err := a.get()
	if err != nil {
		a.t.Fatalf("scrape: %v\n%s", err, a.log.String())
	}
	return p
}

func (a *agent) get() (page, error) {
	resp, err := a.at.http.Get("http://" + a.address + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err == nil {
		err = balance.Check(text)
	}
	var p page
	now := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if err != nil || line == "" || line[0] == '#' {
			continue
		}
		var s balance.Sample
		if s, err = balance.Parse(line); err != nil {
			continue
		}
		p = append(p, s)
		if strings.HasSuffix(s.Name, "_total") {
			v := value(s)
			if now[s.Series] = v; v < a.counters[s.Series] {
				err = fmt.Errorf("%s fell from %v to %v", s.Series, a.counters[s.Series], v)
			}
		}
	}
	a.counters = now
	return p, err
}

// value returns the one value of a family, or 0 and nothing found.
func (p page) value(family string) float64 {
	for _, s := range p {
		if s.Name == family {
			return value(s)
		}
	}
	return 0
}

func value(s balance.Sample) float64 {
	v, err := strconv.ParseFloat(s.Value, 64)
	if err != nil {
		panic(fmt.Sprintf("%s has the value %q", s.Series, s.Value))
	}
	return v
}

// await scrapes until a page is as it should be.
func (a *agent) await(what string, ok func(page) bool) page {
	a.t.Helper()
	var last page
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		select {
		case <-a.done:
			a.t.Fatalf("wait for %s: the agent ended\n%s", what, a.log.String())
		default:
		}
		if p, err := a.get(); err == nil {
			if last = p; ok(p) {
				return p
			}
		} else if !errors.Is(err, syscall.ECONNREFUSED) {
			a.t.Fatalf("wait for %s: %v", what, err)
		}
	}
	a.t.Fatalf("wait for %s: it did not come in %v: %v\n%s", what, patience, last.names(), a.log.String())
	return nil
}

// names are the samples about sources of names, for messages.
func (p page) names() (list []string) {
	for _, s := range p {
		if strings.HasPrefix(s.Name, "noether_names_") || s.Name == "noether_unnamed_pods" {
			list = append(list, s.Series+" "+s.Value)
		}
	}
	return list
}

// spent is what a process has used.
type spent struct {
	rss float64 // MiB
	cpu time.Duration
}

// uses returns what a process has used by now.
func uses(t *testing.T, pid int) (s spent) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 64)
			s.rss = kb / 1024
		}
	}
	// clock_getcpuclockid(3): the clock of all CPU time of a process.
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
		t.Fatalf("CPU time of process %d: %v", pid, err)
	}
	s.cpu = time.Duration(ts.Nano())
	return s
}

// steadyRSS returns the median over some time: a collection may run at any moment.
func steadyRSS(t *testing.T, pid int, d time.Duration) float64 {
	t.Helper()
	var all []float64
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		all = append(all, uses(t, pid).rss)
	}
	slices.Sort(all)
	return all[len(all)/2]
}
