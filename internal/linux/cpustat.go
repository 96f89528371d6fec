package linux

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"
)

// clockTick is the unit of CPU times in procfs: USER_HZ is 100 on every
// architecture that Go supports (include/asm-generic/param.h).
const clockTick = 10 * time.Millisecond

// CPUTimes is the machine's CPU time since boot, from /proc/stat. Guest time
// is already part of User and Nice (Documentation/filesystems/proc.rst).
type CPUTimes struct {
	Online int // CPUs that are online
	User   time.Duration
	Nice   time.Duration
	System time.Duration
	Idle   time.Duration
	IOWait time.Duration // may go backwards
	IRQ    time.Duration
	Soft   time.Duration // softirq
	Steal  time.Duration // taken by the hypervisor
}

// errMore says that the buffer ends before the part that is needed.
var errMore = errors.New("text ends before the last CPU line")

// ParseCPUTimes parses the beginning of /proc/stat, which must reach beyond
// the last CPU line.
func ParseCPUTimes(b []byte) (CPUTimes, error) {
	var c CPUTimes
	total, rest, whole := line(b)
	if !whole {
		return CPUTimes{}, errMore
	}
	name, values := field(total)
	if string(name) != "cpu" {
		return CPUTimes{}, errors.New(`first line does not begin with "cpu"`)
	}
	// Steal has been there since Linux 2.6.11.
	for i, dst := range [...]*time.Duration{&c.User, &c.Nice, &c.System, &c.Idle, &c.IOWait, &c.IRQ, &c.Soft, &c.Steal} {
		n, more, ok := uintField(values)
		if !ok || n > math.MaxInt64/uint64(clockTick) {
			return CPUTimes{}, fmt.Errorf("field %d of the cpu line is not a time", i+1)
		}
		*dst, values = time.Duration(n)*clockTick, more
	}
	for {
		text, more, whole := line(rest)
		if !bytes.HasPrefix(text, []byte("cpu")) {
			if !whole && len(text) < len("cpu") && bytes.HasPrefix([]byte("cpu"), text) {
				return CPUTimes{}, errMore
			}
			break
		}
		if !whole {
			return CPUTimes{}, errMore
		}
		c.Online++
		rest = more
	}
	if c.Online == 0 {
		return CPUTimes{}, errors.New("no line of a single CPU")
	}
	return c, nil
}

// CPUClock reads the machine's CPU time again and again. One goroutine at a time.
type CPUClock struct {
	file *File
	buf  []byte
}

// OpenCPUClock opens stat below the directory proc.
func OpenCPUClock(proc string) (*CPUClock, error) {
	f, err := Open(proc + "/stat")
	if err != nil {
		return nil, err
	}
	return &CPUClock{file: f, buf: make([]byte, 4096)}, nil
}

// Read returns the times now. It allocates only while its buffer is too small
// for the machine's number of CPUs.
func (c *CPUClock) Read() (CPUTimes, error) {
	for {
		b, err := c.file.Read(c.buf)
		if err != nil {
			return CPUTimes{}, err
		}
		t, err := ParseCPUTimes(b)
		if errors.Is(err, errMore) && len(b) == len(c.buf) && len(c.buf) < 1<<24 {
			c.buf = make([]byte, 2*len(c.buf))
			continue
		}
		if err != nil {
			return CPUTimes{}, fmt.Errorf("parse %s: %w", c.file.Path(), err)
		}
		return t, nil
	}
}

// Close closes the file.
func (c *CPUClock) Close() error { return c.file.Close() }
