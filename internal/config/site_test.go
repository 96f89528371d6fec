package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/unit"
)

func TestTheRestOfTheServer(t *testing.T) {
	c, _, err := load(t, []string{"--server-overhead=40W", "--network.kwh-per-gb=0.001", "--root=/host"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Rest(); r.Overhead.Power != 40*unit.Watt || r.NetworkPerGB != 3600*unit.Joule || r.DiskPerGB != 0 || r.FS.Proc != "/host/proc" {
		t.Errorf("%+v", r)
	}
}

func TestChain(t *testing.T) {
	c, _, err := load(t, []string{"--grid.provider=electricitymaps,fixed:380", "--grid.provider=file:/a:b.csv", "--grid.token-file=/t=1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Link{{Name: "electricitymaps"}, {"fixed", "380"}, {"file", "/a:b.csv"}}
	if diff := cmp.Diff(want, c.Grid.Chain()); diff != "" {
		t.Error(diff)
	}
	if got := c.Grid.TokenFile("electricitymaps"); got != "/t=1" {
		t.Errorf("its token is in %q", got)
	}
	if got := c.Grid.TokenFile("fixed"); got != "" {
		t.Errorf("fixed has a token in %q", got)
	}
	c, _, err = load(t, []string{"--grid.hub=https://hub/carbon"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Link{{Name: "hub"}}, c.Grid.Chain()); diff != "" {
		t.Error(diff)
	}
}

func TestZonesThatMayBe(t *testing.T) {
	for _, s := range []string{"auto", "DE", "DEU", "US-CAL-CISO", "SE-SE3", "aws:eu-central-1", "GB:SW1", "azure:westeurope", "52.52, 13.405"} {
		if err := checkZone(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for s, want := range map[string]string{
		"de": "did you mean DE?", "": "is empty", "DE\n": "letters, digits and dashes", "ibm:x": `no provider is called "ibm"`, "aws:": "aws:eu-central-1", "aws:a b": "aws:eu-central-1",
		"91,0": "52.5,13.4", "1,2,3": "52.5,13.4", "NaN,0": "52.5,13.4", "5e1,13": "52.5,13.4", "+52.5,13.4": "52.5,13.4", `A"B`: "letters", strings.Repeat("A", 65): "letters",
	} {
		if err := checkZone(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", s, err, want)
		}
	}
}

func TestFourYearsAreThoseOfTheSCIGuide(t *testing.T) {
	if e := (Embodied{Years: 4}); e.Lifetime() != 35_040*time.Hour {
		t.Error(e.Lifetime())
	}
}
