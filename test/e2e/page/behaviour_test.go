package page

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"noether/internal/export/balance"
	"noether/test/machine"
)

// TestNavigation: the views are reached by the mouse and by the keyboard, the
// range stays, and back, forward and the address lead to the same.
func TestNavigation(t *testing.T) {
	f, u := startFleet(t)
	b := open(t, u.URL, desktop)
	b.visit(f.at("overview", "6h"))
	var hashes []string
	for i, v := range views() {
		if i%2 == 0 {
			b.click(fmt.Sprintf(`nav[aria-label=Views] a[href^="#/%s"]`, v))
		} else {
			b.press(strconv.Itoa(i + 1))
		}
		b.until(v, `location.hash.startsWith('#/' + %s)`, v)
		b.settle()
		if h := b.hash(); !strings.Contains(h, "range=6h") || !strings.Contains(h, "end=") {
			t.Errorf("%s has lost the range: %s", v, h)
		}
		if got := b.text(`nav[aria-label=Views] [aria-current=page]`); !strings.EqualFold(got, v) {
			t.Errorf("%q is marked as the view, not %s", got, v)
		}
		hashes = append(hashes, b.hash())
	}
	slices.Reverse(hashes)
	for _, h := range hashes[1:] {
		b.do(chromedp.Evaluate[chromedp.Void](`history.back()`))
		b.until("the view before", `location.hash === %s`, h)
		b.settle()
	}
	b.do(chromedp.Evaluate[chromedp.Void](`history.forward()`))
	b.until("the view after", `location.hash === %s`, hashes[len(hashes)-2])

	t.Run("by Tab and Enter", func(t *testing.T) {
		b.visit(f.at("overview", "6h"))
		for i := 0; ; i++ {
			b.press(kb.Tab)
			if eval[bool](b, `document.activeElement?.getAttribute('href')?.startsWith('#/carbon') ?? false`) {
				break
			}
			if i == 30 {
				t.Fatal("thirty times Tab do not reach Carbon")
			}
			if eval[bool](b, `(() => { const s = getComputedStyle(document.activeElement); return document.activeElement !== document.body && s.outlineStyle === 'none' && s.boxShadow === 'none'; })()`) {
				t.Errorf("the focus cannot be seen on %s", eval[string](b, `document.activeElement.outerHTML.slice(0, 120)`))
			}
		}
		b.press(kb.Enter)
		b.until("Carbon", `location.hash.startsWith('#/carbon')`)
	})
}

// TestDrillDown goes into the flow by the mouse, out by Escape, and in by the keyboard.
func TestDrillDown(t *testing.T) {
	f, u := startFleet(t)
	b := open(t, u.URL, desktop)
	b.visit(f.at("flow", "24h"))
	spot := func(name string) string {
		return eval[string](b, `'[data-spot="' + [...document.querySelectorAll('[data-spot]')].find((e) => (e.getAttribute('aria-label') ?? e.textContent).startsWith(%s))?.dataset.spot + '"]'`, name)
	}
	b.click(spot("shop"))
	b.until("the namespace in focus", `location.hash.includes('focus=namespace')`)
	b.settle()
	if got := b.text(".flow-crumbs"); !strings.Contains(got, "shop") {
		t.Errorf("the way says %q", got)
	}
	rows := b.table("flow")
	if slices.ContainsFunc(rows, func(r map[string]any) bool { return r["name"] == "postgres" }) || !slices.ContainsFunc(rows, func(r map[string]any) bool { return r["name"] == "cart" }) {
		t.Error("the focus on shop shows not what is in it, or what is not")
	}
	deep := b.hash()
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelector(%q).focus()`, spot("shop"))))
	b.press(kb.Escape)
	b.until("everything again", `!location.hash.includes('focus=')`)
	b.settle()
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelector(%q).focus()`, spot("data"))))
	b.press(kb.Enter)
	b.until("the namespace in focus by Enter", `location.hash.includes('focus=namespace%3Adata') || location.hash.includes('focus=namespace:data')`)
	b.visit(deep)
	if got := b.text(".flow-crumbs"); !strings.Contains(got, "shop") {
		t.Errorf("the link shows %q", got)
	}
}

