package builtin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
	"noether/internal/promwrite"
)

// publishEnv is an environment at noon that collects warnings.
func publishEnv(environ map[string]string) (env *plugin.Env, warnings *[]string) {
	warnings = new([]string)
	return &plugin.Env{
		Dialect: plugin.Noether(),
		Now:     func() time.Time { return time.Date(2024, 1, 1, 12, 0, 0, 0, time.UTC) },
		Getenv:  func(name string) string { return environ[name] },
		Warn:    func(format string, args ...any) { *warnings = append(*warnings, fmt.Sprintf(format, args...)) },
	}, warnings
}

func newPublisher(t *testing.T, env *plugin.Env, config *value.Object) plugin.Plugin {
	t.Helper()
	m := prometheusPublisher()
	p, err := m.New(env, &plugin.Declaration{Name: "publish", Config: config}, &m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pairs makes an object of keys and values.
func pairs(kv ...any) *value.Object {
	o := value.NewObject(len(kv) / 2)
	for i := 0; i < len(kv); i += 2 {
		var v value.Value
		switch x := kv[i+1].(type) {
		case string:
			v = value.Text(x)
		case float64:
			v = value.Of(x)
		case int:
			v = value.Of(float64(x))
		case *value.Object:
			v = x.Value()
		case []string:
			v = value.Texts(x...)
		case value.Value:
			v = x
		}
		o.Set(kv[i].(string), v)
	}
	return o
}

// shop is the result of a run over an hour: two pods of a shop with a score,
// the second without parts of its carbon, and a batch job without a score.
func shop() *plugin.Result {
	start := time.Date(2024, 1, 1, 10, 0, 0, 0, time.UTC)
	nan := unknownMeasurement().values[0]
	period := func(carbon, operational, embodied, energy float64) *plugin.Period {
		return &plugin.Period{Start: start, Duration: 3600, Carbon: carbon, Operational: operational, Embodied: embodied, Energy: energy, FunctionalUnit: "requests", Units: 4, SCI: carbon / 4}
	}
	row := func(minute int, carbon, energy float64, node string) *value.Object {
		return pairs("timestamp", start.Add(time.Duration(minute)*time.Minute).Format(time.RFC3339), "duration", 1800, "carbon", carbon, "energy", energy, "node", node, "requests", 2, "sci", carbon/2)
	}
	a := &plugin.Component{Path: []string{"shop", "pod-a"}, Rows: []*value.Object{row(30, 6, 0.25, "n1"), row(0, 2, 0.75, "n1")}, Period: period(8, 6, 2, 1)}
	b := &plugin.Component{Path: []string{"shop", "pod-b"}, Rows: []*value.Object{row(0, 1, 0.5, "n1"), row(30, 1, 0.5, "n2")}, Period: period(2, 1, nan, nan)}
	job := &plugin.Component{Path: []string{"job"}, Rows: []*value.Object{row(0, 3, 0.5, "n1")}}
	group := &plugin.Component{Path: []string{"shop"}, Children: []*plugin.Component{a, b}, Period: period(10, 7, nan, nan)}
	return &plugin.Result{
		Manifest: pairs("name", "sci of the shop"),
		Root:     &plugin.Component{Children: []*plugin.Component{group, job}},
	}
}

// execute runs p at components.
func execute(t *testing.T, p plugin.Plugin, paths ...[]string) {
	t.Helper()
	for _, path := range paths {
		rows := []*value.Object{pairs("carbon", 1)}
		got, err := p.Execute(t.Context(), rows, &plugin.Node{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || !value.Equal(got[0].Value(), pairs("carbon", 1).Value()) {
			t.Errorf("rows did not pass untouched: %v", got[0])
		}
	}
}

// published returns the samples in a textfile, without comments.
func published(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			out = append(out, strings.TrimPrefix(strings.TrimSpace(line), "noether_impact_"))
		}
	}
	return out
}

func TestPublishedIsWhatRunsItAndAllAbove(t *testing.T) {
	for _, dialect := range []plugin.Dialect{plugin.Noether(), plugin.Reference()} {
		publishedIsWhatRunsIt(t, dialect)
	}
}

func publishedIsWhatRunsIt(t *testing.T, dialect plugin.Dialect) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.prom")
	env, warnings := publishEnv(nil)
	env.Dialect = dialect
	p := newPublisher(t, env, pairs("to", "textfile", "path", path,
		"labels", pairs("namespace", 0, "pod", 1, "node", "node"), "extra-labels", pairs("cluster", "c1"), "boundary", "the pods", "methodology", "RAPL"))
	execute(t, p, []string{"shop", "pod-a"}, []string{"shop", "pod-b"})
	if err := p.(plugin.Finisher).Finish(t.Context(), shop()); err != nil {
		t.Fatal(err)
	}
	a := `cluster="c1",functional_unit="requests",manifest="sci of the shop",namespace="shop",node="n1",path="/shop/pod-a",`
	pod := `pod="pod-a"`
	b := `cluster="c1",functional_unit="requests",manifest="sci of the shop",namespace="shop",path="/shop/pod-b",pod="pod-b"}`
	group := `cluster="c1",functional_unit="requests",manifest="sci of the shop",namespace="shop",path="/shop"`
	root := `cluster="c1",manifest="sci of the shop",path="/"`
	want := []string{
		`sci_grams{` + a + pod + `} 2`,
		`sci_grams{` + b + ` 0.5`,
		`sci_grams{` + group + `} 2.5`,
		`carbon_grams{` + a + `phase="operational",` + pod + `} 6`,
		`carbon_grams{` + a + `phase="embodied",` + pod + `} 2`,
		`carbon_grams{` + strings.Replace(b, `pod="`, `phase="combined",pod="`, 1) + ` 2`,
		`carbon_grams{` + group + `,phase="combined"} 10`,
		`carbon_grams{` + root + `,phase="combined"} 13`,
		`energy_joules{` + a + pod + `} 3.6e+06`,
		`functional_units{` + a + pod + `} 4`,
		`functional_units{` + b + ` 4`,
		`functional_units{` + group + `} 4`,
		`window_seconds{` + a + pod + `} 3600`,
		`window_seconds{` + b + ` 3600`,
		`window_seconds{` + group + `} 3600`,
		`window_seconds{` + root + `} 3600`,
		`window_end_timestamp_seconds{` + a + pod + `} 1.7041068e+09`,
		`window_end_timestamp_seconds{` + b + ` 1.7041068e+09`,
		`window_end_timestamp_seconds{` + group + `} 1.7041068e+09`,
		`window_end_timestamp_seconds{` + root + `} 1.7041068e+09`,
		`info{boundary="the pods",cluster="c1",manifest="sci of the shop",methodology="RAPL"} 1`,
		`last_success_timestamp_seconds{cluster="c1",manifest="sci of the shop"} 1.7041104e+09`,
	}
	if diff := cmp.Diff(want, published(t, path)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"publish: /shop/pod-b has no label node: its rows differ in node"}, *warnings); diff != "" {
		t.Error(diff)
	}
}

