package dashboards

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The numbers, worked out from the script by hand.
//
// Host a, by day. Processors: 60 W + 5 W x h, so 24 x 60 + 5 x 276 = 2820 Wh;
// memory 12 W, 288 Wh. Half of 240 s of CPU time a minute are idle, a tenth
// less from 02:00 to 02:30, when nightly runs.
//
//   - shop, processors: cart has 36 of 240 s and requests 1000 of 4000
//     millicores of idle: 0.15 + 0.5 x 0.25 = 0.275, while nightly runs
//     60/240 + 0.4 x 0.25 = 0.35: 2820 x 0.275 + 35 x 0.075 = 778.125 Wh
//   - shop, memory: 0.15 + 0.5 x 2/16 = 0.2125, or 0.25 + 0.4 x 2/16 = 0.3:
//     288 x 0.2125 + 6 x 0.0875 = 61.725 Wh
//
// Host b: 1.2 kWh a day; cart has 12 of 120 s and requests a quarter of the
// other 108: 50 W x (0.1 + 0.9 x 0.25) = 16.25 W, 390 Wh.
const (
	nodeA, nodeB = 2.820 + 0.288, 1.2             // kWh
	shopA, shopB = 0.778125 + 0.061725, 0.390     // kWh
	pueA, pueB   = 1.25, 1.1                      // of each site
	shopDay      = shopA + shopB                  // kWh
	shopFacility = shopA*pueA + shopB*pueB        // kWh
	clusterDay   = nodeA + nodeB                  // kWh
	siteDay      = nodeA*pueA + nodeB*pueB        // kWh
	shopHour13   = (125*0.275 + 12*0.2125) / 1000 // kWh, when the price is -0.10 EUR
	nodeHour13   = (125 + 12) / 1000.             // kWh
	shopHour5    = (85*0.275 + 12*0.2125) / 1000  // kWh, without an intensity on the third day
	nodeHour5    = (85 + 12) / 1000.              // kWh
	shopNow      = 175*0.275 + 12*0.2125 + 16.25  // W, from 23:00 on
	shopSiteNow  = (175*0.275+12*0.2125)*pueA + 16.25*pueB
)

// Grams. The intensity of a is 200 + 10 x h, of b 50. Operational, a: the sum
// over h of (72 + 5h)(200 + 10h) = 24 x 14400 + 1720 x 276 + 50 x 4324 =
// 1036520 for the node; of (19.05 + 1.375h)(200 + 10h) = 24 x 3810 +
// 465.5 x 276 + 13.75 x 4324 = 279373, and 3.15 x 220 while nightly runs, for
// shop.
//
// Embodied, a: processors and half of the rest, 600 kg over 1500 days, are
// 400 g a day; memory and the other half 300 g. Shop requests a quarter and an
// eighth; nightly requests nothing and pays for a tenth for half an hour. On b
// it is 60 and 20 g, and shop requests a quarter and an eighth.
const (
	nodeOperational = 1036.520*pueA + nodeB*pueB*50
	shopOperational = 280.066*pueA + shopB*pueB*50
	nodeEmbodied    = 700. + 80
	shopEmbodied    = 400*(0.25+0.1/48) + 300*(0.125+0.1/48) + 60*0.25 + 20*0.125
	shopGrams       = shopOperational + shopEmbodied
	nodeGrams       = nodeOperational + nodeEmbodied
)

// Money: 0.30 EUR/kWh with PUE, but on a -0.10 from 13:00 to 14:00.
const (
	shopCost = shopFacility*0.30 - shopHour13*pueA*0.40
	nodeCost = siteDay*0.30 - nodeHour13*pueA*0.40
)

// burst is how much of a day increase() may add to or take from work that
// fills a part of an hour: it extrapolates by up to a scrape.
const burst = 5e-4

