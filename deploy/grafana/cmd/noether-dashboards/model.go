package main

import "strings"

// schemaVersion is that of Grafana 11.0; newer ones migrate it when they load it.
const schemaVersion = 39

type object = map[string]any

// Units of Grafana (packages/grafana-data/src/valueFormats/categories.ts). All
// but the plain ones get the prefix that suits: 0.02 kWh is shown as 20 Wh.
const (
	watts      = "watt"
	joules     = "joule"
	kwh        = "kwatth"
	grams      = "massg"
	gramsHour  = "suffix: g/h"
	gramsKWh   = "suffix: g/kWh"
	ratio      = "percentunit"
	seconds    = "s"
	hours      = "h"
	kilometres = "lengthkm"
	bytesSec   = "Bps"
	perSec     = "reqps"
	number     = "short"
	plain      = "none"
	when       = "dateTimeFromNow"
)

// dashboard is what differs from one to the next.
type dashboard struct {
	uid, title, about string
	from              string // how far back it shows at first
	variables         []object
	annotations       []object
	rows              []row
}

type row struct {
	title  string
	panels []panel
}

// panel is one panel. Widths are columns of 24.
type panel struct {
	title, about, kind, unit string
	width, height            int
	queries                  []query
	stack                    bool
	bars                     bool   // one bar an hour
	decimals                 int    // 0 leaves it to Grafana
	text                     string // of kind text
}

// query is a question to Prometheus. The legend of a table's is the head of
// its column, with a unit of its own.
type query struct{ expr, legend, unit string }

func q(expr, legend string) query { return query{expr: expr, legend: legend} }

func stat(title, unit, about string, queries ...query) panel {
	return panel{title: title, about: about, kind: "stat", unit: unit, width: 4, height: 4, queries: queries}
}

func graph(title, unit, about string, queries ...query) panel {
	return panel{title: title, about: about, kind: "timeseries", unit: unit, width: 12, height: 8, queries: queries}
}

func table(title, about string, queries ...query) panel {
	return panel{title: title, about: about, kind: "table", unit: number, width: 12, height: 9, queries: queries}
}

func (p panel) wide(columns int) panel    { p.width = columns; return p }
func (p panel) high(rows int) panel       { p.height = rows; return p }
func (p panel) stacked() panel            { p.stack = true; return p }
func (p panel) hourly() panel             { p.stack, p.bars = true, true; return p }
func (p panel) digits(decimals int) panel { p.decimals = decimals; return p }

func source() object { return object{"type": "prometheus", "uid": "${datasource}"} }

// values is a variable with the values of a label; any number of them may be chosen.
func values(name, label, query string) object {
	v := one(name, label, query)
	// A series without the label is among "all" too.
	v["multi"], v["includeAll"], v["allValue"] = true, true, ".*"
	v["current"] = object{"text": []string{"All"}, "value": []string{"$__all"}}
	return v
}

// only makes "all" of a variable the values that it offers: for labels that
// others' series have too.
func only(v object) object {
	delete(v, "allValue")
	return v
}

// one is a variable with the values of a label, of which one is chosen.
func one(name, label, query string) object {
	return object{
		"name": name, "label": label, "type": "query", "datasource": source(), "definition": query,
		"query": object{"query": query, "refId": name, "qryType": 1}, "refresh": 2, "sort": 1, "hide": 0,
	}
}

// choice is a variable with values of our own, the given one at first.
func choice(name, label, first string, list ...string) object {
	var options []object
	for _, s := range list {
		options = append(options, object{"text": s, "value": s, "selected": s == first})
	}
	return object{
		"name": name, "label": label, "type": "custom", "query": strings.Join(list, ","), "options": options,
		"current": object{"text": first, "value": first, "selected": true}, "hide": 0,
	}
}

// event marks the times in which a query has a value.
func event(name, colour, expr, title, text string) object {
	return object{
		"name": name, "enable": true, "hide": false, "iconColor": colour, "datasource": source(),
		"expr": expr, "step": "60s", "titleFormat": title, "textFormat": text, "tagKeys": "", "useValueForTime": false,
	}
}

// tagged marks what others have written into Grafana's own annotations.
func tagged(name, colour string, tags ...string) object {
	return object{
		"name": name, "enable": true, "hide": false, "iconColor": colour,
		"datasource": object{"type": "grafana", "uid": "-- Grafana --"},
		"target":     object{"type": "tags", "tags": tags, "matchAny": false, "limit": 100},
	}
}

