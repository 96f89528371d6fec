package builtin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/file"
	"noether/internal/grid/series"
	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
	"noether/internal/promclient"
)

const intensityDoc = `Gives each row the carbon intensity of its grid zone in gCO2e/kWh: the mean over [timestamp, timestamp + duration), weighted by time.

The zone is the same for all rows (` + "`zone`" + `) or stands in a column (` + "`zone-parameter`" + `). Give exactly one source:

- ` + "`values`" + `: by zone a number that always holds, or a list of {timestamp, value}.
- ` + "`file`" + `: a table in CSV by path or URL: one's own (timestamp, zone, gCO2e/kWh), an export of Electricity Maps (` + "`factor`" + ` chooses life cycle or
  direct), Ember's yearly data in long format, or Our World in Data's. Text without a zone of time is in UTC; a year holds for that year.
- ` + "`series`" + `: a gauge in a Prometheus, ` + "`noether_grid_carbon_intensity_grams_per_kwh{grid_zone=…}`" + ` unless named otherwise, with credentials from the
  environment (PROMETHEUS_USERNAME and so on).
- ` + "`provider`" + `: a service by name, or a list of them of which each is asked for what those before it do not know: electricitymaps, watttime,
  neso, energy-charts, rte, entsoe, hub (a ` + "`noether carbon exporter`" + `, at the address ` + "`hub`" + `, which has no past: for that read its series), and yearly, the built-in yearly averages, which ask
  nobody. What is past is what the provider says of the past, the present its newest value, what is to come its forecast; a warning says so, and which
  provider stood in for which. Secrets come from the environment only: ELECTRICITYMAPS_TOKEN, WATTTIME_TOKEN (USER:PASSWORD), ENTSOE_TOKEN, or a file
  whose path is in …_TOKEN_FILE. All providers of a list have one signal and one factor.

A value holds until the next one, but no longer than the data's own step, or ` + "`max-age`" + ` if that is longer (for ` + "`series`" + ` an hour unless given).
A zone or a time without a value is an error that names both: it is never 0 and never another time's value.

SCI takes average or marginal intensity, location-based, and wants to be told which (ISO/IEC 21031): put it into the methodology.`

