package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"noether/internal/agent"
	"noether/internal/identity/kube"
	sensors "noether/internal/sensor/all"
)

// Kind is the type of a setting's value.
type Kind uint8

// The kinds of value.
const (
	Text Kind = iota
	Bool
	Number
	List  // several texts: a repeated flag, a YAML sequence, commas in the environment
	Value // a text that may be a number
)

// Setting is one line of the table. It is immutable and holds no value.
type Setting struct {
	Name    string // the flag and the YAML key
	Kind    Kind
	Form    string // of the value, for help: DURATION, auto|bpf
	Help    string // one sentence without its full stop
	Example string // a value other than the default
	set     func(c *Config, texts []string) error
	get     func(c *Config) string
}

// Env returns the environment variable of the setting.
func (s *Setting) Env() string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(s.Name))
}

// Default returns the default as it would be written.
func (s *Setting) Default() string {
	c := Default()
	return s.get(&c)
}

const envPrefix = "NOETHER_"

// Bounds of the settings that have some.
const (
	maxKeep  = 24 * time.Hour
	maxWatts = 1_000_000
)

// Table returns every setting, in the order in which help shows them.
func Table() []Setting {
	table := []Setting{
		text("config", "FILE", "read settings from this YAML file", "/etc/noether/noether.yml",
			func(c *Config) *string { return &c.File }, nil),
		list("listen", "HOST:PORT", "address of the metrics; repeat it for several; port 0 takes a free one", ":9877",
			func(c *Config) *[]string { return &c.Listen }, checkListen),
		text("web.config-file", "FILE", "TLS and basic auth, in the format of Prometheus' exporter-toolkit", "/etc/noether/web.yml",
			func(c *Config) *string { return &c.WebConfig }, nil),
		list("web.allowed-hosts", "HOST", "name that clients may use for this server besides its addresses and localhost; without any, only loopback is held to those", "noether.internal",
			func(c *Config) *[]string { return &c.AllowedHosts }, nil),
		text("web.external-url", "URL", "address under which people reach this server, behind a proxy: its host is one of this server's names, and everything is served below its path too", "https://example.org/noether/",
			func(c *Config) *string { return &c.ExternalURL }, checkExternal),
		duration("interval", "time from one tick to the next", "1s", agent.MinInterval, agent.MaxInterval,
			func(c *Config) *time.Duration { return &c.Agent.Interval }),
		duration("keep-finished", "how long what has ended stays exported, at least two intervals", "30m", 0, maxKeep,
			func(c *Config) *time.Duration { return &c.Agent.KeepFinished }),
		processes(),
		list("sensor", "auto|NAME", "where joules come from; repeat it to use several", "powercap",
			func(c *Config) *[]string { return &c.Sensors }, oneOf(sensorNames()...)),
		text("usage", "auto|bpf|cgroup|procfs", "where CPU time comes from", "procfs",
			func(c *Config) *string { return &c.Usage }, oneOf("auto", "bpf", "cgroup", "procfs")),
		text("policy", "utilisation|proportional", "how energy is divided", "proportional",
			func(c *Config) *string { return &c.Agent.Policy }, checkPolicy),
		text("node-name", "NAME", "value of the label node on every family; without it there is no such label", "rack4-17",
			func(c *Config) *string { return &c.Agent.NodeName }, checkNodeName),
		text("kube-source", "off|api|kubelet", "who tells the names of Kubernetes pods; other than off it needs node-name", "api",
			func(c *Config) *string { return &c.Kube.Source }, oneOf("off", "api", "kubelet")),
		text("kube-config", "FILE", "kubeconfig for the API server; a pod with a service account needs none", "/etc/noether/kubeconfig",
			func(c *Config) *string { return &c.Kube.Config }, nil),
		text("kube-kubelet-url", "URL", "address of this machine's kubelet, for kube-source kubelet", "https://192.0.2.17:10250",
			func(c *Config) *string { return &c.Kube.KubeletURL }, checkKubelet),
		text("kube-kubelet-ca", "FILE", "certificates that the kubelet's is verified by", "/var/lib/kubelet/pki/kubelet.crt",
			func(c *Config) *string { return &c.Kube.KubeletCA }, nil),
		text("kube-token-file", "FILE", "bearer token for the API server or the kubelet, read again when it changes; without it that of the pod's service account", "/etc/noether/token",
			func(c *Config) *string { return &c.Kube.TokenFile }, nil),
		list("kube-pod-labels", "KEY|annotation:KEY", "label or annotation of pods that becomes a label of theirs here, as label_KEY or annotation_KEY", "app.kubernetes.io/name,annotation:team",
			func(c *Config) *[]string { return &c.Kube.PodLabels }, checkPodLabel),
		list("container-names", "auto|off|SOCKET", "who tells the names of containers outside pods: auto asks the sockets of Docker and Podman that are there", "/run/podman/podman.sock",
			func(c *Config) *[]string { return &c.ContainerNames }, checkContainerNames),
		text("root", "DIR", "where the machine's /proc, /sys and /sys/fs/cgroup are found", "/host",
			func(c *Config) *string { return &c.Root }, notEmpty),
		text("procfs", "DIR", "where /proc is found, if not below root", "/host/proc",
			func(c *Config) *string { return &c.Proc }, nil),
		text("sysfs", "DIR", "where /sys is found, if not below root", "/host/sys",
			func(c *Config) *string { return &c.Sys }, nil),
		text("cgroupfs", "DIR", "where /sys/fs/cgroup is found, if not below root; it does not follow sysfs", "/host/sys/fs/cgroup",
			func(c *Config) *string { return &c.Cgroup }, nil),
		watts("model.idle-watts", "what this whole machine uses when idle, for the model", "38",
			func(c *Config) *float64 { return &c.Model.IdleWatts }),
		watts("model.max-watts", "what this whole machine uses when busy, for the model", "145",
			func(c *Config) *float64 { return &c.Model.MaxWatts }),
		watts("model.tdp-watts", "thermal design power of the processors, for the model", "65",
			func(c *Config) *float64 { return &c.Model.TDPWatts }),
	}
	table = append(table, redfishSettings()...)
	table = append(table, storeSettings()...)
	table = append(table, siteSettings()...)
	return append(table,
		boolean("stdout", "also print a table on standard output after each tick",
			func(c *Config) *bool { return &c.Stdout }),
		boolean("json", "also print a line of JSON on standard output after each tick, instead of the table",
			func(c *Config) *bool { return &c.JSON }),
		logLevel(),
		text("log.format", "text|json", "form of the log on standard error", "json",
			func(c *Config) *string { return &c.LogFormat }, oneOf("text", "json")),
	)
}

