package all

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/energy"
	"noether/internal/linux/machinetest"
	"noether/internal/probe"
	"noether/internal/sensor"
)

func machine(t *testing.T, name string) sensor.Env {
	root := machinetest.Unpack(t, "../../../testdata/machines/"+name+".txtar")
	return sensor.Env{
		Proc: filepath.Join(root, "proc"), Sys: filepath.Join(root, "sys"),
		Now: func() time.Duration { return 0 },
	}
}

// open returns what was opened: the zones by sensor, and the verdicts.
func open(t *testing.T, env sensor.Env, table []sensor.Kind, want ...string) ([]string, []probe.Verdict, error) {
	t.Helper()
	sensors, verdicts, err := Open(t.Context(), env, want, table)
	var zones []string
	for _, s := range sensors {
		for _, z := range s.Zones() {
			zones = append(zones, z.Sensor+"/"+z.Name)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	return zones, verdicts, err
}

func TestOpen(t *testing.T) {
	type verdict struct {
		name   string
		status probe.Status
		reason string // a part of it
	}
	for _, tt := range []struct {
		machine  string
		want     []string
		zones    []string
		verdicts []verdict
	}{
		{
			"power-intel-two-sockets",
			[]string{"auto"},
			[]string{"powercap/package-0", "powercap/dram", "powercap/package-1", "powercap/dram"},
			[]verdict{
				{"powercap", probe.Works, "package-0, dram, package-1 (4 zones)"},
				{"redfish", probe.Absent, "--redfish.url names no BMC"},
				{"acpi", probe.Absent, "describes no power meter"},
				{"model", probe.Works, "estimated: Cascade Lake (SPECpower median, n = 75), cpu 2.4 W idle (1.7 to 4.3) and 16.2 W busy"},
			},
		},
		{
			"power-acpi-meter",
			[]string{"auto"},
			[]string{"powercap/package-0", "powercap/dram", "powercap/package-1", "powercap/dram", "acpi/platform"},
			[]verdict{{"powercap", probe.Works, ""}, {"redfish", probe.Absent, "--redfish.url names no BMC"}, {"acpi", probe.Works, "the machine's power meter (BMC)"}, {"model", probe.Works, "Cascade Lake"}},
		},
		{
			"power-vm", nil,
			[]string{"model/cpu", "model/memory"},
			[]verdict{{"powercap", probe.Absent, "virtual machine"}, {"redfish", probe.Absent, "--redfish.url names no BMC"}, {"acpi", probe.Absent, ""}, {"model", probe.Works, "estimated: Emerald Rapids"}},
		},
		{
			"power-masked",
			[]string{"auto"},
			[]string{"model/cpu", "model/memory"},
			[]verdict{{"powercap", probe.Masked, "hides"}, {"redfish", probe.Absent, "--redfish.url names no BMC"}, {"acpi", probe.Absent, ""}, {"model", probe.Works, "Cascade Lake"}},
		},
		{
			"power-intel-two-sockets",
			[]string{"model"},
			[]string{"model/cpu", "model/memory"},
			[]verdict{{"model", probe.Works, "Cascade Lake"}},
		},
		{
			"power-amd-dies",
			[]string{"model", "powercap"}, // memory is not measured there
			[]string{
				"powercap/package-0-die-0", "powercap/core-die-0", "powercap/package-0-die-1", "powercap/core-die-1",
				"powercap/package-0-die-2", "powercap/core-die-2", "powercap/package-0-die-3", "powercap/core-die-3", "model/memory",
			},
			[]verdict{{"powercap", probe.Works, "(8 zones)"}, {"model", probe.Works, "estimated: memory 98.6 W"}},
		},
		{
			"power-intel-two-sockets",
			[]string{"powercap", "model"},
			[]string{"powercap/package-0", "powercap/dram", "powercap/package-1", "powercap/dram"},
			[]verdict{{"powercap", probe.Works, ""}, {"model", probe.Absent, "nothing is left"}},
		},
	} {
		t.Run(tt.machine+"/"+strings.Join(tt.want, "+"), func(t *testing.T) {
			zones, verdicts, err := open(t, machine(t, tt.machine), Table(Config{}), tt.want...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.zones, zones); diff != "" {
				t.Error(diff)
			}
			if len(verdicts) != len(tt.verdicts) {
				t.Fatalf("verdicts: %+v", verdicts)
			}
			for i, want := range tt.verdicts {
				if v := verdicts[i]; v.Name != want.name || v.Status != want.status || !strings.Contains(v.Reason, want.reason) {
					t.Errorf("verdict %+v, want %+v", v, want)
				}
			}
		})
	}
}

func TestUnknownNameAndNothingWorks(t *testing.T) {
	_, _, err := open(t, machine(t, "power-vm"), Table(Config{}), "rapl")
	if err == nil || !strings.Contains(err.Error(), `"rapl"`) || !strings.Contains(err.Error(), "auto, powercap, redfish, acpi, model") {
		t.Error(err)
	}
	_, verdicts, err := open(t, machine(t, "power-vm"), Table(Config{}), "powercap")
	if err == nil || !strings.Contains(err.Error(), "powercap: absent: ") || len(verdicts) != 1 {
		t.Errorf("%v, %+v", err, verdicts)
	}
	empty := sensor.Env{Proc: t.TempDir(), Sys: t.TempDir(), Now: func() time.Duration { return 0 }}
	if _, verdicts, err := open(t, empty, Table(Config{})); err == nil || len(verdicts) != 4 || !errors.Is(checkStat(empty), os.ErrNotExist) {
		t.Errorf("%v, %+v", err, verdicts)
	}
}

func checkStat(env sensor.Env) error {
	_, err := os.Stat(filepath.Join(env.Proc, "stat"))
	return err
}

// fake is a sensor with one zone.
type fake struct {
	zone   energy.Zone
	fails  error
	panics bool
	closed *int
}

func (f *fake) Zones() []energy.Zone { return []energy.Zone{f.zone} }
func (f *fake) Close() error         { *f.closed++; return nil }
func (f *fake) Read(_ context.Context, dst []energy.Reading) ([]energy.Reading, error) {
	if f.panics {
		panic("a bug")
	}
	if f.fails != nil {
		return dst, f.fails
	}
	return append(dst, energy.Reading{}), nil
}

// asking is a sensor whose first reading comes later.
type asking struct{ *fake }

func (asking) Run(context.Context) error { return nil }
func (asking) String() string            { return "it was not asked yet" }

// A sensor that is told by somebody slow is opened before it has a reading,
// unless somebody waits for one.
func TestRunner(t *testing.T) {
	closed := 0
	table := []sensor.Kind{
		{Name: "bmc", Adds: true, Open: func(context.Context, sensor.Env) (sensor.Sensor, error) {
			return asking{&fake{zone: energy.Zone{Sensor: "bmc", Name: "z"}, fails: os.ErrDeadlineExceeded, closed: &closed}}, nil
		}},
		{Name: "rapl", Open: func(context.Context, sensor.Env) (sensor.Sensor, error) {
			return &fake{zone: energy.Zone{Sensor: "rapl", Name: "z"}, closed: &closed}, nil
		}},
	}
	zones, verdicts, err := open(t, sensor.Env{}, table)
	if diff := cmp.Diff([]string{"bmc/z", "rapl/z"}, zones); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if diff := cmp.Diff(probe.Verdict{Name: "bmc", Status: probe.Unknown, Reason: "it was not asked yet"}, verdicts[0]); diff != "" {
		t.Error(diff)
	}
	zones, verdicts, err = open(t, sensor.Env{Wait: time.Second}, table)
	if diff := cmp.Diff([]string{"rapl/z"}, zones); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if v := verdicts[0]; v.Status != probe.Broken || closed != 4 {
		t.Errorf("verdict %+v, %d closed", v, closed)
	}
}

func TestAddingKindsAndBrokenOnes(t *testing.T) {
	opened, closed := 0, 0
	var covered []string
	kind := func(name string, d energy.Domain, adds bool, f fake) sensor.Kind {
		return sensor.Kind{Name: name, Adds: adds, Open: func(_ context.Context, env sensor.Env) (sensor.Sensor, error) {
			covered = append(covered, fmt.Sprint(name, env.Covered))
			f.zone = energy.Zone{Sensor: name, Name: "z", Domain: d}
			f.closed = &closed
			opened++
			return &f, nil
		}}
	}
	table := []sensor.Kind{
		{Name: "panics", Open: func(context.Context, sensor.Env) (sensor.Sensor, error) { panic("another bug") }},
		kind("dies", energy.Package, false, fake{panics: true}),
		kind("silent", energy.Package, false, fake{fails: os.ErrDeadlineExceeded}),
		kind("bmc", energy.Platform, true, fake{}),
		kind("rapl", energy.Package, false, fake{}),
		kind("gpu", energy.DiscreteGPU, true, fake{}),
		kind("model", energy.ModelCPU, false, fake{}),
	}
	zones, verdicts, err := open(t, sensor.Env{}, table, "auto")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"bmc/z", "rapl/z", "gpu/z"}, zones); diff != "" {
		t.Error(diff)
	}
	if opened != closed {
		t.Errorf("%d sensors were opened, %d closed", opened, closed)
	}
	var got []string
	for _, v := range verdicts {
		got = append(got, v.Name+" "+v.Status.String()+": "+v.Reason)
	}
	want := []string{
		"panics cannot tell: try sensor: it panicked: another bug",
		"dies cannot tell: try sensor: it panicked: a bug",
		"silent broken: read silent: i/o timeout",
		"bmc works: z (1 zone)", "rapl works: z (1 zone)", "gpu works: z (1 zone)", "model works: z (1 zone)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantCovered := []string{
		"dies[false false false false]", "silent[false false false false]", "bmc[false false false false]",
		"rapl[false false false false]", "gpu[true false false false]", "model[false false false false]",
	}
	if diff := cmp.Diff(wantCovered, covered); diff != "" {
		t.Error(diff)
	}
}
