package main

import (
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"noether/internal/impact/value"
)

// frameworkVersion is the version of the Impact Framework whose manifests and
// outputs this engine's are.
const frameworkVersion = "1.1.0"

// environment returns the execution block's environment: the keys that the
// Impact Framework writes, filled with what this engine runs on. Nothing is
// started to find it out.
func environment(root string, now time.Time) *value.Object {
	name, version := system(root)
	e := value.NewObject(6)
	e.Set("if-version", value.Text(frameworkVersion))
	e.Set("os", value.Text(name))
	e.Set("os-version", value.Text(version))
	e.Set("node-version", value.Text(runtime.Version()))
	e.Set("date-time", value.Text(string(value.AppendISO(nil, float64(now.UnixMilli())))+" (UTC)"))
	e.Set("dependencies", value.Texts("noether@"+build().version))
	return e
}

// system returns the name and version of the operating system as os-release
// gives them, the kernel's where there is no such file, as in an empty image.
func system(root string) (name, version string) {
	for _, file := range []string{"etc/os-release", "usr/lib/os-release"} {
		content, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue
		}
		fields := map[string]string{}
		for line := range strings.Lines(string(content)) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				fields[k] = strings.Trim(v, `"'`)
			}
		}
		name, _, _ = strings.Cut(fields["NAME"], " ")
		if name != "" {
			return name, strings.TrimSpace(strings.TrimPrefix(fields["PRETTY_NAME"], name))
		}
	}
	return runtime.GOOS, kernel()
}

// commandLine returns what was called, as the execution block shows it, without
// passwords in addresses.
func commandLine(program string, args []string) string {
	words := append([]string{program}, args...)
	for i, w := range words {
		if at := strings.Index(w, "://"); at > 0 && strings.Contains(w[at:], "@") {
			if u, err := url.Parse(w); err == nil {
				words[i] = u.Redacted()
			} else {
				words[i] = "***"
			}
		}
	}
	return strings.Join(words, " ")
}