func last(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[len(texts)-1]
}

func text(name, form, help, example string, field func(*Config) *string, check func(string) error) Setting {
	return Setting{
		Name: name, Form: form, Help: help, Example: example,
		set: func(c *Config, texts []string) error {
			v := last(texts)
			if check != nil {
				if err := check(v); err != nil {
					return err
				}
			}
			*field(c) = v
			return nil
		},
		get: func(c *Config) string { return *field(c) },
	}
}

func list(name, form, help, example string, field func(*Config) *[]string, check func(string) error) Setting {
	return Setting{
		Name: name, Kind: List, Form: form, Help: help, Example: example,
		set: func(c *Config, texts []string) error {
			var items []string
			for _, t := range texts {
				for item := range strings.SplitSeq(t, ",") {
					item = strings.TrimSpace(item)
					if item == "" {
						return fmt.Errorf("has an empty item: write %s, or leave the setting out", example)
					}
					if check != nil {
						if err := check(item); err != nil {
							return err
						}
					}
					if !slices.Contains(items, item) {
						items = append(items, item)
					}
				}
			}
			if len(items) == 0 {
				return fmt.Errorf("is an empty list: write %s, or leave the setting out", example)
			}
			*field(c) = items
			return nil
		},
		get: func(c *Config) string { return strings.Join(*field(c), ",") },
	}
}

func boolean(name, help string, field func(*Config) *bool) Setting {
	return Setting{
		Name: name, Kind: Bool, Help: help, Example: "true",
		set: func(c *Config, texts []string) error {
			switch last(texts) {
			case "true":
				*field(c) = true
			case "false":
				*field(c) = false
			default:
				return errors.New("is not true or false")
			}
			return nil
		},
		get: func(c *Config) string { return strconv.FormatBool(*field(c)) },
	}
}

// unless is a boolean that is true unless somebody says otherwise.
func unless(name, help string, field func(*Config) *bool) Setting {
	s := boolean(name, help, field)
	s.Example = "false"
	return s
}

// value is a text that YAML may hold as a number.
func value(name, form, help, example string, field func(*Config) *string, check func(string) error) Setting {
	s := text(name, form, help, example, field, check)
	s.Kind = Value
	return s
}

func number(name, form, help, example string, least, most float64, field func(*Config) *float64) Setting {
	return Setting{
		Name: name, Kind: Number, Form: form, Help: help, Example: example,
		set: func(c *Config, texts []string) error {
			v, err := strconv.ParseFloat(last(texts), 64)
			switch {
			case err != nil || math.IsNaN(v):
				return fmt.Errorf("is not a number: write it like %s", example)
			case v < least || v > most:
				return fmt.Errorf("is out of range: choose %s to %s", formatFloat(least), formatFloat(most))
			}
			*field(c) = v
			return nil
		},
		get: func(c *Config) string { return formatFloat(*field(c)) },
	}
}

