package agent

import (
	"cmp"
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
	owner *workload.Owner
	pod   *account // the sum this account is part of; nil outside pods

	total, delta       snapshot.Ledger
	cpuTotal, cpuDelta time.Duration

	active uint64 // last tick in which it used CPU time
	seen   uint64 // last tick in which one of its cgroups was there
	tasks  int    // processes of it that are alive
	leaves int    // of a pod: accounts that are part of it
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
	accounts map[workload.Owner]*account
	pods     map[string]*account
	byPlace  map[*workload.Place]*placed
	byGroup  map[*workload.Group]*grouped
	slots    []slot
	epoch    uint32
	system   [workload.SystemAccounts]*account
	retired  [workload.Kinds][energy.Components]unit.Energy
	nodes    [energy.Components][energy.Qualities]node
	bands    [energy.Components]band

	listed [workload.Kinds][]*account // what is exported, sorted by labels
	active []*account                 // used CPU time in this tick, system accounts last
	next   []int32                    // of each task of the tick: the next one of its account

	tickData attribution.Tick
	claims   []attribution.Claim
	shares   attribution.Shares
	divider  attribution.Divider
	view     view
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
		pods:     make(map[string]*account),
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
	b.tick++
	b.now = now
	b.open(u)
	b.bookGroups(u)
	b.bookTasks(u)
	busy = b.bookRest(&u.CPU)
	b.attribute(amounts, &u.CPU, busy)
	b.bookNode(amounts)
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
		a.delta, a.cpuDelta, a.first = snapshot.Ledger{}, 0, -1
		if a.pod != nil {
			a.pod.delta, a.pod.cpuDelta = snapshot.Ledger{}, 0
		}
	}
	b.active = b.active[:0]
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

// taskAccount returns the account of a task and keeps the table of slots.
func (b *books) taskAccount(t *workload.TaskUsage) *account {
	if t.Slot < 0 {
		return b.ownerOf(t)
	}
	for int(t.Slot) >= len(b.slots) {
		b.slots = append(b.slots, slot{})
	}
	s := &b.slots[t.Slot]
	if s.live && t.State&(workload.New|workload.Renamed) == 0 && !s.account.gone {
		return s.account
	}
	a := b.ownerOf(t)
	if s.live {
		s.account.tasks--
	}
	a.tasks++
	s.account, s.live = a, true
	return a
}

// ownerOf resolves the owner of a task.
func (b *books) ownerOf(t *workload.TaskUsage) *account {
	kernel := t.State&workload.KernelTask != 0
	if t.Place == nil {
		if kernel {
			return b.system[workload.Kernel]
		}
		if t.State&workload.Ended != 0 {
			return b.system[workload.Exited]
		}
		return b.system[workload.Unattributed]
	}
	p := b.place(t.Place)
	if kernel {
		// In a cgroup of somebody's it works for him (vhost, for one), and his
		// counter has its time.
		if p.owner.Kind == workload.SystemOwner || p.owner.Kind == workload.UnitOwner && p.owner.Unit == "/" {
			return b.system[workload.Kernel]
		}
	} else if owner, ok := b.owners.Process(t, p.owner); ok {
		if p.owner.Kind == workload.VMOwner {
			b.named = append(b.named, p.owner)
		}
		return b.accountOf(&owner)
	}
	if p.account == nil || p.account.gone {
		return b.account(p)
	}
	return p.account
}

// place returns what is known about p.
func (b *books) place(p *workload.Place) *placed {
	e := b.byPlace[p]
	if e == nil {
		e = &placed{owner: b.owners.Place(p)}
		b.byPlace[p] = e
	}
	e.tick = b.tick
	return e
}

// account returns the account of a place, opening it if need be.
func (b *books) account(p *placed) *account {
	p.account = b.accountOf(&p.owner)
	return p.account
}

// accountOf returns the account of an owner, opening it if need be.
func (b *books) accountOf(o *workload.Owner) *account {
	if o.Kind == workload.SystemOwner {
		return b.system[o.System]
	}
	key := *o
	key.Pod.QoS = "" // no label: it must not make two series of one
	if a := b.accounts[key]; a != nil {
		return a
	}
	owner := *o
	a := &account{owner: &owner, first: -1, seen: b.tick}
	b.accounts[key] = a
	if o.Kind == workload.PodOwner {
		a.pod = b.pod(&owner)
		a.pod.leaves++
		if o.Container.ID == "" {
			return a // the pod's own: part of the sum, not listed by itself
		}
	}
	b.list(listKind(&owner), a)
	return a
}

// pod returns the sum account of the pod of o.
func (b *books) pod(o *workload.Owner) *account {
	a := b.pods[o.Pod.UID]
	if a == nil {
		a = &account{owner: &workload.Owner{Kind: workload.PodOwner, Pod: o.Pod}, first: -1}
		b.pods[o.Pod.UID] = a
		b.list(workload.PodOwner, a)
	}
	return a
}

