// Package gridtest runs providers of carbon intensity against servers that
// behave as servers do on their worst days. It is for tests only.
//
// The test of a provider is one call, plus the shapes that only it has:
//
//	gridtest.Hostile(t, gridtest.Kit{
//		New: func(base string, token fetch.Secret, now func() time.Time) (grid.Provider, error) {
//			return electricitymaps.New(electricitymaps.Options{Base: base, Token: token, Now: now})
//		},
//		Zone: "DE",
//		Now:  time.Date(2026, 8, 21, 10, 30, 0, 0, time.UTC),
//		Answer: func(r *http.Request, value string) string {
//			return `{"zone":"DE","carbonIntensity":` + value + `,"datetime":"2026-08-21T10:00:00.000Z"}`
//		},
//	})
//
// Answer is asked for every path that the provider requests, so look at
// r.URL.Path if they differ in shape. It first proves itself: a kit whose good
// answer is not understood fails, so no row below passes for the wrong reason.
package gridtest

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
)

// Token is what providers are given as their secret. No error may hold it.
const Token = "s3cr3t-0f-the-test"

// Kit is a provider and what its server says on a good day.
type Kit struct {
	// New makes the provider. It asks base, and its time is now.
	New func(base string, token fetch.Secret, now func() time.Time) (grid.Provider, error)
	// Zone is one that the provider has.
	Zone string
	// Now is the provider's time; the good answer is about it.
	Now time.Time
	// Answer is the body of a good answer in which value is the one number (of
	// each sample, if there are several). It is inserted as it is: 300, -1,
	// 1e9, NaN, null. Rows about values are left out if NoValues is set, for a
	// provider that calculates its intensities.
	Answer   func(r *http.Request, value string) string
	NoValues bool
	// NoRetryAfter is set if a LimitedError never says how long.
	NoRetryAfter bool
	// Always has handlers of paths that behave in every row, such as a login.
	Always map[string]http.HandlerFunc
}

// Hostile runs each method of the provider against each kind of bad server.
func Hostile(t *testing.T, k Kit) {
	t.Helper()
	t.Run("good", func(t *testing.T) {
		p := k.provider(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, k.Answer(r, "300")) }) //nolint:errcheck // a test server
		s, err := p.Latest(t.Context(), k.Zone)
		if err != nil {
			t.Fatalf("the kit's good answer is refused: %v", err)
		}
		Check(t, []grid.Sample{s})
		if info := p.Info(); info.Name == "" || info.Factor == "" || info.Signal == "" {
			t.Errorf("the provider does not say what it is: %+v", info)
		}
	})
	for name, row := range rows(t, k) {
		t.Run(name, func(t *testing.T) {
			for method, call := range methods(k) {
				t.Run(method, func(t *testing.T) { row.run(t, k, call) })
			}
		})
	}
}

type method func(ctx context.Context, p grid.Provider) ([]grid.Sample, error)

func methods(k Kit) map[string]method {
	return map[string]method{
		"latest": func(ctx context.Context, p grid.Provider) ([]grid.Sample, error) {
			s, err := p.Latest(ctx, k.Zone)
			return []grid.Sample{s}, err
		},
		"forecast": func(ctx context.Context, p grid.Provider) ([]grid.Sample, error) {
			return p.Forecast(ctx, k.Zone, k.Now, k.Now.Add(24*time.Hour))
		},
		"history": func(ctx context.Context, p grid.Provider) ([]grid.Sample, error) {
			return p.Intensity(ctx, k.Zone, k.Now.Add(-24*time.Hour), k.Now)
		},
	}
}

type row struct {
	handler  func(w http.ResponseWriter, r *http.Request)
	want     error         // a kind of package grid, if one fits
	tooMany  bool          // a LimitedError
	limited  time.Duration // one that asks for this
	deadline time.Duration // of the call, where the server never ends
	value    bool          // one absurd value: no error is needed if it costs that sample only
	after    func(t *testing.T)
}

func (c row) run(t *testing.T, k Kit, call method) {
	t.Helper()
	p := k.provider(t, c.handler)
	ctx := t.Context()
	if c.deadline > 0 {
		within, cancel := context.WithTimeout(ctx, c.deadline)
		defer cancel()
		ctx = within
	}
	samples, err := call(ctx, p)
	if c.after != nil {
		c.after(t)
	}
	if errors.Is(err, grid.ErrNoForecast) {
		return
	}
	if err == nil {
		if !c.value {
			t.Fatalf("no error, but %v", samples)
		}
		Check(t, samples)
		if len(samples) > 0 {
			t.Fatalf("an absurd value is believed: %v", samples)
		}
		return
	}
	if s := err.Error(); strings.Contains(s, Token) || strings.Contains(s, "\n") || len(s) > 1000 {
		t.Errorf("the error shows a secret, has several lines or no end: %q", s)
	}
	if c.want != nil && !errors.Is(err, c.want) {
		t.Errorf("%v, want one that is %q", err, c.want)
	}
	if l, ok := errors.AsType[*grid.LimitedError](err); c.tooMany && !ok {
		t.Errorf("%v, want a LimitedError, not %v", err, l)
	}
	if c.limited > 0 {
		if l, ok := errors.AsType[*grid.LimitedError](err); !ok || l.RetryAfter != c.limited {
			t.Errorf("%v, want one that asks to wait %s", err, c.limited)
		}
	}
}

