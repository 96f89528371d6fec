package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"noether/internal/tui"
)

// screen is a terminal that was taken over: keys come one by one, and what
// was on it before comes back at the end. One goroutine at a time, but for keys.
type screen struct {
	in, out *os.File
	before  *unix.Termios
	shown   []string // nil: nobody knows what is on it
}

// What a terminal is told (xterm, "Control Sequences").
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l" // the other buffer, no cursor, no wrapping
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// openScreen takes over the terminal that out is. Keys come from in, if that
// is a terminal, else from the one that controls this process.
func openScreen(in io.Reader, out *os.File) (*screen, error) {
	s := &screen{out: out}
	f, ok := in.(*os.File)
	if ok && onTerminal(f) {
		s.in = f
	} else {
		var err error
		if s.in, err = os.Open("/dev/tty"); err != nil {
			return nil, fmt.Errorf("read keys: %w", err)
		}
	}
	return s, s.enter()
}

// enter has the terminal hand over keys one by one. Those that send signals
// still do.
func (s *screen) enter() error {
	before, err := unix.IoctlGetTermios(int(s.in.Fd()), unix.TCGETS)
	if err != nil {
		return fmt.Errorf("ask the terminal for its settings: %w", err)
	}
	raw := *before
	raw.Lflag &^= unix.ICANON | unix.ECHO
	raw.Iflag &^= unix.ICRNL | unix.IXON
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(s.in.Fd()), unix.TCSETSW, &raw); err != nil {
		return fmt.Errorf("set the terminal: %w", err)
	}
	s.before, s.shown = before, nil
	_, err = s.out.WriteString(enterScreen)
	return err
}

// leave gives the terminal back as it was.
func (s *screen) leave() error {
	_, err := s.out.WriteString(leaveScreen)
	if set := unix.IoctlSetTermios(int(s.in.Fd()), unix.TCSETSW, s.before); set != nil {
		err = set
	}
	return err
}

// size returns columns and lines, 80 by 24 where the terminal does not say.
func (s *screen) size() (columns, lines int) {
	size, err := unix.IoctlGetWinsize(int(s.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 || size.Row == 0 {
		return 80, 24
	}
	return int(size.Col), int(size.Row)
}

// draw writes the lines that are not on the screen yet.
func (s *screen) draw(lines []string) error {
	var b strings.Builder
	if s.shown == nil {
		b.WriteString("\x1b[2J")
	}
	for i, line := range lines {
		if i >= len(s.shown) || s.shown[i] != line {
			fmt.Fprintf(&b, "\x1b[%d;1H%s\x1b[K", i+1, line)
		}
	}
	if len(lines) < len(s.shown) {
		fmt.Fprintf(&b, "\x1b[%d;1H\x1b[J", len(lines)+1)
	}
	s.shown = append([]string{}, lines...)
	if b.Len() == 0 {
		return nil
	}
	_, err := s.out.WriteString(b.String())
	return err
}

// keys sends what is typed until stop is called, which waits for the end. The
// channel is closed when there is no terminal any more.
func (s *screen) keys(ctx context.Context) (keys <-chan tui.Key, stop func(), err error) {
	wake, end, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	typed := make(chan tui.Key)
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		defer close(typed)
		var buf [256]byte
		kept := 0
		for {
			ready := []unix.PollFd{{Fd: int32(s.in.Fd()), Events: unix.POLLIN}, {Fd: int32(wake.Fd()), Events: unix.POLLIN}}
			if _, err := unix.Poll(ready, -1); err == unix.EINTR {
				continue
			} else if err != nil || ready[1].Revents != 0 {
				return
			}
			n, err := unix.Read(int(s.in.Fd()), buf[kept:])
			if err == unix.EINTR {
				continue
			}
			if err != nil || n == 0 {
				return
			}
			list, rest := tui.Keys(buf[:kept+n])
			kept = copy(buf[:], rest)
			for _, k := range list {
				select {
				case typed <- k:
				case <-ctx.Done():
					return
				}
			}
		}
	})
	return typed, func() {
		cancel()
		_ = end.Close() // wakes the reader
		done.Wait()
		_ = wake.Close()
	}, nil
}

// suspend stops this process as Ctrl-Z does, with the terminal as it was, and
// takes it over again when the process goes on.
func (s *screen) suspend(signals chan os.Signal) error {
	if err := s.leave(); err != nil {
		return err
	}
	signal.Stop(signals)
	if err := unix.Kill(unix.Getpid(), unix.SIGSTOP); err != nil {
		return err
	}
	signal.Notify(signals, screenSignals()...)
	return s.enter()
}

// screenSignals are those that concern the screen.
func screenSignals() []os.Signal { return []os.Signal{unix.SIGWINCH, unix.SIGTSTP, unix.SIGCONT} }
