// Package redfish reads what the whole machine draws from its BMC, over
// Redfish (DMTF DSP0266): the power that goes into the chassis that this
// machine is.
//
// A BMC is slow, and may be away: it is asked in the background, by Run, never
// by Read, which gives the last answer while that is fresh. An old one is no
// reading. It refuses to guess: what is not told by the chassis of this
// machine, or only by a part of it, or as what leaves a power supply, is not
// taken. It asks one host, over verified TLS, follows no link to another, and
// changes nothing there but the session that it opens and ends.
package redfish

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"noether/internal/energy"
	"noether/internal/linux"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/unit"
)

// Name is the word for --sensor.
const Name = "redfish"

// Bounds of how often a BMC is asked.
const (
	DefaultInterval = 5 * time.Second
	MinInterval     = time.Second
	MaxInterval     = 5 * time.Minute
)

const (
	leastHold = 30 * time.Second // how long an answer is good, at least
	replan    = 15 * time.Minute // how often it is asked again which readings there are
	patience  = 4                // failures before it is asked less often
	most      = time.Minute      // between two attempts at a BMC that is away
	longest   = 2 * time.Minute  // of one attempt
	// A BMC that refuses a password may lock the account, or the address, after
	// a few attempts.
	leastRefused = time.Minute
	mostRefused  = 15 * time.Minute
)

// Credentials returns the user and password of an account of the BMC. It is
// called at each login, so that they may change. It is a function so that
// options can be printed.
type Credentials func() (user, password string, err error)

// Known returns credentials that are known already.
func Known(user, password string) Credentials {
	return func() (string, string, error) { return checkCredentials("the environment", user, password) }
}

// File returns the credentials in a file: one line, user:password.
func File(path string) Credentials {
	return func() (string, string, error) {
		b, err := linux.ReadFile(path, 16<<10)
		if err != nil {
			return "", "", fmt.Errorf("read the credentials of the BMC: %w: write user:password into it, readable only by who runs Noether", err)
		}
		user, password, ok := strings.Cut(string(bytes.TrimRight(b, "\r\n")), ":")
		if !ok {
			return "", "", fmt.Errorf("read the credentials of the BMC in %s: it does not hold user:password", path)
		}
		return checkCredentials(path, user, password)
	}
}

// checkCredentials refuses what no request can carry; neither is part of the error.
func checkCredentials(where, user, password string) (string, string, error) {
	for _, s := range [...]string{user, password} {
		if s == "" || len(s) > 1024 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "", "", fmt.Errorf("read the credentials of the BMC in %s: user and password have to be one line of text: is it the right file?", where)
		}
	}
	return user, password, nil
}

// Config says which BMC is asked, and how.
type Config struct {
	URL         string // https://HOST; without one there is no sensor
	Chassis     string // the name of one, in place of this machine's; may be empty
	CAFile      string // certificates that the BMC's is verified by; the system's if empty
	Credentials Credentials
	Interval    time.Duration // from one reading to the next; DefaultInterval if 0
	Node        string        // this machine's name, by which a BMC of several may know it; may be empty
	UserAgent   string        // "noether" if empty
	Log         *slog.Logger  // none if nil
}

// Kind returns the line of the table of sensors. It adds to the sensors of the
// processor: it measures the machine around it.
func Kind(cfg Config) sensor.Kind {
	return sensor.Kind{Name: Name, Adds: true, Open: func(ctx context.Context, env sensor.Env) (sensor.Sensor, error) {
		return open(ctx, cfg, env)
	}}
}

// meter is the power of the machine as its BMC tells it. Run, and poll by
// itself, are for one goroutine; Read is for another.
type meter struct {
	cfg    Config
	env    sensor.Env
	zones  []energy.Zone
	client *client
	hold   time.Duration // how long an answer is good

	// Of the goroutine that polls.
	plan    *plan
	planned time.Duration
	said    string // what was logged to be read

	mu    sync.Mutex
	power unit.Power
	at    time.Duration // when the answer came; of use if asked
	asked bool          // there was an answer
	err   *sensor.ZoneError
	last  error // of the last attempt
	about string
}

func open(ctx context.Context, cfg Config, env sensor.Env) (sensor.Sensor, error) {
	if cfg.URL == "" {
		return nil, &probe.Error{
			Status: probe.Absent,
			Remedy: "where the machine has a BMC: --redfish.url https://BMC --redfish.credentials-file FILE",
			Err:    errors.New("not asked: --redfish.url names no BMC"),
		}
	}
	base, err := parseURL(cfg.URL)
	if err != nil {
		return nil, &probe.Error{Status: probe.Broken, Remedy: "correct --redfish.url", Err: err}
	}
	cfg.Interval = cmp.Or(cfg.Interval, DefaultInterval)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &meter{
		cfg: cfg, env: env, hold: max(leastHold, 3*cfg.Interval),
		client: newClient(base, cfg.CAFile, cmp.Or(cfg.UserAgent, "noether"), cfg.Credentials),
		zones: []energy.Zone{{
			Sensor: Name, Name: energy.Platform.String(), Domain: energy.Platform,
			Socket: -1, Die: -1, Path: base.String() + rootPath, Kind: energy.Gauge, MaxPower: mostWatts * unit.Watt,
		}},
		err: &sensor.ZoneError{Err: &probe.Error{Status: probe.Unknown, Err: fmt.Errorf("ask %s for the machine's power: no answer yet, it is asked again and again", base.Host)}},
	}
	if env.Wait <= 0 {
		return m, nil
	}
	within, cancel := context.WithTimeout(ctx, env.Wait)
	defer cancel()
	if err := m.poll(within); err != nil {
		if within.Err() != nil && ctx.Err() == nil {
			err = &probe.Error{
				Status: probe.Broken, Remedy: "is --redfish.url right, and does a way lead from here to the BMC? curl -k " + base.String() + rootPath,
				Err: fmt.Errorf("ask %s for the machine's power: no answer within %s", base.Host, env.Wait),
			}
		}
		m.client.close() //nolint:contextcheck // the context may be over, which is why it is closed
		return nil, err
	}
	return m, nil
}

