package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// near fails unless got is within tolerance (a fraction) of want.
func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance*want {
		t.Errorf("%s: %.4f, want %.4f within %g %%", what, got, want, 100*tolerance)
		return
	}
	t.Logf("%s: %.4f, the truth is %.4f", what, got, want)
}

// ladder is every source of usage on this machine.
func ladder() []string { return []string{"bpf", "procfs", "cgroup"} }

// TestBurnersPayForTheirTime: three burners in two cgroups get joules in the
// ratio of their CPU time, as the kernel's own counters tell it.
func TestBurnersPayForTheirTime(t *testing.T) {
	for version := range hierarchies() {
		for _, usage := range ladder() {
			t.Run(version+" "+usage, func(t *testing.T) {
				one, two := newGroup(t, version), newGroup(t, version)
				a := start(t, "--interval", "500ms", "--usage", usage)
				ends := []func(){one.play("burn"), two.play("burn"), two.play("burn")}
				for one.usage()+two.usage() < 4*time.Second {
					time.Sleep(50 * time.Millisecond)
				}
				for _, end := range ends {
					end()
				}
				p := a.skip(2)
				u1, u2 := one.usage().Seconds(), two.usage().Seconds()
				for _, g := range []*group{one, two} {
					near(t, "CPU seconds of "+g.unit, p.value("noether_unit_cpu_seconds_total", "unit", g.unit), g.usage().Seconds(), 0.02)
				}
				e1, e2 := float64(p.owner("unit/"+one.unit, "cpu", "dynamic")), float64(p.owner("unit/"+two.unit, "cpu", "dynamic"))
				near(t, "share of the first cgroup", e1/(e1+e2), u1/(u1+u2), 0.02)
			})
		}
	}
}

// TestChildrenPayBesideABurner: a chain of children that live 50 ms gets as
// many joules as a burner that uses as much CPU time.
func TestChildrenPayBesideABurner(t *testing.T) {
	for _, usage := range ladder() {
		t.Run(usage, func(t *testing.T) {
			burner, chain := newGroup(t, anyVersion(t)), newGroup(t, anyVersion(t))
			a := start(t, "--interval", "1s", "--usage", usage, "--processes", "all")
			endBurner, endChain := burner.play("burn"), chain.play("chain 50ms")
			for burner.usage()+chain.usage() < 5*time.Second {
				time.Sleep(50 * time.Millisecond)
			}
			endBurner()
			endChain()
			p := a.skip(2)
			ub, uc := burner.usage().Seconds(), chain.usage().Seconds()
			eb, ec := float64(p.owner("unit/"+burner.unit, "cpu", "dynamic")), float64(p.owner("unit/"+chain.unit, "cpu", "dynamic"))
			near(t, "share of the children", ec/(eb+ec), uc/(ub+uc), 0.05)
		})
	}
}

// TestForkStormIsCredited: processes that are born and end a thousand times a
// second leave at most 1 % of their CPU time uncredited.
func TestForkStormIsCredited(t *testing.T) {
	for _, usage := range []string{"bpf", "procfs"} {
		t.Run(usage, func(t *testing.T) {
			g := newGroup(t, anyVersion(t))
			a := start(t, "--interval", "1s", "--usage", usage, "--processes", "all")
			before := a.next()
			forks, began := forksSinceBoot(t), time.Now()
			ends := []func(){g.run(nil, "/bin/sh", "-c", "while :; do (:); done"), g.run(nil, "/bin/sh", "-c", "while :; do (:); done")}
			for forksSinceBoot(t)-forks < 8000 {
				time.Sleep(50 * time.Millisecond)
			}
			rate := float64(forksSinceBoot(t)-forks) / time.Since(began).Seconds()
			for _, end := range ends {
				end()
			}
			after := a.skip(2)
			t.Logf("%.0f processes a second", rate)
			near(t, "CPU seconds of the storm", after.value("noether_unit_cpu_seconds_total", "unit", g.unit), g.usage().Seconds(), 0.01)
			if got := after.value("noether_exits_dropped_total"); got != 0 {
				t.Errorf("%v exit records were dropped", got)
			}
			// The view: nearly all of the unit's energy is told by processes, the short ones as one.
			unit := float64(after.owner("unit/"+g.unit, "cpu", "dynamic"))
			processes := float64(after.joules("noether_process_joules_total", "component", "cpu") - before.joules("noether_process_joules_total", "component", "cpu"))
			if processes < 0.99*unit {
				t.Errorf("the processes together used %.2f J, the storm's unit alone %.2f J", processes/1e6, unit/1e6)
			}
		})
	}
}

