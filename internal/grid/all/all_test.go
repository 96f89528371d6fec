package all

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
	"noether/internal/grid/gridtest"
	"noether/internal/promclient"
)

func full(t *testing.T) Settings {
	t.Helper()
	token := fetch.Text("user:" + gridtest.Token)
	return Settings{
		Tokens:     map[string]fetch.Secret{"electricitymaps": token, "watttime": token, "entsoe": token},
		Hub:        "http://carbon.noether.svc:9878",
		Prometheus: client(t),
		Query:      "g",
	}
}

func zonesCSV(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "zones.csv")
	if err := os.WriteFile(path, []byte("zone,timestamp,intensity\nDE,2026-08-21T10:00:00Z,300\nDE,2026-08-21T11:00:00Z,310\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEveryName opens all of the table. A provider's name is the one in settings.
func TestEveryName(t *testing.T) {
	want := map[string]string{
		"electricitymaps": "average lifecycle", "watttime": "marginal direct", "neso": "average direct", "energy-charts": "average lifecycle",
		"rte": "average direct", "entsoe": "average lifecycle", "prometheus": "average lifecycle", "file": "average lifecycle",
		"fixed": "average lifecycle", "yearly": "average lifecycle", "hub": "average lifecycle",
	}
	for _, name := range Names() {
		open := strings.Replace(strings.Replace(name, "GRAMS", "380.5", 1), "PATH", zonesCSV(t), 1)
		p, err := Open(open, full(t))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		info := p.Info()
		if short, _, _ := strings.Cut(name, ":"); info.Name != short || want[short] != fmt.Sprintf("%s %s", info.Signal, info.Factor) {
			t.Errorf("%s is %+v, want %s", name, info, want[short])
		}
		delete(want, info.Name)
	}
	if len(want) > 0 {
		t.Errorf("not in the table: %v", want)
	}
}

func TestRemedies(t *testing.T) {
	for name, c := range map[string]struct {
		name string
		s    Settings
		want string
	}{
		"no such provider":     {"electricitymap", Settings{}, "choose from electricitymaps, watttime, neso"},
		"no key":               {"electricitymaps", Settings{}, "set --grid.token-file electricitymaps=FILE"},
		"no password":          {"watttime", Settings{}, "USER:PASSWORD of an account"},
		"no token":             {"entsoe", Settings{}, "--grid.token-file entsoe=FILE"},
		"no hub":               {"hub", Settings{}, "set --grid.hub URL"},
		"no Prometheus":        {"prometheus", Settings{Query: "g"}, "set --prometheus-url"},
		"no query":             {"prometheus", Settings{Prometheus: client(t)}, "set --grid.query"},
		"no number":            {"fixed", Settings{}, "write fixed:GRAMS"},
		"a word":               {"fixed:much", Settings{}, "write it like fixed:380"},
		"too much":             {"fixed:1e9", Settings{}, "no carbon intensity"},
		"no path":              {"file:", Settings{}, "write file:PATH"},
		"an argument":          {"yearly:2024", Settings{}, "write yearly without a colon"},
		"RTE abroad":           {"rte", Settings{Zone: "DE"}, "it covers FR only"},
		"NESO abroad":          {"neso", Settings{Zone: "aws:eu-central-1"}, "it covers GB only"},
		"no such region":       {"neso", Settings{Zone: "aws:mars-1"}, "mars-1"},
		"another factor":       {"neso", Settings{Factor: grid.Lifecycle}, "set --grid.factor direct"},
		"yearly and direct":    {"yearly", Settings{Factor: grid.Direct}, "set --grid.factor lifecycle"},
		"a token in the clear": {"hub", Settings{Hub: "http://hub.example", Tokens: map[string]fetch.Secret{"hub": fetch.Text("x")}}, "in the clear"},
	} {
		_, err := Open(c.name, c.s)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	for _, zone := range []string{"", "GB", "GB-3", "GB:SW1", "aws:eu-west-2"} {
		if _, err := Open("neso", Settings{Zone: zone}); err != nil {
			t.Errorf("NESO for %q: %v", zone, err)
		}
	}
	if _, err := Chain([]string{"yearly", "nobody"}, Settings{}); err == nil {
		t.Error("a chain without one of its links")
	}
}

// TestRegion asks a provider that knows countries only about a cloud's region.
func TestRegion(t *testing.T) {
	now := time.Date(2026, 8, 21, 10, 5, 0, 0, time.UTC)
	asked := ""
	server := gridtest.Server(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query().Get("country")
		io.WriteString(w, fmt.Sprintf(`{"unix_seconds":[%d],"co2eq":[300],"co2eq_forecast":[300]}`, now.Add(-5*time.Minute).Unix()))
	})
	p, err := Open("energy-charts", Settings{Base: server.URL, Now: func() time.Time { return now }, Zone: "aws:eu-central-1"})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := p.Latest(t.Context(), "aws:eu-central-1"); err != nil || s.Intensity != 300 || asked != "de" {
		t.Errorf("asked for %q: %+v %v", asked, s, err)
	}
	for name, call := range map[string]func() error{
		"latest":   func() error { _, err := p.Latest(t.Context(), "aws:mars-1"); return err },
		"history":  func() error { _, err := p.Intensity(t.Context(), "aws:mars-1", now, now); return err },
		"forecast": func() error { _, err := p.Forecast(t.Context(), "aws:mars-1", now, now); return err },
	} {
		if err := call(); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("%s of no region: %v", name, err)
		}
	}
}

func client(t *testing.T) *promclient.Client {
	t.Helper()
	c, err := promclient.New(promclient.Options{URL: "http://127.0.0.1:9090", Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
