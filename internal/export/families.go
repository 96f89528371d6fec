package export

import (
	"slices"

	"noether/internal/snapshot"
	"noether/internal/workload"
)

// ledger describes a list of accounts: what its families are called and labelled.
type ledger struct {
	name   string
	of     string // completes "Energy used by …"
	labels []string
	list   func(*snapshot.Snapshot) []snapshot.Account
	owner  func(*Table, *workload.Owner)
	cpu    bool // it has the family _cpu_seconds_total
	pays   bool // it has the families of money and of power with PUE
	extra  bool // it has the labels that the user chose for pods
}

// ledgers returns every list of accounts. Chosen are the labels that the user
// chose for pods.
func ledgers(chosen []string) []ledger {
	list := []ledger{
		{
			"pod", "each pod, all its containers included",
			[]string{"namespace", "pod", "pod_uid", "workload_kind", "workload"},
			func(s *snapshot.Snapshot) []snapshot.Account { return s.Pods },
			func(t *Table, o *workload.Owner) {
				t.text("namespace", o.Pod.Namespace)
				t.text("pod", o.Pod.Name)
				t.text("pod_uid", o.Pod.UID)
				t.text("workload_kind", o.Pod.WorkloadKind)
				t.text("workload", o.Pod.Workload)
			}, true, true, true,
		},
		{
			"container", "each container, inside pods (pod_uid is set) and outside",
			[]string{"namespace", "pod", "pod_uid", "container", "container_id", "runtime"},
			func(s *snapshot.Snapshot) []snapshot.Account { return s.Containers },
			func(t *Table, o *workload.Owner) {
				t.text("namespace", o.Pod.Namespace)
				t.text("pod", o.Pod.Name)
				t.text("pod_uid", o.Pod.UID)
				t.text("container", o.Container.Name)
				t.text("container_id", o.Container.ID)
				t.text("runtime", o.Container.Runtime)
			}, true, false, true,
		},
		{
			"vm", "each virtual machine outside a pod",
			[]string{"vm", "hypervisor"},
			func(s *snapshot.Snapshot) []snapshot.Account { return s.VMs },
			func(t *Table, o *workload.Owner) {
				t.text("vm", o.VM.Name)
				t.text("hypervisor", o.VM.Hypervisor)
			}, true, false, false,
		},
		{
			"unit", "each systemd unit, or first element of the cgroup path where there is none, outside containers, virtual machines and sessions",
			[]string{"unit"},
			func(s *snapshot.Snapshot) []snapshot.Account { return s.Units },
			func(t *Table, o *workload.Owner) { t.text("unit", o.Unit) }, true, false, false,
		},
		{
			"session", "everything in the sessions of each user",
			[]string{"user"},
			func(s *snapshot.Snapshot) []snapshot.Account { return s.Sessions },
			func(t *Table, o *workload.Owner) { t.text("user", o.User) }, false, false, false,
		},
	}
	for i := range list {
		if l := &list[i]; l.extra {
			l.labels = append(l.labels, chosen...)
		}
	}
	return list
}

