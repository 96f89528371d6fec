package dashboards

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"

	"noether/internal/impact"
	"noether/internal/impact/builtin"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/test/program"
	"noether/test/script"
)

// blockLength is one of promtool's: one file makes one block, read once.
const blockLength = 54 * time.Hour

// history is samples with times, in one OpenMetrics file for each block.
type history struct {
	t     *testing.T
	dir   string
	files map[int64]*bufio.Writer
	open  []*os.File
}

func newHistory(t *testing.T) *history {
	t.Helper()
	return &history{t: t, dir: t.TempDir(), files: map[int64]*bufio.Writer{}}
}

// at returns the file for samples of a time.
func (h *history) at(when time.Time) io.Writer {
	n := when.UnixMilli() / blockLength.Milliseconds()
	if w := h.files[n]; w != nil {
		return w
	}
	f, err := os.Create(filepath.Join(h.dir, strconv.FormatInt(n, 10)+".om"))
	if err != nil {
		h.t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	h.files[n], h.open = w, append(h.open, f)
	return w
}

func (h *history) add(series string, at time.Time, v float64) {
	fmt.Fprintf(h.at(at), "%s %v %d.%03d\n", series, v, at.Unix(), at.Nanosecond()/1e6)
}

// load makes blocks of everything.
func (h *history) load(data string) {
	h.t.Helper()
	var size int64
	for _, w := range h.files {
		w.WriteString("# EOF\n")
		if err := w.Flush(); err != nil {
			h.t.Fatal(err)
		}
	}
	for _, f := range h.open {
		info, err := f.Stat()
		if err != nil {
			h.t.Fatal(err)
		}
		size += info.Size()
		if err := f.Close(); err != nil {
			h.t.Fatal(err)
		}
		promtool(h.t, "tsdb", "create-blocks-from", "openmetrics", "--quiet", "--max-block-duration="+blockLength.String(), f.Name(), data)
		if err := os.Remove(f.Name()); err != nil {
			h.t.Fatal(err)
		}
	}
	h.t.Logf("%d MB of samples", size>>20)
}

// others adds what is not the agents': another job's target, and
// kube-state-metrics, which sees the image of cart change at six in the morning
// of the last day.
func (h *history) others() {
	release := begin().AddDate(0, 0, lastDay).Add(6 * time.Hour)
	for at := begin(); !at.After(end()); at = at.Add(tick) {
		image := "registry.example/cart:1.3"
		if !at.Before(release) {
			image = "registry.example/cart:1.4"
		}
		h.add(`up{cluster="blue",job="kubelet",instance="a",node="a"}`, at, 1)
		h.add(fmt.Sprintf(`kube_pod_container_info{cluster="blue",namespace="shop",pod="cart-7d9f-0",uid=%q,container="main",image=%q}`, script.UID(1), image), at, 1)
	}
}

// scores lets the impact engine run once an hour, as a CronJob does: 0.05 kWh
// at 300 g/kWh, 5 g embodied, and 1000 requests plus 100 for each hour of the
// day. What its publisher sends is put into the history.
func (h *history) scores() {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		packed, err := io.ReadAll(r.Body)
		if err != nil {
			h.t.Error(err)
		}
		body, err := snappy.Decode(nil, packed)
		if err != nil {
			h.t.Error(err)
		}
		var written prompb.WriteRequest
		if err := written.Unmarshal(body); err != nil {
			h.t.Error(err)
		}
		for _, s := range written.Timeseries {
			name, labels := "", []string{`cluster="blue"`}
			for _, l := range s.Labels {
				if l.Name == "__name__" {
					name = l.Value
					continue
				}
				labels = append(labels, fmt.Sprintf("%s=%q", l.Name, l.Value))
			}
			for _, sample := range s.Samples {
				h.add(name+"{"+strings.Join(labels, ",")+"}", time.UnixMilli(sample.Timestamp), sample.Value)
			}
		}
	}))
	defer receiver.Close()
	for at := begin().Add(time.Hour); !at.After(end()); at = at.Add(time.Hour) {
		start := at.Add(-time.Hour)
		manifest, err := jsyaml.Parse(fmt.Appendf(nil, `name: shop
initialize:
  plugins:
    sci: {path: builtin, method: Sci, config: {functional-unit: requests}}
    publish:
      path: builtin
      method: PrometheusPublisher
      config: {boundary: the pods, methodology: by hand, url: %s}
tree:
  pipeline: {compute: [sci, publish]}
  children:
    cart:
      inputs:
        - {timestamp: "%s", duration: 3600, carbon-operational: 15, carbon-embodied: 5, carbon: 20, energy: 0.05, requests: %d}
`, receiver.URL, start.Format(time.RFC3339), 1000+100*start.Hour()))
		if err != nil {
			h.t.Fatal(err)
		}
		outcome := impact.Run(h.t.Context(), manifest, impact.Options{Methods: builtin.Methods(), Env: &plugin.Env{
			Dialect: plugin.Noether(), Now: func() time.Time { return at }, HTTP: receiver.Client(), Random: func() float64 { return 0 },
			Getenv: func(string) string { return "" },
			Warn:   func(format string, args ...any) { h.t.Errorf(format, args...) },
		}})
		if outcome.Err != nil {
			h.t.Fatal(outcome.Err)
		}
	}
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
		t.Fatalf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// server is a Prometheus on a directory of blocks.
type server struct{ *program.Server }

// start starts the program of that path, or Debian's if that is "".
func start(t *testing.T, path, data string) *server {
	t.Helper()
	return &server{program.Prometheus(t, path, "", data)}
}

// stamp is a time as the API and promtool take it.
func stamp(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// ask puts one question to the API, and fails where the answer is none.
func (s *server) ask(path string, args url.Values, result any) error {
	resp, err := http.PostForm(s.URL+path, args)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var body struct {
		Error string
		Data  json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return err
	}
	if body.Error != "" {
		return fmt.Errorf("%s: %s", args.Get("query"), body.Error)
	}
	return json.Unmarshal(body.Data, result)
}

// series is one line of an answer.
type series struct {
	Metric map[string]string
	Value  pair
	Values []pair
}

type pair struct {
	at    float64
	value float64
}

func (p *pair) UnmarshalJSON(b []byte) error {
	var raw [2]any
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	p.at = raw[0].(float64)
	var err error
	p.value, err = strconv.ParseFloat(raw[1].(string), 64)
	return err
}

func (s *server) instant(expr string, at time.Time) ([]series, error) {
	var r struct{ Result []series }
	err := s.ask("/api/v1/query", url.Values{"query": {expr}, "time": {stamp(at)}}, &r)
	return r.Result, err
}

func (s *server) span(expr string, from, to time.Time, step time.Duration) ([]series, error) {
	var r struct{ Result []series }
	err := s.ask("/api/v1/query_range", url.Values{
		"query": {expr}, "start": {stamp(from)}, "end": {stamp(to)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)},
	}, &r)
	return r.Result, err
}

// labelValues is what Grafana asks for a variable.
func (s *server) labelValues(label, selector string, from, to time.Time) ([]string, error) {
	resp, err := http.Get(s.URL + "/api/v1/label/" + label + "/values?" + url.Values{
		"match[]": {selector}, "start": {stamp(from)}, "end": {stamp(to)},
	}.Encode())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var body struct {
		Error string
		Data  []string
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return nil, err
	}
	if body.Error != "" {
		return nil, fmt.Errorf("label_values(%s, %s): %s", selector, label, body.Error)
	}
	slices.Sort(body.Data)
	return body.Data, nil
}
