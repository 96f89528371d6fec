package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal with noether top on it, and what it shows.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	cmd    *exec.Cmd
	done   chan struct{}

	mu   sync.Mutex
	sent []byte // all of it
}

// openTerminal starts the program on a terminal of its own.
func openTerminal(t *testing.T, columns, lines uint16, env []string, args ...string) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("needs pseudo terminals: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs pseudo terminals: %v", err)
	}
	t.Cleanup(func() { slave.Close() })
	x := &terminal{t: t, master: master, slave: slave, done: make(chan struct{})}
	x.resize(columns, lines)
	x.cmd = exec.Command(binary, append([]string{"top", "--interval", "300ms"}, args...)...)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = slave, slave, slave
	x.cmd.Env = append(append(os.Environ(), "TERM=xterm-256color", "NO_COLOR="), env...)
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go x.read()
	go func() {
		defer close(x.done)
		x.cmd.Wait()
	}()
	t.Cleanup(func() {
		x.cmd.Process.Kill()
		<-x.done
	})
	return x
}

func (x *terminal) read() {
	var buf [64 << 10]byte
	for {
		n, err := x.master.Read(buf[:])
		if err != nil {
			return
		}
		x.mu.Lock()
		x.sent = append(x.sent, buf[:n]...)
		x.mu.Unlock()
	}
}

// control is a sequence that a terminal obeys: position, erasure, style, mode.
var control = regexp.MustCompile(`\x1b\[([?0-9;]*)([A-Za-z])`)

// screen returns what stands on the terminal, and whether that is the second buffer.
func (x *terminal) screen() (lines []string, other bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	lines = make([]string, 100)
	row, text := 0, string(x.sent)
	put := func(s string) {
		if row < len(lines) {
			lines[row] += s
		}
	}
	for text != "" {
		at := control.FindStringSubmatchIndex(text)
		if at == nil {
			put(text)
			break
		}
		put(text[:at[0]])
		switch argument := text[at[2]:at[3]]; text[at[4]:at[5]] {
		case "H":
			row, _ = strconv.Atoi(strings.TrimSuffix(argument, ";1"))
			row--
			lines[row] = ""
		case "J":
			if argument == "2" {
				clear(lines)
			} else {
				clear(lines[row:])
			}
		case "h", "l":
			if argument == "?1049" {
				other = text[at[4]:at[5]] == "h"
			}
		}
		text = text[at[1]:]
	}
	return lines, other
}

// until waits for a screen.
func (x *terminal) until(what string, ok func(lines []string) bool) {
	x.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		lines, _ := x.screen()
		if ok(lines) {
			return
		}
		select {
		case <-x.done:
			x.t.Fatalf("wait for %s: top has ended (%v):\n%s", what, x.cmd.ProcessState, strings.Join(lines, "\n"))
		default:
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("wait for %s: it did not come:\n%s", what, strings.TrimSpace(strings.Join(lines, "\n")))
		}
	}
}

func (x *terminal) shows(text string) {
	x.t.Helper()
	x.until(text, func(lines []string) bool { return strings.Contains(strings.Join(lines, "\n"), text) })
}

func (x *terminal) press(keys string) {
	x.t.Helper()
	if _, err := x.master.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) resize(columns, lines uint16) {
	x.t.Helper()
	if err := unix.IoctlSetWinsize(int(x.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: lines, Col: columns}); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) settings() unix.Termios {
	x.t.Helper()
	s, err := unix.IoctlGetTermios(int(x.slave.Fd()), unix.TCGETS)
	if err != nil {
		x.t.Fatal(err)
	}
	return *s
}

// ends waits for the end, after which everything is as it was.
func (x *terminal) ends(code int, before unix.Termios) {
	x.t.Helper()
	select {
	case <-x.done:
	case <-time.After(patience):
		x.t.Fatal("top did not end")
	}
	if got := x.cmd.ProcessState.ExitCode(); got != code {
		x.t.Errorf("exit code %d, want %d", got, code)
	}
	if after := x.settings(); after != before {
		x.t.Errorf("the terminal was left as %+v, it was %+v", after, before)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		_, other := x.screen()
		x.mu.Lock()
		visible := strings.HasSuffix(string(x.sent), "\x1b[?7h\x1b[?25h\x1b[?1049l")
		x.mu.Unlock()
		if !other && visible {
			return
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("the screen was not given back: %q", x.sent[max(0, len(x.sent)-80):])
		}
	}
}

// burner starts a process that keeps a CPU busy under a name.
func burner(t *testing.T, name string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"=named "+name, "GOMAXPROCS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// TestTopShowsWhoIsBusy: the busy process is the first with its name in the
// list of processes; keys, sizes and signals do what they are for, and the
// terminal is given back.
func TestTopShowsWhoIsBusy(t *testing.T) {
	burner(t, "hard\x1b[2J\nat it")
	x := openTerminal(t, 100, 24, nil, "--view", "processes", "--sensor", "model")
	before := x.settings()
	x.shows("measuring the first interval")
	x.until("the busy process among the first rows", func(lines []string) bool {
		for i, line := range lines {
			if strings.Contains(line, "WATTS") {
				// Other tests are busy too, with as much as a CPU each.
				return strings.Contains(strings.Join(lines[i+1:i+9], "\n"), "hard�[2J�at it")
			}
		}
		return false
	})
	x.press("/hard\r")
	x.until("one row", func(lines []string) bool {
		all := strings.Join(lines, "\n")
		return strings.Contains(all, `with "hard"`) && strings.Count(all, "at it") == 1 && !strings.Contains(all, "processes not listed")
	})
	x.press("\x1b1")
	x.shows("[1 tree]")
	x.press("?")
	x.shows("Any key goes back")
	x.press("x")
	x.shows("= machine ~")

	x.resize(60, 16)
	x.until("a narrow screen", func(lines []string) bool {
		for i, line := range lines {
			if len([]rune(line)) > 60 || i >= 16 && line != "" {
				return false
			}
		}
		return strings.Contains(strings.Join(lines, "\n"), "[1 tree]  1-9 and Tab change the view")
	})

	x.press("\x1a") // Ctrl-Z: what stopped it has the terminal as it was
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", x.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(stat), ") T ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("Ctrl-Z did not stop it")
		}
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, other := x.screen(); !other && x.settings() == before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("while it is stopped the terminal is still taken")
		}
	}
	x.cmd.Process.Signal(syscall.SIGCONT)
	x.until("the screen again", func(lines []string) bool {
		_, other := x.screen()
		return other && strings.Contains(strings.Join(lines, "\n"), "= machine ~")
	})
	x.press("q")
	x.ends(0, before)
}

