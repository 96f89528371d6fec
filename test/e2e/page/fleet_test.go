package page

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"noether/internal/export"
	"noether/internal/export/balance"
	"noether/internal/export/prometheus"
	"noether/internal/probe"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
	"noether/test/script"
)

// fleetStep is the tick of the simulated nodes, and the time between two scrapes.
const fleetStep = 5 * time.Minute

// fleetDays is how long they have lived.
const fleetDays = 8

// pod is one pod of the fleet, with its CPU time in each minute at noon.
type pod struct {
	namespace, kind, workload, name string
	cpu                             time.Duration
	from, until                     int // minutes of the day; both 0: all day
}

func shop() []pod {
	const s = time.Second
	return []pod{
		{"shop", "Deployment", "frontend", "frontend-6c8f7d5b9-x2v4k", 55 * s, 0, 0},
		{"shop", "Deployment", "frontend", "frontend-6c8f7d5b9-lq8zw", 50 * s, 0, 0},
		{"shop", "Deployment", "cart", "cart-7d9f6c4b8-mt5rp", 40 * s, 0, 0},
		{"shop", "Deployment", "checkout", "checkout-58b6d7f9c4-9wzjd", 30 * s, 0, 0},
		{"shop", "Deployment", "payments", "payments-84d5c7b6f-kk7sq", 12 * s, 0, 0},
		{"data", "StatefulSet", "postgres", "postgres-0", 75 * s, 0, 0},
		{"data", "StatefulSet", "kafka", "kafka-0", 60 * s, 0, 0},
		{"data", "StatefulSet", "redis", "redis-0", 15 * s, 0, 0},
		{"ml", "Deployment", "inference", "inference-5f7c9d8b6-tb2xn", 110 * s, 0, 0},
		{"ml", "CronJob", "train-ranking", "train-ranking-29400120-h6d2f", 300 * s, 60, 300},
		{"monitoring", "StatefulSet", "prometheus", "prometheus-0", 35 * s, 0, 0},
		{"monitoring", "Deployment", "grafana", "grafana-6b5f8c7d9-p4q8v", 4 * s, 0, 0},
		{"ci", "Job", "build", "build-4821-x7mzt", 200 * s, 540, 600},
		{"kube-system", "Deployment", "coredns", "coredns-76f75df574-5kq2m", 5 * s, 0, 0},
		{"kube-system", "DaemonSet", "cilium", "cilium-hx8vd", 14 * s, 0, 0},
	}
}

func web() []pod {
	const s = time.Second
	return []pod{
		{"shop", "Deployment", "frontend", "frontend-6c8f7d5b9-c7n2h", 45 * s, 0, 0},
		{"shop", "Deployment", "cart", "cart-7d9f6c4b8-bz9vl", 35 * s, 0, 0},
		{"shop", "Deployment", "search", "search-66d8f9b7c-rw5tj", 65 * s, 0, 0},
		{"data", "StatefulSet", "kafka", "kafka-1", 55 * s, 0, 0},
		{"ml", "Deployment", "inference", "inference-5f7c9d8b6-vq8mk", 95 * s, 0, 0},
		{"monitoring", "DaemonSet", "node-exporter", "node-exporter-d5s8w", 2 * s, 0, 0},
		{"kube-system", "DaemonSet", "cilium", "cilium-p2m6t", 12 * s, 0, 0},
	}
}

// hostile are pods whose names would run as a script, were they ever markup.
func hostile() []pod {
	const s = time.Second
	return []pod{
		{`<img src=x onerror=alert(1)>`, "Deployment", `"><script>alert(2)</script>`, `<svg onload=alert(3)>`, 60 * s, 0, 0},
		{`javascript:alert(4)`, `<b>Deployment</b>`, `'-alert(5)-'`, strings.Repeat(`<iframe srcdoc="<script>alert(6)</script>">`, 5), 30 * s, 0, 0},
		{`{{constructor.constructor('alert(7)')()}}`, "Job", `\";alert(8);//`, "line\nbreak & <details open ontoggle=alert(9)>", 20 * s, 0, 0},
		{`__proto__`, "Job", `constructor`, `=HYPERLINK("http://evil.example","x")`, 10 * s, 0, 0},
	}
}

