package hwmon

import (
	"errors"
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
	"noether/internal/unit"
)

const acpiDevice = "sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI000D:00"

// world is a machine whose clock the test moves.
type world struct {
	tb   testing.TB
	root string
	now  time.Duration
}

func unpack(tb testing.TB, name string) *world {
	return &world{tb: tb, root: machinetest.Unpack(tb, "../../../testdata/machines/"+name+".txtar")}
}

func (w *world) env() sensor.Env {
	return sensor.Env{Sys: filepath.Join(w.root, "sys"), Now: func() time.Duration { return w.now }}
}

func (w *world) open() sensor.Sensor {
	w.tb.Helper()
	s, err := Open(w.tb.Context(), w.env())
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { s.Close() })
	return s
}

func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.root}, elem...)...)
}

func (w *world) must(err error) {
	w.tb.Helper()
	if err != nil {
		w.tb.Fatal(err)
	}
}

func (w *world) write(name, text string) {
	w.tb.Helper()
	path := w.path(name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, []byte(text), 0o644))
}

func TestMeter(t *testing.T) {
	w := unpack(t, "power-acpi-meter")
	s := w.open()
	want := []energy.Zone{{
		Sensor: "acpi", Name: "platform", Domain: energy.Platform, Socket: -1, Die: -1,
		Path: w.path("sys/class/hwmon/hwmon1/device/power1_average"), Kind: energy.Gauge, MaxPower: 100_000 * unit.Watt,
	}}
	if diff := cmp.Diff(want, s.Zones()); diff != "" {
		t.Error(diff)
	}
	if got, want := s.(*meter).String(), "the machine's power meter (BMC), averaged over 1s, accuracy 95.0%"; got != want {
		t.Errorf("it says of itself %q, want %q", got, want)
	}
	w.now = 7 * time.Second
	readings, err := s.Read(t.Context(), nil)
	if diff := cmp.Diff([]energy.Reading{{At: 7 * time.Second, Power: 312 * unit.Watt}}, readings); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

// TestWhereTheFilesAre has the layouts of the driver through the years.
func TestWhereTheFilesAre(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"beside those of the class":           {"hwmon3/name": "power_meter\n", "hwmon3/power1_average": "95000000\n"},
		"in the device, and the name with it": {"hwmon3/device/name": "power_meter\n", "hwmon3/device/power1_average": "95000000\n"},
		"in the device, the name in both":     {"hwmon3/name": "power_meter\n", "hwmon3/device/name": "power_meter\n", "hwmon3/device/power1_average": "95000000\n"},
		"the whole machine among others":      {"hwmon3/name": "power_meter\n", "hwmon3/power1_average": "95000000\n", "hwmon3/measures/LNXSYBUS:00": "", "hwmon3/measures/LNXCPU:00": ""},
		"behind a meter of a battery": {
			"hwmon1/name": "power_meter\n", "hwmon1/power1_average": "1\n", "hwmon1/power1_is_battery": "1\n",
			"hwmon3/name": "power_meter\n", "hwmon3/power1_average": "95000000\n",
		},
		"behind one that only caps": {"hwmon1/name": "power_meter\n", "hwmon1/power1_cap": "1\n", "hwmon3/name": "power_meter\n", "hwmon3/power1_average": "95000000\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{tb: t, root: t.TempDir()}
			for file, text := range files {
				w.write("sys/class/hwmon/"+file, text)
			}
			s := w.open()
			if z := s.Zones()[0]; !strings.Contains(z.Path, "/hwmon3/") {
				t.Errorf("it reads %s", z.Path)
			}
		})
	}
}