// families returns the table in the order of the page. Chosen are the labels
// that the user chose for pods.
func families(chosen []string) []Family {
	list := []Family{
		{Name: "noether_node_joules_total", Help: "Energy used by the whole machine, counted once; components do not overlap.", Type: Counter, Unit: "joules", Labels: []string{"component", "part", "quality"}, walk: nodeJoules},
		{Name: "noether_node_watts", Help: "Mean power of the whole machine over the last tick.", Unit: "watts", Labels: []string{"component", "part", "quality"}, walk: nodeWatts},
		{Name: "noether_node_facility_watts", Help: "Mean power over the last tick of the whole machine times the PUE of its site.", Unit: "watts", Labels: []string{"component", "part"}, walk: nodeFacility},
		{Name: "noether_node_co2e_grams_total", Help: "CO2e of the whole machine: operational by its electricity with the PUE of its site, embodied by the hardware's age.", Type: Counter, Unit: "grams", Labels: []string{"phase"}, walk: nodeCO2e},
		{Name: "noether_node_energy_cost_total", Help: "Price of the energy of the whole machine with the PUE of its site, while the price was positive.", Type: Counter, Labels: []string{"currency"}, walk: nodeMoney(cost)},
		{Name: "noether_node_energy_credit_total", Help: "What the energy of the whole machine with the PUE of its site earned, while the price was negative.", Type: Counter, Labels: []string{"currency"}, walk: nodeMoney(credit)},
	}
	for _, l := range ledgers(chosen) {
		list = append(list,
			Family{Name: "noether_" + l.name + "_joules_total", Help: "Energy used by " + l.of + ".", Type: Counter, Unit: "joules", Labels: append(slices.Clip(l.labels), "component", "part"), walk: l.joules},
			Family{Name: "noether_" + l.name + "_watts", Help: "Mean power over the last tick of " + l.of + ".", Unit: "watts", Labels: append(slices.Clip(l.labels), "component", "part"), walk: l.watts},
		)
		if l.cpu {
			list = append(list, Family{Name: "noether_" + l.name + "_cpu_seconds_total", Help: "CPU time used by " + l.of + ".", Type: Counter, Unit: "seconds", Labels: l.labels, walk: l.cpuSeconds})
		}
		list = append(list, Family{Name: "noether_" + l.name + "_co2e_grams_total", Help: "CO2e of " + l.of + ".", Type: Counter, Unit: "grams", Labels: append(slices.Clip(l.labels), "phase"), walk: l.co2e})
		if l.pays {
			list = append(list,
				Family{Name: "noether_" + l.name + "_facility_watts", Help: "Mean power over the last tick of " + l.of + ", times the PUE of the site.", Unit: "watts", Labels: append(slices.Clip(l.labels), "component", "part"), walk: l.facility},
				Family{Name: "noether_" + l.name + "_energy_cost_total", Help: "Price of the energy of " + l.of + ", with the PUE of the site, while the price was positive.", Type: Counter, Labels: append(slices.Clip(l.labels), "currency"), walk: l.money(cost)},
				Family{Name: "noether_" + l.name + "_energy_credit_total", Help: "What the energy of " + l.of + " earned, with the PUE of the site, while the price was negative.", Type: Counter, Labels: append(slices.Clip(l.labels), "currency"), walk: l.money(credit)},
				Family{Name: "noether_" + l.name + "_embodied_estimated", Help: "1 for each " + l.name + " that requests no CPU or no memory and so pays for that hardware by its use, else 0.", Labels: l.labels, walk: l.byUse},
			)
		}
	}
	list = append(list, []Family{
		{Name: "noether_system_joules_total", Help: "Energy that belongs to no workload: idle (nobody ran), kernel (its threads and interrupts), exited (ended within a tick, owner unknown), unattributed (busy time that no task explains), unreserved (idle energy that no request claims).", Type: Counter, Unit: "joules", Labels: []string{"account", "component", "part"}, walk: systemJoules},
		{Name: "noether_system_watts", Help: "Mean power over the last tick of what belongs to no workload.", Unit: "watts", Labels: []string{"account", "component", "part"}, walk: systemWatts},
		{Name: "noether_system_co2e_grams_total", Help: "CO2e that belongs to no workload, by the system accounts of energy; hardware that nobody reserves or uses is unreserved, or idle where requests are unknown.", Type: Counter, Unit: "grams", Labels: []string{"account", "phase"}, walk: systemCO2e},
		{Name: "noether_retired_joules", Help: "Energy that owners no longer exported had consumed, or owners not exported yet because their names are being asked for; it closes the balance of the counters.", Unit: "joules", Labels: []string{"kind", "component"}, walk: retiredJoules},
		{Name: "noether_retired_co2e_grams", Help: "CO2e of the owners behind noether_retired_joules; it closes the balance of the counters.", Unit: "grams", Labels: []string{"kind", "phase"}, walk: retiredCO2e},
		{Name: "noether_namespace_joules_total", Help: "View: energy used by all pods of each namespace that have a name; it stays when they are gone.", Type: Counter, Unit: "joules", Labels: []string{"namespace", "component", "part"}, walk: namespaceJoules},
		{Name: "noether_namespace_co2e_grams_total", Help: "View: CO2e of all pods of each namespace that have a name; it stays when they are gone.", Type: Counter, Unit: "grams", Labels: []string{"namespace", "phase"}, walk: views(namespaces, (*Table).co2e)},
		{Name: "noether_namespace_energy_cost_total", Help: "View: price of the energy of all pods of each namespace that have a name, with the PUE of the site, while the price was positive.", Type: Counter, Labels: []string{"namespace", "currency"}, walk: views(namespaces, cost)},
		{Name: "noether_namespace_energy_credit_total", Help: "View: what the energy of all pods of each namespace that have a name earned, with the PUE of the site, while the price was negative.", Type: Counter, Labels: []string{"namespace", "currency"}, walk: views(namespaces, credit)},
		{Name: "noether_workload_joules_total", Help: "View: energy used by all pods of each workload that have a name; it stays when they are gone.", Type: Counter, Unit: "joules", Labels: []string{"namespace", "workload_kind", "workload", "component", "part"}, walk: workloadJoules},
		{Name: "noether_workload_co2e_grams_total", Help: "View: CO2e of all pods of each workload that have a name; it stays when they are gone.", Type: Counter, Unit: "grams", Labels: []string{"namespace", "workload_kind", "workload", "phase"}, walk: views(workloads, (*Table).co2e)},
		{Name: "noether_workload_energy_cost_total", Help: "View: price of the energy of all pods of each workload that have a name, with the PUE of the site, while the price was positive.", Type: Counter, Labels: []string{"namespace", "workload_kind", "workload", "currency"}, walk: views(workloads, cost)},
		{Name: "noether_workload_energy_credit_total", Help: "View: what the energy of all pods of each workload that have a name earned, with the PUE of the site, while the price was negative.", Type: Counter, Labels: []string{"namespace", "workload_kind", "workload", "currency"}, walk: views(workloads, credit)},
		{Name: "noether_process_joules_total", Help: "Dynamic energy used by each process; comm=\"other\" without pid is every process not listed by itself.", Type: Counter, Unit: "joules", Labels: []string{"pid", "comm", "container_id", "component"}, walk: processJoules},
		{Name: "noether_process_watts", Help: "Mean dynamic power of each process over the last tick.", Unit: "watts", Labels: []string{"pid", "comm", "container_id", "component"}, walk: processWatts},
		{Name: "noether_zone_joules_total", Help: "Energy counted by each raw meter since the agent started, unwrapped; zones overlap, do not add them up.", Type: Counter, Unit: "joules", Labels: []string{"zone", "socket", "sensor"}, walk: zoneJoules},
		{Name: "noether_zone_watts", Help: "Mean power over the last tick by each raw meter; zones overlap.", Unit: "watts", Labels: []string{"zone", "socket", "sensor"}, walk: zoneWatts},
		{Name: "noether_component_quality", Help: "1 for the present quality of each component: measured, propagated from the hypervisor, or estimated.", Labels: []string{"component", "quality"}, walk: componentQuality},
		{Name: "noether_node_error_joules_total", Help: "Lowest and highest plausible value of the energy of components with an error band.", Type: Counter, Unit: "joules", Labels: []string{"component", "bound"}, walk: errorJoules},
		{Name: "noether_node_error_watts", Help: "Lowest and highest plausible value of the mean power over the last tick of components with an error band.", Unit: "watts", Labels: []string{"component", "bound"}, walk: errorWatts},
		{Name: "noether_node_info", Help: "The machine, and how the agent sees it: source of usage and attribution policy in force.", Type: Info, Labels: []string{"arch", "kernel", "cpu_model", "usage", "policy"}, walk: nodeInfo},
		{Name: "noether_sensor_status", Help: "1 for what is known about each sensor and zone: works, absent, forbidden, masked, broken, stale, cannot tell.", Labels: []string{"sensor", "zone", "socket", "status"}, walk: sensorStatus},
	}...)
	list = append(list, siteFamilies()...)
	return append(list, []Family{
		{Name: "noether_unnamed_pods", Help: "Living pods that nobody has named yet; absent where nobody is asked for names of pods.", walk: unnamedPods},
		{Name: "noether_names_up", Help: "1 if the last answer of each source of names was one, else 0.", Labels: []string{"source"}, walk: names(func(n *workload.NamesStatus) (int64, int) { return flag(n.Up), 0 })},
		{Name: "noether_names_known", Help: "Pods or containers that each source of names knows by now.", Labels: []string{"source"}, walk: names(func(n *workload.NamesStatus) (int64, int) { return int64(n.Known), 0 })},
		{Name: "noether_names_requests_total", Help: "Requests sent to each source of names; a watch is one.", Type: Counter, Labels: []string{"source"}, walk: names(func(n *workload.NamesStatus) (int64, int) { return int64(n.Requests), 0 })},
		{Name: "noether_names_received_bytes_total", Help: "Bytes received from each source of names.", Type: Counter, Unit: "bytes", Labels: []string{"source"}, walk: names(func(n *workload.NamesStatus) (int64, int) { return int64(n.Bytes), 0 })},
		{Name: "noether_names_last_sync_timestamp_seconds", Help: "When each source of names was last known to be complete, in seconds since 1970; absent before the first time.", Unit: "seconds", Labels: []string{"source"}, walk: namesSynced},
		{Name: "noether_build_info", Help: "The program that serves this page.", Type: Info, Labels: []string{"version", "revision", "goversion", "goos", "goarch"}, walk: buildInfo},
		{Name: "noether_start_time_seconds", Help: "When the agent started and every counter was 0, in seconds since 1970.", Unit: "seconds", walk: startTime},
		{Name: "noether_ticks_total", Help: "Ticks completed.", Type: Counter, walk: self(func(s *snapshot.Snapshot) (int64, int) { return int64(s.Seq), 0 })},
		{Name: "noether_last_tick_timestamp_seconds", Help: "When the last tick read the machine, in seconds since 1970: what this page tells of ends there.", Unit: "seconds", walk: self(func(s *snapshot.Snapshot) (int64, int) { return s.Time.UnixNano(), 9 })},
		{Name: "noether_ticks_missed_total", Help: "Ticks that could not begin because the one before still ran.", Type: Counter, walk: self(func(s *snapshot.Snapshot) (int64, int) { return int64(s.Self.MissedTicks), 0 })},
		{Name: "noether_tick_duration_seconds", Help: "Time the work of the last tick took.", Unit: "seconds", walk: self(func(s *snapshot.Snapshot) (int64, int) { return int64(s.Self.TickDuration), 9 })},
		{Name: "noether_tick_cpu_seconds_total", Help: "CPU time the work of all ticks took.", Type: Counter, Unit: "seconds", walk: self(func(s *snapshot.Snapshot) (int64, int) { return int64(s.Self.TickCPU), 9 })},
		{Name: "noether_exits_dropped_total", Help: "Records of ended processes that the kernel could not deliver; their time is accounted to their cgroup or as unattributed.", Type: Counter, walk: self(func(s *snapshot.Snapshot) (int64, int) { return int64(s.Self.DroppedExits), 0 })},
		{Name: "noether_imbalance_joules", Help: "Energy of the machine less that of its accounts, over all ticks: 0, or a bug in the agent.", Unit: "joules", walk: self(func(s *snapshot.Snapshot) (int64, int) { return int64(s.Self.Imbalance), 6 })},
		{Name: "noether_imbalance_co2e_grams", Help: "CO2e of the machine less that of its accounts, over all ticks: 0, or a bug in the agent.", Unit: "grams", walk: imbalanceGrams},
	}...)
}
