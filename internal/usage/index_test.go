package usage

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/linux"
	"noether/internal/linux/machinetest"
	"noether/internal/workload"
)

func openIndex(t *testing.T, machine string) (*Index, linux.FS) {
	t.Helper()
	fs := linux.Under(machinetest.Unpack(t, "../../testdata/machines/"+machine+".txtar"))
	return openIndexOf(t, fs), fs
}

func openIndexOf(t *testing.T, fs linux.FS) *Index {
	t.Helper()
	x := OpenIndex(IndexOptions{FS: fs, Files: 100, Now: func() time.Duration { return 0 }, PID: 4242})
	if x.Err() != nil {
		t.Fatal(x.Err())
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestIndexFindsEveryProcessOfAMachine(t *testing.T) {
	for _, machine := range []string{"cgroup-v1", "cgroup-v2", "cgroup-hybrid"} {
		t.Run(machine, func(t *testing.T) {
			x, fs := openIndex(t, machine)
			for pid := uint32(100); ; pid++ {
				text, err := os.ReadFile(fmt.Sprintf("%s/%d/cgroup", fs.Proc, pid))
				if err != nil {
					if pid < 107 {
						t.Fatal(err)
					}
					break
				}
				path := strings.TrimSpace(string(text[strings.LastIndexByte(string(text), ':')+1:]))
				m := x.ByPID(pid)
				g := x.GroupOf(m)
				if g == nil || g.Path != path {
					t.Fatalf("process %d: group %+v, want %s", pid, g, path)
				}
				if m != x.ByPID(pid) || g != x.GroupOf(m) {
					t.Errorf("process %d: another pointer the second time", pid)
				}
				if n := strings.Count(string(text), "\n"); len(m.Place.Paths) != n {
					t.Errorf("process %d: %d paths, want %d", pid, len(m.Place.Paths), n)
				}
				v2, v1 := g.ID, uint64(0)
				if !x.Layout().Counters.V2() {
					v2, v1 = 1, g.ID
				}
				place, group := x.ByIDs(pid, v2, v1, uint64(pid))
				if place != m.Place || group != g {
					t.Errorf("process %d by ids: %+v in %+v, want %+v in %+v", pid, place, group, m.Place, g)
				}
				if place, group = x.ByIDs(0, v2, v1, uint64(pid)); place != m.Place || group != g {
					t.Errorf("process %d after its end: %+v in %+v", pid, place, group)
				}
			}
		})
	}
}

func TestIndexKeepsNamesOfShortLivedCgroups(t *testing.T) {
	x, fs := openIndex(t, "cgroup-v2")
	x.Refresh()
	const path = "/system.slice/short.service"
	parent, _ := x.Counters().ByPath("/system.slice")

	// Made and gone inside a tick: only the events tell.
	x.Made(false, 777_777, path)
	x.Gone(false, 777_777)
	place, group := x.ByIDs(0, 777_777, 0, 0)
	want := &workload.Place{Paths: []workload.CgroupPath{{Path: path}}}
	if diff := cmp.Diff(want, place); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if group != x.Group(parent) {
		t.Errorf("group %+v, want that of /system.slice", group)
	}

	// Removed after it was listed.
	ssh, _ := x.Counters().ByPath("/system.slice/ssh.service")
	id, _ := x.Counters().ID(ssh)
	os.RemoveAll(fs.Cgroup + "/system.slice/ssh.service")
	x.Refresh()
	place, group = x.ByIDs(0, id, 0, 0)
	if place == nil || place.Paths[0].Path != "/system.slice/ssh.service" || group != x.Group(parent) {
		t.Errorf("removed: %+v in %+v", place, group)
	}
	for range remember + 2 {
		x.Refresh()
	}
	if place, _ = x.ByIDs(0, id, 0, 0); place == nil {
		t.Error("short ticks forget a name before the exit records of its processes are in")
	}
	x.opts.Now = func() time.Duration { return rememberFor + 1 }
	x.Refresh()
	if len(x.names) != 0 {
		t.Errorf("%d names are kept for ever", len(x.names))
	}
	if place, _ := x.ByIDs(0, 999_999, 0, 0); place != nil {
		t.Errorf("an unknown id is in %+v", place)
	}
}

func TestIndexFindsCgroupMadeAfterTheRefresh(t *testing.T) {
	x, fs := openIndex(t, "cgroup-v2")
	x.Refresh()
	write(t, fs.Cgroup+"/system.slice/new.service/cpu.stat", "usage_usec 0\n")
	m := x.ByFile([]byte("0::/system.slice/new.service\n"))
	if g := x.GroupOf(m); g == nil || g.Path != "/system.slice/new.service" || g.Place != m.Place {
		t.Errorf("group %+v; the process would stay with its parent's", g)
	}
}

func TestIndexResolvesPathsOfAPrivateNamespace(t *testing.T) {
	x, fs := openIndex(t, "cgroup-v2")
	const pod = "/kubepods.slice/kubepods-burstable.slice"
	write(t, fs.Cgroup+pod+"/agent.scope/cpu.stat", "usage_usec 0\n")
	write(t, fs.Cgroup+pod+"/agent.scope/cgroup.procs", "7\n4242\n")
	x.Refresh()
	x.private = true
	for path, want := range map[string]string{
		"/":                               pod + "/agent.scope",
		"/child":                          pod + "/agent.scope/child",
		"/..":                             pod,
		"/../beside.scope":                pod + "/beside.scope",
		"/../../../system.slice/a":        "/system.slice/a",
		"/../../..":                       "/",
		"/../../../../../more/than/there": "/more/than/there",
		"/..name":                         pod + "/agent.scope/..name",
	} {
		m := x.ByFile([]byte("0::" + path + "\n"))
		if got := m.Place.Paths[0].Path; got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

func TestIndexDistrustsExitingProcessesOnV1(t *testing.T) {
	x, fs := openIndex(t, "cgroup-v1")
	x.Refresh()
	m := x.ByPID(100)
	g := x.GroupOf(m)
	root := "11:memory:/\n4:cpu,cpuacct:/\n1:name=systemd:/\n"
	write(t, fs.Proc+"/100/cgroup", root)
	stat, _ := os.ReadFile(fs.Proc + "/100/stat")
	write(t, fs.Proc+"/100/stat", strings.Replace(string(stat), "4194304", "4194308", 1)) // PF_EXITING
	if got := x.ByPID(100); got != nil {
		t.Errorf("an exiting process is in %+v", got.Place)
	}
	if _, group := x.ByIDs(100, 1, g.ID, 5); group != g {
		t.Errorf("by ids it is in %+v, want %+v", group, g)
	}
}

func TestIndexForgetsWhatNobodyHolds(t *testing.T) {
	x, _ := openIndex(t, "cgroup-v2")
	for i := range 1000 {
		x.ByFile(fmt.Appendf(nil, "0::/gone/%d\n", i))
	}
	for range 3 * sweepEvery {
		x.Refresh()
		if x.tick%sweepEvery == 0 {
			runtime.GC()
		}
	}
	if len(x.files) != 0 || len(x.places) > 20 {
		t.Errorf("%d texts and %d places are kept", len(x.files), len(x.places))
	}
}

func TestIndexLookupsAllocateNothing(t *testing.T) {
	x, fs := openIndex(t, "cgroup-v2")
	raw, _ := os.ReadFile(fs.Proc + "/100/cgroup")
	g := x.GroupOf(x.ByFile(raw))
	x.ByIDs(0, g.ID, 0, 0)
	if n := testing.AllocsPerRun(100, func() {
		x.Refresh()
		x.GroupOf(x.ByFile(raw))
		x.ByIDs(0, g.ID, 0, 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzIndexByFile(f *testing.F) {
	f.Add([]byte("0::/../beside\n"))
	f.Add([]byte("4:cpu,cpuacct:/..\n0::/../../..\n"))
	fs := linux.Under(machinetest.Unpack(f, "../../testdata/machines/cgroup-v2.txtar"))
	x := OpenIndex(IndexOptions{FS: fs, Now: func() time.Duration { return 0 }})
	x.private, x.own = true, "/kubepods.slice/agent"
	f.Fuzz(func(t *testing.T, b []byte) {
		m := x.ByFile(b)
		x.GroupOf(m)
		if m.Place == nil {
			return
		}
		for _, p := range m.Place.Paths {
			if p.Path == "" || p.Path[0] != '/' {
				t.Errorf("%q: path %q", b, p.Path)
			}
		}
	})
}
