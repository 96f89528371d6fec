package agent

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clock is where the agent takes the time from; tests replace it.
type Clock struct {
	Wall func() time.Time     // for people
	Mono func() time.Duration // for durations; stands still while the machine is suspended
	Boot func() time.Duration // like Mono, but goes on while the machine is suspended
	CPU  func() time.Duration // CPU time of the calling thread
}

// SystemClock reads the kernel's clocks (clock_gettime(2)).
func SystemClock() Clock {
	gettime := func(id int32) func() time.Duration {
		return func() time.Duration {
			var ts unix.Timespec
			if unix.ClockGettime(id, &ts) != nil {
				return 0 // cannot happen: the clocks exist since Linux 2.6.39 and ts is ours
			}
			return time.Duration(ts.Nano())
		}
	}
	return Clock{
		Wall: time.Now,
		Mono: gettime(unix.CLOCK_MONOTONIC),
		Boot: gettime(unix.CLOCK_BOOTTIME),
		CPU:  gettime(unix.CLOCK_THREAD_CPUTIME_ID),
	}
}

// minSuspend is how far Boot must run ahead of Mono to be called a suspend;
// the two are not read at the same instant.
const minSuspend = 200 * time.Millisecond

// ahead returns how far Boot runs ahead of Mono, which is how long the machine
// has been suspended. Where the thread had to wait for a CPU between the two,
// it is told too little rather than too much: a wait is no suspend.
func (c Clock) ahead() (d time.Duration) {
	for range 5 {
		before := c.Mono()
		boot := c.Boot()
		after := c.Mono()
		d = boot - after
		if after-before < minSuspend/2 {
			break
		}
	}
	return d
}
