// Package grafana holds the dashboards. The JSON files beside this one are
// generated from it, so that units, variables and looks are the same in all of
// them; deploy's own test holds every query against the agent's metrics.
package grafana

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the dashboards anew")

// schemaVersion is that of Grafana 11.0; newer ones migrate it when they load it.
const schemaVersion = 39

type object = map[string]any

// Units of Grafana (packages/grafana-data/src/valueFormats/categories.ts).
const (
	watts    = "watt"
	joules   = "joule"
	kwh      = "kwatth"
	ratio    = "percentunit"
	seconds  = "s"
	bytesSec = "Bps"
	perSec   = "reqps"
	number   = "short"
	when     = "dateTimeFromNow"
)

// panel is what differs from one to the next. Widths are columns of 24.
type panel struct {
	title, about, kind, unit string
	width, height            int
	queries                  []query
	stack                    bool
}

type query struct{ expr, legend string }

type dashboard struct {
	uid, title, about string
	variables         []variable
	rows              []row
}

type row struct {
	title  string
	panels []panel
}

type variable struct {
	name, label, query string
	one                bool // exactly one value
}

func q(expr, legend string) []query { return []query{{expr, legend}} }

func nodes() variable {
	return variable{name: "node", label: "Node", query: "label_values(noether_node_watts, node)"}
}

func stat(title, unit, expr, about string) panel {
	return panel{title: title, about: about, kind: "stat", unit: unit, width: 4, height: 4, queries: q(expr, "")}
}

func graph(title, unit string, stack bool, about string, queries ...query) panel {
	return panel{title: title, about: about, kind: "timeseries", unit: unit, width: 12, height: 8, stack: stack, queries: queries}
}

func table(title, unit, expr, about string) panel {
	return panel{title: title, about: about, kind: "table", unit: unit, width: 12, height: 9, queries: q(expr, "")}
}

func wide(p panel) panel { p.width = 24; return p }

