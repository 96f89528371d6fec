package builtin

import (
	"regexp"
	"slices"
	"strings"

	"noether/internal/impact/value"
	"noether/internal/promclient"
)

// preset says where a tool keeps the energy of one level. The families are
// those of Kepler v0.11 and v0.7, Scaphandre v1.0 and Noether.
type preset struct {
	family   string               // metric name, "" with a matcher on __name__
	matchers []promclient.Matcher // what keeps overlapping series out
	kind     queryKind
	unit     string
	fromZero bool
	wraps    bool
	same     []string
	columns  []promColumn
	selects  map[string]string // namespace, pod, container, workload → label; absent: cannot be selected
	outside  []promclient.Matcher
}

func presetOf(name, level string) (preset, bool) {
	// Zones of RAPL that do not overlap: core and uncore are inside package,
	// which is inside psys.
	keplerZones := promclient.Matcher{Label: "zone", Op: "=~", Value: "package|dram"}
	namespacePod := func(ns, pod string) []promColumn { return []promColumn{{ns, "namespace"}, {pod, "pod"}} }
	p, ok := map[string]preset{
		// A workload that has ended goes on as state="terminated" with the same counter.
		"kepler pod": {
			family: "kepler_pod_cpu_joules_total", matchers: []promclient.Matcher{keplerZones},
			kind: counterQuery, unit: "J", fromZero: true, same: []string{"state"},
			columns: namespacePod("pod_namespace", "pod_name"),
			selects: map[string]string{"namespace": "pod_namespace", "pod": "pod_name"},
		},
		"kepler container": { // pod_namespace and pod_name are joined by pod_id
			family: "kepler_container_cpu_joules_total", matchers: []promclient.Matcher{keplerZones},
			kind: counterQuery, unit: "J", fromZero: true, same: []string{"state"},
			columns: append(namespacePod("pod_namespace", "pod_name"), promColumn{"container_name", "container"}),
			selects: map[string]string{"namespace": "pod_namespace", "pod": "pod_name", "container": "container_name"},
		},
		// The sum of these two does not wrap, unlike kepler_node_cpu_joules_total;
		// idle counts from before Kepler's start.
		"kepler node": {
			matchers: []promclient.Matcher{{Label: "__name__", Op: "=~", Value: "kepler_node_cpu_(active|idle)_joules_total"}, keplerZones},
			kind:     counterQuery, unit: "J",
			columns: []promColumn{{"node_name", "node"}},
		},
		// One family that is package, dram, other and gpu; mode dynamic and idle add up.
		"kepler-legacy pod": {
			family: "kepler_container_joules_total",
			kind:   counterQuery, unit: "J", fromZero: true,
			columns: namespacePod("container_namespace", "pod_name"),
			selects: map[string]string{"namespace": "container_namespace", "pod": "pod_name"},
			outside: []promclient.Matcher{{Label: "container_namespace", Op: "!~", Value: "system|kernel"}},
		},
		"kepler-legacy container": {
			family: "kepler_container_joules_total",
			kind:   counterQuery, unit: "J", fromZero: true,
			columns: append(namespacePod("container_namespace", "pod_name"), promColumn{"container_name", "container"}),
			selects: map[string]string{"namespace": "container_namespace", "pod": "pod_name", "container": "container_name"},
			outside: []promclient.Matcher{{Label: "container_namespace", Op: "!~", Value: "system|kernel"}},
		},
		// Processes have power only, and the host's energy is never added to them.
		"scaphandre pod": {
			family: "scaph_process_power_consumption_microwatts", matchers: []promclient.Matcher{{Label: "kubernetes_pod_name", Op: "!=", Value: ""}},
			kind: gaugeQuery, unit: "uW",
			columns: namespacePod("kubernetes_pod_namespace", "kubernetes_pod_name"),
			selects: map[string]string{"namespace": "kubernetes_pod_namespace", "pod": "kubernetes_pod_name"},
		},
		"scaphandre container": {
			family: "scaph_process_power_consumption_microwatts", matchers: []promclient.Matcher{{Label: "container_id", Op: "!=", Value: ""}},
			kind: gaugeQuery, unit: "uW",
			columns: append(namespacePod("kubernetes_pod_namespace", "kubernetes_pod_name"), promColumn{"container_names", "container"}, promColumn{"container_id", "container-id"}),
			selects: map[string]string{"namespace": "kubernetes_pod_namespace", "pod": "kubernetes_pod_name", "container": "container_names"},
		},
		"scaphandre process": {
			family: "scaph_process_power_consumption_microwatts",
			kind:   gaugeQuery, unit: "uW",
			columns: []promColumn{{"instance", "node"}, {"pid", "pid"}, {"exe", "exe"}},
		},
		// A sum of hardware counters: one of them wraps now and then.
		"scaphandre node": {
			family: "scaph_host_energy_microjoules",
			kind:   counterQuery, unit: "uJ", wraps: true,
			columns: []promColumn{{"instance", "node"}},
		},
		"noether pod": {
			family: "noether_pod_joules_total",
			kind:   counterQuery, unit: "J", fromZero: true,
			columns: append(namespacePod("namespace", "pod"), promColumn{"workload_kind", "workload-kind"}, promColumn{"workload", "workload"}),
			selects: map[string]string{"namespace": "namespace", "pod": "pod", "workload": "workload"},
		},
		"noether container": {
			family: "noether_container_joules_total",
			kind:   counterQuery, unit: "J", fromZero: true,
			columns: append(namespacePod("namespace", "pod"), promColumn{"container", "container"}),
			selects: map[string]string{"namespace": "namespace", "pod": "pod", "container": "container"},
		},
		"noether node": {
			family: "noether_node_joules_total",
			kind:   counterQuery, unit: "J", fromZero: true,
			columns: []promColumn{{"node", "node"}},
		},
	}[name+" "+level]
	return p, ok
}