// Check fails the test unless samples are as the contract of providers says.
func Check(t *testing.T, samples []grid.Sample) {
	t.Helper()
	for i, s := range samples {
		if err := grid.Check(s.Intensity); err != nil {
			t.Errorf("sample %d: %v", i, err)
		}
		if !s.To.After(s.From) {
			t.Errorf("sample %d is from %s to %s", i, s.From, s.To)
		}
		if i > 0 && s.From.Before(samples[i-1].To) {
			t.Errorf("sample %d begins at %s, before %s, where the one before it ends", i, s.From, samples[i-1].To)
		}
	}
}

// Server is a server of this machine that serves h until the test ends.
func Server(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (k Kit) provider(t *testing.T, h http.HandlerFunc) grid.Provider {
	t.Helper()
	server := Server(t, func(w http.ResponseWriter, r *http.Request) {
		if good, ok := k.Always[r.URL.Path]; ok {
			good(w, r)
			return
		}
		h(w, r)
	})
	p, err := k.New(server.URL, fetch.Text(Token), func() time.Time { return k.Now })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func says(status int, body string, headers ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body) //nolint:errcheck // a test server
	}
}

const page = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body>" + Token + "</body></html>"

func rows(t *testing.T, k Kit) map[string]row {
	t.Helper()
	var elsewhere atomic.Pointer[http.Request]
	thief := Server(t, func(_ http.ResponseWriter, r *http.Request) { elsewhere.Store(r) })
	m := map[string]row{
		"401":                         {handler: says(401, `{"error":"`+Token+`"}`), want: grid.ErrUnauthorized},
		"403":                         {handler: says(403, "Access denied "+Token), want: grid.ErrUnauthorized},
		"404":                         {handler: says(404, "{}")},
		"429":                         {handler: says(429, "{}", "Retry-After", "120"), limited: 2 * time.Minute},
		"429 with a date":             {handler: says(429, "{}", "Retry-After", k.Now.Add(10*time.Minute).UTC().Format(http.TimeFormat)), limited: k.Now.Add(10 * time.Minute).UTC().Truncate(time.Second).Sub(k.Now)},
		"500":                         {handler: says(500, page)},
		"204":                         {handler: says(204, "")},
		"empty":                       {handler: says(200, "")},
		"HTML with 200":               {handler: says(200, page)},
		"null":                        {handler: says(200, "null")},
		"an empty object":             {handler: says(200, "{}")},
		"an empty list":               {handler: says(200, "[]")},
		"a word":                      {handler: says(200, `"maintenance"`)},
		"another type in every field": {handler: says(200, `{"data":7,"history":"x","forecast":{},"results":true,"unix_seconds":{},"co2eq":"x","carbonIntensity":{},"datetime":[]}`)},
		"half an answer": {handler: func(w http.ResponseWriter, r *http.Request) {
			body := strings.TrimSpace(k.Answer(r, "300"))
			io.WriteString(w, body[:len(body)*2/3]) //nolint:errcheck // a test server
		}},
		"an answer and garbage": {handler: func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, k.Answer(r, "300")+"\n}garbage<") //nolint:errcheck // a test server
		}},
		"a body without end": {handler: func(w http.ResponseWriter, _ *http.Request) {
			flood(w, 1<<30)
		}},
		"a bomb of gzip": {handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
			if err != nil {
				panic(err)
			}
			flood(z, 16<<20) // four times what is read
			z.Close()        //nolint:errcheck // a test server
		}},
		"a slow drip": {deadline: 100 * time.Millisecond, handler: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, " "); err != nil {
					return
				}
				http.NewResponseController(w).Flush() //nolint:errcheck // a test server
				time.Sleep(5 * time.Millisecond)      //nolint:forbidigo // it is slow, not a test's clock
			}
		}},
		"a connection that breaks": {handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			io.WriteString(w, "{") //nolint:errcheck // a test server
			panic(http.ErrAbortHandler)
		}},
		"a redirect to another host": {
			handler: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, thief.URL+"/?"+Token, http.StatusFound)
			},
			after: func(t *testing.T) {
				t.Helper()
				if r := elsewhere.Swap(nil); r != nil {
					t.Errorf("another host was asked for %s, with the headers %v", r.URL, r.Header)
				}
			},
		},
		"a redirect to itself": {handler: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.String(), http.StatusFound)
		}},
	}
	if k.NoRetryAfter {
		for _, name := range []string{"429", "429 with a date"} {
			m[name] = row{handler: m[name].handler, tooMany: true}
		}
	}
	if !k.NoValues {
		for _, v := range []string{"-1", "-1e9", "1e9", "1e999", "NaN", "Infinity", "null", `"300"x`, `{}`} {
			m["the value "+v] = row{value: true, handler: func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, k.Answer(r, v)) //nolint:errcheck // a test server
			}}
		}
	}
	return m
}

// flood writes n bytes of JSON white space, or as many as are taken.
func flood(w io.Writer, n int) {
	chunk := fmt.Appendf(nil, "%65536s", "")
	for ; n > 0; n -= len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}
