package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"noether/internal/impact/fault"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/tool"
	"noether/internal/impact/value"
)

// diffOptions are the flags of impact diff.
type diffOptions struct {
	source, target string
	tolerance      float64
	limit          int
	failAbove      string
	metrics        []string
	compat         bool
}

func newImpactDiff(p *process) *cobra.Command {
	o := &diffOptions{}
	cmd := &cobra.Command{
		Use:   "diff -s SOURCE -t TARGET",
		Short: "Compare two output manifests, or gate a change by how much it grew",
		Long: `diff compares the outputs of two runs and prints where they differ. Name,
description, tags and where a manifest ran do not count, nor the order of keys;
"*" in one fits every plain value in the other; dates are compared as instants.
The exit code is 0 if they agree, 1 if they do not, 2 if they cannot be compared.

With --fail-above 5% it gates a change instead: it prints sci, carbon and energy
of each component before and after, and the exit code is 1 if one of them grew by
more, or is missing in the target. Values may differ freely below that.`,
		Example: `  noether impact diff -s before.yaml -t after.yaml
  noether impact diff -s before.yaml -t after.yaml --tolerance 1e-9
  noether impact diff -s main.yaml -t branch.yaml --fail-above 5% --metric sci
  if-run -m manifest.yml | if-diff -t expected.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := o.run(cmd.Context(), p)
			if o.compat {
				return reported(p, err)
			}
			return asUsage(err)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.source, "source", "s", "", "the manifest to compare with; standard input if left out or -")
	f.StringVarP(&o.target, "target", "t", "", "the manifest to compare")
	f.Float64Var(&o.tolerance, "tolerance", 0, "relative difference up to which numbers agree")
	f.IntVar(&o.limit, "limit", 20, "stop after so many differences; 0 finds all")
	f.StringVar(&o.failAbove, "fail-above", "", "gate: fail if a metric grew by more than this, such as 5%")
	f.StringSliceVar(&o.metrics, "metric", []string{"sci", "carbon", "energy"}, "metrics that --fail-above looks at")
	f.BoolVar(&o.compat, "compat", false, "compare as if-diff 1.1.0 does: first difference only, dates always agree")
	return cmd
}

// asUsage makes 2 the exit code of an error that is not about what was compared.
func asUsage(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	return &exitError{exitUsage, err}
}

func aliasDiff(ctx context.Context, p *process, a *aliasArgs) error {
	o := &diffOptions{source: a.get("source"), target: a.get("target"), compat: true}
	return reported(p, o.run(ctx, p))
}

func (o *diffOptions) run(_ context.Context, p *process) error {
	if o.target == "" {
		return fault.New(fault.ParseCLIParams, "Target is invalid.")
	}
	if o.compat {
		if o.source != "" && !isYAML(o.source) {
			return fault.New(fault.CLISourceFile, "Given source file is not in yaml format.")
		}
		if !isYAML(o.target) {
			return fault.New(fault.CLITargetFile, "Given target file is not in yaml format.")
		}
	}
	source, err := o.readSource(p)
	if err != nil {
		return err
	}
	target, err := p.readManifest(o.target)
	if err != nil {
		return err
	}
	for _, m := range []value.Value{source, target} {
		if m.Object() == nil {
			return fault.New(fault.ManifestValidation, "a manifest is a map with the keys name, initialize and tree")
		}
	}
	if o.failAbove != "" {
		return o.gate(p.stdout, source, target)
	}
	if o.compat {
		o.limit = 1
	}
	found := tool.Diff(source, target, tool.DiffOptions{Reference: o.compat, Tolerance: o.tolerance, Limit: o.limit})
	if len(found) == 0 {
		_, err := fmt.Fprintln(p.stdout, "Files match!")
		return err
	}
	_, err = fmt.Fprintln(p.stdout, "Files do not match!")
	for _, d := range found {
		_, err = fmt.Fprintf(p.stdout, "%s\nsource: %s\ntarget: %s\n", d.Path, d.Source, d.Target)
	}
	return &exitError{exitFailed, err}
}

// readSource reads the source, from standard input if that is where it is: all
// of it, or what stands between "# start" and "# end".
func (o *diffOptions) readSource(p *process) (value.Value, error) {
	if o.source != "" && o.source != "-" {
		return p.readManifest(o.source)
	}
	piped, ok, err := p.pipedManifest(o.compat)
	switch {
	case err != nil:
		return value.Value{}, err
	case !ok:
		return value.Value{}, fault.New(fault.CLISourceFile, "Source is invalid.")
	}
	return piped, nil
}

// pipedManifest reads a manifest from standard input; ok is false if there is none.
func (p *process) pipedManifest(marked bool) (v value.Value, ok bool, err error) {
	src, err := p.readFile("-")
	if err != nil {
		return v, false, err
	}
	if _, rest, found := bytes.Cut(src, []byte("# start\n")); found {
		src, _, _ = bytes.Cut(rest, []byte("\n# end"))
	} else if marked {
		return v, false, nil
	}
	if len(bytes.TrimSpace(src)) == 0 {
		return v, false, nil
	}
	if v, err = jsyaml.Parse(src); err != nil {
		return v, false, fmt.Errorf("read standard input: %w", err)
	}
	return v, true, nil
}

// share reads 5% or 0.05.
func share(s string) (float64, error) {
	digits, isPercent := strings.CutSuffix(strings.TrimSpace(s), "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if err != nil || f < 0 || math.IsInf(f, 0) || f != f {
		return 0, &exitError{exitUsage, fmt.Errorf("--fail-above %q is no share: write 5%% or 0.05", s)}
	}
	if isPercent {
		f /= 100
	} else if f > 1 {
		return 0, &exitError{exitUsage, fmt.Errorf("--fail-above %s is %s00%%: write %[1]s%% if that is what you mean", s, digits)}
	}
	return f, nil
}

// gate prints how metrics changed and fails if one grew too much.
func (o *diffOptions) gate(w io.Writer, source, target value.Value) error {
	most, err := share(o.failAbove)
	if err != nil {
		return err
	}
	list := tool.Growths(source, target, o.metrics)
	if len(list) == 0 {
		return fmt.Errorf("compare %s: neither manifest has outputs with it", strings.Join(o.metrics, ", "))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "component\tmetric\tbefore\tafter\tchange")
	above := 0
	for _, g := range list {
		verdict := ""
		if g.Ratio > most || g.New != g.New {
			verdict = "  above"
			above++
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s%s\n", g.Component, g.Metric, metricText(g.Old), metricText(g.New), changeText(g.Ratio), verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if above > 0 {
		return &exitError{exitFailed, fmt.Errorf("%d of %d figures grew by more than %s or are missing", above, len(list), o.failAbove)}
	}
	return nil
}

func metricText(f float64) string {
	if f != f {
		return "missing"
	}
	return strconv.FormatFloat(f, 'g', 6, 64)
}

func changeText(ratio float64) string {
	switch {
	case ratio != ratio:
		return "-"
	case math.IsInf(ratio, 0):
		return "from zero"
	}
	return fmt.Sprintf("%+.2f %%", 100*ratio)
}
