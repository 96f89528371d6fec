package builtin

import (
	"cmp"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"noether/internal/impact/fault"
	"noether/internal/impact/meter"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
	"noether/internal/promclient"
)

// Limits of what one importer asks for: a slip of the keyboard must not fill
// the memory.
const (
	maxSteps = 1_000_000
	maxRows  = 20_000_000
)

// queryKind says how the answers to a query become one value per step.
type queryKind string

const (
	counterQuery    queryKind = "counter"    // raw samples of counters: what they counted in the step
	gaugeQuery      queryKind = "gauge"      // raw samples of gauges: energy by integration, else the mean
	expressionQuery queryKind = "expression" // PromQL evaluated at the end of each step
)

// promUnit is the unit of a query's values. Energy is written in kWh.
type promUnit struct {
	power   bool    // watts: energy by integration
	divisor float64 // joules (or watts × seconds) of the unit per kWh
}

func promUnitOf(name string) (promUnit, bool) {
	name = strings.ReplaceAll(strings.ReplaceAll(name, "µ", "u"), "μ", "u")
	u, ok := map[string]promUnit{
		"J": {false, 3.6e6}, "mJ": {false, 3.6e9}, "uJ": {false, 3.6e12}, "Wh": {false, 1e3}, "kWh": {false, 1},
		"W": {true, 3.6e6}, "mW": {true, 3.6e9}, "uW": {true, 3.6e12}, "kW": {true, 3.6e3},
	}[name]
	return u, ok
}

// promColumn makes a column of rows from a label of series.
type promColumn struct{ label, column string }

// promQuery is one query with everything that decides its answer.
type promQuery struct {
	name   string // for messages
	kind   queryKind
	query  string // selector or expression
	family string // name of the metric, for advice; may be empty
	// matchers are those of a preset's query.
	matchers []promclient.Matcher
	unit     promUnit
	energy   bool // unit is one of energy or power
	output   string
	columns  []promColumn
	missing  *float64 // value where there is none; nil: an error

	fromZero bool     // a counter that begins inside the window began at 0
	wraps    bool     // see meter.Rule
	dedup    bool     // series equal but for replicas are copies
	gaps     bool     // a time without any samples is said and not refused
	same     []string // series equal but for these labels are one, one after the other
	replicas []string // labels that only tell copies apart
	wanted   []promWanted
	pods     string // selector of Kepler's pods that give containers their names by pod_id; "" for none
}

// promWanted is a label and values that must all be found.
type promWanted struct {
	label  string
	values []string
}

// promPlan is an import, ready to run.
type promPlan struct {
	options      promclient.Options
	grid         meter.Grid
	maxGap       int64
	lookback     time.Duration
	allowPartial bool
	queries      []promQuery // the first makes the rows, the others are joined to them
}

func configError(format string, args ...any) error { return fault.New(fault.Config, format, args...) }

// spanType is a duration: seconds, or text such as 1h30m.
type spanType struct{}

func (spanType) Parse(v value.Value, path []string) (value.Value, []schema.Issue) {
	if _, ok := parseSpan(v); ok {
		return v, nil
	}
	if !v.IsNumber() && !v.IsString() {
		_, issues := schema.Text().Parse(v, path)
		return v, issues
	}
	return v, []schema.Issue{{Path: slices.Clone(path), Code: "custom", Text: `not a duration such as 90s, 5m, 1h30m or 1d`}}
}

func (spanType) Describe() string { return "duration such as 5m" }

// parseSpan reads seconds or text of the units w d h m s ms; ok is false for
// what is none, negative, or not whole milliseconds.
func parseSpan(v value.Value) (d time.Duration, ok bool) {
	if v.IsNumber() {
		ms := v.Num() * 1000
		if ms < 0 || ms != math.Trunc(ms) || ms > float64(math.MaxInt64/time.Millisecond) {
			return 0, false
		}
		return time.Duration(ms) * time.Millisecond, true
	}
	rest := v.Str()
	if rest == "" {
		return 0, false
	}
	if rest == "0" {
		return 0, true
	}
	for rest != "" {
		n := 0
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		count, err := strconv.ParseInt(rest[:n], 10, 64)
		if err != nil {
			return 0, false
		}
		rest = rest[n:]
		n = len(rest) - len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz"))
		unit, known := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}[rest[:n]]
		if !known || count > int64((math.MaxInt64-d)/unit) {
			return 0, false
		}
		d += time.Duration(count) * unit
		rest = rest[n:]
	}
	return d, true
}

