package promapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"go.uber.org/goleak"

	"noether/internal/export"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The test store has samples every 15 s in the hour before now.
var (
	now   = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	start = now.Add(-time.Hour)
)

// openStore returns a store with a little of everything: counters of a node
// and of pods, one of which has ended, their copies, odd values and odd labels.
func openStore(t testing.TB) *tsdb.DB {
	t.Helper()
	db := emptyStore(t)
	add := func(every time.Duration, f func(i int) float64, pairs ...string) {
		t.Helper()
		app := db.Appender(t.Context())
		ls := labels.FromStrings(pairs...)
		for i, at := 0, start; !at.After(now); i, at = i+1, at.Add(every) {
			if _, err := app.Append(0, ls, at.UnixMilli(), f(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	times := func(slope float64) func(int) float64 { return func(i int) float64 { return slope * float64(i) } }
	step := 15 * time.Second
	add(step, times(150), "__name__", "noether_node_joules_total", "component", "cpu", "part", "dynamic")
	add(step, times(75.5), "__name__", "noether_node_joules_total", "component", "cpu", "part", "idle")
	add(5*time.Minute, times(3000), "__name__", "noether:5m:node_joules_total", "component", "cpu", "part", "dynamic")
	add(step, times(1.0/3), "__name__", "noether_pod_joules_total", "namespace", "shop", "pod", "cart-0")
	add(step, func(i int) float64 {
		if i > 120 {
			return math.Float64frombits(value.StaleNaN)
		}
		return float64(i)
	}, "__name__", "noether_pod_joules_total", "namespace", "shop", "pod", "gone-0")
	add(step, times(7), "__name__", "noether_session_joules_total", "user", "<script>alert(\"ä\\\n\")</script>\u2028")
	for i, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e-9, 1e30, -0.5, math.Copysign(0, -1)} {
		add(step, func(int) float64 { return f }, "__name__", "odd", "i", strconv.Itoa(i))
	}
	return db
}

func emptyStore(t testing.TB) *tsdb.DB {
	t.Helper()
	opts := tsdb.DefaultOptions()
	opts.EnableNativeHistograms = true
	db, err := tsdb.Open(t.TempDir(), nil, nil, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.DisableCompactions()
	t.Cleanup(func() { db.Close() })
	return db
}

// served returns the handler over a queryable.
func served(t testing.TB, q storage.Queryable, limits Limits) http.Handler {
	t.Helper()
	return with(t, func() (storage.Queryable, error) { return q, nil }, limits)
}

func with(t testing.TB, queryable func() (storage.Queryable, error), limits Limits) http.Handler {
	t.Helper()
	about := export.About{Version: "1.2.3", Revision: "abc", GoVersion: "go1.26", Start: start}
	return New(Options{
		Queryable: queryable,
		Families: []export.Family{
			{Name: "noether_node_watts", Help: "Mean power.", Type: export.Gauge, Unit: "watts"},
			{Name: "noether_node_joules_total", Help: "Energy.", Type: export.Counter, Unit: "joules"},
		},
		Copy: func(f *export.Family) string {
			if rest, ok := strings.CutPrefix(f.Name, "noether_"); ok && strings.HasSuffix(f.Name, "_total") {
				return "noether:5m:" + rest
			}
			return ""
		},
		About:  about,
		Now:    func() time.Time { return now },
		Log:    slog.New(slog.DiscardHandler),
		Limits: limits,
	})
}

// ask sends "GET /path?query" or "POST /path body".
func ask(t testing.TB, h http.Handler, line string) *httptest.ResponseRecorder {
	t.Helper()
	method, rest, _ := strings.Cut(line, " ")
	path, body, _ := strings.Cut(rest, " ")
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// params encodes names and values in turn.
func params(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

func at(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }

// requests are asked of the test store, and of a real Prometheus over the same
// data. Those it answers otherwise, or is too old for, begin with "own".
func requests() []string {
	// Between samples: since version 3 a range no longer has the sample at its beginning.
	q := func(pairs ...string) string {
		return "GET /api/v1/query?" + params(append(pairs, "time", at(-time.Second))...)
	}
	span := func(pairs ...string) string {
		return "GET /api/v1/query_range?" + params(append(pairs, "start", at(-601*time.Second), "end", at(-time.Second))...)
	}
	window := func(path string, pairs ...string) string {
		return "GET " + path + "?" + params(append(pairs, "start", at(-time.Hour), "end", at(0))...)
	}
	return []string{
		"POST /api/v1/query query=1%2B1&time=4",
		"POST /api/v1/query?time=4.5 query=1%2B1",
		"GET /api/v1/query?query=vector(1)&time=2026-06-01T12:00:00.25Z",
		"GET /api/v1/query?query=vector(1)&time=-1.5",
		q("query", `"text <b>&amp;"`),
		q("query", "noether_node_joules_total"),
		q("query", `noether_pod_joules_total`),
		q("query", "odd"),
		q("query", "noether_session_joules_total"),
		q("query", `noether_node_joules_total{part="idle"}[1m]`),
		q("query", "rate(noether_node_joules_total[1m])"),
		"own " + q("query", "noether_node_joules_total", "lookback_delta", "1s"),
		q("query", "nothing"),
		q("query", "nothing[1m]"),
		q("query", `noether_node_joules_total @ 1780311600`),
		q("query", "max_over_time(rate(noether_node_joules_total[70s])[30m:1m])"),
		q("query", "sum by (part) (noether_node_joules_total) / ignoring(part) group_left sum(noether_node_joules_total)"),
		"GET /api/v1/query?" + params("query", "noether_node_joules_total", "time", at(24*time.Hour)),
		span("query", "sum(rate(noether_node_joules_total[1m]))", "step", "60"),
		span("query", "sum by (component) (rate(noether:5m:node_joules_total[15m]))", "step", "5m"),
		span("query", "odd", "step", "300"),
		span("query", "time()", "step", "5m"),
		span("query", "nothing", "step", "5m"),
		"GET /api/v1/query_range?" + params("query", "noether_node_joules_total", "start", at(time.Hour), "end", at(2*time.Hour), "step", "60"),
		window("/api/v1/series", "match[]", "noether_node_joules_total", "match[]", `{namespace="shop"}`),
		window("/api/v1/series", "match[]", "nothing"),
		window("/api/v1/labels"),
		window("/api/v1/labels", "match[]", "noether_pod_joules_total", "match[]", "odd"),
		"GET /api/v1/labels?start=-292273086-05-16T16:47:06Z&end=292277025-08-18T07:12:54.999999999Z",
		window("/api/v1/label/__name__/values"),
		window("/api/v1/label/pod/values", "match[]", `{namespace="shop"}`, "match[]", "odd"),
		window("/api/v1/label/nothing/values"),
		"GET /api/v1/rules",
		"GET /api/v1/alerts",
		"GET /api/v1/alertmanagers",
		"GET /api/v1/targets",
		"GET /api/v1/format_query?" + params("query", "sum(rate(a[5m]))by(b)"),

		// What is wrong.
		"GET /api/v1/query",
		q("query", "sum("),
		q("query", "noether_node_joules_total * on(component) noether_node_joules_total"),
		q("query", "a", "timeout", "soon"),
		"own " + q("query", "a", "lookback_delta", "soon"),
		"GET /api/v1/query?query=a&time=soon",
		span("query", "a[5m]", "step", "60"),
		span("query", "a", "step", "0"),
		span("query", "a", "step", "-5"),
		span("query", "a"),
		span("query", "a", "step", "0.01"),
		"GET /api/v1/query_range?query=a&step=1&end=5",
		"GET /api/v1/query_range?query=a&step=1&start=6&end=5",
		"GET /api/v1/series",
		"GET /api/v1/series?" + params("match[]", "{"),
		"GET /api/v1/series?" + params("match[]", `{a=~".*"}`),
		"GET /api/v1/labels?start=soon",
		"GET /api/v1/query_exemplars?query=sum(",

		"own " + q("query", `rate(noether_session_joules_total[1m]) + on() group_left rate(nothing_total[1m])`),
		"own " + q("query", `rate(odd[1m])`),
		"own " + q("query", "noether_node_joules_total", "limit", "1"),
		"own " + span("query", "noether_node_joules_total", "limit", "1", "step", "300"),
		"own " + window("/api/v1/series", "match[]", "noether_node_joules_total", "limit", "1"),
		"own " + window("/api/v1/labels", "limit", "2"),
		"own " + window("/api/v1/label/__name__/values", "limit", "2"),
		"own " + window("/api/v1/label/__name__/values", "limit", "-1"),
		"own " + window("/api/v1/label/U__my_2e_label/values"),
		"own " + window("/api/v1/label/U__pod/values"),
		"own GET /api/v1/label/%FF/values",
		"own GET /api/v1/query_exemplars?query=a",
		"own GET /api/v1/query_exemplars?query=a&start=2&end=1",
		"own GET /api/v1/query?query=a&time=1e300",
		"own GET /api/v1/query_range?query=a&start=0&end=1&step=0.0001",
		"own GET /api/v1/query_range?query=a&start=-62135596800&end=253402300799&step=1y",
		"own GET /api/v1/metadata",
		"own GET /api/v1/metadata?metric=noether:5m:node_joules_total",
		"own GET /api/v1/metadata?limit=1",
		"own GET /api/v1/metadata?limit=x",
		"own GET /api/v1/status/buildinfo",
		"own GET /api/v1/status/flags",
		"own GET /api/v1/targets/metadata",
		"own GET /api/v1/query?query=%zz",
		"own PUT /api/v1/query?query=1",
		"own POST /api/v1/label/pod/values",
		"own DELETE /api/v1/series?match[]=a",
		"own GET /federate?" + params("match[]", `{__name__=~"noether.+"}`, "match[]", "odd"),
		"own GET /federate?" + params("match[]", "nothing"),
		"own GET /federate",
		"own GET /federate?" + params("match[]", "{"),
	}
}

func TestAnswersAreTheGoldenOnes(t *testing.T) {
	h := served(t, openStore(t), Limits{})
	var got bytes.Buffer
	for _, line := range requests() {
		line = strings.TrimPrefix(line, "own ")
		w := ask(t, h, line)
		fmt.Fprintf(&got, "%s\n%d %s\n%s\n\n", line, w.Code, w.Header().Get("Content-Type"), strings.TrimSpace(w.Body.String()))
		if strings.Contains(line, "/api/v1/") && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: no valid JSON: %s", line, w.Body)
		}
	}
	golden := filepath.Join("testdata", "answers.golden")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("answers differ from %s (-want +got), see -update:\n%s", golden, diff)
	}
}

// call is one line of testdata/grafana.json.
type call struct {
	Name, Method, Path, Body, Source string
	Status                           int
}

func grafanaCalls(t *testing.T) []call {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "grafana.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		About string
		Calls []call
	}
	b = []byte(strings.NewReplacer("$START", at(-time.Hour), "$END", at(0), "$TIME", at(0)+".123").Replace(string(b)))
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	return file.Calls
}

func TestGrafanasCallsSucceed(t *testing.T) {
	for name, h := range map[string]http.Handler{
		"with data": served(t, openStore(t), Limits{}),
		"empty":     served(t, emptyStore(t), Limits{}),
	} {
		for _, c := range grafanaCalls(t) {
			w := ask(t, h, c.Method+" "+c.Path+" "+c.Body)
			var answer struct {
				Status string
				Data   json.RawMessage
			}
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Errorf("%s, %s: %v: %s", name, c.Name, err, w.Body)
			}
			want := http.StatusOK
			if c.Status != 0 {
				want = c.Status
			}
			if w.Code != want || want == http.StatusOK && (answer.Status != "success" || len(answer.Data) == 0 || string(answer.Data) == "null") {
				t.Errorf("%s, %s: %d %s", name, c.Name, w.Code, w.Body)
			}
		}
	}
}

func TestGrafanaTakesItForPrometheus(t *testing.T) {
	var answer struct {
		Data map[string]any
	}
	w := ask(t, served(t, emptyStore(t), Limits{}), "GET /api/v1/status/buildinfo")
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if _, ok := answer.Data["features"]; ok {
		t.Error("buildinfo has features: Grafana would take it for Mimir")
	}
	mod, err := os.ReadFile(filepath.Join("..", "..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version, ok := answer.Data["version"].(string)
	var major, minor, patch int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); !ok || err != nil {
		t.Fatalf("version %v: %v", answer.Data["version"], err)
	}
	// The module has the minor version in three digits: v0.305.1 is 3.5.1.
	if module := fmt.Sprintf("github.com/prometheus/prometheus v0.%d%02d.%d\n", major, minor, patch); !strings.Contains(string(mod), module) {
		t.Errorf("buildinfo says %s, and go.mod does not have %s", version, module)
	}
}

func TestWithoutStoreOnlyWhatNeedsNoneIsAnswered(t *testing.T) {
	h := with(t, func() (storage.Queryable, error) { return nil, errors.New("the history is being opened: try again") }, Limits{})
	for line, want := range map[string]int{
		"POST /api/v1/query query=1%2B1":                          200,
		"GET /api/v1/query_range?query=1&start=1&end=2&step=1":    200,
		"GET /api/v1/status/buildinfo":                            200,
		"GET /api/v1/metadata":                                    200,
		"GET /api/v1/query?query=up":                              503,
		"GET /api/v1/query?query=1%2Bmax_over_time(up[1h:1m])":    503,
		"GET /api/v1/query?query=sum(":                            400,
		"GET /api/v1/query_range?query=up&start=1&end=2&step=1":   503,
		"GET /api/v1/labels":                                      503,
		"GET /api/v1/label/a/values":                              503,
		"GET /api/v1/series?match[]=a":                            503,
		"GET /federate?match[]=a":                                 503,
		"GET /api/v1/query?query=absent(up)&time=253402300799":    503,
		"GET /api/v1/query_range?query=up&start=2&end=1&step=one": 400,
	} {
		w := ask(t, h, line)
		if w.Code != want {
			t.Errorf("%s: %d, want %d: %s", line, w.Code, want, w.Body)
		}
		if want != 503 {
			continue
		}
		if !strings.Contains(w.Body.String(), "the history is being opened: try again") || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %v %s", line, w.Header(), w.Body)
		}
		if !strings.HasPrefix(line, "GET /fed") && !strings.Contains(w.Body.String(), `"errorType":"unavailable"`) {
			t.Errorf("%s: %s", line, w.Body)
		}
	}
}

func TestWhatIsTooMuchIsRefusedWithAWayOut(t *testing.T) {
	db := openStore(t)
	long := strings.Repeat("a", 64<<10)
	for _, c := range []struct {
		name, line string
		limits     Limits
		code       int
		says       string
	}{
		{"samples", "GET /api/v1/query?" + params("query", "noether_node_joules_total[1h]", "time", at(0)), Limits{Samples: 100}, 422, "more than 100: ask for fewer series"},
		{"time", "GET /api/v1/query?query=up", Limits{Time: time.Nanosecond}, 503, "at most 1ns"},
		{"own timeout", "GET /api/v1/query?query=up&timeout=-1", Limits{}, 503, "query timed out"},
		{"series", "GET /api/v1/series?match[]=odd", Limits{Series: 3}, 422, "more than 3 series match"},
		{"federation", "GET /federate?match[]=odd", Limits{Series: 3}, 422, "more than 3 series match"},
		{"length of a query", "POST /api/v1/query query=a" + long, Limits{}, 400, "more than 65536"},
		{"length of selectors", "POST /api/v1/labels " + params("match[]", long, "match[]", "a"), Limits{}, 400, "more than 65536"},
		{"length of a body", "POST /api/v1/query query=" + strings.Repeat("a", 1<<20), Limits{}, 413, "longer than 1048576 bytes"},
		{"depth", "POST /api/v1/query query=" + strings.Repeat("(", 30000) + "1" + strings.Repeat(")", 30000), Limits{}, 400, "more than 500 operators"},
		{"depth of a printed one", "POST /api/v1/format_query query=" + strings.Repeat("(", 30000) + "1" + strings.Repeat(")", 30000), Limits{}, 400, "more than 500 operators"},
		{"a long sum", "POST /api/v1/query query=1" + strings.Repeat("%2B1", 30000), Limits{}, 400, "more than 500 operators"},
		{"signs", "POST /api/v1/query query=" + strings.Repeat("-", 60000) + "a", Limits{}, 400, "more than 500 operators"},
		{"matchers", "POST /api/v1/query query=a{" + strings.Repeat(`b="",`, 1001) + "}", Limits{}, 400, "more than 1000 label matchers"},
		{"matchers of selectors", "POST /api/v1/series match[]=a{" + strings.Repeat(`b="",`, 1001) + "}", Limits{}, 400, "more than 1000 label matchers"},
		{"names to group by", "POST /api/v1/query query=sum+by(" + strings.Repeat("a,", 30000) + ")(b)", Limits{}, 400, "more than 1000 label matchers or commas"},
		{"a selector that is an expression", "POST /api/v1/series match[]=" + strings.Repeat("-", 60000) + "a", Limits{}, 400, "more than 500 operators"},
		{"steps of a subquery", "GET /api/v1/query?query=max_over_time(vector(1)[290y:1ms])", Limits{}, 422, "longer step"},
		{"memory of regular expressions", "POST /api/v1/query " + params("query", `a{`+strings.Repeat(`b=~"\\pL{990}",`, 490)+"}"), Limits{}, 400, "regular expressions have more than 65536 characters"},
		{"memory of many selectors", "POST /api/v1/series " + params("match[]", `a{b=~".{900}"}`, "match[]", `{a=~"(?i:x{900}){1}|[a-c]{1000}"}`) + strings.Repeat("&"+params("match[]", `a{b=~".{999}.{999}"}`), 32), Limits{}, 400, "regular expressions have more than 65536 characters"},
		{"memory of a function's pattern", "POST /api/v1/query " + params("query", "label_replace(odd, \"a\", \"\", \"i\", `\\pL{990}`)"), Limits{}, 400, "regular expressions have more than 65536 characters"},
		{"labels that grow by repetition", "POST /api/v1/query " + params("query", grow(3, `label_replace(`, `, "i", "`+strings.Repeat("$1", 40)+`", "i", "(.*)")`)), Limits{}, 422, "label_replace and label_join could make"},
		{"labels that grow by joining", "POST /api/v1/query " + params("query", grow(3, `label_join(`, `, "i", ""`+strings.Repeat(`,"i"`, 40)+`)`)), Limits{}, 422, "label_replace and label_join could make"},
		{"windows of a subquery", "GET /api/v1/query_range?query=quantile_over_time(0.9,vector(1)[1d:1s])&start=0&end=86400&step=8", Limits{}, 422, "more than 50000000 samples of each series"},
		{"windows of inner subqueries", "GET /api/v1/query?query=max_over_time(max_over_time(vector(1)[1d:1s])[1d:1s])", Limits{}, 422, "more than 50000000 samples of each series"},
		{"steps of subqueries", "GET /api/v1/query?query=max_over_time(max_over_time(vector(1)[100y:1y])[100y:1s])", Limits{}, 422, "longer step"},
		{"steps of a subquery below a long range", "GET /api/v1/query_range?query=max_over_time(vector(1)[2ms:1ms])&start=0&end=5000000&step=1000", Limits{}, 422, "longer step"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ask(t, served(t, db, c.limits), c.line)
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("%d %.300s, want %d with %q", w.Code, w.Body, c.code, c.says)
			}
		})
	}
}

