package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"noether/internal/impact/fault"
)

// console is where a run of a manifest talks to its user. Safe for concurrent use.
type console struct {
	compat bool // lines as the Impact Framework prints them, on standard output
	debug  bool
	out    io.Writer // of the lines

	mu       sync.Mutex
	said     map[string]bool
	progress io.Writer // nil if standard error is no terminal
	started  time.Time
	drawn    time.Time
}

func newConsole(p *process, compat, debug bool) *console {
	c := &console{compat: compat, debug: debug, out: p.stderr, said: map[string]bool{}, started: time.Now()}
	if compat {
		c.out = p.stdout
	}
	if f, ok := p.stderr.(*os.File); ok {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			c.progress = f
		}
	}
	return c
}

// stamp is the time as the Impact Framework's log has it.
func stamp() string { return time.Now().UTC().Format("[2006-01-02 03:04:05.000 PM] ") }

func (c *console) line(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	_, _ = io.WriteString(c.out, s) // nobody is left to tell
}

// Warn tells the user something that does not stop the run, each thing once.
func (c *console) Warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.mu.Lock()
	again := c.said[text]
	c.said[text] = true
	c.mu.Unlock()
	switch {
	case again:
	case c.compat:
		c.line(stamp() + "warn: \t" + text + "\n")
	default:
		c.line("warning: " + strings.ReplaceAll(text, "\n", " ") + "\n")
	}
}

// Debug tells what is being done, with --debug only.
func (c *console) Debug(format string, args ...any) {
	switch text := fmt.Sprintf(format, args...); {
	case !c.debug:
	case c.compat:
		level := "DEBUG"
		if strings.HasSuffix(text, "ing IF") {
			level = "INFO"
		}
		c.line(level + ": " + time.Now().UTC().Format("2006-01-02T15:04:05.000Z") + ": " + text + "\n")
	default:
		c.line(fmt.Sprintf("debug: %6.1f ms  %s\n", float64(time.Since(c.started).Microseconds())/1000, text))
	}
}

// Failed prints an error as the Impact Framework does: class and message.
func (c *console) Failed(err error) {
	class, text := fault.Class("Error"), err.Error()
	if f, ok := errors.AsType[*fault.Error](err); ok {
		class, text = f.Class, f.Message
	}
	c.line(stamp() + string(class) + ": \t" + text + "\n\n")
}

// Progress shows how far a long run is, on a terminal, after a second.
func (c *console) Progress(done, total int) {
	if c.progress == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.started) < time.Second || now.Sub(c.drawn) < 100*time.Millisecond {
		return
	}
	c.drawn = now
	_, _ = fmt.Fprintf(c.progress, "\r\x1b[K%d of %d components, %s", done, total, now.Sub(c.started).Round(time.Second))
}

// Done takes the progress off the terminal.
func (c *console) Done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
}

// clear empties the progress line; the caller holds mu.
func (c *console) clear() {
	if !c.drawn.IsZero() {
		_, _ = io.WriteString(c.progress, "\r\x1b[K")
		c.drawn = time.Time{}
	}
}
