package main

import "fmt"

// windows asks for an amount over four windows. The short ones are of now,
// the long ones of whole hours that rules have recorded, so that a week costs
// 168 samples a series.
func windows(raw, recorded func(window string) string, legend string) []query {
	if legend != "" {
		legend = " " + legend
	}
	var list []query
	for _, w := range []string{"1h", "3h", "24h", "7d"} {
		ask := recorded
		if raw != nil && (w == "1h" || w == "3h") {
			ask = raw
		}
		list = append(list, q(ask(w), w+legend))
	}
	return list
}

// over sums what a rule has recorded for each hour.
func over(rule, selector, by string) func(window string) string {
	return func(w string) string {
		return fmt.Sprintf("%s(sum_over_time(%s{%s}[%s:1h]))", sum(by), rule, selector, w)
	}
}

// since is the increase of a counter, in some other unit.
func since(counter, selector, by, scale string) func(window string) string {
	return func(w string) string {
		return fmt.Sprintf("%s(increase(%s{%s}[%s]))%s", sum(by), counter, selector, w, scale)
	}
}

func sum(by string) string {
	if by == "" {
		return "sum"
	}
	return "sum by (" + by + ") "
}

// rate is the power, or another rate, of a counter.
func rate(counter, selector, by string) string {
	return fmt.Sprintf("%s(rate(%s{%s}[$__rate_interval]))", sum(by), counter, selector)
}

const (
	toKWh     = " / 3.6e6"
	wholeHour = "24h and 7d are whole hours."
	operating = `, phase="operational"`
	making    = `, phase="embodied"`
)

func clusters() object {
	return values("cluster", "Cluster", "label_values(noether_node_joules_total, cluster)")
}

func window() object { return choice("window", "Window of tables", "24h", "1h", "3h", "24h", "7d") }

// releases are changes of a container's image, as kube-state-metrics sees them:
// an image that its container did not have five minutes before.
const releases = `count by (namespace, container, image) (kube_pod_container_info{cluster=~"$cluster", namespace=~"$namespace"})` +
	` unless count by (namespace, container, image) (kube_pod_container_info{cluster=~"$cluster", namespace=~"$namespace"} offset 5m)` +
	` and on (namespace, container) count by (namespace, container) (kube_pod_container_info{cluster=~"$cluster", namespace=~"$namespace"} offset 5m)`

