package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"noether/internal/agent"
	"noether/internal/sensor/model"
)

var update = flag.Bool("update", false, "rewrite the expected messages and docs/config.md")

// load runs Load with a command line and an environment.
func load(t *testing.T, args, environ []string) (Config, []string, error) {
	t.Helper()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags := Register(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(flags, environ)
}

func TestNothingSaidIsDefault(t *testing.T) {
	got, warnings, err := load(t, nil, []string{"HOME=/root", "NOETHER_INTERVAL="})
	if err != nil || len(warnings) != 0 {
		t.Fatal(warnings, err)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
		t.Error(diff)
	}
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "noether.yml")
	if err := os.WriteFile(file, []byte("interval: 1s\nusage: cgroup\nsensor: [powercap, model]\npolicy: proportional\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, _, err := load(t,
		[]string{"--interval=3s", "--sensor=model", "--stdout"},
		[]string{"NOETHER_CONFIG=" + file, "NOETHER_INTERVAL=2s", "NOETHER_USAGE=procfs", "NOETHER_SENSOR=powercap"})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.File, want.Agent.Interval, want.Usage, want.Agent.Policy, want.Sensors, want.Stdout = file, 3*time.Second, "procfs", "proportional", []string{"model"}, true
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestGoodFile(t *testing.T) {
	got, _, err := load(t, []string{"--config", "testdata/good.yml"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.File, want.Listen, want.Agent.Interval, want.Agent.KeepFinished = "testdata/good.yml", []string{"127.0.0.1:9900"}, time.Second, 30*time.Minute
	want.Agent.Processes, want.Sensors, want.AllowedHosts = agent.Processes{}, []string{"powercap", "model"}, []string{"noether.internal"}
	want.LogLevel, want.LogFormat, want.Stdout, want.Agent.NodeName = -4, "json", true, "17"
	want.Model = model.Config{IdleWatts: 38, MaxWatts: 145.5}
	want.Grid.Zone, want.Grid.Providers, want.Grid.TokenFiles = "NO", []string{"electricitymaps", "fixed:42", "file:/etc/a=b.csv"}, []string{"/etc/a=b"}
	want.PUE, want.Embodied, want.Overhead, want.Price, want.Currency = "1.25", Embodied{Kg: "1200", Years: 5}, "33%", "-0.01", "NOK"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Each bad file has the whole expected message beside it.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bad.yml"), func(t *testing.T) {
			_, _, err := load(t, []string{"--config", file}, nil)
			if err == nil {
				t.Fatal("accepted")
			}
			golden(t, strings.TrimSuffix(file, ".yml")+".txt", err.Error()+"\n")
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-update rewrites it):\n%s", name, diff)
	}
}

func TestAllProblemsAtOnceWhereverTheyAre(t *testing.T) {
	_, warnings, err := load(t,
		[]string{"--interval=5", "--processes=some", "--config", "testdata/absent.yml"},
		[]string{"NOETHER_LISTEN=9877", "NOETHER_SENSORS=model", "NOETHER_PORT=tcp://10.0.0.1:9877", "NOETHER_AGENT_SERVICE_HOST=10.0.0.1", "NOETHER_PORT_9877_TCP_ADDR=10.0.0.1"})
	want := `testdata/absent.yml: cannot be read: no such file or directory
NOETHER_LISTEN: "9877" has no host: write 127.0.0.1:9877, or :9877 for every interface
--interval: "5" has no unit: write 5s for seconds
--processes: "some" is not off, all or top:N: write it like top:20`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	if diff := cmp.Diff([]string{"NOETHER_SENSORS is no setting and is ignored: did you mean NOETHER_SENSOR?"}, warnings); diff != "" {
		t.Error(diff)
	}
}

func TestTooShortKeepFinishedIsAWarning(t *testing.T) {
	_, warnings, err := load(t, []string{"--keep-finished=1s"}, nil)
	want := []string{"keep-finished 1s is shorter than two ticks of interval 5s: what has ended is kept for 10s, else it could vanish before it is scraped"}
	if diff := cmp.Diff(want, warnings); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// together is what a setting does not go without.
var together = map[string][]string{
	"grid.token-file": {"NOETHER_GRID_PROVIDER=electricitymaps"},
	"grid.query":      {"NOETHER_GRID_PROVIDER=prometheus", "NOETHER_PROMETHEUS_URL=http://127.0.0.1:9090"},
	"grid.factor":     {"NOETHER_GRID_PROVIDER=neso"},
	"price.per-kwh":   {"NOETHER_PRICE_CURRENCY=EUR"},
	"price.currency":  {"NOETHER_PRICE_PER_KWH=0.3"},
}

func TestEverySettingHasOneNameOneVariableAndAnExampleThatWorks(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Table() {
		if seen[s.Name] || seen[s.Env()] {
			t.Errorf("%s or %s stands twice", s.Name, s.Env())
		}
		seen[s.Name], seen[s.Env()] = true, true
		if s.Name == "config" {
			continue
		}
		environ := []string{"NOETHER_NODE_NAME=some"}
		environ = append(append(environ, together[s.Name]...), s.Env()+"="+s.Example)
		c, _, err := load(t, nil, environ)
		if err != nil {
			t.Errorf("example of %s: %v", s.Name, err)
		}
		if got := s.get(&c); got == s.Default() || got != s.Example {
			t.Errorf("%s set to %q reads %q, default %q", s.Name, s.Example, got, s.Default())
		}
	}
}

func TestNamesThatNobodyTells(t *testing.T) {
	_, _, err := load(t, []string{"--kube-source=api", "--container-names=auto,/run/docker.sock", "--kube-pod-labels=app.kubernetes.io/name,app-kubernetes-io/name"}, nil)
	want := `--kube-source: "api" needs node-name: the name of this machine in kubectl get nodes; in a pod set NOETHER_NODE_NAME from the field spec.nodeName
--kube-pod-labels: "app.kubernetes.io/name,app-kubernetes-io/name" has two items for one label: pod labels "app.kubernetes.io/name" and "app-kubernetes-io/name" would both be called label_app_kubernetes_io_name: choose one of them
--container-names: "auto,/run/docker.sock" says two things: name sockets, or auto, or off`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	for arg, want := range map[string]string{
		"--kube-source=apis":                     `"apis" is not one of off, api, kubelet: did you mean api?`,
		"--kube-kubelet-url=http://10.0.0.1":     "is not https://HOST:PORT",
		"--kube-kubelet-url=https://u:p@n:10250": "is not https://HOST:PORT",
		"--kube-pod-labels=team,a b":             `"team,a b" has a wrong item: pod label "a b" is no key that Kubernetes allows`,
		"--container-names=of":                   `"of" is neither auto nor off nor the path of a socket: did you mean off?`,
		"--container-names=docker.sock":          "write it like /run/podman/podman.sock",
		"--container-names=unix:///run/x.sock":   "write the path alone, /run/x.sock",
	} {
		if _, _, err := load(t, []string{arg}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", arg, err)
		}
	}
	_, warnings, err := load(t, []string{"--kube-kubelet-ca=/ca", "--kube-source=api", "--node-name=n"}, nil)
	if diff := cmp.Diff([]string{"kube-kubelet-ca has no effect: it is for kube-source kubelet, which is api"}, warnings); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestOnlyNamedFlagsAreRegistered(t *testing.T) {
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Register(set, "sensor")
	if set.Lookup("sensor") == nil || set.Lookup("listen") != nil {
		t.Error("flags are not those named")
	}
}

func TestKernelPaths(t *testing.T) {
	c, _, err := load(t, []string{"--root=/host", "--sysfs=/other/sys"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	fs := c.FS()
	if diff := cmp.Diff([]string{"/host/proc", "/other/sys", "/host/sys/fs/cgroup"}, []string{fs.Proc, fs.Sys, fs.Cgroup}); diff != "" {
		t.Error(diff)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"interval", "listen", "log.level"}
	for word, want := range map[string]string{"intervall": "interval", "lsiten": "listen", "log.levle": "log.level", "store.path": "", "": ""} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestReferencePage(t *testing.T) {
	golden(t, filepath.Join("..", "..", "docs", "config.md"), Reference())
}

// A file is either understood or complained about, and a complaint about its
// content has a line of the file.
func FuzzFile(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("log: &l {level: debug}\nmodel: *l\n"))
	table := Table()
	f.Fuzz(func(t *testing.T, content []byte) {
		found, problems := parse("f.yml", content, table)
		for _, p := range problems {
			if p.Text == "" || p.Source == "" {
				t.Errorf("problem without a text: %+v", p)
			}
		}
		for _, x := range found {
			if x.line < 1 || x.line > strings.Count(string(content), "\n")+1 {
				t.Errorf("%s stands on line %d", x.setting.Name, x.line)
			}
			c := Default()
			_ = x.setting.set(&c, x.texts)
		}
	})
}
