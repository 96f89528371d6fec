// Command impact measures what a run of the manifest engine costs, from one
// observation to a million, with and without time-sync. Where Node and npm are
// there it installs the reference, the npm package @grnsft/if, and runs it on
// the same manifests in the same session, so that the page it writes holds
// ratios and not the speed of a machine.
//
// It refuses to judge: a goal that is missed is printed, not a failure. It does
// compare the results: ratios between two programs that computed different
// things mean nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The reference that is compared with.
const (
	referencePackage = "@grnsft/if"
	referenceVersion = "1.1.0"
)

type options struct {
	binary    string
	reference string
	page      string
	only      string
	runs      int
	slow      bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1) //nolint:forbidigo // this is a command
	}
}

// load is one manifest and how both programs run it.
type load struct {
	name string
	spec spec
	skip string // why the reference is not run on it, "" if it is
	slow bool   // the reference takes minutes: only with -slow
	// what is promised, printed beside the ratio; 0 for nothing
	cpu, rss, wall float64
}

func loads() []load {
	const tooSlow = "minutes; -slow runs it"
	return []load{
		{name: "1 × 1", spec: spec{components: 1, observations: 1}, wall: 50},
		{name: "100 × 1", spec: spec{components: 100, observations: 1}},
		{name: "1 × 1,000", spec: spec{components: 1, observations: 1000}},
		{name: "10 × 1,000", spec: spec{components: 10, observations: 1000}},
		{name: "100 × 100, regrouped", spec: spec{components: 100, observations: 100, regroup: true}},
		{name: "100 × 1,000", spec: spec{components: 100, observations: 1000}, cpu: 20, rss: 4},
		{name: "100 × 10,000", spec: spec{components: 100, observations: 10000}, skip: tooSlow + ", then fails: its output passes the longest string of its runtime", slow: true},
		{name: "time-sync 1 × 10, 1 s steps", spec: spec{components: 1, observations: 10, timeSync: true}},
		{name: "time-sync 1 × 100, 1 s steps", spec: spec{components: 1, observations: 100, timeSync: true}},
		{name: "time-sync 1 × 1,000, 1 s steps", spec: spec{components: 1, observations: 1000, timeSync: true}, skip: tooSlow, slow: true},
		{name: "time-sync 1 × 10,000, 1 s steps", spec: spec{components: 1, observations: 10000, timeSync: true}, skip: "hours"},
		{name: "time-sync 100 × 100, 60 s steps", spec: spec{components: 100, observations: 100, timeSync: true, resolution: 60}},
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var o options
	flags.StringVar(&o.binary, "binary", "", "the binary to measure; built from ./cmd/noether if empty")
	flags.StringVar(&o.reference, "reference", "", "the reference's if-run; installed by npm into the cache if empty, not run if \"none\"")
	flags.StringVar(&o.page, "page", "docs/impact-performance.md", "the page whose table is replaced; empty prints only")
	flags.StringVar(&o.only, "only", "", "measure only the loads whose name contains this, and replace no page")
	flags.IntVar(&o.runs, "runs", 3, "how often each is run; the median counts")
	flags.BoolVar(&o.slow, "slow", false, "run the reference also where it takes minutes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "noether-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system empties its temporary directory
	if o.binary == "" {
		o.binary = filepath.Join(dir, "noether")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", o.binary, "./cmd/noether")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the binary: %w: %s", err, out)
		}
	}
	if o.reference == "" {
		if o.reference, err = installReference(ctx, stderr); err != nil {
			fmt.Fprintf(stderr, "the reference is not measured: %v\n", err) //nolint:errcheck // nobody is left to tell
		}
	}
	if o.reference == "none" {
		o.reference = ""
	}
	var rows []row
	for _, l := range loads() {
		if o.only != "" && !strings.Contains(l.name, o.only) {
			continue
		}
		r, err := measure(ctx, &o, l, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		fmt.Fprintln(stderr, r.line()) //nolint:errcheck // progress
		rows = append(rows, r)
	}
	page := report(&o, rows)
	if o.page == "" || o.only != "" {
		_, err := io.WriteString(stdout, page)
		return err
	}
	return replace(o.page, page)
}

// installReference returns the reference's if-run, installed once per version.
func installReference(ctx context.Context, stderr io.Writer) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "noether", "impact-framework-"+referenceVersion)
	bin := filepath.Join(dir, "node_modules", ".bin", "if-run")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	if _, err := exec.LookPath("npm"); err != nil {
		return "", errors.New("npm is not installed (Debian: apt-get install npm)")
	}
	fmt.Fprintf(stderr, "installing %s %s into %s, once\n", referencePackage, referenceVersion, dir) //nolint:errcheck // progress
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	npm := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--no-audit", "--no-fund", referencePackage+"@"+referenceVersion)
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm install: %w: %s", err, out)
	}
	return bin, nil
}

// cost is what one run took.
type cost struct {
	wall, cpu time.Duration // CPU is user and system, children included
	rss       int64         // peak resident bytes of the largest process
	err       error
}

// row is a load with what both programs took; ref is nil where the reference did not run.
type row struct {
	load
	manifest, output int64 // bytes
	own              cost
	ref              *cost
	why              string // why ref is nil
	same             string // "yes", or the first difference
}

func measure(ctx context.Context, o *options, l load, dir string) (row, error) {
	r := row{load: l}
	in := filepath.Join(dir, "manifest.yml")
	if err := l.spec.write(in); err != nil {
		return r, err
	}
	r.manifest = size(in)
	own := filepath.Join(dir, "own.yaml")
	runs := o.runs
	r.own = median(ctx, runs, dir, o.binary, "impact", "run", "--compat", "-m", in, "-o", own)
	if r.own.err != nil {
		return r, r.own.err
	}
	r.output = size(own)
	switch {
	case o.reference == "":
		r.why = "not installed"
	case l.skip != "" && (!l.slow || !o.slow):
		r.why = l.skip
	default:
		theirs := filepath.Join(dir, "reference.yaml")
		if l.slow {
			runs = 1
		}
		c := median(ctx, runs, dir, o.reference, "-m", in, "-o", theirs)
		r.ref = &c
		if c.err == nil {
			diff := exec.CommandContext(ctx, o.binary, "impact", "diff", "--compat", "-s", own, "-t", theirs)
			out, err := diff.CombinedOutput()
			r.same = "yes"
			if err != nil {
				r.same = "no: " + strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", " ")
			}
		}
	}
	return r, nil
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// median runs the command n times and returns the run of the middle CPU time.
func median(ctx context.Context, n int, dir, name string, args ...string) cost {
	costs := make([]cost, n)
	for i := range costs {
		if costs[i] = once(ctx, dir, name, args...); costs[i].err != nil {
			return costs[i]
		}
	}
	slices.SortFunc(costs, func(a, b cost) int { return int(a.cpu - b.cpu) })
	return costs[n/2]
}

func once(ctx context.Context, dir, name string, args ...string) cost {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	start := time.Now() //nolint:forbidigo // this is a stop-watch
	out, err := cmd.CombinedOutput()
	c := cost{wall: time.Since(start)} //nolint:forbidigo // this is a stop-watch
	if err != nil {
		c.err = fmt.Errorf("%s: %w: %.300s", filepath.Base(name), err, out)
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.rss = usage.Maxrss * 1024
	}
	c.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return c
}
