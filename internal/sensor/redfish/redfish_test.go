package redfish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"noether/internal/energy"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/sensor/redfish/redfishtest"
	"noether/internal/unit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a machine with a BMC, whose clock the test moves.
type world struct {
	*redfishtest.BMC
	t   testing.TB
	now atomic.Int64
	log bytes.Buffer
	sys string
	cfg Config
}

func newWorld(t testing.TB, docs redfishtest.Documents) *world {
	b := redfishtest.New(t, docs)
	w := &world{BMC: b, t: t, sys: t.TempDir()}
	w.cfg = Config{
		URL: b.URL, CAFile: b.CAFile, Credentials: Known(redfishtest.User, redfishtest.Password),
		Log: slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	return w
}

func (w *world) env(wait time.Duration) sensor.Env {
	return sensor.Env{Sys: w.sys, Now: func() time.Duration { return time.Duration(w.now.Load()) }, Wait: wait}
}

func (w *world) pass(d time.Duration) { w.now.Add(int64(d)) }

// open returns a meter that has asked once.
func (w *world) open() (*meter, error) {
	w.t.Helper()
	s, err := open(w.t.Context(), w.cfg, w.env(time.Minute))
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { s.Close() })
	return s.(*meter), nil
}

func (w *world) must() *meter {
	w.t.Helper()
	m, err := w.open()
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) verdict() probe.Verdict {
	w.t.Helper()
	m, err := w.open()
	if err == nil {
		return probe.Of(Name, m.String(), nil)
	}
	return probe.Of(Name, "", err)
}

func chassisOf(kind, links string) string {
	return `{"ChassisType":"` + kind + `",` + links + `}`
}

