package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker: -X main.version=v1.2.3.
var version string

// buildInfo says what this binary is.
type buildInfo struct {
	version, revision, goVersion string
}

func build() buildInfo {
	b := buildInfo{version: version, revision: "unknown", goVersion: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if b.version == "" && info.Main.Version != "(devel)" {
			b.version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.revision = s.Value
			}
		}
	}
	if b.version == "" {
		b.version = "devel"
	}
	return b
}

func newVersion(p *process) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print what this binary is",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			b := build()
			_, err := fmt.Fprintf(p.stdout, "noether %s (revision %s, %s, %s/%s)\n", b.version, b.revision, b.goVersion, runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
