package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"noether/internal/sensor/redfish"
)

// Redfish says which BMC measures the whole machine.
type Redfish struct {
	URL             string // as written; see Config.BMC. Empty: none
	CredentialsFile string
	CAFile          string
	Chassis         string
	Interval        time.Duration
}

// nodePlace stands for the node's name in the address of its BMC.
const nodePlace = "{node}"

// BMC returns the address of this machine's BMC, empty if there is none.
func (c *Config) BMC() string {
	return strings.ReplaceAll(c.Redfish.URL, nodePlace, c.Agent.NodeName)
}

func redfishSettings() []Setting {
	return []Setting{
		text("redfish.url", "URL", "address of this machine's BMC, which measures the whole machine; {node} in it stands for node-name", "https://{node}.bmc.example.org",
			func(c *Config) *string { return &c.Redfish.URL }, checkBMC),
		text("redfish.credentials-file", "FILE", "file with user:password of an account of the BMC that may read, used at each login; without it the variables REDFISH_USERNAME and REDFISH_PASSWORD", "/etc/noether/redfish.credentials",
			func(c *Config) *string { return &c.Redfish.CredentialsFile }, nil),
		text("redfish.ca-file", "FILE", "certificates that the BMC's is verified by, in PEM: of an authority, or the BMC's own, which then may have any name", "/etc/noether/bmc.pem",
			func(c *Config) *string { return &c.Redfish.CAFile }, nil),
		text("redfish.chassis", "NAME", "chassis that is this machine, if the BMC does not tell by itself", "1",
			func(c *Config) *string { return &c.Redfish.Chassis }, checkChassis),
		duration("redfish.interval", "time from one question to the BMC to the next", "10s", redfish.MinInterval, redfish.MaxInterval,
			func(c *Config) *time.Duration { return &c.Redfish.Interval }),
	}
}

// validateRedfish finds what is wrong between the settings of the BMC.
func (c *Config) validateRedfish() []Problem {
	r := &c.Redfish
	if !strings.Contains(r.URL, nodePlace) {
		return nil
	}
	if c.Agent.NodeName == "" {
		return []Problem{{Name: "redfish.url", Value: r.URL, Text: "has {node} in it, which needs node-name"}}
	}
	if err := checkBMC(c.BMC()); err != nil || strings.ContainsAny(c.Agent.NodeName, "/@:?#[]%\\ ") {
		return []Problem{{Name: "redfish.url", Value: r.URL, Text: fmt.Sprintf("is no address with node-name %q in it", c.Agent.NodeName)}}
	}
	return nil
}

// redfishWarnings are settings of the BMC that have no effect.
func (c *Config) redfishWarnings() (warnings []string) {
	r := &c.Redfish
	if r.URL != "" {
		if !slices.Contains(c.Sensors, "auto") && !slices.Contains(c.Sensors, redfish.Name) {
			warnings = append(warnings, fmt.Sprintf("redfish.url has no effect: sensor is %s, which leaves redfish out: add it, or choose auto", strings.Join(c.Sensors, ",")))
		}
		return warnings
	}
	for _, s := range []struct {
		name  string
		given bool
	}{
		{"redfish.credentials-file", r.CredentialsFile != ""},
		{"redfish.ca-file", r.CAFile != ""},
		{"redfish.chassis", r.Chassis != ""},
		{"redfish.interval", r.Interval != redfish.DefaultInterval},
	} {
		if s.given {
			warnings = append(warnings, s.name+" has no effect without redfish.url, the address of the BMC")
		}
	}
	return warnings
}

// checkBMC takes https://HOST, or http on this machine.
func checkBMC(s string) error {
	u, err := url.Parse(strings.ReplaceAll(s, nodePlace, "node"))
	path := ""
	if err == nil {
		path = strings.TrimSuffix(u.Path, "/")
	}
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("is not https://HOST: write it like https://bmc.example.org")
	case u.User != nil:
		return errors.New("has credentials in it: put them into a file, for redfish.credentials-file")
	case u.RawQuery != "" || u.Fragment != "" || path != "" && path != "/redfish/v1":
		return errors.New("has more than a host: write it like https://bmc.example.org")
	case u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback():
		return errors.New("is not safe: credentials are sent by https alone, but to this machine")
	}
	return nil
}

func checkChassis(s string) error {
	if s == "" || len(s) > 256 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return errors.New("is no name of a chassis: write it as the BMC does, like 1 or System.Embedded.1")
	}
	return nil
}
