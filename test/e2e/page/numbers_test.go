package page

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// startFleet serves the page over a Prometheus that has the fleet's history.
func startFleet(t *testing.T) (*fleet, *server) {
	t.Helper()
	f := theFleet(t)
	return f, startUI(t, startPrometheus(t, "", f.data).URL, "--step", "5m")
}

var shownFigure = regexp.MustCompile(`^(~?)([-+]?)(€?)([0-9][0-9,]*(?:\.[0-9]+)?)\s*([GMkmµn]?)(\D*)$`)

// shown reads a figure as it is on the page, in the base unit (Wh, W, g, 1 of a
// share), and how far from it the truth may be: half of its last digit.
func shown(t *testing.T, text string) (value, within float64, estimated bool) {
	t.Helper()
	m := shownFigure.FindStringSubmatch(strings.TrimSpace(strings.TrimPrefix(text, "about"))) // for those who listen
	if m == nil {
		t.Fatalf("%q is no figure", text)
	}
	digits := strings.ReplaceAll(m[4], ",", "")
	value, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		t.Fatal(err)
	}
	last := 1.0
	if _, after, ok := strings.Cut(digits, "."); ok {
		last = math.Pow10(-len(after))
	} else if n := len(digits); n > 3 {
		last = math.Pow10(n - 3) // three digits are told
	}
	factor := map[string]float64{"G": 1e9, "M": 1e6, "k": 1e3, "": 1, "m": 1e-3, "µ": 1e-6, "n": 1e-9}[m[5]]
	if strings.HasPrefix(m[6], "%") {
		factor = 0.01
	}
	if m[2] == "-" {
		value = -value
	}
	// JavaScript's three digits may leave out zeros: 12 % is 12.0 %.
	if size := math.Abs(value); size > 0 {
		last = min(last, math.Pow10(int(math.Floor(math.Log10(size)))-2))
	}
	return value * factor, last * factor * 0.501, m[1] == "~"
}

// same fails unless a figure on the page is the truth, to its digits.
func same(t *testing.T, what, text string, want float64, estimated bool) {
	t.Helper()
	got, within, tilde := shown(t, text)
	if math.Abs(got-want) > within {
		t.Errorf("%s: the page shows %q, the API says %v", what, text, want)
	}
	if tilde != estimated {
		t.Errorf("%s: %q, estimated %v", what, text, estimated)
	}
}

func (b *tab) tile(name string) string {
	b.t.Helper()
	return b.text(fmt.Sprintf(`[data-tile=%q] .figure > span:not(.sr):not(.band)`, name))
}

// table downloads what a panel shows, as rows by column, in both forms, which
// have to agree.
func (b *tab) table(panel string) []map[string]any {
	b.t.Helper()
	button := func(form string) string {
		return fmt.Sprintf(`[data-panel=%q] button[aria-label$="as %s"]`, panel, form)
	}
	var rows []map[string]any
	if err := json.Unmarshal(b.download(button("JSON")), &rows); err != nil {
		b.t.Fatal(err)
	}
	lines, err := csv.NewReader(strings.NewReader(string(b.download(button("CSV"))))).ReadAll()
	if err != nil {
		b.t.Fatal(err)
	}
	if len(lines) != len(rows)+1 {
		b.t.Fatalf("%s: %d lines of CSV, %d objects", panel, len(lines), len(rows))
	}
	for i, row := range rows {
		for k, name := range lines[0] {
			var want string
			switch v := row[name].(type) {
			case float64:
				f, err := strconv.ParseFloat(lines[i+1][k], 64)
				if err != nil || f != v {
					b.t.Errorf("%s, line %d, %s: %q in CSV, %v in JSON", panel, i+1, name, lines[i+1][k], v)
				}
				continue
			case string:
				want = v
			}
			if got := lines[i+1][k]; got != want && got != "'"+want {
				b.t.Errorf("%s, line %d, %s: %q in CSV, %q in JSON", panel, i+1, name, got, want)
			}
		}
	}
	return rows
}

