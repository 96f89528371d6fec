package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/config"
	"noether/internal/snapshot"
	"noether/internal/unit"
)

// near tells whether two figures agree but for whole nanograms and microjoules.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*math.Abs(b)+2e-9 }

// statGrams are a line's grams.
type statGrams struct {
	MachineOperational *float64       `json:"machine_operational_grams"`
	CommandOperational *float64       `json:"command_operational_grams"`
	MachineEmbodied    *float64       `json:"machine_embodied_grams"`
	CommandEmbodied    *float64       `json:"command_embodied_grams"`
	Site               map[string]any `json:"site"`
	Notes              []string       `json:"notes"`
}

// checkGrams holds a line to the rule: energy times PUE times intensity; and
// hardware by time, the command's by its part of all CPU time.
func checkGrams(t *testing.T, l *statLine, pue, gramsPerKWh, kg float64) {
	t.Helper()
	if l.MachineOperational == nil || l.CommandOperational == nil || l.MachineEmbodied == nil || l.CommandEmbodied == nil {
		t.Fatalf("grams are missing: %+v", l)
	}
	rate := pue * gramsPerKWh / 3.6e6
	if l.Command <= 0 || !near(*l.MachineOperational, l.Machine*rate) || !near(*l.CommandOperational, l.Command*rate) {
		t.Errorf("%v and %v g of %v and %v J at %v g/J", *l.MachineOperational, *l.CommandOperational, l.Machine, l.Command, rate)
	}
	machine := kg * 1000 * l.Window / (4 * 365 * 24 * 3600)
	command := machine * l.CPU / (l.Window * float64(runtime.NumCPU()))
	if !near(*l.MachineEmbodied, machine) || !near(*l.CommandEmbodied, command) || command <= 0 {
		t.Errorf("%v and %v g embodied, want %v and %v", *l.MachineEmbodied, *l.CommandEmbodied, machine, command)
	}
}

func TestStatGrams(t *testing.T) {
	lines, exit, _ := stat(t, "--grid.zone=DE", "--grid.provider=fixed:250", "--pue=1.5", "--embodied.kg=1000", "-r2", "--", "sh", "-c", burn)
	if exit != 0 || len(lines) != 3 {
		t.Fatal(exit, lines)
	}
	for _, l := range lines[:2] {
		checkGrams(t, &l, 1.5, 250, 1000)
		if diff := cmp.Diff(map[string]any{
			"grid_zone": "DE", "grams_per_kwh": 250.0, "provider": "fixed", "signal": "average", "factor": "lifecycle", "estimated": false,
			"pue": 1.5, "pue_source": "fixed", "hardware_grams": 1e6, "hardware_lifetime_seconds": 126144000.0, "hardware_source": "value", "hardware_estimated": false,
		}, l.Site); diff != "" {
			t.Error(diff)
		}
	}
	for _, name := range []string{"machine_operational_grams", "command_operational_grams", "machine_embodied_grams", "command_embodied_grams"} {
		if _, ok := lines[2].Summary[name]; !ok {
			t.Errorf("the summary lacks %s: %v", name, lines[2].Summary)
		}
	}
}

