package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the dashboards anew")

func TestDashboardsAreWhatIsWrittenHere(t *testing.T) {
	if *update {
		if err := write("../.."); err != nil {
			t.Fatal(err)
		}
		return
	}
	for name, d := range dashboards() {
		want, err := render(d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what is written here (go run ./deploy/grafana/cmd/noether-dashboards writes it; -want +got):\n%s", name, diff)
		}
	}
	files, err := filepath.Glob("../../*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if _, ok := dashboards()[filepath.Base(file)]; !ok {
			t.Errorf("%s is not made by this program", file)
		}
	}
}

// What a person would stumble over.
func TestEveryDashboardIsWhole(t *testing.T) {
	uids := map[string]string{}
	for name, d := range dashboards() {
		if other := uids[d.uid]; other != "" {
			t.Errorf("%s and %s have the uid %s", name, other, d.uid)
		}
		uids[d.uid] = name
		titles := map[string]bool{}
		for _, r := range d.rows {
			for _, p := range r.panels {
				if titles[r.title+p.title] {
					t.Errorf("%s, %s has two panels %q", name, r.title, p.title)
				}
				titles[r.title+p.title] = true
				switch {
				case p.width < 1 || p.width > 24 || p.height < 1:
					t.Errorf("%s: %q is %d x %d", name, p.title, p.width, p.height)
				case p.kind != "text" && (p.unit == "" || len(p.queries) == 0):
					t.Errorf("%s: %q has no unit or no query", name, p.title)
				case len(p.queries) > 26:
					t.Errorf("%s: %q has more queries than letters", name, p.title)
				}
				for _, query := range p.queries {
					if p.kind == "table" && len(p.queries) > 1 && (query.legend == "" || query.unit == "") {
						t.Errorf("%s: a column of %q has no head or unit", name, p.title)
					}
					if strings.Contains(query.expr, "%!") {
						t.Errorf("%s: %q asks for %s", name, p.title, query.expr)
					}
				}
			}
		}
	}
}

// Energy stands for energy and CO2e for CO2e.
func TestEquivalences(t *testing.T) {
	got := map[string]string{}
	for _, p := range equivalences("ENERGY", "MASS") {
		if p.kind == "stat" {
			got[p.title] = p.queries[0].expr
		}
	}
	want := map[string]string{
		"Hours of a 10 W LED bulb": "ENERGY / 0.01", "Kilometres by car": "MASS / 244",
		"Charges of a smartphone": "MASS / 12.4", "Litres of petrol burnt": "MASS / 2348",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, f := range factors() {
		if f.source == "" || !slices.Contains([]string{"kWh", "g"}, f.of) || f.per <= 0 {
			t.Errorf("%+v is not a factor with a source", f)
		}
	}
}

// Grafana reads numbers, not what Go would print of them.
func TestModelsAreJSON(t *testing.T) {
	for name, d := range dashboards() {
		text, err := render(d)
		if err != nil {
			t.Fatal(err)
		}
		var back struct {
			UID    string
			Panels []struct {
				ID      int
				GridPos struct{ X, Y, W, H int }
			}
		}
		if err := json.Unmarshal(text, &back); err != nil || back.UID != d.uid {
			t.Fatalf("%s: %v, uid %q", name, err, back.UID)
		}
		for i, p := range back.Panels {
			for _, o := range back.Panels[:i] {
				a, b := p.GridPos, o.GridPos
				if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
					t.Errorf("%s: panels %d and %d overlap", name, o.ID, p.ID)
				}
			}
		}
	}
}