// spanText writes d as parseSpan reads it: 1h10m, 40m8s.
func spanText(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	var b strings.Builder
	for _, u := range []struct {
		name string
		unit time.Duration
	}{{"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}} {
		if n := d / u.unit; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			d %= u.unit
		}
	}
	return b.String()
}

// between is spanText of the time from one time in milliseconds to another.
func between(from, to int64) string {
	return spanText(time.Duration(to-from) * time.Millisecond)
}

// instantType is a point in time: an unquoted or quoted timestamp, or now.
type instantType struct{ now bool }

func (t instantType) Parse(v value.Value, path []string) (value.Value, []schema.Issue) {
	if t.now && v.Str() == "now" {
		return v, nil
	}
	if _, ok := parseInstant(v); ok {
		return v, nil
	}
	return v, []schema.Issue{{Path: slices.Clone(path), Code: "custom", Text: "not a time: write it as 2026-01-31T12:00:00Z"}}
}

func (t instantType) Describe() string {
	if t.now {
		return "timestamp or now"
	}
	return "timestamp"
}

// parseInstant reads a time in whole milliseconds since 1970.
func parseInstant(v value.Value) (ms int64, ok bool) {
	if v.Kind() == value.Date {
		return int64(v.Num()), !math.IsNaN(v.Num())
	}
	at, err := time.Parse(time.RFC3339Nano, v.Str())
	if err != nil || at.Nanosecond()%1e6 != 0 {
		return 0, false
	}
	return at.UnixMilli(), true
}

// promQueryFields are the fields that the main query and those joined share.
func promQueryFields() []schema.Field {
	return []schema.Field{
		{Name: "query", Type: schema.Optional(schema.NonEmpty()), Doc: "PromQL: a selector such as `power_watts{room=\"a\"}` for a counter or a gauge, anything for an expression; `$__step` in it stands for the step."},
		{Name: "kind", Type: schema.Optional(schema.Enum("counter", "gauge", "expression")), Doc: "What the query gives: `counter` (what it counted in the step, from raw samples), `gauge` (integrated if it is power, else the mean over the step, from raw samples), `expression` (its value at the end of the step)."},
		{Name: "unit", Type: schema.Optional(schema.NonEmpty()), Doc: "J, mJ, µJ, Wh, kWh, W, mW, µW or kW: the result is energy in kWh. Without it values stay as they are."},
		{Name: "output", Type: schema.Optional(schema.NonEmpty()), Doc: "Parameter that takes the value: `energy` for energy, otherwise the query's name."},
		{Name: "labels", Type: schema.Optional(schema.Union(schema.Record(schema.NonEmpty()), schema.ArrayOf(schema.NonEmpty(), 1))), Doc: "Labels that become columns, as a list or as label: column; series that agree in them are added up. A joined query is joined on its columns and on time."},
		{Name: "starts-at-zero", Type: schema.Optional(schema.Bool()), Doc: "A counter that first appears inside the window began at 0. Presets know this of theirs; otherwise false."},
		{Name: "dedup", Type: schema.Optional(schema.Bool()), Doc: "Series equal but for the replica labels are copies of one: follow the first that has samples at the time."},
		{Name: "allow-gaps", Type: schema.Optional(schema.Bool()), Doc: "Go on where nothing was sampled for longer than `max-gap`, so that the result is too low, and say so; default false. See gaps."},
		{Name: "replica-labels", Type: schema.Optional(schema.ArrayOf(schema.NonEmpty(), 0)), Doc: "Labels that do not tell series apart but copies of one; default: instance, job, endpoint, service, prometheus, prometheus_replica, replica, less those that become columns."},
	}
}

