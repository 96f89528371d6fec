package web

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"noether/internal/export/balance"
	"noether/internal/export/exporttest"
	"noether/internal/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// options serve the given snapshot, as old as a tick may be.
func options(t *testing.T, s *snapshot.Snapshot) Options {
	return Options{
		Listen: []string{"127.0.0.1:0"}, Snapshot: func() *snapshot.Snapshot { return s }, About: exporttest.About(),
		Interval: 5 * time.Second, Now: func() time.Time { return exporttest.Snapshot().Time },
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func newServer(t *testing.T, opt Options) *Server {
	t.Helper()
	s, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run starts s and stops it when the test ends.
func run(t *testing.T, s *Server) (stop func() error) {
	t.Helper()
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return stop
}

func ask(t *testing.T, h http.Handler, method, path string) (int, string, http.Header) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	r.Host = "localhost:9877"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header()
}

func TestEndpoints(t *testing.T) {
	full, first := exporttest.Snapshot(), &snapshot.Snapshot{Time: exporttest.Snapshot().Time}
	for name, tt := range map[string]struct {
		snap         *snapshot.Snapshot
		method, path string
		code         int
		want         string
	}{
		"metrics":                     {full, "GET", "/metrics", 200, "noether_node_joules_total{"},
		"metrics before a tick":       {nil, "GET", "/metrics", 200, "noether_build_info{version=\"1.2.3\""},
		"index":                       {full, "GET", "/plain", 200, "<td>memory</td><td class=n>0.200</td><td class=n>0.100 and 0.900</td><td class=n>0.000003</td><td>estimated</td>"},
		"index before a tick":         {nil, "GET", "/plain", 200, "not complete"},
		"healthy":                     {full, "GET", "/healthz", 200, "healthy"},
		"healthy before a tick":       {nil, "GET", "/healthz", 200, "healthy"},
		"ready":                       {full, "GET", "/readyz", 200, "ready"},
		"not ready":                   {nil, "GET", "/readyz", 503, "not complete"},
		"not ready without a delta":   {first, "GET", "/readyz", 503, "not complete"},
		"snapshot":                    {full, "GET", "/api/noether/v1/snapshot", 200, `"schema":"noether.snapshot/v1"`},
		"no snapshot":                 {nil, "GET", "/api/noether/v1/snapshot", 503, "not complete"},
		"nothing else":                {full, "GET", "/metricsx", 404, "not found"},
		"no debugger":                 {full, "GET", "/debug/pprof/", 404, "not found"},
		"only GET of metrics":         {full, "POST", "/metrics", 405, "use GET"},
		"only GET of the index":       {full, "DELETE", "/plain", 405, "use GET"},
		"only GET of health":          {full, "PUT", "/healthz", 405, "use GET"},
		"only GET of the snapshot":    {full, "POST", "/api/noether/v1/snapshot", 405, "use GET"},
		"the head of the index alone": {full, "HEAD", "/plain", 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, body, header := ask(t, newServer(t, options(t, tt.snap)).handler, tt.method, tt.path)
			if code != tt.code || !strings.Contains(body, tt.want) {
				t.Errorf("%s %s: %d, want %d with %q in\n%s", tt.method, tt.path, code, tt.code, tt.want, body)
			}
			for _, h := range []string{"X-Content-Type-Options", "Content-Security-Policy", "Content-Type"} {
				if header.Get(h) == "" {
					t.Errorf("no %s", h)
				}
			}
			if code == 405 && header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow: %q", header.Get("Allow"))
			}
			if strings.HasSuffix(tt.path, "snapshot") && code == 200 && !json.Valid([]byte(body)) {
				t.Error("not JSON")
			}
		})
	}
}

func TestHealthIsATickWithinThreeIntervals(t *testing.T) {
	s := exporttest.Snapshot()
	now := s.Time
	opt := options(t, s)
	opt.Now = func() time.Time { return now }
	h := newServer(t, opt).handler
	for _, tt := range []struct {
		age  time.Duration
		code int
	}{{0, 200}, {15 * time.Second, 200}, {15*time.Second + 1, 503}, {-time.Hour, 200}} {
		now = s.Time.Add(tt.age)
		if code, body, _ := ask(t, h, "GET", "/healthz"); code != tt.code {
			t.Errorf("a tick %s ago: %d %s", tt.age, code, body)
		}
	}

	opt.Snapshot = func() *snapshot.Snapshot { return nil }
	now = s.Time
	h = newServer(t, opt).handler
	now = s.Time.Add(16 * time.Second)
	if code, body, _ := ask(t, h, "GET", "/healthz"); code != 503 || !strings.Contains(body, "the start was 16s ago") {
		t.Errorf("no tick since the start: %d %s", code, body)
	}
}