// grow nests an expression in n calls.
func grow(n int, before, after string) string {
	return strings.Repeat(before, n) + "odd" + strings.Repeat(after, n)
}

func TestWhatPeopleAskIsNotTooMuch(t *testing.T) {
	h := served(t, openStore(t), Limits{})
	for name, query := range map[string]string{
		"a list of names":         `noether_pod_joules_total{pod=~"` + strings.Repeat("cart-7d9f8b6c5-x2x7z|", 3000) + `"}`,
		"classes":                 `noether_pod_joules_total{pod=~"(?i)[\\pL\\pN._-]+-[0-9a-f]{8,10}-[a-z0-9]{5}"}`,
		"labels one by one":       grow(30, "label_replace(", `, "b", "$1", "i", "(.*)-[^-]+")`),
		"labels put together":     grow(3, "label_replace(", `, "b", "$1/$2", "i", "(.*)-([^-]+)")`),
		"labels joined":           `label_join(odd, "b", "/", "namespace", "pod", "container", "i")`,
		"the peak of a fortnight": `max_over_time(sum(rate(noether_node_joules_total[5m]))[15d:1m])`,
	} {
		if w := ask(t, h, "POST /api/v1/query_range "+params("query", query, "start", at(-time.Hour), "end", at(0), "step", "15")); w.Code != http.StatusOK {
			t.Errorf("%s: %d %.300s", name, w.Code, w.Body)
		}
	}
}

