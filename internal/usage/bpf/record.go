package bpf

import (
	"os"
	"unsafe"
)

// The structures below are those of csrc/tasks.bpf.c, field by field. A test
// compares them with the types in the object file.

type taskRecord struct {
	Start, Runtime uint64 // nanoseconds
	V2, V1, Set    uint64
	PID, Parent    uint32
	RSSPages       uint32
	Flags          uint32
	Comm           [16]byte
}

type groupRecord struct {
	ID, Runtime uint64 // nanoseconds
}

// kernelThread is the one flag of taskRecord.
const kernelThread = 1

type exitKey struct {
	Start       uint64
	V2, V1, Set uint64
	PID, Parent uint32
}

type exitValue struct {
	Runtime uint64
	Count   uint64
}

type shared struct {
	begun, walked uint64 // boot time in nanoseconds, walked may be walking
	dropped       uint64
	pathsLost     uint64
}

// walking in shared.walked: any process may have been seen by a walk.
const walking = ^uint64(0)

// What a cgroup event says.
const (
	cgroupMade = 1
	cgroupGone = 2
)

const (
	recordSize = int(unsafe.Sizeof(taskRecord{}))
	// eventHeader is what precedes the path in a cgroup event: id, v1, what.
	eventHeader = 16
)

var pageSize = uint64(os.Getpagesize()) //nolint:gochecknoglobals // a constant of the running kernel
