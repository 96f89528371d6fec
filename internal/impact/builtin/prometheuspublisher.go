package builtin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
	"noether/internal/promclient"
	"noether/internal/promwrite"
)

// publishDoc is the documentation of PrometheusPublisher.
const publishDoc = `Sends the result of a run to Prometheus, after the whole tree has been computed. Rows pass through untouched.

List the plugin in ` + "`pipeline.compute`" + ` of what is to be published: those components are sent, and every grouping
node above them up to the root, or choose others by ` + "`components`" + `. The families are gauges of one window:

| family | labels besides ` + "`manifest`" + `, ` + "`path`" + ` and ` + "`functional_unit`" + ` | value |
|---|---|---|
| ` + "`noether_impact_sci_grams`" + ` | | gCO2e per functional unit: carbon of the window ÷ functional units of the window |
| ` + "`noether_impact_carbon_grams`" + ` | ` + "`phase`" + ` | gCO2e; phase is ` + "`operational`, `embodied`, or `combined`" + ` where the rows do not tell them apart. The sum over the phases is all carbon |
| ` + "`noether_impact_energy_joules`" + ` | | energy (kWh × 3.6e6) |
| ` + "`noether_impact_functional_units`" + ` | | functional units |
| ` + "`noether_impact_window_seconds`, `noether_impact_window_end_timestamp_seconds`" + ` | | length and end of the window |
| ` + "`noether_impact_info`" + ` | only ` + "`manifest`, `boundary`, `methodology`" + ` | 1 |
| ` + "`noether_impact_last_success_timestamp_seconds`" + ` | only ` + "`manifest`" + ` | when a run last published all that it should |

` + "`path`" + ` is ` + "`/`" + ` for the root and ` + "`/shop/pod-1`" + ` below it: a node contains the nodes below it, so choose one level before adding up.
Samples carry the time of their window's end. They are no counters: read them with ` + "`last_over_time`" + `, and over time as
` + "`sum_over_time(carbon) / sum_over_time(functional_units)`" + `.

A component that failed is not published, nor are the nodes above it, whose sums would lack it; a value that is not known is left
out. Both are said. Settings that are wrong, and a receiver that is not named, fail the run and no component: the outputs are kept. Sending the same result again is a success. A changed value for a window that was published before, or a
window older than the receiver takes, is an error that names the receiver's setting. VictoriaMetrics refuses neither: it
keeps both values, and drops what is older than ` + "`-retentionPeriod`" + ` without a word. Prometheus
itself tells of a changed value only for the newest window of a series: in a window for late samples it keeps the first
value without a word.

**remote-write** needs the receiver's whole URL (Prometheus: ` + "`--web.enable-remote-write-receiver`" + `, ` + "`/api/v1/write`" + `). Version 2.0 falls back to
1.0 where the receiver does not say what it stored. **pushgateway** replaces the group ` + "`job=\"noether_impact\", manifest=NAME`" + `; scrape the
gateway with ` + "`honor_labels: true`" + `. **textfile** replaces a file for node_exporter's textfile collector. The last two have no times, so they
show the newest window only.

Credentials come from the environment, never from the manifest: PREFIX_USERNAME with PREFIX_PASSWORD or PREFIX_PASSWORD_FILE,
PREFIX_BEARER_TOKEN or PREFIX_BEARER_TOKEN_FILE, PREFIX_CA_FILE, PREFIX_CERT_FILE and PREFIX_KEY_FILE, PREFIX_SERVER_NAME, and PREFIX_URL where
the manifest has no ` + "`url`" + `. PREFIX is ` + "`PROMETHEUS_REMOTE_WRITE` or `PUSHGATEWAY`" + ` unless ` + "`credentials`" + ` names another.`

