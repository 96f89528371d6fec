package bpf

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func runOpen(t *testing.T, cmd *exec.Cmd) verdict {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("the test binary cannot be started so: %v", err)
	}
	var v verdict
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return v
}

func TestCapabilities(t *testing.T) {
	open(t, Options{}) // skips where BPF does not work at all
	for _, tt := range []struct {
		name    string
		ambient []uintptr
		want    verdict
	}{
		{"both", []uintptr{capBPF, capPerfmon}, verdict{Status: "works"}},
		{"none", nil, verdict{Status: "forbidden", Reason: "CAP_BPF and CAP_PERFMON are missing", Remedy: "setcap cap_bpf,cap_perfmon+ep /"}},
		{"CAP_BPF", []uintptr{capBPF}, verdict{Status: "forbidden", Reason: "CAP_PERFMON is missing", Remedy: "setcap cap_bpf,cap_perfmon+ep /"}},
		{"CAP_PERFMON", []uintptr{capPerfmon}, verdict{Status: "forbidden", Reason: "CAP_BPF is missing", Remedy: "setcap cap_bpf,cap_perfmon+ep /"}},
	} {
		for _, rung := range []string{RungSyscall, RungIter} {
			t.Run(tt.name+" "+rung, func(t *testing.T) {
				if os.Geteuid() != 0 {
					t.Skip("only root can start a process with chosen capabilities")
				}
				cmd := role(t, "open", rung)
				cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
				cmd.SysProcAttr.AmbientCaps = tt.ambient
				got := runOpen(t, cmd)
				if got.Status == "absent" {
					t.Skip(got.Reason)
				}
				if got.Status != tt.want.Status || !strings.Contains(got.Reason, tt.want.Reason) || !strings.HasPrefix(got.Remedy, tt.want.Remedy) {
					t.Errorf("got %+v\nwant %+v", got, tt.want)
				}
			})
		}
	}
}

// In a PID namespace of its own, with the host's procfs and with its own.
func TestPIDNamespace(t *testing.T) {
	open(t, Options{})
	procs, err := countProcesses("/proc")
	if err != nil {
		t.Fatal(err)
	}
	inside := func(rung string) verdict {
		cmd := role(t, "open", rung)
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
		return runOpen(t, cmd)
	}
	refused := func(rung, why string, got verdict) {
		if got.Status != "forbidden" || !strings.Contains(got.Reason, why) || !strings.Contains(got.Remedy, "hostPID: true") {
			t.Errorf("%s in a PID namespace: %+v, want a refusal that asks for hostPID", rung, got)
		}
	}
	refused("the iterator", "needs hostPID", inside(RungIter))
	cmd := role(t, "open", RungIter, "mount proc")
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	refused("the iterator beside its own procfs", "container's PID namespace", runOpen(t, cmd))

	walk := inside(RungSyscall)
	if walk.Status == "absent" {
		refused("automatic choice", "needs hostPID", inside(RungAuto))
		t.Skip(walk.Reason)
	}
	if got := walk; got.Status != "works" || got.Listed*10 < procs*9 {
		t.Errorf("the walk in a PID namespace: %+v, want %d processes of the host", got, procs)
	}
	if got := inside(RungAuto); got.Status != "works" || got.Rung != RungSyscall {
		t.Errorf("automatic choice in a PID namespace: %+v, want the walk", got)
	}
}
