package identity

import (
	"strings"

	"noether/internal/workload"
)

// form says what the variable part of a path element may look like.
type form uint8

const (
	hexID    form = iota // 64 lower-case hexadecimal digits
	anyName              // any name
	escaped              // any name, with systemd's \xHH escapes
	numbered             // like escaped, after a number and a dash
	number               // decimal digits
	uid                  // uid of a pod
	uidUnder             // uid of a pod, with underscores for its dashes
)

// row is one line of the table: it matches a path element that lies below
// parent and is made of prefix, a name of the given form, and suffix.
type row struct {
	title   string
	example string // a path whose owner this row decides
	parent  string // the end of the path above; from the root if it starts with a slash
	prefix  string
	suffix  string
	form    form
	kind    workload.Kind
	label   string // runtime, hypervisor or QoS class; empty where the path does not tell
	podOnly bool   // only inside a pod
	middle  bool   // prefix may follow other dashed words: a slice with parents
}

// table is asked from top to bottom for each element of a path; the first row
// that matches decides. It is never changed.
//
//nolint:gochecknoglobals // a constant table
var table = [...]row{
	// Pods. The kubelet's cgroup manager makes them below a root of its own
	// (--cgroup-root), in names that depend on its cgroup driver.
	{title: "Kubernetes, systemd driver, Burstable", kind: workload.PodOwner, label: "burstable", prefix: "kubepods-burstable-pod", suffix: ".slice", form: uidUnder, middle: true, example: "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod207ae490_d3c8_40b7_8f60_25e14c36ca4d.slice/cri-containerd-" + exampleID + ".scope"},
	{title: "Kubernetes, systemd driver, BestEffort", kind: workload.PodOwner, label: "besteffort", prefix: "kubepods-besteffort-pod", suffix: ".slice", form: uidUnder, middle: true, example: "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podcab1855f104523cc570a78886c3243e7.slice/crio-" + exampleID + ".scope"},
	{title: "Kubernetes, systemd driver, Guaranteed", kind: workload.PodOwner, label: "guaranteed", prefix: "kubepods-pod", suffix: ".slice", form: uidUnder, middle: true, example: "/kubepods.slice/kubepods-pod841bfa13_623d_4e85_8c45_991c7dbbaa2b.slice/docker-" + exampleID + ".scope"},
	{title: "Kubernetes, cgroupfs driver, Burstable", kind: workload.PodOwner, label: "burstable", parent: "kubepods/burstable", prefix: "pod", form: uid, example: "/kubepods/burstable/pod207ae490-d3c8-40b7-8f60-25e14c36ca4d/" + exampleID},
	{title: "Kubernetes, cgroupfs driver, BestEffort", kind: workload.PodOwner, label: "besteffort", parent: "kubepods/besteffort", prefix: "pod", form: uid, example: "/kubepods/besteffort/pod4d79d57d-edcd-47e1-9e07-b9baa78c5b87/" + exampleID},
	{title: "Kubernetes, cgroupfs driver, Guaranteed", kind: workload.PodOwner, label: "guaranteed", parent: "kubepods", prefix: "pod", form: uid, example: "/kubepods/pod841bfa13-623d-4e85-8c45-991c7dbbaa2b/" + exampleID},

	// Containers that name their runtime.
	{title: "Docker, systemd driver", kind: workload.ContainerOwner, label: "docker", prefix: "docker-", suffix: ".scope", form: hexID, example: "/system.slice/docker-" + exampleID + ".scope"},
	{title: "containerd CRI, systemd driver", kind: workload.ContainerOwner, label: "containerd", prefix: "cri-containerd-", suffix: ".scope", form: hexID, example: "/system.slice/cri-containerd-" + exampleID + ".scope"},
	{title: "nerdctl, systemd driver", kind: workload.ContainerOwner, label: "containerd", prefix: "nerdctl-", suffix: ".scope", form: hexID, example: "/system.slice/nerdctl-" + exampleID + ".scope"},
	{title: "CRI-O, systemd driver", kind: workload.ContainerOwner, label: "cri-o", prefix: "crio-", suffix: ".scope", form: hexID, example: "/system.slice/crio-" + exampleID + ".scope/container"},
	{title: "CRI-O, cgroupfs driver", kind: workload.ContainerOwner, label: "cri-o", prefix: "crio-", form: hexID, example: "/crio-" + exampleID},
	{title: "Podman, systemd driver", kind: workload.ContainerOwner, label: "podman", prefix: "libpod-", suffix: ".scope", form: hexID, example: "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + exampleID + ".scope/container"},
	{title: "Podman, in the cgroup of its service", kind: workload.ContainerOwner, label: "podman", prefix: "libpod-payload-", form: hexID, example: "/system.slice/web.service/libpod-payload-" + exampleID},
	{title: "Podman, cgroupfs driver", kind: workload.ContainerOwner, label: "podman", prefix: "libpod-", form: hexID, example: "/libpod_parent/libpod-" + exampleID},

	// A runtime that was given systemd's slice:prefix:name but manages cgroups
	// itself takes it for the name of a directory.
	{title: "Docker, systemd name as directory", kind: workload.ContainerOwner, label: "docker", prefix: ":docker:", form: hexID, example: "/system.slice/docker.service/system.slice:docker:" + exampleID},
	{title: "containerd CRI, systemd name as directory", kind: workload.ContainerOwner, label: "containerd", prefix: ":cri-containerd:", form: hexID, example: "/system.slice/containerd.service/system.slice:cri-containerd:" + exampleID},
	{title: "nerdctl, systemd name as directory", kind: workload.ContainerOwner, label: "containerd", prefix: ":nerdctl:", form: hexID, example: "/system.slice:nerdctl:" + exampleID},
	{title: "CRI-O, systemd name as directory", kind: workload.ContainerOwner, label: "cri-o", prefix: ":crio:", form: hexID, example: "/system.slice:crio:" + exampleID},
	{title: "Podman, systemd name as directory", kind: workload.ContainerOwner, label: "podman", prefix: ":libpod:", form: hexID, example: "/machine.slice:libpod:" + exampleID},

	// System containers; their id is their name.
	{title: "LXC, LXD, Incus", kind: workload.ContainerOwner, label: "lxc", prefix: "lxc.payload.", form: anyName, example: "/lxc.payload.web/system.slice/nginx.service"},
	{title: "LXC 4.0", kind: workload.ContainerOwner, label: "lxc", parent: "lxc.payload", form: anyName, example: "/lxc.payload/web"},
	{title: "LXC before 4.0, Proxmox VE", kind: workload.ContainerOwner, label: "lxc", parent: "lxc", form: anyName, example: "/lxc/101/ns"},
	{title: "systemd-nspawn, as a service", kind: workload.ContainerOwner, label: "systemd-nspawn", prefix: "systemd-nspawn@", suffix: ".service", form: escaped, example: `/machine.slice/systemd-nspawn@build\x2dhost.service/payload`},
	{title: "libvirt LXC, systemd", kind: workload.ContainerOwner, label: "libvirt-lxc", prefix: `machine-lxc\x2d`, suffix: ".scope", form: numbered, example: `/machine.slice/machine-lxc\x2d2187\x2dweb.scope`},
	{title: "libvirt LXC before 1.3, systemd", kind: workload.ContainerOwner, label: "libvirt-lxc", prefix: `machine-lxc\x2d`, suffix: ".scope", form: escaped, example: `/machine.slice/machine-lxc\x2dweb.scope`},
	{title: "libvirt LXC, without systemd", kind: workload.ContainerOwner, label: "libvirt-lxc", suffix: ".libvirt-lxc", form: escaped, example: "/machine/web.libvirt-lxc"},

	// Virtual machines.
	{title: "libvirt QEMU, systemd", kind: workload.VMOwner, label: "libvirt", prefix: `machine-qemu\x2d`, suffix: ".scope", form: numbered, example: `/machine.slice/machine-qemu\x2d1\x2ddebian\x2d12.scope/libvirt/emulator`},
	{title: "libvirt QEMU before 1.3, systemd", kind: workload.VMOwner, label: "libvirt", prefix: `machine-qemu\x2d`, suffix: ".scope", form: escaped, example: `/machine.slice/machine-qemu\x2ddebian\x2d12.scope`},
	{title: "libvirt QEMU, without systemd, numbered", kind: workload.VMOwner, label: "libvirt", prefix: "qemu-", suffix: ".libvirt-qemu", form: numbered, example: "/machine/qemu-3-debian.libvirt-qemu/emulator"},
	{title: "libvirt QEMU, without systemd", kind: workload.VMOwner, label: "libvirt", suffix: ".libvirt-qemu", form: escaped, example: "/machine/debian.libvirt-qemu/vcpu0"},
	{title: "libvirt QEMU before 1.0.5", kind: workload.VMOwner, label: "libvirt", parent: "libvirt/qemu", form: anyName, example: "/libvirt/qemu/debian/vcpu0"},
	{title: "Proxmox VE QEMU", kind: workload.VMOwner, label: "proxmox", parent: "qemu.slice", suffix: ".scope", form: number, example: "/qemu.slice/100.scope"},
	{title: "systemd-vmspawn, as a service", kind: workload.VMOwner, label: "systemd-vmspawn", prefix: "systemd-vmspawn@", suffix: ".service", form: escaped, example: "/machine.slice/systemd-vmspawn@fedora.service"},

	// systemd-machined registers any machine so; the rows above took the ones
	// that say more.
	{title: "systemd-nspawn, started by hand", kind: workload.ContainerOwner, label: "systemd-nspawn", prefix: "machine-", suffix: ".scope", form: escaped, example: "/machine.slice/machine-web.scope/payload"},

	// Containers that are a bare id or name.
	{title: "container of a pod, cgroupfs driver", kind: workload.ContainerOwner, podOnly: true, form: hexID, example: "/kubepods/besteffort/podcab1855f104523cc570a78886c3243e7/" + exampleID},
	{title: "BuildKit", kind: workload.ContainerOwner, label: "buildkit", parent: "buildkit", form: anyName, example: "/docker/buildkit/u8gy5pcj6ftuvwvdjafrsfdnv"},
	{title: "containerd, namespace default", kind: workload.ContainerOwner, label: "containerd", parent: "/default", form: anyName, example: "/default/" + exampleID},
	{title: "containerd, namespace k8s.io", kind: workload.ContainerOwner, label: "containerd", parent: "/k8s.io", form: anyName, example: "/k8s.io/probe"},
	{title: "Docker, cgroupfs driver, any parent", kind: workload.ContainerOwner, label: "docker", form: hexID, example: "/docker/" + exampleID},
}

const exampleID = "9f45ede99014c2b48c4f12f0023d810c93d24bc6c8d7b4c0af485af031b13047"

// element returns the bounds of the first path element at or after at; at the
// end of the path they are equal. An element "x.slice:prefix:name" counts as
// two, the second starting with the colon.
func element(path string, at int) (start, end int) {
	for at < len(path) {
		if path[at] == '/' {
			at++
			continue
		}
		end = len(path)
		if i := strings.IndexByte(path[at:], '/'); i >= 0 {
			end = at + i
		}
		if i := strings.Index(path[at:end], ".slice:"); i >= 0 {
			end = at + i + len(".slice")
		}
		if path[at:end] != ".." {
			return at, end
		}
		at = end
	}
	return at, at
}

// match returns what the element name, which lies below the path above, stands for.
func match(above, name string, inPod bool) (workload.Owner, bool) {
	above = strings.TrimRight(above, "/")
	for i := range table {
		r := &table[i]
		if inPod && r.kind != workload.ContainerOwner || r.podOnly && !inPod {
			continue
		}
		if !below(above, r.parent) {
			continue
		}
		if variable, ok := r.cut(name); ok {
			if owner, ok := r.owner(variable); ok {
				return owner, true
			}
		}
	}
	return workload.Owner{}, false
}

// below reports whether the path above ends in parent.
func below(above, parent string) bool {
	if parent == "" {
		return true
	}
	if parent[0] == '/' {
		return above == parent
	}
	above, ok := strings.CutSuffix(above, parent)
	return ok && (above == "" || above[len(above)-1] == '/')
}

// cut returns the part of name between prefix and suffix.
func (r *row) cut(name string) (string, bool) {
	name, ok := strings.CutSuffix(name, r.suffix)
	if !ok {
		return "", false
	}
	if r.middle {
		i := strings.Index(name, r.prefix)
		if i < 0 || i > 0 && name[i-1] != '-' {
			return "", false
		}
		name = name[i:]
	}
	return strings.CutPrefix(name, r.prefix)
}

// owner returns what the row yields for the variable part of an element, if
// that has the row's form.
func (r *row) owner(s string) (workload.Owner, bool) {
	if s == "" {
		return workload.Owner{}, false
	}
	isName := false
	switch r.form {
	case hexID:
		if !isHexID(s) {
			return workload.Owner{}, false
		}
	case anyName:
		s, isName = Label(s), !isHexID(s)
	case escaped:
		s, isName = Label(unescape(s)), true
	case numbered:
		digits, rest, ok := strings.Cut(unescape(s), "-")
		if !ok || rest == "" || !isDecimal(digits) {
			return workload.Owner{}, false
		}
		s, isName = Label(rest), true
	case number:
		if !isDecimal(s) || len(s) > len("999999999") {
			return workload.Owner{}, false
		}
	case uid, uidUnder:
		if !isPodUID(s) {
			return workload.Owner{}, false
		}
		if r.form == uidUnder {
			s = strings.ReplaceAll(s, "_", "-")
		}
	}
	o := workload.Owner{Kind: r.kind}
	switch r.kind {
	case workload.PodOwner:
		o.Pod = workload.Pod{UID: s, QoS: r.label}
	case workload.VMOwner:
		o.VM = workload.VM{Name: s, Hypervisor: r.label}
	default:
		o.Container = workload.Container{ID: s, Runtime: r.label}
		if isName {
			o.Container.Name = s
		}
	}
	return o, true
}

// isHexID reports whether s is an id as Docker, containerd's CRI, CRI-O and
// Podman make them: 256 random bits in lower-case hexadecimal.
func isHexID(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isDecimal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// isPodUID reports whether s may be a pod's uid: a UUID from the API server,
// 32 hexadecimal digits for a static pod, or what its manifest says.
func isPodUID(s string) bool {
	if len(s) > 64 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != ""
}

// unescape decodes the \xHH escapes of systemd unit names (systemd.unit(5));
// what is not such an escape stays as it is.
func unescape(s string) string {
	i := strings.Index(s, `\x`)
	if i < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i >= 0 {
		b = append(b, s[:i]...)
		s = s[i:]
		n := 2
		if len(s) >= 4 {
			hi, lo := nibble(s[2]), nibble(s[3])
			if hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				n = 0
				s = s[4:]
			}
		}
		b = append(b, s[:n]...)
		s = s[n:]
		i = strings.Index(s, `\x`)
	}
	return string(append(b, s...))
}

func nibble(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
