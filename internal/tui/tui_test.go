package tui

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"noether/internal/energy"
	"noether/internal/export/exporttest"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got, -update writes it):\n%s", file, diff)
	}
}

// next returns the tick after s, in which everything used as much again.
func next(s *snapshot.Snapshot) *snapshot.Snapshot {
	n := *s
	n.Seq++
	n.Time = n.Time.Add(n.Elapsed)
	n.Nodes = append([]snapshot.Node(nil), s.Nodes...)
	for i := range n.Nodes {
		for p := range n.Nodes[i].Total {
			n.Nodes[i].Total[p] += n.Nodes[i].Delta[p]
		}
	}
	n.Bands = append([]snapshot.Band(nil), s.Bands...)
	for i := range n.Bands {
		n.Bands[i].LowTotal += n.Bands[i].LowDelta
		n.Bands[i].HighTotal += n.Bands[i].HighDelta
	}
	for _, list := range []*[]snapshot.Account{&n.Pods, &n.Containers, &n.VMs, &n.Sessions, &n.Units} {
		*list = append([]snapshot.Account(nil), *list...)
		for i := range *list {
			a := &(*list)[i]
			a.Total.Add(&a.Delta)
			a.CPUTotal += a.CPUDelta
			a.Footprint.Add(&a.FootprintDelta)
		}
	}
	for _, list := range []*[]snapshot.View{&n.Namespaces, &n.Workloads} {
		*list = append([]snapshot.View(nil), *list...)
		for i := range *list {
			(*list)[i].Total.Add(&(*list)[i].Delta)
		}
	}
	for i := range n.System {
		n.System[i].Total.Add(&n.System[i].Delta)
	}
	n.Processes = append([]snapshot.Process(nil), s.Processes...)
	for i := range n.Processes {
		for c := range n.Processes[i].Total {
			n.Processes[i].Total[c] += n.Processes[i].Delta[c]
		}
	}
	n.Footprint.Add(&s.FootprintDelta)
	return &n
}

// shown is the screen after two ticks and keys.
func shown(t *testing.T, columns, lines int, keys ...Key) string {
	t.Helper()
	m := New(Settings{Source: "energy from powercap"}, false)
	m.Resize(columns, lines)
	s := exporttest.Snapshot()
	m.Offer(s)
	m.Offer(next(s))
	for _, k := range keys {
		m.View()
		if m.Press(k) {
			t.Errorf("%s ends it", k)
		}
	}
	return strings.Join(m.View(), "\n") + "\n"
}

func TestScreens(t *testing.T) {
	for name, c := range map[string]struct {
		columns, lines int
		keys           string
	}{
		"tree":                   {100, 30, ""},
		"tree-60":                {60, 30, ""},
		"tree-160":               {160, 30, ""},
		"tree-open":              {100, 40, "E"},
		"tree-folded":            {100, 30, "e"},
		"tree-filtered":          {100, 30, "/ n g i enter"},
		"tree-by-name-backwards": {100, 30, "E n r"},
		"cursor-opens":           {100, 30, "down down right down"},
		"namespaces":             {100, 20, "2"},
		"workloads":              {100, 20, "3"},
		"pods":                   {100, 20, "4"},
		"containers":             {100, 20, "5 j"},
		"processes":              {100, 20, "6"},
		"processes-60":           {60, 20, "6"},
		"units-of-no-use-too":    {100, 22, "7 z"},
		"sessions-since-top":     {100, 20, "8 t"},
		"vms-since-the-agent":    {100, 20, "9 t t"},
		"help":                   {100, 30, "?"},
		"typing":                 {100, 20, "/ q backspace x"},
		"small":                  {30, 6, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var keys []Key
			for k := range strings.FieldsSeq(c.keys) {
				keys = append(keys, Key(k))
			}
			got := shown(t, c.columns, c.lines, keys...)
			golden(t, name, got)
			lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
			if len(lines) > c.lines {
				t.Errorf("%d lines on a screen of %d", len(lines), c.lines)
			}
			for _, l := range lines {
				if w := ansi.StringWidth(l); w > c.columns {
					t.Errorf("%d columns of %d: %q", w, c.columns, l)
				}
			}
		})
	}
}