func carbonIntensity() plugin.Method {
	return plugin.Method{
		Name:    "CarbonIntensity",
		Paths:   []string{"carbon-intensity"},
		Summary: "Gives rows the carbon intensity of their grid zone and time.",
		Doc:     intensityDoc,
		Example: `path: builtin
method: CarbonIntensity
config:
  zone: DE
  values: {DE: 342}`,
		Config: schema.Object{
			Fields: []schema.Field{
				{Name: "zone", Type: schema.Optional(schema.NonEmpty()), Doc: "Zone of all rows, as the source names it: DE, DEU, US-CAL-CISO."},
				{Name: "zone-parameter", Type: schema.Default(schema.NonEmpty(), value.Text("grid/zone")), Doc: "Column that holds the zone, where zone is not given."},
				{Name: "values", Type: schema.Optional(schema.Record(schema.Union(schema.AtLeast(0), schema.ArrayOf(schema.Object{Fields: []schema.Field{
					{Name: "timestamp", Type: schema.Union(schema.NonEmpty(), schema.Date()), Doc: "From when the value holds."},
					{Name: "value", Type: schema.AtLeast(0), Doc: "gCO2e/kWh."},
				}}, 1)))), Doc: "Intensities in gCO2e/kWh by zone."},
				{Name: "file", Type: schema.Optional(schema.NonEmpty()), Doc: "Table in CSV, by path or URL."},
				{Name: "provider", Type: schema.Optional(schema.Union(schema.Enum(providerNames()...), schema.ArrayOf(schema.Enum(providerNames()...), 1))), Doc: "Service that is asked, or several in their order."},
				{Name: "hub", Type: schema.Optional(schema.NonEmpty()), Doc: "Address of the provider hub."},
				{Name: "factor", Type: schema.Optional(schema.Enum("lifecycle", "direct")), Doc: "Column of a table of Electricity Maps, lifecycle unless given; for providers the factor that they must have."},
				{Name: "series", Type: schema.Optional(schema.Object{Fields: []schema.Field{
					{Name: "url", Type: schema.NonEmpty(), Doc: "Prometheus' address."},
					{Name: "metric", Type: schema.Default(schema.NonEmpty(), value.Text("noether_grid_carbon_intensity_grams_per_kwh")), Doc: "Gauge in gCO2e/kWh."},
					{Name: "zone-label", Type: schema.Default(schema.NonEmpty(), value.Text("grid_zone")), Doc: "Label that names the zone."},
					{Name: "labels", Type: schema.Optional(schema.Record(schema.NonEmpty())), Doc: "Labels that choose one of several series of a zone, such as signal: average."},
					{Name: "credentials", Type: schema.Default(schema.NonEmpty(), value.Text("PROMETHEUS")), Doc: "Prefix of the environment variables with credentials."},
				}}), Doc: "Gauge in a Prometheus."},
				{Name: "max-age", Type: schema.Optional(spanType{}), Doc: "How long a value holds if none follows: 2h, 366d."},
				{Name: "output", Type: schema.Default(schema.NonEmpty(), value.Text("grid/carbon-intensity")), Doc: "Parameter that takes the intensity in gCO2e/kWh."},
			},
			Refine: func(o *value.Object) []schema.Issue {
				n := 0
				for _, key := range []string{"values", "file", "series", "provider"} {
					if o.Has(key) {
						n++
					}
				}
				if n != 1 {
					return []schema.Issue{{Code: "custom", Text: "Give one source of carbon intensity: values, file, series or provider"}}
				}
				return nil
			},
		},
		Outputs: []plugin.Parameter{{Name: "grid/carbon-intensity", Unit: "gCO2e/kWh", Description: "carbon intensity of the grid", Time: plugin.Avg, Component: plugin.Avg}},
		Reaches: plugin.Files | plugin.Network,
		Formula: func(config *value.Object, out string) (plugin.Formula, bool) {
			own := config.Get("output").Str()
			if own == "" {
				own = "grid/carbon-intensity"
			}
			source := "values in the manifest"
			if f := config.Get("file"); f.IsString() {
				source = f.Str()
			} else if s := config.Get("series").Object(); s != nil {
				source = "a series in Prometheus"
			} else if config.Has("provider") {
				source = sayProviders(config)
			}
			return plugin.Formula{Text: "mean of the zone's intensity over the row, weighted by time", Unit: "gCO2e/kWh", Source: source}, out == own
		},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			p := &intensity{env: env}
			return plugin.NewFramed(env, d, m, plugin.Kernel{Run: p.run}), nil
		},
	}
}

// intensity is one instance. The source is made once, by the first node.
type intensity struct {
	env    *plugin.Env
	once   sync.Once
	source grid.Source
	err    error
}

func (p *intensity) run(ctx context.Context, c *plugin.Call) ([]*value.Object, error) {
	p.once.Do(func() { p.source, p.err = openIntensity(ctx, p.env, c.Config) })
	if p.err != nil {
		return nil, p.err
	}
	out := c.Config.Get("output").Str()
	timestamp, duration := value.Field{Name: "timestamp"}, value.Field{Name: "duration"}
	zones, err := zonesOf(c.Rows, c.Config, &timestamp, &duration)
	if err != nil {
		return nil, err
	}
	for _, z := range zones {
		samples, err := p.source.Intensity(ctx, z.name, time.UnixMicro(int64(z.from*1000)), time.UnixMicro(int64(math.Ceil(z.to*1000))))
		if err != nil {
			return nil, fault.New(fault.MissingInputData, "carbon intensity of zone %q: %w", z.name, err)
		}
		for _, i := range z.rows {
			from, to, err := spanOfRow(&timestamp, &duration, c.Rows[i])
			if err != nil {
				return nil, atRow(i, err)
			}
			mean, err := grid.Mean(samples, time.UnixMicro(int64(from*1000)), time.UnixMicro(int64(to*1000)))
			if err != nil {
				return nil, fault.New(fault.MissingInputData, "carbon intensity of zone %q: %w (row %d); add data for that time, or let values hold longer by max-age", z.name, err, i)
			}
			c.Rows[i].Set(out, value.Of(mean))
		}
	}
	return c.Rows, nil
}

func atRow(i int, err error) error { return fault.New(fault.InputValidation, "row %d: %w", i, err) }

// zoneRows are the rows of one zone and the time that they span in
// milliseconds since 1970.
type zoneRows struct {
	name     string
	from, to float64
	rows     []int
}

