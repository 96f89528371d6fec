package page

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"noether/internal/probe"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
	"noether/test/script"
)

// saved is by how much the release lowers the CPU time, and so the energy, of a request.
const saved = 0.18

// each is how many services have a release, and how many have none.
const each = 6

// released is a node with services that answer requests for two days. At
// midnight between them half of the services are replaced by what needs less
// for each request, and from then on all get more requests.
type released struct {
	data         string
	release, end time.Time
}

// service is one of them: faster-0 … have a release, steady-0 … have none.
type service struct {
	name     string
	faster   bool
	requests float64   // all so far
	work     []float64 // CPU seconds in each tick
	arrived  []float64 // requests in each tick
}

// services makes the course of two days by chance that is always the same:
// requests follow a mean that wanders, and each takes its time.
func services(ticks int) []*service {
	var out []*service
	for i := range 2 * each {
		s := &service{name: fmt.Sprintf("steady-%d", i/2), faster: i%2 == 0}
		if s.faster {
			s.name = fmt.Sprintf("faster-%d", i/2)
		}
		chance := rand.New(rand.NewPCG(uint64(i), 1))
		load, price := 0.0, 0.0
		for k := range ticks {
			load = 0.8*load + 0.15*chance.NormFloat64()
			price = 0.3*price + 0.08*chance.NormFloat64()
			mean, cost := 6000.0, 0.008
			if k >= ticks/2 {
				mean *= 1.3
				if s.faster {
					cost *= 1 - saved
				}
			}
			n := math.Round(mean * math.Exp(load))
			s.arrived = append(s.arrived, n)
			s.work = append(s.work, n*cost*math.Exp(price))
		}
		out = append(out, s)
	}
	return out
}

// madeRelease holds it between tests.
var madeRelease struct {
	sync.Mutex
	*released
}

func theRelease(t *testing.T) *released {
	t.Helper()
	madeRelease.Lock()
	defer madeRelease.Unlock()
	if madeRelease.released != nil {
		return madeRelease.released
	}
	end := time.Now().UTC().Truncate(day)
	r := &released{data: filepath.Join(scratch, "release"), release: end.Add(-day), end: end}
	begin := end.Add(-2 * day)
	ticks := int(end.Sub(begin) / fleetStep)
	tick := func(at time.Time) int { return int(at.Sub(begin)/fleetStep) - 1 }
	// Power that does not follow the work: the energy of a CPU second is the same all the time.
	h := &script.Host{
		Name: "worker-1", CPUs: 16, Begin: begin, Tick: fleetStep,
		Power:    func(time.Time) unit.Power { return 120 * unit.Watt },
		Verdicts: []probe.Verdict{{Name: "powercap", Status: probe.Works}},
		Site: func(now time.Time) snapshot.Site { // both days alike, whichever they are
			s := machineOf("worker-1", 1, nil, begin).Site(time.Date(2026, time.March, 2, now.Hour(), now.Minute(), 0, 0, time.UTC))
			s.Grid.Updated = now.Truncate(time.Hour)
			return s
		},
	}
	pods := map[string]*workload.PodFacts{}
	all := services(ticks)
	for i, s := range all {
		h.Runners = append(h.Runners, script.Runner{Path: script.PodPath(i + 1), Comm: "main", Work: func(now time.Time) time.Duration {
			return time.Duration(s.work[tick(now)] * float64(time.Second))
		}})
		pods[script.UID(i+1)] = script.Facts(i+1, "shop", s.name+"-7d9f6c4b8-mt5rp", "Deployment", s.name, workload.Reserved{})
	}
	h.Names = func(time.Time) *workload.Names {
		return &workload.Names{AsksPods: true, AsksContainers: true, Allocatable: workload.Reserved{CPU: 16000, Memory: 1 << 36}, Pods: pods}
	}
	block(t, r.data, h, end, func(at time.Time) string {
		var b strings.Builder
		for _, s := range all {
			s.requests += s.arrived[tick(at)]
			fmt.Fprintf(&b, "http_requests_total{service=%q} %v\n", s.name, s.requests)
		}
		return b.String()
	})
	madeRelease.released = r
	return r
}

// per is the divisor for a service, as people write it into the page.
func per(name string) string {
	return fmt.Sprintf(`sum(rate(http_requests_total{service=%q}[$window]))`, name)
}

// at is the comparison of a service by its address.
func (r *released) at(name, span string) string {
	return fmt.Sprintf("#/compare?range=%s&end=%s&refresh=0&release=%s&kind=workload&namespace=shop&workload_kind=Deployment&workload=%s&per=%s",
		span, r.end.Format(time.RFC3339), r.release.Format(time.RFC3339), name, url.QueryEscape(per(name)))
}

