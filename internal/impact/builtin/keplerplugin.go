package builtin

import (
	"context"
	"errors"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"noether/internal/impact/fault"
	"noether/internal/impact/meter"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func keplerPlugin() plugin.Method {
	return plugin.Method{
		Name:    "KeplerPlugin",
		Paths:   []string{"@grnsft/if-unofficial-plugins"},
		Summary: "Reads the energy of one container from Kepler's metrics in Prometheus, for the time of each input.",
		Doc: `Takes the configuration of the community's Kepler importer. Each input is a time, ` + "`timestamp` and `duration`" + `; it becomes one row per observation window in it, with the input's other parameters, ` + "`timestamp`" + ` (the start of the window), ` + "`energy`" + ` in kWh and ` + "`duration`" + `. A last window that the input cuts short is as long as the input lets it be. A window in which the container did not run has no row.

Energy is that of ` + "`kepler_container_joules_total`" + ` (Kepler to 0.9: package, memory, GPU and other, dynamic and idle) over all pods that have such a container, worked out as by PrometheusImporter from raw samples. Where that metric does not exist, the container's ` + "`kepler_container_cpu_joules_total`" + ` (Kepler from 0.10) is read in its place.

Credentials are ` + "`PROMETHEUS_USERNAME` and `PROMETHEUS_PASSWORD`" + ` in the environment, and the others that PrometheusImporter knows. The configuration may stand in the node's ` + "`config`" + ` too. New manifests do better with PrometheusImporter.`,
		Example: `method: KeplerPlugin
path: '@grnsft/if-unofficial-plugins'
config:
  kepler-observation-window: 3600
  prometheus-endpoint: http://localhost:9090
  container-namespace: shop
  container-name: cart
`,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "prometheus-endpoint", Type: httpURL{}, Doc: "Address of the Prometheus server."},
			{Name: "kepler-observation-window", Type: positiveInteger{}, Doc: "Length of one row in seconds."},
			{Name: "container-namespace", Type: kubernetesName(), Doc: "Namespace of the container."},
			{Name: "container-name", Type: kubernetesName(), Doc: "Name of the container."},
		}},
		Inputs: []plugin.Parameter{
			{Name: "timestamp", Unit: "RFC3339", Description: "start of the time to read", Time: plugin.None, Component: plugin.None},
			{Name: "duration", Unit: "seconds", Description: "length of the time to read", Time: plugin.Sum, Component: plugin.None},
		},
		Outputs: []plugin.Parameter{{Name: "energy", Unit: "kWh", Description: "energy used in the window", Time: plugin.Sum, Component: plugin.Sum}},
		Reaches: plugin.Network | plugin.Files,
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			k := &keplerReader{env: env, m: m, done: map[string]*keplerAnswer{}}
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				NoConfig:    true,
				CheckConfig: func(config *value.Object) (*value.Object, error) { return config, nil },
				Run:         k.run,
			}), nil
		},
		Formula: func(_ *value.Object, out string) (plugin.Formula, bool) {
			return plugin.Formula{Text: "Σ over pods and modes of the counter's rise within the row's time, in joules ÷ 3,600,000", Unit: "kWh", Source: "Kepler by way of Prometheus"}, out == "energy"
		},
	}
}

// keplerReader reads inputs, and keeps the answers for nodes that ask again.
// Safe for concurrent use.
type keplerReader struct {
	env *plugin.Env
	m   *plugin.Method

	mu   sync.Mutex
	done map[string]*keplerAnswer
}

type keplerAnswer struct {
	once sync.Once
	rows []keplerRow
	err  error
}

type keplerRow struct {
	start   int64   // milliseconds since 1970
	seconds float64 // length
	kWh     float64
}

func (k *keplerReader) run(ctx context.Context, c *plugin.Call) ([]*value.Object, error) {
	config := nodeConfig(c)
	if config.Len() == 0 {
		return nil, configError("Config for Kepler plugin must be provided.")
	}
	checked, issues := k.m.Config.Parse(config.Value(), nil)
	if issues != nil {
		return nil, fault.New(fault.InputValidation, "%s", schema.Message(issues, schema.NoIndex))
	}
	config = checked.Object()
	input := schema.Object{Fields: []schema.Field{{Name: "timestamp", Type: instantType{}}, {Name: "duration", Type: positiveInteger{}}}}
	for i, row := range c.Rows {
		if _, issues := input.Parse(row.Value(), nil); issues != nil {
			return nil, fault.New(fault.InputValidation, "%s", schema.Message(issues, i))
		}
	}
	var out []*value.Object
	for _, row := range c.Rows {
		start, _ := parseInstant(row.Get("timestamp"))
		found, err := k.answer(ctx, config, start, int64(row.Get("duration").Num()))
		if err != nil {
			return nil, err
		}
		templates := make([]*value.Object, len(found))
		for i := range templates {
			templates[i] = row
		}
		for i, copied := range value.CopyRows(templates, 8) {
			copied.Set("timestamp", value.At(float64(found[i].start)))
			copied.Set("energy", value.Of(found[i].kWh))
			copied.Set("duration", value.Of(found[i].seconds))
			out = append(out, copied)
		}
	}
	return out, nil
}

