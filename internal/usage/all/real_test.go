package all

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"noether/internal/linux"
	"noether/internal/linux/cgroup"
	"noether/internal/workload"
)

// TestRealChildrenAreCredited runs a shell whose short children do all the
// work in a cgroup of its own, and compares with what the kernel says of it
// when it has ended (wait4(2)).
func TestRealChildrenAreCredited(t *testing.T) {
	fs := linux.Under("")
	t.Run("as mounted", func(t *testing.T) { realChildren(t, fs) })
	fs.Cgroup += "/unified" // of a hybrid host: by itself like any other v2
	t.Run("v2", func(t *testing.T) { realChildren(t, fs) })
}

func realChildren(t *testing.T, fs linux.FS) {
	layout, err := cgroup.Detect(fs.Cgroup)
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	for _, c := range []struct {
		want  string
		tasks float64 // least part of the time that processes must explain
	}{{BPF, 0.98}, {Procfs, 0.85}, {Cgroup, 0}} {
		t.Run(c.want, func(t *testing.T) {
			path := fmt.Sprintf("/noether-test-%d-%s", os.Getpid(), c.want)
			dir := layout.Counters.Dir + path
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Skipf("skipped: cgroups cannot be made here: %v", err)
			}
			defer os.Remove(dir)
			opts, _, _ := options(t, fs, c.want)
			begin := time.Now()
			opts.Now = func() time.Duration { return time.Since(begin) }
			l, err := Open(t.Context(), opts)
			if err != nil {
				t.Skipf("skipped: %v", err)
			}
			defer l.Close()

			var u workload.Usage
			var groups, tasks time.Duration
			read := func() {
				u.Reset()
				if err := l.Read(t.Context(), &u); err != nil {
					t.Fatal(err)
				}
				for _, g := range u.Groups {
					if g.Group.Path == path {
						groups += g.CPU
					}
				}
				for _, x := range u.Tasks {
					if x.Place != nil && slices.ContainsFunc(x.Place.Paths, func(p workload.CgroupPath) bool { return p.Path == path }) {
						tasks += x.CPU
					}
				}
			}
			read()
			read()
			cmd := exec.CommandContext(t.Context(), "sh", "-c", "echo $$ > "+dir+"/cgroup.procs; "+
				"for i in $(seq 40); do head -c 6000000 /dev/zero | md5sum >/dev/null; done; echo done; read end; true")
			cmd.Stderr = t.Output()
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				out.Read(make([]byte, 1))
			}()
			for working := true; working; {
				select {
				case <-done:
					working = false
				case <-time.After(50 * time.Millisecond):
				}
				read()
			}
			read()
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			for range 3 { // an exit record may come two ticks late
				read()
				time.Sleep(50 * time.Millisecond)
			}
			truth := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			t.Logf("%s: kernel %v, group %v, tasks %v", l.Name(), truth, groups, tasks)
			if groups < truth*98/100 || groups > truth*102/100+5*time.Millisecond {
				t.Errorf("the cgroup is credited with %v of %v", groups, truth)
			}
			if got := float64(tasks) / float64(truth); got < c.tasks || got > 1.02 {
				t.Errorf("processes explain %.1f %%, want at least %.0f %%", got*100, c.tasks*100)
			}
		})
	}
}
