package cgroup

import (
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// watcher has the kernel tell which directories gained or lost one.
type watcher struct {
	fd    int
	slots map[int32]int32 // watch descriptor to slot
	full  bool            // some directory could not be watched
	buf   [16 << 10]byte
}

// newWatcher returns nil when there is no inotify instance to be had.
func newWatcher() *watcher {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil
	}
	return &watcher{fd: fd, slots: make(map[int32]int32)}
}

// add watches the directory dir. The limit of watches, or a directory that
// has gone or may not be read, makes the watcher incomplete.
func (w *watcher) add(dir string, slot int32) (int32, bool) {
	wd, err := unix.InotifyAddWatch(w.fd, dir,
		unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVE|unix.IN_ONLYDIR|unix.IN_DONT_FOLLOW)
	if err != nil {
		if err != unix.ENOENT {
			w.full = true
		}
		return 0, false
	}
	w.slots[int32(wd)] = slot
	return int32(wd), true
}

// remove forgets a watch. The kernel has dropped it if its directory is gone.
func (w *watcher) remove(wd int32) {
	delete(w.slots, wd)
	unix.InotifyRmWatch(w.fd, uint32(wd)) //nolint:errcheck // gone is what it should be
}

// events returns the watches whose directory changed. It sets all when the
// kernel lost events.
func (w *watcher) events(all *bool) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for {
			n, err := unix.Read(w.fd, w.buf[:])
			if err == unix.EINTR {
				continue
			}
			if err != nil || n <= 0 {
				return
			}
			for b := w.buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
				// struct inotify_event: s32 wd, u32 mask, u32 cookie, u32 len, name.
				wd := int32(binary.NativeEndian.Uint32(b))
				mask := binary.NativeEndian.Uint32(b[4:])
				size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
				b = b[min(size, len(b)):]
				if mask&unix.IN_Q_OVERFLOW != 0 {
					*all = true
				}
				if mask&unix.IN_ISDIR != 0 && !yield(wd) {
					return
				}
			}
		}
	}
}

func (w *watcher) close() error { return unix.Close(w.fd) }
