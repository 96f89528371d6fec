package export_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"noether/internal/energy"
	"noether/internal/export"
	"noether/internal/export/exporttest"
	"noether/internal/probe"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// sink keeps what a walk emits, as name{labels} -> value.
type sink map[string]int64

func (s sink) Sample(f *export.Family, labels []export.Label, v export.Value) {
	var b strings.Builder
	b.WriteString(strings.TrimPrefix(f.Name, "noether_"))
	for _, l := range labels {
		value := l.Value
		if l.Form == export.Number {
			value = strconv.FormatUint(l.Number, 10)
		}
		fmt.Fprintf(&b, " %s=%s", l.Name, value)
	}
	if _, twice := s[b.String()]; twice {
		panic("series twice: " + b.String())
	}
	s[b.String()] = v.N
}

func walk(s *snapshot.Snapshot) sink {
	got := sink{}
	export.NewTable(exporttest.About()).Walk(s, got)
	return got
}

// with returns the figures whose names start with prefix.
func (s sink) with(prefix string) map[string]int64 {
	part := map[string]int64{}
	for name, v := range s {
		if strings.HasPrefix(name, prefix) {
			part[name] = v
		}
	}
	return part
}

func minimal(change func(*snapshot.Snapshot)) *snapshot.Snapshot {
	s := &snapshot.Snapshot{Seq: 1, Elapsed: 1e9, Nodes: []snapshot.Node{{Component: energy.CPU, Present: true}}}
	if change != nil {
		change(s)
	}
	return s
}

func TestAComponentWithoutADatumHasNoGaugeButKeepsItsCounter(t *testing.T) {
	s := exporttest.Snapshot()
	s.Nodes[0].Present = false // cpu
	got := walk(s)
	for name := range got {
		if strings.Contains(name, "component=cpu") && strings.Contains(name, "_watts") && !strings.Contains(name, "error") {
			t.Errorf("%s, without a datum in this tick", name)
		}
	}
	before := walk(exporttest.Snapshot())
	for name, v := range before {
		if strings.Contains(name, "joules") && got[name] != v {
			t.Errorf("%s: %d, then %d", name, v, got[name])
		}
	}
}

func TestNothingIsExportedForComponentsTheMachineNeverHad(t *testing.T) {
	for name := range walk(exporttest.Snapshot()) {
		if strings.Contains(name, "component=gpu") || strings.Contains(name, "component=other") {
			t.Errorf("%s: not measured, yet there", name)
		}
	}
}

func TestAnOwnerThatHasEndedHasNoGauge(t *testing.T) {
	got := walk(exporttest.Snapshot())
	for _, prefix := range []string{"unit_watts node=node-1 unit=ended.service", "process_watts node=node-1 pid=4242"} {
		if left := got.with(prefix); len(left) > 0 {
			t.Errorf("%v", left)
		}
	}
	if left := got.with("unit_joules_total node=node-1 unit=ended.service component=cpu"); len(left) != 1 {
		t.Errorf("the counter of an ended unit: %v", left)
	}
}

