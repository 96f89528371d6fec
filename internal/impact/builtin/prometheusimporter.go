package builtin

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"noether/internal/impact/fault"
	"noether/internal/impact/meter"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
	"noether/internal/promclient"
)

func prometheusImporter() plugin.Method {
	return plugin.Method{
		Name:    "PrometheusImporter",
		Summary: "Reads energy and other values of a window from a Prometheus-compatible server, one row per step.",
		Doc:     prometheusImporterDoc,
		Example: prometheusImporterExample,
		Config:  openConfig(),
		Outputs: []plugin.Parameter{
			{Name: "timestamp", Unit: "RFC3339", Description: "start of the step", Time: plugin.None, Component: plugin.None},
			{Name: "duration", Unit: "seconds", Description: "length of the step", Time: plugin.Sum, Component: plugin.None},
			{Name: "energy", Unit: "kWh", Description: "energy used in the step", Time: plugin.Sum, Component: plugin.Sum},
			{Name: "carbon-operational", Unit: "gCO2e", Description: "carbon of the electricity used in the step, if asked for", Time: plugin.Sum, Component: plugin.Sum},
			{Name: "carbon-embodied", Unit: "gCO2e", Description: "share of the hardware's embodied carbon, if asked for", Time: plugin.Sum, Component: plugin.Sum},
		},
		Reaches: plugin.Network | plugin.Files,
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			imports := &promImports{env: env, done: map[string]*promImport{}}
			return plugin.NewFramed(env, d, m, plugin.Kernel{
				NoConfig:    true,
				CheckConfig: func(config *value.Object) (*value.Object, error) { return config, nil },
				Run: func(ctx context.Context, c *plugin.Call) ([]*value.Object, error) {
					config := nodeConfig(c)
					if config.Len() == 0 {
						return nil, configError("Config is not provided.")
					}
					tables, plan, err := imports.get(ctx, config)
					if err != nil {
						return nil, err
					}
					rows, err := joinRows(plan, tables, env.Warn)
					if err != nil {
						return nil, err
					}
					return append(c.Rows, rows...), nil
				},
			}), nil
		},
		Formula: promFormula,
	}
}

// promFormula tells which query a column comes from, and how.
func promFormula(config *value.Object, out string) (plugin.Formula, bool) {
	query, kind, preset := config.Get("query").Str(), config.Get("kind").Str(), config.Get("preset").Str()
	energy := preset != "" || config.Has("unit")
	own := config.Get("output").Str()
	if own == "" && energy {
		own = "energy"
	}
	if preset != "" {
		kind, query = "counter", preset
		if preset == "scaphandre" && config.Get("level").Str() != "node" {
			kind = "gauge"
		}
	}
	phase, carbon := strings.CutPrefix(out, "carbon-")
	switch carbon = carbon && slices.ContainsFunc(config.Get("carbon").Items(), func(v value.Value) bool { return v.Str() == phase }); {
	case carbon:
		query, kind, energy = preset+", grams of CO2e that the agent booked ("+phase+")", "counter", false
	case out != own:
		found := false
		for name, v := range config.Get("queries").Object().All() {
			if q := v.Object(); cmp.Or(q.Get("output").Str(), name) == out {
				query, kind, energy, found = q.Get("query").Str(), q.Get("kind").Str(), q.Has("unit"), true
				break
			}
		}
		if !found {
			return plugin.Formula{}, false
		}
	}
	f := plugin.Formula{Source: "Prometheus, " + query}
	switch {
	case kind == "expression":
		f.Text = "value of the query at the end of the step"
	case kind == "gauge" && energy:
		f.Text = "Σ over series of ∫ power dt within the step, straight lines between raw samples"
	case kind == "gauge":
		f.Text = "Σ over series of the mean within the step, straight lines between raw samples"
	default:
		f.Text = "Σ over series and pairs of successive raw samples of the counter's rise within the step"
	}
	switch {
	case energy:
		f.Text, f.Unit = f.Text+", in joules ÷ 3,600,000", "kWh"
	case carbon:
		f.Unit = "gCO2e"
	}
	return f, true
}

// openConfig is the configuration for documentation and the frame. It is open:
// unknown keys are refused by planImport, which knows a password when it sees one.
func openConfig() schema.Object {
	c := promConfig()
	c.Keep = true
	return c
}

