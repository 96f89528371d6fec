// Command noether-release makes a release out of the checkout it is run in; it
// is what make release starts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"noether/deploy/release"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"), os.Stdout, os.Stderr) //nolint:forbidigo // this is a command
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "noether-release:", err)
		os.Exit(1) //nolint:forbidigo // this is a command
	}
}

func run(ctx context.Context, args []string, epoch string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("noether-release", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var s release.Source
	flags.StringVar(&s.Dir, "C", ".", "`root` of the checkout")
	flags.StringVar(&s.Version, "version", "", "`version` of the release (default: what git describe says)")
	flags.StringVar(&s.Revision, "revision", "", "`commit` of the release (default: HEAD)")
	o := release.Options{Progress: stdout}
	flags.StringVar(&o.Out, "o", "dist", "empty `directory` for the files")
	flags.StringVar(&o.Helm, "helm", "", "`program` that packs the chart; without it there is none")
	flags.StringVar(&o.LicenceReport, "licence-report", "", "`file` that go-licenses report ./cmd/noether has written")
	arch := flags.String("arch", "amd64,arm64", "`architectures`, with commas between them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("read arguments: %q is not a flag", flags.Arg(0))
	case o.LicenceReport == "":
		return errors.New("read arguments: -licence-report is missing, without which no bill of materials can name licences; make release makes one")
	}
	o.Architectures = strings.Split(*arch, ",")
	s, err := s.Describe(ctx, epoch)
	if err != nil {
		return err
	}
	return s.Make(ctx, o)
}
