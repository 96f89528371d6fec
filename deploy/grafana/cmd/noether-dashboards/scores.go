package main

import "fmt"

func scores() dashboard {
	const of = `cluster=~"$cluster", manifest=~"$manifest", path="$path"`
	last := func(metric, extra string) string {
		return fmt.Sprintf("last_over_time(noether_impact_%s{%s%s}[3h])", metric, of, extra)
	}
	total := func(metric, extra, by string) string {
		return fmt.Sprintf("sum by (%s) (sum_over_time(noether_impact_%s{%s%s}[$__range]))", by, metric, of, extra)
	}
	const name = "{{manifest}}"
	return dashboard{
		uid: "noether-impact", title: "Noether / Scores (SCI)", from: "24h",
		about: "Software carbon intensity, SCI = (E x I + M) per R (ISO/IEC 21031), as noether impact run publishes it: gauges of one window each.",
		variables: []object{
			clusters(),
			values("manifest", "Manifest", `label_values(noether_impact_info{cluster=~"$cluster"}, manifest)`),
			one("path", "Part of the tree", `label_values(noether_impact_sci_grams{cluster=~"$cluster", manifest=~"$manifest"}, path)`),
		},
		rows: []row{
			{"Score", []panel{
				stat("Last window", grams, "gCO2e per functional unit.", q(last("sci_grams", ""), name+" per {{functional_unit}}")).wide(8),
				stat("Time shown", grams, "Sums divided: the mean of scores would weigh a quiet hour like a busy one.", q(total("carbon_grams", "", "manifest")+" / "+total("functional_units", "", "manifest"), name)).wide(8),
				stat("Last success", when, "", q(`max by (manifest) (last_over_time(noether_impact_last_success_timestamp_seconds{cluster=~"$cluster", manifest=~"$manifest"}[2d])) * 1000`, name)).wide(4),
				table("How it was made", "", query{`max by (manifest, boundary, methodology) (last_over_time(noether_impact_info{cluster=~"$cluster", manifest=~"$manifest"}[2d]))`, "", plain}).wide(4).high(4),
			}},
			{"Its four terms, over the time shown", []panel{
				stat("E: energy", kwh, "", q(total("energy_joules", "", "manifest")+toKWh, name)).wide(6),
				stat("I: carbon intensity", gramsKWh, "Operational CO2e divided by energy: what the intensity of each window came to, weighed by the energy used in it. PUE is in it where the manifest has one.", q(total("carbon_grams", operating, "manifest")+" / ("+total("energy_joules", "", "manifest")+toKWh+")", name)).wide(6),
				stat("M: embodied", grams, "", q(total("carbon_grams", making, "manifest"), name)).wide(6),
				stat("R: functional units", number, "", q(total("functional_units", "", "manifest, functional_unit"), name+" {{functional_unit}}")).wide(6),
			}},
			{"Trend, a point a window", []panel{
				graph("Score per functional unit", grams, "", q(fmt.Sprintf("noether_impact_sci_grams{%s}", of), name+" per {{functional_unit}}")),
				graph("Score of the 24 hours before", grams, "Sums divided.", q(fmt.Sprintf("sum by (manifest) (sum_over_time(noether_impact_carbon_grams{%[1]s}[24h])) / sum by (manifest) (sum_over_time(noether_impact_functional_units{%[1]s}[24h]))", of), name)),
				graph("CO2e by phase", grams, "E x I is operational, M embodied.", q(fmt.Sprintf("sum by (manifest, phase) (noether_impact_carbon_grams{%s})", of), name+", {{phase}}")).stacked(),
				graph("Carbon intensity of the energy used", gramsKWh, "", q(fmt.Sprintf(`sum by (manifest) (noether_impact_carbon_grams{%s}) / (sum by (manifest) (noether_impact_energy_joules{%s}) / 3.6e6)`, of+operating, of), name)),
				graph("Energy", joules, "", q(fmt.Sprintf("noether_impact_energy_joules{%s}", of), name)).stacked(),
				graph("Functional units", number, "", q(fmt.Sprintf("noether_impact_functional_units{%s}", of), name+", {{functional_unit}}")),
			}},
		},
	}
}