func number(row map[string]any, column string) float64 {
	v, ok := row[column].(float64)
	if !ok {
		return math.NaN()
	}
	return v
}

const day = 24 * time.Hour

// TestOverviewShowsWhatTheAPISays compares the tiles and the list of the
// greatest with the same questions asked of the Prometheus itself.
func TestOverviewShowsWhatTheAPISays(t *testing.T) {
	f, u := startFleet(t)
	b := open(t, u.URL, desktop)
	b.visit(f.at("overview", "24h"))
	joules := u.value(`sum(increase(noether_node_joules_total[1d]))`, f.end)
	same(t, "energy", b.tile("Energy"), joules/3600, true)
	same(t, "mean power", b.tile("Mean power"), joules/day.Seconds(), true)
	same(t, "CO2e", b.tile("CO2e"), u.value(`sum(increase(noether_node_co2e_grams_total[1d]))`, f.end), true)
	same(t, "cost", b.tile("Cost"), u.value(`sum(increase(noether_node_energy_cost_total[1d]))`, f.end), true)

	want := map[string]float64{}
	for _, s := range u.query(`sum by (namespace, workload) (increase(noether_workload_joules_total{workload!=""}[1d]))`, f.end) {
		want[s.labels["workload"]] = s.value
	}
	seen, sum := 0, 0.0
	for _, row := range b.table("top") {
		sum += number(row, "joules")
		if row["kind"] == "workload" {
			seen++
			if name, _ := row["name"].(string); math.Abs(number(row, "joules")/want[name]-1) > 1e-9 {
				t.Errorf("%s: %v J, the API says %v J", name, row["joules"], want[name])
			}
		}
	}
	if seen < 5 {
		t.Errorf("%d workloads among the greatest", seen)
	}
	if math.Abs(sum/joules-1) > 1e-9 {
		t.Errorf("the rows add up to %v J, the machines used %v J", sum, joules)
	}

	t.Run("days", func(t *testing.T) {
		b.visit(f.at("overview", "7d"))
		var sum float64
		for _, row := range b.table("days") {
			sum += number(row, "joules")
		}
		// Whole hours are shown; of a week an hour or two may be missing.
		if all := u.value(`sum(increase(noether_node_joules_total[7d]))`, f.end); sum > all*1.001 || sum < all*0.98 {
			t.Errorf("the days add up to %v J, the week is %v J", sum, all)
		}
	})
}

// TestFlowBalances: everything that is downloaded adds up to the last digit,
// and its parts are those of the API.
func TestFlowBalances(t *testing.T) {
	f, u := startFleet(t)
	b := open(t, u.URL, desktop)
	for _, unit := range []struct{ name, column, family string }{
		{"", "joules", "joules"}, {"co2e", "grams_co2e", "co2e_grams"}, {"cost", "cost_EUR", "energy_cost"},
	} {
		t.Run("energy"+unit.name, func(t *testing.T) {
			b.visit(f.at("flow", "24h", "depth=containers", "unit="+unit.name))
			rows := b.table("flow")
			whole := u.value(fmt.Sprintf(`sum(increase(noether_node_%s_total[1d]))`, unit.family), f.end)
			children := map[any]float64{} // no two parents have one name here
			parts, parents := 0.0, 0
			for _, row := range rows {
				if row["kind"] == "part" {
					parts += number(row, unit.column)
				}
				children[row["within"]] += number(row, unit.column)
			}
			for _, row := range rows {
				kind := row["kind"]
				if kind != "namespace" && kind != "workload" && (kind != "pod" || unit.column == "cost_EUR") {
					continue // containers have no cost
				}
				// The file has the shortest decimals of sums of whole millijoules.
				if sum, is := children[row["name"]], number(row, unit.column); math.Abs(sum-is) > 1e-9*is {
					t.Errorf("%s %s is %v, what it divides into %v", kind, row["name"], is, sum)
				}
				parents++
			}
			if parents < 20 {
				t.Errorf("%d namespaces, workloads and pods", parents)
			}
			if math.Abs(parts/whole-1) > 1e-6 {
				t.Errorf("the parts of the machine are %v, the API says %v", parts, whole)
			}
			namespaces := 0
			for _, s := range u.query(fmt.Sprintf(`sum by (namespace) (increase(noether_namespace_%s_total{namespace!=""}[1d]))`, unit.family), f.end) {
				i := slices.IndexFunc(rows, func(r map[string]any) bool {
					return r["kind"] == "namespace" && r["namespace"] == s.labels["namespace"]
				})
				if i < 0 {
					t.Errorf("%v is not in the flow", s.labels)
					continue
				}
				namespaces++
				// What owners have beyond their parent is scaled down: a thousandth at most here.
				if got := number(rows[i], unit.column); math.Abs(got/s.value-1) > 2e-3 {
					t.Errorf("%v: %v in the flow, the API says %v", s.labels, got, s.value)
				}
			}
			if namespaces < 5 {
				t.Errorf("%d namespaces", namespaces)
			}
		})
	}
}

