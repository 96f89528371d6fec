package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"noether/internal/impact"
	"noether/internal/impact/builtin"
	"noether/internal/impact/fault"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/tool"
	"noether/internal/impact/value"
)

// checkOptions are the flags of impact check.
type checkOptions struct {
	manifest, directory string
	lint, compat        bool
	tolerance           float64
	reach               reach
}

func newImpactCheck(p *process) *cobra.Command {
	o := &checkOptions{}
	cmd := &cobra.Command{
		Use:   "check -m MANIFEST | -d DIRECTORY",
		Short: "Run output manifests again and compare, or lint a manifest without running it",
		Long: `check proves an output manifest: it computes it again from the inputs that were
observed then, and compares the outputs with those in the file. Nothing is
written and nothing published. With --compat the observe phase runs again too.

With --lint it runs nothing and reads the manifest instead: keys that nothing
reads, methods that do not exist, settings that a method does not take, pipelines
that name no plugin.

The exit code is 0 if everything is right, 1 if not, 2 if there is nothing to check.`,
		Example: `  noether impact check -m output.yaml
  noether impact check -d manifests/
  noether impact check --lint -m manifest.yml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return asUsage(o.run(cmd.Context(), p)) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.manifest, "manifest", "m", "", "the manifest to check")
	f.StringVarP(&o.directory, "directory", "d", "", "check every manifest in a directory and below it")
	f.BoolVar(&o.lint, "lint", false, "say what looks wrong, without running anything")
	f.Float64Var(&o.tolerance, "tolerance", 0, "relative difference up to which numbers agree")
	f.BoolVar(&o.compat, "compat", false, "run and compare as the Impact Framework 1.1.0 does")
	o.reach.register(cmd)
	return cmd
}

func aliasCheck(ctx context.Context, p *process, a *aliasArgs) error {
	o := &checkOptions{
		manifest: a.get("manifest"), directory: a.get("directory"), compat: true,
		reach: reach{allowShell: true, maxDownload: defaultDownload, timeout: defaultTimeout},
	}
	err := o.run(ctx, p)
	if exit, ok := errors.AsType[*exitError](err); ok && exit.code == exitFailed && o.directory == "" {
		return nil // if-check -m ends well whatever it found
	}
	return reported(p, err)
}

func (o *checkOptions) run(ctx context.Context, p *process) error {
	var files []string
	switch {
	case o.manifest != "":
		if _, err := p.readFile(o.manifest); err != nil {
			return fault.New(fault.ParseCLIParams, "Manifest file not found.")
		}
		files = []string{o.manifest}
	case o.directory != "":
		var err error
		if files, err = manifestsIn(o.directory, true); err != nil {
			return fault.New(fault.InvalidDirectory, "Directory not found.")
		}
		if len(files) == 0 {
			return fault.New(fault.InvalidDirectory, "no manifest (.yml, .yaml) in %s", o.directory)
		}
	default:
		return fault.New(fault.MissingCLIFlags, "Either the `--manifest` or `--directory` command should be provided with a path")
	}
	if !o.lint {
		_, _ = fmt.Fprint(p.stdout, "Checking...\n\n")
	}
	passed := 0
	for _, name := range files {
		if len(files) > 1 || o.directory != "" {
			_, _ = fmt.Fprintf(p.stdout, "%s\n", name)
		}
		ok, err := o.one(ctx, p, name)
		if err != nil {
			return err
		}
		if ok {
			passed++
		}
	}
	if o.directory != "" {
		_, _ = fmt.Fprintf(p.stdout, "---------\nCheck summary:\n%d of %d files are passed.\n", passed, len(files))
	}
	if passed < len(files) {
		return &exitError{code: exitFailed}
	}
	return nil
}

// one checks one file and says what it found.
func (o *checkOptions) one(ctx context.Context, p *process, name string) (bool, error) {
	manifest, err := p.readManifest(name)
	if o.lint {
		return o.lintOne(p, manifest, err)
	}
	base := filepath.Base(name)
	if err == nil {
		var found []tool.Difference
		found, err = o.again(ctx, p, manifest)
		switch {
		case err == nil && len(found) == 0:
			_, err = fmt.Fprintf(p.stdout, "✔ if-check successfully verified %s\n\n", base)
			return true, err
		case err == nil:
			d := found[0]
			_, err = fmt.Fprintf(p.stdout, "✖ if-check could not verify %s. The re-executed file does not match the original.\n\n%s\nsource: %s\ntarget: %s\n\n", base, d.Path, d.Source, d.Target)
			return false, err
		}
	}
	why := "The re-executed file does not match the original."
	if !o.compat {
		why = "It could not be computed again."
	}
	_, err = fmt.Fprintf(p.stdout, "✖ if-check could not verify %s. %s\n\n%v\n\n", base, why, err)
	return false, err
}

func (o *checkOptions) lintOne(p *process, manifest value.Value, err error) (bool, error) {
	if err != nil {
		_, err = fmt.Fprintf(p.stdout, "error: %v\n", err)
		return false, err
	}
	problems := tool.Lint(manifest, builtin.Methods())
	ok := true
	for _, problem := range problems {
		ok = ok && !problem.Error
		_, _ = fmt.Fprintln(p.stdout, problem)
	}
	if len(problems) == 0 {
		_, _ = fmt.Fprintln(p.stdout, "nothing looks wrong")
	}
	return ok, nil
}

// again runs a manifest once more and returns where its outputs are others now.
func (o *checkOptions) again(ctx context.Context, p *process, manifest value.Value) ([]tool.Difference, error) {
	if manifest.Object().Get("execution").Object().Get("status").Kind() == value.Undefined {
		return nil, errors.New("it has no execution block: check wants the output of a run")
	}
	c := newConsole(p, o.compat, false)
	defer c.Done()
	dry := o.reach
	dry.dryRun = true
	outcome := impact.Run(ctx, manifest.Clone(), impact.Options{
		NoFinish: !o.reach.dryRun, // asked for, it says what would be published
		Compute:  !o.compat,       // the inputs of an output are what was observed and regrouped
		Env:      p.pluginEnv(dialect(o.compat), &dry, c.Warn), Methods: builtin.Methods(), Instead: builtin.Instead,
		Command: "noether impact check", Environment: environment("/", time.Now()), Progress: c.Progress,
	})
	if was := manifest.Object().Get("execution").Object().Get("status").Str(); outcome.Err != nil && was == "success" {
		return nil, failures(outcome)
	}
	// What was written is what is read again: dates and text come from the same place.
	output, err := jsyaml.Parse(jsyaml.Append(nil, outcome.Output))
	if err != nil {
		return nil, err
	}
	return tool.Diff(output, manifest, tool.DiffOptions{Reference: o.compat, Tolerance: o.tolerance, Limit: 1}), nil
}
