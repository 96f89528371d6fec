package builtin

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// runYAML runs one method on YAML and returns the rows as YAML, or the error.
func runYAML(t testing.TB, e *plugin.Env, m plugin.Method, config, inputs string, know map[string]plugin.Aggregation) string {
	t.Helper()
	rows, err := runRows(t, e, m, config, inputs, know)
	if err != nil {
		return err.Error()
	}
	return string(jsyaml.Append(nil, value.Rows(rows)))
}

func runRows(t testing.TB, e *plugin.Env, m plugin.Method, config, inputs string, know map[string]plugin.Aggregation) ([]*value.Object, error) {
	t.Helper()
	parse := func(s string) value.Value {
		v, err := jsyaml.Parse([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	p, err := m.New(e, &plugin.Declaration{Name: "p", Path: "builtin", Method: m.Name, Config: parse(config).Object()}, &m)
	if err != nil {
		return nil, err
	}
	var rows []*value.Object
	for _, v := range parse(inputs).Items() {
		rows = append(rows, v.Object())
	}
	return p.Execute(context.Background(), rows, &plugin.Node{Aggregation: func(name string) (plugin.Parameter, bool) {
		a, ok := know[name]
		return plugin.Parameter{Name: name, Time: a, Component: a}, ok
	}})
}

func testEnv(d plugin.Dialect) *plugin.Env {
	return &plugin.Env{Dialect: d, Now: time.Now, Warn: func(string, ...any) {}, Random: func() float64 { return 0.5 }, Getenv: func(string) string { return "" }}
}

const window = `{start-time: '2024-01-01T00:00:00Z', end-time: '2024-01-01T00:00:20Z', interval: 5, allow-padding: true}`

var known = map[string]plugin.Aggregation{"e": plugin.Sum, "u": plugin.Avg, "k": plugin.Copy, "n": plugin.None, "x/intensity": plugin.Avg}

func TestTimeSync(t *testing.T) {
	tests := []struct{ name, config, inputs, reference, noether string }{
		{
			"an average over a slot", `{start-time: '2024-01-01T00:00:00Z', end-time: '2024-01-01T00:00:04Z', interval: 4, allow-padding: true}`,
			`[{timestamp: '2024-01-01T00:00:00Z', duration: 4, e: 8, u: 50, k: a, n: 1}]`,
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 4\n  e: 8\n  u: 37.5\n  k: a\n  'n': null\n",
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 4\n  e: 8\n  u: 50\n  k: a\n  'n': null\n",
		},
		{
			"an observation longer than the window", `{start-time: '2024-01-01T00:00:05Z', end-time: '2024-01-01T00:00:15Z', interval: 10, allow-padding: true}`,
			`[{timestamp: '2024-01-01T00:00:00Z', duration: 20, e: 20}]`,
			"- timestamp: '2024-01-01T00:00:05.000Z'\n  duration: 10\n  e: 10\n- timestamp: '2024-01-01T00:00:15.000Z'\n  duration: 1\n  e: 1\n",
			"- timestamp: '2024-01-01T00:00:05.000Z'\n  duration: 10\n  e: 10\n",
		},
		{
			"a gap of one second", `{start-time: '2024-01-01T00:00:00Z', end-time: '2024-01-01T00:00:10Z', interval: 5, allow-padding: true}`,
			`[{timestamp: '2024-01-01T00:00:00Z', duration: 4, e: 4}, {timestamp: '2024-01-01T00:00:05Z', duration: 5, e: 5}]`,
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 5\n  e: 5\n- timestamp: '2024-01-01T00:00:06.000Z'\n  duration: 4\n  e: 4\n",
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 5\n  e: 4\n- timestamp: '2024-01-01T00:00:05.000Z'\n  duration: 5\n  e: 5\n",
		},
		{
			"fractions of seconds", `{start-time: '2024-01-01T00:00:00Z', end-time: '2024-01-01T00:00:10Z', interval: 5, allow-padding: true}`,
			`[{timestamp: '2024-01-01T00:00:00Z', duration: 2.5, e: 1}, {timestamp: '2024-01-01T00:00:02.500Z', duration: 7.5, e: 3}]`,
			"ConfigError: The upsampling resolution must be a divisor of all inputs durations, but the provided values do not satisfy this criteria.",
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 5\n  e: 2\n- timestamp: '2024-01-01T00:00:05.000Z'\n  duration: 5\n  e: 2\n",
		},
		{
			"time without observations", `{start-time: '2024-01-01T00:00:00Z', end-time: '2024-01-01T00:00:20Z', interval: 10, allow-padding: true}`,
			`[{timestamp: '2024-01-01T00:00:05Z', duration: 5, e: 5, u: 50, k: a, x/intensity: 400}]`,
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 10\n  e: 5\n  u: 20\n  k: a\n  x/intensity: 160\n- timestamp: '2024-01-01T00:00:10.000Z'\n  duration: 10\n  e: 0\n  u: 0\n  k: a\n  x/intensity: 0\n",
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 10\n  e: 5\n  u: 25\n  k: a\n  x/intensity: 400\n- timestamp: '2024-01-01T00:00:10.000Z'\n  duration: 10\n  e: 0\n  u: 0\n  k: a\n  x/intensity: 400\n",
		},
		{
			"a number without a method, copied", `{start-time: '2024-01-01T00:00:00Z', end-time: '2024-01-01T00:00:10Z', interval: 5, allow-padding: true}`,
			`[{timestamp: '2024-01-01T00:00:00Z', duration: 10, requests: 7}]`,
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 5\n  requests: 7\n- timestamp: '2024-01-01T00:00:05.000Z'\n  duration: 5\n  requests: 7\n",
			"ConfigError: Bringing `requests` onto a grid: nothing says whether values add up (sum), average (avg) or stay (copy), and copying them into slots would change their total. Add to a plugin that has them:\n" +
				"    parameter-metadata:\n      inputs:\n        requests:\n          unit: …\n          description: …\n          aggregation-method: {time: sum, component: sum}",
		},
		{
			"a number without a method, one observation to a slot", `{start-time: '2024-01-01T00:00:00Z', end-time: '2024-01-01T00:00:05Z', interval: 5, allow-padding: true}`,
			`[{timestamp: '2024-01-01T00:00:00Z', duration: 5, requests: 7}]`,
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 5\n  requests: 7\n",
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 5\n  requests: 7\n",
		},
		{
			"energy without metadata", `{start-time: '2024-01-01T00:00:00Z', end-time: '2024-01-01T00:00:10Z', interval: 5, allow-padding: true}`,
			`[{timestamp: '2024-01-01T00:00:00Z', duration: 10, energy: 7}]`,
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 5\n  energy: 7\n- timestamp: '2024-01-01T00:00:05.000Z'\n  duration: 5\n  energy: 7\n",
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 5\n  energy: 3.5\n- timestamp: '2024-01-01T00:00:05.000Z'\n  duration: 5\n  energy: 3.5\n",
		},
		{
			"observations out of order", window,
			`[{timestamp: '2024-01-01T00:00:10Z', duration: 10, e: 2}, {timestamp: '2024-01-01T00:00:00Z', duration: 10, e: 1}]`,
			"InvalidInputError: Observation timestamps overlap, please check inputs.",
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 5\n  e: 0.5\n- timestamp: '2024-01-01T00:00:05.000Z'\n  duration: 5\n  e: 0.5\n" +
				"- timestamp: '2024-01-01T00:00:10.000Z'\n  duration: 5\n  e: 1\n- timestamp: '2024-01-01T00:00:15.000Z'\n  duration: 5\n  e: 1\n",
		},
		{
			"observations that overlap", window,
			`[{timestamp: '2024-01-01T00:00:00Z', duration: 15, e: 2}, {timestamp: '2024-01-01T00:00:10Z', duration: 10, e: 1}]`,
			"InvalidInputError: Observation timestamps overlap, please check inputs.",
			"InvalidInputError: Observation timestamps overlap, please check inputs. Observation 1 begins 5 s before observation 0 ends.",
		},
		{
			"padding that is not allowed", strings.Replace(window, "true", "false", 1),
			`[{timestamp: '2024-01-01T00:00:05Z', duration: 5, e: 2}]`,
			"InvalidPaddingError: Avoiding padding at start and end",
			"InvalidPaddingError: Avoiding padding at start and end",
		},
		{
			"text to be summed", `{start-time: '2024-01-01T00:00:00Z', end-time: '2024-01-01T00:00:05Z', interval: 5, allow-padding: true}`,
			`[{timestamp: '2024-01-01T00:00:00Z', duration: 5, e: lots}]`,
			"- timestamp: '2024-01-01T00:00:00.000Z'\n  duration: 5\n  e: .nan\n",
			"InvalidInputError: Folding `e` by sum: observation 0 has a string and not a number; correct it, or give the parameter the time method copy",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for dialect, want := range map[*plugin.Env]string{testEnv(plugin.Reference()): tt.reference, testEnv(plugin.Noether()): tt.noether} {
				got := runYAML(t, dialect, timeSync(), tt.config, tt.inputs, known)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("clock slots %v (-want +got):\n%s", dialect.Dialect.ClockSlots, diff)
				}
			}
		})
	}
}

// many returns n observations of one second each, a gap of as much after each.
func many(n int) []*value.Object {
	rows := make([]*value.Object, n)
	for i := range rows {
		rows[i] = value.NewObject(8)
		rows[i].Set("timestamp", isoText(1704067200000+float64(i)*2000))
		rows[i].Set("duration", value.Of(1))
		rows[i].Set("e", value.Of(float64(i%7)))
		rows[i].Set("u", value.Of(float64(i%5)))
	}
	return rows
}

func TestTimeSyncCostsNoSeconds(t *testing.T) {
	m := timeSync()
	config, err := jsyaml.Parse([]byte(`{start-time: '2024-01-01T00:00:00Z', end-time: '2024-01-01T08:00:00Z', interval: 60, allow-padding: true}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
		p, err := m.New(testEnv(d), &plugin.Declaration{Config: config.Object()}, &m)
		if err != nil {
			t.Fatal(err)
		}
		node := &plugin.Node{Aggregation: func(name string) (plugin.Parameter, bool) {
			a, ok := known[name]
			return plugin.Parameter{Time: a}, ok
		}}
		input := many(10_000)
		var rows []*value.Object
		allocations := testing.AllocsPerRun(1, func() {
			rows, err = p.Execute(t.Context(), input, node)
		})
		want := 480
		if !d.ClockSlots {
			want = 314 // gaps of one second are not filled: 10 000 + 8 801 slices
		}
		if err != nil || len(rows) != want {
			t.Fatalf("%d slots, %v", len(rows), err)
		}
		if d.ClockSlots && allocations > 3000 {
			t.Errorf("%v allocations for 10 000 observations and 480 slots", allocations)
		}
		if !d.ClockSlots && allocations > 60_000 {
			t.Errorf("%v allocations for 10 000 observations in the reference's way", allocations)
		}
	}
}

func FuzzTimeSync(f *testing.F) {
	f.Add(5.0, 20.0, 0.0, 10.0, 7.5, 0.0)
	f.Add(0.1, 3.0, -1.0, 0.333, 0.0, 0.25)
	f.Add(7.0, 100.0, 50.0, 1e9, 1.0, 3.0)
	f.Fuzz(func(t *testing.T, interval, length, offset, d1, d2, gap float64) {
		for _, x := range []float64{interval, length, offset, d1, d2, gap} {
			if math.IsNaN(x) || math.Abs(x) > 1e7 {
				t.Skip()
			}
		}
		if d1 < 0 || d2 < 0 || gap < 0 || length/interval > 1e5 {
			t.Skip()
		}
		const epoch = 1704067200000.0
		config := value.NewObject(4)
		config.Set("start-time", isoText(epoch))
		config.Set("end-time", isoText(epoch+math.Floor(length*1000)))
		config.Set("interval", value.Of(interval))
		config.Set("allow-padding", value.OfBool(true))
		var rows []*value.Object
		at := epoch + math.Round(offset*1000)
		want, inside := 0.0, true
		for i, d := range []float64{d1, d2} {
			d = math.Round(d*1000) / 1000
			row := value.NewObject(4)
			row.Set("timestamp", isoText(at))
			row.Set("duration", value.Of(d))
			row.Set("e", value.Of(float64(i)+1.5))
			rows = append(rows, row)
			inside = inside && at >= epoch && at+d*1000 <= epoch+math.Floor(length*1000) && (d > 0 || at < epoch+math.Floor(length*1000))
			want += float64(i) + 1.5
			at += math.Round(d*1000 + gap*1000)
		}
		m := timeSync()
		for _, d := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
			p, err := m.New(testEnv(d), &plugin.Declaration{Config: config}, &m)
			if err != nil {
				t.Fatal(err)
			}
			out, err := p.Execute(context.Background(), value.CopyRows(rows, 0), &plugin.Node{Aggregation: func(name string) (plugin.Parameter, bool) {
				a, ok := known[name]
				return plugin.Parameter{Time: a}, ok
			}})
			if err != nil || !d.ClockSlots {
				continue
			}
			sum, seconds := 0.0, 0.0
			for _, row := range out {
				sum += row.Get("e").Num()
				seconds += row.Get("duration").Num()
			}
			if math.Abs(seconds-math.Floor(length*1000)/1000) > 1e-6*math.Abs(seconds) {
				t.Errorf("slots last %v s, the window %v s", seconds, length)
			}
			if inside && math.Abs(sum-want) > 1e-9 || sum > want+1e-9 {
				t.Errorf("slots hold %v of %v (all inside: %v)", sum, want, inside)
			}
		}
	})
}
