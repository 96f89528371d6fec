package all

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/linux"
	"noether/internal/linux/machinetest"
	"noether/internal/probe"
	"noether/internal/usage"
	"noether/internal/workload"
)

func options(t *testing.T, fs linux.FS, want string) (Options, *bytes.Buffer, *time.Duration) {
	t.Helper()
	var log bytes.Buffer
	now := new(time.Duration)
	return Options{
		FS: fs, Want: want, Processes: true,
		Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Duration { return *now },
	}, &log, now
}

func open(t *testing.T, opts Options) *Ladder {
	t.Helper()
	l, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestMachines(t *testing.T) {
	for _, machine := range []string{"cgroup-v1", "cgroup-v2", "cgroup-hybrid"} {
		for _, want := range []string{Auto, Procfs, Cgroup} {
			t.Run(machine+" "+want, func(t *testing.T) {
				fs := linux.Under(machinetest.Unpack(t, "../../../testdata/machines/"+machine+".txtar"))
				opts, log, now := options(t, fs, want)
				l := open(t, opts)
				name := want
				if want == Auto {
					name = Procfs // the kernel knows nothing of a fixture's processes
				}
				if l.Name() != name || strings.Count(log.String(), "\n") != 1 {
					t.Errorf("rung %s, want %s; log:\n%s", l.Name(), name, log)
				}
				var u workload.Usage
				if err := l.Read(t.Context(), &u); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(workload.CPUTime{Online: 2}, u.CPU); diff != "" {
					t.Errorf("baseline: -want +got:\n%s", diff)
				}
				// The first service uses 2 s more.
				*now += 5 * time.Second
				const path = "/system.slice/ssh.service"
				base, file, text := fs.Cgroup, "cpu.stat", "usage_usec 3000000\n"
				if machine != "cgroup-v2" {
					base, file, text = fs.Cgroup+"/cpu,cpuacct", "cpuacct.usage", "3000000000\n"
				}
				machinetest.Write(t, base+path+"/"+file, text)
				machinetest.Write(t, fs.Proc+"/stat", "cpu  1000 0 0 100600 0 10 10 20 0 0\ncpu0 0\ncpu1 0\nintr 0\n")
				u.Reset()
				if err := l.Read(t.Context(), &u); err != nil {
					t.Fatal(err)
				}
				wantCPU := workload.CPUTime{
					Elapsed: 5 * time.Second, Online: 2, Capacity: 9800 * time.Millisecond,
					Idle: 6 * time.Second, Interrupt: 200 * time.Millisecond, Steal: 200 * time.Millisecond,
				}
				if diff := cmp.Diff(wantCPU, u.CPU); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				for _, g := range u.Groups {
					if used := 2 * time.Second; g.Group.Path == path && g.CPU != used || g.Group.Path != path && g.CPU != 0 {
						t.Errorf("%s used %v", g.Group.Path, g.CPU)
					}
				}
				if u.HasTasks != (want != Cgroup) {
					t.Errorf("has tasks: %v", u.HasTasks)
				}
			})
		}
	}
}

func TestDifference(t *testing.T) {
	const s = time.Second
	from := linux.CPUTimes{Online: 4, Idle: 100 * s, IOWait: 10 * s, Steal: 3 * s}
	for _, c := range []struct {
		name    string
		to      linux.CPUTimes
		elapsed time.Duration
		want    workload.CPUTime
	}{
		{
			"iowait goes backwards",
			linux.CPUTimes{Online: 4, Idle: 104 * s, IOWait: 9 * s, Steal: 3 * s},
			5 * s,
			workload.CPUTime{Elapsed: 5 * s, Online: 4, Capacity: 20 * s, Idle: 3 * s},
		},
		{
			"a CPU goes offline and takes its idle time along",
			linux.CPUTimes{Online: 3, Idle: 50 * s, IOWait: 9 * s, Steal: 3 * s},
			5 * s,
			workload.CPUTime{Elapsed: 5 * s, Online: 3, Capacity: 15 * s},
		},
		{
			"CPUs come online with idle time",
			linux.CPUTimes{Online: 8, Idle: 900 * s, IOWait: 10 * s, Steal: 3 * s},
			5 * s,
			workload.CPUTime{Elapsed: 5 * s, Online: 8, Capacity: 40 * s, Idle: 40 * s},
		},
		{
			"steal beyond what there was",
			linux.CPUTimes{Online: 1, Idle: 101 * s, IOWait: 10 * s, Steal: 9 * s},
			5 * s,
			workload.CPUTime{Elapsed: 5 * s, Online: 1, Steal: 5 * s},
		},
		{
			"the clock stands still",
			linux.CPUTimes{Online: 4, Idle: 104 * s},
			-s,
			workload.CPUTime{Online: 4},
		},
	} {
		if diff := cmp.Diff(c.want, difference(from, c.to, c.elapsed)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
}

// failing works once and then does as it is told.
type failing struct {
	how    func() error
	reads  int
	closed int
}

func (f *failing) Name() string { return "failing" }

func (f *failing) Read(_ context.Context, dst *workload.Usage) error {
	f.reads++
	dst.HasTasks = true
	dst.Tasks = append(dst.Tasks, workload.TaskUsage{PID: 999_999})
	dst.Dropped = 3
	if f.reads == 1 {
		return nil
	}
	return f.how()
}

func (f *failing) Close() error { f.closed++; return nil }

func TestFallsToTheNextRungInTheSameRead(t *testing.T) {
	for name, how := range map[string]func() error{
		"error": func() error { return os.ErrPermission },
		"panic": func() error { panic("a bug") },
	} {
		t.Run(name, func(t *testing.T) {
			fs := linux.Under(machinetest.Unpack(t, "../../../testdata/machines/cgroup-v2.txtar"))
			opts, log, _ := options(t, fs, Auto)
			l := open(t, opts)
			bad := &failing{how: how}
			if err := l.closeTasks(); err != nil {
				t.Fatal(err)
			}
			l.rung, l.tasks = 0, []usage.Source{bad} // as if it were bpf
			var u workload.Usage
			if err := l.Read(t.Context(), &u); err != nil || l.Name() != BPF {
				t.Fatalf("%v on rung %s", err, l.Name())
			}
			log.Reset()
			u.Reset()
			if err := l.Read(t.Context(), &u); err != nil {
				t.Fatal(err)
			}
			if l.Name() != Procfs || u.Epoch != 1 || !u.HasTasks || u.Dropped != 3 || bad.closed != 1 {
				t.Errorf("rung %s, epoch %d, tasks %v, dropped %d, closed %d times", l.Name(), u.Epoch, u.HasTasks, u.Dropped, bad.closed)
			}
			for _, x := range u.Tasks {
				if x.PID == 999_999 || x.State&workload.New == 0 {
					t.Errorf("process %d of the failed source, or not New", x.PID)
				}
			}
			for range 3 {
				u.Reset()
				if err := l.Read(t.Context(), &u); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Count(log.String(), "\n"); got != 1 || !strings.Contains(log.String(), "level=WARN") {
				t.Errorf("%d lines of log, want one warning:\n%s", got, log)
			}
		})
	}
}

func TestNothingWorksAndThenItDoes(t *testing.T) {
	fs := linux.Under(machinetest.Unpack(t, "../../../testdata/machines/cgroup-v2.txtar"))
	opts, _, _ := options(t, fs, Procfs)
	opts.FS.Cgroup += "/none"
	l := open(t, opts)
	if err := l.closeTasks(); err != nil {
		t.Fatal(err)
	}
	l.tasks = []usage.Source{&failing{reads: 1, how: func() error { return errors.New("gone") }}}
	// Procfs has failed, and there is nothing below it.
	var u workload.Usage
	if err := l.Read(t.Context(), &u); err == nil || u.HasTasks || u.CPU.Online != 2 {
		t.Errorf("%v, has tasks %v, %d CPUs", err, u.HasTasks, u.CPU.Online)
	}
	u.Reset()
	if err := l.Read(t.Context(), &u); err != nil || l.Name() != Procfs || !u.HasTasks {
		t.Errorf("%v, rung %q, has tasks %v", err, l.Name(), u.HasTasks)
	}
}

func TestRefusals(t *testing.T) {
	fs := linux.Under(machinetest.Unpack(t, "../../../testdata/machines/cgroup-v2.txtar"))
	opts, _, _ := options(t, fs, BPF)
	if _, err := Open(t.Context(), opts); !errors.Is(err, probe.ErrNotSupported) {
		t.Errorf("bpf by name on a fixture: %v", err)
	}
	opts.Want = "perf"
	if _, err := Open(t.Context(), opts); err == nil || !strings.Contains(err.Error(), `"perf"`) {
		t.Errorf("no such source: %v", err)
	}
	opts.Want, opts.FS.Cgroup = Cgroup, fs.Sys
	if _, err := Open(t.Context(), opts); err == nil || !strings.Contains(err.Error(), fs.Sys) {
		t.Errorf("no cgroups: %v", err)
	}
	for _, v := range Probe(t.Context(), opts) {
		want := map[string]probe.Status{BPF: probe.Absent, Cgroup: probe.Masked, Procfs: probe.Works}[v.Name]
		if v.Status != want || v.Reason == "" {
			t.Errorf("%+v, want %v", v, want)
		}
	}
	opts.FS.Proc = fs.Sys
	if _, err := Open(t.Context(), opts); err == nil {
		t.Error("no /proc/stat, and no error")
	}
}