func TestPauseAndTrouble(t *testing.T) {
	m := New(Settings{}, false)
	s := exporttest.Snapshot()
	m.Offer(s)
	m.Press("p")
	before := m.View()
	later := next(next(s))
	m.Offer(later)
	if diff := cmp.Diff(before, m.View()); diff != "" {
		t.Errorf("a paused screen moves:\n%s", diff)
	}
	m.Press("p")
	if clock := later.Time.Format(time.TimeOnly); !strings.Contains(m.View()[0], clock) {
		t.Errorf("after the pause it is not %s: %s", clock, m.View()[0])
	}
	m.Trouble("no news: \x1b[2Jconnection refused", true)
	if all := strings.Join(m.View(), "\n"); !strings.Contains(all, "connection refused") || strings.Contains(all, "\x1b") {
		t.Errorf("%q", all)
	}
	m.Offer(next(later))
	if all := strings.Join(m.View(), "\n"); strings.Contains(all, "refused") {
		t.Error("news did not end the trouble")
	}
	anew := exporttest.Snapshot()
	anew.Start = later.Time
	m.Offer(anew)
	if all := strings.Join(m.View(), "\n"); !strings.Contains(all, "started anew") {
		t.Error(all)
	}
}

func TestSinceTopIsADifference(t *testing.T) {
	s := exporttest.Snapshot()
	var f tally
	f.take(s)
	f.take(next(next(s)))
	w := f.of(SinceTop)
	var tick unit.Energy
	for i := range s.Nodes {
		tick += s.Nodes[i].Delta[energy.Dynamic] + s.Nodes[i].Delta[energy.Idle]
	}
	if w.energy != 3*tick || w.joules != 3*tick {
		t.Errorf("three ticks of %d µJ are %d and %d", tick, w.energy, w.joules)
	}
	for _, r := range f.collect(Pods, SinceTop) {
		for i := range s.Pods {
			if a := &s.Pods[i]; a.Owner == r.owner {
				if want := 3 * sum(&accountAmounts(a).delta); r.energy != want || r.cpu != 3*a.CPUDelta {
					t.Errorf("pod %s: %d µJ, want %d", r.label(), r.energy, want)
				}
			}
		}
	}
}

// TestRowsSumToTheMachine: what is listed, what is not, and the system are the
// machine, in every view; in the tree nothing is left over, and pods are what
// is in them.
func TestRowsSumToTheMachine(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		s := exporttest.Random(r)
		for i := range s.Containers { // those of pods, in which theirs is
			if o := s.Containers[i].Owner; o.Kind == workload.PodOwner {
				s.Containers[i].Delta = snapshot.Ledger{}
			}
		}
		p := NewPrinter(Settings{}, 0)
		p.m.everyone = true
		list := p.take(s)
		var sum, machine unit.Energy
		for _, row := range list {
			if row.level == 0 {
				sum += row.energy
			}
		}
		for i := range s.Nodes {
			if n := &s.Nodes[i]; n.Present {
				machine += n.Delta[energy.Dynamic] + n.Delta[energy.Idle]
			}
		}
		if sum != machine || p.m.shown.energy+p.m.shown.system != machine {
			t.Fatalf("the rows have %d µJ, the machine %d", sum, machine)
		}
		for v := range View(Views) {
			line := NewPrinter(Settings{View: v}, 3).Line(s)
			if line.Machine == nil {
				continue
			}
			total := line.Rest
			for _, a := range line.System {
				total += a.Watts
			}
			for _, row := range line.Rows {
				if row.Level == 0 && row.Account == "" && row.Kind != "system" {
					total += row.Watts
				}
			}
			if d := total - line.Machine.Watts; d > 1e-3+1e-9*total || d < -1e-3-1e-9*total {
				t.Fatalf("view %s: %v W of %v", v, total, line.Machine.Watts)
			}
		}
	}
}