// A machine whose place nobody knows has joules only, and one whose settings
// name no provider asks nobody.
func TestStatWithoutAProvider(t *testing.T) {
	where := []string{"--root=" + emptyRoot(t), "--procfs=/proc", "--sysfs=/sys", "--cgroupfs=/sys/fs/cgroup"}
	lines, exit, _ := stat(t, append(where, "--", "true")...)
	if exit != 0 || len(lines) != 1 || lines[0].Site != nil || lines[0].MachineOperational != nil || lines[0].MachineEmbodied != nil {
		t.Errorf("exit %d, %+v", exit, lines)
	}
	cfg := config.Default()
	cfg.Grid.Zone = "DE"
	s, err := openSurroundings(t.Context(), &process{transport: refusing{t}}, &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.wait(time.Hour)
	known := s.during(&window{ended: time.Now(), length: time.Second})
	s.close()
	if known == nil || known.Grid.Zone != "DE" || !known.Grid.Known || known.Grid.Provider != "yearly" || !known.Grid.Estimated {
		t.Errorf("%+v", known)
	}
}

// refusing is a network that nobody may use.
type refusing struct{ t *testing.T }

func (r refusing) RoundTrip(q *http.Request) (*http.Response, error) {
	r.t.Errorf("%s was asked", q.URL)
	return nil, io.ErrClosedPipe
}

// prometheusWith answers queries of an instant by a function, and knows no past.
func prometheusWith(t *testing.T, value func(*http.Request) (float64, bool)) []string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/query_range") {
			io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice that the client has gone
		if v, ok := value(r); ok {
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[%d,"%v"]}]}}`, time.Now().Unix(), v)
		}
	}))
	t.Cleanup(server.Close)
	return []string{"--grid.zone=DE", "--grid.provider=prometheus", "--grid.query=intensity", "--prometheus-url=" + server.URL}
}

// The provider answers only when the command has done its work: one that is
// started after the answer, or a report before it, would not have the value.
func TestStatAsksWhileTheCommandRuns(t *testing.T) {
	done := filepath.Join(t.TempDir(), "done")
	flags := prometheusWith(t, func(r *http.Request) (float64, bool) {
		for {
			if _, err := os.Stat(done); err == nil {
				return 123, true
			}
			select {
			case <-r.Context().Done():
				return 0, false
			case <-time.After(time.Millisecond):
			}
		}
	})
	lines, exit, _ := stat(t, append(flags, "--embodied.kg=10", "--", "sh", "-c", burn+`; : >"$0"`, done)...)
	if exit != 0 || len(lines) != 1 {
		t.Fatal(exit, lines)
	}
	checkGrams(t, &lines[0], 1, 123, 10)
	if l := lines[0]; l.Site["provider"] != "prometheus" || l.Site["estimated"] != false {
		t.Errorf("%v, %q", l.Site, l.Notes)
	}
}

// A provider that never answers is not waited for, and the report says so.
func TestStatOfAProviderThatHangs(t *testing.T) {
	asked := make(chan struct{}, 100)
	flags := prometheusWith(t, func(r *http.Request) (float64, bool) {
		asked <- struct{}{}
		<-r.Context().Done()
		return 0, false
	})
	cmd := itself(t, append(append([]string{"stat", "--sensor=model", "--embodied.kg=10"}, flags...), "--", "true")...)
	var text bytes.Buffer
	cmd.Stderr = &text
	if err := cmd.Run(); err != nil {
		t.Fatal(err, text.String())
	}
	<-asked
	for _, want := range []string{" g/kWh, DE, yearly, estimated\n", "10 kg over 4 years\n", "note: prometheus has not told the carbon intensity of DE: yearly stands in"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("lacks %q:\n%s", want, text.String())
		}
	}
}

func TestStatRefusesAChainThatCannotWork(t *testing.T) {
	code, _, stderr := noether(t.Context(), "stat", "--sensor=model", "--grid.zone=DE", "--grid.provider=electricitymaps", "--", "sh", "-c", "exit 3")
	if code != exitOwnFailure || !strings.Contains(stderr, "--grid.token-file electricitymaps=FILE") {
		t.Errorf("code %d:\n%s", code, stderr)
	}
}

func TestStatTakesTheGramsOfARunningAgent(t *testing.T) {
	s := serve(t, io.Discard, "--grid.zone=DE", "--grid.provider=fixed:100", "--pue=1.5", "--embodied.kg=1000")
	for !json.Valid(s.get(t, "/api/noether/v1/snapshot")) { // plain text before the first tick
		time.Sleep(20 * time.Millisecond)
	}
	// What its own settings say is not asked for.
	lines, exit, _ := stat(t, "--agent", s.url, "--grid.zone=FR", "--pue=2", "--", "sh", "-c", burn)
	if exit != 0 || len(lines) != 1 {
		t.Fatal(exit, lines)
	}
	checkGrams(t, &lines[0], 1.5, 100, 1000)
	if l := lines[0]; l.Site["grid_zone"] != "DE" || l.Site["provider"] != "fixed" || l.Site["pue"] != 1.5 {
		t.Errorf("%v", l.Site)
	}
	s.stop()
	<-s.code
}

func aWindow() *window {
	w := &window{ended: time.Now(), length: 10 * time.Second, online: 4, ownCPU: 10 * time.Second}
	w.present[0], w.total[0], w.own[0] = true, 360*unit.Joule, 36*unit.Joule
	return w
}

func TestEmit(t *testing.T) {
	hardware := snapshot.Hardware{CPU: 40 * unit.Gram, Memory: 20 * unit.Gram, GPU: 100 * unit.Gram, Rest: 20 * unit.Gram, Lifetime: 100 * time.Second}
	grid := snapshot.Grid{Zone: "DE", Known: true, Intensity: unit.IntensityOf(500)}
	for name, c := range map[string]struct {
		site *snapshot.Site
		want statFootprint
	}{
		"nobody knows anything": {nil, statFootprint{}},
		// 360 J are 0.1 Wh. The command has a quarter of all CPU time, and no part of the GPU.
		"all is known":        {&snapshot.Site{Grid: grid, PUE: 2 * unit.One, Hardware: hardware}, statFootprint{machine: [2]unit.Mass{100e6, 18 * unit.Gram}, own: [2]unit.Mass{10e6, 2 * unit.Gram}}},
		"no intensity":        {&snapshot.Site{Grid: snapshot.Grid{Zone: "DE"}, Hardware: hardware}, statFootprint{machine: [2]unit.Mass{0, 18 * unit.Gram}, own: [2]unit.Mass{0, 2 * unit.Gram}}},
		"nothing of hardware": {&snapshot.Site{Grid: grid, PUE: unit.One}, statFootprint{machine: [2]unit.Mass{50e6}, own: [2]unit.Mass{5e6}}},
	} {
		w := aWindow()
		w.emit(c.site)
		if got := w.footprint; got.machine != c.want.machine || got.own != c.want.own || got.site != c.site {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	w := aWindow()
	w.ownCPU = time.Hour // more than there was
	w.emit(&snapshot.Site{Hardware: hardware})
	if w.footprint.own[snapshot.Embodied] != 8*unit.Gram {
		t.Errorf("more than all: %v", w.footprint.own)
	}
	w.online = 0
	w.emit(&snapshot.Site{Hardware: hardware})
	if w.footprint.own[snapshot.Embodied] != 0 {
		t.Errorf("of no CPU: %v", w.footprint.own)
	}
}

func TestBookedGramsAreDividedByEnergy(t *testing.T) {
	w := aWindow()
	w.emit(&snapshot.Site{Grid: snapshot.Grid{Known: true, Intensity: 1}})
	w.booked(70 * unit.Gram)
	if f := w.footprint; f.machine[snapshot.Operational] != 70*unit.Gram || f.own[snapshot.Operational] != 7*unit.Gram {
		t.Errorf("%+v", f)
	}
	w.emit(nil)
	w.booked(70 * unit.Gram)
	if f := w.footprint; f.machine != [snapshot.Phases]unit.Mass{} || f.own != f.machine {
		t.Errorf("without a site: %+v", f)
	}
}

// What stat reads of an agent is what the agent wrote, and what stat writes.
func TestAgentSite(t *testing.T) {
	for _, text := range []string{
		`{"grid_zone":"DE","grams_per_kwh":0.5,"provider":"rte","signal":"average","factor":"direct","estimated":true,"updated":"2026-03-01T12:00:00Z","pue":1.25,"pue_source":"table","hardware_grams":7,"hardware_gpu_grams":3,"hardware_lifetime_seconds":60,"hardware_source":"instance","hardware_estimated":true}`,
		`{"grid_zone":"DE","pue":1,"pue_source":"default"}`,
		`{"pue":1,"pue_source":"fixed","hardware_grams":7,"hardware_lifetime_seconds":60,"hardware_source":"value","hardware_estimated":false}`,
	} {
		var a agentSite
		var want map[string]any
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		f := statFootprint{site: a.site()}
		if diff := cmp.Diff(want, f.json()); diff != "" {
			t.Errorf("%s:\n%s", text, diff)
		}
	}
	if (*agentSite)(nil).site() != nil {
		t.Error("an agent that says nothing of its site has one")
	}
}

func TestStatNotesWhatTheGramsLack(t *testing.T) {
	for name, c := range map[string]struct {
		site snapshot.Site
		want string
	}{
		"all is well":       {snapshot.Site{Grid: snapshot.Grid{Zone: "DE", Known: true}, Sources: []snapshot.SourceStatus{{Source: "rte", Zone: "DE", Up: true}, {Source: "yearly", Zone: "DE"}}}, ""},
		"another stands in": {snapshot.Site{Grid: snapshot.Grid{Zone: "DE", Known: true, Provider: "yearly"}, Sources: []snapshot.SourceStatus{{Source: "rte", Zone: "DE"}}}, "rte has not told the carbon intensity of DE: yearly stands in"},
		"nobody knows":      {snapshot.Site{Grid: snapshot.Grid{Zone: "DE"}, Sources: []snapshot.SourceStatus{{Source: "rte", Zone: "DE"}}}, "nobody told the carbon intensity of DE"},
		"a query of PUE":    {snapshot.Site{PUE: unit.One, Sources: []snapshot.SourceStatus{{Source: "pue"}}}, "the query of the PUE has no answer of use: 1 is taken"},
	} {
		f := statFootprint{site: &c.site}
		got := strings.Join(f.notes(), "\n")
		if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" || strings.Contains(got, "\n") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestMassText(t *testing.T) {
	for m, want := range map[unit.Mass]string{
		0: "0.0000 µg", 12: "0.0120 µg", 999_990: "999.99 µg", 1_000_000: "1.0000 mg", 5 * unit.Gram: "5.0000 g", 1500 * unit.Gram: "1.5000 kg",
	} {
		if figure, of := massText(m); figure+" "+of != want {
			t.Errorf("%d ng is %s %s, want %s", m, figure, of, want)
		}
	}
}
