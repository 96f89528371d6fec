// Package deploy holds the test that every query of the dashboards and rules
// asks for metrics and labels that exist, and that the rules say what they are
// meant to. It refuses to judge looks: Grafana is not asked.
package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"noether/internal/export"
)

// asked is one query, and where it stands.
type asked struct{ where, expr string }

type rules struct {
	Groups []struct {
		Rules []struct {
			Record, Alert, Expr string
			Annotations         map[string]string
		}
	}
}

func readRules(t *testing.T, file string) (list []asked, recorded []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r rules
	if err := yaml.Unmarshal(text, &r); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, g := range r.Groups {
		for _, rule := range g.Rules {
			list = append(list, asked{file + " " + rule.Record + rule.Alert, rule.Expr})
			if rule.Record != "" {
				recorded = append(recorded, rule.Record)
			}
			if rule.Alert != "" && rule.Annotations["summary"] == "" {
				t.Errorf("%s: alert %s has no summary", file, rule.Alert)
			}
		}
	}
	return list, recorded
}

// readDashboard lists the queries of panels and variables, with variables of
// Grafana replaced by what they could stand for.
func readDashboard(t *testing.T, file string) (panels, variables []asked) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Templating struct {
			List []struct {
				Name, Type, Definition string
				Current                struct{ Value any }
			}
		}
		Annotations struct {
			List []struct{ Name, Expr string }
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	replace := []string{"$__rate_interval", "5m", "$__range", "1h"}
	for _, v := range d.Templating.List {
		value := "x"
		if v.Type == "custom" {
			value = v.Current.Value.(string)
		}
		replace = append(replace, "$"+v.Name, value)
		if v.Type == "query" {
			variables = append(variables, asked{file + " variable " + v.Name, v.Definition})
		}
	}
	r := strings.NewReplacer(replace...)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			expr := r.Replace(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%s, %s: a variable that the dashboard lacks: %s", file, p.Title, expr)
			}
			panels = append(panels, asked{file + " " + p.Title, expr})
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			panels = append(panels, asked{file + " annotation " + a.Name, r.Replace(a.Expr)})
		}
	}
	if len(panels) == 0 {
		t.Errorf("%s has no query", file)
	}
	for i := range variables {
		variables[i].expr = r.Replace(variables[i].expr)
	}
	return panels, variables
}

var question = regexp.MustCompile(`(?s)\$ q '(.*?)'`)

// readPage lists the queries of docs/kubernetes.md, and what they may ask for
// besides the others: labels of that page's values and mistakes, and
// https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/pod-metrics.md.
func readPage(t *testing.T) (list []asked, known map[string][]string) {
	t.Helper()
	const file = "../docs/kubernetes.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range question.FindAllStringSubmatch(string(text), -1) {
		list = append(list, asked{file, m[1]})
	}
	if len(list) < 10 {
		t.Errorf("%s has %d queries", file, len(list))
	}
	known = metrics()
	known["kube_pod_labels"] = []string{"namespace", "pod", "label_team"}
	for _, name := range []string{"noether_pod_joules_total", "noether_system_watts", "noether_impact_sci_grams"} {
		known[name] = append(known[name], "label_team", "exported_namespace", "service", "pod", "container")
	}
	return list, known
}

// readBlocks lists the queries that manuals show without an answer: one after
// the other, with an empty line between them and comments on lines of their own.
func readBlocks(t *testing.T, files ...string) (list []asked) {
	t.Helper()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		before := len(list)
		for _, m := range block.FindAllStringSubmatch(string(text), -1) {
			bare := comment.ReplaceAllString(m[1], "")
			for expr := range strings.SplitSeq(bare, "\n\n") {
				if expr = strings.TrimSpace(expr); expr != "" {
					list = append(list, asked{file, expr})
				}
			}
		}
		if len(list) == before {
			t.Errorf("%s has no block of queries", file)
		}
	}
	return list
}

var (
	block   = regexp.MustCompile("(?s)```promql\n(.*?)```")
	comment = regexp.MustCompile(`(?m)^#.*\n`)
)

// metrics are names and labels of what may be asked for.
func metrics() map[string][]string {
	all := map[string][]string{
		// Of Prometheus itself, https://prometheus.io/docs/concepts/jobs_instances/.
		"up": nil, "scrape_duration_seconds": nil, "scrape_samples_scraped": nil,
		// https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/daemonset-metrics.md
		"kube_daemonset_status_number_unavailable": {"namespace", "daemonset"},
		// https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/pod-metrics.md
		"kube_pod_container_info": {"namespace", "pod", "uid", "container", "image"},
		// docs/impact-plugins.md, PrometheusPublisher.
		"noether_impact_info":                           {"manifest", "boundary", "methodology"},
		"noether_impact_last_success_timestamp_seconds": {"manifest"},
	}
	for _, name := range []string{"sci_grams", "energy_joules", "functional_units"} {
		all["noether_impact_"+name] = []string{"manifest", "path", "functional_unit"}
	}
	all["noether_impact_carbon_grams"] = []string{"manifest", "path", "functional_unit", "phase"}
	for _, f := range export.NewTable(export.About{}).Families() {
		all[f.Name] = append([]string{"node"}, f.Labels...)
	}
	// Of the target, and of whoever collects several clusters in one place.
	for name := range all {
		all[name] = append([]string{"cluster", "job", "instance", "node"}, all[name]...)
	}
	return all
}

