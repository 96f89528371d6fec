package page

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"noether/test/program"
)

// server is a program that is asked.
type server struct {
	*program.Server
	t testing.TB
}

// start starts a program and waits until it answers 200 on a path.
func start(t testing.TB, address, ready, name string, args ...string) *server {
	t.Helper()
	return startAt(t, http.DefaultClient, "http://"+address, ready, name, args...)
}

// startAt starts a program that answers a client at a URL without a path.
func startAt(t testing.TB, client *http.Client, base, ready, name string, args ...string) *server {
	t.Helper()
	return &server{program.Start(t, client, base, ready, name, args...), t}
}

// startAgent starts an agent and waits for its first tick.
func startAgent(t testing.TB, args ...string) *server {
	t.Helper()
	address := program.FreeAddress(t)
	return start(t, address, "/readyz", binary, append([]string{"agent", "--listen", address}, args...)...)
}

// startPrometheus starts the Debian Prometheus on a directory of blocks. At
// address "" it takes any.
func startPrometheus(t testing.TB, address, data string, flags ...string) *server {
	t.Helper()
	return &server{program.Prometheus(t, "", address, data, flags...), t}
}

// startUI serves the page over somebody else's API.
func startUI(t testing.TB, backend string, args ...string) *server {
	t.Helper()
	address := program.FreeAddress(t)
	return start(t, address, "/healthz", binary, append([]string{"ui", "--prometheus", backend, "--listen", address}, args...)...)
}

// sample is one line of an answer.
type sample struct {
	labels map[string]string
	value  float64
}

// query asks an instant query of the Prometheus API.
func (s *server) query(expr string, at time.Time) []sample {
	s.t.Helper()
	resp, err := http.PostForm(s.URL+"/api/v1/query", url.Values{"query": {expr}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}})
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Status != "success" {
		s.t.Fatalf("query %s: %v %s", expr, err, answer.Error)
	}
	var out []sample
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			s.t.Fatalf("query %s: %v", expr, err)
		}
		out = append(out, sample{r.Metric, v})
	}
	return out
}

// value is the sum of a query's answer.
func (s *server) value(expr string, at time.Time) (sum float64) {
	s.t.Helper()
	for _, v := range s.query(expr, at) {
		sum += v.value
	}
	return sum
}
