package bpf

import (
	"bufio"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"noether/internal/workload"
)

func BenchmarkRead(b *testing.B) {
	for _, n := range []int{200, 1000, 5000, 10000} {
		spawner := role(b, "spawn", strconv.Itoa(n))
		spawner.SysProcAttr.Setpgid = true
		out, err := spawner.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := spawner.Start(); err != nil {
			b.Fatal(err)
		}
		line, _ := bufio.NewReader(out).ReadString('\n')
		if line != "ready\n" {
			b.Fatalf("spawn %d processes: %s", n, line)
		}
		for _, rung := range []string{RungSyscall, RungIter} {
			b.Run(fmt.Sprintf("%s/%d", rung, n), func(b *testing.B) {
				s := open(b, Options{Rung: rung, Places: newRecorder()})
				var u workload.Usage
				if err := s.Read(b.Context(), &u); err != nil {
					b.Fatal(err)
				}
				before := cpuTime()
				for b.Loop() {
					u.Reset()
					if err := s.Read(b.Context(), &u); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpuTime()-before)/1e6/float64(b.N), "cpu-ms/op")
				b.ReportMetric(float64(s.listed), "processes")
			})
		}
		syscall.Kill(-spawner.Process.Pid, syscall.SIGKILL)
		spawner.Wait()
	}
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
