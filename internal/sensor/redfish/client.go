package redfish

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"noether/internal/linux"
	"noether/internal/probe"
)

const (
	rootPath     = "/redfish/v1"
	sessionsPath = rootPath + "/SessionService/Sessions"

	timeout       = 10 * time.Second // of one request with the whole answer: BMCs are slow
	farewell      = 2 * time.Second  // of ending a session
	mostBytes     = 1 << 20          // of one answer
	mostRedirects = 3
	mostToken     = 8 << 10
	mostFile      = 1 << 20
)

// client asks one BMC. One goroutine uses it at a time.
type client struct {
	base        *url.URL
	http        *http.Client
	credentials Credentials
	userAgent   string

	// At most one of these two is set: what requests are made with.
	token string
	basic func(*http.Request)
	// session is the path of the session, which is ended on close: BMCs have
	// few, and one that is left behind locks others out until it times out.
	session string
}

// parseURL parses the address of a BMC: https, or http on this machine.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return nil, errors.New("read the address of the BMC: it is no URL: write https://HOST") // the error would quote it
	case u.User != nil:
		return nil, fmt.Errorf("read the address of %s: credentials do not belong into an address: put them into a file", u.Host)
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, fmt.Errorf("read the address of %s: only https is safe (http is for this machine): write https://%[1]s", u.Host)
	case u.RawQuery != "" || u.Fragment != "" || strings.TrimSuffix(u.Path, "/") != "" && strings.TrimSuffix(u.Path, "/") != rootPath:
		return nil, fmt.Errorf("read the address of %s: it has more than a host: write %s://%[1]s", u.Host, u.Scheme)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// newClient returns a client. It opens no connection and reads no file.
func newClient(base *url.URL, caFile, userAgent string, credentials Credentials) *client {
	c := &client{base: base, credentials: credentials, userAgent: userAgent}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		// The verification is ours, not none: see verify.
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(s tls.ConnectionState) error { return verify(s.PeerCertificates, base.Hostname(), caFile) }
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			// No proxy of the environment: a BMC is in a network of its own, and
			// its password is for nobody between.
			DialContext:            (&net.Dialer{Timeout: timeout / 2}).DialContext,
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    timeout / 2,
			MaxConnsPerHost:        1,
			IdleConnTimeout:        2 * time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
		CheckRedirect: c.redirect,
	}
	return c
}

// verify accepts a certificate that the file holds itself, whatever its names
// and dates say, since most BMCs make theirs themselves; and those that an
// authority in the file has signed for this host. The file is read at each
// handshake: certificates are renewed.
func verify(chain []*x509.Certificate, host, file string) error {
	if len(chain) == 0 {
		return errors.New("it shows no certificate")
	}
	text, err := linux.ReadFile(file, mostFile)
	if err != nil {
		return &fileError{fmt.Errorf("read the certificates of the BMC: %w", err)}
	}
	roots, some := x509.NewCertPool(), false
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		known, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			continue
		}
		if known.Equal(chain[0]) {
			return nil
		}
		roots.AddCert(known)
		some = true
	}
	if !some {
		return &fileError{fmt.Errorf("read the certificates of the BMC in %s: there is none in it: write it in PEM", file)}
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
	return err
}

// fileError is a fault of a file of this machine, not of the BMC.
type fileError struct{ error }

func (e *fileError) Unwrap() error { return e.error }

type refused struct{ why string }

func (r *refused) Error() string { return r.why }

// redirect lets a request follow to the same host by the same way. A token is
// never seen by anybody else.
func (c *client) redirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > mostRedirects:
		return &refused{"it redirects again and again"}
	case req.URL.Host != c.base.Host || req.URL.Scheme != c.base.Scheme:
		return &refused{"it redirects to another place, which is not asked"}
	}
	return nil
}

// statusError is an answer with a status that is none of success.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", e.code, http.StatusText(e.code)))
}

// missing tells that this one resource is not to be had, which says nothing
// about others.
func missing(err error) bool {
	s, ok := errors.AsType[*statusError](err)
	return ok && (s.code == http.StatusNotFound || s.code == http.StatusForbidden || s.code == http.StatusMethodNotAllowed || s.code == http.StatusGone || s.code == http.StatusNotImplemented)
}

// get returns the document at a path. It logs in first, and again if the
// session has ended meanwhile.
func (c *client) get(ctx context.Context, path string) ([]byte, error) {
	if c.credentials != nil && c.token == "" && c.basic == nil {
		if err := c.login(ctx); err != nil {
			return nil, c.failure(ctx, sessionsPath, err)
		}
	}
	body, _, err := c.do(ctx, http.MethodGet, path, nil)
	if s, ok := errors.AsType[*statusError](err); ok && s.code == http.StatusUnauthorized && c.token != "" {
		c.token, c.session = "", ""
		if err := c.login(ctx); err != nil {
			return nil, c.failure(ctx, sessionsPath, err)
		}
		body, _, err = c.do(ctx, http.MethodGet, path, nil)
	}
	if err != nil {
		return nil, c.failure(ctx, path, err)
	}
	return body, nil
}

// document asks for a path and decodes the answer into dst.
func (c *client) document(ctx context.Context, path string, dst any) error {
	body, err := c.get(ctx, path)
	if err != nil {
		return err
	}
	if err := decode(body, dst); err != nil {
		return c.broken(path, err)
	}
	return nil
}

