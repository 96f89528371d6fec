// Command noether measures what a Linux machine consumes and divides it among
// what runs there. This package assembles the parts; it computes nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(context.Background(), called(os.Args[0], os.Args[1:]), os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// Exit codes. A command that runs another one has that one's code.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// process is what a command may touch of the process it runs in.
type process struct {
	args, env      []string
	stdin          io.Reader
	stdout, stderr io.Writer
	// transport carries what providers of carbon intensity are asked; nil is
	// the network. Only tests have another.
	transport http.RoundTripper
}

// exitError ends a command with a code of its own. Err may be nil when
// everything has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// run is the whole program. It returns the exit code, and returns only when
// everything it started has ended.
func run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &process{args: args, env: env, stdin: stdin, stdout: stdout, stderr: stderr}
	root := newRoot(p) //nolint:contextcheck // cobra hands ctx to the command that runs
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitFailed
	if exit, ok := errors.AsType[*exitError](err); ok {
		code, err = exit.code, exit.err
	}
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintf(stderr, "noether: %s\n", line) //nolint:errcheck // nobody is left to tell
		}
	}
	return code
}

func newRoot(p *process) *cobra.Command {
	root := &cobra.Command{
		Use:   "noether",
		Short: "Every joule of this machine, accounted for",
		Long: `Noether measures what this machine consumes, divides it exactly among the
processes, containers, pods, VMs and units that ran, and serves the result to
Prometheus. Where no sensor can be read it estimates, says so, and gives the
lowest and highest plausible value.

Start here:
  noether check              what can be measured on this machine, and what would help
  noether agent              serve http://127.0.0.1:9877/, a page and metrics
  noether top                who draws the power now
  noether stat -- make       the joules of one command
  noether carbon best        the greenest time to run something
  noether impact run -m m.yml  carbon and SCI score of an Impact Framework manifest

Settings are flags, NOETHER_ variables or a YAML file: noether agent --help.`,
		SilenceUsage:               true,
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		Args:                       noArgs,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitError{exitUsage, fmt.Errorf("%w: %s --help lists the flags", err, cmd.CommandPath())}
	})
	root.AddCommand(newAgent(p), newCheck(p), newStat(p), newTop(p), newUI(p), newCarbon(p), newImpact(p), newVersion(p))
	root.AddCommand(newAliases(p)...)
	return root
}

// noArgs refuses words that are neither a flag nor a command, and helps with typing errors.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("%s takes no argument %q", cmd.CommandPath(), args[0])
	if cmd.HasSubCommands() {
		text = fmt.Sprintf("no command is called %q", args[0])
		if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
			text += ": did you mean " + strings.Join(s, " or ") + "?"
		}
	}
	return &exitError{exitUsage, fmt.Errorf("%s (%s --help)", text, cmd.CommandPath())}
}
