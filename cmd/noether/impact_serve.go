package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"noether/internal/impact/builtin"
	"noether/internal/impact/plugin"
	api "noether/internal/impact/serve"
	"noether/internal/impact/value"
)

// serveOptions are the flags of impact serve.
type serveOptions struct {
	port, host             string
	disabled               string
	allowNetwork, compat   bool
	maxBody, concurrency   int
	maxRows                int // made by the plugins of one run
	runTimeout, webTimeout time.Duration
	debug                  bool
}

// defaultMaxRows keeps a short manifest from taking gigabytes: a row takes up to
// half a kilobyte.
const defaultMaxRows = 1_000_000

func newImpactServe(p *process) *cobra.Command {
	o := &serveOptions{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run manifests that are posted by HTTP",
		Long: `serve answers the interface of the Impact Framework's if-api:

  GET  /health     OK
  POST /v1/run     a manifest as application/yaml or application/json; back comes the
                   manifest with its outputs, in the form that Accept names, else
                   in that of the request. ?observe=true, ?regroup=true and
                   ?compute=true run one phase.

200 is a run, 400 a manifest that failed (it has the error), 413 a manifest that
is too large, 415 another content type, 503 too many runs at a time.

A posted manifest reaches nothing but itself: methods that run commands, read
files or ask the network are refused. --allow-network lets manifests send
requests to wherever they like from here, without credentials: mind what this
host can reach. Nothing is published and no file is read or written even then.`,
		Example: `  noether impact serve
  noether impact serve -b 0.0.0.0 -p 8080 --max-body 64
  curl -H 'Content-Type: application/yaml' --data-binary @manifest.yml http://127.0.0.1:3000/v1/run`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runServe(cmd.Context(), p, o) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.port, "port", "p", "3000", "port to listen on")
	f.StringVarP(&o.host, "host", "b", "127.0.0.1", "address to listen on")
	f.StringVarP(&o.disabled, "disabled-plugins", "f", "", "file with methods to refuse, one a line (builtin:Shell), besides those refused anyway")
	f.BoolVar(&o.allowNetwork, "allow-network", false, "let manifests use methods that ask the network")
	f.IntVar(&o.maxBody, "max-body", 16, "largest manifest, in MiB")
	f.IntVar(&o.concurrency, "max-runs", runtime.NumCPU(), "runs at a time")
	f.IntVar(&o.maxRows, "max-rows", defaultMaxRows, "most observations that the plugins of one run may make")
	f.DurationVar(&o.runTimeout, "run-timeout", 5*time.Minute, "longest time for one run")
	f.DurationVar(&o.webTimeout, "timeout", defaultTimeout, "longest time for one request of a plugin")
	f.BoolVar(&o.compat, "compat", false, "run as the Impact Framework 1.1.0 does, its wrong answers included")
	f.BoolVarP(&o.debug, "debug", "d", false, "log each request in detail")
	return cmd
}

func aliasServe(ctx context.Context, p *process, a *aliasArgs) error {
	o := &serveOptions{
		port: "3000", host: "127.0.0.1", disabled: a.get("disabledPlugins"), compat: true, maxBody: 16, maxRows: defaultMaxRows, concurrency: runtime.NumCPU(),
		runTimeout: 5 * time.Minute, webTimeout: defaultTimeout, debug: a.set["debug"],
	}
	if port := a.get("port"); port != "" {
		o.port = port
	}
	if host := a.get("host"); host != "" {
		o.host = host
	}
	return runServe(ctx, p, o)
}

// runServe listens until ctx is done or the process is told to stop.
func runServe(ctx context.Context, p *process, o *serveOptions) error {
	if o.maxBody < 1 || o.concurrency < 1 || o.maxRows < 1 || o.runTimeout <= 0 {
		return &exitError{exitUsage, errors.New("--max-body, --max-runs, --max-rows and --run-timeout must be above 0")}
	}
	methods, err := o.methods()
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if o.debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: level}))
	env := o.env(p, log)
	handler := api.New(api.Options{
		Env: env, Methods: methods, Command: commandLine("noether", p.args),
		Environment: func() *value.Object { return environment("/", time.Now()) },
		MaxBody:     int64(o.maxBody) << 20, Concurrency: o.concurrency, Timeout: o.runTimeout, Log: log,
	})
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", net.JoinHostPort(o.host, o.port))
	if err != nil {
		return fmt.Errorf("%w: choose another -p or -b", err)
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		WriteTimeout: o.runTimeout + 2*time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	log.InfoContext(ctx, "Server started", slog.String("address", l.Addr().String()))
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err = <-ended:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err = server.Shutdown(deadline); err != nil {
		err = errors.Join(fmt.Errorf("stop: runs did not end in time: %w", err), server.Close())
	}
	err = errors.Join(err, ignoreClosed(<-ended))
	log.InfoContext(ctx, "stopped")
	return err
}

// ignoreClosed keeps the error of a server that was not told to stop.
func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// env returns what plugins of posted manifests may touch: with --allow-network
// addresses, and never files, variables or anything that acts on the outside. A
// manifest could else have a secret of this host sent wherever it likes.
func (o *serveOptions) env(p *process, log *slog.Logger) *plugin.Env {
	env := p.pluginEnv(dialect(o.compat), &reach{dryRun: true, maxDownload: defaultDownload, timeout: o.webTimeout}, func(format string, args ...any) {
		log.Debug("warning of a run", slog.String("warning", fmt.Sprintf(format, args...)))
	})
	open := env.Open
	env.Open = func(ctx context.Context, name string) (io.ReadCloser, error) {
		if !o.allowNetwork || !isURL(name) {
			return nil, errors.New("files are not read for posted manifests: put the data into the manifest")
		}
		return open(ctx, name)
	}
	env.MaxRows = o.maxRows
	env.Getenv = func(string) string { return "" }
	return env
}

// methods returns the table with what a posted manifest may not use refused.
func (o *serveOptions) methods() ([]plugin.Method, error) {
	listed := map[string]bool{}
	if o.disabled != "" {
		content, err := os.ReadFile(o.disabled)
		if err != nil {
			return nil, &exitError{exitUsage, err}
		}
		lines := bufio.NewScanner(bytes.NewReader(content))
		for lines.Scan() {
			if line := strings.TrimSpace(lines.Text()); line != "" {
				listed[line[strings.LastIndexByte(line, ':')+1:]] = true
			}
		}
	}
	return api.Disable(builtin.Methods(), func(m *plugin.Method) string {
		switch {
		case listed[m.Name]:
			return "It is disabled on this server."
		case m.Reaches&plugin.Shell != 0:
			return "Commands are not run for posted manifests."
		case m.Reaches != 0 && (!o.allowNetwork || m.Reaches&plugin.Network == 0):
			return "Posted manifests reach neither files nor the network here: put the data into the manifest."
		}
		return ""
	}), nil
}