func TestAFailedComponentIsNeverPublished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.prom")
	for name, c := range map[string]struct {
		config []any
		marks  [][]string
		paths  string // what is published
		notes  string
	}{
		"by pipeline":      {nil, [][]string{{"shop", "pod-a"}, {"job"}}, "/shop/pod-a /job", "failed: /shop/pod-b, /shop, /"},
		"all":              {[]any{"components", "all"}, nil, "/shop/pod-a /job", "failed: /shop/pod-b, /shop, /"},
		"groups":           {[]any{"components", "groups"}, nil, "", "failed: /shop, /"},
		"one that is well": {[]any{"components", []string{"shop/pod-a"}}, nil, "/shop/pod-a", ""},
	} {
		env, warnings := publishEnv(nil)
		p := newPublisher(t, env, pairs(append([]any{"to", "textfile", "path", path}, c.config...)...))
		execute(t, p, c.marks...)
		r := shop()
		r.Root.Children[0].Children[1].Err = errors.New("no data")
		_ = os.Remove(path)
		if err := p.(plugin.Finisher).Finish(t.Context(), r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var paths []string
		success := false
		if _, err := os.Stat(path); err == nil {
			for _, line := range published(t, path) {
				if _, at, ok := strings.Cut(line, `path="`); ok && strings.HasPrefix(line, "window_seconds") {
					paths = append(paths, at[:strings.IndexByte(at, '"')])
				}
				success = success || strings.HasPrefix(line, "last_success")
			}
		}
		if got := strings.Join(paths, " "); got != c.paths || success != (c.notes == "") || !strings.Contains(strings.Join(*warnings, "\n"), c.notes) {
			t.Errorf("%s: published %q, success %v, said %q", name, got, success, *warnings)
		}
	}
}

func TestUnknownIsLeftOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.prom")
	env, warnings := publishEnv(nil)
	p := newPublisher(t, env, pairs("to", "textfile", "path", path, "components", "leaves"))
	r := shop()
	r.Root.Children[1].Rows = []*value.Object{pairs("timestamp", "2024-01-01T00:00:00Z", "duration", 60)}
	if err := p.(plugin.Finisher).Finish(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(published(t, path), "\n"); strings.Contains(text, "NaN") || strings.Contains(text, "/job") || len(*warnings) != 1 || !strings.Contains((*warnings)[0], "nothing is known of the carbon or energy: /job") {
		t.Errorf("%s\n%s", text, *warnings)
	}

	r.Root = &plugin.Component{Children: []*plugin.Component{r.Root.Children[1]}}
	if err := p.(plugin.Finisher).Finish(t.Context(), r); err == nil || !strings.Contains(err.Error(), "no row has a number for carbon or energy") {
		t.Errorf("%v", err)
	}
}

func TestSteps(t *testing.T) {
	b := &publication{settings: &publishSettings{steps: true, components: "all", maxSeries: 100}, manifest: "m", now: time.UnixMilli(1)}
	families, err := b.build(shop())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]promwrite.Sample{}
	for _, f := range families {
		for _, s := range f.Series {
			for _, l := range s.Labels {
				if l.Name == "path" {
					got[l.Value+" "+strings.TrimPrefix(f.Name, "noether_impact_")] = s.Samples
				}
			}
		}
	}
	const first, second = 1704105000000, 1704106800000
	for series, want := range map[string][]promwrite.Sample{
		"/shop/pod-a carbon_grams":     {{Time: first, Value: 2}, {Time: second, Value: 6}},
		"/shop/pod-a sci_grams":        {{Time: first, Value: 1}, {Time: second, Value: 3}},
		"/shop/pod-a energy_joules":    {{Time: first, Value: 2.7e6}, {Time: second, Value: 0.9e6}},
		"/shop/pod-a functional_units": {{Time: first, Value: 2}, {Time: second, Value: 2}},
		"/job carbon_grams":            {{Time: first, Value: 3}},
		"/job sci_grams":               nil,
		"/shop sci_grams":              nil,
	} {
		if diff := cmp.Diff(want, got[series]); diff != "" {
			t.Errorf("%s: %s", series, diff)
		}
	}

	r := shop()
	r.Root.Children[1].Rows = append(r.Root.Children[1].Rows, r.Root.Children[1].Rows[0])
	if _, err := (&publication{settings: b.settings, manifest: "m"}).build(r); err == nil || !strings.Contains(err.Error(), "/job: two rows end at 2024-01-01T10:30:00Z") {
		t.Errorf("%v", err)
	}
}

