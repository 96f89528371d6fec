package promwrite

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// HTTP is how a receiver is reached. Client, URL and Now are required.
type HTTP struct {
	// Client carries credentials, certificates and proxies. Redirects are not
	// followed: a redirected write may become a read that stores nothing.
	Client    *http.Client
	URL       string // without credentials
	UserAgent string
	Tenant    string        // sent as X-Scope-OrgID; "" for none
	Timeout   time.Duration // of one request; 0 is 10 s
	// GiveUp bounds the sum of the waits between tries; 0 is 30 s. The context
	// bounds everything.
	GiveUp time.Duration
	Now    func() time.Time

	// Sleep waits between tries, and Random returns a number in [0, 1). Nil is
	// the real thing; tests set them.
	Sleep  func(ctx context.Context, d time.Duration) error
	Random func() float64
}

// The first wait between two tries, and the longest. Each is shortened by a
// random part of up to a half, so that writers that failed together do not come
// back together.
const (
	firstWait = 500 * time.Millisecond
	maxWait   = 10 * time.Second
)

// maxAnswer is how much of an answer is read: receivers explain in a few lines.
const maxAnswer = 64 << 10

// sender sends requests and repeats those that may succeed the next time.
type sender struct {
	HTTP
	shown string // the URL without credentials and query
}

func newSender(h HTTP) (*sender, error) {
	u, err := url.Parse(h.URL)
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		// The parser's own error would show the URL, and what it may hold.
		return nil, errors.New("the URL to write to is none: give it as http://host:port/path or https://…")
	case u.User != nil:
		return nil, fmt.Errorf("write to %s://%s: the URL holds a user or a password: give them by file or environment", u.Scheme, u.Host)
	}
	client := *h.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	h.Client = &client
	if h.Timeout <= 0 {
		h.Timeout = 10 * time.Second
	}
	if h.GiveUp <= 0 {
		h.GiveUp = 30 * time.Second
	}
	if h.Sleep == nil {
		h.Sleep = sleep
	}
	if h.Random == nil {
		h.Random = rand.Float64
	}
	if h.UserAgent == "" {
		h.UserAgent = "noether"
	}
	return &sender{h, u.Scheme + "://" + u.Host + u.EscapedPath()}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// answer is what a receiver said. Text is bounded and of one line.
type answer struct {
	status int
	header http.Header
	text   string
}

func (a *answer) ok() bool { return a.status/100 == 2 }

// send sends body until there is an answer that another try would not change.
// An answer that is no success is returned like any other. The error names
// the receiver.
func (s *sender) send(ctx context.Context, method, target string, header http.Header, body []byte) (*answer, error) {
	wait, waited := firstWait, time.Duration(0)
	for try := 1; ; try++ {
		a, err := s.once(ctx, method, target, header, body)
		if err == nil && (a.status != http.StatusTooManyRequests && a.status/100 != 5 || remedyFor(a.text) != "") {
			return a, nil
		}
		var problem string
		if err == nil {
			problem = "answers " + describe(a)
		} else {
			problem = describeNetwork(err)
		}
		if ctxErr := ctx.Err(); ctxErr != nil {
			return nil, fmt.Errorf("write to %s: %s (%w)", s.shown, problem, ctxErr)
		}
		if err != nil && !mayPass(err) {
			return nil, fmt.Errorf("write to %s: %s", s.shown, problem)
		}
		next := wait - time.Duration(s.Random()*float64(wait)/2)
		if err == nil {
			next = max(next, retryAfter(a.header, s.Now()))
		}
		if waited+next > s.GiveUp {
			return nil, fmt.Errorf("write to %s: %s, after %s; see whether the receiver is up, or raise give-up-after (%s)", s.shown, problem, tries(try), s.GiveUp)
		}
		if err := s.Sleep(ctx, next); err != nil {
			return nil, fmt.Errorf("write to %s: %s (%w)", s.shown, problem, err)
		}
		waited += next
		wait = min(2*wait, maxWait)
	}
}

func tries(n int) string {
	if n == 1 {
		return "1 try"
	}
	return strconv.Itoa(n) + " tries"
}

func (s *sender) once(ctx context.Context, method, target string, header http.Header, body []byte) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header.Clone()
	req.Header.Set("User-Agent", s.UserAgent)
	if s.Tenant != "" {
		req.Header.Set("X-Scope-OrgID", s.Tenant)
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // the answer was read
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	// What a success goes on to say is of no interest, and what a failure said
	// before it broke off is better than nothing.
	if err != nil && resp.StatusCode/100 != 2 {
		text = append(text, " …"...)
	}
	return &answer{resp.StatusCode, resp.Header, oneLine(string(text))}, nil
}

// oneLine returns the first 500 bytes of an answer as one printable line.
func oneLine(s string) string {
	const limit = 500
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "�"), func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + " …"
	}
	return s
}

// describe words an answer that is no success.
func describe(a *answer) string {
	text := strings.TrimSpace(fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)))
	if a.text != "" {
		text += ": " + a.text
	}
	return text
}

// describeNetwork leaves the URL out of an error of net/http: it may hold a
// secret in its query, and the caller names the receiver.
func describeNetwork(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}

// mayPass tells failures of the network from those that stay: a certificate
// that is not trusted, a server that does not speak TLS, a file that is missing.
func mayPass(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return false
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return false
	}
	// The client may read a password or a certificate from a file.
	return !errors.Is(err, http.ErrSchemeMismatch) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission)
}

// retryAfter returns how long the receiver asks to wait (RFC 9110, section
// 10.2.3), 0 if it does not.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(v, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