// TestThemes: dark by the system's wish, and by the page's own button, which is kept.
func TestThemes(t *testing.T) {
	f, u := startFleet(t)
	b := open(t, u.URL, desktop)
	light := func() bool {
		return eval[bool](b, `(() => { const c = getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number); return c[0] + c[1] + c[2] > 384; })()`)
	}
	b.visit(f.at("overview", "24h"))
	if !light() {
		t.Error("it is dark without being asked")
	}
	b.prefers("dark")
	if light() {
		t.Error("it is light where people prefer dark")
	}
	b.settle()
	b.image("page-overview-dark")
	for _, v := range views() {
		b.visit(f.at(v, "24h"))
		b.shot("dark-" + v)
	}
	b.press("t") // light, whatever the system prefers
	b.until("the page's own choice", `document.documentElement.dataset.theme === 'light'`)
	if !light() {
		t.Error("it is dark after light was chosen")
	}
	b.visit(f.at("overview", "24h"))
	if !light() {
		t.Error("the choice is not kept")
	}
}

// TestSizes: from a phone to a wide screen nothing has to be scrolled sideways.
func TestSizes(t *testing.T) {
	f, u := startFleet(t)
	b := open(t, u.URL, phone)
	for name, window := range map[string]size{"phone": phone, "small": {360, 740}, "wide": wide} {
		b.resize(window)
		for _, v := range append(views(), "detail") {
			hash := f.at(v, "24h")
			if v == "detail" {
				hash = f.at(v, "24h", "kind=workload", "namespace=shop", "workload_kind=Deployment", "workload=frontend")
			}
			b.visit(hash)
			if over := eval[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
				t.Errorf("%s, %s: %d pixels too wide: %s", name, v, over, eval[string](b, `[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !e.closest('.scroll, .grid-table, .flow-scroll')).slice(0, 4).map((e) => e.tagName + '.' + e.getAttribute('class')).join(' ')`))
			}
			b.shot(name + "-" + v)
			if name == "phone" && v == "overview" {
				b.image("page-phone")
			}
		}
	}
}

