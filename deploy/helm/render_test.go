package helm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// kubeVersion is what the renderings are for; Helm's own default changes with it.
const kubeVersion = "1.34.0"

// tool finds a program on PATH, or among those that the tests of the cluster
// build into the user's cache.
func tool(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if cache, err := os.UserCacheDir(); err == nil {
		found, _ := filepath.Glob(filepath.Join(cache, "noether", "cluster-*", name)) // the pattern is right
		if len(found) > 0 {
			return found[len(found)-1]
		}
	}
	why := name + " is neither on PATH nor in the cache of test/e2e/cluster"
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
	return ""
}

func run(t *testing.T, name string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	// Neither a cluster nor a user's settings decide what is rendered.
	cmd.Env = append(os.Environ(), "KUBECONFIG=/dev/null", "HELM_NAMESPACE=", "HELM_KUBECONTEXT=")
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	err = cmd.Run()
	return out.String(), bad.String(), err
}

func template(t *testing.T, args ...string) (string, error) {
	t.Helper()
	args = append([]string{"template", "noether", "noether", "--namespace", "noether", "--kube-version", kubeVersion}, args...)
	stdout, stderr, err := run(t, tool(t, "helm"), args...)
	if err != nil {
		return stderr, err
	}
	return stdout, nil
}

func render(t *testing.T, args ...string) string {
	t.Helper()
	out, err := template(t, args...)
	if err != nil {
		t.Fatalf("helm template %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func valueSets(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.values.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("testdata has %d sets of values: %v", len(files), err)
	}
	return files
}

func TestRenderings(t *testing.T) {
	for _, file := range valueSets(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".values.yaml")
		t.Run(name, func(t *testing.T) {
			out := render(t, "--values", file)
			// The dashboards are compared as files of their own.
			var kept []string
			for _, doc := range documents(out) {
				if !strings.Contains(doc, "# Source: noether/templates/dashboards.yaml") {
					kept = append(kept, doc)
				}
			}
			golden(t, strings.TrimSuffix(file, ".values.yaml")+".golden.yaml", []byte(strings.Join(kept, "")))
			if out != render(t, "--values", file) {
				t.Error("two renderings of the same values differ")
			}
		})
	}
}

// documents splits a stream of YAML; each keeps its "---".
func documents(out string) []string {
	var docs []string
	for part := range strings.SplitSeq("\n"+out, "\n---\n") {
		if part = strings.Trim(part, "\n"); part != "" {
			docs = append(docs, "---\n"+part+"\n")
		}
	}
	return docs
}

// The notes tell commands that are true for the values.
func TestNotes(t *testing.T) {
	chart := t.TempDir()
	if err := os.CopyFS(chart, os.DirFS("noether")); err != nil {
		t.Fatal(err)
	}
	// helm template leaves NOTES.txt out: a template that includes it shows it.
	wrap := "notes: |\n{{ include (print $.Template.BasePath \"/NOTES.txt\") . | indent 2 }}\n"
	if err := os.WriteFile(filepath.Join(chart, "templates", "notes.yaml"), []byte(wrap), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range valueSets(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".values.yaml")
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run(t, tool(t, "helm"), "template", "noether", chart, "--namespace", "noether", "--kube-version", kubeVersion, "--values", file, "--show-only", "templates/notes.yaml")
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr)
			}
			_, notes, _ := strings.Cut(stdout, "notes: |\n")
			var text strings.Builder
			for line := range strings.Lines(notes) {
				text.WriteString(strings.TrimPrefix(line, "  "))
			}
			golden(t, filepath.Join("testdata", name+".notes.txt"), []byte(strings.TrimSpace(text.String())+"\n"))
		})
	}
}

func TestLint(t *testing.T) {
	for _, file := range valueSets(t) {
		stdout, stderr, err := run(t, tool(t, "helm"), "lint", "--strict", "--kube-version", kubeVersion, "noether", "--values", file)
		if err != nil {
			t.Errorf("helm lint with %s: %v\n%s%s", file, err, stdout, stderr)
		}
	}
}

