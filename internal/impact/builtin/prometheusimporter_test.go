package builtin

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
	"noether/internal/promclient"
)

// noon is the end of most windows here; it is ten past.
var noon = time.Date(2024, 1, 1, 12, 0, 0, 0, time.UTC)

// fakeProm answers the queries of the importer from series in memory. Of a
// selector it heeds the name alone.
type fakeProm struct {
	t      *testing.T
	url    string
	series map[string][]float64 // `name{label="value"}` → seconds after 11:00 and value, in turns
	values map[string]string    // other query → result as JSON

	mu       sync.Mutex
	warnings []string
	limit    int     // samples in an answer
	up       float64 // when up begins
	asked    []string
	phases   bool // heed phase="…" too
}

func newFakeProm(t *testing.T, series map[string][]float64) *fakeProm {
	t.Helper()
	f := &fakeProm{t: t, series: series, values: map[string]string{}, limit: 1e9, up: 1e12}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

var (
	rawQuery  = regexp.MustCompile(`^(\w*)(?:\{.*\})?\[(\d+)(ms|s)\]$`)
	lastQuery = regexp.MustCompile(`^last_over_time\((\w*)(?:\{.*\})?\[(\d+)(ms|s)\]\)$`)
)

func (f *fakeProm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.FormValue("query")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, query)
	seconds, err := strconv.ParseFloat(r.FormValue("time"), 64)
	if err != nil && r.FormValue("end") == "" {
		f.t.Errorf("time is %q", r.FormValue("time"))
	}
	var result, kind string
	if m := rawQuery.FindStringSubmatch(query); m != nil {
		kind, result = "matrix", f.answer(m, seconds, false)
	} else if m := lastQuery.FindStringSubmatch(query); m != nil {
		kind, result = "vector", f.answer(m, seconds, true)
	} else if kind = "vector"; r.FormValue("end") != "" {
		kind = "matrix"
	}
	if v, ok := f.values[query]; ok {
		result = v
	}
	if query == "count(up)" && seconds >= f.up {
		result = `{"metric":{},"value":[0,"1"]}`
	}
	if strings.HasPrefix(query, "stale_samples_over_time") { // not in PromQL
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if result == "too much" {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory"}`)
		return
	}
	warnings, err := json.Marshal(f.warnings)
	if err != nil {
		f.t.Error(err)
	}
	fmt.Fprintf(w, `{"status":"success","warnings":%s,"data":{"resultType":%q,"result":[%s]}}`, warnings, kind, result)
}

// answer returns the samples of a family within a time, or the last of each series.
func (f *fakeProm) answer(m []string, end float64, last bool) string {
	length, err := strconv.ParseFloat(m[2], 64)
	if err != nil {
		f.t.Error(err)
	}
	if m[3] == "ms" {
		length /= 1000
	}
	count := 0
	var out []string
	for series, samples := range f.series {
		name, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
		if m[1] != "" && name != m[1] {
			continue
		}
		if _, phase, ok := strings.Cut(labels, "phase="); f.phases && ok && !strings.Contains(m[0], "phase="+phase) {
			continue
		}
		metric := map[string]string{"__name__": name}
		for pair := range strings.SplitSeq(labels, ",") {
			if k, v, ok := strings.Cut(pair, "="); ok {
				metric[k] = strings.Trim(v, `"`)
			}
		}
		var values []string
		for i := 0; i < len(samples); i += 2 {
			at := float64(noon.Add(-time.Hour).Unix()) + samples[i]
			if at > end-length && at <= end {
				values = append(values, fmt.Sprintf(`[%.3f,"%v"]`, at, samples[i+1]))
			}
		}
		if len(values) == 0 {
			continue
		}
		count += len(values)
		text, err := json.Marshal(metric)
		if err != nil {
			f.t.Error(err)
		}
		if last {
			out = append(out, fmt.Sprintf(`{"metric":%s,"value":%s}`, text, values[len(values)-1]))
		} else {
			out = append(out, fmt.Sprintf(`{"metric":%s,"values":[%s]}`, text, strings.Join(values, ",")))
		}
	}
	if count > f.limit {
		return "too much"
	}
	return strings.Join(out, ",")
}

// rows returns rows as text, and what was warned of.
func (f *fakeProm) rows(config string, environ map[string]string) (rows, warnings []string, err error) {
	f.t.Helper()
	env, warned := publishEnv(environ)
	env.Now = func() time.Time { return noon.Add(10 * time.Minute) }
	p := newPlugin(f.t, env, prometheusImporter(), strings.ReplaceAll(config, "URL", f.url))
	out, err := p.Execute(context.Background(), nil, &plugin.Node{})
	for _, row := range out {
		var cells []string
		for k, v := range row.All() {
			switch k {
			case "timestamp":
				cells = append(cells, v.Str()[11:16])
			case "duration":
			default:
				cells = append(cells, k+"="+v.String())
			}
		}
		rows = append(rows, strings.Join(cells, " "))
	}
	return rows, *warned, err
}

func newPlugin(t testing.TB, env *plugin.Env, m plugin.Method, config string) plugin.Plugin {
	t.Helper()
	v, err := jsyaml.Parse([]byte(config))
	if err != nil {
		t.Fatalf("%v\n%s", err, config)
	}
	p, err := m.New(env, &plugin.Declaration{Name: "prom", Config: v.Object()}, &m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// line is a series from seconds to seconds every minute that rises by rate a second.
func line(from, to, start, rate float64) (out []float64) {
	for at := from; at <= to; at += 60 {
		out = append(out, at, start+(at-from)*rate)
	}
	return out
}

const halves = "url: URL\nstart: 2024-01-01T11:00:00Z\nend: 2024-01-01T12:00:00Z\nstep: 30m\n"

func TestImport(t *testing.T) {
	whole := line(-300, 3900, 1000, 2) // 2 J/s: 3600 J in half an hour, 0.001 kWh
	tests := map[string]struct {
		series   map[string][]float64
		values   map[string]string
		config   string
		rows     []string
		warnings []string
	}{
		"labels become columns": {
			series: map[string][]float64{`e{pod="a",ns="x"}`: whole, `e{pod="b",ns="x"}`: whole, `e{ns="y"}`: whole},
			config: `{query: e, kind: counter, unit: J, labels: {ns: namespace, pod: pod}}`,
			rows:   []string{"11:00 namespace=x pod=a energy=0.001", "11:30 namespace=x pod=a energy=0.001", "11:00 namespace=x pod=b energy=0.001", "11:30 namespace=x pod=b energy=0.001", "11:00 namespace=y energy=0.001", "11:30 namespace=y energy=0.001"},
		},
		"series of one column are added": {
			series: map[string][]float64{`e{pod="a",ns="x"}`: whole, `e{pod="b",ns="x"}`: whole},
			config: `{query: e, kind: counter, unit: mJ, labels: [ns], output: e}`,
			rows:   []string{"11:00 ns=x e=0.000002", "11:30 ns=x e=0.000002"},
		},
		"a born counter counts from 0 if that is known": {
			series: map[string][]float64{`e{pod="a"}`: line(1200, 3900, 600, 2)},
			config: `{query: e, kind: counter, unit: Wh, starts-at-zero: true}`,
			rows:   []string{"11:00 energy=1.8", "11:30 energy=3.6"},
		},
		"a born counter is reported else": {
			series:   map[string][]float64{`e{pod="a"}`: line(1200, 3900, 600, 2)},
			config:   `{query: e, kind: counter, unit: Wh}`,
			rows:     []string{"11:00 energy=1.2", "11:30 energy=3.6"},
			warnings: []string{"1 series began inside the window"},
		},
		"a counter that was away is not new": {
			series:   map[string][]float64{`e{pod="a"}`: append([]float64{-7200, 540}, line(1200, 3900, 600, 2)...)},
			config:   `{query: e, kind: counter, unit: Wh, starts-at-zero: true}`,
			rows:     []string{"11:00 energy=1.26", "11:30 energy=3.6"},
			warnings: []string{"has no samples from"},
		},
		"a gap is bridged and reported": {
			series:   map[string][]float64{`e{pod="a"}`: append(line(-300, 600, 0, 2), line(840, 3900, 2280, 2)...)},
			config:   `{query: e, kind: counter, unit: Wh}`,
			rows:     []string{"11:00 energy=3.6", "11:30 energy=3.6"},
			warnings: []string{`e{pod="a"} has no samples from 2024-01-01T11:10:00Z to 2024-01-01T11:14:00Z (4m): what it counted meanwhile is exact in sum, and spread evenly`},
		},
		"a long gap counts at its end": {
			series:   map[string][]float64{`e{pod="a"}`: append(line(-300, 600, 0, 2), line(2160, 3900, 4920, 2)...)},
			config:   `{query: e, kind: counter, unit: Wh}`,
			rows:     []string{"11:00 energy=1.2", "11:30 energy=6"},
			warnings: []string{"laid over the last 5m of that time"},
		},
		"power is integrated": {
			series: map[string][]float64{`p{pod="a"}`: line(-300, 3900, 100, 0)},
			config: `{query: p, kind: gauge, unit: kW}`,
			rows:   []string{"11:00 energy=50", "11:30 energy=50"},
		},
		"power is unknown over a long gap": {
			series:   map[string][]float64{`p{pod="a"}`: append(line(-300, 1200, 100, 0), line(1800, 3900, 100, 0)...)},
			config:   `{query: p, kind: gauge, unit: kW, allow-gaps: true}`,
			rows:     []string{"11:00 energy=33.333333333333336", "11:30 energy=50"},
			warnings: []string{"nothing is counted", "nothing was sampled from 2024-01-01T11:20:00Z to 2024-01-01T11:30:00Z (10m)"},
		},
		"a gauge without unit is a mean": {
			series: map[string][]float64{`e{pod="a"}`: whole, `g{x="y"}`: line(-300, 3900, 0, 1./60)},
			config: `{query: e, kind: counter, unit: J, queries: {mean: {query: g, kind: gauge}}}`,
			rows:   []string{"11:00 energy=0.001 mean=20", "11:30 energy=0.001 mean=50"},
		},
		"an expression holds at the end of the step": {
			series: map[string][]float64{`e{pod="a"}`: whole},
			values: map[string]string{"sum(x[1800s])": `{"metric":{},"values":[[1704108600,"3"],[1704110400,"4"]]}`},
			config: `{query: e, kind: counter, unit: J, queries: {x: {query: 'sum(x[$__step])', kind: expression}}}`,
			rows:   []string{"11:00 energy=0.001 x=3", "11:30 energy=0.001 x=4"},
		},
		"power as expression": {
			values: map[string]string{"w": `{"metric":{"pod":"a"},"values":[[1704108600,"2"],[1704110400,"4"]]}`},
			config: `{query: w, kind: expression, unit: kW, labels: [pod]}`,
			rows:   []string{"11:00 pod=a energy=1", "11:30 pod=a energy=2"},
		},
		"a default stands in": {
			series:   map[string][]float64{`e{pod="a"}`: whole, `e{pod="b"}`: whole, `r{pod="a"}`: line(1800, 3900, 0, 1)},
			values:   map[string]string{"nan": `{"metric":{},"values":[[1704108600,"NaN"]]}`},
			config:   `{query: e, kind: counter, unit: J, labels: [pod], queries: {r: {query: r, kind: counter, labels: [pod], default: 0}, n: {query: nan, kind: expression, default: 7}, none: {query: none, kind: counter, default: 9}}}`,
			rows:     []string{"11:00 pod=a energy=0.001 r=0 n=7 none=9", "11:30 pod=a energy=0.001 r=1800 n=7 none=9", "11:00 pod=b energy=0.001 r=0 n=7 none=9", "11:30 pod=b energy=0.001 r=0 n=7 none=9"},
			warnings: []string{"queries.r: 1 series began inside the window"},
		},
		"what joins no row is said": {
			series:   map[string][]float64{`e{pod="a"}`: whole, `r{pod="a"}`: whole, `r{pod="z"}`: whole},
			config:   `{query: e, kind: counter, unit: J, labels: [pod], queries: {r: {query: r, kind: counter, labels: [pod]}}}`,
			rows:     []string{"11:00 pod=a energy=0.001 r=3600", "11:30 pod=a energy=0.001 r=3600"},
			warnings: []string{"queries.r: 1 of its series match no row"},
		},
		"data that ends too early is said": {
			series:   map[string][]float64{`e{pod="a"}`: line(-300, 3420, 0, 2)},
			config:   `{query: e, kind: counter, unit: Wh}`,
			rows:     []string{"11:00 energy=3.6", "11:30 energy=3.24"},
			warnings: []string{"3m before the end of the window"},
		},
		"a wrap of a host's counter": {
			series:   map[string][]float64{`scaph_host_energy_microjoules{instance="h"}`: append(line(-300, 1200, 5e9, 2e6), line(1260, 3900, 1e9, 2e6)...)},
			config:   `{preset: scaphandre, level: node}`,
			rows:     []string{"11:00 node=h energy=0.001", "11:30 node=h energy=0.001"},
			warnings: []string{"wrapped 1 times"},
		},
		"copies, once": {
			series: map[string][]float64{`e{pod="a",replica="1"}`: whole, `e{pod="a",replica="2"}`: whole},
			config: `{query: e, kind: counter, unit: J, dedup: true}`,
			rows:   []string{"11:00 energy=0.001", "11:30 energy=0.001"},
		},
		"series apart by a label that is shown": {
			series: map[string][]float64{`e{instance="1"}`: whole, `e{instance="2"}`: whole},
			config: `{query: e, kind: counter, unit: J, labels: {instance: node}}`,
			rows:   []string{"11:00 node=1 energy=0.001", "11:30 node=1 energy=0.001", "11:00 node=2 energy=0.001", "11:30 node=2 energy=0.001"},
		},
		"series apart by a label that is no replica's": {
			series: map[string][]float64{`e{instance="1"}`: whole, `e{instance="2"}`: whole},
			config: `{query: e, kind: counter, unit: J, replica-labels: [replica]}`,
			rows:   []string{"11:00 energy=0.002", "11:30 energy=0.002"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFakeProm(t, test.series)
			if test.values != nil {
				f.values = test.values
			}
			for _, limit := range []int{1e9, 40} { // once whole, once in pieces
				f.limit = limit
				rows, warnings, err := f.rows(halves+flow(test.config), nil)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.rows, rows); diff != "" {
					t.Error(diff)
				}
				if len(warnings) != len(test.warnings) {
					t.Fatalf("warnings: %q", warnings)
				}
				for i, w := range warnings {
					if !strings.Contains(w, test.warnings[i]) {
						t.Errorf("warning %q does not say %q", w, test.warnings[i])
					}
				}
			}
		})
	}
}

// flow puts the pairs of a flow mapping after a block mapping.
func flow(config string) string { return "<<: " + config + "\n" }

func TestImportErrors(t *testing.T) {
	whole := line(-300, 3900, 1000, 2)
	ok := map[string][]float64{`e{pod="a"}`: whole}
	tests := map[string]struct {
		series map[string][]float64
		values map[string]string
		config string
		want   []string
	}{
		"nothing":                {nil, nil, ``, []string{"ConfigError: Config is not provided."}},
		"no server":              {nil, nil, `{preset: kepler, window: 1h}`, []string{"ConfigError", "PROMETHEUS_URL"}},
		"credentials in url":     {nil, nil, `{url: 'http://u:s3cret@p', preset: kepler, window: 1h}`, []string{"ConfigError", "environment"}},
		"a password":             {nil, nil, `{url: URL, password: s3cret, preset: kepler, window: 1h}`, []string{"ConfigError", `"password" does not belong into a manifest`, "PROMETHEUS_PASSWORD"}},
		"a token in a query":     {nil, nil, halves + flow(`{query: e, kind: counter, unit: J, queries: {r: {query: e, kind: counter, bearer_token: s3cret}}}`), []string{`"queries.r.bearer_token" does not belong`}},
		"a misspelt key":         {nil, nil, halves + flow(`{preset: kepler, namspace: x}`), []string{`"namspace" is not known`, `did you mean "namespace"?`}},
		"a wrong type":           {nil, nil, halves + flow(`{preset: kepler, dedup: 1}`), []string{`InputValidationError: "dedup" parameter is expected boolean, received number. Error code: invalid_type.`}},
		"a wrong preset":         {nil, nil, halves + flow(`{preset: keppler}`), []string{"'kepler' | 'kepler-legacy'"}},
		"no window":              {nil, nil, `{url: URL, preset: kepler}`, []string{"no window"}},
		"too much window":        {nil, nil, halves + flow(`{preset: kepler, window: 1h}`), []string{"say too much"}},
		"an empty window":        {nil, nil, `{url: URL, preset: kepler, start: 2024-01-01T11:00:00Z, end: 2024-01-01T11:00:00Z}`, []string{"is empty"}},
		"an uneven window":       {nil, nil, `{url: URL, preset: kepler, window: 1h, step: 7m}`, []string{"not a multiple"}},
		"the future":             {nil, nil, `{url: URL, preset: kepler, window: 1h, start: 2024-01-01T11:55:00Z}`, []string{"in the future"}},
		"a wrong duration":       {nil, nil, `{url: URL, preset: kepler, window: 1 hour}`, []string{`"window" parameter is not a duration`}},
		"a wrong time":           {nil, nil, `{url: URL, preset: kepler, window: 1h, end: today}`, []string{`"end" parameter is not a time`}},
		"a short step":           {nil, nil, `{url: URL, preset: kepler, window: 1h, step: 10ms}`, []string{"at least 1s"}},
		"a short align":          {nil, nil, `{url: URL, preset: kepler, window: 1h, align: 0}`, []string{"align must be at least 1s"}},
		"many steps":             {nil, nil, `{url: URL, preset: kepler, window: 5000w, step: 1s, end: now}`, []string{"more than"}},
		"nothing asked":          {nil, nil, halves, []string{"nothing is asked for"}},
		"preset and kind":        {nil, nil, halves + flow(`{preset: kepler, kind: counter}`), []string{"the preset decides it"}},
		"query and namespace":    {nil, nil, halves + flow(`{query: e, kind: counter, unit: J, namespace: x}`), []string{"goes with a preset"}},
		"no kind":                {nil, nil, halves + flow(`{query: e, unit: J}`), []string{"kind is missing"}},
		"no such unit":           {nil, nil, halves + flow(`{query: e, kind: counter, unit: BTU}`), []string{`"BTU" is not one of`}},
		"a counter of watts":     {nil, nil, halves + flow(`{query: e, kind: counter, unit: W}`), []string{"a counter does not count W"}},
		"a gauge of joules":      {nil, nil, halves + flow(`{query: e, kind: gauge, unit: J}`), []string{"cannot be added up"}},
		"raw of an expression":   {nil, nil, halves + flow(`{query: sum(e), kind: counter, unit: J}`), []string{"kind: expression"}},
		"no output":              {nil, nil, halves + flow(`{query: e, kind: counter}`), []string{"output is missing"}},
		"output twice":           {nil, nil, halves + flow(`{query: e, kind: counter, unit: J, queries: {energy: {query: e, kind: counter}}}`), []string{`queries.energy would write "energy"`}},
		"output over duration":   {nil, nil, halves + flow(`{query: e, kind: counter, unit: J, output: duration}`), []string{`would write "duration"`}},
		"two labels, a column":   {nil, nil, halves + flow(`{query: e, kind: counter, unit: J, labels: {a: x, b: x}}`), []string{`would write "x"`}},
		"a join on nothing":      {nil, nil, halves + flow(`{query: e, kind: counter, unit: J, queries: {r: {query: e, kind: counter, labels: [pod]}}}`), []string{`cannot be joined on "pod"`, "only timestamp"}},
		"no such level":          {nil, nil, halves + flow(`{preset: kepler, level: process}`), []string{"has no level process"}},
		"a node's pod":           {nil, nil, halves + flow(`{preset: kepler, level: node, pod: x}`), []string{"pod cannot be selected at level node"}},
		"a workload like that":   {nil, nil, halves + flow(`{preset: kepler, workload: ~x}`), []string{"workload takes names"}},
		"no series":              {nil, nil, halves + flow(`{query: e, kind: counter, unit: J}`), []string{"MissingInputDataError", "no series match", "has no e at all"}},
		"a single sample":        {map[string][]float64{`e{}`: {1200, 5}}, nil, halves + flow(`{query: e, kind: counter, unit: J}`), []string{"MissingInputDataError", "a single sample"}},
		"samples far apart":      {map[string][]float64{`e{}`: {-600, 1, 0, 2, 600, 3, 1200, 4, 1800, 5, 2400, 6}}, nil, halves + flow(`{query: e, kind: counter, unit: J}`), []string{"InvalidInputError", "10m apart", "max-gap: 20m"}},
		"not a number":           {map[string][]float64{`e{pod="a"}`: {0, 1, 60, math.NaN(), 120, 3}}, nil, halves + flow(`{query: e, kind: counter, unit: J}`), []string{"APIRequestError", `e{pod="a"}`, "2024-01-01T11:01:00Z is NaN"}},
		"a counter below 0":      {map[string][]float64{`e{pod="a"}`: {0, 1, 60, -3}}, nil, halves + flow(`{query: e, kind: counter, unit: J}`), []string{"11:01:00Z is -3"}},
		"copies":                 {map[string][]float64{`e{pod="a",job="1"}`: whole, `e{pod="a",job="2"}`: whole}, nil, halves + flow(`{query: e, kind: counter, unit: J}`), []string{"InvalidInputError", "differ only in job", `job="1"`, "dedup: true", "replica-labels"}},
		"renamed labels":         {map[string][]float64{`noether_pod_joules_total{exported_pod="a",pod="agent",namespace="x"}`: whole}, nil, halves + flow(`{preset: noether}`), []string{"exported_pod", "honor_labels"}},
		"join without value":     {map[string][]float64{`e{pod="a"}`: whole, `r{}`: line(1800, 3900, 0, 1)}, nil, halves + flow(`{query: e, kind: counter, unit: J, labels: [pod], queries: {r: {query: r, kind: counter}}}`), []string{"queries.r: there is no value for the step from 2024-01-01T11:00:00Z", "set default"}},
		"join without series":    {ok, nil, halves + flow(`{query: e, kind: counter, unit: J, queries: {r: {query: r, kind: counter}}}`), []string{"queries.r: no series match"}},
		"expression NaN":         {ok, map[string]string{"x": `{"metric":{},"values":[[1704108600,"NaN"]]}`}, halves + flow(`{query: x, kind: expression, unit: J}`), []string{"is NaN at 2024-01-01T11:30:00Z", "set default"}},
		"expression of many":     {ok, map[string]string{"x": `{"metric":{"a":"1"},"values":[[1704108600,"1"]]},{"metric":{"a":"2"},"values":[[1704108600,"1"]]}`}, halves + flow(`{query: x, kind: expression, unit: J}`), []string{"several series have the same columns"}},
		"another time":           {ok, map[string]string{"x": `{"metric":{},"values":[[1704108601,"1"]]}`}, halves + flow(`{query: x, kind: expression, unit: J}`), []string{"which was not asked for"}},
		"memory begins":          {map[string][]float64{`noether_pod_joules_total{pod="a",namespace="x"}`: line(1200, 3900, 1e6, 2)}, nil, halves + flow(`{preset: noether}`), []string{"has no data of any target at the start"}},
		"wrong PromQL":           {nil, map[string]string{"x(": "too much"}, halves + flow(`{query: x(, kind: expression, unit: J}`), []string{"APIRequestError", "too many samples"}},
		"credentials that clash": {nil, nil, halves + flow(`{preset: kepler, credentials: BAD}`), []string{"BAD_USERNAME is set without BAD_PASSWORD"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFakeProm(t, test.series)
			if test.values != nil {
				f.values = test.values
			}
			f.up = float64(noon.Add(-40 * time.Minute).Unix())
			_, _, err := f.rows(test.config, map[string]string{"BAD_USERNAME": "u"})
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range test.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v does not say %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v shows the secret", err)
			}
		})
	}
}

// TestImportSilence: what is not known of a time without samples is an error
// that can be allowed; what is known is not.
func TestImportSilence(t *testing.T) {
	const e, pod = `e{instance="n1:80",job="x",pod="a"}`, `noether_pod_joules_total{instance="n1:80",job="x",namespace="s",pod="a"}`
	const counter = `{query: e, kind: counter, unit: Wh, starts-at-zero: true}`
	// on is the answer of an exporter that goes on for minutes.
	on := func(minutes int) string {
		var values []string
		for i := range minutes / 5 {
			values = append(values, fmt.Sprintf(`[%d,"9"]`, 1704106800+300*i))
		}
		return `{"metric":{},"values":[` + strings.Join(values, ",") + `]}`
	}
	ask := func(selector string) string { return "count(last_over_time(" + selector + "[300s]))" }
	tests := map[string]struct {
		series map[string][]float64
		values map[string]string
		config string
		want   []string // of the error; none: no error
		rows   []string
	}{
		"away at the end": {
			map[string][]float64{e: line(-300, 1200, 0, 2)},
			nil, counter,
			[]string{"InvalidInputError: query: nothing was sampled from 2024-01-01T11:20:00Z to 2024-01-01T12:00:00Z (40m), so that the result would be too low (e)", "Take a window that ends at 2024-01-01T11:20:00Z or earlier, or set allow-gaps: true"},
			nil,
		},
		"all have ended, and their exporter goes on": {
			map[string][]float64{e: line(-300, 1200, 0, 2)},
			map[string]string{ask(`e{job="x",instance="n1:80"}`): on(40)},
			counter,
			nil,
			[]string{"11:00 energy=2.4"},
		},
		"their exporter ended later": {
			map[string][]float64{e: line(-300, 1200, 0, 2)},
			map[string]string{ask(`e{job="x",instance="n1:80"}`): on(25)},
			counter,
			[]string{"nothing was sampled"},
			nil,
		},
		"one ends and another begins": {
			map[string][]float64{e: line(-300, 1200, 0, 2), strings.Replace(e, `"a"`, `"b"`, 1): line(1320, 3900, 120, 2)},
			nil, counter,
			nil,
			[]string{"11:00 energy=3.48", "11:30 energy=3.6"},
		},
		"a joined counter": {
			map[string][]float64{e: line(-300, 3900, 0, 2), "r{}": line(-300, 3000, 0, 2)},
			nil,
			`{query: e, kind: counter, unit: Wh, queries: {r: {query: r, kind: counter}}}`,
			[]string{"queries.r: nothing was sampled from 2024-01-01T11:50:00Z", "set queries.r.allow-gaps: true"},
			nil,
		},
		"power, for a time": {
			map[string][]float64{"p{}": append(line(-300, 1200, 100, 0), line(1800, 3900, 100, 0)...)},
			nil, `{query: p, kind: gauge, unit: kW}`,
			[]string{"query: nothing was sampled from 2024-01-01T11:20:00Z to 2024-01-01T11:30:00Z (10m)", "Take a window without that time"},
			nil,
		},
		"power, from later on": {
			map[string][]float64{"p{}": line(1200, 3900, 100, 0)},
			nil, `{query: p, kind: gauge, unit: kW}`,
			[]string{"nothing was sampled from 2024-01-01T11:00:00Z to 2024-01-01T11:20:00Z (20m)"},
			nil,
		},
		"an exporter that was away and went on counting": {
			map[string][]float64{e: append(line(-300, 600, 0, 2), line(2160, 3900, 4920, 2)...)},
			nil, counter,
			nil,
			[]string{"11:00 energy=1.2", "11:30 energy=6"},
		},
		"an exporter that was away and began again": {
			map[string][]float64{e: append(line(-300, 600, 1000, 2), line(2160, 3900, 20, 2)...)},
			nil, counter,
			[]string{"nothing was sampled from 2024-01-01T11:10:00Z to 2024-01-01T11:36:00Z (26m)"},
			nil,
		},
		"an exporter that was away before and went on counting": {
			map[string][]float64{e: append([]float64{-7200, 540}, line(1200, 3900, 600, 2)...)},
			nil, counter,
			nil,
			[]string{"11:00 energy=1.26", "11:30 energy=3.6"},
		},
		"an exporter that was away before and began again": {
			map[string][]float64{e: append([]float64{-7200, 540}, line(1200, 3900, 20, 2)...)},
			nil, counter,
			[]string{"nothing was sampled from 2024-01-01T11:00:00Z to 2024-01-01T11:20:00Z (20m)"},
			nil,
		},
		"an application that begins": {
			map[string][]float64{e: line(1200, 3900, 600, 2)},
			nil, counter,
			nil,
			[]string{"11:00 energy=1.8", "11:30 energy=3.6"},
		},
		"an exporter that begins": {
			map[string][]float64{pod: line(1200, 3900, 0, 3600)},
			map[string]string{"count(up)": `{"metric":{},"value":[0,"1"]}`},
			`{preset: noether, labels: [pod]}`,
			[]string{"preset noether: nothing was sampled from 2024-01-01T11:00:00Z to 2024-01-01T11:20:00Z (20m)"},
			nil,
		},
		"a namespace that begins": {
			map[string][]float64{pod: line(1200, 3900, 0, 3600)},
			map[string]string{"count(up)": `{"metric":{},"value":[0,"1"]}`, ask(`noether_pod_joules_total{job="x"}`): on(20)},
			`{preset: noether, labels: [pod]}`,
			nil,
			[]string{"11:00 pod=a energy=0.6", "11:30 pod=a energy=1.8"},
		},
	}
	for name, test := range tests {
		f := newFakeProm(t, test.series)
		if test.values != nil {
			f.values = test.values
		}
		rows, _, err := f.rows(halves+flow(test.config), nil)
		if test.want == nil {
			if diff := cmp.Diff(test.rows, rows); diff != "" || err != nil {
				t.Errorf("%s: %v %s\n%q", name, err, diff, f.asked)
			}
			continue
		}
		for _, w := range test.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not say %q", name, err, w)
			}
		}
		allowed := strings.ReplaceAll(strings.TrimSuffix(test.config, "}")+", allow-gaps: true}", "kind: counter}}", "kind: counter, allow-gaps: true}}")
		if _, warnings, err := f.rows(halves+flow(allowed), nil); err != nil || !strings.Contains(strings.Join(warnings, "\n"), "what was used meanwhile is not counted") {
			t.Errorf("%s: allowed, it says %q, %v", name, warnings, err)
		}
	}
}

