package builtin

import (
	"strings"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

func cloudMetadata() plugin.Method {
	instances := map[string]func() (*table, error){"aws": embeddedTable("aws-instances.csv"), "azure": embeddedTable("azure-instances.csv")}
	regions := embeddedTable("region-metadata.csv")
	providers := map[string]string{"aws": "Amazon Web Services", "azure": "Microsoft Azure"}
	return rowFormula{
		needs: []schema.Field{
			{Name: "cloud/vendor", Type: schema.Enum("aws", "azure")},
			{Name: "cloud/instance-type", Type: schema.NonEmpty()},
			{Name: "cloud/region", Type: schema.Optional(schema.Text())},
		},
		compute: func(row, config *value.Object, _ *plugin.Env) error {
			vendor := row.Get("cloud/vendor").Str()
			t, err := instances[vendor]()
			if err != nil {
				return err
			}
			instance := find(t, map[string]string{"instance-class": row.Get("cloud/instance-type").Str()})
			if instance == nil {
				return fault.New(fault.InvalidInput, "Looking up the instance type: the table of %s has no %q; correct `cloud/instance-type`, or use CSVLookup with a table of your own", vendor, row.Get("cloud/instance-type").Str())
			}
			set := func(name string, v value.Value) {
				if v.IsString() && v.Str() == "" {
					return // the table does not know
				}
				if wanted := config.Get("fields").Items(); len(wanted) == 0 || containsText(wanted, name) {
					row.Set(name, v)
				}
			}
			set("vcpus-allocated", instance.Get("cpu-cores-utilized"))
			set("vcpus-total", instance.Get("cpu-cores-available"))
			set("memory-available", instance.Get("memory-available"))
			set("physical-processor", instance.Get("cpu-model-name"))
			set("cpu/thermal-design-power", instance.Get("cpu-tdp"))
			name := row.Get("cloud/region").Str()
			if name == "" {
				return nil
			}
			if t, err = regions(); err != nil {
				return err
			}
			region := find(t, map[string]string{"cloud-provider": providers[vendor], "cloud-region": name})
			if region == nil {
				return fault.New(fault.InvalidInput, "Looking up the region: the table of %s has no %q; correct `cloud/region`, or leave it out", vendor, name)
			}
			set("cloud/region-cfe", region.Get("cfe-region"))
			set("cloud/region-em-zone-id", region.Get("em-zone-id"))
			set("cloud/region-wt-id", region.Get("wt-region-id"))
			set("cloud/region-location", region.Get("location"))
			set("cloud/region-geolocation", value.Text(strings.TrimSpace(region.Get("geolocation").String())))
			return nil
		},
	}.method(plugin.Method{
		Name:    "CloudMetadata",
		Summary: "Looks up what hardware is behind a cloud instance type.",
		Doc: `Finds ` + "`cloud/instance-type`" + ` of ` + "`cloud/vendor`" + ` (aws or azure) in tables of the framework's data repository and writes
` + "`vcpus-allocated`, `vcpus-total`, `memory-available` (GB), `physical-processor` and `cpu/thermal-design-power`" + ` (W); with
` + "`cloud/region`" + ` also the region's names in other data sets and its coordinates. ` + "`fields`" + ` keeps only some of them.`,
		Example: "path: '@grnsft/if-plugins'\nmethod: CloudMetadata\nconfig:\n  fields: [vcpus-allocated, vcpus-total, cpu/thermal-design-power]",
		Config: schema.Object{Fields: []schema.Field{
			{Name: "fields", Type: schema.Optional(schema.ArrayOf(schema.Text(), 0)), Doc: "Parameters to write; all without it."},
		}},
		Outputs: []plugin.Parameter{
			parameter("vcpus-allocated", "count", "virtual CPUs of the instance", plugin.Copy),
			parameter("vcpus-total", "count", "virtual CPUs of the host", plugin.Copy),
			parameter("memory-available", "GB", "memory of the instance", plugin.Copy),
			parameter("cpu/thermal-design-power", "W", "thermal design power of the host's processor", plugin.Copy),
		},
		Formula: func(_ *value.Object, out string) (plugin.Formula, bool) {
			switch out {
			case "vcpus-allocated", "vcpus-total", "memory-available", "physical-processor", "cpu/thermal-design-power":
				return plugin.Formula{Text: "table of cloud/instance-type", Inputs: []string{"cloud/vendor", "cloud/instance-type"}, Source: ifDataSource}, true
			}
			return plugin.Formula{Text: "table of cloud/region", Inputs: []string{"cloud/region"}, Source: ifDataSource}, strings.HasPrefix(out, "cloud/region-")
		},
	})
}

// find returns the first row of t with these texts, nil if there is none.
func find(t *table, want map[string]string) *value.Object {
next:
	for _, row := range t.rows {
		for column, text := range want {
			if row.Get(column).String() != text {
				continue next
			}
		}
		return row
	}
	return nil
}

func containsText(list []value.Value, s string) bool {
	for _, v := range list {
		if v.Str() == s {
			return true
		}
	}
	return false
}