func dashboards() map[string]dashboard {
	const quality = "Measured: by a meter. Propagated: handed on by the hypervisor. Estimated: by the model, with an error band."
	return map[string]dashboard{
		"overview.json": {
			"noether-overview", "Noether / Cluster", "What the nodes use, and which namespaces and workloads cause it.",
			[]variable{nodes()},
			[]row{
				{"Now, and in the time shown", []panel{
					stat("Power", watts, `sum(noether_node_watts{node=~"$node"})`, "All components that a sensor covers, idle included."),
					stat("Energy", kwh, `sum(increase(noether_node_joules_total{node=~"$node"}[$__range])) / 3.6e6`, "In the time shown."),
					stat("Caused by work", ratio, `sum(noether_node_watts{node=~"$node", part="dynamic"}) / sum(noether_node_watts{node=~"$node"})`, "The dynamic part; the rest is what the machines use when idle."),
					stat("Estimated", ratio, `(sum(noether_node_watts{node=~"$node", quality="estimated"}) or vector(0)) / sum(noether_node_watts{node=~"$node"})`, "Share of the power that no meter measured."),
					stat("Nodes", number, `count(count by (node) (noether_node_watts{node=~"$node"}))`, "With figures."),
					stat("Pods without a name", number, `sum(noether_unnamed_pods{node=~"$node"})`, "Known by their uid alone."),
				}},
				{"Power", []panel{
					graph("By namespace", watts, true, "The ten that use most. Their pods' share of idle by requests included.", query{`topk(10, sum by (namespace) (rate(noether_namespace_joules_total{node=~"$node"}[$__rate_interval])))`, "{{namespace}}"}),
					graph("By node", watts, true, "", query{`sum by (node) (rate(noether_node_joules_total{node=~"$node"}[$__rate_interval]))`, "{{node}}"}),
					graph("By component", watts, true, "Components never overlap.", query{`sum by (component, quality) (rate(noether_node_joules_total{node=~"$node"}[$__rate_interval]))`, "{{component}}, {{quality}}"}),
					graph("Of no workload", watts, true, "Idle, the kernel, what no request claims, and units of the nodes.",
						query{`sum by (account) (rate(noether_system_joules_total{node=~"$node"}[$__rate_interval]))`, "{{account}}"},
						query{`sum(rate(noether_unit_joules_total{node=~"$node"}[$__rate_interval]))`, "units"}),
				}},
				{"Energy in the time shown", []panel{
					table("Namespaces", kwh, `sort_desc(sum by (namespace) (increase(noether_namespace_joules_total{node=~"$node"}[$__range])) / 3.6e6)`, "From a counter that keeps what short Jobs used."),
					table("Workloads", kwh, `topk(25, sum by (namespace, workload_kind, workload) (increase(noether_workload_joules_total{node=~"$node"}[$__range])) / 3.6e6)`, ""),
					table("Measured or estimated", number, `count by (component, quality) (noether_component_quality{node=~"$node"} == 1)`, "Nodes by the quality of each component. "+quality),
				}},
			},
		},
		"workloads.json": {
			"noether-workloads", "Noether / Namespace, workload, pod", "From a namespace down to a container.",
			[]variable{
				{name: "namespace", label: "Namespace", query: "label_values(noether_namespace_joules_total, namespace)"},
				{name: "workload", label: "Workload", query: `label_values(noether_workload_joules_total{namespace=~"$namespace"}, workload)`},
				{name: "pod", label: "Pod", query: `label_values(noether_pod_joules_total{namespace=~"$namespace", workload=~"$workload"}, pod)`},
			},
			[]row{
				{"Now, and in the time shown", []panel{
					stat("Power", watts, `sum(noether_pod_watts{namespace=~"$namespace", workload=~"$workload", pod=~"$pod"})`, "Of the chosen pods."),
					stat("Energy", kwh, `sum(increase(noether_workload_joules_total{namespace=~"$namespace", workload=~"$workload"}[$__range])) / 3.6e6`, "Of the chosen workloads, pods that ended included."),
					stat("Caused by work", ratio, `sum(noether_pod_watts{namespace=~"$namespace", workload=~"$workload", pod=~"$pod", part="dynamic"}) / sum(noether_pod_watts{namespace=~"$namespace", workload=~"$workload", pod=~"$pod"})`, "The rest is the share of idle that their requests claim."),
					stat("Share of the cluster", ratio, `sum(rate(noether_workload_joules_total{namespace=~"$namespace", workload=~"$workload"}[$__rate_interval])) / sum(rate(noether_node_joules_total[$__rate_interval]))`, ""),
					stat("Pods", number, `count(count by (pod_uid) (noether_pod_watts{namespace=~"$namespace", workload=~"$workload", pod=~"$pod"}))`, ""),
				}},
				{"Power", []panel{
					graph("By workload", watts, true, "", query{`topk(15, sum by (namespace, workload_kind, workload) (rate(noether_workload_joules_total{namespace=~"$namespace", workload=~"$workload"}[$__rate_interval])))`, "{{namespace}}/{{workload}} ({{workload_kind}})"}),
					graph("By pod", watts, true, "", query{`topk(15, sum by (namespace, pod) (rate(noether_pod_joules_total{namespace=~"$namespace", workload=~"$workload", pod=~"$pod"}[$__rate_interval])))`, "{{namespace}}/{{pod}}"}),
					graph("By container", watts, true, "", query{`topk(15, sum by (namespace, pod, container) (rate(noether_container_joules_total{namespace=~"$namespace", pod=~"$pod", pod_uid!=""}[$__rate_interval])))`, "{{namespace}}/{{pod}}/{{container}}"}),
					graph("By component and part", watts, true, "Dynamic is caused by work; idle is the share that requests claim.", query{`sum by (component, part) (rate(noether_pod_joules_total{namespace=~"$namespace", workload=~"$workload", pod=~"$pod"}[$__rate_interval]))`, "{{component}}, {{part}}"}),
				}},
				{"Energy in the time shown", []panel{
					table("Workloads", kwh, `topk(50, sum by (namespace, workload_kind, workload) (increase(noether_workload_joules_total{namespace=~"$namespace", workload=~"$workload"}[$__range])) / 3.6e6)`, ""),
					table("Pods", joules, `topk(50, sum by (namespace, pod, node) (increase(noether_pod_joules_total{namespace=~"$namespace", workload=~"$workload", pod=~"$pod"}[$__range])))`, "Of pods that are still listed."),
					wide(graph("Joules for a second of CPU time", joules, false, "Dynamic energy. The same work on a more efficient node shows here.", query{`sum by (namespace, workload) (rate(noether_pod_joules_total{namespace=~"$namespace", workload=~"$workload", pod=~"$pod", part="dynamic"}[$__rate_interval])) / sum by (namespace, workload) (rate(noether_pod_cpu_seconds_total{namespace=~"$namespace", workload=~"$workload", pod=~"$pod"}[$__rate_interval]) > 0)`, "{{namespace}}/{{workload}}"})),
				}},
			},
		},
		"node.json": {
			"noether-node", "Noether / Node", "One machine: its meters, who used it, and how sure that is.",
			[]variable{{name: "node", label: "Node", query: "label_values(noether_node_watts, node)", one: true}},
			[]row{
				{"Now", []panel{
					stat("Power", watts, `sum(noether_node_watts{node="$node"})`, "All components that a sensor covers."),
					stat("At least", watts, `sum(noether_node_error_watts{node="$node", bound="low"})`, "Lowest plausible value of what has an error band."),
					stat("At most", watts, `sum(noether_node_error_watts{node="$node", bound="high"})`, "Highest plausible value of what has an error band."),
					{title: "Quality", about: quality, kind: "table", unit: number, width: 6, height: 4, queries: q(`noether_component_quality{node="$node"} == 1`, "")},
					{title: "Machine", kind: "table", unit: number, width: 6, height: 4, queries: q(`noether_node_info{node="$node"}`, "")},
				}},
				{"Power", []panel{
					graph("By component and part", watts, true, "", query{`sum by (component, part, quality) (rate(noether_node_joules_total{node="$node"}[$__rate_interval]))`, "{{component}}, {{part}}, {{quality}}"}),
					graph("With error band", watts, false, "The band of components that are estimated.",
						query{`sum(rate(noether_node_joules_total{node="$node"}[$__rate_interval]))`, "value"},
						query{`sum by (bound) (rate(noether_node_error_joules_total{node="$node"}[$__rate_interval]))`, "{{bound}}"}),
					graph("Raw meters", watts, false, "Zones overlap: do not add them up.", query{`rate(noether_zone_joules_total{node="$node"}[$__rate_interval])`, "{{zone}} {{socket}} ({{sensor}})"}),
					graph("Who used it", watts, true, "Every joule has one owner.",
						query{`sum(rate(noether_pod_joules_total{node="$node"}[$__rate_interval]))`, "pods"},
						query{`sum(rate(noether_container_joules_total{node="$node", pod_uid=""}[$__rate_interval]))`, "containers outside of pods"},
						query{`sum(rate(noether_vm_joules_total{node="$node"}[$__rate_interval]))`, "virtual machines"},
						query{`sum(rate(noether_unit_joules_total{node="$node"}[$__rate_interval]))`, "units"},
						query{`sum(rate(noether_session_joules_total{node="$node"}[$__rate_interval]))`, "sessions"},
						query{`sum by (account) (rate(noether_system_joules_total{node="$node"}[$__rate_interval]))`, "system: {{account}}"}),
				}},
				{"Who", []panel{
					graph("Pods", watts, true, "", query{`topk(15, sum by (namespace, pod) (rate(noether_pod_joules_total{node="$node"}[$__rate_interval])))`, "{{namespace}}/{{pod}}"}),
					graph("Units of the node", watts, true, "Such as the kubelet and the container runtime.", query{`topk(10, sum by (unit) (rate(noether_unit_joules_total{node="$node"}[$__rate_interval])))`, "{{unit}}"}),
					graph("Virtual machines", watts, true, "", query{`topk(10, sum by (vm, hypervisor) (rate(noether_vm_joules_total{node="$node"}[$__rate_interval])))`, "{{vm}} ({{hypervisor}})"}),
					graph("Processes", watts, true, "Dynamic energy of those that are listed by themselves.", query{`topk(10, sum by (comm, pid) (noether_process_watts{node="$node"}))`, "{{comm}} {{pid}}"}),
				}},
				{"Sensors", []panel{
					{title: "What is known about each", about: "works, absent, forbidden, masked, broken, stale, cannot tell. noether check on the node says what mends it.", kind: "table", unit: number, width: 24, height: 8, queries: q(`noether_sensor_status{node="$node"}`, "")},
				}},
			},
		},
		"agent.json": {
			"noether-agent", "Noether / Agents", "Whether the agents are there, keep time, and know the pods.",
			[]variable{
				{name: "job", label: "Job", query: "label_values(noether_build_info, job)"},
				nodes(),
			},
			[]row{
				{"Now", []panel{
					stat("Agents that answer", number, `sum(up{job=~"$job", node=~"$node"})`, ""),
					stat("That do not", number, `count(up{job=~"$job", node=~"$node"} == 0) or vector(0)`, ""),
					stat("Imbalance", joules, `max(abs(noether_imbalance_joules{node=~"$node"}))`, "Energy of the machine less that of its accounts: 0, or a bug."),
					stat("Pods without a name", number, `sum(noether_unnamed_pods{node=~"$node"})`, ""),
					stat("Sources of names down", number, `count(noether_names_up{node=~"$node"} == 0) or vector(0)`, ""),
					stat("CPU of one agent", ratio, `avg(rate(noether_tick_cpu_seconds_total{node=~"$node"}[$__rate_interval]))`, "Of one core, by its ticks."),
				}},
				{"Measuring", []panel{
					graph("Time of a tick", seconds, false, "", query{`noether_tick_duration_seconds{node=~"$node"}`, "{{node}}"}),
					graph("Ticks missed", ratio, false, "Nothing is lost, but the intervals are longer.", query{`rate(noether_ticks_missed_total{node=~"$node"}[$__rate_interval]) / (rate(noether_ticks_total{node=~"$node"}[$__rate_interval]) + rate(noether_ticks_missed_total{node=~"$node"}[$__rate_interval]))`, "{{node}}"}),
					graph("Ends of processes not delivered", perSec, false, "Their time is their cgroup's, or unattributed.", query{`rate(noether_exits_dropped_total{node=~"$node"}[$__rate_interval])`, "{{node}}"}),
					graph("Time of a scrape", seconds, false, "", query{`scrape_duration_seconds{job=~"$job", node=~"$node"}`, "{{node}}"}),
					graph("Series", number, false, "", query{`scrape_samples_scraped{job=~"$job", node=~"$node"}`, "{{node}}"}),
					graph("CPU", ratio, false, "Of one core, by its ticks.", query{`rate(noether_tick_cpu_seconds_total{node=~"$node"}[$__rate_interval])`, "{{node}}"}),
				}},
				{"Names", []panel{
					graph("Requests", perSec, false, "To the API server, the kubelet or a container engine.", query{`rate(noether_names_requests_total{node=~"$node"}[$__rate_interval])`, "{{node}} {{source}}"}),
					graph("Received", bytesSec, false, "", query{`rate(noether_names_received_bytes_total{node=~"$node"}[$__rate_interval])`, "{{node}} {{source}}"}),
					graph("Known", number, false, "", query{`noether_names_known{node=~"$node"}`, "{{node}} {{source}}"}),
					graph("Age of what is known", seconds, false, "Since the source last answered.", query{`time() - noether_names_last_sync_timestamp_seconds{node=~"$node"}`, "{{node}} {{source}}"}),
				}},
				{"What runs", []panel{
					{title: "Versions", kind: "table", unit: number, width: 12, height: 8, queries: q(`count by (version, revision, goarch) (noether_build_info{node=~"$node"})`, "")},
					{title: "Since", kind: "table", unit: when, width: 12, height: 8, queries: q(`noether_start_time_seconds{node=~"$node"} * 1000`, "")},
					{title: "Sensors that do not work", kind: "table", unit: number, width: 24, height: 8, queries: q(`noether_sensor_status{node=~"$node", status!~"works|absent"}`, "")},
				}},
			},
		},
		"impact.json": {
			"noether-impact", "Noether / Scores (SCI)", "Software carbon intensity as noether impact run publishes it: gauges of one window each.",
			[]variable{{name: "manifest", label: "Manifest", query: "label_values(noether_impact_info, manifest)"}},
			[]row{
				{"Last window, and the time shown", []panel{
					{title: "Score", about: "gCO2e per functional unit.", kind: "stat", unit: "massg", width: 6, height: 4, queries: q(`last_over_time(noether_impact_sci_grams{manifest=~"$manifest", path="/"}[3h])`, "{{manifest}} per {{functional_unit}}")},
					{title: "Score of the time shown", about: "Sums divided: the mean of scores would weigh a quiet hour like a busy one.", kind: "stat", unit: "massg", width: 6, height: 4, queries: q(`sum by (manifest) (sum_over_time(noether_impact_carbon_grams{manifest=~"$manifest", path="/"}[$__range])) / sum by (manifest) (sum_over_time(noether_impact_functional_units{manifest=~"$manifest", path="/"}[$__range]))`, "{{manifest}}")},
					{title: "Carbon", kind: "stat", unit: "massg", width: 6, height: 4, queries: q(`sum by (phase) (sum_over_time(noether_impact_carbon_grams{manifest=~"$manifest", path="/"}[$__range]))`, "{{phase}}")},
					{title: "Last success", kind: "stat", unit: when, width: 6, height: 4, queries: q(`max by (manifest) (last_over_time(noether_impact_last_success_timestamp_seconds{manifest=~"$manifest"}[2d])) * 1000`, "{{manifest}}")},
				}},
				{"Windows", []panel{
					graph("Score", "massg", false, "", query{`noether_impact_sci_grams{manifest=~"$manifest", path="/"}`, "{{manifest}} per {{functional_unit}}"}),
					graph("Carbon by phase", "massg", true, "", query{`sum by (manifest, phase) (noether_impact_carbon_grams{manifest=~"$manifest", path="/"})`, "{{manifest}}, {{phase}}"}),
					graph("Energy", joules, true, "", query{`noether_impact_energy_joules{manifest=~"$manifest", path="/"}`, "{{manifest}}"}),
					graph("Functional units", number, false, "", query{`noether_impact_functional_units{manifest=~"$manifest", path="/"}`, "{{manifest}}, {{functional_unit}}"}),
				}},
			},
		},
	}
}

