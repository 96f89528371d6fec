package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"noether/test/machine"
)

// TestRefusals: what cannot work ends at once, with a message that names the
// thing and says what to do.
func TestRefusals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := func(text string) string {
		path := filepath.Join(dir, fmt.Sprintf("%x.yml", text))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	taken := start(t, "--interval", "1s", "--sensor", "model")
	for _, c := range []struct {
		name  string
		args  []string
		words []string // all of which the message has
	}{
		{"port in use", []string{"--listen", taken.address}, []string{taken.address, "in use"}},
		{"missing root", []string{"--root", filepath.Join(dir, "nowhere")}, []string{filepath.Join(dir, "nowhere")}},
		{"root without a machine", []string{"--root", dir}, []string{dir}},
		{"root is a file", []string{"--root", "/etc/hostname"}, []string{"/etc/hostname"}},
		{"unknown flag", []string{"--intervall", "5s"}, []string{"intervall"}},
		{"interval without unit", []string{"--interval", "5"}, []string{"interval", "5s"}},
		{"interval too short", []string{"--interval", "1ms"}, []string{"interval", "100ms"}},
		{"unknown sensor", []string{"--sensor", "tarot"}, []string{"sensor", "tarot"}},
		{"unknown usage", []string{"--usage", "guess"}, []string{"usage", "guess", "procfs"}},
		{"policy of later", []string{"--policy", "calibrated"}, []string{"calibrated", "not available yet"}},
		{"unknown processes", []string{"--processes", "some"}, []string{"processes", "some", "top:"}},
		{"unknown key", []string{"--config", config("interval: 5s\nintervall: 6s\n")}, []string{"intervall", "2"}},
		{"config of the wrong type", []string{"--config", config("interval: [1]\n")}, []string{"interval"}},
		{"config not YAML", []string{"--config", config("\t{{{")}, []string{".yml"}},
		{"missing config", []string{"--config", filepath.Join(dir, "none.yml")}, []string{"none.yml"}},
		{"no such address", []string{"--listen", "203.0.113.1:9877"}, []string{"203.0.113.1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"agent"}, c.args...)
			if !slices.Contains(args, "--listen") {
				args = append(args, "--listen", freeAddress(t))
			}
			code, _, said := runs(t, args...)
			if code == 0 || code == -1 {
				t.Fatalf("exit code %d, said:\n%s", code, said)
			}
			for _, w := range c.words {
				if !strings.Contains(said, w) {
					t.Errorf("the message does not say %q:\n%s", w, said)
				}
			}
		})
	}
}

// A zone that tells nonsense, goes back or disappears is lost by itself; when
// it comes back there is no spike, and meanwhile no false 0.
func TestBrokenZone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		do     func(m *machine.Machine, zone string)
		mended bool
	}{
		{"garbage", func(m *machine.Machine, z string) { m.BreakZone(z, "garbage\n") }, true},
		{"empty", func(m *machine.Machine, z string) { m.BreakZone(z, "") }, true},
		{"negative", func(m *machine.Machine, z string) { m.BreakZone(z, "-5\n") }, true},
		{"beyond its range", func(m *machine.Machine, z string) { m.BreakZone(z, "99999999999999999999\n") }, true},
		{"vanished", func(m *machine.Machine, z string) { m.RemoveZone(z) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := oneZone(t, 10)
			a := startOn(t, m)
			a.move(func() { m.Advance(busy(10)) })
			before, after := a.move(func() {
				c.do(m, "intel-rapl:0:0")
				m.Advance(busy(10))
			})
			cpu := func(p *page) int64 { return p.joules("noether_node_joules_total", "component", "cpu") }
			memory := func(p *page) int64 { return p.joules("noether_node_joules_total", "component", "memory") }
			if cpu(after)-cpu(before) != 4_000_000 {
				t.Errorf("the healthy zone moved by %d uJ, want 4000000", cpu(after)-cpu(before))
			}
			if memory(after) != memory(before) {
				t.Errorf("the broken zone moved from %d to %d uJ", memory(before), memory(after))
			}
			if w := after.find("noether_node_watts", "component", "memory"); len(w) > 0 {
				t.Errorf("the power of a zone that was not read is shown: %v", w)
			}
			if works := after.find("noether_sensor_status", "zone", "dram", "status", "works"); len(works) > 0 {
				t.Errorf("the broken zone is said to work: %v", works)
			}
			a.await("a word about the zone", func() bool { return strings.Contains(a.log.String(), "dram") })
			if !c.mended {
				return
			}
			a.move(func() { m.Advance(busy(10)) })
			_, back := a.move(func() { m.MendZone("intel-rapl:0:0") })
			_, again := a.move(func() { m.Advance(busy(10)) })
			if d := memory(back) - memory(before); d != 0 {
				t.Errorf("the mended zone made a spike of %d uJ", d)
			}
			if d := memory(again) - memory(back); d != 400_000 {
				t.Errorf("the mended zone moved by %d uJ, want 400000", d)
			}
		})
	}
}

