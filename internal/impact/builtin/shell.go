package builtin

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"noether/internal/impact/fault"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// Bounds of a command: after shellTimeout it is killed, more than maxShellOutput
// bytes of output are an error.
const (
	shellTimeout   = 5 * time.Minute
	maxShellOutput = 64 << 20
)

func shell() plugin.Method {
	return plugin.Method{
		Name:    "Shell",
		Paths:   []string{"@grnsft/if-plugins"},
		Summary: "Runs a program on the observations.",
		Doc: `Starts a program, writes the observations to its standard input as YAML, and reads observations as YAML from its standard
output: a list, or several documents. Each has the keys of the input observation at the same place under its own.
The command is split at spaces; there is no shell, no quoting, no variables.

**Whoever can change the manifest can run any program with the rights of this process.** The method is therefore refused
unless the run allows it (` + "`--allow-shell`" + `). A program that cannot be started, exits with another status than 0,
runs longer than five minutes or writes more than 64 MiB is an error; when the run is cancelled, the program and all that
it has started are killed.`,
		Example: `path: builtin
method: Shell
config:
  command: python3 /usr/local/bin/sampler`,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "command", Type: schema.Text(), Doc: "Program and arguments, separated by spaces."},
		}},
		Reaches: plugin.Shell,
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			return plugin.NewFramed(env, d, m, plugin.Kernel{Run: runShell}), nil
		},
	}
}

func runShell(ctx context.Context, c *plugin.Call) ([]*value.Object, error) {
	if !c.Env.AllowShell {
		return nil, fault.New(fault.ProcessExecution, "Running a program for Shell: this run does not allow it, because a manifest could run anything; pass --allow-shell if you trust the manifest")
	}
	if c.Env.DryRun {
		c.Env.Warn("Shell runs no program in a dry run: observations pass unchanged")
		return c.Rows, nil
	}
	strict := c.Env.Dialect.ShellErrors
	words := strings.Split(c.Config.Get("command").Str(), " ")
	if strict {
		words = strings.Fields(c.Config.Get("command").Str())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, fault.New(fault.ProcessExecution, "The argument 'file' cannot be empty. Received ''")
	}
	out, started, err := output(ctx, words, jsyaml.Append(nil, value.Rows(c.Rows)))
	if err != nil && (strict || ctx.Err() != nil || errors.Is(err, errTooMuch) || errors.Is(err, context.DeadlineExceeded)) {
		return nil, &fault.Error{Class: fault.ProcessExecution, Message: "Running the program " + words[0] + ": " + err.Error(), Cause: err}
	}
	// The reference reads no output at all, as of a program that is not there, as null.
	items := []value.Value{value.NullValue()}
	if started {
		docs, err := jsyaml.ParseAll(out)
		if err != nil {
			return nil, &fault.Error{Class: fault.ProcessExecution, Message: yamlMessage(err), Cause: err}
		}
		items = items[:0]
		for _, doc := range docs {
			if doc.Kind() == value.Array {
				items = append(items, doc.Items()...)
			} else {
				items = append(items, doc)
			}
		}
	}
	return merged(c, items, strict)
}

// merged lays each output over the input at its place; in the reference's
// dialect that is left to the frame, which renames first.
func merged(c *plugin.Call, items []value.Value, strict bool) ([]*value.Object, error) {
	rows := make([]*value.Object, len(items))
	for i, item := range items {
		if strict && item.Kind() != value.Map {
			return nil, fault.New(fault.ProcessExecution, "Reading the output of Shell: item %d is of type %s; write a list of observations as YAML", i, item.Kind())
		}
		row := value.NewObject(rowSpare)
		if i < len(c.Rows) && c.Env.Dialect.MappingEveryNode {
			row = c.Rows[i]
		}
		switch item.Kind() {
		case value.Map:
			for k, v := range item.Object().All() {
				row.Set(k, v)
			}
		case value.Array:
			for k, v := range item.Items() {
				row.Set(value.FormatNumber(float64(k)), v)
			}
		case value.String: // spread into its characters
			for k, r := range []rune(item.Str()) {
				row.Set(value.FormatNumber(float64(k)), value.Text(string(r)))
			}
		default: // spreads into nothing
		}
		rows[i] = row
	}
	return rows, nil
}

var errTooMuch = errors.New("it writes more than 64 MiB; let it write less")

// output runs a program and returns what it wrote, and whether it was there at all.
func output(ctx context.Context, words []string, stdin []byte) (out []byte, started bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, shellTimeout, context.DeadlineExceeded)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // the method's purpose; refused unless the run allows it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	stdout, stderr := &bounded{max: maxShellOutput, full: cancel}, &bounded{max: 4096}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), stdout, stderr
	err = cmd.Run()
	switch {
	case stdout.over:
		err = errTooMuch
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		err = context.DeadlineExceeded
	case errors.Is(err, syscall.EPIPE): // it need not read its input
		err = nil
	case err != nil && len(stderr.b) > 0:
		err = &programError{err, lastLine(stderr.b)}
	}
	return stdout.b, cmd.Process != nil, err
}

// programError adds what a program said last.
type programError struct {
	err  error
	said string
}

func (e *programError) Error() string { return e.err.Error() + ": " + e.said }
func (e *programError) Unwrap() error { return e.err }

func lastLine(b []byte) string {
	s := strings.TrimSpace(strings.ToValidUTF8(string(b), "?"))
	s = s[strings.LastIndexByte(s, '\n')+1:]
	for len(s) > 200 || !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// bounded keeps the first max bytes and calls full when there are more.
type bounded struct {
	b    []byte
	max  int
	over bool
	full func()
}

func (w *bounded) Write(p []byte) (int, error) {
	n := min(len(p), w.max-len(w.b))
	w.b = append(w.b, p[:n]...)
	if n < len(p) && !w.over {
		w.over = true
		if w.full != nil {
			w.full()
		}
	}
	return len(p), nil
}

// yamlMessage returns the message of a YAML error without its class.
func yamlMessage(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	return err.Error()
}