var (
	claim  = regexp.MustCompile(`^After (.+) (\S+) uses ([0-9.]+) % ± ([0-9.]+) % (less|more) energy per request\.$`)
	denial = regexp.MustCompile(`^No difference can be told \(([-−+]?)([0-9.]+) % ± ([0-9.]+) %\)\.$`)
)

// told is what the sentence says: the change, half of its interval, and whether it claims one.
func told(t *testing.T, sentence string) (change, half float64, claimed bool) {
	t.Helper()
	parse := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v / 100
	}
	if m := claim.FindStringSubmatch(sentence); m != nil {
		change = parse(m[3])
		if m[5] == "less" {
			change = -change
		}
		return change, parse(m[4]), true
	}
	m := denial.FindStringSubmatch(sentence)
	if m == nil {
		t.Fatalf("the page says %q", sentence)
	}
	if change = parse(m[2]); m[1] != "" && m[1] != "+" {
		change = -change
	}
	return change, parse(m[3]), false
}

// startRelease serves the page over a Prometheus that has the release.
func startRelease(t *testing.T) (*released, *server) {
	t.Helper()
	r := theRelease(t)
	return r, startUI(t, startPrometheus(t, "", r.data).URL, "--step", "5m")
}

// TestReleaseThatSaves: "after the release this service uses 18 % less energy
// per request", by the mouse and the keyboard, of services that are known to,
// and not of those that are known not to.
func TestReleaseThatSaves(t *testing.T) {
	r, u := startRelease(t)
	b := open(t, u.URL, desktop)

	t.Run("by clicks", func(t *testing.T) {
		b.visit(fmt.Sprintf("#/overview?range=24h&end=%s&refresh=0", r.end.Format(time.RFC3339)))
		b.click(`nav[aria-label=Views] a[href^="#/compare"]`)
		b.until("Compare", `location.hash.startsWith('#/compare')`)
		b.settle()
		b.choose(`label:has(select) select`, "Workloads")
		b.until("the workloads to choose from", `document.querySelector('[aria-label="Of: which"]')?.options.length > 6`)
		b.choose(`[aria-label="Of: which"]`, "faster-0")
		b.until("the workload", `location.hash.includes('workload=faster-0')`)
		b.settle()
		b.enterTime(`.compare-form > label.compare-field input[type=datetime-local]`, r.release)
		b.until("the release", `location.hash.includes('release=')`)
		b.settle()
		b.do(chromedp.SendKeys(chromedp.CSS(`.per input`), per("faster-0")+kb.Enter))
		b.until("the divisor", `location.hash.includes('per=')`)
		b.settle()
		r.check(t, b, "faster-0")
		b.image("page-compare-release")

		b.choose(`[aria-label="Of: which"]`, "steady-0")
		b.until("the other workload", `location.hash.includes('workload=steady-0')`)
		b.settle()
		b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.per input').select()`), chromedp.SendKeys(chromedp.CSS(`.per input`), per("steady-0")+kb.Enter))
		b.until("its divisor", `decodeURIComponent(location.hash).includes('service="steady-0"')`)
		b.settle()
		r.check(t, b, "steady-0")
	})
	t.Run("by address", func(t *testing.T) {
		held, few := 0, 0
		for i := range each {
			for _, name := range []string{fmt.Sprintf("faster-%d", i), fmt.Sprintf("steady-%d", i)} {
				b.visit(r.at(name, "24h"))
				// Rarely the parts of a day hang together so much that nothing is told.
				if b.text(".verdict") == "Too few samples to tell." {
					few++
				} else if r.check(t, b, name) {
					held++
				}
			}
		}
		t.Logf("of %d, %d intervals hold the truth, and %d are not told", 2*each, held, few)
		if few > 2 || held < 2*each-few-1 { // 95 of 100 do
			t.Error("too little is told, or too narrow intervals")
		}
	})
	t.Run("without pairs", func(t *testing.T) { // its periods are not whole days apart
		b.visit(r.at("faster-1", "23h"))
		sentence := b.text(".verdict")
		if change, half, claimed := told(t, sentence); !claimed || math.Abs(change+saved) > 2*half {
			t.Errorf("the page says %q", sentence)
		}
	})
}

