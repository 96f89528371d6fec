// Package vm tells which processes are virtual machines and what they are
// called, from the name of their executable and the options it was started
// with. A command line is read with a bound, looked through for the few
// options named here, and forgotten: nothing else of it leaves this package.
//
// It refuses to guess: a process that merely mentions a hypervisor in its
// arguments is not a virtual machine.
package vm

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"noether/internal/identity"
	"noether/internal/linux"
	"noether/internal/workload"
)

// maxCommandLine bounds what is read of a command line. libvirt and Proxmox VE
// put the name first.
const maxCommandLine = 32 << 10

// vmm is a virtual machine monitor.
type vmm uint8

const (
	notVMM vmm = iota
	qemu
	cloudHypervisor
	firecracker
	virtualBox
)

// String returns the monitor as it stands in labels.
func (m vmm) String() string {
	switch m {
	case qemu:
		return "qemu"
	case cloudHypervisor:
		return "cloud-hypervisor"
	case firecracker:
		return "firecracker"
	default:
		return "virtualbox"
	}
}

// maxComm is the length to which the kernel cuts a process name (TASK_COMM_LEN - 1).
const maxComm = 15

// monitor returns which monitor an executable of the given base name is.
func monitor(base string) vmm {
	switch base {
	case "kvm", "qemu-kvm":
		return qemu
	case "cloud-hypervisor":
		return cloudHypervisor
	case "firecracker":
		return firecracker
	case "VBoxHeadless", "VirtualBoxVM":
		return virtualBox
	}
	if arch, ok := strings.CutPrefix(base, "qemu-system-"); ok && arch != "" {
		return qemu
	}
	return notVMM
}

// mayBe reports whether a process of this name may be a monitor. It is the
// cheap test that nearly every process fails.
func mayBe(comm []byte) bool {
	if i := bytes.IndexByte(comm, 0); i >= 0 {
		comm = comm[:i]
	}
	if len(comm) < len("kvm") {
		return false
	}
	switch comm[0] {
	case 'q':
		return string(comm) == "qemu-kvm" || bytes.HasPrefix(comm, []byte("qemu-system-")) && len(comm) > len("qemu-system-")
	case 'k':
		return string(comm) == "kvm"
	case 'c':
		return string(comm) == "cloud-hypervisor"[:maxComm]
	case 'f':
		return string(comm) == "firecracker"
	case 'V':
		return string(comm) == "VBoxHeadless" || string(comm) == "VirtualBoxVM"
	}
	return false
}

// Process returns the virtual machine that the process pid is, and whether it
// is one. Comm is its name as the kernel tells it, up to a NUL if there is
// one; a monitor that was told to call itself something else (QEMU's
// -name process=) is not recognised. A machine without a name is called after
// its monitor and pid, so that two of them never become one.
func Process(proc string, pid uint32, comm []byte) (workload.VM, bool) {
	machine, ok := Lookup(proc, pid, comm)
	if ok && machine.Name == "" {
		machine.Name = machine.Hypervisor + "-" + strconv.FormatUint(uint64(pid), 10)
	}
	return machine, ok
}

// Lookup is like Process but leaves the name empty when the command line has none.
func Lookup(proc string, pid uint32, comm []byte) (workload.VM, bool) {
	if !mayBe(comm) {
		return workload.VM{}, false
	}
	dir := filepath.Join(proc, strconv.FormatUint(uint64(pid), 10))
	cmdline, err := linux.ReadFile(filepath.Join(dir, "cmdline"), maxCommandLine)
	if err != nil || len(cmdline) == 0 {
		return workload.VM{}, false // it has ended, or is a kernel thread
	}
	if len(cmdline) == maxCommandLine {
		// The last argument may be cut in its middle.
		cmdline = cmdline[:bytes.LastIndexByte(cmdline, 0)+1]
	}
	if machine, ok := Parse(cmdline); ok {
		return machine, ok
	}
	// Started under another argv[0]. Reading the link needs the right to
	// trace the process; without it this is no VM.
	exe, err := os.Readlink(filepath.Join(dir, "exe"))
	if err != nil {
		return workload.VM{}, false
	}
	m := monitor(filepath.Base(strings.TrimSuffix(exe, " (deleted)")))
	if m == notVMM {
		return workload.VM{}, false
	}
	return m.parse(cmdline), true
}

