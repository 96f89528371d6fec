package usage

import (
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"
	"weak"

	"noether/internal/linux"
	"noether/internal/linux/cgroup"
	"noether/internal/workload"
)

const (
	// remember is for how many ticks at least the name of a cgroup that is
	// gone, or that was made and not yet found, is kept, and rememberFor for
	// how long: exit records come late on a machine that is overloaded.
	remember    = 4
	rememberFor = 15 * time.Second
	// sweepEvery is how many ticks lie between two searches for places that nobody holds.
	sweepEvery = 64
	// initCgroupNamespace is the inode of the first cgroup namespace,
	// PROC_CGROUP_INIT_INO (include/linux/proc_ns.h).
	initCgroupNamespace = "cgroup:[4026531835]"
)

// IndexOptions say where cgroups are looked up.
type IndexOptions struct {
	FS linux.FS
	// Now is monotonic time.
	Now func() time.Duration
	// Files is how many descriptors may be kept open for counters.
	Files int
	// PID is the agent's own, as its own namespace numbers it; 0 asks the kernel.
	PID int
}

// Index knows every cgroup of the machine by id and path, and keeps one
// workload.Group per cgroup and one workload.Place per combination of them:
// the same pointer for as long as it exists or anybody holds it. One goroutine
// at a time. While cgroups neither come nor go it allocates nothing.
type Index struct {
	opts     IndexOptions
	layout   cgroup.Layout
	err      error
	counters *cgroup.Tree // nil when no cgroups can be seen
	other    *cgroup.Tree // opened when the first id of that hierarchy is asked for
	private  bool         // paths in /proc/<pid>/cgroup are relative to the agent's own cgroup
	own      string       // that cgroup, when private and found
	tick     uint64
	now      time.Duration // of the tick, monotonic

	groups []groupSlot // by slot of counters
	places map[string]weak.Pointer[workload.Place]
	files  map[string]*Membership
	ids    map[ids]weak.Pointer[Membership]
	names  map[cgroupID]cgroupName
	number uint64 // of the last Membership

	key  []byte
	text []byte
	path []byte
}

// Membership is one combination of cgroups that processes are in.
type Membership struct {
	Place *workload.Place
	// Number identifies the combination: equal numbers mean the same one.
	Number uint64

	raw  string // text of /proc/<pid>/cgroup, empty if it was not read
	path string // in the hierarchy that is counted
	slot int32  // where the group was
	id   uint64
	root bool   // every v1 path is the root
	tick uint64 // when it was last compared with the text of a process
}

type groupSlot struct {
	group *workload.Group
	id    uint64
}

type ids struct{ set, v2, v1 uint64 }

type cgroupID struct {
	v1 bool
	id uint64
}

type cgroupName struct {
	path string
	tick uint64
	at   time.Duration
}

// OpenIndex looks for cgroups. When none can be seen the index is usable all
// the same, and Err says why: places are then known by the text of
// /proc/<pid>/cgroup alone, and there is no group.
func OpenIndex(opts IndexOptions) *Index {
	if opts.PID == 0 {
		opts.PID = os.Getpid()
	}
	x := &Index{
		opts:   opts,
		places: make(map[string]weak.Pointer[workload.Place]),
		files:  make(map[string]*Membership),
		ids:    make(map[ids]weak.Pointer[Membership]),
		names:  make(map[cgroupID]cgroupName),
		text:   make([]byte, 16<<10),
	}
	namespace, err := os.Readlink(opts.FS.Proc + "/self/ns/cgroup")
	x.private = err == nil && namespace != initCgroupNamespace
	if x.layout, x.err = cgroup.Detect(opts.FS.Cgroup); x.err != nil {
		return x
	}
	x.counters, x.err = cgroup.OpenTree(x.layout.Counters, cgroup.Options{
		Files: opts.Files, Now: opts.Now, Removed: x.forget(!x.layout.Counters.V2()),
	})
	return x
}

// Err returns why no cgroups can be seen, nil when they can.
func (x *Index) Err() error { return x.err }

// Root returns the directory that cgroups are looked for in.
func (x *Index) Root() string { return x.opts.FS.Cgroup }

