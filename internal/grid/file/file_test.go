package file

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
)

func day(d, hour int) time.Time { return time.Date(2024, 1, d, hour, 0, 0, 0, time.UTC) }

const hourly = `Datetime (UTC),Country,Zone name,Zone id,Carbon intensity gCO₂eq/kWh (direct),Carbon intensity gCO₂eq/kWh (Life cycle),Carbon-free energy percentage (CFE%),Renewable energy percentage (RE%),Data source,Data estimated,Data estimation method
2024-01-01 00:00:00,Germany,Germany,DE,250.5,300.25,60,55,entsoe.eu,false,
2024-01-01 01:00:00,Germany,Germany,DE,251,310,60,55,entsoe.eu,true,TIME_SLICER_AVERAGE
2024-01-01 02:00:00,Germany,Germany,DE,,,60,55,entsoe.eu,true,TIME_SLICER_AVERAGE
2024-01-01 03:00:00,Germany,Germany,DE,252,320,60,55,entsoe.eu,false,
2024-01-01 00:00:00,France,France,FR,20,50,95,30,entsoe.eu,false,
`

func TestParse(t *testing.T) {
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	for name, c := range map[string]struct {
		csv    string
		factor grid.Factor
		maxAge time.Duration
		zone   string
		want   []grid.Sample
	}{
		"one's own": {
			"timestamp,zone,gCO2e/kWh\n2024-01-01T01:00:00+01:00,DE,300\n2024-01-01T00:30:00Z,DE,310\n", grid.Lifecycle, 0, "DE",
			[]grid.Sample{{From: day(1, 0), To: day(1, 0).Add(30 * time.Minute), Intensity: 300}, {From: day(1, 0).Add(30 * time.Minute), To: day(1, 1), Intensity: 310}},
		},
		"Electricity Maps, hourly, with a hole": {hourly, grid.Lifecycle, 0, "DE", []grid.Sample{{From: day(1, 0), To: day(1, 1), Intensity: 300.25}, {From: day(1, 1), To: day(1, 2), Intensity: 310, Estimated: true}, {From: day(1, 3), To: day(1, 4), Intensity: 320}}},
		"the hole bridged by max-age":           {hourly, grid.Direct, 90 * time.Minute, "DE", []grid.Sample{{From: day(1, 0), To: day(1, 1), Intensity: 250.5}, {From: day(1, 1), To: day(1, 2).Add(30 * time.Minute), Intensity: 251, Estimated: true}, {From: day(1, 3), To: day(1, 4).Add(30 * time.Minute), Intensity: 252}}},
		"Electricity Maps, as before 2025":      {"\ufeffDatetime (UTC),Country,Zone Name,Zone Id,Carbon Intensity gCO₂eq/kWh (direct),Carbon Intensity gCO₂eq/kWh (LCA)\n2023-01-01 00:00:00,Belgium,Belgium,BE,100,150\n", grid.Lifecycle, 24 * time.Hour, "BE", []grid.Sample{{From: year(2023), To: year(2023).Add(24 * time.Hour), Intensity: 150}}},
		"Ember":                                 {"Area,ISO 3 code,Year,Area type,Continent,Ember region,EU,OECD,G20,G7,ASEAN,Category,Subcategory,Variable,Unit,Value,YoY absolute change,YoY % change\nGermany,DEU,2024,Country,Europe,Europe,1,1,1,1,0,Power sector emissions,CO2 intensity,CO2 intensity,gCO2/kWh,342.1,,\nGermany,DEU,2024,Country,Europe,Europe,1,1,1,1,0,Electricity generation,Fuel,Coal,TWh,9999,,\nWorld,,2024,Region,,,,,,,,Power sector emissions,CO2 intensity,CO2 intensity,gCO2/kWh,470,,\n", grid.Lifecycle, 0, "DEU", []grid.Sample{{From: year(2024), To: year(2025), Intensity: 342.1}}},
		"Our World in Data":                     {"Entity,Code,Year,Carbon intensity of electricity - gCO2/kWh\nFrance,FRA,2022,85\nFrance,FRA,2023,56\n", grid.Lifecycle, 0, "FRA", []grid.Sample{{From: year(2022), To: year(2023), Intensity: 85}, {From: year(2023), To: year(2024), Intensity: 56}}},
	} {
		table, err := Parse(strings.NewReader(c.csv), c.factor, c.maxAge)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := table.Intensity(t.Context(), c.zone, year(2000), year(2030))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":           "it is empty",
		"a,b\n1,2\n": `name them timestamp, zone, gCO2e/kWh`,
		"timestamp,zone,gCO2e/kWh\n2024-01-01T00:00:00Z,DE,many\n":                         `line 2: "many" is no number`,
		"timestamp,zone,gCO2e/kWh\n2024-01-01T00:00:00Z,DE,1\nyesterday,DE,1\n":            `line 3: "yesterday" is no time`,
		"timestamp,zone,gCO2e/kWh\n2024-01-01T00:00:00Z,DE,-1\n":                           "is no carbon intensity",
		"timestamp,zone,gCO2e/kWh\n2024-01-01T00:00:00Z,DE,NaN\n":                          "is no carbon intensity",
		"timestamp,zone,gCO2e/kWh\n2024-01-01T00:00:00Z,DE,1\n2024-01-01T00:00:00Z,DE,1\n": `zone "DE": two values at 2024-01-01T00:00:00Z`,
		"timestamp,zone,gCO2e/kWh\n2024-01-01T00:00:00Z,DE\n":                              "wrong number of fields",
		"timestamp,zone,gCO2e/kWh\n2024-01-01T00:00:00Z,DE,1\n":                            "set max-age",
	} {
		if _, err := Parse(strings.NewReader(text), grid.Lifecycle, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestIntensity(t *testing.T) {
	table, err := Parse(strings.NewReader(hourly), grid.Lifecycle, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Intensity(t.Context(), "XX", day(1, 0), day(1, 1)); err == nil || !strings.Contains(err.Error(), `zone "XX"; there are DE, FR`) {
		t.Errorf("%v", err)
	}
	// Only what reaches into the time asked for, to be weighed by grid.Mean.
	for _, c := range []struct{ from, to, samples int }{{0, 4, 3}, {1, 1, 1}, {2, 2, 0}, {5, 9, 0}, {3, 9, 1}} {
		got, err := table.Intensity(t.Context(), "DE", day(1, c.from), day(1, c.to))
		if err != nil || len(got) < c.samples || len(got) > c.samples+1 {
			t.Errorf("%d to %d: %v %v, want %d samples", c.from, c.to, got, err, c.samples)
		}
	}
	// A zone with one value has the step of the others.
	got, err := table.Intensity(t.Context(), "FR", day(1, 0), day(9, 1))
	if diff := cmp.Diff([]grid.Sample{{From: day(1, 0), To: day(1, 1), Intensity: 50}}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	table, err = New([]Point{Constant("DE", 42)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, y := range []int{1970, 2024, 2100} {
		from := time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC)
		samples, err := table.Intensity(t.Context(), "DE", from, from.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if mean, err := grid.Mean(samples, from, from.Add(time.Hour)); mean != 42 || err != nil {
			t.Errorf("%d: %v %v", y, mean, err)
		}
	}
}

func TestMonthsHaveNoHoles(t *testing.T) {
	var csv strings.Builder
	csv.WriteString("timestamp,zone,gCO2e/kWh\n")
	for m := range 12 {
		if m != 5 {
			csv.WriteString(time.Date(2023, time.Month(m+1), 1, 0, 0, 0, 0, time.UTC).Format(time.RFC3339) + ",DE,300\n")
		}
	}
	table, err := Parse(strings.NewReader(csv.String()), grid.Lifecycle, 0)
	if err != nil {
		t.Fatal(err)
	}
	for m := range 12 {
		from := time.Date(2023, time.Month(m+1), 1, 0, 0, 0, 0, time.UTC)
		samples, _ := table.Intensity(t.Context(), "DE", from, from.AddDate(0, 1, 0))
		if _, err := grid.Mean(samples, from, from.AddDate(0, 1, 0)); (err != nil) != (m == 5) {
			t.Errorf("month %d: %v", m+1, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(hourly)
	f.Add("timestamp,zone,gCO2e/kWh\n2024-01-01T01:00:00+01:00,DE,300\n2024-01-01T00:30:00Z,DE,310\n")
	f.Add("Code,Year,carbon intensity\nFRA,2022,85\nFRA,0001,56\n")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := Parse(strings.NewReader(text), grid.Lifecycle, time.Hour)
		if err != nil {
			return
		}
		for zone, samples := range table.zones {
			for i, s := range samples {
				if !s.From.Before(s.To) || i > 0 && s.From.Before(samples[i-1].To) || grid.Check(s.Intensity) != nil {
					t.Fatalf("zone %q: %v", zone, samples)
				}
			}
		}
	})
}
