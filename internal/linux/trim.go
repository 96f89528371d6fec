package linux

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// TrimProgram gives back the pages of the program's own file that this process
// has touched, code and constants alone: what is used again is mapped again
// out of the page cache, the rest, most of it what only starting needed, no
// longer counts as this process' memory. Nothing that was written is touched,
// so nothing can be lost; see MADV_DONTNEED in madvise(2). It is safe at any
// time, for any number of goroutines.
func TrimProgram() error {
	// proc_pid_maps(5)
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("finding the pages of this program: %w", err)
	}
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("finding the file of this program: %w", err)
	}
	var errs []error
	for line := range strings.Lines(string(maps)) {
		start, length, ok := constantPages(line, program)
		if !ok {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, start, length, unix.MADV_DONTNEED); errno != 0 {
			errs = append(errs, fmt.Errorf("giving back pages of this program: %w", errno))
		}
	}
	return errors.Join(errs...)
}

// constantPages returns the range of a line of /proc/self/maps if it maps the
// program privately and nobody may write to it.
func constantPages(line, program string) (start, length uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[1] != "r-xp" && fields[1] != "r--p" || !strings.HasSuffix(strings.TrimSuffix(line, "\n"), " "+program) {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	first, err := strconv.ParseUint(from, 16, 64)
	if err != nil {
		return 0, 0, false
	}
	end, err := strconv.ParseUint(to, 16, 64)
	if err != nil || end <= first {
		return 0, 0, false
	}
	return uintptr(first), uintptr(end - first), true
}
