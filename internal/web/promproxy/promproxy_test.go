package promproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"noether/internal/promclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "t0p-s3cret"

// front returns a proxy that serves, and asks upstream with a token.
func front(t *testing.T, upstream string, change func(*Options)) *httptest.Server {
	t.Helper()
	env := map[string]string{"PROMETHEUS_BEARER_TOKEN": secret, "PROMETHEUS_TENANT": "shop"}
	credentials, err := promclient.FromEnvironment(func(k string) string { return env[k] }, "PROMETHEUS")
	if err != nil {
		t.Fatal(err)
	}
	client, err := promclient.New(promclient.Options{URL: upstream, Credentials: credentials, UserAgent: "noether/test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	o := Options{Client: client, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if change != nil {
		change(&o)
	}
	server := httptest.NewServer(New(o))
	t.Cleanup(server.Close)
	return server
}

type reply struct {
	code   int
	header http.Header
	body   string
	err    error // of reading the body
}

func ask(t *testing.T, method, address string, header http.Header, body string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := client.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(content), err}
}

var form = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}

// seen is what the server that is asked got.
type seen struct {
	Method, Path string
	Form         url.Values
	Header       http.Header
}

func TestOnlyWhatReadsIsPassedOnAndNothingOfTheBrowser(t *testing.T) {
	var got *seen
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		got = &seen{r.Method, r.URL.Path, r.Form, r.Header}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Set-Cookie", "session=1")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("X-Upstream", "1")
		_, _ = io.WriteString(w, `{"status":"success","data":"<script>"}`)
	}))
	defer upstream.Close()
	server := front(t, upstream.URL+"/prometheus/", nil)
	browser := http.Header{
		"Cookie": {"a=b"}, "Authorization": {"Basic eA=="}, "X-Scope-Orgid": {"other"}, "X-Forwarded-For": {"10.0.0.1"},
		"Origin": {"http://example.org"}, "Referer": {"http://example.org"}, "Content-Type": form["Content-Type"],
	}
	for _, tt := range []struct {
		method, path, body string
		want               *seen // nil: refused
		code               int
	}{
		{"GET", "/api/v1/query?query=up&time=1&evil=1", "", &seen{"GET", "/prometheus/api/v1/query", url.Values{"query": {"up"}, "time": {"1"}}, nil}, 200},
		{"POST", "/api/v1/query", "query=a%26b%3D1&extra_label=x", &seen{"POST", "/prometheus/api/v1/query", url.Values{"query": {"a&b=1"}}, nil}, 200},
		{"POST", "/api/v1/query_range?step=9", "query=up&start=1&end=2&step=15", &seen{"POST", "/prometheus/api/v1/query_range", url.Values{"query": {"up"}, "start": {"1"}, "end": {"2"}, "step": {"15", "9"}, "nocache": {"1"}}, nil}, 200},
		{"GET", "/api/v1/label/pod/values?match[]=a&match[]=b", "", &seen{"GET", "/prometheus/api/v1/label/pod/values", url.Values{"match[]": {"a", "b"}}, nil}, 200},
		{"HEAD", "/api/v1/labels", "", &seen{"GET", "/prometheus/api/v1/labels", url.Values{}, nil}, 200},
		{"GET", "/api/v1/status/buildinfo", "", &seen{"GET", "/prometheus/api/v1/status/buildinfo", url.Values{}, nil}, 200},
		{"GET", "/api/v1/metadata?limit=1", "", &seen{"GET", "/prometheus/api/v1/metadata", url.Values{"limit": {"1"}}, nil}, 200},
		{"DELETE", "/api/v1/series", "", nil, 405},
		{"POST", "/api/v1/metadata", "", nil, 405},
		{"POST", "/api/v1/admin/tsdb/delete_series", "", nil, 404},
		{"GET", "/api/v1/status/config", "", nil, 404},
		{"GET", "/api/v1/label/a%2Fb/values", "", nil, 404},
		{"GET", "/api/v1/label/../../admin/values", "", nil, 404},
		{"GET", "/api/v1/label/%2e%2e/values", "", nil, 404},
		{"GET", "/api/v1/query/", "", nil, 404},
		{"GET", "/api/v1/write", "", nil, 404},
		{"GET", "/federate?match[]=up", "", nil, 404},
		{"GET", "/api/v1/query?query=%zz", "", nil, 400},
		{"POST", "/api/v1/query", "query=" + strings.Repeat("a", maxForm), nil, 413},
	} {
		got = nil
		r := ask(t, tt.method, server.URL+tt.path, browser, tt.body)
		if r.code != tt.code || r.err != nil {
			t.Errorf("%s %s: %d, %v\n%.200s", tt.method, tt.path, r.code, r.err, r.body)
		}
		if r.header.Get("Content-Type") != "application/json" || tt.method != "HEAD" && !json.Valid([]byte(r.body)) {
			t.Errorf("%s %s: %s\n%.200s", tt.method, tt.path, r.header.Get("Content-Type"), r.body)
		}
		for _, name := range []string{"Set-Cookie", "Access-Control-Allow-Origin", "X-Upstream"} {
			if r.header.Get(name) != "" {
				t.Errorf("%s %s: header %s came back", tt.method, tt.path, name)
			}
		}
		if tt.want == nil {
			if got != nil {
				t.Errorf("%s %s: asked for %+v", tt.method, tt.path, got)
			}
			continue
		}
		if got == nil {
			t.Errorf("%s %s: nobody was asked", tt.method, tt.path)
			continue
		}
		header := got.Header
		got.Header = nil
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s %s:\n%s", tt.method, tt.path, diff)
		}
		for _, name := range []string{"Cookie", "Origin", "Referer", "X-Forwarded-For"} {
			if header.Get(name) != "" {
				t.Errorf("%s %s: header %s went on", tt.method, tt.path, name)
			}
		}
		if header.Get("Authorization") != "Bearer "+secret || header.Get("X-Scope-Orgid") != "shop" || header.Get("User-Agent") != "noether/test" {
			t.Errorf("%s %s: asked as %v", tt.method, tt.path, header)
		}
	}
	if r := ask(t, "POST", server.URL+"/api/v1/query", http.Header{"Content-Type": {"multipart/form-data"}}, "query=1"); r.code != 415 {
		t.Errorf("a body that is no form: %d", r.code)
	}
}

