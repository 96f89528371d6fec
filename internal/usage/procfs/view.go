package procfs

import (
	"fmt"
	"os"

	"noether/internal/linux"
	"noether/internal/probe"
)

// initPIDNamespace is the inode of the first PID namespace, PROC_PID_INIT_INO
// (include/linux/proc_ns.h).
const initPIDNamespace = "pid:[4026531836]"

// Limits returns why processes of the host may be missing from proc, nil when
// all are there. The error carries a status and a remedy.
func Limits(proc string) error {
	namespace, err := os.Readlink(proc + "/self/ns/pid")
	if err != nil {
		return nil //nolint:nilerr // not mounted from a kernel's procfs, or too old to tell
	}
	var first, second linux.ProcessStat
	firstErr := readStat(proc+"/1/stat", &first)
	// Kernel threads live in the first PID namespace alone, and the second
	// process there is the one that makes them.
	if readStat(proc+"/2/stat", &second) == nil && second.Kernel {
		return nil
	}
	if firstErr != nil {
		return &probe.Error{
			Status: probe.Masked,
			Err:    fmt.Errorf("list processes in %s: those of other users are hidden (hidepid)", proc),
			Remedy: "run as root or with CAP_SYS_PTRACE, or mount -o remount,hidepid=off " + proc,
		}
	}
	if namespace == initPIDNamespace {
		return nil // a procfs without kernel threads, such as gVisor's
	}
	return &probe.Error{
		Status: probe.Masked,
		Err:    fmt.Errorf("list processes in %s: only those of this container's PID namespace are visible", proc),
		Remedy: "run in the host's PID namespace (Kubernetes: hostPID: true; docker: --pid=host), or mount the host's /proc and name it with --procfs or --root",
	}
}

func readStat(path string, st *linux.ProcessStat) error {
	b, err := linux.ReadFile(path, 4096)
	if err != nil {
		return err
	}
	return linux.ParseProcessStat(b, st)
}
