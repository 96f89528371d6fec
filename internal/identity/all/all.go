// Package all puts the sources of identity together: the path of a cgroup,
// the command line of a virtual machine, the login names of the machine, the
// APIs that know names. It is what an agent asks for the owner of a place or
// process, and for what it is called.
//
// # Names from an API
//
// What the Resolver returns is complete without any API: a pod by its uid, a
// container by its id. Sources of names (a Kubernetes API, a container
// runtime's socket) live in directories of their own beside this one, and
// Combine makes one of them. The agent asks it for what is known by now, once
// a tick and without waiting, and tells it which living pods and containers
// have no name. An account is the one of its cgroup, whatever it is called: an
// API that is down costs names and no joule.
package all

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"

	"noether/internal/identity"
	"noether/internal/identity/login"
	"noether/internal/identity/vm"
	"noether/internal/linux"
	"noether/internal/workload"
)

// Resolver finds the owners of places and processes. It reads files only for
// virtual machines and unknown users. One goroutine uses it at a time.
type Resolver struct {
	fs    linux.FS
	users *login.Names
	// names has the names of machines that their command lines told, by what
	// their cgroup path calls them.
	names map[workload.VM]string
}

// maxNames bounds how many machine names are remembered.
const maxNames = 4096

// New returns a resolver for the machine whose root directory is root and
// whose kernel file systems are those of fs. An empty root is "/".
func New(root string, fs linux.FS) *Resolver {
	if root == "" {
		root = "/"
	}
	return &Resolver{
		fs:    fs,
		users: login.Open(filepath.Join(root, "etc/passwd")),
		names: make(map[workload.VM]string),
	}
}

// Place returns the owner of what runs in p. Ask once for each place and keep
// the answer: it does not change while the place exists, but for the name of a
// machine that was still starting. A nil place has no owner: its time is
// nobody's that is known.
func (r *Resolver) Place(p *workload.Place) workload.Owner {
	if p == nil {
		return workload.Owner{Kind: workload.SystemOwner, System: workload.Unattributed}
	}
	owner := identity.Resolve(p.Paths)
	switch owner.Kind {
	case workload.SessionOwner:
		owner.User = r.users.Name(owner.User)
	case workload.VMOwner:
		r.findName(p, owner.VM)
		owner.VM = r.named(owner.VM)
	default:
	}
	return owner
}

// Process returns the owner of the process pid, named comm, if it is another
// one than owner, that of its place, and whether it is. Only virtual machines
// are: one that runs in no pod, container or machine's cgroup is its own
// owner, and one in a machine's cgroup tells the name of that machine, which
// Place knows from then on. Ask when a process is new and when it is renamed.
func (r *Resolver) Process(pid uint32, comm [16]byte, place *workload.Place, owner workload.Owner) (workload.Owner, bool) {
	switch owner.Kind {
	case workload.SessionOwner, workload.UnitOwner:
		if machine, ok := vm.Process(r.fs.Proc, pid, comm[:]); ok {
			return workload.Owner{Kind: workload.VMOwner, VM: machine}, true
		}
	case workload.VMOwner:
		machine, ok := vm.Lookup(r.fs.Proc, pid, comm[:])
		if !ok || machine.Name == "" || machine.Name == owner.VM.Name || place == nil {
			return owner, false
		}
		byPath := identity.Resolve(place.Paths)
		if byPath.Kind != workload.VMOwner {
			return owner, false
		}
		r.learn(byPath.VM, machine.Name)
		owner.VM.Name = machine.Name
		return owner, true
	default:
	}
	return owner, false
}

// named returns machine under the name its command line told, if it did.
func (r *Resolver) named(machine workload.VM) workload.VM {
	if name, ok := r.names[machine]; ok {
		machine.Name = name
	}
	return machine
}

func (r *Resolver) learn(machine workload.VM, name string) {
	if len(r.names) >= maxNames {
		clear(r.names)
	}
	r.names[machine] = name
}

// findName looks for the monitor of machine among the processes of p.
func (r *Resolver) findName(p *workload.Place, machine workload.VM) {
	for _, line := range p.Paths {
		path := line.Path
		if strings.Contains(path, "..") || !isOf(path, machine) {
			continue
		}
		// The monitor may sit above p, when p is of one virtual CPU, or in
		// libvirt's own cgroup below the machine's.
		for isOf(path, machine) {
			for _, below := range [...]string{"", "libvirt", "emulator"} {
				if name := r.monitorIn(line.Hierarchy, path+"/"+below); name != "" {
					r.learn(machine, name)
					return
				}
			}
			path = path[:max(strings.LastIndexByte(path, '/'), 0)]
		}
	}
}

func isOf(path string, machine workload.VM) bool {
	owner, ok := identity.Parse(path)
	return ok && owner.Kind == workload.VMOwner && owner.VM == machine
}

// maxProcs bounds how many processes of a cgroup are looked at.
const maxProcs = 64

// monitorIn returns the name that the first monitor among the processes of one
// cgroup has for its machine; empty when there is none.
func (r *Resolver) monitorIn(hierarchy, path string) string {
	for _, dir := range r.mounts(hierarchy) {
		procs, err := linux.ReadFile(filepath.Join(dir, path, "cgroup.procs"), maxProcs*len("4194304\n"))
		if err != nil {
			continue
		}
		for line := range bytes.Lines(procs) {
			pid, err := strconv.ParseUint(string(bytes.TrimSuffix(line, []byte{'\n'})), 10, 32)
			if err != nil {
				continue
			}
			// A process outside this PID namespace has number 0, and no directory.
			comm, err := linux.ReadFile(filepath.Join(r.fs.Proc, strconv.FormatUint(pid, 10), "comm"), 64)
			if err != nil {
				continue
			}
			machine, ok := vm.Lookup(r.fs.Proc, uint32(pid), bytes.TrimSuffix(comm, []byte{'\n'}))
			if ok && machine.Name != "" {
				return machine.Name
			}
		}
	}
	return ""
}

// mounts returns where a hierarchy may be mounted: under the name of all its
// controllers, or that of any one.
func (r *Resolver) mounts(hierarchy string) []string {
	if hierarchy == "" {
		return []string{r.fs.Cgroup, filepath.Join(r.fs.Cgroup, "unified")}
	}
	name := strings.TrimPrefix(hierarchy, "name=")
	dirs := []string{filepath.Join(r.fs.Cgroup, name)}
	if strings.Contains(name, ",") {
		for controller := range strings.SplitSeq(name, ",") {
			dirs = append(dirs, filepath.Join(r.fs.Cgroup, controller))
		}
	}
	return dirs
}
