package main

import (
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noether/internal/config"
	"noether/internal/linux/machinetest"

	"github.com/spf13/pflag"
)

// powered returns the root of a captured machine with a procfs of its own.
func powered(t *testing.T, name string) string {
	t.Helper()
	return machinetest.Unpack(t, filepath.Join("..", "..", "testdata", "machines", name+".txtar"))
}

func TestCheckNamesWhatMendsAMaskedOrForbiddenSensor(t *testing.T) {
	for name, want := range map[string][]string{
		"power-masked":            {"powercap masked", "> mount"},
		"power-intel-psys":        {"* powercap works", "measured", "sensor powercap"},
		"power-intel-two-sockets": {"* powercap works", "package-1"},
	} {
		t.Run(name, func(t *testing.T) {
			// Power of the captured machine, processes of this one.
			_, stdout, _ := noether(t.Context(), "check", "--sysfs="+powered(t, name)+"/sys")
			flat := strings.Join(strings.Fields(stdout), " ")
			for _, w := range want {
				if !strings.Contains(flat, w) {
					t.Errorf("lacks %q:\n%s", w, stdout)
				}
			}
		})
	}
}

// Where a better sensor is closed and an agent that measures is running, stat
// asks that agent and says so; where none is, it estimates and says so.
func TestStatAsksAnAgentWhereTheSensorIsClosed(t *testing.T) {
	s := serve(t, io.Discard, "--sensor=auto", "--sysfs="+powered(t, "power-intel-psys")+"/sys")
	for !strings.Contains(string(s.get(t, "/api/noether/v1/snapshot")), `"quality":"measured"`) {
		time.Sleep(20 * time.Millisecond)
	}
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags := config.Register(set)
	if err := set.Parse([]string{"--sysfs=" + powered(t, "power-masked") + "/sys"}); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(flags, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url, sensor, note string
	}{
		{s.url, "powercap of the agent at " + s.url, "the running agent was asked instead"},
		{"http://127.0.0.1:1", "model", "powercap is masked"},
	} {
		m, notes, err := openMeter(t.Context(), &process{}, &cfg, &statOptions{agentURL: c.url}, false, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if sensor, _ := m.about(); sensor != c.sensor || len(notes) != 1 || !strings.Contains(notes[0], c.note) {
			t.Errorf("sensor %q, notes %q; want %q, %q", sensor, notes, c.sensor, c.note)
		}
		if err := m.close(); err != nil {
			t.Error(err)
		}
	}
	s.stop()
	<-s.code
}
