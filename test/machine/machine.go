// Package machine simulates a Linux machine on disk: a powercap tree, /proc
// and cgroups whose counters a test moves by known amounts, so that what an
// agent says about the machine can be compared with the truth. It refuses to
// move anything by itself: there is no clock in it, and a machine that nobody
// advances stands still. It knows nothing of how the agent works.
//
// Files keep their inode while they change, because readers keep descriptors
// open. A file that is removed is emptied first, so that a reader that still
// has it open sees that its object is gone; the kernel's own files answer
// ESRCH or ENODEV there, which a plain file cannot.
package machine

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Tick is the unit of CPU time in /proc: USER_HZ is 100 on every architecture
// that Linux runs on today (man 5 proc, sysconf(_SC_CLK_TCK)).
const Tick = 10 * time.Millisecond

// Layout is how cgroups are mounted.
type Layout int

// The layouts.
const (
	V2     Layout = iota // one unified hierarchy at /sys/fs/cgroup
	V1                   // one hierarchy a controller
	Hybrid               // v1 controllers, and v2 without controllers at unified
)

// String returns the layout's usual name.
func (l Layout) String() string { return [...]string{"v2", "v1", "hybrid"}[l] }

// Zone is one powercap zone.
type Zone struct {
	Dir    string // below /sys/class/powercap: intel-rapl:0, intel-rapl:0:1
	Name   string // package-0, core, dram, psys
	Range  uint64 // max_energy_range_uj: the largest value, after which it is 0
	Energy uint64 // energy_uj at the start
}

// Options say what the machine is.
type Options struct {
	CPUs   int // 2 if zero
	Layout Layout
	Zones  []Zone
}

// Process is one process of the machine.
type Process struct {
	PID, PPID int
	Comm      string // any bytes, cut to 15 like the kernel does
	Cmdline   []string
	Cgroup    string // must have been added
	RSS       int64  // bytes
	Kernel    bool   // a kernel thread
	Exe       string // where /proc/<pid>/exe points; no link if empty
	Plain     bool   // it has stat and cgroup only, to make many of them fast
}

type process struct {
	Process
	start                        int64 // ticks since boot
	utime, stime, cutime, cstime int64 // ticks
}

type cgroup struct {
	owner string
	usage time.Duration // its own and that of everything below it
}

// Machine is a simulated machine. One goroutine at a time moves it; any
// number of processes may read its files.
type Machine struct {
	tb     testing.TB
	root   string
	layout Layout
	cpus   int

	zones   []Zone
	broken  map[string]bool // zones that do not follow their counter
	cgroups map[string]*cgroup
	procs   map[int]*process
	uptime  int64 // ticks since boot
	user    int64 // ticks; the machine's own lines of /proc/stat
	idle    int64
	irq     int64
	steal   int64
}

// New makes a machine in a temporary directory, removed when the test ends. It has one process, an init
// in /init.scope with the PID 1.
func New(tb testing.TB, o Options) *Machine {
	tb.Helper()
	if o.CPUs == 0 {
		o.CPUs = 2
	}
	m := &Machine{
		tb: tb, root: newRoot(tb), layout: o.Layout, cpus: o.CPUs,
		broken:  map[string]bool{},
		cgroups: map[string]*cgroup{},
		procs:   map[int]*process{},
		uptime:  1_000_000_000, // later than the boot of whatever real machine this runs on
	}
	m.writeStatic()
	for _, z := range o.Zones {
		m.AddZone(z)
	}
	m.AddCgroup("/", "unit//")
	m.AddCgroup("/init.scope", "unit/init.scope")
	m.Start(Process{PID: 1, Comm: "systemd", Cmdline: []string{"/sbin/init"}, Cgroup: "/init.scope", RSS: 8 << 20})
	m.writeStat()
	return m
}

// newRoot makes a directory that every user may look into, in memory if the
// machine has the usual place for that: there are many small files.
func newRoot(tb testing.TB) string {
	tb.Helper()
	root, err := os.MkdirTemp("/dev/shm", "noether-machine-") //nolint:usetesting // TempDir is on a disk
	if err == nil {
		tb.Cleanup(func() { os.RemoveAll(root) }) //nolint:errcheck // nothing depends on it
	} else {
		root = tb.TempDir()
		err = os.Chmod(filepath.Dir(root), 0o755)
	}
	if err == nil {
		err = os.Chmod(root, 0o755)
	}
	if err != nil {
		tb.Fatalf("simulated machine: %v", err)
	}
	return root
}

// Root returns the directory that stands for "/".
func (m *Machine) Root() string { return m.root }

// Path returns the path of a file of the machine.
func (m *Machine) Path(elem ...string) string {
	return filepath.Join(append([]string{m.root}, elem...)...)
}

// AddCgroup makes a cgroup, and its parents where they are missing. Owner is
// the account that pays for what runs directly in it, in the test's own
// words, such as "unit/cron.service"; a parent made on the way has none.
func (m *Machine) AddCgroup(path, owner string) {
	m.tb.Helper()
	if c := m.cgroups[path]; c != nil {
		c.owner = owner
		return
	}
	if path != "/" {
		if parent := filepath.Dir(path); m.cgroups[parent] == nil {
			m.AddCgroup(parent, "")
		}
	}
	m.cgroups[path] = &cgroup{owner: owner}
	for _, dir := range m.cgroupDirs(path) {
		m.must(os.MkdirAll(dir, 0o755))
		m.write(filepath.Join(dir, "cgroup.procs"), "")
	}
	m.writeCgroup(path)
}

