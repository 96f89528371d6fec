package cgroup

import (
	"bytes"
	"math"
	"time"

	"noether/internal/linux"
)

// parseCounter parses the text of cpu.stat (v2, microseconds in the line
// usage_usec, Documentation/admin-guide/cgroup-v2.rst) or cpuacct.usage (v1,
// nanoseconds, Documentation/admin-guide/cgroup-v1/cpuacct.rst).
func parseCounter(b []byte, v2 bool) (time.Duration, bool) {
	unit := uint64(1)
	if v2 {
		const key = "usage_usec "
		for !bytes.HasPrefix(b, []byte(key)) {
			i := bytes.IndexByte(b, '\n')
			if i < 0 {
				return 0, false
			}
			b = b[i+1:]
		}
		b, unit = b[len(key):], 1000
	}
	before, _, ok := bytes.Cut(b, []byte{'\n'})
	if !ok {
		return 0, false
	}
	n, ok := linux.ParseUint(before)
	if !ok || n > math.MaxInt64/unit {
		return 0, false
	}
	return time.Duration(n * unit), true
}
