package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// itself returns this test binary as noether, in a process of its own.
func itself(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asNoether+"=1")
	return cmd
}

// code returns the exit code of a finished process.
func code(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // straight from Wait
		return e.ExitCode()
	}
	return -1
}

// burn is a shell command that keeps one CPU busy for some steps; its
// subshell does half of them.
const burn = `spin() { i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done; }; (spin); spin`

type statLine struct {
	Run         int     `json:"run"`
	ExitCode    int     `json:"exit_code"`
	Quality     string  `json:"quality"`
	Share       string  `json:"share"`
	Machine     float64 `json:"machine_joules"`
	MachineLow  float64 `json:"machine_low_joules"`
	MachineHigh float64 `json:"machine_high_joules"`
	Command     float64 `json:"command_joules"`
	CPU         float64 `json:"command_cpu_seconds"`
	Busy        float64 `json:"machine_busy_seconds"`
	Seconds     float64 `json:"command_seconds"`
	Window      float64 `json:"window_seconds"`
	Components  []struct {
		Component string  `json:"component"`
		Machine   float64 `json:"machine_joules"`
		Command   float64 `json:"command_joules"`
	} `json:"components"`
	Summary map[string]any `json:"summary"`
	statGrams
}

// stat runs noether stat --json and returns its lines and what the command itself printed.
func stat(t *testing.T, args ...string) (lines []statLine, exit int, stdout string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stat.json")
	cmd := itself(t, append([]string{"stat", "--sensor=model", "--json", "-o", file}, args...)...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	exit = code(cmd.Run())
	if err.Len() > 0 {
		t.Logf("stderr: %s", err.String())
	}
	content, readErr := os.ReadFile(file)
	if readErr != nil {
		t.Fatal(readErr, err.String())
	}
	dec := json.NewDecoder(bytes.NewReader(content))
	for {
		var l statLine
		if e := dec.Decode(&l); e == io.EOF {
			return lines, exit, out.String()
		} else if e != nil {
			t.Fatal(e, string(content))
		}
		lines = append(lines, l)
	}
}

func TestStatGivesTheCommandItsShare(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
	}{
		{"cgroup", nil},
		{"tree by bpf", []string{"--cgroupfs=/no-such-directory"}},
		{"tree by procfs", []string{"--cgroupfs=/no-such-directory", "--usage=procfs"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if os.Getuid() != 0 && c.name != "tree by procfs" {
				t.Skip("not root: neither cgroups nor BPF can be used")
			}
			lines, exit, stdout := stat(t, append(c.args, "--", "sh", "-c", burn+"; times; exit 3")...)
			if exit != 3 || len(lines) != 1 || lines[0].ExitCode != 3 {
				t.Fatalf("exit %d, %+v", exit, lines)
			}
			l := lines[0]
			cpu := timesOf(t, stdout)
			if math.Abs(l.CPU-cpu) > 0.05*cpu+0.02 {
				t.Errorf("command used %.3f s by its own account, %.3f s by ours (%s)", cpu, l.CPU, l.Share)
			}
			if strings.HasPrefix(c.name, "tree") != (l.Share == "by its process tree") {
				t.Errorf("share was found %s", l.Share)
			}
			// The model is linear in busy time, so the command's energy is its
			// part of what work added.
			var machine, command float64
			for _, p := range l.Components {
				machine, command = machine+p.Machine, command+p.Command
			}
			if math.Abs(machine-l.Machine) > 1e-5 || math.Abs(command-l.Command) > 1e-5 {
				t.Errorf("components sum to %v and %v J, not %v and %v", machine, command, l.Machine, l.Command)
			}
			if l.Command <= 0 || l.Command >= l.Machine || l.MachineLow > l.Machine || l.MachineHigh < l.Machine || l.Quality != "estimated" {
				t.Errorf("%+v", l)
			}
		})
	}
	if left, err := filepath.Glob("/sys/fs/cgroup/*/noether-stat-*"); len(left) > 0 || err != nil {
		t.Errorf("cgroups left behind: %v %v", left, err)
	}
}

// timesOf sums what the shell's times says: its own and its children's, user and system.
func timesOf(t *testing.T, out string) (seconds float64) {
	t.Helper()
	for f := range strings.FieldsSeq(out) {
		m, s, ok := strings.Cut(strings.TrimSuffix(f, "s"), "m")
		minutes, err := strconv.Atoi(m)
		sec, err2 := strconv.ParseFloat(s, 64)
		if !ok || err != nil || err2 != nil {
			t.Fatalf("times printed %q", out)
		}
		seconds += 60*float64(minutes) + sec
	}
	return seconds
}

func TestStatOfADaemonThatOutlivesItsParents(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: BPF cannot be used")
	}
	// The burner is an orphan of a subshell that has ended long before.
	lines, exit, out := stat(t, "--cgroupfs=/no-such-directory", "--", "sh", "-c", `( (`+burn+`; times; echo done >"$0") & ); while [ ! -s "$0" ]; do sleep 0.05; done`, filepath.Join(t.TempDir(), "done"))
	if exit != 0 || len(lines) != 1 {
		t.Fatal(exit, lines, out)
	}
	if l, cpu := lines[0], timesOf(t, out); l.CPU < 0.95*cpu-0.02 {
		t.Errorf("the orphan used %.3f CPU s, of which %.3f were seen", cpu, l.CPU)
	}
}

