package dashboards

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"noether/internal/agent"
	"noether/internal/energy"
	"noether/internal/export"
	"noether/internal/export/prometheus"
	"noether/internal/identity"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/usage"
	"noether/internal/workload"
)

// The eight days of the script. Every day is the same but for what is said of it.
const (
	days    = 8
	minutes = 2
	tick    = minutes * time.Minute // and a scrape after each
	lastDay = 7                     // counted from 0
)

func begin() time.Time { return time.Date(2026, time.March, 2, 0, 0, 0, 0, time.UTC) }
func end() time.Time   { return begin().AddDate(0, 0, days) }

// runner is something that runs in every minute, or in those of from to until of each day.
type runner struct {
	path        string
	comm        string
	cpu         time.Duration // in each minute
	kernel      bool
	from, until int // minutes of the day; both 0: all day
}

func (r *runner) runs(minute int) bool {
	return r.until == 0 || minute > r.from && minute <= r.until // a tick ends at its minute
}

// host is a machine, its pods, its site and its script.
type host struct {
	name      string
	cpus      int
	power     func(hour int) unit.Power // of the processors
	memory    unit.Power                // by a model; 0 for none
	runners   []runner
	names     func(now time.Time) *workload.Names
	site      func(now time.Time) snapshot.Site // during the tick that ends then
	restartAt time.Time                         // the agent starts anew then; zero for never
	verdicts  []probe.Verdict

	now    time.Time
	counts [2]unit.Energy // processors, memory
	places []*workload.Place
}

const GiB = 1 << 30

func id(n int) string { return strings.Repeat(fmt.Sprintf("%02x", n), 32) }

