// Command shop is a small online shop for clusters that are tested or shown:
// one static program that plays every service of it, by its first argument.
// Each service holds a demand of CPU time that is known beforehand, so that
// what is said about its energy can be checked. It keeps no data, wants no
// right and no DNS server, and is not meant to be fast, complete or secure.
package main

import (
	"context"
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"noether/deploy/image"
)

const usage = `usage: shop ROLE [flags]

ROLE is a service: frontend cart catalogue currency payment shipping email
checkout recommendation ads cache, or any other name of one that calls nobody.
It answers on -listen, calls the services that it needs, and uses
SHOP_MILLICORES thousandths of a CPU, what it needs to answer included. Its
/metrics counts the requests that it answered.

  shop shipping   does its work in children that live for milliseconds
  shop visitors   asks the frontend at -url, SHOP_VISITS times a second
  shop task       works for -for and ends, as Jobs and init containers do
  shop pause      does nothing
  shop image      writes an image of this program, shop:1, as a tar to -o; it
                  has to be static: CGO_ENABLED=0 go run ./test/e2e/shop image -o shop.tar

Services find each other as Kubernetes tells them: CART_SERVICE_HOST and
CART_SERVICE_PORT, or http://cart:8080 without these.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	role := ""
	if len(args) > 0 {
		role = args[0]
		args = args[1:]
	}
	flags := flag.NewFlagSet("shop", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage, "\n") //nolint:errcheck // nobody is left to tell
		flags.PrintDefaults()
	}
	listen := flags.String("listen", ":8080", "`address` that a service answers on")
	url := flags.String("url", "http://127.0.0.1:8080/", "`address` that visitors ask")
	length := flags.Duration("for", 5*time.Second, "`time` that a task works")
	tar := flags.String("o", "shop.tar", "`file` that image writes")
	if role == "" || strings.HasPrefix(role, "-") {
		flags.Usage()
		return flag.ErrHelp
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	millicores, err := number("SHOP_MILLICORES", 20)
	if err != nil {
		return err
	}
	switch role {
	case "pause":
		<-ctx.Done()
		return nil
	case "image":
		return writeImage(*tar)
	case "parcel": // a child of shipping
		spin(parcel)
		return nil
	case "task":
		ctx, cancel := context.WithTimeout(ctx, *length)
		defer cancel()
		hold(ctx, millicores)
		_, err := fmt.Fprintf(out, "done: %.3f s of CPU time\n", cpuTime().Seconds())
		return err
	case "visitors":
		visits, err := number("SHOP_VISITS", 2)
		if err != nil {
			return err
		}
		return visit(ctx, *url, visits, out)
	case "shipping":
		return serve(ctx, role, *listen, out, func(ctx context.Context) error { return ship(ctx, millicores) })
	default:
		return serve(ctx, role, *listen, out, func(ctx context.Context) error { hold(ctx, millicores); return nil })
	}
}

func number(variable string, otherwise float64) (float64, error) {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n < 0 || n > 1e6 {
		return 0, fmt.Errorf("read %s: %q is no number from 0 to 1e6", variable, text)
	}
	return n, nil
}

// serve answers on address and works until ctx ends.
func serve(ctx context.Context, role, address string, out io.Writer, work func(context.Context) error) error {
	server := &http.Server{
		Addr:              address,
		Handler:           handler(role),
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      10 * time.Second,
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			cancel(fmt.Errorf("answer on %s: %w", address, err))
		}
	})
	parts.Go(func() {
		if err := work(ctx); err != nil {
			cancel(err)
		}
	})
	fmt.Fprintf(out, "%s is open\n", role) //nolint:errcheck // open all the same
	<-ctx.Done()
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer done()
	err := server.Shutdown(closing)
	parts.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// needs returns the services that role calls for each answer.
func needs(role string) []string {
	switch role {
	case "frontend":
		return []string{"catalogue", "currency", "recommendation", "ads", "cart", "checkout"}
	case "recommendation":
		return []string{"catalogue"}
	case "cart":
		return []string{"cache"}
	case "checkout":
		return []string{"cart", "currency", "payment", "shipping", "email"}
	}
	return nil
}

// handler answers with one line for each service that took part.
func handler(role string) http.Handler {
	client := &http.Client{Timeout: 2 * time.Second}
	var answered atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "# HELP shop_requests_total Requests answered by the service.\n# TYPE shop_requests_total counter\nshop_requests_total{service=%q} %d\n", role, answered.Load()) //nolint:errcheck // the scraper went away
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		answered.Add(1)
		var page strings.Builder
		fmt.Fprintln(&page, role)
		for _, service := range needs(role) {
			answer, err := get(r.Context(), client, address(service, os.Getenv))
			if err != nil {
				fmt.Fprintf(&page, "  %s is closed\n", service)
				continue
			}
			for line := range strings.Lines(answer) {
				page.WriteString("  " + line)
			}
		}
		io.WriteString(w, page.String()) //nolint:errcheck // the visitor went away
	})
	return mux
}

// address is where a service answers. Kubernetes puts the addresses of the
// namespace's Services into the environment of its containers
// (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
func address(service string, env func(string) string) string {
	variable := strings.ToUpper(strings.ReplaceAll(service, "-", "_")) + "_SERVICE_"
	host, port := env(variable+"HOST"), env(variable+"PORT")
	if host == "" || port == "" {
		return "http://" + service + ":8080/"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

func get(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s: %s", url, resp.Status)
	}
	return string(body), err
}

// visit asks url so many times a second, and says each minute how that went.
func visit(ctx context.Context, url string, perSecond float64, out io.Writer) error {
	client := &http.Client{Timeout: 5 * time.Second}
	ticker := time.NewTicker(time.Duration(float64(time.Second) / max(perSecond, 0.01)))
	defer ticker.Stop()
	report := time.NewTicker(time.Minute)
	defer report.Stop()
	served, failed := 0, 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-report.C:
			fmt.Fprintf(out, "%d visits, %d in vain\n", served+failed, failed) //nolint:errcheck // they come all the same
		case <-ticker.C:
			if _, err := get(ctx, client, url); err != nil {
				failed++
			} else {
				served++
			}
		}
	}
}

const (
	slice  = 20 * time.Millisecond // between two looks at the demand
	parcel = 5 * time.Millisecond  // what a child of shipping works
)

// hold keeps this program at so many thousandths of a CPU until ctx ends. What
// a busy machine did not give is not made up for, beyond ten slices.
func hold(ctx context.Context, millicores float64) {
	ticker := time.NewTicker(slice)
	defer ticker.Stop()
	start := time.Now()
	forgiven := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		owed := time.Duration(millicores/1000*float64(time.Since(start))) - forgiven - cpuTime()
		if most := 10 * slice; owed > most {
			forgiven += owed - most
			owed = most
		}
		spin(owed)
	}
}

// spin uses CPU time on this thread.
func spin(d time.Duration) {
	x := uint64(88172645463325252)
	for start := time.Now(); time.Since(start) < d; {
		for range 1000 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
	}
	if x == 0 { // never: the generator's state is not zero, but the compiler must not know
		panic("xorshift reached zero")
	}
}

// cpuTime is what this program has used so far, its finished children excluded.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// ship starts a child for each parcel: work that is over before anybody who
// looks at processes once in a while has seen it.
func ship(ctx context.Context, millicores float64) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if millicores <= 0 {
		<-ctx.Done()
		return nil
	}
	// A child costs about as much again to start as it works.
	ticker := time.NewTicker(time.Duration(float64(2*parcel) * 1000 / millicores))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := exec.CommandContext(ctx, self, "parcel").Run(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("ship a parcel: %w", err)
		}
	}
}

// writeImage makes an image of this very program, and of nothing else.
func writeImage(path string) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := elf.Open(self)
	if err != nil {
		return err
	}
	defer program.Close() //nolint:errcheck // it was read
	libraries, err := program.ImportedLibraries()
	if err != nil {
		return err
	}
	if len(libraries) > 0 {
		return fmt.Errorf("write image %s: this program needs the libraries %q, which it would not have: build it with CGO_ENABLED=0", path, libraries)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return image.Write(f, image.Image{
		Ref: "shop:1", Platform: image.Platform{OS: "linux", Arch: runtime.GOARCH},
		Entrypoint: []string{"/shop"}, User: "65532:65532", ExposedPorts: []string{"8080/tcp"},
		Files: []image.File{{Path: "/shop", Mode: 0o755, From: self}},
	})
}