// Layout returns how cgroups are mounted.
func (x *Index) Layout() cgroup.Layout { return x.layout }

// Counters returns the tree of cgroups whose CPU time is counted, nil when
// none can be seen.
func (x *Index) Counters() *cgroup.Tree { return x.counters }

// Refresh begins a tick: it finds cgroups that came or went.
func (x *Index) Refresh() {
	x.tick++
	x.now = x.opts.Now()
	if x.counters != nil {
		x.counters.Refresh()
	}
	if x.other != nil {
		x.other.Refresh()
	}
	for id, n := range x.names {
		if x.tick-n.tick > remember && x.now-n.at > rememberFor {
			delete(x.names, id)
		}
	}
	if x.tick%sweepEvery == 0 {
		x.sweep()
	}
}

// sweep forgets places that nobody holds and groups that are gone.
func (x *Index) sweep() {
	for key, p := range x.places {
		if p.Value() == nil {
			delete(x.places, key)
		}
	}
	for key, m := range x.ids {
		if m.Value() == nil {
			delete(x.ids, key)
		}
	}
	for raw, m := range x.files {
		// Its own Place is what keeps a Membership's place alive.
		if x.tick-m.tick > sweepEvery {
			delete(x.files, raw)
		}
	}
	for slot := range x.groups {
		if x.groups[slot].group == nil {
			continue
		}
		if id, ok := x.counters.ID(int32(slot)); !ok || id != x.groups[slot].id {
			x.groups[slot] = groupSlot{}
		}
	}
}

// Close closes every descriptor.
func (x *Index) Close() error {
	var err error
	if x.counters != nil {
		err = x.counters.Close()
	}
	if x.other != nil {
		err = errors.Join(err, x.other.Close())
	}
	return err
}

// Group returns the group of the cgroup in a slot of Counters.
func (x *Index) Group(slot int32) *workload.Group {
	id, ok := x.counters.ID(slot)
	if !ok || x.counters.Bare(slot) {
		return nil
	}
	for int(slot) >= len(x.groups) {
		x.groups = append(x.groups, groupSlot{})
	}
	if g := &x.groups[slot]; g.group != nil && g.id == id {
		return g.group
	}
	path := x.counters.Path(slot)
	g := &workload.Group{ID: id, Path: path, Place: x.place([]workload.CgroupPath{
		{Hierarchy: x.layout.Counters.Name, Path: path},
	})}
	x.groups[slot] = groupSlot{g, id}
	return g
}

// ByFile returns the membership that a text of /proc/<pid>/cgroup says. It
// keeps no part of raw.
func (x *Index) ByFile(raw []byte) *Membership {
	m, ok := x.files[string(raw)]
	if !ok {
		m = x.parse(string(raw))
		x.files[m.raw] = m
	}
	m.tick = x.tick
	return m
}

// GroupOf returns the group that counts the CPU time of processes in m: the
// cgroup itself or, when it is gone, the nearest one above. It is nil when
// nothing counts it.
func (x *Index) GroupOf(m *Membership) *workload.Group {
	if x.counters == nil || m.path == "" {
		return nil
	}
	if id, ok := x.counters.ID(m.slot); !ok || id != m.id {
		slot, ok := x.counters.Touch(m.path)
		if !ok {
			return x.Group(x.counters.Nearest(m.path))
		}
		m.slot = slot
		m.id, _ = x.counters.ID(slot)
	}
	return x.Group(m.slot)
}

// Counting returns the group whose counter had the time of g when the counters
// were read last: g itself, or the nearest one above when g is gone or could
// not be read. It is nil when no counter had it.
func (x *Index) Counting(g *workload.Group) *workload.Group {
	slot, ok := x.counters.ByID(g.ID)
	if !ok {
		slot = x.counters.Nearest(g.Path)
	}
	if slot, ok = x.counters.Counting(slot); !ok {
		return nil
	}
	return x.Group(slot)
}

// ByIDs returns where the process pid, 0 for one that has ended, is, given the ids of its cgroups in v2
// and in the v1 hierarchy, and a number for the set of all of them. The
// process may have ended.
func (x *Index) ByIDs(pid uint32, v2, v1, set uint64) (*workload.Place, *workload.Group) {
	m := x.byIDs(pid, ids{set, v2, v1})
	return m.Place, x.GroupOf(m)
}

