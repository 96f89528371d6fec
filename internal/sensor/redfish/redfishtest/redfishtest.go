// Package redfishtest is a BMC that tests make and break: documents of the
// shapes that DMTF publishes, behind TLS, sessions and basic authentication. It
// is for tests only.
package redfishtest

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The account of the BMC. No log, page or error may hold the password.
const (
	User     = "noether"
	Password = "bmc-pass-5d1e9c7a"
)

// Token is how the tokens of sessions begin. Nothing may hold one, either.
const Token = "bmc-token-"

// Documents are what a BMC says, by path.
type Documents map[string]string

// Rack is a BMC of one server that tells its power in the newer form.
func Rack(watts float64) Documents {
	return Documents{
		"/redfish/v1":                                                      `{"@odata.id":"/redfish/v1","RedfishVersion":"1.15.0","Systems":{"@odata.id":"/redfish/v1/Systems"},"Chassis":{"@odata.id":"/redfish/v1/Chassis"},"SessionService":{"@odata.id":"/redfish/v1/SessionService"}}`,
		"/redfish/v1/Systems":                                              Members("/redfish/v1/Systems/437XR1138R2"),
		"/redfish/v1/Chassis":                                              Members("/redfish/v1/Chassis/1U"),
		"/redfish/v1/Chassis/1U":                                           `{"@odata.type":"#Chassis.v1_25_1.Chassis","Id":"1U","ChassisType":"RackMount","PowerSubsystem":{"@odata.id":"/redfish/v1/Chassis/1U/PowerSubsystem"},"EnvironmentMetrics":{"@odata.id":"/redfish/v1/Chassis/1U/EnvironmentMetrics"},"Links":{"ComputerSystems":[{"@odata.id":"/redfish/v1/Systems/437XR1138R2"}]}}`,
		"/redfish/v1/Chassis/1U/EnvironmentMetrics":                        Environment(watts),
		"/redfish/v1/Chassis/1U/PowerSubsystem":                            `{"Id":"PowerSubsystem","CapacityWatts":2000,"PowerSupplies":{"@odata.id":"/redfish/v1/Chassis/1U/PowerSubsystem/PowerSupplies"}}`,
		"/redfish/v1/Chassis/1U/PowerSubsystem/PowerSupplies":              Members("/redfish/v1/Chassis/1U/PowerSubsystem/PowerSupplies/Bay1", "/redfish/v1/Chassis/1U/PowerSubsystem/PowerSupplies/Bay2", "/redfish/v1/Chassis/1U/PowerSubsystem/PowerSupplies/Bay3"),
		"/redfish/v1/Chassis/1U/PowerSubsystem/PowerSupplies/Bay1":         Supply("/redfish/v1/Chassis/1U/PowerSubsystem/PowerSupplies/Bay1/Metrics", "Enabled"),
		"/redfish/v1/Chassis/1U/PowerSubsystem/PowerSupplies/Bay2":         Supply("/redfish/v1/Chassis/1U/PowerSubsystem/PowerSupplies/Bay2/Metrics", "StandbySpare"),
		"/redfish/v1/Chassis/1U/PowerSubsystem/PowerSupplies/Bay3":         `{"Id":"Bay3","Status":{"State":"Absent"}}`,
		"/redfish/v1/Chassis/1U/PowerSubsystem/PowerSupplies/Bay1/Metrics": `{"InputPowerWatts":{"Reading":` + Number(watts) + `},"OutputPowerWatts":{"Reading":1}}`,
		"/redfish/v1/Chassis/1U/PowerSubsystem/PowerSupplies/Bay2/Metrics": `{"InputPowerWatts":{"Reading":0},"OutputPowerWatts":{"Reading":0}}`,
		"/redfish/v1/Systems/437XR1138R2":                                  `{"@odata.type":"#ComputerSystem.v1_22_0.ComputerSystem","Id":"437XR1138R2","SystemType":"Physical","UUID":"38947555-7742-3448-3784-823347823834","HostName":"web483","Links":{"Chassis":[{"@odata.id":"/redfish/v1/Chassis/1U"}]}}`,
	}
}

// Older is a BMC of one server that tells its power in the older form, with
// members for parts of the machine, and paths that end with a slash.
func Older(watts float64) Documents {
	return Documents{
		"/redfish/v1":                 `{"Systems":{"@odata.id":"/redfish/v1/Systems/"},"Chassis":{"@odata.id":"/redfish/v1/Chassis/"}}`,
		"/redfish/v1/Systems":         Members("/redfish/v1/Systems/1/"),
		"/redfish/v1/Systems/1":       `{"Id":"1","Links":{"Chassis":[{"@odata.id":"/redfish/v1/Chassis/1/"}]}}`,
		"/redfish/v1/Chassis":         Members("/redfish/v1/Chassis/1/"),
		"/redfish/v1/Chassis/1":       `{"Id":"1","ChassisType":"Rack","Power":{"@odata.id":"/redfish/v1/Chassis/1/Power/"},"Links":{"ComputerSystems":[{"@odata.id":"/redfish/v1/Systems/1"}]}}`,
		"/redfish/v1/Chassis/1/Power": Control(watts),
	}
}

// Environment is an EnvironmentMetrics of a chassis.
func Environment(watts float64) string {
	return `{"@odata.type":"#EnvironmentMetrics.v1_3_1.EnvironmentMetrics","Id":"EnvironmentMetrics","TemperatureCelsius":{"Reading":39},"PowerWatts":{"Reading":` + Number(watts) + `,"DataSourceUri":"/redfish/v1/Chassis/1U/Sensors/TotalPower"},"EnergykWh":{"Reading":3638}}`
}