func TestTopIsStoppedBySignals(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			x := openTerminal(t, 80, 24, []string{"NO_COLOR=1"}, "--sensor", "model")
			before := x.settings()
			x.shows("= machine ~")
			x.cmd.Process.Signal(s)
			x.ends(0, before)
			for _, m := range control.FindAllStringSubmatch(string(x.sent), -1) {
				if m[2] == "m" {
					t.Fatalf("a style although there is NO_COLOR: %q", m[0])
				}
			}
		})
	}
}

// TestTopSaysThatItsAgentIsGone: what it reads from ends, and comes back.
func TestTopSaysThatItsAgentIsGone(t *testing.T) {
	t.Parallel()
	a := start(t, "--interval", "200ms", "--processes", "all", "--sensor", "model")
	a.skip(2)
	x := openTerminal(t, 100, 30, nil, "--agent", "http://"+a.address)
	before := x.settings()
	x.shows("read from the agent at http://" + a.address)
	x.press("6")
	x.shows("noether")
	a.cmd.Process.Kill()
	<-a.done
	x.shows("no news since")
	x.shows("connection refused")
	x.shows("= machine ~") // what was known stays
	again := startAt(t, a.address, nil, "--interval", "200ms", "--sensor", "model")
	again.skip(1)
	x.until("the agent again", func(lines []string) bool { return !strings.Contains(strings.Join(lines, "\n"), "no news since") })
	x.press("q")
	x.ends(0, before)
}

// TestTopForScripts: one table, one line, and no control character in either.
func TestTopForScripts(t *testing.T) {
	burner(t, "hard\x1b[2J\u202eat")
	run := func(args ...string) (string, string, int) {
		cmd := exec.Command(binary, append([]string{"top"}, args...)...)
		cmd.Env = append(os.Environ(), "COLUMNS=72")
		var out, errs strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errs
		cmd.Run()
		return out.String(), errs.String(), cmd.ProcessState.ExitCode()
	}
	table, errs, code := run("--once", "--interval", "500ms", "--view", "processes", "--rows", "8", "--sensor", "model")
	if code != 0 || errs != "" || !strings.Contains(table, "hard�[2J�at") {
		t.Errorf("exit code %d, %q:\n%s", code, errs, table)
	}
	for line := range strings.SplitSeq(table, "\n") {
		if len([]rune(line)) > 72 {
			t.Errorf("more than COLUMNS: %q", line)
		}
		for _, r := range line {
			if !unicode.IsGraphic(r) {
				t.Fatalf("%U in %q", r, line)
			}
		}
	}
	text, errs, code := run("--once", "--json", "--interval", "500ms", "--rows", "0", "--view", "processes", "--sensor", "model")
	var line struct {
		Schema  string
		Machine struct {
			Watts float64
			Low   float64 `json:"watts_low"`
			High  float64 `json:"watts_high"`
		}
		Rows []struct {
			Comm  string
			PID   int
			Watts float64
		}
		System []struct{ Watts float64 }
		Rest   float64 `json:"not_listed_watts"`
	}
	if err := json.Unmarshal([]byte(text), &line); err != nil || code != 0 || errs != "" || strings.Count(text, "\n") != 1 {
		t.Fatalf("%v, exit code %d, %q: %s", err, code, errs, text)
	}
	sum := line.Rest
	for _, s := range line.System {
		sum += s.Watts
	}
	found := false
	for _, r := range line.Rows {
		sum += r.Watts
		found = found || strings.HasPrefix(r.Comm, "hard") && r.Watts > 0
	}
	near(t, "sum of the rows, in W", sum, line.Machine.Watts, 1e-3)
	if m := line.Machine; !found || m.Low > m.Watts || m.High < m.Watts || line.Schema != "noether.top/v1" {
		t.Errorf("found %v: %s", found, text)
	}
	if out, errs, code := run(); code != 2 || out != "" || errs != "noether: standard output is no terminal: use noether top --once for a table, or --json for a line per tick\n" {
		t.Errorf("without a terminal: exit code %d, %q, %q", code, out, errs)
	}
	if _, errs, code := run("--once", "--agent", "http://127.0.0.1:1"); code != 1 || !strings.Contains(errs, "ask the agent at http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused") {
		t.Errorf("without an agent: exit code %d, %q", code, errs)
	}
	if _, errs, code := run("--once", "--view", "heat"); code != 2 || !strings.Contains(errs, `--view "heat" is none of tree, namespaces`) {
		t.Errorf("a wrong word: exit code %d, %q", code, errs)
	}
}
