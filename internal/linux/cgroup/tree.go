package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"noether/internal/linux"
)

// Root is the slot of a tree's root.
const Root int32 = 0

// rescan is how often the whole tree is listed although nothing was reported:
// a cgroup that is made through the mount of another cgroup namespace is
// reported to nobody else.
const rescan = 60 * time.Second

// Options say how a tree is kept.
type Options struct {
	// Files is how many counters may be kept open; those beyond it are opened
	// and closed for each reading.
	Files int
	// Now is monotonic time.
	Now func() time.Duration
	// Removed is called with the id and path of each cgroup that is gone.
	Removed func(id uint64, path string)
}

// Tree is the tree of cgroups of one hierarchy. Each cgroup has a slot, a
// small number that is its own while it exists. One goroutine at a time.
type Tree struct {
	h     Hierarchy
	opts  Options
	nodes []node
	free  []int32
	byID  map[uint64]int32
	path  map[string]int32
	watch *watcher // nil when directories cannot be watched
	open  int      // counters kept open

	dirty   []int32 // slots whose directory is to be listed again
	next    time.Duration
	changed bool    // order is out of date
	order   []int32 // children before parents

	listing []byte
	text    [512]byte
	reads   uint64                                 // how often it was read; the first is the baseline
	tell    func(id uint64, counter time.Duration) // hear, made once: making one allocates
}

type node struct {
	id       uint64
	path     string
	parent   int32
	children []int32
	live     bool
	dirty    bool
	watched  bool
	wd       int32
	seen     uint64 // number of listings of its directory
	listed   uint64 // the parent's listing that had it
	book
}

// OpenTree walks the hierarchy h. Counters are opened with the first Read.
func OpenTree(h Hierarchy, opts Options) (*Tree, error) {
	t := &Tree{
		h:       h,
		opts:    opts,
		byID:    make(map[uint64]int32),
		path:    make(map[string]int32),
		listing: make([]byte, 16<<10),
	}
	var st unix.Stat_t
	if err := unix.Stat(h.Dir, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: h.Dir, Err: err}
	}
	t.watch = newWatcher()
	t.tell = t.hear
	root := t.add(-1, st.Ino, "/")
	if err := t.list(root); err != nil {
		t.Close() //nolint:errcheck // the first error is the one to tell
		return nil, err
	}
	t.next = opts.Now() + rescan
	return t, nil
}

// Hierarchy returns what the tree is of.
func (t *Tree) Hierarchy() Hierarchy { return t.h }

// Len returns the number of cgroups, the root included.
func (t *Tree) Len() int { return len(t.nodes) - len(t.free) }

// Slots returns a number that all slots are below.
func (t *Tree) Slots() int { return len(t.nodes) }

// Watched reports whether the kernel tells about every change of the tree, so
// that it is listed again only once a minute.
func (t *Tree) Watched() bool { return t.watch != nil && !t.watch.full }

// ByID returns the slot of the cgroup with an id, which is its inode.
func (t *Tree) ByID(id uint64) (int32, bool) {
	slot, ok := t.byID[id]
	return slot, ok
}

// ByPath returns the slot of the cgroup at a path from the hierarchy's root.
func (t *Tree) ByPath(path string) (int32, bool) {
	slot, ok := t.path[path]
	return slot, ok
}

// Nearest returns the slot of the deepest cgroup on path that exists.
func (t *Tree) Nearest(path string) int32 {
	for {
		if slot, ok := t.path[path]; ok {
			return slot
		}
		i := strings.LastIndexByte(path, '/')
		if i <= 0 {
			return Root
		}
		path = path[:i]
	}
}

// ID returns the id of the cgroup in a slot, and false when there is none.
func (t *Tree) ID(slot int32) (uint64, bool) {
	if slot < 0 || int(slot) >= len(t.nodes) {
		return 0, false
	}
	n := &t.nodes[slot]
	return n.id, n.live
}

// Path returns the path of the cgroup in a slot.
func (t *Tree) Path(slot int32) string { return t.nodes[slot].path }

// Touch has the tree look for a new cgroup at path, which must be one. It
// returns its slot, or false when it is not there.
func (t *Tree) Touch(path string) (int32, bool) {
	slot := t.Nearest(path)
	for t.nodes[slot].path != path {
		if t.list(slot) != nil {
			return 0, false
		}
		below := t.Nearest(path)
		if below == slot {
			return 0, false
		}
		slot = below
	}
	return slot, true
}

// FindProcess returns the path of the cgroup whose cgroup.procs has pid.
func (t *Tree) FindProcess(pid int) (string, bool) {
	for i := range t.nodes {
		n := &t.nodes[i]
		if !n.live {
			continue
		}
		b, err := linux.ReadFile(t.dir(n)+"/cgroup.procs", 1<<20)
		if err != nil {
			continue
		}
		for word := range strings.FieldsSeq(string(b)) {
			if p, ok := linux.ParseUint([]byte(word)); ok && p == uint64(pid) {
				return n.path, true
			}
		}
	}
	return "", false
}

// Refresh brings the tree up to date. It costs one system call while cgroups
// neither come nor go.
func (t *Tree) Refresh() {
	all := !t.Watched()
	if t.watch != nil {
		for wd := range t.watch.events(&all) {
			if slot, ok := t.watch.slots[wd]; ok {
				t.mark(slot)
			}
		}
	}
	now := t.opts.Now()
	if all || now >= t.next {
		for i := range t.nodes {
			if t.nodes[i].live {
				t.mark(int32(i))
			}
		}
		t.next = now + rescan
	}
	for len(t.dirty) > 0 {
		slot := t.dirty[len(t.dirty)-1]
		t.dirty = t.dirty[:len(t.dirty)-1]
		if n := &t.nodes[slot]; n.live && n.dirty {
			t.list(slot) //nolint:errcheck // it is gone; its parent's listing says so
		}
	}
}

