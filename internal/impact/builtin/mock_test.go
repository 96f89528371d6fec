package builtin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/plugin"
)

func TestMockObservations(t *testing.T) {
	const base = `timestamp-from: FROM, timestamp-to: TO, duration: 60, components: [{n: A}, {n: B}], generators: {common: {a: 1}, randint: RAND}`
	config := func(from, to, random string) string {
		return "{" + strings.NewReplacer("FROM", from, "TO", to, "RAND", random).Replace(base) + "}"
	}
	row := func(at, n, more string) string {
		return "- z: 1\n  timestamp: '" + at + "'\n  duration: 60\n  'n': " + n + "\n  a: 1\n" + more
	}
	tests := []struct{ name, config, reference, noether string }{
		{
			"each component gets the series", config("2024-01-01T00:00", "'2024-01-01T00:01:30'", "{}"),
			row("2024-01-01T00:00:00.000Z", "A", "") + row("2024-01-01T00:01:00.000Z", "A", "") + row("2024-01-01T00:00:00.000Z", "B", "") + row("2024-01-01T00:01:00.000Z", "B", ""), "",
		},
		{
			"random numbers are whole and below max", config("'2024-01-01'", "2024-01-01T00:01", "{u: {min: 3, max: 8}}"),
			row("2024-01-01T00:00:00.000Z", "A", "  u: 5\n") + row("2024-01-01T00:00:00.000Z", "B", "  u: 5\n"), "",
		},
		{
			"from zero", config("'2024-01-01'", "2024-01-01T00:01", "{u: {min: 0, max: 8}}"),
			"ConfigError: Config is missing min or max value",
			row("2024-01-01T00:00:00.000Z", "A", "  u: 4\n") + row("2024-01-01T00:00:00.000Z", "B", "  u: 4\n"),
		},
		{"min above max", config("'2024-01-01'", "2024-01-01T00:01", "{u: {min: 9, max: 8}}"), "ConfigError: Min value should not be greater than or equal to max value of u", ""},
		{
			"no time", config("soon", "2024-01-01T00:01", "{}"), "[]\n",
			"ConfigError: Reading `timestamp-from`: \"soon\" is no ISO 8601 time; write it as 2024-01-01T00:00:00Z",
		},
		{"end before start", config("'2024-01-02'", "'2024-01-01'", "{}"), "[]\n", "ConfigError: `timestamp-from` should be lower than `timestamp-to`"},
		{
			"too many", config("'0001-01-01'", "'9999-01-01'", "{}"), "ConfigError: Making 10516878720 observations: more than 10000000 do not fit; raise `duration` or shorten the time", "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, d := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
				want := tt.reference
				if d.MockZero && tt.noether != "" {
					want = tt.noether
				}
				got := runYAML(t, testEnv(d), mockObservations(), tt.config, "[{z: 1}, {z: 2}]", nil)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("mock zero %v (-want +got):\n%s", d.MockZero, diff)
				}
			}
		})
	}
}

func TestParseISO(t *testing.T) {
	const day = 86_400_000
	for in, want := range map[string]float64{
		"1970-01-02":                 day,
		"19700102":                   day,
		"1970-002":                   day,
		"1970-W01-5":                 day,
		"1970-01-02T01":              day + 3_600_000,
		"1970-01-02T0130":            day + 5_400_000,
		"1970-01-02T00:00:01.5Z":     day + 1500,
		"1970-01-02T00:00:00,25+02":  day + 250 - 7_200_000,
		"1970-01-02t00:00z":          day,
		"+001970-01-02T00:00-01:30":  day + 5_400_000,
		"1970-01-01T24:00":           day,
		"1970":                       0,
		"1970-01-01T00:00:00.12345Z": 123,
	} {
		if got, ok := parseISO(in); !ok || got != want {
			t.Errorf("%s: %v, %v; want %v", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "soon", "1970-13-01", "1970-02-30", "1970-366", "1970-W54-1", "1970-01-01T25:00", "1970-01-01T00:60", "1970-01-01 00:00", "T12:00", "1970-01-01T24:01"} {
		if got, ok := parseISO(in); ok {
			t.Errorf("%q reads as %v", in, got)
		}
	}
}