func TestTable(t *testing.T) {
	for name, c := range map[string]struct {
		set         Settings
		rows, width int
	}{
		"once":           {Settings{Source: "energy from powercap"}, 0, 100},
		"once-processes": {Settings{View: Processes, Order: ByJoules}, 2, 60},
		"once-filter":    {Settings{View: Units, Filter: "SWAP"}, 0, 80},
	} {
		golden(t, name, NewPrinter(c.set, c.rows).Table(exporttest.Snapshot(), c.width))
	}
}

func TestLine(t *testing.T) {
	text, err := json.MarshalIndent(NewPrinter(Settings{Source: "energy from powercap"}, 4).Line(exporttest.Snapshot()), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "line", string(text)+"\n")
}

func TestWords(t *testing.T) {
	if v, err := Parse[View]("pods"); v != Pods || err != nil {
		t.Error(v, err)
	}
	if _, err := Parse[Order]("heat"); err == nil || err.Error() != `"heat" is none of watts, joules, cpu, co2e, name` {
		t.Error(err)
	}
}

func TestKeys(t *testing.T) {
	for input, want := range map[string][]Key{
		"q":                         {"q"},
		"\x1b":                      {"esc"},
		"\x1b[A\x1bOB\x1b[6~\x1b[Z": {"up", "down", "pgdown", "shift+tab"},
		"\x1b[1;5Cé\r\x7f\x03\x15":  {"right", "é", "enter", "backspace", "ctrl+c", "ctrl+u"},
		"\x1b[200~x":                {"x"},
		"\x00\xff\x9f\x01":          nil,
	} {
		got, rest := Keys([]byte(input))
		if diff := cmp.Diff(want, got); diff != "" || len(rest) > 0 {
			t.Errorf("%q: %q left, %s", input, rest, diff)
		}
	}
	if got, rest := Keys([]byte("a\xe2\x86")); len(got) != 1 || string(rest) != "\xe2\x86" {
		t.Errorf("%q %q", got, rest)
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("\x1b[A/\x1b[5~é\x1bO"), 80, 24)
	f.Fuzz(func(t *testing.T, input []byte, columns, lines int) {
		m := New(Settings{}, false)
		m.Resize(columns, lines)
		m.Offer(exporttest.Snapshot())
		keys, rest := Keys(input)
		if len(rest) >= 4 {
			t.Errorf("%q is left", rest)
		}
		for _, k := range keys {
			m.Press(k)
		}
		harmlessText(t, strings.Join(m.View(), ""))
	})
}

func harmlessText(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) {
			t.Fatalf("%U in %q", r, text)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("a\x1b[2J\r\n\x9b31m", 60)
	f.Add("\u202egnp.exe\u2066\u200b\ufeff\u00ad", 80)
	f.Add("e\u0301\u0301\u0301\u0301\u0301\u0301 \u0301 👩\u200d👩\u200d👧 🇩🇪 ｗｉｄｅ\u3164\ufe0f", 40)
	f.Add("\xff\xfe\u2028", 20)
	f.Fuzz(func(t *testing.T, name string, width int) {
		width = max(minColumns, min(width, maxColumns))
		s := exporttest.Snapshot()
		s.Node, s.Site.Currency, s.Site.Grid.Zone, s.Self.Usage = name, name, name, "bpf"
		s.Sessions[0].Owner = &workload.Owner{Kind: workload.SessionOwner, User: name}
		s.Pods[1].Owner = &workload.Owner{Kind: workload.PodOwner, Pod: workload.Pod{UID: "1", Namespace: name, Name: name}}
		s.Processes[1].Name = &snapshot.ProcessName{PID: 7, Comm: name}
		for _, key := range []Key{"1", "6"} {
			m := New(Settings{Source: name, Filter: name}, false)
			m.Resize(width, 40)
			m.Offer(s)
			m.Trouble(name, false)
			m.Press(key)
			for _, line := range m.View() {
				harmlessText(t, line)
				if w := ansi.StringWidth(line); w > width {
					t.Errorf("%d columns of %d: %q", w, width, line)
				}
			}
		}
		for line := range strings.SplitSeq(NewPrinter(Settings{Source: name}, 0).Table(s, width), "\n") {
			harmlessText(t, line)
		}
	})
}