// RemoveCgroup removes a cgroup in which nothing is left.
func (m *Machine) RemoveCgroup(path string) {
	m.tb.Helper()
	for _, p := range m.procs {
		if p.Cgroup == path {
			m.tb.Fatalf("remove cgroup %s: process %d is in it", path, p.PID)
		}
	}
	for other := range m.cgroups {
		if strings.HasPrefix(other, path+"/") {
			m.tb.Fatalf("remove cgroup %s: %s is below it", path, other)
		}
	}
	delete(m.cgroups, path)
	for _, dir := range m.cgroupDirs(path) {
		m.remove(dir)
	}
}

// Owner returns the account that pays for what runs in the cgroup.
func (m *Machine) Owner(path string) string { return m.cgroups[path].owner }

// Start starts a process now. A PID that is in use is a mistake of the test.
func (m *Machine) Start(p Process) {
	m.tb.Helper()
	if m.procs[p.PID] != nil {
		m.tb.Fatalf("start process %d: it exists already", p.PID)
	}
	if p.Cgroup == "" {
		p.Cgroup = "/"
	}
	if m.cgroups[p.Cgroup] == nil {
		m.tb.Fatalf("start process %d: no cgroup %s", p.PID, p.Cgroup)
	}
	if len(p.Comm) > 15 {
		p.Comm = p.Comm[:15]
	}
	m.uptime++ // no two processes start at the same moment
	m.procs[p.PID] = &process{Process: p, start: m.uptime}
	m.writeProcess(m.procs[p.PID], true)
}

// Exit ends a process; its parent, if it is there, has waited for it.
func (m *Machine) Exit(pid int) {
	m.tb.Helper()
	p := m.process(pid)
	delete(m.procs, pid)
	m.remove(m.Path("proc", strconv.Itoa(pid)))
	if parent := m.procs[p.PPID]; parent != nil {
		parent.cutime += p.utime + p.cutime
		parent.cstime += p.stime + p.cstime
		m.writeProcess(parent, false)
	}
}

// PIDs returns the processes, in order.
func (m *Machine) PIDs() []int { return slices.Sorted(maps.Keys(m.procs)) }

// Step is what happens on the machine between two moments. Times are whole ticks.
type Step struct {
	Energy map[string]uint64 // microjoules by zone
	// CPU is the time that each process used, by PID.
	CPU map[int]time.Duration
	// Children is the time of children that were born, ended and were waited
	// for within the step, by the PID of their parent. They ran in its cgroup.
	Children map[int]time.Duration
	Idle     time.Duration // of all CPUs together
	IRQ      time.Duration
	Steal    time.Duration
}

// Advance lets a step pass. When it returns, all files tell the new state.
func (m *Machine) Advance(s Step) {
	m.tb.Helper()
	for i := range m.zones {
		z := &m.zones[i]
		z.Energy = (z.Energy + s.Energy[z.Dir]) % (z.Range + 1)
		if s.Energy[z.Dir] != 0 && !m.broken[z.Dir] {
			m.writeZone(z)
		}
	}
	touched := map[string]bool{}
	charge := func(pid int, d time.Duration) (p *process, ticks int64) {
		p = m.process(pid)
		ticks = m.ticks(d)
		m.user += ticks
		for dir := p.Cgroup; ; dir = filepath.Dir(dir) {
			m.cgroups[dir].usage += d
			touched[dir] = true
			if dir == "/" {
				return p, ticks
			}
		}
	}
	for pid, d := range s.CPU {
		p, n := charge(pid, d)
		p.utime += n - n/3
		p.stime += n / 3
		m.writeProcess(p, false)
	}
	for pid, d := range s.Children {
		p, n := charge(pid, d)
		p.cutime += n
		m.writeProcess(p, false)
	}
	for path := range touched {
		m.writeCgroup(path)
	}
	m.idle += m.ticks(s.Idle)
	m.irq += m.ticks(s.IRQ)
	m.steal += m.ticks(s.Steal)
	m.uptime += m.ticks(s.Idle+s.IRQ+s.Steal)/int64(m.cpus) + 1
	m.writeStat()
}

func (m *Machine) process(pid int) *process {
	m.tb.Helper()
	p := m.procs[pid]
	if p == nil {
		m.tb.Fatalf("process %d does not exist on the simulated machine", pid)
	}
	return p
}

func (m *Machine) ticks(d time.Duration) int64 {
	m.tb.Helper()
	if d%Tick != 0 || d < 0 {
		m.tb.Fatalf("advance by %v: CPU time is counted in ticks of %v", d, Tick)
	}
	return int64(d / Tick)
}

func (m *Machine) must(err error) {
	m.tb.Helper()
	if err != nil {
		m.tb.Fatalf("simulated machine: %v", err)
	}
}

// OwnerOf returns the account that pays for the process.
func (m *Machine) OwnerOf(pid int) string {
	m.tb.Helper()
	p := m.process(pid)
	if p.Kernel {
		return "system/kernel"
	}
	return m.cgroups[p.Cgroup].owner
}
