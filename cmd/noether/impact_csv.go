package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"noether/internal/impact/fault"
	"noether/internal/impact/tool"
	"noether/internal/impact/value"
)

// csvOptions are the flags of impact csv.
type csvOptions struct {
	manifest, output string
	params           []string
	long, compat     bool
}

func newImpactCSV(p *process) *cobra.Command {
	o := &csvOptions{}
	cmd := &cobra.Command{
		Use:   "csv -m OUTPUT -p PARAMETER[,PARAMETER]",
		Short: "Tabulate parameters of an output manifest",
		Long: `csv writes parameters of all components over time: a line for each component and
parameter, a column for each time. --long writes a line for each value instead,
as databases and data frames like it. * is every parameter.`,
		Example: `  noether impact csv -m output.yaml -p carbon
  noether impact csv -m output.yaml -p sci,carbon,energy -o result.csv
  noether impact run -m manifest.yml | noether impact csv -p '*' --long`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if len(o.params) == 0 {
				return &exitError{exitUsage, errors.New("impact csv needs a parameter: -p carbon, or -p '*' for all")}
			}
			return o.run(p)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.manifest, "manifest", "m", "", "the output manifest; standard input if left out or -")
	f.StringSliceVarP(&o.params, "params", "p", nil, "parameters to write")
	f.StringVarP(&o.output, "output", "o", "", "file to write (.csv is added if its name lacks it)")
	f.BoolVar(&o.long, "long", false, "one line for each value")
	return cmd
}

func aliasCSV(_ context.Context, p *process, a *aliasArgs) error {
	o := &csvOptions{manifest: a.get("manifest"), output: a.get("output"), params: []string{a.get("params")}, compat: true}
	return reported(p, o.run(p))
}

func (o *csvOptions) run(p *process) error {
	var manifest value.Value
	var err error
	if o.manifest == "" || o.manifest == "-" {
		var ok bool
		if manifest, ok, err = p.pipedManifest(o.compat); err == nil && !ok {
			if o.compat {
				return nil // as the reference does
			}
			return errors.New("read standard input: it is empty: name a manifest with -m")
		}
	} else if _, missing := os.Stat(o.manifest); o.compat && missing != nil {
		return fault.New(fault.ParseCLIParams, "Manifest file not found.")
	} else {
		manifest, err = p.readManifest(o.manifest)
	}
	if err != nil {
		return err
	}
	options := tool.CSVOptions{Params: o.params, Long: o.long, Reference: o.compat}
	if o.output == "" || o.output == "-" {
		if err := buffered(p.stdout, func(w io.Writer) error { return tool.WriteCSV(w, manifest, options) }); err != nil || !o.compat {
			return err
		}
		_, err := fmt.Fprintln(p.stdout)
		return err
	}
	name := o.output
	if o.compat || filepath.Ext(name) != ".csv" {
		name += ".csv"
	}
	file, err := p.createOutput(name)
	if err != nil {
		return err
	}
	return file.Commit(func(w io.Writer) error {
		return buffered(w, func(w io.Writer) error { return tool.WriteCSV(w, manifest, options) })
	})
}
