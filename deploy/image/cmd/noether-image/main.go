// Command noether-image builds Noether's container image without a container
// engine, from the checkout it is run in:
//
//	go run ./deploy/image/cmd/noether-image -o noether.tar -ref noether:dev -platform linux/amd64
//
// Its files are those of the Dockerfile, which lays them out by -rootfs.
package main

import (
	"context"
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"noether/deploy/image"
	"noether/deploy/release"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"), os.Stderr) //nolint:forbidigo // this is a command
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "noether-image:", err)
		os.Exit(1) //nolint:forbidigo // this is a command
	}
}

func run(ctx context.Context, args []string, epoch string, stderr io.Writer) error {
	flags := flag.NewFlagSet("noether-image", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("o", "", "write the image as a tar to this `file`")
	rootfs := flags.String("rootfs", "", "lay the image's files out below this `directory`, instead of -o; for one platform")
	ref := flags.String("ref", "", "`name:tag` of the image (default noether:VERSION)")
	platforms := flags.String("platform", "linux/amd64,linux/arm64", "`platforms`, with commas between them")
	binary := flags.String("binary", "", "take this static binary instead of building one; for one platform")
	var s release.Source
	flags.StringVar(&s.Dir, "C", ".", "`root` of the checkout")
	flags.StringVar(&s.Version, "version", "", "`version` of what is built (default: what git describe says)")
	flags.StringVar(&s.Revision, "revision", "", "`commit` of what is built (default: HEAD)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	list := strings.Split(*platforms, ",")
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("read arguments: %q is not a flag", flags.Arg(0))
	case (*out == "") == (*rootfs == ""):
		return errors.New("read arguments: want -o FILE or -rootfs DIRECTORY")
	case len(list) > 1 && (*rootfs != "" || *binary != ""):
		return fmt.Errorf("read arguments: -rootfs and -binary are of one platform: add -platform %s", list[0])
	}
	s, err := s.Describe(ctx, epoch)
	if err != nil {
		return err
	}
	if *ref == "" {
		*ref = "noether:" + s.Number()
	}
	work, err := os.MkdirTemp("", "noether-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a temporary directory

	var images []image.Image
	for _, platform := range list {
		arch, ok := strings.CutPrefix(platform, "linux/")
		if !ok || machine(arch) == elf.EM_NONE {
			return fmt.Errorf("read platform %q: want linux/amd64 or linux/arm64", platform)
		}
		program := *binary
		if program == "" {
			program = filepath.Join(work, "noether-"+arch)
			if err := s.Build(ctx, arch, program); err != nil {
				return err
			}
		} else if err := checkBinary(program, arch); err != nil {
			return fmt.Errorf("read binary %s: %w", program, err)
		}
		if *rootfs != "" {
			return s.Rootfs(ctx, arch, program, *rootfs)
		}
		im, err := s.Image(ctx, *ref, arch, program)
		if err != nil {
			return err
		}
		images = append(images, im)
	}
	a, err := image.Build(images...)
	if err != nil {
		return err
	}
	f, err := os.Create(*out)
	if err != nil {
		return err
	}
	size, err := a.WriteTo(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stderr, "%s: %s, %s, %d bytes, %s\n", *out, *ref, *platforms, size, a.Digest())
	return err
}

func machine(arch string) elf.Machine {
	switch arch {
	case "amd64":
		return elf.EM_X86_64
	case "arm64":
		return elf.EM_AARCH64
	}
	return elf.EM_NONE
}

// checkBinary refuses what an image without a C library could not start.
func checkBinary(name, arch string) error {
	f, err := elf.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if f.Machine != machine(arch) {
		return fmt.Errorf("it is for %s, not for %s", f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("it needs a dynamic loader, and the image has none; build it with CGO_ENABLED=0")
		}
	}
	return nil
}
