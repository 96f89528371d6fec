// Package web serves the agent over HTTP: metrics, health, the page for people,
// what the page asks for as JSON, and the Prometheus API of whoever answers it.
// Everything it shows comes from a finished tick.
//
// It refuses to measure, to write anything, to serve a debugger, to let a
// browser load or run anything that is not the page's own, and to answer
// without bound: connections, requests at once, header sizes and times are limited.
package web

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"

	"noether/internal/export"
	"noether/internal/export/prometheus"
	"noether/internal/snapshot"
)

// Limits of what clients may take.
const (
	maxConnections = 512
	maxRequests    = 64 // at once; the next one is told to come back
	maxLines       = 8  // of those for JSON, whose lines are not shared as pages are
	maxQueries     = 32 // of those for the Prometheus API, which has limits of its own
	maxHeader      = 16 << 10
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 3 * time.Minute // longer than usual scrape intervals
	stopTimeout    = 5 * time.Second // for requests under way when the server stops
	healthAtLeast  = time.Second     // a shorter silence never makes the agent unhealthy
)

// Options say what to serve, and where.
type Options struct {
	// Listen has the addresses, as host:port; port 0 takes any that is free.
	Listen []string
	// ConfigFile is a web configuration in the format that Prometheus exporters
	// share: TLS and basic authentication. Empty means plain HTTP.
	ConfigFile string
	// AllowedHosts has names that clients may use for this server besides
	// addresses and localhost. While it is empty, only connections over
	// loopback are held to that: there a browser could be led astray by a
	// name that resolves to 127.0.0.1.
	AllowedHosts []string
	// ExternalURL is the address under which people reach this server, nil if
	// that is not known. Its host is allowed, what it sends is trusted as the
	// page's own, and everything is also served below its path.
	ExternalURL *url.URL
	// Snapshot returns the newest snapshot, or nil before the first. It is nil
	// on a server that measures nothing: that has no metrics and no snapshot.
	Snapshot func() *snapshot.Snapshot
	// Files are those of the page, index.html among them. They do not change.
	Files fs.FS
	// API answers the Prometheus API, /api/v1/ and /federate. While it is nil,
	// NoAPI says why nobody does.
	API   http.Handler
	NoAPI string
	// Page, Check and Forecast are what /api/noether/v1/{page,check,forecast}
	// answer; nil where there is no such thing.
	Page, Check, Forecast Document
	About                 export.About
	Interval              time.Duration // of ticks, by which health is judged
	Now                   func() time.Time
	Log                   *slog.Logger
}

// Server is an HTTP server. Run it once.
type Server struct {
	opt         Options
	handler     http.Handler
	started     time.Time
	stopTimeout time.Duration
	listeners   []net.Listener
	lines       sync.Pool // of *[]byte, for JSON
}

// Document returns a value that is answered as JSON, or an error that says, to
// the one who asked, why there is none: one that is ErrNotYet if asking again
// helps. Any number of goroutines call it.
type Document func() (any, error)

// ErrNotYet ends the error of a Document that there will be: the answer is 503
// and says when to ask again. Others are 404.
var ErrNotYet = errors.New("ask again in a few seconds")

// New returns a server, or an error if its configuration cannot be used.
func New(opt Options) (*Server, error) {
	mux := http.NewServeMux()
	s, err := NewFor(opt, notFromElsewhere(mux))
	if err != nil {
		return nil, err
	}
	if opt.Snapshot != nil {
		mux.Handle("/metrics", prometheus.NewPage(opt.Snapshot, opt.About))
		mux.Handle("/api/noether/v1/snapshot", bounded(maxLines, get(s.snapshot)))
	}
	for name, document := range map[string]Document{"page": opt.Page, "check": opt.Check, "forecast": opt.Forecast} {
		if document != nil {
			mux.Handle("/api/noether/v1/"+name, bounded(maxLines, get(answer(document))))
		}
	}
	mux.HandleFunc("/api/", s.nothing)
	api := http.Handler(http.HandlerFunc(s.noAPI))
	if opt.API != nil {
		api = bounded(maxQueries, opt.API)
	}
	mux.Handle("/api/v1/", api)
	mux.Handle("/federate", api)
	mux.Handle("/healthz", get(s.healthz))
	mux.Handle("/readyz", get(s.readyz))
	mux.Handle("/plain", get(s.plain))
	mux.Handle("/plain.css", get(plainStyle))
	files, err := newFiles(opt.Files)
	if err != nil {
		return nil, err
	}
	mux.Handle("/", get(files.serve))
	return s, nil
}

