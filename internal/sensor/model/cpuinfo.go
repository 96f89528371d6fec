package model

import (
	"bytes"
	"errors"
	"strconv"

	"noether/internal/linux"
	"noether/internal/unit"
)

// parseIdentity reads the first processor of /proc/cpuinfo. What is not there stays zero.
func parseIdentity(b []byte) (id identity) {
	for text := range bytes.Lines(b) {
		key, value, ok := bytes.Cut(text, []byte(":"))
		if !ok {
			if id != (identity{}) && len(bytes.TrimSpace(text)) == 0 {
				break
			}
			continue
		}
		s := string(bytes.TrimSpace(value))
		number := func() int {
			n, _ := strconv.ParseUint(s, 0, 31) // garbage is 0, which matches nothing
			return int(n)
		}
		switch string(bytes.TrimSpace(key)) {
		case "vendor_id":
			id.vendor = s
		case "cpu family":
			id.family = number()
		case "model":
			id.model = number()
		case "stepping":
			id.stepping = number()
		case "CPU implementer":
			id.implementer = number()
		case "CPU part":
			id.part = number()
		}
	}
	return id
}

// parseMemory returns MemTotal of /proc/meminfo in KiB.
func parseMemory(b []byte) (uint64, bool) {
	for text := range bytes.Lines(b) {
		rest, ok := bytes.CutPrefix(text, []byte("MemTotal:"))
		if !ok {
			continue
		}
		rest, ok = bytes.CutSuffix(bytes.TrimSpace(rest), []byte(" kB"))
		n, isNumber := linux.ParseUint(rest)
		return n, ok && isNumber && n < 1<<50
	}
	return 0, false
}

// memoryPower returns the power of some memory at some power per GiB.
func memoryPower(kib uint64, perGiB unit.Power) unit.Power {
	return unit.Power(unit.MulDiv(kib, uint64(perGiB), 1<<20))
}

var (
	errCut  = errors.New("text ends inside the lines of the processors")
	errStat = errors.New("no line of a single processor")
)

// cpuTime is one processor's line of /proc/stat.
type cpuTime struct {
	cpu  int
	busy uint64 // ticks of 10 ms since boot
}

// parseCPUs appends each processor's busy time to dst: user, nice, system,
// irq and softirq. Guest time is part of user and nice; idle, iowait and steal
// are not busy (Documentation/filesystems/proc.rst). A line that cannot be
// parsed costs its own processor.
func parseCPUs(dst []cpuTime, b []byte) ([]cpuTime, error) {
	for {
		end := bytes.IndexByte(b, '\n')
		if end < 0 && (bytes.HasPrefix(b, []byte("cpu")) || len(b) < len("cpu")) {
			return dst, errCut
		}
		if !bytes.HasPrefix(b, []byte("cpu")) {
			break
		}
		if t, ok := parseCPU(b[len("cpu"):end]); ok {
			dst = append(dst, t)
		}
		b = b[end+1:]
	}
	if len(dst) == 0 {
		return dst, errStat
	}
	return dst, nil
}

// mostCPUs is above any kernel's NR_CPUS.
const mostCPUs = 1 << 16

func parseCPU(b []byte) (t cpuTime, ok bool) {
	number, rest, _ := bytes.Cut(b, []byte(" "))
	n, ok := linux.ParseUint(number) // the line of all processors has no number
	if !ok || n >= mostCPUs {
		return cpuTime{}, false
	}
	t.cpu = int(n)
	for i := range 7 {
		var word []byte
		word, rest, _ = bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
		v, ok := linux.ParseUint(word)
		if !ok || v > 1<<56 {
			return cpuTime{}, false
		}
		const idle, iowait = 3, 4
		if i != idle && i != iowait {
			t.busy += v
		}
	}
	return t, true
}
