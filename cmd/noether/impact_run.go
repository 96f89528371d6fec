package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"noether/internal/impact"
	"noether/internal/impact/builtin"
	"noether/internal/impact/fault"
	"noether/internal/impact/jsyaml"
)

// runOptions are the flags of impact run.
type runOptions struct {
	manifest, output          string
	observe, regroup, compute bool
	noOutput, append, debug   bool
	compat                    bool
	explain, trace            string
	reach                     reach
	program                   string   // what was called, for the execution block
	args                      []string // and with what
}

// nothing is what a flag with an optional value has when it was given without one.
const nothing = "true"

// optionalText is the value of a flag that can be given without one. To pflag it
// is a bool, because what help prints for other types, [="true"], reads badly.
type optionalText struct{ text *string }

func (o optionalText) String() string {
	if o.text == nil {
		return ""
	}
	return *o.text
}

func (o optionalText) Set(s string) error {
	*o.text = s
	return nil
}

func (o optionalText) Type() string { return "bool" }

func optional(f *pflag.FlagSet, text *string, name, usage string) {
	f.Var(optionalText{text}, name, usage)
	f.Lookup(name).NoOptDefVal = nothing
}

func newImpactRun(p *process) *cobra.Command {
	o := &runOptions{program: "noether", args: append([]string{}, p.args...)}
	cmd := &cobra.Command{
		Use:   "run -m MANIFEST [-o FILE]",
		Short: "Run a manifest and write it with its outputs",
		Long: `run computes the outputs of a manifest: it observes, regroups and computes each
component of its tree by the plugins of its pipeline, and aggregates. The result
is the manifest with outputs and how the run went, on standard output or in a
file, which is written whole or not at all.

A component that fails is reported and the others are computed. The exit code is
1 if anything failed and 2 if the command line is wrong. With --compat
everything is as the Impact Framework's if-run 1.1.0 does it: its wrong answers,
its messages on standard output, and exit code 0 after a failed run.

--explain PATH prints where one number comes from; --trace [COMPONENT] prints
what each plugin added, changed and dropped. Both print instead of the manifest,
and publish nothing.`,
		Example: `  noether impact run -m manifest.yml
  noether impact run -m manifest.yml -o output.yaml
  cat manifest.yml | noether impact run -m - | grep sci
  noether impact run -m manifest.yml --explain tree.children.shop.outputs[0].sci
  noether impact run -m manifest.yml --trace shop`,
		Args: func(cmd *cobra.Command, args []string) error {
			for _, target := range []*string{&o.explain, &o.trace} {
				if *target == nothing && len(args) > 0 {
					*target, args = args[0], args[1:]
				}
			}
			return noArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.manifest == "" && !o.compat {
				return &exitError{exitUsage, errors.New("impact run needs a manifest: -m FILE, or -m - for standard input")}
			}
			return runManifest(cmd.Context(), p, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.manifest, "manifest", "m", "", "the manifest to run; - is standard input")
	f.StringVarP(&o.output, "output", "o", "", "file to write (.yaml is added if its name lacks it); - is standard output")
	f.BoolVarP(&o.noOutput, "no-output", "n", false, "print no manifest on standard output")
	f.BoolVarP(&o.append, "append", "a", false, "keep the outputs that the manifest has and add the new ones")
	f.BoolVarP(&o.debug, "debug", "d", false, "say what is being done")
	f.BoolVar(&o.observe, "observe", false, "run the observe phase; without any of the three all run")
	f.BoolVar(&o.regroup, "regroup", false, "run the regroup phase")
	f.BoolVar(&o.compute, "compute", false, "run the compute phase")
	optional(f, &o.explain, "explain", "print where the number at `[PATH]` comes from; without it, write the explain block")
	optional(f, &o.trace, "trace", "print what each plugin does to each observation, of one `[COMPONENT]` or of all")
	f.BoolVar(&o.compat, "compat", false, "be the Impact Framework 1.1.0, its wrong answers and exit codes included")
	o.reach.register(cmd)
	return cmd
}

// runManifest runs a manifest and delivers what came of it.
func runManifest(ctx context.Context, p *process, o *runOptions) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := newConsole(p, o.compat, o.debug)
	err := o.run(ctx, p, c)
	c.Done()
	if !o.compat || ctx.Err() != nil {
		return err
	}
	if err != nil {
		c.Failed(err)
	}
	c.Debug("Exiting IF")
	return nil
}

func (o *runOptions) run(ctx context.Context, p *process, c *console) error {
	switch {
	case o.manifest == "":
		return fault.New(fault.CLISourceFile, "Manifest is missing.")
	case o.compat && o.manifest != "-" && !isYAML(o.manifest):
		return fault.New(fault.CLISourceFile, "Given source file is not in yaml format.")
	}
	c.Debug("Starting IF")
	if o.compat && o.noOutput && o.output == "" {
		c.Warn("You have not added an output command: \n--output <savepath>: will save your output data to the given filepath (do not provide file extension)")
	}
	c.Debug("Loading manifest")
	manifest, err := p.readManifest(o.manifest)
	if err != nil {
		return err
	}
	d := dialect(o.compat)
	var file *outputFile
	if o.output != "" {
		if file, err = p.openOutput(o.output, !d.OutputPath); err != nil {
			return err
		}
		defer file.Abort() // does nothing after Commit
	}
	options := impact.Options{
		Env: p.pluginEnv(d, &o.reach, c.Warn), Methods: builtin.Methods(), Instead: builtin.Instead,
		Observe: o.observe, Regroup: o.regroup, Compute: o.compute, Append: o.append, Explain: o.explain == nothing,
		Command: commandLine(o.program, o.args), Environment: environment("/", time.Now()), Progress: c.Progress,
	}
	// A question about a run is not the run: it publishes nothing.
	options.NoFinish = !o.reach.dryRun && (o.trace != "" || o.explain != "" && o.explain != nothing)
	if o.trace != "" {
		options.Trace = &impact.Trace{}
		if o.trace != nothing {
			options.Trace.Child = o.trace
		}
	}
	c.Debug("Computing")
	outcome := impact.Run(ctx, manifest, options)
	c.Done()
	if ctx.Err() != nil {
		return fmt.Errorf("run %s: interrupted", o.manifest)
	}
	c.Debug("Preparing output data")
	if o.compat && outcome.Err != nil {
		c.Failed(outcome.Err)
	}
	if file != nil {
		c.Debug("Exporting to yaml file: %s", file.path)
		if err := file.Commit(func(w io.Writer) error { return jsyaml.Write(w, outcome.Output) }); err != nil {
			return &fault.Error{Class: fault.WriteFile, Message: err.Error(), Cause: err}
		}
	}
	if err := o.print(p, outcome, &options); err != nil {
		return err
	}
	if outcome.Err == nil || o.compat {
		return nil
	}
	return &exitError{exitFailed, failures(outcome)}
}

// failures lists what went wrong, each component with its place.
func failures(outcome *impact.Outcome) error {
	if len(outcome.Failures) == 0 {
		return outcome.Err
	}
	const most = 20
	list := make([]error, 0, most)
	for i, f := range outcome.Failures {
		if i == most {
			list = append(list, fmt.Errorf("and %d more: see execution.errors of the output", len(outcome.Failures)-most))
			break
		}
		list = append(list, fmt.Errorf("%s: %w", f.Path, f.Err))
	}
	return errors.Join(list...)
}

// print writes to standard output what was asked for.
func (o *runOptions) print(p *process, outcome *impact.Outcome, options *impact.Options) error {
	switch {
	case o.trace != "":
		if len(options.Trace.Steps) == 0 && options.Trace.Child != "" {
			return &exitError{exitUsage, fmt.Errorf("trace %q: no plugin ran at a component of that name or below it: name it as in the tree, shop, or by its path, shop.pod-1", options.Trace.Child)}
		}
		return buffered(p.stdout, options.Trace.WriteText)
	case o.explain != "" && o.explain != nothing:
		return o.printExplanation(p, outcome)
	case o.output != "" || o.noOutput:
		return nil
	case !o.compat:
		return jsyaml.Write(p.stdout, outcome.Output)
	}
	if _, err := io.WriteString(p.stdout, "# start\n"); err != nil {
		return err
	}
	if err := jsyaml.Write(p.stdout, outcome.Output); err != nil {
		return err
	}
	_, err := io.WriteString(p.stdout, "\n# end\n")
	return err
}
