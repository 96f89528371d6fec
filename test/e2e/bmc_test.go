package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"noether/internal/sensor/redfish/redfishtest"
	"noether/test/machine"
)

// rack is a machine whose BMC measures all of it. It runs by the clock of the
// wall, since a BMC tells watts and not joules.
type rack struct {
	*machine.Machine
	bmc *redfishtest.BMC

	stop            func()
	mu              sync.Mutex
	package0, board uint64 // watts
}

const (
	meterPath = "/redfish/v1/Chassis/1U/EnvironmentMetrics"
	dramWatts = 10
)

// startRack starts a machine that uses energy until the test ends. Its BMC is
// a second late.
func startRack(t *testing.T, r *rack) {
	t.Helper()
	done := make(chan struct{})
	var running sync.WaitGroup
	var once sync.Once
	r.stop = func() { once.Do(func() { close(done); running.Wait() }) }
	t.Cleanup(r.stop)
	running.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		last := time.Now()
		late := make([]uint64, 10)
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			r.mu.Lock()
			watts, all := r.package0, r.package0+dramWatts+r.board
			r.mu.Unlock()
			elapsed := time.Since(last)
			last = last.Add(elapsed)
			us := uint64(elapsed.Microseconds())
			r.Advance(machine.Step{
				Energy: map[string]uint64{"intel-rapl:0": watts * us, "intel-rapl:0:0": dramWatts * us},
				CPU:    map[int]time.Duration{100: machine.Tick}, Idle: 10 * machine.Tick,
			})
			r.bmc.Set(meterPath, redfishtest.Environment(float64(late[0])))
			late = append(late[1:], all)
			if late[0] == 0 {
				late[0] = all
			}
		}
	})
}

func (r *rack) use(package0, board uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.package0, r.board = package0, board
}