// TestWorkloadsShowWhatTheAPISays compares every kind's table with the API, and
// the cells on the screen with the file.
func TestWorkloadsShowWhatTheAPISays(t *testing.T) {
	f, u := startFleet(t)
	b := open(t, u.URL, desktop)
	for kind, by := range map[string]string{
		"workload": "namespace, workload_kind, workload", "pod": "namespace, pod, pod_uid, workload_kind, workload", "namespace": "namespace", "vm": "vm, hypervisor", "unit": "unit",
	} {
		t.Run(kind, func(t *testing.T) {
			b.visit(f.at("workloads", "24h", "kind="+kind))
			columns := strings.Split(by, ", ")
			identity := func(get func(string) string) string {
				var parts []string
				for _, c := range columns {
					parts = append(parts, get(c))
				}
				return strings.Join(parts, "|")
			}
			want, got := map[string]string{}, map[string]string{}
			for _, s := range u.query(fmt.Sprintf(`sum by (%s) (increase(noether_%s_joules_total[1d]))`, by, kind), f.end) {
				want[identity(func(c string) string { return s.labels[c] })] = fmt.Sprintf("%.6g", s.value)
			}
			rows := b.table("workloads")
			for _, r := range rows {
				got[identity(func(c string) string { v, _ := r[c].(string); return v })] = fmt.Sprintf("%.6g", number(r, "joules"))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-API +page:\n%s", diff)
			}
			cells := eval[[][]string](b, `[...document.querySelectorAll('.grid-body [role=row]')].map((r) => [...r.children].map((c) => c.innerText.trim()))`)
			if len(cells) == 0 {
				t.Fatal("no row is on the screen")
			}
			for i, c := range cells {
				same(t, c[0], c[2], number(rows[i], "joules")/3600, true)
			}
		})
	}
}

// TestDetailShowsWhatTheAPISays goes from the table to the page of one workload.
func TestDetailShowsWhatTheAPISays(t *testing.T) {
	f, u := startFleet(t)
	b := open(t, u.URL, desktop)
	b.visit(f.at("workloads", "24h", "kind=workload"))
	b.click(`.grid-body [role=row] a`)
	b.settle()
	if h := b.hash(); !strings.HasPrefix(h, "#/detail?") || !strings.Contains(h, "inference") || !strings.Contains(h, "end=") {
		t.Fatalf("the greatest workload's link leads to %s", h)
	}
	b.image("page-detail")
	joules := u.value(`sum(increase(noether_workload_joules_total{workload="inference"}[1d]))`, f.end)
	pods := b.table("detail-children")
	var sum float64
	for _, r := range pods {
		sum += number(r, "joules")
	}
	if len(pods) != 2 || math.Abs(sum/joules-1) > 1e-6 {
		t.Errorf("%d pods have %v J, the workload %v J", len(pods), sum, joules)
	}
	figures := b.texts(`[data-panel=detail] .figure > span:not(.sr):not(.band)`)
	if !slices.ContainsFunc(figures, func(s string) bool {
		m := shownFigure.FindStringSubmatch(s)
		if m == nil || !strings.Contains(s, "Wh") {
			return false
		}
		got, within, _ := shown(t, s)
		return math.Abs(got-joules/3600) <= within
	}) {
		t.Errorf("no figure of %q is %v Wh", figures, joules/3600)
	}
}

