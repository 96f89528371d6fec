package main

import "fmt"

const quality = "Measured: by a meter. Propagated: handed on by the hypervisor. Estimated: by the model, with an error band."

func overview() dashboard {
	const (
		of     = `cluster=~"$cluster", node=~"$node"`
		all    = `cluster=~"$cluster"`
		level  = "node:"
		spaces = "namespace:"
		works  = "namespace_workload:"
	)
	return dashboard{
		uid: "noether-overview", title: "Noether / Cluster", from: "24h",
		about: "What the nodes use and emit, and which namespaces and workloads cause it.",
		variables: []object{
			clusters(),
			values("node", "Node", `label_values(noether_node_watts{cluster=~"$cluster"}, node)`),
			window(),
		},
		rows: []row{
			{"Now", []panel{
				stat("Power", watts, "All components that a sensor covers, idle included.", q(fmt.Sprintf("sum(noether_node_watts{%s})", of), "")).wide(3),
				stat("Power with PUE", watts, "What the site draws for it.", q(fmt.Sprintf("sum(noether_node_facility_watts{%s})", of), "")).wide(3),
				stat("Caused by work", ratio, "The dynamic part; the rest is what the machines use when idle.", q(fmt.Sprintf(`sum(noether_node_watts{%[1]s, part="dynamic"}) / sum(noether_node_watts{%[1]s})`, of), "")).wide(3),
				stat("Estimated", ratio, "Share of the power that no meter measured.", q(fmt.Sprintf(`(sum(noether_node_watts{%[1]s, quality="estimated"}) or vector(0)) / sum(noether_node_watts{%[1]s})`, of), "")).wide(3),
				stat("Nodes", number, "With figures.", q(fmt.Sprintf("count(count by (cluster, node) (noether_node_watts{%s}))", of), "")).wide(3),
				stat("Pods without a name", number, "Known by their uid alone.", q(fmt.Sprintf("sum(noether_unnamed_pods{%s})", of), "")).wide(3),
				stat("Carbon intensity", gramsKWh, "Of the grid, now.", q(intensity(of), "{{grid_zone}} {{factor}} {{provider}}")).wide(6),
			}},
			{"Over time", []panel{
				stat("Energy", kwh, "Without PUE. "+wholeHour, windows(since("noether_node_joules_total", of, "", toKWh), over(level+"noether_kilowatt_hours:increase1h", of, ""), "")...).wide(12),
				stat("Energy with PUE", kwh, "Whole hours.", windows(nil, over(level+"noether_facility_kilowatt_hours:increase1h", of, ""), "")...).wide(12),
				stat("CO2e", grams, "Operational and embodied. "+wholeHour, windows(since("noether_node_co2e_grams_total", of, "", ""), over(level+"noether_co2e_grams:increase1h", of, ""), "")...).wide(8),
				stat("of which embodied", grams, wholeHour, windows(since("noether_node_co2e_grams_total", of+making, "", ""), over(level+"noether_co2e_grams:increase1h", of+making, ""), "")...).wide(8),
				stat("Cost", number, "Whole hours.", windows(nil, over(level+"noether_energy_cost:increase1h", of, "currency"), "{{currency}}")...).wide(8).digits(4),
			}},
			{"Power", []panel{
				graph("By namespace", watts, "The ten that use most. Their pods' share of idle by requests included.", q(fmt.Sprintf("topk(10, %s)", rate("noether_namespace_joules_total", of, "namespace")), "{{namespace}}")).stacked(),
				graph("By node", watts, "", q(rate("noether_node_joules_total", of, "node"), "{{node}}")).stacked(),
				graph("By component", watts, "Components never overlap.", q(rate("noether_node_joules_total", of, "component, quality"), "{{component}}, {{quality}}")).stacked(),
				graph("Of no workload", watts, "Idle, the kernel, what no request claims, and units of the nodes.",
					q(rate("noether_system_joules_total", of, "account"), "{{account}}"),
					q(rate("noether_unit_joules_total", of, ""), "units")).stacked(),
			}},
			{"Carbon", []panel{
				graph("Carbon intensity of the grid", gramsKWh, "Of the grid, and of the energy that was used: the second is operational CO2e divided by energy, PUE in it.",
					q(intensity(of), "{{grid_zone}} {{provider}} {{signal}} {{factor}} estimated={{estimated}}"),
					q(fmt.Sprintf(`sum(rate(noether_node_co2e_grams_total{%s}[$__rate_interval])) / (sum(rate(noether_node_joules_total{%s}[$__rate_interval])) / 3.6e6)`, of+operating, of), "of what was used")),
				graph("CO2e by hour", grams, "Of the hour before each bar's time.", q(fmt.Sprintf("sum by (phase) (node:noether_co2e_grams:increase1h{%s})", of), "{{phase}}")).hourly(),
				table("Forecast", "Of the grid's intensity, as far as the provider gives one.", query{fmt.Sprintf("avg by (grid_zone, horizon, signal, factor) (noether_grid_forecast_grams_per_kwh{%s})", of), "Intensity", gramsKWh}).high(8),
				table("What the grams are made of", "Embodied emissions of each node, by part, over its life; price and PUE.",
					query{fmt.Sprintf("sum by (node, source) (noether_node_embodied_grams{%s})", of), "Embodied", grams},
					query{fmt.Sprintf("max by (node) (noether_node_embodied_lifetime_seconds{%s})", of), "Life", seconds},
					query{fmt.Sprintf("max by (node) (noether_pue_ratio{%s})", of), "PUE", plain},
					query{fmt.Sprintf("max by (node, currency) (noether_energy_price_per_kwh{%s})", of), "Price of a kWh", plain}).high(8),
				stat("Energy without an intensity", kwh, "Used in the time shown while nobody knew the intensity: no operational CO2e is booked for it.", q(fmt.Sprintf("sum(increase(noether_node_co2e_unknown_joules_total{%s}[$__range])) / 3.6e6", of), "")).wide(6),
				stat("Revised since", grams, "What providers have said later about the last 48 hours, less what was booked. Counters never go back, so it is told here.", q(fmt.Sprintf("sum(noether_node_co2e_revision_grams{%s})", of), "")).wide(6),
			}},
			{"Who, over the chosen window", []panel{
				table("Namespaces", "Whole hours. From counters that keep what short Jobs used. All nodes.",
					query{over(spaces+"noether_kilowatt_hours:increase1h", all, "namespace")("$window"), "Energy", kwh},
					query{over(spaces+"noether_co2e_grams:increase1h", all+operating, "namespace")("$window"), "Operational CO2e", grams},
					query{over(spaces+"noether_co2e_grams:increase1h", all+making, "namespace")("$window"), "Embodied CO2e", grams},
					query{over(spaces+"noether_energy_cost:increase1h", all, "namespace, currency")("$window"), "Cost", number}),
				table("Workloads", "The 50 that use most. Whole hours, all nodes.", query{fmt.Sprintf("topk(50, %s)", over(works+"noether_kilowatt_hours:increase1h", all, "namespace, workload_kind, workload")("$window")), "Energy", kwh}),
				table("Measured or estimated", "Nodes by the quality of each component. "+quality, query{fmt.Sprintf("count by (component, quality) (noether_component_quality{%s} == 1)", of), "Nodes", plain}),
			}},
		},
	}
}
