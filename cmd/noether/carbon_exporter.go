package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"noether/internal/config"
	"noether/internal/grid"
	"noether/internal/grid/configmap"
	"noether/internal/grid/exporter"
	"noether/internal/grid/watch"
	"noether/internal/identity/kube"
	"noether/internal/web"
)

// exporterOptions are the flags of the exporter.
type exporterOptions struct {
	listen    []string
	configMap string
}

func newCarbonExporter(p *process) *cobra.Command {
	c := &carbonCommand{p: p}
	var o exporterOptions
	c.cmd = &cobra.Command{
		Use:   "exporter",
		Short: "Ask the providers once for a whole cluster and serve the intensity to all",
		Long: `exporter watches grid zones and serves what it knows of them:

  /metrics                              for Prometheus (text, OpenMetrics, gzip)
  /api/noether/v1/forecast?zone=ZONE    now, past and forecast as JSON
  /healthz, /readyz                     for whoever watches over it

Agents read it with --grid.hub http://HOST:9878, so that one component and not every
node asks the provider, and only it needs the provider's token.

With --configmap it keeps the ConfigMap that carbon-aware operators of Kubernetes
read, with the forecast of the one zone. That needs a Role in the namespace with
{apiGroups: [""], resources: [configmaps], verbs: [get, create, update, delete]}.
SIGINT and SIGTERM stop it.`,
		Example: `  noether carbon exporter --zone DE --zone FR --provider energy-charts
  noether carbon exporter --listen :9878 --zone US-CAL-CISO --provider electricitymaps --token-file /etc/noether/token
  noether carbon exporter --zone GB --provider neso --grid.factor direct --configmap kube-system/carbon-intensity`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var name configmap.Name
			if o.configMap != "" {
				var err error
				if name, err = configmap.ParseName(o.configMap); err != nil {
					return &exitError{exitUsage, fmt.Errorf("--configmap %w", err)}
				}
			}
			cfg, places, log, err := c.load(true)
			if err != nil {
				return err
			}
			if o.configMap != "" && len(places) > 1 {
				return &exitError{exitUsage, fmt.Errorf("--configmap has the forecast of one zone, and there are %d: run an exporter for each", len(places))}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // from now on a signal does what it does to any process
			return c.runExporter(ctx, &cfg, places, &o, name, log)
		},
	}
	f := c.cmd.Flags()
	f.StringArrayVar(&o.listen, "listen", []string{"127.0.0.1:9878"}, "HOST:PORT of the pages; repeat it for several; port 0 takes a free one")
	f.StringVar(&o.configMap, "configmap", "", "keep this ConfigMap, NAMESPACE/NAME, such as kube-system/carbon-intensity")
	c.register(true, false, "kube-config", "kube-token-file", "web.config-file", "web.allowed-hosts")
	return c.cmd
}

// runExporter starts the parts and stops them when ctx is done or one fails.
func (c *carbonCommand) runExporter(ctx context.Context, cfg *config.Config, places []place, o *exporterOptions, name configmap.Name, log *slog.Logger) error {
	b := build()
	shown := exporter.Options{Now: c.now, Version: b.version, Revision: b.revision, GoVersion: b.goVersion, OS: runtime.GOOS, Arch: runtime.GOARCH}
	var watches []*watch.Watch
	for i := range places {
		at := &places[i]
		w, err := at.watch(c.now, log) //nolint:contextcheck // it asks nobody before it runs
		if err != nil {
			return &exitError{exitUsage, err}
		}
		watches = append(watches, w)
		shown.Names = append(shown.Names, at.zone)
		shown.Zones = append(shown.Zones, func() exporter.Zone { return shownZone(w.Latest(), c.now()) })
	}
	var keeper *configMapKeeper
	if o.configMap != "" {
		client, url, err := kube.CoreClient(kube.Options{Kubeconfig: cfg.Kube.Config, TokenFile: cfg.Kube.TokenFile, Version: b.version}, configmap.Kinds())
		if err != nil {
			return remedied(err)
		}
		keeper = &configMapKeeper{
			store: configmap.NewStore(client, url, name), name: name,
			state: watches[0].Latest, now: c.now, log: log,
		}
	}
	server, err := web.NewFor(web.Options{
		Listen: o.listen, ConfigFile: cfg.WebConfig, AllowedHosts: cfg.AllowedHosts, Now: c.now, Log: log,
	}, exporter.New(shown))
	if err != nil {
		return err
	}
	if err := server.Listen(ctx); err != nil {
		return err
	}
	scheme := "http"
	if usesTLS(cfg.WebConfig) {
		scheme = "https"
	}
	for _, a := range server.Addrs() {
		//nolint:sloglint // people copy the address from this line
		log.InfoContext(ctx, fmt.Sprintf("listening on %s://%s/metrics", scheme, a))
	}
	running, ctx := errgroup.WithContext(ctx)
	for _, w := range watches {
		running.Go(func() error { return w.Run(ctx) })
	}
	if keeper != nil {
		running.Go(func() error { return keeper.run(ctx) })
	}
	running.Go(func() error { return server.Run(ctx) })
	err = running.Wait()
	log.InfoContext(ctx, "stopped")
	return err
}