// promConfig is the configuration of PrometheusImporter.
func promConfig() schema.Object {
	names := schema.Union(schema.NonEmpty(), schema.ArrayOf(schema.NonEmpty(), 1))
	joined := schema.Object{Fields: append(promQueryFields(),
		schema.Field{Name: "default", Type: schema.Optional(schema.Number()), Doc: "Value of a step for which there is none; without it that is an error."})}
	fields := []schema.Field{
		{Name: "url", Type: schema.Optional(schema.NonEmpty()), Doc: "Address of the server, without credentials; default: PROMETHEUS_URL from the environment."},
		{Name: "credentials", Type: schema.Optional(schema.NonEmpty()), Doc: "First part of the names of the environment variables with credentials; default: PROMETHEUS."},
		{Name: "timeout", Type: schema.Optional(spanType{}), Doc: "Longest time for one request; default 2m."},
		{Name: "window", Type: schema.Optional(spanType{}), Doc: "Length of the window; a multiple of step."},
		{Name: "start", Type: schema.Optional(instantType{}), Doc: "Start of the window."},
		{Name: "end", Type: schema.Optional(instantType{now: true}), Doc: "End of the window; `now`, the default, is the last multiple of `align` that lies `delay` in the past."},
		{Name: "align", Type: schema.Optional(spanType{}), Doc: "For `end: now`: the window ends at a multiple of this, counted from midnight UTC for what divides a day; default: step. With `window: 1h, step: 5m, align: 1h` a run that is late or tried again reads the same hour."},
		{Name: "delay", Type: schema.Optional(spanType{}), Doc: "How long after its end a window is complete in the database, for `end: now`; at least a scrape interval; default 1m."},
		{Name: "step", Type: schema.Optional(spanType{}), Doc: "Length of one row; default 5m."},
		{Name: "max-gap", Type: schema.Optional(spanType{}), Doc: "Longest time between samples that is bridged; default 5m. See gaps."},
		{Name: "lookback", Type: schema.Optional(spanType{}), Doc: "How far before the window the last value of a counter is looked for that has no sample near its start; default 1d, 0 for not at all."},
		{Name: "allow-partial", Type: schema.Optional(schema.Bool()), Doc: "Take answers that the server warns about, such as partial ones of Thanos; default false."},
		{Name: "preset", Type: schema.Optional(schema.Enum("kepler", "kepler-legacy", "scaphandre", "noether")), Doc: "Whose metrics to read; instead of `query`."},
		{Name: "level", Type: schema.Optional(schema.Enum("pod", "container", "process", "node")), Doc: "With a preset: whose energy makes the rows; default pod, or container if one is selected."},
		{Name: "namespace", Type: schema.Optional(names), Doc: "With a preset: only these namespaces; a name, a list of names, or a regular expression after `~`."},
		{Name: "pod", Type: schema.Optional(names), Doc: "With a preset: only these pods, likewise."},
		{Name: "container", Type: schema.Optional(names), Doc: "With a preset: only these containers, likewise."},
		{Name: "workload", Type: schema.Optional(names), Doc: "With a preset: only pods of these Deployments, StatefulSets, DaemonSets, Jobs, …; by label where there is one, otherwise by the form of the pods' names."},
		{Name: "carbon", Type: schema.Optional(schema.ArrayOf(schema.Enum("operational", "embodied"), 1)), Doc: "With the preset noether: also the grams that the agent booked, as `carbon-operational` and `carbon-embodied`."},
		{Name: "queries", Type: schema.Optional(schema.Record(joined)), Doc: "Further queries by name whose values are joined to the rows."},
	}
	return schema.Object{Fields: append(fields, promQueryFields()...)}
}

// isSecretKey reports whether key is what people call credentials in configuration.
func isSecretKey(key string) bool {
	switch strings.ReplaceAll(strings.ToLower(key), "_", "-") {
	case "user", "username", "password", "passwd", "pass", "token", "bearer-token", "bearer", "authorization", "auth", "api-key", "apikey", "basic-auth", "headers", "header", "secret", "key", "cert":
		return true
	}
	return false
}

