package main

import "fmt"

func node() dashboard {
	const of = `cluster=~"$cluster", node="$node"`
	return dashboard{
		uid: "noether-node", title: "Noether / Node", from: "6h",
		about: "One machine: its meters, who used it, what that emitted, and how sure that is.",
		variables: []object{
			clusters(),
			one("node", "Node", `label_values(noether_node_watts{cluster=~"$cluster"}, node)`),
		},
		annotations: []object{agentStarts(of)},
		rows: []row{
			{"Now", []panel{
				stat("Power", watts, "All components that a sensor covers.", q(fmt.Sprintf("sum(noether_node_watts{%s})", of), "")).wide(3),
				stat("At least", watts, "Lowest plausible value of what has an error band.", q(fmt.Sprintf(`sum(noether_node_error_watts{%s, bound="low"})`, of), "")).wide(3),
				stat("At most", watts, "Highest plausible value of what has an error band.", q(fmt.Sprintf(`sum(noether_node_error_watts{%s, bound="high"})`, of), "")).wide(3),
				stat("Power with PUE", watts, "What the site draws for it.", q(fmt.Sprintf("sum(noether_node_facility_watts{%s})", of), "")).wide(3),
				table("Quality", quality, query{fmt.Sprintf("max by (component, quality) (noether_component_quality{%s} == 1)", of), "Now", plain}).wide(6).high(4),
				table("Machine", "", query{fmt.Sprintf("max by (arch, kernel, cpu_model, usage, policy) (noether_node_info{%s})", of), "", plain}).wide(6).high(4),
				stat("Energy", kwh, "Without PUE. "+wholeHour, windows(since("noether_node_joules_total", of, "", toKWh), over("node:noether_kilowatt_hours:increase1h", of, ""), "")...).wide(9),
				stat("CO2e", grams, "Operational and embodied. "+wholeHour, windows(since("noether_node_co2e_grams_total", of, "", ""), over("node:noether_co2e_grams:increase1h", of, ""), "")...).wide(9),
				stat("Carbon intensity", gramsKWh, "Of its grid, now.", q(intensity(of), "{{grid_zone}} {{factor}} {{provider}}")).wide(6),
			}},
			{"Power", []panel{
				graph("By component and part", watts, "Dynamic is caused by work; idle is what the machine uses without any.", q(rate("noether_node_joules_total", of, "component, part, quality"), "{{component}}, {{part}}, {{quality}}")).stacked(),
				graph("With error band", watts, "The band of components that are estimated.",
					q(rate("noether_node_joules_total", of, ""), "value"),
					q(rate("noether_node_error_joules_total", of, "bound"), "{{bound}}")),
				graph("Raw meters", watts, "Zones overlap: do not add them up.", q(rate("noether_zone_joules_total", of, "zone, socket, sensor"), "{{zone}} {{socket}} ({{sensor}})")),
				graph("Who used it", watts, "Every joule has one owner.",
					q(rate("noether_pod_joules_total", of, ""), "pods"),
					q(rate("noether_container_joules_total", of+`, pod_uid=""`, ""), "containers outside of pods"),
					q(rate("noether_vm_joules_total", of, ""), "virtual machines"),
					q(rate("noether_unit_joules_total", of, ""), "units"),
					q(rate("noether_session_joules_total", of, ""), "sessions"),
					q(rate("noether_system_joules_total", of, "account"), "system: {{account}}")).stacked(),
			}},
			{"Who", []panel{
				graph("Pods", watts, "", q(fmt.Sprintf("topk(15, %s)", rate("noether_pod_joules_total", of, "namespace, pod")), "{{namespace}}/{{pod}}")).stacked(),
				table("Workloads, in the time shown", "The 25 that used most of this machine, pods that ended included.",
					query{fmt.Sprintf("topk(25, %s)", since("noether_workload_joules_total", of, "namespace, workload_kind, workload", toKWh)("$__range")), "Energy", kwh},
					query{since("noether_workload_co2e_grams_total", of, "namespace, workload_kind, workload", "")("$__range"), "CO2e", grams}).high(8),
				graph("Units of the node", watts, "Such as the kubelet and the container runtime.", q(fmt.Sprintf("topk(10, %s)", rate("noether_unit_joules_total", of, "unit")), "{{unit}}")).stacked(),
				graph("Virtual machines", watts, "", q(fmt.Sprintf("topk(10, %s)", rate("noether_vm_joules_total", of, "vm, hypervisor")), "{{vm}} ({{hypervisor}})")).stacked(),
				graph("Processes", watts, "Dynamic energy of those that are listed by themselves.", q(fmt.Sprintf("topk(10, sum by (comm, pid) (noether_process_watts{%s}))", of), "{{comm}} {{pid}}")).stacked(),
			}},
			{"Carbon", []panel{
				graph("CO2e by hour", grams, "Of the hour before each bar's time.", q(fmt.Sprintf("sum by (phase) (node:noether_co2e_grams:increase1h{%s})", of), "{{phase}}")).hourly(),
				graph("Who emitted it", gramsHour, "Grams an hour. Every gram has one owner.",
					q(rate("noether_pod_co2e_grams_total", of, "")+" * 3600", "pods"),
					q(rate("noether_container_co2e_grams_total", of+`, pod_uid=""`, "")+" * 3600", "containers outside of pods"),
					q(rate("noether_vm_co2e_grams_total", of, "")+" * 3600", "virtual machines"),
					q(rate("noether_unit_co2e_grams_total", of, "")+" * 3600", "units"),
					q(rate("noether_session_co2e_grams_total", of, "")+" * 3600", "sessions"),
					q(rate("noether_system_co2e_grams_total", of, "account")+" * 3600", "system: {{account}}")).stacked(),
				table("Embodied emissions", "Of making the machine, by part.", query{fmt.Sprintf("max by (part, source, estimated) (noether_node_embodied_grams{%s})", of), "CO2e", grams}),
			}},
			{"Sensors", []panel{
				table("What is known about each", "works, absent, forbidden, masked, broken, stale, cannot tell. noether check on the node says what mends it.", query{fmt.Sprintf("max by (sensor, zone, socket, status) (noether_sensor_status{%s})", of), "", plain}),
			}},
		},
	}
}

// agentStarts marks when counters began at 0.
func agentStarts(selector string) object {
	return event("Agent starts", "orange", fmt.Sprintf("changes(noether_start_time_seconds{%s}[5m]) > 0", selector), "The agent on {{node}} started", "Its counters began at 0; increase() knows.")
}
