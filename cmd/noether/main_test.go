package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"noether/internal/export/balance"
	"noether/internal/snapshot"
)

// asNoether in the environment makes the test binary be noether.
const asNoether = "TEST_IS_NOETHER"

func TestMain(m *testing.M) {
	if os.Getenv(asNoether) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// noether runs a command line in this process.
func noether(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(ctx, args, []string{"PATH=" + os.Getenv("PATH")}, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

func TestCommandLine(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		code   int
		stdout string // a part of it
		stderr string // all of it
	}{
		"nothing is help":             {nil, 0, "Start here:", ""},
		"help teaches":                {[]string{"agent", "--help"}, 0, "noether agent --interval 1s --stdout", ""},
		"version":                     {[]string{"version"}, 0, "noether ", ""},
		"completion":                  {[]string{"completion", "bash"}, 0, "__start_noether", ""},
		"completion of words":         {[]string{"__complete", "agent", "--usage", ""}, 0, "procfs\n", "Completion ended with directive: ShellCompDirectiveNoFileComp\n"},
		"unknown command":             {[]string{"agnet"}, 2, "", "noether: no command is called \"agnet\": did you mean agent? (noether --help)\n"},
		"unknown flag":                {[]string{"agent", "--compat", "kepler"}, 2, "", "noether: unknown flag: --compat: noether agent --help lists the flags\n"},
		"flag of a later time":        {[]string{"agent", "--guest.path", "x"}, 2, "", "noether: unknown flag: --guest.path: noether agent --help lists the flags\n"},
		"argument of the agent":       {[]string{"agent", "now"}, 2, "", "noether: noether agent takes no argument \"now\" (noether agent --help)\n"},
		"all wrong settings at once":  {[]string{"agent", "--interval=7", "--usage=ebpf"}, 2, "", "noether: --interval: \"7\" has no unit: write 7s for seconds\nnoether: --usage: \"ebpf\" is not one of auto, bpf, cgroup, procfs: did you mean bpf?\n"},
		"missing root":                {[]string{"agent", "--root=/no-such-directory"}, 1, "", "noether: find the machine's processes: stat /no-such-directory/proc: no such file or directory: choose --root or --procfs\n"},
		"check of wrong settings":     {[]string{"check", "--policy=calibrated"}, 1, `--policy: "calibrated" is not available yet: choose utilisation or proportional`, ""},
		"check of a missing root":     {[]string{"check", "--root=/no-such-directory"}, 1, "energy    none: find the machine's processes", ""},
		"check with an unknown word":  {[]string{"check", "--require=guessed"}, 2, "", "noether: --require \"guessed\" is unknown: the only word is measured\n"},
		"stat without a command":      {[]string{"stat"}, 2, "", "noether: stat needs a command: noether stat -- CMD [ARG...]\n"},
		"stat with no run":            {[]string{"stat", "-r0", "--", "true"}, 2, "", "noether: --repeat 0 is less than one run\n"},
		"stat with too short a tick":  {[]string{"stat", "--interval=1ms", "--", "true"}, 2, "", "noether: --interval 1ms is out of range: choose 100ms to 5m0s\n"},
		"stat of an unknown command":  {[]string{"stat", "--", "/no-such-directory"}, 127, "", "noether: find \"/no-such-directory\": stat /no-such-directory: no such file or directory\n"},
		"stat of something else":      {[]string{"stat", "--", "/etc/passwd"}, 126, "", "noether: find \"/etc/passwd\": permission denied\n"},
		"stat with no place to write": {[]string{"stat", "-o/no-such-directory/x", "--", "true"}, 125, "", "noether: open /no-such-directory/x: no such file or directory\n"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := noether(t.Context(), c.args...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || c.stdout == "" && stdout != "" || stderr != c.stderr {
				t.Errorf("code %d, want %d; stdout:\n%s\nstderr:\n%s", code, c.code, stdout, stderr)
			}
		})
	}
}

func TestCheckSaysWhatTheAgentWouldDo(t *testing.T) {
	code, stdout, _ := noether(t.Context(), "check", "--json", "--sensor=model", "--model.idle-watts=10", "--model.max-watts=20")
	var r report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != 0 {
		t.Fatal(code, err, stdout)
	}
	if !r.Agent.Energy || r.Agent.Quality != "estimated" || len(r.Agent.Components) == 0 {
		t.Fatalf("%+v", r.Agent)
	}
	cpu := r.Agent.Components[0]
	if cpu.Low == nil || *cpu.Low > cpu.Watts || *cpu.High < cpu.Watts || cpu.Watts < 9 || cpu.Watts > 21 {
		t.Errorf("cpu %+v is not between the stated 10 and 20 W, with a band", cpu)
	}
	if code, stdout, _ := noether(t.Context(), "check", "--sensor=model", "--require=measured"); code != 1 || !strings.Contains(stdout, "--require measured refuses that") {
		t.Errorf("an estimate passed for measured: code %d\n%s", code, stdout)
	}
	_, stdout, _ = noether(t.Context(), "check", "--sensor=model")
	for line := range strings.Lines(stdout) {
		if n := len([]rune(line)); n > 121 {
			t.Errorf("line of %d columns: %s", n, line)
		}
	}
}

// serving is an agent under test.
type serving struct {
	url  string
	stop context.CancelFunc
	code chan int
	log  *lockedBuffer
}

// serve runs an agent in this process and waits until it says where it listens.
func serve(t *testing.T, stdout io.Writer, args ...string) *serving {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s := &serving{stop: stop, code: make(chan int, 1), log: &lockedBuffer{}}
	if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--sensor=") }) {
		args = append(args, "--sensor=model") // the same on every machine
	}
	go func() {
		s.code <- run(ctx, append([]string{"agent", "--listen=127.0.0.1:0", "--interval=100ms", "--store.path=off"}, args...), nil, strings.NewReader(""), stdout, s.log)
	}()
	t.Cleanup(func() { stop() })
	at := regexp.MustCompile(`listening on (http://[^/]+)/metrics`)
	for {
		if m := at.FindStringSubmatch(s.log.String()); m != nil {
			s.url = m[1]
			return s
		}
		select {
		case code := <-s.code:
			t.Fatalf("agent ended with %d:\n%s", code, s.log.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *serving) get(t *testing.T, path string) []byte {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	reply, err := client.Get(s.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestAgentServesBalancedBooksAndStops(t *testing.T) {
	stdout, w := io.Pipe()
	s := serve(t, w, "--json", "--node-name=n1")
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 16<<20)
	for range 2 { // ticks
		if !lines.Scan() || !json.Valid(lines.Bytes()) {
			t.Fatalf("no JSON: %q", lines.Bytes())
		}
	}
	page := s.get(t, "/metrics")
	if !bytes.Contains(page, []byte(`noether_node_joules_total{component="cpu",`)) && !bytes.Contains(page, []byte(`component="cpu"`)) {
		t.Errorf("no energy:\n%s", page)
	}
	if err := balance.Check(page); err != nil {
		t.Error(err)
	}
	s.stop()
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	if code := <-s.code; code != 0 {
		t.Errorf("code %d\n%s", code, s.log.String())
	}
	_ = w.Close()
	for _, want := range []string{"usage=", "sensor=model quality=estimated", "msg=stopped"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, s.log.String())
		}
	}
}

func TestPortInUseIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, _, stderr := noether(t.Context(), "agent", "--listen="+l.Addr().String(), "--store.path=off", "--sensor=model", "--usage=cgroup", "--log.level=error")
	if want := fmt.Sprintf("port %d is in use", l.Addr().(*net.TCPAddr).Port); code != 1 || !strings.Contains(stderr, want) || !strings.Contains(stderr, "--listen") {
		t.Errorf("code %d, stderr:\n%s", code, stderr)
	}
}

func TestBadWebConfigIsFoundBeforeTheStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(file, []byte("tls_server_config: {cert_file: nowhere.pem, key_file: nowhere.key}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"agent", "--store.path=off"}, {"check"}} {
		code, stdout, stderr := noether(t.Context(), append(command, "--web.config-file="+file)...)
		if code != 1 || !strings.Contains(strings.Join(strings.Fields(stdout+stderr), " "), "nowhere.pem") {
			t.Errorf("%s: code %d:\n%s%s", command, code, stdout, stderr)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestSlowReaderLosesTicksAndDelaysNone(t *testing.T) {
	block := make(chan struct{})
	var log lockedBuffer
	o := newOutput(writerFunc(func(p []byte) (int, error) { <-block; return len(p), nil }),
		slog.New(slog.NewTextHandler(&log, nil)), func(dst []byte, _ *snapshot.Snapshot) []byte { return append(dst, 'x') })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	for range 100 {
		o.Offer(&snapshot.Snapshot{})
	}
	stop()
	close(block)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// The queue holds 4, and one may be in the writer's hands.
	if n := o.dropped.Load(); n < 95 || n > 96 {
		t.Errorf("%d of 100 dropped", n)
	}
	if got := strings.Count(log.String(), "level=WARN"); got != 2 {
		t.Errorf("%d warnings, want one at the first and one at the end:\n%s", got, log.String())
	}
}

func TestClosedOutputEndsTheAgentWell(t *testing.T) {
	s := serve(t, writerFunc(func([]byte) (int, error) { return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE} }), "--stdout")
	if code := <-s.code; code != 0 || !strings.Contains(s.log.String(), "standard output was closed") {
		t.Errorf("code %d:\n%s", code, s.log.String())
	}
}

func TestFullDiskIsAFailure(t *testing.T) {
	s := serve(t, writerFunc(func([]byte) (int, error) { return 0, errors.New("no space left") }), "--stdout")
	if code := <-s.code; code != 1 || !strings.Contains(s.log.String(), "noether: write a tick to standard output: no space left") {
		t.Errorf("code %d:\n%s", code, s.log.String())
	}
}
