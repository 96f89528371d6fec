package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	begin = "<!-- history:begin -->\n"
	end   = "<!-- history:end -->\n"
	// budget is how long the slowest of twenty queries of the page may take.
	budget = 100 * time.Millisecond
)

func report(o *options, w outcome, a asked) string {
	var b strings.Builder
	samples := float64(w.status.Samples)
	age := time.Duration(w.writes) * o.interval
	fmt.Fprintf(&b, "A node with %d pods of two containers, of which %d are replaced each hour, with CO2e and cost, for %s:\n%d writes of a snapshot, one each %s of simulated time.\n\n", o.pods, renewed, span(age), w.writes, span(o.interval))
	fmt.Fprintf(&b, "| | |\n|---|---|\n")
	fmt.Fprintf(&b, "| series at a time | %d |\n| samples | %.1f million |\n", w.status.Series, samples/1e6)
	fmt.Fprintf(&b, "| disk | %.0f MB: %.2f bytes a sample, %.0f MB a day |\n", float64(w.bytes)/1e6, float64(w.bytes)/samples, float64(w.bytes)/1e6/age.Hours()*24)
	fmt.Fprintf(&b, "| CPU, compactions included | %.2f ms a write, %.3f %% of one core |\n", w.cpu.Seconds()*1e3/float64(w.writes), 100*w.cpu.Seconds()/age.Seconds())
	fmt.Fprintf(&b, "| the longest that a snapshot waited for the one before to be written | %s; measuring waits for none |\n", w.slowest.Round(time.Millisecond))
	fmt.Fprintf(&b, "| memory | %.0f MiB more than without, %.0f MiB at most; the simulation itself is in the latter |\n", mib(w.resting), mib(w.peak))
	fmt.Fprintf(&b, "| opening it again | %s |\n", a.opening.Round(time.Millisecond))
	b.WriteString(reportAsked(o, a))
	return b.String()
}

// reportAsked reports what the queries cost.
func reportAsked(o *options, a asked) string {
	var b strings.Builder
	var all, cpu []time.Duration
	for i := range a.answers {
		all, cpu = append(all, a.answers[i].took...), append(cpu, a.answers[i].cpu...)
	}
	fmt.Fprintf(&b, "\nThe page's %d queries, each asked %d times over HTTP at the end of it: p50 %.1f ms, **p95 %.1f ms** (budget %.0f ms), slowest %.0f ms; in CPU time p50 %.1f ms, p95 %.1f ms, the most %.0f ms; %.0f MiB resident at most, %.0f MiB before.\n\n",
		len(a.answers), o.repeat, ms(at(all, 0.5)), ms(at(all, 0.95)), ms(budget), ms(at(all, 1)),
		ms(at(cpu, 0.5)), ms(at(cpu, 0.95)), ms(at(cpu, 1)), mib(a.peak), mib(a.resting))
	fmt.Fprintf(&b, "| the slowest queries | over | p50 ms | CPU ms | kB |\n|---|---|---|---|---|\n")
	slices.SortStableFunc(a.answers, func(x, y answer) int { return int(at(y.took, 0.5) - at(x.took, 0.5)) })
	for i := range a.answers {
		q := &a.answers[i]
		if i < 8 || q.failed != "" {
			fmt.Fprintf(&b, "| %s | %s | %.1f | %.1f | %.0f |\n", strings.Join(strings.Fields(q.Name+" "+q.failed), " "), span(time.Duration(q.Seconds)*time.Second), ms(at(q.took, 0.5)), ms(at(q.cpu, 0.5)), float64(q.bytes)/1e3)
		}
	}
	return b.String()
}

// span writes a length of time as people do.
func span(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if d >= u.of && d%u.of == 0 {
			return fmt.Sprintf("%d %s", d/u.of, u.name)
		}
	}
	return d.String()
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }

func mib(n uint64) float64 { return float64(n) / (1 << 20) }

// replacePart puts text between the marks of a page.
func replacePart(page, text string) error {
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, found := strings.Cut(rest, end)
	if !ok || !found {
		return fmt.Errorf("replace the part of %q: it lacks the lines %s and %s", page, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(page, []byte(before+begin+"\n"+text+"\n"+end+after), 0o644)
}
