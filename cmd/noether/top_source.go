package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"noether/internal/agent"
	"noether/internal/config"
	"noether/internal/energy"
	"noether/internal/export/ndjson"
	identity "noether/internal/identity/all"
	"noether/internal/probe"
	"noether/internal/snapshot"
)

// topSource is where snapshots come from.
type topSource interface {
	// about says in a sentence what is read.
	about() string
	// run hands over each new snapshot until ctx is done, and closes what is
	// open. A failure that may pass is told to trouble.
	run(ctx context.Context, offer func(*snapshot.Snapshot), trouble func(error)) error
	// complete tells whether a snapshot is of a whole interval.
	complete(s *snapshot.Snapshot) bool
}

// openTop opens this machine's sensors, or, where a better one is forbidden
// and an agent runs, that agent.
func openTop(ctx context.Context, p *process, cfg *config.Config, o *topOptions, log *slog.Logger) (topSource, error) {
	if o.askAgent {
		return openTopRemote(ctx, o.agentURL, o.interval)
	}
	own, forbidden, err := openTopLocal(ctx, p, cfg, log)
	if err == nil && forbidden == "" {
		return own, nil
	}
	remote, remoteErr := openTopRemote(ctx, o.agentURL, o.interval)
	if remoteErr == nil && (err != nil || remote.quality < own.quality) {
		remote.why = forbidden
		if err != nil {
			remote.why = err.Error()
		} else if err := own.close(); err != nil {
			return nil, err
		}
		return remote, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w; and no agent answers: %w", err, remoteErr)
	}
	if remoteErr == nil {
		remote.client.CloseIdleConnections()
	}
	own.hint = forbidden
	return own, nil
}

// topLocal is an agent in this process.
type topLocal struct {
	agent    *agent.Agent
	stop     func() error
	offer    func(*snapshot.Snapshot)
	sensor   string
	quality  energy.Quality
	interval time.Duration
	hint     string // what would measure better
}

// openTopLocal opens this machine. Forbidden names a better sensor that this
// user may not read, with what mends it.
func openTopLocal(ctx context.Context, p *process, cfg *config.Config, log *slog.Logger) (_ *topLocal, forbidden string, err error) {
	clock := agent.SystemClock()
	namers, err := openNames(cfg, log, clock)
	if err != nil {
		return nil, "", err
	}
	around, err := openSite(p, cfg, nodeOf(cfg, namers), log, clock.Wall) //nolint:contextcheck // a watch has a context when it runs
	if err != nil {
		return nil, "", err
	}
	m, err := openMachine(ctx, p, cfg, log, clock, briefly)
	if err != nil {
		return nil, "", err
	}
	l := &topLocal{interval: cfg.Agent.Interval}
	l.sensor, l.quality = m.sensorNames()
	for _, v := range m.verdicts {
		if (v.Status == probe.Forbidden || v.Status == probe.Masked) && l.quality == energy.Estimated && forbidden == "" {
			forbidden = fmt.Sprintf("%s is %s to this user (%s)", v.Name, v.Status, v.Remedy)
		}
	}
	l.agent, err = agent.New(agent.Options{
		Config: cfg.Agent, Sensors: m.sensors, Verdicts: m.verdicts, Rest: cfg.Rest(), Usage: m.usage, Owners: m.owners,
		Names: identity.Combine(namers...), Site: around, Clock: clock, Log: log,
		OnTick: func(s *snapshot.Snapshot) { l.offer(s) },
	})
	if err != nil {
		return nil, "", errors.Join(err, m.close())
	}
	stopNames := runNames(context.WithoutCancel(ctx), log, namers)
	stopSite := runSite(context.WithoutCancel(ctx), log, around)
	l.stop = func() error {
		stopSite()
		return stopNames()
	}
	return l, forbidden, nil
}

func (l *topLocal) about() string {
	text := "energy from " + l.sensor
	if l.hint != "" {
		text += "; " + l.hint
	}
	return text
}

func (l *topLocal) run(ctx context.Context, offer func(*snapshot.Snapshot), _ func(error)) error {
	l.offer = offer
	return errors.Join(l.agent.Run(ctx), l.close())
}

func (l *topLocal) close() error { return errors.Join(l.stop(), l.agent.Close()) }

// complete is false of the first tick of an agent whose interval is longer.
func (l *topLocal) complete(s *snapshot.Snapshot) bool { return s.Elapsed > l.interval*9/10 }

// topRemote is a running agent, read over HTTP.
type topRemote struct {
	url      string
	shown    string // the URL without a password
	client   http.Client
	interval time.Duration
	quality  energy.Quality // the worst of what that agent measures
	first    *snapshot.Snapshot
	why      string // it is asked
}

func openTopRemote(ctx context.Context, address string, interval time.Duration) (*topRemote, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, &exitError{exitUsage, fmt.Errorf("--agent %q is no address of an agent: write it like %s", address, defaultAgent)}
	}
	r := &topRemote{
		url: strings.TrimRight(u.String(), "/") + "/api/noether/v1/snapshot", shown: strings.TrimRight(u.Redacted(), "/"),
		client: http.Client{Timeout: agentTimeout}, interval: interval,
	}
	if r.first, err = r.get(ctx); err != nil {
		return nil, err
	}
	for i := range r.first.Nodes {
		r.quality = max(r.quality, r.first.Nodes[i].Quality)
	}
	return r, nil
}

func (r *topRemote) get(ctx context.Context) (*snapshot.Snapshot, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask the agent at %s: %w", r.shown, err)
	}
	reply, err := r.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // which names the whole URL
		}
		return nil, fmt.Errorf("ask the agent at %s: %w", r.shown, err)
	}
	defer reply.Body.Close() //nolint:errcheck // it was read
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the agent at %s: it answers %s", r.shown, reply.Status)
	}
	line, err := io.ReadAll(io.LimitReader(reply.Body, ndjson.MaxLine+1))
	if err != nil {
		return nil, fmt.Errorf("read the snapshot of the agent at %s: %w", r.shown, err)
	}
	s, err := ndjson.Decode(line)
	if err != nil {
		return nil, fmt.Errorf("ask the agent at %s: %w", r.shown, err)
	}
	return s, nil
}

func (r *topRemote) about() string {
	text := "read from the agent at " + r.shown
	if r.why != "" {
		text += ": " + r.why
	}
	return text
}

func (r *topRemote) run(ctx context.Context, offer func(*snapshot.Snapshot), trouble func(error)) error {
	defer r.client.CloseIdleConnections()
	offer(r.first)
	last, lost := r.first, time.Time{}
	ticker := time.NewTicker(r.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		s, err := r.get(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if lost.IsZero() {
				lost = time.Now()
			}
			trouble(fmt.Errorf("no news since %s: %w", lost.Format(time.TimeOnly), err))
		case s.Seq != last.Seq || !s.Start.Equal(last.Start) || !lost.IsZero():
			last, lost = s, time.Time{}
			offer(s)
		}
	}
}

func (*topRemote) complete(*snapshot.Snapshot) bool { return true }

// quiet returns the settings for a log that only speaks of what goes wrong,
// unless it is asked for more.
func quiet(cfg *config.Config) *config.Config {
	q := *cfg
	if q.LogLevel == slog.LevelInfo {
		q.LogLevel = slog.LevelError
	}
	return &q
}

// topLog takes the log while the terminal is the screen's.
type topLog struct{ news chan<- topNews }

// Write implements io.Writer.
func (l *topLog) Write(b []byte) (int, error) {
	tell(l.news, topNews{trouble: strings.TrimSpace(string(b))})
	return len(b), nil
}