func TestEveryBadAnswerIsASentence(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed, with %v", r.Header)
	}))
	defer elsewhere.Close()
	const problem = `{"status":"error","errorType":%q,"error":%q}`
	for name, tt := range map[string]struct {
		status   int
		body     string
		code     int
		kind     string
		contains []string
	}{
		"a wrong query":              {400, fmt.Sprintf(problem, "bad_data", "parse error: <b>"), 400, "bad_data", []string{"parse error: <b>"}},
		"too many samples":           {422, fmt.Sprintf(problem, "execution", "query processing would load too many samples"), 422, "execution", []string{"too many samples"}},
		"its own time limit":         {503, fmt.Sprintf(problem, "timeout", "query timed out"), 503, "timeout", []string{"timed out"}},
		"not ready":                  {503, "Service Unavailable", 502, "unavailable", []string{"503", "Service Unavailable"}},
		"wants credentials":          {401, "Unauthorized", 502, "unavailable", []string{"401", "PROMETHEUS_BEARER_TOKEN"}},
		"forbids":                    {403, fmt.Sprintf(problem, "forbidden", "no"), 502, "unavailable", []string{"403", "PROMETHEUS_BEARER_TOKEN"}},
		"no tenant":                  {401, "no org id", 502, "unavailable", []string{"PROMETHEUS_TENANT"}},
		"the wrong address":          {404, "404 page not found", 502, "unavailable", []string{"/select/0/prometheus"}},
		"elsewhere":                  {302, "", 502, "unavailable", []string{"redirects to " + elsewhere.URL}},
		"a login page":               {200, "<!DOCTYPE html><title>Log in</title><script>alert(1)</script>", 502, "unavailable", []string{"a web page", "login", "PROMETHEUS_BEARER_TOKEN"}},
		"a page that looks like it":  {200, "{<script>", 502, "unavailable", []string{"no JSON"}},
		"nothing at all":             {200, " \n", 502, "unavailable", []string{"empty"}},
		"a list":                     {200, "[1]", 502, "unavailable", []string{"no JSON"}},
		"a secret that comes back":   {500, "you sent Bearer", 502, "unavailable", []string{"500"}},
		"what was before an API":     {200, "# HELP up\nup 1\n", 502, "unavailable", []string{"no JSON"}},
		"text that is no UTF-8":      {500, "\xff\xfe", 502, "unavailable", []string{"500"}},
		"an error with no type":      {400, `{"error":"nope"}`, 400, "bad_data", []string{"nope"}},
		"a teapot that speaks":       {418, fmt.Sprintf(problem, "internal", "short and stout"), 502, "unavailable", []string{"stout"}},
		"an error in a good answer":  {200, `{"status":"error","error":"as it is"}`, 200, "", []string{"as it is"}},
		"too many requests at once":  {429, "slow down", 502, "unavailable", []string{"429", "slow down"}},
		"a limit of VictoriaMetrics": {422, fmt.Sprintf(problem, "422", "cannot select more than -search.maxSamplesPerQuery"), 422, "422", []string{"maxSamplesPerQuery"}},
	} {
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, tt.body)
		}))
		r := ask(t, "GET", front(t, upstream.URL, nil).URL+"/api/v1/query?query=1", nil, "")
		upstream.Close()
		var answer struct{ Status, ErrorType, Error string }
		if err := json.Unmarshal([]byte(r.body), &answer); err != nil || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v, %s\n%s", name, err, r.header, r.body)
		}
		if r.code != tt.code || answer.Status != "error" || answer.ErrorType != tt.kind {
			t.Errorf("%s: %d %+v", name, r.code, answer)
		}
		for _, want := range tt.contains {
			if !strings.Contains(answer.Error, want) {
				t.Errorf("%s lacks %q: %s", name, want, answer.Error)
			}
		}
		if strings.Contains(r.body, secret) || r.header.Get("WWW-Authenticate") != "" || r.header.Get("Location") != "" {
			t.Errorf("%s: too much comes back: %s\n%s", name, r.header, r.body)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	if r := ask(t, "GET", front(t, gone.URL, nil).URL+"/api/v1/query?query=1", nil, ""); r.code != 502 || !strings.Contains(r.body, "connection refused") {
		t.Errorf("%d %s", r.code, r.body)
	}
}