// shownZone is what the page shows of a state at one time.
func shownZone(s *watch.State, now time.Time) exporter.Zone {
	z := exporter.Zone{Zone: s.Zone, Signal: s.Signal, Factor: s.Factor}
	// Before the first answer nothing stands in: agents would take it for what
	// the provider says, and forget what they know.
	begun := len(s.Sources) == 0 || s.Sources[0].Requests > 0
	if v, ok := s.Between(now, now); ok && begun {
		z.Known, z.Provider, z.Updated = true, v.Provider, v.Updated
		z.Now = grid.Sample{From: now, To: now, Intensity: v.Intensity.GramsPerKWh(), Estimated: v.Estimated}
		for _, p := range s.Past {
			if !p.From.After(now) && p.To.After(now) {
				z.Now.From, z.Now.To = p.From, p.To
			}
		}
	}
	convert := func(in []watch.Sample) []grid.Sample {
		out := make([]grid.Sample, len(in))
		for i, p := range in {
			out[i] = grid.Sample{From: p.From, To: p.To, Intensity: p.Intensity.GramsPerKWh(), Estimated: p.Estimated}
		}
		return out
	}
	z.Past, z.Forecast = convert(s.Past), convert(s.Forecast)
	if len(s.Forecast) > 0 {
		z.ForecastBy = s.Forecast[0].Provider
	}
	for _, src := range s.Sources {
		z.Sources = append(z.Sources, exporter.Source{Name: src.Provider, Up: src.Up, Requests: src.Requests, Failures: src.Failures, Success: src.Success})
	}
	return z
}

// The distances between looks at what the ConfigMap would hold.
const (
	configMapLook  = 15 * time.Second
	configMapBeat  = time.Hour       // between two writes of the same forecast
	configMapWait  = 5 * time.Minute // after a failure
	configMapAhead = 24 * time.Hour  // as the exporter that the form is from
)

// configMapKeeper writes the forecast of one zone whenever it is another. One
// goroutine runs it.
type configMapKeeper struct {
	store *configmap.Store
	name  configmap.Name
	state func() *watch.State
	now   func() time.Time
	log   *slog.Logger

	written []grid.Sample // the forecast in the ConfigMap
	noted   bool          // the ConfigMap says that there is none
	beat    time.Time     // when it was written last
	said    string        // by the last line of the log
}

func (k *configMapKeeper) run(ctx context.Context) error {
	ticker := time.NewTicker(configMapLook)
	defer ticker.Stop()
	wait := time.Time{}
	for {
		if now := k.now(); !now.Before(wait) {
			if err := k.look(ctx, now); err != nil && ctx.Err() == nil {
				wait = now.Add(configMapWait)
				k.tell(ctx, slog.LevelError, "the ConfigMap of the forecast cannot be written", err.Error())
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look writes what is known if it says something else than what was written,
// or an hour has passed. While there is no forecast the last one stays, with a
// message that says so.
func (k *configMapKeeper) look(ctx context.Context, now time.Time) error {
	s := k.state()
	until := now.Add(configMapAhead)
	var samples []grid.Sample
	for _, f := range s.Forecast {
		v := grid.Sample{From: f.From, To: f.To, Intensity: f.Intensity.GramsPerKWh(), Estimated: f.Estimated}
		if isBuiltIn(&v) {
			v.From, v.To = now.Truncate(time.Hour), until.Truncate(time.Hour)
		}
		if v.To.After(now) && v.From.Before(until) {
			samples = append(samples, v)
		}
	}
	due := now.Sub(k.beat) >= configMapBeat
	if len(samples) == 0 {
		if !due && k.noted || k.beat.IsZero() && !asked(s) {
			return nil // it is said, or the first answer is still to come
		}
		if err := k.store.Note(ctx, "no provider has a forecast by now: this one is the last there was", now); err != nil {
			return err
		}
		k.tell(ctx, slog.LevelWarn, "no provider has a forecast: the ConfigMap stays as it is", "")
		k.written, k.noted, k.beat = nil, true, now
		return nil
	}
	if !due && !contradicts(samples, k.written) {
		return nil
	}
	made, err := configmap.Make(k.name, s.Zone, samples, now)
	if err == nil {
		err = k.store.Put(ctx, made)
	}
	if err != nil {
		return err
	}
	k.tell(ctx, slog.LevelInfo, "the ConfigMap of the forecast is written", "")
	k.written, k.noted, k.beat = samples, false, now
	return nil
}

// contradicts tells whether samples say something else of the time that written
// is about. That they reach further is no contradiction: it can wait.
func contradicts(samples, written []grid.Sample) bool {
	if len(written) == 0 {
		return true
	}
	end := written[len(written)-1].To
	for i := range samples {
		s := &samples[i]
		if !s.From.Before(end) {
			break
		}
		if !slices.ContainsFunc(written, func(w grid.Sample) bool {
			return w.From.Equal(s.From) && w.To.Equal(s.To) && w.Intensity == s.Intensity
		}) {
			return true
		}
	}
	return false
}

// asked tells whether every provider of the chain was asked for a value.
func asked(s *watch.State) bool {
	for _, src := range s.Sources {
		if src.Requests == 0 && !src.Up {
			return false
		}
	}
	return true
}

// tell logs changes of state only.
func (k *configMapKeeper) tell(ctx context.Context, level slog.Level, text, reason string) {
	if k.said == text+reason {
		return
	}
	k.said = text + reason
	attrs := []slog.Attr{slog.String("configmap", k.name.String())}
	if reason != "" {
		attrs = append(attrs, slog.Any("error", errors.New(reason)))
	}
	k.log.LogAttrs(ctx, level, text, attrs...) //nolint:sloglint // each caller has a constant
}