// settings of an agent that asks the BMC each second.
func (r *rack) settings(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte(redfishtest.User+":"+redfishtest.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{
		"--root", r.Root(), "--usage", "procfs", "--redfish.url", strings.Replace(r.bmc.URL, "127.0.0.1", "{node}", 1), "--node-name", "localhost",
		"--redfish.credentials-file", file, "--redfish.ca-file", r.bmc.CAFile, "--redfish.interval", "1s",
	}
}

// metered tells whether a page has what the machine uses beside RAPL.
func (p *page) metered() bool { return len(p.find("noether_node_watts", "component", "other")) > 0 }

// sum returns the energy of all components, and that of the BMC's zone.
func (p *page) sum() (components, meter int64) {
	return p.joules("noether_node_joules_total"), p.joules("noether_zone_joules_total", "sensor", "redfish")
}

// A BMC that is away when the agent starts delays nothing; when it answers, the
// components are what it says, to the microjoule, however late it is; when it
// falls silent, the rest of the server is absent; and when it is back, nothing
// of the time between is made up. Nobody is shown its password.
func TestBMC(t *testing.T) {
	t.Parallel()
	r := &rack{Machine: oneZone(t, 100), bmc: redfishtest.New(t, redfishtest.Rack(140))}
	r.use(50, 80)
	away := make(chan struct{})
	r.bmc.Instead(func(_ http.ResponseWriter, q *http.Request) bool {
		select {
		case <-away:
			return false
		case <-q.Context().Done():
			return true
		}
	})
	startRack(t, r)
	a := start(t, append(r.settings(t), "--interval", tick.String(), "--server-overhead", "40W")...)
	p := a.skip(2)
	if p.metered() || len(p.find("noether_node_watts", "component", "cpu")) == 0 {
		t.Error("while the BMC does not answer, there is more or less than what RAPL says")
	}
	if len(p.find("noether_sensor_status", "sensor", "redfish", "zone", "platform", "status", "cannot tell")) == 0 {
		t.Errorf("status: %v", p.find("noether_sensor_status"))
	}
	close(away)
	r.bmc.Instead(nil)
	a.await("the BMC's first answer", func() bool { return a.scrape().metered() })

	var from, to *page
	a.await("a tick without debt", func() bool { from = a.next(); return from.metered() })
	for n := range 8 { // work that comes and goes
		r.use(50+uint64(n%2)*150, 80)
		a.skip(5)
	}
	r.use(50, 80)
	a.skip(8)
	a.await("another one", func() bool { to = a.next(); return to.metered() })
	parts0, meter0 := from.sum()
	parts1, meter1 := to.sum()
	if meter1 == meter0 || parts1-parts0 != meter1-meter0 {
		t.Errorf("the components used %d µJ, the BMC saw %d", parts1-parts0, meter1-meter0)
	}
	if s := to.find("noether_sensor_status", "sensor", "redfish"); len(s) != 1 || !matches(s[0], "noether_sensor_status", []string{"status", "works"}) {
		t.Errorf("status: %v", s)
	}
	if q := to.find("noether_node_joules_total", "component", "other", "quality", "measured"); len(q) == 0 {
		t.Error("the rest of the server is not measured")
	}

	r.bmc.Instead(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	var silent *page
	a.awaitWithin(2*patience, "an old reading", func() bool {
		silent = a.next()
		return len(silent.find("noether_sensor_status", "sensor", "redfish", "status", "stale")) > 0
	})
	other := silent.joules("noether_node_joules_total", "component", "other")
	silent = a.skip(10)
	if silent.metered() || silent.joules("noether_node_joules_total", "component", "other") != other {
		t.Error("the rest of the server goes on without its meter")
	}
	r.bmc.Instead(nil)
	before := silent
	a.await("the BMC's return", func() bool {
		p = a.next()
		if !p.metered() {
			before = p
		}
		return p.metered()
	})
	seconds := p.value("noether_last_tick_timestamp_seconds") - before.value("noether_last_tick_timestamp_seconds")
	if e := float64(p.joules("noether_node_joules_total", "component", "other")-other) / 1e6; e < 0 || e > 300*seconds {
		t.Errorf("in the %.1f s of its return the rest of the server used %.1f J", seconds, e)
	}

	_, snapshot := fetch(t, "http://"+a.address+"/api/noether/v1/snapshot")
	_, check := fetch(t, "http://"+a.address+"/api/noether/v1/check")
	_, metrics := fetch(t, "http://"+a.address+"/metrics")
	if !strings.Contains(check, "EnvironmentMetrics PowerWatts of /redfish/v1/Chassis/1U") {
		t.Errorf("the page's check does not say which reading it is: %s", check)
	}
	for _, secret := range []string{redfishtest.Password, redfishtest.Token} {
		keeps(t, a.cmd.Process.Pid, secret, a.log.String(), snapshot, check, metrics)
	}
	for line, times := range map[string]int{"the BMC is read": 1, "zone gives no energy": 1, "zone gives energy again": 1, "server overhead is not added": 1} {
		if n := strings.Count(a.log.String(), line); n != times {
			t.Errorf("the log has %q %d times, want %d", line, n, times)
		}
	}
	a.stop()
	if open, _ := r.bmc.Sessions(); open != 0 {
		t.Errorf("%d sessions are left at the BMC", open)
	}
}

// noether check says what the BMC answers, and what would help if it does not.
func TestCheckOfBMC(t *testing.T) {
	t.Parallel()
	r := &rack{Machine: oneZone(t, 100), bmc: redfishtest.New(t, redfishtest.Rack(140))}
	args := append([]string{"check"}, r.settings(t)...)
	code, out, errs := runs(t, append(args, "--server-overhead", "40W")...)
	words := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{"redfish works", "140.0 W: EnvironmentMetrics PowerWatts of /redfish/v1/Chassis/1U", "other 140.0 W now, measured", "server-overhead is not added: a sensor measures the whole machine"} {
		if code != 0 || !strings.Contains(words, want) {
			t.Errorf("check exits with %d and does not say %q:\n%s%s", code, want, out, errs)
		}
	}
	if open, _ := r.bmc.Sessions(); open != 0 {
		t.Errorf("%d sessions are left at the BMC", open)
	}
	r.bmc.ChangePassword("another")
	code, out, errs = runs(t, args...)
	words = strings.Join(strings.Fields(out), " ")
	for _, want := range []string{"redfish forbidden", "401 Unauthorized", "the role ReadOnly"} {
		if code != 0 || !strings.Contains(words, want) {
			t.Errorf("check exits with %d and does not say %q:\n%s%s", code, want, out, errs)
		}
	}
	keeps(t, 0, redfishtest.Password, out, errs)
}

// The meter that ACPI describes is the rest of the server where there is no BMC
// to ask.
func TestACPIMeter(t *testing.T) {
	t.Parallel()
	m := oneZone(t, 100)
	dir := m.Path("sys/class/hwmon/hwmon2")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"name": "power_meter\n", "power1_average": "150000000\n", "power1_average_interval": "1000\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a := start(t, "--root", m.Root(), "--usage", "procfs", "--interval", tick.String())
	var from, to *page
	a.await("the meter", func() bool { from = a.next(); return from.metered() })
	to = a.skip(5)
	used := to.joules("noether_zone_joules_total", "sensor", "acpi", "zone", "platform") - from.joules("noether_zone_joules_total", "sensor", "acpi", "zone", "platform")
	if all := to.joules("noether_node_joules_total") - from.joules("noether_node_joules_total"); used <= 0 || all != used {
		t.Errorf("the components used %d µJ, the meter saw %d", all, used)
	}
}
