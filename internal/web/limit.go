package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
)

// limited is a listener with at most so many connections open at once. The
// kernel keeps the next ones waiting.
type limited struct {
	net.Listener
	slots chan struct{}
	done  chan struct{}
	once  sync.Once
}

func newLimited(l net.Listener, n int) *limited {
	return &limited{Listener: l, slots: make(chan struct{}, n), done: make(chan struct{})}
}

// Accept waits for a free slot, then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, slots: l.slots}, nil
}

// Close ends Accept.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

// Close frees the slot.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.slots })
	return err
}

// bounded answers at most n requests at once.
func bounded(n int, next http.Handler) http.Handler {
	slots := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests at once: try again in a second", http.StatusServiceUnavailable)
		}
	})
}

// policy is the content security policy of every answer: what the page's own
// files hold may be loaded and run, nothing else, nowhere else, in no frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// secured tells browsers to load, frame and guess nothing.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// foreign refuses what a page of somebody else sends through a browser.
func foreign(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "the request comes from a page of another origin: open this server's own page, or name the address under which it is reached with --web.external-url", http.StatusForbidden)
}

// notFromElsewhere keeps pages of other sites from making a browser ask
// questions that cost something: what they could not read they could still
// start, also in a frame that shows nothing. People may follow links from
// anywhere (https://www.w3.org/TR/fetch-metadata/).
func notFromElsewhere(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asks := strings.HasPrefix(r.URL.Path, "/api/") || r.URL.Path == "/federate" || r.URL.Path == "/metrics"
		link := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
		if asks && r.Header.Get("Sec-Fetch-Site") == "cross-site" && !link {
			foreign(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// below serves next at its own paths and below prefix, whether or not a proxy
// in front takes the prefix away.
func below(prefix string, next http.Handler) http.Handler {
	if prefix == "" {
		return next
	}
	stripped := http.StripPrefix(prefix, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == prefix:
			http.Redirect(w, r, prefix+"/", http.StatusTemporaryRedirect)
		case strings.HasPrefix(r.URL.Path, prefix+"/"):
			stripped.ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// checkHost refuses names that are not this server's, so that a page on the
// web cannot read it through a name of its own that resolves to this machine
// (DNS rebinding). An address is never a rebound name.
func (s *Server) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		external := s.opt.ExternalURL != nil && strings.EqualFold(hostname(r.Host), s.opt.ExternalURL.Hostname())
		if !external && !allowedHost(r.Host, s.opt.AllowedHosts, isLoopback(local)) {
			http.Error(w, "the name in the Host header is not one of this server's: use its address or localhost, or allow the name with --web.allowed-hosts", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// allowedHost tells whether a request with this Host header is answered.
func allowedHost(header string, allowed []string, loopback bool) bool {
	if len(allowed) == 0 && !loopback {
		return true
	}
	host := hostname(header)
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	host = strings.ToLower(host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761, section 6.3
		return true
	}
	for _, a := range allowed {
		if a == "*" || strings.EqualFold(strings.TrimSuffix(a, "."), host) {
			return true
		}
	}
	return false
}

// hostname returns a Host header without its port and the dot of the root.
func hostname(header string) string {
	if h, _, err := net.SplitHostPort(header); err == nil {
		header = h
	}
	return strings.TrimSuffix(header, ".")
}
