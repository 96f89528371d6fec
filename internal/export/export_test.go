package export_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"noether/internal/energy"
	"noether/internal/export"
	"noether/internal/export/exporttest"
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

- Counters are in joules, exact to the microjoule, and start at 0 when the agent starts. Gauges in watts are means over the last tick.
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

Containers with a ` + "`pod_uid`" + ` are inside their pod, processes inside whatever they run in, and zones are raw meters: none of them is added.
Owners that ended leave the page after a while. Their totals then move to ` + "`noether_retired_joules`" + `, a gauge, so that ` + "`increase()`" + ` never counts them twice.
`
