package promwrite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// receiver answers with one of its replies after the other, the last for ever.
type receiver struct {
	*httptest.Server
	replies  []func(w http.ResponseWriter)
	requests []*http.Request
	bodies   [][]byte
}

func newReceiver(t *testing.T, replies ...func(w http.ResponseWriter)) *receiver {
	r := &receiver{replies: replies}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.requests, r.bodies = append(r.requests, req), append(r.bodies, body)
		r.replies[min(len(r.requests), len(r.replies))-1](w)
	}))
	t.Cleanup(r.Close)
	return r
}

func reply(status int, text string, header ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// cut breaks the connection off without an answer.
func cut(w http.ResponseWriter) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// clock is an HTTP configuration whose waits take no time and are written down.
func clock(url string) (h HTTP, waits *[]time.Duration) {
	waits = new([]time.Duration)
	return HTTP{
		Client: http.DefaultClient, URL: url, GiveUp: 20 * time.Second,
		Now:    func() time.Time { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) },
		Random: func() float64 { return 0 },
		Sleep: func(ctx context.Context, d time.Duration) error {
			*waits = append(*waits, d)
			return ctx.Err()
		},
	}, waits
}

func TestRetries(t *testing.T) {
	const s = time.Second
	ok := reply(204, "")
	for name, c := range map[string]struct {
		replies []func(http.ResponseWriter)
		waits   []time.Duration
		err     string
	}{
		"at once":                    {[]func(http.ResponseWriter){ok}, nil, ""},
		"500 passes":                 {[]func(http.ResponseWriter){reply(500, "no space"), reply(503, ""), ok}, []time.Duration{s / 2, s}, ""},
		"a cut connection passes":    {[]func(http.ResponseWriter){cut, ok}, []time.Duration{s / 2}, ""},
		"429 says when":              {[]func(http.ResponseWriter){reply(429, "", "Retry-After", "7"), ok}, []time.Duration{7 * s}, ""},
		"503 gives a date":           {[]func(http.ResponseWriter){reply(503, "", "Retry-After", "Mon, 01 Jan 2024 00:00:09 GMT"), ok}, []time.Duration{9 * s}, ""},
		"a date that has passed":     {[]func(http.ResponseWriter){reply(503, "", "Retry-After", "Mon, 01 Jan 2023 00:00:09 GMT"), ok}, []time.Duration{s / 2}, ""},
		"asked to wait too long":     {[]func(http.ResponseWriter){reply(429, "later", "Retry-After", "86400")}, nil, "answers 429 Too Many Requests: later, after 1 try"},
		"never":                      {[]func(http.ResponseWriter){reply(502, "")}, []time.Duration{s / 2, s, 2 * s, 4 * s, 8 * s}, "answers 502 Bad Gateway, after 6 tries; see whether the receiver is up, or raise give-up-after (20s)"},
		"400 is final":               {[]func(http.ResponseWriter){reply(400, "bad\nrequest"), ok}, nil, "answers 400 Bad Request: bad request"},
		"500 for what will not pass": {[]func(http.ResponseWriter){reply(500, "too old sample"), ok}, nil, "out_of_order_time_window"},
		"404":                        {[]func(http.ResponseWriter){reply(404, ""), ok}, nil, "--web.enable-remote-write-receiver"},
		"401":                        {[]func(http.ResponseWriter){reply(401, "no"), ok}, nil, "give username and password"},
		"a redirect stores nothing":  {[]func(http.ResponseWriter){reply(302, "", "Location", "/other"), ok}, nil, "do not follow redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, c.replies...)
			h, waits := clock(r.URL + "/api/v1/write?token=hidden")
			w, err := NewRemote(h, "1.0", t.Logf)
			if err != nil {
				t.Fatal(err)
			}
			err = w.Write(t.Context(), sample())
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, want %q", err, c.err)
			}
			if err != nil && (strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), r.URL+"/api/v1/write")) {
				t.Errorf("%v: want the URL without its query", err)
			}
			if diff := cmp.Diff(c.waits, *waits); diff != "" {
				t.Error(diff)
			}
			for _, body := range r.bodies {
				if !bytes.Equal(body, r.bodies[0]) {
					t.Error("another try sent another body")
				}
			}
		})
	}
}