func TestImportPartialAnswers(t *testing.T) {
	f := newFakeProm(t, map[string][]float64{`e{pod="a"}`: line(-300, 3900, 1000, 2)})
	f.warnings = []string{"store 2 is down"}
	config := halves + flow(`{query: e, kind: counter, unit: J}`)
	if _, _, err := f.rows(config, nil); err == nil || !strings.Contains(err.Error(), "store 2 is down") || !strings.Contains(err.Error(), "allow-partial: true") {
		t.Errorf("a partial answer: %v", err)
	}
	rows, warnings, err := f.rows(config+"allow-partial: true\n", nil)
	if err != nil || len(rows) != 2 || len(warnings) != 1 || !strings.Contains(warnings[0], "store 2 is down") {
		t.Errorf("a partial answer that is allowed: %v %q %v", rows, warnings, err)
	}
}

// TestImportErrorsQuoteTheManifest: the query and the window that the user wrote,
// and not the wider ones that are asked for.
func TestImportErrorsQuoteTheManifest(t *testing.T) {
	f := newFakeProm(t, nil)
	f.limit = -1
	_, _, err := f.rows(halves+flow(`{query: 'e{a="b"}', kind: counter, unit: J}`), nil)
	const want = `query from 2024-01-01T11:00:00Z to 2024-01-01T12:00:00Z: ask Prometheus at `
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `(query e{a="b"})`) || strings.Contains(err.Error(), "ms]") {
		t.Errorf("%v", err)
	}
}

// TestImportWindow: now is ten past noon.
func TestImportWindow(t *testing.T) {
	for config, want := range map[string]string{
		"window: 1h":                                               "11:05-12:05 300s",
		"{window: 1h, step: 1h}":                                   "11:00-12:00 3600s",
		"{window: 1h, step: 60, delay: 0}":                         "11:10-12:10 60s",
		"{window: 1h, align: 1h}":                                  "11:00-12:00 300s",
		"{window: 1h, align: 1h, delay: 11m}":                      "10:00-11:00 300s",
		"{window: 1d, step: 1h, align: 1d}":                        "00:00-00:00 3600s",
		"{window: 10m, start: 2024-01-01T11:01:00Z, align: 1h}":    "11:01-11:11 300s",
		"{window: 1h, end: now, delay: 15m}":                       "10:55-11:55 300s",
		"{window: 7m, end: '2024-01-01T11:01:00+01:00', step: 7m}": "09:54-10:01 420s",
		"{window: 10m, start: 2024-01-01T11:01:00Z}":               "11:01-11:11 300s",
		"{start: 2024-01-01T11:00:00.000Z}":                        "11:00-12:05 300s",
		"{start: 2024-01-01, end: 2024-01-01 01:30:00}":            "00:00-01:30 300s",
		"{window: 1d1h30m, step: 90m}":                             "10:30-12:00 5400s",
	} {
		v, err := jsyaml.Parse([]byte(config))
		if err != nil {
			t.Fatal(err)
		}
		c := v.Object()
		span := func(key string, otherwise time.Duration) time.Duration {
			if d, ok := parseSpan(c.Get(key)); ok {
				return d
			}
			return otherwise
		}
		g, err := promWindow(c, noon.Add(10*time.Minute), span("step", 5*time.Minute), span("delay", time.Minute))
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		clock := func(ms int64) string { return time.UnixMilli(ms).UTC().Format("15:04") }
		if got := fmt.Sprintf("%s-%s %ds", clock(g.Start), clock(g.End()), g.Step/1000); got != want {
			t.Errorf("%s: %s, want %s", config, got, want)
		}
	}
}

