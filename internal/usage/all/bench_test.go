package all

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"noether/internal/linux"
	"noether/internal/workload"
)

// BenchmarkGroups reads the counters of 300 pods with a container each, and of
// whatever else there is, file by file and at once.
func BenchmarkGroups(b *testing.B) {
	fs := linux.Under("")
	if _, err := os.Stat(fs.Cgroup + "/cgroup.controllers"); err != nil {
		fs.Cgroup += "/unified"
	}
	base := filepath.Join(fs.Cgroup, fmt.Sprintf("noether-bench-%d", os.Getpid()))
	made := []string{base}
	for i := range 300 {
		pod := filepath.Join(base, fmt.Sprintf("pod%d", i))
		made = append(made, pod, filepath.Join(pod, "app"))
	}
	defer func() {
		for _, dir := range slices.Backward(made) {
			os.Remove(dir)
		}
	}()
	for _, dir := range made {
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.Skipf("skipped: cgroups cannot be made here: %v", err)
		}
	}
	begin := time.Now()
	for _, want := range []string{Cgroup, BPF} {
		b.Run(want, func(b *testing.B) {
			l, err := Open(b.Context(), Options{
				FS: fs, Want: want, Log: slog.New(slog.DiscardHandler), Now: func() time.Duration { return time.Since(begin) },
			})
			if err != nil {
				b.Skipf("skipped: %v", err)
			}
			defer l.Close()
			var u workload.Usage
			read := func() {
				u.Reset()
				if err := l.readGroups(b.Context(), &u); err != nil {
					b.Fatal(err)
				}
			}
			read()
			before := cpuTime()
			for b.Loop() {
				read()
			}
			b.ReportMetric(float64(cpuTime()-before)/1e6/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(len(u.Groups)), "cgroups")
		})
	}
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
