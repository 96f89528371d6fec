// Package identity turns cgroup paths into the names that energy is booked
// to: pods, containers, virtual machines, login sessions and systemd units.
// It is one ordered table of the paths that container runtimes, kubelets and
// service managers make, and the rules that choose among several paths.
//
// It knows no file, no API and no process: what a path does not say stays
// empty, and a directory below it may fill it in later.
package identity

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"noether/internal/workload"
)

// MaxLabel is the largest length in bytes of any name that this package
// returns: the longest name of a Kubernetes object.
const MaxLabel = 253

// Parse returns the pod, container or VM that one cgroup path lies in, and
// whether there is one. The path is that of the host's hierarchy; leading
// ".." elements, as a private cgroup namespace shows them, are skipped.
//
// The outermost pod wins over everything, also over a container around it: a
// cluster whose nodes are containers still has pods. Within the pod, and where
// there is no pod, the outermost container or VM wins: what a container starts
// is the container's. A VM in a pod or container is theirs.
func Parse(path string) (workload.Owner, bool) {
	var first workload.Owner
	found := false
	path = trimDeleted(path)
	for at := 0; ; {
		start, end := element(path, at)
		if start == end {
			return first, found
		}
		at = end
		inPod := found && first.Kind == workload.PodOwner
		owner, ok := match(path[:start], path[start:end], inPod)
		switch {
		case !ok:
		case inPod:
			first.Container = owner.Container
			return first, true
		case !found || owner.Kind == workload.PodOwner:
			first, found = owner, true
		}
	}
}

// Resolve returns the owner of what runs in all of the given cgroups, one path
// a hierarchy, as /proc/<pid>/cgroup lists them. A container, pod or VM in any
// hierarchy decides, asked in the order cpuacct, cpu, name=systemd, pids, v2,
// memory, any other. Else the first path that is not the root, of v2, cpuacct,
// cpu, name=systemd, names a session or unit; other hierarchies never do,
// since nothing obliges them to follow the service manager. Else the owner is
// the unit "/".
func Resolve(paths []workload.CgroupPath) workload.Owner {
	for rank := range ranks {
		for i := range paths {
			if rankOf(paths[i].Hierarchy) != rank {
				continue
			}
			if owner, ok := Parse(paths[i].Path); ok {
				return owner
			}
		}
	}
	for _, rank := range [...]int{rankV2, rankCPUAcct, rankCPU, rankSystemd} {
		for i := range paths {
			if rankOf(paths[i].Hierarchy) != rank {
				continue
			}
			if owner := Unit(paths[i].Path); owner.Unit != "/" {
				return owner
			}
		}
	}
	return workload.Owner{Kind: workload.UnitOwner, Unit: "/"}
}

// The hierarchies in the order in which they are asked for a container.
const (
	rankCPUAcct = iota
	rankCPU
	rankSystemd
	rankPids
	rankV2
	rankMemory
	rankOther
	ranks
)

// rankOf returns the rank of a hierarchy by the best of its controllers.
func rankOf(hierarchy string) int {
	if hierarchy == "" {
		return rankV2
	}
	best := rankOther
	for more := true; more; {
		var name string
		name, hierarchy, more = strings.Cut(hierarchy, ",")
		rank := rankOther
		switch name {
		case "cpuacct":
			rank = rankCPUAcct
		case "cpu":
			rank = rankCPU
		case "name=systemd":
			rank = rankSystemd
		case "pids":
			rank = rankPids
		case "memory":
			rank = rankMemory
		}
		best = min(best, rank)
	}
	return best
}

// Unit returns the session or unit that a path names when it lies in no pod,
// container or VM: everything at or below user.slice/user-<uid>.slice is the
// session of that user, with the uid in decimal as its name; else the first
// service, scope, socket, mount or swap below leading slices is the unit, or
// the last of the slices when there is none; else the first element of the
// path with its slash; and "/" for the root.
func Unit(path string) workload.Owner {
	unit := ""
	rest := trimDeleted(path)
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if name == "" || name == ".." {
			continue
		}
		if slice, ok := strings.CutSuffix(name, ".slice"); ok {
			if uid, ok := strings.CutPrefix(slice, "user-"); ok && unit == "user.slice" && isUID(uid) {
				return workload.Owner{Kind: workload.SessionOwner, User: uid}
			}
			unit = name
			continue
		}
		if holdsProcesses(name) {
			unit = name
		} else if unit == "" {
			return unitOwner("/" + name)
		}
		break
	}
	if unit == "" {
		return unitOwner("/")
	}
	// systemd puts an underscore before a unit whose name could be taken for
	// one of the kernel's own files.
	return unitOwner(strings.TrimPrefix(unit, "_"))
}

func unitOwner(name string) workload.Owner {
	return workload.Owner{Kind: workload.UnitOwner, Unit: Label(name)}
}

// holdsProcesses reports whether name is that of a systemd unit with processes
// of its own: a slice has none.
func holdsProcesses(name string) bool {
	for _, suffix := range [...]string{".service", ".scope", ".socket", ".mount", ".swap"} {
		if len(name) > len(suffix) && strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

func isUID(s string) bool { return isDecimal(s) && len(s) <= len("4294967295") }

// trimDeleted removes what the kernel appends to the path of a removed cgroup (cgroups(7)).
func trimDeleted(path string) string {
	return strings.TrimSuffix(path, " (deleted)")
}

// Label returns s as it may stand in a label: valid UTF-8 without control
// characters, each run of other bytes and each control character replaced by
// U+FFFD, and cut to MaxLabel bytes at a character boundary. A page would have
// to escape what is replaced, and then two names could look the same.
func Label(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		s = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return unicode.ReplacementChar
			}
			return r
		}, s)
	}
	if len(s) <= MaxLabel {
		return s
	}
	end := MaxLabel
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
