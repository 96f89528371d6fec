package linux_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/linux"
	"noether/internal/linux/machinetest"
)

func TestReadHardware(t *testing.T) {
	for name, want := range map[string]linux.Hardware{
		"server":  {Product: "PowerEdge R740", Chassis: 23, CPUs: 4, Sockets: 2, Memory: 384 << 30, HDDs: 1, SSDs: 2, GPUs: 2},
		"ec2":     {Guest: true, Product: "m5.xlarge", Chassis: 1, CPUs: 4, Memory: 16 << 30, SSDs: 1},
		"hostile": {},
	} {
		root := machinetest.Unpack(t, "../../testdata/machines/hardware-"+name+".txtar")
		if diff := cmp.Diff(want, linux.ReadHardware(linux.Under(root))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if got := linux.ReadHardware(linux.Under(t.TempDir())); got != (linux.Hardware{}) {
		t.Errorf("an empty root has %+v", got)
	}
}

// The firmware knows what is installed; the kernel only what it manages.
func TestInstalledMemoryWins(t *testing.T) {
	root := machinetest.Unpack(t, "../../testdata/machines/hardware-ec2.txtar")
	dir := filepath.Join(root, "sys/firmware/dmi/tables")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "DMI"), device(0x7fff, 32<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := linux.ReadHardware(linux.Under(root)).Memory; got != 32<<30 {
		t.Errorf("%d bytes", got)
	}
}

// device is a memory device (type 17) with these sizes, and a string.
func device(size uint16, extended uint32) []byte {
	b := make([]byte, 0x22, 0x30)
	b[0], b[1] = 17, 0x22
	binary.LittleEndian.PutUint16(b[0x0c:], size)
	binary.LittleEndian.PutUint32(b[0x1c:], extended)
	return append(b, "DIMM 1\x00\x00"...)
}

func TestInstalledMemory(t *testing.T) {
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	other := []byte{4, 4, 0, 0, 0, 0}
	for _, test := range []struct {
		name  string
		table []byte
		want  uint64
	}{
		{"two modules, an empty slot and something else", join(device(16<<10, 0), other, device(0, 0), device(16<<10, 0)), 32 << 30},
		{"a module too large for the old field", device(0x7fff, 64<<10), 64 << 30},
		{"kilobytes", device(0x8000|512, 0), 512 << 10},
		{"unknown size", device(0xffff, 0), 0},
		{"more than there is in the world", join(device(0x7fff, 0x7fffffff), device(0x7fff, 0x7fffffff)), 0},
		{"after the end", join([]byte{127, 4, 0, 0, 0, 0}, device(1024, 0)), 0},
		{"cut", device(1024, 0)[:0x0c], 0},
		{"length 0", []byte{17, 0, 0, 0, 0, 0, 0}, 0},
	} {
		if got := linux.InstalledMemory(test.table); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestCountCPUs(t *testing.T) {
	for list, want := range map[string]int{
		"0\n": 1, "0-3\n": 4, "0-3,8,10-11": 7, "0-8191": 8192, "": 0, "3-0": 0, "0-8192": 0, "a": 0, "0-": 0, "0,,1": 0,
		"0-8191,0-8191,0-8191": 8192,
	} {
		if got := linux.CountCPUs([]byte(list)); got != want {
			t.Errorf("%q: %d, want %d", list, got, want)
		}
	}
}

func FuzzInstalledMemory(f *testing.F) {
	f.Add(device(1024, 0))
	f.Add(append(device(0x7fff, 1<<20), device(0x8001, 0)...))
	f.Add([]byte{127, 4, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := linux.InstalledMemory(b); got > 64<<40 {
			t.Errorf("%d bytes", got)
		}
	})
}

func FuzzCountCPUs(f *testing.F) {
	for _, s := range []string{"0-3,8", "0", "0-65535", ","} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := linux.CountCPUs(b); got < 0 || got > 8192 {
			t.Errorf("%d CPUs", got)
		}
	})
}
