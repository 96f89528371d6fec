package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhereTheHistoryIsKept(t *testing.T) {
	for name, tt := range map[string]struct {
		args  []string
		env   map[string]string
		root  bool
		dir   string
		off   string // a part of the reason
		asked bool
	}{
		"of a user":                       {env: map[string]string{"HOME": "/home/ada"}, dir: "/home/ada/.local/state/noether"},
		"of a user with a place of state": {env: map[string]string{"HOME": "/home/ada", "XDG_STATE_HOME": "/state"}, dir: "/state/noether"},
		"a relative place is none":        {env: map[string]string{"HOME": "/home/ada", "XDG_STATE_HOME": "state"}, dir: "/home/ada/.local/state/noether"},
		"of root":                         {env: map[string]string{"HOME": "/root"}, root: true, dir: "/var/lib/noether"},
		"of a systemd unit":               {env: map[string]string{"STATE_DIRECTORY": "/var/lib/private/noether:/x", "HOME": "/"}, root: true, dir: "/var/lib/private/noether"},
		"of nobody":                       {off: "--store.path"},
		"in a cluster":                    {env: map[string]string{"HOME": "/root", "KUBERNETES_SERVICE_HOST": "10.96.0.1"}, root: true, off: "in a cluster"},
		"with names of pods":              {args: []string{"--kube-source=api", "--node-name=n"}, root: true, off: "in a cluster"},
		"named in a cluster":              {args: []string{"--store.path=/srv/x"}, env: map[string]string{"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, dir: "/srv/x", asked: true},
		"off":                             {args: []string{"--store.path=off"}, root: true, off: "--store.path is off", asked: true},
	} {
		c, _, err := load(t, tt.args, nil)
		if err != nil {
			t.Fatal(err)
		}
		dir, off, asked := c.Directory(func(k string) string { return tt.env[k] }, tt.root)
		if dir != tt.dir || asked != tt.asked || (off == "") != (tt.off == "") || !strings.Contains(off, tt.off) {
			t.Errorf("%s: %q, off because %q, asked %v", name, dir, off, asked)
		}
	}
}

func TestSizesAndDaysAreExact(t *testing.T) {
	for text, want := range map[string]int64{
		"512MB": 512_000_000, "1GB": 1_000_000_000, "1GiB": 1 << 30, "1.5 GiB": 3 << 29, "0.1MB": 100_000, "64MiB": 1 << 26, "7B": 7,
		"1": -1, "GB": -1, "-1GB": -1, "1e3GB": -1, "1/2GB": -1, "1..2GB": -1, "99999999999999TB": -1, "1gb": -1, "": -1,
	} {
		got, err := parseSize(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("size %q: %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]time.Duration{
		"15d": 15 * 24 * time.Hour, "2w": 14 * 24 * time.Hour, "1w1d12h": 204 * time.Hour, "90m": 90 * time.Minute, "360h": 360 * time.Hour,
		"15": -1, "d": -1, "1d2w": -1, "-1d": -1, "1d-1h": -1, "99999d": -1, "": -1,
	} {
		got, err := parseDays(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("duration %q: %s, %v", text, got, err)
		}
	}
}

func FuzzSizesAndDaysReadWhatTheyWrite(f *testing.F) {
	for _, s := range []string{"1GB", "1.5GiB", "15d", "2w1d", "1d0h0m1ns", "0B", "9223372036854775807B"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseSize(s); err == nil {
			if again, err := parseSize(formatSize(n)); n < 0 || err != nil || again != n {
				t.Errorf("size %q is %d, written %q, read %d, %v", s, n, formatSize(n), again, err)
			}
		}
		if d, err := parseDays(s); err == nil {
			if again, err := parseDays(inDays(d)); d < 0 || err != nil || again != d {
				t.Errorf("duration %q is %d, written %q, read %d, %v", s, d, inDays(d), again, err)
			}
		}
	})
}

func TestSettingsOfTheStoreThatCannotBe(t *testing.T) {
	for arg, want := range map[string]string{
		"--store.path=history":                       `"history" is neither auto nor off nor an absolute path: write it like /var/lib/noether`,
		"--store.path=of":                            "did you mean off?",
		"--store.interval=10m":                       "choose 1s to 5m",
		"--store.retention.time=15":                  `"15" has no unit: write 15d for days`,
		"--store.retention.time=30m":                 "choose 1h to 3650d",
		"--store.retention.time=soon":                "write it like 90d",
		"--store.retention.size=1":                   "write it like 512MB, 1GB or 1GiB",
		"--store.retention.size=1KB":                 "choose 16MiB to",
		"--web.external-url=example.org":             "write it like https://example.org/noether/",
		"--web.external-url=https://u:p@example.org": `"https://***@example.org" is not http(s)://HOST/PATH`,
		"--web.external-url=https://e.org/a?b":       "is not http(s)://HOST/PATH",
		"--web.external-url=https://e.org//a":        "plain words",
		"--web.external-url=https://e.org/../a":      "plain words",
		"--web.external-url=https://e.org/a%2fb":     "plain words",
	} {
		if _, _, err := load(t, []string{arg}, nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

func TestSettingsOfTheStoreThatLookWrong(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"--store.path=off", "--store.retention.time=1d"}, []string{"store.interval and store.retention have no effect: store.path is off"}},
		{[]string{"--store.retention.size=20MB"}, []string{"store.retention.size 20MB is less than 64MiB: the log of the newest hours alone may take as much"}},
		{[]string{"--interval=30s"}, nil},
		{[]string{"--interval=30s", "--store.interval=20s"}, []string{"store.interval 20s is shorter than interval 30s: there is one sample a tick"}},
		{[]string{"--store.path=off", "--interval=30s"}, nil},
	} {
		_, warnings, err := load(t, tt.args, nil)
		if diff := cmp.Diff(tt.want, warnings); diff != "" || err != nil {
			t.Errorf("%v: %v\n%s", tt.args, err, diff)
		}
	}
}
