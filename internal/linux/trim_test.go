package linux

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// residentFile returns how much of files this process has mapped and touched, in KiB.
func residentFile(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc here")
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "RssFile:"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(v), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Skip("this kernel does not tell RssFile")
	return 0
}

// TestTrimProgram: pages of the program go back, and the program goes on.
func TestTrimProgram(t *testing.T) {
	program, err := os.ReadFile("/proc/self/exe") // of which much has been run by now
	if err != nil {
		t.Skip("no /proc here")
	}
	before := residentFile(t)
	if err := TrimProgram(); err != nil {
		t.Fatal(err)
	}
	after := residentFile(t)
	if after > before*3/4 {
		t.Errorf("%d KiB of files were mapped, and %d are still", before, after)
	}
	same, err := os.ReadFile("/proc/self/exe")
	if err != nil || len(same) != len(program) {
		t.Errorf("the program has %d bytes, and had %d: %v", len(same), len(program), err)
	}
}

func TestConstantPages(t *testing.T) {
	const program = "/usr/bin/a program"
	for _, c := range []struct {
		line          string
		start, length uintptr
		ok            bool
	}{
		{"00400000-00e8d000 r-xp 00000000 fe:00 393231                             /usr/bin/a program\n", 0x400000, 0xa8d000, true},
		{"00e8d000-01a7f000 r--p 00a8d000 fe:00 393231                             /usr/bin/a program\n", 0xe8d000, 0xbf2000, true},
		{"01a7f000-01b5a000 rw-p 0167f000 fe:00 393231                             /usr/bin/a program\n", 0, 0, false},
		{"00400000-00e8d000 r-xs 00000000 fe:00 393231                             /usr/bin/a program\n", 0, 0, false},
		{"7f0000000000-7f0000001000 r--p 00000000 fe:00 1                          /usr/lib/a program\n", 0, 0, false},
		{"7ffd5c5d6000-7ffd5c5d8000 r-xp 00000000 00:00 0                          [vdso]\n", 0, 0, false},
		{"7f0000000000-7f0000001000 r--p 00000000 00:00 0 \n", 0, 0, false},
		{"e8d000-400000 r-xp 00000000 fe:00 393231 /usr/bin/a program\n", 0, 0, false},
		{"x-y r-xp 00000000 fe:00 393231 /usr/bin/a program\n", 0, 0, false},
		{"", 0, 0, false},
	} {
		start, length, ok := constantPages(c.line, program)
		if start != c.start || length != c.length || ok != c.ok {
			t.Errorf("constantPages(%q) = %#x, %#x, %v", c.line, start, length, ok)
		}
	}
}