func TestNamesInTheIndexAreEscaped(t *testing.T) {
	s := exporttest.Snapshot()
	s.Node = "<script>"
	s.Sensors[0].Reason = "<img>"
	if _, body, _ := ask(t, newServer(t, options(t, s)).handler, "GET", "/plain"); strings.Contains(body, "<script>") || strings.Contains(body, "<img>") {
		t.Error(body)
	}
}

func TestAllowedHost(t *testing.T) {
	for _, tt := range []struct {
		host     string
		allowed  []string
		loopback bool
		want     bool
	}{
		{"localhost:9877", nil, true, true},
		{"LOCALHOST.", nil, true, true},
		{"a.localhost", nil, true, true},
		{"127.0.0.1:9877", nil, true, true},
		{"[::1]:9877", nil, true, true},
		{"[::1]", nil, true, true},
		{"192.0.2.1", nil, true, true},
		{"evil.example:9877", nil, true, false},
		{"localhost.evil.example", nil, true, false},
		{"127.0.0.1.evil.example", nil, true, false},
		{"", nil, true, false},
		{"node-1:9877", nil, false, true},
		{"node-1:9877", []string{"node-2"}, false, false},
		{"Node-1:9877", []string{"node-2", "node-1"}, false, true},
		{"node-1", []string{"node-1"}, true, true},
		{"anything", []string{"*"}, true, true},
		{"10.0.0.1:9877", []string{"node-1"}, false, true},
	} {
		if got := allowedHost(tt.host, tt.allowed, tt.loopback); got != tt.want {
			t.Errorf("Host %q, allowed %q, over loopback %v: %v", tt.host, tt.allowed, tt.loopback, got)
		}
	}
}

func FuzzAllowedHost(f *testing.F) {
	for _, s := range []string{"localhost:1", "[::1]:9877", "evil.example", "[", "a:b:c", "127.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if allowedHost(host, nil, true) && strings.HasSuffix(host, ".example") {
			t.Errorf("Host %q is answered", host)
		}
	})
}

func TestARealServerRefusesReboundNames(t *testing.T) {
	s := newServer(t, options(t, exporttest.Snapshot()))
	run(t, s)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for host, want := range map[string]int{"": 200, "localhost": 200, "evil.example": 403} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addrs()[0].String()+"/metrics", nil)
		r.Host = host
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want || want == 403 && !strings.Contains(string(body), "--web.allowed-hosts") {
			t.Errorf("Host %q: %d %.100s", host, res.StatusCode, body)
		}
	}
}

func TestAPortInUseIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	opt := options(t, nil)
	opt.Listen = []string{"127.0.0.1:0", l.Addr().String()}
	s := newServer(t, opt)
	err = s.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("Run: %v", err)
	}
	if _, err := net.Dial("tcp", s.Addrs()[0].String()); err == nil {
		t.Error("the first address is still open")
	}
}

func TestABadConfigurationIsAnErrorAtTheStart(t *testing.T) {
	for name, tt := range map[string]struct{ content, want string }{
		"unknown key":   {"tls: {}\n", "tls"},
		"no key":        {"tls_server_config: {cert_file: a.pem}\n", "key_file"},
		"missing files": {"tls_server_config: {cert_file: a.pem, key_file: b.pem}\n", "a.pem"},
		"bad password":  {"basic_auth_users: {ada: plain}\n", "hash"},
	} {
		file := filepath.Join(t.TempDir(), "web.yml")
		if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		opt := options(t, nil)
		opt.ConfigFile = file
		if _, err := New(opt); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	opt := options(t, nil)
	opt.ConfigFile = filepath.Join(t.TempDir(), "absent.yml")
	if _, err := New(opt); err == nil || !strings.Contains(err.Error(), "absent.yml") {
		t.Errorf("absent: %v", err)
	}
	opt = options(t, nil)
	opt.Listen = nil
	if _, err := New(opt); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("no address: %v", err)
	}
}

