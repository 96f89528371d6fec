package model

import (
	"fmt"
	"math"
	"path/filepath"

	"noether/internal/linux"
)

const million = 1_000_000

// The weight of a busy moment is (f/reference)^1.5: the exponent that fitted
// measured load sweeps best. It is bounded, because a frequency read once says
// little of the time between two reads.
const (
	leastWeight = million / 4
	mostWeight  = million * 5 / 4
)

// clock is the frequency of one processor. The zero value knows nothing and
// weighs everything alike: that of most virtual machines, which have no cpufreq.
type clock struct {
	file      *linux.File
	reference float64 // kHz
	buf       []byte
}

// openClock opens the processor's present frequency. The reference, at which
// the benchmarks' full load was taken, is not published; servers run all their
// processors between the base and the highest frequency then, and the middle
// of the two is taken. Where no base frequency is shown (only intel_pstate
// does) it is the highest one (Documentation/admin-guide/pm/cpufreq.rst).
func openClock(sys string, cpu int) clock {
	dir := filepath.Join(sys, "devices/system/cpu", fmt.Sprintf("cpu%d", cpu), "cpufreq")
	highest := readFrequency(filepath.Join(dir, "cpuinfo_max_freq"))
	if highest == 0 {
		return clock{}
	}
	reference := highest
	if base := readFrequency(filepath.Join(dir, "base_frequency")); base > 0 && base < highest {
		reference = (base + highest) / 2
	}
	f, err := linux.Open(filepath.Join(dir, "scaling_cur_freq"))
	if err != nil {
		return clock{}
	}
	return clock{file: f, reference: reference, buf: make([]byte, 24)}
}

// weight returns in millionths what a busy moment weighs at the present frequency.
func (c *clock) weight() uint64 {
	if c.file == nil {
		return million
	}
	b, err := c.file.Read(c.buf)
	if err != nil {
		c.close() // the processor went offline, or the driver went away
		return million
	}
	f := parseFrequency(b)
	if f == 0 {
		return million
	}
	r := f / c.reference
	return uint64(min(max(r*math.Sqrt(r)*million, leastWeight), mostWeight))
}

func (c *clock) close() {
	if c.file != nil {
		_ = c.file.Close() // it was only read
		c.file = nil
	}
}

func readFrequency(path string) float64 {
	b, err := linux.ReadFile(path, 24)
	if err != nil {
		return 0
	}
	return parseFrequency(b)
}

// parseFrequency returns a frequency in kHz, 0 if there is none: the kernel
// also says "<unknown>".
func parseFrequency(b []byte) float64 {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	n, ok := linux.ParseUint(b)
	if !ok || n > 100_000_000 {
		return 0
	}
	return float64(n)
}