// model is the dashboard as Grafana stores it.
func (d dashboard) model() object {
	variables := []object{{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}}
	variables = append(variables, d.variables...)
	annotations := []object{{
		"name": "Annotations & Alerts", "type": "dashboard", "builtIn": 1, "enable": true, "hide": true, "iconColor": "rgba(0, 211, 255, 1)",
		"datasource": object{"type": "grafana", "uid": "-- Grafana --"},
	}}
	annotations = append(annotations, d.annotations...)
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
		"uid": d.uid, "title": d.title, "description": d.about, "tags": []string{"noether", "energy", "carbon"},
		"schemaVersion": schemaVersion, "version": 1, "editable": true, "graphTooltip": 1, "refresh": "1m",
		"timezone": "browser", "time": object{"from": "now-" + d.from, "to": "now"},
		"templating": object{"list": variables}, "annotations": object{"list": annotations}, "panels": panels,
		"links": []object{{
			"type": "dashboards", "tags": []string{"noether"}, "title": "Noether", "asDropdown": true, "includeVars": true, "keepTime": true,
			"icon": "external link", "targetBlank": false, "tooltip": "", "url": "",
		}},
	}
}

func (p panel) model() object {
	if p.kind == "text" {
		return object{
			"type": p.kind, "title": p.title, "description": p.about,
			"options": object{"mode": "markdown", "content": p.text},
		}
	}
	var targets []object
	for i, query := range p.queries {
		t := object{"refId": string(rune('A' + i)), "datasource": source(), "expr": query.expr}
		switch p.kind {
		case "table":
			t["instant"], t["range"], t["format"] = true, false, "table"
		case "timeseries":
			t["range"], t["legendFormat"] = true, query.legend
		default:
			t["instant"], t["range"], t["legendFormat"] = true, false, query.legend
		}
		targets = append(targets, t)
	}
	defaults := object{"unit": p.unit}
	if p.decimals > 0 {
		defaults["decimals"] = p.decimals
	}
	overrides := []object{}
	m := object{"type": p.kind, "title": p.title, "description": p.about, "datasource": source(), "targets": targets}
	switch p.kind {
	case "timeseries":
		custom := object{"lineWidth": 1, "fillOpacity": 0, "showPoints": "auto", "spanNulls": false}
		if p.stack {
			custom["fillOpacity"], custom["stacking"] = 30, object{"mode": "normal", "group": "A"}
		}
		if p.bars {
			custom["drawStyle"], custom["fillOpacity"] = "bars", 80
			m["interval"] = "1h" // not several bars for one hour
		}
		defaults["custom"] = custom
		m["options"] = object{
			"legend":  object{"displayMode": "table", "placement": "right", "showLegend": true, "calcs": []string{"mean", "max"}},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		}
	case "table":
		overrides = p.tabulate(m)
	case "stat":
		m["options"] = object{
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "values": false}, "colorMode": "value", "graphMode": "none",
			"justifyMode": "auto", "orientation": "auto", "textMode": "auto", "wideLayout": true, "showPercentChange": false,
		}
	}
	m["fieldConfig"] = object{"defaults": defaults, "overrides": overrides}
	return m
}

// tabulate makes one row of what the queries say of the same labels, and
// returns the columns' units. Prometheus adds columns that say nothing here.
func (p panel) tabulate(m object) []object {
	overrides, names := []object{}, object{}
	sortBy := "Value"
	for i, query := range p.queries {
		column := "Value"
		if len(p.queries) > 1 {
			column += " #" + string(rune('A'+i))
		}
		if query.legend == "" {
			continue
		}
		names[column] = query.legend
		overrides = append(overrides, object{
			"matcher":    object{"id": "byName", "options": query.legend},
			"properties": []object{{"id": "unit", "value": query.unit}},
		})
		if i == 0 {
			sortBy = query.legend
		}
	}
	transformations := []object{}
	if len(p.queries) > 1 {
		transformations = append(transformations, object{"id": "merge", "options": object{}})
	}
	m["transformations"] = append(transformations, object{"id": "organize", "options": object{
		"excludeByName": object{"Time": true, "__name__": true, "job": true, "instance": true}, "renameByName": names,
	}})
	m["options"] = object{"showHeader": true, "cellHeight": "sm", "sortBy": []object{{"displayName": sortBy, "desc": true}}}
	return overrides
}
