package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"noether/internal/impact/builtin"
	"noether/internal/impact/tool"
)

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
