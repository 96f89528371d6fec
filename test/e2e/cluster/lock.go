package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// lock takes a lock of the whole machine and returns what gives it back. The
// kernel gives it back too when this process ends, however it ends.
func lock(ctx context.Context, path string, log io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("take a lock of the machine: %w", err)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for said := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil //nolint:errcheck // closing is the point
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close() //nolint:errcheck // it was never locked
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !said {
			said = true
			say(log, "waiting for %s, which another process holds", path)
		}
		select {
		case <-ctx.Done():
			f.Close() //nolint:errcheck // it was never locked
			return nil, fmt.Errorf("wait for %s, which another process holds: %w", path, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
