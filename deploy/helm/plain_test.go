package helm

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// plain is a rendering without what only Helm understands.
func plain(t *testing.T, args ...string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(render(t, append(args, "--set", "tests.enabled=false")...)) {
		switch word := strings.TrimSpace(line); {
		case strings.HasPrefix(line, "# Source: "), strings.HasPrefix(word, "helm.sh/chart:"), word == "app.kubernetes.io/managed-by: Helm":
		default:
			out.WriteString(line)
		}
	}
	return out.String()
}

// hub is the wish that the overlay carbon-hub stands for.
const hub = "carbon.hub.enabled=true,carbon.hub.zones={DE},carbon.providers={energy-charts}"

const generated = "# Generated from the chart: go test ./deploy/helm -update. Do not edit.\n"

func TestPlainManifests(t *testing.T) {
	all := plain(t, "--set", "namespace.create=true")
	golden(t, "../manifests/noether.yaml", []byte(generated+"# kubectl apply -f noether.yaml, with your image in place of noether.\n"+all))
	golden(t, "../kustomize/base/noether.yaml", []byte(generated+all))
	golden(t, "../kustomize/overlays/prometheus-operator/monitoring.yaml", []byte(generated+plain(t,
		"--set", "serviceMonitor.enabled=true,prometheusRule.enabled=true",
		"--show-only", "templates/servicemonitor.yaml", "--show-only", "templates/prometheusrule.yaml")))
	golden(t, "../kustomize/overlays/carbon-hub/hub.yaml", []byte(generated+plain(t, "--set", hub, "--show-only", "templates/carbon-hub.yaml")))
}

// An overlay gives what the chart gives with the same wish.
func TestKustomize(t *testing.T) {
	for dir, args := range map[string][]string{
		"base":                  {},
		"overlays/unprivileged": {"--set", "variant=unprivileged"},
		"overlays/carbon-hub":   {"--set", hub},
		"overlays/prometheus-operator": {
			"--set", "serviceMonitor.enabled=true,prometheusRule.enabled=true",
			"--set", "serviceMonitor.labels.release=kube-prometheus-stack,prometheusRule.labels.release=kube-prometheus-stack",
		},
	} {
		t.Run(dir, func(t *testing.T) {
			stdout, stderr, err := run(t, tool(t, "kubectl"), "kustomize", "../kustomize/"+dir)
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr)
			}
			want := objects(t, plain(t, append(args, "--set", "namespace.create=true")...))
			if diff := cmp.Diff(want, objects(t, stdout)); diff != "" {
				t.Errorf("kubectl kustomize %s is not what the chart renders (-chart +kustomize):\n%s", dir, diff)
			}
		})
	}
}

// objects decodes a stream of objects, by kind and name.
func objects(t *testing.T, text string) map[string]any {
	t.Helper()
	all := map[string]any{}
	for dec := yaml.NewDecoder(strings.NewReader(text)); ; {
		var object struct {
			Kind     string
			Metadata struct{ Name string }
			Rest     map[string]any `yaml:",inline"`
		}
		var whole any
		var node yaml.Node
		if err := dec.Decode(&node); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(node.Decode(&object), node.Decode(&whole)); err != nil {
			t.Fatal(err)
		}
		all[object.Kind+" "+object.Metadata.Name] = whole
	}
}
