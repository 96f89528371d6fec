package builtin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/all"
	"noether/internal/grid/fetch"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// providerNames are the providers that a manifest may name. What it could name
// besides has settings of its own here: values, file, series.
func providerNames() []string {
	var names []string
	for _, name := range all.Names() {
		if name != "prometheus" && !strings.Contains(name, ":") {
			names = append(names, name)
		}
	}
	return names
}

// providersOf returns the names in provider, which is one or a list.
func providersOf(config *value.Object) []string {
	v := config.Get("provider")
	if v.IsString() {
		return []string{v.Str()}
	}
	var names []string
	for _, item := range v.Items() {
		names = append(names, item.Str())
	}
	return names
}

// providers asks a chain of providers. What the first does not know is asked of
// the next. Nodes that ask for the same get the same answer. It is safe for
// concurrent use.
type providers struct {
	chain  []grid.Provider
	maxAge time.Duration
	now    time.Time // of the run: what is later is a forecast
	warn   func(string, ...any)

	mu      sync.Mutex
	answers map[providerQuestion]*providerAnswer
}

type providerQuestion struct {
	zone     string
	from, to int64
}

type providerAnswer struct {
	once    sync.Once
	samples []grid.Sample
	err     error
}

// providerTokens finds secrets in the environment: NAME_TOKEN, or a file whose
// path is NAME_TOKEN_FILE. The hub gets none: a manifest says where it is, and
// must not be able to have a secret sent there.
func providerTokens(getenv func(string) string, names []string) map[string]fetch.Secret {
	tokens := map[string]fetch.Secret{}
	for _, name := range names {
		variable := tokenVariable(name)
		if name == "hub" {
			continue
		}
		if path := getenv(variable + "_FILE"); path != "" {
			tokens[name] = fetch.File(path)
		} else if secret := fetch.Environment(getenv, variable); !secret.IsZero() {
			tokens[name] = secret
		}
	}
	return tokens
}

func tokenVariable(name string) string { return strings.ToUpper(name) + "_TOKEN" }

// openProviders opens the chain of a checked configuration. Nobody is asked.
func openProviders(env *plugin.Env, config *value.Object, maxAge time.Duration) (*providers, error) {
	names := providersOf(config)
	chain, err := openChain(names, config, providerTokens(env.Getenv, names), env.Now)
	if err != nil {
		return nil, err
	}
	return &providers{chain: chain, maxAge: maxAge, now: env.Now(), warn: env.Warn, answers: map[providerQuestion]*providerAnswer{}}, nil
}

// openChain refuses links that speak of different things.
func openChain(names []string, config *value.Object, tokens map[string]fetch.Secret, now func() time.Time) ([]grid.Provider, error) {
	if slices.Contains(names, "hub") != config.Has("hub") {
		return nil, errors.New("the provider hub goes with its address: hub: https://HOST:PORT")
	}
	chain, err := all.Chain(names, all.Settings{
		Zone: config.Get("zone").Str(), Factor: grid.Factor(config.Get("factor").Str()), AllowEstimates: true,
		Tokens: tokens, Hub: config.Get("hub").Str(), Now: now,
	})
	if err != nil {
		// The advice is that of the command line: say where the same things stand here.
		return nil, fmt.Errorf("%w (in a manifest these are factor and hub of the config, and %s, or a file in %[2]s_FILE, of the environment)", err, tokenVariable(names[0]))
	}
	first := chain[0].Info()
	for _, p := range chain[1:] {
		if i := p.Info(); i.Signal != first.Signal || i.Factor != first.Factor {
			return nil, fmt.Errorf("%s gives %s %s intensities and %s %s %s ones: a chain has one kind; set factor, or take other providers",
				first.Name, first.Signal, first.Factor, i.Name, i.Signal, i.Factor)
		}
	}
	return chain, nil
}

// sayProviders says for explanations what the intensities of a configuration are.
func sayProviders(config *value.Object) string {
	names := providersOf(config)
	said := strings.Join(names, ", then ")
	tokens := map[string]fetch.Secret{}
	for _, name := range names {
		tokens[name] = fetch.Text("none") // nobody is asked
	}
	if chain, err := openChain(names, config, tokens, nil); err == nil {
		info := chain[0].Info()
		said += fmt.Sprintf(": %s, %s", info.Signal, info.Factor)
	}
	return said
}

