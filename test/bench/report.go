package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	begin = "<!-- bench:begin -->\n"
	end   = "<!-- bench:end -->\n"
)

func report(o *options, l *lab, results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s, %d CPUs online, Linux %s, %s/%s, %s.\n\n", cpuModel(), runtime.NumCPU(), kernel(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	fmt.Fprintf(&b, "%d pods, %d of the processes work at 1 %% duty and lowest priority, the others sleep. Ticks and scrapes every %s for %s a row;\n"+
		"*Of all* counts every process of the machine at the end of the row; a figure much above N tells of other work.\n"+
		"CPU is the whole process's, from its own cgroup, one scrape with gzip a tick included. *CPU s/min* is that at the default interval of 5 s.\n"+
		"Rows *history* keep one, the others do not.\n\n", len(l.pods), burners, o.interval, o.window)
	b.WriteString("| N | of all | mode | CPU/tick ms | of it tick ms | tick wall ms | CPU s/min | scrape p50 ms | p95 ms | body kB | gzip kB | series | RSS MiB (peak) | machine busy |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for i := range results {
		r := &results[i]
		if r.role != "" {
			fmt.Fprintf(&b, "| %d | %d | *%s* | %.2f | | | %.3f | | | | | | %.0f (%.0f) | %.2f |\n", r.n, r.all, r.name, ms(r.perTick), r.perMinute(), r.rss, r.peak, r.busy)
			continue
		}
		fmt.Fprintf(&b, "| %d | %d | %s | %.2f | %.2f | %.2f | %.3f | %.1f | %.1f | %d | %d | %d | %.0f (%.0f) | %.2f |\n",
			r.n, r.all, r.name, ms(r.perTick), ms(r.work), ms(r.wall), r.perMinute(), ms(r.p50), ms(r.p95), r.body/1000, r.zip/1000, r.series, r.rss, r.peak, r.busy)
	}
	b.WriteString(ratios(o, results))
	b.WriteString(budgets(results))
	return b.String()
}

// ratios compares the agent's tick with the reader's on the same processes.
func ratios(o *options, results []result) string {
	var b strings.Builder
	b.WriteString("\nHow many times the CPU of the agent's tick the reader takes for the same facts (first figure: comm and cgroup of every process; second: only of those that ran):\n\n")
	b.WriteString("| N | bpf | procfs |\n|---|---|---|\n")
	for _, n := range o.sizes {
		every, lazy := find(results, n, "procfs library, every fact"), find(results, n, "procfs library, comm and cgroup of those that ran")
		if every == nil || lazy == nil {
			continue
		}
		fmt.Fprintf(&b, "| %d |", n)
		for _, name := range []string{"bpf, all", "procfs, all"} {
			r := find(results, n, name)
			if r == nil || r.work <= 0 {
				b.WriteString(" |")
				continue
			}
			fmt.Fprintf(&b, " %.0f, %.0f |", every.perTick.Seconds()/r.work.Seconds(), lazy.perTick.Seconds()/r.work.Seconds())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// budgets says which of the promises of this project the figures keep.
func budgets(results []result) string {
	type budget struct {
		what, unit  string
		value, most float64
	}
	var list []budget
	largest := 0
	for i := range results {
		largest = max(largest, results[i].n)
	}
	all, off := find(results, largest, "bpf, all"), find(results, largest, "bpf, off")
	history := find(results, largest, "bpf, off"+kept)
	every := find(results, largest, "procfs library, every fact")
	if largest >= 10_000 && all != nil && off != nil {
		list = append(list,
			budget{"tick, every process, bpf", "ms CPU", ms(all.work), 5},
			budget{"every process exported", "CPU s/min", all.perMinute(), 0.5},
			budget{"every process exported, scrape p95", "ms", ms(all.p95), 42},
			budget{"every process exported, RSS", "MiB", all.rss, 50},
			budget{"no process level", "CPU s/min", off.perMinute(), 0.06},
			budget{"no process level, scrape p95", "ms", ms(off.p95), 5},
			budget{"no process level, RSS", "MiB", off.rss, 26},
		)
		if history != nil {
			list = append(list,
				budget{"no process level, with a history", "CPU s/min", history.perMinute(), 0.06},
				budget{"no process level, with a history, RSS", "MiB", history.rss, 26},
			)
		}
		if every != nil && every.perTick > 0 {
			list = append(list, budget{"tick against the reader", "of its CPU", all.work.Seconds() / every.perTick.Seconds(), 1.0 / 30})
		}
	}
	for _, usage := range []string{"bpf", "cgroup"} {
		for _, name := range []string{usage + ", " + podScale, usage + ", " + podScale + named, usage + ", " + podScale + named + grams, usage + ", " + podScale + named + grams + kept} {
			if r := find(results, 300, name); r != nil {
				list = append(list, budget{name, "% of one core", 100 * r.perTick.Seconds() / r.interval.Seconds(), 0.2})
			}
		}
	}
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n| budget (%d processes unless it says otherwise) | at most | measured | |\n|---|---|---|---|\n", largest)
	for _, x := range list {
		verdict := "met"
		if x.value > x.most {
			verdict = "**not met**"
		}
		fmt.Fprintf(&b, "| %s | %.3g %s | %.3g | %s |\n", x.what, x.most, x.unit, x.value, verdict)
	}
	return b.String()
}

func find(results []result, n int, name string) *result {
	i := slices.IndexFunc(results, func(r result) bool { return r.n == n && r.name == name })
	if i < 0 {
		return nil
	}
	return &results[i]
}

// replaceTable puts text between the marks of a page.
func replaceTable(path, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(old, []byte(begin))
	_, tail, closed := bytes.Cut(rest, []byte(end))
	if !ok || !closed {
		return fmt.Errorf("replace the table in %s: the marks %q and %q are not there", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(path, slices.Concat(head, []byte(begin), []byte(text), []byte(end), tail), 0o644) //nolint:gosec // a page for everyone
}

func ms[D ~int64](d D) float64 { return float64(d) / 1e6 }

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(b)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return "unknown CPU"
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}
