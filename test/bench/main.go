// Command bench measures what the agent costs: with 200 to 10,000 processes
// asleep, 20 that work a little, and 100 pods, it runs the real binary in each
// mode, scrapes it, and reads its CPU time from a cgroup of its own. In the
// same run, on the same processes, it measures a reader that collects the same
// facts with github.com/prometheus/procfs. The result is a page of Markdown.
//
// It refuses to judge: a budget that is missed is printed, not a failure,
// because the figure depends on the machine and on who else uses it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

type options struct {
	binary   string
	sizes    []int
	interval time.Duration
	window   time.Duration
	page     string
	only     string
	quick    bool
}

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1) //nolint:forbidigo // this is a command
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var o options
	var sizes, role string
	flags.StringVar(&o.binary, "binary", "", "the agent to measure; built from ./cmd/noether if empty")
	flags.StringVar(&sizes, "sizes", "200,1000,5000,10000", "numbers of processes")
	flags.DurationVar(&o.interval, "interval", time.Second, "interval of ticks and scrapes")
	flags.DurationVar(&o.window, "window", 15*time.Second, "how long each mode is measured")
	flags.StringVar(&o.page, "page", "docs/performance.md", "the page whose table is replaced; empty prints only")
	flags.BoolVar(&o.quick, "quick", false, "a first impression: 200 and 1,000 processes, few modes, short windows, no page")
	flags.StringVar(&o.only, "only", "", "measure only the modes whose name contains this, and replace no page")
	flags.StringVar(&role, "role", "", "internal: what a child process does")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// The processes die with this thread (PR_SET_PDEATHSIG), so it must last.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	switch role {
	case "":
	case "burner":
		return burn(ctx)
	case "baseline", "baseline-lazy":
		return readTheOrdinaryWay(ctx, o.interval, role == "baseline-lazy")
	default:
		return fmt.Errorf("role %q is unknown", role)
	}
	if o.quick {
		sizes, o.window, o.page = "200,1000", 3*time.Second, ""
	}
	if o.only != "" {
		o.page = ""
	}
	for s := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("size %q is not a number of processes", s)
		}
		o.sizes = append(o.sizes, n)
	}
	return measureAll(ctx, &o, stdout, stderr)
}

// mode is one way to run the agent, or the reader it is compared with.
type mode struct {
	name string
	role string        // of this program, if it is the reader
	args []string      // of the agent
	tick time.Duration // instead of the usual interval
	kept bool          // the agent keeps a history, a sample each 15 s
}

// podScale is the mode of a Kubernetes node: 300 pods, a tick a second.
const podScale = "300 pods, off, 1 s"

// named is podScale with a name and requests for every pod, by which idle
// energy is divided.
const named = ", named"

// grams is that with grams of CO2e and cost beside joules.
const grams = ", CO2e"

// kept is a mode with a history.
const kept = ", history"

func (m mode) keep() mode {
	m.name += kept
	m.kept = true
	return m
}

func modes(o *options) []mode {
	agent := func(usage, processes string) mode {
		return mode{name: usage + ", " + processes, args: []string{"--usage", usage, "--processes", processes}}
	}
	list := []mode{
		agent("bpf", "all"), agent("bpf", "top:100"), agent("bpf", "off"),
		agent("bpf", "all").keep(), agent("bpf", "off").keep(),
		agent("procfs", "all"), agent("procfs", "top:100"), agent("procfs", "off"),
		agent("cgroup", "off"),
		{name: "procfs library, every fact", role: "baseline"},
		{name: "procfs library, comm and cgroup of those that ran", role: "baseline-lazy"},
	}
	if o.quick {
		return []mode{list[0], list[2], list[4], list[5], list[8], list[9], list[10]}
	}
	return list
}

func measureAll(ctx context.Context, o *options, stdout, stderr io.Writer) (err error) {
	lab, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lab.close()) }()
	var results []result
	one := func(m mode) error {
		if !strings.Contains(m.name, o.only) {
			return nil
		}
		r, err := lab.measure(ctx, m)
		if err != nil {
			return fmt.Errorf("measure %s with %d processes: %w", m.name, lab.members, err)
		}
		results = append(results, r)
		_, err = fmt.Fprintf(stderr, "%6d  %-50s %8.2f ms CPU a tick, %.3f CPU s a minute at 5 s, p95 %.1f ms, %.0f MiB\n",
			r.n, r.name, r.perTick.Seconds()*1e3, r.perMinute(), r.p95.Seconds()*1e3, r.rss)
		return err
	}
	if !o.quick {
		if err := lab.grow(300, 300); err != nil {
			return err
		}
		kubeconfig, stop, err := lab.namesOf(300)
		if err != nil {
			return err
		}
		for _, usage := range []string{"bpf", "cgroup"} {
			m := mode{name: usage + ", " + podScale, args: []string{"--usage", usage, "--processes", "off"}, tick: time.Second}
			err = errors.Join(err, one(m))
			m.name += named
			m.args = append(m.args, "--node-name", nodeName, "--kube-source", "api", "--kube-config", kubeconfig)
			err = errors.Join(err, one(m))
			m.name += grams
			m.args = append(m.args, "--grid.zone", "DE", "--pue", "1.2", "--embodied.kg", "1000", "--price.per-kwh", "0.3", "--price.currency", "EUR")
			err = errors.Join(err, one(m), one(m.keep()))
		}
		stop()
		if err != nil {
			return err
		}
		if err := lab.shrink(); err != nil {
			return err
		}
	}
	for _, n := range o.sizes {
		if err := lab.grow(n, 100); err != nil {
			return err
		}
		for _, m := range modes(o) {
			if err := one(m); err != nil {
				return err
			}
		}
	}
	text := report(o, lab, results)
	if _, err := io.WriteString(stdout, text); err != nil {
		return err
	}
	if o.page == "" {
		return nil
	}
	return replaceTable(o.page, text)
}