// NewFor returns a server of something else than an agent's pages, behind the
// same limits. Of the options it uses Listen, ConfigFile, AllowedHosts,
// ExternalURL, Now and Log.
func NewFor(opt Options, handler http.Handler) (*Server, error) {
	if len(opt.Listen) == 0 {
		return nil, errors.New("serve HTTP: no address to listen on: give one with --listen")
	}
	if err := toolkit.Validate(opt.ConfigFile); err != nil {
		return nil, fmt.Errorf("read web configuration %q: %w", opt.ConfigFile, err)
	}
	protected := http.NewCrossOriginProtection()
	if u := opt.ExternalURL; u != nil {
		if err := protected.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, fmt.Errorf("read --web.external-url: %w", err)
		}
		handler = below(strings.TrimRight(u.Path, "/"), handler)
	}
	protected.SetDenyHandler(http.HandlerFunc(foreign))
	s := &Server{opt: opt, started: opt.Now(), stopTimeout: stopTimeout}
	s.handler = secured(s.checkHost(protected.Handler(bounded(maxRequests, handler))))
	return s, nil
}

// Listen opens the addresses, so that one in use is an error before anything
// else starts. Run does it if it was not done.
func (s *Server) Listen(ctx context.Context) error {
	var lc net.ListenConfig
	for _, address := range s.opt.Listen {
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			s.closeListeners()
			return listenError(address, err)
		}
		s.listeners = append(s.listeners, newLimited(l, maxConnections))
	}
	return nil
}

func listenError(address string, err error) error {
	var remedy string
	_, port, _ := net.SplitHostPort(address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = "port " + port + " is in use, perhaps by another agent: choose another with --listen HOST:PORT (port 0 takes any that is free)"
	case errors.Is(err, syscall.EACCES):
		remedy = "ports below 1024 need the capability CAP_NET_BIND_SERVICE: choose another with --listen HOST:PORT"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		remedy = "this machine does not have that address: choose another with --listen HOST:PORT"
	default:
		return fmt.Errorf("listen on %q: %w", address, err)
	}
	return fmt.Errorf("listen on %q: %s: %w", address, remedy, err)
}

// Addrs returns the addresses that are open, with their real ports.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, 0, len(s.listeners))
	for _, l := range s.listeners {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}

// Run serves until ctx is done, then gives the requests under way five seconds.
func (s *Server) Run(ctx context.Context) error {
	if s.listeners == nil {
		if err := s.Listen(ctx); err != nil {
			return err
		}
	}
	defer s.closeListeners()
	if ctx.Err() != nil {
		return nil
	}

	// The toolkit changes the server it is given, so each listener has its own.
	servers := make([]*http.Server, 0, len(s.listeners))
	failed := make(chan error, len(s.listeners))
	var serving sync.WaitGroup
	for _, l := range s.listeners {
		server := &http.Server{
			Handler:           s.handler,
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          slog.NewLogLogger(s.opt.Log.Handler(), slog.LevelDebug), // what clients do wrong
		}
		servers = append(servers, server)
		serving.Go(func() {
			if err := s.serve(l, server); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve HTTP on %q: %w", l.Addr(), err)
			}
		})
	}

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.stopTimeout)
	defer cancel()
	for _, server := range servers {
		if server.Shutdown(stop) != nil {
			_ = server.Close() // the deadline is over: cut what is left
		}
	}
	s.closeListeners() // also of a server that had not begun to serve
	serving.Wait()
	return err
}

func (s *Server) serve(l net.Listener, server *http.Server) error {
	if s.opt.ConfigFile == "" {
		return server.Serve(l)
	}
	file := s.opt.ConfigFile
	return toolkit.Serve(l, server, &toolkit.FlagConfig{WebConfigFile: &file}, s.opt.Log)
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		_ = l.Close() // a second time is harmless
	}
}
