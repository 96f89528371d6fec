// Package page looks at the web page as people do: headless Chromium, driven
// over its debugging protocol, opens what the real binary serves. Nothing of
// the page's own code runs in the tests: they read what is shown, press keys
// and buttons, ask the server the same questions and compare. Every tab is
// watched: a word in the console, an exception, a breach of the content
// security policy, a request that fails or leaves the server fails the test,
// unless it says that it expects it.
package page

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

var updateImages = flag.Bool("update-images", false, "write the screenshots that the documentation shows into docs/images")

// binary is the program under test, built once a run. Set E2E_BINARY to test
// another one.
var binary string

// scratch is a directory that lasts as long as the run.
var scratch string

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role))
	}
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	launch = sync.OnceValues(func() (context.Context, error) { return startBrowser(ctx) })
	dir, err := os.MkdirTemp("", "noether-page-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	scratch = dir
	if binary = os.Getenv("E2E_BINARY"); binary != "" {
		return m.Run()
	}
	binary = filepath.Join(dir, "noether")
	cmd := exec.Command("go", "build", "-o", binary, "noether/cmd/noether")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build noether: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// launch starts the one browser of the package, once.
var launch func() (context.Context, error)

func startBrowser(parent context.Context) (context.Context, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		// No name resolves: what the page needs has to be at its address.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("hide-scrollbars", false),
		chromedp.Flag("lang", "en-US"),
		chromedp.Env("TZ=UTC"),
	)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // its sandbox refuses to work for root
	}
	allocator, _ := chromedp.NewExecAllocator(parent, options...)
	ctx, _ := chromedp.NewContext(allocator)
	return ctx, chromedp.Do(ctx)
}

// browser returns the browser, or skips the test where there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	ctx, err := launch()
	switch {
	case err == nil:
		return ctx
	case os.Getenv("CI") == "true":
		t.Fatalf("start chromium (Debian: apt-get install chromium): %v", err)
	default:
		t.Skipf("needs chromium (Debian: apt-get install chromium): %v", err)
	}
	return nil
}
