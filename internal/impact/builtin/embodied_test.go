package builtin

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

// The grams that the agent booked come beside the energy of the same pods.
func TestImportOfCarbon(t *testing.T) {
	f := newFakeProm(t, map[string][]float64{
		`noether_pod_joules_total{namespace="shop",pod="a"}`:                         line(-300, 3900, 1000, 2),
		`noether_pod_co2e_grams_total{namespace="shop",pod="a",phase="operational"}`: line(-300, 3900, 10, .01),
		`noether_pod_co2e_grams_total{namespace="shop",pod="a",phase="embodied"}`:    line(-300, 3900, 20, .001),
	})
	f.phases = true
	rows, warnings, err := f.rows(halves+"preset: noether\nnamespace: shop\ncarbon: [embodied, operational]\n", nil)
	want := []string{
		"11:00 namespace=shop pod=a energy=0.001 carbon-embodied=1.8 carbon-operational=18",
		"11:30 namespace=shop pod=a energy=0.001 carbon-embodied=1.8 carbon-operational=18",
	}
	if diff := cmp.Diff(want, rounded(rows)); diff != "" || err != nil || warnings != nil {
		t.Errorf("%v, %v: %s", err, warnings, diff)
	}
	for _, query := range f.asked {
		if strings.Contains(query, "co2e") && strings.Contains(query, "[") && !strings.Contains(query, `{namespace="shop",phase="`) {
			t.Errorf("asked for %s", query)
		}
	}
	for config, want := range map[string]string{
		"preset: kepler\ncarbon: [embodied]\n":            "carbon goes with the preset noether",
		"preset: noether\ncarbon: [all]\n":                "'operational' | 'embodied'",
		"preset: noether\ncarbon: [embodied, embodied]\n": `would write "carbon-embodied"`,
	} {
		if _, _, err := f.rows(halves+config, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", config, err)
		}
	}
	v, err := jsyaml.Parse([]byte("{preset: noether, carbon: [embodied]}"))
	if err != nil {
		t.Fatal(err)
	}
	if f, ok := promFormula(v.Object(), "carbon-embodied"); !ok || f.Unit != "gCO2e" || !strings.Contains(f.Source, "embodied") {
		t.Errorf("carbon-embodied is explained by %+v, %v", f, ok)
	}
	if f, ok := promFormula(v.Object(), "carbon-operational"); ok {
		t.Errorf("carbon-operational, which is not imported, is explained by %+v", f)
	}
}

// rounded takes what comes of floating point off numbers.
func rounded(rows []string) []string {
	for i, row := range rows {
		cells := strings.Fields(row)
		for j, cell := range cells {
			if k, v, ok := strings.Cut(cell, "="); ok {
				if x := value.Text(v).ToNumber(); !math.IsNaN(x) {
					cells[j] = k + "=" + value.Of(float64(int64(x*1e6+.5))/1e6).String()
				}
			}
		}
		rows[i] = strings.Join(cells, " ")
	}
	return rows
}

func TestHardwareCountedTwice(t *testing.T) {
	const device = "duration: 3600, device/emissions-embodied: 1000, device/expected-lifespan: 10000, vcpus-allocated: 1, vcpus-total: 2"
	for _, test := range []struct {
		name    string
		method  plugin.Method
		config  string
		row     string
		dialect plugin.Dialect
		want    string
	}{
		{"beside an importer", sciEmbodied(), "{}", "{duration: 3600, carbon-embodied: 2}", plugin.Noether(), "SciEmbodied adds embodied-carbon, which is the same hardware once more"},
		{"under the same name", sciEmbodied(), "{output-parameter: carbon-embodied}", "{duration: 3600, carbon-embodied: 2}", plugin.Noether(), "SciEmbodied puts its own estimate in its place"},
		{"the older method", sciM(), "{}", "{carbon-embodied: 2, " + device + "}", plugin.Noether(), "SciM puts its own estimate in its place"},
		{"alone", sciEmbodied(), "{}", "{duration: 3600}", plugin.Noether(), ""},
		{"the older method alone", sciM(), "{}", "{" + device + "}", plugin.Noether(), ""},
		{"as the reference does", sciEmbodied(), "{}", "{duration: 3600, carbon-embodied: 2}", plugin.Reference(), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			env, warnings := publishEnv(nil)
			env.Dialect = test.dialect
			p := newPlugin(t, env, test.method, test.config)
			for range 2 { // nodes
				v, err := jsyaml.Parse([]byte(test.row))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := p.Execute(context.Background(), []*value.Object{v.Object(), v.Object()}, &plugin.Node{}); err != nil {
					t.Fatal(err)
				}
			}
			got := strings.Join(*warnings, "\n")
			if !strings.Contains(got, test.want) || strings.Count(got, "\n") > 0 || (test.want == "") != (got == "") {
				t.Errorf("warned of %q, want once %q", got, test.want)
			}
		})
	}
}