// TestTenThousandRows: the table of a machine with 10,000 processes.
func TestTenThousandRows(t *testing.T) {
	const many = 10_000
	m := machine.New(t, machine.Options{Zones: []machine.Zone{{Dir: "intel-rapl:0", Name: "package-0", Range: 1 << 40}}})
	m.AddCgroup("/system.slice/many.service", "unit/many.service")
	for i := range many {
		m.Start(machine.Process{PID: 1000 + i, PPID: 1, Comm: fmt.Sprintf("worker-%05d", i), Cgroup: "/system.slice/many.service", Plain: true})
	}
	a := startAgent(t, "--root", m.Root(), "--usage", "procfs", "--interval", "1s", "--processes", "all", "--store.path", "off")
	step := machine.Step{Energy: map[string]uint64{"intel-rapl:0": 50_000_000}, CPU: map[int]time.Duration{}}
	for i := range many {
		step.CPU[1000+i] = time.Duration(1+i%50) * machine.Tick
	}
	m.Advance(step)
	a.Await("energy of the processes", func() bool { return strings.Count(metrics(t, a), "noether_process_joules_total{") >= many })

	b := open(t, a.URL, desktop)
	b.visit("#/workloads?kind=process&refresh=0")
	b.until("the table", `document.querySelector('[role=grid]')?.getAttribute('aria-rowcount') > %s`, many)
	const grid = `document.querySelector('[role=grid]')`
	rows := func() int { return b.count(`.grid-body [role=row]`) }
	if n := rows(); n < 10 || n > 200 {
		t.Errorf("%d rows are in the document", n)
	}
	frames := eval[map[string]float64](b, `new Promise((done) => {
		const grid = `+grid+`, times = [], to = grid.scrollHeight, steps = 120;
		let last = performance.now(), i = 0, most = 0;
		const step = (now) => {
			times.push(now - last); last = now;
			most = Math.max(most, grid.querySelectorAll('.grid-body [role=row]').length);
			grid.scrollTop = to * ++i / steps;
			if (i <= steps) requestAnimationFrame(step);
			else { times.shift(); times.sort((a, b) => a - b); done({ median: times[times.length >> 1], p95: times[Math.floor(times.length * 0.95)], max: times.at(-1), most }); }
		};
		requestAnimationFrame(step);
	})`)
	t.Logf("frames while 10,000 rows pass in 120 steps: median %.1f ms, p95 %.1f ms, longest %.1f ms; at most %.0f rows in the document", frames["median"], frames["p95"], frames["max"], frames["most"])
	if frames["most"] > 200 {
		t.Errorf("%v rows were in the document", frames["most"])
	}
	b.until("the last row", `(() => { const r = [...document.querySelectorAll('.grid-body [role=row]')].at(-1); const g = `+grid+`; return Number(r.getAttribute('aria-rowindex')) >= %s && g.scrollTop + g.clientHeight >= g.scrollHeight - 2; })()`, many)
	b.shot("many-end")

	want := map[string]float64{}
	for line := range strings.Lines(metrics(t, a)) {
		if strings.HasPrefix(line, "noether_process_joules_total{") {
			sample, err := balance.Parse(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			joules, err := strconv.ParseFloat(sample.Value, 64)
			if err != nil {
				t.Fatal(err)
			}
			want[sample.Labels["pid"]] += joules
		}
	}
	compared := 0
	for _, row := range b.table("workloads") {
		pid, joules := fmt.Sprint(row["pid"]), number(row, "joules")
		if pid == "" || pid == "0" || pid == "<nil>" {
			continue // all that are not listed by themselves
		}
		compared++
		if !(math.Abs(joules-want[pid]) < 1e-9+1e-9*want[pid]) {
			t.Fatalf("process %s: %v J on the page, %v J in /metrics", pid, row["joules"], want[pid])
		}
	}
	if compared < many {
		t.Errorf("%d processes were compared", compared)
	}

	b.do(chromedp.Focus(chromedp.CSS(`[role=grid]`)))
	b.press(kb.Home)
	b.until("the first row by Home", grid+`.scrollTop === 0`)
	b.press(kb.End)
	b.until("the last row by End", grid+`.scrollTop > 1000`)

	b.do(chromedp.SendKeys(chromedp.CSS(`input[type=search]`), "worker-04242"))
	b.until("what was searched", `document.querySelectorAll('.grid-body [role=row]').length === 1 && document.querySelector('.grid-body [role=row]').innerText.includes('worker-04242')`)
	if !strings.Contains(b.hash(), "q=worker-04242") {
		t.Errorf("the search is not in the address: %s", b.hash())
	}
	b.visit("#/workloads?kind=process&refresh=0&sort=name&desc=0")
	b.click(`[role=columnheader] button`)
	b.until("the names from the end", `document.querySelector('.grid-body [role=row]').innerText.includes('worker-09999') || document.querySelector('.grid-body [role=row]').innerText.includes('worker-00000')`)
}

func metrics(t *testing.T, s *server) string {
	t.Helper()
	resp, err := http.Get(s.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestNamesOfStrangersAreText: names that would be scripts, were they markup,
// of pods in a history and of a process that runs.
func TestNamesOfStrangersAreText(t *testing.T) {
	t.Run("history", func(t *testing.T) {
		end := time.Now().Truncate(fleetStep)
		data := t.TempDir()
		block(t, data, machineOf(`<script>alert(0)</script>`, 1, hostile(), end.Add(-12*time.Hour)), end, nil)
		u := startUI(t, startPrometheus(t, "", data).URL, "--step", "5m")
		b := open(t, u.URL, desktop)
		f := fleet{end: end}
		for _, v := range views() {
			b.visit(f.at(v, "6h"))
			b.shot("hostile-" + v)
			b.innocent()
		}
		for _, kind := range []string{"namespace", "workload", "pod", "container"} {
			b.visit(f.at("workloads", "6h", "kind="+kind))
			b.innocent()
			b.table("workloads")
		}
		if all := strings.Join(b.texts(`.grid-body [role=row]`), "\n"); !strings.Contains(all, "<") {
			t.Errorf("the names are not shown as they are:\n%s", all)
		}
		b.visit(f.at("workloads", "6h", "kind=pod"))
		for i := range hostile() {
			b.visit(f.at("workloads", "6h", "kind=pod"))
			b.click(fmt.Sprintf(`.grid-body [role=row]:nth-child(%d) a`, i+1))
			b.settle()
			b.innocent()
		}
		// What is in an address is not trusted either.
		for _, hash := range []string{
			"#/overview?range=<img src=x onerror=alert(1)>&end=<script>alert(1)</script>&node=<svg onload=alert(1)>",
			`#/detail?kind=pod&pod=<img src=x onerror=alert(1)>&pod_uid="})+or+vector(1)`, "#/detail?kind=__proto__&x=1", "#/constructor?sort=__proto__", "#/workloads?kind=constructor&sort=constructor&q=%",
			"#/flow?focus=namespace:<img src=x onerror=alert(1)>&open=|||&part=<b>&unit=<b>", "#/compare?a=<svg onload=alert(1)>&q=%22%3Cimg%20src=x%20onerror=alert(1)%3E", "#/%%%?range=%%%",
		} {
			b.visit(hash)
			b.innocent()
		}
	})
	t.Run("process", func(t *testing.T) {
		burn(t, "<svg onload=1>")
		a := startAgent(t, "--interval", "1s", "--processes", "all", "--store.path", t.TempDir(), "--store.interval", "1s")
		b := open(t, a.URL, desktop, `503`)
		b.visit("#/workloads?kind=process&q=svg&refresh=5")
		b.until("the process by its name", `document.querySelector('.grid-body')?.innerText.includes('<svg onload=1>')`)
		b.innocent()
		b.shot("hostile-process")
	})
}

// innocent fails if anything of a name has become an element.
func (b *tab) innocent() {
	b.t.Helper()
	if found := b.count(`main script, main iframe, main img, main details[ontoggle], [onload], [onerror], main a[href^="javascript:"], main [srcdoc]`); found > 0 {
		b.t.Errorf("%s: %d elements were made of names", b.hash(), found)
	}
}

// TestBackendThatFails: the Prometheus behind the page goes away and comes back.
func TestBackendThatFails(t *testing.T) {
	f := theFleet(t)
	p := startPrometheus(t, "", f.data)
	u := startUI(t, p.URL, "--step", "5m")
	b := open(t, u.URL, desktop, `50[0-9]`)
	b.visit("#/overview?range=1h&refresh=5")
	if n := b.count(".trouble"); n != 0 {
		t.Fatalf("there is trouble from the start: %q", b.texts(".trouble"))
	}
	p.Stop()
	b.until("a message in place", `document.querySelector('main .trouble')`)
	t.Logf("while it is away: %q", b.texts(".trouble"))
	b.shot("backend-away")
	b.accessible("a backend that is away")
	if b.count(`nav[aria-label=Views] a`) < 6 || b.count("[data-panel]") == 0 {
		t.Error("the rest of the page is gone")
	}
	b.click(`nav[aria-label=Views] a[href^="#/health"]`)
	b.until("Health", `location.hash.startsWith('#/health') && document.querySelector('[data-panel]')`)
	b.click(`nav[aria-label=Views] a[href^="#/overview"]`)
	startPrometheus(t, p.Address, f.data)
	b.until("that it comes back by itself", `document.querySelector('[data-panel=power] canvas') && !document.querySelector('main .trouble')`)
}

// TestHistoryThatIsLoading: the page says that the server behind it is not
// ready, in that server's words, and has the figures by itself when it is.
func TestHistoryThatIsLoading(t *testing.T) {
	f := theFleet(t)
	behind, err := url.Parse(startPrometheus(t, "", f.data).URL)
	if err != nil {
		t.Fatal(err)
	}
	var ready atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(behind)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ready.Load() {
			proxy.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"status":"error","errorType":"unavailable","error":"the history is being opened: try again in a few seconds"}`))
	}))
	t.Cleanup(front.Close)
	b := open(t, startUI(t, front.URL, "--step", "5m").URL, desktop, `answer 503`, `status of 503`)
	b.visit(f.at("overview", "24h"))
	b.until("its words", `[...document.querySelectorAll('.trouble')].some((e) => e.innerText.includes('is being opened'))`)
	if b.count(`nav[aria-label=Views] a`) < 6 {
		t.Error("the page is gone")
	}
	ready.Store(true)
	b.until("the figures", `document.querySelectorAll('.trouble').length === 0 && document.querySelector('[data-tile="Energy"]')?.innerText.includes('kWh')`)
}

// TestQuestionsThatGoWrong: ranges in the future, beyond all limits, and none.
func TestQuestionsThatGoWrong(t *testing.T) {
	_, u := startFleet(t)
	b := open(t, u.URL, desktop, `answer 4[0-9][0-9]`, `status of 4[0-9][0-9]`)
	for name, hash := range map[string]string{
		"the future":      "#/%s?range=24h&end=2099-01-01T00:00:00Z&refresh=0",
		"long ago":        "#/%s?range=24h&end=1999-01-01T00:00:00Z&refresh=0",
		"a year":          "#/%s?range=365d&refresh=0",
		"a second":        "#/%s?range=1s&refresh=0",
		"no range at all": "#/%s?range=bananas&end=yesterday&refresh=0",
	} {
		for _, v := range views() {
			b.visit(fmt.Sprintf(hash, v))
			b.innocent()
			if b.count(`nav[aria-label=Views] a`) < 6 || b.count("[data-panel]") == 0 {
				t.Errorf("%s, %s: the page is gone", name, v)
			}
			for _, text := range b.texts(".trouble") {
				if strings.Contains(text, "This part of the page failed") {
					t.Errorf("%s, %s: %s", name, v, text)
				}
			}
			if text := b.text("main"); strings.Contains(text, "NaN") || strings.Contains(text, "undefined") || strings.Contains(text, "Infinity") {
				t.Errorf("%s, %s: the page says NaN, undefined or Infinity", name, v)
			}
		}
	}
}

// TestWithoutHistory: an agent that keeps none says so, and shows now.
func TestWithoutHistory(t *testing.T) {
	a := startAgent(t, "--interval", "1s", "--store.path", "off")
	b := open(t, a.URL, desktop)
	for _, v := range views() {
		b.visit("#/" + v + "?refresh=0")
		b.shot("nohistory-" + v)
		if text := b.text("main"); strings.Contains(text, "NaN") || strings.Contains(text, "undefined") {
			t.Errorf("%s: %s", v, text)
		}
	}
	b.visit("#/overview?refresh=0")
	if text := b.text("body"); !strings.Contains(text, "store.path") {
		t.Errorf("nothing says how to keep a history:\n%s", text)
	}
}

// TestAccessibility lets axe-core look at every view, light and dark, on a desk
// and in a hand, and at what Compare tells of a release.
func TestAccessibility(t *testing.T) {
	f, u := startFleet(t)
	b := open(t, u.URL, desktop)
	everywhere := func(b *tab, name, hash string) {
		b.t.Helper()
		for _, window := range []size{desktop, phone} {
			b.resize(window)
			for _, scheme := range []string{"light", "dark"} {
				b.prefers(scheme)
				b.visit(hash)
				b.accessible(fmt.Sprintf("%s, %s, %d wide", name, scheme, window.width))
			}
		}
	}
	for _, v := range views() {
		everywhere(b, v, f.at(v, "24h"))
	}
	everywhere(b, "detail", f.at("detail", "24h", "kind=workload", "namespace=shop", "workload_kind=Deployment", "workload=frontend"))

	r, u := startRelease(t)
	b = open(t, u.URL, desktop)
	for _, name := range []string{"faster-0", "steady-0"} {
		everywhere(b, "compare of "+name, r.at(name, "24h"))
		if b.count(".verdict") != 1 {
			t.Errorf("nothing is told of %s", name)
		}
	}
}

// TestWeight: what the page costs on the wire, and until something is seen.
func TestWeight(t *testing.T) {
	f, u := startFleet(t)
	b := open(t, u.URL, desktop)
	b.visit(f.at("overview", "24h"))
	b.settle()
	sizes := eval[map[string]float64](b, `(() => {
		const own = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].filter((e) => !new URL(e.name).pathname.startsWith('/api/'));
		return {
			transferred: own.reduce((n, e) => n + e.encodedBodySize, 0), files: own.length,
			paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1,
		};
	})()`)
	t.Logf("the page is %.1f kB in %.0f files, as transferred; the first content is painted after %.0f ms", sizes["transferred"]/1000, sizes["files"], sizes["paint"])
	if sizes["transferred"] > 250_000 || sizes["transferred"] < 10_000 {
		t.Errorf("the page is %.0f bytes, more than 250 kB", sizes["transferred"])
	}
}