func TestDashboardsAreWhatIsWrittenHere(t *testing.T) {
	all := dashboards()
	for name, d := range all {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		if err := enc.Encode(d.model()); err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil { //nolint:gosec // a file of the repository, for all to read
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(out.String(), string(got)); diff != "" {
			t.Errorf("%s is not what is written here (go test ./deploy/grafana -update writes it; -want +got):\n%s", name, diff)
		}
	}
	files, err := filepath.Glob("*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if _, ok := all[file]; !ok {
			t.Errorf("%s is not made by this test", file)
		}
	}
}

func source() object { return object{"type": "prometheus", "uid": "${datasource}"} }

// model is the dashboard as Grafana stores it.
func (d dashboard) model() object {
	variables := []object{{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}}
	for _, v := range d.variables {
		m := object{
			"name": v.name, "label": v.label, "type": "query", "datasource": source(), "definition": v.query,
			"query": object{"query": v.query, "refId": v.name, "qryType": 1}, "refresh": 2, "sort": 1, "hide": 0,
		}
		if !v.one {
			// A series without the label is among "all" too.
			m["multi"], m["includeAll"], m["allValue"] = true, true, ".*"
			m["current"] = object{"text": []string{"All"}, "value": []string{"$__all"}}
		}
		variables = append(variables, m)
	}
	var panels []object
	id, y := 0, 0
	for _, r := range d.rows {
		id++
		panels = append(panels, object{"id": id, "type": "row", "title": r.title, "collapsed": false, "panels": []object{}, "gridPos": object{"x": 0, "y": y, "w": 24, "h": 1}})
		y++
		x, high := 0, 0
		for _, p := range r.panels {
			if x+p.width > 24 {
				x, y, high = 0, y+high, 0
			}
			id++
			m := p.model()
			m["id"], m["gridPos"] = id, object{"x": x, "y": y, "w": p.width, "h": p.height}
			panels = append(panels, m)
			x += p.width
			high = max(high, p.height)
		}
		y += high
	}
	return object{
		"uid": d.uid, "title": d.title, "description": d.about, "tags": []string{"noether", "energy"},
		"schemaVersion": schemaVersion, "version": 1, "editable": true, "graphTooltip": 1, "refresh": "30s",
		"timezone": "browser", "time": object{"from": "now-6h", "to": "now"},
		"templating": object{"list": variables}, "annotations": object{"list": []object{}}, "panels": panels,
		"links": []object{{"type": "dashboards", "tags": []string{"noether"}, "title": "Noether", "asDropdown": true, "includeVars": true, "keepTime": true}},
	}
}