// Zones returns the one meter.
func (m *meter) Zones() []energy.Zone { return m.zones }

// String says what is read, as far as it is known.
func (m *meter) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.asked {
		return m.err.Error()
	}
	return fmt.Sprintf("%.1f W: %s, at %s", m.power.Watts(), m.about, m.client.base.Host)
}

// Read appends the last answer, as the power at present, while it is fresh. It
// asks nobody and waits for nobody. It allocates nothing but the error of an
// answer that has grown old, once.
func (m *meter) Read(_ context.Context, dst []energy.Reading) ([]energy.Reading, error) {
	now := m.env.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked && now-m.at <= m.hold {
		return append(dst, energy.Reading{At: now, Power: m.power}), nil
	}
	if m.err == nil {
		why := fmt.Errorf("ask %s for the machine's power: no answer for %s", m.client.base.Host, m.hold)
		if m.last != nil {
			why = fmt.Errorf("%w: the last attempt: %w", why, m.last)
		}
		m.err = &sensor.ZoneError{Err: &probe.Error{Status: probe.Stale, Err: why}}
	}
	return dst, m.err
}

// Close ends the session with the BMC. Run has returned before.
func (m *meter) Close() error {
	m.client.close()
	return nil
}

// Run asks the BMC until ctx is done. Nothing that the BMC does ends it.
func (m *meter) Run(ctx context.Context) error {
	timer := time.NewTimer(m.firstWait())
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		began := m.env.Now()
		err := m.poll(ctx)
		wait := m.cfg.Interval - (m.env.Now() - began)
		if err != nil {
			failures++
			wait = backOff(err, m.cfg.Interval, failures)
		} else {
			failures = 0
		}
		timer.Reset(max(wait, MinInterval/2))
	}
}

// firstWait is none, unless Open has asked already.
func (m *meter) firstWait() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked {
		return m.cfg.Interval
	}
	return 0
}

// backOff returns how long to wait after a number of failures in a row: no
// longer than usual after the first few, while the last answer is good.
func backOff(err error, interval time.Duration, failures int) time.Duration {
	wait, limit, doublings := interval, max(most, interval), failures-patience
	if known, ok := errors.AsType[*probe.Error](err); ok && known.Status == probe.Forbidden {
		wait, limit, doublings = leastRefused, mostRefused, failures-1
	}
	return min(wait<<min(max(doublings, 0), 10), limit)
}

// poll asks once, and keeps what it hears.
func (m *meter) poll(ctx context.Context) error {
	power, err := m.ask(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m.keep(power, err)
	if err != nil {
		m.plan = nil // it may be another BMC by now, or have other chassis
		return err
	}
	if m.said != m.plan.about {
		m.said = m.plan.about
		m.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "the BMC is read", slog.String("bmc", m.client.base.Host),
			slog.String("reading", m.said), slog.Float64("watts", power.Watts()))
	}
	return nil
}

// keep makes the outcome of an attempt what Read tells.
func (m *meter) keep(power unit.Power, err error) {
	now := m.env.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = err
	switch {
	case err == nil:
		m.power, m.at, m.asked, m.err, m.about = power, now, true, nil, m.plan.about
	case !m.asked:
		m.err = &sensor.ZoneError{Err: err}
	}
}

// ask returns what the machine draws. A bug costs this one attempt.
func (m *meter) ask(ctx context.Context) (power unit.Power, err error) {
	defer func() {
		if p := recover(); p != nil {
			power, err = 0, &probe.Error{Status: probe.Unknown, Remedy: "report this as a bug of Noether", Err: fmt.Errorf("ask the BMC: it panicked: %v", p)}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	if m.plan == nil || m.env.Now()-m.planned > replan {
		e := explorer{client: m.client, want: m.cfg.Chassis, node: m.cfg.Node, sys: m.env.Sys}
		found, err := e.plan(ctx)
		if err != nil {
			return 0, err
		}
		m.plan, m.planned = found, m.env.Now()
	}
	var sum unit.Power
	for _, s := range m.plan.sources {
		body, err := m.client.get(ctx, s.path)
		if err != nil {
			return 0, err
		}
		p, err := s.read(body)
		if err != nil {
			return 0, m.client.broken(s.path, err)
		}
		sum += p
	}
	if sum <= 0 || sum > mostWatts*unit.Watt {
		return 0, m.client.broken(m.plan.sources[0].path, fmt.Errorf("it says %.1f W, of a machine that is on", sum.Watts()))
	}
	return sum, nil
}
