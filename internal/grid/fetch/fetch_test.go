package fetch

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"noether/internal/grid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "s3cr3t-0f-the-test"

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

func open(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// ask asks as a provider does: with a secret in a header and one in the query.
func ask(ctx context.Context, c *Client) error {
	var dst struct{ G float64 }
	return c.JSON(ctx, "v3/latest", url.Values{"zone": {"DE"}, "securityToken": {token}}, http.Header{"auth-token": {token}, "Authorization": {"Bearer " + token}}, &dst)
}

// clean fails the test if an error shows a secret or what is not one line.
func clean(t *testing.T, err error) {
	t.Helper()
	for _, s := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		if strings.Contains(s, token) {
			t.Errorf("the error shows a secret: %s", s)
		}
	}
	if s := err.Error(); strings.ContainsAny(s, "\n\r\x00\x1b") || len(s) > 500 {
		t.Errorf("the error is not one short line: %q", s)
	}
}

func TestJSON(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got := []string{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("auth-token"), r.Header.Get("Accept"), r.Header.Get("User-Agent"), r.Header.Get("Accept-Encoding")}
		if diff := cmp.Diff([]string{"GET", "/v3/latest", "from=2026-08-21T10%3A00Z&zone=DE", token, "application/json", "noether", "gzip"}, got); diff != "" {
			t.Errorf("it asks for (-want +got):\n%s", diff)
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, ` {"zone":"DE","carbonIntensity":322.5,"more":[{}]} `)
		z.Close()
	})
	var got struct{ CarbonIntensity float64 }
	header := http.Header{"auth-token": {token}}
	err := open(t, Options{Base: base + "/v3/"}).JSON(t.Context(), "/latest", url.Values{"zone": {"DE"}, "from": {"2026-08-21T10:00Z"}}, header, &got)
	if err != nil || got.CarbonIntensity != 322.5 {
		t.Errorf("%v %v", got, err)
	}
	if len(header) != 1 {
		t.Errorf("the caller's header has changed: %v", header)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	const page = "<!DOCTYPE html>\n<title>Log in</title>" + token
	now := time.Date(2026, 8, 21, 10, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		status int
		header [2]string
		body   string
		kind   error
		want   string
	}{
		"no such key":            {401, [2]string{}, `{"error":"` + token + `"}`, grid.ErrUnauthorized, "401 Unauthorized"},
		"not in the plan":        {403, [2]string{}, token, grid.ErrUnauthorized, "403 Forbidden"},
		"nothing there":          {404, [2]string{}, "", grid.ErrNoData, "404 Not Found"},
		"no content":             {204, [2]string{}, "", grid.ErrNoData, "204 No Content"},
		"an empty body":          {200, [2]string{}, " \n", grid.ErrNoData, "the answer is empty"},
		"too many in seconds":    {429, [2]string{"Retry-After", "90"}, "", nil, "wait 1m30s"},
		"too many with a date":   {429, [2]string{"Retry-After", now.Add(10 * time.Minute).Format(http.TimeFormat)}, "", nil, "wait 10m0s"},
		"too many, no word":      {429, [2]string{}, "", nil, "too many requests"},
		"too many, for a year":   {429, [2]string{"Retry-After", "31536000"}, "", nil, "wait 24h0m0s"},
		"out of order":           {500, [2]string{}, page, nil, "500 Internal Server Error"},
		"a status of its own":    {799, [2]string{}, token, nil, "799"},
		"a page":                 {200, [2]string{"Content-Type", "application/json"}, page, nil, "page of HTML"},
		"half an answer":         {200, [2]string{}, `{"g":322`, nil, "cut short"},
		"half a string":          {200, [2]string{}, `{"` + token, nil, "cut short"},
		"garbage after it":       {200, [2]string{}, `{"g":322}}` + token, nil, "not JSON"},
		"two answers":            {200, [2]string{}, `{"g":322}{"g":323}`, nil, "not JSON"},
		"a list":                 {200, [2]string{}, `[1,2]`, nil, "not of the shape"},
		"a text for a number":    {200, [2]string{}, `{"g":"` + token + `"}`, nil, `the type of field "G" is string`},
		"a number too large":     {200, [2]string{}, `{"g":1e999}`, nil, "not of the shape"},
		"NaN":                    {200, [2]string{}, `{"g":NaN}`, nil, "not JSON"},
		"not packed after all":   {200, [2]string{"Content-Encoding", "gzip"}, `{"g":322.25}`, nil, "cannot be unpacked"},
		"packed in another way":  {200, [2]string{"Content-Encoding", "br"}, `{"g":322}`, nil, "was not asked for: br"},
		"a redirect to nowhere":  {302, [2]string{}, "", nil, "302 Found"},
		"a length that is false": {200, [2]string{"Content-Length", "100"}, `{"g":322}`, nil, "cut short"},
		"a length of 1 GB":       {200, [2]string{"Content-Length", "1000000000"}, `{"g":322}`, nil, "larger than 4096 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if c.header[0] != "" {
					w.Header().Set(c.header[0], c.header[1])
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			err := ask(t.Context(), open(t, Options{Base: base, Now: func() time.Time { return now }}))
			if err == nil || !strings.Contains(err.Error(), c.want) || c.kind != nil && !errors.Is(err, c.kind) {
				t.Fatalf("%v, want %s", err, c.want)
			}
			if host := strings.TrimPrefix(base, "http://"); !strings.HasPrefix(err.Error(), "ask "+host+" for /v3/latest: ") {
				t.Errorf("the error does not say what was asked: %v", err)
			}
			if _, ok := errors.AsType[*grid.LimitedError](err); ok != (c.status == 429) {
				t.Errorf("%d gives %#v", c.status, err)
			}
			clean(t, err)
		})
	}
}