// Close closes every descriptor.
func (t *Tree) Close() error {
	var err error
	for i := range t.nodes {
		err = errors.Join(err, t.nodes[i].close(t))
	}
	if t.watch != nil {
		err = errors.Join(err, t.watch.close())
	}
	t.nodes = nil
	return err
}

func (t *Tree) mark(slot int32) {
	if n := &t.nodes[slot]; !n.dirty {
		n.dirty = true
		t.dirty = append(t.dirty, slot)
	}
}

func (t *Tree) dir(n *node) string {
	if n.path == "/" {
		return t.h.Dir
	}
	return t.h.Dir + n.path
}

func (t *Tree) add(parent int32, id uint64, path string) int32 {
	var slot int32
	if n := len(t.free); n > 0 {
		slot = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		slot = int32(len(t.nodes))
		t.nodes = append(t.nodes, node{})
	}
	n := &t.nodes[slot]
	*n = node{id: id, path: path, parent: parent, live: true, children: n.children[:0], book: book{fresh: true}}
	n.bare = parent < 0 && t.h.V2() && id == 1
	if parent >= 0 {
		t.nodes[parent].children = append(t.nodes[parent].children, slot)
	}
	t.byID[id] = slot
	t.path[path] = slot
	t.changed = true
	if t.watch != nil {
		n.wd, n.watched = t.watch.add(t.dir(n), slot)
	}
	return slot
}

// remove takes the cgroup in slot and all below it out of the tree. What they
// had counted stays booked below their parent.
func (t *Tree) remove(slot int32) {
	n := &t.nodes[slot]
	for _, child := range n.children {
		t.remove(child)
	}
	n = &t.nodes[slot]
	if n.parent >= 0 && n.known {
		t.nodes[n.parent].gone += n.counter
	}
	n.close(t) //nolint:errcheck // nothing was written
	if n.watched {
		t.watch.remove(n.wd)
	}
	if t.byID[n.id] == slot {
		delete(t.byID, n.id)
	}
	delete(t.path, n.path)
	if t.opts.Removed != nil {
		t.opts.Removed(n.id, n.path)
	}
	*n = node{children: n.children[:0]}
	t.free = append(t.free, slot)
	t.changed = true
}

// list lists the directory of slot and brings its children up to date, new
// ones with all below them.
func (t *Tree) list(slot int32) error {
	n := &t.nodes[slot]
	n.dirty = false
	if t.watch != nil && !n.watched {
		n.wd, n.watched = t.watch.add(t.dir(n), slot)
	}
	path := n.path
	if path == "/" {
		path = ""
	}
	d, err := linux.OpenDir(t.dir(n))
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // nothing was written
	t.nodes[slot].seen++
	mark := t.nodes[slot].seen
	var fresh []int32
	for {
		b, err := d.Fill(t.listing)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			break
		}
		for {
			e, rest, ok := linux.NextDirent(b)
			if !ok {
				break
			}
			b = rest
			if e.Type != unix.DT_DIR && (e.Type != unix.DT_UNKNOWN || !isDir(t.dir(&t.nodes[slot])+"/"+string(e.Name))) {
				continue
			}
			child, ok := t.child(slot, e)
			if !ok {
				child = t.add(slot, e.Inode, path+"/"+string(e.Name))
				fresh = append(fresh, child)
			}
			t.nodes[child].listed = mark
		}
	}
	for i := 0; i < len(t.nodes[slot].children); {
		child := t.nodes[slot].children[i]
		if t.nodes[child].listed == mark {
			i++
			continue
		}
		t.nodes[slot].children = append(t.nodes[slot].children[:i], t.nodes[slot].children[i+1:]...)
		t.remove(child)
	}
	for _, child := range fresh {
		t.list(child) //nolint:errcheck // it is gone again; the next listing of its parent says so
	}
	n = &t.nodes[slot]
	n.due = true
	n.resting = len(n.children) > 0 && t.h.V2() && cannotRun(t.dir(n))
	return nil
}

// cannotRun reports whether no process can be in the cgroup at dir: it hands
// controllers on to its children and has no threaded ones ("No Internal
// Process Constraint" in Documentation/admin-guide/cgroup-v2.rst).
func cannotRun(dir string) bool {
	kind, err := linux.ReadFile(dir+"/cgroup.type", 64)
	if err != nil || string(kind) != "domain\n" {
		return false
	}
	control, err := linux.ReadFile(dir+"/cgroup.subtree_control", 256)
	return err == nil && len(control) > 1
}

// child returns the slot of the entry e of the cgroup in slot, if it is known
// under the same name.
func (t *Tree) child(slot int32, e linux.Dirent) (int32, bool) {
	child, ok := t.byID[e.Inode]
	if !ok || t.nodes[child].parent != slot {
		return 0, false
	}
	path := t.nodes[child].path
	return child, path[strings.LastIndexByte(path, '/')+1:] == string(e.Name)
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// Bare reports whether the cgroup in a slot is the root of v2, whose counter
// is that of the whole machine and not of what runs in it.
func (t *Tree) Bare(slot int32) bool { return t.nodes[slot].bare }