// zonesOf sorts rows by zone, in the order in which the zones come.
func zonesOf(rows []*value.Object, config *value.Object, timestamp, duration *value.Field) ([]*zoneRows, error) {
	var out []*zoneRows
	byName := map[string]*zoneRows{}
	fixed, column := config.Get("zone").Str(), value.Field{Name: config.Get("zone-parameter").Str()}
	for i, row := range rows {
		name := fixed
		if name == "" {
			if name = column.Get(row).Str(); name == "" {
				return nil, fault.New(fault.MissingInputData, "%s is missing from the input array, or has nullish value (row %d): give zone in config or the column in the rows", column.Name, i)
			}
		}
		from, to, err := spanOfRow(timestamp, duration, row)
		if err != nil {
			return nil, atRow(i, err)
		}
		z := byName[name]
		if z == nil {
			z = &zoneRows{name: name, from: from, to: to}
			byName[name] = z
			out = append(out, z)
		}
		z.from, z.to = min(z.from, from), max(z.to, to)
		z.rows = append(z.rows, i)
	}
	return out, nil
}

// openIntensity makes the source that a checked configuration names.
func openIntensity(ctx context.Context, env *plugin.Env, config *value.Object) (grid.Source, error) {
	maxAge := spanOrZero(config.Get("max-age"))
	if o := config.Get("series").Object(); o != nil {
		s, err := openSeries(env, o, maxAge)
		if err != nil {
			return nil, fault.New(fault.Config, "%w", err)
		}
		return s, nil
	}
	if config.Has("provider") {
		p, err := openProviders(env, config, maxAge)
		if err != nil {
			return nil, fault.New(fault.Config, "%w", err)
		}
		return p, nil
	}
	if name := config.Get("file").Str(); name != "" {
		t, err := openTable(ctx, env, name, grid.Factor(cmp.Or(config.Get("factor").Str(), string(grid.Lifecycle))), maxAge)
		if err != nil {
			return nil, fault.New(fault.ReadFile, "read carbon intensity from %s: %w", name, err)
		}
		return t, nil
	}
	points, err := valuePoints(config.Get("values").Object())
	if err != nil {
		return nil, fault.New(fault.Config, "values: %w", err)
	}
	t, err := file.New(points, maxAge)
	if err != nil {
		return nil, fault.New(fault.Config, "values: %w", err)
	}
	return t, nil
}

func valuePoints(values *value.Object) (points []file.Point, err error) {
	for zone, v := range values.All() {
		if v.IsNumber() {
			points = append(points, file.Constant(zone, v.Num()))
			continue
		}
		for _, item := range v.Items() {
			p := file.Point{Zone: zone, Intensity: item.Object().Get("value").Num()}
			at := item.Object().Get("timestamp")
			if at.Kind() == value.Date {
				p.From = at.Time()
			} else if p.From, p.To, err = file.ParseTime(at.Str()); err != nil {
				return nil, fmt.Errorf("zone %q: %w", zone, err)
			}
			points = append(points, p)
		}
	}
	return points, nil
}

// maxTable bounds a table in bytes: an hour of a zone takes 150, so this is
// some three hundred zones of a year.
const maxTable = 512 << 20

func openTable(ctx context.Context, env *plugin.Env, name string, factor grid.Factor, maxAge time.Duration) (t *file.Table, err error) {
	r, err := env.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	bounded := &io.LimitedReader{R: r, N: maxTable}
	t, err = file.Parse(bounded, factor, maxAge)
	if bounded.N <= 0 {
		return nil, fmt.Errorf("it is larger than %d MiB: leave out what is not needed", maxTable>>20)
	}
	return t, err
}

func openSeries(env *plugin.Env, o *value.Object, maxAge time.Duration) (*series.Source, error) {
	credentials, err := promclient.FromEnvironment(env.Getenv, o.Get("credentials").Str())
	if err != nil {
		return nil, err
	}
	client, err := promclient.New(promclient.Options{URL: o.Get("url").Str(), Credentials: credentials})
	if err != nil {
		return nil, err
	}
	if maxAge == 0 {
		maxAge = time.Hour
	}
	s := &series.Source{Client: client, Metric: o.Get("metric").Str(), ZoneLabel: o.Get("zone-label").Str(), MaxAge: maxAge}
	for name, v := range o.Get("labels").Object().All() {
		s.Matchers = append(s.Matchers, promclient.Matcher{Label: name, Op: "=", Value: v.Str()})
	}
	return s, nil
}
