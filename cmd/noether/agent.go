package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"noether/internal/agent"
	"noether/internal/config"
	"noether/internal/energy"
	"noether/internal/export/ndjson"
	"noether/internal/export/stdout"
	identity "noether/internal/identity/all"
	"noether/internal/probe"
	"noether/internal/snapshot"
	"noether/internal/web"
	"noether/ui"
)

func newAgent(p *process) *cobra.Command {
	var flags *config.Flags
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Measure this machine; serve the result to Prometheus and, as a page, to people",
		Long: `The agent reads the machine's energy sensors and who used the CPU, divides the
energy of each interval exactly, and serves it:

  /                            the page, for people (/plain without scripts)
  /metrics                     for Prometheus (text, OpenMetrics, gzip)
  /api/v1/…, /federate         the history, as a Prometheus answers (for Grafana)
  /api/noether/v1/snapshot     the newest interval as JSON
  /api/noether/v1/{page,check,forecast}   what else the page shows
  /healthz, /readyz            for whoever watches over the agent

History is kept in --store.path: by default in ~/.local/state/noether, for root
in /var/lib/noether, and not at all in a cluster, where a Prometheus does that.

It needs no configuration and no privilege, but sees more with some:
noether check says what, and how. Each flag is also a variable (--log.level is
NOETHER_LOG_LEVEL) and a key of the YAML file; flags win over variables, those
over the file. SIGINT and SIGTERM stop it; a second one stops it at once.`,
		Example: `  noether agent
  noether agent --listen :9877 --node-name "$HOSTNAME"
  noether agent --kube-source api --node-name "$HOSTNAME" --kube-config /etc/noether/kubeconfig
  noether agent --interval 1s --stdout
  noether agent --json --processes all | jq .node
  noether agent --root /host --config /etc/noether/noether.yml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(p, flags)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // from now on a signal does what it does to any process
			return runAgent(ctx, p, &cfg)
		},
	}
	cmd.Flags().SortFlags = false
	flags = register(cmd)
	return cmd
}

// register adds settings to a command as flags, with their words for the shell's completion.
func register(cmd *cobra.Command, names ...string) *config.Flags {
	flags := config.Register(cmd.Flags(), names...)
	for _, s := range config.Table() {
		if words := strings.Split(s.Form, "|"); len(words) > 1 && cmd.Flags().Lookup(s.Name) != nil {
			// The only error is a flag that does not exist.
			_ = cmd.RegisterFlagCompletionFunc(s.Name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	return flags
}

// load returns the settings of a command. Warnings go to standard error.
func load(p *process, flags *config.Flags) (config.Config, error) {
	cfg, warnings, err := config.Load(flags, p.env)
	if err != nil {
		return cfg, &exitError{exitUsage, err}
	}
	if len(warnings) > 0 {
		log := newLogger(p.stderr, &cfg)
		for _, w := range warnings {
			log.Warn("settings", slog.String("warning", w))
		}
	}
	return cfg, nil
}

// runAgent starts the parts in the order in which they need each other, and
// stops them in the reverse order when ctx is done or one of them fails.
func runAgent(ctx context.Context, p *process, cfg *config.Config) (err error) {
	log := newLogger(p.stderr, cfg)
	clock := agent.SystemClock()
	known := about(cfg, clock.Wall())
	kept := openHistory(p, cfg, known, log, clock)
	var latest *agent.Agent
	newest := func() *snapshot.Snapshot { return latest.Snapshot() }
	documents := &agentDocuments{cfg: cfg, clock: clock, history: kept, snapshot: newest}
	server, err := web.New(web.Options{
		Listen:       cfg.Listen,
		ConfigFile:   cfg.WebConfig,
		AllowedHosts: cfg.AllowedHosts,
		ExternalURL:  cfg.External(),
		Files:        ui.Files(),
		API:          kept.api(known, log, clock),
		NoAPI:        kept.off,
		Page:         documents.page,
		Check:        documents.check,
		Forecast:     documents.forecast,
		Snapshot:     newest,
		About:        known,
		Interval:     cfg.Agent.Interval,
		Now:          clock.Wall,
		Log:          log,
	})
	if err != nil {
		return err
	}

	namers, err := openNames(cfg, log, clock)
	if err != nil {
		return err
	}
	around, err := openSite(p, cfg, nodeOf(cfg, namers), log, clock.Wall) //nolint:contextcheck // a watch has a context when it runs
	if err != nil {
		return err
	}
	m, err := openMachine(ctx, p, cfg, log, clock, 0)
	if err != nil {
		return err
	}
	out := tickOutput(p, cfg, log)
	if out != nil {
		signal.Ignore(syscall.SIGPIPE) // a closed pipe is an error of the write, not the end of the process
		defer signal.Reset(syscall.SIGPIPE)
	}
	a, err := agent.New(agent.Options{
		Config:   cfg.Agent,
		Sensors:  m.sensors,
		Verdicts: m.verdicts,
		Rest:     cfg.Rest(),
		Usage:    m.usage,
		Owners:   m.owners,
		Names:    identity.Combine(namers...),
		Site:     around,
		Clock:    clock,
		Log:      log,
		OnTick: func(s *snapshot.Snapshot) {
			out.Offer(s)
			kept.offer(s)
		},
	})
	if err != nil {
		return errors.Join(err, m.close())
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	latest = a
	documents.machine, documents.grid = m, around.Grid

	if err := server.Listen(ctx); err != nil {
		return err
	}
	announce(log, cfg, m, server.Addrs())
	debug.FreeOSMemory() // opening left garbage that is never needed again, BTF above all

	stopNames := runNames(context.WithoutCancel(ctx), log, namers)
	defer func() { err = errors.Join(err, stopNames()) }()
	stopSite := runSite(context.WithoutCancel(ctx), log, around)
	defer stopSite()
	stopHistory := kept.run(context.WithoutCancel(ctx), log)
	defer stopHistory()
	ticking, stopTicking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTicking()
	ticked := make(chan error, 1)
	go func() { ticked <- a.Run(ticking) }()

	readers, readersCtx := errgroup.WithContext(ctx)
	readers.Go(func() error { return server.Run(readersCtx) })
	readers.Go(func() error { return out.Run(readersCtx) })
	err = readers.Wait()
	if errors.Is(err, errClosed) {
		log.InfoContext(ctx, "standard output was closed: stopping")
		err = nil
	}
	stopTicking()
	err = errors.Join(err, <-ticked)
	stopHistory() // after the last tick, which it still writes
	log.InfoContext(ctx, "stopped")
	return err
}

// tickOutput returns what prints each tick, if that is wanted.
func tickOutput(p *process, cfg *config.Config, log *slog.Logger) *output {
	switch {
	case cfg.JSON:
		return newOutput(p.stdout, log, ndjson.Append)
	case cfg.Stdout:
		opt := stdout.Options{Width: width(p)}
		return newOutput(p.stdout, log, func(dst []byte, s *snapshot.Snapshot) []byte {
			b := bytes.NewBuffer(dst)
			_ = stdout.Write(b, s, opt) // a buffer takes everything
			return append(b.Bytes(), '\n')
		})
	default:
		return nil
	}
}

// announce says once what the agent measures with and where to find it. The
// usage source has said by itself why it was chosen.
func announce(log *slog.Logger, cfg *config.Config, m *machine, addrs []net.Addr) {
	names, quality := m.sensorNames()
	log.Info("measuring energy", slog.String("sensor", names), slog.String("quality", quality.String()))
	for _, v := range m.verdicts {
		if quality == energy.Estimated && !slices.Contains(strings.Split(names, ", "), v.Name) && v.Status != probe.Works && v.Status != probe.Absent {
			log.Warn("a better sensor is out of reach", slog.String("sensor", v.Name),
				slog.String("status", v.Status.String()), slog.String("reason", v.Reason), slog.String("remedy", v.Remedy))
		}
	}
	scheme := "http"
	if usesTLS(cfg.WebConfig) {
		scheme = "https"
	}
	for _, a := range addrs {
		//nolint:sloglint // people copy the address from this line
		log.Info(fmt.Sprintf("listening on %s://%s/metrics", scheme, a))
	}
	announcePage(log, cfg, addrs)
}

// announcePage says where the page is.
func announcePage(log *slog.Logger, cfg *config.Config, addrs []net.Addr) {
	scheme := "http"
	if usesTLS(cfg.WebConfig) {
		scheme = "https"
	}
	if address := pageAddress(cfg.External(), scheme, addrs); address != "" {
		//nolint:sloglint // people copy the address from this line
		log.Info("the page is at " + address)
	}
}

// pageAddress returns where a browser on this machine finds the page, or where
// people are said to reach it.
func pageAddress(external *url.URL, scheme string, addrs []net.Addr) string {
	if external != nil {
		return strings.TrimSuffix(external.String(), "/") + "/"
	}
	if len(addrs) == 0 {
		return ""
	}
	address := addrs[0].String()
	if tcp, ok := addrs[0].(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		address = net.JoinHostPort("localhost", strconv.Itoa(tcp.Port))
	}
	return scheme + "://" + address + "/"
}

// usesTLS reports whether a web configuration, already found valid, has TLS.
func usesTLS(file string) bool {
	if file == "" {
		return false
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	var c struct {
		TLS map[string]any `yaml:"tls_server_config"`
	}
	return yaml.Unmarshal(content, &c) == nil && len(c.TLS) > 0
}
