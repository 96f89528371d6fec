// Command probe is what the pods of the cluster's own test run.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1) //nolint:forbidigo // it is a command
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		args = []string{""}
	}
	switch args[0] {
	case "say":
		_, err := fmt.Fprintln(out, strings.Join(args[1:], " "))
		return err
	case "burn":
		for ctx.Err() == nil {
		}
		return nil
	case "serve":
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := "hello"
			if r.URL.Path == "/metrics" {
				w.Header().Set("Content-Type", "text/plain; version=0.0.4")
				answer = "probe_answer 42"
			}
			fmt.Fprintln(w, answer) //nolint:errcheck // the visitor went away
		})
		server := &http.Server{Addr: strings.Join(args[1:], ""), Handler: handler, ReadHeaderTimeout: time.Minute}
		defer context.AfterFunc(ctx, func() {
			server.Close() //nolint:errcheck // it ends anyway
		})()
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	case "get":
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Join(args[1:], ""), nil)
		if err != nil {
			return err
		}
		client := &http.Client{Timeout: 10 * time.Second}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close() //nolint:errcheck // it was read
		_, err = io.Copy(out, resp.Body)
		return err
	default:
		return errors.New("usage: probe say WORDS | burn | serve ADDRESS | get URL")
	}
}
