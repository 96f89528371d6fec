package linux_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noether/internal/linux"
)

// devices is a root whose network and disks a test changes between reads.
type devices struct {
	t  *testing.T
	at linux.FS
}

func newDevices(t *testing.T) *devices {
	d := &devices{t, linux.Under(t.TempDir())}
	d.mkdir(d.at.Proc, "1/net")
	d.net("")
	d.disks("")
	for _, name := range []string{"eth0", "eth1", "vf0"} {
		d.mkdir(d.at.Sys, "class/net", name, "device")
	}
	d.mkdir(d.at.Sys, "class/net/vf0/device/physfn")
	d.mkdir(d.at.Sys, "class/net/docker0")
	d.mkdir(d.at.Sys, "block/sda/device")
	d.mkdir(d.at.Sys, "block/dm-0")
	return d
}

func (d *devices) mkdir(path ...string) {
	if err := os.MkdirAll(filepath.Join(path...), 0o755); err != nil {
		d.t.Fatal(err)
	}
}

func (d *devices) write(path, text string) {
	if err := os.WriteFile(filepath.Join(d.at.Proc, path), []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *devices) net(lines string) {
	d.write("1/net/dev", "Inter-|   Receive                                                |  Transmit\n"+
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"+lines)
}

func (d *devices) disks(lines string) { d.write("diskstats", lines) }

func iface(name string, received, sent uint64) string {
	return fmt.Sprintf("%6s: %8d 1 2 3 4 5 6 7 %8d 1 2 3 4 5 6 7\n", name, received, sent)
}

func disk(name string, read, written uint64) string {
	return fmt.Sprintf("   8       0 %s 10 20 %d 30 40 50 %d 60 0 70 80 0 0 0 0 0 0\n", name, read, written)
}

func expect(t *testing.T, what string, r *linux.Traffic, now time.Duration, want uint64) {
	t.Helper()
	if got, err := r.Read(now); err != nil || got != want {
		t.Errorf("%s: %d, %v, want %d", what, got, err, want)
	}
}

func TestNetworkTraffic(t *testing.T) {
	d := newDevices(t)
	d.net(iface("lo", 5, 5) + iface("eth0", 1000, 2000))
	r, err := linux.OpenNetwork(d.at)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	now := time.Duration(0)
	step := func(what string, want uint64, lines ...string) {
		t.Helper()
		d.net(strings.Join(lines, ""))
		now += 5 * time.Second
		expect(t, what, r, now, want)
	}
	expect(t, "what was before the first read", r, now, 0)
	step("received and sent", 300, iface("lo", 9e9, 9e9), iface("eth0", 1100, 2200))
	step("bridges and virtual functions count in their devices", 10, iface("eth0", 1110, 2200), iface("docker0", 7e6, 7e6), iface("vf0", 9e6, 9e6))
	step("still so", 0, iface("eth0", 1110, 2200), iface("docker0", 8e6, 8e6), iface("vf0", 1e7, 1e7))
	step("a new device begins where it stands", 0, iface("eth0", 1110, 2200), iface("eth1", 5000, 0))
	step("and counts from there", 7, iface("eth0", 1110, 2200), iface("eth1", 5000, 7))
	step("one is gone", 0, iface("eth0", 1110, 2200))
	step("and back with its counter", 0, iface("eth0", 1110, 2200), iface("eth1", 1e6, 0))
	step("a counter that fell begins anew", 4, iface("eth0", 3, 0), iface("eth1", 1e6, 4))
	step("a counter that jumped is not believed", 0, iface("eth0", 1<<50, 0), iface("eth1", 1e6, 4))
	step("and counts from there", 2, iface("eth0", 1<<50, 2), iface("eth1", 1e6, 4))
	step("nonsense costs its line", 1, "eth1: 1 2\n", "eth1 5\n", ":\n", "eth0: x 1 2 3 4 5 6 7 8\n", iface("eth0", 1<<50, 3))
	step("the longest names, many pages", 1, iface("eth0", 1<<50, 4), strings.Repeat(iface("vethdeadbeef012", 1, 1), 500))
}

func TestDiskTraffic(t *testing.T) {
	d := newDevices(t)
	d.disks(disk("sda", 100, 200) + disk("sda1", 100, 200) + disk("dm-0", 1, 1))
	r, err := linux.OpenDisks(d.at)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	expect(t, "what was before", r, 0, 0)
	d.disks(disk("sda", 101, 202) + disk("sda1", 500, 900) + disk("dm-0", 900, 900))
	expect(t, "sectors of whole disks", r, time.Second, 3*512)
	d.disks("")
	expect(t, "no disk at all", r, 2*time.Second, 0)
}

// The machine's network is that of its first process.
func TestNetworkOfTheFirstProcess(t *testing.T) {
	d := newDevices(t)
	d.mkdir(d.at.Proc, "net")
	if err := os.RemoveAll(filepath.Join(d.at.Proc, "1")); err != nil {
		t.Fatal(err)
	}
	d.write("net/dev", iface("eth0", 1, 1))
	r, err := linux.OpenNetwork(d.at)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(0); err == nil {
		t.Error("a closed file is read")
	}
	if _, err := linux.OpenNetwork(linux.Under(t.TempDir())); err == nil {
		t.Error("a network without its file")
	}
	if _, err := linux.OpenDisks(linux.Under(t.TempDir())); err == nil {
		t.Error("disks without their file")
	}
}

func TestTrafficAllocatesNothing(t *testing.T) {
	d := newDevices(t)
	d.net(iface("eth0", 1, 1) + iface("docker0", 1, 1) + iface("lo", 1, 1))
	r, err := linux.OpenNetwork(d.at)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	now := time.Duration(0)
	if n := testing.AllocsPerRun(100, func() {
		now += time.Second
		if _, err := r.Read(now); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a read", n)
	}
}

func FuzzTraffic(f *testing.F) {
	f.Add([]byte(iface("eth0", 1, 2)), []byte(iface("eth0", 3, 4)))
	f.Add([]byte(disk("sda", 1, 2)), []byte(disk("sda", 3, 4)))
	f.Add([]byte("eth0:18446744073709551615 0 0 0 0 0 0 0 18446744073709551615\n"), []byte(": :\n"))
	dir := f.TempDir()
	at := linux.FS{Proc: dir, Sys: dir}
	for _, path := range []string{"1/net", "class/net/eth0/device", "block/sda/device"} {
		if err := os.MkdirAll(filepath.Join(dir, path), 0o755); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for path, open := range map[string]func(linux.FS) (*linux.Traffic, error){"1/net/dev": linux.OpenNetwork, "diskstats": linux.OpenDisks} {
			path = filepath.Join(dir, path)
			if err := os.WriteFile(path, first, 0o644); err != nil {
				t.Fatal(err)
			}
			r, err := open(at)
			if err != nil {
				t.Fatal(err)
			}
			// Within one file a name may come twice, with different counters.
			if got, err := r.Read(0); err != nil || got > 1<<50 {
				t.Errorf("%d bytes, %v", got, err)
			}
			if err := os.WriteFile(path, second, 0o644); err != nil {
				t.Fatal(err)
			}
			if got, err := r.Read(time.Second); err != nil || got > 1<<50 {
				t.Errorf("%d bytes in a second, %v", got, err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
