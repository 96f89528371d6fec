// Package fetch asks web services for small JSON or XML documents as one asks
// strangers: over verified TLS, within a deadline that covers the whole answer,
// reading no more than a bounded number of bytes, following no redirect to
// another host, and never showing a header or the value of a query in an error.
//
// It refuses to retry, to wait and to cache: that is for the caller to plan.
package fetch

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"noether/internal/grid"
)

// Options say whom to ask and how.
type Options struct {
	Base      string            // address, with a path if the API has one; https unless the host is this machine
	Plain     bool              // http will do for other hosts too: for what is public inside one's own network
	Transport http.RoundTripper // a transport of its own with verified TLS and the environment's proxy if nil
	Timeout   time.Duration     // of one request with its redirects and the whole answer, 10 s if 0
	MaxBytes  int64             // of one answer, also when unpacked, 4 MiB if 0
	UserAgent string            // "noether" if empty
	Now       func() time.Time  // time.Now if nil; reads Retry-After as a date
}

// Client asks one host. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	http      *http.Client
	timeout   time.Duration
	maxBytes  int64
	userAgent string
	now       func() time.Time
}

// mostRedirects is more than an API has a use for.
const mostRedirects = 3

// MaxRetryAfter is the longest wait that a server is believed to mean.
const MaxRetryAfter = 24 * time.Hour

// New returns a client. It opens no connection.
func New(o Options) (*Client, error) {
	base, err := parseURL(o.Base, o.Plain)
	if err != nil {
		return nil, err
	}
	if base.Path == "" {
		base.Path = "/"
	}
	c := &Client{
		base:      base,
		timeout:   cmp.Or(o.Timeout, 10*time.Second),
		maxBytes:  cmp.Or(o.MaxBytes, 4<<20),
		userAgent: cmp.Or(o.UserAgent, "noether"),
		now:       o.Now,
	}
	if c.now == nil {
		c.now = time.Now //nolint:forbidigo // the clock, unless a test has another
	}
	transport := o.Transport
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        30 * time.Second,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // we ask for it and bound what comes out
		}
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: c.redirect}
	return c, nil
}

// parseURL parses the address of a server: https, or http on this machine, and
// elsewhere too if plain is set. Errors show no credentials.
func parseURL(s string, plain bool) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("read the address of a server: it is no URL: write https://HOST") // the error would quote it
	}
	if u.User != nil {
		return nil, fmt.Errorf("read the address of %s: credentials do not belong into an address: put them into a file", u.Host)
	}
	switch {
	case u.Hostname() == "":
		return nil, errors.New("read the address of a server: it has no host: write https://HOST")
	case u.Scheme != "https" && (u.Scheme != "http" || !plain && !loopback(u.Hostname())):
		return nil, fmt.Errorf("read the address of %s: only https is safe (http is for this machine): write https://%[1]s", u.Host)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("read the address of %s: it has a query: give the address without it", u.Host)
	}
	return u, nil
}

// Loopback tells whether nothing that is sent to u leaves this machine.
func Loopback(u *url.URL) bool { return loopback(u.Hostname()) }

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// URL returns the server's address; it holds no credentials.
func (c *Client) URL() string { return c.base.String() }

// Close closes connections that wait for a next request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

type refused struct{ why string }

func (r *refused) Error() string { return r.why }

// redirect lets a request follow to the same host by the same or a safer way.
// A header with a token is never seen by anybody else.
func (c *Client) redirect(req *http.Request, via []*http.Request) error {
	from := via[len(via)-1].URL
	switch {
	case len(via) > mostRedirects:
		return &refused{"it redirects again and again"}
	case from.Scheme == "https" && req.URL.Scheme != "https":
		return &refused{"it redirects away from https: nothing is sent in the clear"}
	case req.URL.Host != c.base.Host:
		return &refused{"it redirects to another host, " + Quote(req.URL.Host, 100) + ", which is not asked: has the service moved?"}
	}
	return nil
}

// Get asks for path below the base and returns the body. The deadline of ctx
// holds if it is nearer than the client's own.
func (c *Client) Get(ctx context.Context, path string, query url.Values, header http.Header) ([]byte, error) {
	body, err := c.get(ctx, path, query, header)
	if err != nil {
		return nil, fmt.Errorf("ask %s for %s: %w", c.base.Host, c.name(path), err)
	}
	return body, nil
}

// JSON asks like Get and decodes the one JSON value of the answer into dst.
// Fields that dst does not have are passed over.
func (c *Client) JSON(ctx context.Context, path string, query url.Values, header http.Header, dst any) error {
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if header.Get("Accept") == "" {
		header.Set("Accept", "application/json")
	}
	body, err := c.Get(ctx, path, query, header)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, dst); err != nil {
		return fmt.Errorf("ask %s for %s: %w", c.base.Host, c.name(path), wrong(body, err))
	}
	return nil
}

// wrong words why a body is not the JSON that was asked for.
func wrong(body []byte, err error) error {
	if html(body) {
		return errHTML
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		if strings.Contains(s.Error(), "unexpected end") {
			return errors.New("the answer is cut short: its JSON has no end")
		}
		return fmt.Errorf("the answer is not JSON: %s at byte %d", Quote(s.Error(), 80), s.Offset)
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("the answer is not of the shape that is documented: the type of field %q is %s", Quote(t.Field, 80), Quote(t.Value, 20))
	}
	return fmt.Errorf("the answer cannot be read: %s", Quote(err.Error(), 100))
}

