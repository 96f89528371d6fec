package promapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// endpoints that are fuzzed, each with any parameters.
var endpoints = []string{
	"/api/v1/query", "/api/v1/query_range", "/api/v1/series", "/api/v1/labels", "/api/v1/format_query",
	"/api/v1/query_exemplars", "/api/v1/metadata", "/api/v1/label/x/values", "/federate",
}

// FuzzRequests asks anything: the answer is always valid, and never a bug.
func FuzzRequests(f *testing.F) {
	seed := func(endpoint uint8, pairs ...string) { f.Add(endpoint, "", params(pairs...)) }
	for _, query := range []string{
		"1+1", "noether_node_joules_total @ start()", "noether_node_joules_total @ 1e300", "x @ -9e15", "x offset 292y", "x offset -292y",
		"rate(odd[290y])", "max_over_time(odd[290y:1ms])", "max_over_time(vector(1)[1y:])", "topk(1e300, odd)", "quantile(NaN, odd)",
		"count_values(\"\xff\", odd)", `label_replace(odd, "a", "$1", "i", "(.*)")`, `label_replace(odd, "__name__", "", "i", ".*")`,
		"histogram_quantile(0.9, odd)", "sort_by_label(odd, \"i\")", "{__name__=~\"(a|b){1000}{1000}\"}", "predict_linear(odd[1h], 1e308)",
		"((((((", "sum by (((", "-----1", "limitk(1, odd)", "info(odd)", "odd[1m:0s]", "odd[0s]", `"\u0000<b>"`, "{\"a b\"}", "atan2", "odd % 0",
		"absent_over_time(nothing[5m])", "holt_winters(odd[1h], 0.5, 0.5)", "scalar(odd)", "day_of_month(vector(1e300))", "round(odd, 0)",
	} {
		seed(0, "query", query, "time", at(0))
		seed(1, "query", query, "start", at(-time.Hour), "end", at(0), "step", "60", "stats", "all")
		seed(4, "query", query)
	}
	seed(1, "query", "odd", "start", "-62135596800", "end", "253402300799", "step", "1y", "timeout", "1s")
	seed(1, "query", "odd", "start", "NaN", "end", "Inf", "step", "1e-9")
	seed(2, "match[]", `{a!=""}`, "limit", "9223372036854775807", "start", "1e300")
	seed(3, "match[]", "odd", "match[]", "{", "start", "2", "end", "1")
	seed(5, "query", "odd", "start", "0001-01-01T00:00:00Z", "end", "9999-12-31T23:59:59Z")
	seed(6, "limit", "-3", "limit_per_metric", "0")
	seed(7, "limit", "0")
	seed(8, "match[]", `{__name__!=""}`)
	f.Add(uint8(7), "U__", "")
	f.Add(uint8(7), "U___d800_", "")
	f.Add(uint8(7), "%2f%00%ff", "a=%zz;&&")
	db := openStore(f)
	h := served(f, db, Limits{Samples: 20_000, Time: 200 * time.Millisecond})
	f.Fuzz(func(t *testing.T, endpoint uint8, name, form string) {
		path := endpoints[int(endpoint)%len(endpoints)]
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
			if strings.HasSuffix(path, "/x/values") {
				r.URL.Path = "/api/v1/label/" + name + "/values"
			}
			if method == http.MethodPost {
				r = httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(form))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			} else {
				r.URL.RawQuery = form
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			switch w.Code {
			case 301, 307: // of paths such as a//b
				return
			case 200, 400, 404, 405, 422, 503:
			default:
				t.Fatalf("%s %s?%q: %d %s", method, r.URL.Path, form, w.Code, w.Body)
			}
			if path == "/federate" {
				continue
			}
			var answer struct{ Status, ErrorType, Error string }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatalf("%s %s?%q: %v: %s", method, r.URL.Path, form, err, w.Body)
			}
			if ok := w.Code == 200; ok != (answer.Status == "success") || ok == (answer.Error != "") {
				t.Fatalf("%s %s?%q: %d %s", method, r.URL.Path, form, w.Code, w.Body)
			}
			if strings.Contains(answer.Error, "unexpected error") {
				t.Fatalf("%s %s?%q: the engine panicked: %s", method, r.URL.Path, form, answer.Error)
			}
		}
	})
}

// FuzzTimes reads anything as time and as duration.
func FuzzTimes(f *testing.F) {
	for _, s := range []string{"", "0", "1.0005", "-1.5", "1e300", "NaN", "-Inf", "2026-06-01T12:00:00Z", "9999-12-31T23:59:59.999999999+23:59", "0000-01-01T00:00:00Z", "5m", "1y2w", "1e18", "0x1p-2", "253402300799.9999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := parseTime(s); err == nil && (at.Unix() < minSeconds || at.Unix() > maxSeconds+1) {
			t.Errorf("time %q is %v", s, at)
		}
		_, _ = parseDuration(s)
		_ = beyond(s)
	})
}
