package e2e

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"noether/internal/export/balance"
	"noether/test/machine"
)

// onMachine are the settings of an agent that looks at a simulated machine.
func onMachine(m *machine.Machine, more ...string) []string {
	return append([]string{"--root", m.Root(), "--interval", tick.String(), "--sensor", "powercap", "--usage", "procfs", "--processes", "all", "--node-name", "n1"}, more...)
}

// startIn starts an agent with more in the environment.
func startIn(t *testing.T, env []string, args ...string) *agent {
	t.Helper()
	return startAt(t, freeAddress(t), append([]string{"env"}, env...), args...)
}

// startHub starts noether carbon exporter and waits until it has a figure.
func startHub(t *testing.T, env []string, args ...string) *server {
	t.Helper()
	address := freeAddress(t)
	argv := append(slices.Clone(env), binary, "carbon", "exporter", "--listen", address)
	return startServer(t, address, "/readyz", nil, "env", append(argv, args...)...)
}

// nanograms returns the exact sum of the samples of a family.
func (p *page) nanograms(name string, labels ...string) (sum int64) {
	for _, s := range p.find(name, labels...) {
		m, err := balance.Nanograms(s.Value)
		if err != nil {
			panic(fmt.Sprintf("%s: %v", s.Series, err))
		}
		sum += int64(m)
	}
	return sum
}

// product returns a*b*c/divisor rounded down.
func product(a, b, c, divisor int64) int64 {
	n := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
	n.Mul(n, big.NewInt(c))
	return n.Div(n, big.NewInt(divisor)).Int64()
}

// awaitProvider waits until the intensity is a provider's.
func (a *agent) awaitProvider(name string, intensity float64) (p *page) {
	a.t.Helper()
	a.await(fmt.Sprintf("%v g/kWh by %s", intensity, name), func() bool {
		p = a.scrape()
		return p.value("noether_grid_carbon_intensity_grams_per_kwh", "provider", name) == intensity
	})
	return p
}

// TestCarbonFromProviderToPod: a provider on the internet, an exporter that
// asks it, an agent that reads the exporter, and a Prometheus that scrapes
// both. What the machine used is known, so every gram and cent is.
func TestCarbonFromProviderToPod(t *testing.T) {
	t.Parallel()
	f := newProviders(t)
	f.set("DE", 321.5)
	f.set("FR", 56.25)
	hub := startHub(t, f.env, "--zone", "DE", "--zone", "FR", "--provider", "electricitymaps", "--token-file", tokenFile(t, f.key))

	m := node(t, machine.V2, true)
	before := time.Now()
	a := startIn(t, f.env, onMachine(m, "--grid.zone", "DE", "--grid.hub", hub.url, "--pue", "1.25",
		"--price.per-kwh", "0.3", "--price.currency", "EUR", "--embodied.kg", "1000")...)
	a.awaitProvider("electricitymaps", 321.5) // nothing was used before

	r := rand.New(rand.NewPCG(7, 7))
	for range 4 {
		s := random(r, m)
		_, p, _ := a.between(func() { m.Advance(s) })
		for _, w := range p.find("noether_node_watts") {
			labels := []string{"component", w.Labels["component"], "part", w.Labels["part"]}
			if got, want := p.value("noether_node_facility_watts", labels...), number(w)*1.25; math.Abs(got-want) > 2e-6 {
				t.Errorf("%s is %s W and %v W at the meter of the site, want %v", labels, w.Value, got, want)
			}
		}
	}
	p := a.skip(2)
	used := p.joules("noether_node_joules_total")
	// µJ × 10⁻⁶ of PUE × µg/kWh ÷ 3.6×10¹⁵ are nanograms.
	if got, want := p.nanograms("noether_node_co2e_grams_total", "phase", "operational"), product(used, 1_250_000, 321_500_000, 3_600_000_000_000_000); got != want || used == 0 {
		t.Errorf("%d uJ emitted %d ng, want %d", used, got, want)
	}
	if got, want := p.nanograms("noether_node_energy_cost_total", "currency", "EUR"), product(used, 1_250_000, 300_000_000, 3_600_000_000_000_000_000); got != want {
		t.Errorf("%d uJ cost %d billionths, want %d", used, got, want)
	}
	if e := p.joules("noether_node_co2e_unknown_joules_total"); e != 0 {
		t.Errorf("%d uJ without an intensity", e)
	}
	perSecond := 1e15 / p.value("noether_node_embodied_lifetime_seconds")
	got := float64(p.nanograms("noether_node_co2e_grams_total", "phase", "embodied"))
	least, most := float64(p.ticks()-2)*tick.Seconds()*perSecond*0.9, time.Since(before).Seconds()*perSecond
	if got < least || got > most {
		t.Errorf("embodied: %v ng in %d ticks and %v, want %v to %v", got, p.ticks(), time.Since(before), least, most)
	}

	t.Run("prometheus", func(t *testing.T) { inPrometheus(t, a, hub, p) })
}

