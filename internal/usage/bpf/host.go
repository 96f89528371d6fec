package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"noether/internal/linux"
	"noether/internal/probe"
)

// hierarchies say how the host mounts its cgroups.
type hierarchies struct {
	legacy  bool  // there is at least one v1 hierarchy
	cpuacct int32 // the number of the one with cpuacct, -1 when it is not v1
}

// readHierarchies asks procfs, where every process lists every hierarchy.
func readHierarchies(proc string) (hierarchies, error) {
	var errs []error
	for _, who := range []string{"self", "1"} { // self is absent in the procfs of another PID namespace
		data, err := linux.ReadFile(filepath.Join(proc, who, "cgroup"), 1<<20)
		if err == nil {
			return parseHierarchies(data), nil
		}
		errs = append(errs, err)
	}
	return hierarchies{}, fmt.Errorf("find cgroup hierarchies: %w", errors.Join(errs...))
}

// parseHierarchies parses /proc/<pid>/cgroup: lines of "number:controllers:path" (cgroups(7)).
func parseHierarchies(data []byte) hierarchies {
	h := hierarchies{cpuacct: -1}
	for line := range bytes.Lines(data) {
		id, rest, _ := bytes.Cut(line, []byte(":"))
		controllers, _, ok := bytes.Cut(rest, []byte(":"))
		n, err := strconv.ParseInt(string(id), 10, 32)
		if !ok || err != nil || n <= 0 {
			continue
		}
		h.legacy = true
		for c := range bytes.SplitSeq(controllers, []byte(",")) {
			if string(c) == "cpuacct" {
				h.cpuacct = int32(n)
			}
		}
	}
	return h
}

// countProcesses counts the numeric entries of procfs.
func countProcesses(proc string) (n int, err error) {
	dir, err := os.Open(proc)
	if err != nil {
		return 0, fmt.Errorf("count processes: %w", err)
	}
	defer dir.Close() //nolint:errcheck // nothing was written
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if name[0] >= '1' && name[0] <= '9' {
				n++
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return 0, fmt.Errorf("count processes: %w", err)
		}
	}
}

// facts are what a refusal is explained from.
type facts struct {
	opts Options
	host hierarchies
}

// coverage refuses a list of processes that lacks more than a tenth of those
// that procfs shows, or has no kernel thread: procfs may be that of the same
// PID namespace and lack as many, but kernel threads are in the first one only.
func (f *facts) coverage(listed, procs int, kernel bool) error {
	var err error
	switch {
	case listed*10 < procs*9:
		err = fmt.Errorf("list processes by BPF: %d of the %d in %s are visible from this PID namespace: needs hostPID", listed, procs, f.opts.Proc)
	case !kernel:
		err = errors.New("list processes by BPF: only those of this container's PID namespace are visible: needs hostPID")
	default:
		return nil
	}
	return &probe.Error{
		Status: probe.Forbidden,
		Remedy: "run in the host's PID namespace (Kubernetes: hostPID: true; docker: --pid=host)",
		Err:    err,
	}
}

// noTypesError says that the kernel's types could not be loaded.
type noTypesError struct{ err error }

func (e *noTypesError) Error() string { return "load kernel types (BTF): " + e.err.Error() }
func (e *noTypesError) Unwrap() error { return e.err }

// explain gives err the status and remedy that the process's rights and the
// kernel's state suggest.
func (f *facts) explain(err error) error {
	var known *probe.Error
	var noTypes *noTypesError
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.As(err, &noTypes) && !errors.Is(err, fs.ErrPermission):
		return &probe.Error{Status: probe.Absent, Remedy: "use a kernel built with CONFIG_DEBUG_INFO_BTF=y", Err: err}
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return refusal(readRights(f.opts.Proc, f.opts.Sys), err)
	case errors.Is(err, unix.ENOSYS):
		return &probe.Error{Status: probe.Absent, Remedy: "use a kernel built with CONFIG_BPF_SYSCALL=y, and allow bpf(2) in the seccomp profile", Err: err}
	default:
		return err
	}
}

// rights are what decides whether bpf(2) may be used.
type rights struct {
	bpf, perfmon  bool   // CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN for both
	confidential  bool   // kernel lockdown in confidentiality mode
	seccomp       bool   // a seccomp filter is in force
	userNamespace bool   // the capabilities are those of a user namespace
	executable    string // to be named in the remedy
}

// Capability numbers of include/uapi/linux/capability.h.
const (
	capSysAdmin = 21
	capPerfmon  = 38
	capBPF      = 39
)

// readRights leaves out what it cannot read.
func readRights(proc, sys string) rights {
	var r rights
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) == nil {
		has := func(c int) bool { return data[c/32].Effective&(1<<(c%32)) != 0 }
		r.bpf = has(capBPF) || has(capSysAdmin)
		r.perfmon = has(capPerfmon) || has(capSysAdmin)
	}
	if mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err == nil {
		r.seccomp = mode != 0
	}
	if lockdown, err := linux.ReadFile(filepath.Join(sys, "kernel/security/lockdown"), 4096); err == nil {
		r.confidential = bytes.Contains(lockdown, []byte("[confidentiality]"))
	}
	if ids, err := linux.ReadFile(filepath.Join(proc, "self/uid_map"), 4096); err == nil {
		f := bytes.Fields(ids)
		r.userNamespace = len(f) != 3 || string(f[2]) != "4294967295"
	}
	r.executable, _ = os.Executable()
	return r
}

// refusal turns a permission error into what is missing.
func refusal(r rights, err error) error {
	e := &probe.Error{Status: probe.Forbidden}
	switch {
	case !r.bpf || !r.perfmon:
		missing := "CAP_BPF and CAP_PERFMON are"
		if r.bpf {
			missing = "CAP_PERFMON is"
		} else if r.perfmon {
			missing = "CAP_BPF is"
		}
		// Which map or program was first to be refused says no more.
		if errno := unix.Errno(0); errors.As(err, &errno) {
			err = errno
		}
		e.Err = fmt.Errorf("%s missing: %w", missing, err)
		e.Remedy = "setcap cap_bpf,cap_perfmon+ep " + r.executable +
			" (systemd: AmbientCapabilities=CAP_BPF CAP_PERFMON; Kubernetes: runAsUser: 0 and capabilities: {drop: [ALL], add: [BPF, PERFMON]})"
	case r.userNamespace:
		e.Err = fmt.Errorf("capabilities of a user namespace do not permit bpf(2): %w", err)
		e.Remedy = "run outside the user namespace (Kubernetes: hostUsers: true; podman: as root)"
	case r.confidential:
		e.Err = fmt.Errorf("kernel lockdown in confidentiality mode forbids BPF to read kernel memory: %w", err)
		e.Remedy = "boot with lockdown=integrity"
	case r.seccomp:
		e.Err = fmt.Errorf("a seccomp filter is in force and may deny bpf(2): %w", err)
		e.Remedy = "allow bpf(2) in the seccomp profile (Kubernetes: seccompProfile: {type: RuntimeDefault}; docker: --security-opt seccomp=PROFILE)"
	default:
		e.Err = err
	}
	return e
}