func forksSinceBoot(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\nprocesses ")
	n, err := strconv.Atoi(strings.SplitN(rest, "\n", 2)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPromtoolAcceptsThePage runs the linter of the Prometheus project.
func TestPromtoolAcceptsThePage(t *testing.T) {
	t.Parallel()
	promtool := needProgram(t, "promtool", "prometheus")
	a := start(t, "--interval", "200ms", "--processes", "all", "--node-name", "n1")
	p := a.skip(3)
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = bytes.NewReader(p.text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	for _, s := range p.samples {
		if s.Labels["node"] != "n1" && s.Name != "noether_build_info" {
			t.Errorf("%s has no node label", s.Series)
			break
		}
	}
}

// TestPrometheusScrapesWithoutGapOrReset lets a real Prometheus scrape a
// machine where processes come and go, and asks it what it saw.
func TestPrometheusScrapesWithoutGapOrReset(t *testing.T) {
	t.Parallel()
	prometheus := needProgram(t, "prometheus", "prometheus")
	window := 20 * time.Second
	if os.Getenv("CI") != "" {
		window = time.Minute
	}
	a := start(t, "--interval", "500ms", "--processes", "top:20", "--keep-finished", "5s")
	if os.Getuid() == 0 {
		g := newGroup(t, anyVersion(t))
		defer g.run(nil, "/bin/sh", "-c", "while :; do sleep 0.05; done")()
	}
	dir, address := t.TempDir(), freeAddress(t)
	config := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: noether\n  honor_labels: true\n  static_configs: [{targets: [%q]}]\n", a.address)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &buffer{}
	cmd := exec.Command(prometheus, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	query := func(expr string) (values []float64) {
		resp, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(expr))
		if err != nil {
			return nil
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil
		}
		var answer struct {
			Data struct{ Result []struct{ Value [2]any } }
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return nil
		}
		for _, r := range answer.Data.Result {
			text, _ := r.Value[1].(string)
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatalf("query %s: %s", expr, body)
			}
			values = append(values, v)
		}
		return values
	}
	enough := window.Seconds() - 2
	a.awaitWithin(window+patience, "Prometheus to have scraped", func() bool {
		v := query("count_over_time(up[5m])")
		return len(v) == 1 && v[0] >= enough
	})
	want := func(expr string, want float64) {
		t.Helper()
		if got := query(expr); len(got) != 1 || got[0] != want {
			t.Errorf("%s is %v, want %v", expr, got, want)
		}
	}
	want("min_over_time(up[5m])", 1)
	counters := map[string]bool{}
	for _, s := range a.scrape().samples {
		if strings.HasSuffix(s.Name, "_total") && !counters[s.Name] {
			counters[s.Name] = true
			want("max(resets("+s.Name+"[5m]))", 0)
		}
	}
	// Every scrape has the node's energy, and every sample is one of a scrape.
	want(`min(count_over_time(up[5m])) - min(count_over_time(noether_node_joules_total{part="dynamic"}[5m]))`, 0)
	want("max(max_over_time(noether_imbalance_joules[5m]))", 0)
	if v := query(`sum(increase(noether_node_joules_total[5m]))`); len(v) != 1 || v[0] <= 0 {
		t.Errorf("the node used %v J", v)
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, "scrape") || strings.Contains(line, "level=warn") && strings.Contains(line, "scrape") {
			t.Errorf("Prometheus complains: %s", line)
		}
	}
	t.Logf("%v scrapes, %v series", query("count_over_time(up[5m])"), query(`count({__name__=~"noether_.+"})`))
}

// TestDescriptorsDoNotGrow: what came and went leaves nothing open.
func TestDescriptorsDoNotGrow(t *testing.T) {
	for _, usage := range ladder() {
		t.Run(usage, func(t *testing.T) {
			t.Parallel()
			g := newGroup(t, anyVersion(t))
			a := start(t, "--interval", "200ms", "--usage", usage, "--keep-finished", "400ms")
			a.skip(2)
			open := func() int {
				if usage == "procfs" { // it keeps one of each process, and others start processes here too
					return a.descriptors() - processes(t)
				}
				return a.descriptors()
			}
			counts := []int{open()}
			for range 3 {
				end := g.run(nil, "/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 60 & done; while :; do (:); done")
				var inner []*group
				for range 20 {
					inner = append(inner, newGroup(t, anyVersion(t)))
				}
				a.skip(3)
				end()
				for _, in := range inner {
					os.Remove(in.dir)
				}
				a.skip(4)
				counts = append(counts, open())
			}
			// Other tests make a few cgroups at the same time; this one made 60, and thousands of processes.
			if least := slices.Min(counts[1:]); least > counts[0]+40 {
				t.Errorf("descriptors: %v", counts)
			}
			t.Logf("descriptors: %v", counts)
		})
	}
}

// processes returns how many there are on this machine.
func processes(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			n++
		}
	}
	return n
}
