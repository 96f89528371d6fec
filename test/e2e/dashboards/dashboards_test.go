// Package dashboards asks a real Prometheus everything that the Grafana
// dashboards ask. Two agents, the real code on a script with a clock of its
// own, live through eight days; what a scrape sees of them a minute is loaded
// with its time, the recording rules are evaluated, and each query of a panel,
// variable or annotation has to give data, and the important ones the numbers
// that the script gives by hand. It does not render: Grafana is not asked.
package dashboards

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"noether/test/e2e/cluster"
	"noether/test/script"
)

const (
	dashboardsDir = "../../../deploy/grafana"
	rulesFile     = "../../../deploy/prometheus/noether.rules.yml"
)

// viewed is when people look: a scrape and an evaluation have just been.
func viewed() time.Time { return end().Add(10 * time.Second) }

func TestDashboards(t *testing.T) {
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not on PATH (Debian: apt-get install prometheus)", program)
			}
			t.Skipf("%s is not on PATH (Debian: apt-get install prometheus)", program)
		}
	}
	data := filepath.Join(t.TempDir(), "data")
	began := time.Now()
	took := func(what string) {
		t.Logf("%s: %v", what, time.Since(began).Round(100*time.Millisecond))
		began = time.Now()
	}
	h := newHistory(t)
	for _, host := range []*script.Host{hostA(), hostB()} {
		live(t, host, h.at)
	}
	h.others()
	h.scores()
	took("two agents live through eight days")
	h.load(data)
	took("loaded")
	evaluate(t, data)
	took("rules evaluated")

	t.Run("Prometheus 2", func(t *testing.T) {
		s := start(t, "", data)
		defer s.Stop()
		queries(t, s)
		numbers(t, s, 1e-6)
	})
	t.Run("Prometheus 3", func(t *testing.T) {
		tools, err := cluster.FindTools(t.Context(), "prometheus")
		if err != nil {
			t.Skipf("needs Prometheus 3, which make prometheus3 builds in some minutes: %v", err)
		}
		s := start(t, tools.Program("prometheus"), data)
		defer s.Stop()
		queries(t, s)
		// Its windows leave out the sample at their start, and extrapolate.
		numbers(t, s, 2e-3)
	})
	took("asked")
}

// evaluate runs the recording rules over the eight days.
func evaluate(t *testing.T, data string) {
	t.Helper()
	s := start(t, "", data)
	defer s.Stop()
	promtool(t, "tsdb", "create-blocks-from", "rules", "--start", stamp(begin()), "--end", stamp(end()),
		"--url", s.URL, "--output-dir", data, "--eval-interval", "5m", "--max-block-duration="+blockLength.String(), rulesFile)
}

type dashboard struct {
	Templating struct {
		List []variable
	}
	Annotations struct {
		List []struct{ Name, Expr string }
	}
	Panels []struct {
		Title, Interval string
		Targets         []struct {
			Expr    string
			Instant bool
		}
	}
}

type variable struct {
	Name, Type, Definition, Query, AllValue string
	Multi                                   bool
}

func (v *variable) UnmarshalJSON(b []byte) error {
	var raw struct {
		Name, Type, Definition, AllValue string
		Query                            any
		Multi                            bool
	}
	err := json.Unmarshal(b, &raw)
	query, _ := raw.Query.(string)
	*v = variable{raw.Name, raw.Type, raw.Definition, query, raw.AllValue, raw.Multi}
	return err
}

var labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)

// choices gives each variable a value, as Grafana would: everything, or two of
// what the variable's query offers.
func (d *dashboard) choices(t *testing.T, s *server, all bool) *strings.Replacer {
	t.Helper()
	replace := []string{"$__rate_interval", "5m", "$__range", "86400s"}
	for _, v := range d.Templating.List {
		var value string
		switch v.Type {
		case "datasource":
			continue
		case "custom":
			list := strings.Split(v.Query, ",")
			if value = list[len(list)-1]; all {
				value = list[0]
			}
		default:
			m := labelValues.FindStringSubmatch(strings.NewReplacer(replace...).Replace(v.Definition))
			if m == nil {
				t.Fatalf("variable %s: %s", v.Name, v.Definition)
			}
			options, err := s.labelValues(m[2], m[1], viewed().Add(-24*time.Hour), viewed())
			if err != nil || len(options) == 0 {
				t.Fatalf("variable %s, %s: %v, %q", v.Name, m[0], err, options)
			}
			switch {
			case !v.Multi:
				value = options[0]
			case all && v.AllValue != "":
				value = v.AllValue
			default:
				if !all {
					// Of namespaces and workloads, those with the most kinds of data.
					slices.SortStableFunc(options, func(a, b string) int { return preferred(a) - preferred(b) })
					options = options[:min(2, len(options))]
				}
				for i := range options {
					options[i] = strings.ReplaceAll(regexp.QuoteMeta(options[i]), `\`, `\\`)
				}
				value = "(" + strings.Join(options, "|") + ")"
			}
		}
		replace = append(replace, "$"+v.Name, value)
	}
	return strings.NewReplacer(replace...)
}

func preferred(option string) int {
	if i := slices.Index([]string{"shop", "cart"}, option); i >= 0 {
		return i
	}
	return 9
}

// queries asks everything that all dashboards ask.
func queries(t *testing.T, s *server) {
	files, err := filepath.Glob(filepath.Join(dashboardsDir, "*.json"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d dashboards: %v", len(files), err)
	}
	asked := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		for _, all := range []bool{true, false} {
			r := d.choices(t, s, all)
			day := viewed().Add(-24 * time.Hour).Truncate(time.Hour)
			for _, p := range d.Panels {
				for _, target := range p.Targets {
					expr := r.Replace(target.Expr)
					asked++
					var list []series
					if target.Instant {
						list, err = s.instant(expr, viewed())
					} else {
						step := 5 * time.Minute
						if p.Interval == "1h" {
							step = time.Hour
						}
						list, err = s.span(expr, day, viewed(), step)
					}
					check(t, filepath.Base(file)+" "+p.Title, expr, list, err)
				}
			}
			for _, a := range d.Annotations.List {
				if a.Expr != "" {
					asked++
					expr := r.Replace(a.Expr)
					list, err := s.span(expr, day, viewed(), time.Minute)
					check(t, filepath.Base(file)+" annotation "+a.Name, expr, list, err)
				}
			}
		}
	}
	t.Logf("%d queries of %d dashboards", asked, len(files))
}

// check wants data: at least one number in each line.
func check(t *testing.T, where, expr string, list []series, err error) {
	t.Helper()
	if err != nil || len(list) == 0 {
		t.Errorf("%s: %d series, %v: %s", where, len(list), err, expr)
	}
	for _, line := range list {
		values := append(line.Values, line.Value)
		if !slices.ContainsFunc(values, func(p pair) bool { return p.at != 0 && !math.IsNaN(p.value) && !math.IsInf(p.value, 0) }) {
			t.Errorf("%s: no number for %v: %s", where, line.Metric, expr)
		}
	}
}
