package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"noether/test/e2e/cluster"
)

const (
	// uiHost is where the page's Service is, for those inside the cluster.
	uiHost = "noether-ui.noether.svc:9879"
	// uiPublic is what an Ingress would have in front of it.
	uiPublic = "https://energy.example/noether/"
	// uiPassword is for a Prometheus that asks for one; this one does not.
	uiPassword = "not-to-be-told-either"
)

// uiValues turn the page on, with a password from a Secret.
func uiValues() string {
	return fmt.Sprintf(`
ui:
  enabled: true
  prometheusUrl: %s
  step: %s
  externalUrl: %s
  credentials: {secret: page, files: {PROMETHEUS_PASSWORD_FILE: password}}
  extraEnv: [{name: PROMETHEUS_USERNAME, value: page}]
`, cluster.PrometheusURL, scrapeEvery, uiPublic)
}

// testUI: the page in the cluster shows what the cluster's Prometheus has, and
// may do nothing else.
func (l *lab) testUI(t *testing.T) {
	l.kubectl(t, "rollout", "status", "deployment/noether-ui", "-n", "noether", "--timeout=3m")
	address := net.JoinHostPort(l.kubectl(t, "get", "service", "noether-ui", "-n", "noether", "-o", "jsonpath={.spec.clusterIP}"), "9879")
	t.Run("its pod may do nothing", l.testUIPod)
	t.Run("its Service answers", func(t *testing.T) { l.testUIService(t, address) })
	// A range that is over: nothing is written to it any more.
	end := time.Now().Add(-2 * scrapeEvery).Truncate(time.Second)
	t.Run("its answers are those of Prometheus", func(t *testing.T) { l.testUIAnswers(t, address, end) })
	t.Run("people see the shop's energy", func(t *testing.T) { l.testUIBrowser(t, address, end) })
	t.Run("an agent says where the history is", l.testAgentsPage)
}

func (l *lab) testUIPod(t *testing.T) {
	p := l.component(t, "ui")
	_, id, _ := strings.Cut(p.Status.ContainerStatuses[0].ContainerID, "://")
	pid := l.pidOf(t, "the page", id)
	status := statusOf(t, pid)
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if status[set] != "0000000000000000" {
			t.Errorf("the page has %s %s", set, status[set])
		}
	}
	if status["NoNewPrivs"] != "1" || status["Seccomp"] != "2" || !strings.HasPrefix(status["Uid"], "65532\t65532") {
		t.Errorf("the page has NoNewPrivs %s, Seccomp %s and the uids %s", status["NoNewPrivs"], status["Seccomp"], status["Uid"])
	}
	root := fmt.Sprintf("/proc/%d/root", pid)
	if _, err := os.Stat(root + "/var/run/secrets/kubernetes.io"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the page has a token of Kubernetes: %v", err)
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line) // fstab(5)
		if (fields[1] == "/" || fields[1] == "/secrets") && !slices.Contains(strings.Split(fields[3], ","), "ro") {
			t.Errorf("the page may write: %s", line)
		}
	}
	said := map[string]string{
		"its log":   l.kubectl(t, "logs", "-n", "noether", p.Metadata.Name),
		"an object": l.kubectl(t, "get", "pods,deployments,configmaps,events", "-n", "noether", "-o", "yaml"),
	}
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil || len(text) == 0 {
			t.Errorf("its %s: %d bytes, %v", file, len(text), err)
		}
		said["its "+file] = string(text)
	}
	for where, text := range said {
		if strings.Contains(text, uiPassword) {
			t.Errorf("the password is in %s", where)
		}
	}
	if password, err := os.ReadFile(root + "/secrets/password"); err != nil || string(password) != uiPassword {
		t.Errorf("the Secret in the pod: %d bytes, %v", len(password), err)
	}
	l.keep("ui-log.txt", said["its log"])
	l.keep("ui-pods.txt", l.kubectl(t, "get", "pods,services", "-n", "noether", "-l", "app.kubernetes.io/component=ui"))
}

