package main

import "fmt"

func agents() dashboard {
	const of = `cluster=~"$cluster", node=~"$node"`
	const job = `cluster=~"$cluster", job=~"$job", node=~"$node"`
	each := func(expr string) string { return fmt.Sprintf(expr, of) }
	return dashboard{
		uid: "noether-agent", title: "Noether / Agents", from: "6h",
		about: "Whether the agents are there, keep time, keep balance, and know the pods and the grid.",
		variables: []object{
			clusters(),
			only(values("job", "Job", `label_values(noether_ticks_total{cluster=~"$cluster"}, job)`)),
			values("node", "Node", `label_values(noether_node_watts{cluster=~"$cluster"}, node)`),
		},
		annotations: []object{agentStarts(of)},
		rows: []row{
			{"Now", []panel{
				stat("Agents that answer", number, "Of the chosen jobs.", q(fmt.Sprintf("sum(up{%s})", job), "")).wide(3),
				stat("That do not", number, "", q(fmt.Sprintf("count(up{%s} == 0) or vector(0)", job), "")).wide(3),
				stat("Imbalance", joules, "Energy of the machine less that of its accounts: 0, or a bug.", q(each("max(abs(noether_imbalance_joules{%s}))"), "")).wide(3),
				stat("Imbalance of CO2e", grams, "CO2e of the machine less that of its accounts: 0, or a bug.", q(each("max(abs(noether_imbalance_co2e_grams{%s}))"), "")).wide(3),
				stat("Pods without a name", number, "", q(each("sum(noether_unnamed_pods{%s})"), "")),
				stat("Sources that are down", number, "Of names, and of what is known about the site. One that was never asked is not down.", q(fmt.Sprintf("count(noether_names_up{%[1]s} == 0 or noether_site_source_up{%[1]s} == 0 unless noether_site_source_requests_total{%[1]s} == 0) or vector(0)", of), "")),
				stat("CPU of one agent", ratio, "Of one core, by its ticks.", q(each("avg(rate(noether_tick_cpu_seconds_total{%s}[$__rate_interval]))"), "")),
			}},
			{"Cost, and measuring", []panel{
				graph("CPU", ratio, "Of one core, by its ticks.", q(each("rate(noether_tick_cpu_seconds_total{%s}[$__rate_interval])"), "{{node}}")),
				graph("Time of a tick", seconds, "", q(each("noether_tick_duration_seconds{%s}"), "{{node}}")),
				graph("Ticks missed", ratio, "Nothing is lost, but the intervals are longer.", q(fmt.Sprintf("rate(noether_ticks_missed_total{%[1]s}[$__rate_interval]) / (rate(noether_ticks_total{%[1]s}[$__rate_interval]) + rate(noether_ticks_missed_total{%[1]s}[$__rate_interval]))", of), "{{node}}")),
				graph("Ends of processes not delivered", perSec, "Their time is their cgroup's, or unattributed.", q(each("rate(noether_exits_dropped_total{%s}[$__rate_interval])"), "{{node}}")),
				graph("Time of a scrape", seconds, "", q(fmt.Sprintf("scrape_duration_seconds{%s}", job), "{{node}}")),
				graph("Series", number, "", q(fmt.Sprintf("scrape_samples_scraped{%s}", job), "{{node}}")),
			}},
			{"Balance", []panel{
				graph("Machine less accounts", joules, "Of cumulative values: all that the machine used, less all that pods, containers outside of pods, virtual machines, units, sessions and the system used, less what has left the page. 0 but for the last digits of floating point.",
					q(fmt.Sprintf(`sum by (node) (noether_node_joules_total{%[1]s}) - sum by (node) ({__name__=~"noether_(container|vm|unit|session|system)_joules_total|noether_retired_joules", pod_uid="", %[1]s} or noether_pod_joules_total{%[1]s})`, of), "{{node}}")),
				graph("CO2e of the machine less accounts", grams, "The same of CO2e.",
					q(fmt.Sprintf(`sum by (node) (noether_node_co2e_grams_total{%[1]s}) - sum by (node) ({__name__=~"noether_(container|vm|unit|session|system)_co2e_grams_total|noether_retired_co2e_grams", pod_uid="", %[1]s} or noether_pod_co2e_grams_total{%[1]s})`, of), "{{node}}")),
			}},
			{"Names", []panel{
				graph("Requests", perSec, "To the API server, the kubelet or a container engine.", q(each("rate(noether_names_requests_total{%s}[$__rate_interval])"), "{{node}} {{source}}")),
				graph("Received", bytesSec, "", q(each("rate(noether_names_received_bytes_total{%s}[$__rate_interval])"), "{{node}} {{source}}")),
				graph("Known", number, "", q(each("noether_names_known{%s}"), "{{node}} {{source}}")),
				graph("Age of what is known", seconds, "Since the source last answered.", q(each("time() - noether_names_last_sync_timestamp_seconds{%s}"), "{{node}} {{source}}")),
			}},
			{"Site: intensity, price, PUE", []panel{
				table("Sources", "1 where the last answer was one. A link of the chain that was never asked has no requests.",
					query{each("min by (source, grid_zone) (noether_site_source_up{%s})"), "Up on all nodes", plain},
					query{each("sum by (source, grid_zone) (increase(noether_site_source_requests_total{%s}[$__range]))"), "Requests", number},
					query{each("sum by (source, grid_zone) (increase(noether_site_source_failures_total{%s}[$__range]))"), "Without an answer of use", number}),
				graph("Age of the last answer", seconds, "", q(each("time() - max by (source, grid_zone) (noether_site_source_last_success_timestamp_seconds{%s} > 0)"), "{{source}} {{grid_zone}}")).high(9),
				graph("Requests", perSec, "Of all nodes: one hub asks for many.", q(each("sum by (source, grid_zone) (rate(noether_site_source_requests_total{%s}[$__rate_interval]))"), "{{source}} {{grid_zone}}")),
				graph("Without an answer of use", perSec, "", q(each("sum by (source, grid_zone) (rate(noether_site_source_failures_total{%s}[$__rate_interval]))"), "{{source}} {{grid_zone}}")),
				graph("Age of the intensity", seconds, "Since it was fetched; what is built in has none.", q(each("time() - max by (grid_zone, provider) (noether_grid_carbon_intensity_updated_timestamp_seconds{%s} > 0)"), "{{grid_zone}} {{provider}}")),
				graph("Power without an intensity", watts, "No operational CO2e is booked for it.", q(each("sum by (node) (rate(noether_node_co2e_unknown_joules_total{%s}[$__rate_interval]))"), "{{node}}")),
			}},
			{"What runs", []panel{
				table("Versions", "", query{each("count by (version, revision, goarch) (noether_build_info{%s})"), "Agents", plain}),
				table("Since", "", query{each("max by (node) (noether_start_time_seconds{%s}) * 1000"), "Started", when}),
				table("Sensors that do not work", "", query{each("max by (node, sensor, zone, status) (noether_sensor_status{%s, status!~\"works|absent\"})"), "", plain}).wide(24).high(8),
			}},
		},
	}
}