func TestQueriesWaitForASlotAndAreSentAway(t *testing.T) {
	db := emptyStore(t)
	held, release := make(chan struct{}), make(chan struct{})
	h := with(t, func() (storage.Queryable, error) {
		held <- struct{}{}
		<-release
		return db, nil
	}, Limits{Queries: 2, Wait: time.Millisecond})
	codes := make(chan int)
	for range 2 {
		go func() { codes <- ask(t, h, "GET /api/v1/query?query=up").Code }()
		<-held
	}
	w := ask(t, h, "GET /api/v1/query?query=up")
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"errorType":"unavailable"`) {
		t.Errorf("the third: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := ask(t, h, "GET /api/v1/status/buildinfo"); w.Code != 200 {
		t.Errorf("what needs no slot: %d", w.Code)
	}
	close(release)
	for range 2 {
		if code := <-codes; code != 200 {
			t.Errorf("one that had a slot: %d", code)
		}
	}
	go func() { codes <- ask(t, h, "GET /api/v1/query?query=up").Code }()
	<-held
	if code := <-codes; code != 200 {
		t.Errorf("one after that: %d", code)
	}
}

func TestOneSeriesOfManyLongWindowsEndsInTime(t *testing.T) {
	db := emptyStore(t)
	app := db.Appender(t.Context())
	for i := range 50_000 { // sorted in 11,000 windows, these take minutes
		if _, err := app.Append(0, labels.FromStrings("__name__", "long"), start.UnixMilli()+int64(i), float64(i*7919%50_000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w := ask(t, served(t, db, Limits{}), "GET /api/v1/query_range?"+params("query", "quantile_over_time(0.9, long[1m])", "timeout", "300ms",
		"start", at(-time.Hour+40*time.Second), "end", at(-time.Hour+50*time.Second), "step", "0.001"))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "timeout") {
		t.Errorf("%d %.300s after %s", w.Code, w.Body, time.Since(began))
	}
}

func TestAPanicIsAnErrorWithoutDetails(t *testing.T) {
	h := with(t, func() (storage.Queryable, error) { panic("secret") }, Limits{Queries: 1})
	for range 2 { // the slot is free again
		w := ask(t, h, "GET /api/v1/query?query=up")
		if w.Code != 500 || !json.Valid(w.Body.Bytes()) || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

// unreadable is a store whose files cannot be read where they are mapped.
type unreadable struct{ storage.Querier }

func (unreadable) Select(context.Context, bool, *storage.SelectHints, ...*labels.Matcher) storage.SeriesSet {
	var page *[4096]byte
	page[0]++
	return nil
}

func TestAFaultIsAnErrorWithoutDetails(t *testing.T) {
	h := served(t, storage.QueryableFunc(func(int64, int64) (storage.Querier, error) {
		return unreadable{storage.NoopQuerier()}, nil
	}), Limits{Queries: 1})
	for range 2 { // the slot is free again
		for _, path := range []string{"/api/v1/query?query=up", "/api/v1/series?match[]=up", "/federate?match[]=up"} {
			if w := ask(t, h, "GET "+path); w.Code != 500 || strings.Contains(w.Body.String(), "memory") || !strings.Contains(w.Body.String(), "the log of the agent says more") {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	}
}

func TestLargeAnswersAreCompressedIfAsked(t *testing.T) {
	h := served(t, openStore(t), Limits{})
	target := "/api/v1/query?" + params("query", `{__name__=~".+"}[1h]`, "time", at(0))
	plain := ask(t, h, "GET "+target)
	if plain.Body.Len() < flushAt {
		t.Fatalf("the answer has %d bytes: too few for this test", plain.Body.Len())
	}
	for _, c := range []struct {
		accepts, target string
		compressed      bool
	}{
		{"gzip", target, true},
		{"deflate, gzip;q=0.5, br", target, true},
		{"gzip;q=0", target, false},
		{"br", target, false},
		{"gzip", "/api/v1/query?query=1", false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, c.target, nil)
		r.Header.Set("Accept-Encoding", c.accepts)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != c.compressed {
			t.Errorf("Accept-Encoding %q: compressed %v", c.accepts, got)
			continue
		}
		body := w.Body.Bytes()
		if c.compressed {
			z, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if c.target == target && !bytes.Equal(body, plain.Body.Bytes()) {
			t.Errorf("Accept-Encoding %q: the answer differs", c.accepts)
		}
	}
}

func TestNativeHistogramsAreAnswered(t *testing.T) {
	db := emptyStore(t)
	app := db.Appender(t.Context())
	if _, err := app.AppendHistogram(0, labels.FromStrings("__name__", "native"), now.UnixMilli(), nil, tsdbutil.GenerateTestFloatHistogram(1)); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	h := served(t, db, Limits{})
	for _, line := range []string{"GET /api/v1/query?query=native", "GET /api/v1/query?query=native[1m]"} {
		w := ask(t, h, line)
		if w.Code != 200 || !json.Valid(w.Body.Bytes()) || !strings.Contains(w.Body.String(), `"buckets":[[`) {
			t.Errorf("%s: %d %s", line, w.Code, w.Body)
		}
	}
	if w := ask(t, h, "GET /federate?match[]=native"); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("federate: %d %s", w.Code, w.Body)
	}
}

func TestStatisticsAreToldIfAsked(t *testing.T) {
	h := served(t, openStore(t), Limits{})
	for stats, says := range map[string]string{"true": `"totalQueryableSamples":40`, "all": `"totalQueryableSamplesPerStep":[[`} {
		w := ask(t, h, "GET /api/v1/query_range?"+params("query", "noether_node_joules_total[1m]", "stats", stats, "start", at(0), "end", at(0), "step", "1"))
		if w.Code == 200 {
			t.Errorf("a range of ranges was answered: %s", w.Body)
		}
		w = ask(t, h, "GET /api/v1/query_range?"+params("query", "rate(noether_node_joules_total[5m])", "stats", stats, "start", at(0), "end", at(0), "step", "1"))
		if w.Code != 200 || !json.Valid(w.Body.Bytes()) || !strings.Contains(w.Body.String(), says) {
			t.Errorf("stats=%s: %d %s", stats, w.Code, w.Body)
		}
	}
}

// sink counts and forgets.
type sink struct {
	header http.Header
	most   int
}

func (s *sink) Header() http.Header { return s.header }
func (s *sink) WriteHeader(int)     {}
func (s *sink) Write(p []byte) (int, error) {
	s.most = max(s.most, len(p))
	return len(p), nil
}

func TestAnswersAreWrittenInPieces(t *testing.T) {
	points := make([]promql.FPoint, 1_000_000)
	a := &answer{data: func(e *encoder) { e.value(promql.Matrix{{Floats: points}}) }}
	w := &sink{header: http.Header{}}
	(&response{api: &api{}, w: w}).send(a)
	if w.most > 2*flushAt {
		t.Errorf("one piece has %d bytes", w.most)
	}
}
