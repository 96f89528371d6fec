package main

import (
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"noether/internal/config"
	"noether/internal/export"
	"noether/internal/linux"
)

// about returns what does not change while the agent runs.
func about(cfg *config.Config, start time.Time) export.About {
	b := build()
	return export.About{
		Version: b.version, Revision: b.revision, GoVersion: b.goVersion,
		OS: runtime.GOOS, Arch: runtime.GOARCH, Kernel: kernel(), CPUModel: cpuModel(cfg.FS()),
		Start: start, Node: cfg.Agent.NodeName, PodLabels: labelNames(cfg),
	}
}

// kernel returns the running kernel's release, empty when it is unknown.
func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// cpuModel returns what the processor calls itself, for people only; empty
// when it does not say.
func cpuModel(fs linux.FS) string {
	content, err := linux.ReadFile(fs.Proc+"/cpuinfo", 4096)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(content)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
