package all

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"noether/internal/linux"
	"noether/internal/linux/cgroup"
	"noether/internal/workload"
)

// TestRealEndedCgroupIsCountedOnce removes a cgroup right after what ran in
// it: the kernel has its last time in the counter above, so that the processes
// that ended there must be told as part of that one and not beside it.
func TestRealEndedCgroupIsCountedOnce(t *testing.T) {
	fs := linux.Under("")
	layout, err := cgroup.Detect(fs.Cgroup)
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	above := fmt.Sprintf("/noether-test-%d-ended", os.Getpid())
	dir := layout.Counters.Dir + above
	if err := os.MkdirAll(dir+"/c", 0o755); err != nil {
		t.Skipf("skipped: cgroups cannot be made here: %v", err)
	}
	defer os.Remove(dir)
	defer os.Remove(dir + "/c")
	opts, _, _ := options(t, fs, BPF)
	begin := time.Now()
	opts.Now = func() time.Duration { return time.Since(begin) }
	l, err := Open(t.Context(), opts)
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	defer l.Close()

	var u workload.Usage
	var counted, beside, tasks time.Duration
	read := func() {
		u.Reset()
		if err := l.Read(t.Context(), &u); err != nil {
			t.Fatal(err)
		}
		told := map[*workload.Group]bool{}
		for _, g := range u.Groups {
			told[g.Group] = true
			if strings.HasPrefix(g.Group.Path, above) {
				counted += g.CPU
			}
		}
		for _, x := range u.Tasks {
			if x.Place == nil || !strings.Contains(fmt.Sprint(x.Place.Paths), above+"/c") {
				continue
			}
			if tasks += x.CPU; x.CPU > 0 && !told[x.Group] {
				beside += x.CPU
			}
		}
	}
	read()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "echo $$ > "+dir+"/c/cgroup.procs; echo; read go; i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; exit")
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
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	read() // the process is known, and in its cgroup
	read()
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir + "/c"); err != nil {
		t.Fatal(err)
	}
	for range 5 { // an exit record may be late
		time.Sleep(50 * time.Millisecond)
		read()
	}
	truth := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	t.Logf("kernel %v, counters %v, tasks %v, of that beside the counters %v", truth, counted, tasks, beside)
	if tasks < truth*95/100 {
		t.Errorf("the process is told with %v of %v", tasks, truth)
	}
	if beside > truth/50 {
		t.Errorf("%v of %v are told beside the counter that has them", beside, truth)
	}
}
