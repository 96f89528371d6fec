package bpf

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// maxGroups is how many cgroups are listed; the kernel keeps 16 bytes for each.
const maxGroups = 8192

// groupCounter reads the CPU time of every cgroup by one system call.
type groupCounter struct{ table[groupRecord] }

func (l *loader) groupCounter() (*groupCounter, error) {
	if err := l.need("bpf_iter_css_new"); err != nil {
		return nil, err
	}
	coll, err := l.load([]string{tasksProgCount}, []string{tasksMapGroups}, nil,
		func(spec *ebpf.CollectionSpec) { spec.Maps[tasksMapGroups].MaxEntries = maxGroups })
	if err != nil {
		return nil, err
	}
	c := &groupCounter{}
	if err := c.open(coll, tasksProgCount, tasksMapGroups, maxGroups); err != nil {
		return nil, err
	}
	if err := c.run(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// Counts reports whether Count works here. It is so with RungSyscall.
func (s *Source) Counts() bool { return s.groups != nil }

// Count tells the CPU time of each cgroup of the unified hierarchy by its id,
// that of the cgroups below it included, as cpu.stat has it but to the
// nanosecond. The kernel adds the time up when somebody reads cpu.stat of a
// cgroup, for all that are below it (Documentation/admin-guide/cgroup-v2.rst,
// kernel/cgroup/rstat.c): what is told is as of then, so read the outermost
// ones before. Of a machine with very many cgroups some are not told.
// It allocates nothing.
func (s *Source) Count(tell func(id uint64, cpu time.Duration)) error {
	if err := s.groups.run(); err != nil {
		return fmt.Errorf("read the CPU time of all cgroups by BPF: %w", err)
	}
	for i := range s.groups.list[:s.groups.args.count] {
		r := &s.groups.list[i]
		tell(r.ID, time.Duration(r.Runtime))
	}
	return nil
}
