// Package deploy holds what is deployed to the schemas and parsers that others
// will read it with. It has no code of its own.
package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const compose = "../../deploy/compose"

// load reads compose files as docker compose does: its own parser, schema,
// variables and merging.
func load(t *testing.T, names ...string) *types.Project {
	t.Helper()
	for i, n := range names {
		names[i] = filepath.Join(compose, n)
	}
	options, err := cli.NewProjectOptions(names, cli.WithEnv([]string{"NODE_NAME=kept", "GRID_ZONE=FR"}), cli.WithDefaultProfiles("carbon"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestComposeFiles(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files []string
		user  string
		caps  []string
		usage bool
	}{
		{name: "with two capabilities", files: []string{"compose.yml"}, user: "0:0", caps: []string{"BPF", "PERFMON"}},
		{name: "without any", files: []string{"compose.yml", "compose.unprivileged.yml"}, user: "65532:65532", usage: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := load(t, tc.files...)
			agent := p.Services["noether"]
			switch {
			case agent.User != tc.user:
				t.Errorf("user %q, want %q", agent.User, tc.user)
			case !slices.Equal(agent.CapAdd, tc.caps) || !slices.Equal(agent.CapDrop, []string{"ALL"}):
				t.Errorf("capabilities +%v -%v", agent.CapAdd, agent.CapDrop)
			case agent.Privileged || !agent.ReadOnly || !slices.Contains(agent.SecurityOpt, "no-new-privileges:true"):
				t.Error("it is privileged, may write, or may gain privileges")
			case !slices.Contains(agent.Command, "--node-name=kept") || slices.Contains(agent.Command, "--usage=cgroup") != tc.usage:
				t.Errorf("command %q", agent.Command)
			}
			for _, s := range p.Services {
				for _, v := range s.Volumes {
					if v.Type != types.VolumeTypeBind {
						continue
					}
					if _, err := os.Stat(v.Source); err != nil {
						t.Errorf("%s mounts what is not there: %v", s.Name, err)
					}
					if !v.ReadOnly {
						t.Errorf("%s may write to %s", s.Name, v.Source)
					}
				}
				for _, port := range s.Ports {
					if port.HostIP != "127.0.0.1" {
						t.Errorf("%s is published on %q", s.Name, port.HostIP)
					}
				}
			}
		})
	}
}

// TestCompositionOfTheHub: the profile has a container that may do nothing but
// ask, and the agent reads it only with the file that says so.
func TestCompositionOfTheHub(t *testing.T) {
	without, err := load(t, "compose.yml").WithProfiles(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := without.Services["carbon"]; ok || without.Services["noether"].Environment["NOETHER_GRID_HUB"] != nil {
		t.Error("without the profile and its file there is a hub")
	}
	p := load(t, "compose.yml", "compose.carbon.yml")
	hub, ok := p.Services["carbon"]
	if !ok || hub.User != "65532:65532" || len(hub.CapAdd) > 0 || !slices.Equal(hub.CapDrop, []string{"ALL"}) || !hub.ReadOnly || !slices.Contains(hub.SecurityOpt, "no-new-privileges:true") || len(hub.Volumes) > 0 {
		t.Errorf("the hub: %+v", hub)
	}
	if want := []string{"carbon", "exporter", "--listen=:9878", "--zone=FR", "--grid.provider=energy-charts"}; !slices.Equal(hub.Command, want) {
		t.Errorf("command %q, want %q", hub.Command, want)
	}
	agent := p.Services["noether"].Environment
	for name, want := range map[string]string{"NOETHER_GRID_HUB": "http://carbon:9878", "NOETHER_GRID_ZONE": "FR"} {
		if got := agent[name]; got == nil || *got != want {
			t.Errorf("%s of the agent is %v, want %s", name, got, want)
		}
	}
}

// TestPrometheusReadsItsConfiguration gives promtool the file with its paths
// as they are here.
func TestPrometheusReadsItsConfiguration(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool here: apt-get install prometheus")
	}
	b, err := os.ReadFile(filepath.Join(compose, "prometheus.yml"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs(filepath.Join(compose, "../helm/noether/files"))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(b), "/etc/prometheus/rules", rules)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(promtool, "check", "config", name).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "rules found") {
		t.Errorf("promtool check config: %v\n%s", err, out)
	}
}
