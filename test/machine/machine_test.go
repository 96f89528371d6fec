package machine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"
	"github.com/prometheus/procfs/sysfs"

	"noether/test/machine"
)

// The machine is read with other people's parsers: it must look like Linux to
// those who know nothing of this project.
func TestOthersReadTheMachine(t *testing.T) {
	for _, layout := range []machine.Layout{machine.V2, machine.V1, machine.Hybrid} {
		t.Run(layout.String(), func(t *testing.T) {
			m := machine.New(t, machine.Options{Layout: layout, Zones: []machine.Zone{
				{Dir: "intel-rapl:0", Name: "package-0", Range: 1000, Energy: 900},
				{Dir: "intel-rapl:0:0", Name: "core", Energy: 5},
				{Dir: "intel-rapl:1", Name: "psys", Energy: 7},
			}})
			m.AddCgroup("/system.slice/cron.service", "unit/cron.service")
			m.Start(machine.Process{PID: 42, PPID: 1, Comm: "a\") R 1\n", Cmdline: []string{"cron", "-f"}, Cgroup: "/system.slice/cron.service", RSS: 4096})
			m.Advance(machine.Step{
				Energy:   map[string]uint64{"intel-rapl:0": 201, "intel-rapl:1": 1},
				CPU:      map[int]time.Duration{1: 30 * time.Millisecond, 42: time.Second},
				Children: map[int]time.Duration{42: 500 * time.Millisecond},
				Idle:     2 * time.Second,
			})

			fs, err := procfs.NewFS(m.Path("proc"))
			if err != nil {
				t.Fatal(err)
			}
			p, err := fs.Proc(42)
			if err != nil {
				t.Fatal(err)
			}
			stat, err := p.Stat()
			if err != nil {
				t.Fatal(err)
			}
			type facts struct {
				Comm         string
				PPID         int
				CPU, Waited  float64
				RSS          int
				Usage        string
				Package, Sys uint64
				Idle         float64
			}
			got := facts{Comm: stat.Comm, PPID: stat.PPID, CPU: stat.CPUTime(), Waited: float64(stat.CUTime+stat.CSTime) / 100, RSS: stat.ResidentMemory()}
			usage := map[machine.Layout]string{
				machine.V2:     "sys/fs/cgroup/system.slice/cron.service/cpu.stat",
				machine.V1:     "sys/fs/cgroup/cpuacct/system.slice/cron.service/cpuacct.usage",
				machine.Hybrid: "sys/fs/cgroup/unified/system.slice/cron.service/cpu.stat",
			}
			first, _, _ := strings.Cut(read(t, m.Path(usage[layout])), "\n")
			got.Usage = first
			whole, err := fs.Stat()
			if err != nil {
				t.Fatal(err)
			}
			got.Idle = whole.CPUTotal.Idle
			sys, err := sysfs.NewFS(m.Path("sys"))
			if err != nil {
				t.Fatal(err)
			}
			zones, err := sysfs.GetRaplZones(sys)
			if err != nil {
				t.Fatal(err)
			}
			for _, z := range zones {
				uj, err := z.GetEnergyMicrojoules()
				if err != nil {
					t.Fatal(err)
				}
				switch z.Name {
				case "package":
					got.Package = uj
				case "psys":
					got.Sys = uj
				}
			}
			want := facts{
				Comm: "a\") R 1\n", PPID: 1, CPU: 1, Waited: 0.5, RSS: os.Getpagesize(), Usage: "usage_usec 1500000",
				Package: 100, Sys: 8, Idle: 2, // 900 + 201 wraps after 1000
			}
			if layout == machine.V1 {
				want.Usage = "1500000000"
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("want -, got +\n%s", diff)
			}
			paths, err := p.Cgroups()
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range paths {
				if c.Path != "/system.slice/cron.service" {
					t.Errorf("cgroup path %q", c.Path)
				}
			}
		})
	}
}

