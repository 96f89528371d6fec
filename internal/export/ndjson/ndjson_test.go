package ndjson

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"noether/internal/export/balance"
	"noether/internal/export/exporttest"
	"noether/internal/snapshot"
	"noether/internal/unit"
)

var update = flag.Bool("update", false, "write the golden files")

// decode reads a line with numbers kept as they stand.
func decode(t *testing.T, line []byte) map[string]any {
	t.Helper()
	if n := bytes.Count(line, []byte("\n")); n != 1 || line[len(line)-1] != '\n' {
		t.Fatalf("%d newlines in a line", n)
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return v
}

func TestGolden(t *testing.T) {
	var got bytes.Buffer
	if err := json.Indent(&got, Append(nil, exporttest.Snapshot()), "", " "); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "full.json")
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
		t.Errorf("%s (-want +got, -update writes it):\n%s", file, diff)
	}
}

// sum adds the joules_total of every element below v that names a component.
func sum(t *testing.T, v any, component string) (total unit.Energy) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			total += sum(t, e, component)
		}
	case map[string]any:
		if v["pod_uid"] != nil && v["container_id"] != nil {
			return 0 // inside its pod's
		}
		if v["component"] == component {
			for _, field := range []string{"joules_total", "joules"} {
				if n, ok := v[field].(json.Number); ok {
					e, err := balance.Microjoules(n.String())
					if err != nil {
						t.Fatal(err)
					}
					return e
				}
			}
		}
		return sum(t, v["energy"], component)
	}
	return total
}

func nanograms(t *testing.T, v any) unit.Mass {
	t.Helper()
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	m, err := balance.Nanograms(n.String())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// grams returns what v says it emitted in a phase.
func grams(t *testing.T, v map[string]any, phase string) unit.Mass {
	t.Helper()
	f, _ := v["footprint"].(map[string]any)
	return nanograms(t, f[phase+"_grams_total"])
}

func TestWithoutASiteThereIsNoCarbon(t *testing.T) {
	s := exporttest.Snapshot()
	s.Site = nil
	line := string(Append(nil, s))
	for _, word := range []string{"grams", "footprint", "cost", "site", "embodied"} {
		if strings.Contains(line, word) {
			t.Errorf("%q is there", word)
		}
	}
}

func TestEveryLineIsJSONAndBalances(t *testing.T) {
	snaps := []*snapshot.Snapshot{exporttest.Snapshot(), exporttest.Large(10), {}}
	for seed := range uint64(200) {
		snaps = append(snaps, exporttest.Random(rand.New(rand.NewPCG(seed, 2))))
	}
	for i, s := range snaps {
		v := decode(t, Append(nil, s))
		for _, c := range []string{"cpu", "memory"} {
			var owners unit.Energy
			for _, list := range []string{"pods", "containers", "vms", "sessions", "units", "system", "retired"} {
				owners += sum(t, v[list], c)
			}
			if node := sum(t, v["node"], c); node != owners {
				t.Errorf("snapshot %d: %s of the machine %d µJ, of its accounts %d µJ", i, c, node, owners)
			}
		}
		for _, phase := range []string{"operational", "embodied"} {
			var owners unit.Mass
			for _, list := range []string{"pods", "containers", "vms", "sessions", "units", "system"} {
				for _, e := range v[list].([]any) {
					if a := e.(map[string]any); a["pod_uid"] == nil || a["container_id"] == nil {
						owners += grams(t, a, phase)
					}
				}
			}
			retired, _ := v["retired_co2e"].([]any)
			for _, e := range retired {
				if r := e.(map[string]any); r["phase"] == phase {
					owners += nanograms(t, r["grams"])
				}
			}
			if node := grams(t, v, phase); node != owners {
				t.Errorf("snapshot %d: %s of the machine %d ng, of its accounts %d ng", i, phase, node, owners)
			}
		}
	}
}

func TestWhatIsUnknownIsAbsent(t *testing.T) {
	s := exporttest.Snapshot()
	s.HasProcesses = false
	s.Nodes[0].Present = false
	v := decode(t, Append(nil, s))
	if _, ok := v["processes"]; ok {
		t.Error("processes that cannot be seen are there")
	}
	node := v["node"].([]any)[0].(map[string]any)
	if _, ok := node["watts"]; ok || node["joules_total"] == nil {
		t.Errorf("a component without a datum: %v", node)
	}
}

func TestFieldsAreDocumented(t *testing.T) {
	docs, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]bool{}
	var collect func(any)
	collect = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				collect(e)
			}
		case map[string]any:
			for name, e := range v {
				fields[name] = true
				collect(e)
			}
		}
	}
	collect(decode(t, Append(nil, exporttest.Snapshot())))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !strings.Contains(string(docs), "`"+name+"`") {
			t.Errorf("docs/json.md does not tell of %s", name)
		}
	}
}

func FuzzString(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c\nd\xff", "é\u2028\x7f\x00\x1b", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := appendString(nil, s)
		var got string
		if err := json.Unmarshal(b, &got); err != nil || !utf8.Valid(b) {
			t.Fatalf("%q became %s: %v", s, b, err)
		}
		// encoding/json is the judge: what it writes must read back the same.
		std, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var want string
		if err := json.Unmarshal(std, &want); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%q became %q, want %q", s, got, want)
		}
	})
}

func TestAppendAllocatesNothing(t *testing.T) {
	s := exporttest.Large(100)
	dst := Append(nil, s)
	if n := testing.AllocsPerRun(50, func() { dst = Append(dst[:0], s) }); n != 0 {
		t.Errorf("%v allocations a line", n)
	}
}
