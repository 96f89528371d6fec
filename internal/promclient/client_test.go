package promclient

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var at = time.UnixMilli(1_700_000_000_000)

// answers returns a server that gives each request to handle.
func answers(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, o Options) *Client {
	t.Helper()
	o.Backoff = time.Millisecond
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

const matrix = `{"status":"success","data":{"resultType":"matrix","result":[
	{"metric":{"__name__":"e","pod":"b"},"values":[[1700000000.5,"0.1"],[1700000015,"1e3"]]},
	{"metric":{"__name__":"e","pod":"a"},"values":[[1700000000,"7"]]}]}}`

func TestRaw(t *testing.T) {
	var form, agent, method string
	s := answers(t, func(w http.ResponseWriter, r *http.Request) {
		form, agent, method = r.FormValue("query")+" @ "+r.FormValue("time"), r.UserAgent(), r.Method+" "+r.URL.Path
		io.WriteString(w, matrix)
	})
	got, warnings, err := client(t, Options{URL: s.URL + "/prom/", UserAgent: "noether/1"}).Raw(context.Background(), "e{}", at.Add(-90*time.Second), at)
	if err != nil || warnings != nil {
		t.Fatal(err, warnings)
	}
	want := []Series{
		{Labels{{"__name__", "e"}, {"pod", "a"}}, []Sample{{1700000000000, 7}}},
		{Labels{{"__name__", "e"}, {"pod", "b"}}, []Sample{{1700000000500, 0.1}, {1700000015000, 1000}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if form != "e{}[90s] @ 1700000000" || agent != "noether/1" || method != "POST /prom/api/v1/query" {
		t.Errorf("asked %s by %s as %s", form, method, agent)
	}
	if got := want[1].Labels.String(); got != `e{pod="b"}` {
		t.Errorf("labels are written %s", got)
	}
	if _, _, err := client(t, Options{URL: s.URL}).Raw(context.Background(), "sum(e)", at, at); !errors.Is(err, ErrQuery) {
		t.Errorf("raw samples of an expression: %v", err)
	}
}

func TestInstantAndRange(t *testing.T) {
	s := answers(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api/v1/query_range":
			if r.URL.Query().Get("nocache") != "1" {
				t.Errorf("range query %s may be moved", r.URL)
			}
			io.WriteString(w, `{"status":"success","warnings":["half of it"],"data":{"resultType":"matrix","result":[{"metric":{},"values":[[1700000000,"NaN"]]}]}}`)
		case r.FormValue("query") == "scalar":
			io.WriteString(w, `{"status":"success","data":{"resultType":"scalar","result":[1700000000,"3"]}}`)
		case r.FormValue("query") == "text":
			io.WriteString(w, `{"status":"success","data":{"resultType":"string","result":[1700000000,"x"]}}`)
		default:
			io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1700000000,"+Inf"]}]}}`)
		}
	})
	c := client(t, Options{URL: s.URL})
	for query, want := range map[string]string{"vector": "[{{a=\"b\"} [{1700000000000 +Inf}]}]", "scalar": "[{{} [{1700000000000 3}]}]"} {
		got, _, err := c.Instant(context.Background(), query, at)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v", query, got, err)
		}
	}
	if _, _, err := c.Instant(context.Background(), "text", at); err == nil || !strings.Contains(err.Error(), "string") {
		t.Errorf("a string: %v", err)
	}
	got, warnings, err := c.Range(context.Background(), "x", at, at, time.Minute)
	if err != nil || fmt.Sprint(got) != "[{{} [{1700000000000 NaN}]}]" || !cmp.Equal(warnings, []string{"half of it"}) {
		t.Errorf("range: %v %v %v", got, warnings, err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere/")
			w.WriteHeader(code)
			io.WriteString(w, body)
		}
	}
	said := func(kind, text string) string {
		b, err := json.Marshal(map[string]string{"status": "error", "errorType": kind, "error": text})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	tests := map[string]struct {
		handle http.HandlerFunc
		kind   error
		want   []string
		tries  int32
	}{
		"401":                {status(401, "no"), ErrDenied, []string{"401 Unauthorized", "set P_USERNAME"}, 1},
		"403":                {status(403, ""), ErrDenied, []string{"403 Forbidden: no explanation"}, 1},
		"404":                {status(404, "<html>"), nil, []string{"404", "is this the address of a Prometheus?"}, 1},
		"a redirect":         {status(302, ""), nil, []string{"redirects to https://elsewhere/"}, 1},
		"a wrong query":      {status(400, said("bad_data", "parse error: x")), ErrQuery, []string{"400 Bad Request: parse error: x (query q)"}, 1},
		"too many samples":   {status(422, said("execution", "query processing would load too many samples into memory")), ErrTooMuch, []string{"ask for less"}, 1},
		"a slow query":       {status(503, said("timeout", "query timed out")), ErrTooMuch, []string{"timed out"}, 1},
		"another 422":        {status(422, said("execution", "many-to-many matching not allowed")), nil, []string{"many-to-many"}, 1},
		"busy":               {status(429, "slow down"), nil, []string{"429", "slow down, 3 times"}, 3},
		"broken":             {status(500, "oops"), nil, []string{"500", "oops, 3 times"}, 3},
		"no Prometheus":      {status(200, "<html>hello</html>"), nil, []string{"bad_response"}, 1},
		"no result":          {status(200, `{"status":"success","data":{"resultType":"what","result":[]}}`), nil, []string{"what"}, 1},
		"larger than wanted": {status(200, strings.Repeat(" ", 2<<20)), ErrTooMuch, []string{"larger than 1 MiB"}, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var tries atomic.Int32
			s := answers(t, func(w http.ResponseWriter, r *http.Request) {
				tries.Add(1)
				test.handle(w, r)
			})
			_, _, err := client(t, Options{URL: s.URL, MaxBytes: 1 << 20, Attempts: 3, Credentials: Credentials{prefix: "P"}}).Instant(context.Background(), "q", at)
			if err == nil {
				t.Fatal("no error")
			}
			for _, kind := range []error{ErrDenied, ErrQuery, ErrTooMuch} {
				if errors.Is(err, kind) != errors.Is(test.kind, kind) {
					t.Errorf("%v is %v", err, kind)
				}
			}
			for _, w := range append(test.want, s.URL) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v does not say %q", err, w)
				}
			}
			if tries.Load() != test.tries {
				t.Errorf("asked %d times, want %d", tries.Load(), test.tries)
			}
		})
	}
}

func TestWhatPassesIsAskedAgain(t *testing.T) {
	var tries atomic.Int32
	s := answers(t, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("query") != "e[1s]" {
			t.Errorf("attempt %d asks %q", tries.Load(), r.FormValue("query"))
		}
		switch tries.Add(1) {
		case 1:
			panic(http.ErrAbortHandler) // the connection breaks
		case 2:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			io.WriteString(w, matrix)
		}
	})
	if _, _, err := client(t, Options{URL: s.URL}).Raw(context.Background(), "e", at, at.Add(time.Second)); err != nil || tries.Load() != 3 {
		t.Errorf("%v after %d attempts", err, tries.Load())
	}
}

func TestCredentialsThatAreRepeatedAreNotShown(t *testing.T) {
	for name, c := range map[string]Credentials{
		"password": {Username: "bob", Password: "hunter2"},
		"token":    {Token: "hunter2"},
	} {
		t.Run(name, func(t *testing.T) {
			s := answers(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusUnauthorized)
				_, password, _ := r.BasicAuth()
				fmt.Fprintf(w, "%q and %q are wrong", r.Header.Get("Authorization"), password)
			})
			_, err := client(t, Options{URL: s.URL, Credentials: c}).Stream(t.Context(), http.MethodGet, "/api/v1/query", nil)
			if err == nil || !strings.Contains(err.Error(), "***") || !strings.Contains(err.Error(), "are wrong") {
				t.Fatal(err)
			}
			for _, secret := range []string{"hunter2", base64.StdEncoding.EncodeToString([]byte("bob:hunter2"))} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%v says %q", err, secret)
				}
			}
		})
	}
}

func TestNetworkErrorsSayWhatToDo(t *testing.T) {
	ask := func(o Options) error {
		o.Attempts = 2
		_, _, err := client(t, o).Instant(context.Background(), "q", at)
		if err == nil {
			t.Fatal("no error")
		}
		return err
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	if err := ask(Options{URL: gone.URL}); !strings.Contains(err.Error(), "connection refused, 2 times") || !strings.Contains(err.Error(), "is it running") {
		t.Error(err)
	}
	cut := answers(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if err := ask(Options{URL: cut.URL}); !strings.Contains(err.Error(), "closed the connection") || !strings.Contains(err.Error(), "look at its log") {
		t.Error(err)
	}
	slow := answers(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	if err := ask(Options{URL: slow.URL, Timeout: 20 * time.Millisecond}); !strings.Contains(err.Error(), "no answer within 20ms") {
		t.Error(err)
	}
	if err := ask(Options{URL: strings.Replace(slow.URL, "http:", "https:", 1)}); !strings.Contains(err.Error(), "does not speak TLS") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := client(t, Options{URL: slow.URL}).Instant(ctx, "q", at); err == nil || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, matrix) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs handshakes that are meant to go wrong
	s.StartTLS()
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(env map[string]string) error {
		credentials, err := FromEnvironment(func(k string) string { return env[k] }, "PROM")
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = client(t, Options{URL: s.URL, Credentials: credentials}).Raw(context.Background(), "e", at, at)
		return err
	}
	if err := ask(nil); err == nil || !strings.Contains(err.Error(), "unknown authority") || !strings.Contains(err.Error(), "PROM_CA_FILE") || strings.Contains(err.Error(), "times") {
		t.Error(err)
	}
	if err := ask(map[string]string{"PROM_CA_FILE": ca}); err != nil {
		t.Error(err)
	}
	if err := ask(map[string]string{"PROM_CA_FILE": ca, "PROM_SERVER_NAME": "other.invalid"}); err == nil || !strings.Contains(err.Error(), "for another name") {
		t.Error(err)
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		env  map[string]string
		want string // Authorization, or the error
	}{
		"none":           {nil, ""},
		"basic":          {map[string]string{"P_USERNAME": "u", "P_PASSWORD": "p"}, "Basic dTpw"},
		"basic file":     {map[string]string{"P_USERNAME": "u", "P_PASSWORD_FILE": file}, "Basic dTpmcm9tLWZpbGU="},
		"token":          {map[string]string{"P_BEARER_TOKEN": "t0ken"}, "Bearer t0ken"},
		"token file":     {map[string]string{"P_BEARER_TOKEN_FILE": file}, "Bearer from-file"},
		"no file":        {map[string]string{"P_BEARER_TOKEN_FILE": filepath.Join(dir, "none")}, "P_…_FILE"},
		"both":           {map[string]string{"P_USERNAME": "u", "P_PASSWORD": "p", "P_BEARER_TOKEN": "t0ken"}, "unset one"},
		"two passwords":  {map[string]string{"P_USERNAME": "u", "P_PASSWORD": "p", "P_PASSWORD_FILE": file}, "unset one"},
		"two tokens":     {map[string]string{"P_BEARER_TOKEN": "p", "P_BEARER_TOKEN_FILE": file}, "unset one"},
		"no password":    {map[string]string{"P_USERNAME": "u"}, "without P_PASSWORD"},
		"no user":        {map[string]string{"P_PASSWORD": "s3cret"}, "without P_USERNAME"},
		"half a key":     {map[string]string{"P_CERT_FILE": file}, "set both"},
		"not its prefix": {map[string]string{"Q_BEARER_TOKEN": "t0ken"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got string
			s := answers(t, func(w http.ResponseWriter, r *http.Request) {
				got = r.Header.Get("Authorization")
				io.WriteString(w, matrix)
			})
			credentials, err := FromEnvironment(func(k string) string { return test.env[k] }, "P")
			if err == nil {
				_, _, err = client(t, Options{URL: s.URL, Credentials: credentials, Attempts: 1}).Raw(context.Background(), "e", at, at)
			}
			if err != nil {
				got = err.Error()
				if strings.Contains(got, "s3cret") || strings.Contains(got, "t0ken") || !strings.Contains(got, test.want) {
					t.Errorf("%s, want %s", got, test.want)
				}
				return
			}
			if got != test.want {
				t.Errorf("authorization %q, want %q", got, test.want)
			}
			if s := fmt.Sprintf("%v %+v %#v %s", credentials, &credentials, credentials, []any{credentials}); strings.Contains(s, "t0ken") || strings.Contains(s, "u") {
				t.Errorf("credentials print as %s", s)
			}
		})
	}
}

func TestCheckURL(t *testing.T) {
	for address, want := range map[string]string{
		"http://prom:9090":            "",
		"https://prom/select/0/x":     "",
		"prom:9090":                   "no http or https URL",
		"ftp://prom":                  "no http or https URL",
		"http://":                     "no http or https URL",
		"http://u:s3cret@prom:9090":   "holds credentials",
		"http://u:s3cret@prom:90 90":  "no URL",
		"http://prom/?token=x":        "leave it out",
		"":                            "no http or https URL",
		"http://prom:9090/%zz/s3cret": "no URL",
	} {
		_, err := CheckURL(address)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", address, err, want)
		case err != nil && strings.Contains(err.Error(), "s3cret"):
			t.Errorf("%s: %v shows the password", address, err)
		}
	}
}

// TestStalenessMarkers: VictoriaMetrics shows them as NaN; elsewhere NaN is a value.
func TestStalenessMarkers(t *testing.T) {
	for metricsQL, want := range map[bool]int{true: 1, false: 2} {
		s := answers(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case !strings.HasPrefix(r.FormValue("query"), "stale_samples"):
				io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"],[3,"NaN"]]},{"metric":{"only":"stale"},"values":[[3,"NaN"]]}]}}`)
			case metricsQL:
				io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
			default:
				w.WriteHeader(http.StatusBadRequest)
				io.WriteString(w, `{"status":"error","errorType":"bad_data","error":"unknown function"}`)
			}
		})
		got, _, err := client(t, Options{URL: s.URL}).Raw(context.Background(), "e", at, at)
		if err != nil || len(got) != want {
			t.Errorf("MetricsQL %v: %v %v", metricsQL, got, err)
		}
	}
}