// request sends one into the cluster, as a browser would.
func (l *lab) request(t *testing.T, method, address string, form url.Values, header http.Header) (int, http.Header, string) {
	t.Helper()
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	} else if form != nil {
		address += "?" + form.Encode()
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	maps.Copy(r.Header, header)
	r.Host = header.Get("Host")
	resp, err := l.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func (l *lab) testUIService(t *testing.T, address string) {
	base := "http://" + address
	byName := http.Header{"Host": {uiHost}}
	for _, path := range []string{"/", "/noether/"} {
		code, header, text := l.request(t, "GET", base+path, nil, byName)
		if code != http.StatusOK || !strings.Contains(text, "<title>Noether</title>") {
			t.Errorf("%s: %d\n%.300s", path, code, text)
		}
		for _, words := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} {
			if policy := header.Get("Content-Security-Policy"); !strings.Contains(policy, words) {
				t.Errorf("%s: the policy %q lacks %s", path, policy, words)
			}
		}
	}
	code, _, text := l.request(t, "GET", base+"/api/noether/v1/page", nil, byName)
	l.keep("ui-page.json", text)
	var info map[string]any
	if err := json.Unmarshal([]byte(text), &info); code != http.StatusOK || err != nil {
		t.Fatalf("what the page is told: %d %v\n%.300s", code, err, text)
	}
	delete(info, "version")
	if now, _ := info["now"].(float64); math.Abs(time.Until(time.UnixMilli(int64(1000*now))).Minutes()) > 5 {
		t.Errorf("it is %v there", info["now"])
	}
	delete(info, "now")
	want := map[string]any{
		"source": "prometheus", "backend": strings.TrimPrefix(cluster.PrometheusURL, "http://"),
		"interval_seconds": scrapeEvery.Seconds(), "step_seconds": scrapeEvery.Seconds(), "long": nil, "retention_seconds": nil,
		"snapshot": false, "check": false, "forecast": false,
	}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Errorf("what the page is told (- want, + got):\n%s", diff)
	}
	var refused strings.Builder
	for _, c := range []struct {
		method, path string
		form         url.Values
		header       http.Header
		code         int
		sentence     string
	}{
		{"GET", "/api/noether/v1/snapshot", nil, byName, 404, "this server does not measure: ask the agent of the machine"},
		{"GET", "/api/noether/v1/check", nil, byName, 404, "this server does not measure: ask the agent of the machine"},
		{"POST", "/api/v1/query", url.Values{"query": {"sum("}}, byName, 400, "parse error"},
		{"POST", "/api/v1/admin/tsdb/delete_series", url.Values{"match[]": {"up"}}, byName, 404, ""},
		{"GET", "/api/v1/status/config", nil, byName, 404, ""},
	} {
		code, _, text := l.request(t, c.method, base+c.path, c.form, c.header)
		var told struct{ Status, Error string }
		if err := json.Unmarshal([]byte(text), &told); code != c.code || err != nil || told.Status != "error" || told.Error == "" || !strings.Contains(told.Error, c.sentence) {
			t.Errorf("%s %s: %d %q, want %d and %q", c.method, c.path, code, text, c.code, c.sentence)
		}
		fmt.Fprintf(&refused, "%s %s\n%s", c.method, c.path, text)
	}
	l.keep("ui-refused.txt", refused.String())
	// Through an Ingress, whose name the browser has for the page's origin.
	query := url.Values{"query": {"vector(1)"}}
	for origin, want := range map[string]int{"https://energy.example": http.StatusOK, "https://elsewhere.example": http.StatusForbidden} {
		if code, _, text := l.request(t, "POST", base+"/noether/api/v1/query", query, http.Header{"Host": {"noether-ui"}, "Origin": {origin}}); code != want {
			t.Errorf("a query of a page of %s: %d %.200s, want %d", origin, code, text, want)
		}
	}
	l.testPortForward(t)
}

// testPortForward: the notes' way to the page.
func (l *lab) testPortForward(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cmd := l.Command(ctx, "kubectl", "port-forward", "-n", "noether", "service/noether-ui", "9879")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := l.Spawn(cmd); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the page on a port of one's own", func() error {
		resp, err := l.client.Get("http://127.0.0.1:9879/api/v1/query?query=count(noether_node_info)")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), `"1"]`) {
			return fmt.Errorf("%s %w %.200s", resp.Status, err, text)
		}
		return nil
	})
	cancel()
	cmd.Wait()
	l.keep("ui-port-forward.txt", said.String())
}

// asked is a question of the page, as its own list has it.
type asked struct {
	Name, Expr, Type string
	Step             float64 `json:"step"`
	Range            float64 `json:"range_seconds"`
}

