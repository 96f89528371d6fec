package countries

import (
	"strings"
	"testing"

	"noether/internal/grid/yearly"
)

func TestName(t *testing.T) {
	for code, want := range map[string]string{"DE": "Germany", "US": "United States", "CI": "Côte d'Ivoire", "": "", "#": "", "de": "", "ZZ": ""} {
		if got := Name(code); got != want {
			t.Errorf("%q: %q, want %q", code, got, want)
		}
	}
}

// Every country with a yearly average can be found by its name, but Kosovo:
// its code is not of ISO 3166 but one that it lets users assign.
func TestCountriesOfTheYearlyTable(t *testing.T) {
	for _, r := range yearly.All() {
		if name := Name(r.Zone); strings.TrimSpace(name) == "" && r.Zone != "XK" {
			t.Errorf("%s has no name", r.Zone)
		}
	}
}