// listKind returns the list a leaf is exported in: containers of pods stand
// beside those outside.
func listKind(o *workload.Owner) workload.Kind {
	if o.Kind == workload.PodOwner {
		return workload.ContainerOwner
	}
	return o.Kind
}

func (b *books) list(k workload.Kind, a *account) {
	i, _ := slices.BinarySearchFunc(b.listed[k], a, byLabels)
	b.listed[k] = slices.Insert(b.listed[k], i, a)
}

func (b *books) unlist(k workload.Kind, a *account) {
	if i, ok := slices.BinarySearchFunc(b.listed[k], a, byLabels); ok {
		b.listed[k] = slices.Delete(b.listed[k], i, i+1)
	}
}

// byLabels orders accounts of one list.
func byLabels(x, y *account) int {
	a, b := x.owner, y.owner
	return cmp.Or(
		cmp.Compare(a.Pod.UID, b.Pod.UID),
		cmp.Compare(a.Container.ID, b.Container.ID),
		cmp.Compare(a.Container.Runtime, b.Container.Runtime),
		cmp.Compare(a.VM.Name, b.VM.Name),
		cmp.Compare(a.VM.Hypervisor, b.VM.Hypervisor),
		cmp.Compare(a.User, b.User),
		cmp.Compare(a.Unit, b.Unit),
		cmp.Compare(a.Container.Name, b.Container.Name),
		cmp.Compare(a.Pod.Namespace, b.Pod.Namespace),
		cmp.Compare(a.Pod.Name, b.Pod.Name),
		cmp.Compare(a.Pod.WorkloadKind, b.Pod.WorkloadKind),
		cmp.Compare(a.Pod.Workload, b.Pod.Workload),
	)
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
	*t = attribution.Tick{Amounts: amounts, Capacity: cpu.Capacity, Busy: busy}
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
			b.claims = append(b.claims, attribution.Claim{})
		case a.system:
			t.System[a.owner.System] = a.cpuDelta
		default:
			b.claims = append(b.claims, attribution.Claim{CPU: a.cpuDelta})
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

// maxEnded bounds how many finished owners stay listed: a machine that starts
// thousands of containers an hour must not make every tick slower.
const maxEnded = 2000

// sweep notes who has ended and retires who ended long enough ago.
func (b *books) sweep() {
	keep := max(b.cfg.KeepFinished, 2*b.cfg.Interval)
	ended := 0
	for key, a := range b.accounts {
		if a.tasks > 0 || a.seen == b.tick || a.active == b.tick {
			a.ended = false
			continue
		}
		if !a.ended {
			a.ended, a.end = true, b.now
		}
		if b.now-a.end > keep {
			b.retire(key, a)
			continue
		}
		ended++
	}
	if ended > maxEnded {
		b.retireOldest(ended - maxEnded)
	}
	for _, p := range b.pods {
		p.ended = true
	}
	for _, a := range b.accounts {
		if a.pod != nil && !a.ended {
			a.pod.ended = false
		}
	}
	b.view.sweep(b.now, keep)
	if b.tick%64 == 0 {
		b.forget()
	}
}

// retire takes an account off the books. What an owner had consumed is added
// to the retired sum of its kind; that of a pod's leaf stays in its pod.
func (b *books) retire(key workload.Owner, a *account) {
	a.gone = true
	delete(b.accounts, key)
	if a.pod == nil {
		b.unlist(a.owner.Kind, a)
		b.addRetired(a.owner.Kind, &a.total)
		return
	}
	if a.owner.Container.ID != "" {
		b.unlist(workload.ContainerOwner, a)
	}
	a.pod.leaves--
	if a.pod.leaves == 0 {
		delete(b.pods, a.owner.Pod.UID)
		b.unlist(workload.PodOwner, a.pod)
		b.addRetired(workload.PodOwner, &a.pod.total)
	}
}

func (b *books) addRetired(k workload.Kind, total *snapshot.Ledger) {
	for c := range total {
		b.retired[k][c] += total.Component(energy.Component(c))
	}
}

// retireOldest retires n ended accounts before their time, oldest first.
func (b *books) retireOldest(n int) {
	type item struct {
		key workload.Owner
		a   *account
	}
	var items []item
	for key, a := range b.accounts {
		if a.ended {
			items = append(items, item{key, a})
		}
	}
	slices.SortFunc(items, func(x, y item) int { return cmp.Or(cmp.Compare(x.a.end, y.a.end), byLabels(x.a, y.a)) })
	for _, it := range items[:n] {
		b.retire(it.key, it.a)
	}
}

// forget drops what is known of places and groups that nobody asked for in
// the last ticks. Tasks that live on unchanged are not asked for; their
// places are found again by the same question.
func (b *books) forget() {
	for g, e := range b.byGroup {
		if b.tick-e.tick > 64 {
			delete(b.byGroup, g)
		}
	}
	for p, e := range b.byPlace {
		if b.tick-e.tick > 64 {
			delete(b.byPlace, p)
		}
	}
}
