package helm

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"noether/internal/config"
)

// find decodes one object of a rendering.
func find(t *testing.T, all map[string]any, kindName string, into any) {
	t.Helper()
	object, ok := all[kindName]
	if !ok {
		t.Fatalf("no %s among %v", kindName, slices.Sorted(maps.Keys(all)))
	}
	text, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// The agent takes the arguments and the file that the chart gives it.
func TestAgentTakesWhatItIsGiven(t *testing.T) {
	for _, file := range valueSets(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			all := objects(t, render(t, "--values", file))
			name := "noether"
			if all["DaemonSet "+name] == nil {
				name = "energy"
			}
			var set struct {
				Spec struct {
					Template struct {
						Spec struct{ Containers []struct{ Args []string } }
					}
				}
			}
			find(t, all, "DaemonSet "+name, &set)
			var settings struct{ Data map[string]string }
			dir := t.TempDir()
			if all["ConfigMap "+name] != nil {
				find(t, all, "ConfigMap "+name, &settings)
			}
			for _, f := range []struct{ name, text string }{{"noether.yml", settings.Data["noether.yml"]}, {"web.yml", "{}"}, {"ca.crt", ""}} {
				if err := os.WriteFile(filepath.Join(dir, f.name), []byte(f.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := set.Spec.Template.Spec.Containers[0].Args
			if args[0] != "agent" {
				t.Errorf("the first argument is %q, want agent", args[0])
			}
			replace := strings.NewReplacer("$(NODE_NAME)", "node-1", "$(HOST_IP)", "192.0.2.1", "/etc/noether/config", dir, "/etc/noether/web", dir, "/etc/noether/kubelet-ca", dir)
			for i := range args {
				args[i] = replace.Replace(args[i])
			}
			flags := pflag.NewFlagSet("agent", pflag.ContinueOnError)
			registered := config.Register(flags)
			if err := flags.Parse(args[1:]); err != nil {
				t.Fatal(err)
			}
			c, warnings, err := config.Load(registered, nil)
			if err != nil || len(warnings) > 0 {
				t.Fatalf("%q: %v, warnings %q", args, err, warnings)
			}
			if c.Agent.NodeName != "node-1" || c.Root != "/host" {
				t.Errorf("node name %q and root %q, want node-1 and /host", c.Agent.NodeName, c.Root)
			}
		})
	}
}

// The page over a Prometheus takes the arguments that the chart gives it, has
// no way to the API server, and no secret in its arguments or variables.
func TestUITakesWhatItIsGiven(t *testing.T) {
	all := objects(t, render(t, "--values", "testdata/ui.values.yaml"))
	var page struct {
		Spec struct {
			Template struct {
				Spec struct {
					AutomountServiceAccountToken bool   `yaml:"automountServiceAccountToken"`
					ServiceAccountName           string `yaml:"serviceAccountName"`
					Containers                   []struct {
						Args            []string
						SecurityContext struct {
							ReadOnlyRootFilesystem bool `yaml:"readOnlyRootFilesystem"`
						} `yaml:"securityContext"`
					}
				}
			}
		}
	}
	page.Spec.Template.Spec.AutomountServiceAccountToken = true
	find(t, all, "Deployment noether-ui", &page)
	pod := page.Spec.Template.Spec
	if pod.AutomountServiceAccountToken || pod.ServiceAccountName != "" || !pod.Containers[0].SecurityContext.ReadOnlyRootFilesystem {
		t.Errorf("%+v", pod)
	}
	args := pod.Containers[0].Args
	if args[0] != "ui" {
		t.Errorf("it is told to %q", args[0])
	}
	// The flags of its own: cmd/noether/ui.go.
	flags := pflag.NewFlagSet("ui", pflag.ContinueOnError)
	flags.StringArray("listen", nil, "")
	flags.Duration("step", 0, "")
	server := flags.String("prometheus", "", "")
	registered := config.Register(flags, "web.config-file", "web.external-url", "log.format")
	if err := flags.Parse(args[1:]); err != nil {
		t.Fatal(err)
	}
	if _, warnings, err := config.Load(registered, nil); err != nil || len(warnings) > 0 {
		t.Fatalf("%q: %v, warnings %q", args, err, warnings)
	}
	if *server != "https://mimir.observability.svc/prometheus" {
		t.Errorf("it asks %q", *server)
	}
	for url, want := range map[string]string{"http://p": "80", "https://p/x": "443", "http://p:9090/": "9090", "http://[2001:db8::1]:9090": "9090", "https://[2001:db8::1]": "443"} {
		out := render(t, "--show-only", "templates/ui.yaml", "--set", "networkPolicy.enabled=true,ui.enabled=true,ui.prometheusUrl="+url)
		if _, rules, _ := strings.Cut(out, "a policy sees"); !strings.Contains(rules, "- port: "+want+"\n") {
			t.Errorf("%s: no port %s in\n%s", url, want, rules)
		}
	}
}

// The hub takes the arguments that the chart gives it, and a token is a file.
func TestHubTakesWhatItIsGiven(t *testing.T) {
	for _, name := range []string{"carbon-hub", "carbon-zones"} {
		t.Run(name, func(t *testing.T) {
			all := objects(t, render(t, "--values", filepath.Join("testdata", name+".values.yaml")))
			var hub, set struct {
				Spec struct {
					Template struct {
						Spec struct{ Containers []struct{ Args []string } }
					}
				}
			}
			find(t, all, "Deployment noether-carbon", &hub)
			args := hub.Spec.Template.Spec.Containers[0].Args
			if !slices.Equal(args[:2], []string{"carbon", "exporter"}) {
				t.Errorf("the hub is told to %q", args[:2])
			}
			// The flags of its own: cmd/noether/carbon_exporter.go.
			flags := pflag.NewFlagSet("exporter", pflag.ContinueOnError)
			flags.StringArray("listen", nil, "")
			zones := flags.StringArray("zone", nil, "")
			flags.String("configmap", "", "")
			registered := config.Register(flags, "grid.provider", "grid.token-file", "grid.query", "grid.factor", "grid.allow-estimates", "prometheus-url", "log.format")
			if err := flags.Parse(args[2:]); err != nil {
				t.Fatal(err)
			}
			if _, warnings, err := config.Load(registered, nil); err != nil || len(warnings) > 0 {
				t.Fatalf("%q: %v, warnings %q", args, err, warnings)
			}
			if len(*zones) == 0 {
				t.Errorf("%q has no zone", args)
			}
			// What the hub knows, no agent is given.
			find(t, all, "DaemonSet noether", &set)
			for _, arg := range set.Spec.Template.Spec.Containers[0].Args {
				if strings.HasPrefix(arg, "--grid.token-file") || strings.HasPrefix(arg, "--grid.provider") {
					t.Errorf("an agent with a hub has the argument %s", arg)
				}
			}
		})
	}
}

// operator is what prometheus-operator v0.85.0 puts before the relabelings of a
// monitor (pkg/prometheus/promcfg.go, generateServiceMonitorConfig and
// generatePodMonitorConfig), less what only selects targets.
const operator = `
- {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
- {source_labels: [__meta_kubernetes_service_name], target_label: service}
- {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
- {source_labels: [__meta_kubernetes_pod_container_name], target_label: container}
- {target_label: job, replacement: observability/noether}
- {source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name], target_label: job, regex: (.+), replacement: "${1}"}
- {target_label: endpoint, replacement: metrics}
`

// A series that lacks a label is given the target's: the target must have none
// that tells about the agent's own pod.
func TestTargetsAreNoPods(t *testing.T) {
	type rule struct {
		Action, Regex, Replacement string
		SourceLabels               []string `yaml:"sourceLabels"`
		TargetLabel                string   `yaml:"targetLabel"`
	}
	type endpoint struct{ Relabelings []rule }
	var monitors struct {
		Spec struct {
			Endpoints           []endpoint
			PodMetricsEndpoints []endpoint `yaml:"podMetricsEndpoints"`
		}
	}
	rules := map[string][]*relabel.Config{}
	for kind, value := range map[string]string{"ServiceMonitor": "serviceMonitor.enabled=true", "PodMonitor": "podMonitor.enabled=true"} {
		find(t, objects(t, render(t, "--set", value)), kind+" noether", &monitors)
		list := parseRelabel(t, operator)
		for _, e := range append(monitors.Spec.Endpoints, monitors.Spec.PodMetricsEndpoints...) {
			for _, r := range e.Relabelings {
				m := map[string]any{"action": r.Action}
				if len(r.SourceLabels) > 0 {
					m["source_labels"] = r.SourceLabels
				}
				for key, text := range map[string]string{"regex": r.Regex, "replacement": r.Replacement, "target_label": r.TargetLabel} {
					if text != "" {
						m[key] = text
					}
				}
				text, err := yaml.Marshal([]any{m})
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, parseRelabel(t, string(text))...)
			}
		}
		rules[kind] = list
	}
	text, err := os.ReadFile("../prometheus/scrape.yml")
	if err != nil {
		t.Fatal(err)
	}
	var scrape struct {
		Jobs []struct {
			Relabel yaml.Node `yaml:"relabel_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(text, &scrape); err != nil {
		t.Fatal(err)
	}
	var own []*relabel.Config
	if err := scrape.Jobs[0].Relabel.Decode(&own); err != nil {
		t.Fatal(err)
	}
	rules["scrape.yml"] = own

	found := map[string]string{
		"job": "noether", "__address__": "10.0.0.7:9877",
		"__meta_kubernetes_namespace": "noether", "__meta_kubernetes_service_name": "noether", "__meta_kubernetes_pod_name": "noether-x7k2p",
		"__meta_kubernetes_pod_container_name": "noether", "__meta_kubernetes_pod_container_port_name": "metrics", "__meta_kubernetes_pod_node_name": "node-1",
		"__meta_kubernetes_pod_label_app_kubernetes_io_name": "noether", "__meta_kubernetes_pod_label_app_kubernetes_io_component": "agent",
	}
	want := map[string]string{"job": "noether", "node": "node-1", "instance": "node-1"}
	for name, list := range rules {
		target, keep := relabel.Process(labels.FromMap(found), list...)
		if !keep {
			t.Errorf("%s drops the agent", name)
		}
		got := map[string]string{}
		target.Range(func(l labels.Label) {
			if !strings.HasPrefix(l.Name, "__") {
				got[l.Name] = l.Value
			}
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: labels of the target (-want +got):\n%s", name, diff)
		}
	}
	found["__meta_kubernetes_pod_label_app_kubernetes_io_component"] = "impact"
	if _, keep := relabel.Process(labels.FromMap(found), rules["scrape.yml"]...); keep {
		t.Error("scrape.yml scrapes pods that are no agents")
	}
}

func parseRelabel(t *testing.T, text string) (list []*relabel.Config) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return list
}