// certificate writes a key and its certificate for 127.0.0.1.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, data := range map[string][]byte{"cert.pem": public, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(public)
	return roots
}

func TestTLSAndPasswordsOnEveryAddress(t *testing.T) {
	dir := t.TempDir()
	roots := certificate(t, dir)
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	opt := options(t, exporttest.Snapshot())
	opt.Listen = []string{"127.0.0.1:0", "127.0.0.1:0"}
	opt.ConfigFile = filepath.Join(dir, "web.yml")
	config := fmt.Sprintf("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {ada: %s}\n", hash)
	if err := os.WriteFile(opt.ConfigFile, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, opt)
	run(t, s)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	for _, addr := range s.Addrs() {
		for password, want := range map[string]int{"secret": 200, "wrong": 401} {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr.String()+"/metrics", nil)
			r.SetBasicAuth("ada", password)
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != want || (want == 200) != bytes.Contains(body, []byte("noether_")) {
				t.Errorf("password %q: %d", password, res.StatusCode)
			}
		}
	}
}

func TestAClientThatReadsNothingDoesNotHoldUpTheEnd(t *testing.T) {
	s := newServer(t, options(t, exporttest.Large(20_000))) // more than socket buffers hold
	s.stopTimeout = time.Millisecond
	stop := run(t, s)
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil { // the answer is under way
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	hold, entered := make(chan struct{}), make(chan struct{}, 2)
	h := bounded(2, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-hold
	}))
	var held sync.WaitGroup
	for range 2 {
		held.Go(func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)) })
		<-entered
	}
	if code, _, header := ask(t, h, "GET", "/"); code != 503 || header.Get("Retry-After") == "" {
		t.Errorf("the third of two: %d", code)
	}
	close(hold)
	held.Wait()
	if code, _, _ := ask(t, h, "GET", "/"); code != 200 {
		t.Errorf("afterwards: %d", code)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimited(inner, 1)
	accepted := make(chan net.Conn)
	done := make(chan error)
	var open atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				done <- err
				return
			}
			if open.Add(1) > 1 {
				t.Error("two connections at once")
			}
			accepted <- c
		}
	}()
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for range 3 {
		c := <-accepted
		open.Add(-1)
		c.Close()
		c.Close() // frees its slot once
	}
	l.Close()
	l.Close()
	if err := <-done; err == nil {
		t.Error("Accept after Close: no error")
	}
}

func TestManyScrapersWhileSnapshotsChange(t *testing.T) {
	var current atomic.Pointer[snapshot.Snapshot]
	base := exporttest.Snapshot()
	current.Store(base)
	opt := options(t, nil)
	opt.Snapshot = current.Load
	s := newServer(t, opt)
	run(t, s)
	var scrapers sync.WaitGroup
	for range 20 {
		scrapers.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for range 10 {
				r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addrs()[0].String()+"/metrics", nil)
				res, err := client.Do(r) // asks for gzip by itself
				if err != nil {
					t.Error(err)
					return
				}
				page, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || balance.Check(page) != nil {
					t.Errorf("%v, %v", err, balance.Check(page))
				}
				next := *base
				next.Seq = current.Load().Seq + 1
				current.Store(&next)
			}
		})
	}
	scrapers.Wait()
}

// BenchmarkScrape is a scrape over loopback right after a tick, so that each one renders.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{0, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			snap := exporttest.Large(n)
			s, err := New(Options{
				Listen: []string{"127.0.0.1:0"}, Snapshot: func() *snapshot.Snapshot { return snap }, About: exporttest.About(),
				Interval: 5 * time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Listen(b.Context()); err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			running.Go(func() { _ = s.Run(ctx) })
			client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
			var took []time.Duration
			for b.Loop() {
				next := *snap
				next.Seq++
				snap = &next
				r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addrs()[0].String()+"/metrics", nil)
				r.Header.Set("Accept-Encoding", "gzip")
				start := time.Now()
				res, err := client.Do(r)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
			client.CloseIdleConnections()
			cancel()
			running.Wait()
		})
	}
}