// Control is a Power of a chassis, in which the machine comes first.
func Control(watts float64) string {
	return `{"@odata.type":"#Power.v1_5_4.Power","Id":"Power","PowerControl":[` +
		`{"MemberId":"0","Name":"Server Power Control","PowerConsumedWatts":` + Number(watts) + `,"PowerCapacityWatts":1100,"PowerMetrics":{"AverageConsumedWatts":2,"IntervalInMin":60}},` +
		`{"MemberId":"1","Name":"CPU Sub-system Power","PhysicalContext":"CPU","PowerConsumedWatts":90},` +
		`{"MemberId":"2","Name":"Memory Sub-system Power","PhysicalContext":"Memory","PowerConsumedWatts":30}],` +
		`"PowerSupplies":[{"MemberId":"0","PowerInputWatts":` + Number(watts) + `,"PowerOutputWatts":7,"LastPowerOutputWatts":7,"Status":{"State":"Enabled"}},{"MemberId":"1","Status":{"State":"Absent"}}]}`
}

// Supply is a PowerSupply whose metrics are at a path.
func Supply(metrics, state string) string {
	return `{"Id":"Bay","Status":{"State":"` + state + `"},"Metrics":{"@odata.id":"` + metrics + `"}}`
}

// Members is a collection.
func Members(paths ...string) string {
	links := make([]string, 0, len(paths))
	for _, p := range paths {
		links = append(links, `{"@odata.id":"`+p+`"}`)
	}
	return fmt.Sprintf(`{"Members@odata.count":%d,"Members":[%s]}`, len(links), strings.Join(links, ","))
}

// Number writes watts as JSON does.
func Number(watts float64) string { return strconv.FormatFloat(watts, 'f', -1, 64) }

// BMC is one that answers over TLS until the test ends. It is safe for
// concurrent use.
type BMC struct {
	URL    string
	CAFile string // its own certificate

	tb       testing.TB
	server   *httptest.Server
	mu       sync.Mutex
	docs     Documents
	password string
	basic    bool // it has no sessions
	open     map[string]bool
	logins   int
	asked    map[string]int
	instead  func(w http.ResponseWriter, r *http.Request) bool
}

// New starts a BMC.
func New(tb testing.TB, docs Documents) *BMC {
	tb.Helper()
	b := &BMC{tb: tb, docs: docs, password: Password, open: map[string]bool{}, asked: map[string]int{}}
	b.server = httptest.NewUnstartedServer(http.HandlerFunc(b.serve))
	b.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	b.server.StartTLS()
	tb.Cleanup(b.server.Close)
	tb.Cleanup(b.server.CloseClientConnections)
	b.URL, b.CAFile = b.server.URL, filepath.Join(tb.TempDir(), "bmc.pem")
	if err := os.WriteFile(b.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.server.Certificate().Raw}), 0o600); err != nil {
		tb.Fatal(err)
	}
	return b
}

// Set replaces a document; an empty one is not there.
func (b *BMC) Set(path, body string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.docs[path] = body
}

// Instead lets a function answer first; it returns whether it has. Nil ends that.
func (b *BMC) Instead(f func(w http.ResponseWriter, r *http.Request) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.instead = f
}

// NoSessions lets the BMC have basic authentication only.
func (b *BMC) NoSessions() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.basic = true
}

// ChangePassword ends all sessions, too.
func (b *BMC) ChangePassword(password string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.password = password
	clear(b.open)
}

// Sessions returns how many are open, and how many logins there were.
func (b *BMC) Sessions() (open, logins int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.open), b.logins
}

// Asked returns how often a path was asked for.
func (b *BMC) Asked(path string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked[path]
}

const sessions = "/redfish/v1/SessionService/Sessions"

func (b *BMC) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	b.mu.Lock()
	b.asked[path]++
	instead := b.instead
	b.mu.Unlock()
	if instead != nil && instead(w, r) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if path == sessions && r.Method == http.MethodPost {
		b.login(w, r)
		return
	}
	user, password, isBasic := r.BasicAuth()
	token := r.Header.Get("X-Auth-Token")
	if path != "/redfish/v1" && !b.open[token] && (!isBasic || user != User || password != b.password) {
		http.Error(w, `{"error":{"code":"Base.1.0.NoValidSession"}}`, http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodDelete && path == sessions+"/"+strings.TrimPrefix(token, Token) {
		delete(b.open, token)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body := b.docs[path]
	if body == "" || r.Method != http.MethodGet {
		http.Error(w, `{"error":{"code":"Base.1.0.ResourceMissingAtURI"}}`, http.StatusNotFound)
		return
	}
	io.WriteString(w, body) //nolint:errcheck // a test server
}

// login answers a POST to the sessions.
func (b *BMC) login(w http.ResponseWriter, r *http.Request) {
	b.logins++
	var account struct{ UserName, Password string }
	switch err := json.NewDecoder(r.Body).Decode(&account); {
	case b.basic:
		http.Error(w, "{}", http.StatusMethodNotAllowed)
	case err != nil || account.UserName != User || account.Password != b.password:
		http.Error(w, `{"error":{"message":"`+account.Password+` is wrong"}}`, http.StatusUnauthorized)
	default:
		token := Token + strconv.Itoa(b.logins)
		b.open[token] = true
		w.Header().Set("X-Auth-Token", token)
		w.Header().Set("Location", sessions+"/"+strconv.Itoa(b.logins))
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"Id":"%d"}`, b.logins) //nolint:errcheck // a test server
	}
}
