package balance

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/unit"
)

const page = `# TYPE noether_node_joules_total counter
noether_node_joules_total{component="cpu",part="dynamic",quality="measured"} 10.000001
noether_node_joules_total{component="cpu",part="idle",quality="measured"} 5
noether_node_joules_total{component="memory",part="dynamic",quality="estimated"} 0.5
noether_pod_joules_total{pod_uid="p",component="cpu",part="dynamic"} 1.000001
noether_container_joules_total{pod_uid="p",container_id="a",component="cpu",part="dynamic"} 1
noether_container_joules_total{container_id="b",component="cpu",part="dynamic"} 2
noether_vm_joules_total{vm="v",component="cpu",part="dynamic"} 1
noether_unit_joules_total{unit="a\"\\\n{} 1",component="cpu",part="dynamic"} 1
noether_session_joules_total{user="u",component="cpu",part="dynamic"} 1
noether_system_joules_total{account="idle",component="cpu",part="idle"} 5
noether_system_joules_total{account="kernel",component="memory",part="dynamic"} 0.5
noether_retired_joules{kind="pod",component="cpu"} 4
noether_process_joules_total{pid="1",comm="x",component="cpu"} 77
noether_node_co2e_grams_total{phase="operational"} 3.000000001
noether_node_co2e_grams_total{phase="embodied"} 0.5
noether_pod_co2e_grams_total{pod_uid="p",phase="operational"} 1.000000001
noether_container_co2e_grams_total{pod_uid="p",container_id="a",phase="operational"} 1
noether_container_co2e_grams_total{container_id="b",phase="operational"} 0.25
noether_system_co2e_grams_total{account="idle",phase="embodied"} 0.5
noether_retired_co2e_grams{kind="pod",phase="operational"} 1.75
noether_namespace_co2e_grams_total{namespace="n",phase="operational"} 77
noether_node_co2e_unknown_joules_total 3
noether_node_co2e_revision_grams -1
noether_node_embodied_grams{part="rest"} 5
noether_start_time_seconds 1.7e9
# EOF
`

func TestCheckAcceptsBooksThatBalance(t *testing.T) {
	if err := Check([]byte(page)); err != nil {
		t.Error(err)
	}
	books, err := Read([]byte(page))
	if err != nil {
		t.Fatal(err)
	}
	want := &Books{Node: 15_000_001, Owners: map[string]unit.Energy{
		"pod": 1_000_001, "container": 2e6, "vm": 1e6, "unit": 1e6, "session": 1e6, "system": 5e6, "retired": 4e6,
	}}
	if diff := cmp.Diff(want, books["cpu"]); diff != "" {
		t.Error(diff)
	}
	grams, err := ReadCO2e([]byte(page))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]*Account[unit.Mass]{
		"operational": {Node: 3_000_000_001, Owners: map[string]unit.Mass{"pod": 1_000_000_001, "container": 25e7, "retired": 175e7}},
		"embodied":    {Node: 5e8, Owners: map[string]unit.Mass{"system": 5e8}},
	}, grams); diff != "" {
		t.Error(diff)
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, edit := range map[string]struct{ old, new, want string }{
		"a microjoule too many":        {"5\n", "5.000001\n", "leaves 1 µJ"},
		"a microjoule lost by retired": {"} 4\n", "} 3.999999\n", "leaves 1 µJ"},
		"less than a microjoule":       {"10.000001", "10.0000011", "finer"},
		"a float":                      {"10.000001", "1.0000001e1", "joules"},
		"a series twice":               {`user="u"`, `user="u",component="cpu",part="dynamic"} 1` + "\n" + `noether_session_joules_total{user="u"`, "twice"},
		"an owner without a machine":   {`noether_node_joules_total{component="memory",part="dynamic",quality="estimated"} 0.5`, "", `"memory"`},
		"a nanogram too many":          {`phase="operational"} 1.75`, `phase="operational"} 1.750000001`, `phase "operational"`},
		"a phase without a machine":    {`noether_node_co2e_grams_total{phase="embodied"} 0.5`, "", `phase "embodied"`},
		"less than a nanogram":         {"0.25", "0.2500000001", "finer than a nanogram"},
		"no value":                     {"} 77", "}", "not a number"},
		"an open label":                {`comm="x",component="cpu"} 77`, `comm="x`, "does not end"},
		"an unknown escape":            {`comm="x"`, `comm="\x"`, "escape"},
		"bytes that are not UTF-8":     {`comm="x"`, "comm=\"\xff\"", "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(page, edit.old, edit.new, 1)
			if bad == page {
				t.Fatal("the edit changed nothing")
			}
			if err := Check([]byte(bad)); err == nil || !strings.Contains(err.Error(), edit.want) {
				t.Errorf("Check: %v, want an error with %q", err, edit.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for line := range strings.Lines(page) {
		f.Add(strings.TrimSpace(line))
	}
	f.Fuzz(func(t *testing.T, line string) {
		s, err := Parse(line)
		if err != nil {
			return
		}
		again, err := Parse(s.Series + " " + s.Value)
		if err != nil {
			t.Fatal(err)
		}
		if again.Name != s.Name || !maps.Equal(again.Labels, s.Labels) || s.Series+" "+s.Value != line {
			t.Errorf("%q: %+v, then %+v", line, s, again)
		}
		_, _ = Microjoules(s.Value)
		_, _ = Nanograms(s.Value)
	})
}
