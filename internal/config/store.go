package config

import (
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Store says where the history of this machine is kept, and how much of it.
type Store struct {
	Path      string // auto, off or a directory; see Directory
	Interval  time.Duration
	Retention time.Duration
	Size      int64 // bytes on disk
}

// Words of store.path.
const (
	StoreAuto = "auto"
	StoreOff  = "off"
)

// Bounds of the settings of the store.
const (
	minStoreInterval  = time.Second
	maxStoreInterval  = 5 * time.Minute // a series without a sample for longer counts as gone
	minRetention      = time.Hour
	maxRetention      = 10 * 365 * 24 * time.Hour
	minStoreSize      = 16 << 20
	maxStoreSize      = 1 << 50
	leastStoreSize    = 64 << 20 // less is taken for a mistake
	defaultStoreSize  = 1_000_000_000
	defaultRetention  = 15 * 24 * time.Hour
	defaultStorePause = 15 * time.Second
)

// Directory returns where the history is kept, or why it is not. Asked is set
// if somebody named the directory: then it is a fault if it cannot be used.
//
// The directory that auto stands for is that of a systemd unit with
// StateDirectory= (systemd.exec(5)), else that of the XDG Base Directory
// Specification for state, else /var/lib/noether for root.
func (c *Config) Directory(getenv func(string) string, root bool) (dir, off string, asked bool) {
	switch c.Store.Path {
	case StoreOff:
		return "", "--store.path is off: leave it out, or name a directory", true
	case StoreAuto:
	default:
		return c.Store.Path, "", true
	}
	if getenv("KUBERNETES_SERVICE_HOST") != "" || c.Kube.Source != "off" {
		return "", "in a cluster a Prometheus keeps it, and noether ui --prometheus URL shows it; to keep it here too, set --store.path to a directory", false
	}
	if dir, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(dir) {
		return dir, "", false
	}
	// The specification says that a path that is not absolute is to be ignored.
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "noether"), "", false
	}
	if root {
		return "/var/lib/noether", "", false
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "noether"), "", false
	}
	return "", "this user has no home directory: set --store.path to a directory that it may write", false
}

func storeSettings() []Setting {
	return []Setting{
		text("store.path", "auto|off|DIR", "where the history of this machine is kept; auto is $XDG_STATE_HOME/noether or ~/.local/state/noether, /var/lib/noether for root, and off in a cluster", "/srv/noether",
			func(c *Config) *string { return &c.Store.Path }, checkStorePath),
		duration("store.interval", "time from one sample of the history to the next", "30s", minStoreInterval, maxStoreInterval,
			func(c *Config) *time.Duration { return &c.Store.Interval }),
		days("store.retention.time", "how long the history is kept", "90d", minRetention, maxRetention,
			func(c *Config) *time.Duration { return &c.Store.Retention }),
		bytesize("store.retention.size", "how much of the disk the history may take; what is oldest goes first", "512MB", minStoreSize, maxStoreSize,
			func(c *Config) *int64 { return &c.Store.Size }),
	}
}

func checkStorePath(s string) error {
	if s == StoreAuto || s == StoreOff || filepath.IsAbs(s) {
		return nil
	}
	if s == "" {
		return errors.New("is empty: name a directory, or off")
	}
	if hint := didYouMean(s, []string{StoreAuto, StoreOff}); hint != "" && !strings.ContainsRune(s, '/') {
		return errors.New("is neither auto nor off nor an absolute path: " + hint)
	}
	return errors.New("is neither auto nor off nor an absolute path: write it like /var/lib/noether")
}

// days is a duration that may be counted in days and weeks, as Prometheus does: 15d, 2w, 1d12h.
func days(name, help, example string, least, most time.Duration, field func(*Config) *time.Duration) Setting {
	return Setting{
		Name: name, Form: "DURATION", Help: fmt.Sprintf("%s (%s to %s)", help, inDays(least), inDays(most)), Example: example,
		set: func(c *Config, texts []string) error {
			v := last(texts)
			d, err := parseDays(v)
			switch {
			case err != nil && isNumber(v):
				return fmt.Errorf("has no unit: write %sd for days", v)
			case err != nil:
				return fmt.Errorf("is not a duration: write it like %s", example)
			case d < least || d > most:
				return fmt.Errorf("is out of range: choose %s to %s", inDays(least), inDays(most))
			}
			*field(c) = d
			return nil
		},
		get: func(c *Config) string { return inDays(*field(c)) },
	}
}