// presetQuery makes the query of a preset with its selectors.
func presetQuery(name string, config *value.Object) (promQuery, error) {
	level := config.Get("level").Str()
	if level == "" {
		level = "pod"
		if config.Has("container") {
			level = "container"
		}
	}
	p, ok := presetOf(name, level)
	if !ok {
		return promQuery{}, configError("the preset %s has no level %s.", name, level)
	}
	q := promQuery{name: "preset " + name, kind: p.kind, family: p.family, energy: true, fromZero: p.fromZero, wraps: p.wraps, same: p.same, columns: p.columns}
	q.unit, _ = promUnitOf(p.unit)
	matchers, pods := p.matchers, []promclient.Matcher(nil)
	for _, key := range []string{"namespace", "pod", "container", "workload"} {
		if !config.Has(key) {
			continue
		}
		label, m, wanted, err := selectorMatcher(p, key, config.Get(key))
		if err != nil {
			return q, err
		}
		if label == "" {
			return q, configError("%s cannot be selected at level %s of the preset %s.", key, level, name)
		}
		if len(wanted) > 0 {
			q.wanted = append(q.wanted, promWanted{label, wanted})
		}
		if name == "kepler" && level == "container" && label != "container_name" {
			pods = append(pods, m)
		} else {
			matchers = append(slices.Clip(matchers), m)
		}
	}
	if !config.Has("namespace") {
		matchers = append(slices.Clip(matchers), p.outside...)
	}
	q.matchers, q.query = matchers, promclient.Selector(p.family, matchers...)
	if name == "kepler" && level == "container" {
		q.pods = promclient.Selector("kepler_pod_cpu_joules_total", pods...)
	}
	return q, nil
}

// carbonQuery makes the query of the grams of a phase that are booked beside
// the energy of a preset's query.
func carbonQuery(phase string, config *value.Object, main promQuery) (promQuery, error) {
	if config.Get("preset").Str() != "noether" {
		return promQuery{}, configError("carbon goes with the preset noether: nobody else counts grams; use CarbonIntensity, or queries.")
	}
	q := main
	q.name, q.wanted = "carbon "+phase, nil
	q.family = strings.Replace(main.family, "_joules_", "_co2e_grams_", 1)
	q.query = promclient.Selector(q.family, append(slices.Clip(main.matchers), promclient.Matcher{Label: "phase", Op: "=", Value: phase})...)
	q.unit, q.energy = promUnit{}, false
	q.output = "carbon-" + phase
	return q, nil
}

// selectorMatcher makes a condition of a name, a list of names, or a regular
// expression after "~"; wanted are the names that must all be found.
func selectorMatcher(p preset, key string, v value.Value) (label string, m promclient.Matcher, wanted []string, err error) {
	var names []string
	for _, item := range append(slices.Clone(v.Items()), v) {
		if item.IsString() {
			names = append(names, item.Str())
		}
	}
	if len(names) == 1 && strings.HasPrefix(names[0], "~") {
		names = []string{strings.TrimSpace(names[0][1:])}
		if key == "workload" && p.selects[key] == "" {
			return "", m, nil, configError("workload takes names: for a regular expression use pod.")
		}
		return p.selects[key], promclient.Matcher{Label: p.selects[key], Op: "=~", Value: names[0]}, nil, nil
	}
	if key == "workload" && p.selects[key] == "" {
		label = p.selects["pod"]
		return label, promclient.Matcher{Label: label, Op: "=~", Value: podsOf(names)}, nil, nil
	}
	label = p.selects[key]
	return label, promclient.OneOf(label, names...), names, nil
}

// podsOf matches the names that Kubernetes gives to pods of workloads: a hash
// of the template and five random characters (Deployment), these five alone
// (DaemonSet, Job), a number (StatefulSet), a number and five (CronJob, indexed
// Job). Random characters are never vowels (k8s.io/apimachinery, util/rand).
func podsOf(workloads []string) string {
	quoted := make([]string, len(workloads))
	for i, w := range workloads {
		quoted[i] = regexp.QuoteMeta(w)
	}
	const random = "[bcdfghjklmnpqrstvwxz2456789]"
	return "(" + strings.Join(quoted, "|") + ")-(" + random + "{1,10}-" + random + "{5}|" + random + "{5}|[0-9]+(-" + random + "{5})?)"
}
