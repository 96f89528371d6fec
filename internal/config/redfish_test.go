package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestRedfish is what the settings of the BMC make of the node's name, and what
// is wrong with them.
func TestRedfish(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		bmc  string
		says string // in a problem or a warning
	}{
		"none":                         {nil, "", ""},
		"one":                          {[]string{"--redfish.url=https://bmc.example.org"}, "https://bmc.example.org", ""},
		"with a path":                  {[]string{"--redfish.url=https://bmc.example.org/redfish/v1/"}, "https://bmc.example.org/redfish/v1/", ""},
		"one a node":                   {[]string{"--redfish.url=https://{node}-bmc.example.org:8443", "--node-name=rack4-17"}, "https://rack4-17-bmc.example.org:8443", ""},
		"on this machine":              {[]string{"--redfish.url=http://127.0.0.1:8000"}, "http://127.0.0.1:8000", ""},
		"a node without a name":        {[]string{"--redfish.url=https://{node}"}, "", "needs node-name"},
		"a name that is no host":       {[]string{"--redfish.url=https://{node}", "--node-name=a/b"}, "", `node-name "a/b"`},
		"a name with a password":       {[]string{"--redfish.url=https://{node}.example.org", "--node-name=u:p@x"}, "", "is no address"},
		"a password":                   {[]string{"--redfish.url=https://root:calvin@bmc"}, "", "has credentials in it"},
		"in the clear":                 {[]string{"--redfish.url=http://bmc"}, "", "is not safe"},
		"no URL":                       {[]string{"--redfish.url=bmc.example.org"}, "", "is not https://HOST"},
		"another path":                 {[]string{"--redfish.url=https://bmc/login"}, "", "more than a host"},
		"an interval too short":        {[]string{"--redfish.interval=100ms"}, "", "out of range"},
		"no chassis":                   {[]string{"--redfish.chassis="}, "", "no name of a chassis"},
		"an account of nothing":        {[]string{"--redfish.credentials-file=/x"}, "", "redfish.credentials-file has no effect without redfish.url"},
		"a sensor that leaves it out":  {[]string{"--redfish.url=https://bmc", "--sensor=powercap"}, "https://bmc", "leaves redfish out"},
		"a sensor that takes it along": {[]string{"--redfish.url=https://bmc", "--sensor=powercap", "--sensor=redfish"}, "https://bmc", ""},
	} {
		t.Run(name, func(t *testing.T) {
			set := pflag.NewFlagSet("test", pflag.ContinueOnError)
			flags := Register(set)
			if err := set.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			cfg, said, err := Load(flags, nil)
			if err != nil {
				said = append(said, err.Error())
			} else if got := cfg.BMC(); got != tt.bmc {
				t.Errorf("the BMC is %q, want %q", got, tt.bmc)
			}
			text := strings.Join(said, "\n")
			if strings.Contains(text, "calvin") {
				t.Errorf("a password is told: %s", text)
			}
			if tt.says == "" && len(said) > 0 || !slices.ContainsFunc(append(said, ""), func(s string) bool { return strings.Contains(s, tt.says) }) {
				t.Errorf("it says %q, want %q", text, tt.says)
			}
		})
	}
}