func (p panel) model() object {
	var targets []object
	for i, query := range p.queries {
		t := object{"refId": string(rune('A' + i)), "datasource": source(), "expr": query.expr, "legendFormat": query.legend}
		switch p.kind {
		case "table":
			t["instant"], t["format"] = true, "table"
		case "stat":
			t["instant"] = true
		default:
			t["range"] = true
		}
		targets = append(targets, t)
	}
	defaults := object{"unit": p.unit}
	m := object{"type": p.kind, "title": p.title, "description": p.about, "datasource": source(), "targets": targets}
	switch p.kind {
	case "timeseries":
		custom := object{"lineWidth": 1, "fillOpacity": 0, "showPoints": "auto", "spanNulls": false}
		if p.stack {
			custom["fillOpacity"], custom["stacking"] = 30, object{"mode": "normal", "group": "A"}
		}
		defaults["custom"], defaults["min"] = custom, 0
		m["options"] = object{"legend": object{"displayMode": "table", "placement": "right", "calcs": []string{"mean", "max"}}, "tooltip": object{"mode": "multi", "sort": "desc"}}
	case "table":
		// Prometheus adds columns that say nothing here.
		m["transformations"] = []object{{"id": "organize", "options": object{"excludeByName": object{"Time": true, "__name__": true, "job": true, "instance": true}}}}
		m["options"] = object{"showHeader": true, "sortBy": []object{{"displayName": "Value", "desc": true}}}
	case "stat":
		m["options"] = object{"reduceOptions": object{"calcs": []string{"lastNotNull"}}, "colorMode": "value", "graphMode": "none"}
	}
	m["fieldConfig"] = object{"defaults": defaults, "overrides": []object{}}
	return m
}