// inPrometheus asks a real Prometheus for what the page of an agent says.
func inPrometheus(t *testing.T, a *agent, hub *server, p *page) {
	config := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs:\n"+
		"  - {job_name: noether, static_configs: [{targets: [%q]}]}\n  - {job_name: hub, static_configs: [{targets: [%q]}]}\n",
		a.address, strings.TrimPrefix(hub.url, "http://"))
	s := startPrometheus(t, promOptions{config: config})
	one := func(query string) float64 {
		t.Helper()
		for _, v := range s.query(query, time.Now()) {
			return v
		}
		return math.NaN()
	}
	const grams = `sum(noether_node_co2e_grams_total{phase="operational"})`
	want := float64(p.nanograms("noether_node_co2e_grams_total", "phase", "operational")) / 1e9
	a.await("both pages in Prometheus", func() bool {
		return one(grams) == want && one(`count(noether_grid_carbon_intensity_grams_per_kwh{job="hub"})`) == 2
	})
	const owners = `sum(noether_pod_co2e_grams_total{phase=%[1]q}) + sum(noether_container_co2e_grams_total{pod_uid="",phase=%[1]q}) + sum(noether_vm_co2e_grams_total{phase=%[1]q}) +
		sum(noether_unit_co2e_grams_total{phase=%[1]q}) + sum(noether_session_co2e_grams_total{phase=%[1]q}) + sum(noether_system_co2e_grams_total{phase=%[1]q}) + sum(noether_retired_co2e_grams{phase=%[1]q})`
	for query, c := range map[string]struct{ want, within float64 }{
		// Grams are energy at the meter of the site times the intensity that the exporter shows.
		grams + ` - sum(noether_node_joules_total) / 3.6e6 * max(noether_pue_ratio) * max(noether_grid_carbon_intensity_grams_per_kwh{job="hub",grid_zone="DE"})`: {0, 1e-6},
		fmt.Sprintf(owners, "operational") + " - " + grams:                                                                            {0, 1e-9},
		fmt.Sprintf(owners, "embodied") + ` - sum(noether_node_co2e_grams_total{phase="embodied"})`:                                   {0, 1e-9},
		`sum(noether_node_energy_cost_total) - sum(noether_node_joules_total) / 3.6e6 * 1.25 * 0.3`:                                   {0, 1e-9},
		`noether_grid_carbon_intensity_grams_per_kwh{job="hub",grid_zone="FR",provider="electricitymaps",estimated="false"}`:          {56.25, 0},
		`noether_grid_forecast_grams_per_kwh{job="noether",grid_zone="DE",horizon="3h"}`:                                              {321.5, 0},
		`sum(noether_node_embodied_grams)`:                                                                                            {1e6, 1e-6},
		`noether_site_source_up{job="hub",source="electricitymaps",grid_zone="FR"}`:                                                   {1, 0},
		`time() - noether_grid_carbon_intensity_updated_timestamp_seconds{job="noether"} < bool 3600`:                                 {1, 0},
		`count(count by (provider, estimated) (noether_grid_carbon_intensity_grams_per_kwh{job="noether"}))`:                          {1, 0},
		`max(noether_node_co2e_revision_grams) + max(noether_node_co2e_unknown_joules_total) + max(noether_node_energy_credit_total)`: {0, 0},
	} {
		if got := one(query); !(math.Abs(got-c.want) <= c.within) {
			t.Errorf("%s: %v, want %v", query, got, c.want)
		}
	}

	// Another agent takes intensity, PUE and price from this Prometheus. It is
	// paid for what it uses.
	m := node(t, machine.V2, false)
	b := start(t, onMachine(m, "--grid.zone", "FR", "--grid.provider", "prometheus", "--prometheus-url", s.url,
		"--grid.query", `noether_grid_carbon_intensity_grams_per_kwh{job="hub",grid_zone="{zone}"}`,
		"--pue", "query:avg(noether_pue_ratio)+0.25", "--price.per-kwh", "query:vector(-0.05)", "--price.currency", "EUR", "--embodied.kg", "off")...)
	b.awaitProvider("prometheus", 56.25)
	b.await("PUE and price", func() bool {
		p := b.scrape()
		return p.value("noether_pue_ratio", "source", "query") == 1.5 && p.value("noether_energy_price_per_kwh") == -0.05
	})
	toil(m, 100, 101)
	q := b.skip(2)
	used := q.joules("noether_node_joules_total")
	if got, want := q.nanograms("noether_node_co2e_grams_total"), product(used, 1_500_000, 56_250_000, 3_600_000_000_000_000); got != want || used == 0 {
		t.Errorf("%d uJ emitted %d ng, want %d", used, got, want)
	}
	if got, want := q.nanograms("noether_node_energy_credit_total"), product(used, 1_500_000, 50_000_000, 3_600_000_000_000_000_000); got != want || q.nanograms("noether_node_energy_cost_total") != 0 {
		t.Errorf("%d uJ earned %d billionths, want %d", used, got, want)
	}
}