// login makes a session (DSP0266, 13.3.4), or turns to basic authentication
// where the BMC has no sessions, or none left.
func (c *client) login(ctx context.Context) error {
	c.basic = nil
	user, password, err := c.credentials()
	if err != nil {
		return &fileError{err}
	}
	body, err := json.Marshal(map[string]string{"UserName": user, "Password": password})
	if err != nil {
		return errors.New("the user or password is no text")
	}
	_, header, err := c.do(ctx, http.MethodPost, sessionsPath, body)
	if s, ok := errors.AsType[*statusError](err); ok && s.code != http.StatusUnauthorized && s.code != http.StatusForbidden {
		err = nil
	}
	if err != nil {
		return err
	}
	token := header.Get("X-Auth-Token")
	if token == "" || len(token) > mostToken {
		c.basic = func(r *http.Request) { r.SetBasicAuth(user, password) }
		return nil
	}
	c.token = token
	c.session = ""
	if at, err := c.base.Parse(header.Get("Location")); err == nil && at.Host == c.base.Host && at.Scheme == c.base.Scheme {
		if p, ok := (link{at.Path}).path(); ok {
			c.session = p
		}
	}
	return nil
}

// do makes one request and returns the whole answer.
func (c *client) do(ctx context.Context, method, path string, body []byte) ([]byte, http.Header, error) {
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(within, method, c.base.String()+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, errors.New("it is no address that can be asked")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("OData-Version", "4.0")
	req.Header.Set("User-Agent", c.userAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	switch {
	case c.token != "":
		req.Header.Set("X-Auth-Token", c.token)
	case c.basic != nil:
		c.basic(req)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it is read, or of no use
	answer, err := io.ReadAll(io.LimitReader(resp.Body, mostBytes+1))
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return nil, nil, &statusError{resp.StatusCode} // what it says is left out: some repeat the request
	case len(answer) > mostBytes:
		return nil, nil, &refused{fmt.Sprintf("the answer is larger than %d KiB, which is refused", mostBytes>>10)}
	case err != nil:
		return nil, nil, err
	}
	return answer, resp.Header, nil
}

// close ends the session and the connections. It has a time limit of its own:
// it is for when everything else has ended.
func (c *client) close() {
	if c.session != "" && c.token != "" {
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		_, _, _ = c.do(ctx, http.MethodDelete, c.session, nil) // else it times out by itself
	}
	c.token, c.session, c.basic = "", "", nil
	c.http.CloseIdleConnections()
}

// broken is an answer that cannot be used.
func (c *client) broken(path string, err error) error {
	return &probe.Error{Status: probe.Broken, Remedy: "is this the address of a BMC with Redfish? curl -k " + c.base.String() + rootPath, Err: c.asked(path, err)}
}

func (c *client) asked(path string, err error) error {
	return fmt.Errorf("ask %s for %s: %w", c.base.Host, path, err)
}

// failure says why a request was not answered, and what helps. Errors of the
// standard library quote addresses, so none is wrapped whole.
func (c *client) failure(ctx context.Context, path string, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	status, remedy := probe.Broken, ""
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var dns *net.DNSError
	if ctx.Err() != nil {
		return c.asked(path, ctx.Err())
	}
	if f, ok := errors.AsType[*fileError](err); ok {
		if errors.Is(f, fs.ErrPermission) {
			status = probe.Forbidden
		}
		return &probe.Error{Status: status, Remedy: "see --redfish.credentials-file and --redfish.ca-file", Err: f.error}
	}
	if s, ok := errors.AsType[*statusError](err); ok {
		if s.code == http.StatusUnauthorized || s.code == http.StatusForbidden {
			status = probe.Forbidden
			remedy = "an account of the BMC with the role ReadOnly, as user:password in --redfish.credentials-file"
			err = fmt.Errorf("it refuses who asks: %w", s)
		}
		return &probe.Error{Status: status, Remedy: remedy, Err: c.asked(path, err)}
	}
	trust := "keep the BMC's certificate, or its authority's, in --redfish.ca-file: openssl s_client -connect " + hostPort(c.base) + " </dev/null | openssl x509 > bmc.pem"
	reach := "is --redfish.url right, and does a way lead from here to the BMC? curl -k " + c.base.String() + rootPath
	why := "it does not answer as a web server does"
	switch r, isRefused := errors.AsType[*refused](err); {
	case isRefused:
		why = r.why
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		why, remedy = fmt.Sprintf("no whole answer within %s", timeout), reach
	case errors.Is(err, syscall.ECONNREFUSED):
		why, remedy = "connection refused", reach
	case errors.As(err, &dns):
		why, remedy = "its name cannot be resolved", reach
	case errors.As(err, &unknown):
		why, remedy = "its certificate is signed by an unknown authority", trust
	case errors.As(err, &host):
		why, remedy = "its certificate is for another name", trust
	case errors.As(err, &invalid):
		why, remedy = "its certificate is not valid: has it expired, or is a clock wrong?", trust
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		why, remedy = "there is no way to it", reach
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		why = "it closed the connection before the answer was whole"
	case strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		why = "it does not speak TLS"
	}
	return &probe.Error{Status: status, Remedy: remedy, Err: c.asked(path, errors.New(why))}
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), "443")
}