// A counter that falls without a wrap was reset: its movement is no energy.
func TestCounterGoesBackwards(t *testing.T) {
	t.Parallel()
	m := oneZone(t, 10)
	m.SetZone("intel-rapl:0", 9_000_000_000)
	a := startOn(t, m)
	before, reset := a.move(func() { m.SetZone("intel-rapl:0", 5) })
	_, after := a.move(func() { m.Advance(busy(10)) })
	cpu := func(p *page) int64 { return p.joules("noether_node_joules_total", "component", "cpu") }
	if d := cpu(reset) - cpu(before); d != 0 {
		t.Errorf("the reset was billed as %d uJ", d)
	}
	if d := cpu(after) - cpu(reset); d != 4_000_000 {
		t.Errorf("after the reset it moved by %d uJ, want 4000000", d)
	}
}

// A counter that leaps faster than any machine could is not energy either.
func TestImplausibleLeap(t *testing.T) {
	t.Parallel()
	m := oneZone(t, 10)
	a := startOn(t, m)
	before, leapt := a.move(func() { m.SetZone("intel-rapl:0", 200_000_000_000) })
	if d := leapt.joules("noether_node_joules_total", "component", "cpu") - before.joules("noether_node_joules_total", "component", "cpu"); d != 0 {
		t.Errorf("a leap by 200 kJ in less than a second was billed as %d uJ", d)
	}
}

// A hundred thousand processes are many, not too many.
func TestManyProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 100,000 directories")
	}
	t.Parallel()
	m := oneZone(t, 10)
	for i := range 100_000 {
		m.Start(machine.Process{PID: 1000 + i, PPID: 1, Comm: "many", Cgroup: "/system.slice/work.service", Plain: true})
	}
	a := start(t, "--root", m.Root(), "--interval", "2s", "--sensor", "powercap", "--usage", "procfs", "--processes", "top:10")
	_, p, clean := a.between(func() { m.Advance(busy(10, 50_000, 99_999)) })
	if !clean {
		t.Skip("the machine is too slow: a tick fell into a change of the simulated machine")
	}
	for _, pid := range []string{"10", "50000", "99999"} {
		if got := p.joules("noether_process_joules_total", "pid", pid, "component", "cpu"); got < 1_333_333 || got > 1_333_334 {
			t.Errorf("process %s was credited %d uJ, want a third of 4 J", pid, got)
		}
	}
	t.Logf("a tick took %v s, %v s of CPU time each", p.value("noether_tick_duration_seconds"), p.value("noether_tick_cpu_seconds_total")/float64(p.ticks()))
}

// The agent writes nothing below its root: a read-only one is enough, and so
// is a user without any right.
func TestReadOnlyRootWithoutPrivileges(t *testing.T) {
	t.Parallel()
	needRoot(t) // to become somebody else
	setpriv := needProgram(t, "setpriv", "util-linux")
	m := oneZone(t, 10)
	if err := os.Chmod(m.EnergyFile("intel-rapl:0:0"), 0); err != nil { // as the kernel does since CVE-2020-8694
		t.Fatal(err)
	}
	snapshot := tree(t, m.Root())
	a := startAt(t, freeAddress(t), []string{setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--"},
		"--root", m.Root(), "--interval", tick.String(), "--sensor", "powercap", "--usage", "procfs", "--processes", "all")
	_, p := a.move(func() { m.Advance(busy(10)) })
	if got := p.owner("unit/work.service", "cpu", "dynamic"); got != 4_000_000 {
		t.Errorf("the readable zone credited %d uJ, want 4000000", got)
	}
	if s := p.find("noether_sensor_status", "status", "forbidden"); len(s) == 0 {
		t.Errorf("no zone is said to be forbidden: %v", p.find("noether_sensor_status"))
	}
	if s := p.find("noether_node_joules_total", "component", "memory"); len(s) > 0 {
		t.Errorf("a component that no sensor could read is shown: %v", s)
	}
	if after := tree(t, m.Root()); !slices.Equal(snapshot, after) {
		t.Errorf("the agent changed the files below its root")
	}
}

func tree(t *testing.T, root string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// A whole cgroup tree or all of /proc may go away under the agent, as when a
// mount is lost: it says so and goes on with what is left.
func TestProcVanishesWhileRunning(t *testing.T) {
	t.Parallel()
	m := oneZone(t, 10)
	a := startOn(t, m)
	a.move(func() { m.Advance(busy(10)) })
	if err := os.Rename(m.Path("proc"), m.Path("gone")); err != nil {
		t.Fatal(err)
	}
	before := a.skip(1)
	m.SetZone("intel-rapl:0", 7_000_000) // it was at 5 J
	after := a.skip(2)
	if d := after.joules("noether_node_joules_total", "component", "cpu") - before.joules("noether_node_joules_total", "component", "cpu"); d != 2_000_000 {
		t.Errorf("without /proc the node moved by %d uJ, want 2000000", d)
	}
	if !strings.Contains(a.log.String(), m.Path("proc")) {
		t.Errorf("nothing was said about the lost /proc:\n%s", a.log.String())
	}
	if err := os.Rename(m.Path("gone"), m.Path("proc")); err != nil {
		t.Fatal(err)
	}
	a.skip(2)
	m.Advance(busy(10))
	deadline := time.Now().Add(patience)
	for {
		p := a.skip(1)
		if p.owner("unit/work.service", "cpu", "dynamic") > after.owner("unit/work.service", "cpu", "dynamic") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the unit is not credited again after /proc is back")
		}
		m.Advance(busy(10))
	}
}