// nodeConfig returns the declaration's config with the node's own over it.
func nodeConfig(c *plugin.Call) *value.Object {
	if c.Node == nil || c.Node.Config.Len() == 0 {
		return c.Config
	}
	config := value.NewObject(c.Config.Len() + c.Node.Config.Len())
	for _, o := range []*value.Object{c.Config, c.Node.Config} {
		for k, v := range o.All() {
			config.Set(k, v)
		}
	}
	return config
}

// promImports keeps what one run has read, so that nodes which ask for the same
// get the same without asking again. Safe for concurrent use.
type promImports struct {
	env *plugin.Env

	mu   sync.Mutex
	now  time.Time // of the first request: one run has one window
	done map[string]*promImport
}

type promImport struct {
	once   sync.Once
	plan   *promPlan
	tables []*promTable // as plan.queries
	err    error
}

func (p *promImports) get(ctx context.Context, config *value.Object) ([]*promTable, *promPlan, error) {
	key := fingerprint(config.Value())
	p.mu.Lock()
	if p.now.IsZero() {
		p.now = p.env.Now()
	}
	now, one := p.now, p.done[key]
	if one == nil {
		one = &promImport{}
		p.done[key] = one
	}
	p.mu.Unlock()
	one.once.Do(func() {
		if one.plan, one.err = planImport(p.env, config, now); one.err == nil {
			one.tables, one.err = runImport(ctx, p.env, one.plan, now)
		}
	})
	return one.tables, one.plan, one.err
}

// fingerprint writes a value so that different ones differ.
func fingerprint(v value.Value) string {
	var b strings.Builder
	b.WriteByte('0' + byte(v.Kind()))
	switch v.Kind() {
	case value.Array:
		for _, item := range v.Items() {
			b.WriteString(fingerprint(item))
			b.WriteByte(0)
		}
	case value.Map:
		for k, item := range v.Object().All() {
			b.WriteString(k)
			b.WriteByte(0)
			b.WriteString(fingerprint(item))
			b.WriteByte(0)
		}
	default:
		b.WriteString(v.String())
	}
	b.WriteByte(1)
	return b.String()
}

// runImport asks all queries of a plan.
func runImport(ctx context.Context, env *plugin.Env, plan *promPlan, now time.Time) ([]*promTable, error) {
	client, err := promclient.New(plan.options)
	if err != nil {
		return nil, configError("%w", err)
	}
	defer client.Close()
	tables := make([]*promTable, len(plan.queries))
	for i := range plan.queries {
		f := &promFetch{client: client, plan: plan, q: &plan.queries[i], now: now, warn: env.Warn}
		if tables[i], err = f.fetch(ctx); err != nil {
			return nil, err
		}
	}
	if n := len(tables[0].groups) * plan.grid.N; n > maxRows {
		return nil, configError("the import would make %d rows, more than %d: take a longer step, a shorter window, or fewer labels.", n, maxRows)
	}
	return tables, nil
}

// amount returns the value of a group in a step in the unit of rows.
func (q *promQuery) amount(g *promGroup, step int, seconds float64) float64 {
	v := g.bins.Amount[step]
	switch {
	case q.energy:
		return v / q.unit.divisor
	case q.kind == gaugeQuery:
		return v / min(seconds, g.bins.Seconds[step])
	}
	return v
}

