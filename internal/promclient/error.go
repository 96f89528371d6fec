package promclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
)

// What a caller may want to tell apart with errors.Is.
var (
	// ErrTooMuch: the answer is larger than the server or this client allows;
	// ask for less at a time.
	ErrTooMuch = errors.New("the answer is too large")
	// ErrDenied: the server wants other credentials.
	ErrDenied = errors.New("access denied")
	// ErrQuery: the server does not understand the query.
	ErrQuery = errors.New("the query is wrong")
)

// Error is a request that brought no answer.
type Error struct {
	URL    string // without credentials
	Query  string
	Status int    // of HTTP; 0 if there was no answer
	Type   string // errorType of the API's own JSON; "" if the answer was none
	Text   string // what the server said, or what the network did
	Advice string // what to do about it; may be empty
	Kind   error  // one of the errors above, or nil
	Cause  error  // may be nil

	lasting bool // no use in asking again
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ask Prometheus at %s: ", e.URL)
	if e.Status != 0 {
		fmt.Fprintf(&b, "%d %s: ", e.Status, http.StatusText(e.Status))
	}
	b.WriteString(e.Text)
	if e.Query != "" {
		fmt.Fprintf(&b, " (query %s)", shorten(e.Query, 300))
	}
	if e.Advice != "" {
		b.WriteString(": ")
		b.WriteString(e.Advice)
	}
	return b.String()
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Cause} }

func shorten(s string, most int) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\ufffd")), " ")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// answer makes an error of an answer that is none; body is the beginning of it.
func (c *Client) answer(e *Error, resp *http.Response, body []byte) *Error {
	e.Status = resp.StatusCode
	hidden := hider(resp.Request)
	var said struct{ ErrorType, Error string }
	if json.Unmarshal(body, &said) == nil && said.Error != "" {
		e.Type, e.Text = shorten(hidden.Replace(said.ErrorType), 40), shorten(hidden.Replace(said.Error), 500)
	} else {
		e.Text = shorten(hidden.Replace(string(body)), 200)
	}
	if e.Text == "" {
		e.Text = "no explanation"
	}
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e.Kind, e.Advice = ErrDenied, c.credentials.advice()
		if strings.Contains(e.Text, "no org id") { // as Mimir, Loki and Cortex say it
			e.Advice = "set " + cmp.Or(c.credentials.prefix, "PROMETHEUS") + "_TENANT to the tenant"
		}
	case status == http.StatusRequestEntityTooLarge, tooMuch(status, said.ErrorType, e.Text):
		e.Kind, e.Advice = ErrTooMuch, "ask for less: a shorter window, a longer step, fewer series"
	case status == http.StatusBadRequest:
		e.Kind = ErrQuery
	case status == http.StatusNotFound:
		e.Advice = "is this the address of a Prometheus? Some need a path, such as /prometheus or /select/0/prometheus"
	case status/100 == 3:
		e.Text = "it redirects to " + shorten(hidden.Replace(resp.Header.Get("Location")), 200)
		e.Advice = "use the address that it redirects to"
	}
	return e
}

// hider returns what takes the credentials of a request, as they were sent,
// out of a text: some servers repeat what they refuse.
func hider(sent *http.Request) *strings.Replacer {
	var pairs []string
	if sent != nil {
		_, password, _ := sent.BasicAuth()
		_, token, _ := strings.Cut(sent.Header.Get("Authorization"), " ")
		for _, secret := range []string{token, password} {
			if secret != "" {
				pairs = append(pairs, secret, "***")
			}
		}
	}
	return strings.NewReplacer(pairs...)
}

// tooMuch tells a query over a limit from one that is wrong. Prometheus says
// 422 execution or 503 timeout, others 400 or 422 with words of their own.
func tooMuch(status int, kind, text string) bool {
	if kind == "timeout" {
		return true
	}
	if status != http.StatusUnprocessableEntity && status != http.StatusBadRequest && status != http.StatusServiceUnavailable {
		return false
	}
	text = strings.ToLower(text)
	for _, words := range []string{"too many samples", "too many points", "maximum resolution", "max number of", "maximum number of", "exceeds the limit", "limit exceeded", "exceeded", "err-mimir-max", "maxsamples", "maxpoints"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// network makes an error of a request that was not answered.
func (c *Client) network(e *Error, err error) *Error {
	e.Cause = err
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	p := c.credentials.prefix
	if p == "" {
		p = "PROMETHEUS"
	}
	switch {
	case errors.Is(err, context.Canceled):
		e.Text = "the run was stopped"
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		e.Text = "no answer within " + c.timeout.String()
		e.Advice = "is the server busy, or a firewall between?"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Text = "connection refused"
		e.Advice = "is it running, and is this its address and port?"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		e.Text = "it closed the connection before its answer was complete"
		e.Advice = "look at its log, and at that of a proxy in front of it"
	case errors.As(err, &dns):
		e.Text = fmt.Sprintf("the name %q cannot be resolved", dns.Name)
		e.Advice = "look at the address"
	case errors.As(err, &unknown):
		e.lasting = true
		e.Text = "its certificate is signed by an unknown authority"
		e.Advice = "put the authority's certificate into a file and name it in " + p + "_CA_FILE"
	case errors.As(err, &host):
		e.lasting = true
		e.Text = "its certificate is for another name: " + shorten(host.Error(), 200)
		e.Advice = "use the name in the certificate, or set " + p + "_SERVER_NAME"
	case errors.As(err, &invalid):
		e.lasting = true
		e.Text = "its certificate is not valid: " + shorten(invalid.Error(), 200)
	case errors.As(err, &record), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		e.lasting = true
		e.Text = "it does not speak TLS"
		e.Advice = "use http:// in its address"
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls"):
		e.lasting = true
		e.Text = "it refuses our TLS: " + shorten(err.Error(), 200)
		e.Advice = "it may want a client certificate: set " + p + "_CERT_FILE and " + p + "_KEY_FILE"
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		e.lasting = true
		e.Text = shorten(err.Error(), 300)
		e.Advice = "a file named in the environment (" + p + "_…_FILE) cannot be read"
	default:
		e.Text = shorten(err.Error(), 300)
	}
	return e
}
