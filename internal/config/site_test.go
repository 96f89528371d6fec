package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/unit"
)

func TestOverhead(t *testing.T) {
	for s, want := range map[string]Overhead{
		"":     {},
		"40W":  {Power: 40 * unit.Watt},
		"0.5W": {Power: unit.Watt / 2},
		"33%":  {Ratio: 330_000},
		"0.33": {Ratio: 330_000},
		"0":    {},
	} {
		if got, err := ParseOverhead(s); got != want || err != nil {
			t.Errorf("%q is %+v, %v; want %+v", s, got, err, want)
		}
	}
	for s, want := range map[string]string{
		"40":    "did you mean 40W?",
		"-5W":   "out of range",
		"-0.1":  "out of range",
		"lots":  "write it like 40W, 33% or 0.33",
		"W":     "write it like 40W, 33% or 0.33",
		"NaN":   "out of range",
		"NaNW":  "out of range",
		"1e99%": "out of range",
	} {
		if got, err := ParseOverhead(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %+v, %v; want %s", s, got, err, want)
		}
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
	for _, s := range []string{"auto", "DE", "DEU", "US-CAL-CISO", "SE-SE3", "aws:eu-central-1", "azure:westeurope", "52.52, 13.405"} {
		if err := checkZone(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for s, want := range map[string]string{
		"de": "did you mean DE?", "": "is empty", "DE\n": "letters, digits and dashes", "ibm:x": "aws:REGION", "aws:": "aws:REGION",
		"91,0": "52.5,13.4", "1,2,3": "52.5,13.4", "NaN,0": "52.5,13.4", `A"B`: "letters", strings.Repeat("A", 65): "letters",
	} {
		if err := checkZone(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", s, err, want)
		}
	}
}

func TestEmbodied(t *testing.T) {
	e := Embodied{Kg: "1230.3", Years: 4}
	if kg, ok := e.Value(); !ok || kg != 1_230_300*unit.Gram || e.Lifetime() != 35_040*time.Hour {
		t.Errorf("%v %t over %v", kg, ok, e.Lifetime())
	}
	if _, ok := (&Embodied{Kg: "auto"}).Value(); ok {
		t.Error("auto is a value")
	}
}