func prometheusPublisher() plugin.Method {
	return plugin.Method{
		Name:    "PrometheusPublisher",
		Paths:   []string{"prometheus-publisher"},
		Summary: "Sends scores, carbon and energy to Prometheus, a Pushgateway or a textfile when the run is done.",
		Doc:     publishDoc,
		Example: `path: builtin
method: PrometheusPublisher
config:
  to: remote-write
  url: http://prometheus:9090/api/v1/write
  labels: {namespace: 0, pod: 1}
  boundary: pods of the shop, without the network
  methodology: RAPL by CPU time (Kepler), yearly grid mean, embodied by reserved share`,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "to", Type: schema.Default(schema.Enum("remote-write", "pushgateway", "textfile"), value.Text("remote-write")), Doc: "Way of publishing."},
			{Name: "url", Type: schema.Optional(schema.NonEmpty()), Doc: "Of the remote-write receiver with its path, or the base of the Pushgateway; without credentials."},
			{Name: "version", Type: schema.Default(schema.Union(schema.Enum("1.0", "2.0"), schema.Number()), value.Text("1.0")), Doc: "Version of remote-write, 1.0 or 2.0."},
			{Name: "path", Type: schema.Optional(schema.NonEmpty()), Doc: "Of the textfile; its name ends in .prom."},
			{Name: "credentials", Type: schema.Optional(schema.NonEmpty()), Doc: "Prefix of the environment variables with credentials."},
			{Name: "tenant", Type: schema.Optional(schema.NonEmpty()), Doc: "Sent as X-Scope-OrgID, for Mimir and its like."},
			{Name: "timeout", Type: schema.Default(spanType{}, value.Text("10s")), Doc: "How long one request may take."},
			{Name: "give-up-after", Type: schema.Default(spanType{}, value.Text("30s")), Doc: "How long to wait in all between tries while the receiver is away or busy."},
			{Name: "components", Type: schema.Optional(schema.Union(schema.ArrayOf(schema.NonEmpty(), 1), schema.Enum("all", "leaves", "groups"))), Doc: "What to publish: all, leaves, groups, or a list of paths such as /shop/pod-1; by default the components that run the plugin and the nodes above them."},
			{Name: "samples", Type: schema.Default(schema.Enum("window", "steps"), value.Text("window")), Doc: "One sample for the whole window, or one for each row at its own end (remote-write only)."},
			{Name: "labels", Type: schema.Optional(schema.Record(schema.Union(schema.AtLeast(0), schema.NonEmpty()))), Doc: "Labels from the tree: a level of the path counted from 0, or a column that is the same in all rows of the component."},
			{Name: "extra-labels", Type: schema.Optional(schema.Record(schema.NonEmpty())), Doc: "Labels with a constant value."},
			{Name: "boundary", Type: schema.Optional(schema.NonEmpty()), Doc: "Software boundary of the score, to disclose with it."},
			{Name: "methodology", Type: schema.Optional(schema.NonEmpty()), Doc: "How energy, intensity and embodied carbon were found, to disclose with the score."},
			{Name: "max-series", Type: schema.Default(schema.AtLeast(1), value.Of(10000)), Doc: "Most series that a run may publish."},
		}},
		Reaches: plugin.Network | plugin.Files,
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			p := &publisher{env: env, d: d, m: m, marked: map[string]bool{}}
			p.Plugin = plugin.NewFramed(env, d, m, plugin.Kernel{
				// Its settings are Finish's business: no row depends on them, and
				// what was computed is worth keeping when they are wrong.
				NoConfig:    true,
				CheckConfig: func(config *value.Object) (*value.Object, error) { return config, nil },
				Run: func(_ context.Context, c *plugin.Call) ([]*value.Object, error) {
					p.mark(c.Node.Path)
					return c.Rows, nil
				},
			})
			return p, nil
		},
	}
}

// publisher sends a result when the run is done. Execute may be called by many
// goroutines, Finish after they are done.
type publisher struct {
	plugin.Plugin
	env *plugin.Env
	d   *plugin.Declaration
	m   *plugin.Method

	mu     sync.Mutex
	marked map[string]bool // paths of components that run it
}

func (p *publisher) mark(path []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marked[pathLabel(path)] = true
}

// publishSettings is a checked configuration.
type publishSettings struct {
	to, url, version, path string
	prefix                 string // of the environment
	credentials            promclient.Credentials
	tenant                 string
	timeout, giveUp        time.Duration
	components             string   // all, leaves, groups; "" with paths or by pipeline
	paths                  []string // as pathLabel writes them
	steps                  bool
	labels                 []treeLabel
	extra                  []promwrite.Label
	boundary, methodology  string
	maxSeries              int
}

// treeLabel is a label whose value comes from the tree.
type treeLabel struct {
	name   string
	level  int // of the path, counted from 0; -1 for a column
	column string
}

// maxLabels bounds the labels that a configuration adds: Mimir takes 30 in all.
const maxLabels = 20