// testUIAnswers asks both what the page asks for an hour, and compares all digits.
func (l *lab) testUIAnswers(t *testing.T, address string, end time.Time) {
	text, err := os.ReadFile("../../../ui/src/lib/queries.golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []asked
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	var excerpt strings.Builder
	compared, series := 0, map[string]int{}
	for _, q := range list {
		// Scores are written for a time that is over.
		if q.Range != 3600 || strings.Contains(q.Expr, "noether_impact_") || strings.Contains(q.Expr, "noether:5m:") {
			continue
		}
		path, form := "/api/v1/query", url.Values{"query": {q.Expr}, "time": {strconv.FormatInt(end.Unix(), 10)}}
		if q.Type == "range" {
			path, form = "/api/v1/query_range", url.Values{"query": {q.Expr}, "start": {strconv.FormatInt(end.Add(-10*time.Minute).Unix(), 10)}, "end": {strconv.FormatInt(end.Unix(), 10)}, "step": {"15"}}
		}
		_, _, direct := l.request(t, "GET", cluster.PrometheusURL+path, form, nil)
		code, _, through := l.request(t, "POST", "http://"+address+path, form, http.Header{"Host": {uiHost}})
		want, got := resultOf(t, direct), resultOf(t, through)
		if diff := cmp.Diff(want, got); diff != "" || code != http.StatusOK {
			t.Errorf("%s, %s (- Prometheus, + page): %d\n%s", q.Name, q.Expr, code, diff)
		}
		compared++
		series[q.Name] = len(got)
		if q.Name == "owners.joules workload" {
			for _, name := range []string{`"workload":"frontend","workload_kind":"Deployment"`, `"workload":"orders","workload_kind":"StatefulSet"`, `"workload":"till","workload_kind":"StaticPod"`} {
				if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, `"namespace":"shop"`) && strings.Contains(s, name) }) {
					t.Errorf("the page hears nothing of %s", name)
				}
			}
			fmt.Fprintf(&excerpt, "%s\n%s\n", q.Expr, strings.Join(got, "\n"))
		}
	}
	for name, least := range map[string]int{
		"node.joules": 2, "node.grams": 1, "grid.now": 1, "owners.joules namespace": 3, "owners.joules workload": 12, "owners.joules pod": 14,
		"owners.joules container": 14, "owners.grams namespace": 3, "owners.grams workload": 12, "owners.grams pod": 14, "agents.balance": 5,
	} {
		if series[name] < least {
			t.Errorf("%s has %d series, want at least %d", name, series[name], least)
		}
	}
	if compared < 40 {
		t.Errorf("%d questions of the page were compared", compared)
	}
	l.keep("ui-queries.txt", excerpt.String())
	t.Logf("%d questions of the page, each answered as by Prometheus", compared)
}

// resultOf are the series of an answer as they are written, in one order.
func resultOf(t *testing.T, text string) []string {
	t.Helper()
	var a struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil || a.Status != "success" {
		t.Fatalf("%v: %.300s", err, text)
	}
	var out []string
	for _, r := range a.Data.Result {
		out = append(out, string(r))
	}
	slices.Sort(out)
	return out
}

// forward listens on this machine for an address of the cluster.
func (l *lab) forward(t *testing.T, address string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				far, err := l.Dial(context.Background(), "tcp", address)
				if err != nil {
					return
				}
				defer far.Close()
				go io.Copy(far, near)
				io.Copy(near, far)
			}()
		}
	}()
	return listener.Addr().String()
}

