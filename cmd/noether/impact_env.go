package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"noether/internal/impact/builtin"
	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/tool"
)

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
