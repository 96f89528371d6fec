package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"noether/internal/linux"
)

// Usage is the CPU time one cgroup used since the previous reading, without
// that of the cgroups below it.
type Usage struct {
	Slot int32
	CPU  time.Duration
}

// book is the account of one cgroup. Its own use since it was made is
//
//	counter - counters of its children - gone
//
// and what of it has been told is booked. Children are read before their
// parent, so that what they use in between shows up as the parent's for a
// moment; the next difference is smaller by the same time, and one that is
// below zero is carried: nothing is lost and nothing told twice.
type book struct {
	file    *linux.File
	counter time.Duration // last reading, children included
	below   time.Duration // of the children, in this reading
	gone    time.Duration // last readings of children that have been removed
	booked  time.Duration // own time that has been told, or was there at the baseline
	own     time.Duration // own time in this reading
	resting bool          // no process can be in it: it is read only when a child came or went
	due     bool          // a child came or went, or it is time to look
	known   bool          // counter has been read
	fresh   bool          // some of the counter may have been told as its parent's
	failed  bool          // the last reading failed
	told    time.Duration // the counter as a Counters told it
	heard   uint64        // the number of the Read that it told it for
	bare    bool          // the counter is not that of a workload: the root of v2 counts the whole machine
}

func (b *book) close(t *Tree) error {
	if b.file == nil {
		return nil
	}
	err := b.file.Close()
	b.file = nil
	t.open--
	return err
}

// Counters tells the counters of many cgroups by their ids: each as the kernel
// added it up when the file of that one, or of one above it, was read last.
type Counters func(tell func(id uint64, counter time.Duration)) error

// Ask has counters tell what the next Read then need not read from files. Of
// v2 only: there one reading at the top brings everything below up to date.
func (t *Tree) Ask(counters Counters) error {
	top := []int32{Root}
	if t.nodes[Root].bare {
		top = t.nodes[Root].children
	}
	for _, slot := range top {
		if _, err := t.count(&t.nodes[slot]); err != nil {
			return nil //nolint:nilerr // what is below it may be of long ago: Read takes the files, and tells what is wrong with them
		}
	}
	return counters(t.tell)
}

// hear notes what a Counters tells.
func (t *Tree) hear(id uint64, counter time.Duration) {
	if slot, ok := t.byID[id]; ok {
		n := &t.nodes[slot]
		n.told, n.heard = counter, t.reads+1
	}
}

// Read appends to dst the own use of every cgroup whose counter could be read.
// The first Read is the baseline, with no time. A cgroup that cannot be read
// costs only itself: its time is its parent's until it can be read; err joins
// the reasons, once for each.
func (t *Tree) Read(dst []Usage) (_ []Usage, err error) {
	if t.changed {
		t.order = t.postorder(t.order[:0], Root)
		t.changed = false
	}
	for _, slot := range t.order {
		t.nodes[slot].below = t.nodes[slot].gone
	}
	t.reads++
	fresh := false
	for _, slot := range t.order {
		n := &t.nodes[slot]
		if n.bare {
			continue
		}
		value, readErr := n.below+n.booked, error(nil)
		if n.due || !n.resting || n.fresh {
			if n.heard == t.reads {
				value = n.told
			} else {
				value, readErr = t.count(n)
			}
			n.due = false
		}
		if readErr != nil {
			err = errors.Join(err, t.fail(n, readErr))
			value = n.below
		} else {
			n.failed = false
		}
		if readErr == nil || n.known {
			fresh = fresh || n.fresh
			n.counter = max(value, n.counter)
			t.settle(n, fresh)
		}
		n.known = n.known || readErr == nil
		if n.parent >= 0 {
			t.nodes[n.parent].below += max(n.counter, n.below)
		}
	}
	for _, slot := range t.order {
		n := &t.nodes[slot]
		if !n.known || n.bare {
			continue
		}
		dst = append(dst, Usage{Slot: slot, CPU: n.own})
		n.own, n.fresh = 0, n.failed
	}
	return dst, err
}

// settle tells what n has used by itself since the last reading. What it had
// been told too much may be the time of cgroups below it that were found or
// could be read only now: that much is taken from them.
func (t *Tree) settle(n *node, fresh bool) {
	own := n.counter - n.below
	switch more := own - n.booked; {
	case t.reads == 1:
		n.booked = own
	case more >= 0:
		n.own, n.booked = more, own
	case fresh:
		n.booked -= -more - t.refund(n, -more)
	}
}

// refund takes up to owed from the cgroups below n whose counters are new and
// returns what is still owed.
func (t *Tree) refund(n *node, owed time.Duration) time.Duration {
	for _, slot := range n.children {
		child := &t.nodes[slot]
		if child.fresh {
			back := min(child.own, owed)
			child.own -= back
			owed -= back
		}
		if owed > 0 {
			owed = t.refund(child, owed)
		}
	}
	return owed
}

// count reads the counter of n, on a descriptor that is kept while there are
// not too many.
func (t *Tree) count(n *node) (time.Duration, error) {
	f := n.file
	if f == nil {
		var err error
		if f, err = linux.Open(t.dir(n) + "/" + t.h.Counter); err != nil {
			return 0, err
		}
		if t.open < t.opts.Files {
			n.file = f
			t.open++
		} else {
			defer f.Close() //nolint:errcheck // nothing was written
		}
	}
	b, err := f.Read(t.text[:])
	if err != nil {
		return 0, err
	}
	if len(b) == 0 {
		return 0, unix.ENODEV // an emptied file in a tree that is not the kernel's
	}
	value, ok := parseCounter(b, t.h.V2())
	if !ok {
		return 0, fmt.Errorf("parse %s: no CPU time in %q", f.Path(), b)
	}
	return value, nil
}

// fail notes that the counter of n could not be read and returns why, unless
// that is no news or the cgroup is just gone.
func (t *Tree) fail(n *node, err error) error {
	again := n.failed
	n.failed, n.fresh = true, true
	n.close(t) //nolint:errcheck // nothing was written
	if errors.Is(err, unix.ENODEV) || errors.Is(err, fs.ErrNotExist) {
		if n.parent >= 0 {
			t.mark(n.parent)
		}
		return nil
	}
	if again {
		return nil
	}
	return err
}

// Counting returns the slot at or above slot whose counter had the time of the
// cgroup in slot at the last Read: a cgroup that could not be read, or was not
// there yet, is part of the one above. It is false when no counter had it.
func (t *Tree) Counting(slot int32) (int32, bool) {
	for slot >= 0 {
		n := &t.nodes[slot]
		if n.known && !n.failed && !n.bare {
			return slot, true
		}
		slot = n.parent
	}
	return 0, false
}

// postorder appends the slots at and below slot, children before parents.
func (t *Tree) postorder(dst []int32, slot int32) []int32 {
	for _, child := range t.nodes[slot].children {
		dst = t.postorder(dst, child)
	}
	return append(dst, slot)
}
