package regions

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"noether/internal/unit"
)

func TestTable(t *testing.T) {
	zone := regexp.MustCompile(`^[A-Z]{2}(-[A-Z0-9]{2,4}){0,2}$`)
	lines, seen := 0, map[string]bool{}
	for line := range strings.Lines(table) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines++
		}
	}
	all := All()
	if len(all) != lines || lines < 190 {
		t.Errorf("%d regions of %d lines", len(all), lines)
	}
	for _, p := range all {
		key := p.Provider + ":" + p.Region
		switch {
		case seen[key]:
			t.Errorf("%s stands there twice", key)
		case !zone.MatchString(p.Zone):
			t.Errorf("%s: %q is no zone", key, p.Zone)
		case p.City == "" || !strings.HasPrefix(p.Source, "https://"):
			t.Errorf("%s has no place or source: %+v", key, p)
		case p.Region != strings.ToLower(p.Region) || providerOf(p.Provider) != p.Provider:
			t.Errorf("%s cannot be looked up", key)
		case len(p.Country()) != 2:
			t.Errorf("%s is in country %q", key, p.Country())
		}
		seen[key] = true
		if got, err := Zone(p.Provider, strings.ToUpper(p.Region)); err != nil || got != p {
			t.Errorf("%s: %v %v", key, got, err)
		}
	}
}

func TestLookup(t *testing.T) {
	for _, c := range []struct{ region, id, zone, err string }{
		{"eu-west-3", "", "FR", ""},
		{"us-west1", "", "US-NW-BPAT", ""}, // Google's, not Amazon's us-west-1
		{"us-west-2", "aws:///us-west-2a/i-0abc", "US-NW-BPAT", ""},
		{"eu-west-1", "aws:///eu-west-1a/i-0abc", "IE", ""},
		{"us-central1", "gce://project/us-central1-a/node", "US-MIDW-MISO", ""},
		{"westeurope", "azure:///subscriptions/x", "NL", ""},
		{"WestEurope", "", "NL", ""},
		{"fsn1", "hcloud://123", "DE", ""},
		{"fr-par", "scaleway://instance/fr-par-1/x", "FR", ""},
		{"GRA11", "openstack:///x", "FR", ""},
		{"US-EAST-VA-1", "", "US-MIDA-PJM", ""},
		{"eu-central-1", "", "DE", ""}, // of two providers, on one grid
		{"eu-west-1", "", "", "it is aws:eu-west-1 (Ireland, zone IE) or alibaba:eu-west-1 (London, zone GB)"},
		{"eu-west-1", "kind://docker/x", "", "set the one that is meant"},
		{"us-central1", "aws:///us-central1/i-0abc", "", `cloud region "us-central1" of aws: it is not in the table`},
		{"RegionOne", "", "", "set the grid zone itself"},
		{"", "", "", "set the grid zone itself"},
	} {
		p, err := Lookup(c.region, c.id)
		if p.Zone != c.zone || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q %q: %q %v, want %q %s", c.region, c.id, p.Zone, err, c.zone, c.err)
		}
	}
}

func TestResolve(t *testing.T) {
	for zone, want := range map[string]string{"DE": "DE", "US-CAL-CISO": "US-CAL-CISO", "aws:eu-central-1": "DE", "gcp:europe-north1": "FI", "gce:europe-north1": "FI", "azure:swedencentral": "SE-SE3", "52.5,13.4": "52.5,13.4"} {
		if got, err := Resolve(zone); got != want || err != nil {
			t.Errorf("%s: %q %v", zone, got, err)
		}
	}
	for zone, want := range map[string]string{"ibm:eu-de": "known are aws", "aws:mars-1": "not in the table", ":": "known are"} {
		if got, err := Resolve(zone); got != "" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q %v", zone, got, err)
		}
	}
}

const tab = "# comment\tx\tEurope/Rome\nAE,OM,RE,SC,TF\t+2518+05518\tAsia/Dubai\tCrozet\nDE,DK,NO,SE,SJ\t+5230+01322\tEurope/Berlin\tmost of Germany\r\nUS\t+404251-0740023\tAmerica/New_York\tEastern\nx\ty\tEurope/Nowhere\nFR\t+1\n"

func TestCountry(t *testing.T) {
	for zone, want := range map[string]string{"Asia/Dubai": "AE", "Europe/Berlin": "DE", "America/New_York": "US"} {
		if got, err := Country([]byte(tab), zone); got != want || err != nil {
			t.Errorf("%s: %q %v", zone, got, err)
		}
	}
	for zone, want := range map[string]string{"UTC": "no country for it", "": "no country for it", "Europe/Oslo": "no country for it", "Europe/Rome": "no country for it", "Europe/Nowhere": "no code of a country"} {
		if got, err := Country([]byte(tab), zone); got != "" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q %v", zone, got, err)
		}
	}
}

func TestCountryOfThisMachinesDatabase(t *testing.T) {
	text, err := os.ReadFile("/usr/share/zoneinfo/zone.tab")
	if err != nil {
		t.Skipf("no time zone database here: %v", err)
	}
	for zone, want := range map[string]string{"Europe/Oslo": "NO", "Europe/Berlin": "DE", "Asia/Tokyo": "JP"} {
		if got, err := Country(text, zone); got != want || err != nil {
			t.Errorf("%s: %q %v", zone, got, err)
		}
	}
}

func TestPUE(t *testing.T) {
	for _, c := range []struct {
		provider, region string
		want             unit.Ratio
	}{
		{"aws", "eu-central-1", 1_140_000},
		{"gce", "us-central1", 1_110_000},
		{"gcp", "europe-west3", 1_090_000},
		{"scaleway", "PL-WAW", 1_510_000},
		{"azure", "", 1_180_000},
	} {
		if got, err := PUEOf(c.provider, c.region); got.Value != c.want || err != nil {
			t.Errorf("%s %s: %v %v, want %d", c.provider, c.region, got, err, c.want)
		}
	}
	if _, err := PUEOf("hetzner", "fsn1"); err == nil || !strings.Contains(err.Error(), "set the value of your data centre") {
		t.Errorf("%v", err)
	}
	lines := 0
	for line := range strings.Lines(pues) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines++
		}
	}
	all := PUEs()
	if len(all) != lines {
		t.Errorf("%d figures of %d lines", len(all), lines)
	}
	for _, p := range all {
		if p.Value < unit.One || p.Value > 2*unit.One || !strings.Contains(p.Source, "https://") || providerOf(p.Provider) != p.Provider {
			t.Errorf("%+v", p)
		}
		if p.Region != "" {
			if _, err := Zone(p.Provider, p.Region); err != nil {
				t.Error(err)
			}
		}
	}
}

func FuzzCountry(f *testing.F) {
	f.Add(tab, "Europe/Berlin")
	f.Add("\t\t", "")
	f.Fuzz(func(t *testing.T, text, zone string) {
		if c, err := Country([]byte(text), zone); (err == nil) != (len(c) == 2) {
			t.Fatalf("%q %v", c, err)
		}
		_, _ = Lookup(zone, text)
	})
}