var errHTML = errors.New("the answer is a page of HTML, not data: is there a proxy or a login page between?")

func html(body []byte) bool {
	start := bytes.ToLower(bytes.TrimLeft(body[:min(len(body), 512)], " \t\r\n\ufeff"))
	return bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}

// name is a path as errors show it: without a query.
func (c *Client) name(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return Quote(c.base.JoinPath(path).Path, 200)
}

func (c *Client) get(ctx context.Context, path string, query url.Values, header http.Header) ([]byte, error) {
	within, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(within, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, errors.New("it is no address that can be asked")
	}
	for name, values := range header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.network(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it is read, or of no use
	if resp.StatusCode != http.StatusOK {
		return nil, c.status(resp)
	}
	return c.read(ctx, resp)
}

func (c *Client) read(ctx context.Context, resp *http.Response) ([]byte, error) {
	if resp.ContentLength > c.maxBytes {
		return nil, c.tooLarge()
	}
	from := io.LimitReader(resp.Body, c.maxBytes+1)
	switch encoding := strings.ToLower(resp.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip":
		unpacked, err := gzip.NewReader(from)
		if err != nil {
			return nil, c.broken(ctx, err)
		}
		from = unpacked
	default:
		return nil, fmt.Errorf("the answer is packed in a way that was not asked for: %s", Quote(encoding, 20))
	}
	body, err := io.ReadAll(io.LimitReader(from, c.maxBytes+1))
	switch {
	case int64(len(body)) > c.maxBytes:
		return nil, c.tooLarge()
	case err != nil:
		return nil, c.broken(ctx, err)
	case len(bytes.TrimSpace(body)) == 0:
		return nil, fmt.Errorf("the answer is empty: %w", grid.ErrNoData)
	}
	return body, nil
}

func (c *Client) tooLarge() error {
	return fmt.Errorf("the answer is larger than %d KiB, which is refused", c.maxBytes>>10)
}

func (c *Client) broken(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return errors.New("the answer cannot be unpacked")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the answer is cut short")
	}
	return c.network(ctx, err)
}

// status makes an error of an answer that is none.
func (c *Client) status(resp *http.Response) error {
	said := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: %w", &StatusError{Status: resp.StatusCode}, grid.ErrUnauthorized)
	case http.StatusNotFound, http.StatusNoContent, http.StatusGone:
		return fmt.Errorf("%s: %w", said, grid.ErrNoData)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%s: %w", said, &grid.LimitedError{RetryAfter: RetryAfter(resp.Header.Get("Retry-After"), c.now())})
	}
	// What the server says is left out: some repeat the request, token and all.
	return &StatusError{Status: resp.StatusCode}
}

// StatusError is an answer with a status that has no kind of its own, or one of
// the two, 401 and 403, that a caller may have to tell from each other.
type StatusError struct{ Status int }

func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
}

// RetryAfter reads the header of this name, in seconds or as a date (RFC 9110,
// 10.2.3). It is 0 for what is neither or has passed, and at most MaxRetryAfter.
func RetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if s, err := strconv.ParseFloat(value, 64); err == nil {
		if !(s > 0) { // also NaN
			return 0
		}
		return time.Duration(math.Min(math.Ceil(s), MaxRetryAfter.Seconds())) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}

// network makes an error of a request that was not answered. Errors of the
// standard library quote the address with its query, so none is wrapped whole.
func (c *Client) network(ctx context.Context, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	if r, ok := errors.AsType[*refused](err); ok {
		return r
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return fmt.Errorf("no whole answer within %s", c.timeout)
	case viaProxy(err):
		return c.proxy(ctx, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused")
	case errors.As(err, &dns):
		return errors.New("its name cannot be resolved: is there a network, and a name server?")
	case errors.As(err, &unknown):
		return errors.New("its certificate is signed by an unknown authority")
	case errors.As(err, &host):
		return errors.New("its certificate is for another name")
	case errors.As(err, &invalid):
		return errors.New("its certificate is not valid: has it expired, or is this machine's clock wrong?")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return errors.New("it closed the connection before the answer was whole")
	case strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return errors.New("it does not speak TLS")
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return errors.New("there is no way to it: is there a network?")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("the network says: %s", Quote(op.Err.Error(), 100))
	}
	return errors.New("it did not answer as a web server does")
}

// viaProxy tells whether the way to a proxy failed, or the proxy refuses: the
// standard library has for the latter the words of the status alone.
func viaProxy(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "proxyconnect" {
		return true
	}
	return err.Error() == http.StatusText(http.StatusProxyAuthRequired)
}

// proxy words why the proxy of the environment is no way to the server. Its
// address may hold credentials and is left out.
func (c *Client) proxy(ctx context.Context, err error) error {
	const advice = "is HTTPS_PROXY right, or does this host belong into NO_PROXY?"
	op, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return errors.New("the proxy of the environment refuses its credentials: " + advice)
	}
	return fmt.Errorf("the proxy of the environment cannot be reached: %w: %s", c.network(ctx, op.Err), advice)
}

// Quote returns text of strangers as one short line of valid UTF-8.
func Quote(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) { // also what terminals take for commands is not
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "\ufffd"))
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