// TestBounds streams more than is ever taken, plain and packed, and looks at
// how much of it the server got rid of.
func TestBounds(t *testing.T) {
	for _, packed := range []bool{false, true} {
		var sent atomic.Int64
		base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			var to io.Writer = w
			if packed {
				w.Header().Set("Content-Encoding", "gzip")
				z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
				if err != nil {
					t.Error(err)
				}
				defer z.Close()
				to = z
			}
			chunk := []byte(strings.Repeat(" ", 1<<20))
			for range 1 << 10 {
				if _, err := to.Write(chunk); err != nil {
					return
				}
				sent.Add(int64(len(chunk)))
			}
		})
		err := ask(t.Context(), open(t, Options{Base: base, MaxBytes: 1 << 20}))
		if err == nil || !strings.Contains(err.Error(), "larger than 1024 KiB") {
			t.Errorf("packed %v: %v", packed, err)
		}
		if !packed && sent.Load() > 256<<20 {
			t.Errorf("%d MiB were taken", sent.Load()>>20)
		}
	}
}

func TestExactlyTheBound(t *testing.T) {
	const most = 1 << 16
	for size, ok := range map[int]bool{most: true, most + 1: false} {
		base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"g":1}`+strings.Repeat(" ", size-7))
		})
		if err := ask(t.Context(), open(t, Options{Base: base, MaxBytes: most})); (err == nil) != ok {
			t.Errorf("%d bytes of %d: %v", size, most, err)
		}
	}
}

// TestSlowDrip never ends unless the deadline holds for the body too.
func TestSlowDrip(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, " "); err != nil {
				return
			}
			http.NewResponseController(w).Flush()
			time.Sleep(time.Millisecond)
		}
	})
	err := ask(t.Context(), open(t, Options{Base: base, Timeout: 50 * time.Millisecond}))
	if err == nil || !strings.Contains(err.Error(), "no whole answer within 50ms") {
		t.Errorf("%v", err)
	}
	clean(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := ask(ctx, open(t, Options{Base: base})); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's deadline: %v", err)
	}
}

func TestRedirects(t *testing.T) {
	var stolen atomic.Bool
	thief := serve(t, func(http.ResponseWriter, *http.Request) { stolen.Store(true) })
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief+"/?"+token, http.StatusTemporaryRedirect)
	})
	err := ask(t.Context(), open(t, Options{Base: base}))
	if err == nil || !strings.Contains(err.Error(), "it redirects to another host, 127.0.0.1:") {
		t.Errorf("%v", err)
	}
	if stolen.Load() {
		t.Error("the other host was asked")
	}
	clean(t, err)

	base = serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), http.StatusFound) })
	if err := ask(t.Context(), open(t, Options{Base: base})); err == nil || !strings.Contains(err.Error(), "again and again") {
		t.Errorf("%v", err)
	}

	base = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v3/latest" {
			http.Redirect(w, r, "/v4/latest", http.StatusFound)
			return
		}
		if r.Header.Get("auth-token") != token {
			t.Error("the same host does not get the header again")
		}
		io.WriteString(w, `{"g":1}`)
	})
	if err := ask(t.Context(), open(t, Options{Base: base})); err != nil {
		t.Errorf("a redirect within the host: %v", err)
	}
}

// TestAwayFromTLS has a server that sends its clients to its own host, in the clear.
func TestAwayFromTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+r.Host+"/v3/latest", http.StatusFound)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it is told of a handshake that fails
	server.StartTLS()
	defer server.Close()
	c := open(t, Options{Base: server.URL, Transport: server.Client().Transport})
	err := ask(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "away from https") {
		t.Errorf("%v", err)
	}
	err = ask(t.Context(), open(t, Options{Base: server.URL}))
	if err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	clean(t, err)
}

func TestNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	l.Close()
	if err := ask(t.Context(), open(t, Options{Base: nobody})); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v", err)
	} else {
		clean(t, err)
	}
	cut := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if err := ask(t.Context(), open(t, Options{Base: cut})); err == nil || !strings.Contains(err.Error(), "closed the connection") {
		t.Errorf("%v", err)
	} else {
		clean(t, err)
	}
	plain := strings.Replace(serve(t, func(http.ResponseWriter, *http.Request) {}), "http:", "https:", 1)
	if err := ask(t.Context(), open(t, Options{Base: plain})); err == nil || !strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("%v", err)
	} else {
		clean(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ask(ctx, open(t, Options{Base: nobody})); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestProxy names the proxy, not the server behind it, if the proxy is in the
// way; and keeps what its address has of credentials.
func TestProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	refusing := strings.TrimPrefix(serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }), "http://")
	for address, want := range map[string]string{
		nobody:   "the proxy of the environment cannot be reached: connection refused: is HTTPS_PROXY right",
		refusing: "the proxy of the environment refuses its credentials",
	} {
		proxy := &url.URL{Scheme: "http", Host: address, User: url.UserPassword("somebody", "pr0xy-secret")}
		c := open(t, Options{Base: "https://api.example.org", Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}})
		err := ask(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pr0xy-secret") || strings.Contains(err.Error(), "somebody") {
			t.Errorf("%v, want %s", err, want)
		}
		clean(t, err)
	}
}

// TestQuote lets nothing through that a terminal takes for a command.
func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"Île-de-France 380 g": "Île-de-France 380 g", "a\x1b[2Jb\r\n\tc": "a [2Jb   c", "csi\u009b31m": "csi 31m", "turn\u202eed": "turn ed",
		"\xff": "\ufffd", "12345678901234567890123456789": "12345678901234567890…",
	} {
		if got := Quote(in, 20); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"https://api.example/v3":                   "",
		"http://127.0.0.1:80":                      "",
		"http://[::1]":                             "",
		"http://localhost:9878/x":                  "",
		"http://api.example":                       "only https is safe",
		"http://localhost.example":                 "only https is safe",
		"ftp://127.0.0.1":                          "only https is safe",
		"file:///etc/passwd":                       "no host",
		"api.example":                              "no host",
		"":                                         "no host",
		"https://u:" + token + "@api.example":      "credentials do not belong",
		"https://api.example?key=" + token:         "it has a query",
		"https://" + token + ":x":                  "no URL",
		"https://api.example/#" + token:            "it has a query",
		"http://\x7f" + token:                      "no URL",
		"https://" + strings.Repeat("a", 5) + ":0": "",
	} {
		_, err := New(Options{Base: address})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
	if _, err := New(Options{Base: "http://carbon.noether.svc:9878", Plain: true}); err != nil {
		t.Errorf("http where it was allowed: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 8, 21, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "-5": 0, "soon": 0, "NaN": 0,
		"1": time.Second, "0.2": time.Second, " 120 ": 2 * time.Minute,
		"1e30": MaxRetryAfter, "+Inf": MaxRetryAfter, "99999999999999999999": MaxRetryAfter,
		"Fri, 21 Aug 2026 10:01:30 GMT":  90 * time.Second,
		"Fri, 21 Aug 2026 09:00:00 GMT":  0,
		"Fri, 21 Aug 2126 10:00:00 GMT":  MaxRetryAfter,
		"Friday, 21-Aug-26 10:00:10 GMT": 10 * time.Second,
	} {
		if got := RetryAfter(value, now); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "120", "1e400", "Fri, 21 Aug 2026 10:01:30 GMT", "-0", "0x1p9999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := RetryAfter(s, time.Unix(1787306400, 0)); d < 0 || d > MaxRetryAfter {
			t.Errorf("%q: %s", s, d)
		}
	})
}

// FuzzBody gives a client any answer: it must end in a value or a short error.
func FuzzBody(f *testing.F) {
	for _, s := range []string{`{"G":1}`, `{"G":`, "<html>", "\x1f\x8b\x08", `[[[[`, `{"G":1e999}`, "\xff\xfe", `{"` + strings.Repeat("a", 300) + `":{}}`} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, packed bool) {
		c, err := New(Options{Base: "https://api.example", MaxBytes: 1 << 12, Transport: answer{body, packed}})
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(t.Context(), c); err != nil {
			clean(t, err)
		}
	})
}

// answer is a server that says one thing.
type answer struct {
	body   []byte
	packed bool
}

func (a answer) RoundTrip(*http.Request) (*http.Response, error) {
	header := http.Header{}
	if a.packed {
		header.Set("Content-Encoding", "gzip")
	}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: io.NopCloser(strings.NewReader(string(a.body))), ContentLength: -1}, nil
}