func (k *keplerReader) answer(ctx context.Context, config *value.Object, start, seconds int64) ([]keplerRow, error) {
	key := fingerprint(value.List([]value.Value{config.Value(), value.Of(float64(start)), value.Of(float64(seconds))}))
	k.mu.Lock()
	a := k.done[key]
	if a == nil {
		a = &keplerAnswer{}
		k.done[key] = a
	}
	k.mu.Unlock()
	a.once.Do(func() { a.rows, a.err = k.read(ctx, config, start, seconds) })
	return a.rows, a.err
}

// read asks for one input: whole observation windows, and what is left of the last.
func (k *keplerReader) read(ctx context.Context, config *value.Object, start, seconds int64) ([]keplerRow, error) {
	options, err := promOptions(k.env, config.Get("prometheus-endpoint").Str(), "PROMETHEUS")
	if err != nil {
		return nil, err
	}
	step := int64(config.Get("kepler-observation-window").Num())
	if seconds/step >= maxSteps {
		return nil, configError("%d seconds have more than %d observation windows of %d seconds.", seconds, maxSteps, step)
	}
	now := k.env.Now()
	if end := start + seconds*1000; end > now.UnixMilli() {
		return nil, fault.New(fault.InvalidInput, "the input from %s ends at %s, in the future.", meter.Clock(start), meter.Clock(end))
	}
	selection := value.NewObject(3)
	selection.Set("namespace", config.Get("container-namespace"))
	selection.Set("container", config.Get("container-name"))
	read := func(preset string) (rows []keplerRow, err error) {
		q, err := presetQuery(preset, selection)
		if err != nil {
			return nil, err
		}
		q.name, q.output = "KeplerPlugin", "energy"
		sharedFields(&q, value.NewObject(0))
		q.columns = nil
		var missing error
		for _, g := range []meter.Grid{
			{Start: start, Step: step * 1000, N: int(seconds / step)},
			{Start: start + seconds/step*step*1000, Step: seconds % step * 1000, N: 1},
		} {
			if g.N == 0 || g.Step == 0 {
				continue
			}
			plan := &promPlan{options: options, grid: g, maxGap: (5 * time.Minute).Milliseconds(), lookback: 24 * time.Hour, queries: []promQuery{q}}
			tables, err := runImport(ctx, k.env, plan, now)
			if errors.Is(err, &fault.Error{Class: fault.MissingInputData}) {
				missing = err // the container may run in one part only
				continue
			}
			if err != nil {
				return nil, err
			}
			for _, group := range tables[0].groups {
				for i, seen := range group.bins.Seen {
					if seen {
						rows = append(rows, keplerRow{g.Start + int64(i)*g.Step, float64(g.Step) / 1000, q.amount(group, i, 0)})
					}
				}
			}
		}
		if len(rows) == 0 {
			return nil, missing
		}
		return rows, nil
	}
	rows, err := read("kepler-legacy")
	if errors.Is(err, &fault.Error{Class: fault.MissingInputData}) {
		newer, other := read("kepler")
		switch {
		case other == nil:
			return newer, nil
		case !errors.Is(other, &fault.Error{Class: fault.MissingInputData}):
			return nil, other
		}
	}
	return rows, err
}

// The types below check what the community's importer checks, in its words.

// positiveInteger is a whole number above 0.
type positiveInteger struct{}

func (positiveInteger) Parse(v value.Value, path []string) (value.Value, []schema.Issue) {
	if _, issues := schema.Number().Parse(v, path); issues != nil {
		return v, issues
	}
	if v.Num() != math.Trunc(v.Num()) || math.IsInf(v.Num(), 0) {
		return v, []schema.Issue{{Path: slices.Clone(path), Code: "invalid_type", Text: "Expected integer, received float"}}
	}
	_, issues := schema.Above(0).Parse(v, path)
	if issues == nil && v.Num() > 1e12 {
		issues = []schema.Issue{{Path: slices.Clone(path), Code: "too_big", Text: "Number must be less than or equal to 1000000000000"}}
	}
	return v, issues
}

func (positiveInteger) Describe() string { return "integer > 0" }

// httpURL is an address of a server.
type httpURL struct{}

func (httpURL) Parse(v value.Value, path []string) (value.Value, []schema.Issue) {
	if !v.IsString() {
		_, issues := schema.Text().Parse(v, path)
		return v, issues
	}
	if u, err := url.Parse(v.Str()); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return v, []schema.Issue{{Path: slices.Clone(path), Code: "custom", Text: "Invalid input"}}
	}
	return v, nil
}

func (httpURL) Describe() string { return "http or https URL" }

// matching is text of a form.
type matching struct{ form *regexp.Regexp }

// kubernetesName is the name of a namespace or container (RFC 1123 label).
func kubernetesName() schema.Type {
	return matching{regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)}
}

func (t matching) Parse(v value.Value, path []string) (value.Value, []schema.Issue) {
	if !v.IsString() {
		_, issues := schema.Text().Parse(v, path)
		return v, issues
	}
	if !t.form.MatchString(v.Str()) {
		return v, []schema.Issue{{Path: slices.Clone(path), Code: "invalid_string", Text: "Invalid"}}
	}
	return v, nil
}

func (t matching) Describe() string {
	return "text of the form `" + strings.TrimSuffix(strings.TrimPrefix(t.form.String(), "^"), "$") + "`"
}
