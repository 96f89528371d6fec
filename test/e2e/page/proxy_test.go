package page

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
	"golang.org/x/crypto/bcrypt"

	"noether/test/program"
)

// policy is the content security policy of the page: nothing of it may be
// loosened by who stands in between.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// TestBehindAProxy: the page below a path of somebody else's server, which
// takes the path away or leaves it.
func TestBehindAProxy(t *testing.T) {
	f := theFleet(t)
	prometheus := startPrometheus(t, "", f.data)
	for name, c := range map[string]struct {
		strip bool
		start func(t *testing.T, external string) *server
		hash  func(view string) string
	}{
		"an agent, path kept": {false, func(t *testing.T, external string) *server {
			return startAgent(t, "--interval", "1s", "--store.path", t.TempDir(), "--store.interval", "1s", "--processes", "all", "--web.external-url", external)
		}, func(view string) string { return "#/" + view + "?range=15m&refresh=0" }},
		"the page over a Prometheus, path taken away": {true, func(t *testing.T, external string) *server {
			return startUI(t, prometheus.URL, "--step", "5m", "--web.external-url", external)
		}, func(view string) string { return f.at(view, "24h") }},
	} {
		t.Run(name, func(t *testing.T) {
			front := httptest.NewUnstartedServer(nil)
			external := "http://" + front.Listener.Addr().String() + "/team/energy"
			behind, err := url.Parse(c.start(t, external+"/").URL)
			if err != nil {
				t.Fatal(err)
			}
			proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(behind)
				r.SetXForwarded()
				r.Out.Host = r.In.Host
				if c.strip {
					r.Out.URL.Path = strings.TrimPrefix(r.In.URL.Path, "/team/energy")
				}
			}, ErrorLog: log.New(io.Discard, "", 0)} // of questions that the page takes back
			mux := http.NewServeMux() // whatever is asked for elsewhere is not there
			mux.Handle("/team/energy/", proxy)
			front.Config.Handler = mux
			front.Start()
			t.Cleanup(front.Close)

			resp, err := http.Get(external + "/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := resp.Header.Get("Content-Security-Policy"); resp.StatusCode != http.StatusOK || got != policy {
				t.Errorf("%s, with the policy %q", resp.Status, got)
			}
			b := open(t, external, desktop)
			for _, v := range views() {
				b.visit(c.hash(v))
				if words := b.texts(".trouble"); len(words) > 0 {
					t.Errorf("%s: %q", v, words)
				}
				if b.count("[data-panel]") == 0 {
					t.Errorf("%s: nothing is there", v)
				}
			}
			b.click(`nav[aria-label=Views] a[href^="#/overview"]`)
			b.until("the overview", `location.pathname === '/team/energy/' && location.hash.startsWith('#/overview')`)
			b.settle()
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, u := range b.asked {
				if !strings.HasPrefix(u, external+"/") && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "blob:") && u != "about:blank" {
					t.Errorf("the page asks for %s", u)
				}
			}
		})
	}
}

// webConfig makes a web configuration with a certificate that nobody vouches for and
// one user, and a client that knows both.
func webConfig(t *testing.T, user, password string) (file string, client *http.Client) {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "noether"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(day), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"web.yml":  fmt.Appendf(nil, "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {%s: %q}\n", user, hash),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own, err := x509.ParseCertificate(certificate)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(own)
	return filepath.Join(dir, "web.yml"), &http.Client{Transport: &withPassword{user, password, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}}
}

// withPassword adds a name and a password to requests; none if the name is empty.
type withPassword struct {
	user, password string
	next           http.RoundTripper
}

func (w *withPassword) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if w.user != "" {
		r.SetBasicAuth(w.user, w.password)
	}
	return w.next.RoundTrip(r)
}

// TestPasswordAndCertificate: with --web.config-file every path of the page is
// behind TLS and a password, and a browser that has been given it shows every view.
func TestPasswordAndCertificate(t *testing.T) {
	const user, password = "ada", "not-to-be-told"
	file, client := webConfig(t, user, password)
	f := theFleet(t)
	prometheus := startPrometheus(t, "", f.data)
	at := func() string { return "https://" + program.FreeAddress(t) }
	agent, ui := at(), at()
	a := startAt(t, client, agent, "/readyz", binary, "agent", "--listen", strings.TrimPrefix(agent, "https://"), "--interval", "1s", "--store.path", t.TempDir(), "--store.interval", "1s", "--web.config-file", file)
	u := startAt(t, client, ui, "/readyz", binary, "ui", "--prometheus", prometheus.URL, "--step", "5m", "--listen", strings.TrimPrefix(ui, "https://"), "--web.config-file", file)

	transport := client.Transport.(*withPassword).next
	for _, s := range []*server{a, u} {
		for _, path := range []string{"/", "/plain", "/icon.svg", "/metrics", "/api/noether/v1/page", "/api/noether/v1/snapshot", "/api/noether/v1/check", "/api/noether/v1/forecast", "/api/v1/query?query=1", "/api/v1/labels", "/federate"} {
			for name, who := range map[string]*withPassword{"nobody": {"", "", transport}, "a guess": {user, "guess", transport}} {
				resp, err := (&http.Client{Transport: who}).Get(s.URL + path)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic") {
					t.Errorf("%s%s to %s: %s", s.URL, path, name, resp.Status)
				}
			}
		}
		if resp, err := http.Get(strings.Replace(s.URL, "https:", "http:", 1) + "/api/noether/v1/page"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				t.Errorf("%s answers without TLS", s.URL)
			}
		}
		resp, err := client.Get(s.URL + "/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Content-Security-Policy"); resp.StatusCode != http.StatusOK || got != policy {
			t.Errorf("%s, with the policy %q", resp.Status, got)
		}
	}

	for name, c := range map[string]struct {
		server *server
		hash   func(view string) string
	}{
		"an agent":          {a, func(view string) string { return "#/" + view + "?range=15m&refresh=0" }},
		"over a Prometheus": {u, func(view string) string { return f.at(view, "24h") }},
	} {
		t.Run(name, func(t *testing.T) {
			// The browser asks without the password first, and is told to ask for it.
			b := open(t, c.server.URL, desktop, `answer 401`, `status of 401`)
			_, err := chromedp.Call(b.ctx, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true})
			b.must(err)
			b.do(chromedp.Navigate(strings.Replace(c.server.URL, "://", "://"+user+":"+password+"@", 1) + "/" + c.hash("overview")))
			b.settle()
			for _, v := range views() {
				b.click(fmt.Sprintf(`nav[aria-label=Views] a[href^="#/%s"]`, v))
				b.until(v, `location.hash.startsWith('#/' + %s)`, v)
				b.settle()
				if words := b.texts(".trouble"); len(words) > 0 {
					t.Errorf("%s, by an address with the password: %q", v, words)
				}
				b.visit(c.hash(v))
				if words := b.texts(".trouble"); len(words) > 0 || b.count("[data-panel]") == 0 {
					t.Errorf("%s: %q", v, words)
				}
			}
			if log := c.server.Log.String(); strings.Contains(log, password) {
				t.Error("the password is in the log")
			}
		})
	}
}