// checkPromKeys refuses credentials and keys that nothing reads.
func checkPromKeys(config *value.Object, known schema.Object, where string) error {
	for key := range config.All() {
		if known.Has(key) {
			continue
		}
		if isSecretKey(key) {
			return configError("%q does not belong into a manifest, which is printed and kept: set the environment variables PROMETHEUS_USERNAME and PROMETHEUS_PASSWORD (or PROMETHEUS_PASSWORD_FILE), PROMETHEUS_BEARER_TOKEN_FILE, PROMETHEUS_CA_FILE, PROMETHEUS_CERT_FILE and PROMETHEUS_KEY_FILE.", where+key)
		}
		hint := ""
		if best := plugin.Closest(key, fieldNames(known)); best != "" {
			hint = fmt.Sprintf("did you mean %q? ", best)
		}
		return configError("%q is not known to PrometheusImporter: %sit takes %s.", where+key, hint, strings.Join(fieldNames(known), ", "))
	}
	return nil
}

func fieldNames(o schema.Object) []string {
	names := make([]string, len(o.Fields))
	for i, f := range o.Fields {
		names[i] = f.Name
	}
	return names
}

// planImport reads a configuration. It asks nobody.
func planImport(env *plugin.Env, config *value.Object, now time.Time) (*promPlan, error) {
	known := promConfig()
	if err := checkPromKeys(config, known, ""); err != nil {
		return nil, err
	}
	if _, issues := known.Parse(config.Value(), nil); issues != nil {
		return nil, fault.New(fault.InputValidation, "%s", schema.Message(issues, schema.NoIndex))
	}
	p := &promPlan{allowPartial: config.Get("allow-partial").Bool()}
	var err error
	if p.options, err = promOptions(env, config.Get("url").Str(), cmp.Or(config.Get("credentials").Str(), "PROMETHEUS")); err != nil {
		return nil, err
	}
	span := func(key string, otherwise time.Duration) time.Duration {
		if d, ok := parseSpan(config.Get(key)); ok {
			return d
		}
		return otherwise
	}
	p.options.Timeout = span("timeout", 2*time.Minute)
	p.lookback = span("lookback", 24*time.Hour)
	gap := span("max-gap", 5*time.Minute)
	if gap < time.Second {
		return nil, configError("max-gap must be at least 1s.")
	}
	p.maxGap = gap.Milliseconds()
	if p.grid, err = promWindow(config, now, span("step", 5*time.Minute), span("delay", time.Minute)); err != nil {
		return nil, err
	}
	main, err := mainQuery(config, time.Duration(p.grid.Step)*time.Millisecond)
	if err != nil {
		return nil, err
	}
	p.queries = []promQuery{main}
	for _, phase := range config.Get("carbon").Items() {
		q, err := carbonQuery(phase.Str(), config, main)
		if err != nil {
			return nil, err
		}
		p.queries = append(p.queries, q)
	}
	for name, v := range config.Get("queries").Object().All() {
		q, err := joinedQuery(name, v.Object(), main, time.Duration(p.grid.Step)*time.Millisecond)
		if err != nil {
			return nil, err
		}
		p.queries = append(p.queries, q)
	}
	return p, p.checkColumns()
}

// promOptions finds the server and the credentials for it. Credentials go to
// the server that the environment names, if it names one: a manifest cannot
// have them sent elsewhere.
func promOptions(env *plugin.Env, address, prefix string) (promclient.Options, error) {
	theirs := env.Getenv(prefix + "_URL")
	address = cmp.Or(address, theirs)
	if address == "" {
		return promclient.Options{}, configError("no server is named: set url, or %s_URL in the environment.", prefix)
	}
	u, err := promclient.CheckURL(address)
	if err != nil {
		return promclient.Options{}, configError("%w", err)
	}
	o := promclient.Options{URL: address}
	if theirs != "" && !sameServer(theirs, u) {
		env.Warn("%s is not the server in %s_URL: it is asked without credentials", u, prefix)
		return o, nil
	}
	if o.Credentials, err = promclient.FromEnvironment(env.Getenv, prefix); err != nil {
		return o, configError("%w", err)
	}
	return o, nil
}