// TestWhichReading has BMCs of several kinds, and which of their figures is the
// machine's.
func TestWhichReading(t *testing.T) {
	const one = "/redfish/v1/Chassis/1U"
	type docs = redfishtest.Documents
	with := func(base, more docs) docs {
		maps.Copy(base, more)
		return base
	}
	rack := func(more docs) docs { return with(redfishtest.Rack(374), more) }
	for name, tt := range map[string]struct {
		docs    docs
		prepare func(w *world)
		watts   float64
		reading string
	}{
		"the newer form":                {docs: rack(nil), watts: 374, reading: "EnvironmentMetrics PowerWatts of " + one},
		"the older form":                {docs: redfishtest.Older(312), watts: 312, reading: "Power PowerConsumedWatts of /redfish/v1/Chassis/1/"},
		"power supplies, newer":         {docs: rack(docs{one + "/EnvironmentMetrics": `{"PowerWatts":{"Reading":null}}`}), watts: 374, reading: "InputPowerWatts of the power supplies of " + one},
		"no EnvironmentMetrics at all":  {docs: rack(docs{one + "/EnvironmentMetrics": ""}), watts: 374, reading: "InputPowerWatts of the power supplies of " + one},
		"zero is no power of a machine": {docs: rack(docs{one + "/EnvironmentMetrics": redfishtest.Environment(0)}), watts: 374, reading: "InputPowerWatts of the power supplies of " + one},
		"power supplies, older": {
			docs: with(redfishtest.Older(312), docs{"/redfish/v1/Chassis/1/Power": `{"PowerControl":[{"PowerConsumedWatts":null}],"PowerSupplies":[` +
				`{"PowerInputWatts":150.5,"PowerOutputWatts":140,"Status":{"State":"Enabled"}},{"PowerInputWatts":149.5,"Status":{"State":"Enabled"}},{"PowerInputWatts":999,"Status":{"State":"Absent"}}]}`}),
			watts: 300, reading: "Power PowerInputWatts of /redfish/v1/Chassis/1/",
		},
		"the machine is not the first of a list": {
			docs:  with(redfishtest.Older(312), docs{"/redfish/v1/Chassis/1/Power": `{"PowerControl":[{"PhysicalContext":"CPU","PowerConsumedWatts":90},{"PhysicalContext":"Chassis","PowerConsumedWatts":310}]}`}),
			watts: 310, reading: "Power PowerConsumedWatts of /redfish/v1/Chassis/1/",
		},
		"the outermost chassis": {
			docs: rack(docs{
				"/redfish/v1/Chassis/Board":                    chassisOf("RackMount", `"EnvironmentMetrics":{"@odata.id":"/redfish/v1/Chassis/Board/EnvironmentMetrics"},"Links":{"ContainedBy":{"@odata.id":"`+one+`"},"ComputerSystems":[{"@odata.id":"/redfish/v1/Systems/437XR1138R2"}]}`),
				"/redfish/v1/Chassis/Board/EnvironmentMetrics": redfishtest.Environment(290),
				"/redfish/v1/Systems/437XR1138R2":              `{"Links":{"Chassis":[{"@odata.id":"/redfish/v1/Chassis/Board"}]}}`,
			}),
			watts: 374, reading: "EnvironmentMetrics PowerWatts of " + one,
		},
		"a blade, not its enclosure": {
			docs: rack(docs{
				one:                        chassisOf("Blade", `"EnvironmentMetrics":{"@odata.id":"`+one+`/EnvironmentMetrics"},"Links":{"ContainedBy":{"@odata.id":"/redfish/v1/Chassis/Encl"},"ComputerSystems":[{"@odata.id":"/redfish/v1/Systems/437XR1138R2"}]}`),
				"/redfish/v1/Chassis/Encl": chassisOf("Enclosure", `"EnvironmentMetrics":{"@odata.id":"/redfish/v1/Chassis/Encl/EnvironmentMetrics"}`),
				"/redfish/v1/Chassis/Encl/EnvironmentMetrics": redfishtest.Environment(5200),
			}),
			watts: 374, reading: "EnvironmentMetrics PowerWatts of " + one,
		},
		"a chassis with other computers": {
			docs: rack(docs{
				"/redfish/v1/Chassis/Twin":                    chassisOf("RackMount", `"EnvironmentMetrics":{"@odata.id":"/redfish/v1/Chassis/Twin/EnvironmentMetrics"},"Links":{"ComputerSystems":[{"@odata.id":"/redfish/v1/Systems/437XR1138R2"},{"@odata.id":"/redfish/v1/Systems/other"}]}`),
				"/redfish/v1/Chassis/Twin/EnvironmentMetrics": redfishtest.Environment(700),
				"/redfish/v1/Systems/437XR1138R2":             `{"Links":{"Chassis":[{"@odata.id":"/redfish/v1/Chassis/Twin"},{"@odata.id":"` + one + `"}]}}`,
			}),
			watts: 374, reading: "EnvironmentMetrics PowerWatts of " + one,
		},
		"a part beside the machine": {
			docs: rack(docs{
				"/redfish/v1/Chassis/GPU_0":                    chassisOf("Module", `"EnvironmentMetrics":{"@odata.id":"/redfish/v1/Chassis/GPU_0/EnvironmentMetrics"}`),
				"/redfish/v1/Chassis/GPU_0/EnvironmentMetrics": redfishtest.Environment(120),
				"/redfish/v1/Systems/437XR1138R2":              `{"Links":{"Chassis":[{"@odata.id":"/redfish/v1/Chassis/GPU_0"},{"@odata.id":"` + one + `"}]}}`,
			}),
			watts: 374, reading: "EnvironmentMetrics PowerWatts of " + one,
		},
		"a chassis that another one feeds": {
			docs: rack(docs{
				"/redfish/v1/Chassis/Tray":                    chassisOf("Other", `"EnvironmentMetrics":{"@odata.id":"/redfish/v1/Chassis/Tray/EnvironmentMetrics"}`),
				"/redfish/v1/Chassis/Tray/EnvironmentMetrics": redfishtest.Environment(120),
				"/redfish/v1/Systems/437XR1138R2":             `{"Links":{"Chassis":[{"@odata.id":"/redfish/v1/Chassis/Tray"},{"@odata.id":"` + one + `"}]}}`,
			}),
			watts: 374, reading: "EnvironmentMetrics PowerWatts of " + one,
		},
		"two chassis with power supplies of their own": {
			docs: rack(docs{
				"/redfish/v1/Chassis/2":           chassisOf("RackMount", `"Power":{"@odata.id":"/redfish/v1/Chassis/2/Power"},"Links":{"ComputerSystems":[{"@odata.id":"/redfish/v1/Systems/437XR1138R2"}]}`),
				"/redfish/v1/Chassis/2/Power":     redfishtest.Control(226),
				"/redfish/v1/Systems/437XR1138R2": `{"Links":{"Chassis":[{"@odata.id":"` + one + `"},{"@odata.id":"/redfish/v1/Chassis/2"}]}}`,
			}),
			watts: 600, reading: "EnvironmentMetrics PowerWatts of " + one + " and Power PowerConsumedWatts of /redfish/v1/Chassis/2",
		},
		"the system links no chassis": {docs: rack(docs{"/redfish/v1/Systems/437XR1138R2": `{"Id":"x"}`}), watts: 374, reading: "EnvironmentMetrics PowerWatts of " + one},
		"no systems at all":           {docs: rack(docs{"/redfish/v1/Systems": ""}), watts: 374, reading: "EnvironmentMetrics PowerWatts of " + one},
		"the chassis that was named": {
			docs: rack(docs{
				"/redfish/v1/Chassis/Rack 7":                  "",
				"/redfish/v1/Chassis/Rack7":                   chassisOf("Rack", `"Power":{"@odata.id":"/redfish/v1/Chassis/Rack7/Power"}`),
				"/redfish/v1/Chassis/Rack7/Power":             redfishtest.Control(412),
				"/redfish/v1/Chassis/1U/PowerSubsystem/Metri": "",
			}),
			prepare: func(w *world) { w.cfg.Chassis = "Rack7" },
			watts:   412, reading: "Power PowerConsumedWatts of /redfish/v1/Chassis/Rack7",
		},
		"named by its path": {docs: redfishtest.Older(312), prepare: func(w *world) { w.cfg.Chassis = "/redfish/v1/Chassis/1" }, watts: 312, reading: "Power PowerConsumedWatts of /redfish/v1/Chassis/1"},
		"one of two systems, by UUID": {
			docs: two(), prepare: func(w *world) { w.identify("product_uuid", "55759438-4277-4834-3784-823347823834\n") },
			watts: 374, reading: "EnvironmentMetrics PowerWatts of " + one,
		},
		"one of two systems, by serial number": {
			docs: two(), prepare: func(w *world) { w.identify("product_serial", "SN-2\n") },
			watts: 312, reading: "Power PowerConsumedWatts of /redfish/v1/Chassis/2",
		},
		"one of two systems, by name": {
			docs: two(), prepare: func(w *world) { w.cfg.Node = "web484.example.org" },
			watts: 312, reading: "Power PowerConsumedWatts of /redfish/v1/Chassis/2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tt.docs)
			if tt.prepare != nil {
				tt.prepare(w)
			}
			m := w.must()
			readings, err := m.Read(t.Context(), nil)
			if diff := cmp.Diff([]energy.Reading{{Power: unit.Power(tt.watts * float64(unit.Watt))}}, readings); diff != "" || err != nil {
				t.Error(err, diff)
			}
			if m.about != tt.reading {
				t.Errorf("it reads %q, want %q", m.about, tt.reading)
			}
			if !strings.Contains(w.log.String(), "the BMC is read") {
				t.Errorf("log: %s", w.log.String())
			}
		})
	}
}

