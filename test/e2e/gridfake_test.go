package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	mapsHost = "api.electricitymaps.com"
	wattHost = "api.watttime.org"
)

// providers stand for the services on the internet: real TLS under their real
// names, reached through a real proxy, so that the program needs no hook. What
// asks for anybody else is refused, and remembered.
type providers struct {
	t       *testing.T
	env     []string // that leads a process to them
	key     string   // of Electricity Maps
	account string   // of WattTime, user:password

	mu        sync.Mutex
	intensity map[string]float64 // by zone, what Electricity Maps says
	estimated bool
	limited   bool // it says 429
	asked     map[string]int
	strangers []string // hosts that nobody has a reason to ask
}

func newProviders(t *testing.T) *providers {
	t.Helper()
	f := &providers{
		t: t, key: "em-key-6d8f0c1e5a", account: "watt-user:wt-pass-93b1d07c4f",
		intensity: map[string]float64{}, asked: map[string]int{},
	}
	authority, certificate := certificates(t, mapsHost, wattHost)
	service := httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	service.Config.ErrorLog = nil
	service.StartTLS()
	t.Cleanup(service.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.connect(w, r, service.Listener.Addr().String()) }))
	t.Cleanup(proxy.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, authority, 0o600); err != nil {
		t.Fatal(err)
	}
	f.env = []string{"HTTPS_PROXY=" + proxy.URL, "NO_PROXY=", "SSL_CERT_FILE=" + ca}
	t.Cleanup(func() {
		if s := f.others(); len(s) > 0 {
			t.Errorf("hosts were asked that are in no chain: %v", s)
		}
	})
	return f
}

// certificates returns an authority and a certificate that it signed for hosts.
func certificates(t *testing.T, hosts ...string) (authority []byte, certificate tls.Certificate) {
	t.Helper()
	sign := func(template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: hosts[0]}, NotBefore: from, NotAfter: to, DNSNames: hosts}
	rootKey, leafKey := newKey(), newKey()
	der := sign(leaf, root, leafKey, rootKey)
	authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sign(root, root, rootKey, rootKey)})
	return authority, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: leafKey}
}

// connect is the proxy: a tunnel to the service for its names only.
func (f *providers) connect(w http.ResponseWriter, r *http.Request, service string) {
	if r.Method != http.MethodConnect || !slices.Contains([]string{mapsHost + ":443", wattHost + ":443"}, r.Host) {
		f.mu.Lock()
		f.strangers = append(f.strangers, r.Method+" "+r.Host)
		f.mu.Unlock()
		http.Error(w, "not here", http.StatusForbidden)
		return
	}
	there, err := net.Dial("tcp", service)
	if err != nil {
		http.Error(w, "gone", http.StatusBadGateway)
		return
	}
	here, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		there.Close()
		return
	}
	io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		io.Copy(there, here)
		there.Close()
	}()
	go func() {
		io.Copy(here, there)
		here.Close()
	}()
}

func (f *providers) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[r.Host+r.URL.Path+" "+r.URL.Query().Get("zone")]++
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Host == wattHost:
		if r.Header.Get("Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(f.account)) {
			f.refuse(w, r)
			return
		}
		json.NewEncoder(w).Encode(map[string]string{"token": "wt-session-77aa"})
	case r.Header.Get("auth-token") != f.key:
		f.refuse(w, r)
	case f.limited:
		w.Header().Set("Retry-After", "3600")
		http.Error(w, `{"error":"too many requests"}`, http.StatusTooManyRequests)
	default:
		f.maps(w, r)
	}
}

// refuse says what was sent, as some servers do.
func (f *providers) refuse(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprintf(w, `{"status":"error","message":"invalid %s %s"}`, r.Header.Get("auth-token"), r.Header.Get("Authorization"))
}

// maps answers as version 3 of Electricity Maps does
// (https://app.electricitymaps.com/developer-hub/api/reference).
func (f *providers) maps(w http.ResponseWriter, r *http.Request) {
	type point struct {
		Zone      string  `json:"zone"`
		Intensity float64 `json:"carbonIntensity"`
		Datetime  string  `json:"datetime"`
		Factor    string  `json:"emissionFactorType"`
		Estimated bool    `json:"isEstimated"`
		Length    string  `json:"temporalGranularity"`
	}
	zone, factor := r.URL.Query().Get("zone"), r.URL.Query().Get("emissionFactorType")
	value, ok := f.intensity[zone]
	hour := time.Now().UTC().Truncate(time.Hour)
	at := func(h int, v float64) point {
		return point{zone, v, hour.Add(time.Duration(h) * time.Hour).Format("2006-01-02T15:04:05.000Z"), factor, f.estimated, "hourly"}
	}
	list := func(name string, from, to int) map[string]any {
		var points []point
		for h := from; h <= to; h++ {
			points = append(points, at(h, value))
		}
		return map[string]any{"zone": zone, "temporalGranularity": "hourly", name: points}
	}
	var answer any
	switch path := strings.TrimPrefix(r.URL.Path, "/v3/"); {
	case path == "zones":
		answer = map[string]any{"DE": map[string]any{"zoneName": "Germany", "access": []string{"carbon-intensity/latest"}}}
	case !ok:
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"message":"Access denied"}`)
		return
	case path == "carbon-intensity/latest":
		answer = at(0, value)
	case path == "carbon-intensity/history":
		answer = list("history", -23, 0)
	case path == "carbon-intensity/past-range":
		answer = list("data", -48, -24)
	case path == "carbon-intensity/forecast":
		answer = list("forecast", 0, 24)
	default:
		http.NotFound(w, r)
		return
	}
	json.NewEncoder(w).Encode(answer)
}

func (f *providers) set(zone string, v float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.intensity[zone] = v
}

// requests returns how many had a path that ends so, about a zone.
func (f *providers) requests(path, zone string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for what, count := range f.asked {
		if strings.HasSuffix(what, path+" "+zone) {
			n += count
		}
	}
	return n
}

func (f *providers) others() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.strangers)
}

// tokenFile writes a secret into a file of its own, as editors leave it.
func tokenFile(t *testing.T, secret string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
