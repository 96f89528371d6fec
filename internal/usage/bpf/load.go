package bpf

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"noether/internal/probe"
)

// loader loads parts of the object file. The kernel's types, some megabytes,
// are kept as long as it is.
type loader struct {
	host      hierarchies
	residency bool // resident memory is wanted
	cache     *btf.Cache
}

func newLoader(host hierarchies, residency bool) (*loader, error) {
	cache := btf.NewCache()
	if _, err := cache.Kernel(); err != nil {
		return nil, &noTypesError{err}
	}
	return &loader{host, residency, cache}, nil
}

// load loads the named programs and the named maps; maps given in shared are
// used instead of new ones.
func (l *loader) load(programs, maps []string, shared map[string]*ebpf.Map, size func(*ebpf.CollectionSpec)) (*ebpf.Collection, error) {
	spec, err := loadTasks()
	if err != nil {
		return nil, fmt.Errorf("parse BPF object: %w", err)
	}
	keep(spec.Programs, programs)
	keep(spec.Maps, append(maps, ".rodata"))
	if err := errors.Join(
		spec.Variables[tasksVarLegacy].Set(l.host.legacy),
		spec.Variables[tasksVarResidency].Set(l.residency),
		spec.Variables[tasksVarCpuacctHierarchy].Set(l.host.cpuacct),
	); err != nil {
		return nil, fmt.Errorf("set BPF constants: %w", err)
	}
	size(spec)
	opts := ebpf.CollectionOptions{MapReplacements: shared, Cache: l.cache}
	c, err := ebpf.NewCollectionWithOptions(spec, opts)
	if errors.Is(err, unix.EPERM) {
		// Before 5.11 maps count against RLIMIT_MEMLOCK. Where it may not be
		// raised, the second error is the first one again.
		_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
		c, err = ebpf.NewCollectionWithOptions(spec, opts)
	}
	if err != nil {
		return nil, fmt.Errorf("load BPF program %s: %w", programs[0], err)
	}
	return c, nil
}

func keep[V any](m map[string]V, names []string) {
	kept := make(map[string]bool, len(names))
	for _, n := range names {
		kept[n] = true
	}
	for n := range m {
		if !kept[n] {
			delete(m, n)
		}
	}
}

// hooks are the programs that watch processes and cgroups end.
type hooks struct {
	coll    *ebpf.Collection
	links   []link.Link
	exits   *ebpf.Map
	state   *ebpf.Map
	mem     []byte // of state
	cgroups *ring
}

// hooks loads and attaches the hooks, with room for so many exits between two
// reads: those of processes that were listed, and one for each combination of
// cgroup and parent of those that were not. Room that is not used costs the
// kernel 16 bytes each.
func (l *loader) hooks(room int) (h *hooks, err error) {
	h = &hooks{}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
			h = nil
		}
	}()
	programs := []string{tasksProgFreed, tasksProgMade, tasksProgGone}
	maps := []string{tasksMapState, tasksMapExits, tasksMapCgroups, tasksMapScratch}
	h.coll, err = l.load(programs, maps, nil, func(spec *ebpf.CollectionSpec) {
		spec.Maps[tasksMapExits].MaxEntries = uint32(room)
	})
	if err != nil {
		return h, err
	}
	h.exits, h.state = h.coll.Maps[tasksMapExits], h.coll.Maps[tasksMapState]
	h.mem, err = unix.Mmap(h.state.FD(), 0, int(pageSize), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return h, fmt.Errorf("map BPF state: %w", err)
	}
	h.shared().walked = walking
	cgroups := h.coll.Maps[tasksMapCgroups]
	if h.cgroups, err = openRing(cgroups.FD(), int(cgroups.MaxEntries())); err != nil {
		return h, err
	}
	for _, name := range programs {
		ln, err := link.AttachTracing(link.TracingOptions{Program: h.coll.Programs[name]})
		if err != nil {
			return h, fmt.Errorf("attach BPF program %s: %w", name, err)
		}
		h.links = append(h.links, ln)
	}
	return h, nil
}

func (h *hooks) shared() *shared { return (*shared)(unsafe.Pointer(&h.mem[0])) }

func (h *hooks) close() error {
	var errs []error
	for _, ln := range h.links {
		errs = append(errs, ln.Close())
	}
	if h.cgroups != nil {
		errs = append(errs, h.cgroups.close())
	}
	if h.mem != nil {
		errs = append(errs, unix.Munmap(h.mem))
	}
	if h.coll != nil {
		h.coll.Close()
	}
	return errors.Join(errs...)
}

// arrayWalker lists processes by one system call into memory shared with the kernel.
type arrayWalker struct {
	host      hierarchies
	residency bool
	table[taskRecord]
}

