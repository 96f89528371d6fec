package linux

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const cpuStat = `cpu  10 20 30 400 50 6 7 8 9 0
cpu0 5 10 15 200 25 3 3 4 9 0
cpu3 5 10 15 200 25 3 4 4 0 0
intr 99 0 0
ctxt 1
`

func TestParseCPUTimes(t *testing.T) {
	got, err := ParseCPUTimes([]byte(cpuStat))
	if err != nil {
		t.Fatal(err)
	}
	const ms = time.Millisecond
	want := CPUTimes{
		Online: 2, User: 100 * ms, Nice: 200 * ms, System: 300 * ms, Idle: 4000 * ms,
		IOWait: 500 * ms, IRQ: 60 * ms, Soft: 70 * ms, Steal: 80 * ms,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for name, text := range map[string]string{
		"nothing":            "",
		"cut in the total":   "cpu  10 20 30 400",
		"cut in a CPU":       cpuStat[:50],
		"cut before a CPU":   cpuStat[:strings.Index(cpuStat, "cpu3")+2],
		"no CPU":             "cpu  10 20 30 400 50 6 7 8 9 0\nintr 1\n",
		"too few fields":     "cpu  10 20 30 400 50 6 7\ncpu0 1\nintr 1\n",
		"not a number":       "cpu  10 20 x 400 50 6 7 8 9 0\ncpu0 1\nintr 1\n",
		"too large a number": "cpu  10 20 18446744073709551615 400 50 6 7 8 9 0\ncpu0 1\nintr 1\n",
		"another file":       "MemTotal: 1 kB\n",
	} {
		if got, err := ParseCPUTimes([]byte(text)); err == nil {
			t.Errorf("%s: no error but %v", name, got)
		}
	}
}

func TestCPUClockGrowsItsBuffer(t *testing.T) {
	proc := t.TempDir()
	var b strings.Builder
	b.WriteString("cpu  10 20 30 400 50 6 7 8 9 0\n")
	for range 1024 {
		b.WriteString("cpu77 5 10 15 200 25 3 3 4 9 0\n")
	}
	b.WriteString("intr 1\n")
	if err := os.WriteFile(proc+"/stat", []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := OpenCPUClock(proc)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.Read()
	if err != nil || got.Online != 1024 {
		t.Fatalf("read %d CPUs, %v; want 1024", got.Online, err)
	}
	if n := testing.AllocsPerRun(100, func() { _, err = c.Read() }); n != 0 || err != nil {
		t.Errorf("%v allocations per read, %v", n, err)
	}
}

// stat is a process called name: utime 12, stime 34, cutime 5, cstime 6, 3
// threads, started at 700 ticks, 8 pages.
func stat(name string) string {
	return "42 (" + name + ") S 7 42 42 0 -1 4194304 10 0 0 0 12 34 5 6 20 0 3 0 700 1000 8 18446744073709551615 1\n"
}

func TestParseProcessStat(t *testing.T) {
	comm := func(s string) (c [16]byte) { copy(c[:], s); return c }
	base := ProcessStat{
		State: 'S', Parent: 7, Threads: 3, RSS: 8,
		CPU: 460 * time.Millisecond, Reaped: 110 * time.Millisecond, Start: 7 * time.Second,
	}
	for _, c := range []struct{ name, comm string }{
		{"sleep", "sleep"},
		{"a\") R 1\n", "a\") R 1\n"},
		{") R 1 (", ") R 1 ("},
		{"\xff\xfeab", "\xff\xfeab"},
		{"", ""},
		{"a name longer than the kernel's", "a name longer t"},
	} {
		var got ProcessStat
		if err := ParseProcessStat([]byte(stat(c.name)), &got); err != nil {
			t.Errorf("%q: %v", c.name, err)
			continue
		}
		want := base
		want.Comm = comm(c.comm)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -want +got:\n%s", c.name, diff)
		}
	}
	var got ProcessStat
	worker := strings.Replace(stat("kworker/u8:2-kvfree_rcu_reclaim"), "4194304", "69238880", 1) // PF_KTHREAD, PF_WQ_WORKER
	if err := ParseProcessStat([]byte(worker), &got); err != nil || got.Comm != comm("kworker/u8:2") || !got.Kernel {
		t.Errorf("worker: %+v, %v", got, err)
	}
	negative := strings.Replace(stat("x"), " 8 184", " -8 184", 1)
	if err := ParseProcessStat([]byte(negative), &got); err != nil || got.RSS != 0 {
		t.Errorf("negative RSS: %d, %v", got.RSS, err)
	}
	whole := stat("x")
	for i := range strings.Index(whole, " 8 184") {
		if err := ParseProcessStat([]byte(whole[:i]), &got); err == nil {
			t.Errorf("cut to %q: no error", whole[:i])
		}
	}
	if n := testing.AllocsPerRun(100, func() { ParseProcessStat([]byte(whole), &got) }); n > 1 { // the conversion
		t.Errorf("%v allocations", n)
	}
}

func TestNextCgroupLine(t *testing.T) {
	const text = "9:name=systemd:/system.slice/a:b.service\n" +
		"broken\n" +
		"3:cpu,cpuacct:/docker/0123\n" +
		"2:memory:relative\n" +
		"0::/x (deleted)\n"
	type line struct{ Controllers, Path string }
	var got []line
	for b := []byte(text); ; {
		l, rest, ok := NextCgroupLine(b)
		if !ok {
			break
		}
		b = rest
		got = append(got, line{string(l.Controllers), string(l.Path)})
		if has := l.Has("cpuacct"); has != (string(l.Controllers) == "cpu,cpuacct") {
			t.Errorf("%s has cpuacct: %v", l.Controllers, has)
		}
	}
	want := []line{{"name=systemd", "/system.slice/a:b.service"}, {"cpu,cpuacct", "/docker/0123"}, {"", "/x"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseUptime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"350735.47 234388.90\n": 350735*time.Second + 470*time.Millisecond,
		"0.05 0.00\n":           50 * time.Millisecond,
		"":                      -1, "12\n": -1, "1.2 3": -1, "-1.00 0": -1, "99999999999999999.00 1": -1,
	} {
		got, err := ParseUptime([]byte(text))
		if want < 0 && err == nil || want >= 0 && (got != want || err != nil) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

// dirent encodes one entry as the kernel does.
func dirent(ino uint64, kind uint8, name string) []byte {
	b := make([]byte, (19+len(name)+1+7)&^7)
	binary.NativeEndian.PutUint64(b, ino)
	binary.NativeEndian.PutUint16(b[16:], uint16(len(b)))
	b[18] = kind
	copy(b[19:], name)
	return b
}

func TestNextDirent(t *testing.T) {
	b := bytes.Join([][]byte{
		dirent(1, unix.DT_DIR, "."), dirent(1, unix.DT_DIR, ".."), dirent(0, unix.DT_DIR, "removed"),
		dirent(7, unix.DT_DIR, "a"), dirent(8, unix.DT_REG, "a longer name"),
		{1, 2, 3},
	}, nil)
	var got []string
	for {
		d, rest, ok := NextDirent(b)
		if !ok {
			break
		}
		b = rest
		got = append(got, string(d.Name))
	}
	if diff := cmp.Diff([]string{"a", "a longer name"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func FuzzProcessStat(f *testing.F) {
	f.Add([]byte(stat("sleep")))
	f.Add([]byte(stat("a\") R 1\n")))
	f.Add([]byte("1 (x) "))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s ProcessStat
		if ParseProcessStat(b, &s) == nil && (s.CPU < 0 || s.Reaped < 0 || s.Start < 0 || s.Comm[15] != 0) {
			t.Errorf("%q: %+v", b, s)
		}
	})
}

func FuzzCPUTimes(f *testing.F) {
	f.Add([]byte(cpuStat))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCPUTimes(b)
		if err == nil && (c.Online < 1 || min(c.User, c.Nice, c.System, c.Idle, c.IOWait, c.IRQ, c.Soft, c.Steal) < 0) {
			t.Errorf("%q: %+v", b, c)
		}
	})
}

func FuzzCgroupLine(f *testing.F) {
	f.Add([]byte("9:name=systemd:/a:b\n0::/x (deleted)\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for {
			l, rest, ok := NextCgroupLine(b)
			if !ok {
				return
			}
			if len(l.Path) == 0 || l.Path[0] != '/' || len(rest) >= len(b) {
				t.Fatalf("%q: %q, %d left", b, l.Path, len(rest))
			}
			l.Has("cpuacct")
			b = rest
		}
	})
}

func FuzzDirent(f *testing.F) {
	f.Add(dirent(7, unix.DT_DIR, "name"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for {
			d, rest, ok := NextDirent(b)
			if !ok {
				return
			}
			if len(d.Name) == 0 || len(rest) >= len(b) {
				t.Fatalf("%q: %q, %d left", b, d.Name, len(rest))
			}
			b = rest
		}
	})
}

func FuzzUptime(f *testing.F) {
	f.Add([]byte("350735.47 234388.90\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if up, err := ParseUptime(b); err == nil && up < 0 {
			t.Errorf("%q: %v", b, up)
		}
	})
}