func TestSelector(t *testing.T) {
	f := func(want, metric string, matchers ...Matcher) {
		t.Helper()
		if got := Selector(metric, matchers...); got != want {
			t.Errorf("%s, want %s", got, want)
		} else if !IsSelector(got) {
			t.Errorf("%s is taken for no selector", got)
		}
	}
	f(`up`, "up")
	f(`{__name__="0up"}`, "0up")
	f(`{__name__="énergie",a="b"}`, "énergie", OneOf("a", "b"))
	f(`up{a="\"} or x{\\\n"}`, "up", Matcher{"a", "=", "\"} or x{\\\n"})
	f(`up{a=~"b\\.c|d"}`, "up", OneOf("a", "b.c", "d"))
	f("up{a=\"\ufffd\"}", "up", OneOf("a", "\xff"))
	for _, bad := range []string{"", "up[5m]", "rate(up[5m])", "up + up", "up{} or up", `up{a="}`, "1up", "up{a=\"b\"} offset 1h", "{{}}", `up{a="b\"}`, "sum{"} {
		if IsSelector(bad) {
			t.Errorf("%s is taken for a selector", bad)
		}
	}
	for _, good := range []string{"up", "{a=`\\`}", " up { a = 'b}' } ", `{__name__=~"a|b"}`} {
		if !IsSelector(good) {
			t.Errorf("%s is taken for none", good)
		}
	}
}

// FuzzSelector: whatever a value holds, it stays inside its quotes.
func FuzzSelector(f *testing.F) {
	f.Add("up", "a", `"}`)
	f.Add("", "\\", "\x00`'\u2028")
	f.Fuzz(func(t *testing.T, metric, one, two string) {
		if got := Selector(metric, Matcher{"a", "=", one}, OneOf("b", one, two)); !IsSelector(got) {
			t.Errorf("%q is no selector", got)
		}
		IsSelector(one)
	})
}

// FuzzAnswer: no answer of a server makes the client panic.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(matrix))
	f.Add([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1,"2"]}]}}`))
	f.Add([]byte(`{"status":"success","data":{"resultType":"matrix","result":[{"histograms":[[1,{"count":"1","sum":"2","buckets":[[0,"1","2","3"]]}]]}]}}`))
	f.Add([]byte(`{"status":"success","data":null}`))
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(body) }))
	f.Cleanup(s.Close)
	c, err := New(Options{URL: s.URL, Attempts: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		body = b
		for range 2 {
			c.Raw(context.Background(), "e", at, at)
			c.Instant(context.Background(), "e", at)
		}
	})
}
