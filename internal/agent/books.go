package agent

import (
	"slices"
	"time"

	"noether/internal/attribution"
	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// Owners says whom a place or a process belongs to. The agent asks once for
// each Place and once for each process that is new or has moved.
type Owners interface {
	// Place returns the owner of a combination of cgroups.
	Place(p *workload.Place) workload.Owner
	// Process returns the owner of a process that is not its place's, such as
	// a virtual machine started by hand, and whether there is one.
	Process(t *workload.TaskUsage, place workload.Owner) (workload.Owner, bool)
}

// account is one owner's page in the books.
type account struct {
	key   workload.Owner  // what its cgroup's path says, which never changes
	owner *workload.Owner // what it is exported as: key, with the names that are known
	extra []string        // of a pod and its containers: values of the labels the user chose
	pod   *pod            // the pod it is part of; nil outside pods
	at    int             // index in books.all

	total, delta       snapshot.Ledger
	foot, footDelta    snapshot.Footprint // of total and delta
	cpuTotal, cpuDelta time.Duration

	request  workload.Reserved // of a container in a pod: what it asked for
	reserved workload.Reserved // what it holds in this tick

	// byUse is set for a pod that requested nothing of the CPU or the memory:
	// what it pays of that hardware is estimated by its CPU time.
	byUse bool

	born   uint64 // tick in which it was opened
	active uint64 // last tick in which it used CPU time or held a reservation
	seen   uint64 // last tick in which one of its cgroups was there
	tasks  int    // processes of it that are alive
	listed bool   // it is exported by itself
	ended  bool
	end    time.Duration // when it ended, monotonic
	gone   bool          // retired: no longer in the books
	first  int32         // head of the list of its tasks in this tick, -1 when empty
	system bool
}

// placed is what is known about a Place.
type placed struct {
	owner   workload.Owner
	account *account // nil until it used anything
	tick    uint64   // last tick in which it was asked for
}

// grouped is what is known about a Group.
type grouped struct {
	place *placed
	left  time.Duration // of this tick's CPU time: not yet claimed by tasks of other owners
	tick  uint64
}

// slot is one process that is alive.
type slot struct {
	account *account
	series  *series
	live    bool
}

// books holds all accounts and divides every tick among them. It is used by
// the agent's goroutine only.
type books struct {
	cfg    Config
	policy attribution.Policy
	owners Owners

	tick     uint64
	now      time.Duration // monotonic time of the tick
	began    time.Duration // that of the first tick
	accounts map[workload.Owner]*account
	all      []*account // the same, in any order
	pods     map[string]*pod
	podList  []*pod          // the same, in any order
	claimed  map[string]*pod // pods by the uids of an API that they are or were exported under
	over     map[string]bool // pods that were retired while somebody still names them
	waiting  []*account      // containers outside pods that may get a name yet
	asked    []workload.Owner
	news     []string
	names    *workload.Names
	byPlace  map[*workload.Place]*placed
	byGroup  map[*workload.Group]*grouped
	slots    []slot
	epoch    uint32
	system   [workload.SystemAccounts]*account
	retired  [workload.Kinds][energy.Components]unit.Energy
	// retiredCO2e is to grams what retired is to energy.
	retiredCO2e [workload.Kinds][snapshot.Phases]unit.Mass
	carbon      footprints
	nodes       [energy.Components][energy.Qualities]node
	bands       [energy.Components]band

	listed [workload.Kinds][]*account // what is exported, sorted by labels
	active []*account                 // used CPU time in this tick, system accounts last
	next   []int32                    // of each task of the tick: the next one of its account

	tickData attribution.Tick
	claims   []attribution.Claim
	shares   attribution.Shares
	divider  attribution.Divider
	view     view
	rollups  [2]rollup        // by namespace and by workload
	named    []workload.Owner // machines whose name was told in this tick, as they were called before
}

type node struct {
	seen    bool
	present bool
	total   [energy.Parts]unit.Energy
	delta   [energy.Parts]unit.Energy
}

type band struct {
	seen, present       bool
	low, high           unit.Energy
	lowDelta, highDelta unit.Energy
	value               unit.Energy // total of the component while no band was ever stated
}

func newBooks(cfg Config, policy attribution.Policy, owners Owners) *books {
	b := &books{
		cfg: cfg, policy: policy, owners: owners,
		accounts: make(map[workload.Owner]*account),
		pods:     make(map[string]*pod),
		claimed:  make(map[string]*pod),
		over:     make(map[string]bool),
		names:    &workload.Names{},
		byPlace:  make(map[*workload.Place]*placed),
		byGroup:  make(map[*workload.Group]*grouped),
	}
	for i := range b.system {
		owner := workload.Owner{Kind: workload.SystemOwner, System: workload.SystemAccount(i)}
		b.system[i] = &account{owner: &owner, system: true, first: -1}
	}
	b.view = newView(cfg.Processes)
	return b
}

// enter books one tick: what was used, and the energy of each component.
func (b *books) enter(u *workload.Usage, amounts []energy.Amount, now time.Duration) (busy time.Duration) {
	elapsed := now - b.now
	b.tick++
	if b.now = now; b.tick == 1 {
		b.began, elapsed = now, 0
	}
	b.open(u)
	b.bookGroups(u)
	b.bookTasks(u)
	b.settle()
	b.reserve(u.CPU.Capacity > 0)
	busy = b.bookRest(&u.CPU)
	b.attribute(amounts, &u.CPU, busy)
	b.bookNode(amounts)
	b.emit(&u.CPU, elapsed)
	b.rollUp()
	if b.view.present = u.HasTasks; u.HasTasks {
		b.viewProcesses(u)
	}
	b.endTasks(u)
	b.rename()
	b.sweep()
	return busy
}

// open clears what belongs to one tick.
func (b *books) open(u *workload.Usage) {
	for _, a := range b.active {
		a.delta, a.cpuDelta, a.first, a.reserved = snapshot.Ledger{}, 0, -1, workload.Reserved{}
		a.footDelta = snapshot.Footprint{}
		if a.pod != nil {
			a.pod.delta, a.pod.cpuDelta, a.pod.footDelta = snapshot.Ledger{}, 0, snapshot.Footprint{}
		}
	}
	b.active = b.active[:0]
	for i := range b.rollups {
		b.rollups[i].open()
	}
	if u.Epoch != b.epoch {
		b.epoch = u.Epoch
		for i := range b.slots {
			b.leave(&b.slots[i])
		}
		b.slots = b.slots[:0]
	}
	b.next = slices.Grow(b.next[:0], len(u.Tasks))[:len(u.Tasks)]
}

// use books CPU time of this tick to a.
func (b *books) use(a *account, cpu time.Duration) {
	if a.active != b.tick {
		a.active = b.tick
		b.active = append(b.active, a)
	}
	a.cpuDelta += cpu
}

// bookGroups books each cgroup's own time to the owner of its path.
func (b *books) bookGroups(u *workload.Usage) {
	for i := range u.Groups {
		g := &u.Groups[i]
		e := b.byGroup[g.Group]
		if e == nil {
			e = &grouped{place: b.place(g.Group.Place)}
			b.byGroup[g.Group] = e
		}
		e.tick, e.left, e.place.tick = b.tick, g.CPU, b.tick
		a := e.place.account
		if a == nil || a.gone {
			// A cgroup that never ran anything is no workload, but a
			// container, pod or VM is one from its first moment on.
			if g.CPU == 0 && e.place.owner.Kind > workload.VMOwner {
				continue
			}
			a = b.account(e.place)
		}
		a.seen = b.tick
		if g.CPU > 0 {
			b.use(a, g.CPU)
		}
	}
}

// bookTasks finds each task's account. The time of a task in a cgroup whose
// counter was read is already booked: it only moves when the task belongs to
// somebody else than the cgroup does.
func (b *books) bookTasks(u *workload.Usage) {
	for i := range u.Tasks {
		t := &u.Tasks[i]
		a := b.taskAccount(t)
		if t.CPU <= 0 {
			continue
		}
		if e := b.byGroup[t.Group]; t.Group != nil && e != nil && e.tick == b.tick {
			if from := e.place.account; from != a {
				moved := min(t.CPU, e.left)
				if moved > 0 {
					b.use(a, moved)
					from.cpuDelta -= moved
					e.left -= moved
				}
			}
		} else {
			b.use(a, t.CPU)
		}
		if a.active == b.tick {
			b.next[i], a.first = a.first, int32(i)
		}
	}
}

// bookRest gives the busy time that nothing explains to the kernel, as far as
// interrupts explain it, and else to nobody.
func (b *books) bookRest(cpu *workload.CPUTime) (busy time.Duration) {
	var used time.Duration
	for _, a := range b.active {
		used += a.cpuDelta
	}
	busy = max(cpu.Capacity-cpu.Idle, used)
	if rest := busy - used; rest > 0 {
		interrupts := min(rest, max(cpu.Interrupt, 0))
		b.use(b.system[workload.Kernel], interrupts)
		b.use(b.system[workload.Unattributed], rest-interrupts)
	}
	return busy
}

// attribute divides the energy of the tick and adds it to the accounts.
func (b *books) attribute(amounts []energy.Amount, cpu *workload.CPUTime, busy time.Duration) {
	t := &b.tickData
	*t = attribution.Tick{Amounts: amounts, Capacity: cpu.Capacity, Busy: busy, Allocatable: byComponent(b.names.Allocatable)}
	unknown := cpu.Capacity <= 0
	if unknown {
		// How much of the energy was idle is unknown: what little is known to
		// have run must not pay for all of it.
		t.Busy, t.System[workload.Unattributed] = 1, 1
	}
	b.claims = b.claims[:0]
	for _, a := range b.active {
		switch {
		case unknown && a.system:
		case unknown:
			b.claims = append(b.claims, attribution.Claim{Reserved: byComponent(a.reserved)})
		case a.system:
			t.System[a.owner.System] = a.cpuDelta
		default:
			b.claims = append(b.claims, attribution.Claim{CPU: a.cpuDelta, Reserved: byComponent(a.reserved)})
		}
	}
	b.divider.Attribute(&b.shares, b.policy, t, b.claims)
	i := 0
	for _, a := range b.active {
		if a.system {
			continue
		}
		a.delta = b.shares.Claims[i]
		i++
		b.add(a)
		if a.pod != nil {
			a.pod.delta.Add(&a.delta)
			a.pod.total.Add(&a.delta)
			a.pod.cpuDelta += a.cpuDelta
			a.pod.cpuTotal += a.cpuDelta
		}
	}
	for i, a := range b.system {
		a.delta = b.shares.System[i]
		b.add(a)
	}
}

func (b *books) add(a *account) {
	a.total.Add(&a.delta)
	a.cpuTotal += a.cpuDelta
}

// bookNode adds the tick to the machine's own counters.
func (b *books) bookNode(amounts []energy.Amount) {
	for c := range b.nodes {
		for q := range b.nodes[c] {
			b.nodes[c][q].present = false
		}
		b.bands[c].present = false
	}
	for i := range amounts {
		a := &amounts[i]
		n := &b.nodes[a.Component][a.Quality]
		dynamic := b.dynamic(a.Component)
		n.seen, n.present = true, true
		n.delta = [energy.Parts]unit.Energy{energy.Dynamic: dynamic, energy.Idle: a.Energy - dynamic}
		for p := range n.total {
			n.total[p] += n.delta[p]
		}
		b.bands[a.Component].add(a)
	}
}

// add adds one amount. Until a band is stated the value is its own band.
func (d *band) add(a *energy.Amount) {
	if !a.HasBand && !d.seen {
		d.value += a.Energy
		return
	}
	if !d.seen {
		d.seen, d.low, d.high = true, d.value, d.value
	}
	d.present = a.HasBand
	d.lowDelta, d.highDelta = a.Energy, a.Energy
	if a.HasBand {
		d.lowDelta, d.highDelta = a.Low, a.High
	}
	d.low += d.lowDelta
	d.high += d.highDelta
}

// dynamic returns the dynamic energy of a component in this tick.
func (b *books) dynamic(c energy.Component) (e unit.Energy) {
	for i := range b.shares.Claims {
		e += b.shares.Claims[i][c][energy.Dynamic]
	}
	for i := range b.shares.System {
		e += b.shares.System[i][c][energy.Dynamic]
	}
	return e
}

// endTasks frees the slots of processes that have ended.
func (b *books) endTasks(u *workload.Usage) {
	for i := range u.Tasks {
		if t := &u.Tasks[i]; t.Slot >= 0 && t.State&workload.Ended != 0 {
			b.leave(&b.slots[t.Slot])
		}
	}
}

// rename asks again for the places of machines whose name was told: what runs
// in them goes on under that name from the next tick.
func (b *books) rename() {
	for _, old := range b.named {
		for p, e := range b.byPlace {
			if e.owner != old {
				continue
			}
			was := e.account
			e.owner = b.owners.Place(p)
			now := b.account(e)
			for i := range b.slots {
				if s := &b.slots[i]; s.live && s.account == was {
					s.account = now
					was.tasks--
					now.tasks++
				}
			}
		}
	}
	b.named = b.named[:0]
}

func (b *books) leave(s *slot) {
	if !s.live {
		return
	}
	s.account.tasks--
	b.view.leave(s.series, b.now)
	*s = slot{}
}