// two is a BMC of two computers, each in a chassis of its own.
func two() redfishtest.Documents {
	docs := redfishtest.Rack(374)
	docs["/redfish/v1/Systems"] = redfishtest.Members("/redfish/v1/Systems/437XR1138R2", "/redfish/v1/Systems/2")
	docs["/redfish/v1/Systems/2"] = `{"SerialNumber":"SN-2","HostName":"WEB484","Links":{"Chassis":[{"@odata.id":"/redfish/v1/Chassis/2"}]}}`
	docs["/redfish/v1/Chassis/2"] = chassisOf("RackMount", `"Power":{"@odata.id":"/redfish/v1/Chassis/2/Power"},"Links":{"ComputerSystems":[{"@odata.id":"/redfish/v1/Systems/2"}]}`)
	docs["/redfish/v1/Chassis/2/Power"] = redfishtest.Control(312)
	return docs
}

func (w *world) identify(file, text string) {
	dir := filepath.Join(w.sys, "class/dmi/id")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600)); err != nil {
		w.t.Fatal(err)
	}
}

// TestVerdicts is what check says, and what helps.
func TestVerdicts(t *testing.T) {
	says := func(status int, body string) func(w *world) {
		return func(w *world) {
			w.Instead(func(rw http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet {
					rw.WriteHeader(status)
					io.WriteString(rw, body)
				}
				return r.Method == http.MethodGet
			})
		}
	}
	for name, tt := range map[string]struct {
		prepare func(w *world)
		status  probe.Status
		says    []string
	}{
		"it works":                {func(*world) {}, probe.Works, []string{"374.0 W: EnvironmentMetrics PowerWatts of /redfish/v1/Chassis/1U"}},
		"basic authentication":    {(*world).NoSessions, probe.Works, []string{"374.0 W"}},
		"no BMC is named":         {func(w *world) { w.cfg.URL = "" }, probe.Absent, []string{"--redfish.url"}},
		"no URL":                  {func(w *world) { w.cfg.URL = "bmc" }, probe.Broken, []string{"https://HOST"}},
		"in the clear":            {func(w *world) { w.cfg.URL = "http://192.0.2.1" }, probe.Broken, []string{"only https is safe"}},
		"a password in the URL":   {func(w *world) { w.cfg.URL = "https://u:" + redfishtest.Password + "@bmc" }, probe.Broken, []string{"put them into a file"}},
		"a path in the URL":       {func(w *world) { w.cfg.URL += "/index.html" }, probe.Broken, []string{"more than a host"}},
		"nobody there":            {func(w *world) { w.cfg.URL = "https://127.0.0.1:1" }, probe.Broken, []string{"connection refused", "--redfish.url"}},
		"an unknown authority":    {func(w *world) { w.cfg.CAFile = "" }, probe.Broken, []string{"unknown authority", "--redfish.ca-file", "openssl s_client"}},
		"no certificates":         {func(w *world) { w.cfg.CAFile += "-gone" }, probe.Broken, []string{"no such file", "--redfish.ca-file"}},
		"a wrong password":        {func(w *world) { w.ChangePassword("other") }, probe.Forbidden, []string{"401", "ReadOnly", "--redfish.credentials-file"}},
		"a wrong password, basic": {func(w *world) { w.NoSessions(); w.ChangePassword("other") }, probe.Forbidden, []string{"401", "ReadOnly"}},
		"no credentials":          {func(w *world) { w.cfg.Credentials = nil }, probe.Forbidden, []string{"401", "--redfish.credentials-file"}},
		"no file of credentials":  {func(w *world) { w.cfg.Credentials = File("/nowhere/bmc") }, probe.Broken, []string{"/nowhere/bmc", "user:password"}},
		"no power anywhere":       {func(w *world) { w.Set("/redfish/v1/Chassis/1U", `{"Id":"1U"}`) }, probe.Broken, []string{"none of its chassis tells one (1U)", "licence"}},
		"no such chassis":         {func(w *world) { w.cfg.Chassis = "2" }, probe.Broken, []string{`chassis "2"`, "no such chassis", "--redfish.chassis: 1U"}},
		"no name of a chassis":    {func(w *world) { w.cfg.Chassis = "/etc/../x" }, probe.Broken, []string{"none that a chassis can have"}},
		"a chassis without power": {func(w *world) { w.cfg.Chassis = "1U"; w.Set("/redfish/v1/Chassis/1U", `{"Id":"1U"}`) }, probe.Broken, []string{"tells no power"}},
		"computers nobody can tell": {func(w *world) {
			for k, v := range two() {
				w.Set(k, v)
			}
		}, probe.Broken, []string{"2 computer systems (437XR1138R2, 2)", "--redfish.chassis"}},
		"chassis nobody can tell": {func(w *world) {
			w.Set("/redfish/v1/Systems/437XR1138R2", `{"Links":{"Chassis":[{"@odata.id":"/redfish/v1/Chassis/A"},{"@odata.id":"/redfish/v1/Chassis/B"}]}}`)
			for _, c := range []string{"A", "B"} {
				w.Set("/redfish/v1/Chassis/"+c, chassisOf("Other", `"EnvironmentMetrics":{"@odata.id":"/redfish/v1/Chassis/`+c+`/EnvironmentMetrics"}`))
				w.Set("/redfish/v1/Chassis/"+c+"/EnvironmentMetrics", redfishtest.Environment(100))
			}
		}, probe.Broken, []string{"several chassis", "--redfish.chassis: A, B"}},
		"only an enclosure of many": {func(w *world) {
			w.Set("/redfish/v1/Chassis/1U", chassisOf("Enclosure", `"EnvironmentMetrics":{"@odata.id":"/redfish/v1/Chassis/1U/EnvironmentMetrics"},"Links":{"ComputerSystems":[{"@odata.id":"/redfish/v1/Systems/437XR1138R2"},{"@odata.id":"/redfish/v1/Systems/b"}]}`))
		}, probe.Broken, []string{"other computers"}},
		"HTML":              {says(200, "<!DOCTYPE html><html>"+redfishtest.Password), probe.Broken, []string{"a page of HTML"}},
		"no JSON":           {says(200, "{oops"), probe.Broken, []string{"not JSON"}},
		"half a document":   {says(200, `{"Systems":{"@odata.id":"/redfish`), probe.Broken, []string{"cut short"}},
		"a list":            {says(200, "[]"), probe.Broken, []string{"not a Redfish document"}},
		"null":              {says(200, "null"), probe.Broken, []string{"not a Redfish document"}},
		"nothing":           {says(200, ""), probe.Broken, []string{"empty"}},
		"an empty document": {says(200, "{}"), probe.Broken, []string{"shows none"}},
		"500":               {says(500, redfishtest.Password), probe.Broken, []string{"500 Internal Server Error"}},
		"503":               {says(503, ""), probe.Broken, []string{"503"}},
		"404":               {says(404, ""), probe.Broken, []string{"404"}},
		"another type in every field": {
			says(200, `{"Systems":7,"Chassis":[],"Members":"x","Links":3,"PowerWatts":[],"EnvironmentMetrics":1}`), probe.Broken, []string{"shows none"},
		},
		"a body without end": {func(w *world) {
			w.Instead(func(rw http.ResponseWriter, _ *http.Request) bool {
				for block := bytes.Repeat([]byte(" "), 64<<10); ; {
					if _, err := rw.Write(block); err != nil {
						return true
					}
				}
			})
		}, probe.Broken, []string{"larger than 1024 KiB"}},
		"links to elsewhere": {func(w *world) {
			w.Set("/redfish/v1", `{"Systems":{"@odata.id":"https://192.0.2.9/redfish/v1/Systems"},"Chassis":{"@odata.id":"//192.0.2.9/redfish/v1/Chassis"}}`)
		}, probe.Broken, []string{"shows none"}},
		"a chassis in itself": {func(w *world) {
			w.Set("/redfish/v1/Chassis/1U", chassisOf("RackMount", `"Links":{"ContainedBy":{"@odata.id":"/redfish/v1/Chassis/1U"}}`))
		}, probe.Broken, []string{"none of its chassis"}},
		"more chassis than anybody has": {func(w *world) {
			var all []string
			for i := range mostDocuments {
				all = append(all, fmt.Sprintf("/redfish/v1/Chassis/%d", i))
			}
			w.Set("/redfish/v1/Systems/437XR1138R2", `{"Id":"x"}`)
			w.Set("/redfish/v1/Chassis", redfishtest.Members(all...))
			w.Instead(func(rw http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/redfish/v1/Chassis/") {
					return false
				}
				io.WriteString(rw, chassisOf("Other", `"EnvironmentMetrics":{"@odata.id":"`+r.URL.Path+`/E"},"Power":{"@odata.id":"`+r.URL.Path+`/P"},"PowerSubsystem":{"@odata.id":"`+r.URL.Path+`/S"},"Links":{"ContainedBy":{"@odata.id":"`+r.URL.Path+`/x"}}`))
				return true
			})
		}, probe.Broken, []string{"more than 256 documents", "--redfish.chassis"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, redfishtest.Rack(374))
			tt.prepare(w)
			v := w.verdict()
			text := v.Reason + "\n" + v.Remedy
			if v.Status != tt.status {
				t.Errorf("it is %s, want %s", v.Status, tt.status)
			}
			for _, want := range tt.says {
				if !strings.Contains(text, want) {
					t.Errorf("it says %q, want %q in it", text, want)
				}
			}
			if v.Status != probe.Works && v.Remedy == "" && !strings.Contains(name, "0") {
				t.Logf("no remedy: %s", v.Reason)
			}
			noSecret(t, text+w.log.String())
		})
	}
}

