package dashboards

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"noether/internal/export"
	"noether/internal/export/prometheus"
	"noether/internal/probe"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
	"noether/test/script"
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

// GiB is 2^30 bytes.
const GiB = 1 << 30

// nightly runs from 02:00 to 02:30 of every day, as a new pod.
const nightlyFrom, nightlyUntil = 120, 150

// hostA is in Germany: 60 W at midnight and 5 W more each hour, 12 W of memory
// by a model, 4 processors of which half are at work.
func hostA() *script.Host {
	h := &script.Host{
		Name: "a", CPUs: 4, Begin: begin(), Tick: tick, Memory: 12 * unit.Watt,
		Power: func(now time.Time) unit.Power { return unit.Power(60+5*hourOf(now)) * unit.Watt },
		Runners: []script.Runner{
			{Path: script.PodPath(1), Comm: "cart", CPU: 24 * time.Second},
			{Path: script.PodPath(2), Comm: "cart", CPU: 12 * time.Second},
			{Path: script.PodPath(3), Comm: "front", CPU: 18 * time.Second},
			{Path: script.PodPath(4), Comm: "cni", CPU: 6 * time.Second},
			{Path: "/system.slice/kubelet.service", Comm: "kubelet", CPU: 12 * time.Second},
			{Path: "/system.slice/docker-" + script.ID(5) + ".scope", Comm: "registry", CPU: 12 * time.Second},
			{Path: `/machine.slice/machine-qemu\x2d1\x2dlegacy.scope`, Comm: "qemu-system-x86", CPU: 24 * time.Second},
			{Path: "/user.slice/user-1000.slice/session-1.scope", Comm: "bash", CPU: 6 * time.Second},
			{Path: "/", Comm: "kworker/0:1", CPU: 6 * time.Second, Kernel: true},
			{Path: script.PodPath(9), Comm: "nightly", CPU: 24 * time.Second, From: nightlyFrom, Until: nightlyUntil},
		},
		RestartAt: begin().AddDate(0, 0, lastDay).Add(12*time.Hour + 30*time.Minute),
		Verdicts: []probe.Verdict{
			{Name: "powercap", Status: probe.Works},
			{Name: "model", Status: probe.Works},
			{Name: "msr", Status: probe.Forbidden, Reason: "no right"},
			{Name: "nvml", Status: probe.Absent},
		},
	}
	names := func(more ...*workload.PodFacts) *workload.Names {
		n := &workload.Names{
			AsksPods: true, AsksContainers: true, Allocatable: workload.Reserved{CPU: 4000, Memory: 16 * GiB},
			Containers: map[string]string{script.ID(5): "registry"}, Pods: map[string]*workload.PodFacts{},
		}
		for _, f := range append(more,
			script.Facts(1, "shop", "cart-7d9f-0", "Deployment", "cart", workload.Reserved{CPU: 500, Memory: GiB}),
			script.Facts(2, "shop", "cart-7d9f-1", "Deployment", "cart", workload.Reserved{CPU: 500, Memory: GiB}),
			script.Facts(3, "web", "front-0", "StatefulSet", "front", workload.Reserved{CPU: 1000, Memory: 2 * GiB}),
			script.Facts(4, "kube-system", "cni-x", "DaemonSet", "cni", workload.Reserved{})) {
			n.Pods[f.UID] = f
		}
		return n
	}
	daily, withNightly := names(), names(script.Facts(9, "shop", "nightly-1", "CronJob", "nightly", workload.Reserved{}))
	h.Names = func(now time.Time) *workload.Names {
		if m := minuteOf(now); m >= nightlyFrom && m <= nightlyUntil {
			return withNightly
		}
		return daily
	}
	h.Site = func(now time.Time) snapshot.Site {
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
func hostB() *script.Host {
	names := &workload.Names{
		AsksPods: true, Allocatable: workload.Reserved{CPU: 2000, Memory: 8 * GiB},
		Pods: map[string]*workload.PodFacts{script.UID(21): script.Facts(21, "shop", "cart-7d9f-2", "Deployment", "cart", workload.Reserved{CPU: 500, Memory: GiB})},
	}
	return &script.Host{
		Name: "b", CPUs: 2, Begin: begin(), Tick: tick,
		Power:    func(time.Time) unit.Power { return 50 * unit.Watt },
		Runners:  []script.Runner{{Path: script.PodPath(21), Comm: "cart", CPU: 12 * time.Second}},
		Names:    func(time.Time) *workload.Names { return names },
		Verdicts: []probe.Verdict{{Name: "powercap", Status: probe.Works}},
		Site: func(now time.Time) snapshot.Site {
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

// live lets the eight days of a host pass, and writes what a Prometheus scrapes
// after each tick to the writer of its time.
func live(t *testing.T, h *script.Host, out func(time.Time) io.Writer) {
	t.Helper()
	var newest *snapshot.Snapshot
	var page *prometheus.Page
	var since time.Time
	var text, lines []byte
	h.Live(t, end(), func(s *snapshot.Snapshot, of *export.About) {
		newest = s
		if page == nil || !of.Start.Equal(since) {
			since, page = of.Start, prometheus.NewPage(func() *snapshot.Snapshot { return newest }, *of)
		}
		text = page.Append(text[:0], prometheus.OpenMetrics)
		lines = scrape(lines[:0], text, h.Name, s.Time)
		if _, err := out(s.Time).Write(lines); err != nil {
			t.Fatal(err)
		}
	})
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
