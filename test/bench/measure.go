package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lab is the machine with its population and the agent under test.
type lab struct {
	*fleet
	o      *options
	dir    string
	client http.Client
}

// result is what one mode cost.
type result struct {
	mode
	n, all    int // processes of the fleet, and of the whole machine
	interval  time.Duration
	perTick   time.Duration // CPU of the whole process, scrape included
	work      time.Duration // CPU of the tick's work alone, as the agent says; 0 for the reader
	wall      time.Duration // median wall time of the tick's work
	p50, p95  time.Duration // of scrapes
	body, zip int           // bytes of a page
	series    int
	rss, peak float64 // MiB
	busy      float64 // of the machine's CPUs, everything included
	usage     string  // the source in force
}

// perMinute returns CPU seconds a minute at the default interval of 5 s, scraped every 5 s.
func (r *result) perMinute() float64 { return r.perTick.Seconds() * 12 }

func newLab(ctx context.Context, o *options) (*lab, error) {
	dir, err := os.MkdirTemp("", "noether-bench-")
	if err != nil {
		return nil, err
	}
	if o.binary == "" {
		o.binary = filepath.Join(dir, "noether")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", o.binary, "./cmd/noether")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build ./cmd/noether: %w\n%s", err, out)
		}
	}
	f, err := newFleet()
	if err != nil {
		return nil, err
	}
	return &lab{fleet: f, o: o, dir: dir, client: http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{DisableCompression: true}, // the body is counted as it comes
	}}, nil
}

func (l *lab) close() error { return errors.Join(l.fleet.close(), os.RemoveAll(l.dir)) }

// measure runs one mode for a window and returns what it cost.
func (l *lab) measure(ctx context.Context, m mode) (r result, err error) {
	r = result{mode: m, n: l.members, interval: l.o.interval}
	if m.tick > 0 {
		r.interval = m.tick
	}
	cgroup := filepath.Join(l.tree, "measured")
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		return r, err
	}
	defer func() {
		err = errors.Join(err, unix.Rmdir(cgroup))
	}()
	log, err := os.Create(filepath.Join(l.dir, "log"))
	if err != nil {
		return r, err
	}
	defer log.Close() //nolint:errcheck // read by people only
	address, err := freeAddress(ctx)
	if err != nil {
		return r, err
	}
	argv := []string{l.self, "-role", m.role, "-interval", r.interval.String()}
	if m.role == "" {
		history := "off"
		if m.kept {
			history = filepath.Join(l.dir, "history")
			defer func() { err = errors.Join(err, os.RemoveAll(history)) }()
		}
		// The pods are in v2, which on a hybrid host need not be where an agent counts.
		argv = append([]string{
			l.o.binary, "agent", "--listen", address, "--interval", r.interval.String(), "--store.path", history, "--cgroupfs", l.base,
		}, m.args...)
	}
	pid, err := l.start(cgroup, argv, log)
	if err != nil {
		return r, err
	}
	defer func() {
		err = errors.Join(err, stopProcess(pid))
		if err != nil {
			said, _ := os.ReadFile(log.Name())
			err = fmt.Errorf("%w\n%s", err, said)
		}
	}()
	ticker := time.NewTicker(r.interval)
	defer ticker.Stop()
	warm := max(3, int(2*time.Second/r.interval))
	count := max(4, int(l.o.window/r.interval))
	if m.role != "" {
		return r, l.watchReader(ctx, &r, pid, cgroup, ticker, warm, count)
	}
	return r, l.watchAgent(ctx, &r, pid, cgroup, "http://"+address+"/metrics", ticker, warm, count)
}