// TestPresets holds what is asked for: nothing that overlaps.
func TestPresets(t *testing.T) {
	for config, want := range map[string]string{
		"preset: kepler": `kepler_pod_cpu_joules_total{zone=~"package|dram"} as namespace, pod`,
		"{preset: kepler, namespace: shop, pod: [a, b.c]}":             `kepler_pod_cpu_joules_total{zone=~"package|dram",pod_namespace="shop",pod_name=~"a|b\\.c"} as namespace, pod`,
		"{preset: kepler, namespace: shop, container: app}":            `kepler_container_cpu_joules_total{zone=~"package|dram",container_name="app"} as namespace, pod, container by kepler_pod_cpu_joules_total{pod_namespace="shop"}`,
		"{preset: kepler, level: node}":                                `{__name__=~"kepler_node_cpu_(active|idle)_joules_total",zone=~"package|dram"} as node`,
		"preset: kepler-legacy":                                        `kepler_container_joules_total{container_namespace!~"system|kernel"} as namespace, pod`,
		"{preset: kepler-legacy, namespace: system, level: container}": `kepler_container_joules_total{container_namespace="system"} as namespace, pod, container`,
		"{preset: scaphandre, pod: ~a.*}":                              `scaph_process_power_consumption_microwatts{kubernetes_pod_name!="",kubernetes_pod_name=~"a.*"} as namespace, pod`,
		"{preset: scaphandre, level: node}":                            `scaph_host_energy_microjoules as node`,
		"{preset: noether, workload: [cart, web], labels: [workload]}": `noether_pod_joules_total{workload=~"cart|web"} as workload`,
		"{preset: noether, container: app}":                            `noether_container_joules_total{container="app"} as namespace, pod, container`,
		`{preset: noether, pod: 'x"} or up{a="'}`:                      `noether_pod_joules_total{pod="x\"} or up{a=\""} as namespace, pod, workload-kind, workload`,
	} {
		v, err := jsyaml.Parse([]byte(config))
		if err != nil {
			t.Fatal(err)
		}
		q, err := mainQuery(v.Object(), time.Minute)
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		got := q.query + " as " + columnNames(q.columns)
		if q.pods != "" {
			got += " by " + q.pods
		}
		if got != want {
			t.Errorf("%s:\n  %s, want\n  %s", config, got, want)
		}
		if !promclient.IsSelector(q.query) {
			t.Errorf("%s: %s is no selector", config, q.query)
		}
	}
}