func sameServer(address string, u *url.URL) bool {
	other, err := url.Parse(address)
	return err == nil && other.Scheme == u.Scheme && other.Host == u.Host
}

// promWindow finds the window.
func promWindow(config *value.Object, now time.Time, step, delay time.Duration) (meter.Grid, error) {
	if step < time.Second {
		return meter.Grid{}, configError("step must be at least 1s.")
	}
	length, hasWindow := parseSpan(config.Get("window"))
	start, hasStart := parseInstant(config.Get("start"))
	end, hasEnd := parseInstant(config.Get("end"))
	switch {
	case hasStart && hasWindow && hasEnd:
		return meter.Grid{}, configError("window, start and end say too much: leave one out.")
	case !hasStart && !hasWindow:
		return meter.Grid{}, configError("no window is given: set window (1h), or start and end.")
	case hasStart && hasWindow:
		end = start + length.Milliseconds()
	case !hasEnd:
		end = now.Add(-delay).UnixMilli()
		align, ok := parseSpan(config.Get("align"))
		if !ok {
			align = step
		}
		if align < time.Second {
			return meter.Grid{}, configError("align must be at least 1s.")
		}
		end -= end % align.Milliseconds()
	}
	if !hasStart {
		start = end - length.Milliseconds()
	}
	switch total := end - start; {
	case total <= 0:
		return meter.Grid{}, configError("the window is empty: it ends at %s and starts at %s.", meter.Clock(end), meter.Clock(start))
	case total%step.Milliseconds() != 0:
		return meter.Grid{}, configError("the window of %s is not a multiple of the step of %s: change one of them.", spanText(time.Duration(total)*time.Millisecond), spanText(step))
	case total/step.Milliseconds() > maxSteps:
		return meter.Grid{}, configError("the window has %d steps, more than %d: take a longer step.", total/step.Milliseconds(), maxSteps)
	case end > now.UnixMilli():
		return meter.Grid{}, configError("the window ends at %s, in the future: it is %s.", meter.Clock(end), meter.Clock(now.UnixMilli()))
	default:
		return meter.Grid{Start: start, Step: step.Milliseconds(), N: int(total / step.Milliseconds())}, nil
	}
}

// mainQuery makes the query of the rows from a preset or from query.
func mainQuery(config *value.Object, step time.Duration) (promQuery, error) {
	preset := config.Get("preset").Str()
	switch {
	case preset == "" && !config.Has("query"):
		return promQuery{}, configError("nothing is asked for: set preset (kepler, kepler-legacy, scaphandre or noether) or query.")
	case preset == "":
		for _, key := range []string{"level", "namespace", "pod", "container", "workload"} {
			if config.Has(key) {
				return promQuery{}, configError("%s goes with a preset: with query, select in the query.", key)
			}
		}
		q, err := customQuery("query", config, step)
		if q.output == "" && q.energy {
			q.output = "energy"
		}
		if err == nil && q.output == "" {
			err = configError("output is missing: name the parameter that takes the query's value, or set unit for energy.")
		}
		return q, err
	}
	for _, key := range []string{"query", "kind", "unit", "starts-at-zero"} {
		if config.Has(key) {
			return promQuery{}, configError("%s does not go with preset: the preset decides it.", key)
		}
	}
	q, err := presetQuery(preset, config)
	if err != nil {
		return q, err
	}
	q.output = cmp.Or(config.Get("output").Str(), "energy")
	sharedFields(&q, config)
	return q, nil
}

// joinedQuery makes one of queries.
func joinedQuery(name string, config *value.Object, main promQuery, step time.Duration) (promQuery, error) {
	fields := append(promQueryFields(), schema.Field{Name: "default"})
	if err := checkPromKeys(config, schema.Object{Fields: fields}, "queries."+name+"."); err != nil {
		return promQuery{}, err
	}
	if !config.Has("query") {
		return promQuery{}, configError("queries.%s has no query.", name)
	}
	q, err := customQuery("queries."+name, config, step)
	if err != nil {
		return q, err
	}
	q.output = cmp.Or(q.output, name)
	if v := config.Get("default"); v.IsNumber() {
		q.missing = new(float64)
		*q.missing = v.Num()
	}
	for _, c := range q.columns {
		if !slices.ContainsFunc(main.columns, func(m promColumn) bool { return m.column == c.column }) {
			return q, configError("queries.%s cannot be joined on %q: the rows have no such column, only %s.", name, c.column, columnNames(main.columns))
		}
	}
	return q, nil
}