func duration(name, help, example string, least, most time.Duration, field func(*Config) *time.Duration) Setting {
	return Setting{
		Name: name, Form: "DURATION", Help: fmt.Sprintf("%s (%s to %s)", help, shortDuration(least), shortDuration(most)), Example: example,
		set: func(c *Config, texts []string) error {
			v := last(texts)
			d, err := time.ParseDuration(v)
			switch {
			case err != nil && isNumber(v):
				return fmt.Errorf("has no unit: write %ss for seconds", v)
			case err != nil:
				return fmt.Errorf("is not a duration: write it like %s", example)
			case d < least || d > most:
				return fmt.Errorf("is out of range: choose %s to %s", shortDuration(least), shortDuration(most))
			}
			*field(c) = d
			return nil
		},
		get: func(c *Config) string { return shortDuration(*field(c)) },
	}
}

// shortDuration drops the zero minutes and seconds of time.Duration's form: 10m, not 10m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

func formatFloat(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func watts(name, help, example string, field func(*Config) *float64) Setting {
	return Setting{
		Name: name, Kind: Number, Form: "WATTS", Help: help, Example: example,
		set: func(c *Config, texts []string) error {
			v, err := strconv.ParseFloat(last(texts), 64)
			switch {
			case err != nil || math.IsNaN(v) || math.IsInf(v, 0):
				return fmt.Errorf("is not a number of watts: write it like %s", example)
			case v <= 0 || v > maxWatts:
				return fmt.Errorf("is out of range: choose more than 0 and at most %d watts", maxWatts)
			}
			*field(c) = v
			return nil
		},
		get: func(c *Config) string {
			if *field(c) == 0 {
				return ""
			}
			return formatFloat(*field(c))
		},
	}
}

func processes() Setting {
	return Setting{
		Name: "processes", Form: "off|top:N|all", Help: "which processes get a series of their own", Example: "top:20",
		set: func(c *Config, texts []string) error {
			v, err := agent.ParseProcesses(last(texts))
			if err != nil {
				return errors.New("is not off, all or top:N: write it like top:20")
			}
			c.Agent.Processes = v
			return nil
		},
		get: func(c *Config) string { return c.Agent.Processes.String() },
	}
}

func logLevel() Setting {
	levels := []string{"debug", "info", "warn", "error"}
	return Setting{
		Name: "log.level", Form: strings.Join(levels, "|"), Help: "least important message that is logged", Example: "debug",
		set: func(c *Config, texts []string) error {
			if err := oneOf(levels...)(last(texts)); err != nil {
				return err
			}
			return c.LogLevel.UnmarshalText([]byte(last(texts)))
		},
		get: func(c *Config) string { return strings.ToLower(slog.Level.String(c.LogLevel)) },
	}
}

func oneOf(words ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(words, s) {
			return nil
		}
		if hint := didYouMean(s, words); hint != "" {
			return fmt.Errorf("is not one of %s: %s", strings.Join(words, ", "), hint)
		}
		return fmt.Errorf("is not one of %s", strings.Join(words, ", "))
	}
}

func sensorNames() []string {
	names := []string{"auto"}
	for _, kind := range sensors.Table(sensors.Config{}) {
		names = append(names, kind.Name)
	}
	return names
}

func checkPolicy(s string) error {
	if s == "calibrated" {
		return errors.New("is not available yet: choose utilisation or proportional")
	}
	return oneOf("utilisation", "proportional")(s)
}

func checkKubelet(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("is not https://HOST:PORT: write it like https://127.0.0.1:10250")
	}
	return nil
}

func checkPodLabel(s string) error {
	if _, err := kube.ParseLabels([]string{s}); err != nil {
		return fmt.Errorf("has a wrong item: %w", err)
	}
	return nil
}

func checkContainerNames(s string) error {
	if s == "auto" || s == "off" || strings.HasPrefix(s, "/") {
		return nil
	}
	if path, ok := strings.CutPrefix(s, "unix://"); ok {
		return fmt.Errorf("is an address: write the path alone, %s", path)
	}
	text := "is neither auto nor off nor the path of a socket: "
	if hint := didYouMean(s, []string{"auto", "off"}); hint != "" && len(s) < len("docker") {
		return errors.New(text + hint)
	}
	return errors.New(text + "write it like /run/podman/podman.sock")
}

func notEmpty(s string) error {
	if s == "" {
		return errors.New("is empty: name a directory, / for this machine")
	}
	return nil
}

func checkListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		if n, perr := strconv.Atoi(s); perr == nil {
			return fmt.Errorf("has no host: write 127.0.0.1:%d, or :%d for every interface", n, n)
		}
		return errors.New("is not HOST:PORT: write it like 127.0.0.1:9877")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return errors.New("has no port from 0 to 65535: write it like 127.0.0.1:9877")
	}
	return nil
}

func checkNodeName(s string) error {
	if len(s) > 253 {
		return errors.New("is longer than 253 bytes")
	}
	if strings.ToValidUTF8(s, "") != s || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("has a byte that is not printable text")
	}
	return nil
}
