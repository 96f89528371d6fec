// Package config is the one table of what a user may set: its name is the
// flag, the key in the YAML file and, in capitals, the environment variable.
// Flags win over the environment, the environment over the file, the file over
// the defaults. Problems are collected, each with its place, its reason and its
// remedy. The package opens no sensor and starts nothing, and no other package
// but the command reads it.
package config

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"noether/internal/agent"
	"noether/internal/identity/kube"
	"noether/internal/linux"
	"noether/internal/sensor/model"
	"noether/internal/sensor/redfish"
)

// Config is what the settings say. The zero value is of no use: start with Default.
type Config struct {
	File string // the YAML file itself; only a flag or the environment names it

	Listen       []string // host:port
	AllowedHosts []string
	WebConfig    string // a web configuration file of Prometheus' exporter-toolkit
	ExternalURL  string // under which people reach the server; may be empty

	Store Store

	Agent        agent.Config
	Stdout, JSON bool // print each tick; JSON wins

	Kube           Kube
	ContainerNames []string // auto, off, or paths of sockets

	Grid          Grid
	PrometheusURL string // for the queries of Grid, PUE and Price
	PUE           string // see site.ParsePUE
	Embodied      Embodied
	Overhead      string // see agent.ParseOverhead; may be empty
	// NetworkKWhPerGB and DiskKWhPerGB are 0 where that energy is not counted.
	NetworkKWhPerGB, DiskKWhPerGB float64
	Price                         string // see site.ParsePrice; may be empty
	Currency                      string // ISO 4217

	Root, Proc, Sys, Cgroup string

	Sensors []string
	Usage   string
	Model   model.Config
	Redfish Redfish

	LogLevel  slog.Level
	LogFormat string
}

// Kube says who tells the names of pods.
type Kube struct {
	Source                string // off, api or kubelet
	Config, TokenFile     string // files; may be empty
	KubeletURL, KubeletCA string
	PodLabels             []string
}

// Default returns the settings of a user who says nothing.
func Default() Config {
	return Config{
		Listen:         []string{"127.0.0.1:9877"},
		Store:          Store{Path: StoreAuto, Interval: defaultStorePause, Retention: defaultRetention, Size: defaultStoreSize},
		Agent:          agent.Default(),
		Kube:           Kube{Source: "off", KubeletURL: kube.DefaultKubeletURL},
		ContainerNames: []string{"auto"},
		Grid:           Grid{Zone: "auto", Providers: []string{"yearly"}, Factor: "lifecycle", AllowEstimates: true},
		PUE:            "1",
		Embodied:       Embodied{Kg: "auto", Years: 4},
		Root:           "/",
		Sensors:        []string{"auto"},
		Usage:          "auto",
		Redfish:        Redfish{Interval: redfish.DefaultInterval},
		LogLevel:       slog.LevelInfo,
		LogFormat:      "text",
	}
}

// FS returns where the kernel's file systems are: below Root, unless said one by one.
func (c *Config) FS() linux.FS {
	fs := linux.Under(c.Root)
	if c.Proc != "" {
		fs.Proc = filepath.Clean(c.Proc)
	}
	if c.Sys != "" {
		fs.Sys = filepath.Clean(c.Sys)
	}
	if c.Cgroup != "" {
		fs.Cgroup = filepath.Clean(c.Cgroup)
	}
	return fs
}

// warnings are what looks like a mistake between settings but harms nothing.
func (c *Config) warnings() (warnings []string) {
	if least := 2 * c.Agent.Interval; c.Agent.KeepFinished < least {
		warnings = append(warnings, fmt.Sprintf("keep-finished %s is shorter than two ticks of interval %s: what has ended is kept for %s, else it could vanish before it is scraped",
			shortDuration(c.Agent.KeepFinished), shortDuration(c.Agent.Interval), shortDuration(least)))
	}
	for _, s := range []struct {
		name  string
		given bool
		uses  []string
	}{
		{"kube-config", c.Kube.Config != "", []string{"api"}},
		{"kube-kubelet-url", c.Kube.KubeletURL != kube.DefaultKubeletURL, []string{"kubelet"}},
		{"kube-kubelet-ca", c.Kube.KubeletCA != "", []string{"kubelet"}},
		{"kube-token-file", c.Kube.TokenFile != "", []string{"api", "kubelet"}},
		{"kube-pod-labels", len(c.Kube.PodLabels) > 0, []string{"api", "kubelet"}},
	} {
		if s.given && !slices.Contains(s.uses, c.Kube.Source) {
			warnings = append(warnings, fmt.Sprintf("%s has no effect: it is for kube-source %s, which is %s", s.name, strings.Join(s.uses, " or "), c.Kube.Source))
		}
	}
	warnings = append(warnings, c.redfishWarnings()...)
	return append(warnings, c.storeWarnings()...)
}

// validate finds what is wrong between settings; each alone was checked when it was set.
func (c *Config) validate(marginal bool) (problems []Problem) {
	if m := c.Model; m.IdleWatts > 0 && m.MaxWatts > 0 && m.IdleWatts > m.MaxWatts {
		problems = append(problems, Problem{
			Name: "model.idle-watts", Value: formatFloat(m.IdleWatts),
			Text: fmt.Sprintf("is more than model.max-watts %s: the idle machine cannot use more than the busy one", formatFloat(m.MaxWatts)),
		})
	}
	if m := c.Model; m.TDPWatts > 0 && (m.IdleWatts > 0 || m.MaxWatts > 0) {
		problems = append(problems, Problem{
			Name: "model.tdp-watts", Value: formatFloat(m.TDPWatts),
			Text: "stands beside model.idle-watts or model.max-watts: say the processor's TDP or the machine's own watts, not both",
		})
	}
	if len(c.Sensors) > 1 && slices.Contains(c.Sensors, "auto") {
		problems = append(problems, Problem{
			Name: "sensor", Value: strings.Join(c.Sensors, ","),
			Text: "auto chooses by itself: name sensors, or auto, not both",
		})
	}
	if c.Kube.Source != "off" && c.Agent.NodeName == "" {
		problems = append(problems, Problem{
			Name: "kube-source", Value: c.Kube.Source,
			Text: "needs node-name: the name of this machine in kubectl get nodes; in a pod set NOETHER_NODE_NAME from the field spec.nodeName",
		})
	}
	if _, err := kube.ParseLabels(c.Kube.PodLabels); err != nil {
		problems = append(problems, Problem{
			Name: "kube-pod-labels", Value: strings.Join(c.Kube.PodLabels, ","),
			Text: fmt.Sprintf("has two items for one label: %v", err),
		})
	}
	if len(c.ContainerNames) > 1 && (slices.Contains(c.ContainerNames, "auto") || slices.Contains(c.ContainerNames, "off")) {
		problems = append(problems, Problem{
			Name: "container-names", Value: strings.Join(c.ContainerNames, ","),
			Text: "says two things: name sockets, or auto, or off",
		})
	}
	problems = append(problems, c.validateRedfish()...)
	return append(problems, c.validateSite(marginal)...)
}