// joinRows makes rows of the first table and joins the others to them.
func joinRows(plan *promPlan, tables []*promTable, warn func(string, ...any)) ([]*value.Object, error) {
	g := plan.grid
	seconds := float64(g.Step) / 1000
	stamps := make([]value.Value, g.N) // shared by the rows of all groups
	for i := range stamps {
		stamps[i] = value.Text(string(value.AppendISO(nil, float64(g.Start+int64(i)*g.Step))))
	}
	main := tables[0]
	joins := make([]joinedTable, len(tables)-1)
	for i, t := range tables[1:] {
		joins[i] = joinTable(t, main)
	}
	var out []*value.Object
	for _, group := range main.groups {
		template := value.NewObject(2 + len(main.query.columns) + len(tables))
		template.Set("timestamp", value.Value{})
		template.Set("duration", value.Of(seconds))
		for i, c := range main.query.columns {
			if v := group.columns[i]; v != "" {
				template.Set(c.column, value.Text(v))
			}
		}
		first := template.Len()
		for _, t := range tables {
			template.Set(t.query.output, value.Value{})
		}
		others := make([]*promGroup, len(joins))
		for i := range joins {
			others[i] = joins[i].find(group)
		}
		templates := make([]*value.Object, 0, g.N)
		for _, seen := range group.bins.Seen {
			if seen {
				templates = append(templates, template)
			}
		}
		rows := value.CopyRows(templates, 8)
		n := 0
		for step, seen := range group.bins.Seen {
			if !seen {
				continue
			}
			row := rows[n]
			n++
			row.SetAt(0, stamps[step])
			row.SetAt(first, value.Of(main.query.amount(group, step, seconds)))
			for i, other := range others {
				q := joins[i].table.query
				switch {
				case other != nil && other.bins.Seen[step]:
					row.SetAt(first+1+i, value.Of(q.amount(other, step, seconds)))
				case q.missing != nil:
					row.SetAt(first+1+i, value.Of(*q.missing))
				default:
					return nil, fault.New(fault.MissingInputData, "%s: there is no value for the step from %s%s (%s): set default if that means a number, such as 0.", q.name, meter.Clock(g.Start+int64(step)*g.Step), joins[i].describe(group), q.query)
				}
			}
		}
		out = append(out, rows...)
	}
	for i := range joins {
		if n := len(joins[i].table.groups) - len(joins[i].used); n > 0 {
			warn("%s: %d of its series match no row and are left out", joins[i].table.query.name, n)
		}
	}
	return out, nil
}

// joinedTable is a table with its groups by the columns that it is joined on.
type joinedTable struct {
	table   *promTable
	at      []int // column of the rows for each column of the table
	byValue map[string]*promGroup
	used    map[*promGroup]bool
}

func joinTable(t, main *promTable) joinedTable {
	j := joinedTable{t, nil, map[string]*promGroup{}, map[*promGroup]bool{}}
	for _, c := range t.query.columns {
		j.at = append(j.at, slices.IndexFunc(main.query.columns, func(m promColumn) bool { return m.column == c.column }))
	}
	for _, g := range t.groups {
		j.byValue[strings.Join(g.columns, "\x00")] = g
	}
	return j
}

func (j *joinedTable) values(row *promGroup) []string {
	values := make([]string, len(j.at))
	for i, at := range j.at {
		values[i] = row.columns[at]
	}
	return values
}

func (j *joinedTable) find(row *promGroup) *promGroup {
	g := j.byValue[strings.Join(j.values(row), "\x00")]
	if g != nil {
		j.used[g] = true
	}
	return g
}

func (j *joinedTable) describe(row *promGroup) string {
	var b strings.Builder
	for i, v := range j.values(row) {
		b.WriteString(" of " + j.table.query.columns[i].column + " " + v)
	}
	return b.String()
}

const prometheusImporterExample = `method: PrometheusImporter
path: builtin
config:
  url: http://prometheus.monitoring:9090
  preset: kepler
  namespace: shop
  window: 1h
  step: 5m
  queries:
    requests:
      query: sum(increase(http_requests_total{namespace="shop"}[$__step]))
      kind: expression
`

