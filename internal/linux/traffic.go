package linux

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// Traffic adds up the bytes that a machine's own devices have moved, from one
// read to the next: network interfaces or disks, not what is built on top of
// them, so that no byte counts twice. It is for one goroutine. Reading
// allocates nothing unless devices come.
type Traffic struct {
	file    *File
	counter func(line []byte) (name []byte, bytes uint64, ok bool)
	own     func(name string) bool
	buf     []byte
	devices map[string]*trafficDevice
	reads   uint64
	last    time.Duration
}

type trafficDevice struct {
	own   bool
	bytes uint64
	seen  uint64 // number of the read that it was in last
}

const (
	// maxRate is more than any one device moves, in bytes per second: what is
	// beyond it is a counter that jumped.
	maxRate = 1 << 40
	// maxTraffic bounds the file: some ten thousand devices.
	maxTraffic = 4 << 20
)

// OpenNetwork counts what network interfaces receive and send: those with a
// device behind them, but no virtual functions, whose bytes the physical
// function counts too. They are those of the first process's network, which is
// the machine's even where the reader's own is another.
func OpenNetwork(at FS) (*Traffic, error) {
	classes := filepath.Join(at.Sys, "class/net")
	file, err := Open(filepath.Join(at.Proc, "1/net/dev"))
	if err != nil {
		if file, err = Open(filepath.Join(at.Proc, "net/dev")); err != nil {
			return nil, err
		}
	}
	return newTraffic(file, netCounter, func(name string) bool {
		device := filepath.Join(classes, name, "device")
		return filepath.IsLocal(name) && exists(device) && !exists(filepath.Join(device, "physfn"))
	}), nil
}

// OpenDisks counts what disks read and write: those that IsDisk takes for one
// of the machine's own, without their partitions.
func OpenDisks(at FS) (*Traffic, error) {
	file, err := Open(filepath.Join(at.Proc, "diskstats"))
	if err != nil {
		return nil, err
	}
	block := filepath.Join(at.Sys, "block")
	return newTraffic(file, diskCounter, func(name string) bool {
		return filepath.IsLocal(name) && IsDisk(block, name)
	}), nil
}

func newTraffic(file *File, counter func([]byte) ([]byte, uint64, bool), own func(string) bool) *Traffic {
	return &Traffic{file: file, counter: counter, own: own, devices: make(map[string]*trafficDevice), buf: make([]byte, 4096)}
}

// Close closes the file.
func (t *Traffic) Close() error { return t.file.Close() }

// Read returns the bytes moved since the read before; 0 at the first one. A
// device that was not there before, or whose counter fell or jumped, begins anew.
func (t *Traffic) Read(now time.Duration) (uint64, error) {
	text, err := t.readAll()
	if err != nil {
		return 0, err
	}
	most := uint64(max(now-t.last, time.Second)/time.Millisecond) * (maxRate / 1000)
	t.last = now
	t.reads++
	var sum uint64
	live := 0
	for line := range bytes.Lines(text) {
		name, count, ok := t.counter(line)
		if !ok {
			continue
		}
		d := t.devices[string(name)]
		if d == nil {
			key := string(name)
			d = &trafficDevice{own: t.own(key), bytes: count}
			t.devices[key] = d
		}
		if moved := count - d.bytes; d.own && count >= d.bytes && moved <= most {
			sum += moved
		}
		if d.bytes = count; d.seen != t.reads {
			d.seen = t.reads
			live++
		}
	}
	if len(t.devices) > live { // some are gone; their names may come back as others
		for name, d := range t.devices {
			if d.seen != t.reads {
				delete(t.devices, name)
			}
		}
	}
	return sum, nil
}

// readAll reads the file from its beginning: the kernel gives a page at a time.
func (t *Traffic) readAll() ([]byte, error) {
	n := 0
	for {
		if n == len(t.buf) {
			if n >= maxTraffic {
				return nil, &fs.PathError{Op: "read", Path: t.file.path, Err: fmt.Errorf("longer than %d bytes", maxTraffic)}
			}
			t.buf = append(t.buf, make([]byte, len(t.buf))...)
		}
		m, err := t.file.readAt(t.buf[n:], int64(n))
		if err != nil {
			return nil, err
		}
		if m == 0 {
			return t.buf[:n], nil
		}
		n += m
	}
}

// netCounter parses a line of /proc/net/dev: the name, a colon, eight numbers
// of what was received, bytes first, and eight of what was sent.
func netCounter(line []byte) (name []byte, sum uint64, ok bool) {
	name, rest, ok := bytes.Cut(line, []byte(":"))
	if name = bytes.TrimSpace(name); !ok || len(name) == 0 {
		return nil, 0, false
	}
	return fieldSum(name, rest, 0, 8, 1)
}

// diskCounter parses a line of /proc/diskstats: two numbers, the name, and
// from there on counters of which the third and the seventh are sectors of 512
// bytes read and written (Documentation/admin-guide/iostats.rst).
func diskCounter(line []byte) (name []byte, sum uint64, ok bool) {
	for range 3 {
		name, line = field(bytes.TrimLeft(line, " "))
	}
	if len(name) == 0 {
		return nil, 0, false
	}
	return fieldSum(name, line, 2, 6, 512)
}

// fieldSum adds two of the numbers of a line and multiplies them.
func fieldSum(name, line []byte, first, second int, times uint64) ([]byte, uint64, bool) {
	var sum uint64
	for i := range second + 1 {
		line = bytes.TrimLeft(line, " ")
		n, rest, ok := uintField(line)
		if !ok || n > 1<<62/times {
			return nil, 0, false
		}
		if i == first || i == second {
			sum += n * times
		}
		line = rest
	}
	return name, sum, true
}