func TestBill(t *testing.T) {
	m := machine.New(t, machine.Options{Zones: []machine.Zone{
		{Dir: "intel-rapl:0", Name: "package-0"},
		{Dir: "intel-rapl:0:0", Name: "core"},
		{Dir: "intel-rapl:0:1", Name: "dram"},
		{Dir: "intel-rapl:1", Name: "psys"},
	}})
	m.AddCgroup("/a", "unit/a")
	m.Start(machine.Process{PID: 10, PPID: 1, Comm: "x", Cgroup: "/a"})
	m.Start(machine.Process{PID: 11, PPID: 2, Comm: "kworker/0:1", Kernel: true})
	energy := map[string]uint64{"intel-rapl:0": 100, "intel-rapl:0:0": 60, "intel-rapl:0:1": 9, "intel-rapl:1": 106}

	got := m.Bill(machine.Step{Energy: energy, CPU: map[int]time.Duration{10: 2 * machine.Tick, 11: machine.Tick}, Children: map[int]time.Duration{10: machine.Tick}}, 0)
	want := machine.Bill{
		Dynamic: map[string]uint64{"cpu": 100, "memory": 9, "other": 0}, Idle: map[string]uint64{}, Debt: 3,
		Owners: map[string]map[string]machine.Range{
			"unit/a":        {"cpu": {Low: 75, High: 75}, "memory": {Low: 6, High: 7}, "other": {}},
			"system/kernel": {"cpu": {Low: 25, High: 25}, "memory": {Low: 2, High: 3}, "other": {}},
		},
		Processes: map[int]map[string]machine.Range{
			10: {"cpu": {Low: 50, High: 50}, "memory": {Low: 4, High: 5}, "other": {}},
			11: {"cpu": {Low: 25, High: 25}, "memory": {Low: 2, High: 3}, "other": {}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("busy step: want -, got +\n%s", diff)
	}
	energy["intel-rapl:1"] = 120
	got = m.Bill(machine.Step{Energy: energy, Idle: time.Second}, got.Debt)
	idle := machine.Bill{
		Dynamic: map[string]uint64{}, Idle: map[string]uint64{"cpu": 100, "memory": 9, "other": 8},
		Owners: map[string]map[string]machine.Range{}, Processes: map[int]map[string]machine.Range{},
	}
	if diff := cmp.Diff(idle, got); diff != "" {
		t.Errorf("idle step after a debt of 3: want -, got +\n%s", diff)
	}
}

// Readers keep descriptors open: a file keeps its inode while it changes, and
// one that is gone says nothing any more.
func TestOpenFilesFollow(t *testing.T) {
	m := machine.New(t, machine.Options{Zones: []machine.Zone{{Dir: "intel-rapl:0", Name: "package-0", Energy: 123456}}})
	m.Start(machine.Process{PID: 9, PPID: 1, Comm: "x"})
	zone, stat := open(t, m.EnergyFile("intel-rapl:0")), open(t, m.Path("proc/9/stat"))
	m.SetZone("intel-rapl:0", 7)
	m.Exit(9)
	if got := pread(t, zone); got != "7\n" {
		t.Errorf("zone says %q after a reset to 7", got)
	}
	if got := pread(t, stat); got != "" {
		t.Errorf("an ended process still says %q", got)
	}
	m.BreakZone("intel-rapl:0", "garbage\n")
	m.Advance(machine.Step{Energy: map[string]uint64{"intel-rapl:0": 5}})
	if got := pread(t, zone); got != "garbage\n" {
		t.Errorf("broken zone says %q", got)
	}
	m.MendZone("intel-rapl:0")
	if got := pread(t, zone); got != "12\n" {
		t.Errorf("mended zone says %q", got)
	}
	m.RemoveZone("intel-rapl:0")
	if _, err := os.Stat(m.EnergyFile("intel-rapl:0")); !os.IsNotExist(err) {
		t.Errorf("removed zone is still there: %v", err)
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func pread(t *testing.T, f *os.File) string {
	t.Helper()
	buf := make([]byte, 256)
	n, _ := f.ReadAt(buf, 0)
	return string(buf[:n])
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
