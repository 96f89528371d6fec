package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"noether/internal/agent"
	"noether/internal/config"
	"noether/internal/energy"
	"noether/internal/unit"
)

// statOptions are the flags of stat itself.
type statOptions struct {
	repeat   int
	interval time.Duration
	json     bool
	output   string
	agentURL string
}

// defaultAgent is where an agent with default settings answers.
const defaultAgent = "http://127.0.0.1:9877"

func newStat(p *process) *cobra.Command {
	var flags *config.Flags
	var o statOptions
	cmd := &cobra.Command{
		Use:   "stat [flags] -- CMD [ARG...]",
		Short: "Measure the energy of one command",
		Long: `stat runs CMD and says how much energy the machine used meanwhile, and how much
of it was CMD's: its share by CPU time of what work caused, its whole process tree
and children that have ended included. What the machine uses when idle is in the
machine's figure and not in CMD's.

CMD has stat's standard input, output and error; signals are passed on, and the
exit code is CMD's (128 and the number of the signal that killed it; 125 when stat
itself went wrong, 126 and 127 when CMD could not be run or found). The result goes
to standard error, or to a file with -o.

Where a cgroup can be made, CMD runs in one of its own; elsewhere its processes are
followed by their parents. Where a better sensor is forbidden to this user and an
agent is running, the machine's energy is read from that agent, in its intervals.

Where the grid zone is known, the report has grams of CO2e too, by the settings of
the agent. A provider is asked only if one is set, while CMD runs.`,
		Example: `  noether stat -- make -j8
  noether stat -r 5 -- ./benchmark
  noether stat --json -o joules.json -- ffmpeg -i in.mkv out.mp4
  noether stat --sensor model -- sleep 10
  noether stat --grid.zone DE --pue 1.2 -- make -j8`,
		RunE: func(cmd *cobra.Command, argv []string) error {
			if len(argv) == 0 {
				return &exitError{exitUsage, errors.New("stat needs a command: noether stat -- CMD [ARG...]")}
			}
			if o.repeat < 1 {
				return &exitError{exitUsage, fmt.Errorf("--repeat %d is less than one run", o.repeat)}
			}
			if o.interval < agent.MinInterval || o.interval > agent.MaxInterval {
				return &exitError{exitUsage, fmt.Errorf("--interval %s is out of range: choose %s to %s", o.interval, agent.MinInterval, agent.MaxInterval)}
			}
			return runStat(cmd.Context(), p, flags, &o, cmd.Flags().Changed("agent"), argv)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.SetInterspersed(false) // what follows CMD is CMD's
	f.IntVarP(&o.repeat, "repeat", "r", 1, "run CMD this often and give mean and standard deviation")
	f.DurationVar(&o.interval, "interval", 200*time.Millisecond, "time from one division of energy to the next")
	f.BoolVar(&o.json, "json", false, "one line of JSON for each run, and with -r one more for the summary")
	f.StringVarP(&o.output, "output", "o", "", "write the result to this file instead of standard error")
	f.StringVar(&o.agentURL, "agent", defaultAgent, "read the machine's energy from this running agent")
	flags = register(cmd, "config", "sensor", "usage", "policy", "root", "procfs", "sysfs", "cgroupfs",
		"model.idle-watts", "model.max-watts", "model.tdp-watts",
		"grid.zone", "grid.provider", "grid.token-file", "grid.hub", "grid.query", "grid.factor", "grid.allow-estimates", "prometheus-url",
		"pue", "embodied.kg", "embodied.instance", "embodied.years", "log.level", "log.format")
	return cmd
}

// meter measures windows of time, one after the other. One goroutine at a time.
type meter interface {
	// begin opens a window.
	begin(ctx context.Context) error
	// tick divides the energy so far. It is called now and then while the window is open.
	tick(ctx context.Context) error
	// end closes the window, in which the command and those it waited for used cpu.
	end(ctx context.Context, cpu time.Duration) (window, error)
	// about says what measures, and how the command's share is found.
	about() (sensor, usage string)
	// follow says which process is the command.
	follow(pid int)
	// moves returns how often the meter moves.
	moves() time.Duration
	close() error
}

// window is the energy of one stretch of time, and what it emitted.
type window struct {
	ended  time.Time
	length time.Duration
	online int           // CPUs
	busy   time.Duration // CPU time of everything that ran
	// Of the machine, by component; own is the command's.
	present        [energy.Components]bool
	quality        [energy.Components]energy.Quality
	total, dynamic [energy.Components]unit.Energy
	own            [energy.Components]unit.Energy
	low, high      [energy.Components]unit.Energy
	banded         bool
	ownCPU         time.Duration
	how            string // the command's share was found
	footprint      statFootprint
}

// run is one run of the command.
type statRun struct {
	window
	elapsed time.Duration
	exit    int
}

func runStat(ctx context.Context, p *process, flags *config.Flags, o *statOptions, askAgent bool, argv []string) error {
	fail := func(err error) error {
		if _, ok := errors.AsType[*exitError](err); ok {
			return err
		}
		return &exitError{exitOwnFailure, err}
	}
	cfg, err := load(p, flags)
	if err != nil {
		return err
	}
	path, err := findCommand(argv[0])
	if err != nil {
		return err
	}
	dst, closeDst, err := statWriter(p, o.output)
	if err != nil {
		return fail(err)
	}
	defer closeDst()
	// Who cannot be told by parent is told by cgroup, and the other way round.
	c, cageErr := newCage("/proc", cfg.FS().Cgroup)
	if cageErr != nil {
		c = nil
	}
	m, notes, err := openMeter(ctx, p, &cfg, o, askAgent, c, statLogger(p, &cfg))
	if err != nil {
		return fail(errors.Join(err, c.remove()))
	}
	around, err := openAround(ctx, p, &cfg, m)
	if err != nil {
		return fail(errors.Join(err, m.close(), c.remove()))
	}
	defer around.close()
	r := statReport{argv: argv, sensorNotes: notes}
	r.moves = m.moves()
	signals, stop := notify()
	defer stop()
	for range o.repeat {
		one, err := measure(ctx, p, m, c, o.interval, path, argv, signals)
		if err != nil {
			return fail(errors.Join(err, m.close(), c.remove()))
		}
		r.runs = append(r.runs, one)
		if one.exit > exitSignalOffset || ctx.Err() != nil {
			break // it was told to stop, and so were we
		}
	}
	if left, err := c.release(); err != nil {
		r.sensorNotes = append(r.sensorNotes, fmt.Sprintf("cannot remove the command's cgroup: %v", err))
	} else if left > 0 {
		r.sensorNotes = append(r.sensorNotes, fmt.Sprintf("%d processes of the command still run; their energy from now on is not in the figures", left))
	}
	r.sensor, r.usage = m.about()
	err = m.close()
	r.emit(around)
	if o.json {
		err = errors.Join(err, r.writeJSON(dst))
	} else {
		err = errors.Join(err, r.write(dst))
	}
	if err != nil {
		return fail(err)
	}
	for i := range r.runs {
		if code := r.runs[i].exit; code != 0 {
			return &exitError{code: code}
		}
	}
	return nil
}

// openAround asks about what surrounds the machine, unless an agent that
// knows is asked for the energy: then it returns nil.
func openAround(ctx context.Context, p *process, cfg *config.Config, m meter) (*surroundings, error) {
	if _, told := m.(*remote); told {
		return nil, nil
	}
	return openSurroundings(ctx, p, cfg, statLogger(p, cfg))
}

// emit works out the grams of the runs. Who told the command to stop is not
// kept waiting for an answer.
func (r *statReport) emit(around *surroundings) {
	if around == nil {
		return
	}
	if last := &r.runs[len(r.runs)-1]; last.exit <= exitSignalOffset {
		around.wait(answerWait)
	}
	for i := range r.runs {
		w := &r.runs[i].window
		w.emit(around.during(w))
	}
}

func statWriter(p *process, file string) (io.Writer, func(), error) {
	if file == "" {
		return p.stderr, func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, nil, err
	}
	return f, func() { _ = f.Close() }, nil // what could fail was written before
}

// measure runs the command once.
func measure(ctx context.Context, p *process, m meter, c *cage, interval time.Duration, path string, argv []string, signals <-chan os.Signal) (statRun, error) {
	var r statRun
	if err := m.begin(ctx); err != nil {
		return r, err
	}
	began := time.Now()
	cmd, err := startChild(p, path, argv, c)
	if err != nil {
		return r, err
	}
	m.follow(cmd.cmd.Process.Pid)
	cmd.wait()
	forwarding := make(chan struct{})
	go func() { defer close(forwarding); cmd.forward(ctx, signals) }()

	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var tickErr error
	for running := true; running; {
		select {
		case <-cmd.done:
			running = false
		case <-ticker.C:
			if tickErr == nil {
				tickErr = m.tick(context.WithoutCancel(ctx))
			}
		}
	}
	r.elapsed = time.Since(began)
	<-forwarding
	if cmd.cmd.ProcessState == nil {
		return r, fmt.Errorf("wait for %q: %w", argv[0], cmd.err)
	}
	r.exit = cmd.exitCode()
	r.window, err = m.end(context.WithoutCancel(ctx), cmd.cpu())
	return r, errors.Join(tickErr, err)
}

// openMeter opens this machine's sensors, or, where a better one is forbidden
// and an agent runs, that agent.
func openMeter(ctx context.Context, p *process, cfg *config.Config, o *statOptions, askAgent bool, c *cage, log *slog.Logger) (meter, []string, error) {
	if askAgent {
		m, err := openRemote(ctx, o.agentURL)
		return m, nil, err
	}
	m, forbidden, err := openLocal(ctx, p, cfg, c, log)
	if len(forbidden) == 0 {
		return m, nil, err
	}
	remote, remoteErr := openRemote(ctx, o.agentURL)
	if remoteErr == nil && (err != nil || remote.quality < m.quality) {
		if err == nil {
			_ = m.close() // nothing was written
		}
		return remote, []string{forbidden[0] + ": the running agent was asked instead"}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w; and no agent answers: %w", err, remoteErr)
	}
	return m, forbidden, nil
}

// statLogger is quiet unless it is asked not to be: standard error is the command's.
func statLogger(p *process, cfg *config.Config) *slog.Logger {
	quiet := *cfg
	if quiet.LogLevel == slog.LevelInfo {
		quiet.LogLevel = slog.LevelError
	}
	return newLogger(p.stderr, &quiet)
}

// subreaper makes this process the parent of orphans below it (prctl(2)), so
// that a daemon of the command can still be told by its parent.
func subreaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }
