package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"noether/internal/agent"
	"noether/internal/config"
	"noether/internal/snapshot"
	"noether/internal/tui"
)

// topOptions are the flags of top itself.
type topOptions struct {
	interval            time.Duration
	agentURL            string
	askAgent            bool // by the user's own wish
	processes           string
	once, json          bool
	rows                int
	view, order, period string
	reverse             bool
	filter              string
}

func newTop(p *process) *cobra.Command {
	var flags *config.Flags
	var o topOptions
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch who draws the power of this machine",
		Long: `top shows what the machine draws, by component, with quality and error band, and
who draws it: namespaces, pods, containers and processes, units, sessions and VMs.
What is listed, what is not and what belongs to no workload add up to the machine.
An estimate is marked by ~.

It measures in this process, every --interval. Where a better sensor is forbidden
to this user and an agent is running, it reads that agent instead and says so.

Keys: ? tells all of them. 1-9 and Tab change the view, w j c g n the order,
/ filters, t changes the period of the figures, p pauses, q quits.

--once prints one table and ends, --json a line of JSON for each tick (with --once,
one). Both need no terminal.`,
		Example: `  noether top
  noether top --view processes --sort joules
  noether top --agent http://127.0.0.1:9877
  noether top --once --rows 10
  noether top --json --view pods | jq -c '.rows[] | [.namespace, .pod, .watts]'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.askAgent = cmd.Flags().Changed("agent")
			set, err := o.settings()
			if err != nil {
				return &exitError{exitUsage, err}
			}
			cfg, err := load(p, flags)
			if err != nil {
				return err
			}
			if cfg.Agent.Processes, err = agent.ParseProcesses(o.processes); err != nil {
				return &exitError{exitUsage, fmt.Errorf("--%w", err)}
			}
			cfg.Agent.Interval = o.interval
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			context.AfterFunc(ctx, stop) // from now on a signal does what it does to any process
			if o.once || o.json {
				return printTop(ctx, p, &cfg, &o, set)
			}
			return showTop(ctx, p, &cfg, &o, set)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.DurationVar(&o.interval, "interval", 2*time.Second, "time from one tick to the next")
	f.StringVar(&o.agentURL, "agent", defaultAgent, "read this running agent instead of measuring")
	f.StringVar(&o.processes, "processes", "all", "which processes are told apart, where top measures: off, top:N or all")
	f.StringVar(&o.view, "view", "tree", "what the rows are: tree, namespaces, workloads, pods, containers, processes, units, sessions or vms")
	f.StringVar(&o.order, "sort", "watts", "what rows are sorted by: watts, joules, cpu, co2e or name")
	f.BoolVar(&o.reverse, "reverse", false, "the other way round")
	f.StringVar(&o.period, "period", "tick", "what the figures are of: tick (the last one), top (since it started) or agent (since that started)")
	f.StringVar(&o.filter, "filter", "", "only rows whose name has this text")
	f.BoolVar(&o.once, "once", false, "print one table and end")
	f.BoolVar(&o.json, "json", false, "print a line of JSON for each tick")
	f.IntVar(&o.rows, "rows", 20, "most rows of --once and --json; 0 is all")
	for name, words := range map[string][]string{
		"view": tui.Names[tui.View](), "sort": tui.Names[tui.Order](), "period": tui.Names[tui.Period](),
	} {
		// The only error is a flag that does not exist.
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	flags = register(cmd, "config", "sensor", "usage", "policy", "node-name",
		"kube-source", "kube-config", "kube-kubelet-url", "kube-kubelet-ca", "kube-token-file", "container-names",
		"root", "procfs", "sysfs", "cgroupfs", "model.idle-watts", "model.max-watts", "model.tdp-watts",
		"grid.zone", "grid.provider", "grid.token-file", "grid.hub", "grid.query", "grid.factor", "grid.allow-estimates", "prometheus-url",
		"pue", "embodied.kg", "embodied.instance", "embodied.years", "price.per-kwh", "price.currency", "log.level", "log.format")
	return cmd
}

// settings returns what the flags say about what is shown.
func (o *topOptions) settings() (set tui.Settings, err error) {
	var errs []error
	if set.View, err = tui.Parse[tui.View](o.view); err != nil {
		errs = append(errs, fmt.Errorf("--view %w", err))
	}
	if set.Order, err = tui.Parse[tui.Order](o.order); err != nil {
		errs = append(errs, fmt.Errorf("--sort %w", err))
	}
	if set.Period, err = tui.Parse[tui.Period](o.period); err != nil {
		errs = append(errs, fmt.Errorf("--period %w", err))
	}
	if o.interval < agent.MinInterval || o.interval > agent.MaxInterval {
		errs = append(errs, fmt.Errorf("--interval %s is out of range: choose %s to %s", o.interval, agent.MinInterval, agent.MaxInterval))
	}
	if o.rows < 0 {
		errs = append(errs, fmt.Errorf("--rows %d is less than none", o.rows))
	}
	set.Reverse, set.Filter, set.Zone = o.reverse, o.filter, time.Local
	return set, errors.Join(errs...)
}

// printTop prints ticks for whoever is no terminal.
func printTop(ctx context.Context, p *process, cfg *config.Config, o *topOptions, set tui.Settings) error {
	source, err := openTop(ctx, p, cfg, o, newLogger(p.stderr, quiet(cfg)))
	if err != nil {
		return err
	}
	set.Source = source.about()
	printer := tui.NewPrinter(set, o.rows)
	signal.Ignore(syscall.SIGPIPE) // a closed pipe is an error of the write, not the end of the process
	defer signal.Reset(syscall.SIGPIPE)

	ctx, done := context.WithCancel(ctx)
	defer done()
	var failed error
	stop := func(err error) {
		if failed == nil && !errors.Is(err, syscall.EPIPE) {
			failed = err
		}
		done()
	}
	ran := source.run(ctx, func(s *snapshot.Snapshot) {
		if ctx.Err() != nil || o.once && !source.complete(s) {
			return
		}
		if err := writeTop(p, o, printer, s); err != nil {
			stop(fmt.Errorf("write to standard output: %w", err))
		}
		if o.once {
			done()
		}
	}, stop)
	return errors.Join(failed, ran)
}

func writeTop(p *process, o *topOptions, printer *tui.Printer, s *snapshot.Snapshot) error {
	if !o.json {
		_, err := io.WriteString(p.stdout, printer.Table(s, columns(p)))
		return err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(printer.Line(s)); err != nil {
		return err
	}
	_, err := p.stdout.Write(b.Bytes())
	return err
}

// columns returns how wide standard output is: a terminal's width, else what
// the variable COLUMNS says, else 100.
func columns(p *process) int {
	if f, ok := p.stdout.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
	}
	if n, err := strconv.Atoi(p.getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	return 100
}

// showTop takes the terminal until the user has seen enough.
func showTop(ctx context.Context, p *process, cfg *config.Config, o *topOptions, set tui.Settings) error {
	out, ok := p.stdout.(*os.File)
	if !ok || !onTerminal(out) {
		return &exitError{exitUsage, errors.New("standard output is no terminal: use noether top --once for a table, or --json for a line per tick")}
	}
	if term := p.getenv("TERM"); term == "dumb" || term == "" {
		return &exitError{exitUsage, fmt.Errorf("this terminal cannot be drawn on (TERM=%s): use noether top --once for a table, or --json for a line per tick", term)}
	}
	news := make(chan topNews, topQueue)
	log := &topLog{news: news}
	source, err := openTop(ctx, p, cfg, o, newLogger(log, quiet(cfg)))
	if err != nil {
		return err
	}
	set.Source = source.about()
	measuring, stop := context.WithCancel(ctx)
	measured := make(chan error, 1)
	go func() {
		measured <- source.run(measuring,
			func(s *snapshot.Snapshot) { tell(news, topNews{snapshot: s}) },
			func(err error) { tell(news, topNews{trouble: err.Error(), heals: true}) })
	}()
	err = watchTop(ctx, p, out, tui.New(set, p.getenv("NO_COLOR") == ""), news)
	stop()
	return errors.Join(err, <-measured)
}

// topNews is what the screen is told from other goroutines: a snapshot or trouble.
type topNews struct {
	snapshot *snapshot.Snapshot
	trouble  string
	heals    bool
}

// topQueue is how much news waits for a slow terminal. What is too much is left out.
const topQueue = 16

func tell(news chan<- topNews, n topNews) {
	select {
	case news <- n:
	default:
	}
}

// watchTop shows the model on the terminal until ctx is done or the user quits.
// The screen is drawn once for each piece of news and each key.
func watchTop(ctx context.Context, p *process, out *os.File, m *tui.Model, news <-chan topNews) (err error) {
	s, err := openScreen(p.stdin, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.leave()) }()
	keys, stop, err := s.keys(ctx)
	if err != nil {
		return err
	}
	defer stop()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, screenSignals()...)
	defer signal.Stop(signals)
	for {
		m.Resize(s.size())
		if err := s.draw(m.View()); err != nil {
			return fmt.Errorf("draw on the terminal: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case n := <-news:
			if n.snapshot != nil {
				m.Offer(n.snapshot)
			} else {
				m.Trouble(n.trouble, n.heals)
			}
		case k, ok := <-keys:
			if !ok || m.Press(k) {
				return nil
			}
		case sig := <-signals:
			s.shown = nil
			if sig == unix.SIGTSTP {
				if err := s.suspend(signals); err != nil {
					return err
				}
			}
		}
	}
}

// onTerminal tells whether f is a terminal, of any width.
func onTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