func (p *publisher) settings(config *value.Object) (*publishSettings, error) {
	if config == nil {
		config = value.NewObject(0)
	}
	parsed, issues := p.m.Config.Parse(config.Value(), nil)
	if issues != nil {
		return nil, fault.New(fault.InputValidation, "%s", schema.Message(issues, schema.NoIndex))
	}
	c := parsed.Object()
	text := func(key string) string { return c.Get(key).Str() }
	s := &publishSettings{
		to: text("to"), url: text("url"), version: text("version"), path: text("path"), prefix: text("credentials"), tenant: text("tenant"),
		timeout: spanOrZero(c.Get("timeout")), giveUp: spanOrZero(c.Get("give-up-after")),
		components: text("components"), steps: text("samples") == "steps",
		boundary: text("boundary"), methodology: text("methodology"), maxSeries: int(min(c.Get("max-series").Num(), 1e9)),
	}
	if v := c.Get("version"); v.IsNumber() {
		s.version = value.FormatNumber(v.Num()) + ".0" // YAML reads 1.0 as the number 1
	}
	for _, path := range c.Get("components").Items() {
		s.paths = append(s.paths, "/"+strings.TrimPrefix(path.Str(), "/"))
	}
	if err := s.readLabels(c); err != nil {
		return nil, fault.New(fault.Config, "%s cannot publish: %w", p.d.Name, err)
	}
	if err := s.readTarget(p.env); err != nil {
		return nil, fault.New(fault.Config, "%s cannot publish: %w", p.d.Name, err)
	}
	return s, nil
}

// spanOrZero reads a checked span; it is 0 where there is none.
func spanOrZero(v value.Value) time.Duration {
	d, _ := parseSpan(v)
	return d
}

func (s *publishSettings) readLabels(c *value.Object) error {
	taken := map[string]bool{"manifest": true, "path": true, "functional_unit": true, "phase": true, "boundary": true, "methodology": true, "job": true, "instance": s.to != "remote-write"}
	check := func(name string) error {
		switch {
		case !promwrite.IsLabelName(name):
			return fmt.Errorf("label %q is no label name: letters, digits and _ only, no digit first, not two _ first", name)
		case taken[name]:
			return fmt.Errorf("label %q is taken: choose another name", name)
		}
		taken[name] = true
		return nil
	}
	for name, v := range c.Get("labels").Object().All() {
		if err := check(name); err != nil {
			return err
		}
		l := treeLabel{name: name, level: -1, column: v.Str()}
		if v.IsNumber() {
			if l.level = int(min(v.Num(), 1e6)); float64(l.level) != v.Num() {
				return fmt.Errorf("label %q: %s is no level of the tree: give a whole number or the name of a column", name, value.FormatNumber(v.Num()))
			}
		}
		s.labels = append(s.labels, l)
	}
	for name, v := range c.Get("extra-labels").Object().All() {
		if err := check(name); err != nil {
			return err
		}
		s.extra = append(s.extra, promwrite.Label{Name: name, Value: labelValue(v.Str())})
	}
	if n := len(s.labels) + len(s.extra); n > maxLabels {
		return fmt.Errorf("%d labels are more than the %d that receivers are sure to take", n, maxLabels)
	}
	return nil
}

// readTarget checks where to, without reaching out.
func (s *publishSettings) readTarget(env *plugin.Env) (err error) {
	if s.to == "textfile" {
		switch {
		case s.path == "":
			return errors.New(`"path" is missing: name the file to write, such as /var/lib/node_exporter/noether.prom`)
		case s.steps:
			return errSteps
		}
		_, err := promwrite.NewTextfile(s.path)
		return err
	}
	if s.to == "pushgateway" && s.steps {
		return errSteps
	}
	if s.prefix == "" {
		s.prefix = map[string]string{"remote-write": "PROMETHEUS_REMOTE_WRITE", "pushgateway": "PUSHGATEWAY"}[s.to]
	}
	if s.url = cmp.Or(s.url, env.Getenv(s.prefix+"_URL")); s.url == "" {
		if env.DryRun {
			return nil // a score can be checked and reported where nothing can be published
		}
		return fmt.Errorf("no receiver is named: set url, or %s_URL in the environment", s.prefix)
	}
	s.credentials, err = promclient.FromEnvironment(env.Getenv, s.prefix)
	if err != nil {
		return err
	}
	_, err = s.sink(&http.Client{}, "x", env)
	return err
}

