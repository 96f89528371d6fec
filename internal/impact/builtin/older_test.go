package builtin

import (
	"math"
	"slices"
	"strings"
	"testing"

	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

func TestOlderPlugins(t *testing.T) {
	tests := []struct {
		name, config, input string
		m                   plugin.Method
		out                 string
		want                float64
		reference           float64 // 0: as want
	}{
		{"half load of a 100 W processor for an hour", `{}`, `{duration: 3600, cpu/utilization: 50, cpu/thermal-design-power: 100}`, teadsCurve(), "cpu/energy", 0.075, 0},
		{"between the points, by straight lines", `{interpolation: linear}`, `{duration: 1800, cpu/utilization: 30, cpu/thermal-design-power: 200}`, teadsCurve(), "cpu/energy", 0.0535, 0},
		{"two of eight CPUs", `{}`, `{duration: 3600, cpu/utilization: 100, cpu/thermal-design-power: 100, vcpus-allocated: 2, vcpus-total: 8}`, teadsCurve(), "cpu/energy", 0.0255, 0},
		{"memory for a minute", `{}`, `{duration: 60, memory/capacity: 16, memory/utilization: 50}`, eMem(), "memory/energy", 8 * 0.000392 / 60, 8 * 0.000392},
		{"traffic both ways", `{energy-per-gb: 0.002}`, `{network/data-in: 1, network/data-out: 2}`, eNet(), "network/energy", 0.006, 0},
		{"energy of what there is", `{}`, `{cpu/energy: 1, network/energy: 0.5}`, sciE(), "energy", 1.5, 0},
		{"operational carbon", `{}`, `{grid/carbon-intensity: 400, energy: 0.5}`, sciO(), "carbon-operational", 200, 0},
		{"an hour of a quarter of a server", `{}`, `{device/emissions-embodied: 1000000, device/expected-lifespan: 126144000, duration: 3600, vcpus-allocated: 1, vcpus-total: 4}`, sciM(), "carbon-embodied", 7.134703196347032, 0},
		{"the larger of two processors", `{}`, `{physical-processor: 'AMD A10-9700 @ 3.5GHz, AMD A10-9700E'}`, tdpFinder(), "cpu/thermal-design-power", 65, 0},
		{"what is behind an instance", `{}`, `{cloud/vendor: aws, cloud/instance-type: m5n.large, cloud/region: us-east-1}`, cloudMetadata(), "cpu/thermal-design-power", 210, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, d := range []plugin.Dialect{plugin.Reference(), plugin.Noether()} {
				rows, err := runRows(t, testEnv(d), tt.m, tt.config, "["+tt.input+"]", nil)
				if err != nil {
					t.Fatal(err)
				}
				want := tt.want
				if tt.reference != 0 && !d.MemoryHours {
					want = tt.reference
				}
				if got := rows[0].Get(tt.out).Num(); math.Abs(got-want) > 1e-12*want {
					t.Errorf("%s = %v, want %v", tt.out, got, want)
				}
			}
		})
	}
}

func TestOlderPluginsRefuse(t *testing.T) {
	tests := []struct {
		name, input string
		m           plugin.Method
		want        string
	}{
		{"load without power", `{duration: 1, cpu/utilization: 5}`, teadsCurve(), "InputValidationError: \"cpu/thermal-design-power\" parameter is required at index 0. Error code: invalid_type."},
		{"load above 100 %", `{duration: 1, cpu/utilization: 101, cpu/thermal-design-power: 1}`, teadsCurve(), "InputValidationError: Computing cpu/energy: `cpu/utilization` is 101 %; it must be within 0 and 100"},
		{"no energy at all", `{duration: 1}`, sciE(), "InputValidationError: At least one of `cpu/energy`,`memory/energy`,`network/energy` should be present."},
		{"unknown processor", `{physical-processor: Abacus}`, tdpFinder(), "InvalidInputError: Finding the thermal design power: no table has the processor \"Abacus\"; correct `physical-processor`, or give `cpu/thermal-design-power` in watts yourself"},
		{"unknown instance", `{cloud/vendor: azure, cloud/instance-type: m5n.large}`, cloudMetadata(), "InvalidInputError: Looking up the instance type: the table of azure has no \"m5n.large\"; correct `cloud/instance-type`, or use CSVLookup with a table of your own"},
		{"a device without resources", `{device/emissions-embodied: 1, device/expected-lifespan: 1, duration: 1}`, sciM(), "InputValidationError: Either `vcpus-allocated` or `resources-reserved` should be provided in the input"},
	}
	for _, tt := range tests {
		if got := runYAML(t, testEnv(plugin.Noether()), tt.m, `{}`, "["+tt.input+"]", nil); got != tt.want {
			t.Errorf("%s: got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestEveryMethodIsDocumented(t *testing.T) {
	names := map[string]bool{}
	for _, m := range Methods() {
		if names[m.Name] {
			t.Errorf("%s is in the table twice", m.Name)
		}
		names[m.Name] = true
		if m.Summary == "" || m.Doc == "" || m.New == nil {
			t.Errorf("%s: Summary, Doc or New is missing", m.Name)
		}
		example, err := jsyaml.Parse([]byte(m.Example))
		if err != nil {
			t.Errorf("%s: example: %v", m.Name, err)
			continue
		}
		if got := example.Object().Get("method").Str(); got != m.Name && !slices.Contains(m.Aliases, got) {
			t.Errorf("%s: its example is of %q", m.Name, got)
		}
		config := example.Object().Get("config")
		if config.Kind() == value.Undefined {
			config = value.NewObject(0).Value()
		}
		if _, issues := m.Config.Parse(config, nil); issues != nil {
			t.Errorf("%s: example: %v", m.Name, issues)
		}
	}
}

func TestInsteadNamesMethodsThatExist(t *testing.T) {
	for _, method := range []string{"TeadsAWS", "CloudCarbonFootprint", "BoaviztaCpuOutput", "BoaviztaCloudOutput", "WattTimeGridEmissions", "Co2js", "AzureImporter", "GrafanaExport"} {
		if Instead(unofficialPlugins, method) == "" {
			t.Errorf("nothing instead of %s", method)
		}
	}
	for path, want := range map[string]string{
		"https://github.com/green-engineering/if-k8s-metrics-importer": "PrometheusImporter",
		"if-github-plugin":    "CSVImport",
		"prometheus-importer": "PrometheusImporter",
		"something-else":      "",
	} {
		if got := Instead(path, "X"); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("instead of %s: %q", path, got)
		}
	}
}
