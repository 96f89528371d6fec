// Package workload holds the identities that energy is booked to, and what
// they used in one tick. It is pure data: it knows no kernel file and no API.
package workload

import "time"

// Kind says what an owner is.
type Kind uint8

// The kinds of owner, in the order in which a joule looks for its owner.
const (
	PodOwner Kind = iota
	ContainerOwner
	VMOwner
	SessionOwner
	UnitOwner
	SystemOwner
	Kinds = iota
)

// String returns the kind as it stands in labels.
func (k Kind) String() string {
	switch k {
	case PodOwner:
		return "pod"
	case ContainerOwner:
		return "container"
	case VMOwner:
		return "vm"
	case SessionOwner:
		return "session"
	case UnitOwner:
		return "unit"
	default:
		return "system"
	}
}

// SystemAccount is one of the accounts for what belongs to no workload.
type SystemAccount uint8

// The system accounts.
const (
	IdleAccount    SystemAccount = iota // nobody ran
	Kernel                              // kernel threads, interrupts not charged to tasks
	Exited                              // ended inside a tick, owner unknown
	Unattributed                        // busy time that no task explains
	Unreserved                          // idle that no request claims, on Kubernetes
	SystemAccounts = iota
)

// String returns the account as it stands in labels.
func (a SystemAccount) String() string {
	switch a {
	case IdleAccount:
		return "idle"
	case Kernel:
		return "kernel"
	case Exited:
		return "exited"
	case Unattributed:
		return "unattributed"
	default:
		return "unreserved"
	}
}

// Pod is a Kubernetes pod as far as it is known: the uid and class from the
// cgroup path, the names from an API when one is there.
type Pod struct {
	UID          string
	QoS          string // guaranteed, burstable, besteffort
	Namespace    string
	Name         string
	WorkloadKind string // Deployment, StatefulSet, DaemonSet, Job, CronJob
	Workload     string
}

// Container is one container, inside a pod or outside.
type Container struct {
	ID      string // full id from the cgroup path
	Runtime string // docker, containerd, cri-o, podman, lxc, ...
	Name    string // empty until an API tells it
}

// VM is one virtual machine.
type VM struct {
	Name       string
	Hypervisor string // qemu, libvirt, proxmox, ...
}

// Owner is the finest account a joule can be booked to. It is comparable:
// equal owners share one account. Only the fields of its Kind are set, but a
// PodOwner may name one of its containers; without one it is the pod's own
// (pause container, time of ended containers).
type Owner struct {
	Kind      Kind
	Pod       Pod
	Container Container
	VM        VM
	User      string // SessionOwner: login name, or uid in decimal where no name is known
	Unit      string // UnitOwner: systemd unit, or the first element of the cgroup path
	System    SystemAccount
}

// CgroupPath is one line of /proc/<pid>/cgroup.
type CgroupPath struct {
	Hierarchy string // "" for v2, else the controllers ("cpu,cpuacct") or "name=systemd"
	Path      string // from the root of the host's hierarchy, "/" for the root
}

// Place is a combination of cgroups that tasks run in. A source keeps one
// Place per combination and hands out the same pointer for as long as it
// exists; it is immutable.
type Place struct {
	Paths []CgroupPath
}

// Group is a cgroup with its own CPU counter. A source keeps one Group per
// cgroup and hands out the same pointer for as long as it exists; it is immutable.
type Group struct {
	ID   uint64 // inode, unique within the hierarchy
	Path string // from the root of the host's hierarchy, "/" for the root
	// Place is where a task that is known only by this group runs.
	Place *Place
}

// GroupUsage is what one cgroup used in a tick, its children's use excluded.
type GroupUsage struct {
	Group *Group
	CPU   time.Duration // including that of tasks that have ended
}

// TaskState says what happened to a process in the tick.
type TaskState uint8

// Flags of TaskState.
const (
	New        TaskState = 1 << iota // first seen in this tick
	Ended                            // it no longer runs; this is its last TaskUsage
	KernelTask                       // a kernel thread
	Renamed                          // Comm or Place differ from the last TaskUsage
)

// TaskUsage is what one process (thread group) used in a tick.
type TaskUsage struct {
	// Slot is a small number that belongs to this process from the tick in
	// which it is New to the one in which it has Ended; then it is reused.
	// It is -1 for time of processes that were never seen (children that
	// ended between two reads): those have no PID and are always Ended.
	Slot   int32
	PID    uint32
	Parent uint32
	State  TaskState
	Start  time.Duration // since boot; with PID it identifies the process
	CPU    time.Duration // used in the tick, all threads, ended ones included
	RSS    uint64        // resident memory in bytes, 0 when unknown
	Comm   [16]byte      // NUL-terminated, any bytes
	Place  *Place        // nil when unknown
	Group  *Group        // the counter it is included in, nil when unknown
}

// CPUTime is the machine's CPU time in one tick.
type CPUTime struct {
	Elapsed   time.Duration // real time, monotonic
	Online    int           // CPUs online at the end
	Capacity  time.Duration // elapsed x online - steal
	Idle      time.Duration // idle and iowait, clamped to [0, Capacity]
	Interrupt time.Duration // irq and softirq
	Steal     time.Duration // taken by the hypervisor
}

// Usage is what ran in one tick. The caller owns it and hands it back to be
// refilled; slices are reused.
type Usage struct {
	CPU CPUTime
	// Groups has every cgroup whose counter was readable, also those that used nothing.
	Groups []GroupUsage
	// Tasks has each process that used CPU time, is New, Renamed or has Ended.
	// A process that is not listed lives on unchanged.
	Tasks []TaskUsage
	// HasTasks is false when processes cannot be seen: there is no process family then.
	HasTasks bool
	// Epoch changes when Slots are renumbered because another source took over.
	Epoch uint32
	// Dropped counts exit records that were lost since the source was opened.
	Dropped uint64
}

// Reset empties u for reuse.
func (u *Usage) Reset() {
	u.CPU = CPUTime{}
	u.Groups = u.Groups[:0]
	u.Tasks = u.Tasks[:0]
	u.HasTasks = false
}