// testUIBrowser opens the page at the name of its Service and compares what
// stands there with Prometheus.
func (l *lab) testUIBrowser(t *testing.T, address string, end time.Time) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs chromium (Debian: apt-get install chromium): %v", err)
		}
		t.Skipf("needs chromium (Debian: apt-get install chromium): %v", err)
	}
	allocator, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1400, 1000), chromedp.Env("TZ=UTC"),
		chromedp.Flag("host-resolver-rules", "MAP "+uiHost+" "+l.forward(t, address)+", MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))...)
	defer stop()
	faults := make(chan string, 100)
	fault := func(format string, args ...any) {
		select {
		case faults <- fmt.Sprintf(format, args...):
		default:
		}
	}
	tab, closeTab := chromedp.NewContext(allocator, chromedp.WithListener(func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			fault("exception: %s", e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			fault("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		case *network.EventResponseReceived:
			if e.Response.Status >= 400 {
				fault("answer %d: %s", e.Response.Status, e.Response.URL)
			}
		}
	}))
	defer closeTab()
	if err := chromedp.Do(tab); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	eval := func(script string) string {
		ctx, cancel := context.WithTimeout(tab, 30*time.Second)
		defer cancel()
		text, err := chromedp.Run(ctx, chromedp.Evaluate[string](script))
		if err != nil {
			t.Fatalf("%s: %v", script, err)
		}
		return text
	}
	visit := func(view, ready string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(tab, patience)
		defer cancel()
		if err := chromedp.Do(ctx, chromedp.Navigate("http://"+uiHost+"/#/"+view+"?range=15m&refresh=off&end="+end.UTC().Format(time.RFC3339))); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the view "+view, func() error {
			if eval(`String(!!document.querySelector(`+strconv.Quote(ready)+`) && !document.querySelector('[aria-busy=true]'))`) != "true" {
				return errors.New(eval(`location.href + '\n' + document.body.innerText.slice(0, 1000)`))
			}
			return nil
		})
		png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		l.keep("page-"+view+".png", string(png))
	}

	visit("overview", ".top-list tbody tr:nth-child(5)")
	var rows []struct{ Name, Kind, Where, Title, Shown string }
	if err := json.Unmarshal([]byte(eval(`JSON.stringify([...document.querySelectorAll('.top-list tbody tr:not(.rest)')].map((r) => ({
		name: r.querySelector('.who a').innerText, kind: r.querySelector('.kind').innerText, where: r.querySelector('.where')?.innerText.trim() ?? '',
		title: r.querySelector('.figure').title, shown: r.querySelector('.figure > span:not(.sr)').innerText})))`)), &rows); err != nil {
		t.Fatal(err)
	}
	truth := l.prometheus.by(t, `sum by (namespace, workload) (increase(noether_workload_joules_total{workload!=""}[15m]))`, end, "namespace", "workload")
	seen := 0
	for _, r := range rows {
		if r.Where != "shop" {
			continue
		}
		seen++
		digits, _, _ := strings.Cut(r.Title, " J")
		got, err := strconv.ParseFloat(digits, 64)
		if want := truth["shop/"+r.Name]; err != nil || want == 0 || math.Abs(got/want-1) > 1e-12 {
			t.Errorf("%s %s: the page shows %q, which is %q; Prometheus says %v J", r.Kind, r.Name, r.Shown, r.Title, want)
		}
		if !strings.HasPrefix(r.Shown, "~") || !strings.Contains(r.Title, "estimated") {
			t.Errorf("%s, which is estimated on this machine, is shown as %q, %q", r.Name, r.Shown, r.Title)
		}
	}
	t.Logf("the shop on the overview: %+v", rows)
	if seen < 4 {
		t.Errorf("%d workloads of the shop among the greatest", seen)
	}

	visit("flow", "[data-spot]")
	var spots []string
	if err := json.Unmarshal([]byte(eval(`JSON.stringify([...document.querySelectorAll('[data-spot]')].map((s) => s.getAttribute('aria-label')))`)), &spots); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(spots, func(s string) bool { return strings.HasPrefix(s, "shop, ") })
	if i < 0 {
		t.Fatalf("the shop is not in the flow: %q", spots)
	}
	m := regexp.MustCompile(`~([0-9.]+) (m?)Wh`).FindStringSubmatch(spots[i])
	if m == nil {
		t.Fatalf("the shop's energy is not in the flow: %q", spots[i])
	}
	shop, _ := strconv.ParseFloat(m[1], 64)
	if m[2] == "m" {
		shop /= 1000
	}
	// Of Jobs that came and went increase() makes more than the machine used, by
	// which the flow scales all owners.
	near(t, "watt-hours of the shop in the flow", shop, l.prometheus.one(t, `sum(increase(noether_namespace_joules_total{namespace="shop"}[15m]))`, end)/3600, 0.05)
	t.Logf("the flow: %q", spots[i])
	for len(faults) > 0 {
		t.Errorf("the browser says: %s", <-faults)
	}
}

// testAgentsPage: an agent of the cluster has the page too, and no history of
// its own.
func (l *lab) testAgentsPage(t *testing.T) {
	for _, a := range []*agent{l.api, l.kubelet} {
		base := a.url(t)
		var info struct {
			Source, Reason, Node string
			Snapshot, Check      bool
		}
		_, _, text := l.request(t, "GET", base+"/api/noether/v1/page", nil, nil)
		l.keep("agent-page-"+a.release+".json", text)
		if err := json.Unmarshal([]byte(text), &info); err != nil || info.Source != "none" || info.Node != l.Node || !info.Snapshot || !info.Check ||
			!strings.Contains(info.Reason, "noether ui") || !strings.Contains(info.Reason, "--store.path") {
			t.Errorf("the page of %s is told: %v %s", a.release, err, text)
		}
		if code, _, text := l.request(t, "GET", base+"/", nil, nil); code != http.StatusOK || !strings.Contains(text, "<title>Noether</title>") {
			t.Errorf("the page of %s: %d\n%.300s", a.release, code, text)
		}
		if code, _, text := l.request(t, "GET", base+"/api/v1/query", url.Values{"query": {"up"}}, nil); code != http.StatusNotFound || !strings.Contains(text, "noether ui") {
			t.Errorf("a query of %s: %d %s", a.release, code, text)
		}
		var check struct {
			Sensors []struct {
				Name   string
				Chosen bool
			}
			Store struct{ State, Reason string }
			Agent struct {
				Imbalance *float64 `json:"imbalance_joules"`
			}
		}
		code, _, text := l.request(t, "GET", base+"/api/noether/v1/check", nil, nil)
		if err := json.Unmarshal([]byte(text), &check); code != http.StatusOK || err != nil || len(check.Sensors) == 0 || check.Store.State != "off" || check.Agent.Imbalance == nil || *check.Agent.Imbalance != 0 {
			t.Errorf("Health of %s: %d %v %s", a.release, code, err, text)
		}
	}
}
