package web

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"

	"noether/internal/export/exporttest"
	"noether/internal/snapshot"
	"noether/ui"
)

const wantPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

var script = strings.Repeat("let a = 'joule';\n", 1000)

// pageOptions are those of an agent with everything.
func pageOptions(t *testing.T) Options {
	opt := options(t, exporttest.Snapshot())
	opt.Files = fstest.MapFS{
		"index.html":           {Data: []byte("<!DOCTYPE html><title>page</title>")},
		"assets/app-1a2b3c.js": {Data: []byte(script)},
		"assets/dot.png":       {Data: []byte("\x89PNG")},
		"favicon.svg":          {Data: []byte("<svg/>")},
		".hidden":              {Data: []byte("secret")},
	}
	opt.API = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"success","data":"`+r.Method+" "+r.URL.Path+`"}`)
	})
	opt.Page = func() (any, error) { return map[string]string{"version": "</script>"}, nil }
	opt.Check = func() (any, error) { return []int{}, nil }
	opt.Forecast = func() (any, error) { return nil, errors.New("the grid zone is not known: set --grid.zone") }
	return opt
}

func external(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestPage(t *testing.T) {
	full := pageOptions(t)
	bare := options(t, exporttest.Snapshot())
	bare.NoAPI = "--store.path is off"
	viewer := pageOptions(t)
	viewer.Snapshot, viewer.Check, viewer.Forecast = nil, nil, nil
	proxied := pageOptions(t)
	proxied.ExternalURL = external(t, "https://example.org/a/noether/")
	for name, tt := range map[string]struct {
		opt          Options
		method, path string
		code         int
		kind, want   string
	}{
		"the page":                  {full, "GET", "/", 200, "text/html; charset=utf-8", "<title>page</title>"},
		"its head":                  {full, "HEAD", "/", 200, "text/html; charset=utf-8", ""},
		"by its name":               {full, "GET", "/index.html", 200, "text/html; charset=utf-8", "<title>page</title>"},
		"a script":                  {full, "GET", "/assets/app-1a2b3c.js", 200, "text/javascript; charset=utf-8", "joule"},
		"an image":                  {full, "GET", "/assets/dot.png", 200, "image/png", "PNG"},
		"a picture":                 {full, "GET", "/favicon.svg", 200, "image/svg+xml", "<svg/>"},
		"no directory":              {full, "GET", "/assets/", 404, "text/plain; charset=utf-8", "not found"},
		"nothing hidden":            {full, "GET", "/.hidden", 404, "text/plain; charset=utf-8", "not found"},
		"nothing above":             {full, "GET", "/assets/%2e%2e/%2e%2e/etc/passwd", 404, "text/plain; charset=utf-8", "not found"},
		"nothing written":           {full, "POST", "/", 405, "text/plain; charset=utf-8", "use GET"},
		"no page built in":          {bare, "GET", "/", 404, "text/plain; charset=utf-8", "not found"},
		"the index without scripts": {full, "GET", "/plain", 200, "text/html; charset=utf-8", `<a href="metrics">`},
		"its style":                 {full, "GET", "/plain.css", 200, "text/css; charset=utf-8", "system-ui"},
		"a query":                   {full, "GET", "/api/v1/query?query=up", 200, "application/json", "GET /api/v1/query"},
		"a query as a form":         {full, "POST", "/api/v1/query_range", 200, "application/json", "POST /api/v1/query_range"},
		"federation":                {full, "GET", "/federate", 200, "application/json", "GET /federate"},
		"no history":                {bare, "GET", "/api/v1/query?query=up", 404, "application/json", `"errorType":"not_found","error":"this server answers no queries: --store.path is off"`},
		"no federation":             {bare, "GET", "/federate", 404, "application/json", "--store.path is off"},
		"what the page needs":       {full, "GET", "/api/noether/v1/page", 200, "application/json", `{"version":"\u003c/script\u003e"}`},
		"the head of it":            {full, "HEAD", "/api/noether/v1/page", 200, "application/json", ""},
		"only GET of it":            {full, "POST", "/api/noether/v1/page", 405, "text/plain; charset=utf-8", "use GET"},
		"the check":                 {full, "GET", "/api/noether/v1/check", 200, "application/json", "[]"},
		"no forecast":               {full, "GET", "/api/noether/v1/forecast", 404, "application/json", "set --grid.zone"},
		"no check of a viewer":      {viewer, "GET", "/api/noether/v1/check", 404, "application/json", "ask the agent"},
		"no snapshot of a viewer":   {viewer, "GET", "/api/noether/v1/snapshot", 404, "application/json", "ask the agent"},
		"no metrics of a viewer":    {viewer, "GET", "/metrics", 404, "text/plain; charset=utf-8", "not found"},
		"the plain index of one":    {viewer, "GET", "/plain", 200, "text/html; charset=utf-8", "measures nothing"},
		"a viewer is healthy":       {viewer, "GET", "/healthz", 200, "text/plain; charset=utf-8", "healthy"},
		"a viewer is ready":         {viewer, "GET", "/readyz", 200, "text/plain; charset=utf-8", "ready"},
		"no such address":           {full, "GET", "/api/noether/v2/page", 404, "application/json", "no such address"},
		"below a proxy's path":      {proxied, "GET", "/a/noether/", 200, "text/html; charset=utf-8", "<title>page</title>"},
		"a query below it":          {proxied, "POST", "/a/noether/api/v1/query", 200, "application/json", "POST /api/v1/query"},
		"metrics below it":          {proxied, "GET", "/a/noether/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", "noether_"},
		"where the path is removed": {proxied, "GET", "/assets/app-1a2b3c.js", 200, "text/javascript; charset=utf-8", "joule"},
		"a path that is like it":    {proxied, "GET", "/a/noether2/", 404, "text/plain; charset=utf-8", "not found"},
		"the path without a slash":  {proxied, "GET", "/a/noether", 307, "text/html; charset=utf-8", "/a/noether/"},
	} {
		t.Run(name, func(t *testing.T) {
			code, body, header := ask(t, newServer(t, tt.opt).handler, tt.method, tt.path)
			if kind := header.Get("Content-Type"); code != tt.code || !strings.Contains(body, tt.want) || kind != tt.kind {
				t.Errorf("%s %s: %d %s, want %d %s with %q in\n%s", tt.method, tt.path, code, kind, tt.code, tt.kind, tt.want, body)
			}
			if tt.kind == "application/json" && tt.method != "HEAD" && !json.Valid([]byte(body)) {
				t.Errorf("no JSON: %s", body)
			}
		})
	}
}

// Every answer of every route tells browsers the same, errors too.
func TestEveryAnswerCarriesThePolicy(t *testing.T) {
	opt := pageOptions(t)
	opt.ExternalURL = external(t, "https://example.org/noether")
	built := options(t, exporttest.Snapshot())
	built.Files = ui.Files()
	for name, opt := range map[string]Options{"full": opt, "bare": options(t, nil), "built": built} {
		h := newServer(t, opt).handler
		for _, path := range []string{
			"/", "/index.html", "/assets/app-1a2b3c.js", "/plain", "/plain.css", "/metrics", "/healthz", "/readyz", "/federate", "/nothing", "//", "/a/../b",
			"/api/", "/api/v1/query", "/api/v1/x", "/api/noether/v1/snapshot", "/api/noether/v1/page", "/api/noether/v1/check", "/api/noether/v1/forecast", "/noether", "/noether/",
		} {
			for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "BREW"} {
				for _, host := range []string{"localhost", "evil.example"} {
					for _, site := range []string{"", "cross-site"} {
						r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
						r.Host = host
						r.Header.Set("If-None-Match", "*")
						if site != "" {
							r.Header.Set("Sec-Fetch-Site", site)
						}
						w := httptest.NewRecorder()
						h.ServeHTTP(w, r)
						if got := w.Header()["Content-Security-Policy"]; len(got) != 1 || got[0] != wantPolicy {
							t.Errorf("%s: %s %s of %s: policy %q", name, method, path, host, got)
						}
						for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": ""} {
							if got := w.Header().Get(header); got != want {
								t.Errorf("%s: %s %s of %s: %s %q", name, method, path, host, header, got)
							}
						}
						body := strings.ToLower(w.Body.String())
						if strings.Contains(w.Header().Get("Content-Type"), "html") && (strings.Contains(body, "<style") || strings.Contains(body, " style=") || strings.Contains(body, "<script>") || strings.Contains(body, " onclick=")) {
							t.Errorf("%s: %s %s has what the policy forbids: %s", name, method, path, body)
						}
					}
				}
			}
		}
	}
}

func TestPagesOfOthersCannotMakeABrowserAsk(t *testing.T) {
	opt := pageOptions(t)
	opt.ExternalURL = external(t, "https://energy.example.org")
	h := newServer(t, opt).handler
	for name, tt := range map[string]struct {
		method, path string
		header       map[string]string
		code         int
	}{
		"the page itself asks":            {"POST", "/api/v1/query", map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:9877"}, 200},
		"Grafana's server asks":           {"POST", "/api/v1/query", nil, 200},
		"another site posts a form":       {"POST", "/api/v1/query", map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403},
		"an old browser posts it":         {"POST", "/api/v1/query", map[string]string{"Origin": "https://evil.example"}, 403},
		"a frame without origin posts it": {"POST", "/api/v1/query", map[string]string{"Origin": "null"}, 403},
		"another port of this host":       {"POST", "/api/v1/query", map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:80"}, 403},
		"the page behind the proxy":       {"POST", "/api/v1/query", map[string]string{"Origin": "https://energy.example.org"}, 200},
		"that host without TLS":           {"POST", "/api/v1/query", map[string]string{"Origin": "http://energy.example.org"}, 403},
		"another site loads a query":      {"GET", "/api/v1/query", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403},
		"another site loads the metrics":  {"GET", "/metrics", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, 403},
		"a link of another site":          {"GET", "/", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200},
		"a link to the metrics":           {"GET", "/metrics", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200},
		"another site frames a query":     {"GET", "/api/v1/query", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403},
		"somebody types the address":      {"GET", "/metrics", map[string]string{"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200},
	} {
		r := httptest.NewRequestWithContext(t.Context(), tt.method, "http://localhost:9877"+tt.path, nil)
		for k, v := range tt.header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.code {
			t.Errorf("%s: %d, want %d: %s", name, w.Code, tt.code, w.Body)
		}
	}
}

func TestTheExternalHostIsThisServers(t *testing.T) {
	opt := pageOptions(t)
	opt.ExternalURL = external(t, "https://Energy.example.org:8443/x")
	s := newServer(t, opt)
	run(t, s)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for host, want := range map[string]int{"energy.example.org": 200, "ENERGY.example.org:1": 200, "energy.example.org.": 200, "evil.example": 403, "x.energy.example.org": 403} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addrs()[0].String()+"/x/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("Host %q: %d", host, res.StatusCode)
		}
	}
}

func TestFilesAreCompressedAndKeptByTheirHash(t *testing.T) {
	h := newServer(t, pageOptions(t)).handler
	get := func(path string, header map[string]string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
		r.Host = "localhost"
		for k, v := range header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	tags := map[string]bool{}
	for accept, zipped := range map[string]bool{"": false, "gzip": true, "br, gzip;q=0.5": true, "*": true, "gzip;q=0": false, "gzip; Q=0.0": false, "br": false, "gzip;q=high": false, "*, gzip;q=0": false} {
		w := get("/assets/app-1a2b3c.js", map[string]string{"Accept-Encoding": accept})
		body, size := w.Body.Bytes(), w.Body.Len()
		if zipped {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatalf("%q: %v", accept, err)
			}
			if body, err = io.ReadAll(z); err != nil {
				t.Fatalf("%q: %v", accept, err)
			}
		}
		if string(body) != script || (w.Header().Get("Content-Encoding") == "gzip") != zipped || zipped && size > len(script)/10 {
			t.Errorf("%q: %d bytes, %v", accept, size, w.Header())
		}
		if w.Header().Get("Vary") != "Accept-Encoding" || w.Header().Get("Cache-Control") != "max-age=31536000, immutable" {
			t.Errorf("%q: %v", accept, w.Header())
		}
		tag := w.Header().Get("ETag")
		tags[tag] = true
		for match, code := range map[string]int{tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, strings.Trim(tag, `"`): 200} {
			if again := get("/assets/app-1a2b3c.js", map[string]string{"Accept-Encoding": accept, "If-None-Match": match}); again.Code != code || code == 304 && again.Body.Len() > 0 {
				t.Errorf("%q, If-None-Match %s: %d, %d bytes", accept, match, again.Code, again.Body.Len())
			}
		}
	}
	if len(tags) != 2 {
		t.Errorf("two forms of a file have the tags %v", tags)
	}
	for path, want := range map[string]string{"/": "no-store", "/favicon.svg": "no-store", "/plain": "no-store", "/metrics": "no-store", "/assets/gone.js": "no-store", "/assets/dot.png": "max-age=31536000, immutable"} {
		if got := get(path, nil).Header().Get("Cache-Control"); got != want {
			t.Errorf("%s: Cache-Control %q", path, got)
		}
	}
	if w := get("/favicon.svg", map[string]string{"Accept-Encoding": "gzip"}); w.Header().Get("Content-Encoding") != "" || w.Body.String() != "<svg/>" {
		t.Errorf("a file that is no smaller: %v", w.Header())
	}
}

