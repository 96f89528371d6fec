package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	begin = "<!-- bench:begin -->\n"
	end   = "<!-- bench:end -->\n"
)

func report(o *options, rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s, %d CPUs, Linux %s, %s/%s, %s. Median of %d runs by CPU time; the reference is %s %s.\n\n",
		cpuModel(), runtime.NumCPU(), kernel(), runtime.GOOS, runtime.GOARCH, runtime.Version(), o.runs, referencePackage, referenceVersion)
	b.WriteString("| components × observations | manifest, output MB | noether CPU s | wall s | peak MB | reference CPU s | wall s | peak MB | times less CPU | faster | times less memory | same result |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for i := range rows {
		b.WriteString(rows[i].line())
		b.WriteByte('\n')
	}
	return b.String()
}

func (r *row) line() string {
	own := fmt.Sprintf("| %s | %.1f, %.1f | %.3f | %.3f | %.0f |", r.name, mb(r.manifest), mb(r.output), r.own.cpu.Seconds(), r.own.wall.Seconds(), mb(r.own.rss))
	switch {
	case r.ref == nil:
		return own + " " + r.why + " | | | | | | |"
	case r.ref.err != nil:
		return fmt.Sprintf("%s %.1f, fails | %.1f | %.0f | | | | |", own, r.ref.cpu.Seconds(), r.ref.wall.Seconds(), mb(r.ref.rss))
	}
	goal := func(ratio, wanted float64) string {
		if wanted == 0 {
			return fmt.Sprintf("%.0f", ratio)
		}
		return fmt.Sprintf("%.0f (goal %.0f)", ratio, wanted)
	}
	return fmt.Sprintf("%s %.2f | %.2f | %.0f | %s | %s | %s | %s |", own, r.ref.cpu.Seconds(), r.ref.wall.Seconds(), mb(r.ref.rss),
		goal(r.ref.cpu.Seconds()/r.own.cpu.Seconds(), r.cpu), goal(r.ref.wall.Seconds()/r.own.wall.Seconds(), r.wall), goal(float64(r.ref.rss)/float64(r.own.rss), r.rss), r.same)
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

// replace puts text between the marks of the page.
func replace(page, text string) error {
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	i, j := bytes.Index(old, []byte(begin)), bytes.Index(old, []byte(end))
	if i < 0 || j < i {
		return errors.New(page + " has no marks for the table: " + begin + end)
	}
	return os.WriteFile(page, bytes.Join([][]byte{old[:i+len(begin)], []byte(text), old[j:]}, nil), 0o644)
}

func kernel() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}

func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimLeft(strings.TrimSpace(name), ": \t")
		}
	}
	return "unknown processor"
}