func application() dashboard {
	const (
		of     = `cluster=~"$cluster", namespace=~"$namespace", workload=~"$workload"`
		level  = "namespace_workload:"
		counts = "noether_workload_"
		who    = "namespace, workload_kind, workload"
	)
	energy := over(level+"noether_kilowatt_hours:increase1h", of, "")
	mass := over(level+"noether_co2e_grams:increase1h", of, "")
	return dashboard{
		uid: "noether-application", title: "Noether / Application", from: "24h",
		about: "Energy, CO2e and cost of namespaces and workloads, pods that ended included.",
		variables: []object{
			clusters(),
			values("namespace", "Namespace", `label_values(noether_namespace_joules_total{cluster=~"$cluster"}, namespace)`),
			values("workload", "Workload", `label_values(noether_workload_joules_total{cluster=~"$cluster", namespace=~"$namespace"}, workload)`),
			window(),
		},
		annotations: []object{
			event("Releases", "purple", releases, "{{namespace}}/{{container}}", "{{image}}"),
			tagged("Releases told to Grafana", "blue", "release"),
		},
		rows: []row{
			{"Energy", []panel{
				stat("Power", watts, "Their share of idle by requests included.", q(rate(counts+"joules_total", of, ""), "")).wide(3),
				stat("Power with PUE", watts, "What the site draws for it.", q(fmt.Sprintf("sum(noether_pod_facility_watts{%s})", of), "")).wide(3),
				stat("Energy", kwh, "Without PUE. "+wholeHour, windows(since(counts+"joules_total", of, "", toKWh), energy, "")...).wide(9),
				stat("Energy with PUE", kwh, "Each hour at that hour's PUE. Whole hours.", windows(nil, over(level+"noether_facility_kilowatt_hours:increase1h", of, ""), "")...).wide(9),
				graph("Power by pod", watts, "The 25 that use most. Every joule of a pod is shown once.", q(fmt.Sprintf("topk(25, %s)", rate("noether_pod_joules_total", of, "namespace, pod")), "{{namespace}}/{{pod}}")).stacked(),
				graph("Energy by hour", kwh, "Of the hour before each bar's time.", q(fmt.Sprintf("sum by (namespace, workload) (%snoether_kilowatt_hours:increase1h{%s})", level, of), "{{namespace}}/{{workload}}")).hourly(),
			}},
			{"Carbon", []panel{
				stat("Carbon intensity", gramsKWh, "Of the grid, now. lifecycle or direct, and whether it is an estimate, is in the name.", q(intensity(`cluster=~"$cluster"`), "{{grid_zone}} {{factor}} {{provider}}")).wide(6),
				stat("CO2e", grams, "Operational, with the intensity and PUE of each moment, and embodied. "+wholeHour, windows(since(counts+"co2e_grams_total", of, "", ""), mass, "")...).wide(9),
				stat("of which embodied", grams, "The share of making the hardware, by requests. "+wholeHour, windows(since(counts+"co2e_grams_total", of+making, "", ""), over(level+"noether_co2e_grams:increase1h", of+making, ""), "")...).wide(9),
				graph("Carbon intensity of the grid", gramsKWh, "Estimated: by the provider, or because it is not of that time.", q(intensity(`cluster=~"$cluster"`), "{{grid_zone}} {{provider}} {{signal}} {{factor}} estimated={{estimated}}")),
				graph("CO2e by hour", grams, "Of the hour before each bar's time.", q(fmt.Sprintf("sum by (phase) (%snoether_co2e_grams:increase1h{%s})", level, of), "{{phase}}")).hourly(),
				graph("CO2e now", gramsHour, "Grams an hour, by workload.", q(rate(counts+"co2e_grams_total", of, "namespace, workload")+" * 3600", "{{namespace}}/{{workload}}")).stacked().wide(24),
			}},
			{"Cost", []panel{
				stat("Cost", number, "Energy with PUE at the price of each moment, credits subtracted. Whole hours.", windows(nil, over(level+"noether_energy_cost:increase1h", of, "currency"), "{{currency}}")...).wide(24).digits(4),
			}},
			{"What it is like, over the chosen window", equivalences(energy("$window"), mass("$window"))},
			{"Before and after", []panel{
				stat("Energy against the week before", ratio, "The last 24 whole hours against the same hours a week earlier.", q(fmt.Sprintf("%s / %s - 1", energy("24h"), fmt.Sprintf("sum(sum_over_time(%snoether_kilowatt_hours:increase1h{%s}[24h:1h] offset 7d))", level, of)), "")).wide(6).high(8),
				graph("Power, and a week before", watts, "Vertical lines are releases: images that changed, or annotations with the tag release.",
					q(rate(counts+"joules_total", of, ""), "now"),
					q(fmt.Sprintf("sum(rate(%sjoules_total{%s}[$__rate_interval] offset 7d))", counts, of), "a week before")).wide(9),
				graph("Joules for a second of CPU time", joules, "Dynamic energy. A release changes the CPU time; a more efficient node changes this.", q(fmt.Sprintf(`sum by (namespace, workload) (rate(noether_pod_joules_total{%[1]s, part="dynamic"}[$__rate_interval])) / (sum by (namespace, workload) (rate(noether_pod_cpu_seconds_total{%[1]s}[$__rate_interval])) > 0)`, of), "{{namespace}}/{{workload}}")).wide(9),
			}},
			{"Workloads, pods, containers", []panel{
				table("Workloads, over the chosen window", "Whole hours, pods that ended included.",
					query{over(level+"noether_kilowatt_hours:increase1h", of, who)("$window"), "Energy", kwh},
					query{over(level+"noether_co2e_grams:increase1h", of+operating, who)("$window"), "Operational CO2e", grams},
					query{over(level+"noether_co2e_grams:increase1h", of+making, who)("$window"), "Embodied CO2e", grams},
					query{over(level+"noether_energy_cost:increase1h", of, who+", currency")("$window"), "Cost", number}).wide(24),
				table("Pods, over the chosen window", "Of pods that are still listed: those that ended are in their workload.",
					query{since("noether_pod_joules_total", of, "namespace, pod, node", "")("$window"), "Energy", joules},
					query{since("noether_pod_co2e_grams_total", of, "namespace, pod, node", "")("$window"), "CO2e", grams},
					query{fmt.Sprintf("max by (namespace, pod, node) (noether_pod_embodied_estimated{%s})", of), "Embodied by use", plain}),
				graph("By container", watts, "", q(fmt.Sprintf("topk(25, %s)", rate("noether_container_joules_total", `cluster=~"$cluster", namespace=~"$namespace", pod_uid!=""`, "namespace, pod, container")), "{{namespace}}/{{pod}}/{{container}}")).stacked().high(9),
				graph("By component and part", watts, "Dynamic is caused by work; idle is the share that requests claim.", q(rate(counts+"joules_total", of, "component, part"), "{{component}}, {{part}}")).stacked(),
				stat("Share of the cluster", ratio, "Of all that its nodes use.", q(fmt.Sprintf("%s / %s", rate(counts+"joules_total", of, ""), rate("noether_node_joules_total", `cluster=~"$cluster"`, "")), "")).wide(6).high(8),
				stat("Pods", number, "With figures now.", q(fmt.Sprintf("count(count by (pod_uid) (noether_pod_watts{%s}))", of), "")).wide(6).high(8),
			}},
		},
	}
}

// intensity is that of the grid zones of some nodes, as it is booked.
func intensity(selector string) string {
	return fmt.Sprintf(`avg by (grid_zone, provider, signal, factor, estimated) (noether_grid_carbon_intensity_grams_per_kwh{%s, signal="average"})`, selector)
}
