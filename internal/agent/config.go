package agent

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"noether/internal/attribution"
)

// Bounds of Config.Interval.
const (
	MinInterval = 100 * time.Millisecond
	MaxInterval = 5 * time.Minute
)

// Config is what a user may choose about the tick and its books.
type Config struct {
	Interval     time.Duration // length of a tick
	KeepFinished time.Duration // how long finished workloads stay listed; never less than two ticks
	Processes    Processes
	NodeName     string // label of every series; may be empty
	Policy       string // name of an attribution policy
}

// Default returns the configuration of an agent that was told nothing.
func Default() Config {
	return Config{
		Interval:     5 * time.Second,
		KeepFinished: 10 * time.Minute,
		Processes:    Processes{Mode: TopProcesses, N: 100},
		Policy:       attribution.Utilisation{}.Name(),
	}
}

// Validate returns the first thing that is wrong with c.
func (c *Config) Validate() error {
	if c.Interval < MinInterval || c.Interval > MaxInterval {
		return fmt.Errorf("interval %s is out of range: use %s to %s", c.Interval, MinInterval, MaxInterval)
	}
	if c.KeepFinished < 0 {
		return fmt.Errorf("keep-finished %s is negative: use 0 or more", c.KeepFinished)
	}
	if len(c.NodeName) > 253 {
		return fmt.Errorf("node-name has %d bytes: use at most 253", len(c.NodeName))
	}
	_, err := attribution.ByName(c.Policy)
	return err
}

// ProcessMode says which processes get a series of their own.
type ProcessMode uint8

// The modes.
const (
	NoProcesses  ProcessMode = iota // there is no process family
	TopProcesses                    // those that were among the N busiest of some tick
	AllProcesses
)

// Processes is the value of --processes: off, top:N or all.
type Processes struct {
	Mode ProcessMode
	N    int // of TopProcesses
}

// maxTop bounds N of top:N; more than that is "all".
const maxTop = 1_000_000

// ParseProcesses parses off, top:N and all.
func ParseProcesses(s string) (Processes, error) {
	switch {
	case s == "off":
		return Processes{}, nil
	case s == "all":
		return Processes{Mode: AllProcesses}, nil
	case strings.HasPrefix(s, "top:"):
		n, err := strconv.Atoi(s[len("top:"):])
		if err == nil && n > 0 && n <= maxTop {
			return Processes{Mode: TopProcesses, N: n}, nil
		}
	}
	return Processes{}, fmt.Errorf("processes %q is none of off, top:N (N from 1 to %d), all", s, maxTop)
}

// String returns p as ParseProcesses reads it.
func (p Processes) String() string {
	switch p.Mode {
	case AllProcesses:
		return "all"
	case TopProcesses:
		return "top:" + strconv.Itoa(p.N)
	default:
		return "off"
	}
}

// maxEnded is how many finished processes stay listed.
func (p Processes) maxEnded() int { return p.N + 1000 }