var (
	textOf     = regexp.MustCompile(`"[^"]*"`)
	metricName = regexp.MustCompile(`\b(?:noether_|kube_|scrape_|up\b)[a-z0-9_]*`)
	recordName = regexp.MustCompile(`\b[a-z_]+:noether_[a-z0-9_]+:[a-z0-9_]+`)
	selector   = regexp.MustCompile(`\b([a-z_][a-z0-9_]*)\{([^}]*)\}`)
	labelName  = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)`)
	grouping   = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	labelValue = regexp.MustCompile(`label_values\((.*), (\w+)\)$`)
)

// wrong says what a query asks for that does not exist.
func wrong(expr string, known map[string][]string, recorded []string) []string {
	var bad []string
	bare := textOf.ReplaceAllString(expr, `""`)
	for _, name := range recordName.FindAllString(bare, -1) {
		if !slices.Contains(recorded, name) {
			bad = append(bad, "no rule records "+name)
		}
	}
	free := recordName.ReplaceAllString(bare, "")
	outside := grouping.ReplaceAllString(regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(free, ""), "")
	union := []string{}
	for _, name := range metricName.FindAllString(outside, -1) {
		labels, ok := known[name]
		if !ok {
			bad = append(bad, "there is no metric "+name)
		}
		union = append(union, labels...)
	}
	if len(union) == 0 {
		return bad // only of recorded ones, which have their rule's labels, or of a pattern of names
	}
	for _, m := range selector.FindAllStringSubmatch(free, -1) {
		for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
			if labels, ok := known[m[1]]; ok && !slices.Contains(labels, l[1]) {
				bad = append(bad, m[1]+" has no label "+l[1])
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(free, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			if l = strings.TrimSpace(l); l != "" && !slices.Contains(union, l) {
				bad = append(bad, "none of its metrics has the label "+l)
			}
		}
	}
	return bad
}

func TestQueriesAskForWhatExists(t *testing.T) {
	known := metrics()
	list, recorded := readRules(t, "prometheus/noether.rules.yml")
	impact, _ := readRules(t, "../examples/kubernetes/alerts.yaml")
	list = append(list, impact...)
	files, err := filepath.Glob("grafana/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d dashboards: %v", len(files), err)
	}
	for _, file := range files {
		panels, variables := readDashboard(t, file)
		list = append(list, panels...)
		for _, v := range variables {
			m := labelValue.FindStringSubmatch(v.expr)
			if m == nil {
				t.Errorf("%s: %s is not label_values(SELECTOR, LABEL)", v.where, v.expr)
				continue
			}
			list = append(list, asked{v.where, "count by (" + m[2] + ") (" + m[1] + ")"})
		}
	}
	for _, a := range list {
		for _, bad := range wrong(a.expr, known, recorded) {
			t.Errorf("%s: %s: %s", a.where, bad, a.expr)
		}
	}
	page, pageKnown := readPage(t)
	for _, a := range page {
		for _, bad := range wrong(a.expr, pageKnown, recorded) {
			t.Errorf("%s: %s: %s", a.where, bad, a.expr)
		}
	}
	list = append(list, page...)
	pageKnown["kube_pod_info"] = []string{"namespace", "pod", "uid", "node", "created_by_kind", "created_by_name"}
	manuals := readBlocks(t, "../README.md", "../docs/co2e.md", "../docs/metrics.md")
	for _, a := range manuals {
		for _, bad := range wrong(a.expr, pageKnown, recorded) {
			t.Errorf("%s: %s: %s", a.where, bad, a.expr)
		}
	}
	list = append(list, manuals...)
	// Prometheus itself reads every query as the expression of a rule.
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	type group struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	}
	g := group{Name: "queries"}
	seen := map[string]bool{}
	for _, a := range list {
		if !seen[a.expr] {
			seen[a.expr] = true
			g.Rules = append(g.Rules, rule{"query:x", a.expr})
		}
	}
	text, err := yaml.Marshal(map[string]any{"groups": []group{g}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, ".", "check", "rules", file)
}

// The test of queries can fail.
func TestWrongQueriesAreFound(t *testing.T) {
	known := metrics()
	for expr, want := range map[string]string{
		`sum(noether_node_wats)`:                             "noether_node_wats",
		`noether_node_watts{zone="x"}`:                       "label zone",
		`sum by (pod) (noether_node_watts)`:                  "label pod",
		`sum(node:noether_joule:rate5m)`:                     "node:noether_joule:rate5m",
		`up == 1 unless on (pod_uid) noether_node_watts`:     "label pod_uid",
		`sum(rate(noether_namespace_joules[5m]))`:            "noether_namespace_joules",
		`noether_sensor_status{status="ok", sensors="nvml"}`: "label sensors",
	} {
		if got := strings.Join(wrong(expr, known, []string{"node:noether_joules:rate5m"}), "; "); !strings.Contains(got, want) {
			t.Errorf("wrong(%q) = %q, want something with %q", expr, got, want)
		}
	}
}

func TestRules(t *testing.T) {
	promtool(t, "prometheus", "check", "rules", "noether.rules.yml")
	promtool(t, "prometheus", "test", "rules", "noether.rules.test.yml")
}

// A scrape config that Prometheus would refuse is no help.
func TestScrapeConfig(t *testing.T) {
	text, err := os.ReadFile("prometheus/scrape.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Jobs []struct {
			HonorLabels bool `yaml:"honor_labels"`
			Relabel     []struct {
				Target string `yaml:"target_label"`
			} `yaml:"relabel_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	for _, job := range c.Jobs {
		if !job.HonorLabels {
			t.Error("a job without honor_labels")
		}
		for _, r := range job.Relabel {
			if slices.Contains([]string{"pod", "container", "namespace"}, r.Target) {
				t.Errorf("the target has the label %s, which series without it would inherit", r.Target)
			}
		}
	}
}

func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is not on PATH (Debian: apt-get install prometheus)")
		}
		t.Skip("promtool is not on PATH (Debian: apt-get install prometheus)")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