func (x *Index) byIDs(pid uint32, key ids) *Membership {
	unified := x.counters != nil && x.layout.Mode == cgroup.Unified
	if unified {
		key.set, key.v1 = 0, 0
	}
	known := x.ids[key].Value()
	// The kernel uses the number of a set again for another set: where the
	// ids alone do not say it all, compare once per tick.
	if known != nil && known.Place != nil && (unified || known.tick == x.tick) {
		return known
	}
	if !unified {
		if m := x.ByPID(pid); m != nil && x.agrees(m, key) {
			x.ids[key] = weak.Make(m)
			return m
		}
		if known != nil {
			return known
		}
	}
	m := x.byNames(pid, key)
	x.ids[key] = weak.Make(m)
	return m
}

// byNames finds the paths of ids.
func (x *Index) byNames(pid uint32, key ids) *Membership {
	var paths []workload.CgroupPath
	var counted string
	v2, ok2 := x.pathOf(false, key.v2)
	v1, ok1 := x.pathOf(true, key.v1)
	if !ok2 && !ok1 {
		if m := x.ByPID(pid); m != nil {
			return m
		}
	}
	if ok1 {
		paths = append(paths, workload.CgroupPath{Hierarchy: x.v1Name(), Path: v1})
		if !x.layout.Counters.V2() {
			counted = v1
		}
	}
	if ok2 {
		paths = append(paths, workload.CgroupPath{Path: v2})
		if x.layout.Counters.V2() {
			counted = v2
		}
	}
	x.number++
	m := &Membership{Number: x.number, path: counted, slot: -1, tick: x.tick}
	if len(paths) > 0 {
		m.Place = x.place(paths)
		// Kept like one that was read, so that it lives as long as it is used.
		m.raw = "\x00" + strconv.FormatUint(m.Number, 10)
		x.files[m.raw] = m
	}
	return m
}

func (x *Index) v1Name() string {
	if name := x.layout.Counters.Name; name != "" {
		return name
	}
	return x.layout.Other.Name
}

// pathOf returns the path of the cgroup with an id.
func (x *Index) pathOf(v1 bool, id uint64) (string, bool) {
	if id == 0 {
		return "", false
	}
	t := x.counters
	if t == nil || t.Hierarchy().V2() == v1 {
		t = x.otherTree()
	}
	if t != nil && t.Hierarchy().V2() != v1 {
		if slot, ok := t.ByID(id); ok {
			return t.Path(slot), true
		}
	}
	if n, ok := x.names[cgroupID{v1, id}]; ok {
		return n.path, true
	}
	if id == 1 {
		return "/", true
	}
	return "", false
}

func (x *Index) otherTree() *cgroup.Tree {
	if x.other == nil && x.layout.Other.Dir != "" {
		t, err := cgroup.OpenTree(x.layout.Other, cgroup.Options{
			Now: x.opts.Now, Removed: x.forget(!x.layout.Other.V2()),
		})
		if err != nil {
			x.layout.Other.Dir = "" // ids of it stay without a path
			return nil
		}
		x.other = t
	}
	return x.other
}

// Made says that a cgroup was made at path, from the root of its hierarchy:
// one that lives for less than a tick keeps its name.
func (x *Index) Made(v1 bool, id uint64, path string) {
	x.names[cgroupID{v1, id}] = cgroupName{path, x.tick, x.now}
}

// Gone says that a cgroup was removed.
func (x *Index) Gone(v1 bool, id uint64) {
	if n, ok := x.names[cgroupID{v1, id}]; ok {
		x.names[cgroupID{v1, id}] = cgroupName{n.path, x.tick, x.now}
	}
}

func (x *Index) forget(v1 bool) func(uint64, string) {
	return func(id uint64, path string) { x.names[cgroupID{v1, id}] = cgroupName{path, x.tick, x.now} }
}