func TestACertificateThatNobodyVouchesFor(t *testing.T) {
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked") }))
	upstream.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	upstream.StartTLS()
	defer upstream.Close()
	if r := ask(t, "GET", front(t, upstream.URL, nil).URL+"/api/v1/query?query=1", nil, ""); r.code != 502 || !strings.Contains(r.body, "PROMETHEUS_CA_FILE") {
		t.Errorf("%d %s", r.code, r.body)
	}
}

func TestAServerThatHangsIsToldOfInTime(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("query") == "half" {
			_, _ = io.WriteString(w, `{"status":`)
			http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}))
	defer upstream.Close()
	server := front(t, upstream.URL, func(o *Options) { o.Timeout = 50 * time.Millisecond })
	for _, query := range []string{"none", "half"} {
		if r := ask(t, "GET", server.URL+"/api/v1/query?query="+query, nil, ""); r.code != 504 || !strings.Contains(r.body, `"timeout"`) {
			t.Errorf("%s: %d %s %v", query, r.code, r.body, r.err)
		}
	}
}

func TestAnswersAreBoundedAndNeverHalfOnes(t *testing.T) {
	const most = 1 << 20
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var size int
		if _, err := fmt.Sscan(r.FormValue("query"), &size); err != nil {
			t.Error(err)
		}
		body := `{"data":"` + strings.Repeat("x", max(size-11, 0)) + `"}`
		if r.FormValue("time") == "broken" {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
		}
		_, _ = io.WriteString(w, body)
	}))
	upstream.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer upstream.Close()
	server := front(t, upstream.URL, func(o *Options) { o.MaxBytes = most })
	for _, size := range []int{100, beginning - 1, beginning, beginning + 1, most} {
		if r := ask(t, "GET", fmt.Sprintf("%s/api/v1/query?query=%d", server.URL, size), nil, ""); r.code != 200 || r.err != nil || len(r.body) != size {
			t.Errorf("%d bytes: %d, %d, %v", size, r.code, len(r.body), r.err)
		}
	}
	if r := ask(t, "GET", fmt.Sprintf("%s/api/v1/query?query=%d", server.URL, most+1), nil, ""); r.err == nil {
		t.Errorf("too large: %d, %d bytes, and no error", r.code, len(r.body))
	}
	if r := ask(t, "GET", fmt.Sprintf("%s/api/v1/query?query=%d&time=broken", server.URL, most/2), nil, ""); r.err == nil {
		t.Errorf("cut off by the server: %d, %d bytes, and no error", r.code, len(r.body))
	}
	if r := ask(t, "GET", server.URL+"/api/v1/query?query=100&time=broken", nil, ""); r.code != 502 || r.err != nil {
		t.Errorf("a short one that is cut off: %d %s %v", r.code, r.body, r.err)
	}
	small := front(t, upstream.URL, func(o *Options) { o.MaxBytes = 1000 })
	if r := ask(t, "GET", small.URL+"/api/v1/query?query=2000", nil, ""); r.code != 422 || !strings.Contains(r.body, "shorter range") {
		t.Errorf("a small one that is too large: %d %s", r.code, r.body)
	}
}

func TestAClientThatGoesAwayTakesItsQuestionAlong(t *testing.T) {
	asked, gone := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		close(gone)
	}))
	defer upstream.Close()
	server := front(t, upstream.URL, nil)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/v1/query?query=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-asked; cancel() }()
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(r)
	if err == nil {
		resp.Body.Close()
		t.Error("answered")
	}
	<-gone
}

// FuzzRequest holds that nothing but a reading path is ever asked for.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{"/api/v1/query?query=up", "/api/v1/label/a/values", "/api/v1/label/../admin/values", "/api/v1//query", "/api/v1/query;a=b?%", "//x/api/v1/query"} {
		f.Add("GET", s, "")
	}
	f.Add("POST", "/api/v1/series", "match[]=up&match[]=%zz")
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := readable(r.URL.Path); !ok || r.Method != http.MethodGet && r.Method != http.MethodPost {
			f.Errorf("%s %s was asked for", r.Method, r.URL)
		}
		_, _ = io.WriteString(w, "{}")
	}))
	f.Cleanup(upstream.Close)
	client, err := promclient.New(promclient.Options{URL: upstream.URL})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(client.Close)
	h := New(Options{Client: client, Log: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, method, address, body string) {
		u, err := url.ParseRequestURI(address)
		if err != nil || !strings.HasPrefix(address, "/") {
			return
		}
		r := &http.Request{Method: method, URL: u, Header: http.Header{"Content-Type": form["Content-Type"]}, Body: io.NopCloser(strings.NewReader(body))}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(t.Context()))
		if w.Header().Get("Content-Type") != "application/json" || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: %d %s", method, address, w.Code, w.Body)
		}
	})
}