const prometheusImporterDoc = `Appends one row per step, and per pod or whatever ` + "`labels`" + ` name, to the inputs of a node: ` + "`timestamp`" + ` is the start of the step, ` + "`duration`" + ` its length in seconds, ` + "`energy`" + ` what was used in it in kWh. It goes into ` + "`pipeline.observe`" + `; ` + "`regroup: [namespace, pod]`" + ` then makes a component of each pod.

**Energy** is worked out from raw samples, not by ` + "`rate`" + ` or ` + "`increase`" + `, which extrapolate differently from server to server. Between two samples of a counter its rise is spread evenly, and a step gets the part that lies in it. A counter that falls has begun again at 0. Power is integrated in straight lines between samples. The rows of adjacent windows and of other steps therefore add up to the same energy, and Prometheus, Thanos, Mimir and VictoriaMetrics give the same rows.

**Beginning and end.** A counter without a sample near the start of the window is looked for in the ` + "`lookback`" + ` before it. If it is new and the preset knows that it starts at 0 (Kepler's and Noether's workloads do), its first sample counts in full; if not, what it counted before is left out and reported. After the last sample nothing is counted. A pod has rows only for the steps in which it was seen; the first and the last hold the part it lived.

**Gaps.** A time of more than three scrape intervals without samples is reported. The sum of a counter over a gap is exact; only the time is not known: up to ` + "`max-gap`" + ` it is spread evenly, beyond it all is laid over the last ` + "`max-gap`" + ` of the gap. A gauge is unknown over more than ` + "`max-gap`" + ` and counts nothing there.

**Silence.** Where no series of a query has a sample for longer than ` + "`max-gap`" + `, the importer looks whether the exporters went on with other series of the metric. If they did, what was measured had ended or not begun, and the rows are right. If not, the exporter or Prometheus was away: the result would be too low, and that is an error. It is so at the end of the window, for a gauge at any time, for a counter that began again at 0 meanwhile, and where a preset's exporter itself began in the window; what a counter rose by over a silence is known. ` + "`allow-gaps: true`" + ` goes on with what there is, and says so.

**Errors, not zeros.** No series, a name that was selected and has none, a value that is not finite, two series that are copies of one without ` + "`dedup`" + `, and an answer with warnings without ` + "`allow-partial`" + ` all fail the run.

**Copies.** Series that differ only in the replica labels and do not overlap in time are one counter (an exporter that came back under another address). If they overlap they are copies: with ` + "`dedup: true`" + ` the first by its labels counts, and the next one wherever the first has no samples for ` + "`max-gap`" + `.

| preset | level | metric | what is left out |
|---|---|---|---|
| kepler (0.10 and later) | pod, container, node | ` + "`kepler_{pod,container}_cpu_joules_total`" + `; node: active and idle | zones other than package and dram, which lie inside them or around |
| kepler-legacy (to 0.9) | pod, container | ` + "`kepler_container_joules_total`" + `, dynamic and idle | the kernel and system processes, unless selected; the parts (package, dram, …) of the same energy |
| scaphandre | pod, container, process, node | ` + "`scaph_process_power_consumption_microwatts`" + `; node: ` + "`scaph_host_energy_microjoules`" + ` | the host's energy beside processes, sockets and domains |
| noether | pod, container, node | ` + "`noether_{pod,container,node}_joules_total`" + `, all components, dynamic and idle | zones |

**Carbon.** ` + "`carbon: [operational, embodied]`" + ` with the preset noether reads, beside the energy of the same pods, containers or node, the grams that the agent booked with the intensity, the PUE and the hardware of each moment, as ` + "`carbon-operational`" + ` and ` + "`carbon-embodied`" + ` in gCO2e. Then leave out CarbonIntensity, SciO, SciM and SciEmbodied for these rows: they would count the same again.

**Other values** come from ` + "`queries`" + `. A ` + "`counter`" + ` gives what it counted in the step, a ` + "`gauge`" + ` its mean, an ` + "`expression`" + ` its value at the end of the step; write ` + "`$__step`" + ` for the step. Their ` + "`labels`" + ` name the columns that they are joined on; without any, the value is of the whole service and stands in every row of the step: it is not to be added up over components.

**Credentials** come from the environment only: ` + "`PROMETHEUS_USERNAME`" + ` with ` + "`PROMETHEUS_PASSWORD`" + ` or ` + "`PROMETHEUS_PASSWORD_FILE`" + `, or ` + "`PROMETHEUS_BEARER_TOKEN`" + ` or ` + "`PROMETHEUS_BEARER_TOKEN_FILE`" + `; TLS by ` + "`PROMETHEUS_CA_FILE`" + `, ` + "`PROMETHEUS_CERT_FILE`" + `, ` + "`PROMETHEUS_KEY_FILE`" + `, ` + "`PROMETHEUS_SERVER_NAME`" + `; ` + "`PROMETHEUS_TENANT`" + ` is sent as ` + "`X-Scope-OrgID`" + `. Where ` + "`PROMETHEUS_URL`" + ` is set, they go to that server alone. ` + "`credentials: OTHER`" + ` reads ` + "`OTHER_USERNAME`" + ` and so on.
`