// arrayWalker has room for n processes.
func (l *loader) arrayWalker(state *ebpf.Map, n int) (walker, error) {
	w := &arrayWalker{host: l.host, residency: l.residency}
	if err := w.open(l, state, n); err != nil {
		return nil, err
	}
	return w, nil
}

// need refuses kernels without a function that programs call, such as those
// that cannot walk tasks in a program of their own (kernel/bpf/task_iter.c):
// what the verifier says there explains nothing.
func (l *loader) need(name string) error {
	kernel, err := l.cache.Kernel()
	if err != nil {
		return &noTypesError{err}
	}
	var fn *btf.Func
	if err := kernel.TypeByName(name, &fn); err != nil {
		return &probe.Error{Status: probe.Absent, Err: fmt.Errorf("find kernel function %s: %w", name, err), Remedy: "use Linux 6.7 or newer"}
	}
	return nil
}

// room returns the length of an array for n processes and a quarter more. A
// walk that finds it too short is repeated, which should be rare.
func room(n int) int {
	const step = 2048
	return (n + n/4 + step) / step * step
}

func (w *arrayWalker) open(l *loader, state *ebpf.Map, n int) error {
	if err := l.need("bpf_iter_task_new"); err != nil {
		return err
	}
	coll, err := l.load([]string{tasksProgWalk}, []string{tasksMapTasks, tasksMapState, tasksMapSets},
		map[string]*ebpf.Map{tasksMapState: state},
		func(spec *ebpf.CollectionSpec) { spec.Maps[tasksMapTasks].MaxEntries = uint32(n) })
	if err != nil {
		return err
	}
	return w.table.open(coll, tasksProgWalk, tasksMapTasks, n)
}

func (w *arrayWalker) walk(s *Source) error {
	for {
		if err := w.run(); err != nil {
			return fmt.Errorf("walk all processes: %w", err)
		}
		n := int(w.args.count)
		if w.args.dropped == 0 {
			s.begin(s.hooks.shared().begun)
			for i := range w.list[:n] {
				s.observe(&w.list[i])
			}
			return nil
		}
		if err := w.grow(s, n+int(w.args.dropped)); err != nil {
			return err
		}
	}
}

// grow makes room for n processes.
func (w *arrayWalker) grow(s *Source, n int) error {
	if n > s.opts.MaxTasks {
		return fmt.Errorf("walk all processes: %d of them are more than the limit of %d", n, s.opts.MaxTasks)
	}
	l, err := newLoader(w.host, w.residency)
	if err != nil {
		return err
	}
	old := *w
	if err := w.open(l, s.hooks.state, room(n)); err != nil {
		return err
	}
	return old.close()
}

// fileWalker lists processes by reading a BPF iterator. It sees those of its
// own PID namespace.
type fileWalker struct {
	coll *ebpf.Collection
	iter *link.Iter
	attr attrIterCreate
	buf  []byte
}

// The kernel fills at most eight pages per read (kernel/bpf/bpf_iter.c).
const iterBuffer = 64 << 10

func (l *loader) fileWalker(state *ebpf.Map, program string) (walker, error) {
	coll, err := l.load([]string{program}, []string{tasksMapState},
		map[string]*ebpf.Map{tasksMapState: state}, func(*ebpf.CollectionSpec) {})
	if err != nil {
		return nil, err
	}
	iter, err := link.AttachIter(link.IterOptions{Program: coll.Programs[program]})
	if err != nil {
		coll.Close()
		return nil, fmt.Errorf("attach BPF program %s: %w", program, err)
	}
	return &fileWalker{coll: coll, iter: iter, buf: make([]byte, iterBuffer)}, nil
}

func (w *fileWalker) walk(s *Source) error {
	w.attr = attrIterCreate{linkFD: uint32(w.iter.FD())}
	fd, errno := bpfCall(unix.BPF_ITER_CREATE, unsafe.Pointer(&w.attr), unsafe.Sizeof(w.attr))
	runtime.KeepAlive(w)
	if errno != 0 {
		return fmt.Errorf("open list of processes: %w", errno)
	}
	defer unix.Close(int(fd)) //nolint:errcheck // nothing was written
	begun, kept := false, 0
	for {
		n, err := unix.Read(int(fd), w.buf[kept:])
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read list of processes: %w", err)
		}
		if !begun {
			s.begin(s.hooks.shared().begun)
			begun = true
		}
		if n == 0 {
			return nil
		}
		data := w.buf[:kept+n]
		for len(data) >= recordSize {
			s.observe((*taskRecord)(unsafe.Pointer(&data[0])))
			data = data[recordSize:]
		}
		kept = copy(w.buf, data)
	}
}

func (w *fileWalker) close() error {
	err := w.iter.Close()
	w.coll.Close()
	return err
}
