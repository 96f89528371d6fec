package linux

import "golang.org/x/sys/unix"

// Gone reports whether the file has been deleted or replaced by another one of
// the same name since it was opened. Kernel file systems say so at the next
// read, ordinary ones never do.
func (f *File) Gone() bool {
	var st unix.Stat_t
	return unix.Fstat(f.fd, &st) != nil || st.Nlink == 0
}