func TestPublisherConfig(t *testing.T) {
	many := value.NewObject(30)
	for i := range 30 {
		many.Set(fmt.Sprintf("l%d", i), value.Of(0))
	}
	for name, c := range map[string]struct {
		config *value.Object
		want   string
	}{
		"nowhere":                  {pairs("to", "remote-write"), `publish cannot publish: no receiver is named: set url, or PROMETHEUS_REMOTE_WRITE_URL in the environment`},
		"no gateway":               {pairs("to", "pushgateway"), "PUSHGATEWAY_URL"},
		"no file":                  {pairs("to", "textfile"), `"path" is missing`},
		"a file that nobody reads": {pairs("to", "textfile", "path", "/x/y.txt"), ".prom"},
		"unknown way":              {pairs("to", "otlp"), "invalid enum value"},
		"a password":               {pairs("url", "http://u:secret@h/x"), "holds a user or a password"},
		"no URL":                   {pairs("url", "prometheus:9090"), "http://host:port/path"},
		"version":                  {pairs("url", "http://h/x", "version", 3), `no version "3.0"`},
		"steps to a gateway":       {pairs("to", "pushgateway", "url", "http://h", "samples", "steps"), "needs remote-write"},
		"label name":               {pairs("url", "http://h/x", "labels", pairs("a-b", 0)), `"a-b" is no label name`},
		"own label":                {pairs("url", "http://h/x", "labels", pairs("path", 0)), `"path" is taken`},
		"label twice":              {pairs("url", "http://h/x", "labels", pairs("a", 0), "extra-labels", pairs("a", "b")), `"a" is taken`},
		"half a level":             {pairs("url", "http://h/x", "labels", pairs("a", 0.5)), "no level of the tree"},
		"too many labels":          {pairs("url", "http://h/x", "labels", many), "30 labels"},
		"half of the credentials":  {pairs("url", "http://h/x", "credentials", "HALF"), "HALF_USERNAME is set without"},
		"version as YAML reads it": {pairs("url", "http://h/x", "version", 1), "no row has a number for carbon"},
		"the environment's URL":    {pairs("credentials", "WHOLE"), "no row has a number for carbon"},
	} {
		env, _ := publishEnv(map[string]string{"HALF_USERNAME": "me", "WHOLE_URL": "http://h/x"})
		p := newPublisher(t, env, c.config)
		execute(t, p, []string{"none"}) // a component does not fail for it
		err := p.(plugin.Finisher).Finish(t.Context(), &plugin.Result{Manifest: pairs("name", "x"), Root: &plugin.Component{}})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestPublisherOfAFailedRun: the run tells why it failed, and advice on the
// pipeline would lead astray.
func TestPublisherOfAFailedRun(t *testing.T) {
	env, warnings := publishEnv(nil)
	r := shop()
	r.Root.Children[0].Children[0].Err = errors.New("no energy")
	p := newPublisher(t, env, pairs("to", "textfile", "path", filepath.Join(t.TempDir(), "x.prom")))
	if err := p.(plugin.Finisher).Finish(t.Context(), r); err != nil || len(*warnings) > 0 {
		t.Errorf("%v, said %q", err, *warnings)
	}
}

func TestPublisherSaysSo(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		config  []any
		dry     bool
		marked  bool
		warning string
		err     string
	}{
		"nobody runs it":      {nil, false, false, "publish publishes nothing, since no pipeline that ran has it: list it in pipeline.compute", ""},
		"a dry run":           {nil, true, true, "publish would send 17 samples of 17 series to " + dir, ""},
		"a dry run to nobody": {[]any{"to", "remote-write"}, true, true, "17 series, but no receiver is named: set url, or PROMETHEUS_REMOTE_WRITE_URL", ""},
		"too many series":     {[]any{"max-series", 5}, false, true, "", "17 series are more than max-series 5"},
		"an unknown path":     {[]any{"components", []string{"/shop/pod-x"}}, false, true, "", "no component has the path /shop/pod-x"},
		"an unknown place":    {[]any{"path", filepath.Join(dir, "none", "x.prom")}, false, true, "", "WriteFileError: publish: write " + dir},
	} {
		env, warnings := publishEnv(nil)
		env.DryRun = c.dry
		p := newPublisher(t, env, pairs(append([]any{"to", "textfile", "path", filepath.Join(dir, "x.prom")}, c.config...)...))
		if c.marked {
			execute(t, p, []string{"shop", "pod-a"})
		}
		err := p.(plugin.Finisher).Finish(t.Context(), shop())
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || !strings.Contains(strings.Join(*warnings, "\n"), c.warning) {
			t.Errorf("%s: %v, said %q", name, err, *warnings)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Errorf("%s: wrote %v", name, entries)
		}
	}
}

func TestTwoComponentsAreNeverOneSeries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.prom")
	env, _ := publishEnv(nil)
	p := newPublisher(t, env, pairs("to", "textfile", "path", path, "components", "all"))
	r := shop()
	r.Root.Children[1].Path = []string{"shop/pod-a"}
	r.Root.Children[1].Period = r.Root.Children[0].Children[0].Period
	if err := p.(plugin.Finisher).Finish(t.Context(), r); err == nil || !strings.Contains(err.Error(), "two series have these labels") {
		t.Errorf("%v", err)
	}
}