func columnNames(columns []promColumn) string {
	if len(columns) == 0 {
		return "timestamp"
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.column
	}
	return strings.Join(names, ", ")
}

// customQuery reads a query that is written out.
func customQuery(name string, config *value.Object, step time.Duration) (promQuery, error) {
	q := promQuery{
		name: name, kind: queryKind(config.Get("kind").Str()), fromZero: config.Get("starts-at-zero").Bool(),
		query: strings.TrimSpace(strings.ReplaceAll(config.Get("query").Str(), "$__step", promclient.Duration(step))),
	}
	if u := config.Get("unit").Str(); u != "" {
		if q.unit, q.energy = promUnitOf(u); !q.energy {
			return q, configError("%s: the unit %q is not one of J, mJ, µJ, Wh, kWh, W, mW, µW, kW.", name, u)
		}
	}
	q.output = config.Get("output").Str()
	switch {
	case q.kind == "":
		return q, configError("%s: kind is missing: counter, gauge or expression?", name)
	case q.kind != expressionQuery && !promclient.IsSelector(q.query):
		return q, configError("%s: a %s is read from raw samples, which only a selector such as name{label=\"value\"} has: set kind: expression, or ask for the metric itself.", name, q.kind)
	case q.kind == counterQuery && q.energy && q.unit.power:
		return q, configError("%s: a counter does not count %s: set kind: gauge, or a unit of energy.", name, config.Get("unit").Str())
	case q.kind == gaugeQuery && q.energy && !q.unit.power:
		return q, configError("%s: a gauge in %s cannot be added up: set kind: counter, or a unit of power.", name, config.Get("unit").Str())
	}
	if q.kind != expressionQuery {
		q.family, _, _ = strings.Cut(q.query, "{")
	}
	sharedFields(&q, config)
	return q, nil
}

// sharedFields reads what presets and custom queries have in common.
func sharedFields(q *promQuery, config *value.Object) {
	q.dedup = config.Get("dedup").Bool()
	q.gaps = config.Get("allow-gaps").Bool()
	if labels := config.Get("labels"); labels.Kind() != value.Undefined {
		q.columns = nil
		for _, l := range labels.Items() {
			q.columns = append(q.columns, promColumn{l.Str(), l.Str()})
		}
		for label, column := range labels.Object().All() {
			q.columns = append(q.columns, promColumn{label, column.Str()})
		}
	}
	q.replicas = []string{"instance", "job", "endpoint", "service", "prometheus", "prometheus_replica", "replica"}
	if own := config.Get("replica-labels"); own.Kind() == value.Array {
		q.replicas = nil
		for _, l := range own.Items() {
			q.replicas = append(q.replicas, l.Str())
		}
	}
	// A label that people want to see tells series apart.
	q.replicas = slices.DeleteFunc(q.replicas, func(l string) bool {
		return slices.ContainsFunc(q.columns, func(c promColumn) bool { return c.label == l })
	})
}

// checkColumns makes sure that no two things are written to one parameter.
func (p *promPlan) checkColumns() error {
	used := map[string]string{"timestamp": "the time of the row", "duration": "the length of the row"}
	take := func(column, by string) error {
		if other, taken := used[column]; taken {
			return configError("%s would write %q, which is %s: choose another name.", by, column, other)
		}
		used[column] = "written by " + by
		return nil
	}
	for _, c := range p.queries[0].columns {
		if err := take(c.column, "the label "+c.label); err != nil {
			return err
		}
	}
	for _, q := range p.queries {
		if err := take(q.output, q.name); err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, c := range q.columns {
			if seen[c.column] {
				return configError("%s: two labels become the column %q: choose another name.", q.name, c.column)
			}
			seen[c.column] = true
		}
	}
	return nil
}
