package builtin

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

func TestShell(t *testing.T) {
	const two = "[{a: 1, t: x}, {a: 2}]"
	tests := []struct{ name, command, inputs, reference, noether string }{
		{"what goes in comes out", "cat", two, "- a: 1\n  t: x\n- a: 2\n", ""},
		{"fewer rows", "tail -n 1", two, "- a: 2\n  t: x\n", ""},
		{"several documents", `printf {q:\0401}\n---\n{q:\0402}\n`, two, "- a: 1\n  t: x\n  q: 1\n- a: 2\n  q: 2\n", ""},
		{"nothing", "true", two, "[]\n", ""},
		{"a status that is not 0", "false", two, "[]\n", "ProcessExecutionError: Running the program false: exit status 1"},
		{"what it says when it fails", "cat /nonexistent", two, "[]\n", "ProcessExecutionError: Running the program cat: exit status 1: cat: /nonexistent: No such file or directory"},
		{"a program that is not there", "nosuchprogram", two, "- a: 1\n  t: x\n", `ProcessExecutionError: Running the program nosuchprogram: exec: "nosuchprogram": executable file not found in $PATH`},
		{"text", "echo x", two, "- '0': x\n  a: 1\n  t: x\n", "ProcessExecutionError: Reading the output of Shell: item 0 is of type string; write a list of observations as YAML"},
		{"two spaces", "tail  -n 1", two, "[]\n", "- a: 2\n  t: x\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, d := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
				want := tt.reference
				if d.ShellErrors && tt.noether != "" {
					want = tt.noether
				}
				e := testEnv(d)
				e.AllowShell = true
				if got := runYAML(t, e, shell(), "{command: '"+tt.command+"'}", tt.inputs, nil); got != want {
					t.Errorf("shell errors %v: got %s\nwant %s", d.ShellErrors, got, want)
				}
			}
		})
	}
}

func TestShellIsRefused(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "ran")
	for _, d := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
		got := runYAML(t, testEnv(d), shell(), "{command: 'touch "+marker+"'}", "[]", nil)
		if !strings.Contains(got, "--allow-shell") {
			t.Errorf("got %s", got)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("the program ran")
	}
}

// TestShellKillsTheGroup starts a program that starts another, cancels the run
// and looks for both.
func TestShellKillsTheGroup(t *testing.T) {
	dir := t.TempDir()
	script, pid := filepath.Join(dir, "s.sh"), filepath.Join(dir, "pid")
	if err := os.WriteFile(script, []byte("sleep 60 &\necho $! > "+pid+"\nwait\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := jsyaml.Parse([]byte("{command: 'sh " + script + "'}"))
	if err != nil {
		t.Fatal(err)
	}
	e := testEnv(plugin.Noether())
	e.AllowShell = true
	m := shell()
	p, err := m.New(e, &plugin.Declaration{Config: config.Object()}, &m)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := p.Execute(ctx, []*value.Object{value.NewObject(0)}, &plugin.Node{})
		done <- err
	}()
	child := 0
	for child == 0 {
		time.Sleep(5 * time.Millisecond)
		if b, err := os.ReadFile(pid); err == nil { //nolint:gosec // the test's own file
			child, _ = strconv.Atoi(strings.TrimSpace(string(b))) // not yet written is 0
		}
		select {
		case err := <-done:
			t.Fatalf("ended early: %v", err)
		default:
		}
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a cancelled program is no error")
	}
	for range 400 { // until init has reaped it
		if err := syscall.Kill(child, 0); err != nil || zombie(child) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("the program's child lives on")
}

// zombie reports whether a process is dead and not yet waited for.
func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(b), ") Z ")
}
