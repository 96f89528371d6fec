package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"noether/internal/impact/builtin"
	"noether/internal/impact/fault"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
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

// mergeOptions are the flags of impact merge.
type mergeOptions struct {
	manifests         []string
	output            string
	name, description string
	compat            bool
}

func newImpactMerge(p *process) *cobra.Command {
	o := &mergeOptions{}
	cmd := &cobra.Command{
		Use:   "merge -m A.yml -m B.yml | -m DIRECTORY",
		Short: "Make one manifest of several",
		Long: `merge puts the components of several manifests below one tree: the child c of
dir/m.yml becomes c-dir-m. Two plugins of one name that differ, or two different
aggregation blocks, are an error: rename or align them first.`,
		Example: `  noether impact merge -m team-a/app.yml -m team-b/app.yml -o all.yaml
  noether impact merge -m manifests/ -n fleet`,
		Args: func(_ *cobra.Command, args []string) error {
			o.manifests = append(o.manifests, args...)
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			if len(o.manifests) == 0 {
				return &exitError{exitUsage, errors.New("impact merge needs manifests: -m A.yml -m B.yml, or -m DIRECTORY")}
			}
			return o.run(p)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringSliceVarP(&o.manifests, "manifests", "m", nil, "manifests, or one directory of them; further words are manifests too")
	f.StringVarP(&o.output, "output", "o", "", "file to write; standard output if left out or -")
	f.StringVarP(&o.name, "name", "n", "", "name of the merged manifest")
	f.StringVarP(&o.description, "description", "d", "", "description of the merged manifest")
	return cmd
}

func aliasMerge(_ context.Context, p *process, a *aliasArgs) error {
	o := &mergeOptions{manifests: a.text["manifests"], output: a.get("output"), name: a.get("name"), description: a.get("description"), compat: true}
	return reported(p, o.run(p))
}

func (o *mergeOptions) run(p *process) error {
	files := o.manifests
	if len(files) == 1 {
		found, err := manifestsIn(files[0], false)
		if err != nil {
			return fault.New(fault.InvalidDirectory, "Directory not found.")
		}
		files = found
	}
	var sources []tool.Source
	if o.compat {
		_, _ = fmt.Fprintln(p.stdout, "Merging...")
	}
	for _, name := range files {
		if _, err := os.Stat(name); err != nil {
			return fault.New(fault.ParseCLIParams, "%s Manifest file not found.", name)
		}
		m, err := p.readManifest(name)
		if err != nil {
			return err
		}
		sources = append(sources, tool.Source{File: name, Manifest: m})
	}
	merged, err := tool.Merge(sources, tool.MergeOptions{Name: o.name, Description: o.description, Reference: o.compat})
	if err != nil {
		return err
	}
	if o.output != "" && o.output != "-" {
		path, err := outputPath(o.output, o.compat)
		if err != nil {
			return err
		}
		file, err := p.createOutput(path)
		if err != nil {
			return err
		}
		err = file.Commit(func(w io.Writer) error { return jsyaml.Write(w, merged) })
		if err == nil && o.compat {
			_, err = fmt.Fprint(p.stdout, "\n\nManifests are merged successfully!\n")
		}
		return err
	}
	if !o.compat {
		return jsyaml.Write(p.stdout, merged)
	}
	text := append([]byte("\n# start\n"), jsyaml.Append(nil, merged)...)
	_, err = p.stdout.Write(append(text, "\n# end\n\nManifests are merged successfully!\n"...))
	return err
}

// manifestsIn returns the YAML files of a directory in order, with those of the
// directories below it if deep is set.
func manifestsIn(dir string, deep bool) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir() && deep:
			below, err := manifestsIn(name, true)
			if err != nil {
				return nil, err
			}
			out = append(out, below...)
		case !e.IsDir() && isYAML(name):
			out = append(out, name)
		}
	}
	return out, nil
}