// ByPID returns the membership of a process, or nil when it cannot be read.
// That is so too for one that is exiting where v1 is mounted: the kernel shows
// it in the root of every v1 hierarchy (kernel/cgroup/cgroup.c).
func (x *Index) ByPID(pid uint32) *Membership {
	if pid == 0 {
		return nil
	}
	raw, err := x.readFile(pid, "/cgroup")
	if err != nil || len(raw) == 0 {
		return nil
	}
	m := x.ByFile(raw)
	if m.root && x.exiting(pid) {
		return nil
	}
	return m
}

func (x *Index) exiting(pid uint32) bool {
	var st linux.ProcessStat
	raw, err := x.readFile(pid, "/stat")
	return err != nil || linux.ParseProcessStat(raw, &st) != nil || st.Exiting
}

// agrees reports whether m is where ids say, as far as that is known.
func (x *Index) agrees(m *Membership, key ids) bool {
	if x.counters == nil {
		return true
	}
	want := key.v1
	if x.layout.Counters.V2() {
		want = key.v2
	}
	slot, ok := x.counters.ByPath(m.path)
	if !ok || want == 0 {
		return true
	}
	id, _ := x.counters.ID(slot)
	return id == want
}

// readFile returns the text of a file in the directory of pid, valid until the next call.
func (x *Index) readFile(pid uint32, file string) ([]byte, error) {
	x.path = append(append(x.path[:0], x.opts.FS.Proc...), '/')
	x.path = append(strconv.AppendUint(x.path, uint64(pid), 10), file...)
	f, err := linux.Open(string(x.path))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return f.Read(x.text)
}

func (x *Index) parse(raw string) *Membership {
	x.number++
	m := &Membership{Number: x.number, raw: raw, slot: -1}
	v1 := 0
	var paths []workload.CgroupPath
	for b := []byte(raw); ; {
		l, rest, ok := linux.NextCgroupLine(b)
		if !ok {
			break
		}
		b = rest
		if len(l.Controllers) > 0 {
			m.root = (m.root || v1 == 0) && string(l.Path) == "/"
			v1++
		}
		path := x.absolute(string(l.Path))
		paths = append(paths, workload.CgroupPath{Hierarchy: string(l.Controllers), Path: path})
		if x.counters == nil {
			continue
		}
		if h := x.layout.Counters; h.V2() && len(l.Controllers) == 0 || !h.V2() && l.Has("cpuacct") {
			m.path = path
		}
	}
	if len(paths) > 0 {
		m.Place = x.place(paths)
	}
	return m
}

// absolute turns a path that is relative to the agent's own cgroup, as a
// private cgroup namespace shows it, into one from the hierarchy's root. A
// cgroup beside the agent's own shows as "/../name" (cgroup_namespaces(7)).
func (x *Index) absolute(path string) string {
	up := strings.HasPrefix(path, "/..") && (len(path) == 3 || path[3] == '/')
	if !up && !x.private {
		return path
	}
	if x.own == "" {
		if x.layout.Partial || x.counters == nil {
			return path // what is mounted has the same root
		}
		own, ok := x.counters.FindProcess(x.opts.PID)
		if !ok {
			return path
		}
		x.own = own
	}
	base := x.own
	for {
		rest, ok := strings.CutPrefix(path, "/..")
		if !ok || rest != "" && rest[0] != '/' {
			break
		}
		path = rest
		base = base[:max(strings.LastIndexByte(base, '/'), 0)]
	}
	if base == "/" {
		base = ""
	}
	if path == "/" {
		path = ""
	}
	if base+path == "" {
		return "/"
	}
	return base + path
}

// place returns the one Place with these paths.
func (x *Index) place(paths []workload.CgroupPath) *workload.Place {
	x.key = x.key[:0]
	for _, p := range paths {
		x.key = binary.AppendUvarint(x.key, uint64(len(p.Hierarchy)))
		x.key = append(x.key, p.Hierarchy...)
		x.key = binary.AppendUvarint(x.key, uint64(len(p.Path)))
		x.key = append(x.key, p.Path...)
	}
	if p := x.places[string(x.key)].Value(); p != nil {
		return p
	}
	p := &workload.Place{Paths: paths}
	x.places[string(x.key)] = weak.Make(p)
	return p
}
