package store

import (
	"slices"
	"strings"

	"noether/internal/export"
)

// keep tells whether the samples of f are kept.
type keep uint8

const (
	never keep = iota
	always
	copied // always, and by five minutes
)

// keepOf decides by the type of a family and what it is about, so that a new
// one of an owner or of processes costs nothing until somebody asks for it.
// TestFamilies lists every decision.
func keepOf(f *export.Family) keep {
	switch of := subject(f.Name); {
	case of == "process":
		return never
	case f.Type != export.Counter:
		if slices.ContainsFunc(f.Labels, isOwner) {
			return never // what an owner draws is the rate of its counter
		}
		return always
	case !slices.Contains([]string{"node", "namespace", "workload", "pod", "container", "vm", "unit", "session", "system", "zone"}, of):
		return always // about the agent
	case strings.HasSuffix(f.Name, "_cpu_seconds_total"):
		return always
	default:
		return copied
	}
}

// CopyName returns the name of the five-minute copy of a family, "" for those
// that have none.
func CopyName(f *export.Family) string {
	if keepOf(f) != copied {
		return ""
	}
	return CopyPrefix + strings.TrimPrefix(f.Name, "noether_")
}

// subject returns the word after noether_.
func subject(name string) string {
	of, _, _ := strings.Cut(strings.TrimPrefix(name, "noether_"), "_")
	return of
}

// isOwner tells whether a label names an owner.
func isOwner(label string) bool {
	switch label {
	case "pod_uid", "container_id", "vm", "unit", "user", "pid":
		return true
	default:
		return false
	}
}