func TestStatRepeats(t *testing.T) {
	lines, exit, stdout := stat(t, "-r3", "--", "sh", "-c", "echo run")
	if exit != 0 || len(lines) != 4 || stdout != "run\nrun\nrun\n" {
		t.Fatal(exit, len(lines), stdout)
	}
	s, ok := lines[3].Summary["machine_joules"].(map[string]any)
	if !ok {
		t.Fatalf("no summary: %+v", lines[3])
	}
	mean := (lines[0].Machine + lines[1].Machine + lines[2].Machine) / 3
	if math.Abs(s["mean"].(float64)-mean) > 1e-9 || s["min"].(float64) > mean || s["max"].(float64) < mean || s["deviation"].(float64) < 0 {
		t.Errorf("summary %v of runs with a mean of %v", s, mean)
	}
}

func TestStatPassesEverythingThrough(t *testing.T) {
	cmd := itself(t, "stat", "--sensor=model", "--", "sh", "-c", `read line; echo "out $line"; echo err >&2; kill -9 $$`)
	cmd.Stdin = strings.NewReader("in\n")
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	exit := code(cmd.Run())
	if exit != 128+9 || out.String() != "out in\n" || !strings.HasPrefix(err.String(), "err\n") || !strings.Contains(err.String(), " noether stat: sh -c") {
		t.Errorf("exit %d, stdout %q, stderr:\n%s", exit, out.String(), err.String())
	}
	if !strings.Contains(err.String(), "±") {
		t.Errorf("a command of some milliseconds is not called short:\n%s", err.String())
	}
}

func TestStatPassesSignalsOn(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGUSR1, unix.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := itself(t, "stat", "--sensor=model", "--usage=cgroup", "--", "sh", "-c",
				fmt.Sprintf(`trap 'echo got; exit 7' %d; echo ready; while :; do sleep 0.02; done`, sig))
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ready := make([]byte, 6)
			if _, err := io.ReadFull(out, ready); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(out)
			if err != nil {
				t.Fatal(err)
			}
			if exit := code(cmd.Wait()); exit != 7 || string(rest) != "got\n" {
				t.Errorf("exit %d, command printed %q", exit, rest)
			}
		})
	}
}

// A terminal's interrupt goes to the whole foreground group: the command must
// get it once, not twice.
func TestStatDoesNotDoubleATerminalsInterrupt(t *testing.T) {
	terminal, name := openTerminal(t)
	tty, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminal: %v", err)
	}
	cmd := itself(t, "stat", "--sensor=model", "--usage=cgroup", "-o", "/dev/null", "--", "sh", "-c",
		`n=0; trap 'n=$((n+1))' INT; echo ready; i=0; while [ $i -lt 25 ]; do sleep 0.02; i=$((i+1)); done; echo "interrupts $n"`)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close()
	var seen bytes.Buffer
	buf := make([]byte, 256)
	for sent := false; ; {
		n, err := terminal.Read(buf)
		seen.Write(buf[:n])
		if err != nil {
			break // EIO: the last one that had it open is gone
		}
		if !sent && bytes.Contains(seen.Bytes(), []byte("ready")) {
			sent = true
			if _, err := terminal.Write([]byte{3}); err != nil { // ^C
				t.Fatal(err)
			}
		}
	}
	if exit := code(cmd.Wait()); exit != 0 || !strings.Contains(seen.String(), "interrupts 1\r\n") {
		t.Errorf("exit %d, terminal shows:\n%s", exit, seen.String())
	}
}

func openTerminal(t *testing.T) (terminal *os.File, name string) {
	t.Helper()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminal: %v", err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	if err := unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("no pseudo terminal: %v", err)
	}
	n, err := unix.IoctlGetUint32(int(terminal.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skipf("no pseudo terminal: %v", err)
	}
	return terminal, fmt.Sprintf("/dev/pts/%d", n)
}

func TestStatAsksARunningAgent(t *testing.T) {
	s := serve(t, io.Discard)
	for !json.Valid(s.get(t, "/api/noether/v1/snapshot")) { // plain text before the first tick
		time.Sleep(20 * time.Millisecond)
	}
	lines, exit, _ := stat(t, "--agent", s.url, "--", "sh", "-c", burn)
	if exit != 0 || len(lines) != 1 {
		t.Fatal(exit, lines)
	}
	l := lines[0]
	if l.Machine <= 0 || l.Command <= 0 || l.Command >= l.Machine || l.Window < l.Seconds || l.CPU <= 0 || l.CPU > l.Busy*1.05+0.05 {
		t.Errorf("%+v", l)
	}
	s.stop()
	<-s.code
	cmd := itself(t, "stat", "--agent", s.url, "--", "true")
	var err bytes.Buffer
	cmd.Stderr = &err
	if exit := code(cmd.Run()); exit != 125 || !strings.Contains(err.String(), s.url) {
		t.Errorf("an agent that is gone: exit %d, %s", exit, err.String())
	}
}

func TestLateCPUTimeCostsWhatTheRestCost(t *testing.T) {
	w := window{busy: time.Second, ownCPU: 300 * time.Millisecond}
	w.dynamic[0], w.own[0] = 100, 30
	w.complete(400 * time.Millisecond)
	if w.own[0] != 40 || w.ownCPU != 400*time.Millisecond {
		t.Errorf("own = %d µJ for %s", w.own[0], w.ownCPU)
	}
	w.complete(2 * time.Second) // most of it was not seen
	if w.own[0] != 100 {
		t.Errorf("own = %d of 100 µJ", w.own[0])
	}
}

func TestShareByTimeIsNeverMoreThanAll(t *testing.T) {
	w := window{busy: time.Second}
	w.present[0], w.total[0], w.dynamic[0] = true, 100, 60
	w.shareByTime(2 * time.Second)
	if w.own[0] != 60 {
		t.Errorf("own = %d, want all of the dynamic 60", w.own[0])
	}
	w.busy = 0
	w.shareByTime(time.Second)
	if w.own[0] != 0 {
		t.Errorf("own = %d of a window without busy time", w.own[0])
	}
}