func uid(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

func podPath(n int) string {
	return fmt.Sprintf("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod%s.slice/cri-containerd-%s.scope",
		strings.ReplaceAll(uid(n), "-", "_"), id(n))
}

func facts(n int, namespace, pod, kind, name string, reserved workload.Reserved) *workload.PodFacts {
	return &workload.PodFacts{
		UID: uid(n), Namespace: namespace, Name: pod, WorkloadKind: kind, Workload: name, Reserved: reserved,
		Containers: map[string]workload.ContainerFacts{id(n): {Name: "main", Reserved: reserved}},
	}
}

// nightly runs from 02:00 to 02:30 of every day, as a new pod.
const nightlyFrom, nightlyUntil = 120, 150

// hostA is in Germany: 60 W at midnight and 5 W more each hour, 12 W of memory
// by a model, 4 processors of which half are at work.
func hostA() *host {
	h := &host{
		name: "a", cpus: 4, memory: 12 * unit.Watt,
		power: func(hour int) unit.Power { return unit.Power(60+5*hour) * unit.Watt },
		runners: []runner{
			{path: podPath(1), comm: "cart", cpu: 24 * time.Second},
			{path: podPath(2), comm: "cart", cpu: 12 * time.Second},
			{path: podPath(3), comm: "front", cpu: 18 * time.Second},
			{path: podPath(4), comm: "cni", cpu: 6 * time.Second},
			{path: "/system.slice/kubelet.service", comm: "kubelet", cpu: 12 * time.Second},
			{path: "/system.slice/docker-" + id(5) + ".scope", comm: "registry", cpu: 12 * time.Second},
			{path: `/machine.slice/machine-qemu\x2d1\x2dlegacy.scope`, comm: "qemu-system-x86", cpu: 24 * time.Second},
			{path: "/user.slice/user-1000.slice/session-1.scope", comm: "bash", cpu: 6 * time.Second},
			{path: "/", comm: "kworker/0:1", cpu: 6 * time.Second, kernel: true},
			{path: podPath(9), comm: "nightly", cpu: 24 * time.Second, from: nightlyFrom, until: nightlyUntil},
		},
		restartAt: begin().AddDate(0, 0, lastDay).Add(12*time.Hour + 30*time.Minute),
		verdicts: []probe.Verdict{
			{Name: "powercap", Status: probe.Works},
			{Name: "model", Status: probe.Works},
			{Name: "msr", Status: probe.Forbidden, Reason: "no right"},
			{Name: "nvml", Status: probe.Absent},
		},
	}
	names := func(more ...*workload.PodFacts) *workload.Names {
		n := &workload.Names{
			AsksPods: true, AsksContainers: true, Allocatable: workload.Reserved{CPU: 4000, Memory: 16 * GiB},
			Containers: map[string]string{id(5): "registry"}, Pods: map[string]*workload.PodFacts{},
		}
		for _, f := range append(more,
			facts(1, "shop", "cart-7d9f-0", "Deployment", "cart", workload.Reserved{CPU: 500, Memory: GiB}),
			facts(2, "shop", "cart-7d9f-1", "Deployment", "cart", workload.Reserved{CPU: 500, Memory: GiB}),
			facts(3, "web", "front-0", "StatefulSet", "front", workload.Reserved{CPU: 1000, Memory: 2 * GiB}),
			facts(4, "kube-system", "cni-x", "DaemonSet", "cni", workload.Reserved{})) {
			n.Pods[f.UID] = f
		}
		return n
	}
	daily, withNightly := names(), names(facts(9, "shop", "nightly-1", "CronJob", "nightly", workload.Reserved{}))
	h.names = func(now time.Time) *workload.Names {
		if m := minuteOf(now); m >= nightlyFrom && m <= nightlyUntil {
			return withNightly
		}
		return daily
	}
	h.site = func(now time.Time) snapshot.Site {
		hour, day := hourOf(now), dayOf(now)
		s := snapshot.Site{
			Grid: snapshot.Grid{
				Zone: "DE", Known: day != 2 || hour != 5, Intensity: unit.IntensityOf(float64(200 + 10*hour)), Provider: "electricitymaps",
				Signal: "average", Factor: "lifecycle", Updated: now.Truncate(time.Hour),
			},
			PUE: unit.RatioOf(1.25), PUEFrom: "fixed", Price: unit.PriceOf(0.30), Priced: true, Currency: "EUR",
			Hardware: snapshot.Hardware{CPU: 400 * unit.Kilogram, Memory: 250 * unit.Kilogram, Rest: 400 * unit.Kilogram, Lifetime: 1500 * 24 * time.Hour, Source: "components", Estimated: true},
			Sources: []snapshot.SourceStatus{
				{Source: "electricitymaps", Zone: "DE", Up: true, Requests: requests(now), Failures: 1, Success: now.Truncate(time.Hour)},
				{Source: "price", Up: true, Requests: requests(now), Success: now.Truncate(time.Hour)},
			},
		}
		if hour == 13 {
			s.Price = unit.PriceOf(-0.10) // much sun
		}
		for i := 1; i <= 24; i++ {
			s.Grid.Forecast = append(s.Grid.Forecast, snapshot.Forecast{Horizon: time.Duration(i) * time.Hour, Intensity: unit.IntensityOf(float64(200 + 10*((hour+i)%24)))})
		}
		if day == lastDay && hour == 23 { // by now 20:00 to 21:00 was 10 g worse
			from := begin().AddDate(0, 0, lastDay).Add(20 * time.Hour)
			s.Past, s.Revised = []snapshot.Past{{From: from, To: from.Add(time.Hour), Intensity: unit.IntensityOf(410)}}, 1
		}
		return s
	}
	return h
}

// hostB is in France and does little: 50 W, one pod.
func hostB() *host {
	names := &workload.Names{
		AsksPods: true, Allocatable: workload.Reserved{CPU: 2000, Memory: 8 * GiB},
		Pods: map[string]*workload.PodFacts{uid(21): facts(21, "shop", "cart-7d9f-2", "Deployment", "cart", workload.Reserved{CPU: 500, Memory: GiB})},
	}
	return &host{
		name: "b", cpus: 2,
		power:    func(int) unit.Power { return 50 * unit.Watt },
		runners:  []runner{{path: podPath(21), comm: "cart", cpu: 12 * time.Second}},
		names:    func(time.Time) *workload.Names { return names },
		verdicts: []probe.Verdict{{Name: "powercap", Status: probe.Works}},
		site: func(now time.Time) snapshot.Site {
			return snapshot.Site{
				Grid: snapshot.Grid{Zone: "FR", Known: true, Intensity: unit.IntensityOf(50), Provider: "yearly", Signal: "average", Factor: "lifecycle", Estimated: true},
				PUE:  unit.RatioOf(1.1), PUEFrom: "table", Price: unit.PriceOf(0.30), Priced: true, Currency: "EUR",
				Hardware: snapshot.Hardware{CPU: 60 * unit.Kilogram, Rest: 60 * unit.Kilogram, Lifetime: 1500 * 24 * time.Hour, Source: "value"},
				Sources:  []snapshot.SourceStatus{{Source: "yearly", Zone: "FR", Up: true, Requests: requests(now), Success: begin()}},
			}
		},
	}
}

func minuteOf(t time.Time) int { return t.Hour()*60 + t.Minute() }

// hourOf and dayOf tell in which hour and day the tick lies that ends at t.
func hourOf(t time.Time) int { return t.Add(-time.Second).Hour() }
func dayOf(t time.Time) int  { return int(t.Add(-time.Second).Sub(begin()) / (24 * time.Hour)) }

func requests(now time.Time) uint64 { return uint64(now.Sub(begin())/time.Hour) + 1 }

// A host is its own sensor, source of usage, source of names and site.

func (h *host) mono() time.Duration { return h.now.Sub(begin()) + time.Hour }

type meter struct{ h *host }

func (m meter) Close() error { return nil }

func (m meter) Zones() []energy.Zone {
	zones := []energy.Zone{{Sensor: "powercap", Name: "package-0", Domain: energy.Package, Path: "energy_uj", Die: -1}}
	if m.h.memory > 0 {
		zones = append(zones, energy.Zone{Sensor: "model", Name: "memory", Domain: energy.ModelMemory, Socket: -1, Die: -1, Quality: energy.Estimated, Band: true})
	}
	return zones
}

func (m meter) Read(_ context.Context, dst []energy.Reading) ([]energy.Reading, error) {
	at := m.h.mono()
	dst = append(dst, energy.Reading{At: at, Energy: m.h.counts[0]})
	if m.h.memory > 0 {
		e := m.h.counts[1]
		dst = append(dst, energy.Reading{Zone: 1, At: at, Energy: e, Low: e / 2, High: 2 * e})
	}
	return dst, nil
}

type tasks struct {
	h    *host
	seen map[int]bool
	last time.Time
}

func (u *tasks) Name() string { return "procfs" }
func (u *tasks) Close() error { return nil }

func (u *tasks) Read(_ context.Context, dst *workload.Usage) error {
	h := u.h
	elapsed := h.now.Sub(u.last)
	u.last = h.now
	capacity := elapsed * time.Duration(h.cpus)
	idle := capacity
	for i := range h.runners {
		r := &h.runners[i]
		t := workload.TaskUsage{Slot: int32(i), PID: uint32(100 + i), Place: h.places[i], RSS: 1 << 20}
		copy(t.Comm[:], r.comm)
		running := r.runs(minuteOf(h.now))
		switch {
		case running && elapsed > 0:
			t.CPU = minutes * r.cpu
			idle -= t.CPU
		case !running && !u.seen[i]:
			continue
		case !running:
			t.State |= workload.Ended
		}
		if !u.seen[i] {
			t.State |= workload.New
		}
		if r.kernel {
			t.State |= workload.KernelTask
		}
		u.seen[i] = running
		dst.Tasks = append(dst.Tasks, t)
	}
	dst.HasTasks = true
	dst.CPU = workload.CPUTime{Elapsed: elapsed, Online: h.cpus, Capacity: capacity, Idle: idle}
	return nil
}

var _ usage.Source = (*tasks)(nil)

type owners struct{}

func (owners) Place(p *workload.Place) workload.Owner { return identity.Resolve(p.Paths) }
func (owners) Process(*workload.TaskUsage, workload.Owner) (workload.Owner, bool) {
	return workload.Owner{}, false
}

type names struct{ h *host }

func (n names) Latest() *workload.Names { return n.h.names(n.h.now) }
func (names) Missing([]workload.Owner)  {}
func (n names) Status(dst []workload.NamesStatus) []workload.NamesStatus {
	passed := uint64(n.h.now.Sub(begin()) / time.Minute)
	return append(dst, workload.NamesStatus{Source: "api", Up: true, Requests: passed / 10, Bytes: passed * 100, Known: len(n.h.names(n.h.now).Pods), Synced: n.h.now})
}

type site struct{ h *host }

func (s site) Between(_, to time.Time) *snapshot.Site { v := s.h.site(to); return &v }

// start starts an agent on the host.
func (h *host) start(t *testing.T) *agent.Agent {
	t.Helper()
	c := agent.Default()
	c.Interval, c.NodeName = tick, h.name
	a, err := agent.New(agent.Options{
		Config: c, Sensors: []sensor.Sensor{meter{h}}, Verdicts: h.verdicts, Usage: &tasks{h: h, seen: map[int]bool{}, last: h.now},
		Owners: owners{}, Names: names{h}, Site: site{h}, Log: slog.New(slog.NewTextHandler(failing{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Clock: agent.Clock{Wall: func() time.Time { return h.now }, Mono: h.mono, Boot: h.mono, CPU: func() time.Duration { return h.mono() / 10_000 }},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Baseline(t.Context())
	return a
}

// failing fails the test of what an agent says: it has nothing to complain of.
type failing struct{ t *testing.T }

func (f failing) Write(p []byte) (int, error) {
	f.t.Errorf("the agent says: %s", p)
	return len(p), nil
}

// live lets the eight days pass, and writes what a Prometheus scrapes after
// each tick to the writer of its time.
func (h *host) live(t *testing.T, out func(time.Time) io.Writer) {
	t.Helper()
	h.now = begin()
	for i := range h.runners {
		h.places = append(h.places, &workload.Place{Paths: []workload.CgroupPath{{Path: h.runners[i].path}}})
	}
	about := export.About{Version: "1.0.0", Revision: "0", GoVersion: "go", OS: "linux", Arch: "amd64", Kernel: "6.12", CPUModel: "test", Node: h.name}
	var a *agent.Agent
	var page *prometheus.Page
	start := func() {
		a = h.start(t)
		about.Start = h.now
		page = prometheus.NewPage(a.Snapshot, about)
	}
	start()
	var text, lines []byte
	for h.now.Before(end()) {
		if h.now.Equal(h.restartAt) {
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			start()
		}
		h.now = h.now.Add(tick)
		h.counts[0] += h.power(hourOf(h.now)).For(tick)
		h.counts[1] += h.memory.For(tick)
		s := a.Tick(t.Context())
		if s.Self.Imbalance != 0 || s.Self.ImbalanceCO2e != 0 {
			t.Fatalf("%v on %s: the books do not balance", h.now, h.name)
		}
		text = page.Append(text[:0], prometheus.OpenMetrics)
		lines = scrape(lines[:0], text, h.name, h.now)
		if _, err := out(h.now).Write(lines); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// scrape gives the samples of a page the labels and the time that Prometheus
// gives them, and cluster, and adds the samples that Prometheus makes itself.
func scrape(dst, page []byte, node string, at time.Time) []byte {
	target := fmt.Sprintf(`cluster="blue",job="noether",instance="%s"`, node)
	stamp := fmt.Sprintf(" %d\n", at.Unix())
	samples := 0
	for line := range bytes.Lines(page) {
		if line[0] == '#' {
			continue
		}
		samples++
		line = bytes.TrimSuffix(line, []byte("\n"))
		name, rest, ok := bytes.Cut(line, []byte("{"))
		if ok {
			dst = append(append(append(append(dst, name...), '{'), target...), ',')
			dst = append(dst, rest...)
		} else {
			name, rest, _ = bytes.Cut(line, []byte(" "))
			dst = fmt.Appendf(dst, "%s{%s} %s", name, target, rest)
		}
		dst = append(dst, stamp...)
	}
	for name, v := range map[string]any{"up": 1, "scrape_duration_seconds": 0.002, "scrape_samples_scraped": samples} {
		dst = fmt.Appendf(dst, "%s{%s,node=\"%s\"} %v%s", name, target, node, v, stamp)
	}
	return dst
}