// TestCompareShowsWhatTheAPISays: two weekdays of one workload, what lies
// between them, and a divisor that is wrong.
func TestCompareShowsWhatTheAPISays(t *testing.T) {
	f, u := startFleet(t)
	b := open(t, u.URL, desktop, `answer 4[0-9][0-9]`, `status of 4[0-9][0-9]`)
	who := []string{"mode=periods", "kind=workload", "namespace=shop", "workload_kind=Deployment", "workload=frontend"}
	b.visit(f.at("compare", "24h", who...))
	energy := func(end time.Time) float64 {
		return u.value(`sum(increase(noether_workload_joules_total{namespace="shop",workload="frontend"}[1d]))`, end)
	}
	found := 0
	for _, row := range b.table("compare") {
		if row["figure"] != "Energy" {
			continue
		}
		found++
		var sides []float64
		for column, v := range row {
			if x, ok := v.(float64); ok && column != "relative" && column != "half_width_95" {
				sides = append(sides, x)
			}
		}
		slices.Sort(sides)
		want := []float64{energy(f.end), energy(f.end.Add(-day))}
		slices.Sort(want)
		if len(sides) != 2 || math.Abs(sides[0]/want[0]-1) > 1e-9 || math.Abs(sides[1]/want[1]-1) > 1e-9 {
			t.Errorf("the page compares %v J, the API says %v J", sides, want)
		}
	}
	if found != 1 {
		t.Errorf("%d rows of energy", found)
	}

	b.visit(f.at("compare", "24h", append(who, "per=sum(rate(")...))
	if words := strings.Join(b.texts(".trouble"), " "); !strings.Contains(words, "parse error") {
		t.Errorf("a divisor that is no PromQL: the page says %q", words)
	}
	if b.count(`nav[aria-label=Views] a`) < 6 {
		t.Error("the page is gone")
	}
}

// TestCarbonShowsWhatTheAPISays compares the intensity of now, and the grams of
// every owner.
func TestCarbonShowsWhatTheAPISays(t *testing.T) {
	f, u := startFleet(t)
	b := open(t, u.URL, desktop)
	b.visit(f.at("carbon", "24h"))
	whole := u.value(`sum(increase(noether_node_co2e_grams_total[1d]))`, f.end)
	var sum float64
	got := map[string]float64{}
	for _, row := range b.table("co2e-owners") {
		sum += number(row, "grams")
		if row["kind"] == "workload" {
			got[fmt.Sprint(row["namespace"], "/", row["name"])] = number(row, "grams")
		}
	}
	if math.Abs(sum/whole-1) > 1e-6 {
		t.Errorf("the owners' grams are %v, the API says %v", sum, whole)
	}
	checked := 0
	for _, s := range u.query(`sum by (namespace, workload) (increase(noether_workload_co2e_grams_total[1d]))`, f.end) {
		name := s.labels["namespace"] + "/" + s.labels["workload"]
		if math.Abs(got[name]/s.value-1) > 2e-3 { // see TestFlowBalances
			t.Errorf("%s: %v g on the page, the API says %v g", name, got[name], s.value)
		}
		checked++
	}
	if checked < 10 {
		t.Errorf("%d workloads", checked)
	}
	now := u.query(`max(noether_grid_carbon_intensity_grams_per_kwh)`, f.end)
	if rows := b.table("intensity"); len(now) != 1 || !slices.ContainsFunc(rows, func(r map[string]any) bool {
		return r["forecast"] == "false" && number(r, "grams_per_kwh") == now[0].value
	}) {
		t.Errorf("the intensity of %v is not among %d rows", now, len(rows))
	}
}