// TestQueriesThatAskTooMuch: a divisor that no server would work out, typed and
// by its address. The server says so in its place, everything else goes on, and
// one that can be worked out is answered.
func TestQueriesThatAskTooMuch(t *testing.T) {
	r := theRelease(t)
	prometheus := startPrometheus(t, "", r.data, "--query.max-samples=200000")
	a := startAgent(t, "--interval", "1s", "--store.path", t.TempDir(), "--store.interval", "1s")
	a.Await("a history", func() bool { return len(a.query("noether_node_joules_total", time.Now())) > 0 })
	for name, c := range map[string]struct {
		over                *server
		step, length, words string
	}{
		"Prometheus": {prometheus, "5m", "24h&end=" + r.end.Format(time.RFC3339), "too many samples"},
		"an agent":   {a, "1s", "15m", "give it a longer step or a shorter range"},
	} {
		t.Run(name, func(t *testing.T) {
			u := startUI(t, c.over.URL, "--step", c.step)
			b := open(t, u.URL, desktop, `answer 422`, `status of 422`)
			const much = `sum(count_over_time({__name__=~"noether_.+"}[30d:1s]))`
			answered := func(when string) {
				t.Helper()
				if words := b.texts(".trouble"); len(words) != 1 || !strings.Contains(words[0], c.words) {
					t.Errorf("%s: the page says %q", when, words)
				}
				if b.count(`nav[aria-label=Views] a`) < 6 || b.count(`.compare-form select`) == 0 {
					t.Errorf("%s: the rest of the page is gone", when)
				}
			}
			b.visit("#/compare?refresh=0&range=" + c.length)
			b.do(chromedp.SendKeys(chromedp.CSS(`.per input`), much+kb.Enter))
			b.until("the divisor", `location.hash.includes('per=')`)
			b.settle()
			answered("typed")
			b.shot("much-" + c.step)
			b.visit(b.hash())
			answered("by its address")
			b.accessible("a query that asks too much, over " + name)
			b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('.per input').select()`), chromedp.SendKeys(chromedp.CSS(`.per input`), `vector(2)`+kb.Enter))
			b.until("an answer", `!document.querySelector('.trouble') && document.querySelector('[data-panel=compare] :is(.verdict, .empty)')`)
			b.click(`nav[aria-label=Views] a[href^="#/overview"]`)
			b.until("another view", `location.hash.startsWith('#/overview')`)
			b.settle()
			if words := b.texts(".trouble"); len(words) > 0 {
				t.Errorf("afterwards the overview says %q", words)
			}
		})
	}
}

// check compares what is told of a service over two days with the truth, and
// returns whether the interval holds it.
func (r *released) check(t *testing.T, b *tab, name string) bool {
	t.Helper()
	sentence := b.text(".verdict")
	change, half, claimed := told(t, sentence)
	truth := 0.0
	if strings.HasPrefix(name, "faster") {
		truth = -saved
	}
	t.Logf("%s: %s", name, sentence)
	if claimed != (truth != 0) {
		t.Errorf("%s changed by %v: the page says %q", name, truth, sentence)
	}
	if claimed && !strings.Contains(sentence, " "+name+" ") {
		t.Errorf("of %s the page says %q", name, sentence)
	}
	if half < 0.002 || half > 0.06 {
		t.Errorf("%s: an interval of ± %v: %q", name, half, sentence)
	}
	row := map[string]any{}
	for _, x := range b.table("compare") {
		switch x["figure"] {
		case "Energy per request":
			row = x
		case "Energy", "CO₂e", "Cost":
			// A third more requests that wander by chance: with less work for each it cannot be told, without it may.
			if half := number(x, "half_width_95"); x["verdict"] == "few" || !(half > 0.02 && half < 1) {
				t.Errorf("%s: the interval of %v is ± %v, %v", name, x["figure"], x["half_width_95"], x["verdict"])
			}
		}
	}
	if got := number(row, "relative"); math.Abs(got-change) > 0.00501 || math.Abs(number(row, "half_width_95")-half) > 0.00501 {
		t.Errorf("%s: the file has %v ± %v, the page says %q", name, got, row["half_width_95"], sentence)
	}
	return math.Abs(change-truth) <= half+0.0005
}

// choose picks an option of a select by its beginning, with the arrow keys.
func (b *tab) choose(selector, text string) {
	b.t.Helper()
	b.do(chromedp.Focus(chromedp.CSS(selector)))
	for range 50 {
		chosen := eval[string](b, `document.querySelector(%s).selectedOptions[0]?.text ?? ''`, selector)
		if strings.HasPrefix(chosen, text) {
			return
		}
		key := kb.ArrowDown
		if eval[bool](b, `((s) => [...s.options].findIndex((o) => o.text.startsWith(%s)) < s.selectedIndex)(document.querySelector(%s))`, text, selector) {
			key = kb.ArrowUp
		}
		b.press(key)
		b.until("another choice", `document.querySelector(%s).selectedOptions[0]?.text !== %s`, selector, chosen)
	}
	b.t.Fatalf("%s cannot be chosen\n%s", text, b.where())
}

// enterTime types a time into a field for it, which goes on by itself.
func (b *tab) enterTime(selector string, at time.Time) {
	b.t.Helper()
	b.do(chromedp.Focus(chromedp.CSS(selector)))
	b.do(chromedp.KeyEvent(at.Format("01022006030405PM")))
}
