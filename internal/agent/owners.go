package agent

import (
	"cmp"
	"slices"

	"noether/internal/workload"
)

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
	a := &account{key: key, owner: &owner, first: -1, born: b.tick, seen: b.tick, at: len(b.all)}
	b.accounts[key] = a
	b.all = append(b.all, a)
	switch o.Kind {
	case workload.PodOwner:
		b.joinPod(a)
	case workload.ContainerOwner:
		if b.describeContainer(a); !a.listed {
			b.waiting = append(b.waiting, a)
		}
	default:
		b.list(o.Kind, a)
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
	a.listed = true
}

func (b *books) unlist(k workload.Kind, a *account) {
	a.listed = false
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