func TestPodsOfWorkloads(t *testing.T) {
	form := regexp.MustCompile("^(?:" + podsOf([]string{"web", "a.b"}) + ")$")
	for pod, want := range map[string]bool{
		"web-7d9f8c6b5-x2x4z": true, "web-x2x4z": true, "web-0": true, "web-12": true, "web-28473650-x2x4z": true, "web-3-x2x4z": true, "a.b-0": true,
		"web": false, "web-api-7d9f8c6b5-x2x4z": false, "web-api-0": false, "webx-0": false, "my-web-0": false, "axb-0": false, "web-7d9f8c6b5-aeiou": false,
	} {
		if form.MatchString(pod) != want {
			t.Errorf("%s is a pod of web: %v", pod, !want)
		}
	}
}

// TestNodesShareAnswers: nodes that ask for the same get the same, asked for
// once; each owns its rows.
func TestNodesShareAnswers(t *testing.T) {
	f := newFakeProm(t, map[string][]float64{`e{pod="a"}`: line(-300, 3900, 1000, 2)})
	env, _ := publishEnv(nil)
	p := newPlugin(t, env, prometheusImporter(), strings.ReplaceAll(halves+flow(`{query: e, kind: counter, unit: J}`), "URL", f.url))
	input := pairs("timestamp", "2023-01-01T00:00:00Z")
	var wait sync.WaitGroup
	results := make([][]*value.Object, 8)
	for i := range results {
		wait.Go(func() {
			node := &plugin.Node{}
			if i == 7 {
				node.Config = pairs("step", "15m")
			}
			rows, err := p.Execute(context.Background(), []*value.Object{input.Copy(0)}, node)
			if err != nil {
				t.Error(err)
			}
			for _, row := range rows {
				row.Set("mine", value.Of(float64(i)))
			}
			results[i] = rows
		})
	}
	wait.Wait()
	for i, rows := range results {
		want := 3
		if i == 7 {
			want = 5
		}
		if len(rows) != want || rows[0].Get("timestamp").Str() != "2023-01-01T00:00:00Z" {
			t.Errorf("node %d has %d rows", i, len(rows))
		}
		for _, row := range rows {
			if row.Get("mine").Num() != float64(i) {
				t.Errorf("node %d shares a row with another", i)
			}
		}
	}
	if n := len(slices.DeleteFunc(f.asked, func(q string) bool { return !rawQuery.MatchString(q) })); n != 2 {
		t.Errorf("asked %d times: %q", n, f.asked)
	}
}