// TestCarbonLeavesEnergyAlone: the same machine does the same before an agent
// that knows everything about grams, and before one that knows nothing. Not a
// microjoule differs.
func TestCarbonLeavesEnergyAlone(t *testing.T) {
	t.Parallel()
	lines := func(seed uint64, more ...string) (joules string, clean bool) {
		m := node(t, machine.V2, true)
		a := start(t, onMachine(m, more...)...)
		r := rand.New(rand.NewPCG(seed, 1))
		clean = true
		for range 3 {
			s := random(r, m)
			_, _, whole := a.between(func() { m.Advance(s) })
			clean = clean && whole
		}
		var out []string
		p := a.skip(1)
		for _, s := range p.samples {
			if strings.Contains(s.Name, "_joules") && s.Name != "noether_node_co2e_unknown_joules_total" {
				out = append(out, s.Series+" "+s.Value)
			}
			if len(more) == 0 && regexp.MustCompile("co2e|_grid_|_site_|cost|pue|facility|embodied").MatchString(s.Name) {
				t.Errorf("nobody has said where the machine is, and there is %s", s.Series)
			}
		}
		slices.Sort(out)
		a.stop()
		return strings.Join(out, "\n"), clean
	}
	for seed := range uint64(4) {
		without, cleanWithout := lines(seed)
		with, cleanWith := lines(seed, "--grid.zone", "DE", "--grid.provider", "fixed:321.5", "--pue", "1.25", "--price.per-kwh", "Europe/Berlin 00:00=0.2 06:00=-0.1", "--price.currency", "EUR", "--embodied.kg", "1000")
		if !cleanWithout || !cleanWith {
			continue // a tick fell into a change of the machine
		}
		if with != without {
			t.Errorf("seed %d: with grams:\n%s\nwithout:\n%s", seed, with, without)
		}
		return
	}
	t.Skip("the machine is too slow: a tick fell into a change of the simulated machine each time")
}

// TestCarbonWithoutItsProvider: one that limits, one that refuses the key and
// one that estimates. The next of the chain answers, one line says so, and
// nobody insists.
func TestCarbonWithoutItsProvider(t *testing.T) {
	t.Parallel()
	table := filepath.Join(t.TempDir(), "de.csv")
	hours(t, table, time.Now().Truncate(time.Hour).Add(-2*time.Hour), 200, 200, 200, 200, 200)
	const wrong = "wrong-key-5c1d7e"
	for name, c := range map[string]struct {
		change    func(*providers)
		key       string // the right one if empty
		provider  string
		intensity float64
		estimated string
		up        float64
		why       string
	}{
		"limits":           {func(f *providers) { f.limited = true }, "", "file", 200, "false", 0, "asks to wait 1h0m0s"},
		"refuses the key":  {func(*providers) {}, wrong, "file", 200, "false", 0, "refuses the credentials"},
		"estimates":        {func(f *providers) { f.estimated = true }, "", "electricitymaps", 321.5, "true", 1, ""},
		"lacks the zone":   {func(f *providers) { delete(f.intensity, "DE") }, "", "file", 200, "false", 0, "plan of this key"},
		"says what is odd": {func(f *providers) { f.intensity["DE"] = -7 }, "", "file", 200, "false", 0, "is no carbon intensity"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newProviders(t)
			f.set("DE", 321.5)
			c.change(f)
			key := f.key
			if c.key != "" {
				key = c.key
			}
			m := node(t, machine.V2, false)
			a := startIn(t, f.env, onMachine(m, "--grid.zone", "DE", "--grid.provider", "electricitymaps", "--grid.provider", "file:"+table, "--grid.token-file", "electricitymaps="+tokenFile(t, key))...)
			a.awaitProvider(c.provider, c.intensity)
			toil(m, 100, 101)
			p := a.skip(3)
			if got := p.find("noether_grid_carbon_intensity_grams_per_kwh"); len(got) != 1 || got[0].Labels["estimated"] != c.estimated || got[0].Labels["grid_zone"] != "DE" {
				t.Errorf("%v, want one, estimated %s", got, c.estimated)
			}
			if up := p.find("noether_site_source_up", "source", "electricitymaps"); len(up) != 1 || number(up[0]) != c.up {
				t.Errorf("%v, want %v", up, c.up)
			}
			if n := f.requests("/latest", "DE"); n != 1 {
				t.Errorf("the present was asked for %d times within seconds", n)
			}
			if c.up == 0 && p.value("noether_site_source_failures_total", "source", "electricitymaps") != 1 {
				t.Errorf("%v", p.find("noether_site_source_failures_total"))
			}
			log := a.log.String()
			if n := strings.Count(log, "source of the carbon intensity"); n != 1 || !strings.Contains(log, c.why) {
				t.Errorf("%d lines about one change, want %q in one:\n%s", n, c.why, log)
			}
			if e := p.joules("noether_node_joules_total"); p.nanograms("noether_node_co2e_grams_total", "phase", "operational") == 0 || e == 0 {
				t.Errorf("%d uJ and no gram", e)
			}
			keeps(t, a.cmd.Process.Pid, key, log, string(p.text))
		})
	}
}

