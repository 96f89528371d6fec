package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"noether/internal/impact/builtin"
	"noether/internal/impact/fault"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

func newImpact(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "impact",
		Short: "Run Impact Framework manifests: from energy to carbon and SCI scores",
		Long: `impact runs manifests of the Impact Framework, and what belongs to them. It is
the engine of if-run in this one binary, without Node, with importers from and
publishers to Prometheus.

Where the framework's own engine 1.1.0 gives wrong answers, this one gives the
right one or a clear error; --compat reproduces the framework bit for bit. The
binary called as if-run, if-diff, if-check, if-env, if-csv, if-merge,
if-metadata-check or if-api takes the flags of that command and implies --compat.

Start here:
  noether impact check --lint -m manifest.yml   what looks wrong, without running it
  noether impact run -m manifest.yml            run it, result on standard output
  noether impact report -m manifest.yml         the disclosure of its SCI score`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		code := exitUsage
		if slices.Contains(p.args, "--compat") {
			code = exitFailed // the framework's
		}
		return &exitError{code, fmt.Errorf("%w: %s --help lists the flags", err, cmd.CommandPath())}
	})
	cmd.AddCommand(newImpactRun(p), newImpactReport(p), newImpactCheck(p), newImpactDiff(p), newImpactCSV(p),
		newImpactMerge(p), newImpactEnv(p), newImpactMetadata(p), newImpactServe(p))
	return cmd
}

// reach is how far a run of a manifest may reach outside itself.
type reach struct {
	allowShell, dryRun bool
	maxDownload        int // MiB
	timeout            time.Duration
}

func (r *reach) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.allowShell, "allow-shell", false, "let the Shell method run the commands that the manifest names")
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "publish nothing: plugins say what they would send")
	cmd.Flags().IntVar(&r.maxDownload, "max-download", defaultDownload, "largest file to fetch from the web, in MiB")
	cmd.Flags().DurationVar(&r.timeout, "timeout", defaultTimeout, "longest time for one request")
}

const (
	defaultDownload = 64 // MiB
	defaultTimeout  = time.Minute
)

// dialect returns the differences from the Impact Framework that a run has.
func dialect(compat bool) plugin.Dialect {
	if compat {
		return plugin.Reference()
	}
	return plugin.Noether()
}

// pluginEnv returns what plugins may touch of the world.
func (p *process) pluginEnv(d plugin.Dialect, r *reach, warn func(string, ...any)) *plugin.Env {
	client := webClient(r.timeout)
	return &plugin.Env{
		Dialect: d, Now: time.Now, Getenv: p.getenv, HTTP: client,
		Open: func(ctx context.Context, name string) (io.ReadCloser, error) {
			if isURL(name) {
				return fetch(ctx, client, name, int64(r.maxDownload)<<20)
			}
			return os.Open(name)
		},
		AllowShell: r.allowShell, DryRun: r.dryRun, Disabled: map[string]string{},
		Warn: warn, Random: rand.Float64,
	}
}

// getenv returns a variable of the process's environment; of two the last counts.
func (p *process) getenv(name string) string {
	for _, entry := range slices.Backward(p.env) {
		if k, v, ok := strings.Cut(entry, "="); ok && k == name {
			return v
		}
	}
	return ""
}

func isURL(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

// webClient returns the client of plugins: certificates are verified, and
// nothing that was asked for by https is taken from http.
func webClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			switch {
			case len(via) >= 10:
				return errors.New("more than ten redirects")
			case req.URL.Scheme != "https" && via[0].URL.Scheme == "https":
				return errors.New("a redirect from https to http")
			}
			return nil
		},
	}
}

// fetch opens a file of the web. Reading more than limit bytes is an error.
func fetch(ctx context.Context, client *http.Client, address string, limit int64) (io.ReadCloser, error) {
	shown := builtin.ShownURL(address)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("get %s: it is no address", shown)
	}
	reply, err := client.Do(req)
	if u, ok := errors.AsType[*url.Error](err); ok {
		return nil, fmt.Errorf("get %s: %w", shown, u.Err) // u has the whole address in it
	}
	if err != nil {
		return nil, err
	}
	if reply.StatusCode != http.StatusOK {
		_ = reply.Body.Close()
		return nil, fmt.Errorf("get %s: %s", shown, reply.Status)
	}
	return &bounded{reply.Body, limit, fmt.Sprintf("get %s: it is larger than %d MiB: see --max-download", shown, limit>>20)}, nil
}

// bounded is a body of which only so much may be read.
type bounded struct {
	io.ReadCloser
	left    int64
	message string
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errors.New(b.message)
	}
	return n, err
}

// maxManifest bounds a manifest in bytes; ten million observations fit.
const maxManifest = 2 << 30

// readFile returns the content of a file, of standard input for "-".
func (p *process) readFile(name string) ([]byte, error) {
	if name != "-" {
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return nil, err
		case info.Size() > maxManifest:
			return nil, fmt.Errorf("read %s: it is larger than %d GiB", name, maxManifest>>30)
		case info.Mode().IsRegular():
			return os.ReadFile(name)
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		src, err := limited(f, name)
		return src, errors.Join(err, f.Close())
	}
	return limited(p.stdin, "standard input")
}

func limited(r io.Reader, name string) ([]byte, error) {
	src, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err == nil && len(src) > maxManifest {
		err = fmt.Errorf("read %s: it is larger than %d GiB", name, maxManifest>>30)
	}
	return src, err
}

// readManifest reads and parses a YAML file. Errors have the class that the
// Impact Framework gives them, ReadFileError, and name the file.
func (p *process) readManifest(name string) (value.Value, error) {
	src, err := p.readFile(name)
	if err != nil {
		return value.Value{}, unreadable(name, err)
	}
	v, err := jsyaml.Parse(src)
	if err != nil {
		if f, ok := errors.AsType[*fault.Error](err); ok {
			err = &fault.Error{Class: fault.ReadFile, Message: f.Message, Cause: err}
		}
		return value.Value{}, fmt.Errorf("read %s: %w", name, err)
	}
	return v, nil
}

// unreadable words why a file could not be read, as Node's runtime does.
func unreadable(name string, err error) error {
	where := name
	if abs, e := filepath.Abs(name); e == nil {
		where = abs
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &fault.Error{Class: fault.ReadFile, Message: fmt.Sprintf("ENOENT: no such file or directory, open '%s'", where), Cause: err}
	case errors.Is(err, fs.ErrPermission):
		return &fault.Error{Class: fault.ReadFile, Message: fmt.Sprintf("EACCES: permission denied, open '%s'", where), Cause: err}
	case errors.Is(err, syscall.EISDIR):
		return &fault.Error{Class: fault.ReadFile, Message: fmt.Sprintf("EISDIR: illegal operation on a directory, read '%s'", where), Cause: err}
	}
	return &fault.Error{Class: fault.ReadFile, Message: err.Error(), Cause: err}
}

// isYAML reports whether a file's name says that it is a manifest.
func isYAML(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yml" || ext == ".yaml"
}