// TestGuideFlags are those that the guides for other exporters tell to give.
func TestGuideFlags(t *testing.T) {
	out := render(t, "--show-only", "templates/servicemonitor.yaml",
		"--set", "serviceMonitor.enabled=true", "--set", "serviceMonitor.namespace=observability", "--set", "serviceMonitor.interval=30s",
		"--set", "serviceMonitor.labels.release=kube-prometheus-stack")
	for _, want := range []string{
		"  namespace: observability\n", "    release: kube-prometheus-stack\n", "    matchNames: [noether]\n",
		"      interval: 30s\n", "      honorLabels: true\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// A mistake is told with what to do, and nothing is rendered.
func TestMistakes(t *testing.T) {
	tests := []struct {
		name, want string
		args       []string
	}{
		{"a key that does not exist", "serviceMonitr", []string{"--set", "serviceMonitr.enabled=true"}},
		{"a key that does not exist inside", "intervall", []string{"--set", "serviceMonitor.intervall=30s"}},
		{"a wrong word", "api", []string{"--set", "kubernetes.source=apiserver"}},
		{"a duration without unit", "interval", []string{"--set-string", "serviceMonitor.interval=30"}},
		{"a setting of the chart in config", "config has \"listen\"", []string{"--set", "config.listen=:80"}},
		{"scraped twice", "choose one", []string{"--set", "serviceMonitor.enabled=true,podMonitor.enabled=true"}},
		{"a monitor without service", "needs service.enabled", []string{"--set", "serviceMonitor.enabled=true,service.enabled=false"}},
		{"two certificate authorities", "give one of", []string{"--set", "kubernetes.kubelet.ca.secret=a,kubernetes.kubelet.ca.configMap=b"}},
		{"TLS without its file", "web.configSecret", []string{"--set", "web.tls.enabled=true"}},
		{"a job without manifest", "manifest", []string{"--set", "impact.jobs[0].name=a,impact.jobs[0].schedule=@hourly"}},
		{"two jobs of one name", "two jobs called", []string{"--set", "impact.jobs[0].name=a,impact.jobs[0].schedule=@hourly,impact.jobs[0].manifest=x,impact.jobs[1].name=a,impact.jobs[1].schedule=@hourly,impact.jobs[1].manifest=x"}},
		{"a zone in the agent's file", "use the values carbon", []string{"--set", "config.grid.zone=DE"}},
		{"a setting of carbon in the agent's file, with dots", "use the values carbon", []string{"--set", `config.price\.per-kwh=0.3`}},
		{"marginal intensity in accounts", "carbon/providers", []string{"--set", "carbon.providers={watttime}"}},
		{"a hub without zones", "noether carbon zones", []string{"--set", "carbon.hub.enabled=true"}},
		{"a hub, and one elsewhere", "have a hub or name one", []string{"--set", "carbon.hub.enabled=true,carbon.hub.zones={DE},carbon.hub.url=http://hub:9878"}},
		{"providers of a hub elsewhere", "asks its own providers", []string{"--set", "carbon.hub.url=http://hub:9878,carbon.providers={neso},carbon.factor=direct"}},
		{"a hub's zones without a hub", "carbon.hub.enabled=true", []string{"--set", "carbon.hub.zones={DE}"}},
		{"a hub's ConfigMap without a hub", "carbon.hub.enabled=true", []string{"--set", "carbon.hub.configMap=kube-system/carbon-intensity"}},
		{"a ConfigMap without a namespace", "configMap", []string{"--set", "carbon.hub.enabled=true,carbon.hub.zones={DE},carbon.hub.configMap=carbon-intensity"}},
		{"a ConfigMap of two zones", "forecast of one zone", []string{"--set", "carbon.hub.enabled=true,carbon.hub.zones={DE,FR},carbon.hub.configMap=kube-system/carbon-intensity"}},
		{"a hub for agents that know no region", "set carbon.zone", []string{"--set", "carbon.hub.enabled=true,carbon.hub.zones={DE},kubernetes.source=kubelet"}},
		{"a provider without its key", "carbon.tokens.keys.entsoe=KEY", []string{"--set", "carbon.providers={entsoe}"}},
		{"a key that nobody uses", "leave the key out", []string{"--set", "carbon.tokens.secret=a,carbon.tokens.keys.entsoe=token"}},
		{"a Secret without keys", "belong together", []string{"--set", "carbon.tokens.secret=a"}},
		{"a key that is a path", "keys", []string{"--set", "carbon.providers={entsoe},carbon.tokens.secret=a,carbon.tokens.keys.entsoe=../token"}},
		{"a query without its provider", "provider prometheus", []string{"--set", "carbon.query=a"}},
		{"a query without a server", "carbon.prometheusUrl", []string{"--set", "carbon.pue=query:a"}},
		{"a BMC without its account", "kubectl create secret", []string{"--set", "redfish.url=https://bmc"}},
		{"an account of no BMC", "needs redfish.url", []string{"--set", "redfish.secret=bmc"}},
		{"a BMC in the clear", "redfish/url", []string{"--set", "redfish.url=http://bmc,redfish.secret=bmc"}},
		{"a BMC with a password in its address", "redfish/url", []string{"--set", "redfish.url=https://a:b@bmc,redfish.secret=bmc"}},
		{"a BMC in the agent's file", "use the values redfish", []string{"--set", "config.redfish.url=https://bmc"}},
		{"two kinds of emissions", "leave out neso", []string{"--set", "carbon.providers={energy-charts,neso}"}},
		{"direct emissions as those of a life", "carbon.factor=direct", []string{"--set", "carbon.providers={rte}"}},
		{"a policy between agents and providers", "carbon.hub.enabled=true", []string{"--set", "networkPolicy.enabled=true,carbon.providers={energy-charts}"}},
		{"a policy between agents and Prometheus", "networkPolicy.extraEgress", []string{"--set", "networkPolicy.enabled=true,carbon.pue=query:a,carbon.prometheusUrl=http://p:9090"}},
		{"a policy between the hub and Prometheus", "carbon.hub.extraEgress", []string{"--set", "networkPolicy.enabled=true,carbon.hub.enabled=true,carbon.hub.zones={DE},carbon.providers={prometheus},carbon.query=a,carbon.prometheusUrl=http://p:9090"}},
		{"a currency that is none", "currency", []string{"--set", "carbon.price.currency=euro"}},
		{"a page over nothing", "set ui.prometheusUrl", []string{"--set", "ui.enabled=true"}},
		{"a page with a password in its address", "prometheusUrl", []string{"--set", "ui.enabled=true,ui.prometheusUrl=http://a:b@p"}},
		{"a page with keys of no Secret", "ui.credentials.secret", []string{"--set", "ui.enabled=true,ui.prometheusUrl=http://p,ui.credentials.files.A=b"}},
		{"a history that nobody keeps", "store.enabled=true", []string{"--set", "store.hostPath=/x"}},
		{"a history that cannot be written", "unprivileged", []string{"--set", "store.enabled=true,store.hostPath=/x,variant=unprivileged"}},
		{"a privileged pod", "privileged", []string{"--set", "privileged=true"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, err := template(t, test.args...)
			if err == nil {
				t.Fatal("it is rendered")
			}
			if !strings.Contains(out, test.want) {
				t.Errorf("the error lacks %q:\n%s", test.want, out)
			}
		})
	}
}