func (l *lab) watchReader(ctx context.Context, r *result, pid int, cgroup string, ticker *time.Ticker, warm, count int) error {
	var before, after meter
	for i := range warm + count + 1 {
		if i == warm {
			if err := before.read(cgroup); err != nil {
				return err
			}
		}
		if i == warm+count {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	if err := after.read(cgroup); err != nil {
		return err
	}
	r.perTick = (after.cpu - before.cpu) / time.Duration(count)
	r.busy = after.busyFraction(&before)
	return r.readMemory(pid)
}

func (l *lab) watchAgent(ctx context.Context, r *result, pid int, cgroup, url string, ticker *time.Ticker, warm, count int) error {
	var before, after meter
	var first, last page
	var latencies, walls []time.Duration
	for i := 0; len(latencies) < count; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		p, err := l.scrape(ctx, url)
		if err != nil || p.ticks == 0 {
			if i++; i > 200 {
				return fmt.Errorf("wait for the first tick: %w", err)
			}
			continue
		}
		if warm > 0 {
			if warm--; warm == 0 {
				first = p
				if err := before.read(cgroup); err != nil {
					return err
				}
			}
			continue
		}
		last = p
		latencies = append(latencies, p.took)
		walls = append(walls, p.tickTook)
	}
	if err := after.read(cgroup); err != nil {
		return err
	}
	ticks := time.Duration(last.ticks - first.ticks)
	if ticks == 0 {
		return errors.New("no tick passed while it was measured")
	}
	slices.Sort(latencies)
	slices.Sort(walls)
	r.perTick = (after.cpu - before.cpu) / ticks
	r.work = (last.tickCPU - first.tickCPU) / ticks
	r.wall = walls[len(walls)/2]
	r.p50 = latencies[len(latencies)/2]
	r.p95 = latencies[min(len(latencies)-1, len(latencies)*95/100)]
	r.body, r.zip, r.series, r.usage = last.body, last.zip, last.series, last.usage
	r.busy = after.busyFraction(&before)
	return r.readMemory(pid)
}

// page is what a scrape showed.
type page struct {
	took, tickTook, tickCPU time.Duration
	ticks                   int64
	body, zip, series       int
	usage                   string
}

func (l *lab) scrape(ctx context.Context, url string) (p page, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return p, err
	}
	req.Header.Set("Accept-Encoding", "gzip")
	start := now()
	resp, err := l.client.Do(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read to the end or not at all
	raw, err := io.ReadAll(resp.Body)
	p.took = now() - start
	if err != nil {
		return p, err
	}
	if resp.StatusCode != http.StatusOK {
		return p, fmt.Errorf("scrape: %s: %s", resp.Status, raw)
	}
	p.zip = len(raw)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return p, err
		}
		if raw, err = io.ReadAll(z); err != nil {
			return p, err
		}
	}
	p.body = len(raw)
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		p.series++
		name, value, _ := strings.Cut(line, " ")
		v, _ := strconv.ParseFloat(value, 64)
		name, _, _ = strings.Cut(name, "{")
		switch name {
		case "noether_ticks_total":
			p.ticks = int64(v)
		case "noether_tick_cpu_seconds_total":
			p.tickCPU = time.Duration(v * float64(time.Second))
		case "noether_tick_duration_seconds":
			p.tickTook = time.Duration(v * float64(time.Second))
		case "noether_node_info":
			_, usage, _ := strings.Cut(line, `usage="`)
			p.usage, _, _ = strings.Cut(usage, `"`)
		}
	}
	return p, lines.Err()
}

// meter is what has been used up to a moment.
type meter struct {
	cpu         time.Duration
	busy, total float64 // ticks of the whole machine
}

func (m *meter) read(cgroup string) (err error) {
	if m.cpu, err = cpuUsage(cgroup); err != nil {
		return err
	}
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(line)[1:] {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return fmt.Errorf("read /proc/stat: %w", err)
		}
		if i > 7 { // guest time is in user already
			break
		}
		m.total += v
		if i != 3 && i != 4 {
			m.busy += v
		}
	}
	return nil
}

func (m *meter) busyFraction(before *meter) float64 {
	return (m.busy - before.busy) / max(1, m.total-before.total)
}

func (r *result) readMemory(pid int) error {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		kb, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		switch key {
		case "VmRSS":
			r.rss = kb / 1024
		case "VmHWM":
			r.peak = kb / 1024
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			r.all++
		}
	}
	return nil
}

func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func stopProcess(pid int) error {
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		return err
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		break
	}
	if status.ExitStatus() != 0 {
		return fmt.Errorf("process under test ended with status %d", status.ExitStatus())
	}
	return nil
}

func now() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
