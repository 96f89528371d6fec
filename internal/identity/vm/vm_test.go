package vm

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"noether/internal/identity"
	"noether/internal/workload"
)

// TestMain lets the test binary stand for any program: it waits for the end of
// its input when it is told to.
func TestMain(m *testing.M) {
	if os.Getenv("VM_TEST_WAIT") != "" {
		os.Stdout.WriteString("ready")
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func cmdline(args ...string) []byte { return []byte(strings.Join(args, "\x00") + "\x00") }

func TestParse(t *testing.T) {
	libvirt := []string{
		"/usr/bin/qemu-system-x86_64", "-name", "guest=debian12,debug-threads=on", "-S",
		"-object", `{"qom-type":"secret","id":"masterKey0","format":"raw","file":"/var/lib/libvirt/qemu/domain-1-debian12/master-key.aes"}`,
		"-machine", "pc-q35-7.2,usb=off", "-uuid", "5d5b6c22-0a5a-4d4b-9b0a-0c2f6b6f0f10", "-no-user-config", "-nodefaults",
	}
	tests := []struct {
		name string
		args []string
		want workload.VM
	}{
		{"libvirt", libvirt, workload.VM{Name: "debian12", Hypervisor: "libvirt"}},
		{"Proxmox VE", []string{"/usr/bin/kvm", "-id", "100", "-name", "web,debug-threads=on", "-no-shutdown"}, workload.VM{Name: "web", Hypervisor: "proxmox"}},
		{"Proxmox VE, without a name", []string{"/usr/bin/kvm", "-id", "100", "-uuid", "5d5b"}, workload.VM{Name: "100", Hypervisor: "proxmox"}},
		{"plain name", []string{"qemu-system-aarch64", "-name", "pi"}, workload.VM{Name: "pi", Hypervisor: "qemu"}},
		{"two dashes", []string{"qemu-system-x86_64", "--name", "pi"}, workload.VM{Name: "pi", Hypervisor: "qemu"}},
		{"guest= by hand is not libvirt", []string{"qemu-kvm", "-name", "guest=pi"}, workload.VM{Name: "pi", Hypervisor: "qemu"}},
		{"guest= after other keys", []string{"qemu-kvm", "-name", "debug-threads=on,guest=pi"}, workload.VM{Name: "pi", Hypervisor: "qemu"}},
		{"only other keys", []string{"qemu-kvm", "-name", "debug-threads=on", "-uuid", "5d5b"}, workload.VM{Name: "5d5b", Hypervisor: "qemu"}},
		{"a comma in the name", []string{"kvm", "-name", "guest=a,,b,process=c"}, workload.VM{Name: "a,b", Hypervisor: "qemu"}},
		{"an equals sign in the name", []string{"kvm", "-name", "guest=a=b"}, workload.VM{Name: "a=b", Hypervisor: "qemu"}},
		{"uuid", []string{"kvm", "-uuid", "5d5b6c22-0a5a-4d4b-9b0a-0c2f6b6f0f10"}, workload.VM{Name: "5d5b6c22-0a5a-4d4b-9b0a-0c2f6b6f0f10", Hypervisor: "qemu"}},
		{"unnamed", []string{"qemu-system-x86_64", "-hda", "disk.img"}, workload.VM{Hypervisor: "qemu"}},
		{"QEMU takes no joined value", []string{"kvm", "-name=x"}, workload.VM{Hypervisor: "qemu"}},
		{"-name without its value", []string{"kvm", "-name"}, workload.VM{Hypervisor: "qemu"}},
		{"-name as a value", []string{"kvm", "-append", "name", "x"}, workload.VM{Hypervisor: "qemu"}},
		{"not UTF-8", []string{"kvm", "-name", "\xff\xfeab"}, workload.VM{Name: "\uFFFDab", Hypervisor: "qemu"}},
		{"Firecracker", []string{"/usr/bin/firecracker", "--id", "vm-7", "--api-sock", "/run/s"}, workload.VM{Name: "vm-7", Hypervisor: "firecracker"}},
		{"Firecracker, joined", []string{"firecracker", "--id=vm-7"}, workload.VM{Name: "vm-7", Hypervisor: "firecracker"}},
		{"Cloud Hypervisor has no name", []string{"cloud-hypervisor", "--api-socket", "/run/s"}, workload.VM{Hypervisor: "cloud-hypervisor"}},
		{"VirtualBox", []string{"/usr/lib/virtualbox/VBoxHeadless", "--comment", "my vm", "--startvm", "5d5b", "--vrde", "config"}, workload.VM{Name: "my vm", Hypervisor: "virtualbox"}},
		{"VirtualBox by hand", []string{"VBoxHeadless", "--startvm", "web"}, workload.VM{Name: "web", Hypervisor: "virtualbox"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Parse(cmdline(tt.args...))
			if !ok || got != tt.want {
				t.Errorf("Parse(%q) = %+v, %v, want %+v", tt.args, got, ok, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, args := range [][]string{
		{""},
		{"tail", "-f", "/var/log/qemu-system-x86_64.log"},
		{"/bin/sh", "/usr/bin/kvm", "-name", "x"},
		{"vim", "qemu-system-x86_64", "-name", "guest=x"},
		{"qemu-img", "convert", "a", "b"},
		{"/usr/bin/qemu-x86_64-static", "/bin/true"},
		{"qemu-system-"},
		{"/usr/lib/qemu-kvm/"},
		{"kvm-ok"},
		{strings.Repeat("qemu-system-", 1000)},
	} {
		if got, ok := Parse(cmdline(args...)); ok {
			t.Errorf("Parse(%.60q) = %+v: it is no virtual machine", args, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(cmdline("/usr/bin/kvm", "-id", "100", "-name", "web,debug-threads=on"))
	f.Add(cmdline("qemu-kvm", "-name", "guest=a,,b,", "-uuid", "x", "-no-user-config"))
	f.Add(cmdline("firecracker", "--id=", "--id"))
	f.Add(cmdline("VBoxHeadless", "--comment", "\xff", "--startvm"))
	f.Add([]byte("kvm\x00-name"))
	f.Add([]byte("kvm\x00-\x00--\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := Parse(b)
		if ok == (got.Hypervisor == "") || !ok && got.Name != "" {
			t.Fatalf("Parse(%q) = %+v, %v", b, got, ok)
		}
		if !utf8.ValidString(got.Name) || len(got.Name) > identity.MaxLabel {
			t.Errorf("Parse(%q): %q is no label", b, got.Name)
		}
	})
}

func TestComm(t *testing.T) {
	for comm, want := range map[string]bool{
		"qemu-system-x86":       true,
		"qemu-system-aar\x00":   true,
		"qemu-kvm":              true,
		"kvm\x00\x00\x00":       true,
		"cloud-hyperviso":       true,
		"firecracker":           true,
		"VBoxHeadless":          true,
		"VirtualBoxVM":          true,
		"":                      false,
		"\x00kvm":               false,
		"tail":                  false,
		"kvm-irqfd-clean":       false,
		"kvm-nx-lpage-re":       false,
		"qemu-img":              false,
		"qemu-system-":          false,
		"cloud-init":            false,
		"CPU 0/KVM":             false,
		"kworker/0:1":           false,
		"VBoxSVC":               false,
		"my-qemu-system-":       false,
		"vhost-4242\x00ignored": false,
	} {
		if got := mayBe([]byte(comm)); got != want {
			t.Errorf("mayBe(%q) = %v", comm, got)
		}
	}
}

// start runs this test binary under the given path and arguments and returns
// its pid and name.
func start(t *testing.T, path string, args ...string) (pid uint32, comm []byte) {
	t.Helper()
	cmd := exec.Command(path)
	cmd.Args = args
	cmd.Env = append(os.Environ(), "VM_TEST_WAIT=1", "GORACE=atexit_sleep_ms=0")
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
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "comm"))
	if err != nil {
		t.Skipf("needs /proc of this machine: %v", err)
	}
	return uint32(cmd.Process.Pid), []byte(strings.TrimSuffix(string(b), "\n"))
}

func TestProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "qemu-system-x86_64")
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o700); err != nil {
		t.Fatal(err)
	}

	t.Run("a program of that name is a machine", func(t *testing.T) {
		pid, comm := start(t, program, program, "-name", "guest=web,debug-threads=on", "-m", "64")
		got, ok := Process("/proc", pid, comm)
		if want := (workload.VM{Name: "web", Hypervisor: "qemu"}); !ok || got != want {
			t.Errorf("comm %q: %+v, %v, want %+v", comm, got, ok, want)
		}
	})
	t.Run("two without a name are two machines", func(t *testing.T) {
		pid1, comm := start(t, program, program, "-m", "64")
		pid2, _ := start(t, program, program, "-m", "64")
		one, ok1 := Process("/proc", pid1, comm)
		two, ok2 := Process("/proc", pid2, comm)
		if !ok1 || !ok2 || one == two || one.Name != "qemu-"+strconv.Itoa(int(pid1)) {
			t.Errorf("%+v, %v and %+v, %v", one, ok1, two, ok2)
		}
		if named, ok := Lookup("/proc", pid1, comm); !ok || named.Name != "" {
			t.Errorf("Lookup = %+v, %v, want a machine without a name", named, ok)
		}
	})
	t.Run("under another argv[0] it is still one", func(t *testing.T) {
		pid, comm := start(t, program, "disguise", "-name", "web")
		if got, ok := Process("/proc", pid, comm); !ok || got.Name != "web" {
			t.Errorf("%+v, %v", got, ok)
		}
	})
	t.Run("a tail of its log is not", func(t *testing.T) {
		tail, err := exec.LookPath("tail")
		if err != nil {
			t.Skipf("needs tail: %v", err)
		}
		log := filepath.Join(dir, "qemu-system-x86_64.log")
		if err := os.WriteFile(log, []byte("ready"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(tail, "-f", log)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			cmd.Process.Kill()
			cmd.Wait()
		}()
		if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
			t.Fatal(err)
		}
		// Neither by its own name nor when the name is taken from its argument.
		for _, comm := range []string{"tail", "qemu-system-x86"} {
			if got, ok := Process("/proc", uint32(cmd.Process.Pid), []byte(comm)); ok {
				t.Errorf("comm %q: %+v", comm, got)
			}
		}
	})
	t.Run("a link of that name is not", func(t *testing.T) {
		link := filepath.Join(t.TempDir(), "qemu-system-x86_64")
		if err := os.Symlink(self, link); err != nil {
			t.Fatal(err)
		}
		pid, comm := start(t, link, "interpreter", "-name", "web")
		if got, ok := Process("/proc", pid, comm); ok || string(comm) != "qemu-system-x86" {
			t.Errorf("comm %q: %+v, %v", comm, got, ok)
		}
	})
	t.Run("a process that has ended is not", func(t *testing.T) {
		if got, ok := Process(t.TempDir(), 7, []byte("kvm")); ok {
			t.Errorf("%+v", got)
		}
	})
}

func TestProcessCutsLongCommandLines(t *testing.T) {
	proc := t.TempDir()
	if err := os.Mkdir(filepath.Join(proc, "7"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := cmdline("kvm", "-append", strings.Repeat("x", maxCommandLine-24), "-name", "cut-here")
	if err := os.WriteFile(filepath.Join(proc, "7", "cmdline"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	got, ok := Process(proc, 7, []byte("kvm"))
	if want := (workload.VM{Name: "qemu-7", Hypervisor: "qemu"}); !ok || got != want {
		t.Errorf("%+v, %v, want %+v: half a name is none", got, ok, want)
	}
}

func TestOrdinaryProcessesCostNothing(t *testing.T) {
	comm := []byte("nginx")
	if n := testing.AllocsPerRun(100, func() { Process("/proc", 1, comm) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