func TestTheIdlePartOfAnOwnerIsThereWhenIdleIsShared(t *testing.T) {
	unit := func(change func(*snapshot.Snapshot)) map[string]int64 {
		return walk(minimal(func(s *snapshot.Snapshot) {
			s.Units = []snapshot.Account{{Owner: &workload.Owner{Kind: workload.UnitOwner, Unit: "u"}}}
			s.Nodes[0].Total[energy.Dynamic] = 1
			change(s)
		})).with("unit_joules")
	}
	const dynamic, idle = "unit_joules_total unit=u component=cpu part=dynamic", "unit_joules_total unit=u component=cpu part=idle"
	for name, tt := range map[string]struct {
		change func(*snapshot.Snapshot)
		want   map[string]int64
	}{
		"not shared":             {func(*snapshot.Snapshot) {}, map[string]int64{dynamic: 0}},
		"shared":                 {func(s *snapshot.Snapshot) { s.SharesIdle = true }, map[string]int64{dynamic: 0, idle: 0}},
		"was shared once":        {func(s *snapshot.Snapshot) { s.Units[0].Total[energy.CPU][energy.Idle] = 5 }, map[string]int64{dynamic: 0, idle: 5}},
		"never dynamic":          {func(s *snapshot.Snapshot) { s.Nodes[0].Total[energy.Dynamic] = 0 }, map[string]int64{}},
		"component unknown, yet": {func(s *snapshot.Snapshot) { s.Nodes = nil }, map[string]int64{}},
	} {
		if diff := cmp.Diff(tt.want, unit(tt.change)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSystemAccountsHaveThePartTheyAreAbout(t *testing.T) {
	got := walk(minimal(func(s *snapshot.Snapshot) { s.System[workload.IdleAccount].Total[energy.CPU][energy.Dynamic] = 3 })).with("system_joules")
	want := map[string]int64{
		"system_joules_total account=idle component=cpu part=idle":            0,
		"system_joules_total account=idle component=cpu part=dynamic":         3,
		"system_joules_total account=kernel component=cpu part=dynamic":       0,
		"system_joules_total account=exited component=cpu part=dynamic":       0,
		"system_joules_total account=unattributed component=cpu part=dynamic": 0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = walk(minimal(func(s *snapshot.Snapshot) { s.SharesIdle = true })).with("system_joules_total account=unreserved")
	if diff := cmp.Diff(map[string]int64{"system_joules_total account=unreserved component=cpu part=idle": 0}, got); diff != "" {
		t.Error(diff)
	}
}

// A new row stands at 0 until every scraper has seen it there.
func TestFreshViewsStandAtZero(t *testing.T) {
	got := walk(minimal(func(s *snapshot.Snapshot) {
		var used snapshot.Ledger
		used[energy.CPU][energy.Dynamic] = 7
		foot := snapshot.Footprint{CO2e: [snapshot.Phases]unit.Mass{8, 9}, Cost: 10, Credit: 11}
		s.Site = &snapshot.Site{Grid: snapshot.Grid{Zone: "DE"}, Currency: "EUR", Hardware: snapshot.Hardware{Lifetime: 1}}
		s.Workloads = []snapshot.View{
			{Namespace: "a", WorkloadKind: "Job", Workload: "new", Total: used, Footprint: foot, Fresh: true},
			{Namespace: "a", WorkloadKind: "Job", Workload: "old", Total: used, Footprint: foot},
		}
	})).with("workload_")
	want := map[string]int64{
		"workload_joules_total namespace=a workload_kind=Job workload=new component=cpu part=dynamic": 0,
		"workload_joules_total namespace=a workload_kind=Job workload=old component=cpu part=dynamic": 7,

		"workload_co2e_grams_total namespace=a workload_kind=Job workload=new phase=operational": 0,
		"workload_co2e_grams_total namespace=a workload_kind=Job workload=new phase=embodied":    0,
		"workload_energy_cost_total namespace=a workload_kind=Job workload=new currency=EUR":     0,
		"workload_energy_credit_total namespace=a workload_kind=Job workload=new currency=EUR":   0,
		"workload_co2e_grams_total namespace=a workload_kind=Job workload=old phase=operational": 8,
		"workload_co2e_grams_total namespace=a workload_kind=Job workload=old phase=embodied":    9,
		"workload_energy_cost_total namespace=a workload_kind=Job workload=old currency=EUR":     10,
		"workload_energy_credit_total namespace=a workload_kind=Job workload=old currency=EUR":   11,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Nobody who did not ask for carbon sees a word of it.
func TestWithoutASiteThereIsNoCarbon(t *testing.T) {
	s := exporttest.Snapshot()
	s.Site = nil
	for name := range walk(s) {
		for _, word := range []string{"co2e", "grams", "grid", "pue", "price", "cost", "credit", "facility", "embodied", "site_source"} {
			if strings.Contains(name, word) {
				t.Errorf("%s is there", name)
			}
		}
	}
}

func TestWhatIsUnknownOfASiteIsAbsent(t *testing.T) {
	s := exporttest.Snapshot()
	s.Site = &snapshot.Site{Sources: []snapshot.SourceStatus{{Source: "file", Zone: "DE"}, {Source: "file", Zone: "DE", Up: true}}}
	s.Footprint = snapshot.Footprint{}
	var got []string
	for name := range walk(s) {
		for _, word := range []string{"co2e", "grid", "pue", "price", "cost", "credit", "embodied", "site_source"} {
			if strings.Contains(name, word) {
				got = append(got, name)
				break
			}
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{
		`imbalance_co2e_grams node=node-1`,
		`node_co2e_unknown_joules_total node=node-1`,
		`pue_ratio node=node-1`,
		`site_source_failures_total node=node-1 source=file grid_zone=DE`,
		`site_source_requests_total node=node-1 source=file grid_zone=DE`,
		`site_source_up node=node-1 source=file grid_zone=DE`,
	}, got); diff != "" {
		t.Error(diff)
	}

	// A zone without an intensity yet counts from 0, so that the first grams are an increase.
	s.Site = &snapshot.Site{Grid: snapshot.Grid{Zone: "DE"}, Currency: "EUR"}
	all := walk(s)
	for _, name := range []string{`node_co2e_grams_total node=node-1 phase=operational`, `node_energy_cost_total node=node-1 currency=EUR`} {
		if _, ok := all[name]; !ok {
			t.Errorf("%s is not there", name)
		}
	}
	if len(all.with("grid_")) > 0 || len(all.with("energy_price")) > 0 {
		t.Error("what nobody knows has figures")
	}
}

func TestPowerWithPUE(t *testing.T) {
	got := walk(minimal(func(s *snapshot.Snapshot) {
		s.Site = &snapshot.Site{PUE: unit.RatioOf(1.5)}
		s.Nodes[0].Delta = [energy.Parts]unit.Energy{energy.Dynamic: 2 * unit.Joule, energy.Idle: 4 * unit.Joule}
	})).with("node_facility_watts")
	want := map[string]int64{"node_facility_watts component=cpu part=dynamic": 3_000_000, "node_facility_watts component=cpu part=idle": 6_000_000}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What has no name lacks the label: an empty one, or any other, would be the agent's own.
func TestOwnersWithoutNamesLackTheLabels(t *testing.T) {
	owners := regexp.MustCompile(`^noether_(node|pod|container|vm|unit|session|system|retired|process|zone|component)_`)
	s := exporttest.Snapshot()
	s.Pods, s.Namespaces, s.Workloads = s.Pods[:1], nil, nil // the one that nobody has named
	s.Containers = s.Containers[1:]                          // outside pods
	export.NewTable(exporttest.About()).Walk(s, check(func(f *export.Family, labels []export.Label) {
		for _, l := range labels {
			switch l.Name {
			case "namespace", "pod", "workload_kind", "workload", "label_app_kubernetes_io_name":
				t.Errorf("%s has %s=%q", f.Name, l.Name, l.Value)
			case "pod_uid":
				if owners.MatchString(f.Name) && !strings.HasPrefix(f.Name, "noether_pod_") {
					t.Errorf("%s has %s=%q", f.Name, l.Name, l.Value)
				}
			}
		}
	}))
}

func TestNamesOfPodsAreAskedForOrAbsent(t *testing.T) {
	if left := walk(minimal(nil)).with("unnamed_pods"); len(left) > 0 {
		t.Errorf("%v", left)
	}
	got := walk(minimal(func(s *snapshot.Snapshot) {
		s.NamesPods, s.Names = true, []workload.NamesStatus{{Source: "kubelet"}}
	}))
	for _, name := range []string{"unnamed_pods", "names_up source=kubelet", "names_known source=kubelet"} {
		if v, ok := got[name]; !ok || v != 0 {
			t.Errorf("%s: %d, %t", name, v, ok)
		}
	}
	if left := got.with("names_last_sync"); len(left) > 0 {
		t.Errorf("never complete, yet %v", left)
	}
}

func TestProcessesThatCannotBeSeenAreAbsent(t *testing.T) {
	s := exporttest.Snapshot()
	s.HasProcesses = false
	if left := walk(s).with("process_"); len(left) > 0 {
		t.Errorf("%v", left)
	}
}

func TestProcessesHaveNoSeriesOfAComponentThatIsAllIdle(t *testing.T) {
	s := minimal(func(s *snapshot.Snapshot) {
		s.Nodes[0].Total = [energy.Parts]unit.Energy{energy.Dynamic: 5, energy.Idle: 5}
		s.Nodes = append(s.Nodes, snapshot.Node{Component: energy.Memory, Present: true, Total: [energy.Parts]unit.Energy{energy.Idle: 5}})
		s.HasProcesses = true
		s.Processes = []snapshot.Process{{Name: &snapshot.ProcessName{PID: 7, Comm: "c"}}}
	})
	want := map[string]int64{"process_joules_total pid=7 comm=c component=cpu": 0, "process_watts pid=7 comm=c component=cpu": 0}
	if diff := cmp.Diff(want, walk(s).with("process_")); diff != "" {
		t.Error(diff)
	}
}

func TestAMeterThatWasNeverReadIsNotZero(t *testing.T) {
	if left := walk(exporttest.Snapshot()).with("zone_joules_total node=node-1 zone=uncore"); len(left) > 0 {
		t.Errorf("%v", left)
	}
}

// A sensor that was opened before it could be asked is told by its zones.
func TestASensorThatWasNotAskedYetIsToldByItsZones(t *testing.T) {
	s := minimal(func(s *snapshot.Snapshot) {
		s.Sensors = []probe.Verdict{{Name: "redfish", Status: probe.Unknown}, {Name: "msr", Status: probe.Unknown}}
		s.Zones = []snapshot.Zone{{Zone: energy.Zone{Sensor: "redfish", Name: "platform", Domain: energy.Platform, Socket: -1, Die: -1}, Status: probe.Works}}
	})
	want := map[string]int64{
		"sensor_status sensor=msr status=cannot tell":             1,
		"sensor_status sensor=redfish zone=platform status=works": 1,
	}
	if diff := cmp.Diff(want, walk(s).with("sensor_status")); diff != "" {
		t.Error(diff)
	}
}

func TestZonesWithTheSameNameStayApart(t *testing.T) {
	z := func(sensor, name string, d energy.Domain, socket, die int) snapshot.Zone {
		return snapshot.Zone{Zone: energy.Zone{Sensor: sensor, Name: name, Domain: d, Socket: socket, Die: die}}
	}
	got := export.ZoneNames([]snapshot.Zone{
		z("powercap", "package-0-die-0", energy.Package, 0, 0),
		z("powercap", "package-0-die-1", energy.Package, 0, 1),
		z("powercap", "dram", energy.DRAM, 0, 0),
		z("powercap", "dram", energy.DRAM, 0, 1),
		z("powercap", "dram", energy.DRAM, 1, -1),
		z("powercap", "package-0", energy.MMIOPackage, 0, -1),
		z("powercap", "psys", energy.Psys, -1, -1),
		z("powercap", "psys", energy.Psys, -1, -1),
		z("msr", "psys", energy.Psys, -1, -1),
		z("model", "", energy.ModelCPU, -1, -1),
	})
	want := []string{"package-0-die-0", "package-0-die-1", "dram-die-0", "dram-die-1", "dram", "mmio-package-0", "psys", "psys#2", "psys", "model-cpu"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestZonesThatChangeAreNamedAgain(t *testing.T) {
	table := export.NewTable(exporttest.About())
	s := exporttest.Snapshot()
	table.Walk(s, sink{})
	s.Zones = append(s.Zones[:1], s.Zones[2:]...)
	s.Zones[1].Name = "fresh"
	got := sink{}
	table.Walk(s, got)
	if len(got.with("zone_joules_total node=node-1 zone=fresh")) != 1 {
		t.Errorf("%v", got.with("zone_joules"))
	}
}

func TestClean(t *testing.T) {
	long := strings.Repeat("é", 300)
	for name, tt := range map[string]struct {
		in, want string
		form     export.Form
	}{
		"plain":                     {"nginx.service", "nginx.service", export.Plain},
		"a quote":                   {`a") R 1` + "\n", `a") R 1` + "\n", export.Text},
		"an escaped unit":           {`dev-by\x2d`, `dev-by\x2d`, export.Text},
		"French":                    {"énergie", "énergie", export.Text},
		"a letter cut by kernel":    {"énergie-mesur\xc3", `énergie-mesur\xc3`, export.Text},
		"other bytes":               {"\xff\xfeab", `\xff\xfeab`, export.Text},
		"a terminal sequence":       {"\x1b[2Jx", `\x1b[2Jx`, export.Text},
		"a C1 control":              {"a\u009bb", `a\xc2\x9bb`, export.Text},
		"the replacement character": {"\ufffd", "\ufffd", export.Text},
		"an encoded surrogate":      {"\xed\xa0\x80", `\xed\xa0\x80`, export.Text},
	} {
		if got, form := export.Clean(tt.in); got != tt.want || form != tt.form {
			t.Errorf("%s: %q form %d, want %q form %d", name, got, form, tt.want, tt.form)
		}
	}
	a, _ := export.Clean(long + "a")
	b, _ := export.Clean(long + "b")
	if a == b || len(a) > export.MaxLabel || !utf8.ValidString(a) || !strings.HasPrefix(a, "éééé") {
		t.Errorf("shortened to %q and %q", a, b)
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "a\xff", "\x00\n", strings.Repeat("é", 300), strings.Repeat("\xff", 512)} {
		f.Add(s)
	}
	for _, c := range "!~\x7f\x1f\"\\ \u0080" { // beside each other in one word
		f.Add("aaa" + string(c) + "  !~" + string(c) + "zzzzzzzzzzzzzzzz")
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, form := export.Clean(s)
		if !utf8.ValidString(got) || len(got) > export.MaxLabel || (s != "") != (got != "") {
			t.Errorf("%q became %q", s, got)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
			t.Errorf("%q has a control character", got)
		}
		plain := !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
		if plain && len(s) <= export.MaxLabel && form != export.Plain {
			t.Errorf("%q is plain", s)
		}
		if form == export.Plain && strings.ContainsAny(got, "\"\\\n") {
			t.Errorf("%q is not plain", got)
		}
		if again, _ := export.Clean(got); again != got {
			t.Errorf("%q became %q, then %q", s, got, again)
		}
	})
}

func TestFamiliesFollowTheRules(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range export.NewTable(export.About{}).Families() {
		if !regexp.MustCompile(`^noether_[a-z0-9_]+$`).MatchString(f.Name) || seen[f.Name] {
			t.Errorf("%s: bad name, or there twice", f.Name)
		}
		seen[f.Name] = true
		base := strings.TrimSuffix(f.Name, "_total")
		if (f.Type == export.Counter) != (base != f.Name) || (f.Type == export.Info) != strings.HasSuffix(f.Name, "_info") {
			t.Errorf("%s: the suffix does not fit type %s", f.Name, f.Type)
		}
		if f.Unit != "" && !strings.HasSuffix(base, "_"+f.Unit) {
			t.Errorf("%s: does not end in its unit %s", f.Name, f.Unit)
		}
		if !strings.HasSuffix(f.Help, ".") || strings.Contains(f.Help, "\n") {
			t.Errorf("%s: help %q is not one sentence", f.Name, f.Help)
		}
	}
}

// TestLabelsAreDeclared holds that the table's labels are those that are emitted, in that order.
func TestLabelsAreDeclared(t *testing.T) {
	export.NewTable(exporttest.About()).Walk(exporttest.Snapshot(), check(func(f *export.Family, labels []export.Label) {
		at := 0
		for i, l := range labels {
			if i == 0 && l.Name == "node" {
				continue
			}
			for at < len(f.Labels) && f.Labels[at] != l.Name {
				at++
			}
			if at == len(f.Labels) {
				t.Fatalf("%s: label %s is not declared, or out of order: %v", f.Name, l.Name, f.Labels)
			}
		}
	}))
}

type check func(*export.Family, []export.Label)

func (c check) Sample(f *export.Family, labels []export.Label, _ export.Value) { c(f, labels) }

func TestDocsAreTheTable(t *testing.T) {
	var b strings.Builder
	b.WriteString(docsHead)
	for _, f := range export.NewTable(export.About{}).Families() {
		kind := f.Type.String()
		if f.Type == export.Info {
			kind = "info (a gauge, always 1)"
		}
		labels := "–"
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "` `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, kind, labels, f.Help)
	}
	b.WriteString(docsTail)
	file := filepath.Join("..", "..", "docs", "metrics.md")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("%s is not the table (go test ./internal/export -update writes it):\n%s", file, diff)
	}
}

const docsHead = `# Metrics

*This page is generated from the table in ` + "`internal/export`" + `; a test keeps them the same.*

` + "`/metrics`" + ` serves the Prometheus text format 0.0.4, and OpenMetrics 1.0.0 to those who ask for it, both compressed on request.
A scrape shows the last completed tick: it starts no measurement, and any number of scrapers costs one rendering a tick.

- Counters are in joules, exact to the microjoule, and in grams of CO2e, exact to the nanogram, and start at 0 when the agent starts. Gauges in watts are means over the last tick.
- Every family carries ` + "`node`" + ` when the agent has a node name. A label that has no value is left out, which Prometheus treats alike.
- What was not measured is absent, never 0: a component without a datum in a tick has no gauge, and its counters stand still. An owner that has ended has no gauge; its counters stay for a while. Owners have no series of a component whose energy has all been idle so far, such as memory by the model.
- ` + "`component`" + ` is cpu, memory, gpu or other; components do not overlap. ` + "`part`" + ` is dynamic (caused by work) or idle. ` + "`quality`" + ` is measured, propagated or estimated.
- Label values are valid UTF-8 without control characters other than newline and at most 512 bytes. Other bytes stand there as ` + "`\\xNN`" + `; a longer value ends in ` + "`~`" + ` and a hash.

| family | type | labels | meaning |
|---|---|---|---|
`

const docsTail = `
## The books balance

On every page and for every component, to the microjoule:

` + "```" + `
  Σ noether_node_joules_total
= Σ noether_pod_joules_total
+ Σ noether_container_joules_total without pod_uid
+ Σ noether_vm_joules_total
+ Σ noether_unit_joules_total
+ Σ noether_session_joules_total
+ Σ noether_system_joules_total
+ Σ noether_retired_joules
` + "```" + `

So do grams: for each phase the same sum holds for ` + "`noether_…_co2e_grams_total`" + ` and ` + "`noether_retired_co2e_grams`" + `, to the nanogram.

Containers with a ` + "`pod_uid`" + ` are inside their pod, processes inside whatever they run in, zones are raw meters, and namespaces and workloads are views of pods: none of them is added.
Owners that ended leave the page after a while. Their totals then move to ` + "`noether_retired_joules`" + `, a gauge, so that ` + "`increase()`" + ` never counts them twice.

## Names of pods and containers

Energy is booked by what the path of a cgroup says: the uid of a pod, the id of a container. Names are added to that when a source of names
(` + "`--kube-source`" + `, ` + "`--container-names`" + `) tells them; without one the labels ` + "`namespace`" + `, ` + "`pod`" + `, ` + "`workload_kind`" + `, ` + "`workload`" + ` and ` + "`container`" + ` are absent.

- A new pod, or a new container outside pods, waits up to two ticks for its name where somebody is asked. It has no series meanwhile; its energy stands in ` + "`noether_retired_joules`" + `, so every page balances.
- Without a name by then it appears by ` + "`pod_uid`" + ` or ` + "`container_id`" + ` alone. ` + "`noether_unnamed_pods`" + ` counts such pods. When the name comes, the same counter goes on under the new labels and the series without them ends: there are never two for one pod.
- A name once told stays until the pod is gone, also while the API is away and after it has deleted the pod.
- ` + "`pod_uid`" + ` is the API's. Before its name is known, a static pod stands under the hash in its cgroup's path. If an API gives one uid to two pods, the second keeps that of its path.
- A pod's series has all of the pod: its containers, init containers and sandbox (pause), and what ran in its own cgroup. A container inside a pod has a series of its own once it is named; the sandbox never is. Where nothing is known about a pod, all its containers are listed by id.
- A pod that is made again under its old name has another ` + "`pod_uid`" + ` and so a series of its own.
- Labels and annotations chosen by ` + "`--kube-pod-labels`" + ` stand on the families of pods and containers as ` + "`label_…`" + ` and ` + "`annotation_…`" + `, written as kube-state-metrics writes them: ` + "`app.kubernetes.io/name`" + ` is ` + "`label_app_kubernetes_io_name`" + `.

Idle energy is divided by requests as soon as the source tells what pods can reserve on this machine: a pod gets idle × request ÷ the larger of what can be reserved and all requests,
from when it is bound to the machine until it has ended, whether it runs or sleeps. What nobody requested is the system account ` + "`unreserved`" + `; ` + "`idle`" + ` then stands still.

## Totals of namespaces and workloads

` + "`increase()`" + ` compares samples of one series, so it never sees what the first sample of a series already holds. A Job pod that ran for 20 s between two scrapes would count as nothing, and so would the last seconds of every pod.
The agent therefore adds pods up itself: ` + "`noether_namespace_joules_total`" + ` and ` + "`noether_workload_joules_total`" + ` hold what every named pod has used since the agent started, also when the pod is long gone, and never fall.

- What a pod used before its name was known is added when the name comes. What never got a name is in neither.
- A namespace or workload that is new while the agent runs, or gets its first name later than 10 seconds after the start, stands at 0 for its first minute and then takes up what it used, so that ` + "`increase()`" + ` sees all of it, if it is scraped at least once a minute.
- A workload that comes back goes on where it stopped. Of the workloads without a pod, those that ended last stay, up to 2,000.

## CO2e and cost

Where a grid zone, a PUE, a price or the hardware is known, the agent turns each tick's energy into grams and money as it books it, with what was valid in that tick. So CO2e of a week is one query of one counter,
` + "`increase(noether_namespace_co2e_grams_total[7d])`" + `, and not a product of two averages. Without a site (no zone is known, and no PUE, price or figure of the hardware was set), none of these families is there. From nothing to grams of a pod: [co2e.md](co2e.md).

- ` + "`phase=\"operational\"`" + ` is energy × PUE × carbon intensity of the grid. The PUE is in grams, in cost and in ` + "`noether_…_facility_watts`" + `, never in joules or watts. What the tick emitted is divided among accounts as its energy was, system accounts included.
- ` + "`phase=\"embodied\"`" + ` is ` + "`noether_node_embodied_grams`" + ` spread evenly over ` + "`noether_node_embodied_lifetime_seconds`" + `, as long as the agent runs, whether the machine works or idles. The part of the CPU is shared by CPU requests, that of the memory by memory requests, that of GPUs by requested devices, and the rest half by CPU, half by memory. Requests above what can be reserved share all of it.
  What requested nothing of a part (and everything, where requests are unknown) pays for the CPU time it used, out of what is unreserved; ` + "`noether_pod_embodied_estimated`" + ` is 1 for such pods. What is left is the system account ` + "`unreserved`" + `, or ` + "`idle`" + ` where requests are unknown.
- Energy of ticks in which nobody knew the intensity is in no figure of grams: ` + "`noether_node_co2e_unknown_joules_total`" + ` counts it.
- Counters never go back. When a provider corrects the last 48 hours, ` + "`noether_node_co2e_revision_grams`" + ` says by how much the machine's operational counter would be other; what is older stays as it was told last.
- ` + "`noether_grid_carbon_intensity_grams_per_kwh`" + ` says who told the intensity and whether it is an estimate. When that changes, its series ends and another begins: aggregate it, ` + "`max without (provider, estimated) (…)`" + `. ` + "`noether_site_source_up`" + ` says how each source is doing.
- A negative price is no negative cost: it counts in ` + "`noether_…_energy_credit_total`" + `, so that neither counter falls.
- ` + "`noether_namespace_…`" + ` and ` + "`noether_workload_…`" + ` of grams and money behave as those of joules, see above.

## Queries

Set ` + "`honor_labels: true`" + ` (` + "`honorLabels`" + ` in a monitor): ` + "`namespace`" + `, ` + "`pod`" + ` and ` + "`container`" + ` are those of the measured pod, not of the agent.
Where a series has no such label Prometheus puts the target's own, which is the agent's: drop the target labels ` + "`pod`" + `, ` + "`container`" + `, ` + "`namespace`" + `, ` + "`service`" + ` and ` + "`endpoint`" + ` by ` + "`relabel_configs`" + `.

` + "```" + `promql
# Watts of each pod, over 5 minutes
sum by (namespace, pod) (rate(noether_pod_joules_total[5m]))

# Watt-hours of each namespace in a day, short Jobs included
sum by (namespace) (increase(noether_namespace_joules_total[1d])) / 3600

# Joules of each Deployment in an hour
sum by (namespace, workload) (increase(noether_workload_joules_total{workload_kind="Deployment"}[1h]))

# With the node and the owner, from kube-state-metrics
sum by (namespace, pod) (rate(noether_pod_joules_total[5m]))
  * on (namespace, pod) group_left (node, created_by_kind, created_by_name)
    max by (namespace, pod, node, created_by_kind, created_by_name) (kube_pod_info)

# With a label of the pods, from kube-state-metrics
sum by (label_team) (
  sum by (namespace, pod) (rate(noether_pod_joules_total[5m]))
    * on (namespace, pod) group_left (label_team) kube_pod_labels)

# By uid, which tells pods of one name apart
sum by (pod_uid) (rate(noether_pod_joules_total[5m]))
  * on (pod_uid) group_left (namespace, pod)
    label_replace(kube_pod_info, "pod_uid", "$1", "uid", "(.+)")

# Joules per CPU second of each container (cAdvisor counts the same time as container_cpu_usage_seconds_total)
sum by (namespace, pod, container) (rate(noether_container_joules_total{pod_uid!="", part="dynamic"}[5m]))
  / sum by (namespace, pod, container) (rate(noether_container_cpu_seconds_total{pod_uid!=""}[5m]))

# Grams of CO2e of each namespace in a week, by what caused them
sum by (namespace, phase) (increase(noether_namespace_co2e_grams_total[7d]))

# Grams of CO2e of each workload in a day, hardware included
sum by (namespace, workload_kind, workload) (increase(noether_workload_co2e_grams_total[1d]))

# What each namespace cost in a week
sum by (namespace, currency) (increase(noether_namespace_energy_cost_total[7d]) - increase(noether_namespace_energy_credit_total[7d]))

# The part of the energy of a day that has no grams because nobody knew the intensity
sum(increase(noether_node_co2e_unknown_joules_total[1d])) / sum(increase(noether_node_joules_total[1d]))

# How much of the machine nobody reserved
sum(rate(noether_system_joules_total{account="unreserved"}[5m])) / sum(rate(noether_node_joules_total[5m]))
` + "```" + `
`