func (p *providers) Intensity(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	question := providerQuestion{zone, from.UnixMicro(), to.UnixMicro()}
	p.mu.Lock()
	answer := p.answers[question]
	if answer == nil {
		answer = &providerAnswer{}
		p.answers[question] = answer
	}
	p.mu.Unlock()
	answer.once.Do(func() { answer.samples, answer.err = p.ask(ctx, zone, from, to) })
	return answer.samples, answer.err
}

// ask asks one provider after the other until the time is covered. If it never
// is, what there is may still do for the rows: they do not fill the time.
func (p *providers) ask(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	var samples []grid.Sample
	var failed []error
	for i, link := range p.chain {
		more, forecast, err := p.askOne(ctx, link, zone, from, to)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", link.Info().Name, err))
		}
		before := len(samples)
		if samples = fill(samples, more); len(samples) > before {
			if i > 0 {
				p.warn("carbon intensity of zone %q: %s answers for what %s did not%s", zone, link.Info().Name, p.chain[0].Info().Name, reasons(failed))
			}
			if forecast {
				p.warn("carbon intensity of zone %q: what lies after %s is a forecast of %s", zone, p.now.UTC().Format(time.RFC3339), link.Info().Name)
			}
		}
		if _, err := grid.Mean(samples, from, to); err == nil {
			return samples, nil
		}
	}
	if len(samples) == 0 && len(failed) > 0 {
		return nil, errors.New(oneLine(failed))
	}
	if len(failed) > 0 {
		p.warn("carbon intensity of zone %q: there is not all of it: %s", zone, oneLine(failed))
	}
	return samples, nil
}

func reasons(failed []error) string {
	if len(failed) == 0 {
		return ""
	}
	return " (" + oneLine(failed) + ")"
}

func oneLine(failed []error) string {
	return strings.ReplaceAll(errors.Join(failed...).Error(), "\n", "; ")
}

// askOne asks one provider for the past, for its newest value if the past does
// not reach the present, and for a forecast of what is to come.
func (p *providers) askOne(ctx context.Context, link grid.Provider, zone string, from, to time.Time) (samples []grid.Sample, forecast bool, err error) {
	covered := func() bool { _, err := grid.Mean(samples, from, to); return err == nil }
	if !from.After(p.now) {
		end := to
		if end.After(p.now) {
			end = p.now
		}
		if samples, err = link.Intensity(ctx, zone, from, end); errors.Is(err, grid.ErrUnknownZone) || errors.Is(err, grid.ErrUnauthorized) {
			return nil, false, err
		}
		samples = p.hold(samples)
		if !covered() && !to.Before(p.now.Add(-max(p.maxAge, time.Hour))) {
			latest, late := link.Latest(ctx, zone)
			if late == nil {
				samples = fill(samples, p.hold([]grid.Sample{latest}))
			}
			err = cmp.Or(err, late)
		}
	}
	if to.After(p.now) && !covered() {
		start := p.now
		if from.After(start) {
			start = from
		}
		expected, none := link.Forecast(ctx, zone, start, to)
		if none == nil {
			before := len(samples)
			samples = fill(samples, expected)
			forecast = len(samples) > before
		}
		err = cmp.Or(err, none)
	}
	if covered() {
		err = nil
	}
	return samples, forecast, err
}

// hold lets values hold for max-age if none follows.
func (p *providers) hold(samples []grid.Sample) []grid.Sample {
	out := slices.Clone(samples)
	for i := range out {
		end := out[i].From.Add(p.maxAge)
		if i+1 < len(out) && end.After(out[i+1].From) {
			end = out[i+1].From
		}
		if end.After(out[i].To) {
			out[i].To = end
		}
	}
	return out
}

// fill adds to samples what more has of other times. Both are ordered and
// without overlap, and so is the result.
func fill(samples, more []grid.Sample) []grid.Sample {
	if len(samples) == 0 || len(more) == 0 {
		return append(slices.Clone(samples), more...)
	}
	out := slices.Clone(samples)
	at := 0
	for _, m := range more {
		for at < len(samples) && !samples[at].To.After(m.From) {
			at++
		}
		for i := at; m.To.After(m.From); i++ {
			if i == len(samples) || !samples[i].From.Before(m.To) {
				out = append(out, m)
				break
			}
			if part := m; samples[i].From.After(m.From) {
				part.To = samples[i].From
				out = append(out, part)
			}
			m.From = samples[i].To
		}
	}
	slices.SortFunc(out, func(a, b grid.Sample) int { return a.From.Compare(b.From) })
	return out
}
