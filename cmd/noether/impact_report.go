package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"noether/internal/impact"
	"noether/internal/impact/builtin"
	disclosure "noether/internal/impact/report"
	"noether/internal/impact/value"
)

// reportOptions are the flags of impact report.
type reportOptions struct {
	manifest, output, format string
	reach                    reach
}

func newImpactReport(p *process) *cobra.Command {
	o := &reportOptions{}
	cmd := &cobra.Command{
		Use:   "report -m MANIFEST",
		Short: "Write the disclosure of an SCI score: score, boundary, method, factors",
		Long: `report writes what ISO/IEC 21031 wants published with an SCI score: the score, the
software boundary and the calculation methodology, with the conversion factors,
the data sources and a table of the components. It reads the output of a run; a
manifest without outputs is run first, with nothing published.

What no engine can know stands in the manifest, under the key disclosure:

  disclosure:
    boundary: [checkout service in production, its database, the load balancer]
    exclusions: [end-user devices]
    methodology: energy of containers by Kepler, location-based average intensity
    sources: {intensity: Ember 2025, embodied carbon: vendor data sheet}
    quality: energy is measured

What is missing is listed. The exit code is 1 if there is no score.`,
		Example: `  noether impact report -m output.yaml
  noether impact report -m manifest.yml --format json | jq .score`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.manifest == "":
				return &exitError{exitUsage, errors.New("impact report needs a manifest: -m FILE, or -m - for standard input")}
			case o.format != "markdown" && o.format != "json":
				return &exitError{exitUsage, fmt.Errorf("--format %q is not one of markdown, json", o.format)}
			}
			return o.run(cmd.Context(), p)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.manifest, "manifest", "m", "", "the manifest or output; - is standard input")
	f.StringVarP(&o.output, "output", "o", "", "file to write; standard output if left out or -")
	f.StringVar(&o.format, "format", "markdown", "markdown or json")
	o.reach.register(cmd)
	return cmd
}

func (o *reportOptions) run(ctx context.Context, p *process) error {
	manifest, err := p.readManifest(o.manifest)
	if err != nil {
		return err
	}
	if !finished(manifest) {
		dry := o.reach
		dry.dryRun = true
		c := newConsole(p, false, false)
		outcome := impact.Run(ctx, manifest, impact.Options{
			NoFinish: !o.reach.dryRun, // asked for, it says what would be published
			Env:      p.pluginEnv(dialect(false), &dry, c.Warn), Methods: builtin.Methods(), Instead: builtin.Instead,
			Command: commandLine("noether", p.args), Environment: environment("/", time.Now()), Progress: c.Progress,
		})
		c.Done()
		if outcome.Err != nil && outcome.Result == nil {
			return outcome.Err
		}
		manifest = outcome.Output
	}
	d, err := disclosure.New(manifest, builtin.Methods())
	if err != nil {
		return err
	}
	write := d.Markdown
	if o.format == "json" {
		write = d.JSON
	}
	if o.output == "" || o.output == "-" {
		err = write(p.stdout)
	} else {
		var file *outputFile
		if file, err = p.createOutput(o.output); err == nil {
			err = file.Commit(func(w io.Writer) error { return write(w) })
		}
	}
	switch {
	case err != nil:
		return err
	case d.Status == "fail":
		return &exitError{exitFailed, fmt.Errorf("the run failed: %s", d.Error)}
	case d.Score == nil:
		return &exitError{exitFailed, errors.New(d.Missing[0])}
	}
	return nil
}

// finished reports whether a manifest is the output of a run that got somewhere.
func finished(manifest value.Value) bool {
	status := manifest.Object().Get("execution").Object().Get("status").Str()
	if status == "success" {
		return true
	}
	return status == "fail" && manifest.Object().Get("execution").Object().Has("errors")
}