func noSecret(t *testing.T, text string) {
	t.Helper()
	for _, s := range []string{redfishtest.Password, redfishtest.Token} {
		if strings.Contains(text, s) {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}

// TestRedirects has a BMC that sends those who ask to somebody else, who would
// see the token.
func TestRedirects(t *testing.T) {
	var asked atomic.Int64
	thief := redfishtest.New(t, redfishtest.Rack(1))
	thief.Instead(func(http.ResponseWriter, *http.Request) bool { asked.Add(1); return false })
	w := newWorld(t, redfishtest.Rack(374))
	w.Instead(func(rw http.ResponseWriter, r *http.Request) bool {
		http.Redirect(rw, r, thief.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	})
	if v := w.verdict(); v.Status != probe.Broken || !strings.Contains(v.Reason, "redirects to another place") {
		t.Errorf("verdict %+v", v)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("somebody else was asked %d times", n)
	}
	w.Instead(func(rw http.ResponseWriter, r *http.Request) bool { // as some do that want a slash
		if r.URL.Path == "/redfish/v1" {
			http.Redirect(rw, r, "/redfish/v1/", http.StatusPermanentRedirect)
			return true
		}
		return false
	})
	if v := w.verdict(); v.Status != probe.Works {
		t.Errorf("a redirect within the BMC: %+v", v)
	}
}

// TestCertificate has the BMC's own certificate, which is trusted whatever its
// names say, and those of others.
func TestCertificate(t *testing.T) {
	w := newWorld(t, redfishtest.Rack(374))
	w.cfg.URL = strings.Replace(w.cfg.URL, "127.0.0.1", "localhost", 1) // which it is not for
	if v := w.verdict(); v.Status != probe.Works {
		t.Errorf("its own certificate under another name: %+v", v)
	}
	for name, text := range map[string]string{"empty": "", "text": "no certificate", "a key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		file := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.cfg.CAFile = file
		if v := w.verdict(); v.Status != probe.Broken || !strings.Contains(v.Reason, "there is none in it") {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestSession has one login for many polls, another one when the session has
// ended, and none left behind.
func TestSession(t *testing.T) {
	w := newWorld(t, redfishtest.Rack(374))
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(redfishtest.User + ":" + redfishtest.Password + "\n")
	w.cfg.Credentials = File(file)
	m := w.must()
	before := w.Asked("/redfish/v1/Chassis/1U/EnvironmentMetrics")
	for range 5 {
		if err := m.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if open, logins := w.Sessions(); open != 1 || logins != 1 {
		t.Errorf("%d sessions, %d logins after 6 polls", open, logins)
	}
	if n := w.Asked("/redfish/v1/Chassis/1U/EnvironmentMetrics") - before; n != 5 {
		t.Errorf("5 polls asked %d times", n)
	}
	if n := w.Asked("/redfish/v1/Systems"); n != 1 {
		t.Errorf("the plan was made %d times", n)
	}
	w.ChangePassword("a-new:one")
	if err := m.poll(t.Context()); probe.Of("", "", err).Status != probe.Forbidden {
		t.Errorf("with the old password: %v", err)
	}
	write(redfishtest.User + ":a-new:one")
	if err := m.poll(t.Context()); err != nil {
		t.Errorf("with the new password: %v", err)
	}
	m.Close()
	if open, _ := w.Sessions(); open != 0 {
		t.Errorf("%d sessions are left", open)
	}
	for _, bad := range []string{"", "nobody", ":x", "x:", "x:y\nz", strings.Repeat("x", 2000) + ":y"} {
		write(bad)
		if _, _, err := w.cfg.Credentials(); err == nil || !strings.Contains(err.Error(), file) || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("of %.20q: %v", bad, err)
		}
	}
}

// TestSilenceAndReturn is the life of a reading: fresh, old, and fresh again.
func TestSilenceAndReturn(t *testing.T) {
	w := newWorld(t, redfishtest.Rack(374))
	m := w.must()
	power := func() (unit.Power, error) {
		readings, err := m.Read(t.Context(), nil)
		if len(readings) == 0 {
			return 0, err
		}
		if readings[0].At != time.Duration(w.now.Load()) {
			t.Errorf("the reading is of %s, not of now", readings[0].At)
		}
		return readings[0].Power, err
	}
	w.Instead(func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	w.pass(5 * time.Second)
	if err := m.poll(t.Context()); err == nil {
		t.Fatal("503 is an answer")
	}
	if p, err := power(); p != 374*unit.Watt || err != nil {
		t.Errorf("after one failure: %v, %v", p, err)
	}
	w.pass(leastHold)
	p, err := power()
	ze, ok := errors.AsType[*sensor.ZoneError](err)
	if p != 0 || !ok || ze.Zone != 0 || probe.Of("", "", err).Status != probe.Stale || !strings.Contains(err.Error(), "503") {
		t.Errorf("when it is old: %v, %v", p, err)
	}
	if _, again := power(); again != err { //nolint:errorlint // it is to be the same one: no allocation in a tick
		t.Error("each read makes an error of its own")
	}
	w.Instead(nil)
	w.Set("/redfish/v1/Chassis/1U/EnvironmentMetrics", redfishtest.Environment(200))
	if err := m.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p, err := power(); p != 200*unit.Watt || err != nil {
		t.Errorf("back again: %v, %v", p, err)
	}
	if n := strings.Count(w.log.String(), "the BMC is read"); n != 1 {
		t.Errorf("%d lines say what is read: %s", n, w.log.String())
	}
	noSecret(t, w.log.String())
}

// TestAbsurdPowers cost a poll, never a reading.
func TestAbsurdPowers(t *testing.T) {
	for _, reading := range []string{"null", "-1", "0", "1e9", "1e999", `"374"`, "[]", "{}", "true"} {
		w := newWorld(t, redfishtest.Rack(374))
		m := w.must()
		w.Set("/redfish/v1/Chassis/1U/EnvironmentMetrics", `{"PowerWatts":{"Reading":`+reading+`}}`)
		if err := m.poll(t.Context()); err == nil {
			t.Errorf("%s is believed", reading)
		}
		if readings, err := m.Read(t.Context(), nil); err != nil || readings[0].Power != 374*unit.Watt {
			t.Errorf("%s: %v, %v", reading, readings, err)
		}
	}
}

// TestOpenDoesNotWait has an agent that starts while its BMC is away.
func TestOpenDoesNotWait(t *testing.T) {
	w := newWorld(t, redfishtest.Rack(374))
	gate := make(chan struct{})
	w.Instead(func(http.ResponseWriter, *http.Request) bool { <-gate; return false })
	s, err := open(t.Context(), w.cfg, w.env(0))
	if err != nil {
		t.Fatal(err)
	}
	readings, err := s.Read(t.Context(), nil)
	if len(readings) != 0 || probe.Of("", "", err).Status != probe.Unknown || !strings.Contains(err.Error(), "no answer yet") {
		t.Errorf("before it was asked: %v, %v", readings, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.(sensor.Runner).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	close(gate)
	for len(readings) == 0 {
		readings, _ = s.Read(t.Context(), readings[:0])
	}
	cancel()
	running.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if open, _ := w.Sessions(); open != 0 {
		t.Errorf("%d sessions are left", open)
	}
}

func TestOpenWaitsNoLongerThanItIsTold(t *testing.T) {
	w := newWorld(t, redfishtest.Rack(374))
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	w.Instead(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-done:
		case <-r.Context().Done():
		}
		return true
	})
	_, err := open(t.Context(), w.cfg, w.env(50*time.Millisecond))
	if v := probe.Of(Name, "", err); v.Status != probe.Broken || !strings.Contains(v.Reason, "no answer within 50ms") || v.Remedy == "" {
		t.Errorf("verdict %+v", v)
	}
}

func TestBackOff(t *testing.T) {
	away := errors.New("away")
	refused := &probe.Error{Status: probe.Forbidden, Err: away}
	for _, tt := range []struct {
		err      error
		interval time.Duration
		failures int
		want     time.Duration
	}{
		{away, 5 * time.Second, 1, 5 * time.Second},
		{away, 5 * time.Second, 4, 5 * time.Second},
		{away, 5 * time.Second, 6, 20 * time.Second},
		{away, 5 * time.Second, 8, time.Minute},
		{away, 5 * time.Second, 1_000_000, time.Minute},
		{away, 5 * time.Minute, 7, 5 * time.Minute},
		{refused, time.Second, 1, time.Minute},
		{refused, time.Second, 2, 2 * time.Minute},
		{refused, time.Second, 99, 15 * time.Minute},
	} {
		if got := backOff(tt.err, tt.interval, tt.failures); got != tt.want {
			t.Errorf("%v every %s, failure %d: %s, want %s", tt.err, tt.interval, tt.failures, got, tt.want)
		}
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	w := newWorld(t, redfishtest.Rack(374))
	m := w.must()
	dst := make([]energy.Reading, 0, 1)
	if n := testing.AllocsPerRun(100, func() { dst, _ = m.Read(t.Context(), dst[:0]) }); n != 0 || len(dst) != 1 {
		t.Errorf("%v allocations a fresh read", n)
	}
	w.pass(time.Hour)
	if n := testing.AllocsPerRun(100, func() { dst, _ = m.Read(t.Context(), dst[:0]) }); n != 0 || len(dst) != 0 {
		t.Errorf("%v allocations an old read", n)
	}
}

func TestConfigHidesCredentials(t *testing.T) {
	cfg := Config{Credentials: Known(redfishtest.User, redfishtest.Password)}
	noSecret(t, fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg))
}

func FuzzDocuments(f *testing.F) {
	for _, docs := range []redfishtest.Documents{redfishtest.Rack(374), redfishtest.Older(312), two()} {
		for _, d := range docs {
			f.Add([]byte(d))
		}
	}
	for _, d := range []string{"null", "[]", "{", `{"PowerWatts":{"Reading":1e999}}`, `{"PowerControl":[{"PowerConsumedWatts":"x"},{"PowerConsumedWatts":5}]}`} {
		f.Add([]byte(d))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, parse := range map[string]func([]byte) (unit.Power, error){
			"environment": environmentPower, "supply": supplyPower, "control": controlPower,
			"supplies": func(b []byte) (unit.Power, error) { p, _, err := suppliesPower(b); return p, err },
		} {
			if p, err := parse(b); p < 0 || p > mostMembers*mostWatts*unit.Watt || err != nil && p != 0 {
				t.Errorf("%s: %d and %v", name, p, err)
			}
		}
		var c collection
		if decode(b, &c) == nil {
			for _, p := range paths(c.Members) {
				if !strings.HasPrefix(p, rootPath) || strings.ContainsAny(p, "?#\\ ") || strings.Contains(p, "..") {
					t.Errorf("path %q", p)
				}
			}
		}
	})
}