func TestAFileOfAKindThatNobodyKnows(t *testing.T) {
	opt := pageOptions(t)
	opt.Files = fstest.MapFS{"index.html": {}, "run.exe": {}}
	if _, err := New(opt); err == nil || !strings.Contains(err.Error(), `"run.exe"`) {
		t.Errorf("New: %v", err)
	}
}

// The files that are built in can be served, and ask for nothing from elsewhere.
func TestTheBuiltPage(t *testing.T) {
	opt := options(t, exporttest.Snapshot())
	opt.Files = ui.Files()
	if code, body, _ := ask(t, newServer(t, opt).handler, "GET", "/"); code != 200 || strings.Contains(body, "http://") || strings.Contains(body, "https://") || strings.Contains(body, `="/`) {
		t.Errorf("%d: it names another server, or a path that is not below a proxy's:\n%s", code, body)
	}
}

func TestADocumentThatIsNotReady(t *testing.T) {
	opt := pageOptions(t)
	opt.Snapshot = func() *snapshot.Snapshot { return nil }
	opt.Check = func() (any, error) { return nil, fmt.Errorf("the first tick is not complete: %w", ErrNotYet) }
	code, body, header := ask(t, newServer(t, opt).handler, "GET", "/api/noether/v1/check")
	if want := `{"status":"error","errorType":"unavailable","error":"the first tick is not complete: ask again in a few seconds"}`; code != 503 || strings.TrimSpace(body) != want || header.Get("Retry-After") != "5" {
		t.Errorf("%d %s, Retry-After %q", code, body, header.Get("Retry-After"))
	}
	if code, _, header := ask(t, newServer(t, opt).handler, "GET", "/api/noether/v1/snapshot"); code != 503 || header.Get("Retry-After") != "5" {
		t.Errorf("snapshot: %d, Retry-After %q", code, header.Get("Retry-After"))
	}
}

