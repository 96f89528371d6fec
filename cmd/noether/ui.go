package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"noether/internal/config"
	"noether/internal/export"
	"noether/internal/promclient"
	"noether/internal/web"
	"noether/internal/web/promproxy"
	"noether/ui"
)

// uiOptions are the flags of the page over a Prometheus.
type uiOptions struct {
	prometheus string
	listen     []string
	step       time.Duration
}

// Bounds of --step.
const (
	minStep = time.Second
	maxStep = 5 * time.Minute // a series without a sample for longer counts as gone
)

func newUI(p *process) *cobra.Command {
	var flags *config.Flags
	var o uiOptions
	cmd := &cobra.Command{
		Use:   "ui",
		Short: "Serve the page over a Prometheus that scrapes agents",
		Long: `ui serves the same page as an agent, with figures that a server of the Prometheus
query API holds: Prometheus, Thanos, Mimir, VictoriaMetrics, or another agent.

  /                            the page, for people
  /api/v1/…                    what the page asks, passed on to that server
  /healthz, /readyz            for whoever watches over it

Only requests that read series are passed on, without any header of the browser.
Credentials come from the environment: PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD
or PROMETHEUS_PASSWORD_FILE; PROMETHEUS_BEARER_TOKEN or PROMETHEUS_BEARER_TOKEN_FILE;
PROMETHEUS_CA_FILE, PROMETHEUS_CERT_FILE and PROMETHEUS_KEY_FILE,
PROMETHEUS_SERVER_NAME; PROMETHEUS_TENANT is sent as X-Scope-OrgID. Whoever reaches
this page may query all that they allow: --web.config-file asks for a password.
SIGINT and SIGTERM stop it.`,
		Example: `  noether ui --prometheus http://127.0.0.1:9090
  noether ui --prometheus https://mimir.example/prometheus --step 60s
  noether ui --prometheus http://vmselect:8481/select/0/prometheus --listen :9879 --web.config-file web.yml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.prometheus == "" {
				return &exitError{exitUsage, errors.New("ui needs the address of a Prometheus: --prometheus http://HOST:9090; an agent serves its page by itself")}
			}
			if o.step < minStep || o.step > maxStep {
				return &exitError{exitUsage, fmt.Errorf("--step %s is out of range: choose %s to %s", o.step, minStep, maxStep)}
			}
			cfg, err := load(p, flags)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // from now on a signal does what it does to any process
			return runUI(ctx, p, &cfg, &o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.prometheus, "prometheus", p.getenv("NOETHER_PROMETHEUS_URL"), "URL of the server that is asked, with the path before /api/v1 if it has one")
	f.StringArrayVar(&o.listen, "listen", []string{"127.0.0.1:9879"}, "HOST:PORT of the page; repeat it for several; port 0 takes a free one")
	f.DurationVar(&o.step, "step", 30*time.Second, "how often that server scrapes the agents: its scrape_interval")
	flags = register(cmd, "config", "web.config-file", "web.allowed-hosts", "web.external-url", "log.level", "log.format")
	return cmd
}

// runUI serves the page until ctx is done.
func runUI(ctx context.Context, p *process, cfg *config.Config, o *uiOptions) error {
	log := newLogger(p.stderr, cfg)
	address, err := promclient.CheckURL(o.prometheus)
	if err != nil {
		return &exitError{exitUsage, fmt.Errorf("--prometheus: %w", err)}
	}
	credentials, err := promclient.FromEnvironment(p.getenv, "PROMETHEUS")
	if err != nil {
		return &exitError{exitUsage, err}
	}
	client, err := promclient.New(promclient.Options{URL: o.prometheus, Credentials: credentials, UserAgent: "noether/" + build().version, Timeout: promproxy.Timeout})
	if err != nil {
		return err
	}
	defer client.Close()
	server, err := web.New(web.Options{
		Listen:       o.listen,
		ConfigFile:   cfg.WebConfig,
		AllowedHosts: cfg.AllowedHosts,
		ExternalURL:  cfg.External(),
		Files:        ui.Files(),
		API:          promproxy.New(promproxy.Options{Client: client, Log: log}),
		About:        export.About{Version: build().version},
		Page:         func() (any, error) { return uiPage(address, o.step, time.Now()), nil },
		Now:          time.Now,
		Log:          log,
	})
	if err != nil {
		return err
	}
	if err := server.Listen(ctx); err != nil {
		return err
	}
	warnOpen(ctx, log, cfg, &credentials, server.Addrs())
	announcePage(log, cfg, server.Addrs())
	err = server.Run(ctx)
	log.InfoContext(ctx, "stopped")
	return err
}

// uiPage is what the page needs to know where a Prometheus answers. What the
// agents were told is not known here.
func uiPage(address *url.URL, step time.Duration, now time.Time) pageInfo {
	return pageInfo{
		Version: build().version, Source: fromPrometheus, Backend: address.Host,
		Interval: step.Seconds(), Step: step.Seconds(), Now: unixSeconds(now),
	}
}

// warnOpen says when credentials are lent to whoever reaches the page.
func warnOpen(ctx context.Context, log *slog.Logger, cfg *config.Config, c *promclient.Credentials, addrs []net.Addr) {
	if cfg.WebConfig != "" || c.Username == "" && c.Token == "" && c.TokenFile == "" && c.CertFile == "" {
		return
	}
	for _, a := range addrs {
		if tcp, ok := a.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
			log.WarnContext(ctx, "whoever reaches this address may query Prometheus with the credentials of this process",
				slog.String("address", a.String()), slog.String("remedy", "--web.config-file with basic_auth_users"))
			return
		}
	}
}