func numbers(t *testing.T, s *server, tolerance float64) {
	shop := map[string]string{"namespace": "shop", "workload": ".*", "window": "24h"}
	all := map[string]string{"namespace": ".*", "workload": ".*", "node": ".*", "job": "(noether)", "window": "24h"}
	onA := map[string]string{"node": "a"}
	cart := map[string]string{"manifest": ".*", "path": "/"}
	// How it comes to the answers: by query of its panel and labels of the line.
	for _, tc := range []struct {
		file, panel string
		query       int
		variables   map[string]string
		labels      string // name=value that picks the line
		want        float64
		within      float64 // of want, where that is more than the tolerance; of 1, where want is 0
	}{
		{"application", "Power", 0, shop, "", shopNow, 0},
		{"application", "Power with PUE", 0, shop, "", shopSiteNow, 0},
		{"application", "Energy", 2, shop, "", shopDay, burst},
		{"application", "Energy", 3, shop, "", 7 * shopDay, burst},
		{"application", "Energy with PUE", 2, shop, "", shopFacility, burst},
		{"application", "Energy with PUE", 3, shop, "", 7 * shopFacility, burst},
		{"application", "Carbon intensity", 0, shop, "grid_zone=DE", 430, 0},
		{"application", "Carbon intensity", 0, shop, "grid_zone=FR", 50, 0},
		{"application", "CO2e", 2, shop, "", shopGrams, burst},
		{"application", "CO2e", 3, shop, "", 7*shopGrams - shopHour5*pueA*250, burst},
		{"application", "of which embodied", 2, shop, "", shopEmbodied, burst},
		{"application", "of which embodied", 3, shop, "", 7 * shopEmbodied, burst},
		{"application", "Cost", 2, shop, "currency=EUR", shopCost, burst},
		{"application", "Cost", 3, shop, "currency=EUR", 7 * shopCost, burst},
		{"application", "Hours of a 10 W LED bulb", 0, shop, "", shopDay * 100, burst},
		{"application", "Kilometres by car", 0, shop, "", shopGrams / 244, burst},
		{"application", "Energy against the week before", 0, shop, "", 0, 0.01},
		{"application", "Workloads, over the chosen window", 0, shop, "workload=nightly", (35 + 6) * 24. / 240 / 1000, 0.04},
		{"application", "Workloads, over the chosen window", 2, shop, "workload=nightly", 700 * 0.1 / 48, 0.04},
		{"application", "Share of the cluster", 0, shop, "", shopNow / (175 + 12 + 50), 0},
		{"application", "Pods", 0, shop, "", 3, 0},

		{"overview", "Power", 0, all, "", 175 + 12 + 50, 0},
		{"overview", "Power with PUE", 0, all, "", 187*pueA + 50*pueB, 0},
		{"overview", "Energy", 2, all, "", clusterDay, 0},
		{"overview", "Energy", 3, all, "", 7 * clusterDay, 0},
		{"overview", "Energy with PUE", 2, all, "", siteDay, 0},
		{"overview", "CO2e", 2, all, "", nodeGrams, 0},
		{"overview", "of which embodied", 2, all, "", nodeEmbodied, 0},
		{"overview", "Cost", 2, all, "currency=EUR", nodeCost, burst},
		{"overview", "Revised since", 0, all, "", 172. / 1000 * pueA * 10, 0},
		{"overview", "Energy without an intensity", 0, all, "", nodeHour5, burst},
		{"overview", "Estimated", 0, all, "", 12. / 237, 0},
		{"overview", "Namespaces", 0, all, "namespace=shop", shopDay, burst},
		{"overview", "Namespaces", 1, all, "namespace=shop", shopOperational, burst},
		{"overview", "Namespaces", 2, all, "namespace=shop", shopEmbodied, burst},
		{"overview", "Namespaces", 3, all, "namespace=shop", shopCost, burst},
		{"overview", "Forecast", 0, all, "horizon=2h", 210, 0},
		{"overview", "What the grams are made of", 0, all, "node=a", 1_050_000, 0},

		{"node", "Energy", 2, onA, "", nodeA, 0},
		{"node", "CO2e", 2, onA, "", 1036.520*pueA + 700, 0},
		{"node", "At most", 0, onA, "", 24, 0},

		{"impact", "Last window", 0, cart, "", 20. / 3300, 0},
		{"impact", "Time shown", 0, cart, "", 24 * 20 / (24*1000. + 100*276), 0},
		{"impact", "E: energy", 0, cart, "", 1.2, 0},
		{"impact", "I: carbon intensity", 0, cart, "", 300, 0},
		{"impact", "M: embodied", 0, cart, "", 120, 0},
		{"impact", "R: functional units", 0, cart, "", 51600, 0},

		{"agent", "Agents that answer", 0, all, "", 2, 0},
		{"agent", "That do not", 0, all, "", 0, 0},
		{"agent", "Imbalance", 0, all, "", 0, 0},
		{"agent", "Sources that are down", 0, all, "", 0, 0},
		{"agent", "CO2e of the machine less accounts", 0, all, "node=a", 0, 0},
		{"agent", "Machine less accounts", 0, all, "node=a", 0, 0},
		{"agent", "Machine less accounts", 0, all, "node=b", 0, 0},
	} {
		expr := find(t, tc.file, tc.panel, tc.query, tc.variables)
		list, err := s.instant(expr, viewed())
		list = slices.DeleteFunc(list, func(line series) bool {
			name, value, picks := strings.Cut(tc.labels, "=")
			return picks && line.Metric[name] != value
		})
		if err != nil || len(list) != 1 {
			t.Errorf("%s, %s: %d lines, %v: %s", tc.file, tc.panel, len(list), err, expr)
			continue
		}
		allowed := max(tolerance, tc.within) * math.Abs(tc.want)
		if tc.want == 0 {
			allowed = max(1e-6, tc.within)
		}
		if got := list[0].Value.value; math.Abs(got-tc.want) > allowed {
			t.Errorf("%s, %s, %s: %.9g, want %.9g: %s", tc.file, tc.panel, tc.labels, got, tc.want, expr)
		}
	}
	released(t, s)
}

