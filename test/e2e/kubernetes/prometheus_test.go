package kubernetes

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// database asks a Prometheus.
type database struct {
	client *http.Client
	url    string
}

// answer is one series of an instant query.
type answer struct {
	labels map[string]string
	value  float64
	// samples of a range selector, such as up[1m]
	samples []sample
}

type sample struct {
	at    time.Time
	value float64
}

// ask runs an instant query at one moment.
func (d *database) ask(t *testing.T, expr string, at time.Time) []answer {
	t.Helper()
	answers, err := d.query(expr, at)
	if err != nil {
		t.Fatalf("query %s: %v", expr, err)
	}
	return answers
}

func (d *database) query(expr string, at time.Time) ([]answer, error) {
	values := url.Values{"query": {expr}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}}
	resp, err := d.client.Get(d.url + "/api/v1/query?" + values.Encode())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var body struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  json.RawMessage
				Values []json.RawMessage
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return nil, err
	}
	if body.Status != "success" {
		return nil, fmt.Errorf("%s", body.Error)
	}
	var out []answer
	for _, r := range body.Data.Result {
		a := answer{labels: r.Metric}
		if r.Value != nil {
			s, err := readSample(r.Value)
			if err != nil {
				return nil, err
			}
			a.value = s.value
		}
		for _, raw := range r.Values {
			s, err := readSample(raw)
			if err != nil {
				return nil, err
			}
			a.samples = append(a.samples, s)
		}
		out = append(out, a)
	}
	return out, nil
}

func readSample(raw json.RawMessage) (sample, error) {
	var pair [2]json.RawMessage
	var seconds float64
	var text string
	if err := json.Unmarshal(raw, &pair); err != nil {
		return sample{}, err
	}
	if err := json.Unmarshal(pair[0], &seconds); err != nil {
		return sample{}, err
	}
	if err := json.Unmarshal(pair[1], &text); err != nil {
		return sample{}, err
	}
	v, err := strconv.ParseFloat(text, 64)
	return sample{time.UnixMilli(int64(seconds*1000 + 0.5)), v}, err
}

// one asks for a single number; 0 if there is none.
func (d *database) one(t *testing.T, expr string, at time.Time) float64 {
	t.Helper()
	switch a := d.ask(t, expr, at); len(a) {
	case 0:
		return 0
	case 1:
		return a[0].value
	default:
		t.Fatalf("query %s: %d series, want one", expr, len(a))
		return 0
	}
}

// by returns the values of a query by one or more of its labels, joined by "/".
func (d *database) by(t *testing.T, expr string, at time.Time, names ...string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, a := range d.ask(t, expr, at) {
		var key []string
		for _, n := range names {
			key = append(key, a.labels[n])
		}
		out[strings.Join(key, "/")] += a.value
	}
	return out
}

func TestReadSample(t *testing.T) {
	got, err := readSample(json.RawMessage(`[1700000000.123,"1.5e3"]`))
	if want := (sample{time.UnixMilli(1700000000123), 1500}); err != nil || got != want {
		t.Errorf("got %v %v, want %v", got, err, want)
	}
	for _, bad := range []string{`[]`, `["a","1"]`, `[1,1]`, `[1,"x"]`, `{}`} {
		if _, err := readSample(json.RawMessage(bad)); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}