func newImpactEnv(p *process) *cobra.Command {
	var manifest string
	cmd := &cobra.Command{
		Use:   "env -m MANIFEST",
		Short: "Say whether this engine has what a manifest needs",
		Long: `env lists the plugins of a manifest, whether this engine has them and what they
reach outside the manifest. Nothing is installed: all methods are in this binary.
The exit code is 1 if one is missing.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if manifest == "" {
				return &exitError{exitUsage, errors.New("impact env needs a manifest: -m FILE")}
			}
			return listNeeds(p, manifest)
		},
	}
	cmd.Flags().StringVarP(&manifest, "manifest", "m", "", "the manifest; - is standard input")
	return cmd
}

func listNeeds(p *process, name string) error {
	manifest, err := p.readManifest(name)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "plugin\tmethod\tpath\there\treaches")
	missing := 0
	for _, n := range tool.Needs(manifest, builtin.Methods()) {
		here := "yes"
		if !n.Present {
			missing++
			here = "no: " + n.Remedy
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", n.Plugin, n.Method, n.Path, here, reaches(n.Reaches))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if missing > 0 {
		return &exitError{exitFailed, fmt.Errorf("%d plugins are missing", missing)}
	}
	return nil
}

func reaches(r plugin.Reach) string {
	var words []string
	for _, w := range []struct {
		bit  plugin.Reach
		word string
	}{{plugin.Files, "files"}, {plugin.Network, "network"}, {plugin.Shell, "shell (--allow-shell)"}} {
		if r&w.bit != 0 {
			words = append(words, w.word)
		}
	}
	if words == nil {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

// aliasEnv is if-env: this engine has nothing to install, so that the only file
// it makes is the template manifest that if-env makes without one.
func aliasEnv(_ context.Context, p *process, a *aliasArgs) error {
	if name := a.get("manifest"); name != "" {
		if !isYAML(name) {
			return reported(p, fault.New(fault.CLISourceFile, "Given source file is not in yaml format."))
		}
		if _, err := os.Stat(name); err != nil {
			return reported(p, fault.New(fault.ParseCLIParams, "Manifest file not found."))
		}
		return reported(p, listNeeds(p, name))
	}
	file, err := p.createOutput("manifest.yml")
	if err != nil {
		return &exitError{exitFailed, err}
	}
	return file.Commit(func(w io.Writer) error { _, err := io.WriteString(w, template); return err })
}

// template is a small manifest to begin with.
const template = `name: template manifest
description: energy of a server in carbon per request
tags: null
initialize:
  plugins:
    operational:
      path: builtin
      method: Multiply
      config:
        input-parameters: [energy, grid/carbon-intensity]
        output-parameter: carbon
    sci:
      path: builtin
      method: Sci
      config:
        functional-unit: requests
tree:
  children:
    server:
      pipeline:
        compute: [operational, sci]
      inputs:
        - timestamp: 2024-01-01T00:00:00Z
          duration: 3600
          energy: 0.25
          grid/carbon-intensity: 350
          requests: 1200
`

func newImpactMetadata(p *process) *cobra.Command {
	var manifest string
	var plugins []string
	cmd := &cobra.Command{
		Use:   "metadata-check -m MANIFEST",
		Short: "Say which parameters have no unit and no aggregation method",
		Long: `metadata-check lists the parameters that the plugins of a manifest read and make
and of which nothing says unit, description and aggregation method. Aggregation
and time-sync need them. What built-in methods know by themselves counts.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if manifest == "" {
				return &exitError{exitUsage, errors.New("impact metadata-check needs a manifest: -m FILE")}
			}
			return checkMetadata(p, manifest, plugins, func(method string) []string {
				var names []string
				for _, m := range builtin.Methods() {
					if m.Name == method {
						for _, param := range slices.Concat(m.Inputs, m.Outputs) {
							names = append(names, param.Name)
						}
					}
				}
				return names
			})
		},
	}
	cmd.Flags().StringVarP(&manifest, "manifest", "m", "", "the manifest; - is standard input")
	cmd.Flags().StringSliceVarP(&plugins, "plugins", "p", nil, "look at these plugins only")
	return cmd
}

func aliasMetadata(_ context.Context, p *process, a *aliasArgs) error {
	err := checkMetadata(p, a.get("manifest"), a.text["plugins"], nil)
	if err == nil {
		return nil
	}
	newConsole(p, true, false).Failed(err)
	return &exitError{code: exitFailed}
}

func checkMetadata(p *process, name string, plugins []string, described func(string) []string) error {
	manifest, err := p.readManifest(name)
	if err != nil {
		return err
	}
	covered, missing := tool.Summary(tool.MetadataCoverage(manifest, plugins, described))
	_, err = fmt.Fprintf(p.stdout, "Metadata coverage percentage:  %.2f%%\n", covered)
	if len(missing) > 0 {
		_, err = fmt.Fprintf(p.stdout, "The following parameters are missing metadata: \n  - %s\n", strings.Join(missing, "\n  - "))
	}
	return err
}
