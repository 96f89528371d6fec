package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version and revision are set by the linker: -X main.version=v1.2.3. Without
// a revision it is what the go command found out about the checkout.
var version, revision string //nolint:gochecknoglobals // the linker sets them and nothing else

// buildInfo says what this binary is.
type buildInfo struct {
	version, revision, goVersion string
}

func build() buildInfo {
	b := buildInfo{version: version, revision: revision, goVersion: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if b.version == "" && info.Main.Version != "(devel)" {
			b.version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && b.revision == "" {
				b.revision = s.Value
			}
		}
	}
	b.version, b.revision = cmp.Or(b.version, "devel"), cmp.Or(b.revision, "unknown")
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