func TestUnreachableAndUntrusted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	h, _ := clock("http://" + l.Addr().String() + "/?token=hidden")
	w, _ := NewRemote(h, "1.0", t.Logf)
	if err := w.Write(t.Context(), sample()); err == nil || !strings.Contains(err.Error(), "refused, after 6 tries") || strings.Contains(err.Error(), "hidden") {
		t.Errorf("%v", err)
	}

	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	for _, url := range []string{tls.URL, strings.Replace(newReceiver(t, reply(200, "")).URL, "http:", "https:", 1)} {
		h, waits := clock(url)
		w, _ = NewRemote(h, "1.0", t.Logf)
		if err := w.Write(t.Context(), sample()); err == nil || len(*waits) > 0 {
			t.Errorf("%v after waits %v, want an error at once", err, *waits)
		}
	}

	h, waits := clock("http://host/")
	h.Client = &http.Client{Transport: noPassword{}}
	w, _ = NewRemote(h, "1.0", t.Logf)
	if err := w.Write(t.Context(), sample()); err == nil || len(*waits) > 0 || !strings.Contains(err.Error(), "/secrets/password") {
		t.Errorf("a missing file: %v after waits %v", err, *waits)
	}

	ctx, cancel := context.WithCancel(t.Context())
	h, _ = clock(newReceiver(t, reply(500, "full")).URL)
	h.Sleep = func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }
	w, _ = NewRemote(h, "1.0", t.Logf)
	if err := w.Write(ctx, sample()); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "full") {
		t.Errorf("%v, want what was wrong and that it was cancelled", err)
	}
}

// noPassword is a client whose password file is missing.
type noPassword struct{}

