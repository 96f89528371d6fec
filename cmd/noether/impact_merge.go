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
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/tool"
)

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
