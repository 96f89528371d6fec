package serve_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"noether/internal/impact/builtin"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/serve"
	"noether/internal/impact/value"
)

const manifest = `name: demo
initialize:
  plugins:
    double:
      path: builtin
      method: Coefficient
      config: {input-parameter: energy, coefficient: 2, output-parameter: twice}
tree:
  children:
    child:
      pipeline: {compute: [double]}
      inputs:
        - {timestamp: 2024-01-01T00:00:00Z, duration: 60, energy: 1.5}
`

// panicking is a method that breaks its contract.
func panicking() plugin.Method {
	return plugin.Method{Name: "Panic", New: func(*plugin.Env, *plugin.Declaration, *plugin.Method) (plugin.Plugin, error) { panic("no") }}
}

// blocking is a method that runs until its request ends.
func blocking() plugin.Method {
	return plugin.Method{Name: "Block", New: func(*plugin.Env, *plugin.Declaration, *plugin.Method) (plugin.Plugin, error) { return block{}, nil }}
}

type block struct{}

func (block) Execute(ctx context.Context, _ []*value.Object, _ *plugin.Node) ([]*value.Object, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
func (block) Metadata() plugin.Metadata { return plugin.Metadata{} }

func handler(timeout time.Duration) http.Handler {
	methods := append(builtin.Methods(), panicking(), blocking(), plugin.Method{Name: "Closed", Reaches: plugin.Shell})
	return serve.New(serve.Options{
		Env: &plugin.Env{Dialect: plugin.Noether(), Now: time.Now, Warn: func(string, ...any) {}},
		Methods: serve.Disable(methods, func(m *plugin.Method) string {
			if m.Reaches != 0 {
				return "Not here."
			}
			return ""
		}),
		Command: "test", Environment: func() *value.Object { return value.NewObject(0) },
		MaxBody: 64 << 10, Concurrency: 1, Timeout: timeout, Log: slog.New(slog.DiscardHandler),
	})
}

func post(t *testing.T, h http.Handler, query, contentType, accept, body string) (int, string, string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/run"+query, strings.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Code, w.Header().Get("Content-Type"), w.Body.String()
}

func TestRun(t *testing.T) {
	const (
		asYAML, asJSON = "application/yaml", "application/json"
		typeYAML       = "application/yaml; charset=utf-8"
		typeJSON       = "application/json; charset=utf-8"
	)
	method := func(name string) string { return strings.Replace(manifest, "Coefficient", name, 1) }
	for name, c := range map[string]struct {
		query, contentType, accept, body string
		code                             int
		answerType, want                 string // a part of it
	}{
		"YAML":                     {"", asYAML, "", manifest, 200, typeYAML, "twice: 3"},
		"YAML in, JSON out":        {"", asYAML, "text/html, application/json;q=0.9", manifest, 200, typeJSON, `"twice":3`},
		"JSON in, JSON out":        {"", asJSON, "*/*", jsonManifest(t), 200, typeJSON, `"twice":3`},
		"JSON in, YAML out":        {"", asJSON + "; charset=utf-8", asYAML, jsonManifest(t), 200, typeYAML, "twice: 3"},
		"only observe":             {"?observe=true", asYAML, "", manifest, 200, typeYAML, "status: success"},
		"wrong manifest":           {"", asJSON, "", `{"name": 1}`, 400, typeJSON, `"status":"fail"`},
		"wrong input":              {"", asYAML, "", strings.Replace(manifest, "energy: 1.5", "other: 1", 1), 400, typeYAML, "InputValidationError"},
		"refused method":           {"", asYAML, "", method("Closed"), 400, typeYAML, "Not here."},
		"broken YAML":              {"", asYAML, "", "a: [", 400, typeJSON, "Invalid YAML format"},
		"broken JSON":              {"", asJSON, "", `{"a":`, 400, typeJSON, "Invalid JSON format"},
		"JSON with text behind it": {"", asJSON, "", `{} x`, 400, typeJSON, "Invalid JSON format"},
		"deep JSON":                {"", asJSON, "", strings.Repeat("[", 1000), 400, typeJSON, "nested deeper"},
		"nothing":                  {"", asYAML, "", "", 400, typeJSON, "Missing manifest in request body"},
		"other type":               {"", "text/plain", "", "x", 415, typeJSON, "application/yaml"},
		"too large":                {"", asYAML, "", strings.Repeat("# x\n", 64<<10), 413, typeJSON, "request entity too large"},
		"method that panics":       {"", asYAML, "", method("Panic"), 500, typeJSON, "Internal Server Error"},
	} {
		t.Run(name, func(t *testing.T) {
			code, kind, body := post(t, handler(time.Minute), c.query, c.contentType, c.accept, c.body)
			if code != c.code || kind != c.answerType || !strings.Contains(body, c.want) {
				t.Errorf("%d %s\n%s\nwant %d %s with %q", code, kind, body, c.code, c.answerType, c.want)
			}
			if name == "only observe" && strings.Contains(body, "twice: ") {
				t.Errorf("computed:\n%s", body)
			}
		})
	}
}

// A client that sends slowly keeps no other from running.
func TestSlowClientsHoldNoRun(t *testing.T) {
	server := httptest.NewServer(handler(time.Minute))
	defer server.Close()
	body, slow := io.Pipe()
	waiting := make(chan error, 1)
	go func() {
		reply, err := http.Post(server.URL+"/v1/run", "application/yaml", body)
		if err == nil {
			err = reply.Body.Close()
		}
		waiting <- err
	}()
	if _, err := io.WriteString(slow, "name: "); err != nil { // returns when the client sends it
		t.Fatal(err)
	}
	for range 3 {
		if code, _, answer := post(t, handlerOf(server), "", "application/yaml", "", manifest); code != http.StatusOK {
			t.Errorf("%d %s", code, answer)
		}
	}
	if err := slow.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}

// handlerOf returns the handler that a server runs.
func handlerOf(s *httptest.Server) http.Handler { return s.Config.Handler }

// What a short manifest may take of the host's memory is bounded for all its components together.
func TestRowsAreBounded(t *testing.T) {
	mock := `name: many
initialize:
  plugins:
    up:
      path: builtin
      method: MockObservations
      config: {timestamp-from: '2024-01-01', timestamp-to: '2024-01-02', duration: 60, components: [{}], generators: {common: {x: 1}, randint: {}}}
tree:
  pipeline: {compute: [up]}
  children: {a: {}, b: {}}
`
	for _, c := range []struct {
		most, code int
		answer     string
	}{{2880, 200, "status: success"}, {2879, 400, "this run may make no more than 2879"}, {0, 200, "status: success"}} {
		h := serve.New(serve.Options{
			Env:     &plugin.Env{Dialect: plugin.Noether(), Now: time.Now, Warn: func(string, ...any) {}, MaxRows: c.most, Random: func() float64 { return 0 }},
			Methods: builtin.Methods(), Environment: func() *value.Object { return value.NewObject(0) },
			MaxBody: 64 << 10, Concurrency: 1, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler),
		})
		for range 2 { // each run has room of its own
			code, _, answer := post(t, h, "", "application/yaml", "", mock)
			if flat := strings.Join(strings.Fields(answer), " "); code != c.code || !strings.Contains(flat, c.answer) {
				t.Errorf("%d rows: %d %.600s", c.most, code, flat)
			}
		}
	}
}