// parseDays reads weeks and days in front of what time.ParseDuration reads.
func parseDays(s string) (time.Duration, error) {
	var sum time.Duration
	rest := s
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		number, after, ok := strings.Cut(rest, unit.letter)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 16) // of days: 179 years
		if err != nil {
			return 0, fmt.Errorf("read duration %q: %w", s, err)
		}
		sum += time.Duration(n) * unit.length //nolint:gosec // 65535 weeks are 40 % of what fits
		if rest = after; rest == "" {
			return sum, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("read duration %q: it is none", s)
	}
	if sum+d < sum {
		return 0, fmt.Errorf("read duration %q: it is too long", s)
	}
	return sum + d, nil
}

func inDays(d time.Duration) string {
	const day = 24 * time.Hour
	n, rest := d/day, d%day
	switch {
	case n == 0:
		return shortDuration(d)
	case rest == 0:
		return fmt.Sprintf("%dd", n)
	}
	return fmt.Sprintf("%dd%s", n, shortDuration(rest))
}

// sizes are the units of bytes, the largest first among those that a text may end with.
var sizes = []struct { //nolint:gochecknoglobals // a table that nothing changes
	name  string
	bytes int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"KB", 1e3},
	{"kB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
}

// bytesize is a number of bytes with its unit.
func bytesize(name, help, example string, least, most int64, field func(*Config) *int64) Setting {
	return Setting{
		Name: name, Form: "SIZE", Help: fmt.Sprintf("%s (%s to %s)", help, formatSize(least), formatSize(most)), Example: example,
		set: func(c *Config, texts []string) error {
			n, err := parseSize(last(texts))
			switch {
			case err != nil:
				return err
			case n < least || n > most:
				return fmt.Errorf("is out of range: choose %s to %s", formatSize(least), formatSize(most))
			}
			*field(c) = n
			return nil
		},
		get: func(c *Config) string { return formatSize(*field(c)) },
	}
}

// parseSize reads 512MB, 1.5GiB or 1 GB: MB is a million bytes, MiB is 2^20.
func parseSize(s string) (int64, error) {
	if isNumber(s) {
		return 0, errors.New("has no unit: write it like 512MB, 1GB or 1GiB")
	}
	for _, unit := range sizes {
		number, ok := strings.CutSuffix(s, unit.name)
		if !ok {
			continue
		}
		number = strings.TrimSpace(number)
		if len(number) > 20 || strings.ContainsFunc(number, func(r rune) bool { return (r < '0' || r > '9') && r != '.' }) {
			break
		}
		exact, ok := new(big.Rat).SetString(number)
		if !ok {
			break
		}
		exact.Mul(exact, new(big.Rat).SetInt64(unit.bytes))
		whole := new(big.Int).Quo(exact.Num(), exact.Denom())
		if !whole.IsInt64() {
			return 0, errors.New("is too large")
		}
		return whole.Int64(), nil
	}
	return 0, errors.New("is not a size: write it like 512MB, 1GB or 1GiB")
}

// formatSize writes a size in the largest unit that it is a whole number of.
func formatSize(n int64) string {
	best := fmt.Sprintf("%dB", n)
	for _, unit := range sizes {
		if text := fmt.Sprintf("%d%s", n/unit.bytes, unit.name); n != 0 && n%unit.bytes == 0 && len(text) < len(best) {
			best = text
		}
	}
	return best
}

// storeWarnings are what looks like a mistake in how much is kept.
func (c *Config) storeWarnings() (warnings []string) {
	d, s := Default(), &c.Store
	if s.Path == StoreOff {
		if s.Interval != d.Store.Interval || s.Retention != d.Store.Retention || s.Size != d.Store.Size {
			warnings = append(warnings, "store.interval and store.retention have no effect: store.path is off")
		}
		return warnings
	}
	if s.Size < leastStoreSize {
		warnings = append(warnings, fmt.Sprintf("store.retention.size %s is less than %s: the log of the newest hours alone may take as much", formatSize(s.Size), formatSize(leastStoreSize)))
	}
	if s.Interval != d.Store.Interval && s.Interval < c.Agent.Interval {
		warnings = append(warnings, fmt.Sprintf("store.interval %s is shorter than interval %s: there is one sample a tick", shortDuration(s.Interval), shortDuration(c.Agent.Interval)))
	}
	return warnings
}

// External returns web.external-url, nil if it is not set. The settings were found valid.
func (c *Config) External() *url.URL {
	if c.ExternalURL == "" {
		return nil
	}
	u, err := url.Parse(c.ExternalURL)
	if err != nil {
		return nil
	}
	return u
}

func checkExternal(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("is not http(s)://HOST/PATH: write it like https://example.org/noether/")
	}
	if u.Path != "" && (u.Path != u.EscapedPath() || strings.Contains(u.Path, "//") || strings.Contains(u.Path, "/.")) {
		return errors.New("has a path with something else than plain words between slashes: write it like https://example.org/noether/")
	}
	return nil
}