// hours writes a table with an intensity of DE for each hour from a time on.
func hours(t *testing.T, path string, from time.Time, intensities ...int) {
	t.Helper()
	var rows strings.Builder
	rows.WriteString("timestamp,zone,gCO2e/kWh\n")
	for i, v := range intensities {
		fmt.Fprintf(&rows, "%s,DE,%d\n", from.Add(time.Duration(i)*time.Hour).UTC().Format(time.RFC3339), v)
	}
	if err := os.WriteFile(path, []byte(rows.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// keeps fails if a secret is in a text, or in what others see of a process.
func keeps(t *testing.T, pid int, secret string, texts ...string) {
	t.Helper()
	for _, file := range []string{"cmdline", "environ"} {
		if pid == 0 {
			break
		}
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
		if err != nil || len(b) == 0 {
			t.Errorf("look at the process: %v", err)
		}
		texts = append(texts, string(b))
	}
	words := []string{secret}
	if _, password, ok := strings.Cut(secret, ":"); ok {
		words = append(words, password)
	}
	for _, text := range texts {
		for _, word := range words {
			if at := strings.Index(text, word); at >= 0 {
				t.Errorf("a secret is told: …%q", text[max(0, at-80):min(len(text), at+len(word))])
			}
		}
	}
}

// TestCarbonCommandsKeepSecrets: every command with a key that is refused by a
// server that repeats it, and with one that is none. No word of it is told.
func TestCarbonCommandsKeepSecrets(t *testing.T) {
	t.Parallel()
	f := newProviders(t)
	f.set("DE", 321.5)
	const key, account = "wrong-key-5c1d7e", "somebody:wrong-pass-e90a44"
	file, login := tokenFile(t, key), tokenFile(t, account)
	odd := tokenFile(t, key+"\nand more")
	for _, command := range [][]string{{"now"}, {"history"}, {"forecast"}, {"best"}, {"zones"}} {
		for _, how := range [][]string{
			{"--provider", "electricitymaps", "--token-file", file},
			{"--provider", "electricitymaps", "--token-file", odd},
			{"--provider", "watttime", "--token-file", login, "--grid.factor", "direct"},
			{"--provider", "electricitymaps", "--log.level", "debug"}, // the key is in the environment
		} {
			args := append([]string{"carbon"}, command...)
			if command[0] != "zones" {
				args = append(args, "--zone", "DE")
			}
			args = append(args, how...)
			env := f.env
			if len(how) == 4 && how[2] == "--log.level" {
				env = append(slices.Clone(env), "ELECTRICITYMAPS_TOKEN="+key)
			}
			code, out, errs := runsIn(t, env, args...)
			line := strings.Join(args, " ")
			if code == 0 && command[0] == "zones" && how[1] == "watttime" {
				continue // it lists none, and asks nobody
			}
			if errs == "" || code != 0 && !regexp.MustCompile("credentials|token|does not (forecast|list)|lists none|no zones").MatchString(errs) {
				t.Errorf("%s: code %d, and nobody says why:\n%s%s", line, code, out, errs)
			}
			for _, secret := range []string{key, account} {
				keeps(t, 0, secret, out, errs)
			}
		}
	}
	hub := startHub(t, f.env, "--zone", "DE", "--provider", "electricitymaps", "--token-file", file)
	for _, path := range []string{"/metrics", "/api/noether/v1/forecast?zone=DE", "/"} {
		code, body := fetch(t, hub.url+path)
		if code != http.StatusOK || !strings.Contains(body, "DE") {
			t.Errorf("GET %s: %d %s", path, code, body)
		}
		keeps(t, hub.pid, key, hub.log.String(), body)
	}
}

// TestCarbonBestInAShell runs the lines that the manual shows, with a table for
// the provider and a word for the work: it begins when the greenest hour does.
func TestCarbonBestInAShell(t *testing.T) {
	t.Parallel()
	shell := needProgram(t, "sh", "dash")
	manual, err := os.ReadFile("../../docs/carbon.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(dir, "noether")); err != nil {
		t.Fatal(err)
	}
	green := time.Now().Add(4 * time.Second).UTC().Truncate(time.Second)
	hours(t, filepath.Join(dir, "de.csv"), green.Add(-2*time.Hour), 400, 400, 100, 400, 400)
	run := func(line string) (code int, out string) {
		cmd := exec.Command(shell, "-c", line)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "TZ=UTC")
		b, err := cmd.CombinedOutput()
		if err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(b)
	}
	seen := 0
	replace := strings.NewReplacer("energy-charts", "file:de.csv", "make nightly", "echo worked", "./work-off-the-queue", "echo worked", "at -t", "echo at")
	for line := range strings.Lines(string(manual)) {
		if !strings.Contains(line, "noether carbon best") || !strings.Contains(line, "energy-charts") {
			continue
		}
		seen++
		code, out := run(replace.Replace(line))
		switch {
		case strings.HasPrefix(line, "sleep"):
			if late := time.Since(green); code != 0 || out != "worked\n" || late < 0 {
				t.Errorf("%scode %d: %s, %v after the greenest hour began", line, code, out, late)
			}
		case strings.Contains(line, "at -t"):
			at, err := time.Parse("200601021504.05", strings.TrimPrefix(strings.TrimSpace(out), "at "))
			if code != 0 || err != nil || at.Before(green) || time.Until(at) > 2*time.Second {
				t.Errorf("%scode %d: %s, want %s or now", line, code, out, green)
			}
		case strings.Contains(line, "--if-now"):
			if code != 0 || out != "worked\n" { // the hour has begun: now is best
				t.Errorf("%scode %d: %s", line, code, out)
			}
		}
	}
	if seen < 3 {
		t.Errorf("the manual shows %d lines for scripts", seen)
	}
}

// TestCarbonThatHangs: whoever is asked takes the question and never answers.
// Energy is counted as ever, the first page comes as soon, and the end does.
func TestCarbonThatHangs(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // what has connected waits in its queue
	url := "http://" + l.Addr().String()
	m := node(t, machine.V2, false)
	a := start(t, onMachine(m, "--grid.zone", "DE", "--grid.hub", url, "--prometheus-url", url, "--pue", "query:pue", "--price.per-kwh", "query:price", "--price.currency", "EUR")...)
	toil(m, 100, 101)
	p := a.skip(3)
	if n := p.value("noether_ticks_missed_total"); n != 0 {
		t.Errorf("%v ticks are missed", n)
	}
	// The yearly average stands in, and a site of which nobody knows more than that.
	if p.joules("noether_node_joules_total") == 0 || p.nanograms("noether_node_co2e_grams_total", "phase", "operational") == 0 ||
		p.value("noether_pue_ratio", "source", "default") != 1 || len(p.find("noether_energy_price_per_kwh")) != 0 {
		t.Errorf("while nobody answers:\n%s", p.text)
	}
	begin := time.Now()
	a.stop()
	if d := time.Since(begin); d > 8*time.Second { // an answer is waited for 10 s
		t.Errorf("it ended after %v", d)
	}
}

// TestCarbonOverIPv6: the exporter and the agent meet on [::1].
func TestCarbonOverIPv6(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("needs IPv6: %v", err)
	}
	address := l.Addr().String()
	l.Close()
	hub := startServer(t, address, "/readyz", nil, binary, "carbon", "exporter", "--listen", address, "--zone", "DE", "--provider", "fixed:123.456789")
	m := node(t, machine.V2, false)
	start(t, onMachine(m, "--grid.zone", "DE", "--grid.hub", hub.url)...).awaitProvider("fixed", 123.456789)
	if code, out, errs := runs(t, "carbon", "now", "--zone", "DE", "--hub", hub.url, "--csv"); code != 0 || !strings.Contains(out, "123.456789,fixed") {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
}