func jsonManifest(t *testing.T) string {
	t.Helper()
	v, err := jsyaml.Parse([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	return string(jsyaml.AppendJSON(nil, v))
}

func TestHealthAndUnknownPaths(t *testing.T) {
	for path, code := range map[string]int{"/health": 200, "/": 404, "/v1/run": 405} {
		w := httptest.NewRecorder()
		handler(time.Minute).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if w.Code != code || code == 200 && w.Body.String() != "OK" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestLongRunsEndAndOthersAreRefusedMeanwhile(t *testing.T) {
	h := handler(3 * time.Second)
	slow := make(chan int)
	go func() {
		code, _, _ := post(t, h, "", "application/yaml", "", strings.Replace(manifest, "Coefficient", "Block", 1))
		slow <- code
	}()
	for {
		code, _, _ := post(t, h, "", "application/yaml", "", manifest)
		if code == http.StatusServiceUnavailable {
			break // the slow one has the only slot
		}
		if code != http.StatusOK {
			t.Fatal(code)
		}
	}
	if code := <-slow; code != http.StatusGatewayTimeout {
		t.Errorf("a run past its time: %d", code)
	}
	if code, _, _ := post(t, h, "", "application/yaml", "", manifest); code != http.StatusOK {
		t.Errorf("after it: %d", code)
	}
}

func FuzzRun(f *testing.F) {
	f.Add(`{"name":"a","tree":{"children":{"x":[1,-2.5e300,1e999,null,true,"\ud83d"]}}}`)
	f.Add(`{"a":1,"a":2}`)
	f.Add(`{"tree":{},"initialize":{"plugins":{}},"name":"n"}`)
	h := handler(10 * time.Second)
	f.Fuzz(func(t *testing.T, body string) {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/run", strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		answer, err := io.ReadAll(w.Body)
		if err != nil || !json.Valid(answer) {
			t.Errorf("%d %s", w.Code, answer)
		}
		if strings.Contains(string(answer), "met a bug") {
			t.Errorf("panic for %q", body)
		}
		if w.Code == http.StatusOK && !json.Valid([]byte(body)) {
			t.Errorf("ran what is no JSON: %q", body)
		}
	})
}