// Parse returns the virtual machine that a command line starts, its arguments
// each ended by a NUL, and whether the program in its first argument is a
// monitor at all. The name is empty when no option gives one.
func Parse(cmdline []byte) (workload.VM, bool) {
	program, _, _ := next(cmdline)
	base := program[bytes.LastIndexByte(program, '/')+1:]
	if len(base) > identity.MaxLabel {
		return workload.VM{}, false
	}
	m := monitor(string(base))
	if m == notVMM {
		return workload.VM{}, false
	}
	return m.parse(cmdline), true
}

// next returns the first argument of a command line and the rest.
func next(cmdline []byte) (arg, rest []byte, ok bool) {
	if len(cmdline) == 0 {
		return nil, nil, false
	}
	arg, rest, _ = bytes.Cut(cmdline, []byte{0})
	return arg, rest, true
}

// parse reads the options of the monitor. The first argument is the program.
func (m vmm) parse(cmdline []byte) workload.VM {
	found := options{}
	_, rest, _ := next(cmdline)
	for {
		arg, after, ok := next(rest)
		if !ok {
			break
		}
		rest = after
		if len(arg) < 2 || arg[0] != '-' {
			continue
		}
		// All of these take one or two dashes, and --option=value or the
		// value as the next argument.
		option := bytes.TrimPrefix(arg[1:], []byte{'-'})
		value, hasNext, _ := next(rest)
		if name, joined, ok := bytes.Cut(option, []byte{'='}); ok && m != qemu {
			option, value, hasNext = name, joined, rest
		}
		if found.take(m, string(option), value) {
			rest = hasNext
		}
	}
	machine := workload.VM{Name: identity.Label(found.name), Hypervisor: m.String()}
	if machine.Name == "" {
		machine.Name = identity.Label(found.id)
	}
	switch {
	case m != qemu:
	case found.proxmox:
		machine.Hypervisor = "proxmox"
	case found.guest && found.noUserConfig:
		machine.Hypervisor = "libvirt"
	}
	return machine
}

// options are the few options of a monitor that matter here.
type options struct {
	name         string
	id           string // what identifies the machine when it has no name
	guest        bool   // QEMU: the name was written guest=..., as libvirt does
	noUserConfig bool   // QEMU: -no-user-config, as libvirt has it
	proxmox      bool   // QEMU: -id, which only Proxmox VE's QEMU has
}

// take notes one option and reports whether its value was used.
func (o *options) take(m vmm, option string, value []byte) bool {
	switch m {
	case qemu:
		switch option {
		case "name":
			o.name, o.guest = qemuName(value)
		case "id":
			o.proxmox = true
			o.id = string(value)
		case "uuid":
			if o.id == "" {
				o.id = string(value)
			}
		case "no-user-config":
			o.noUserConfig = true
			return false
		default:
			return false
		}
		return true
	case firecracker:
		if option == "id" {
			o.name = string(value)
			return true
		}
	case virtualBox:
		switch option {
		case "comment":
			o.name = string(value)
		case "startvm":
			o.id = string(value)
		default:
			return false
		}
		return true
	default: // Cloud Hypervisor gives its machines no name
	}
	return false
}

// qemuName returns the name in QEMU's -name [guest=]NAME[,process=...]
// [,debug-threads=on|off], in which ",," stands for a comma, and whether it
// was written with guest=.
func qemuName(value []byte) (name string, guest bool) {
	var b []byte
	for first := true; len(value) > 0; first = false {
		b = b[:0]
		for len(value) > 0 {
			if value[0] == ',' {
				if len(value) < 2 || value[1] != ',' {
					value = value[1:]
					break
				}
				value = value[1:]
			}
			b = append(b, value[0])
			value = value[1:]
		}
		key, after, hasKey := bytes.Cut(b, []byte{'='})
		switch {
		case hasKey && string(key) == "guest":
			name, guest = string(after), true
		case !hasKey && first:
			name = string(b)
		}
	}
	return name, guest
}