func TestAbsence(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(w *world)
		status  probe.Status
		says    string // in reason or remedy
	}{
		"no class": {func(w *world) { w.must(os.MkdirAll(w.path("sys"), 0o755)) }, probe.Absent, "describes no power meter"},
		"no sysfs": {func(*world) {}, probe.Unknown, "no such file"},
		"another driver": {func(w *world) {
			w.write("sys/class/hwmon/hwmon0/name", "nvme\n")
			w.write("sys/class/hwmon/hwmon0/power1_average", "5000000\n")
		}, probe.Absent, "describes no power meter"},
		"the driver is not loaded": {func(w *world) { w.must(os.MkdirAll(w.path("sys/bus/acpi/devices/ACPI000D:00"), 0o755)) }, probe.Absent, "modprobe acpi_power_meter"},
		"a battery": {func(w *world) {
			w.write("sys/class/hwmon/hwmon0/name", "power_meter\n")
			w.write("sys/class/hwmon/hwmon0/power1_average", "5000000\n")
			w.write("sys/class/hwmon/hwmon0/power1_is_battery", "1\n")
		}, probe.Absent, "a battery"},
		"a part of the machine": {func(w *world) {
			w.write("sys/class/hwmon/hwmon0/name", "power_meter\n")
			w.write("sys/class/hwmon/hwmon0/power1_average", "5000000\n")
			w.write("sys/class/hwmon/hwmon0/device/measures/LNXCPU:00", "")
			w.write("sys/class/hwmon/hwmon0/device/measures/LNXCPU:01", "")
		}, probe.Absent, "one of LNXCPU:00 and LNXCPU:01"},
		"hidden": {func(w *world) {
			w.must(os.MkdirAll(w.path("sys/class/hwmon"), 0o755))
			w.must(os.Symlink("../../devices/virtual/hwmon/hwmon0", w.path("sys/class/hwmon/hwmon0")))
		}, probe.Masked, "--root /host"},
		"no figure": {func(w *world) {
			w.write("sys/class/hwmon/hwmon0/name", "power_meter\n")
			w.write("sys/class/hwmon/hwmon0/power1_average", "\n")
		}, probe.Broken, "not a number of microwatts"},
		"no figure yet": {func(w *world) {
			w.write("sys/class/hwmon/hwmon0/name", "power_meter\n")
			w.write("sys/class/hwmon/hwmon0/power1_average", "0\n")
		}, probe.Broken, "acpi_ipmi"},
		"a figure of no machine": {func(w *world) {
			w.write("sys/class/hwmon/hwmon0/name", "power_meter\n")
			w.write("sys/class/hwmon/hwmon0/power1_average", "4294967295000\n")
		}, probe.Broken, "more than a machine uses"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{tb: t, root: t.TempDir()}
			tt.prepare(w)
			s, err := Open(t.Context(), w.env())
			if err == nil {
				s.Close()
				t.Fatal("it opens")
			}
			if v := probe.Of(Name, "", err); v.Status != tt.status || !strings.Contains(v.Reason+" "+v.Remedy, tt.says) {
				t.Errorf("verdict %+v, want %s and %q", v, tt.status, tt.says)
			}
		})
	}
}

func TestForbidden(t *testing.T) {
	v := probe.Of(Name, "", refusal("/sys/x", &os.PathError{Op: "open", Path: "/sys/x", Err: os.ErrPermission}))
	if v.Status != probe.Forbidden || !strings.HasSuffix(v.Remedy, "chmod a+r /sys/x") {
		t.Errorf("verdict %+v", v)
	}
}

// TestFailureAndReturn has a meter that says nothing of use for a while.
func TestFailureAndReturn(t *testing.T) {
	w := unpack(t, "power-acpi-meter")
	s := w.open()
	file := w.path(acpiDevice, gauge)
	for _, text := range []string{"", "0\n", "-5\n", "312 W\n", "99999999999999999999999\n", strings.Repeat("1", 64)} {
		machinetest.Write(t, file, text)
		readings, err := s.Read(t.Context(), nil)
		ze, ok := errors.AsType[*sensor.ZoneError](err)
		if len(readings) != 0 || !ok || ze.Zone != 0 || !strings.Contains(ze.Error(), gauge) {
			t.Errorf("of %q: %v, %v", text, readings, err)
		}
	}
	w.must(os.Remove(file))
	if readings, err := s.Read(t.Context(), nil); len(readings) != 0 || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a driver that was unloaded: %v, %v", readings, err)
	}
	w.must(os.WriteFile(file, []byte("250000000\n"), 0o644))
	readings, err := s.Read(t.Context(), nil)
	if err != nil || len(readings) != 1 || readings[0].Power != 250*unit.Watt {
		t.Errorf("loaded again: %v, %v", readings, err)
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	s := unpack(t, "power-acpi-meter").open()
	dst := make([]energy.Reading, 0, 1)
	if n := testing.AllocsPerRun(100, func() { dst, _ = s.Read(t.Context(), dst[:0]) }); n != 0 || len(dst) != 1 {
		t.Errorf("%v allocations a read, %d readings", n, len(dst))
	}
}

func FuzzParsePower(f *testing.F) {
	for _, s := range []string{"312000000\n", "0\n", "", "-1\n", "1e9\n", "100000000000", "100000000001", "18446744073709551616\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePower(b)
		if (p > 0) == (err != nil) || p < 0 || p > maxPower {
			t.Errorf("%q is %d and %v", b, p, err)
		}
	})
}