// released wants the one release of the script where it was, for five minutes,
// and the one start of an agent.
func released(t *testing.T, s *server) {
	t.Helper()
	day := begin().AddDate(0, 0, lastDay)
	for file, want := range map[string]struct {
		annotation, label, value string
		at                       float64
	}{
		"application": {"Releases", "image", "registry.example/cart:1.4", float64(day.Unix()) + 6*3600},
		"agent":       {"Agent starts", "node", "a", float64(day.Unix()) + 12.5*3600 + tick.Seconds()},
	} {
		expr := find(t, file, want.annotation, 0, map[string]string{"namespace": ".*", "node": ".*"})
		list, err := s.span(expr, day, end(), time.Minute)
		if err != nil || len(list) != 1 || list[0].Metric[want.label] != want.value || list[0].Values[0].at != want.at || len(list[0].Values) > 6 {
			t.Errorf("%s, %s: %v %v", file, want.annotation, list, err)
		}
	}
}

// find returns a query of a panel or annotation with values for variables.
func find(t *testing.T, file, title string, n int, variables map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dashboardsDir, file+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	list := []string{"$__rate_interval", "5m", "$cluster", ".*"}
	if title == "Energy without an intensity" {
		list = append(list, "$__range", "7d") // it was on the third day
	} else {
		list = append(list, "$__range", "24h")
	}
	for name, value := range variables {
		list = append(list, "$"+name, value)
	}
	r := strings.NewReplacer(list...)
	for _, p := range d.Panels {
		if p.Title == title && n < len(p.Targets) {
			return r.Replace(p.Targets[n].Expr)
		}
	}
	for _, a := range d.Annotations.List {
		if a.Name == title {
			return r.Replace(a.Expr)
		}
	}
	t.Fatalf("%s has no panel or annotation %q with %d queries", file, title, n+1)
	return ""
}