func (noPassword) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &fs.PathError{Op: "open", Path: "/secrets/password", Err: fs.ErrNotExist}
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"http://user:secret@host/x": "holds a user or a password",
		"host:9090":                 "http://host:port/path",
		"ftp://host/":               "http://host:port/path",
		"http://[secret":            "http://host:port/path",
		"":                          "http://host:port/path",
	} {
		h, _ := clock(url)
		_, err := NewRemote(h, "1.0", nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
	h, _ := clock("http://host/x")
	if _, err := NewRemote(h, "3.0", nil); err == nil || !strings.Contains(err.Error(), "1.0 or 2.0") {
		t.Errorf("%v", err)
	}
}

func TestRequestsOfRemoteWrite(t *testing.T) {
	r := newReceiver(t, reply(200, ""))
	h, _ := clock(r.URL)
	h.Tenant = "shop"
	w, _ := NewRemote(h, "1.0", t.Logf)
	if err := w.Write(t.Context(), long(3, maxSamples/2)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, req := range r.requests {
		got = append(got, decode1(t, r.bodies[i])...)
		for name, want := range map[string]string{
			"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0",
			"User-Agent": "noether", "X-Scope-OrgID": "shop",
		} {
			if got := req.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
	if len(r.requests) != 2 || !cmp.Equal(got, flat(long(3, maxSamples/2))) {
		t.Errorf("%d requests with %d samples", len(r.requests), len(got))
	}
}

func TestVersion2(t *testing.T) {
	const written = "X-Prometheus-Remote-Write-Samples-Written"
	for name, c := range map[string]struct {
		replies  []func(http.ResponseWriter)
		versions []string
		warnings int
		err      string
	}{
		"stored":                 {[]func(http.ResponseWriter){reply(204, "", written, "3")}, []string{"2.0.0", "2.0.0"}, 0, ""},
		"knows nothing of 2.0":   {[]func(http.ResponseWriter){reply(204, "")}, []string{"2.0.0", "0.1.0", "0.1.0"}, 1, ""},
		"says so":                {[]func(http.ResponseWriter){reply(415, ""), reply(204, "")}, []string{"2.0.0", "0.1.0", "0.1.0"}, 1, ""},
		"stores a part":          {[]func(http.ResponseWriter){reply(400, "out of order sample", written, "2")}, []string{"2.0.0", "2.0.0"}, 0, "(2 of the request's 3 samples were stored)"},
		"a part, called success": {[]func(http.ResponseWriter){reply(200, "", written, "2")}, []string{"2.0.0", "2.0.0"}, 0, `stored "2" of 3 samples`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, c.replies...)
			h, _ := clock(r.URL)
			warnings := 0
			w, _ := NewRemote(h, "2.0", func(string, ...any) { warnings++ })
			for range 2 { // the second time it knows
				err := w.Write(t.Context(), sample())
				if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %q", err, c.err)
				}
			}
			var versions []string
			for i, req := range r.requests {
				versions = append(versions, req.Header.Get("X-Prometheus-Remote-Write-Version"))
				var got []string
				if versions[i] == "2.0.0" {
					got, _ = decode2(t, r.bodies[i])
				} else {
					got = decode1(t, r.bodies[i])
				}
				if diff := cmp.Diff(flat(sample()), got); diff != "" {
					t.Error(diff)
				}
			}
			if diff := cmp.Diff(c.versions, versions); diff != "" || warnings != c.warnings {
				t.Errorf("%d warnings, %s", warnings, diff)
			}
		})
	}
}

func TestRefusalsAreToldApart(t *testing.T) {
	for text, want := range map[string]string{
		"out of order sample": "from the oldest to the newest",
		"out of bounds":       "what the receiver holds in memory",
		"too old sample":      "older than the receiver takes",
		"out of bounds: timestamp is too far in the future": "compare the clocks",
		"duplicate sample for timestamp":                    "another value was written",
		"failed pushing to ingester: user=a: the sample has been rejected because another sample with the same timestamp, but a different value, has already been ingested (err-mimir-sample-duplicate-timestamp). The affected sample has timestamp 1970-01-19T05:30:43.969Z and is from series a": "another value was written",
		"the sample has been rejected because another sample with a more recent timestamp has already been ingested and out-of-order samples are not allowed (err-mimir-sample-out-of-order).":                                                                                                      "limits.out_of_order_time_window",
		"the sample has been rejected because its timestamp is too old (err-mimir-sample-timestamp-too-old).":                                                                                                                                                                                       "limits.out_of_order_time_window",
		"received a sample whose timestamp is too far in the past (err-mimir-too-far-in-past).":                                                                                                                                                                                                     "limits.past_grace_period",
	} {
		for _, status := range []int{400, 409, 500} {
			r := newReceiver(t, reply(status, text))
			h, waits := clock(r.URL)
			w, _ := NewRemote(h, "1.0", t.Logf)
			if err := w.Write(t.Context(), sample()); err == nil || !strings.Contains(err.Error(), want) || len(*waits) > 0 {
				t.Errorf("%d %s: %v", status, text, err)
			}
		}
	}
}

func TestPushgatewayRequest(t *testing.T) {
	r := newReceiver(t, reply(200, ""))
	h, _ := clock(r.URL + "/prefix/")
	w, err := NewPushgateway(h, Label{"job", "noether_impact"}, Label{"manifest", "a b"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	want, _ := text(sample())
	req := r.requests[0]
	if req.Method != http.MethodPut || req.URL.Path != "/prefix/metrics/job/noether_impact/manifest@base64/YSBi" || string(r.bodies[0]) != string(want) {
		t.Errorf("%s %s %s", req.Method, req.URL, r.bodies[0])
	}
	if fmt.Sprint(w) != r.URL+req.URL.Path {
		t.Errorf("%s", w)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusBadRequest)
		for range 1000 {
			if _, err := io.WriteString(w, strings.Repeat("é\x1b[31m\n", 1000)); err != nil {
				return
			}
		}
	})
	h, _ := clock(r.URL)
	w, _ := NewRemote(h, "1.0", t.Logf)
	if err := w.Write(t.Context(), sample()); err == nil || len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("%.1200v", err)
	}
}
