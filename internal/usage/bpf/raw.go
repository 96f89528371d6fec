package bpf

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls of bpf(2) that are made at every tick. They go past the library, whose
// own allocate. Their arguments lie in heap objects, which Go does not move.
// Layouts: union bpf_attr in include/uapi/linux/bpf.h.

type attrTestRun struct {
	progFD, retval             uint32
	dataSizeIn, dataSizeOut    uint32
	dataIn, dataOut            uint64
	repeat, duration           uint32
	ctxSizeIn, ctxSizeOut      uint32
	ctxIn, ctxOut              uint64
	flags, cpu, batchSize, pad uint32
}

type attrBatch struct {
	inBatch, outBatch uint64
	keys, values      uint64
	count, mapFD      uint32
	elemFlags, flags  uint64
}

type attrIterCreate struct {
	linkFD, flags uint32
}

func bpfCall(cmd uintptr, attr unsafe.Pointer, size uintptr) (uintptr, unix.Errno) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		if errno != unix.EINTR {
			return r, errno
		}
	}
}

// batchLen entries are fetched at a time. It must not be less than the
// longest chain of a hash bucket, which the load factor keeps below ten.
const batchLen = 512

// exitBatch is the scratch memory of drainExits.
type exitBatch struct {
	attr    attrBatch
	in, out uint32 // places in the hash table
	keys    []exitKey
	values  []exitValue
}

func (b *exitBatch) init() {
	b.keys = make([]exitKey, batchLen)
	b.values = make([]exitValue, batchLen)
}

// drainExits takes all entries out of the exits map.
func (h *hooks) drainExits(b *exitBatch, take func(*exitKey, *exitValue)) error {
	b.attr = attrBatch{
		outBatch: addr(unsafe.Pointer(&b.out)),
		keys:     addr(unsafe.Pointer(&b.keys[0])),
		values:   addr(unsafe.Pointer(&b.values[0])),
		mapFD:    uint32(h.exits.FD()),
	}
	for {
		b.attr.count = batchLen
		_, errno := bpfCall(unix.BPF_MAP_LOOKUP_AND_DELETE_BATCH, unsafe.Pointer(&b.attr), unsafe.Sizeof(b.attr))
		if errno != 0 && errno != unix.ENOENT {
			runtime.KeepAlive(b)
			return fmt.Errorf("read exited processes: %w", errno)
		}
		for i := range b.attr.count {
			take(&b.keys[i], &b.values[i])
		}
		if errno == unix.ENOENT { // that was the end of the table
			runtime.KeepAlive(b)
			return nil
		}
		b.in = b.out
		b.attr.inBatch = addr(unsafe.Pointer(&b.in))
	}
}

func addr(p unsafe.Pointer) uint64 { return uint64(uintptr(p)) }

// ring is the reader's side of a BPF ring buffer (Documentation/bpf/ringbuf.rst).
type ring struct {
	consumer []byte // one page: our position
	producer []byte // one page: the kernel's position, then the data, mapped twice in a row
	mask     uint64
}

const (
	ringBusy    = 1 << 31
	ringDiscard = 1 << 30
	ringHeader  = 8
)

func openRing(fd, size int) (*ring, error) {
	page := os.Getpagesize()
	consumer, err := unix.Mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map ring buffer: %w", err)
	}
	producer, err := unix.Mmap(fd, int64(page), page+2*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map ring buffer: %w", err)
	}
	return &ring{consumer: consumer, producer: producer, mask: uint64(size - 1)}, nil
}

// next returns the oldest record, and false when there is none. The record is
// the kernel's again after advance with the position that came with it.
func (r *ring) next() (record []byte, after uint64, ok bool) {
	page := os.Getpagesize()
	head := atomic.LoadUint64((*uint64)(unsafe.Pointer(&r.producer[0])))
	at := atomic.LoadUint64((*uint64)(unsafe.Pointer(&r.consumer[0])))
	for at < head {
		off := page + int(at&r.mask)
		n := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.producer[off])))
		if n&ringBusy != 0 {
			return nil, 0, false
		}
		size := n &^ (ringBusy | ringDiscard)
		after = at + uint64(size+ringHeader+7)&^7
		if n&ringDiscard == 0 {
			off += ringHeader
			return r.producer[off : off+int(size)], after, true
		}
		at = after
		r.advance(at)
	}
	return nil, 0, false
}

func (r *ring) advance(to uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&r.consumer[0])), to)
}

// drain hands every cgroup event in the ring to tell; the path is valid during the call.
func (r *ring) drain(tell func(what uint32, v1 bool, id uint64, path []byte)) {
	for {
		rec, after, ok := r.next()
		if !ok {
			return
		}
		if len(rec) > eventHeader {
			id := *(*uint64)(unsafe.Pointer(&rec[0]))
			v1 := *(*uint32)(unsafe.Pointer(&rec[8]))
			what := *(*uint32)(unsafe.Pointer(&rec[12]))
			tell(what, v1 != 0, id, rec[eventHeader:len(rec)-1]) // without its NUL
		}
		r.advance(after)
	}
}

func (r *ring) close() error {
	err := unix.Munmap(r.consumer)
	if e := unix.Munmap(r.producer); err == nil {
		err = e
	}
	return err
}
