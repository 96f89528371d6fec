package all

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/linux"
	"noether/internal/workload"
)

const id = "796b4d67b1075bd324528b8cbbae26164110984f3a165b57d9e3cc7f7b4dedce"

// files makes a machine of the given files.
func files(t *testing.T, content map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range content {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func v2(path string) *workload.Place {
	return &workload.Place{Paths: []workload.CgroupPath{{Path: path}}}
}

func comm(s string) (c [16]byte) {
	copy(c[:15], s)
	return c
}

func machine(name, hypervisor string) workload.Owner {
	return workload.Owner{Kind: workload.VMOwner, VM: workload.VM{Name: name, Hypervisor: hypervisor}}
}

func cmdline(args ...string) string { return strings.Join(args, "\x00") + "\x00" }

func TestPlace(t *testing.T) {
	kvm := cmdline("/usr/bin/kvm", "-id", "100", "-name", "web,debug-threads=on")
	qemu := cmdline("/usr/bin/qemu-system-x86_64", "-name", "guest=Büro 1,debug-threads=on", "-no-user-config")
	tests := []struct {
		name  string
		files map[string]string
		place *workload.Place
		want  workload.Owner
	}{
		{"nothing is known", nil, nil, workload.Owner{Kind: workload.SystemOwner, System: workload.Unattributed}},
		{"container", nil, v2("/docker/" + id), workload.Owner{Kind: workload.ContainerOwner, Container: workload.Container{ID: id, Runtime: "docker"}}},
		{"unit", nil, v2("/system.slice/ssh.service"), workload.Owner{Kind: workload.UnitOwner, Unit: "ssh.service"}},
		{"session of a known user", map[string]string{"etc/passwd": "alice:x:1000:1000::/:\n"}, v2("/user.slice/user-1000.slice/session-1.scope"), workload.Owner{Kind: workload.SessionOwner, User: "alice"}},
		{"session of a user of a directory service", nil, v2("/user.slice/user-1000.slice/session-1.scope"), workload.Owner{Kind: workload.SessionOwner, User: "1000"}},
		{"Proxmox VE, v2", map[string]string{
			"sys/fs/cgroup/qemu.slice/100.scope/cgroup.procs": "0\nx\n41\n42\n",
			"proc/41/comm": "swtpm\n", "proc/42/comm": "kvm\n", "proc/42/cmdline": kvm,
		}, v2("/qemu.slice/100.scope"), machine("web", "proxmox")},
		{"Proxmox VE, hybrid", map[string]string{
			"sys/fs/cgroup/unified/qemu.slice/100.scope/cgroup.procs": "42\n",
			"proc/42/comm": "kvm\n", "proc/42/cmdline": kvm,
		}, v2("/qemu.slice/100.scope"), machine("web", "proxmox")},
		{"Proxmox VE, v1", map[string]string{
			"sys/fs/cgroup/systemd/qemu.slice/100.scope/cgroup.procs": "42\n",
			"proc/42/comm": "kvm\n", "proc/42/cmdline": kvm,
		}, &workload.Place{Paths: []workload.CgroupPath{{Hierarchy: "cpu,cpuacct", Path: "/"}, {Hierarchy: "name=systemd", Path: "/qemu.slice/100.scope"}}}, machine("web", "proxmox")},
		{"v1, mounted under another order of controllers", map[string]string{
			"sys/fs/cgroup/cpu/machine/a.libvirt-qemu/emulator/cgroup.procs": "43\n",
			"proc/43/comm": "qemu-system-x86\n", "proc/43/cmdline": qemu,
		}, &workload.Place{Paths: []workload.CgroupPath{{Hierarchy: "cpuacct,cpu", Path: "/machine/a.libvirt-qemu"}}}, machine("Büro 1", "libvirt")},
		{"Proxmox VE, still starting", nil, v2("/qemu.slice/100.scope"), machine("100", "proxmox")},
		{"libvirt: a virtual CPU is its machine's", map[string]string{
			`sys/fs/cgroup/machine.slice/machine-qemu\x2d1\x2dB\xc3\xbcro1.scope/libvirt/cgroup.procs`: "43\n",
			"proc/43/comm": "qemu-system-x86\n", "proc/43/cmdline": qemu,
		}, v2(`/machine.slice/machine-qemu\x2d1\x2dB\xc3\xbcro1.scope/libvirt/vcpu0`), machine("Büro 1", "libvirt")},
		{"libvirt: the machine's own cgroup has no process", map[string]string{
			`sys/fs/cgroup/machine.slice/machine-qemu\x2d1\x2da.scope/cgroup.procs`:         "",
			`sys/fs/cgroup/machine.slice/machine-qemu\x2d1\x2da.scope/libvirt/cgroup.procs`: "43\n",
			"proc/43/comm": "qemu-system-x86\n", "proc/43/cmdline": qemu,
		}, v2(`/machine.slice/machine-qemu\x2d1\x2da.scope`), machine("Büro 1", "libvirt")},
		{"no other machine's processes are asked", map[string]string{
			"sys/fs/cgroup/qemu.slice/cgroup.procs": "42\n",
			"proc/42/comm":                          "kvm\n", "proc/42/cmdline": kvm,
		}, v2("/qemu.slice/101.scope"), machine("101", "proxmox")},
		{"no path leads out of the tree", map[string]string{
			"sys/fs/cgroup/cgroup.procs": "42\n", "proc/42/comm": "kvm\n", "proc/42/cmdline": kvm,
		}, v2("/machine/a.libvirt-qemu/../.."), machine("a", "libvirt")},
		{"a path without a slash", nil, v2("a.libvirt-qemu"), machine("a", "libvirt")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := files(t, tt.files)
			got := New(root, linux.Under(root)).Place(tt.place)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestProcess(t *testing.T) {
	root := files(t, map[string]string{
		"proc/7/cmdline":  cmdline("qemu-system-x86_64", "-name", "test"),
		"proc/8/cmdline":  cmdline("qemu-system-x86_64", "-hda", "x"),
		"proc/9/cmdline":  cmdline("tail", "-f", "qemu-system-x86_64"),
		"proc/10/cmdline": cmdline("/usr/bin/kvm", "-id", "100", "-name", "web"),
		"proc/11/cmdline": cmdline("/usr/bin/kvm", "-id", "101"),
	})
	tests := []struct {
		name string
		pid  uint32
		comm string
		path string
		want workload.Owner // zero: that of its place
	}{
		{"a machine in a session", 7, "qemu-system-x86", "/user.slice/user-1000.slice/session-1.scope", machine("test", "qemu")},
		{"a machine in a unit", 7, "qemu-system-x86", "/system.slice/vm.service", machine("test", "qemu")},
		{"a machine at the root", 8, "qemu-system-x86", "/", machine("qemu-8", "qemu")},
		{"a machine in a pod is the pod's", 7, "qemu-system-x86", "/kubepods/pod841bfa13-623d-4e85-8c45-991c7dbbaa2b/" + id, workload.Owner{}},
		{"a machine in a container is the container's", 7, "qemu-system-x86", "/docker/" + id, workload.Owner{}},
		{"a tail of its log", 9, "tail", "/system.slice/vm.service", workload.Owner{}},
		{"a process that has ended", 99, "kvm", "/system.slice/vm.service", workload.Owner{}},
		{"children that were never seen", 0, "", "/system.slice/vm.service", workload.Owner{}},
		{"the process tells the machine's name", 10, "kvm", "/qemu.slice/100.scope", machine("web", "proxmox")},
		{"a helper does not", 9, "swtpm", "/qemu.slice/100.scope", workload.Owner{}},
		{"no name but the number that the path has", 11, "kvm", "/qemu.slice/101.scope", workload.Owner{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := New(root, linux.Under(root))
			place := v2(tt.path)
			owner := r.Place(place)
			got, ok := r.Process(tt.pid, comm(tt.comm), place, owner)
			want := tt.want
			if want == (workload.Owner{}) {
				want = owner
			}
			if diff := cmp.Diff(want, got); diff != "" || ok != (want != owner) {
				t.Errorf("%v (-want +got):\n%s", ok, diff)
			}
			if ok && owner.Kind == workload.VMOwner {
				if diff := cmp.Diff(want, r.Place(place)); diff != "" {
					t.Errorf("the place does not know the name (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestRealMachine runs a process that is called like a monitor in a real
// cgroup that is called like Proxmox VE's.
func TestRealMachine(t *testing.T) {
	mount := ""
	for _, dir := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			mount = dir
			break
		}
	}
	if mount == "" {
		t.Skip("needs a cgroup v2 hierarchy")
	}
	top := "/noether-identity-" + strconv.Itoa(os.Getpid())
	path := top + "/qemu.slice/100.scope"
	if err := os.MkdirAll(mount+path, 0o755); err != nil {
		t.Skipf("needs the right to make cgroups: %v", err)
	}
	t.Cleanup(func() {
		for dir := path; dir != "/"; dir = filepath.Dir(dir) {
			if err := os.Remove(mount + dir); err != nil {
				t.Error(err)
			}
		}
	})

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "kvm")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Args = []string{"/usr/bin/kvm", "-id", "100", "-name", "web,debug-threads=on"}
	cmd.Env = append(os.Environ(), "IDENTITY_TEST_WAIT=1", "GORACE=atexit_sleep_ms=0")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the cgroups are removed
		in.Close()
		cmd.Wait()
	})
	if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	if err := os.WriteFile(mount+path+"/cgroup.procs", []byte(pid), 0o600); err != nil {
		t.Skipf("needs the right to move a process: %v", err)
	}

	place := v2(path)
	want := machine("web", "proxmox")
	if diff := cmp.Diff(want, New("", linux.Under("")).Place(place)); diff != "" {
		t.Errorf("Place (-want +got):\n%s", diff)
	}
	got, ok := New("", linux.Under("")).Process(uint32(cmd.Process.Pid), comm("kvm"), place, machine("100", "proxmox"))
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("Process %v (-want +got):\n%s", ok, diff)
	}
}

// TestMain lets the test binary stand for another program.
func TestMain(m *testing.M) {
	if os.Getenv("IDENTITY_TEST_WAIT") != "" {
		os.Stdout.WriteString("ready")
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestOrdinaryProcessesCostNothing(t *testing.T) {
	root := files(t, nil)
	r := New(root, linux.Under(root))
	place, nginx := v2("/system.slice/nginx.service"), comm("nginx")
	owner := r.Place(place)
	if n := testing.AllocsPerRun(100, func() { r.Process(1, nginx, place, owner) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
