package bpf

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// table is a list of records that a program writes, at each call of it, into
// memory shared with the kernel.
type table[Record any] struct {
	coll *ebpf.Collection
	prog *ebpf.Program
	mem  []byte
	list []Record // in mem
	attr attrTestRun
	args struct{ count, dropped uint32 } // of the last run: records written, and those without room
}

// open takes over coll, with the program and its map of n records.
func (t *table[Record]) open(coll *ebpf.Collection, program, records string, n int) error {
	var r Record
	page := int(pageSize)
	mem, err := unix.Mmap(coll.Maps[records].FD(), 0, (n*int(unsafe.Sizeof(r))+page-1)/page*page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		coll.Close()
		return fmt.Errorf("map the records of BPF program %s: %w", program, err)
	}
	t.coll, t.mem, t.prog = coll, mem, coll.Programs[program]
	t.list = unsafe.Slice((*Record)(unsafe.Pointer(&mem[0])), n)
	return nil
}

// run has the program write its records.
func (t *table[Record]) run() error {
	t.args.count, t.args.dropped = 0, 0
	t.attr = attrTestRun{
		progFD:    uint32(t.prog.FD()),
		ctxIn:     addr(unsafe.Pointer(&t.args)),
		ctxSizeIn: uint32(unsafe.Sizeof(t.args)),
	}
	_, errno := bpfCall(unix.BPF_PROG_TEST_RUN, unsafe.Pointer(&t.attr), unsafe.Sizeof(t.attr))
	runtime.KeepAlive(t)
	if errno != 0 {
		return errno
	}
	if t.attr.retval != 0 {
		return fmt.Errorf("BPF program returned %d", t.attr.retval)
	}
	return nil
}

func (t *table[Record]) close() error {
	err := unix.Munmap(t.mem)
	t.coll.Close()
	return err
}