func TestKeplerPluginChecks(t *testing.T) {
	const valid = "prometheus-endpoint: http://127.0.0.1:1\nkepler-observation-window: 300\ncontainer-namespace: falco\ncontainer-name: falco\n"
	tests := map[string]struct{ config, want string }{
		"none":        {"", "Config for Kepler plugin must be provided."},
		"no endpoint": {strings.Replace(valid, "http://127.0.0.1:1", "prometheus.com", 1), `"prometheus-endpoint" parameter is invalid input. Error code: custom.`},
		"0":           {strings.Replace(valid, "300", "0", 1), `"kepler-observation-window" parameter is number must be greater than 0. Error code: too_small.`},
		"below 0":     {strings.Replace(valid, "300", "-1", 1), "too_small"},
		"half":        {strings.Replace(valid, "300", "0.5", 1), `"kepler-observation-window" parameter is expected integer, received float. Error code: invalid_type.`},
		"text":        {strings.Replace(valid, "300", "'10'", 1), `"kepler-observation-window" parameter is expected number, received string. Error code: invalid_type.`},
		"name":        {strings.Replace(valid, "container-name: falco", "container-name: 'falco{}'", 1), `"container-name" parameter is invalid. Error code: invalid_string.`},
		"namespace":   {strings.Replace(valid, "container-namespace: falco", "container-namespace: 'falco{}'", 1), "invalid_string"},
		"missing":     {strings.Replace(valid, "container-namespace: falco\n", "", 1), `"container-namespace" parameter is required. Error code: invalid_type.`},
		"no time":     {valid, `"timestamp" parameter is not a time`},
	}
	for name, test := range tests {
		env, _ := publishEnv(nil)
		_, err := newPlugin(t, env, keplerPlugin(), test.config).Execute(context.Background(), []*value.Object{pairs("duration", 60)}, &plugin.Node{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

// TestKeplerPluginReadsNewerKepler: without the old metric it takes the new one.
func TestKeplerPluginReadsNewerKepler(t *testing.T) {
	f := newFakeProm(t, map[string][]float64{`kepler_container_cpu_joules_total{container_name="app",pod_id="1",zone="package"}`: line(-300, 3900, 1000, 2)})
	f.values[`max by (pod_id, pod_namespace, pod_name) (last_over_time(kepler_pod_cpu_joules_total{pod_namespace="shop"}[4200001ms]))`] = `{"metric":{"pod_id":"1","pod_name":"p","pod_namespace":"shop"},"value":[0,"1"]}`
	env, _ := publishEnv(nil)
	env.Now = func() time.Time { return noon.Add(10 * time.Minute) }
	p := newPlugin(t, env, keplerPlugin(), "")
	node := &plugin.Node{Config: pairs("prometheus-endpoint", f.url, "kepler-observation-window", 1800, "container-namespace", "shop", "container-name", "app")}
	rows, err := p.Execute(context.Background(), []*value.Object{pairs("timestamp", "2024-01-01T11:00:00Z", "duration", 3600, "tag", "x")}, node)
	if err != nil {
		t.Fatal(err, f.asked)
	}
	want := []*value.Object{
		pairs("timestamp", value.AtTime(noon.Add(-time.Hour)), "duration", 1800, "tag", "x", "energy", 0.001),
		pairs("timestamp", value.AtTime(noon.Add(-time.Hour/2)), "duration", 1800, "tag", "x", "energy", 0.001),
	}
	if !value.Equal(value.Rows(want), value.Rows(rows)) {
		t.Errorf("%v, want %v", dump(t, rows), dump(t, want))
	}
}

func dump(t *testing.T, rows []*value.Object) string {
	t.Helper()
	return string(jsyaml.Append(nil, value.Rows(rows)))
}

func FuzzSpan(f *testing.F) {
	for _, s := range []string{"1h30m", "5m", "0", "1d", "99999999999999999999w", "1hh", "-1s", "ms"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseSpan(value.Text(s))
		if again, same := parseSpan(value.Text(spanText(d))); ok && (d < 0 || !same || again != d) {
			t.Errorf("%q is %v, which is written %s", s, d, spanText(d))
		}
	})
}

// FuzzImportConfig: no configuration makes the importer panic, and none that
// it takes makes a query that is not one selector.
func FuzzImportConfig(f *testing.F) {
	f.Add([]byte(halves + flow(`{preset: kepler, namespace: shop, container: app}`)))
	f.Add([]byte(halves + flow(`{query: 'e{a="b"}', kind: gauge, unit: µW, labels: {a: b}, queries: {r: {query: r, kind: counter, labels: [b]}}}`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := jsyaml.Parse(text)
		if err != nil || v.Object() == nil {
			return
		}
		env, _ := publishEnv(map[string]string{"PROMETHEUS_URL": "http://p"})
		plan, err := planImport(env, v.Object(), noon)
		if err != nil {
			return
		}
		for _, q := range plan.queries {
			if q.kind != expressionQuery && !promclient.IsSelector(q.query) {
				t.Errorf("%s is no selector", q.query)
			}
		}
	})
}

func TestImporterExplainsItsColumns(t *testing.T) {
	const joined = `{preset: kepler, queries: {requests: {query: r, kind: counter}, load: {query: l, kind: gauge, output: load/mean}, share: {query: s, kind: expression}}}`
	rise := "Σ over series and pairs of successive raw samples of the counter's rise within the step"
	kWh := ", in joules ÷ 3,600,000"
	for name, c := range map[string]struct {
		config, column string
		want           plugin.Formula
	}{
		"energy of a preset":    {joined, "energy", plugin.Formula{Text: rise + kWh, Unit: "kWh", Source: "Prometheus, kepler"}},
		"under another name":    {`{preset: noether, output: cpu/energy}`, "cpu/energy", plugin.Formula{Text: rise + kWh, Unit: "kWh", Source: "Prometheus, noether"}},
		"power":                 {`{preset: scaphandre}`, "energy", plugin.Formula{Text: "Σ over series of ∫ power dt within the step, straight lines between raw samples" + kWh, Unit: "kWh", Source: "Prometheus, scaphandre"}},
		"a counter beside it":   {`{preset: scaphandre, level: node}`, "energy", plugin.Formula{Text: rise + kWh, Unit: "kWh", Source: "Prometheus, scaphandre"}},
		"a joined counter":      {joined, "requests", plugin.Formula{Text: rise, Source: "Prometheus, r"}},
		"a joined gauge":        {joined, "load/mean", plugin.Formula{Text: "Σ over series of the mean within the step, straight lines between raw samples", Source: "Prometheus, l"}},
		"a joined expression":   {joined, "share", plugin.Formula{Text: "value of the query at the end of the step", Source: "Prometheus, s"}},
		"a label":               {joined, "pod", plugin.Formula{}},
		"a query's former name": {joined, "load", plugin.Formula{}},
		"a query of its own":    {`{query: q, kind: counter, output: jobs}`, "jobs", plugin.Formula{Text: rise, Source: "Prometheus, q"}},
	} {
		config, err := jsyaml.Parse([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		got, ok := promFormula(config.Object(), c.column)
		if diff := cmp.Diff(c.want, got); diff != "" || ok != (c.want.Text != "") {
			t.Errorf("%s: %v %s", name, ok, diff)
		}
	}
}