// machineOf is a node with these pods, and what else a node has.
func machineOf(name string, first int, pods []pod, begin time.Time) *script.Host {
	at := map[string]*workload.PodFacts{}
	h := &script.Host{
		Name: name, CPUs: 16, Begin: begin, Tick: fleetStep, Memory: 22 * unit.Watt,
		// By day more than by night, and something of chance that is always the same.
		Power: func(now time.Time) unit.Power {
			hour := float64(now.Hour()) + float64(now.Minute())/60
			return unit.Power((95 + 45*math.Sin((hour-8)/24*2*math.Pi) + 6*math.Sin(float64(now.Unix()/300%977))) * float64(unit.Watt))
		},
		Verdicts: []probe.Verdict{{Name: "powercap", Status: probe.Works}, {Name: "model", Status: probe.Works}, {Name: "nvml", Status: probe.Absent}},
	}
	for i, p := range pods {
		n := first + i
		h.Runners = append(h.Runners, script.Runner{Path: script.PodPath(n), Comm: "main", CPU: p.cpu, From: p.from, Until: p.until})
		at[script.UID(n)] = script.Facts(n, p.namespace, p.name, p.kind, p.workload, workload.Reserved{CPU: 500, Memory: 1 << 29})
	}
	for path, cpu := range map[string]time.Duration{
		"/system.slice/kubelet.service": 18 * time.Second, "/system.slice/containerd.service": 9 * time.Second, "/system.slice/sshd.service": time.Second,
		"/user.slice/user-1000.slice/session-1.scope": 3 * time.Second, `/machine.slice/machine-qemu\x2d1\x2dlegacy.scope`: 30 * time.Second,
	} {
		h.Runners = append(h.Runners, script.Runner{Path: path, Comm: "service", CPU: cpu})
	}
	h.Runners = append(h.Runners, script.Runner{Path: "/", Comm: "kworker/0:1", CPU: 8 * time.Second, Kernel: true})
	names := &workload.Names{AsksPods: true, AsksContainers: true, Allocatable: workload.Reserved{CPU: 16000, Memory: 1 << 36}, Pods: at}
	h.Names = func(time.Time) *workload.Names { return names }
	h.Site = func(now time.Time) snapshot.Site {
		grams := func(at time.Time) unit.Intensity {
			hour := float64(at.UTC().Hour())
			return unit.IntensityOf(math.Round(330 - 150*math.Exp(-(hour-13)*(hour-13)/16) + 20*math.Sin(float64(at.YearDay()))))
		}
		s := snapshot.Site{
			Grid: snapshot.Grid{Zone: "DE", Known: true, Intensity: grams(now), Provider: "electricitymaps", Signal: "average", Factor: "lifecycle", Updated: now.Truncate(time.Hour)},
			PUE:  unit.RatioOf(1.3), PUEFrom: "fixed", Price: unit.PriceOf(0.28), Priced: true, Currency: "EUR",
			Hardware: snapshot.Hardware{CPU: 300 * unit.Kilogram, Memory: 200 * unit.Kilogram, Rest: 500 * unit.Kilogram, Lifetime: 1500 * 24 * time.Hour, Source: "components", Estimated: true},
			Sources:  []snapshot.SourceStatus{{Source: "electricitymaps", Zone: "DE", Up: true, Requests: 1, Success: now.Truncate(time.Hour)}},
		}
		for i := 1; i <= 24; i++ {
			s.Grid.Forecast = append(s.Grid.Forecast, snapshot.Forecast{Horizon: time.Duration(i) * time.Hour, Intensity: grams(now.Add(time.Duration(i) * time.Hour))})
		}
		return s
	}
	return h
}

// block lets a host live until end, and makes one block of all that a scrape
// would see of it, for a Prometheus that has dir for its data. More are lines of
// another target at each time, as text, and may be nil.
func block(t testing.TB, dir string, h *script.Host, end time.Time, more func(at time.Time) string) (samples int) {
	t.Helper()
	own := t.TempDir()
	o := tsdb.DefaultOptions()
	o.RetentionDuration = 0
	db, err := tsdb.Open(own, nil, nil, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.DisableCompactions() // there is one, at the end
	type series struct {
		labels labels.Labels
		ref    storage.SeriesRef
	}
	known := map[string]*series{}
	var newest *snapshot.Snapshot
	var page *prometheus.Page
	var text []byte
	h.Live(t, end, func(snap *snapshot.Snapshot, about *export.About) {
		if newest = snap; page == nil {
			page = prometheus.NewPage(func() *snapshot.Snapshot { return newest }, *about)
		}
		text = page.Append(text[:0], prometheus.Text)
		if more != nil {
			text = append(text, more(snap.Time)...)
		}
		app := db.Appender(t.Context())
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSuffix(line, "\n"); line[0] == '#' {
				continue
			}
			i := strings.LastIndexByte(line, ' ')
			value, err := strconv.ParseFloat(line[i+1:], 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			s := known[line[:i]]
			if s == nil {
				parsed, err := balance.Parse(line)
				if err != nil {
					t.Fatal(err)
				}
				of := labels.NewBuilder(labels.FromMap(parsed.Labels))
				s = &series{labels: of.Set(labels.MetricName, parsed.Name).Set("job", "noether").Set("instance", h.Name+":9877").Labels()}
				known[line[:i]] = s
			}
			if s.ref, err = app.Append(s.ref, s.labels, snap.Time.UnixMilli(), value); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			samples++
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	})
	if err := db.CompactHead(tsdb.NewRangeHead(db.Head(), db.Head().MinTime(), db.Head().MaxTime())); err != nil {
		t.Fatal(err)
	}
	blocks := db.Blocks()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		if err := os.Rename(b.Dir(), filepath.Join(dir, filepath.Base(b.Dir()))); err != nil {
			t.Fatal(err)
		}
	}
	return samples
}

// fleet is eight days of two nodes of a cluster, made once, that ended a
// moment ago: pages of now and of any time before have something to show.
type fleet struct {
	data string
	end  time.Time
}

// made holds the fleet between tests.
var made struct {
	sync.Mutex
	*fleet
}

func theFleet(t *testing.T) *fleet {
	t.Helper()
	made.Lock()
	defer made.Unlock()
	if made.fleet != nil {
		return made.fleet
	}
	f := &fleet{data: filepath.Join(scratch, "fleet"), end: time.Now().Truncate(fleetStep)}
	began := time.Now()
	begin := f.end.AddDate(0, 0, -fleetDays)
	beyond := f.end.Add(time.Hour) // now has figures too, as long as the tests run
	n := block(t, f.data, machineOf("worker-1", 1, shop(), begin), beyond, nil)
	n += block(t, f.data, machineOf("worker-2", 101, web(), begin), beyond, nil)
	made.fleet = f
	t.Logf("%d samples of %d days in %v", n, fleetDays, time.Since(began).Round(100*time.Millisecond))
	return f
}

// at is the address of a view of the fleet's last part, with an end that stays.
func (f *fleet) at(view, span string, more ...string) string {
	return fmt.Sprintf("#/%s?range=%s&end=%s&refresh=0%s", view, span, f.end.UTC().Format(time.RFC3339), strings.Join(append([]string{""}, more...), "&"))
}
