package linux

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"
)

// Flags of a task (include/linux/sched.h).
const (
	exiting      = 0x00000004 // PF_EXITING
	worker       = 0x00000020 // PF_WQ_WORKER
	kernelThread = 0x00200000 // PF_KTHREAD
)

// ProcessStat is one process (thread group), from /proc/<pid>/stat.
type ProcessStat struct {
	Comm    [16]byte // cut at 15 bytes as the kernel does, NUL-terminated, any bytes
	State   byte     // R, S, D, Z, ...
	Parent  uint32
	Kernel  bool          // a kernel thread
	Exiting bool          // on its way out, or a zombie
	CPU     time.Duration // utime + stime: all threads, ended ones included
	Reaped  time.Duration // cutime + cstime: children that were waited for, and theirs
	Threads uint32
	Start   time.Duration // since boot, a multiple of 10 ms
	RSS     uint64        // pages
}

// ParseProcessStat parses /proc/<pid>/stat into s. The name may hold any
// byte, so it ends at the last parenthesis (Documentation/filesystems/proc.rst,
// table 1-4, has the fields). On error s is undefined.
func ParseProcessStat(b []byte, s *ProcessStat) error {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return errors.New("no name in parentheses")
	}
	s.Comm = [16]byte{}
	copy(s.Comm[:15], b[open+1:end])
	rest := b[end+1:]
	if len(rest) < 3 || rest[0] != ' ' || rest[2] != ' ' {
		return errors.New("no state after the name")
	}
	s.State, rest = rest[1], rest[3:]
	var utime, stime, cutime, cstime uint64
	for at := 4; at <= 24; at++ { // fields are counted from 1; the state is the third
		word, more := field(rest)
		rest = more
		var ok bool
		var n uint64
		switch at {
		case 4, 9, 14, 15, 16, 17, 20, 22:
			if n, ok = ParseUint(word); !ok || n > math.MaxInt64/uint64(clockTick)/4 {
				return fmt.Errorf("field %d is not a number", at)
			}
		case 24:
			// Negative for a moment when the kernel's counters are summed while they change.
			if n, ok = ParseUint(word); !ok && (len(word) < 2 || word[0] != '-') {
				return fmt.Errorf("field %d is not a number", at)
			}
		default:
			if len(word) == 0 {
				return fmt.Errorf("text ends before field %d", at)
			}
		}
		switch at {
		case 4:
			s.Parent = uint32(n)
		case 9:
			s.Kernel, s.Exiting = n&kernelThread != 0, n&exiting != 0
			if n&worker != 0 {
				s.Comm = [16]byte{}
				copy(s.Comm[:15], workerName(b[open+1:end]))
			}
		case 14:
			utime = n
		case 15:
			stime = n
		case 16:
			cutime = n
		case 17:
			cstime = n
		case 20:
			s.Threads = uint32(n)
		case 22:
			s.Start = time.Duration(n) * clockTick
		case 24:
			s.RSS = n
		}
	}
	s.CPU = time.Duration(utime+stime) * clockTick
	s.Reaped = time.Duration(cutime+cstime) * clockTick
	return nil
}

// workerName cuts off what a worker of a workqueue is busy with, which procfs
// appends to its name and changes all the time ("kworker/1:0-events"; see
// wq_worker_comm in kernel/workqueue.c).
func workerName(name []byte) []byte {
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		if j := bytes.IndexAny(name[i:], "-+"); j >= 0 {
			return name[:i+j]
		}
	}
	return name
}

// CgroupLine is one line of /proc/<pid>/cgroup. Its fields are parts of the
// text that was parsed.
type CgroupLine struct {
	Controllers []byte // empty for v2, else "cpu,cpuacct" or "name=systemd"
	Path        []byte // begins with '/'; may begin with "/.." in a private namespace
}

// Has reports whether controller is one of the line's.
func (l CgroupLine) Has(controller string) bool {
	for list := l.Controllers; len(list) > 0; {
		name := list
		if i := bytes.IndexByte(list, ','); i >= 0 {
			name, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		if string(name) == controller {
			return true
		}
	}
	return false
}

// NextCgroupLine returns the first line of b that is well formed, and what
// follows it. Ok is false when there is none. A cgroup of v2 that has been
// removed keeps its path: the kernel's mark " (deleted)" is cut off.
func NextCgroupLine(b []byte) (l CgroupLine, rest []byte, ok bool) {
	for len(b) > 0 {
		var text []byte
		text, b, _ = line(b)
		i := bytes.IndexByte(text, ':')
		if i < 0 {
			continue
		}
		id := text[:i]
		text = text[i+1:]
		// A named hierarchy may hold no colon, a path may.
		i = bytes.IndexByte(text, ':')
		if i < 0 || i+1 >= len(text) || text[i+1] != '/' {
			continue
		}
		l = CgroupLine{Controllers: text[:i], Path: text[i+1:]}
		if string(id) == "0" && len(l.Controllers) == 0 {
			l.Path = bytes.TrimSuffix(l.Path, []byte(" (deleted)"))
		}
		return l, b, true
	}
	return CgroupLine{}, nil, false
}

// ParseUptime parses /proc/uptime: the time since boot, time in suspend
// included, on the clock of ProcessStat.Start.
func ParseUptime(b []byte) (time.Duration, error) {
	word, _ := field(b)
	i := bytes.IndexByte(word, '.')
	if i < 0 || len(word) != i+3 {
		return 0, errors.New("no time in seconds and hundredths")
	}
	seconds, ok := ParseUint(word[:i])
	hundredths, ok2 := ParseUint(word[i+1:])
	if !ok || !ok2 || seconds > math.MaxInt64/uint64(time.Second)-1 {
		return 0, errors.New("no time in seconds and hundredths")
	}
	return time.Duration(seconds)*time.Second + time.Duration(hundredths)*10*time.Millisecond, nil
}