func TestADocumentThatHasNoJSON(t *testing.T) {
	opt := pageOptions(t)
	opt.Snapshot = func() *snapshot.Snapshot { return nil }
	opt.Check = func() (any, error) { return func() {}, nil } // no JSON has it
	if code, body, _ := ask(t, newServer(t, opt).handler, "GET", "/api/noether/v1/check"); code != 500 || !json.Valid([]byte(body)) {
		t.Errorf("%d %s", code, body)
	}
}

// FuzzPath holds that no path makes the server panic, redirect elsewhere, or forget its policy.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", "/n", "/n//evil.example/x", "//evil.example", "/n/../..//evil.example", "/%2e%2e/", "/api//v1/query", "/n/api/v1/", "/\\evil.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		o := pageOptions(t)
		o.ExternalURL = external(t, "https://e.org/n")
		r := &http.Request{Method: http.MethodGet, URL: u, Host: "localhost", Header: http.Header{}}
		w := httptest.NewRecorder()
		newServer(t, o).handler.ServeHTTP(w, r.WithContext(t.Context()))
		if w.Header().Get("Content-Security-Policy") != wantPolicy {
			t.Errorf("%q: no policy", path)
		}
		if to := w.Header().Get("Location"); strings.HasPrefix(to, "//") || strings.HasPrefix(to, "/\\") || to != "" && !strings.HasPrefix(to, "/") {
			t.Errorf("%q: redirected to %q", path, to)
		}
	})
}
