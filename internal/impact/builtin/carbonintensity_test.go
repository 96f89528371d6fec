package builtin

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"noether/internal/impact/plugin"
	"noether/internal/impact/value"
)

func newIntensity(t testing.TB, files map[string]string, config *value.Object) plugin.Plugin {
	t.Helper()
	env, _ := publishEnv(nil)
	env.Open = func(_ context.Context, name string) (io.ReadCloser, error) {
		text, ok := files[name]
		if !ok {
			return nil, errors.New("no such file")
		}
		return io.NopCloser(strings.NewReader(text)), nil
	}
	m := carbonIntensity()
	p, err := m.New(env, &plugin.Declaration{Name: "grid", Config: config}, &m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const hours = "timestamp,zone,gCO2e/kWh\n2024-01-01T00:00:00Z,DE,100\n2024-01-01T01:00:00Z,DE,200\n2024-01-01T03:00:00Z,DE,400\n2024-01-01T00:00:00Z,FR,50\n"

func TestCarbonIntensity(t *testing.T) {
	points := value.List([]value.Value{
		pairs("timestamp", value.AtTime(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)), "value", 10).Value(),
		pairs("timestamp", "2024-01-01T01:00:00Z", "value", 30).Value(),
	})
	row := func(at string, duration float64, more ...any) *value.Object {
		return pairs(append([]any{"timestamp", at, "duration", duration}, more...)...)
	}
	for name, c := range map[string]struct {
		config *value.Object
		row    *value.Object
		want   float64
		err    string
	}{
		"a constant":           {pairs("zone", "DE", "values", pairs("DE", 342)), row("2024-01-01T00:00:00Z", 60), 342, ""},
		"0 is a value":         {pairs("zone", "XX", "values", pairs("XX", 0)), row("2024-01-01T00:00:00Z", 60), 0, ""},
		"values over time":     {pairs("zone", "DE", "values", pairs("DE", points)), row("2024-01-01T00:45:00Z", 3600), 25, ""},
		"a file":               {pairs("zone", "DE", "file", "f.csv"), row("2024-01-01T00:30:00Z", 5400), 500. / 3, ""},
		"an instant":           {pairs("zone", "DE", "file", "f.csv"), row("2024-01-01T01:00:00Z", 0), 200, ""},
		"a date":               {pairs("zone", "DE", "file", "f.csv"), pairs("timestamp", value.At(1704070800000), "duration", 60), 200, ""},
		"zone of the row":      {pairs("file", "f.csv", "zone-parameter", "cloud/zone"), row("2024-01-01T00:00:00Z", 60, "cloud/zone", "FR"), 50, ""},
		"max-age bridges":      {pairs("zone", "DE", "file", "f.csv", "max-age", 7200), row("2024-01-01T02:00:00Z", 3600), 200, ""},
		"max-age as text":      {pairs("zone", "DE", "file", "f.csv", "max-age", "2h"), row("2024-01-01T02:00:00Z", 3600), 200, ""},
		"a hole":               {pairs("zone", "DE", "file", "f.csv"), row("2024-01-01T01:30:00Z", 3600), 0, `MissingInputDataError: carbon intensity of zone "DE": no value at 2024-01-01T02:00:00Z (row 0)`},
		"a time before":        {pairs("zone", "DE", "file", "f.csv"), row("2023-12-31T23:59:00Z", 120), 0, `zone "DE": no value at 2023-12-31T23:59:00Z`},
		"an unknown zone":      {pairs("zone", "PL", "file", "f.csv"), row("2024-01-01T00:00:00Z", 60), 0, `no values of zone "PL"; there are DE, FR`},
		"no zone":              {pairs("file", "f.csv"), row("2024-01-01T00:00:00Z", 60), 0, "grid/zone is missing"},
		"no file":              {pairs("zone", "DE", "file", "g.csv"), row("2024-01-01T00:00:00Z", 60), 0, "ReadFileError: read carbon intensity from g.csv: no such file"},
		"a broken file":        {pairs("zone", "DE", "file", "bad.csv"), row("2024-01-01T00:00:00Z", 60), 0, `bad.csv: line 2: "x" is no number`},
		"no source":            {pairs("zone", "DE"), row("2024-01-01T00:00:00Z", 60), 0, "Give one source"},
		"two sources":          {pairs("zone", "DE", "file", "f.csv", "values", pairs("DE", 1)), row("2024-01-01T00:00:00Z", 60), 0, "Give one source"},
		"an impossible value":  {pairs("zone", "DE", "values", pairs("DE", 342000)), row("2024-01-01T00:00:00Z", 60), 0, "is no carbon intensity"},
		"a bad timestamp":      {pairs("zone", "DE", "values", pairs("DE", 342)), row("yesterday", 60), 0, `row 0: timestamp "yesterday" is no instant`},
		"a password in an URL": {pairs("zone", "DE", "series", pairs("url", "http://u:secret@h")), row("2024-01-01T00:00:00Z", 60), 0, "credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newIntensity(t, map[string]string{"f.csv": hours, "bad.csv": "timestamp,zone,gCO2e/kWh\n2024-01-01,DE,x\n"}, c.config)
			for range 2 { // at every node
				rows, err := p.Execute(t.Context(), []*value.Object{c.row.Copy(1)}, &plugin.Node{})
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "secret") {
						t.Errorf("%v, want %s", err, c.err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := rows[0].Get("grid/carbon-intensity"); !got.IsNumber() || math.Abs(got.Num()-c.want) > 1e-12*c.want {
					t.Errorf("%v, want %v", got, c.want)
				}
			}
		})
	}
}

func TestCarbonIntensityOfManyRows(t *testing.T) {
	var csv strings.Builder
	csv.WriteString("timestamp,zone,gCO2e/kWh\n")
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 24 {
		csv.WriteString(start.Add(time.Duration(i)*time.Hour).Format(time.RFC3339) + ",DE,300\n")
	}
	p := newIntensity(t, map[string]string{"f.csv": csv.String()}, pairs("zone", "DE", "file", "f.csv"))
	const n = 1000
	var rows []*value.Object
	for i := range n {
		rows = append(rows, pairs("timestamp", start.Add(time.Duration(i)*time.Minute).Format(time.RFC3339), "duration", 60))
	}
	allocations := testing.AllocsPerRun(5, func() {
		out, err := p.Execute(t.Context(), value.CopyRows(rows, 4), &plugin.Node{})
		if err != nil || out[n-1].Get("grid/carbon-intensity").Num() != 300 {
			t.Fatal(err)
		}
	})
	if allocations > 100 {
		t.Errorf("%v allocations for %d rows", allocations, n)
	}
}