var errSteps = errors.New(`"samples: steps" needs remote-write: only there do samples have times`)

// sink is a way of publishing.
type sink interface {
	fmt.Stringer
	Write(ctx context.Context, families []promwrite.Family) error
}

func (s *publishSettings) sink(client *http.Client, manifest string, env *plugin.Env) (sink, error) {
	h := promwrite.HTTP{Client: client, URL: s.url, Tenant: s.tenant, Timeout: s.timeout, GiveUp: s.giveUp, Now: env.Now}
	switch s.to {
	case "textfile":
		return promwrite.NewTextfile(s.path)
	case "pushgateway":
		return promwrite.NewPushgateway(h, promwrite.Label{Name: "job", Value: "noether_impact"}, promwrite.Label{Name: "manifest", Value: manifest})
	}
	return promwrite.NewRemote(h, s.version, env.Warn)
}

// Finish publishes the result.
func (p *publisher) Finish(ctx context.Context, result *plugin.Result) error {
	if p.d.Config.Get("components").IsNullish() && len(p.marked) == 0 {
		if failed(result.Root) {
			return nil // the run says why
		}
		p.env.Warn("%s publishes nothing, since no pipeline that ran has it: list it in pipeline.compute of what to publish, or set components: all", p.d.Name)
		return nil
	}
	s, err := p.settings(p.d.Config)
	if err != nil {
		return err
	}
	b := &publication{settings: s, marked: p.marked, manifest: labelValue(result.Manifest.Get("name").String()), now: p.env.Now()}
	families, err := b.build(result)
	if err != nil {
		return fault.New(fault.Config, "%s cannot publish: %w", p.d.Name, err)
	}
	for _, note := range b.notes {
		p.env.Warn("%s: %s", p.d.Name, note)
	}
	if len(families) == 0 {
		return nil
	}
	if s.url == "" && s.to != "textfile" { // only a dry run gets here
		series, samples := promwrite.Count(families)
		p.env.Warn("%s would send %d samples of %d series, but no receiver is named: set url, or %s_URL in the environment", p.d.Name, samples, series, s.prefix)
		return nil
	}
	client, err := s.credentials.HTTPClient("noether")
	if err != nil {
		return fault.New(fault.Config, "%s cannot publish: %w", p.d.Name, err)
	}
	defer client.CloseIdleConnections()
	to, err := s.sink(client, b.manifest, p.env)
	if err != nil {
		return fault.New(fault.Config, "%s cannot publish: %w", p.d.Name, err)
	}
	if p.env.DryRun {
		series, samples := promwrite.Count(families)
		p.env.Warn("%s would send %d samples of %d series to %s", p.d.Name, samples, series, to)
		return nil
	}
	groups := [][]promwrite.Family{families}
	if s.to == "remote-write" && b.succeeded {
		// A receiver of 2.0 stores what it can of a request: success is told
		// when all the rest is there.
		groups = [][]promwrite.Family{families[:len(families)-1], families[len(families)-1:]}
	}
	for _, g := range groups {
		if err := to.Write(ctx, g); err != nil {
			class := fault.APIRequest
			if s.to == "textfile" {
				class = fault.WriteFile
			}
			return fault.New(class, "%s: %w", p.d.Name, err)
		}
	}
	return nil
}

// failed reports whether c or a component below it has no result.
func failed(c *plugin.Component) bool {
	return c.Err != nil || slices.ContainsFunc(c.Children, failed)
}

// pathLabel names a component: "/" is the root.
func pathLabel(path []string) string { return "/" + strings.Join(path, "/") }

// labelValue returns s as a label may hold it: UTF-8, of bounded length.
func labelValue(s string) string {
	const limit = 512
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit-len("…")], "") + "…"
	}
	return s
}

// chosen tells whether a component is to be published. By default that is what
// runs the plugin or failed before, and all above it.
func (b *publication) chosen(c *plugin.Component, path string, below bool) bool {
	switch {
	case b.settings.paths != nil:
		return slices.Contains(b.settings.paths, path)
	case b.settings.components == "all":
		return true
	case b.settings.components == "leaves":
		return len(c.Children) == 0
	case b.settings.components == "groups":
		return len(c.Children) > 0
	}
	return below
}
